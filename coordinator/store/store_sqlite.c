#include "coordinator/store/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define APPLICATION_ID 0x48414e43 /* "HANC" */
#define BUSY_MS 10000

/* Step i leads from version i to i + 1; published steps never change. A new schema is one more string at the end, and
 * HANSE_STORE_SCHEMA one higher. */
static const char *const migrations[HANSE_STORE_SCHEMA] = {
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE site(name TEXT PRIMARY KEY, organisation TEXT NOT NULL, uri TEXT NOT NULL UNIQUE,"
    " site_id BLOB NOT NULL UNIQUE CHECK(length(site_id) = 32), cert_tls BLOB NOT NULL, cert_sign BLOB NOT NULL,"
    " serial_tls TEXT NOT NULL, serial_sign TEXT NOT NULL, status INTEGER NOT NULL, enrolled_ms INTEGER NOT NULL,"
    " revoked_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE revoked(serial TEXT PRIMARY KEY, time_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE invitation(token_hash BLOB PRIMARY KEY CHECK(length(token_hash) = 32), site TEXT NOT NULL,"
    " organisation TEXT NOT NULL, expires_ms INTEGER NOT NULL, keys_hash BLOB, reply BLOB) WITHOUT ROWID;"
    "CREATE TABLE run(run_id BLOB PRIMARY KEY CHECK(length(run_id) = 16), name TEXT NOT NULL, plan BLOB NOT NULL,"
    " plan_hash BLOB NOT NULL, roster BLOB NOT NULL, roster_sig BLOB NOT NULL, roster_hash BLOB NOT NULL,"
    " offer BLOB NOT NULL, offer_sig BLOB NOT NULL, initial_root BLOB NOT NULL, token TEXT UNIQUE, created_ms INTEGER NOT NULL,"
    " state INTEGER NOT NULL, reason TEXT NOT NULL, rounds_done INTEGER NOT NULL, evaluated INTEGER NOT NULL,"
    " model_round INTEGER NOT NULL, model_root BLOB NOT NULL, model_size INTEGER NOT NULL, previous BLOB NOT NULL,"
    " statistics BLOB NOT NULL, best_round INTEGER NOT NULL, best_root BLOB NOT NULL, best_value REAL,"
    " next_slot INTEGER NOT NULL);"
    "CREATE TABLE round(run_id BLOB NOT NULL REFERENCES run, slot INTEGER NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " kind INTEGER NOT NULL, spec BLOB NOT NULL, spec_sig BLOB NOT NULL, spec_hash BLOB NOT NULL, model_before BLOB NOT NULL,"
    " opened_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, state INTEGER NOT NULL, code INTEGER NOT NULL, reason TEXT NOT NULL,"
    " model_after BLOB NOT NULL, weight INTEGER NOT NULL, metrics_of BLOB NOT NULL, metrics BLOB NOT NULL, closed_ms INTEGER NOT NULL,"
    " result BLOB NOT NULL, result_sig BLOB NOT NULL, PRIMARY KEY(run_id, slot), UNIQUE(run_id, round, attempt));"
    "CREATE UNIQUE INDEX round_open ON round(run_id) WHERE state = 0;"
    "CREATE TABLE contribution(run_id BLOB NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " site_id BLOB NOT NULL CHECK(length(site_id) = 32), state INTEGER NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,"
    " header BLOB NOT NULL, header_sig BLOB NOT NULL, weight INTEGER NOT NULL, bytes INTEGER NOT NULL, receipt BLOB NOT NULL,"
    " receipt_sig BLOB NOT NULL, time_ms INTEGER NOT NULL, PRIMARY KEY(run_id, round, attempt, site_id),"
    " FOREIGN KEY(run_id, round, attempt) REFERENCES round(run_id, round, attempt));"
    "CREATE TABLE event(id INTEGER PRIMARY KEY, run_id BLOB, time_ms INTEGER NOT NULL, text TEXT NOT NULL);"
    "CREATE INDEX event_run ON event(run_id);"
    "CREATE TABLE request(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, run_id BLOB NOT NULL REFERENCES run,"
    " time_ms INTEGER NOT NULL, UNIQUE(kind, run_id));",
    /* masked rounds */
    "ALTER TABLE run ADD COLUMN masking BLOB NOT NULL DEFAULT x'';"
    "CREATE TABLE epoch(site_id BLOB PRIMARY KEY CHECK(length(site_id) = 32), object BLOB NOT NULL, sig BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE ticket(run_id BLOB NOT NULL REFERENCES run, slot INTEGER NOT NULL, site_id BLOB NOT NULL CHECK(length(site_id) = 32),"
    " object BLOB NOT NULL, sig BLOB NOT NULL, shares BLOB NOT NULL, PRIMARY KEY(run_id, slot, site_id));"
    "CREATE TABLE masks(run_id BLOB NOT NULL, slot INTEGER NOT NULL, spec BLOB NOT NULL, spec_sig BLOB NOT NULL, cut BLOB NOT NULL,"
    " cut_sig BLOB NOT NULL, deads BLOB NOT NULL, PRIMARY KEY(run_id, slot), FOREIGN KEY(run_id, slot) REFERENCES round(run_id, slot));"
    "CREATE TABLE answer(run_id BLOB NOT NULL, slot INTEGER NOT NULL, site_id BLOB NOT NULL CHECK(length(site_id) = 32),"
    " sealed BLOB NOT NULL, PRIMARY KEY(run_id, slot, site_id));",
    /* certificates that were renewed, and are good until they expire */
    "CREATE TABLE renewed(serial TEXT PRIMARY KEY, site_id BLOB NOT NULL CHECK(length(site_id) = 32), time_ms INTEGER NOT NULL) WITHOUT ROWID;",
};

static long fail_countdown = -1;

void hanse_store_fail_at(long countdown)
{
    fail_countdown = countdown;
}

static bool fault_due(void)
{
#ifdef HANSE_FAULTS
    return fail_countdown >= 0 && fail_countdown-- == 0;
#else
    return false;
#endif
}

static hanse_rc fail_sqlite(const hanse_store *store, int code, hanse_err *err)
{
    const char *path = store->path, *words = code == SQLITE_FULL ? "disk full" : sqlite3_errmsg(store->db);

    switch (code & 0xff) {
    case SQLITE_FULL:
        return HANSE_FAIL(err, HANSE_E_FULL, "%s: no room to write; free disk space and try again", path);
    case SQLITE_NOMEM:
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is damaged (%s); put a backup in its place", path, words);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return HANSE_FAIL(err, HANSE_E_LOCKED, "%s was kept busy by another process for %d s; try again", path,
                          BUSY_MS / 1000);
    case SQLITE_CONSTRAINT:
        return HANSE_FAIL(err, HANSE_E_DUPLICATE, "%s: %s", path, words);
    case SQLITE_ERROR:
        /* Statements are ours: they fail to prepare only on another schema than ours. */
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s does not have the expected tables (%s); put a backup in its place", path,
                          words);
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_TOOBIG:
        return HANSE_FAIL(err, HANSE_E_USAGE, "%s: %s", path, words);
    default:
        return HANSE_FAIL(err, HANSE_E_IO, "%s: %s; check the owner and mode of the directory and the disk", path, words);
    }
}

hanse_query hanse_query_begin(hanse_store *store, const char *sql, hanse_err *err)
{
    hanse_query query = {.store = store, .err = err};
    int code = sqlite3_prepare_v2(store->db, sql, -1, &query.handle, NULL);

    if (code != SQLITE_OK)
        query.rc = fail_sqlite(store, code, err);
    return query;
}

static void bound(hanse_query *query, int code)
{
    if (code != SQLITE_OK)
        query->rc = fail_sqlite(query->store, code, query->err);
}

void hanse_query_bind_int(hanse_query *query, uint64_t value)
{
    if (query->rc == HANSE_OK)
        bound(query, sqlite3_bind_int64(query->handle, ++query->bound, (sqlite3_int64)value));
}

void hanse_query_bind_real(hanse_query *query, double value)
{
    if (query->rc == HANSE_OK)
        bound(query, sqlite3_bind_double(query->handle, ++query->bound, value)); /* SQLite stores NaN as NULL */
}

void hanse_query_bind_text(hanse_query *query, const char *text)
{
    if (query->rc == HANSE_OK)
        bound(query, sqlite3_bind_text(query->handle, ++query->bound, text, -1, SQLITE_STATIC));
}

void hanse_query_bind_blob(hanse_query *query, const void *data, size_t len)
{
    if (query->rc == HANSE_OK)
        bound(query, sqlite3_bind_blob64(query->handle, ++query->bound, len == 0 ? "" : data, len, SQLITE_STATIC));
}

void hanse_query_bind_buf(hanse_query *query, const hanse_buf *buf)
{
    hanse_query_bind_blob(query, buf->data, buf->len);
}

bool hanse_query_row(hanse_query *query)
{
    int code;

    if (query->rc != HANSE_OK)
        return false;
    code = fault_due() ? SQLITE_FULL : sqlite3_step(query->handle);
    query->column = 0;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        query->rc = fail_sqlite(query->store, code, query->err);
    return code == SQLITE_ROW;
}

static void corrupt(hanse_query *query)
{
    if (query->rc == HANSE_OK)
        query->rc = HANSE_FAIL(query->err, HANSE_E_CORRUPT, "%s: a value of column %s is out of bounds; put a backup in its place",
                               query->store->path, sqlite3_column_name(query->handle, query->column));
}

uint64_t hanse_query_int(hanse_query *query)
{
    return query->rc == HANSE_OK ? (uint64_t)sqlite3_column_int64(query->handle, query->column++) : 0;
}

double hanse_query_real(hanse_query *query)
{
    if (query->rc != HANSE_OK || hanse_query_null(query)) {
        query->column++;
        return NAN;
    }
    return sqlite3_column_double(query->handle, query->column++);
}

void hanse_query_text(hanse_query *query, char *out, size_t size)
{
    const unsigned char *text;
    size_t len;

    if (query->rc != HANSE_OK)
        return;
    text = sqlite3_column_text(query->handle, query->column);
    len = (size_t)sqlite3_column_bytes(query->handle, query->column);
    if (len >= size)
        corrupt(query);
    else if (len > 0)
        memcpy(out, text, len);
    if (len < size)
        out[len] = '\0';
    query->column++;
}

void hanse_query_bytes(hanse_query *query, uint8_t *out, size_t len)
{
    const void *data;

    if (query->rc != HANSE_OK)
        return;
    data = sqlite3_column_blob(query->handle, query->column);
    if (data == NULL || (size_t)sqlite3_column_bytes(query->handle, query->column) != len)
        corrupt(query);
    else
        memcpy(out, data, len);
    query->column++;
}

void hanse_query_buf(hanse_query *query, hanse_buf *out)
{
    const void *data;
    size_t len;

    if (query->rc != HANSE_OK)
        return;
    data = sqlite3_column_blob(query->handle, query->column);
    len = (size_t)sqlite3_column_bytes(query->handle, query->column);
    if (len > 0)
        query->rc = hanse_buf_append(out, data, len, query->err);
    query->column++;
}

int hanse_query_choice(hanse_query *query, int count)
{
    sqlite3_int64 value;

    if (query->rc != HANSE_OK)
        return 0;
    value = sqlite3_column_int64(query->handle, query->column);
    if (value < 0 || value >= count)
        corrupt(query);
    query->column++;
    return query->rc == HANSE_OK ? (int)value : 0;
}

bool hanse_query_null(const hanse_query *query)
{
    return query->rc != HANSE_OK || sqlite3_column_type(query->handle, query->column) == SQLITE_NULL;
}

hanse_rc hanse_query_end(hanse_query *query)
{
    sqlite3_finalize(query->handle); /* an error of the last step is in rc already */
    query->handle = NULL;
    return query->rc;
}

hanse_rc hanse_query_run(hanse_query *query)
{
    while (hanse_query_row(query))
        continue;
    return hanse_query_end(query);
}

hanse_rc hanse_query_exec(hanse_store *store, const char *sql, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, sql, err);

    return hanse_query_run(&query);
}

/* Some errors have rolled back already; where memory is out not even this works, and the next begin makes up for it. */
static void roll_back(hanse_store *store)
{
    if (sqlite3_get_autocommit(store->db) == 0)
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

hanse_rc hanse_store_begin(hanse_store *store, hanse_err *err)
{
    hanse_rc rc;

    roll_back(store); /* what an earlier failure may have left open */
    rc = hanse_query_exec(store, "BEGIN IMMEDIATE", err);
    if (rc != HANSE_OK) /* it may have begun before it failed */
        roll_back(store);
    return rc;
}

hanse_rc hanse_store_end(hanse_store *store, hanse_rc rc, hanse_err *err)
{
    if (rc == HANSE_OK)
        rc = hanse_query_exec(store, "COMMIT", err);
    if (rc != HANSE_OK)
        roll_back(store);
    return rc;
}

void *hanse_rows_room(void *rows, size_t count, size_t size)
{
    if ((count & (count - 1)) == 0) /* 0, 1, 2, 4...: full */
        rows = hanse_realloc(rows, count == 0 ? 1 : 2 * count, size);
    if (rows != NULL)
        memset((char *)rows + count * size, 0, size);
    return rows;
}

static hanse_rc read_number(hanse_store *store, const char *sql, int64_t *out, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, sql, err);

    if (hanse_query_row(&query))
        *out = (int64_t)hanse_query_int(&query);
    return hanse_query_end(&query);
}

/* Inside a transaction: bring an empty or older file to our schema. */
static hanse_rc migrate(hanse_store *store, const char *const *steps, int steps_count, hanse_err *err)
{
    int64_t version = 0, application = 0, tables = 0;
    char sql[64];
    hanse_rc rc = read_number(store, "PRAGMA user_version", &version, err);

    if (rc == HANSE_OK)
        rc = read_number(store, "PRAGMA application_id", &application, err);
    if (rc == HANSE_OK)
        rc = read_number(store, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (rc != HANSE_OK)
        return rc;
    if (application != APPLICATION_ID && (application != 0 || tables != 0))
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is no database of a coordinator; put a backup in its place", store->path);
    if (version > steps_count || version < 0)
        return HANSE_FAIL(err, HANSE_E_VERSION, "%s was written by a newer Hanse (schema %jd, this program knows %d); update it",
                          store->path, (intmax_t)version, steps_count);
    if (version == steps_count)
        return HANSE_OK;
    for (; version < steps_count; version++) {
        int code = sqlite3_exec(store->db, steps[version], NULL, NULL, NULL);

        if (code != SQLITE_OK) /* the caller rolls back: the file stays what it was */
            return fail_sqlite(store, code, err);
    }
    /* Pragmas take no parameters; both numbers are our own. */
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", steps_count);
    rc = hanse_query_exec(store, sql, err);
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d", APPLICATION_ID);
    return rc != HANSE_OK ? rc : hanse_query_exec(store, sql, err);
}

static hanse_rc open_file(hanse_store *store, bool create, hanse_err *err)
{
    int code, fd = open(store->path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), HANSE_MODE_SECRET);

    if (fd < 0 && errno == ENOENT)
        return HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s: no such file; `hanse-coordinator init` makes a coordinator's directory",
                          store->path);
    if (fd < 0) /* SQLite would open it read-only, and fail later */
        return HANSE_FAIL_ERRNO(err, "cannot open %s", store->path);
    close(fd);
    code = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    return code == SQLITE_OK ? HANSE_OK : fail_sqlite(store, code, err);
}

hanse_rc hanse_store_open(hanse_store **out, const char *dir, bool create, hanse_err *err)
{
    return hanse_store_open_steps(out, dir, create, migrations, HANSE_STORE_SCHEMA, err);
}

const char *const *hanse_store_steps(void)
{
    return migrations;
}

hanse_rc hanse_store_open_steps(hanse_store **out, const char *dir, bool create, const char *const *steps, int steps_count, hanse_err *err)
{
    static const char *const settings[] = {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON",
                                           "PRAGMA trusted_schema = OFF"};
    hanse_store *store = hanse_calloc(1, sizeof *store);
    hanse_rc rc;

    if (store == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory opening the store");
    rc = hanse_path_join(store->path, dir, HANSE_STORE_FILE, err);
    if (rc == HANSE_OK)
        rc = open_file(store, create, err);
    if (rc == HANSE_OK)
        sqlite3_busy_timeout(store->db, BUSY_MS);
    for (size_t i = 0; rc == HANSE_OK && i < sizeof settings / sizeof settings[0]; i++)
        rc = hanse_query_exec(store, settings[i], err);
    if (rc == HANSE_OK) {
        rc = hanse_store_begin(store, err);
        if (rc == HANSE_OK)
            rc = hanse_store_end(store, migrate(store, steps, steps_count, err), err);
    }
    if (rc != HANSE_OK) {
        hanse_store_close(store);
        return rc;
    }
    *out = store;
    return HANSE_OK;
}

void hanse_store_close(hanse_store *store)
{
    if (store == NULL)
        return;
    sqlite3_close(store->db);
    hanse_free(store);
}
