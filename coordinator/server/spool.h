/* spool.h - a contribution on disk while it arrives, and until its round is published.
 *
 * One file an upload: spool/RUN-SLOT-SITE. It begins with the signed header as it came (4 KiB are kept for it), so that it
 * speaks for itself after a restart; the sealed chunks follow at computed offsets. What counts as held is whole chunks. */
#ifndef HANSE_COORDINATOR_SPOOL_H
#define HANSE_COORDINATOR_SPOOL_H

#include "hanse/file.h"
#include "hanse/gather.h"
#include "hanse/object.h"

typedef struct hanse_spool {
    hanse_path path;
    int fd;
    hanse_upload upload;
    uint8_t upload_hash[32]; /* SHA-256 of the header */
    hanse_buf header, sig;   /* as they came */
    uint64_t chunks;         /* of the whole upload */
    uint64_t held;           /* chunks 0..held-1 are there */
    hanse_gather gather;     /* of chunk `held`; empty when it is whole */
} hanse_spool;

#define HANSE_SPOOL_CLOSED ((hanse_spool){.fd = -1})

/* Bytes of the file when it is complete. */
uint64_t hanse_spool_size(const hanse_upload *upload);
/* Open the spool of this upload in `dir`, or create it. The same header goes on where it stopped; another one (the site sealed anew)
 * starts from nothing. `spool` is overwritten. Errors: PROTOCOL (header), IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_spool_open(hanse_spool *spool, const char *dir, hanse_bytes header, hanse_bytes sig, hanse_err *err);
/* Sealed length of chunk `index` [bytes]: plaintext and tag. */
size_t hanse_spool_chunk_len(const hanse_spool *spool, uint64_t index);
/* Put `piece` at `offset` of chunk `index` (== held); with its last byte the chunk is in the file. Errors: IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_spool_put(hanse_spool *spool, uint64_t index, size_t offset, hanse_bytes piece, hanse_err *err);
/* Read sealed chunk `index` into `out` [hanse_spool_chunk_len()]. Thread-safe. */
HANSE_MUST_CHECK hanse_rc hanse_spool_get(const hanse_spool *spool, uint64_t index, uint8_t *out, hanse_err *err);
/* Make all of it durable, its name too. Thread-safe. */
HANSE_MUST_CHECK hanse_rc hanse_spool_sync(const hanse_spool *spool, hanse_err *err);
void hanse_spool_close(hanse_spool *spool);  /* keeps the file */
void hanse_spool_remove(hanse_spool *spool); /* closes, and removes the file */
/* Path of a spool: for what is left of earlier rounds. */
HANSE_MUST_CHECK hanse_rc hanse_spool_path(hanse_path out, const char *dir, const hanse_upload *upload, hanse_err *err);

#endif
