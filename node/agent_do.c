/* Actions become sends, rows, files and work. */
#include "node/agent_masks.h"

#include "hanse/clock.h"
#include "hanse/log.h"
#include "hanse/safetensors.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define QUEUE_ENOUGH ((size_t)2 << 20) /* bytes: two chunks wait in the link, no more are sealed ahead */

hanse_rc hanse_agent_send(hanse_agent *agent, const hanse_message *message, hanse_err *err)
{
    return agent->link == NULL ? HANSE_OK : hanse_link_send_message(agent->link, message, err);
}

/* A run that is new here, and was open when an older copy of this directory was restored: this site may have taken part, and forgotten it. */
static hanse_rc join(hanse_agent *agent, hanse_err *err)
{
    const hanse_offer *offer = &agent->offer.offer;
    hanse_site_run known;
    uint64_t recovered_ms = 0;
    hanse_rc rc = hanse_site_store_run_load(agent->store, offer->run, &known, err);

    if (rc == HANSE_E_NOTFOUND)
        rc = hanse_site_store_recovered_at(agent->store, &recovered_ms, err);
    if (rc == HANSE_OK && offer->opened_ms <= recovered_ms + HANSE_CLOCK_SKEW_MS && recovered_ms > 0)
        rc = hanse_site_store_ask(agent->store, HANSE_SITE_ASK_RECOVER, offer->run, err);
    return rc == HANSE_OK ? hanse_site_store_run_save(agent->store, &agent->site.run, err) : rc;
}

static hanse_rc do_judge(hanse_agent *agent, hanse_err *err)
{
    hanse_site_consent consent = {0};
    hanse_err why = {0};
    hanse_site_event verdict = {.kind = HANSE_SITE_EV_VERDICT, .now_ms = hanse_clock_wall_ms(), .words = why.text};
    const hanse_offer *offer = &agent->offer.offer;
    hanse_rc rc = hanse_site_store_accepted(agent->store, offer, &consent.has_acceptance, err);

    if (rc == HANSE_OK)
        rc = hanse_site_store_pinned_roster(agent->store, consent.roster_hash, &consent.has_roster, err);
    if (rc != HANSE_OK)
        return rc;
    verdict.rc = hanse_site_policy_check(&agent->config->policy, &consent, &agent->offer, &why);
    if (verdict.rc == HANSE_OK && consent.has_acceptance) {
        rc = hanse_site_store_consume(agent->store, offer, &consent.has_acceptance, err);
        if (rc != HANSE_OK)
            return rc;
    } else if (verdict.rc != HANSE_OK && agent->refused_count < HANSE_AGENT_REFUSED_MAX &&
               !(consent.has_acceptance && consent.has_roster && memcmp(consent.roster_hash, offer->roster_hash, 32) == 0)) {
        agent->refused[agent->refused_count++] = *offer;
    }
    if (verdict.rc == HANSE_OK && agent->site.run.stage == HANSE_STAGE_NONE && !agent->site.run.has_result)
        rc = join(agent, err);
    return rc == HANSE_OK ? hanse_agent_feed(agent, &verdict, err) : rc;
}

static hanse_rc do_answer(hanse_agent *agent, const hanse_site_action *action, hanse_err *err)
{
    hanse_message answer = {.kind = HANSE_ANSWER, .answer = {.accepted = action->rc == HANSE_OK, .code = HANSE_BYTES_EMPTY}};
    hanse_rc rc;

    memcpy(answer.answer.run, agent->site.run.offer.run, 16);
    if (action->rc != HANSE_OK) {
        answer.answer.code = hanse_bytes_str(hanse_rc_name(action->rc));
        answer.answer.reason = hanse_bytes_str(action->words);
        return hanse_agent_send(agent, &answer, err);
    }
    rc = hanse_agent_send(agent, &answer, err);
    return rc == HANSE_OK ? hanse_agent_masks_begin(agent, err) : rc;
}

/* A coarse code only: words could tell of the data, or how large the update was. */
static hanse_rc do_decline(hanse_agent *agent, const hanse_site_action *action, const hanse_site_event *event, hanse_err *err)
{
    const hanse_spec *spec = event->spec != NULL ? event->spec : &agent->site.run.spec;
    hanse_message message = {.kind = HANSE_DECLINE, .decline = {.round = spec->round, .attempt = spec->attempt,
                                                                .code = hanse_bytes_str(hanse_rc_name(action->rc)),
                                                                .reason = hanse_bytes_str("see the site's log")}};

    memcpy(message.decline.run, spec->run, 16);
    return hanse_agent_send(agent, &message, err);
}

/* Ask for the rest of the model, or note that it is to be asked for when the window opens. */
static hanse_rc send_fetch(hanse_agent *agent, hanse_err *err)
{
    hanse_message message = {.kind = HANSE_FETCH, .fetch = {.offset = agent->fetch.next}};

    agent->fetch_waits = agent->window_closed;
    if (agent->window_closed)
        return HANSE_OK;
    memcpy(message.fetch.run, agent->site.run.offer.run, 16);
    memcpy(message.fetch.model_root, agent->fetch.root, 32);
    return hanse_agent_send(agent, &message, err);
}

hanse_rc hanse_agent_window_tick(hanse_agent *agent, hanse_err *err)
{
    const bool closed = !hanse_node_windows_open_now(agent->config->windows, agent->config->raw.windows_count);

    if (closed == agent->window_closed)
        return HANSE_OK;
    agent->window_closed = closed;
    hanse_log(HANSE_LOG_INFO, "transfer_window open=%d", !closed);
    if (closed && agent->fetch.active && !agent->final.active)
        agent->reconnect = true; /* a model on its way cannot be halted otherwise; what is here stays */
    return !closed && agent->fetch_waits && agent->fetch.active ? send_fetch(agent, err) : HANSE_OK;
}

static hanse_rc do_fetch(hanse_agent *agent, hanse_err *err)
{
    hanse_site_event event = {.kind = HANSE_SITE_EV_FETCHED, .now_ms = hanse_clock_wall_ms()};
    bool held;
    hanse_rc rc = hanse_node_fetch_begin(&agent->fetch, agent->dir, agent->site.run.spec.model_root, agent->site.run.spec.model_size, &held, err);

    if (rc != HANSE_OK)
        return rc;
    return held ? hanse_agent_feed(agent, &event, err) : send_fetch(agent, err);
}

/* The model that came must be one of this plan before anything computes with it. */
static hanse_rc check_layout(const char *path, const hanse_plan *plan, hanse_err *err)
{
    hanse_model_file file = {.fd = -1};
    hanse_layout want = HANSE_LAYOUT_EMPTY;
    hanse_rc rc = hanse_model_open(&file, path, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_layout_of_plan(&want, plan, err);
    if (rc == HANSE_OK)
        rc = hanse_layout_same(&file.layout, &want, err);
    hanse_layout_clear(&want);
    hanse_model_close(&file);
    return rc;
}

static hanse_rc make_job(hanse_agent *agent, hanse_node_job *job, hanse_err *err)
{
    const hanse_site_run *run = &agent->site.run;
    char hex[33], name[128];
    hanse_rc rc = hanse_buf_append(&job->plan_text, agent->plan_text.data, agent->plan_text.len, err);

    job->spec = run->spec;
    job->site_seed = hanse_load_u64le(agent->keys.trust.site_id);
    if (rc == HANSE_OK && agent->statistics.len > 0)
        rc = hanse_buf_append(&job->statistics, agent->statistics.data, agent->statistics.len, err);
    if (rc == HANSE_OK)
        rc = hanse_node_hash_path(job->model_in, agent->dir, "work", run->spec.model_root, 32, ".safetensors", err);
    hanse_hex_encode(hex, run->offer.run, 16);
    (void)snprintf(name, sizeof name, "work/%s-%" PRIu64 ".trained", hex, run->spec.slot);
    if (rc == HANSE_OK)
        rc = hanse_path_join(job->model_out, agent->dir, name, err);
    if (rc == HANSE_OK && run->spec.kind != HANSE_ROUND_STATISTICS)
        rc = check_layout(job->model_in, agent->offer.plan, err);
    return rc == HANSE_OK && hanse_agent_is_masked(agent) ? hanse_agent_masks_take_part(agent, job, err) : rc;
}

static bool keep_models(hanse_agent *agent);

static hanse_rc do_work(hanse_agent *agent, hanse_err *err)
{
    hanse_node_job job = {0};
    hanse_err why = {0};
    hanse_site_event failed = {.kind = HANSE_SITE_EV_TRAINED, .now_ms = hanse_clock_wall_ms(), .words = why.text};

    if (hanse_node_worker_busy(agent->worker)) {
        agent->work_wanted = true; /* a dropped job is still on its way out */
        return HANSE_OK;
    }
    agent->work_wanted = false;
    if (agent->site.run.has_result)
        (void)keep_models(agent); /* the model of the last result is here now; with --once nobody may wait for the next one */
    failed.rc = make_job(agent, &job, &why);
    if (failed.rc == HANSE_OK) {
        agent->job_slot = agent->site.run.spec.slot;
        agent->job_stale = false;
        memcpy(agent->job_run, agent->site.run.offer.run, 16);
        failed.rc = hanse_node_worker_start(agent->worker, &job, &why);
    }
    hanse_node_job_clear(&job);
    if (failed.rc != HANSE_OK)
        return hanse_agent_feed(agent, &failed, err);
    hanse_log(HANSE_LOG_INFO, "work_begin round=%" PRIu64 " attempt=%u kind=%d", agent->site.run.spec.round, agent->site.run.spec.attempt,
              agent->site.run.spec.kind);
    return HANSE_OK;
}

/* The finished job becomes durable: row, header and ephemeral. After this a crash costs nothing. */
static hanse_rc keep_work(hanse_agent *agent, const hanse_node_job *job, hanse_err *err)
{
    const hanse_site_run *run = &agent->site.run;
    hanse_site_work *work = &agent->work;
    const char *name = strrchr(job->model_out, '/');
    hanse_rc rc;

    hanse_site_work_clear(work);
    memcpy(work->run, run->offer.run, 16);
    work->round = run->spec.round;
    work->slot = run->spec.slot;
    work->attempt = run->spec.attempt;
    work->weight = job->weight;
    work->data_offset = job->data_offset;
    work->data_len = job->data_len;
    if (job->data_len > 0)
        hanse_text_copy(work->trained, sizeof work->trained, hanse_bytes_str(name != NULL ? name + 1 : job->model_out));
    rc = hanse_buf_append(&work->aux, job->aux.data, job->aux.len, err);
    if (rc == HANSE_OK && job->mask.masker != NULL)
        rc = hanse_agent_masks_upload(agent, job, work, err);
    else if (rc == HANSE_OK)
        rc = hanse_node_seal_make(&agent->keys, agent->dir, &run->offer, &run->spec, run->spec_hash, work, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_work_save(agent->store, work, err);
    if (rc == HANSE_OK && run->spec.kind != HANSE_ROUND_STATISTICS && !job->mask.told && job->aux.len > 16) {
        size_t count = job->aux.len / 8 - 2;
        uint64_t *words = hanse_calloc(count, sizeof *words);
        if (words == NULL)
            return HANSE_FAIL(err, HANSE_E_NOMEM, "metrics");
        for (size_t i = 0; i < count; i++)
            words[i] = hanse_load_u64le(job->aux.data + 16 + 8 * i);
        rc = hanse_site_store_evaluation_save(agent->store, run->offer.run, HANSE_GLOBAL_MODEL, run->spec.round > 0 ? run->spec.round - 1 : 0,
                                              words, count, err);
        hanse_free(words);
    }
    return rc;
}

hanse_rc hanse_agent_worked(hanse_agent *agent, hanse_err *err)
{
    hanse_node_job job = {0};
    hanse_site_event event = {.kind = HANSE_SITE_EV_TRAINED, .now_ms = hanse_clock_wall_ms()};
    hanse_err why = {0};
    hanse_rc rc = HANSE_OK;
    bool stale;

    if (!hanse_node_worker_take(agent->worker, &job))
        return HANSE_OK;
    agent->active_us = hanse_clock_mono_us();
    stale = agent->job_stale || agent->site.state != HANSE_SITE_TRAINING || job.spec.slot != agent->site.run.spec.slot ||
            memcmp(agent->job_run, agent->site.run.offer.run, 16) != 0;
    if (stale) {
        (void)unlink(job.model_out);
        if (agent->work_wanted)
            rc = do_work(agent, err);
    } else if (job.rc != HANSE_E_AGAIN) {
        event.rc = job.rc;
        why = job.err;
        if (event.rc == HANSE_OK)
            event.rc = keep_work(agent, &job, &why);
        event.words = why.text;
        hanse_log(HANSE_LOG_INFO, "work_end round=%" PRIu64 " weight=%" PRIu64 " code=%s", job.spec.round, job.weight, hanse_rc_name(event.rc));
        rc = hanse_agent_feed(agent, &event, err);
    }
    hanse_node_job_clear(&job);
    return rc;
}

/* ---- upload ---- */

void hanse_agent_upload_stop(hanse_agent *agent)
{
    if (agent->up.active)
        hanse_node_outgoing_close(&agent->outgoing);
    agent->up.active = false;
}

static hanse_rc do_upload(hanse_agent *agent, hanse_err *err)
{
    hanse_message message = {.kind = HANSE_UPLOAD};
    const hanse_site_work *work = &agent->work;
    hanse_rc rc = hanse_site_store_work_load(agent->store, agent->site.run.offer.run, agent->site.run.spec.slot, &agent->work, err);

    hanse_agent_upload_stop(agent);
    agent->took_round = true;
    if (rc != HANSE_OK)
        return rc == HANSE_E_NOTFOUND ? HANSE_FAIL(err, HANSE_E_CORRUPT, "state.db: the finished work of the round is not there") : rc;
    if (work->masks.len > 0) {
        message.kind = HANSE_MASKED_UPLOAD;
        message.masked_upload = (hanse_msg_signed){hanse_buf_bytes(&work->header), hanse_buf_bytes(&work->sig)};
    } else {
        message.upload = (hanse_msg_signed){hanse_buf_bytes(&work->header), hanse_buf_bytes(&work->sig)};
    }
    return hanse_agent_send(agent, &message, err);
}

/* Work that was durable does not read back: this round goes on without us, the next one with us. */
static hanse_rc give_up_work(hanse_agent *agent, const hanse_err *why, hanse_err *err)
{
    hanse_site_event event = {.kind = HANSE_SITE_EV_TRAINED, .now_ms = hanse_clock_wall_ms(), .rc = why->rc, .words = why->text};

    hanse_agent_upload_stop(agent);
    hanse_log(HANSE_LOG_ERROR, "work_damaged code=%s text=%s", hanse_rc_name(why->rc), why->text);
    return hanse_agent_feed(agent, &event, err);
}

static hanse_rc do_send(hanse_agent *agent, const hanse_site_action *action, hanse_err *err)
{
    hanse_err why = {0};
    hanse_rc rc;

    hanse_agent_upload_stop(agent);
    if (agent->up.room == NULL && (agent->up.room = hanse_malloc(1, HANSE_PAYLOAD_MAX)) == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "upload");
    rc = hanse_node_outgoing_open(&agent->outgoing, agent->dir, &agent->site.run.offer, &agent->work, &why);
    if (rc == HANSE_OK && (agent->job_slot != agent->work.slot || memcmp(agent->job_run, agent->work.run, 16) != 0)) /* of an earlier process */
        rc = hanse_node_outgoing_check(&agent->outgoing, &agent->work, agent->up.room, &why);
    if (rc != HANSE_OK) {
        hanse_node_outgoing_close(&agent->outgoing);
        if (rc == HANSE_E_CORRUPT)
            return give_up_work(agent, &why, err);
        if (err != NULL)
            *err = why;
        return rc;
    }
    agent->up.active = true;
    agent->up.transfer = action->transfer;
    agent->up.next = action->chunks;
    return hanse_agent_pump(agent, err);
}

hanse_rc hanse_agent_pump(hanse_agent *agent, hanse_err *err)
{
    while (agent->up.active && !agent->window_closed && agent->link != NULL && hanse_link_queued(agent->link) < QUEUE_ENOUGH) {
        hanse_msg_chunk chunk = {.transfer = agent->up.transfer, .index = agent->up.next};
        size_t len = 0;
        hanse_err why = {0};
        hanse_rc rc;

        if (agent->up.next >= agent->outgoing.chunks) {
            hanse_agent_upload_stop(agent);
            return HANSE_OK;
        }
        rc = hanse_node_outgoing_chunk(&agent->outgoing, &agent->work, agent->up.next, agent->up.room, &len, &why);
        if (rc == HANSE_E_CORRUPT)
            return give_up_work(agent, &why, err);
        if (rc != HANSE_OK && err != NULL)
            *err = why;
        chunk.payload = (hanse_bytes){agent->up.room, len};
        if (rc == HANSE_OK)
            rc = hanse_link_send_chunk(agent->link, &chunk, err);
        if (rc != HANSE_OK)
            return rc;
        agent->up.next++;
        agent->active_us = hanse_clock_mono_us();
    }
    return HANSE_OK;
}

/* ---- results and models ---- */

/* DIR/models/RUN-<what>.safetensors becomes the model `root`, if it is here. A link and a rename: no bytes move. */
static bool promote(hanse_agent *agent, const uint8_t root[32], const char *suffix)
{
    hanse_path held, temp, path;
    char end[64];

    if (hanse_node_hash_path(held, agent->dir, "work", root, 32, ".safetensors", NULL) != HANSE_OK || !hanse_file_exists(held))
        return false;
    (void)snprintf(end, sizeof end, "%s.tmp", suffix);
    if (hanse_node_hash_path(temp, agent->dir, "models", agent->site.run.offer.run, 16, end, NULL) != HANSE_OK ||
        hanse_node_hash_path(path, agent->dir, "models", agent->site.run.offer.run, 16, suffix, NULL) != HANSE_OK)
        return false;
    (void)unlink(temp);
    if (link(held, temp) != 0 || rename(temp, path) != 0) {
        hanse_log(HANSE_LOG_WARN, "model_not_kept path=%s", path);
        return false;
    }
    (void)unlink(temp); /* rename between two names of one file leaves both */
    return true;
}

static bool keep_models(hanse_agent *agent)
{
    bool newest = promote(agent, agent->site.run.model_root, "-newest.safetensors");
    bool best = promote(agent, agent->site.run.best_root, "-best.safetensors");

    return newest && best;
}

void hanse_agent_models_sync(const hanse_agent *agent)
{
    static const char *const ends[] = {"-newest.safetensors", "-best.safetensors"};
    hanse_path path;

    for (size_t i = 0; i < 2; i++) {
        int fd = hanse_node_hash_path(path, agent->dir, "models", agent->site.run.offer.run, 16, ends[i], NULL) == HANSE_OK
                     ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        if (fd >= 0 && (fsync(fd) != 0 || hanse_file_sync_parent(path, NULL) != HANSE_OK))
            hanse_log(HANSE_LOG_WARN, "model_not_flushed path=%s", path);
        if (fd >= 0)
            (void)close(fd);
    }
}

/* Delete from DIR/work what no part of the run needs any more; with `all` everything. */
static void sweep(hanse_agent *agent, bool all)
{
    hanse_path folder;
    char newest[65], best[65];
    DIR *dir;
    const struct dirent *entry;

    if (hanse_path_join(folder, agent->dir, "work", NULL) != HANSE_OK || (dir = opendir(folder)) == NULL)
        return;
    hanse_hex_encode(newest, agent->site.run.model_root, 32);
    hanse_hex_encode(best, agent->site.run.best_root, 32);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (!all && (strncmp(entry->d_name, newest, 64) == 0 || strncmp(entry->d_name, best, 64) == 0))
            continue;
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    (void)closedir(dir);
}

static hanse_rc do_drop(hanse_agent *agent, hanse_err *err)
{
    char hex[33], name[128];
    hanse_path path;
    static const char *const ends[] = {"trained", "key", "masked"};

    if (hanse_node_worker_busy(agent->worker)) {
        agent->job_stale = true;
        hanse_node_worker_stop(agent->worker);
    }
    agent->work_wanted = false;
    hanse_agent_upload_stop(agent);
    hanse_node_fetch_stop(&agent->fetch);
    hanse_hex_encode(hex, agent->site.run.offer.run, 16);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        (void)snprintf(name, sizeof name, "work/%s-%" PRIu64 ".%s", hex, agent->site.run.spec.slot, ends[i]);
        if (hanse_path_join(path, agent->dir, name, NULL) == HANSE_OK)
            (void)unlink(path);
    }
    return hanse_site_store_run_save(agent->store, &agent->site.run, err);
}

static hanse_rc do_save_receipt(hanse_agent *agent, const hanse_site_event *event, hanse_err *err)
{
    hanse_rc rc = hanse_agent_masks_received(agent, err);

    return rc == HANSE_OK ? hanse_site_store_receipt_save(agent->store, &agent->site.run, event->object, err) : rc;
}

static hanse_rc do_save_result(hanse_agent *agent, const hanse_site_event *event, hanse_err *err)
{
    const hanse_result *result = event->result;
    hanse_rc rc = result->state == HANSE_RUN_GOES_ON ? HANSE_OK : hanse_agent_masks_over(agent, err); /* first: a crash behind it must not keep them */

    if (rc == HANSE_OK)
        rc = hanse_site_store_result_save(agent->store, &agent->site.run, result, event->object, event->sig, event->now_ms, err);
    hanse_log(HANSE_LOG_INFO, "result round=%" PRIu64 " status=%s sites=%zu reason=%s", result->round,
              result->status == HANSE_ROUND_PUBLISHED ? "published" : "void", result->participants_count, result->reason);
    (void)keep_models(agent);
    sweep(agent, false);
    return rc;
}

hanse_rc hanse_agent_run_over(hanse_agent *agent, hanse_err *err)
{
    hanse_rc rc;

    agent->final.active = false;
    rc = hanse_agent_masks_forget(agent, agent->site.run.offer.run, err);
    if (rc != HANSE_OK)
        return rc;
    (void)keep_models(agent);
    hanse_agent_models_sync(agent);
    sweep(agent, true);
    hanse_node_worker_forget(agent->worker);
    hanse_agent_masks_free(agent);
    agent->reconnect = agent->others;
    rc = hanse_site_store_work_delete(agent->store, agent->site.run.offer.run, err);
    if (rc != HANSE_OK)
        return rc;
    agent->site.run.stage = HANSE_STAGE_NONE; /* now nothing is left to do for it, whenever this process ends */
    return hanse_site_store_run_save(agent->store, &agent->site.run, err);
}

hanse_rc hanse_agent_final_next(hanse_agent *agent, hanse_err *err)
{
    while (agent->final.next < agent->final.count) {
        bool held;
        hanse_rc rc = hanse_node_fetch_begin(&agent->fetch, agent->dir, agent->final.roots[agent->final.next++],
                                             agent->site.run.spec.model_size + 4096 /* the header's digits differ */, &held, err);
        if (rc != HANSE_OK)
            return rc;
        if (!held)
            return send_fetch(agent, err);
    }
    return hanse_agent_run_over(agent, err);
}

static hanse_rc do_finish(hanse_agent *agent, hanse_err *err)
{
    hanse_log(HANSE_LOG_INFO, "run_over state=%d best_round=%" PRIu64, (int)agent->site.run.run_state, agent->site.run.best_round);
    if (keep_models(agent) || agent->site.run.run_state == HANSE_RUN_FAILED || agent->site.run.stage == HANSE_STAGE_NONE)
        return hanse_agent_run_over(agent, err);
    agent->final.active = true;
    agent->final.next = 0;
    agent->final.count = 2;
    memcpy(agent->final.roots[0], agent->site.run.model_root, 32);
    memcpy(agent->final.roots[1], agent->site.run.best_root, 32);
    return hanse_agent_final_next(agent, err);
}

static hanse_rc do_save_spec(hanse_agent *agent, hanse_err *err)
{
    hanse_rc rc = hanse_site_store_run_save(agent->store, &agent->site.run, err);

    agent->took_round = true;
    if (rc == HANSE_OK && agent->statistics.len > 0)
        rc = hanse_site_store_statistics_save(agent->store, agent->site.run.offer.run, hanse_buf_bytes(&agent->statistics), err);
    return rc == HANSE_OK ? hanse_agent_masks_leave(agent, err) : rc;
}

static void do_report(hanse_agent *agent, const hanse_site_action *action)
{
    hanse_log(action->rc == HANSE_OK ? HANSE_LOG_INFO : HANSE_LOG_WARN, "report code=%s text=%s", hanse_rc_name(action->rc), action->words);
    agent->reported = true;
    agent->round_over = agent->took_round;
    agent->outcome = (hanse_err){.rc = action->rc};
    if (action->rc != HANSE_OK)
        (void)HANSE_FAIL(&agent->outcome, action->rc, "%s", action->words);
}

hanse_rc hanse_agent_do(hanse_agent *agent, const hanse_site_action *action, const hanse_site_event *event, hanse_err *err)
{
    switch (action->kind) {
    case HANSE_SITE_DO_JUDGE:        return do_judge(agent, err);
    case HANSE_SITE_DO_ANSWER:       return do_answer(agent, action, err);
    case HANSE_SITE_DO_SAVE_SPEC:    return do_save_spec(agent, err);
    case HANSE_SITE_DO_FETCH:        return do_fetch(agent, err);
    case HANSE_SITE_DO_WORK:         return do_work(agent, err);
    case HANSE_SITE_DO_UPLOAD:       return do_upload(agent, err);
    case HANSE_SITE_DO_SEND:         return do_send(agent, action, err);
    case HANSE_SITE_DO_SAVE_RECEIPT: return do_save_receipt(agent, event, err);
    case HANSE_SITE_DO_SAVE_RESULT:  return do_save_result(agent, event, err);
    case HANSE_SITE_DO_DECLINE:      return do_decline(agent, action, event, err);
    case HANSE_SITE_DO_DROP:         return do_drop(agent, err);
    case HANSE_SITE_DO_REPORT:       do_report(agent, action); return HANSE_OK;
    case HANSE_SITE_DO_FINISH:       return do_finish(agent, err);
    }
    return HANSE_FAIL(err, HANSE_E_USAGE, "unknown action %d", (int)action->kind);
}
