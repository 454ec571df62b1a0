/* Secure aggregation without memory: whatever allocation fails in a step of a site or of the coordinator, nothing leaves and nothing is
 * recorded by halves, and the next try succeeds: a site's from its store, the coordinator's as it stands. */
#include "tests/support/secagg_world.h"
#include "tests/unit/faults/fixture.h"

enum { SITES = 4 };

static struct {
    hanse_secagg_event_kind kind; /* which steps are struck */
    long k;
    unsigned long failed, all;
} plan;

static void around_step(hanse_secagg_event_kind kind, bool begins)
{
    if (kind != plan.kind)
        return;
    if (begins)
        faults_arm(FAULT_MEMORY, plan.k, false);
    else
        plan.failed += faults_disarm();
}

/* Same records in the same order: what a failed step may not change. */
static uint32_t fingerprint(const world_site *site)
{
    uint32_t sum = 0;

    for (size_t k = 0; k < site->store_count; k++)
        for (size_t i = 0; i < site->store[k].value.len; i++)
            sum = (sum << 5 | sum >> 27) + site->store[k].value.data[i];
    return sum;
}

static hanse_rc spec(world *w, uint32_t i) { return world_spec(w, i, true); }

/* One step of site i with its first, second, ... allocation failing. After a failure the site starts from its store; `before` (NULL:
 * nothing) brings back what it does not keep, and `call` makes steps of which those of the kind are struck. */
static void walk_site(world *w, uint32_t i, hanse_secagg_event_kind kind, hanse_rc (*before)(world *w, uint32_t i),
                      hanse_rc (*call)(world *w, uint32_t i))
{
    plan.kind = kind;
    for (plan.k = 0;; plan.k++) {
        const uint32_t was = fingerprint(&w->sites[i]);
        hanse_rc rc;

        plan.failed = 0;
        w->around_step = around_step;
        rc = call(w, i);
        w->around_step = NULL;
        plan.all += plan.failed;
        if (rc == HANSE_OK)
            break; /* nothing was left to fail, or it can do without */
        if (plan.failed == 0 || rc != HANSE_E_NOMEM)
            fail_msg("event %d, allocation %ld: %s", (int)kind, plan.k, w->err.text);
        assert_int_equal(fingerprint(&w->sites[i]), was);
        world_restart(w, i);
        if (before != NULL && before(w, i) != HANSE_OK)
            fail_msg("after a failure of event %d, allocation %ld: %s", (int)kind, plan.k, w->err.text);
    }
}

/* A call of the coordinator's half, tried again on the same object. */
#define WALK(w, call)                                                                \
    for (long k_ = 0;; k_++) {                                                       \
        hanse_rc rc_;                                                                \
        unsigned long failed_;                                                       \
        faults_arm(FAULT_MEMORY, k_, false);                                         \
        rc_ = (call);                                                                \
        failed_ = faults_disarm();                                                   \
        plan.all += failed_;                                                         \
        if (rc_ == HANSE_OK)                                                         \
            break;                                                                   \
        if (failed_ == 0 || rc_ != HANSE_E_NOMEM)                                    \
            fail_msg("%s, allocation %ld: %s", #call, k_, (w)->err.text);            \
    }

static uint64_t slot;

static hanse_rc ticket(world *w, uint32_t i) { return world_ticket(w, i, slot); }
static hanse_rc upload(world *w, uint32_t i) { return world_mask(w, i, slot); }
static hanse_rc cut(world *w, uint32_t i) { return world_cut_of(w, i, w->round, false); }
static hanse_rc certified_cut(world *w, uint32_t i) { return world_cut_of(w, i, w->round, true); }

static hanse_rc simple(world *w, uint32_t i, hanse_secagg_event_kind kind)
{
    hanse_secagg_event event = {.kind = kind, .slot = slot};

    return world_step(w, i, &event);
}

static hanse_rc receipt(world *w, uint32_t i) { return simple(w, i, HANSE_SECAGG_EV_RECEIPT); }
static hanse_rc result(world *w, uint32_t i) { return simple(w, i, HANSE_SECAGG_EV_RESULT); }
static hanse_rc over(world *w, uint32_t i) { return simple(w, i, HANSE_SECAGG_EV_OVER); }
static hanse_rc dead(world *w, uint32_t i) { return simple(w, i, HANSE_SECAGG_EV_DEAD); }
static hanse_rc retry(world *w, uint32_t i) { return simple(w, i, HANSE_SECAGG_EV_RETRY); }
static hanse_rc recover(world *w, uint32_t i) { return simple(w, i, HANSE_SECAGG_EV_RECOVER); }

static hanse_rc epoch(world *w, uint32_t i)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_EPOCH, .epoch = 2, .from_ms = w->now_ms, .until_ms = w->now_ms + WORLD_L / 4};

    return world_step(w, i, &event);
}

static hanse_rc peer(world *w, uint32_t i)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_PEER, .object = {hanse_buf_bytes(&w->sites[0].value), hanse_buf_bytes(&w->sites[0].sig)}};

    return world_step(w, i, &event);
}

static hanse_signed sent(const world_site *site)
{
    return (hanse_signed){hanse_buf_bytes(&site->value), hanse_buf_bytes(&site->sig)};
}

/* Tickets to uploads; the last site is gone after its ticket. */
static void to_uploads(world *w)
{
    uint32_t idx;

    world_round_new(w, slot, NULL);
    for (uint32_t i = 0; i < w->n; i++) {
        const world_site *site = &w->sites[i];

        walk_site(w, i, HANSE_SECAGG_EV_TICKET, NULL, ticket);
        WALK(w, hanse_secagg_round_add_ticket(w->round, (hanse_signed){hanse_buf_bytes(&site->ticket), hanse_buf_bytes(&site->ticket_sig)},
                                              hanse_buf_bytes(&site->cts), w->now_ms, &w->err));
    }
    WALK(w, hanse_secagg_round_open(w->round, w->now_ms, &w->err));
    for (uint32_t i = 0; i + 1 < w->n; i++) {
        walk_site(w, i, HANSE_SECAGG_EV_SPEC, NULL, spec);
        walk_site(w, i, HANSE_SECAGG_EV_UPLOAD, spec, upload);
        WALK(w, hanse_secagg_round_add_upload(w->round, sent(&w->sites[i]), w->now_ms, &idx, &w->err));
        WALK(w, hanse_secagg_round_upload_done(w->round, i, w->sites[i].root, &w->err));
        walk_site(w, i, HANSE_SECAGG_EV_RECEIPT, spec, receipt);
    }
}

static void whole_round(hanse_secagg_profile profile)
{
    bool equal = false;
    world w;

    world_new(&w, SITES, profile, 50 + (uint64_t)profile);
    walk_site(&w, 0, HANSE_SECAGG_EV_EPOCH, NULL, epoch);
    for (uint32_t i = 1; i < w.n; i++)
        walk_site(&w, i, HANSE_SECAGG_EV_PEER, NULL, peer);
    for (slot = 1; slot <= 2; slot++) {
        world_random(&w, w.model_root, 32);
        to_uploads(&w);
        WALK(&w, hanse_secagg_round_cut(w.round, &w.err));
        for (uint32_t i = 0; profile == HANSE_SECAGG_ONLINE && i + 1 < w.n; i++) {
            walk_site(&w, i, HANSE_SECAGG_EV_CUT, spec, cut);
            WALK(&w, hanse_secagg_round_add_cutsig(w.round, sent(&w.sites[i]), &w.err));
        }
        for (uint32_t i = 0; i + 1 < w.n; i++) {
            walk_site(&w, i, HANSE_SECAGG_EV_CUT, spec, certified_cut);
            WALK(&w, hanse_secagg_round_add_answer(w.round, i, hanse_buf_bytes(&w.sites[i].extra), &w.err));
        }
        WALK(&w, hanse_secagg_round_reconstruct(w.round, (uint32_t[SITES]){0}, &w.err));
        assert_int_equal(world_finish(&w, &equal, NULL), HANSE_OK);
        assert_true(equal);
        for (uint32_t i = 0; i < w.n; i++)
            walk_site(&w, i, HANSE_SECAGG_EV_RESULT, NULL, result);
    }
    walk_site(&w, 0, HANSE_SECAGG_EV_OVER, NULL, over);
    walk_site(&w, 1, HANSE_SECAGG_EV_RETRY, NULL, retry);
    walk_site(&w, 2, HANSE_SECAGG_EV_RECOVER, NULL, recover);
    world_free(&w);
}

static void test_online(void **state)
{
    (void)state;
    whole_round(HANSE_SECAGG_ONLINE);
}

static void test_cron(void **state)
{
    (void)state;
    whole_round(HANSE_SECAGG_CRON);
}

static hanse_rc abort_slot(world *w, uint32_t i)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_ABORT, .slot = slot};

    event.signatures = hanse_secagg_round_deads(w->round, &event.signatures_count);
    return world_step(w, i, &event);
}

/* The slot is declared dead by all, and used again. */
static void test_dead(void **state)
{
    world w;

    (void)state;
    world_new(&w, SITES, HANSE_SECAGG_CRON, 52);
    slot = 1;
    to_uploads(&w);
    for (uint32_t i = 0; i < w.n; i++) {
        walk_site(&w, i, HANSE_SECAGG_EV_DEAD, NULL, dead);
        WALK(&w, hanse_secagg_round_add_dead(w.round, sent(&w.sites[i]), &w.err));
    }
    for (uint32_t i = 0; i < w.n; i++)
        walk_site(&w, i, HANSE_SECAGG_EV_ABORT, NULL, abort_slot);
    slot = 2;
    to_uploads(&w);
    for (uint32_t i = 0; i + 1 < w.n; i++)
        assert_true(w.sites[i].again);
    world_free(&w);
}

static struct {
    hanse_buf bytes;
    uint8_t sig[HANSE_SIG_MAX];
    size_t sig_len;
} second;

/* The same slot with another cut: HANSE_OK when it was refused as that, with the alarm. */
static hanse_rc show_second(world *w, uint32_t i)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_CUT, .object = {hanse_buf_bytes(&second.bytes), {second.sig, second.sig_len}},
                                .uploads = hanse_secagg_round_uploads(w->round)};
    const unsigned alarms = w->sites[i].alarms;
    hanse_rc rc = world_step(w, i, &event);

    assert_int_not_equal(rc, HANSE_OK);
    if (hanse_secagg_reason_of(&w->err) != HANSE_SECAGG_CUT_CONFLICT) {
        assert_int_equal(w->sites[i].alarms, alarms);
        return rc;
    }
    assert_int_equal(w->sites[i].alarms, alarms + 1);
    return HANSE_OK;
}

static void test_two_cuts(void **state)
{
    hanse_secagg_cut forged;
    world w;

    (void)state;
    world_new(&w, SITES, HANSE_SECAGG_CRON, 53);
    slot = 1;
    to_uploads(&w);
    assert_int_equal(hanse_secagg_round_cut(w.round, &w.err), HANSE_OK);
    assert_int_equal(certified_cut(&w, 0), HANSE_OK);
    assert_int_equal(hanse_secagg_cut_decode(&forged, hanse_secagg_round_cut_signed(w.round).bytes, &w.err), HANSE_OK);
    forged.uploads_root[0] ^= 1;
    assert_int_equal(hanse_secagg_cut_encode(&second.bytes, &forged, &w.err), HANSE_OK);
    assert_int_equal(hanse_sign_object(w.coordinator_key, HANSE_SECAGG_CUT_LABEL, hanse_buf_bytes(&second.bytes), second.sig, &second.sig_len, &w.err),
                     HANSE_OK);
    walk_site(&w, 0, HANSE_SECAGG_EV_CUT, spec, show_second);
    world_restart(&w, 0);
    assert_int_equal(spec(&w, 0), HANSE_OK);
    assert_int_not_equal(certified_cut(&w, 0), HANSE_OK); /* remembered: nothing is answered any more */
    hanse_secagg_cut_clear(&forged);
    hanse_buf_clear(&second.bytes);
    world_free(&w);
}

static void test_there_were_faults(void **state)
{
    (void)state;
    assert_true(plan.all > 500);
    print_message("%lu allocations failed\n", plan.all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_online), cmocka_unit_test(test_cron), cmocka_unit_test(test_dead),
                                       cmocka_unit_test(test_two_cuts), cmocka_unit_test(test_there_were_faults)};

    faults_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
