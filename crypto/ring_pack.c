/* The packed form of ring.h: r bits a value, little-endian bit order, through a window of 64 bits. */
#include "hanse/ring.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>

size_t hanse_ring_packed_len(size_t count, uint32_t bits)
{
    return count / 8 * bits + (count % 8 * bits + 7) / 8; /* count * bits alone could overflow */
}

static uint64_t low_bits(uint32_t bits)
{
    return UINT64_MAX >> (64 - bits);
}

/* `have` bits of `window` wait to be written, fewer than 64. */
#define DEFINE_PACK(name, lane)                                                 \
    void name(uint8_t *out, const lane *lanes, size_t count, uint32_t bits)     \
    {                                                                           \
        uint64_t window = 0;                                                    \
        uint32_t have = 0;                                                      \
                                                                                \
        assert(bits >= HANSE_RING_BITS_MIN && bits <= 8 * sizeof *lanes);       \
        for (size_t k = 0; k < count; k++) {                                    \
            uint64_t value = lanes[k] & low_bits(bits);                         \
            window |= value << have;                                            \
            have += bits;                                                       \
            if (have >= 64) {                                                   \
                uint64_t word = htole64(window);                                \
                memcpy(out, &word, 8);                                          \
                out += 8;                                                       \
                have -= 64;                                                     \
                window = have > 0 ? value >> (bits - have) : 0;                 \
            }                                                                   \
        }                                                                       \
        for (; have > 0; have = have > 8 ? have - 8 : 0, window >>= 8)          \
            *out++ = (uint8_t)window;                                           \
    }
DEFINE_PACK(hanse_ring_pack_u32, uint32_t)
DEFINE_PACK(hanse_ring_pack_u64, uint64_t)

static hanse_rc check_packed(hanse_bytes packed, size_t count, uint32_t bits, hanse_err *err)
{
    size_t want = hanse_ring_packed_len(count, bits);
    uint32_t used = (uint32_t)(count % 8 * bits % 8); /* of the last byte */

    if (packed.len != want)
        return HANSE_FAIL(err, HANSE_E_SHAPE, "%zu values of %" PRIu32 " bits: %zu bytes, want %zu", count, bits, packed.len, want);
    if (used != 0 && packed.data[want - 1] >> used != 0)
        return HANSE_FAIL(err, HANSE_E_SHAPE, "%zu values of %" PRIu32 " bits: something follows the last value", count, bits);
    return HANSE_OK;
}

/* The next 8 bytes, fewer at the end. */
static uint64_t next_word(hanse_bytes *from)
{
    uint64_t word = 0;
    size_t len = from->len < 8 ? from->len : 8;

    if (len == 8)
        memcpy(&word, from->data, 8);
    else if (len > 0)
        memcpy(&word, from->data, len);
    from->data += len;
    from->len -= len;
    return le64toh(word);
}

/* `have` bits of `window` are not yet read, fewer than 64. */
#define DEFINE_UNPACK_ADD(name, lane)                                                                   \
    hanse_rc name(lane *lanes, hanse_bytes packed, size_t count, uint32_t bits, hanse_err *err)         \
    {                                                                                                   \
        uint64_t window = 0;                                                                            \
        uint32_t have = 0;                                                                              \
        hanse_rc rc;                                                                                    \
                                                                                                        \
        assert(bits >= HANSE_RING_BITS_MIN && bits <= 8 * sizeof *lanes);                               \
        rc = check_packed(packed, count, bits, err);                                                    \
        if (rc != HANSE_OK)                                                                             \
            return rc;                                                                                  \
        for (size_t k = 0; k < count; k++) {                                                            \
            uint64_t value = window;                                                                    \
            if (have >= bits) {                                                                         \
                window >>= bits;                                                                        \
                have -= bits;                                                                           \
            } else {                                                                                    \
                uint32_t taken = bits - have;                                                           \
                uint64_t word = next_word(&packed);                                                     \
                value |= word << have;                                                                  \
                window = taken < 64 ? word >> taken : 0;                                                \
                have = 64 - taken;                                                                      \
            }                                                                                           \
            lanes[k] = (lane)(lanes[k] + (lane)(value & low_bits(bits)));                               \
        }                                                                                               \
        return HANSE_OK;                                                                                \
    }
DEFINE_UNPACK_ADD(hanse_ring_unpack_add_u32, uint32_t)
DEFINE_UNPACK_ADD(hanse_ring_unpack_add_u64, uint64_t)
