/* What members send to the coordinator at the wrong time, or with something changed: tickets, upload headers, uploads after the cut. A
 * refusal leaves the round as it was, and the right thing is taken afterwards. */
#include "../../support/secagg_forge.h"

#include "crypto/secagg_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

/* --- tickets --- */

static hanse_signed ticket_of(const world_site *site)
{
    return (hanse_signed){hanse_buf_bytes(&site->ticket), hanse_buf_bytes(&site->ticket_sig)};
}

/* The ticket of member i with a field changed, signed again; with its shares as they are, or with others that it then names. */
static hanse_rc leave_forged(world *w, uint32_t i, void (*change)(hanse_secagg_ticket *ticket), const hanse_bytes *cts)
{
    hanse_secagg_ticket ticket;
    forged f = FORGED_EMPTY;
    hanse_rc rc;

    assert_int_equal(hanse_secagg_ticket_decode(&ticket, hanse_buf_bytes(&w->sites[i].ticket), NULL), HANSE_OK);
    if (change != NULL)
        change(&ticket);
    if (cts != NULL)
        assert_int_equal(hanse_secagg_hash(ticket.cts_hash, "shares", *cts, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_ticket_encode(&f.bytes, &ticket, NULL), HANSE_OK);
    forge_sign(&f, w->sites[i].key, HANSE_SECAGG_TICKET_LABEL);
    rc = hanse_secagg_round_add_ticket(w->round, forged_signed(&f), cts != NULL ? *cts : hanse_buf_bytes(&w->sites[i].cts), w->now_ms, &w->err);
    forged_clear(&f);
    return rc;
}

static hanse_rc leave_changed(world *w, uint32_t i, void (*change)(hanse_secagg_ticket *ticket))
{
    return leave_forged(w, i, change, NULL);
}

static void t_shares(hanse_secagg_ticket *t) { t->cts_hash[0] ^= 1; }
static void t_slot(hanse_secagg_ticket *t) { t->slot++; }
static void t_run(hanse_secagg_ticket *t) { t->run[0] ^= 1; }
static void t_expired(hanse_secagg_ticket *t) { t->expiry_ms = WORLD_NOW; }
static void t_roster(hanse_secagg_ticket *t) { t->roster_hash[0] ^= 1; }
static void t_stranger(hanse_secagg_ticket *t) { t->site_id[0] ^= 1; }
static void t_later(hanse_secagg_ticket *t) { t->expiry_ms++; }

static const struct { const char *name; void (*change)(hanse_secagg_ticket *ticket); hanse_secagg_reason want; } tickets[] = {
    {"other shares than it names", t_shares, HANSE_SECAGG_TICKET},
    {"another slot", t_slot, HANSE_SECAGG_TICKET},
    {"another run", t_run, HANSE_SECAGG_TICKET},
    {"expired", t_expired, HANSE_SECAGG_TICKET},
    {"another roster", t_roster, HANSE_SECAGG_ROSTER},
};

static uint32_t tickets_count(const world *w)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < w->n; i++)
        count += hanse_secagg_round_tickets(w->round)[i].bytes.len > 0;
    return count;
}

static void test_tickets(void **state)
{
    world_site *site;
    hanse_buf cts = HANSE_BUF_EMPTY;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 71);
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i < w.n; i++)
        GOOD(world_ticket(&w, i, 1));
    site = &w.sites[0];
    for (size_t k = 0; k < sizeof tickets / sizeof tickets[0]; k++)
        if (leave_changed(&w, 0, tickets[k].change) == HANSE_OK || hanse_secagg_reason_of(&w.err) != tickets[k].want)
            fail_msg("%s: %s", tickets[k].name, w.err.text);
    REFUSED(leave_changed(&w, 1, t_stranger), ROSTER); /* no member */
    GOOD(hanse_buf_append(&cts, site->cts.data, site->cts.len, &w.err));
    GOOD(hanse_buf_append(&cts, site->cts.data, HANSE_SECAGG_CT_LEN, &w.err));
    for (size_t members = 4; members <= 6; members += 2) { /* shares for one member less, and one more, also where the ticket names them */
        const hanse_bytes some = {cts.data, members * HANSE_SECAGG_CT_LEN};

        REFUSED(hanse_secagg_round_add_ticket(w.round, ticket_of(site), some, w.now_ms, &w.err), TICKET);
        REFUSED(leave_forged(&w, 0, NULL, &some), TICKET);
    }
    REFUSED(hanse_secagg_round_add_ticket(w.round, ticket_of(site), HANSE_BYTES_EMPTY, w.now_ms, &w.err), TICKET);
    cts.data[3 * HANSE_SECAGG_CT_LEN] ^= 1;
    REFUSED(hanse_secagg_round_add_ticket(w.round, ticket_of(site), (hanse_bytes){cts.data, site->cts.len}, w.now_ms, &w.err), TICKET);
    assert_int_equal(tickets_count(&w), 0);
    GOOD(hanse_secagg_round_add_ticket(w.round, ticket_of(site), hanse_buf_bytes(&site->cts), w.now_ms, &w.err)); /* control */
    GOOD(hanse_secagg_round_add_ticket(w.round, ticket_of(site), hanse_buf_bytes(&site->cts), w.now_ms, &w.err)); /* the same again */
    REFUSED(leave_changed(&w, 0, t_later), TICKET_REUSED);
    assert_true(hanse_bytes_equal(hanse_secagg_round_tickets(w.round)[0].bytes, hanse_buf_bytes(&site->ticket))); /* the first counts */
    for (uint32_t i = 1; i + 1 < w.n; i++)
        GOOD(hanse_secagg_round_add_ticket(w.round, ticket_of(&w.sites[i]), hanse_buf_bytes(&w.sites[i].cts), w.now_ms, &w.err));
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    REFUSED(hanse_secagg_round_add_ticket(w.round, ticket_of(&w.sites[4]), hanse_buf_bytes(&w.sites[4].cts), w.now_ms, &w.err), LATE);
    assert_int_equal(tickets_count(&w), 4);
    for (uint32_t i = 0; i + 1 < w.n; i++)
        GOOD(world_spec(&w, i, true)); /* the list is good for all that are in it */
    hanse_buf_clear(&cts);
    world_free(&w);
}

/* --- upload headers --- */

/* The header that member i sent last with a field changed, signed again. */
static hanse_rc send_changed(world *w, uint32_t i, void (*change)(hanse_secagg_upload *upload))
{
    hanse_secagg_upload upload;
    forged f = FORGED_EMPTY;
    uint32_t idx = 77;
    hanse_rc rc;

    assert_string_equal(w->sites[i].label, HANSE_SECAGG_UPLOAD_LABEL);
    assert_int_equal(hanse_secagg_upload_decode(&upload, hanse_buf_bytes(&w->sites[i].value), NULL), HANSE_OK);
    change(&upload);
    assert_int_equal(hanse_secagg_upload_encode(&f.bytes, &upload, NULL), HANSE_OK);
    forge_sign(&f, w->sites[i].key, HANSE_SECAGG_UPLOAD_LABEL);
    rc = hanse_secagg_round_add_upload(w->round, forged_signed(&f), w->now_ms, &idx, &w->err);
    assert_int_equal(idx, rc == HANSE_OK ? i : 77);
    forged_clear(&f);
    return rc;
}

static void u_none(hanse_secagg_upload *u) { (void)u; }
static void u_nonce(hanse_secagg_upload *u) { u->nonce[0] ^= 1; }
static void u_round(hanse_secagg_upload *u) { u->round_id[0] ^= 1; }
static void u_run(hanse_secagg_upload *u) { u->run[0] ^= 1; }
static void u_slot(hanse_secagg_upload *u) { u->slot++; }
static void u_stranger(hanse_secagg_upload *u) { u->site_id[0] ^= 1; }
static void u_chunks(hanse_secagg_upload *u) { u->chunks++; }
static void u_longer(hanse_secagg_upload *u) { u->len++; }
static void u_shorter(hanse_secagg_upload *u) { u->len--; }
static void u_root(hanse_secagg_upload *u) { u->root[0] ^= 1; }

static const struct { const char *name; void (*change)(hanse_secagg_upload *upload); hanse_secagg_reason want; } headers[] = {
    {"another nonce than its ticket's", u_nonce, HANSE_SECAGG_TICKET},
    {"another round", u_round, HANSE_SECAGG_REPLAY},
    {"another run", u_run, HANSE_SECAGG_REPLAY},
    {"another slot", u_slot, HANSE_SECAGG_REPLAY},
    {"no member", u_stranger, HANSE_SECAGG_ROSTER},
    {"another number of chunks", u_chunks, HANSE_SECAGG_ENCODING},
    {"longer than the spec describes", u_longer, HANSE_SECAGG_ENCODING},
    {"shorter than the spec describes", u_shorter, HANSE_SECAGG_ENCODING},
};

/* A header of member i that names the round, as one without a ticket may make it. */
static hanse_rc send_without_ticket(world *w, uint32_t i)
{
    hanse_secagg_upload upload = {.slot = 1};
    forged f = FORGED_EMPTY;
    uint32_t idx;
    hanse_rc rc;

    memcpy(upload.run, w->run, 16);
    if (hanse_secagg_round_spec(w->round).bytes.len > 0)
        memcpy(upload.round_id, hanse_secagg_round_id(w->round), 32);
    memcpy(upload.site_id, hanse_secagg_roster_id(w->roster, i), 32);
    assert_int_equal(hanse_secagg_upload_encode(&f.bytes, &upload, NULL), HANSE_OK);
    forge_sign(&f, w->sites[i].key, HANSE_SECAGG_UPLOAD_LABEL);
    rc = hanse_secagg_round_add_upload(w->round, forged_signed(&f), w->now_ms, &idx, &w->err);
    forged_clear(&f);
    return rc;
}

static void test_headers(void **state)
{
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 72);
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i + 1 < w.n; i++)
        GOOD(world_leave(&w, i, 1));
    REFUSED(send_without_ticket(&w, 4), REPLAY); /* the slot is not open */
    REFUSED(send_without_ticket(&w, 0), REPLAY);
    GOOD(hanse_secagg_round_open(w.round, w.now_ms, &w.err));
    REFUSED(send_without_ticket(&w, 4), TICKET);
    GOOD(world_spec(&w, 0, true));
    GOOD(world_mask(&w, 0, 1));
    for (size_t k = 0; k < sizeof headers / sizeof headers[0]; k++)
        if (send_changed(&w, 0, headers[k].change) == HANSE_OK || hanse_secagg_reason_of(&w.err) != headers[k].want)
            fail_msg("%s: %s", headers[k].name, w.err.text);
    assert_int_equal(hanse_secagg_round_upload_done(w.round, 0, w.sites[0].root, &w.err), HANSE_E_USAGE); /* none of them was taken */
    GOOD(send_changed(&w, 0, u_none)); /* control */
    REFUSED(send_changed(&w, 0, u_root), TICKET_REUSED);
    GOOD(world_header(&w, 0)); /* the same again */
    assert_int_equal(hanse_secagg_round_complete(w.round), 0);
    GOOD(world_complete(&w, 0)); /* the root of the first counts */
    assert_int_equal(hanse_secagg_round_complete(w.round), 1);
    world_free(&w);
}

/* --- after the cut, and after the end --- */

static void test_upload_done(void **state)
{
    uint8_t other[32] = {0};
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 73);
    world_uploads(&w, 1, 1u << 4, 0);
    GOOD(world_mask(&w, 4, 1));
    GOOD(world_header(&w, 4));
    REFUSED(hanse_secagg_round_upload_done(w.round, 4, other, &w.err), SIG); /* other bytes */
    assert_int_equal(hanse_secagg_round_complete(w.round), 4);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    REFUSED(world_complete(&w, 4), LATE);
    REFUSED(world_header(&w, 4), LATE);
    GOOD(world_complete(&w, 3)); /* control: what is in the cut may be said again */
    assert_int_equal(hanse_secagg_round_complete(w.round), 4);
    assert_int_equal(hanse_secagg_round_survivors(w.round)[4], 0);
    world_free(&w);
}

static void test_aborted(void **state)
{
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 74);
    world_uploads(&w, 1, 1u << 4, 0);
    GOOD(world_mask(&w, 4, 1));
    for (uint32_t i = 0; i + 1 < hanse_secagg_retry_count(&w.params); i++)
        GOOD(world_dead(&w, i, 1));
    GOOD(world_header(&w, 4)); /* control: not yet an AbortCert */
    GOOD(world_dead(&w, 3, 1));
    assert_true(hanse_secagg_round_is_aborted(w.round));
    REFUSED(world_header(&w, 4), LATE);
    REFUSED(world_complete(&w, 4), LATE);
    REFUSED(hanse_secagg_round_cut(w.round, &w.err), DEAD);
    assert_int_equal(hanse_secagg_round_cut_signed(w.round).bytes.len, 0);
    assert_null(hanse_secagg_round_survivors(w.round));
    world_whole_round(&w, 2); /* control: the next slot */
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tickets), cmocka_unit_test(test_headers), cmocka_unit_test(test_upload_done),
                                       cmocka_unit_test(test_aborted)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
