#include "tests/unit/data/fixture.h"

#include "node/data/cohort.h"

#include <math.h>

static const char *const SITES[] = {"north.csv", "east.csv", "south.csv", "west.csv"};
static const size_t ROWS[] = {303, 294, 123, 200};

static hanse_dataset *load(const hanse_plan *plan)
{
    hanse_source_file files[4];
    hanse_source source = {.files = files, .files_count = 4};
    hanse_dataset *d = NULL;
    hanse_err err = {0};

    for (size_t i = 0; i < 4; i++)
        files[i] = (hanse_source_file){.path = fixture_path(SITES[i]), .part = HANSE_PART_SPLIT};
    if (hanse_dataset_load(&d, plan, &source, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    return d;
}

/* Plain logistic regression by gradient descent: is there something to learn, and not too much? */
static double learn(hanse_dataset *d)
{
    double w[HEART_DIM + 1] = {0};
    size_t correct = 0;

    for (int step = 0; step < 300; step++) {
        double g[HEART_DIM + 1] = {0};

        for (size_t i = 0; i < d->train.count; i++) {
            const float *x = d->train.x + i * HEART_DIM;
            double a = w[HEART_DIM], e;

            for (size_t j = 0; j < HEART_DIM; j++)
                a += w[j] * (double)x[j];
            e = 1 / (1 + exp(-a)) - (double)d->train.y[i];
            for (size_t j = 0; j < HEART_DIM; j++)
                g[j] += e * (double)x[j];
            g[HEART_DIM] += e;
        }
        for (size_t j = 0; j <= HEART_DIM; j++)
            w[j] -= g[j] / (double)d->train.count;
    }
    for (size_t i = 0; i < d->test.count; i++) {
        double a = w[HEART_DIM];

        for (size_t j = 0; j < HEART_DIM; j++)
            a += w[j] * (double)d->test.x[i * HEART_DIM + j];
        correct += (a > 0) == (d->test.y[i] == 1);
    }
    return (double)correct / (double)d->test.count;
}

static void is_learnable(void **state)
{
    hanse_plan *plan = heart_plan();
    hanse_err err = {0};
    double sum = 0;

    (void)state;
    plan->data.test_share = 0.34;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        hanse_scale scale = {0};
        hanse_dataset *d;
        double accuracy;

        assert_int_equal(hanse_cohort_write(fixture_dir, seed, &err), HANSE_OK);
        d = load(plan);
        assert_int_equal(d->rows_read, 920);
        assert_in_range(d->rows_dropped, 50, 300);
        assert_int_equal(d->train.clipped + d->test.clipped, 0);
        assert_int_equal(hanse_scale_from_site(&scale, plan, d, &err), HANSE_OK);
        assert_int_equal(hanse_dataset_scale(d, plan, &scale, &err), HANSE_OK);
        accuracy = learn(d);
        printf("seed %d: accuracy %.3f, %zu + %zu rows\n", (int)seed, accuracy, d->train.count, d->test.count);
        sum += accuracy;
        hanse_scale_clear(&scale);
        hanse_dataset_free(d);
    }
    assert_true(sum / 5 > 0.77 && sum / 5 < 0.86);
}

static size_t read_all(const char *name, char *out, size_t room)
{
    FILE *file = fopen(fixture_path(name), "rb");
    size_t len;

    assert_non_null(file);
    len = fread(out, 1, room, file);
    fclose(file);
    return len;
}

static void is_deterministic(void **state)
{
    static char first[4][32768], again[32768];
    size_t len[4];
    hanse_err err = {0};

    (void)state;
    assert_int_equal(hanse_cohort_write(fixture_dir, 9, &err), HANSE_OK);
    for (size_t i = 0; i < 4; i++) {
        size_t lines = 0;

        len[i] = read_all(SITES[i], first[i], sizeof first[i]);
        for (size_t k = 0; k < len[i]; k++)
            lines += first[i][k] == '\n';
        assert_int_equal(lines, ROWS[i]);
    }
    assert_int_equal(hanse_cohort_write(fixture_dir, 10, &err), HANSE_OK);
    len[0] = read_all(SITES[0], again, sizeof again);
    assert_memory_not_equal(again, first[0], 1000);
    assert_int_equal(hanse_cohort_write(fixture_dir, 9, &err), HANSE_OK);
    for (size_t i = 1; i < 4; i++) {
        assert_int_equal(read_all(SITES[i], again, sizeof again), len[i]);
        assert_memory_equal(again, first[i], len[i]);
    }
    assert_int_not_equal(hanse_cohort_write("/proc/none", 1, &err), HANSE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_learnable), cmocka_unit_test(is_deterministic)};

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
