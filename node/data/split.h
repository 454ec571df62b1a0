/* split.h - which rows are for training and which for testing: by file, or by seeded hash. Module-private. */
#ifndef HANSE_NODE_SPLIT_H
#define HANSE_NODE_SPLIT_H

#include "node/data/dataset.h"

typedef struct hanse_split_entry {
    uint64_t line, named_at; /* in the data file; in the split file */
    hanse_part part;
} hanse_split_entry;

/* What a split file says about one data file, in order of lines. */
typedef struct hanse_split {
    const char *path, *name;    /* borrowed: the split file; what it calls the data file */
    hanse_split_entry *entries; /* [count] */
    size_t count, at;
} hanse_split;

/* Errors: INVALID (header, part, line, duplicate, no row of this file), NOTFOUND, IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_split_load(hanse_split *out, const char *path, const char *name, hanse_err *err);
void hanse_split_clear(hanse_split *split);
/* The part of the row at `line`, called with rising lines; HANSE_PART_SPLIT when it is not named (leave it out).
 * Errors: INVALID (the split names a line before this one that holds no row). */
HANSE_MUST_CHECK hanse_rc hanse_split_find(hanse_split *split, uint64_t line, hanse_part *part, hanse_err *err);
/* After the last row. Errors: INVALID (the split names a line beyond the file). */
HANSE_MUST_CHECK hanse_rc hanse_split_finish(const hanse_split *split, hanse_err *err);

/* Seeded: 53 bits of SHA-256(u64le seed, SHA-256(row)) as a share of 1, test when below test_share. Equal rows fall into
 * the same part, so a duplicate never leaks from training into test. */
hanse_part hanse_split_by_hash(uint64_t seed, double test_share, hanse_bytes row);

#endif
