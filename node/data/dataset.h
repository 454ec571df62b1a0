/* dataset.h - a site's rows as a matrix: read, encoded and scaled as the plan says.
 *
 * Two steps, so that federated scaling can stand between them:
 *   hanse_dataset_load()                      files -> encoded rows, clipped to the plan's bounds, unscaled
 *   hanse_dataset_statistics()                training rows -> words of the statistics round, see hanse/aux.h
 *   hanse_scale_from_{plan,site,statistics}() -> one mean and std a column
 *   hanse_dataset_scale()                     in place; from then on the dataset is ready for a trainer
 * Until then a cell to be imputed by the mean is NaN. Formats and refusals: docs/data.md. Blocking file I/O. */
#ifndef HANSE_NODE_DATASET_H
#define HANSE_NODE_DATASET_H

#include "hanse/plan.h"

/* Which rows of a file are for training. */
typedef enum hanse_part { HANSE_PART_SPLIT, HANSE_PART_TRAIN, HANSE_PART_TEST } hanse_part;
typedef enum hanse_header { HANSE_HEADER_BY_PLAN, HANSE_HEADER_YES, HANSE_HEADER_NO } hanse_header;

/* One file, or for IDX one pair of files; plain or .gz both. All strings are borrowed. */
typedef struct hanse_source_file {
    const char *path;       /* CSV, or IDX pictures */
    const char *labels;     /* IDX: the labels; NULL for CSV */
    const char *split_name; /* what the split file calls it; NULL: the path's last part */
    hanse_part part;        /* HANSE_PART_SPLIT: by split file, or else by the plan's seeded hash */
} hanse_source_file;

/* What node.yaml says about a data name. All zero is a good start: comma, "?", "" and "NA" are missing. */
typedef struct hanse_source {
    const hanse_source_file *files; /* [files_count] >= 1, read as if they were one */
    size_t files_count;
    const char *split_path;     /* CSV "file,line,part"; NULL: none. Rows that it does not name are left out */
    const char *const *missing; /* marks of a missing value, [missing_count]; NULL: the three above */
    size_t missing_count;
    char delimiter;             /* one byte; 0: comma */
    hanse_header header;        /* BY_PLAN: the first line is a header when the plan lists no columns */
    bool unlabelled;            /* for prediction: no target is read, labels are 0, every row is a test row */
} hanse_source;

/* Rows of one part. Row i is x[i * dim .. i * dim + dim), contiguous for GEMM. */
typedef struct hanse_rows {
    float *x;        /* [count, dim] row-major; NULL when count is 0 */
    uint32_t *y;     /* [count] class in [0, K) */
    uint64_t *lines; /* [count] where the row began: line of its CSV file, or 1-based picture of its IDX file */
    size_t count;
    uint64_t clipped; /* cells outside the plan's bounds */
} hanse_rows;

typedef struct hanse_dataset {
    size_t dim;           /* D: columns after encoding, = hanse_plan_input_dim() */
    size_t classes_count; /* K */
    hanse_rows train, test;
    bool scaled;
    uint64_t rows_read;    /* in all files */
    uint64_t rows_dropped; /* for a missing value in a column that says so */
    uint64_t rows_unnamed; /* left out: the split file does not name them */
    uint64_t cells_missing; /* imputed, in kept rows */
    uint64_t cells_unknown; /* levels outside the vocabulary, in kept rows */
} hanse_dataset;

/* Read all files of `source` as `plan` says.
 *   out  owned by the caller on success, see hanse_dataset_free(); untouched on error
 * Memory: the rows themselves (at most twice while growing) and one record. A plan without data (format NONE) gives an
 * empty dataset.
 * Errors: INVALID (names file, line and column; no training rows), NOTFOUND (no such file), IO, NOMEM, USAGE. */
HANSE_MUST_CHECK hanse_rc hanse_dataset_load(hanse_dataset **out, const hanse_plan *plan, const hanse_source *source,
                                             hanse_err *err);
void hanse_dataset_free(hanse_dataset *dataset); /* NULL allowed; wipes, then releases */

/* The words of a statistics round: words[hanse_aux_words(plan, 0)], which is 2 + 3 * D. Missing cells do not count.
 * Integer sums: independent of the order of rows. Errors: USAGE (wrong length, already scaled), INVALID (too many rows). */
HANSE_MUST_CHECK hanse_rc hanse_dataset_statistics(const hanse_dataset *dataset, const hanse_plan *plan, uint64_t *words,
                                                   size_t words_count, hanse_err *err);

/* One affine map a column: (x - mean) / std. A column that the plan does not scale keeps its values, and only a missing
 * cell in it becomes the mean. */
typedef struct hanse_scale {
    size_t dim;
    double *mean, *std; /* [dim]; finite, std > 0 */
} hanse_scale;

void hanse_scale_clear(hanse_scale *scale);
/* `out` owned by the caller on success, untouched on error.
 *   plan        the plan's own constants; columns without them keep their values (mean 0, std 1)
 *   site        mean and sample std + 1e-9 of the dataset's training rows (also for HANSE_SCALING_NONE: gives the means)
 *   statistics  summed words of a statistics round. Exact integers until the last division: every site gets the same
 *               bits. std is at least 2^-10 of high - low, the resolution of the words.
 * Errors: NOMEM; site: USAGE (already scaled); statistics: USAGE (length), INVALID (sums that no rows can have). */
HANSE_MUST_CHECK hanse_rc hanse_scale_from_plan(hanse_scale *out, const hanse_plan *plan, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_scale_from_site(hanse_scale *out, const hanse_plan *plan, const hanse_dataset *dataset,
                                                hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_scale_from_statistics(hanse_scale *out, const hanse_plan *plan, const uint64_t *words,
                                                      size_t words_count, hanse_err *err);

/* Scale train and test in place and fill the missing cells: all values are finite afterwards.
 * Errors: USAGE (already scaled, another dim). */
HANSE_MUST_CHECK hanse_rc hanse_dataset_scale(hanse_dataset *dataset, const hanse_plan *plan, const hanse_scale *scale,
                                              hanse_err *err);

#endif
