/* store_query.h - one SQLite statement under way, and transactions. Inside node/site only. */
#ifndef HANSE_SITE_STORE_QUERY_H
#define HANSE_SITE_STORE_QUERY_H

#include "hanse/file.h"
#include "node/site/store.h"

#include <sqlite3.h>

struct hanse_site_store {
    sqlite3 *db;
    hanse_path path;
};

/* SQLite's verdict in our words. */
static inline hanse_rc fail_code(const hanse_site_store *store, int code, hanse_err *err)
{
    const char *path = store->path, *words = store->db != NULL ? sqlite3_errmsg(store->db) : sqlite3_errstr(code);

    switch (code & 0xff) {
    case SQLITE_NOMEM: return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", path);
    case SQLITE_FULL:  return HANSE_FAIL(err, HANSE_E_FULL, "%s: no room to write; free disk space and try again", path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is damaged (%s); stop the node and put a backup of its directory in its place", path, words);
    default: return HANSE_FAIL(err, HANSE_E_IO, "%s: %s; check the owner and mode of the directory and the disk", path, words);
    }
}

static inline hanse_rc fail_db(hanse_site_store *store, hanse_err *err)
{
    return fail_code(store, sqlite3_errcode(store->db), err);
}

static inline hanse_rc exec(hanse_site_store *store, const char *sql, hanse_err *err)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK ? HANSE_OK : fail_db(store, err);
}

/* A statement under way: bind in order, then step. Sticky: a failed bind shows in run() or next(). */
typedef struct query {
    hanse_site_store *store;
    sqlite3_stmt *stmt;
    int bound, status;
} query;

static inline query prepare(hanse_site_store *store, const char *sql)
{
    query q = {.store = store};

    q.status = sqlite3_prepare_v2(store->db, sql, -1, &q.stmt, NULL);
    return q;
}
static inline void bind_int(query *q, uint64_t value)
{
    if (q->status == SQLITE_OK)
        q->status = sqlite3_bind_int64(q->stmt, ++q->bound, (sqlite3_int64)value);
}
static inline void bind_blob(query *q, const void *data, size_t len)
{
    if (q->status == SQLITE_OK)
        q->status = sqlite3_bind_blob64(q->stmt, ++q->bound, len ? data : "", len, SQLITE_TRANSIENT);
}
static inline void bind_text(query *q, const char *text)
{
    if (q->status == SQLITE_OK)
        q->status = sqlite3_bind_text(q->stmt, ++q->bound, text, -1, SQLITE_TRANSIENT);
}
/* One row: OK; none: NOTFOUND with words that a caller replaces. */
static inline hanse_rc next(query *q, hanse_err *err)
{
    if (q->status == SQLITE_OK)
        q->status = sqlite3_step(q->stmt);
    if (q->status == SQLITE_ROW) {
        q->status = SQLITE_OK;
        return HANSE_OK;
    }
    if (q->status == SQLITE_DONE)
        return HANSE_FAIL(err, HANSE_E_NOTFOUND, "state.db: no such row");
    return fail_db(q->store, err);
}
static inline void finish(query *q)
{
    sqlite3_finalize(q->stmt);
}
static inline hanse_rc run(query *q, hanse_err *err)
{
    hanse_rc rc = next(q, err);

    finish(q);
    return rc == HANSE_E_NOTFOUND ? HANSE_OK : rc;
}
static inline uint64_t column_int(query *q, int column)
{
    return (uint64_t)sqlite3_column_int64(q->stmt, column);
}
static inline hanse_bytes column_blob(query *q, int column)
{
    return (hanse_bytes){sqlite3_column_blob(q->stmt, column), (size_t)sqlite3_column_bytes(q->stmt, column)};
}
/* A blob of fixed length; zeros when it is absent. */
static inline void column_raw(query *q, int column, void *out, size_t len)
{
    hanse_bytes blob = column_blob(q, column);

    memset(out, 0, len);
    if (blob.len == len)
        memcpy(out, blob.data, len);
}
static inline void column_text(query *q, int column, char *out, size_t room)
{
    hanse_text_copy(out, room, (hanse_bytes){sqlite3_column_text(q->stmt, column), (size_t)sqlite3_column_bytes(q->stmt, column)});
}

/* BEGIN ... COMMIT around what gave `rc`; on any error nothing of it stays. */
static inline void roll_back(hanse_site_store *store)
{
    if (sqlite3_get_autocommit(store->db) == 0) /* some errors have rolled back already */
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}
static inline hanse_rc begin(hanse_site_store *store, hanse_err *err)
{
    hanse_rc rc;

    roll_back(store); /* what an earlier failure may have left open: where memory is out, not even this works */
    rc = exec(store, "BEGIN IMMEDIATE", err);
    if (rc != HANSE_OK) /* it may have begun before it failed */
        roll_back(store);
    return rc;
}
static inline hanse_rc end(hanse_site_store *store, hanse_rc rc, hanse_err *err)
{
    if (rc == HANSE_OK)
        rc = exec(store, "COMMIT", err);
    if (rc != HANSE_OK)
        roll_back(store);
    return rc;
}

#endif
