/* The coordinator's half (drawn in secagg_round.h): tickets, spec, uploads, cut. Answers and secrets: secagg_open.c. */
#include "crypto/secagg_round.h"

static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
    return memcmp(a, b, len) == 0; /* ids and hashes: public */
}

static void kept_clear(kept_object *kept)
{
    hanse_buf_clear(&kept->bytes);
    hanse_buf_clear(&kept->sig);
}

/* All of it or nothing: what is there counts. */
static hanse_rc kept_set(kept_object *kept, hanse_signed from, hanse_err *err)
{
    kept_object fresh = {.bytes = HANSE_BUF_EMPTY, .sig = HANSE_BUF_EMPTY};
    hanse_rc rc = hanse_buf_append(&fresh.bytes, from.bytes.data, from.bytes.len, err);

    if (rc == HANSE_OK)
        rc = hanse_buf_append(&fresh.sig, from.sig.data, from.sig.len, err);
    kept_clear(rc == HANSE_OK ? kept : &fresh);
    if (rc == HANSE_OK)
        *kept = fresh;
    return rc;
}

static hanse_signed kept_view(const kept_object *kept)
{
    return (hanse_signed){hanse_buf_bytes(&kept->bytes), hanse_buf_bytes(&kept->sig)};
}

hanse_rc hanse_secagg_round_new(hanse_secagg_round **out, const hanse_secagg_roster *roster, const hanse_key *key,
                                const uint8_t seal_secret[32], const hanse_secagg_spec *spec,
                                const hanse_secagg_policy *policy, hanse_err *err)
{
    hanse_secagg_round *round;
    uint32_t n = hanse_secagg_roster_count(roster);
    hanse_rc rc = hanse_secagg_params_check_roster(&spec->params, policy, roster, err);

    if (rc != HANSE_OK)
        return rc;
    round = hanse_calloc(1, sizeof *round);
    if (round == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a round");
    round->roster = roster;
    round->key = key;
    round->n = n;
    memcpy(round->seal_secret, seal_secret, 32);
    round->spec = *spec;
    round->spec.segments = hanse_calloc(spec->segments_count, sizeof *spec->segments);
    round->members = hanse_calloc(n, sizeof *round->members);
    round->tickets = hanse_calloc(n, sizeof *round->tickets);
    round->uploads = hanse_calloc(n, sizeof *round->uploads);
    round->cutsigs = hanse_calloc(n, sizeof *round->cutsigs);
    round->deads = hanse_calloc(n, sizeof *round->deads);
    if (round->spec.segments == NULL || round->members == NULL || round->tickets == NULL || round->uploads == NULL
        || round->cutsigs == NULL || round->deads == NULL) {
        hanse_secagg_round_free(round);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a round of %u sites", n);
    }
    memcpy(round->spec.segments, spec->segments, spec->segments_count * sizeof *spec->segments);
    memcpy(round->spec.roster_hash, hanse_secagg_roster_hash(roster), 32);
    *out = round;
    return HANSE_OK;
}

void hanse_secagg_round_free(hanse_secagg_round *round)
{
    if (round == NULL)
        return;
    for (uint32_t i = 0; round->members != NULL && i < round->n; i++) {
        round_member *member = &round->members[i];

        kept_clear(&member->ticket);
        kept_clear(&member->upload);
        kept_clear(&member->cutsig);
        kept_clear(&member->dead);
        hanse_secagg_answer_clear(&member->answer);
    }
    if (round->members != NULL)
        hanse_wipe(round->members, round->n * sizeof *round->members);
    hanse_free(round->members);
    hanse_free(round->tickets);
    hanse_free(round->uploads);
    hanse_free(round->cutsigs);
    hanse_free(round->deads);
    secagg_view_clear(&round->view);
    hanse_secagg_spec_clear(&round->spec);
    hanse_secagg_cut_clear(&round->cut);
    kept_clear(&round->spec_signed);
    kept_clear(&round->cut_signed);
    hanse_wipe(round, sizeof *round);
    hanse_free(round);
}

/* --- tickets and spec --- */

/* No key of this ticket is another member's too: every site would refuse the whole list. */
static hanse_rc check_keys(const hanse_secagg_round *round, uint32_t idx, const hanse_secagg_ticket *ticket, hanse_err *err)
{
    hanse_rc rc = hanse_secagg_ticket_check_keys(ticket, err);

    for (uint32_t i = 0; rc == HANSE_OK && i < round->n; i++)
        for (size_t k = 0; rc == HANSE_OK && i != idx && round->members[i].ticket.bytes.len > 0 && k < 2; k++)
            if (same(round->members[i].keys[k], ticket->pk, 32) || same(round->members[i].keys[k], ticket->share_pub, 32))
                rc = HANSE_SECAGG_FAIL(err, DUPKEY, "the ticket of member %u has a key of that of member %u", idx, i);
    return rc;
}

hanse_rc hanse_secagg_round_add_ticket(hanse_secagg_round *round, hanse_signed signed_, hanse_bytes cts, uint64_t now_ms,
                                       hanse_err *err)
{
    hanse_secagg_ticket ticket;
    uint8_t hash[32];
    int idx;
    hanse_rc rc = hanse_secagg_ticket_decode(&ticket, signed_.bytes, err);

    if (rc != HANSE_OK)
        return rc;
    idx = hanse_secagg_roster_find(round->roster, ticket.site_id);
    if (idx < 0)
        return HANSE_SECAGG_FAIL(err, ROSTER, "ticket of a site that is no member");
    if (round->view.n > 0)
        return HANSE_SECAGG_FAIL(err, LATE, "ticket of member %d: slot %llu is open already", idx, (unsigned long long)round->spec.slot);
    rc = secagg_ticket_check(&ticket, round->roster, (uint32_t)idx, signed_, round->spec.run, round->spec.slot, now_ms, err);
    if (rc != HANSE_OK)
        return rc;
    if (cts.len != (size_t)round->n * HANSE_SECAGG_CT_LEN)
        rc = HANSE_SECAGG_FAIL(err, TICKET, "ticket of member %d comes with %zu bytes of shares", idx, cts.len);
    else
        rc = hanse_secagg_hash(hash, "shares", cts, err);
    if (rc == HANSE_OK && !same(hash, ticket.cts_hash, 32))
        rc = HANSE_SECAGG_FAIL(err, TICKET, "the sealed shares are not those of the ticket of member %d", idx);
    if (rc == HANSE_OK)
        rc = check_keys(round, (uint32_t)idx, &ticket, err);
    if (rc != HANSE_OK)
        return rc;
    if (round->members[idx].ticket.bytes.len > 0) {
        if (!hanse_bytes_equal(hanse_buf_bytes(&round->members[idx].ticket.bytes), signed_.bytes))
            return HANSE_SECAGG_FAIL(err, TICKET_REUSED, "member %d signed two tickets for slot %llu", idx, (unsigned long long)round->spec.slot);
        return HANSE_OK;
    }
    rc = kept_set(&round->members[idx].ticket, signed_, err);
    if (rc == HANSE_OK) {
        memcpy(round->members[idx].keys[0], ticket.pk, 32);
        memcpy(round->members[idx].keys[1], ticket.share_pub, 32);
        round->tickets[idx] = kept_view(&round->members[idx].ticket);
    }
    return rc;
}

hanse_rc hanse_secagg_round_open(hanse_secagg_round *round, uint64_t now_ms, hanse_err *err)
{
    uint32_t count = 0;
    hanse_rc rc;

    if (round->view.n > 0)
        return HANSE_OK;
    for (uint32_t i = 0; i < round->n; i++)
        count += round->tickets[i].bytes.len > 0;
    if (round->n - count > round->spec.params.d_max)
        return HANSE_SECAGG_FAIL(err, COHORT, "only %u of %u members left a ticket for slot %llu, %u may be missing", count, round->n,
                                 (unsigned long long)round->spec.slot, round->spec.params.d_max);
    kept_clear(&round->spec_signed);
    rc = hanse_secagg_ticket_root(round->spec.ticket_root, round->tickets, round->n, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_spec_encode(&round->spec_signed.bytes, &round->spec, err);
    if (rc == HANSE_OK)
        rc = secagg_sign(round->key, HANSE_SECAGG_SPEC_LABEL, &round->spec_signed.bytes, &round->spec_signed.sig, err);
    if (rc == HANSE_OK)
        rc = secagg_view_open(&round->view, round->roster, kept_view(&round->spec_signed), round->tickets, round->n, now_ms, err);
    if (rc != HANSE_OK)
        kept_clear(&round->spec_signed);
    return rc;
}

hanse_signed hanse_secagg_round_spec(const hanse_secagg_round *round)
{
    return kept_view(&round->spec_signed);
}

const hanse_signed *hanse_secagg_round_tickets(const hanse_secagg_round *round)
{
    return round->tickets;
}

const uint8_t *hanse_secagg_round_id(const hanse_secagg_round *round)
{
    return round->view.round_id;
}

/* --- uploads --- */

hanse_rc hanse_secagg_round_add_upload(hanse_secagg_round *round, hanse_signed signed_, uint64_t now_ms, uint32_t *site_idx,
                                       hanse_err *err)
{
    hanse_secagg_upload upload;
    round_member *member;
    int idx;
    hanse_rc rc = hanse_secagg_upload_decode(&upload, signed_.bytes, err);

    if (rc != HANSE_OK)
        return rc;
    idx = hanse_secagg_roster_find(round->roster, upload.site_id);
    if (idx < 0)
        return HANSE_SECAGG_FAIL(err, ROSTER, "upload of a site that is no member");
    if (round->view.n == 0)
        return HANSE_SECAGG_FAIL(err, REPLAY, "upload of member %d: the slot is not open", idx);
    member = &round->members[idx];
    if (round->cut.n > 0 || round->aborted || now_ms > round->spec.upload_deadline_ms)
        return HANSE_SECAGG_FAIL(err, LATE, "upload of member %d to slot %llu is late", idx, (unsigned long long)round->spec.slot);
    rc = secagg_upload_check(&upload, &round->view, round->roster, (uint32_t)idx, signed_, err);
    if (rc != HANSE_OK)
        return rc;
    if (member->upload.bytes.len == 0) {
        rc = kept_set(&member->upload, signed_, err);
        memcpy(member->root, upload.root, 32);
    } else if (!hanse_bytes_equal(hanse_buf_bytes(&member->upload.bytes), signed_.bytes))
        rc = HANSE_SECAGG_FAIL(err, TICKET_REUSED, "member %d has begun another upload to slot %llu", idx, (unsigned long long)round->spec.slot);
    if (rc == HANSE_OK)
        *site_idx = (uint32_t)idx;
    return rc;
}

hanse_rc hanse_secagg_round_upload_done(hanse_secagg_round *round, uint32_t site_idx, const uint8_t root[32], hanse_err *err)
{
    round_member *member = &round->members[site_idx];

    if (member->upload.bytes.len == 0)
        return HANSE_FAIL(err, HANSE_E_USAGE, "member %u has sent no header", site_idx);
    if (member->complete && same(root, member->root, 32))
        return HANSE_OK;
    if (round->cut.n > 0 || round->aborted)
        return HANSE_SECAGG_FAIL(err, LATE, "upload of member %u was complete after the cut", site_idx);
    if (!same(root, member->root, 32))
        return HANSE_SECAGG_FAIL(err, SIG, "the chunks of member %u are not those that its header names", site_idx);
    member->complete = true;
    return HANSE_OK;
}

hanse_rc hanse_secagg_round_upload_undone(hanse_secagg_round *round, uint32_t site_idx, hanse_err *err)
{
    if (round->cut.n > 0)
        return HANSE_SECAGG_FAIL(err, LATE, "the upload of member %u is in the cut", site_idx);
    round->members[site_idx].complete = false;
    return HANSE_OK;
}

uint32_t hanse_secagg_round_complete(const hanse_secagg_round *round)
{
    uint32_t complete = 0;

    for (uint32_t i = 0; i < round->n; i++)
        complete += round->members[i].complete;
    return complete;
}

/* --- cut --- */

static hanse_rc sign_cut(hanse_secagg_round *round, hanse_secagg_cut *cut, hanse_err *err)
{
    hanse_rc rc;

    memcpy(cut->round_id, round->view.round_id, 32);
    memcpy(cut->run, round->spec.run, 16);
    cut->slot = round->spec.slot;
    for (uint32_t i = 0; i < round->n; i++) {
        cut->in[i] = round->members[i].complete;
        round->uploads[i] = cut->in[i] ? kept_view(&round->members[i].upload) : (hanse_signed){{NULL, 0}, {NULL, 0}};
    }
    rc = secagg_cohort_check(&round->view, round->roster, cut->in, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_uploads_root(cut->uploads_root, round->uploads, cut->in, cut->n, err);
    kept_clear(&round->cut_signed);
    if (rc == HANSE_OK)
        rc = hanse_secagg_cut_encode(&round->cut_signed.bytes, cut, err);
    if (rc == HANSE_OK)
        rc = secagg_sign(round->key, HANSE_SECAGG_CUT_LABEL, &round->cut_signed.bytes, &round->cut_signed.sig, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_hash(round->cut_hash, "cut", hanse_buf_bytes(&round->cut_signed.bytes), err);
    if (rc != HANSE_OK)
        kept_clear(&round->cut_signed);
    return rc;
}

hanse_rc hanse_secagg_round_cut(hanse_secagg_round *round, hanse_err *err)
{
    hanse_secagg_cut cut = {.n = round->n};
    hanse_rc rc;

    if (round->cut.n > 0)
        return HANSE_OK;
    if (round->view.n == 0)
        return HANSE_FAIL(err, HANSE_E_USAGE, "the slot is not open");
    if (round->aborted)
        return HANSE_SECAGG_FAIL(err, DEAD, "slot %llu is aborted", (unsigned long long)round->spec.slot);
    cut.in = hanse_calloc(round->n, 1);
    if (cut.in == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a cut of %u members", round->n);
    rc = sign_cut(round, &cut, err);
    if (rc == HANSE_OK)
        round->cut = cut;
    else
        hanse_secagg_cut_clear(&cut);
    return rc;
}

hanse_signed hanse_secagg_round_cut_signed(const hanse_secagg_round *round)
{
    return kept_view(&round->cut_signed);
}

const hanse_signed *hanse_secagg_round_uploads(const hanse_secagg_round *round)
{
    return round->uploads;
}

const uint8_t *hanse_secagg_round_survivors(const hanse_secagg_round *round)
{
    return round->cut.in;
}

hanse_rc hanse_secagg_round_add_cutsig(hanse_secagg_round *round, hanse_signed cutsig, hanse_err *err)
{
    uint32_t idx = 0;
    hanse_rc rc;

    if (round->cut.n == 0)
        return HANSE_FAIL(err, HANSE_E_USAGE, "there is no cut to sign");
    rc = secagg_cutsig_check(&idx, &round->view, round->roster, round->cut_hash, cutsig, err);
    if (rc != HANSE_OK || round->members[idx].cutsig.bytes.len > 0)
        return rc;
    rc = kept_set(&round->members[idx].cutsig, cutsig, err);
    if (rc == HANSE_OK)
        round->cutsigs[round->cutsigs_count++] = kept_view(&round->members[idx].cutsig);
    return rc;
}

const hanse_signed *hanse_secagg_round_cutsigs(const hanse_secagg_round *round, size_t *count)
{
    *count = round->cutsigs_count;
    return round->cutsigs;
}

/* --- abort --- */

hanse_rc hanse_secagg_round_add_dead(hanse_secagg_round *round, hanse_signed dead, hanse_err *err)
{
    uint32_t idx = 0;
    hanse_rc rc = secagg_dead_check(&idx, round->roster, round->spec.run, round->spec.slot, dead, err);

    if (rc != HANSE_OK || round->members[idx].dead.bytes.len > 0)
        return rc;
    rc = kept_set(&round->members[idx].dead, dead, err);
    if (rc == HANSE_OK)
        round->deads[round->deads_count++] = kept_view(&round->members[idx].dead);
    round->aborted = round->deads_count >= hanse_secagg_retry_count(&round->spec.params);
    return rc;
}

const hanse_signed *hanse_secagg_round_deads(const hanse_secagg_round *round, size_t *count)
{
    *count = round->deads_count;
    return round->deads;
}

bool hanse_secagg_round_has_dead(const hanse_secagg_round *round, uint32_t site_idx)
{
    return round->members[site_idx].dead.bytes.len > 0;
}

uint64_t hanse_secagg_round_slot(const hanse_secagg_round *round)
{
    return round->spec.slot;
}

bool hanse_secagg_round_is_aborted(const hanse_secagg_round *round)
{
    return round->aborted;
}
