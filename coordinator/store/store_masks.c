/* What masked rounds leave behind until they are published: epochs, tickets, specs, cuts, answers, aborts. */
#include "coordinator/store/store_sqlite.h"

#include <inttypes.h>

void hanse_store_masks_clear(hanse_store_masks *masks)
{
    hanse_buf_clear(&masks->spec);
    hanse_buf_clear(&masks->spec_sig);
    hanse_buf_clear(&masks->cut);
    hanse_buf_clear(&masks->cut_sig);
    hanse_buf_clear(&masks->deads);
    *masks = (hanse_store_masks){.slot = 0};
}

static void clear_left(hanse_store_left *row)
{
    hanse_buf_clear(&row->object);
    hanse_buf_clear(&row->sig);
    hanse_buf_clear(&row->extra);
}

void hanse_store_left_free(hanse_store_left *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        clear_left(&rows[i]);
    hanse_free(rows);
}

static void read_left(hanse_query *query, hanse_store_left *row)
{
    hanse_query_bytes(query, row->site_id, 32);
    hanse_query_buf(query, &row->object);
    hanse_query_buf(query, &row->sig);
    hanse_query_buf(query, &row->extra);
}

/* Rows of site_id, object, sig and extra. Ends the query. */
static hanse_rc collect(hanse_query *query, hanse_store_left **out, size_t *count)
{
    hanse_store_left *rows = NULL;
    size_t n = 0;

    while (hanse_query_row(query)) {
        hanse_store_left *grown = hanse_rows_room(rows, n, sizeof *rows);

        if (grown == NULL) {
            query->rc = HANSE_FAIL(query->err, HANSE_E_NOMEM, "out of memory listing what sites left");
            break;
        }
        rows = grown;
        read_left(query, &rows[n++]);
    }
    if (query->rc == HANSE_OK) {
        *out = rows;
        *count = n;
    } else {
        hanse_store_left_free(rows, n);
    }
    return hanse_query_end(query);
}

hanse_rc hanse_store_epoch_put(hanse_store *store, const uint8_t site_id[32], hanse_bytes object, hanse_bytes sig, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "INSERT OR REPLACE INTO epoch(site_id, object, sig) VALUES(?, ?, ?)", err);

    hanse_query_bind_blob(&query, site_id, 32);
    hanse_query_bind_blob(&query, object.data, object.len);
    hanse_query_bind_blob(&query, sig.data, sig.len);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_epochs(hanse_store *store, hanse_store_left **out, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT site_id, object, sig, x'' FROM epoch ORDER BY site_id", err);

    return collect(&query, out, count);
}

hanse_rc hanse_store_ticket_put(hanse_store *store, const uint8_t run_id[16], uint64_t slot, const uint8_t site_id[32], hanse_bytes object,
                                hanse_bytes sig, hanse_bytes shares, hanse_err *err)
{
    hanse_query query =
        hanse_query_begin(store, "INSERT OR IGNORE INTO ticket(run_id, slot, site_id, object, sig, shares) VALUES(?, ?, ?, ?, ?, ?)", err);

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, slot);
    hanse_query_bind_blob(&query, site_id, 32);
    hanse_query_bind_blob(&query, object.data, object.len);
    hanse_query_bind_blob(&query, sig.data, sig.len);
    hanse_query_bind_blob(&query, shares.data, shares.len);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_tickets(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_store_left **out, size_t *count, hanse_err *err)
{
    hanse_query query =
        hanse_query_begin(store, "SELECT site_id, object, sig, x'' FROM ticket WHERE run_id = ? AND slot = ? ORDER BY site_id", err);

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, slot);
    return collect(&query, out, count);
}

hanse_rc hanse_store_each_ticket(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_store_take_left *take, void *context,
                                 hanse_err *err)
{
    hanse_query query =
        hanse_query_begin(store, "SELECT site_id, object, sig, shares FROM ticket WHERE run_id = ? AND slot = ? ORDER BY site_id", err);
    hanse_store_left row = {.object = HANSE_BUF_EMPTY};

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, slot);
    while (hanse_query_row(&query)) {
        row.object.len = row.sig.len = row.extra.len = 0;
        read_left(&query, &row);
        if (query.rc == HANSE_OK)
            query.rc = take(context, &row, err);
    }
    clear_left(&row);
    return hanse_query_end(&query);
}

hanse_rc hanse_store_masks_get(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_store_masks *out, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT spec, spec_sig, cut, cut_sig, deads FROM masks WHERE run_id = ? AND slot = ?", err);
    hanse_store_masks masks = {.slot = slot};

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, slot);
    if (hanse_query_row(&query)) {
        hanse_query_buf(&query, &masks.spec);
        hanse_query_buf(&query, &masks.spec_sig);
        hanse_query_buf(&query, &masks.cut);
        hanse_query_buf(&query, &masks.cut_sig);
        hanse_query_buf(&query, &masks.deads);
    } else if (query.rc == HANSE_OK) {
        query.rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s has no masks of slot %" PRIu64, store->path, slot);
    }
    if (query.rc == HANSE_OK)
        *out = masks;
    else
        hanse_store_masks_clear(&masks);
    return hanse_query_end(&query);
}

hanse_rc hanse_store_cut_put(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_bytes cut, hanse_bytes sig, hanse_err *err)
{
    hanse_query query = hanse_query_begin(
        store, "UPDATE masks SET cut = ?1, cut_sig = ?2 WHERE run_id = ?3 AND slot = ?4 AND (length(cut) = 0 OR cut = ?1)", err);
    hanse_rc rc;

    hanse_query_bind_blob(&query, cut.data, cut.len);
    hanse_query_bind_blob(&query, sig.data, sig.len);
    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, slot);
    rc = hanse_query_run(&query);
    if (rc == HANSE_OK && sqlite3_changes(store->db) == 0)
        rc = HANSE_FAIL(err, HANSE_E_DUPLICATE, "slot %" PRIu64 " has another cut already", slot);
    return rc;
}

hanse_rc hanse_store_deads_put(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_bytes deads, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "UPDATE masks SET deads = ? WHERE run_id = ? AND slot = ?", err);

    hanse_query_bind_blob(&query, deads.data, deads.len);
    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, slot);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_aborted(hanse_store *store, const uint8_t run_id[16], hanse_store_masks **out, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store,
                                          "SELECT slot, deads FROM masks WHERE run_id = ?1 AND length(deads) > 0 AND slot > coalesce("
                                          "(SELECT max(slot) FROM round WHERE run_id = ?1 AND state = 1), -1) ORDER BY slot",
                                          err);
    hanse_store_masks *rows = NULL;
    size_t n = 0;

    hanse_query_bind_blob(&query, run_id, 16);
    while (hanse_query_row(&query)) {
        hanse_store_masks *grown = hanse_rows_room(rows, n, sizeof *rows);

        if (grown == NULL) {
            query.rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory listing aborted slots");
            break;
        }
        rows = grown;
        rows[n].slot = hanse_query_int(&query);
        hanse_query_buf(&query, &rows[n++].deads);
    }
    if (query.rc == HANSE_OK) {
        *out = rows;
        *count = n;
    } else {
        for (size_t i = 0; i < n; i++)
            hanse_store_masks_clear(&rows[i]);
        hanse_free(rows);
    }
    return hanse_query_end(&query);
}

hanse_rc hanse_store_answer_put(hanse_store *store, const uint8_t run_id[16], uint64_t slot, const uint8_t site_id[32], hanse_bytes sealed,
                                hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "INSERT OR REPLACE INTO answer(run_id, slot, site_id, sealed) VALUES(?, ?, ?, ?)", err);

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, slot);
    hanse_query_bind_blob(&query, site_id, 32);
    hanse_query_bind_blob(&query, sealed.data, sealed.len);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_answers(hanse_store *store, const uint8_t run_id[16], uint64_t slot, hanse_store_left **out, size_t *count, hanse_err *err)
{
    hanse_query query =
        hanse_query_begin(store, "SELECT site_id, sealed, x'', x'' FROM answer WHERE run_id = ? AND slot = ? ORDER BY site_id", err);

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, slot);
    return collect(&query, out, count);
}
