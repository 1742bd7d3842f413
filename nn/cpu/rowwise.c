/* rowwise: kernels that look at a whole row: softmax, layer norm, distributions, the PPO loss. Where rows are
 * short, VL rows are worked on side by side (one lane each), so nothing is summed across lanes and a row's
 * result does not depend on its neighbours. Compiled once per instruction set. */
#include "nn/cpu/kernels_level.h"
#include "nn/cpu/lanes.h"

#include <math.h>

void SK_K(softmax)(int rows, int cols, int ld, const float *x, float *y, int log) {
    for (int r = 0; r < rows; r += VL) {
        vf top = load_col(x, ld, 0, r, rows), sum = vset(0.0f);
        for (int c = 1; c < cols; c++) top = vmax(load_col(x, ld, c, r, rows), top);
        for (int c = 0; c < cols; c++) sum = sum + vexp(load_col(x, ld, c, r, rows) - top);
        vf log_sum = vlog(sum), inv_sum = vset(1.0f) / sum;
        for (int c = 0; c < cols; c++) {
            vf z = load_col(x, ld, c, r, rows) - top;
            store_col(y, ld, c, r, rows, log ? z - log_sum : vexp(z) * inv_sum);
        }
    }
    zero_pad(rows, cols, ld, y);
}

/* softmax: dx = y (dy - sum(dy y)); log_softmax: dx = dy - exp(y) sum(dy) */
void SK_K(softmax_grad)(int rows, int cols, int ld, const float *y, const float *dy, float *dx, int log,
                        int accumulate) {
    for (int r = 0; r < rows; r += VL) {
        vf sum = vset(0.0f);
        for (int c = 0; c < cols; c++) {
            vf d = load_col(dy, ld, c, r, rows);
            sum = vfma(d, log ? vset(1.0f) : load_col(y, ld, c, r, rows), sum);
        }
        for (int c = 0; c < cols; c++) {
            vf yv = load_col(y, ld, c, r, rows), d = load_col(dy, ld, c, r, rows);
            vf g = log ? d - vexp(yv) * sum : yv * (d - sum);
            if (accumulate) g = g + load_col(dx, ld, c, r, rows);
            store_col(dx, ld, c, r, rows, g);
        }
    }
    if (!accumulate) zero_pad(rows, cols, ld, dx);
}

static void row_moments(int cols, const float *x, float *mean, float *inv_std) {
    double sum = 0.0, var = 0.0;
    for (int c = 0; c < cols; c++) sum += (double)x[c];
    double m = sum / cols;
    for (int c = 0; c < cols; c++) var += ((double)x[c] - m) * ((double)x[c] - m);
    *mean = (float)m;
    *inv_std = (float)(1.0 / sqrt(var / cols + 1e-5)); /* 1e-5 as in PyTorch's LayerNorm */
}

void SK_K(layer_norm)(int rows, int cols, int ld, const float *x, const float *gamma, const float *beta, float *y) {
    for (int r = 0; r < rows; r++, x += ld, y += ld) {
        float mean, inv_std;
        row_moments(cols, x, &mean, &inv_std);
        for (int c = 0; c < cols; c++) y[c] = (x[c] - mean) * inv_std * gamma[c] + beta[c];
        zero_pad(1, cols, ld, y);
    }
}

/* With h = (x - mean) inv_std and g = dy gamma: dx = inv_std (g - mean(g) - h mean(g h)) */
void SK_K(layer_norm_grad)(int rows, int cols, int ld, const float *x, const float *gamma, const float *dy, float *dx,
                           int dx_accumulate, float *dgamma, float *dbeta) {
    for (int r = 0; r < rows; r++, x += ld, dy += ld) {
        float  mean, inv_std;
        double sum_g = 0.0, sum_gh = 0.0;
        row_moments(cols, x, &mean, &inv_std);
        for (int c = 0; c < cols; c++) {
            float h = (x[c] - mean) * inv_std, g = dy[c] * gamma[c];
            sum_g += (double)g;
            sum_gh += (double)(g * h);
            if (dgamma) dgamma[c] += dy[c] * h;
            if (dbeta) dbeta[c] += dy[c];
        }
        if (!dx) continue;
        float mean_g = (float)(sum_g / cols), mean_gh = (float)(sum_gh / cols);
        for (int c = 0; c < cols; c++) {
            float h = (x[c] - mean) * inv_std, d = inv_std * (dy[c] * gamma[c] - mean_g - h * mean_gh);
            dx[(ptrdiff_t)r * ld + c] = dx_accumulate ? dx[(ptrdiff_t)r * ld + c] + d : d;
        }
        if (!dx_accumulate) zero_pad(1, cols, ld, dx + (ptrdiff_t)r * ld);
    }
}

/* Logit `j` of a part, VL rows; a masked one is far below all others but finite. */
SK_INLINE vf load_logit(const sk_categorical *c, int col, int r) {
    vf l = load_col(c->logits, c->ld, col, r, c->rows);
    if (c->mask) l = vsel_gt(load_col(c->mask, c->mask_ld, col, r, c->rows), vset(0.5f), l, vset(SK_MASKED_LOGIT));
    return l;
}
/* 1 where the row's action in `part` is j. */
SK_INLINE vf is_action(const sk_categorical *c, int part, int j, int r) {
    float t[VL];
    for (int i = 0; i < VL; i++)
        t[i] = c->action[(r + i < c->rows ? r + i : c->rows - 1) * c->action_ld + part] == j ? 1.0f : 0.0f;
    return vload(t);
}
/* log of the softmax normaliser of one part: log-prob of j is logit_j - *shift. */
SK_INLINE vf part_shift(const sk_categorical *c, int first, int n, int r) {
    vf top = load_logit(c, first, r), sum = vset(0.0f);
    for (int j = 1; j < n; j++) top = vmax(load_logit(c, first + j, r), top);
    for (int j = 0; j < n; j++) sum = sum + vexp(load_logit(c, first + j, r) - top);
    return top + vlog(sum);
}

/* exp(logit - top), and exactly 0 for a masked choice. */
SK_INLINE vf choice_weight(const sk_categorical *c, int col, int r, vf top) {
    vf w = vexp(load_logit(c, col, r) - top);
    if (c->mask) w = vsel_gt(load_col(c->mask, c->mask_ld, col, r, c->rows), vset(0.5f), w, vset(0.0f));
    return w;
}

/* log-prob = sum over parts of log p(action), entropy = sum of -sum_j p_j log p_j */
void SK_K(categorical)(const sk_categorical *c) {
    memset(c->out, 0, (size_t)c->rows * DIST_LD * sizeof *c->out);
    for (int r = 0; r < c->rows; r += VL) {
        vf  logp = vset(0.0f), entropy = vset(0.0f);
        int first = 0;
        for (int part = 0; part < c->n_parts; first += c->part_n[part++]) {
            vf shift = part_shift(c, first, c->part_n[part], r);
            for (int j = 0; j < c->part_n[part]; j++) {
                vf lp = load_logit(c, first + j, r) - shift;
                logp = vfma(is_action(c, part, j, r), lp, logp);
                entropy = entropy - vexp(lp) * lp;
            }
        }
        store_col(c->out, DIST_LD, 0, r, c->rows, logp);
        store_col(c->out, DIST_LD, 1, r, c->rows, entropy);
    }
}

/* d logit_j = dlogp (1[a = j] - p_j) - dentropy p_j (log p_j + H_part) */
void SK_K(categorical_grad)(const sk_categorical *c) {
    int cols = 0;
    for (int part = 0; part < c->n_parts; part++) cols += c->part_n[part];
    for (int r = 0; r < c->rows; r += VL) {
        vf  dlogp = load_col(c->d_out, DIST_LD, 0, r, c->rows), dent = load_col(c->d_out, DIST_LD, 1, r, c->rows);
        int first = 0;
        for (int part = 0; part < c->n_parts; first += c->part_n[part++]) {
            vf shift = part_shift(c, first, c->part_n[part], r), entropy = vset(0.0f);
            for (int j = 0; j < c->part_n[part]; j++) {
                vf lp = load_logit(c, first + j, r) - shift;
                entropy = entropy - vexp(lp) * lp;
            }
            for (int j = 0; j < c->part_n[part]; j++) {
                vf lp = load_logit(c, first + j, r) - shift, p = vexp(lp);
                vf d = dlogp * (is_action(c, part, j, r) - p) - dent * p * (lp + entropy);
                if (c->mask)
                    d = vsel_gt(load_col(c->mask, c->mask_ld, first + j, r, c->rows), vset(0.5f), d, vset(0.0f));
                store_col(c->d_logits, c->ld, first + j, r, c->rows, d);
            }
        }
    }
    zero_pad(c->rows, cols, c->ld, c->d_logits);
}

/* Choice j where noise * sum falls into j's share of the cumulative sum; the most probable where noise < 0. */
void SK_K(categorical_sample)(const sk_categorical *c) {
    for (int r = 0; r < c->rows; r += VL) {
        int first = 0;
        for (int part = 0; part < c->n_parts; first += c->part_n[part++]) {
            int n = c->part_n[part];
            vf  top = load_logit(c, first, r), sum = vset(0.0f), mode = vset(0.0f);
            for (int j = 1; j < n; j++) {
                vf l = load_logit(c, first + j, r);
                mode = vsel_gt(l, top, vset((float)j), mode);
                top = vmax(l, top);
            }
            for (int j = 0; j < n; j++) sum = sum + choice_weight(c, first + j, r, top);
            vf noise = load_col(c->noise, c->noise_ld, part, r, c->rows), goal = noise * sum, cum = vset(0.0f);
            vf pick = mode, open = vset(1.0f); /* open: not yet decided; the mode stands in for rounding at the end */
            for (int j = 0; j < n; j++) {
                cum = cum + choice_weight(c, first + j, r, top);
                vf hit = vsel_gt(cum, goal, open, vset(0.0f));
                pick = vsel_gt(hit, vset(0.5f), vset((float)j), pick);
                open = open - hit;
            }
            pick = vsel_gt(vset(0.0f), noise, mode, pick);
            float t[VL];
            vstore(t, pick);
            for (int i = 0; i < VL && r + i < c->rows; i++) c->choice[(r + i) * c->action_ld + part] = (int32_t)t[i];
        }
    }
}

SK_INLINE vf load_log_std(const sk_gaussian *g, int col, int r) {
    return g->log_std_ld ? load_col(g->log_std, g->log_std_ld, col, r, g->rows) : vset(g->log_std[col]);
}

/* log-prob = sum_c -z^2/2 - log_std - log(2 pi)/2, z = (a - mean)/std; entropy = sum_c log_std + log(2 pi e)/2 */
void SK_K(gaussian)(const sk_gaussian *g) {
    memset(g->out, 0, (size_t)g->rows * DIST_LD * sizeof *g->out);
    for (int r = 0; r < g->rows; r += VL) {
        vf logp = vset(0.0f), entropy = vset(0.0f);
        for (int c = 0; c < g->cols; c++) {
            vf s = clamp_log_std(load_log_std(g, c, r));
            vf z = (load_col(g->action, g->action_ld, c, r, g->rows) - load_col(g->mean, g->ld, c, r, g->rows)) *
                   vexp(vset(0.0f) - s);
            logp = logp - vfma(vset(0.5f) * z, z, s + vset(0.918938533f));
            entropy = entropy + (s + vset(1.418938533f));
        }
        store_col(g->out, DIST_LD, 0, r, g->rows, logp);
        store_col(g->out, DIST_LD, 1, r, g->rows, entropy);
    }
}

void SK_K(gaussian_sample)(const sk_gaussian *g) {
    for (int r = 0; r < g->rows; r += VL)
        for (int c = 0; c < g->cols; c++) {
            vf std = vexp(clamp_log_std(load_log_std(g, c, r)));
            vf mean = load_col(g->mean, g->ld, c, r, g->rows), noise = load_col(g->action, g->action_ld, c, r, g->rows);
            store_col(g->sample, g->ld, c, r, g->rows, vfma(std, noise, mean));
        }
    zero_pad(g->rows, g->cols, g->ld, g->sample);
}

/* d mean = dlogp z / std, d log_std = dlogp (z^2 - 1) + dentropy, where log_std is inside its clamp */
void SK_K(gaussian_grad)(const sk_gaussian *g) {
    for (int c = 0; c < g->cols; c++) {
        vf shared = vset(0.0f);
        for (int r = 0; r < g->rows; r += VL) {
            vf live = lane_is_row(r, g->rows);
            vf dlogp = load_col(g->d_out, DIST_LD, 0, r, g->rows) * live;
            vf dent = load_col(g->d_out, DIST_LD, 1, r, g->rows) * live;
            vf raw = load_log_std(g, c, r), s = clamp_log_std(raw), inv_std = vexp(vset(0.0f) - s);
            vf z = (load_col(g->action, g->action_ld, c, r, g->rows) - load_col(g->mean, g->ld, c, r, g->rows)) *
                   inv_std;
            if (g->d_mean) store_col(g->d_mean, g->ld, c, r, g->rows, dlogp * z * inv_std);
            if (!g->d_log_std) continue;
            vf d = vfma(dlogp, z * z - vset(1.0f), dent);
            d = inside_log_std(raw, d);
            if (g->log_std_ld) store_col(g->d_log_std, g->log_std_ld, c, r, g->rows, d);
            else shared = shared + d;
        }
        if (g->d_log_std && !g->log_std_ld) g->d_log_std[c] += vsum(shared);
    }
    if (g->d_mean) zero_pad(g->rows, g->cols, g->ld, g->d_mean);
    if (g->d_log_std && g->log_std_ld) zero_pad(g->rows, g->cols, g->log_std_ld, g->d_log_std);
}

/* What both directions of the PPO loss need of VL rows. */
typedef struct ppo_row {
    vf ratio, log_ratio, adv, surrogate, clipped, weight, entropy;
    vf v_err, v_clip_err, v_change; /* value - target, clipped value - target, value - old value */
} ppo_row;

SK_INLINE vf load_row(const float *x, int r, int rows) {
    return rows - r >= VL ? vload(x + r) : vload_n(x + r, (size_t)(rows - r));
}
/* x, or 0 in rows of weight 0, which may hold anything, NaN too, and must not be seen. */
SK_INLINE vf ppo_seen(const ppo_row *o, vf x) { return vsel_gt(o->weight, vset(0.0f), x, vset(0.0f)); }
SK_INLINE ppo_row ppo_load(const sk_ppo_loss *p, int r) {
    ppo_row o;
    vf      low = vset(1.0f - p->coef[SK_PPO_COEF_CLIP]), high = vset(1.0f + p->coef[SK_PPO_COEF_CLIP]);
    o.weight = load_row(p->weight, r, p->rows) * vset(p->coef[SK_PPO_COEF_INV_WEIGHT]); /* 0 past the end */
    o.log_ratio = ppo_seen(&o, load_col(p->dist, DIST_LD, 0, r, p->rows) - load_row(p->logp_old, r, p->rows));
    o.ratio = vexp(o.log_ratio);
    o.adv = ppo_seen(&o, (load_row(p->advantage, r, p->rows) - vset(p->coef[SK_PPO_COEF_ADV_MEAN])) *
                             vset(p->coef[SK_PPO_COEF_ADV_SCALE]));
    o.surrogate = o.ratio * o.adv;
    o.clipped = vmin(high, vmax(low, o.ratio)) * o.adv;
    vf value = ppo_seen(&o, load_row(p->value, r, p->rows)), old = ppo_seen(&o, load_row(p->value_old, r, p->rows));
    vf target = ppo_seen(&o, load_row(p->value_target, r, p->rows)), range = vset(p->coef[SK_PPO_COEF_VF_CLIP]);
    o.v_err = value - target;
    o.v_change = value - old;
    o.v_clip_err = old + vmin(range, vmax(vset(0.0f) - range, o.v_change)) - target;
    o.entropy = ppo_seen(&o, load_col(p->dist, DIST_LD, 1, r, p->rows));
    return o;
}

/* L = -min(r A, clip(r) A) + c_v max((v - R)^2, (clip(v) - R)^2) - c_e H + c_kl ((r - 1) - log r) */
void SK_K(ppo_loss)(const sk_ppo_loss *p) {
    vf  sum[SK_PPO_N];
    int value_clipping = p->coef[SK_PPO_COEF_VF_CLIP] > 0.0f;
    for (int s = 0; s < SK_PPO_N; s++) sum[s] = vset(0.0f);
    for (int r = 0; r < p->rows; r += VL) {
        ppo_row o = ppo_load(p, r);
        vf      vf_loss = o.v_err * o.v_err, dev = vabs(o.ratio - vset(1.0f));
        if (value_clipping) vf_loss = vmax(vf_loss, o.v_clip_err * o.v_clip_err);
        sum[SK_PPO_POLICY] = sum[SK_PPO_POLICY] - o.weight * vmin(o.surrogate, o.clipped);
        sum[SK_PPO_VF] = vfma(o.weight, vf_loss, sum[SK_PPO_VF]);
        sum[SK_PPO_ENTROPY] = vfma(o.weight, o.entropy, sum[SK_PPO_ENTROPY]);
        sum[SK_PPO_KL] = vfma(o.weight, (o.ratio - vset(1.0f)) - o.log_ratio, sum[SK_PPO_KL]);
        sum[SK_PPO_CLIP_FRACTION] =
            sum[SK_PPO_CLIP_FRACTION] + vsel_gt(dev, vset(p->coef[SK_PPO_COEF_CLIP]), o.weight, vset(0.0f));
        sum[SK_PPO_RATIO_DEV] = vfma(o.weight, dev, sum[SK_PPO_RATIO_DEV]);
        sum[SK_PPO_WEIGHT] = sum[SK_PPO_WEIGHT] + o.weight;
    }
    double value[SK_PPO_N] = {0};
    for (int s = SK_PPO_POLICY; s < SK_PPO_N; s++) value[s] = (double)vsum(sum[s]);
    value[SK_PPO_TOTAL] = value[SK_PPO_POLICY] + (double)p->coef[SK_PPO_COEF_VF] * value[SK_PPO_VF] -
                          (double)p->coef[SK_PPO_COEF_ENTROPY] * value[SK_PPO_ENTROPY] +
                          (double)p->coef[SK_PPO_COEF_KL] * value[SK_PPO_KL];
    for (int s = 0; s < SK_PPO_N; s++) p->stats[s] += value[s];
}

void SK_K(ppo_loss_grad)(const sk_ppo_loss *p) {
    int value_clipping = p->coef[SK_PPO_COEF_VF_CLIP] > 0.0f;
    memset(p->d_dist, 0, (size_t)p->rows * DIST_LD * sizeof *p->d_dist);
    for (int r = 0; r < p->rows; r += VL) {
        ppo_row o = ppo_load(p, r);
        vf      scale = o.weight * vset(p->d_total);
        /* the clipped branch is flat; ties (ratio inside the range) follow the surrogate */
        vf d_ratio = vsel_gt(o.surrogate, o.clipped, vset(0.0f), vset(0.0f) - o.adv);
        vf d_logp = vfma(d_ratio, o.ratio, vset(p->coef[SK_PPO_COEF_KL]) * (o.ratio - vset(1.0f)));
        vf d_value = o.v_err + o.v_err;
        if (value_clipping) {
            vf range = vset(p->coef[SK_PPO_COEF_VF_CLIP]);
            vf flat = vsel_gt(vabs(o.v_change), range, vset(0.0f), o.v_clip_err + o.v_clip_err);
            d_value = vsel_ge(o.v_err * o.v_err, o.v_clip_err * o.v_clip_err, d_value, flat);
        }
        d_value = d_value * vset(p->coef[SK_PPO_COEF_VF]) * scale;
        store_col(p->d_dist, DIST_LD, 0, r, p->rows, d_logp * scale);
        store_col(p->d_dist, DIST_LD, 1, r, p->rows, vset(-p->coef[SK_PPO_COEF_ENTROPY]) * scale);
        if (p->rows - r >= VL) vstore(p->d_value + r, d_value);
        else vstore_n(p->d_value + r, d_value, (size_t)(p->rows - r));
    }
}
