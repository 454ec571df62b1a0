/* Bar 2: what is uploaded looks random whatever the values are. Bar 7: also what lies there of a round that is void. */
#include "bars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define WORDS ((uint64_t)1 << 19)
#define BOUND ((uint64_t)1 << 30)

static bool uploads_of(uint64_t value)
{
    unsigned random = 0;
    world w;

    world_new(&w, 3, HANSE_SECAGG_ONLINE, 2);
    world_segment(&w, 0, WORDS, 32, BOUND, 1.0);
    for (uint32_t i = 0; i < w.n; i++)
        for (uint64_t k = 0; k < WORDS; k++)
            w.sites[i].q[0][k] = value;
    bars_round(&w, 1, UINT32_MAX);
    for (uint32_t i = 0; i < w.n; i++)
        random += bars_look_random(hanse_buf_bytes(&w.sites[i].y));
    assert_true(random == 0 || random == w.n); /* all or none: no site is an exception */
    world_free(&w);
    return random == 3;
}

static bool zeros(void) { return uploads_of(0); }
static bool constants(void) { return uploads_of(12345); }
static bool largest(void) { return uploads_of(BOUND / 3); }

/* Two of five are missing and one may be: there is no cut, no site gives a share, and the uploads stay what they were. */
static bool void_round(void)
{
    unsigned random = 0;
    world w;

    world_new(&w, 5, HANSE_SECAGG_ONLINE, 7);
    world_segment(&w, 0, WORDS, 32, BOUND, 1.0);
    w.keep_values = true;
    world_round_new(&w, 1, NULL);
    for (uint32_t i = 0; i < w.n; i++)
        assert_int_equal(world_leave(&w, i, 1), HANSE_OK);
    assert_int_equal(hanse_secagg_round_open(w.round, w.now_ms, &w.err), HANSE_OK);
    for (uint32_t i = 0; i < w.n; i++) {
        assert_int_equal(world_spec(&w, i, true), HANSE_OK);
        if (i >= 3)
            continue;
        assert_int_equal(world_mask(&w, i, 1), HANSE_OK);
        assert_int_equal(world_header(&w, i), HANSE_OK);
        assert_int_equal(world_complete(&w, i), HANSE_OK);
        random += bars_look_random(hanse_buf_bytes(&w.sites[i].y));
    }
    assert_int_not_equal(hanse_secagg_round_cut(w.round, &w.err), HANSE_OK);
    assert_int_equal(hanse_secagg_reason_of(&w.err), HANSE_SECAGG_COHORT);
    for (uint32_t i = 0; i < w.n; i++)
        assert_int_equal(w.sites[i].answers, 0);
    assert_true(random == 0 || random == 3);
    world_free(&w);
    return random == 3;
}

int main(int argc, char **argv)
{
    const bar bars[] = {{"zeros", zeros}, {"constants", constants}, {"largest", largest}, {"void", void_round}};

    return bars_main(argc, argv, bars, 4);
}
