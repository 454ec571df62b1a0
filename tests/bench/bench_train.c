/* Training speed on one thread, beside its limit: sgemm alone on the same shapes, taken in turn in the same run.
 *
 * bench_train [SECONDS A CASE, default 2]: images/s of hanse_network + optimiser with gathered rows (what the trainer does a batch),
 * the rate the products alone would allow, its GFLOP/s, and the ratio; medians of alternating runs. */
#include "node/train/network.h"
#include "node/train/optimiser.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RUNS 9
#define ROWS ((size_t)8192)

typedef struct bench_case {
    const char *name;
    hanse_model_kind kind;
    size_t dim, classes, hidden, batch;
    double target; /* images/s */
} bench_case;

static const bench_case cases[] = {
    {"784-64-64-10 batch 32", HANSE_MODEL_MLP, 784, 10, 64, 32, 120e3},
    {"784-64-64-10 batch 128", HANSE_MODEL_MLP, 784, 10, 64, 128, 160e3},
    {"100-64-64-10 batch 32", HANSE_MODEL_MLP, 100, 10, 64, 32, 250e3},
    {"100-64-64-10 batch 128", HANSE_MODEL_MLP, 100, 10, 64, 128, 400e3},
    {"logistic 13 batch 4", HANSE_MODEL_LOGISTIC, 13, 2, 0, 4, 0},
    {"logistic 13 batch 32", HANSE_MODEL_LOGISTIC, 13, 2, 0, 32, 0},
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One batch as node/train/trainer.c does it; rows in a scattered order. */
static double train_batch(hanse_network *n, hanse_optimiser_state *o, const float *x, const uint32_t *y, size_t batch, size_t step)
{
    uint32_t labels[128];
    size_t dim = n->width[0];

    for (size_t i = 0; i < batch; i++) {
        size_t row = (step * batch + i) * 2654435761u % ROWS;

        memcpy(n->input + i * dim, x + row * dim, dim * sizeof(float));
        labels[i] = y[row];
    }
    hanse_network_forward(n, n->input, batch);
    double loss = hanse_network_backward(n, n->input, labels, batch);
    hanse_optimiser_tick(o);
    for (size_t l = 0; l < n->layers_count; l++) {
        size_t first = n->weights[l], weights = n->width[l] * n->width[l + 1], bias = first + weights;

        hanse_optimiser_update(o, first, n->params + first, n->grads + first, weights, 0);
        hanse_optimiser_update(o, bias, n->params + bias, n->grads + bias, n->width[l + 1], 0);
    }
    return loss;
}

static void products_only(hanse_network *n, size_t batch)
{
    for (size_t l = 0; l < n->layers_count; l++) {
        size_t in = n->width[l], out = n->width[l + 1];
        const float *x = l == 0 ? n->input : n->outputs[l - 1];

        n->gemm(HANSE_GEMM_NT, batch, out, in, x, n->params + n->weights[l], n->outputs[l]);
        n->gemm(HANSE_GEMM_TN, out, in, batch, n->outputs[l], x, n->grads + n->weights[l]);
        if (l > 0)
            n->gemm(HANSE_GEMM_NN, batch, in, out, n->outputs[l], n->params + n->weights[l], n->deltas[0]);
    }
}

static double flops_per_row(const hanse_network *n)
{
    double sum = 0;

    for (size_t l = 0; l < n->layers_count; l++)
        sum += (l == 0 ? 4 : 6) * (double)n->width[l] * (double)n->width[l + 1];
    return sum;
}

/* Images/s over `seconds`. */
static double rate_of(hanse_network *n, hanse_optimiser_state *o, const float *x, const uint32_t *y, size_t batch, double seconds,
                      bool products)
{
    double begin = now(), end = begin, loss = 0;
    size_t steps = 0;

    while (end - begin < seconds) {
        for (int k = 0; k < 20; k++, steps++)
            if (products)
                products_only(n, batch);
            else
                loss += train_batch(n, o, x, y, batch, steps);
        end = now();
    }
    if (!isfinite(loss))
        fprintf(stderr, "diverged\n");
    return (double)(steps * batch) / (end - begin);
}

static int run_case(const bench_case *c, double seconds)
{
    hanse_err err;
    hanse_network network, bare;
    hanse_optimiser_state optimiser;
    hanse_plan plan = {.model = {.kind = c->kind, .hidden = {c->hidden, c->hidden}, .hidden_count = c->hidden > 0 ? 2 : 0}};
    double train[RUNS], limit[RUNS];
    float *x = calloc(ROWS * c->dim, sizeof *x);
    uint32_t *y = calloc(ROWS, sizeof *y);

    plan.data.format = HANSE_DATA_IDX;
    plan.data.rows = 1;
    plan.data.cols = c->dim;
    plan.data.classes_count = c->classes;
    plan.train.optimiser = HANSE_OPTIMISER_ADAM;
    plan.train.rate = 1e-3;
    plan.train.beta1 = 0.9;
    plan.train.beta2 = 0.999;
    plan.train.epsilon = 1e-8;
    if (x == NULL || y == NULL || hanse_network_init(&network, &plan, hanse_gemm_blas, c->batch, &err) != HANSE_OK
        || hanse_network_init(&bare, &plan, hanse_gemm_blas, c->batch, &err) != HANSE_OK
        || hanse_optimiser_init(&optimiser, &plan, network.parameters, &err) != HANSE_OK) {
        fprintf(stderr, "no memory\n");
        return 7;
    }
    srand(1);
    for (size_t i = 0; i < ROWS * c->dim; i++)
        x[i] = (float)rand() / (float)RAND_MAX;
    for (size_t i = 0; i < ROWS; i++)
        y[i] = (uint32_t)rand() % (uint32_t)c->classes;
    for (size_t i = 0; i < network.parameters; i++)
        network.params[i] = bare.params[i] = 0.1f * ((float)rand() / (float)RAND_MAX - 0.5f);
    memcpy(bare.input, x, c->batch * c->dim * sizeof *x);
    for (int r = 0; r < RUNS; r++) {
        train[r] = rate_of(&network, &optimiser, x, y, c->batch, seconds / (2 * RUNS), false);
        limit[r] = rate_of(&bare, &optimiser, x, y, c->batch, seconds / (2 * RUNS), true);
    }
    qsort(train, RUNS, sizeof *train, ascending);
    qsort(limit, RUNS, sizeof *limit, ascending);
    printf("%-24s %9.0f images/s (%.0f..%.0f), products alone %9.0f = %5.1f GFLOP/s, ratio %.2f", c->name, train[RUNS / 2], train[0],
           train[RUNS - 1], limit[RUNS / 2], limit[RUNS / 2] * flops_per_row(&bare) * 1e-9, train[RUNS / 2] / limit[RUNS / 2]);
    if (c->target > 0)
        printf(", target %.0f %s", c->target, train[RUNS / 2] >= c->target ? "met" : "MISSED");
    printf("\n");
    hanse_network_clear(&network);
    hanse_network_clear(&bare);
    hanse_optimiser_clear(&optimiser);
    free(x);
    free(y);
    return 0;
}

int main(int argc, char **argv)
{
    hanse_err err;
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 2;

    if (hanse_blas_load(&err) != HANSE_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 4;
    }
    printf("OpenBLAS kernels: %s, one thread\n", hanse_blas_core());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = run_case(&cases[i], seconds);

        if (code != 0)
            return code;
    }
    return 0;
}
