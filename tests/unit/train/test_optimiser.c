/* Optimisers against the formulas in double; batches: permutations, seeds. */
#include "fixture.h"

#include "node/train/batches.h"
#include "node/train/optimiser.h"

#define P 37 /* not a multiple of any vector width */

/* `steps` steps of random gradients, updated in two ranges as the trainer does. */
static void matches_formula(hanse_plan *plan, double tolerance)
{
    hanse_err err;
    hanse_optimiser_state optimiser;
    float w[P], first_run[P], g[P];
    double want[P], m[P], v[P];

    ASSERT_RC(HANSE_OK, hanse_optimiser_init(&optimiser, plan, P, &err));
    for (int run = 0; run < 2; run++) {
        uint64_t seed = 4;

        for (size_t i = 0; i < P; i++) {
            w[i] = fixture_uniform(&seed);
            want[i] = (double)w[i];
            m[i] = v[i] = 0;
        }
        hanse_optimiser_reset(&optimiser);
        for (int t = 1; t <= 20; t++) {
            for (size_t i = 0; i < P; i++) {
                g[i] = fixture_uniform(&seed);
                double d = (double)g[i] + (i < 30 ? plan->train.l2 : 0) * want[i];

                if (plan->train.optimiser == HANSE_OPTIMISER_SGD) {
                    m[i] = plan->train.momentum * m[i] + d;
                    want[i] -= plan->train.rate * m[i];
                } else {
                    m[i] = plan->train.beta1 * m[i] + (1 - plan->train.beta1) * d;
                    v[i] = plan->train.beta2 * v[i] + (1 - plan->train.beta2) * d * d;
                    want[i] -= plan->train.rate * (m[i] / (1 - pow(plan->train.beta1, t)))
                               / (sqrt(v[i] / (1 - pow(plan->train.beta2, t))) + plan->train.epsilon);
                }
            }
            hanse_optimiser_tick(&optimiser);
            hanse_optimiser_update(&optimiser, 0, w, g, 30, plan->train.l2);
            hanse_optimiser_update(&optimiser, 30, w + 30, g + 30, P - 30, 0);
        }
        for (size_t i = 0; i < P; i++)
            ASSERT_NEAR(w[i], want[i], tolerance);
        if (run == 0)
            memcpy(first_run, w, sizeof w);
    }
    assert_memory_equal(first_run, w, sizeof w); /* a reset leaves nothing of the round before */
    hanse_optimiser_clear(&optimiser);
}

static void formulas(void **state)
{
    static const struct {
        hanse_optimiser kind;
        double rate, momentum, l2;
    } rows[] = {{HANSE_OPTIMISER_SGD, 0.1, 0, 0},   {HANSE_OPTIMISER_SGD, 0.1, 0, 0.3},  {HANSE_OPTIMISER_SGD, 0.05, 0.9, 0.1},
                {HANSE_OPTIMISER_ADAM, 0.01, 0, 0}, {HANSE_OPTIMISER_ADAM, 0.1, 0, 0.05}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_plan plan = fixture_plan(HANSE_MODEL_SOFTMAX, 3, 2);

        plan.train.optimiser = rows[i].kind;
        plan.train.rate = rows[i].rate;
        plan.train.momentum = rows[i].momentum;
        plan.train.l2 = rows[i].l2;
        matches_formula(&plan, 1e-5);
    }
}

static void adam_of_zero_gradients(void **state)
{
    hanse_err err;
    hanse_optimiser_state optimiser;
    hanse_plan plan = fixture_plan(HANSE_MODEL_SOFTMAX, 3, 2);
    float w[P] = {1}, g[P] = {0};

    (void)state;
    plan.train.optimiser = HANSE_OPTIMISER_ADAM;
    ASSERT_RC(HANSE_OK, hanse_optimiser_init(&optimiser, &plan, P, &err));
    for (int t = 0; t < 200; t++) {
        hanse_optimiser_tick(&optimiser);
        hanse_optimiser_update(&optimiser, 0, w, g, P, 0);
    }
    ASSERT_NEAR(w[0], 1, 0);
    ASSERT_NEAR(w[1], 0, 0);
    hanse_optimiser_clear(&optimiser);
}

static void batches_are_permutations(void **state)
{
    static const size_t shapes[][2] = {{1, 1}, {1, 8}, {10, 3}, {199, 4}, {64, 64}};

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        hanse_err err;
        hanse_batches batches;
        size_t rows = shapes[s][0], per_epoch = (rows + shapes[s][1] - 1) / shapes[s][1];

        ASSERT_RC(HANSE_OK, hanse_batches_init(&batches, rows, shapes[s][1], &err));
        hanse_batches_begin(&batches, 1, 2, 3);
        for (int epoch = 0; epoch < 3; epoch++) {
            unsigned char seen[200] = {0};
            size_t total = 0;

            for (size_t b = 0; b < per_epoch; b++) {
                const uint32_t *at;
                size_t count = hanse_batches_next(&batches, &at);

                assert_true(count >= 1 && count <= shapes[s][1]);
                assert_true(b + 1 == per_epoch || count == shapes[s][1]);
                for (size_t i = 0; i < count; i++)
                    assert_int_equal(seen[at[i]]++, 0);
                total += count;
            }
            assert_int_equal(total, rows);
        }
        hanse_batches_clear(&batches);
    }
}

/* The order of epoch 0 under one seed, or of epoch 1. */
static void order_of(uint32_t *out, uint64_t plan_seed, uint64_t site_seed, uint64_t round, int epoch)
{
    hanse_err err;
    hanse_batches batches;
    const uint32_t *rows;

    ASSERT_RC(HANSE_OK, hanse_batches_init(&batches, 50, 50, &err));
    hanse_batches_begin(&batches, plan_seed, site_seed, round);
    for (int e = 0; e <= epoch; e++)
        assert_int_equal(hanse_batches_next(&batches, &rows), 50);
    memcpy(out, rows, 50 * sizeof *rows);
    hanse_batches_clear(&batches);
}

static void every_seed_counts(void **state)
{
    uint32_t base[50], other[50];
    static const uint64_t seeds[][4] = {{2, 7, 1, 0}, {1, 8, 1, 0}, {1, 7, 2, 0}, {1, 7, 1, 1}, {7, 1, 1, 0}};

    (void)state;
    order_of(base, 1, 7, 1, 0);
    order_of(other, 1, 7, 1, 0);
    assert_memory_equal(base, other, sizeof base);
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++) {
        order_of(other, seeds[s][0], seeds[s][1], seeds[s][2], (int)seeds[s][3]);
        assert_memory_not_equal(base, other, sizeof base);
    }
}

/* Every row comes first equally often: 3,000 shuffles of 10 rows, mean 300, standard deviation 16.4. */
static void first_rows_are_uniform(void **state)
{
    int first[10] = {0};
    hanse_err err;
    hanse_batches batches;

    (void)state;
    ASSERT_RC(HANSE_OK, hanse_batches_init(&batches, 10, 10, &err));
    for (uint64_t round = 0; round < 3000; round++) {
        const uint32_t *rows;

        hanse_batches_begin(&batches, 1, 1, round);
        (void)hanse_batches_next(&batches, &rows);
        first[rows[0]]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(first[i], 300 - 82, 300 + 82); /* 5 standard deviations */
    hanse_batches_clear(&batches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formulas), cmocka_unit_test(adam_of_zero_gradients), cmocka_unit_test(batches_are_permutations),
        cmocka_unit_test(every_seed_counts), cmocka_unit_test(first_rows_are_uniform),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
