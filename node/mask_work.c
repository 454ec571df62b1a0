#include "node/mask_work.h"

#include "hanse/log.h"
#include "hanse/ring.h"
#include "hanse/safetensors.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 14) /* values of the update that are read at a time: they stay in the cache */

/* One run of the work, and its memory. */
typedef struct masking {
    hanse_mask_work *work;
    hanse_secagg_spec spec;
    hanse_layout layout;
    hanse_model_file in, out; /* training */
    uint64_t weight;          /* rows that W counts; 0: the site joins, its update is nothing in this round */
    double factor;            /* the whole update is scaled by it */
    uint64_t *aux;            /* [aux_count] of the last segment */
    size_t aux_count;
    size_t lanes_len, packed_len; /* of the largest chunk; a small model needs little room */
    float *update, *base; /* [PIECE] */
    void *lanes;          /* [lanes_len] bytes, as u32 or u64 */
    uint8_t *packed;      /* [packed_len] */
    uint8_t (*leaves)[32];
    const atomic_bool *stop;
} masking;

void hanse_mask_work_clear(hanse_mask_work *work)
{
    hanse_secagg_masker_free(work->masker);
    hanse_buf_clear(&work->spec);
    *work = (hanse_mask_work){.masker = NULL};
}

static size_t lane_len(const hanse_secagg_segment *segment)
{
    return segment->bits <= 32 ? sizeof(uint32_t) : sizeof(uint64_t);
}

static hanse_rc stopped(const masking *m, hanse_err *err)
{
    return atomic_load(m->stop) ? HANSE_FAIL(err, HANSE_E_AGAIN, "stopped") : HANSE_OK;
}

/* update[0..count) = trained minus incoming weights of the tensor from `first` on; count is PIECE at most. */
static hanse_rc read_update(masking *m, const hanse_tensor *tensor, uint64_t first, size_t count, hanse_err *err)
{
    size_t bad;
    hanse_rc rc = hanse_model_read(&m->out, tensor->offset + (size_t)first, m->update, count, err);

    if (rc == HANSE_OK)
        rc = hanse_model_read(&m->in, tensor->offset + (size_t)first, m->base, count, err);
    if (rc != HANSE_OK)
        return rc;
    for (size_t i = 0; i < count; i++)
        m->update[i] -= m->base[i];
    bad = hanse_floats_nonfinite(m->update, count);
    if (bad < count)
        return HANSE_FAIL(err, HANSE_E_NONFINITE, "tensor %s: the update at index %" PRIu64 " is not a finite number", tensor->name, first + bad);
    return HANSE_OK;
}

static hanse_rc largest_of(masking *m, const hanse_tensor *tensor, double *largest, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    *largest = 0;
    for (uint64_t at = 0; rc == HANSE_OK && at < tensor->count; at += PIECE) {
        size_t count = tensor->count - at < PIECE ? (size_t)(tensor->count - at) : PIECE;
        float most = 0;

        rc = stopped(m, err);
        if (rc == HANSE_OK)
            rc = read_update(m, tensor, at, count, err);
        for (size_t i = 0; rc == HANSE_OK && i < count; i++)
            most = fabsf(m->update[i]) > most ? fabsf(m->update[i]) : most;
        *largest = most > *largest ? most : *largest;
    }
    return rc;
}

/* How the update lies in its clips: counters for the next clips, and the factor that makes it fit. Never cut in silence. */
static hanse_rc measure(masking *m, hanse_err *err)
{
    const hanse_tensor *worst = NULL;
    hanse_rc rc = HANSE_OK;

    m->factor = 1;
    for (size_t i = 0; rc == HANSE_OK && i < m->layout.count; i++) {
        double clip, largest;

        memcpy(&clip, &m->spec.segments[i].clip, sizeof clip);
        rc = largest_of(m, &m->layout.tensors[i], &largest, err);
        if (rc != HANSE_OK)
            break;
        m->aux[HANSE_MASKING_HEAD + 2 * i] = largest > clip;
        m->aux[HANSE_MASKING_HEAD + 2 * i + 1] = largest > clip / 4;
        if (largest > clip && clip / largest < m->factor) {
            m->factor = clip / largest;
            worst = &m->layout.tensors[i];
        }
    }
    if (rc != HANSE_OK || worst == NULL)
        return rc;
    if (m->factor < HANSE_MASKING_SCALE_MIN)
        return HANSE_SECAGG_FAIL(err, RANGE, "the update of tensor %s is %.3g times its clip; at most %g are scaled down: check the data, or train with a smaller rate",
                                 worst->name, 1 / m->factor, 1 / HANSE_MASKING_SCALE_MIN);
    hanse_log(HANSE_LOG_WARN, "update_scaled factor=%.4f tensor=%s reason=beyond its clip", m->factor, worst->name);
    return HANSE_OK;
}

/* The words before those of aux.h; see masking.h. */
static hanse_rc fill_head(masking *m, uint64_t rows, hanse_err *err)
{
    const uint64_t counted = m->work->counted;
    hanse_rc rc = m->weight == 0 ? HANSE_OK : hanse_ring_share(&m->aux[0], m->weight, m->spec.weight_total, err);

    m->aux[1] = rows > counted ? rows - counted : 0;
    if (m->aux[1] > HANSE_MASKING_JOINING_MAX)
        m->aux[1] = HANSE_MASKING_JOINING_MAX;
    return rc;
}

/* In a sum nothing shows a word that is too large for it: each site looks at its own. */
static hanse_rc check_words(const masking *m, hanse_err *err)
{
    const uint64_t bound = m->spec.segments[m->spec.segments_count - 1].bound;

    for (size_t i = 0; i < m->aux_count; i++)
        if (m->aux[i] > bound)
            return HANSE_SECAGG_FAIL(err, RANGE, "aux word %zu of %zu is above its bound of %" PRIu64 ": more rows than sums of %" PRIu32 " sites can hold",
                                     i, m->aux_count, bound, m->spec.params.n);
    return HANSE_OK;
}

static void fill_words(const masking *m, const hanse_secagg_chunk *chunk)
{
    uint64_t *lanes = m->lanes;

    for (uint32_t k = 0; k < chunk->words; k++) /* behind them come the sanity words, which the masker writes */
        lanes[k] = chunk->word + k < m->aux_count ? m->aux[chunk->word + k] : 0;
}

/* Lanes of the tensor's values from `first` on, which are lane `at` and the following of the chunk. */
static hanse_rc quantise_piece(masking *m, hanse_quantiser *quantiser, uint32_t tensor, uint64_t first, size_t at, size_t count, hanse_err *err)
{
    hanse_rc rc = read_update(m, &m->layout.tensors[tensor], first, count, err);

    for (size_t i = 0; rc == HANSE_OK && m->factor < 1 && i < count; i++)
        m->update[i] = (float)(m->update[i] * m->factor);
    if (rc != HANSE_OK)
        return rc;
    return m->spec.segments[tensor].bits <= 32 ? hanse_quantise_u32(quantiser, first, m->update, (uint32_t *)m->lanes + at, count, err)
                                               : hanse_quantise_u64(quantiser, first, m->update, (uint64_t *)m->lanes + at, count, err);
}

static hanse_rc fill_update(masking *m, hanse_quantiser *quantiser, const hanse_secagg_chunk *chunk, hanse_err *err)
{
    const hanse_secagg_segment *segment = &m->spec.segments[chunk->segment];
    const uint64_t left = chunk->word < segment->count ? segment->count - chunk->word : 0;
    const size_t values = left < chunk->words ? (size_t)left : chunk->words, lane = lane_len(segment);
    hanse_rc rc = HANSE_OK;

    for (size_t at = 0; rc == HANSE_OK && at < values; at += PIECE)
        rc = quantise_piece(m, quantiser, chunk->segment, chunk->word + at, at, values - at < PIECE ? values - at : PIECE, err);
    memset((uint8_t *)m->lanes + values * lane, 0, (chunk->words - values) * lane); /* the sanity words, which the masker writes */
    return rc;
}

static hanse_rc make_quantiser(const masking *m, hanse_quantiser **out, uint32_t segment, const hanse_plan *plan, const hanse_spec *plain, hanse_err *err)
{
    const hanse_secagg_segment *s = &m->spec.segments[segment];
    hanse_ring ring = {.quanta = s->bound, .sites = m->spec.params.n, .bits = s->bits};
    uint8_t seed[8], key[32];
    hanse_rc rc;

    memcpy(&ring.clip, &s->clip, sizeof ring.clip);
    hanse_store_u64le(seed, plan->train.seed);
    rc = hanse_ring_rho_key(key, (hanse_bytes){seed, sizeof seed}, m->work->site_id, plain->round, segment, m->work->reseed ? plain->slot : 0, err);
    if (rc == HANSE_OK)
        rc = hanse_quantiser_new(out, &ring, m->weight, m->spec.weight_total, key, err);
    hanse_wipe(key, sizeof key);
    return rc;
}

/* Words of one chunk into the file: filled, masked, packed. */
static hanse_rc put_chunk(masking *m, hanse_quantiser *quantiser, uint64_t index, int fd, uint64_t *at, hanse_err *err)
{
    const hanse_secagg_chunk chunk = hanse_secagg_chunk_at(&m->spec, index);
    const uint32_t bits = m->spec.segments[chunk.segment].bits;
    hanse_rc rc = stopped(m, err);

    if (rc == HANSE_OK && quantiser != NULL)
        rc = fill_update(m, quantiser, &chunk, err);
    else if (rc == HANSE_OK && m->spec.segments[chunk.segment].scaled)
        memset(m->lanes, 0, chunk.words * lane_len(&m->spec.segments[chunk.segment]));
    else if (rc == HANSE_OK)
        fill_words(m, &chunk);
    if (rc == HANSE_OK)
        rc = hanse_secagg_masker_apply(m->work->masker, chunk, m->lanes, err);
    if (rc != HANSE_OK)
        return rc;
    if (bits <= 32)
        hanse_ring_pack_u32(m->packed, m->lanes, chunk.words, bits);
    else
        hanse_ring_pack_u64(m->packed, m->lanes, chunk.words, bits);
    rc = hanse_secagg_leaf(m->leaves[index], (hanse_bytes){m->packed, chunk.len}, err);
    if (rc == HANSE_OK)
        rc = hanse_fd_write_at(fd, m->packed, chunk.len, *at, m->work->path, err);
    *at += chunk.len;
    return rc;
}

static hanse_rc write_words(masking *m, const hanse_plan *plan, const hanse_spec *plain, hanse_err *err)
{
    const uint64_t chunks = hanse_secagg_chunks(&m->spec);
    hanse_quantiser *quantiser = NULL;
    uint32_t segment = UINT32_MAX;
    uint64_t at = 0;
    int fd = open(m->work->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, HANSE_MODE_SECRET);
    hanse_rc rc = fd >= 0 ? HANSE_OK : HANSE_FAIL_ERRNO(err, "%s", m->work->path);

    for (uint64_t i = 0; rc == HANSE_OK && i < chunks; i++) {
        uint32_t next = hanse_secagg_chunk_at(&m->spec, i).segment;

        if (next != segment) {
            segment = next;
            hanse_quantiser_free(quantiser);
            quantiser = NULL;
            if (m->spec.segments[segment].scaled && m->weight > 0)
                rc = make_quantiser(m, &quantiser, segment, plan, plain, err);
        }
        if (rc == HANSE_OK)
            rc = put_chunk(m, quantiser, i, fd, &at, err);
    }
    hanse_quantiser_free(quantiser);
    if (rc == HANSE_OK && fsync(fd) != 0)
        rc = HANSE_FAIL_ERRNO(err, "%s", m->work->path);
    if (fd >= 0)
        (void)close(fd);
    if (rc == HANSE_OK)
        rc = hanse_file_sync_parent(m->work->path, err);
    return rc == HANSE_OK ? hanse_secagg_merkle(m->work->root, m->leaves, (size_t)chunks, err) : rc;
}

static void measure_chunks(masking *m, uint64_t chunks)
{
    for (uint64_t i = 0; i < chunks; i++) {
        const hanse_secagg_chunk chunk = hanse_secagg_chunk_at(&m->spec, i);
        const size_t lanes_len = chunk.words * lane_len(&m->spec.segments[chunk.segment]);

        m->lanes_len = lanes_len > m->lanes_len ? lanes_len : m->lanes_len;
        m->packed_len = chunk.len > m->packed_len ? chunk.len : m->packed_len;
    }
}

static hanse_rc prepare(masking *m, const hanse_plan *plan, hanse_err *err)
{
    uint64_t chunks;
    hanse_rc rc = hanse_secagg_spec_decode(&m->spec, hanse_buf_bytes(&m->work->spec), err);

    if (rc == HANSE_OK)
        rc = hanse_layout_of_plan(&m->layout, plan, err);
    if (rc != HANSE_OK)
        return rc;
    chunks = hanse_secagg_chunks(&m->spec);
    m->aux_count = (size_t)m->spec.segments[m->spec.segments_count - 1].count;
    m->aux = hanse_calloc(m->aux_count, sizeof *m->aux);
    measure_chunks(m, chunks);
    m->update = hanse_malloc(PIECE, sizeof *m->update);
    m->base = hanse_malloc(PIECE, sizeof *m->base);
    m->lanes = hanse_malloc(1, m->lanes_len);
    m->packed = hanse_malloc(1, m->packed_len);
    m->leaves = hanse_calloc((size_t)chunks, sizeof *m->leaves);
    if (m->aux == NULL || m->update == NULL || m->base == NULL || m->lanes == NULL || m->packed == NULL || m->leaves == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to mask the contribution");
    return HANSE_OK;
}

static void finish(masking *m)
{
    if (m->lanes != NULL)
        hanse_wipe(m->lanes, m->lanes_len);
    hanse_free(m->aux);
    hanse_free(m->update);
    hanse_free(m->base);
    hanse_free(m->lanes);
    hanse_free(m->packed);
    hanse_free(m->leaves);
    hanse_model_close(&m->in);
    hanse_model_close(&m->out);
    hanse_layout_clear(&m->layout);
    hanse_secagg_spec_clear(&m->spec);
}

hanse_rc hanse_mask_work_run(hanse_mask_work *work, const hanse_plan *plan, const hanse_spec *spec, const char *model_in, const char *model_out,
                             uint64_t rows, const uint64_t *aux, size_t aux_count, const atomic_bool *stop, hanse_err *err)
{
    masking m = {.work = work, .layout = HANSE_LAYOUT_EMPTY, .in.fd = -1, .out.fd = -1, .stop = stop, .factor = 1};
    const bool training = spec->kind == HANSE_ROUND_TRAINING;
    hanse_rc rc = prepare(&m, plan, err);
    size_t head;

    if (rc != HANSE_OK)
        goto done;
    head = hanse_masking_aux_head(&m.layout, spec->kind);
    if (m.aux_count != head + aux_count) {
        rc = HANSE_FAIL(err, HANSE_E_USAGE, "%zu aux words behind %zu, the spec has %zu", aux_count, head, m.aux_count);
        goto done;
    }
    memcpy(m.aux + head, aux, aux_count * sizeof *aux);
    if (training) {
        m.weight = rows < work->counted ? rows : work->counted;
        rc = fill_head(&m, rows, err);
        if (rc == HANSE_OK)
            rc = hanse_model_open(&m.in, model_in, err);
        if (rc == HANSE_OK)
            rc = hanse_model_open(&m.out, model_out, err);
        if (rc == HANSE_OK && m.weight > 0)
            rc = measure(&m, err);
    }
    if (rc == HANSE_OK)
        rc = check_words(&m, err);
    if (rc == HANSE_OK)
        rc = write_words(&m, plan, spec, err);
done:
    finish(&m);
    if (rc != HANSE_OK)
        (void)unlink(work->path);
    return rc;
}
