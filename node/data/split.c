#include "node/data/split.h"
#include "node/data/csv.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdlib.h>

static bool is(hanse_bytes text, const char *word)
{
    return hanse_bytes_equal(text, hanse_bytes_str(word));
}

static hanse_rc parse_line(uint64_t *out, hanse_bytes text, const hanse_csv *csv, hanse_err *err)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');

        if (digit > 9 || i >= 15) {
            value = 0;
            break;
        }
        value = 10 * value + digit;
    }
    if (value == 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": column 2 (line): not a line number (from 1)",
                          csv->input->path, csv->line);
    *out = value;
    return HANSE_OK;
}

static hanse_rc add_entry(hanse_split *split, size_t *cap, const hanse_csv *csv, hanse_err *err)
{
    hanse_split_entry entry = {.named_at = csv->line};
    hanse_bytes part;
    hanse_rc rc;

    if (csv->fields_count != 3)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": %zu fields, want 3 (file,line,part)", split->path,
                          csv->line, csv->fields_count);
    if (!is(hanse_csv_field(csv, 0), split->name))
        return HANSE_OK;
    rc = parse_line(&entry.line, hanse_csv_field(csv, 1), csv, err);
    if (rc != HANSE_OK)
        return rc;
    part = hanse_csv_field(csv, 2);
    entry.part = is(part, "train") ? HANSE_PART_TRAIN : is(part, "test") ? HANSE_PART_TEST : HANSE_PART_SPLIT;
    if (entry.part == HANSE_PART_SPLIT)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": column 3 (part): want train or test", split->path,
                          csv->line);
    if (split->count == *cap) {
        size_t new_cap = *cap == 0 ? 256 : 2 * *cap;
        hanse_split_entry *entries = hanse_realloc(split->entries, new_cap, sizeof *entries);

        if (entries == NULL)
            return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", split->path);
        split->entries = entries;
        *cap = new_cap;
    }
    split->entries[split->count++] = entry;
    return HANSE_OK;
}

static int by_line(const void *a, const void *b)
{
    const hanse_split_entry *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return (x->named_at > y->named_at) - (x->named_at < y->named_at);
}

static hanse_rc sort(hanse_split *split, hanse_err *err)
{
    if (split->count == 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: names no row of '%s'; check the name of the file in the configuration",
                          split->path, split->name);
    qsort(split->entries, split->count, sizeof *split->entries, by_line);
    for (size_t i = 1; i < split->count; i++)
        if (split->entries[i].line == split->entries[i - 1].line)
            return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": line %" PRIu64 " of '%s' stands already in line %" PRIu64,
                              split->path, split->entries[i].named_at, split->entries[i].line, split->name,
                              split->entries[i - 1].named_at);
    return HANSE_OK;
}

hanse_rc hanse_split_load(hanse_split *out, const char *path, const char *name, hanse_err *err)
{
    hanse_split split = {.path = path, .name = name};
    hanse_input input = HANSE_INPUT_EMPTY;
    hanse_csv csv = {0};
    size_t cap = 0;
    bool end = false;
    hanse_rc rc = hanse_input_open(&input, path, err);

    if (rc == HANSE_OK)
        rc = hanse_csv_init(&csv, &input, ',', err);
    if (rc == HANSE_OK)
        rc = hanse_csv_next(&csv, &end, err);
    if (rc != HANSE_OK)
        goto done;
    if (end || csv.fields_count != 3 || !is(hanse_csv_field(&csv, 0), "file") ||
        !is(hanse_csv_field(&csv, 1), "line") || !is(hanse_csv_field(&csv, 2), "part")) {
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s:1: the first line must be 'file,line,part'", path);
        goto done;
    }
    for (;;) {
        rc = hanse_csv_next(&csv, &end, err);
        if (rc != HANSE_OK || end)
            break;
        rc = add_entry(&split, &cap, &csv, err);
        if (rc != HANSE_OK)
            break;
    }
    if (rc == HANSE_OK)
        rc = sort(&split, err);
    if (rc == HANSE_OK) {
        *out = split;
        split.entries = NULL;
    }

done:
    hanse_split_clear(&split);
    hanse_csv_clear(&csv);
    hanse_input_close(&input);
    return rc;
}

void hanse_split_clear(hanse_split *split)
{
    hanse_free(split->entries);
    *split = (hanse_split){0};
}

static hanse_rc fail_no_row(const hanse_split *split, const char *why, hanse_err *err)
{
    const hanse_split_entry *entry = &split->entries[split->at];

    return HANSE_FAIL(err, HANSE_E_INVALID, "%s:%" PRIu64 ": line %" PRIu64 " of '%s' %s", split->path, entry->named_at,
                      entry->line, split->name, why);
}

hanse_rc hanse_split_find(hanse_split *split, uint64_t line, hanse_part *part, hanse_err *err)
{
    *part = HANSE_PART_SPLIT;
    if (split->at == split->count || split->entries[split->at].line > line)
        return HANSE_OK;
    if (split->entries[split->at].line < line)
        return fail_no_row(split, "begins no row (header, blank or inside quotes)", err);
    *part = split->entries[split->at++].part;
    return HANSE_OK;
}

hanse_rc hanse_split_finish(const hanse_split *split, hanse_err *err)
{
    return split->at == split->count ? HANSE_OK : fail_no_row(split, "is beyond the last row; is it the right file?", err);
}

hanse_part hanse_split_by_hash(uint64_t seed, double test_share, hanse_bytes row)
{
    uint8_t prefix[8], hash[SHA256_DIGEST_LENGTH], digest[SHA256_DIGEST_LENGTH];
    uint8_t both[8 + SHA256_DIGEST_LENGTH];

    hanse_store_u64le(prefix, seed);
    (void)SHA256(row.data, row.len, hash); /* of fixed length: no buffer of the row's size with the seed before it */
    memcpy(both, prefix, sizeof prefix);
    memcpy(both + sizeof prefix, hash, sizeof hash);
    (void)SHA256(both, sizeof both, digest);
    return (double)(hanse_load_u64le(digest) >> 11) * 0x1p-53 < test_share ? HANSE_PART_TEST : HANSE_PART_TRAIN;
}
