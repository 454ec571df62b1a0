/* Messages become events: decode, verify the signature, load what the store knows. */
#include "node/agent_masks.h"
#include "node/renew.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/log.h"

#include <inttypes.h>

static hanse_rc on_welcome(hanse_agent *agent, const hanse_msg_welcome *welcome, hanse_err *err)
{
    const uint64_t now_ms = hanse_clock_wall_ms();
    hanse_site_event event = {.kind = HANSE_SITE_EV_CONNECTED, .now_ms = now_ms};
    hanse_rc rc;

    if (welcome->protocol != HANSE_PROTOCOL)
        return HANSE_FAIL(err, HANSE_E_VERSION, "the coordinator speaks protocol %u, this node %u", welcome->protocol, HANSE_PROTOCOL);
    agent->skew_ms = (int64_t)(welcome->time_ms - now_ms);
    if (agent->skew_ms > (int64_t)HANSE_CLOCK_SKEW_MS || agent->skew_ms < -(int64_t)HANSE_CLOCK_SKEW_MS)
        return HANSE_FAIL(err, HANSE_E_INVALID, "this clock and the coordinator's differ by %" PRId64 " s: set the clock (NTP)", agent->skew_ms / 1000);
    rc = hanse_node_keys_take_crl(&agent->keys, agent->dir, agent->store, welcome->crl, now_ms, err);
    if (rc != HANSE_OK)
        return rc;
    agent->welcomed = true;
    agent->failures = 0;
    agent->rtt_us = hanse_clock_mono_us() - agent->hello_us;
    hanse_log(HANSE_LOG_INFO, "connected coordinator=%s skew_ms=%" PRId64, agent->config->coordinator, agent->skew_ms);
    rc = hanse_agent_renew_tick(agent, now_ms, err);
    return rc == HANSE_OK ? hanse_agent_feed(agent, &event, err) : rc;
}

#define OFFERS_KEPT 256 /* files in each folder: a coordinator that offers without end does not fill the disk */

/* A file under its hash, and only so many of them. */
static hanse_rc keep_file(const hanse_agent *agent, const char *folder, const uint8_t hash[32], const char *suffix, hanse_bytes content,
                          hanse_err *err)
{
    hanse_path path, dir;
    hanse_rc rc = hanse_node_hash_path(path, agent->dir, folder, hash, 32, suffix, err);

    if (rc != HANSE_OK || hanse_file_exists(path))
        return rc;
    rc = hanse_path_join(dir, agent->dir, folder, err);
    if (rc == HANSE_OK)
        rc = hanse_dir_keep_newest(dir, OFFERS_KEPT - 1, err);
    return rc == HANSE_OK ? hanse_file_write(path, content, HANSE_MODE_PUBLIC, err) : rc;
}

/* Plan and roster beside the store, under their hashes, for the operator to read. */
static hanse_rc keep_offer(hanse_agent *agent, const hanse_site_offer *offer, const hanse_msg_offer *message, uint64_t now_ms, hanse_err *err)
{
    hanse_rc rc = keep_file(agent, "plans", offer->offer.plan_hash, ".yaml", message->plan, err);

    if (rc == HANSE_OK)
        rc = keep_file(agent, "rosters", offer->offer.roster_hash, ".roster", message->roster, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_offer(agent->store, &offer->offer, now_ms, err);
    return rc;
}

static hanse_rc refuse(hanse_agent *agent, const hanse_offer *offer, const hanse_err *why, hanse_err *err)
{
    hanse_message answer = {.kind = HANSE_ANSWER, .answer = {.accepted = false, .code = hanse_bytes_str(hanse_rc_name(why->rc)),
                                                             .reason = hanse_bytes_str(why->text)}};

    memcpy(answer.answer.run, offer->run, 16);
    hanse_log(HANSE_LOG_WARN, "offer_refused code=%s reason=%s", hanse_rc_name(why->rc), why->text);
    agent->reported = true;
    agent->outcome = *why;
    return agent->options.look ? HANSE_OK : hanse_agent_send(agent, &answer, err);
}

static bool in_run(const hanse_agent *agent)
{
    return agent->site.state >= HANSE_SITE_APPROVED && agent->site.state <= HANSE_SITE_WAITING;
}

static hanse_rc on_offer(hanse_agent *agent, const hanse_msg_offer *message, hanse_err *err)
{
    const uint64_t now_ms = hanse_clock_wall_ms();
    hanse_site_offer offer;
    hanse_site_run run = {0};
    hanse_site_event event = {.kind = HANSE_SITE_EV_OFFER, .now_ms = now_ms, .run = &run};
    hanse_err why = {0};
    hanse_rc rc = hanse_site_offer_verify(&offer, &agent->keys.trust, message, now_ms, &why);

    if (rc != HANSE_OK) {
        if (offer.authentic) {
            rc = refuse(agent, &offer.offer, &why, err);
        } else if (err != NULL) {
            *err = why;
        }
        goto done;
    }
    rc = keep_offer(agent, &offer, message, now_ms, err);
    if (rc != HANSE_OK || agent->options.look)
        goto done;
    if ((in_run(agent) || agent->final.active) && memcmp(offer.offer.run, agent->site.run.offer.run, 16) != 0) {
        agent->others = true; /* its turn comes: everything is offered afresh then */
        goto done;
    }
    rc = hanse_site_store_run_load(agent->store, offer.offer.run, &run, err);
    if (rc == HANSE_E_NOTFOUND) {
        run.offer = offer.offer;
    } else if (rc != HANSE_OK) {
        goto done;
    } else if (memcmp(&run.offer, &offer.offer, sizeof run.offer) != 0) {
        why.rc = HANSE_FAIL(&why, HANSE_E_AUTH, "this run was offered before with other hashes or another sealing key");
        rc = refuse(agent, &offer.offer, &why, err);
        goto done;
    }
    if (!in_run(agent)) {
        hanse_site_offer_clear(&agent->offer);
        agent->offer = offer;
        memset(&offer, 0, sizeof offer);
        hanse_buf_clear(&agent->plan_text);
        hanse_buf_clear(&agent->roster_bytes);
        rc = hanse_buf_append(&agent->plan_text, message->plan.data, message->plan.len, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&agent->roster_bytes, message->roster.data, message->roster.len, err);
    } else {
        rc = HANSE_OK;
    }
    if (rc == HANSE_OK)
        rc = hanse_agent_feed(agent, &event, err);
done:
    hanse_site_offer_clear(&offer);
    return rc;
}

static hanse_rc on_spec(hanse_agent *agent, const hanse_msg_spec *message, hanse_err *err)
{
    uint8_t hash[32];
    hanse_spec spec;
    hanse_site_event event = {.kind = HANSE_SITE_EV_SPEC, .now_ms = hanse_clock_wall_ms(), .spec = &spec, .hash = hash};
    hanse_rc rc = hanse_site_spec_verify(&spec, &agent->keys.trust, message, event.now_ms, err);

    if (rc == HANSE_OK)
        rc = hanse_object_hash(hash, message->spec, err);
    if (rc != HANSE_OK)
        return rc;
    hanse_buf_clear(&agent->statistics);
    rc = message->statistics.len == 0 ? HANSE_OK : hanse_buf_append(&agent->statistics, message->statistics.data, message->statistics.len, err);
    return rc == HANSE_OK ? hanse_agent_feed(agent, &event, err) : rc;
}

static hanse_rc on_receipt(hanse_agent *agent, const hanse_msg_signed *message, hanse_err *err)
{
    uint8_t upload_hash[32] = {0};
    hanse_receipt receipt;
    hanse_site_event event = {.kind = HANSE_SITE_EV_RECEIPT, .now_ms = hanse_clock_wall_ms(), .receipt = &receipt,
                              .upload_hash = upload_hash, .site_id = agent->keys.trust.site_id,
                              .object = message->object};
    bool received;
    hanse_rc rc = hanse_site_signed_verify(&agent->keys.trust, HANSE_RECEIPT_LABEL, message->object, message->sig, event.now_ms, err);

    if (rc == HANSE_OK)
        rc = hanse_receipt_decode(&receipt, message->object, err);
    if (rc == HANSE_OK && agent->work.header.len > 0)
        rc = hanse_object_hash(upload_hash, hanse_buf_bytes(&agent->work.header), err);
    if (rc != HANSE_OK)
        return rc;
    received = agent->site.state == HANSE_SITE_UPLOADING;
    rc = hanse_agent_feed(agent, &event, err);
    if (received && agent->site.state == HANSE_SITE_WAITING)
        agent->troubles = 0;
    return rc;
}

/* Rows of our contribution to the slot: they count in the run's total from its result on. */
static hanse_rc rows_of(hanse_agent *agent, const hanse_result *result, uint64_t *rows, hanse_err *err)
{
    hanse_site_work work = {.slot = 0};
    hanse_rc rc;

    if (!hanse_agent_is_masked(agent) || memcmp(result->run, agent->site.run.offer.run, 16) != 0)
        return HANSE_OK;
    rc = hanse_site_store_work_load(agent->store, result->run, result->slot, &work, err);
    *rows = rc == HANSE_OK ? work.weight : 0;
    hanse_site_work_clear(&work);
    return rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
}

/* A run ended without this site, which had begun to work for it before it was restarted: that is put away. */
static hanse_rc over_without_us(hanse_agent *agent, const hanse_result *result, hanse_err *err)
{
    hanse_site_run run;
    hanse_rc rc = hanse_site_store_run_load(agent->store, result->run, &run, err);

    if (rc != HANSE_OK)
        return rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
    if (run.run_state != HANSE_RUN_GOES_ON)
        return HANSE_OK;
    agent->site.run = run;
    agent->site.run.run_state = (hanse_run_state)result->state;
    agent->site.state = HANSE_SITE_DONE;
    return hanse_agent_run_over(agent, err);
}

static hanse_rc on_result(hanse_agent *agent, const hanse_msg_signed *message, hanse_err *err)
{
    uint8_t hash[32];
    hanse_result result = {0};
    hanse_site_event event = {.kind = HANSE_SITE_EV_RESULT, .now_ms = hanse_clock_wall_ms(), .result = &result, .hash = hash,
                              .site_id = agent->keys.trust.site_id, .object = message->object, .sig = message->sig};
    hanse_rc rc = hanse_site_signed_verify(&agent->keys.trust, HANSE_RESULT_LABEL, message->object, message->sig, event.now_ms, err);

    if (rc == HANSE_OK)
        rc = hanse_result_decode(&result, message->object, err);
    if (rc == HANSE_OK && hanse_site_is_past(&agent->site, &result))
        goto done;
    if (rc == HANSE_OK && result.state != HANSE_RUN_GOES_ON && !in_run(agent) && !agent->final.active) {
        rc = over_without_us(agent, &result, err);
        goto done;
    }
    if (rc == HANSE_OK)
        rc = hanse_object_hash(hash, message->object, err);
    if (rc == HANSE_OK)
        rc = hanse_agent_masks_check(agent, &result, err);
    if (rc == HANSE_OK)
        rc = rows_of(agent, &result, &event.rows, err);
    if (rc == HANSE_OK)
        rc = hanse_agent_feed(agent, &event, err);
    if (rc == HANSE_OK)
        rc = hanse_agent_masks_result(agent, &result, err);
done:
    hanse_result_clear(&result);
    return rc;
}

static hanse_rc on_reject(hanse_agent *agent, const hanse_msg_refusal *message, hanse_err *err)
{
    char code[HANSE_CODE_MAX + 1], words[HANSE_REASON_MAX + 1];
    hanse_site_event event = {.kind = HANSE_SITE_EV_REJECT, .now_ms = hanse_clock_wall_ms(), .run_id = message->run,
                              .round = message->round, .attempt = message->attempt, .words = words};

    hanse_text_copy(code, sizeof code, message->code);
    hanse_text_copy(words, sizeof words, message->reason);
    event.rc = hanse_rc_from_name(code);
    return hanse_agent_feed(agent, &event, err);
}

static hanse_rc on_error(hanse_agent *agent, const hanse_msg_error *message, hanse_err *err)
{
    char code[HANSE_CODE_MAX + 1], words[HANSE_REASON_MAX + 1];

    hanse_text_copy(code, sizeof code, message->code);
    hanse_text_copy(words, sizeof words, message->reason);
    if (hanse_rc_exit_code(hanse_rc_from_name(code)) == hanse_rc_exit_code(HANSE_E_FULL))
        agent->troubles++; /* a full disk is not emptied in an instant */
    /* Its troubles are not ours: only a refusal of this site ends the process, anything else is tried again. */
    if (hanse_rc_from_name(code) == HANSE_E_IDENTITY || hanse_rc_from_name(code) == HANSE_E_VERSION)
        return HANSE_FAIL(err, hanse_rc_from_name(code), "the coordinator says: %s", words);
    return HANSE_FAIL(err, HANSE_E_LINK, "the coordinator says: %s: %s", code, words);
}

static hanse_rc on_masked(hanse_agent *agent, const hanse_message *message, hanse_err *err)
{
    switch (message->kind) {
    case HANSE_PEERS:    return hanse_agent_on_peers(agent, &message->peers, err);
    case HANSE_MASKS:    return hanse_agent_on_masks(agent, &message->masks, err);
    case HANSE_CUT:      return hanse_agent_on_cut(agent, &message->cut, err);
    case HANSE_ASK_DEAD: return hanse_agent_on_ask_dead(agent, &message->ask_dead, err);
    case HANSE_ABORT:    return hanse_agent_on_abort(agent, &message->abort, err);
    default:             return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s out of turn", hanse_kind_name(message->kind));
    }
}

static hanse_rc on_message(void *user, const hanse_message *message, hanse_err *err)
{
    hanse_agent *agent = user;
    hanse_site_event event = {.now_ms = hanse_clock_wall_ms()};

    agent->active_us = hanse_clock_mono_us();
    hanse_log(HANSE_LOG_DEBUG, "message kind=%s", hanse_kind_name(message->kind));
    if (message->kind == HANSE_ERROR)
        return on_error(agent, &message->error, err);
    if ((message->kind == HANSE_WELCOME) == agent->welcomed)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s out of turn", hanse_kind_name(message->kind));
    switch (message->kind) {
    case HANSE_WELCOME: return on_welcome(agent, &message->welcome, err);
    case HANSE_OFFER:   return on_offer(agent, &message->offer, err);
    case HANSE_SPEC:    return agent->options.look ? HANSE_OK : on_spec(agent, &message->spec, err);
    case HANSE_RESULT:  return agent->options.look ? HANSE_OK : on_result(agent, &message->result, err);
    case HANSE_MODEL:   return hanse_node_fetch_announced(&agent->fetch, &message->model, err);
    case HANSE_RENEWED: return hanse_agent_on_renewed(agent, &message->renewed, err);
    case HANSE_RECEIPT: return on_receipt(agent, &message->receipt, err);
    case HANSE_REJECT:  return on_reject(agent, &message->reject, err);
    case HANSE_RESUME:
        event.kind = HANSE_SITE_EV_RESUME;
        event.transfer = message->resume.transfer;
        event.chunks = message->resume.chunks;
        return hanse_agent_feed(agent, &event, err);
    case HANSE_BYE:
        return HANSE_FAIL(err, HANSE_E_LINK, "the coordinator said goodbye");
    default:
        return agent->options.look ? HANSE_OK : on_masked(agent, message, err);
    }
}

static hanse_rc on_chunk_head(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    hanse_agent *agent = user;

    agent->active_us = hanse_clock_mono_us();
    return hanse_node_fetch_head(&agent->fetch, head, err);
}
static hanse_rc on_chunk_data(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err)
{
    (void)head;
    return hanse_node_fetch_data(&((hanse_agent *)user)->fetch, offset, piece, err);
}
static hanse_rc on_chunk_end(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    hanse_agent *agent = user;
    hanse_site_event event = {.kind = HANSE_SITE_EV_FETCHED, .now_ms = hanse_clock_wall_ms()};
    bool whole;
    hanse_rc rc = hanse_node_fetch_end(&agent->fetch, head, &whole, err);

    if (rc != HANSE_OK || !whole)
        return rc;
    return agent->final.active ? hanse_agent_final_next(agent, err) : hanse_agent_feed(agent, &event, err);
}

const hanse_inbox_ops hanse_agent_ops = {on_message, on_chunk_head, on_chunk_data, on_chunk_end};
