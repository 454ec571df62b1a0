#include "hanse/mask.h"
#include "crypto/ctr.h"
#include "crypto/vaes.h"
#include "hanse/digest.h"
#include "hanse/hpke.h"

#include <endian.h>

#define SUPERCHUNK_BITS 32 /* bytes of stream under one key: the distance from random stays below 2^-73 */

#define PIECE ((size_t)1 << 17)   /* bytes of words that all masks go over before the next: they stay in the cache of a core */

struct hanse_mask {
    uint8_t seed[HANSE_MASK_SEED_LEN];
    bool subtract;
};

static hanse_rc hkdf(uint8_t out[32], hanse_bytes ikm, const uint8_t salt[32], hanse_bytes info, hanse_err *err)
{
    uint8_t prk[32];
    hanse_rc rc = hanse_hkdf_extract(prk, (hanse_bytes){salt, 32}, ikm, err);

    if (rc == HANSE_OK)
        rc = hanse_hkdf_expand(out, 32, prk, info, err);
    hanse_wipe(prk, sizeof prk);
    return rc;
}

hanse_rc hanse_mask_pair_seed(uint8_t seed[HANSE_MASK_SEED_LEN], bool *subtract, hanse_mask_party me,
                              const uint8_t secret[32], hanse_mask_party peer, hanse_bytes psk,
                              const uint8_t round_id[32], hanse_err *err)
{
    uint8_t ikm[64], ends[128], info[11 + 32] = "hanse1/pair";
    int order = memcmp(me.site_id, peer.site_id, 32); /* public */
    hanse_mask_party low = order < 0 ? me : peer, high = order < 0 ? peer : me;
    hanse_rc rc;

    if (order == 0 || (psk.len != 0 && psk.len != 32))
        return HANSE_FAIL(err, HANSE_E_USAGE, "mask of a pair: %s", order == 0 ? "a site with itself" : "the pre-shared key is not 32 bytes");
    memcpy(ends, low.site_id, 32);
    memcpy(ends + 32, low.pub, 32);
    memcpy(ends + 64, high.site_id, 32);
    memcpy(ends + 96, high.pub, 32);
    rc = hanse_x25519(ikm, (hanse_x25519_pair){secret, me.pub}, peer.pub, err);
    if (rc == HANSE_OK && psk.len != 0)
        memcpy(ikm + 32, psk.data, 32);
    if (rc == HANSE_OK)
        rc = hanse_sha256(info + 11, (hanse_bytes){ends, sizeof ends}, err);
    if (rc == HANSE_OK)
        rc = hkdf(seed, (hanse_bytes){ikm, 32 + psk.len}, round_id, (hanse_bytes){info, sizeof info}, err);
    if (rc == HANSE_OK)
        *subtract = order > 0;
    hanse_wipe(ikm, sizeof ikm);
    return rc;
}

hanse_rc hanse_mask_self_seed(uint8_t seed[HANSE_MASK_SEED_LEN], const uint8_t b[32], const uint8_t round_id[32],
                              const uint8_t site_id[32], hanse_err *err)
{
    uint8_t info[11 + 32] = "hanse1/self";

    memcpy(info + 11, site_id, 32);
    return hkdf(seed, (hanse_bytes){b, 32}, round_id, (hanse_bytes){info, sizeof info}, err);
}

hanse_rc hanse_mask_new(hanse_mask **out, const uint8_t seed[HANSE_MASK_SEED_LEN], bool subtract, hanse_err *err)
{
    hanse_mask *mask = hanse_calloc(1, sizeof *mask);

    if (mask == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "mask: out of memory");
    memcpy(mask->seed, seed, sizeof mask->seed);
    mask->subtract = subtract;
    *out = mask;
    return HANSE_OK;
}

void hanse_mask_free(hanse_mask *mask)
{
    if (mask == NULL)
        return;
    hanse_wipe(mask, sizeof *mask);
    hanse_free(mask);
}

static void put_u32be(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}

/* The stream keys of all masks for one superchunk of a segment: keys [masks_count][32]. */
static hanse_rc derive_keys(uint8_t (*keys)[32], hanse_mask *const *masks, size_t masks_count, uint32_t segment, uint32_t superchunk, hanse_err *err)
{
    uint8_t info[10 + 8] = "hanse1/prg";
    hanse_rc rc = HANSE_OK;

    put_u32be(info + 10, segment);
    put_u32be(info + 14, superchunk);
    for (size_t m = 0; m < masks_count && rc == HANSE_OK; m++)
        rc = hanse_hkdf_expand(keys[m], 32, masks[m]->seed, (hanse_bytes){info, sizeof info}, err);
    return rc;
}

typedef union block {
    _Alignas(64) uint8_t bytes[HANSE_CTR_BLOCK];
    uint32_t u32[HANSE_CTR_BLOCK / 4];
    uint64_t u64[HANSE_CTR_BLOCK / 8];
} block;

static void fold_u32(uint32_t *words, const block *stream, size_t count, bool subtract)
{
    if (subtract)
        for (size_t k = 0; k < count; k++)
            words[k] -= le32toh(stream->u32[k]);
    else
        for (size_t k = 0; k < count; k++)
            words[k] += le32toh(stream->u32[k]);
}

static void fold_u64(uint64_t *words, const block *stream, size_t count, bool subtract)
{
    if (subtract)
        for (size_t k = 0; k < count; k++)
            words[k] -= le64toh(stream->u64[k]);
    else
        for (size_t k = 0; k < count; k++)
            words[k] += le64toh(stream->u64[k]);
}

/* One mask over `len` bytes of words; `position`: of the first in the superchunk. */
static hanse_rc apply_one(hanse_ctr *ctr, const uint8_t key[32], uint64_t position, uint8_t *words, size_t len, hanse_lane lane, hanse_err *err)
{
    block stream;
    hanse_rc rc;

    if (hanse_vaes_width() > 0) {
        hanse_vaes_fold(key, position, words, len, lane);
        return HANSE_OK;
    }
    rc = hanse_ctr_key(ctr, key, err);
    if (rc == HANSE_OK && position != 0)
        rc = hanse_ctr_seek(ctr, position, err);
    for (size_t at = 0; at < len && rc == HANSE_OK; at += sizeof stream) {
        size_t part = len - at < sizeof stream ? len - at : sizeof stream;

        rc = hanse_ctr_next(ctr, stream.bytes, part, err);
        if (rc == HANSE_OK && lane.len == 4)
            fold_u32((uint32_t *)(void *)(words + at), &stream, part / 4, lane.subtract);
        else if (rc == HANSE_OK)
            fold_u64((uint64_t *)(void *)(words + at), &stream, part / 8, lane.subtract);
    }
    hanse_wipe(&stream, sizeof stream);
    return rc;
}

/* lane: 4 or 8 bytes. Positions in bytes of the segment's stream; pieces never cross a superchunk. */
static hanse_rc apply(hanse_mask *const *masks, size_t masks_count, uint32_t segment, uint64_t first, void *words,
                      size_t count, size_t lane, hanse_err *err)
{
    const uint64_t superchunk = (uint64_t)1 << SUPERCHUNK_BITS;
    uint64_t at = first * lane, end;
    uint8_t (*keys)[32];
    hanse_ctr ctr = HANSE_CTR_EMPTY;
    bool jump = true; /* into another superchunk: other keys */
    hanse_rc rc = HANSE_OK;

    if (first >= HANSE_MASK_WORDS_MAX || count > HANSE_MASK_WORDS_MAX - first)
        return HANSE_FAIL(err, HANSE_E_USAGE, "mask: words beyond 2^48");
    if (masks_count == 0 || count == 0)
        return HANSE_OK;
    keys = hanse_calloc(masks_count, sizeof *keys);
    if (keys == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the keys of %zu masks", masks_count);
    end = at + count * lane;
    for (uint8_t *to = words; at < end && rc == HANSE_OK;) {
        uint64_t left = end - at, room = superchunk - at % superchunk;
        size_t len = left < PIECE ? (size_t)left : PIECE;
        len = room < len ? (size_t)room : len;
        if (jump)
            rc = derive_keys(keys, masks, masks_count, segment, (uint32_t)(at >> SUPERCHUNK_BITS), err);
        for (size_t m = 0; m < masks_count && rc == HANSE_OK; m++)
            rc = apply_one(&ctr, keys[m], at % superchunk, to, len, (hanse_lane){lane, masks[m]->subtract}, err);
        at += len;
        to += len;
        jump = at % superchunk == 0;
    }
    hanse_ctr_clear(&ctr);
    hanse_wipe(keys, masks_count * sizeof *keys);
    hanse_free(keys);
    return rc;
}

hanse_rc hanse_mask_apply_u32(hanse_mask *const *masks, size_t masks_count, uint32_t segment, uint64_t first,
                              uint32_t *words, size_t count, hanse_err *err)
{
    return apply(masks, masks_count, segment, first, words, count, sizeof *words, err);
}

hanse_rc hanse_mask_apply_u64(hanse_mask *const *masks, size_t masks_count, uint32_t segment, uint64_t first,
                              uint64_t *words, size_t count, hanse_err *err)
{
    return apply(masks, masks_count, segment, first, words, count, sizeof *words, err);
}
