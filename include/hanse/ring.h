/* ring.h - real numbers as integers modulo 2^r, so that sums of many sites are exact and masks can hide them.
 *
 * Site i of weight w_i, of a total W, writes x in [-c, c] as
 *   q = floor(u + rho), u = x * (w_i / W) * Q / c, rho uniform in [0,1): right on average
 * so that |q| <= ceil(Q w_i / W), the n sites' |sum q| <= Q + n, and r = ceil(log2(2(Q+n)+1)) bits hold it. Sums are made
 * in lanes of 32 bits (64 where r > 32) and only the low r bits travel: taking them is a ring map. Pure.
 * The mean's error by rounding is c sqrt(n) / (2Q), divided by the share of W that took part, root mean square. */
#ifndef HANSE_RING_H
#define HANSE_RING_H

#include "hanse/bytes.h"

#define HANSE_RING_BITS_MIN 8
#define HANSE_RING_BITS_MAX 64
#define HANSE_RING_QUANTA_MAX ((uint64_t)1 << 40)
#define HANSE_RING_SITES_MAX 65535
#define HANSE_RING_WEIGHT_MAX ((uint64_t)1 << 53) /* exact in a double */
#define HANSE_RING_SHARE_ONE ((uint64_t)1 << 40)  /* a share of W travels as a 64-bit word of this unit */

/* How one segment is written: agreed by all sites of a round. */
typedef struct hanse_ring {
    double clip;     /* c > 0 */
    uint64_t quanta; /* Q, 1..HANSE_RING_QUANTA_MAX */
    uint32_t sites;  /* n, 1..HANSE_RING_SITES_MAX */
    uint32_t bits;   /* r */
} hanse_ring;

/* The smallest Q whose rounding error stays below `precision` * c when all n take part: ceil(sqrt(n) / (2 precision)).
 * 0 when that, n or precision is out of range. The usual precision is 3e-6: r = 20 bits at n = 4, 21 at 10, 22 at 100. */
uint64_t hanse_ring_quanta(uint32_t sites, double precision);
/* r = ceil(log2(2(Q+n)+1)), at least HANSE_RING_BITS_MIN; 0 when Q or n is out of range. */
uint32_t hanse_ring_bits(uint64_t quanta, uint32_t sites);
/* The range proof: c finite and > 0, Q and n in range, r in 8..64 and 2(Q+n)+1 <= 2^r, so that no honest sum wraps.
 * Errors: INVALID, with the numbers. */
HANSE_MUST_CHECK hanse_rc hanse_ring_check(const hanse_ring *ring, hanse_err *err);

/* A site's weight as share of W, rounded up: w_i * 2^40 / W; the shares of all n add to at most 2^40 + n.
 * Errors: WEIGHT (w or W of 0, w > W, W > HANSE_RING_WEIGHT_MAX). */
HANSE_MUST_CHECK hanse_rc hanse_ring_share(uint64_t *share, uint64_t weight, uint64_t total, hanse_err *err);
/* The largest |q| of a site: ceil(Q w / W). The arguments have been checked as above. */
uint64_t hanse_ring_bound(uint64_t quanta, uint64_t weight, uint64_t total);

/* key = HKDF(ikm = seed, salt = site_id, info = "hanse1/rho" || u64be round || u32be segment || u64be burnt_slot, 32).
 * Value k is rounded by the 32-bit little-endian word k of the AES-256-CTR stream of this key, times 2^-32: neither
 * ticket nor run id is in it, so that the same training gives the same q.
 *   seed        the plan's, any length
 *   burnt_slot  0, or the slot for which a site trains again after one was burnt
 * Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_ring_rho_key(uint8_t key[32], hanse_bytes seed, const uint8_t site_id[32], uint64_t round,
                                             uint32_t segment, uint64_t burnt_slot, hanse_err *err);

typedef struct hanse_quantiser hanse_quantiser; /* opaque; one thread at a time */

/* A site's quantiser of one segment. Errors: INVALID (ring), WEIGHT, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_quantiser_new(hanse_quantiser **out, const hanse_ring *ring, uint64_t weight,
                                              uint64_t total, const uint8_t rho_key[32], hanse_err *err);
void hanse_quantiser_free(hanse_quantiser *quantiser); /* NULL allowed; wipes */
/* lanes[k] = q of x[k] as two's complement, k in [0,count), where x[0] is value `first` of the segment: any part may be
 * made alone. |x| > c counts as c with its sign.
 *   u32 for r <= 32, u64 for any r
 * Errors: NONFINITE (x has NaN or infinity: lanes are untouched), USAGE. */
HANSE_MUST_CHECK hanse_rc hanse_quantise_u32(hanse_quantiser *quantiser, uint64_t first, const float *x, uint32_t *lanes,
                                             size_t count, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_quantise_u64(hanse_quantiser *quantiser, uint64_t first, const float *x, uint64_t *lanes,
                                             size_t count, hanse_err *err);

/* Bytes of `count` packed values: ceil(count * r / 8). Chunks of a multiple of 8 values join without padding. */
size_t hanse_ring_packed_len(size_t count, uint32_t bits);
/* The low r bits of every lane; bit b of value k is bit (k r + b) of the output, bit 0 of a byte the lowest. The rest of
 * the last byte is zero.
 *   out   [hanse_ring_packed_len(count, bits)]
 *   bits  8..32 for u32 lanes, 8..64 for u64 lanes (a bug otherwise) */
void hanse_ring_pack_u32(uint8_t *out, const uint32_t *lanes, size_t count, uint32_t bits);
void hanse_ring_pack_u64(uint8_t *out, const uint64_t *lanes, size_t count, uint32_t bits);
/* lanes[k] += value k of `packed`: the low r bits of the lanes are then the sum modulo 2^r.
 * Errors: SHAPE (length, or bits after the last value: lanes are untouched). */
HANSE_MUST_CHECK hanse_rc hanse_ring_unpack_add_u32(uint32_t *lanes, hanse_bytes packed, size_t count, uint32_t bits,
                                                    hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_ring_unpack_add_u64(uint64_t *lanes, hanse_bytes packed, size_t count, uint32_t bits,
                                                    hanse_err *err);

/* mean[k] = s * c / (Q * share / 2^40), s the low r bits of lanes[k] as a signed number.
 *   share  sum of the survivors' shares, 1..2^40 + n
 * Errors: FAILED (share or a sum out of range, |s| > Q + n: somebody sent garbage; mean is untouched). */
HANSE_MUST_CHECK hanse_rc hanse_ring_mean_u32(float *mean, const uint32_t *lanes, size_t count, const hanse_ring *ring,
                                              uint64_t share, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_ring_mean_u64(float *mean, const uint64_t *lanes, size_t count, const hanse_ring *ring,
                                              uint64_t share, hanse_err *err);

#endif
