/* sealed_work.c - contributions that the coordinator can read: opened and checked when they are whole, averaged at the cut. */
#include "coordinator/aggregate/mean.h"
#include "coordinator/server/server.h"
#include "hanse/hpke.h"
#include "hanse/sealed.h"

#include <assert.h>
#include <inttypes.h>

/* Open chunk `index` of the spool into `plain`, which has room for the tag too. */
static hanse_rc open_chunk(hanse_hpke *hpke, const hanse_spool *spool, uint64_t index, uint8_t *plain, hanse_err *err)
{
    uint8_t aad[HANSE_SEALED_AAD_LEN];
    hanse_rc rc = hanse_spool_get(spool, index, plain, err);

    if (rc != HANSE_OK)
        return rc;
    hanse_sealed_aad(aad, spool->header_hash, index, index + 1 == spool->shape.chunks);
    return hanse_hpke_open(hpke, index, (hanse_bytes){aad, sizeof aad}, plain,
                           (hanse_bytes){plain, hanse_spool_chunk_len(spool, index)}, err);
}

static hanse_rc make_receiver(hanse_hpke **hpke, const hanse_live_run *run, const hanse_upload *header, hanse_err *err)
{
    return hanse_hpke_receiver_new(hpke, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){run->seal_key, NULL}, header->enc, hanse_bytes_str(HANSE_SEALED_INFO), err);
}

hanse_rc hanse_sealed_shape(hanse_spool_shape *out, const hanse_upload *header, hanse_err *err)
{
    uint64_t at = 0;

    *out = (hanse_spool_shape){.slot = header->slot, .chunks = hanse_upload_chunks(header)};
    memcpy(out->run, header->run, sizeof out->run);
    memcpy(out->site_id, header->site_id, sizeof out->site_id);
    out->offsets = hanse_calloc((size_t)out->chunks + 1, sizeof *out->offsets);
    if (out->offsets == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the offsets of %" PRIu64 " chunks", out->chunks);
    for (uint64_t i = 0; i < out->chunks; i++) {
        out->offsets[i] = at;
        at += hanse_upload_chunk_len(header, i) + HANSE_HPKE_TAG_LEN;
    }
    out->offsets[out->chunks] = at;
    return HANSE_OK;
}

/* ---- opening one contribution ---- */

/* What a site counts must be possible: sums over sites of anything else would be garbage in the metrics of all. */
static hanse_rc check_aux(const hanse_live_run *run, uint8_t kind, const uint64_t *aux, size_t words, hanse_err *err)
{
    const hanse_plan *plan = run->plan;
    hanse_metrics metrics = {0};
    hanse_rc rc;

    if (aux[0] >= HANSE_ROWS_MAX)
        return HANSE_FAIL(err, HANSE_E_WEIGHT, "a weight of %" PRIu64 " rows; less than %" PRIu64 " are possible", aux[0], HANSE_ROWS_MAX);
    if (kind == HANSE_ROUND_STATISTICS) {
        if (aux[1] > aux[0] * (words / 3))
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%" PRIu64 " clipped cells in %" PRIu64 " rows", aux[1], aux[0]);
        for (size_t i = 2; i + 3 <= words; i += 3) /* count, sum of z, sum of z squared; z in [0,1] */
            if (aux[i] > aux[0] || aux[i + 1] > aux[i] << 20 || aux[i + 2] > aux[i] << 20)
                return HANSE_FAIL(err, HANSE_E_PROTOCOL, "statistics of column %zu contradict each other", (i - 2) / 3 + 1);
        return HANSE_OK;
    }
    if (aux[1] != 1)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a contribution that counts as %" PRIu64 " sites", aux[1]);
    if (words == 2)
        return HANSE_OK;
    rc = hanse_metrics_decode(&metrics, plan->data.classes_count, aux + 2, words - 2, err);
    /* One site's share of what the sum may hold: else a single one voids the round of all, unblamed. */
    if (rc == HANSE_OK && metrics.samples > (UINT64_MAX >> 28) / run->roster.sites_count)
        rc = HANSE_FAIL(err, HANSE_E_PROTOCOL, "metrics of %" PRIu64 " rows", metrics.samples);
    hanse_metrics_clear(&metrics);
    return rc;
}

hanse_rc hanse_sealed_verify(const hanse_live_run *run, uint8_t kind, const hanse_spool *spool, const hanse_upload *header, uint64_t **out,
                             hanse_err *err)
{
    hanse_hpke *hpke = NULL;
    size_t words = header->aux_len / 8, room = hanse_spool_chunk_len(spool, 0);
    uint64_t *aux = hanse_calloc(words, sizeof *aux);
    uint8_t *plain;
    hanse_rc rc = HANSE_OK;

    if (spool->shape.chunks > 1 && hanse_spool_chunk_len(spool, 1) > room)
        room = hanse_spool_chunk_len(spool, 1);
    plain = hanse_calloc(1, room);
    if (plain == NULL || aux == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to open a contribution");
        goto done;
    }
    rc = make_receiver(&hpke, run, header, err);
    if (rc == HANSE_OK)
        rc = open_chunk(hpke, spool, 0, plain, err);
    for (size_t i = 0; rc == HANSE_OK && i < words; i++)
        aux[i] = hanse_load_u64le(plain + 8 * i);
    if (rc == HANSE_OK)
        rc = check_aux(run, kind, aux, words, err);
    for (uint64_t index = 1; rc == HANSE_OK && index < spool->shape.chunks; index++) {
        size_t count = hanse_upload_chunk_len(header, index) / sizeof(float), bad;

        rc = open_chunk(hpke, spool, index, plain, err);
        if (rc == HANSE_OK && (bad = hanse_floats_nonfinite((const float *)(const void *)plain, count)) < count)
            rc = HANSE_FAIL(err, HANSE_E_NONFINITE, "parameter %" PRIu64 " is not a finite number",
                            (index - 1) * (HANSE_CHUNK_LEN / sizeof(float)) + bad);
    }

done:
    hanse_hpke_free(hpke);
    if (plain != NULL)
        hanse_wipe(plain, room);
    hanse_free(plain);
    if (rc == HANSE_OK)
        *out = aux;
    else
        hanse_free(aux);
    return rc;
}

/* ---- the mean ---- */

typedef struct fold_source {
    const hanse_spool *spool;
    hanse_hpke *hpke; /* never used itself: each read works on a clone */
} fold_source;

static hanse_rc read_chunk(void *context, uint64_t chunk, float *values, size_t count, hanse_err *err)
{
    const fold_source *source = context;
    hanse_hpke *hpke = NULL;
    hanse_rc rc = hanse_hpke_clone(&hpke, source->hpke, err);

    assert(hanse_spool_chunk_len(source->spool, chunk + 1) == count * sizeof *values + HANSE_MEAN_SLACK);
    (void)count;
    if (rc == HANSE_OK)
        rc = open_chunk(hpke, source->spool, chunk + 1, (uint8_t *)values, err);
    if (rc == HANSE_E_AUTH) /* it opened before it was accepted */
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is damaged: its chunk %" PRIu64 " does not open any more", source->spool->path, chunk + 1);
    hanse_hpke_free(hpke);
    return rc;
}

hanse_rc hanse_sealed_fold(const hanse_live_run *run, const size_t *accepted, size_t accepted_count, const hanse_model_meta *meta,
                           const char *path, uint8_t root[32], hanse_err *err)
{
    size_t count = 0;
    hanse_mean_source *sources = hanse_calloc(accepted_count, sizeof *sources);
    fold_source *inputs = hanse_calloc(accepted_count, sizeof *inputs);
    hanse_upload header;
    hanse_rc rc = HANSE_OK;

    if (sources == NULL || inputs == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to sum %zu contributions", accepted_count);
        goto done;
    }
    while (count < accepted_count && rc == HANSE_OK) {
        size_t i = accepted[count];

        inputs[count].spool = &run->members[i].spool;
        rc = hanse_upload_decode(&header, hanse_buf_bytes(&run->members[i].spool.header), err);
        if (rc == HANSE_OK)
            rc = make_receiver(&inputs[count].hpke, run, &header, err);
        sources[count] = (hanse_mean_source){run->roster.sites[i].id, run->round.weights[i], read_chunk, &inputs[count]};
        count++;
    }
    if (rc == HANSE_OK)
        rc = hanse_mean_fold(sources, count, &run->layout, meta, path, run->server->config->limits.workers, true, root, err);

done:
    for (size_t i = 0; inputs != NULL && i < count; i++)
        hanse_hpke_free(inputs[i].hpke);
    hanse_free(inputs);
    hanse_free(sources);
    return rc;
}
