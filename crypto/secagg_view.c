/* Checks that both halves make of what others signed. */
#include "crypto/secagg_core.h"

#include "hanse/digest.h"

#include <stdlib.h>

/* Ids, hashes and keys here are public. */
static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
    return memcmp(a, b, len) == 0;
}

hanse_rc secagg_sign(const hanse_key *key, const char *label, const hanse_buf *bytes, hanse_buf *sig, hanse_err *err)
{
    uint8_t out[HANSE_SIG_MAX];
    size_t len;
    hanse_rc rc = hanse_sign_object(key, label, hanse_buf_bytes(bytes), out, &len, err);

    return rc == HANSE_OK ? hanse_buf_append(sig, out, len, err) : rc;
}

hanse_rc secagg_ticket_check(hanse_secagg_ticket *out, const hanse_secagg_roster *roster, uint32_t idx, hanse_signed signed_,
                             const uint8_t run[16], uint64_t slot, uint64_t now_ms, hanse_err *err)
{
    hanse_secagg_ticket ticket = {.slot = 0};
    hanse_rc rc = hanse_secagg_verify(roster, idx, HANSE_SECAGG_TICKET_LABEL, signed_, err);

    if (rc == HANSE_OK)
        rc = hanse_secagg_ticket_decode(&ticket, signed_.bytes, err);
    if (rc != HANSE_OK)
        return rc;
    if (!same(ticket.site_id, hanse_secagg_roster_id(roster, idx), 32)
        || !same(ticket.roster_hash, hanse_secagg_roster_hash(roster), 32)
        || ticket.holders != hanse_secagg_roster_count(roster))
        rc = HANSE_SECAGG_FAIL(err, ROSTER, "ticket of member %u is another site's or for another roster", idx);
    else if (!same(ticket.run, run, 16) || ticket.slot != slot)
        rc = HANSE_SECAGG_FAIL(err, TICKET, "ticket of member %u is for slot %llu of its run, not for slot %llu of this one", idx,
                               (unsigned long long)ticket.slot, (unsigned long long)slot);
    else if (ticket.expiry_ms <= now_ms)
        rc = HANSE_SECAGG_FAIL(err, TICKET, "ticket of member %u has expired", idx);
    if (rc == HANSE_OK)
        *out = ticket;
    return rc;
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, 32); /* public */
}

static hanse_rc check_distinct(const secagg_view *view, hanse_err *err)
{
    const uint8_t **keys = hanse_calloc(2 * (size_t)view->n, sizeof *keys);
    size_t count = 0;
    hanse_rc rc = HANSE_OK;

    if (keys == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u keys", view->n);
    for (uint32_t i = 0; i < view->n; i++)
        if (view->has[i]) {
            keys[count++] = view->tickets[i].pk;
            keys[count++] = view->tickets[i].share_pub;
        }
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; rc == HANSE_OK && i < count; i++)
        if (same(keys[i - 1], keys[i], 32))
            rc = HANSE_SECAGG_FAIL(err, DUPKEY, "two tickets of slot %llu have one key", (unsigned long long)view->spec.slot);
    hanse_free(keys);
    return rc;
}

static hanse_rc open_tickets(secagg_view *view, const hanse_secagg_roster *roster, const hanse_signed *tickets,
                             uint64_t now_ms, hanse_err *err)
{
    uint8_t root[32];
    hanse_rc rc = hanse_secagg_ticket_root(root, tickets, view->n, err);

    if (rc == HANSE_OK && !same(root, view->spec.ticket_root, 32))
        rc = HANSE_SECAGG_FAIL(err, TICKET, "the list of tickets is not the one that the spec names");
    for (uint32_t i = 0; rc == HANSE_OK && i < view->n; i++) {
        if (tickets[i].bytes.len == 0)
            continue;
        rc = secagg_ticket_check(&view->tickets[i], roster, i, tickets[i], view->spec.run, view->spec.slot, now_ms, err);
        if (rc == HANSE_OK)
            rc = hanse_secagg_hash(view->hashes[i], "ticket", tickets[i].bytes, err);
        view->has[i] = rc == HANSE_OK;
    }
    return rc == HANSE_OK ? check_distinct(view, err) : rc;
}

hanse_rc secagg_view_open(secagg_view *out, const hanse_secagg_roster *roster, hanse_signed spec,
                          const hanse_signed *tickets, size_t count, uint64_t now_ms, hanse_err *err)
{
    secagg_view view = {.n = hanse_secagg_roster_count(roster)};
    hanse_rc rc = hanse_secagg_verify(roster, HANSE_SECAGG_COORDINATOR, HANSE_SECAGG_SPEC_LABEL, spec, err);

    if (rc == HANSE_OK)
        rc = hanse_secagg_spec_decode(&view.spec, spec.bytes, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_hash(view.round_id, "round", spec.bytes, err);
    if (rc == HANSE_OK && (count != view.n || view.spec.params.n != view.n
                           || !same(view.spec.roster_hash, hanse_secagg_roster_hash(roster), 32)))
        rc = HANSE_SECAGG_FAIL(err, ROSTER, "spec for %u sites and %zu tickets, the pinned roster has %u, or its hash differs",
                               view.spec.params.n, count, view.n);
    if (rc == HANSE_OK) {
        view.has = hanse_calloc(view.n, 1);
        view.tickets = hanse_calloc(view.n, sizeof *view.tickets);
        view.hashes = hanse_calloc(view.n, sizeof *view.hashes);
        if (view.has == NULL || view.tickets == NULL || view.hashes == NULL)
            rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u tickets", view.n);
    }
    if (rc == HANSE_OK)
        rc = hanse_secagg_graph_open(&view.graph, &view.spec.params, view.spec.run, view.spec.slot, view.spec.roster_hash, err);
    if (rc == HANSE_OK)
        rc = open_tickets(&view, roster, tickets, now_ms, err);
    if (rc == HANSE_OK)
        *out = view;
    else
        secagg_view_clear(&view);
    return rc;
}

void secagg_view_clear(secagg_view *view)
{
    hanse_free(view->tickets);
    hanse_free(view->hashes);
    hanse_free(view->has);
    hanse_secagg_graph_clear(&view->graph);
    hanse_secagg_spec_clear(&view->spec);
    *view = (secagg_view){.n = 0};
}

hanse_rc secagg_upload_check(hanse_secagg_upload *out, const secagg_view *view, const hanse_secagg_roster *roster,
                             uint32_t idx, hanse_signed signed_, hanse_err *err)
{
    hanse_secagg_upload upload;
    hanse_rc rc = hanse_secagg_verify(roster, idx, HANSE_SECAGG_UPLOAD_LABEL, signed_, err);

    if (rc == HANSE_OK)
        rc = hanse_secagg_upload_decode(&upload, signed_.bytes, err);
    if (rc != HANSE_OK)
        return rc;
    if (!view->has[idx] || !same(upload.nonce, view->tickets[idx].nonce, 16))
        return HANSE_SECAGG_FAIL(err, TICKET, "upload of member %u is not under its ticket of this round", idx);
    if (!same(upload.round_id, view->round_id, 32) || !same(upload.run, view->spec.run, 16) || upload.slot != view->spec.slot
        || !same(upload.site_id, hanse_secagg_roster_id(roster, idx), 32))
        return HANSE_SECAGG_FAIL(err, REPLAY, "upload of member %u is for another round or by another site", idx);
    if (upload.chunks != hanse_secagg_chunks(&view->spec) || upload.len != hanse_secagg_upload_len(&view->spec))
        return HANSE_SECAGG_FAIL(err, ENCODING, "upload of member %u has %llu bytes, the spec describes %llu", idx,
                                 (unsigned long long)upload.len, (unsigned long long)hanse_secagg_upload_len(&view->spec));
    *out = upload;
    return HANSE_OK;
}

hanse_rc secagg_cohort_check(const secagg_view *view, const hanse_secagg_roster *roster, const uint8_t *in, hanse_err *err)
{
    const hanse_secagg_params *params = &view->spec.params;
    uint32_t survivors = 0, organisations = hanse_secagg_roster_organisations(roster, in);

    for (uint32_t i = 0; i < view->n; i++)
        survivors += in[i] != 0;
    if (organisations < params->m)
        return HANSE_SECAGG_FAIL(err, COHORT, "%u sites of %u organisations in the sum, must be %u", survivors, organisations, params->m);
    if (view->n - survivors > params->d_max)
        return HANSE_SECAGG_FAIL(err, COHORT, "%u of %u sites are missing, at most %u may", view->n - survivors, view->n, params->d_max);
    return HANSE_OK;
}

hanse_rc secagg_neighbours_check(const secagg_view *view, uint32_t self, const uint8_t *in, hanse_err *err)
{
    const hanse_secagg_params *params = &view->spec.params;
    uint32_t neighbours = 0;

    if (params->degree == 0)
        return HANSE_OK;
    if (!in[self])
        return HANSE_SECAGG_FAIL(err, COHORT, "a site outside the sum does not help to open it in a sparse graph");
    for (uint32_t i = 0; i < view->n; i++)
        neighbours += in[i] && hanse_secagg_graph_pairs(&view->graph, self, i);
    if (neighbours < params->degree_t)
        return HANSE_SECAGG_FAIL(err, COHORT, "%u of %u neighbours are in the sum, must be %u: the rest could be told apart", neighbours,
                                 params->degree, params->degree_t);
    return HANSE_OK;
}

/* Every header of S, with its signature. Once for a cut: it is shown again with the others' signatures, and names the headers by hash. */
static hanse_rc check_headers(const secagg_view *view, const hanse_secagg_roster *roster, const hanse_secagg_cut *cut, const hanse_signed *uploads,
                              hanse_err *err)
{
    hanse_secagg_upload upload;
    hanse_rc rc = HANSE_OK;

    for (uint32_t i = 0; rc == HANSE_OK && i < cut->n; i++)
        if (cut->in[i])
            rc = secagg_upload_check(&upload, view, roster, i, uploads[i], err);
    return rc;
}

hanse_rc secagg_cut_check(const hanse_secagg_cut *cut, uint8_t cut_hash[32], secagg_view *view, const hanse_secagg_roster *roster,
                          hanse_bytes bytes, const hanse_signed *uploads, hanse_err *err)
{
    uint8_t root[32];
    hanse_rc rc = HANSE_OK;

    if (!same(cut->round_id, view->round_id, 32) || !same(cut->run, view->spec.run, 16) || cut->slot != view->spec.slot)
        return HANSE_SECAGG_FAIL(err, REPLAY, "cut of another round than the one verified for its slot");
    if (cut->n != view->n)
        return HANSE_SECAGG_FAIL(err, CUT_OVERLAP, "cut of %u members, the roster has %u", cut->n, view->n);
    rc = secagg_cohort_check(view, roster, cut->in, err);
    for (uint32_t i = 0; rc == HANSE_OK && i < cut->n; i++)
        if (cut->in[i] && !view->has[i])
            rc = HANSE_SECAGG_FAIL(err, CUT_OVERLAP, "member %u is in the sum without a ticket", i);
    if (rc == HANSE_OK)
        rc = hanse_secagg_hash(cut_hash, "cut", bytes, err);
    if (rc == HANSE_OK && !(view->cut_checked && same(cut_hash, view->cut_hash, 32)))
        rc = check_headers(view, roster, cut, uploads, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_uploads_root(root, uploads, cut->in, cut->n, err);
    if (rc == HANSE_OK && !same(root, cut->uploads_root, 32))
        rc = HANSE_SECAGG_FAIL(err, CUT_OVERLAP, "the upload headers are not those of the cut");
    if (rc != HANSE_OK)
        return rc;
    view->cut_checked = true;
    memcpy(view->cut_hash, cut_hash, 32);
    return HANSE_OK;
}

static hanse_rc find_signer(uint32_t *idx, const hanse_secagg_roster *roster, const uint8_t id[32], hanse_err *err)
{
    int found = hanse_secagg_roster_find(roster, id);

    if (found < 0)
        return HANSE_SECAGG_FAIL(err, ROSTER, "signed by a site that is no member");
    *idx = (uint32_t)found;
    return HANSE_OK;
}

hanse_rc secagg_cutsig_check(uint32_t *idx, const secagg_view *view, const hanse_secagg_roster *roster,
                             const uint8_t cut_hash[32], hanse_signed signed_, hanse_err *err)
{
    hanse_secagg_cutsig cutsig;
    hanse_rc rc = hanse_secagg_cutsig_decode(&cutsig, signed_.bytes, err);

    if (rc == HANSE_OK)
        rc = find_signer(idx, roster, cutsig.site_id, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_verify(roster, *idx, HANSE_SECAGG_CUTSIG_LABEL, signed_, err);
    if (rc == HANSE_OK && (!same(cutsig.round_id, view->round_id, 32) || !same(cutsig.cut_hash, cut_hash, 32)))
        rc = HANSE_SECAGG_FAIL(err, CUT_CONFLICT, "member %u signed another cut", *idx);
    return rc;
}

hanse_rc secagg_dead_check(uint32_t *idx, const hanse_secagg_roster *roster, const uint8_t run[16], uint64_t slot,
                           hanse_signed signed_, hanse_err *err)
{
    hanse_secagg_dead dead;
    hanse_rc rc = hanse_secagg_dead_decode(&dead, signed_.bytes, err);

    if (rc == HANSE_OK)
        rc = find_signer(idx, roster, dead.site_id, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_verify(roster, *idx, HANSE_SECAGG_DEAD_LABEL, signed_, err);
    if (rc == HANSE_OK && (!same(dead.run, run, 16) || dead.slot != slot))
        rc = HANSE_SECAGG_FAIL(err, REPLAY, "member %u declared another slot dead", *idx);
    return rc;
}

void secagg_answer_aad(uint8_t aad[96], const uint8_t round_id[32], const uint8_t cut_hash[32], const uint8_t site_id[32])
{
    memcpy(aad, round_id, 32);
    memcpy(aad + 32, cut_hash, 32);
    memcpy(aad + 64, site_id, 32);
}
