/* Making and adding masks beside AES-256-CTR of OpenSSL alone; quantising and packing; secret sharing.
 * With the processor's vector AES where it has it, and without.
 * Usage: bench_mask [MASKS [WORDS]]; defaults 9 masks over 1e6 words. One thread, best of several repeats in turns. */
#include "crypto/vaes.h"
#include "hanse/digest.h"
#include "hanse/mask.h"
#include "hanse/ring.h"
#include "hanse/shamir.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { REPEATS = 9, BLOCK = 16384, SHARERS_MAX = 1000 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_mask: %s failed\n", what);
        exit(5);
    }
}

static size_t argument(int argc, char **argv, int idx, size_t default_value)
{
    char *end = NULL;
    unsigned long long value = idx < argc ? strtoull(argv[idx], &end, 10) : default_value;

    if ((end != NULL && *end != '\0') || value == 0) {
        fprintf(stderr, "bench_mask: '%s' is no count\n", argv[idx]);
        exit(4);
    }
    return (size_t)value;
}

/* `len` bytes of key stream in blocks of 16 KiB, thrown away: what OpenSSL alone makes of it. */
static double generate_s(EVP_CIPHER_CTX *ctx, size_t len)
{
    static const uint8_t zeros[BLOCK];
    static uint8_t out[BLOCK];
    double start = now_s();
    int n;

    for (size_t at = 0; at < len; at += BLOCK)
        must(EVP_EncryptUpdate(ctx, out, &n, zeros, (int)(len - at < BLOCK ? len - at : BLOCK)) == 1, "AES-CTR");
    return now_s() - start;
}

static void bench_apply(size_t masks_count, size_t count)
{
    hanse_mask **masks = hanse_calloc(masks_count, sizeof(hanse_mask *));
    uint64_t *words = hanse_calloc(count, sizeof *words);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t seed[32];
    double best[3] = {1e9, 1e9, 1e9};

    must(masks != NULL && words != NULL && ctx != NULL && hanse_random(seed, sizeof seed, NULL) == HANSE_OK, "memory");
    must(EVP_EncryptInit_ex(ctx, EVP_aes_256_ctr(), NULL, seed, seed) == 1, "AES-CTR key");
    for (size_t m = 0; m < masks_count; m++) {
        memcpy(seed, &m, sizeof m);
        must(hanse_mask_new(&masks[m], seed, m % 2 != 0, NULL) == HANSE_OK, "mask");
    }
    for (int r = 0; r < REPEATS; r++) {
        double took[3], start = now_s();
        must(hanse_mask_apply_u32(masks, masks_count, 0, 0, (uint32_t *)words, count, NULL) == HANSE_OK, "apply");
        took[0] = now_s() - start;
        start = now_s();
        must(hanse_mask_apply_u64(masks, masks_count, 0, 0, words, count, NULL) == HANSE_OK, "apply");
        took[1] = (now_s() - start) / 2; /* twice the bytes */
        took[2] = generate_s(ctx, masks_count * count * 4);
        for (int i = 0; i < 3; i++)
            best[i] = took[i] < best[i] ? took[i] : best[i];
    }
    double gb = 4e-9 * (double)masks_count * (double)count;
    printf("vector AES of %2zu bytes: %zu masks x %zu words: u32 %.2f GB/s, u64 %.2f GB/s; EVP AES-256-CTR alone %.2f GB/s; ratios %.2f, %.2f\n", hanse_vaes_width(), masks_count, count,
           gb / best[0], gb / best[1], gb / best[2], best[2] / best[0], best[2] / best[1]);
    for (size_t m = 0; m < masks_count; m++)
        hanse_mask_free(masks[m]);
    EVP_CIPHER_CTX_free(ctx);
    hanse_free(words);
    hanse_free(masks);
}

static void bench_ring(size_t count)
{
    const hanse_ring ring = {1.0, hanse_ring_quanta(10, 3e-6), 10, 21};
    size_t len = hanse_ring_packed_len(count, ring.bits);
    float *x = hanse_calloc(count, sizeof *x);
    uint32_t *lanes = hanse_calloc(count, sizeof *lanes);
    uint8_t *packed = hanse_calloc(len, 1), key[32] = {1};
    double best[4] = {1e9, 1e9, 1e9, 1e9};
    hanse_quantiser *quantiser;

    must(x != NULL && lanes != NULL && packed != NULL && hanse_quantiser_new(&quantiser, &ring, 1, 10, key, NULL) == HANSE_OK, "memory");
    for (size_t k = 0; k < count; k++)
        x[k] = (float)(k % 2001) * 1e-3f - 1;
    for (int r = 0; r < REPEATS; r++) {
        double at[5] = {now_s()};
        must(hanse_quantise_u32(quantiser, 0, x, lanes, count, NULL) == HANSE_OK, "quantise");
        at[1] = now_s();
        hanse_ring_pack_u32(packed, lanes, count, ring.bits);
        at[2] = now_s();
        memset(lanes, 0, count * sizeof *lanes);
        must(hanse_ring_unpack_add_u32(lanes, (hanse_bytes){packed, len}, count, ring.bits, NULL) == HANSE_OK, "unpack");
        at[3] = now_s();
        must(hanse_ring_mean_u32(x, lanes, count, &ring, HANSE_RING_SHARE_ONE, NULL) == HANSE_OK, "mean");
        at[4] = now_s();
        for (int i = 0; i < 4; i++)
            best[i] = at[i + 1] - at[i] < best[i] ? at[i + 1] - at[i] : best[i];
    }
    printf("%zu values of %u bits, million/s: quantise %.0f, pack %.0f, unpack and add %.0f, mean %.0f\n", count, ring.bits,
           1e-6 * (double)count / best[0], 1e-6 * (double)count / best[1], 1e-6 * (double)count / best[2], 1e-6 * (double)count / best[3]);
    hanse_quantiser_free(quantiser);
    hanse_free(x);
    hanse_free(lanes);
    hanse_free(packed);
}

static void bench_shamir(size_t n, size_t t)
{
    static uint8_t coefficients[SHARERS_MAX][HANSE_SHAMIR_LEN], shares[SHARERS_MAX][HANSE_SHAMIR_LEN];
    static uint16_t x[SHARERS_MAX], lambda[SHARERS_MAX];
    uint8_t secret[HANSE_SHAMIR_LEN] = {1}, got[HANSE_SHAMIR_LEN];
    double best[3] = {1e9, 1e9, 1e9};

    must(hanse_random(coefficients[0], sizeof coefficients, NULL) == HANSE_OK, "random bytes");
    for (size_t i = 0; i < n; i++)
        x[i] = (uint16_t)(i + 1);
    for (int r = 0; r < 3; r++) {
        double start = now_s(), shared, weighed, combined;
        for (int both = 0; both < 2; both++) /* key and seed of one ticket */
            must(hanse_shamir_share(shares, secret, coefficients, x, n, t, NULL) == HANSE_OK, "share");
        shared = now_s();
        must(hanse_shamir_lagrange(lambda, x, t, NULL) == HANSE_OK, "Lagrange");
        weighed = now_s();
        hanse_shamir_combine(got, lambda, shares, t);
        combined = now_s();
        must(memcmp(got, secret, sizeof got) == 0, "combine");
        double took[3] = {shared - start, weighed - shared, combined - weighed};
        for (int i = 0; i < 3; i++)
            best[i] = took[i] < best[i] ? took[i] : best[i];
    }
    printf("%zu of %zu holders: share two secrets %.2f ms, Lagrange %.2f ms, combine one %.3f ms\n", t, n, 1e3 * best[0], 1e3 * best[1],
           1e3 * best[2]);
}

int main(int argc, char **argv)
{
    static const size_t widths[] = {64, 32, 0};
    size_t masks = argument(argc, argv, 1, 9), words = argument(argc, argv, 2, 1000000);

    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        hanse_vaes_limit(widths[i]);
        if (hanse_vaes_width() == widths[i])
            bench_apply(masks, words);
    }
    bench_ring(words);
    bench_shamir(10, 7);
    bench_shamir(64, 43);
    bench_shamir(254, 170);
    bench_shamir(SHARERS_MAX, 667);
    return 0;
}
