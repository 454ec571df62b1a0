/* bytes.h - memory: the one allocator, borrowed and owned byte ranges, and little-endian words.
 *
 * hanse_bytes is borrowed and never freed; hanse_buf is owned by whoever declared it. */
#ifndef HANSE_BYTES_H
#define HANSE_BYTES_H

#include "hanse/error.h"

#include <stdint.h>
#include <string.h>

typedef struct hanse_bytes {
    const uint8_t *data;
    size_t len;
} hanse_bytes;

#define HANSE_BYTES_EMPTY ((hanse_bytes){NULL, 0})

typedef struct hanse_buf {
    uint8_t *data;
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
} hanse_buf;

#define HANSE_BUF_EMPTY ((hanse_buf){NULL, 0, 0})

/* Zeroed memory for `count` items of `size` bytes. NULL when the product overflows or memory is out. */
HANSE_MUST_CHECK void *hanse_calloc(size_t count, size_t size);
/* The same, not zeroed: room for megabytes that are written before they are read. */
HANSE_MUST_CHECK void *hanse_malloc(size_t count, size_t size);
/* Like realloc, with checked product; on NULL the old block is untouched. Grown memory is not zeroed. */
HANSE_MUST_CHECK void *hanse_realloc(void *old, size_t count, size_t size);
/* Copy of `len` bytes plus a terminating zero; NULL when memory is out. Release with hanse_free(). */
HANSE_MUST_CHECK char *hanse_strndup(const char *text, size_t len);
void hanse_free(void *memory);

/* Tests: let the k-th allocation from now fail (0 = the next one); negative switches this off. */
void hanse_alloc_fail_at(long countdown);

/* Text as bytes, without its terminating zero. */
static inline hanse_bytes hanse_bytes_str(const char *text)
{
    return (hanse_bytes){(const uint8_t *)text, strlen(text)};
}
static inline hanse_bytes hanse_buf_bytes(const hanse_buf *buf)
{
    return (hanse_bytes){buf->data, buf->len};
}
bool hanse_bytes_equal(hanse_bytes a, hanse_bytes b); /* not constant time: for public values only */

/* Room for at least `cap` bytes in all; keeps the content. Errors: NOMEM (buf unchanged). */
HANSE_MUST_CHECK hanse_rc hanse_buf_reserve(hanse_buf *buf, size_t cap, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_buf_append(hanse_buf *buf, const void *data, size_t len, hanse_err *err);
/* printf to the end; a terminating zero stands behind buf->len but is not counted. */
HANSE_MUST_CHECK hanse_rc hanse_buf_printf(hanse_buf *buf, hanse_err *err, const char *fmt, ...)
    HANSE_PRINTF(3, 4);
void hanse_buf_clear(hanse_buf *buf); /* releases; empty afterwards */
void hanse_buf_wipe(hanse_buf *buf);  /* overwrites with zeros the compiler cannot drop, then releases */
void hanse_wipe(void *memory, size_t len);

/* Checked arithmetic: false, with *out untouched, when the result does not fit. */
static inline bool hanse_size_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}
static inline bool hanse_size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

/* Little-endian words on the wire and in files, whatever the host. */
static inline uint32_t hanse_load_u32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t hanse_load_u64le(const uint8_t *p)
{
    return (uint64_t)hanse_load_u32le(p) | (uint64_t)hanse_load_u32le(p + 4) << 32;
}
static inline void hanse_store_u32le(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}
static inline void hanse_store_u64le(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Lower-case hex with terminating zero: out holds 2*len+1 bytes. */
void hanse_hex_encode(char *out, const uint8_t *data, size_t len);
/* Exactly 2*len hex digits into len bytes. Errors: INVALID. */
HANSE_MUST_CHECK hanse_rc hanse_hex_decode(uint8_t *out, size_t len, const char *hex, hanse_err *err);

#endif
