/* First byte: which of the signed objects; the rest: its bytes. What decodes encodes to exactly the same bytes. */
#include "hanse/object.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_buf back = HANSE_BUF_EMPTY;
    hanse_err err = {0};
    hanse_bytes in;
    hanse_rc rc = HANSE_E_PROTOCOL, back_rc = HANSE_OK;

    if (len == 0)
        return 0;
    in = (hanse_bytes){data + 1, len - 1};
    switch (data[0] % 6) {
#define CASE(number, name, clear)                                                                                        \
    case number: {                                                                                                       \
        hanse_##name object = {0};                                                                                       \
        rc = hanse_##name##_decode(&object, in, &err);                                                                   \
        if (rc == HANSE_OK)                                                                                              \
            back_rc = hanse_##name##_encode(&back, &object, &err);                                                       \
        clear;                                                                                                           \
        break;                                                                                                           \
    }
        CASE(0, offer, (void)0)
        CASE(1, roster, hanse_roster_clear(&object))
        CASE(2, spec, (void)0)
        CASE(3, upload, if (rc == HANSE_OK && hanse_upload_chunk_len(&object, hanse_upload_chunks(&object) - 1) == 0) abort())
        CASE(4, receipt, (void)0)
        CASE(5, result, hanse_result_clear(&object))
    }
    /* A roster past its own bound is refused on the way out only. */
    if (rc == HANSE_OK && len - 1 <= HANSE_ROSTER_MAX && (back_rc != HANSE_OK || !hanse_bytes_equal(hanse_buf_bytes(&back), in)))
        abort();
    if (rc != HANSE_OK && (rc != HANSE_E_PROTOCOL || err.text[0] == '\0'))
        abort();
    hanse_buf_clear(&back);
    return 0;
}
