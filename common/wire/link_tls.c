#include "link_tls.h"

#include "hanse/identity.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>

/* Encrypted bytes are read in one go as they lie in the socket, not a header and a record at a time. Safe here, because
 * the loop reads until OpenSSL has nothing left before it polls. */
#define READ_AHEAD_LEN ((size_t)128 << 10)

/* Which alert of the server means what. */
static const struct alert {
    int reason;
    hanse_rc rc;
    const char *words;
} alerts[] = {
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, HANSE_E_IDENTITY, "the coordinator refused our certificate: revoked"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, HANSE_E_IDENTITY, "the coordinator refused our certificate: expired"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, HANSE_E_IDENTITY, "the coordinator refused our certificate: unknown CA"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, HANSE_E_IDENTITY,
     "the coordinator refused our certificate: missing (certificate required); enrol first"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, HANSE_E_IDENTITY, "the coordinator refused our certificate: not acceptable"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, HANSE_E_IDENTITY, "the coordinator refused our certificate: bad certificate"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, HANSE_E_IDENTITY,
     "the coordinator refused our certificate: not one of a site"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, HANSE_E_IDENTITY, "the coordinator refused our certificate: access denied"},
    {SSL_R_TLSV1_ALERT_DECRYPT_ERROR, HANSE_E_IDENTITY, "the coordinator refused our certificate: its signature does not verify"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, HANSE_E_LINK, "the server does not speak TLS 1.3"},
    {SSL_R_UNSUPPORTED_PROTOCOL, HANSE_E_LINK, "the server does not speak TLS 1.3"},
    {SSL_R_WRONG_VERSION_NUMBER, HANSE_E_LINK, "the server does not speak TLS: is the port right?"},
};

hanse_rc hanse_link_ssl_problem(const hanse_link *link, int ret, short *events, hanse_err *err)
{
    int saved_errno = errno, what = SSL_get_error(link->ssl, ret);
    unsigned long code;
    hanse_rc rc = HANSE_E_LINK;

    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
        *events = what == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        return HANSE_OK;
    }
    code = ERR_peek_error();
    if (what == SSL_ERROR_ZERO_RETURN || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING
        || (what == SSL_ERROR_SYSCALL && code == 0 && saved_errno == 0)) {
        rc = HANSE_FAIL(err, HANSE_E_LINK, "the coordinator closed the connection");
    } else if (what == SSL_ERROR_SYSCALL) {
        rc = HANSE_FAIL(err, HANSE_E_LINK, "the connection broke: %s", strerror(saved_errno));
    } else if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        long why = SSL_get_verify_result(link->ssl);

        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "the server's certificate was refused: %s",
                        why == X509_V_ERR_APPLICATION_VERIFICATION ? "its CA is not the one that the invitation names (ca_sha256)"
                                                                   : X509_verify_cert_error_string(why));
    } else {
        const struct alert *found = NULL;

        for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++)
            if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == alerts[i].reason)
                found = &alerts[i];
        rc = found != NULL ? HANSE_FAIL(err, found->rc, "%s", found->words)
                           : HANSE_FAIL(err, HANSE_E_LINK, "TLS: %s",
                                        ERR_reason_error_string(code) != NULL ? ERR_reason_error_string(code) : "failed");
    }
    ERR_clear_error();
    return rc;
}

/* The server's chain must hold a certificate of the pinned fingerprint; that one alone is then trusted. */
static int verify_pinned(X509_STORE_CTX *store_ctx, void *arg)
{
    const uint8_t *pin = arg;
    STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(store_ctx), *trusted = NULL;
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned hash_len;
    int ok = 0;

    for (int i = 0; i < sk_X509_num(shown) && trusted == NULL; i++) {
        X509 *cert = sk_X509_value(shown, i);

        if (X509_digest(cert, EVP_sha256(), hash, &hash_len) == 1 && memcmp(hash, pin, 32) == 0) { /* public value */
            trusted = sk_X509_new_null();
            if (trusted == NULL || sk_X509_push(trusted, cert) == 0)
                goto done;
        }
    }
    if (trusted == NULL) {
        X509_STORE_CTX_set_error(store_ctx, X509_V_ERR_APPLICATION_VERIFICATION);
        goto done;
    }
    X509_STORE_CTX_set0_trusted_stack(store_ctx, trusted);
    ok = X509_verify_cert(store_ctx);
    X509_STORE_CTX_set0_trusted_stack(store_ctx, NULL);
done:
    sk_X509_free(trusted);
    return ok;
}

static BIO *bio_of(hanse_bytes pem)
{
    return pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.data, (int)pem.len);
}

/* A list past its end still names the revoked; refused here, it would keep out the WELCOME that brings the newer one, which is judged by
 * its dates (node/keys.c). */
static int accept_old_crl(int ok, X509_STORE_CTX *ctx)
{
    if (ok || X509_STORE_CTX_get_error(ctx) != X509_V_ERR_CRL_HAS_EXPIRED)
        return ok;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

static hanse_rc load_trust(hanse_link *link, const hanse_link_config *config, hanse_err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(link->ctx);
    BIO *ca_bio = bio_of(config->ca_pem), *crl_bio = bio_of(config->crl_pem);
    X509 *ca = NULL;
    X509_CRL *crl = NULL;
    hanse_rc rc = HANSE_OK;

    if (config->ca_pem.len > 0) {
        ca = ca_bio != NULL ? PEM_read_bio_X509(ca_bio, NULL, NULL, NULL) : NULL;
        if (ca == NULL || X509_STORE_add_cert(store, ca) != 1)
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "the consortium's CA certificate is not readable");
    } else if (config->ca_pin != NULL) {
        SSL_CTX_set_cert_verify_callback(link->ctx, verify_pinned, (void *)(uintptr_t)config->ca_pin);
    } else {
        rc = HANSE_FAIL(err, HANSE_E_USAGE, "a link needs the consortium's CA");
    }
    if (rc == HANSE_OK && config->crl_pem.len > 0) {
        crl = crl_bio != NULL ? PEM_read_bio_X509_CRL(crl_bio, NULL, NULL, NULL) : NULL;
        if (crl == NULL || X509_STORE_add_crl(store, crl) != 1)
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "the revocation list is not readable");
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
        X509_STORE_set_verify_cb(store, accept_old_crl);
    }
    X509_free(ca);
    X509_CRL_free(crl);
    BIO_free(ca_bio);
    BIO_free(crl_bio);
    return rc;
}

static hanse_rc load_own(hanse_link *link, const hanse_link_config *config, hanse_err *err)
{
    BIO *bio;
    X509 *cert;
    bool good;

    if (config->cert_pem.len == 0)
        return HANSE_OK;
    bio = bio_of(config->cert_pem);
    cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    good = cert != NULL && config->key != NULL && SSL_CTX_use_certificate(link->ctx, cert) == 1
           && SSL_CTX_use_PrivateKey(link->ctx, config->key) == 1 && SSL_CTX_check_private_key(link->ctx) == 1;
    X509_free(cert);
    BIO_free(bio);
    return good ? HANSE_OK : HANSE_FAIL(err, HANSE_E_INVALID, "our TLS certificate and key are unusable or do not match");
}

hanse_rc hanse_link_tls_init(hanse_link *link, const hanse_link_config *config, hanse_err *err)
{
    hanse_rc rc;

    link->ctx = SSL_CTX_new(TLS_client_method());
    if (link->ctx == NULL || SSL_CTX_set_min_proto_version(link->ctx, TLS1_3_VERSION) != 1)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "TLS cannot start");
    SSL_CTX_set_mode(link->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(link->ctx, 1);
    SSL_CTX_set_default_read_buffer_len(link->ctx, READ_AHEAD_LEN);
    SSL_CTX_set_session_cache_mode(link->ctx, SSL_SESS_CACHE_OFF); /* resumption would skip the revocation list */
    SSL_CTX_set_verify(link->ctx, SSL_VERIFY_PEER, NULL);
    rc = load_trust(link, config, err);
    if (rc == HANSE_OK)
        rc = load_own(link, config, err);
    ERR_clear_error();
    return rc;
}

hanse_rc hanse_link_tls_attach(hanse_link *link, const hanse_link_config *config, hanse_err *err)
{
    static const uint8_t alpn[] = "\x08http/1.1";
    const char *name = config->server_name != NULL ? config->server_name : config->host;
    X509_VERIFY_PARAM *param;
    bool good;

    link->ssl = SSL_new(link->ctx);
    if (link->ssl == NULL || SSL_set_fd(link->ssl, link->fd) != 1)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "TLS cannot start");
    param = SSL_get0_param(link->ssl);
    /* Our profiles have usages of their own; hanse_link_tls_check() looks at them. */
    good = X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY) == 1;
    good = good && SSL_set_alpn_protos(link->ssl, alpn, sizeof alpn - 1) == 0;
    /* An address is checked as such and, as RFC 6066 asks, not sent as a server name. */
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) != 1)
        good = good && X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 && SSL_set_tlsext_host_name(link->ssl, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    ERR_clear_error();
    return good ? HANSE_OK : HANSE_FAIL(err, HANSE_E_NOMEM, "TLS cannot start for %s", name);
}

/* The pinned certificate of the chain that was verified against it; owned by the caller. */
static X509 *find_pinned(SSL *ssl, const uint8_t pin[32])
{
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned hash_len;

    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *cert = sk_X509_value(chain, i);

        if (X509_digest(cert, EVP_sha256(), hash, &hash_len) == 1 && memcmp(hash, pin, 32) == 0 /* public value */
            && X509_up_ref(cert) == 1)
            return cert;
    }
    return NULL;
}

hanse_rc hanse_link_tls_check(hanse_link *link, const hanse_link_config *config, hanse_err *err)
{
    X509 *peer = SSL_get0_peer_certificate(link->ssl);
    hanse_cert_info info;
    hanse_rc rc;

    if (peer == NULL || SSL_get_verify_result(link->ssl) != X509_V_OK)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "the server showed no certificate that verifies");
    rc = hanse_cert_read(peer, &info, err);
    if (rc != HANSE_OK)
        return rc;
    if (info.profile != HANSE_PROFILE_COORDINATOR_TLS)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "the server's certificate is one for %s, not a coordinator's",
                          hanse_profile_name(info.profile));
    if (config->ca_pem.len == 0)
        link->ca = find_pinned(link->ssl, config->ca_pin);
    return HANSE_OK;
}
