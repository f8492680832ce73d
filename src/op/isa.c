#include "op/isa.h"

#include <string.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "op/op.h"

/* Each is made by table.c of that instruction set's library. */
extern const TimOp *const tim_op_table_ref[TIM_OP_COUNT];
extern const TimOp *const tim_op_table_generic[TIM_OP_COUNT];
#if defined(__x86_64__)
extern const TimOp *const tim_op_table_avx2[TIM_OP_COUNT];
extern const TimOp *const tim_op_table_avx512[TIM_OP_COUNT];
extern const TimOp *const tim_op_table_avx512_bf16[TIM_OP_COUNT];
extern const TimOp *const tim_op_table_amx_bf16[TIM_OP_COUNT];
#endif

#if defined(__x86_64__) && defined(__linux__)
/* The tiles' registers are large: Linux gives them to a process that asks. */
static bool may_use_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
           syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#elif defined(__x86_64__)
static bool may_use_tiles(void) {
    return false;
}
#endif

bool tim_isa_available(TimIsa isa) {
    switch (isa) {
    case TIM_ISA_REF:
    case TIM_ISA_GENERIC:
        return true;
#if defined(__x86_64__)
    case TIM_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case TIM_ISA_AMX_BF16:
        if (!may_use_tiles()) return false;
        __attribute__((fallthrough));
    case TIM_ISA_AVX512_BF16:
        if (!__builtin_cpu_supports("avx512bf16")) return false;
        __attribute__((fallthrough));
    case TIM_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
    default:
        return false;
    }
}

TimIsa tim_isa_best(void) {
    int isa = TIM_ISA_COUNT - 1;
    while (!tim_isa_available((TimIsa)isa)) isa--;
    return (TimIsa)isa;
}

static const char *const names[TIM_ISA_COUNT] = {"ref", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16"};

const char *tim_isa_name(TimIsa isa) {
    return isa < TIM_ISA_COUNT ? names[isa] : "unknown";
}

bool tim_isa_from_name(const char *name, TimIsa *isa) {
    for (int i = 0; i < TIM_ISA_COUNT; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *isa = (TimIsa)i;
        return true;
    }
    return false;
}

TimStatus tim_isa_choose(const char *name, TimIsa *isa, TimError *err) {
    *isa = tim_isa_best();
    if (!name) return TIM_OK;
    if (!tim_isa_from_name(name, isa))
        return tim_fail(err, TIM_E_ARGUMENT,
                        "no instruction set is called '%.40s'; give ref, generic, avx2, avx512, avx512_bf16 or amx_bf16", name);
    if (tim_isa_available(*isa)) return TIM_OK;
    return tim_fail(err, TIM_E_UNSUPPORTED, "this processor or this build has no %s; the best it has is %s", name,
                    tim_isa_name(tim_isa_best()));
}

const TimOp *tim_op_get(TimOpKind kind, TimIsa isa) {
    switch (isa) {
#if defined(__x86_64__)
    case TIM_ISA_AVX2:
        return tim_op_table_avx2[kind];
    case TIM_ISA_AVX512:
        return tim_op_table_avx512[kind];
    case TIM_ISA_AVX512_BF16:
        return tim_op_table_avx512_bf16[kind];
    case TIM_ISA_AMX_BF16:
        return tim_op_table_amx_bf16[kind];
#endif
    case TIM_ISA_REF:
        return tim_op_table_ref[kind];
    default:
        return tim_op_table_generic[kind];
    }
}
