/* Vectors: tests/vectors/shamir_reference.py. */
#include "hanse/digest.h"
#include "hanse/shamir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(address, len) ((void)0)
#define VALGRIND_MAKE_MEM_DEFINED(address, len) ((void)0)
#endif

enum { L = HANSE_SHAMIR_LEN };

static void example(uint8_t secret[L], uint8_t coefficients[2][L])
{
    for (int i = 0; i < L; i++)
        secret[i] = (uint8_t)i;
    assert_int_equal(hanse_sha256(coefficients[0], hanse_bytes_str("coef1"), NULL), HANSE_OK);
    assert_int_equal(hanse_sha256(coefficients[1], hanse_bytes_str("coef2"), NULL), HANSE_OK);
}

static void test_vectors(void **state)
{
    static const uint16_t x[] = {1, 2, 3, 10, 257, 40000, 65535}, some[] = {65535, 257, 10}, want_lambda[] = {0xf925, 0x1fec, 0xe6c8};
    static const char *const want[] = {
        "6f8faa393e13407e33efe08e003c57936400cf5dcd3994c8c00266b99feed594", "0f89c9609f1200b371545f2d2ccab05430096d5260dd4cfa2edf48f1ce04a2e3",
        "6007615aa50446ca4ab2b5a820fbe9c84418b01cb9f1ce25f6c434534df76968", "bd6c8f6e7803edc709930a22e0f8f4467317e1a3ecb02bf4af5be56b74d8b320",
        "822af5196ce2ea91dd5d46b1bba48a6f731a6b2d008a60410b77243e490d7a4e", "9c8514ca706b1b81c407588371400f4168f35fdace54b2c1120a13b8a17267aa",
        "a9f1e50e71bfc6c25c4d5b251a09c6345c317e9e527e91069337b587d35831cf",
    };
    uint8_t secret[L], coefficients[2][L], shares[7][L], picked[3][L], got[L];
    uint16_t lambda[3];
    char hex[2 * L + 1];

    (void)state;
    example(secret, coefficients);
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, x, 7, 3, NULL), HANSE_OK);
    for (size_t i = 0; i < 7; i++) {
        hanse_hex_encode(hex, shares[i], L);
        assert_string_equal(hex, want[i]);
    }
    assert_int_equal(hanse_shamir_lagrange(lambda, some, 3, NULL), HANSE_OK);
    assert_memory_equal(lambda, want_lambda, sizeof lambda);
    memcpy(picked[0], shares[6], L);
    memcpy(picked[1], shares[4], L);
    memcpy(picked[2], shares[3], L);
    hanse_shamir_combine(got, lambda, picked, 3);
    assert_memory_equal(got, secret, L);
}

/* Every rule of the floors: any t of n give the secret back; t-1 of them, or one changed bit, another value. */
static void test_thresholds(void **state)
{
    static const struct { size_t n, t; } rows[] = {{1, 1}, {3, 3}, {4, 3}, {5, 4}, {10, 7}, {50, 34}, {300, 181}};
    static uint8_t coefficients[180][L], shares[300][L], picked[181][L];
    static uint16_t x[300], x_picked[181], lambda[181];
    uint8_t secret[L], got[L], start[8];

    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        size_t n = rows[r].n, t = rows[r].t;
        assert_int_equal(hanse_random(secret, L, NULL), HANSE_OK);
        assert_int_equal(hanse_random(coefficients[0], sizeof coefficients, NULL), HANSE_OK);
        for (size_t i = 0; i < n; i++)
            x[i] = (uint16_t)(i + 1);
        assert_int_equal(hanse_shamir_share(shares, secret, t > 1 ? coefficients : NULL, x, n, t, NULL), HANSE_OK);
        assert_int_equal(hanse_random(start, sizeof start, NULL), HANSE_OK);
        for (size_t i = 0; i < t; i++) { /* t neighbours on the ring, from anywhere */
            size_t from = (start[0] + i) % n;
            x_picked[i] = x[from];
            memcpy(picked[i], shares[from], L);
        }
        assert_int_equal(hanse_shamir_lagrange(lambda, x_picked, t, NULL), HANSE_OK);
        hanse_shamir_combine(got, lambda, picked, t);
        assert_memory_equal(got, secret, L);
        picked[0][r] ^= 1;
        hanse_shamir_combine(got, lambda, picked, t);
        assert_memory_not_equal(got, secret, L);
        if (t > 1) {
            assert_int_equal(hanse_shamir_lagrange(lambda, x_picked, t - 1, NULL), HANSE_OK);
            hanse_shamir_combine(got, lambda, picked, t - 1);
            assert_memory_not_equal(got, secret, L);
        }
    }
}

/* t-1 shares fit every secret: for any wanted secret there are coefficients that give the same shares. */
static void test_hides(void **state)
{
    uint8_t secret[L], other[L], coefficients[2][L], shares[3][L], known[3][L], again[3][L];
    uint16_t x[] = {1, 2, 3}, lambda[3], at_zero[3], x_all[3] = {3, 1, 2};

    (void)state;
    example(secret, coefficients);
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, x, 3, 3, NULL), HANSE_OK);
    memset(other, 0x5a, L);
    /* The third share that makes `other` of the first two: combine is linear, lambda is 1 for {1,2,3}. */
    assert_int_equal(hanse_shamir_lagrange(lambda, x, 3, NULL), HANSE_OK);
    memcpy(known, shares, sizeof known);
    for (int i = 0; i < L; i++)
        known[2][i] = other[i] ^ shares[0][i] ^ shares[1][i];
    hanse_shamir_combine(again[0], lambda, known, 3);
    assert_memory_equal(again[0], other, L);
    /* Order of the holders does not matter. */
    memcpy(again[0], shares[2], L);
    memcpy(again[1], shares[0], L);
    memcpy(again[2], shares[1], L);
    assert_int_equal(hanse_shamir_lagrange(at_zero, x_all, 3, NULL), HANSE_OK);
    hanse_shamir_combine(other, at_zero, again, 3);
    assert_memory_equal(other, secret, L);
}

/* Secrets are marked as uninitialised: under valgrind a branch or an address that depends on one is an error (after
 * A. Langley's ctgrind). Elsewhere a round trip. */
static void test_constant_time(void **state)
{
    uint8_t secret[L], coefficients[2][L], shares[5][L], got[L];
    uint16_t x[] = {1, 2, 3, 4, 65535}, lambda[3];

    (void)state;
    example(secret, coefficients);
    (void)VALGRIND_MAKE_MEM_UNDEFINED(secret, sizeof secret);
    (void)VALGRIND_MAKE_MEM_UNDEFINED(coefficients, sizeof coefficients);
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, x, 5, 3, NULL), HANSE_OK);
    assert_int_equal(hanse_shamir_lagrange(lambda, x + 2, 3, NULL), HANSE_OK);
    hanse_shamir_combine(got, lambda, shares + 2, 3);
    (void)VALGRIND_MAKE_MEM_DEFINED(got, sizeof got);
    (void)VALGRIND_MAKE_MEM_DEFINED(secret, sizeof secret);
    assert_memory_equal(got, secret, L);
}

static void test_refused(void **state)
{
    static uint16_t many[65536];
    uint8_t secret[L] = {0}, coefficients[2][L] = {{0}}, shares[3][L];
    uint16_t twice[] = {7, 8, 7}, zero[] = {1, 0, 2}, good[] = {1, 2, 3}, lambda[3];
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, twice, 3, 2, &err), HANSE_E_USAGE);
    assert_non_null(strstr(err.text, "holder 2 has x = 7"));
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, zero, 3, 2, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, good, 3, 4, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, good, 3, 0, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, good, 0, 0, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_shamir_share(shares, secret, coefficients, many, 65536, 2, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_shamir_lagrange(lambda, twice, 3, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_shamir_lagrange(lambda, zero, 3, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_shamir_lagrange(lambda, good, 0, &err), HANSE_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_thresholds), cmocka_unit_test(test_hides), cmocka_unit_test(test_constant_time),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
