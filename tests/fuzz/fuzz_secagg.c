/* First byte: which of the objects of secure aggregation; the rest: its bytes. What decodes encodes to the same bytes. */
#include "hanse/secagg_object.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_buf back = HANSE_BUF_EMPTY;
    hanse_err err = {.rc = HANSE_OK};
    hanse_bytes in;
    hanse_rc rc = HANSE_E_PROTOCOL, back_rc = HANSE_OK;

    if (len == 0)
        return 0;
    in = (hanse_bytes){data + 1, len - 1};
    switch (data[0] % 8) {
#define CASE(number, name, clear)                                      \
    case number: {                                                     \
        hanse_secagg_##name object;                                    \
        rc = hanse_secagg_##name##_decode(&object, in, &err);          \
        if (rc != HANSE_OK)                                            \
            break;                                                     \
        back_rc = hanse_secagg_##name##_encode(&back, &object, &err);  \
        clear;                                                         \
        break;                                                         \
    }
        CASE(0, epoch, (void)0)
        CASE(1, ticket, (void)0)
        CASE(2, spec, hanse_secagg_spec_clear(&object))
        CASE(3, upload, (void)0)
        CASE(4, cut, hanse_secagg_cut_clear(&object))
        CASE(5, cutsig, (void)0)
        CASE(6, answer, hanse_secagg_answer_clear(&object))
        CASE(7, dead, (void)0)
    }
    if (rc == HANSE_OK && (back_rc != HANSE_OK || !hanse_bytes_equal(hanse_buf_bytes(&back), in)))
        abort();
    if (rc != HANSE_OK && hanse_secagg_reason_of(&err) != HANSE_SECAGG_ENCODING && hanse_secagg_reason_of(&err) != HANSE_SECAGG_RANGE)
        abort();
    hanse_buf_clear(&back);
    return 0;
}
