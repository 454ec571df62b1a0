#include "node/data/dataset.h"
#include "node/data/input.h"
#include "node/data/rows.h"

static void clear_rows(hanse_rows *rows, size_t dim)
{
    if (rows->x != NULL)
        hanse_wipe(rows->x, rows->count * dim * sizeof *rows->x);
    if (rows->y != NULL)
        hanse_wipe(rows->y, rows->count * sizeof *rows->y);
    hanse_free(rows->x);
    hanse_free(rows->y);
    hanse_free(rows->lines);
}

void hanse_dataset_free(hanse_dataset *dataset)
{
    if (dataset == NULL)
        return;
    clear_rows(&dataset->train, dataset->dim);
    clear_rows(&dataset->test, dataset->dim);
    hanse_free(dataset);
}

static hanse_rc load_file(hanse_loader *loader, hanse_err *err)
{
    const hanse_source_file *file = loader->file;
    const hanse_source *source = loader->source;
    hanse_input input = HANSE_INPUT_EMPTY, labels = HANSE_INPUT_EMPTY;
    const char *slash = strrchr(file->path, '/');
    const char *name = file->split_name != NULL ? file->split_name : slash != NULL ? slash + 1 : file->path;
    bool idx = loader->plan->data.format == HANSE_DATA_IDX;
    hanse_rc rc;

    if (idx && file->labels == NULL && !source->unlabelled)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: no labels file is given for these pictures", file->path);
    rc = hanse_input_open(&input, file->path, err);
    if (rc == HANSE_OK && source->split_path != NULL && file->part == HANSE_PART_SPLIT && !source->unlabelled)
        rc = hanse_split_load(&loader->split, source->split_path, name, err);
    if (rc == HANSE_OK && idx && !source->unlabelled)
        rc = hanse_input_open(&labels, file->labels, err);
    if (rc == HANSE_OK)
        rc = idx ? hanse_load_idx(loader, &input, source->unlabelled ? NULL : &labels, err)
                 : hanse_load_csv(loader, &input, err);
    if (rc == HANSE_OK && loader->split.path != NULL)
        rc = hanse_split_finish(&loader->split, err);
    hanse_split_clear(&loader->split);
    hanse_input_close(&labels);
    hanse_input_close(&input);
    return rc;
}

static hanse_rc load_files(hanse_loader *loader, hanse_err *err)
{
    const hanse_source *source = loader->source;
    const hanse_dataset *dataset = loader->dataset;

    for (size_t i = 0; i < source->files_count; i++) {
        hanse_rc rc;

        loader->file = &source->files[i];
        rc = load_file(loader, err);
        if (rc != HANSE_OK)
            return rc;
    }
    if (dataset->train.count == 0 && !source->unlabelled)
        return HANSE_FAIL(err, HANSE_E_INVALID,
                          "%s: no training rows (%llu read, %llu dropped for missing values, %llu not in the split, %zu test)",
                          source->files[0].path, (unsigned long long)dataset->rows_read,
                          (unsigned long long)dataset->rows_dropped, (unsigned long long)dataset->rows_unnamed,
                          dataset->test.count);
    return HANSE_OK;
}

hanse_rc hanse_dataset_load(hanse_dataset **out, const hanse_plan *plan, const hanse_source *source, hanse_err *err)
{
    hanse_loader loader = {.plan = plan, .source = source};
    hanse_column *columns = NULL;
    hanse_rc rc = HANSE_OK;

    if (plan->data.format != HANSE_DATA_NONE && source->files_count == 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "data '%s': no files are given", plan->data.name);
    loader.dataset = hanse_calloc(1, sizeof *loader.dataset);
    if (loader.dataset == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "data '%s': out of memory", plan->data.name);
    loader.dataset->classes_count = plan->data.classes_count;
    rc = hanse_columns_new(&columns, &loader.dataset->dim, plan, err);
    hanse_free(columns);
    if (rc != HANSE_OK || plan->data.format == HANSE_DATA_NONE)
        goto done;
    loader.row = hanse_calloc(loader.dataset->dim, sizeof *loader.row);
    if (loader.row == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "data '%s': out of memory", plan->data.name);
        goto done;
    }
    rc = load_files(&loader, err);

done:
    if (loader.row != NULL)
        hanse_wipe(loader.row, loader.dataset->dim * sizeof *loader.row);
    hanse_free(loader.row);
    if (rc == HANSE_OK)
        *out = loader.dataset;
    else
        hanse_dataset_free(loader.dataset);
    return rc;
}
