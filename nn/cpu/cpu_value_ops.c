/* Only true columns are written: padding stays zero as the plan has laid it out. */
#include "nn/cpu/cpu_value_ops.h"

#include "nn/cpu/cpu_ops.h"

#include <math.h>
#include <string.h>

/* Row r of a gradient, zeroed unless it is added to: from here on everything is "+=". */
static float *grad_row(const view *x, int r) {
    float *g = x->g + r * x->ld;
    if (!x->adds) memset(g, 0, (size_t)x->cols * sizeof *g);
    return g;
}

/* ---- x with a column: the column's number of a row stands beside every number of x's row ---- */

static const float *spread(const cpu_block *b, const view *column, int r, int cols) {
    for (int c = 0; c < cols; c++) b->w->scratch[c] = column->v[r];
    return b->w->scratch;
}

void sk__forward_column_binary(const cpu_block *b, sk_tensor t) {
    view z = view_of(b, t), x = input_of(b, t, 0), y = input_of(b, t, 1);
    for (int r = 0; r < b->rows; r++)
        b->plan->k->binary(z.n->kind, x.v + r * x.ld, spread(b, &y, r, z.cols), z.v + r * z.ld, (size_t)z.cols);
}

void sk__backward_column_binary(const cpu_block *b, sk_tensor t) {
    view   z = view_of(b, t), x = input_of(b, t, 0), y = input_of(b, t, 1);
    float *dy = y.g ? b->w->scratch + z.ld + SK_PAD : NULL; /* by column of x, before it is summed */
    for (int r = 0; r < b->rows; r++) {
        b->plan->k->binary_grad(z.n->kind, x.v + r * x.ld, spread(b, &y, r, z.cols), z.g + r * z.ld,
                                x.g ? x.g + r * x.ld : NULL, x.adds, dy, 0, (size_t)z.cols);
        if (!dy) continue;
        float sum = y.adds ? y.g[r] : 0.0f;
        for (int c = 0; c < z.cols; c++) sum += dy[c];
        y.g[r] = sum;
    }
}

/* ---- actions ---- */

/* Q[a, k] = V[k] + A[a, k] - mean over a of A[a, k]  (Wang et al. 2016, eq. 9) */
void sk__forward_dueling(const cpu_block *b, sk_tensor t) {
    view   q = view_of(b, t), v = input_of(b, t, 0), a = input_of(b, t, 1);
    int    n = q.n->kind, k = v.cols;
    float *shift = b->w->scratch;
    for (int r = 0; r < b->rows; r++) {
        const float *row = a.v + r * a.ld;
        memset(shift, 0, (size_t)k * sizeof *shift);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < k; j++) shift[j] += row[i * k + j];
        for (int j = 0; j < k; j++) shift[j] = v.v[r * v.ld + j] - shift[j] / (float)n;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < k; j++) q.v[r * q.ld + i * k + j] = row[i * k + j] + shift[j];
    }
}

/* dV[k] += sum over a of dQ[a, k];  dA[a, k] += dQ[a, k] - dV[k] / n */
void sk__backward_dueling(const cpu_block *b, sk_tensor t) {
    view   q = view_of(b, t), v = input_of(b, t, 0), a = input_of(b, t, 1);
    int    n = q.n->kind, k = v.cols;
    float *sum = b->w->scratch;
    for (int r = 0; r < b->rows; r++) {
        const float *dq = q.g + r * q.ld;
        memset(sum, 0, (size_t)k * sizeof *sum);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < k; j++) sum[j] += dq[i * k + j];
        float *dv = v.g ? grad_row(&v, r) : NULL;
        for (int j = 0; dv && j < k; j++) dv[j] += sum[j];
        float *da = a.g ? grad_row(&a, r) : NULL;
        for (int i = 0; da && i < n; i++)
            for (int j = 0; j < k; j++) da[i * k + j] += dq[i * k + j] - sum[j] / (float)n;
    }
}

/* The first best of n, among the allowed ones if there are any; NaN is worse than every number. */
static int first_best(int n, const float *q, const float *mask) {
    int best = -1, best_ok = 0;
    for (int a = 0; a < n; a++) {
        int ok = !mask || mask[a] > 0.5f;
        if (best < 0 || ok > best_ok || (ok == best_ok && (q[a] > q[best] || (isnan(q[best]) && !isnan(q[a]))))) {
            best = a;
            best_ok = ok;
        }
    }
    return best;
}

void sk__forward_argmax(const cpu_block *b, sk_tensor t) {
    view     y = view_of(b, t), q = input_of(b, t, 0);
    view     mask = y.n->n_in == 2 ? input_of(b, t, 1) : (view){0};
    int32_t *choice = (int32_t *)(void *)y.v;
    for (int r = 0; r < b->rows; r++)
        choice[r] = first_best(q.cols, q.v + r * q.ld, mask.v ? mask.v + r * mask.ld : NULL);
}

/* First column of the group that row r takes. */
static int taken_at(const cpu_block *b, sk_tensor t, const view *x, int k, int r) {
    int32_t choice = ((const int32_t *)(const void *)input_of(b, t, 1).v)[r];
    SK_ASSERT(choice >= 0 && choice < x->cols / k);
    return choice * k;
}

void sk__forward_take(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    for (int r = 0; r < b->rows; r++)
        memcpy(y.v + r * y.ld, x.v + r * x.ld + taken_at(b, t, &x, y.cols, r), (size_t)y.cols * sizeof(float));
}

void sk__backward_take(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    for (int r = 0; x.g && r < b->rows; r++) {
        float *dx = grad_row(&x, r) + taken_at(b, t, &x, y.cols, r);
        for (int c = 0; c < y.cols; c++) dx[c] += y.g[r * y.ld + c];
    }
}

void sk__forward_group_mean(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    int  k = x.cols / y.cols;
    for (int r = 0; r < b->rows; r++)
        for (int i = 0; i < y.cols; i++) {
            float sum = 0.0f;
            for (int j = 0; j < k; j++) sum += x.v[r * x.ld + i * k + j];
            y.v[r * y.ld + i] = sum / (float)k;
        }
}

void sk__backward_group_mean(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    int  k = x.cols / y.cols;
    for (int r = 0; x.g && r < b->rows; r++) {
        float *dx = grad_row(&x, r);
        for (int c = 0; c < x.cols; c++) dx[c] += y.g[r * y.ld + c / k] / (float)k;
    }
}

/* ---- C51 (Bellemare et al. 2017): atoms z_i = v_min + i (v_max - v_min) / (K - 1) ---- */

static double atom(const sk_node *n, int k, int i) {
    double low = (double)n->a, high = (double)n->b;
    return low + i * (high - low) / (k - 1);
}

void sk__forward_atom_mean(const cpu_block *b, sk_tensor t) {
    view         y = view_of(b, t), x = input_of(b, t, 0);
    int          k = x.cols / y.cols;
    const float *p = b->w->scratch;
    for (int r = 0; r < b->rows; r++) {
        b->plan->k->softmax(y.cols, k, k, x.v + r * x.ld, b->w->scratch, 0);
        for (int i = 0; i < y.cols; i++) {
            double mean = 0.0;
            for (int j = 0; j < k; j++) mean += (double)p[i * k + j] * atom(y.n, k, j);
            y.v[r * y.ld + i] = (float)mean;
        }
    }
}

/* Algorithm 1. The mass of an atom that lands at place `at` of the support (0 .. K - 1, in atoms) is shared by the atom
 * below, 1 - f of it, and the one above, f: all goes to the one below if it lands right on it. NaN spoils the row, so
 * that it is seen. */
static void project(const view *y, const float *p, double reward, double discount, float *restrict m) {
    int    k = y->cols;
    double first = (double)y->n->a, step = ((double)y->n->b - first) / (k - 1);
    memset(m, 0, (size_t)k * sizeof *m);
    for (int j = 0; j < k; j++) {
        double at = (reward + discount * atom(y->n, k, j) - first) / step;
        at = at < 0.0 ? 0.0 : at > k - 1 ? k - 1 : at;
        int    below = at >= 0.0 ? (int)at : 0;
        double f = at - below;
        m[below] += p[j] * (float)(1.0 - f);
        if (below + 1 < k) m[below + 1] += p[j] * (float)f;
    }
}

void sk__forward_c51_target(const cpu_block *b, sk_tensor t) {
    view   y = view_of(b, t), x = input_of(b, t, 0), reward = input_of(b, t, 1), discount = input_of(b, t, 2);
    float *p = b->w->scratch;
    b->plan->k->softmax(b->rows, x.cols, (int)x.ld, x.v, p, 0);
    for (int r = 0; r < b->rows; r++)
        project(&y, p + r * x.ld, (double)reward.v[r], (double)discount.v[r], y.v + r * y.ld);
}

/* loss = - sum over k of target[k] log softmax(logits)[k] */
void sk__forward_cross_entropy(const cpu_block *b, sk_tensor t) {
    view   y = view_of(b, t), x = input_of(b, t, 0), target = input_of(b, t, 1);
    float *log_p = b->w->scratch;
    b->plan->k->softmax(b->rows, x.cols, (int)x.ld, x.v, log_p, 1);
    for (int r = 0; r < b->rows; r++) {
        float loss = 0.0f;
        for (int c = 0; c < x.cols; c++) loss -= target.v[r * target.ld + c] * log_p[r * x.ld + c];
        y.v[r] = loss;
    }
}

/* dlogits += dloss (softmax(logits) sum of target - target); the sum is 1 if the target is a distribution */
void sk__backward_cross_entropy(const cpu_block *b, sk_tensor t) {
    view   y = view_of(b, t), x = input_of(b, t, 0), target = input_of(b, t, 1);
    float *p = b->w->scratch;
    if (!x.g) return;
    b->plan->k->softmax(b->rows, x.cols, (int)x.ld, x.v, p, 0);
    for (int r = 0; r < b->rows; r++) {
        const float *want = target.v + r * target.ld;
        float       *dx = grad_row(&x, r), sum = 0.0f;
        for (int c = 0; c < x.cols; c++) sum += want[c];
        for (int c = 0; c < x.cols; c++) dx[c] += y.g[r] * (p[r * x.ld + c] * sum - want[c]);
    }
}

/* ---- quantile regression (Dabney et al. 2018) ---- */

static sk_quantile quantile_of(const cpu_block *b, sk_tensor t, int r) {
    view theta = input_of(b, t, 0), target = input_of(b, t, 1);
    return (sk_quantile){.k = theta.cols, .n_targets = target.cols, .kappa = view_of(b, t).n->a,
                         .theta = theta.v + r * theta.ld, .target = target.v + r * target.ld, .out = b->w->scratch};
}

void sk__forward_quantile_huber(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t);
    for (int r = 0; r < b->rows; r++) {
        sk_quantile q = quantile_of(b, t, r);
        float       loss = 0.0f;
        b->plan->k->quantile_huber(&q);
        for (int i = 0; i < q.k; i++) loss += q.out[i];
        y.v[r] = loss;
    }
}

void sk__backward_quantile_huber(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), theta = input_of(b, t, 0);
    for (int r = 0; theta.g && r < b->rows; r++) {
        sk_quantile q = quantile_of(b, t, r);
        float      *d = grad_row(&theta, r);
        b->plan->k->quantile_huber_grad(&q);
        for (int i = 0; i < q.k; i++) d[i] += y.g[r] * q.out[i];
    }
}
