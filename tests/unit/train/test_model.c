/* Networks: gradients by finite differences, OpenBLAS against plain loops, losses at the edges. */
#include "fixture.h"

#include "node/train/network.h"

typedef struct kind_case {
    const char *name;
    hanse_model_kind kind;
    size_t dim, classes, hidden[2], hidden_count;
} kind_case;

static const kind_case kinds[] = {
    {"logistic", HANSE_MODEL_LOGISTIC, 13, 2, {0, 0}, 0},
    {"softmax", HANSE_MODEL_SOFTMAX, 7, 5, {0, 0}, 0},
    {"mlp of one hidden layer", HANSE_MODEL_MLP, 6, 3, {9, 0}, 1},
    {"mlp of two hidden layers", HANSE_MODEL_MLP, 100, 10, {64, 33}, 2},
};

static hanse_plan plan_of(const kind_case *c)
{
    hanse_plan plan = fixture_plan(c->kind, c->dim, c->classes);

    plan.model.hidden_count = c->hidden_count;
    memcpy(plan.model.hidden, c->hidden, sizeof c->hidden);
    return plan;
}

static void fill(hanse_network *network, uint64_t seed)
{
    for (size_t i = 0; i < network->parameters; i++)
        network->params[i] = 0.5f * fixture_uniform(&seed);
}

static double loss_at(hanse_network *network, const hanse_rows *rows)
{
    hanse_network_forward(network, rows->x, rows->count);
    return hanse_network_backward(network, rows->x, rows->y, rows->count) / (double)rows->count;
}

static void gradients_match_differences(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof kinds / sizeof *kinds; c++) {
        hanse_err err;
        hanse_network network;
        hanse_plan plan = plan_of(&kinds[c]);
        hanse_dataset set = fixture_rows(15, kinds[c].dim, kinds[c].classes, c + 1);

        ASSERT_RC(HANSE_OK, hanse_network_init(&network, &plan, hanse_gemm_naive, 15, &err));
        fill(&network, 5);
        loss_at(&network, &set.train);
        size_t stride = network.parameters / 300 + 1;
        double square = 0, reference = 0;

        for (size_t i = 0; i < network.parameters; i += stride) {
            float kept = network.params[i], step = 5e-4f; /* small: few rows cross the kink of a ReLU */

            network.params[i] = kept + step;
            double up = loss_at(&network, &set.train);
            network.params[i] = kept - step;
            double down = loss_at(&network, &set.train);
            network.params[i] = kept;
            loss_at(&network, &set.train);
            double slope = (up - down) / (2 * (double)step), got = (double)network.grads[i];
            square += (slope - got) * (slope - got);
            reference += slope * slope;
        }
        double error = sqrt(square / reference);
        if (!(error <= 5e-3))
            fail_msg("%s: normalised error of the gradient %g", kinds[c].name, error);
        hanse_network_clear(&network);
        fixture_rows_free(&set);
    }
}

static void blas_matches_plain_loops(void **state)
{
    static const size_t sizes[][3] = {{1, 1, 1}, {4, 1, 13}, {7, 5, 3}, {32, 64, 784}, {33, 10, 64}, {64, 100, 31}, {1, 300, 40}};
    hanse_err err;

    (void)state;
    ASSERT_RC(HANSE_OK, hanse_blas_load(&err));
    ASSERT_RC(HANSE_OK, hanse_blas_load(&err));
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
        float *a = calloc(m * k, sizeof *a), *b = calloc(n * k, sizeof *b), *c = calloc(m * n, sizeof *c), *d = calloc(m * n, sizeof *d);
        uint64_t seed = s;

        for (size_t i = 0; i < m * k; i++)
            a[i] = fixture_uniform(&seed);
        for (size_t i = 0; i < n * k; i++)
            b[i] = fixture_uniform(&seed);
        for (int kind = HANSE_GEMM_NT; kind <= HANSE_GEMM_TN; kind++) {
            memset(d, 0x7f, m * n * sizeof *d); /* must be overwritten, not added to */
            hanse_gemm_naive((hanse_gemm_kind)kind, m, n, k, a, b, c);
            hanse_gemm_blas((hanse_gemm_kind)kind, m, n, k, a, b, d);
            for (size_t i = 0; i < m * n; i++) /* the definition, index by index, in double */
            {
                double want = 0;
                size_t row = i / n, col = i % n;

                for (size_t p = 0; p < k; p++)
                    want += (double)(kind == HANSE_GEMM_TN ? a[p * m + row] : a[row * k + p])
                            * (double)(kind == HANSE_GEMM_NT ? b[col * k + p] : b[p * n + col]);
                ASSERT_NEAR(c[i], want, 2e-5 * sqrt((double)k) + 1e-6);
                ASSERT_NEAR(d[i], want, 2e-5 * sqrt((double)k) + 1e-6);
            }
        }
        free(a);
        free(b);
        free(c);
        free(d);
    }
    assert_string_not_equal(hanse_blas_core(), "none");
}

static void networks_agree_on_both_kernels(void **state)
{
    hanse_err err;

    (void)state;
    ASSERT_RC(HANSE_OK, hanse_blas_load(&err));
    for (size_t c = 0; c < sizeof kinds / sizeof *kinds; c++) {
        hanse_network naive, blas;
        hanse_plan plan = plan_of(&kinds[c]);
        hanse_dataset set = fixture_rows(80, kinds[c].dim, kinds[c].classes, 3);
        float *p = calloc(64 * kinds[c].classes, sizeof *p);

        ASSERT_RC(HANSE_OK, hanse_network_init(&naive, &plan, hanse_gemm_naive, 64, &err));
        ASSERT_RC(HANSE_OK, hanse_network_init(&blas, &plan, hanse_gemm_blas, 64, &err));
        fill(&naive, 9);
        fill(&blas, 9);
        hanse_network_forward(&naive, set.train.x, 64);
        hanse_network_probabilities(&naive, 64, p);
        for (size_t i = 0; i < 64; i++) {
            double sum = 0;

            for (size_t k = 0; k < kinds[c].classes; k++)
                sum += (double)p[i * kinds[c].classes + k];
            ASSERT_NEAR(sum, 1, 1e-5);
        }
        double a = loss_at(&naive, &set.train), b = loss_at(&blas, &set.train);
        ASSERT_NEAR(a, b, 1e-4);
        for (size_t i = 0; i < naive.parameters; i++)
            ASSERT_NEAR(naive.grads[i], blas.grads[i], 1e-5);
        free(p);
        hanse_network_clear(&naive);
        hanse_network_clear(&blas);
        fixture_rows_free(&set);
    }
}

/* Logits of a thousand must neither overflow nor lose the loss; NaN must show. */
static void extreme_logits(void **state)
{
    static const hanse_model_kind both[] = {HANSE_MODEL_LOGISTIC, HANSE_MODEL_SOFTMAX};

    (void)state;
    for (size_t c = 0; c < 2; c++) {
        hanse_err err;
        hanse_network network;
        hanse_plan plan = fixture_plan(both[c], 1, 2);
        float x[2] = {1, 1}, p[4];
        uint32_t y[2] = {0, 1};

        ASSERT_RC(HANSE_OK, hanse_network_init(&network, &plan, hanse_gemm_naive, 2, &err));
        network.params[network.width[1] - 1] = 1000; /* the weight of class 1 */
        hanse_network_forward(&network, x, 2);
        hanse_network_probabilities(&network, 2, p);
        ASSERT_NEAR(p[0], 0, 0);
        ASSERT_NEAR(p[1], 1, 0);
        ASSERT_NEAR(hanse_network_backward(&network, x, y, 2), 1000, 1e-3);
        ASSERT_NEAR(network.grads[network.width[1] - 1], 0.5, 1e-6);
        network.params[0] = NAN;
        hanse_network_forward(&network, x, 2);
        assert_true(isnan(hanse_network_backward(&network, x, y, 2)));
        hanse_network_clear(&network);
    }
}

static void refuses_widths(void **state)
{
    hanse_err err;
    hanse_network network;
    hanse_plan plan = fixture_plan(HANSE_MODEL_MLP, 4, 2);

    (void)state;
    plan.model.hidden_count = 1;
    ASSERT_RC(HANSE_E_INVALID, hanse_network_init(&network, &plan, hanse_gemm_naive, 4, &err)); /* hidden of 0 */
    plan.model.hidden[0] = (size_t)1 << 31;
    ASSERT_RC(HANSE_E_INVALID, hanse_network_init(&network, &plan, hanse_gemm_naive, 4, &err));
    plan.model.hidden[0] = 5;
    ASSERT_RC(HANSE_E_INVALID, hanse_network_init(&network, &plan, hanse_gemm_naive, 0, &err));
    hanse_rc rc = HANSE_E_NOMEM;
    for (long k = 0; rc == HANSE_E_NOMEM; k++) {
        assert_true(k < 20);
        hanse_alloc_fail_at(k);
        rc = hanse_network_init(&network, &plan, hanse_gemm_naive, 4, &err);
        hanse_alloc_fail_at(-1);
    }
    assert_int_equal(rc, HANSE_OK);
    hanse_network_clear(&network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_match_differences), cmocka_unit_test(blas_matches_plain_loops),
        cmocka_unit_test(networks_agree_on_both_kernels), cmocka_unit_test(extreme_logits), cmocka_unit_test(refuses_widths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
