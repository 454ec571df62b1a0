/* model_root.h - the identity of a model file: SHA-256("hanse1/model" 00, size u64 big-endian, digests of its 1 MiB chunks in order).
 *
 * docs/wire.md#models. Chunk digests are SHA-256 of the chunk's bytes; a receiver checks each on arrival and keeps them for the root. */
#ifndef HANSE_MODEL_ROOT_H
#define HANSE_MODEL_ROOT_H

#include "hanse/digest.h"

#define HANSE_MODEL_CHUNK ((size_t)1 << 20) /* bytes */

/* Chunks of a file or data segment of `size` bytes: ceil(size / 1 MiB). */
static inline uint64_t hanse_model_chunks(uint64_t size)
{
    return size / HANSE_MODEL_CHUNK + (size % HANSE_MODEL_CHUNK != 0);
}

/* Root from the digests [hanse_model_chunks(size)] of all chunks, one 32-byte digest behind the other. Errors: NOMEM, USAGE (OpenSSL refused). */
HANSE_MUST_CHECK hanse_rc hanse_model_root_of_digests(uint8_t root[32], uint64_t size, const uint8_t *digests, hanse_err *err);
/* Root of the file at `path`, read in chunks. `size` (NULL allowed) gets its bytes. Errors: NOTFOUND, IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_model_root_of_file(uint8_t root[32], uint64_t *size, const char *path, hanse_err *err);
/* Does the file have this root? Errors: AUTH (another root), else as above. */
HANSE_MUST_CHECK hanse_rc hanse_model_root_check(const uint8_t root[32], const char *path, hanse_err *err);

#endif
