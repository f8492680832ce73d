/* Instruction sets the kernels are built for. `ref` is the same source, scalar: the oracle. */
#ifndef TIM_OP_ISA_H
#define TIM_OP_ISA_H

#include <stdbool.h>

#include "base/error.h"

typedef enum TimIsa {
    TIM_ISA_REF,
    TIM_ISA_GENERIC,
    TIM_ISA_AVX2,
    TIM_ISA_AVX512,
    TIM_ISA_AVX512_BF16,
    TIM_ISA_AMX_BF16,
    TIM_ISA_COUNT
} TimIsa;

/* The best one this processor and this build have. */
TimIsa tim_isa_best(void);

/* True when this processor and this build can run `isa`. */
bool tim_isa_available(TimIsa isa);

/* "ref", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16". */
const char *tim_isa_name(TimIsa isa);

/* False when no instruction set has that name. */
bool tim_isa_from_name(const char *name, TimIsa *isa);

/* The instruction set called `name`, or the best one for NULL. TIM_E_ARGUMENT lists the known names, TIM_E_UNSUPPORTED names the
 * best one when this processor or build lacks it. */
TimStatus tim_isa_choose(const char *name, TimIsa *isa, TimError *err);

#endif
