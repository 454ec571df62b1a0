/* Keys that a member chose: signed, and good for nothing. */
#include "../../support/secagg_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* The ticket that member `i` left, with keys of the test's own, signed again. */
static hanse_rc leave_forged(world *w, uint32_t i, void (*forge)(hanse_secagg_ticket *ticket, const uint8_t other[32]), const uint8_t other[32])
{
    world_site *site = &w->sites[i];
    hanse_secagg_ticket ticket;
    hanse_buf bytes = HANSE_BUF_EMPTY;
    uint8_t sig[HANSE_SIG_MAX];
    size_t sig_len;
    hanse_rc rc;

    assert_int_equal(hanse_secagg_ticket_decode(&ticket, hanse_buf_bytes(&site->ticket), NULL), HANSE_OK);
    forge(&ticket, other);
    assert_int_equal(hanse_secagg_ticket_encode(&bytes, &ticket, NULL), HANSE_OK);
    assert_int_equal(hanse_sign_object(site->key, HANSE_SECAGG_TICKET_LABEL, hanse_buf_bytes(&bytes), sig, &sig_len, NULL), HANSE_OK);
    rc = hanse_secagg_round_add_ticket(w->round, (hanse_signed){hanse_buf_bytes(&bytes), {sig, sig_len}}, hanse_buf_bytes(&site->cts), w->now_ms, &w->err);
    hanse_buf_clear(&bytes);
    return rc;
}

static void one_key_twice(hanse_secagg_ticket *ticket, const uint8_t other[32])
{
    (void)other;
    memcpy(ticket->share_pub, ticket->pk, 32);
}
static void key_of_another(hanse_secagg_ticket *ticket, const uint8_t other[32]) { memcpy(ticket->share_pub, other, 32); }
static void pair_key_of(hanse_secagg_ticket *ticket, const uint8_t other[32]) { memcpy(ticket->pk, other, 32); }

/* One member's keys do not stop the others: its ticket is refused, and the round opens without it. */
static void test_keys_of_no_use(void **state)
{
    static const uint8_t low_order[32] = {1};
    hanse_secagg_ticket first;
    hanse_secagg_epoch epoch;
    hanse_secagg_event peer = {.kind = HANSE_SECAGG_EV_PEER};
    hanse_buf bytes = HANSE_BUF_EMPTY;
    uint8_t sig[HANSE_SIG_MAX];
    size_t sig_len;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 46);
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i + 1 < w.n; i++)
        GOOD(world_leave(&w, i, 1));
    GOOD(world_ticket(&w, 4, 1));
    assert_int_equal(hanse_secagg_ticket_decode(&first, hanse_buf_bytes(&w.sites[0].ticket), NULL), HANSE_OK);
    REFUSED(leave_forged(&w, 4, one_key_twice, NULL), DUPKEY);
    REFUSED(leave_forged(&w, 4, key_of_another, first.pk), DUPKEY);
    REFUSED(leave_forged(&w, 4, pair_key_of, first.share_pub), DUPKEY);
    REFUSED(leave_forged(&w, 4, pair_key_of, low_order), LOWORDER);
    REFUSED(leave_forged(&w, 4, key_of_another, low_order), LOWORDER);
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    for (uint32_t i = 0; i + 1 < w.n; i++)
        GOOD(world_spec(&w, i, true));

    /* an epoch that no ticket can be sealed to would stop every ticket */
    memcpy(epoch.site_id, hanse_secagg_roster_id(w.roster, 4), 32);
    epoch.epoch = 9;
    epoch.not_before_ms = w.now_ms;
    epoch.not_after_ms = w.now_ms + 86400000;
    memcpy(epoch.pub, low_order, 32);
    GOOD(hanse_secagg_epoch_encode(&bytes, &epoch, &w.err));
    GOOD(hanse_sign_object(w.sites[4].key, HANSE_SECAGG_EPOCH_LABEL, hanse_buf_bytes(&bytes), sig, &sig_len, &w.err));
    peer.object = (hanse_signed){hanse_buf_bytes(&bytes), {sig, sig_len}};
    REFUSED(world_step(&w, 0, &peer), LOWORDER);
    GOOD(world_ticket(&w, 0, 2));
    hanse_buf_clear(&bytes);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys_of_no_use)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
