/* Objects: round trip, every truncation and one byte too many refused, bounds, ranges, Merkle vectors, chunk shapes. */
#include "tests/support/secagg_again.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static hanse_secagg_spec a_spec(hanse_secagg_segment *segments)
{
    segments[0] = (hanse_secagg_segment){.count = 1000, .bits = 20, .bound = 400000, .clip = 0x3ff0000000000000u, .scaled = 1};
    segments[1] = (hanse_secagg_segment){.count = 8, .bits = 64, .bound = (uint64_t)1 << 50};
    return (hanse_secagg_spec){.slot = 9, .kind = 1, .params = {.n = 10, .c = 2, .d_max = 2, .m = 8, .t = 7}, .weight_total = 5000, .upload_deadline_ms = 5,
                               .unmask_deadline_ms = 6, .chunk_words = 256, .segments_count = 2, .segments = segments};
}

static void test_round_trips(void **state)
{
    uint8_t in[11] = {1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1}, kinds[3] = {1, 0, 2}, shares[3][32] = {{1, 2}, {0}, {9}};
    hanse_secagg_segment segments[2];
    hanse_secagg_epoch epoch = {.epoch = 3, .not_before_ms = 1, .not_after_ms = 2};
    hanse_secagg_ticket ticket = {.slot = 4, .expiry_ms = 77, .holders = 5};
    hanse_secagg_spec spec = a_spec(segments);
    hanse_secagg_upload upload = {.slot = 1, .chunks = 2, .len = 3};
    hanse_secagg_cut cut = {.slot = 1, .n = 11, .in = in};
    hanse_secagg_cutsig cutsig = {{1}, {2}, {3}};
    hanse_secagg_answer answer = {.n = 3, .kinds = kinds, .shares = shares};
    hanse_secagg_dead dead = {.slot = 8};
    struct { const char *name; hanse_buf bytes; secagg_again *again; size_t len; } rows[] = {
        {"epoch", HANSE_BUF_EMPTY, epoch_again, 84}, {"ticket", HANSE_BUF_EMPTY, ticket_again, 16 + 8 + 64 + 16 + 8 + 160 + 4},
        {"spec", HANSE_BUF_EMPTY, spec_again, 0}, {"upload", HANSE_BUF_EMPTY, upload_again, 152}, {"cut", HANSE_BUF_EMPTY, cut_again, 32 + 16 + 8 + 4 + 2 + 32},
        {"cutsig", HANSE_BUF_EMPTY, cutsig_again, 96}, {"answer", HANSE_BUF_EMPTY, answer_again, 96 + 4 + 99}, {"dead", HANSE_BUF_EMPTY, dead_again, 56}};

    (void)state;
    assert_int_equal(hanse_secagg_epoch_encode(&rows[0].bytes, &epoch, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_ticket_encode(&rows[1].bytes, &ticket, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_spec_encode(&rows[2].bytes, &spec, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_upload_encode(&rows[3].bytes, &upload, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_cut_encode(&rows[4].bytes, &cut, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_cutsig_encode(&rows[5].bytes, &cutsig, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_answer_encode(&rows[6].bytes, &answer, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_dead_encode(&rows[7].bytes, &dead, NULL), HANSE_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_buf out = HANSE_BUF_EMPTY;
        hanse_err err;

        if (rows[i].len > 0)
            assert_int_equal(rows[i].bytes.len, rows[i].len);
        assert_int_equal(rows[i].again(&out, hanse_buf_bytes(&rows[i].bytes), &err), HANSE_OK);
        assert_true(hanse_bytes_equal(hanse_buf_bytes(&out), hanse_buf_bytes(&rows[i].bytes)));
        for (size_t len = 0; len < rows[i].bytes.len; len++) {
            assert_int_equal(rows[i].again(&out, (hanse_bytes){rows[i].bytes.data, len}, &err), HANSE_E_PROTOCOL);
            assert_int_equal(hanse_secagg_reason_of(&err), HANSE_SECAGG_ENCODING);
        }
        assert_int_equal(hanse_buf_append(&rows[i].bytes, "", 1, NULL), HANSE_OK);
        assert_int_equal(rows[i].again(&out, hanse_buf_bytes(&rows[i].bytes), &err), HANSE_E_PROTOCOL);
        hanse_buf_clear(&out);
        hanse_buf_clear(&rows[i].bytes);
    }
}

static void test_one_encoding(void **state)
{
    uint8_t in[3] = {1, 1, 1}, kinds[1] = {1}, shares[1][32] = {{1}};
    hanse_secagg_cut cut = {.n = 3, .in = in}, back;
    hanse_secagg_answer answer = {.n = 1, .kinds = kinds, .shares = shares}, other;
    hanse_secagg_ticket ticket = {.slot = 4, .expiry_ms = 77, .holders = 5};
    hanse_buf bytes = HANSE_BUF_EMPTY;

    (void)state;
    assert_int_equal(hanse_secagg_cut_encode(&bytes, &cut, NULL), HANSE_OK);
    assert_int_equal(bytes.data[60], 0xe0);
    bytes.data[60] = 0xe1; /* a bit behind the last member */
    assert_int_equal(hanse_secagg_cut_decode(&back, hanse_buf_bytes(&bytes), NULL), HANSE_E_PROTOCOL);
    bytes.len = 0;
    assert_int_equal(hanse_secagg_answer_encode(&bytes, &answer, NULL), HANSE_OK);
    bytes.data[100] = 0; /* NONE with a share */
    assert_int_equal(hanse_secagg_answer_decode(&other, hanse_buf_bytes(&bytes), NULL), HANSE_E_PROTOCOL);
    bytes.data[100] = 3; /* a third kind */
    assert_int_equal(hanse_secagg_answer_decode(&other, hanse_buf_bytes(&bytes), NULL), HANSE_E_PROTOCOL);
    bytes.len = 0;
    assert_int_equal(hanse_secagg_ticket_encode(&bytes, &ticket, NULL), HANSE_OK);
    bytes.data[bytes.len - 1] = 0; /* for nobody */
    assert_int_equal(hanse_secagg_ticket_decode(&ticket, hanse_buf_bytes(&bytes), NULL), HANSE_E_PROTOCOL);
    bytes.data[bytes.len - 4] = 1; /* for too many */
    assert_int_equal(hanse_secagg_ticket_decode(&ticket, hanse_buf_bytes(&bytes), NULL), HANSE_E_PROTOCOL);
    ticket.holders = HANSE_SECAGG_SITES_MAX + 1;
    assert_int_equal(hanse_secagg_ticket_encode(&bytes, &ticket, NULL), HANSE_E_USAGE);
    hanse_buf_clear(&bytes);
}

static void test_ranges(void **state)
{
    static const struct { const char *name; hanse_secagg_segment segment; bool good; } rows[] = {
        {"2(Q+10)+1 = 2^20 - 1", {.count = 1, .bits = 20, .bound = (1 << 19) - 11, .clip = 1, .scaled = 1}, true},
        {"one more", {.count = 1, .bits = 20, .bound = (1 << 19) - 10, .clip = 1, .scaled = 1}, false},
        {"10 B < 2^63", {.count = 1, .bits = 64, .bound = ((uint64_t)1 << 63) / 10}, true},
        {"10 B > 2^63", {.count = 1, .bits = 64, .bound = ((uint64_t)1 << 63) / 10 + 1}, false},
        {"no bound", {.count = 1, .bits = 64}, false},
        {"huge bound", {.count = 1, .bits = 64, .bound = UINT64_MAX}, false},
        {"no words", {.bits = 64, .bound = 1}, false},
        {"65 bits", {.count = 1, .bits = 65, .bound = 1}, false},
        {"7 bits", {.count = 1, .bits = 7, .bound = 1}, false},
        {"infinite clip", {.count = 1, .bits = 20, .bound = 9, .clip = 0x7ff0000000000000u, .scaled = 1}, false},
        {"negative clip", {.count = 1, .bits = 20, .bound = 9, .clip = 0xbff0000000000000u, .scaled = 1}, false},
        {"scaled without clip", {.count = 1, .bits = 20, .bound = 9, .scaled = 1}, false},
        {"count word needs room too", {.count = 1, .bits = 8, .bound = 1}, true},
    };
    hanse_secagg_segment segments[2];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_secagg_spec spec = a_spec(segments);
        hanse_buf bytes = HANSE_BUF_EMPTY;
        hanse_err err;
        hanse_rc rc;

        segments[1] = rows[i].segment;
        rc = hanse_secagg_spec_encode(&bytes, &spec, &err);
        if ((rc == HANSE_OK) != rows[i].good)
            fail_msg("%s", rows[i].name);
        if (rc != HANSE_OK)
            assert_int_equal(hanse_secagg_reason_of(&err), HANSE_SECAGG_RANGE);
        hanse_buf_clear(&bytes);
    }
}

/* Roots of RFC 6962 test leaves as published with certificate transparency implementations (first 8 bytes here). */
static void test_merkle(void **state)
{
    static const struct { const char *hex; size_t len; } leaf[8] = {{"", 0}, {"00", 1}, {"10", 1}, {"2021", 2}, {"3031", 2}, {"40414243", 4},
        {"5051525354555657", 8}, {"606162636465666768696a6b6c6d6e6f", 16}};
    static const struct { size_t count; const char *head, *tail; } rows[] = {
        {0, "e3b0c442", "b855"}, {1, "6e340b9c", "a01d"}, {2, "fac54203", "c125"}, {3, "aeb6bcfe", "6e77"}, {8, "5dc9da79", "4328"}};
    uint8_t leaves[8][32], bytes[16], root[32];
    char hex[65];

    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (size_t i = 0; i < rows[r].count; i++) {
            assert_int_equal(hanse_hex_decode(bytes, leaf[i].len, leaf[i].hex, NULL), HANSE_OK);
            assert_int_equal(hanse_secagg_leaf(leaves[i], (hanse_bytes){bytes, leaf[i].len}, NULL), HANSE_OK);
        }
        assert_int_equal(hanse_secagg_merkle(root, leaves, rows[r].count, NULL), HANSE_OK);
        hanse_hex_encode(hex, root, 32);
        assert_memory_equal(hex, rows[r].head, 8);
        assert_string_equal(hex + 60, rows[r].tail);
    }
}

static void test_chunks(void **state)
{
    hanse_secagg_segment segments[2];
    hanse_secagg_spec spec = a_spec(segments);
    uint64_t len = 0;

    (void)state;
    assert_int_equal(hanse_secagg_chunks(&spec), 4 + 1); /* 1005 words in 256s, 13 words */
    for (uint64_t i = 0; i < 5; i++)
        len += hanse_secagg_chunk_at(&spec, i).len;
    assert_int_equal(len, hanse_secagg_upload_len(&spec));
    assert_int_equal(len, (1005 * 20 + 7) / 8 + 13 * 8);
    assert_int_equal(hanse_secagg_chunk_at(&spec, 3).word, 768);
    assert_int_equal(hanse_secagg_chunk_at(&spec, 3).words, 1005 - 768);
    assert_int_equal(hanse_secagg_chunk_at(&spec, 4).segment, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trips), cmocka_unit_test(test_one_encoding), cmocka_unit_test(test_ranges),
                                       cmocka_unit_test(test_merkle), cmocka_unit_test(test_chunks)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
