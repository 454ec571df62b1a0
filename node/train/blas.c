#include "node/train/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

/* The C interface of BLAS (Technical Forum standard, 2001, appendix B). */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
typedef void (*cblas_sgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                               const float *b, int ldb, float beta, float *c, int ldc);
typedef void (*set_threads_fn)(int count);
typedef char *(*corename_fn)(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cblas_sgemm_fn sgemm; /* written once, before any reader: hanse_blas_load() */
static const char *core = "none";

/* Below this many products a call into OpenBLAS costs more than it saves (tests/bench/bench_train.c). */
#define TINY_PRODUCTS 4096

/* OpenBLAS reads this while it is loaded, and then starts no threads. Set before main(), because the environment must not
 * change once threads run; should it fail, set_threads(1) below still gives the same bits. */
__attribute__((constructor)) static void want_one_thread(void)
{
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
}

hanse_rc hanse_blas_load(hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    pthread_mutex_lock(&lock);
    if (sgemm != NULL)
        goto done;
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL); /* stays until the process ends */
    if (library == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "training needs OpenBLAS: %s; install the package libopenblas0", dlerror());
        goto done;
    }
    cblas_sgemm_fn found;
    set_threads_fn set_threads;
    corename_fn corename;
    *(void **)&found = dlsym(library, "cblas_sgemm"); /* POSIX's way to make a function pointer of it */
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&corename = dlsym(library, "openblas_get_corename");
    if (found == NULL || set_threads == NULL || corename == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "libopenblas.so.0 is not OpenBLAS: no cblas_sgemm; install the package libopenblas0");
        dlclose(library);
        goto done;
    }
    set_threads(1);
    core = corename();
    sgemm = found;

done:
    pthread_mutex_unlock(&lock);
    return rc;
}

const char *hanse_blas_core(void)
{
    return core;
}

void hanse_gemm_naive(hanse_gemm_kind kind, size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    for (size_t i = 0; i < m; i++) {
        float *row = c + i * n;

        if (kind == HANSE_GEMM_NT) {
            for (size_t j = 0; j < n; j++) {
                float sum = 0;

                for (size_t p = 0; p < k; p++)
                    sum += a[i * k + p] * b[j * k + p];
                row[j] = sum;
            }
            continue;
        }
        for (size_t j = 0; j < n; j++)
            row[j] = 0;
        for (size_t p = 0; p < k; p++) {
            float factor = kind == HANSE_GEMM_NN ? a[i * k + p] : a[p * m + i];

            for (size_t j = 0; j < n; j++)
                row[j] += factor * b[p * n + j];
        }
    }
}

void hanse_gemm_blas(hanse_gemm_kind kind, size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    int rows = (int)m, cols = (int)n, inner = (int)k;

    if (m * n * k <= TINY_PRODUCTS) {
        hanse_gemm_naive(kind, m, n, k, a, b, c);
        return;
    }
    /* Row-major; leading dimensions lda, ldb, ldc are the row lengths of A, B, C as they lie in memory. */
    sgemm(ROW_MAJOR, kind == HANSE_GEMM_TN ? TRANS : NO_TRANS, kind == HANSE_GEMM_NT ? TRANS : NO_TRANS, rows, cols, inner, 1.0f,
          a, kind == HANSE_GEMM_TN ? rows : inner, b, kind == HANSE_GEMM_NT ? inner : cols, 0.0f, c, cols);
}
