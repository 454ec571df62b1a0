/* aux.h - the aux segment of a contribution: u64 words that are summed over the sites, exactly.
 *
 * Fixed-point in Z_2^64, so that sums are independent of order and can travel masked. Each word has a per-site bound
 * B with n*B < 2^63. Wire: docs/wire.md#uploads. Pure. */
#ifndef HANSE_AUX_H
#define HANSE_AUX_H

#include "hanse/plan.h"

#define HANSE_AUX_UNIT ((double)(1 << 20)) /* fixed-point unit of losses and statistics: 2^-20 */
#define HANSE_ROWS_MAX ((uint64_t)1 << 32) /* training rows of one site, exclusive */

/* What evaluating one model on one site's test rows gives; sums of these over sites are the federated metrics. */
typedef struct hanse_metrics {
    size_t classes_count;  /* K */
    size_t bins_count;     /* of the score histograms: 1024 for K = 2, else 64 */
    uint64_t samples;      /* test rows */
    uint64_t correct;
    uint64_t loss;         /* sum of cross-entropies, HANSE_AUX_UNIT fixed-point, each capped at 64 */
    uint64_t *confusion;   /* [K * K], truth-major; [0] for K > 64: no matrix then */
    uint64_t *histogram;   /* [S * 2 * bins]: S = 1 for K = 2 (score of class 1), else one-vs-rest per class for K <= 64; negatives, then positives */
} hanse_metrics;

HANSE_MUST_CHECK hanse_rc hanse_metrics_init(hanse_metrics *metrics, size_t classes_count, hanse_err *err);
void hanse_metrics_clear(hanse_metrics *metrics);
/* Count one row: truth in [0,K), scores [K] probabilities. Non-finite scores count as a wrong row with the capped loss. */
void hanse_metrics_add_row(hanse_metrics *metrics, size_t truth, const float *scores);
void hanse_metrics_merge(hanse_metrics *sum, const hanse_metrics *part); /* same K */
double hanse_metrics_accuracy(const hanse_metrics *metrics); /* NaN without samples */
double hanse_metrics_loss(const hanse_metrics *metrics);     /* mean; NaN without samples */
/* Area under the ROC curve from the histograms (ties within a bin count half); macro mean over the classes that have
 * both kinds of rows; NaN when none has (print "-"). */
double hanse_metrics_auc(const hanse_metrics *metrics);
size_t hanse_metrics_words(size_t classes_count); /* length in u64 words */
void hanse_metrics_encode(const hanse_metrics *metrics, uint64_t *words);
HANSE_MUST_CHECK hanse_rc hanse_metrics_decode(hanse_metrics *metrics, size_t classes_count, const uint64_t *words, size_t words_count, hanse_err *err);

/* Layout of the aux words of a round of `kind` (0 statistics, 1 training, 2 evaluation):
 *   statistics: [0] training rows, [1] clipped cells, then, under federated scaling, per encoded column: count, sum round(z*2^20), sum round(z^2*2^20),
 *               z = (x - low)/(high - low) in [0,1]; one-hot columns have low 0, high 1
 *   training:   [0] weight = rows trained on in this round (an upper bound HANSE_ROWS_MAX), [1] = 1, then metrics of the incoming model
 *   evaluation: [0] 0, [1] = 1, then metrics */
size_t hanse_aux_words(const hanse_plan *plan, int kind);

#endif
