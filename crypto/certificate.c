/* Certificates: parsing, writing, and what one says. */
#include "crypto/openssl_error.h"
#include "crypto/profile.h"
#include "hanse/digest.h"
#include "hanse/identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

const char *hanse_profile_name(hanse_profile profile)
{
    static const char *const names[] = {"none", "site-TLS", "coordinator-TLS", "site-sign", "coordinator-sign"};

    return profile >= HANSE_PROFILE_SITE_TLS && profile <= HANSE_PROFILE_COORDINATOR_SIGN ? names[profile] : names[0];
}

bool hanse_profile_is_tls(hanse_profile profile)
{
    return profile == HANSE_PROFILE_SITE_TLS || profile == HANSE_PROFILE_COORDINATOR_TLS;
}

bool hanse_profile_takes(hanse_profile profile, hanse_key_kind kind)
{
    return kind == HANSE_KEY_P256 || !hanse_profile_is_tls(profile);
}

void hanse_profile_usage(char out[128], hanse_profile profile)
{
    snprintf(out, 128, "critical," HANSE_OID_ARC ".%d%s", (int)profile,
             profile == HANSE_PROFILE_SITE_TLS          ? ",clientAuth"
             : profile == HANSE_PROFILE_COORDINATOR_TLS ? ",serverAuth"
                                                        : "");
}

const EVP_MD *hanse_issue_digest(const hanse_key *key)
{
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

hanse_profile hanse_profile_of(const X509 *cert)
{
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    int profile = 0, server = 0, client = 0, count = sk_ASN1_OBJECT_num(usages);
    char text[128];

    for (int i = 0; i < count; i++) {
        const ASN1_OBJECT *usage = sk_ASN1_OBJECT_value(usages, i);
        int nid = OBJ_obj2nid(usage);
        size_t arc = strlen(HANSE_OID_ARC);

        server |= nid == NID_server_auth;
        client |= nid == NID_client_auth;
        if (OBJ_obj2txt(text, sizeof text, usage, 1) == (int)arc + 2 && strncmp(text, HANSE_OID_ARC ".", arc + 1) == 0
            && text[arc + 1] >= '1' && text[arc + 1] <= '4')
            profile = profile == 0 ? text[arc + 1] - '0' : -1;
    }
    EXTENDED_KEY_USAGE_free(usages);
    if (profile <= 0 || client != (profile == HANSE_PROFILE_SITE_TLS) || server != (profile == HANSE_PROFILE_COORDINATOR_TLS)
        || count != 1 + client + server)
        return (hanse_profile)0;
    return (hanse_profile)profile;
}

bool hanse_name_is_valid(const char *name)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._ -";
    size_t len = name != NULL ? strnlen(name, HANSE_NAME_MAX + 1) : 0;

    return len >= 1 && len <= HANSE_NAME_MAX && strspn(name, alphabet) == len && name[len - 1] != ' '
        && strchr("._ -", name[0]) == NULL;
}

hanse_rc hanse_uri_make(char out[HANSE_URI_MAX], const char *org, const char *site, hanse_err *err)
{
    const char *const parts[] = {org, site};
    size_t at = strlen("urn:hanse:");

    if (!hanse_name_is_valid(org) || !hanse_name_is_valid(site))
        return HANSE_FAIL(err, HANSE_E_INVALID, "name \"%s\" is not valid: 1..63 letters, digits, '.', '_', '-' or blanks, a letter or digit first",
                          hanse_name_is_valid(org) ? (site != NULL ? site : "") : (org != NULL ? org : ""));
    memcpy(out, "urn:hanse:", at);
    for (int i = 0; i < 2; i++) {
        for (const char *c = parts[i]; *c != '\0'; c++) {
            if (*c == ' ') {
                memcpy(out + at, "%20", 3);
                at += 3;
            } else
                out[at++] = *c;
        }
        out[at++] = i == 0 ? ':' : '\0';
    }
    return HANSE_OK;
}

hanse_rc hanse_cert_from_pem(hanse_cert **out, hanse_bytes pem, hanse_err *err)
{
    X509 *cert = NULL;
    BIO *bio;

    if (pem.len == 0 || pem.len > HANSE_CERT_PEM_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "certificate: %zu bytes, a PEM certificate has 1..%d", pem.len, HANSE_CERT_PEM_MAX);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    if (bio != NULL)
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (cert == NULL)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_INVALID, "certificate: not a PEM certificate");
    *out = cert;
    return HANSE_OK;
}

hanse_rc hanse_cert_from_der(hanse_cert **out, hanse_bytes der, hanse_err *err)
{
    const unsigned char *at = der.data;
    X509 *cert;

    if (der.len == 0 || der.len > HANSE_CERT_PEM_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "certificate: %zu bytes, 1..%d expected", der.len, HANSE_CERT_PEM_MAX);
    cert = d2i_X509(NULL, &at, (long)der.len);
    if (cert == NULL || at != der.data + der.len) {
        X509_free(cert);
        return HANSE_FAIL_OPENSSL(err, HANSE_E_INVALID, "certificate: not one DER certificate");
    }
    *out = cert;
    return HANSE_OK;
}

hanse_rc hanse_cert_to_pem(const hanse_cert *cert, hanse_buf *out, hanse_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long len;
    hanse_rc rc;

    if (bio == NULL || PEM_write_bio_X509(bio, cert) != 1 || (len = BIO_get_mem_data(bio, &text)) <= 0)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "certificate to PEM");
    else
        rc = hanse_buf_append(out, text, (size_t)len, err);
    BIO_free(bio);
    return rc;
}

hanse_rc hanse_cert_to_der(const hanse_cert *cert, hanse_buf *out, hanse_err *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    hanse_rc rc = len > 0 ? hanse_buf_append(out, der, (size_t)len, err)
                          : HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "certificate to DER");

    OPENSSL_free(der);
    return rc;
}

hanse_cert *hanse_cert_ref(const hanse_cert *cert)
{
    X509 *same = (X509 *)(uintptr_t)cert; /* the count is atomic and no part of what it says */

    return same != NULL && X509_up_ref(same) == 1 ? same : NULL;
}

void hanse_cert_free(hanse_cert *cert)
{
    X509_free(cert);
}

const hanse_key *hanse_cert_key(const hanse_cert *cert)
{
    EVP_PKEY *key = cert != NULL ? X509_get0_pubkey(cert) : NULL;

    ERR_clear_error();
    return key;
}

hanse_rc hanse_cert_check_key(const hanse_cert *cert, const hanse_key *key, hanse_err *err)
{
    bool same = hanse_cert_key(cert) != NULL && EVP_PKEY_eq(hanse_cert_key(cert), key) == 1;

    ERR_clear_error();
    return same ? HANSE_OK : HANSE_FAIL(err, HANSE_E_INVALID, "this key is not the one in its certificate");
}

bool hanse_serial_get(uint8_t out[HANSE_SERIAL_LEN], const ASN1_INTEGER *serial)
{
    if (ASN1_STRING_type(serial) != V_ASN1_INTEGER || ASN1_STRING_length(serial) != HANSE_SERIAL_LEN)
        return false;
    memcpy(out, ASN1_STRING_get0_data(serial), HANSE_SERIAL_LEN);
    return true;
}

bool hanse_time_get(int64_t *out, const ASN1_TIME *time)
{
    struct tm tm;

    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    *out = (int64_t)timegm(&tm);
    return true;
}

/* The one value of a name's field, printable ASCII by our rule for names. */
static bool name_field(char out[HANSE_NAME_MAX + 1], const X509_NAME *name, int nid)
{
    int at = X509_NAME_get_index_by_NID(name, nid, -1), len;
    const ASN1_STRING *value;

    if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
        return false;
    value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    len = ASN1_STRING_length(value);
    if (len < 1 || len > HANSE_NAME_MAX)
        return false;
    memcpy(out, ASN1_STRING_get0_data(value), (size_t)len);
    out[len] = '\0';
    return strlen(out) == (size_t)len && hanse_name_is_valid(out);
}

static bool has_uri(const X509 *cert, const char *uri)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int uris = 0, equal = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        uris++;
        equal += (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier) == strlen(uri)
            && strncmp((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), uri, strlen(uri)) == 0;
    }
    GENERAL_NAMES_free(names);
    return uris == 1 && equal == 1;
}

void hanse_cert_validity(const hanse_cert *cert, int64_t *from, int64_t *until)
{
    *from = *until = 0;
    if (!hanse_time_get(from, X509_get0_notBefore(cert)) || !hanse_time_get(until, X509_get0_notAfter(cert)))
        *from = *until = 0;
}

/* hanse_key_id of the key, from the bytes that the certificate holds: encoding a key anew takes OpenSSL a tenth of a millisecond. */
static hanse_rc key_id(const hanse_cert *cert, uint8_t id[32], hanse_err *err)
{
    unsigned char *der = NULL;
    const int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    const hanse_rc rc = len > 0 ? hanse_sha256(id, (hanse_bytes){der, (size_t)len}, err) : HANSE_FAIL_OPENSSL(err, HANSE_E_NOMEM, "public key to DER");

    OPENSSL_free(der);
    return rc;
}

hanse_rc hanse_cert_read(const hanse_cert *cert, hanse_cert_info *info, hanse_err *err)
{
    hanse_cert_info read = {0};
    const X509_NAME *subject;
    hanse_buf der = HANSE_BUF_EMPTY;
    hanse_rc rc;

    if (cert == NULL)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate missing: none was presented");
    read.profile = hanse_profile_of(cert);
    subject = X509_get_subject_name(cert);
    if (read.profile == 0 || !name_field(read.organisation, subject, NID_organizationName)
        || !name_field(read.site, subject, NID_commonName) || X509_NAME_entry_count(subject) != 2
        || !hanse_serial_get(read.serial, X509_get0_serialNumber(cert))
        || !hanse_time_get(&read.not_before, X509_get0_notBefore(cert))
        || !hanse_time_get(&read.not_after, X509_get0_notAfter(cert)) || hanse_cert_key(cert) == NULL) {
        ERR_clear_error();
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate has none of the profiles or names of a consortium's certificate");
    }
    rc = hanse_uri_make(read.uri, read.organisation, read.site, err);
    if (rc == HANSE_OK && !has_uri(cert, read.uri))
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate of %s / %s carries another URI than its names say", read.organisation,
                        read.site);
    if (rc == HANSE_OK)
        rc = key_id(cert, read.key_id, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_to_der(cert, &der, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256(read.fingerprint, hanse_buf_bytes(&der), err);
    hanse_buf_clear(&der);
    ERR_clear_error();
    if (rc == HANSE_OK)
        *info = read;
    return rc;
}
