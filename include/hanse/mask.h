/* mask.h - pseudo-random masks that two sites share and that cancel in their sum.
 *
 * After Bonawitz et al. (CCS 2017, doi:10.1145/3133956.3133982): site i adds to its words one mask of its own and one
 * for each other site j; of a pair the one with the lower site id adds and the other subtracts.
 * A seed is spread over a segment's words (32-bit or 64-bit lanes, little-endian in the stream) by AES-256-CTR:
 *   key    = HKDF-Expand(seed, "hanse1/prg" || u32be segment || u32be superchunk, 32), a superchunk is 2^32 bytes
 *   word w = the lane at byte w * lane size, counted through the superchunks
 * so that any part can be made alone, in any order. Pure: no randomness, no I/O. */
#ifndef HANSE_MASK_H
#define HANSE_MASK_H

#include "hanse/bytes.h"

#define HANSE_MASK_SEED_LEN 32
#define HANSE_MASK_WORDS_MAX ((uint64_t)1 << 48) /* first + count of a call stays below */

/* One end of a pair: who, and its public key of this ticket. */
typedef struct hanse_mask_party {
    const uint8_t *site_id; /* [32] */
    const uint8_t *pub;     /* [32] X25519 */
} hanse_mask_party;

/* The seed that `me` and `peer` share for one round; both ends derive the same:
 *   HKDF(ikm = X25519(secret, peer.pub) || psk, salt = round_id,
 *        info = "hanse1/pair" || SHA-256(id || pub of the lower site id || id || pub of the higher))
 *   secret    [32] of me.pub
 *   psk       a secret the two share besides, against a later break of X25519; empty or 32 bytes
 *   subtract  does `me` subtract (its id is the higher one)
 * Errors: AUTH (the peer's key is of low order), USAGE (equal ids; another psk length), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_mask_pair_seed(uint8_t seed[HANSE_MASK_SEED_LEN], bool *subtract, hanse_mask_party me,
                                               const uint8_t secret[32], hanse_mask_party peer, hanse_bytes psk,
                                               const uint8_t round_id[32], hanse_err *err);
/* The seed of a site's own mask: HKDF(ikm = b, salt = round_id, info = "hanse1/self" || site_id). Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_mask_self_seed(uint8_t seed[HANSE_MASK_SEED_LEN], const uint8_t b[32],
                                               const uint8_t round_id[32], const uint8_t site_id[32], hanse_err *err);

/* One seed ready for use. It is only read: any number of threads may use it at once. */
typedef struct hanse_mask hanse_mask; /* opaque */

/* The seed is copied; `subtract`: the words of this mask are taken away instead of added. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_mask_new(hanse_mask **out, const uint8_t seed[HANSE_MASK_SEED_LEN], bool subtract,
                                         hanse_err *err);
void hanse_mask_free(hanse_mask *mask); /* NULL allowed; wipes */

/* words[k] = words[k] +- word (first + k) of every mask's segment, modulo 2^32 (or 2^64), k in [0,count).
 * All masks go over 128 KiB of words before the next, so that the words cross memory once.
 *   masks  [masks_count], none twice; masks_count 0 changes nothing
 * Errors: USAGE (first + count too large, or the library refused), NOMEM; `words` is then undefined. */
HANSE_MUST_CHECK hanse_rc hanse_mask_apply_u32(hanse_mask *const *masks, size_t masks_count, uint32_t segment,
                                               uint64_t first, uint32_t *words, size_t count, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_mask_apply_u64(hanse_mask *const *masks, size_t masks_count, uint32_t segment,
                                               uint64_t first, uint64_t *words, size_t count, hanse_err *err);

#endif
