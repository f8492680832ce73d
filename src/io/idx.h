/* Labelled pictures in the IDX format of MNIST (yann.lecun.com/exdb/mnist), plain or compressed by gzip.
 * Debian's package dataset-fashion-mnist puts such files into /usr/share/datasets/fashion-mnist. */
#ifndef TIM_IO_IDX_H
#define TIM_IO_IDX_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TIM_IDX_FASHION_MNIST "/usr/share/datasets/fashion-mnist"

typedef struct TimIdxData {
    uint8_t *images; /* (N, H, W) */
    uint8_t *labels; /* (N) */
    size_t count;    /* N, at least 1 */
    int height, width;
} TimIdxData;

/* Reads <dir>/<split>-images-idx3-ubyte[.gz] and <split>-labels-idx1-ubyte[.gz]; `split` is "train" or "t10k".
 * Free with tim_idx_done; after a failure `out` is empty. */
TimStatus tim_idx_read(TimIdxData *out, const char *dir, const char *split, TimError *err);

void tim_idx_done(TimIdxData *data);

#endif
