/* cursor.h - reads msgpack that a stranger wrote: bounded, without recursion and without memory of its own.
 *
 * msgpack-c's unpacker allocates what an array header claims, so nothing that arrives goes through it. Every count
 * is checked against the bytes that are left; strings and bins are borrowed from the input. On any error the cursor
 * stays where it was. Errors: PROTOCOL. Pure. */
#ifndef HANSE_CURSOR_H
#define HANSE_CURSOR_H

#include "hanse/bytes.h"

typedef struct hanse_cursor {
    const uint8_t *data;
    size_t len; /* bytes left */
} hanse_cursor;

static inline hanse_cursor hanse_cursor_of(hanse_bytes bytes)
{
    return (hanse_cursor){bytes.data, bytes.len};
}

/* An array header; an item needs one byte at least, so `count` is at most what is left. */
HANSE_MUST_CHECK hanse_rc hanse_cursor_array(hanse_cursor *cursor, size_t *count, hanse_err *err);
/* An unsigned integer of any msgpack width, at most `max`. */
HANSE_MUST_CHECK hanse_rc hanse_cursor_uint(hanse_cursor *cursor, uint64_t *value, uint64_t max, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_cursor_bool(hanse_cursor *cursor, bool *value, hanse_err *err);
/* A bin or str whose bytes lie wholly in the input. */
HANSE_MUST_CHECK hanse_rc hanse_cursor_bin(hanse_cursor *cursor, hanse_bytes *value, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_cursor_str(hanse_cursor *cursor, hanse_bytes *value, hanse_err *err);
/* Only the header of a bin, for bytes that are still to come. Errors: AGAIN when the header itself is cut off. */
HANSE_MUST_CHECK hanse_rc hanse_cursor_bin_head(hanse_cursor *cursor, size_t *len, hanse_err *err);
/* Nothing may be left. */
HANSE_MUST_CHECK hanse_rc hanse_cursor_end(const hanse_cursor *cursor, hanse_err *err);

/* UTF-8 (RFC 3629: no overlong forms, no surrogates) without control characters (C0, DEL, C1). */
bool hanse_text_is_printable(hanse_bytes text);

#endif
