/* live_run.c - a run in memory: who is in it, what they send, and the actions of its round's machine (coordinator/round).
 * Opening and closing rounds is in round_edge.c. */
#include "coordinator/server/server.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/hpke.h"
#include "hanse/log.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define CHANGES_KEPT 16 /* of one site's answer, in the log of a run: a site cannot fill the store */

/* ---- loading ---- */

static hanse_rc load_seal_key(hanse_live_run *run, hanse_err *err)
{
    hanse_path path;
    hanse_buf key = HANSE_BUF_EMPTY;
    uint8_t public_key[32];
    hanse_rc rc = hanse_store_seal_path(path, run->server->dir, run->row.run_id, err);

    if (rc == HANSE_OK)
        rc = hanse_file_read(&key, path, 32, err);
    if (rc == HANSE_OK && key.len != 32)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: %zu bytes, want 32", path, key.len);
    if (rc == HANSE_OK) {
        memcpy(run->seal_key, key.data, 32);
        rc = hanse_x25519_public(public_key, run->seal_key, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_sha256(run->key_id, (hanse_bytes){public_key, 32}, err);
    hanse_buf_wipe(&key);
    return rc;
}

void hanse_live_run_forget_key(hanse_live_run *run)
{
    hanse_path path;

    /* In memory it is wiped with the run: a worker may be opening a contribution right now. */
    if (hanse_store_seal_path(path, run->server->dir, run->row.run_id, NULL) == HANSE_OK && unlink(path) == 0)
        hanse_log(HANSE_LOG_INFO, "seal_key_destroyed run=%s", run->row.name);
}

static void restore_progress(hanse_live_run *run)
{
    hanse_progress_init(&run->progress, run->plan);
    if (run->row.statistics.len > 0)
        run->progress.statistics_due = false;
    run->progress.rounds_done = run->row.rounds_done;
    run->progress.evaluated = run->row.evaluated;
    run->progress.best_round = run->row.best_round;
    run->progress.best_value = run->row.best_value;
}

static hanse_rc load_last_result(hanse_live_run *run, hanse_err *err)
{
    hanse_store_round *rounds = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_store_rounds(run->server->store, run->row.run_id, &rounds, &count, err);

    for (size_t i = count; rc == HANSE_OK && i-- > 0;) {
        if (rounds[i].result.len == 0)
            continue;
        rc = hanse_buf_append(&run->last_result, rounds[i].result.data, rounds[i].result.len, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&run->last_result_sig, rounds[i].result_sig.data, rounds[i].result_sig.len, err);
        break;
    }
    hanse_store_rounds_free(rounds, count);
    return rc;
}

/* Who has had part in the run so far. */
static hanse_rc restore_parts(hanse_live_run *run, hanse_err *err)
{
    hanse_store_round *rounds = NULL;
    size_t rounds_count = 0;
    hanse_rc rc = hanse_store_rounds(run->server->store, run->row.run_id, &rounds, &rounds_count, err);

    for (size_t i = 0; rc == HANSE_OK && i < rounds_count; i++) {
        hanse_store_contribution *parts = NULL;
        size_t count = 0, member;

        rc = hanse_store_contributions(run->server->store, run->row.run_id, rounds[i].round, rounds[i].attempt, &parts, &count, err);
        for (size_t j = 0; rc == HANSE_OK && j < count; j++)
            if (parts[j].state == HANSE_STORE_PART_ACCEPTED && hanse_live_run_member(run, parts[j].site_id, &member))
                run->members[member].took_part = true;
        hanse_store_contributions_free(parts, count);
    }
    hanse_store_rounds_free(rounds, rounds_count);
    return rc;
}

static void restore_member(hanse_live_run *run, const hanse_store_contribution *part)
{
    static const hanse_member_state states[] = {HANSE_MEMBER_ABSENT,   HANSE_MEMBER_VERIFYING, HANSE_MEMBER_REJECTED,
                                                HANSE_MEMBER_DECLINED, HANSE_MEMBER_LATE,      HANSE_MEMBER_ABSENT};
    hanse_member *member;
    hanse_err err = {0};
    size_t i;

    if (!hanse_live_run_member(run, part->site_id, &i))
        return;
    member = &run->members[i];
    hanse_round_restore(&run->round, i, states[part->state], part->weight);
    if (part->state != HANSE_STORE_PART_ACCEPTED)
        return;
    /* It was acknowledged: its bytes are on disk. They are opened once more, for what is kept in memory only. */
    if (hanse_spool_open(&member->spool, run->server->dir, hanse_buf_bytes(&part->header), hanse_buf_bytes(&part->header_sig), &err) != HANSE_OK ||
        hanse_buf_append(&member->receipt, part->receipt.data, part->receipt.len, &err) != HANSE_OK ||
        hanse_buf_append(&member->receipt_sig, part->receipt_sig.data, part->receipt_sig.len, &err) != HANSE_OK) {
        hanse_log(HANSE_LOG_ERROR, "contribution_lost reason=%s", err.text);
        hanse_round_restore(&run->round, i, HANSE_MEMBER_REJECTED, 0);
        return;
    }
    hanse_job_verify(run, i);
}

/* After a restart: go on in the same round with every contribution that was acknowledged. */
static hanse_rc restore_round(hanse_live_run *run, hanse_err *err)
{
    hanse_store_contribution *parts = NULL;
    size_t count = 0;
    bool found = false;
    hanse_rc rc = hanse_store_round_newest(run->server->store, run->row.run_id, &run->current, &found, err);

    if (rc != HANSE_OK || !found)
        return rc;
    /* A round and attempt never come twice, not even in another process. */
    if (run->current.state != HANSE_STORE_ROUND_PUBLISHED)
        run->void_count = run->current.attempt + (run->current.state == HANSE_STORE_ROUND_VOID);
    if (run->current.state != HANSE_STORE_ROUND_OPEN) {
        hanse_store_round_clear(&run->current);
        return HANSE_OK;
    }
    rc = hanse_spec_decode(&run->spec, hanse_buf_bytes(&run->current.spec), err);
    if (rc == HANSE_OK)
        rc = hanse_round_init(&run->round, run->roster.sites_count, run->plan->rounds.sites_min, run->plan->rounds.sites_max,
                              run->current.deadline_ms, run->current.kind != HANSE_ROUND_EVALUATION, err);
    if (rc != HANSE_OK)
        return rc;
    run->round_open = true;
    rc = hanse_store_contributions(run->server->store, run->row.run_id, run->current.round, run->current.attempt, &parts, &count, err);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++)
        restore_member(run, &parts[i]);
    hanse_store_contributions_free(parts, count);
    return rc;
}

/* Uploads of this run's earlier rounds that a crash left behind. */
static void sweep_spool(const hanse_live_run *run)
{
    char hex[33], keep[64];
    const struct dirent *entry;
    hanse_path folder;
    DIR *dir;

    if (hanse_path_join(folder, run->server->dir, HANSE_SPOOL_DIR, NULL) != HANSE_OK || (dir = opendir(folder)) == NULL)
        return;
    hanse_hex_encode(hex, run->row.run_id, 16);
    (void)snprintf(keep, sizeof keep, "%s-%" PRIu64 "-", hex, run->current.slot);
    while ((entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, hex, 32) == 0 && (!run->round_open || strncmp(entry->d_name, keep, strlen(keep)) != 0))
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
}

static hanse_rc load_run(hanse_server *server, const uint8_t run_id[16], hanse_live_run **out, hanse_err *err)
{
    hanse_live_run *run = hanse_calloc(1, sizeof *run);
    hanse_rc rc;

    if (run == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a run");
    run->server = server;
    rc = hanse_store_run_get(server->store, run_id, &run->row, err);
    if (rc == HANSE_OK)
        rc = hanse_plan_parse(&run->plan, hanse_buf_bytes(&run->row.plan), "plan of the run", err);
    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&run->roster, hanse_buf_bytes(&run->row.roster), err);
    if (rc == HANSE_OK)
        rc = hanse_layout_of_plan(&run->layout, run->plan, err);
    if (rc == HANSE_OK && run->row.state == HANSE_STORE_RUN_OPEN)
        rc = load_seal_key(run, err);
    else if (rc == HANSE_OK)
        hanse_live_run_forget_key(run); /* stopped by a command while no service ran */
    if (rc == HANSE_OK)
        rc = hanse_store_model_path(run->model_path, server->dir, run_id, run->row.model_round, err);
    if (rc == HANSE_OK)
        rc = hanse_model_digests(&run->digests, &run->row.model_size, run->model_path, err);
    if (rc == HANSE_OK && (run->members = hanse_calloc(run->roster.sites_count, sizeof *run->members)) == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the sites of a run");
    if (rc != HANSE_OK) {
        hanse_live_run_free(run);
        return rc;
    }
    for (size_t i = 0; i < run->roster.sites_count; i++)
        run->members[i].spool = HANSE_SPOOL_CLOSED;
    restore_progress(run);
    rc = load_last_result(run, err);
    if (rc == HANSE_OK)
        rc = restore_parts(run, err);
    if (rc == HANSE_OK && run->row.state == HANSE_STORE_RUN_OPEN)
        rc = restore_round(run, err);
    if (rc != HANSE_OK) {
        hanse_live_run_free(run);
        return rc;
    }
    sweep_spool(run);
    *out = run;
    return HANSE_OK;
}

void hanse_live_run_free(hanse_live_run *run)
{
    if (run == NULL)
        return;
    for (size_t i = 0; run->members != NULL && i < run->roster.sites_count; i++) {
        hanse_spool_close(&run->members[i].spool);
        hanse_free(run->members[i].aux);
        hanse_buf_clear(&run->members[i].receipt);
        hanse_buf_clear(&run->members[i].receipt_sig);
    }
    hanse_free(run->members);
    hanse_wipe(run->seal_key, sizeof run->seal_key);
    hanse_store_run_clear(&run->row);
    hanse_store_round_clear(&run->current);
    hanse_round_clear(&run->round);
    hanse_layout_clear(&run->layout);
    hanse_roster_clear(&run->roster);
    hanse_plan_free(run->plan);
    hanse_buf_clear(&run->digests);
    hanse_buf_clear(&run->new_digests);
    hanse_buf_clear(&run->last_result);
    hanse_buf_clear(&run->last_result_sig);
    hanse_free(run);
}

hanse_rc hanse_live_runs_load(hanse_server *server, hanse_err *err)
{
    hanse_store_run *rows = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_store_runs(server->store, &rows, &count, err);

    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_live_run *run = hanse_live_run_find(server, rows[i].run_id), **tail = &server->runs;

        if (run != NULL)
            continue;
        rc = load_run(server, rows[i].run_id, &run, err);
        if (rc == HANSE_E_NOMEM)
            break;
        if (rc != HANSE_OK) { /* a damaged run does not stop the others */
            hanse_log(HANSE_LOG_ERROR, "run_not_loaded run=%s reason=%s", rows[i].name, err->text);
            rc = HANSE_OK;
            continue;
        }
        while (*tail != NULL)
            tail = &(*tail)->next;
        *tail = run; /* the oldest first: sites work on them in this order */
        for (hanse_session *session = server->sessions; session != NULL; session = session->next)
            if (session->greeted)
                hanse_live_run_greet(run, session);
    }
    hanse_store_runs_free(rows, count);
    return rc;
}

hanse_live_run *hanse_live_run_find(hanse_server *server, const uint8_t run_id[16])
{
    for (hanse_live_run *run = server->runs; run != NULL; run = run->next)
        if (memcmp(run->row.run_id, run_id, 16) == 0)
            return run;
    return NULL;
}

bool hanse_live_run_member(const hanse_live_run *run, const uint8_t site_id[32], size_t *member)
{
    const hanse_roster_site *site = hanse_roster_find(&run->roster, site_id);

    if (site == NULL)
        return false;
    *member = (size_t)(site - run->roster.sites);
    return true;
}

/* ---- what sites say ---- */

void hanse_live_run_greet(hanse_live_run *run, hanse_session *session)
{
    hanse_message message = {.kind = HANSE_OFFER};
    size_t member;

    if (!hanse_live_run_member(run, session->site_id, &member))
        return;
    if (run->row.state != HANSE_STORE_RUN_OPEN && !run->members[member].took_part)
        return; /* over without this site: nothing to decide any more */
    message.offer.offer = hanse_buf_bytes(&run->row.offer);
    message.offer.sig = hanse_buf_bytes(&run->row.offer_sig);
    message.offer.plan = hanse_buf_bytes(&run->row.plan);
    message.offer.roster = hanse_buf_bytes(&run->row.roster);
    message.offer.roster_sig = hanse_buf_bytes(&run->row.roster_sig);
    hanse_session_send(session, &message);
}

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

void hanse_live_run_send_spec(hanse_live_run *run, size_t member)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    hanse_message message = {.kind = HANSE_SPEC};

    if (session == NULL || !run->members[member].accepted)
        return;
    message.spec.spec = hanse_buf_bytes(&run->current.spec);
    message.spec.sig = hanse_buf_bytes(&run->current.spec_sig);
    message.spec.statistics = hanse_buf_bytes(&run->row.statistics);
    hanse_session_send(session, &message);
}

void hanse_live_run_send_result(hanse_live_run *run, size_t member)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    hanse_message message = {.kind = HANSE_RESULT};

    if (session == NULL || !run->members[member].accepted || run->last_result.len == 0)
        return;
    message.result.object = hanse_buf_bytes(&run->last_result);
    message.result.sig = hanse_buf_bytes(&run->last_result_sig);
    hanse_session_send(session, &message);
}

void hanse_live_run_answer(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_answer *answer)
{
    hanse_member *self = &run->members[member];
    char reason[HANSE_REASON_MAX + 1];
    bool changed = !self->answered || self->accepted != answer->accepted;

    self->answered = true;
    self->accepted = answer->accepted;
    hanse_text_copy(reason, sizeof reason, answer->reason);
    if (changed && run->row.state == HANSE_STORE_RUN_OPEN && self->changes++ < CHANGES_KEPT)
        hanse_ignore(hanse_store_event_add(run->server->store, run->row.run_id, hanse_clock_wall_ms(), NULL, "%s %s%s%s", session->name,
                                           answer->accepted ? "takes part" : "refuses the run", *reason ? ": " : "", reason));
    hanse_log(HANSE_LOG_INFO, "run_answer run=%s site=%s accepted=%d reason=%s", run->row.name, session->name, (int)answer->accepted, reason);
    if (!answer->accepted)
        return;
    hanse_live_run_send_result(run, member);
    if (run->round_open && run->round.members[member] != HANSE_MEMBER_ACCEPTED && run->round.members[member] != HANSE_MEMBER_REJECTED &&
        run->round.members[member] != HANSE_MEMBER_DECLINED)
        hanse_live_run_send_spec(run, member);
    hanse_live_run_tick(run, hanse_clock_wall_ms());
}

/* Does the header belong to this site, this round and this model? Its signature is what makes the site answer for it. */
static hanse_rc check_header(const hanse_live_run *run, size_t member, const hanse_msg_signed *upload, const hanse_upload *header, hanse_err *err)
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
            if (run->members[i].spool.fd >= 0 && (site_id == NULL || memcmp(run->roster.sites[i].id, site_id, 32) == 0))
                bytes += hanse_spool_size(&run->members[i].spool.upload);
    return bytes;
}

/* Is there room for one more upload of that site? */
static hanse_rc check_quota(const hanse_server *server, const hanse_upload *header, hanse_err *err)
{
    uint64_t bytes = hanse_spool_size(header);

    if (spooled_bytes(server, NULL) + bytes > server->config->limits.spool_bytes)
        return HANSE_FAIL(err, HANSE_E_FULL, "the coordinator's spool is full (limits: spool): try again later");
    if (spooled_bytes(server, header->site_id) + bytes > server->config->limits.spool_bytes_per_site)
        return HANSE_FAIL(err, HANSE_E_FULL, "%" PRIu64 " bytes are more than this site's part of the spool has left (limits: spool_per_site)",
                          bytes);
    return HANSE_OK;
}

/* Names the round that the upload is for: the site may be at work on the next one already. */
static void refuse_upload(hanse_session *session, const hanse_upload *header, hanse_rc rc, const char *words)
{
    hanse_message message = {.kind = HANSE_REJECT};

    hanse_log(HANSE_LOG_WARN, "contribution_refused site=%s round=%" PRIu64 " code=%s reason=%s", session->name, header->round, hanse_rc_name(rc),
              words);
    memcpy(message.reject.run, header->run, 16);
    message.reject.round = header->round;
    message.reject.attempt = header->attempt;
    message.reject.code = hanse_bytes_str(hanse_rc_name(rc));
    message.reject.reason = hanse_bytes_str(words);
    hanse_session_send(session, &message);
}

void hanse_live_run_upload(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_signed *upload)
{
    hanse_round_event event = {.kind = HANSE_ROUND_EV_UPLOAD, .now_ms = hanse_clock_wall_ms(), .member = member};
    hanse_message resume = {.kind = HANSE_RESUME};
    hanse_upload header = {0};
    hanse_err err = {0};
    hanse_rc rc = hanse_upload_decode(&header, upload->object, &err);

    if (rc == HANSE_OK && !run->round_open)
        rc = HANSE_FAIL(&err, HANSE_E_LATE, "that round is over");
    if (rc == HANSE_OK)
        rc = check_header(run, member, upload, &header, &err);
    if (rc != HANSE_OK) {
        refuse_upload(session, &header, rc, err.text);
        return;
    }
    hanse_live_run_event(run, &event, &err);
    if (!run->round_open || run->round.members[member] != HANSE_MEMBER_UPLOADING)
        return;
    hanse_spool_close(&run->members[member].spool);
    rc = check_quota(run->server, &header, &err);
    if (rc == HANSE_OK)
        rc = hanse_spool_open(&run->members[member].spool, run->server->dir, upload->object, upload->sig, &err);
    if (rc != HANSE_OK) { /* our trouble, not the contribution's: the site keeps it, comes back, and the round may still take it */
        hanse_session_refuse(session, rc, err.text);
        return;
    }
    session->up.run = run;
    session->up.member = member;
    session->up.slot = run->current.slot;
    resume.resume.transfer = session->up.transfer = ++session->transfers;
    resume.resume.chunks = run->members[member].spool.held;
    hanse_session_send(session, &resume);
    if (run->members[member].spool.held == run->members[member].spool.chunks)
        hanse_live_run_complete(run, member);
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
                                     .weight = run->round.weights[member], .time_ms = hanse_clock_wall_ms()};

    memcpy(part.run_id, run->row.run_id, 16);
    memcpy(part.site_id, run->roster.sites[member].id, 32);
    if (code != HANSE_OK)
        (void)snprintf(part.code, sizeof part.code, "%s", hanse_rc_name(code));
    (void)snprintf(part.reason, sizeof part.reason, "%s", words == NULL ? "" : words);
    part.header = self->spool.header; /* borrowed for the call */
    part.header_sig = self->spool.sig;
    part.bytes = self->spool.fd >= 0 ? hanse_spool_size(&self->spool.upload) : 0;
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
    memcpy(receipt.upload_hash, self->spool.upload_hash, 32);
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

/* A receipt leaves only after bytes and decision are durable. */
static void accept_contribution(hanse_live_run *run, size_t member)
{
    hanse_err err = {0};
    hanse_rc rc = HANSE_OK;

    if (run->members[member].receipt.len == 0) { /* else it was accepted before a restart */
        rc = make_receipt(run, member, &err);
        if (rc == HANSE_OK)
            rc = put_contribution(run, member, HANSE_STORE_PART_ACCEPTED, HANSE_OK, NULL, &err);
    }
    if (rc != HANSE_OK) {
        hanse_log(HANSE_LOG_ERROR, "contribution_not_kept run=%s site=%s reason=%s", run->row.name, run->roster.sites[member].name, err.text);
        hanse_round_restore(&run->round, member, HANSE_MEMBER_ABSENT, 0); /* the site may try again */
        hanse_buf_clear(&run->members[member].receipt);
        hanse_buf_clear(&run->members[member].receipt_sig);
        send_refusal(run, member, rc, "the coordinator could not store the contribution");
        return;
    }
    run->members[member].took_part = true;
    hanse_log(HANSE_LOG_INFO, "contribution_accepted run=%s round=%" PRIu64 " site=%s", run->row.name, run->current.round,
              run->roster.sites[member].name);
    send_receipt(run, member);
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
    if (actions.set & HANSE_ROUND_DO_ACCEPT)
        accept_contribution(run, member);
    if (actions.set & HANSE_ROUND_DO_FOLD)
        hanse_live_run_cut(run);
    if (actions.set & HANSE_ROUND_DO_PUBLISH)
        hanse_live_run_close(run, true);
    if (actions.set & HANSE_ROUND_DO_VOID)
        hanse_live_run_close(run, false);
}
