/* Statistics of the training rows, and from statistics to scaled columns. */
#include "node/data/rows.h"

#include <float.h>
#include <math.h>

#define UNIT_BITS 20 /* of HANSE_AUX_UNIT: words are multiples of 2^-20 */
#define STD_FLOOR 0x1p-10 /* of high - low: below it the rounding of z^2 outweighs the variance */
#define SITE_EPSILON 1e-9
#define ROWS_MAX ((uint64_t)1 << 42) /* of all sites together: 2^32 rows each, at most 2^10 sites */

__extension__ typedef unsigned __int128 u128;

static hanse_rc check_words(const char *what, size_t have, size_t dim, hanse_err *err)
{
    if (have != 2 + 3 * dim)
        return HANSE_FAIL(err, HANSE_E_USAGE, "%s: %zu words, want %zu", what, have, 2 + 3 * dim);
    return HANSE_OK;
}

hanse_rc hanse_dataset_statistics(const hanse_dataset *dataset, const hanse_plan *plan, uint64_t *words,
                                  size_t words_count, hanse_err *err)
{
    const hanse_rows *rows = &dataset->train;
    const double unit = (double)(1 << UNIT_BITS);
    hanse_column *columns = NULL;
    size_t dim = 0;
    hanse_rc rc = check_words("statistics", words_count, dataset->dim, err);

    if (rc != HANSE_OK)
        return rc;
    if (dataset->scaled)
        return HANSE_FAIL(err, HANSE_E_USAGE, "statistics of rows that are already scaled");
    if (rows->count >= (uint64_t)1 << 32)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%zu training rows, at most 2^32 - 1 can be summed", rows->count);
    rc = hanse_columns_new(&columns, &dim, plan, err);
    if (rc != HANSE_OK)
        return rc;
    memset(words, 0, words_count * sizeof *words);
    words[0] = rows->count;
    words[1] = rows->clipped;
    for (size_t i = 0; i < rows->count; i++)
        for (size_t j = 0; j < dim; j++) {
            double x = (double)rows->x[i * dim + j], z;
            uint64_t *word = words + 2 + 3 * j;

            if (isnan(x))
                continue;
            z = (x - columns[j].low) / (columns[j].high - columns[j].low);
            z = z > 0 ? fmin(z, 1) : 0; /* float32 may round past the bound */
            word[0] += 1;
            word[1] += (uint64_t)(z * unit + 0.5);
            word[2] += (uint64_t)(z * z * unit + 0.5);
        }
    hanse_free(columns);
    return HANSE_OK;
}

void hanse_scale_clear(hanse_scale *scale)
{
    hanse_free(scale->mean);
    hanse_free(scale->std);
    *scale = (hanse_scale){0};
}

/* mean 0, std 1, and the plan's columns (to be freed). */
static hanse_rc scale_init(hanse_scale *out, hanse_column **columns, const hanse_plan *plan, hanse_err *err)
{
    hanse_scale scale = {0};
    hanse_rc rc = hanse_columns_new(columns, &scale.dim, plan, err);

    if (rc != HANSE_OK)
        return rc;
    scale.mean = hanse_calloc(scale.dim, sizeof *scale.mean);
    scale.std = hanse_calloc(scale.dim, sizeof *scale.std);
    if (scale.mean == NULL || scale.std == NULL) {
        hanse_scale_clear(&scale);
        hanse_free(*columns);
        *columns = NULL;
        return HANSE_FAIL(err, HANSE_E_NOMEM, "scaling: out of memory");
    }
    for (size_t j = 0; j < scale.dim; j++)
        scale.std[j] = 1;
    *out = scale;
    return HANSE_OK;
}

hanse_rc hanse_scale_from_plan(hanse_scale *out, const hanse_plan *plan, hanse_err *err)
{
    hanse_column *columns = NULL;
    hanse_scale scale;
    hanse_rc rc = scale_init(&scale, &columns, plan, err);

    if (rc != HANSE_OK)
        return rc;
    for (size_t j = 0; j < scale.dim; j++)
        if (columns[j].feature != NULL && columns[j].numeric) {
            scale.mean[j] = columns[j].feature->mean;
            scale.std[j] = columns[j].feature->std;
            if (!(scale.std[j] > 0) || !isfinite(scale.std[j]) || !isfinite(scale.mean[j])) {
                rc = HANSE_FAIL(err, HANSE_E_INVALID, "feature '%s': mean and std of the plan must be numbers, std > 0",
                                columns[j].feature->name);
                hanse_scale_clear(&scale);
                break;
            }
        }
    hanse_free(columns);
    if (rc == HANSE_OK)
        *out = scale;
    return rc;
}

hanse_rc hanse_scale_from_site(hanse_scale *out, const hanse_plan *plan, const hanse_dataset *dataset, hanse_err *err)
{
    const hanse_rows *rows = &dataset->train;
    hanse_column *columns = NULL;
    hanse_scale scale = {0};
    uint64_t *counts = NULL;
    hanse_rc rc;

    if (dataset->scaled)
        return HANSE_FAIL(err, HANSE_E_USAGE, "scaling constants of rows that are already scaled");
    rc = scale_init(&scale, &columns, plan, err);
    if (rc != HANSE_OK)
        return rc;
    counts = hanse_calloc(scale.dim, sizeof *counts);
    if (counts == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "scaling: out of memory");
        goto done;
    }
    for (size_t i = 0; i < rows->count; i++)
        for (size_t j = 0; j < scale.dim; j++)
            if (!isnan(rows->x[i * scale.dim + j])) {
                counts[j]++;
                scale.mean[j] += (double)rows->x[i * scale.dim + j];
            }
    for (size_t j = 0; j < scale.dim; j++) {
        if (counts[j] > 0)
            scale.mean[j] /= (double)counts[j];
        else if (isfinite(columns[j].high - columns[j].low)) /* unscaled columns may have no bounds */
            scale.mean[j] = columns[j].low;
        scale.std[j] = 0;
    }
    for (size_t i = 0; i < rows->count; i++)
        for (size_t j = 0; j < scale.dim; j++)
            if (!isnan(rows->x[i * scale.dim + j])) {
                double d = (double)rows->x[i * scale.dim + j] - scale.mean[j];

                scale.std[j] += d * d;
            }
    for (size_t j = 0; j < scale.dim; j++) {
        if (counts[j] == 0)
            scale.std[j] = isfinite(columns[j].high - columns[j].low) ? columns[j].high - columns[j].low : 1;
        else
            scale.std[j] = sqrt(scale.std[j] / (double)(counts[j] > 1 ? counts[j] - 1 : 1)) + SITE_EPSILON;
    }
    *out = scale;
    scale = (hanse_scale){0};

done:
    hanse_scale_clear(&scale);
    hanse_free(counts);
    hanse_free(columns);
    return rc;
}

/* Mean and std of z from n, a = sum round(z*2^20), b = sum round(z^2*2^20):
 *   variance = (n b 2^20 - a^2) / (n (n-1) 2^40), n b 2^20 < 2^42 2^62 2^20 = 2^124. */
static void finish_column(uint64_t n, uint64_t a, uint64_t b, double range, double *mean, double *std)
{
    u128 squares = ((u128)n * b) << UNIT_BITS, square = (u128)a * a;
    double variance = 0;

    if (n > 1 && squares > square)
        variance = (double)(squares - square) * 0x1p-40 / ((double)n * (double)(n - 1));
    *mean += range * ((double)a * 0x1p-20 / (double)n);
    *std = range * fmax(sqrt(variance), STD_FLOOR);
}

hanse_rc hanse_scale_from_statistics(hanse_scale *out, const hanse_plan *plan, const uint64_t *words, size_t words_count,
                                     hanse_err *err)
{
    hanse_column *columns = NULL;
    hanse_scale scale = {0};
    hanse_rc rc = scale_init(&scale, &columns, plan, err);

    if (rc == HANSE_OK)
        rc = check_words("summed statistics", words_count, scale.dim, err);
    if (rc == HANSE_OK && (words[0] == 0 || words[0] > ROWS_MAX))
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "summed statistics: %llu training rows, want 1..2^42",
                        (unsigned long long)words[0]);
    for (size_t j = 0; rc == HANSE_OK && j < scale.dim; j++) {
        const uint64_t *word = words + 2 + 3 * j;
        const hanse_column *column = &columns[j];

        /* z <= 1, and rounding is monotone, so b <= a <= n in units; n is not more than the rows */
        if (word[0] > words[0] || word[1] > word[0] << UNIT_BITS || word[2] > word[1]) {
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "summed statistics of column %zu (%s): sums that no rows can have", j,
                            column->feature != NULL ? column->feature->name : "pixel");
            break;
        }
        scale.mean[j] = column->low;
        if (word[0] == 0)
            scale.std[j] = column->high - column->low; /* nobody has a value: keep z */
        else
            finish_column(word[0], word[1], word[2], column->high - column->low, &scale.mean[j], &scale.std[j]);
    }
    if (rc == HANSE_OK)
        *out = scale;
    else
        hanse_scale_clear(&scale);
    hanse_free(columns);
    return rc;
}

static void scale_rows(hanse_rows *rows, const hanse_column *columns, const hanse_scale *scale)
{
    for (size_t i = 0; i < rows->count; i++)
        for (size_t j = 0; j < scale->dim; j++) {
            float *x = &rows->x[i * scale->dim + j];
            double value = isnan(*x) ? scale->mean[j] : (double)*x;

            if (columns[j].scaled)
                value = (value - scale->mean[j]) / scale->std[j];
            *x = (float)fmin(fmax(value, -(double)FLT_MAX), (double)FLT_MAX);
        }
}

hanse_rc hanse_dataset_scale(hanse_dataset *dataset, const hanse_plan *plan, const hanse_scale *scale, hanse_err *err)
{
    hanse_column *columns = NULL;
    size_t dim = 0;
    hanse_rc rc;

    if (dataset->scaled)
        return HANSE_FAIL(err, HANSE_E_USAGE, "rows are already scaled");
    rc = hanse_columns_new(&columns, &dim, plan, err);
    if (rc != HANSE_OK)
        return rc;
    if (dim != dataset->dim || dim != scale->dim) {
        hanse_free(columns);
        return HANSE_FAIL(err, HANSE_E_USAGE, "scaling constants for %zu columns, the rows have %zu", scale->dim,
                          dataset->dim);
    }
    scale_rows(&dataset->train, columns, scale);
    scale_rows(&dataset->test, columns, scale);
    dataset->scaled = true;
    hanse_free(columns);
    return HANSE_OK;
}
