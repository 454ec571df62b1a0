/* Metrics against naive oracles, their words against lies, and the lengths of the aux segment. */
#include "hanse/aux.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static hanse_err err;
static uint64_t lcg = 1;

static float uniform(void)
{
    lcg = lcg * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(lcg >> 40) * 0x1p-24f;
}

/* Exact area under the curve: every pair of a negative and a positive row, ties half. */
static double auc_oracle(const float *scores, const bool *positive, size_t rows)
{
    double right = 0, pairs = 0;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < rows; j++)
            if (positive[i] && !positive[j]) {
                right += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
                pairs++;
            }
    return pairs > 0 ? right / pairs : NAN;
}

enum { ROWS = 1500 };

/* Softmax of noise that favours the truth; quantised scores fall on bin edges, so that the histogram's area is exact. */
static void make_row(size_t classes, size_t truth, float quantum, float *scores)
{
    float sum = 0;
    for (size_t k = 0; k < classes; k++)
        sum += scores[k] = expf(2 * uniform() + (k == truth ? 0.7f : 0));
    for (size_t k = 0; k < classes; k++) {
        scores[k] /= sum;
        if (quantum > 0)
            scores[k] = floorf(scores[k] / quantum) * quantum;
    }
}

static void check_classes(size_t classes, float quantum, double tolerance)
{
    static float scores[ROWS][12], column[ROWS];
    static bool positive[ROWS];
    size_t truth[ROWS], correct = 0;
    double loss = 0, auc = 0, measured = 0;
    hanse_metrics whole, halves[2];

    assert_int_equal(hanse_metrics_init(&whole, classes, &err), HANSE_OK);
    for (int h = 0; h < 2; h++)
        assert_int_equal(hanse_metrics_init(&halves[h], classes, &err), HANSE_OK);
    for (size_t r = 0; r < ROWS; r++) {
        size_t best = 0;
        truth[r] = (size_t)(uniform() * (float)classes);
        make_row(classes, truth[r], quantum, scores[r]);
        hanse_metrics_add_row(&whole, truth[r], scores[r]);
        hanse_metrics_add_row(&halves[r % 2], truth[r], scores[r]);
        for (size_t k = 1; k < classes; k++)
            if (scores[r][k] > scores[r][best])
                best = k;
        correct += best == truth[r];
        loss += fmin(-log((double)scores[r][truth[r]]), 64) / ROWS;
    }
    for (size_t k = classes == 2 ? 1 : 0; k < classes; k++) {
        for (size_t r = 0; r < ROWS; r++) {
            column[r] = scores[r][k];
            positive[r] = truth[r] == k;
        }
        auc += auc_oracle(column, positive, ROWS);
        measured++;
    }
    assert_true(fabs(hanse_metrics_auc(&whole) - auc / measured) <= tolerance);
    assert_true(fabs(hanse_metrics_accuracy(&whole) - (double)correct / ROWS) <= 1e-15);
    assert_true(fabs(hanse_metrics_loss(&whole) - loss) <= 1e-6);

    /* two halves merged, in either order, are the whole; so are their words added up */
    size_t words_count = hanse_metrics_words(classes);
    uint64_t *a = hanse_calloc(words_count, 8), *b = hanse_calloc(words_count, 8), *sum = hanse_calloc(words_count, 8);
    assert_true(a != NULL && b != NULL && sum != NULL);
    hanse_metrics_encode(&halves[0], a);
    hanse_metrics_encode(&halves[1], b);
    for (size_t i = 0; i < words_count; i++)
        sum[i] = a[i] + b[i];
    hanse_metrics_merge(&halves[1], &halves[0]);
    hanse_metrics_encode(&halves[1], b);
    hanse_metrics_encode(&whole, a);
    assert_memory_equal(a, b, words_count * 8);
    assert_memory_equal(a, sum, words_count * 8);

    hanse_metrics back;
    assert_int_equal(hanse_metrics_decode(&back, classes, sum, words_count, &err), HANSE_OK);
    assert_true(hanse_metrics_auc(&back) == hanse_metrics_auc(&whole));
    hanse_metrics_clear(&back);

    /* any single word that is off contradicts another one (the loss has only a bound) */
    for (size_t i = 0; i < words_count; i++) {
        uint64_t kept = sum[i];
        const uint64_t lies[] = {kept + 1, kept - 1, UINT64_MAX, UINT64_MAX - kept, (uint64_t)1 << 63};
        for (size_t l = i == 2 ? 2 : 0; l < sizeof lies / sizeof *lies; l++) {
            sum[i] = lies[l];
            if (hanse_metrics_decode(&back, classes, sum, words_count, &err) != HANSE_E_PROTOCOL)
                fail_msg("%zu classes: word %zu may be %llu", classes, i, (unsigned long long)lies[l]);
        }
        sum[i] = kept;
    }
    assert_int_equal(hanse_metrics_decode(&back, classes, sum, words_count - 1, &err), HANSE_E_SHAPE);
    assert_int_equal(hanse_metrics_decode(&back, classes, sum, words_count + 1, &err), HANSE_E_SHAPE);
    hanse_free(a);
    hanse_free(b);
    hanse_free(sum);
    hanse_metrics_clear(&whole);
    hanse_metrics_clear(&halves[0]);
    hanse_metrics_clear(&halves[1]);
}

static void test_oracles(void **state)
{
    (void)state;
    check_classes(2, 0x1p-10f, 1e-12);
    check_classes(2, 0, 2e-3);
    check_classes(3, 0x1p-6f, 1e-12);
    check_classes(10, 0, 2e-2); /* 64 bins: the finest scores share a bin */
    check_classes(10, 0x1p-6f, 1e-12);
}

static void test_extremes(void **state)
{
    (void)state;
    hanse_metrics m;
    const float nan_row[2] = {NAN, NAN}, inf_row[2] = {INFINITY, 0}, sure[2] = {0, 1}, over[2] = {1.0000002f, -1e-7f};

    assert_int_equal(hanse_metrics_init(&m, 2, &err), HANSE_OK);
    assert_true(isnan(hanse_metrics_accuracy(&m)) && isnan(hanse_metrics_loss(&m)) && isnan(hanse_metrics_auc(&m)));
    hanse_metrics_add_row(&m, 1, sure);
    assert_true(isnan(hanse_metrics_auc(&m))); /* one class only */
    assert_true(hanse_metrics_loss(&m) == 0);
    hanse_metrics_add_row(&m, 0, over);
    assert_true(hanse_metrics_auc(&m) == 1);
    assert_true(hanse_metrics_loss(&m) == 0 && m.correct == 2);
    hanse_metrics_add_row(&m, 0, nan_row);
    hanse_metrics_add_row(&m, 1, nan_row);
    hanse_metrics_add_row(&m, 0, inf_row);
    assert_int_equal(m.correct, 2);
    assert_int_equal(m.samples, 5);
    assert_true(hanse_metrics_loss(&m) == 3 * 64.0 / 5);
    hanse_metrics_add_row(&m, 0, sure); /* surely wrong: the cap again */
    assert_true(hanse_metrics_loss(&m) == 4 * 64.0 / 6);

    uint64_t words[3 + 4 + 2 * 1024];
    hanse_metrics back;
    assert_int_equal(hanse_metrics_words(2), sizeof words / sizeof *words);
    hanse_metrics_encode(&m, words);
    assert_int_equal(hanse_metrics_decode(&back, 2, words, sizeof words / sizeof *words, &err), HANSE_OK);
    hanse_metrics_clear(&back);
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_metrics_decode(&back, 2, words, sizeof words / sizeof *words, &err), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    hanse_metrics_clear(&m);
    hanse_metrics_clear(&m);
    hanse_metrics_clear(NULL);
}

static void test_many_classes(void **state)
{
    (void)state;
    static float scores[1000];
    uint64_t words[3];
    hanse_metrics m, back;

    assert_int_equal(hanse_metrics_words(65), 3);
    assert_int_equal(hanse_metrics_words(64), 3 + 64 * 64 + 64 * 2 * 64);
    assert_int_equal(hanse_metrics_words(10), 3 + 100 + 10 * 2 * 64);
    assert_int_equal(hanse_metrics_init(&m, 1000, &err), HANSE_OK);
    scores[999] = 1;
    hanse_metrics_add_row(&m, 999, scores);
    hanse_metrics_add_row(&m, 998, scores);
    assert_true(hanse_metrics_accuracy(&m) == 0.5);
    assert_true(isnan(hanse_metrics_auc(&m)));
    hanse_metrics_encode(&m, words);
    assert_int_equal(hanse_metrics_decode(&back, 1000, words, 3, &err), HANSE_OK);
    assert_int_equal(back.samples, 2);
    words[1] = 3;
    assert_int_equal(hanse_metrics_decode(&back, 1000, words, 3, &err), HANSE_E_PROTOCOL);
    hanse_metrics_clear(&m);
    hanse_metrics_clear(&back);
}

static void test_aux_words(void **state)
{
    (void)state;
    hanse_plan plan = {.scaling = HANSE_SCALING_FEDERATED, .data = {.format = HANSE_DATA_IDX, .rows = 28, .cols = 28, .classes_count = 10}};
    assert_int_equal(hanse_aux_words(&plan, 0), 2 + 3 * 784);
    plan.scaling = HANSE_SCALING_NONE; /* then only the rows are counted, for masked weights */
    assert_int_equal(hanse_aux_words(&plan, 0), 2);
    assert_int_equal(hanse_aux_words(&plan, 1), 2 + hanse_metrics_words(10));
    assert_int_equal(hanse_aux_words(&plan, 2), 2 + hanse_metrics_words(10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracles),      cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_many_classes), cmocka_unit_test(test_aux_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
