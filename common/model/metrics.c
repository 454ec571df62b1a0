#include "hanse/aux.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#define LOSS_CAP 64.0
#define MATRIX_CLASSES_MAX 64 /* beyond: no confusion matrix, no histograms */

static size_t matrix_cells(size_t classes)
{
    return classes >= 2 && classes <= MATRIX_CLASSES_MAX ? classes * classes : 0;
}

/* S: how many scores of a row are counted. Two classes need one: the other is its complement. */
static size_t scores_counted(size_t classes)
{
    return matrix_cells(classes) == 0 ? 0 : classes == 2 ? 1 : classes;
}

static size_t bins_of(size_t classes)
{
    return classes == 2 ? 1024 : 64;
}

static size_t histogram_cells(size_t classes)
{
    return scores_counted(classes) * 2 * bins_of(classes);
}

size_t hanse_metrics_words(size_t classes_count)
{
    return 3 + matrix_cells(classes_count) + histogram_cells(classes_count);
}

hanse_rc hanse_metrics_init(hanse_metrics *metrics, size_t classes_count, hanse_err *err)
{
    size_t matrix = matrix_cells(classes_count), cells = matrix + histogram_cells(classes_count);

    *metrics = (hanse_metrics){.classes_count = classes_count, .bins_count = bins_of(classes_count)};
    if (cells == 0)
        return HANSE_OK;
    metrics->confusion = hanse_calloc(cells, sizeof *metrics->confusion); /* one block: matrix, then histograms */
    if (metrics->confusion == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the metrics of %zu classes", classes_count);
    metrics->histogram = metrics->confusion + matrix;
    return HANSE_OK;
}

void hanse_metrics_clear(hanse_metrics *metrics)
{
    if (metrics == NULL)
        return;
    hanse_free(metrics->confusion);
    *metrics = (hanse_metrics){0};
}

/* Histogram of score s: bins of the negatives, then of the positives. */
static uint64_t *histogram_of(const hanse_metrics *metrics, size_t s, bool positive)
{
    return metrics->histogram + (2 * s + positive) * metrics->bins_count;
}

static size_t bin_of(float score, size_t bins)
{
    float scaled = score * (float)bins; /* bins is a power of two: exact */
    return !(scaled > 0) ? 0 : scaled >= (float)bins ? bins - 1 : (size_t)scaled;
}

void hanse_metrics_add_row(hanse_metrics *metrics, size_t truth, const float *scores)
{
    size_t classes = metrics->classes_count, counted = scores_counted(classes), best = 0;
    bool finite = true;
    double loss = LOSS_CAP;

    assert(truth < classes);
    for (size_t k = 0; k < classes; k++) {
        finite &= isfinite(scores[k]) != 0;
        if (scores[k] > scores[best])
            best = k;
    }
    if (finite && scores[truth] > 0)
        loss = fmin(fmax(-log((double)scores[truth]), 0), LOSS_CAP);
    if (!finite)
        best = (truth + 1) % classes;

    metrics->samples++;
    metrics->correct += best == truth;
    metrics->loss += (uint64_t)llround(loss * HANSE_AUX_UNIT);
    if (counted > 0)
        metrics->confusion[truth * classes + best]++;
    for (size_t s = 0; s < counted; s++) {
        size_t class = counted == 1 ? 1 : s;
        bool positive = truth == class;
        /* a row without a score ranks as badly as it can */
        size_t bin = finite ? bin_of(scores[class], metrics->bins_count) : positive ? 0 : metrics->bins_count - 1;
        histogram_of(metrics, s, positive)[bin]++;
    }
}

void hanse_metrics_merge(hanse_metrics *sum, const hanse_metrics *part)
{
    assert(sum->classes_count == part->classes_count);
    size_t cells = matrix_cells(sum->classes_count) + histogram_cells(sum->classes_count);
    sum->samples += part->samples;
    sum->correct += part->correct;
    sum->loss += part->loss;
    for (size_t i = 0; i < cells; i++)
        sum->confusion[i] += part->confusion[i];
}

double hanse_metrics_accuracy(const hanse_metrics *metrics)
{
    return metrics->samples == 0 ? NAN : (double)metrics->correct / (double)metrics->samples;
}

double hanse_metrics_loss(const hanse_metrics *metrics)
{
    return metrics->samples == 0 ? NAN : (double)metrics->loss / HANSE_AUX_UNIT / (double)metrics->samples;
}

double hanse_metrics_auc(const hanse_metrics *metrics)
{
    double total = 0;
    size_t measured = 0, counted = scores_counted(metrics->classes_count);

    for (size_t s = 0; s < counted; s++) {
        const uint64_t *negatives = histogram_of(metrics, s, false), *positives = histogram_of(metrics, s, true);
        double below = 0, all_positives = 0, pairs = 0; /* pairs (negative, positive) in the right order */
        for (size_t b = 0; b < metrics->bins_count; b++) {
            pairs += (double)positives[b] * (below + 0.5 * (double)negatives[b]);
            below += (double)negatives[b];
            all_positives += (double)positives[b];
        }
        if (below > 0 && all_positives > 0) {
            total += pairs / (below * all_positives);
            measured++;
        }
    }
    return measured == 0 ? NAN : total / (double)measured;
}

void hanse_metrics_encode(const hanse_metrics *metrics, uint64_t *words)
{
    size_t cells = matrix_cells(metrics->classes_count) + histogram_cells(metrics->classes_count);
    words[0] = metrics->samples;
    words[1] = metrics->correct;
    words[2] = metrics->loss;
    if (cells > 0)
        memcpy(words + 3, metrics->confusion, cells * sizeof *words);
}

/* Sum of words; false when it does not fit. */
static bool sum_words(const uint64_t *words, size_t count, uint64_t *out)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(sum, words[i], &sum))
            return false;
    *out = sum;
    return true;
}

/* The counts are of the same rows, whether of one site or summed over many: a contradiction is a broken or lying sender. */
static hanse_rc check_counts(const hanse_metrics *metrics, hanse_err *err)
{
    size_t classes = metrics->classes_count, counted = scores_counted(classes);
    uint64_t rows, all = 0, right = 0, negatives, positives;

    if (metrics->correct > metrics->samples)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "metrics: %" PRIu64 " of %" PRIu64 " rows correct", metrics->correct, metrics->samples);
    if (metrics->samples >= UINT64_MAX >> 27 || metrics->loss > metrics->samples * (uint64_t)(LOSS_CAP * HANSE_AUX_UNIT))
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "metrics: loss or row count beyond its bound");
    if (counted == 0)
        return HANSE_OK;
    for (size_t k = 0; k < classes; k++) {
        if (!sum_words(metrics->confusion + k * classes, classes, &rows) || __builtin_add_overflow(all, rows, &all))
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "metrics: confusion matrix beyond its bound");
        right += metrics->confusion[k * classes + k]; /* <= all */
        size_t s = counted == 1 ? 0 : k;
        if (counted == 1 && k == 0)
            continue; /* the one score is that of class 1 */
        if (!sum_words(histogram_of(metrics, s, true), metrics->bins_count, &positives)
            || !sum_words(histogram_of(metrics, s, false), metrics->bins_count, &negatives)
            || positives != rows || positives > metrics->samples || negatives != metrics->samples - positives)
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "metrics: histogram %zu and confusion matrix count different rows", s);
    }
    if (all != metrics->samples || right != metrics->correct)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "metrics: confusion matrix counts %" PRIu64 " rows, %" PRIu64 " correct; the totals say %" PRIu64 " and %" PRIu64,
                          all, right, metrics->samples, metrics->correct);
    return HANSE_OK;
}

hanse_rc hanse_metrics_decode(hanse_metrics *metrics, size_t classes_count, const uint64_t *words, size_t words_count, hanse_err *err)
{
    hanse_metrics decoded;
    hanse_rc rc;

    if (words_count != hanse_metrics_words(classes_count))
        return HANSE_FAIL(err, HANSE_E_SHAPE, "metrics: %zu words, want %zu for %zu classes", words_count, hanse_metrics_words(classes_count), classes_count);
    rc = hanse_metrics_init(&decoded, classes_count, err);
    if (rc != HANSE_OK)
        return rc;
    decoded.samples = words[0];
    decoded.correct = words[1];
    decoded.loss = words[2];
    if (words_count > 3)
        memcpy(decoded.confusion, words + 3, (words_count - 3) * sizeof *words);
    rc = check_counts(&decoded, err);
    if (rc == HANSE_OK)
        *metrics = decoded;
    else
        hanse_metrics_clear(&decoded);
    return rc;
}

size_t hanse_aux_words(const hanse_plan *plan, int kind)
{
    return kind == 0 ? 2 + (plan->scaling == HANSE_SCALING_FEDERATED ? 3 * hanse_plan_input_dim(plan) : 0) : 2 + hanse_metrics_words(plan->data.classes_count);
}
