/* The uploads' packed words lie without gaps from chunk to chunk of a segment (a chunk is a multiple of 64 words), and masks can
 * be made for any range: so the sum needs no layout of its own and follows the data chunks of the new model, under the fold of mean.c. */
#include "coordinator/aggregate/unmask.h"

#include "hanse/parallel.h"
#include "hanse/ring.h"

#include <pthread.h>

#define PACK 8                      /* words that end on a byte, whatever their bits */
#define BASE ((size_t)1 << 14)      /* floats of the old model that are read at a time */
#define SPLIT ((uint64_t)1 << 20) /* mask words from which on a range is worth several threads */

/* What one thread works with. */
typedef struct bench {
    struct bench *next;
    void *lanes;     /* of a range, u32 or u64 */
    size_t lanes_len;
    uint8_t *packed; /* of a range */
    float *base;     /* [BASE] */
} bench;

struct hanse_unmask {
    hanse_secagg_unmasker *unmasker;
    const hanse_secagg_spec *spec;
    const hanse_layout *layout;
    const hanse_unmask_source *sources;
    size_t sources_count;
    uint64_t *begins; /* [segments] byte of the upload where the segment begins */
    size_t lanes_len, packed_len; /* bytes of the largest range */
    pthread_mutex_t lock; /* of the free benches */
    bench *free;
    size_t threads; /* for one range: 1 while the ranges themselves keep all threads busy */
    /* of a fold */
    hanse_model_file base;
    uint64_t share;
};

static uint64_t segment_words(const hanse_secagg_segment *segment)
{
    return segment->count + HANSE_SECAGG_SANITY_WORDS;
}

static size_t lane_len(const hanse_secagg_segment *segment)
{
    return segment->bits <= 32 ? sizeof(uint32_t) : sizeof(uint64_t);
}

static void bench_free(bench *b)
{
    if (b == NULL)
        return;
    if (b->lanes != NULL)
        hanse_wipe(b->lanes, b->lanes_len);
    hanse_free(b->lanes);
    hanse_free(b->packed);
    hanse_free(b->base);
    hanse_free(b);
}

/* A range is what lies in one data chunk of the model, with whole packs at both ends; or all of the last segment. */
static void make_room(hanse_unmask *unmask, const hanse_secagg_segment *segment, bool whole)
{
    const uint64_t all = segment_words(segment), most = HANSE_MODEL_CHUNK / sizeof(float) + 2 * PACK + HANSE_SECAGG_SANITY_WORDS;
    const size_t words = (size_t)(whole || all < most ? all : most), lanes_len = words * lane_len(segment);
    const size_t packed_len = hanse_ring_packed_len(words, segment->bits);

    unmask->lanes_len = lanes_len > unmask->lanes_len ? lanes_len : unmask->lanes_len;
    unmask->packed_len = packed_len > unmask->packed_len ? packed_len : unmask->packed_len;
}

static hanse_rc derive(void *unmasker, size_t first, size_t count, hanse_err *err)
{
    return hanse_secagg_unmasker_derive(unmasker, first, count, err);
}

hanse_rc hanse_unmask_new(hanse_unmask **out, const hanse_secagg_round *round, const hanse_secagg_spec *spec, const hanse_layout *layout,
                          const hanse_unmask_source *sources, size_t sources_count, size_t threads, hanse_err *err)
{
    hanse_unmask *unmask = hanse_calloc(1, sizeof *unmask);
    uint64_t at = 0;
    hanse_rc rc;

    if (unmask == NULL || (unmask->begins = hanse_calloc(spec->segments_count, sizeof *unmask->begins)) == NULL) {
        hanse_free(unmask);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to unmask");
    }
    for (uint32_t i = 0; i < spec->segments_count; i++) {
        unmask->begins[i] = at;
        at += hanse_ring_packed_len((size_t)segment_words(&spec->segments[i]), spec->segments[i].bits);
        make_room(unmask, &spec->segments[i], i + 1 == spec->segments_count);
    }
    unmask->threads = threads;
    unmask->spec = spec;
    unmask->layout = layout;
    unmask->sources = sources;
    unmask->sources_count = sources_count;
    unmask->base.fd = -1;
    pthread_mutex_init(&unmask->lock, NULL);
    rc = hanse_secagg_unmasker_new(&unmask->unmasker, round, err);
    if (rc == HANSE_OK)
        rc = hanse_in_parallel(threads, hanse_secagg_unmasker_streams(unmask->unmasker), 1, derive, unmask->unmasker, err);
    if (rc == HANSE_OK)
        *out = unmask;
    else
        hanse_unmask_free(unmask);
    return rc;
}

void hanse_unmask_free(hanse_unmask *unmask)
{
    if (unmask == NULL)
        return;
    while (unmask->free != NULL) {
        bench *b = unmask->free;

        unmask->free = b->next;
        bench_free(b);
    }
    hanse_secagg_unmasker_free(unmask->unmasker);
    hanse_model_close(&unmask->base);
    pthread_mutex_destroy(&unmask->lock);
    hanse_free(unmask->begins);
    hanse_free(unmask);
}

static hanse_rc bench_take(bench **out, hanse_unmask *unmask, hanse_err *err)
{
    bench *b = NULL;

    pthread_mutex_lock(&unmask->lock);
    b = unmask->free;
    if (b != NULL)
        unmask->free = b->next;
    pthread_mutex_unlock(&unmask->lock);
    if (b == NULL) {
        b = hanse_calloc(1, sizeof *b);
        if (b == NULL)
            return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to unmask");
        b->lanes_len = unmask->lanes_len;
        b->lanes = hanse_malloc(1, b->lanes_len);
        b->packed = hanse_malloc(1, unmask->packed_len);
        b->base = hanse_malloc(BASE, sizeof *b->base);
        if (b->lanes == NULL || b->packed == NULL || b->base == NULL) {
            bench_free(b);
            return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to unmask");
        }
    }
    *out = b;
    return HANSE_OK;
}

static void bench_give(hanse_unmask *unmask, bench *b)
{
    pthread_mutex_lock(&unmask->lock);
    b->next = unmask->free;
    unmask->free = b;
    pthread_mutex_unlock(&unmask->lock);
}

/* A range whose masks several threads take off. */
typedef struct masked_range {
    const hanse_unmask *unmask;
    hanse_secagg_chunk chunk;
    uint8_t *lanes;
    size_t lane; /* bytes */
} masked_range;

static hanse_rc take_masks_off(void *context, size_t first, size_t count, hanse_err *err)
{
    const masked_range *range = context;
    const hanse_secagg_chunk part = {.segment = range->chunk.segment, .word = range->chunk.word + first, .words = (uint32_t)count};

    return hanse_secagg_unmasker_apply(range->unmask->unmasker, part, range->lanes + first * range->lane, err);
}

/* Lanes [0, words) become the unmasked sum of the segment's words from `first` on; first and the end are on PACK, or the segment's end. */
static hanse_rc sum_words(const hanse_unmask *unmask, bench *b, uint32_t segment, uint64_t first, size_t words, hanse_err *err)
{
    const uint32_t bits = unmask->spec->segments[segment].bits;
    const size_t lane = lane_len(&unmask->spec->segments[segment]);
    const hanse_secagg_chunk range = {.segment = segment, .word = first, .words = (uint32_t)words, .len = hanse_ring_packed_len(words, bits)};
    const uint64_t at = unmask->begins[segment] + first / PACK * bits;
    hanse_rc rc = HANSE_OK;

    memset(b->lanes, 0, words * lane);
    for (size_t i = 0; rc == HANSE_OK && i < unmask->sources_count; i++) {
        const hanse_unmask_source *source = &unmask->sources[i];
        const hanse_bytes packed = {b->packed, range.len};

        rc = source->read(source->context, at, b->packed, range.len, err);
        if (rc == HANSE_OK)
            rc = bits <= 32 ? hanse_ring_unpack_add_u32(b->lanes, packed, words, bits, err)
                            : hanse_ring_unpack_add_u64(b->lanes, packed, words, bits, err);
    }
    masked_range all = {unmask, range, b->lanes, lane};
    const bool split = words * hanse_secagg_unmasker_streams(unmask->unmasker) >= SPLIT;
    return rc == HANSE_OK ? hanse_in_parallel(split ? unmask->threads : 1, words, PACK, take_masks_off, &all, err) : rc;
}

hanse_rc hanse_unmask_aux(hanse_unmask *unmask, uint64_t *words, hanse_err *err)
{
    const uint32_t segment = unmask->spec->segments_count - 1;
    const hanse_secagg_segment *aux = &unmask->spec->segments[segment];
    bench *b = NULL;
    hanse_rc rc = bench_take(&b, unmask, err);

    if (rc != HANSE_OK)
        return rc;
    rc = sum_words(unmask, b, segment, 0, (size_t)segment_words(aux), err);
    if (rc == HANSE_OK)
        memcpy(words, b->lanes, (size_t)aux->count * sizeof *words);
    bench_give(unmask, b);
    return rc;
}

/* values[0..count) = base + mean of the tensor's floats from `first` on. */
static hanse_rc mean_of(const hanse_unmask *unmask, bench *b, uint32_t tensor, uint64_t first, float *values, size_t count, hanse_err *err)
{
    const hanse_secagg_segment *segment = &unmask->spec->segments[tensor];
    hanse_ring ring = {.quanta = segment->bound, .sites = unmask->spec->params.n, .bits = segment->bits};
    uint64_t from = first / PACK * PACK, to = (first + count + PACK - 1) / PACK * PACK;
    hanse_rc rc;

    memcpy(&ring.clip, &segment->clip, sizeof ring.clip);
    if (first + count == segment->count || to > segment_words(segment)) /* with the sanity words */
        to = segment_words(segment);
    rc = sum_words(unmask, b, tensor, from, (size_t)(to - from), err);
    if (rc == HANSE_OK)
        rc = ring.bits <= 32 ? hanse_ring_mean_u32(values, (uint32_t *)b->lanes + (first - from), count, &ring, unmask->share, err)
                            : hanse_ring_mean_u64(values, (uint64_t *)b->lanes + (first - from), count, &ring, unmask->share, err);
    for (size_t at = 0; rc == HANSE_OK && at < count; at += BASE) {
        const size_t piece = count - at < BASE ? count - at : BASE;

        rc = hanse_model_read(&unmask->base, unmask->layout->tensors[tensor].offset + (size_t)first + at, b->base, piece, err);
        for (size_t j = 0; rc == HANSE_OK && j < piece; j++)
            values[at + j] += b->base[j];
    }
    return rc;
}

static hanse_rc read_chunk(void *context, uint64_t chunk, float *values, size_t count, hanse_err *err)
{
    hanse_unmask *unmask = context;
    const size_t begin = (size_t)chunk * (HANSE_MODEL_CHUNK / sizeof(float)), end = begin + count;
    bench *b = NULL;
    hanse_rc rc = bench_take(&b, unmask, err);

    if (rc != HANSE_OK)
        return rc;
    for (size_t i = 0; rc == HANSE_OK && i < unmask->layout->count; i++) {
        const hanse_tensor *tensor = &unmask->layout->tensors[i];
        const size_t from = tensor->offset > begin ? tensor->offset : begin;
        const size_t to = tensor->offset + tensor->count < end ? tensor->offset + tensor->count : end;

        if (from < to)
            rc = mean_of(unmask, b, (uint32_t)i, from - tensor->offset, values + (from - begin), to - from, err);
    }
    bench_give(unmask, b);
    return rc;
}

hanse_rc hanse_unmask_fold(hanse_unmask *unmask, uint64_t share, const char *base, const hanse_model_meta *meta, const char *path,
                           uint8_t root[32], hanse_err *err)
{
    static const uint8_t nobody[32];
    const hanse_mean_source sum = {nobody, 1, read_chunk, unmask};
    const size_t threads = unmask->threads;
    hanse_rc rc = hanse_model_open(&unmask->base, base, err);

    if (rc == HANSE_OK)
        rc = hanse_layout_same(&unmask->base.layout, unmask->layout, err);
    if (rc != HANSE_OK)
        return rc;
    unmask->share = share;
    if (unmask->layout->parameters / (HANSE_MODEL_CHUNK / sizeof(float)) >= 2 * threads)
        unmask->threads = 1;
    return hanse_mean_fold(&sum, 1, unmask->layout, meta, path, threads, true, root, err);
}
