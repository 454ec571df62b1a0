#include "hanse/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static bool name_is_good(const char *name)
{
    size_t len = strnlen(name, HANSE_TENSOR_NAME_MAX + 1);
    if (len == 0 || len > HANSE_TENSOR_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] < 0x21 || name[i] > 0x7e || name[i] == '"' || name[i] == '\\') /* so a name is its own JSON */
            return false;
    return strcmp(name, "__metadata__") != 0; /* taken by the file format */
}

hanse_rc hanse_layout_add(hanse_layout *layout, const char *name, const size_t *dims, size_t dims_count, hanse_err *err)
{
    size_t count = 1, parameters;

    if (!name_is_good(name))
        return HANSE_FAIL(err, HANSE_E_SHAPE, "tensor name '%.32s': use 1 to %d printable characters", name, HANSE_TENSOR_NAME_MAX);
    if (dims_count < 1 || dims_count > HANSE_DIMS_MAX)
        return HANSE_FAIL(err, HANSE_E_SHAPE, "tensor %s: %zu dimensions, want 1 to %d", name, dims_count, HANSE_DIMS_MAX);
    for (size_t d = 0; d < dims_count; d++)
        if (dims[d] == 0 || !hanse_size_mul(count, dims[d], &count))
            return HANSE_FAIL(err, HANSE_E_SHAPE, "tensor %s: dimension %zu is %zu: empty or too large", name, d, dims[d]);
    if (!hanse_size_add(layout->parameters, count, &parameters) || parameters > HANSE_PARAMETERS_MAX)
        return HANSE_FAIL(err, HANSE_E_SHAPE, "tensor %s: the model grows beyond %" PRIu64 " parameters", name, HANSE_PARAMETERS_MAX);
    if (layout->count == HANSE_TENSORS_MAX)
        return HANSE_FAIL(err, HANSE_E_SHAPE, "tensor %s: more than %d tensors", name, HANSE_TENSORS_MAX);
    for (size_t i = 0; i < layout->count; i++)
        if (strcmp(layout->tensors[i].name, name) == 0)
            return HANSE_FAIL(err, HANSE_E_SHAPE, "tensor %s: named twice", name);

    hanse_tensor *grown = hanse_realloc(layout->tensors, layout->count + 1, sizeof *grown);
    if (grown == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a list of %zu tensors", layout->count + 1);
    layout->tensors = grown;
    hanse_tensor *tensor = &grown[layout->count++];
    *tensor = (hanse_tensor){.dims_count = dims_count, .offset = layout->parameters, .count = count};
    memcpy(tensor->name, name, strlen(name));
    memcpy(tensor->dims, dims, dims_count * sizeof *dims);
    layout->parameters = parameters;
    return HANSE_OK;
}

/* One linear layer: weight [out, in], then bias [out]. */
static hanse_rc add_linear(hanse_layout *layout, const char *prefix, size_t out, size_t in, hanse_err *err)
{
    char name[HANSE_TENSOR_NAME_MAX + 1];
    hanse_rc rc;

    snprintf(name, sizeof name, "%s.weight", prefix);
    rc = hanse_layout_add(layout, name, (size_t[]){out, in}, 2, err);
    if (rc != HANSE_OK)
        return rc;
    snprintf(name, sizeof name, "%s.bias", prefix);
    return hanse_layout_add(layout, name, &out, 1, err);
}

hanse_rc hanse_layout_of_plan(hanse_layout *out, const hanse_plan *plan, hanse_err *err)
{
    size_t classes = plan->data.classes_count;
    hanse_rc rc = HANSE_OK;

    *out = HANSE_LAYOUT_EMPTY;
    switch (plan->model.kind) {
    case HANSE_MODEL_LOGISTIC:
        rc = add_linear(out, "linear", 1, hanse_plan_input_dim(plan), err);
        break;
    case HANSE_MODEL_SOFTMAX:
        rc = add_linear(out, "linear", classes, hanse_plan_input_dim(plan), err);
        break;
    case HANSE_MODEL_MLP: {
        size_t in = hanse_plan_input_dim(plan);
        for (size_t l = 0; l <= plan->model.hidden_count && rc == HANSE_OK; l++) {
            char prefix[32];
            size_t width = l < plan->model.hidden_count ? plan->model.hidden[l] : classes;
            snprintf(prefix, sizeof prefix, "layers.%zu", l);
            rc = add_linear(out, prefix, width, in, err);
            in = width;
        }
        break;
    }
    case HANSE_MODEL_IDENTITY:
        rc = hanse_layout_add(out, "vector", (size_t[]){(size_t)plan->model.parameters}, 1, err);
        break;
    }
    if (rc != HANSE_OK)
        hanse_layout_clear(out);
    return rc;
}

/* "[10,784]" */
static const char *shape_text(char text[96], const hanse_tensor *tensor)
{
    size_t len = 0;
    for (size_t d = 0; d < tensor->dims_count; d++)
        len += (size_t)snprintf(text + len, 96 - len, "%c%zu", d == 0 ? '[' : ',', tensor->dims[d]);
    snprintf(text + len, 96 - len, "]");
    return text;
}

hanse_rc hanse_layout_same(const hanse_layout *got, const hanse_layout *want, hanse_err *err)
{
    for (size_t i = 0; i < got->count && i < want->count; i++) {
        const hanse_tensor *g = &got->tensors[i], *w = &want->tensors[i];
        char got_shape[96], want_shape[96];
        if (strcmp(g->name, w->name) != 0 || g->dims_count != w->dims_count
            || memcmp(g->dims, w->dims, g->dims_count * sizeof *g->dims) != 0)
            return HANSE_FAIL(err, HANSE_E_SHAPE, "tensor %zu is %s %s, want %s %s", i, g->name, shape_text(got_shape, g),
                              w->name, shape_text(want_shape, w));
    }
    if (got->count != want->count) {
        bool more = got->count > want->count;
        return HANSE_FAIL(err, HANSE_E_SHAPE, "%zu tensors, want %zu: %s is %s", got->count, want->count,
                          more ? got->tensors[want->count].name : want->tensors[got->count].name, more ? "unknown" : "missing");
    }
    return HANSE_OK;
}

void hanse_layout_clear(hanse_layout *layout)
{
    if (layout == NULL)
        return;
    hanse_free(layout->tensors);
    *layout = HANSE_LAYOUT_EMPTY;
}

const hanse_tensor *hanse_layout_find(const hanse_layout *layout, size_t idx)
{
    size_t low = 0, high = layout->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (layout->tensors[middle].offset <= idx)
            low = middle;
        else
            high = middle;
    }
    return &layout->tensors[low];
}

#define SPLITMIX_STEP UINT64_C(0x9e3779b97f4a7c15)

/* Output of splitmix64 whose state, after its step, is `z`. */
static inline uint64_t splitmix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t fan_in(const hanse_layout *layout, const hanse_tensor *tensor)
{
    if (tensor->dims_count == 1 && tensor > layout->tensors && tensor[-1].dims_count == 2)
        tensor--;
    return tensor->dims[tensor->dims_count == 1 ? 0 : 1];
}

void hanse_layout_init_values(const hanse_layout *layout, uint64_t seed, size_t first, size_t count, float *values)
{
    uint64_t key = splitmix(seed + SPLITMIX_STEP); /* neighbouring seeds must not give shifted copies of one sequence */

    for (size_t i = first; i < first + count;) {
        const hanse_tensor *tensor = hanse_layout_find(layout, i);
        size_t end = tensor->offset + tensor->count;
        double bound = 1.0 / sqrt((double)fan_in(layout, tensor));
        for (; i < end && i < first + count; i++) {
            uint64_t u = splitmix(key + (i + 1) * SPLITMIX_STEP) >> 40;
            values[i - first] = (float)(((double)(2 * u + 1) * 0x1p-24 - 1.0) * bound);
        }
    }
}

/* On the bits: it vectorises, and no compiler flag can make it believe that all numbers are finite. */
static inline bool is_nonfinite(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) == 0x7f800000u;
}

size_t hanse_floats_nonfinite(const float *values, size_t count)
{
    enum { BLOCK = 256 };
    size_t start = 0;

    for (; start + BLOCK <= count; start += BLOCK) {
        uint32_t bad = 0;
        for (size_t i = 0; i < BLOCK; i++)
            bad |= is_nonfinite(values[start + i]);
        if (bad)
            break;
    }
    while (start < count && !is_nonfinite(values[start]))
        start++;
    return start;
}
