/* Seconds on a clock that never jumps, for measuring how long something took. */
#ifndef TIM_BASE_CLOCK_H
#define TIM_BASE_CLOCK_H

double tim_clock(void);

#endif
