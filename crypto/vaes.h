/* vaes.h - a mask's stream made and added in registers, by the processor's vector AES. Inside crypto/ only.
 *
 * The same bytes as crypto/ctr.h, which OpenSSL makes one AES block at a time; VAES does two or four, and what
 * is added where it is made does not cross the cache. Used only where it gave OpenSSL's bytes when it was tried. */
#ifndef HANSE_CRYPTO_VAES_H
#define HANSE_CRYPTO_VAES_H

#include "hanse/bytes.h"

/* How a stream goes over words: as lanes of 4 or 8 bytes, added or subtracted. */
typedef struct hanse_lane {
    size_t len; /* 4 or 8 */
    bool subtract;
} hanse_lane;

/* Bytes a vector: 64 (AVX-512), 32 (AVX2), or 0: this processor has no VAES, or it did not pass its test. Thread-safe. */
size_t hanse_vaes_width(void);
/* For tests: at most this wide from now on; not while another thread masks. */
void hanse_vaes_limit(size_t width);
/* The stream of `key` from byte `position` on, over words [len bytes]; position and len are multiples of the lane.
 * The width is not 0. */
void hanse_vaes_fold(const uint8_t key[32], uint64_t position, uint8_t *words, size_t len, hanse_lane lane);

#endif
