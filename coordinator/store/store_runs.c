#include "coordinator/store/store_sqlite.h"

#include <assert.h>
#include <inttypes.h>

#define RUN_PLAIN \
    "run_id, name, plan_hash, roster_hash, initial_root, token, created_ms, state, reason, rounds_done, evaluated, model_round," \
    " model_root, model_size, previous, best_round, best_root, best_value, next_slot"
#define RUN_BLOBS "plan, roster, roster_sig, offer, offer_sig, statistics, masking"

const char *hanse_store_run_state_name(hanse_store_run_state state)
{
    static const char *const names[] = {"open", "done", "failed", "stopped"};

    return names[state];
}

void hanse_store_run_clear(hanse_store_run *run)
{
    hanse_buf_clear(&run->plan);
    hanse_buf_clear(&run->roster);
    hanse_buf_clear(&run->roster_sig);
    hanse_buf_clear(&run->offer);
    hanse_buf_clear(&run->offer_sig);
    hanse_buf_clear(&run->statistics);
    hanse_buf_clear(&run->masking);
    *run = (hanse_store_run){0};
}

void hanse_store_runs_free(hanse_store_run *runs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hanse_store_run_clear(&runs[i]);
    hanse_free(runs);
}

hanse_rc hanse_store_run_add(hanse_store *store, const hanse_store_run *run, hanse_err *err)
{
    hanse_query query;
    hanse_rc rc = hanse_store_begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    query = hanse_query_begin(store,
                              "INSERT INTO run(" RUN_PLAIN ", " RUN_BLOBS
                              ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", err);
    hanse_query_bind_blob(&query, run->run_id, 16);
    hanse_query_bind_text(&query, run->name);
    hanse_query_bind_blob(&query, run->plan_hash, 32);
    hanse_query_bind_blob(&query, run->roster_hash, 32);
    hanse_query_bind_blob(&query, run->initial_root, 32);
    hanse_query_bind_text(&query, run->token[0] == '\0' ? NULL : run->token);
    hanse_query_bind_int(&query, run->created_ms);
    hanse_query_bind_int(&query, run->state);
    hanse_query_bind_text(&query, run->reason);
    hanse_query_bind_int(&query, run->rounds_done);
    hanse_query_bind_int(&query, run->evaluated);
    hanse_query_bind_int(&query, run->model_round);
    hanse_query_bind_blob(&query, run->model_root, 32);
    hanse_query_bind_int(&query, run->model_size);
    hanse_query_bind_blob(&query, run->previous, 32);
    hanse_query_bind_int(&query, run->best_round);
    hanse_query_bind_blob(&query, run->best_root, 32);
    hanse_query_bind_real(&query, run->best_value);
    hanse_query_bind_int(&query, run->next_slot);
    hanse_query_bind_buf(&query, &run->plan);
    hanse_query_bind_buf(&query, &run->roster);
    hanse_query_bind_buf(&query, &run->roster_sig);
    hanse_query_bind_buf(&query, &run->offer);
    hanse_query_bind_buf(&query, &run->offer_sig);
    hanse_query_bind_buf(&query, &run->statistics);
    hanse_query_bind_buf(&query, &run->masking);
    rc = hanse_query_run(&query);
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, run->run_id, run->created_ms, err, "submitted plan=%s", run->name);
    return hanse_store_end(store, rc, err);
}

static void read_run(hanse_query *query, hanse_store_run *run)
{
    hanse_query_bytes(query, run->run_id, 16);
    hanse_query_text(query, run->name, sizeof run->name);
    hanse_query_bytes(query, run->plan_hash, 32);
    hanse_query_bytes(query, run->roster_hash, 32);
    hanse_query_bytes(query, run->initial_root, 32);
    hanse_query_text(query, run->token, sizeof run->token);
    run->created_ms = hanse_query_int(query);
    run->state = (hanse_store_run_state)hanse_query_choice(query, HANSE_STORE_RUN_STOPPED + 1);
    hanse_query_text(query, run->reason, sizeof run->reason);
    run->rounds_done = hanse_query_int(query);
    run->evaluated = hanse_query_choice(query, 2) != 0;
    run->model_round = hanse_query_int(query);
    hanse_query_bytes(query, run->model_root, 32);
    run->model_size = hanse_query_int(query);
    hanse_query_bytes(query, run->previous, 32);
    run->best_round = hanse_query_int(query);
    hanse_query_bytes(query, run->best_root, 32);
    run->best_value = hanse_query_real(query);
    run->next_slot = hanse_query_int(query);
}

hanse_rc hanse_store_run_get(hanse_store *store, const uint8_t run_id[16], hanse_store_run *out, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT " RUN_PLAIN ", " RUN_BLOBS " FROM run WHERE run_id = ?", err);
    hanse_store_run run = {0};
    char hex[33];

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_hex_encode(hex, run_id, 16);
    if (hanse_query_row(&query)) {
        read_run(&query, &run);
        hanse_query_buf(&query, &run.plan);
        hanse_query_buf(&query, &run.roster);
        hanse_query_buf(&query, &run.roster_sig);
        hanse_query_buf(&query, &run.offer);
        hanse_query_buf(&query, &run.offer_sig);
        hanse_query_buf(&query, &run.statistics);
        hanse_query_buf(&query, &run.masking);
    } else if (query.rc == HANSE_OK) {
        query.rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "no run %s; `hanse-coordinator list` lists them", hex);
    }
    if (query.rc == HANSE_OK)
        *out = run;
    else
        hanse_store_run_clear(&run);
    return hanse_query_end(&query);
}

hanse_rc hanse_store_runs(hanse_store *store, hanse_store_run **out, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT " RUN_PLAIN " FROM run ORDER BY created_ms, rowid", err);
    hanse_store_run *runs = NULL;
    size_t n = 0;

    while (hanse_query_row(&query)) {
        hanse_store_run *grown = hanse_rows_room(runs, n, sizeof *runs);

        if (grown == NULL) {
            query.rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory listing the runs");
            break;
        }
        runs = grown;
        read_run(&query, &runs[n++]);
    }
    if (query.rc == HANSE_OK) {
        *out = runs;
        *count = n;
    } else {
        hanse_store_runs_free(runs, n);
    }
    return hanse_query_end(&query);
}

hanse_rc hanse_store_run_find(hanse_store *store, const char *prefix, uint8_t run_id[16], hanse_err *err)
{
    hanse_query query;
    uint8_t found[16];
    char lower[33];
    size_t count = 0, len = strlen(prefix);

    if (len == 0 || len > 32 || strspn(prefix, "0123456789abcdefABCDEF") != len)
        return HANSE_FAIL(err, HANSE_E_INVALID, "\"%.40s\" is no run: 1 to 32 hex digits", prefix);
    for (size_t i = 0; i <= len; i++)
        lower[i] = (char)(prefix[i] >= 'A' && prefix[i] <= 'F' ? prefix[i] + ('a' - 'A') : prefix[i]);
    query = hanse_query_begin(store, "SELECT run_id FROM run WHERE substr(lower(hex(run_id)), 1, length(?1)) = ?1 LIMIT 2", err);
    hanse_query_bind_text(&query, lower);
    for (; hanse_query_row(&query); count++)
        hanse_query_bytes(&query, found, 16);
    if (query.rc == HANSE_OK && count == 0)
        query.rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "no run %s; `hanse-coordinator list` lists them", prefix);
    if (query.rc == HANSE_OK && count > 1)
        query.rc = HANSE_FAIL(err, HANSE_E_INVALID, "several runs begin with %s; give more digits", prefix);
    if (query.rc == HANSE_OK)
        memcpy(run_id, found, 16);
    return hanse_query_end(&query);
}

hanse_rc hanse_store_run_by_token(hanse_store *store, const char *token, uint8_t run_id[16], bool *found, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT run_id FROM run WHERE token = ?", err);
    bool any;

    hanse_query_bind_text(&query, token);
    any = hanse_query_row(&query);
    if (any)
        hanse_query_bytes(&query, run_id, 16);
    if (query.rc == HANSE_OK)
        *found = any;
    return hanse_query_end(&query);
}

/* A run that is not open has nothing left to ask for. */
static hanse_rc drop_requests(hanse_store *store, const uint8_t run_id[16], hanse_store_run_state state, hanse_err *err)
{
    hanse_query query;

    if (state == HANSE_STORE_RUN_OPEN)
        return HANSE_OK;
    query = hanse_query_begin(store, "DELETE FROM request WHERE run_id = ?", err);
    hanse_query_bind_blob(&query, run_id, 16);
    return hanse_query_run(&query);
}

/* Everything that publication may change of a run. */
static hanse_rc advance_run(hanse_store *store, const hanse_store_run *run, hanse_err *err)
{
    hanse_query query = hanse_query_begin(
        store,
        "UPDATE run SET state = ?, reason = ?, rounds_done = ?, evaluated = ?, model_round = ?, model_root = ?, model_size = ?,"
        " previous = ?, statistics = ?, masking = ?, best_round = ?, best_root = ?, best_value = ? WHERE run_id = ?", err);

    hanse_query_bind_int(&query, run->state);
    hanse_query_bind_text(&query, run->reason);
    hanse_query_bind_int(&query, run->rounds_done);
    hanse_query_bind_int(&query, run->evaluated);
    hanse_query_bind_int(&query, run->model_round);
    hanse_query_bind_blob(&query, run->model_root, 32);
    hanse_query_bind_int(&query, run->model_size);
    hanse_query_bind_blob(&query, run->previous, 32);
    hanse_query_bind_buf(&query, &run->statistics);
    hanse_query_bind_buf(&query, &run->masking);
    hanse_query_bind_int(&query, run->best_round);
    hanse_query_bind_blob(&query, run->best_root, 32);
    hanse_query_bind_real(&query, run->best_value);
    hanse_query_bind_blob(&query, run->run_id, 16);
    return hanse_query_run(&query);
}

static hanse_rc close_round(hanse_store *store, const hanse_store_round *round, hanse_err *err)
{
    hanse_query query = hanse_query_begin(
        store,
        "UPDATE round SET state = ?, code = ?, reason = ?, model_after = ?, weight = ?, metrics_of = ?, metrics = ?, closed_ms = ?,"
        " result = ?, result_sig = ? WHERE run_id = ? AND slot = ? AND state = 0", err);
    hanse_rc rc;

    hanse_query_bind_int(&query, round->state);
    hanse_query_bind_int(&query, (uint64_t)(int64_t)round->code);
    hanse_query_bind_text(&query, round->reason);
    hanse_query_bind_blob(&query, round->model_after, 32);
    hanse_query_bind_int(&query, round->weight);
    hanse_query_bind_blob(&query, round->metrics_of, 32);
    hanse_query_bind_buf(&query, &round->metrics);
    hanse_query_bind_int(&query, round->closed_ms);
    hanse_query_bind_buf(&query, &round->result);
    hanse_query_bind_buf(&query, &round->result_sig);
    hanse_query_bind_blob(&query, round->run_id, 16);
    hanse_query_bind_int(&query, round->slot);
    rc = hanse_query_run(&query);
    if (rc == HANSE_OK && sqlite3_changes(store->db) == 0)
        rc = HANSE_FAIL(err, HANSE_E_DUPLICATE, "round %" PRIu64 " attempt %" PRIu32 " is not open", round->round, round->attempt);
    return rc;
}

/* What sites left for slots up to this one is of no use any more; aborts count until something is published. */
static hanse_rc drop_left(hanse_store *store, const hanse_store_round *round, hanse_err *err)
{
    static const char *const deletes[] = {"DELETE FROM ticket WHERE run_id = ? AND slot <= ?", "DELETE FROM answer WHERE run_id = ? AND slot <= ?",
                                          "DELETE FROM masks WHERE run_id = ? AND slot <= ?"};
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < (round->state == HANSE_STORE_ROUND_PUBLISHED ? 3u : 2u); i++) {
        hanse_query query = hanse_query_begin(store, deletes[i], err);

        hanse_query_bind_blob(&query, round->run_id, 16);
        hanse_query_bind_int(&query, round->slot);
        rc = hanse_query_run(&query);
    }
    return rc;
}

hanse_rc hanse_store_publish(hanse_store *store, const hanse_store_round *round, const hanse_store_run *run, hanse_err *err)
{
    hanse_rc rc;

    assert(round->state != HANSE_STORE_ROUND_OPEN);
    assert(memcmp(round->run_id, run->run_id, 16) == 0);
    rc = hanse_store_begin(store, err);
    if (rc != HANSE_OK)
        return rc;
    if (round->unopened)
        rc = hanse_store_round_add(store, round, err);
    if (rc == HANSE_OK)
        rc = close_round(store, round, err);
    if (rc == HANSE_OK) {
        hanse_query query = hanse_query_begin(
            store, "UPDATE contribution SET state = ? WHERE run_id = ? AND round = ? AND attempt = ? AND state = ?", err);

        hanse_query_bind_int(&query, HANSE_STORE_PART_LATE);
        hanse_query_bind_blob(&query, round->run_id, 16);
        hanse_query_bind_int(&query, round->round);
        hanse_query_bind_int(&query, round->attempt);
        hanse_query_bind_int(&query, HANSE_STORE_PART_UPLOADING);
        rc = hanse_query_run(&query);
    }
    if (rc == HANSE_OK)
        rc = advance_run(store, run, err);
    if (rc == HANSE_OK)
        rc = drop_left(store, round, err);
    if (rc == HANSE_OK)
        rc = drop_requests(store, run->run_id, run->state, err);
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, run->run_id, round->closed_ms, err, "round %" PRIu64 " attempt %" PRIu32 " %s%s%s", round->round,
                                   round->attempt, hanse_store_round_state_name(round->state), round->reason[0] == '\0' ? "" : ": ",
                                   round->reason);
    if (rc == HANSE_OK && run->state != HANSE_STORE_RUN_OPEN)
        rc = hanse_store_event_add(store, run->run_id, round->closed_ms, err, "run %s%s%s", hanse_store_run_state_name(run->state),
                                   run->reason[0] == '\0' ? "" : ": ", run->reason);
    return hanse_store_end(store, rc, err);
}
