#include "hanse/digest.h"
#include "crypto/openssl_error.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *sha256; /* for the life of the process: a fetch costs more than a small digest */
static EVP_MAC_CTX *hmac_sha256;

static const uint8_t zeros[32] = {0};

static void fetch(void)
{
    const OSSL_PARAM digest[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0), OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac_sha256 = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    if (hmac_sha256 != NULL && EVP_MAC_init(hmac_sha256, zeros, sizeof zeros, digest) != 1) { /* OpenSSL 3.0.0 copies no context without a key */
        EVP_MAC_CTX_free(hmac_sha256);
        hmac_sha256 = NULL;
    }
    EVP_MAC_free(mac); /* the context holds it */
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

/* RFC 2104. The template is only read: each call keys a copy of its own, which is wiped when it is freed. */
static hanse_rc hmac(uint8_t out[32], hanse_bytes key, const hanse_bytes *parts, size_t parts_count, hanse_err *err)
{
    EVP_MAC_CTX *ctx = NULL;
    hanse_rc rc = HANSE_OK;
    size_t len;

    (void)pthread_once(&fetched, fetch);
    if (hmac_sha256 == NULL)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "HMAC");
    ctx = EVP_MAC_CTX_dup(hmac_sha256);
    if (ctx == NULL)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_NOMEM, "HMAC");
    else if (EVP_MAC_init(ctx, key.data, key.len, NULL) != 1)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "HMAC");
    for (size_t i = 0; rc == HANSE_OK && i < parts_count; i++)
        if (parts[i].len > 0 && EVP_MAC_update(ctx, parts[i].data, parts[i].len) != 1)
            rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "HMAC");
    if (rc == HANSE_OK && EVP_MAC_final(ctx, out, &len, 32) != 1)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "HMAC");
    EVP_MAC_CTX_free(ctx);
    return rc;
}

/* HKDF is put together here, RFC 5869 2.2 and 2.3: EVP_KDF looks the digest up by its name in every call, which takes four
 * times as long as the two or three blocks to be hashed, and a site of a large consortium makes thousands of them in a round. */
hanse_rc hanse_hkdf_extract(uint8_t prk[32], hanse_bytes salt, hanse_bytes ikm, hanse_err *err)
{
    return hmac(prk, salt.len > 0 ? salt : (hanse_bytes){zeros, sizeof zeros}, &ikm, 1, err);
}

hanse_rc hanse_hkdf_expand(uint8_t *out, size_t out_len, const uint8_t prk[32], hanse_bytes info, hanse_err *err)
{
    uint8_t block[32], counter = 1;
    hanse_bytes parts[] = {HANSE_BYTES_EMPTY, info, {&counter, 1}};
    hanse_rc rc = HANSE_OK;

    if (out_len == 0 || out_len > 255 * sizeof block)
        return HANSE_FAIL(err, HANSE_E_USAGE, "HKDF: %zu bytes asked for, 1..8160 possible", out_len);
    for (size_t len; rc == HANSE_OK && out_len > 0; out += len, out_len -= len, counter++) {
        len = out_len < sizeof block ? out_len : sizeof block;
        rc = hmac(block, (hanse_bytes){prk, 32}, parts, 3, err);
        if (rc == HANSE_OK)
            memcpy(out, block, len);
        parts[0] = (hanse_bytes){block, sizeof block};
    }
    hanse_wipe(block, sizeof block);
    return rc;
}

hanse_rc hanse_random(uint8_t *out, size_t len, hanse_err *err)
{
    if (len > 0 && RAND_priv_bytes_ex(NULL, out, len, 0) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_IO, "no random bytes from the system");
    return HANSE_OK;
}
