/* What the coordinator makes of sums and files that no honest consortium gives: nothing, and it says why. */
#include "coordinator/server/masks.h"
#include "tests/support/secagg_world.h"
#include "tests/unit/coordinator/fixture.h"

#include "hanse/ring.h"

enum { SITES = 3, WORDS = 2, ROWS = 1000 }; /* WORDS of aux.h */

static const char plan_text[] =
    "hanse: 1\nname: m\n"
    "data: {name: d, format: csv, target: {column: y, classes: [a, b]}, features: [{name: p, low: 0, high: 1}, {name: q, low: 0, high: 1}]}\n"
    "scaling: none\nmodel: {kind: logistic}\ntrain: {rate: 1, epochs: 1}\nrounds: {count: 1, deadline: 5m, min_sites: 3}\n";

static world w;
static hanse_coordinator_config config;
static hanse_server server = {.config = &config};
static hanse_member members[SITES];
static hanse_masks masks;
static hanse_live_run run;

/* A run that is in the middle of a round in which everybody took part. */
static void begin(const char *dir)
{
    const hanse_model_meta meta = {.round = 0};
    const float zeros[3] = {0};

    config.limits.workers = 1;
    masks = (hanse_masks){.sums = NULL};
    run = (hanse_live_run){.server = &server, .masks = &masks, .members = members, .layout = HANSE_LAYOUT_EMPTY};
    run.roster.sites_count = SITES;
    run.current.kind = HANSE_ROUND_TRAINING;
    GOOD(hanse_plan_parse(&run.plan, hanse_bytes_str(plan_text), "plan", &w.err));
    GOOD(hanse_layout_of_plan(&run.layout, run.plan, &w.err));
    GOOD(hanse_masking_state_init(&masks.state, run.plan, &run.layout, &w.err));
    masks.state.weight_total = ROWS;
    GOOD(hanse_path_join(run.model_path, dir, "model", &w.err));
    GOOD(hanse_model_write(run.model_path, &run.layout, &meta, zeros, false, &w.err));
    GOOD(hanse_round_init(&run.round, SITES, SITES, 0, 1, false, &w.err));
    for (size_t i = 0; i < SITES; i++) {
        members[i] = (hanse_member){.spool = HANSE_SPOOL_CLOSED};
        hanse_round_restore(&run.round, i, HANSE_MEMBER_ACCEPTED, 0);
    }
}

static void end(void)
{
    for (size_t i = 0; i < SITES; i++)
        hanse_spool_close(&members[i].spool);
    hanse_round_clear(&run.round);
    hanse_masking_state_clear(&masks.state);
    hanse_secagg_spec_clear(&masks.spec);
    hanse_free(masks.sums);
    hanse_layout_clear(&run.layout);
    hanse_plan_free(run.plan);
}

static void shape(size_t i, uint64_t count, uint32_t bits, uint64_t bound, double clip)
{
    w.segments[i].count = count;
    w.segments[i].bits = bits;
    w.segments[i].bound = bound;
    w.segments[i].scaled = clip > 0;
    memcpy(&w.segments[i].clip, &clip, sizeof clip);
    for (uint32_t k = 0; k < SITES; k++) {
        hanse_free(w.sites[k].q[i]);
        w.sites[k].q[i] = hanse_calloc(count, sizeof(uint64_t));
        assert_non_null(w.sites[k].q[i]);
    }
}

/* The site's upload as it lies in the spool. */
static void put_upload(const char *dir, uint32_t i)
{
    const hanse_signed header = hanse_secagg_round_uploads(w.round)[i];
    hanse_spool_shape of = {.slot = 1};

    memcpy(of.site_id, hanse_secagg_roster_id(w.roster, i), 32);
    GOOD(hanse_masking_offsets(&of.offsets, &of.chunks, &masks.spec, &w.err));
    GOOD(hanse_spool_open(&members[i].spool, dir, &of, header.bytes, header.sig, &w.err));
    for (uint64_t c = 0; c < of.chunks; c++)
        GOOD(hanse_spool_put(&members[i].spool, c, 0,
                             (hanse_bytes){w.sites[i].y.data + of.offsets[c], hanse_spool_chunk_len(&members[i].spool, c)}, &w.err));
}

/* A whole round, opened, in which each site put `share` of W; updates are nothing. */
static void begin_round(const char *dir, uint64_t share)
{
    char spool[128];
    uint32_t blamed[SITES];

    begin(dir);
    world_new(&w, SITES, HANSE_SECAGG_CRON, 7);
    w.keep_values = true;
    for (size_t i = 0; i < run.layout.count; i++)
        shape(i, run.layout.tensors[i].count, 20, 400000, 1);
    shape(run.layout.count, hanse_masking_aux_head(&run.layout, HANSE_ROUND_TRAINING) + WORDS, 64, INT64_MAX / SITES, 0);
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i < SITES; i++)
        GOOD(world_leave(&w, i, 1));
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    for (uint32_t i = 0; i < SITES; i++) {
        w.sites[i].q[run.layout.count][0] = share;
        GOOD(world_spec(&w, i, true));
        GOOD(world_mask(&w, i, 1));
        GOOD(world_header(&w, i));
        GOOD(world_complete(&w, i));
    }
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (uint32_t i = 0; i < SITES; i++)
        GOOD(world_answer(&w, i));
    GOOD(hanse_secagg_round_reconstruct(w.round, blamed, &w.err));
    GOOD(hanse_secagg_spec_decode(&masks.spec, hanse_secagg_round_spec(w.round).bytes, &w.err));
    masks.round = w.round;
    (void)snprintf(spool, sizeof spool, "%s/spool", dir);
    (void)mkdir(spool, 0700);
    for (uint32_t i = 0; i < SITES; i++)
        put_upload(dir, i);
}

static void end_round(void)
{
    for (size_t i = 0; i < SITES; i++)
        hanse_spool_remove(&members[i].spool);
    end();
    world_free(&w);
}

static hanse_rc fold(const char *dir)
{
    const size_t accepted[SITES] = {0, 1, 2};
    const hanse_model_meta meta = {.round = 1};
    hanse_path path;
    uint8_t root[32];
    hanse_rc rc;

    GOOD(hanse_path_join(path, dir, "new", &w.err));
    (void)unlink(path);
    rc = hanse_masked_fold(&run, accepted, SITES, &meta, path, root, &w.err);
    assert_int_equal(hanse_file_exists(path), rc == HANSE_OK);
    return rc;
}

/* Each share is rounded up: n units above one are possible, not more. */
static void test_weights_of_all(void **state)
{
    const uint64_t third = HANSE_RING_SHARE_ONE / SITES + 1; /* rounded up: 2 units above one together */

    begin_round(*state, third);
    GOOD(fold(*state));
    assert_int_equal(masks.sums[0], SITES * third);
    end_round();
    begin_round(*state, third + 1); /* 5 units */
    REFUSED(fold(*state), RANGE);
    assert_int_equal(w.err.rc, HANSE_E_WEIGHT);
    assert_non_null(strstr(w.err.text, "E_RANGE: the sites' weights add up to 1099511627781 / 2^40 of all"));
    end_round();
    begin_round(*state, 0);
    REFUSED(fold(*state), RANGE);
    end_round();
}

/* What has a receipt was checked before it; the disk is not believed for that. */
static void test_damaged_after_its_receipt(void **state)
{
    uint8_t byte = 0;
    hanse_spool *spool;

    begin_round(*state, HANSE_RING_SHARE_ONE / SITES);
    GOOD(fold(*state));
    spool = &members[1].spool;
    GOOD(hanse_spool_read(spool, 5, &byte, 1, &w.err));
    byte ^= 1;
    GOOD(hanse_fd_write_at(spool->fd, &byte, 1, hanse_spool_size(spool) - spool->shape.offsets[spool->shape.chunks] + 5, spool->path, &w.err));
    assert_int_equal(fold(*state), HANSE_E_CORRUPT);
    assert_non_null(strstr(w.err.text, spool->path));
    end_round();
}

static void test_sums_that_nobody_can_give(void **state)
{
    enum { HEAD = HANSE_MASKING_HEAD + 4 };
    static const struct {
        const char *name;
        uint64_t total, sums[HEAD + WORDS];
        uint8_t kind;
        hanse_rc rc;
    } rows[] = {
        {"no rows", 0, {0}, HANSE_ROUND_STATISTICS, HANSE_E_WEIGHT},
        {"one row", 0, {1}, HANSE_ROUND_STATISTICS, HANSE_OK},
        {"the most rows", 0, {HANSE_RING_WEIGHT_MAX}, HANSE_ROUND_STATISTICS, HANSE_OK},
        {"more rows", 0, {HANSE_RING_WEIGHT_MAX + 1}, HANSE_ROUND_STATISTICS, HANSE_E_WEIGHT},
        {"all of them", ROWS, {1, SITES * HANSE_MASKING_JOINING_MAX, 3, 3, 3, 3}, HANSE_ROUND_TRAINING, HANSE_OK},
        {"too many join", ROWS, {1, SITES * HANSE_MASKING_JOINING_MAX + 1}, HANSE_ROUND_TRAINING, HANSE_E_WEIGHT},
        {"beyond the most rows", HANSE_RING_WEIGHT_MAX, {1, 1}, HANSE_ROUND_TRAINING, HANSE_E_WEIGHT},
        {"four of three above a clip", ROWS, {1, 0, 4, 3, 3, 3}, HANSE_ROUND_TRAINING, HANSE_E_PROTOCOL},
        {"four of three above a quarter of it", ROWS, {1, 0, 3, 3, 3, 4}, HANSE_ROUND_TRAINING, HANSE_E_PROTOCOL},
        {"a counter below zero", ROWS, {1, 0, 3, UINT64_MAX, 3, 3}, HANSE_ROUND_TRAINING, HANSE_E_PROTOCOL},
    };

    begin(*state);
    masks.sums = hanse_calloc(HEAD + WORDS, sizeof *masks.sums);
    assert_non_null(masks.sums);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_masking_state next = HANSE_MASKING_STATE_EMPTY;
        const uint64_t *plain = NULL;
        hanse_rc rc;

        masks.state.weight_total = rows[i].total;
        memcpy(masks.sums, rows[i].sums, sizeof rows[i].sums);
        w.err.text[0] = '\0';
        rc = hanse_masks_sums(&run, rows[i].kind, &plain, &next, &w.err);
        if (rc != rows[i].rc || (rc == HANSE_E_WEIGHT && hanse_secagg_reason_of(&w.err) != HANSE_SECAGG_RANGE))
            fail_msg("%s: %s, %s", rows[i].name, hanse_rc_name(rc), w.err.text);
        if (rc == HANSE_OK)
            assert_int_equal(next.weight_total, rows[i].kind == HANSE_ROUND_STATISTICS ? rows[i].sums[0] : rows[i].total + rows[i].sums[1]);
        hanse_masking_state_clear(&next);
    }
    end();
}

/* Tickets were there long ago, and the pause after a void round is not over: the service wakes at its end. */
static void test_due(void **state)
{
    enum { NOW = 1000000 };
    const hanse_service_options options = {.run_id = NULL};

    begin(*state); /* a deadline of five minutes: half a minute for the last tickets */
    server.options = &options;
    run.row.state = HANSE_STORE_RUN_OPEN;
    assert_true(hanse_live_run_due(&run, NOW) == UINT64_MAX);
    masks.enough_ms = NOW - 40000;
    assert_true(hanse_live_run_due(&run, NOW) == UINT64_MAX);
    run.not_before_ms = NOW + 2000;
    assert_int_equal(hanse_live_run_due(&run, NOW), NOW + 2000);
    masks.tell_ms = NOW + 500;
    assert_int_equal(hanse_live_run_due(&run, NOW), NOW + 500);
    masks.enough_ms = NOW - 29900;
    assert_int_equal(hanse_live_run_due(&run, NOW), NOW + 100);
    run.round_open = true;
    masks.tell_ms = 0;
    run.round.phase = HANSE_PHASE_COLLECT;
    run.round.deadline_ms = NOW + 300;
    assert_int_equal(hanse_live_run_due(&run, NOW), NOW + 300);
    run.round.phase = HANSE_PHASE_CUT; /* its unmask deadline, and as much time again */
    masks.spec.unmask_deadline_ms = NOW + 400;
    assert_int_equal(hanse_live_run_due(&run, NOW), NOW + 400);
    masks.asked_dead = true;
    assert_int_equal(hanse_live_run_due(&run, NOW + 400), NOW + 60400);
    run.again = HANSE_STEP_SUM;
    run.again_ms = NOW + 700;
    assert_int_equal(hanse_live_run_due(&run, NOW + 400), NOW + 700);
    run.row.state = HANSE_STORE_RUN_DONE;
    assert_true(hanse_live_run_due(&run, NOW) == UINT64_MAX);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_of_all),
        cmocka_unit_test(test_damaged_after_its_receipt),
        cmocka_unit_test(test_sums_that_nobody_can_give),
        cmocka_unit_test(test_due),
    };

    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
