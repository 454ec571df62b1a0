#include "hanse/digest.h"
#include "crypto/openssl_error.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <pthread.h>

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *sha256; /* for the life of the process: a fetch costs more than a small digest */
static EVP_KDF *hkdf;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
}

hanse_rc hanse_openssl_fail(hanse_err *err, hanse_rc rc, const char *file, int line, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    if (code != 0 && ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
        rc = HANSE_E_NOMEM;
    ERR_clear_error();
    if (reason == NULL)
        return hanse_err_set(err, rc, file, line, "%s", what);
    return hanse_err_set(err, rc, file, line, "%s: %s", what, reason);
}

hanse_rc hanse_sha256(uint8_t out[HANSE_DIGEST_LEN], hanse_bytes data, hanse_err *err)
{
    (void)pthread_once(&fetched, fetch);
    if (sha256 == NULL || EVP_Digest(data.len > 0 ? data.data : (const uint8_t *)"", data.len, out, NULL, sha256, NULL) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "SHA-256");
    return HANSE_OK;
}

hanse_rc hanse_sha256_init(hanse_sha256_stream *stream, hanse_err *err)
{
    (void)pthread_once(&fetched, fetch);
    if (stream->ctx == NULL)
        stream->ctx = EVP_MD_CTX_new();
    if (stream->ctx == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "SHA-256: out of memory");
    if (sha256 == NULL || EVP_DigestInit_ex2(stream->ctx, sha256, NULL) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "SHA-256");
    return HANSE_OK;
}

hanse_rc hanse_sha256_update(hanse_sha256_stream *stream, hanse_bytes data, hanse_err *err)
{
    if (stream->ctx == NULL)
        return HANSE_FAIL(err, HANSE_E_USAGE, "SHA-256: update before init");
    if (data.len > 0 && EVP_DigestUpdate(stream->ctx, data.data, data.len) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "SHA-256");
    return HANSE_OK;
}

hanse_rc hanse_sha256_final(hanse_sha256_stream *stream, uint8_t out[HANSE_DIGEST_LEN], hanse_err *err)
{
    if (stream->ctx == NULL)
        return HANSE_FAIL(err, HANSE_E_USAGE, "SHA-256: final before init");
    if (EVP_DigestFinal_ex(stream->ctx, out, NULL) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "SHA-256");
    return HANSE_OK;
}

void hanse_sha256_clear(hanse_sha256_stream *stream)
{
    EVP_MD_CTX_free(stream->ctx);
    stream->ctx = NULL;
}

static hanse_rc derive(uint8_t *out, size_t out_len, int mode, hanse_bytes key, const char *second, hanse_bytes value,
                       hanse_err *err)
{
    EVP_KDF_CTX *ctx = NULL;
    hanse_rc rc = HANSE_OK;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)(key.len > 0 ? key.data : (const uint8_t *)""), key.len),
        OSSL_PARAM_construct_octet_string(second, (void *)(uintptr_t)(value.len > 0 ? value.data : (const uint8_t *)""), value.len),
        OSSL_PARAM_construct_end(),
    };

    (void)pthread_once(&fetched, fetch);
    if (hkdf != NULL)
        ctx = EVP_KDF_CTX_new(hkdf);
    if (ctx == NULL || EVP_KDF_derive(ctx, out, out_len, params) != 1)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "HKDF");
    EVP_KDF_CTX_free(ctx);
    return rc;
}

hanse_rc hanse_hkdf_extract(uint8_t prk[32], hanse_bytes salt, hanse_bytes ikm, hanse_err *err)
{
    return derive(prk, 32, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, ikm, OSSL_KDF_PARAM_SALT, salt, err);
}

hanse_rc hanse_hkdf_expand(uint8_t *out, size_t out_len, const uint8_t prk[32], hanse_bytes info, hanse_err *err)
{
    if (out_len == 0 || out_len > 255 * 32)
        return HANSE_FAIL(err, HANSE_E_USAGE, "HKDF: %zu bytes asked for, 1..8160 possible", out_len);
    return derive(out, out_len, EVP_KDF_HKDF_MODE_EXPAND_ONLY, (hanse_bytes){prk, 32}, OSSL_KDF_PARAM_INFO, info, err);
}

hanse_rc hanse_random(uint8_t *out, size_t len, hanse_err *err)
{
    if (len > 0 && RAND_priv_bytes_ex(NULL, out, len, 0) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_IO, "no random bytes from the system");
    return HANSE_OK;
}
