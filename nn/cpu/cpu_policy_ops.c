#include "nn/cpu/cpu_policy_ops.h"

#include "nn/cpu/cpu_ops.h"

#include <string.h>

static sk_squashed squashed_of(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), mean = input_of(b, t, 0), log_std = input_of(b, t, 1), noise = input_of(b, t, 2);
    return (sk_squashed){.rows = b->rows, .cols = mean.cols, .ld = (int)mean.ld,
                         .log_std_ld = is_shared(&log_std) ? 0 : (int)log_std.ld, .mean = mean.v,
                         .log_std = log_std.v, .noise = noise.v, .noise_ld = (int)noise.ld, .out = y.v,
                         .out_ld = (int)y.ld, .d_out = y.g};
}

void sk__forward_squashed_gaussian(const cpu_block *b, sk_tensor t) {
    sk_squashed g = squashed_of(b, t);
    b->plan->k->squashed(&g);
}

void sk__backward_squashed_gaussian(const cpu_block *b, sk_tensor t) {
    view        mean = input_of(b, t, 0), log_std = input_of(b, t, 1);
    sk_squashed g = squashed_of(b, t);
    size_t      half = (size_t)(b->rows * mean.ld);
    if (mean.g) g.d_mean = mean.adds ? b->w->scratch : mean.g;
    if (log_std.g && is_shared(&log_std)) {
        g.d_log_std = log_std.g;
        if (!log_std.adds) memset(log_std.g, 0, (size_t)log_std.cols * sizeof(float));
    } else if (log_std.g) {
        g.d_log_std = log_std.adds ? b->w->scratch + half : log_std.g;
    }
    b->plan->k->squashed_grad(&g);
    if (mean.g && mean.adds) b->plan->k->add_to(b->w->scratch, mean.g, half);
    if (log_std.g && !is_shared(&log_std) && log_std.adds)
        b->plan->k->add_to(b->w->scratch + half, log_std.g, (size_t)(b->rows * log_std.ld));
}

/* x and log_std are inputs `at` and `at` + 1 of the node. */
static sk_sde sde_of(const cpu_block *b, sk_tensor t, int at) {
    view      y = view_of(b, t), x = input_of(b, t, at), log_std = input_of(b, t, at + 1);
    int       padded = (log_std.cols + SK_PAD - 1) / SK_PAD * SK_PAD;
    ptrdiff_t half = b->plan->half_scratch;
    float    *table = b->w->scratch + 2 * half;
    return (sk_sde){.rows = b->rows, .k = x.cols, .cols = log_std.cols, .padded = padded, .x = x.v, .x_ld = x.ld,
                    .log_std = log_std.v, .log_std_ld = log_std.ld, .out = y.v, .out_ld = y.ld, .d_out = y.g,
                    .squares = b->w->scratch, .wide = b->w->scratch + half, .table = table,
                    .sums = table + (ptrdiff_t)x.cols * padded};
}

void sk__forward_sde_log_std(const cpu_block *b, sk_tensor t) {
    sk_sde s = sde_of(b, t, 0);
    b->plan->k->sde_log_std(&s);
}

void sk__backward_sde_log_std(const cpu_block *b, sk_tensor t) {
    sk_sde s = sde_of(b, t, 0);
    view   log_std = input_of(b, t, 1);
    if (!log_std.g) return;
    s.d_log_std = log_std.g;
    if (!log_std.adds) memset(log_std.g, 0, (size_t)(log_std.n->rows * log_std.ld) * sizeof(float));
    b->plan->k->sde_log_std_grad(&s);
}

void sk__forward_sde_sample(const cpu_block *b, sk_tensor t) {
    sk_sde s = sde_of(b, t, 1);
    view   mean = input_of(b, t, 0), eps = input_of(b, t, 3);
    s.mean = mean.v;
    s.mean_ld = mean.ld;
    s.eps = eps.v;
    s.eps_ld = eps.ld;
    b->plan->k->sde_sample(&s);
}
