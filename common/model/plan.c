#include "hanse/plan.h"

#include "hanse/digest.h"
#include "hanse/masking.h"
#include "plan_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct check {
    const plan_draft *draft;
    const hanse_plan *plan;
    const hanse_config_where *where;
    hanse_err *err;
} check;

#define FAIL(c, key, ...) HANSE_CONFIG_FAIL((c)->where, (c)->err, key, __VA_ARGS__)

static bool is_given(const check *c, const char *key)
{
    return hanse_config_given(c->where, key);
}

/* Refuse the first of `keys` (ends with NULL) that the text has. */
static hanse_rc refuse_keys(const check *c, const char *const *keys, const char *why)
{
    for (; *keys != NULL; keys++)
        if (is_given(c, *keys))
            return FAIL(c, *keys, "has no meaning %s; leave it out", why);
    return HANSE_OK;
}

/* Each text as a number; NaN, which equals nothing, where it is none. `values` has room for any list of a plan. */
static void numbers_of(char *const *items, size_t count, double values[HANSE_VOCABULARY_MAX])
{
    for (size_t i = 0; i < count; i++) {
        char *end;

        values[i] = strtod(items[i], &end);
        if (end == items[i] || *end != '\0')
            values[i] = (double)NAN;
    }
}
_Static_assert(HANSE_CLASSES_MAX <= HANSE_VOCABULARY_MAX, "numbers_of has room for classes");

/* Index of the first item that repeats an earlier one; `count` when none does. Numbers compare as numbers. */
static size_t repeated(char *const *items, size_t count)
{
    double values[HANSE_VOCABULARY_MAX];

    numbers_of(items, count, values);
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (values[i] == values[j] || strcmp(items[i], items[j]) == 0)
                return i;
    return count;
}

static bool has_level(const hanse_feature *feature, double level)
{
    double values[HANSE_VOCABULARY_MAX];

    numbers_of(feature->vocabulary, feature->vocabulary_count, values);
    for (size_t i = 0; i < feature->vocabulary_count; i++)
        if (values[i] == level)
            return true;
    return false;
}

static size_t feature_width(const hanse_feature *feature)
{
    if (feature->kind == HANSE_FEATURE_NUMERIC)
        return 1;
    return feature->vocabulary_count - (feature->drop_first ? 1 : 0) + (feature->unknown == HANSE_UNKNOWN_BUCKET ? 1 : 0);
}

bool hanse_plan_has_statistics(const hanse_plan *plan)
{
    return plan->scaling == HANSE_SCALING_FEDERATED || plan->aggregation.privacy == HANSE_PRIVACY_MASKED;
}

size_t hanse_plan_input_dim(const hanse_plan *plan)
{
    size_t dim = 0;

    if (plan->data.format == HANSE_DATA_IDX)
        return plan->data.rows * plan->data.cols;
    for (size_t i = 0; i < plan->data.features_count; i++)
        dim += feature_width(&plan->data.features[i]);
    return dim;
}

static hanse_rc check_numeric(const check *c, const hanse_feature *f, const char *key)
{
    hanse_scaling scaling = c->plan->scaling;
    bool by_data = scaling == HANSE_SCALING_SITE || scaling == HANSE_SCALING_FEDERATED;

    if (f->vocabulary_count > 0 || f->drop_first || f->unknown != HANSE_UNKNOWN_REFUSE)
        return FAIL(c, key, "%s is numeric; vocabulary, drop_first and unknown belong to kind: categorical", f->name);
    if (by_data && (!(fabs(f->low) <= PLAN_BOUND_MAX) || !(fabs(f->high) <= PLAN_BOUND_MAX)))
        return FAIL(c, key, "%s needs low and high within +-%g, as scaling is %s", f->name, PLAN_BOUND_MAX,
                    scaling == HANSE_SCALING_SITE ? "site" : "federated");
    if (!(f->low < f->high))
        return FAIL(c, key, "%s: low %g must be less than high %g", f->name, f->low, f->high);
    if (scaling == HANSE_SCALING_PLAN && !(f->std > 0))
        return FAIL(c, key, "%s needs a std greater than 0, as scaling is plan", f->name);
    if (scaling != HANSE_SCALING_PLAN && (f->std != 0 || f->mean != 0))
        return FAIL(c, key, "%s: mean and std belong to scaling: plan", f->name);
    return HANSE_OK;
}

static hanse_rc check_categorical(const check *c, const hanse_feature *f, const char *key)
{
    size_t twice = repeated(f->vocabulary, f->vocabulary_count);

    if (f->vocabulary_count == 0)
        return FAIL(c, key, "%s is categorical and needs a vocabulary", f->name);
    if (twice < f->vocabulary_count)
        return FAIL(c, key, "%s: \"%.40s\" stands twice in the vocabulary", f->name, f->vocabulary[twice]);
    if (f->low > -PLAN_BOUND_NONE || f->high < PLAN_BOUND_NONE || f->mean != 0 || f->std != 0)
        return FAIL(c, key, "%s is categorical; low, high, mean and std belong to kind: numeric", f->name);
    if (f->missing == HANSE_MISSING_VALUE && !has_level(f, f->fill))
        return FAIL(c, key, "%s: fill %g is not in the vocabulary", f->name, f->fill);
    if (feature_width(f) == 0)
        return FAIL(c, key, "%s gives no input: its only level is dropped", f->name);
    return HANSE_OK;
}

static bool has_column(const hanse_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->data.columns_count; i++)
        if (strcmp(plan->data.columns[i], name) == 0)
            return true;
    return plan->data.columns_count == 0; /* the header will tell */
}

static hanse_rc check_feature(const check *c, size_t i)
{
    const hanse_plan *plan = c->plan;
    const hanse_feature *f = &plan->data.features[i];
    char key[64];

    (void)snprintf(key, sizeof key, "data.features[%zu]", i);
    for (size_t j = 0; j < i; j++)
        if (strcmp(plan->data.features[j].name, f->name) == 0)
            return FAIL(c, key, "%s stands twice in the features", f->name);
    if (strcmp(f->name, plan->data.target) == 0)
        return FAIL(c, key, "%s is the target; it cannot be a feature too", f->name);
    if (!has_column(plan, f->name))
        return FAIL(c, key, "%s is not among data.columns", f->name);
    if (f->fill != 0 && f->missing != HANSE_MISSING_VALUE)
        return FAIL(c, key, "%s: fill belongs to missing: value", f->name);
    return f->kind == HANSE_FEATURE_NUMERIC ? check_numeric(c, f, key) : check_categorical(c, f, key);
}

static hanse_rc check_csv(const check *c)
{
    static const char *const foreign[] = {"data.rows", "data.cols", "data.classes", NULL};
    const hanse_plan *plan = c->plan;
    size_t twice;
    hanse_rc rc = refuse_keys(c, foreign, "with format: csv");

    if (rc != HANSE_OK)
        return rc;
    if (!is_given(c, "data.features"))
        return FAIL(c, "data.features", "missing; format: csv needs the columns that predict");
    if (!is_given(c, "data.target"))
        return FAIL(c, "data.target", "missing; format: csv needs the column to be predicted");
    if (plan->data.has_positive_above == is_given(c, "data.target.classes"))
        return FAIL(c, "data.target", "say exactly one of classes and positive_above");
    twice = repeated(plan->data.classes, c->draft->labels_count);
    if (twice < c->draft->labels_count)
        return FAIL(c, "data.target.classes", "\"%.40s\" stands twice", plan->data.classes[twice]);
    for (size_t i = 1; i < plan->data.columns_count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(plan->data.columns[i], plan->data.columns[j]) == 0)
                return FAIL(c, "data.columns", "%s stands twice", plan->data.columns[i]);
    if (!has_column(plan, plan->data.target))
        return FAIL(c, "data.target.column", "%s is not among data.columns", plan->data.target);
    if (plan->scale_categorical && (plan->scaling == HANSE_SCALING_NONE || plan->scaling == HANSE_SCALING_PLAN))
        return FAIL(c, "scale_categorical", "true needs scaling: site or federated");
    for (size_t i = 0; i < plan->data.features_count && rc == HANSE_OK; i++)
        rc = check_feature(c, i);
    if (rc == HANSE_OK && hanse_plan_input_dim(plan) > PLAN_DIM_MAX)
        rc = FAIL(c, "data.features", "%zu inputs after one-hot coding; at most %zu", hanse_plan_input_dim(plan), PLAN_DIM_MAX);
    return rc;
}

static hanse_rc check_idx(const check *c)
{
    static const char *const foreign[] = {"data.columns", "data.target", "data.features", NULL};
    static const char *const needed[] = {"data.rows", "data.cols", "data.classes", NULL};
    hanse_rc rc = refuse_keys(c, foreign, "with format: idx");

    for (size_t i = 0; needed[i] != NULL && rc == HANSE_OK; i++)
        if (!is_given(c, needed[i]))
            rc = FAIL(c, needed[i], "missing; format: idx needs rows, cols and classes");
    if (rc != HANSE_OK)
        return rc;
    if (c->plan->data.rows * c->plan->data.cols > PLAN_DIM_MAX) /* each at most 4096 */
        return FAIL(c, "data.rows", "%zu x %zu pixels; at most %zu in all", c->plan->data.rows, c->plan->data.cols, PLAN_DIM_MAX);
    if (c->plan->scaling != HANSE_SCALING_NONE || c->plan->scale_categorical)
        return FAIL(c, "scaling", "pictures are divided by 255 and not scaled further; leave scaling out");
    return HANSE_OK;
}

static hanse_rc check_none(const check *c)
{
    static const char *const foreign[] = {"data.columns", "data.target", "data.features", "data.rows", "data.cols", "data.classes",
                                          "scaling", "scale_categorical", "best_by", NULL};

    if (c->plan->model.kind != HANSE_MODEL_IDENTITY)
        return FAIL(c, "data.format", "none goes with model.kind: identity only");
    return refuse_keys(c, foreign, "with format: none");
}

static uint64_t parameters_of(const hanse_plan *plan)
{
    uint64_t total = 0, width = hanse_plan_input_dim(plan);

    for (size_t i = 0; i < plan->model.hidden_count; i++) { /* at most 2^20 x 2^16 a layer: no overflow */
        total += (width + 1) * plan->model.hidden[i];
        width = plan->model.hidden[i];
    }
    return total + (width + 1) * plan->data.classes_count;
}

static hanse_rc check_model(const check *c)
{
    const hanse_plan *plan = c->plan;
    const uint64_t most = (uint64_t)1 << 33;
    bool mlp = plan->model.kind == HANSE_MODEL_MLP, identity = plan->model.kind == HANSE_MODEL_IDENTITY;

    if (plan->model.kind == HANSE_MODEL_LOGISTIC && plan->data.classes_count != 2)
        return FAIL(c, "model.kind", "logistic has two classes, the data has %zu; take softmax", plan->data.classes_count);
    if (mlp != (plan->model.hidden_count > 0))
        return FAIL(c, "model.hidden", mlp ? "missing; mlp needs the widths of its hidden layers" : "belongs to kind: mlp");
    if (identity != (plan->model.parameters > 0))
        return FAIL(c, "model.parameters", identity ? "missing; identity needs its size" : "belongs to kind: identity");
    if (identity && plan->data.format != HANSE_DATA_NONE)
        return FAIL(c, "model.kind", "identity trains nothing and needs data.format: none");
    if (!identity && parameters_of(plan) > most)
        return FAIL(c, "model", "%" PRIu64 " parameters; at most %" PRIu64, parameters_of(plan), most);
    return HANSE_OK;
}

static hanse_rc check_train(const check *c)
{
    static const char *const of_adam[] = {"train.beta1", "train.beta2", "train.epsilon", NULL};
    static const char *const of_sgd[] = {"train.momentum", NULL};
    const hanse_plan *plan = c->plan;
    bool adam = plan->train.optimiser == HANSE_OPTIMISER_ADAM;

    if (!is_given(c, "train") && plan->model.kind == HANSE_MODEL_IDENTITY)
        return HANSE_OK; /* nothing to say about no work */
    if (!is_given(c, "train"))
        return FAIL(c, "train", "missing; say at least rate, and epochs or steps");
    if ((plan->train.epochs > 0) == (plan->train.steps > 0))
        return FAIL(c, "train", "say exactly one of epochs and steps");
    return refuse_keys(c, adam ? of_sgd : of_adam, adam ? "with optimiser: adam" : "with optimiser: sgd");
}

static hanse_rc check_aggregation(const check *c)
{
    static const char *const of_masked[] = {"aggregation.profile", "aggregation.graph", "aggregation.precision", "aggregation.bits", "aggregation.clip",
                                            "aggregation.collusion", "aggregation.survivors", "aggregation.ticket_life",
                                            "aggregation.allow_two", "aggregation.trusted_coordinator", NULL};
    const hanse_plan *plan = c->plan;

    if (plan->aggregation.privacy == HANSE_PRIVACY_SEALED)
        return refuse_keys(c, of_masked, "with privacy: sealed");
    if (plan->aggregation.bits > 0 && plan->aggregation.bits < 8)
        return FAIL(c, "aggregation.bits", "%" PRIu64 " bits; 8 to 40, or 0 for what the precision needs", plan->aggregation.bits);
    if (plan->aggregation.bits > 0 && is_given(c, "aggregation.precision"))
        return FAIL(c, "aggregation.bits", "say either bits or precision");
    if (!(plan->aggregation.clip_floor <= plan->aggregation.clip_ceiling) ||
        !(plan->aggregation.clip_ceiling <= 256 * plan->aggregation.clip_floor))
        return FAIL(c, "aggregation.clip", "ceiling %g must be floor %g to 256 times that", plan->aggregation.clip_ceiling, plan->aggregation.clip_floor);
    if (plan->aggregation.graph == HANSE_GRAPH_SPARSE && plan->aggregation.profile == HANSE_CONTACTS_CRON)
        return FAIL(c, "aggregation.graph", "sparse needs profile: online");
    if (plan->rounds.deadline_ms + hanse_masking_unmask_ms(plan) > plan->aggregation.ticket_life_ms)
        return FAIL(c, "aggregation.ticket_life", "%" PRIu64 " h; a round may take %" PRIu64 " h (rounds.deadline, and its answers %s): it must live longer",
                    plan->aggregation.ticket_life_ms / 3600000, (plan->rounds.deadline_ms + hanse_masking_unmask_ms(plan)) / 3600000,
                    plan->aggregation.profile == HANSE_CONTACTS_CRON ? "as long again" : "some minutes");
    if (plan->aggregation.trusted_coordinator && plan->aggregation.collusion > 0)
        return FAIL(c, "aggregation.trusted_coordinator", "true means collusion 0; leave one of them out");
    return HANSE_OK;
}

static hanse_rc check_plan(const check *c)
{
    const hanse_plan *plan = c->plan;
    hanse_rc rc = plan->data.format == HANSE_DATA_CSV   ? check_csv(c)
                  : plan->data.format == HANSE_DATA_IDX ? check_idx(c)
                                                        : check_none(c);

    if (rc == HANSE_OK)
        rc = check_model(c);
    if (rc == HANSE_OK)
        rc = check_train(c);
    if (rc == HANSE_OK)
        rc = check_aggregation(c);
    if (rc == HANSE_OK && plan->rounds.sites_min > plan->rounds.sites_max)
        rc = FAIL(c, "rounds.min_sites", "%zu is more than max_sites %zu", plan->rounds.sites_min, plan->rounds.sites_max);
    return rc;
}

hanse_rc hanse_plan_parse(hanse_plan **out, hanse_bytes text, const char *origin, hanse_err *err)
{
    plan_draft *draft = hanse_calloc(1, sizeof *draft);
    hanse_config_where *where = NULL;
    hanse_rc rc;

    if (draft == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the plan %s", origin);
    rc = hanse_config_parse(plan_fields, draft, sizeof *draft, text, origin, &where, err);
    if (rc != HANSE_OK)
        goto done;
    draft->plan.data.classes_count = draft->labels_count > 0  ? draft->labels_count
                                     : draft->idx_classes > 0 ? draft->idx_classes
                                                              : 2; /* positive_above; without data: unused */
    if (draft->plan.model.kind == HANSE_MODEL_IDENTITY && !hanse_config_given(where, "train"))
        draft->plan.train.epochs = 1;
    rc = check_plan(&(check){draft, &draft->plan, where, err});
    if (rc == HANSE_OK)
        rc = hanse_sha256(draft->plan.hash, text, err);
    if (rc == HANSE_OK) {
        *out = &draft->plan;
        draft = NULL;
    }
done:
    hanse_config_where_free(where);
    if (draft != NULL)
        hanse_plan_free(&draft->plan);
    return rc;
}

void hanse_plan_free(hanse_plan *plan)
{
    if (plan == NULL)
        return;
    hanse_config_clear(plan_fields, plan); /* the draft around it: see plan_table.h */
    hanse_free(plan);
}

hanse_rc hanse_plan_describe(hanse_buf *out, hanse_err *err)
{
    return hanse_config_describe(plan_fields, out, err);
}
