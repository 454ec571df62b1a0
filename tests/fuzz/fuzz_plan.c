/* Any bytes as a plan: refused with one printable line, or a plan whose numbers are in range. */
#include "hanse/plan.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_plan *plan = NULL;
    hanse_err err = {.rc = HANSE_OK};

    if (hanse_plan_parse(&plan, (hanse_bytes){data, len}, "fuzz", &err) != HANSE_OK) {
        if (plan != NULL || strncmp(err.text, "fuzz:", 5) != 0)
            abort();
        return 0;
    }
    if (plan->data.classes_count < 2 || plan->rounds.sites_min > plan->rounds.sites_max || !isfinite(plan->train.rate) ||
        (plan->data.format != HANSE_DATA_NONE && hanse_plan_input_dim(plan) == 0))
        abort();
    hanse_plan_free(plan);
    return 0;
}
