/* The whole path on real data: files, dataset, trainer, metrics. Needs HANSE_DATA_DIR; skipped without. */
#include "fixture.h"
#include "tests/support/real_data.h"

/* One epoch of Adam on MNIST, 784-64-64-10: plain Python gives .949 (median of 5 seeds, about +-.004). */
static void one_epoch_of_mnist(void **state)
{
    hanse_err err;
    hanse_dataset *set;
    hanse_trainer *trainer;
    hanse_trained trained;
    hanse_metrics metrics;
    hanse_scale scale;
    hanse_layout layout;
    hanse_model_meta meta = {0};
    hanse_path paths[4], model;
    static const char *const names[4] = {"mnist/train-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz",
                                         "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz"};
    hanse_plan plan = fixture_plan(HANSE_MODEL_MLP, 0, 10);
    char dir[] = "/tmp/hanse-mnist-XXXXXX";

    (void)state;
    for (size_t i = 0; i < 4; i++)
        (void)real_data(paths[i], names[i]);
    hanse_source_file files[2] = {{.path = paths[0], .labels = paths[1], .part = HANSE_PART_TRAIN},
                                  {.path = paths[2], .labels = paths[3], .part = HANSE_PART_TEST}};
    hanse_source source = {.files = files, .files_count = 2};

    plan.data.rows = plan.data.cols = 28;
    plan.model.hidden_count = 2;
    plan.model.hidden[0] = plan.model.hidden[1] = 64;
    plan.train.optimiser = HANSE_OPTIMISER_ADAM;
    plan.train.rate = 1e-3;
    plan.train.batch = 32;
    ASSERT_RC(HANSE_OK, hanse_dataset_load(&set, &plan, &source, &err));
    ASSERT_RC(HANSE_OK, hanse_scale_from_plan(&scale, &plan, &err));
    ASSERT_RC(HANSE_OK, hanse_dataset_scale(set, &plan, &scale, &err));
    ASSERT_RC(HANSE_OK, hanse_layout_of_plan(&layout, &plan, &err));
    assert_non_null(mkdtemp(dir));
    ASSERT_RC(HANSE_OK, hanse_path_join(model, dir, "model.safetensors", &err));
    ASSERT_RC(HANSE_OK, hanse_model_write_initial(model, &layout, &meta, plan.train.seed, false, &err));

    ASSERT_RC(HANSE_OK, hanse_trainer_open(&trainer, &plan, set, &err));
    ASSERT_RC(HANSE_OK, hanse_trainer_train(trainer, model, model, 1, 1, NULL, &trained, &err));
    ASSERT_RC(HANSE_OK, hanse_trainer_evaluate(trainer, model, NULL, &metrics, &err));
    assert_int_equal(trained.rows, 60000);
    assert_int_equal(metrics.samples, 10000);
    ASSERT_NEAR(hanse_metrics_accuracy(&metrics), 0.949, 0.012);

    hanse_metrics_clear(&metrics);
    hanse_trainer_free(trainer);
    hanse_layout_clear(&layout);
    hanse_scale_clear(&scale);
    hanse_dataset_free(set);
    unlink(model);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_epoch_of_mnist)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
