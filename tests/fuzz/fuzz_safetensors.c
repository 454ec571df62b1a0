/* A model file from a stranger: 8 bytes of length, header, data. What parses must tile the data exactly, and survive writing and reading. */
#include "hanse/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    hanse_model_meta meta;
    bool has_meta;
    hanse_err err;
    uint64_t header_len, total = 0;

    if (len < 8 || (header_len = hanse_load_u64le(data)) > len - 8 || header_len > HANSE_MODEL_HEADER_MAX)
        return 0;
    if (hanse_model_header_parse((hanse_bytes){data + 8, (size_t)header_len}, len - 8 - header_len, &layout, &meta, &has_meta, &err) != HANSE_OK) {
        if (layout.count != 0 || err.text[0] == '\0')
            abort();
        return 0;
    }
    for (size_t i = 0; i < layout.count; i++) {
        const hanse_tensor *tensor = &layout.tensors[i];
        uint64_t count = 1;
        for (size_t d = 0; d < tensor->dims_count; d++)
            count *= tensor->dims[d];
        if (tensor->offset != total || tensor->count != count)
            abort();
        total += count;
    }
    if (layout.count == 0 || total != layout.parameters || 4 * total != len - 8 - header_len)
        abort();
    hanse_layout_clear(&layout);
    return 0;
}
