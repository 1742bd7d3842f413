/* kernels_level: prototypes of the kernels at the level a file is compiled for; only nn/cpu includes it. */
#ifndef SK_NN_CPU_KERNELS_LEVEL_H
#define SK_NN_CPU_KERNELS_LEVEL_H
#include "nn/cpu/kernels.h"
#include "nn/cpu/simd.h"

void   SK_K(gemm)(const sk_gemm *g);
void   SK_K(dot_rows)(int rows, int k, const float *x, ptrdiff_t x_row, const float *w, float bias, float *y);
void   SK_K(transpose)(int rows, int cols, const float *src, ptrdiff_t src_ld, float *dst, ptrdiff_t dst_ld);
void   SK_K(col_sum)(int rows, int n, const float *x, ptrdiff_t ld, float *out, int accumulate);
void   SK_K(unary)(int kind, float a, float b, const float *x, float *y, size_t n);
void   SK_K(unary_grad)(int kind, float a, float b, const float *x, const float *y, const float *dy, float *dx, size_t n,
                      int accumulate);
void   SK_K(binary)(int kind, const float *x, const float *y, float *z, size_t n);
void   SK_K(binary_grad)(int kind, const float *x, const float *y, const float *dz, float *dx, int dx_accumulate,
                       float *dy, int dy_accumulate, size_t n);
void   SK_K(add_to)(const float *x, float *y, size_t n);
void   SK_K(scale_add_to)(float a, const float *x, float *y, size_t n);
void   SK_K(polyak)(float tau, const float *x, float *y, size_t n);
double SK_K(sum_squares)(const float *x, size_t n);
void   SK_K(sum_slots)(int n_slots, const float *src, size_t stride, float *dst, size_t n);
void   SK_K(normalize)(int rows, int cols, const float *x, ptrdiff_t x_ld, const float *mean, const float *inv_std,
                     float limit, float *y, ptrdiff_t y_ld);
void   SK_K(softmax)(int rows, int cols, int ld, const float *x, float *y, int log);
void   SK_K(softmax_grad)(int rows, int cols, int ld, const float *y, const float *dy, float *dx, int log, int accumulate);
void   SK_K(layer_norm)(int rows, int cols, int ld, const float *x, const float *gamma, const float *beta, float *y);
void   SK_K(layer_norm_grad)(int rows, int cols, int ld, const float *x, const float *gamma, const float *dy, float *dx,
                           int dx_accumulate, float *dgamma, float *dbeta);
void   SK_K(categorical)(const sk_categorical *c);
void   SK_K(categorical_grad)(const sk_categorical *c);
void   SK_K(categorical_sample)(const sk_categorical *c);
void   SK_K(gaussian_sample)(const sk_gaussian *g);
void   SK_K(gaussian)(const sk_gaussian *g);
void   SK_K(gaussian_grad)(const sk_gaussian *g);
void   SK_K(squashed)(const sk_squashed *g);
void   SK_K(squashed_grad)(const sk_squashed *g);
void   SK_K(sde_log_std)(const sk_sde *s);
void   SK_K(sde_log_std_grad)(const sk_sde *s);
void   SK_K(sde_sample)(const sk_sde *s);
void   SK_K(ppo_loss)(const sk_ppo_loss *p);
void   SK_K(ppo_loss_grad)(const sk_ppo_loss *p);
void   SK_K(quantile_huber)(const sk_quantile *q);
void   SK_K(quantile_huber_grad)(const sk_quantile *q);
void   SK_K(adam)(const sk_adam_step *s);
double SK_K(fma_peak)(int64_t n_rounds, float *sink);

#endif
