/* input.h - the bytes of one file, plain or gzip, as a stream. Module-private. */
#ifndef HANSE_NODE_INPUT_H
#define HANSE_NODE_INPUT_H

#include "hanse/bytes.h"

typedef struct hanse_input {
    const char *path; /* borrowed; begins every message */
    void *gz;         /* zlib's gzFile; NULL: reads `memory` */
    hanse_bytes memory;
} hanse_input;

#define HANSE_INPUT_EMPTY ((hanse_input){NULL, NULL, {NULL, 0}})

/* Errors: NOTFOUND, IO, INVALID (no regular file), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_input_open(hanse_input *out, const char *path, hanse_err *err);
/* Bytes in memory under the name `path`; both borrowed. */
hanse_input hanse_input_of(const char *path, hanse_bytes memory);
/* Up to `len` bytes; *got < len only at the end of the file. Errors: IO, INVALID (broken gzip). */
HANSE_MUST_CHECK hanse_rc hanse_input_read(hanse_input *input, void *out, size_t len, size_t *got, hanse_err *err);
void hanse_input_close(hanse_input *input); /* empty allowed; empty afterwards */

#endif
