/* archive.h - many files in one, with one checksum over all: what `backup` writes and `restore` reads.
 *
 *   "hanse-backup 1\n"
 *   entry*:  u32 path_len, u32 mode, u64 len, path (no zero), content        all little-endian
 *   u32 0, then the SHA-256 of everything before it
 *
 * An entry's path is relative and of letters, digits, '/', '.', '-' and '_' without "..". */
#ifndef HANSE_COORDINATOR_ARCHIVE_H
#define HANSE_COORDINATOR_ARCHIVE_H

#include "hanse/file.h"

typedef struct hanse_archive hanse_archive; /* opaque; body in archive.c */

/* Write `path` (0600) under a temporary name until hanse_archive_commit(). `out` owned by the caller. Errors: IO, FULL. */
HANSE_MUST_CHECK hanse_rc hanse_archive_create(hanse_archive **out, const char *path, hanse_err *err);
/* Add the file `from` as `name`. Errors: NOTFOUND (nothing was added), IO, FULL, CORRUPT (it shrank while it was read). */
HANSE_MUST_CHECK hanse_rc hanse_archive_add(hanse_archive *archive, const char *from, const char *name, unsigned mode, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_archive_commit(hanse_archive *archive, hanse_err *err);

/* Open for reading, after the checksum over the whole file was right. Errors: NOTFOUND, IO, CORRUPT (damaged, cut short, no
 * backup), VERSION. */
HANSE_MUST_CHECK hanse_rc hanse_archive_open(hanse_archive **out, const char *path, hanse_err *err);

typedef struct hanse_archive_entry {
    hanse_path name;
    unsigned mode; /* 0600 or 0644 */
    uint64_t len;
} hanse_archive_entry;

/* The next entry; `found` false after the last. Errors: CORRUPT. */
HANSE_MUST_CHECK hanse_rc hanse_archive_next(hanse_archive *archive, hanse_archive_entry *entry, bool *found, hanse_err *err);
/* Its content into the new file `to`, durable. Once an entry. Errors: IO, FULL. */
HANSE_MUST_CHECK hanse_rc hanse_archive_extract(hanse_archive *archive, const hanse_archive_entry *entry, const char *to, hanse_err *err);

void hanse_archive_free(hanse_archive *archive); /* NULL allowed; what was not committed is gone */

#endif
