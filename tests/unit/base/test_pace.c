#include "hanse/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND ((uint64_t)1000000)

static void no_cap_never_waits(void **state)
{
    hanse_pace pace;

    (void)state;
    hanse_pace_init(&pace, 0, 5);
    for (int i = 0; i < 10; i++) {
        assert_true(hanse_pace_may(&pace, 5));
        hanse_pace_took(&pace, (size_t)1 << 40);
        assert_int_equal(hanse_pace_wait_us(&pace, 5), 0);
    }
}

/* Bytes moved in ten seconds by a mover that takes `piece` whenever it may and looks as often as it is told to, or every `look` us. */
static uint64_t moved(uint64_t rate, size_t piece, uint64_t look)
{
    hanse_pace pace;
    uint64_t now = 77, sum = 0;

    hanse_pace_init(&pace, rate, now);
    while (now < 77 + 10 * SECOND) {
        if (hanse_pace_may(&pace, now)) {
            assert_int_equal(hanse_pace_wait_us(&pace, now), 0);
            hanse_pace_took(&pace, piece);
            sum += piece;
        } else {
            uint64_t wait = hanse_pace_wait_us(&pace, now);

            assert_true(wait > 0);
            now += look != 0 ? look : wait;
        }
    }
    return sum;
}

static void the_rate_is_kept(void **state)
{
    static const uint64_t rates[] = {65536, 100000, 1 << 20, 123456789, (uint64_t)1 << 40};
    static const size_t pieces[] = {1000, 16384};
    static const uint64_t looks[] = {0, 1, 3000, 250000};

    (void)state;
    for (size_t r = 0; r < 5; r++)
        for (size_t p = 0; p < 2; p++)
            for (size_t l = 0; l < 4; l++) {
                double rate = (double)rates[r], piece = (double)pieces[p], sum, slept;

                if (rate / piece > 1e6 || (looks[l] == 1 && r > 2))
                    continue; /* too many turns for a test */
                sum = (double)moved(rates[r], pieces[p], looks[l]);
                slept = looks[l] > 100000 ? 0.35 : 0.999; /* who looks seldom leaves credit beyond the burst unused */
                assert_true(sum <= rate * 10.11 + piece);
                assert_true(sum >= rate * 10 * slept - piece);
            }
}

static void idle_time_gathers_a_tenth_of_a_second(void **state)
{
    hanse_pace pace;
    size_t sum = 0;

    (void)state;
    hanse_pace_init(&pace, 1000000, 0);
    for (hanse_pace_took(&pace, 100001); hanse_pace_may(&pace, 3600 * SECOND); sum += 1000)
        hanse_pace_took(&pace, 1000);
    assert_in_range(sum, 100000, 102000);
}

static void a_large_piece_is_paid_for(void **state)
{
    hanse_pace pace;

    (void)state;
    hanse_pace_init(&pace, 65536, 0);
    hanse_pace_took(&pace, 6554 + 65536);
    assert_in_range(hanse_pace_wait_us(&pace, 0), SECOND - 100, SECOND + 100);
    assert_false(hanse_pace_may(&pace, SECOND - 1000));
    assert_in_range(hanse_pace_wait_us(&pace, SECOND - 1000), 900, 1100);
    assert_true(hanse_pace_may(&pace, SECOND + 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_cap_never_waits), cmocka_unit_test(the_rate_is_kept),
                                       cmocka_unit_test(idle_time_gathers_a_tenth_of_a_second), cmocka_unit_test(a_large_piece_is_paid_for)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
