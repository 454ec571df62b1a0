/* The site as a holder of others' shares: cut, answer, DEAD, AbortCert. */
#include "crypto/secagg_facts.h"

#include "hanse/hpke.h"

static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
    return memcmp(a, b, len) == 0; /* ids and hashes: public */
}

/* A second cut of one slot proves that the coordinator cheats: remembered, and nothing is answered any more. */
static hanse_rc conflict(hanse_secagg_site *site, slot_fact *fact, const hanse_secagg_event *event, hanse_secagg_actions *actions,
                         hanse_err *err)
{
    hanse_secagg_action *alarm;
    hanse_rc rc;

    fact->flags |= FLAG_CONFLICT;
    rc = facts_put_slot(site, fact, actions, err);
    alarm = rc == HANSE_OK ? actions_add(actions, HANSE_SECAGG_DO_ALARM, err) : NULL;
    if (alarm != NULL)
        alarm->label = HANSE_SECAGG_ALARM_TWO_CUTS;
    rc = alarm == NULL ? HANSE_E_NOMEM : hanse_buf_append(&alarm->value, event->object.bytes.data, event->object.bytes.len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&alarm->sig, event->object.sig.data, event->object.sig.len, err);
    if (rc != HANSE_OK) {
        hanse_secagg_actions_clear(actions);
        return rc;
    }
    return HANSE_SECAGG_FAIL(err, CUT_CONFLICT, "the coordinator signed two cuts of slot %llu", (unsigned long long)fact->slot);
}

/* Own upload: in the cut with the bytes that were sent, or outside without a receipt. */
static hanse_rc check_own_upload(const hanse_secagg_site *site, const slot_fact *fact, const hanse_secagg_cut *cut,
                                 const hanse_secagg_event *event, hanse_err *err)
{
    uint32_t self = site->config->self;
    hanse_secagg_upload upload;
    hanse_rc rc;

    if (!cut->in[self]) {
        if ((fact->flags & FLAG_RECEIPT) != 0)
            return HANSE_SECAGG_FAIL(err, CUT_OVERLAP, "the cut leaves out this site's upload, for which there is a receipt");
        return HANSE_OK;
    }
    rc = hanse_secagg_upload_decode(&upload, event->uploads[self].bytes, err);
    if (rc == HANSE_OK && (fact->state != STATE_SENT || !same(upload.root, fact->upload_root, 32)))
        rc = HANSE_SECAGG_FAIL(err, CUT_OVERLAP, "the cut has an upload of this site that it did not make");
    return rc;
}

static hanse_rc check_certificate(const hanse_secagg_site *site, const site_round *round, const uint8_t cut_hash[32], const hanse_secagg_event *event,
                                  hanse_err *err)
{
    uint8_t *seen = hanse_calloc(site->n, 1);
    uint32_t idx = 0, distinct = 0;
    hanse_rc rc = HANSE_OK;

    if (seen == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u signatures", site->n);
    for (size_t i = 0; rc == HANSE_OK && i < event->signatures_count && distinct < site->config->params.t; i++) {
        rc = secagg_cutsig_check(&idx, &round->view, site->config->roster, cut_hash, event->signatures[i], err);
        if (rc == HANSE_OK && !seen[idx]) {
            seen[idx] = 1;
            distinct++;
        }
    }
    if (rc == HANSE_OK && distinct < site->config->params.t)
        rc = HANSE_SECAGG_FAIL(err, CUT_CONFLICT, "%u members signed the cut, must be %u", distinct, site->config->params.t);
    hanse_free(seen);
    return rc;
}

/* Which kind for whom; a ticket that has given the other kind already cannot be: the cut is the same one. */
static hanse_rc check_kinds(const hanse_secagg_site *site, const site_round *round, const slot_fact *fact, const hanse_secagg_cut *cut, hanse_err *err)
{
    for (uint32_t i = 0; i < site->n; i++) {
        uint8_t want = cut->in[i] ? HANSE_SECAGG_SHARE_B : HANSE_SECAGG_SHARE_SK;

        if (round->view.has[i] && fact->kinds[i] != HANSE_SECAGG_SHARE_NONE && fact->kinds[i] != want)
            return HANSE_SECAGG_FAIL(err, CUT_OVERLAP, "the other kind of share was given for the ticket of member %u", i);
    }
    return HANSE_OK;
}

static hanse_rc seal_answer(const hanse_secagg_site *site, const site_round *round, const hanse_secagg_answer *answer, const hanse_secagg_event *event,
                            hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_action *send = actions_add(actions, HANSE_SECAGG_DO_SEND, err);
    hanse_buf plain = HANSE_BUF_EMPTY, sig = HANSE_BUF_EMPTY;
    uint8_t enc[32], aad[96];
    hanse_hpke *ctx = NULL;
    hanse_rc rc;

    if (send == NULL)
        return HANSE_E_NOMEM;
    send->label = HANSE_SECAGG_ANSWER_LABEL;
    secagg_answer_aad(aad, answer->round_id, answer->cut_hash, answer->site_id);
    rc = hanse_secagg_answer_encode(&plain, answer, err);
    if (rc == HANSE_OK)
        rc = secagg_sign(site->config->key, HANSE_SECAGG_ANSWER_LABEL, &plain, &sig, err);
    if (rc == HANSE_OK) { /* signature first, one byte of length before it */
        uint8_t len = (uint8_t)sig.len;
        hanse_buf all = HANSE_BUF_EMPTY;

        rc = hanse_buf_append(&all, &len, 1, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&all, sig.data, sig.len, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&all, plain.data, plain.len, err);
        hanse_buf_wipe(&plain);
        plain = all;
    }
    if (rc == HANSE_OK)
        rc = hanse_hpke_sender_new(&ctx, enc, HANSE_AEAD_AES256GCM, round->view.spec.seal_key, (hanse_x25519_pair){event->seed, NULL},
                                   hanse_bytes_str(SECAGG_ANSWER_INFO), err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&send->extra, enc, sizeof enc, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_reserve(&send->extra, sizeof enc + plain.len + HANSE_HPKE_TAG_LEN, err);
    if (rc == HANSE_OK)
        rc = hanse_hpke_seal(ctx, 0, (hanse_bytes){aad, sizeof aad}, send->extra.data + sizeof enc, hanse_buf_bytes(&plain), err);
    if (rc == HANSE_OK)
        send->extra.len = sizeof enc + plain.len + HANSE_HPKE_TAG_LEN;
    hanse_hpke_free(ctx);
    hanse_buf_wipe(&plain);
    hanse_buf_clear(&sig);
    return rc;
}

/* Open what is sealed to this site; a share that does not open, or whose epoch is gone, is left out (NONE). */
static hanse_rc open_shares(const hanse_secagg_site *site, const site_round *round, hanse_secagg_answer *answer, const hanse_secagg_cut *cut,
                            hanse_err *err)
{
    uint32_t self = site->config->self;
    uint8_t pair[2][32];
    hanse_rc rc = HANSE_OK;

    for (uint32_t i = 0; rc == HANSE_OK && i < site->n; i++) {
        const hanse_secagg_ticket *ticket = &round->view.tickets[i];
        const hanse_bytes ct = {round->shares.data + (size_t)i * HANSE_SECAGG_CT_LEN, HANSE_SECAGG_CT_LEN};
        const own_epoch *epoch = round->view.has[i] && hanse_secagg_graph_holds(&round->view.graph, i, self) ? facts_epoch(site, secagg_share_epoch(ct)) : NULL;

        if (epoch == NULL)
            continue;
        rc = secagg_share_open(pair, ticket, answer->site_id, self, (hanse_x25519_pair){epoch->secret, epoch->pub}, ct, err);
        if (rc == HANSE_E_AUTH)
            rc = HANSE_OK; /* its maker's fault: the other tickets' shares are given all the same */
        else if (rc == HANSE_OK) {
            answer->kinds[i] = cut->in[i] ? HANSE_SECAGG_SHARE_B : HANSE_SECAGG_SHARE_SK;
            memcpy(answer->shares[i], pair[cut->in[i] ? 1 : 0], 32);
        }
    }
    hanse_wipe(pair, sizeof pair);
    return rc;
}

static hanse_rc answer_cut(hanse_secagg_site *site, const site_round *round, slot_fact *fact, const hanse_secagg_cut *cut, const uint8_t cut_hash[32],
                           const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_answer answer = {.n = site->n};
    hanse_rc rc = check_kinds(site, round, fact, cut, err);

    if (rc != HANSE_OK)
        return rc;
    memcpy(answer.round_id, round->view.round_id, 32);
    memcpy(answer.cut_hash, cut_hash, 32);
    memcpy(answer.site_id, hanse_secagg_roster_id(site->config->roster, site->config->self), 32);
    answer.kinds = hanse_calloc(site->n, 1);
    answer.shares = hanse_calloc(site->n, sizeof *answer.shares);
    if (answer.kinds == NULL || answer.shares == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u shares", site->n);
    if (rc == HANSE_OK)
        rc = open_shares(site, round, &answer, cut, err);
    if (rc == HANSE_OK) {
        fact->flags |= FLAG_CUT | FLAG_ANSWERED;
        memcpy(fact->cut_hash, cut_hash, 32);
        for (uint32_t i = 0; i < site->n; i++)
            if (answer.kinds[i] != HANSE_SECAGG_SHARE_NONE)
                fact->kinds[i] = answer.kinds[i];
        rc = facts_put_slot(site, fact, actions, err);
    }
    if (rc == HANSE_OK)
        rc = seal_answer(site, round, &answer, event, actions, err);
    hanse_secagg_answer_clear(&answer);
    return rc;
}

static hanse_rc sign_cut(hanse_secagg_site *site, const site_round *round, slot_fact *fact, const uint8_t cut_hash[32], hanse_secagg_actions *actions,
                         hanse_err *err)
{
    hanse_secagg_cutsig cutsig;
    hanse_secagg_action *send;
    hanse_rc rc;

    if (site->floor_slot > 0 && !round->view.has[site->config->self]) /* as of DEAD, below */
        return HANSE_SECAGG_FAIL(err, ROLLBACK, "slot %llu: this site recovered, and left no ticket for it since", (unsigned long long)fact->slot);
    fact->flags |= FLAG_CUT;
    memcpy(fact->cut_hash, cut_hash, 32);
    rc = facts_put_slot(site, fact, actions, err);
    send = rc == HANSE_OK ? actions_add(actions, HANSE_SECAGG_DO_SEND, err) : NULL;
    if (send == NULL)
        return HANSE_E_NOMEM;
    memcpy(cutsig.round_id, round->view.round_id, 32);
    memcpy(cutsig.cut_hash, cut_hash, 32);
    memcpy(cutsig.site_id, hanse_secagg_roster_id(site->config->roster, site->config->self), 32);
    rc = hanse_secagg_cutsig_encode(&send->value, &cutsig, err);
    return rc == HANSE_OK ? send_signed(site, send, HANSE_SECAGG_CUTSIG_LABEL, err) : rc;
}

/* The slot's first cut, or the same again; a second one is recorded even when it is bad otherwise: it is signed. */
static hanse_rc check_first(hanse_secagg_site *site, slot_fact *fact, const hanse_secagg_event *event,
                            hanse_secagg_actions *actions, hanse_err *err)
{
    uint8_t cut_hash[32];
    hanse_rc rc;

    if ((fact->flags & FLAG_DEAD) != 0)
        return HANSE_SECAGG_FAIL(err, DEAD, "slot %llu was declared dead", (unsigned long long)fact->slot);
    if ((fact->flags & FLAG_CONFLICT) != 0)
        return HANSE_SECAGG_FAIL(err, CUT_CONFLICT, "slot %llu has two cuts", (unsigned long long)fact->slot);
    rc = hanse_secagg_hash(cut_hash, "cut", event->object.bytes, err);
    if (rc == HANSE_OK && (fact->flags & FLAG_CUT) != 0 && !same(cut_hash, fact->cut_hash, 32))
        return conflict(site, fact, event, actions, err);
    return rc;
}

hanse_rc holder_cut(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_cut cut = {.n = 0};
    uint8_t cut_hash[32];
    site_round *round;
    slot_fact *fact;
    hanse_rc rc = hanse_secagg_verify(site->config->roster, HANSE_SECAGG_COORDINATOR, HANSE_SECAGG_CUT_LABEL, event->object, err);

    if (rc == HANSE_OK)
        rc = hanse_secagg_cut_decode(&cut, event->object.bytes, err);
    if (rc != HANSE_OK)
        return rc;
    round = facts_round(site, cut.slot);
    if (!same(cut.run, site->config->run, 16) || round == NULL || (fact = facts_find(site, cut.slot)) == NULL)
        rc = HANSE_SECAGG_FAIL(err, REPLAY, "cut of slot %llu, whose spec is not at hand: show it again", (unsigned long long)cut.slot);
    else if (cut.slot < site->floor_slot)
        rc = HANSE_SECAGG_FAIL(err, ROLLBACK, "slot %llu was opened before this site recovered", (unsigned long long)cut.slot);
    else
        rc = check_first(site, fact, event, actions, err);
    if (rc == HANSE_OK)
        rc = secagg_cut_check(&cut, cut_hash, &round->view, site->config->roster, event->object.bytes, event->uploads, err);
    if (rc == HANSE_OK)
        rc = check_own_upload(site, fact, &cut, event, err);
    if (rc == HANSE_OK && event->signatures_count > 0)
        rc = secagg_neighbours_check(&round->view, site->config->self, cut.in, err);
    if (rc == HANSE_OK && site->config->params.profile == HANSE_SECAGG_ONLINE && event->signatures_count == 0)
        rc = sign_cut(site, round, fact, cut_hash, actions, err);
    else if (rc == HANSE_OK) {
        if (site->config->params.profile == HANSE_SECAGG_ONLINE)
            rc = check_certificate(site, round, cut_hash, event, err);
        if (rc == HANSE_OK)
            rc = answer_cut(site, round, fact, &cut, cut_hash, event, actions, err);
    }
    hanse_secagg_cut_clear(&cut);
    return rc;
}

/* A coordinator may name too low a slot to a site that recovers. What it can answer was sealed to keys of since then; that no answer was
 * given before is known only of rounds with a ticket of since then. */
static bool is_of_now(const hanse_secagg_site *site, uint64_t slot)
{
    const site_round *round = facts_round_read(site, slot);
    const slot_fact *fact = facts_find(site, slot);

    return (fact != NULL && (fact->flags & FLAG_SINCE) != 0) || (round != NULL && round->view.has[site->config->self]);
}

hanse_rc holder_dead(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_dead dead = {.slot = event->slot};
    slot_fact *fact = facts_find(site, event->slot);
    hanse_secagg_action *send;
    hanse_rc rc;

    if (event->slot < site->floor_slot)
        return HANSE_SECAGG_FAIL(err, ROLLBACK, "slot %llu was opened before this site recovered", (unsigned long long)event->slot);
    if (site->floor_slot > 0 && !is_of_now(site, event->slot))
        return HANSE_SECAGG_FAIL(err, ROLLBACK, "slot %llu: this site recovered, and has seen no spec with a ticket that it left since", (unsigned long long)event->slot);
    if (fact != NULL && (fact->flags & FLAG_ANSWERED) != 0)
        return HANSE_SECAGG_FAIL(err, DEAD, "shares of slot %llu were given", (unsigned long long)event->slot);
    rc = facts_slot(&fact, site, event->slot, err);
    if (rc != HANSE_OK)
        return rc;
    fact->flags |= FLAG_DEAD;
    facts_destroy_ticket(fact);
    rc = facts_put_slot(site, fact, actions, err);
    send = rc == HANSE_OK ? actions_add(actions, HANSE_SECAGG_DO_SEND, err) : NULL;
    if (send == NULL)
        return HANSE_E_NOMEM;
    memcpy(dead.run, site->config->run, 16);
    memcpy(dead.site_id, hanse_secagg_roster_id(site->config->roster, site->config->self), 32);
    rc = hanse_secagg_dead_encode(&send->value, &dead, err);
    return rc == HANSE_OK ? send_signed(site, send, HANSE_SECAGG_DEAD_LABEL, err) : rc;
}

hanse_rc holder_abort(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    uint32_t want = hanse_secagg_retry_count(&site->config->params), distinct = 0, idx = 0;
    uint8_t *seen = hanse_calloc(site->n, 1);
    slot_fact *fact;
    hanse_rc rc = HANSE_OK;

    if (seen == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u signatures", site->n);
    for (size_t i = 0; rc == HANSE_OK && i < event->signatures_count; i++) {
        rc = secagg_dead_check(&idx, site->config->roster, site->config->run, event->slot, event->signatures[i], err);
        if (rc == HANSE_OK && !seen[idx]) {
            seen[idx] = 1;
            distinct++;
        }
    }
    hanse_free(seen);
    if (rc == HANSE_OK && distinct < want)
        rc = HANSE_SECAGG_FAIL(err, DIFF, "%u members declared slot %llu dead, must be %u", distinct, (unsigned long long)event->slot, want);
    if (rc == HANSE_OK)
        rc = facts_slot(&fact, site, event->slot, err);
    if (rc != HANSE_OK)
        return rc;
    fact->flags |= FLAG_ABORTED;
    return facts_put_slot(site, fact, actions, err);
}
