/* First byte: a list of signed objects, or the masking of a result for a logistic model of three columns. What decodes encodes to the
 * same bytes. */
#include "hanse/masking.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char plan_text[] = "hanse: 1\nname: f\n"
                                "data: {name: d, format: csv, target: {column: y, classes: [a, b]}, features: [{name: p, low: 0, high: 1}]}\n"
                                "scaling: none\nmodel: {kind: logistic}\ntrain: {rate: 1, epochs: 1}\nrounds: {count: 1, deadline: 1m, min_sites: 3}\n";

static hanse_rc list_again(hanse_buf *back, hanse_bytes in, hanse_rc *back_rc, hanse_err *err)
{
    hanse_signed *list = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_signed_list_decode(&list, &count, in, 1024, err);

    if (rc == HANSE_OK)
        *back_rc = hanse_signed_list_encode(back, list, count, err);
    hanse_free(list);
    return rc;
}

static hanse_rc state_again(hanse_buf *back, hanse_bytes in, hanse_rc *back_rc, hanse_err *err)
{
    static hanse_plan *plan; /* made once; the fuzzer never ends */
    static hanse_layout layout;
    hanse_masking_state state = HANSE_MASKING_STATE_EMPTY;
    hanse_rc rc;

    if (plan == NULL && (hanse_plan_parse(&plan, hanse_bytes_str(plan_text), "plan", err) != HANSE_OK ||
                         hanse_layout_of_plan(&layout, plan, err) != HANSE_OK))
        abort();
    rc = hanse_masking_state_decode(&state, plan, &layout, in, err);
    if (rc == HANSE_OK)
        *back_rc = hanse_masking_state_encode(back, &state, err);
    hanse_masking_state_clear(&state);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_buf back = HANSE_BUF_EMPTY;
    hanse_err err = {.rc = HANSE_OK};
    hanse_bytes in;
    hanse_rc rc, back_rc = HANSE_OK;

    if (len == 0)
        return 0;
    in = (hanse_bytes){data + 1, len - 1};
    rc = data[0] % 2 == 0 ? list_again(&back, in, &back_rc, &err) : state_again(&back, in, &back_rc, &err);
    if (rc == HANSE_OK && (back_rc != HANSE_OK || !hanse_bytes_equal(hanse_buf_bytes(&back), in)))
        abort();
    if (rc != HANSE_OK && rc != HANSE_E_PROTOCOL && rc != HANSE_E_NOMEM)
        abort();
    hanse_buf_clear(&back);
    return 0;
}
