/* Both databases: whatever call fails inside or below SQLite, a transaction happens or it does not, and the next try succeeds. */
#include "coordinator/store/store.h"
#include "node/site/store.h"
#include "tests/unit/faults/fixture.h"

#include <math.h>

static hanse_err err;

static hanse_buf buf(const char *text)
{
    hanse_buf out = HANSE_BUF_EMPTY;

    assert_int_equal(hanse_buf_append(&out, text, strlen(text), NULL), HANSE_OK);
    return out;
}

/* ---- the coordinator's ---- */

typedef struct coordinator {
    char dir[64];
    hanse_buf image; /* of the database before the operation */
    hanse_store *store;
    hanse_store_run run, next_run;
    hanse_store_round round;
    hanse_store_contribution part;
    hanse_store_site site;
    hanse_store_invitation invitation;
} coordinator;

static void coordinator_open(void *user)
{
    coordinator *c = user;

    hanse_store_close(c->store);
    c->store = NULL;
    if (hanse_store_open(&c->store, c->dir, true, &err) != HANSE_OK)
        fail_msg("%s", err.text);
}

static void coordinator_back(void *user)
{
    coordinator *c = user;

    hanse_store_close(c->store);
    c->store = NULL;
    database_restore(&c->image, c->dir);
    coordinator_open(c);
}

/* From here on, `undo` comes back to this moment. */
static void coordinator_mark(coordinator *c)
{
    hanse_store_close(c->store);
    c->store = NULL;
    hanse_buf_clear(&c->image);
    database_keep(&c->image, c->dir);
    coordinator_open(c);
}

static int coordinator_setup(void **state)
{
    static coordinator c;

    c = (coordinator){.run = {.name = "plan", .created_ms = 1000, .model_size = 64, .next_slot = 1, .best_value = NAN},
                      .round = {.round = 1, .attempt = 0, .slot = 1, .kind = 1, .opened_ms = 5, .deadline_ms = 9},
                      .part = {.round = 1, .state = HANSE_STORE_PART_ACCEPTED, .weight = 12, .bytes = 34},
                      .site = {.name = "north", .organisation = "org", .uri = "urn:hanse:org:north", .serial_tls = "40", .serial_sign = "41"},
                      .invitation = {.site = "north", .organisation = "org", .expires_ms = 2000}};
    dir_make(c.dir);
    c.run.run_id[0] = 1;
    c.run.plan = buf("name: plan");
    c.run.roster = buf("roster");
    c.run.roster_sig = buf("sig");
    c.run.offer = buf("offer");
    c.run.offer_sig = buf("sig");
    c.next_run = c.run;
    c.next_run.rounds_done = c.next_run.model_round = 1;
    memcpy(c.round.run_id, c.run.run_id, 16);
    c.round.spec = buf("spec");
    c.round.spec_sig = buf("sig");
    c.round.masks = buf("masks");
    c.round.masks_sig = buf("sig");
    memcpy(c.part.run_id, c.run.run_id, 16);
    memset(c.part.site_id, 3, 32);
    c.part.header = buf("header");
    c.part.header_sig = buf("sig");
    c.part.receipt = buf("receipt");
    c.part.receipt_sig = buf("sig");
    memset(c.site.site_id, 3, 32);
    c.site.cert_tls = buf("tls");
    c.site.cert_sign = buf("sign");
    memset(c.invitation.token_hash, 9, 32);
    coordinator_open(&c);
    coordinator_mark(&c);
    *state = &c;
    return 0;
}

static int coordinator_teardown(void **state)
{
    coordinator *c = *state;

    hanse_store_close(c->store);
    hanse_store_run_clear(&c->run);
    hanse_store_round_clear(&c->round);
    hanse_buf_clear(&c->part.header);
    hanse_buf_clear(&c->part.header_sig);
    hanse_buf_clear(&c->part.receipt);
    hanse_buf_clear(&c->part.receipt_sig);
    hanse_buf_clear(&c->site.cert_tls);
    hanse_buf_clear(&c->site.cert_sign);
    hanse_buf_clear(&c->image);
    dir_remove(c->dir);
    return 0;
}

static hanse_rc run_add(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_run_add(c->store, &c->run, e);
}

static hanse_rc round_open(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_round_open(c->store, &c->round, e);
}

static hanse_rc part_put(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_contribution_put(c->store, &c->part, e);
}

/* What was accepted is lost on the disk; afterwards it may be accepted once more. */
static hanse_rc part_lost(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_contribution_lost(c->store, &c->part, 6, "its file is gone", e);
}

static hanse_rc cut_put(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_cut_put(c->store, c->run.run_id, 1, hanse_bytes_str("cut"), hanse_bytes_str("sig"), e);
}

static hanse_rc answer_put(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_answer_put(c->store, c->run.run_id, 1, c->part.site_id, hanse_bytes_str("shares"), e);
}

static hanse_rc publish(void *user, hanse_err *e)
{
    coordinator *c = user;
    hanse_store_round round = c->round; /* borrows */

    round.state = HANSE_STORE_ROUND_PUBLISHED;
    round.result = c->part.header;
    round.result_sig = c->part.header_sig;
    return hanse_store_publish(c->store, &round, &c->next_run, e);
}

static void is_published(void *user)
{
    coordinator *c = user;
    hanse_store_run got = {0};
    hanse_store_round round = {0};
    bool found = false;

    coordinator_open(c);
    assert_int_equal(hanse_store_run_get(c->store, c->run.run_id, &got, &err), HANSE_OK);
    assert_int_equal(got.rounds_done, 1);
    assert_int_equal(hanse_store_round_newest(c->store, c->run.run_id, &round, &found, &err), HANSE_OK);
    assert_true(found && round.state == HANSE_STORE_ROUND_PUBLISHED && round.result.len == 6);
    hanse_store_run_clear(&got);
    hanse_store_round_clear(&round);
}

/* What a restart reads. */
static hanse_rc run_load(void *user, hanse_err *e)
{
    coordinator *c = user;
    hanse_store_run got = {0};
    hanse_store_round *rounds = NULL;
    hanse_store_contribution *parts = NULL;
    size_t count = 0, parts_count = 0;
    hanse_rc rc = hanse_store_run_get(c->store, c->run.run_id, &got, e);

    if (rc == HANSE_OK)
        rc = hanse_store_rounds(c->store, c->run.run_id, &rounds, &count, e);
    if (rc == HANSE_OK)
        rc = hanse_store_contributions(c->store, c->run.run_id, 1, 0, &parts, &parts_count, e);
    if (rc == HANSE_OK) {
        assert_string_equal(got.name, "plan");
        assert_true(got.plan.len == 10 && got.offer.len == 5 && got.rounds_done == 1);
        assert_true(count == 1 && rounds[0].spec.len == 4 && rounds[0].result.len == 6);
        assert_true(parts_count == 1 && parts[0].header.len == 6 && parts[0].receipt.len == 7);
    }
    hanse_store_contributions_free(parts, parts_count);
    hanse_store_rounds_free(rounds, count);
    hanse_store_run_clear(&got);
    return rc;
}

static hanse_rc ticket_put(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_ticket_put(c->store, c->run.run_id, 2, c->part.site_id, hanse_bytes_str("ticket"), hanse_bytes_str("sig"),
                                  hanse_bytes_str("shares"), e);
}

static hanse_rc invite(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_invite(c->store, &c->invitation, 1, e);
}

static hanse_rc enrol(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_enrol(c->store, c->invitation.token_hash, c->site.site_id, &c->site, hanse_bytes_str("reply"), 1, e);
}

/* Before there is a file, and again when it is there. */
static hanse_rc store_create(void *user, hanse_err *e)
{
    coordinator *c = user;

    return hanse_store_open(&c->store, c->dir, true, e);
}

static void store_gone(void *user)
{
    static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};
    coordinator *c = user;
    hanse_path path;

    hanse_store_close(c->store);
    c->store = NULL;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(hanse_path_join(path, c->dir, names[i], NULL), HANSE_OK);
        (void)unlink(path);
    }
}

/* The life of a run, one transaction after the other. */
static void test_coordinator(void **state)
{
    coordinator *c = *state;
    const fault_walk steps[] = {{.name = "run_add", .operate = run_add},       {.name = "round_open", .operate = round_open},
                                {.name = "contribution", .operate = part_put}, {.name = "lost", .operate = part_lost},
                                {.name = "once more", .operate = part_put},    {.name = "cut", .operate = cut_put},
                                {.name = "answer", .operate = answer_put},     {.name = "publish", .operate = publish, .check_done = is_published},
                                {.name = "ticket", .operate = ticket_put},     {.name = "invite", .operate = invite},
                                {.name = "enrol", .operate = enrol},           {.name = "load", .operate = run_load}};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        fault_walk walk = steps[i];

        walk.dir = c->dir;
        walk.where[0] = "state.db";
        walk.reopen = coordinator_open;
        walk.undo = coordinator_back;
        walk.user = c;
        assert_true(faults_walk(&walk) > 10);
        assert_int_equal(walk.operate(c, &err), HANSE_OK);
        coordinator_mark(c);
    }
}

static void test_coordinator_create(void **state)
{
    coordinator *c = *state;
    const fault_walk walk = {.name = "create", .dir = c->dir, .where = {"state.db"}, .operate = store_create, .undo = store_gone, .grows = true,
                             .user = c};

    store_gone(c);
    assert_true(faults_walk(&walk) > 50);
}

/* ---- the site's ---- */

typedef struct site {
    char dir[64];
    hanse_buf image;
    hanse_site_store *store;
    hanse_site_run run;
    hanse_site_work work;
    hanse_result result;
    hanse_buf object;
} site;

static void site_open(void *user)
{
    site *s = user;

    hanse_site_store_close(s->store);
    s->store = NULL;
    if (hanse_site_store_open(&s->store, s->dir, &err) != HANSE_OK)
        fail_msg("%s", err.text);
}

static void site_back(void *user)
{
    site *s = user;

    hanse_site_store_close(s->store);
    s->store = NULL;
    database_restore(&s->image, s->dir);
    site_open(s);
}

static void site_mark(site *s)
{
    hanse_site_store_close(s->store);
    s->store = NULL;
    hanse_buf_clear(&s->image);
    database_keep(&s->image, s->dir);
    site_open(s);
}

static int site_setup(void **state)
{
    static site s;

    s = (site){.run = {.stage = HANSE_STAGE_SPEC, .offer = {.opened_ms = 5}},
               .work = {.round = 3, .slot = 7, .attempt = 2, .weight = 42, .data_offset = 88, .data_len = 1000, .trained = "a.trained", .key = "a.key"},
               .result = {.round = 3, .slot = 7, .kind = HANSE_ROUND_TRAINING}};
    dir_make(s.dir);
    memset(s.run.offer.run, 1, 16);
    memset(s.run.offer.plan_hash, 2, 32);
    memset(s.run.offer.roster_hash, 3, 32);
    memset(s.run.offer.model_root, 4, 32);
    s.run.spec = (hanse_spec){.round = 3, .slot = 7, .attempt = 2, .kind = HANSE_ROUND_TRAINING, .chunk = HANSE_CHUNK_LEN, .model_size = 100, .deadline_ms = 9};
    memcpy(s.run.spec.run, s.run.offer.run, 16);
    memcpy(s.work.run, s.run.offer.run, 16);
    memcpy(s.result.run, s.run.offer.run, 16);
    s.work.aux = buf("12345678");
    s.work.header = buf("header");
    s.work.sig = buf("sig");
    s.work.masks = buf("masks");
    assert_int_equal(hanse_result_encode(&s.object, &s.result, &err), HANSE_OK);
    site_open(&s);
    site_mark(&s);
    *state = &s;
    return 0;
}

static int site_teardown(void **state)
{
    site *s = *state;

    hanse_site_store_close(s->store);
    hanse_site_work_clear(&s->work);
    hanse_buf_clear(&s->object);
    hanse_buf_clear(&s->image);
    dir_remove(s->dir);
    return 0;
}

static hanse_rc accept_plan(void *user, hanse_err *e)
{
    site *s = user;
    uint8_t earlier[16];

    return hanse_site_store_accept(s->store, &s->run.offer, 1, earlier, e);
}

static hanse_rc consume(void *user, hanse_err *e)
{
    site *s = user;
    bool found = false;
    hanse_rc rc = hanse_site_store_consume(s->store, &s->run.offer, &found, e);

    assert_true(rc != HANSE_OK || found);
    return rc;
}

static hanse_rc spec_save(void *user, hanse_err *e)
{
    site *s = user;

    return hanse_site_store_run_save(s->store, &s->run, e);
}

static hanse_rc fact_put(void *user, hanse_err *e)
{
    site *s = user;

    return hanse_site_store_fact_put(s->store, hanse_bytes_str("S7"), hanse_bytes_str("what a ticket promises"), e);
}

static hanse_rc work_save(void *user, hanse_err *e)
{
    site *s = user;

    return hanse_site_store_work_save(s->store, &s->work, e);
}

static void work_is_there(void *user)
{
    site *s = user;
    hanse_site_work back = {0};
    hanse_site_run run;

    site_open(s);
    assert_int_equal(hanse_site_store_work_load(s->store, s->run.offer.run, 7, &back, &err), HANSE_OK);
    assert_true(back.weight == 42 && hanse_bytes_equal(hanse_buf_bytes(&back.header), hanse_buf_bytes(&s->work.header)));
    assert_int_equal(hanse_site_store_run_load(s->store, s->run.offer.run, &run, &err), HANSE_OK);
    assert_int_equal(run.stage, HANSE_STAGE_TRAINED);
    hanse_site_work_clear(&back);
}

static hanse_rc work_load(void *user, hanse_err *e)
{
    site *s = user;
    hanse_site_work back = {0};
    hanse_site_run run;
    hanse_rc rc = hanse_site_store_run_load(s->store, s->run.offer.run, &run, e);

    if (rc == HANSE_OK)
        rc = hanse_site_store_work_load(s->store, s->run.offer.run, 7, &back, e);
    if (rc == HANSE_OK) {
        assert_string_equal(back.trained, "a.trained");
        assert_string_equal(back.key, "a.key");
        assert_true(back.aux.len == 8 && back.header.len == 6 && back.sig.len == 3 && back.masks.len == 5);
        assert_int_equal(run.spec.slot, 7);
    }
    hanse_site_work_clear(&back);
    return rc;
}

static hanse_rc receipt_save(void *user, hanse_err *e)
{
    site *s = user;
    hanse_site_run run = s->run;

    run.stage = HANSE_STAGE_RECEIVED;
    return hanse_site_store_receipt_save(s->store, &run, hanse_bytes_str("receipt"), e);
}

static hanse_rc fact_destroy(void *user, hanse_err *e)
{
    site *s = user;

    return hanse_site_store_fact_put(s->store, hanse_bytes_str("S7"), HANSE_BYTES_EMPTY, e);
}

static hanse_rc result_save(void *user, hanse_err *e)
{
    site *s = user;
    hanse_site_run run = s->run;

    run.has_result = true;
    run.result_slot = 7;
    return hanse_site_store_result_save(s->store, &run, &s->result, hanse_buf_bytes(&s->object), hanse_bytes_str("sig"), 1, e);
}

static hanse_rc site_create(void *user, hanse_err *e)
{
    site *s = user;

    return hanse_site_store_open(&s->store, s->dir, e);
}

static void site_gone(void *user)
{
    static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};
    site *s = user;
    hanse_path path;

    hanse_site_store_close(s->store);
    s->store = NULL;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(hanse_path_join(path, s->dir, names[i], NULL), HANSE_OK);
        (void)unlink(path);
    }
}

static void test_site(void **state)
{
    site *s = *state;
    const fault_walk steps[] = {{.name = "accept", .operate = accept_plan},
                                {.name = "consume", .operate = consume},
                                {.name = "spec", .operate = spec_save},
                                {.name = "ticket", .operate = fact_put},
                                {.name = "work", .operate = work_save, .check_done = work_is_there},
                                {.name = "load", .operate = work_load},
                                {.name = "receipt", .operate = receipt_save},
                                {.name = "answer", .operate = fact_destroy},
                                {.name = "result", .operate = result_save}};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        fault_walk walk = steps[i];

        walk.dir = s->dir;
        walk.where[0] = "state.db";
        walk.reopen = site_open;
        walk.undo = site_back;
        walk.user = s;
        assert_true(faults_walk(&walk) > 10);
        assert_int_equal(walk.operate(s, &err), HANSE_OK);
        site_mark(s);
    }
}

static void test_site_create(void **state)
{
    site *s = *state;
    const fault_walk walk = {.name = "create", .dir = s->dir, .where = {"state.db"}, .operate = site_create, .undo = site_gone, .grows = true,
                             .user = s};

    site_gone(s);
    assert_true(faults_walk(&walk) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_coordinator, coordinator_setup, coordinator_teardown),
        cmocka_unit_test_setup_teardown(test_coordinator_create, coordinator_setup, coordinator_teardown),
        cmocka_unit_test_setup_teardown(test_site, site_setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_site_create, site_setup, site_teardown),
    };

    faults_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
