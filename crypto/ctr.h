/* ctr.h - AES-256-CTR as a stream of pseudo-random bytes that can be entered at any place. Inside crypto/ only.
 *
 * Byte p of a stream is byte p mod 16 of AES(key, 0^8 || u64be(p / 16)). One thread at a time; wiped on clear. */
#ifndef HANSE_CRYPTO_CTR_H
#define HANSE_CRYPTO_CTR_H

#include "hanse/bytes.h"

#define HANSE_CTR_BLOCK ((size_t)4096) /* bytes made at a time: with what they are added to they fit a cache of 32 KiB (16384 loses a third) */

typedef struct hanse_ctr {
    struct evp_cipher_ctx_st *ctx; /* NULL before the first key */
} hanse_ctr;

#define HANSE_CTR_EMPTY ((hanse_ctr){NULL})

/* Errors: NOMEM, USAGE (the library refused). */
HANSE_MUST_CHECK hanse_rc hanse_ctr_key(hanse_ctr *ctr, const uint8_t key[32], hanse_err *err);
/* Go to byte `position` of the stream. */
HANSE_MUST_CHECK hanse_rc hanse_ctr_seek(hanse_ctr *ctr, uint64_t position, hanse_err *err);
/* The next `len` bytes, at most HANSE_CTR_BLOCK. */
HANSE_MUST_CHECK hanse_rc hanse_ctr_next(hanse_ctr *ctr, uint8_t *out, size_t len, hanse_err *err);
void hanse_ctr_clear(hanse_ctr *ctr);

#endif
