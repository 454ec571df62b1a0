#include "hanse/sign.h"
#include "crypto/openssl_error.h"
#include "hanse/digest.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define PEM_MAX 4096
#define TYPE_MAX 32

hanse_rc hanse_key_new(hanse_key **out, hanse_key_kind kind, hanse_err *err)
{
    EVP_PKEY *key = kind == HANSE_KEY_P256 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
                                           : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (key == NULL)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "key generation");
    *out = key;
    return HANSE_OK;
}

void hanse_key_free(hanse_key *key)
{
    EVP_PKEY_free(key);
}

/* Named P-256 with a sound point: explicit curve parameters are a known way to forge. */
static bool is_p256(const EVP_PKEY *key)
{
    char group[32];
    int from_explicit = 0;
    EVP_PKEY_CTX *ctx;
    bool sound;

    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1
        || strcmp(group, "prime256v1") != 0)
        return false;
    if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &from_explicit) == 1
        && from_explicit != 0)
        return false;
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, (EVP_PKEY *)(uintptr_t)key, NULL);
    sound = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return sound;
}

hanse_rc hanse_key_check(const hanse_key *key, hanse_key_kind *kind, hanse_err *err)
{
    if (key != NULL && EVP_PKEY_is_a(key, "ED25519"))
        *kind = HANSE_KEY_ED25519;
    else if (key != NULL && is_p256(key))
        *kind = HANSE_KEY_P256;
    else {
        ERR_clear_error();
        return HANSE_FAIL(err, HANSE_E_INVALID, "key is neither Ed25519 nor P-256 on its named curve: make one with this program");
    }
    return HANSE_OK;
}

/* A PEM that asks for a pass phrase must not stop at the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *user)
{
    (void)buf, (void)size, (void)rwflag, (void)user;
    return -1;
}

hanse_rc hanse_key_from_pem(hanse_key **out, hanse_bytes pem, hanse_err *err)
{
    hanse_key_kind kind;
    EVP_PKEY *key = NULL;
    BIO *bio;
    hanse_rc rc;

    if (pem.len == 0 || pem.len > PEM_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "private key: %zu bytes, a PEM key has 1..%d", pem.len, PEM_MAX);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    rc = key != NULL ? hanse_key_check(key, &kind, err)
                     : HANSE_FAIL_OPENSSL(err, HANSE_E_INVALID, "private key: not an unencrypted PEM key");
    BIO_free(bio);
    if (rc == HANSE_OK)
        *out = key;
    else
        EVP_PKEY_free(key);
    return rc;
}

hanse_rc hanse_key_to_pem(const hanse_key *key, hanse_buf *out, hanse_err *err)
{
    BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed */
    char *text;
    long len;
    hanse_rc rc;

    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1
        || (len = BIO_get_mem_data(bio, &text)) <= 0)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "private key to PEM");
    else
        rc = hanse_buf_append(out, text, (size_t)len, err);
    BIO_free(bio);
    return rc;
}

hanse_rc hanse_key_from_spki(hanse_key **out, hanse_bytes der, hanse_err *err)
{
    const unsigned char *at = der.data;
    hanse_key_kind kind;
    EVP_PKEY *key;
    hanse_rc rc;

    if (der.len == 0 || der.len > PEM_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "public key: %zu bytes, 1..%d expected", der.len, PEM_MAX);
    key = d2i_PUBKEY(NULL, &at, (long)der.len);
    if (key == NULL || at != der.data + der.len)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_INVALID, "public key: not one SubjectPublicKeyInfo");
    else
        rc = hanse_key_check(key, &kind, err);
    if (rc == HANSE_OK)
        *out = key;
    else
        EVP_PKEY_free(key);
    return rc;
}

hanse_rc hanse_key_to_spki(const hanse_key *key, hanse_buf *out, hanse_err *err)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    hanse_rc rc = len > 0 ? hanse_buf_append(out, der, (size_t)len, err)
                          : HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "public key to DER");

    OPENSSL_free(der);
    return rc;
}

hanse_rc hanse_key_id(const hanse_key *key, uint8_t id[32], hanse_err *err)
{
    hanse_buf spki = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_key_to_spki(key, &spki, err);

    if (rc == HANSE_OK)
        rc = hanse_sha256(id, hanse_buf_bytes(&spki), err);
    hanse_buf_clear(&spki);
    return rc;
}

/* Ed25519 signs in one call, so label and object have to lie behind each other. */
static hanse_rc labelled(hanse_buf *text, const char *type, hanse_bytes object, hanse_err *err)
{
    size_t len = strlen(type);
    hanse_rc rc;

    if (len == 0 || len > TYPE_MAX || strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return HANSE_FAIL(err, HANSE_E_USAGE, "type of a signed object: 1..%d of [a-z0-9-]", TYPE_MAX);
    rc = hanse_buf_append(text, "hanse1/", 7, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(text, type, len + 1, err); /* with its zero */
    if (rc == HANSE_OK && object.len > 0)
        rc = hanse_buf_append(text, object.data, object.len, err);
    return rc;
}

static const char *digest_of(const hanse_key *key)
{
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : "SHA256";
}

hanse_rc hanse_sign_object(const hanse_key *key, const char *type, hanse_bytes object, uint8_t sig[HANSE_SIG_MAX],
                           size_t *sig_len, hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY *pkey = (EVP_PKEY *)(uintptr_t)key; /* counted, not changed */
    size_t len = HANSE_SIG_MAX;
    hanse_rc rc = labelled(&text, type, object, err);

    if (rc != HANSE_OK)
        goto done;
    if (ctx == NULL || EVP_DigestSignInit_ex(ctx, NULL, digest_of(key), NULL, NULL, pkey, NULL) != 1
        || EVP_DigestSign(ctx, sig, &len, text.data, text.len) != 1) {
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "signing");
        goto done;
    }
    *sig_len = len;

done:
    EVP_MD_CTX_free(ctx);
    hanse_buf_clear(&text);
    return rc;
}

hanse_rc hanse_verify_object(const hanse_key *key, const char *type, hanse_bytes object, hanse_bytes sig, hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    EVP_MD_CTX *ctx = NULL;
    EVP_PKEY *pkey = (EVP_PKEY *)(uintptr_t)key;
    hanse_rc rc;

    if (key == NULL)
        return HANSE_FAIL(err, HANSE_E_AUTH, "signature of %s: no public key to check it with", type);
    rc = labelled(&text, type, object, err);
    if (rc != HANSE_OK)
        goto done;
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "signature of %s: out of memory", type);
    else if (sig.len == 0 || sig.len > HANSE_SIG_MAX
             || EVP_DigestVerifyInit_ex(ctx, NULL, digest_of(key), NULL, NULL, pkey, NULL) != 1
             || EVP_DigestVerify(ctx, sig.data, sig.len, text.data, text.len) != 1) {
        ERR_clear_error();
        rc = HANSE_FAIL(err, HANSE_E_AUTH, "signature of %s (%zu bytes) does not verify: changed on the way or signed by another key",
                        type, sig.len);
    }

done:
    EVP_MD_CTX_free(ctx);
    hanse_buf_clear(&text);
    return rc;
}
