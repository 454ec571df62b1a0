/* A coordinator that asks for too much, holders that give wrong shares, rounds that fail, and sites that were rolled back. */
#include "../../support/secagg_forge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

/* --- both kinds of share --- */

static void test_both_kinds(void **state)
{
    hanse_secagg_answer answer;
    forged_cut second;
    unsigned label_count;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 1);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    forge_cut(&w, &second, 1u << 2); /* member 2 outside: its other secret */
    GOOD(forged_cut_show(&w, 4, &second));  /* control: as a first cut it is a good one */
    GOOD(world_cut_of(&w, 0, w.round, false));
    forge_answer_open(&w, 0, &answer);
    for (uint32_t i = 0; i < w.n; i++)
        assert_int_equal(answer.kinds[i], HANSE_SECAGG_SHARE_B);
    hanse_secagg_answer_clear(&answer);
    GOOD(world_cut_of(&w, 0, w.round, false)); /* the same again gets the same */
    for (int restart = 0; restart < 2; restart++) {
        label_count = w.sites[0].alarms;
        REFUSED(forged_cut_show(&w, 0, &second), CUT_CONFLICT);
        assert_int_equal(w.sites[0].alarms, restart == 0 ? label_count + 1 : label_count);
        REFUSED(world_cut_of(&w, 0, w.round, false), CUT_CONFLICT); /* from then on nothing */
        world_restart(&w, 0);
        REFUSED(forged_cut_show(&w, 0, &second), REPLAY); /* not before the spec is shown again */
        GOOD(world_spec(&w, 0, false));
    }
    REFUSED(world_dead(&w, 0, 1), DEAD);
    forged_cut_clear(&second);
    world_free(&w);
}

static void later(hanse_secagg_spec *spec) { spec->upload_deadline_ms++; }

static void test_second_round_id(void **state)
{
    hanse_secagg_round *first;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 2);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    first = w.round;
    w.round = NULL;
    world_round_new(&w, 1, later);
    for (uint32_t i = 0; i < w.n; i++) {
        hanse_signed ticket = {hanse_buf_bytes(&w.sites[i].ticket), hanse_buf_bytes(&w.sites[i].ticket_sig)};
        GOOD(hanse_secagg_round_add_ticket(w.round, ticket, hanse_buf_bytes(&w.sites[i].cts), w.now_ms, &w.err));
    }
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    for (int restart = 0; restart < 2; restart++) {
        REFUSED(world_spec(&w, 0, true), REPLAY);
        REFUSED(world_spec(&w, 0, false), REPLAY);
        REFUSED(world_ticket(&w, 0, 1), REPLAY); /* nor a second ticket */
        world_restart(&w, 0);
    }
    GOOD(world_spec_of(&w, 0, first, true));
    GOOD(world_cut_of(&w, 0, first, false));
    hanse_secagg_round_free(first);
    world_free(&w);
}

static void test_online_needs_certificate(void **state)
{
    size_t count;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_ONLINE, 3);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (uint32_t i = 0; i + 1 < w.params.t; i++)
        GOOD(world_sign_cut(&w, i));
    REFUSED(world_answer(&w, 0), CUT_CONFLICT);
    GOOD(world_sign_cut(&w, 0)); /* again: no second vote */
    assert_non_null(hanse_secagg_round_cutsigs(w.round, &count));
    assert_int_equal(count, w.params.t - 1);
    GOOD(world_sign_cut(&w, 4));
    GOOD(world_answer(&w, 0)); /* control */
    world_free(&w);
}

/* --- cohorts --- */

static void test_isolation(void **state)
{
    forged_cut cut;
    world w;

    (void)state;
    world_new(&w, 10, HANSE_SECAGG_CRON, 4);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    forge_cut(&w, &cut, 7u << 3); /* three outside, two may be */
    REFUSED(forged_cut_show(&w, 0, &cut), COHORT);
    forged_cut_clear(&cut);
    forge_cut(&w, &cut, 0x3fe); /* the victim alone */
    REFUSED(forged_cut_show(&w, 0, &cut), COHORT);
    forged_cut_clear(&cut);
    forge_cut(&w, &cut, 0);
    cut.uploads[6].sig = cut.uploads[5].sig; /* a header that nobody signed */
    REFUSED(forged_cut_show(&w, 0, &cut), SIG);
    cut.uploads[6] = cut.uploads[5];
    REFUSED(forged_cut_show(&w, 0, &cut), SIG);
    forged_cut_clear(&cut);
    forge_cut(&w, &cut, 3u << 3); /* control */
    GOOD(forged_cut_show(&w, 0, &cut));
    forged_cut_clear(&cut);
    world_free(&w);
}

static void test_organisations(void **state)
{
    forged_cut cut;
    world w;

    (void)state;
    world_new_of(&w, 5, 4, HANSE_SECAGG_CRON, 14); /* members 0 and 4 are of one organisation */
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    forge_cut(&w, &cut, 1u << 2);
    REFUSED(forged_cut_show(&w, 1, &cut), COHORT); /* four sites, but three organisations: m is 4 */
    forged_cut_clear(&cut);
    forge_cut(&w, &cut, 1u << 4);
    GOOD(forged_cut_show(&w, 1, &cut));
    forged_cut_clear(&cut);
    world_free(&w);
}

/* Bytes that could not be kept are not in the cut, until they have come again. */
static void test_undone_upload(void **state)
{
    world w;

    (void)state;
    world_new(&w, 3, HANSE_SECAGG_ONLINE, 45);
    world_uploads(&w, 1, 0, 0);
    assert_int_equal(hanse_secagg_round_upload_undone(w.round, 1, &w.err), HANSE_OK);
    assert_int_equal(hanse_secagg_round_complete(w.round), 2);
    assert_int_equal(world_header(&w, 1), HANSE_OK);
    assert_int_equal(world_complete(&w, 1), HANSE_OK);
    assert_int_equal(hanse_secagg_round_complete(w.round), 3);
    assert_int_equal(hanse_secagg_round_cut(w.round, &w.err), HANSE_OK);
    assert_int_not_equal(hanse_secagg_round_upload_undone(w.round, 1, &w.err), HANSE_OK); /* the cut has it */
    assert_int_equal(hanse_secagg_round_complete(w.round), 3);
    world_free(&w);
}

static void test_receipt_is_honoured(void **state)
{
    hanse_secagg_event receipt = {.kind = HANSE_SECAGG_EV_RECEIPT, .slot = 1};
    forged_cut cut;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 5);
    world_uploads(&w, 1, 0, 0);
    GOOD(world_step(&w, 2, &receipt));
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    forge_cut(&w, &cut, 1u << 2);
    REFUSED(forged_cut_show(&w, 2, &cut), CUT_OVERLAP);
    GOOD(forged_cut_show(&w, 1, &cut)); /* control: without a receipt a late upload may be left out */
    forged_cut_clear(&cut);
    world_free(&w);
}

static void test_below_thresholds(void **state)
{
    bool equal;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_ONLINE, 6);
    world_uploads(&w, 1, 3, 0); /* two of five are missing, one may be */
    REFUSED(hanse_secagg_round_cut(w.round, &w.err), COHORT);
    assert_int_equal(hanse_secagg_round_cut_signed(w.round).bytes.len, 0);
    for (uint32_t i = 0; i < w.n; i++) /* no share left any site */
        assert_string_not_equal(w.sites[i].label, HANSE_SECAGG_ANSWER_LABEL);
    w.model_root[0] ^= 1;
    world_uploads(&w, 2, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (uint32_t i = 0; i < w.n; i++)
        GOOD(world_sign_cut(&w, i));
    for (uint32_t i = 0; i + 1 < w.params.t; i++)
        GOOD(world_answer(&w, i));
    REFUSED(world_finish(&w, &equal, NULL), COHORT);
    GOOD(world_answer(&w, 4)); /* control */
    GOOD(world_finish(&w, &equal, NULL));
    assert_true(equal);
    world_free(&w);
}

/* --- wrong shares --- */

static void test_wrong_share(void **state)
{
    hanse_secagg_answer answer;
    uint32_t blamed[10];
    bool equal;
    world w;

    (void)state;
    world_new(&w, 10, HANSE_SECAGG_CRON, 7);
    world_uploads(&w, 1, 1u << 9, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (uint32_t i = 0; i < w.params.t; i++) {
        GOOD(world_cut_of(&w, i, w.round, false));
        if (i == 2) {
            forge_answer_open(&w, i, &answer);
            answer.shares[9][7] ^= 1; /* of the key of the absent member */
            forge_answer_seal(&w, i, &answer);
            hanse_secagg_answer_clear(&answer);
        }
        GOOD(hanse_secagg_round_add_answer(w.round, i, hanse_buf_bytes(&w.sites[i].extra), &w.err));
    }
    REFUSED(world_finish(&w, &equal, blamed), RECON); /* exactly t, one wrong: noticed, not blamed */
    GOOD(world_answer(&w, 8));
    GOOD(world_finish(&w, &equal, blamed));
    assert_true(equal);
    for (uint32_t i = 0; i < w.n; i++)
        assert_int_equal(blamed[i], i == 2 ? 1 : 0);
    REFUSED(hanse_secagg_round_add_answer(w.round, 7, hanse_buf_bytes(&w.sites[6].extra), &w.err), SHARE_AUTH); /* another's */
    world_free(&w);
}

/* --- retry --- */

static void test_abort_certificate(void **state)
{
    hanse_secagg_event abort_event = {.kind = HANSE_SECAGG_EV_ABORT, .slot = 1};
    bool equal;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 8);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (uint32_t i = 0; i < 3; i++) { /* n-t+1+c = 3 */
        assert_false(hanse_secagg_round_is_aborted(w.round));
        abort_event.signatures = hanse_secagg_round_deads(w.round, &abort_event.signatures_count);
        REFUSED(world_step(&w, 4, &abort_event), DIFF);
        GOOD(world_dead(&w, i, 1));
        GOOD(world_dead(&w, i, 1)); /* again: no second vote */
    }
    assert_true(hanse_secagg_round_is_aborted(w.round));
    REFUSED(world_cut_of(&w, 0, w.round, false), DEAD);
    world_restart(&w, 0);
    REFUSED(world_spec(&w, 0, false), DEAD);
    REFUSED(world_answer(&w, 3), DEAD); /* it may answer, the coordinator's own half refuses */
    assert_int_not_equal(world_finish(&w, &equal, NULL), HANSE_OK);
    abort_event.signatures = hanse_secagg_round_deads(w.round, &abort_event.signatures_count);
    for (uint32_t i = 0; i < w.n; i++)
        GOOD(world_step(&w, i, &abort_event));
    world_uploads(&w, 2, 0, 0); /* the same base model again */
    for (uint32_t i = 0; i < w.n; i++) {
        assert_true(w.sites[i].again);
        assert_false(w.sites[i].reseed);
    }
    world_free(&w);
}

static void test_burnt_slots(void **state)
{
    hanse_secagg_event retry = {.kind = HANSE_SECAGG_EV_RETRY};
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 9);
    world_uploads(&w, 1, 0, 0);
    assert_false(w.sites[0].reseed);
    for (uint64_t slot = 2; slot <= 3; slot++) { /* silence, no AbortCert: trained anew, twice */
        world_uploads(&w, slot, 0, 0);
        assert_true(w.sites[0].reseed);
        assert_false(w.sites[0].again);
    }
    world_round_new(&w, 4, NULL);
    for (uint32_t i = 0; i < w.n; i++)
        GOOD(world_leave(&w, i, 4));
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    REFUSED(world_spec(&w, 0, true), DIFF);
    world_restart(&w, 0);
    REFUSED(world_spec(&w, 0, true), DIFF);
    GOOD(world_spec(&w, 0, false)); /* as a holder it helps all the same */
    GOOD(world_step(&w, 0, &retry));
    world_restart(&w, 0);
    GOOD(world_spec(&w, 0, true));
    world_free(&w);
}

static void test_other_run(void **state)
{
    world_record *store;
    size_t count;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 10);
    world_uploads(&w, 1, 0, 0);
    store = world_snapshot(&w, 0, &count);
    w.run[0] ^= 1; /* a second run of the same plan from the same model, all tickets new */
    for (uint32_t i = 0; i < w.n; i++) {
        w.sites[i].config.run[0] ^= 1;
        world_restart(&w, i);
    }
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i < w.n; i++)
        GOOD(world_leave(&w, i, 1));
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    REFUSED(world_spec(&w, 0, true), DIFF);
    for (size_t k = 0; k < count; k++) {
        hanse_buf_clear(&store[k].key);
        hanse_buf_clear(&store[k].value);
    }
    hanse_free(store);
    world_free(&w);
}

/* --- rollback --- */

/* The slot's round with the tickets left last of all but member 0. */
static void open_without_first(world *w, uint64_t slot)
{
    world_round_new(w, slot, NULL);
    for (uint32_t i = 1; i < w->n; i++) {
        hanse_signed ticket = {hanse_buf_bytes(&w->sites[i].ticket), hanse_buf_bytes(&w->sites[i].ticket_sig)};

        assert_int_equal(hanse_secagg_round_add_ticket(w->round, ticket, hanse_buf_bytes(&w->sites[i].cts), w->now_ms, NULL), HANSE_OK);
    }
    assert_int_equal(hanse_secagg_round_open(w->round, w->now_ms, &w->err), HANSE_OK);
}

/* Member 0 begins an epoch; a copy of its statement, if asked for. */
static void begin_epoch(world *w, uint32_t number, hanse_buf *bytes, hanse_buf *sig)
{
    hanse_secagg_event epoch = {.kind = HANSE_SECAGG_EV_EPOCH, .epoch = number, .from_ms = w->now_ms, .until_ms = w->now_ms + 86400000};

    assert_int_equal(world_step(w, 0, &epoch), HANSE_OK);
    if (bytes == NULL)
        return;
    assert_int_equal(hanse_buf_append(bytes, w->sites[0].value.data, w->sites[0].value.len, NULL), HANSE_OK);
    assert_int_equal(hanse_buf_append(sig, w->sites[0].sig.data, w->sites[0].sig.len, NULL), HANSE_OK);
}

static void test_rollback(void **state)
{
    hanse_secagg_event recover = {.kind = HANSE_SECAGG_EV_RECOVER, .slot = 2};
    hanse_secagg_event mine = {.kind = HANSE_SECAGG_EV_PEER};
    hanse_buf bytes = HANSE_BUF_EMPTY, sig = HANSE_BUF_EMPTY;
    world_record *old;
    size_t count;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 11);
    old = world_snapshot(&w, 0, &count);
    begin_epoch(&w, 2, &bytes, &sig);
    mine.object = (hanse_signed){hanse_buf_bytes(&bytes), hanse_buf_bytes(&sig)};
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    GOOD(world_step(&w, 0, &mine));
    world_restore(&w, 0, old, count);
    REFUSED(world_spec(&w, 0, true), ROLLBACK); /* a ticket of its own that it does not know */
    REFUSED(world_step(&w, 0, &mine), ROLLBACK);
    GOOD(world_step(&w, 0, &recover));
    REFUSED(world_dead(&w, 0, 1), ROLLBACK);
    REFUSED(world_ticket(&w, 0, 1), REPLAY);
    world_restart(&w, 0);
    REFUSED(world_spec(&w, 0, false), ROLLBACK);
    begin_epoch(&w, 3, NULL, NULL);
    GOOD(world_ticket(&w, 0, 2));
    /* a round of before in which it has no ticket: it is no holder there either */
    open_without_first(&w, 1);
    REFUSED(world_spec(&w, 0, false), ROLLBACK);
    hanse_buf_clear(&bytes);
    hanse_buf_clear(&sig);
    world_free(&w);
}

/* Once it is known that a site's state went back, it promises nothing more, whoever asks and however often it starts. */
static void test_rollback_is_remembered(void **state)
{
    hanse_secagg_event recover = {.kind = HANSE_SECAGG_EV_RECOVER, .slot = 4};
    hanse_secagg_event mine = {.kind = HANSE_SECAGG_EV_PEER};
    hanse_buf bytes = HANSE_BUF_EMPTY, sig = HANSE_BUF_EMPTY;
    world_record *old;
    size_t count;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 18);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    old = world_snapshot(&w, 0, &count);
    GOOD(world_cut_of(&w, 0, w.round, false)); /* shares of slot 1 are given, and forgotten */
    begin_epoch(&w, 2, &bytes, &sig);
    mine.object = (hanse_signed){hanse_buf_bytes(&bytes), hanse_buf_bytes(&sig)};
    world_restore(&w, 0, old, count);
    GOOD(world_spec(&w, 0, false)); /* control: it does not know */
    w.sites[0].alarms = 0;
    REFUSED(world_step(&w, 0, &mine), ROLLBACK);
    assert_int_equal(w.sites[0].alarms, 1);
    for (int restart = 0; restart < 2; restart++) {
        REFUSED(world_dead(&w, 0, 1), ROLLBACK);
        REFUSED(world_cut_of(&w, 0, w.round, false), ROLLBACK);
        REFUSED(world_ticket(&w, 0, 2), ROLLBACK);
        REFUSED(world_spec(&w, 0, false), ROLLBACK);
        world_restart(&w, 0);
    }
    GOOD(world_step(&w, 0, &recover));
    world_restart(&w, 0);
    begin_epoch(&w, 3, NULL, NULL);
    /* the coordinator may have named too low a slot: only a round with a ticket of since then is declared dead */
    REFUSED(world_dead(&w, 0, 5), ROLLBACK);
    w.model_root[0] ^= 1;
    world_uploads(&w, 5, 0, 0);
    world_restart(&w, 0);
    GOOD(world_dead(&w, 0, 5));
    hanse_buf_clear(&bytes);
    hanse_buf_clear(&sig);
    world_free(&w);
}

/* Nor does it sign a cut of a slot for which it may have signed another before. */
static void test_recovered_signs_no_cut(void **state)
{
    hanse_secagg_event recover = {.kind = HANSE_SECAGG_EV_RECOVER, .slot = 1};
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_ONLINE, 19);
    for (uint32_t i = 1; i < w.n; i++)
        GOOD(world_ticket(&w, i, 1));
    GOOD(world_step(&w, 0, &recover)); /* the coordinator named too low a slot */
    begin_epoch(&w, 3, NULL, NULL);
    open_without_first(&w, 1);
    GOOD(world_spec(&w, 0, false));
    for (uint32_t i = 1; i < w.n; i++) {
        GOOD(world_spec(&w, i, true));
        GOOD(world_mask(&w, i, 1));
        GOOD(world_header(&w, i));
        GOOD(world_complete(&w, i));
    }
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    REFUSED(world_sign_cut(&w, 0), ROLLBACK);
    GOOD(world_sign_cut(&w, 1)); /* control */
    world_free(&w);
}

/* The newest epoch is stated again with the same bytes, also after a restart; peers are remembered by id, not by place. */
static void test_epoch_again(void **state)
{
    hanse_secagg_event epoch = {.kind = HANSE_SECAGG_EV_EPOCH, .epoch = 7}, again = {.kind = HANSE_SECAGG_EV_EPOCH};
    hanse_buf first = HANSE_BUF_EMPTY;
    world w, other;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 21);
    epoch.from_ms = w.now_ms;
    epoch.until_ms = w.now_ms + 86400000;
    GOOD(world_step(&w, 2, &epoch));
    assert_int_equal(hanse_secagg_site_epoch_until(w.sites[2].site), epoch.until_ms);
    GOOD(hanse_buf_append(&first, w.sites[2].value.data, w.sites[2].value.len, &w.err));
    world_restart(&w, 2);
    assert_int_equal(hanse_secagg_site_epoch_until(w.sites[2].site), epoch.until_ms);
    GOOD(world_step(&w, 2, &again));
    assert_true(hanse_bytes_equal(hanse_buf_bytes(&first), hanse_buf_bytes(&w.sites[2].value)));
    hanse_buf_clear(&first);
    /* what was stored in a run with other members says nothing about those of this one */
    world_new(&other, 4, HANSE_SECAGG_CRON, 22);
    for (size_t k = 0; k < w.sites[2].store_count; k++)
        if (w.sites[2].store[k].key.data[0] == 'P' && w.sites[2].store[k].value.len > 0)
            GOOD(hanse_secagg_site_load(other.sites[1].site, hanse_buf_bytes(&w.sites[2].store[k].key), hanse_buf_bytes(&w.sites[2].store[k].value), &w.err));
    world_round_new(&other, 1, NULL);
    GOOD(world_leave(&other, 1, 1));
    GOOD(world_leave(&other, 0, 1));
    world_free(&other);
    world_free(&w);
}

static void test_epoch_ends(void **state)
{
    hanse_secagg_event tick = {.kind = HANSE_SECAGG_EV_TICK};
    hanse_secagg_answer answer;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 12);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    w.now_ms += 7 * 86400000 + WORLD_L;
    GOOD(world_step(&w, 0, &tick));
    GOOD(world_cut_of(&w, 0, w.round, false)); /* on the last millisecond it still opens */
    forge_answer_open(&w, 0, &answer);
    assert_int_equal(answer.kinds[1], HANSE_SECAGG_SHARE_B);
    hanse_secagg_answer_clear(&answer);
    w.now_ms++;
    GOOD(world_step(&w, 0, &tick));
    GOOD(world_cut_of(&w, 0, w.round, false));
    forge_answer_open(&w, 0, &answer);
    for (uint32_t i = 0; i < w.n; i++)
        assert_int_equal(answer.kinds[i], HANSE_SECAGG_SHARE_NONE);
    hanse_secagg_answer_clear(&answer);
    REFUSED(world_ticket(&w, 1, 2), TICKET); /* nobody's epoch key may be sealed to any more */
    world_free(&w);
}

/* Secrets do not outlive their use: not those of a slot without result either, once a later one has one. */
static void test_tickets_end(void **state)
{
    hanse_secagg_event result = {.kind = HANSE_SECAGG_EV_RESULT, .slot = 2}, over = {.kind = HANSE_SECAGG_EV_OVER};
    hanse_secagg_event *events[] = {&result, &over};
    world w;

    (void)state;
    world_new(&w, 3, HANSE_SECAGG_ONLINE, 31);
    world_uploads(&w, 1, 0, 0);
    for (uint32_t i = 0; i < 2; i++) {
        world_restart(&w, i);
        GOOD(world_spec(&w, i, true)); /* control */
        GOOD(world_step(&w, i, events[i]));
        assert_int_not_equal(world_spec(&w, i, true), HANSE_OK);
        world_restart(&w, i);
        if (events[i] == &result) /* it had no part in slot 2: that slot 1 is over is known all the same */
            REFUSED(world_spec(&w, i, true), REPLAY);
        else
            REFUSED(world_spec(&w, i, true), TICKET_REUSED);
    }
    world_free(&w);
}

/* The same of records alone: nobody loads a machine for a run that ended while this site was away. */
static void test_records_end(void **state)
{
    const uint64_t old_ms = WORLD_NOW + 7 * (uint64_t)86400000 + HANSE_SECAGG_LIFE_MAX_MS + 1;
    hanse_buf out = HANSE_BUF_EMPTY;
    unsigned tickets = 0, epochs = 0;
    uint8_t other[16];
    bool changed;
    world w;

    (void)state;
    world_new(&w, 3, HANSE_SECAGG_ONLINE, 34);
    world_uploads(&w, 1, 0, 0);
    GOOD(world_ticket(&w, 0, 2));
    memcpy(other, w.run, 16);
    other[0] ^= 1;
    for (size_t k = 0; k < w.sites[0].store_count; k++) {
        world_record *record = &w.sites[0].store[k];
        const hanse_bytes key = hanse_buf_bytes(&record->key);

        GOOD(hanse_secagg_record_end(&out, &changed, key, hanse_buf_bytes(&record->value), other, w.now_ms, &w.err));
        assert_false(changed);
        GOOD(hanse_secagg_record_end(&out, &changed, key, hanse_buf_bytes(&record->value), NULL, old_ms - 1, &w.err));
        assert_false(changed);
        GOOD(hanse_secagg_record_end(&out, &changed, key, hanse_buf_bytes(&record->value), w.run, old_ms, &w.err));
        if (!changed)
            continue;
        if (out.len == 0) {
            assert_int_equal(key.data[0], 'E');
            epochs++;
            continue; /* the site below may keep it: it is not in question there */
        }
        tickets++;
        hanse_buf_clear(&record->value);
        record->value = out;
        out = HANSE_BUF_EMPTY;
        GOOD(hanse_secagg_record_end(&out, &changed, key, hanse_buf_bytes(&record->value), w.run, w.now_ms, &w.err));
        assert_false(changed);
    }
    assert_int_equal(tickets, 2);
    assert_int_equal(epochs, 1);
    world_restart(&w, 0);
    REFUSED(world_spec(&w, 0, true), TICKET_REUSED);
    REFUSED(world_ticket(&w, 0, 2), TICKET_REUSED);
    assert_int_equal(hanse_secagg_record_end(&out, &changed, hanse_bytes_str("S"), hanse_bytes_str("?"), w.run, w.now_ms, &w.err), HANSE_E_CORRUPT);
    world_free(&w);
}

/* Killed between the end of its tickets and that of the run, a site still believes that the run goes on. */
static void test_ended_ticket_is_not_left(void **state)
{
    hanse_secagg_event over = {.kind = HANSE_SECAGG_EV_OVER}, dead = {.kind = HANSE_SECAGG_EV_DEAD, .slot = 2};
    hanse_secagg_event *events[] = {&over, &dead};
    world w;

    (void)state;
    world_new(&w, 3, HANSE_SECAGG_ONLINE, 32);
    world_uploads(&w, 1, 0, 0);
    for (uint32_t i = 0; i < 2; i++) {
        GOOD(world_ticket(&w, i, 2));
        GOOD(world_ticket(&w, i, 2)); /* control: the same again */
        GOOD(world_step(&w, i, events[i]));
        REFUSED(world_ticket(&w, i, 2), TICKET_REUSED);
        world_restart(&w, i);
        REFUSED(world_ticket(&w, i, 2), TICKET_REUSED);
    }
    world_free(&w);
}

static void test_same_bytes_only(void **state)
{
    hanse_secagg_event upload = {.kind = HANSE_SECAGG_EV_UPLOAD, .slot = 1};
    world w;

    (void)state;
    world_new(&w, 3, HANSE_SECAGG_ONLINE, 13);
    world_uploads(&w, 1, 0, 0);
    memcpy(upload.root, w.sites[0].root, 32);
    GOOD(world_step(&w, 0, &upload)); /* control */
    upload.root[0] ^= 1;
    REFUSED(world_step(&w, 0, &upload), TICKET_REUSED);
    world_restart(&w, 0);
    GOOD(world_spec(&w, 0, true));
    REFUSED(world_step(&w, 0, &upload), TICKET_REUSED);
    w.now_ms += 60001;
    REFUSED(world_header(&w, 0), LATE);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_kinds), cmocka_unit_test(test_second_round_id), cmocka_unit_test(test_online_needs_certificate),
        cmocka_unit_test(test_isolation), cmocka_unit_test(test_organisations), cmocka_unit_test(test_undone_upload), cmocka_unit_test(test_receipt_is_honoured), cmocka_unit_test(test_below_thresholds),
        cmocka_unit_test(test_wrong_share), cmocka_unit_test(test_abort_certificate), cmocka_unit_test(test_burnt_slots),
        cmocka_unit_test(test_other_run), cmocka_unit_test(test_rollback), cmocka_unit_test(test_rollback_is_remembered), cmocka_unit_test(test_recovered_signs_no_cut), cmocka_unit_test(test_epoch_ends), cmocka_unit_test(test_epoch_again),
        cmocka_unit_test(test_tickets_end), cmocka_unit_test(test_records_end), cmocka_unit_test(test_ended_ticket_is_not_left),
        cmocka_unit_test(test_same_bytes_only)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
