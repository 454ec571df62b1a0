/* The root of a model file: vectors from Python's hashlib (below), chunk borders, changed bytes. */
#include "hanse/model_root.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static hanse_err err;
static char dir[] = "/tmp/hanse-root-XXXXXX";
static char path[64];

static void write_pattern(size_t len)
{
    FILE *file = fopen(path, "wb");
    uint8_t *bytes = hanse_calloc(len, 1);
    assert_non_null(file);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    hanse_free(bytes);
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/m", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

/* from hashlib import sha256 as H
 * def root(n):
 *     b = bytes((i * 7 + i // 251) % 256 for i in range(n)); M = 1 << 20
 *     return H(b"hanse1/model\0" + n.to_bytes(8, "big") + b"".join(H(b[i:i + M]).digest() for i in range(0, n, M))).hexdigest() */
static void test_vectors(void **state)
{
    (void)state;
    static const struct { size_t len; const char *root; } rows[] = {
        {0, "b07d597116148469ce61d594d845957833d6df22cd7caad2350d44ce0c3b1468"},
        {1, "8e9f8eef70302fa6ef2504d101cad29468b49bd4e5aebe987b8a95c142682899"},
        {1000, "137f85a89bc6d92c8e022719d7506ab0ffc5e70c105bdd9b6008161827ed704f"},
        {(1 << 20) - 1, "9d0ec1ae8aabb6b3539cbc07286e64d8ba5866316e6c6739d847a7d68e7fa83a"},
        {1 << 20, "031d45ae0af37b2a3f03563744ffcd8bb9e17fff76f78034754d1016ffd7c986"},
        {(1 << 20) + 1, "ae055b1d7bb8d7a1dbbb7597de37b2d13c1d666f63ea9722c1a95801ae709dfa"},
        {3 << 20, "7794fb9144b0a57543773fa5dd10c65844719cff21d706ee42bb9c13f90916d9"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t root[32];
        char hex[65];
        uint64_t size;
        write_pattern(rows[i].len);
        assert_int_equal(hanse_model_root_of_file(root, &size, path, &err), HANSE_OK);
        hanse_hex_encode(hex, root, 32);
        assert_string_equal(hex, rows[i].root);
        assert_true(size == rows[i].len);
        assert_int_equal(hanse_model_root_check(root, path, &err), HANSE_OK);
    }
}

static void test_changes(void **state)
{
    (void)state;
    const long where[] = {0, (1 << 20) - 1, 1 << 20, (2 << 20) + 4};
    uint8_t root[32];

    write_pattern((2 << 20) + 5);
    assert_int_equal(hanse_model_root_of_file(root, NULL, path, &err), HANSE_OK);
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
        write_pattern((2 << 20) + 5);
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, where[i], SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, where[i], SEEK_SET), 0);
        fputc(byte ^ 1, file);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(hanse_model_root_check(root, path, &err), HANSE_E_AUTH);
    }
    write_pattern((2 << 20) + 4);
    assert_int_equal(hanse_model_root_check(root, path, &err), HANSE_E_AUTH);
    for (long k = 0; k < 3; k++) {
        hanse_alloc_fail_at(k);
        assert_int_equal(hanse_model_root_of_file(root, NULL, path, &err), HANSE_E_NOMEM);
        hanse_alloc_fail_at(-1);
    }
    assert_int_equal(hanse_model_root_of_file(root, NULL, dir, &err), HANSE_E_INVALID);
    unlink(path);
    assert_int_equal(hanse_model_root_of_file(root, NULL, path, &err), HANSE_E_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors), cmocka_unit_test(test_changes)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
