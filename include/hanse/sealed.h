/* sealed.h - how the chunks of an upload are bound to it: docs/wire.md#uploads. Both sides. */
#ifndef HANSE_SEALED_H
#define HANSE_SEALED_H

#include "hanse/bytes.h"

#define HANSE_SEALED_INFO "hanse1/upload" /* of the HPKE context */
#define HANSE_SEALED_AAD_LEN 41

/* AAD of chunk `index`: upload_hash (SHA-256 of the header's bytes), index u64 big-endian, 1 for the last chunk. */
static inline void hanse_sealed_aad(uint8_t aad[HANSE_SEALED_AAD_LEN], const uint8_t upload_hash[32], uint64_t index, bool last)
{
    memcpy(aad, upload_hash, 32);
    for (int i = 0; i < 8; i++)
        aad[32 + i] = (uint8_t)(index >> (56 - 8 * i));
    aad[40] = last;
}

#endif
