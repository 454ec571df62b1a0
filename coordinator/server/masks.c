/* masks.c - epochs and tickets that sites leave in advance, and the spec that is made of them. */
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/hpke.h"
#include "hanse/log.h"

#include <inttypes.h>

#define WAIT_MAX_MS 60000u /* for the last epochs and tickets, once there are enough */
#define REREAD_MS 2000 /* after trouble with memory or the disk */
#define TELL_MS 1000u     /* newer epochs, once all are known */
#define ASKS_BURST 20     /* ANSWERs of a member, over all its connections ... */
#define ASK_EVERY_MS 500  /* ... one in this time */
#define WAIT_SHARE 10      /* ... but no more than this part of the round's deadline */

/* ---- life ---- */

static hanse_rc make_roster(hanse_live_run *run, hanse_err *err)
{
    const hanse_server *server = run->server;
    const hanse_trust trust = {server->ca, server->crl, false};
    hanse_cert *coordinator = NULL;
    hanse_rc rc = hanse_cert_from_pem(&coordinator, hanse_buf_bytes(&server->sign_cert_pem), err);

    if (rc == HANSE_OK)
        rc = hanse_masking_members(&run->masks->roster, &run->roster, run->row.roster_hash, coordinator, &trust, hanse_clock_wall_ms(), err);
    hanse_cert_free(coordinator);
    return rc;
}

static hanse_rc load_epochs(hanse_live_run *run, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_store_left *rows = NULL;
    size_t count = 0, member;
    hanse_rc rc = hanse_store_epochs(run->server->store, &rows, &count, err);

    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        if (!hanse_live_run_member(run, rows[i].site_id, &member))
            continue;
        masks->members[member].epoch = rows[i].object; /* moved */
        masks->members[member].epoch_sig = rows[i].sig;
        rows[i].object = rows[i].sig = HANSE_BUF_EMPTY;
        masks->epochs_count++;
    }
    hanse_store_left_free(rows, count);
    return rc;
}

/* A site signs one ticket a slot: when that is of no use, it has none for the slot. */
static void lose_ticket(hanse_live_run *run, size_t member)
{
    hanse_mask_member *lost = &run->masks->members[member];

    run->masks->tickets_count -= lost->ticket_until_ms > 0;
    lost->ticket_until_ms = 0;
    lost->lost_slot = run->row.next_slot;
}

static void count_enough(hanse_masks *masks, uint64_t now_ms)
{
    if (masks->tickets_count < masks->params.m)
        masks->enough_ms = 0;
    else if (masks->enough_ms == 0)
        masks->enough_ms = now_ms;
}

/* Who has left a ticket for the next slot. */
static hanse_rc count_tickets(hanse_live_run *run, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_store_left *rows = NULL;
    size_t count = 0, member;
    const uint64_t now_ms = hanse_clock_wall_ms();
    hanse_rc rc = hanse_store_tickets(run->server->store, run->row.run_id, run->row.next_slot, &rows, &count, err);

    masks->tickets_count = 0;
    for (size_t i = 0; i < run->roster.sites_count; i++)
        masks->members[i].ticket_until_ms = 0;
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_secagg_ticket ticket;

        if (!hanse_live_run_member(run, rows[i].site_id, &member))
            continue;
        rc = hanse_secagg_ticket_decode(&ticket, hanse_buf_bytes(&rows[i].object), err);
        if (rc != HANSE_OK)
            break;
        if (ticket.expiry_ms > now_ms) {
            masks->members[member].ticket_until_ms = ticket.expiry_ms;
            masks->tickets_count++;
        } else {
            lose_ticket(run, member);
        }
    }
    masks->enough_ms = 0;
    count_enough(masks, now_ms);
    hanse_store_left_free(rows, count);
    return rc;
}

static hanse_rc read_state(hanse_live_run *run, hanse_err *err)
{
    hanse_masking_state fresh = HANSE_MASKING_STATE_EMPTY;
    hanse_rc rc = run->row.masking.len == 0 ? hanse_masking_state_init(&fresh, run->plan, &run->layout, err)
                                            : hanse_masking_state_decode(&fresh, run->plan, &run->layout, hanse_buf_bytes(&run->row.masking), err);

    if (rc != HANSE_OK)
        return rc;
    hanse_masking_state_clear(&run->masks->state);
    run->masks->state = fresh;
    return HANSE_OK;
}

/* The state between rounds, who has left tickets, and what could not be read before. Until all of it is no round is opened. */
static void read_again(hanse_live_run *run, bool tickets)
{
    hanse_err err = {0};
    hanse_rc rc = run->round_open ? HANSE_OK : read_state(run, &err);

    if (rc == HANSE_OK && (tickets || run->masks->reread_ms > 0))
        rc = count_tickets(run, &err);
    run->masks->reread_ms = rc == HANSE_OK ? 0 : hanse_clock_wall_ms() + REREAD_MS;
    if (rc != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "masking_unread run=%s retry_s=%u reason=%s", run->row.name, REREAD_MS / 1000u, err.text);
}

static void drop_expired(hanse_live_run *run, uint64_t now_ms)
{
    hanse_masks *masks = run->masks;

    for (size_t i = 0; i < run->roster.sites_count; i++) {
        if (masks->members[i].ticket_until_ms == 0 || masks->members[i].ticket_until_ms > now_ms)
            continue;
        lose_ticket(run, i);
    }
    count_enough(masks, now_ms);
}

hanse_rc hanse_masks_new(hanse_live_run *run, hanse_err *err)
{
    hanse_masks *masks = hanse_calloc(1, sizeof *masks);
    hanse_rc rc;

    if (masks == NULL || (masks->members = hanse_calloc(run->roster.sites_count, sizeof *masks->members)) == NULL) {
        hanse_free(masks);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a masked run");
    }
    run->masks = masks;
    for (size_t i = 0; i < run->roster.sites_count; i++)
        masks->members[i].asks = (hanse_allowance){ASKS_BURST, hanse_clock_mono_us() / 1000};
    masks->since_ms = hanse_clock_wall_ms();
    masks->policy = hanse_masking_policy(run->plan);
    rc = hanse_masking_params(&masks->params, run->plan, run->roster.sites_count, err);
    if (rc == HANSE_OK)
        rc = read_state(run, err);
    if (rc == HANSE_OK)
        rc = hanse_x25519_public(masks->seal_public, run->seal_key, err);
    if (rc == HANSE_OK)
        rc = make_roster(run, err);
    if (rc == HANSE_OK)
        rc = load_epochs(run, err);
    if (rc == HANSE_OK)
        rc = count_tickets(run, err);
    if (rc == HANSE_OK && masks->params.degree > 0)
        hanse_log(HANSE_LOG_INFO, "sparse_graph run=%s neighbours=%" PRIu32 " shares=%" PRIu32, run->row.name, masks->params.degree, masks->params.degree_t);
    return rc; /* freed with the run */
}

static void forget_round(hanse_masks *masks)
{
    hanse_secagg_round_free(masks->round);
    masks->round = NULL;
    hanse_secagg_spec_clear(&masks->spec);
    hanse_buf_clear(&masks->tickets);
    hanse_buf_clear(&masks->uploads);
    hanse_shares_forget(masks);
    hanse_free(masks->sums);
    masks->sums = NULL;
    masks->cut_kept = masks->certified = masks->asked_dead = false;
}

void hanse_masks_free(hanse_masks *masks)
{
    size_t n;

    if (masks == NULL)
        return;
    n = masks->roster != NULL ? hanse_secagg_roster_count(masks->roster) : 0;
    for (size_t i = 0; i < n; i++) {
        hanse_buf_clear(&masks->members[i].epoch);
        hanse_buf_clear(&masks->members[i].epoch_sig);
    }
    hanse_free(masks->members);
    forget_round(masks);
    hanse_voids_clear(masks);
    hanse_secagg_roster_free(masks->roster);
    hanse_masking_state_clear(&masks->state);
    hanse_free(masks);
}

void hanse_masks_refresh(hanse_live_run *run)
{
    const hanse_trust trust = {run->server->ca, run->server->crl, false};
    hanse_err err = {0};

    if (run->masks != NULL && hanse_secagg_roster_refresh(run->masks->roster, &trust, (int64_t)(hanse_clock_wall_ms() / 1000), &err) != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "roster_not_trusted run=%s reason=%s", run->row.name, err.text);
}

/* ---- epochs ---- */

static uint64_t patience_ms(const hanse_live_run *run)
{
    uint64_t share = run->plan->rounds.deadline_ms / WAIT_SHARE;

    return share < WAIT_MAX_MS ? share : WAIT_MAX_MS;
}

static void tell_epochs(hanse_live_run *run, size_t member)
{
    hanse_masks *masks = run->masks;
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    hanse_message message = {.kind = HANSE_PEERS, .peers = {.slot = run->row.next_slot}};
    hanse_signed *list;
    hanse_buf bytes = HANSE_BUF_EMPTY;
    hanse_err err = {0};

    if (session == NULL || !run->members[member].accepted || masks->epochs_count < masks->params.t)
        return;
    list = hanse_calloc(run->roster.sites_count, sizeof *list);
    for (size_t i = 0; list != NULL && i < run->roster.sites_count; i++)
        list[i] = (hanse_signed){hanse_buf_bytes(&masks->members[i].epoch), hanse_buf_bytes(&masks->members[i].epoch_sig)};
    if (list == NULL || hanse_signed_list_encode(&bytes, list, run->roster.sites_count, &err) != HANSE_OK) {
        hanse_log(HANSE_LOG_ERROR, "epochs_not_told run=%s reason=%s", run->row.name, list == NULL ? "no memory" : err.text);
    } else {
        memcpy(message.peers.run, run->row.run_id, 16);
        message.peers.epochs = hanse_buf_bytes(&bytes);
        hanse_session_send(session, &message);
        masks->members[member].told = true;
    }
    hanse_buf_clear(&bytes);
    hanse_free(list);
}

static void tell_all(hanse_live_run *run)
{
    run->masks->tell_ms = 0;
    for (size_t i = 0; i < run->roster.sites_count; i++)
        if (!run->masks->members[i].told)
            tell_epochs(run, i);
}

/* Is `fresh` a later statement than the one that is kept? */
static bool is_newer(const hanse_buf *kept, const hanse_secagg_epoch *fresh)
{
    hanse_secagg_epoch old;

    return kept->len == 0 || hanse_secagg_epoch_decode(&old, hanse_buf_bytes(kept), NULL) != HANSE_OK || fresh->epoch > old.epoch;
}

static hanse_rc keep_epoch(hanse_mask_member *member, const hanse_msg_signed *epoch, hanse_err *err)
{
    hanse_buf object = HANSE_BUF_EMPTY, sig = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_buf_append(&object, epoch->object.data, epoch->object.len, err);

    if (rc == HANSE_OK)
        rc = hanse_buf_append(&sig, epoch->sig.data, epoch->sig.len, err);
    if (rc != HANSE_OK) {
        hanse_buf_clear(&object);
        return rc;
    }
    hanse_buf_clear(&member->epoch);
    hanse_buf_clear(&member->epoch_sig);
    member->epoch = object;
    member->epoch_sig = sig;
    return HANSE_OK;
}

/* Has every member stated an epoch? Before that a ticket opens the easier, the more hold a share of it. */
static bool has_all_epochs(const hanse_live_run *run)
{
    return run->masks->epochs_count == run->roster.sites_count;
}

/* A verified, newer statement of this member. */
static hanse_rc take_epoch(hanse_live_run *run, size_t member, const hanse_msg_signed *epoch, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    bool first = masks->members[member].epoch.len == 0;
    hanse_rc rc = keep_epoch(&masks->members[member], epoch, err);

    if (rc != HANSE_OK)
        return rc;
    masks->epochs_count += first;
    masks->members[member].from_slot = 0;
    for (size_t i = 0; i < run->roster.sites_count; i++)
        masks->members[i].told = false;
    if (first && has_all_epochs(run))
        tell_all(run);
    else if (masks->tell_ms == 0) /* together: one member's stream of new epochs is not everybody's */
        masks->tell_ms = hanse_clock_wall_ms() + (has_all_epochs(run) ? TELL_MS : patience_ms(run));
    return HANSE_OK;
}

void hanse_masks_epoch(hanse_session *session, const hanse_msg_signed *message)
{
    hanse_server *server = session->server;
    const hanse_signed signed_epoch = {message->object, message->sig};
    hanse_secagg_epoch epoch;
    hanse_err err = {0};
    hanse_rc rc = hanse_secagg_epoch_decode(&epoch, message->object, &err);
    bool stored = false;

    if (rc == HANSE_OK && memcmp(epoch.site_id, session->site_id, 32) != 0)
        rc = HANSE_FAIL(&err, HANSE_E_AUTH, "the epoch of another site");
    if (rc == HANSE_OK)
        rc = hanse_secagg_epoch_check_key(&epoch, &err);
    for (hanse_live_run *run = server->runs; rc == HANSE_OK && run != NULL; run = run->next) {
        size_t member;

        if (run->masks == NULL || !hanse_live_run_member(run, session->site_id, &member))
            continue;
        if (is_newer(&run->masks->members[member].epoch, &epoch)) {
            rc = hanse_secagg_verify(run->masks->roster, (uint32_t)member, HANSE_SECAGG_EPOCH_LABEL, signed_epoch, &err);
            if (rc == HANSE_OK && !stored)
                rc = hanse_store_epoch_put(server->store, session->site_id, message->object, message->sig, &err);
            stored = true;
            if (rc == HANSE_OK)
                rc = take_epoch(run, member, message, &err);
        }
        /* It has seen nothing on this connection, and may not stay until the others are told. */
        if (rc == HANSE_OK && (run->masks->tell_ms == 0 || has_all_epochs(run)) && !run->masks->members[member].told)
            tell_epochs(run, member);
    }
    if (rc != HANSE_OK && hanse_session_may_log(session))
        hanse_log(HANSE_LOG_WARN, "epoch_refused site=%s code=%s reason=%s", session->name, hanse_rc_name(rc), err.text);
    if (rc != HANSE_OK && hanse_rc_blame(rc) != HANSE_BLAME_PEER) /* our trouble, not the site's: it comes back and states it again */
        hanse_session_refuse(session, rc, err.text);
}

/* ---- tickets ---- */

static hanse_rc check_ticket(hanse_session *session, const hanse_msg_ticket *message, const hanse_secagg_ticket *ticket, hanse_live_run **run,
                             size_t *member, hanse_err *err)
{
    const hanse_signed object = {message->ticket, message->sig};
    hanse_rc rc;

    *run = hanse_live_run_find(session->server, ticket->run);
    if (*run == NULL || (*run)->masks == NULL || !hanse_live_run_member(*run, session->site_id, member) || !(*run)->members[*member].accepted)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a ticket for a run that this site does not take part in");
    if (memcmp(ticket->site_id, session->site_id, 32) != 0 || memcmp(ticket->roster_hash, (*run)->row.roster_hash, 32) != 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a ticket of another site or roster");
    if (message->shares.len != (*run)->roster.sites_count * HANSE_SECAGG_CT_LEN || ticket->holders != (*run)->roster.sites_count)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a ticket with %zu bytes of shares for %zu sites", message->shares.len, (*run)->roster.sites_count);
    rc = hanse_secagg_ticket_check_keys(ticket, err);
    return rc != HANSE_OK ? rc : hanse_secagg_verify((*run)->masks->roster, (uint32_t)*member, HANSE_SECAGG_TICKET_LABEL, object, err);
}

/* The lowest slot that a member can have a ticket for, as far as known; 0: nothing known. */
static uint64_t lowest_slot(const hanse_live_run *run, const hanse_mask_member *member)
{
    const uint64_t next = run->row.next_slot;

    return member->lost_slot == next && member->from_slot <= next ? next + 1 : member->from_slot;
}

/* A site leaves tickets from the lowest slot on. One that recovered states a new epoch and begins some slots above the run's
 * next: it takes no slot in between, though it may have left a ticket for it before. One whose ticket has expired has no other for
 * that slot. Where too many are so, the slot cannot succeed, and the next that they take is the run's next; so it is where somebody
 * is so, others are away, and those who are left are enough from there on. Counted from memory: after a restart every site leaves them again. */
static bool skip_slot(hanse_live_run *run)
{
    hanse_masks *masks = run->masks;
    const size_t n = run->roster.sites_count;
    uint64_t next = UINT64_MAX;
    size_t lacking = 0, usable = 0, there = 0;

    for (size_t i = 0; i < n; i++) {
        const hanse_mask_member *member = &masks->members[i];
        const uint64_t from = lowest_slot(run, member);

        if (from <= run->row.next_slot + (member->ticket_until_ms > 0 ? 1 : 0)) { /* one more is what follows a ticket of before its epoch */
            usable += member->ticket_until_ms > 0;
            continue;
        }
        lacking++;
        next = from < next ? from : next;
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t from = lowest_slot(run, &masks->members[i]);

        there += from > 0 && from <= next;
    }
    if (n - lacking >= masks->params.m && (lacking == 0 || usable >= masks->params.m || there < masks->params.m))
        return false;
    hanse_log(HANSE_LOG_INFO, "slots_skipped run=%s from=%" PRIu64 " to=%" PRIu64 " sites=%zu", run->row.name, run->row.next_slot, next, lacking);
    run->row.next_slot = next;
    read_again(run, true);
    for (size_t i = 0; i < n; i++)
        masks->members[i].told = false;
    return true;
}

static void skip_slots(hanse_live_run *run)
{
    bool skipped = false;

    while (skip_slot(run))
        skipped = true;
    if (skipped)
        tell_all(run);
}

/* A verified, stored ticket for the run's next slot or one above. */
static void note_ticket(hanse_live_run *run, size_t member, const hanse_secagg_ticket *ticket, uint64_t now_ms)
{
    hanse_masks *masks = run->masks;
    hanse_mask_member *leaver = &masks->members[member];

    if (ticket->slot > run->row.next_slot) {
        if (leaver->from_slot == 0 || ticket->slot < leaver->from_slot)
            leaver->from_slot = ticket->slot;
    } else if (ticket->expiry_ms <= now_ms) {
        lose_ticket(run, member);
        count_enough(masks, now_ms);
    } else if (leaver->ticket_until_ms == 0) {
        leaver->ticket_until_ms = ticket->expiry_ms;
        masks->tickets_count++;
        count_enough(masks, now_ms);
    }
}

hanse_rc hanse_masks_ticket(hanse_session *session, const hanse_msg_ticket *message, hanse_err *err)
{
    hanse_secagg_ticket ticket;
    hanse_live_run *run;
    size_t member;
    hanse_rc rc = hanse_secagg_ticket_decode(&ticket, message->ticket, err);

    if (rc != HANSE_OK)
        return rc;
    run = hanse_live_run_find(session->server, ticket.run);
    if (run != NULL && run->row.state != HANSE_STORE_RUN_OPEN)
        return HANSE_OK; /* over: its RESULT tells the site */
    rc = check_ticket(session, message, &ticket, &run, &member, err);
    if (rc == HANSE_OK && (ticket.slot < run->row.next_slot || ticket.slot > run->row.next_slot + 4)) {
        hanse_log(HANSE_LOG_DEBUG, "ticket_useless run=%s site=%s slot=%" PRIu64, run->row.name, session->name, ticket.slot);
        return HANSE_OK; /* the run has moved on: its RESULT or PEERS tells the site */
    }
    if (rc == HANSE_OK)
        rc = hanse_store_ticket_put(run->server->store, run->row.run_id, ticket.slot, session->site_id, message->ticket, message->sig,
                                    message->shares, err);
    if (rc == HANSE_OK) {
        const uint64_t now_ms = hanse_clock_wall_ms();

        note_ticket(run, member, &ticket, now_ms);
        hanse_live_run_tick(run, now_ms);
    }
    return rc;
}

bool hanse_masks_ready(const hanse_live_run *run, uint64_t now_ms)
{
    const hanse_masks *masks = run->masks;

    return masks->reread_ms == 0 && (masks->tickets_count == run->roster.sites_count || (masks->enough_ms > 0 && now_ms >= masks->enough_ms + patience_ms(run)));
}

/* ---- the spec ---- */

static hanse_rc describe(const hanse_live_run *run, const hanse_store_round *row, const hanse_spec *plain, hanse_secagg_spec *spec, hanse_err *err)
{
    const hanse_masks *masks = run->masks;
    hanse_rc rc;

    *spec = (hanse_secagg_spec){.slot = row->slot, .kind = row->kind, .params = masks->params,
                                .weight_total = row->kind == HANSE_ROUND_TRAINING ? masks->state.weight_total : 0,
                                .upload_deadline_ms = row->deadline_ms, .unmask_deadline_ms = row->deadline_ms + hanse_masking_unmask_ms(run->plan)};
    memcpy(spec->run, run->row.run_id, 16);
    memcpy(spec->spec_hash, row->spec_hash, 32);
    memcpy(spec->model_root, plain->model_root, 32);
    memcpy(spec->plan_hash, run->row.plan_hash, 32);
    memcpy(spec->roster_hash, run->row.roster_hash, 32);
    memcpy(spec->seal_key, masks->seal_public, 32);
    rc = hanse_masking_segments(&spec->segments, &spec->segments_count, run->plan, &run->layout, row->kind, run->roster.sites_count, &masks->state, err);
    if (rc == HANSE_OK)
        spec->chunk_words = hanse_masking_chunk_words(spec->segments, spec->segments_count);
    return rc;
}

typedef struct adding {
    hanse_live_run *run;
    uint64_t slot, now_ms;
} adding;

static hanse_rc add_ticket(void *context, const hanse_store_left *row, hanse_err *err)
{
    const adding *to = context;
    hanse_live_run *run = to->run;
    const hanse_signed ticket = {hanse_buf_bytes(&row->object), hanse_buf_bytes(&row->sig)};
    size_t member;
    hanse_err why = {0};
    hanse_rc rc = hanse_secagg_round_add_ticket(run->masks->round, ticket, hanse_buf_bytes(&row->extra), to->now_ms, &why);

    if (rc == HANSE_E_NOMEM)
        return HANSE_FAIL(err, rc, "%s", why.text);
    if (rc == HANSE_OK)
        return HANSE_OK;
    hanse_log(HANSE_LOG_WARN, "ticket_refused run=%s slot=%" PRIu64 " reason=%s", run->row.name, to->slot, why.text);
    if (to->slot != run->row.next_slot || !hanse_live_run_member(run, row->site_id, &member) || run->masks->members[member].ticket_until_ms == 0)
        return HANSE_OK;
    lose_ticket(run, member); /* else the same few would be counted as enough again and again */
    return HANSE_OK;
}

/* The round object as it stands behind `spec_bytes`, and what is kept beside it. */
static hanse_rc keep_spec(hanse_live_run *run, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_rc rc = hanse_secagg_spec_decode(&masks->spec, hanse_secagg_round_spec(masks->round).bytes, err);

    return rc == HANSE_OK ? hanse_signed_list_encode(&masks->tickets, hanse_secagg_round_tickets(masks->round), run->roster.sites_count, err) : rc;
}

static hanse_rc build_round(hanse_live_run *run, const hanse_secagg_spec *spec, uint64_t now_ms, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    adding to = {run, spec->slot, now_ms};
    hanse_rc rc = hanse_secagg_round_new(&masks->round, masks->roster, run->server->sign_key, run->seal_key, spec, &masks->policy, err);

    if (rc == HANSE_OK)
        rc = hanse_store_each_ticket(run->server->store, run->row.run_id, spec->slot, add_ticket, &to, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_round_open(masks->round, now_ms, err);
    return rc == HANSE_OK ? keep_spec(run, err) : rc;
}

hanse_rc hanse_masks_open(hanse_live_run *run, hanse_store_round *row, const hanse_spec *plain, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_secagg_spec spec = {.segments = NULL};
    hanse_rc rc;

    hanse_masks_refresh(run);
    rc = describe(run, row, plain, &spec, err);
    if (rc == HANSE_OK)
        rc = build_round(run, &spec, row->opened_ms, err);
    if (rc == HANSE_OK) {
        const hanse_signed object = hanse_secagg_round_spec(masks->round);

        rc = hanse_buf_append(&row->masks, object.bytes.data, object.bytes.len, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&row->masks_sig, object.sig.data, object.sig.len, err);
    }
    hanse_secagg_spec_clear(&spec);
    if (rc != HANSE_OK)
        forget_round(masks);
    return rc;
}

bool hanse_masks_takes_part(const hanse_live_run *run, size_t member)
{
    return run->masks->round != NULL && hanse_secagg_round_tickets(run->masks->round)[member].bytes.len > 0;
}

void hanse_masks_opened(hanse_live_run *run)
{
    for (size_t i = 0; i < run->roster.sites_count; i++)
        if (!hanse_masks_takes_part(run, i))
            hanse_round_restore(&run->round, i, HANSE_MEMBER_DECLINED, 0);
    read_again(run, true); /* of the slot after this one */
}

void hanse_masks_drop(hanse_live_run *run)
{
    forget_round(run->masks);
}

void hanse_masks_close(hanse_live_run *run, bool published)
{
    hanse_masks *masks = run->masks;

    if (run->row.state != HANSE_STORE_RUN_OPEN) {
        run->masks = NULL;
        hanse_masks_free(masks);
        return;
    }
    if (published) {
        hanse_voids_clear(masks);
        read_again(run, false);
    } else if (masks->spec.slot > 0) {
        hanse_voids_add(run, &masks->spec);
    }
    forget_round(masks);
}

/* ---- a restart ---- */

/* The plain round's state was restored: give the protocol's half what it had. */
static hanse_rc restore_uploads(hanse_live_run *run, bool cut, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < run->roster.sites_count; i++) {
        const hanse_spool *spool = &run->members[i].spool;
        const hanse_signed header = {hanse_buf_bytes(&spool->header), hanse_buf_bytes(&spool->sig)};
        hanse_secagg_upload upload;
        uint32_t idx;

        if (header.bytes.len == 0)
            continue;
        rc = hanse_secagg_round_add_upload(run->masks->round, header, run->current.opened_ms, &idx, err);
        if (rc == HANSE_OK && cut && run->round.members[i] == HANSE_MEMBER_ACCEPTED)
            rc = hanse_secagg_upload_decode(&upload, header.bytes, err);
        if (rc == HANSE_OK && cut && run->round.members[i] == HANSE_MEMBER_ACCEPTED) /* its bytes were checked before the receipt */
            rc = hanse_secagg_round_upload_done(run->masks->round, idx, upload.root, err);
    }
    return rc;
}

static hanse_rc restore_answers(hanse_live_run *run, hanse_err *err)
{
    hanse_store_left *rows = NULL;
    size_t count = 0, member;
    hanse_rc rc = hanse_store_answers(run->server->store, run->row.run_id, run->current.slot, &rows, &count, err);

    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_err why = {0};

        if (hanse_live_run_member(run, rows[i].site_id, &member) &&
            hanse_secagg_round_add_answer(run->masks->round, (uint32_t)member, hanse_buf_bytes(&rows[i].object), &why) != HANSE_OK)
            hanse_log(HANSE_LOG_WARN, "answer_refused run=%s reason=%s", run->row.name, why.text);
    }
    hanse_store_left_free(rows, count);
    return rc;
}

/* The round of `stored` as it was: its spec must come out of the tickets again. */
static hanse_rc rebuild(hanse_live_run *run, const hanse_store_masks *stored, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_secagg_spec spec = {.segments = NULL};
    hanse_rc rc = hanse_secagg_spec_decode(&spec, hanse_buf_bytes(&stored->spec), err);

    if (rc == HANSE_OK)
        rc = build_round(run, &spec, run->current.opened_ms, err);
    if (rc == HANSE_OK && !hanse_bytes_equal(hanse_secagg_round_spec(masks->round).bytes, hanse_buf_bytes(&stored->spec)))
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "the tickets of slot %" PRIu64 " are not those of its spec any more", run->current.slot);
    if (rc != HANSE_OK && masks->spec.slot == 0) { /* its members can still declare it dead */
        masks->spec = spec;
        spec.segments = NULL;
    }
    hanse_secagg_spec_clear(&spec);
    return rc;
}

hanse_rc hanse_masks_restore(hanse_live_run *run, hanse_err *err)
{
    hanse_store_masks stored = {.slot = 0};
    hanse_rc rc = hanse_voids_restore(run, err);

    if (rc != HANSE_OK || !run->round_open)
        return rc;
    rc = hanse_store_masks_get(run->server->store, run->row.run_id, run->current.slot, &stored, err);
    if (rc == HANSE_OK)
        rc = rebuild(run, &stored, err);
    if (rc == HANSE_OK && stored.cut.len > 0)
        run->round.phase = HANSE_PHASE_CUT;
    for (size_t i = 0; rc == HANSE_OK && i < run->roster.sites_count; i++)
        if (!hanse_masks_takes_part(run, i))
            hanse_round_restore(&run->round, i, HANSE_MEMBER_DECLINED, 0);
    hanse_store_masks_clear(&stored);
    return rc;
}

/* A cut is signed once: the same contributions give the same bytes again. */
static hanse_rc restore_cut(hanse_live_run *run, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_store_masks stored = {.slot = 0};
    hanse_rc rc = hanse_store_masks_get(run->server->store, run->row.run_id, run->current.slot, &stored, err);

    if (rc == HANSE_OK)
        rc = hanse_secagg_round_cut(masks->round, err);
    if (rc == HANSE_OK && !hanse_bytes_equal(hanse_secagg_round_cut_signed(masks->round).bytes, hanse_buf_bytes(&stored.cut)))
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "the contributions to slot %" PRIu64 " are not those of its cut any more", run->current.slot);
    if (rc == HANSE_OK)
        rc = hanse_signed_list_encode(&masks->uploads, hanse_secagg_round_uploads(masks->round), run->roster.sites_count, err);
    masks->cut_kept = rc == HANSE_OK;
    hanse_store_masks_clear(&stored);
    return rc;
}

hanse_rc hanse_masks_resume(hanse_live_run *run, hanse_err *err)
{
    const bool cut = run->round.phase == HANSE_PHASE_CUT;
    hanse_rc rc = restore_uploads(run, cut, err);

    if (rc == HANSE_OK && !cut)
        return HANSE_OK;
    if (rc == HANSE_OK)
        rc = restore_cut(run, err);
    if (rc != HANSE_OK && !hanse_is_passing(rc)) { /* one of them is lost, or a certificate ended: this sum will never be opened, the next attempt will */
        run->round.phase = HANSE_PHASE_CUT;
        hanse_live_run_folded(run, rc, NULL, NULL, 0, err);
        return HANSE_OK;
    }
    if (rc == HANSE_OK)
        rc = restore_answers(run, err);
    if (rc == HANSE_OK)
        hanse_masks_try_unmask(run);
    return rc;
}

/* ---- to the sites ---- */

static void send_masks(hanse_live_run *run, hanse_session *session, size_t member)
{
    const hanse_masks *masks = run->masks;
    const hanse_signed spec = hanse_secagg_round_spec(masks->round);
    hanse_message message = {.kind = HANSE_MASKS, .masks = {.spec = spec.bytes, .sig = spec.sig, .tickets = hanse_buf_bytes(&masks->tickets)}};
    hanse_err err = {0};
    hanse_rc rc = hanse_shares_for(run, member, &message.masks.shares, &err);

    if (rc == HANSE_OK) {
        hanse_session_send(session, &message);
        return;
    }
    hanse_log(HANSE_LOG_ERROR, "masks_not_told run=%s site=%s reason=%s", run->row.name, session->name, err.text);
    hanse_session_refuse(session, hanse_is_passing(rc) ? rc : HANSE_E_IO, "the coordinator cannot read this round's masks now; come again");
}

void hanse_masks_send(hanse_live_run *run, size_t member)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);

    if (session == NULL || !run->members[member].accepted)
        return;
    hanse_voids_tell(run, member);
    if (run->masks->round == NULL || hanse_secagg_round_spec(run->masks->round).bytes.len == 0) /* the latter waits to be made void */
        return;
    send_masks(run, session, member);
    if (run->round.phase == HANSE_PHASE_CUT && run->masks->cut_kept)
        hanse_masks_send_cut(run, member);
}

bool hanse_masks_may_ask(hanse_live_run *run, size_t member)
{
    return run->masks == NULL || hanse_allowance_take(&run->masks->members[member].asks, ASKS_BURST, ASK_EVERY_MS, hanse_clock_mono_us() / 1000);
}

/* ---- time ---- */

void hanse_masks_tick(hanse_live_run *run, uint64_t now_ms)
{
    hanse_masks *masks = run->masks;
    hanse_round_event event = {.kind = HANSE_ROUND_EV_FOLDED, .now_ms = now_ms, .rc = HANSE_E_QUORUM};
    hanse_err err = {0};

    if (masks->tell_ms > 0 && now_ms >= masks->tell_ms)
        tell_all(run);
    if (masks->reread_ms > 0 && now_ms >= masks->reread_ms)
        read_again(run, true);
    if (!run->round_open) {
        drop_expired(run, now_ms);
        skip_slots(run);
    }
    if (!run->round_open || run->round.phase != HANSE_PHASE_CUT || run->folding || run->again != HANSE_STEP_NONE)
        return;
    if (!masks->asked_dead && now_ms >= masks->spec.unmask_deadline_ms) {
        masks->asked_dead = true;
        hanse_voids_ask(run, masks->spec.slot);
    }
    if (now_ms >= masks->spec.unmask_deadline_ms + hanse_masking_unmask_ms(run->plan)) {
        const bool signing = run->plan->aggregation.profile == HANSE_CONTACTS_ONLINE && !masks->certified;
        size_t count = hanse_secagg_round_answers(masks->round);

        if (signing)
            (void)hanse_secagg_round_cutsigs(masks->round, &count);
        hanse_live_run_folded(run, HANSE_FAIL(&err, event.rc, "%zu of %zu sites %s, %" PRIu32 " are needed", count, run->roster.sites_count,
                                              signing ? "signed the cut" : "helped to unmask", masks->params.t),
                              NULL, NULL, 0, &err);
    }
}

uint64_t hanse_masks_due(const hanse_live_run *run, uint64_t now_ms)
{
    const hanse_masks *masks = run->masks;
    uint64_t due = hanse_sooner(now_ms, UINT64_MAX, masks->tell_ms);

    due = hanse_sooner(now_ms, due, masks->reread_ms);
    if (run->round_open && run->round.phase == HANSE_PHASE_CUT)
        due = hanse_sooner(now_ms, due, masks->spec.unmask_deadline_ms + (masks->asked_dead ? hanse_masking_unmask_ms(run->plan) : 0));
    else if (!run->round_open && masks->enough_ms > 0)
        due = hanse_sooner(now_ms, due, masks->enough_ms + patience_ms(run));
    return due;
}
