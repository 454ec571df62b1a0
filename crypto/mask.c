#include "hanse/mask.h"
#include "crypto/ctr.h"
#include "hanse/digest.h"
#include "hanse/hpke.h"

#include <endian.h>

#define SUPERCHUNK_BITS 32 /* bytes of stream under one key: the distance from random stays below 2^-73 */

struct hanse_mask {
    hanse_ctr ctr;
    uint8_t seed[HANSE_MASK_SEED_LEN];
    uint32_t segment, superchunk; /* of the key in ctr; nothing yet while ctr.ctx is NULL */
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
    rc = hanse_x25519(ikm, secret, peer.pub, err);
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
    hanse_ctr_clear(&mask->ctr);
    hanse_wipe(mask, sizeof *mask);
    hanse_free(mask);
}

static void put_u32be(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}

/* To byte `position` of the segment's stream, which may lie in another superchunk than before. */
static hanse_rc seek(hanse_mask *mask, uint32_t segment, uint64_t position, hanse_err *err)
{
    uint32_t superchunk = (uint32_t)(position >> SUPERCHUNK_BITS);
    uint8_t info[10 + 8] = "hanse1/prg", key[32];
    hanse_rc rc = HANSE_OK;

    if (mask->ctr.ctx == NULL || mask->segment != segment || mask->superchunk != superchunk) {
        put_u32be(info + 10, segment);
        put_u32be(info + 14, superchunk);
        rc = hanse_hkdf_expand(key, sizeof key, mask->seed, (hanse_bytes){info, sizeof info}, err);
        if (rc == HANSE_OK)
            rc = hanse_ctr_key(&mask->ctr, key, err);
        if (rc != HANSE_OK)
            hanse_ctr_clear(&mask->ctr);
        hanse_wipe(key, sizeof key);
        mask->segment = segment;
        mask->superchunk = superchunk;
    }
    return rc == HANSE_OK ? hanse_ctr_seek(&mask->ctr, position & (((uint64_t)1 << SUPERCHUNK_BITS) - 1), err) : rc;
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

/* lane: 4 or 8 bytes. Positions in bytes of the segment's stream; blocks never cross a superchunk. */
static hanse_rc apply(hanse_mask *const *masks, size_t masks_count, uint32_t segment, uint64_t first, void *words,
                      size_t count, size_t lane, hanse_err *err)
{
    const uint64_t superchunk = (uint64_t)1 << SUPERCHUNK_BITS;
    uint64_t at = first * lane, end;
    bool jump = true; /* a cipher that stands where the next block begins need not be sent there */
    hanse_rc rc = HANSE_OK;
    block stream;

    if (first >= HANSE_MASK_WORDS_MAX || count > HANSE_MASK_WORDS_MAX - first)
        return HANSE_FAIL(err, HANSE_E_USAGE, "mask: words beyond 2^48");
    end = at + count * lane;
    for (uint8_t *to = words; at < end && rc == HANSE_OK;) {
        uint64_t left = end - at, room = superchunk - at % superchunk;
        size_t len = left < sizeof stream ? (size_t)left : sizeof stream;
        len = room < len ? (size_t)room : len;
        for (size_t m = 0; m < masks_count && rc == HANSE_OK; m++) {
            if (jump)
                rc = seek(masks[m], segment, at, err);
            if (rc == HANSE_OK)
                rc = hanse_ctr_next(&masks[m]->ctr, stream.bytes, len, err);
            if (rc != HANSE_OK)
                break;
            if (lane == 4)
                fold_u32((uint32_t *)(void *)to, &stream, len / 4, masks[m]->subtract);
            else
                fold_u64((uint64_t *)(void *)to, &stream, len / 8, masks[m]->subtract);
        }
        at += len;
        to += len;
        jump = at % superchunk == 0;
    }
    hanse_wipe(&stream, sizeof stream);
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
