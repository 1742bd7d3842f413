/* stochastic: kernels of policies whose actions are squashed, or whose noise depends on the state. Compiled once per
 * instruction set. */
#include "nn/cpu/kernels_level.h"
#include "nn/cpu/lanes.h"

/* One column of the draw u = mean + exp(log_std) noise of VL rows. */
typedef struct squashed_col {
    vf raw, log_std, step, noise, u; /* raw: before the clamp; step = exp(log_std) noise = du / dlog_std */
} squashed_col;

SK_INLINE squashed_col load_squashed(const sk_squashed *g, int c, int r) {
    squashed_col o;
    o.raw = g->log_std_ld ? load_col(g->log_std, g->log_std_ld, c, r, g->rows) : vset(g->log_std[c]);
    o.log_std = clamp_log_std(o.raw);
    o.noise = load_col(g->noise, g->noise_ld, c, r, g->rows);
    o.step = vexp(o.log_std) * o.noise;
    o.u = load_col(g->mean, g->ld, c, r, g->rows) + o.step;
    return o;
}

/* exp(-2 |u|), from which all of tanh that has to stay exact near 1 is made. */
SK_INLINE vf squash_tail(vf u) { return vexp(vset(-2.0f) * vabs(u)); }

/* log-prob = sum_c -noise^2/2 - log_std - log(2 pi)/2 - log(1 - tanh(u)^2),
 * log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + exp(-2 |u|))), even in u as it must be */
void SK_K(squashed)(const sk_squashed *g) {
    for (int r = 0; r < g->rows; r += VL) {
        vf logp = vset(0.0f), one = vset(1.0f);
        for (int c = 0; c < g->cols; c++) {
            squashed_col o = load_squashed(g, c, r);
            vf           slope = vset(0.693147181f) - vabs(o.u) - vlog(one + squash_tail(o.u));
            logp = logp - vfma(vset(0.5f) * o.noise, o.noise, o.log_std + vset(0.918938533f));
            logp = vfma(vset(-2.0f), slope, logp);
            store_col(g->out, g->out_ld, c, r, g->rows, vmin(one, vmax(vset(-1.0f), vtanh(o.u))));
        }
        store_col(g->out, g->out_ld, g->cols, r, g->rows, logp);
    }
    zero_pad(g->rows, g->cols + 1, g->out_ld, g->out);
}

/* d u = d action (1 - tanh(u)^2) + d logp 2 tanh(u); d mean = d u; d log_std = d u exp(log_std) noise - d logp, where
 * it is inside its clamp. 1 - tanh^2 = 4 t / (1 + t)^2 with t = exp(-2 |u|) */
void SK_K(squashed_grad)(const sk_squashed *g) {
    for (int c = 0; c < g->cols; c++) {
        vf shared = vset(0.0f);
        for (int r = 0; r < g->rows; r += VL) {
            squashed_col o = load_squashed(g, c, r);
            vf           live = lane_is_row(r, g->rows), t = squash_tail(o.u), sum = vset(1.0f) + t;
            vf           slope = vset(4.0f) * t / (sum * sum), action = load_col(g->out, g->out_ld, c, r, g->rows);
            vf           dlogp = load_col(g->d_out, g->out_ld, g->cols, r, g->rows) * live;
            vf           daction = load_col(g->d_out, g->out_ld, c, r, g->rows) * live;
            vf           du = vfma(daction, slope, vset(2.0f) * dlogp * action);
            if (g->d_mean) store_col(g->d_mean, g->ld, c, r, g->rows, du);
            if (!g->d_log_std) continue;
            vf d = inside_log_std(o.raw, vfma(du, o.step, vset(0.0f) - dlogp));
            if (g->log_std_ld) store_col(g->d_log_std, g->log_std_ld, c, r, g->rows, d);
            else shared = shared + d;
        }
        if (g->d_log_std && !g->log_std_ld) g->d_log_std[c] += vsum(shared);
    }
    if (g->d_mean) zero_pad(g->rows, g->cols, g->ld, g->d_mean);
    if (g->d_log_std && g->log_std_ld) zero_pad(g->rows, g->cols, g->log_std_ld, g->d_log_std);
}

/* table (k x padded) = exp(power * log_std), zeros in the padding. */
static void deviations(const sk_sde *s, float power) {
    for (int i = 0; i < s->k; i++) {
        const float *from = s->log_std + i * s->log_std_ld;
        float       *to = s->table + (ptrdiff_t)i * s->padded;
        for (int c = 0; c < s->padded; c += VL) {
            size_t n = c >= s->cols ? 0 : s->cols - c < VL ? (size_t)(s->cols - c) : VL;
            vf     x = vexp(vset(power) * clamp_log_std(n ? vload_n(from + c, n) : vset(0.0f)));
            vstore(to + c, vset(0.0f));
            if (n) vstore_n(to + c, x, n);
        }
    }
}

/* squares (rows x k) = x^2 */
static void squares(const sk_sde *s) {
    for (int r = 0; r < s->rows; r++)
        SK_K(unary)(SK_UNARY_SQUARE, 0.0f, 0.0f, s->x + r * s->x_ld, s->squares + (ptrdiff_t)r * s->k, (size_t)s->k);
}

/* out = 1/2 log(x^2 exp(2 log_std) + 1e-6); 1e-6 as in Stable-Baselines3 */
void SK_K(sde_log_std)(const sk_sde *s) {
    deviations(s, 2.0f);
    squares(s);
    SK_K(gemm)(&(sk_gemm){.m = s->rows, .n = s->padded, .k = s->k, .a = s->squares, .a_row = s->k, .a_col = 1,
                          .b = s->table, .b_row = s->padded, .c = s->wide, .c_row = s->padded});
    for (int r = 0; r < s->rows; r++) {
        for (int c = 0; c < s->cols; c += VL) {
            vf y = vset(0.5f) * vlog(vload(s->wide + (ptrdiff_t)r * s->padded + c) + vset(1e-6f));
            if (s->cols - c >= VL) vstore(s->out + r * s->out_ld + c, y);
            else vstore_n(s->out + r * s->out_ld + c, y, (size_t)(s->cols - c));
        }
    }
    zero_pad(s->rows, s->cols, (int)s->out_ld, s->out);
}

/* d log_std += exp(2 log_std) (x^2)^T (d out / exp(2 out)), where it is inside its clamp */
void SK_K(sde_log_std_grad)(const sk_sde *s) {
    deviations(s, 2.0f);
    squares(s);
    for (int r = 0; r < s->rows; r++) {
        float *to = s->wide + (ptrdiff_t)r * s->padded;
        for (int c = 0; c < s->padded; c += VL) {
            size_t n = c >= s->cols ? 0 : s->cols - c < VL ? (size_t)(s->cols - c) : VL;
            vstore(to + c, vset(0.0f));
            if (!n) continue;
            vf d = vload_n(s->d_out + r * s->out_ld + c, n), y = vload_n(s->out + r * s->out_ld + c, n);
            vstore_n(to + c, d * vexp(vset(-2.0f) * y), n);
        }
    }
    SK_K(gemm)(&(sk_gemm){.m = s->k, .n = s->padded, .k = s->rows, .a = s->squares, .a_row = 1, .a_col = s->k,
                          .b = s->wide, .b_row = s->padded, .c = s->sums, .c_row = s->padded});
    for (int i = 0; i < s->k; i++)
        for (int c = 0; c < s->cols; c += VL) {
            size_t    n = s->cols - c < VL ? (size_t)(s->cols - c) : VL;
            ptrdiff_t at = (ptrdiff_t)i * s->padded + c;
            float    *to = s->d_log_std + i * s->log_std_ld + c;
            vf        d = inside_log_std(vload_n(s->log_std + i * s->log_std_ld + c, n),
                                         vload(s->sums + at) * vload(s->table + at));
            vstore_n(to, vload_n(to, n) + d, n);
        }
}

/* out = mean + sum_i (x_i exp(log_std_i)) eps_i, i rising */
void SK_K(sde_sample)(const sk_sde *s) {
    deviations(s, 1.0f);
    for (int r = 0; r < s->rows; r++) {
        const float *x = s->x + r * s->x_ld, *eps = s->eps + r * s->eps_ld;
        for (int c = 0; c < s->cols; c += VL) {
            size_t n = s->cols - c < VL ? (size_t)(s->cols - c) : VL;
            vf     acc = vload_n(s->mean + r * s->mean_ld + c, n);
            for (int i = 0; i < s->k; i++)
                acc = vfma(vset(x[i]) * vload(s->table + (ptrdiff_t)i * s->padded + c),
                           vload_n(eps + (ptrdiff_t)i * s->cols + c, n), acc);
            vstore_n(s->out + r * s->out_ld + c, acc, n);
        }
    }
    zero_pad(s->rows, s->cols, (int)s->out_ld, s->out);
}
