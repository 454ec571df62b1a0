/* blas.h - matrix products: OpenBLAS, loaded when first needed, and the plain loops that define what it must give.
 *
 * OpenBLAS starts its threads while it is loaded, which costs every command some 10 ms; so nothing links it. One thread
 * always: one thread and two sum in different orders and give different bits. */
#ifndef HANSE_NODE_TRAIN_BLAS_H
#define HANSE_NODE_TRAIN_BLAS_H

#include "hanse/error.h"

/* C = op(A) op(B), all row-major without gaps, C [m, n] overwritten. The name says which operand lies transposed:
 *   NT  A [m, k] (lda k), B [n, k] (ldb k)
 *   NN  A [m, k] (lda k), B [k, n] (ldb n)
 *   TN  A [k, m] (lda m), B [k, n] (ldb n) */
typedef enum hanse_gemm_kind { HANSE_GEMM_NT, HANSE_GEMM_NN, HANSE_GEMM_TN } hanse_gemm_kind;
typedef void (*hanse_gemm)(hanse_gemm_kind kind, size_t m, size_t n, size_t k, const float *a, const float *b, float *c);

/* Plain loops: the definition, the oracle of the tests, and the faster way for tiny products. */
void hanse_gemm_naive(hanse_gemm_kind kind, size_t m, size_t n, size_t k, const float *a, const float *b, float *c);
/* OpenBLAS, or plain loops below some 4,000 products. Only after hanse_blas_load(); m, n, k at most INT_MAX. */
void hanse_gemm_blas(hanse_gemm_kind kind, size_t m, size_t n, size_t k, const float *a, const float *b, float *c);

/* Load OpenBLAS with one thread; the second call does nothing. Thread-safe. Errors: NOTFOUND (names the package). */
HANSE_MUST_CHECK hanse_rc hanse_blas_load(hanse_err *err);
/* Kernel family OpenBLAS chose for this CPU ("Zen", ...), for the log; "none" before it is loaded. Never NULL. */
const char *hanse_blas_core(void);

#endif
