/* The link against a real libwebsockets server in a thread, with certificates of our own CA. */
#include "hanse/clock.h"
#include "hanse/identity.h"
#include "hanse/link.h"

#include <arpa/inet.h>
#include <libwebsockets.h>
#include <openssl/x509v3.h>
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

typedef struct party {
    hanse_key *key;
    hanse_cert *cert;
    hanse_buf key_pem, cert_pem;
} party;

static party ca, other_ca, coordinator, site, revoked;
static hanse_crl *crl;
static char dir[] = "/tmp/hanse-link-XXXXXX";

static void certify(party *p, const party *by, hanse_profile profile, const char *host)
{
    hanse_buf csr = HANSE_BUF_EMPTY;
    const char *hosts[] = {host, "127.0.0.1"};
    hanse_issue issue = {.profile = profile, .organisation = "org", .site = "site", .now = time(NULL), .days = 10};

    if (host != NULL) {
        issue.hosts = hosts;
        issue.hosts_count = 2;
    }
    assert_int_equal(hanse_key_new(&p->key, HANSE_KEY_P256, NULL), HANSE_OK);
    assert_int_equal(hanse_csr_new(p->key, &csr, NULL), HANSE_OK);
    assert_int_equal(hanse_cert_issue(&p->cert, by->cert, by->key, hanse_buf_bytes(&csr), &issue, NULL), HANSE_OK);
    assert_int_equal(hanse_cert_to_pem(p->cert, &p->cert_pem, NULL), HANSE_OK);
    assert_int_equal(hanse_key_to_pem(p->key, &p->key_pem, NULL), HANSE_OK);
    hanse_buf_clear(&csr);
}

static void party_clear(party *p)
{
    hanse_key_free(p->key);
    hanse_cert_free(p->cert);
    hanse_buf_clear(&p->key_pem);
    hanse_buf_clear(&p->cert_pem);
}

/* --- the server: echoes every message; "\x92\x12\xa4gone" makes it hang up --- */

typedef struct conn {
    hanse_buf got;
    size_t sent;
    bool echo;
} conn;

static struct server {
    pthread_t thread;
    struct lws_context *context;
    int port;
    atomic_bool stop;
    atomic_int pings;
} server;

static int on_ws(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
    static unsigned char out[LWS_PRE + 65536];
    conn *c = user;

    switch (why) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        SSL_CTX_set_min_proto_version(user, TLS1_3_VERSION);
        X509_STORE_add_crl(SSL_CTX_get_cert_store(user), crl);
        X509_STORE_set_flags(SSL_CTX_get_cert_store(user), X509_V_FLAG_CRL_CHECK);
        X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(user), X509_PURPOSE_ANY);
        return 0;
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION: return len == 0;
    case LWS_CALLBACK_RECEIVE:
        if (hanse_buf_append(&c->got, in, len, NULL) != HANSE_OK)
            return -1;
        if (lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0) {
            if (c->got.len == 7 && memcmp(c->got.data, "\x92\x12\xa4gone", 7) == 0)
                return -1;
            c->echo = true;
            lws_rx_flow_control(wsi, 0);
            lws_callback_on_writable(wsi);
        }
        return 0;
    case LWS_CALLBACK_RECEIVE_PONG: atomic_fetch_add(&server.pings, 1); return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        if (c->echo) {
            size_t n = c->got.len - c->sent < 65536 ? c->got.len - c->sent : 65536;
            bool first = c->sent == 0, last;

            memcpy(out + LWS_PRE, c->got.data + c->sent, n);
            c->sent += n;
            last = c->sent == c->got.len;
            if (lws_write(wsi, out + LWS_PRE, n, (enum lws_write_protocol)lws_write_ws_flags(LWS_WRITE_BINARY, first, last)) < (int)n)
                return -1;
            if (!last) {
                lws_callback_on_writable(wsi);
            } else {
                hanse_buf_clear(&c->got);
                c->sent = 0;
                c->echo = false;
                lws_rx_flow_control(wsi, 1);
            }
        }
        return 0;
    case LWS_CALLBACK_CLOSED: hanse_buf_clear(&c->got); return 0;
    default: return 0;
    }
}

static const struct lws_protocols protocols[] = {{"hanse.v1", on_ws, sizeof(conn), 65536, 0, NULL, 65536}, {0}};

static void *serve(void *arg)
{
    (void)arg;
    while (!atomic_load(&server.stop))
        lws_service(server.context, 0);
    return NULL;
}

static void write_pem(char path[64], const char *name, const hanse_buf *pem)
{
    FILE *file;

    snprintf(path, 64, "%s/%s", dir, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(pem->data, 1, pem->len, file), pem->len);
    fclose(file);
}

static void server_start(const party *as)
{
    struct lws_context_creation_info info = {0};
    struct lws_vhost *vhost;
    char cert[64], key[64], root[64];

    write_pem(cert, "cert.pem", &as->cert_pem);
    write_pem(key, "key.pem", &as->key_pem);
    write_pem(root, "ca.pem", &ca.cert_pem);
    lws_set_log_level(0, NULL);
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    info.pt_serv_buf_size = 65536;
    server.context = lws_create_context(&info);
    assert_non_null(server.context);
    info.port = 0;
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.options = LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
    info.ssl_cert_filepath = cert;
    info.ssl_private_key_filepath = key;
    info.ssl_ca_filepath = root;
    info.alpn = "http/1.1";
    vhost = lws_create_vhost(server.context, &info);
    assert_non_null(vhost);
    server.port = lws_get_vhost_listen_port(vhost);
    atomic_store(&server.stop, false);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void server_stop(void)
{
    atomic_store(&server.stop, true);
    lws_cancel_service(server.context);
    pthread_join(server.thread, NULL);
    lws_context_destroy(server.context);
}

/* --- the client's ear --- */

typedef struct heard {
    size_t payload, ends, messages;
    uint64_t sum;
} heard;

static hanse_rc on_message(void *user, const hanse_message *m, hanse_err *err)
{
    (void)m;
    (void)err;
    ((heard *)user)->messages++;
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

static hanse_link_config config_for(const party *me, heard *h)
{
    hanse_link_config config = {.host = "127.0.0.1", .port = (uint16_t)server.port, .ca_pem = hanse_buf_bytes(&ca.cert_pem),
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
    assert_int_equal(hanse_link_send(link, hanse_bytes_str("\x92\x12\xa4gone"), &err), HANSE_OK);
    assert_int_equal(step_until(link, &h.ends, 99, &err), HANSE_E_LINK);
    assert_int_equal(hanse_link_send(link, hanse_bytes_str("\x92\x12\xa0"), &err), HANSE_E_LINK);
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
    server_stop();
    server_start(&site); /* a site that plays the coordinator */
    config = config_for(&site, &h);
    config.server_name = "127.0.0.1";
    refused(&config, HANSE_E_IDENTITY, "");
    server_stop();
    server_start(&coordinator);
}

static int setup(void **state)
{
    uint8_t serials[1][HANSE_SERIAL_LEN];
    hanse_cert_info info;
    (void)state;

    assert_non_null(mkdtemp(dir));
    assert_int_equal(hanse_ca_new(&ca.key, &ca.cert, "Test", time(NULL), 5, NULL), HANSE_OK);
    assert_int_equal(hanse_cert_to_pem(ca.cert, &ca.cert_pem, NULL), HANSE_OK);
    assert_int_equal(hanse_ca_new(&other_ca.key, &other_ca.cert, "Other", time(NULL), 5, NULL), HANSE_OK);
    assert_int_equal(hanse_cert_to_pem(other_ca.cert, &other_ca.cert_pem, NULL), HANSE_OK);
    certify(&coordinator, &ca, HANSE_PROFILE_COORDINATOR_TLS, "localhost");
    certify(&site, &ca, HANSE_PROFILE_SITE_TLS, NULL);
    certify(&revoked, &ca, HANSE_PROFILE_SITE_TLS, NULL);
    assert_int_equal(hanse_cert_read(revoked.cert, &info, NULL), HANSE_OK);
    memcpy(serials[0], info.serial, HANSE_SERIAL_LEN);
    assert_int_equal(hanse_crl_new(&crl, ca.cert, ca.key, NULL, (const uint8_t(*)[HANSE_SERIAL_LEN])serials, 1, time(NULL),
                                   time(NULL) + 86400, NULL), HANSE_OK);
    server_start(&coordinator);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"cert.pem", "key.pem", "ca.pem"};
    (void)state;

    server_stop();
    for (size_t i = 0; i < 3; i++) {
        char path[64];

        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    hanse_crl_free(crl);
    party_clear(&ca);
    party_clear(&other_ca);
    party_clear(&coordinator);
    party_clear(&site);
    party_clear(&revoked);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_echo), cmocka_unit_test(test_refusals)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
