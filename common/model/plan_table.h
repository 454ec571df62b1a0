/* plan_table.h - the keys of a plan. */
#ifndef HANSE_PLAN_TABLE_H
#define HANSE_PLAN_TABLE_H

#include "hanse/config.h"
#include "hanse/plan.h"

#define PLAN_BOUND_NONE 1e308  /* what an absent `low` or `high` stands for */
#define PLAN_BOUND_MAX 1e15    /* of bounds that scale */
#define PLAN_DIM_MAX ((size_t)1 << 20)

/* A plan and what only its parser needs. The plan comes first: its address is that of the draft. */
typedef struct plan_draft {
    hanse_plan plan;
    uint32_t format_version;
    size_t labels_count;   /* target.classes */
    size_t idx_classes;    /* data.classes */
} plan_draft;

extern const hanse_config_field plan_fields[]; /* of a plan_draft */

#endif
