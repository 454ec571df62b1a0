#include "coordinator/store/store_sqlite.h"

#include <inttypes.h>
#include <stdio.h>

static hanse_rc add_event(hanse_store *store, const uint8_t *run_id, uint64_t now_ms, const char *text, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "INSERT INTO event(run_id, time_ms, text) VALUES(?, ?, ?)", err);

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, now_ms);
    hanse_query_bind_text(&query, text);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_event_add(hanse_store *store, const uint8_t *run_id, uint64_t now_ms, hanse_err *err, const char *fmt, ...)
{
    char text[HANSE_ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return add_event(store, run_id, now_ms, text, err);
}

hanse_rc hanse_store_events(hanse_store *store, const uint8_t *run_id, hanse_store_event **out, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT time_ms, text FROM event WHERE run_id IS ? ORDER BY id", err);
    hanse_store_event *events = NULL;
    size_t n = 0;

    hanse_query_bind_blob(&query, run_id, 16);
    while (hanse_query_row(&query)) {
        hanse_store_event *grown = hanse_rows_room(events, n, sizeof *events);

        if (grown == NULL) {
            query.rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory listing the log");
            break;
        }
        events = grown;
        events[n].time_ms = hanse_query_int(&query);
        hanse_query_text(&query, events[n].text, sizeof events[n].text);
        n++;
    }
    if (query.rc == HANSE_OK) {
        *out = events;
        *count = n;
    } else {
        hanse_free(events);
    }
    return hanse_query_end(&query);
}

hanse_rc hanse_store_request_add(hanse_store *store, hanse_store_request_kind kind, const uint8_t run_id[16], uint64_t now_ms, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store,
                                          "INSERT OR IGNORE INTO request(kind, run_id, time_ms) SELECT ?1, ?2, ?3"
                                          " WHERE ?1 <> ?4 OR NOT EXISTS (SELECT 1 FROM round WHERE run_id = ?2 AND state = 0)", err);

    hanse_query_bind_int(&query, kind);
    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, now_ms);
    hanse_query_bind_int(&query, HANSE_STORE_ASK_ROUND);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_requests(hanse_store *store, hanse_store_request **out, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT id, kind, run_id FROM request ORDER BY id", err);
    hanse_store_request *requests = NULL;
    size_t n = 0;

    while (hanse_query_row(&query)) {
        hanse_store_request *grown = hanse_rows_room(requests, n, sizeof *requests);

        if (grown == NULL) {
            query.rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory listing the requests");
            break;
        }
        requests = grown;
        requests[n].id = (int64_t)hanse_query_int(&query);
        requests[n].kind = (hanse_store_request_kind)hanse_query_choice(&query, HANSE_STORE_ASK_STOP + 1);
        hanse_query_bytes(&query, requests[n].run_id, 16);
        n++;
    }
    if (query.rc == HANSE_OK) {
        *out = requests;
        *count = n;
    } else {
        hanse_free(requests);
    }
    return hanse_query_end(&query);
}

hanse_rc hanse_store_request_done(hanse_store *store, int64_t id, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "DELETE FROM request WHERE id = ?", err);

    hanse_query_bind_int(&query, (uint64_t)id);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_model_path(hanse_path out, const char *dir, const uint8_t run_id[16], uint64_t round, hanse_err *err)
{
    char hex[33], name[80];

    hanse_hex_encode(hex, run_id, 16);
    snprintf(name, sizeof name, "models/%s/%" PRIu64 ".safetensors", hex, round);
    return hanse_path_join(out, dir, name, err);
}

hanse_rc hanse_store_seal_path(hanse_path out, const char *dir, const uint8_t run_id[16], hanse_err *err)
{
    char hex[33], name[64];

    hanse_hex_encode(hex, run_id, 16);
    snprintf(name, sizeof name, "runs/%s/seal.key", hex);
    return hanse_path_join(out, dir, name, err);
}
