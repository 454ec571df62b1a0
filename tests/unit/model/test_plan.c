#include "hanse/config.h"
#include "hanse/digest.h"
#include "hanse/file.h"
#include "hanse/plan.h"

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

/* A plan whose parts a row of the table replaces: `from` -> `to`. */
static const char csv_plan[] = "hanse: 1\n"
                               "name: test\n"
                               "data:\n"
                               "  name: d\n"
                               "  format: csv\n"
                               "  columns: [a, b, y]\n"
                               "  target: {column: y, positive_above: 0}\n"
                               "  features:\n"
                               "    - {name: a, low: 0, high: 10}\n"
                               "    - {name: b, kind: categorical, vocabulary: [1, 2, 3]}\n"
                               "scaling: federated\n"
                               "model: {kind: logistic}\n"
                               "train: {rate: 0.1, steps: 10}\n"
                               "rounds: {count: 2, min_sites: 2, max_sites: 3}\n"
                               "aggregation: {privacy: sealed}\n";
static const char idx_plan[] = "hanse: 1\n"
                               "name: test\n"
                               "data: {name: d, format: idx, rows: 4, cols: 5, classes: 3}\n"
                               "model: {kind: mlp, hidden: [6, 7]}\n"
                               "train: {optimiser: adam, rate: 0.1, epochs: 1}\n"
                               "rounds: {count: 2, min_sites: 2}\n"
                               "aggregation: {privacy: sealed}\n";
static const char none_plan[] = "hanse: 1\n"
                                "name: test\n"
                                "data: {name: d, format: none}\n"
                                "model: {kind: identity, parameters: 5}\n"
                                "rounds: {count: 2, min_sites: 1}\n"
                                "aggregation: {privacy: sealed}\n";

static const struct bad {
    const char *plan, *from, *to;
    const char *line, *words; /* parts of the message */
} bads[] = {
    {csv_plan, "hanse: 1", "hanse: 2", "p.yaml:1: hanse:", "out of range; allowed: whole number 1 .. 1"},
    {csv_plan, "hanse: 1\n", "", "p.yaml:1: hanse:", "missing"},
    {csv_plan, "name: test", "name:", "p.yaml:2: name:", "has no value"},
    {csv_plan, "name: test", "nmae: test", "p.yaml:2: nmae:", "unknown key; known here: hanse, name, data"},
    {csv_plan, "name: test", "name: t\xc3\xa9st", "p.yaml:2: name:", "is not ASCII"},
    {csv_plan, "name: test", "name: test\nname: again", "p.yaml:3: name:", "said twice"},
    {csv_plan, "format: csv", "format: xml", "p.yaml:5: data.format:", "one of none, csv, idx"},
    {csv_plan, "  format: csv\n", "", "p.yaml:4: data.format:", "missing"},
    {csv_plan, "{privacy: sealed}", "{privacy: sealed, bits: 20}", "aggregation.bits", "no meaning with privacy: sealed"},
    {csv_plan, "{privacy: sealed}", "{bits: 7}", "aggregation.bits", "8 to 40"},
    {csv_plan, "{privacy: sealed}", "{bits: 20, precision: 1e-6}", "aggregation.bits", "either bits or precision"},
    {csv_plan, "{privacy: sealed}", "{clip: {floor: 1, ceiling: 300}}", "aggregation.clip", "256"},
    {csv_plan, "max_sites: 3}\naggregation: {privacy: sealed}",
     "max_sites: 3, deadline: 16d}\naggregation: {profile: cron}", "aggregation.ticket_life", "it must live longer"},
    {csv_plan, "{privacy: sealed}", "{trusted_coordinator: true, collusion: 1}", "aggregation.trusted_coordinator", "leave one"},
    {csv_plan, "privacy: sealed", "privacy: none", "p.yaml:15: aggregation.privacy:", "one of masked, sealed"},
    {csv_plan, "rate: 0.1", "rate: .nan", "p.yaml:13: train.rate:", "is no finite number"},
    {csv_plan, "rate: 0.1", "rate: 1e999", "p.yaml:13: train.rate:", "is no finite number"},
    {csv_plan, "rate: 0.1", "rate: 0", "p.yaml:13: train.rate:", "number 1e-09 .. 10"},
    {csv_plan, "rate: 0.1, ", "", "p.yaml:13: train.rate:", "missing"},
    {csv_plan, "train: {rate: 0.1, steps: 10}\n", "", "train:", "missing"},
    {csv_plan, ", steps: 10", "", "p.yaml:13: train:", "exactly one of epochs and steps"},
    {csv_plan, "steps: 10", "steps: 10, epochs: 1", "p.yaml:13: train:", "exactly one of epochs and steps"},
    {csv_plan, "steps: 10", "steps: -1", "p.yaml:13: train.steps:", "is no whole number"},
    {csv_plan, "steps: 10", "steps: 99999999999999999999", "p.yaml:13: train.steps:", "is no whole number"},
    {csv_plan, "steps: 10", "steps: 10, beta1: 0.5", "p.yaml:13: train.beta1:", "no meaning with optimiser: sgd"},
    {idx_plan, "rate: 0.1", "rate: 0.1, momentum: 0.5", "p.yaml:5: train.momentum:", "no meaning with optimiser: adam"},
    {csv_plan, "min_sites: 2", "min_sites: 4", "p.yaml:14: rounds.min_sites:", "4 is more than max_sites 3"},
    {csv_plan, "count: 2", "count: 2, deadline: 10", "p.yaml:14: rounds.deadline:", "is no duration"},
    {csv_plan, "count: 2", "count: 2, deadline: 500ms", "p.yaml:14: rounds.deadline:", "1s .. 30d"},
    {csv_plan, "positive_above: 0", "classes: [u, v, w]", "p.yaml:12: model.kind:", "logistic has two classes, the data has 3"},
    {csv_plan, "positive_above: 0", "classes: [1, 1.0]", "p.yaml:7: data.target.classes:", "\"1.0\" stands twice"},
    {csv_plan, "positive_above: 0", "classes: [u]", "p.yaml:7: data.target.classes:", "1 items are too few"},
    {csv_plan, ", positive_above: 0", "", "p.yaml:7: data.target:", "exactly one of classes and positive_above"},
    {csv_plan, "positive_above: 0", "positive_above: 0, classes: [0, 1]", "p.yaml:7: data.target:", "exactly one of"},
    {csv_plan, "column: y", "column: z", "p.yaml:7: data.target.column:", "z is not among data.columns"},
    {csv_plan, "[a, b, y]", "[a, b, y, a]", "p.yaml:6: data.columns:", "a stands twice"},
    {csv_plan, "name: a, low", "name: c, low", "p.yaml:9: data.features[0]:", "c is not among data.columns"},
    {csv_plan, "name: b, kind", "name: a, kind", "p.yaml:10: data.features[1]:", "a stands twice in the features"},
    {csv_plan, "name: a, low", "name: y, low", "p.yaml:9: data.features[0]:", "y is the target"},
    {csv_plan, "low: 0, high: 10", "low: 10, high: 10", "p.yaml:9: data.features[0]:", "low 10 must be less than high 10"},
    {csv_plan, ", low: 0, high: 10", "", "p.yaml:9: data.features[0]:", "needs low and high"},
    {csv_plan, "low: 0, high: 10", "low: 0, high: 10, std: 1", "p.yaml:9: data.features[0]:", "belong to scaling: plan"},
    {csv_plan, "low: 0, high: 10", "low: 0, high: 10, fill: 1", "p.yaml:9: data.features[0]:", "fill belongs to missing: value"},
    {csv_plan, "low: 0, high: 10", "low: 0, high: 10, vocabulary: [1]", "p.yaml:9: data.features[0]:", "belong to kind: categorical"},
    {csv_plan, "low: 0, high: 10", "low: {}", "p.yaml:9: data.features[0].low:", "is a map"},
    {csv_plan, "scaling: federated", "scaling: plan", "p.yaml:9: data.features[0]:", "needs a std greater than 0"},
    {csv_plan, "scaling: federated", "scale_categorical: true", "p.yaml:11: scale_categorical:", "needs scaling: site or federated"},
    {csv_plan, "[1, 2, 3]", "[1, 2, 1]", "p.yaml:10: data.features[1]:", "\"1\" stands twice"},
    {csv_plan, "[1, 2, 3]", "[1], drop_first: true", "p.yaml:10: data.features[1]:", "gives no input"},
    {csv_plan, "[1, 2, 3]", "[1, 2], low: 0", "p.yaml:10: data.features[1]:", "belong to kind: numeric"},
    {csv_plan, "[1, 2, 3]", "[1, 2], missing: value, fill: 5", "p.yaml:10: data.features[1]:", "fill 5 is not in the vocabulary"},
    {csv_plan, ", vocabulary: [1, 2, 3]", "", "p.yaml:10: data.features[1]:", "needs a vocabulary"},
    {csv_plan, "format: csv", "format: csv\n  rows: 3", "p.yaml:6: data.rows:", "no meaning with format: csv"},
    {csv_plan, "kind: logistic", "kind: logistic, hidden: [3]", "p.yaml:12: model.hidden:", "belongs to kind: mlp"},
    {csv_plan, "kind: logistic", "kind: logistic, parameters: 3", "p.yaml:12: model.parameters:", "belongs to kind: identity"},
    {csv_plan, "kind: logistic", "kind: identity, parameters: 3", "p.yaml:12: model.kind:", "needs data.format: none"},
    {csv_plan, "name: test", "name: &x test", "p.yaml:2: name:", "anchors"},
    {csv_plan, "name: test", "name: *x", "p.yaml:2: name:", "aliases"},
    {csv_plan, "name: test", "name: !!str test", "p.yaml:2: name:", "tags"},
    {csv_plan, "name: test", "name: \"te\\x01st\"", "p.yaml:2: name:", "control character"},
    {csv_plan, "name: test", "name: t\xffst", "p.yaml:2:", "not YAML in UTF-8"},
    {csv_plan, "name: test", "name: [test", "p.yaml:2: name:", "is a list"},
    {csv_plan, "name: test", "name: \"test", "name:", "not YAML"},
    {csv_plan, "aggregation: {privacy: sealed}\n", "aggregation: {privacy: sealed}\n---\nhanse: 1\n", "p.yaml:16:", "one document only"},
    {idx_plan, "rows: 4, ", "", "p.yaml:3: data.rows:", "missing; format: idx needs"},
    {idx_plan, "classes: 3", "classes: 3, columns: [a]", "p.yaml:3: data.columns:", "no meaning with format: idx"},
    {idx_plan, "rows: 4, cols: 5", "rows: 4096, cols: 4096", "p.yaml:3: data.rows:", "at most 1048576"},
    {idx_plan, "hidden: [6, 7]", "hidden: [0]", "p.yaml:4: model.hidden[0]:", "1 .. 65536"},
    {idx_plan, "hidden: [6, 7]", "hidden: [1,1,1,1,1,1,1,1,1]", "p.yaml:4: model.hidden:", "too many items"},
    {idx_plan, "hidden: [6, 7]", "hidden: [65536, 65536, 65536, 65536]", "p.yaml:4: model:", "parameters; at most"},
    {idx_plan, ", hidden: [6, 7]", "", "p.yaml:4: model.hidden:", "missing; mlp needs"},
    {idx_plan, "aggregation: {privacy: sealed}", "aggregation: {privacy: sealed}\nscaling: site", "p.yaml:8: scaling:", "divided by 255"},
    {none_plan, "kind: identity, parameters: 5", "kind: softmax", "p.yaml:3: data.format:", "identity only"},
    {none_plan, ", parameters: 5", "", "p.yaml:4: model.parameters:", "missing; identity needs"},
    {none_plan, "aggregation: {privacy: sealed}", "aggregation: {privacy: sealed}\nbest_by: loss", "p.yaml:7: best_by:", "no meaning with format: none"},
    {none_plan, none_plan, "", "p.yaml:1:", "must be a map"},
    {none_plan, none_plan, "[1, 2]", "p.yaml:1:", "must be a map"},
};

static void replace(hanse_buf *out, const char *plan, const char *from, const char *to)
{
    const char *at = strstr(plan, from);

    assert_non_null(at);
    assert_int_equal(hanse_buf_printf(out, NULL, "%.*s%s%s", (int)(at - plan), plan, to, at + strlen(from)), HANSE_OK);
}

static void bad_plans_are_refused_with_line_key_and_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof bads[0]; i++) {
        const struct bad *bad = &bads[i];
        hanse_buf text = HANSE_BUF_EMPTY;
        hanse_plan *plan = NULL;
        hanse_err err = {.rc = HANSE_OK};

        replace(&text, bad->plan, bad->from, bad->to);
        if (hanse_plan_parse(&plan, hanse_buf_bytes(&text), "p.yaml", &err) != HANSE_E_INVALID || plan != NULL ||
            strstr(err.text, bad->line) == NULL || strstr(err.text, bad->words) == NULL || strncmp(err.text, "p.yaml:", 7) != 0)
            fail_msg("row %zu (%s): got \"%s\", want \"%s ... %s\"", i, bad->to, err.text, bad->line, bad->words);
        hanse_buf_clear(&text);
    }
}

static hanse_plan *load(const char *name)
{
    hanse_path path;
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_plan *plan = NULL;
    hanse_err err = {.rc = HANSE_OK};
    uint8_t hash[32];

    assert_int_equal(hanse_path_join(path, HANSE_SOURCE_DIR "/configs/plans", name, &err), HANSE_OK);
    assert_int_equal(hanse_file_read(&text, path, HANSE_PLAN_TEXT_MAX, &err), HANSE_OK);
    if (hanse_plan_parse(&plan, hanse_buf_bytes(&text), name, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(hanse_sha256(hash, hanse_buf_bytes(&text), &err), HANSE_OK);
    assert_memory_equal(hash, plan->hash, 32);
    hanse_buf_clear(&text);
    return plan;
}

static void the_samples_read(void **state)
{
    hanse_plan *plan;

    (void)state;
    plan = load("heart-disease.yaml");
    assert_string_equal(plan->name, "heart-disease");
    assert_int_equal(hanse_plan_input_dim(plan), 13);
    assert_int_equal(plan->data.columns_count, 14);
    assert_string_equal(plan->data.columns[13], "num");
    assert_string_equal(plan->data.target, "num");
    assert_true(plan->data.has_positive_above);
    assert_null(plan->data.classes);
    assert_int_equal(plan->data.classes_count, 2);
    assert_int_equal(plan->data.features_count, 10);
    assert_string_equal(plan->data.features[8].name, "cp");
    assert_int_equal(plan->data.features[8].kind, HANSE_FEATURE_CATEGORICAL);
    assert_int_equal(plan->data.features[8].vocabulary_count, 4);
    assert_string_equal(plan->data.features[8].vocabulary[3], "4");
    assert_true(plan->data.features[8].drop_first);
    assert_int_equal(plan->data.features[0].missing, HANSE_MISSING_DROP);
    assert_true(plan->data.features[0].high == 120);
    assert_int_equal(plan->scaling, HANSE_SCALING_FEDERATED);
    assert_true(plan->scale_categorical);
    assert_true(plan->train.rate == 0.01);
    assert_int_equal(plan->train.batch, 4);
    assert_int_equal(plan->train.steps, 100);
    assert_int_equal(plan->train.epochs, 0);
    assert_int_equal(plan->rounds.count, 15);
    assert_int_equal(plan->rounds.deadline_ms, 600000);
    assert_int_equal(plan->rounds.sites_min, 3);
    assert_int_equal(plan->rounds.sites_max, 4);
    hanse_plan_free(plan);
    plan = load("heart-disease-site-scaling.yaml");
    assert_int_equal(plan->scaling, HANSE_SCALING_SITE);
    hanse_plan_free(plan);
    plan = load("mnist-mlp.yaml");
    assert_int_equal(hanse_plan_input_dim(plan), 784);
    assert_int_equal(plan->data.classes_count, 10);
    assert_int_equal(plan->model.hidden_count, 2);
    assert_int_equal(plan->model.hidden[1], 64);
    assert_int_equal(plan->train.optimiser, HANSE_OPTIMISER_ADAM);
    assert_true(plan->train.beta2 == 0.999);
    assert_int_equal(plan->best_by, HANSE_METRIC_ACCURACY);
    hanse_plan_free(plan);
    plan = load("seed-mlp.yaml");
    assert_int_equal(hanse_plan_input_dim(plan), 100);
    hanse_plan_free(plan);
    plan = load("identity.yaml");
    assert_int_equal(plan->model.parameters, 10000000);
    assert_int_equal(plan->train.epochs, 1);
    hanse_plan_free(plan);
    hanse_plan_free(NULL);
}

static void failing_allocations_leave_nothing_behind(void **state)
{
    hanse_plan *plan = NULL;
    hanse_err err = {.rc = HANSE_OK};
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_rc rc = HANSE_E_NOMEM;
    long k = 0;

    (void)state;
    replace(&text, csv_plan, "positive_above: 0", "classes: [no, yes]");
    for (; rc != HANSE_OK && k < 1000; k++) {
        hanse_alloc_fail_at(k);
        rc = hanse_plan_parse(&plan, hanse_buf_bytes(&text), "p.yaml", &err);
        hanse_alloc_fail_at(-1);
        if (rc != HANSE_OK) {
            assert_int_equal(rc, HANSE_E_NOMEM);
            assert_null(plan);
        }
    }
    assert_int_equal(rc, HANSE_OK);
    assert_true(k > 20); /* the countdown did reach the lists */
    assert_string_equal(plan->data.classes[1], "yes");
    hanse_plan_free(plan);
    hanse_buf_clear(&text);
}

static void every_key_stands_in_the_documentation(void **state)
{
    hanse_buf docs = HANSE_BUF_EMPTY, table = HANSE_BUF_EMPTY;
    hanse_err err = {.rc = HANSE_OK};

    (void)state;
    assert_int_equal(hanse_file_read(&docs, HANSE_SOURCE_DIR "/docs/plans.md", HANSE_PLAN_TEXT_MAX, &err), HANSE_OK);
    assert_int_equal(hanse_plan_describe(&table, &err), HANSE_OK);
    if (strstr((const char *)docs.data, (const char *)table.data) == NULL)
        fail_msg("docs/plans.md wants this table:\n%s", (const char *)table.data);
    hanse_buf_clear(&docs);
    hanse_buf_clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_plans_are_refused_with_line_key_and_range),
        cmocka_unit_test(the_samples_read),
        cmocka_unit_test(failing_allocations_leave_nothing_behind),
        cmocka_unit_test(every_key_stands_in_the_documentation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
