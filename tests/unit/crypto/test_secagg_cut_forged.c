/* Cuts, signatures of cuts and DEADs that are not of the round, roster or upload that they should be of: a site gives nothing for them,
 * remembers nothing of them, and takes the right ones afterwards. */
#include "../../support/secagg_forge.h"

#include "crypto/secagg_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define VICTIM 0
#define ABSENT 4 /* has left no ticket */

/* --- one field changed, signed by the coordinator --- */

static void c_round_id(forged_cut *f) { f->cut.round_id[0] ^= 1; }
static void c_run(forged_cut *f) { f->cut.run[0] ^= 1; }
static void c_slot(forged_cut *f) { f->cut.slot++; }
static void c_more(forged_cut *f)
{
    f->cut.n++;
    forge_cut_root(f);
}
static void c_fewer(forged_cut *f) /* the absent one is the last */
{
    f->cut.n--;
    forge_cut_root(f);
}
static void c_no_ticket(forged_cut *f)
{
    f->in[ABSENT] = 1;
    f->uploads[ABSENT] = f->uploads[1];
    forge_cut_root(f);
}
static void c_root(forged_cut *f) { f->cut.uploads_root[31] ^= 1; }

static const struct { const char *name; void (*change)(forged_cut *f); hanse_secagg_reason want; } changes[] = {
    {"of another round", c_round_id, HANSE_SECAGG_REPLAY},
    {"of another run", c_run, HANSE_SECAGG_REPLAY},
    {"of a slot whose spec is not at hand", c_slot, HANSE_SECAGG_REPLAY},
    {"of more members", c_more, HANSE_SECAGG_CUT_OVERLAP},
    {"of fewer members", c_fewer, HANSE_SECAGG_CUT_OVERLAP},
    {"with a member that has no ticket", c_no_ticket, HANSE_SECAGG_CUT_OVERLAP},
    {"with another root than that of the headers", c_root, HANSE_SECAGG_CUT_OVERLAP},
};

static void test_one_field(void **state)
{
    uint8_t before[32], after[32];
    forged_cut f;
    world w;

    (void)state;
    for (int profile = HANSE_SECAGG_ONLINE; profile <= HANSE_SECAGG_CRON; profile++) {
        world_new(&w, 5, (hanse_secagg_profile)profile, 51);
        world_uploads(&w, 1, 0, 1u << ABSENT);
        GOOD(hanse_secagg_round_cut(w.round, &w.err));
        forge_store_hash(&w, VICTIM, before);
        for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
            hanse_rc rc;

            forge_cut_begin(&w, &f);
            changes[i].change(&f);
            forge_cut_sign(&w, &f);
            rc = forged_cut_show(&w, VICTIM, &f);
            if (rc == HANSE_OK || hanse_secagg_reason_of(&w.err) != changes[i].want)
                fail_msg("%s: %s", changes[i].name, w.err.text);
            forged_cut_clear(&f);
            forge_store_hash(&w, VICTIM, after);
            assert_memory_equal(before, after, 32);
        }
        forge_cut(&w, &f, 0);
        GOOD(forged_cut_show(&w, VICTIM, &f)); /* control: forged without a change it is the round's own */
        assert_string_equal(w.sites[VICTIM].label, profile == HANSE_SECAGG_ONLINE ? HANSE_SECAGG_CUTSIG_LABEL : HANSE_SECAGG_ANSWER_LABEL);
        GOOD(world_cut_of(&w, VICTIM, w.round, false));
        /* its headers are not verified twice, but must be the same */
        f.uploads[2] = f.uploads[1];
        REFUSED(forged_cut_show(&w, VICTIM, &f), CUT_OVERLAP);
        GOOD(world_cut_of(&w, VICTIM, w.round, false));
        forged_cut_clear(&f);
        world_free(&w);
    }
}

/* --- headers --- */

/* A header of member i with a field changed, made of member 1's and signed with i's key. */
static void forge_header(world *w, forged *f, const forged_cut *cut, uint32_t i, void (*change)(hanse_secagg_upload *upload))
{
    hanse_secagg_ticket ticket;
    hanse_secagg_upload upload;

    f->bytes.len = 0;
    assert_int_equal(hanse_secagg_upload_decode(&upload, cut->uploads[1].bytes, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_ticket_decode(&ticket, hanse_buf_bytes(&w->sites[i].ticket), NULL), HANSE_OK);
    memcpy(upload.site_id, ticket.site_id, 32);
    memcpy(upload.nonce, ticket.nonce, 16);
    change(&upload);
    assert_int_equal(hanse_secagg_upload_encode(&f->bytes, &upload, NULL), HANSE_OK);
    forge_sign(f, w->sites[i].key, HANSE_SECAGG_UPLOAD_LABEL);
}

static void h_root(hanse_secagg_upload *u) { u->root[5] ^= 1; }
static void h_nonce(hanse_secagg_upload *u) { u->nonce[0] ^= 1; }
static void h_round(hanse_secagg_upload *u) { u->round_id[0] ^= 1; }
static void h_site(hanse_secagg_upload *u) { u->site_id[0] ^= 1; }
static void h_chunks(hanse_secagg_upload *u) { u->chunks--; }
static void h_len(hanse_secagg_upload *u) { u->len++; }

/* The last row is none that a site could refuse: what was uploaded only its maker knows. */
static const struct { const char *name; void (*change)(hanse_secagg_upload *upload); hanse_secagg_reason want; } headers[] = {
    {"under another ticket", h_nonce, HANSE_SECAGG_TICKET},
    {"to another round", h_round, HANSE_SECAGG_REPLAY},
    {"by another site", h_site, HANSE_SECAGG_REPLAY},
    {"in fewer chunks", h_chunks, HANSE_SECAGG_ENCODING},
    {"longer", h_len, HANSE_SECAGG_ENCODING},
    {"control", h_root, HANSE_SECAGG_NONE},
};

/* A member and the coordinator collude: the cut names a header that is signed, and not of this round. */
static void test_headers_of_a_cut(void **state)
{
    forged header = FORGED_EMPTY;
    forged_cut f;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 57);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (size_t k = 0; k < sizeof headers / sizeof headers[0]; k++) {
        hanse_rc rc;

        forge_cut_begin(&w, &f);
        forge_header(&w, &header, &f, 2, headers[k].change);
        f.uploads[2] = forged_signed(&header);
        forge_cut_root(&f);
        forge_cut_sign(&w, &f);
        rc = forged_cut_show(&w, VICTIM, &f);
        if (hanse_secagg_reason_of(&w.err) != headers[k].want || (rc == HANSE_OK) != (headers[k].want == HANSE_SECAGG_NONE))
            fail_msg("%s: %s", headers[k].name, w.err.text);
        if (rc != HANSE_OK)
            GOOD(world_spec(&w, VICTIM, false)); /* it goes on with the same round */
        forged_cut_clear(&f);
    }
    GOOD(world_cut_of(&w, 1, w.round, false));
    forged_clear(&header);
    world_free(&w);
}

/* A header of the victim's under its ticket that this site did not make: another process with its key did, from a copy of its directory. */
static void test_own_upload(void **state)
{
    uint8_t before[32], after[32];
    forged header;
    forged_cut f;
    world w;

    (void)state;
    for (int sent = 0; sent < 2; sent++) { /* the victim has sent nothing, or something else */
        header = FORGED_EMPTY;
        world_new(&w, 5, HANSE_SECAGG_CRON, 52);
        world_uploads(&w, 1, sent ? 0 : 1u << VICTIM, 0);
        GOOD(hanse_secagg_round_cut(w.round, &w.err));
        forge_cut_begin(&w, &f);
        forge_header(&w, &header, &f, VICTIM, h_root);
        f.in[VICTIM] = 1;
        f.uploads[VICTIM] = forged_signed(&header);
        forge_cut_root(&f);
        forge_cut_sign(&w, &f);
        forge_store_hash(&w, VICTIM, before);
        REFUSED(forged_cut_show(&w, VICTIM, &f), CUT_OVERLAP);
        forge_store_hash(&w, VICTIM, after);
        assert_memory_equal(before, after, 32);
        GOOD(forged_cut_show(&w, 3, &f)); /* control: only the victim can know */
        forged_cut_clear(&f);
        forge_cut(&w, &f, 0);
        f.uploads[1].sig = f.uploads[2].sig; /* that the headers of a refused cut were good says nothing of another's */
        REFUSED(forged_cut_show(&w, VICTIM, &f), SIG);
        GOOD(world_cut_of(&w, VICTIM, w.round, false));
        forged_cut_clear(&f);
        forged_clear(&header);
        world_free(&w);
    }
}

/* --- too many missing --- */

/* m is n - D at least, and the sites in a sum are no fewer than their organisations: with accepted thresholds D says nothing that m does
 * not. So thresholds that no half accepts stand in for them here. */
static void test_missing_beside_m(void **state)
{
    static const uint8_t in[5] = {1, 1, 0, 1, 0};
    secagg_view view = {.n = 5, .spec = {.params = {.n = 5, .m = 3, .d_max = 1}}};
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 53);
    REFUSED(secagg_cohort_check(&view, w.roster, in, &w.err), COHORT);
    assert_non_null(strstr(w.err.text, "2 of 5 sites are missing"));
    view.spec.params.d_max = 2;
    GOOD(secagg_cohort_check(&view, w.roster, in, &w.err));
    view.spec.params.m = 4;
    REFUSED(secagg_cohort_check(&view, w.roster, in, &w.err), COHORT);
    world_free(&w);
}

/* --- signatures of a cut --- */

static void forge_cutsig(world *w, forged *f, uint32_t signer, void (*change)(hanse_secagg_cutsig *cutsig))
{
    hanse_secagg_cutsig cutsig;

    *f = FORGED_EMPTY;
    memcpy(cutsig.round_id, hanse_secagg_round_id(w->round), 32);
    assert_int_equal(hanse_secagg_hash(cutsig.cut_hash, "cut", hanse_secagg_round_cut_signed(w->round).bytes, NULL), HANSE_OK);
    memcpy(cutsig.site_id, hanse_secagg_roster_id(w->roster, signer), 32);
    change(&cutsig);
    assert_int_equal(hanse_secagg_cutsig_encode(&f->bytes, &cutsig, NULL), HANSE_OK);
    forge_sign(f, w->sites[signer].key, HANSE_SECAGG_CUTSIG_LABEL);
}

static void s_none(hanse_secagg_cutsig *c) { (void)c; }
static void s_round(hanse_secagg_cutsig *c) { c->round_id[0] ^= 1; }
static void s_cut(hanse_secagg_cutsig *c) { c->cut_hash[0] ^= 1; }
static void s_stranger(hanse_secagg_cutsig *c) { c->site_id[0] ^= 1; }

static const struct { const char *name; void (*change)(hanse_secagg_cutsig *cutsig); hanse_secagg_reason want; const char *says; } cutsigs[] = {
    {"of another round", s_round, HANSE_SECAGG_CUT_CONFLICT, "signed another cut"},
    {"of another cut", s_cut, HANSE_SECAGG_CUT_CONFLICT, "signed another cut"},
    {"by a site that is no member", s_stranger, HANSE_SECAGG_ROSTER, "no member"},
};

static void test_signatures_of_a_cut(void **state)
{
    hanse_secagg_event cut = {.kind = HANSE_SECAGG_EV_CUT};
    uint8_t before[32], after[32];
    hanse_signed list[6];
    forged f;
    size_t count;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_ONLINE, 54);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    for (uint32_t i = 0; i < w.n; i++)
        if (i != 1)
            GOOD(world_sign_cut(&w, i));
    assert_non_null(hanse_secagg_round_cutsigs(w.round, &count));
    assert_int_equal(count, w.params.t); /* enough without the one that is forged */
    cut.object = hanse_secagg_round_cut_signed(w.round);
    cut.uploads = hanse_secagg_round_uploads(w.round);
    cut.signatures = list;
    cut.signatures_count = count + 1;
    memcpy(list + 1, hanse_secagg_round_cutsigs(w.round, &count), count * sizeof *list);
    forge_store_hash(&w, VICTIM, before);
    for (size_t i = 0; i < sizeof cutsigs / sizeof cutsigs[0]; i++) {
        forge_cutsig(&w, &f, 1, cutsigs[i].change);
        list[0] = forged_signed(&f);
        for (int half = 0; half < 2; half++) { /* the site's, the coordinator's */
            hanse_rc rc = half == 0 ? world_step(&w, VICTIM, &cut) : hanse_secagg_round_add_cutsig(w.round, list[0], &w.err);

            if (rc == HANSE_OK || hanse_secagg_reason_of(&w.err) != cutsigs[i].want || strstr(w.err.text, cutsigs[i].says) == NULL)
                fail_msg("%s: %s", cutsigs[i].name, w.err.text);
        }
        forged_clear(&f);
        forge_store_hash(&w, VICTIM, after);
        assert_memory_equal(before, after, 32);
        (void)hanse_secagg_round_cutsigs(w.round, &count);
        assert_int_equal(count, w.params.t);
    }
    forge_cutsig(&w, &f, 1, s_none); /* control */
    list[0] = forged_signed(&f);
    GOOD(world_step(&w, VICTIM, &cut));
    assert_string_equal(w.sites[VICTIM].label, HANSE_SECAGG_ANSWER_LABEL);
    GOOD(hanse_secagg_round_add_cutsig(w.round, list[0], &w.err));
    (void)hanse_secagg_round_cutsigs(w.round, &count);
    assert_int_equal(count, w.params.t + 1);
    forged_clear(&f);
    world_free(&w);
}

/* --- DEADs --- */

static void forge_dead(world *w, forged *f, uint32_t signer, void (*change)(hanse_secagg_dead *dead))
{
    hanse_secagg_dead dead = {.slot = 1};

    *f = FORGED_EMPTY;
    memcpy(dead.run, w->run, 16);
    memcpy(dead.site_id, hanse_secagg_roster_id(w->roster, signer), 32);
    change(&dead);
    assert_int_equal(hanse_secagg_dead_encode(&f->bytes, &dead, NULL), HANSE_OK);
    forge_sign(f, w->sites[signer].key, HANSE_SECAGG_DEAD_LABEL);
}

static void d_none(hanse_secagg_dead *d) { (void)d; }
static void d_slot(hanse_secagg_dead *d) { d->slot++; }
static void d_run(hanse_secagg_dead *d) { d->run[0] ^= 1; }
static void d_stranger(hanse_secagg_dead *d) { d->site_id[0] ^= 1; }
static void d_other(hanse_secagg_dead *d) { (void)d; }

static const struct { const char *name; void (*change)(hanse_secagg_dead *dead); hanse_secagg_reason want; } deads[] = {
    {"of another slot", d_slot, HANSE_SECAGG_REPLAY},
    {"of another run", d_run, HANSE_SECAGG_REPLAY},
    {"by a site that is no member", d_stranger, HANSE_SECAGG_ROSTER},
    {"signed by another member", d_other, HANSE_SECAGG_SIG},
};

/* Enough DEADs for an AbortCert, the last of which is forged. */
static void test_deads(void **state)
{
    hanse_secagg_event abort_event = {.kind = HANSE_SECAGG_EV_ABORT, .slot = 1};
    uint8_t before[32], after[32];
    hanse_signed list[4];
    forged f[4];
    uint32_t want;
    size_t count;
    world w;

    (void)state;
    world_new(&w, 5, HANSE_SECAGG_CRON, 55);
    world_uploads(&w, 1, 0, 0);
    want = hanse_secagg_retry_count(&w.params);
    assert_int_equal(want, 3);
    for (uint32_t i = 0; i < want; i++) {
        forge_dead(&w, &f[i], i, d_none);
        list[i] = forged_signed(&f[i]);
        if (i + 1 < want)
            GOOD(hanse_secagg_round_add_dead(w.round, list[i], &w.err));
    }
    abort_event.signatures = list;
    abort_event.signatures_count = want;
    forge_store_hash(&w, 4, before);
    for (size_t i = 0; i < sizeof deads / sizeof deads[0]; i++) {
        forge_dead(&w, &f[3], want - 1, deads[i].change);
        if (deads[i].want == HANSE_SECAGG_SIG)
            forge_sign(&f[3], w.sites[4].key, HANSE_SECAGG_DEAD_LABEL);
        list[want - 1] = forged_signed(&f[3]);
        for (int half = 0; half < 2; half++) {
            hanse_rc rc = half == 0 ? world_step(&w, 4, &abort_event) : hanse_secagg_round_add_dead(w.round, list[want - 1], &w.err);

            if (rc == HANSE_OK || hanse_secagg_reason_of(&w.err) != deads[i].want)
                fail_msg("%s: %s", deads[i].name, w.err.text);
        }
        forged_clear(&f[3]);
        forge_store_hash(&w, 4, after);
        assert_memory_equal(before, after, 32);
        assert_false(hanse_secagg_round_has_dead(w.round, want - 1));
        assert_false(hanse_secagg_round_is_aborted(w.round));
    }
    list[want - 1] = forged_signed(&f[want - 1]); /* control */
    GOOD(world_step(&w, 4, &abort_event));
    GOOD(hanse_secagg_round_add_dead(w.round, list[want - 1], &w.err));
    assert_true(hanse_secagg_round_is_aborted(w.round));
    (void)hanse_secagg_round_deads(w.round, &count);
    assert_int_equal(count, want);
    for (uint32_t i = 0; i < want; i++)
        forged_clear(&f[i]);
    world_free(&w);
}

/* --- a cut from before a site recovered --- */

static world_record *find_record(world_site *site, char kind)
{
    for (size_t k = 0; k < site->store_count; k++)
        if (site->store[k].key.data[0] == (uint8_t)kind)
            return &site->store[k];
    fail_msg("no record %c", kind);
    return NULL;
}

static void test_below_the_floor(void **state)
{
    hanse_secagg_event recover = {.kind = HANSE_SECAGG_EV_RECOVER, .slot = 2};
    hanse_buf key = HANSE_BUF_EMPTY, value = HANSE_BUF_EMPTY;
    world_record *old, *floor_record;
    size_t count;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 56);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    old = world_snapshot(&w, VICTIM, &count);
    GOOD(world_step(&w, VICTIM, &recover));
    REFUSED(world_cut_of(&w, VICTIM, w.round, false), REPLAY); /* it has forgotten the round, and ... */
    REFUSED(world_spec(&w, VICTIM, false), ROLLBACK);          /* ... looks at it no more */
    /* the same if it still had the round: the record of the floor is read behind the spec */
    floor_record = find_record(&w.sites[VICTIM], 'F');
    GOOD(hanse_buf_append(&key, floor_record->key.data, floor_record->key.len, &w.err));
    GOOD(hanse_buf_append(&value, floor_record->value.data, floor_record->value.len, &w.err));
    world_restore(&w, VICTIM, old, count);
    GOOD(world_spec(&w, VICTIM, false));
    GOOD(hanse_secagg_site_load(w.sites[VICTIM].site, hanse_buf_bytes(&key), hanse_buf_bytes(&value), &w.err));
    assert_int_equal(hanse_secagg_site_floor(w.sites[VICTIM].site), 2);
    REFUSED(world_cut_of(&w, VICTIM, w.round, false), ROLLBACK);
    world_restart(&w, VICTIM); /* control: with the records from before, the round's own cut is answered */
    GOOD(world_spec(&w, VICTIM, false));
    GOOD(world_cut_of(&w, VICTIM, w.round, false));
    hanse_buf_clear(&key);
    hanse_buf_clear(&value);
    world_free(&w);
}

/* --- the other kind of share --- */

/* That a slot has one cut keeps the kinds apart. The kinds that were given are recorded all the same: here the record says that the other one
 * was given of a ticket, under this very cut. */
static void test_kinds_that_were_given(void **state)
{
    const size_t kinds_at = 1 + 1 + 4 + 2 * 32 + 1 + 4 * 32 + 4; /* in a slot's record, behind what has one length: facts of secagg_facts.c */
    world_record *record;
    world w;

    (void)state;
    world_new(&w, 4, HANSE_SECAGG_CRON, 58);
    world_uploads(&w, 1, 0, 0);
    GOOD(hanse_secagg_round_cut(w.round, &w.err));
    GOOD(world_cut_of(&w, VICTIM, w.round, false));
    record = find_record(&w.sites[VICTIM], 'S');
    for (int other = 1; other >= 0; other--) {
        assert_int_equal(record->value.data[kinds_at + 2], other ? HANSE_SECAGG_SHARE_B : HANSE_SECAGG_SHARE_SK);
        record->value.data[kinds_at + 2] = other ? HANSE_SECAGG_SHARE_SK : HANSE_SECAGG_SHARE_B;
        world_restart(&w, VICTIM);
        GOOD(world_spec(&w, VICTIM, false));
        if (other)
            REFUSED(world_cut_of(&w, VICTIM, w.round, false), CUT_OVERLAP);
        else
            GOOD(world_cut_of(&w, VICTIM, w.round, false)); /* control */
    }
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_field), cmocka_unit_test(test_headers_of_a_cut), cmocka_unit_test(test_own_upload),
                                       cmocka_unit_test(test_missing_beside_m), cmocka_unit_test(test_signatures_of_a_cut), cmocka_unit_test(test_deads),
                                       cmocka_unit_test(test_below_the_floor), cmocka_unit_test(test_kinds_that_were_given)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
