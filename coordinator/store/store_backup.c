#include "coordinator/store/store_sqlite.h"

#include <fcntl.h>
#include <unistd.h>

#define STEP_PAGES 256 /* copied at a time; between steps others may write */

/* SQLite starts over when somebody writes through another connection; one step over all pages cannot be disturbed. */
hanse_rc hanse_store_snapshot(hanse_store *store, const char *path, hanse_err *err)
{
    sqlite3 *copy = NULL;
    sqlite3_backup *backup = NULL;
    int code = SQLITE_OK, tries = 0, fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, HANSE_MODE_SECRET);

    if (fd < 0)
        return HANSE_FAIL_ERRNO(err, "%s", path);
    close(fd);
    if (sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
        backup = sqlite3_backup_init(copy, "main", store->db, "main");
    code = backup == NULL ? sqlite3_errcode(copy) : SQLITE_OK;
    while (backup != NULL && (code = sqlite3_backup_step(backup, tries < 100 ? STEP_PAGES : -1)) != SQLITE_DONE) {
        if (code != SQLITE_OK && code != SQLITE_BUSY && code != SQLITE_LOCKED)
            break;
        if (code != SQLITE_OK)
            (void)sqlite3_sleep(10);
        if (++tries > 2000)
            break;
    }
    if (backup != NULL && sqlite3_backup_finish(backup) != SQLITE_OK && code == SQLITE_DONE)
        code = SQLITE_IOERR;
    /* One file: no journal beside it. */
    if (code == SQLITE_DONE && sqlite3_exec(copy, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL) != SQLITE_OK)
        code = SQLITE_IOERR;
    sqlite3_close(copy);
    if (code == SQLITE_DONE)
        return HANSE_OK;
    (void)unlink(path);
    if ((code & 0xff) == SQLITE_FULL)
        return HANSE_FAIL(err, HANSE_E_FULL, "%s: no room to write; free disk space and try again", path);
    return HANSE_FAIL(err, HANSE_E_IO, "%s: cannot copy %s into it (%s)", path, store->path, sqlite3_errstr(code));
}

static hanse_rc check_pages(hanse_store *store, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "PRAGMA integrity_check(1)", err);
    char verdict[64] = "";

    if (hanse_query_row(&query))
        hanse_query_text(&query, verdict, sizeof verdict);
    if (query.rc == HANSE_OK && strcmp(verdict, "ok") != 0)
        query.rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is damaged; use another backup", store->path);
    return hanse_query_end(&query);
}

hanse_rc hanse_store_restored(hanse_store *store, uint64_t now_ms, size_t *voided, hanse_err *err)
{
    static const char *const past[] = {"DELETE FROM request", "DELETE FROM ticket", "DELETE FROM answer"}; /* tickets are for slots that are skipped */
    hanse_query query;
    hanse_rc rc = check_pages(store, err);

    if (rc == HANSE_OK)
        rc = hanse_store_begin(store, err);
    if (rc != HANSE_OK)
        return rc;
    query = hanse_query_begin(store, "UPDATE contribution SET state = 4, time_ms = ? WHERE state = 0", err); /* uploading: late */
    hanse_query_bind_int(&query, now_ms);
    rc = hanse_query_run(&query);
    if (rc == HANSE_OK) { /* no result: whatever the lost coordinator signed for that slot, there is no second one */
        query = hanse_query_begin(store, "UPDATE round SET state = 2, code = ?, reason = 'open when the backup was made', closed_ms = ? WHERE state = 0",
                                  err);
        hanse_query_bind_int(&query, (uint64_t)(int64_t)HANSE_E_FAILED);
        hanse_query_bind_int(&query, now_ms);
        rc = hanse_query_run(&query);
        *voided = rc == HANSE_OK ? (size_t)sqlite3_changes(store->db) : 0;
    }
    if (rc == HANSE_OK) {
        query = hanse_query_begin(store, "UPDATE run SET next_slot = next_slot + ? WHERE state = 0", err);
        hanse_query_bind_int(&query, HANSE_STORE_SLOTS_SKIPPED);
        rc = hanse_query_run(&query);
    }
    for (size_t i = 0; rc == HANSE_OK && i < sizeof past / sizeof *past; i++)
        rc = hanse_query_exec(store, past[i], err);
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, NULL, now_ms, err, "restored from a backup, open rounds made void: %zu", *voided);
    return hanse_store_end(store, rc, err);
}
