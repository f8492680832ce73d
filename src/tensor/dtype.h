/* Element types, named as safetensors files name them. Invariant: the enum's order is the order of both tables below. */
#ifndef TIM_TENSOR_DTYPE_H
#define TIM_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef enum TimDtype {
    TIM_F64,
    TIM_F32,
    TIM_F16,
    TIM_BF16,
    TIM_I64,
    TIM_I32,
    TIM_I16,
    TIM_I8,
    TIM_U64,
    TIM_U32,
    TIM_U16,
    TIM_U8,
    TIM_BOOL /* one byte, 0 or 1 */
} TimDtype;

enum { TIM_DTYPE_COUNT = TIM_BOOL + 1 };

/* Bytes of one element. */
static inline size_t tim_dtype_size(TimDtype dtype) {
    static const unsigned char sizes[TIM_DTYPE_COUNT] = {8, 4, 2, 2, 8, 4, 2, 1, 8, 4, 2, 1, 1};
    return sizes[dtype];
}

/* "F32" and so on; static storage. */
static inline const char *tim_dtype_name(TimDtype dtype) {
    static const char names[TIM_DTYPE_COUNT][5] = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16",
                                                   "I8",  "U64", "U32", "U16",  "U8",  "BOOL"};
    return names[dtype];
}

/* The type with that name into *dtype; false when there is none. */
static inline bool tim_dtype_from_name(const char *name, TimDtype *dtype) {
    for (unsigned i = 0; i < TIM_DTYPE_COUNT; i++) {
        if (strcmp(name, tim_dtype_name((TimDtype)i)) != 0) continue;
        *dtype = (TimDtype)i;
        return true;
    }
    return false;
}

#endif
