/* inbox.h - puts messages together from the pieces in which a websocket delivers them.
 *
 * A small message is collected in a buffer that grows with what has arrived, never with what was announced, up to the
 * bound of its kind; a CHUNK is never collected: its head, pieces of its payload and its end are handed on as they
 * come. The same code serves both sides. Pure. */
#ifndef HANSE_INBOX_H
#define HANSE_INBOX_H

#include "hanse/message.h"

/* What the owner wants to hear. All are needed; an error from one ends the inbox and is passed on by feed(). What is
 * borrowed lives until the callback returns, but for the head of a chunk: its digest lives until the end of that chunk. */
typedef struct hanse_inbox_ops {
    /* A whole message of any kind but CHUNK. */
    hanse_rc (*message)(void *user, const hanse_message *message, hanse_err *err);
    /* A chunk begins; head->payload is {NULL, bytes to come}. */
    hanse_rc (*chunk_head)(void *user, const hanse_msg_chunk *head, hanse_err *err);
    /* The next bytes of its payload; `offset` is how many came before. */
    hanse_rc (*chunk_data)(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err);
    /* Its payload is complete. A chunk that breaks off has no end. */
    hanse_rc (*chunk_end)(void *user, const hanse_msg_chunk *head, hanse_err *err);
} hanse_inbox_ops;

typedef struct hanse_inbox {
    const hanse_inbox_ops *ops;
    void *user;
    hanse_way from;        /* whose messages these are */
    hanse_buf held;        /* of the message under way: a small message, or the head of a chunk */
    hanse_msg_chunk chunk; /* under way once `in_chunk` */
    size_t payload_done;   /* bytes of its payload that were handed on */
    bool in_chunk;
    bool failed;
} hanse_inbox;

/* Caller's memory; `ops` must outlive it. */
void hanse_inbox_init(hanse_inbox *inbox, const hanse_inbox_ops *ops, void *user, hanse_way from);
void hanse_inbox_clear(hanse_inbox *inbox); /* NULL allowed */

/* The next `piece` (any length, also 0) of the message under way; `last` ends that message.
 * Errors: PROTOCOL (malformed, too long, wrong way), NOMEM, and whatever a callback returns; the inbox takes nothing
 * more afterwards: close the connection. */
HANSE_MUST_CHECK hanse_rc hanse_inbox_feed(hanse_inbox *inbox, hanse_bytes piece, bool last, hanse_err *err);

#endif
