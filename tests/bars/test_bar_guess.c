/* Bar 3: two honest sites' values are swapped or not, the sum is the same. The attacker (coordinator, one corrupt site, an
 * absent site's opened key) takes off all masks it can compute and guesses by which of the two values is nearer. */
#include "bars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define RUNS 1000
#define ROUNDS_A_WORLD 50
#define WORDS 16
#define BITS 20
#define CORRUPT 4
#define GONE 3

static uint64_t distance(const uint32_t *words, uint32_t value)
{
    uint64_t sum = 0;

    for (uint32_t k = 0; k < WORDS; k++) {
        uint32_t d = (words[k] - value) & ((1u << BITS) - 1);

        sum += d < 1u << (BITS - 1) ? d : (1u << BITS) - d;
    }
    return sum;
}

static bool guesses(void)
{
    uint32_t words[WORDS], values[2] = {1000, 90000};
    unsigned right = 0;
    world w;

    for (unsigned run = 0; run < RUNS; run++) {
        uint64_t slot = run % ROUNDS_A_WORLD + 1;
        unsigned swapped;

        if (slot == 1) {
            world_new(&w, 5, HANSE_SECAGG_ONLINE, run + 1);
            world_segment(&w, 0, WORDS, BITS, 400000, 1.0);
        }
        swapped = world_chance(&w) & 1;
        for (uint32_t i = 0; i < 2; i++)
            for (uint32_t k = 0; k < WORDS; k++)
                w.sites[i].q[0][k] = values[i ^ swapped];
        bars_round(&w, slot, GONE);
        bars_residual(&w, slot, 0, CORRUPT, true, words);
        right += (distance(words, values[1]) < distance(words, values[0])) == (swapped == 1);
        if (slot == ROUNDS_A_WORLD)
            world_free(&w);
    }
    print_message("right: %u of %u\n", right, RUNS);
    return right <= RUNS * 55 / 100;
}

int main(int argc, char **argv)
{
    const bar bars[] = {{"guess", guesses}};

    return bars_main(argc, argv, bars, 1);
}
