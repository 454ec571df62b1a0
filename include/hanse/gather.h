/* gather.h - small pieces of a stream that go to a file, written in large ones.
 *
 * TLS hands over 16 KiB at a time; the page cache takes 128 KiB at half the cost a byte. One owner; not thread-safe. */
#ifndef HANSE_GATHER_H
#define HANSE_GATHER_H

#include "hanse/bytes.h"

#define HANSE_GATHER_LEN ((size_t)128 << 10)

typedef struct hanse_gather { /* zeros: empty */
    size_t cap;    /* bytes of `room`, to be set before the first piece; 0: HANSE_GATHER_LEN */
    uint8_t *room; /* taken by the first piece */
    size_t len;
    uint64_t at;   /* where in the file it belongs */
} hanse_gather;

/* Take `piece` for byte `at` of `fd`; what is full is written. `what` names the file. Errors: IO, FULL, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_gather_put(hanse_gather *gather, int fd, uint64_t at, hanse_bytes piece, const char *what, hanse_err *err);
/* Write what is held. Errors: IO, FULL. */
HANSE_MUST_CHECK hanse_rc hanse_gather_flush(hanse_gather *gather, int fd, const char *what, hanse_err *err);
void hanse_gather_clear(hanse_gather *gather); /* drops what is held */

#endif
