/* The link against a real libwebsockets server in a thread, with certificates of our own CA. */
#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/link.h"
#include "tests/support/tls_peer.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static tls_party ca, other_ca, coordinator, site, revoked, impostor;
static hanse_crl *crl;

/* --- the server: echoes every message, but for the commands below --- */

#define COMMAND(word) "\x92\x12\xa4" word /* a BYE of four letters */

typedef struct conn {
    hanse_buf got;
    size_t sent;
    bool echo, ping, closing;
} conn;

static struct server {
    tls_peer peer;
    pthread_t thread;
    atomic_bool stop, paused;
    atomic_int pongs;
} server;

static bool is_command(const conn *c, const char *word)
{
    return c->got.len == 7 && memcmp(c->got.data, COMMAND(""), 3) == 0 && memcmp(c->got.data + 3, word, 4) == 0;
}

static int on_whole_message(struct lws *wsi, conn *c)
{
    static const char error[] = "\x93\x11\xa8protocol\xabout of turn";

    if (is_command(c, "gone"))
        return -1;
    if (is_command(c, "fail")) {
        c->got.len = 0;
        c->closing = true;
        if (hanse_buf_append(&c->got, error, sizeof error - 1, NULL) != HANSE_OK)
            return -1;
    }
    if (is_command(c, "none"))
        c->got.len = 0;
    c->ping = is_command(c, "ping");
    c->echo = true;
    lws_rx_flow_control(wsi, 0);
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_writeable(struct lws *wsi, conn *c)
{
    static unsigned char out[LWS_PRE + 65536];
    size_t len = c->got.len - c->sent < 65536 ? c->got.len - c->sent : 65536;
    bool first = c->sent == 0, last = c->sent + len == c->got.len;

    if (c->ping) {
        c->ping = false;
        lws_callback_on_writable(wsi);
        return lws_write(wsi, out + LWS_PRE, 5, LWS_WRITE_PING) < 5 ? -1 : 0;
    }
    if (!c->echo)
        return 0;
    if (len > 0)
        memcpy(out + LWS_PRE, c->got.data + c->sent, len);
    c->sent += len;
    if (lws_write(wsi, out + LWS_PRE, len, (enum lws_write_protocol)lws_write_ws_flags(LWS_WRITE_BINARY, first, last)) < (int)len)
        return -1;
    if (!last) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    hanse_buf_clear(&c->got);
    c->sent = 0;
    c->echo = false;
    if (c->closing) {
        lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        return -1;
    }
    lws_rx_flow_control(wsi, 1);
    return 0;
}

static int on_ws(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
    conn *c = user;

    switch (why) {
    case LWS_CALLBACK_RECEIVE:
        if (hanse_buf_append(&c->got, in, len, NULL) != HANSE_OK)
            return -1;
        /* "rude" is answered before it is whole: what the client still sends meets a closed door. */
        if (c->got.len >= 7 && memcmp(c->got.data + 3, "rude", 4) == 0) {
            memcpy(c->got.data + 3, "fail", 4);
            c->got.len = 7;
            return on_whole_message(wsi, c);
        }
        return lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0 ? on_whole_message(wsi, c) : 0;
    case LWS_CALLBACK_RECEIVE_PONG: atomic_fetch_add(&server.pongs, 1); return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE: return on_writeable(wsi, c);
    case LWS_CALLBACK_CLOSED: hanse_buf_clear(&c->got); return 0;
    default: return tls_peer_callback(wsi, why, user, len);
    }
}

static const struct lws_protocols protocols[] = {{"hanse.v1", on_ws, sizeof(conn), 65536, 0, NULL, 65536}, {0}};

static void *serve(void *arg)
{
    (void)arg;
    while (!atomic_load(&server.stop)) {
        lws_service(server.peer.context, 0);
        while (atomic_load(&server.paused) && !atomic_load(&server.stop))
            usleep(1000);
    }
    return NULL;
}

static void server_start(const tls_party *as, bool cert_optional)
{
    server.peer = (tls_peer){.ca = &ca, .as = as, .crl = crl, .protocols = protocols, .cert_optional = cert_optional,
                             .idle = {.secs_since_valid_ping = 1, .secs_since_valid_hangup = 3}};
    tls_peer_open(&server.peer);
    atomic_store(&server.stop, false);
    atomic_store(&server.paused, false);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void server_stop(void)
{
    atomic_store(&server.stop, true);
    lws_cancel_service(server.peer.context);
    pthread_join(server.thread, NULL);
    tls_peer_close(&server.peer);
}

/* --- the client's ear --- */

typedef struct heard {
    size_t payload, ends, messages, errors;
    uint64_t sum;
} heard;

static hanse_rc on_message(void *user, const hanse_message *m, hanse_err *err)
{
    heard *h = user;

    (void)err;
    h->messages++;
    h->errors += m->kind == HANSE_ERROR && hanse_bytes_equal(m->error.reason, hanse_bytes_str("out of turn"));
    return HANSE_OK;
}
static hanse_rc on_head(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    (void)head;
    (void)err;
    ((heard *)user)->payload = 0;
    return HANSE_OK;
}
static hanse_rc on_data(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err)
{
    heard *h = user;

    (void)head;
    (void)err;
    for (size_t i = 0; i < piece.len; i++)
        h->sum += piece.data[i] * (uint64_t)(offset + i + 1);
    h->payload += piece.len;
    return HANSE_OK;
}
static hanse_rc on_end(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    (void)err;
    assert_int_equal(((heard *)user)->payload, head->payload.len);
    ((heard *)user)->ends++;
    return HANSE_OK;
}
static const hanse_inbox_ops ops = {on_message, on_head, on_data, on_end};

static hanse_link_config config_for(const tls_party *me, heard *h)
{
    hanse_link_config config = {.host = "127.0.0.1", .port = (uint16_t)server.peer.port, .ca_pem = hanse_buf_bytes(&ca.cert_pem),
                                .proxy = "", .wake_fd = -1, .ops = &ops, .user = h, .connect_timeout_ms = 5000};
    if (me != NULL) {
        config.cert_pem = hanse_buf_bytes(&me->cert_pem);
        config.key = me->key;
    }
    return config;
}

static hanse_rc step_until(hanse_link *link, const size_t *count, size_t want, hanse_err *err)
{
    uint64_t end = hanse_clock_mono_us() + 10000000;

    while (*count < want) {
        hanse_rc rc = hanse_link_step(link, 200, -1, err);

        if (rc != HANSE_OK)
            return rc;
        assert_true(hanse_clock_mono_us() < end);
    }
    return HANSE_OK;
}

static void test_echo(void **state)
{
    static uint8_t payload[HANSE_PAYLOAD_MAX];
    static const size_t lens[] = {1, 100, 65000, 65536, 131072, 1 << 20, HANSE_PAYLOAD_MAX};
    heard h = {0};
    hanse_link_config config = config_for(&site, &h);
    hanse_link *link = NULL;
    hanse_err err = {0};
    (void)state;

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 17 + (i >> 9));
    if (hanse_link_open(&link, &config, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        hanse_msg_chunk chunk = {1, i, HANSE_BYTES_EMPTY, {payload, lens[i]}};
        uint64_t want = 0;

        for (size_t k = 0; k < lens[i]; k++)
            want += payload[k] * (uint64_t)(k + 1);
        h.sum = 0;
        assert_int_equal(hanse_link_send_chunk(link, &chunk, &err), HANSE_OK);
        if (step_until(link, &h.ends, i + 1, &err) != HANSE_OK)
            fail_msg("%s", err.text);
        assert_true(h.sum == want);
    }
    /* The queue is bounded: what does not fit is refused whole. */
    for (size_t i = 0; i < 3; i++) {
        hanse_msg_chunk chunk = {1, i, HANSE_BYTES_EMPTY, {payload, 1 << 20}};
        assert_int_equal(hanse_link_send_chunk(link, &chunk, &err), HANSE_OK);
    }
    assert_int_equal(hanse_link_send(link, (hanse_bytes){payload, sizeof payload}, &err), HANSE_E_FULL);
    assert_int_equal(step_until(link, &h.ends, 10, &err), HANSE_OK);
    assert_int_equal(hanse_link_send(link, hanse_bytes_str(COMMAND("gone")), &err), HANSE_OK);
    assert_int_equal(step_until(link, &h.ends, 99, &err), HANSE_E_LINK);
    assert_int_equal(hanse_link_send(link, hanse_bytes_str("\x92\x12\xa0"), &err), HANSE_E_LINK);
    hanse_link_close(link, 100);
}

/* More than the queue and the kernel hold while the server sleeps, so that the queue is closed up half sent; every byte arrives in
 * its place. */
static void test_flood(void **state)
{
    static uint8_t payload[100000];
    heard h = {0};
    hanse_link_config config = config_for(&site, &h);
    hanse_link *link = NULL;
    int waits = 0;
    hanse_message bye = {.kind = HANSE_BYE, .bye = {hanse_bytes_str("enough")}};
    hanse_err err = {0};
    uint64_t want = 0;
    (void)state;

    config.queue_max = 2000000; /* just under 2 MiB, the size its buffer grows to: there is no room behind a half sent queue */
    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
    atomic_store(&server.paused, true);
    lws_cancel_service(server.peer.context);
    for (size_t i = 0; i < 200; i++) {
        size_t len = sizeof payload - 100 * i;
        hanse_msg_chunk chunk = {1, i, HANSE_BYTES_EMPTY, {payload, len}};
        hanse_rc rc;

        for (size_t k = 0; k < len; k++) {
            payload[k] = (uint8_t)(k * 31 + i * 7 + (k >> 10));
            want += payload[k] * (uint64_t)(k + 1);
        }
        while ((rc = hanse_link_send_chunk(link, &chunk, &err)) == HANSE_E_FULL) {
            atomic_store(&server.paused, ++waits < 12);
            assert_int_equal(hanse_link_step(link, 50, -1, &err), HANSE_OK);
        }
        assert_int_equal(rc, HANSE_OK);
    }
    atomic_store(&server.paused, false);
    assert_int_equal(step_until(link, &h.ends, 200, &err), HANSE_OK);
    assert_true(h.sum == want);
    assert_int_equal(hanse_link_send_message(link, &bye, &err), HANSE_OK);
    assert_int_equal(step_until(link, &h.messages, 1, &err), HANSE_OK);
    bye.bye.reason = (hanse_bytes){payload, 16};
    bye.kind = HANSE_KINDS_END;
    assert_int_equal(hanse_link_send_message(link, &bye, &err), HANSE_E_USAGE);
    hanse_link_close(link, 100);
}

/* A megabyte there and back at a megabyte a second, each way on its own: as long as the cap says, and with little of the processor. */
static void test_cap(void **state)
{
    static uint8_t payload[1 << 20];
    heard h = {0};
    hanse_link_config config = config_for(&site, &h);
    hanse_msg_chunk chunk = {1, 0, HANSE_BYTES_EMPTY, {payload, sizeof payload}};
    hanse_link *link = NULL;
    hanse_err err = {0};
    struct timespec cpu[2];
    uint64_t began;
    (void)state;

    config.rate = 1 << 20;
    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
    began = hanse_clock_mono_us();
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu[0]);
    assert_int_equal(hanse_link_send_chunk(link, &chunk, &err), HANSE_OK);
    while (hanse_link_queued(link) > 0)
        assert_int_equal(hanse_link_step(link, 200, -1, &err), HANSE_OK);
    assert_in_range(hanse_clock_mono_us() - began, 860000, 1500000);
    assert_int_equal(step_until(link, &h.ends, 1, &err), HANSE_OK);
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu[1]);
    assert_in_range(hanse_clock_mono_us() - began, 1720000, 4000000);
    assert_true(cpu[1].tv_sec - cpu[0].tv_sec <= 1 && (cpu[1].tv_sec - cpu[0].tv_sec) * 1000000000 + cpu[1].tv_nsec - cpu[0].tv_nsec < 400000000);
    assert_int_equal(hanse_link_send_chunk(link, &chunk, &err), HANSE_OK);
    hanse_link_close(link, 100);
}

static void refused(const hanse_link_config *config, hanse_rc want, const char *words)
{
    hanse_link *link = NULL;
    hanse_err err = {0};
    hanse_rc rc = hanse_link_open(&link, config, &err);

    while (rc == HANSE_OK)
        rc = hanse_link_step(link, 2000, -1, &err);
    hanse_link_close(link, 0);
    print_message("%s\n", err.text);
    assert_int_equal(rc, want);
    assert_non_null(strstr(err.text, words));
}

static void test_refusals(void **state)
{
    heard h = {0};
    hanse_link_config config = config_for(&revoked, &h);
    (void)state;

    refused(&config, HANSE_E_IDENTITY, "refused our certificate: revoked");
    config = config_for(NULL, &h);
    refused(&config, HANSE_E_IDENTITY, "certificate required");
    config = config_for(&site, &h);
    config.ca_pem = hanse_buf_bytes(&other_ca.cert_pem);
    refused(&config, HANSE_E_IDENTITY, "server's certificate was refused");
    config = config_for(&site, &h);
    config.server_name = "elsewhere.example";
    refused(&config, HANSE_E_IDENTITY, "server's certificate was refused");
    config = config_for(&site, &h);
    config.port = 1;
    refused(&config, HANSE_E_LINK, "cannot connect");
}

/* A site of the same CA that plays the coordinator, even with the right host name in its certificate. */
static void test_impostor(void **state)
{
    heard h = {0};
    hanse_link_config config;
    (void)state;

    server_stop();
    server_start(&impostor, false);
    config = config_for(&site, &h);
    refused(&config, HANSE_E_IDENTITY, "is one for site-TLS, not a coordinator's");
    server_stop();
    server_start(&coordinator, false);
}

/* TLS 1.3 tells a client that it was refused only after its handshake is through, with a reset close behind. */
static void test_refused_always_says_why(void **state)
{
    heard h = {0};
    (void)state;

    for (int i = 0; i < 200; i++) {
        hanse_link_config config = config_for(i % 2 == 0 ? &revoked : NULL, &h);
        hanse_link *link = NULL;
        hanse_err err = {0};

        if (hanse_link_open(&link, &config, &err) != HANSE_E_IDENTITY)
            fail_msg("attempt %d: %s", i, err.text);
        assert_null(link);
        assert_non_null(strstr(err.text, i % 2 == 0 ? "revoked" : "certificate required"));
    }
}

/* Enrolment: no certificate of ours, and of the CA only its fingerprint. */
static void test_pin(void **state)
{
    uint8_t pin[32];
    hanse_cert_info info;
    hanse_buf der = HANSE_BUF_EMPTY, pem = HANSE_BUF_EMPTY;
    heard h = {0};
    hanse_link_config config;
    hanse_link *link = NULL;
    hanse_err err = {0};
    (void)state;

    server_stop();
    server_start(&coordinator, true);
    config = config_for(NULL, &h);
    config.ca_pem = HANSE_BYTES_EMPTY;
    config.ca_pin = pin;
    assert_int_equal(hanse_cert_to_der(ca.cert, &der, NULL), HANSE_OK);
    assert_int_equal(hanse_sha256(pin, hanse_buf_bytes(&der), NULL), HANSE_OK);
    if (hanse_link_open(&link, &config, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(hanse_link_ca_pem(link, &pem, &err), HANSE_OK);
    assert_true(hanse_bytes_equal(hanse_buf_bytes(&pem), hanse_buf_bytes(&ca.cert_pem)));
    assert_int_equal(hanse_link_send(link, hanse_bytes_str("\x92\x12\xa0"), &err), HANSE_OK);
    assert_int_equal(step_until(link, &h.messages, 1, &err), HANSE_OK);
    hanse_link_close(link, 100);
    config.server_name = "elsewhere.example"; /* a pin is no reason to forget the name */
    refused(&config, HANSE_E_IDENTITY, "server's certificate was refused");
    config.server_name = NULL;
    pin[31] ^= 1;
    refused(&config, HANSE_E_IDENTITY, "not the one that the invitation names");
    /* The coordinator's own certificate is no CA, even when its fingerprint is the pin. */
    assert_int_equal(hanse_cert_read(coordinator.cert, &info, NULL), HANSE_OK);
    memcpy(pin, info.fingerprint, 32);
    refused(&config, HANSE_E_IDENTITY, "server's certificate was refused");
    config = config_for(&site, &h);
    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
    assert_int_equal(hanse_link_ca_pem(link, &pem, &err), HANSE_E_NOTFOUND);
    hanse_link_close(link, 0);
    hanse_buf_clear(&der);
    hanse_buf_clear(&pem);
    server_stop();
    server_start(&coordinator, false);
}

/* --- a proxy for one connection --- */

static struct proxy {
    pthread_t thread;
    int listener, port;
    const char *answer;
    char asked[256]; /* first line of its request */
} proxy;

static int listen_on(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void shovel(int a, int b)
{
    static uint8_t room[65536];
    struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};

    while (poll(fds, 2, 5000) > 0)
        for (int i = 0; i < 2; i++) {
            ssize_t got = fds[i].revents != 0 ? recv(fds[i].fd, room, sizeof room, 0) : -1;

            if (fds[i].revents != 0 && (got <= 0 || send(fds[1 - i].fd, room, (size_t)got, MSG_NOSIGNAL) != got))
                return;
        }
}

static void *relay(void *arg)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)server.peer.port)};
    char head[1024] = "";
    size_t got = 0;
    int client = accept(proxy.listener, NULL, NULL), upstream = socket(AF_INET, SOCK_STREAM, 0);

    while (strstr(head, "\r\n\r\n") == NULL && got + 1 < sizeof head) {
        ssize_t n = recv(client, head + got, 1, 0);

        if (n <= 0)
            break;
        got += (size_t)n;
    }
    snprintf(proxy.asked, sizeof proxy.asked, "%.*s", (int)strcspn(head, "\r"), head);
    (void)send(client, proxy.answer, strlen(proxy.answer), MSG_NOSIGNAL);
    if (strstr(proxy.answer, " 200 ") != NULL && connect(upstream, (struct sockaddr *)&to, sizeof to) == 0)
        shovel(client, upstream);
    close(upstream);
    close(client);
    return arg;
}

static void proxy_start(const char *answer)
{
    proxy.answer = answer;
    assert_int_equal(pthread_create(&proxy.thread, NULL, relay, NULL), 0);
}

static void test_proxy(void **state)
{
    heard h = {0};
    hanse_link_config config = config_for(&site, &h);
    hanse_link *link = NULL;
    hanse_err err = {0};
    char address[64], want[64];
    (void)state;

    proxy.listener = listen_on(&proxy.port);
    snprintf(address, sizeof address, "127.0.0.1:%d", proxy.port);
    snprintf(want, sizeof want, "CONNECT 127.0.0.1:%d HTTP/1.1", server.peer.port);
    for (int from_environment = 0; from_environment < 2; from_environment++) {
        config.proxy = from_environment ? NULL : address;
        snprintf(address, sizeof address, from_environment ? "http://127.0.0.1:%d/" : "127.0.0.1:%d", proxy.port);
        setenv("https_proxy", address, 1);
        proxy_start("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
        if (hanse_link_open(&link, &config, &err) != HANSE_OK)
            fail_msg("%s", err.text);
        h.messages = 0;
        assert_int_equal(hanse_link_send(link, hanse_bytes_str("\x92\x12\xa0"), &err), HANSE_OK);
        assert_int_equal(step_until(link, &h.messages, 1, &err), HANSE_OK);
        hanse_link_close(link, 0);
        pthread_join(proxy.thread, NULL);
        assert_string_equal(proxy.asked, want);
    }
    setenv("no_proxy", "example.org, 127.0.0.1", 1); /* nobody listens for the proxy now: only the direct way works */
    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
    hanse_link_close(link, 0);
    unsetenv("no_proxy");
    unsetenv("https_proxy");
    config.proxy = address;
    proxy_start("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    refused(&config, HANSE_E_LINK, "HTTP status 407");
    pthread_join(proxy.thread, NULL);
    proxy_start("");
    refused(&config, HANSE_E_LINK, "the proxy broke off");
    pthread_join(proxy.thread, NULL);
    proxy_start("HTTP/1.1 200 OK\r\n\r\nand more"); /* a proxy that speaks before it was spoken to */
    refused(&config, HANSE_E_LINK, "the proxy refuses");
    pthread_join(proxy.thread, NULL);
    config.proxy = "user:secret@proxy:3128";
    refused(&config, HANSE_E_INVALID, "without a password");
    close(proxy.listener);
}

/* --- time --- */

static void test_dead_peer(void **state)
{
    heard h = {0};
    hanse_link_config config = config_for(&site, &h);
    hanse_link *link = NULL;
    hanse_err err = {0};
    uint64_t begin;
    hanse_rc rc = HANSE_OK;
    (void)state;

    config.ping_ms = 50;
    config.dead_ms = 1000;
    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
    /* Idle for longer than dead_ms: its pongs keep it alive. */
    for (begin = hanse_clock_mono_us(); hanse_clock_mono_us() - begin < 1500000;)
        if (hanse_link_step(link, 1000, -1, &err) != HANSE_OK)
            fail_msg("%s", err.text);
    /* It pings, we answer. */
    assert_int_equal(hanse_link_send(link, hanse_bytes_str(COMMAND("ping")), &err), HANSE_OK);
    assert_int_equal(step_until(link, &h.messages, 1, &err), HANSE_OK);
    for (begin = hanse_clock_mono_us(); atomic_load(&server.pongs) == 0;) {
        assert_int_equal(hanse_link_step(link, 20, -1, &err), HANSE_OK);
        assert_true(hanse_clock_mono_us() - begin < 5000000);
    }
    /* We slept for longer than dead_ms: our absence is not the peer's. */
    usleep(1100000);
    assert_int_equal(hanse_link_step(link, 0, -1, &err), HANSE_OK);
    atomic_store(&server.paused, true);
    lws_cancel_service(server.peer.context);
    for (begin = hanse_clock_mono_us(); rc == HANSE_OK && hanse_clock_mono_us() - begin < 5000000;)
        rc = hanse_link_step(link, 1000, -1, &err);
    atomic_store(&server.paused, false);
    assert_int_equal(rc, HANSE_E_LINK);
    assert_non_null(strstr(err.text, "silent"));
    assert_true(hanse_clock_mono_us() - begin >= 900000);
    hanse_link_close(link, 0);
}

/* The server pings the idle and hangs up on those who do not answer: our pongs count, without a ping of ours. */
static void test_server_pings(void **state)
{
    heard h = {0};
    hanse_link_config config = config_for(&site, &h);
    hanse_link *link = NULL;
    hanse_err err = {0};
    (void)state;

    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
    for (uint64_t begin = hanse_clock_mono_us(); hanse_clock_mono_us() - begin < 5000000;)
        if (hanse_link_step(link, 500, -1, &err) != HANSE_OK)
            fail_msg("after %d ms: %s", (int)((hanse_clock_mono_us() - begin) / 1000), err.text);
    hanse_link_close(link, 0);
}

static void test_wake(void **state)
{
    heard h = {0};
    hanse_link_config config = config_for(&site, &h);
    hanse_link *link = NULL;
    hanse_err err = {0};
    uint64_t begin = hanse_clock_mono_us();
    int fds[2], port, deaf = listen_on(&port);
    (void)state;

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
    for (int i = 0; i < 5; i++) /* whatever the server still had to say */
        assert_int_equal(hanse_link_step(link, 10, fds[0], &err), HANSE_OK);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(hanse_link_step(link, 5000, fds[0], &err), HANSE_OK);
    hanse_link_close(link, 0);
    link = NULL;
    config.port = (uint16_t)port; /* takes connections and never answers */
    config.wake_fd = fds[0];
    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_E_AGAIN);
    assert_true(hanse_clock_mono_us() - begin < 2000000);
    config.wake_fd = -1;
    config.connect_timeout_ms = 100;
    refused(&config, HANSE_E_LINK, "no answer in time");
    close(fds[0]);
    close(fds[1]);
    close(deaf);
}

/* --- what a broken or hostile coordinator may send --- */

static void test_bad_messages(void **state)
{
    static uint8_t big[3 << 20];
    static const struct {
        const char *name, *words;
        const uint8_t *data;
        size_t len;
    } rows[] = {
        {"no bytes", "a message of 0 bytes", (const uint8_t *)COMMAND("none"), 7},
        {"3 MiB of OFFER", "OFFER is longer than", big, sizeof big},
        {"a kind of ours", "HELLO goes the other way", (const uint8_t *)"\x94\x01\x01\xa0\x01", 5},
        {"no msgpack", "begins with byte 0xc1", (const uint8_t *)"\xc1\xc1", 2},
    };
    (void)state;

    memcpy(big, "\x96\x05\xc5", 3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        heard h = {0};
        hanse_link_config config = config_for(&site, &h);
        hanse_link *link = NULL;
        hanse_err err = {0};
        hanse_rc rc;

        print_message("%s\n", rows[i].name);
        assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
        assert_int_equal(hanse_link_send(link, (hanse_bytes){rows[i].data, rows[i].len}, &err), HANSE_OK);
        rc = step_until(link, &h.messages, 1, &err);
        if (rc != HANSE_E_PROTOCOL || strstr(err.text, rows[i].words) == NULL)
            fail_msg("%s: %s", hanse_rc_name(rc), err.text);
        assert_int_equal(hanse_link_step(link, 0, -1, &err), HANSE_E_LINK);
        hanse_link_close(link, 10);
    }
}

/* An empty message of ours is one frame, and reaches the server as a message (which echoes it: see above). */
static void test_empty_send(void **state)
{
    heard h = {0};
    hanse_link_config config = config_for(&site, &h);
    hanse_link *link = NULL;
    hanse_err err = {0};
    (void)state;

    assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
    assert_int_equal(hanse_link_send(link, HANSE_BYTES_EMPTY, &err), HANSE_OK);
    assert_int_equal(hanse_link_queued(link), 6);
    assert_int_equal(step_until(link, &h.messages, 1, &err), HANSE_E_PROTOCOL);
    hanse_link_close(link, 0);
}

/* Why it hung up is heard before that it did, also when it hung up on what we were still sending. */
static void test_error_then_close(void **state)
{
    static uint8_t long_one[2 << 20];
    (void)state;

    memcpy(long_one, COMMAND("rude"), 7);
    for (int i = 0; i < 60; i++) {
        heard h = {0};
        hanse_link_config config = config_for(&site, &h);
        hanse_link *link = NULL;
        hanse_err err = {0};
        hanse_bytes message = i % 2 == 0 ? hanse_bytes_str(COMMAND("fail")) : (hanse_bytes){long_one, sizeof long_one};

        assert_int_equal(hanse_link_open(&link, &config, &err), HANSE_OK);
        assert_int_equal(hanse_link_send(link, message, &err), HANSE_OK);
        assert_int_equal(step_until(link, &h.messages, 2, &err), HANSE_E_LINK);
        if (h.errors != 1)
            fail_msg("attempt %d: %zu messages, %s", i, h.messages, err.text);
        hanse_link_close(link, 100);
    }
}

/* A site's certificate to which the CA, misled, gave the coordinator's host names. */
static void add_hosts(tls_party *p)
{
    X509 *cert = X509_dup(p->cert);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "URI:urn:hanse:org:site,DNS:localhost,IP:127.0.0.1");

    assert_non_null(cert);
    assert_non_null(names);
    X509_EXTENSION_free(X509_delete_ext(cert, X509_get_ext_by_NID(cert, NID_subject_alt_name, -1)));
    assert_int_equal(X509_add_ext(cert, names, -1), 1);
    assert_true(X509_sign(cert, ca.key, EVP_sha256()) > 0);
    X509_EXTENSION_free(names);
    hanse_cert_free(p->cert);
    p->cert = cert;
    hanse_buf_clear(&p->cert_pem);
    assert_int_equal(hanse_cert_to_pem(p->cert, &p->cert_pem, NULL), HANSE_OK);
}

static int setup(void **state)
{
    uint8_t serials[1][HANSE_SERIAL_LEN];
    hanse_cert_info info;
    (void)state;

    tls_party_ca(&ca, "Test");
    tls_party_ca(&other_ca, "Other");
    tls_party_certify(&coordinator, &ca, HANSE_PROFILE_COORDINATOR_TLS);
    tls_party_certify(&site, &ca, HANSE_PROFILE_SITE_TLS);
    tls_party_certify(&revoked, &ca, HANSE_PROFILE_SITE_TLS);
    tls_party_certify(&impostor, &ca, HANSE_PROFILE_SITE_TLS);
    add_hosts(&impostor);
    assert_int_equal(hanse_cert_read(revoked.cert, &info, NULL), HANSE_OK);
    memcpy(serials[0], info.serial, HANSE_SERIAL_LEN);
    assert_int_equal(hanse_crl_new(&crl, ca.cert, ca.key, NULL, (const uint8_t(*)[HANSE_SERIAL_LEN])serials, 1, time(NULL),
                                   time(NULL) + 86400, NULL), HANSE_OK);
    server_start(&coordinator, false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;

    server_stop();
    hanse_crl_free(crl);
    tls_party_clear(&ca);
    tls_party_clear(&other_ca);
    tls_party_clear(&coordinator);
    tls_party_clear(&site);
    tls_party_clear(&revoked);
    tls_party_clear(&impostor);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),       cmocka_unit_test(test_flood), cmocka_unit_test(test_cap),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_impostor),   cmocka_unit_test(test_refused_always_says_why),
        cmocka_unit_test(test_pin),        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_dead_peer),  cmocka_unit_test(test_server_pings),
        cmocka_unit_test(test_wake),
        cmocka_unit_test(test_bad_messages), cmocka_unit_test(test_empty_send),
        cmocka_unit_test(test_error_then_close),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
