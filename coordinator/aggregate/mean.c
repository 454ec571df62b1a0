/* Workers take data chunks from a counter; each folds its chunk over all sites, writes it, and digests the chunks of the *file*
 * that are complete now. Data starts behind the header, so a file chunk spans two data chunks: the later of the two digests it. */
#include "coordinator/aggregate/mean.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc -std=c17 does so by itself: the same bits from both, with and without FMA */
#endif

#define CHUNK_FLOATS (HANSE_MODEL_CHUNK / sizeof(float))
#define GROUP 4    /* contributions in memory at a time, so that the sums are passed over n/4 times */
#define BLOCK 1024 /* doubles of the sum that stay in the first-level cache while a group is added */

typedef struct part {
    const hanse_mean_source *source;
    double share; /* w_i / W; exactly 1 for one site alone */
} part;

typedef struct fold {
    part *parts; /* [parts_count] ascending by site_id, weight > 0 */
    size_t parts_count;
    const hanse_layout *layout;
    hanse_model_writer *writer;
    uint64_t chunks;      /* of the data */
    uint64_t file_chunks;
    atomic_uchar *missing; /* [file_chunks] data chunks still to be written in each */
    uint8_t *digests;      /* [32 * file_chunks] */
    atomic_uint_fast64_t next;
    atomic_bool failed;
    pthread_mutex_t lock; /* of the error */
    hanse_err err;        /* of the worker that failed first */
} fold;

/* Memory of one worker: no more than its chunks need, for a small model should not pay for zeros. */
typedef struct bench {
    float *values[GROUP]; /* [chunk_max], each with HANSE_MEAN_SLACK bytes behind */
    double *sum;          /* [chunk_max]; holds a chunk of the file at the end */
    uint8_t *memory;
    size_t memory_len;
} bench;

static int by_site(const void *a, const void *b)
{
    return memcmp(((const part *)a)->source->site_id, ((const part *)b)->source->site_id, 32);
}

static void report(fold *f, const hanse_err *err)
{
    pthread_mutex_lock(&f->lock);
    if (!atomic_load(&f->failed))
        f->err = *err;
    atomic_store(&f->failed, true);
    pthread_mutex_unlock(&f->lock);
}

static size_t chunk_count(const fold *f, uint64_t chunk)
{
    size_t left = f->layout->parameters - (size_t)chunk * CHUNK_FLOATS;
    return left < CHUNK_FLOATS ? left : CHUNK_FLOATS;
}

/* sum += share * values, part by part in order; the very first part starts the sum, so that -0 stays -0. */
static void add_group(bench *b, const part *parts, size_t group, size_t count, bool start_sum)
{
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t len = count - start < BLOCK ? count - start : BLOCK;
        double *restrict sum = b->sum + start;
        for (size_t g = 0; g < group; g++) {
            const float *restrict values = b->values[g] + start;
            double share = parts[g].share;
            if (start_sum && g == 0)
                for (size_t j = 0; j < len; j++)
                    sum[j] = share * (double)values[j];
            else
                for (size_t j = 0; j < len; j++)
                    sum[j] += share * (double)values[j];
        }
    }
}

static hanse_rc fold_chunk(fold *f, bench *b, uint64_t chunk, hanse_err *err)
{
    size_t count = chunk_count(f, chunk), first = (size_t)chunk * CHUNK_FLOATS, bad;
    float *mean = b->values[0];

    for (size_t i = 0; i < f->parts_count; i += GROUP) {
        size_t group = f->parts_count - i < GROUP ? f->parts_count - i : GROUP;
        for (size_t g = 0; g < group; g++) {
            const hanse_mean_source *source = f->parts[i + g].source;
            hanse_rc rc = source->read(source->context, chunk, b->values[g], count, err);
            if (rc != HANSE_OK)
                return rc;
        }
        if (f->parts_count > 1) /* one alone is the mean, to the last bit */
            add_group(b, f->parts + i, group, count, i == 0);
    }
    for (size_t j = 0; f->parts_count > 1 && j < count; j++)
        mean[j] = (float)b->sum[j];
    bad = hanse_floats_nonfinite(mean, count);
    if (bad < count) {
        const hanse_tensor *tensor = hanse_layout_find(f->layout, first + bad);
        return HANSE_FAIL(err, HANSE_E_NONFINITE, "tensor %s: the mean at index %zu is NaN or infinite: the model is kept as it was",
                          tensor->name, first + bad - tensor->offset);
    }
    return hanse_model_writer_put(f->writer, first, mean, count, err);
}

/* First and last chunk of the file that data chunk `chunk` lies in. */
static void file_span(const fold *f, uint64_t chunk, uint64_t *first, uint64_t *last)
{
    uint64_t begin = hanse_model_writer_data_offset(f->writer) + chunk * HANSE_MODEL_CHUNK;
    *first = begin / HANSE_MODEL_CHUNK;
    *last = (begin + chunk_count(f, chunk) * sizeof(float) - 1) / HANSE_MODEL_CHUNK;
}

static hanse_rc digest_complete(fold *f, bench *b, uint64_t chunk, hanse_err *err)
{
    uint8_t *bytes = (uint8_t *)b->sum;
    uint64_t size = hanse_model_writer_size(f->writer), j, last;
    hanse_rc rc = HANSE_OK;

    for (file_span(f, chunk, &j, &last); j <= last && rc == HANSE_OK; j++) {
        uint64_t begin = j * HANSE_MODEL_CHUNK, left = size - begin;
        size_t len = left < HANSE_MODEL_CHUNK ? (size_t)left : HANSE_MODEL_CHUNK;
        if (atomic_fetch_sub(&f->missing[j], 1) != 1)
            continue;
        rc = hanse_model_writer_get(f->writer, begin, bytes, len, err);
        if (rc == HANSE_OK)
            rc = hanse_sha256(f->digests + 32 * j, (hanse_bytes){bytes, len}, err);
    }
    return rc;
}

static hanse_rc bench_init(bench *b, const fold *f, hanse_err *err)
{
    size_t count = chunk_count(f, 0), row = count * sizeof(float) + HANSE_MEAN_SLACK;
    size_t groups = f->parts_count < GROUP ? f->parts_count : GROUP;
    uint64_t file = hanse_model_writer_size(f->writer);
    size_t sum = count * sizeof(double), digested = file < HANSE_MODEL_CHUNK ? (size_t)file : HANSE_MODEL_CHUNK;

    row = (row + 63) / 64 * 64;
    b->memory_len = (sum > digested ? sum : digested) + groups * row;
    b->memory = hanse_malloc(1, b->memory_len);
    if (b->memory == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to average in: %zu bytes a thread", b->memory_len);
    for (size_t g = 0; g < groups; g++)
        b->values[g] = (float *)(void *)(b->memory + g * row);
    b->sum = (double *)(void *)(b->memory + groups * row);
    return HANSE_OK;
}

static void *work(void *context)
{
    fold *f = context;
    hanse_err err;
    bench own = {0}, *b = &own;
    hanse_rc rc = bench_init(b, f, &err);

    if (rc != HANSE_OK) {
        report(f, &err);
        return NULL;
    }
    while (!atomic_load(&f->failed)) {
        uint64_t chunk = atomic_fetch_add(&f->next, 1);
        if (chunk >= f->chunks)
            break;
        rc = fold_chunk(f, b, chunk, &err);
        if (rc == HANSE_OK)
            rc = digest_complete(f, b, chunk, &err);
        if (rc != HANSE_OK)
            report(f, &err);
    }
    hanse_wipe(b->memory, b->memory_len); /* contributions in the clear */
    hanse_free(b->memory);
    return NULL;
}

/* The calling thread and up to threads - 1 others; one that cannot be started is not missed. */
static void run(fold *f, size_t threads)
{
    pthread_t others[HANSE_MEAN_THREADS_MAX];
    size_t started = 0;

    while (started + 1 < threads && started + 1 < f->chunks && pthread_create(&others[started], NULL, work, f) == 0)
        started++;
    work(f);
    while (started > 0)
        pthread_join(others[--started], NULL);
}

/* Parts in their fixed order with their shares. */
static hanse_rc parts_from(fold *f, const hanse_mean_source *sources, size_t count, hanse_err *err)
{
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++) {
        if (__builtin_add_overflow(total, sources[i].weight, &total))
            return HANSE_FAIL(err, HANSE_E_WEIGHT, "the sum of %zu weights is beyond 2^64", count);
        f->parts[i].source = &sources[i];
    }
    if (total == 0)
        return HANSE_FAIL(err, HANSE_E_WEIGHT, "%zu contributions of weight 0 have no mean: the model is kept as it was", count);
    qsort(f->parts, count, sizeof *f->parts, by_site);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && by_site(&f->parts[i - 1], &f->parts[i]) == 0)
            return HANSE_FAIL(err, HANSE_E_DUPLICATE, "two contributions of site %02x%02x%02x%02x...", f->parts[i].source->site_id[0],
                              f->parts[i].source->site_id[1], f->parts[i].source->site_id[2], f->parts[i].source->site_id[3]);
    }
    for (size_t i = 0; i < count; i++)
        if (f->parts[i].source->weight > 0) {
            f->parts[f->parts_count] = f->parts[i];
            f->parts[f->parts_count++].share = (double)f->parts[i].source->weight / (double)total;
        }
    return HANSE_OK;
}

/* Chunks of data and file, and how many of the former each of the latter waits for. */
static hanse_rc chunks_prepare(fold *f, hanse_err *err)
{
    f->chunks = hanse_model_chunks(sizeof(float) * (uint64_t)f->layout->parameters);
    f->file_chunks = hanse_model_chunks(hanse_model_writer_size(f->writer));
    f->missing = hanse_calloc((size_t)f->file_chunks, sizeof *f->missing);
    f->digests = hanse_calloc((size_t)f->file_chunks, 32);
    if (f->missing == NULL || f->digests == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the digests of %" PRIu64 " chunks", f->file_chunks);
    for (uint64_t chunk = 0; chunk < f->chunks; chunk++) {
        uint64_t j, last;
        for (file_span(f, chunk, &j, &last); j <= last; j++)
            atomic_fetch_add(&f->missing[j], 1);
    }
    return HANSE_OK;
}

hanse_rc hanse_mean_fold(const hanse_mean_source *sources, size_t sources_count, const hanse_layout *layout,
                         const hanse_model_meta *meta, const char *path, size_t threads, bool sync, uint8_t root[32], hanse_err *err)
{
    fold f = {.layout = layout, .lock = PTHREAD_MUTEX_INITIALIZER};
    uint8_t digest[32];
    hanse_rc rc;

    if (threads < 1 || threads > HANSE_MEAN_THREADS_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "%zu threads, want 1 to %d", threads, HANSE_MEAN_THREADS_MAX);
    f.parts = hanse_calloc(sources_count, sizeof *f.parts);
    if (f.parts == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu contributions", sources_count);
    rc = parts_from(&f, sources, sources_count, err);
    if (rc == HANSE_OK)
        rc = hanse_model_writer_new(&f.writer, path, layout, meta, sync, err);
    if (rc == HANSE_OK)
        rc = chunks_prepare(&f, err);
    if (rc != HANSE_OK)
        goto done;
    run(&f, threads);
    if (atomic_load(&f.failed)) {
        rc = HANSE_FAIL(err, f.err.rc, "%s", f.err.text);
        goto done;
    }
    rc = hanse_model_root_of_digests(digest, hanse_model_writer_size(f.writer), f.digests, err);
    if (rc == HANSE_OK)
        rc = hanse_model_writer_commit(f.writer, err);
    if (rc == HANSE_OK)
        memcpy(root, digest, sizeof digest);

done:
    hanse_model_writer_free(f.writer);
    hanse_free(f.digests);
    hanse_free(f.missing);
    hanse_free(f.parts);
    return rc;
}

hanse_rc hanse_aux_add(uint64_t *sum, const uint64_t *words, size_t count, hanse_err *err)
{
    for (size_t j = 0; j < count; j++)
        if (words[j] > UINT64_MAX - sum[j])
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "word %zu: the sum over the sites is beyond 2^64", j);
    for (size_t j = 0; j < count; j++)
        sum[j] += words[j];
    return HANSE_OK;
}
