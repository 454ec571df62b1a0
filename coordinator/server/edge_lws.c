/* edge_lws.c - the listener: libwebsockets and TLS, and nothing of the protocol. */
#include "coordinator/server/server.h"

#include "hanse/clock.h"
#include "hanse/log.h"

#include <inttypes.h>
#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>

/* lws serves several vhosts a process; a context has one server here, found through its user pointer. */
static hanse_server *server_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

void hanse_edge_want_write(hanse_session *session)
{
    if (session->wsi == NULL)
        return;
    if (session->closing && !session->hurried) { /* a peer that does not read does not stay */
        session->hurried = true;
        lws_set_timer_usecs(session->wsi, (lws_usec_t)session->server->config->limits.handshake_ms * 1000);
    }
    lws_callback_on_writable(session->wsi);
}

/* ---- who is refused ---- */

static uint64_t mono_ms(void)
{
    return hanse_clock_mono_us() / 1000;
}

bool hanse_edge_may_log(hanse_server *server, const hanse_peer_address *address, const char *text)
{
    uint64_t skipped = 0;
    bool may = hanse_peers_may_log(server->peers, address, mono_ms(), &skipped);

    if (may && skipped > 0)
        hanse_log(HANSE_LOG_WARN, "refusals_unlogged count=%" PRIu64 " peer=%s", skipped, text);
    return may;
}

void hanse_edge_log_unlogged(hanse_server *server)
{
    char text[HANSE_PEER_TEXT_MAX];
    uint64_t count;

    while (hanse_peers_unlogged(server->peers, mono_ms(), text, &count))
        hanse_log(HANSE_LOG_WARN, "refusals_unlogged count=%" PRIu64 " peer=%s", count, text);
}

static hanse_peer_address address_of_fd(int fd, char text[HANSE_PEER_TEXT_MAX])
{
    struct sockaddr_storage from = {0};
    socklen_t len = sizeof from;

    if (fd < 0 || getpeername(fd, (struct sockaddr *)&from, &len) != 0)
        from.ss_family = AF_UNSPEC;
    return hanse_peer_address_of((const struct sockaddr *)&from, text);
}

/* ---- TLS ---- */

static X509_STORE *make_trust(const hanse_server *server)
{
    X509_STORE *trust = X509_STORE_new();

    if (trust == NULL || X509_STORE_add_cert(trust, server->ca) != 1 ||
        X509_STORE_add_crl(trust, server->crl) != 1 || X509_STORE_set_flags(trust, X509_V_FLAG_CRL_CHECK) != 1) {
        X509_STORE_free(trust);
        return NULL;
    }
    return trust;
}

static int set_up_tls(hanse_server *server, SSL_CTX *ctx)
{
    X509_STORE *trust = make_trust(server);

    if (trust == NULL)
        return 1;
    SSL_CTX_set_cert_store(ctx, trust);
    server->ssl_ctx = ctx;
    server->crl_in_use = hanse_crl_number(server->crl);
    /* A resumed session would skip the chain and the revocation list: no tickets, no cache. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_num_tickets(ctx, 0) != 1 || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
           SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") != 1;
}

/* Called per certificate of the chain; OpenSSL's own verdict stands, we add the profile and the words. */
static int verify_client(hanse_server *server, X509_STORE_CTX *chain, int preverified)
{
    X509 *cert = X509_STORE_CTX_get_current_cert(chain);
    const SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    const char *reason = NULL;
    hanse_cert_info info;
    char subject[128] = "-", text[HANSE_PEER_TEXT_MAX];
    hanse_peer_address address;

    if (!preverified) {
        reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(chain));
    } else if (X509_STORE_CTX_get_error_depth(chain) == 0 &&
               (hanse_cert_read(cert, &info, NULL) != HANSE_OK || info.profile != HANSE_PROFILE_SITE_TLS)) {
        reason = "not a site's TLS certificate";
        X509_STORE_CTX_set_error(chain, X509_V_ERR_INVALID_PURPOSE);
    }
    if (reason == NULL)
        return 0;
    server->refused_fd = ssl != NULL ? SSL_get_fd(ssl) : -1;
    address = address_of_fd(server->refused_fd, text);
    if (cert != NULL)
        (void)X509_NAME_oneline(X509_get_subject_name(cert), subject, sizeof subject);
    if (hanse_edge_may_log(server, &address, text))
        hanse_log(HANSE_LOG_WARN, "certificate_refused subject=%s reason=%s peer=%s", subject, reason, text);
    return 1;
}

hanse_rc hanse_edge_reload_crl(hanse_server *server, hanse_err *err)
{
    X509_STORE *trust = make_trust(server);

    if (trust == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the revocation list");
    SSL_CTX_set_cert_store(server->ssl_ctx, trust);
    for (hanse_session *session = server->sessions; session != NULL; session = session->next) {
        hanse_store_site site = {0};
        hanse_rc rc = session->has_cert ? hanse_store_site_by_id(server->store, session->site_id, &site, err) : HANSE_OK;

        if (rc == HANSE_OK && session->has_cert && site.status == HANSE_STORE_REVOKED)
            hanse_session_refuse(session, HANSE_E_IDENTITY, "this site's certificate was revoked");
        hanse_store_site_clear(&site);
        if (rc != HANSE_OK)
            return rc;
    }
    return HANSE_OK;
}

/* ---- connections ---- */

/* Before a byte is read: no handshake is begun for what there is no room for. */
static int filter(hanse_server *server, int fd)
{
    char text[HANSE_PEER_TEXT_MAX];
    hanse_peer_address address = address_of_fd(fd, text);

    if (hanse_peers_admit(server->peers, &address, mono_ms()))
        return 0;
    if (hanse_edge_may_log(server, &address, text))
        hanse_log(HANSE_LOG_WARN, "connection_refused reason=%s peer=%s", "too many connections, at once or a second, of this address or in all", text);
    return 1;
}

static void on_accepted(hanse_server *server, struct lws *wsi)
{
    hanse_connection *connection = hanse_calloc(1, sizeof *connection);

    lws_set_opaque_user_data(wsi, connection);
    if (connection == NULL)
        return; /* refused when it has shaken hands */
    connection->fd = lws_get_socket_fd(wsi);
    connection->address = address_of_fd(connection->fd, connection->text);
    connection->counted = hanse_peers_enter(server->peers, &connection->address, mono_ms());
}

static void on_gone(hanse_server *server, struct lws *wsi)
{
    hanse_connection *connection = lws_get_opaque_user_data(wsi);

    if (connection == NULL)
        return;
    if (connection->counted)
        hanse_peers_leave(server->peers, &connection->address);
    /* Strangers that came no further: no TLS, no websocket, or too slow. Probes of a balancer, too. */
    if (!connection->upgraded && connection->fd != server->refused_fd && hanse_edge_may_log(server, &connection->address, connection->text))
        hanse_log(HANSE_LOG_INFO, "connection_refused reason=%s peer=%s", "no websocket came of it", connection->text);
    if (connection->fd == server->refused_fd)
        server->refused_fd = -1;
    lws_set_opaque_user_data(wsi, NULL);
    hanse_free(connection);
}

/* Whose connection is it? By the URI of the verified certificate; a site that is not enrolled (any more) is none. */
static void identify(hanse_session *session)
{
    SSL *ssl = lws_get_ssl(session->wsi);
    X509 *cert = SSL_get1_peer_certificate(ssl);
    hanse_store_site site = {0};
    hanse_cert_info info;

    if (cert == NULL) {
        (void)SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT); /* the token of an enrolment, in OpenSSL's own buffers */
        return;
    }
    if (hanse_cert_read(cert, &info, NULL) == HANSE_OK) {
        hanse_rc rc = hanse_store_site_by_uri(session->server->store, info.uri, &site, NULL);

        session->has_cert = rc == HANSE_OK && site.status == HANSE_STORE_ACTIVE;
        if (session->has_cert) {
            memcpy(session->site_id, site.site_id, 32);
            memcpy(session->name, site.name, sizeof session->name);
        }
        session->unknown = !session->has_cert && (rc == HANSE_OK || rc == HANSE_E_NOTFOUND);
        if (session->unknown && hanse_edge_may_log(session->server, &session->connection->address, session->connection->text))
            hanse_log(HANSE_LOG_WARN, "certificate_unknown uri=%s peer=%s", info.uri, session->connection->text);
    }
    hanse_store_site_clear(&site);
    X509_free(cert);
}

static size_t connections_of(const hanse_server *server, const uint8_t site_id[32])
{
    size_t count = 0;

    for (const hanse_session *session = server->sessions; session != NULL; session = session->next)
        count += session->has_cert && memcmp(session->site_id, site_id, 32) == 0;
    return count;
}

static int on_established(struct lws *wsi, hanse_session *session)
{
    hanse_server *server = server_of(wsi);
    hanse_connection *connection = lws_get_opaque_user_data(wsi);

    if (connection == NULL)
        return -1;
    connection->upgraded = true;
    hanse_session_init(session, server, wsi, connection);
    if (server->sessions_count > server->config->limits.connections) {
        hanse_session_refuse(session, HANSE_E_FULL, "the coordinator has no room for more connections; try again later");
        return 0;
    }
    identify(session);
    if (session->has_cert && connections_of(server, session->site_id) > server->config->limits.connections_per_site) {
        hanse_session_refuse(session, HANSE_E_FULL, "too many connections of this site at once");
        return 0;
    }
    lws_set_timer_usecs(wsi, (lws_usec_t)server->config->limits.handshake_ms * 1000);
    return 0;
}

static int on_writable(struct lws *wsi, hanse_session *session)
{
    hanse_server *server = server_of(wsi);
    bool first, last;
    size_t len;

    if (lws_send_pipe_choked(wsi)) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    len = hanse_session_fill(session, server->bounce + LWS_PRE, hanse_server_part(server, HANSE_FRAGMENT), &first, &last);
    if (len > 0) {
        int flags = lws_write_ws_flags(LWS_WRITE_BINARY, first, last);

        if (lws_write(wsi, server->bounce + LWS_PRE, len, (enum lws_write_protocol)flags) < (int)len)
            return -1;
    }
    if (hanse_session_has_output(session)) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    if (session->closing) {
        lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        return -1;
    }
    return 0;
}

static int on_receive(struct lws *wsi, hanse_session *session, void *in, size_t len)
{
    bool last = lws_is_final_fragment(wsi) != 0 && lws_remaining_packet_payload(wsi) == 0;

    if (session->closing)
        return 0;
    if (!lws_frame_is_binary(wsi))
        hanse_session_refuse(session, HANSE_E_PROTOCOL, "a text message; hanse.v1 is binary");
    else
        hanse_session_feed(session, (hanse_bytes){in, len}, last);
    if (!session->has_cert)
        hanse_wipe(in, len); /* a stranger's message is an enrolment, with a token in it */
    return 0;
}

static int on_ws(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
    hanse_session *session = user;

    switch (why) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        return set_up_tls(server_of(wsi), user);
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
        return verify_client(server_of(wsi), user, (int)len);
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return filter(server_of(wsi), (int)(intptr_t)in);
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        on_accepted(server_of(wsi), wsi);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        on_gone(server_of(wsi), wsi);
        return 0;
    case LWS_CALLBACK_ESTABLISHED:
        return on_established(wsi, session);
    case LWS_CALLBACK_RECEIVE:
        return on_receive(wsi, session, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writable(wsi, session);
    case LWS_CALLBACK_TIMER:
        if (session->closing)
            return -1;
        if (!session->greeted)
            hanse_session_refuse(session, HANSE_E_LATE, "no HELLO in time");
        return 0;
    case LWS_CALLBACK_CLOSED:
        if (session->greeted)
            hanse_log(HANSE_LOG_INFO, "site_disconnected site=%s", session->name);
        session->wsi = NULL;
        if (session->server != NULL) /* else it was turned away before there was one */
            hanse_session_clear(session);
        return 0;
    case LWS_CALLBACK_HTTP:
        (void)lws_return_http_status(wsi, HTTP_STATUS_NOT_FOUND, NULL);
        return -1;
    default:
        return 0;
    }
}

/* A TLS record, and so what one reading brings at most: every connection keeps a buffer of that size, wholly used once it has uploaded. */
#define RECEIVE_LEN ((size_t)16 << 10)

static const struct lws_protocols protocols[] = {
    {.name = HANSE_SUBPROTOCOL,
     .callback = on_ws,
     .per_session_data_size = sizeof(hanse_session),
     .rx_buffer_size = RECEIVE_LEN,
     .tx_packet_size = HANSE_FRAGMENT + LWS_PRE},
    {0},
};

static const lws_retry_bo_t keep_alive = {.secs_since_valid_ping = 20, .secs_since_valid_hangup = 60};

static void log_lws(int level, const char *line)
{
    hanse_log(level == LLL_ERR ? HANSE_LOG_WARN : HANSE_LOG_DEBUG, "lws text=%s", line);
}

hanse_rc hanse_edge_open(hanse_server *server, hanse_err *err)
{
    struct lws_context_creation_info info = {0};
    const hanse_peers_limits limits = {
        .connections = 2 * (size_t)server->config->limits.connections, /* as many again may be in the handshake; those are told why */
        .per_address = (size_t)server->config->limits.connections_per_address,
        .per_second = server->config->limits.connections_per_second,
    };
    hanse_path cert, key, ca;
    hanse_rc rc;

    lws_set_log_level(LLL_ERR | LLL_WARN, log_lws);
    server->bounce = hanse_calloc(1, LWS_PRE + HANSE_FRAGMENT);
    server->refused_fd = -1;
    if (server->bounce == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to send from");
    rc = hanse_peers_new(&server->peers, &limits, mono_ms(), err);
    if (rc != HANSE_OK)
        return rc;
    if ((rc = hanse_path_join(cert, server->dir, HANSE_TLS_CERT_FILE, err)) != HANSE_OK ||
        (rc = hanse_path_join(key, server->dir, HANSE_TLS_KEY_FILE, err)) != HANSE_OK ||
        (rc = hanse_path_join(ca, server->dir, HANSE_CA_CERT_FILE, err)) != HANSE_OK)
        return rc;
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    info.user = server;
    info.pt_serv_buf_size = HANSE_FRAGMENT;
    info.timeout_secs = (unsigned)(server->config->limits.handshake_ms / 1000 + 1); /* the context's: TLS ... */
    info.timeout_secs_ah_idle = info.timeout_secs;                                 /* ... and the request's head */
    server->context = lws_create_context(&info);
    if (server->context == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "libwebsockets did not start");
    info.port = server->config->listen_port;
    info.iface = server->config->listen_host[0] == '\0' || strcmp(server->config->listen_host, "0.0.0.0") == 0 ? NULL
                                                                                                             : server->config->listen_host;
    info.protocols = protocols;
    info.ssl_cert_filepath = cert;
    info.ssl_private_key_filepath = key;
    info.ssl_ca_filepath = ca;
    info.alpn = "http/1.1"; /* h2 in this library has open security findings */
    info.options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT | LWS_SERVER_OPTION_PEER_CERT_NOT_REQUIRED |
                    LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND;
    info.retry_and_idle_policy = &keep_alive;
    server->vhost = lws_create_vhost(server->context, &info);
    if (server->vhost == NULL)
        return HANSE_FAIL(err, HANSE_E_INVALID, "cannot listen on %s: is another service there, is the address this machine's, "
                                                "and do identity/tls.crt and tls.key belong together?", server->config->listen);
    return HANSE_OK;
}

void hanse_edge_close(hanse_server *server)
{
    if (server->context != NULL)
        lws_context_destroy(server->context);
    server->context = NULL;
    hanse_peers_free(server->peers);
    server->peers = NULL;
    hanse_free(server->bounce);
    server->bounce = NULL;
}
