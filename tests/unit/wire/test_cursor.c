/* The cursor against msgpack-c's packer, at every cut, and with headers that lie. */
#include "hanse/cursor.h"

#include <msgpack.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_integers(void **state)
{
    (void)state;
    for (int bit = 0; bit <= 64; bit++) {
        uint64_t want = bit == 64 ? UINT64_MAX : 1ull << bit;

        for (int off = -1; off <= 1; off++) {
            uint64_t value = want + (uint64_t)(int64_t)off, got = 42;
            msgpack_sbuffer buf;
            msgpack_packer packer;

            msgpack_sbuffer_init(&buf);
            msgpack_packer_init(&packer, &buf, msgpack_sbuffer_write);
            assert_int_equal(msgpack_pack_uint64(&packer, value), 0);
            for (size_t len = 0; len <= buf.size; len++) {
                hanse_cursor cursor = {(const uint8_t *)buf.data, len};

                assert_int_equal(hanse_cursor_uint(&cursor, &got, UINT64_MAX, NULL), len == buf.size ? HANSE_OK : HANSE_E_PROTOCOL);
                assert_int_equal(cursor.len, len == buf.size ? 0 : len);
            }
            assert_true(got == value);
            if (value > 0) {
                hanse_cursor cursor = {(const uint8_t *)buf.data, buf.size};

                assert_int_equal(hanse_cursor_uint(&cursor, &got, value - 1, NULL), HANSE_E_PROTOCOL);
            }
            msgpack_sbuffer_destroy(&buf);
        }
    }
}

static void test_blobs(void **state)
{
    static const size_t lens[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    static char body[65536];
    (void)state;

    for (size_t i = 0; i < 8; i++)
        for (int is_str = 0; is_str < 2; is_str++) {
            msgpack_sbuffer buf;
            msgpack_packer packer;
            hanse_bytes got;
            hanse_cursor cursor;

            msgpack_sbuffer_init(&buf);
            msgpack_packer_init(&packer, &buf, msgpack_sbuffer_write);
            if (is_str)
                msgpack_pack_str_with_body(&packer, body, lens[i]);
            else
                msgpack_pack_bin_with_body(&packer, body, lens[i]);
            cursor = (hanse_cursor){(const uint8_t *)buf.data, buf.size};
            assert_int_equal((is_str ? hanse_cursor_bin : hanse_cursor_str)(&cursor, &got, NULL), HANSE_E_PROTOCOL);
            for (size_t cut = 1; cut <= buf.size && cut < 9; cut++) {
                hanse_cursor shorter = {(const uint8_t *)buf.data, buf.size - cut};

                assert_int_equal((is_str ? hanse_cursor_str : hanse_cursor_bin)(&shorter, &got, NULL), HANSE_E_PROTOCOL);
            }
            assert_int_equal((is_str ? hanse_cursor_str : hanse_cursor_bin)(&cursor, &got, NULL), HANSE_OK);
            assert_int_equal(got.len, lens[i]);
            assert_int_equal(hanse_cursor_end(&cursor, NULL), HANSE_OK);
            msgpack_sbuffer_destroy(&buf);
        }
}

static void test_arrays(void **state)
{
    static const uint8_t lies[][5] = {{0xdd, 0xff, 0xff, 0xff, 0xff}, {0xdc, 0, 3, 0, 0}, {0x95, 0, 0, 0, 0}};
    static const uint8_t good[] = {0xdc, 0, 2, 0xc3, 0xc2};
    hanse_cursor cursor;
    size_t count = 7;
    bool flag = false;
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        cursor = (hanse_cursor){lies[i], 5};
        assert_int_equal(hanse_cursor_array(&cursor, &count, NULL), HANSE_E_PROTOCOL);
        assert_int_equal(cursor.len, 5);
    }
    assert_int_equal(count, 7);
    cursor = (hanse_cursor){good, sizeof good};
    assert_int_equal(hanse_cursor_array(&cursor, &count, NULL), HANSE_OK);
    assert_int_equal(count, 2);
    assert_int_equal(hanse_cursor_bool(&cursor, &flag, NULL), HANSE_OK);
    assert_true(flag);
    assert_int_equal(hanse_cursor_end(&cursor, NULL), HANSE_E_PROTOCOL);
    assert_int_equal(hanse_cursor_bool(&cursor, &flag, NULL), HANSE_OK);
    assert_false(flag);
    assert_int_equal(hanse_cursor_bool(&cursor, &flag, NULL), HANSE_E_PROTOCOL);
    assert_int_equal(hanse_cursor_array(&cursor, &count, NULL), HANSE_E_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_integers), cmocka_unit_test(test_blobs), cmocka_unit_test(test_arrays)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
