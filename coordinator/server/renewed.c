/* renewed.c - a run's roster with the certificates that its sites have now: the keys, and so the roster's hash, are those of the
 * submission, but a certificate ends before a long run does. In memory only: the store's row is what was submitted. */
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/log.h"

static const hanse_store_site *find(const hanse_store_site *sites, size_t count, const uint8_t id[32])
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(sites[i].site_id, id, 32) == 0)
            return &sites[i];
    return NULL;
}

/* The roster's certificates as views into `sites`; `changed`: one is another than before. */
static void exchange(hanse_roster *roster, const hanse_store_site *sites, size_t count, bool *changed)
{
    for (size_t i = 0; i < roster->sites_count; i++) {
        const hanse_store_site *site = find(sites, count, roster->sites[i].id);

        if (site == NULL || site->cert_sign.len == 0 || hanse_bytes_equal(hanse_buf_bytes(&site->cert_sign), roster->sites[i].cert))
            continue;
        roster->sites[i].cert = hanse_buf_bytes(&site->cert_sign);
        *changed = true;
    }
}

/* Encoded and signed anew, so that the run owns all of it and sites take it. */
static hanse_rc replace(hanse_live_run *run, const hanse_roster *with, hanse_err *err)
{
    hanse_buf bytes = HANSE_BUF_EMPTY, signature = HANSE_BUF_EMPTY;
    hanse_roster fresh = {.sites = NULL};
    uint8_t hash[32], sig[HANSE_SIG_MAX];
    size_t sig_len = 0;
    hanse_rc rc = hanse_roster_encode(&bytes, with, err);

    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&fresh, hanse_buf_bytes(&bytes), err);
    if (rc == HANSE_OK)
        rc = hanse_roster_hash(hash, &fresh, err);
    if (rc == HANSE_OK && memcmp(hash, run->row.roster_hash, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "another roster than was submitted");
    if (rc == HANSE_OK)
        rc = hanse_sign_object(run->server->sign_key, HANSE_ROSTER_LABEL, hanse_buf_bytes(&bytes), sig, &sig_len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&signature, sig, sig_len, err);
    if (rc != HANSE_OK) {
        hanse_buf_clear(&bytes);
        hanse_buf_clear(&signature);
    } else {
        for (size_t i = 0; i < fresh.sites_count; i++) /* in its place: a worker may be reading whose contribution it sums */
            run->roster.sites[i].cert = fresh.sites[i].cert;
        hanse_buf_clear(&run->row.roster);
        hanse_buf_clear(&run->row.roster_sig);
        run->row.roster = bytes;
        run->row.roster_sig = signature;
    }
    hanse_roster_clear(&fresh);
    return rc;
}

/* What verifies the sites' objects of a masked run; rounds that are open refer to it. */
static hanse_rc renew_members(hanse_live_run *run, const hanse_roster *with, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < with->sites_count; i++) {
        hanse_cert *cert = NULL;

        rc = hanse_cert_from_der(&cert, with->sites[i].cert, err);
        if (rc == HANSE_OK)
            rc = hanse_secagg_roster_renew(run->masks->roster, (uint32_t)i, cert, err);
        hanse_cert_free(cert);
    }
    hanse_masks_refresh(run);
    return rc;
}

hanse_rc hanse_live_run_renew(hanse_live_run *run, hanse_err *err)
{
    hanse_store_site *sites = NULL;
    size_t count = 0;
    hanse_roster roster = {.sites = NULL};
    bool changed = false;
    hanse_rc rc = hanse_store_sites(run->server->store, &sites, &count, err);

    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&roster, hanse_buf_bytes(&run->row.roster), err);
    if (rc == HANSE_OK)
        exchange(&roster, sites, count, &changed);
    if (rc == HANSE_OK && changed && run->masks != NULL)
        rc = renew_members(run, &roster, err);
    if (rc == HANSE_OK && changed) /* last: while it is not done, all of it is done again */
        rc = replace(run, &roster, err);
    hanse_roster_clear(&roster);
    hanse_store_sites_free(sites, count);
    return rc;
}

void hanse_live_runs_renew(hanse_server *server)
{
    for (hanse_live_run *run = server->runs; run != NULL; run = run->next) {
        hanse_err err = {0};

        if (run->row.state == HANSE_STORE_RUN_OPEN && hanse_live_run_renew(run, &err) != HANSE_OK)
            hanse_log(HANSE_LOG_ERROR, "roster_not_renewed run=%s reason=%s", run->row.name, err.text);
    }
}
