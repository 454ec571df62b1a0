/* Bar 5: the sum that is opened is the plain sum, bit for bit, in whatever order things arrive; and before the masks are off it
 * is not, which is what fails without them. --all: with 300 sites, too. */
#include "bars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

typedef struct shape {
    uint32_t n;
    uint64_t words;
    uint32_t bits;
} shape;

/* A permutation of 0..n-1. */
static void shuffle(world *w, uint32_t *order)
{
    for (uint32_t i = 0; i < w->n; i++) {
        uint32_t j = (uint32_t)(world_chance(w) % (i + 1));

        order[i] = order[j];
        order[j] = i;
    }
}

static void for_all(world *w, uint32_t *order, hanse_rc (*step)(world *w, uint32_t i))
{
    shuffle(w, order);
    for (uint32_t i = 0; i < w->n; i++)
        if (step(w, order[i]) != HANSE_OK)
            fail_msg("member %u of %u: %s", order[i], w->n, w->err.text);
}

static hanse_rc leave(world *w, uint32_t i) { return world_leave(w, i, 1); }

static hanse_rc take_part(world *w, uint32_t i)
{
    hanse_rc rc = world_spec(w, i, true);

    if (rc == HANSE_OK)
        rc = world_mask(w, i, 1); /* with the largest values of both signs among the others */
    return rc == HANSE_OK ? world_header(w, i) : rc;
}

static bool exact(shape s)
{
    uint32_t *order = hanse_calloc(s.n, sizeof *order);
    bool equal = false;
    world w;

    assert_non_null(order);
    world_new(&w, s.n, HANSE_SECAGG_ONLINE, s.n + s.words + s.bits);
    world_segment(&w, 0, s.words, s.bits, ((uint64_t)1 << (s.bits - 2)) - 1, 1.0);
    world_round_new(&w, 1, NULL);
    for_all(&w, order, leave);
    assert_int_equal(hanse_secagg_round_open(w.round, w.now_ms, &w.err), HANSE_OK);
    for_all(&w, order, take_part);
    for_all(&w, order, world_complete);
    assert_int_equal(hanse_secagg_round_cut(w.round, &w.err), HANSE_OK);
    for_all(&w, order, world_sign_cut);
    for_all(&w, order, world_answer);
    assert_int_equal(world_finish(&w, &equal, NULL), HANSE_OK);
    world_free(&w);
    hanse_free(order);
    print_message("%u sites, %llu words of %u bits: %s\n", s.n, (unsigned long long)s.words, s.bits, equal ? "exact" : "wrong, or never masked");
    return equal;
}

static bool all_of(const shape *shapes, size_t count)
{
    size_t good = 0;

    for (size_t k = 0; k < count; k++)
        good += exact(shapes[k]);
    assert_true(good == 0 || good == count); /* all or none */
    return good > 0;
}

static bool few_words(void)
{
    static const uint32_t sites[] = {3, 5, 10}, bits[] = {16, 24, 32, 64};
    shape shapes[24];
    size_t count = 0;

    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 4; k++)
            for (uint64_t words = 1; words <= 1000; words *= 1000)
                shapes[count++] = (shape){sites[i], words, bits[k]};
    return all_of(shapes, count);
}

static bool many_words(void)
{
    static const shape shapes[] = {{3, 1000007, 16}, {3, 1000007, 24}, {3, 1000007, 32}, {3, 1000007, 64}};

    return all_of(shapes, 4);
}

static bool many_sites(void)
{
    return all_of((const shape[]){{50, 1000, 24}, {50, 1, 64}, {50, 1003, 16}, {50, 1003, 32}}, 4);
}

static bool most_sites(void)
{
    return all_of((const shape[]){{300, 1003, 32}}, 1);
}

int main(int argc, char **argv)
{
    const bar bars[] = {{"few words", few_words}, {"many words", many_words}, {"many sites", many_sites}, {"most sites", most_sites}};

    return bars_main(argc, argv, bars, argc > 1 && strcmp(argv[1], "--all") == 0 ? 4 : 3);
}
