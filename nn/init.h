/* init: starting values of parameters. Pure functions of (seed, which parameter). Any thread. */
#ifndef SK_NN_INIT_H
#define SK_NN_INIT_H
#include "core/base/status.h"
#include <stdint.h>

/* Orthogonal rows or columns, whichever are fewer, times gain (Saxe et al. 2013), into w (rows x ld, row-major,
 * padding untouched). `index` tells parameters of one network apart. SK_ENOMEM. */
SK_NODISCARD sk_status sk_init_orthogonal(float *w, int rows, int cols, int ld, float gain, uint64_t seed,
                                          uint64_t index, sk_error *reterr);

/* Uniform in [-bound, bound), in the same place. */
void sk_init_uniform(float *w, int rows, int cols, int ld, float bound, uint64_t seed, uint64_t index);

#endif
