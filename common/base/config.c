#include "hanse/config.h"

#include "config_scalar.h"
#include "hanse/file.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

typedef struct place {
    char *key;
    size_t line;
} place;

struct hanse_config_where {
    char *origin;
    place *places;
    size_t count, cap;
};

typedef struct parse {
    yaml_parser_t yaml;
    yaml_event_t event; /* the current one; its text lives until next() */
    hanse_config_where *where;
    hanse_buf path; /* key of the value at hand, zero-terminated */
    hanse_err *err;
} parse;

static size_t line_of_event(const parse *p)
{
    return p->event.start_mark.line + 1;
}

static const char *path_of(const parse *p)
{
    return p->path.len == 0 ? "" : (const char *)p->path.data;
}

static hanse_rc fail_nomem(parse *p)
{
    return HANSE_FAIL(p->err, HANSE_E_NOMEM, "no memory to read %s", p->where->origin);
}

static hanse_rc fail_at(const parse *p, size_t line, const char *fmt, ...) HANSE_PRINTF(3, 4);
static hanse_rc fail_at(const parse *p, size_t line, const char *fmt, ...)
{
    char words[HANSE_ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    return HANSE_FAIL(p->err, HANSE_E_INVALID, "%s:%zu: %s%s%s", p->where->origin, line, path_of(p),
                      p->path.len == 0 ? "" : ": ", words);
}

/* The next event. What YAML can and we do not take is refused here, once. */
static hanse_rc next(parse *p)
{
    yaml_char_t *anchor = NULL, *tag = NULL;

    yaml_event_delete(&p->event);
    if (!yaml_parser_parse(&p->yaml, &p->event)) {
        size_t line = p->yaml.problem_mark.line + 1;

        if (p->yaml.error == YAML_MEMORY_ERROR)
            return fail_nomem(p);
        if (p->yaml.error == YAML_READER_ERROR) { /* knows no line, but the offset */
            const char *text = (const char *)p->yaml.input.string.start;
            size_t len = (size_t)(p->yaml.input.string.end - p->yaml.input.string.start);

            line = 1;
            for (size_t i = 0; i < len && i < p->yaml.problem_offset; i++)
                line += text[i] == '\n';
        }
        return fail_at(p, line, "not YAML in UTF-8: %s%s%s", p->yaml.context == NULL ? "" : p->yaml.context,
                       p->yaml.context == NULL ? "" : ", ", p->yaml.problem == NULL ? "cannot be read" : p->yaml.problem);
    }
    switch (p->event.type) {
    case YAML_ALIAS_EVENT:
        return fail_at(p, line_of_event(p), "YAML aliases (*name) are not taken; write the value out");
    case YAML_SCALAR_EVENT:
        anchor = p->event.data.scalar.anchor;
        tag = p->event.data.scalar.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = p->event.data.mapping_start.anchor;
        tag = p->event.data.mapping_start.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = p->event.data.sequence_start.anchor;
        tag = p->event.data.sequence_start.tag;
        break;
    default:
        break;
    }
    if (anchor != NULL || tag != NULL)
        return fail_at(p, line_of_event(p), "YAML %s are not taken", anchor != NULL ? "anchors (&name)" : "tags (!type)");
    return HANSE_OK;
}

static hanse_rc note_place(parse *p, size_t line)
{
    hanse_config_where *where = p->where;
    char *key;

    if (where->count == where->cap) {
        size_t cap = where->cap == 0 ? 32 : 2 * where->cap;
        place *places = hanse_realloc(where->places, cap, sizeof *places);

        if (places == NULL)
            return fail_nomem(p);
        where->places = places;
        where->cap = cap;
    }
    key = hanse_strndup(path_of(p), p->path.len);
    if (key == NULL)
        return fail_nomem(p);
    where->places[where->count++] = (place){key, line};
    return HANSE_OK;
}

static void path_cut(parse *p, size_t len)
{
    p->path.len = len;
    if (p->path.data != NULL)
        p->path.data[len] = '\0';
}

/* The value that begins with the current event. */
static hanse_rc read_value(parse *p, const hanse_config_field *field, uint8_t *base);

static hanse_rc set_scalar(parse *p, const hanse_config_field *field, uint8_t *base, const char *text, size_t len, size_t line)
{
    char allowed[CONFIG_WORDS_MAX];
    bool nomem;
    const char *problem = config_scalar_set(field, base, text, len, &nomem);

    if (problem == NULL)
        return HANSE_OK;
    if (nomem)
        return fail_nomem(p);
    config_allowed(field, allowed);
    return fail_at(p, line, "\"%.40s\" %s; allowed: %s", text, problem, allowed);
}

/* Give every field that the text leaves out its default. `required` fields count as missing unless the whole map is. */
static hanse_rc set_defaults(parse *p, const hanse_config_field *fields, uint8_t *base, uint64_t seen, bool in_map, size_t line)
{
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; fields[i].key != NULL && rc == HANSE_OK; i++) {
        size_t len = p->path.len;

        if ((seen >> i & 1) != 0)
            continue;
        rc = hanse_buf_printf(&p->path, p->err, "%s%s", len == 0 ? "" : ".", fields[i].key);
        if (rc != HANSE_OK)
            return rc;
        if (in_map && fields[i].required) {
            char allowed[CONFIG_WORDS_MAX];

            config_allowed(&fields[i], allowed);
            return fail_at(p, line, "missing; allowed: %s", allowed);
        }
        if (fields[i].kind == HANSE_CONFIG_MAP)
            rc = set_defaults(p, fields[i].fields, base + fields[i].offset, 0, false, line);
        else if (fields[i].value != NULL)
            rc = set_scalar(p, &fields[i], base, fields[i].value, strlen(fields[i].value), line);
        path_cut(p, len);
    }
    return rc;
}

static hanse_rc fail_unknown(parse *p, const hanse_config_field *fields)
{
    char known[384] = "";
    size_t used = 0;

    for (size_t i = 0; fields[i].key != NULL && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i == 0 ? "" : ", ", fields[i].key);
    return fail_at(p, line_of_event(p), "unknown key; known here: %s", known);
}

/* Behind the start of a map, up to and with its end. */
static hanse_rc read_map(parse *p, const hanse_config_field *fields, uint8_t *base)
{
    size_t start_line = line_of_event(p), len = p->path.len;
    uint64_t seen = 0;
    hanse_rc rc;

    for (;;) {
        size_t i = 0;
        const char *key;

        rc = next(p);
        if (rc != HANSE_OK)
            return rc;
        if (p->event.type == YAML_MAPPING_END_EVENT)
            return set_defaults(p, fields, base, seen, true, start_line);
        if (p->event.type != YAML_SCALAR_EVENT)
            return fail_at(p, line_of_event(p), "a key must be a single word");
        key = (const char *)p->event.data.scalar.value;
        rc = hanse_buf_printf(&p->path, p->err, "%s%.64s", len == 0 ? "" : ".", key);
        if (rc != HANSE_OK)
            return rc;
        while (fields[i].key != NULL && strcmp(fields[i].key, key) != 0)
            i++;
        if (fields[i].key == NULL || strlen(key) != p->event.data.scalar.length)
            return fail_unknown(p, fields);
        assert(i < 64);
        if ((seen >> i & 1) != 0)
            return fail_at(p, line_of_event(p), "said twice");
        seen |= (uint64_t)1 << i;
        if (fields[i].present != 0)
            base[fields[i].present] = 1; /* a bool */
        rc = note_place(p, line_of_event(p));
        if (rc == HANSE_OK)
            rc = next(p);
        if (rc == HANSE_OK)
            rc = read_value(p, &fields[i], base);
        if (rc != HANSE_OK)
            return rc;
        path_cut(p, len);
    }
}

/* Room for one more zeroed item; *out is it. It counts at once, so that a half-read item is released too. */
static hanse_rc add_item(parse *p, const hanse_config_field *field, uint8_t *base, uint8_t **out)
{
    uint8_t *items = base + field->offset;
    size_t count, size = field->item->size;

    memcpy(&count, base + field->count, sizeof count);
    if (count >= field->max || (field->kind == HANSE_CONFIG_ARRAY && count >= field->size / size)) {
        char allowed[CONFIG_WORDS_MAX];

        config_allowed(field, allowed);
        return fail_at(p, line_of_event(p), "too many items; allowed: %s", allowed);
    }
    if (field->kind != HANSE_CONFIG_ARRAY) {
        memcpy(&items, base + field->offset, sizeof items);
        if ((count & (count - 1)) == 0) { /* 0 or a power of two: full */
            items = hanse_realloc(items, count == 0 ? 1 : 2 * count, size);
            if (items == NULL)
                return fail_nomem(p);
            memcpy(base + field->offset, &items, sizeof items);
        }
        memset(items + count * size, 0, size);
    }
    *out = items + count * size;
    count++;
    memcpy(base + field->count, &count, sizeof count);
    return HANSE_OK;
}

/* LIST, ARRAY: behind the start of a list. TABLE: behind the start of a map. */
static hanse_rc read_items(parse *p, const hanse_config_field *field, uint8_t *base)
{
    size_t start_line = line_of_event(p), len = p->path.len, count = 0;
    bool table = field->kind == HANSE_CONFIG_TABLE;
    hanse_rc rc;

    for (;; count++) {
        uint8_t *item = NULL;

        rc = next(p);
        if (rc != HANSE_OK)
            return rc;
        if (p->event.type == (table ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT))
            break;
        rc = add_item(p, field, base, &item);
        if (rc != HANSE_OK)
            return rc;
        if (table) {
            const hanse_config_field name = {.kind = HANSE_CONFIG_NAME, .size = 64};
            const char *text = (const char *)p->event.data.scalar.value;

            if (p->event.type != YAML_SCALAR_EVENT)
                return fail_at(p, line_of_event(p), "a key must be a single word");
            rc = set_scalar(p, &name, item, text, p->event.data.scalar.length, line_of_event(p));
            for (size_t i = 0; i < count && rc == HANSE_OK; i++)
                if (strcmp((const char *)item - (i + 1) * field->item->size, (const char *)item) == 0)
                    rc = fail_at(p, line_of_event(p), "%s is said twice", (const char *)item);
            if (rc == HANSE_OK)
                rc = hanse_buf_printf(&p->path, p->err, ".%s", (const char *)item);
        } else {
            rc = hanse_buf_printf(&p->path, p->err, "[%zu]", count);
        }
        if (rc == HANSE_OK && !config_is_scalar(field->item))
            rc = note_place(p, line_of_event(p));
        if (rc == HANSE_OK && table)
            rc = next(p);
        if (rc == HANSE_OK)
            rc = read_value(p, field->item, item);
        if (rc != HANSE_OK)
            return rc;
        path_cut(p, len);
    }
    if (count < field->min) {
        char allowed[CONFIG_WORDS_MAX];

        config_allowed(field, allowed);
        return fail_at(p, start_line, "%zu items are too few; allowed: %s", count, allowed);
    }
    return HANSE_OK;
}

static hanse_rc read_value(parse *p, const hanse_config_field *field, uint8_t *base)
{
    bool list = field->kind == HANSE_CONFIG_LIST || field->kind == HANSE_CONFIG_ARRAY;
    yaml_event_type_t want = config_is_scalar(field) ? YAML_SCALAR_EVENT
                             : list                  ? YAML_SEQUENCE_START_EVENT
                                                     : YAML_MAPPING_START_EVENT;
    const char *text = (const char *)p->event.data.scalar.value;
    char allowed[CONFIG_WORDS_MAX];

    config_allowed(field, allowed);
    if (p->event.type == YAML_SCALAR_EVENT && p->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
        (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0))
        return fail_at(p, line_of_event(p), "has no value; allowed: %s", allowed);
    if (p->event.type != want)
        return fail_at(p, line_of_event(p), "is %s; allowed: %s",
                       p->event.type == YAML_SCALAR_EVENT           ? "a single value"
                       : p->event.type == YAML_SEQUENCE_START_EVENT ? "a list"
                                                                    : "a map",
                       allowed);
    if (want == YAML_SCALAR_EVENT)
        return set_scalar(p, field, base, text, p->event.data.scalar.length, line_of_event(p));
    return field->kind == HANSE_CONFIG_MAP ? read_map(p, field->fields, base + field->offset) : read_items(p, field, base);
}

static hanse_rc read_document(parse *p, const hanse_config_field *fields, uint8_t *out)
{
    hanse_rc rc = next(p);

    while (rc == HANSE_OK && (p->event.type == YAML_STREAM_START_EVENT || p->event.type == YAML_DOCUMENT_START_EVENT))
        rc = next(p);
    if (rc != HANSE_OK)
        return rc;
    if (p->event.type != YAML_MAPPING_START_EVENT)
        return fail_at(p, line_of_event(p), "the text must be a map of \"key: value\" lines");
    rc = note_place(p, line_of_event(p));
    if (rc == HANSE_OK)
        rc = read_map(p, fields, out);
    if (rc == HANSE_OK)
        rc = next(p);
    if (rc == HANSE_OK && p->event.type == YAML_DOCUMENT_END_EVENT)
        rc = next(p);
    if (rc == HANSE_OK && p->event.type != YAML_STREAM_END_EVENT)
        rc = fail_at(p, line_of_event(p), "one document only; this begins a second one");
    return rc;
}

hanse_rc hanse_config_parse(const hanse_config_field *fields, void *out, size_t out_size, hanse_bytes text,
                            const char *origin, hanse_config_where **where, hanse_err *err)
{
    parse p = {.err = err};
    hanse_rc rc;

    memset(out, 0, out_size);
    if (text.len > HANSE_CONFIG_TEXT_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s:1: %zu bytes; at most %zu are taken", origin, text.len,
                          HANSE_CONFIG_TEXT_MAX);
    p.where = hanse_calloc(1, sizeof *p.where);
    if (p.where == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to read %s", origin);
    p.where->origin = hanse_strndup(origin, strlen(origin));
    if (p.where->origin == NULL || !yaml_parser_initialize(&p.yaml)) {
        hanse_config_where_free(p.where);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to read %s", origin);
    }
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING); /* no guessing of UTF-16 */
    yaml_parser_set_input_string(&p.yaml, text.len == 0 ? (const uint8_t *)"" : text.data, text.len);
    rc = read_document(&p, fields, out);
    yaml_event_delete(&p.event);
    yaml_parser_delete(&p.yaml);
    hanse_buf_clear(&p.path);
    if (rc != HANSE_OK) {
        hanse_config_clear(fields, out);
        memset(out, 0, out_size);
    }
    if (rc != HANSE_OK || where == NULL)
        hanse_config_where_free(p.where);
    else
        *where = p.where;
    return rc;
}

hanse_rc hanse_config_load(const hanse_config_field *fields, void *out, size_t out_size, const char *path, hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_file_read(&text, path, HANSE_CONFIG_TEXT_MAX, err);

    if (rc == HANSE_OK)
        rc = hanse_config_parse(fields, out, out_size, hanse_buf_bytes(&text), path, NULL, err);
    else
        memset(out, 0, out_size);
    hanse_buf_clear(&text);
    return rc;
}

static void clear_field(const hanse_config_field *field, uint8_t *base)
{
    uint8_t *items;
    size_t count;

    switch (field->kind) {
    case HANSE_CONFIG_TEXT:
        memcpy(&items, base + field->offset, sizeof items);
        hanse_free(items);
        memset(base + field->offset, 0, sizeof(char *));
        break;
    case HANSE_CONFIG_MAP:
        hanse_config_clear(field->fields, base + field->offset);
        break;
    case HANSE_CONFIG_LIST:
    case HANSE_CONFIG_TABLE:
    case HANSE_CONFIG_ARRAY:
        memcpy(&count, base + field->count, sizeof count);
        if (field->kind == HANSE_CONFIG_ARRAY)
            items = base + field->offset;
        else
            memcpy(&items, base + field->offset, sizeof items);
        for (size_t i = 0; i < count; i++)
            clear_field(field->item, items + i * field->item->size);
        memset(base + field->count, 0, sizeof count);
        if (field->kind == HANSE_CONFIG_ARRAY)
            break;
        hanse_free(items);
        memset(base + field->offset, 0, sizeof(char *));
        break;
    default:
        break;
    }
}

void hanse_config_clear(const hanse_config_field *fields, void *out)
{
    for (; fields->key != NULL; fields++)
        clear_field(fields, out);
}

static const place *find_place(const hanse_config_where *where, const char *key, size_t len)
{
    for (size_t i = 0; i < where->count; i++)
        if (strlen(where->places[i].key) == len && memcmp(where->places[i].key, key, len) == 0)
            return &where->places[i];
    return NULL;
}

bool hanse_config_given(const hanse_config_where *where, const char *key)
{
    return find_place(where, key, strlen(key)) != NULL;
}

hanse_rc hanse_config_fail(const hanse_config_where *where, hanse_err *err, const char *file, int line, const char *key,
                           const char *fmt, ...)
{
    size_t len = strlen(key);
    const place *at = find_place(where, key, len);
    char words[HANSE_ERR_TEXT_MAX];
    va_list args;

    while (at == NULL && len > 0) { /* one step out: before the last '.' or '[' */
        while (len > 0 && key[len - 1] != '.' && key[len - 1] != '[')
            len--;
        len -= len > 0;
        at = find_place(where, key, len);
    }
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    return hanse_err_set(err, HANSE_E_INVALID, file, line, "%s:%zu: %s: %s", where->origin, at == NULL ? 1 : at->line, key, words);
}

void hanse_config_where_free(hanse_config_where *where)
{
    if (where == NULL)
        return;
    for (size_t i = 0; i < where->count; i++)
        hanse_free(where->places[i].key);
    hanse_free(where->places);
    hanse_free(where->origin);
    hanse_free(where);
}
