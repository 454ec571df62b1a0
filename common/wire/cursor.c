#include "hanse/cursor.h"

#include <inttypes.h>

/* Big-endian integer of `width` bytes at data[at]; false when it is cut off. */
static bool load(const hanse_cursor *cursor, size_t at, size_t width, uint64_t *value)
{
    uint64_t sum = 0;

    if (cursor->len < at || cursor->len - at < width)
        return false;
    for (size_t i = 0; i < width; i++)
        sum = sum << 8 | cursor->data[at + i];
    *value = sum;
    return true;
}

static void advance(hanse_cursor *cursor, size_t len)
{
    cursor->data += len;
    cursor->len -= len;
}

static hanse_rc fail_type(const hanse_cursor *cursor, const char *want, hanse_err *err)
{
    if (cursor->len == 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "the message ends where %s must be", want);
    return HANSE_FAIL(err, HANSE_E_PROTOCOL, "msgpack byte 0x%02x where %s must be", cursor->data[0], want);
}

/* One length or count header: `fix`..`fix`+`fix_max` carry it themselves; wide[] are the tags for 1, 2 and 4 bytes (0:
 * no such form). AGAIN when the header is cut off, PROTOCOL for another type. */
static hanse_rc header(const hanse_cursor *cursor, uint8_t fix, uint8_t fix_max, const uint8_t wide[3], size_t *head_len,
                       uint64_t *value)
{
    if (cursor->len == 0)
        return HANSE_E_AGAIN;
    if (fix != 0 && cursor->data[0] >= fix && cursor->data[0] <= fix + fix_max) {
        *value = (uint64_t)(cursor->data[0] - fix);
        *head_len = 1;
        return HANSE_OK;
    }
    for (size_t i = 0; i < 3; i++)
        if (wide[i] != 0 && cursor->data[0] == wide[i]) {
            *head_len = 1 + ((size_t)1 << i);
            return load(cursor, 1, (size_t)1 << i, value) ? HANSE_OK : HANSE_E_AGAIN;
        }
    return HANSE_E_PROTOCOL;
}

static const uint8_t array_tags[3] = {0, 0xdc, 0xdd};
static const uint8_t bin_tags[3] = {0xc4, 0xc5, 0xc6};
static const uint8_t str_tags[3] = {0xd9, 0xda, 0xdb};

hanse_rc hanse_cursor_array(hanse_cursor *cursor, size_t *count, hanse_err *err)
{
    uint64_t items;
    size_t head_len;

    if (header(cursor, 0x90, 15, array_tags, &head_len, &items) != HANSE_OK)
        return fail_type(cursor, "an array", err);
    if (items > cursor->len - head_len)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "an array of %" PRIu64 " items in %zu bytes", items, cursor->len - head_len);
    *count = (size_t)items;
    advance(cursor, head_len);
    return HANSE_OK;
}

hanse_rc hanse_cursor_uint(hanse_cursor *cursor, uint64_t *value, uint64_t max, hanse_err *err)
{
    uint64_t number;
    size_t len = 1;

    if (cursor->len == 0)
        return fail_type(cursor, "an unsigned integer", err);
    if (cursor->data[0] <= 0x7f) {
        number = cursor->data[0];
    } else if (cursor->data[0] >= 0xcc && cursor->data[0] <= 0xcf) {
        len = 1 + ((size_t)1 << (cursor->data[0] - 0xcc));
        if (!load(cursor, 1, len - 1, &number))
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "the message ends inside an integer");
    } else {
        return fail_type(cursor, "an unsigned integer", err);
    }
    if (number > max)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%" PRIu64 ", at most %" PRIu64, number, max);
    *value = number;
    advance(cursor, len);
    return HANSE_OK;
}

hanse_rc hanse_cursor_bool(hanse_cursor *cursor, bool *value, hanse_err *err)
{
    if (cursor->len == 0 || (cursor->data[0] & 0xfe) != 0xc2)
        return fail_type(cursor, "true or false", err);
    *value = cursor->data[0] == 0xc3;
    advance(cursor, 1);
    return HANSE_OK;
}

static hanse_rc read_blob(hanse_cursor *cursor, uint8_t fix, uint8_t fix_max, const uint8_t tags[3], const char *what,
                          hanse_bytes *value, hanse_err *err)
{
    uint64_t len;
    size_t head_len;

    if (header(cursor, fix, fix_max, tags, &head_len, &len) != HANSE_OK)
        return fail_type(cursor, what, err);
    if (len > cursor->len - head_len)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s of %" PRIu64 " bytes, %zu are left", what, len, cursor->len - head_len);
    *value = (hanse_bytes){cursor->data + head_len, (size_t)len};
    advance(cursor, head_len + (size_t)len);
    return HANSE_OK;
}

hanse_rc hanse_cursor_bin(hanse_cursor *cursor, hanse_bytes *value, hanse_err *err)
{
    return read_blob(cursor, 0, 0, bin_tags, "a bin", value, err);
}

hanse_rc hanse_cursor_str(hanse_cursor *cursor, hanse_bytes *value, hanse_err *err)
{
    return read_blob(cursor, 0xa0, 31, str_tags, "a str", value, err);
}

hanse_rc hanse_cursor_bin_head(hanse_cursor *cursor, size_t *len, hanse_err *err)
{
    uint64_t bytes;
    size_t head_len;
    hanse_rc rc = header(cursor, 0, 0, bin_tags, &head_len, &bytes);

    if (rc == HANSE_E_AGAIN)
        return HANSE_FAIL(err, rc, "the header of a bin is cut off");
    if (rc != HANSE_OK)
        return fail_type(cursor, "a bin", err);
    *len = (size_t)bytes;
    advance(cursor, head_len);
    return HANSE_OK;
}

hanse_rc hanse_cursor_end(const hanse_cursor *cursor, hanse_err *err)
{
    if (cursor->len != 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%zu bytes behind the last field", cursor->len);
    return HANSE_OK;
}

/* Length of the UTF-8 character at data[0], 0 when it is none (RFC 3629, table 3-7 of Unicode). */
static size_t character_len(const uint8_t *data, size_t len)
{
    size_t want = data[0] < 0x80 ? 1 : data[0] >= 0xc2 && data[0] <= 0xdf ? 2 : (data[0] & 0xf0) == 0xe0 ? 3
                : data[0] >= 0xf0 && data[0] <= 0xf4 ? 4 : 0;

    if (want == 0 || want > len)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((data[i] & 0xc0) != 0x80)
            return 0;
    if ((data[0] == 0xe0 && data[1] < 0xa0) || (data[0] == 0xed && data[1] > 0x9f) || (data[0] == 0xf0 && data[1] < 0x90)
        || (data[0] == 0xf4 && data[1] > 0x8f))
        return 0;
    return want;
}

bool hanse_text_is_printable(hanse_bytes text)
{
    for (size_t at = 0, step; at < text.len; at += step) {
        const uint8_t *c = text.data + at;

        step = character_len(c, text.len - at);
        if (step == 0 || c[0] < 0x20 || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0))
            return false;
    }
    return true;
}
