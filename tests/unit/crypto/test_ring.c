/* Vectors: tests/vectors/ring_reference.py. */
#include "hanse/digest.h"
#include "hanse/mask.h"
#include "hanse/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <math.h>

static void rho_key(uint8_t key[32], uint64_t burnt_slot)
{
    uint8_t id[32], seed[8] = {0, 0, 0, 0, 0, 0, 0, 42};

    assert_int_equal(hanse_sha256(id, hanse_bytes_str("site a"), NULL), HANSE_OK);
    assert_int_equal(hanse_ring_rho_key(key, (hanse_bytes){seed, 8}, id, 3, 1, burnt_slot, NULL), HANSE_OK);
}

static void assert_hex(const uint8_t *got, size_t len, const char *want)
{
    char hex[257];

    hanse_hex_encode(hex, got, len);
    assert_string_equal(hex, want);
}

static uint64_t next_random(uint64_t *state) /* xorshift64 (Marsaglia 2003) */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void test_sizes(void **state)
{
    static const struct { uint32_t n; uint64_t quanta; uint32_t bits; } rows[] = {
        {1, 166667, 19}, {3, 288676, 20}, {4, 333334, 20}, {10, 527047, 21}, {100, 1666667, 22}, {1000, 5270463, 24}, {65535, 42666342, 27},
    };
    uint8_t key[32];
    uint64_t share;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_ring ring = {1.0, rows[i].quanta, rows[i].n, rows[i].bits};
        assert_true(hanse_ring_quanta(rows[i].n, 3e-6) == rows[i].quanta);
        assert_int_equal(hanse_ring_bits(rows[i].quanta, rows[i].n), rows[i].bits);
        assert_int_equal(hanse_ring_check(&ring, NULL), HANSE_OK);
        ring.bits--;
        assert_int_equal(hanse_ring_check(&ring, NULL), HANSE_E_INVALID);
    }
    assert_int_equal(hanse_ring_bits(1, 1), 8);
    assert_int_equal(hanse_ring_bits(126, 1), 8);  /* 2*127+1 = 255 */
    assert_int_equal(hanse_ring_bits(127, 1), 9);  /* 257 */
    assert_int_equal(hanse_ring_bits(HANSE_RING_QUANTA_MAX, HANSE_RING_SITES_MAX), 42);
    rho_key(key, 0);
    assert_hex(key, 32, "5fb2e4a1f41038ea4df29d4e216045deb7f7603c166a5dfee25660a8503d3efd");
    rho_key(key, 9);
    assert_hex(key, 32, "1f27de48e7aa414e03b376f1241017552cd4ad3c054d9ebdbac0c173dbc2b95d");
    assert_true(hanse_ring_bound(527047, 137, 920) == 78485);
    assert_int_equal(hanse_ring_share(&share, 137, 920, NULL), HANSE_OK);
    assert_true(share == 163731622832);
}

static void test_vectors(void **state)
{
    static const float x[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 0.1f, -0.1f, 0.299f, -0.3f, 0.3f, 5.0f, -5.0f, 3.4e38f, 0.0123f};
    enum { COUNT = sizeof x / sizeof x[0] };
    static const struct { uint64_t first; int32_t q[COUNT]; const char *packed; } rows[] = {
        {0, {0, 0, 0, 0, 26162, -26162, 78223, -78484, 78484, 78484, -78484, 78484, 3218},
         "000000000000000000002063069c33ff634c606bf69432815226b0357b4a9920c90000"},
        {1001, {0, 0, 0, 0, 26161, -26162, 78222, -78484, 78484, 78484, -78484, 78484, 3218},
         "000000000000000000001063069c33bf634c606bf69432815226b0357b4a9920c90000"},
    };
    static const float mean_want[COUNT] = {0, 0, 0, 0, 0x1.9998080000000p-4f, -0x1.999c0a0000000p-4f, 0x1.322c7e0000000p-2f,
        -0x1.3333060000000p-2f, 0x1.3333060000000p-2f, 0x1.3333060000000p-2f, -0x1.3333060000000p-2f, 0x1.3333060000000p-2f, 0x1.9310a80000000p-7f};
    const hanse_ring ring = {0.3, 527047, 10, 21};
    hanse_quantiser *quantiser;
    uint8_t key[32], packed[64];
    uint32_t lanes[COUNT];
    uint64_t wide[COUNT];
    float mean[COUNT];

    (void)state;
    rho_key(key, 0);
    assert_int_equal(hanse_quantiser_new(&quantiser, &ring, 137, 920, key, NULL), HANSE_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(hanse_quantise_u32(quantiser, rows[i].first, x, lanes, COUNT, NULL), HANSE_OK);
        assert_int_equal(hanse_quantise_u64(quantiser, rows[i].first, x, wide, COUNT, NULL), HANSE_OK);
        for (size_t k = 0; k < COUNT; k++) {
            assert_int_equal((int32_t)lanes[k], rows[i].q[k]);
            assert_true((int64_t)wide[k] == rows[i].q[k]);
        }
        hanse_ring_pack_u32(packed, lanes, COUNT, 21);
        assert_hex(packed, hanse_ring_packed_len(COUNT, 21), rows[i].packed);
        hanse_ring_pack_u64(packed, wide, COUNT, 21);
        assert_hex(packed, hanse_ring_packed_len(COUNT, 21), rows[i].packed);
    }
    assert_int_equal(hanse_ring_mean_u32(mean, lanes, COUNT, &ring, 163731622832, NULL), HANSE_OK);
    assert_memory_equal(mean, mean_want, sizeof mean);
    assert_int_equal(hanse_ring_mean_u64(mean, wide, COUNT, &ring, 163731622832, NULL), HANSE_OK);
    assert_memory_equal(mean, mean_want, sizeof mean);
    hanse_quantiser_free(quantiser);
    hanse_quantiser_free(NULL);
}

static void test_pack_vectors(void **state)
{
    static const uint64_t words[] = {0, 1, (uint64_t)1 << 63, UINT64_MAX, 0x0123456789ABCDEF, 5, 6, 7, 8};
    static const struct { uint32_t bits; const char *want; } rows[] = {
        {8, "000100ffef05060708"},
        {13, "0020000080ffffde0a800138000800"},
        {33, "000000000200000000000000f8ffffffffdebc9ab80000008001000080030000000800000000"},
        {63, "0000000000000080000000000000000000000000000000e0ffffffffffffffffdebc9a7856341228000000000000001800000000000000"
             "0e000000000000000800000000000000"},
        {64, "000000000000000001000000000000000000000000000080ffffffffffffffffefcdab8967452301050000000000000006000000000000"
             "0007000000000000000800000000000000"},
    };
    uint8_t packed[80];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_ring_pack_u64(packed, words, 9, rows[i].bits);
        assert_hex(packed, hanse_ring_packed_len(9, rows[i].bits), rows[i].want);
    }
}

/* Every width and many counts against one bit at a time; any cut at a multiple of 8 values gives the same bytes. */
static void test_pack_oracle(void **state)
{
    enum { COUNT = 75 };
    uint64_t random = 7, wide[COUNT], sum64[COUNT], mask;
    uint32_t narrow[COUNT], sum32[COUNT];
    uint8_t packed[8 * COUNT + 8], want[8 * COUNT + 8];
    hanse_err err;

    (void)state;
    for (uint32_t bits = 8; bits <= 64; bits++)
        for (size_t count = 0; count <= COUNT; count += count < 18 ? 1 : 19) {
            size_t len = hanse_ring_packed_len(count, bits), cut = count / 16 * 8, from = hanse_ring_packed_len(cut, bits);
            assert_int_equal(len, (count * bits + 7) / 8);
            memset(want, 0, sizeof want);
            for (size_t k = 0; k < count; k++) {
                wide[k] = next_random(&random);
                narrow[k] = (uint32_t)wide[k];
                for (uint32_t b = 0; b < bits; b++)
                    want[(k * bits + b) / 8] |= (uint8_t)((wide[k] >> b & 1) << (k * bits + b) % 8);
            }
            mask = UINT64_MAX >> (64 - bits);
            memset(packed, 0xcc, sizeof packed);
            hanse_ring_pack_u64(packed, wide, count, bits);
            assert_memory_equal(packed, want, len);
            assert_int_equal(packed[len], 0xcc);
            hanse_ring_pack_u64(packed, wide, cut, bits);
            hanse_ring_pack_u64(packed + from, wide + cut, count - cut, bits);
            assert_memory_equal(packed, want, len);
            memset(sum64, 0x11, sizeof sum64);
            assert_int_equal(hanse_ring_unpack_add_u64(sum64, (hanse_bytes){want, len}, count, bits, NULL), HANSE_OK);
            for (size_t k = 0; k < COUNT; k++)
                assert_true(sum64[k] == 0x1111111111111111 + (k < count ? wide[k] & mask : 0));
            if (bits <= 32) {
                memset(packed, 0xcc, sizeof packed);
                hanse_ring_pack_u32(packed, narrow, count, bits);
                assert_memory_equal(packed, want, len);
                assert_int_equal(packed[len], 0xcc);
                memset(sum32, 0xee, sizeof sum32);
                assert_int_equal(hanse_ring_unpack_add_u32(sum32, (hanse_bytes){want, len}, count, bits, NULL), HANSE_OK);
                for (size_t k = 0; k < COUNT; k++)
                    assert_int_equal(sum32[k], (uint32_t)(0xeeeeeeee + (k < count ? narrow[k] & mask : 0)));
            }
            memset(sum64, 0, sizeof sum64);
            assert_int_equal(hanse_ring_unpack_add_u64(sum64, (hanse_bytes){want, len + 1}, count, bits, &err), HANSE_E_SHAPE);
            if (len > 0)
                assert_int_equal(hanse_ring_unpack_add_u64(sum64, (hanse_bytes){want, len - 1}, count, bits, &err), HANSE_E_SHAPE);
            if (count * bits % 8 != 0) {
                want[len - 1] |= 0x80;
                assert_int_equal(hanse_ring_unpack_add_u64(sum64, (hanse_bytes){want, len}, count, bits, &err), HANSE_E_SHAPE);
            }
            for (size_t k = 0; k < count; k++)
                assert_true(sum64[k] == 0);
        }
}

/* One value by the formula of ring.h; rho by the quantiser's own cut at another place. */
static void test_quantise_parts(void **state)
{
    enum { COUNT = 3333 };
    static float x[COUNT];
    static uint32_t whole[COUNT], part[COUNT];
    static uint64_t wide[COUNT];
    const hanse_ring ring = {2.5, 1000003, 7, 32};
    uint64_t random = 99;
    hanse_quantiser *quantiser;
    uint8_t key[32] = {4};

    (void)state;
    for (size_t k = 0; k < COUNT; k++)
        x[k] = (float)((double)(int64_t)next_random(&random) * 0x1p-61); /* in [-4, 4]: some beyond the clip */
    assert_int_equal(hanse_quantiser_new(&quantiser, &ring, 31, 77, key, NULL), HANSE_OK);
    assert_int_equal(hanse_quantise_u32(quantiser, 5, x, whole, COUNT, NULL), HANSE_OK);
    assert_int_equal(hanse_quantise_u64(quantiser, 5, x, wide, COUNT, NULL), HANSE_OK);
    assert_int_equal(hanse_quantise_u32(quantiser, 5 + 1111, x + 1111, part + 1111, COUNT - 1111, NULL), HANSE_OK);
    assert_int_equal(hanse_quantise_u32(quantiser, 5, x, part, 1111, NULL), HANSE_OK);
    assert_memory_equal(whole, part, sizeof whole);
    for (size_t k = 0; k < COUNT; k++) {
        double u = fmin(fmax((double)x[k], -2.5), 2.5) * ((1000003.0 * 31.0) / (77.0 * 2.5)), q = (double)(int32_t)whole[k];
        assert_true((int64_t)wide[k] == (int32_t)whole[k]);
        assert_true(q >= floor(u) && q <= floor(u) + 1);
    }
    hanse_quantiser_free(quantiser);
}

/* The bound of the range proof, where Q w / W is a whole number and doubles round past it; and the mean of many
 * roundings of one value is the value. */
static void test_bound_and_mean(void **state)
{
    enum { COUNT = 20000 };
    static float x[COUNT];
    static uint64_t lanes[COUNT];
    static const double clips[] = {0.1, 0.3, 1.0, 1e-6, 7e9};
    uint64_t random = 5;
    uint8_t key[32] = {9};

    (void)state;
    for (int row = 0; row < 200; row++) {
        uint64_t total = next_random(&random) % 100000 + 1, weight = next_random(&random) % total + 1;
        uint64_t quanta = row % 2 ? total * (row % 3 ? 100 : 1) : HANSE_RING_QUANTA_MAX >> row % 40;
        hanse_ring ring = {clips[row % 5], quanta, 3, 64};
        int64_t bound = (int64_t)hanse_ring_bound(quanta, weight, total);
        hanse_quantiser *quantiser;
        if (row % 4 == 0) { /* where doubles are coarsest against rho: some of 20000 roundings pass the bound */
            ring.quanta = HANSE_RING_QUANTA_MAX - (uint64_t)row / 8, weight = total;
            bound = (int64_t)ring.quanta;
        }
        for (size_t k = 0; k < COUNT; k++)
            x[k] = k % 2 ? -3e38f : 3e38f;
        key[1] = (uint8_t)row;
        assert_int_equal(hanse_quantiser_new(&quantiser, &ring, weight, total, key, NULL), HANSE_OK);
        assert_int_equal(hanse_quantise_u64(quantiser, 0, x, lanes, COUNT, NULL), HANSE_OK);
        for (size_t k = 0; k < COUNT; k++)
            assert_true((int64_t)lanes[k] <= bound && (int64_t)lanes[k] >= -bound);
        hanse_quantiser_free(quantiser);
    }
    for (int sign = -1; sign <= 1; sign += 2) {
        hanse_ring ring = {1.0, 100, 3, 32};
        hanse_quantiser *quantiser;
        double sum = 0;
        for (size_t k = 0; k < COUNT; k++)
            x[k] = (float)sign * 0.123f; /* 12.3 steps: 12 or 13 */
        for (uint8_t part = 0; part < 50; part++) { /* a million samples */
            key[2] = part;
            assert_int_equal(hanse_quantiser_new(&quantiser, &ring, 1, 1, key, NULL), HANSE_OK);
            assert_int_equal(hanse_quantise_u64(quantiser, 0, x, lanes, COUNT, NULL), HANSE_OK);
            for (size_t k = 0; k < COUNT; k++)
                sum += (double)(int64_t)lanes[k];
            hanse_quantiser_free(quantiser);
        }
        assert_true(fabs(sum / (50 * COUNT) - sign * 12.3) < 4 * sqrt(0.3 * 0.7 / (50 * COUNT))); /* 4 standard deviations */
    }
}

enum { DIM_MAX = 4099, SITES_MAX = 300 };

typedef struct plain { /* what the sums must equal: kept without masks */
    int64_t q[DIM_MAX];
    double mean[DIM_MAX];
} plain;

/* What site i of n sends: quantised, masked by everybody's pair masks and its own, packed. */
static void site_sends(uint8_t *packed, plain *expected, const hanse_ring *ring, size_t i, size_t dim, uint64_t weight, uint64_t total)
{
    static float x[DIM_MAX];
    static uint32_t lanes[DIM_MAX];
    static hanse_mask *masks[SITES_MAX];
    uint64_t random = 77 + i * 1000003;
    uint8_t seed[32] = {0};
    size_t n = ring->sites;
    hanse_quantiser *quantiser;

    for (size_t k = 0; k < dim; k++) {
        x[k] = (float)((double)(int64_t)next_random(&random) * 0x1p-63 * ring->clip);
        if (k % 11 == 0) /* all sites at the end of the range: the largest sums there are */
            x[k] = (float)(k % 2 ? ring->clip : -ring->clip);
    }
    seed[8] = (uint8_t)i;
    seed[9] = (uint8_t)(i >> 8);
    assert_int_equal(hanse_quantiser_new(&quantiser, ring, weight, total, seed, NULL), HANSE_OK);
    assert_int_equal(hanse_quantise_u32(quantiser, 0, x, lanes, dim, NULL), HANSE_OK);
    hanse_quantiser_free(quantiser);
    for (size_t k = 0; k < dim; k++) {
        double value = fmin(fmax((double)x[k], -ring->clip), ring->clip);
        expected->q[k] += (int32_t)lanes[k];
        expected->mean[k] += value * ((double)weight / (double)total);
    }
    for (size_t j = 0; j < n; j++) { /* seed[0..3]: the pair, lower first; masks[i]: its own */
        size_t low = j < i ? j : i, high = j < i ? i : j;
        seed[0] = (uint8_t)low, seed[1] = (uint8_t)(low >> 8), seed[2] = (uint8_t)high, seed[3] = (uint8_t)(high >> 8);
        seed[8] = seed[9] = 0;
        assert_int_equal(hanse_mask_new(&masks[j], seed, i > j, NULL), HANSE_OK);
    }
    assert_int_equal(hanse_mask_apply_u32(masks, n, 2, 0, lanes, dim, NULL), HANSE_OK);
    for (size_t j = 0; j < n; j++)
        hanse_mask_free(masks[j]);
    hanse_ring_pack_u32(packed, lanes, dim, ring->bits);
}

/* Sites' packed and masked words, added up and freed of their own masks, are the sum of the plain q: bit for bit. */
static void test_exact(void **state)
{
    static const struct { uint32_t n; size_t dim; } rows[] = {{3, 4099}, {3, 1}, {5, 1001}, {10, 513}, {50, 77}, {300, 5}};
    static uint8_t packed[4 * DIM_MAX];
    static uint32_t sum[DIM_MAX];
    static float mean[DIM_MAX];
    static plain expected;

    (void)state;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        uint32_t n = rows[row].n;
        size_t dim = rows[row].dim;
        hanse_ring ring = {0.7, hanse_ring_quanta(n, 3e-6), n, 0};
        uint64_t total = 0, shares = 0, share;
        ring.bits = hanse_ring_bits(ring.quanta, n);
        memset(&expected, 0, sizeof expected);
        memset(sum, 0, sizeof sum);
        for (uint64_t i = 0; i < n; i++)
            total += 1 + i * i;
        for (uint64_t i = 0; i < n; i++) {
            hanse_mask *own;
            uint8_t seed[32] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)i, (uint8_t)(i >> 8)};
            site_sends(packed, &expected, &ring, i, dim, 1 + i * i, total);
            assert_int_equal(hanse_ring_unpack_add_u32(sum, (hanse_bytes){packed, hanse_ring_packed_len(dim, ring.bits)}, dim,
                                                       ring.bits, NULL), HANSE_OK);
            assert_int_equal(hanse_mask_new(&own, seed, true, NULL), HANSE_OK);
            assert_int_equal(hanse_mask_apply_u32(&own, 1, 2, 0, sum, dim, NULL), HANSE_OK);
            hanse_mask_free(own);
            assert_int_equal(hanse_ring_share(&share, 1 + i * i, total, NULL), HANSE_OK);
            shares += share;
        }
        assert_true(shares >= HANSE_RING_SHARE_ONE && shares <= HANSE_RING_SHARE_ONE + n);
        assert_int_equal(hanse_ring_mean_u32(mean, sum, dim, &ring, shares, NULL), HANSE_OK);
        for (size_t k = 0; k < dim; k++) {
            uint32_t low = UINT32_MAX >> (32 - ring.bits);
            assert_int_equal(sum[k] & low, (uint32_t)expected.q[k] & low);
            assert_true(expected.q[k] <= (int64_t)(ring.quanta + n) && expected.q[k] >= -(int64_t)(ring.quanta + n));
            assert_true(fabs((double)mean[k] - expected.mean[k]) <= 0.7 * ((double)n / (double)ring.quanta + 1e-7));
        }
    }
}

static void test_refused(void **state)
{
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    static const hanse_ring rings[] = {
        {0, 100, 3, 16}, {-1, 100, 3, 16}, {NAN, 100, 3, 16}, {INFINITY, 100, 3, 16}, {1, 0, 3, 16}, {1, 100, 0, 16}, {1, 100, 3, 7},
        {1, 100, 65536, 32}, {1, 100, 3, 65}, {1, HANSE_RING_QUANTA_MAX + 1, 3, 64}, {1, 1 << 20, 3, 21},
    };
    const hanse_ring ring = {1, 100, 3, 9}, wide = {1, HANSE_RING_QUANTA_MAX, 3, 42};
    uint32_t lanes[3] = {5, 5, 5}, sums[2] = {103, 512 - 103};
    uint64_t lanes64[3] = {5, 5, 5}, share;
    float x[3] = {0}, mean[2] = {8, 8};
    uint8_t key[32] = {0};
    hanse_quantiser *quantiser, *none = NULL;
    hanse_err err;

    (void)state;
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++)
        assert_int_equal(hanse_quantiser_new(&none, &rings[i], 1, 2, key, &err), HANSE_E_INVALID);
    assert_int_equal(hanse_quantiser_new(&none, &(hanse_ring){1e-320, HANSE_RING_QUANTA_MAX, 3, 64}, 1, 1, key, &err), HANSE_E_INVALID);
    assert_int_equal(hanse_quantiser_new(&none, &ring, 0, 2, key, &err), HANSE_E_WEIGHT);
    assert_int_equal(hanse_quantiser_new(&none, &ring, 3, 2, key, &err), HANSE_E_WEIGHT);
    assert_int_equal(hanse_quantiser_new(&none, &ring, 1, HANSE_RING_WEIGHT_MAX + 1, key, &err), HANSE_E_WEIGHT);
    assert_int_equal(hanse_ring_share(&share, 0, 0, &err), HANSE_E_WEIGHT);
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_quantiser_new(&none, &ring, 1, 2, key, &err), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    assert_null(none);
    assert_int_equal(hanse_quantiser_new(&quantiser, &ring, 1, 2, key, NULL), HANSE_OK);
    for (size_t i = 0; i < 4; i++) {
        x[2] = bad[i];
        assert_int_equal(hanse_quantise_u32(quantiser, 0, x, lanes, 3, &err), HANSE_E_NONFINITE);
        assert_int_equal(hanse_quantise_u64(quantiser, 0, x, lanes64, 3, &err), HANSE_E_NONFINITE);
        assert_int_equal(lanes[0], 5);
        assert_true(lanes64[0] == 5);
    }
    x[2] = 0;
    assert_int_equal(hanse_quantise_u32(quantiser, UINT64_MAX, x, lanes, 3, &err), HANSE_E_USAGE);
    hanse_quantiser_free(quantiser);
    assert_int_equal(hanse_quantiser_new(&quantiser, &wide, 1, 2, key, NULL), HANSE_OK);
    assert_int_equal(hanse_quantise_u32(quantiser, 0, x, lanes, 3, &err), HANSE_E_USAGE);
    hanse_quantiser_free(quantiser);

    assert_int_equal(hanse_ring_mean_u32(mean, sums, 2, &ring, HANSE_RING_SHARE_ONE, &err), HANSE_OK); /* +-103 = Q + n */
    assert_true(mean[0] == 1.03f && mean[1] == -1.03f);
    assert_int_equal(hanse_ring_mean_u32(mean, sums, 2, &ring, HANSE_RING_SHARE_ONE + 3, &err), HANSE_OK);
    mean[0] = 8;
    assert_int_equal(hanse_ring_mean_u32(mean, sums, 2, &ring, HANSE_RING_SHARE_ONE + 4, &err), HANSE_E_FAILED);
    assert_int_equal(hanse_ring_mean_u32(mean, sums, 2, &ring, 0, &err), HANSE_E_FAILED);
    sums[1]--;
    assert_int_equal(hanse_ring_mean_u32(mean, sums, 2, &ring, HANSE_RING_SHARE_ONE, &err), HANSE_E_FAILED);
    assert_non_null(strstr(err.text, "-104 at value 1"));
    assert_true(mean[0] == 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_vectors), cmocka_unit_test(test_pack_vectors),
        cmocka_unit_test(test_pack_oracle), cmocka_unit_test(test_quantise_parts), cmocka_unit_test(test_bound_and_mean),
        cmocka_unit_test(test_exact), cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
