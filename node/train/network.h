/* network.h - logistic regression, softmax regression and MLP as one thing: dense layers, ReLU between, cross-entropy behind.
 *
 * Letters: B rows of a batch, L layers, layer l maps width[l] -> width[l+1]; width[0] = D columns; the last width is K
 * classes, or 1 for logistic regression (the logit of class 1). Parameters lie flat in the order of the model file
 * (hanse_layout_of_plan): W_0 [width[1], width[0]], b_0 [width[1]], W_1, ... All matrices row-major. Pure. */
#ifndef HANSE_NODE_TRAIN_NETWORK_H
#define HANSE_NODE_TRAIN_NETWORK_H

#include "hanse/plan.h"
#include "node/train/blas.h"

typedef struct hanse_network {
    hanse_gemm gemm;
    size_t layers_count;                /* L >= 1 */
    size_t width[HANSE_LAYERS_MAX + 2]; /* [L + 1] */
    size_t weights[HANSE_LAYERS_MAX + 1]; /* [L] first parameter of W_l; b_l follows */
    size_t parameters;                  /* P */
    size_t batch_max;
    float *params;                      /* [P] */
    float *grads;                       /* [P] of the last hanse_network_backward(); the mean over the batch */
    float *input;                       /* [batch_max, D] where a caller gathers rows; use is optional */
    float *outputs[HANSE_LAYERS_MAX + 1]; /* [L][batch_max, width[l+1]] after ReLU; the last holds logits, then their gradient */
    float *deltas[2];                   /* [batch_max, widest hidden layer] */
} hanse_network;

/* Room for a model of `plan` (not IDENTITY) and batches up to batch_max rows; clear it.
 * Errors: INVALID (a width or batch over INT_MAX), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_network_init(hanse_network *network, const hanse_plan *plan, hanse_gemm gemm, size_t batch_max,
                                             hanse_err *err);
void hanse_network_clear(hanse_network *network);

/* Logits of x [rows, D], rows <= batch_max, into the last of `outputs`. */
void hanse_network_forward(hanse_network *network, const float *x, size_t rows);
/* After forward on the same x: turn logits into d loss / d logits, fill grads. `labels` [rows] in [0, K).
 * Returns the sum of the rows' cross-entropies (NaN or infinite when the model diverged). */
double hanse_network_backward(hanse_network *network, const float *x, const uint32_t *labels, size_t rows);
/* After forward: probabilities [rows, K] of the classes; logistic regression gives {1 - p, p}. */
void hanse_network_probabilities(const hanse_network *network, size_t rows, float *probabilities);

#endif
