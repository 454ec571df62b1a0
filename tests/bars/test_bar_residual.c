/* Bar 4: less every mask that the coordinator, one corrupt site and an absent site's opened key give, an honest site's upload
 * still looks random; and the attacker takes off the right masks, since what is left adds up to the honest sites' values. */
#include "bars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define WORDS ((uint64_t)1 << 19)
#define CORRUPT 4
#define GONE 3

static void begin(world *w)
{
    world_new(w, 5, HANSE_SECAGG_ONLINE, 4);
    world_segment(w, 0, WORDS, 32, (uint64_t)1 << 30, 1.0);
    for (uint32_t i = 0; i < w->n; i++)
        for (uint64_t k = 0; k < WORDS; k++)
            w->sites[i].q[0][k] = i + k % 100;
}

/* Bar 7: one answer too few, after shares had been given: every honest upload still looks random to the same attacker. */
static bool unopened(void)
{
    uint32_t *words = hanse_calloc(WORDS, sizeof *words);
    unsigned random = 0;
    world w;

    assert_non_null(words);
    begin(&w);
    bars_round_unopened(&w, 1, GONE);
    for (uint32_t i = 0; i < GONE; i++) {
        bars_residual(&w, 1, i, CORRUPT, false, words);
        random += bars_look_random((hanse_bytes){(const uint8_t *)words, WORDS * sizeof *words});
    }
    assert_true(random == 0 || random == GONE);
    world_free(&w);
    hanse_free(words);
    return random == GONE;
}

static bool residual(void)
{
    uint32_t *words = hanse_calloc(WORDS, sizeof *words), *sum = hanse_calloc(WORDS, sizeof *sum);
    unsigned random = 0;
    world w;

    assert_non_null(words);
    assert_non_null(sum);
    begin(&w);
    bars_round(&w, 1, GONE);
    for (uint32_t i = 0; i < GONE; i++) {
        bars_residual(&w, 1, i, CORRUPT, true, words);
        random += bars_look_random((hanse_bytes){(const uint8_t *)words, WORDS * sizeof *words});
        for (uint64_t k = 0; k < WORDS; k++)
            sum[k] += words[k];
    }
    for (uint64_t k = 0; k < WORDS; k++)
        assert_int_equal(sum[k], 0 + 1 + 2 + 3 * (k % 100));
    assert_true(random == 0 || random == GONE);
    world_free(&w);
    hanse_free(words);
    hanse_free(sum);
    return random == GONE;
}

int main(int argc, char **argv)
{
    const bar bars[] = {{"residual", residual}, {"unopened", unopened}};

    return bars_main(argc, argv, bars, 2);
}
