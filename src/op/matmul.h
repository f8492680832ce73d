/* A planned matrix product C = A B (+ bias) (+ C), by oneDNN where it is built in, else by plain C.
 * A is (m, k), B is (k, n), C is (m, n) with rows `ldc` apart. A and B may be stored transposed. */
#ifndef TIM_OP_MATMUL_H
#define TIM_OP_MATMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/dtype.h"

typedef struct TimMatmulShape {
    int64_t m, n, k;
    int64_t lda, ldb, ldc;           /* elements between rows as stored */
    bool a_transposed, b_transposed; /* A stored (k, m); B stored (n, k) */
    TimDtype in, out;                /* of A and B; of C: f32 or bf16 */
    bool has_bias;                   /* f32 (n) */
    bool add;                        /* onto C */
    bool plain;                      /* no library: scalar C, fp32 sums */
    size_t copy_bytes; /* that fp32 copies of bf16 take at a time, about, where the library has no products of bf16; 0: 64 MiB */
    int threads;
} TimMatmulShape;

typedef struct TimMatmul TimMatmul;

/* The shape of C = A B' of fp32 rows that lie close, in one thread: A (m, k), B (n, k), C (m, n). */
TimMatmulShape tim_matmul_of_rows(int64_t m, int64_t n, int64_t k);

/* Plans the product. Free with tim_matmul_free. A plan runs in one thread at a time and uses OpenMP inside. */
TimStatus tim_matmul_new(TimMatmul **out, const TimMatmulShape *shape, TimError *err);

void tim_matmul_free(TimMatmul *plan);

/* Bytes of 64-byte aligned workspace that tim_matmul_run needs. */
size_t tim_matmul_work(const TimMatmul *plan);

/* `bias` is ignored unless the plan has one. */
void tim_matmul_run(const TimMatmul *plan, const void *a, const void *b, const float *bias, void *c, void *work);

/* Lets go of what the library keeps of plans of products and convolutions that are gone, against the next of their shape: tens
 * of MiB after many shapes were planned. Plans in use stay as they are. */
void tim_matmul_forget(void);

/* True where products of bf16 go through fp32 copies, and take longer than those of fp32: the processor has none of its own. */
bool tim_matmul_copies_bf16(void);

/* True where products of bf16 run on the processor's matrix tiles (Intel AMX). */
bool tim_matmul_has_tiles(void);

#endif
