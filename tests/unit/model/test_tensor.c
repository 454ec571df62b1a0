/* Layouts of plans, their comparison, the initial model's generator and the finite check. */
#include "hanse/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static hanse_err err;

static hanse_plan mlp_plan(void)
{
    hanse_plan plan = {.data = {.format = HANSE_DATA_IDX, .rows = 28, .cols = 28, .classes_count = 10},
                       .model = {.kind = HANSE_MODEL_MLP, .hidden = {200, 50}, .hidden_count = 2}};
    return plan;
}

static void test_layout_of_plan(void **state)
{
    (void)state;
    hanse_plan plan = mlp_plan();
    hanse_layout layout;
    static const struct { const char *name; size_t dims[2], dims_count, offset; } want[] = {
        {"layers.0.weight", {200, 784}, 2, 0},       {"layers.0.bias", {200}, 1, 156800},
        {"layers.1.weight", {50, 200}, 2, 157000},   {"layers.1.bias", {50}, 1, 167000},
        {"layers.2.weight", {10, 50}, 2, 167050},    {"layers.2.bias", {10}, 1, 167550},
    };

    assert_int_equal(hanse_layout_of_plan(&layout, &plan, &err), HANSE_OK);
    assert_int_equal(layout.count, 6);
    assert_int_equal(layout.parameters, 167560);
    for (size_t i = 0; i < 6; i++) {
        const hanse_tensor *tensor = &layout.tensors[i];
        assert_string_equal(tensor->name, want[i].name);
        assert_int_equal(tensor->dims_count, want[i].dims_count);
        assert_memory_equal(tensor->dims, want[i].dims, want[i].dims_count * sizeof(size_t));
        assert_int_equal(tensor->offset, want[i].offset);
        assert_ptr_equal(hanse_layout_find(&layout, tensor->offset), tensor);
        assert_ptr_equal(hanse_layout_find(&layout, tensor->offset + tensor->count - 1), tensor);
    }
    hanse_layout_clear(&layout);

    plan.model.kind = HANSE_MODEL_SOFTMAX;
    assert_int_equal(hanse_layout_of_plan(&layout, &plan, &err), HANSE_OK);
    assert_int_equal(layout.parameters, 7850);
    assert_string_equal(layout.tensors[0].name, "linear.weight");
    hanse_layout_clear(&layout);

    plan.model.kind = HANSE_MODEL_LOGISTIC;
    assert_int_equal(hanse_layout_of_plan(&layout, &plan, &err), HANSE_OK);
    assert_int_equal(layout.parameters, 785);
    assert_int_equal(layout.tensors[0].dims[0], 1);
    hanse_layout_clear(&layout);

    plan.model.kind = HANSE_MODEL_IDENTITY;
    plan.model.parameters = 12345;
    assert_int_equal(hanse_layout_of_plan(&layout, &plan, &err), HANSE_OK);
    assert_int_equal(layout.parameters, 12345);
    assert_string_equal(layout.tensors[0].name, "vector");
    hanse_layout_clear(&layout);

    plan.model.parameters = HANSE_PARAMETERS_MAX + 1;
    assert_int_equal(hanse_layout_of_plan(&layout, &plan, &err), HANSE_E_SHAPE);
    assert_int_equal(layout.count, 0);
}

static void test_add_refuses(void **state)
{
    (void)state;
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    char long_name[HANSE_TENSOR_NAME_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const struct { const char *name; size_t dims[HANSE_DIMS_MAX + 1], dims_count; } rows[] = {
        {"", {1}, 1}, {"a b", {1}, 1}, {"a\"", {1}, 1}, {"a\\", {1}, 1}, {"\x80", {1}, 1}, {"__metadata__", {1}, 1},
        {long_name, {1}, 1}, {"a", {1}, 0}, {"a", {1, 1, 1, 1, 1}, 5}, {"a", {0}, 1}, {"a", {3, 0}, 2},
        {"a", {SIZE_MAX, 2}, 2}, {"a", {(size_t)1 << 33, 2}, 2}, {"taken", {1}, 1},
    };

    assert_int_equal(hanse_layout_add(&layout, "taken", (size_t[]){2, 3}, 2, &err), HANSE_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (hanse_layout_add(&layout, rows[i].name, rows[i].dims, rows[i].dims_count, &err) != HANSE_E_SHAPE)
            fail_msg("row %zu (%s) was taken", i, rows[i].name);
        assert_int_equal(layout.count, 1);
        assert_int_equal(layout.parameters, 6);
    }
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_layout_add(&layout, "more", (size_t[]){1}, 1, &err), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    assert_int_equal(layout.count, 1);
    hanse_layout_clear(&layout);
    hanse_layout_clear(&layout);
    hanse_layout_clear(NULL);
}

static void test_same(void **state)
{
    (void)state;
    hanse_plan plan = mlp_plan();
    hanse_layout a, b;

    assert_int_equal(hanse_layout_of_plan(&a, &plan, &err), HANSE_OK);
    assert_int_equal(hanse_layout_of_plan(&b, &plan, &err), HANSE_OK);
    assert_int_equal(hanse_layout_same(&a, &b, &err), HANSE_OK);
    hanse_layout_clear(&b);

    plan.model.hidden[1] = 51;
    assert_int_equal(hanse_layout_of_plan(&b, &plan, &err), HANSE_OK);
    assert_int_equal(hanse_layout_same(&a, &b, &err), HANSE_E_SHAPE);
    assert_string_equal(err.text, "tensor 2 is layers.1.weight [50,200], want layers.1.weight [51,200]");
    hanse_layout_clear(&b);

    plan = mlp_plan();
    assert_int_equal(hanse_layout_of_plan(&b, &plan, &err), HANSE_OK);
    assert_int_equal(hanse_layout_add(&b, "extra", (size_t[]){1}, 1, &err), HANSE_OK);
    assert_int_equal(hanse_layout_same(&a, &b, &err), HANSE_E_SHAPE);
    assert_string_equal(err.text, "6 tensors, want 7: extra is missing");
    assert_int_equal(hanse_layout_same(&b, &a, &err), HANSE_E_SHAPE);
    assert_string_equal(err.text, "7 tensors, want 6: extra is unknown");
    hanse_layout_clear(&b);
    hanse_layout_clear(&a);
}

/* splitmix64 as published, with its running state: the oracle of the random-access form. */
static uint64_t splitmix_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void test_init_values(void **state)
{
    (void)state;
    hanse_plan plan = mlp_plan();
    hanse_layout layout;
    uint64_t seed = 42, s = 1234567;

    assert_true(splitmix_next(&s) == UINT64_C(6457827717110365317)); /* published vector */
    assert_int_equal(hanse_layout_of_plan(&layout, &plan, &err), HANSE_OK);
    size_t P = layout.parameters;
    float *all = hanse_calloc(P, sizeof *all), *parts = hanse_calloc(P, sizeof *parts);
    assert_non_null(all);
    assert_non_null(parts);

    hanse_layout_init_values(&layout, seed, 0, P, all);
    for (size_t first = 0; first < P; first += 1013)
        hanse_layout_init_values(&layout, seed, first, P - first < 1013 ? P - first : 1013, parts + first);
    assert_memory_equal(all, parts, P * sizeof *all);

    s = seed;
    s = splitmix_next(&s);
    for (size_t i = 0; i < P; i++) {
        size_t fan_in = i < 157000 ? 784 : i < 167050 ? 200 : 50;
        double bound = 1 / sqrt((double)fan_in), u = (double)(splitmix_next(&s) >> 40);
        float want = (float)(((2 * u + 1) / 16777216.0 - 1) * bound);
        if (memcmp(&all[i], &want, sizeof want) != 0)
            fail_msg("value %zu is %g, want %g", i, (double)all[i], (double)want);
        assert_true(fabs((double)all[i]) <= bound);
    }
    double mean = 0, square = 0;
    for (size_t i = 0; i < 156800; i++) {
        mean += (double)all[i] / 156800;
        square += (double)all[i] * (double)all[i] / 156800;
    }
    assert_true(fabs(mean) < 3e-4);                      /* 5.8 sigma */
    assert_true(fabs(square * 3 * 784 - 1) < 0.02);      /* variance of U(-b, b) is b^2/3 */

    hanse_layout_init_values(&layout, seed + 1, 0, P, parts);
    size_t equal = 0;
    for (size_t i = 0; i < P; i++)
        equal += all[i] == parts[i];
    assert_true(equal < 10);
    hanse_free(all);
    hanse_free(parts);
    hanse_layout_clear(&layout);
}

static void test_nonfinite(void **state)
{
    (void)state;
    static float values[1500];
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    const size_t where[] = {0, 1, 255, 256, 511, 1023, 1024, 1499};

    for (size_t i = 0; i < 1500; i++)
        values[i] = i % 2 == 0 ? -3.4028234663852886e38f : 1e-45f;
    assert_int_equal(hanse_floats_nonfinite(values, 1500), 1500);
    assert_int_equal(hanse_floats_nonfinite(values, 0), 0);
    for (size_t i = 0; i < sizeof where / sizeof *where; i++)
        for (size_t k = 0; k < 4; k++) {
            float kept = values[where[i]];
            values[where[i]] = bad[k];
            assert_int_equal(hanse_floats_nonfinite(values, 1500), where[i]);
            values[where[i]] = kept;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_of_plan), cmocka_unit_test(test_add_refuses),  cmocka_unit_test(test_same),
        cmocka_unit_test(test_init_values),    cmocka_unit_test(test_nonfinite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
