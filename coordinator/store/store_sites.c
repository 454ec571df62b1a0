#include "coordinator/store/store_sqlite.h"

#include <assert.h>
#include <inttypes.h>

#define SITE_COLUMNS "name, organisation, uri, site_id, cert_tls, cert_sign, serial_tls, serial_sign, status, enrolled_ms, revoked_ms, seen_ms"

hanse_rc hanse_store_number_get(hanse_store *store, const char *key, int64_t *value, bool *found, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT value FROM meta WHERE key = ?", err);
    bool any;

    hanse_query_bind_text(&query, key);
    any = hanse_query_row(&query);
    if (any)
        *value = (int64_t)hanse_query_int(&query);
    if (query.rc == HANSE_OK)
        *found = any;
    return hanse_query_end(&query);
}

hanse_rc hanse_store_number_set(hanse_store *store, const char *key, int64_t value, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)", err);

    hanse_query_bind_text(&query, key);
    hanse_query_bind_int(&query, (uint64_t)value);
    return hanse_query_run(&query);
}

/* ---- sites ---- */
static void read_site(hanse_query *query, hanse_store_site *site)
{
    hanse_query_text(query, site->name, sizeof site->name);
    hanse_query_text(query, site->organisation, sizeof site->organisation);
    hanse_query_text(query, site->uri, sizeof site->uri);
    hanse_query_bytes(query, site->site_id, sizeof site->site_id);
    hanse_query_buf(query, &site->cert_tls);
    hanse_query_buf(query, &site->cert_sign);
    hanse_query_text(query, site->serial_tls, sizeof site->serial_tls);
    hanse_query_text(query, site->serial_sign, sizeof site->serial_sign);
    site->status = (hanse_store_status)hanse_query_choice(query, HANSE_STORE_REVOKED + 1);
    site->enrolled_ms = hanse_query_int(query);
    site->revoked_ms = hanse_query_int(query);
    site->seen_ms = hanse_query_int(query);
}

void hanse_store_site_clear(hanse_store_site *site)
{
    hanse_buf_clear(&site->cert_tls);
    hanse_buf_clear(&site->cert_sign);
    *site = (hanse_store_site){0};
}

void hanse_store_sites_free(hanse_store_site *sites, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hanse_store_site_clear(&sites[i]);
    hanse_free(sites);
}

hanse_rc hanse_store_sites(hanse_store *store, hanse_store_site **out, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT " SITE_COLUMNS " FROM site ORDER BY name", err);
    hanse_store_site *sites = NULL;
    size_t n = 0;

    while (hanse_query_row(&query)) {
        hanse_store_site *grown = hanse_rows_room(sites, n, sizeof *sites);

        if (grown == NULL) {
            query.rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory listing the sites");
            break;
        }
        sites = grown;
        read_site(&query, &sites[n++]);
    }
    if (query.rc == HANSE_OK) {
        *out = sites;
        *count = n;
    } else {
        hanse_store_sites_free(sites, n);
    }
    return hanse_query_end(&query);
}

/* The one site of a prepared query. `what` names it in the message. */
static hanse_rc one_site(hanse_query *query, const char *what, hanse_store_site *out, hanse_err *err)
{
    hanse_store_site site = {0};

    if (hanse_query_row(query))
        read_site(query, &site);
    else if (query->rc == HANSE_OK)
        query->rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "no site %s; `hanse-coordinator sites` lists them", what);
    if (query->rc == HANSE_OK)
        *out = site;
    else
        hanse_store_site_clear(&site);
    return hanse_query_end(query);
}

hanse_rc hanse_store_site_find(hanse_store *store, const char *name, hanse_store_site *out, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT " SITE_COLUMNS " FROM site WHERE name = ?", err);

    hanse_query_bind_text(&query, name);
    return one_site(&query, name, out, err);
}

hanse_rc hanse_store_site_by_id(hanse_store *store, const uint8_t site_id[32], hanse_store_site *out, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT " SITE_COLUMNS " FROM site WHERE site_id = ?", err);
    char hex[65];

    hanse_hex_encode(hex, site_id, 32);
    hanse_query_bind_blob(&query, site_id, 32);
    return one_site(&query, hex, out, err);
}

hanse_rc hanse_store_site_by_uri(hanse_store *store, const char *uri, hanse_store_site *out, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT " SITE_COLUMNS " FROM site WHERE uri = ?", err);

    hanse_query_bind_text(&query, uri);
    return one_site(&query, uri, out, err);
}

hanse_rc hanse_store_site_seen(hanse_store *store, const uint8_t site_id[32], uint64_t now_ms, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "UPDATE site SET seen_ms = ? WHERE site_id = ?", err);

    hanse_query_bind_int(&query, now_ms);
    hanse_query_bind_blob(&query, site_id, 32);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_site_revoke(hanse_store *store, const char *name, uint64_t now_ms, hanse_err *err)
{
    static const char *const steps[] = {
        "INSERT OR IGNORE INTO revoked(time_ms, serial) SELECT ?1, serial_tls FROM site WHERE name = ?2",
        "INSERT OR IGNORE INTO revoked(time_ms, serial) SELECT ?1, serial_sign FROM site WHERE name = ?2",
        "INSERT OR IGNORE INTO revoked(time_ms, serial) SELECT ?1, serial FROM renewed WHERE site_id = (SELECT site_id FROM site WHERE name = ?2)",
        "UPDATE site SET revoked_ms = ?1, status = 1 WHERE name = ?2 AND status = 0"};
    hanse_store_site site;
    hanse_rc rc = hanse_store_begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_store_site_find(store, name, &site, err);
    if (rc == HANSE_OK)
        hanse_store_site_clear(&site);
    for (size_t i = 0; rc == HANSE_OK && i < sizeof steps / sizeof steps[0]; i++) {
        hanse_query query = hanse_query_begin(store, steps[i], err);

        hanse_query_bind_int(&query, now_ms);
        hanse_query_bind_text(&query, name);
        rc = hanse_query_run(&query);
    }
    return hanse_store_end(store, rc, err);
}

#define RENEW_PAUSE_MS ((uint64_t)3600 * 1000) /* each certificate is kept in mind until it can be revoked no more: they must not be made without end */

static hanse_rc renewed_since(hanse_store *store, const uint8_t site_id[32], uint64_t since_ms, bool *any, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT 1 FROM renewed WHERE site_id = ? AND time_ms > ?", err);

    hanse_query_bind_blob(&query, site_id, 32);
    hanse_query_bind_int(&query, since_ms);
    *any = hanse_query_row(&query);
    return hanse_query_end(&query);
}

hanse_rc hanse_store_site_renew(hanse_store *store, const hanse_store_site *site, uint64_t now_ms, hanse_err *err)
{
    static const char *const steps[] = {
        "INSERT OR IGNORE INTO renewed(time_ms, site_id, serial) SELECT ?1, site_id, serial_tls FROM site WHERE site_id = ?2 AND status = 0",
        "INSERT OR IGNORE INTO renewed(time_ms, site_id, serial) SELECT ?1, site_id, serial_sign FROM site WHERE site_id = ?2 AND status = 0"};
    bool lately = false;
    hanse_rc rc = hanse_store_begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    rc = renewed_since(store, site->site_id, now_ms > RENEW_PAUSE_MS ? now_ms - RENEW_PAUSE_MS : 0, &lately, err);
    if (rc == HANSE_OK && lately)
        rc = HANSE_FAIL(err, HANSE_E_LATE, "the certificates of %s were renewed within the last hour", site->name);
    for (size_t i = 0; rc == HANSE_OK && i < sizeof steps / sizeof steps[0]; i++) {
        hanse_query query = hanse_query_begin(store, steps[i], err);

        hanse_query_bind_int(&query, now_ms);
        hanse_query_bind_blob(&query, site->site_id, 32);
        rc = hanse_query_run(&query);
    }
    if (rc == HANSE_OK) {
        hanse_query query = hanse_query_begin(store, "UPDATE site SET cert_tls = ?, cert_sign = ?, serial_tls = ?, serial_sign = ?"
                                                     " WHERE site_id = ? AND status = 0", err);

        hanse_query_bind_buf(&query, &site->cert_tls);
        hanse_query_bind_buf(&query, &site->cert_sign);
        hanse_query_bind_text(&query, site->serial_tls);
        hanse_query_bind_text(&query, site->serial_sign);
        hanse_query_bind_blob(&query, site->site_id, 32);
        rc = hanse_query_run(&query);
        if (rc == HANSE_OK && sqlite3_changes(store->db) != 1)
            rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "site %s is not enrolled, or was revoked", site->name);
    }
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, NULL, now_ms, err, "renewed site=%s", site->name);
    return hanse_store_end(store, rc, err);
}

hanse_rc hanse_store_revoked(hanse_store *store, hanse_store_serial **serials, uint64_t **times_ms, size_t *count, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT serial, time_ms FROM revoked ORDER BY time_ms, serial", err);
    hanse_store_serial *list = NULL;
    uint64_t *times = NULL;
    size_t n = 0;

    while (hanse_query_row(&query)) {
        void *grown = hanse_rows_room(list, n, sizeof *list);
        void *grown_times;

        list = grown == NULL ? list : grown;
        grown_times = hanse_rows_room(times, n, sizeof *times);
        times = grown_times == NULL ? times : grown_times;
        if (grown == NULL || grown_times == NULL) {
            query.rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory listing revoked certificates");
            break;
        }
        hanse_query_text(&query, list[n], sizeof list[n]);
        times[n++] = hanse_query_int(&query);
    }
    if (query.rc == HANSE_OK) {
        *serials = list;
        *times_ms = times;
        *count = n;
    } else {
        hanse_free(list);
        hanse_free(times);
    }
    return hanse_query_end(&query);
}

/* ---- invitations ---- */
void hanse_store_invitation_clear(hanse_store_invitation *invitation)
{
    hanse_buf_clear(&invitation->reply);
    *invitation = (hanse_store_invitation){0};
}

/* Is there an active site of this name (or, with `site_id`, of this key)? */
static hanse_rc is_taken(hanse_store *store, const char *name, const uint8_t *site_id, bool *taken, hanse_err *err)
{
    hanse_query query = hanse_query_begin(store, "SELECT 1 FROM site WHERE status = 0 AND (name = ? OR site_id = ?)", err);

    hanse_query_bind_text(&query, name);
    hanse_query_bind_blob(&query, site_id, site_id == NULL ? 0 : 32);
    *taken = hanse_query_row(&query);
    return hanse_query_end(&query);
}

hanse_rc hanse_store_invite(hanse_store *store, const hanse_store_invitation *invitation, uint64_t now_ms, hanse_err *err)
{
    bool taken = false;
    hanse_rc rc = hanse_store_begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    rc = is_taken(store, invitation->site, NULL, &taken, err);
    if (rc == HANSE_OK && taken)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "site %s is enrolled; revoke it first to invite it anew", invitation->site);
    if (rc == HANSE_OK) {
        hanse_query query = hanse_query_begin(store, "DELETE FROM invitation WHERE (site = ? AND keys_hash IS NULL) OR expires_ms < ?", err);

        hanse_query_bind_text(&query, invitation->site);
        hanse_query_bind_int(&query, now_ms);
        rc = hanse_query_run(&query);
    }
    if (rc == HANSE_OK) {
        hanse_query query = hanse_query_begin(store, "INSERT INTO invitation(token_hash, site, organisation, expires_ms) VALUES(?, ?, ?, ?)", err);

        hanse_query_bind_blob(&query, invitation->token_hash, 32);
        hanse_query_bind_text(&query, invitation->site);
        hanse_query_bind_text(&query, invitation->organisation);
        hanse_query_bind_int(&query, invitation->expires_ms);
        rc = hanse_query_run(&query);
    }
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, NULL, now_ms, err, "invited site=%s", invitation->site);
    return hanse_store_end(store, rc, err);
}

/* The row of a token, whatever its state. Errors: IDENTITY. */
static hanse_rc load_invitation(hanse_store *store, const uint8_t token_hash[32], hanse_store_invitation *out, hanse_err *err)
{
    hanse_query query = hanse_query_begin(
        store, "SELECT token_hash, site, organisation, expires_ms, reply, keys_hash FROM invitation WHERE token_hash = ?", err);

    hanse_query_bind_blob(&query, token_hash, 32);
    if (hanse_query_row(&query)) {
        hanse_query_bytes(&query, out->token_hash, 32);
        hanse_query_text(&query, out->site, sizeof out->site);
        hanse_query_text(&query, out->organisation, sizeof out->organisation);
        out->expires_ms = hanse_query_int(&query);
        hanse_query_buf(&query, &out->reply);
        out->bound = !hanse_query_null(&query);
        if (out->bound)
            hanse_query_bytes(&query, out->keys_hash, 32);
    } else if (query.rc == HANSE_OK) {
        query.rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "the invitation is unknown or withdrawn; ask the coordinator's operator for a new one");
    }
    return hanse_query_end(&query);
}

hanse_rc hanse_store_invitation_find(hanse_store *store, const uint8_t token_hash[32], const uint8_t keys_hash[32], uint64_t now_ms,
                                     hanse_store_invitation *out, hanse_err *err)
{
    hanse_store_invitation found = {0};
    hanse_rc rc = load_invitation(store, token_hash, &found, err);

    if (rc == HANSE_OK && now_ms >= found.expires_ms)
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "the invitation of %s has expired; ask the coordinator's operator for a new one", found.site);
    else if (rc == HANSE_OK && found.bound && memcmp(found.keys_hash, keys_hash, 32) != 0) /* both are public */
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "the invitation of %s was used with another key; if that was not %s, revoke it", found.site, found.site);
    if (rc == HANSE_E_IDENTITY) {
        /* The refusal counts for more than its record: a full disk must not turn it into another answer. */
        hanse_rc logged = hanse_store_event_add(store, NULL, now_ms, NULL, "enrolment refused site=%s: %s",
                                                found.site[0] == '\0' ? "-" : found.site, err == NULL ? "" : err->text);
        (void)logged;
    }
    if (rc == HANSE_OK)
        *out = found;
    else
        hanse_store_invitation_clear(&found);
    return rc;
}

static hanse_rc insert_site(hanse_store *store, const hanse_store_site *site, uint64_t now_ms, hanse_err *err)
{
    hanse_query query = hanse_query_begin(
        store, "INSERT OR REPLACE INTO site(" SITE_COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0)", err);

    hanse_query_bind_text(&query, site->name);
    hanse_query_bind_text(&query, site->organisation);
    hanse_query_bind_text(&query, site->uri);
    hanse_query_bind_blob(&query, site->site_id, 32);
    hanse_query_bind_buf(&query, &site->cert_tls);
    hanse_query_bind_buf(&query, &site->cert_sign);
    hanse_query_bind_text(&query, site->serial_tls);
    hanse_query_bind_text(&query, site->serial_sign);
    hanse_query_bind_int(&query, now_ms);
    return hanse_query_run(&query);
}

hanse_rc hanse_store_enrol(hanse_store *store, const uint8_t token_hash[32], const uint8_t keys_hash[32], const hanse_store_site *site,
                           hanse_bytes reply, uint64_t now_ms, hanse_err *err)
{
    hanse_store_invitation invitation = {0};
    bool taken = false;
    hanse_rc rc = hanse_store_begin(store, err);

    if (rc != HANSE_OK)
        return rc;
    rc = load_invitation(store, token_hash, &invitation, err);
    if (rc == HANSE_OK && invitation.bound)
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "the invitation of %s has been used meanwhile; try again", invitation.site);
    if (rc == HANSE_OK)
        rc = is_taken(store, site->name, site->site_id, &taken, err);
    if (rc == HANSE_OK && taken)
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "a site with the name or the key of %s is enrolled already", site->name);
    if (rc == HANSE_OK)
        rc = insert_site(store, site, now_ms, err);
    if (rc == HANSE_OK) {
        hanse_query query = hanse_query_begin(store, "UPDATE invitation SET keys_hash = ?, reply = ? WHERE token_hash = ?", err);

        hanse_query_bind_blob(&query, keys_hash, 32);
        hanse_query_bind_blob(&query, reply.data, reply.len);
        hanse_query_bind_blob(&query, token_hash, 32);
        rc = hanse_query_run(&query);
    }
    if (rc == HANSE_OK)
        rc = hanse_store_event_add(store, NULL, now_ms, err, "enrolled site=%s organisation=%s", site->name, site->organisation);
    hanse_store_invitation_clear(&invitation);
    return hanse_store_end(store, rc, err);
}
