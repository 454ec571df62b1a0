#include "hanse/ring.h"
#include "crypto/ctr.h"
#include "hanse/digest.h"

#include <assert.h>
#include <endian.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>

typedef unsigned __int128 u128; /* products of two 64-bit counts */

struct hanse_quantiser {
    hanse_ctr ctr;
    double clip, factor; /* u = x * factor, factor = (Q w) / (W c) */
    double bound;        /* ceil(Q w / W), exact: below 2^53 */
    uint32_t bits;
};

enum { PIECE = HANSE_CTR_BLOCK / sizeof(uint32_t) }; /* values rounded by one block of key stream */

uint64_t hanse_ring_quanta(uint32_t sites, double precision)
{
    double quanta = ceil(sqrt((double)sites) / (2 * precision));

    if (sites == 0 || sites > HANSE_RING_SITES_MAX || !(precision > 0) || !(quanta <= (double)HANSE_RING_QUANTA_MAX))
        return 0;
    return (uint64_t)quanta;
}

uint32_t hanse_ring_bits(uint64_t quanta, uint32_t sites)
{
    uint32_t bits = HANSE_RING_BITS_MIN;

    if (quanta == 0 || quanta > HANSE_RING_QUANTA_MAX || sites == 0 || sites > HANSE_RING_SITES_MAX)
        return 0;
    while (((uint64_t)1 << bits) < 2 * (quanta + sites) + 1)
        bits++;
    return bits;
}

hanse_rc hanse_ring_check(const hanse_ring *ring, hanse_err *err)
{
    uint32_t needed = hanse_ring_bits(ring->quanta, ring->sites);

    if (!(ring->clip > 0) || !isfinite(ring->clip))
        return HANSE_FAIL(err, HANSE_E_INVALID, "clip %g: a positive number is needed", ring->clip);
    if (needed == 0 || ring->bits < needed || ring->bits > HANSE_RING_BITS_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "sums of %" PRIu32 " sites and %" PRIu64 " steps need %" PRIu32 " bits, not %" PRIu32,
                          ring->sites, ring->quanta, needed, ring->bits);
    return HANSE_OK;
}

static hanse_rc check_weight(uint64_t weight, uint64_t total, hanse_err *err)
{
    if (weight == 0 || weight > total || total > HANSE_RING_WEIGHT_MAX)
        return HANSE_FAIL(err, HANSE_E_WEIGHT, "weight %" PRIu64 " of a total of %" PRIu64, weight, total);
    return HANSE_OK;
}

static uint64_t divide_up(u128 a, uint64_t b)
{
    return (uint64_t)((a + b - 1) / b);
}

hanse_rc hanse_ring_share(uint64_t *share, uint64_t weight, uint64_t total, hanse_err *err)
{
    hanse_rc rc = check_weight(weight, total, err);

    if (rc == HANSE_OK)
        *share = divide_up((u128)weight * HANSE_RING_SHARE_ONE, total);
    return rc;
}

uint64_t hanse_ring_bound(uint64_t quanta, uint64_t weight, uint64_t total)
{
    return divide_up((u128)quanta * weight, total);
}

static void put_be(uint8_t *p, uint64_t v, int len)
{
    for (int i = 0; i < len; i++)
        p[len - 1 - i] = (uint8_t)(v >> (8 * i));
}

hanse_rc hanse_ring_rho_key(uint8_t key[32], hanse_bytes seed, const uint8_t site_id[32], uint64_t round, uint32_t segment,
                            uint64_t burnt_slot, hanse_err *err)
{
    uint8_t prk[32], info[10 + 8 + 4 + 8] = "hanse1/rho";
    hanse_rc rc = hanse_hkdf_extract(prk, (hanse_bytes){site_id, 32}, seed, err);

    put_be(info + 10, round, 8);
    put_be(info + 18, segment, 4);
    put_be(info + 22, burnt_slot, 8);
    if (rc == HANSE_OK)
        rc = hanse_hkdf_expand(key, 32, prk, (hanse_bytes){info, sizeof info}, err);
    hanse_wipe(prk, sizeof prk);
    return rc;
}

hanse_rc hanse_quantiser_new(hanse_quantiser **out, const hanse_ring *ring, uint64_t weight, uint64_t total,
                             const uint8_t rho_key[32], hanse_err *err)
{
    hanse_rc rc = hanse_ring_check(ring, err);
    hanse_quantiser *quantiser;

    if (rc == HANSE_OK)
        rc = check_weight(weight, total, err);
    if (rc != HANSE_OK)
        return rc;
    quantiser = hanse_calloc(1, sizeof *quantiser);
    if (quantiser == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "quantiser: out of memory");
    double above = (double)ring->quanta * (double)weight, below = (double)total * ring->clip;
    quantiser->clip = ring->clip;
    quantiser->factor = above / below;
    quantiser->bound = (double)hanse_ring_bound(ring->quanta, weight, total);
    quantiser->bits = ring->bits;
    if (!isfinite(quantiser->factor) || !(quantiser->factor > 0))
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "clip %g: its steps are no numbers", ring->clip);
    else
        rc = hanse_ctr_key(&quantiser->ctr, rho_key, err);
    if (rc == HANSE_OK)
        *out = quantiser;
    else
        hanse_quantiser_free(quantiser);
    return rc;
}

void hanse_quantiser_free(hanse_quantiser *quantiser)
{
    if (quantiser == NULL)
        return;
    hanse_ctr_clear(&quantiser->ctr);
    hanse_wipe(quantiser, sizeof *quantiser);
    hanse_free(quantiser);
}

/* Without an early return, so that the compiler can vectorise. */
static bool all_finite(const float *x, size_t count)
{
    size_t odd = 0;

    for (size_t k = 0; k < count; k++)
        odd += fabsf(x[k]) <= FLT_MAX ? 0u : 1u;
    return odd == 0;
}

_Static_assert(FLT_EVAL_METHOD == 0, "doubles must round as doubles");
#define TO_WHOLE 0x1.8p52 /* adding and taking it away rounds to the nearest whole number, for |v| < 2^51 */

/* v[k] = floor(x[k] * factor + rho), within +-bound: where u is a whole number, its rounding (and rho = 0 on the negative
 * side) would else lead one step past the bound that the range proof counts with. Each line is one rounding: no fused
 * multiply-add, so every machine gets the same q. */
static void round_piece(const hanse_quantiser *quantiser, const float *x, const uint32_t *rho, double *v, size_t count)
{
    const double clip = quantiser->clip, factor = quantiser->factor, bound = quantiser->bound;

    for (size_t k = 0; k < count; k++) {
        double value = x[k];
        value = value > clip ? clip : value;
        value = value < -clip ? -clip : value;
        double u = value * factor;
        double fraction = ((double)(int32_t)(le32toh(rho[k]) ^ 0x80000000u) + 0x1p31) * 0x1p-32; /* signed: SSE2 has no other */
        double sum = u + fraction;
        double nearest = sum + TO_WHOLE;
        nearest -= TO_WHOLE;
        double q = nearest - (nearest > sum ? 1.0 : 0.0); /* floor(), which older processors have no instruction for */
        q = q > bound ? bound : q;
        v[k] = q < -bound ? -bound : q;
    }
}

static hanse_rc quantise(hanse_quantiser *quantiser, uint64_t first, const float *x, uint32_t *narrow, uint64_t *wide,
                         size_t count, hanse_err *err)
{
    uint32_t rho[PIECE];
    double v[PIECE];
    hanse_rc rc;

    if (first > UINT64_MAX / 4 - count)
        return HANSE_FAIL(err, HANSE_E_USAGE, "quantise: value %" PRIu64 " is out of range", first);
    if (!all_finite(x, count))
        return HANSE_FAIL(err, HANSE_E_NONFINITE, "values %" PRIu64 "..%" PRIu64 " have NaN or infinity", first, first + count - 1);
    rc = hanse_ctr_seek(&quantiser->ctr, first * sizeof *rho, err);
    for (size_t at = 0; at < count && rc == HANSE_OK; at += PIECE) {
        size_t n = count - at < PIECE ? count - at : PIECE;
        rc = hanse_ctr_next(&quantiser->ctr, (uint8_t *)rho, n * sizeof *rho, err);
        if (rc != HANSE_OK)
            break;
        round_piece(quantiser, x + at, rho, v, n);
        if (narrow != NULL)
            for (size_t k = 0; k < n; k++) /* r <= 32: |q| < 2^31 */
                narrow[at + k] = (uint32_t)(int32_t)v[k];
        else
            for (size_t k = 0; k < n; k++)
                wide[at + k] = (uint64_t)(int64_t)v[k];
    }
    hanse_wipe(v, sizeof v);
    return rc;
}

hanse_rc hanse_quantise_u32(hanse_quantiser *quantiser, uint64_t first, const float *x, uint32_t *lanes, size_t count,
                            hanse_err *err)
{
    if (quantiser->bits > 32)
        return HANSE_FAIL(err, HANSE_E_USAGE, "quantise: %" PRIu32 " bits in lanes of 32", quantiser->bits);
    return quantise(quantiser, first, x, lanes, NULL, count, err);
}

hanse_rc hanse_quantise_u64(hanse_quantiser *quantiser, uint64_t first, const float *x, uint64_t *lanes, size_t count,
                            hanse_err *err)
{
    return quantise(quantiser, first, x, NULL, lanes, count, err);
}

/* *step = c / (Q * share). */
static hanse_rc check_mean(const hanse_ring *ring, uint64_t share, double *step, hanse_err *err)
{
    hanse_rc rc = hanse_ring_check(ring, err);

    if (rc != HANSE_OK)
        return rc;
    if (share == 0 || share > HANSE_RING_SHARE_ONE + ring->sites)
        return HANSE_FAIL(err, HANSE_E_FAILED, "the survivors' shares add to %" PRIu64 ", at most 2^40 + %" PRIu32, share, ring->sites);
    double part = (double)ring->quanta * ((double)share * 0x1p-40);
    *step = ring->clip / part;
    return HANSE_OK;
}

static int64_t signed_value(uint64_t lane, uint32_t bits)
{
    return (int64_t)(lane << (64 - bits)) >> (64 - bits);
}

static hanse_rc fail_range(int64_t sum, size_t k, const hanse_ring *ring, hanse_err *err)
{
    return HANSE_FAIL(err, HANSE_E_FAILED, "sum %" PRId64 " at value %zu is outside +-(%" PRIu64 " + %" PRIu32 "): a contribution is garbage",
                      sum, k, ring->quanta, ring->sites);
}

#define DEFINE_MEAN(name, lane)                                                                                         \
    hanse_rc name(float *mean, const lane *lanes, size_t count, const hanse_ring *ring, uint64_t share, hanse_err *err) \
    {                                                                                                                   \
        const int64_t most = (int64_t)(ring->quanta + ring->sites);                                                     \
        double step = 0;                                                                                                \
        hanse_rc rc = check_mean(ring, share, &step, err);                                                              \
                                                                                                                        \
        if (rc != HANSE_OK)                                                                                             \
            return rc;                                                                                                  \
        assert(ring->bits <= 8 * sizeof *lanes);                                                                        \
        for (size_t k = 0; k < count; k++) {                                                                            \
            int64_t sum = signed_value(lanes[k], ring->bits);                                                           \
            if (sum > most || sum < -most)                                                                              \
                return fail_range(sum, k, ring, err);                                                                   \
        }                                                                                                               \
        for (size_t k = 0; k < count; k++)                                                                              \
            mean[k] = (float)((double)signed_value(lanes[k], ring->bits) * step);                                       \
        return HANSE_OK;                                                                                                \
    }
DEFINE_MEAN(hanse_ring_mean_u32, uint32_t)
DEFINE_MEAN(hanse_ring_mean_u64, uint64_t)
