/* The losses of one sample and their gradients with respect to the network's outputs. Sums in fp64. */
#ifndef TIM_TRAIN_LOSS_H
#define TIM_TRAIN_LOSS_H

#include <stdbool.h>
#include <stddef.h>

/* A picture seen as `positions` columns of `channels` values, channel c of position p at [c * positions + p]. */
typedef struct TimLossShape {
    size_t channels, positions;
    bool direction; /* adds 1 - cos(F, target) over the channels */
    bool absolute;  /* the squared mean of the absolute differences in place of the mean of the squares */
    double edges;   /* with `absolute`: what a difference between neighbours, across or down, weighs beside a value; 0: nothing */
    size_t width;   /* positions in a row of the picture; read with `edges` > 0 */
} TimLossShape;

/* mean d^2 with d = f - target, or with `absolute` ((sum |d| + edges sum |d_next - d|) / count)^2, where |d| = sqrt(d^2 + 0.003^2)
 * is as smooth at its bottom as a square and d_next is the right or the lower neighbour (gradient difference loss, arXiv
 * 1511.05440, equation 6 with the sign kept); plus the mean over positions of 1 - cos(f, target) with `direction`. NaN counts as 0,
 * infinities as +-1e5. */
double tim_loss(const float *f, const float *target, TimLossShape shape);

/* g = scale * d loss / d f; zero where the loss is not finite. */
void tim_loss_gradient(float *g, const float *f, const float *target, TimLossShape shape, double scale);

/* mean over tokens of 1 - cos(h, target), rows of `width`; not finite as above. */
double tim_alignment_loss(const float *h, const float *target, size_t tokens, size_t width);
void tim_alignment_gradient(float *g, const float *h, const float *target, size_t tokens, size_t width, double scale);

#endif
