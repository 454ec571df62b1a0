#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/log.h"
#include "hanse/model_root.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define SKEW_MS (5 * 60 * 1000) /* clock difference that is tolerated */
#define BURST_S 10u /* seconds' worth of messages that may come at once */
#define LINES_BURST 200 /* of the log, by what one site says: as many at once, and then ... */
#define LINE_EVERY_MS 1000 /* ... one in this time */
#define RENEWALS_BURST 5 /* the same for renewals: each signs, writes and is told to everybody */
#define RENEWAL_EVERY_MS 60000

/* ---- output ---- */

void hanse_session_send(hanse_session *session, const hanse_message *message)
{
    hanse_err err = {0};
    hanse_buf bytes = HANSE_BUF_EMPTY;
    struct hanse_out *out = hanse_calloc(1, sizeof *out);

    if (session->closing && message->kind != HANSE_ERROR && message->kind != HANSE_BYE) {
        hanse_free(out);
        return;
    }
    if (out == NULL || session->out_bytes >= HANSE_OUT_QUEUE_MAX || hanse_message_encode(&bytes, message, &err) != HANSE_OK ||
        hanse_parts_take(&out->bytes, &session->server->queued[message->kind], &bytes, &err) != HANSE_OK) {
        hanse_log(HANSE_LOG_WARN, "send_failed site=%s message=%s reason=%s", session->name, hanse_kind_name(message->kind),
                  out == NULL ? "no memory" : session->out_bytes >= HANSE_OUT_QUEUE_MAX ? "the site does not read" : err.text);
        hanse_buf_clear(&bytes);
        hanse_free(out);
        session->closing = true; /* it re-syncs when it comes back */
    } else {
        if (session->out_tail != NULL)
            session->out_tail->next = out;
        else
            session->out_head = out;
        session->out_tail = out;
        /* One offer a run comes unasked; what answers the site's own messages is bounded. */
        out->counted = message->kind == HANSE_OFFER ? 0 : sizeof *out + hanse_parts_len(&out->bytes);
        session->out_bytes += out->counted;
    }
    hanse_edge_want_write(session);
}

void hanse_session_refuse(hanse_session *session, hanse_rc rc, const char *reason)
{
    hanse_message message = {.kind = HANSE_ERROR};

    message.error.code = hanse_bytes_str(hanse_rc_name(rc));
    message.error.reason = hanse_bytes_str(reason);
    if (hanse_edge_may_log(session->server, &session->connection->address, session->connection->text))
        hanse_log(HANSE_LOG_WARN, "session_refused site=%s code=%s reason=%s peer=%s", session->name, hanse_rc_name(rc), reason,
                  session->connection->text);
    session->closing = true;
    hanse_session_send(session, &message);
}

static void log_unlogged(hanse_session *session)
{
    if (session->unlogged > 0)
        hanse_log(HANSE_LOG_WARN, "lines_unlogged count=%" PRIu64 " site=%s", session->unlogged, session->name);
    session->unlogged = 0;
}

bool hanse_session_may_log(hanse_session *session)
{
    if (session == NULL)
        return true;
    if (!hanse_allowance_take(&session->lines, LINES_BURST, LINE_EVERY_MS, hanse_clock_mono_us() / 1000)) {
        session->unlogged++;
        return false;
    }
    log_unlogged(session);
    return true;
}

bool hanse_session_has_output(const hanse_session *session)
{
    return session->out_head != NULL || session->down.fd >= 0;
}

static void download_clear(hanse_download *download)
{
    if (download->fd >= 0)
        (void)close(download->fd);
    hanse_buf_clear(&download->digests);
    *download = (hanse_download){.fd = -1};
}

/* The site comes again, and asks for what is missing. */
static size_t break_download(hanse_session *session, const hanse_err *err)
{
    hanse_log(HANSE_LOG_ERROR, "model_unreadable site=%s reason=%s", session->name, err->text);
    download_clear(&session->down);
    session->closing = true;
    return 0;
}

/* The next piece of the CHUNK message under way: its head goes with its first bytes. */
static size_t fill_chunk(hanse_session *session, uint8_t *room, size_t cap, bool *first, bool *last)
{
    uint64_t at = session->down.index * HANSE_CHUNK_LEN;
    uint64_t rest = session->down.size - at;
    size_t payload_len = rest < HANSE_CHUNK_LEN ? (size_t)rest : HANSE_CHUNK_LEN;
    size_t head_len = 0, len;
    hanse_err err = {0};

    *first = session->down.offset == 0;
    if (*first) {
        hanse_msg_chunk chunk = {.transfer = session->down.transfer,
                                 .index = session->down.index,
                                 .digest = {session->down.digests.data + 32 * session->down.index, 32},
                                 .payload = {NULL, payload_len}};

        if (hanse_chunk_head_encode(room, &head_len, &chunk, &err) != HANSE_OK)
            return break_download(session, &err);
    }
    len = payload_len - session->down.offset < cap - head_len ? payload_len - session->down.offset : cap - head_len;
    if (hanse_fd_read_at(session->down.fd, room + head_len, len, at + session->down.offset, "model", &err) != HANSE_OK)
        return break_download(session, &err);
    session->down.offset += len;
    *last = session->down.offset == payload_len;
    if (*last) {
        session->down.offset = 0;
        if (++session->down.index == session->down.chunks || session->then.transfer != 0 || session->closing) {
            download_clear(&session->down);
            session->down = session->then;
            session->then = (hanse_download){.fd = -1};
        }
    }
    return head_len + len;
}

size_t hanse_session_fill(hanse_session *session, uint8_t *room, size_t cap, bool *first, bool *last)
{
    struct hanse_out *out = session->out_head;
    size_t len, left;

    if (session->closing && session->down.offset == 0)
        download_clear(&session->down);
    /* A message under way ends before another begins; between chunks, small messages go first. */
    if (session->down.fd >= 0 && (session->down.offset > 0 || out == NULL))
        return fill_chunk(session, room, cap, first, last);
    if (out == NULL)
        return 0;
    left = hanse_parts_len(&out->bytes) - out->sent;
    len = left < cap ? left : cap;
    *first = out->sent == 0;
    hanse_parts_read(&out->bytes, out->sent, room, len);
    out->sent += len;
    *last = len == left;
    if (*last) {
        session->out_head = out->next;
        if (session->out_head == NULL)
            session->out_tail = NULL;
        session->out_bytes -= out->counted;
        hanse_parts_clear(&out->bytes);
        hanse_free(out);
    }
    return len;
}

/* ---- input ---- */

static hanse_rc on_hello(hanse_session *session, const hanse_msg_hello *hello, hanse_err *err)
{
    hanse_server *server = session->server;
    hanse_message welcome = {.kind = HANSE_WELCOME};
    uint64_t now_ms = hanse_clock_wall_ms();
    uint64_t skew_ms = hello->time_ms > now_ms ? hello->time_ms - now_ms : now_ms - hello->time_ms;
    char software[65];

    hanse_text_copy(software, sizeof software, hello->software);
    if (hello->protocol != HANSE_PROTOCOL)
        return HANSE_FAIL(err, HANSE_E_VERSION, "the site speaks protocol %" PRIu32 " (%s), this coordinator %d (%s): update the older one",
                          hello->protocol, software, HANSE_PROTOCOL, HANSE_VERSION);
    if (skew_ms > SKEW_MS)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "the clocks differ by %" PRIu64 " s; at most %d are tolerated: set the clock",
                          skew_ms / 1000, SKEW_MS / 1000);
    for (hanse_session *other = server->sessions; other != NULL; other = other->next) /* the newest session of a site wins */
        if (other != session && other->greeted && !other->closing && memcmp(other->site_id, session->site_id, 32) == 0)
            hanse_session_refuse(other, HANSE_E_DUPLICATE, "the site connected again; this older connection ends");
    hanse_log(HANSE_LOG_INFO, "site_connected site=%s software=%s skew_ms=%" PRIu64, session->name, software, skew_ms);
    if (hanse_store_site_seen(server->store, session->site_id, now_ms, err) != HANSE_OK)
        hanse_log(HANSE_LOG_WARN, "store site=%s reason=%s", session->name, err->text);
    welcome.welcome.protocol = HANSE_PROTOCOL;
    welcome.welcome.software = hanse_bytes_str("hanse-coordinator " HANSE_VERSION);
    welcome.welcome.time_ms = now_ms;
    welcome.welcome.consortium = hanse_bytes_str(server->config->name);
    welcome.welcome.crl = hanse_buf_bytes(&server->crl_pem);
    hanse_session_send(session, &welcome);
    /* A run that could not be loaded is tried again when it is time, not whenever a site comes: its model may be large. */
    if ((server->load_ms == 0 || now_ms >= server->load_ms) && hanse_live_runs_load(server, err) != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "runs_unreadable reason=%s", err->text);
    session->greeted = true; /* not before: loading offers new runs to those who are */
    for (hanse_live_run *run = server->runs; run != NULL; run = run->next)
        hanse_live_run_greet(run, session);
    return HANSE_OK;
}

/* Read the best model once, not for every site that asks: it may be large, and this is the service thread. */
static hanse_rc know_best(hanse_live_run *run, const char *path, hanse_err *err)
{
    hanse_rc rc;

    if (run->best_digests.len > 0 && memcmp(run->best_digests_of, run->row.best_root, 32) == 0)
        return HANSE_OK;
    hanse_buf_clear(&run->best_digests);
    rc = hanse_model_digests(&run->best_digests, &run->best_size, path, err);
    if (rc != HANSE_OK)
        hanse_buf_clear(&run->best_digests);
    memcpy(run->best_digests_of, run->row.best_root, 32);
    return rc;
}

static hanse_rc open_download(hanse_download *down, const hanse_server *server, const hanse_msg_fetch *fetch, hanse_live_run *run,
                              hanse_err *err)
{
    hanse_path path;
    hanse_rc rc;

    if (memcmp(fetch->model_root, run->row.model_root, 32) == 0) {
        rc = hanse_store_model_path(path, server->dir, run->row.run_id, run->row.model_round, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&down->digests, run->digests.data, run->digests.len, err);
        down->size = run->row.model_size;
    } else if (run->row.best_round > 0 && memcmp(fetch->model_root, run->row.best_root, 32) == 0) {
        rc = hanse_store_model_path(path, server->dir, run->row.run_id, run->row.best_round, err);
        if (rc == HANSE_OK)
            rc = know_best(run, path, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&down->digests, run->best_digests.data, run->best_digests.len, err);
        down->size = run->best_size;
    } else {
        rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "no such model: the round has moved on");
    }
    if (rc != HANSE_OK)
        return rc;
    down->chunks = hanse_model_chunks(down->size);
    if (fetch->offset > down->chunks)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "FETCH from chunk %" PRIu64 " of %" PRIu64, fetch->offset, down->chunks);
    down->index = fetch->offset;
    if (down->index < down->chunks && (down->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return HANSE_FAIL_ERRNO(err, "%s", path);
    return HANSE_OK;
}

static hanse_rc on_fetch(hanse_session *session, const hanse_msg_fetch *fetch, hanse_live_run *run, hanse_err *err)
{
    hanse_download fresh = {.fd = -1}, *place = session->down.offset > 0 ? &session->then : &session->down;
    hanse_message message = {.kind = HANSE_MODEL};
    hanse_rc rc = open_download(&fresh, session->server, fetch, run, err);

    if (rc != HANSE_OK) {
        download_clear(&fresh);
        return rc;
    }
    if (fresh.index > 0 && hanse_session_may_log(session))
        hanse_log(HANSE_LOG_INFO, "download_resumed run=%s site=%s chunks=%" PRIu64 " of=%" PRIu64, run->row.name, session->name, fresh.index,
                  fresh.chunks);
    message.model.transfer = fresh.transfer = ++session->transfers;
    message.model.size = fresh.size;
    message.model.chunks = fresh.chunks;
    download_clear(place);
    *place = fresh;
    hanse_session_send(session, &message);
    return HANSE_OK;
}

/* Messages that name a run: the run must exist and have the site in its roster; all but ANSWER come after one that accepts. */
static hanse_rc find_run(hanse_session *session, const uint8_t run_id[16], bool is_answer, hanse_live_run **run, size_t *member,
                         hanse_err *err)
{
    *run = hanse_live_run_find(session->server, run_id);
    if (*run == NULL || !hanse_live_run_member(*run, session->site_id, member))
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a message about a run that this site is not part of");
    if (!is_answer && !(*run)->members[*member].accepted)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a message about a run that this site has not accepted");
    return HANSE_OK;
}

static hanse_rc on_upload(hanse_session *session, const hanse_msg_signed *upload, hanse_err *err)
{
    hanse_upload header;
    hanse_live_run *run;
    size_t member;
    hanse_rc rc = hanse_upload_decode(&header, upload->object, err);

    if (rc == HANSE_OK)
        rc = find_run(session, header.run, false, &run, &member, err);
    if (rc == HANSE_OK)
        hanse_live_run_upload(run, session, member, upload);
    return rc;
}

static hanse_rc on_masked_upload(hanse_session *session, const hanse_msg_signed *upload, hanse_err *err)
{
    hanse_secagg_upload header;
    hanse_live_run *run;
    size_t member;
    hanse_rc rc = hanse_secagg_upload_decode(&header, upload->object, err);

    if (rc == HANSE_OK)
        rc = find_run(session, header.run, false, &run, &member, err);
    if (rc == HANSE_OK)
        hanse_live_run_masked_upload(run, session, member, upload);
    return rc;
}

static hanse_rc on_dead(hanse_session *session, const hanse_msg_signed *message, hanse_err *err)
{
    hanse_secagg_dead dead;
    hanse_live_run *run;
    size_t member;
    hanse_rc rc = hanse_secagg_dead_decode(&dead, message->object, err);

    if (rc == HANSE_OK)
        rc = find_run(session, dead.run, false, &run, &member, err);
    if (rc == HANSE_OK && run->masks != NULL)
        hanse_voids_dead(run, member, message, &dead);
    return rc;
}

/* Messages of masked rounds. */
static hanse_rc on_masks_message(hanse_session *session, const hanse_message *message, hanse_err *err)
{
    hanse_live_run *run;
    size_t member;
    hanse_rc rc;

    switch (message->kind) {
    case HANSE_EPOCH:
        hanse_masks_epoch(session, &message->epoch);
        return HANSE_OK;
    case HANSE_TICKET:
        return hanse_masks_ticket(session, &message->ticket, err);
    case HANSE_MASKED_UPLOAD:
        return on_masked_upload(session, &message->masked_upload, err);
    case HANSE_CUTSIG:
        rc = find_run(session, message->cutsig.run, false, &run, &member, err);
        if (rc == HANSE_OK)
            hanse_masks_cutsig(run, member, &message->cutsig);
        return rc;
    case HANSE_SHARES:
        rc = find_run(session, message->shares.run, false, &run, &member, err);
        if (rc == HANSE_OK)
            hanse_masks_shares(run, member, &message->shares);
        return rc;
    case HANSE_DEAD:
        return on_dead(session, &message->dead, err);
    default:
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s out of turn", hanse_kind_name(message->kind));
    }
}

static hanse_rc on_site_message(hanse_session *session, const hanse_message *message, hanse_err *err)
{
    hanse_live_run *run;
    size_t member;
    hanse_rc rc;

    switch (message->kind) {
    case HANSE_ANSWER:
        rc = find_run(session, message->answer.run, true, &run, &member, err);
        if (rc == HANSE_OK && !hanse_masks_may_ask(run, member))
            rc = HANSE_FAIL(err, HANSE_E_FULL, "too many answers to one offer: two a second");
        if (rc == HANSE_OK)
            hanse_live_run_answer(run, session, member, &message->answer);
        return rc;
    case HANSE_FETCH:
        rc = find_run(session, message->fetch.run, false, &run, &member, err);
        return rc == HANSE_OK ? on_fetch(session, &message->fetch, run, err) : rc;
    case HANSE_UPLOAD:
        return on_upload(session, &message->upload, err);
    case HANSE_RENEW:
        if (!hanse_allowance_take(&session->renewals, RENEWALS_BURST, RENEWAL_EVERY_MS, hanse_clock_mono_us() / 1000))
            return HANSE_FAIL(err, HANSE_E_FULL, "too many renewals: one a minute");
        hanse_renew(session, &message->renew);
        return HANSE_OK;
    case HANSE_DECLINE:
        rc = find_run(session, message->decline.run, false, &run, &member, err);
        if (rc == HANSE_OK)
            hanse_live_run_decline(run, member, &message->decline);
        return rc;
    default:
        return on_masks_message(session, message, err);
    }
}

/* Far above what a site has to say: more is a flood, or a site gone wrong. */
static hanse_rc count_message(hanse_session *session, hanse_err *err)
{
    uint64_t rate = session->server->config->limits.messages_per_second;

    if (!hanse_allowance_take(&session->messages, BURST_S * rate, 1000 / rate, hanse_clock_mono_us() / 1000))
        return HANSE_FAIL(err, HANSE_E_FULL, "more than %" PRIu64 " messages a second (limits: messages_per_second)", rate);
    return HANSE_OK;
}

static hanse_rc on_message(void *user, const hanse_message *message, hanse_err *err)
{
    hanse_session *session = user;
    char code[HANSE_CODE_MAX + 1], reason[HANSE_REASON_MAX + 1];

    if (session->closing)
        return HANSE_OK;
    if (count_message(session, err) != HANSE_OK)
        return HANSE_E_FULL;
    switch (message->kind) {
    case HANSE_ENROL:
        if (session->greeted)
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "ENROL after HELLO");
        hanse_enrol(session, &message->enrol);
        return HANSE_OK;
    case HANSE_HELLO:
        if (session->unknown)
            return HANSE_FAIL(err, HANSE_E_IDENTITY, "this certificate's site is not enrolled here, or was revoked: ask for a new invitation");
        if (!session->has_cert)
            return HANSE_FAIL(err, HANSE_E_IDENTITY, "no client certificate: enrol this site first (hanse-node enrol INVITATION)");
        if (session->greeted)
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a second HELLO");
        return on_hello(session, &message->hello, err);
    case HANSE_ERROR:
        hanse_text_copy(code, sizeof code, message->error.code);
        hanse_text_copy(reason, sizeof reason, message->error.reason);
        hanse_log(HANSE_LOG_WARN, "site_error site=%s code=%s reason=%s", session->name, code, reason);
        session->closing = true;
        hanse_edge_want_write(session);
        return HANSE_OK;
    case HANSE_BYE:
        session->closing = true;
        hanse_edge_want_write(session);
        return HANSE_OK;
    default:
        if (!session->greeted)
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s before HELLO", hanse_kind_name(message->kind));
        return on_site_message(session, message, err);
    }
}

/* The spool that the chunk under way belongs to; NULL when its round has moved on: its bytes are then dropped, and the
 * site has been or will be told. */
static hanse_spool *upload_spool(hanse_session *session)
{
    hanse_live_run *run = session->up.run;
    hanse_spool *spool;

    if (run == NULL || !run->round_open || run->current.slot != session->up.slot)
        return NULL;
    spool = &run->members[session->up.member].spool;
    return spool->fd >= 0 && run->round.members[session->up.member] == HANSE_MEMBER_UPLOADING ? spool : NULL;
}

static hanse_rc on_chunk_head(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    hanse_session *session = user;
    hanse_spool *spool;

    if (session->up.run == NULL || head->transfer != session->up.transfer || head->digest.len != 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a CHUNK of no upload under way");
    spool = upload_spool(session);
    if (spool != NULL && (head->index != spool->held || head->payload.len != hanse_spool_chunk_len(spool, head->index)))
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "chunk %" PRIu64 " of %zu bytes; chunk %" PRIu64 " is next", head->index,
                          head->payload.len, spool->held);
    /* What is still on its way to a round that is over comes in whole chunks; only the last is shorter. */
    return spool == NULL && head->payload.len < HANSE_CHUNK_LEN ? count_message(session, err) : HANSE_OK;
}

static hanse_rc on_chunk_data(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err)
{
    hanse_session *session = user;
    hanse_spool *spool = upload_spool(session);

    return spool != NULL && head->index == spool->held ? hanse_spool_put(spool, head->index, offset, piece, err) : HANSE_OK;
}

static hanse_rc on_chunk_end(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    hanse_session *session = user;
    hanse_spool *spool = upload_spool(session);

    (void)err;
    if (spool != NULL && head->index == spool->held && ++spool->held == spool->shape.chunks)
        hanse_live_run_complete(session->up.run, session->up.member);
    return HANSE_OK;
}

static const hanse_inbox_ops inbox_ops = {on_message, on_chunk_head, on_chunk_data, on_chunk_end};

void hanse_session_feed(hanse_session *session, hanse_bytes piece, bool last)
{
    hanse_err err = {0};
    hanse_rc rc = hanse_inbox_feed(&session->inbox, piece, last, &err);

    if (rc != HANSE_OK)
        hanse_session_refuse(session, rc, err.text);
}

void hanse_session_init(hanse_session *session, hanse_server *server, struct lws *wsi, const hanse_connection *connection)
{
    *session = (hanse_session){.server = server, .wsi = wsi, .connection = connection, .id = ++server->session_ids,
                               .since_ms = hanse_clock_wall_ms()};
    session->messages = (hanse_allowance){BURST_S * server->config->limits.messages_per_second, hanse_clock_mono_us() / 1000};
    session->lines = (hanse_allowance){LINES_BURST, hanse_clock_mono_us() / 1000};
    session->renewals = (hanse_allowance){RENEWALS_BURST, hanse_clock_mono_us() / 1000};
    session->down.fd = session->then.fd = -1;
    (void)snprintf(session->name, sizeof session->name, "-");
    hanse_inbox_init(&session->inbox, &inbox_ops, session, HANSE_FROM_NODE);
    session->next = server->sessions;
    server->sessions = session;
    server->sessions_count++;
}

void hanse_session_clear(hanse_session *session)
{
    hanse_session **link = &session->server->sessions;

    log_unlogged(session);
    while (*link != NULL && *link != session)
        link = &(*link)->next;
    if (*link != NULL) {
        *link = session->next;
        session->server->sessions_count--;
    }
    while (session->out_head != NULL) {
        struct hanse_out *out = session->out_head;

        session->out_head = out->next;
        hanse_parts_clear(&out->bytes);
        hanse_free(out);
    }
    download_clear(&session->down);
    download_clear(&session->then);
    hanse_inbox_clear(&session->inbox);
}

hanse_session *hanse_session_of_site(hanse_server *server, const uint8_t site_id[32])
{
    for (hanse_session *session = server->sessions; session != NULL; session = session->next)
        if (session->greeted && !session->closing && memcmp(session->site_id, site_id, 32) == 0)
            return session;
    return NULL;
}
