/* Vectors: tests/vectors/crypto.md. */
#include "hanse/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static void assert_hex(const uint8_t *got, size_t len, const char *want)
{
    char hex[257];

    assert_true(len <= 128);
    hanse_hex_encode(hex, got, len);
    assert_string_equal(hex, want);
}

static hanse_bytes unhex(uint8_t *room, const char *hex)
{
    size_t len = strlen(hex) / 2;

    assert_int_equal(hanse_hex_decode(room, len, hex, NULL), HANSE_OK);
    return (hanse_bytes){room, len};
}

static void test_sha256(void **state)
{
    static const struct { const char *text, *want; } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    uint8_t out[32];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(hanse_sha256(out, hanse_bytes_str(rows[i].text), NULL), HANSE_OK);
        assert_hex(out, 32, rows[i].want);
    }
    assert_int_equal(hanse_sha256(out, HANSE_BYTES_EMPTY, NULL), HANSE_OK);
    assert_hex(out, 32, rows[0].want);
}

static void test_stream(void **state)
{
    hanse_sha256_stream s = HANSE_SHA256_STREAM_EMPTY;
    uint8_t out[32];
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_sha256_update(&s, hanse_bytes_str("x"), &err), HANSE_E_USAGE);
    assert_int_equal(hanse_sha256_final(&s, out, &err), HANSE_E_USAGE);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(hanse_sha256_init(&s, &err), HANSE_OK);
        for (int i = 0; i < 100000; i++)
            assert_int_equal(hanse_sha256_update(&s, hanse_bytes_str("aaaaaaaaaa"), &err), HANSE_OK);
        assert_int_equal(hanse_sha256_update(&s, HANSE_BYTES_EMPTY, &err), HANSE_OK);
        assert_int_equal(hanse_sha256_final(&s, out, &err), HANSE_OK);
        assert_hex(out, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    hanse_sha256_clear(&s);
    hanse_sha256_clear(&s);
}

static void test_hkdf(void **state)
{
    static const struct { const char *ikm, *salt, *info, *prk, *okm; } rows[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
         "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
         "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
         "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f"
         "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
         "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
         "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
         "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
         "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    uint8_t a[128], b[128], c[128], prk[32], okm[128];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = strlen(rows[i].okm) / 2;
        assert_int_equal(hanse_hkdf_extract(prk, unhex(a, rows[i].salt), unhex(b, rows[i].ikm), NULL), HANSE_OK);
        assert_hex(prk, 32, rows[i].prk);
        assert_int_equal(hanse_hkdf_expand(okm, len, prk, unhex(c, rows[i].info), NULL), HANSE_OK);
        assert_hex(okm, len, rows[i].okm);
    }
    assert_int_equal(hanse_hkdf_expand(okm, 0, prk, HANSE_BYTES_EMPTY, NULL), HANSE_E_USAGE);
    assert_int_equal(hanse_hkdf_expand(okm, 8161, prk, HANSE_BYTES_EMPTY, NULL), HANSE_E_USAGE);
}

static void test_random(void **state)
{
    uint8_t a[32] = {0}, b[32] = {0};

    (void)state;
    assert_int_equal(hanse_random(a, 32, NULL), HANSE_OK);
    assert_int_equal(hanse_random(b, 32, NULL), HANSE_OK);
    assert_memory_not_equal(a, b, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sha256), cmocka_unit_test(test_stream), cmocka_unit_test(test_hkdf),
                                       cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
