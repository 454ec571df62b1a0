/* The library's ciphers as they are used here, against the standards' own values (tests/vectors/crypto.md), and the mask
 * stream against the block cipher under it. */
#include "crypto/ctr.h"
#include "hanse/hpke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <openssl/evp.h>

static void from_hex(uint8_t *out, size_t len, const char *hex)
{
    assert_int_equal(hanse_hex_decode(out, len, hex, NULL), HANSE_OK);
}

static void assert_hex(const uint8_t *got, size_t len, const char *want)
{
    char hex[2 * 64 + 1];

    assert_true(len <= 64);
    hanse_hex_encode(hex, got, len);
    assert_string_equal(hex, want);
}

/* SP 800-38A F.5.5: the counter goes up as one 128-bit number. */
static void test_ctr(void **state)
{
    static const char key_hex[] = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t key[32], counter[16], text[64], out[64];
    int n = 0;

    (void)state;
    from_hex(key, 32, key_hex);
    from_hex(counter, 16, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    from_hex(text, 64, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                       "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, key, counter, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &n, text, 64), 1);
    assert_int_equal(n, 64);
    assert_hex(out, 64, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
                        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

/* ctr.h says: byte p is byte p mod 16 of AES(key, 0^8 || u64be(p / 16)), wherever the stream is entered. */
static void test_stream_is_blocks(void **state)
{
    static const uint64_t places[] = {0, 1, 15, 16, 4095, 4096, 1000003, ((uint64_t)1 << 32) - 1, (uint64_t)1 << 32, ((uint64_t)255 << 36) + 5};
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    hanse_ctr ctr = HANSE_CTR_EMPTY;
    uint8_t key[32], got[40], block[16], counter[16];
    int n;

    (void)state;
    for (size_t i = 0; i < 32; i++)
        key[i] = (uint8_t)(7 * i + 3);
    assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, key, NULL, NULL), 1);
    assert_int_equal(hanse_ctr_key(&ctr, key, NULL), HANSE_OK);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        assert_int_equal(hanse_ctr_seek(&ctr, places[i], NULL), HANSE_OK);
        assert_int_equal(hanse_ctr_next(&ctr, got, sizeof got, NULL), HANSE_OK);
        for (size_t k = 0; k < sizeof got; k++) {
            uint64_t place = places[i] + k;

            memset(counter, 0, sizeof counter);
            for (int b = 0; b < 8; b++)
                counter[15 - b] = (uint8_t)(place / 16 >> (8 * b));
            assert_int_equal(EVP_EncryptUpdate(ctx, block, &n, counter, 16), 1);
            assert_int_equal(got[k], block[place % 16]);
        }
    }
    hanse_ctr_clear(&ctr);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

/* CAVP gcmEncryptExtIV256, 96-bit nonces, 128-bit tags: with text and additional data, without either, with text alone. */
static void test_gcm(void **state)
{
    static const struct { const char *key, *nonce, *text, *aad, *sealed; } rows[] = {
        {"92e11dcdaa866f5ce790fd24501f92509aacf4cb8b1339d50c9c1240935dd08b", "ac93a1a6145299bde902f21a", "2d71bcfa914e4ac045b2aa60955fad24",
         "1e0889016f67601c8ebea4943bc23ad6", "8995ae2e6df3dbf96fac7b7137bae67feca5aa77d51d4a0a14d9c51e1da474ab"},
        {"b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4", "516c33929df5a3284ff463d7", "", "", "bdc1ac884d332457a1d2664f168c76f0"},
        {"31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22", "0d18e06c7c725ac9e362e1ce", "2db5168e932556f8089a0622981d017d", "",
         "fa4362189661d163fcd6a56d8bf0405ad636ac1bbedd5cc3ee727dc2ab4a9489"},
    };
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    uint8_t key[32], nonce[12], text[16], aad[16], out[32];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int text_len = (int)strlen(rows[i].text) / 2, aad_len = (int)strlen(rows[i].aad) / 2, n = 0;
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

        from_hex(key, 32, rows[i].key);
        from_hex(nonce, 12, rows[i].nonce);
        from_hex(text, (size_t)text_len, rows[i].text);
        from_hex(aad, (size_t)aad_len, rows[i].aad);
        assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, key, nonce, NULL), 1);
        if (aad_len > 0)
            assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, aad, aad_len), 1);
        if (text_len > 0)
            assert_int_equal(EVP_EncryptUpdate(ctx, out, &n, text, text_len), 1);
        assert_int_equal(EVP_EncryptFinal_ex(ctx, out + text_len, &n), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + text_len), 1);
        assert_hex(out, (size_t)text_len + 16, rows[i].sealed);
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_CIPHER_free(cipher);
}

/* RFC 7748 5.2: each result is the next scalar, and the scalar the next point. */
static void test_x25519_iterated(void **state)
{
    uint8_t k[32] = {9}, u[32] = {9}, next[32];

    (void)state;
    for (int i = 1; i <= 1000; i++) {
        assert_int_equal(hanse_x25519(next, (hanse_x25519_pair){k, NULL}, u, NULL), HANSE_OK);
        memcpy(u, k, 32);
        memcpy(k, next, 32);
        if (i == 1)
            assert_hex(k, 32, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
    assert_hex(k, 32, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ctr), cmocka_unit_test(test_stream_is_blocks), cmocka_unit_test(test_gcm),
                                       cmocka_unit_test(test_x25519_iterated)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
