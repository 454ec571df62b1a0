/* enrol.c - certificates: for an invited site, the only thing that is served without one, and for a site that renews its own. */
#include "coordinator/server/server.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/log.h"

#define CERT_DAYS 365

/* The key may be kept offline between enrolments: it is read each time, and wiped. */
static hanse_rc read_ca_key(const hanse_server *server, hanse_key **key, hanse_err *err)
{
    hanse_path path;
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_path_join(path, server->dir, HANSE_CA_KEY_FILE, err);

    if (rc == HANSE_OK)
        rc = hanse_file_read(&pem, path, 4096, err);
    if (rc == HANSE_E_NOTFOUND)
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "the consortium's CA key is offline: its operator must put it back to enrol sites");
    if (rc == HANSE_OK)
        rc = hanse_key_from_pem(key, hanse_buf_bytes(&pem), err);
    hanse_buf_wipe(&pem);
    return rc;
}

static hanse_rc hash_keys(const hanse_msg_enrol *request, uint8_t keys_hash[32], hanse_err *err)
{
    uint8_t ids[64];
    hanse_rc rc = hanse_csr_key_id(request->csr_tls, ids, err);

    if (rc == HANSE_OK)
        rc = hanse_csr_key_id(request->csr_sign, ids + 32, err);
    return rc == HANSE_OK ? hanse_sha256(keys_hash, (hanse_bytes){ids, sizeof ids}, err) : rc;
}

static hanse_rc issue(const hanse_server *server, const hanse_key *ca_key, const char *organisation, const char *name, hanse_profile profile,
                      hanse_bytes csr, hanse_buf *pem, hanse_buf *der, hanse_cert_info *info, hanse_err *err)
{
    hanse_issue order = {.profile = profile, .organisation = organisation, .site = name,
                         .now = (int64_t)(hanse_clock_wall_ms() / 1000), .days = CERT_DAYS};
    hanse_cert *cert = NULL;
    hanse_rc rc = hanse_cert_issue(&cert, server->ca, ca_key, csr, &order, err);

    if (rc == HANSE_OK)
        rc = hanse_cert_to_pem(cert, pem, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_to_der(cert, der, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_read(cert, info, err);
    hanse_cert_free(cert);
    return rc;
}

/* Both certificates of a site, into `site` and as PEM. */
static hanse_rc issue_both(const hanse_server *server, const hanse_key *ca_key, const char *organisation, const char *name, hanse_bytes csr_tls,
                           hanse_bytes csr_sign, hanse_store_site *site, hanse_buf *tls_pem, hanse_buf *sign_pem, hanse_cert_info *sign, hanse_err *err)
{
    hanse_cert_info tls;
    hanse_rc rc = issue(server, ca_key, organisation, name, HANSE_PROFILE_SITE_TLS, csr_tls, tls_pem, &site->cert_tls, &tls, err);

    if (rc == HANSE_OK)
        rc = issue(server, ca_key, organisation, name, HANSE_PROFILE_SITE_SIGN, csr_sign, sign_pem, &site->cert_sign, sign, err);
    if (rc == HANSE_OK) {
        hanse_hex_encode(site->serial_tls, tls.serial, sizeof tls.serial);
        hanse_hex_encode(site->serial_sign, sign->serial, sizeof sign->serial);
    }
    return rc;
}

static hanse_rc enrol_new(hanse_server *server, const hanse_msg_enrol *request, const hanse_store_invitation *invitation,
                          const uint8_t keys_hash[32], hanse_buf *reply, hanse_err *err)
{
    hanse_store_site site = {.status = HANSE_STORE_ACTIVE, .enrolled_ms = hanse_clock_wall_ms()};
    hanse_message message = {.kind = HANSE_ENROLLED};
    hanse_buf tls_pem = HANSE_BUF_EMPTY, sign_pem = HANSE_BUF_EMPTY;
    hanse_cert_info sign;
    hanse_key *ca_key = NULL;
    hanse_rc rc = read_ca_key(server, &ca_key, err);

    if (rc == HANSE_OK)
        rc = issue_both(server, ca_key, invitation->organisation, invitation->site, request->csr_tls, request->csr_sign, &site, &tls_pem, &sign_pem, &sign, err);
    if (rc != HANSE_OK)
        goto done;
    memcpy(site.name, invitation->site, sizeof site.name);
    memcpy(site.organisation, invitation->organisation, sizeof site.organisation);
    hanse_text_copy(site.uri, sizeof site.uri, hanse_bytes_str(sign.uri));
    memcpy(site.site_id, sign.key_id, 32);
    message.enrolled.cert_tls = hanse_buf_bytes(&tls_pem);
    message.enrolled.cert_sign = hanse_buf_bytes(&sign_pem);
    message.enrolled.coordinator_sign = hanse_buf_bytes(&server->sign_cert_pem);
    rc = hanse_message_encode(reply, &message, err);
    if (rc == HANSE_OK) {
        uint8_t token_hash[32];

        rc = hanse_sha256(token_hash, (hanse_bytes){request->token, sizeof request->token}, err);
        if (rc == HANSE_OK)
            rc = hanse_store_enrol(server->store, token_hash, keys_hash, &site, hanse_buf_bytes(reply), hanse_clock_wall_ms(), err);
    }

done:
    hanse_key_free(ca_key);
    hanse_buf_clear(&tls_pem);
    hanse_buf_clear(&sign_pem);
    hanse_store_site_clear(&site);
    return rc;
}

void hanse_enrol(hanse_session *session, const hanse_msg_enrol *request)
{
    hanse_server *server = session->server;
    hanse_store_invitation invitation = {0};
    hanse_buf reply = HANSE_BUF_EMPTY;
    hanse_message message;
    uint8_t token_hash[32], keys_hash[32];
    hanse_err err = {0};
    hanse_rc rc = HANSE_OK;

    if (request->protocol != HANSE_PROTOCOL)
        rc = HANSE_FAIL(&err, HANSE_E_VERSION, "protocol %u, this coordinator speaks %d", request->protocol, HANSE_PROTOCOL);
    if (rc == HANSE_OK)
        rc = hash_keys(request, keys_hash, &err);
    if (rc == HANSE_OK)
        rc = hanse_sha256(token_hash, (hanse_bytes){request->token, sizeof request->token}, &err);
    if (rc == HANSE_OK)
        rc = hanse_store_invitation_find(server->store, token_hash, keys_hash, hanse_clock_wall_ms(), &invitation, &err);
    if (rc == HANSE_OK && invitation.bound)
        rc = hanse_buf_append(&reply, invitation.reply.data, invitation.reply.len, &err); /* the same keys again: a crash loses nothing */
    else if (rc == HANSE_OK)
        rc = enrol_new(server, request, &invitation, keys_hash, &reply, &err);
    if (rc == HANSE_OK)
        rc = hanse_message_decode(&message, hanse_buf_bytes(&reply), HANSE_FROM_COORDINATOR, &err);
    if (rc == HANSE_OK) {
        hanse_log(HANSE_LOG_INFO, "site_enrolled site=%s", invitation.site);
        hanse_session_send(session, &message);
        session->closing = true; /* it comes back with its certificate */
    } else {
        hanse_session_refuse(session, rc, err.text);
    }
    hanse_buf_clear(&reply);
    hanse_store_invitation_clear(&invitation);
}

/* ---- renewal ---- */

/* Is the request for the key of the certificate that the site has? */
static hanse_rc same_key(hanse_bytes csr, const hanse_buf *cert_der, hanse_err *err)
{
    hanse_cert *cert = NULL;
    hanse_cert_info info;
    uint8_t id[32];
    hanse_rc rc = hanse_csr_key_id(csr, id, err);

    if (rc == HANSE_OK)
        rc = hanse_cert_from_der(&cert, hanse_buf_bytes(cert_der), err);
    if (rc == HANSE_OK)
        rc = hanse_cert_read(cert, &info, err);
    if (rc == HANSE_OK && memcmp(id, info.key_id, 32) != 0) /* public */
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "a renewal is for the keys that the site has; for others it must be enrolled anew");
    hanse_cert_free(cert);
    return rc;
}

static hanse_rc renew(hanse_server *server, const hanse_store_site *site, const hanse_msg_renew *request, hanse_buf *tls_pem, hanse_buf *sign_pem, hanse_err *err)
{
    hanse_store_site fresh = {.name = ""};
    hanse_cert_info sign;
    hanse_key *ca_key = NULL;
    hanse_rc rc = same_key(request->csr_tls, &site->cert_tls, err);

    if (rc == HANSE_OK)
        rc = same_key(request->csr_sign, &site->cert_sign, err);
    if (rc == HANSE_OK)
        rc = read_ca_key(server, &ca_key, err);
    if (rc == HANSE_OK)
        rc = issue_both(server, ca_key, site->organisation, site->name, request->csr_tls, request->csr_sign, &fresh, tls_pem, sign_pem, &sign, err);
    if (rc == HANSE_OK) {
        memcpy(fresh.name, site->name, sizeof fresh.name);
        memcpy(fresh.site_id, site->site_id, 32);
        rc = hanse_store_site_renew(server->store, &fresh, hanse_clock_wall_ms(), err);
    }
    hanse_key_free(ca_key);
    hanse_store_site_clear(&fresh);
    return rc;
}

void hanse_renew(hanse_session *session, const hanse_msg_renew *request)
{
    hanse_server *server = session->server;
    hanse_message message = {.kind = HANSE_RENEWED};
    hanse_store_site site = {.name = ""};
    hanse_buf tls_pem = HANSE_BUF_EMPTY, sign_pem = HANSE_BUF_EMPTY;
    hanse_err err = {0};
    hanse_rc rc = hanse_store_site_by_id(server->store, session->site_id, &site, &err);

    if (rc == HANSE_OK)
        rc = renew(server, &site, request, &tls_pem, &sign_pem, &err);
    message.renewed.coordinator_sign = hanse_buf_bytes(&server->sign_cert_pem);
    if (rc == HANSE_OK) {
        message.renewed.cert_tls = hanse_buf_bytes(&tls_pem);
        message.renewed.cert_sign = hanse_buf_bytes(&sign_pem);
        hanse_log(HANSE_LOG_INFO, "site_renewed site=%s", session->name);
        hanse_live_runs_renew(server);
    } else { /* it goes on with what it has, and asks again another day */
        message.renewed.reason = hanse_bytes_str(err.text);
        if (hanse_session_may_log(session))
            hanse_log(HANSE_LOG_WARN, "site_not_renewed site=%s code=%s reason=%s", session->name, hanse_rc_name(rc), err.text);
    }
    hanse_session_send(session, &message);
    hanse_buf_clear(&tls_pem);
    hanse_buf_clear(&sign_pem);
    hanse_store_site_clear(&site);
}
