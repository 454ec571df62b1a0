/* sim_edge.c - the coordinator's edge without sockets and TLS: what edge_lws.c does for its sessions, on the simulated network. */
#include "tests/sim/consortium/sim.h"

#include "hanse/log.h"

static sim_conn *conn_of(const hanse_session *session)
{
    return (sim_conn *)(void *)session->wsi; /* the handle is ours: nobody looks into it */
}

hanse_rc hanse_edge_open(hanse_server *server, hanse_err *err)
{
    (void)err;
    server->refused_fd = -1;
    return HANSE_OK;
}

void hanse_edge_close(hanse_server *server)
{
    (void)server;
    for (sim_conn *conn = sim.conns; conn != NULL; conn = conn->next) {
        if (!conn->edge_open)
            continue;
        sim_conn_end(conn, false);
        sim_edge_closed(conn);
    }
}

bool hanse_edge_may_log(hanse_server *server, const hanse_peer_address *address, const char *text)
{
    (void)server;
    (void)address;
    (void)text;
    return true;
}

void hanse_edge_log_unlogged(hanse_server *server)
{
    (void)server;
}

hanse_rc hanse_edge_reload_crl(hanse_server *server, hanse_err *err)
{
    (void)server;
    return HANSE_FAIL(err, HANSE_E_USAGE, "nobody is revoked in these consortia");
}

/* ---- output ---- */

static bool may_repeat(const hanse_buf *told)
{
    hanse_message message;

    if (!sim.setup.network || sim.calm || !sim_chance(&sim.chance, 10) ||
        hanse_message_decode(&message, hanse_buf_bytes(told), HANSE_FROM_COORDINATOR, NULL) != HANSE_OK)
        return false;
    return message.kind != HANSE_WELCOME && message.kind != HANSE_CHUNK && message.kind != HANSE_MODEL && message.kind != HANSE_RESUME;
}

/* A coordinator sends the masks of an older round once more, for a duty that is left from it: behind those of the newer one. */
static void repeat_masks(sim_conn *conn)
{
    hanse_message message;

    if (hanse_message_decode(&message, hanse_buf_bytes(&conn->told), HANSE_FROM_COORDINATOR, NULL) != HANSE_OK || message.kind != HANSE_MASKS)
        return;
    if (sim.setup.network && !sim.calm && conn->masks.len > 0 && sim_chance(&sim.chance, 200)) {
        sim.faults.duplicates++;
        sim_conn_send(conn, false, hanse_buf_bytes(&conn->masks), true);
    }
    conn->masks.len = 0;
    if (hanse_buf_append(&conn->masks, conn->told.data, conn->told.len, NULL) != HANSE_OK)
        sim_wrong("no memory for a message");
}

/* A fragment goes on its way; with its last one a message was told. */
static void tell(sim_conn *conn, hanse_bytes fragment, bool first, bool last)
{
    if (first)
        conn->told.len = 0;
    if (hanse_buf_append(&conn->told, fragment.data, fragment.len, NULL) != HANSE_OK)
        sim_wrong("no memory for a message");
    sim_conn_send(conn, false, fragment, last);
    if (!last)
        return;
    sim_watch_told(conn->site, hanse_buf_bytes(&conn->told));
    if (may_repeat(&conn->told)) {
        sim.faults.duplicates++;
        sim_conn_send(conn, false, hanse_buf_bytes(&conn->told), true);
    }
    repeat_masks(conn);
}

/* One fragment; false when there was none. */
static bool write_one(sim_conn *conn)
{
    static uint8_t room[HANSE_FRAGMENT];
    size_t cap = sim_chance(&sim.chance, 200) ? (size_t)sim_between(&sim.chance, 256, 4096) : sizeof room, len;
    bool first = false, last = false;

    len = hanse_session_fill(&conn->session, room, cap, &first, &last);
    if (len == 0 || sim.procs[SIM_COORDINATOR].killed)
        return false;
    sim.own++;
    tell(conn, (hanse_bytes){room, len}, first, last);
    sim.own--;
    return true;
}

static void fire_flush(const sim_event *event)
{
    sim_conn *conn = event->thing;
    int before = sim_enter(SIM_COORDINATOR);

    conn->flush_planned = false;
    for (uint64_t count = sim_between(&sim.chance, 1, 6); conn->edge_open && count > 0 && write_one(conn); count--)
        continue;
    if (conn->edge_open && hanse_session_has_output(&conn->session)) {
        hanse_edge_want_write(&conn->session);
    } else if (conn->edge_open && conn->session.closing) {
        sim_conn_end(conn, false);
        sim_edge_closed(conn);
    }
    sim_leave(before);
    sim_serve();
}

/* A peer that does not read, or does not say HELLO, does not stay. */
static void fire_patience(const sim_event *event)
{
    sim_conn *conn = event->thing;
    int before = sim_enter(SIM_COORDINATOR);

    if (conn->edge_open && conn->session.closing) {
        sim_conn_end(conn, false);
        sim_edge_closed(conn);
    } else if (conn->edge_open && !conn->session.greeted) {
        hanse_session_refuse(&conn->session, HANSE_E_LATE, "no HELLO in time");
    }
    sim_leave(before);
    sim_serve();
}

static uint64_t patience_us(const sim_conn *conn)
{
    return (uint64_t)conn->session.server->config->limits.handshake_ms * 1000;
}

void hanse_edge_want_write(hanse_session *session)
{
    sim_conn *conn = conn_of(session);

    if (conn == NULL)
        return;
    if (session->closing && !session->hurried) {
        session->hurried = true;
        sim_plan(sim.now_us + patience_us(conn), fire_patience, SIM_COORDINATOR, conn);
    }
    if (!conn->flush_planned)
        sim_plan(sim.now_us + sim_below(&sim.chance, 1000), fire_flush, SIM_COORDINATOR, conn);
    conn->flush_planned = true;
}

/* ---- connections ---- */

static void identify(sim_conn *conn)
{
    hanse_session *session = &conn->session;
    hanse_store_site site = {0};
    hanse_cert *cert = NULL;
    hanse_cert_info info;

    if (conn->cert_pem.len == 0)
        return;
    if (hanse_cert_from_pem(&cert, hanse_buf_bytes(&conn->cert_pem), NULL) == HANSE_OK && hanse_cert_read(cert, &info, NULL) == HANSE_OK) {
        hanse_rc rc = hanse_store_site_by_uri(session->server->store, info.uri, &site, NULL);

        session->has_cert = rc == HANSE_OK && site.status == HANSE_STORE_ACTIVE;
        if (session->has_cert) {
            memcpy(session->site_id, site.site_id, 32);
            memcpy(session->name, site.name, sizeof session->name);
        }
        session->unknown = !session->has_cert && (rc == HANSE_OK || rc == HANSE_E_NOTFOUND);
    }
    hanse_store_site_clear(&site);
    hanse_cert_free(cert);
}

static size_t connections_of(const hanse_server *server, const uint8_t site_id[32])
{
    size_t count = 0;

    for (const hanse_session *session = server->sessions; session != NULL; session = session->next)
        count += session->has_cert && memcmp(session->site_id, site_id, 32) == 0;
    return count;
}

void sim_edge_established(sim_conn *conn)
{
    int before = sim_enter(SIM_COORDINATOR);

    conn->edge_open = true;
    conn->peer = (hanse_connection){.fd = -1, .counted = true, .upgraded = true};
    (void)snprintf(conn->peer.text, sizeof conn->peer.text, "%s", sim_name(conn->site));
    hanse_session_init(&conn->session, &sim.server, (struct lws *)(void *)conn, &conn->peer);
    identify(conn);
    if (conn->session.has_cert && connections_of(&sim.server, conn->session.site_id) > sim.server.config->limits.connections_per_site)
        hanse_session_refuse(&conn->session, HANSE_E_FULL, "too many connections of this site at once");
    sim_plan(sim.now_us + patience_us(conn), fire_patience, SIM_COORDINATOR, conn);
    sim_leave(before);
    sim_serve();
}

void sim_edge_arrive(sim_conn *conn, const sim_piece *piece)
{
    int before = sim_enter(SIM_COORDINATOR);

    if (piece->end)
        sim_edge_closed(conn);
    else if (!conn->session.closing)
        hanse_session_feed(&conn->session, (hanse_bytes){piece->data, piece->len}, piece->last);
    sim_leave(before);
    sim_serve();
}

void sim_edge_closed(sim_conn *conn)
{
    if (!conn->edge_open)
        return;
    if (conn->session.greeted)
        hanse_log(HANSE_LOG_INFO, "site_disconnected site=%s", conn->session.name);
    conn->edge_open = false;
    conn->session.wsi = NULL;
    conn->flush_planned = false;
    hanse_session_clear(&conn->session);
    hanse_buf_clear(&conn->told);
}
