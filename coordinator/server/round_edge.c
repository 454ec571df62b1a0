/* round_edge.c - opens rounds when they are due, sums them at the cut, and publishes or voids them. */
#include "coordinator/aggregate/mean.h"
#include "coordinator/server/masks.h"
#include "coordinator/store/models.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/log.h"

#include <inttypes.h>
#include <stdio.h>

#define BACKOFF_MS 1000               /* after a void round: doubled with each one in a row ... */
#define BACKOFF_MAX_MS (5 * 60 * 1000) /* ... up to this */

/* ---- opening ---- */

static size_t willing(const hanse_live_run *run)
{
    size_t count = 0;

    for (size_t i = 0; i < run->roster.sites_count; i++)
        count += run->members[i].accepted;
    return count;
}

/* On demand, a round opens when it is asked for. A continuous run opens the next one as soon as enough sites have said
 * that they take part; void rounds are spaced out. A masked round waits for tickets. */
static bool is_due(const hanse_live_run *run, uint64_t now_ms)
{
    hanse_round_kind kind;
    uint64_t round;

    if (run->row.state != HANSE_STORE_RUN_OPEN || run->round_open || run->server->stopping || !hanse_progress_next(&run->progress, &kind, &round))
        return false;
    if (run->masks != NULL && !hanse_masks_ready(run, now_ms))
        return false;
    if (run->requested)
        return true;
    return run->plan->rounds.schedule == HANSE_SCHEDULE_CONTINUOUS && now_ms >= run->not_before_ms && run->server->options->run_id == NULL &&
           willing(run) >= run->plan->rounds.sites_min;
}

static hanse_rc sign_into(hanse_buf *out, const hanse_server *server, const char *label, hanse_bytes object, hanse_err *err)
{
    uint8_t sig[HANSE_SIG_MAX];
    size_t sig_len;
    hanse_rc rc = hanse_sign_object(server->sign_key, label, object, sig, &sig_len, err);

    return rc == HANSE_OK ? hanse_buf_append(out, sig, sig_len, err) : rc;
}

static hanse_rc make_spec(const hanse_live_run *run, hanse_store_round *row, hanse_spec *spec, uint64_t now_ms, hanse_err *err)
{
    hanse_rc rc;

    row->slot = run->row.next_slot;
    row->attempt = run->void_count;
    row->opened_ms = now_ms;
    row->deadline_ms = now_ms + run->plan->rounds.deadline_ms;
    memcpy(row->run_id, run->row.run_id, 16);
    memcpy(row->model_before, run->row.model_root, 32);
    *spec = (hanse_spec){.round = row->round, .attempt = row->attempt, .slot = row->slot, .kind = row->kind,
                         .model_size = run->row.model_size, .deadline_ms = row->deadline_ms, .chunk = HANSE_CHUNK_LEN};
    memcpy(spec->run, run->row.run_id, 16);
    memcpy(spec->model_root, run->row.model_root, 32);
    memcpy(spec->plan_hash, run->row.plan_hash, 32);
    memcpy(spec->roster_hash, run->row.roster_hash, 32);
    memcpy(spec->previous, run->row.previous, 32);
    if (run->row.statistics.len > 0) {
        rc = hanse_sha256(spec->statistics_root, hanse_buf_bytes(&run->row.statistics), err);
        if (rc != HANSE_OK)
            return rc;
    }
    rc = hanse_spec_encode(&row->spec, spec, err);
    if (rc == HANSE_OK)
        rc = sign_into(&row->spec_sig, run->server, HANSE_SPEC_LABEL, hanse_buf_bytes(&row->spec), err);
    return rc == HANSE_OK ? hanse_object_hash(row->spec_hash, hanse_buf_bytes(&row->spec), err) : rc;
}

/* What the run's next round is. */
static hanse_rc fill_round(const hanse_live_run *run, hanse_store_round *row, hanse_spec *spec, uint64_t now_ms, hanse_err *err)
{
    hanse_round_kind kind = HANSE_ROUND_TRAINING;

    (void)hanse_progress_next(&run->progress, &kind, &row->round);
    row->kind = (uint8_t)kind;
    return make_spec(run, row, spec, now_ms, err);
}

static void begin_round(hanse_live_run *run, const hanse_store_round *row, const hanse_spec *spec)
{
    run->current = *row; /* moved */
    run->spec = *spec;
    run->row.next_slot = row->slot + 1;
    run->requested = false;
    run->round_open = true;
}

static hanse_rc open_round(hanse_live_run *run, uint64_t now_ms, hanse_err *err)
{
    hanse_store_round row = {0};
    hanse_spec spec;
    hanse_rc rc = fill_round(run, &row, &spec, now_ms, err);

    if (rc == HANSE_OK && run->masks != NULL)
        rc = hanse_masks_open(run, &row, &spec, err);
    if (rc == HANSE_OK)
        rc = hanse_live_run_round_init(run, row.deadline_ms, row.kind, err);
    if (rc == HANSE_OK)
        rc = hanse_store_round_open(run->server->store, &row, err);
    if (rc != HANSE_OK) {
        if (run->masks != NULL)
            hanse_masks_drop(run);
        hanse_round_clear(&run->round);
        hanse_store_round_clear(&row);
        return rc;
    }
    begin_round(run, &row, &spec);
    if (run->masks != NULL)
        hanse_masks_opened(run);
    hanse_log(HANSE_LOG_INFO, "round_open run=%s round=%" PRIu64 " attempt=%" PRIu32 " slot=%" PRIu64, run->row.name, row.round, row.attempt,
              row.slot);
    for (size_t i = 0; i < run->roster.sites_count; i++) {
        if (run->masks != NULL)
            hanse_masks_send(run, i);
        if (run->masks == NULL || hanse_masks_takes_part(run, i))
            hanse_live_run_send_spec(run, i);
    }
    return HANSE_OK;
}

/* A command must not wait for tickets longer than for contributions. */
static void give_up_waiting(hanse_live_run *run, uint64_t now_ms)
{
    hanse_server *server = run->server;

    if (server->options->run_id == NULL || run->masks == NULL || run->round_open || !run->requested ||
        now_ms < run->masks->since_ms + run->plan->rounds.deadline_ms || server->stopping)
        return;
    server->outcome = HANSE_FAIL(&server->outcome_err, HANSE_E_QUORUM, "only %zu of %zu sites have left a ticket for the round, %" PRIu32 " are needed",
                                 run->masks->tickets_count, run->roster.sites_count, run->masks->params.m);
    server->stopping = true;
}

void hanse_live_run_tick(hanse_live_run *run, uint64_t now_ms)
{
    hanse_err err = {0};

    if (run->masks != NULL)
        hanse_masks_tick(run, now_ms);
    if (run->round_open)
        hanse_live_run_try_again(run, now_ms);
    if (run->round_open && run->round.phase == HANSE_PHASE_COLLECT && now_ms >= run->round.deadline_ms) {
        hanse_round_event event = {.kind = HANSE_ROUND_EV_TICK, .now_ms = now_ms};

        hanse_live_run_event(run, &event, NULL);
    }
    if (is_due(run, now_ms) && open_round(run, now_ms, &err) != HANSE_OK) {
        hanse_log(HANSE_LOG_ERROR, "round_not_opened run=%s reason=%s", run->row.name, err.text);
        run->not_before_ms = now_ms + BACKOFF_MAX_MS / 10;
        if (run->server->options->run_id != NULL) { /* a command must not wait for better times */
            run->server->outcome = err.rc;
            run->server->outcome_err = err;
            run->server->stopping = true;
        }
    }
    give_up_waiting(run, now_ms);
}

uint64_t hanse_live_run_due(const hanse_live_run *run, uint64_t now_ms)
{
    uint64_t due = run->masks != NULL ? hanse_masks_due(run, now_ms) : UINT64_MAX;

    if (run->row.state != HANSE_STORE_RUN_OPEN)
        return UINT64_MAX;
    if (run->round_open && run->round.phase == HANSE_PHASE_COLLECT)
        due = hanse_sooner(now_ms, due, run->round.deadline_ms);
    else if (!run->round_open && run->not_before_ms > 0)
        due = hanse_sooner(now_ms, due, run->not_before_ms);
    if (run->again != HANSE_STEP_NONE)
        due = hanse_sooner(now_ms, due, run->again_ms);
    if (!run->round_open && run->masks != NULL && run->server->options->run_id != NULL)
        due = hanse_sooner(now_ms, due, run->masks->since_ms + run->plan->rounds.deadline_ms);
    return due;
}

/* ---- the sum ---- */

void hanse_live_run_cut(hanse_live_run *run)
{
    hanse_err err = {0};

    run->again = HANSE_STEP_NONE; /* who could not be read until now is not in it */
    hanse_log(HANSE_LOG_INFO, "round_cut run=%s round=%" PRIu64 " accepted=%zu of=%zu", run->row.name, run->current.round,
              hanse_round_accepted(&run->round), run->roster.sites_count);
    if (hanse_round_accepted(&run->round) < run->round.sites_min) /* the last one could not be stored */
        hanse_live_run_folded(run, HANSE_FAIL(&err, HANSE_E_QUORUM, "too few contributions could be stored"), NULL, NULL, 0, &err);
    else if (run->masks != NULL)
        hanse_masks_cut(run);
    else if (run->current.kind == HANSE_ROUND_TRAINING)
        hanse_job_fold(run);
    else
        hanse_live_run_folded(run, HANSE_OK, NULL, NULL, 0, &err);
}

void hanse_live_run_folded(hanse_live_run *run, hanse_rc rc, const uint8_t root[32], hanse_buf *digests, uint64_t size, hanse_err *err)
{
    hanse_round_event event = {.kind = HANSE_ROUND_EV_FOLDED, .now_ms = hanse_clock_wall_ms(), .rc = rc};

    if (!run->round_open || (rc != HANSE_OK && hanse_live_run_put_off(run, HANSE_STEP_SUM, rc, err)))
        return;
    run->fold_rc = rc;
    if (rc != HANSE_OK) {
        (void)snprintf(run->fold_error, sizeof run->fold_error, "%.219s", err->text);
        hanse_log(HANSE_LOG_ERROR, "sum_failed run=%s round=%" PRIu64 " reason=%s", run->row.name, run->current.round, err->text);
    } else if (root != NULL) {
        memcpy(run->new_root, root, 32);
        hanse_buf_clear(&run->new_digests);
        run->new_digests = *digests;
        *digests = HANSE_BUF_EMPTY;
        run->new_size = size;
    }
    hanse_live_run_event(run, &event, err);
}

/* Sum of the accepted members' aux words; `sum` [words], zeroed. */
static hanse_rc sum_aux(const hanse_live_run *run, uint64_t *sum, size_t words, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < run->roster.sites_count; i++)
        if (run->round.members[i] == HANSE_MEMBER_ACCEPTED)
            rc = hanse_aux_add(sum, run->members[i].aux, words, err);
    return rc;
}

static hanse_rc append_words(hanse_buf *out, const uint64_t *words, size_t count, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        uint8_t bytes[8];

        hanse_store_u64le(bytes, words[i]);
        rc = hanse_buf_append(out, bytes, sizeof bytes, err);
    }
    return rc;
}

/* ---- publishing ---- */

/* What the round says about the model before it, and the statistics it may have made: from the sums of the aux words. */
static hanse_rc take_sums(hanse_live_run *run, hanse_store_round *row, hanse_progress *progress, const uint64_t *sum, hanse_buf *statistics,
                          hanse_err *err)
{
    const size_t words = hanse_aux_words(run->plan, row->kind);
    hanse_metrics metrics = {0};
    hanse_rc rc;

    row->weight = sum[0];
    if (row->kind == HANSE_ROUND_STATISTICS) {
        rc = append_words(statistics, sum, words, err);
        hanse_progress_published(progress, HANSE_ROUND_STATISTICS, row->round, NULL);
        return rc;
    }
    rc = append_words(&row->metrics, sum + 2, words - 2, err);
    if (rc == HANSE_OK && words > 2)
        rc = hanse_metrics_decode(&metrics, run->plan->data.classes_count, sum + 2, words - 2, err);
    if (rc == HANSE_OK) {
        memcpy(row->metrics_of, row->model_before, 32);
        hanse_progress_published(progress, (hanse_round_kind)row->kind, row->round, words > 2 ? &metrics : NULL);
    }
    hanse_metrics_clear(&metrics);
    return rc;
}

static hanse_rc take_sealed(hanse_live_run *run, hanse_store_round *row, hanse_progress *progress, hanse_buf *statistics, hanse_err *err)
{
    const size_t words = hanse_aux_words(run->plan, row->kind);
    uint64_t *sum = hanse_calloc(words, sizeof *sum);
    hanse_rc rc = sum != NULL ? sum_aux(run, sum, words, err) : HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the sums");

    if (rc == HANSE_OK)
        rc = take_sums(run, row, progress, sum, statistics, err);
    hanse_free(sum);
    return rc;
}

/* `masking` gets the state that the result carries. */
static hanse_rc take_masked(hanse_live_run *run, hanse_store_round *row, hanse_progress *progress, hanse_buf *statistics, hanse_buf *masking,
                            hanse_err *err)
{
    hanse_masking_state next = HANSE_MASKING_STATE_EMPTY;
    const uint64_t *plain = NULL;
    hanse_rc rc = hanse_masks_sums(run, row->kind, &plain, &next, err);

    if (rc == HANSE_OK)
        rc = take_sums(run, row, progress, plain, statistics, err);
    if (rc == HANSE_OK)
        rc = hanse_masking_state_encode(masking, &next, err);
    hanse_masking_state_clear(&next);
    return rc;
}

/* The result that sites get: who is in it, what it made, where the run stands. */
static hanse_rc make_result(hanse_live_run *run, hanse_store_round *row, const hanse_store_run *next, hanse_err *err)
{
    hanse_result result = {.round = row->round, .attempt = row->attempt, .slot = row->slot, .kind = row->kind,
                           .status = row->state == HANSE_STORE_ROUND_PUBLISHED ? HANSE_ROUND_PUBLISHED : HANSE_ROUND_VOID,
                           .model_size = next->model_size, .metrics = hanse_buf_bytes(&row->metrics),
                           .masking = hanse_buf_bytes(&next->masking), .best_round = next->best_round,
                           .state = next->state == HANSE_STORE_RUN_OPEN ? HANSE_RUN_GOES_ON
                                    : next->state == HANSE_STORE_RUN_DONE ? HANSE_RUN_DONE : HANSE_RUN_FAILED};
    hanse_rc rc = HANSE_OK;

    result.participants = hanse_calloc(run->roster.sites_count, 32);
    if (result.participants == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the result");
    memcpy(result.run, run->row.run_id, 16);
    memcpy(result.model_root, next->model_root, 32);
    memcpy(result.metrics_of, row->metrics_of, 32);
    memcpy(result.best_root, next->best_root, 32);
    (void)snprintf(result.reason, sizeof result.reason, "%s", row->reason);
    for (size_t i = 0; i < run->roster.sites_count; i++)
        if (run->round.members[i] == HANSE_MEMBER_ACCEPTED)
            memcpy(result.participants[result.participants_count++], run->roster.sites[i].id, 32);
    if (next->statistics.len > 0)
        rc = hanse_sha256(result.statistics_root, hanse_buf_bytes(&next->statistics), err);
    if (rc == HANSE_OK)
        rc = hanse_result_encode(&row->result, &result, err);
    if (rc == HANSE_OK)
        rc = sign_into(&row->result_sig, run->server, HANSE_RESULT_LABEL, hanse_buf_bytes(&row->result), err);
    hanse_result_clear(&result);
    return rc;
}

/* The members' part in a round that is over. */
static void clear_members(hanse_live_run *run)
{
    for (size_t i = 0; i < run->roster.sites_count; i++) {
        hanse_member *member = &run->members[i];

        hanse_spool_remove(&member->spool);
        hanse_free(member->aux);
        member->aux = NULL;
        hanse_buf_clear(&member->receipt);
        hanse_buf_clear(&member->receipt_sig);
        member->kept = member->verify_again = false;
        member->readings = 0;
    }
}

/* What the store writes: `next` shares the row's buffers but for statistics and masking. */
static hanse_rc advance(hanse_live_run *run, hanse_store_round *row, hanse_store_run *next, hanse_progress *progress, hanse_buf *statistics,
                        hanse_buf *masking, hanse_err *err)
{
    hanse_rc rc = run->masks != NULL ? take_masked(run, row, progress, statistics, masking, err) : take_sealed(run, row, progress, statistics, err);
    hanse_round_kind kind;
    uint64_t round;

    if (rc != HANSE_OK)
        return rc;
    if (statistics->len > 0)
        next->statistics = *statistics;
    if (masking->len > 0)
        next->masking = *masking;
    if (row->kind == HANSE_ROUND_TRAINING) {
        next->model_round = row->round;
        next->model_size = run->new_size;
        memcpy(next->model_root, run->new_root, 32);
    }
    memcpy(row->model_after, next->model_root, 32);
    next->rounds_done = progress->rounds_done;
    next->evaluated = progress->evaluated;
    next->best_value = progress->best_value;
    if (progress->best_round != next->best_round || row->kind == HANSE_ROUND_TRAINING)
        memcpy(next->best_root, progress->best_round == next->model_round ? next->model_root
                                : progress->best_round + 1 == row->round ? row->model_before : next->best_root, 32);
    next->best_round = progress->best_round;
    if (!hanse_progress_next(progress, &kind, &round))
        next->state = HANSE_STORE_RUN_DONE;
    return HANSE_OK;
}

static void announce(hanse_live_run *run, const hanse_store_round *row)
{
    for (size_t i = 0; i < run->roster.sites_count; i++)
        hanse_live_run_send_result(run, i);
    hanse_log(HANSE_LOG_INFO, "round_%s run=%s round=%" PRIu64 " accepted=%zu of=%zu weight=%" PRIu64 " reason=%s",
              hanse_store_round_state_name(row->state), run->row.name, row->round, hanse_round_accepted(&run->round),
              run->roster.sites_count, row->weight, row->reason);
    if (run->row.state != HANSE_STORE_RUN_OPEN)
        hanse_log(HANSE_LOG_INFO, "run_%s run=%s", hanse_store_run_state_name(run->row.state), run->row.name);
}

/* For `hanse-coordinator round`: the one round that was asked for is over. */
static void report_outcome(hanse_live_run *run, const hanse_store_round *row)
{
    hanse_server *server = run->server;

    if (server->options->run_id == NULL || memcmp(server->options->run_id, run->row.run_id, 16) != 0)
        return;
    server->outcome = row->state == HANSE_STORE_ROUND_PUBLISHED
                          ? HANSE_OK
                          : HANSE_FAIL(&server->outcome_err, row->code, "round %" PRIu64 " is void: %s", row->round, row->reason);
    server->stopping = true;
}

static hanse_rc void_code(const hanse_live_run *run)
{
    bool few = hanse_round_accepted(&run->round) < run->round.sites_min || run->fold_rc == HANSE_E_QUORUM;

    return run->stop_reason[0] == '\0' && few ? HANSE_E_QUORUM : HANSE_E_FAILED;
}

void hanse_live_run_close(hanse_live_run *run, bool published)
{
    hanse_store_round row = run->current;
    hanse_store_run next = run->row; /* borrows the buffers of the row */
    hanse_progress progress = run->progress;
    hanse_buf statistics = HANSE_BUF_EMPTY, masking = HANSE_BUF_EMPTY;
    hanse_err err = {0};
    hanse_rc rc = HANSE_OK;

    row.state = published ? HANSE_STORE_ROUND_PUBLISHED : HANSE_STORE_ROUND_VOID;
    row.closed_ms = hanse_clock_wall_ms();
    memcpy(row.model_after, run->row.model_root, 32);
    if (published)
        rc = advance(run, &row, &next, &progress, &statistics, &masking, &err);
    else if (run->fold_error[0] != '\0')
        (void)snprintf(row.reason, sizeof row.reason, "%.32s: %s", run->round.reason, run->fold_error);
    else
        (void)snprintf(row.reason, sizeof row.reason, "%s", run->round.reason);
    if (rc != HANSE_OK && !hanse_is_passing(rc)) { /* the sums are not what they should be: keep the model, say so */
        hanse_log(HANSE_LOG_ERROR, "round_unusable run=%s reason=%s", run->row.name, err.text);
        (void)snprintf(row.reason, sizeof row.reason, "the sum is not usable: %.200s", err.text);
        hanse_buf_clear(&row.metrics);
        hanse_buf_clear(&statistics);
        hanse_buf_clear(&masking);
        row.state = HANSE_STORE_ROUND_VOID;
        next = run->row;
        progress = run->progress;
    }
    if (row.state == HANSE_STORE_ROUND_VOID)
        row.code = void_code(run);
    if (run->stop_reason[0] != '\0') {
        next.state = HANSE_STORE_RUN_STOPPED;
        (void)snprintf(next.reason, sizeof next.reason, "%s", run->stop_reason);
    }
    if (rc == HANSE_OK || !hanse_is_passing(rc))
        rc = make_result(run, &row, &next, &err);
    if (rc == HANSE_OK)
        rc = hanse_object_hash(next.previous, hanse_buf_bytes(&row.result), &err);
    if (rc == HANSE_OK)
        rc = hanse_store_publish(run->server->store, &row, &next, &err);
    if (rc != HANSE_OK && row.unopened) { /* as if it had not been asked for, which the request still does */
        hanse_log(HANSE_LOG_ERROR, "run_not_stopped run=%s reason=%s", run->row.name, err.text);
        hanse_buf_clear(&row.result);
        hanse_buf_clear(&row.result_sig);
        hanse_round_clear(&run->round);
        hanse_store_round_clear(&run->current);
        run->round_open = false;
        return;
    }
    if (rc != HANSE_OK) { /* nothing is lost: the round is open on disk, and a restart goes on with it */
        if (!hanse_live_run_put_off(run, published ? HANSE_STEP_PUBLISH : HANSE_STEP_VOID, rc, &err)) {
            hanse_log(HANSE_LOG_ERROR, "round_not_published run=%s reason=%s", run->row.name, err.text);
            run->server->outcome = rc;
            run->server->outcome_err = err;
            run->server->stopping = true;
        }
        hanse_buf_clear(&statistics);
        hanse_buf_clear(&masking);
        hanse_buf_clear(&row.metrics);
        hanse_buf_clear(&row.result);
        hanse_buf_clear(&row.result_sig);
        return;
    }
    run->again = HANSE_STEP_NONE;
    run->again_count = 0;
    run->fold_error[0] = '\0';
    if (masking.len > 0)
        hanse_buf_clear(&run->row.masking); /* `next` has the new one */
    run->row = next;
    run->progress = progress;
    if (row.kind == HANSE_ROUND_TRAINING && row.state == HANSE_STORE_ROUND_PUBLISHED) {
        hanse_buf_clear(&run->digests);
        run->digests = run->new_digests;
        run->new_digests = HANSE_BUF_EMPTY;
        hanse_ignore(hanse_store_model_path(run->model_path, run->server->dir, run->row.run_id, run->row.model_round, NULL));
        hanse_models_drop(run->server->dir, run->row.run_id, row.round, run->row.best_round);
    }
    hanse_buf_clear(&run->last_result);
    hanse_buf_clear(&run->last_result_sig);
    run->last_result = row.result; /* moved */
    run->last_result_sig = row.result_sig;
    row.result = row.result_sig = HANSE_BUF_EMPTY;
    run->void_count = row.state == HANSE_STORE_ROUND_VOID ? run->void_count + 1 : 0;
    if (run->void_count > 0) {
        uint64_t wait_ms = (uint64_t)BACKOFF_MS << (run->void_count < 10 ? run->void_count : 10);

        run->not_before_ms = row.closed_ms + (wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS);
    }
    announce(run, &row);
    report_outcome(run, &row);
    if (run->row.state != HANSE_STORE_RUN_OPEN)
        hanse_live_run_forget_key(run);
    run->round_open = false;
    if (run->masks != NULL)
        hanse_masks_close(run, row.state == HANSE_STORE_ROUND_PUBLISHED);
    clear_members(run);
    hanse_live_run_sweep(run); /* begun before a restart, and not gone on with */
    hanse_round_clear(&run->round);
    hanse_store_round_clear(&row);
    run->current = (hanse_store_round){0};
    hanse_live_run_tick(run, hanse_clock_wall_ms()); /* the next one may be due already */
}

/* Only a signed result tells sites that a run is over: without one they would wait for it, and work on no other. Between rounds it is that of a
 * round which is opened for nobody and closed at once. */
static hanse_rc open_to_stop(hanse_live_run *run, uint64_t now_ms, hanse_err *err)
{
    hanse_store_round row = {.unopened = true};
    hanse_spec spec;
    hanse_rc rc = fill_round(run, &row, &spec, now_ms, err);

    if (rc == HANSE_OK)
        rc = hanse_live_run_round_init(run, row.deadline_ms, row.kind, err);
    if (rc != HANSE_OK) {
        hanse_store_round_clear(&row);
        return rc;
    }
    begin_round(run, &row, &spec);
    return HANSE_OK;
}

void hanse_live_run_stop(hanse_live_run *run, const char *reason)
{
    const uint64_t now_ms = hanse_clock_wall_ms();
    hanse_err err = {0};

    if (run->row.state != HANSE_STORE_RUN_OPEN)
        return;
    (void)snprintf(run->stop_reason, sizeof run->stop_reason, "%s", reason);
    if (!run->round_open && open_to_stop(run, now_ms, &err) != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "run_not_stopped run=%s reason=%s", run->row.name, err.text);
    if (run->round_open && !run->folding) {
        hanse_round_event event = {.kind = HANSE_ROUND_EV_STOP, .now_ms = now_ms};

        hanse_live_run_event(run, &event, NULL);
    } /* while the sum is being made, the run stops when it is published */
}
