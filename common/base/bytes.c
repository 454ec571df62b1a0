#include "hanse/bytes.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_long fail_countdown = -1;

void hanse_alloc_fail_at(long countdown)
{
    atomic_store(&fail_countdown, countdown);
}

static bool must_fail(void)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0)
        return false;
    return atomic_fetch_sub(&fail_countdown, 1) == 0;
}

void *hanse_calloc(size_t count, size_t size)
{
    size_t len;

    if (!hanse_size_mul(count, size, &len) || must_fail()) /* sanitisers abort where calloc returns NULL */
        return NULL;
    return calloc(1, len == 0 ? 1 : len);
}

void *hanse_malloc(size_t count, size_t size)
{
    return hanse_realloc(NULL, count, size);
}

void *hanse_realloc(void *old, size_t count, size_t size)
{
    size_t len;

    if (!hanse_size_mul(count, size, &len) || must_fail())
        return NULL;
    return realloc(old, len == 0 ? 1 : len);
}

char *hanse_strndup(const char *text, size_t len)
{
    size_t room;
    char *copy;

    if (!hanse_size_add(len, 1, &room))
        return NULL;
    copy = hanse_calloc(room, 1);
    if (copy != NULL && len > 0)
        memcpy(copy, text, len);
    return copy;
}

void hanse_free(void *memory)
{
    free(memory);
}

bool hanse_bytes_equal(hanse_bytes a, hanse_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

hanse_rc hanse_buf_reserve(hanse_buf *buf, size_t cap, hanse_err *err)
{
    size_t grown = buf->cap < 64 ? 64 : buf->cap;
    uint8_t *data;

    if (cap <= buf->cap)
        return HANSE_OK;
    while (grown < cap)
        if (!hanse_size_mul(grown, 2, &grown))
            return HANSE_FAIL(err, HANSE_E_NOMEM, "a buffer of %zu bytes does not fit into memory", cap);
    data = hanse_realloc(buf->data, grown, 1);
    if (data == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu bytes", grown);
    buf->data = data;
    buf->cap = grown;
    return HANSE_OK;
}

hanse_rc hanse_buf_append(hanse_buf *buf, const void *data, size_t len, hanse_err *err)
{
    size_t want;
    hanse_rc rc;

    if (!hanse_size_add(buf->len, len, &want))
        return HANSE_FAIL(err, HANSE_E_NOMEM, "a buffer of %zu + %zu bytes overflows", buf->len, len);
    rc = hanse_buf_reserve(buf, want, err);
    if (rc != HANSE_OK)
        return rc;
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len = want;
    return HANSE_OK;
}

hanse_rc hanse_buf_printf(hanse_buf *buf, hanse_err *err, const char *fmt, ...)
{
    va_list args;
    int len;
    hanse_rc rc;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0)
        return HANSE_FAIL(err, HANSE_E_USAGE, "bad format \"%s\"", fmt);
    rc = hanse_buf_reserve(buf, buf->len + (size_t)len + 1, err);
    if (rc != HANSE_OK)
        return rc;
    va_start(args, fmt);
    (void)vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
    return HANSE_OK;
}

void hanse_buf_clear(hanse_buf *buf)
{
    hanse_free(buf->data);
    *buf = HANSE_BUF_EMPTY;
}

void hanse_wipe(void *memory, size_t len)
{
    if (len > 0)
        explicit_bzero(memory, len);
}

void hanse_buf_wipe(hanse_buf *buf)
{
    hanse_wipe(buf->data, buf->cap);
    hanse_buf_clear(buf);
}

void hanse_hex_encode(char *out, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

hanse_rc hanse_hex_decode(uint8_t *out, size_t len, const char *hex, hanse_err *err)
{
    size_t want = 2 * len;

    if (strlen(hex) != want)
        return HANSE_FAIL(err, HANSE_E_INVALID, "want %zu hex digits, got %zu characters", want, strlen(hex));
    for (size_t i = 0; i < want; i++)
        if (hex_digit(hex[i]) < 0)
            return HANSE_FAIL(err, HANSE_E_INVALID, "character %zu is no hex digit", i + 1);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return HANSE_OK;
}
