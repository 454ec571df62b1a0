/* contribution.c - what a site gives to a round: its header, its bytes, the receipt, and the actions of the round's machine
 * (coordinator/round). What is in the bytes is for sealed_work.c or masked_work.c. */
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/log.h"

#include <inttypes.h>
#include <stdio.h>

static void send_refusal(hanse_live_run *run, size_t member, hanse_rc rc, const char *words)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    hanse_message message = {.kind = HANSE_REJECT};

    if (session == NULL)
        return;
    memcpy(message.reject.run, run->row.run_id, 16);
    message.reject.round = run->current.round;
    message.reject.attempt = run->current.attempt;
    message.reject.code = hanse_bytes_str(hanse_rc_name(rc));
    message.reject.reason = hanse_bytes_str(words);
    hanse_session_send(session, &message);
}

/* Does the header belong to this site, this round and this model? Its signature is what makes the site answer for it. */
static hanse_rc check_sealed_header(const hanse_live_run *run, size_t member, const hanse_msg_signed *upload, const hanse_upload *header, hanse_err *err)
{
    const hanse_roster_site *site = &run->roster.sites[member];
    uint64_t data_len = run->current.kind == HANSE_ROUND_TRAINING ? 4 * (uint64_t)run->layout.parameters : 0;
    uint64_t aux_len = 8 * (uint64_t)hanse_aux_words(run->plan, run->current.kind);
    hanse_cert *cert = NULL;
    hanse_rc rc;

    if (memcmp(header->site_id, site->id, 32) != 0)
        return HANSE_FAIL(err, HANSE_E_AUTH, "the upload names another site than its connection");
    if (header->round != run->current.round || header->attempt != run->current.attempt || header->slot != run->current.slot ||
        memcmp(header->spec_hash, run->current.spec_hash, 32) != 0)
        return HANSE_FAIL(err, HANSE_E_LATE, "the upload is for round %" PRIu64 " attempt %" PRIu32 ", open is round %" PRIu64 " attempt %" PRIu32,
                          header->round, header->attempt, run->current.round, run->current.attempt);
    if (memcmp(header->key_id, run->key_id, 32) != 0 || memcmp(header->plan_hash, run->row.plan_hash, 32) != 0 ||
        memcmp(header->model_root, run->spec.model_root, 32) != 0)
        return HANSE_FAIL(err, HANSE_E_AUTH, "the upload names another key, plan or model than the round's");
    if (header->data_len != data_len || header->aux_len != aux_len)
        return HANSE_FAIL(err, HANSE_E_SHAPE, "%" PRIu64 " + %" PRIu64 " bytes, this round takes %" PRIu64 " + %" PRIu64, header->aux_len,
                          header->data_len, aux_len, data_len);
    rc = hanse_cert_from_der(&cert, site->cert, err);
    if (rc == HANSE_OK)
        rc = hanse_verify_object(hanse_cert_key(cert), HANSE_UPLOAD_LABEL, upload->object, upload->sig, err);
    hanse_cert_free(cert);
    return rc;
}

/* What the uploads of open rounds take, or will take when they are whole; with `site_id` those of that site. */
static uint64_t spooled_bytes(const hanse_server *server, const uint8_t *site_id)
{
    uint64_t bytes = 0;

    for (const hanse_live_run *run = server->runs; run != NULL; run = run->next)
        for (size_t i = 0; i < run->roster.sites_count; i++)
            if (site_id == NULL || memcmp(run->roster.sites[i].id, site_id, 32) == 0)
                bytes += hanse_spool_size(&run->members[i].spool);
    return bytes;
}

/* Is there room for one more upload of that site? */
static hanse_rc check_quota(const hanse_server *server, const hanse_spool_shape *shape, hanse_err *err)
{
    uint64_t bytes = hanse_spool_shape_size(shape);

    if (spooled_bytes(server, NULL) + bytes > server->config->limits.spool_bytes)
        return HANSE_FAIL(err, HANSE_E_FULL, "the coordinator's spool is full (limits: spool): try again later");
    if (spooled_bytes(server, shape->site_id) + bytes > server->config->limits.spool_bytes_per_site)
        return HANSE_FAIL(err, HANSE_E_FULL, "%" PRIu64 " bytes are more than this site's part of the spool has left (limits: spool_per_site)",
                          bytes);
    return HANSE_OK;
}

/* Names the round that the upload is for: the site may be at work on the next one already. */
static void refuse_upload(hanse_session *session, const uint8_t run_id[16], uint64_t round, uint32_t attempt, hanse_rc rc, const char *words)
{
    hanse_message message = {.kind = HANSE_REJECT};

    if (hanse_session_may_log(session))
        hanse_log(HANSE_LOG_WARN, "contribution_refused site=%s round=%" PRIu64 " code=%s reason=%s", session->name, round, hanse_rc_name(rc), words);
    memcpy(message.reject.run, run_id, 16);
    message.reject.round = round;
    message.reject.attempt = attempt;
    message.reject.code = hanse_bytes_str(hanse_rc_name(rc));
    message.reject.reason = hanse_bytes_str(words);
    hanse_session_send(session, &message);
}

static hanse_rc open_spool(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_signed *upload, hanse_spool_shape *shape,
                           hanse_err *err)
{
    hanse_spool *spool = &run->members[member].spool;
    hanse_rc rc;

    hanse_spool_close(spool);
    rc = check_quota(run->server, shape, err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_spool_open(spool, run->server->dir, shape, upload->object, upload->sig, err);
    shape->offsets = NULL; /* the spool's */
    if (rc != HANSE_OK)
        return rc;
    spool->gather.cap = hanse_server_part(run->server, HANSE_GATHER_LEN);
    session->up.run = run;
    session->up.member = member;
    session->up.slot = run->current.slot;
    session->up.transfer = ++session->transfers;
    return HANSE_OK;
}

/* A header that belongs to the round: let its bytes come, from where they stopped. */
static void take_upload(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_signed *upload, hanse_spool_shape *shape)
{
    hanse_round_event event = {.kind = HANSE_ROUND_EV_UPLOAD, .now_ms = hanse_clock_wall_ms(), .member = member};
    hanse_message resume = {.kind = HANSE_RESUME};
    hanse_spool *spool = &run->members[member].spool;
    hanse_err err = {0};
    hanse_rc rc;

    hanse_live_run_event(run, &event, &err);
    if (!run->round_open || run->round.members[member] != HANSE_MEMBER_UPLOADING)
        return;
    rc = open_spool(run, session, member, upload, shape, &err);
    if (rc != HANSE_OK) { /* our trouble, not the contribution's: the site keeps it, comes back, and the round may still take it */
        hanse_session_refuse(session, rc, err.text);
        return;
    }
    resume.resume.transfer = session->up.transfer;
    resume.resume.chunks = spool->held;
    if (spool->held > 0 && hanse_session_may_log(session))
        hanse_log(HANSE_LOG_INFO, "upload_resumed run=%s site=%s chunks=%" PRIu64 " of=%" PRIu64, run->row.name, session->name, spool->held,
                  spool->shape.chunks);
    hanse_session_send(session, &resume);
    if (spool->held == spool->shape.chunks)
        hanse_live_run_complete(run, member);
}

void hanse_live_run_upload(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_signed *upload)
{
    hanse_spool_shape shape = {.offsets = NULL};
    hanse_upload header = {0};
    hanse_err err = {0};
    hanse_rc rc = hanse_upload_decode(&header, upload->object, &err);

    if (rc == HANSE_OK && run->masks != NULL)
        rc = HANSE_FAIL(&err, HANSE_E_PROTOCOL, "a sealed upload to a masked run");
    if (rc == HANSE_OK && !run->round_open)
        rc = HANSE_FAIL(&err, HANSE_E_LATE, "that round is over");
    if (rc == HANSE_OK)
        rc = check_sealed_header(run, member, upload, &header, &err);
    if (rc == HANSE_OK)
        rc = hanse_sealed_shape(&shape, &header, &err);
    if (rc == HANSE_OK)
        take_upload(run, session, member, upload, &shape);
    else
        refuse_upload(session, header.run, header.round, header.attempt, rc, err.text);
    hanse_free(shape.offsets);
}

void hanse_live_run_masked_upload(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_signed *upload)
{
    hanse_spool_shape shape = {.offsets = NULL};
    hanse_err err = {0};
    hanse_rc rc = run->masks == NULL ? HANSE_FAIL(&err, HANSE_E_PROTOCOL, "a masked upload to a sealed run") : HANSE_OK;

    if (rc == HANSE_OK && !run->round_open)
        rc = HANSE_FAIL(&err, HANSE_E_LATE, "that round is over");
    if (rc == HANSE_OK)
        rc = hanse_masks_take_header(run, member, upload, &shape, &err);
    if (rc == HANSE_OK)
        take_upload(run, session, member, upload, &shape);
    else
        refuse_upload(session, run->row.run_id, run->current.round, run->current.attempt, rc, err.text);
    hanse_free(shape.offsets);
}

void hanse_live_run_complete(hanse_live_run *run, size_t member)
{
    hanse_round_event event = {.kind = HANSE_ROUND_EV_COMPLETE, .now_ms = hanse_clock_wall_ms(), .member = member};

    hanse_live_run_event(run, &event, NULL);
}

void hanse_live_run_decline(hanse_live_run *run, size_t member, const hanse_msg_refusal *decline)
{
    hanse_round_event event = {.kind = HANSE_ROUND_EV_DECLINE, .now_ms = hanse_clock_wall_ms(), .member = member};
    hanse_err why = {0};
    char code[HANSE_CODE_MAX + 1], reason[HANSE_REASON_MAX + 1];

    if (!run->round_open || decline->round != run->current.round || decline->attempt != run->current.attempt)
        return;
    hanse_text_copy(code, sizeof code, decline->code);
    hanse_text_copy(reason, sizeof reason, decline->reason);
    (void)HANSE_FAIL(&why, hanse_rc_from_name(code), "%s", reason);
    hanse_live_run_event(run, &event, &why);
}

/* ---- the machine's actions ---- */

static hanse_rc put_contribution(hanse_live_run *run, size_t member, hanse_store_part state, hanse_rc code, const char *words, hanse_err *err)
{
    hanse_member *self = &run->members[member];
    hanse_store_contribution part = {.round = run->current.round, .attempt = run->current.attempt, .state = state,
                                     .weight = run->masks == NULL ? run->round.weights[member] : 0, .time_ms = hanse_clock_wall_ms()};

    memcpy(part.run_id, run->row.run_id, 16);
    memcpy(part.site_id, run->roster.sites[member].id, 32);
    if (code != HANSE_OK)
        (void)snprintf(part.code, sizeof part.code, "%s", hanse_rc_name(code));
    (void)snprintf(part.reason, sizeof part.reason, "%s", words == NULL ? "" : words);
    part.header = self->spool.header; /* borrowed for the call */
    part.header_sig = self->spool.sig;
    part.bytes = hanse_spool_size(&self->spool);
    part.receipt = self->receipt;
    part.receipt_sig = self->receipt_sig;
    return hanse_store_contribution_put(run->server->store, &part, err);
}

static hanse_rc make_receipt(hanse_live_run *run, size_t member, hanse_err *err)
{
    hanse_member *self = &run->members[member];
    hanse_receipt receipt = {.time_ms = hanse_clock_wall_ms()};
    uint8_t sig[HANSE_SIG_MAX];
    size_t sig_len;
    hanse_rc rc;

    memcpy(receipt.spec_hash, run->current.spec_hash, 32);
    memcpy(receipt.site_id, run->roster.sites[member].id, 32);
    memcpy(receipt.upload_hash, self->spool.header_hash, 32);
    rc = hanse_receipt_encode(&self->receipt, &receipt, err);
    if (rc == HANSE_OK)
        rc = hanse_sign_object(run->server->sign_key, HANSE_RECEIPT_LABEL, hanse_buf_bytes(&self->receipt), sig, &sig_len, err);
    return rc == HANSE_OK ? hanse_buf_append(&self->receipt_sig, sig, sig_len, err) : rc;
}

static void send_receipt(hanse_live_run *run, size_t member)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    hanse_message message = {.kind = HANSE_RECEIPT};

    if (session == NULL || run->members[member].receipt.len == 0)
        return;
    message.receipt.object = hanse_buf_bytes(&run->members[member].receipt);
    message.receipt.sig = hanse_buf_bytes(&run->members[member].receipt_sig);
    hanse_session_send(session, &message);
}

/* A receipt leaves only after bytes and decision are durable. False: they are not; the member is absent, and its site will come again. */
static bool accept_contribution(hanse_live_run *run, size_t member)
{
    hanse_err err = {0};
    hanse_rc rc = HANSE_OK;

    if (run->members[member].receipt.len == 0) { /* else it was accepted before a restart */
        rc = make_receipt(run, member, &err);
        if (rc == HANSE_OK)
            rc = put_contribution(run, member, HANSE_STORE_PART_ACCEPTED, HANSE_OK, NULL, &err);
    }
    if (rc != HANSE_OK) {
        hanse_round_withdraw(&run->round, member);
        hanse_live_run_not_kept(run, member, rc, &err);
        return false;
    }
    run->members[member].kept = run->members[member].took_part = true;
    hanse_log(HANSE_LOG_INFO, "contribution_accepted run=%s round=%" PRIu64 " site=%s", run->row.name, run->current.round,
              run->roster.sites[member].name);
    send_receipt(run, member);
    return true;
}

void hanse_live_run_event(hanse_live_run *run, const hanse_round_event *event, hanse_err *why)
{
    size_t member = event->member;
    hanse_member_state before = run->round.members[member], after;
    hanse_round_actions actions = hanse_round_step(&run->round, event);
    const char *words = actions.words != NULL ? actions.words : why != NULL ? why->text : "";
    hanse_err err = {0};

    after = run->round.members[member];
    if (after != before && (after == HANSE_MEMBER_REJECTED || after == HANSE_MEMBER_DECLINED || after == HANSE_MEMBER_LATE)) {
        hanse_store_part part = after == HANSE_MEMBER_REJECTED   ? HANSE_STORE_PART_REJECTED
                                : after == HANSE_MEMBER_DECLINED ? HANSE_STORE_PART_DECLINED
                                                                 : HANSE_STORE_PART_LATE;
        hanse_rc code = after == HANSE_MEMBER_DECLINED ? (why != NULL ? why->rc : HANSE_E_FAILED) : actions.refusal;

        hanse_log(HANSE_LOG_WARN, "contribution_%s run=%s round=%" PRIu64 " site=%s code=%s reason=%s", hanse_member_state_name(after),
                  run->row.name, run->current.round, run->roster.sites[member].name, hanse_rc_name(code), words);
        if (put_contribution(run, member, part, code, words, &err) != HANSE_OK)
            hanse_log(HANSE_LOG_ERROR, "store reason=%s", err.text);
    }
    if (actions.set & HANSE_ROUND_DO_REFUSE)
        send_refusal(run, member, actions.refusal, words);
    if (actions.set & HANSE_ROUND_DO_VERIFY)
        hanse_job_verify(run, member);
    if (actions.set & HANSE_ROUND_DO_RECEIPT)
        send_receipt(run, member);
    if ((actions.set & HANSE_ROUND_DO_ACCEPT) && !accept_contribution(run, member))
        actions.set &= ~(unsigned)HANSE_ROUND_DO_FOLD;
    if (actions.set & HANSE_ROUND_DO_FOLD)
        hanse_live_run_cut(run);
    if (actions.set & HANSE_ROUND_DO_PUBLISH)
        hanse_live_run_close(run, true);
    if (actions.set & HANSE_ROUND_DO_VOID)
        hanse_live_run_close(run, false);
}
