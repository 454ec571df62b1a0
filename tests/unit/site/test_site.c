/* The site's machine: every state against every event, and the specs it refuses. */
#include "node/site/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW 1000000000u

typedef struct world {
    hanse_site site;
    hanse_site_run run;
    hanse_spec spec;
    hanse_receipt receipt;
    hanse_result result;
    uint8_t spec_hash[32], result_hash[32], upload_hash[32], site_id[32];
    uint8_t participants[1][32];
    hanse_site_actions actions;
    hanse_err err;
} world;

static hanse_rc feed(world *w, hanse_site_event_kind kind, hanse_rc rc)
{
    hanse_site_event event = {.kind = kind, .now_ms = NOW, .run_id = w->run.offer.run, .run = &w->run, .spec = &w->spec, .receipt = &w->receipt,
                              .result = &w->result, .hash = kind == HANSE_SITE_EV_RESULT ? w->result_hash : w->spec_hash,
                              .upload_hash = w->upload_hash, .site_id = w->site_id, .round = 1, .rc = rc, .words = "words"};
    return hanse_site_step(&w->site, &event, &w->actions, &w->err);
}
static void must(world *w, hanse_site_event_kind kind)
{
    assert_int_equal(feed(w, kind, HANSE_OK), HANSE_OK);
}

static void world_make(world *w)
{
    memset(w, 0, sizeof *w);
    hanse_site_init(&w->site);
    memset(w->run.offer.run, 1, 16);
    memset(w->run.offer.plan_hash, 2, 32);
    memset(w->run.offer.roster_hash, 3, 32);
    memset(w->run.offer.model_root, 4, 32);
    memset(w->site_id, 5, 32);
    memset(w->spec_hash, 6, 32);
    memset(w->result_hash, 7, 32);
    memset(w->upload_hash, 8, 32);
    w->spec = (hanse_spec){.round = 1, .slot = 1, .kind = HANSE_ROUND_TRAINING, .deadline_ms = NOW + 1000, .chunk = HANSE_CHUNK_LEN};
    memcpy(w->spec.run, w->run.offer.run, 16);
    memcpy(w->spec.plan_hash, w->run.offer.plan_hash, 32);
    memcpy(w->spec.roster_hash, w->run.offer.roster_hash, 32);
    memcpy(w->spec.model_root, w->run.offer.model_root, 32);
    memcpy(w->receipt.spec_hash, w->spec_hash, 32);
    memcpy(w->receipt.site_id, w->site_id, 32);
    memcpy(w->receipt.upload_hash, w->upload_hash, 32);
    w->result = (hanse_result){.round = 1, .slot = 1, .kind = HANSE_ROUND_TRAINING, .participants = w->participants, .participants_count = 1};
    memcpy(w->participants[0], w->site_id, 32);
    memcpy(w->result.run, w->run.offer.run, 16);
    memset(w->result.model_root, 9, 32);
    memset(w->result.best_root, 9, 32);
}

static void bring_to(world *w, hanse_site_state state)
{
    world_make(w);
    if (state == HANSE_SITE_IDLE)
        return;
    must(w, HANSE_SITE_EV_CONNECTED);
    must(w, HANSE_SITE_EV_OFFER);
    if (state == HANSE_SITE_OFFERED)
        return;
    if (state == HANSE_SITE_REFUSED) {
        assert_int_equal(feed(w, HANSE_SITE_EV_VERDICT, HANSE_E_POLICY), HANSE_OK);
        return;
    }
    must(w, HANSE_SITE_EV_VERDICT);
    if (state >= HANSE_SITE_FETCHING)
        must(w, HANSE_SITE_EV_SPEC);
    if (state >= HANSE_SITE_TRAINING)
        must(w, HANSE_SITE_EV_FETCHED);
    if (state >= HANSE_SITE_UPLOADING)
        must(w, HANSE_SITE_EV_TRAINED);
    if (state >= HANSE_SITE_WAITING)
        must(w, HANSE_SITE_EV_RECEIPT);
    if (state == HANSE_SITE_DONE) {
        w->result.state = HANSE_RUN_DONE;
        must(w, HANSE_SITE_EV_RESULT);
    }
    assert_int_equal(w->site.state, state);
}

#define S(x) HANSE_SITE_##x
#define BAD 100 /* an error, and the state stays */

/* Next state by [state][event]; columns as in hanse_site_event_kind. */
static const int next[HANSE_SITE_STATES_END][HANSE_SITE_EVENTS_END] = {
    /*               CONNECTED    OFFER        VERDICT SPEC           FETCHED       TRAINED        RESUME        RECEIPT      REJECT       RESULT       LOST         TICK */
    [S(IDLE)]      = {S(IDLE), S(OFFERED), BAD, BAD, S(IDLE), S(IDLE), BAD, BAD, S(IDLE), S(IDLE), S(IDLE), S(IDLE)},
    [S(OFFERED)]   = {S(IDLE), S(OFFERED), S(APPROVED), BAD, S(OFFERED), S(OFFERED), BAD, BAD, S(OFFERED), S(OFFERED), S(IDLE), S(OFFERED)},
    [S(REFUSED)]   = {S(IDLE), S(OFFERED), BAD, BAD, S(REFUSED), S(REFUSED), BAD, BAD, S(REFUSED), S(REFUSED), S(IDLE), S(REFUSED)},
    [S(APPROVED)]  = {S(APPROVED), S(APPROVED), BAD, S(FETCHING), S(APPROVED), S(APPROVED), S(APPROVED), S(APPROVED), S(APPROVED), S(APPROVED), S(APPROVED), S(APPROVED)},
    [S(FETCHING)]  = {S(FETCHING), S(FETCHING), BAD, S(FETCHING), S(TRAINING), S(FETCHING), S(FETCHING), S(FETCHING), S(APPROVED), S(APPROVED), S(FETCHING), S(FETCHING)},
    [S(TRAINING)]  = {S(TRAINING), S(TRAINING), BAD, S(TRAINING), S(TRAINING), S(UPLOADING), S(TRAINING), S(TRAINING), S(APPROVED), S(APPROVED), S(TRAINING), S(TRAINING)},
    [S(UPLOADING)] = {S(UPLOADING), S(UPLOADING), BAD, S(UPLOADING), S(UPLOADING), S(UPLOADING), S(UPLOADING), S(WAITING), S(APPROVED), S(APPROVED), S(UPLOADING), S(UPLOADING)},
    [S(WAITING)]   = {S(WAITING), S(WAITING), BAD, S(UPLOADING), S(WAITING), S(WAITING), S(WAITING), S(WAITING), S(APPROVED), S(APPROVED), S(WAITING), S(WAITING)},
    [S(DONE)]      = {S(DONE), S(OFFERED), BAD, BAD, S(DONE), S(DONE), BAD, BAD, S(DONE), S(DONE), S(DONE), S(DONE)},
};

static void test_every_state_and_event(void **state)
{
    (void)state;
    for (int s = 0; s < HANSE_SITE_STATES_END; s++)
        for (int e = 0; e < HANSE_SITE_EVENTS_END; e++) {
            world w;
            hanse_rc rc;
            int want = next[s][e];
            bring_to(&w, (hanse_site_state)s);
            rc = feed(&w, (hanse_site_event_kind)e, HANSE_OK);
            if ((rc != HANSE_OK) != (want == BAD) || (int)w.site.state != (want == BAD ? s : want)) {
                print_error("state %s, event %d: rc %d, now %s\n", hanse_site_state_name((hanse_site_state)s), e, rc,
                            hanse_site_state_name(w.site.state));
                fail();
            }
            assert_true(w.actions.count <= HANSE_SITE_ACTIONS_MAX);
        }
}

typedef struct spec_case {
    const char *name;
    hanse_rc want;
    void (*spoil)(world *w);
} spec_case;

static void spoil_plan(world *w) { w->spec.plan_hash[0] ^= 1; }
static void spoil_roster(world *w) { w->spec.roster_hash[0] ^= 1; }
static void spoil_model(world *w) { w->spec.model_root[0] ^= 1; }
static void spoil_previous(world *w) { w->spec.previous[0] ^= 1; }
static void spoil_deadline(world *w) { w->spec.deadline_ms = NOW - HANSE_CLOCK_SKEW_MS - 1; }
static void spoil_slot(world *w)
{
    w->site.run.stage = HANSE_STAGE_CLOSED;
    w->site.run.spec.slot = 1;
}
static void spoil_result_slot(world *w)
{
    w->site.run.has_result = true;
    w->site.run.result_slot = 1;
}

static void test_refused_specs(void **state)
{
    static const spec_case cases[] = {
        {"plan", HANSE_E_AUTH, spoil_plan},         {"roster", HANSE_E_AUTH, spoil_roster},   {"model", HANSE_E_AUTH, spoil_model},
        {"previous", HANSE_E_AUTH, spoil_previous}, {"late", HANSE_E_LATE, spoil_deadline},   {"slot again", HANSE_E_DUPLICATE, spoil_slot},
        {"slot has its result", HANSE_E_DUPLICATE, spoil_result_slot},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world w;
        bring_to(&w, HANSE_SITE_APPROVED);
        cases[i].spoil(&w);
        must(&w, HANSE_SITE_EV_SPEC);
        print_message("%s\n", cases[i].name);
        assert_int_equal(w.site.state, HANSE_SITE_APPROVED);
        assert_int_equal(w.actions.items[0].kind, HANSE_SITE_DO_DECLINE);
        assert_int_equal(w.actions.items[0].rc, cases[i].want);
        assert_true(w.actions.items[0].words[0] != '\0');
    }
}

static void test_skew_is_tolerated(void **state)
{
    world w;
    (void)state;
    bring_to(&w, HANSE_SITE_APPROVED);
    w.spec.deadline_ms = NOW - HANSE_CLOCK_SKEW_MS;
    must(&w, HANSE_SITE_EV_SPEC);
    assert_int_equal(w.site.state, HANSE_SITE_FETCHING);
}

/* A break while training: nothing happens to the trainer, and the upload begins only when the spec is known to be open still. */
static void test_reconnect_while_training(void **state)
{
    world w;
    (void)state;
    bring_to(&w, HANSE_SITE_TRAINING);
    must(&w, HANSE_SITE_EV_LOST);
    assert_int_equal(w.actions.count, 0);
    must(&w, HANSE_SITE_EV_TRAINED);
    assert_int_equal(w.site.state, HANSE_SITE_UPLOADING);
    assert_int_equal(w.actions.count, 0);
    must(&w, HANSE_SITE_EV_CONNECTED);
    must(&w, HANSE_SITE_EV_OFFER);
    assert_int_equal(w.actions.items[0].kind, HANSE_SITE_DO_ANSWER);
    must(&w, HANSE_SITE_EV_SPEC);
    assert_int_equal(w.actions.count, 1);
    assert_int_equal(w.actions.items[0].kind, HANSE_SITE_DO_UPLOAD);
}

static void test_restart_goes_on_where_the_store_says(void **state)
{
    static const struct { hanse_site_stage stage; hanse_site_state want; } rows[] = {
        {HANSE_STAGE_NONE, HANSE_SITE_APPROVED},     {HANSE_STAGE_SPEC, HANSE_SITE_APPROVED},    {HANSE_STAGE_TRAINED, HANSE_SITE_UPLOADING},
        {HANSE_STAGE_RECEIVED, HANSE_SITE_WAITING}, {HANSE_STAGE_CLOSED, HANSE_SITE_APPROVED}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        world w;
        world_make(&w);
        w.run.stage = rows[i].stage;
        w.run.spec = w.spec;
        memcpy(w.run.spec_hash, w.spec_hash, 32);
        must(&w, HANSE_SITE_EV_CONNECTED);
        must(&w, HANSE_SITE_EV_OFFER);
        must(&w, HANSE_SITE_EV_VERDICT);
        assert_int_equal(w.site.state, rows[i].want);
    }
}

/* The process ended between the last result and putting its work away: the next one does that, and the one after nothing. */
static void test_restart_after_the_end(void **state)
{
    world w;
    (void)state;
    world_make(&w);
    w.run.stage = HANSE_STAGE_CLOSED;
    w.run.run_state = HANSE_RUN_DONE;
    must(&w, HANSE_SITE_EV_CONNECTED);
    must(&w, HANSE_SITE_EV_OFFER);
    assert_int_equal(w.site.state, HANSE_SITE_DONE);
    assert_int_equal(w.actions.count, 2); /* accepted, for its models are fetched */
    assert_int_equal(w.actions.items[0].kind, HANSE_SITE_DO_ANSWER);
    assert_int_equal(w.actions.items[1].kind, HANSE_SITE_DO_FINISH);

    world_make(&w);
    w.run.run_state = HANSE_RUN_DONE;
    must(&w, HANSE_SITE_EV_CONNECTED);
    must(&w, HANSE_SITE_EV_OFFER);
    assert_int_equal(w.site.state, HANSE_SITE_IDLE);
    assert_int_equal(w.actions.count, 0);
}

static void test_failures_and_ends(void **state)
{
    world w;
    (void)state;
    bring_to(&w, HANSE_SITE_TRAINING);
    assert_int_equal(feed(&w, HANSE_SITE_EV_TRAINED, HANSE_E_NONFINITE), HANSE_OK);
    assert_int_equal(w.site.state, HANSE_SITE_APPROVED);
    assert_int_equal(w.actions.items[0].kind, HANSE_SITE_DO_DECLINE);
    assert_int_equal(w.actions.items[0].rc, HANSE_E_NONFINITE);

    bring_to(&w, HANSE_SITE_UPLOADING); /* a receipt for other bytes */
    w.receipt.upload_hash[0] ^= 1;
    assert_int_equal(feed(&w, HANSE_SITE_EV_RECEIPT, HANSE_OK), HANSE_E_AUTH);
    assert_int_equal(w.site.state, HANSE_SITE_UPLOADING);

    bring_to(&w, HANSE_SITE_UPLOADING); /* the work that was to be sent is damaged: told, dropped, and on to the next round */
    w.site.synced = true;
    assert_int_equal(feed(&w, HANSE_SITE_EV_TRAINED, HANSE_E_CORRUPT), HANSE_OK);
    assert_int_equal(w.site.state, HANSE_SITE_APPROVED);
    assert_int_equal(w.actions.items[0].kind, HANSE_SITE_DO_DECLINE);
    assert_int_equal(w.actions.items[0].rc, HANSE_E_CORRUPT);
    assert_int_equal(w.actions.items[1].kind, HANSE_SITE_DO_DROP);

    bring_to(&w, HANSE_SITE_WAITING); /* void */
    w.result.status = HANSE_ROUND_VOID;
    must(&w, HANSE_SITE_EV_RESULT);
    assert_int_equal(w.actions.items[2].kind, HANSE_SITE_DO_REPORT);
    assert_int_equal(w.actions.items[2].rc, HANSE_E_QUORUM);
    must(&w, HANSE_SITE_EV_RESULT); /* the reconnect's repetition */
    assert_int_equal(w.actions.count, 0);

    bring_to(&w, HANSE_SITE_WAITING); /* left out */
    w.participants[0][0] ^= 1;
    must(&w, HANSE_SITE_EV_RESULT);
    assert_int_equal(w.actions.items[2].rc, HANSE_E_LATE);

    bring_to(&w, HANSE_SITE_WAITING);
    w.result.state = HANSE_RUN_FAILED;
    must(&w, HANSE_SITE_EV_RESULT);
    assert_int_equal(w.actions.items[w.actions.count - 1].kind, HANSE_SITE_DO_FINISH);
    assert_int_equal(w.actions.items[w.actions.count - 2].rc, HANSE_E_FAILED);

    bring_to(&w, HANSE_SITE_TRAINING); /* the deadline passes */
    w.site.run.spec.deadline_ms = NOW - HANSE_CLOCK_SKEW_MS - 1;
    must(&w, HANSE_SITE_EV_TICK);
    assert_int_equal(w.site.state, HANSE_SITE_APPROVED);
    assert_int_equal(w.actions.items[0].kind, HANSE_SITE_DO_DROP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_state_and_event), cmocka_unit_test(test_refused_specs), cmocka_unit_test(test_skew_is_tolerated),
        cmocka_unit_test(test_reconnect_while_training), cmocka_unit_test(test_restart_goes_on_where_the_store_says),
        cmocka_unit_test(test_restart_after_the_end), cmocka_unit_test(test_failures_and_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
