/* voids.c - slots without result: their members declare them dead, and with enough of that everybody may send the same again. */
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/log.h"

#include <inttypes.h>

void hanse_voids_clear(hanse_masks *masks)
{
    for (size_t i = 0; i < masks->voids_count; i++)
        hanse_secagg_round_free(masks->voids[i]);
    masks->voids_count = 0;
    for (size_t i = 0; i < masks->aborted_count; i++)
        hanse_store_masks_clear(&masks->aborted[i]);
    hanse_free(masks->aborted);
    masks->aborted = NULL;
    masks->aborted_count = 0;
}

static void forget(hanse_masks *masks, size_t i)
{
    hanse_secagg_round_free(masks->voids[i]);
    memmove(&masks->voids[i], &masks->voids[i + 1], (masks->voids_count - i - 1) * sizeof(hanse_secagg_round *));
    masks->voids_count--;
}

/* An object that takes DEADs and nothing else. */
static hanse_rc keep(hanse_live_run *run, const hanse_secagg_spec *spec, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_secagg_round *round;
    hanse_rc rc = hanse_secagg_round_new(&round, masks->roster, run->server->sign_key, run->seal_key, spec, &masks->policy, err);

    if (rc != HANSE_OK)
        return rc;
    if (masks->voids_count == HANSE_VOIDS_MAX)
        forget(masks, 0);
    masks->voids[masks->voids_count++] = round;
    return HANSE_OK;
}

static bool is_aborted(const hanse_masks *masks, uint64_t slot)
{
    for (size_t i = 0; i < masks->aborted_count; i++)
        if (masks->aborted[i].slot == slot)
            return true;
    return false;
}

void hanse_voids_add(hanse_live_run *run, const hanse_secagg_spec *spec)
{
    hanse_err err = {0};

    if (is_aborted(run->masks, spec->slot))
        return;
    if (keep(run, spec, &err) != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "void_not_kept run=%s slot=%" PRIu64 " reason=%s", run->row.name, spec->slot, err.text);
    else
        hanse_voids_ask(run, spec->slot);
}

static hanse_rc restore_slot(hanse_live_run *run, uint64_t slot, hanse_err *err)
{
    hanse_store_masks stored = {.slot = 0};
    hanse_secagg_spec spec = {.segments = NULL};
    hanse_rc rc = hanse_store_masks_get(run->server->store, run->row.run_id, slot, &stored, err);

    if (rc == HANSE_OK)
        rc = hanse_secagg_spec_decode(&spec, hanse_buf_bytes(&stored.spec), err);
    if (rc == HANSE_OK)
        rc = keep(run, &spec, err);
    hanse_secagg_spec_clear(&spec);
    hanse_store_masks_clear(&stored);
    return rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
}

hanse_rc hanse_voids_restore(hanse_live_run *run, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_store_round *rounds = NULL;
    size_t count = 0, first;
    hanse_rc rc = hanse_store_aborted(run->server->store, run->row.run_id, &masks->aborted, &masks->aborted_count, err);

    if (rc == HANSE_OK)
        rc = hanse_store_rounds(run->server->store, run->row.run_id, &rounds, &count, err);
    for (first = count; first > 0 && rounds[first - 1].state != HANSE_STORE_ROUND_PUBLISHED;)
        first--;
    for (size_t i = first; rc == HANSE_OK && i < count; i++)
        if (rounds[i].state == HANSE_STORE_ROUND_VOID && !is_aborted(masks, rounds[i].slot))
            rc = restore_slot(run, rounds[i].slot, err);
    hanse_store_rounds_free(rounds, count);
    return rc;
}

/* ---- to the sites ---- */

static void tell(hanse_live_run *run, size_t member, const hanse_message *message)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);

    if (session != NULL && run->members[member].accepted)
        hanse_session_send(session, message);
}

static hanse_message ask_of(const hanse_live_run *run, uint64_t slot)
{
    hanse_message message = {.kind = HANSE_ASK_DEAD, .ask_dead = {.slot = slot}};

    memcpy(message.ask_dead.run, run->row.run_id, 16);
    return message;
}

static hanse_message abort_of(const hanse_live_run *run, const hanse_store_masks *aborted)
{
    hanse_message message = {.kind = HANSE_ABORT, .abort = {.slot = aborted->slot, .deads = hanse_buf_bytes(&aborted->deads)}};

    memcpy(message.abort.run, run->row.run_id, 16);
    return message;
}

void hanse_voids_ask(hanse_live_run *run, uint64_t slot)
{
    const hanse_message message = ask_of(run, slot);

    for (size_t i = 0; i < run->roster.sites_count; i++)
        tell(run, i, &message);
}

void hanse_voids_tell(hanse_live_run *run, size_t member)
{
    const hanse_masks *masks = run->masks;

    for (size_t i = 0; i < masks->aborted_count; i++) {
        const hanse_message message = abort_of(run, &masks->aborted[i]);

        tell(run, member, &message);
    }
    for (size_t i = 0; i < masks->voids_count; i++) {
        const hanse_message message = ask_of(run, hanse_secagg_round_slot(masks->voids[i]));

        if (!hanse_secagg_round_has_dead(masks->voids[i], (uint32_t)member))
            tell(run, member, &message);
    }
}

/* ---- from the sites ---- */

/* Enough members say that they will never help with the slot: from now on everybody may send the same update again. */
static hanse_rc keep_abort(hanse_live_run *run, const hanse_secagg_round *round, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    size_t count = 0;
    const hanse_signed *deads = hanse_secagg_round_deads(round, &count);
    hanse_store_masks *grown = hanse_realloc(masks->aborted, masks->aborted_count + 1, sizeof *grown);
    hanse_store_masks *entry;
    hanse_message message;
    hanse_rc rc;

    if (grown == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for an aborted slot");
    masks->aborted = grown;
    entry = &grown[masks->aborted_count];
    *entry = (hanse_store_masks){.slot = hanse_secagg_round_slot(round)};
    rc = hanse_signed_list_encode(&entry->deads, deads, count, err);
    if (rc == HANSE_OK)
        rc = hanse_store_deads_put(run->server->store, run->row.run_id, entry->slot, hanse_buf_bytes(&entry->deads), err);
    if (rc != HANSE_OK) {
        hanse_store_masks_clear(entry);
        return rc;
    }
    masks->aborted_count++;
    hanse_log(HANSE_LOG_INFO, "slot_aborted run=%s slot=%" PRIu64 " deads=%zu", run->row.name, entry->slot, count);
    message = abort_of(run, entry);
    for (size_t i = 0; i < run->roster.sites_count; i++)
        tell(run, i, &message);
    return HANSE_OK;
}

/* Without a place on disk for what is enough, the next DEAD tries again. */
static hanse_rc take_dead(hanse_live_run *run, hanse_secagg_round *round, const hanse_msg_signed *message, bool *aborted, hanse_err *err)
{
    const hanse_signed object = {message->object, message->sig};
    hanse_rc rc = hanse_secagg_round_add_dead(round, object, err);

    if (rc == HANSE_OK && hanse_secagg_round_is_aborted(round))
        rc = keep_abort(run, round, err);
    *aborted = rc == HANSE_OK && hanse_secagg_round_is_aborted(round);
    return rc;
}

void hanse_voids_dead(hanse_live_run *run, size_t member, const hanse_msg_signed *message, const hanse_secagg_dead *dead)
{
    hanse_masks *masks = run->masks;
    hanse_err err = {0};
    bool aborted = false;
    hanse_rc rc = HANSE_OK;
    size_t i = 0;

    while (i < masks->voids_count && hanse_secagg_round_slot(masks->voids[i]) != dead->slot)
        i++;
    if (i < masks->voids_count) {
        rc = take_dead(run, masks->voids[i], message, &aborted, &err);
        if (aborted)
            forget(masks, i);
    } else if (hanse_masks_in_cut(run, dead->slot) && !run->folding) {
        rc = take_dead(run, masks->round, message, &aborted, &err);
        if (aborted)
            hanse_live_run_folded(run, HANSE_FAIL(&err, HANSE_E_QUORUM, "too few sites helped to unmask in time"), NULL, NULL, 0, &err);
    }
    if (rc != HANSE_OK && hanse_session_may_log(hanse_session_of_site(run->server, run->roster.sites[member].id)))
        hanse_log(HANSE_LOG_WARN, "dead_refused run=%s site=%s reason=%s", run->row.name, run->roster.sites[member].name, err.text);
}
