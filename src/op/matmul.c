#include "op/matmul.h"

#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"

#if defined(TIM_HAVE_ONEDNN)
#include "base/threads.h"
#include "op/onednn.h"
#include "op/widen.h"
#endif

struct TimMatmul {
    TimMatmulShape shape; /* what the caller has */
    size_t work;
#if defined(TIM_HAVE_ONEDNN)
    TimMatmulShape library;      /* what the library gets: the same, or fp32 copies in the workspace, before its scratch pad, of all
                                  * rows of A and C or of some */
    size_t b_at, c_at, after_at; /* where the copies of B and C, and what follows them, begin: elements */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive; /* NULL: plain */
    dnnl_memory_t a, b, c, bias, scratch;
#endif
};

/* ---- plain ---- */

static float load(const void *data, int64_t index, TimDtype dtype) {
    return dtype == TIM_F32 ? ((const float *)data)[index] : tim_bf16_to_f32(((const TimBf16 *)data)[index]);
}

static void store(void *data, int64_t index, TimDtype dtype, float value, bool add) {
    if (add) value += load(data, index, dtype);
    if (dtype == TIM_F32)
        ((float *)data)[index] = value;
    else
        ((TimBf16 *)data)[index] = tim_bf16_from_f32(value);
}

static float dot(const TimMatmulShape *s, const void *a, const void *b, int64_t i, int64_t j) {
    const int64_t a0 = s->a_transposed ? i : i * s->lda, a1 = s->a_transposed ? s->lda : 1;
    const int64_t b0 = s->b_transposed ? j * s->ldb : j, b1 = s->b_transposed ? 1 : s->ldb;
    float sum = 0;
    for (int64_t l = 0; l < s->k; l++) sum += load(a, a0 + l * a1, s->in) * load(b, b0 + l * b1, s->in);
    return sum;
}

static void run_plain(const TimMatmulShape *s, const void *a, const void *b, const float *bias, void *c) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++)
            store(c, i * s->ldc + j, s->out, dot(s, a, b, i, j) + (s->has_bias ? bias[j] : 0), s->add);
}

/* ---- oneDNN ---- */

#if defined(TIM_HAVE_ONEDNN)

/* (rows, cols) as the product sees it; `transposed` means that memory holds (cols, rows) with rows `ld` apart. */
static dnnl_status_t describe(dnnl_memory_desc_t *desc, int64_t rows, int64_t cols, int64_t ld, bool transposed, TimDtype dtype) {
    const dnnl_dims_t dims = {rows, cols};
    const dnnl_dims_t strides = {transposed ? 1 : ld, transposed ? ld : 1};
    return dnnl_memory_desc_init_by_strides(desc, 2, dims, onednn_dtype(dtype), strides);
}

static dnnl_status_t make_memory(TimMatmul *p, const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *b,
                                 const dnnl_memory_desc_t *c, const dnnl_memory_desc_t *bias, const dnnl_memory_desc_t *scratch) {
    dnnl_status_t status = dnnl_memory_create(&p->a, a, p->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&p->b, b, p->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&p->c, c, p->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success && p->shape.has_bias) status = dnnl_memory_create(&p->bias, bias, p->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&p->scratch, scratch, p->engine, DNNL_MEMORY_NONE);
    return status;
}

static dnnl_status_t plan_with(TimMatmul *p, dnnl_primitive_attr_t attributes) {
    const TimMatmulShape *s = &p->library;
    dnnl_memory_desc_t a, b, c, bias;
    dnnl_status_t status = describe(&a, s->m, s->k, s->lda, s->a_transposed, s->in);
    if (status == dnnl_success) status = describe(&b, s->k, s->n, s->ldb, s->b_transposed, s->in);
    if (status == dnnl_success) status = describe(&c, s->m, s->n, s->ldc, false, s->out);
    if (status == dnnl_success) status = describe(&bias, 1, s->n, s->n, false, TIM_F32);
    dnnl_matmul_desc_t desc;
    if (status == dnnl_success) status = dnnl_matmul_desc_init(&desc, &a, &b, s->has_bias ? &bias : NULL, &c);
    if (status != dnnl_success) return status;
    dnnl_primitive_desc_t primitive_desc;
    status = dnnl_primitive_desc_create(&primitive_desc, &desc, attributes, p->engine, NULL);
    if (status != dnnl_success) return status;
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(primitive_desc, dnnl_query_scratchpad_md, 0);
    p->work = p->after_at * sizeof(float) + dnnl_memory_desc_get_size(scratch);
    status = make_memory(p, &a, &b, &c, &bias, scratch);
    if (status == dnnl_success) status = dnnl_primitive_create(&p->primitive, primitive_desc);
    dnnl_primitive_desc_destroy(primitive_desc);
    return status;
}

static dnnl_status_t plan_onednn(TimMatmul *p) {
    dnnl_status_t status = dnnl_engine_create(&p->engine, dnnl_cpu, 0);
    if (status == dnnl_success) status = dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags);
    dnnl_primitive_attr_t attributes = NULL;
    if (status == dnnl_success) status = onednn_attributes(&attributes, p->shape.add);
    if (status == dnnl_success) status = plan_with(p, attributes);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return status;
}

static void free_onednn(TimMatmul *p) {
    const dnnl_memory_t memories[] = {p->a, p->b, p->c, p->bias, p->scratch};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->stream) dnnl_stream_destroy(p->stream);
    if (p->engine) dnnl_engine_destroy(p->engine);
    p->a = p->b = p->c = p->bias = p->scratch = NULL;
    p->primitive = NULL, p->stream = NULL, p->engine = NULL;
}

static bool has_bf16(const TimMatmulShape *s) {
    return s->in == TIM_BF16 || s->out == TIM_BF16;
}

/* Rows and columns as stored. */
static int64_t stored_rows(int64_t rows, int64_t cols, bool transposed) {
    return transposed ? cols : rows;
}

/* Rows of A and C whose copies are made at a time: many, since the library rearranges B for every call; all of them where
 * they lie in columns or are added to. */
static int64_t rows_of_piece(const TimMatmulShape *s) {
    const int64_t rows = wide_rows(s->copy_bytes, s->k + s->n), many = rows < 1024 ? 1024 : rows;
    return s->a_transposed || s->add || many > s->m ? s->m : many;
}

/* fp32 copies of what is bf16, close. */
static dnnl_status_t plan_widened(TimMatmul *p) {
    TimMatmulShape *s = &p->library;
    s->m = rows_of_piece(s);
    if (p->shape.in == TIM_BF16) {
        s->in = TIM_F32;
        s->lda = s->a_transposed ? s->m : s->k, s->ldb = s->b_transposed ? s->k : s->n;
        p->b_at = tim_whole_lines((size_t)(s->m * s->k));
        p->c_at = p->b_at + tim_whole_lines((size_t)(s->k * s->n));
    }
    p->after_at = p->c_at;
    if (p->shape.out == TIM_BF16) {
        s->out = TIM_F32, s->ldc = s->n;
        p->after_at += tim_whole_lines((size_t)(s->m * s->n));
    }
    return plan_onednn(p);
}

static dnnl_status_t plan_library(TimMatmul *p) {
    p->library = p->shape;
    if (!has_bf16(&p->shape)) return plan_onednn(p);
    const dnnl_status_t status = onednn_has_bf16() ? plan_onednn(p) : dnnl_unimplemented;
    if (status != dnnl_unimplemented) return status;
    free_onednn(p);
    return plan_widened(p);
}

static void run_onednn(const TimMatmul *p, const void *a, const void *b, const float *bias, void *c, void *work) {
    const int before = tim_threads_enter(p->shape.threads);
    dnnl_memory_set_data_handle_v2(p->a, onednn_handle(a), p->stream);
    dnnl_memory_set_data_handle_v2(p->b, onednn_handle(b), p->stream);
    dnnl_memory_set_data_handle_v2(p->c, c, p->stream);
    dnnl_memory_set_data_handle_v2(p->scratch, work, p->stream);
    dnnl_exec_arg_t args[5] = {
        {DNNL_ARG_SRC, p->a}, {DNNL_ARG_WEIGHTS, p->b}, {DNNL_ARG_DST, p->c}, {DNNL_ARG_SCRATCHPAD, p->scratch}};
    int count = 4;
    if (p->shape.has_bias) {
        dnnl_memory_set_data_handle_v2(p->bias, onednn_handle(bias), p->stream);
        args[count++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, p->bias};
    }
    dnnl_primitive_execute(p->primitive, p->stream, count, args);
    dnnl_stream_wait(p->stream);
    tim_threads_leave(p->shape.threads, before);
}

/* Rows first ... of C, as many as a piece has; `b` is copied already. */
static void run_piece(const TimMatmul *p, const void *a, const void *b, const float *bias, void *c, float *wide, int64_t first) {
    const TimMatmulShape *s = &p->shape, *piece = &p->library;
    float *wide_c = wide + p->c_at;
    const bool copies_in = piece->in != s->in, copies_out = piece->out != s->out;
    const void *from = (const char *)a + (size_t)(first * s->lda) * tim_dtype_size(s->in); /* columns are never cut: first is 0 */
    void *to = (char *)c + (size_t)(first * s->ldc) * tim_dtype_size(s->out);
    if (copies_in) widen_rows(wide, from, stored_rows(piece->m, s->k, s->a_transposed), piece->lda, s->lda, s->threads);
    if (copies_out && s->add) widen_rows(wide_c, to, piece->m, s->n, s->ldc, s->threads);
    run_onednn(p, copies_in ? wide : from, b, bias, copies_out ? wide_c : to, wide + p->after_at);
    if (copies_out) narrow_rows(to, wide_c, piece->m, s->n, s->ldc, s->threads);
}

static void run_library(const TimMatmul *p, const void *a, const void *b, const float *bias, void *c, void *work) {
    const TimMatmulShape *s = &p->shape;
    float *wide = work;
    if (p->library.in != s->in) {
        widen_rows(wide + p->b_at, b, stored_rows(s->k, s->n, s->b_transposed), p->library.ldb, s->ldb, s->threads);
        b = wide + p->b_at;
    }
    for (int64_t first = 0; first < s->m; first += p->library.m)
        run_piece(p, a, b, bias, c, wide, piece_begin(first, p->library.m, s->m));
}

#endif

/* ---- interface ---- */

TimMatmulShape tim_matmul_of_rows(int64_t m, int64_t n, int64_t k) {
    return (TimMatmulShape){
        .m = m, .n = n, .k = k, .lda = k, .ldb = k, .ldc = n, .b_transposed = true, .in = TIM_F32, .out = TIM_F32, .threads = 1};
}

TimStatus tim_matmul_new(TimMatmul **out, const TimMatmulShape *shape, TimError *err) {
    TimMatmul *plan;
    *out = NULL;
    TIM_TRY(tim_new(&plan, 1, sizeof *plan, "a matrix product's plan", err));
    plan->shape = *shape;
#if defined(TIM_HAVE_ONEDNN)
    if (!shape->plain) {
        const int before = tim_threads_enter(shape->threads);
        const dnnl_status_t status = plan_library(plan);
        tim_threads_leave(shape->threads, before);
        if (status != dnnl_success) {
            tim_matmul_free(plan);
            return tim_fail(err, status == dnnl_out_of_memory ? TIM_E_MEMORY : TIM_E_INTERNAL,
                            "oneDNN refuses the product (%lld, %lld) x (%lld, %lld) with status %d", (long long)shape->m,
                            (long long)shape->k, (long long)shape->k, (long long)shape->n, (int)status);
        }
    }
#endif
    *out = plan;
    return TIM_OK;
}

void tim_matmul_free(TimMatmul *plan) {
    if (!plan) return;
#if defined(TIM_HAVE_ONEDNN)
    free_onednn(plan);
#endif
    tim_free(plan);
}

size_t tim_matmul_work(const TimMatmul *plan) {
    return plan->work;
}

void tim_matmul_run(const TimMatmul *plan, const void *a, const void *b, const float *bias, void *c, void *work) {
#if defined(TIM_HAVE_ONEDNN)
    if (plan->primitive) {
        run_library(plan, a, b, bias, c, work);
        return;
    }
#endif
    (void)work;
    run_plain(&plan->shape, a, b, bias, c);
}

void tim_matmul_forget(void) {
#if defined(TIM_HAVE_ONEDNN)
    int kept = 0;
    if (dnnl_get_primitive_cache_capacity(&kept) != dnnl_success || kept == 0) return; /* another thread is at it */
    (void)dnnl_set_primitive_cache_capacity(0);
    (void)dnnl_set_primitive_cache_capacity(kept);
#endif
}

bool tim_matmul_copies_bf16(void) {
#if defined(TIM_HAVE_ONEDNN)
    return !onednn_has_bf16();
#else
    return false;
#endif
}

bool tim_matmul_has_tiles(void) {
#if defined(TIM_HAVE_ONEDNN)
    const unsigned wanted = dnnl_cpu_isa_avx512_core_amx;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
#else
    return false;
#endif
}
