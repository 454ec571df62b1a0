/* mask_none.c - stands in for crypto/mask.c in programs of the tests: every mask is zero, so uploads are plain ring words.
 * A test of what masks hide must find what they hide in these. */
#include "hanse/mask.h"

struct hanse_mask {
    uint8_t nothing;
};

hanse_rc hanse_mask_pair_seed(uint8_t seed[HANSE_MASK_SEED_LEN], bool *subtract, hanse_mask_party me, const uint8_t secret[32],
                              hanse_mask_party peer, hanse_bytes psk, const uint8_t round_id[32], hanse_err *err)
{
    (void)me, (void)secret, (void)peer, (void)psk, (void)round_id, (void)err;
    memset(seed, 0, HANSE_MASK_SEED_LEN);
    *subtract = false;
    return HANSE_OK;
}

hanse_rc hanse_mask_self_seed(uint8_t seed[HANSE_MASK_SEED_LEN], const uint8_t b[32], const uint8_t round_id[32], const uint8_t site_id[32],
                              hanse_err *err)
{
    (void)b, (void)round_id, (void)site_id, (void)err;
    memset(seed, 0, HANSE_MASK_SEED_LEN);
    return HANSE_OK;
}

hanse_rc hanse_mask_new(hanse_mask **out, const uint8_t seed[HANSE_MASK_SEED_LEN], bool subtract, hanse_err *err)
{
    (void)seed, (void)subtract;
    *out = hanse_calloc(1, sizeof **out);
    return *out != NULL ? HANSE_OK : HANSE_FAIL(err, HANSE_E_NOMEM, "mask: out of memory");
}

void hanse_mask_free(hanse_mask *mask)
{
    hanse_free(mask);
}

hanse_rc hanse_mask_apply_u32(hanse_mask *const *masks, size_t masks_count, uint32_t segment, uint64_t first, uint32_t *words, size_t count,
                              hanse_err *err)
{
    (void)masks, (void)masks_count, (void)segment, (void)first, (void)words, (void)count, (void)err;
    return HANSE_OK;
}

hanse_rc hanse_mask_apply_u64(hanse_mask *const *masks, size_t masks_count, uint32_t segment, uint64_t first, uint64_t *words, size_t count,
                              hanse_err *err)
{
    (void)masks, (void)masks_count, (void)segment, (void)first, (void)words, (void)count, (void)err;
    return HANSE_OK;
}
