#include "node/data/csv.h"

#include <inttypes.h>

/* Where the reader stands inside a record. */
typedef enum state { FIELD_START, PLAIN, QUOTED, QUOTE_IN_QUOTED } state;

enum { END = -1 };

static hanse_rc fill(hanse_csv *csv, hanse_err *err)
{
    csv->block_at = 0;
    return hanse_input_read(csv->input, csv->block, HANSE_CSV_BLOCK_LEN, &csv->block_len, err);
}

hanse_rc hanse_csv_init(hanse_csv *out, hanse_input *input, char delimiter, hanse_err *err)
{
    hanse_csv csv = {.input = input, .delimiter = delimiter, .next_line = 1};
    hanse_rc rc;

    if (delimiter == '"' || delimiter == '\n' || delimiter == '\r' || delimiter == '\0')
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: delimiter is byte %d; take a comma, semicolon or tab", input->path,
                          delimiter);
    csv.block = hanse_calloc(HANSE_CSV_BLOCK_LEN, 1);
    if (csv.block == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", input->path);
    rc = fill(&csv, err);
    if (rc != HANSE_OK) {
        hanse_csv_clear(&csv);
        return rc;
    }
    if (csv.block_len >= 3 && csv.block[0] == 0xef && csv.block[1] == 0xbb && csv.block[2] == 0xbf)
        csv.block_at = 3;
    *out = csv;
    return HANSE_OK;
}

void hanse_csv_clear(hanse_csv *csv)
{
    hanse_buf_wipe(&csv->text);
    if (csv->block != NULL)
        hanse_wipe(csv->block, HANSE_CSV_BLOCK_LEN);
    hanse_free(csv->block);
    hanse_free(csv->starts);
    *csv = (hanse_csv){0};
}

/* The next byte, or END. */
static hanse_rc take(hanse_csv *csv, int *byte, hanse_err *err)
{
    if (csv->block_at == csv->block_len) {
        hanse_rc rc = fill(csv, err);

        if (rc != HANSE_OK)
            return rc;
        if (csv->block_len == 0) {
            *byte = END;
            return HANSE_OK;
        }
    }
    *byte = csv->block[csv->block_at++];
    return HANSE_OK;
}

#define CSV_FAIL(csv, err, at, ...) csv_fail((csv), (err), (at), __VA_ARGS__)
static hanse_rc csv_fail(const hanse_csv *csv, hanse_err *err, uint64_t line, const char *what)
{
    return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": column %zu: %s", csv->input->path, line, csv->fields_count,
                      what);
}

static hanse_rc open_field(hanse_csv *csv, hanse_err *err)
{
    if (csv->fields_count == HANSE_CSV_FIELDS_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": more than %zu fields", csv->input->path, csv->line,
                          HANSE_CSV_FIELDS_MAX);
    if (csv->fields_count == csv->fields_cap) {
        size_t cap = csv->fields_cap == 0 ? 32 : 2 * csv->fields_cap;
        size_t *starts = hanse_realloc(csv->starts, cap, sizeof *starts);

        if (starts == NULL)
            return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", csv->input->path);
        csv->starts = starts;
        csv->fields_cap = cap;
    }
    csv->starts[csv->fields_count++] = csv->text.len;
    return HANSE_OK;
}

static hanse_rc put(hanse_csv *csv, int byte, hanse_err *err)
{
    hanse_buf *text = &csv->text;

    if (byte == 0)
        return CSV_FAIL(csv, err, csv->next_line, "a NUL byte; save the file as UTF-8 text");
    if (text->len - csv->starts[csv->fields_count - 1] >= HANSE_CSV_FIELD_LEN_MAX)
        return CSV_FAIL(csv, err, csv->line, "the field is longer than 65536 bytes; is a quote missing?");
    if (text->len >= HANSE_CSV_RECORD_LEN_MAX)
        return CSV_FAIL(csv, err, csv->line, "the line is longer than 1048576 bytes; is the delimiter right?");
    if (text->len + 2 > text->cap) { /* with room for the zero of close_field() */
        hanse_rc rc = hanse_buf_reserve(text, text->cap < 256 ? 256 : 2 * text->cap, err);

        if (rc != HANSE_OK)
            return rc;
    }
    text->data[text->len++] = (uint8_t)byte;
    return HANSE_OK;
}

static hanse_rc close_field(hanse_csv *csv, hanse_err *err)
{
    return hanse_buf_append(&csv->text, "", 1, err);
}

/* One byte moves the record on; *done when it ended. */
static hanse_rc step(hanse_csv *csv, state *at, uint64_t *quote_line, int byte, bool *done, hanse_err *err)
{
    bool ends = byte == '\n' || byte == END;
    hanse_rc rc;

    if (*at == QUOTED) {
        if (byte == END)
            return CSV_FAIL(csv, err, *quote_line, "the quote that opens here never closes");
        if (byte == '"') {
            *at = QUOTE_IN_QUOTED;
            return HANSE_OK;
        }
        rc = put(csv, byte, err);
        if (byte == '\n')
            csv->next_line++;
        return rc;
    }
    if (*at == QUOTE_IN_QUOTED && byte == '"') {
        *at = QUOTED;
        return put(csv, '"', err);
    }
    if (ends || byte == (uint8_t)csv->delimiter) {
        rc = close_field(csv, err);
        if (rc != HANSE_OK)
            return rc;
        csv->next_line += byte == '\n';
        *done = ends;
        *at = FIELD_START;
        return ends ? HANSE_OK : open_field(csv, err);
    }
    if (*at == QUOTE_IN_QUOTED)
        return CSV_FAIL(csv, err, csv->next_line, "text behind the closing quote; write \"\" for a quote inside quotes");
    if (byte == '"') {
        if (*at == PLAIN)
            return CSV_FAIL(csv, err, csv->next_line, "a quote inside an unquoted field; quote the whole field");
        *at = QUOTED;
        *quote_line = csv->next_line;
        return HANSE_OK;
    }
    *at = PLAIN;
    return put(csv, byte, err);
}

hanse_rc hanse_csv_next(hanse_csv *csv, bool *end, hanse_err *err)
{
    state at = FIELD_START;
    uint64_t quote_line = 0;
    bool done = false, empty = true; /* empty: nothing but the newline so far */
    hanse_rc rc;
    int byte;

    csv->text.len = 0;
    csv->fields_count = 0;
    csv->line = csv->next_line;
    *end = false;
    rc = open_field(csv, err);
    while (rc == HANSE_OK && !done) {
        rc = take(csv, &byte, err);
        if (rc == HANSE_OK && byte == '\r' && at != QUOTED) { /* outside quotes only as half of CRLF */
            rc = take(csv, &byte, err);
            if (rc == HANSE_OK && byte != '\n')
                rc = CSV_FAIL(csv, err, csv->next_line, "a carriage return that ends no line; save with LF or CRLF");
        }
        if (rc != HANSE_OK)
            break;
        if (empty && byte == END) {
            *end = true;
            csv->fields_count = 0;
            return HANSE_OK;
        }
        if (empty && byte == '\n') {
            csv->line = ++csv->next_line;
            continue;
        }
        empty = false;
        rc = step(csv, &at, &quote_line, byte, &done, err);
    }
    return rc;
}

hanse_bytes hanse_csv_field(const hanse_csv *csv, size_t idx)
{
    size_t from = csv->starts[idx];
    size_t to = (idx + 1 < csv->fields_count ? csv->starts[idx + 1] : csv->text.len) - 1;

    while (from < to && (csv->text.data[from] == ' ' || csv->text.data[from] == '\t'))
        from++;
    while (to > from && (csv->text.data[to - 1] == ' ' || csv->text.data[to - 1] == '\t' || csv->text.data[to - 1] == 0))
        to--;
    csv->text.data[to] = 0;
    return (hanse_bytes){csv->text.data + from, to - from};
}

bool hanse_utf8_is_valid(hanse_bytes text)
{
    for (size_t i = 0; i < text.len;) {
        uint8_t lead = text.data[i++];
        size_t more = lead < 0x80 ? 0 : lead < 0xc2 ? 4 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 4;
        uint32_t point = more == 0 ? lead : lead & (0x3fu >> more);

        if (more == 4 || more > text.len - i)
            return false;
        for (size_t k = 0; k < more; k++, i++) {
            if ((text.data[i] & 0xc0) != 0x80)
                return false;
            point = point << 6 | (text.data[i] & 0x3fu);
        }
        if ((more == 2 && point < 0x800) || (more == 3 && (point < 0x10000 || point > 0x10ffff)) ||
            (point >= 0xd800 && point < 0xe000))
            return false;
    }
    return true;
}
