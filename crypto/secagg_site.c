/* The site's machine (drawn in secagg_site.h): epochs, tickets, taking part. As a holder: secagg_holder.c. */
#include "crypto/secagg_facts.h"

#include "hanse/hpke.h"

static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
    return memcmp(a, b, len) == 0; /* ids and hashes: public */
}

static bool is_zero(const uint8_t bytes[32])
{
    uint8_t any = 0;

    for (size_t i = 0; i < 32; i++)
        any |= bytes[i];
    return any == 0;
}

hanse_rc send_signed(const hanse_secagg_site *site, hanse_secagg_action *send, const char *label, hanse_err *err)
{
    send->label = label;
    return secagg_sign(site->config->key, label, &send->value, &send->sig, err);
}

/* --- epochs --- */

static uint32_t newest_epoch(const hanse_secagg_site *site)
{
    uint32_t newest = site->peers[site->config->self].epoch;

    for (size_t i = 0; i < site->epochs_count; i++)
        if (site->epochs[i].epoch > newest)
            newest = site->epochs[i].epoch;
    return newest;
}

uint64_t hanse_secagg_site_epoch_until(const hanse_secagg_site *site)
{
    const hanse_secagg_epoch *mine = &site->peers[site->config->self];

    return mine->epoch != 0 && facts_epoch(site, mine->epoch) != NULL ? mine->not_after_ms : 0;
}

uint64_t hanse_secagg_site_floor(const hanse_secagg_site *site)
{
    return site->floor_slot;
}

static hanse_rc state_epoch(const hanse_secagg_site *site, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_action *send = actions_add(actions, HANSE_SECAGG_DO_SEND, err);
    hanse_rc rc;

    if (send == NULL)
        return HANSE_E_NOMEM;
    rc = hanse_secagg_epoch_encode(&send->value, &site->peers[site->config->self], err);
    return rc == HANSE_OK ? send_signed(site, send, HANSE_SECAGG_EPOCH_LABEL, err) : rc;
}

static hanse_rc begin_epoch(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    own_epoch epoch = {.epoch = event->epoch, .not_before_ms = event->from_ms, .not_after_ms = event->until_ms};
    hanse_secagg_epoch *mine = &site->peers[site->config->self];
    hanse_rc rc;

    if (event->epoch == 0 && hanse_secagg_site_epoch_until(site) > 0)
        return state_epoch(site, actions, err);
    if (event->epoch <= newest_epoch(site) || event->until_ms <= event->from_ms)
        return HANSE_FAIL(err, HANSE_E_USAGE, "epoch %u does not follow %u", event->epoch, newest_epoch(site));
    memcpy(epoch.secret, event->seed, 32);
    rc = hanse_x25519_public(epoch.pub, epoch.secret, err);
    if (rc == HANSE_OK)
        rc = facts_add_epoch(site, &epoch, err);
    if (rc == HANSE_OK) {
        *mine = (hanse_secagg_epoch){.epoch = epoch.epoch, .not_before_ms = epoch.not_before_ms, .not_after_ms = epoch.not_after_ms};
        memcpy(mine->site_id, hanse_secagg_roster_id(site->config->roster, site->config->self), 32);
        memcpy(mine->pub, epoch.pub, 32);
        rc = facts_put_epoch(site, &epoch, actions, err);
    }
    if (rc == HANSE_OK)
        rc = facts_put_peer(site, site->config->self, actions, err);
    hanse_wipe(&epoch, sizeof epoch);
    return rc == HANSE_OK ? state_epoch(site, actions, err) : rc;
}

static hanse_rc take_peer(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_epoch epoch;
    int idx;
    hanse_rc rc = hanse_secagg_epoch_decode(&epoch, event->object.bytes, err);

    if (rc != HANSE_OK)
        return rc;
    idx = hanse_secagg_roster_find(site->config->roster, epoch.site_id);
    if (idx < 0)
        return HANSE_SECAGG_FAIL(err, ROSTER, "epoch of a site that is no member");
    rc = hanse_secagg_verify(site->config->roster, (uint32_t)idx, HANSE_SECAGG_EPOCH_LABEL, event->object, err);
    if (rc != HANSE_OK)
        return rc;
    if ((uint32_t)idx == site->config->self) {
        const hanse_secagg_epoch *own = &site->peers[idx];
        bool unknown = epoch.epoch > newest_epoch(site) || (epoch.epoch == own->epoch && !same(epoch.pub, own->pub, 32));

        return unknown ? facts_rolled_back(site, actions, err) : HANSE_OK;
    }
    if (epoch.epoch < site->peers[idx].epoch
        || (epoch.epoch == site->peers[idx].epoch && !same(epoch.pub, site->peers[idx].pub, 32)))
        return HANSE_SECAGG_FAIL(err, REPLAY, "epoch %u of member %d, epoch %u was seen", epoch.epoch, idx, site->peers[idx].epoch);
    if (epoch.epoch == site->peers[idx].epoch)
        return HANSE_OK;
    rc = hanse_secagg_epoch_check_key(&epoch, err);
    if (rc != HANSE_OK)
        return rc;
    site->peers[idx] = epoch;
    return facts_put_peer(site, (uint32_t)idx, actions, err);
}

static hanse_rc tick(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < site->epochs_count;) {
        own_epoch *epoch = &site->epochs[i];

        if (event->now_ms <= epoch->not_after_ms + site->config->ticket_life_ms) {
            i++;
            continue;
        }
        rc = facts_put_epoch(site, epoch, actions, err);
        if (rc == HANSE_OK)
            hanse_buf_wipe(&actions->items[actions->count - 1].value); /* an empty value deletes */
        *epoch = site->epochs[--site->epochs_count];
        hanse_wipe(&site->epochs[site->epochs_count], sizeof *epoch);
    }
    return rc;
}

/* --- tickets --- */

/* Whom shares are sealed for: every member, or neighbour, whose newest epoch the ticket may outlive by L at most. */
static hanse_rc choose_holders(const hanse_secagg_site *site, const hanse_secagg_graph *graph, uint64_t expiry_ms,
                               const hanse_secagg_epoch **epochs, hanse_err *err)
{
    uint32_t holders = 0, need = hanse_secagg_shares_needed(&site->config->params);

    for (uint32_t i = 0; i < site->n; i++) {
        const hanse_secagg_epoch *peer = &site->peers[i];

        if (peer->epoch == 0 || expiry_ms > peer->not_after_ms + site->config->ticket_life_ms
            || !hanse_secagg_graph_holds(graph, site->config->self, i))
            continue;
        epochs[i] = peer;
        holders++;
    }
    if (holders < need)
        return HANSE_SECAGG_FAIL(err, TICKET, "only %u members have an epoch key that a ticket may be sealed to, %u are needed",
                                 holders, need);
    return HANSE_OK;
}

static hanse_rc make_ticket(hanse_secagg_site *site, slot_fact *fact, const hanse_secagg_event *event, hanse_err *err)
{
    hanse_secagg_ticket ticket = {.slot = event->slot, .expiry_ms = event->until_ms};
    const hanse_secagg_epoch **epochs = hanse_calloc(site->n, sizeof *epochs);
    hanse_buf bytes = HANSE_BUF_EMPTY, cts = HANSE_BUF_EMPTY, sig = HANSE_BUF_EMPTY;
    hanse_secagg_graph graph = HANSE_SECAGG_GRAPH_EMPTY;
    hanse_rc rc = hanse_secagg_graph_open(&graph, &site->config->params, site->config->run, event->slot,
                                          hanse_secagg_roster_hash(site->config->roster), err);

    memcpy(ticket.run, site->config->run, 16);
    if (epochs == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a ticket of %u holders", site->n);
    if (rc == HANSE_OK)
        rc = choose_holders(site, &graph, event->until_ms, epochs, err);
    if (rc == HANSE_OK)
        rc = secagg_ticket_make(&ticket, &cts, site->config->roster, site->config->self, epochs, hanse_secagg_shares_needed(&site->config->params),
                                event->seed, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_ticket_encode(&bytes, &ticket, err);
    if (rc == HANSE_OK)
        rc = secagg_sign(site->config->key, HANSE_SECAGG_TICKET_LABEL, &bytes, &sig, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_hash(fact->ticket_hash, "ticket", hanse_buf_bytes(&bytes), err);
    hanse_secagg_graph_clear(&graph);
    hanse_free(epochs);
    if (rc != HANSE_OK) {
        hanse_buf_clear(&bytes);
        hanse_buf_clear(&cts);
        hanse_buf_clear(&sig);
        return rc;
    }
    memcpy(fact->seed, event->seed, 32);
    fact->ticket = bytes;
    fact->cts = cts;
    fact->sig = sig;
    fact->state = STATE_UNUSED;
    return HANSE_OK;
}

static hanse_rc leave_ticket(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    slot_fact *fact = facts_find(site, event->slot);
    hanse_secagg_action *send;
    hanse_rc rc;

    if (event->slot < site->floor_slot || event->slot <= site->highest_taken
        || event->slot > event->newest_slot + HANSE_SECAGG_SLOTS_AHEAD)
        return HANSE_SECAGG_FAIL(err, REPLAY, "no ticket for slot %llu: taken up to %llu, the run's newest is %llu",
                                 (unsigned long long)event->slot, (unsigned long long)site->highest_taken,
                                 (unsigned long long)event->newest_slot);
    if (fact != NULL && (fact->flags != 0 || fact->state > STATE_UNUSED || (fact->state == STATE_UNUSED && fact->ticket.len == 0)))
        return HANSE_SECAGG_FAIL(err, TICKET_REUSED, "slot %llu has begun or is dead", (unsigned long long)event->slot);
    rc = facts_slot(&fact, site, event->slot, err);
    if (rc == HANSE_OK && fact->state == STATE_NONE) {
        if (event->until_ms <= event->now_ms)
            return HANSE_SECAGG_FAIL(err, TICKET, "a ticket that has expired already");
        rc = make_ticket(site, fact, event, err);
        if (rc == HANSE_OK)
            rc = facts_put_slot(site, fact, actions, err);
    }
    if (rc != HANSE_OK)
        return rc;
    send = actions_add(actions, HANSE_SECAGG_DO_SEND, err);
    if (send == NULL)
        return HANSE_E_NOMEM;
    send->label = HANSE_SECAGG_TICKET_LABEL;
    rc = hanse_buf_append(&send->value, fact->ticket.data, fact->ticket.len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&send->sig, fact->sig.data, fact->sig.len, err);
    return rc == HANSE_OK ? hanse_buf_append(&send->extra, fact->cts.data, fact->cts.len, err) : rc;
}

/* --- spec --- */

static hanse_rc check_own(hanse_secagg_site *site, const secagg_view *view, const slot_fact *fact, hanse_secagg_actions *actions, hanse_err *err)
{
    const hanse_secagg_site_config *config = site->config;
    const hanse_secagg_spec *spec = &view->spec;
    const hanse_secagg_params *a = &spec->params, *b = &config->params;

    if (!same(spec->run, config->run, 16) || !same(spec->plan_hash, config->plan_hash, 32)
        || !same(spec->seal_key, config->seal_key, 32))
        return HANSE_SECAGG_FAIL(err, PLAN, "spec of slot %llu is of another run, plan or sealing key than the accepted one",
                                 (unsigned long long)spec->slot);
    if (a->degree != b->degree || a->degree_t != b->degree_t)
        return HANSE_SECAGG_FAIL(err, COHORT, "spec has %u of %u neighbours, accepted were %u of %u (0: all)", a->degree_t, a->degree,
                                 b->degree_t, b->degree);
    if (a->c != b->c || a->d_max != b->d_max || a->m != b->m || a->t != b->t || a->profile != b->profile)
        return HANSE_SECAGG_FAIL(err, COHORT, "spec has c %u, D %u, m %u, t %u, profile %u; accepted were %u, %u, %u, %u, %u", a->c,
                                 a->d_max, a->m, a->t, a->profile, b->c, b->d_max, b->m, b->t, b->profile);
    if (spec->slot < site->floor_slot)
        return HANSE_SECAGG_FAIL(err, ROLLBACK, "slot %llu was opened before this site recovered", (unsigned long long)spec->slot);
    if (view->has[config->self]) { /* its signature was verified with the others' */
        /* Of a slot it leaves one: another one under its signature is of a time that this state has forgotten. */
        if (fact == NULL || fact->state == STATE_NONE || !same(view->hashes[config->self], fact->ticket_hash, 32))
            return facts_rolled_back(site, actions, err);
    }
    if (fact != NULL && (fact->flags & FLAG_DEAD) != 0)
        return HANSE_SECAGG_FAIL(err, DEAD, "slot %llu was declared dead", (unsigned long long)spec->slot);
    if (fact != NULL && (fact->flags & FLAG_ROUND) != 0 && !same(fact->round_id, view->round_id, 32))
        return HANSE_SECAGG_FAIL(err, REPLAY, "slot %llu has another round already", (unsigned long long)spec->slot);
    return HANSE_OK;
}

static hanse_rc check_part(const hanse_secagg_site *site, const secagg_view *view, const slot_fact *fact,
                           const hanse_secagg_event *event, hanse_err *err)
{
    const hanse_secagg_spec *spec = &view->spec;
    bool scaled = false;

    if (!view->has[site->config->self])
        return HANSE_SECAGG_FAIL(err, TICKET, "the spec lists no ticket of this site");
    if (secagg_cohort_check(view, site->config->roster, view->has, err) != HANSE_OK)
        return HANSE_E_QUORUM; /* members without ticket are outside S: no cut of this spec could pass */
    if (fact->state == STATE_DEAD || is_zero(fact->seed))
        return HANSE_SECAGG_FAIL(err, TICKET_REUSED, "the ticket of slot %llu is burnt", (unsigned long long)spec->slot);
    if (fact->state != STATE_SENT /* else the same bytes go out again, which is right at any time */
        && ((fact->flags & (FLAG_CUT | FLAG_ANSWERED)) != 0 || spec->upload_deadline_ms + HANSE_SECAGG_SKEW_MS < event->now_ms))
        return HANSE_SECAGG_FAIL(err, LATE, "slot %llu: the upload is over", (unsigned long long)spec->slot);
    if (spec->slot < site->highest_taken)
        return HANSE_SECAGG_FAIL(err, REPLAY, "slot %llu, this site took part in slot %llu", (unsigned long long)spec->slot,
                                 (unsigned long long)site->highest_taken);
    if (!same(spec->model_root, event->model_root, 32))
        return HANSE_SECAGG_FAIL(err, MODELHASH, "the spec names another model than the one that was loaded");
    for (uint32_t i = 0; i < spec->segments_count; i++)
        scaled |= spec->segments[i].scaled != 0;
    if (scaled && (event->weight == 0 || event->weight > spec->weight_total
                   || (unsigned __int128)event->weight * 1000000 > (unsigned __int128)spec->weight_total * site->config->share_max_ppm))
        return HANSE_SECAGG_FAIL(err, RANGE, "%llu samples of a total of %llu: none, or a greater share than policy.share_max",
                                 (unsigned long long)event->weight, (unsigned long long)spec->weight_total);
    return HANSE_OK;
}

static bool has_mask(const secagg_view *view, uint32_t self, uint32_t i)
{
    return view->has[i] && (i == self || hanse_secagg_graph_pairs(&view->graph, self, i));
}

/* A key of low order must show before anything is bound. */
static hanse_rc own_streams(secagg_streams *out, const hanse_secagg_site *site, const secagg_view *view, const slot_fact *fact,
                            hanse_err *err)
{
    uint32_t self = site->config->self;
    size_t count = 0;
    secagg_secrets secrets;
    hanse_rc rc = secagg_secrets_from(&secrets, fact->seed, err);

    for (uint32_t i = 0; i < view->n; i++)
        count += has_mask(view, self, i);
    if (rc == HANSE_OK)
        rc = secagg_streams_reserve(out, count, err);
    count = 0;
    for (uint32_t i = 0; rc == HANSE_OK && i < view->n; i++) {
        if (!has_mask(view, self, i))
            continue;
        rc = i == self ? secagg_self_mask(&out->masks[count], view, self, secrets.b, false, err)
                       : secagg_pair_mask(&out->masks[count], view, self, secrets.sk, i, err);
        count++;
    }
    hanse_wipe(&secrets, sizeof secrets);
    return rc;
}

/* Nothing below can be refused: the round is bound, and the view kept. */
static hanse_rc bind_round(hanse_secagg_site *site, const secagg_view *view, const hanse_secagg_event *event,
                           const attempt_how *how, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_action *train;
    slot_fact *fact;
    hanse_rc rc = facts_slot(&fact, site, view->spec.slot, err);

    if (rc != HANSE_OK)
        return rc;
    if (how->reseed)
        rc = attempt_burn(site, &view->spec, actions, err);
    fact->flags |= FLAG_ROUND;
    memcpy(fact->round_id, view->round_id, 32);
    if (event->take_part) {
        fact->flags |= FLAG_TAKEN | FLAG_SINCE;
        site->highest_taken = fact->slot; /* an older one is refused */
        fact->state = fact->state == STATE_UNUSED ? STATE_BOUND : fact->state;
        fact->attempt_kind = view->spec.kind;
        memcpy(fact->attempt_root, view->spec.model_root, 32);
    }
    if (rc == HANSE_OK)
        rc = facts_put_slot(site, fact, actions, err);
    if (rc != HANSE_OK || !event->take_part)
        return rc;
    train = actions_add(actions, HANSE_SECAGG_DO_TRAIN, err);
    if (train == NULL)
        return HANSE_E_NOMEM;
    train->again = how->again;
    train->reseed = how->reseed;
    train->told = how->told;
    return HANSE_OK;
}

/* Masks come twice: when they are told, and when the site takes part. Not a bit of them need be verified again: the round's id
 * covers the spec, and the spec its tickets. */
static hanse_rc open_view(secagg_view *out, site_round *known, hanse_secagg_site *site, const hanse_secagg_event *event, hanse_err *err)
{
    uint8_t round_id[32];
    hanse_rc rc = hanse_secagg_hash(round_id, "round", event->object.bytes, err);

    if (rc != HANSE_OK || !facts_take_round(known, site, round_id))
        return rc == HANSE_OK ? secagg_view_open(out, site->config->roster, event->object, event->tickets, site->n, event->now_ms, err) : rc;
    *out = known->view;
    return HANSE_OK;
}

static hanse_rc take_spec(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    site_round fresh = {.view = {.n = 0}}, known = {.view = {.n = 0}};
    secagg_view *view = &fresh.view;
    attempt_how how = {.again = false};
    const slot_fact *fact;
    hanse_rc rc;

    if (event->shares.len != (size_t)site->n * HANSE_SECAGG_CT_LEN)
        return HANSE_FAIL(err, HANSE_E_USAGE, "%zu bytes of shares for %u members", event->shares.len, site->n);
    rc = open_view(view, &known, site, event, err);
    if (rc != HANSE_OK)
        return rc;
    fact = facts_find(site, view->spec.slot);
    rc = facts_check_over(site, view->spec.slot, err);
    if (rc == HANSE_OK)
        rc = check_own(site, view, fact, actions, err);
    if (rc == HANSE_OK && event->take_part) {
        rc = check_part(site, view, fact, event, err);
        if (rc == HANSE_OK)
            rc = attempt_check(site, &view->spec, &how, err);
        if (rc == HANSE_OK)
            rc = own_streams(&fresh.masks, site, view, fact, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&fresh.shares, event->shares.data, event->shares.len, err);
    if (rc == HANSE_OK)
        rc = bind_round(site, view, event, &how, actions, err);
    if (known.view.n > 0) /* one of the two owns it */
        *(rc == HANSE_OK ? &known.view : view) = (secagg_view){.n = 0};
    if (rc == HANSE_OK || known.view.n > 0)
        facts_keep_round(site, rc == HANSE_OK ? &fresh : &known);
    site_round_clear(&fresh);
    site_round_clear(&known);
    return rc;
}

/* --- upload --- */

static hanse_rc send_upload(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    slot_fact *fact = facts_find(site, event->slot);
    const site_round *round = facts_round(site, event->slot);
    uint32_t self = site->config->self;
    hanse_secagg_upload upload = {.slot = event->slot};
    hanse_secagg_action *send;
    hanse_rc rc;

    if (fact == NULL || round == NULL || (fact->state != STATE_BOUND && fact->state != STATE_SENT))
        return HANSE_SECAGG_FAIL(err, TICKET_REUSED, "slot %llu has no bound ticket to upload under", (unsigned long long)event->slot);
    if ((fact->flags & (FLAG_CUT | FLAG_ANSWERED)) != 0 && fact->state == STATE_BOUND)
        return HANSE_SECAGG_FAIL(err, LATE, "slot %llu was cut without this site", (unsigned long long)event->slot);
    if (fact->state == STATE_SENT && !same(fact->upload_root, event->root, 32))
        return HANSE_SECAGG_FAIL(err, TICKET_REUSED, "slot %llu: other bytes than were sent under this ticket", (unsigned long long)event->slot);
    memcpy(upload.round_id, fact->round_id, 32);
    memcpy(upload.run, site->config->run, 16);
    memcpy(upload.site_id, hanse_secagg_roster_id(site->config->roster, self), 32);
    memcpy(upload.nonce, round->view.tickets[self].nonce, 16);
    memcpy(upload.root, event->root, 32);
    upload.chunks = hanse_secagg_chunks(&round->view.spec);
    upload.len = hanse_secagg_upload_len(&round->view.spec);
    if (fact->state == STATE_BOUND) {
        fact->state = STATE_SENT;
        memcpy(fact->upload_root, event->root, 32);
        rc = facts_put_slot(site, fact, actions, err);
        if (rc != HANSE_OK)
            return rc;
    }
    send = actions_add(actions, HANSE_SECAGG_DO_SEND, err);
    if (send == NULL)
        return HANSE_E_NOMEM;
    rc = hanse_secagg_upload_encode(&send->value, &upload, err);
    return rc == HANSE_OK ? send_signed(site, send, HANSE_SECAGG_UPLOAD_LABEL, err) : rc;
}

static hanse_rc take_receipt(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    slot_fact *fact = facts_find(site, event->slot);

    if (fact == NULL || fact->state != STATE_SENT)
        return HANSE_FAIL(err, HANSE_E_USAGE, "slot %llu: nothing was uploaded", (unsigned long long)event->slot);
    fact->flags |= FLAG_RECEIPT;
    return facts_put_slot(site, fact, actions, err);
}

/* Tickets up to the slot have served, whether they were used, void, or their results never came here: whoever takes this site's
 * state later, and has recorded its uploads, must not open them. */
static hanse_rc destroy_tickets(hanse_secagg_site *site, uint64_t slot, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < site->slots_count; i++) {
        if (site->slots[i]->slot > slot || is_zero(site->slots[i]->seed))
            continue;
        facts_destroy_ticket(site->slots[i]);
        rc = facts_put_slot(site, site->slots[i], actions, err);
    }
    return rc;
}

static hanse_rc take_result(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    slot_fact *fact = facts_find(site, event->slot);
    hanse_rc rc = destroy_tickets(site, event->slot, actions, err);

    if (rc == HANSE_OK && fact == NULL && event->slot >= site->over_slot) /* that it is over is remembered of a slot without this site, too */
        rc = facts_slot(&fact, site, event->slot, err);
    if (rc == HANSE_OK && fact != NULL) {
        fact->flags |= FLAG_RESULT;
        rc = facts_put_slot(site, fact, actions, err);
    }
    if (rc == HANSE_OK)
        facts_over(site, event->slot);
    return rc;
}

static hanse_rc recover(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_rc rc;

    if (event->slot > site->floor_slot)
        site->floor_slot = event->slot;
    site->rolled_back = false;
    rc = facts_put_floor(site, actions, err);
    for (size_t i = 0; rc == HANSE_OK && i < site->slots_count; i++) {
        facts_destroy_ticket(site->slots[i]);
        site->slots[i]->flags &= ~(uint32_t)FLAG_SINCE;
        rc = facts_put_slot(site, site->slots[i], actions, err);
    }
    while (rc == HANSE_OK && site->epochs_count > 0) {
        own_epoch *epoch = &site->epochs[--site->epochs_count];

        rc = facts_put_epoch(site, epoch, actions, err);
        if (rc == HANSE_OK)
            hanse_buf_wipe(&actions->items[actions->count - 1].value);
        hanse_wipe(epoch, sizeof *epoch);
    }
    facts_forget_rounds(site);
    return rc;
}

/* What a site whose state went back may have done otherwise before, and others hold. */
static bool promises(hanse_secagg_event_kind kind)
{
    return kind == HANSE_SECAGG_EV_TICKET || kind == HANSE_SECAGG_EV_SPEC || kind == HANSE_SECAGG_EV_UPLOAD || kind == HANSE_SECAGG_EV_CUT
           || kind == HANSE_SECAGG_EV_DEAD;
}

hanse_rc hanse_secagg_site_step(hanse_secagg_site *site, const hanse_secagg_event *event, hanse_secagg_actions *actions,
                                hanse_err *err)
{
    hanse_rc rc = HANSE_E_USAGE;

    if (site->rolled_back && promises(event->kind))
        return HANSE_SECAGG_FAIL(err, ROLLBACK, "this site's state is older than what others hold of it: run recover");
    switch (event->kind) {
    case HANSE_SECAGG_EV_EPOCH: rc = begin_epoch(site, event, actions, err); break;
    case HANSE_SECAGG_EV_PEER: rc = take_peer(site, event, actions, err); break;
    case HANSE_SECAGG_EV_TICKET: rc = leave_ticket(site, event, actions, err); break;
    case HANSE_SECAGG_EV_SPEC: rc = take_spec(site, event, actions, err); break;
    case HANSE_SECAGG_EV_UPLOAD: rc = send_upload(site, event, actions, err); break;
    case HANSE_SECAGG_EV_RECEIPT: rc = take_receipt(site, event, actions, err); break;
    case HANSE_SECAGG_EV_RESULT: rc = take_result(site, event, actions, err); break;
    case HANSE_SECAGG_EV_OVER: rc = destroy_tickets(site, UINT64_MAX, actions, err); break;
    case HANSE_SECAGG_EV_CUT: rc = holder_cut(site, event, actions, err); break;
    case HANSE_SECAGG_EV_DEAD: rc = holder_dead(site, event, actions, err); break;
    case HANSE_SECAGG_EV_ABORT: rc = holder_abort(site, event, actions, err); break;
    case HANSE_SECAGG_EV_RETRY:
        site->retries++;
        rc = facts_put_floor(site, actions, err);
        break;
    case HANSE_SECAGG_EV_RECOVER: rc = recover(site, event, actions, err); break;
    case HANSE_SECAGG_EV_TICK: rc = tick(site, event, actions, err); break;
    }
    if (rc != HANSE_OK && (actions->count == 0 || actions->items[actions->count - 1].kind != HANSE_SECAGG_DO_ALARM))
        hanse_secagg_actions_clear(actions); /* a PUT without its value would delete what is to be remembered for ever */
    return rc;
}

/* --- masks --- */

/* Stands by itself: a worker masks while the owner goes on stepping the site, whose rounds later SPECs push out. */
struct hanse_secagg_masker {
    secagg_streams streams;
    hanse_secagg_spec spec; /* its segments are a copy */
};

hanse_rc hanse_secagg_masker_new(hanse_secagg_masker **out, hanse_secagg_site *site, hanse_err *err)
{
    const slot_fact *fact = facts_find(site, site->highest_taken); /* the slot of the last TRAIN */
    site_round *round = fact != NULL ? facts_round(site, fact->slot) : NULL;
    hanse_secagg_masker *masker;
    hanse_rc rc;

    if (round == NULL || (fact->state != STATE_BOUND && fact->state != STATE_SENT) || is_zero(fact->seed))
        return HANSE_FAIL(err, HANSE_E_USAGE, "no ticket is bound to a round");
    masker = hanse_calloc(1, sizeof *masker);
    if (masker == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for masks");
    masker->spec = round->view.spec;
    masker->spec.segments = hanse_calloc(masker->spec.segments_count, sizeof *masker->spec.segments);
    if (masker->spec.segments == NULL) {
        hanse_free(masker);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for masks");
    }
    memcpy(masker->spec.segments, round->view.spec.segments, masker->spec.segments_count * sizeof *masker->spec.segments);
    masker->streams = round->masks;
    round->masks = (secagg_streams){NULL, 0};
    rc = masker->streams.count > 0 ? HANSE_OK : own_streams(&masker->streams, site, &round->view, fact, err);
    if (rc == HANSE_OK)
        *out = masker;
    else
        hanse_secagg_masker_free(masker);
    return rc;
}

hanse_rc hanse_secagg_masker_apply(hanse_secagg_masker *masker, hanse_secagg_chunk chunk, void *words, hanse_err *err)
{
    secagg_sanity_write(&masker->spec, chunk, words);
    return secagg_streams_apply(&masker->streams, &masker->spec, chunk, words, err);
}

void hanse_secagg_masker_free(hanse_secagg_masker *masker)
{
    if (masker == NULL)
        return;
    secagg_streams_clear(&masker->streams);
    hanse_secagg_spec_clear(&masker->spec);
    hanse_free(masker);
}
