/* fixture.h - plans, rows and model files for the tests of node/train, made by hand. */
#ifndef HANSE_TESTS_TRAIN_FIXTURE_H
#define HANSE_TESTS_TRAIN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hanse/file.h"
#include "hanse/safetensors.h"
#include "node/data/dataset.h"
#include "node/train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A plan over D pixels and K classes: SGD 0.1, batch 8, one epoch, seed 1. */
static inline hanse_plan fixture_plan(hanse_model_kind kind, size_t dim, size_t classes)
{
    hanse_plan plan = {.name = "test"};

    plan.data.format = HANSE_DATA_IDX;
    plan.data.rows = 1;
    plan.data.cols = dim;
    plan.data.classes_count = classes;
    plan.model.kind = kind;
    plan.train.rate = 0.1;
    plan.train.beta1 = 0.9;
    plan.train.beta2 = 0.999;
    plan.train.epsilon = 1e-8;
    plan.train.batch = 8;
    plan.train.epochs = 1;
    plan.train.seed = 1;
    return plan;
}

static inline uint32_t fixture_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

static inline float fixture_uniform(uint64_t *state) /* [-1, 1) */
{
    return (float)fixture_random(state) / 2147483648.0f - 1;
}

/* Rows around K well separated centres; the first 4/5 train, the rest test. Free with fixture_rows_free(). */
static inline hanse_dataset fixture_rows(size_t count, size_t dim, size_t classes, uint64_t seed)
{
    hanse_dataset set = {.dim = dim, .classes_count = classes, .scaled = true};
    float *x = calloc(count * dim, sizeof *x);
    uint32_t *y = calloc(count, sizeof *y);

    assert_non_null(x);
    assert_non_null(y);
    for (size_t i = 0; i < count; i++) {
        y[i] = fixture_random(&seed) % (uint32_t)classes;
        for (size_t j = 0; j < dim; j++)
            x[i * dim + j] = fixture_uniform(&seed) * 0.8f + (j % classes == y[i] ? 1.0f : 0.0f);
    }
    set.train = (hanse_rows){.x = x, .y = y, .count = count * 4 / 5};
    set.test = (hanse_rows){.x = x + set.train.count * dim, .y = y + set.train.count, .count = count - set.train.count};
    return set;
}

static inline void fixture_rows_free(hanse_dataset *set)
{
    free(set->train.x);
    free(set->train.y);
}

#define ASSERT_RC(want, call)                                                                  \
    do {                                                                                       \
        hanse_rc rc_ = (call);                                                                 \
        if (rc_ != (want))                                                                     \
            fail_msg("%s gave %s (%s), want %s", #call, hanse_rc_name(rc_), err.text, hanse_rc_name(want)); \
    } while (0)

#define ASSERT_NEAR(a, b, tolerance)                                                      \
    do {                                                                                  \
        double a_ = (double)(a), b_ = (double)(b);                                        \
        if (!(fabs(a_ - b_) <= (tolerance)))                                              \
            fail_msg("%s = %.9g, want %.9g within %g", #a, a_, b_, (double)(tolerance)); \
    } while (0)

#endif
