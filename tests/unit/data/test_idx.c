#include "tests/unit/data/fixture.h"

#include <time.h>
#include <zlib.h>

#define PICTURES "\0\0\x8\x3\0\0\0\x2\0\0\0\x1\0\0\0\x2" "\x00\xff\x33\x01"
#define LABELS "\0\0\x8\x1\0\0\0\x2" "\x01\x00"

static hanse_rc load(hanse_dataset **out, const void *pictures, size_t pictures_len, const void *labels, size_t labels_len,
                     hanse_err *err)
{
    hanse_source_file file = {.path = fixture_write("p.idx", pictures, pictures_len),
                              .labels = fixture_write("l.idx", labels, labels_len),
                              .part = HANSE_PART_TRAIN};
    hanse_source source = {.files = &file, .files_count = 1};

    return hanse_dataset_load(out, picture_plan(1, 2, 2), &source, err);
}

static void reads(void **state)
{
    hanse_dataset *d = NULL;
    hanse_err err = {0};

    (void)state;
    assert_int_equal(load(&d, PICTURES, 20, LABELS, 10, &err), HANSE_OK);
    assert_int_equal(d->dim, 2);
    assert_int_equal(d->train.count, 2);
    assert_true(d->train.x[0] == 0.0f && d->train.x[1] == 1.0f && d->train.x[2] == 0.2f);
    assert_int_equal(d->train.y[0], 1);
    assert_int_equal(d->train.lines[1], 2);
    hanse_dataset_free(d);
}

static void refuses(void **state)
{
    static const struct {
        const char *name, *pictures;
        size_t pictures_len;
        const char *labels;
        size_t labels_len;
        const char *where, *what;
    } rows[] = {
        {"empty", "", 0, LABELS, 10, "p.idx", "shorter than an IDX header"},
        {"short header", PICTURES, 15, LABELS, 10, "p.idx", "15 bytes"},
        {"labels as pictures", LABELS "\0\0\0\0\0\0\0\0", 18, LABELS, 10, "p.idx", "0x00000801, want 0x00000803"},
        {"pictures as labels", PICTURES, 20, PICTURES, 20, "l.idx", "want 0x00000801"},
        {"floats", "\0\0\xd\x3\0\0\0\x2\0\0\0\x1\0\0\0\x2", 16, LABELS, 10, "p.idx", "magic number 0x00000d03"},
        {"other size", "\0\0\x8\x3\0\0\0\x2\0\0\0\x2\0\0\0\x1" "abcd", 20, LABELS, 10, "p.idx", "2 x 1 pixels, the plan wants 1 x 2"},
        {"counts", PICTURES, 20, "\0\0\x8\x1\0\0\0\x3\x1\0\0", 11, "l.idx", "3 labels for the 2 pictures"},
        {"huge count", "\0\0\x8\x3\xff\xff\xff\xff\0\0\0\x1\0\0\0\x2" "ab", 18, "\0\0\x8\x1\xff\xff\xff\xff\x1", 9, "p.idx", "ends in item 2 of 4294967295"},
        {"cut pictures", PICTURES, 19, LABELS, 10, "p.idx", "ends in item 2 of 2"},
        {"cut labels", PICTURES, 20, LABELS, 9, "l.idx", "ends in item 2 of 2"},
        {"more pictures", PICTURES "x", 21, LABELS, 10, "p.idx", "bytes behind the last of 2"},
        {"more labels", PICTURES, 20, LABELS "x", 11, "l.idx", "bytes behind the last of 2"},
        {"label", PICTURES, 20, "\0\0\x8\x1\0\0\0\x2\x1\x2", 10, "l.idx", "label 2 is 2, the plan has classes 0..1"},
        {"no rows", "\0\0\x8\x3\0\0\0\0\0\0\0\x1\0\0\0\x2", 16, "\0\0\x8\x1\0\0\0\0", 8, "p.idx", "no training rows"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_dataset *d = NULL;
        hanse_err err = {0};

        if (load(&d, rows[i].pictures, rows[i].pictures_len, rows[i].labels, rows[i].labels_len, &err) != HANSE_E_INVALID)
            fail_msg("%s: not refused: %s", rows[i].name, err.text);
        assert_null(d);
        assert_says(rows[i].name, &err, rows[i].where);
        assert_says(rows[i].name, &err, rows[i].what);
    }
}

static void gzip(void **state)
{
    enum { ROWS = 3000, LEN = 16 + 2 * ROWS };
    static uint8_t pictures[LEN], labels[8 + ROWS], packed[LEN + 1000];
    hanse_plan *plan = picture_plan(1, 2, 2);
    hanse_source_file file = {.part = HANSE_PART_TRAIN};
    hanse_source source = {.files = &file, .files_count = 1};
    hanse_dataset *d = NULL;
    hanse_err err = {0};
    uint32_t noise = 1;
    size_t len;
    FILE *f;
    gzFile gz;

    (void)state;
    memcpy(pictures, "\0\0\x8\x3\0\0\x0b\xb8\0\0\0\x1\0\0\0\x2", 16);
    memcpy(labels, "\0\0\x8\x1\0\0\x0b\xb8", 8);
    for (size_t i = 16; i < LEN; i++)
        pictures[i] = (uint8_t)((noise = noise * 1664525u + 1013904223u) >> 24);
    file.labels = fixture_write("l.idx", labels, sizeof labels);
    file.path = fixture_path("p.gz");
    gz = gzopen(file.path, "wb");
    assert_int_equal(gzwrite(gz, pictures, LEN), LEN);
    assert_int_equal(gzclose(gz), Z_OK);
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_OK);
    assert_true(d->train.x[5999] == (float)pictures[LEN - 1] / 255.0f);
    hanse_dataset_free(d);
    d = NULL;

    f = fopen(file.path, "rb");
    len = fread(packed, 1, sizeof packed, f);
    fclose(f);
    fixture_write("p.gz", packed, len - 6);
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_E_INVALID);
    assert_says("cut", &err, "p.gz: the gzip file is cut off");
    fixture_write("p.gz", packed, len / 2);
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_E_INVALID);
    assert_says("cut in the middle", &err, "p.gz: the gzip file is cut off");
    packed[len / 2] ^= 0x40;
    fixture_write("p.gz", packed, len);
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_E_INVALID);
    assert_says("damaged", &err, "p.gz: ");
    assert_null(d);
}

static void mnist(void **state)
{
    char pictures[512], labels[512], test_pictures[512], test_labels[512];
    hanse_source_file files[2] = {
        {.path = real_data(pictures, "mnist/train-images-idx3-ubyte.gz"),
         .labels = real_data(labels, "mnist/train-labels-idx1-ubyte.gz"), .part = HANSE_PART_TRAIN},
        {.path = real_data(test_pictures, "mnist/t10k-images-idx3-ubyte.gz"),
         .labels = real_data(test_labels, "mnist/t10k-labels-idx1-ubyte.gz"), .part = HANSE_PART_TEST}};
    hanse_source source = {.files = files, .files_count = 2};
    hanse_dataset *d = NULL;
    hanse_err err = {0};
    double sum = 0;
    clock_t from = clock();

    (void)state;
    if (hanse_dataset_load(&d, picture_plan(28, 28, 10), &source, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    printf("MNIST loaded in %.2f s\n", (double)(clock() - from) / CLOCKS_PER_SEC);
    assert_int_equal(d->train.count, 60000);
    assert_int_equal(d->test.count, 10000);
    assert_int_equal(d->train.y[0], 5);
    for (size_t i = 0; i < d->train.count * d->dim; i++)
        sum += (double)d->train.x[i];
    assert_true(sum / (60000.0 * 784) > 0.1306 && sum / (60000.0 * 784) < 0.1308); /* the well-known mean of MNIST */
    hanse_dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads), cmocka_unit_test(refuses), cmocka_unit_test(gzip), cmocka_unit_test(mnist),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
