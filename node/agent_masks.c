#include "node/agent_masks.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/log.h"
#include "hanse/masking.h"
#include "hanse/secagg_site.h"

#include <inttypes.h>
#include <stdio.h>

#define TICKETS 2u        /* left ahead of the newest slot */
#define TICK_MS 60000u
#define IDLE_TICK_MS 3600000u
#define SLOT_MAX ((uint64_t)1 << 40) /* a run of a million years */

struct hanse_agent_masks {
    hanse_roster roster; /* decoded from `roster_bytes` */
    hanse_buf roster_bytes;
    const hanse_cert *coordinator; /* whose it was made with; only compared */
    hanse_secagg_site_config config;
    hanse_secagg_roster *members;
    hanse_secagg_site *site; /* NULL: it may be ahead of the disk, the next step loads it again */
    hanse_layout layout;
    hanse_masking_state state; /* as of the last result */
    /* the round's masks as they came */
    hanse_buf spec, spec_sig, tickets, shares;
    uint64_t spec_slot; /* 0: none (slots count from 1) */
    hanse_err refused;  /* why they are no good; rc OK: they are */
    /* what a step gave */
    hanse_buf header, header_sig;
    bool reseed, told; /* of the last TRAIN */
    bool recovers; /* the operator said that an old state was restored: nothing is answered before the coordinator says where the run is */

    uint64_t newest;        /* slot that the coordinator or a result named */
    uint64_t sent[TICKETS]; /* slots whose tickets went out on this connection */
};

bool hanse_agent_is_masked(const hanse_agent *agent)
{
    return agent->offer.plan != NULL && agent->offer.plan->aggregation.privacy == HANSE_PRIVACY_MASKED;
}

/* ---- life ---- */

static hanse_rc load_fact(void *user, hanse_bytes key, hanse_bytes value, hanse_err *err)
{
    return hanse_secagg_site_load(user, key, value, err);
}

/* The machine as the store knows it, whole: a part of what was promised is worse than nothing. */
static hanse_rc load_site(hanse_agent *agent, hanse_agent_masks *masks, hanse_err *err)
{
    hanse_secagg_site *site = NULL;
    hanse_rc rc = hanse_secagg_site_new(&site, &masks->config, err);

    if (rc == HANSE_OK)
        rc = hanse_site_store_facts(agent->store, load_fact, site, err);
    if (rc == HANSE_OK)
        masks->site = site;
    else
        hanse_secagg_site_free(site);
    return rc;
}

static hanse_rc load_state(hanse_agent *agent, hanse_agent_masks *masks, hanse_err *err)
{
    hanse_buf masking = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_site_store_masking_load(agent->store, agent->site.run.offer.run, &masking, err);

    if (rc == HANSE_OK)
        rc = masking.len == 0 ? hanse_masking_state_init(&masks->state, agent->offer.plan, &masks->layout, err)
                              : hanse_masking_state_decode(&masks->state, agent->offer.plan, &masks->layout, hanse_buf_bytes(&masking), err);
    hanse_buf_clear(&masking);
    return rc;
}

static hanse_rc configure(hanse_agent *agent, hanse_agent_masks *masks, hanse_err *err)
{
    const hanse_offer *offer = &agent->offer.offer;
    const hanse_plan *plan = agent->offer.plan;
    const hanse_site_policy *policy = &agent->config->policy;
    hanse_rc rc = hanse_masking_params(&masks->config.params, plan, masks->roster.sites_count, err);
    int self = hanse_secagg_roster_find(masks->members, agent->keys.trust.site_id);

    masks->config.roster = masks->members;
    masks->config.self = (uint32_t)self; /* the offer was verified: this site is in it */
    masks->config.key = agent->keys.sign;
    masks->config.policy = policy->masking;
    masks->config.ticket_life_ms = plan->aggregation.ticket_life_ms;
    masks->config.share_max_ppm = policy->share_max_ppm;
    memcpy(masks->config.run, offer->run, 16);
    memcpy(masks->config.plan_hash, offer->plan_hash, 32);
    memcpy(masks->config.seal_key, offer->seal_key, 32);
    return rc;
}

static hanse_rc masks_new(hanse_agent *agent, hanse_err *err)
{
    const hanse_trust trust = {agent->keys.ca, agent->keys.crl, false};
    hanse_agent_masks *masks = hanse_calloc(1, sizeof *masks);
    hanse_rc rc;

    if (masks == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a masked run");
    agent->masks = masks;
    masks->coordinator = agent->keys.coordinator;
    rc = hanse_buf_append(&masks->roster_bytes, agent->roster_bytes.data, agent->roster_bytes.len, err);
    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&masks->roster, hanse_buf_bytes(&masks->roster_bytes), err);
    if (rc == HANSE_OK)
        rc = hanse_masking_members(&masks->members, &masks->roster, agent->offer.offer.roster_hash, agent->keys.coordinator, &trust,
                                   hanse_clock_wall_ms(), err);
    if (rc == HANSE_OK)
        rc = configure(agent, masks, err);
    if (rc == HANSE_OK)
        rc = hanse_layout_of_plan(&masks->layout, agent->offer.plan, err);
    if (rc == HANSE_OK)
        rc = load_state(agent, masks, err);
    if (rc == HANSE_OK)
        rc = load_site(agent, masks, err);
    agent->masks_tick_ms = 0; /* at once: a process may be here for one round only */
    if (rc != HANSE_OK)
        hanse_agent_masks_free(agent);
    return rc;
}

void hanse_agent_masks_free(hanse_agent *agent)
{
    hanse_agent_masks *masks = agent->masks;

    if (masks == NULL)
        return;
    agent->masks = NULL;
    hanse_secagg_site_free(masks->site);
    hanse_secagg_roster_free(masks->members);
    hanse_roster_clear(&masks->roster);
    hanse_buf_clear(&masks->roster_bytes);
    hanse_layout_clear(&masks->layout);
    hanse_masking_state_clear(&masks->state);
    hanse_buf_clear(&masks->spec);
    hanse_buf_clear(&masks->spec_sig);
    hanse_buf_clear(&masks->tickets);
    hanse_buf_clear(&masks->shares);
    hanse_buf_clear(&masks->header);
    hanse_buf_clear(&masks->header_sig);
    hanse_free(masks);
}

/* ---- a step and its actions ---- */

static void move(hanse_buf *to, hanse_buf *from)
{
    hanse_buf_clear(to);
    *to = *from;
    *from = HANSE_BUF_EMPTY;
}

static hanse_rc send(hanse_agent *agent, const hanse_secagg_event *event, hanse_secagg_action *action, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    const hanse_bytes object = hanse_buf_bytes(&action->value), sig = hanse_buf_bytes(&action->sig);
    hanse_message message = {.kind = HANSE_EPOCH};

    if (strcmp(action->label, HANSE_SECAGG_UPLOAD_LABEL) == 0) { /* goes out when the work is durable */
        move(&masks->header, &action->value);
        move(&masks->header_sig, &action->sig);
        return HANSE_OK;
    }
    if (strcmp(action->label, HANSE_SECAGG_EPOCH_LABEL) == 0) {
        message.epoch = (hanse_msg_signed){object, sig};
    } else if (strcmp(action->label, HANSE_SECAGG_TICKET_LABEL) == 0) {
        message.kind = HANSE_TICKET;
        message.ticket = (hanse_msg_ticket){object, sig, hanse_buf_bytes(&action->extra)};
    } else if (strcmp(action->label, HANSE_SECAGG_CUTSIG_LABEL) == 0) {
        message.kind = HANSE_CUTSIG;
        message.cutsig = (hanse_msg_cutsig){.slot = event->slot, .object = object, .sig = sig};
        memcpy(message.cutsig.run, masks->config.run, 16);
    } else if (strcmp(action->label, HANSE_SECAGG_ANSWER_LABEL) == 0) {
        message.kind = HANSE_SHARES;
        message.shares = (hanse_msg_shares){.slot = event->slot, .sealed = hanse_buf_bytes(&action->extra)};
        memcpy(message.shares.run, masks->config.run, 16);
    } else {
        message.kind = HANSE_DEAD;
        message.dead = (hanse_msg_signed){object, sig};
    }
    return hanse_agent_send(agent, &message, err);
}

static hanse_rc act(hanse_agent *agent, const hanse_secagg_event *event, hanse_secagg_action *action, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;

    switch (action->kind) {
    case HANSE_SECAGG_DO_PUT:
        if (event->kind == HANSE_SECAGG_EV_RETRY)
            return hanse_site_store_retry_put(agent->store, masks->config.run, hanse_buf_bytes(&action->key), hanse_buf_bytes(&action->value), err);
        return hanse_site_store_fact_put(agent->store, hanse_buf_bytes(&action->key), hanse_buf_bytes(&action->value), err);
    case HANSE_SECAGG_DO_SEND:
        return send(agent, event, action, err);
    case HANSE_SECAGG_DO_TRAIN:
        masks->told = action->told;
        masks->reseed = action->reseed; /* `again` needs nothing: the same seed trains the same bits */
        return HANSE_OK;
    case HANSE_SECAGG_DO_ALARM:
        if (strcmp(action->label, HANSE_SECAGG_ALARM_ROLLED_BACK) == 0)
            hanse_log(HANSE_LOG_ERROR, "rolled_back text=others hold what this site signed and does not know: was an old copy restored? run `hanse-node recover`");
        else
            hanse_log(HANSE_LOG_ERROR, "two_cuts slot=%" PRIu64 " text=the coordinator signed two different sums of one round: stop this run and tell the consortium",
                  event->slot);
        return HANSE_OK;
    }
    return HANSE_FAIL(err, HANSE_E_USAGE, "unknown action %d", (int)action->kind);
}

/* A refusal is the other side's problem, or a matter of time: it goes to the log. */
static hanse_rc logged(hanse_rc rc, const char *what, uint64_t slot, hanse_err *err)
{
    if (rc == HANSE_OK || hanse_secagg_reason_of(err) == HANSE_SECAGG_NONE)
        return rc;
    hanse_log(HANSE_LOG_WARN, "%s slot=%" PRIu64 " code=%s reason=%s", what, slot, hanse_rc_name(rc), err->text);
    return HANSE_OK;
}

static hanse_msg_masks kept(const hanse_agent_masks *masks)
{
    return (hanse_msg_masks){.spec = hanse_buf_bytes(&masks->spec), .sig = hanse_buf_bytes(&masks->spec_sig),
                             .tickets = hanse_buf_bytes(&masks->tickets), .shares = hanse_buf_bytes(&masks->shares)};
}

/* A round's masks as an event of its slot; `list` is the caller's to free. */
static hanse_rc spec_event(const hanse_agent_masks *masks, const hanse_msg_masks *of, uint64_t slot, hanse_secagg_event *event, hanse_signed **list,
                           hanse_err *err)
{
    const size_t n = masks->roster.sites_count;
    size_t count = 0;
    hanse_rc rc = hanse_signed_list_decode(list, &count, of->tickets, n, err);

    if (rc == HANSE_OK && (count != n || of->shares.len != n * HANSE_SECAGG_CT_LEN))
        rc = HANSE_FAIL(err, HANSE_E_PROTOCOL, "MASKS with %zu tickets and %zu bytes of shares, the roster has %zu sites", count, of->shares.len, n);
    *event = (hanse_secagg_event){.kind = HANSE_SECAGG_EV_SPEC, .slot = slot, .object = {of->spec, of->sig}, .tickets = *list, .shares = of->shares};
    return rc;
}

/* Errors of the protocol (hanse_secagg_reason_of) leave the machine as it was; others are local and fatal. */
static hanse_rc run_event(hanse_agent *agent, hanse_secagg_event *event, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    hanse_secagg_actions actions = HANSE_SECAGG_ACTIONS_EMPTY;
    hanse_err why = {0};
    hanse_rc rc, done = HANSE_OK;
    bool ahead;

    event->now_ms = hanse_clock_wall_ms();
    rc = hanse_random(event->seed, sizeof event->seed, err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_secagg_site_step(masks->site, event, &actions, err);
    ahead = rc != HANSE_OK && rc != HANSE_E_USAGE && hanse_secagg_reason_of(err) == HANSE_SECAGG_NONE;
    for (size_t i = 0; done == HANSE_OK && i < actions.count; i++)
        done = act(agent, event, &actions.items[i], &why);
    hanse_secagg_actions_clear(&actions);
    hanse_wipe(event->seed, sizeof event->seed);
    if (done != HANSE_OK && err != NULL)
        *err = why;
    if (done != HANSE_OK || ahead) {
        hanse_secagg_site_free(masks->site);
        masks->site = NULL;
    }
    return done != HANSE_OK ? done : rc;
}

/* The machine, loaded again where it had to be let go. Of the rounds it had verified it is shown the newest again. */
static hanse_rc ready(hanse_agent *agent, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    hanse_secagg_event event;
    hanse_signed *list = NULL;
    hanse_msg_masks of = kept(masks);
    hanse_rc rc;

    if (masks->site != NULL)
        return HANSE_OK;
    rc = load_site(agent, masks, err);
    if (rc != HANSE_OK || masks->spec_slot == 0 || masks->refused.rc != HANSE_OK)
        return rc;
    rc = spec_event(masks, &of, masks->spec_slot, &event, &list, err);
    if (rc == HANSE_OK)
        rc = logged(run_event(agent, &event, err), "masks_refused", masks->spec_slot, err);
    hanse_free(list);
    return rc;
}

static hanse_rc step(hanse_agent *agent, hanse_secagg_event *event, hanse_err *err)
{
    hanse_rc rc = ready(agent, err);

    return rc == HANSE_OK ? run_event(agent, event, err) : rc;
}

static bool is_ours(const hanse_agent *agent, const uint8_t run[16])
{
    return agent->masks != NULL && memcmp(agent->masks->config.run, run, 16) == 0;
}

/* ---- epochs and tickets ---- */

static hanse_rc state_epoch(hanse_agent *agent, hanse_err *err)
{
    const hanse_agent_masks *masks = agent->masks;
    const uint64_t now_ms = hanse_clock_wall_ms(), life_ms = masks->config.ticket_life_ms;
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_EPOCH};
    hanse_rc rc = ready(agent, err);

    if (rc != HANSE_OK)
        return rc;
    if (hanse_secagg_site_epoch_until(masks->site) < now_ms + life_ms / 2) {
        event.epoch = (uint32_t)(now_ms / 1000); /* rises by itself, after a restored backup too */
        event.from_ms = now_ms;
        event.until_ms = now_ms + life_ms;
        rc = step(agent, &event, err);
        if (rc != HANSE_E_USAGE)
            return rc;
        event.epoch++; /* two in one second */
    }
    return step(agent, &event, err);
}

static uint64_t newest_slot(const hanse_agent *agent)
{
    const hanse_site_run *run = &agent->site.run;
    uint64_t newest = agent->masks->newest;

    if (run->stage != HANSE_STAGE_NONE && run->spec.slot > newest)
        newest = run->spec.slot;
    return run->has_result && run->result_slot > newest ? run->result_slot : newest;
}

static hanse_rc look_for_recover(hanse_agent *agent, hanse_err *err)
{
    return hanse_site_store_asked(agent->store, HANSE_SITE_ASK_RECOVER, agent->masks->config.run, &agent->masks->recovers, err);
}

/* The operator says that an old state was restored (`recover`): nothing is answered for slots that tickets may have been left for, and the
 * epoch is a new one. */
static hanse_rc take_recover(hanse_agent *agent, uint64_t newest, hanse_err *err)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_RECOVER, .slot = newest + TICKETS + 1};
    const uint8_t *run = agent->masks->config.run;
    hanse_rc rc = look_for_recover(agent, err);

    if (rc != HANSE_OK || !agent->masks->recovers)
        return rc;
    rc = step(agent, &event, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_ask_done(agent->store, HANSE_SITE_ASK_RECOVER, run, err);
    if (rc != HANSE_OK)
        return rc;
    agent->masks->recovers = false;
    hanse_log(HANSE_LOG_WARN, "recovered slot=%" PRIu64 " text=this site takes part again from that slot on", event.slot);
    memset(agent->masks->sent, 0, sizeof agent->masks->sent);
    return state_epoch(agent, err);
}

/* Certificates were renewed: the roster of the last OFFER has them, and the coordinator's own came by itself. */
static bool is_outdated(const hanse_agent *agent)
{
    return !hanse_bytes_equal(hanse_buf_bytes(&agent->masks->roster_bytes), hanse_buf_bytes(&agent->roster_bytes)) ||
           agent->masks->coordinator != agent->keys.coordinator;
}

hanse_rc hanse_agent_masks_begin(hanse_agent *agent, hanse_err *err)
{
    hanse_rc rc;

    if (!hanse_agent_is_masked(agent))
        return HANSE_OK;
    if (!is_ours(agent, agent->site.run.offer.run) || is_outdated(agent)) {
        hanse_agent_masks_free(agent);
        rc = masks_new(agent, err);
        if (rc != HANSE_OK)
            return rc;
    }
    memset(agent->masks->sent, 0, sizeof agent->masks->sent);
    rc = look_for_recover(agent, err);
    return rc == HANSE_OK ? logged(state_epoch(agent, err), "epoch_not_stated", 0, err) : rc;
}

static bool was_sent(const hanse_agent_masks *masks, uint64_t slot)
{
    return masks->sent[slot % TICKETS] == slot;
}

hanse_rc hanse_agent_masks_leave(hanse_agent *agent, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    hanse_rc rc = HANSE_OK;
    uint64_t newest, first;

    if (masks == NULL || masks->recovers || !is_ours(agent, agent->site.run.offer.run))
        return HANSE_OK;
    rc = ready(agent, err);
    if (rc != HANSE_OK)
        return rc;
    newest = newest_slot(agent);
    first = newest + 1 > hanse_secagg_site_floor(masks->site) ? newest + 1 : hanse_secagg_site_floor(masks->site);
    for (uint64_t slot = first; rc == HANSE_OK && slot < first + TICKETS && slot <= newest + HANSE_SECAGG_SLOTS_AHEAD; slot++) {
        hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_TICKET, .slot = slot, .newest_slot = newest,
                                    .until_ms = hanse_clock_wall_ms() + masks->config.ticket_life_ms};

        if (was_sent(masks, slot))
            continue;
        rc = step(agent, &event, err);
        if (rc == HANSE_OK) {
            masks->sent[slot % TICKETS] = slot;
        } else if (hanse_secagg_reason_of(err) != HANSE_SECAGG_NONE) {
            hanse_log(HANSE_LOG_INFO, "no_ticket slot=%" PRIu64 " reason=%s", slot, err->text); /* at the next contact, or the next list of epochs */
            rc = HANSE_OK;
            break;
        }
    }
    return rc;
}

hanse_rc hanse_agent_on_peers(hanse_agent *agent, const hanse_msg_peers *message, hanse_err *err)
{
    hanse_signed *list = NULL;
    size_t count = 0;
    hanse_rc rc;

    if (!is_ours(agent, message->run))
        return HANSE_OK;
    if (message->slot > SLOT_MAX)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "PEERS of a run at slot %" PRIu64, message->slot);
    if (message->slot > 0 && message->slot - 1 > agent->masks->newest)
        agent->masks->newest = message->slot - 1;
    rc = take_recover(agent, newest_slot(agent), err);
    if (rc == HANSE_OK)
        rc = hanse_signed_list_decode(&list, &count, message->epochs, agent->masks->roster.sites_count, err);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_PEER, .object = list[i]};

        if (list[i].bytes.len > 0)
            rc = logged(step(agent, &event, err), "epoch_refused", 0, err);
    }
    hanse_free(list);
    return rc == HANSE_OK ? hanse_agent_masks_leave(agent, err) : rc;
}

/* ---- a round ---- */

static hanse_rc keep(hanse_buf *to, hanse_bytes from, hanse_err *err)
{
    to->len = 0;
    return hanse_buf_append(to, from.data, from.len, err);
}

/* Only the newest are kept: those of an older slot come for a duty that is left from it, and may come after them. */
static hanse_rc keep_masks(hanse_agent_masks *masks, const hanse_msg_masks *message, hanse_err *err)
{
    hanse_rc rc = keep(&masks->spec, message->spec, err);

    if (rc == HANSE_OK)
        rc = keep(&masks->spec_sig, message->sig, err);
    if (rc == HANSE_OK)
        rc = keep(&masks->tickets, message->tickets, err);
    if (rc == HANSE_OK)
        rc = keep(&masks->shares, message->shares, err);
    return rc;
}

hanse_rc hanse_agent_on_masks(hanse_agent *agent, const hanse_msg_masks *message, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    hanse_secagg_event event;
    hanse_secagg_spec spec = {.segments = NULL};
    hanse_signed *list = NULL;
    hanse_err why = {0};
    hanse_rc rc = hanse_secagg_spec_decode(&spec, message->spec, err);

    if (rc != HANSE_OK || !is_ours(agent, spec.run) || masks->recovers)
        goto done;
    rc = spec_event(masks, message, spec.slot, &event, &list, err);
    if (rc == HANSE_OK && spec.slot >= masks->spec_slot) {
        masks->spec_slot = spec.slot;
        masks->refused = (hanse_err){.rc = HANSE_OK};
        rc = keep_masks(masks, message, err);
        if (rc != HANSE_OK)
            masks->spec_slot = 0; /* a part of them is none */
    }
    if (rc != HANSE_OK)
        goto done;
    rc = step(agent, &event, &why);
    if (rc != HANSE_OK && spec.slot == masks->spec_slot)
        masks->refused = why;
    rc = logged(rc, "masks_refused", spec.slot, &why);
    if (rc != HANSE_OK && err != NULL)
        *err = why;
done:
    hanse_secagg_spec_clear(&spec);
    hanse_free(list);
    return rc;
}

/* The run's plain spec and the masks are one round, made as the plan and the last result say. */
static hanse_rc check_masks(const hanse_agent *agent, hanse_err *err)
{
    const hanse_agent_masks *masks = agent->masks;
    const hanse_site_run *run = &agent->site.run;
    hanse_secagg_spec spec;
    hanse_rc rc;

    if (masks != NULL && masks->recovers)
        return HANSE_SECAGG_FAIL(err, ROLLBACK, "this site recovers first: it takes part in a later round");
    if (masks == NULL || masks->spec_slot != run->spec.slot)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a masked round without its masks");
    if (masks->refused.rc != HANSE_OK) {
        if (err != NULL)
            *err = masks->refused;
        return masks->refused.rc;
    }
    rc = hanse_secagg_spec_decode(&spec, hanse_buf_bytes(&masks->spec), err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_masking_spec_check(&spec, agent->offer.plan, &masks->layout, masks->roster.sites_count, &masks->state, &run->spec, run->spec_hash, err);
    hanse_secagg_spec_clear(&spec);
    return rc;
}

/* What is below this site's floors, or not what it accepted, is its policy's refusal. */
static hanse_rc as_policy(hanse_rc rc, hanse_err *err)
{
    const hanse_secagg_reason reason = hanse_secagg_reason_of(err);

    if (rc == HANSE_OK || (reason != HANSE_SECAGG_COHORT && reason != HANSE_SECAGG_RANGE && reason != HANSE_SECAGG_PLAN && reason != HANSE_SECAGG_DIFF))
        return rc;
    err->rc = HANSE_E_POLICY;
    return HANSE_E_POLICY;
}

/* The operator has allowed one more burnt slot (`accept retry`). */
static hanse_rc take_retry(hanse_agent *agent, hanse_err *err)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_RETRY};
    bool asked = false;
    hanse_rc rc = hanse_site_store_asked(agent->store, HANSE_SITE_ASK_RETRY, agent->masks->config.run, &asked, err);

    return rc == HANSE_OK && asked ? step(agent, &event, err) : rc;
}

hanse_rc hanse_agent_masks_take_part(hanse_agent *agent, hanse_node_job *job, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    const hanse_site_run *run = &agent->site.run;
    char hex[33], name[128];
    hanse_secagg_event event;
    hanse_signed *list = NULL;
    hanse_msg_masks of;
    hanse_rc rc = check_masks(agent, err);

    if (rc == HANSE_OK)
        rc = take_retry(agent, err);
    if (rc == HANSE_OK) {
        of = kept(masks);
        rc = spec_event(masks, &of, run->spec.slot, &event, &list, err);
    }
    if (rc == HANSE_OK) {
        event.take_part = true;
        event.weight = run->spec.kind == HANSE_ROUND_TRAINING && run->counted > 0 ? run->counted : 1; /* joining: no weight yet */
        memcpy(event.model_root, run->spec.model_root, 32);
        rc = step(agent, &event, err);
    }
    rc = as_policy(rc, err);
    hanse_free(list);
    if (rc != HANSE_OK)
        return rc;
    job->mask.counted = run->counted;
    job->mask.reseed = masks->reseed;
    job->mask.told = masks->told;
    memcpy(job->mask.site_id, agent->keys.trust.site_id, 32);
    hanse_hex_encode(hex, run->offer.run, 16);
    (void)snprintf(name, sizeof name, "work/%s-%" PRIu64 ".masked", hex, run->spec.slot);
    rc = hanse_path_join(job->mask.path, agent->dir, name, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&job->mask.spec, masks->spec.data, masks->spec.len, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_masker_new(&job->mask.masker, masks->site, err);
    return rc;
}

hanse_rc hanse_agent_masks_upload(hanse_agent *agent, const hanse_node_job *job, hanse_site_work *work, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_UPLOAD, .slot = job->spec.slot};
    const char *name = strrchr(job->mask.path, '/');
    hanse_rc rc;

    memcpy(event.root, job->mask.root, 32);
    rc = step(agent, &event, err);
    if (rc != HANSE_OK)
        return rc;
    move(&work->header, &masks->header);
    move(&work->sig, &masks->header_sig);
    hanse_text_copy(work->trained, sizeof work->trained, hanse_bytes_str(name != NULL ? name + 1 : job->mask.path));
    return hanse_buf_append(&work->masks, job->mask.spec.data, job->mask.spec.len, err);
}

hanse_rc hanse_agent_masks_received(hanse_agent *agent, hanse_err *err)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_RECEIPT, .slot = agent->site.run.spec.slot};

    if (!is_ours(agent, agent->site.run.offer.run))
        return HANSE_OK;
    return step(agent, &event, err);
}

hanse_rc hanse_agent_masks_check(const hanse_agent *agent, const hanse_result *result, hanse_err *err)
{
    const hanse_agent_masks *masks = agent->masks;
    hanse_masking_state next = HANSE_MASKING_STATE_EMPTY;
    hanse_rc rc;

    if (!is_ours(agent, result->run) || result->masking.len == 0)
        return HANSE_OK;
    rc = hanse_masking_state_decode(&next, agent->offer.plan, &masks->layout, result->masking, err);
    if (rc == HANSE_OK && next.weight_total < masks->state.weight_total)
        rc = HANSE_FAIL(err, HANSE_E_AUTH, "the total of rows went from %" PRIu64 " down to %" PRIu64, masks->state.weight_total, next.weight_total);
    hanse_masking_state_clear(&next);
    return rc;
}

hanse_rc hanse_agent_masks_result(hanse_agent *agent, const hanse_result *result, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_RESULT, .slot = result->slot};
    hanse_masking_state next = HANSE_MASKING_STATE_EMPTY;
    hanse_rc rc = HANSE_OK;

    if (!is_ours(agent, result->run))
        return HANSE_OK;
    if (result->masking.len > 0) {
        rc = hanse_masking_state_decode(&next, agent->offer.plan, &masks->layout, result->masking, err);
        if (rc != HANSE_OK)
            return rc;
        hanse_masking_state_clear(&masks->state);
        masks->state = next;
    }
    if (result->status == HANSE_ROUND_PUBLISHED) {
        hanse_err why = {0};

        rc = step(agent, &event, &why);
        if (rc != HANSE_OK && err != NULL)
            *err = why;
    }
    return rc == HANSE_OK && result->state == HANSE_RUN_GOES_ON ? hanse_agent_masks_leave(agent, err) : rc;
}

hanse_rc hanse_agent_masks_over(hanse_agent *agent, hanse_err *err)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_OVER};
    hanse_rc rc;

    if (!is_ours(agent, agent->site.run.offer.run))
        return HANSE_OK;
    rc = step(agent, &event, err);
    return rc == HANSE_OK ? hanse_site_store_scrub(agent->store, err) : rc;
}

/* ---- as a holder of others' shares ---- */

hanse_rc hanse_agent_on_cut(hanse_agent *agent, const hanse_msg_cut *message, hanse_err *err)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_CUT, .object = {message->cut, message->sig}};
    hanse_signed *uploads = NULL, *signatures = NULL;
    hanse_secagg_cut cut;
    size_t count = 0;
    hanse_rc rc = hanse_secagg_cut_decode(&cut, message->cut, err);

    if (rc != HANSE_OK)
        return rc;
    if (!is_ours(agent, cut.run) || agent->masks->recovers)
        goto done;
    event.slot = cut.slot;
    rc = hanse_signed_list_decode(&uploads, &count, message->uploads, agent->masks->roster.sites_count, err);
    if (rc == HANSE_OK && count != agent->masks->roster.sites_count)
        rc = HANSE_FAIL(err, HANSE_E_PROTOCOL, "CUT with %zu headers, the roster has %zu sites", count, agent->masks->roster.sites_count);
    if (rc == HANSE_OK)
        rc = hanse_signed_list_decode(&signatures, &event.signatures_count, message->signatures, agent->masks->roster.sites_count, err);
    if (rc != HANSE_OK)
        goto done;
    event.uploads = uploads;
    event.signatures = signatures;
    rc = logged(step(agent, &event, err), "cut_refused", cut.slot, err);
done:
    hanse_secagg_cut_clear(&cut);
    hanse_free(uploads);
    hanse_free(signatures);
    return rc;
}

hanse_rc hanse_agent_on_ask_dead(hanse_agent *agent, const hanse_msg_ask_dead *message, hanse_err *err)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_DEAD, .slot = message->slot};

    return is_ours(agent, message->run) && !agent->masks->recovers ? logged(step(agent, &event, err), "dead_refused", message->slot, err) : HANSE_OK;
}

hanse_rc hanse_agent_on_abort(hanse_agent *agent, const hanse_msg_abort *message, hanse_err *err)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_ABORT, .slot = message->slot};
    hanse_signed *deads = NULL;
    hanse_rc rc;

    if (!is_ours(agent, message->run))
        return HANSE_OK;
    rc = hanse_signed_list_decode(&deads, &event.signatures_count, message->deads, agent->masks->roster.sites_count, err);
    event.signatures = deads;
    if (rc == HANSE_OK)
        rc = logged(step(agent, &event, err), "abort_refused", message->slot, err);
    hanse_free(deads);
    return rc;
}

hanse_rc hanse_agent_masks_tick(hanse_agent *agent, uint64_t now_ms, hanse_err *err)
{
    hanse_agent_masks *masks = agent->masks;
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_TICK};
    const hanse_trust trust = {agent->keys.ca, agent->keys.crl, false};
    hanse_rc rc;

    if (now_ms < agent->masks_tick_ms)
        return HANSE_OK;
    agent->masks_tick_ms = now_ms + (masks != NULL ? TICK_MS : IDLE_TICK_MS);
    if (masks == NULL)
        return hanse_agent_masks_forget(agent, NULL, err);
    if (hanse_secagg_roster_refresh(masks->members, &trust, (int64_t)(now_ms / 1000), err) != HANSE_OK)
        hanse_log(HANSE_LOG_WARN, "roster_not_trusted reason=%s", err->text);
    rc = step(agent, &event, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_scrub(agent->store, err);
    if (rc == HANSE_OK && hanse_secagg_site_epoch_until(masks->site) < now_ms + masks->config.ticket_life_ms / 2)
        rc = logged(state_epoch(agent, err), "epoch_not_stated", 0, err);
    return rc;
}
