#include "node/work.h"

#include "hanse/aux.h"
#include "hanse/safetensors.h"
#include "node/train/trainer.h"

#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

struct hanse_node_worker {
    const hanse_node_config *config;
    const char *dir;
    int done_fd;
    pthread_t thread;
    bool running;          /* main thread: started and not yet taken */
    atomic_bool stop, done;
    hanse_node_job job;
    /* of the working thread */
    hanse_plan *plan;
    hanse_dataset *dataset; /* scaled for `plan` and `scaled_by` */
    hanse_buf scaled_by;
};

void hanse_node_job_clear(hanse_node_job *job)
{
    hanse_buf_clear(&job->plan_text);
    hanse_buf_clear(&job->statistics);
    hanse_buf_clear(&job->aux);
    hanse_mask_work_clear(&job->mask);
    memset(job, 0, sizeof *job);
}

static hanse_rc words_of(hanse_bytes bytes, uint64_t **out, size_t *count, hanse_err *err)
{
    uint64_t *words = hanse_calloc(bytes.len / 8 + 1, 8);

    if (words == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%zu bytes of words", bytes.len);
    for (size_t i = 0; i < bytes.len / 8; i++)
        words[i] = hanse_load_u64le(bytes.data + 8 * i);
    *out = words;
    *count = bytes.len / 8;
    return HANSE_OK;
}

static hanse_rc scale(const hanse_plan *plan, hanse_bytes statistics, hanse_dataset *dataset, hanse_err *err)
{
    hanse_scale map = {0};
    uint64_t *words = NULL;
    size_t count = 0;
    hanse_rc rc;

    if (plan->scaling == HANSE_SCALING_PLAN) {
        rc = hanse_scale_from_plan(&map, plan, err);
    } else if (plan->scaling == HANSE_SCALING_FEDERATED && statistics.len > 0) {
        rc = words_of(statistics, &words, &count, err);
        if (rc == HANSE_OK)
            rc = hanse_scale_from_statistics(&map, plan, words, count, err);
    } else {
        rc = hanse_scale_from_site(&map, plan, dataset, err);
    }
    if (rc == HANSE_OK) {
        rc = hanse_dataset_scale(dataset, plan, &map, err);
        hanse_scale_clear(&map);
    }
    hanse_free(words);
    return rc;
}

hanse_rc hanse_node_dataset_ready(const hanse_node_config *config, const char *dir, const hanse_plan *plan, hanse_bytes statistics,
                                  hanse_dataset **out, hanse_err *err)
{
    hanse_dataset *dataset = NULL;
    hanse_rc rc = hanse_node_config_dataset(config, dir, plan, &dataset, err);

    if (rc == HANSE_OK)
        rc = scale(plan, statistics, dataset, err);
    if (rc == HANSE_OK)
        *out = dataset;
    else
        hanse_dataset_free(dataset);
    return rc;
}

static void forget(hanse_node_worker *worker)
{
    hanse_dataset_free(worker->dataset);
    worker->dataset = NULL;
    hanse_buf_clear(&worker->scaled_by);
    hanse_plan_free(worker->plan);
    worker->plan = NULL;
}

/* Plan and scaled data of the job, kept from the round before when they are the same. */
static hanse_rc prepare(hanse_node_worker *worker, hanse_err *err)
{
    hanse_node_job *job = &worker->job;
    bool same = worker->plan != NULL && memcmp(worker->plan->hash, job->spec.plan_hash, 32) == 0 &&
                hanse_bytes_equal(hanse_buf_bytes(&worker->scaled_by), hanse_buf_bytes(&job->statistics));
    hanse_rc rc;

    if (same)
        return HANSE_OK;
    forget(worker);
    rc = hanse_plan_parse(&worker->plan, hanse_buf_bytes(&job->plan_text), "plan", err);
    if (rc != HANSE_OK || worker->plan->data.format == HANSE_DATA_NONE || job->spec.kind == HANSE_ROUND_STATISTICS)
        return rc;
    if (worker->plan->scaling == HANSE_SCALING_FEDERATED && job->statistics.len == 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "the spec of round %" PRIu64 " lacks the statistics that the plan scales by", job->spec.round);
    rc = hanse_node_dataset_ready(worker->config, worker->dir, worker->plan, hanse_buf_bytes(&job->statistics), &worker->dataset, err);
    if (rc == HANSE_OK && job->statistics.len > 0)
        rc = hanse_buf_append(&worker->scaled_by, job->statistics.data, job->statistics.len, err);
    return rc;
}

/* Sums for federated scaling; without it only the rows, which masked weights need: of a plan without data one. */
static hanse_rc do_statistics(hanse_node_worker *worker, uint64_t *words, size_t words_count, hanse_err *err)
{
    const hanse_plan *plan = worker->plan;
    hanse_dataset *dataset = NULL;
    hanse_rc rc = HANSE_OK;

    words[0] = 1;
    if (plan->data.format != HANSE_DATA_NONE) {
        rc = hanse_node_config_dataset(worker->config, worker->dir, plan, &dataset, err);
        if (rc == HANSE_OK && plan->scaling == HANSE_SCALING_FEDERATED)
            rc = hanse_dataset_statistics(dataset, plan, words, words_count, err);
        else if (rc == HANSE_OK)
            words[0] = dataset->train.count;
        hanse_dataset_free(dataset);
    }
    if (rc == HANSE_OK && (words[0] == 0 || words[0] >= HANSE_ROWS_MAX))
        rc = HANSE_FAIL(err, HANSE_E_WEIGHT, "%" PRIu64 " training rows", words[0]);
    if (rc == HANSE_OK)
        worker->job.weight = words[0];
    return rc;
}

static hanse_rc do_evaluate(hanse_node_worker *worker, hanse_trainer *trainer, uint64_t *words, size_t words_count, hanse_err *err)
{
    hanse_metrics metrics = {0};
    hanse_rc rc = hanse_trainer_evaluate(trainer, worker->job.model_in, &worker->stop, &metrics, err);

    if (rc != HANSE_OK)
        return rc;
    worker->job.classes_count = metrics.classes_count;
    if (hanse_metrics_words(metrics.classes_count) == words_count)
        hanse_metrics_encode(&metrics, words);
    else
        rc = HANSE_FAIL(err, HANSE_E_USAGE, "%zu words of metrics, want %zu", hanse_metrics_words(metrics.classes_count), words_count);
    hanse_metrics_clear(&metrics);
    return rc;
}

static hanse_rc do_train(hanse_node_worker *worker, hanse_trainer *trainer, hanse_err *err)
{
    hanse_node_job *job = &worker->job;
    hanse_trained trained;
    hanse_model_file file = {.fd = -1};
    /* After a burnt attempt the rows come in another order: nothing of it may be seen twice in two sums. */
    uint64_t seed = job->mask.reseed ? job->site_seed ^ (job->spec.slot * 0x9e3779b97f4a7c15u) : job->site_seed;
    hanse_rc rc = hanse_trainer_train(trainer, job->model_in, job->model_out, job->spec.round, seed, &worker->stop, &trained, err);

    if (rc != HANSE_OK)
        return rc;
    if (trained.rows == 0 || trained.rows >= HANSE_ROWS_MAX)
        return HANSE_FAIL(err, HANSE_E_WEIGHT, "trained on %" PRIu64 " rows", trained.rows);
    rc = hanse_model_open(&file, job->model_out, err);
    if (rc != HANSE_OK)
        return rc;
    job->weight = trained.rows;
    job->data_offset = file.data_offset;
    job->data_len = (uint64_t)file.layout.parameters * sizeof(float);
    hanse_model_close(&file);
    return HANSE_OK;
}

static hanse_rc work(hanse_node_worker *worker, hanse_err *err)
{
    hanse_node_job *job = &worker->job;
    hanse_trainer *trainer = NULL;
    uint64_t *words = NULL;
    size_t words_count;
    hanse_rc rc = prepare(worker, err);

    if (rc != HANSE_OK)
        goto done;
    words_count = hanse_aux_words(worker->plan, job->spec.kind);
    words = hanse_calloc(words_count, sizeof *words);
    if (words == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "%zu words", words_count);
        goto done;
    }
    if (job->spec.kind == HANSE_ROUND_STATISTICS) {
        rc = do_statistics(worker, words, words_count, err);
    } else {
        rc = hanse_trainer_open(&trainer, worker->plan, worker->dataset, err);
        if (rc == HANSE_OK && !job->mask.told)
            rc = do_evaluate(worker, trainer, words + 2, words_count - 2, err);
        if (rc == HANSE_OK && job->spec.kind == HANSE_ROUND_TRAINING)
            rc = do_train(worker, trainer, err);
        words[0] = job->weight;
        words[1] = 1;
    }
    if (rc == HANSE_OK && job->mask.masker != NULL)
        rc = hanse_mask_work_run(&job->mask, worker->plan, &job->spec, job->model_in, job->model_out, job->weight, words, words_count,
                                 &worker->stop, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_reserve(&job->aux, words_count * 8, err);
    if (rc == HANSE_OK) {
        for (size_t i = 0; i < words_count; i++)
            hanse_store_u64le(job->aux.data + 8 * i, words[i]);
        job->aux.len = words_count * 8;
    }
done:
    hanse_trainer_free(trainer);
    hanse_free(words);
    return rc;
}

static void *thread_main(void *argument)
{
    hanse_node_worker *worker = argument;
    const uint64_t one = 1;

    worker->job.rc = work(worker, &worker->job.err);
    atomic_store(&worker->done, true);
    if (write(worker->done_fd, &one, sizeof one) < 0) {
        /* The counter is full: the main thread has a wake-up to come anyway. */
    }
    return NULL;
}

hanse_rc hanse_node_worker_new(hanse_node_worker **out, const hanse_node_config *config, const char *dir, int done_fd, hanse_err *err)
{
    hanse_node_worker *worker = hanse_calloc(1, sizeof *worker);

    if (worker == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "worker");
    worker->config = config;
    worker->dir = dir;
    worker->done_fd = done_fd;
    *out = worker;
    return HANSE_OK;
}

bool hanse_node_worker_busy(const hanse_node_worker *worker)
{
    return worker->running;
}

hanse_rc hanse_node_worker_start(hanse_node_worker *worker, hanse_node_job *job, hanse_err *err)
{
    int failed;

    if (worker->running)
        return HANSE_FAIL(err, HANSE_E_USAGE, "the worker is busy");
    worker->job = *job;
    memset(job, 0, sizeof *job);
    atomic_store(&worker->stop, false);
    atomic_store(&worker->done, false);
    failed = pthread_create(&worker->thread, NULL, thread_main, worker);
    if (failed != 0) {
        hanse_node_job_clear(&worker->job);
        return HANSE_FAIL(err, HANSE_E_IO, "cannot start a thread: %s", strerror(failed));
    }
    worker->running = true;
    return HANSE_OK;
}

void hanse_node_worker_stop(hanse_node_worker *worker)
{
    atomic_store(&worker->stop, true);
}

bool hanse_node_worker_take(hanse_node_worker *worker, hanse_node_job *job)
{
    if (!worker->running || !atomic_load(&worker->done))
        return false;
    (void)pthread_join(worker->thread, NULL);
    worker->running = false;
    *job = worker->job;
    memset(&worker->job, 0, sizeof worker->job);
    return true;
}

void hanse_node_worker_forget(hanse_node_worker *worker)
{
    if (!worker->running)
        forget(worker);
}

void hanse_node_worker_free(hanse_node_worker *worker)
{
    if (worker == NULL)
        return;
    if (worker->running) {
        hanse_node_worker_stop(worker);
        (void)pthread_join(worker->thread, NULL);
        hanse_node_job_clear(&worker->job);
    }
    forget(worker);
    hanse_free(worker);
}
