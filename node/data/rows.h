/* rows.h - what the readers of the formats share: encoded columns of a plan, and rows that grow. Module-private. */
#ifndef HANSE_NODE_ROWS_H
#define HANSE_NODE_ROWS_H

#include "node/data/dataset.h"
#include "node/data/input.h"
#include "node/data/split.h"

/* One column after encoding. */
typedef struct hanse_column {
    const hanse_feature *feature; /* borrowed from the plan; NULL: a pixel */
    double low, high;
    bool numeric, scaled;
} hanse_column;

size_t hanse_feature_width(const hanse_feature *feature); /* columns it becomes */
/* `out` [*dim], to be freed by the caller. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_columns_new(hanse_column **out, size_t *dim, const hanse_plan *plan, hanse_err *err);

/* A dataset in the making. */
typedef struct hanse_loader {
    const hanse_plan *plan;     /* borrowed, as `source` and `file` */
    const hanse_source *source;
    const hanse_source_file *file;
    hanse_dataset *dataset;
    hanse_split split;          /* of the file being read; path NULL: none */
    size_t train_cap, test_cap; /* rows */
    float *row;                 /* [dim], the row being encoded */
} hanse_loader;

/* Where a row goes, asked once a row and in order: HANSE_PART_SPLIT means nowhere. */
HANSE_MUST_CHECK hanse_rc hanse_loader_part(hanse_loader *loader, uint64_t line, hanse_bytes row, hanse_part *part,
                                            hanse_err *err);
/* Does loader_part() look at the row's bytes? */
bool hanse_loader_hashes(const hanse_loader *loader);
/* Append loader->row. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_loader_push(hanse_loader *loader, hanse_part part, uint32_t label, uint64_t line,
                                            uint64_t clipped, hanse_err *err);

/* The formats: all rows of loader->file. Errors: as hanse_dataset_load(). */
HANSE_MUST_CHECK hanse_rc hanse_load_csv(hanse_loader *loader, hanse_input *input, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_load_idx(hanse_loader *loader, hanse_input *pictures, hanse_input *labels, hanse_err *err);

#endif
