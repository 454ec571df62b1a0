/* The JSON header of a model file, which a stranger may have written: everything in it is checked before it is believed. */
#include "hanse/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

/* A tensor of the header, not yet in order. */
typedef struct entry {
    const char *name;
    size_t dims[HANSE_DIMS_MAX];
    size_t dims_count;
    uint64_t begin, end; /* bytes, from the first byte of data */
} entry;

/* A JSON integer that is a size. */
static bool size_from(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static hanse_rc entry_parse(entry *out, const char *name, const json_t *fields, hanse_err *err)
{
    const json_t *dtype = json_object_get(fields, "dtype"), *shape = json_object_get(fields, "shape");
    const json_t *offsets = json_object_get(fields, "data_offsets");
    const char *type = json_string_value(dtype);

    if (!json_is_object(fields) || json_object_size(fields) != 3 || type == NULL || !json_is_array(shape) || !json_is_array(offsets))
        return HANSE_FAIL(err, HANSE_E_INVALID, "tensor %.64s: want dtype, shape and data_offsets", name);
    if (strcmp(type, "F32") != 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "tensor %.64s: dtype %.16s, only F32 is supported: convert the model", name, type);
    out->name = name;
    out->dims_count = json_array_size(shape);
    if (out->dims_count < 1 || out->dims_count > HANSE_DIMS_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "tensor %.64s: %zu dimensions, want 1 to %d", name, out->dims_count, HANSE_DIMS_MAX);
    for (size_t d = 0; d < out->dims_count; d++) {
        uint64_t dim;
        if (!size_from(json_array_get(shape, d), &dim))
            return HANSE_FAIL(err, HANSE_E_INVALID, "tensor %.64s: dimension %zu is no count", name, d);
        out->dims[d] = (size_t)dim;
    }
    if (json_array_size(offsets) != 2 || !size_from(json_array_get(offsets, 0), &out->begin)
        || !size_from(json_array_get(offsets, 1), &out->end) || out->begin > out->end)
        return HANSE_FAIL(err, HANSE_E_INVALID, "tensor %.64s: data_offsets must be [begin, end]", name);
    return HANSE_OK;
}

static int by_begin(const void *a, const void *b)
{
    uint64_t x = ((const entry *)a)->begin, y = ((const entry *)b)->begin;
    return x < y ? -1 : x > y;
}

/* Sorted by offset the tensors must tile the data: no gap, no overlap, nothing behind. */
static hanse_rc entries_to_layout(hanse_layout *layout, entry *entries, size_t count, uint64_t data_len, hanse_err *err)
{
    qsort(entries, count, sizeof *entries, by_begin);
    for (size_t i = 0; i < count; i++) {
        const entry *e = &entries[i];
        uint64_t want = 4 * (uint64_t)layout->parameters;
        hanse_err why;
        if (e->begin != want)
            return HANSE_FAIL(err, HANSE_E_INVALID, "tensor %.64s: begins at byte %" PRIu64 ", want %" PRIu64 ": gap or overlap", e->name, e->begin, want);
        hanse_rc rc = hanse_layout_add(layout, e->name, e->dims, e->dims_count, &why);
        if (rc == HANSE_E_SHAPE) /* our list refused it; to the caller the file is invalid */
            return HANSE_FAIL(err, HANSE_E_INVALID, "%s", why.text);
        if (rc != HANSE_OK)
            return HANSE_FAIL(err, rc, "%s", why.text);
        want = 4 * (uint64_t)layout->parameters;
        if (e->end != want)
            return HANSE_FAIL(err, HANSE_E_INVALID, "tensor %.64s: ends at byte %" PRIu64 ", its shape says %" PRIu64, e->name, e->end, want);
    }
    if (4 * (uint64_t)layout->parameters != data_len)
        return HANSE_FAIL(err, HANSE_E_INVALID, "the tensors take %" PRIu64 " bytes, the file holds %" PRIu64 ": truncated or padded",
                          4 * (uint64_t)layout->parameters, data_len);
    return HANSE_OK;
}

static bool u64_from_text(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value)
            || __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    *out = value;
    return true;
}

static hanse_rc meta_parse(hanse_model_meta *meta, bool *has_meta, json_t *fields, hanse_err *err)
{
    const char *run, *round, *plan_hash, *key;
    json_t *value;
    hanse_rc rc;

    if (!json_is_object(fields))
        return HANSE_FAIL(err, HANSE_E_INVALID, "__metadata__: not an object");
    json_object_foreach(fields, key, value)
        if (!json_is_string(value))
            return HANSE_FAIL(err, HANSE_E_INVALID, "__metadata__: %.64s is no string", key);
    run = json_string_value(json_object_get(fields, "run"));
    round = json_string_value(json_object_get(fields, "round"));
    plan_hash = json_string_value(json_object_get(fields, "plan_hash"));
    if (run == NULL || round == NULL || plan_hash == NULL)
        return HANSE_OK; /* another tool's file */
    rc = hanse_hex_decode(meta->run, sizeof meta->run, run, err);
    if (rc == HANSE_OK)
        rc = hanse_hex_decode(meta->plan_hash, sizeof meta->plan_hash, plan_hash, err);
    if (rc == HANSE_OK && !u64_from_text(round, &meta->round))
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "round '%.24s' is no number", round);
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "__metadata__");
    *has_meta = rc == HANSE_OK;
    return rc;
}

hanse_rc hanse_model_header_parse(hanse_bytes json, uint64_t data_len, hanse_layout *layout, hanse_model_meta *meta,
                                  bool *has_meta, hanse_err *err)
{
    hanse_layout parsed = HANSE_LAYOUT_EMPTY;
    hanse_model_meta parsed_meta = {0};
    bool parsed_has_meta = false;
    entry *entries = NULL;
    size_t count = 0;
    json_error_t where;
    json_t *root, *value;
    const char *key;
    hanse_rc rc = HANSE_OK;

    if (json.len == 0 || json.data[0] != '{')
        return HANSE_FAIL(err, HANSE_E_INVALID, "header is no JSON object: no safetensors file");
    root = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL)
        return HANSE_FAIL(err, HANSE_E_INVALID, "header at byte %d: %s", where.position, where.text);
    if (json_object_size(root) > HANSE_TENSORS_MAX + 1) {
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%zu tensors, at most %d", json_object_size(root), HANSE_TENSORS_MAX);
        goto done;
    }
    entries = hanse_calloc(json_object_size(root), sizeof *entries);
    if (entries == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu tensors", json_object_size(root));
        goto done;
    }
    json_object_foreach(root, key, value) {
        rc = strcmp(key, "__metadata__") == 0 ? meta_parse(&parsed_meta, &parsed_has_meta, value, err)
                                              : entry_parse(&entries[count++], key, value, err);
        if (rc != HANSE_OK)
            goto done;
    }
    if (count == 0) {
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "a model without tensors");
        goto done;
    }
    rc = entries_to_layout(&parsed, entries, count, data_len, err);
    if (rc != HANSE_OK)
        goto done;
    *layout = parsed;
    *meta = parsed_has_meta ? parsed_meta : (hanse_model_meta){0};
    *has_meta = parsed_has_meta;
    parsed = HANSE_LAYOUT_EMPTY;

done:
    hanse_layout_clear(&parsed);
    hanse_free(entries);
    json_decref(root);
    return rc;
}
