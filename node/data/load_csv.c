/* CSV rows to encoded rows. Messages name file, line and column, never the value: it may be a patient's. */
#include "node/data/csv.h"
#include "node/data/rows.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { NUMBER_LEN_MAX = 64 };

/* Texts that also compare as numbers: "1" is "1.0". */
typedef struct level_list {
    char *const *texts; /* [count] */
    double *numbers;    /* [count]; NaN: not a number */
    size_t count;
} level_list;

typedef struct cell {
    const hanse_feature *feature; /* NULL: the target */
    const char *name;
    size_t idx;                   /* of the CSV column */
    level_list vocabulary;
} cell;

typedef struct reader {
    hanse_loader *loader;
    hanse_csv csv;
    cell *cells;        /* [features_count + 1], the target last */
    size_t cells_count; /* without the target when the source is unlabelled */
    size_t fields_count;
    hanse_buf row;      /* fields of the record, each with a zero: what the seeded split hashes */
    uint64_t clipped, missing, unknown; /* of this record */
    uint32_t label;
    bool dropped;
} reader;

static const char *const MISSING_DEFAULT[] = {"?", "", "NA"};

static hanse_rc fail_cell(const reader *r, const cell *c, hanse_err *err, const char *what)
{
    return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": column %zu (%s): %s", r->csv.input->path, r->csv.line,
                      c->idx + 1, c->name, what);
}

/* [+-]digits[.digits][e[+-]digits], without the hex, infinity and NaN that strtod() knows. */
static bool parse_number(double *out, hanse_bytes text)
{
    size_t i = 0, digits = 0;
    const uint8_t *s = text.data;

    if (text.len == 0 || text.len > NUMBER_LEN_MAX)
        return false;
    i += s[i] == '+' || s[i] == '-';
    for (; i < text.len && s[i] >= '0' && s[i] <= '9'; i++)
        digits++;
    if (i < text.len && s[i] == '.')
        for (i++; i < text.len && s[i] >= '0' && s[i] <= '9'; i++)
            digits++;
    if (digits == 0)
        return false;
    if (i < text.len && (s[i] == 'e' || s[i] == 'E')) {
        size_t from;

        i++;
        i += i < text.len && (s[i] == '+' || s[i] == '-');
        from = i;
        while (i < text.len && s[i] >= '0' && s[i] <= '9')
            i++;
        if (i == from)
            return false;
    }
    if (i != text.len)
        return false;
    *out = strtod((const char *)s, NULL);
    return isfinite(*out);
}

static hanse_rc levels_init(level_list *out, char *const *texts, size_t count, hanse_err *err)
{
    double *numbers = hanse_calloc(count, sizeof *numbers);

    if (numbers == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%zu levels: out of memory", count);
    for (size_t i = 0; i < count; i++)
        if (!parse_number(&numbers[i], hanse_bytes_str(texts[i])))
            numbers[i] = NAN;
    *out = (level_list){texts, numbers, count};
    return HANSE_OK;
}

static bool levels_find(const level_list *levels, hanse_bytes text, size_t *at)
{
    double number = NAN;

    if (!parse_number(&number, text))
        number = NAN;
    for (*at = 0; *at < levels->count; (*at)++)
        if (levels->numbers[*at] == number || hanse_bytes_equal(hanse_bytes_str(levels->texts[*at]), text))
            return true;
    return false;
}

static bool is_missing(const hanse_source *source, hanse_bytes text)
{
    const char *const *marks = source->missing != NULL ? source->missing : MISSING_DEFAULT;
    size_t count = source->missing != NULL ? source->missing_count : sizeof MISSING_DEFAULT / sizeof *MISSING_DEFAULT;

    for (size_t i = 0; i < count; i++)
        if (hanse_bytes_equal(hanse_bytes_str(marks[i]), text))
            return true;
    return false;
}

/* The index of the CSV column `name`, among the plan's names or the header that was just read. */
static hanse_rc find_column(const reader *r, bool header, const char *name, size_t *idx, hanse_err *err)
{
    const hanse_plan *plan = r->loader->plan;
    size_t found = 0;

    for (size_t i = 0; i < r->fields_count; i++) {
        hanse_bytes have = header ? hanse_csv_field(&r->csv, i) : hanse_bytes_str(plan->data.columns[i]);

        if (!hanse_bytes_equal(have, hanse_bytes_str(name)))
            continue;
        if (found++ > 0)
            return HANSE_FAIL(err, HANSE_E_INVALID, "%s:1: columns %zu and %zu are both called '%s'", r->csv.input->path,
                              *idx + 1, i + 1, name);
        *idx = i;
    }
    if (found == 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: no column '%s' among the %zu of %s", r->csv.input->path, name,
                          r->fields_count, header ? "the header" : "the plan");
    return HANSE_OK;
}

static hanse_rc bind_columns(reader *r, hanse_err *err)
{
    const hanse_plan *plan = r->loader->plan;
    const hanse_source *source = r->loader->source;
    bool header = source->header == HANSE_HEADER_YES ||
                  (source->header == HANSE_HEADER_BY_PLAN && plan->data.columns_count == 0);
    size_t features_count = plan->data.features_count;
    hanse_rc rc = HANSE_OK;
    bool end = false;

    if (!header && plan->data.columns_count == 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: no header, and the plan lists no columns", r->csv.input->path);
    r->fields_count = plan->data.columns_count;
    if (header) {
        rc = hanse_csv_next(&r->csv, &end, err);
        if (rc == HANSE_OK && end)
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: empty, want a header", r->csv.input->path);
        r->fields_count = r->csv.fields_count;
    }
    r->cells = hanse_calloc(features_count + 1, sizeof *r->cells);
    if (rc == HANSE_OK && r->cells == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", r->csv.input->path);
    if (rc != HANSE_OK)
        return rc;
    r->cells_count = features_count + (source->unlabelled ? 0 : 1);
    for (size_t f = 0; rc == HANSE_OK && f < r->cells_count; f++) {
        const hanse_feature *feature = f < features_count ? &plan->data.features[f] : NULL;
        cell *c = &r->cells[f];

        *c = (cell){.feature = feature, .name = feature != NULL ? feature->name : plan->data.target};
        rc = find_column(r, header, c->name, &c->idx, err);
        if (rc != HANSE_OK)
            break;
        if (feature != NULL && feature->kind == HANSE_FEATURE_CATEGORICAL)
            rc = levels_init(&c->vocabulary, feature->vocabulary, feature->vocabulary_count, err);
        else if (feature == NULL && !plan->data.has_positive_above)
            rc = levels_init(&c->vocabulary, plan->data.classes, plan->data.classes_count, err);
    }
    return rc;
}

static hanse_rc read_number(const reader *r, const cell *c, hanse_bytes text, double *out, hanse_err *err)
{
    if (parse_number(out, text))
        return HANSE_OK;
    return fail_cell(r, c, err,
                     memchr(text.data, ',', text.len) != NULL ? "not a number; the decimal sign is a point" : "not a number");
}

static hanse_rc encode_numeric(reader *r, const cell *c, hanse_bytes text, bool missing, float *out, hanse_err *err)
{
    const hanse_feature *feature = c->feature;
    double value = feature->fill;

    if (missing && feature->missing == HANSE_MISSING_MEAN) {
        *out = NAN;
        return HANSE_OK;
    }
    if (!missing) {
        hanse_rc rc = read_number(r, c, text, &value, err);

        if (rc != HANSE_OK)
            return rc;
        r->clipped += value < feature->low || value > feature->high;
    }
    value = fmin(fmax(value, feature->low), feature->high); /* the bounds may be infinite */
    if (!(fabs(value) <= (double)FLT_MAX))
        return fail_cell(r, c, err, "too large for a 32-bit number");
    *out = (float)value;
    return HANSE_OK;
}

/* Row of the one-hot matrix: [width], zeros but for the level's one. */
static hanse_rc encode_level(reader *r, const cell *c, hanse_bytes text, bool missing, float *out, hanse_err *err)
{
    const hanse_feature *feature = c->feature;
    size_t width = hanse_feature_width(feature), level = 0, first = feature->drop_first ? 1 : 0;
    bool known;

    for (size_t i = 0; i < width; i++)
        out[i] = missing && feature->missing == HANSE_MISSING_MEAN ? NAN : 0.0f;
    if (missing && feature->missing == HANSE_MISSING_MEAN)
        return HANSE_OK;
    if (missing) { /* the plan's fill is a number, so it names a level that is one */
        known = false;
        for (; !known && level < c->vocabulary.count; level += !known)
            known = c->vocabulary.numbers[level] == feature->fill;
    } else {
        known = levels_find(&c->vocabulary, text, &level);
    }
    if (known) {
        if (level >= first)
            out[level - first] = 1.0f;
        return HANSE_OK;
    }
    if (feature->unknown == HANSE_UNKNOWN_REFUSE)
        return fail_cell(r, c, err, missing ? "the plan's fill value is not in its vocabulary"
                                            : "a value that the plan's vocabulary lacks");
    r->unknown++;
    if (feature->unknown == HANSE_UNKNOWN_BUCKET)
        out[width - 1] = 1.0f;
    return HANSE_OK;
}

static hanse_rc encode_target(reader *r, const cell *c, hanse_bytes text, bool missing, hanse_err *err)
{
    const hanse_plan *plan = r->loader->plan;
    double value;
    size_t level;
    hanse_rc rc;

    if (missing)
        return fail_cell(r, c, err, "the target is missing; leave such rows out of the file or the split");
    if (plan->data.has_positive_above) {
        rc = read_number(r, c, text, &value, err);
        r->label = rc == HANSE_OK && value > plan->data.positive_above;
        return rc;
    }
    if (!levels_find(&c->vocabulary, text, &level))
        return fail_cell(r, c, err, "not a class of the plan");
    r->label = (uint32_t)level;
    return HANSE_OK;
}

/* The record into loader->row, r->label and the record's counters; r->dropped when a missing value drops it. */
static hanse_rc encode_record(reader *r, hanse_err *err)
{
    float *out = r->loader->row;

    r->clipped = r->missing = r->unknown = 0;
    r->label = 0;
    r->dropped = false;
    for (size_t i = 0; i < r->cells_count; i++) {
        const cell *c = &r->cells[i];
        hanse_bytes text = hanse_csv_field(&r->csv, c->idx);
        bool missing = is_missing(r->loader->source, text);
        hanse_rc rc;

        if (!hanse_utf8_is_valid(text))
            return fail_cell(r, c, err, "not UTF-8; save the file as UTF-8");
        if (c->feature == NULL)
            return encode_target(r, c, text, missing, err);
        if (missing && c->feature->missing == HANSE_MISSING_REFUSE)
            return fail_cell(r, c, err, "a missing value, which the plan refuses");
        if (missing && c->feature->missing == HANSE_MISSING_DROP) {
            r->dropped = true;
            return HANSE_OK;
        }
        r->missing += missing;
        rc = c->feature->kind == HANSE_FEATURE_NUMERIC ? encode_numeric(r, c, text, missing, out, err)
                                                       : encode_level(r, c, text, missing, out, err);
        if (rc != HANSE_OK)
            return rc;
        out += hanse_feature_width(c->feature);
    }
    return HANSE_OK;
}

static hanse_rc gather_row(reader *r, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    r->row.len = 0;
    if (!hanse_loader_hashes(r->loader))
        return HANSE_OK;
    for (size_t i = 0; rc == HANSE_OK && i < r->csv.fields_count; i++) {
        hanse_bytes field = hanse_csv_field(&r->csv, i);

        rc = hanse_buf_append(&r->row, field.data, field.len + 1, err); /* with its zero: "a","bc" is not "ab","c" */
    }
    return rc;
}

static hanse_rc read_records(reader *r, hanse_err *err)
{
    hanse_dataset *dataset = r->loader->dataset;
    bool end = false;

    for (;;) {
        hanse_part part;
        hanse_rc rc = hanse_csv_next(&r->csv, &end, err);

        if (rc != HANSE_OK || end)
            return rc;
        if (r->csv.fields_count != r->fields_count)
            return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": column %zu: the line has %zu fields, want %zu",
                              r->csv.input->path, r->csv.line,
                              r->csv.fields_count < r->fields_count ? r->csv.fields_count : r->fields_count + 1,
                              r->csv.fields_count, r->fields_count);
        rc = gather_row(r, err);
        if (rc == HANSE_OK)
            rc = hanse_loader_part(r->loader, r->csv.line, hanse_buf_bytes(&r->row), &part, err);
        if (rc == HANSE_OK && part == HANSE_PART_SPLIT)
            continue;
        if (rc == HANSE_OK)
            rc = encode_record(r, err);
        if (rc != HANSE_OK)
            return rc;
        if (r->dropped) {
            dataset->rows_dropped++;
            continue;
        }
        dataset->cells_missing += r->missing;
        dataset->cells_unknown += r->unknown;
        rc = hanse_loader_push(r->loader, part, r->label, r->csv.line, r->clipped, err);
        if (rc != HANSE_OK)
            return rc;
    }
}

hanse_rc hanse_load_csv(hanse_loader *loader, hanse_input *input, hanse_err *err)
{
    reader r = {.loader = loader};
    char delimiter = loader->source->delimiter;
    hanse_rc rc = hanse_csv_init(&r.csv, input, delimiter == 0 ? ',' : delimiter, err);

    if (rc == HANSE_OK)
        rc = bind_columns(&r, err);
    if (rc == HANSE_OK)
        rc = read_records(&r, err);
    for (size_t i = 0; r.cells != NULL && i < loader->plan->data.features_count + 1; i++)
        hanse_free(r.cells[i].vocabulary.numbers);
    hanse_free(r.cells);
    hanse_buf_wipe(&r.row);
    hanse_csv_clear(&r.csv);
    return rc;
}
