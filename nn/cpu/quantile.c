/* quantile: the loss of quantile regression, a lane per quantile, so that nothing is summed across lanes. Compiled once
 * per instruction set. */
#include "nn/cpu/kernels_level.h"
#include "nn/cpu/simd.h"

/* tau_i = (2 i + 1) / (2 K) of quantiles i .. i + VL - 1 */
SK_INLINE vf taus(int i, int k) {
    float t[VL];
    for (int j = 0; j < VL; j++) t[j] = (float)(2 * (i + j) + 1) / (float)(2 * k);
    return vload(t);
}

/* Mean over the targets of |tau - 1{u < 0}| H(u), or of its slope by theta; u = target - theta, H Huber's function with
 * its bend at kappa, |u| if kappa is 0. */
SK_INLINE void quantile_huber(const sk_quantile *q, int slope) {
    vf zero = vset(0.0f), kappa = vset(q->kappa), half_kappa = vset(0.5f * q->kappa), half = vset(0.5f);
    vf steepest = vset(q->kappa > 0.0f ? q->kappa : 1.0f), mean = vset(1.0f / (float)q->n_targets);
    for (int i = 0; i < q->k; i += VL) {
        size_t n = (size_t)(q->k - i < VL ? q->k - i : VL);
        vf     theta = vload_n(q->theta + i, n), tau = taus(i, q->k), below = vset(1.0f) - tau, sum = zero;
        for (int j = 0; j < q->n_targets; j++) {
            vf u = vset(q->target[j]) - theta, size = vabs(u), weight = vsel_gt(zero, u, below, tau), h;
            if (slope) h = vsel_gt(size, kappa, vsel_gt(u, zero, steepest, zero - steepest), u);
            else h = vsel_gt(size, kappa, steepest * (size - half_kappa), half * u * u);
            sum = sum + weight * h;
        }
        sum = slope ? zero - sum * mean : sum * mean;
        vstore_n(q->out + i, sum, n);
    }
}

void SK_K(quantile_huber)(const sk_quantile *q) { quantile_huber(q, 0); }
void SK_K(quantile_huber_grad)(const sk_quantile *q) { quantile_huber(q, 1); }
