#include "node/data/rows.h"

size_t hanse_feature_width(const hanse_feature *feature)
{
    if (feature->kind == HANSE_FEATURE_NUMERIC)
        return 1;
    return feature->vocabulary_count - (feature->drop_first && feature->vocabulary_count > 0) +
           (feature->unknown == HANSE_UNKNOWN_BUCKET);
}

hanse_rc hanse_columns_new(hanse_column **out, size_t *dim, const hanse_plan *plan, hanse_err *err)
{
    bool scales = plan->scaling != HANSE_SCALING_NONE;
    hanse_column *columns;
    size_t count = 0, at = 0;

    if (plan->data.format == HANSE_DATA_IDX)
        count = plan->data.rows * plan->data.cols;
    else if (plan->data.format == HANSE_DATA_CSV)
        for (size_t f = 0; f < plan->data.features_count; f++)
            count += hanse_feature_width(&plan->data.features[f]);
    columns = hanse_calloc(count, sizeof *columns);
    if (columns == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%zu columns: out of memory", count);
    if (plan->data.format == HANSE_DATA_IDX)
        while (at < count)
            columns[at++] = (hanse_column){.low = 0, .high = 1, .numeric = true, .scaled = scales};
    for (size_t f = 0; at < count; f++) {
        const hanse_feature *feature = &plan->data.features[f];
        bool numeric = feature->kind == HANSE_FEATURE_NUMERIC;

        for (size_t width = hanse_feature_width(feature); width > 0; width--)
            columns[at++] = (hanse_column){
                .feature = feature,
                .low = numeric ? feature->low : 0,
                .high = numeric ? feature->high : 1,
                .numeric = numeric,
                .scaled = scales && (numeric || plan->scale_categorical),
            };
    }
    *out = columns;
    *dim = count;
    return HANSE_OK;
}

bool hanse_loader_hashes(const hanse_loader *loader)
{
    return !loader->source->unlabelled && loader->split.path == NULL && loader->file->part == HANSE_PART_SPLIT;
}

hanse_rc hanse_loader_part(hanse_loader *loader, uint64_t line, hanse_bytes row, hanse_part *part, hanse_err *err)
{
    loader->dataset->rows_read++;
    *part = loader->source->unlabelled ? HANSE_PART_TEST : loader->file->part;
    if (*part != HANSE_PART_SPLIT)
        return HANSE_OK;
    if (loader->split.path == NULL) {
        *part = hanse_split_by_hash(loader->plan->data.split_seed, loader->plan->data.test_share, row);
        return HANSE_OK;
    }
    hanse_rc rc = hanse_split_find(&loader->split, line, part, err);
    loader->dataset->rows_unnamed += rc == HANSE_OK && *part == HANSE_PART_SPLIT;
    return rc;
}

/* Give one array of `rows` the new capacity; on error it keeps the old one. */
static hanse_rc grow(void **array, size_t cap, size_t item_len, hanse_err *err)
{
    void *grown = hanse_realloc(*array, cap, item_len);

    if (grown == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%zu rows of %zu bytes: out of memory", cap, item_len);
    *array = grown;
    return HANSE_OK;
}

hanse_rc hanse_loader_push(hanse_loader *loader, hanse_part part, uint32_t label, uint64_t line, uint64_t clipped,
                           hanse_err *err)
{
    hanse_rows *rows = part == HANSE_PART_TRAIN ? &loader->dataset->train : &loader->dataset->test;
    size_t *cap = part == HANSE_PART_TRAIN ? &loader->train_cap : &loader->test_cap;
    size_t dim = loader->dataset->dim;

    if (rows->count == *cap) {
        size_t new_cap = *cap == 0 ? 256 : 2 * *cap;
        void *x = rows->x, *y = rows->y, *lines = rows->lines;
        hanse_rc rc = grow(&x, new_cap, dim * sizeof *rows->x, err);

        rows->x = x;
        if (rc == HANSE_OK)
            rc = grow(&y, new_cap, sizeof *rows->y, err);
        rows->y = y;
        if (rc == HANSE_OK)
            rc = grow(&lines, new_cap, sizeof *rows->lines, err);
        rows->lines = lines;
        if (rc != HANSE_OK)
            return rc;
        *cap = new_cap;
    }
    if (dim > 0)
        memcpy(rows->x + rows->count * dim, loader->row, dim * sizeof *rows->x);
    rows->y[rows->count] = label;
    rows->lines[rows->count] = line;
    rows->clipped += clipped;
    rows->count++;
    return HANSE_OK;
}
