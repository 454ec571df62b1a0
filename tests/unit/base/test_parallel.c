#include "hanse/parallel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { MOST = 1000 };

typedef struct field {
    int times[MOST]; /* that the item was done */
    size_t step, whole, fails;
} field;

static hanse_rc mark(void *context, size_t first, size_t count, hanse_err *err)
{
    field *f = context;

    assert_int_equal(first % f->step, 0);
    assert_true((first + count) % f->step == 0 || first + count == f->whole);
    for (size_t i = first; i < first + count; i++) {
        f->times[i]++;
        if (i == f->fails)
            return HANSE_FAIL(err, HANSE_E_IO, "item %zu", i);
    }
    return HANSE_OK;
}

static void test_every_item_once(void **state)
{
    static const size_t counts[] = {0, 1, 7, 8, 9, 63, 64, 65, 999};
    (void)state;
    for (size_t threads = 0; threads < 80; threads += 3)
        for (size_t step = 1; step <= 64; step *= 8)
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                field f = {.step = step, .whole = counts[c], .fails = MOST};
                hanse_err err;

                assert_int_equal(hanse_in_parallel(threads, counts[c], step, mark, &f, &err), HANSE_OK);
                for (size_t i = 0; i < MOST; i++)
                    assert_int_equal(f.times[i], i < counts[c] ? 1 : 0);
            }
}

static void test_first_error(void **state)
{
    (void)state;
    for (size_t threads = 1; threads < 9; threads++) {
        field f = {.step = 1, .whole = 100, .fails = 42};
        hanse_err err;

        assert_int_equal(hanse_in_parallel(threads, 100, 1, mark, &f, &err), HANSE_E_IO);
        assert_string_equal(err.text, "item 42");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_item_once), cmocka_unit_test(test_first_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
