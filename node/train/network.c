#include "node/train/network.h"

#include <limits.h>
#include <math.h>

static hanse_rc lay_out(hanse_network *network, const hanse_plan *plan, hanse_err *err)
{
    size_t hidden = plan->model.kind == HANSE_MODEL_MLP ? plan->model.hidden_count : 0;

    network->layers_count = hidden + 1;
    network->width[0] = hanse_plan_input_dim(plan);
    for (size_t l = 0; l < hidden; l++)
        network->width[l + 1] = plan->model.hidden[l];
    network->width[hidden + 1] = plan->model.kind == HANSE_MODEL_LOGISTIC ? 1 : plan->data.classes_count;

    for (size_t l = 0; l <= network->layers_count; l++)
        if (network->width[l] == 0 || network->width[l] > INT_MAX / 2)
            return HANSE_FAIL(err, HANSE_E_INVALID, "layer %zu of the model has width %zu, want 1..%d", l, network->width[l],
                              INT_MAX / 2);
    for (size_t l = 0; l < network->layers_count; l++) {
        network->weights[l] = network->parameters;
        network->parameters += network->width[l + 1] * (network->width[l] + 1); /* 2^60 + 2^60: no overflow before the check */
        if (network->parameters > (SIZE_MAX >> 4))
            return HANSE_FAIL(err, HANSE_E_INVALID, "the model has too many parameters");
    }
    return HANSE_OK;
}

hanse_rc hanse_network_init(hanse_network *network, const hanse_plan *plan, hanse_gemm gemm, size_t batch_max, hanse_err *err)
{
    hanse_rc rc;
    size_t widest = 1, room;
    bool complete;

    *network = (hanse_network){.gemm = gemm, .batch_max = batch_max};
    if (batch_max == 0 || batch_max > INT_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "batch of %zu rows, want 1..%d", batch_max, INT_MAX);
    rc = lay_out(network, plan, err);
    if (rc != HANSE_OK)
        return rc;

    network->params = hanse_calloc(network->parameters, sizeof(float));
    network->grads = hanse_calloc(network->parameters, sizeof(float));
    complete = network->params != NULL && network->grads != NULL;
    for (size_t l = 0; l < network->layers_count; l++) {
        /* batch and width are both below 2^31: their product fits; hanse_calloc checks the last factor. */
        network->outputs[l] = hanse_calloc(batch_max * network->width[l + 1], sizeof(float));
        complete = complete && network->outputs[l] != NULL;
        if (l > 0 && network->width[l] > widest)
            widest = network->width[l];
    }
    room = batch_max * network->width[0];
    network->input = hanse_calloc(room, sizeof(float));
    network->deltas[0] = hanse_calloc(batch_max * widest, sizeof(float));
    network->deltas[1] = hanse_calloc(batch_max * widest, sizeof(float));
    if (!complete || network->input == NULL || network->deltas[0] == NULL || network->deltas[1] == NULL) {
        hanse_network_clear(network);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a model of %zu parameters and batches of %zu rows",
                          network->parameters, batch_max);
    }
    return HANSE_OK;
}

void hanse_network_clear(hanse_network *network)
{
    hanse_free(network->params);
    hanse_free(network->grads);
    hanse_free(network->input);
    for (size_t l = 0; l < network->layers_count; l++)
        hanse_free(network->outputs[l]);
    hanse_free(network->deltas[0]);
    hanse_free(network->deltas[1]);
    *network = (hanse_network){.parameters = network->parameters};
}

static void add_bias(float *restrict z, const float *restrict bias, size_t rows, size_t width)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++)
            z[i * width + j] += bias[j];
}

static void add_bias_relu(float *restrict z, const float *restrict bias, size_t rows, size_t width)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++) {
            float sum = z[i * width + j] + bias[j];

            z[i * width + j] = sum < 0 ? 0 : sum; /* NaN stays NaN: divergence must show in the loss */
        }
}

void hanse_network_forward(hanse_network *network, const float *x, size_t rows)
{
    for (size_t l = 0; l < network->layers_count; l++) {
        size_t in = network->width[l], out = network->width[l + 1];
        const float *weights = network->params + network->weights[l];

        network->gemm(HANSE_GEMM_NT, rows, out, in, x, weights, network->outputs[l]); /* Z [B,out] = X [B,in] W [out,in]^T */
        if (l + 1 < network->layers_count)
            add_bias_relu(network->outputs[l], weights + out * in, rows, out);
        else
            add_bias(network->outputs[l], weights + out * in, rows, out);
        x = network->outputs[l];
    }
}

/* Softmax of one row in place, shifted by its maximum so that nothing overflows; returns log(sum exp). */
static float softmax_row(float *restrict z, size_t width)
{
    float most = z[0], sum = 0;

    for (size_t j = 1; j < width; j++)
        most = z[j] > most ? z[j] : most;
    for (size_t j = 0; j < width; j++) {
        z[j] = expf(z[j] - most);
        sum += z[j];
    }
    for (size_t j = 0; j < width; j++)
        z[j] /= sum;
    return most + logf(sum);
}

static float sigmoid(float z)
{
    return 1 / (1 + expf(-z)); /* exp may become infinity: then the result is 0, as it should be */
}

/* Logits -> d (mean cross-entropy) / d logits, in place; returns the sum of the cross-entropies. */
static double loss_gradient(float *z, const uint32_t *labels, size_t rows, size_t width)
{
    float share = 1 / (float)rows;
    double loss = 0;

    for (size_t i = 0; i < rows; i++) {
        float *row = z + i * width;

        if (width == 1) { /* -log sigmoid(s), s = z of the right sign, as max(-s,0) + log(1 + exp(-|s|)) */
            float s = labels[i] == 1 ? row[0] : -row[0];

            loss += (double)((s < 0 ? -s : s * 0) + log1pf(expf(-fabsf(s)))); /* s * 0: NaN stays NaN */
            row[0] = (sigmoid(row[0]) - (float)labels[i]) * share;
        } else {
            float target = row[labels[i]];

            loss += (double)(softmax_row(row, width) - target);
            row[labels[i]] -= 1;
            for (size_t j = 0; j < width; j++)
                row[j] *= share;
        }
    }
    return loss;
}

static void sum_columns(float *restrict sums, const float *restrict delta, size_t rows, size_t width)
{
    for (size_t j = 0; j < width; j++)
        sums[j] = 0;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++)
            sums[j] += delta[i * width + j];
}

static void relu_gradient(float *restrict delta, const float *restrict output, size_t count)
{
    for (size_t i = 0; i < count; i++)
        delta[i] = output[i] > 0 ? delta[i] : 0;
}

double hanse_network_backward(hanse_network *network, const float *x, const uint32_t *labels, size_t rows)
{
    size_t last = network->layers_count - 1;
    float *delta = network->outputs[last];
    double loss = loss_gradient(delta, labels, rows, network->width[last + 1]);

    for (size_t l = last + 1; l-- > 0;) {
        size_t in = network->width[l], out = network->width[l + 1];
        const float *below = l == 0 ? x : network->outputs[l - 1];
        float *grads = network->grads + network->weights[l];

        network->gemm(HANSE_GEMM_TN, out, in, rows, delta, below, grads); /* dW [out,in] = delta [B,out]^T X [B,in] */
        sum_columns(grads + out * in, delta, rows, out);
        if (l == 0)
            break;
        float *next = network->deltas[l % 2];
        network->gemm(HANSE_GEMM_NN, rows, in, out, delta, network->params + network->weights[l], next); /* [B,in] = delta W */
        relu_gradient(next, below, rows * in);
        delta = next;
    }
    return loss;
}

void hanse_network_probabilities(const hanse_network *network, size_t rows, float *probabilities)
{
    size_t last = network->layers_count - 1, width = network->width[last + 1];
    const float *logits = network->outputs[last];

    if (width == 1) {
        for (size_t i = 0; i < rows; i++) {
            probabilities[2 * i + 1] = sigmoid(logits[i]);
            probabilities[2 * i] = 1 - probabilities[2 * i + 1];
        }
        return;
    }
    memcpy(probabilities, logits, rows * width * sizeof *probabilities);
    for (size_t i = 0; i < rows; i++)
        softmax_row(probabilities + i * width, width);
}
