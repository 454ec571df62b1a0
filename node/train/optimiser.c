#include "node/train/optimiser.h"

#include <math.h>

hanse_rc hanse_optimiser_init(hanse_optimiser_state *state, const hanse_plan *plan, size_t count, hanse_err *err)
{
    bool adam = plan->train.optimiser == HANSE_OPTIMISER_ADAM;

    *state = (hanse_optimiser_state){.kind = plan->train.optimiser, .rate = plan->train.rate, .momentum = plan->train.momentum,
                                     .beta1 = plan->train.beta1, .beta2 = plan->train.beta2, .epsilon = plan->train.epsilon,
                                     .count = count, .power1 = 1, .power2 = 1};
    if (adam || plan->train.momentum > 0)
        state->first = hanse_calloc(count, sizeof *state->first);
    if (adam)
        state->second = hanse_calloc(count, sizeof *state->second);
    if ((adam && state->second == NULL) || ((adam || plan->train.momentum > 0) && state->first == NULL)) {
        hanse_optimiser_clear(state);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the optimiser's state of %zu parameters", count);
    }
    return HANSE_OK;
}

void hanse_optimiser_reset(hanse_optimiser_state *state)
{
    state->power1 = state->power2 = 1;
    if (state->first != NULL)
        memset(state->first, 0, state->count * sizeof *state->first);
    if (state->second != NULL)
        memset(state->second, 0, state->count * sizeof *state->second);
}

void hanse_optimiser_clear(hanse_optimiser_state *state)
{
    hanse_free(state->first);
    hanse_free(state->second);
    *state = (hanse_optimiser_state){.kind = state->kind};
}

void hanse_optimiser_tick(hanse_optimiser_state *state)
{
    state->power1 *= state->beta1;
    state->power2 *= state->beta2;
}

/* Constants of one step, in the precision of the parameters. */
typedef struct step {
    float rate, keep1, add1, keep2, add2, scale2, epsilon, l2;
} step;

static inline __attribute__((always_inline)) void adam_loop(const step *s, float *restrict w, const float *restrict grads,
                                                            float *restrict m, float *restrict v, size_t count)
{
    step c = *s;

    for (size_t i = 0; i < count; i++) {
        float g = grads[i] + c.l2 * w[i];

        m[i] = c.keep1 * m[i] + c.add1 * g;
        v[i] = c.keep2 * v[i] + c.add2 * (g * g);
        w[i] -= c.rate * m[i] / (sqrtf(v[i]) * c.scale2 + c.epsilon);
    }
}

static void adam_plain(const step *s, float *w, const float *g, float *m, float *v, size_t count)
{
    adam_loop(s, w, g, m, v, count);
}

#if defined(__x86_64__)
/* The same operations eight at a time; "avx2" without "fma" keeps the bits. */
__attribute__((target("avx2"))) static void adam_avx2(const step *s, float *w, const float *g, float *m, float *v, size_t count)
{
    adam_loop(s, w, g, m, v, count);
}
#endif

static void adam(const step *s, float *w, const float *g, float *m, float *v, size_t count)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        adam_avx2(s, w, g, m, v, count);
        return;
    }
#endif
    adam_plain(s, w, g, m, v, count);
}

static void sgd(const step *s, float *restrict w, const float *restrict grads, size_t count)
{
    step c = *s;

    for (size_t i = 0; i < count; i++)
        w[i] -= c.rate * (grads[i] + c.l2 * w[i]);
}

static void sgd_momentum(const step *s, float *restrict w, const float *restrict grads, float *restrict v, size_t count)
{
    step c = *s;

    for (size_t i = 0; i < count; i++) {
        v[i] = c.keep1 * v[i] + (grads[i] + c.l2 * w[i]);
        w[i] -= c.rate * v[i];
    }
}

void hanse_optimiser_update(hanse_optimiser_state *state, size_t first, float *params, const float *grads, size_t count, double l2)
{
    step s = {.rate = (float)state->rate, .keep1 = (float)state->momentum, .l2 = (float)l2};

    if (state->kind == HANSE_OPTIMISER_SGD && state->first == NULL) {
        sgd(&s, params, grads, count);
    } else if (state->kind == HANSE_OPTIMISER_SGD) {
        sgd_momentum(&s, params, grads, state->first + first, count);
    } else {
        s = (step){.rate = (float)(state->rate / (1 - state->power1)), .keep1 = (float)state->beta1,
                   .add1 = (float)(1 - state->beta1), .keep2 = (float)state->beta2, .add2 = (float)(1 - state->beta2),
                   .scale2 = (float)(1 / sqrt(1 - state->power2)), .epsilon = (float)state->epsilon, .l2 = (float)l2};
        adam(&s, params, grads, state->first + first, state->second + first, count);
    }
}
