/* config.h - YAML through a table of fields into a struct.
 *
 * One table serves the parser, the messages, `--help` and the documentation. Unknown, repeated and missing keys and
 * values out of range are errors "FILE:LINE: key: what, what is allowed". Of YAML only maps, lists and scalars of one
 * document are taken: no anchors, aliases, tags; no deeper than the table itself. Pure: parses from memory, so a fuzzer shares it.
 *
 *     static const hanse_config_field fields[] = {
 *         {.key = "name", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(settings, name), .help = "..."},
 *         {.key = "wait", .kind = HANSE_CONFIG_DURATION, HANSE_CONFIG_AT(settings, wait_ms), .min = 1000,
 *          .max = 86400000, .value = "10m", .help = "..."},
 *         {.key = NULL}};
 */
#ifndef HANSE_CONFIG_H
#define HANSE_CONFIG_H

#include "hanse/bytes.h"

#define HANSE_CONFIG_TEXT_MAX ((size_t)1 << 20) /* bytes of YAML */

typedef enum hanse_config_kind {
    HANSE_CONFIG_BOOL,     /* bool: true, false */
    HANSE_CONFIG_UINT,     /* uint32_t, uint64_t or size_t, [min, max] */
    HANSE_CONFIG_REAL,     /* double, finite, [low, high] */
    HANSE_CONFIG_NAME,     /* char[size]: 1.. printable ASCII characters */
    HANSE_CONFIG_STRING,   /* char[size]: UTF-8 without control characters; max counts bytes */
    HANSE_CONFIG_TEXT,     /* char *, allocated; like STRING */
    HANSE_CONFIG_ENUM,     /* an enum or int: index into `names` */
    HANSE_CONFIG_DURATION, /* uint64_t [ms]: "500ms", "30s", "10m", "2h", "7d"; min and max in ms */
    HANSE_CONFIG_SIZE,     /* uint64_t or size_t [bytes]: "512", "64KiB", "1MiB", "2GiB"; min and max in bytes */
    HANSE_CONFIG_MAP,      /* keys of `fields`; their offsets count from this field's offset (0: the struct around it) */
    HANSE_CONFIG_LIST,     /* T *, allocated, and a size_t at `count`; [min, max] items described by `item` */
    HANSE_CONFIG_ARRAY,    /* the same in a T[] inside the struct */
    HANSE_CONFIG_TABLE,    /* LIST written as a map NAME: {...}: each item is a struct that begins with a char[64], its name */
} hanse_config_kind;

typedef struct hanse_config_field {
    const char *key; /* NULL ends a table */
    hanse_config_kind kind;
    bool required;
    size_t offset, size;   /* of the member: HANSE_CONFIG_AT() */
    size_t count;          /* LIST, ARRAY, TABLE: offset of the size_t that gets the number of items */
    size_t present;        /* offset of a bool that tells whether the key was given; 0: none */
    uint64_t min, max;     /* max 0: no bound but the type's (LIST and TABLE need one) */
    double low, high;      /* REAL; both 0: any finite number */
    const char *const *names; /* ENUM: ends with NULL */
    const struct hanse_config_field *fields; /* MAP */
    const struct hanse_config_field *item;   /* LIST, ARRAY, TABLE: one field without key, at offset 0, size of one item */
    const char *value;     /* default, in YAML; NULL: zeros stay */
    const char *unit, *help;
} hanse_config_field;

#define HANSE_CONFIG_AT(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

/* Where each key stood, for checks across fields. */
typedef struct hanse_config_where hanse_config_where;

/* Parse `text` into the struct `out` of `out_size` bytes, which is zeroed first.
 *   origin  file name that begins every message
 *   where   NULL, or gets the lines on success; owned by the caller, see hanse_config_where_free()
 *   out     owned by the caller: hanse_config_clear() releases what it points to; cleared (zeros) on error
 * Errors: INVALID, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_config_parse(const hanse_config_field *fields, void *out, size_t out_size, hanse_bytes text,
                                             const char *origin, hanse_config_where **where, hanse_err *err);
/* Read the file and parse it. Errors as above, and those of hanse_file_read(). */
HANSE_MUST_CHECK hanse_rc hanse_config_load(const hanse_config_field *fields, void *out, size_t out_size, const char *path,
                                            hanse_err *err);
/* Release every TEXT, LIST and TABLE of the struct and set them to NULL. */
void hanse_config_clear(const hanse_config_field *fields, void *out);

/* Always INVALID: "ORIGIN:LINE: key: words". `key` is a path ("data.features[2].low"); a key that was not given gets the
 * line of the nearest map around it. */
#define HANSE_CONFIG_FAIL(where, err, key, ...) hanse_config_fail((where), (err), __FILE__, __LINE__, (key), __VA_ARGS__)
hanse_rc hanse_config_fail(const hanse_config_where *where, hanse_err *err, const char *file, int line, const char *key,
                           const char *fmt, ...) HANSE_PRINTF(6, 7);
bool hanse_config_given(const hanse_config_where *where, const char *key); /* the text itself has this key */
void hanse_config_where_free(hanse_config_where *where);                   /* NULL allowed */

/* Append one Markdown table row for every key: key, what is allowed, default, meaning. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_config_describe(const hanse_config_field *fields, hanse_buf *out, hanse_err *err);

/* The scalar forms, for command line arguments. `what` begins the message. Errors: INVALID. */
HANSE_MUST_CHECK hanse_rc hanse_parse_duration(const char *text, uint64_t *out_ms, const char *what, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_parse_size(const char *text, uint64_t *out_bytes, const char *what, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out, const char *what,
                                           hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_parse_real(const char *text, double *out, const char *what, hanse_err *err); /* finite */

#endif
