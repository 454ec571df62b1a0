/* First byte: how many bytes of the rest are the labels file; pictures of 2 x 2, three classes. */
#include "node/data/rows.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_plan plan = {.data = {.format = HANSE_DATA_IDX, .rows = 2, .cols = 2, .classes_count = 3}};
    hanse_source_file file = {.path = "fuzz", .part = HANSE_PART_TRAIN};
    hanse_source source = {.files = &file, .files_count = 1};
    hanse_loader loader = {.plan = &plan, .source = &source, .file = &file};
    hanse_input labels, pictures;
    size_t labels_len;
    hanse_err err;

    if (len == 0)
        return 0;
    labels_len = data[0] < len - 1 ? data[0] : len - 1;
    labels = hanse_input_of("labels", (hanse_bytes){data + 1, labels_len});
    pictures = hanse_input_of("pictures", (hanse_bytes){data + 1 + labels_len, len - 1 - labels_len});
    loader.dataset = hanse_calloc(1, sizeof *loader.dataset);
    loader.row = hanse_calloc(4, sizeof *loader.row);
    if (loader.dataset == NULL || loader.row == NULL)
        abort();
    loader.dataset->dim = 4;
    hanse_ignore(hanse_load_idx(&loader, &pictures, &labels, &err));
    for (size_t i = 0; i < loader.dataset->train.count; i++)
        if (loader.dataset->train.y[i] >= 3 || !isfinite(loader.dataset->train.x[4 * i + 3]))
            abort();
    hanse_dataset_free(loader.dataset);
    hanse_free(loader.row);
    return 0;
}
