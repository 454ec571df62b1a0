/* The HTTP around the websocket: RFC 6455's own example, and the answers that must not open one. */
#include "common/wire/ws_http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* RFC 6455, section 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void test_accept_key(void **state)
{
    char out[HANSE_WS_ACCEPT_LEN];
    (void)state;

    assert_int_equal(hanse_ws_accept_key(out, KEY, NULL), HANSE_OK);
    assert_string_equal(out, ACCEPT);
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_ws_accept_key(out, KEY, NULL), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
}

static void test_request(void **state)
{
    hanse_buf out = HANSE_BUF_EMPTY;
    (void)state;

    assert_int_equal(hanse_ws_request(&out, "[::1]:8443", KEY, NULL), HANSE_OK);
    assert_string_equal((char *)out.data, "GET / HTTP/1.1\r\nHost: [::1]:8443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                          "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
                                          "Sec-WebSocket-Protocol: hanse.v1\r\n\r\n");
    hanse_buf_clear(&out);
}

static void test_head(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody";
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", 200}, {"HTTP/1.0 407 No\r\n\r\n", 407}, {"HTTP/1.1 200\r\n\r\n", 200},
        {"", 0}, {"HTTP/1.1 20", 0}, {"HTTP/1.1 2x0 OK\r\n", 0}, {"HTTP/2.0 200 OK\r\n", 0}, {"SSH-2.0-OpenSSH_9.2\r\n", 0},
    };
    (void)state;

    for (size_t len = 0; len < sizeof head; len++) {
        char *exact = malloc(len + 1);

        assert_non_null(exact);
        memcpy(exact, head, len);
        assert_int_equal(hanse_http_head_len((hanse_bytes){(uint8_t *)exact, len}), len < 25 ? 0 : 25);
        free(exact);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(hanse_http_status(hanse_bytes_str(rows[i].text)), rows[i].status);
}

#define OPENS(upgrade, connection, accept, protocol, more)                                                               \
    "HTTP/1.1 101 Switching Protocols\r\n" upgrade connection accept protocol more "\r\n"
#define U "Upgrade: WebSocket\r\n"
#define C "connection: keep-alive , Upgrade\r\n"
#define A "Sec-WebSocket-Accept:  " ACCEPT " \r\n"
#define P "sec-websocket-protocol: hanse.v1\r\n"

static void test_answers(void **state)
{
    static const struct {
        const char *name, *text;
        hanse_rc want;
    } rows[] = {
        {"as it should be", OPENS(U, C, A, P, "Server: x\r\n"), HANSE_OK},
        {"other order", OPENS(P, A, C, U, ""), HANSE_OK},
        {"a web page", "HTTP/1.1 200 OK\r\n" U C A P "\r\n", HANSE_E_LINK},
        {"not HTTP", "220 mail.example ESMTP\r\n\r\n", HANSE_E_LINK},
        {"no upgrade", OPENS("", C, A, P, ""), HANSE_E_LINK},
        {"upgrade to something else", OPENS("Upgrade: h2c\r\n", C, A, P, ""), HANSE_E_LINK},
        {"no connection", OPENS(U, "", A, P, ""), HANSE_E_LINK},
        {"connection of a longer word", OPENS(U, "Connection: upgraded\r\n", A, P, ""), HANSE_E_LINK},
        {"no accept key", OPENS(U, C, "", P, ""), HANSE_E_PROTOCOL},
        {"another accept key", OPENS(U, C, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n", P, ""), HANSE_E_PROTOCOL},
        {"accept key in other letters", OPENS(U, C, "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=\r\n", P, ""), HANSE_E_PROTOCOL},
        {"no subprotocol", OPENS(U, C, A, "", ""), HANSE_E_VERSION},
        {"another subprotocol", OPENS(U, C, A, "Sec-WebSocket-Protocol: hanse.v2\r\n", ""), HANSE_E_VERSION},
        {"an extension", OPENS(U, C, A, P, "Sec-WebSocket-Extensions: permessage-deflate\r\n"), HANSE_E_PROTOCOL},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].text);
        uint8_t *exact = malloc(len);
        hanse_err err = {0};
        hanse_rc rc;

        assert_non_null(exact);
        memcpy(exact, rows[i].text, len);
        rc = hanse_ws_check_answer((hanse_bytes){exact, len}, KEY, &err);
        if (rc != rows[i].want)
            fail_msg("%s: %s %s", rows[i].name, hanse_rc_name(rc), err.text);
        for (size_t cut = 0; cut < len; cut++) /* its end alone opens none */
            assert_true(hanse_ws_check_answer((hanse_bytes){exact + len - cut, cut}, KEY, NULL) != HANSE_OK);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_accept_key), cmocka_unit_test(test_request), cmocka_unit_test(test_head),
                                       cmocka_unit_test(test_answers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
