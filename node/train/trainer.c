#include "node/train/trainer.h"

#include "hanse/file.h"
#include "hanse/safetensors.h"
#include "node/data/dataset.h"
#include "node/train/batches.h"
#include "node/train/network.h"
#include "node/train/optimiser.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sys/sendfile.h>

#define EVALUATION_BATCH ((size_t)256)

struct hanse_trainer {
    const hanse_plan *plan;
    const hanse_dataset *dataset;
    hanse_layout layout;
    hanse_network network; /* the rest is empty for the identity model */
    hanse_optimiser_state optimiser;
    hanse_batches batches;
    uint32_t *labels;     /* [batch] */
    float *probabilities; /* [EVALUATION_BATCH, K] */
};

static bool is_identity(const hanse_trainer *trainer)
{
    return trainer->plan->model.kind == HANSE_MODEL_IDENTITY;
}

static bool is_stopped(const atomic_bool *stop)
{
    return stop != NULL && atomic_load_explicit(stop, memory_order_relaxed);
}

static hanse_rc check_rows(const hanse_rows *rows, const char *what, size_t classes_count, hanse_err *err)
{
    if (rows->count > UINT32_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%zu %s rows, want at most %u", rows->count, what, UINT32_MAX);
    for (size_t i = 0; i < rows->count; i++)
        if (rows->y[i] >= classes_count)
            return HANSE_FAIL(err, HANSE_E_INVALID, "%s row %zu has class %u, the plan has %zu", what, i, rows->y[i], classes_count);
    return HANSE_OK;
}

static hanse_rc check_dataset(const hanse_plan *plan, const hanse_dataset *dataset, hanse_err *err)
{
    hanse_rc rc;

    if (dataset == NULL)
        return HANSE_FAIL(err, HANSE_E_USAGE, "a model of this kind needs a dataset");
    if (!dataset->scaled)
        return HANSE_FAIL(err, HANSE_E_USAGE, "the dataset is not scaled yet");
    if (dataset->dim != hanse_plan_input_dim(plan) || dataset->classes_count != plan->data.classes_count)
        return HANSE_FAIL(err, HANSE_E_INVALID, "the dataset has %zu columns and %zu classes, the plan wants %zu and %zu",
                          dataset->dim, dataset->classes_count, hanse_plan_input_dim(plan), plan->data.classes_count);
    if (dataset->train.count == 0 && dataset->test.count == 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "the dataset has no rows");
    rc = check_rows(&dataset->train, "training", dataset->classes_count, err);
    if (rc == HANSE_OK)
        rc = check_rows(&dataset->test, "test", dataset->classes_count, err);
    return rc;
}

static hanse_rc open_network(hanse_trainer *trainer, hanse_err *err)
{
    const hanse_plan *plan = trainer->plan;
    size_t rows = trainer->dataset->train.count > 0 ? trainer->dataset->train.count : 1;
    size_t batch = plan->train.batch < rows ? plan->train.batch : rows;
    hanse_rc rc;

    rc = hanse_blas_load(err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_network_init(&trainer->network, plan, hanse_gemm_blas, batch > EVALUATION_BATCH ? batch : EVALUATION_BATCH, err);
    if (rc != HANSE_OK)
        return rc;
    if (trainer->network.parameters != trainer->layout.parameters)
        return HANSE_FAIL(err, HANSE_E_USAGE, "network of %zu parameters, model of %zu", trainer->network.parameters,
                          trainer->layout.parameters);
    rc = hanse_optimiser_init(&trainer->optimiser, plan, trainer->layout.parameters, err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_batches_init(&trainer->batches, rows, batch, err);
    if (rc != HANSE_OK)
        return rc;
    trainer->labels = hanse_calloc(batch, sizeof *trainer->labels);
    trainer->probabilities = hanse_calloc(EVALUATION_BATCH * plan->data.classes_count, sizeof *trainer->probabilities);
    if (trainer->labels == NULL || trainer->probabilities == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a batch of %zu rows", batch);
    return HANSE_OK;
}

hanse_rc hanse_trainer_open(hanse_trainer **out, const hanse_plan *plan, const struct hanse_dataset *dataset, hanse_err *err)
{
    hanse_rc rc;
    hanse_trainer *trainer = hanse_calloc(1, sizeof *trainer);

    if (trainer == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a trainer");
    trainer->plan = plan;
    trainer->dataset = dataset;
    rc = hanse_layout_of_plan(&trainer->layout, plan, err);
    if (rc != HANSE_OK)
        goto done;
    if (!is_identity(trainer)) {
        rc = check_dataset(plan, dataset, err);
        if (rc == HANSE_OK)
            rc = open_network(trainer, err);
        if (rc != HANSE_OK)
            goto done;
    }
    *out = trainer;
    trainer = NULL;

done:
    hanse_trainer_free(trainer);
    return rc;
}

void hanse_trainer_free(hanse_trainer *trainer)
{
    if (trainer == NULL)
        return;
    hanse_layout_clear(&trainer->layout);
    hanse_network_clear(&trainer->network);
    hanse_optimiser_clear(&trainer->optimiser);
    hanse_batches_clear(&trainer->batches);
    hanse_free(trainer->labels);
    hanse_free(trainer->probabilities);
    hanse_free(trainer);
}

static hanse_rc open_model(const hanse_trainer *trainer, hanse_model_file *file, const char *path, hanse_err *err)
{
    hanse_rc rc = hanse_model_open(file, path, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_layout_same(&file->layout, &trainer->layout, err);
    if (rc != HANSE_OK) {
        hanse_err_wrap(err, "%s is not a model of plan %s", path, trainer->plan->name);
        hanse_model_close(file);
    }
    return rc;
}

static hanse_rc check_finite(const hanse_trainer *trainer, const float *params, const char *what, hanse_err *err)
{
    size_t idx = hanse_floats_nonfinite(params, trainer->layout.parameters);

    if (idx == trainer->layout.parameters)
        return HANSE_OK;
    const hanse_tensor *tensor = hanse_layout_find(&trainer->layout, idx);
    return HANSE_FAIL(err, HANSE_E_NONFINITE, "%s: value %zu of tensor %s is not a finite number", what, idx - tensor->offset,
                      tensor->name);
}

static hanse_rc load_params(hanse_trainer *trainer, const char *path, hanse_model_meta *meta, hanse_err *err)
{
    hanse_model_file file;
    hanse_rc rc = open_model(trainer, &file, path, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_model_read(&file, 0, trainer->network.params, trainer->layout.parameters, err);
    *meta = file.meta;
    hanse_model_close(&file);
    return rc == HANSE_OK ? check_finite(trainer, trainer->network.params, path, err) : rc;
}

/* `size` bytes from one file into another, empty one; inside the kernel. */
static hanse_rc copy_bytes(int from, int to, uint64_t size, const atomic_bool *stop, const char *path, hanse_err *err)
{
    off_t offset = 0;

    while ((uint64_t)offset < size) {
        uint64_t left = size - (uint64_t)offset;
        ssize_t got = sendfile(to, from, &offset, left < ((uint64_t)1 << 26) ? (size_t)left : (size_t)1 << 26);

        if (is_stopped(stop))
            return HANSE_FAIL(err, HANSE_E_AGAIN, "stopped");
        if (got < 0 && errno != EINTR)
            return HANSE_FAIL_ERRNO(err, "copying to %s", path);
        if (got == 0)
            return HANSE_FAIL(err, HANSE_E_CORRUPT, "copying to %s: the source ended %" PRIu64 " bytes early", path, left);
    }
    return HANSE_OK;
}

static hanse_rc hand_back(hanse_trainer *trainer, const char *model_in, const char *model_out, const atomic_bool *stop,
                          hanse_err *err)
{
    hanse_model_file file;
    hanse_path temp;
    int fd = -1;
    hanse_rc rc = open_model(trainer, &file, model_in, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_file_create(&fd, temp, model_out, HANSE_MODE_SECRET, err);
    if (rc != HANSE_OK)
        goto done;
    rc = copy_bytes(file.fd, fd, file.size, stop, model_out, err);
    if (rc == HANSE_OK)
        rc = hanse_file_commit(&fd, temp, model_out, err);
    hanse_file_discard(&fd, temp); /* nothing after a commit */

done:
    hanse_model_close(&file);
    return rc;
}

static void gather(hanse_trainer *trainer, const uint32_t *rows, size_t count)
{
    const hanse_rows *train = &trainer->dataset->train;
    size_t dim = trainer->dataset->dim;

    for (size_t i = 0; i < count; i++) {
        memcpy(trainer->network.input + i * dim, train->x + rows[i] * dim, dim * sizeof(float));
        trainer->labels[i] = train->y[rows[i]];
    }
}

/* One mini-batch; returns the sum of its cross-entropies. The penalty l2/2 |W|^2 is on weights, not on biases. */
static double train_batch(hanse_trainer *trainer, size_t count)
{
    hanse_network *network = &trainer->network;
    double loss;

    hanse_network_forward(network, network->input, count);
    loss = hanse_network_backward(network, network->input, trainer->labels, count);
    hanse_optimiser_tick(&trainer->optimiser);
    for (size_t l = 0; l < network->layers_count; l++) {
        size_t first = network->weights[l], weights = network->width[l] * network->width[l + 1], bias = first + weights;

        hanse_optimiser_update(&trainer->optimiser, first, network->params + first, network->grads + first, weights,
                               trainer->plan->train.l2);
        hanse_optimiser_update(&trainer->optimiser, bias, network->params + bias, network->grads + bias, network->width[l + 1], 0);
    }
    return loss;
}

static hanse_rc train_round(hanse_trainer *trainer, const atomic_bool *stop, hanse_trained *trained, hanse_err *err)
{
    const hanse_plan *plan = trainer->plan;
    size_t rows_count = trainer->dataset->train.count;
    uint64_t seen = 0, steps = 0;
    double loss_sum = 0;

    /* Whole epochs end where the order is used up; steps go on into reshuffled epochs. */
    while (plan->train.steps > 0 ? steps < plan->train.steps
                                 : trainer->batches.epoch + 1 < plan->train.epochs || trainer->batches.next < rows_count) {
        const uint32_t *rows;
        size_t count = hanse_batches_next(&trainer->batches, &rows);
        double loss;

        if (is_stopped(stop))
            return HANSE_FAIL(err, HANSE_E_AGAIN, "stopped after %" PRIu64 " steps", steps);
        gather(trainer, rows, count);
        loss = train_batch(trainer, count);
        steps++;
        if (!isfinite(loss))
            return HANSE_FAIL(err, HANSE_E_NONFINITE, "the loss is not finite at step %" PRIu64 ": training diverged; "
                              "train.rate %g may be too large", steps, plan->train.rate);
        loss_sum += loss;
        seen += count;
    }
    /* An epoch shows every row once before any row comes again: so many different ones were seen. */
    trained->rows = seen < rows_count ? seen : rows_count;
    trained->steps = steps;
    trained->loss = loss_sum / (double)seen;
    return HANSE_OK;
}

hanse_rc hanse_trainer_train(hanse_trainer *trainer, const char *model_in, const char *model_out, uint64_t round,
                             uint64_t site_seed, const atomic_bool *stop, hanse_trained *trained, hanse_err *err)
{
    hanse_rc rc;
    hanse_model_meta meta;
    hanse_trained result = {.rows = 1};

    if (is_identity(trainer)) {
        rc = hand_back(trainer, model_in, model_out, stop, err);
        if (rc == HANSE_OK)
            *trained = result;
        return rc;
    }
    if (trainer->dataset->train.count == 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "no training rows");
    rc = load_params(trainer, model_in, &meta, err);
    if (rc != HANSE_OK)
        return rc;
    hanse_optimiser_reset(&trainer->optimiser);
    hanse_batches_begin(&trainer->batches, trainer->plan->train.seed, site_seed, round);
    rc = train_round(trainer, stop, &result, err);
    if (rc != HANSE_OK)
        return rc;
    rc = check_finite(trainer, trainer->network.params, "after training", err);
    if (rc != HANSE_OK)
        return rc;
    meta.round = round;
    memcpy(meta.plan_hash, trainer->plan->hash, sizeof meta.plan_hash);
    rc = hanse_model_write(model_out, &trainer->layout, &meta, trainer->network.params, true, err);
    if (rc == HANSE_OK)
        *trained = result;
    return rc;
}

hanse_rc hanse_trainer_evaluate(hanse_trainer *trainer, const char *model, const atomic_bool *stop, hanse_metrics *metrics,
                                hanse_err *err)
{
    hanse_rc rc;
    hanse_model_meta meta;
    hanse_metrics sums;
    size_t classes = trainer->plan->data.classes_count;

    rc = hanse_metrics_init(&sums, classes, err);
    if (rc != HANSE_OK)
        return rc;
    if (!is_identity(trainer)) {
        const hanse_rows *test = &trainer->dataset->test;

        rc = load_params(trainer, model, &meta, err);
        for (size_t first = 0; rc == HANSE_OK && first < test->count; first += EVALUATION_BATCH) {
            size_t count = test->count - first < EVALUATION_BATCH ? test->count - first : EVALUATION_BATCH;

            hanse_network_forward(&trainer->network, test->x + first * trainer->dataset->dim, count);
            hanse_network_probabilities(&trainer->network, count, trainer->probabilities);
            for (size_t i = 0; i < count; i++)
                hanse_metrics_add_row(&sums, test->y[first + i], trainer->probabilities + i * classes);
            if (is_stopped(stop))
                rc = HANSE_FAIL(err, HANSE_E_AGAIN, "stopped");
        }
    }
    if (rc != HANSE_OK) {
        hanse_metrics_clear(&sums);
        return rc;
    }
    *metrics = sums;
    return HANSE_OK;
}
