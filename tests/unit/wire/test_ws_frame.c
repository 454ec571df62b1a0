/* Frames against the examples of RFC 6455 section 5.7, in pieces of any size. */
#include "common/wire/ws_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t rfc_key[4] = {0x37, 0xfa, 0x21, 0x3d};

static void test_rfc_heads(void **state)
{
    static const struct {
        const char *name;
        uint8_t bytes[HANSE_WS_HEAD_MAX];
        size_t len;
        hanse_ws_head want;
    } rows[] = {
        {"unmasked text Hello", {0x81, 0x05}, 2, {HANSE_WS_TEXT, true, false, {0}, 5}},
        {"masked text Hello", {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d}, 6, {HANSE_WS_TEXT, true, true, {0x37, 0xfa, 0x21, 0x3d}, 5}},
        {"first fragment Hel", {0x01, 0x03}, 2, {HANSE_WS_TEXT, false, false, {0}, 3}},
        {"last fragment lo", {0x80, 0x02}, 2, {HANSE_WS_CONTINUATION, true, false, {0}, 2}},
        {"ping Hello", {0x89, 0x05}, 2, {HANSE_WS_PING, true, false, {0}, 5}},
        {"masked pong Hello", {0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d}, 6, {HANSE_WS_PONG, true, true, {0x37, 0xfa, 0x21, 0x3d}, 5}},
        {"256 bytes", {0x82, 0x7e, 0x01, 0x00}, 4, {HANSE_WS_BINARY, true, false, {0}, 256}},
        {"64 KiB", {0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}, 10, {HANSE_WS_BINARY, true, false, {0}, 65536}},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[HANSE_WS_HEAD_MAX];
        hanse_ws_head head;
        size_t len = 0;

        print_message("%s\n", rows[i].name);
        assert_int_equal(hanse_ws_head_encode(out, &rows[i].want), rows[i].len);
        assert_memory_equal(out, rows[i].bytes, rows[i].len);
        for (size_t cut = 0; cut < rows[i].len; cut++)
            assert_int_equal(hanse_ws_head_decode(&head, &len, (hanse_bytes){out, cut}, NULL), HANSE_E_AGAIN);
        assert_int_equal(hanse_ws_head_decode(&head, &len, (hanse_bytes){out, sizeof out}, NULL), HANSE_OK);
        assert_int_equal(len, rows[i].len);
        assert_int_equal(head.opcode, rows[i].want.opcode);
        assert_int_equal(head.fin, rows[i].want.fin);
        assert_int_equal(head.masked, rows[i].want.masked);
        assert_int_equal(head.len, rows[i].want.len);
        assert_memory_equal(head.key, rows[i].want.key, 4);
    }
}

static void test_bad_heads(void **state)
{
    static const struct {
        const char *name;
        uint8_t bytes[10];
    } rows[] = {
        {"reserved bit 1", {0xc2, 0}},        {"reserved bit 2", {0xa2, 0}},
        {"reserved bit 3", {0x92, 0}},        {"opcode 3", {0x83, 0}},
        {"opcode 7", {0x87, 0}},              {"opcode 11", {0x8b, 0}},
        {"opcode 15", {0x8f, 0}},             {"fragmented ping", {0x09, 0}},
        {"ping of 126", {0x89, 126, 0, 126}}, {"125 in two bytes", {0x82, 126, 0, 125}},
        {"65535 in eight", {0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}},
        {"top bit", {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_ws_head head;
        size_t len;

        print_message("%s\n", rows[i].name);
        assert_int_equal(hanse_ws_head_decode(&head, &len, (hanse_bytes){rows[i].bytes, 10}, NULL), HANSE_E_PROTOCOL);
    }
}

static void test_mask(void **state)
{
    static const uint8_t masked[5] = {0x7f, 0x9f, 0x4d, 0x51, 0x58};
    uint8_t in[300], out[300], back[300];
    (void)state;

    hanse_ws_mask(out, (const uint8_t *)"Hello", 5, rfc_key);
    assert_memory_equal(out, masked, 5);
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 7);
    for (size_t len = 0; len < 140; len++)
        for (size_t start = 0; start < 9; start++) {
            hanse_ws_mask(out + start, in + start, len, rfc_key);
            for (size_t i = 0; i < len; i++)
                assert_int_equal(out[start + i], (uint8_t)(in[start + i] ^ rfc_key[i % 4]));
            memcpy(back, out, sizeof back);
            hanse_ws_mask(back + start, back + start, len, rfc_key);
            assert_memory_equal(back + start, in + start, len);
        }
}

/* Everything the reader hands out of `in`, fed in pieces of `step`, as text: data in (), | at a message's end, controls in []. */
static hanse_rc read_all(const uint8_t *in, size_t len, size_t step, char *out, size_t room)
{
    hanse_ws_reader reader = {0};
    size_t at = 0;

    out[0] = '\0';
    for (size_t done = 0; done < len; done += step) {
        size_t piece = len - done < step ? len - done : step;
        uint8_t *copy = malloc(piece); /* a read past the piece is caught */
        hanse_bytes left;

        assert_non_null(copy);
        memcpy(copy, in + done, piece);
        left = (hanse_bytes){copy, piece};
        for (;;) {
            hanse_ws_event event;
            hanse_rc rc = hanse_ws_read(&reader, &left, &event, NULL);

            if (rc != HANSE_OK || event.kind == HANSE_WS_EVENT_NONE) {
                if (rc != HANSE_OK) {
                    free(copy);
                    return rc;
                }
                break;
            }
            at += (size_t)snprintf(out + at, room - at, event.kind == HANSE_WS_EVENT_CONTROL ? "[%.*s]" : "%.*s%s",
                                   (int)event.data.len, (const char *)event.data.data, event.last ? "|" : "");
        }
        assert_int_equal(left.len, 0);
        free(copy);
    }
    return HANSE_OK;
}

static void test_reader(void **state)
{
    /* Two fragments with a ping between them, an empty message, a pong, a message in one frame. */
    static const uint8_t stream[] = {0x02, 3, 'H', 'e', 'l', 0x89, 2, 'h', 'i', 0x80, 2, 'l', 'o', 0x82, 0, 0x8a, 0,
                                     0x82, 3, 'e', 'n', 'd', 0x88, 2, 'x', 'y'};
    static const struct {
        const char *name;
        uint8_t bytes[8];
        size_t len;
    } bad[] = {
        {"masked", {0x82, 0x81, 1, 2, 3, 4, 5}, 7},
        {"text", {0x81, 1, 'a'}, 3},
        {"continuation of nothing", {0x80, 1, 'a'}, 3},
        {"message inside a message", {0x02, 1, 'a', 0x82, 1, 'b'}, 6},
    };
    char out[200];
    (void)state;

    for (size_t step = 1; step <= sizeof stream; step++) {
        assert_int_equal(read_all(stream, sizeof stream, step, out, sizeof out), HANSE_OK);
        assert_string_equal(out, "Hel[hi]lo||[]end|[xy]");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        print_message("%s\n", bad[i].name);
        for (size_t step = 1; step <= bad[i].len; step++)
            assert_int_equal(read_all(bad[i].bytes, bad[i].len, step, out, sizeof out), HANSE_E_PROTOCOL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_heads), cmocka_unit_test(test_bad_heads), cmocka_unit_test(test_mask), cmocka_unit_test(test_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
