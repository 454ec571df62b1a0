/* watch.c - what an operator's monitoring looks at: days that certificates have left, and a few figures of the service. */
#include "coordinator/server/server.h"

#include "hanse/clock.h"
#include "hanse/file.h"
#include "hanse/log.h"
#include "hanse/gauges.h"

#include <inttypes.h>

#define DAY_S 86400
#define WARN_DAYS 30

/* Unix seconds; 0: unreadable, which its user says. */
static int64_t good_until(const hanse_server *server, const char *name)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_cert *cert = NULL;
    int64_t from, until = 0;
    hanse_path path;

    if (hanse_path_join(path, server->dir, name, NULL) == HANSE_OK && hanse_file_read(&pem, path, HANSE_CERT_PEM_MAX, NULL) == HANSE_OK &&
        hanse_cert_from_pem(&cert, hanse_buf_bytes(&pem), NULL) == HANSE_OK)
        hanse_cert_validity(cert, &from, &until);
    hanse_cert_free(cert);
    hanse_buf_clear(&pem);
    return until;
}

void hanse_watch(hanse_server *server, uint64_t now_ms)
{
    static const char *const files[] = {HANSE_CA_CERT_FILE, HANSE_TLS_CERT_FILE, HANSE_SIGN_CERT_FILE, HANSE_CRL_FILE};
    enum { FILES = sizeof files / sizeof *files };
    const int64_t now = (int64_t)(now_ms / 1000);
    hanse_gauge gauges[FILES + 2] = {{0}};
    size_t sites = 0, runs = 0;
    hanse_err err = {0};

    if (now_ms < server->watch_ms)
        return;
    server->watch_ms = now_ms + HANSE_GAUGES_EVERY_MS;
    for (size_t i = 0; i < FILES; i++) {
        const int64_t left_s = (i + 1 < FILES ? good_until(server, files[i]) : hanse_crl_next_update(server->crl)) - now;

        gauges[i] = (hanse_gauge){"certificate_days_left", files[i], (double)left_s / DAY_S};
        if (left_s < WARN_DAYS * DAY_S && now_ms >= server->warn_ms)
            hanse_log(HANSE_LOG_WARN, "certificate_expires file=%s days_left=%" PRId64, files[i], left_s / DAY_S);
    }
    if (now_ms >= server->warn_ms)
        server->warn_ms = now_ms + (uint64_t)DAY_S * 1000;
    for (const hanse_session *session = server->sessions; session != NULL; session = session->next)
        sites += session->greeted;
    for (const hanse_live_run *run = server->runs; run != NULL; run = run->next)
        runs += run->row.state == HANSE_STORE_RUN_OPEN;
    gauges[FILES] = (hanse_gauge){.name = "sites_connected", .value = (double)sites};
    gauges[FILES + 1] = (hanse_gauge){.name = "runs_open", .value = (double)runs};
    if (hanse_gauges_write(server->dir, gauges, FILES + 2, &err) != HANSE_OK)
        hanse_log(HANSE_LOG_DEBUG, "metrics_not_written reason=%s", err.text); /* nothing depends on them */
}
