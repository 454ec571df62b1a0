/* The tables, and nothing but them. Objects that were signed are kept as the bytes that came; the few columns beside them are
 * what queries ask for. */
#include "node/site/store_query.h"

#include "hanse/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

/* Step i leads from version i to i + 1; published steps never change. A new schema is one more string at the end, and
 * HANSE_SITE_STORE_SCHEMA one higher. */
static const char *const migrations[HANSE_SITE_STORE_SCHEMA] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE acceptance(id INTEGER PRIMARY KEY, plan_hash BLOB NOT NULL, roster_hash BLOB NOT NULL, model_root BLOB NOT NULL,"
    "  run BLOB UNIQUE, time_ms INTEGER NOT NULL);"
    "CREATE TABLE offer(run BLOB PRIMARY KEY, object BLOB NOT NULL, opened_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE run(run BLOB PRIMARY KEY, offer BLOB NOT NULL, stage INTEGER NOT NULL, spec BLOB, spec_hash BLOB,"
    "  has_result INTEGER NOT NULL, previous BLOB, result_slot INTEGER NOT NULL, best_root BLOB, model_root BLOB,"
    "  best_round INTEGER NOT NULL, rounds_done INTEGER NOT NULL, state INTEGER NOT NULL, statistics BLOB) WITHOUT ROWID;"
    "CREATE TABLE work(run BLOB, slot INTEGER, round INTEGER NOT NULL, attempt INTEGER NOT NULL, trained TEXT NOT NULL,"
    "  data_offset INTEGER NOT NULL, data_len INTEGER NOT NULL, weight INTEGER NOT NULL, aux BLOB NOT NULL, header BLOB NOT NULL,"
    "  sig BLOB NOT NULL, key TEXT NOT NULL, receipt BLOB, PRIMARY KEY(run, slot)) WITHOUT ROWID;"
    "CREATE TABLE result(run BLOB, slot INTEGER, object BLOB NOT NULL, sig BLOB NOT NULL, time_ms INTEGER NOT NULL,"
    "  PRIMARY KEY(run, slot)) WITHOUT ROWID;"
    "CREATE TABLE evaluation(run BLOB, whose INTEGER, round INTEGER, words BLOB NOT NULL, PRIMARY KEY(run, whose, round)) WITHOUT ROWID;",
    /* secure aggregation */
    "CREATE TABLE fact(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "ALTER TABLE run ADD COLUMN masking BLOB;"
    "ALTER TABLE run ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE work ADD COLUMN masks BLOB;",
};

/* Inside a transaction: bring an empty or older file to the newest schema. */
static hanse_rc migrate(hanse_site_store *store, const char *const *steps, int steps_count, hanse_err *err)
{
    char sql[48];
    int version = 0;
    query q = prepare(store, "PRAGMA user_version");
    hanse_rc rc = next(&q, err);

    if (rc == HANSE_OK)
        version = sqlite3_column_int(q.stmt, 0);
    finish(&q);
    if (rc != HANSE_OK)
        return rc;
    if (version < 0 || version > steps_count)
        return HANSE_FAIL(err, HANSE_E_VERSION, "state.db has schema %d, this Hanse knows %d: use the newer one", version, steps_count);
    if (version == steps_count)
        return HANSE_OK;
    for (; rc == HANSE_OK && version < steps_count; version++)
        rc = exec(store, steps[version], err);
    (void)snprintf(sql, sizeof sql, "PRAGMA user_version = %d", steps_count); /* pragmas take no parameters */
    return rc == HANSE_OK ? exec(store, sql, err) : rc;
}

hanse_rc hanse_site_store_open(hanse_site_store **out, const char *dir, hanse_err *err)
{
    return hanse_site_store_open_steps(out, dir, migrations, HANSE_SITE_STORE_SCHEMA, err);
}

const char *const *hanse_site_store_steps(void)
{
    return migrations;
}

hanse_rc hanse_site_store_open_steps(hanse_site_store **out, const char *dir, const char *const *steps, int steps_count, hanse_err *err)
{
    hanse_site_store *store = hanse_calloc(1, sizeof *store);
    int code;
    hanse_rc rc;

    if (store == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "state.db: out of memory");
    rc = hanse_path_join(store->path, dir, "state.db", err);
    if (rc != HANSE_OK)
        goto done;
    code = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) {
        rc = fail_code(store, code, err);
        goto done;
    }
    if (chmod(store->path, HANSE_MODE_SECRET) != 0) {
        rc = HANSE_FAIL_ERRNO(err, "%s", store->path);
        goto done;
    }
    (void)sqlite3_busy_timeout(store->db, 5000);
    rc = exec(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"
                     " PRAGMA cache_size = -512", err);
    if (rc == HANSE_OK)
        rc = begin(store, err);
    if (rc == HANSE_OK)
        rc = end(store, migrate(store, steps, steps_count, err), err);
done:
    if (rc == HANSE_OK)
        *out = store;
    else
        hanse_site_store_close(store);
    return rc;
}

void hanse_site_store_close(hanse_site_store *store)
{
    if (store == NULL)
        return;
    (void)sqlite3_close(store->db);
    hanse_free(store);
}

/* ---- consent ---- */

static void bind_three(query *q, const hanse_offer *offer)
{
    bind_blob(q, offer->plan_hash, 32);
    bind_blob(q, offer->roster_hash, 32);
    bind_blob(q, offer->model_root, 32);
}

hanse_rc hanse_site_store_accept(hanse_site_store *store, const hanse_offer *offer, uint64_t now_ms, uint8_t earlier[16], hanse_err *err)
{
    hanse_rc rc = begin(store, err);
    query q;

    memset(earlier, 0, 16);
    if (rc != HANSE_OK)
        return rc;
    q = prepare(store, "SELECT run FROM acceptance WHERE plan_hash=? AND roster_hash=? AND model_root=? AND run IS NOT NULL"
                       " ORDER BY id DESC LIMIT 1");
    bind_three(&q, offer);
    rc = next(&q, err);
    if (rc == HANSE_OK)
        column_raw(&q, 0, earlier, 16);
    finish(&q);
    if (rc != HANSE_OK && rc != HANSE_E_NOTFOUND)
        return end(store, rc, err);
    /* Accepting twice before a run used it is one acceptance. */
    q = prepare(store, "INSERT INTO acceptance(plan_hash, roster_hash, model_root, time_ms) SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS"
                       " (SELECT 1 FROM acceptance WHERE plan_hash=?1 AND roster_hash=?2 AND model_root=?3 AND run IS NULL)");
    bind_three(&q, offer);
    bind_int(&q, now_ms);
    rc = run(&q, err);
    return end(store, rc, err);
}

hanse_rc hanse_site_store_accepted(hanse_site_store *store, const hanse_offer *offer, bool *found, hanse_err *err)
{
    query q = prepare(store, "SELECT 1 FROM acceptance WHERE plan_hash=? AND roster_hash=? AND model_root=? AND (run IS NULL OR run=?)");
    hanse_rc rc;

    bind_three(&q, offer);
    bind_blob(&q, offer->run, 16);
    rc = next(&q, err);
    finish(&q);
    *found = rc == HANSE_OK;
    return rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
}

hanse_rc hanse_site_store_consume(hanse_site_store *store, const hanse_offer *offer, bool *found, hanse_err *err)
{
    hanse_rc rc = begin(store, err);
    query q;

    if (rc != HANSE_OK)
        return rc;
    q = prepare(store, "UPDATE acceptance SET run=?4 WHERE id = (SELECT min(id) FROM acceptance WHERE plan_hash=?1 AND roster_hash=?2"
                       " AND model_root=?3 AND run IS NULL) AND NOT EXISTS (SELECT 1 FROM acceptance WHERE run=?4)");
    bind_three(&q, offer);
    bind_blob(&q, offer->run, 16);
    rc = run(&q, err);
    if (rc != HANSE_OK)
        return end(store, rc, err);
    q = prepare(store, "SELECT 1 FROM acceptance WHERE plan_hash=? AND roster_hash=? AND model_root=? AND run=?");
    bind_three(&q, offer);
    bind_blob(&q, offer->run, 16);
    rc = next(&q, err);
    finish(&q);
    *found = rc == HANSE_OK;
    return end(store, rc == HANSE_E_NOTFOUND ? HANSE_OK : rc, err);
}

static hanse_rc meta_put(hanse_site_store *store, const char *key, const void *value, size_t len, hanse_err *err)
{
    query q = prepare(store, "INSERT OR REPLACE INTO meta VALUES(?, ?)");

    bind_text(&q, key);
    bind_blob(&q, value, len);
    return run(&q, err);
}
static hanse_rc meta_get(hanse_site_store *store, const char *key, void *value, size_t len, bool *found, hanse_err *err)
{
    query q = prepare(store, "SELECT value FROM meta WHERE key=?");
    hanse_rc rc;

    bind_text(&q, key);
    rc = next(&q, err);
    *found = rc == HANSE_OK;
    if (rc == HANSE_OK)
        column_raw(&q, 0, value, len);
    finish(&q);
    return rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
}

hanse_rc hanse_site_store_pin_roster(hanse_site_store *store, const uint8_t hash[32], hanse_err *err)
{
    return meta_put(store, "roster", hash, 32, err);
}
hanse_rc hanse_site_store_pinned_roster(hanse_site_store *store, uint8_t hash[32], bool *found, hanse_err *err)
{
    return meta_get(store, "roster", hash, 32, found, err);
}

hanse_rc hanse_site_store_recovered(hanse_site_store *store, uint64_t now_ms, hanse_err *err)
{
    uint8_t raw[8];

    hanse_store_u64le(raw, now_ms);
    return meta_put(store, "recovered", raw, sizeof raw, err);
}
hanse_rc hanse_site_store_recovered_at(hanse_site_store *store, uint64_t *at_ms, hanse_err *err)
{
    uint8_t raw[8];
    bool found = false;
    hanse_rc rc = meta_get(store, "recovered", raw, sizeof raw, &found, err);

    *at_ms = rc == HANSE_OK && found ? hanse_load_u64le(raw) : 0;
    return rc;
}

hanse_rc hanse_site_store_crl_seen(hanse_site_store *store, uint64_t number, hanse_err *err)
{
    uint8_t raw[8];
    bool found = false;
    hanse_rc rc = meta_get(store, "crl", raw, sizeof raw, &found, err);

    if (rc != HANSE_OK)
        return rc;
    if (found && number < hanse_load_u64le(raw))
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "the coordinator sent revocation list %" PRIu64 ", this site has seen %" PRIu64
                          ": it withholds revocations", number, hanse_load_u64le(raw));
    if (found && number == hanse_load_u64le(raw))
        return HANSE_OK;
    hanse_store_u64le(raw, number);
    return meta_put(store, "crl", raw, sizeof raw, err);
}

/* ---- offers and runs ---- */

hanse_rc hanse_site_store_offer(hanse_site_store *store, const hanse_offer *offer, uint64_t now_ms, hanse_err *err)
{
    hanse_buf bytes = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_offer_encode(&bytes, offer, err);

    if (rc == HANSE_OK) {
        query q = prepare(store, "INSERT INTO offer VALUES(?, ?, ?, ?) ON CONFLICT(run) DO UPDATE SET seen_ms=excluded.seen_ms");
        bind_blob(&q, offer->run, 16);
        bind_blob(&q, bytes.data, bytes.len);
        bind_int(&q, offer->opened_ms);
        bind_int(&q, now_ms);
        rc = run(&q, err);
    }
    hanse_buf_clear(&bytes);
    return rc;
}

hanse_rc hanse_site_store_offers(hanse_site_store *store, hanse_site_offer_row **rows, size_t *count, hanse_err *err)
{
    query q = prepare(store, "SELECT o.object, o.seen_ms, r.run IS NOT NULL, r.state, r.rounds_done, r.best_round FROM offer o"
                             " LEFT JOIN run r ON r.run = o.run ORDER BY o.opened_ms DESC, o.run");
    hanse_site_offer_row *list = NULL;
    size_t n = 0;
    hanse_rc rc;

    while ((rc = next(&q, err)) == HANSE_OK) {
        hanse_site_offer_row *grown = hanse_realloc(list, n + 1, sizeof *list), *row;
        if (grown == NULL) {
            rc = HANSE_FAIL(err, HANSE_E_NOMEM, "list of offers");
            break;
        }
        list = grown;
        row = &list[n];
        memset(row, 0, sizeof *row);
        rc = hanse_offer_decode(&row->offer, column_blob(&q, 0), err);
        if (rc != HANSE_OK) {
            rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "state.db: a stored offer does not read back");
            break;
        }
        row->seen_ms = column_int(&q, 1);
        row->joined = column_int(&q, 2) != 0;
        row->state = (int)column_int(&q, 3);
        row->rounds_done = column_int(&q, 4);
        row->best_round = column_int(&q, 5);
        n++;
    }
    finish(&q);
    if (rc != HANSE_E_NOTFOUND) {
        hanse_free(list);
        return rc;
    }
    *rows = list;
    *count = n;
    return HANSE_OK;
}

/* Without a transaction of its own. */
static hanse_rc save_run(hanse_site_store *store, const hanse_site_run *state, hanse_err *err)
{
    hanse_buf offer = HANSE_BUF_EMPTY, spec = HANSE_BUF_EMPTY;
    query q;
    hanse_rc rc = hanse_offer_encode(&offer, &state->offer, err);

    if (rc == HANSE_OK && state->stage != HANSE_STAGE_NONE)
        rc = hanse_spec_encode(&spec, &state->spec, err);
    if (rc != HANSE_OK)
        goto done;
    q = prepare(store, "INSERT INTO run(run, offer, stage, spec, spec_hash, has_result, previous, result_slot, best_root, model_root,"
                       " best_round, rounds_done, state, counted) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(run) DO UPDATE SET"
                       " stage=excluded.stage, spec=excluded.spec, spec_hash=excluded.spec_hash, has_result=excluded.has_result,"
                       " previous=excluded.previous, result_slot=excluded.result_slot, best_root=excluded.best_root,"
                       " model_root=excluded.model_root, best_round=excluded.best_round, rounds_done=excluded.rounds_done,"
                       " state=excluded.state, counted=excluded.counted");
    bind_blob(&q, state->offer.run, 16);
    bind_blob(&q, offer.data, offer.len);
    bind_int(&q, (uint64_t)state->stage);
    bind_blob(&q, spec.data, spec.len);
    bind_blob(&q, state->spec_hash, 32);
    bind_int(&q, state->has_result);
    bind_blob(&q, state->previous, 32);
    bind_int(&q, state->result_slot);
    bind_blob(&q, state->best_root, 32);
    bind_blob(&q, state->model_root, 32);
    bind_int(&q, state->best_round);
    bind_int(&q, state->rounds_done);
    bind_int(&q, (uint64_t)state->run_state);
    bind_int(&q, state->counted);
    rc = run(&q, err);
done:
    hanse_buf_clear(&offer);
    hanse_buf_clear(&spec);
    return rc;
}

hanse_rc hanse_site_store_run_save(hanse_site_store *store, const hanse_site_run *state, hanse_err *err)
{
    return save_run(store, state, err);
}

hanse_rc hanse_site_store_run_load(hanse_site_store *store, const uint8_t run_id[16], hanse_site_run *out, hanse_err *err)
{
    query q = prepare(store, "SELECT offer, stage, spec, spec_hash, has_result, previous, result_slot, best_root, model_root, best_round,"
                             " rounds_done, state, counted FROM run WHERE run=?");
    hanse_site_run state = {0};
    hanse_rc rc;

    bind_blob(&q, run_id, 16);
    rc = next(&q, err);
    if (rc != HANSE_OK)
        goto done;
    rc = hanse_offer_decode(&state.offer, column_blob(&q, 0), err);
    state.stage = (hanse_site_stage)column_int(&q, 1);
    if (rc == HANSE_OK && state.stage != HANSE_STAGE_NONE)
        rc = hanse_spec_decode(&state.spec, column_blob(&q, 2), err);
    if (rc != HANSE_OK || (unsigned)state.stage > HANSE_STAGE_CLOSED) {
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "state.db: a stored run does not read back");
        goto done;
    }
    column_raw(&q, 3, state.spec_hash, 32);
    state.has_result = column_int(&q, 4) != 0;
    column_raw(&q, 5, state.previous, 32);
    state.result_slot = column_int(&q, 6);
    column_raw(&q, 7, state.best_root, 32);
    column_raw(&q, 8, state.model_root, 32);
    state.best_round = column_int(&q, 9);
    state.rounds_done = column_int(&q, 10);
    state.run_state = (hanse_run_state)column_int(&q, 11);
    state.counted = column_int(&q, 12);
    *out = state;
done:
    finish(&q);
    return rc;
}

hanse_rc hanse_site_store_statistics_save(hanse_site_store *store, const uint8_t run_id[16], hanse_bytes words, hanse_err *err)
{
    query q = prepare(store, "UPDATE run SET statistics=? WHERE run=?");

    bind_blob(&q, words.data, words.len);
    bind_blob(&q, run_id, 16);
    return run(&q, err);
}

hanse_rc hanse_site_store_statistics_load(hanse_site_store *store, const uint8_t run_id[16], hanse_buf *words, hanse_err *err)
{
    query q = prepare(store, "SELECT statistics FROM run WHERE run=?");
    hanse_bytes blob;
    hanse_rc rc;

    hanse_buf_clear(words);
    bind_blob(&q, run_id, 16);
    rc = next(&q, err);
    if (rc == HANSE_OK) {
        blob = column_blob(&q, 0);
        rc = hanse_buf_append(words, blob.len ? blob.data : (const uint8_t *)"", blob.len, err);
    }
    finish(&q);
    return rc;
}

/* ---- work ---- */

void hanse_site_work_clear(hanse_site_work *work)
{
    hanse_buf_clear(&work->aux);
    hanse_buf_clear(&work->header);
    hanse_buf_clear(&work->sig);
    hanse_buf_clear(&work->masks);
    memset(work, 0, sizeof *work);
}

static hanse_rc set_stage(hanse_site_store *store, const uint8_t run_id[16], hanse_site_stage stage, hanse_err *err)
{
    query q = prepare(store, "UPDATE run SET stage=? WHERE run=?");

    bind_int(&q, (uint64_t)stage);
    bind_blob(&q, run_id, 16);
    return run(&q, err);
}

hanse_rc hanse_site_store_work_save(hanse_site_store *store, const hanse_site_work *work, hanse_err *err)
{
    hanse_rc rc = begin(store, err);
    query q;

    if (rc != HANSE_OK)
        return rc;
    q = prepare(store, "INSERT OR REPLACE INTO work VALUES(?,?,?,?,?,?,?,?,?,?,?,?,NULL,?)");
    bind_blob(&q, work->run, 16);
    bind_int(&q, work->slot);
    bind_int(&q, work->round);
    bind_int(&q, work->attempt);
    bind_text(&q, work->trained);
    bind_int(&q, work->data_offset);
    bind_int(&q, work->data_len);
    bind_int(&q, work->weight);
    bind_blob(&q, work->aux.data, work->aux.len);
    bind_blob(&q, work->header.data, work->header.len);
    bind_blob(&q, work->sig.data, work->sig.len);
    bind_text(&q, work->key);
    bind_blob(&q, work->masks.data, work->masks.len);
    rc = run(&q, err);
    if (rc == HANSE_OK)
        rc = set_stage(store, work->run, HANSE_STAGE_TRAINED, err);
    return end(store, rc, err);
}

hanse_rc hanse_site_store_work_load(hanse_site_store *store, const uint8_t run_id[16], uint64_t slot, hanse_site_work *out, hanse_err *err)
{
    query q = prepare(store, "SELECT round, attempt, trained, data_offset, data_len, weight, aux, header, sig, key, masks FROM work"
                             " WHERE run=? AND slot=?");
    hanse_bytes blob;
    hanse_rc rc;

    hanse_site_work_clear(out);
    bind_blob(&q, run_id, 16);
    bind_int(&q, slot);
    rc = next(&q, err);
    if (rc != HANSE_OK)
        goto done;
    memcpy(out->run, run_id, 16);
    out->slot = slot;
    out->round = column_int(&q, 0);
    out->attempt = (uint32_t)column_int(&q, 1);
    column_text(&q, 2, out->trained, sizeof out->trained);
    out->data_offset = column_int(&q, 3);
    out->data_len = column_int(&q, 4);
    out->weight = column_int(&q, 5);
    blob = column_blob(&q, 6);
    rc = hanse_buf_append(&out->aux, blob.data, blob.len, err);
    blob = column_blob(&q, 7);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&out->header, blob.data, blob.len, err);
    blob = column_blob(&q, 8);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&out->sig, blob.data, blob.len, err);
    column_text(&q, 9, out->key, sizeof out->key);
    blob = column_blob(&q, 10);
    if (rc == HANSE_OK && blob.len > 0)
        rc = hanse_buf_append(&out->masks, blob.data, blob.len, err);
done:
    finish(&q);
    if (rc != HANSE_OK)
        hanse_site_work_clear(out);
    return rc;
}

hanse_rc hanse_site_store_work_delete(hanse_site_store *store, const uint8_t run_id[16], hanse_err *err)
{
    query q = prepare(store, "DELETE FROM work WHERE run=?");

    bind_blob(&q, run_id, 16);
    return run(&q, err);
}

hanse_rc hanse_site_store_receipt_save(hanse_site_store *store, const hanse_site_run *state, hanse_bytes receipt, hanse_err *err)
{
    hanse_rc rc = begin(store, err);
    query q;

    if (rc != HANSE_OK)
        return rc;
    q = prepare(store, "UPDATE work SET receipt=? WHERE run=? AND slot=?");
    bind_blob(&q, receipt.data, receipt.len);
    bind_blob(&q, state->offer.run, 16);
    bind_int(&q, state->spec.slot);
    rc = run(&q, err);
    if (rc == HANSE_OK)
        rc = save_run(store, state, err);
    return end(store, rc, err);
}

/* ---- results and evaluations ---- */

hanse_rc hanse_site_store_result_save(hanse_site_store *store, const hanse_site_run *state, const hanse_result *result,
                                      hanse_bytes object, hanse_bytes sig, uint64_t now_ms, hanse_err *err)
{
    hanse_rc rc = begin(store, err);
    query q;

    if (rc != HANSE_OK)
        return rc;
    q = prepare(store, "INSERT OR IGNORE INTO result VALUES(?,?,?,?,?)");
    bind_blob(&q, result->run, 16);
    bind_int(&q, result->slot);
    bind_blob(&q, object.data, object.len);
    bind_blob(&q, sig.data, sig.len);
    bind_int(&q, now_ms);
    rc = run(&q, err);
    if (rc == HANSE_OK)
        rc = save_run(store, state, err);
    if (rc == HANSE_OK && result->masking.len > 0) {
        q = prepare(store, "UPDATE run SET masking=? WHERE run=?");
        bind_blob(&q, result->masking.data, result->masking.len);
        bind_blob(&q, result->run, 16);
        rc = run(&q, err);
    }
    return end(store, rc, err);
}

static hanse_rc result_row(query *q, const uint8_t site_id[32], hanse_site_result_row *row, hanse_err *err)
{
    hanse_result result = {0};
    hanse_rc rc = hanse_result_decode(&result, column_blob(q, 0), err);

    if (rc != HANSE_OK)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "state.db: a stored result does not read back");
    *row = (hanse_site_result_row){.round = result.round, .slot = result.slot, .time_ms = column_int(q, 1), .attempt = result.attempt,
                                   .kind = result.kind, .status = result.status, .state = result.state,
                                   .participants_count = result.participants_count};
    memcpy(row->reason, result.reason, sizeof row->reason);
    for (size_t i = 0; i < result.participants_count; i++)
        row->took_part |= memcmp(result.participants[i], site_id, 32) == 0;
    hanse_result_clear(&result);
    return HANSE_OK;
}

hanse_rc hanse_site_store_results(hanse_site_store *store, const uint8_t run_id[16], const uint8_t site_id[32],
                                  hanse_site_result_row **rows, size_t *count, hanse_err *err)
{
    query q = prepare(store, "SELECT object, time_ms FROM result WHERE run=? ORDER BY slot");
    hanse_site_result_row *list = NULL;
    size_t n = 0;
    hanse_rc rc;

    bind_blob(&q, run_id, 16);
    while ((rc = next(&q, err)) == HANSE_OK) {
        hanse_site_result_row *grown = hanse_realloc(list, n + 1, sizeof *list);
        if (grown == NULL) {
            rc = HANSE_FAIL(err, HANSE_E_NOMEM, "list of results");
            break;
        }
        list = grown;
        rc = result_row(&q, site_id, &list[n], err);
        if (rc != HANSE_OK)
            break;
        n++;
    }
    finish(&q);
    if (rc != HANSE_E_NOTFOUND) {
        hanse_free(list);
        return rc;
    }
    *rows = list;
    *count = n;
    return HANSE_OK;
}

hanse_rc hanse_site_store_evaluation_save(hanse_site_store *store, const uint8_t run_id[16], hanse_whose whose, uint64_t round,
                                          const uint64_t *words, size_t words_count, hanse_err *err)
{
    query q = prepare(store, "INSERT OR REPLACE INTO evaluation VALUES(?,?,?,?)");
    uint8_t *raw = hanse_calloc(words_count, 8);
    hanse_rc rc;

    if (raw == NULL) {
        finish(&q);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "evaluation of round %" PRIu64, round);
    }
    for (size_t i = 0; i < words_count; i++)
        hanse_store_u64le(raw + 8 * i, words[i]);
    bind_blob(&q, run_id, 16);
    bind_int(&q, (uint64_t)whose);
    bind_int(&q, round);
    bind_blob(&q, raw, words_count * 8);
    rc = run(&q, err);
    hanse_free(raw);
    return rc;
}

hanse_rc hanse_site_store_evaluation_load(hanse_site_store *store, const uint8_t run_id[16], hanse_whose whose, uint64_t *round,
                                          uint64_t **words, size_t *words_count, hanse_err *err)
{
    query q = prepare(store, *round == UINT64_MAX
                                 ? "SELECT round, words FROM evaluation WHERE run=? AND whose=? ORDER BY round DESC LIMIT 1"
                                 : "SELECT round, words FROM evaluation WHERE run=? AND whose=? AND round=?");
    hanse_bytes blob;
    hanse_rc rc;

    bind_blob(&q, run_id, 16);
    bind_int(&q, (uint64_t)whose);
    if (*round != UINT64_MAX)
        bind_int(&q, *round);
    rc = next(&q, err);
    if (rc == HANSE_OK) {
        uint64_t *out;
        blob = column_blob(&q, 1);
        out = hanse_calloc(blob.len / 8 + 1, 8);
        if (out == NULL) {
            rc = HANSE_FAIL(err, HANSE_E_NOMEM, "evaluation");
        } else {
            for (size_t i = 0; i < blob.len / 8; i++)
                out[i] = hanse_load_u64le(blob.data + 8 * i);
            *words = out;
            *words_count = blob.len / 8;
            *round = column_int(&q, 0);
        }
    }
    finish(&q);
    return rc;
}
