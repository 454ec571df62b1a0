/* tensor.h - what a model is made of: an ordered list of named float32 tensors, laid end to end.
 *
 * The order is that of the model file and of an upload's data segment; weights are row-major [out, in]. Pure. */
#ifndef HANSE_TENSOR_H
#define HANSE_TENSOR_H

#include "hanse/plan.h"

#define HANSE_DIMS_MAX 4
#define HANSE_TENSORS_MAX 1024
#define HANSE_TENSOR_NAME_MAX 127                    /* characters, without the zero */
#define HANSE_PARAMETERS_MAX ((uint64_t)1 << 33)     /* float32 of one model: 32 GiB */

typedef struct hanse_tensor {
    char name[HANSE_TENSOR_NAME_MAX + 1]; /* printable ASCII without space, quote and backslash; unique */
    size_t dims[HANSE_DIMS_MAX];          /* [dims_count], each >= 1 */
    size_t dims_count;                    /* 1..HANSE_DIMS_MAX */
    size_t offset;                        /* of its first float, in floats */
    size_t count;                         /* floats: product of dims */
} hanse_tensor;

typedef struct hanse_layout {
    hanse_tensor *tensors; /* [count] */
    size_t count;
    size_t parameters;     /* P: floats of all tensors */
} hanse_layout;

#define HANSE_LAYOUT_EMPTY ((hanse_layout){NULL, 0, 0})

/* Append one tensor behind the others. Errors: SHAPE (dims, name or total out of range; name taken), NOMEM; the
 * layout is then unchanged. */
HANSE_MUST_CHECK hanse_rc hanse_layout_add(hanse_layout *layout, const char *name, const size_t *dims, size_t dims_count, hanse_err *err);
/* Layout of the plan's model, D = hanse_plan_input_dim(), K = classes:
 *   logistic  linear.weight [1,D], linear.bias [1]
 *   softmax   linear.weight [K,D], linear.bias [K]
 *   mlp       layers.0.weight [hidden[0],D], layers.0.bias [hidden[0]], ..., layers.H.weight [K,hidden[H-1]], layers.H.bias [K]
 *   identity  vector [parameters]
 * `out` is overwritten; clear it. Errors: SHAPE, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_layout_of_plan(hanse_layout *out, const hanse_plan *plan, hanse_err *err);
/* Same names, shapes and order? Errors: SHAPE, naming the first tensor that differs. */
HANSE_MUST_CHECK hanse_rc hanse_layout_same(const hanse_layout *got, const hanse_layout *want, hanse_err *err);
void hanse_layout_clear(hanse_layout *layout); /* empty afterwards */

/* Values [first, first+count) of the initial model: tensor by tensor U(-1/sqrt(fan_in), +1/sqrt(fan_in)), weights and biases;
 * fan_in is the weight's second dimension, for a bias that of the weight before it.
 * Value i comes from word i of splitmix64 (Steele, Lea, Flood, OOPSLA 2014) started at splitmix64(seed): its upper 24 bits
 * u give (2u + 1) / 2^24 - 1. So any range can be made alone, and the same seed gives the same bits everywhere. */
void hanse_layout_init_values(const hanse_layout *layout, uint64_t seed, size_t first, size_t count, float *values);

/* Index of the first NaN or infinity; `count` when all are finite. Reads at memory speed. */
size_t hanse_floats_nonfinite(const float *values, size_t count);
/* The tensor that holds float `idx` (< parameters): for messages. */
const hanse_tensor *hanse_layout_find(const hanse_layout *layout, size_t idx);

#endif
