/* A stored record of a site's secure aggregation, as from a state.db that somebody has changed. First byte: length of the key; then key and
 * value. It is taken or refused as damaged; what is taken lets the machine go on, and its secrets can be let go of. */
#include "../support/secagg_world.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool good)
{
    if (!good)
        abort();
}

static bool is_taken(hanse_rc rc)
{
    must(rc == HANSE_OK || rc == HANSE_E_CORRUPT);
    return rc == HANSE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static world w;
    hanse_secagg_event tick = {.kind = HANSE_SECAGG_EV_TICK};
    hanse_secagg_actions actions = HANSE_SECAGG_ACTIONS_EMPTY;
    hanse_secagg_site *site = NULL;
    hanse_buf left = HANSE_BUF_EMPTY;
    hanse_bytes key, value;
    bool changed;

    if (len == 0 || len - 1 < data[0])
        return 0;
    if (w.n == 0)
        world_new(&w, 3, HANSE_SECAGG_ONLINE, 1);
    key = (hanse_bytes){data + 1, data[0]};
    value = (hanse_bytes){data + 1 + data[0], len - 1 - data[0]};
    must(hanse_secagg_site_new(&site, &w.sites[0].config, NULL) == HANSE_OK);
    if (is_taken(hanse_secagg_site_load(site, key, value, NULL))) {
        tick.now_ms = w.now_ms;
        must(hanse_secagg_site_step(site, &tick, &actions, NULL) == HANSE_OK);
    }
    (void)is_taken(hanse_secagg_record_end(&left, &changed, key, value, w.run, w.now_ms, NULL));
    hanse_secagg_actions_clear(&actions);
    hanse_secagg_site_free(site);
    hanse_buf_wipe(&left);
    return 0;
}
