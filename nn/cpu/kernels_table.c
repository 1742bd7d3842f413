/* kernels_table: this level's kernels as a table. Compiled once per instruction set. */
#include "nn/cpu/kernels_level.h"

#define STR2(x) #x
#define STR(x) STR2(x)

extern const sk_kernels SK_K(kernels);
const sk_kernels SK_K(kernels) = {
    .level = "x86-64-" STR(SK_LEVEL),
    .gemm = SK_K(gemm),
    .dot_rows = SK_K(dot_rows),
    .transpose = SK_K(transpose),
    .col_sum = SK_K(col_sum),
    .unary = SK_K(unary),
    .unary_grad = SK_K(unary_grad),
    .binary = SK_K(binary),
    .binary_grad = SK_K(binary_grad),
    .add_to = SK_K(add_to),
    .scale_add_to = SK_K(scale_add_to),
    .polyak = SK_K(polyak),
    .sum_squares = SK_K(sum_squares),
    .sum_slots = SK_K(sum_slots),
    .normalize = SK_K(normalize),
    .softmax = SK_K(softmax),
    .softmax_grad = SK_K(softmax_grad),
    .layer_norm = SK_K(layer_norm),
    .layer_norm_grad = SK_K(layer_norm_grad),
    .categorical = SK_K(categorical),
    .categorical_grad = SK_K(categorical_grad),
    .categorical_sample = SK_K(categorical_sample),
    .gaussian_sample = SK_K(gaussian_sample),
    .gaussian = SK_K(gaussian),
    .gaussian_grad = SK_K(gaussian_grad),
    .squashed = SK_K(squashed),
    .squashed_grad = SK_K(squashed_grad),
    .sde_log_std = SK_K(sde_log_std),
    .sde_log_std_grad = SK_K(sde_log_std_grad),
    .sde_sample = SK_K(sde_sample),
    .ppo_loss = SK_K(ppo_loss),
    .ppo_loss_grad = SK_K(ppo_loss_grad),
    .quantile_huber = SK_K(quantile_huber),
    .quantile_huber_grad = SK_K(quantile_huber_grad),
    .adam = SK_K(adam),
    .fma_peak = SK_K(fma_peak),
};
