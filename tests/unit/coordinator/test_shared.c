/* Messages in queues: each reads as it was said, and what they have in common is there once. */
#include "coordinator/server/shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LIST ((size_t)70000)

/* A beginning that depends on its length only, and `end` behind it, `end_len` times. */
static hanse_buf message(size_t begin_len, uint8_t end, size_t end_len)
{
    hanse_buf bytes = HANSE_BUF_EMPTY;

    for (size_t i = 0; i < begin_len + end_len; i++)
        assert_int_equal(hanse_buf_append(&bytes, i < begin_len ? (uint8_t[]){(uint8_t)(i * i >> 3)} : &end, 1, NULL), HANSE_OK);
    return bytes;
}

/* In pieces of every kind, across the border too. */
static void assert_reads(const hanse_parts *parts, hanse_buf want)
{
    static const size_t pieces[] = {1, 7, 4096, 65536, 1000000};
    uint8_t *room = hanse_calloc(want.len + 1, 1);

    assert_int_equal(hanse_parts_len(parts), want.len);
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        memset(room, 0, want.len);
        for (size_t at = 0; at < want.len; at += pieces[p])
            hanse_parts_read(parts, at, room + at, want.len - at < pieces[p] ? want.len - at : pieces[p]);
        assert_memory_equal(room, want.data, want.len);
    }
    hanse_free(room);
    hanse_buf_clear(&want);
}

static void take(hanse_parts *parts, hanse_shared **newest, hanse_buf bytes)
{
    assert_int_equal(hanse_parts_take(parts, newest, &bytes, NULL), HANSE_OK);
    assert_null(bytes.data);
}

static void test_same_and_nearly_same(void **state)
{
    hanse_shared *newest = NULL;
    hanse_parts parts[4];

    (void)state;
    take(&parts[0], &newest, message(LIST, 1, 80));
    take(&parts[1], &newest, message(LIST, 2, 80));
    take(&parts[2], &newest, message(LIST, 1, 80));
    take(&parts[3], &newest, message(LIST, 1, 200));
    assert_int_equal(parts[1].rest.len, 80);
    assert_int_equal(parts[2].rest.len, 0);
    assert_int_equal(parts[3].rest.len, 120);
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(parts[i].head, newest);
    hanse_parts_clear(&parts[0]); /* the one that brought it goes first */
    assert_reads(&parts[1], message(LIST, 2, 80));
    assert_reads(&parts[2], message(LIST, 1, 80));
    assert_reads(&parts[3], message(LIST, 1, 200));
    hanse_parts_clear(&parts[2]);
    hanse_parts_clear(&parts[1]);
    assert_non_null(newest);
    hanse_parts_clear(&parts[3]);
    assert_null(newest);
    take(&parts[0], &newest, message(LIST, 1, 80));
    assert_reads(&parts[0], message(LIST, 1, 80));
    hanse_parts_clear(&parts[0]);
}

/* Another list takes the place; those who hold the old one keep it. */
static void test_replaced(void **state)
{
    hanse_shared *newest = NULL, *old;
    hanse_parts a, b, c;

    (void)state;
    take(&a, &newest, message(LIST, 1, 1));
    old = newest;
    take(&b, &newest, message(0, 9, LIST));
    assert_ptr_not_equal(newest, old);
    take(&c, &newest, message(LIST, 1, 1)); /* is there, but no longer found */
    assert_ptr_not_equal(c.head, old);
    assert_reads(&a, message(LIST, 1, 1));
    hanse_parts_clear(&a); /* must not take away the place of c */
    assert_ptr_equal(newest, c.head);
    assert_reads(&b, message(0, 9, LIST));
    assert_reads(&c, message(LIST, 1, 1));
    hanse_parts_clear(&b);
    hanse_parts_clear(&c);
    assert_null(newest);
}

static void test_small(void **state)
{
    hanse_shared *newest = NULL;
    hanse_parts parts, large;

    (void)state;
    take(&parts, &newest, message(0, 1, HANSE_SHARED_MIN - 1));
    assert_null(newest);
    assert_reads(&parts, message(0, 1, HANSE_SHARED_MIN - 1));
    take(&large, &newest, message(HANSE_SHARED_MIN, 1, 0));
    hanse_parts_clear(&parts);
    take(&parts, &newest, message(HANSE_SHARED_MIN - 1, 1, 0)); /* begins alike, but is not worth it */
    assert_null(parts.head);
    assert_reads(&parts, message(HANSE_SHARED_MIN - 1, 1, 0));
    hanse_parts_clear(&parts);
    take(&parts, &newest, (hanse_buf)HANSE_BUF_EMPTY);
    assert_int_equal(hanse_parts_len(&parts), 0);
    hanse_parts_clear(&parts);
    hanse_parts_clear(&large);
}

static void test_no_memory(void **state)
{
    hanse_shared *newest = NULL;
    hanse_parts first = HANSE_PARTS_EMPTY, second = HANSE_PARTS_EMPTY;
    hanse_buf bytes = message(LIST, 1, 1), other = message(LIST, 2, 1);

    (void)state;
    for (long k = 0; k < 2; k++) {
        hanse_alloc_fail_at(k);
        assert_int_equal(hanse_parts_take(&first, &newest, &bytes, NULL), HANSE_E_NOMEM);
        hanse_alloc_fail_at(-1);
        assert_null(newest);
        assert_int_equal(bytes.len, LIST + 1);
    }
    take(&first, &newest, bytes);
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_parts_take(&second, &newest, &other, NULL), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    hanse_parts_clear(&first); /* nobody else holds it */
    assert_null(newest);
    hanse_buf_clear(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_and_nearly_same),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
