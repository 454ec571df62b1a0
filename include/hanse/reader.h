/* reader.h - canonical bytes: big-endian integers, raw bytes, and u32-length-prefixed bytes and text.
 *
 * Both sides are sticky: after the first failure every call does nothing (reads give zeros), so that a codec is a plain
 * list of fields with one check at its end. Layouts: docs/wire.md#signed-objects-canonical-bytes. Pure. */
#ifndef HANSE_READER_H
#define HANSE_READER_H

#include "hanse/bytes.h"

typedef struct hanse_writer {
    hanse_buf *out; /* borrowed; appended to */
    hanse_rc rc;
} hanse_writer;

static inline hanse_writer hanse_writer_to(hanse_buf *out)
{
    return (hanse_writer){out, HANSE_OK};
}
void hanse_write_u8(hanse_writer *writer, uint8_t value);
void hanse_write_u32(hanse_writer *writer, uint32_t value);
void hanse_write_u64(hanse_writer *writer, uint64_t value);
void hanse_write_raw(hanse_writer *writer, const void *data, size_t len); /* no length: fixed-size fields */
void hanse_write_bytes(hanse_writer *writer, hanse_bytes bytes);          /* u32 length, then the bytes */
void hanse_write_str(hanse_writer *writer, const char *text);             /* the same, without the zero */
/* Errors: NOMEM; USAGE (bytes longer than u32). `out` then holds a part: clear it. */
HANSE_MUST_CHECK hanse_rc hanse_writer_done(const hanse_writer *writer, hanse_err *err);

typedef struct hanse_reader {
    hanse_bytes left;    /* not yet read; borrowed */
    size_t at;           /* bytes read so far */
    const char *problem; /* the first failure; NULL: none */
} hanse_reader;

static inline hanse_reader hanse_reader_of(hanse_bytes bytes)
{
    return (hanse_reader){bytes, 0, NULL};
}
uint8_t hanse_read_u8(hanse_reader *reader);
uint32_t hanse_read_u32(hanse_reader *reader);
uint64_t hanse_read_u64(hanse_reader *reader);
void hanse_read_raw(hanse_reader *reader, void *out, size_t len); /* zeros on failure */
hanse_bytes hanse_read_view(hanse_reader *reader, size_t len);    /* borrowed from the input; empty on failure */
hanse_bytes hanse_read_bytes(hanse_reader *reader, size_t len_max); /* u32 length <= len_max; borrowed; empty on failure */
/* u32 length and text of at most room-1 bytes without control characters, into out with a zero; "" on failure. */
void hanse_read_str(hanse_reader *reader, char *out, size_t room);
/* A failed check of the caller's own ("unknown kind"): `problem` is a string literal; an earlier one is kept. */
void hanse_reader_fail(hanse_reader *reader, const char *problem);
/* The codec's one check: nothing failed and nothing is left. `what` names the object.
 * Errors: PROTOCOL "WHAT: problem at byte N". */
HANSE_MUST_CHECK hanse_rc hanse_reader_done(const hanse_reader *reader, const char *what, hanse_err *err);

#endif
