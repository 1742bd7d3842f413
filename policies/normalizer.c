#include "policies/normalizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

sk_status sk_normalizer_init(sk_normalizer *self, int n, sk_error *reterr) {
    SK_ASSERT(n > 0);
    *self = (sk_normalizer){.n = n};
    self->mean = calloc((size_t)n * 4 + ((size_t)n + 7) / 8, sizeof *self->mean); /* the flags behind the doubles */
    if (!self->mean) return SK_FAIL(reterr, SK_ENOMEM, "normalizer: no memory for %d elements", n);
    self->m2 = self->mean + n;
    self->batch = self->mean + 2 * n;
    self->skip = (uint8_t *)(self->mean + 4 * n);
    return SK_OK;
}

void sk_normalizer_skip(sk_normalizer *self, int first, int cols) {
    SK_ASSERT(first >= 0 && cols >= 0 && first + cols <= self->n);
    memset(self->skip + first, 1, (size_t)cols);
}

void sk_normalizer_deinit(sk_normalizer *self) {
    free(self->mean);
    *self = (sk_normalizer){0};
}

/* Two passes over the batch (mean, then squared deviations), then the pairwise merge of Chan et al. 1979:
 * mean += d n_b / n, m2 += m2_b + d^2 n_a n_b / n, d = mean_b - mean. */
void sk_normalizer_update(sk_normalizer *self, const float *x, const uint8_t *weight, int64_t rows) {
    int     n = self->n;
    double *mean = self->batch, *m2 = self->batch + n;
    int64_t used = 0;
    memset(self->batch, 0, (size_t)n * 2 * sizeof *self->batch);
    for (int64_t r = 0; r < rows; r++) {
        if (weight && !weight[r]) continue;
        used++;
        for (int i = 0; i < n; i++) mean[i] += (double)x[r * n + i];
    }
    if (used == 0) return;
    for (int i = 0; i < n; i++) mean[i] = self->skip[i] ? 0.0 : mean[i] / (double)used;
    for (int64_t r = 0; r < rows; r++) {
        if (weight && !weight[r]) continue;
        for (int i = 0; i < n; i++) {
            double d = (double)x[r * n + i] - mean[i];
            m2[i] += d * d;
        }
    }
    double total = self->count + (double)used;
    for (int i = 0; i < n; i++) {
        if (self->skip[i]) continue;
        double d = mean[i] - self->mean[i];
        self->mean[i] += d * (double)used / total;
        self->m2[i] += m2[i] + d * d * self->count * (double)used / total;
    }
    self->count = total;
}

void sk_normalizer_constants(const sk_normalizer *self, float *ret_mean, float *ret_inv_std) {
    for (int i = 0; i < self->n; i++) {
        double var = self->count > 0.0 ? self->m2[i] / self->count : 1.0;
        ret_mean[i] = (float)self->mean[i];
        ret_inv_std[i] = self->skip[i] ? 1.0f : (float)(1.0 / sqrt(var + SK_NORMALIZER_EPS));
    }
}
