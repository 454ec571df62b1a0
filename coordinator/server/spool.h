/* spool.h - a contribution on disk while it arrives, and until its round is published.
 *
 * One file an upload: spool/RUN-SLOT-SITE. It begins with the signed header as it came (8 KiB are kept for it), so that it
 * speaks for itself after a restart; the chunks follow without gaps, sealed or masked: the spool knows their lengths and
 * nothing else of them. What counts as held is whole chunks. */
#ifndef HANSE_COORDINATOR_SPOOL_H
#define HANSE_COORDINATOR_SPOOL_H

#include "hanse/file.h"
#include "hanse/gather.h"

/* Whose upload it is, and where its chunks lie. */
typedef struct hanse_spool_shape {
    uint8_t run[16], site_id[32];
    uint64_t slot;
    uint64_t chunks;
    uint64_t *offsets; /* [chunks + 1] of chunk i in the upload, the last one its length [bytes]; owned by whoever holds the shape */
} hanse_spool_shape;

typedef struct hanse_spool {
    hanse_path path;
    int fd;
    hanse_spool_shape shape;
    hanse_buf header, sig; /* as they came */
    uint8_t header_hash[32];
    uint64_t held;       /* chunks 0..held-1 are there */
    hanse_gather gather; /* of chunk `held`; empty when it is whole */
} hanse_spool;

#define HANSE_SPOOL_CLOSED ((hanse_spool){.fd = -1})

/* Bytes of the file when it is complete; 0 when the spool is closed. */
uint64_t hanse_spool_size(const hanse_spool *spool);
/* The same of an upload of that shape. */
uint64_t hanse_spool_shape_size(const hanse_spool_shape *shape);
/* Open the spool of this upload in `dir`, or create it. The same header goes on where it stopped; another one (the site sealed anew)
 * starts from nothing. `spool` is overwritten and takes over shape->offsets, also on error. Errors: PROTOCOL (header too long), IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_spool_open(hanse_spool *spool, const char *dir, const hanse_spool_shape *shape, hanse_bytes header,
                                           hanse_bytes sig, hanse_err *err);
/* The same of an upload that is known to be whole; its file is not touched. Errors: PROTOCOL, NOMEM, IO,
 * CORRUPT (it is gone, shorter, or begins with another header). */
HANSE_MUST_CHECK hanse_rc hanse_spool_reopen(hanse_spool *spool, const char *dir, const hanse_spool_shape *shape, hanse_bytes header,
                                             hanse_bytes sig, hanse_err *err);
/* For reading elsewhere: a descriptor and offsets of its own, without header. Close it. Errors: IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_spool_share(hanse_spool *out, const hanse_spool *spool, hanse_err *err);
/* Length of chunk `index` [bytes]. */
size_t hanse_spool_chunk_len(const hanse_spool *spool, uint64_t index);
/* Put `piece` at `offset` of chunk `index` (== held); with its last byte the chunk is in the file. Errors: IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_spool_put(hanse_spool *spool, uint64_t index, size_t offset, hanse_bytes piece, hanse_err *err);
/* Read chunk `index` into `out` [hanse_spool_chunk_len()]. Thread-safe. */
HANSE_MUST_CHECK hanse_rc hanse_spool_get(const hanse_spool *spool, uint64_t index, uint8_t *out, hanse_err *err);
/* Read `len` bytes from byte `at` of the upload. Thread-safe. */
HANSE_MUST_CHECK hanse_rc hanse_spool_read(const hanse_spool *spool, uint64_t at, uint8_t *out, size_t len, hanse_err *err);
/* Make all of it durable, its name too. Thread-safe. */
HANSE_MUST_CHECK hanse_rc hanse_spool_sync(const hanse_spool *spool, hanse_err *err);
void hanse_spool_close(hanse_spool *spool);  /* keeps the file */
void hanse_spool_remove(hanse_spool *spool); /* closes, and removes the file */

#endif
