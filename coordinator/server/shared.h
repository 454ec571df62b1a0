/* shared.h - what many sessions are sent at the same time is kept once.
 *
 * Rosters, epochs, tickets and cuts are lists over the n sites that go to each of them: in n queues they would take n^2 memory. Two
 * messages of one kind that are queued at the same time share the bytes that they begin with; a MASKS differs only in the shares at its
 * end. Pure; one thread. */
#ifndef HANSE_COORDINATOR_SHARED_H
#define HANSE_COORDINATOR_SHARED_H

#include "hanse/bytes.h"

#define HANSE_SHARED_MIN ((size_t)4096) /* bytes; less is not worth it */

typedef struct hanse_shared hanse_shared; /* opaque: bytes and how many hold them; gone with the last of these */

/* A message in a queue: `head_len` bytes of `head`, then `rest`. */
typedef struct hanse_parts {
    hanse_shared *head; /* NULL: none */
    size_t head_len;
    hanse_buf rest;
} hanse_parts;

#define HANSE_PARTS_EMPTY ((hanse_parts){NULL, 0, {NULL, 0, 0}})

/* Take `bytes` (empty afterwards). `newest` is the last one of its kind that somebody holds, NULL at first; kept up to date here and when
 * its last holder lets go, so it must outlive all parts. Errors: NOMEM (nothing has changed). */
HANSE_MUST_CHECK hanse_rc hanse_parts_take(hanse_parts *out, hanse_shared **newest, hanse_buf *bytes, hanse_err *err);
size_t hanse_parts_len(const hanse_parts *parts);
/* room[0..len) = bytes from `at` on; at + len is at most hanse_parts_len(). */
void hanse_parts_read(const hanse_parts *parts, size_t at, uint8_t *room, size_t len);
void hanse_parts_clear(hanse_parts *parts); /* empty afterwards */

#endif
