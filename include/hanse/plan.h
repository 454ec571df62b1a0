/* plan.h - what is trained and how: the parsed, checked form of a plan's YAML text.
 *
 * The text is what is signed and hashed; its SHA-256 is the plan's identity, so the bytes are kept as they
 * came. docs/plans.md describes every key. Pure: parses from memory; a plan never holds a path. */
#ifndef HANSE_PLAN_H
#define HANSE_PLAN_H

#include "hanse/bytes.h"

#define HANSE_PLAN_TEXT_MAX ((size_t)1 << 20) /* bytes of YAML */
#define HANSE_NAME_MAX 63                     /* characters of any name, without the zero */
#define HANSE_FEATURES_MAX 4096
#define HANSE_VOCABULARY_MAX 1024
#define HANSE_LAYERS_MAX 8 /* hidden layers */
#define HANSE_CLASSES_MAX 1000

typedef char hanse_name[HANSE_NAME_MAX + 1]; /* printable ASCII */

typedef enum hanse_data_format { HANSE_DATA_NONE, HANSE_DATA_CSV, HANSE_DATA_IDX } hanse_data_format;
typedef enum hanse_feature_kind { HANSE_FEATURE_NUMERIC, HANSE_FEATURE_CATEGORICAL } hanse_feature_kind;
typedef enum hanse_missing { HANSE_MISSING_REFUSE, HANSE_MISSING_DROP, HANSE_MISSING_MEAN, HANSE_MISSING_VALUE } hanse_missing;
typedef enum hanse_unknown { HANSE_UNKNOWN_REFUSE, HANSE_UNKNOWN_BUCKET, HANSE_UNKNOWN_ZEROS } hanse_unknown;

/* One column of the source and what becomes of it. */
typedef struct hanse_feature {
    hanse_name name; /* of the column */
    hanse_feature_kind kind;
    double low, high;      /* numeric: clipped to [low, high], which also bound the federated statistics */
    hanse_missing missing; /* what an empty cell or missing-value mark means */
    double fill;           /* HANSE_MISSING_VALUE: before scaling, in the column's unit */
    double mean, std;      /* numeric under scaling "plan" */
    char **vocabulary;     /* categorical: [vocabulary_count]; numbers compare as numbers ("1" is "1.0") */
    size_t vocabulary_count;
    bool drop_first;       /* the first level gets no column of its own */
    hanse_unknown unknown; /* a level that the vocabulary lacks; BUCKET adds one column at the end */
} hanse_feature;

typedef enum hanse_scaling {
    HANSE_SCALING_NONE,
    HANSE_SCALING_PLAN,      /* constants of the plan */
    HANSE_SCALING_SITE,      /* each site by its own training rows */
    HANSE_SCALING_FEDERATED, /* a first round sums counts, sums and squares over the sites */
} hanse_scaling;

typedef enum hanse_model_kind {
    HANSE_MODEL_LOGISTIC, /* [D] -> 1, sigmoid; two classes */
    HANSE_MODEL_SOFTMAX,  /* [D] -> K */
    HANSE_MODEL_MLP,      /* [D] -> hidden... -> K, ReLU */
    HANSE_MODEL_IDENTITY, /* no training: hands the model back; measures the machinery */
} hanse_model_kind;
typedef enum hanse_optimiser { HANSE_OPTIMISER_SGD, HANSE_OPTIMISER_ADAM } hanse_optimiser;
typedef enum hanse_schedule { HANSE_SCHEDULE_CONTINUOUS, HANSE_SCHEDULE_ON_DEMAND } hanse_schedule;
typedef enum hanse_privacy {
    HANSE_PRIVACY_MASKED, /* the coordinator learns sums only: hanse/masking.h */
    HANSE_PRIVACY_SEALED, /* encrypted to the coordinator, which can read each contribution */
} hanse_privacy;
typedef enum hanse_contacts { HANSE_CONTACTS_ONLINE, HANSE_CONTACTS_CRON } hanse_contacts; /* as hanse_secagg_profile */
typedef enum hanse_graph {
    HANSE_GRAPH_AUTO,     /* sparse above 300 sites and 1e9 numbers of all together, where it spares anything */
    HANSE_GRAPH_COMPLETE, /* every pair of sites masks */
    HANSE_GRAPH_SPARSE,   /* neighbours only: hanse/secagg_graph.h */
} hanse_graph;
typedef enum hanse_metric { HANSE_METRIC_NONE, HANSE_METRIC_ACCURACY, HANSE_METRIC_AUC, HANSE_METRIC_LOSS } hanse_metric;

typedef struct hanse_plan {
    uint8_t hash[32]; /* SHA-256 of the text */
    hanse_name name;

    struct {
        hanse_name name; /* node.yaml maps it to files */
        hanse_data_format format;
        hanse_name *columns; /* [columns_count] for CSV without header; empty: the first line is the header */
        size_t columns_count;
        hanse_feature *features; /* CSV: [features_count] */
        size_t features_count;
        hanse_name target;     /* CSV: the column */
        char **classes;        /* target values in class order; [classes_count]; NULL when positive_above is used */
        bool has_positive_above;
        double positive_above; /* class 1 when the target is a greater number, else class 0 */
        size_t rows, cols;     /* IDX: picture size [pixels]; values are divided by 255 */
        size_t classes_count;  /* K >= 2 */
        double test_share;     /* of rows by seeded hash, when the site gives no split */
        uint64_t split_seed;
    } data;

    hanse_scaling scaling;
    bool scale_categorical; /* one-hot columns too */

    struct {
        hanse_model_kind kind;
        size_t hidden[HANSE_LAYERS_MAX];
        size_t hidden_count;
        uint64_t parameters; /* IDENTITY: how many float32 */
    } model;

    struct {
        hanse_optimiser optimiser;
        double rate, momentum, beta1, beta2, epsilon, l2;
        size_t batch;
        uint64_t epochs, steps; /* a round of local work: exactly one of them is not 0 */
        uint64_t seed;          /* initial model, order of rows */
    } train;

    struct {
        uint64_t count;
        uint64_t deadline_ms; /* upload deadline, from the opening of the round */
        size_t sites_min, sites_max; /* quorum; the round closes early at sites_max */
        hanse_schedule schedule;
    } rounds;

    struct {
        hanse_privacy privacy;
        hanse_contacts profile;
        hanse_graph graph;
        double precision;     /* of the mean, in clips: root mean square rounding error when all take part */
        uint64_t bits;        /* of a ring word; 0: what `precision` needs */
        double clip_floor, clip_ceiling; /* the clip of each tensor moves between them */
        uint64_t collusion;   /* colluding sites to hold out against; 0: the floor */
        uint64_t survivors_min; /* sites a sum must be made of; 0: the floor */
        uint64_t ticket_life_ms; /* L */
        bool allow_two, trusted_coordinator;
    } aggregation;
    hanse_metric best_by; /* HANSE_METRIC_NONE: the last round counts as best */
} hanse_plan;

/* Does a run begin with a statistics round? Where sites scale by sums over all of them, and where masked weights need a total. */
bool hanse_plan_has_statistics(const hanse_plan *plan);
/* Columns after encoding: D of the model's input. */
size_t hanse_plan_input_dim(const hanse_plan *plan);

/* Parse and check `text`; `origin` (a file name) begins every message: "plan.yaml:12: key: what, range".
 *   out  owned by the caller on success, see hanse_plan_free(); untouched on error
 * Errors: INVALID (file, line, key and range are named), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_plan_parse(hanse_plan **out, hanse_bytes text, const char *origin, hanse_err *err);
void hanse_plan_free(hanse_plan *plan); /* NULL allowed */

/* Append a Markdown table row for every key of a plan: what docs/plans.md prints. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_plan_describe(hanse_buf *out, hanse_err *err);

#endif
