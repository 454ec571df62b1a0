#include "node/train/batches.h"

/* Steele, Lea, Flood, OOPSLA 2014. */
static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t mix(uint64_t seed, uint64_t value)
{
    uint64_t state = seed ^ value;

    return splitmix64(&state);
}

/* Fisher-Yates, always from the identity, so that an epoch's order does not depend on those before it. The product of
 * 32 random bits prefers no row by more than N / 2^32. */
static void shuffle(hanse_batches *batches)
{
    uint64_t state = mix(batches->seed, batches->epoch);

    for (size_t i = 0; i < batches->rows; i++)
        batches->order[i] = (uint32_t)i;
    for (size_t i = batches->rows - 1; i > 0; i--) {
        size_t j = (size_t)((splitmix64(&state) >> 32) * (i + 1) >> 32);
        uint32_t other = batches->order[j];

        batches->order[j] = batches->order[i];
        batches->order[i] = other;
    }
    batches->next = 0;
}

hanse_rc hanse_batches_init(hanse_batches *batches, size_t rows, size_t batch, hanse_err *err)
{
    *batches = (hanse_batches){.rows = rows, .batch = batch < rows ? batch : rows};
    batches->order = hanse_calloc(rows, sizeof *batches->order);
    if (batches->order == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the order of %zu rows", rows);
    return HANSE_OK;
}

void hanse_batches_begin(hanse_batches *batches, uint64_t plan_seed, uint64_t site_seed, uint64_t round)
{
    batches->seed = mix(mix(mix(0, plan_seed), site_seed), round);
    batches->epoch = 0;
    shuffle(batches);
}

size_t hanse_batches_next(hanse_batches *batches, const uint32_t **rows)
{
    if (batches->next == batches->rows) {
        batches->epoch++;
        shuffle(batches);
    }
    size_t left = batches->rows - batches->next;
    size_t count = left < batches->batch ? left : batches->batch;

    *rows = batches->order + batches->next;
    batches->next += count;
    return count;
}

void hanse_batches_clear(hanse_batches *batches)
{
    hanse_free(batches->order);
    *batches = (hanse_batches){0};
}
