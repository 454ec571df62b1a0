/* The link against a server that says exactly what a row tells it to: what no library would send, and pieces that libraries seldom send so. */
#include "common/wire/ws_http.h"
#include "hanse/link.h"
#include "tests/support/tls_peer.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static tls_party ca, coordinator, site;
static size_t messages;

#define BYE "\x82\x03\x92\x12\xa0"
#define BYTES(text) text, sizeof text - 1

static const struct row {
    const char *name;
    const char *answer; /* in place of the upgrade's; NULL: the right one */
    const char *data;   /* right behind it, in the same record */
    size_t len;
    hanse_rc want;
    size_t messages;
    const char *words;
} rows[] = {
    {"a message right behind the upgrade", NULL, BYTES(BYE), HANSE_E_LINK, 1, "closed the connection"},
    {"a message in frames, a ping between", NULL, BYTES("\x02\x01\x92\x89\x02hi\x00\x00\x80\x02\x12\xa0" BYE), HANSE_E_LINK, 2, "closed"},
    {"close with a code", NULL, BYTES(BYE "\x88\x02\x03\xf3" BYE), HANSE_E_LINK, 1, "websocket code 1011"},
    {"close without a code", NULL, BYTES("\x88\x00"), HANSE_E_LINK, 0, "websocket code 1005"},
    {"close of one byte", NULL, BYTES("\x88\x01\x03"), HANSE_E_PROTOCOL, 0, "one byte"},
    {"a pong nobody asked for", NULL, BYTES("\x8a\x02hi" BYE), HANSE_E_LINK, 1, "closed"},
    {"text", NULL, BYTES("\x81\x02hi"), HANSE_E_PROTOCOL, 0, "text"},
    {"masked", NULL, BYTES("\x82\x83" "abcd\xf3\x70\xc3"), HANSE_E_PROTOCOL, 0, "masked"},
    {"a message cut off", NULL, BYTES("\x82\x03\x92\x12"), HANSE_E_LINK, 0, "closed the connection"},
    {"1 EiB to come", NULL, BYTES("\x82\x7f\x10\x00\x00\x00\x00\x00\x00\x00\x92\x12\xa0" "and more than a BYE may ever have"), HANSE_E_LINK, 0, "closed"},
    {"a web page", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", BYTES(""), HANSE_E_LINK, 0, "no websocket there"},
    {"half an answer", "HTTP/1.1 101 Switching Protocols\r\n", BYTES(""), HANSE_E_LINK, 0, "closed the connection"},
    {"no answer", "", BYTES(""), HANSE_E_LINK, 0, "closed the connection"},
};

static hanse_rc on_message(void *user, const hanse_message *message, hanse_err *err)
{
    (void)user;
    (void)err;
    assert_int_equal(message->kind, HANSE_BYE);
    messages++;
    return HANSE_OK;
}
static hanse_rc on_chunk(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    (void)user;
    (void)head;
    return HANSE_FAIL(err, HANSE_E_USAGE, "nobody sends chunks here");
}
static hanse_rc on_data(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err)
{
    (void)offset;
    (void)piece;
    return on_chunk(user, head, err);
}
static const hanse_inbox_ops ops = {on_message, on_chunk, on_data, on_chunk};

static SSL_CTX *ctx;
static int listener, port;

/* Answers one client and closes TLS and the socket in good order. */
static void *serve_one(void *arg)
{
    const struct row *row = arg;
    int fd = accept(listener, NULL, NULL);
    SSL *ssl = SSL_new(ctx);
    char request[2048] = "", accept_key[HANSE_WS_ACCEPT_LEN], *key;
    hanse_buf out = HANSE_BUF_EMPTY;
    hanse_rc rc = HANSE_E_LINK;

    if (fd >= 0 && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request - 1) > 0 &&
        (key = strstr(request, "Sec-WebSocket-Key: ")) != NULL) {
        key += strlen("Sec-WebSocket-Key: ");
        key[strcspn(key, "\r")] = '\0';
        rc = hanse_ws_accept_key(accept_key, key, NULL);
    }
    if (rc == HANSE_OK)
        rc = row->answer != NULL ? hanse_buf_printf(&out, NULL, "%s", row->answer)
                                 : hanse_buf_printf(&out, NULL, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                                                "Connection: Upgrade\r\nSec-WebSocket-Protocol: hanse.v1\r\n"
                                                                "Sec-WebSocket-Accept: %s\r\n\r\n", accept_key);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&out, row->data, row->len, NULL);
    if (rc == HANSE_OK && out.len > 0)
        (void)SSL_write(ssl, out.data, (int)out.len);
    (void)SSL_shutdown(ssl);
    (void)shutdown(fd, SHUT_WR);
    while (recv(fd, request, sizeof request, 0) > 0) /* what the client still says: else its end would be a reset */
        continue;
    SSL_free(ssl);
    close(fd);
    hanse_buf_clear(&out);
    return NULL;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_link_config config = {.host = "127.0.0.1", .server_name = "localhost", .port = (uint16_t)port, .ca_pem = hanse_buf_bytes(&ca.cert_pem),
                                    .cert_pem = hanse_buf_bytes(&site.cert_pem), .key = site.key, .proxy = "", .wake_fd = -1,
                                    .connect_timeout_ms = 5000, .ops = &ops};
        hanse_link *link = NULL;
        hanse_err err = {0};
        pthread_t thread;
        hanse_rc rc;

        messages = 0;
        assert_int_equal(pthread_create(&thread, NULL, serve_one, (void *)(uintptr_t)&rows[i]), 0);
        rc = hanse_link_open(&link, &config, &err);
        while (rc == HANSE_OK)
            rc = hanse_link_step(link, 1000, -1, &err);
        hanse_link_close(link, 0);
        pthread_join(thread, NULL);
        if (rc != rows[i].want || messages != rows[i].messages || strstr(err.text, rows[i].words) == NULL)
            fail_msg("%s: %zu messages, %s: %s", rows[i].name, messages, hanse_rc_name(rc), err.text);
    }
}

static int setup(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    (void)state;

    (void)signal(SIGPIPE, SIG_IGN);
    tls_party_ca(&ca, "Test");
    tls_party_certify(&coordinator, &ca, HANSE_PROFILE_COORDINATOR_TLS);
    tls_party_certify(&site, &ca, HANSE_PROFILE_SITE_TLS);
    ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_use_certificate(ctx, coordinator.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, coordinator.key), 1);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    port = ntohs(at.sin_port);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(listener);
    SSL_CTX_free(ctx);
    tls_party_clear(&ca);
    tls_party_clear(&coordinator);
    tls_party_clear(&site);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
