/* Tables of the 2-D rotary embedding for an h x w grid of tokens, in fp64 inside.
 * Half of a head's width belongs to each axis: columns 0 ... dh/2 - 1 hold the first coordinate's angles, the rest the second's,
 * each angle twice in a row because pairs are interleaved: (x0, x1) -> (x0 cos - x1 sin, x1 cos + x0 sin).
 * Invariant: token n has the coordinates (n mod h, n div h), the order the published checkpoints were trained with; on a grid that
 * is not square it is neither (row, column) nor (column, row).
 * Source: RoFormer (arXiv 2104.09864) for the rotation, YaRN (arXiv 2309.00071) for the rescalings, FiT (arXiv 2402.12376) and its
 * code for their two-axis forms. TiM itself uses only `normal`. */
#ifndef TIM_NN_ROPE_TABLE_H
#define TIM_NN_ROPE_TABLE_H

#include <stdbool.h>

#include "base/error.h"

/* The published models use `normal`; the others are the published code's way to larger grids than trained on, kept for parity. */
typedef enum TimRopeScheme {
    TIM_ROPE_NORMAL,         /* "normal" */
    TIM_ROPE_SCALE1,         /* "scale1": normal frequencies, tables multiplied by a factor of the longer side */
    TIM_ROPE_SCALE2,         /* "scale2": the same with a factor of the area */
    TIM_ROPE_LINEAR,         /* "linear": position interpolation */
    TIM_ROPE_NTK_AWARE,      /* "ntk-aware": a larger base */
    TIM_ROPE_NTK_AWARE_PRO1, /* "ntk-aware-pro1": with the factor of scale1 */
    TIM_ROPE_NTK_AWARE_PRO2, /* "ntk-aware-pro2": with the factor of scale2 */
    TIM_ROPE_YARN,           /* "yarn" */
    TIM_ROPE_NTK_BY_PARTS    /* "ntk-by-parts" */
} TimRopeScheme;

typedef struct TimRopeConfig {
    TimRopeScheme scheme;
    double theta;                   /* base of the frequencies, 10000 as published */
    int max_pe_len_h, max_pe_len_w; /* largest grid meant to be seen; of no effect in `normal`, as the next and `decouple` */
    int ori_max_pe_len;             /* side of the training grid, at least 2 */
    bool rounded;  /* angles, and their cosines and sines, are rounded to bf16, as in a published model cast to it */
    bool decouple; /* each axis rescales by its own side instead of the longer one */
} TimRopeConfig;

/* The published setting: `normal`, theta 10000. */
TimRopeConfig tim_rope_config_default(void);

/* The scheme of a published name such as "ntk-aware-pro1"; TIM_E_ARGUMENT names the known ones. */
TimStatus tim_rope_scheme_find(const char *name, TimRopeScheme *scheme, TimError *err);

/* Fills cosines and sines, (N, dh) each, N = h * w, both owned by the caller. `head_width` dh is a positive multiple of 4, h and w
 * are positive. TIM_E_ARGUMENT for other sizes, a theta <= 1 or, outside `normal`, lengths out of range. Pure; any thread. */
TimStatus tim_rope_table(float *cosines, float *sines, int h, int w, int head_width, const TimRopeConfig *config, TimError *err);

#endif
