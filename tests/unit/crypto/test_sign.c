/* Vectors: tests/vectors/crypto.md. */
#include "hanse/digest.h"
#include "hanse/sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

/* RFC 8032 7.1: the key pairs that our PEM path makes from a raw seed must be the RFC's. */
static void test_rfc8032(void **state)
{
    static const struct { const char *secret, *pub, *text, *sig; } rows[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    uint8_t secret[32], pub[32], text[2], want[64], sig[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = 32, sig_len = 64, text_len = strlen(rows[i].text) / 2;
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        hanse_key *key;
        hanse_key_kind kind;
        assert_int_equal(hanse_hex_decode(secret, 32, rows[i].secret, NULL), HANSE_OK);
        assert_int_equal(hanse_hex_decode(want, 64, rows[i].sig, NULL), HANSE_OK);
        assert_int_equal(hanse_hex_decode(text, text_len, rows[i].text, NULL), HANSE_OK);
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, 32);
        assert_int_equal(hanse_key_check(key, &kind, NULL), HANSE_OK);
        assert_int_equal(kind, HANSE_KEY_ED25519);
        assert_int_equal(EVP_PKEY_get_raw_public_key(key, pub, &len), 1);
        assert_int_equal(hanse_hex_decode(secret, 32, rows[i].pub, NULL), HANSE_OK);
        assert_memory_equal(pub, secret, 32);
        assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL), 1);
        assert_int_equal(EVP_DigestSign(ctx, sig, &sig_len, text, text_len), 1);
        assert_memory_equal(sig, want, 64);
        EVP_MD_CTX_free(ctx);
        hanse_key_free(key);
    }
}

/* Round trip through PEM and SPKI, then every bit of signature and object, and every other binding. */
static void round_trip(hanse_key_kind kind)
{
    hanse_key *key, *again, *pub, *other;
    hanse_buf pem = HANSE_BUF_EMPTY, spki = HANSE_BUF_EMPTY;
    uint8_t sig[HANSE_SIG_MAX], object[5] = "round", id[32], id2[32];
    size_t len;
    hanse_err err;

    assert_int_equal(hanse_key_new(&key, kind, &err), HANSE_OK);
    assert_int_equal(hanse_key_new(&other, kind, &err), HANSE_OK);
    assert_int_equal(hanse_key_to_pem(key, &pem, &err), HANSE_OK);
    assert_int_equal(hanse_key_from_pem(&again, hanse_buf_bytes(&pem), &err), HANSE_OK);
    assert_int_equal(hanse_key_to_spki(key, &spki, &err), HANSE_OK);
    assert_int_equal(hanse_key_from_spki(&pub, hanse_buf_bytes(&spki), &err), HANSE_OK);
    assert_int_equal(hanse_key_id(pub, id, &err), HANSE_OK);
    assert_int_equal(hanse_sha256(id2, hanse_buf_bytes(&spki), &err), HANSE_OK);
    assert_memory_equal(id, id2, 32);
    assert_int_equal(hanse_sign_object(again, "spec", (hanse_bytes){object, 5}, sig, &len, &err), HANSE_OK);
    assert_in_range(len, 64, HANSE_SIG_MAX);
    assert_int_equal(hanse_verify_object(pub, "spec", (hanse_bytes){object, 5}, (hanse_bytes){sig, len}, &err), HANSE_OK);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(hanse_verify_object(pub, "spec", (hanse_bytes){object, 5}, (hanse_bytes){sig, len}, &err), HANSE_E_AUTH);
        sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof object; bit++) {
        object[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(hanse_verify_object(pub, "spec", (hanse_bytes){object, 5}, (hanse_bytes){sig, len}, &err), HANSE_E_AUTH);
        object[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(hanse_verify_object(pub, "result", (hanse_bytes){object, 5}, (hanse_bytes){sig, len}, &err), HANSE_E_AUTH);
    assert_int_equal(hanse_verify_object(pub, "spec", (hanse_bytes){object, 4}, (hanse_bytes){sig, len}, &err), HANSE_E_AUTH);
    assert_int_equal(hanse_verify_object(pub, "spec", (hanse_bytes){object, 5}, (hanse_bytes){sig, len - 1}, &err), HANSE_E_AUTH);
    assert_int_equal(hanse_verify_object(pub, "spec", (hanse_bytes){object, 5}, HANSE_BYTES_EMPTY, &err), HANSE_E_AUTH);
    assert_int_equal(hanse_verify_object(other, "spec", (hanse_bytes){object, 5}, (hanse_bytes){sig, len}, &err), HANSE_E_AUTH);
    assert_int_equal(hanse_verify_object(NULL, "spec", (hanse_bytes){object, 5}, (hanse_bytes){sig, len}, &err), HANSE_E_AUTH);
    hanse_key_free(key);
    hanse_key_free(again);
    hanse_key_free(pub);
    hanse_key_free(other);
    hanse_buf_wipe(&pem);
    hanse_buf_clear(&spki);
}

static void test_round_trip(void **state)
{
    (void)state;
    round_trip(HANSE_KEY_ED25519);
    round_trip(HANSE_KEY_P256);
}

static void test_types(void **state)
{
    static const char *const bad[] = {"", "Spec", "a b", "a/b", "abcdefghijklmnopqrstuvwxyz0123456"};
    uint8_t sig[HANSE_SIG_MAX];
    hanse_key *key;
    size_t len;

    (void)state;
    assert_int_equal(hanse_key_new(&key, HANSE_KEY_ED25519, NULL), HANSE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(hanse_sign_object(key, bad[i], HANSE_BYTES_EMPTY, sig, &len, NULL), HANSE_E_USAGE);
    assert_int_equal(hanse_sign_object(key, "empty", HANSE_BYTES_EMPTY, sig, &len, NULL), HANSE_OK);
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_sign_object(key, "empty", HANSE_BYTES_EMPTY, sig, &len, NULL), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    hanse_key_free(key);
}

static void test_refused_keys(void **state)
{
    static const char *const kinds[][2] = {{"EC", "P-384"}, {"EC", "secp256k1"}, {"X25519", NULL}, {"ED448", NULL}};
    hanse_key *none = NULL;
    hanse_err err;

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, kinds[i][0], kinds[i][1]);
        hanse_buf spki = HANSE_BUF_EMPTY, pem = HANSE_BUF_EMPTY;
        assert_int_equal(hanse_key_to_spki(key, &spki, &err), HANSE_OK);
        assert_int_equal(hanse_key_to_pem(key, &pem, &err), HANSE_OK);
        assert_int_equal(hanse_key_from_spki(&none, hanse_buf_bytes(&spki), &err), HANSE_E_INVALID);
        assert_int_equal(hanse_key_from_pem(&none, hanse_buf_bytes(&pem), &err), HANSE_E_INVALID);
        hanse_buf_clear(&spki);
        hanse_buf_wipe(&pem);
        EVP_PKEY_free(key);
    }
    assert_int_equal(hanse_key_from_pem(&none, hanse_bytes_str("no key"), &err), HANSE_E_INVALID);
    assert_int_equal(hanse_key_from_pem(&none, HANSE_BYTES_EMPTY, &err), HANSE_E_INVALID);
    assert_int_equal(hanse_key_from_spki(&none, hanse_bytes_str("0"), &err), HANSE_E_INVALID);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rfc8032), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_types),
                                       cmocka_unit_test(test_refused_keys)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
