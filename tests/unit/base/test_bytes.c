#include "hanse/bytes.h"

#include <setjmp.h>

#include <cmocka.h>

static void buffers_grow_and_keep_their_content(void **state)
{
    hanse_buf buf = HANSE_BUF_EMPTY;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t byte = (uint8_t)i;

        assert_int_equal(hanse_buf_append(&buf, &byte, 1, NULL), HANSE_OK);
    }
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(buf.data[i], (uint8_t)i);
    assert_int_equal(hanse_buf_printf(&buf, NULL, "%s-%d", "end", 5), HANSE_OK);
    assert_int_equal(buf.len, 1005);
    assert_string_equal((const char *)buf.data + 1000, "end-5");
    hanse_buf_wipe(&buf);
    assert_null(buf.data);
    hanse_buf_clear(&buf); /* twice is fine */
}

static void failures_leave_the_buffer(void **state)
{
    hanse_buf buf = HANSE_BUF_EMPTY;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_buf_append(&buf, "abc", 3, &err), HANSE_OK);
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_buf_reserve(&buf, 100000, &err), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    assert_int_equal(hanse_buf_append(&buf, "x", SIZE_MAX, &err), HANSE_E_NOMEM);
    assert_int_equal(hanse_buf_reserve(&buf, SIZE_MAX, &err), HANSE_E_NOMEM);
    assert_int_equal(buf.len, 3);
    assert_memory_equal(buf.data, "abc", 3);
    hanse_buf_clear(&buf);
    assert_null(hanse_calloc(SIZE_MAX, 2));
    assert_null(hanse_realloc(NULL, SIZE_MAX, 2));
    assert_null(hanse_strndup("a", SIZE_MAX));
}

static void words_hex_and_checked_sums(void **state)
{
    const uint8_t bytes[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    uint8_t back[8] = {0};
    char hex[17];
    size_t out = 5;

    (void)state;
    assert_true(hanse_load_u64le(bytes) == 0xefcdab8967452301ULL);
    hanse_store_u64le(back, 0xefcdab8967452301ULL);
    assert_memory_equal(back, bytes, 8);
    hanse_hex_encode(hex, bytes, 8);
    assert_string_equal(hex, "0123456789abcdef");
    memset(back, 0, 8);
    assert_int_equal(hanse_hex_decode(back, 8, "0123456789ABcdef", NULL), HANSE_OK);
    assert_memory_equal(back, bytes, 8);
    assert_int_equal(hanse_hex_decode(back, 8, "0123456789abcde", NULL), HANSE_E_INVALID);
    assert_int_equal(hanse_hex_decode(back, 8, "0123456789abcdeg", NULL), HANSE_E_INVALID);
    assert_memory_equal(back, bytes, 8);
    assert_false(hanse_size_add(SIZE_MAX, 1, &out));
    assert_false(hanse_size_mul(SIZE_MAX, 2, &out));
    assert_int_equal(out, 5);
    assert_true(hanse_bytes_equal(hanse_bytes_str("ab"), (hanse_bytes){(const uint8_t *)"abc", 2}));
    assert_false(hanse_bytes_equal(hanse_bytes_str("ab"), hanse_bytes_str("ac")));
    assert_true(hanse_bytes_equal(HANSE_BYTES_EMPTY, hanse_bytes_str("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_grow_and_keep_their_content),
        cmocka_unit_test(failures_leave_the_buffer),
        cmocka_unit_test(words_hex_and_checked_sums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
