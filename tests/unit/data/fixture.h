/* fixture.h - temporary files, and a plan of the heart disease columns built by hand. */
#ifndef HANSE_TEST_DATA_FIXTURE_H
#define HANSE_TEST_DATA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/data/dataset.h"
#include "tests/support/real_data.h"

static char fixture_dir[64];

static inline int fixture_open(void **state)
{
    (void)state;
    snprintf(fixture_dir, sizeof fixture_dir, "/tmp/hanse-data-XXXXXX");
    return mkdtemp(fixture_dir) == NULL;
}

static inline int fixture_close(void **state)
{
    (void)state;
    static const char *const names[] = {"a.csv", "b.csv", "s.csv", "p.idx", "l.idx", "p.gz",
                                        "north.csv", "east.csv", "south.csv", "west.csv"};
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture_dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(fixture_dir);
}

/* The path of `name` in the fixture's directory; four may be in use at once. */
static inline const char *fixture_path(const char *name)
{
    static char paths[4][128];
    static int at;
    char *path = paths[at++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", fixture_dir, name);
    return path;
}

static inline const char *fixture_write(const char *name, const void *data, size_t len)
{
    const char *path = fixture_path(name);
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline void assert_says(const char *name, const hanse_err *err, const char *part)
{
    if (strstr(err->text, part) == NULL)
        fail_msg("%s: '%s' lacks '%s'", name, err->text, part);
}

static inline hanse_feature numeric(const char *name, double low, double high, hanse_missing missing)
{
    hanse_feature f = {.kind = HANSE_FEATURE_NUMERIC, .low = low, .high = high, .missing = missing, .std = 1};

    snprintf(f.name, sizeof f.name, "%s", name);
    return f;
}

static inline hanse_feature categorical(const char *name, char **levels, size_t count, hanse_missing missing)
{
    hanse_feature f = {.kind = HANSE_FEATURE_CATEGORICAL, .vocabulary = levels, .vocabulary_count = count,
                       .missing = missing, .drop_first = true};

    snprintf(f.name, sizeof f.name, "%s", name);
    return f;
}

enum { HEART_DIM = 13 };

/* The ten columns and the target of the benchmark; static, one at a time. */
static inline hanse_plan *heart_plan(void)
{
    static const char *const names[] = {"age", "sex", "cp", "trestbps", "chol", "fbs", "restecg",
                                        "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num"};
    static char *cp[] = {"1", "2", "3", "4"}, *restecg[] = {"0", "1", "2"};
    static hanse_name columns[14];
    static hanse_feature features[10];
    static hanse_plan plan;

    for (size_t i = 0; i < 14; i++)
        snprintf(columns[i], sizeof columns[i], "%s", names[i]);
    features[0] = numeric("age", 0, 120, HANSE_MISSING_DROP);
    features[1] = numeric("sex", 0, 1, HANSE_MISSING_DROP);
    features[2] = numeric("trestbps", 0, 300, HANSE_MISSING_DROP);
    features[3] = numeric("chol", 0, 700, HANSE_MISSING_DROP);
    features[4] = numeric("fbs", 0, 1, HANSE_MISSING_DROP);
    features[5] = numeric("thalach", 0, 250, HANSE_MISSING_DROP);
    features[6] = numeric("exang", 0, 1, HANSE_MISSING_DROP);
    features[7] = numeric("oldpeak", -5, 10, HANSE_MISSING_DROP);
    features[8] = categorical("cp", cp, 4, HANSE_MISSING_DROP);
    features[9] = categorical("restecg", restecg, 3, HANSE_MISSING_DROP);
    memset(&plan, 0, sizeof plan);
    snprintf(plan.data.name, sizeof plan.data.name, "heart");
    snprintf(plan.data.target, sizeof plan.data.target, "num");
    plan.data.format = HANSE_DATA_CSV;
    plan.data.columns = columns;
    plan.data.columns_count = 14;
    plan.data.features = features;
    plan.data.features_count = 10;
    plan.data.has_positive_above = true;
    plan.data.classes_count = 2;
    plan.scaling = HANSE_SCALING_SITE;
    plan.scale_categorical = true;
    return &plan;
}

/* age (0..100, refuse), sugar (0..10, mean), colour (red green blue, first dropped, refuse); target in {no, yes}. Header. */
static inline hanse_plan *small_plan(void)
{
    static char *colours[] = {"red", "green", "blue"}, *classes[] = {"no", "yes"};
    static hanse_feature features[3];
    static hanse_plan plan;

    features[0] = numeric("age", 0, 100, HANSE_MISSING_REFUSE);
    features[1] = numeric("sugar", 0, 10, HANSE_MISSING_MEAN);
    features[2] = categorical("colour", colours, 3, HANSE_MISSING_REFUSE);
    memset(&plan, 0, sizeof plan);
    snprintf(plan.data.name, sizeof plan.data.name, "small");
    snprintf(plan.data.target, sizeof plan.data.target, "ill");
    plan.data.format = HANSE_DATA_CSV;
    plan.data.features = features;
    plan.data.features_count = 3;
    plan.data.classes = classes;
    plan.data.classes_count = 2;
    plan.scaling = HANSE_SCALING_SITE;
    return &plan;
}

static inline hanse_plan *picture_plan(size_t rows, size_t cols, size_t classes_count)
{
    static hanse_plan plan;

    memset(&plan, 0, sizeof plan);
    plan.data.format = HANSE_DATA_IDX;
    plan.data.rows = rows;
    plan.data.cols = cols;
    plan.data.classes_count = classes_count;
    plan.scaling = HANSE_SCALING_NONE;
    return &plan;
}

#endif
