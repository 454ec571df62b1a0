/* mean.h - the weighted mean of a round's contributions, folded once, at the cut: f = sum_i (w_i / W) f_i.
 *
 * Per element the sum runs over the sites by ascending site_id, in double, and is rounded once to float: neither the order of
 * arrival nor the number of threads changes a bit, and one site alone gives its own bits back. Memory: a few chunks a thread. */
#ifndef HANSE_MEAN_H
#define HANSE_MEAN_H

#include "hanse/model_root.h"
#include "hanse/safetensors.h"

#define HANSE_MEAN_THREADS_MAX 64
#define HANSE_MEAN_SLACK ((size_t)16)

/* One contribution, verified when it arrived (finite, length). */
typedef struct hanse_mean_source {
    const uint8_t *site_id; /* [32], unique */
    uint64_t weight;        /* rows; a source of weight 0 is not read */
    /* Fill values[0..count) with data chunk `chunk`: floats from chunk * HANSE_MODEL_CHUNK / 4 on; count is short in the last chunk only.
     * Behind them `values` has HANSE_MEAN_SLACK bytes of room, so that a sealed chunk can be opened where it lies.
     * Called from several threads at once, never twice for one chunk. Any error ends the fold. */
    hanse_rc (*read)(void *context, uint64_t chunk, float *values, size_t count, hanse_err *err);
    void *context;
} hanse_mean_source;

/* Fold `sources` into a new model file at `path` (temporary file, then rename) and give its root.
 *   layout   of every contribution and of the result
 *   threads  1..HANSE_MEAN_THREADS_MAX, the calling one included
 *   sync     fsync before the rename
 * Errors, with `path` as before: WEIGHT (sum of weights is 0 or does not fit u64), DUPLICATE (site_id), NONFINITE (names tensor and index),
 * USAGE, IO, FULL, NOMEM; those of `read`. */
HANSE_MUST_CHECK hanse_rc hanse_mean_fold(const hanse_mean_source *sources, size_t sources_count, const hanse_layout *layout,
                                          const hanse_model_meta *meta, const char *path, size_t threads, bool sync,
                                          uint8_t root[32], hanse_err *err);

/* sum[j] += words[j], exactly. Errors: PROTOCOL (a sum beyond 2^64); `sum` is then unchanged. */
HANSE_MUST_CHECK hanse_rc hanse_aux_add(uint64_t *sum, const uint64_t *words, size_t count, hanse_err *err);

#endif
