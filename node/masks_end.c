/* Secrets of masks outlive neither their run nor their life: records of runs that no machine is loaded for. */
#include "node/agent_masks.h"

#include "hanse/clock.h"
#include "hanse/secagg_site.h"

/* Records that lose their secrets; an empty value deletes. */
typedef struct ending {
    const uint8_t *run;
    uint64_t now_ms;
    hanse_secagg_actions puts;
} ending;

static hanse_rc note_ending(void *user, hanse_bytes key, hanse_bytes value, hanse_err *err)
{
    ending *e = user;
    hanse_secagg_action put = {.kind = HANSE_SECAGG_DO_PUT}, *grown;
    bool changed;
    hanse_rc rc = hanse_secagg_record_end(&put.value, &changed, key, value, e->run, e->now_ms, err);

    if (rc != HANSE_OK || !changed) {
        hanse_buf_wipe(&put.value);
        return rc;
    }
    rc = hanse_buf_append(&put.key, key.data, key.len, err);
    grown = rc == HANSE_OK ? hanse_realloc(e->puts.items, e->puts.count + 1, sizeof *grown) : NULL;
    if (grown == NULL) {
        hanse_buf_clear(&put.key);
        hanse_buf_clear(&put.value);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a record");
    }
    e->puts.items = grown;
    grown[e->puts.count++] = put;
    return HANSE_OK;
}

hanse_rc hanse_agent_masks_forget(hanse_agent *agent, const uint8_t over_run[16], hanse_err *err)
{
    ending e = {.run = over_run, .now_ms = hanse_clock_wall_ms(), .puts = HANSE_SECAGG_ACTIONS_EMPTY};
    hanse_rc rc = hanse_site_store_facts(agent->store, note_ending, &e, err);

    for (size_t i = 0; rc == HANSE_OK && i < e.puts.count; i++)
        rc = hanse_site_store_fact_put(agent->store, hanse_buf_bytes(&e.puts.items[i].key), hanse_buf_bytes(&e.puts.items[i].value), err);
    if (rc == HANSE_OK && e.puts.count > 0)
        rc = hanse_site_store_scrub(agent->store, err);
    hanse_secagg_actions_clear(&e.puts);
    return rc;
}
