/* Softmax, layer norm, distributions, sampling and the PPO loss against plain C in double, at every
 * instruction set, for row counts around the vector lengths. Their gradients are in test_grad.c. */
#include "tests/nn/nn_fixture.h"

enum { DIST_LD = SK_PAD, COLS_MAX = 80 };
static const int row_counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33};
static int pad(int cols) { return cols == 1 ? 1 : (cols + SK_PAD - 1) / SK_PAD * SK_PAD; }

/* (rows x ld) with zeros behind `cols`, as the plan keeps it. */
static float *padded_rows(int rows, int cols, int ld, uint64_t *seed, double low, double high) {
    float *x = guard_alloc((size_t)(rows * ld));
    for (int i = 0; i < rows * ld; i++) x[i] = i % ld < cols ? (float)fix_uniform(seed, low, high) : 0.0f;
    return x;
}
static void assert_pads_are_zero(const float *x, int rows, int cols, int ld) {
    for (int i = 0; i < rows * ld; i++)
        if (i % ld >= cols)
            cr_assert_eq(fix_bits(x[i]), 0, "padding of row %d holds %g", i / ld, (double)x[i]);
}

/* log of the softmax of n logits, in double. */
static void plain_log_softmax(const float *x, const float *mask, int n, double *ret) {
    double top = -INFINITY, sum = 0.0;
    for (int j = 0; j < n; j++) ret[j] = mask && mask[j] < 0.5f ? (double)SK_MASKED_LOGIT : (double)x[j];
    for (int j = 0; j < n; j++) top = fmax(top, ret[j]);
    for (int j = 0; j < n; j++) sum += exp(ret[j] - top);
    for (int j = 0; j < n; j++) ret[j] -= top + log(sum);
}

Test(softmax, agrees_with_double_and_sums_to_one) {
    static const int widths[] = {1, 2, 5, 16, 17, COLS_MAX};
    uint64_t seed = 21;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(row_counts); s++)
        for (int w = 0; w < SK_COUNT(widths); w++) {
            int rows = row_counts[s], cols = widths[w], ld = pad(cols);
            float *x = padded_rows(rows, cols, ld, &seed, -20.0, 20.0);
            float *p = guard_alloc((size_t)(rows * ld)), *lp = guard_alloc((size_t)(rows * ld));
            k->softmax(rows, cols, ld, x, p, 0);
            k->softmax(rows, cols, ld, x, lp, 1);
            for (int r = 0; r < rows; r++) {
                double exact[COLS_MAX], sum = 0.0;
                plain_log_softmax(x + r * ld, NULL, cols, exact);
                for (int c = 0; c < cols; c++) {
                    sum += (double)p[r * ld + c];
                    cr_assert_float_eq(p[r * ld + c], exp(exact[c]), 3e-7, "v%d softmax", level);
                    cr_assert_float_eq(lp[r * ld + c], exact[c], 1e-6 + 3e-7 * fabs(exact[c]), "v%d log",
                                       level);
                }
                cr_assert_float_eq(sum, 1.0, 1e-6);
            }
            assert_pads_are_zero(p, rows, cols, ld);
            assert_pads_are_zero(lp, rows, cols, ld);
            guard_check_all();
        }
}

Test(softmax, stands_large_logits_and_passes_nan_on) {
    FOR_LEVELS(level, k) {
        float x[32] = {1e30f, -1e30f, 1e30f}, y[32];
        x[16] = 1.0f, x[17] = NAN, x[18] = 2.0f;
        k->softmax(2, 3, 16, x, y, 0);
        cr_assert(y[0] == 0.5f && y[1] < 1e-30f && y[2] == 0.5f, "v%d: %g %g %g", level, (double)y[0],
                  (double)y[1], (double)y[2]);
        cr_assert(isnan(y[16]) && isnan(y[17]) && isnan(y[18]), "v%d", level);
    }
}

Test(layer_norm, agrees_with_double) {
    static const int widths[] = {1, 2, 5, 16, 17, COLS_MAX};
    uint64_t seed = 22;
    FOR_LEVELS(level, k)
    for (int w = 0; w < SK_COUNT(widths); w++) {
        int rows = 5, cols = widths[w], ld = pad(cols);
        float *x = padded_rows(rows, cols, ld, &seed, 9.0, 11.0), *y = guard_alloc((size_t)(rows * ld));
        float *gamma = guard_fill((size_t)cols, &seed, 0.5, 2.0),
              *beta = guard_fill((size_t)cols, &seed, -1.0, 1.0);
        k->layer_norm(rows, cols, ld, x, gamma, beta, y);
        for (int r = 0; r < rows; r++) {
            double mean = 0.0, var = 0.0;
            for (int c = 0; c < cols; c++) mean += (double)x[r * ld + c] / cols;
            for (int c = 0; c < cols; c++) var += pow((double)x[r * ld + c] - mean, 2) / cols;
            for (int c = 0; c < cols; c++) {
                double h = ((double)x[r * ld + c] - mean) / sqrt(var + 1e-5);
                double exact = h * (double)gamma[c] + (double)beta[c];
                /* the mean is kept to half an ulp of 11 and then stretched by 1 / std */
                cr_assert_float_eq(y[r * ld + c], exact, 2e-6 + 2e-6 / sqrt(var + 1e-5), "v%d cols %d", level,
                                   cols);
            }
        }
        assert_pads_are_zero(y, rows, cols, ld);
        guard_check_all();
    }
}

/* Discrete actions of every kind the library meets. */
static const struct parts {
    int n, part_n[4];
} all_parts[] = {{1, {2}}, {1, {7}}, {1, {33}}, {3, {2, 7, 3}}, {4, {1, 5, 2, 2}}};
static int n_choices(const struct parts *p) {
    int n = 0;
    for (int i = 0; i < p->n; i++) n += p->part_n[i];
    return n;
}
/* A mask that leaves at least the first choice of every part; actions within it. */
static void draw_masked(const struct parts *p, int rows, float *mask, int32_t *action, uint64_t *seed) {
    int cols = n_choices(p);
    for (int r = 0; r < rows; r++)
        for (int part = 0, first = 0; part < p->n; first += p->part_n[part++]) {
            for (int j = 0; j < p->part_n[part]; j++)
                mask[r * cols + first + j] = j == 0 || fix_below(seed, 2) ? 1.0f : 0.0f;
            int a = fix_below(seed, p->part_n[part]);
            action[r * p->n + part] = mask[r * cols + first + a] > 0.5f ? a : 0;
        }
}
static sk_categorical categorical_create(const struct parts *p, int rows, int masked, uint64_t *seed) {
    int cols = n_choices(p);
    float *mask = guard_alloc((size_t)(rows * cols));
    int32_t *action = (int32_t *)(void *)guard_alloc((size_t)(rows * p->n));
    draw_masked(p, rows, mask, action, seed);
    return (sk_categorical){.rows = rows,
                            .n_parts = p->n,
                            .part_n = p->part_n,
                            .ld = pad(cols),
                            .logits = padded_rows(rows, cols, pad(cols), seed, -3.0, 3.0),
                            .mask = masked ? mask : NULL,
                            .mask_ld = cols,
                            .action = action,
                            .action_ld = p->n};
}

Test(categorical, agrees_with_double) {
    uint64_t seed = 23;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(row_counts); s++)
        for (int q = 0; q < 2 * SK_COUNT(all_parts); q++) {
            const struct parts *p = &all_parts[q / 2];
            sk_categorical c = categorical_create(p, row_counts[s], q % 2, &seed);
            c.out = guard_alloc((size_t)(c.rows * DIST_LD));
            k->categorical(&c);
            for (int r = 0; r < c.rows; r++) {
                double logp = 0.0, entropy = 0.0, lp[64];
                for (int part = 0, first = 0; part < p->n; first += p->part_n[part++]) {
                    const float *mask = c.mask ? c.mask + r * c.mask_ld + first : NULL;
                    plain_log_softmax(c.logits + r * c.ld + first, mask, p->part_n[part], lp);
                    logp += lp[c.action[r * c.action_ld + part]];
                    for (int j = 0; j < p->part_n[part]; j++) entropy -= exp(lp[j]) * lp[j];
                }
                cr_assert_float_eq(c.out[r * DIST_LD], logp, 5e-6, "v%d log-prob %g, not %g", level,
                                   (double)c.out[r * DIST_LD], logp);
                cr_assert_float_eq(c.out[r * DIST_LD + 1], entropy, 5e-6, "v%d entropy %g, not %g", level,
                                   (double)c.out[r * DIST_LD + 1], entropy);
            }
            assert_pads_are_zero(c.out, c.rows, 2, DIST_LD);
            guard_check_all();
        }
}

Test(categorical, a_masked_choice_has_no_gradient) {
    uint64_t seed = 24;
    FOR_LEVELS(level, k) {
        const struct parts *p = &all_parts[3];
        sk_categorical c = categorical_create(p, 17, 1, &seed);
        c.d_out = padded_rows(17, 2, DIST_LD, &seed, -1.0, 1.0);
        c.d_logits = guard_alloc((size_t)(c.rows * c.ld));
        k->categorical_grad(&c);
        for (int i = 0; i < c.rows * c.ld; i++) {
            int masked = i % c.ld < c.mask_ld && c.mask[i / c.ld * c.mask_ld + i % c.ld] < 0.5f;
            if (masked)
                cr_assert_eq(c.d_logits[i], 0.0f, "v%d", level);
            else
                cr_assert_not(isnan(c.d_logits[i]));
        }
        assert_pads_are_zero(c.d_logits, c.rows, c.mask_ld, c.ld);
        guard_check_all();
    }
}

/* What the header says of sampling: first choice whose cumulative share exceeds the noise. */
static int plain_choice(const float *x, const float *mask, int n, double noise, double *ret_margin) {
    double lp[64], cum = 0.0;
    int mode = 0, choice = -1;
    plain_log_softmax(x, mask, n, lp);
    *ret_margin = 1.0;
    for (int j = 0; j < n; j++) {
        if (lp[j] > lp[mode]) mode = j;
        cum += exp(lp[j]);
        if (fabs(cum - noise) < *ret_margin) *ret_margin = fabs(cum - noise);
        if (choice < 0 && cum > noise) choice = j;
    }
    return noise < 0.0 || choice < 0 ? mode : choice;
}

Test(categorical, samples_by_the_cumulative_distribution) {
    uint64_t seed = 25;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(row_counts); s++)
        for (int q = 0; q < 2 * SK_COUNT(all_parts); q++) {
            const struct parts *p = &all_parts[q / 2];
            sk_categorical c = categorical_create(p, row_counts[s], q % 2, &seed);
            float *noise = guard_fill((size_t)(c.rows * p->n), &seed, -0.3, 1.0);
            c.noise = noise;
            c.noise_ld = p->n;
            c.choice = (int32_t *)(void *)guard_alloc((size_t)(c.rows * p->n));
            k->categorical_sample(&c);
            for (int r = 0; r < c.rows; r++)
                for (int part = 0, first = 0; part < p->n; first += p->part_n[part++]) {
                    const float *mask = c.mask ? c.mask + r * c.mask_ld + first : NULL;
                    double margin;
                    int got = c.choice[r * p->n + part];
                    int want = plain_choice(c.logits + r * c.ld + first, mask, p->part_n[part],
                                            (double)noise[r * p->n + part], &margin);
                    cr_assert(got >= 0 && got < p->part_n[part] && (!mask || mask[got] > 0.5f), "v%d: %d",
                              level, got);
                    if (margin > 1e-6) cr_assert_eq(got, want, "v%d: %d, not %d", level, got, want);
                }
            guard_check_all();
        }
}

Test(categorical, sampling_at_the_ends_stays_inside) {
    static const float ends[] = {0.0f, 0x1.fffffep-1f, -1.0f};
    static const float logits[16] = {0.0f, -80.0f, 3.0f, 1.0f}, mask[4] = {0.0f, 1.0f, 1.0f, 0.0f};
    static const int part_n[1] = {4};
    FOR_LEVELS(level, k)
    for (int s = 0; s < 3; s++) {
        int32_t choice = -7;
        k->categorical_sample(&(sk_categorical){.rows = 1,
                                                .n_parts = 1,
                                                .ld = 16,
                                                .part_n = part_n,
                                                .logits = logits,
                                                .mask = mask,
                                                .mask_ld = 4,
                                                .action_ld = 1,
                                                .noise = &ends[s],
                                                .noise_ld = 1,
                                                .choice = &choice});
        cr_assert(choice == (s == 0 ? 1 : 2), "v%d end %d: %d", level, s, choice);
    }
}

/* One Gaussian problem; log_std shared by all rows or one per row, partly outside its clamp. */
static sk_gaussian gaussian_create(int rows, int cols, int shared, uint64_t *seed) {
    sk_gaussian g = {.rows = rows, .cols = cols, .ld = pad(cols), .log_std_ld = shared ? 0 : pad(cols)};
    g.mean = padded_rows(rows, cols, g.ld, seed, -2.0, 2.0);
    float *log_std = shared ? guard_fill((size_t)cols, seed, -2.0, 1.5)
                            : padded_rows(rows, cols, g.log_std_ld, seed, -2.0, 1.5);
    log_std[0] = 2.5f; /* used as 2 */
    g.log_std = log_std;
    g.action = guard_fill((size_t)(rows * cols), seed, -2.0, 2.0);
    g.action_ld = cols;
    return g;
}
static double log_std_of(const sk_gaussian *g, int r, int c) {
    return fmax(-20.0, fmin(2.0, (double)g->log_std[r * g->log_std_ld + c]));
}

Test(gaussian, agrees_with_double) {
    static const int widths[] = {1, 3, 6, 17};
    uint64_t seed = 26;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(row_counts); s++)
        for (int w = 0; w < 2 * SK_COUNT(widths); w++) {
            sk_gaussian g = gaussian_create(row_counts[s], widths[w / 2], w % 2, &seed);
            g.out = guard_alloc((size_t)(g.rows * DIST_LD));
            k->gaussian(&g);
            for (int r = 0; r < g.rows; r++) {
                double logp = 0.0, entropy = 0.0, size = 0.0;
                for (int c = 0; c < g.cols; c++) {
                    double ls = log_std_of(&g, r, c);
                    double z =
                        ((double)g.action[r * g.action_ld + c] - (double)g.mean[r * g.ld + c]) * exp(-ls);
                    logp -= 0.5 * z * z + ls + 0.5 * log(2.0 * M_PI);
                    entropy += ls + 0.5 * log(2.0 * M_PI * M_E);
                    size += 0.5 * z * z + fabs(ls) + 2.0;
                }
                cr_assert_float_eq(g.out[r * DIST_LD], logp, 1e-6 * size, "v%d log-prob %g, not %g", level,
                                   (double)g.out[r * DIST_LD], logp);
                cr_assert_float_eq(g.out[r * DIST_LD + 1], entropy, 1e-6 * size, "v%d entropy", level);
            }
            assert_pads_are_zero(g.out, g.rows, 2, DIST_LD);
            guard_check_all();
        }
}

Test(gaussian, samples_mean_plus_std_times_noise) {
    uint64_t seed = 27;
    FOR_LEVELS(level, k)
    for (int s = 0; s < 2 * SK_COUNT(row_counts); s++) {
        sk_gaussian g = gaussian_create(row_counts[s / 2], 6, s % 2, &seed);
        float *sample = g.sample = guard_alloc((size_t)(g.rows * g.ld));
        k->gaussian_sample(&g); /* action plays the noise */
        for (int r = 0; r < g.rows; r++)
            for (int c = 0; c < 6; c++) {
                double want =
                    (double)g.mean[r * g.ld + c] + exp(log_std_of(&g, r, c)) * (double)g.action[r * 6 + c];
                cr_assert_float_eq(sample[r * g.ld + c], want, 1e-6 * (1.0 + fabs(want)) + 2e-6, "v%d",
                                   level);
            }
        assert_pads_are_zero(sample, g.rows, 6, g.ld);
        guard_check_all();
    }
}

/* A PPO problem with ratios on both sides of the clip range and every sign of advantage. */
static sk_ppo_loss ppo_create(int rows, float vf_clip, uint64_t *seed) {
    size_t n = (size_t)rows;
    float *dist = padded_rows(rows, 2, DIST_LD, seed, -2.0, 0.0), *weight = guard_fill(n, seed, 0.0, 1.0);
    float *logp_old = guard_alloc(n), *coef = guard_alloc(SK_PPO_COEF_N);
    double sum = 0.0;
    for (int r = 0; r < rows; r++) {
        logp_old[r] = dist[r * DIST_LD] - (float)fix_uniform(seed, -0.6, 0.6);
        if (r % 5 == 3) weight[r] = 0.0f;
        sum += (double)weight[r];
    }
    const float values[SK_PPO_COEF_N] = {0.2f, vf_clip, 0.5f, 0.01f, 0.3f, 0.1f, 1.7f, (float)(1.0 / sum)};
    memcpy(coef, values, sizeof values);
    return (sk_ppo_loss){.rows = rows,
                         .dist = dist,
                         .logp_old = logp_old,
                         .weight = weight,
                         .coef = coef,
                         .value = guard_fill(n, seed, -2.0, 2.0),
                         .value_old = guard_fill(n, seed, -2.0, 2.0),
                         .advantage = guard_fill(n, seed, -2.0, 2.0),
                         .value_target = guard_fill(n, seed, -2.0, 2.0)};
}

static double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static void plain_ppo(const sk_ppo_loss *p, double stats[SK_PPO_N]) {
    const float *k = p->coef;
    double eps = (double)k[SK_PPO_COEF_CLIP], range = (double)k[SK_PPO_COEF_VF_CLIP];
    for (int r = 0; r < p->rows; r++) {
        double w = (double)p->weight[r] * (double)k[SK_PPO_COEF_INV_WEIGHT];
        double change = (double)p->dist[r * DIST_LD] - (double)p->logp_old[r], ratio = exp(change);
        double adv =
            ((double)p->advantage[r] - (double)k[SK_PPO_COEF_ADV_MEAN]) * (double)k[SK_PPO_COEF_ADV_SCALE];
        double v = (double)p->value[r], old = (double)p->value_old[r], target = (double)p->value_target[r];
        double vf = pow(v - target, 2);
        if (range > 0.0) vf = fmax(vf, pow(old + clamp(v - old, -range, range) - target, 2));
        stats[SK_PPO_POLICY] -= w * fmin(ratio * adv, clamp(ratio, 1.0 - eps, 1.0 + eps) * adv);
        stats[SK_PPO_VF] += w * vf;
        stats[SK_PPO_ENTROPY] += w * (double)p->dist[r * DIST_LD + 1];
        stats[SK_PPO_KL] += w * (ratio - 1.0 - change);
        stats[SK_PPO_CLIP_FRACTION] += fabs(ratio - 1.0) > eps ? w : 0.0;
        stats[SK_PPO_RATIO_DEV] += w * fabs(ratio - 1.0);
        stats[SK_PPO_WEIGHT] += w;
    }
    stats[SK_PPO_TOTAL] = stats[SK_PPO_POLICY] + (double)k[SK_PPO_COEF_VF] * stats[SK_PPO_VF] -
                          (double)k[SK_PPO_COEF_ENTROPY] * stats[SK_PPO_ENTROPY] +
                          (double)k[SK_PPO_COEF_KL] * stats[SK_PPO_KL];
}

Test(ppo_loss, agrees_with_double) {
    static const float ranges[] = {0.0f, 0.5f, -1.0f};
    uint64_t seed = 28;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(row_counts); s++)
        for (int v = 0; v < SK_COUNT(ranges); v++) {
            sk_ppo_loss p = ppo_create(row_counts[s], ranges[v], &seed);
            double got[SK_PPO_N] = {0}, want[SK_PPO_N] = {0};
            p.stats = got;
            k->ppo_loss(&p);
            plain_ppo(&p, want);
            for (int i = 0; i < SK_PPO_N; i++)
                cr_assert_float_eq(got[i], want[i], 2e-6 * (1.0 + fabs(want[i])),
                                   "v%d rows %d statistic %d: %g, not %g", level, p.rows, i, got[i], want[i]);
            k->ppo_loss(&p);
            for (int i = 0; i < SK_PPO_N; i++)
                cr_assert_float_eq(got[i], 2.0 * want[i], 1e-5 * (1.0 + fabs(want[i])));
            guard_check_all();
        }
}

Test(ppo_loss, the_ratio_of_an_unchanged_policy_is_exactly_one) {
    uint64_t seed = 29;
    FOR_LEVELS(level, k) {
        sk_ppo_loss p = ppo_create(33, 0.0f, &seed);
        float *same = guard_alloc(33);
        for (int r = 0; r < 33; r++) same[r] = p.dist[r * DIST_LD];
        p.logp_old = same;
        double stats[SK_PPO_N] = {0};
        p.stats = stats;
        k->ppo_loss(&p);
        cr_assert(stats[SK_PPO_KL] == 0.0 && stats[SK_PPO_RATIO_DEV] == 0.0 &&
                      stats[SK_PPO_CLIP_FRACTION] == 0.0,
                  "v%d", level);
        guard_check_all();
    }
}

/* Rows of weight 0 may hold anything: neither the loss nor a gradient may see it. */
Test(ppo_loss, rows_of_weight_zero_are_not_seen) {
    static const float junk[] = {NAN, INFINITY, -INFINITY, 1e30f};
    FOR_LEVELS(level, k)
    for (int j = 0; j < SK_COUNT(junk); j++) {
        enum { ROWS = 21 };
        uint64_t seed = 30;
        sk_ppo_loss p = ppo_create(ROWS, 0.5f, &seed);
        float *cols[] = {(float *)(uintptr_t)p.value, (float *)(uintptr_t)p.logp_old,
                         (float *)(uintptr_t)p.value_old, (float *)(uintptr_t)p.advantage,
                         (float *)(uintptr_t)p.value_target};
        double want[SK_PPO_N] = {0}, got[SK_PPO_N] = {0};
        float d_dist[ROWS * DIST_LD], d_value[ROWS], d_dist_was[ROWS * DIST_LD], d_value_was[ROWS];
        p.d_total = 1.0f;
        for (int pass = 0; pass < 2; pass++) {
            p.stats = pass ? got : want;
            p.d_dist = pass ? d_dist : d_dist_was;
            p.d_value = pass ? d_value : d_value_was;
            k->ppo_loss(&p);
            k->ppo_loss_grad(&p);
            for (int r = 3; r < ROWS; r += 5) {
                for (int c = 0; c < SK_COUNT(cols); c++) cols[c][r] = junk[j];
                ((float *)(uintptr_t)p.dist)[r * DIST_LD] = ((float *)(uintptr_t)p.dist)[r * DIST_LD + 1] =
                    junk[j];
            }
        }
        for (int i = 0; i < SK_PPO_N; i++)
            cr_assert_eq(got[i], want[i], "v%d junk %g statistic %d: %g, not %g", level, (double)junk[j], i,
                         got[i], want[i]);
        for (int i = 0; i < ROWS * DIST_LD; i++)
            cr_assert_eq(d_dist[i], d_dist_was[i], "v%d junk %g", level, (double)junk[j]);
        for (int i = 0; i < ROWS; i++)
            cr_assert_eq(d_value[i], d_value_was[i], "v%d junk %g", level, (double)junk[j]);
        guard_check_all();
    }
}
