/* Bar 15, seeds: every stream of a mask has 32 bytes of its own. Sites, pairs and rounds never share one, restarted or not;
 * a pair's two ends do. Kept: SHA-256 of the seeds. */
#include "bars.h"

#include "hanse/digest.h"
#include "hanse/mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEPT_MAX 1024

static uint8_t kept[KEPT_MAX][32];
static size_t kept_count;

hanse_rc __real_hanse_mask_new(hanse_mask **out, const uint8_t seed[HANSE_MASK_SEED_LEN], bool subtract, hanse_err *err);
hanse_rc __wrap_hanse_mask_new(hanse_mask **out, const uint8_t seed[HANSE_MASK_SEED_LEN], bool subtract, hanse_err *err);

hanse_rc __wrap_hanse_mask_new(hanse_mask **out, const uint8_t seed[HANSE_MASK_SEED_LEN], bool subtract, hanse_err *err)
{
    assert_true(kept_count < KEPT_MAX);
    assert_int_equal(hanse_sha256(kept[kept_count++], (hanse_bytes){seed, HANSE_MASK_SEED_LEN}, err), HANSE_OK);
    return __real_hanse_mask_new(out, seed, subtract, err);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, 32);
}

static size_t distinct(void)
{
    size_t count = kept_count > 0;

    qsort(kept, kept_count, sizeof kept[0], compare);
    for (size_t k = 1; k < kept_count; k++)
        count += memcmp(kept[k - 1], kept[k], 32) != 0;
    return count;
}

#define SITES 5
#define ROUNDS 6

static bool seeds(void)
{
    const size_t each = SITES + SITES * (SITES - 1) / 2; /* a round: selves and pairs */
    size_t count;
    world w;

    world_new(&w, SITES, HANSE_SECAGG_ONLINE, 15);
    kept_count = 0;
    for (uint64_t slot = 1; slot <= ROUNDS; slot++) {
        bars_round(&w, slot, UINT32_MAX);
        world_restart(&w, (uint32_t)slot % SITES); /* the next round's are new ones all the same */
    }
    assert_int_equal(kept_count, ROUNDS * SITES * SITES); /* each site: its own, and one for each other */
    count = distinct();
    print_message("seeds: %zu streams, %zu distinct, want %zu\n", kept_count, count, ROUNDS * each);
    world_free(&w);
    return count == ROUNDS * each;
}

int main(int argc, char **argv)
{
    const bar bars[] = {{"seeds", seeds}};

    return bars_main(argc, argv, bars, 1);
}
