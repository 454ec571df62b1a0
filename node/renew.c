/* renew.c - this site's certificates: how long they are good, and others for the same keys in time; and the metrics that say so. */
#include "node/renew.h"

#include "hanse/clock.h"
#include "hanse/log.h"
#include "hanse/gauges.h"

#include <inttypes.h>

#define DAY_S 86400
#define LOOK_MS ((uint64_t)DAY_S * 1000)
#define WARN_DAYS 30

enum { CERTS = 4 };

static hanse_rc ask(hanse_agent *agent, hanse_err *err)
{
    hanse_buf tls = HANSE_BUF_EMPTY, sign = HANSE_BUF_EMPTY;
    hanse_message message = {.kind = HANSE_RENEW};
    hanse_rc rc = hanse_csr_new(agent->keys.tls, &tls, err);

    if (rc == HANSE_OK)
        rc = hanse_csr_new(agent->keys.sign, &sign, err);
    if (rc == HANSE_OK) {
        message.renew.csr_tls = hanse_buf_bytes(&tls);
        message.renew.csr_sign = hanse_buf_bytes(&sign);
        rc = hanse_agent_send(agent, &message, err);
    }
    hanse_buf_clear(&tls);
    hanse_buf_clear(&sign);
    agent->renewing = rc == HANSE_OK;
    return rc;
}

/* Warns, fills `gauges` [CERTS], and says whether it is time for new ones. */
static bool look(const hanse_agent *agent, uint64_t now_ms, bool warn, hanse_gauge *gauges)
{
    const struct { const char *name; const hanse_cert *cert; } certs[CERTS] = {
        {HANSE_NODE_TLS_CERT, agent->keys.tls_cert}, {HANSE_NODE_SIGN_CERT, agent->keys.sign_cert},
        {HANSE_NODE_COORDINATOR, agent->keys.coordinator}, {HANSE_NODE_CA, agent->keys.ca}};
    const int64_t now = (int64_t)(now_ms / 1000);
    bool due = false;

    for (size_t i = 0; i < CERTS; i++) {
        int64_t from, until, margin = 0; /* the CA's is not renewed; the coordinator's comes with the site's own */

        hanse_cert_validity(certs[i].cert, &from, &until);
        gauges[i] = (hanse_gauge){"certificate_days_left", certs[i].name, (double)(until - now) / DAY_S};
        if (warn && until - now < WARN_DAYS * DAY_S)
            hanse_log(HANSE_LOG_WARN, "certificate_expires file=%s days_left=%" PRId64, certs[i].name, (until - now) / DAY_S);
        if (i < 2 && agent->config->renew_days > 0)
            margin = (int64_t)agent->config->renew_days * DAY_S;
        else if (i < 2)
            margin = (until - from) / 3;
        else if (i == 2)
            margin = WARN_DAYS * DAY_S;
        due = due || until - now < margin;
    }
    return due;
}

hanse_rc hanse_agent_renew_tick(hanse_agent *agent, uint64_t now_ms, hanse_err *err)
{
    const bool daily = now_ms >= agent->renew_look_ms;
    hanse_gauge gauges[CERTS + 1] = {{0}};
    hanse_err why = {0};
    bool due;

    if (agent->options.look || (now_ms < agent->metrics_ms && !(daily && agent->welcomed)))
        return HANSE_OK;
    agent->metrics_ms = now_ms + HANSE_GAUGES_EVERY_MS;
    due = look(agent, now_ms, now_ms >= agent->expiry_warned_ms, gauges);
    if (now_ms >= agent->expiry_warned_ms)
        agent->expiry_warned_ms = now_ms + LOOK_MS;
    gauges[CERTS] = (hanse_gauge){.name = "connected", .value = agent->welcomed};
    if (hanse_gauges_write(agent->dir, gauges, CERTS + 1, &why) != HANSE_OK)
        hanse_log(HANSE_LOG_DEBUG, "metrics_not_written reason=%s", why.text); /* nothing depends on them */
    if (!daily || !agent->welcomed)
        return HANSE_OK;
    agent->renew_look_ms = now_ms + LOOK_MS;
    return due ? ask(agent, err) : HANSE_OK;
}

/* The coordinator's may be newer than ours: of the same key, else it is another coordinator. */
static hanse_rc take_coordinator(hanse_agent *agent, hanse_bytes pem, const hanse_trust *trust, hanse_err *err)
{
    hanse_cert *cert = NULL;
    hanse_path path;
    hanse_rc rc = hanse_node_cert_check(&cert, pem, trust, HANSE_PROFILE_COORDINATOR_SIGN, hanse_cert_key(agent->keys.coordinator), err);

    if (rc == HANSE_OK)
        rc = hanse_path_join(path, agent->dir, HANSE_NODE_COORDINATOR, err);
    if (rc == HANSE_OK)
        rc = hanse_file_write(path, pem, HANSE_MODE_PUBLIC, err);
    if (rc != HANSE_OK) {
        hanse_cert_free(cert);
        return rc;
    }
    hanse_cert_free(agent->keys.coordinator);
    agent->keys.coordinator = cert;
    agent->keys.trust.coordinator = cert;
    hanse_node_keys_vet(&agent->keys, hanse_clock_wall_ms());
    return HANSE_OK;
}

static hanse_rc write_in(const char *dir, const char *name, hanse_bytes pem, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, name, err);

    return rc == HANSE_OK ? hanse_file_write(path, pem, HANSE_MODE_PUBLIC, err) : rc;
}

/* Old and new ones go together, so a crash between the two files costs nothing. */
static hanse_rc take_own(hanse_agent *agent, const hanse_msg_renewed *message, const hanse_trust *trust, hanse_err *err)
{
    hanse_node_keys *keys = &agent->keys;
    hanse_cert *tls = NULL, *sign = NULL;
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_node_cert_check(&tls, message->cert_tls, trust, HANSE_PROFILE_SITE_TLS, keys->tls, err);

    if (rc == HANSE_OK)
        rc = hanse_node_cert_check(&sign, message->cert_sign, trust, HANSE_PROFILE_SITE_SIGN, keys->sign, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_match(tls, sign, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_match(tls, keys->sign_cert, err); /* the names stay */
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&pem, message->cert_tls.data, message->cert_tls.len, err);
    if (rc == HANSE_OK)
        rc = write_in(agent->dir, HANSE_NODE_SIGN_CERT, message->cert_sign, err);
    if (rc == HANSE_OK)
        rc = write_in(agent->dir, HANSE_NODE_TLS_CERT, message->cert_tls, err);
    if (rc != HANSE_OK) {
        hanse_cert_free(tls);
        hanse_cert_free(sign);
        hanse_buf_clear(&pem);
        return rc;
    }
    hanse_cert_free(keys->tls_cert);
    hanse_cert_free(keys->sign_cert);
    hanse_buf_clear(&keys->tls_pem);
    keys->tls_cert = tls;
    keys->sign_cert = sign;
    keys->tls_pem = pem; /* from the next connection on */
    return HANSE_OK;
}

hanse_rc hanse_agent_on_renewed(hanse_agent *agent, const hanse_msg_renewed *message, hanse_err *err)
{
    const hanse_trust trust = {.ca = agent->keys.ca, .crl = agent->keys.crl};
    char words[HANSE_REASON_MAX + 1];
    int64_t from, until;
    hanse_rc rc;

    if (!agent->renewing)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "RENEWED, and nobody asked");
    agent->renewing = false;
    rc = take_coordinator(agent, message->coordinator_sign, &trust, err);
    if (rc == HANSE_OK && message->cert_tls.len == 0) {
        hanse_text_copy(words, sizeof words, message->reason);
        hanse_log(HANSE_LOG_WARN, "certificates_not_renewed reason=%s", words);
        return HANSE_OK;
    }
    if (rc == HANSE_OK)
        rc = take_own(agent, message, &trust, err);
    if (rc != HANSE_OK)
        return rc;
    hanse_cert_validity(agent->keys.sign_cert, &from, &until);
    hanse_log(HANSE_LOG_INFO, "certificates_renewed days=%" PRId64, (until - (int64_t)(hanse_clock_wall_ms() / 1000)) / DAY_S);
    return HANSE_OK;
}
