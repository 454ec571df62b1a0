/* First byte: delimiter; the rest: a file. */
#include "node/data/csv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_input input;
    hanse_csv csv = {0};
    hanse_err err;
    bool end = false;
    uint64_t line = 0;

    if (len == 0)
        return 0;
    input = hanse_input_of("fuzz.csv", (hanse_bytes){data + 1, len - 1});
    if (hanse_csv_init(&csv, &input, (char)data[0], &err) != HANSE_OK)
        return 0;
    while (hanse_csv_next(&csv, &end, &err) == HANSE_OK && !end) {
        if (csv.line <= line || csv.fields_count == 0)
            abort();
        line = csv.line;
        for (size_t i = 0; i < csv.fields_count; i++) {
            hanse_bytes field = hanse_csv_field(&csv, i);

            if (strlen((const char *)field.data) != field.len)
                abort();
            (void)hanse_utf8_is_valid(field);
        }
    }
    hanse_csv_clear(&csv);
    return 0;
}
