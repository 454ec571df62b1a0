/* What a site must not forget of secure aggregation, and what its operator asks about it. */
#include "node/site/store_query.h"

#include <stdio.h>

hanse_rc hanse_site_store_fact_put(hanse_site_store *store, hanse_bytes key, hanse_bytes value, hanse_err *err)
{
    query q = prepare(store, value.len > 0 ? "INSERT OR REPLACE INTO fact(key, value) VALUES(?, ?)" : "DELETE FROM fact WHERE key=?");

    bind_blob(&q, key.data, key.len);
    if (value.len > 0)
        bind_blob(&q, value.data, value.len);
    return run(&q, err);
}

hanse_rc hanse_site_store_facts(hanse_site_store *store, hanse_site_fact_take take, void *user, hanse_err *err)
{
    query q = prepare(store, "SELECT key, value FROM fact");
    hanse_rc rc, taken = HANSE_OK;

    while (taken == HANSE_OK && (rc = next(&q, err)) == HANSE_OK)
        taken = take(user, column_blob(&q, 0), column_blob(&q, 1), err);
    finish(&q);
    return taken != HANSE_OK ? taken : rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
}

hanse_rc hanse_site_store_scrub(hanse_site_store *store, hanse_err *err)
{
    return exec(store, "PRAGMA wal_checkpoint(TRUNCATE)", err); /* pages themselves are overwritten: secure_delete */
}

hanse_rc hanse_site_store_masking_load(hanse_site_store *store, const uint8_t run_id[16], hanse_buf *masking, hanse_err *err)
{
    query q = prepare(store, "SELECT masking FROM run WHERE run=?");
    hanse_bytes blob;
    hanse_rc rc;

    hanse_buf_clear(masking);
    bind_blob(&q, run_id, 16);
    rc = next(&q, err);
    if (rc == HANSE_OK && (blob = column_blob(&q, 0)).len > 0)
        rc = hanse_buf_append(masking, blob.data, blob.len, err);
    finish(&q);
    return rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
}

/* ---- asked by commands: rows of meta; what is asked twice is done once ---- */

static query ask_query(hanse_site_store *store, const char *sql, hanse_site_ask what, const uint8_t run_id[16])
{
    query q = prepare(store, sql);
    char hex[33], key[48];

    hanse_hex_encode(hex, run_id, 16);
    (void)snprintf(key, sizeof key, "%s %s", what == HANSE_SITE_ASK_RETRY ? "retry" : "recover", hex);
    bind_text(&q, key);
    return q;
}

hanse_rc hanse_site_store_ask(hanse_site_store *store, hanse_site_ask what, const uint8_t run_id[16], hanse_err *err)
{
    query q = ask_query(store, "INSERT OR REPLACE INTO meta VALUES(?, x'00')", what, run_id);

    return run(&q, err);
}

hanse_rc hanse_site_store_asked(hanse_site_store *store, hanse_site_ask what, const uint8_t run_id[16], bool *found, hanse_err *err)
{
    query q = ask_query(store, "SELECT 1 FROM meta WHERE key=?", what, run_id);
    hanse_rc rc = next(&q, err);

    finish(&q);
    *found = rc == HANSE_OK;
    return rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
}

hanse_rc hanse_site_store_ask_done(hanse_site_store *store, hanse_site_ask what, const uint8_t run_id[16], hanse_err *err)
{
    query q = ask_query(store, "DELETE FROM meta WHERE key=?", what, run_id);

    return run(&q, err);
}

hanse_rc hanse_site_store_retry_put(hanse_site_store *store, const uint8_t run_id[16], hanse_bytes key, hanse_bytes value, hanse_err *err)
{
    hanse_rc rc = begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_site_store_fact_put(store, key, value, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_ask_done(store, HANSE_SITE_ASK_RETRY, run_id, err);
    return end(store, rc, err);
}
