#include "tests/unit/data/fixture.h"

#include <math.h>

#define HEADER "age,sugar,colour,ill\n"
#define GOOD HEADER "30,5,red,no\n40,?,green,yes\n"

static hanse_rc load(hanse_dataset **out, const hanse_plan *plan, const char *text, size_t len, hanse_source source,
                     hanse_err *err)
{
    hanse_source_file file = {.path = fixture_write("a.csv", text, len), .part = HANSE_PART_TRAIN};

    source.files = &file;
    source.files_count = 1;
    return hanse_dataset_load(out, plan, &source, err);
}

static void encodes(void **state)
{
    hanse_plan *plan = small_plan();
    hanse_dataset *d = NULL;
    hanse_err err = {0};
    static const char text[] = "extra,ill,colour,sugar,age\nx,yes,blue,2.5,-7\ny,no,red,NA,1e2\n\n\"z\nz\",no,green,,.5\n";

    (void)state;
    if (load(&d, plan, text, sizeof text - 1, (hanse_source){0}, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(d->dim, 4);
    assert_int_equal(d->train.count, 3);
    assert_int_equal(d->test.count, 0);
    assert_int_equal(d->train.clipped, 1);
    assert_int_equal(d->cells_missing, 2);
    assert_int_equal(d->rows_read, 3);
    static const float want[3][4] = {{0, 2.5f, 0, 1}, {100, NAN, 0, 0}, {.5f, NAN, 1, 0}};
    for (size_t i = 0; i < 12; i++) {
        float w = want[i / 4][i % 4];

        assert_true(isnan(w) ? isnan(d->train.x[i]) : d->train.x[i] == w);
    }
    assert_int_equal(d->train.y[0], 1);
    assert_int_equal(d->train.y[1], 0);
    assert_int_equal(d->train.lines[0], 2);
    assert_int_equal(d->train.lines[2], 5);
    hanse_dataset_free(d);
}

static void policies(void **state)
{
    hanse_plan *plan = small_plan();
    hanse_feature *f = plan->data.features;
    hanse_dataset *d = NULL;
    hanse_err err = {0};
    static const char text[] = HEADER "30,?,pink,no\n?,5,red,no\n40,5,?,yes\n50,5,GREEN,no\n";

    (void)state;
    f[0].missing = HANSE_MISSING_DROP;
    f[1].missing = HANSE_MISSING_VALUE;
    f[1].fill = 7;
    f[2].missing = HANSE_MISSING_MEAN;
    f[2].unknown = HANSE_UNKNOWN_BUCKET;
    assert_int_equal(load(&d, plan, text, sizeof text - 1, (hanse_source){0}, &err), HANSE_OK);
    assert_int_equal(d->dim, 5); /* age sugar green blue other */
    assert_int_equal(d->rows_dropped, 1);
    assert_int_equal(d->cells_unknown, 2);
    assert_int_equal(d->cells_missing, 2);
    assert_true(d->train.x[1] == 7.0f);
    assert_true(d->train.x[2] == 0 && d->train.x[3] == 0 && d->train.x[4] == 1);
    assert_true(isnan(d->train.x[7]) && isnan(d->train.x[8]) && isnan(d->train.x[9]));
    hanse_dataset_free(d);
    f[2].unknown = HANSE_UNKNOWN_ZEROS;
    f[2].drop_first = false;
    assert_int_equal(load(&d, plan, text, sizeof text - 1, (hanse_source){0}, &err), HANSE_OK);
    assert_int_equal(d->dim, 5);
    assert_true(d->train.x[2] == 0 && d->train.x[3] == 0 && d->train.x[4] == 0);
    hanse_dataset_free(d);
}

static void without_bounds(void **state)
{
    hanse_plan *plan = small_plan();
    hanse_dataset *d = NULL;
    hanse_scale scale = {0};
    hanse_err err = {0};
    static const char huge[] = HEADER "1e39,5,red,no\n", fits[] = HEADER "-1e38,?,red,no\n";

    (void)state;
    plan->scaling = HANSE_SCALING_NONE;
    for (size_t f = 0; f < 2; f++) {
        plan->data.features[f].low = -INFINITY;
        plan->data.features[f].high = INFINITY;
    }
    assert_int_equal(load(&d, plan, huge, sizeof huge - 1, (hanse_source){0}, &err), HANSE_E_INVALID);
    assert_says("huge", &err, "a.csv:2: column 1 (age): too large");
    assert_int_equal(load(&d, plan, fits, sizeof fits - 1, (hanse_source){0}, &err), HANSE_OK);
    assert_int_equal(hanse_scale_from_site(&scale, plan, d, &err), HANSE_OK);
    assert_int_equal(hanse_dataset_scale(d, plan, &scale, &err), HANSE_OK);
    assert_true(d->train.x[0] == -1e38f && d->train.x[1] == 0.0f); /* nobody has sugar */
    hanse_scale_clear(&scale);
    hanse_dataset_free(d);
}

static void refuses(void **state)
{
    static const struct {
        const char *name, *text;
        const char *where, *what;
    } rows[] = {
        {"too few fields", HEADER "1,2,red\n", "a.csv:2: column 3", "3 fields, want 4"},
        {"too many fields", HEADER "1,2,red,no\n1,2,red,no,5\n", "a.csv:3: column 5", "5 fields, want 4"},
        {"word", HEADER "old,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"decimal comma", HEADER "\"1,5\",2,red,no\n", "a.csv:2: column 1 (age)", "a point"},
        {"hex", HEADER "0x10,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"nan", HEADER "nan,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"infinity", HEADER "inf,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"overflow", HEADER "1e999,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"sign alone", HEADER "-,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"point alone", HEADER ".,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"empty exponent", HEADER "1e,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"unit", HEADER "5 mg,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"two points", HEADER "1.2.3,2,red,no\n", "a.csv:2: column 1 (age)", "not a number"},
        {"second column", HEADER "1,x,red,no\n", "a.csv:2: column 2 (sugar)", "not a number"},
        {"missing refused", HEADER "1,2,red,no\n?,2,red,no\n", "a.csv:3: column 1 (age)", "missing"},
        {"empty refused", HEADER ",2,red,no\n", "a.csv:2: column 1 (age)", "missing"},
        {"missing level", HEADER "1,2,NA,no\n", "a.csv:2: column 3 (colour)", "missing"},
        {"unknown level", HEADER "1,2,pink,no\n", "a.csv:2: column 3 (colour)", "vocabulary"},
        {"case matters", HEADER "1,2,Red,no\n", "a.csv:2: column 3 (colour)", "vocabulary"},
        {"unknown class", HEADER "1,2,red,maybe\n", "a.csv:2: column 4 (ill)", "not a class"},
        {"missing target", HEADER "1,2,red,?\n", "a.csv:2: column 4 (ill)", "target is missing"},
        {"not utf-8", HEADER "1,2,r\xe9" "d,no\n", "a.csv:2: column 3 (colour)", "UTF-8"},
        {"number not utf-8", HEADER "\xff,2,red,no\n", "a.csv:2: column 1 (age)", "UTF-8"},
        {"quote", HEADER "1,2\",red,no\n", "a.csv:2: column 2", "quote"},
        {"after newline in quotes", HEADER "1,2,\"red\n\",no\n9,x,red,no\n", "a.csv:2: column 3 (colour)", "vocabulary"},
        {"no such column", "age,sugar,ill\n1,2,no\n", "a.csv", "no column 'colour' among the 3 of the header"},
        {"no target column", "age,sugar,colour\n1,2,red\n", "a.csv", "no column 'ill'"},
        {"column twice", "age,age,sugar,colour,ill\n", "a.csv:1: columns 1 and 2", "both called 'age'"},
        {"only a header", HEADER, "a.csv", "no training rows (0 read"},
        {"empty file", "", "a.csv", "empty, want a header"},
        {"wrong delimiter", "age;sugar;colour;ill\n1;2;red;no\n", "a.csv", "no column 'age' among the 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_dataset *d = NULL;
        hanse_err err = {0};
        hanse_rc rc = load(&d, small_plan(), rows[i].text, strlen(rows[i].text), (hanse_source){0}, &err);

        if (rc != HANSE_E_INVALID || d != NULL)
            fail_msg("%s: rc %d", rows[i].name, rc);
        assert_says(rows[i].name, &err, rows[i].where);
        assert_says(rows[i].name, &err, rows[i].what);
    }
}

static void sources(void **state)
{
    static const char *const marks[] = {"-9"};
    hanse_plan *plan = small_plan();
    hanse_source_file two[2] = {{.part = HANSE_PART_TRAIN}, {.part = HANSE_PART_TEST}};
    hanse_source source = {.files = two, .files_count = 2};
    hanse_dataset *d = NULL;
    hanse_err err = {0};

    (void)state;
    two[0].path = fixture_write("a.csv", GOOD, sizeof GOOD - 1);
    two[1].path = fixture_write("b.csv", GOOD, sizeof GOOD - 1);
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_OK);
    assert_int_equal(d->train.count, 2);
    assert_int_equal(d->test.count, 2);
    hanse_dataset_free(d);
    d = NULL;
    two[1].part = HANSE_PART_TRAIN; /* one class only, no test part: legal */
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_OK);
    assert_int_equal(d->train.count, 4);
    hanse_dataset_free(d);
    d = NULL;
    two[1].path = "/nonexistent/x.csv";
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_E_NOTFOUND);
    assert_says("absent", &err, "/nonexistent/x.csv");
    two[1].path = fixture_dir;
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_E_INVALID);
    assert_says("directory", &err, "not a regular file");
    source.files_count = 0;
    assert_int_equal(hanse_dataset_load(&d, plan, &source, &err), HANSE_E_INVALID);

    static const char semi[] = "age;sugar;colour;ill\n1;-9;red;no\n";
    source = (hanse_source){.delimiter = ';', .missing = marks, .missing_count = 1};
    assert_int_equal(load(&d, plan, semi, sizeof semi - 1, source, &err), HANSE_OK);
    assert_true(isnan(d->train.x[1]));
    hanse_dataset_free(d);
    d = NULL;
    static const char bare[] = "1,2,red\n";
    source = (hanse_source){.header = HANSE_HEADER_NO};
    assert_int_equal(load(&d, plan, bare, sizeof bare - 1, source, &err), HANSE_E_INVALID);
    assert_says("no header", &err, "the plan lists no columns");
    static const char predict[] = "colour,sugar,age\nblue,1,2\nred,3,4\n";
    source = (hanse_source){.unlabelled = true};
    assert_int_equal(load(&d, plan, predict, sizeof predict - 1, source, &err), HANSE_OK);
    assert_int_equal(d->test.count, 2);
    assert_int_equal(d->test.lines[1], 3);
    hanse_dataset_free(d);
    d = NULL;
    plan->data.format = HANSE_DATA_NONE;
    assert_int_equal(hanse_dataset_load(&d, plan, &(hanse_source){0}, &err), HANSE_OK);
    assert_int_equal(d->dim + d->train.count, 0);
    hanse_dataset_free(d);
    hanse_dataset_free(NULL);
}

static void allocations(void **state)
{
    hanse_rc rc = HANSE_E_NOMEM;
    long k = 0;

    (void)state;
    for (; rc != HANSE_OK && k < 200; k++) {
        hanse_dataset *d = NULL;
        hanse_err err = {0};
        const char *path = fixture_write("a.csv", GOOD, sizeof GOOD - 1);
        const char *split = fixture_write("s.csv", "file,line,part\na.csv,2,train\na.csv,3,test\n", 42);
        hanse_source_file file = {.path = path};
        hanse_source source = {.files = &file, .files_count = 1, .split_path = split};

        hanse_alloc_fail_at(k);
        rc = hanse_dataset_load(&d, small_plan(), &source, &err);
        hanse_alloc_fail_at(-1);
        if (rc != HANSE_OK && rc != HANSE_E_NOMEM)
            fail_msg("allocation %ld: %s", k, err.text);
        assert_true((rc == HANSE_OK) == (d != NULL));
        hanse_dataset_free(d);
    }
    assert_in_range(k, 10, 199);
}

static void heart(void **state)
{
    static const struct {
        const char *file;
        size_t train, test, rows;
    } sites[] = {{"processed.cleveland.data", 199, 104, 303}, {"processed.hungarian.data", 172, 89, 294},
                 {"processed.switzerland.data", 30, 16, 123}, {"processed.va.data", 85, 45, 200}};
    char path[512], split[512], name[128];

    (void)state;
    real_data(split, "heart-disease/split.csv");
    for (size_t i = 0; i < 4; i++) {
        hanse_source_file file = {0};
        hanse_source source = {.files = &file, .files_count = 1, .split_path = split};
        hanse_dataset *d = NULL;
        hanse_err err = {0};

        snprintf(name, sizeof name, "heart-disease/%s", sites[i].file);
        file.path = real_data(path, name);
        if (hanse_dataset_load(&d, heart_plan(), &source, &err) != HANSE_OK)
            fail_msg("%s", err.text);
        assert_int_equal(d->dim, HEART_DIM);
        assert_int_equal(d->train.count, sites[i].train);
        assert_int_equal(d->test.count, sites[i].test);
        assert_int_equal(d->rows_read, sites[i].rows);
        assert_int_equal(d->rows_dropped + d->train.clipped + d->test.clipped, 0);
        hanse_dataset_free(d);
        source.split_path = NULL; /* the other rows are dropped for missing values */
        assert_int_equal(hanse_dataset_load(&d, heart_plan(), &source, &err), HANSE_OK);
        assert_int_equal(d->train.count + d->test.count, sites[i].train + sites[i].test);
        assert_int_equal(d->rows_dropped, sites[i].rows - sites[i].train - sites[i].test);
        hanse_dataset_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes), cmocka_unit_test(policies),    cmocka_unit_test(refuses),
        cmocka_unit_test(sources), cmocka_unit_test(allocations), cmocka_unit_test(heart),
        cmocka_unit_test(without_bounds),
    };

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
