/* Bar 2: what is uploaded looks random whatever the values are. */
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
    world_shape(&w, WORDS, 32, BOUND);
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

int main(int argc, char **argv)
{
    const bar bars[] = {{"zeros", zeros}, {"constants", constants}, {"largest", largest}};

    return bars_main(argc, argv, bars, 3);
}
