/* digest.h - SHA-256 (FIPS 180-4), HKDF-SHA256 (RFC 5869) and random bytes.
 *
 * Algorithms are fetched once per process. Everything here may be called from any thread. */
#ifndef HANSE_DIGEST_H
#define HANSE_DIGEST_H

#include "hanse/bytes.h"

#define HANSE_DIGEST_LEN 32

/* out = SHA-256(data). Errors: NOMEM, USAGE (the library refused). */
HANSE_MUST_CHECK hanse_rc hanse_sha256(uint8_t out[HANSE_DIGEST_LEN], hanse_bytes data, hanse_err *err);

/* The same in pieces: init, update..., final; may be begun again by another init. */
typedef struct hanse_sha256_stream {
    struct evp_md_ctx_st *ctx; /* NULL before the first init */
} hanse_sha256_stream;

#define HANSE_SHA256_STREAM_EMPTY ((hanse_sha256_stream){NULL})

HANSE_MUST_CHECK hanse_rc hanse_sha256_init(hanse_sha256_stream *stream, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_sha256_update(hanse_sha256_stream *stream, hanse_bytes data, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_sha256_final(hanse_sha256_stream *stream, uint8_t out[HANSE_DIGEST_LEN],
                                             hanse_err *err);
void hanse_sha256_clear(hanse_sha256_stream *stream); /* releases; EMPTY afterwards */

/* prk = HKDF-Extract(salt, ikm); an empty salt stands for 32 zero bytes. Errors: NOMEM, USAGE. */
HANSE_MUST_CHECK hanse_rc hanse_hkdf_extract(uint8_t prk[32], hanse_bytes salt, hanse_bytes ikm, hanse_err *err);
/* out = HKDF-Expand(prk, info, out_len), out_len 1..8160 bytes; undefined after an error. No overlap. Errors: NOMEM, USAGE. */
HANSE_MUST_CHECK hanse_rc hanse_hkdf_expand(uint8_t *out, size_t out_len, const uint8_t prk[32], hanse_bytes info,
                                            hanse_err *err);

/* len unpredictable bytes, fit for keys and tokens. Errors: IO (no entropy). */
HANSE_MUST_CHECK hanse_rc hanse_random(uint8_t *out, size_t len, hanse_err *err);

#endif
