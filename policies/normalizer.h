/* normalizer: running mean and variance of each float of an observation, merged batch by batch (Chan et al. 1979), in
 * double. The policy normalises with clip((x - mean) / sqrt(var + 1e-8), -10, 10).
 * Threads: one owner. */
#ifndef SK_POLICIES_NORMALIZER_H
#define SK_POLICIES_NORMALIZER_H
#include "core/base/status.h"
#include <stdint.h>

#define SK_NORMALIZER_EPS 1e-8    /* as in SB3's VecNormalize */
#define SK_NORMALIZER_LIMIT 10.0f /* likewise                 */

typedef struct sk_normalizer {
    int     n;     /* elements                                         */
    double  count; /* samples so far                                   */
    double *mean;  /* (n)                                              */
    double *m2;    /* (n) sum of squared deviations from the mean      */
    double *batch; /* (2n) scratch of update                           */
    uint8_t *skip; /* (n) 1 = an integer: mean 0, inverse std 1, whatever comes */
} sk_normalizer;

SK_NODISCARD sk_status sk_normalizer_init(sk_normalizer *self, int n, sk_error *reterr);
void sk_normalizer_deinit(sk_normalizer *self);
/* `cols` elements from `first` on are integers; say so before the first update. */
void sk_normalizer_skip(sk_normalizer *self, int first, int cols);
/* Merge `rows` samples (rows x n) where weight[r] != 0 (NULL = all). Order of rows matters to the last bit. */
void sk_normalizer_update(sk_normalizer *self, const float *x, const uint8_t *weight, int64_t rows);
/* Present statistics as the network's constants: mean and 1 / sqrt(var + eps); 0 and 1 before the first sample. */
void sk_normalizer_constants(const sk_normalizer *self, float *ret_mean, float *ret_inv_std);

#endif
