/* unmasking.c - from a masked contribution's header to the sum: headers, the cut, who signs it, and the answers that open its sum. */
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/log.h"
#include "hanse/ring.h"

#include <inttypes.h>

/* ---- contributions ---- */

hanse_rc hanse_masks_take_header(hanse_live_run *run, size_t member, const hanse_msg_signed *upload, hanse_spool_shape *shape, hanse_err *err)
{
    const hanse_signed header = {upload->object, upload->sig};
    uint32_t idx = 0;
    hanse_rc rc = hanse_secagg_round_add_upload(run->masks->round, header, hanse_clock_wall_ms(), &idx, err);

    if (rc == HANSE_OK && idx != member)
        rc = HANSE_FAIL(err, HANSE_E_AUTH, "the upload names another site than its connection");
    if (rc != HANSE_OK)
        return rc;
    *shape = (hanse_spool_shape){.slot = run->current.slot};
    memcpy(shape->run, run->row.run_id, 16);
    memcpy(shape->site_id, run->roster.sites[member].id, 32);
    return hanse_masking_offsets(&shape->offsets, &shape->chunks, &run->masks->spec, err);
}

hanse_rc hanse_masks_take_root(hanse_live_run *run, size_t member, const uint8_t root[32], hanse_err *err)
{
    return hanse_secagg_round_upload_done(run->masks->round, (uint32_t)member, root, err);
}

/* ---- the cut ---- */

void hanse_masks_send_cut(hanse_live_run *run, size_t member)
{
    hanse_masks *masks = run->masks;
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    const hanse_signed cut = hanse_secagg_round_cut_signed(masks->round);
    hanse_message message = {.kind = HANSE_CUT, .cut = {.cut = cut.bytes, .sig = cut.sig, .uploads = hanse_buf_bytes(&masks->uploads)}};
    hanse_buf signatures = HANSE_BUF_EMPTY;
    size_t count = 0;
    const hanse_signed *list = hanse_secagg_round_cutsigs(masks->round, &count);
    hanse_err err = {0};

    if (session == NULL || !run->members[member].accepted)
        return;
    if (hanse_signed_list_encode(&signatures, list, masks->certified ? count : 0, &err) == HANSE_OK) {
        message.cut.signatures = hanse_buf_bytes(&signatures);
        hanse_session_send(session, &message);
    } else {
        hanse_log(HANSE_LOG_ERROR, "cut_not_sent run=%s reason=%s", run->row.name, err.text);
    }
    hanse_buf_clear(&signatures);
}

static void send_cut_to_all(hanse_live_run *run)
{
    for (size_t i = 0; i < run->roster.sites_count; i++)
        hanse_masks_send_cut(run, i);
}

void hanse_masks_cut(hanse_live_run *run)
{
    hanse_masks *masks = run->masks;
    hanse_err err = {0};
    hanse_rc rc = hanse_secagg_round_cut(masks->round, &err); /* again: the same */

    hanse_buf_clear(&masks->uploads);
    if (rc == HANSE_OK)
        rc = hanse_signed_list_encode(&masks->uploads, hanse_secagg_round_uploads(masks->round), run->roster.sites_count, &err);
    if (rc == HANSE_OK) {
        const hanse_signed cut = hanse_secagg_round_cut_signed(masks->round);

        rc = hanse_store_cut_put(run->server->store, run->row.run_id, masks->spec.slot, cut.bytes, cut.sig, &err);
    }
    if (rc != HANSE_OK) {
        hanse_live_run_folded(run, rc, NULL, NULL, 0, &err);
        return;
    }
    masks->cut_kept = true;
    send_cut_to_all(run);
}

bool hanse_masks_in_cut(const hanse_live_run *run, uint64_t slot)
{
    return run->masks != NULL && run->masks->round != NULL && run->round_open && run->round.phase == HANSE_PHASE_CUT && run->current.slot == slot;
}

void hanse_masks_cutsig(hanse_live_run *run, size_t member, const hanse_msg_cutsig *message)
{
    const hanse_signed cutsig = {message->object, message->sig};
    size_t count = 0;
    hanse_err err = {0};

    if (!hanse_masks_in_cut(run, message->slot))
        return; /* over meanwhile */
    if (hanse_secagg_round_add_cutsig(run->masks->round, cutsig, &err) != HANSE_OK) {
        if (hanse_session_may_log(hanse_session_of_site(run->server, run->roster.sites[member].id)))
            hanse_log(HANSE_LOG_WARN, "cut_signature_refused run=%s site=%s reason=%s", run->row.name, run->roster.sites[member].name, err.text);
        return;
    }
    (void)hanse_secagg_round_cutsigs(run->masks->round, &count);
    if (run->masks->certified) {
        hanse_masks_send_cut(run, member); /* a latecomer: it may answer too */
    } else if (count >= run->masks->params.t) {
        run->masks->certified = true;
        send_cut_to_all(run);
    }
}

/* ---- answers ---- */

void hanse_masks_try_unmask(hanse_live_run *run)
{
    hanse_masks *masks = run->masks;
    const uint32_t answers = hanse_secagg_round_answers(masks->round);
    uint32_t *blamed;
    hanse_err err = {0};
    hanse_rc rc;

    if (run->folding || run->again != HANSE_STEP_NONE || answers < masks->params.t)
        return;
    blamed = hanse_calloc(run->roster.sites_count, sizeof *blamed);
    if (blamed == NULL) {
        hanse_live_run_folded(run, HANSE_FAIL(&err, HANSE_E_NOMEM, "no memory to open the sum"), NULL, NULL, 0, &err);
        return;
    }
    rc = hanse_secagg_round_reconstruct(masks->round, blamed, &err);
    for (size_t i = 0; i < run->roster.sites_count; i++)
        if (blamed[i] > 0)
            hanse_log(HANSE_LOG_WARN, "wrong_shares run=%s site=%s count=%" PRIu32, run->row.name, run->roster.sites[i].name, blamed[i]);
    hanse_free(blamed);
    if (rc == HANSE_OK)
        hanse_job_fold(run);
    else if (answers == hanse_secagg_round_helpers(masks->round) || hanse_is_passing(rc)) /* nobody is left who could help, or it is not for want of help */
        hanse_live_run_folded(run, rc, NULL, NULL, 0, &err);
    else
        hanse_log(HANSE_LOG_INFO, "more_answers_wanted run=%s answers=%" PRIu32 " reason=%s", run->row.name, answers, err.text);
}

void hanse_masks_shares(hanse_live_run *run, size_t member, const hanse_msg_shares *message)
{
    hanse_masks *masks = run->masks;
    hanse_err err = {0};
    hanse_rc rc;

    if (!hanse_masks_in_cut(run, message->slot) || run->folding)
        return; /* enough are here */
    rc = hanse_secagg_round_add_answer(masks->round, (uint32_t)member, message->sealed, &err);
    if (rc != HANSE_OK) {
        if (hanse_session_may_log(hanse_session_of_site(run->server, run->roster.sites[member].id)))
            hanse_log(HANSE_LOG_WARN, "answer_refused run=%s site=%s reason=%s", run->row.name, run->roster.sites[member].name, err.text);
        return;
    }
    /* It counts all the same; what a restart misses, it asks for again. */
    if (masks->params.profile == HANSE_SECAGG_CRON &&
        hanse_store_answer_put(run->server->store, run->row.run_id, message->slot, run->roster.sites[member].id, message->sealed, &err) != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "answer_not_kept run=%s site=%s reason=%s", run->row.name, run->roster.sites[member].name, err.text);
    hanse_masks_try_unmask(run);
}

/* ---- what the sums say ---- */

hanse_rc hanse_masks_sums(const hanse_live_run *run, uint8_t kind, const uint64_t **plain, hanse_masking_state *next, hanse_err *err)
{
    const hanse_masks *masks = run->masks;
    const uint64_t *sums = masks->sums, *counters = sums + HANSE_MASKING_HEAD;
    const size_t accepted = hanse_round_accepted(&run->round), tensors = run->layout.count;
    hanse_rc rc;

    *plain = sums + hanse_masking_aux_head(&run->layout, kind);
    rc = hanse_masking_state_init(next, run->plan, &run->layout, err);
    if (rc != HANSE_OK)
        return rc;
    next->weight_total = masks->state.weight_total;
    memcpy(next->clips, masks->state.clips, tensors * sizeof *next->clips);
    memcpy(next->used, masks->state.used, tensors * sizeof *next->used);
    memcpy(next->above, masks->state.above, tensors * sizeof *next->above);
    memcpy(next->near, masks->state.near, tensors * sizeof *next->near);
    if (kind == HANSE_ROUND_STATISTICS) {
        next->weight_total = (*plain)[0];
        if (next->weight_total == 0 || next->weight_total > HANSE_RING_WEIGHT_MAX)
            return HANSE_SECAGG_FAIL(err, RANGE, "a total of %" PRIu64 " rows", next->weight_total);
    }
    if (kind != HANSE_ROUND_TRAINING)
        return HANSE_OK;
    if (sums[1] > accepted * HANSE_MASKING_JOINING_MAX || next->weight_total + sums[1] > HANSE_RING_WEIGHT_MAX)
        return HANSE_SECAGG_FAIL(err, RANGE, "%" PRIu64 " rows join a total of %" PRIu64, sums[1], next->weight_total);
    next->weight_total += sums[1];
    memcpy(next->used, masks->state.clips, tensors * sizeof *next->used);
    for (size_t i = 0; i < tensors; i++) {
        if (counters[2 * i] > accepted || counters[2 * i + 1] > accepted)
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "more sites above the clip of tensor %zu than took part", i);
        next->above[i] = (uint32_t)counters[2 * i];
        next->near[i] = (uint32_t)counters[2 * i + 1];
    }
    hanse_masking_clips_next(next, run->plan);
    return HANSE_OK;
}
