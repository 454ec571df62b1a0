#include "coordinator/store/store_sqlite.h"

#include <inttypes.h>

#define ROUND_COLUMNS \
    "run_id, slot, round, attempt, kind, spec, spec_sig, spec_hash, model_before, opened_ms, deadline_ms, state, code, reason," \
    " model_after, weight, metrics_of, metrics, closed_ms, result, result_sig"
#define CONTRIBUTION_COLUMNS \
    "run_id, round, attempt, site_id, state, code, reason, header, header_sig, weight, bytes, receipt, receipt_sig, time_ms"

const char *hanse_store_round_state_name(hanse_store_round_state state)
{
    static const char *const names[] = {"open", "published", "void"};

    return names[state];
}

const char *hanse_store_part_name(hanse_store_part part)
{
    static const char *const names[] = {"uploading", "accepted", "rejected", "declined", "late", "absent"};

    return names[part];
}

void hanse_store_round_clear(hanse_store_round *round)
{
    hanse_buf_clear(&round->spec);
    hanse_buf_clear(&round->spec_sig);
    hanse_buf_clear(&round->masks);
    hanse_buf_clear(&round->masks_sig);
    hanse_buf_clear(&round->metrics);
    hanse_buf_clear(&round->result);
    hanse_buf_clear(&round->result_sig);
    *round = (hanse_store_round){0};
}

void hanse_store_rounds_free(hanse_store_round *rounds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hanse_store_round_clear(&rounds[i]);
    hanse_free(rounds);
}

static hanse_rc insert_round(hanse_store *store, const hanse_store_round *round, hanse_err *err)
{
    static const uint8_t zeros[32];
    hanse_query query = hanse_query_begin(
        store, "INSERT INTO round(" ROUND_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, '', ?12, 0, ?12, x'', 0, x'', x'')", err);

    hanse_query_bind_blob(&query, round->run_id, 16);
    hanse_query_bind_int(&query, round->slot);
    hanse_query_bind_int(&query, round->round);
    hanse_query_bind_int(&query, round->attempt);
    hanse_query_bind_int(&query, round->kind);
    hanse_query_bind_buf(&query, &round->spec);
    hanse_query_bind_buf(&query, &round->spec_sig);
    hanse_query_bind_blob(&query, round->spec_hash, 32);
    hanse_query_bind_blob(&query, round->model_before, 32);
    hanse_query_bind_int(&query, round->opened_ms);
    hanse_query_bind_int(&query, round->deadline_ms);
    hanse_query_bind_blob(&query, zeros, 32);
    return hanse_query_run(&query);
}

static hanse_rc insert_masks(hanse_store *store, const hanse_store_round *round, hanse_err *err)
{
    hanse_query query =
        hanse_query_begin(store, "INSERT INTO masks(run_id, slot, spec, spec_sig, cut, cut_sig, deads) VALUES(?, ?, ?, ?, x'', x'', x'')", err);

    hanse_query_bind_blob(&query, round->run_id, 16);
    hanse_query_bind_int(&query, round->slot);
    hanse_query_bind_buf(&query, &round->masks);
    hanse_query_bind_buf(&query, &round->masks_sig);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_round_add(hanse_store *store, const hanse_store_round *round, hanse_err *err)
{
    /* A slot is used once, ever: sites refuse one that is not above the last they took. */
    hanse_query query = hanse_query_begin(store, "UPDATE run SET next_slot = ?1 + 1 WHERE run_id = ?2 AND next_slot <= ?1 AND state = 0", err);
    hanse_rc rc;

    hanse_query_bind_int(&query, round->slot);
    hanse_query_bind_blob(&query, round->run_id, 16);
    rc = hanse_query_run(&query);
    if (rc == HANSE_OK && sqlite3_changes(store->db) == 0)
        rc = HANSE_FAIL(err, HANSE_E_DUPLICATE, "slot %" PRIu64 " was used before, or the run is not open", round->slot);
    return rc == HANSE_OK ? insert_round(store, round, err) : rc;
}

hanse_rc hanse_store_round_open(hanse_store *store, const hanse_store_round *round, hanse_err *err)
{
    static const char *const kinds[] = {"statistics", "training", "evaluation"};
    hanse_query query;
    hanse_rc rc = hanse_store_begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_store_round_add(store, round, err);
    if (rc == HANSE_OK && round->masks.len > 0)
        rc = insert_masks(store, round, err);
    if (rc == HANSE_OK) {
        query = hanse_query_begin(store, "DELETE FROM request WHERE kind = ? AND run_id = ?", err);
        hanse_query_bind_int(&query, HANSE_STORE_ASK_ROUND);
        hanse_query_bind_blob(&query, round->run_id, 16);
        rc = hanse_query_run(&query);
    }
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, round->run_id, round->opened_ms, err, "round %" PRIu64 " attempt %" PRIu32 " opened (%s)",
                                   round->round, round->attempt, round->kind < 3 ? kinds[round->kind] : "?");
    return hanse_store_end(store, rc, err);
}

static void read_round(hanse_query *query, hanse_store_round *round)
{
    hanse_query_bytes(query, round->run_id, 16);
    round->slot = hanse_query_int(query);
    round->round = hanse_query_int(query);
    round->attempt = (uint32_t)hanse_query_int(query);
    round->kind = (uint8_t)hanse_query_choice(query, 3);
    hanse_query_buf(query, &round->spec);
    hanse_query_buf(query, &round->spec_sig);
    hanse_query_bytes(query, round->spec_hash, 32);
    hanse_query_bytes(query, round->model_before, 32);
    round->opened_ms = hanse_query_int(query);
    round->deadline_ms = hanse_query_int(query);
    round->state = (hanse_store_round_state)hanse_query_choice(query, HANSE_STORE_ROUND_VOID + 1);
    round->code = (hanse_rc)(int64_t)hanse_query_int(query);
    hanse_query_text(query, round->reason, sizeof round->reason);
    hanse_query_bytes(query, round->model_after, 32);
    round->weight = hanse_query_int(query);
    hanse_query_bytes(query, round->metrics_of, 32);
    hanse_query_buf(query, &round->metrics);
    round->closed_ms = hanse_query_int(query);
    hanse_query_buf(query, &round->result);
    hanse_query_buf(query, &round->result_sig);
}

/* The first row of a query about one run, and one site if it asks for one. */
static hanse_rc one_round(hanse_store *store, const char *sql, const uint8_t run_id[16], const uint8_t *site_id, hanse_store_round *out, bool *found,
                          hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, sql, err);
    hanse_store_round round = {0};
    bool any;

    hanse_query_bind_blob(&query, run_id, 16);
    if (site_id != NULL)
        hanse_query_bind_blob(&query, site_id, 32);
    any = hanse_query_row(&query);
    if (any)
        read_round(&query, &round);
    if (query.rc == HANSE_OK) {
        *found = any;
        if (any)
            *out = round;
    } else {
        hanse_store_round_clear(&round);
    }
    return hanse_query_end(&query);
}

hanse_rc hanse_store_round_current(hanse_store *store, const uint8_t run_id[16], hanse_store_round *out, bool *found, hanse_err *err)
{
    return one_round(store, "SELECT " ROUND_COLUMNS " FROM round WHERE run_id = ? AND state = 0", run_id, NULL, out, found, err);
}

hanse_rc hanse_store_round_newest(hanse_store *store, const uint8_t run_id[16], hanse_store_round *out, bool *found, hanse_err *err)
{
    return one_round(store, "SELECT " ROUND_COLUMNS " FROM round WHERE run_id = ? ORDER BY slot DESC LIMIT 1", run_id, NULL, out, found, err);
}

hanse_rc hanse_store_round_counted(hanse_store *store, const uint8_t run_id[16], const uint8_t site_id[32], hanse_store_round *out, bool *found,
                                   hanse_err *err)
{
    return one_round(store, "SELECT " ROUND_COLUMNS " FROM round WHERE run_id = ? AND state = 1 AND kind <> 2 AND EXISTS(SELECT 1 FROM contribution c"
                            " WHERE c.run_id = round.run_id AND c.round = round.round AND c.attempt = round.attempt AND c.site_id = ? AND c.state = 1)"
                            " ORDER BY slot DESC LIMIT 1", run_id, site_id, out, found, err);
}

hanse_rc hanse_store_rounds(hanse_store *store, const uint8_t run_id[16], hanse_store_round **out, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT " ROUND_COLUMNS " FROM round WHERE run_id = ? ORDER BY slot", err);
    hanse_store_round *rounds = NULL;
    size_t n = 0;

    hanse_query_bind_blob(&query, run_id, 16);
    while (hanse_query_row(&query)) {
        hanse_store_round *grown = hanse_rows_room(rounds, n, sizeof *rounds);

        if (grown == NULL) {
            query.rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory listing the rounds");
            break;
        }
        rounds = grown;
        read_round(&query, &rounds[n++]);
    }
    if (query.rc == HANSE_OK) {
        *out = rounds;
        *count = n;
    } else {
        hanse_store_rounds_free(rounds, n);
    }
    return hanse_query_end(&query);
}

/* ---- contributions ---- */
static hanse_rc write_contribution(hanse_store *store, const hanse_store_contribution *c, hanse_err *err)
{
    hanse_query query = hanse_query_begin(
        store, "INSERT OR REPLACE INTO contribution(" CONTRIBUTION_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", err);

    hanse_query_bind_blob(&query, c->run_id, 16);
    hanse_query_bind_int(&query, c->round);
    hanse_query_bind_int(&query, c->attempt);
    hanse_query_bind_blob(&query, c->site_id, 32);
    hanse_query_bind_int(&query, c->state);
    hanse_query_bind_text(&query, c->code);
    hanse_query_bind_text(&query, c->reason);
    hanse_query_bind_buf(&query, &c->header);
    hanse_query_bind_buf(&query, &c->header_sig);
    hanse_query_bind_int(&query, c->weight);
    hanse_query_bind_int(&query, c->bytes);
    hanse_query_bind_buf(&query, &c->receipt);
    hanse_query_bind_buf(&query, &c->receipt_sig);
    hanse_query_bind_int(&query, c->time_ms);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_contribution_put(hanse_store *store, const hanse_store_contribution *contribution, hanse_err *err)
{
    bool after = contribution->state == HANSE_STORE_PART_LATE || contribution->state == HANSE_STORE_PART_ABSENT;
    bool settled = false;
    hanse_query query;
    hanse_rc rc = hanse_store_begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    query = hanse_query_begin(store,
                              "SELECT 1 FROM contribution WHERE run_id = ?1 AND round = ?2 AND attempt = ?3 AND site_id = ?4 AND state = ?5"
                              " UNION SELECT 1 FROM round WHERE run_id = ?1 AND round = ?2 AND attempt = ?3 AND state <> 0 AND ?6 = 0", err);
    hanse_query_bind_blob(&query, contribution->run_id, 16);
    hanse_query_bind_int(&query, contribution->round);
    hanse_query_bind_int(&query, contribution->attempt);
    hanse_query_bind_blob(&query, contribution->site_id, 32);
    hanse_query_bind_int(&query, HANSE_STORE_PART_ACCEPTED);
    hanse_query_bind_int(&query, after);
    settled = hanse_query_row(&query);
    rc = hanse_query_end(&query);
    if (rc == HANSE_OK && settled)
        rc = HANSE_FAIL(err, HANSE_E_DUPLICATE, "round %" PRIu64 " is closed, or the contribution was accepted before", contribution->round);
    if (rc == HANSE_OK)
        rc = write_contribution(store, contribution, err);
    return hanse_store_end(store, rc, err);
}

hanse_rc hanse_store_contribution_lost(hanse_store *store, const hanse_store_contribution *contribution, uint64_t now_ms, const char *reason,
                                       hanse_err *err)
{
    hanse_query query;
    hanse_rc rc = hanse_store_begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    query = hanse_query_begin(store,
                              "UPDATE contribution SET state = ?, code = ?, reason = ?, receipt = x'', receipt_sig = x''"
                              " WHERE run_id = ? AND round = ? AND attempt = ? AND site_id = ?", err);
    hanse_query_bind_int(&query, HANSE_STORE_PART_ABSENT);
    hanse_query_bind_text(&query, hanse_rc_name(HANSE_E_CORRUPT));
    hanse_query_bind_text(&query, "lost on the coordinator's disk");
    hanse_query_bind_blob(&query, contribution->run_id, 16);
    hanse_query_bind_int(&query, contribution->round);
    hanse_query_bind_int(&query, contribution->attempt);
    hanse_query_bind_blob(&query, contribution->site_id, 32);
    rc = hanse_query_run(&query);
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, contribution->run_id, now_ms, err, "a contribution to round %" PRIu64 " is lost: %s", contribution->round,
                                   reason);
    return hanse_store_end(store, rc, err);
}

static void read_contribution(hanse_query *query, hanse_store_contribution *c)
{
    hanse_query_bytes(query, c->run_id, 16);
    c->round = hanse_query_int(query);
    c->attempt = (uint32_t)hanse_query_int(query);
    hanse_query_bytes(query, c->site_id, 32);
    c->state = (hanse_store_part)hanse_query_choice(query, HANSE_STORE_PART_ABSENT + 1);
    hanse_query_text(query, c->code, sizeof c->code);
    hanse_query_text(query, c->reason, sizeof c->reason);
    hanse_query_buf(query, &c->header);
    hanse_query_buf(query, &c->header_sig);
    c->weight = hanse_query_int(query);
    c->bytes = hanse_query_int(query);
    hanse_query_buf(query, &c->receipt);
    hanse_query_buf(query, &c->receipt_sig);
    c->time_ms = hanse_query_int(query);
}

hanse_rc hanse_store_contributions(hanse_store *store, const uint8_t run_id[16], uint64_t round, uint32_t attempt,
                                   hanse_store_contribution **out, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(
        store, "SELECT " CONTRIBUTION_COLUMNS " FROM contribution WHERE run_id = ? AND round = ? AND attempt = ? ORDER BY site_id", err);
    hanse_store_contribution *list = NULL;
    size_t n = 0;

    hanse_query_bind_blob(&query, run_id, 16);
    hanse_query_bind_int(&query, round);
    hanse_query_bind_int(&query, attempt);
    while (hanse_query_row(&query)) {
        hanse_store_contribution *grown = hanse_rows_room(list, n, sizeof *list);

        if (grown == NULL) {
            query.rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory listing the contributions");
            break;
        }
        list = grown;
        read_contribution(&query, &list[n++]);
    }
    if (query.rc == HANSE_OK) {
        *out = list;
        *count = n;
    } else {
        hanse_store_contributions_free(list, n);
    }
    return hanse_query_end(&query);
}

void hanse_store_contributions_free(hanse_store_contribution *contributions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hanse_buf_clear(&contributions[i].header);
        hanse_buf_clear(&contributions[i].header_sig);
        hanse_buf_clear(&contributions[i].receipt);
        hanse_buf_clear(&contributions[i].receipt_sig);
    }
    hanse_free(contributions);
}
