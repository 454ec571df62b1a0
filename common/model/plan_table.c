#include "plan_table.h"

#define AT(member) HANSE_CONFIG_AT(plan_draft, plan.member)
#define OF(member) HANSE_CONFIG_AT(hanse_feature, member)

static const char *const formats[] = {"none", "csv", "idx", NULL};
static const char *const feature_kinds[] = {"numeric", "categorical", NULL};
static const char *const missings[] = {"refuse", "drop", "mean", "value", NULL};
static const char *const unknowns[] = {"refuse", "bucket", "zeros", NULL};
static const char *const scalings[] = {"none", "plan", "site", "federated", NULL};
static const char *const model_kinds[] = {"logistic", "softmax", "mlp", "identity", NULL};
static const char *const optimisers[] = {"sgd", "adam", NULL};
static const char *const schedules[] = {"continuous", "on-demand", NULL};
static const char *const privacies[] = {"masked", "sealed", NULL};
static const char *const profiles[] = {"online", "cron", NULL};
static const char *const graphs[] = {"auto", "complete", "sparse", NULL};
static const char *const metrics[] = {"none", "accuracy", "auc", "loss", NULL};

static const hanse_config_field name_item = {.kind = HANSE_CONFIG_NAME, .size = sizeof(hanse_name)};
static const hanse_config_field text_item = {.kind = HANSE_CONFIG_TEXT, .size = sizeof(char *), .min = 1, .max = 255};
static const hanse_config_field width_item = {.kind = HANSE_CONFIG_UINT, .size = sizeof(size_t), .min = 1, .max = 65536};

static const hanse_config_field feature_fields[] = {
    {.key = "name", .kind = HANSE_CONFIG_NAME, .required = true, OF(name), .help = "the column"},
    {.key = "kind", .kind = HANSE_CONFIG_ENUM, OF(kind), .names = feature_kinds, .value = "numeric", .help = "numeric: one input; categorical: one input for each level of the vocabulary (one-hot)"},
    {.key = "low", .kind = HANSE_CONFIG_REAL, OF(low), .value = "-1e308", .help = "numeric: smaller values count as this one; must be said when sites scale by data"},
    {.key = "high", .kind = HANSE_CONFIG_REAL, OF(high), .value = "1e308", .help = "numeric: greater values count as this one; must be said when sites scale by data"},
    {.key = "missing", .kind = HANSE_CONFIG_ENUM, OF(missing), .names = missings, .value = "refuse", .help = "an empty cell, `?` or `NA` (node.yaml may name others): refuse the data, drop the row, or take the column's mean or `fill`"},
    {.key = "fill", .kind = HANSE_CONFIG_REAL, OF(fill), .value = "0", .help = "the value for `missing: value`, in the column's own unit; categorical: a level"},
    {.key = "vocabulary", .kind = HANSE_CONFIG_LIST, OF(vocabulary), .count = offsetof(hanse_feature, vocabulary_count), .min = 1, .max = HANSE_VOCABULARY_MAX, .item = &text_item, .help = "categorical: the levels, in order; numbers compare as numbers (1 is 1.0)"},
    {.key = "drop_first", .kind = HANSE_CONFIG_BOOL, OF(drop_first), .value = "false", .help = "categorical: the first level gets no input of its own"},
    {.key = "unknown", .kind = HANSE_CONFIG_ENUM, OF(unknown), .names = unknowns, .value = "refuse", .help = "categorical: a level outside the vocabulary: refuse the data, one more input for all of them, or zeros"},
    {.key = "mean", .kind = HANSE_CONFIG_REAL, OF(mean), .value = "0", .help = "numeric, `scaling: plan`: taken off before the division by `std`"},
    {.key = "std", .kind = HANSE_CONFIG_REAL, OF(std), .value = "0", .help = "numeric, `scaling: plan`: greater than 0"},
    {.key = NULL}};
static const hanse_config_field feature_item = {.kind = HANSE_CONFIG_MAP, .size = sizeof(hanse_feature), .fields = feature_fields};

static const hanse_config_field target_fields[] = {
    {.key = "column", .kind = HANSE_CONFIG_NAME, .required = true, AT(data.target), .help = "the column to be predicted"},
    {.key = "classes", .kind = HANSE_CONFIG_LIST, AT(data.classes), .count = offsetof(plan_draft, labels_count), .min = 2, .max = HANSE_CLASSES_MAX, .item = &text_item, .help = "its values, in class order; numbers compare as numbers"},
    {.key = "positive_above", .kind = HANSE_CONFIG_REAL, AT(data.positive_above), .present = offsetof(plan_draft, plan.data.has_positive_above), .help = "instead of `classes`: class 1 when the value is greater than this, else class 0"},
    {.key = NULL}};

static const hanse_config_field data_fields[] = {
    {.key = "name", .kind = HANSE_CONFIG_NAME, .required = true, AT(data.name), .help = "name of the data set; each site's `node.yaml` says which files that is"},
    {.key = "format", .kind = HANSE_CONFIG_ENUM, .required = true, AT(data.format), .names = formats, .help = "csv: tables; idx: pictures (the format of MNIST); none: no data, for `model.kind: identity`"},
    {.key = "columns", .kind = HANSE_CONFIG_LIST, AT(data.columns), .count = offsetof(plan_draft, plan.data.columns_count), .min = 1, .max = 8192, .item = &name_item, .help = "csv: the columns' names in order, for files without a header; left out: the first line is the header"},
    {.key = "target", .kind = HANSE_CONFIG_MAP, .fields = target_fields, .help = "csv: what is predicted"},
    {.key = "features", .kind = HANSE_CONFIG_LIST, AT(data.features), .count = offsetof(plan_draft, plan.data.features_count), .min = 1, .max = HANSE_FEATURES_MAX, .item = &feature_item, .help = "csv: the columns that predict, in the order of the model's inputs"},
    {.key = "rows", .kind = HANSE_CONFIG_UINT, AT(data.rows), .min = 1, .max = 4096, .unit = "pixels", .help = "idx: height of a picture; values are divided by 255"},
    {.key = "cols", .kind = HANSE_CONFIG_UINT, AT(data.cols), .min = 1, .max = 4096, .unit = "pixels", .help = "idx: width of a picture"},
    {.key = "classes", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(plan_draft, idx_classes), .min = 2, .max = HANSE_CLASSES_MAX, .help = "idx: number of classes; labels are 0, 1, ..."},
    {.key = "test_share", .kind = HANSE_CONFIG_REAL, AT(data.test_share), .low = 0, .high = 0.9, .value = "0.2", .help = "share of the rows that are kept for testing, when the site names no test rows itself"},
    {.key = "split_seed", .kind = HANSE_CONFIG_UINT, AT(data.split_seed), .value = "1", .help = "which rows these are"},
    {.key = NULL}};

static const hanse_config_field model_fields[] = {
    {.key = "kind", .kind = HANSE_CONFIG_ENUM, .required = true, AT(model.kind), .names = model_kinds, .help = "logistic: two classes; softmax: two or more; mlp: layers of ReLU, then softmax; identity: nothing is trained, measures the machinery"},
    {.key = "hidden", .kind = HANSE_CONFIG_ARRAY, AT(model.hidden), .count = offsetof(plan_draft, plan.model.hidden_count), .min = 1, .max = HANSE_LAYERS_MAX, .item = &width_item, .help = "mlp: width of each hidden layer"},
    {.key = "parameters", .kind = HANSE_CONFIG_UINT, AT(model.parameters), .min = 1, .max = (uint64_t)1 << 33, .help = "identity: how many numbers travel"},
    {.key = NULL}};

static const hanse_config_field train_fields[] = {
    {.key = "optimiser", .kind = HANSE_CONFIG_ENUM, AT(train.optimiser), .names = optimisers, .value = "sgd", .help = "its state starts anew in every round"},
    {.key = "rate", .kind = HANSE_CONFIG_REAL, .required = true, AT(train.rate), .low = 1e-9, .high = 10, .help = "learning rate"},
    {.key = "momentum", .kind = HANSE_CONFIG_REAL, AT(train.momentum), .low = 0, .high = 0.999, .value = "0", .help = "sgd only"},
    {.key = "beta1", .kind = HANSE_CONFIG_REAL, AT(train.beta1), .low = 0, .high = 0.9999, .value = "0.9", .help = "adam only"},
    {.key = "beta2", .kind = HANSE_CONFIG_REAL, AT(train.beta2), .low = 0, .high = 0.999999, .value = "0.999", .help = "adam only"},
    {.key = "epsilon", .kind = HANSE_CONFIG_REAL, AT(train.epsilon), .low = 1e-12, .high = 1, .value = "1e-8", .help = "adam only"},
    {.key = "l2", .kind = HANSE_CONFIG_REAL, AT(train.l2), .low = 0, .high = 100, .value = "0", .help = "penalty l2/2 * (sum of squared weights); biases are free"},
    {.key = "batch", .kind = HANSE_CONFIG_UINT, AT(train.batch), .min = 1, .max = 65536, .value = "32", .unit = "rows", .help = "rows of one step"},
    {.key = "epochs", .kind = HANSE_CONFIG_UINT, AT(train.epochs), .min = 1, .max = 10000, .help = "local work of a round in passes over the rows; either this or `steps`"},
    {.key = "steps", .kind = HANSE_CONFIG_UINT, AT(train.steps), .min = 1, .max = 10000000, .help = "local work of a round in batches; either this or `epochs`"},
    {.key = "seed", .kind = HANSE_CONFIG_UINT, AT(train.seed), .value = "1", .help = "initial model and order of the rows"},
    {.key = NULL}};

static const hanse_config_field round_fields[] = {
    {.key = "count", .kind = HANSE_CONFIG_UINT, .required = true, AT(rounds.count), .min = 1, .max = 100000, .help = "published rounds of the run"},
    {.key = "deadline", .kind = HANSE_CONFIG_DURATION, AT(rounds.deadline_ms), .min = 1000, .max = 2592000000, .value = "10m", .help = "contributions must be in by then, counted from the opening of the round"},
    {.key = "min_sites", .kind = HANSE_CONFIG_UINT, .required = true, AT(rounds.sites_min), .min = 1, .max = 1024, .help = "with fewer contributions the round is void"},
    {.key = "max_sites", .kind = HANSE_CONFIG_UINT, AT(rounds.sites_max), .min = 1, .max = 1024, .value = "1024", .help = "with so many the round closes before its deadline"},
    {.key = "schedule", .kind = HANSE_CONFIG_ENUM, AT(rounds.schedule), .names = schedules, .value = "continuous", .help = "continuous: the next round opens by itself; on-demand: `hanse-coordinator round` opens it (cron)"},
    {.key = NULL}};

static const hanse_config_field clip_fields[] = {
    {.key = "floor", .kind = HANSE_CONFIG_REAL, AT(aggregation.clip_floor), .low = 1e-9, .high = 1e9, .value = "0.015625", .help = "smallest clip"},
    {.key = "ceiling", .kind = HANSE_CONFIG_REAL, AT(aggregation.clip_ceiling), .low = 1e-9, .high = 1e9, .value = "4", .help = "largest clip, where a run begins; at most 256 times the floor"},
    {.key = NULL}};

static const hanse_config_field aggregation_fields[] = {
    {.key = "privacy", .kind = HANSE_CONFIG_ENUM, AT(aggregation.privacy), .names = privacies, .value = "masked", .help = "masked: the coordinator learns sums over the sites only; sealed: contributions are encrypted to the coordinator, which can read each one (every site's policy must allow it)"},
    {.key = "profile", .kind = HANSE_CONFIG_ENUM, AT(aggregation.profile), .names = profiles, .value = "online", .help = "masked: online: sites stay connected, and sign together who is in a sum before anybody unmasks; cron: two contacts a round and a wider margin instead"},
    {.key = "graph", .kind = HANSE_CONFIG_ENUM, AT(aggregation.graph), .names = graphs, .value = "auto", .help = "masked: who masks against whom: complete: every pair of sites; sparse: neighbours on a ring drawn for the round (profile online); auto: sparse above 300 sites if sites times numbers of the model are more than 1e9"},
    {.key = "precision", .kind = HANSE_CONFIG_REAL, AT(aggregation.precision), .low = 1e-9, .high = 0.1, .value = "3e-6", .help = "masked: rounding error of the mean in clips, root mean square, when all sites take part"},
    {.key = "bits", .kind = HANSE_CONFIG_UINT, AT(aggregation.bits), .max = 40, .value = "0", .unit = "bits", .help = "masked: width of a number on the wire, 8 to 40, instead of `precision`; 0: what the precision needs"},
    {.key = "clip", .kind = HANSE_CONFIG_MAP, .fields = clip_fields, .help = "masked: updates are scaled down to fit; the clip of each tensor follows the run between these"},
    {.key = "collusion", .kind = HANSE_CONFIG_UINT, AT(aggregation.collusion), .max = 1023, .value = "0", .unit = "sites", .help = "masked: colluding sites to hold out against; 0: a fifth of the sites, at least 1"},
    {.key = "survivors", .kind = HANSE_CONFIG_UINT, AT(aggregation.survivors_min), .max = 1024, .value = "0", .unit = "sites", .help = "masked: sites that a sum must be made of at least; 0: all but a fifth (all, of three)"},
    {.key = "ticket_life", .kind = HANSE_CONFIG_DURATION, AT(aggregation.ticket_life_ms), .min = 3600000, .max = 15552000000, .value = "30d", .help = "masked: how long what a site leaves in advance may be used; longer than a round with its answers"},
    {.key = "allow_two", .kind = HANSE_CONFIG_BOOL, AT(aggregation.allow_two), .value = "false", .help = "masked: run with two sites, each of which then knows the other's update; both sites' policies must allow it"},
    {.key = "trusted_coordinator", .kind = HANSE_CONFIG_BOOL, AT(aggregation.trusted_coordinator), .value = "false", .help = "masked: assume that no site colludes with the coordinator (collusion 0); every site's policy must allow it"},
    {.key = NULL}};

const hanse_config_field plan_fields[] = {
    {.key = "hanse", .kind = HANSE_CONFIG_UINT, .required = true, HANSE_CONFIG_AT(plan_draft, format_version), .min = 1, .max = 1, .help = "version of this format"},
    {.key = "name", .kind = HANSE_CONFIG_NAME, .required = true, AT(name), .help = "for people; the plan's identity is the SHA-256 of its text"},
    {.key = "data", .kind = HANSE_CONFIG_MAP, .required = true, .fields = data_fields, .help = "what is read, and what becomes of it"},
    {.key = "scaling", .kind = HANSE_CONFIG_ENUM, AT(scaling), .names = scalings, .value = "none", .help = "csv inputs become (x - mean) / std: by the plan's constants, each site's own training rows, or sums over all sites"},
    {.key = "scale_categorical", .kind = HANSE_CONFIG_BOOL, AT(scale_categorical), .value = "false", .help = "the one-hot inputs too (`scaling: site` or `federated`)"},
    {.key = "model", .kind = HANSE_CONFIG_MAP, .required = true, .fields = model_fields, .help = "what is trained"},
    {.key = "train", .kind = HANSE_CONFIG_MAP, .fields = train_fields, .help = "the local work of a round; required unless `model.kind: identity`"},
    {.key = "rounds", .kind = HANSE_CONFIG_MAP, .required = true, .fields = round_fields, .help = "how often, how long, with whom"},
    {.key = "aggregation", .kind = HANSE_CONFIG_MAP, .fields = aggregation_fields, .help = "how contributions are added up, and who can see them"},
    {.key = "best_by", .kind = HANSE_CONFIG_ENUM, AT(best_by), .names = metrics, .value = "none", .help = "which round's model counts as the best; none: the last"},
    {.key = NULL}};
