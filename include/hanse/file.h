/* file.h - whole files, durable writes, directories and the directory lock.
 *
 * Nothing half-written is ever seen under its final name: content goes to a temporary file beside it, is flushed to
 * the disk, and then takes the name. */
#ifndef HANSE_FILE_H
#define HANSE_FILE_H

#include "hanse/bytes.h"

#define HANSE_PATH_MAX 4096 /* bytes of a path, with the zero */
#define HANSE_MODE_SECRET 0600u
#define HANSE_MODE_PUBLIC 0644u
#define HANSE_MODE_DIR 0700u

typedef char hanse_path[HANSE_PATH_MAX];

/* "dir/name"; `name` alone when it is absolute or `dir` is empty. `out` may be neither input.
 * Errors: INVALID (longer than HANSE_PATH_MAX). */
HANSE_MUST_CHECK hanse_rc hanse_path_join(hanse_path out, const char *dir, const char *name, hanse_err *err);
bool hanse_file_exists(const char *path);

/* The whole content of a regular file of at most `len_max` bytes; a zero stands behind it, uncounted.
 *   out  replaced on success, untouched on error; owned by the caller
 * Errors: NOTFOUND, INVALID (longer, or no regular file), IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_file_read(hanse_buf *out, const char *path, size_t len_max, hanse_err *err);
/* Put `content` under `path` with exactly `mode`, durably; the old file stays whole until then, and on any error.
 * Errors: IO, FULL. */
HANSE_MUST_CHECK hanse_rc hanse_file_write(const char *path, hanse_bytes content, unsigned mode, hanse_err *err);
/* The same for a file written in pieces: create an empty temporary file beside `path` (temp gets its name, *fd is open
 * for reading and writing), then either commit (flush, close, rename) or discard (close, unlink). Both set *fd to -1;
 * commit discards on error. */
HANSE_MUST_CHECK hanse_rc hanse_file_create(int *fd, hanse_path temp, const char *path, unsigned mode, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_file_commit(int *fd, const char *temp, const char *path, hanse_err *err);
void hanse_file_discard(int *fd, const char *temp); /* *fd < 0: nothing happens */
/* Flush the directory that holds `path`: makes a rename, a creation or an unlink in it durable. */
HANSE_MUST_CHECK hanse_rc hanse_file_sync_parent(const char *path, hanse_err *err);

/* Create `path` and its missing parents with `mode`; what exists already keeps its mode. Errors: IO, FULL. */
HANSE_MUST_CHECK hanse_rc hanse_dir_make(const char *path, unsigned mode, hanse_err *err);
/* Delete the regular files of the directory that changed longest ago, until `keep` are left. Errors: IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_dir_keep_newest(const char *path, size_t keep, hanse_err *err);

/* Exactly `len` bytes at `offset`, whatever the kernel splits. `what` names the file in the error text.
 * Errors: IO, FULL; CORRUPT when the file ends before. */
HANSE_MUST_CHECK hanse_rc hanse_fd_read_at(int fd, void *data, size_t len, uint64_t offset, const char *what, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_fd_write_at(int fd, const void *data, size_t len, uint64_t offset, const char *what,
                                            hanse_err *err);

/* The one lock of a working directory, on DIR/lock; the kernel releases it with the process, however that ends.
 *   out_fd  keep it open as long as the lock is held; see hanse_lock_release()
 * Errors: LOCKED (another process, or another open of this one, holds it), IO. */
HANSE_MUST_CHECK hanse_rc hanse_lock_try(int *out_fd, const char *dir, hanse_err *err);
void hanse_lock_release(int *fd); /* -1 allowed; -1 afterwards */

#endif
