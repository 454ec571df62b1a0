/* Tampered lists, specs and split views: each refused before a masked byte exists, or worthless to who made them. */
#include "../../support/secagg_world.h"

#include "hanse/hpke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define SLOT 5
#define VICTIM 0

/* What a coordinator that cheats puts together: it may sign any spec over any list. */
typedef struct forgery {
    hanse_buf bytes[8], sigs[8];
    hanse_signed tickets[8];
    hanse_secagg_spec spec;
    hanse_buf spec_bytes;
    uint8_t spec_sig[HANSE_SIG_MAX];
    size_t spec_sig_len;
    bool stale_root; /* keep the root of the list as it was */
    uint8_t model_root[32];
    uint64_t weight;
} forgery;

static void sign(hanse_key *key, const char *label, hanse_buf *bytes, hanse_buf *sig)
{
    uint8_t out[HANSE_SIG_MAX];
    size_t len;

    assert_int_equal(hanse_sign_object(key, label, hanse_buf_bytes(bytes), out, &len, NULL), HANSE_OK);
    sig->len = 0;
    assert_int_equal(hanse_buf_append(sig, out, len, NULL), HANSE_OK);
}

static void begin(world *w, forgery *f)
{
    const hanse_signed *tickets = hanse_secagg_round_tickets(w->round);

    *f = (forgery){.weight = 10};
    memcpy(f->model_root, w->model_root, 32);
    assert_int_equal(hanse_secagg_spec_decode(&f->spec, hanse_secagg_round_spec(w->round).bytes, NULL), HANSE_OK);
    for (uint32_t i = 0; i < w->n; i++) {
        assert_int_equal(hanse_buf_append(&f->bytes[i], tickets[i].bytes.data, tickets[i].bytes.len, NULL), HANSE_OK);
        assert_int_equal(hanse_buf_append(&f->sigs[i], tickets[i].sig.data, tickets[i].sig.len, NULL), HANSE_OK);
    }
}

static hanse_rc show(world *w, forgery *f)
{
    static const uint8_t none[8 * HANSE_SECAGG_CT_LEN] = {0};
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_SPEC, .tickets = f->tickets, .shares = {none, w->n * HANSE_SECAGG_CT_LEN}, .take_part = true, .weight = f->weight};

    for (uint32_t i = 0; i < w->n; i++)
        f->tickets[i] = (hanse_signed){hanse_buf_bytes(&f->bytes[i]), hanse_buf_bytes(&f->sigs[i])};
    if (!f->stale_root)
        assert_int_equal(hanse_secagg_ticket_root(f->spec.ticket_root, f->tickets, w->n, NULL), HANSE_OK);
    f->spec_bytes.len = 0;
    assert_int_equal(hanse_secagg_spec_encode(&f->spec_bytes, &f->spec, NULL), HANSE_OK);
    if (f->spec_sig_len == 0)
        assert_int_equal(hanse_sign_object(w->coordinator_key, HANSE_SECAGG_SPEC_LABEL, hanse_buf_bytes(&f->spec_bytes), f->spec_sig,
                                           &f->spec_sig_len, NULL), HANSE_OK);
    event.object = (hanse_signed){hanse_buf_bytes(&f->spec_bytes), {f->spec_sig, f->spec_sig_len}};
    memcpy(event.model_root, f->model_root, 32);
    return world_step(w, VICTIM, &event);
}

static void end(forgery *f)
{
    for (size_t i = 0; i < 8; i++) {
        hanse_buf_clear(&f->bytes[i]);
        hanse_buf_clear(&f->sigs[i]);
    }
    hanse_buf_clear(&f->spec_bytes);
    hanse_secagg_spec_clear(&f->spec);
}

/* Member i colludes: signs its ticket with a field changed. */
static void resign(world *w, forgery *f, uint32_t i, void (*change)(hanse_secagg_ticket *ticket, const forgery *f))
{
    hanse_secagg_ticket ticket;

    assert_int_equal(hanse_secagg_ticket_decode(&ticket, hanse_buf_bytes(&f->bytes[i]), NULL), HANSE_OK);
    change(&ticket, f);
    f->bytes[i].len = 0;
    assert_int_equal(hanse_secagg_ticket_encode(&f->bytes[i], &ticket, NULL), HANSE_OK);
    sign(w->sites[i].key, HANSE_SECAGG_TICKET_LABEL, &f->bytes[i], &f->sigs[i]);
}

static void other_slot(hanse_secagg_ticket *t, const forgery *f) { (void)f; t->slot--; }
static void other_run(hanse_secagg_ticket *t, const forgery *f) { (void)f; t->run[0] ^= 1; }
static void other_roster(hanse_secagg_ticket *t, const forgery *f) { (void)f; t->roster_hash[0] ^= 1; }
static void expired(hanse_secagg_ticket *t, const forgery *f) { (void)f; t->expiry_ms = WORLD_NOW; }
static void other_expiry(hanse_secagg_ticket *t, const forgery *f) { (void)f; t->expiry_ms++; }
static void low_order(hanse_secagg_ticket *t, const forgery *f) { (void)f; memset(t->pk, 0, 32); }
static void copied_key(hanse_secagg_ticket *t, const forgery *f)
{
    hanse_secagg_ticket of;

    assert_int_equal(hanse_secagg_ticket_decode(&of, hanse_buf_bytes(&f->bytes[1]), NULL), HANSE_OK);
    memcpy(t->pk, of.pk, 32);
}

/* --- the tricks --- */

static void t_none(world *w, forgery *f) { (void)w, (void)f; }
static void t_swap_pk(world *w, forgery *f) { (void)w; f->bytes[2].data[16 + 8 + 64 + 16 + 8] ^= 1; }
static void t_tls_key(world *w, forgery *f) { sign(w->tls_key, HANSE_SECAGG_TICKET_LABEL, &f->bytes[2], &f->sigs[2]); }
static void t_other_label(world *w, forgery *f) { sign(w->sites[2].key, HANSE_SECAGG_UPLOAD_LABEL, &f->bytes[2], &f->sigs[2]); }
static void t_reorder(world *w, forgery *f)
{
    hanse_buf b = f->bytes[1], s = f->sigs[1];

    (void)w;
    f->bytes[1] = f->bytes[2], f->sigs[1] = f->sigs[2];
    f->bytes[2] = b, f->sigs[2] = s;
}
static void t_duplicate(world *w, forgery *f)
{
    (void)w;
    f->bytes[2].len = f->sigs[2].len = 0;
    assert_int_equal(hanse_buf_append(&f->bytes[2], f->bytes[1].data, f->bytes[1].len, NULL), HANSE_OK);
    assert_int_equal(hanse_buf_append(&f->sigs[2], f->sigs[1].data, f->sigs[1].len, NULL), HANSE_OK);
}
static void t_without_victim(world *w, forgery *f) { (void)w; f->bytes[VICTIM].len = f->sigs[VICTIM].len = 0; }
static void t_without_two(world *w, forgery *f) { (void)w; f->bytes[2].len = f->bytes[3].len = 0; }
static void t_without_one(world *w, forgery *f) { (void)w; f->bytes[3].len = 0; }
static void t_stale(world *w, forgery *f) { resign(w, f, 1, other_slot); }
static void t_other_run(world *w, forgery *f) { resign(w, f, 1, other_run); }
static void t_other_roster(world *w, forgery *f) { resign(w, f, 1, other_roster); }
static void t_expired(world *w, forgery *f) { resign(w, f, 1, expired); }
static void t_low_order(world *w, forgery *f) { resign(w, f, 1, low_order); }
static void t_own(world *w, forgery *f) { resign(w, f, VICTIM, other_expiry); }
static void t_copied_key(world *w, forgery *f) { resign(w, f, 2, copied_key); }
static void t_root(world *w, forgery *f) { (void)w; f->stale_root = true; f->spec.ticket_root[0] ^= 1; }
static void t_unsigned(world *w, forgery *f) { (void)w; f->spec_sig_len = 64; }
static void t_params(world *w, forgery *f) { (void)w; f->spec.params.m--; }
static void t_cron(world *w, forgery *f) { (void)w; f->spec.params.profile = HANSE_SECAGG_CRON; }
static void t_fewer(world *w, forgery *f) { (void)w; f->spec.params.n = 4; }
static void t_plan(world *w, forgery *f) { (void)w; f->spec.plan_hash[0] ^= 1; }
static void t_run(world *w, forgery *f) { f->spec.run[0] ^= 1; for (uint32_t i = 0; i < w->n; i++) resign(w, f, i, other_run); }
static void t_seal_key(world *w, forgery *f) { (void)w; f->spec.seal_key[0] ^= 1; }
static void t_roster(world *w, forgery *f) { (void)w; f->spec.roster_hash[0] ^= 1; }
static void t_model(world *w, forgery *f) { (void)w; f->spec.model_root[0] ^= 1; }
static void t_heavy(world *w, forgery *f) { (void)w; f->weight = 901; }
static void t_above_total(world *w, forgery *f) { (void)w; f->weight = 1001; }
static void t_late(world *w, forgery *f) { (void)w; f->spec.upload_deadline_ms = WORLD_NOW - HANSE_SECAGG_SKEW_MS - 1; }

static const struct { const char *name; void (*trick)(world *w, forgery *f); hanse_secagg_reason want; } tricks[] = {
    {"swapped key", t_swap_pk, HANSE_SECAGG_SIG},
    {"signed by a TLS key", t_tls_key, HANSE_SECAGG_SIG},
    {"signed as another thing", t_other_label, HANSE_SECAGG_SIG},
    {"reordered", t_reorder, HANSE_SECAGG_SIG},
    {"one ticket twice", t_duplicate, HANSE_SECAGG_SIG},
    {"without the victim", t_without_victim, HANSE_SECAGG_TICKET},
    {"without two of five", t_without_two, HANSE_SECAGG_COHORT},
    {"ticket of an earlier slot", t_stale, HANSE_SECAGG_TICKET},
    {"ticket of another run", t_other_run, HANSE_SECAGG_TICKET},
    {"ticket for another roster", t_other_roster, HANSE_SECAGG_ROSTER},
    {"expired ticket", t_expired, HANSE_SECAGG_TICKET},
    {"low order", t_low_order, HANSE_SECAGG_LOWORDER},
    {"copied key", t_copied_key, HANSE_SECAGG_DUPKEY},
    {"another list than the root", t_root, HANSE_SECAGG_TICKET},
    {"spec not signed", t_unsigned, HANSE_SECAGG_SIG},
    {"lower m", t_params, HANSE_SECAGG_COHORT},
    {"without cut signatures", t_cron, HANSE_SECAGG_COHORT},
    {"fewer sites", t_fewer, HANSE_SECAGG_ROSTER},
    {"another plan", t_plan, HANSE_SECAGG_PLAN},
    {"another run, tickets for it of all", t_run, HANSE_SECAGG_PLAN},
    {"another sealing key", t_seal_key, HANSE_SECAGG_PLAN},
    {"another roster", t_roster, HANSE_SECAGG_ROSTER},
    {"another model than loaded", t_model, HANSE_SECAGG_MODELHASH},
    {"share above policy", t_heavy, HANSE_SECAGG_RANGE},
    {"more samples than the total", t_above_total, HANSE_SECAGG_RANGE},
    {"deadline past", t_late, HANSE_SECAGG_LATE},
    {"control: without one of five", t_without_one, HANSE_SECAGG_NONE},
};

static void open_round(world *w)
{
    world_round_new(w, SLOT, NULL);
    for (uint32_t i = 0; i < w->n; i++)
        assert_int_equal(world_leave(w, i, SLOT), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w->round, w->now_ms, &w->err), HANSE_OK);
}

static void test_tampered(void **state)
{
    world w;
    forgery f;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_ONLINE, 8);
    open_round(&w);
    for (size_t i = 0; i < sizeof tricks / sizeof tricks[0]; i++) {
        unsigned trains = w.sites[VICTIM].trains;
        hanse_secagg_masker *masker;
        hanse_rc rc;

        begin(&w, &f);
        tricks[i].trick(&w, &f);
        rc = show(&w, &f);
        end(&f);
        if (hanse_secagg_reason_of(&w.err) != tricks[i].want || (rc == HANSE_OK) != (tricks[i].want == HANSE_SECAGG_NONE))
            fail_msg("%s: %s", tricks[i].name, w.err.text);
        if (rc == HANSE_OK)
            continue;
        assert_int_equal(w.sites[VICTIM].trains, trains);
        assert_int_equal(hanse_secagg_masker_new(&masker, w.sites[VICTIM].site, NULL), HANSE_E_USAGE); /* no masked byte */
    }
    world_free(&w);
}

/* Another ticket of this site than it knows, under its own signature: its directory is an old copy. It answers nothing from then on. */
static void test_rolled_back(void **state)
{
    world w;
    forgery f;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_ONLINE, 8);
    open_round(&w);
    for (int again = 0; again < 2; again++) {
        begin(&w, &f);
        (again == 0 ? t_own : t_none)(&w, &f);
        assert_int_not_equal(show(&w, &f), HANSE_OK);
        assert_int_equal(hanse_secagg_reason_of(&w.err), HANSE_SECAGG_ROLLBACK);
        end(&f);
    }
    world_free(&w);
}

static void test_revoked(void **state)
{
    world w;
    forgery f;
    hanse_cert_info info;
    hanse_crl *crl;
    hanse_trust trust;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_ONLINE, 9);
    open_round(&w);
    assert_int_equal(hanse_cert_read(w.sites[2].cert, &info, NULL), HANSE_OK);
    assert_int_equal(hanse_crl_new(&crl, w.ca, w.ca_key, w.crl, (const uint8_t (*)[HANSE_SERIAL_LEN])&info.serial, 1,
                                   (int64_t)(WORLD_NOW / 1000), (int64_t)(WORLD_NOW / 1000) + 86400, NULL), HANSE_OK);
    trust = (hanse_trust){w.ca, crl, false};
    assert_int_equal(hanse_secagg_roster_refresh(w.roster, &trust, (int64_t)(WORLD_NOW / 1000), &w.err), HANSE_OK);
    begin(&w, &f);
    assert_int_not_equal(show(&w, &f), HANSE_OK);
    assert_int_equal(hanse_secagg_reason_of(&w.err), HANSE_SECAGG_CERT);
    end(&f);
    /* control: with the list of before the same spec is good */
    trust.crl = w.crl;
    assert_int_equal(hanse_secagg_roster_refresh(w.roster, &trust, (int64_t)(WORLD_NOW / 1000), &w.err), HANSE_OK);
    begin(&w, &f);
    t_none(&w, &f);
    assert_int_equal(show(&w, &f), HANSE_OK);
    end(&f);
    /* and expired, all of them, the coordinator's too */
    assert_int_not_equal(hanse_secagg_roster_refresh(w.roster, &trust, (int64_t)(WORLD_NOW / 1000) + 101 * 86400, &w.err), HANSE_OK);
    assert_int_equal(hanse_secagg_reason_of(&w.err), HANSE_SECAGG_CERT);
    hanse_crl_free(crl);
    world_free(&w);
}

/* --- two specs for one slot --- */

static void split_model(hanse_secagg_spec *spec) { spec->model_root[31] ^= 1; }
static void split_deadline(hanse_secagg_spec *spec) { spec->upload_deadline_ms++; }
static void split_weight(hanse_secagg_spec *spec) { spec->weight_total++; }
static void split_clip(hanse_secagg_spec *spec)
{
    static hanse_secagg_segment others[WORLD_SEGMENTS];

    memcpy(others, spec->segments, sizeof others);
    others[0].clip ^= 1;
    spec->segments = others;
}
static void no_split(hanse_secagg_spec *spec) { (void)spec; }

/* The victim is shown another spec than everybody else. Its upload is under another round_id: no cut with it passes. Even
 * if it could be rolled back and made to sign for the honest round, the bytes of the other one do not cancel. */
static void split(void (*tweak)(hanse_secagg_spec *spec), bool is_split)
{
    hanse_secagg_round *other, *honest;
    hanse_buf y = HANSE_BUF_EMPTY;
    world_record *before;
    size_t before_count;
    bool equal;
    hanse_rc rc;
    world w;

    world_new(&w, 4, HANSE_SECAGG_CRON, 10);
    open_round(&w);
    honest = w.round;
    w.round = NULL;
    world_round_new(&w, SLOT, tweak);
    other = w.round;
    for (uint32_t i = 0; i < w.n; i++) {
        world_site *site = &w.sites[i];
        hanse_signed ticket = {hanse_buf_bytes(&site->ticket), hanse_buf_bytes(&site->ticket_sig)};

        assert_int_equal(hanse_secagg_round_add_ticket(other, ticket, hanse_buf_bytes(&site->cts), w.now_ms, NULL), HANSE_OK);
    }
    assert_int_equal(hanse_secagg_round_open(other, w.now_ms, &w.err), HANSE_OK);
    before = world_snapshot(&w, VICTIM, &before_count);
    w.model_root[31] ^= tweak == split_model; /* the victim was sent that model, too */
    assert_int_equal(world_spec_of(&w, VICTIM, other, true), HANSE_OK);
    w.model_root[31] ^= tweak == split_model;
    assert_int_equal(world_mask(&w, VICTIM, SLOT), HANSE_OK);
    assert_int_equal(hanse_buf_append(&y, w.sites[VICTIM].y.data, w.sites[VICTIM].y.len, NULL), HANSE_OK);
    w.round = honest;
    if (is_split) {
        assert_int_not_equal(world_header(&w, VICTIM), HANSE_OK);
        assert_int_equal(hanse_secagg_reason_of(&w.err), HANSE_SECAGG_REPLAY);
        for (int take_part = 0; take_part < 2; take_part++) { /* nor is it a holder of the other round */
            assert_int_not_equal(world_spec(&w, VICTIM, take_part != 0), HANSE_OK);
            assert_int_equal(hanse_secagg_reason_of(&w.err), HANSE_SECAGG_REPLAY);
        }
    }
    world_restore(&w, VICTIM, before, before_count);
    for (uint32_t i = 0; i < w.n; i++) {
        assert_int_equal(world_spec(&w, i, true), HANSE_OK);
        assert_int_equal(world_mask(&w, i, SLOT), HANSE_OK);
        assert_int_equal(world_header(&w, i), HANSE_OK);
        assert_int_equal(world_complete(&w, i), HANSE_OK);
    }
    assert_int_equal(hanse_secagg_round_cut(w.round, &w.err), HANSE_OK);
    for (uint32_t i = 0; i < w.n; i++)
        assert_int_equal(world_answer(&w, i), HANSE_OK);
    assert_int_equal(y.len, w.sites[VICTIM].y.len);
    memcpy(w.sites[VICTIM].y.data, y.data, y.len);
    rc = world_finish(&w, &equal, NULL);
    assert_int_equal(rc == HANSE_OK, !is_split);
    if (is_split)
        assert_int_equal(hanse_secagg_reason_of(&w.err), HANSE_SECAGG_SANITY);
    hanse_buf_clear(&y);
    hanse_secagg_round_free(other);
    world_free(&w);
}

static void test_split(void **state)
{
    (void)state;
    split(split_model, true);
    split(split_deadline, true);
    split(split_weight, true);
    split(split_clip, true);
    split(no_split, false); /* control */
}

/* Masks are made on a worker while the site goes on: a SPEC shown again, or a restart, changes and breaks nothing. */
static void test_masker_stands_alone(void **state)
{
    hanse_secagg_masker *early = NULL, *late = NULL;
    uint64_t one[64] = {0}, two[64] = {0}, none[64] = {0};
    hanse_secagg_chunk chunk;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_ONLINE, 77);
    world_round_new(&w, SLOT, NULL);
    for (uint32_t i = 0; i < w.n; i++)
        assert_int_equal(world_leave(&w, i, SLOT), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w.round, w.now_ms, &w.err), HANSE_OK);
    assert_int_equal(world_spec(&w, VICTIM, false), HANSE_OK); /* as a holder first, as at the arrival of the spec */
    assert_int_equal(world_spec(&w, VICTIM, true), HANSE_OK);
    assert_int_equal(hanse_secagg_masker_new(&early, w.sites[VICTIM].site, &w.err), HANSE_OK);
    assert_int_equal(world_spec(&w, VICTIM, true), HANSE_OK); /* the view is a new one */
    world_restart(&w, VICTIM);                                /* the site is a new one */
    assert_int_equal(world_spec(&w, VICTIM, true), HANSE_OK);
    assert_int_equal(hanse_secagg_masker_new(&late, w.sites[VICTIM].site, &w.err), HANSE_OK);
    chunk = hanse_secagg_chunk_at(&(hanse_secagg_spec){.chunk_words = 64, .segments_count = WORLD_SEGMENTS, .segments = w.segments}, 0);
    assert_int_equal(hanse_secagg_masker_apply(early, chunk, one, &w.err), HANSE_OK);
    assert_int_equal(hanse_secagg_masker_apply(late, chunk, two, &w.err), HANSE_OK);
    assert_memory_equal(one, two, sizeof one);
    assert_memory_not_equal(one, none, sizeof one);
    hanse_secagg_masker_free(early);
    hanse_secagg_masker_free(late);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tampered), cmocka_unit_test(test_rolled_back), cmocka_unit_test(test_revoked), cmocka_unit_test(test_split),
                                       cmocka_unit_test(test_masker_stands_alone)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
