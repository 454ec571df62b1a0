#include "tests/unit/data/fixture.h"

#include "hanse/aux.h"

#include <math.h>

enum { ROWS = 400, WORDS = 2 + 3 * 4 };

/* ROWS rows of the small plan, some cells missing, one numeric column optionally constant. */
static hanse_dataset *make(const hanse_plan *plan, int seed, bool constant)
{
    static char text[ROWS * 40 + 64];
    static const char *const colours[] = {"red", "green", "blue"};
    hanse_source_file file = {.part = HANSE_PART_TRAIN};
    hanse_source source = {.files = &file, .files_count = 1};
    hanse_dataset *d = NULL;
    hanse_err err = {0};
    uint32_t noise = (uint32_t)seed;
    size_t at = (size_t)snprintf(text, sizeof text, "age,sugar,colour,ill\n");

    for (int i = 0; i < ROWS; i++) {
        noise = noise * 1664525u + 1013904223u;
        at += (size_t)snprintf(text + at, sizeof text - at, "%g,%u.%u,%s,%s\n",
                               constant ? 33.3 : (double)(noise >> 8) * 0x1p-24 * 130,
                               (noise >> 5) % 10, (noise >> 9) % 10, colours[(noise >> 20) % 3], i % 2 ? "yes" : "no");
    }
    file.path = fixture_write("a.csv", text, at);
    if (hanse_dataset_load(&d, plan, &source, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < ROWS; i += 5)
        d->train.x[i * 4 + 1] = NAN;
    return d;
}

static void close_to(double have, double want, double tolerance, const char *what)
{
    if (!(fabs(have - want) <= tolerance * fmax(1e-12, fabs(want))))
        fail_msg("%s: %.12g, want %.12g", what, have, want);
}

static void site(void **state)
{
    hanse_plan *plan = small_plan();
    hanse_dataset *d = make(plan, 1, false);
    hanse_scale scale = {0};
    hanse_err err = {0};

    (void)state;
    assert_int_equal(hanse_scale_from_site(&scale, plan, d, &err), HANSE_OK);
    for (size_t j = 0; j < 4; j++) {
        double sum = 0, squares = 0, n = 0;

        for (size_t i = 0; i < ROWS; i++) {
            double x = (double)d->train.x[i * 4 + j];

            if (isnan(x))
                continue;
            n++;
            sum += x;
            squares += x * x;
        }
        close_to(scale.mean[j], sum / n, 1e-9, "mean");
        close_to(scale.std[j], sqrt((squares - sum * sum / n) / (n - 1)) + 1e-9, 1e-6, "std");
    }
    float before = d->train.x[4];
    assert_int_equal(hanse_dataset_scale(d, plan, &scale, &err), HANSE_OK);
    close_to((double)d->train.x[4], ((double)before - scale.mean[0]) / scale.std[0], 1e-6, "scaled");
    assert_true(d->train.x[1] == 0.0f); /* was missing */
    assert_true(d->train.x[2] == 0.0f || d->train.x[2] == 1.0f); /* one-hot stays */
    assert_int_equal(hanse_dataset_scale(d, plan, &scale, &err), HANSE_E_USAGE);
    uint64_t words[WORDS];
    assert_int_equal(hanse_dataset_statistics(d, plan, words, WORDS, &err), HANSE_E_USAGE);
    hanse_scale_clear(&scale);
    hanse_dataset_free(d);
}

static void statistics(void **state)
{
    hanse_plan *plan = small_plan();
    static const double low[4] = {0, 0, 0, 0}, high[4] = {100, 10, 1, 1};
    uint64_t words[WORDS] = {0}, part[WORDS];
    double sums[4] = {0}, squares[4] = {0}, n[4] = {0};
    hanse_dataset *d[3];
    hanse_scale scale = {0};
    hanse_err err = {0};

    (void)state;
    for (int s = 0; s < 3; s++) {
        d[s] = make(plan, s + 1, false);
        assert_int_equal(hanse_dataset_statistics(d[s], plan, part, WORDS, &err), HANSE_OK);
        assert_int_equal(part[0], ROWS);
        assert_int_equal(part[1], d[s]->train.clipped);
        assert_true(part[1] > 0);
        for (size_t w = 0; w < WORDS; w++)
            words[w] += part[w];
        for (size_t i = 0; i < ROWS * 4; i++) {
            size_t j = i % 4;
            double z = ((double)d[s]->train.x[i] - low[j]) / (high[j] - low[j]);

            if (isnan(z))
                continue;
            n[j]++;
            sums[j] += z;
            squares[j] += z * z;
        }
    }
    assert_int_equal(hanse_scale_from_statistics(&scale, plan, words, WORDS, &err), HANSE_OK);
    for (size_t j = 0; j < 4; j++) {
        double range = high[j] - low[j], a = (double)words[3 + 3 * j] * 0x1p-20, b = (double)words[4 + 3 * j] * 0x1p-20;

        /* against the words in plain doubles, and against the rows within the words' rounding */
        close_to(scale.mean[j], low[j] + range * a / n[j], 1e-12, "mean of the words");
        close_to(scale.std[j], range * sqrt((b - a * a / n[j]) / (n[j] - 1)), 1e-9, "std of the words");
        close_to(scale.mean[j], low[j] + range * sums[j] / n[j], 1e-6, "mean of the rows");
        close_to(scale.std[j], range * sqrt((squares[j] - sums[j] * sums[j] / n[j]) / (n[j] - 1)), 2e-6, "std of the rows");
    }
    assert_int_equal(hanse_dataset_statistics(d[0], plan, part, WORDS - 1, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_scale_from_statistics(&scale, plan, words, WORDS + 1, &err), HANSE_E_USAGE);
    hanse_scale_clear(&scale);
    for (int s = 0; s < 3; s++)
        hanse_dataset_free(d[s]);
}

static void impossible_sums(void **state)
{
    hanse_plan *plan = small_plan();
    static const struct {
        const char *name;
        size_t word;
        uint64_t value;
    } rows[] = {{"no rows", 0, 0}, {"too many rows", 0, UINT64_MAX}, {"count above rows", 2, 11},
                {"sum above count", 3, (10u << 20) + 1}, {"squares above sum", 4, (5u << 20) + 1}};

    (void)state;
    for (size_t i = 0; i <= sizeof rows / sizeof *rows; i++) {
        uint64_t words[WORDS] = {10, 0, 10, 5u << 20, 3u << 20, 0, 0, 0, 10, 0, 0, 10, 10u << 20, 10u << 20};
        hanse_scale scale = {0};
        hanse_err err = {0};
        bool good = i == sizeof rows / sizeof *rows;

        if (!good)
            words[rows[i].word] = rows[i].value;
        if (hanse_scale_from_statistics(&scale, plan, words, WORDS, &err) != (good ? HANSE_OK : HANSE_E_INVALID))
            fail_msg("%s: %s", good ? "good" : rows[i].name, err.text);
        assert_true(good == (scale.mean != NULL));
        for (size_t j = 0; good && j < 4; j++) /* nobody has sugar; two columns are constant */
            assert_true(isfinite(scale.mean[j]) && scale.std[j] > 0 && isfinite(scale.std[j]));
        hanse_scale_clear(&scale);
    }
}

static void constant_column(void **state)
{
    hanse_plan *plan = small_plan();

    (void)state;
    for (int federated = 0; federated < 2; federated++) {
        hanse_dataset *d = make(plan, 3, true);
        uint64_t words[WORDS];
        hanse_scale scale = {0};
        hanse_err err = {0};

        assert_int_equal(hanse_dataset_statistics(d, plan, words, WORDS, &err), HANSE_OK);
        assert_int_equal(federated ? hanse_scale_from_statistics(&scale, plan, words, WORDS, &err)
                                   : hanse_scale_from_site(&scale, plan, d, &err),
                         HANSE_OK);
        assert_int_equal(hanse_dataset_scale(d, plan, &scale, &err), HANSE_OK);
        for (size_t i = 0; i < ROWS; i++)
            assert_true(fabsf(d->train.x[4 * i]) <= (federated ? 1e-3f : 0.0f));
        hanse_scale_clear(&scale);
        hanse_dataset_free(d);
    }
}

static void by_plan_and_none(void **state)
{
    hanse_plan *plan = small_plan();
    hanse_dataset *d = make(plan, 4, false);
    hanse_scale scale = {0};
    hanse_err err = {0};
    float sugar = d->train.x[5];

    (void)state;
    plan->data.features[0].mean = 50;
    plan->data.features[0].std = 0;
    assert_int_equal(hanse_scale_from_plan(&scale, plan, &err), HANSE_E_INVALID);
    assert_says("std", &err, "feature 'age'");
    plan->data.features[0].std = 20;
    assert_int_equal(hanse_scale_from_plan(&scale, plan, &err), HANSE_OK);
    assert_true(scale.mean[0] == 50 && scale.std[0] == 20 && scale.mean[2] == 0 && scale.std[2] == 1);
    hanse_scale_clear(&scale);
    plan->scaling = HANSE_SCALING_NONE;
    assert_int_equal(hanse_scale_from_site(&scale, plan, d, &err), HANSE_OK);
    assert_int_equal(hanse_dataset_scale(d, plan, &scale, &err), HANSE_OK);
    assert_true(d->train.x[5] == sugar && d->train.x[1] == (float)scale.mean[1]); /* only the missing cell changed */
    hanse_scale_clear(&scale);
    hanse_dataset_free(d);
}

static void allocations(void **state)
{
    hanse_plan *plan = small_plan();
    hanse_dataset *d = make(plan, 5, false);
    uint64_t words[WORDS];
    hanse_rc rc = HANSE_E_NOMEM;
    long k = 0;

    (void)state;
    for (; rc != HANSE_OK && k < 50; k++) {
        hanse_scale a = {0}, b = {0}, c = {0};
        hanse_err err = {0};

        hanse_alloc_fail_at(k);
        rc = hanse_dataset_statistics(d, plan, words, WORDS, &err);
        if (rc == HANSE_OK)
            rc = hanse_scale_from_statistics(&a, plan, words, WORDS, &err);
        if (rc == HANSE_OK)
            rc = hanse_scale_from_site(&b, plan, d, &err);
        if (rc == HANSE_OK)
            rc = hanse_scale_from_plan(&c, plan, &err);
        if (rc == HANSE_OK)
            rc = hanse_dataset_scale(d, plan, &b, &err);
        hanse_alloc_fail_at(-1);
        assert_true(rc == HANSE_OK || rc == HANSE_E_NOMEM);
        assert_true(d->scaled == (rc == HANSE_OK));
        hanse_scale_clear(&a);
        hanse_scale_clear(&b);
        hanse_scale_clear(&c);
    }
    assert_in_range(k, 5, 49);
    hanse_dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(site),            cmocka_unit_test(statistics),       cmocka_unit_test(impossible_sums),
        cmocka_unit_test(constant_column), cmocka_unit_test(by_plan_and_none), cmocka_unit_test(allocations),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
