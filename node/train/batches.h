/* batches.h - which rows make up which mini-batch: seeded, without replacement within an epoch. Pure. */
#ifndef HANSE_NODE_TRAIN_BATCHES_H
#define HANSE_NODE_TRAIN_BATCHES_H

#include "hanse/bytes.h"

typedef struct hanse_batches {
    uint32_t *order; /* [rows] this epoch's permutation */
    size_t rows;     /* N >= 1 */
    size_t batch;    /* B >= 1; the last batch of an epoch may be shorter */
    size_t next;     /* position of the next batch in `order` */
    uint64_t seed;   /* of the round */
    uint64_t epoch;  /* 0-based; of the current permutation */
} hanse_batches;

/* Ready to begin; clear it. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_batches_init(hanse_batches *batches, size_t rows, size_t batch, hanse_err *err);
/* Begin a round: the order follows from (plan_seed, site_seed, round, epoch) and nothing else. */
void hanse_batches_begin(hanse_batches *batches, uint64_t plan_seed, uint64_t site_seed, uint64_t round);
/* The next batch: *rows [returned count], borrowed until the next call. After an epoch the next one follows, reshuffled. */
size_t hanse_batches_next(hanse_batches *batches, const uint32_t **rows);
void hanse_batches_clear(hanse_batches *batches);

#endif
