/* Is a certificate good for its place? */
#include "crypto/openssl_error.h"
#include "crypto/profile.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

/* The library's own path check (signature, names, dates, CA's rights, strict profile), one step long. */
static hanse_rc check_chain(X509 *cert, X509 *ca, int64_t now, hanse_err *err)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    hanse_rc rc = HANSE_OK;

    if (store == NULL || ctx == NULL || X509_STORE_add_cert(store, ca) != 1 || X509_STORE_CTX_init(ctx, store, cert, NULL) != 1) {
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_NOMEM, "certificate check");
        goto done;
    }
    X509_STORE_CTX_set_time(ctx, 0, (time_t)now);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX_set_depth(ctx, 0);
    if (X509_verify_cert(ctx) == 1)
        goto done;
    switch (X509_STORE_CTX_get_error(ctx)) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "%scertificate is not yet valid: check this machine's clock",
                        X509_STORE_CTX_get_error_depth(ctx) > 0 ? "CA " : "");
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "%scertificate has expired: enrol again", X509_STORE_CTX_get_error_depth(ctx) > 0 ? "CA " : "");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate is of another CA than this consortium's");
        break;
    default:
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate refused: %s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    }

done:
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return rc;
}

hanse_rc hanse_cert_verify(const hanse_cert *cert, const hanse_trust *trust, hanse_profile want, int64_t now, hanse_err *err)
{
    hanse_cert_info info;
    hanse_key_kind kind;
    hanse_rc rc;

    if (cert == NULL)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate missing: none was presented");
    rc = check_chain((X509 *)(uintptr_t)cert, (X509 *)(uintptr_t)trust->ca, now, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_read(cert, &info, err);
    if (rc != HANSE_OK)
        return rc;
    if (info.profile != want)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate of %s has the wrong profile: %s where %s is wanted", info.uri,
                          hanse_profile_name(info.profile), hanse_profile_name(want));
    if (hanse_key_check(hanse_cert_key(cert), &kind, NULL) != HANSE_OK || !hanse_profile_takes(want, kind))
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate of %s has a key that %s does not allow", info.uri, hanse_profile_name(want));
    if (trust->crl == NULL && trust->enrolling)
        return HANSE_OK;
    rc = hanse_crl_verify(trust->crl, trust->ca, now, err);
    if (rc == HANSE_OK && hanse_crl_has(trust->crl, info.serial))
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "certificate of %s was revoked", info.uri);
    return rc;
}

hanse_rc hanse_cert_match(const hanse_cert *tls, const hanse_cert *sign, hanse_err *err)
{
    hanse_cert_info a, b;
    hanse_rc rc = hanse_cert_read(tls, &a, err);

    if (rc == HANSE_OK)
        rc = hanse_cert_read(sign, &b, err);
    if (rc != HANSE_OK)
        return rc;
    if (!hanse_profile_is_tls(a.profile) || (int)b.profile != (int)a.profile + 2)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "certificates are %s and %s: a TLS and a signing certificate of one kind are wanted",
                          hanse_profile_name(a.profile), hanse_profile_name(b.profile));
    if (strcmp(a.uri, b.uri) != 0)
        return HANSE_FAIL(err, HANSE_E_IDENTITY, "TLS certificate of %s, signing certificate of %s: not the same party", a.uri, b.uri);
    return HANSE_OK;
}
