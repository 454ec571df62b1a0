#include "coordinator/round/progress.h"

#include <math.h>

void hanse_progress_init(hanse_progress *progress, const hanse_plan *plan)
{
    *progress = (hanse_progress){.statistics_due = hanse_plan_has_statistics(plan),
                                 .rounds_count = plan->rounds.count,
                                 .best_by = plan->best_by,
                                 .best_value = NAN};
}

bool hanse_progress_next(const hanse_progress *progress, hanse_round_kind *kind, uint64_t *round)
{
    if (progress->statistics_due) {
        *kind = HANSE_ROUND_STATISTICS;
        *round = 0;
        return true;
    }
    *round = progress->rounds_done + 1;
    *kind = progress->rounds_done < progress->rounds_count ? HANSE_ROUND_TRAINING : HANSE_ROUND_EVALUATION;
    return !progress->evaluated;
}

/* Greater is better for all of them; NaN when the metric says nothing. */
static double value_of(const hanse_progress *progress, const hanse_metrics *metrics)
{
    switch (progress->best_by) {
    case HANSE_METRIC_ACCURACY:
        return hanse_metrics_accuracy(metrics);
    case HANSE_METRIC_AUC:
        return hanse_metrics_auc(metrics);
    case HANSE_METRIC_LOSS:
        return -hanse_metrics_loss(metrics);
    case HANSE_METRIC_NONE:
        break;
    }
    return NAN;
}

void hanse_progress_published(hanse_progress *progress, hanse_round_kind kind, uint64_t round, const hanse_metrics *metrics)
{
    if (kind == HANSE_ROUND_STATISTICS) {
        progress->statistics_due = false;
        return;
    }
    if (metrics != NULL && round >= 2) { /* the initial model is never the best: it has seen no data */
        double value = value_of(progress, metrics);

        if (!isnan(value) && !(value <= progress->best_value)) {
            progress->best_value = value;
            progress->best_round = round - 1;
        }
    }
    if (kind == HANSE_ROUND_TRAINING) {
        progress->rounds_done = round;
        if (isnan(progress->best_value))
            progress->best_round = round;
    } else {
        progress->evaluated = true;
    }
}
