/* Model files: round trip, the header against hostile and foreign writers, faults at every step. */
#include "hanse/safetensors.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static hanse_err err;
static char dir[] = "/tmp/hanse-model-XXXXXX";
static char path[64];
static const hanse_model_meta meta = {.run = {1, 2, 0xff}, .round = UINT64_MAX, .plan_hash = {9, 8, 7}};

static hanse_layout small_layout(void)
{
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    assert_int_equal(hanse_layout_add(&layout, "z.weight", (size_t[]){2, 3}, 2, &err), HANSE_OK);
    assert_int_equal(hanse_layout_add(&layout, "a.bias", (size_t[]){1}, 1, &err), HANSE_OK);
    assert_int_equal(hanse_layout_add(&layout, "conv", (size_t[]){2, 1, 2, 2}, 4, &err), HANSE_OK);
    return layout;
}

static const float some[15] = {0, -0.0f, 1e-45f, 3.4028235e38f, -1.5f, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Files in the test's folder, without . and .. */
static size_t files_count(void)
{
    size_t count = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        count += e->d_name[0] != '.' || (e->d_name[1] != '\0' && e->d_name[1] != '.');
    closedir(d);
    return count;
}

static int setup(void **state)
{
    (void)state;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/m.safetensors", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir); /* fails when a temporary file was left behind */
}

static void write_raw(const char *header, size_t len, size_t data_len)
{
    static const uint8_t zeros[4096];
    uint8_t prefix[8];
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    hanse_store_u64le(prefix, len);
    assert_int_equal(fwrite(prefix, 1, 8, file), 8);
    assert_int_equal(fwrite(header, 1, len, file), len);
    assert_int_equal(fwrite(zeros, 1, data_len, file), data_len);
    assert_int_equal(fclose(file), 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    hanse_layout layout = small_layout();
    hanse_model_file file;
    float back[15];

    for (int sync = 0; sync < 2; sync++) {
        assert_int_equal(hanse_model_write(path, &layout, &meta, some, sync != 0, &err), HANSE_OK);
        assert_int_equal(files_count(), 1);
        assert_int_equal(hanse_model_open(&file, path, &err), HANSE_OK);
        assert_int_equal(hanse_layout_same(&file.layout, &layout, &err), HANSE_OK);
        assert_true(file.has_meta);
        assert_memory_equal(&file.meta.run, &meta.run, 16);
        assert_memory_equal(&file.meta.plan_hash, &meta.plan_hash, 32);
        assert_true(file.meta.round == meta.round);
        assert_int_equal(file.data_offset % 8, 0);
        assert_int_equal(file.size, file.data_offset + sizeof some);
        assert_int_equal(hanse_model_read(&file, 0, back, 15, &err), HANSE_OK);
        assert_memory_equal(back, some, sizeof some);
        assert_int_equal(hanse_model_read(&file, 14, back, 1, &err), HANSE_OK);
        assert_true(back[0] == 15);
        assert_int_equal(hanse_model_read(&file, 15, back, 0, &err), HANSE_OK);
        assert_int_equal(hanse_model_read(&file, 15, back, 1, &err), HANSE_E_USAGE);
        assert_int_equal(hanse_model_read(&file, SIZE_MAX, back, 2, &err), HANSE_E_USAGE);
        assert_int_equal(truncate(path, (off_t)file.size - 1), 0);
        assert_int_equal(hanse_model_read(&file, 14, back, 1, &err), HANSE_E_CORRUPT);
        hanse_model_close(&file);
        hanse_model_close(&file);
    }
    hanse_model_close(NULL);
    hanse_layout_clear(&layout);
}

static void test_pieces(void **state)
{
    (void)state;
    hanse_layout layout = small_layout();
    hanse_model_writer *writer = NULL;
    hanse_model_file file;
    float back[15];
    uint8_t bytes[4];

    assert_int_equal(hanse_model_writer_new(&writer, path, &layout, &meta, false, &err), HANSE_OK);
    assert_int_equal(hanse_model_writer_put(writer, 10, some + 10, 5, &err), HANSE_OK);
    assert_int_equal(hanse_model_writer_put(writer, 0, some, 10, &err), HANSE_OK);
    assert_int_equal(hanse_model_writer_put(writer, 14, some, 2, &err), HANSE_E_USAGE);
    assert_int_equal(hanse_model_writer_get(writer, hanse_model_writer_size(writer) - 4, bytes, 4, &err), HANSE_OK);
    assert_memory_equal(bytes, &some[14], 4);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(hanse_model_writer_commit(writer, &err), HANSE_OK);
    hanse_model_writer_free(writer);
    assert_int_equal(hanse_model_open(&file, path, &err), HANSE_OK);
    assert_int_equal(hanse_model_read(&file, 0, back, 15, &err), HANSE_OK);
    assert_memory_equal(back, some, sizeof some);
    hanse_model_close(&file);

    /* given up half-way: the old model stays */
    assert_int_equal(hanse_model_writer_new(&writer, path, &layout, &meta, false, &err), HANSE_OK);
    assert_int_equal(hanse_model_writer_put(writer, 0, some + 5, 10, &err), HANSE_OK);
    hanse_model_writer_free(writer);
    assert_int_equal(files_count(), 1);
    assert_int_equal(hanse_model_open(&file, path, &err), HANSE_OK);
    assert_int_equal(hanse_model_read(&file, 0, back, 15, &err), HANSE_OK);
    assert_memory_equal(back, some, sizeof some);
    hanse_model_close(&file);
    hanse_layout_clear(&layout);
}

static void test_initial(void **state)
{
    (void)state;
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    hanse_model_file file;
    enum { P = 700001 };
    float *want = hanse_calloc(P, sizeof *want), *got = hanse_calloc(P, sizeof *got);

    assert_true(want != NULL && got != NULL);
    assert_int_equal(hanse_layout_add(&layout, "vector", (size_t[]){P}, 1, &err), HANSE_OK);
    hanse_layout_init_values(&layout, 7, 0, P, want);
    assert_int_equal(hanse_model_write_initial(path, &layout, &meta, 7, false, &err), HANSE_OK);
    assert_int_equal(hanse_model_open(&file, path, &err), HANSE_OK);
    assert_int_equal(hanse_model_read(&file, 0, got, P, &err), HANSE_OK);
    assert_memory_equal(want, got, P * sizeof *want);
    hanse_model_close(&file);
    hanse_free(want);
    hanse_free(got);
    hanse_layout_clear(&layout);
}

/* What safetensors' own Python writes: other metadata or none, keys in any order, tensors by name. */
static void test_foreign(void **state)
{
    (void)state;
    hanse_model_file file;
    static const char *headers[] = {
        "{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"w\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[8,24]}}",
        "{\"w\":{\"shape\":[2,2],\"data_offsets\":[8,24],\"dtype\":\"F32\"},\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ",
        "{\"__metadata__\":{\"run\":\"not ours\"},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[8,24]}}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        write_raw(headers[i], strlen(headers[i]), 24);
        assert_int_equal(hanse_model_open(&file, path, &err), HANSE_OK);
        assert_false(file.has_meta);
        assert_int_equal(file.layout.count, 2);
        assert_string_equal(file.layout.tensors[0].name, "b");
        assert_string_equal(file.layout.tensors[1].name, "w");
        assert_int_equal(file.layout.tensors[1].offset, 2);
        hanse_model_close(&file);
    }
}

#define T(name, shape, offsets) "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define META "\"__metadata__\":{\"run\":\"%s\",\"round\":\"%s\",\"plan_hash\":\"%s\"}"

static void test_hostile_headers(void **state)
{
    (void)state;
    static const struct { const char *header, *says; } rows[] = {
        {"", "header"},
        {"[]", "no JSON object"},
        {"   {}", "no JSON object"},
        {"{}", "without tensors"},
        {"{\"__metadata__\":{}}", "without tensors"},
        {"{\"a\":", "header at byte"},
        {"{" T("a", "[4]", "[0,16]") "} x", "header at byte"},
        {"{" T("a", "[4]", "[0,16]") "," T("a", "[4]", "[0,16]") "}", "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "duplicate"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[8],\"data_offsets\":[0,16]}}", "tensor a: dtype F16"},
        {"{\"a\":{\"dtype\":32,\"shape\":[4],\"data_offsets\":[0,16]}}", "tensor a"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "tensor a"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"more\":1}}", "tensor a"},
        {"{\"a\":7}", "tensor a"},
        {"{" T("a", "4", "[0,16]") "}", "tensor a"},
        {"{" T("a", "[]", "[0,16]") "}", "tensor a: 0 dimensions"},
        {"{" T("a", "[1,1,1,1,4]", "[0,16]") "}", "tensor a: 5 dimensions"},
        {"{" T("a", "[-4]", "[0,16]") "}", "tensor a: dimension 0"},
        {"{" T("a", "[4.0]", "[0,16]") "}", "tensor a: dimension 0"},
        {"{" T("a", "[\"4\"]", "[0,16]") "}", "tensor a: dimension 0"},
        {"{" T("a", "[0]", "[0,0]") "}", "tensor a"},
        {"{" T("a", "[4611686018427387904,4]", "[0,16]") "}", "tensor a"},
        {"{" T("a", "[4294967296,4294967296]", "[0,16]") "}", "tensor a"},
        {"{" T("a", "[9223372036854775807]", "[0,16]") "}", "tensor a"},
        {"{" T("a", "[99999999999999999999]", "[0,16]") "}", "header at byte"},
        {"{" T("a", "[4]", "[0,16,16]") "}", "tensor a: data_offsets"},
        {"{" T("a", "[4]", "[16,0]") "}", "tensor a: data_offsets"},
        {"{" T("a", "[4]", "[0]") "}", "tensor a: data_offsets"},
        {"{" T("a", "[4]", "{}") "}", "tensor a"},
        {"{" T("a", "[4]", "[0,12]") "}", "tensor a: ends at byte 12"},
        {"{" T("a", "[4]", "[0,20]") "}", "tensor a: ends at byte 20"},
        {"{" T("a", "[3]", "[4,16]") "}", "tensor a: begins at byte 4"},
        {"{" T("a", "[2]", "[0,8]") "," T("b", "[3]", "[4,16]") "}", "tensor b: begins at byte 4"},
        {"{" T("a", "[1]", "[0,4]") "," T("b", "[2]", "[8,16]") "}", "tensor b: begins at byte 8"},
        {"{" T("a", "[3]", "[0,12]") "}", "truncated or padded"},
        {"{" T("a", "[5]", "[0,20]") "}", "truncated or padded"},
        {"{" T("a b", "[4]", "[0,16]") "}", "tensor name"},
        {"{" T("", "[4]", "[0,16]") "}", "tensor name"},
        {"{" T("a\\u001b[2J", "[4]", "[0,16]") "}", "tensor name"},
        {"{" T("a\\u0000b", "[4]", "[0,16]") "}", "header at byte"},
        {"{" T("\xff", "[4]", "[0,16]") "}", "header at byte"},
        {"{\"__metadata__\":7," T("a", "[4]", "[0,16]") "}", "__metadata__"},
        {"{\"__metadata__\":{\"x\":1}," T("a", "[4]", "[0,16]") "}", "__metadata__"},
    };
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    hanse_model_meta got = meta;
    hanse_model_file file = {.fd = -1};
    bool has_meta = true;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_rc rc = hanse_model_header_parse(hanse_bytes_str(rows[i].header), 16, &layout, &got, &has_meta, &err);
        if (rc != HANSE_E_INVALID || strstr(err.text, rows[i].says) == NULL)
            fail_msg("%s: rc %d, %s", rows[i].header, rc, err.text);
        assert_true(layout.count == 0 && has_meta && memcmp(&got, &meta, sizeof got) == 0);
        write_raw(rows[i].header, strlen(rows[i].header), 16);
        assert_int_equal(hanse_model_open(&file, path, &err), HANSE_E_INVALID);
        assert_non_null(strstr(err.text, path));
        assert_int_equal(file.fd, -1);
    }
}

static void test_metadata(void **state)
{
    (void)state;
    static const char run[] = "00112233445566778899aabbccddeeff";
    static const char hash[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const struct { const char *run, *round, *hash; hanse_rc want; } rows[] = {
        {run, "0", hash, HANSE_OK},
        {run, "18446744073709551615", hash, HANSE_OK},
        {run, "18446744073709551616", hash, HANSE_E_INVALID},
        {run, "99999999999999999999999", hash, HANSE_E_INVALID},
        {run, "", hash, HANSE_E_INVALID},
        {run, "-1", hash, HANSE_E_INVALID},
        {run, "1 ", hash, HANSE_E_INVALID},
        {run + 1, "1", hash, HANSE_E_INVALID},
        {run, "1", run, HANSE_E_INVALID},
        {hash, "1", hash, HANSE_E_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char header[512];
        hanse_layout layout = HANSE_LAYOUT_EMPTY;
        hanse_model_meta got;
        bool has_meta;
        snprintf(header, sizeof header, "{" META "," T("a", "[4]", "[0,16]") "}", rows[i].run, rows[i].round, rows[i].hash);
        hanse_rc rc = hanse_model_header_parse(hanse_bytes_str(header), 16, &layout, &got, &has_meta, &err);
        if (rc != rows[i].want)
            fail_msg("row %zu: rc %d, want %d: %s", i, rc, rows[i].want, err.text);
        if (rc == HANSE_OK)
            assert_true(has_meta && got.run[1] == 0x11 && got.plan_hash[31] == 0xff);
        hanse_layout_clear(&layout);
    }
}

static void test_lengths(void **state)
{
    (void)state;
    static const struct { uint8_t bytes[10]; size_t len; } rows[] = {
        {{0}, 0}, {{2, 0, 0, 0, 0, 0, 0}, 7}, {{0, 0, 0, 0, 0, 0, 0, 0}, 8}, {{2, 0, 0, 0, 0, 0, 0, 0, '{'}, 9},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10}, {{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'}, 10},
    };
    hanse_model_file file;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(rows[i].bytes, 1, rows[i].len, out), rows[i].len);
        assert_int_equal(fclose(out), 0);
        assert_int_equal(hanse_model_open(&file, path, &err), HANSE_E_INVALID);
    }
    /* a header beyond the cap is refused before memory is taken for it */
    char *big = hanse_calloc(HANSE_MODEL_HEADER_MAX + 1, 1);
    assert_non_null(big);
    memset(big, ' ', HANSE_MODEL_HEADER_MAX + 1);
    write_raw(big, HANSE_MODEL_HEADER_MAX + 1, 0);
    hanse_free(big);
    assert_int_equal(hanse_model_open(&file, path, &err), HANSE_E_INVALID);
    assert_non_null(strstr(err.text, "at most 1048576"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hanse_model_open(&file, path, &err), HANSE_E_NOTFOUND);
    assert_int_equal(hanse_model_open(&file, dir, &err), HANSE_E_INVALID);
}

/* Fail every system call, then every allocation, one after the other: a clean error, nothing left behind, the old file intact. */
static void test_faults(void **state)
{
    (void)state;
    hanse_layout layout = small_layout();
    hanse_model_file file;
    float back[15];

    for (int pass = 0; pass < 2; pass++) {
        void (*fail_at)(long) = pass == 0 ? hanse_model_fail_at : hanse_alloc_fail_at;
        hanse_rc want = pass == 0 ? HANSE_E_IO : HANSE_E_NOMEM, rc = want;
        long k;

        unlink(path);
        for (k = 0; rc != HANSE_OK; k++) {
            fail_at(k);
            rc = hanse_model_write_initial(path, &layout, &meta, 1, false, &err);
            fail_at(-1);
            if (rc != HANSE_OK) {
                assert_int_equal(rc, want);
                assert_int_equal(files_count(), 0);
            }
        }
        assert_true(k > 2);
        for (k = 0, rc = want; rc != HANSE_OK; k++) {
            fail_at(k);
            rc = hanse_model_open(&file, path, &err);
            fail_at(-1);
            assert_true(rc == HANSE_OK || rc == want);
        }
        assert_true(k > 2);
        if (pass == 0) {
            fail_at(0);
            assert_int_equal(hanse_model_read(&file, 0, back, 15, &err), HANSE_E_IO);
            fail_at(-1);
        }
        assert_int_equal(hanse_model_read(&file, 0, back, 15, &err), HANSE_OK);
        hanse_model_close(&file);
    }
    hanse_model_writer *writer = NULL;
    hanse_layout none = HANSE_LAYOUT_EMPTY;
    assert_int_equal(hanse_model_writer_new(&writer, path, &none, &meta, false, &err), HANSE_E_SHAPE);
    assert_int_equal(hanse_model_writer_new(&writer, "/nowhere/at/all", &layout, &meta, false, &err), HANSE_E_IO);
    assert_null(writer);
    hanse_model_writer_free(NULL);
    hanse_layout_clear(&layout);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip), TEST(test_pieces),   TEST(test_initial), TEST(test_foreign),
        TEST(test_hostile_headers), TEST(test_metadata), TEST(test_lengths), TEST(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
