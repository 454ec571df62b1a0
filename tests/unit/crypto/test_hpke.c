/* Vectors: tests/vectors/crypto.md. */
#include "hanse/digest.h"
#include "hanse/hpke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <openssl/opensslv.h>
#include <pthread.h>
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
#include <openssl/hpke.h>
#endif

#define SK_E "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736"
#define SK_R "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"
static const char plain_text[] = "Beauty is truth, truth beauty";

static void assert_hex(const uint8_t *got, size_t len, const char *want)
{
    char hex[257];

    hanse_hex_encode(hex, got, len);
    assert_string_equal(hex, want);
}

static void pair(hanse_aead aead, hanse_hpke **sender, hanse_hpke **receiver, uint8_t enc[32])
{
    uint8_t e[32], r[32], pub[32];
    hanse_bytes info = hanse_bytes_str("Ode on a Grecian Urn");

    assert_int_equal(hanse_hex_decode(e, 32, SK_E, NULL), HANSE_OK);
    assert_int_equal(hanse_hex_decode(r, 32, SK_R, NULL), HANSE_OK);
    assert_int_equal(hanse_x25519_public(pub, r, NULL), HANSE_OK);
    assert_hex(pub, 32, "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
    assert_int_equal(hanse_hpke_sender_new(sender, enc, aead, pub, (hanse_x25519_pair){e, NULL}, info, NULL), HANSE_OK);
    assert_hex(enc, 32, "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
    assert_int_equal(hanse_hpke_receiver_new(receiver, aead, (hanse_x25519_pair){r, pub}, enc, info, NULL), HANSE_OK);
}

static void test_vectors(void **state)
{
    static const struct { hanse_aead aead; uint64_t seq; const char *aad, *want; } rows[] = {
        {HANSE_AEAD_AES128GCM, 2, "Count-2", "498dfcabd92e8acedc281e85af1cb4e3e31c7dc394a1ca20e173cb72516491588d96a19ad4a683518973dcc180"},
        {HANSE_AEAD_AES128GCM, 0, "Count-0", "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"},
        {HANSE_AEAD_AES128GCM, 1, "Count-1", "af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab251c03d0c22a56b8ca42c2063b84"},
        {HANSE_AEAD_AES256GCM, 0, "Count-0", "090b7dc225419f7da9e8b460becfbb96a26c7964d79b8010d397fa838530a32a397b14f5776db19ff5e57734e0"},
    };
    uint8_t enc[32], out[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_hpke *sender, *receiver, *clone;
        pair(rows[i].aead, &sender, &receiver, enc);
        memcpy(out, plain_text, 29);
        assert_int_equal(hanse_hpke_seal(sender, rows[i].seq, hanse_bytes_str(rows[i].aad), out, (hanse_bytes){out, 29}, NULL), HANSE_OK);
        assert_hex(out, 45, rows[i].want);
        assert_int_equal(hanse_hpke_clone(&clone, receiver, NULL), HANSE_OK);
        hanse_hpke_free(receiver);
        assert_int_equal(hanse_hpke_open(clone, rows[i].seq, hanse_bytes_str(rows[i].aad), out, (hanse_bytes){out, 45}, NULL), HANSE_OK);
        assert_memory_equal(out, plain_text, 29);
        hanse_hpke_free(sender);
        hanse_hpke_free(clone);
    }
}

static void test_x25519(void **state)
{
    static const struct { const char *secret, *peer, *want; } rows[] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
        {"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
         "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
         "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
        {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
         "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
         "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
    };
    uint8_t a[32], pub[32], b[32], k[32];
    hanse_err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(hanse_hex_decode(a, 32, rows[i].secret, NULL), HANSE_OK);
        assert_int_equal(hanse_hex_decode(b, 32, rows[i].peer, NULL), HANSE_OK);
        assert_int_equal(hanse_x25519(k, (hanse_x25519_pair){a, NULL}, b, &err), HANSE_OK);
        assert_hex(k, 32, rows[i].want);
        memset(k, 0, sizeof k);
        assert_int_equal(hanse_x25519_public(pub, a, &err), HANSE_OK);
        assert_int_equal(hanse_x25519(k, (hanse_x25519_pair){a, pub}, b, &err), HANSE_OK);
        assert_hex(k, 32, rows[i].want);
    }
}

/* Points of order 1, 2, 4 and 8 (and 0): none may come through either side of the set-up. */
static void test_low_order(void **state)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    uint8_t secret[32], pub[32], point[32], enc[32];
    hanse_hpke *ctx = NULL;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_x25519_keygen(secret, pub, &err), HANSE_OK);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        assert_int_equal(hanse_hex_decode(point, 32, points[i], NULL), HANSE_OK);
        assert_int_equal(hanse_hpke_sender_new(&ctx, enc, HANSE_AEAD_AES256GCM, point, (hanse_x25519_pair){secret, NULL}, HANSE_BYTES_EMPTY, &err), HANSE_E_AUTH);
        assert_int_equal(hanse_hpke_receiver_new(&ctx, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){secret, NULL}, point, HANSE_BYTES_EMPTY, &err), HANSE_E_AUTH);
        assert_null(ctx);
    }
}

static void test_refused(void **state)
{
    hanse_hpke *sender, *receiver, *none = NULL;
    uint8_t enc[32], sealed[61], out[61], aad[9], long_info[513] = {0}, key[32] = {9};
    hanse_bytes bound = {aad, sizeof aad};
    hanse_err err;

    (void)state;
    pair(HANSE_AEAD_AES256GCM, &sender, &receiver, enc);
    memset(aad, 7, sizeof aad);
    memset(out, 3, sizeof out);
    assert_int_equal(hanse_hpke_seal(sender, 1ULL << 40, bound, sealed, (hanse_bytes){out, 45}, &err), HANSE_OK);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memset(out, 0xaa, sizeof out);
        assert_int_equal(hanse_hpke_open(receiver, 1ULL << 40, bound, out, (hanse_bytes){sealed, sizeof sealed}, &err), HANSE_E_AUTH);
        for (int i = 0; i < 45; i++)
            assert_int_equal(out[i], 0);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof aad; bit++) {
        aad[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(hanse_hpke_open(receiver, 1ULL << 40, bound, out, (hanse_bytes){sealed, sizeof sealed}, &err), HANSE_E_AUTH);
        aad[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < sizeof sealed; len++)
        assert_int_equal(hanse_hpke_open(receiver, 1ULL << 40, bound, out, (hanse_bytes){sealed, len}, &err),
                         len < 16 ? HANSE_E_SHAPE : HANSE_E_AUTH);
    assert_int_equal(hanse_hpke_open(receiver, 0, bound, out, (hanse_bytes){sealed, sizeof sealed}, &err), HANSE_E_AUTH);
    assert_int_equal(hanse_hpke_open(receiver, 1ULL << 40, bound, out, (hanse_bytes){sealed, sizeof sealed}, &err), HANSE_OK);
    assert_int_equal(hanse_hpke_open(sender, 1, bound, out, (hanse_bytes){sealed, sizeof sealed}, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_hpke_seal(receiver, 1, bound, out, (hanse_bytes){sealed, 4}, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_hpke_receiver_new(&none, (hanse_aead)3, (hanse_x25519_pair){key, NULL}, key, HANSE_BYTES_EMPTY, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_hpke_receiver_new(&none, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){key, NULL}, key, (hanse_bytes){long_info, 513}, &err), HANSE_E_USAGE);
    assert_null(none);
    hanse_hpke_free(sender);
    hanse_hpke_free(receiver);
    hanse_hpke_free(NULL);
}

enum { THREADS = 2, MESSAGES = 64, MESSAGE_LEN = 4096 };

typedef struct worker {
    hanse_hpke *sender, *receiver; /* clones: this thread's own */
    size_t first;                  /* seals messages first, first + THREADS, ... */
    uint8_t (*sealed)[MESSAGE_LEN + HANSE_HPKE_TAG_LEN];
    bool failed;
} worker;

/* cmocka's assertions belong to the main thread. */
static void *seal_and_open(void *context)
{
    worker *w = context;
    uint8_t plain[MESSAGE_LEN], out[MESSAGE_LEN];

    for (size_t i = w->first; i < MESSAGES; i += THREADS) {
        hanse_bytes sealed = {w->sealed[i], sizeof w->sealed[i]};
        memset(plain, (int)i, sizeof plain);
        w->failed |= hanse_hpke_seal(w->sender, i, HANSE_BYTES_EMPTY, w->sealed[i], (hanse_bytes){plain, sizeof plain}, NULL) != HANSE_OK
            || hanse_hpke_open(w->receiver, i, HANSE_BYTES_EMPTY, out, sealed, NULL) != HANSE_OK || memcmp(out, plain, sizeof plain) != 0;
    }
    return NULL;
}

/* Clones in two threads make the bytes that one context makes alone. */
static void test_threads(void **state)
{
    static uint8_t sealed[MESSAGES][MESSAGE_LEN + HANSE_HPKE_TAG_LEN];
    uint8_t enc[32], plain[MESSAGE_LEN], want[MESSAGE_LEN + HANSE_HPKE_TAG_LEN];
    pthread_t threads[THREADS];
    worker workers[THREADS];
    hanse_hpke *sender, *receiver;

    (void)state;
    pair(HANSE_AEAD_AES256GCM, &sender, &receiver, enc);
    for (size_t t = 0; t < THREADS; t++) {
        workers[t] = (worker){.first = t, .sealed = sealed};
        assert_int_equal(hanse_hpke_clone(&workers[t].sender, sender, NULL), HANSE_OK);
        assert_int_equal(hanse_hpke_clone(&workers[t].receiver, receiver, NULL), HANSE_OK);
        assert_int_equal(pthread_create(&threads[t], NULL, seal_and_open, &workers[t]), 0);
    }
    for (size_t t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
        assert_false(workers[t].failed);
        hanse_hpke_free(workers[t].sender);
        hanse_hpke_free(workers[t].receiver);
    }
    for (size_t i = 0; i < MESSAGES; i++) {
        memset(plain, (int)i, sizeof plain);
        assert_int_equal(hanse_hpke_seal(sender, i, HANSE_BYTES_EMPTY, want, (hanse_bytes){plain, sizeof plain}, NULL), HANSE_OK);
        assert_memory_equal(sealed[i], want, sizeof want);
    }
    hanse_hpke_free(sender);
    hanse_hpke_free(receiver);
}

static void test_memory(void **state)
{
    hanse_hpke *sender, *receiver, *copy = NULL;
    uint8_t enc[32], key[32];
    hanse_err err;

    (void)state;
    pair(HANSE_AEAD_AES256GCM, &sender, &receiver, enc);
    assert_int_equal(hanse_hex_decode(key, 32, SK_R, NULL), HANSE_OK);
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_hpke_clone(&copy, receiver, &err), HANSE_E_NOMEM);
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_hpke_receiver_new(&copy, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){key, NULL}, enc, HANSE_BYTES_EMPTY, &err), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    assert_null(copy);
    hanse_hpke_free(sender);
    hanse_hpke_free(receiver);
}

#if OPENSSL_VERSION_NUMBER >= 0x30200000L
/* What another implementation sealed, we open. */
static void test_other_implementation(void **state)
{
    OSSL_HPKE_SUITE suite = {OSSL_HPKE_KEM_ID_X25519, OSSL_HPKE_KDF_ID_HKDF_SHA256, OSSL_HPKE_AEAD_ID_AES_GCM_256};
    OSSL_HPKE_CTX *other = OSSL_HPKE_CTX_new(OSSL_HPKE_MODE_BASE, suite, OSSL_HPKE_ROLE_SENDER, NULL, NULL);
    uint8_t secret[32], pub[32], enc[32], sealed[64], out[64];
    size_t enc_len = sizeof enc;
    hanse_hpke *receiver;

    (void)state;
    assert_int_equal(hanse_x25519_keygen(secret, pub, NULL), HANSE_OK);
    assert_int_equal(OSSL_HPKE_encap(other, enc, &enc_len, pub, sizeof pub, (const uint8_t *)"info", 4), 1);
    assert_int_equal(hanse_hpke_receiver_new(&receiver, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){secret, NULL}, enc, hanse_bytes_str("info"), NULL), HANSE_OK);
    for (uint64_t seq = 0; seq < 3; seq++) {
        size_t len = sizeof sealed;
        assert_int_equal(OSSL_HPKE_seal(other, sealed, &len, (const uint8_t *)"aad", 3, (const uint8_t *)plain_text, 29), 1);
        assert_int_equal(hanse_hpke_open(receiver, seq, hanse_bytes_str("aad"), out, (hanse_bytes){sealed, len}, NULL), HANSE_OK);
        assert_memory_equal(out, plain_text, 29);
    }
    hanse_hpke_free(receiver);
    OSSL_HPKE_CTX_free(other);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_x25519), cmocka_unit_test(test_low_order),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_threads), cmocka_unit_test(test_memory),
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
        cmocka_unit_test(test_other_implementation),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
