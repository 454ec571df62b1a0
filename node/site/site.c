/* The machine of site.h.
 *
 *          OFFER           VERDICT ok               SPEC               FETCHED            TRAINED             RECEIPT
 *   IDLE --------> OFFERED ----------> APPROVED ------------> FETCHING --------> TRAINING --------> UPLOADING --------> WAITING
 *    ^               | VERDICT no        ^ |  statistics: no model to fetch ---------^                  ^                 |
 *    | LOST          v                   | |                                                            +-----------------+
 *    +----------- REFUSED                | +-- RESULT: run over --> DONE --> OFFER                        SPEC sent again
 *                                        |
 *                                        +-- from FETCHING, TRAINING, UPLOADING: REJECT, a failure of ours, TICK past the deadline;
 *                                            from these and WAITING: RESULT while the run goes on. A later SPEC in any of the
 *                                            four drops the work and begins anew.
 *
 * In the run (APPROVED..WAITING) `run` is what the store holds. LOST there only clears `connected` and `synced`: the same run
 * is offered again, then comes its last RESULT, then the SPEC again if this site's contribution is still missed; each finds its
 * way by hash. OFFERED is left before the next event: the policy answers at once. */
#include "node/site/site.h"

#include <inttypes.h>
#include <stdio.h>

static const uint8_t zeros[32];

const char *hanse_site_state_name(hanse_site_state state)
{
    static const char *const names[] = {"idle", "offered", "refused", "approved", "fetching",
                                        "training", "uploading", "waiting", "done"};
    return (unsigned)state < HANSE_SITE_STATES_END ? names[state] : "?";
}

void hanse_site_init(hanse_site *site)
{
    memset(site, 0, sizeof *site);
}

static bool same(const void *a, const void *b, size_t len)
{
    return memcmp(a, b, len) == 0;
}
/* A deadline on the coordinator's clock, by ours. */
static bool is_past(uint64_t deadline_ms, uint64_t now_ms)
{
    return now_ms > deadline_ms && now_ms - deadline_ms > HANSE_CLOCK_SKEW_MS;
}
static bool in_run(const hanse_site *site)
{
    return site->state >= HANSE_SITE_APPROVED && site->state <= HANSE_SITE_WAITING;
}
static bool at_work(const hanse_site *site)
{
    return site->state >= HANSE_SITE_FETCHING && site->state <= HANSE_SITE_WAITING;
}

static hanse_site_action *act(hanse_site_actions *actions, hanse_site_action_kind kind)
{
    hanse_site_action *action = &actions->items[actions->count++];
    *action = (hanse_site_action){.kind = kind, .rc = HANSE_OK};
    return action;
}

HANSE_PRINTF(4, 5)
static void act_words(hanse_site_actions *actions, hanse_site_action_kind kind, hanse_rc rc, const char *fmt, ...)
{
    hanse_site_action *action = act(actions, kind);
    va_list args;

    action->rc = rc;
    va_start(args, fmt);
    (void)vsnprintf(action->words, sizeof action->words, fmt, args);
    va_end(args);
}

static hanse_rc out_of_turn(const hanse_site *site, const char *what, hanse_err *err)
{
    return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s while the site is %s", what, hanse_site_state_name(site->state));
}

/* The work on the slot is over, one way or another. */
static void close_slot(hanse_site *site, hanse_site_actions *actions)
{
    if (site->run.stage != HANSE_STAGE_NONE && site->run.stage != HANSE_STAGE_CLOSED) {
        site->run.stage = HANSE_STAGE_CLOSED;
        act(actions, HANSE_SITE_DO_DROP);
    }
    site->state = HANSE_SITE_APPROVED;
}

static hanse_rc on_offer(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions)
{
    if (!in_run(site)) {
        if (event->run->run_state != HANSE_RUN_GOES_ON && event->run->stage == HANSE_STAGE_NONE)
            return HANSE_OK; /* we know its end, and everything is put away */
        site->run = *event->run;
        if (site->run.run_state != HANSE_RUN_GOES_ON) { /* the process ended in between */
            site->state = HANSE_SITE_DONE;
            act(actions, HANSE_SITE_DO_ANSWER);
            act(actions, HANSE_SITE_DO_FINISH);
            return HANSE_OK;
        }
        site->state = HANSE_SITE_OFFERED;
        act(actions, HANSE_SITE_DO_JUDGE);
    } else if (same(&site->run.offer, &event->run->offer, sizeof site->run.offer)) {
        act(actions, HANSE_SITE_DO_ANSWER);
    } /* another run: one at a time, its turn comes */
    return HANSE_OK;
}

static hanse_rc on_verdict(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions)
{
    static const hanse_site_state resume_at[] = {[HANSE_STAGE_NONE] = HANSE_SITE_APPROVED,
                                                 [HANSE_STAGE_SPEC] = HANSE_SITE_APPROVED,
                                                 [HANSE_STAGE_TRAINED] = HANSE_SITE_UPLOADING,
                                                 [HANSE_STAGE_RECEIVED] = HANSE_SITE_WAITING,
                                                 [HANSE_STAGE_CLOSED] = HANSE_SITE_APPROVED};

    if (event->rc == HANSE_OK) {
        site->state = resume_at[site->run.stage];
        act(actions, HANSE_SITE_DO_ANSWER);
        return HANSE_OK;
    }
    site->state = HANSE_SITE_REFUSED;
    act_words(actions, HANSE_SITE_DO_ANSWER, event->rc, "%s", event->words ? event->words : "");
    act_words(actions, HANSE_SITE_DO_REPORT, event->rc, "%s", event->words ? event->words : "");
    return HANSE_OK;
}

/* A spec that was not seen before: does it belong where it stands? On refusal `words` say why. */
static hanse_rc judge_spec(const hanse_site_run *run, const hanse_spec *spec, uint64_t now_ms, hanse_err *why)
{
    if (!same(spec->plan_hash, run->offer.plan_hash, 32))
        return HANSE_FAIL(why, HANSE_E_AUTH, "spec names another plan than the accepted one");
    if (!same(spec->roster_hash, run->offer.roster_hash, 32))
        return HANSE_FAIL(why, HANSE_E_AUTH, "spec names another roster than the accepted one");
    if (run->stage != HANSE_STAGE_NONE && spec->slot <= run->spec.slot)
        return HANSE_FAIL(why, HANSE_E_DUPLICATE, "slot %" PRIu64 " is not above the last one, %" PRIu64, spec->slot, run->spec.slot);
    if (run->has_result && spec->slot <= run->result_slot)
        return HANSE_FAIL(why, HANSE_E_DUPLICATE, "slot %" PRIu64 " has its result already", spec->slot);
    if (is_past(spec->deadline_ms, now_ms))
        return HANSE_FAIL(why, HANSE_E_LATE, "the deadline passed %" PRIu64 " s ago", (now_ms - spec->deadline_ms) / 1000);
    if (!same(spec->previous, run->has_result ? run->previous : zeros, 32))
        return HANSE_FAIL(why, HANSE_E_AUTH, "spec does not follow the last result that this site holds");
    if (!same(spec->model_root, run->has_result ? run->model_root : run->offer.model_root, 32))
        return HANSE_FAIL(why, HANSE_E_AUTH, "spec names another model than the last result or the offer");
    return HANSE_OK;
}

static hanse_rc on_spec(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions, hanse_err *err)
{
    hanse_err why;
    hanse_rc rc;
    bool again = site->run.stage != HANSE_STAGE_NONE && same(event->hash, site->run.spec_hash, 32);

    if (!in_run(site))
        return out_of_turn(site, "SPEC", err);
    if (!same(event->spec->run, site->run.offer.run, 16))
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "SPEC of another run than the one under way");

    site->synced = true;
    if (again && site->state == HANSE_SITE_TRAINING)
        return HANSE_OK;
    if (again && (site->state == HANSE_SITE_UPLOADING || site->state == HANSE_SITE_WAITING)) {
        site->state = HANSE_SITE_UPLOADING; /* it does not know our contribution: the same bytes go again */
        act(actions, HANSE_SITE_DO_UPLOAD);
        return HANSE_OK;
    }
    if (!again) {
        rc = judge_spec(&site->run, event->spec, event->now_ms, &why);
        if (rc != HANSE_OK) {
            site->synced = false;
            act_words(actions, HANSE_SITE_DO_DECLINE, rc, "%s", why.text);
            act_words(actions, HANSE_SITE_DO_REPORT, rc, "%s", why.text);
            return HANSE_OK;
        }
        close_slot(site, actions);
        site->run.spec = *event->spec;
        memcpy(site->run.spec_hash, event->hash, 32);
    }
    site->run.stage = HANSE_STAGE_SPEC;
    act(actions, HANSE_SITE_DO_SAVE_SPEC);
    if (event->spec->kind == HANSE_ROUND_STATISTICS) {
        site->state = HANSE_SITE_TRAINING;
        act(actions, HANSE_SITE_DO_WORK);
    } else {
        site->state = HANSE_SITE_FETCHING;
        act(actions, HANSE_SITE_DO_FETCH);
    }
    return HANSE_OK;
}

/* FETCHED and TRAINED with an error: this round goes on without us. */
static void give_up(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions)
{
    const char *words = event->words ? event->words : "";

    if (site->synced)
        act_words(actions, HANSE_SITE_DO_DECLINE, event->rc, "%s", words);
    close_slot(site, actions);
    act_words(actions, HANSE_SITE_DO_REPORT, event->rc, "%s", words);
}

static hanse_rc on_work(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions)
{
    bool fetched = event->kind == HANSE_SITE_EV_FETCHED;

    if (site->state == HANSE_SITE_UPLOADING && !fetched && event->rc != HANSE_OK) {
        give_up(site, event, actions); /* it was durable, and is damaged now */
        return HANSE_OK;
    }
    if (site->state != (fetched ? HANSE_SITE_FETCHING : HANSE_SITE_TRAINING))
        return HANSE_OK; /* of work that was dropped meanwhile */
    if (event->rc != HANSE_OK) {
        give_up(site, event, actions);
    } else if (fetched) {
        site->state = HANSE_SITE_TRAINING;
        act(actions, HANSE_SITE_DO_WORK);
    } else {
        site->run.stage = HANSE_STAGE_TRAINED;
        site->state = HANSE_SITE_UPLOADING;
        if (site->synced)
            act(actions, HANSE_SITE_DO_UPLOAD);
    }
    return HANSE_OK;
}

static hanse_rc on_resume(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions, hanse_err *err)
{
    hanse_site_action *action;

    if (site->state != HANSE_SITE_UPLOADING) {
        if (in_run(site))
            return HANSE_OK; /* of an upload that was dropped meanwhile */
        return out_of_turn(site, "RESUME", err);
    }
    action = act(actions, HANSE_SITE_DO_SEND);
    action->transfer = event->transfer;
    action->chunks = event->chunks;
    return HANSE_OK;
}

static hanse_rc on_receipt(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions, hanse_err *err)
{
    if (!in_run(site))
        return out_of_turn(site, "RECEIPT", err);
    if (site->state != HANSE_SITE_UPLOADING || !same(event->receipt->spec_hash, site->run.spec_hash, 32))
        return HANSE_OK; /* again, or of work that was dropped */
    if (!same(event->receipt->site_id, event->site_id, 32) || !same(event->receipt->upload_hash, event->upload_hash, 32))
        return HANSE_FAIL(err, HANSE_E_AUTH, "RECEIPT of round %" PRIu64 " is not for what this site sent", site->run.spec.round);
    site->run.stage = HANSE_STAGE_RECEIVED;
    site->state = HANSE_SITE_WAITING;
    act(actions, HANSE_SITE_DO_SAVE_RECEIPT);
    return HANSE_OK;
}

static hanse_rc on_reject(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions)
{
    hanse_rc rc = event->rc == HANSE_OK ? HANSE_E_FAILED : event->rc;

    if (!at_work(site) || !same(event->run_id, site->run.offer.run, 16) || event->round != site->run.spec.round || event->attempt != site->run.spec.attempt)
        return HANSE_OK;
    close_slot(site, actions);
    act_words(actions, HANSE_SITE_DO_REPORT, rc, "round %" PRIu64 " rejected: %s", event->round, event->words ? event->words : "");
    return HANSE_OK;
}

static bool took_part(const hanse_result *result, const uint8_t site_id[32])
{
    for (size_t i = 0; i < result->participants_count; i++)
        if (same(result->participants[i], site_id, 32))
            return true;
    return false;
}

/* What the result of the slot we worked on means for us. */
static void report_result(const hanse_site_event *event, bool worked, hanse_site_actions *actions)
{
    const hanse_result *result = event->result;

    if (result->state == HANSE_RUN_FAILED)
        act_words(actions, HANSE_SITE_DO_REPORT, HANSE_E_FAILED, "the run ended: %s", result->reason);
    else if (worked && result->status == HANSE_ROUND_VOID)
        act_words(actions, HANSE_SITE_DO_REPORT, HANSE_E_QUORUM, "round %" PRIu64 " is void: %s", result->round, result->reason);
    else if (worked && !took_part(result, event->site_id))
        act_words(actions, HANSE_SITE_DO_REPORT, HANSE_E_LATE, "round %" PRIu64 " closed without this site", result->round);
    else if (worked || result->state == HANSE_RUN_DONE)
        act_words(actions, HANSE_SITE_DO_REPORT, HANSE_OK, "round %" PRIu64 " published, %zu sites took part", result->round,
                  result->participants_count);
}

bool hanse_site_is_past(const hanse_site *site, const hanse_result *result)
{
    return in_run(site) && site->run.has_result && same(result->run, site->run.offer.run, 16) && result->slot < site->run.result_slot;
}

static hanse_rc on_result(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions, hanse_err *err)
{
    const hanse_result *result = event->result;
    hanse_site_run *run = &site->run;
    bool worked;

    if (!in_run(site) || !same(result->run, run->offer.run, 16))
        return HANSE_OK; /* of a run that this site does not work on */
    if (run->has_result && same(event->hash, run->previous, 32))
        return HANSE_OK; /* the reconnect's repetition */
    if (run->has_result && result->slot <= run->result_slot)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "RESULT of slot %" PRIu64 " after that of slot %" PRIu64, result->slot, run->result_slot);

    worked = at_work(site) && result->slot >= run->spec.slot;
    if (worked)
        close_slot(site, actions);
    run->has_result = true;
    memcpy(run->previous, event->hash, 32);
    memcpy(run->model_root, result->model_root, 32);
    memcpy(run->best_root, result->best_root, 32);
    run->result_slot = result->slot;
    run->best_round = result->best_round;
    if (result->status == HANSE_ROUND_PUBLISHED && result->kind == HANSE_ROUND_TRAINING)
        run->rounds_done = result->round;
    run->run_state = (hanse_run_state)result->state;
    if (result->status == HANSE_ROUND_PUBLISHED && result->kind != HANSE_ROUND_EVALUATION && took_part(result, event->site_id) &&
        event->rows > run->counted)
        run->counted = event->rows;
    act(actions, HANSE_SITE_DO_SAVE_RESULT);
    report_result(event, worked, actions);
    if (run->run_state != HANSE_RUN_GOES_ON) {
        site->state = HANSE_SITE_DONE;
        act(actions, HANSE_SITE_DO_FINISH);
    }
    return HANSE_OK;
}

static void on_tick(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions)
{
    if (!at_work(site) || site->state == HANSE_SITE_WAITING)
        return;
    if (!is_past(site->run.spec.deadline_ms, event->now_ms))
        return;
    close_slot(site, actions);
    act_words(actions, HANSE_SITE_DO_REPORT, HANSE_E_LATE, "round %" PRIu64 " given up: its deadline passed", site->run.spec.round);
}

static void on_link(hanse_site *site, bool connected)
{
    site->connected = connected;
    site->synced = false;
    if (!in_run(site) && site->state != HANSE_SITE_DONE)
        site->state = HANSE_SITE_IDLE;
}

hanse_rc hanse_site_step(hanse_site *site, const hanse_site_event *event, hanse_site_actions *actions, hanse_err *err)
{
    actions->count = 0;
    switch (event->kind) {
    case HANSE_SITE_EV_CONNECTED: on_link(site, true); return HANSE_OK;
    case HANSE_SITE_EV_LOST:      on_link(site, false); return HANSE_OK;
    case HANSE_SITE_EV_OFFER:     return on_offer(site, event, actions);
    case HANSE_SITE_EV_VERDICT:
        if (site->state != HANSE_SITE_OFFERED)
            return HANSE_FAIL(err, HANSE_E_USAGE, "a verdict without an offer");
        return on_verdict(site, event, actions);
    case HANSE_SITE_EV_SPEC:    return on_spec(site, event, actions, err);
    case HANSE_SITE_EV_FETCHED:
    case HANSE_SITE_EV_TRAINED: return on_work(site, event, actions);
    case HANSE_SITE_EV_RESUME:  return on_resume(site, event, actions, err);
    case HANSE_SITE_EV_RECEIPT: return on_receipt(site, event, actions, err);
    case HANSE_SITE_EV_REJECT:  return on_reject(site, event, actions);
    case HANSE_SITE_EV_RESULT:  return on_result(site, event, actions, err);
    case HANSE_SITE_EV_TICK:    on_tick(site, event, actions); return HANSE_OK;
    case HANSE_SITE_EVENTS_END: break;
    }
    return HANSE_FAIL(err, HANSE_E_USAGE, "unknown event %d", (int)event->kind);
}
