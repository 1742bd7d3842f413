/* x86-64-v3 and v4 give the same bits wherever lanes are not summed: what nn/cpu/simd.h claims, kernel by
 * kernel. */
#include "tests/nn/nn_fixture.h"

enum { ROWS = 37, COLS = 33, LD = 48, N = ROWS * LD, DIST_LD = SK_PAD };

/* Inputs, and what one level makes of them. */
typedef struct work {
    float x[N], y[N], d[N], out[N], out2[N], row[LD], row2[LD], mask[ROWS * COLS];
    int32_t action[ROWS];
} work;

static void work_fill(work *w, double low, double high) {
    uint64_t seed = 41;
    memset(w, 0, sizeof *w);
    for (int i = 0; i < N; i++)
        if (i % LD < COLS) {
            w->x[i] = (float)fix_uniform(&seed, low, high);
            w->y[i] = (float)fix_uniform(&seed, 0.1, 2.0);
            w->d[i] = (float)fix_uniform(&seed, -1.0, 1.0);
        }
    for (int i = 0; i < COLS; i++) w->row[i] = (float)fix_uniform(&seed, 0.5, 1.5);
    for (int i = 0; i < COLS; i++) w->row2[i] = (float)fix_uniform(&seed, -1.0, 1.0);
    for (int i = 0; i < ROWS * COLS; i++) w->mask[i] = i % COLS == 0 || fix_below(&seed, 3) ? 1.0f : 0.0f;
    for (int i = 0; i < ROWS; i++) w->action[i] = fix_below(&seed, COLS);
}

static void gemm(const sk_kernels *k, work *w) {
    k->gemm(&(sk_gemm){.m = ROWS,
                       .n = LD,
                       .k = COLS,
                       .a = w->x,
                       .a_row = LD,
                       .a_col = 1,
                       .b = w->y,
                       .b_row = LD,
                       .c = w->out,
                       .c_row = LD,
                       .bias = w->row});
    k->gemm(&(sk_gemm){.m = COLS,
                       .n = LD,
                       .k = ROWS,
                       .a = w->x,
                       .a_row = 1,
                       .a_col = LD,
                       .b = w->d,
                       .b_row = LD,
                       .c = w->out2,
                       .c_row = LD,
                       .accumulate = 1});
}
static void unary(const sk_kernels *k, work *w) {
    for (int kind = 0; kind < SK_UNARY_COUNT; kind++) {
        float y[N], dx[N];
        const float *x = kind == SK_UNARY_LOG ? w->y : w->x;
        float a = kind == SK_UNARY_HUBER ? 0.5f : -0.5f;
        k->unary(kind, a, 0.5f, x, y, N);
        k->unary_grad(kind, a, 0.5f, x, y, w->d, dx, N, 0);
        for (int i = 0; i < N; i++) /* every kind leaves its mark, NaN included */
            w->out[i] = fix_from_bits(fix_bits(w->out[i]) * 31 + fix_bits(y[i])),
            w->out2[i] = fix_from_bits(fix_bits(w->out2[i]) * 31 + fix_bits(dx[i]));
    }
}
static void binary(const sk_kernels *k, work *w) {
    for (int kind = 0; kind < SK_BINARY_COUNT; kind++) {
        float z[N];
        k->binary(kind, w->x, w->d, z, N);
        k->add_to(z, w->out, N);
        k->binary_grad(kind, w->x, w->y, w->d, w->out, 1, w->out2, 1, N);
        k->scale_add_to(0.3f, z, w->out2, N);
    }
}
static void sums(const sk_kernels *k, work *w) {
    k->sum_slots(3, w->x, COLS, w->out, COLS);
    k->polyak(0.3f, w->y, w->x, N);
    k->add_to(w->x + 10 * LD, w->out + 10 * LD, N - 10 * LD);
    k->col_sum(ROWS, LD, w->d, LD, w->out2, 0);
    k->normalize(ROWS, COLS, w->x, LD, w->row2, w->row, 2.0f, w->out + LD, LD - 1);
}
static void dot_rows(const sk_kernels *k, work *w) {
    for (int depth = 1; depth <= COLS; depth++) k->dot_rows(ROWS, depth, w->x, LD, w->row, 0.25f, w->out + depth * ROWS);
}
static void transpose(const sk_kernels *k, work *w) { k->transpose(COLS, ROWS, w->x, LD, w->out, LD); }
static void softmax(const sk_kernels *k, work *w) {
    k->softmax(ROWS, COLS, LD, w->x, w->out, 0);
    k->softmax_grad(ROWS, COLS, LD, w->out, w->d, w->out2, 0, 0);
}
static void log_softmax(const sk_kernels *k, work *w) {
    k->softmax(ROWS, COLS, LD, w->x, w->out, 1);
    k->softmax_grad(ROWS, COLS, LD, w->out, w->d, w->out2, 1, 1);
}
static void layer_norm(const sk_kernels *k, work *w) {
    k->layer_norm(ROWS, COLS, LD, w->x, w->row, w->row2, w->out);
    k->layer_norm_grad(ROWS, COLS, LD, w->x, w->row, w->d, w->out2, 0, w->y, w->y + LD);
    memcpy(w->out + COLS, w->y, 2 * sizeof(float)); /* the parameters' gradients, into padding */
    memcpy(w->out + LD + COLS, w->y + LD, 2 * sizeof(float));
}
static void categorical(const sk_kernels *k, work *w) {
    static const int part_n[1] = {COLS};
    sk_categorical c = {.rows = ROWS,
                        .n_parts = 1,
                        .ld = LD,
                        .part_n = part_n,
                        .logits = w->x,
                        .mask = w->mask,
                        .mask_ld = COLS,
                        .action = w->action,
                        .action_ld = 1,
                        .out = w->out,
                        .d_out = w->d,
                        .d_logits = w->out2,
                        .noise = w->y,
                        .noise_ld = LD};
    k->categorical(&c);
    k->categorical_grad(&c);
    c.choice = (int32_t *)(void *)(w->out + ROWS * DIST_LD);
    k->categorical_sample(&c);
}
static void gaussian(const sk_kernels *k, work *w) {
    sk_gaussian g = {.rows = ROWS,
                     .cols = COLS,
                     .ld = LD,
                     .log_std_ld = LD,
                     .mean = w->x,
                     .log_std = w->d,
                     .action = w->y,
                     .action_ld = LD,
                     .out = w->out,
                     .d_out = w->d,
                     .d_mean = w->out2,
                     .d_log_std = w->y};
    k->gaussian(&g);
    g.sample = w->y;
    k->gaussian_sample(&g);
    k->add_to(w->y, w->out, N);
    k->gaussian_grad(&g);
}
static void squashed(const sk_kernels *k, work *w) {
    sk_squashed g = {.rows = ROWS,
                     .cols = COLS,
                     .ld = LD,
                     .log_std_ld = LD,
                     .mean = w->x,
                     .log_std = w->d,
                     .noise = w->y,
                     .noise_ld = LD,
                     .out = w->out,
                     .out_ld = LD,
                     .d_out = w->d,
                     .d_mean = w->out2,
                     .d_log_std = w->y};
    k->squashed(&g);
    k->squashed_grad(&g);
    memcpy(w->out + COLS + 1, w->y, 10 * sizeof(float)); /* into padding */
}
static void sde(const sk_kernels *k, work *w) {
    static float squares[N], wide[N], table[N], sums[N];
    sk_sde s = {.rows = ROWS,
                .k = COLS,
                .cols = 1,
                .padded = SK_PAD,
                .x = w->x,
                .x_ld = LD,
                .log_std = w->d,
                .log_std_ld = LD,
                .out = w->out,
                .out_ld = LD,
                .d_out = w->d,
                .d_log_std = w->out2,
                .mean = w->row,
                .eps = w->y,
                .eps_ld = 1,
                .squares = squares,
                .wide = wide,
                .table = table,
                .sums = sums};
    for (s.cols = 1; s.cols <= SK_PAD; s.cols += 5) {
        k->sde_log_std(&s);
        k->sde_log_std_grad(&s);
    }
    s.out = sums;
    s.cols = SK_PAD;
    k->sde_sample(&s);
    k->add_to(sums, w->out, ROWS * LD);
}
static void ppo_grad(const sk_kernels *k, work *w) {
    float coef[SK_PPO_COEF_N] = {0.2f, 0.3f, 0.5f, 0.01f, 0.2f, 0.1f, 1.5f, 1.0f / ROWS};
    k->ppo_loss_grad(&(sk_ppo_loss){.rows = ROWS,
                                    .dist = w->d,
                                    .value = w->x,
                                    .logp_old = w->d + 40,
                                    .value_old = w->y,
                                    .advantage = w->x + 100,
                                    .value_target = w->y + 100,
                                    .weight = w->y + 200,
                                    .coef = coef,
                                    .d_total = 1.0f,
                                    .d_dist = w->out,
                                    .d_value = w->out2});
}
static void quantiles(const sk_kernels *k, work *w) {
    for (int r = 0; r < ROWS; r++) {
        sk_quantile q = {.k = COLS, .n_targets = COLS, .kappa = 0.8f, .theta = w->x + r * LD, .target = w->y + r * LD,
                         .out = w->out + r * LD};
        k->quantile_huber(&q);
        q.out = w->out2 + r * LD;
        k->quantile_huber_grad(&q);
    }
}
static void adam(const sk_kernels *k, work *w) {
    for (int step = 0; step < 5; step++)
        k->adam(&(sk_adam_step){.n = N,
                                .param = w->out,
                                .m = w->out2,
                                .v = w->y,
                                .grad = w->d,
                                .grad_scale = 0.7f,
                                .beta1 = 0.9f,
                                .beta2 = 0.999f,
                                .eps = 1e-5f,
                                .step_size = 0.01f,
                                .inv_sqrt_bias2 = 3.0f});
}

static const struct {
    const char *name;
    void (*fn)(const sk_kernels *k, work *w);
} kernels[] = {{"gemm", gemm},
               {"unary", unary},
               {"binary", binary},
               {"sums", sums},
               {"softmax", softmax},
               {"log_softmax", log_softmax},
               {"layer_norm", layer_norm},
               {"transpose", transpose},
               {"dot_rows", dot_rows},
               {"categorical", categorical},
               {"gaussian", gaussian},
               {"squashed", squashed},
               {"sde", sde},
               {"ppo_grad", ppo_grad},
               {"quantiles", quantiles},
               {"adam", adam}};

Test(levels, v3_and_v4_give_the_same_bits) {
    static const double ranges[][2] = {{-1.0, 1.0}, {-30.0, 30.0}, {-200.0, 200.0}};
    const sk_kernels *v3 = sk_kernels_at(3), *v4 = sk_kernels_at(4);
    static work a, b;
    if (!v3 || !v4) return; /* a machine without AVX-512 has nothing to compare */
    for (int s = 0; s < SK_COUNT(kernels); s++)
        for (int r = 0; r < SK_COUNT(ranges); r++) {
            work_fill(&a, ranges[r][0], ranges[r][1]);
            work_fill(&b, ranges[r][0], ranges[r][1]);
            kernels[s].fn(v3, &a);
            kernels[s].fn(v4, &b);
            assert_same_bits(a.out, b.out, N, kernels[s].name);
            assert_same_bits(a.out2, b.out2, N, kernels[s].name);
        }
}

Test(levels, a_kernel_gives_the_same_bits_again) {
    static work a, b;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(kernels); s++) {
        work_fill(&a, -3.0, 3.0);
        work_fill(&b, -3.0, 3.0);
        kernels[s].fn(k, &a);
        kernels[s].fn(k, &b);
        cr_assert_arr_eq(&a, &b, sizeof a, "v%d %s", level, kernels[s].name);
    }
}

/* The exceptions: sums across lanes round in another order, but mean the same. */
Test(levels, sums_across_lanes_agree_up_to_rounding) {
    static work w;
    const sk_kernels *v2 = sk_kernels_at(2);
    if (!v2) return;
    work_fill(&w, -1.0, 1.0);
    FOR_LEVELS(level, k) {
        float y[2][ROWS], log_std_grad[2][LD] = {{0}};
        double stats[2][SK_PPO_N] = {{0}};
        float coef[SK_PPO_COEF_N] = {0.2f, 0.3f, 0.5f, 0.01f, 0.2f, 0.1f, 1.5f, 1.0f / ROWS};
        for (int i = 0; i < 2; i++) {
            const sk_kernels *at = i ? k : v2;
            at->dot_rows(ROWS, COLS, w.x, LD, w.row, 0.0f, y[i]);
            at->gaussian_grad(&(sk_gaussian){.rows = ROWS,
                                             .cols = COLS,
                                             .ld = LD,
                                             .mean = w.x,
                                             .log_std = w.row2,
                                             .action = w.y,
                                             .action_ld = LD,
                                             .d_out = w.d,
                                             .d_log_std = log_std_grad[i]});
            at->ppo_loss(&(sk_ppo_loss){.rows = ROWS,
                                        .dist = w.d,
                                        .value = w.x,
                                        .logp_old = w.d + 40,
                                        .value_old = w.y,
                                        .advantage = w.x + 100,
                                        .value_target = w.y + 100,
                                        .weight = w.y + 200,
                                        .coef = coef,
                                        .stats = stats[i]});
        }
        for (int i = 0; i < ROWS; i++) cr_assert_float_eq(y[0][i], y[1][i], 3e-6, "v%d", level);
        for (int i = 0; i < COLS; i++)
            cr_assert_float_eq(log_std_grad[0][i], log_std_grad[1][i], 2e-4, "v%d", level);
        for (int i = 0; i < SK_PPO_N; i++) cr_assert_float_eq(stats[0][i], stats[1][i], 2e-5, "v%d", level);
    }
}
