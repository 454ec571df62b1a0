#include "config_scalar.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct unit {
    const char *name;
    uint64_t factor;
} unit;

/* Ascending, so that the largest one that divides a value is the last that does. */
static const unit durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const unit sizes[] = {{"", 1},
                             {"KiB", (uint64_t)1 << 10},
                             {"MiB", (uint64_t)1 << 20},
                             {"GiB", (uint64_t)1 << 30},
                             {"TiB", (uint64_t)1 << 40},
                             {NULL, 0}};

/* Digits, then one of `units` (NULL: nothing may follow). */
static bool number_with_unit(const char *text, const unit *units, uint64_t *out)
{
    uint64_t value = 0;
    const char *p = text;

    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return false;
    if (p == text)
        return false;
    if (units == NULL) {
        *out = value;
        return *p == '\0';
    }
    for (; units->name != NULL; units++)
        if (strcmp(p, units->name) == 0)
            return !__builtin_mul_overflow(value, units->factor, out);
    return false;
}

static bool real(const char *text, double *out)
{
    char *end;
    double value;

    /* Neither strtod's words (nan, inf) nor its hexadecimals. The programs never leave the C locale. */
    if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0')
        return false;
    value = strtod(text, &end);
    if (*end != '\0' || !isfinite(value))
        return false;
    *out = value;
    return true;
}

static const char *text_problem(const hanse_config_field *field, const char *text, size_t len, size_t room)
{
    size_t most = field->max != 0 && field->max < room ? (size_t)field->max : room;
    size_t least = field->kind == HANSE_CONFIG_NAME && field->min == 0 ? 1 : (size_t)field->min;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = i > 0 && (unsigned char)text[i - 1] == 0xc2 && c < 0xa0; /* U+0080..U+009F */

        if (c < 0x20 || c == 0x7f || c1)
            return "holds a control character";
        if (c >= 0x80 && field->kind == HANSE_CONFIG_NAME)
            return "is not ASCII";
    }
    if (len < least)
        return "is too short";
    return len > most ? "is too long" : NULL;
}

static void store_uint(const hanse_config_field *field, uint8_t *at, uint64_t value)
{
    uint32_t narrow = (uint32_t)value;

    if (field->size == sizeof narrow)
        memcpy(at, &narrow, sizeof narrow);
    else
        memcpy(at, &value, sizeof value);
}

static uint64_t uint_max(const hanse_config_field *field)
{
    if (field->max != 0)
        return field->max;
    return field->size == sizeof(uint32_t) ? UINT32_MAX : UINT64_MAX;
}

static const char *set_text(const hanse_config_field *field, uint8_t *at, const char *text, size_t len, bool *nomem)
{
    bool owned = field->kind == HANSE_CONFIG_TEXT;
    const char *problem = text_problem(field, text, len, owned ? HANSE_CONFIG_TEXT_MAX : field->size - 1);
    char *copy, *old;

    if (problem != NULL)
        return problem;
    if (!owned) {
        memcpy(at, text, len);
        at[len] = '\0';
        return NULL;
    }
    copy = hanse_strndup(text, len);
    if (copy == NULL) {
        *nomem = true;
        return "";
    }
    memcpy(&old, at, sizeof old);
    hanse_free(old);
    memcpy(at, &copy, sizeof copy);
    return NULL;
}

const char *config_scalar_set(const hanse_config_field *field, uint8_t *base, const char *text, size_t len, bool *nomem)
{
    uint8_t *at = base + field->offset;
    uint64_t number;
    double value;

    *nomem = false;
    if (memchr(text, '\0', len) != NULL)
        return "holds a zero byte";
    switch (field->kind) {
    case HANSE_CONFIG_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return "is neither true nor false";
        *at = text[0] == 't';
        return NULL;
    case HANSE_CONFIG_UINT:
    case HANSE_CONFIG_DURATION:
    case HANSE_CONFIG_SIZE:
        if (!number_with_unit(text,
                              field->kind == HANSE_CONFIG_UINT       ? NULL
                              : field->kind == HANSE_CONFIG_DURATION ? durations
                                                                     : sizes,
                              &number))
            return field->kind == HANSE_CONFIG_UINT ? "is no whole number" : field->kind == HANSE_CONFIG_SIZE ? "is no size" : "is no duration";
        if (number < field->min || number > uint_max(field))
            return "is out of range";
        store_uint(field, at, number);
        return NULL;
    case HANSE_CONFIG_REAL:
        if (!real(text, &value))
            return "is no finite number";
        if ((field->low != 0 || field->high != 0) && !(value >= field->low && value <= field->high))
            return "is out of range";
        memcpy(at, &value, sizeof value);
        return NULL;
    case HANSE_CONFIG_NAME:
    case HANSE_CONFIG_STRING:
    case HANSE_CONFIG_TEXT:
        return set_text(field, at, text, len, nomem);
    case HANSE_CONFIG_ENUM:
        for (int i = 0; field->names[i] != NULL; i++)
            if (strcmp(text, field->names[i]) == 0) {
                memcpy(at, &i, sizeof i);
                return NULL;
            }
        return "is unknown";
    case HANSE_CONFIG_MAP:
    case HANSE_CONFIG_LIST:
    case HANSE_CONFIG_ARRAY:
    case HANSE_CONFIG_TABLE:
        break;
    }
    return "is no map or list";
}

bool config_is_scalar(const hanse_config_field *field)
{
    return field->kind != HANSE_CONFIG_MAP && field->kind != HANSE_CONFIG_LIST && field->kind != HANSE_CONFIG_ARRAY &&
           field->kind != HANSE_CONFIG_TABLE;
}

typedef char unit_text[40];

static const char *with_unit(unit_text out, uint64_t value, const unit *units)
{
    const unit *best = units;

    for (; value != 0 && units->name != NULL; units++)
        if (value % units->factor == 0)
            best = units;
    (void)snprintf(out, sizeof(unit_text), "%" PRIu64 "%s", value / best->factor, best->name);
    return out;
}

static void allowed_range(const hanse_config_field *field, const char *kind, const unit *units, char *out)
{
    unit_text low, high;

    if (field->max == 0 && field->min == 0)
        (void)snprintf(out, CONFIG_WORDS_MAX, "%s", kind);
    else
        (void)snprintf(out, CONFIG_WORDS_MAX, "%s %s .. %s", kind, with_unit(low, field->min, units),
                       with_unit(high, uint_max(field), units));
}

void config_allowed(const hanse_config_field *field, char out[CONFIG_WORDS_MAX])
{
    static const unit plain[] = {{"", 1}, {NULL, 0}};
    char item[CONFIG_WORDS_MAX];
    size_t used;

    switch (field->kind) {
    case HANSE_CONFIG_BOOL:
        (void)snprintf(out, CONFIG_WORDS_MAX, "true or false");
        break;
    case HANSE_CONFIG_UINT:
        allowed_range(field, "whole number", plain, out);
        break;
    case HANSE_CONFIG_DURATION:
        allowed_range(field, "duration (ms, s, m, h, d)", durations, out);
        break;
    case HANSE_CONFIG_SIZE:
        allowed_range(field, "size (KiB, MiB, GiB, TiB)", sizes, out);
        break;
    case HANSE_CONFIG_REAL:
        if (field->low == 0 && field->high == 0)
            (void)snprintf(out, CONFIG_WORDS_MAX, "finite number");
        else
            (void)snprintf(out, CONFIG_WORDS_MAX, "number %g .. %g", field->low, field->high);
        break;
    case HANSE_CONFIG_NAME:
        (void)snprintf(out, CONFIG_WORDS_MAX, "%zu .. %zu printable ASCII characters", field->min == 0 ? (size_t)1 : (size_t)field->min,
                       field->max != 0 && field->max < field->size ? (size_t)field->max : field->size - 1);
        break;
    case HANSE_CONFIG_STRING:
    case HANSE_CONFIG_TEXT:
        (void)snprintf(out, CONFIG_WORDS_MAX, "text of %" PRIu64 " .. %zu bytes", field->min,
                       field->max != 0                     ? (size_t)field->max
                       : field->kind == HANSE_CONFIG_STRING ? field->size - 1
                                                           : HANSE_CONFIG_TEXT_MAX);
        break;
    case HANSE_CONFIG_ENUM:
        used = (size_t)snprintf(out, CONFIG_WORDS_MAX, "one of");
        for (int i = 0; field->names[i] != NULL && used < CONFIG_WORDS_MAX; i++)
            used += (size_t)snprintf(out + used, CONFIG_WORDS_MAX - used, "%s %s", i == 0 ? "" : ",", field->names[i]);
        break;
    case HANSE_CONFIG_MAP:
        (void)snprintf(out, CONFIG_WORDS_MAX, "map");
        break;
    case HANSE_CONFIG_LIST:
    case HANSE_CONFIG_ARRAY:
    case HANSE_CONFIG_TABLE:
        config_allowed(field->item, item);
        (void)snprintf(out, CONFIG_WORDS_MAX, "%s of %" PRIu64 " .. %" PRIu64 ", each: %.150s",
                       field->kind == HANSE_CONFIG_TABLE ? "map of names" : "list", field->min, field->max, item);
        break;
    }
}

static hanse_rc describe(const hanse_config_field *fields, const char *prefix, hanse_buf *out, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    for (; fields->key != NULL && rc == HANSE_OK; fields++) {
        const hanse_config_field *inner = fields->kind == HANSE_CONFIG_MAP ? fields : fields->item;
        char allowed[CONFIG_WORDS_MAX], path[256];

        config_allowed(fields, allowed);
        rc = hanse_buf_printf(out, err, "| `%s%s` | %s%s%s | %s%s%s | %s |\n", prefix, fields->key, allowed,
                              fields->unit == NULL ? "" : " ", fields->unit == NULL ? "" : fields->unit,
                              fields->required ? "" : "`", fields->required ? "required" : fields->value == NULL ? "-" : fields->value,
                              fields->required ? "" : "`", fields->help == NULL ? "" : fields->help);
        if (rc != HANSE_OK || inner == NULL || inner->kind != HANSE_CONFIG_MAP)
            continue;
        (void)snprintf(path, sizeof path, "%s%s%s.", prefix, fields->key,
                       fields->kind == HANSE_CONFIG_MAP     ? ""
                       : fields->kind == HANSE_CONFIG_TABLE ? ".NAME"
                                                            : "[]");
        rc = describe(inner->fields, path, out, err);
    }
    return rc;
}

hanse_rc hanse_config_describe(const hanse_config_field *fields, hanse_buf *out, hanse_err *err)
{
    return describe(fields, "", out, err);
}

hanse_rc hanse_parse_duration(const char *text, uint64_t *out_ms, const char *what, hanse_err *err)
{
    if (!number_with_unit(text, durations, out_ms))
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: \"%.40s\" is no duration; write 500ms, 30s, 10m, 2h or 7d", what, text);
    return HANSE_OK;
}

hanse_rc hanse_parse_size(const char *text, uint64_t *out_bytes, const char *what, hanse_err *err)
{
    if (!number_with_unit(text, sizes, out_bytes))
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: \"%.40s\" is no size; write 512, 64KiB, 1MiB or 2GiB", what, text);
    return HANSE_OK;
}

hanse_rc hanse_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out, const char *what, hanse_err *err)
{
    uint64_t value;

    if (!number_with_unit(text, NULL, &value) || value < min || value > max)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: \"%.40s\" is no whole number %" PRIu64 " .. %" PRIu64, what, text, min, max);
    *out = value;
    return HANSE_OK;
}

hanse_rc hanse_parse_real(const char *text, double *out, const char *what, hanse_err *err)
{
    if (!real(text, out))
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: \"%.40s\" is no finite number", what, text);
    return HANSE_OK;
}
