/* progress.h - where a run stands: which round comes next, and which model is the best so far.
 *
 * Round 0 sums statistics (federated scaling, and masked runs, whose weights need a total), 1..count train, count+1 evaluates the last model. The metrics of round r's model
 * come with the contributions of round r+1. Pure. */
#ifndef HANSE_COORDINATOR_PROGRESS_H
#define HANSE_COORDINATOR_PROGRESS_H

#include "hanse/aux.h"
#include "hanse/object.h"

typedef struct hanse_progress {
    bool statistics_due; /* round 0 is needed and not yet published */
    uint64_t rounds_count; /* training rounds of the plan */
    uint64_t rounds_done;  /* training rounds published */
    bool evaluated;        /* the last model has been evaluated */
    hanse_metric best_by;
    uint64_t best_round; /* without best_by, or before any metric: the last published one */
    double best_value;   /* NaN before any */
} hanse_progress;

void hanse_progress_init(hanse_progress *progress, const hanse_plan *plan);
/* The round that is due; false when the run is done. */
bool hanse_progress_next(const hanse_progress *progress, hanse_round_kind *kind, uint64_t *round);
/* A round was published. `metrics` (NULL for statistics) describe the model of the training round before it. */
void hanse_progress_published(hanse_progress *progress, hanse_round_kind kind, uint64_t round, const hanse_metrics *metrics);

#endif
