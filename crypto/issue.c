/* The CA: itself, requests, and certificates from requests. */
#include "crypto/openssl_error.h"
#include "crypto/profile.h"
#include "hanse/digest.h"
#include "hanse/identity.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#define DAY_S 86400
#define HOSTS_MAX 16
#define X509_VERSION_3_VALUE 2

static bool set_times(X509 *cert, int64_t from, int64_t to)
{
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from) != NULL
        && ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)to) != NULL;
}

static bool set_serial(X509 *cert)
{
    uint8_t serial[HANSE_SERIAL_LEN];

    if (hanse_random(serial, sizeof serial, NULL) != HANSE_OK)
        return false;
    serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40); /* positive and always of the same length */
    return ASN1_STRING_set(X509_get_serialNumber(cert), serial, sizeof serial) == 1;
}

static bool set_name(X509_NAME *name, const char *organisation, const char *common)
{
    return X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_ASC, (const unsigned char *)organisation, -1, -1, 0) == 1
        && X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC, (const unsigned char *)common, -1, -1, 0) == 1;
}

/* `value` in the library's own syntax; only text that this file checked may be in it. */
static bool add_extension(X509 *cert, const X509 *ca, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;
    bool good;

    X509V3_set_ctx(&ctx, (X509 *)(uintptr_t)ca, cert, NULL, NULL, 0);
    extension = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    good = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

hanse_rc hanse_ca_new(hanse_key **key_out, hanse_cert **ca_out, const char *name, int64_t now, unsigned years, hanse_err *err)
{
    hanse_key *key = NULL;
    X509 *ca = NULL;
    hanse_rc rc;

    if (!hanse_name_is_valid(name) || years < 1 || years > 50)
        return HANSE_FAIL(err, HANSE_E_INVALID, "consortium \"%s\", %u years: the name needs 1..63 of [A-Za-z0-9._ -], the years 1..50",
                          name != NULL ? name : "", years);
    rc = hanse_key_new(&key, HANSE_KEY_P256, err);
    if (rc != HANSE_OK)
        return rc;
    ca = X509_new();
    if (ca == NULL || X509_set_version(ca, X509_VERSION_3_VALUE) != 1 || !set_serial(ca)
        || !set_times(ca, now - HANSE_SKEW_S, now + (int64_t)years * 365 * DAY_S)
        || !set_name(X509_get_subject_name(ca), name, name)
        || X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1 || X509_set_pubkey(ca, key) != 1
        || !add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0")
        || !add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign")
        || !add_extension(ca, ca, NID_subject_key_identifier, "hash") || X509_sign(ca, key, EVP_sha256()) == 0) {
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "making the CA certificate");
        X509_free(ca);
        hanse_key_free(key);
        return rc;
    }
    *key_out = key;
    *ca_out = ca;
    return HANSE_OK;
}

hanse_rc hanse_csr_new(const hanse_key *key, hanse_buf *out, hanse_err *err)
{
    EVP_PKEY *pkey = (EVP_PKEY *)(uintptr_t)key;
    X509_REQ *request = X509_REQ_new();
    unsigned char *der = NULL;
    int len = 0;
    hanse_rc rc;

    if (request == NULL || X509_REQ_set_version(request, 0) != 1 || X509_REQ_set_pubkey(request, pkey) != 1
        || X509_REQ_sign(request, pkey, hanse_issue_digest(key)) == 0 || (len = i2d_X509_REQ(request, &der)) <= 0)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "making a certificate request");
    else
        rc = hanse_buf_append(out, der, (size_t)len, err);
    OPENSSL_free(der);
    X509_REQ_free(request);
    return rc;
}

/* The key of a request whose own signature verifies; owned by the caller. */
static hanse_rc csr_key(hanse_key **out, hanse_key_kind *kind, hanse_bytes csr, hanse_err *err)
{
    const unsigned char *at = csr.data;
    X509_REQ *request = NULL;
    hanse_key *key = NULL;
    hanse_rc rc = HANSE_OK;
    int nid;

    if (csr.len == 0 || csr.len > HANSE_CSR_MAX)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate request: %zu bytes, 1..%d possible", csr.len, HANSE_CSR_MAX);
    request = d2i_X509_REQ(NULL, &at, (long)csr.len);
    if (request == NULL || at != csr.data + csr.len || (key = X509_REQ_get_pubkey(request)) == NULL) {
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_IDENTITY, "certificate request: not one PKCS#10 request");
        goto done;
    }
    if (hanse_key_check(key, kind, NULL) != HANSE_OK) {
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate request: its key is neither Ed25519 nor P-256: make the key with hanse-node enrol");
        goto done;
    }
    nid = X509_REQ_get_signature_nid(request);
    if ((nid != NID_ED25519 && nid != NID_ecdsa_with_SHA256) || X509_REQ_verify(request, key) != 1)
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate request: its signature does not verify: it was changed, or its sender lacks the key");

done:
    X509_REQ_free(request);
    ERR_clear_error();
    if (rc == HANSE_OK)
        *out = key;
    else
        hanse_key_free(key);
    return rc;
}

hanse_rc hanse_csr_key_id(hanse_bytes csr, uint8_t id[32], hanse_err *err)
{
    hanse_key *key = NULL;
    hanse_key_kind kind;
    hanse_rc rc = csr_key(&key, &kind, csr, err);

    if (rc == HANSE_OK)
        rc = hanse_key_id(key, id, err);
    hanse_key_free(key);
    return rc;
}

static bool host_is_ip(const char *host)
{
    uint8_t address[16];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static bool host_is_valid(const char *host)
{
    size_t len = strnlen(host, 254);

    return host_is_ip(host)
        || (len >= 1 && len <= 253 && host[0] != '.' && host[0] != '-'
            && strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") == len);
}

static hanse_rc alt_names(hanse_buf *text, const hanse_issue *issue, hanse_err *err)
{
    char uri[HANSE_URI_MAX];
    hanse_rc rc = hanse_uri_make(uri, issue->organisation, issue->site, err);
    bool wants_hosts = issue->profile == HANSE_PROFILE_COORDINATOR_TLS;

    if (rc == HANSE_OK && (wants_hosts ? issue->hosts_count < 1 || issue->hosts_count > HOSTS_MAX : issue->hosts_count != 0))
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s certificate with %zu host names: %s", hanse_profile_name(issue->profile),
                        issue->hosts_count, wants_hosts ? "1..16 wanted" : "none allowed");
    if (rc == HANSE_OK)
        rc = hanse_buf_printf(text, err, "URI:%s", uri);
    for (size_t i = 0; rc == HANSE_OK && i < issue->hosts_count; i++) {
        const char *host = issue->hosts[i];
        if (!host_is_valid(host))
            return HANSE_FAIL(err, HANSE_E_INVALID, "host \"%s\" is neither a DNS name nor an IP address", host);
        rc = hanse_buf_printf(text, err, ",%s:%s", host_is_ip(host) ? "IP" : "DNS", host);
    }
    return rc;
}

hanse_rc hanse_cert_issue(hanse_cert **out, const hanse_cert *ca, const hanse_key *ca_key, hanse_bytes csr,
                          const hanse_issue *issue, hanse_err *err)
{
    hanse_key *key = NULL;
    hanse_key_kind kind;
    hanse_buf names = HANSE_BUF_EMPTY;
    X509 *cert = NULL;
    char usage[128];
    int64_t end = issue->now + (int64_t)issue->days * DAY_S, ca_end;
    hanse_rc rc;

    if (issue->profile < HANSE_PROFILE_SITE_TLS || issue->profile > HANSE_PROFILE_COORDINATOR_SIGN || issue->days < 1 || issue->days > 3650)
        return HANSE_FAIL(err, HANSE_E_INVALID, "certificate of profile %d for %u days: profiles 1..4, days 1..3650", (int)issue->profile,
                          issue->days);
    if (!hanse_time_get(&ca_end, X509_get0_notAfter(ca)) || ca_end <= issue->now)
        return HANSE_FAIL(err, HANSE_E_INVALID, "the CA certificate has expired: a new consortium is needed");
    rc = alt_names(&names, issue, err);
    if (rc == HANSE_OK)
        rc = csr_key(&key, &kind, csr, err);
    if (rc != HANSE_OK)
        goto done;
    if (!hanse_profile_takes(issue->profile, kind)) {
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "%s certificate: the request's key is Ed25519, P-256 is wanted", hanse_profile_name(issue->profile));
        goto done;
    }
    hanse_profile_usage(usage, issue->profile);
    cert = X509_new();
    if (cert == NULL || X509_set_version(cert, X509_VERSION_3_VALUE) != 1 || !set_serial(cert)
        || !set_times(cert, issue->now - HANSE_SKEW_S, end < ca_end ? end : ca_end)
        || !set_name(X509_get_subject_name(cert), issue->organisation, issue->site)
        || X509_set_issuer_name(cert, X509_get_subject_name(ca)) != 1 || X509_set_pubkey(cert, key) != 1
        || !add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE")
        || !add_extension(cert, ca, NID_key_usage, "critical,digitalSignature")
        || !add_extension(cert, ca, NID_ext_key_usage, usage)
        || !add_extension(cert, ca, NID_subject_alt_name, (const char *)names.data)
        || !add_extension(cert, ca, NID_subject_key_identifier, "hash")
        || !add_extension(cert, ca, NID_authority_key_identifier, "keyid:always")
        || X509_sign(cert, (EVP_PKEY *)(uintptr_t)ca_key, hanse_issue_digest(ca_key)) == 0) {
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "making a certificate");
        goto done;
    }
    *out = cert;
    cert = NULL;

done:
    X509_free(cert);
    hanse_key_free(key);
    hanse_buf_clear(&names);
    return rc;
}
