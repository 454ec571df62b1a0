/* The link's speed beside its limits, in one run: hanse_link, a libwebsockets client, and TLS 1.3 without any protocol, each against
 * a server in another process (the first two against one libwebsockets server with the coordinator's settings).
 *
 * bench_link [RUNS, default 5] [MIB, default 256]: GB/s and CPU-s/GB of client and server, medians of alternating runs, with ratios.
 * The server copies what it gets; what it sends comes from memory. The lws client moves a quarter: it is slow. */
#include "hanse/clock.h"
#include "hanse/link.h"
#include "tests/support/tls_peer.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t)64 << 10)
#define LAST 2 /* `transfer` of the chunk after which the server answers */
#define RUNS_MAX 99

static tls_party ca, coordinator, site;
static uint8_t chunk_body[HANSE_CHUNK_LEN + 16], chunk_copy[HANSE_PAYLOAD_MAX];

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_link: %s\n", what);
    exit(7);
}

/* --- one end of a transfer, on both sides: what to send next, and what came --- */

typedef struct end {
    struct lws *wsi;
    hanse_inbox inbox;
    bool is_server;
    size_t to_send; /* chunks */
    size_t offset;  /* of the message under way */
    uint8_t small[64];
    size_t small_len; /* a small message that waits */
    size_t chunks, messages; /* received */
} end;

static uint8_t page[LWS_PRE + PAGE];

/* Up to a page of the message under way. */
static size_t fill(end *e, uint8_t *room, bool *first, bool *last)
{
    hanse_msg_chunk chunk = {e->to_send == 1 ? LAST : 1, 0, HANSE_BYTES_EMPTY, {chunk_body, sizeof chunk_body}};
    size_t head_len = 0, len;

    if (e->small_len > 0) {
        memcpy(room, e->small, len = e->small_len);
        *first = *last = true;
        e->small_len = 0;
        return len;
    }
    if (e->to_send == 0)
        return 0;
    *first = e->offset == 0;
    if (*first)
        need(hanse_chunk_head_encode(room, &head_len, &chunk, NULL) == HANSE_OK, "chunk head");
    len = sizeof chunk_body - e->offset < PAGE - head_len ? sizeof chunk_body - e->offset : PAGE - head_len;
    memcpy(room + head_len, chunk_body + e->offset, len);
    e->offset += len;
    *last = e->offset == sizeof chunk_body;
    if (*last) {
        e->offset = 0;
        e->to_send--;
    }
    return head_len + len;
}

static void say(end *e, hanse_message message)
{
    hanse_buf out = HANSE_BUF_EMPTY;

    need(hanse_message_encode(&out, &message, NULL) == HANSE_OK && out.len <= sizeof e->small, "a small message");
    memcpy(e->small, out.data, e->small_len = out.len);
    hanse_buf_clear(&out);
    if (e->wsi != NULL)
        lws_callback_on_writable(e->wsi);
}

static hanse_rc on_message(void *user, const hanse_message *m, hanse_err *err)
{
    end *e = user;

    (void)err;
    e->messages++;
    if (m->kind == HANSE_FETCH) {
        e->to_send = m->fetch.offset;
        lws_callback_on_writable(e->wsi);
    }
    return HANSE_OK;
}
static hanse_rc on_head(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    (void)user;
    (void)head;
    (void)err;
    return HANSE_OK;
}
static hanse_rc on_data(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err)
{
    (void)user;
    (void)head;
    (void)err;
    memcpy(chunk_copy + offset, piece.data, piece.len);
    return HANSE_OK;
}
static hanse_rc on_end(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    end *e = user;

    (void)err;
    e->chunks++;
    if (e->is_server && head->transfer == LAST)
        say(e, (hanse_message){.kind = HANSE_RESUME, .resume = {1, e->chunks}});
    return HANSE_OK;
}
static const hanse_inbox_ops ops = {on_message, on_head, on_data, on_end};

static int on_ws(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
    end *e = user;
    bool first = false, last = false;
    size_t out_len;

    switch (why) {
    case LWS_CALLBACK_ESTABLISHED:
        *e = (end){.wsi = wsi, .is_server = true};
        hanse_inbox_init(&e->inbox, &ops, e, HANSE_FROM_NODE);
        return 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        e = lws_context_user(lws_get_context(wsi));
        e->wsi = wsi;
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR: need(false, in != NULL ? in : "the lws client cannot connect"); return -1;
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_RECEIVE:
        if (why == LWS_CALLBACK_CLIENT_RECEIVE)
            e = lws_context_user(lws_get_context(wsi));
        return hanse_inbox_feed(&e->inbox, (hanse_bytes){in, len},
                                lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0, NULL) == HANSE_OK ? 0 : -1;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
    case LWS_CALLBACK_SERVER_WRITEABLE:
        if (why == LWS_CALLBACK_CLIENT_WRITEABLE)
            e = lws_context_user(lws_get_context(wsi));
        if (lws_send_pipe_choked(wsi)) {
            lws_callback_on_writable(wsi);
            return 0;
        }
        out_len = fill(e, page + LWS_PRE, &first, &last);
        if (out_len > 0 && lws_write(wsi, page + LWS_PRE, out_len,
                                     (enum lws_write_protocol)lws_write_ws_flags(LWS_WRITE_BINARY, first, last)) < (int)out_len)
            return -1;
        if (e->to_send > 0)
            lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLOSED: hanse_inbox_clear(&e->inbox); return 0;
    default: return tls_peer_callback(wsi, why, user, len);
    }
}

static const struct lws_protocols protocols[] = {{HANSE_SUBPROTOCOL, on_ws, sizeof(end), PAGE, 0, NULL, PAGE + LWS_PRE}, {0}};

/* --- TLS alone: eight bytes of command (top bit: upward; the rest: bytes), then the bytes --- */

static SSL_CTX *plain_ctx(const tls_party *as, bool server)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

    need(ctx != NULL && SSL_CTX_use_certificate(ctx, as->cert) == 1 && SSL_CTX_use_PrivateKey(ctx, as->key) == 1 &&
             SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384") == 1 && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1,
         "a TLS context");
    return ctx;
}

static void plain_move(SSL *ssl, bool send_it, uint64_t left)
{
    static uint8_t room[4 * PAGE];

    while (left > 0) {
        int want = left < sizeof room ? (int)left : (int)sizeof room;
        int moved = send_it ? SSL_write(ssl, room, want) : SSL_read(ssl, room, want);

        need(moved > 0, "TLS alone broke off");
        left -= (uint64_t)moved;
    }
}

static int listen_on(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    need(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 5) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0,
         "no port");
    *port = ntohs(at.sin_port);
    return fd;
}

static void plain_serve(int listener)
{
    SSL_CTX *ctx = plain_ctx(&coordinator, true);

    for (;;) {
        SSL *ssl = SSL_new(ctx);
        uint8_t command[8], done = 1;
        int fd = accept(listener, NULL, NULL), on = 1;

        need(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1 &&
                 SSL_read(ssl, command, 8) == 8, "TLS alone: no client");
        plain_move(ssl, command[7] == 0, hanse_load_u64le(command) & INT64_MAX);
        if (command[7] != 0)
            need(SSL_write(ssl, &done, 1) == 1, "TLS alone: no answer");
        SSL_free(ssl);
        close(fd);
    }
}

/* --- the three clients --- */

typedef struct server {
    pid_t pid;
    int port;
} server;

typedef struct cost {
    double seconds, client_cpu, server_cpu;
} cost;

static double cpu_of(pid_t pid)
{
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    struct timespec t;

    need(pid == 0 || clock_getcpuclockid(pid, &clock) == 0, "no CPU clock");
    need(clock_gettime(clock, &t) == 0, "no CPU time");
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void start(cost *c, const server *s)
{
    *c = (cost){(double)hanse_clock_mono_us() * 1e-6, cpu_of(0), cpu_of(s->pid)};
}

static void stop(cost *c, const server *s)
{
    *c = (cost){(double)hanse_clock_mono_us() * 1e-6 - c->seconds, cpu_of(0) - c->client_cpu, cpu_of(s->pid) - c->server_cpu};
}

static cost run_link(const server *s, bool up, size_t chunks)
{
    end e = {0};
    hanse_link_config config = {.host = "127.0.0.1", .port = (uint16_t)s->port, .ca_pem = hanse_buf_bytes(&ca.cert_pem),
                                .cert_pem = hanse_buf_bytes(&site.cert_pem), .key = site.key, .proxy = "", .wake_fd = -1, .ops = &ops,
                                .user = &e};
    hanse_message fetch = {.kind = HANSE_FETCH, .fetch = {.offset = chunks}};
    hanse_link *link = NULL;
    hanse_err err = {0};
    size_t sent = 0;
    cost c;

    need(hanse_link_open(&link, &config, &err) == HANSE_OK, err.text);
    start(&c, s);
    if (!up)
        need(hanse_link_send_message(link, &fetch, &err) == HANSE_OK, err.text);
    while (up ? e.messages == 0 : e.chunks < chunks) {
        while (up && sent < chunks) {
            hanse_msg_chunk chunk = {sent + 1 == chunks ? LAST : 1, 0, HANSE_BYTES_EMPTY, {chunk_body, sizeof chunk_body}};
            hanse_rc rc = hanse_link_send_chunk(link, &chunk, &err);

            if (rc == HANSE_E_FULL)
                break;
            need(rc == HANSE_OK, err.text);
            sent++;
        }
        need(hanse_link_step(link, 1000, -1, &err) == HANSE_OK, err.text);
    }
    stop(&c, s);
    hanse_link_close(link, 100);
    return c;
}

static cost run_lws(const server *s, bool up, size_t chunks)
{
    end e = {.to_send = up ? chunks : 0};
    struct lws_context_creation_info info = {0};
    struct lws_client_connect_info to = {0};
    struct lws_context *context;
    cost c;

    hanse_inbox_init(&e.inbox, &ops, &e, HANSE_FROM_COORDINATOR);
    if (!up)
        say(&e, (hanse_message){.kind = HANSE_FETCH, .fetch = {.offset = chunks}});
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.protocols = protocols;
    info.user = &e;
    info.pt_serv_buf_size = PAGE;
    info.client_ssl_cert_mem = site.cert_pem.data;
    info.client_ssl_cert_mem_len = (unsigned)site.cert_pem.len;
    info.client_ssl_key_mem = site.key_pem.data;
    info.client_ssl_key_mem_len = (unsigned)site.key_pem.len;
    info.client_ssl_ca_mem = ca.cert_pem.data;
    info.client_ssl_ca_mem_len = (unsigned)ca.cert_pem.len;
    context = lws_create_context(&info);
    need(context != NULL, "lws_create_context");
    to.context = context;
    to.address = to.host = to.origin = "127.0.0.1";
    to.port = s->port;
    to.path = "/";
    to.protocol = HANSE_SUBPROTOCOL;
    to.alpn = "http/1.1";
    to.ssl_connection = LCCSCF_USE_SSL | LCCSCF_ALLOW_INSECURE; /* speed only: our certificate's usages are not its default ones */
    need(lws_client_connect_via_info(&to) != NULL, "the lws client cannot connect");
    while (e.wsi == NULL)
        lws_service(context, 0);
    start(&c, s);
    while (up ? e.messages == 0 : e.chunks < chunks)
        lws_service(context, 0);
    stop(&c, s);
    lws_context_destroy(context);
    hanse_inbox_clear(&e.inbox);
    return c;
}

static cost run_tls(const server *s, bool up, size_t chunks)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->port)};
    SSL_CTX *ctx = plain_ctx(&site, false);
    SSL *ssl = SSL_new(ctx);
    uint64_t bytes = chunks * sizeof chunk_body;
    uint8_t command[8], done;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    cost c;

    need(connect(fd, (struct sockaddr *)&at, sizeof at) == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
             SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1, "TLS alone cannot connect");
    start(&c, s);
    hanse_store_u64le(command, up ? bytes | 1ull << 63 : bytes);
    need(SSL_write(ssl, command, 8) == 8, "TLS alone: no command");
    plain_move(ssl, up, bytes);
    if (up)
        need(SSL_read(ssl, &done, 1) == 1, "TLS alone: no answer");
    stop(&c, s);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return c;
}

/* --- the table --- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Medians and the range of the speed; returns the median speed [GB/s]. */
static double report(const char *name, const cost *costs, size_t runs, double gb)
{
    double speed[RUNS_MAX], client[RUNS_MAX], peer[RUNS_MAX];

    for (size_t i = 0; i < runs; i++) {
        speed[i] = gb / costs[i].seconds;
        client[i] = costs[i].client_cpu / gb;
        peer[i] = costs[i].server_cpu / gb;
    }
    qsort(speed, runs, sizeof *speed, ascending);
    qsort(client, runs, sizeof *client, ascending);
    qsort(peer, runs, sizeof *peer, ascending);
    printf("%-18s %6.3f (%5.3f..%5.3f) GB/s, CPU-s/GB: client %5.2f, server %5.2f\n", name, speed[runs / 2], speed[0], speed[runs - 1],
           client[runs / 2], peer[runs / 2]);
    return speed[runs / 2];
}

static server serve(void (*body)(int), int arg, int port)
{
    server s = {fork(), port};

    need(s.pid >= 0, "fork");
    if (s.pid == 0) {
        body(arg);
        _exit(0);
    }
    return s;
}

static tls_peer peer = {.ca = &ca, .as = &coordinator, .protocols = protocols};

static void ws_serve(int pipe_fd)
{
    tls_peer_open(&peer);
    need(write(pipe_fd, &peer.port, sizeof peer.port) == sizeof peer.port, "pipe");
    for (;;)
        lws_service(peer.context, 0);
}

int main(int argc, char **argv)
{
    static cost costs[3][2][RUNS_MAX]; /* link, lws, TLS; up, down */
    static const char *const names[3][2] = {{"hanse_link up", "hanse_link down"}, {"lws client up", "lws client down"},
                                            {"TLS alone up", "TLS alone down"}};
    cost (*const clients[3])(const server *, bool, size_t) = {run_link, run_lws, run_tls};
    size_t runs = argc > 1 ? strtoul(argv[1], NULL, 10) : 5, mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 256;
    double speed[3][2];
    server servers[3];
    int pipe_fds[2], port, listener;

    need(runs >= 1 && runs <= RUNS_MAX && mib >= 4 && mib <= 65536, "usage: bench_link [RUNS] [MIB]");
    (void)signal(SIGPIPE, SIG_IGN);
    lws_set_log_level(0, NULL);
    for (size_t i = 0; i < sizeof chunk_body; i++)
        chunk_body[i] = (uint8_t)(i * 2654435761u >> 13);
    tls_party_ca(&ca, "Bench");
    tls_party_certify(&coordinator, &ca, HANSE_PROFILE_COORDINATOR_TLS);
    tls_party_certify(&site, &ca, HANSE_PROFILE_SITE_TLS);
    listener = listen_on(&port);
    need(pipe(pipe_fds) == 0, "pipe");
    servers[2] = serve(plain_serve, listener, port);
    servers[0] = serve(ws_serve, pipe_fds[1], 0);
    need(read(pipe_fds[0], &servers[0].port, sizeof servers[0].port) == sizeof servers[0].port, "the server did not start");
    servers[1] = servers[0];
    for (size_t run = 0; run < runs; run++)
        for (size_t who = 0; who < 3; who++)
            for (size_t way = 0; way < 2; way++)
                costs[who][way][run] = clients[who](&servers[who], way == 0, who == 1 ? mib / 4 : mib);
    for (size_t who = 0; who < 3; who++)
        for (size_t way = 0; way < 2; way++)
            speed[who][way] = report(names[who][way], costs[who][way], runs,
                                     (double)((who == 1 ? mib / 4 : mib) * sizeof chunk_body) * 1e-9);
    printf("hanse_link beside TLS alone: up %.2f, down %.2f; beside the lws client: up %.1f, down %.1f\n", speed[0][0] / speed[2][0],
           speed[0][1] / speed[2][1], speed[0][0] / speed[1][0], speed[0][1] / speed[1][1]);
    for (int i = 0; i < 2; i++) {
        (void)kill(servers[2 * i].pid, SIGKILL);
        (void)waitpid(servers[2 * i].pid, NULL, 0);
    }
    tls_party_clear(&ca);
    tls_party_clear(&coordinator);
    tls_party_clear(&site);
    return 0;
}
