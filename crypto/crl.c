/* The revocation list. */
#include "crypto/openssl_error.h"
#include "crypto/profile.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static X509_REVOKED *find(const X509_CRL *crl, const uint8_t serial[HANSE_SERIAL_LEN])
{
    STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED((X509_CRL *)(uintptr_t)crl);
    uint8_t other[HANSE_SERIAL_LEN];

    for (int i = 0; i < sk_X509_REVOKED_num(all); i++) {
        X509_REVOKED *one = sk_X509_REVOKED_value(all, i);
        if (hanse_serial_get(other, X509_REVOKED_get0_serialNumber(one)) && memcmp(other, serial, sizeof other) == 0) /* public */
            return one;
    }
    return NULL;
}

bool hanse_crl_has(const hanse_crl *crl, const uint8_t serial[HANSE_SERIAL_LEN])
{
    return find(crl, serial) != NULL;
}

uint64_t hanse_crl_number(const hanse_crl *crl)
{
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    uint64_t value = 0;

    if (number != NULL && ASN1_INTEGER_get_uint64(&value, number) != 1)
        value = 0;
    ASN1_INTEGER_free(number);
    ERR_clear_error();
    return value;
}

int64_t hanse_crl_next_update(const hanse_crl *crl)
{
    int64_t when;

    return hanse_time_get(&when, X509_CRL_get0_nextUpdate(crl)) ? when : 0;
}

static bool add_revoked(X509_CRL *crl, const uint8_t serial[HANSE_SERIAL_LEN], int64_t when)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)when);
    bool good = entry != NULL && number != NULL && time != NULL && ASN1_STRING_set(number, serial, HANSE_SERIAL_LEN) == 1
        && X509_REVOKED_set_serialNumber(entry, number) == 1 && X509_REVOKED_set_revocationDate(entry, time) == 1
        && X509_CRL_add0_revoked(crl, entry) == 1;

    if (!good)
        X509_REVOKED_free(entry);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(time);
    return good;
}

static bool copy_revoked(X509_CRL *crl, const X509_CRL *previous)
{
    STACK_OF(X509_REVOKED) *all = previous != NULL ? X509_CRL_get_REVOKED((X509_CRL *)(uintptr_t)previous) : NULL;

    for (int i = 0; i < sk_X509_REVOKED_num(all); i++) {
        X509_REVOKED *entry = X509_REVOKED_dup(sk_X509_REVOKED_value(all, i));
        if (entry == NULL || X509_CRL_add0_revoked(crl, entry) != 1) {
            X509_REVOKED_free(entry);
            return false;
        }
    }
    return true;
}

static bool add_header(X509_CRL *crl, const hanse_cert *ca, uint64_t number, int64_t now, int64_t next_update)
{
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(now - HANSE_SKEW_S)), *to = ASN1_TIME_set(NULL, (time_t)next_update);
    ASN1_INTEGER *value = ASN1_INTEGER_new();
    X509V3_CTX ctx;
    X509_EXTENSION *key_id = NULL;
    bool good;

    X509V3_set_ctx(&ctx, (X509 *)(uintptr_t)ca, NULL, NULL, crl, 0);
    key_id = X509V3_EXT_nconf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    good = from != NULL && to != NULL && value != NULL && key_id != NULL && X509_CRL_set_version(crl, 1) == 1
        && X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) == 1 && X509_CRL_set1_lastUpdate(crl, from) == 1
        && X509_CRL_set1_nextUpdate(crl, to) == 1 && ASN1_INTEGER_set_uint64(value, number) == 1
        && X509_CRL_add1_ext_i2d(crl, NID_crl_number, value, 0, 0) == 1 && X509_CRL_add_ext(crl, key_id, -1) == 1;
    X509_EXTENSION_free(key_id);
    ASN1_INTEGER_free(value);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return good;
}

hanse_rc hanse_crl_new(hanse_crl **out, const hanse_cert *ca, const hanse_key *ca_key, const hanse_crl *previous,
                       const uint8_t (*serials)[HANSE_SERIAL_LEN], size_t count, int64_t now, int64_t next_update, hanse_err *err)
{
    X509_CRL *crl = NULL;
    bool good;

    if (next_update <= now)
        return HANSE_FAIL(err, HANSE_E_INVALID, "revocation list: its next update must lie in the future");
    crl = X509_CRL_new();
    good = crl != NULL && add_header(crl, ca, (previous != NULL ? hanse_crl_number(previous) : 0) + 1, now, next_update)
        && copy_revoked(crl, previous);
    for (size_t i = 0; good && i < count; i++)
        good = find(crl, serials[i]) != NULL || add_revoked(crl, serials[i], now);
    if (!good || X509_CRL_sort(crl) != 1 || X509_CRL_sign(crl, (EVP_PKEY *)(uintptr_t)ca_key, hanse_issue_digest(ca_key)) == 0) {
        X509_CRL_free(crl);
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "making a revocation list");
    }
    *out = crl;
    return HANSE_OK;
}

hanse_rc hanse_crl_from_pem(hanse_crl **out, hanse_bytes pem, hanse_err *err)
{
    X509_CRL *crl = NULL;
    BIO *bio;

    if (pem.len == 0 || pem.len > HANSE_CRL_PEM_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "revocation list: %zu bytes, 1..%d possible", pem.len, HANSE_CRL_PEM_MAX);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    if (bio != NULL)
        crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (crl == NULL)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_INVALID, "revocation list: not a PEM list");
    *out = crl;
    return HANSE_OK;
}

hanse_rc hanse_crl_to_pem(const hanse_crl *crl, hanse_buf *out, hanse_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long len;
    hanse_rc rc;

    if (bio == NULL || PEM_write_bio_X509_CRL(bio, crl) != 1 || (len = BIO_get_mem_data(bio, &text)) <= 0)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "revocation list to PEM");
    else
        rc = hanse_buf_append(out, text, (size_t)len, err);
    BIO_free(bio);
    return rc;
}

hanse_rc hanse_crl_verify(const hanse_crl *crl, const hanse_cert *ca, int64_t now, hanse_err *err)
{
    int64_t from, to;
    bool ours;

    if (crl == NULL)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "revocation list missing: the coordinator must send one");
    ours = X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(ca)) == 0 && X509_get0_pubkey(ca) != NULL
        && X509_CRL_verify((X509_CRL *)(uintptr_t)crl, X509_get0_pubkey(ca)) == 1;
    ERR_clear_error();
    if (!ours)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "revocation list is not signed by this consortium's CA");
    if (hanse_crl_number(crl) == 0 || !hanse_time_get(&from, X509_CRL_get0_lastUpdate(crl))
        || !hanse_time_get(&to, X509_CRL_get0_nextUpdate(crl)))
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "revocation list lacks its number or dates");
    if (now < from)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "revocation list is not yet valid: check this machine's clock");
    if (now > to)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "revocation list is past its next update by %lld s: the coordinator must renew it",
                          (long long)(now - to));
    return HANSE_OK;
}

void hanse_crl_free(hanse_crl *crl)
{
    X509_CRL_free(crl);
}
