/* jobs.c - what workers do for a round: open and check a contribution when it is whole, and sum them at the cut. */
#include "coordinator/aggregate/mean.h"
#include "coordinator/server/server.h"
#include "hanse/clock.h"
#include "hanse/hpke.h"
#include "hanse/log.h"
#include "hanse/sealed.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

/* Open chunk `index` of the spool into `plain`, which has room for the tag too. */
static hanse_rc open_chunk(hanse_hpke *hpke, const hanse_spool *spool, uint64_t index, uint8_t *plain, hanse_err *err)
{
    uint8_t aad[HANSE_SEALED_AAD_LEN];
    hanse_rc rc = hanse_spool_get(spool, index, plain, err);

    if (rc != HANSE_OK)
        return rc;
    hanse_sealed_aad(aad, spool->upload_hash, index, index + 1 == spool->chunks);
    return hanse_hpke_open(hpke, index, (hanse_bytes){aad, sizeof aad}, plain,
                           (hanse_bytes){plain, hanse_spool_chunk_len(spool, index)}, err);
}

static hanse_rc make_receiver(hanse_hpke **hpke, const hanse_live_run *run, const hanse_spool *spool, hanse_err *err)
{
    return hanse_hpke_receiver_new(hpke, HANSE_AEAD_AES256GCM, run->seal_key, spool->upload.enc, hanse_bytes_str(HANSE_SEALED_INFO),
                                   err);
}

/* ---- opening one contribution ---- */

typedef struct verify_job {
    hanse_job job;
    hanse_live_run *run;
    size_t member;
    uint64_t slot;
    uint8_t kind;
    hanse_spool spool; /* a descriptor of its own: the round may be gone before the job is done */
    uint64_t *aux;
    hanse_rc rc;
    hanse_err err;
} verify_job;

/* What a site counts must be possible: sums over sites of anything else would be garbage in the metrics of all. */
static hanse_rc check_aux(const verify_job *self, size_t words, hanse_err *err)
{
    const hanse_plan *plan = self->run->plan;
    const uint64_t *aux = self->aux;
    hanse_metrics metrics = {0};
    hanse_rc rc;

    if (aux[0] >= HANSE_ROWS_MAX)
        return HANSE_FAIL(err, HANSE_E_WEIGHT, "a weight of %" PRIu64 " rows; less than %" PRIu64 " are possible", aux[0], HANSE_ROWS_MAX);
    if (self->kind == HANSE_ROUND_STATISTICS) {
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
    if (rc == HANSE_OK && metrics.samples > (UINT64_MAX >> 28) / self->run->roster.sites_count)
        rc = HANSE_FAIL(err, HANSE_E_PROTOCOL, "metrics of %" PRIu64 " rows", metrics.samples);
    hanse_metrics_clear(&metrics);
    return rc;
}

static hanse_rc verify(verify_job *self, hanse_err *err)
{
    hanse_hpke *hpke = NULL;
    size_t words = self->spool.upload.aux_len / 8, room = hanse_spool_chunk_len(&self->spool, 0);
    uint8_t *plain;
    hanse_rc rc = HANSE_OK;

    if (self->spool.chunks > 1 && hanse_spool_chunk_len(&self->spool, 1) > room)
        room = hanse_spool_chunk_len(&self->spool, 1);
    plain = hanse_calloc(1, room);
    self->aux = hanse_calloc(words, sizeof *self->aux);
    if (plain == NULL || self->aux == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to open a contribution");
        goto done;
    }
    rc = make_receiver(&hpke, self->run, &self->spool, err);
    if (rc == HANSE_OK)
        rc = open_chunk(hpke, &self->spool, 0, plain, err);
    for (size_t i = 0; rc == HANSE_OK && i < words; i++)
        self->aux[i] = hanse_load_u64le(plain + 8 * i);
    if (rc == HANSE_OK)
        rc = check_aux(self, words, err);
    for (uint64_t index = 1; rc == HANSE_OK && index < self->spool.chunks; index++) {
        size_t count = hanse_upload_chunk_len(&self->spool.upload, index) / sizeof(float), bad;

        rc = open_chunk(hpke, &self->spool, index, plain, err);
        if (rc == HANSE_OK && (bad = hanse_floats_nonfinite((const float *)(const void *)plain, count)) < count)
            rc = HANSE_FAIL(err, HANSE_E_NONFINITE, "parameter %" PRIu64 " is not a finite number",
                            (index - 1) * (HANSE_CHUNK_LEN / sizeof(float)) + bad);
    }
    if (rc == HANSE_OK)
        rc = hanse_spool_sync(&self->spool, err);

done:
    hanse_hpke_free(hpke);
    if (plain != NULL)
        hanse_wipe(plain, room);
    hanse_free(plain);
    return rc;
}

static void verify_work(hanse_job *job)
{
    verify_job *self = (verify_job *)job;

    self->rc = verify(self, &self->err);
}

static void verify_done(hanse_job *job)
{
    verify_job *self = (verify_job *)job;
    hanse_live_run *run = self->run;

    hanse_spool_close(&self->spool);
    if (!job->cancelled && run->round_open && run->current.slot == self->slot) {
        hanse_round_event event = {.now_ms = hanse_clock_wall_ms(), .member = self->member};

        event.kind = self->rc == HANSE_OK ? HANSE_ROUND_EV_VERIFIED : HANSE_ROUND_EV_INVALID;
        event.rc = self->rc;
        event.weight = self->rc == HANSE_OK ? self->aux[0] : 0;
        hanse_free(run->members[self->member].aux);
        run->members[self->member].aux = self->aux;
        self->aux = NULL;
        hanse_live_run_event(run, &event, &self->err);
    }
    hanse_free(self->aux);
    hanse_free(self);
}

void hanse_job_verify(hanse_live_run *run, size_t member)
{
    verify_job *self = hanse_calloc(1, sizeof *self);
    const hanse_spool *spool = &run->members[member].spool;

    if (self == NULL || (self->spool = *spool, self->spool.fd = fcntl(spool->fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        hanse_round_event event = {.kind = HANSE_ROUND_EV_INVALID, .now_ms = hanse_clock_wall_ms(), .member = member, .rc = HANSE_E_NOMEM};
        hanse_err err = {0};

        (void)HANSE_FAIL(&err, HANSE_E_NOMEM, "no memory or descriptor to open a contribution");
        hanse_free(self);
        hanse_live_run_event(run, &event, &err);
        return;
    }
    self->spool.header = self->spool.sig = HANSE_BUF_EMPTY;
    self->spool.gather = (hanse_gather){0};
    self->job = (hanse_job){.work = verify_work, .done = verify_done};
    self->run = run;
    self->member = member;
    self->slot = run->current.slot;
    self->kind = run->current.kind;
    hanse_workers_submit(run->server->workers, &self->job);
}

/* ---- the sum ---- */

typedef struct fold_source {
    const hanse_spool *spool;
    hanse_hpke *hpke; /* never used itself: each read works on a clone */
} fold_source;

typedef struct fold_job {
    hanse_job job;
    hanse_live_run *run;
    size_t *accepted; /* [accepted_count] members in the sum, noted on the service thread: late ones still change state */
    size_t accepted_count;
    hanse_path path;
    uint8_t root[32];
    hanse_buf digests;
    uint64_t size;
    hanse_rc rc;
    hanse_err err;
} fold_job;

static hanse_rc read_chunk(void *context, uint64_t chunk, float *values, size_t count, hanse_err *err)
{
    const fold_source *source = context;
    hanse_hpke *hpke = NULL;
    hanse_rc rc = hanse_hpke_clone(&hpke, source->hpke, err);

    assert(hanse_spool_chunk_len(source->spool, chunk + 1) == count * sizeof *values + HANSE_MEAN_SLACK);
    (void)count;
    if (rc == HANSE_OK)
        rc = open_chunk(hpke, source->spool, chunk + 1, (uint8_t *)values, err);
    hanse_hpke_free(hpke);
    return rc;
}

static hanse_rc fold(fold_job *self, hanse_err *err)
{
    hanse_live_run *run = self->run;
    size_t count = 0;
    hanse_mean_source *sources = hanse_calloc(self->accepted_count, sizeof *sources);
    fold_source *inputs = hanse_calloc(self->accepted_count, sizeof *inputs);
    hanse_model_meta meta = {.round = run->current.round};
    hanse_rc rc = HANSE_OK;

    if (sources == NULL || inputs == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to sum %zu contributions", self->accepted_count);
        goto done;
    }
    memcpy(meta.run, run->row.run_id, sizeof meta.run);
    memcpy(meta.plan_hash, run->row.plan_hash, sizeof meta.plan_hash);
    while (count < self->accepted_count && rc == HANSE_OK) {
        size_t i = self->accepted[count];

        inputs[count].spool = &run->members[i].spool;
        rc = make_receiver(&inputs[count].hpke, run, inputs[count].spool, err);
        sources[count] = (hanse_mean_source){run->roster.sites[i].id, run->round.weights[i], read_chunk, &inputs[count]};
        count++;
    }
    if (rc == HANSE_OK)
        rc = hanse_mean_fold(sources, count, &run->layout, &meta, self->path, run->server->config->limits.workers, true, self->root, err);
    if (rc == HANSE_OK)
        rc = hanse_model_digests(&self->digests, &self->size, self->path, err);

done:
    for (size_t i = 0; inputs != NULL && i < count; i++)
        hanse_hpke_free(inputs[i].hpke);
    hanse_free(inputs);
    hanse_free(sources);
    return rc;
}

static void fold_work(hanse_job *job)
{
    fold_job *self = (fold_job *)job;

    self->rc = fold(self, &self->err);
}

static void fold_done(hanse_job *job)
{
    fold_job *self = (fold_job *)job;

    self->run->folding = false;
    if (!job->cancelled)
        hanse_live_run_folded(self->run, self->rc, self->root, &self->digests, self->size, &self->err);
    hanse_buf_clear(&self->digests);
    hanse_free(self->accepted);
    hanse_free(self);
}

/* While it runs, the round is in its cut: who is in the sum, their weights and spools stand still (nothing is cleared before). */
void hanse_job_fold(hanse_live_run *run)
{
    fold_job *self = hanse_calloc(1, sizeof *self);
    hanse_err err = {0};

    if (self == NULL || (self->accepted = hanse_calloc(run->roster.sites_count, sizeof *self->accepted)) == NULL ||
        hanse_store_model_path(self->path, run->server->dir, run->row.run_id, run->current.round, &err) != HANSE_OK) {
        if (self != NULL)
            hanse_free(self->accepted);
        hanse_free(self);
        hanse_live_run_folded(run, HANSE_FAIL(&err, HANSE_E_NOMEM, "no memory for the sum"), NULL, NULL, 0, &err);
        return;
    }
    self->job = (hanse_job){.work = fold_work, .done = fold_done};
    self->run = run;
    for (size_t i = 0; i < run->roster.sites_count; i++)
        if (run->round.members[i] == HANSE_MEMBER_ACCEPTED)
            self->accepted[self->accepted_count++] = i;
    run->folding = true;
    hanse_workers_submit(run->server->workers, &self->job);
}

hanse_rc hanse_model_digests(hanse_buf *digests, uint64_t *size, const char *path, hanse_err *err)
{
    uint8_t *chunk = hanse_calloc(1, HANSE_MODEL_CHUNK), digest[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    hanse_rc rc = HANSE_OK;
    off_t end;

    if (chunk == NULL || fd < 0 || (end = lseek(fd, 0, SEEK_END)) < 0) {
        rc = HANSE_FAIL_ERRNO(err, "%s", path);
        goto done;
    }
    *size = (uint64_t)end;
    for (uint64_t at = 0; rc == HANSE_OK && at < *size; at += HANSE_MODEL_CHUNK) {
        size_t len = *size - at < HANSE_MODEL_CHUNK ? (size_t)(*size - at) : HANSE_MODEL_CHUNK;

        rc = hanse_fd_read_at(fd, chunk, len, at, path, err);
        if (rc == HANSE_OK)
            rc = hanse_sha256(digest, (hanse_bytes){chunk, len}, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(digests, digest, sizeof digest, err);
    }

done:
    if (fd >= 0)
        (void)close(fd);
    hanse_free(chunk);
    return rc;
}
