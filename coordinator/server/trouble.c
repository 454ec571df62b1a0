/* trouble.c - what a full disk, a disk that fails or want of memory stops, is tried again: nobody trains anew for it.
 *
 * A round whose sum or result could not be written stays as it is, on disk too, and so do its contributions. The service tries
 * again, after 2 s at first and after a minute at most; `hanse-coordinator round` ends, and its next call goes on. */
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/log.h"

#include <inttypes.h>

#define AGAIN_MIN_MS 2000u
#define AGAIN_MAX_MS 60000u

bool hanse_is_passing(hanse_rc rc)
{
    return rc == HANSE_E_NOMEM || rc == HANSE_E_IO || rc == HANSE_E_FULL || rc == HANSE_E_LOCKED;
}

bool hanse_live_run_put_off(hanse_live_run *run, hanse_step step, hanse_rc rc, const hanse_err *err)
{
    hanse_server *server = run->server;
    uint64_t wait_ms = (uint64_t)AGAIN_MIN_MS << (run->again_count < 5 ? run->again_count : 5);

    if (!hanse_is_passing(rc))
        return false;
    if (wait_ms > AGAIN_MAX_MS)
        wait_ms = AGAIN_MAX_MS;
    run->again = step;
    run->again_count++;
    run->again_ms = hanse_clock_wall_ms() + wait_ms;
    hanse_log(HANSE_LOG_ERROR, "round_waits run=%s round=%" PRIu64 " code=%s retry_s=%" PRIu64 " reason=%s", run->row.name, run->current.round,
              hanse_rc_name(rc), wait_ms / 1000, err->text);
    if (server->options->run_id != NULL) { /* a command must not wait for better times: the round stays open */
        server->outcome = rc;
        server->outcome_err = *err;
        server->stopping = true;
    }
    return true;
}

static void verify_again(hanse_live_run *run)
{
    for (size_t i = 0; i < run->roster.sites_count; i++) {
        if (run->members[i].verify_again && run->round.phase == HANSE_PHASE_COLLECT && run->round.members[i] == HANSE_MEMBER_VERIFYING) {
            run->members[i].verify_again = false;
            hanse_job_verify(run, i);
        }
    }
}

void hanse_live_run_try_again(hanse_live_run *run, uint64_t now_ms)
{
    const hanse_step step = run->again;

    if (step == HANSE_STEP_NONE || now_ms < run->again_ms || run->server->stopping)
        return;
    run->again = HANSE_STEP_NONE;
    if (step == HANSE_STEP_VERIFY)
        verify_again(run);
    else if (step != HANSE_STEP_SUM)
        hanse_live_run_close(run, step == HANSE_STEP_PUBLISH);
    else if (run->masks != NULL && run->masks->cut_kept)
        hanse_masks_try_unmask(run);
    else
        hanse_live_run_cut(run);
}

void hanse_live_run_not_kept(hanse_live_run *run, size_t member, hanse_rc rc, const hanse_err *err)
{
    hanse_member *self = &run->members[member];
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    hanse_store_contribution part = {.round = run->current.round, .attempt = run->current.attempt};
    hanse_err why = {0};

    hanse_log(HANSE_LOG_ERROR, "contribution_not_kept run=%s round=%" PRIu64 " site=%s code=%s reason=%s", run->row.name, run->current.round,
              run->roster.sites[member].name, hanse_rc_name(rc), err->text);
    if (run->masks != NULL)
        hanse_ignore(hanse_secagg_round_upload_undone(run->masks->round, (uint32_t)member, NULL));
    if (hanse_is_passing(rc))
        hanse_spool_close(&self->spool); /* what is there is there */
    else
        hanse_spool_remove(&self->spool);
    memcpy(part.run_id, run->row.run_id, 16);
    memcpy(part.site_id, run->roster.sites[member].id, 32);
    if (self->receipt.len > 0 && self->kept &&
        hanse_store_contribution_lost(run->server->store, &part, hanse_clock_wall_ms(), err->text, &why) != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "store reason=%s", why.text);
    self->kept = false;
    hanse_buf_clear(&self->receipt);
    hanse_buf_clear(&self->receipt_sig);
    if (session != NULL) /* it has its work: it connects again, after a while, and sends what is missing */
        hanse_session_refuse(session, hanse_is_passing(rc) ? rc : HANSE_E_IO, "the coordinator could not keep the contribution");
}
