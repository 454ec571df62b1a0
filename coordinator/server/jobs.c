/* jobs.c - what workers do for a round: check a contribution when it is whole, and sum them at the cut. How, depends on who may
 * read them: sealed_work.c, masked_work.c. */
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/model_root.h"

#include <fcntl.h>
#include <unistd.h>

#define READINGS 4 /* of an acknowledged contribution, over 14 s */

/* ---- one contribution ---- */

typedef struct verify_job {
    hanse_job job;
    hanse_live_run *run;
    size_t member;
    uint64_t slot;
    uint8_t kind;
    bool masked;
    hanse_spool spool; /* of its own: the round may be gone before the job is done */
    hanse_upload header; /* sealed */
    uint64_t *aux;       /* sealed: opened */
    uint8_t root[32];    /* masked */
    hanse_rc rc;
    hanse_err err;
} verify_job;

static void verify_work(hanse_job *job)
{
    verify_job *self = (verify_job *)job;

    if (self->masked)
        self->rc = hanse_masked_root(&self->spool, self->root, &self->err);
    else
        self->rc = hanse_sealed_verify(self->run, self->kind, &self->spool, &self->header, &self->aux, &self->err);
    if (self->rc == HANSE_OK)
        self->rc = hanse_spool_sync(&self->spool, &self->err);
}

/* Our own trouble, or damage to what was found good before: not a word about the contribution itself. */
static bool is_ours(const hanse_live_run *run, size_t member, hanse_rc rc)
{
    return run->round.phase == HANSE_PHASE_COLLECT && run->round.members[member] == HANSE_MEMBER_VERIFYING &&
           (hanse_is_passing(rc) || rc == HANSE_E_CORRUPT || run->members[member].kept);
}

/* What was acknowledged waits for the disk to be read again, and the cut with it. What does not read after READINGS is as good as
 * damaged. The rest is absent, and its site, which still has it, comes again. */
static void take_back(hanse_live_run *run, size_t member, hanse_rc rc, const hanse_err *err)
{
    hanse_member *self = &run->members[member];
    const bool lost = rc == HANSE_E_IO && self->readings + 1 >= READINGS;

    if (self->kept && !lost && hanse_live_run_put_off(run, HANSE_STEP_VERIFY, rc, err)) {
        self->verify_again = true;
        self->readings++;
        return;
    }
    hanse_round_restore(&run->round, member, HANSE_MEMBER_ABSENT, 0);
    hanse_live_run_not_kept(run, member, lost ? HANSE_E_CORRUPT : rc, err);
}

static void verify_done(hanse_job *job)
{
    verify_job *self = (verify_job *)job;
    hanse_live_run *run = self->run;

    /* A site that declined meanwhile is out, and its upload must not be in the cut. */
    const bool open = !job->cancelled && run->round_open && run->current.slot == self->slot &&
                      run->round.members[self->member] == HANSE_MEMBER_VERIFYING;

    hanse_spool_close(&self->spool);
    if (open && self->rc == HANSE_OK && run->masks != NULL)
        self->rc = hanse_masks_take_root(run, self->member, self->root, &self->err);
    if (open && self->rc != HANSE_OK && is_ours(run, self->member, self->rc)) {
        take_back(run, self->member, self->rc, &self->err);
    } else if (open) {
        hanse_round_event event = {.now_ms = hanse_clock_wall_ms(), .member = self->member};

        event.kind = self->rc == HANSE_OK ? HANSE_ROUND_EV_VERIFIED : HANSE_ROUND_EV_INVALID;
        event.rc = self->rc;
        event.weight = self->aux != NULL ? self->aux[0] : 1; /* a masked one is not for us to see */
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
    hanse_err err = {0};
    hanse_rc rc = self == NULL ? HANSE_FAIL(&err, HANSE_E_NOMEM, "no memory to open a contribution") : hanse_spool_share(&self->spool, spool, &err);

    if (rc == HANSE_OK && run->masks == NULL)
        rc = hanse_upload_decode(&self->header, hanse_buf_bytes(&spool->header), &err);
    if (rc != HANSE_OK) {
        hanse_round_event event = {.kind = HANSE_ROUND_EV_INVALID, .now_ms = hanse_clock_wall_ms(), .member = member, .rc = rc};

        if (self != NULL)
            hanse_spool_close(&self->spool);
        hanse_free(self);
        if (is_ours(run, member, rc))
            take_back(run, member, rc, &err);
        else
            hanse_live_run_event(run, &event, &err);
        return;
    }
    self->job = (hanse_job){.work = verify_work, .done = verify_done};
    self->run = run;
    self->member = member;
    self->slot = run->current.slot;
    self->kind = run->current.kind;
    self->masked = run->masks != NULL;
    hanse_workers_submit(run->server->workers, &self->job);
}

/* ---- the sum ---- */

typedef struct fold_job {
    hanse_job job;
    hanse_live_run *run;
    size_t *accepted; /* [accepted_count] members in the sum, noted on the service thread: late ones still change state */
    size_t accepted_count;
    hanse_model_meta meta;
    hanse_path path;
    uint8_t root[32];
    hanse_buf digests;
    uint64_t size;
    hanse_rc rc;
    hanse_err err;
} fold_job;

static void fold_work(hanse_job *job)
{
    fold_job *self = (fold_job *)job;
    hanse_live_run *run = self->run;

    if (run->masks != NULL)
        self->rc = hanse_masked_fold(run, self->accepted, self->accepted_count, &self->meta, self->path, self->root, &self->err);
    else
        self->rc = hanse_sealed_fold(run, self->accepted, self->accepted_count, &self->meta, self->path, self->root, &self->err);
    if (self->rc == HANSE_OK && run->current.kind == HANSE_ROUND_TRAINING)
        self->rc = hanse_model_digests(&self->digests, &self->size, self->path, &self->err);
}

static void fold_done(hanse_job *job)
{
    fold_job *self = (fold_job *)job;
    bool training = self->run->current.kind == HANSE_ROUND_TRAINING;

    self->run->folding = false;
    if (!job->cancelled)
        hanse_live_run_folded(self->run, self->rc, training ? self->root : NULL, &self->digests, self->size, &self->err);
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
    self->meta.round = run->current.round;
    memcpy(self->meta.run, run->row.run_id, sizeof self->meta.run);
    memcpy(self->meta.plan_hash, run->row.plan_hash, sizeof self->meta.plan_hash);
    for (size_t i = 0; i < run->roster.sites_count; i++)
        if (run->round.members[i] == HANSE_MEMBER_ACCEPTED)
            self->accepted[self->accepted_count++] = i;
    run->folding = true;
    hanse_workers_submit(run->server->workers, &self->job);
}

hanse_rc hanse_model_digests(hanse_buf *digests, uint64_t *size, const char *path, hanse_err *err)
{
    uint8_t *chunk = hanse_malloc(1, HANSE_MODEL_CHUNK), digest[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    hanse_rc rc = HANSE_OK;
    off_t end;

    if (chunk == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to read %s", path);
        goto done;
    }
    if (fd < 0 || (end = lseek(fd, 0, SEEK_END)) < 0) {
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
