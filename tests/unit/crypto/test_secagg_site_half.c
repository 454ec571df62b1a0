/* What comes to a site at the wrong time or out of order: epochs, tickets, specs, uploads, shares that do not open. A refusal is remembered
 * nowhere, and the right thing is taken afterwards. */
#include "../../support/secagg_forge.h"

#include "crypto/secagg_core.h"
#include "hanse/hpke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

/* A call that site 0 must refuse without a change of its records. */
#define REFUSED_BY_0(call, why)                 \
    do {                                        \
        uint8_t before[32], after[32];          \
        forge_store_hash(&w, 0, before);        \
        REFUSED(call, why);                     \
        forge_store_hash(&w, 0, after);         \
        assert_memory_equal(before, after, 32); \
    } while (0)

/* --- epochs of others --- */

typedef struct statement {
    uint32_t epoch;
    uint8_t key; /* one or another */
    bool stranger; /* names a site that is no member */
    uint32_t signer;
} statement;

/* Shown to site 0, as of member 1. */
static hanse_rc show_epoch(world *w, statement s)
{
    hanse_secagg_epoch epoch = {.epoch = s.epoch, .not_before_ms = w->now_ms, .not_after_ms = w->now_ms + 7 * (uint64_t)86400000};
    hanse_secagg_event peer = {.kind = HANSE_SECAGG_EV_PEER};
    const uint8_t secret[32] = {0, s.key}; /* the lowest bits do not count */
    forged f = FORGED_EMPTY;
    hanse_rc rc;

    memcpy(epoch.site_id, hanse_secagg_roster_id(w->roster, 1), 32);
    epoch.site_id[0] = (uint8_t)(epoch.site_id[0] ^ s.stranger);
    assert_int_equal(hanse_x25519_public(epoch.pub, secret, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_epoch_encode(&f.bytes, &epoch, NULL), HANSE_OK);
    forge_sign(&f, w->sites[s.signer].key, HANSE_SECAGG_EPOCH_LABEL);
    peer.object = forged_signed(&f);
    rc = world_step(w, 0, &peer);
    forged_clear(&f);
    return rc;
}

/* The epoch that site 0 seals a share for member 1 to. */
static uint32_t epoch_sealed_to(world *w, uint64_t slot)
{
    assert_int_equal(world_ticket(w, 0, slot), HANSE_OK);
    return secagg_share_epoch((hanse_bytes){w->sites[0].cts.data + HANSE_SECAGG_CT_LEN, HANSE_SECAGG_CT_LEN});
}

static void test_epochs_of_others(void **state)
{
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 61);
    assert_int_equal(epoch_sealed_to(&w, 1), 1);
    GOOD(show_epoch(&w, (statement){3, 1, false, 1}));
    for (int restart = 0; restart < 2; restart++) {
        REFUSED_BY_0(show_epoch(&w, (statement){2, 1, false, 1}), REPLAY); /* an older one */
        REFUSED_BY_0(show_epoch(&w, (statement){3, 2, false, 1}), REPLAY); /* one number, two keys */
        REFUSED_BY_0(show_epoch(&w, (statement){4, 2, true, 1}), ROSTER);
        REFUSED_BY_0(show_epoch(&w, (statement){4, 2, false, 2}), SIG);
        GOOD(show_epoch(&w, (statement){3, 1, false, 1})); /* the same again */
        assert_int_equal(epoch_sealed_to(&w, 2 + (uint64_t)restart), 3);
        world_restart(&w, 0);
    }
    GOOD(show_epoch(&w, (statement){4, 2, false, 1})); /* control */
    assert_int_equal(epoch_sealed_to(&w, 4), 4);
    world_free(&w);
}

/* --- tickets --- */

static void test_tickets(void **state)
{
    hanse_secagg_event expired = {.kind = HANSE_SECAGG_EV_TICKET, .slot = 1, .newest_slot = 1, .until_ms = WORLD_NOW};
    hanse_secagg_event far = {.kind = HANSE_SECAGG_EV_TICKET, .slot = 3 + HANSE_SECAGG_SLOTS_AHEAD, .newest_slot = 2, .until_ms = WORLD_NOW + 86400000};
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 62);
    REFUSED_BY_0(world_step(&w, 0, &expired), TICKET);
    expired.until_ms++;
    GOOD(world_step(&w, 0, &expired)); /* control: a millisecond is left of it */
    REFUSED_BY_0(world_step(&w, 0, &far), REPLAY);
    far.newest_slot++;
    GOOD(world_step(&w, 0, &far)); /* control: four above the newest */
    GOOD(world_ticket(&w, 0, 2));
    world_free(&w);
}

/* --- a lower slot than that of the last upload --- */

static hanse_secagg_round *open_round(world *w, uint64_t slot)
{
    hanse_secagg_round *round;

    world_round_new(w, slot, NULL);
    for (uint32_t i = 0; i < w->n; i++) {
        world_site *site = &w->sites[i];

        assert_int_equal(world_ticket(w, i, slot), HANSE_OK);
        assert_int_equal(hanse_secagg_round_add_ticket(w->round, (hanse_signed){hanse_buf_bytes(&site->ticket), hanse_buf_bytes(&site->ticket_sig)},
                                                       hanse_buf_bytes(&site->cts), w->now_ms, &w->err), HANSE_OK);
    }
    assert_int_equal(hanse_secagg_round_open(w->round, w->now_ms, &w->err), HANSE_OK);
    round = w->round;
    w->round = NULL;
    return round;
}

static void test_lower_slot(void **state)
{
    hanse_secagg_round *first, *second;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 63);
    first = open_round(&w, 1);
    second = open_round(&w, 2);
    GOOD(world_spec_of(&w, 0, second, true));
    for (int restart = 0; restart < 2; restart++) {
        unsigned trains = w.sites[0].trains;

        REFUSED_BY_0(world_spec_of(&w, 0, first, true), REPLAY);
        assert_int_equal(w.sites[0].trains, trains);
        world_restart(&w, 0);
    }
    GOOD(world_spec_of(&w, 0, first, false)); /* as a holder it helps, and ... */
    GOOD(world_spec_of(&w, 0, second, true)); /* ... the slot that it trains for goes on */
    GOOD(world_mask(&w, 0, 2));
    GOOD(world_spec_of(&w, 1, first, true)); /* control: another site has not been further */
    hanse_secagg_round_free(first);
    hanse_secagg_round_free(second);
    world_free(&w);
}

/* --- uploads --- */

static void test_upload_without_a_bound_ticket(void **state)
{
    hanse_secagg_event upload = {.kind = HANSE_SECAGG_EV_UPLOAD, .slot = 1, .root = {7}};
    hanse_secagg_event dead = {.kind = HANSE_SECAGG_EV_DEAD, .slot = 1};
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 64);
    REFUSED_BY_0(world_step(&w, 0, &upload), TICKET_REUSED); /* a slot of which nothing is known */
    w.round = open_round(&w, 1);
    REFUSED_BY_0(world_step(&w, 0, &upload), TICKET_REUSED); /* a ticket, no spec */
    GOOD(world_spec(&w, 0, false));
    REFUSED_BY_0(world_step(&w, 0, &upload), TICKET_REUSED); /* a spec, as a holder only */
    GOOD(world_spec(&w, 0, true));
    world_restart(&w, 0);
    REFUSED_BY_0(world_step(&w, 0, &upload), TICKET_REUSED); /* bound, and the spec is not at hand */
    GOOD(world_spec(&w, 0, true));
    GOOD(world_step(&w, 0, &upload)); /* control */
    GOOD(world_header(&w, 0));
    GOOD(world_spec(&w, 1, true));
    GOOD(world_step(&w, 1, &dead));
    REFUSED(world_step(&w, 1, &upload), TICKET_REUSED); /* dead in between */
    world_free(&w);
}

static void test_upload_after_the_cut(void **state)
{
    hanse_secagg_event upload = {.kind = HANSE_SECAGG_EV_UPLOAD, .slot = 1, .root = {7}};
    world w;

    (void)state;
    for (int profile = HANSE_SECAGG_ONLINE; profile <= HANSE_SECAGG_CRON; profile++) { /* it has signed the cut; it has answered it */
        world_new(&w, 4, (hanse_secagg_profile)profile, 65);
        world_uploads(&w, 1, 1, 0); /* site 0 trains on */
        GOOD(hanse_secagg_round_cut(w.round, &w.err));
        GOOD(world_cut_of(&w, 0, w.round, false));
        for (int restart = 0; restart < 2; restart++) {
            REFUSED_BY_0(world_step(&w, 0, &upload), LATE);
            world_restart(&w, 0);
            GOOD(world_spec(&w, 0, false));
        }
        GOOD(world_cut_of(&w, 0, w.round, false));
        GOOD(world_cut_of(&w, 1, w.round, false));
        memcpy(upload.root, w.sites[1].root, 32);
        GOOD(world_step(&w, 1, &upload)); /* control: what was sent before may be sent again */
        world_free(&w);
    }
}

/* --- sealed shares --- */

/* The spec with the shares ([n][HANSE_SECAGG_CT_LEN]) as `tamper` leaves them. */
static hanse_rc show_spec(world *w, uint32_t i, void (*tamper)(uint8_t *shares))
{
    hanse_buf shares = HANSE_BUF_EMPTY;
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_SPEC, .object = hanse_secagg_round_spec(w->round), .tickets = hanse_secagg_round_tickets(w->round)};
    hanse_rc rc;

    world_shares(w, w->round, i, &shares);
    tamper(shares.data);
    event.shares = (hanse_bytes){shares.data, shares.len - 1};
    assert_int_equal(world_step(w, i, &event), HANSE_E_USAGE);
    event.shares.len++;
    rc = world_step(w, i, &event);
    hanse_buf_clear(&shares);
    return rc;
}

static void one_bit_of_2(uint8_t *shares) { shares[2 * HANSE_SECAGG_CT_LEN + 33] ^= 4; }
static void other_epoch_of_2(uint8_t *shares) { shares[2 * HANSE_SECAGG_CT_LEN + 3] = 2; } /* it lives, too */
static void unknown_epoch_of_2(uint8_t *shares) { shares[2 * HANSE_SECAGG_CT_LEN] = 1; }
static void none_of_2(uint8_t *shares) { memset(shares + 2 * HANSE_SECAGG_CT_LEN, 0, HANSE_SECAGG_CT_LEN); }
static void of_3_for_2(uint8_t *shares) { memcpy(shares + 2 * HANSE_SECAGG_CT_LEN, shares + 3 * HANSE_SECAGG_CT_LEN, HANSE_SECAGG_CT_LEN); }

/* Its maker's fault, or the coordinator's: the others' shares are given all the same, and the sum opens with those of the other holders. */
static void test_share_does_not_open(void **state)
{
    void (*tampers[])(uint8_t *) = {one_bit_of_2, other_epoch_of_2, unknown_epoch_of_2, none_of_2, of_3_for_2};
    hanse_secagg_event second = {.kind = HANSE_SECAGG_EV_EPOCH, .epoch = 2, .from_ms = WORLD_NOW, .until_ms = WORLD_NOW + 7 * 86400000};
    hanse_secagg_answer answer;
    bool equal = false;
    world w;

    (void)state;
    for (size_t k = 0; k < sizeof tampers / sizeof tampers[0]; k++) {
        world_new(&w, 5, HANSE_SECAGG_CRON, 66);
        world_uploads(&w, 1, 1u << 4, 0);
        GOOD(hanse_secagg_round_cut(w.round, &w.err));
        GOOD(world_step(&w, 0, &second));
        world_restart(&w, 0);
        GOOD(show_spec(&w, 0, tampers[k]));
        GOOD(world_answer(&w, 0));
        forge_answer_open(&w, 0, &answer);
        for (uint32_t j = 0; j < w.n; j++)
            assert_int_equal(answer.kinds[j], j == 2 ? HANSE_SECAGG_SHARE_NONE : j == 4 ? HANSE_SECAGG_SHARE_SK : HANSE_SECAGG_SHARE_B);
        hanse_secagg_answer_clear(&answer);
        for (uint32_t i = 1; i + 1 < w.n; i++)
            GOOD(world_answer(&w, i));
        REFUSED(world_finish(&w, &equal, NULL), COHORT); /* four answers, three shares of that ticket */
        GOOD(world_answer(&w, 4));
        GOOD(world_finish(&w, &equal, NULL));
        assert_true(equal);
        GOOD(world_spec(&w, 0, false)); /* shown as it is, the share is given, too */
        GOOD(world_cut_of(&w, 0, w.round, false));
        forge_answer_open(&w, 0, &answer);
        assert_int_equal(answer.kinds[2], HANSE_SECAGG_SHARE_B);
        hanse_secagg_answer_clear(&answer);
        world_free(&w);
    }
}

/* Under which name it does not open: for another holder, of another ticket, changed, cut short. */
static void test_share_auth(void **state)
{
    hanse_secagg_ticket ticket, other;
    hanse_x25519_pair epoch = {NULL, NULL};
    uint8_t shares[2][32] = {{1}}, untouched[2][32] = {{1}}, ct[HANSE_SECAGG_CT_LEN];
    const uint8_t *id;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 67);
    w.round = open_round(&w, 1);
    for (size_t k = 0; k < w.sites[0].store_count; k++)
        if (w.sites[0].store[k].key.data[0] == 'E') /* version, secret, pub, ... */
            epoch = (hanse_x25519_pair){w.sites[0].store[k].value.data + 1, w.sites[0].store[k].value.data + 33};
    assert_non_null(epoch.secret);
    assert_int_equal(hanse_secagg_ticket_decode(&ticket, hanse_buf_bytes(&w.sites[2].ticket), NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_ticket_decode(&other, hanse_buf_bytes(&w.sites[3].ticket), NULL), HANSE_OK);
    id = hanse_secagg_roster_id(w.roster, 0);
    memcpy(ct, world_share(&w, w.round, 2, 0).data, sizeof ct);
    REFUSED(secagg_share_open(shares, &other, id, 0, epoch, (hanse_bytes){ct, sizeof ct}, &w.err), SHARE_AUTH);
    REFUSED(secagg_share_open(shares, &ticket, id, 1, epoch, (hanse_bytes){ct, sizeof ct}, &w.err), SHARE_AUTH);
    REFUSED(secagg_share_open(shares, &ticket, hanse_secagg_roster_id(w.roster, 1), 0, epoch, (hanse_bytes){ct, sizeof ct}, &w.err), SHARE_AUTH);
    REFUSED(secagg_share_open(shares, &ticket, id, 0, epoch, (hanse_bytes){ct, sizeof ct - 1}, &w.err), SHARE_AUTH);
    ct[HANSE_SECAGG_CT_LEN - 1] ^= 1;
    REFUSED(secagg_share_open(shares, &ticket, id, 0, epoch, (hanse_bytes){ct, sizeof ct}, &w.err), SHARE_AUTH);
    assert_memory_equal(shares, untouched, sizeof shares);
    ct[HANSE_SECAGG_CT_LEN - 1] ^= 1;
    GOOD(secagg_share_open(shares, &ticket, id, 0, epoch, (hanse_bytes){ct, sizeof ct}, &w.err)); /* control */
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_epochs_of_others), cmocka_unit_test(test_tickets), cmocka_unit_test(test_lower_slot),
                                       cmocka_unit_test(test_upload_without_a_bound_ticket), cmocka_unit_test(test_upload_after_the_cut),
                                       cmocka_unit_test(test_share_does_not_open), cmocka_unit_test(test_share_auth)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
