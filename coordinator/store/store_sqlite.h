/* store_sqlite.h - one SQLite statement from preparation to result, with an error that sticks; private to the store.
 *
 * Values are bound and columns read in the order of the calls. After the first error every call does nothing, so only the
 * end needs a check:
 *     hanse_query q = hanse_query_begin(store, "SELECT a FROM t WHERE b = ?", err);
 *     hanse_query_bind_int(&q, b);
 *     if (hanse_query_row(&q))
 *         a = hanse_query_int(&q);
 *     return hanse_query_end(&q); */
#ifndef HANSE_STORE_SQLITE_H
#define HANSE_STORE_SQLITE_H

#include "coordinator/store/store.h"

#include <sqlite3.h>

struct hanse_store {
    sqlite3 *db;
    hanse_path path;
};

/* The store with other migrations than its own: `steps` [steps_count], step i leads from schema i to i + 1. For tests of an
 * update from an older schema; hanse_store_open() is this with hanse_store_steps() [HANSE_STORE_SCHEMA]. */
HANSE_MUST_CHECK hanse_rc hanse_store_open_steps(hanse_store **out, const char *dir, bool create, const char *const *steps, int steps_count,
                                                 hanse_err *err);
const char *const *hanse_store_steps(void);

typedef struct hanse_query {
    hanse_store *store;
    sqlite3_stmt *handle;
    hanse_err *err;
    hanse_rc rc;
    int bound, column;
} hanse_query;

hanse_query hanse_query_begin(hanse_store *store, const char *sql, hanse_err *err);
void hanse_query_bind_int(hanse_query *query, uint64_t value); /* the 64 bits as they are */
void hanse_query_bind_real(hanse_query *query, double value);  /* NaN is NULL */
void hanse_query_bind_text(hanse_query *query, const char *text); /* borrowed until the end; NULL is NULL */
void hanse_query_bind_blob(hanse_query *query, const void *data, size_t len); /* borrowed until the end; data NULL and len > 0 is NULL */
void hanse_query_bind_buf(hanse_query *query, const hanse_buf *buf);
bool hanse_query_row(hanse_query *query); /* next row; false at the end and on error. A constraint is DUPLICATE */
uint64_t hanse_query_int(hanse_query *query);
double hanse_query_real(hanse_query *query); /* NULL is NaN */
void hanse_query_text(hanse_query *query, char *out, size_t size); /* CORRUPT when it does not fit */
void hanse_query_bytes(hanse_query *query, uint8_t *out, size_t len); /* exactly len, else CORRUPT */
void hanse_query_buf(hanse_query *query, hanse_buf *out); /* appended */
int hanse_query_choice(hanse_query *query, int count); /* an enum in [0, count), else CORRUPT */
bool hanse_query_null(const hanse_query *query); /* is the next column NULL? */
HANSE_MUST_CHECK hanse_rc hanse_query_end(hanse_query *query);
/* For statements without rows: the one step and the end. */
HANSE_MUST_CHECK hanse_rc hanse_query_run(hanse_query *query);
HANSE_MUST_CHECK hanse_rc hanse_query_exec(hanse_store *store, const char *sql, hanse_err *err);

/* All or nothing: begin, then end with the rc so far: commits OK, rolls back everything else, and returns what holds. */
HANSE_MUST_CHECK hanse_rc hanse_store_begin(hanse_store *store, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_store_end(hanse_store *store, hanse_rc rc, hanse_err *err);

/* A row for the round, and next_slot above its slot; within a transaction. Errors: as hanse_store_round_open(). */
HANSE_MUST_CHECK hanse_rc hanse_store_round_add(hanse_store *store, const hanse_store_round *round, hanse_err *err);

/* Room for item `count` of an array that doubles, zeroed; NULL when memory is out (`rows` stays valid). */
void *hanse_rows_room(void *rows, size_t count, size_t size);

#endif
