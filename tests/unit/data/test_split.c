#include "tests/unit/data/fixture.h"

#include "node/data/split.h"

static const char ROWS[] = "age,sugar,colour,ill\n1,2,red,no\n2,2,red,yes\n\n3,2,\"red\",no\n4,2,red,yes\n";

static hanse_rc load(hanse_dataset **out, const char *split, const char *name, hanse_err *err)
{
    hanse_source_file file = {.path = fixture_write("a.csv", ROWS, sizeof ROWS - 1), .split_name = name};
    hanse_source source = {.files = &file, .files_count = 1,
                           .split_path = fixture_write("s.csv", split, strlen(split))};

    return hanse_dataset_load(out, small_plan(), &source, err);
}

static void by_file(void **state)
{
    hanse_dataset *d = NULL;
    hanse_err err = {0};

    (void)state;
    if (load(&d, "file,line,part\nb,9,train\nb,6,test\nb,2,train\nother,77,test\nb,3,train\n", "b", &err) == HANSE_OK)
        fail_msg("line 9 does not exist");
    assert_says("beyond", &err, "s.csv:2: line 9 of 'b' is beyond");
    assert_int_equal(load(&d, "file,line,part\nb,6,test\nb,2,train\nother,77,test\nb,3,train\n", "b", &err), HANSE_OK);
    assert_int_equal(d->train.count, 2);
    assert_int_equal(d->test.count, 1);
    assert_int_equal(d->test.lines[0], 6);
    assert_int_equal(d->rows_unnamed, 1);
    hanse_dataset_free(d);
}

static void refuses(void **state)
{
    static const struct {
        const char *name, *split, *says;
    } rows[] = {
        {"empty", "", "s.csv:1: the first line must be"},
        {"no header", "a.csv,2,train\n", "s.csv:1: the first line must be"},
        {"other header", "file,row,part\n", "s.csv:1: the first line must be"},
        {"fields", "file,line,part\na.csv,2\n", "s.csv:2: 2 fields, want 3"},
        {"part", "file,line,part\na.csv,2,train\na.csv,3,valid\n", "s.csv:3: column 3 (part)"},
        {"zero", "file,line,part\na.csv,0,train\n", "s.csv:2: column 2 (line)"},
        {"negative", "file,line,part\na.csv,-2,train\n", "s.csv:2: column 2 (line)"},
        {"word", "file,line,part\na.csv,two,train\n", "s.csv:2: column 2 (line)"},
        {"overlong", "file,line,part\na.csv,99999999999999999999999,train\n", "s.csv:2: column 2 (line)"},
        {"duplicate", "file,line,part\na.csv,3,train\na.csv,2,train\na.csv,3,test\n",
         "s.csv:4: line 3 of 'a.csv' stands already in line 2"},
        {"header line", "file,line,part\na.csv,1,train\n", "s.csv:2: line 1 of 'a.csv' begins no row"},
        {"blank line", "file,line,part\na.csv,2,train\na.csv,4,train\n", "s.csv:3: line 4 of 'a.csv' begins no row"},
        {"beyond", "file,line,part\na.csv,2,train\na.csv,7,train\n", "s.csv:3: line 7 of 'a.csv' is beyond"},
        {"another file", "file,line,part\nz.csv,2,train\n", "s.csv: names no row of 'a.csv'"},
        {"only test rows", "file,line,part\na.csv,2,test\n", "no training rows (4 read, 0 dropped"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_dataset *d = NULL;
        hanse_err err = {0};

        if (load(&d, rows[i].split, NULL, &err) != HANSE_E_INVALID)
            fail_msg("%s: not refused: %s", rows[i].name, err.text);
        assert_says(rows[i].name, &err, rows[i].says);
    }
}

static void by_hash(void **state)
{
    size_t tests = 0, moved = 0;

    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        hanse_bytes row = {(const uint8_t *)&i, sizeof i};
        hanse_part part = hanse_split_by_hash(7, 0.3, row);

        assert_int_equal(part, hanse_split_by_hash(7, 0.3, row));
        tests += part == HANSE_PART_TEST;
        moved += part != hanse_split_by_hash(8, 0.3, row);
        assert_int_equal(hanse_split_by_hash(7, 0, row), HANSE_PART_TRAIN);
        assert_int_equal(hanse_split_by_hash(7, 1, row), HANSE_PART_TEST);
    }
    assert_in_range(tests, 5800, 6200); /* 6000, sigma 65 */
    assert_in_range(moved, 8000, 8800); /* 2 * .3 * .7 of 20000 */
}

/* Quotes, line ends and another row's presence move nothing. */
static void hash_of_content(void **state)
{
    hanse_plan *plan = small_plan();
    char plain[4096] = "age,sugar,colour,ill\n", quoted[8192] = "age,sugar,colour,ill\r\n";
    hanse_dataset *d[2] = {NULL, NULL};
    hanse_err err = {0};

    (void)state;
    plan->data.test_share = 0.5;
    for (int i = 0; i < 60; i++) {
        snprintf(plain + strlen(plain), 64, "%d,2,red,no\n", i);
        snprintf(quoted + strlen(quoted), 64, "\"%d\",2,\"red\",no\r\n", i);
    }
    for (int i = 0; i < 2; i++) {
        const char *text = i == 0 ? plain : quoted;
        hanse_source_file file = {.path = fixture_write("a.csv", text, strlen(text))};
        hanse_source source = {.files = &file, .files_count = 1};

        assert_int_equal(hanse_dataset_load(&d[i], plan, &source, &err), HANSE_OK);
    }
    assert_int_equal(d[0]->test.count, d[1]->test.count);
    assert_in_range(d[0]->test.count, 15, 45);
    assert_memory_equal(d[0]->test.x, d[1]->test.x, d[0]->test.count * d[0]->dim * sizeof(float));
    hanse_dataset_free(d[0]);
    hanse_dataset_free(d[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_file), cmocka_unit_test(refuses), cmocka_unit_test(by_hash), cmocka_unit_test(hash_of_content),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
