/* The inbox: the same messages whatever the pieces, and bounds that hold before a byte too much is kept. */
#include "hanse/inbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct heard {
    char text[400];
    uint64_t sum; /* of the payload's bytes, weighted by their place */
    size_t payload;
    hanse_rc answer;
} heard;

static void note(heard *h, const char *text)
{
    size_t at = strlen(h->text);

    snprintf(h->text + at, sizeof h->text - at, "%s ", text);
}

static hanse_rc on_message(void *user, const hanse_message *m, hanse_err *err)
{
    (void)err;
    note(user, hanse_kind_name(m->kind));
    return ((heard *)user)->answer;
}

static hanse_rc on_head(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    (void)err;
    assert_null(head->payload.data);
    note(user, "head");
    return HANSE_OK;
}

static hanse_rc on_data(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err)
{
    heard *h = user;
    (void)head;
    (void)err;
    assert_int_equal(offset, h->payload);
    for (size_t i = 0; i < piece.len; i++)
        h->sum += piece.data[i] * (uint64_t)(offset + i + 1);
    h->payload += piece.len;
    return HANSE_OK;
}

static hanse_rc on_end(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    heard *h = user;
    (void)err;
    assert_int_equal(h->payload, head->payload.len);
    assert_true(head->digest.len == 0 || head->digest.data[31] == 31);
    h->payload = 0;
    note(h, "end");
    return HANSE_OK;
}

static const hanse_inbox_ops ops = {on_message, on_head, on_data, on_end};

/* One message in pieces of `step`, each an own allocation. */
static hanse_rc feed(hanse_inbox *inbox, hanse_bytes message, size_t step)
{
    for (size_t done = 0; done == 0 || done < message.len; done += step) {
        size_t len = message.len - done < step ? message.len - done : step;
        uint8_t *piece = malloc(len > 0 ? len : 1);
        hanse_rc rc;

        assert_non_null(piece);
        if (len > 0)
            memcpy(piece, message.data + done, len);
        rc = hanse_inbox_feed(inbox, (hanse_bytes){piece, len}, done + len == message.len, NULL);
        free(piece);
        if (rc != HANSE_OK)
            return rc;
    }
    return HANSE_OK;
}

static void test_any_pieces(void **state)
{
    static uint8_t payload[5000];
    uint8_t digest[32];
    hanse_buf bye = HANSE_BUF_EMPTY, chunk = HANSE_BUF_EMPTY, small = HANSE_BUF_EMPTY, enrol = HANSE_BUF_EMPTY;
    hanse_message m = {.kind = HANSE_BYE, .bye.reason = hanse_bytes_str("good night")};
    uint64_t want = 0;
    (void)state;

    for (size_t i = 0; i < sizeof payload; i++) {
        payload[i] = (uint8_t)(i * 13);
        want += payload[i] * (uint64_t)(i + 1);
    }
    for (size_t i = 0; i < 32; i++)
        digest[i] = (uint8_t)i;
    assert_int_equal(hanse_message_encode(&bye, &m, NULL), HANSE_OK);
    m = (hanse_message){.kind = HANSE_CHUNK, .chunk = {1, 2, {digest, 32}, {payload, sizeof payload}}};
    assert_int_equal(hanse_message_encode(&chunk, &m, NULL), HANSE_OK);
    m = (hanse_message){.kind = HANSE_CHUNK, .chunk = {1, 3, HANSE_BYTES_EMPTY, {payload, 1}}};
    assert_int_equal(hanse_message_encode(&small, &m, NULL), HANSE_OK);
    m = (hanse_message){.kind = HANSE_ENROL, .enrol = {1, {0}, {payload, 4096}, {payload, 4096}}};
    assert_int_equal(hanse_message_encode(&enrol, &m, NULL), HANSE_OK);
    for (size_t step = 1; step < 6000; step += step < 70 ? 1 : 500) {
        hanse_inbox inbox;
        heard h = {0};

        hanse_inbox_init(&inbox, &ops, &h, HANSE_FROM_NODE);
        assert_int_equal(feed(&inbox, hanse_buf_bytes(&bye), step), HANSE_OK);
        assert_int_equal(feed(&inbox, hanse_buf_bytes(&chunk), step), HANSE_OK);
        assert_true(h.sum == want);
        assert_int_equal(feed(&inbox, hanse_buf_bytes(&small), step), HANSE_OK);
        assert_int_equal(feed(&inbox, hanse_buf_bytes(&enrol), step), HANSE_OK);
        assert_true(inbox.held.cap <= 4096);
        assert_int_equal(feed(&inbox, hanse_buf_bytes(&bye), step), HANSE_OK);
        assert_string_equal(h.text, "BYE head end head end ENROL BYE ");
        hanse_inbox_clear(&inbox);
    }
    hanse_buf_clear(&bye);
    hanse_buf_clear(&chunk);
    hanse_buf_clear(&small);
    hanse_buf_clear(&enrol);
}

#define ROW(name, bytes, from) {name, bytes, sizeof bytes - 1, from}

static void test_refuses(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
        hanse_way from;
    } rows[] = {
        ROW("empty message", "", HANSE_FROM_NODE),
        ROW("one byte", "\x92", HANSE_FROM_NODE),
        ROW("no array", "\xc3\x12", HANSE_FROM_NODE),
        ROW("unknown kind", "\x92\x7f", HANSE_FROM_NODE),
        ROW("wrong way", "\x93\x0c\x01\x02", HANSE_FROM_NODE),
        ROW("wrong way back", "\x93\x0b\xc4", HANSE_FROM_COORDINATOR),
        ROW("cut BYE", "\x92\x12\xa3" "ab", HANSE_FROM_NODE),
        ROW("cut head", "\x95\x0a\x01\x00\xc4", HANSE_FROM_NODE),
        ROW("chunk of no chunk", "\x95\x0a\x01\x00\xc4\x00\xc4\x00", HANSE_FROM_NODE),
        ROW("payload cut", "\x95\x0a\x01\x00\xc4\x00\xc4\x05" "abcd", HANSE_FROM_NODE),
        ROW("payload too long", "\x95\x0a\x01\x00\xc4\x00\xc4\x05" "abcdef", HANSE_FROM_NODE),
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step < 12; step++) {
            hanse_inbox inbox;
            heard h = {0};

            hanse_inbox_init(&inbox, &ops, &h, rows[i].from);
            if (step == 1)
                print_message("%s\n", rows[i].name);
            assert_int_equal(feed(&inbox, (hanse_bytes){(const uint8_t *)rows[i].bytes, rows[i].len}, step), HANSE_E_PROTOCOL);
            assert_int_equal(feed(&inbox, hanse_bytes_str("\x92\x12\xa0"), 3), HANSE_E_PROTOCOL);
            assert_null(strstr(h.text, "end"));
            hanse_inbox_clear(&inbox);
        }
}

/* A message that never ends is cut off at the bound of its kind. */
static void test_bound(void **state)
{
    static uint8_t flood[16384];
    hanse_inbox inbox;
    heard h = {0};
    size_t taken = 2;
    (void)state;

    hanse_inbox_init(&inbox, &ops, &h, HANSE_FROM_NODE);
    assert_int_equal(hanse_inbox_feed(&inbox, (hanse_bytes){(const uint8_t *)"\x93\x0b", 2}, false, NULL), HANSE_OK);
    while (hanse_inbox_feed(&inbox, (hanse_bytes){flood, 100}, false, NULL) == HANSE_OK)
        taken += 100;
    assert_true(taken <= hanse_kind_len_max(HANSE_UPLOAD));
    assert_int_equal(inbox.held.cap, 0);
    hanse_inbox_clear(&inbox);
    for (long k = 0; k < 2; k++) {
        hanse_inbox_init(&inbox, &ops, &h, HANSE_FROM_NODE);
        hanse_alloc_fail_at(k);
        assert_int_equal(hanse_inbox_feed(&inbox, (hanse_bytes){(const uint8_t *)"\x95", 1}, false, NULL), k == 0 ? HANSE_E_NOMEM : HANSE_OK);
        hanse_alloc_fail_at(-1);
        hanse_inbox_clear(&inbox);
    }
    /* What the owner refuses ends it too. */
    h.answer = HANSE_E_LATE;
    hanse_inbox_init(&inbox, &ops, &h, HANSE_FROM_NODE);
    assert_int_equal(hanse_inbox_feed(&inbox, hanse_bytes_str("\x92\x12\xa0"), true, NULL), HANSE_E_LATE);
    assert_int_equal(hanse_inbox_feed(&inbox, hanse_bytes_str("\x92\x12\xa0"), true, NULL), HANSE_E_PROTOCOL);
    hanse_inbox_clear(&inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_pieces), cmocka_unit_test(test_refuses), cmocka_unit_test(test_bound)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
