/* safetensors.h - model files: written in pieces to a temporary file, read in ranges, never loaded whole.
 *
 * Format: u64 little-endian header length, JSON header, data. Ours: F32 only, tensors in layout order without gaps, data offset a
 * multiple of 8; metadata run (32 hex digits), round (decimal), plan_hash (64 hex digits). docs/models.md. */
#ifndef HANSE_SAFETENSORS_H
#define HANSE_SAFETENSORS_H

#include "hanse/tensor.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "floats are written as they lie in memory, and the format is little-endian"
#endif

#define HANSE_MODEL_HEADER_MAX ((size_t)1 << 20) /* bytes of JSON */

typedef struct hanse_model_meta {
    uint8_t run[16];       /* zeros: none (a plan's initial model) */
    uint64_t round;        /* 0: initial model */
    uint8_t plan_hash[32];
} hanse_model_meta;

/* ---- writing ---- */
typedef struct hanse_model_writer hanse_model_writer;

/* Start a temporary file beside `path`, header written. Nothing is seen at `path` before the commit.
 *   sync  fsync file and folder at the commit: for everything that must survive a power cut
 *   out   owned by the caller on success, see hanse_model_writer_free()
 * Errors: IO, FULL, NOMEM, SHAPE (no tensors). */
HANSE_MUST_CHECK hanse_rc hanse_model_writer_new(hanse_model_writer **out, const char *path, const hanse_layout *layout,
                                                 const hanse_model_meta *meta, bool sync, hanse_err *err);
/* Put values [first, first+count); any order, several threads at once when their ranges do not overlap. */
HANSE_MUST_CHECK hanse_rc hanse_model_writer_put(hanse_model_writer *writer, size_t first, const float *values, size_t count, hanse_err *err);
uint64_t hanse_model_writer_size(const hanse_model_writer *writer);        /* bytes of the whole file */
size_t hanse_model_writer_data_offset(const hanse_model_writer *writer);   /* bytes before the first float */
/* Read back bytes of the file under construction (for digests while they are in the page cache). */
HANSE_MUST_CHECK hanse_rc hanse_model_writer_get(const hanse_model_writer *writer, uint64_t offset, uint8_t *bytes, size_t len, hanse_err *err);
/* Rename to `path`; the caller has put every value. After an error `path` is as before. Free the writer in either case. */
HANSE_MUST_CHECK hanse_rc hanse_model_writer_commit(hanse_model_writer *writer, hanse_err *err);
void hanse_model_writer_free(hanse_model_writer *writer); /* NULL allowed; without commit removes the temporary file */

/* Whole models in one call: values [P] in memory; the plan's initial model, made chunk by chunk (O(chunk) memory). */
HANSE_MUST_CHECK hanse_rc hanse_model_write(const char *path, const hanse_layout *layout, const hanse_model_meta *meta,
                                            const float *values, bool sync, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_model_write_initial(const char *path, const hanse_layout *layout, const hanse_model_meta *meta,
                                                    uint64_t seed, bool sync, hanse_err *err);

/* ---- reading ---- */
typedef struct hanse_model_file {
    int fd;
    uint64_t size;      /* bytes of the file */
    size_t data_offset; /* bytes before the first float */
    hanse_layout layout; /* in file order */
    hanse_model_meta meta; /* zeros where the file has no such metadata: other tools' files are welcome as start models */
    bool has_meta;         /* run, round and plan_hash were all there */
    char *path;            /* for messages */
} hanse_model_file;

/* Open and check the header: length, JSON without duplicate keys, F32, shapes whose product fits, offsets that tile the data exactly.
 * Close with hanse_model_close() on success. Errors: NOTFOUND, IO, NOMEM; INVALID (names file and tensor). */
HANSE_MUST_CHECK hanse_rc hanse_model_open(hanse_model_file *out, const char *path, hanse_err *err);
/* Read values [first, first+count). Thread-safe. Errors: USAGE (range), IO, CORRUPT (file shrank). */
HANSE_MUST_CHECK hanse_rc hanse_model_read(const hanse_model_file *file, size_t first, float *values, size_t count, hanse_err *err);
void hanse_model_close(hanse_model_file *file); /* fd -1 afterwards; a zeroed struct with fd -1 is allowed */

/* Tests: let the k-th open, read, write or rename of this file from now fail with an IO error; negative switches this off. */
void hanse_model_fail_at(long countdown);

/* The header alone, for tests and fuzzers: `json` is the header text, `data_len` the bytes of data behind it. Fills layout and meta. */
HANSE_MUST_CHECK hanse_rc hanse_model_header_parse(hanse_bytes json, uint64_t data_len, hanse_layout *layout, hanse_model_meta *meta,
                                                   bool *has_meta, hanse_err *err);

#endif
