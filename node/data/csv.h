/* csv.h - a stream of records out of a delimited text file (RFC 4180, any one-byte delimiter).
 *
 * LF and CRLF; a UTF-8 byte order mark is skipped; quoted fields may hold delimiters, newlines and "" for a quote; empty
 * lines are skipped; the last line may lack its newline. Refused: NUL bytes, a quote inside an unquoted field, text after
 * a closing quote, a quote that never closes, a lone CR, and what exceeds the limits. Module-private. */
#ifndef HANSE_NODE_CSV_H
#define HANSE_NODE_CSV_H

#include "node/data/input.h"

#define HANSE_CSV_FIELD_LEN_MAX ((size_t)1 << 16)  /* bytes */
#define HANSE_CSV_RECORD_LEN_MAX ((size_t)1 << 20) /* bytes, with one for each field */
#define HANSE_CSV_FIELDS_MAX ((size_t)1 << 14)

enum { HANSE_CSV_BLOCK_LEN = 1 << 15 };

typedef struct hanse_csv {
    hanse_input *input; /* borrowed */
    char delimiter;
    uint64_t line;      /* where the record began, from 1 */
    size_t fields_count;
    /* private */
    uint64_t next_line;
    hanse_buf text;   /* the fields, each with a terminating zero */
    size_t *starts;   /* [fields_cap] */
    size_t fields_cap;
    uint8_t *block;   /* [HANSE_CSV_BLOCK_LEN] */
    size_t block_len, block_at;
} hanse_csv;

/* `out` owned by the caller on success. delimiter: not a quote, newline, CR or NUL. Errors: INVALID, NOMEM, IO. */
HANSE_MUST_CHECK hanse_rc hanse_csv_init(hanse_csv *out, hanse_input *input, char delimiter, hanse_err *err);
void hanse_csv_clear(hanse_csv *csv); /* zeroed allowed; wipes */
/* The next record; *end is true, and there is none, behind the last. Errors: INVALID (file and line), IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_csv_next(hanse_csv *csv, bool *end, hanse_err *err);
/* Field idx < fields_count of the record: zero-terminated, without its quotes and without blanks around it; valid until
 * the next record. */
hanse_bytes hanse_csv_field(const hanse_csv *csv, size_t idx);
bool hanse_utf8_is_valid(hanse_bytes text);

#endif
