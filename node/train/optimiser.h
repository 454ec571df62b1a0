/* optimiser.h - one step of SGD or Adam on flat arrays, in place.
 *
 * Fresh state every round: a site keeps nothing between rounds. Element by element and without fused multiply-add, so the
 * bits do not depend on the width of the vectors. Pure. */
#ifndef HANSE_NODE_TRAIN_OPTIMISER_H
#define HANSE_NODE_TRAIN_OPTIMISER_H

#include "hanse/plan.h"

typedef struct hanse_optimiser_state {
    hanse_optimiser kind;
    double rate, momentum, beta1, beta2, epsilon;
    size_t count;      /* P: parameters */
    float *first;      /* [P] momentum (SGD; NULL without) or mean of gradients (Adam) */
    float *second;     /* [P] mean of squared gradients (Adam), else NULL */
    double power1, power2; /* beta1^t, beta2^t after t steps */
} hanse_optimiser_state;

/* Ready for `count` parameters, as plan->train says; clear it. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_optimiser_init(hanse_optimiser_state *state, const hanse_plan *plan, size_t count, hanse_err *err);
void hanse_optimiser_reset(hanse_optimiser_state *state); /* as new */
void hanse_optimiser_clear(hanse_optimiser_state *state);

/* Begin step t = 1, 2, ...; then update each range of parameters once. */
void hanse_optimiser_tick(hanse_optimiser_state *state);
/* Update params [count], which are parameters [first, first + count) of the model.
 *   SGD   v = momentum v + g;  w -= rate v
 *   Adam  Kingma and Ba 2015, arXiv:1412.6980, bias-corrected: w -= rate m^ / (sqrt(v^) + epsilon)
 * with g = grads + l2 * params. */
void hanse_optimiser_update(hanse_optimiser_state *state, size_t first, float *params, const float *grads, size_t count, double l2);

#endif
