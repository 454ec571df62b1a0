/* The trainer through files: known answers, determinism, weights, learning, refusals. */
#include "fixture.h"

#include "tests/vectors/train_regression.h"

static char dir[] = "/tmp/hanse-train-XXXXXX";
static hanse_path in, out, other;

static int make_dir(void **state)
{
    hanse_err err;

    (void)state;
    return mkdtemp(dir) == NULL || hanse_path_join(in, dir, "in.safetensors", &err) != HANSE_OK
           || hanse_path_join(out, dir, "out.safetensors", &err) != HANSE_OK
           || hanse_path_join(other, dir, "other.safetensors", &err) != HANSE_OK;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(in);
    unlink(out);
    unlink(other);
    return rmdir(dir); /* fails when a temporary file was left behind */
}

static int clean(void **state)
{
    (void)state;
    unlink(in);
    unlink(out);
    unlink(other);
    return 0;
}

/* Put `values` (NULL: the plan's initial model) at `path`. */
static void write_model(const char *path, const hanse_plan *plan, const float *values)
{
    hanse_err err;
    hanse_layout layout;
    hanse_model_meta meta = {.run = {9}, .round = 4};

    ASSERT_RC(HANSE_OK, hanse_layout_of_plan(&layout, plan, &err));
    if (values != NULL)
        ASSERT_RC(HANSE_OK, hanse_model_write(path, &layout, &meta, values, false, &err));
    else
        ASSERT_RC(HANSE_OK, hanse_model_write_initial(path, &layout, &meta, plan->train.seed, false, &err));
    hanse_layout_clear(&layout);
}

static float *read_model(const char *path, size_t *count, hanse_model_meta *meta)
{
    hanse_err err;
    hanse_model_file file;

    ASSERT_RC(HANSE_OK, hanse_model_open(&file, path, &err));
    float *values = calloc(file.layout.parameters, sizeof *values);
    assert_non_null(values);
    ASSERT_RC(HANSE_OK, hanse_model_read(&file, 0, values, file.layout.parameters, &err));
    *count = file.layout.parameters;
    if (meta != NULL)
        *meta = file.meta;
    hanse_model_close(&file);
    return values;
}

static void known_answer(const hanse_plan *plan, const float *x, const uint32_t *y, size_t rows, const float *start,
                         const float *end, size_t parameters, double loss)
{
    hanse_err err;
    hanse_trainer *trainer;
    hanse_trained trained;
    hanse_model_meta meta;
    hanse_dataset set = {.dim = plan->data.cols, .classes_count = plan->data.classes_count, .scaled = true};
    size_t count;

    set.train = (hanse_rows){.x = (float *)(uintptr_t)x, .y = (uint32_t *)(uintptr_t)y, .count = rows};
    write_model(in, plan, start);
    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, plan, &set, &err));
    for (int again = 0; again < 2; again++) { /* the second time finds no state of the first */
        ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, in, out, 7, 1, NULL, &trained, &err));
        float *got = read_model(out, &count, &meta);
        assert_int_equal(count, parameters);
        for (size_t i = 0; i < count; i++)
            ASSERT_NEAR(got[i], end[i], 2e-5);
        free(got);
    }
    ASSERT_NEAR(trained.loss, loss, 1e-5);
    assert_int_equal(trained.rows, rows);
    assert_int_equal(trained.steps, plan->train.epochs);
    assert_int_equal(meta.round, 7);
    assert_int_equal(meta.run[0], 9);
    assert_memory_equal(meta.plan_hash, plan->hash, 32);
    hanse_trainer_free(trainer);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void matches_python(void **state)
{
    hanse_plan logistic = fixture_plan(HANSE_MODEL_LOGISTIC, 5, 2), mlp = fixture_plan(HANSE_MODEL_MLP, 3, 3);

    (void)state;
    logistic.hash[3] = 3;
    logistic.train.batch = 7;
    logistic.train.epochs = 12;
    logistic.train.momentum = 0.9;
    logistic.train.l2 = 0.01;
    known_answer(&logistic, logistic_x, logistic_y, COUNT(logistic_y), logistic_start, logistic_end, COUNT(logistic_end),
                 logistic_loss);
    mlp.model.hidden_count = 2;
    mlp.model.hidden[0] = 4;
    mlp.model.hidden[1] = 5;
    mlp.train.optimiser = HANSE_OPTIMISER_ADAM;
    mlp.train.rate = 0.03;
    mlp.train.l2 = 0.02;
    mlp.train.batch = 100; /* more than there are rows */
    mlp.train.epochs = 10;
    known_answer(&mlp, mlp_x, mlp_y, COUNT(mlp_y), mlp_start, mlp_end, COUNT(mlp_end), mlp_loss);
}

static hanse_plan toy_plan(hanse_model_kind kind, size_t classes)
{
    hanse_plan plan = fixture_plan(kind, 8, classes);

    plan.train.epochs = 20;
    if (kind == HANSE_MODEL_MLP) {
        plan.model.hidden_count = 1;
        plan.model.hidden[0] = 16;
        plan.train.optimiser = HANSE_OPTIMISER_ADAM;
        plan.train.rate = 0.01;
    }
    return plan;
}

static void learns(void **state)
{
    static const struct {
        hanse_model_kind kind;
        size_t classes;
    } rows[] = {{HANSE_MODEL_LOGISTIC, 2}, {HANSE_MODEL_SOFTMAX, 4}, {HANSE_MODEL_MLP, 4}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        hanse_err err;
        hanse_trainer *trainer;
        hanse_trained trained;
        hanse_metrics before, after;
        hanse_plan plan = toy_plan(rows[i].kind, rows[i].classes);
        hanse_dataset set = fixture_rows(1500, 8, rows[i].classes, 11); /* 300 test rows: two batches of the evaluation */

        write_model(in, &plan, NULL);
        ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, &set, &err));
        ASSERT_RC(HANSE_OK, hanse_trainer_evaluate(trainer, in, NULL, &before, &err));
        ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, in, in, 1, 1, NULL, &trained, &err)); /* in place */
        ASSERT_RC(HANSE_OK, hanse_trainer_evaluate(trainer, in, NULL, &after, &err));
        assert_int_equal(after.samples, 300);
        assert_int_equal(after.classes_count, rows[i].classes);
        assert_true(hanse_metrics_accuracy(&after) > 0.95);
        assert_true(hanse_metrics_loss(&after) < hanse_metrics_loss(&before));
        assert_true(hanse_metrics_auc(&after) > 0.97);
        hanse_metrics_clear(&before);
        hanse_metrics_clear(&after);
        hanse_trainer_free(trainer);
        fixture_rows_free(&set);
    }
}

static void same_seed_same_bits(void **state)
{
    hanse_err err;
    hanse_trainer *trainer;
    hanse_trained trained;
    hanse_plan plan = toy_plan(HANSE_MODEL_MLP, 4);
    hanse_dataset set = fixture_rows(300, 8, 4, 11);
    static const struct {
        uint64_t round, site;
        bool same;
    } rows[] = {{1, 1, true}, {2, 1, false}, {1, 2, false}, {1, 1, true}};
    size_t count;

    (void)state;
    write_model(in, &plan, NULL);
    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, &set, &err));
    ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, in, out, 1, 1, NULL, &trained, &err));
    hanse_trainer_free(trainer);
    float *first = read_model(out, &count, NULL);
    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, &set, &err));
    for (size_t i = 0; i < COUNT(rows); i++) {
        ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, in, other, rows[i].round, rows[i].site, NULL, &trained, &err));
        float *got = read_model(other, &count, NULL);
        assert_int_equal(memcmp(first, got, count * sizeof *got) == 0, rows[i].same);
        free(got);
    }
    free(first);
    hanse_trainer_free(trainer);
    fixture_rows_free(&set);
}

static void weight_counts_distinct_rows(void **state)
{
    static const struct {
        uint64_t epochs, steps, batch, rows, want_steps;
    } rows[] = {{1, 0, 8, 199, 25}, {3, 0, 8, 199, 75}, {0, 100, 4, 199, 100}, {0, 10, 4, 40, 10},
                {0, 50, 4, 199, 50}, {0, 49, 4, 196, 49}, {0, 1, 500, 199, 1}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        hanse_err err;
        hanse_trainer *trainer;
        hanse_trained trained;
        hanse_plan plan = fixture_plan(HANSE_MODEL_LOGISTIC, 13, 2);
        hanse_dataset set = fixture_rows(249, 13, 2, 3); /* 199 of them train */

        plan.train.epochs = rows[i].epochs;
        plan.train.steps = rows[i].steps;
        plan.train.batch = rows[i].batch;
        write_model(in, &plan, NULL);
        ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, &set, &err));
        ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, in, out, 1, 1, NULL, &trained, &err));
        assert_int_equal(trained.rows, rows[i].rows);
        assert_int_equal(trained.steps, rows[i].want_steps);
        hanse_trainer_free(trainer);
        fixture_rows_free(&set);
    }
}

/* Nothing may appear at `out`, and the error must say what and where. */
static void refuses_training(hanse_trainer *trainer, hanse_rc want, const char *words)
{
    hanse_err err;
    hanse_trained trained = {.rows = 77};

    ASSERT_RC(want, hanse_trainer_train(trainer, in, out, 1, 1, NULL, &trained, &err));
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_int_equal(trained.rows, 77);
    assert_false(hanse_file_exists(out));
}

static void bad_models_are_refused(void **state)
{
    hanse_err err;
    hanse_trainer *trainer;
    hanse_metrics metrics;
    hanse_plan plan = fixture_plan(HANSE_MODEL_SOFTMAX, 8, 4), wrong = fixture_plan(HANSE_MODEL_SOFTMAX, 8, 3);
    hanse_dataset set = fixture_rows(100, 8, 4, 11);
    float values[36] = {0};

    (void)state;
    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, &set, &err));
    refuses_training(trainer, HANSE_E_NOTFOUND, "in.safetensors");
    write_model(in, &wrong, NULL);
    refuses_training(trainer, HANSE_E_SHAPE, "linear.weight");
    ASSERT_RC(HANSE_E_SHAPE, hanse_trainer_evaluate(trainer, in, NULL, &metrics, &err));
    values[33] = NAN;
    write_model(in, &plan, values);
    refuses_training(trainer, HANSE_E_NONFINITE, "value 1 of tensor linear.bias");
    ASSERT_RC(HANSE_E_NONFINITE, hanse_trainer_evaluate(trainer, in, NULL, &metrics, &err));
    values[33] = INFINITY;
    write_model(in, &plan, values);
    refuses_training(trainer, HANSE_E_NONFINITE, "linear.bias");
    ASSERT_RC(HANSE_OK, hanse_file_write(in, hanse_bytes_str("no model at all"), 0600, &err));
    refuses_training(trainer, HANSE_E_INVALID, "in.safetensors");
    hanse_trainer_free(trainer);

    plan.train.rate = 1e300; /* infinite as float */
    plan.train.epochs = 3;
    write_model(in, &plan, NULL);
    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, &set, &err));
    refuses_training(trainer, HANSE_E_NONFINITE, "not finite at step 2");
    hanse_trainer_free(trainer);
    fixture_rows_free(&set);
}

static void divergence_at_the_last_step_is_seen(void **state)
{
    hanse_err err;
    hanse_trainer *trainer;
    hanse_plan plan = fixture_plan(HANSE_MODEL_SOFTMAX, 8, 4);
    hanse_dataset set = fixture_rows(100, 8, 4, 11);

    (void)state;
    plan.train.rate = 1e300; /* infinite as float: the loss of the only step is still finite */
    plan.train.epochs = 0;
    plan.train.steps = 1;
    write_model(in, &plan, NULL);
    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, &set, &err));
    refuses_training(trainer, HANSE_E_NONFINITE, "after training");
    hanse_trainer_free(trainer);
    fixture_rows_free(&set);
}

static void stops_between_batches(void **state)
{
    hanse_err err;
    hanse_trainer *trainer;
    hanse_trained trained;
    hanse_metrics metrics;
    atomic_bool stop = true;
    hanse_plan plan = fixture_plan(HANSE_MODEL_SOFTMAX, 8, 4);
    hanse_dataset set = fixture_rows(100, 8, 4, 11);

    (void)state;
    write_model(in, &plan, NULL);
    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, &set, &err));
    ASSERT_RC(HANSE_E_AGAIN, hanse_trainer_train(trainer, in, out, 1, 1, &stop, &trained, &err));
    ASSERT_RC(HANSE_E_AGAIN, hanse_trainer_evaluate(trainer, in, &stop, &metrics, &err));
    assert_false(hanse_file_exists(out));
    stop = false;
    ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, in, out, 1, 1, &stop, &trained, &err));
    hanse_trainer_free(trainer);
    fixture_rows_free(&set);
}

static void open_checks_the_dataset(void **state)
{
    hanse_err err;
    hanse_trainer *trainer = NULL;
    hanse_plan plan = fixture_plan(HANSE_MODEL_SOFTMAX, 8, 4);
    hanse_dataset set = fixture_rows(100, 8, 4, 11);

    (void)state;
    ASSERT_RC(HANSE_E_USAGE, hanse_trainer_open(&trainer, &plan, NULL, &err));
    set.scaled = false;
    ASSERT_RC(HANSE_E_USAGE, hanse_trainer_open(&trainer, &plan, &set, &err));
    set.scaled = true;
    set.dim = 7;
    ASSERT_RC(HANSE_E_INVALID, hanse_trainer_open(&trainer, &plan, &set, &err));
    set.dim = 8;
    set.train.y[3] = 4;
    ASSERT_RC(HANSE_E_INVALID, hanse_trainer_open(&trainer, &plan, &set, &err));
    set.train.y[3] = 0;
    assert_null(trainer);
    hanse_rc rc = HANSE_E_NOMEM;
    for (long k = 0; rc == HANSE_E_NOMEM; k++) {
        assert_true(k < 40);
        hanse_alloc_fail_at(k);
        rc = hanse_trainer_open(&trainer, &plan, &set, &err);
        hanse_alloc_fail_at(-1);
    }
    assert_int_equal(rc, HANSE_OK);
    hanse_trainer_free(trainer);
    hanse_trainer_free(NULL);
    fixture_rows_free(&set);
}

static void identity_hands_back(void **state)
{
    hanse_err err;
    hanse_trainer *trainer;
    hanse_trained trained;
    hanse_metrics metrics;
    hanse_buf a = HANSE_BUF_EMPTY, b = HANSE_BUF_EMPTY;
    hanse_plan plan = {.name = "identity", .model = {.kind = HANSE_MODEL_IDENTITY, .parameters = 300001}};
    hanse_plan wrong = {.name = "identity", .model = {.kind = HANSE_MODEL_IDENTITY, .parameters = 3}};

    (void)state;
    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, NULL, &err));
    write_model(in, &plan, NULL);
    ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, in, out, 1, 1, NULL, &trained, &err));
    assert_int_equal(trained.rows, 1);
    assert_int_equal(trained.steps, 0);
    ASSERT_RC(HANSE_OK, hanse_file_read(&a, in, 1 << 22, &err));
    ASSERT_RC(HANSE_OK, hanse_file_read(&b, out, 1 << 22, &err));
    assert_true(hanse_bytes_equal(hanse_buf_bytes(&a), hanse_buf_bytes(&b)));
    ASSERT_RC(HANSE_OK, hanse_trainer_evaluate(trainer, in, NULL, &metrics, &err));
    assert_int_equal(metrics.samples, 0);
    hanse_metrics_clear(&metrics);
    ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, in, in, 1, 1, NULL, &trained, &err));
    unlink(out);
    write_model(in, &wrong, NULL);
    refuses_training(trainer, HANSE_E_SHAPE, "vector");
    hanse_trainer_free(trainer);
    hanse_buf_clear(&a);
    hanse_buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(matches_python, clean),
        cmocka_unit_test_teardown(learns, clean),
        cmocka_unit_test_teardown(same_seed_same_bits, clean),
        cmocka_unit_test_teardown(weight_counts_distinct_rows, clean),
        cmocka_unit_test_teardown(bad_models_are_refused, clean),
        cmocka_unit_test_teardown(divergence_at_the_last_step_is_seen, clean),
        cmocka_unit_test_teardown(stops_between_batches, clean),
        cmocka_unit_test_teardown(open_checks_the_dataset, clean),
        cmocka_unit_test_teardown(identity_hands_back, clean),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
