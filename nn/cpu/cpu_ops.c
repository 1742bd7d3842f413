/* cpu_ops: one forward and one backward step per op, on one block of rows. Gradients: `adds` says whether a
 * destination is added to ("+=") or overwritten ("="); parameters add to their slot after its first block. A view's
 * gradient is NULL where none is wanted: data, weights that are only read. */
#include "nn/cpu/cpu_ops.h"
#include "nn/cpu/cpu_policy_ops.h"
#include "nn/cpu/cpu_value_ops.h"

#include <string.h>

static void zero_pad(const cpu_block *b, const view *x) {
    if (x->ld == x->cols) return;
    for (int r = 0; r < b->rows; r++)
        memset(x->v + r * x->ld + x->cols, 0, (size_t)(x->ld - x->cols) * sizeof(float));
}

/* Both as one flat run of floats? Else row by row. */
static int is_flat(const view *x, const view *y) { return x->ld == y->ld; }

static void forward_gather(const cpu_block *b, sk_tensor t) {
    view           y = view_of(b, t), table = input_of(b, t, 0);
    const int32_t *index = (const int32_t *)(const void *)input_of(b, t, 1).v;
    if (y.cols == 1)
        for (int r = 0; r < b->rows; r++) y.v[r] = table.v[index[r]];
    else
        for (int r = 0; r < b->rows; r++)
            memcpy(y.v + r * y.ld, table.v + index[r] * table.ld, (size_t)y.cols * sizeof(float));
}

/* ---- integers as one-hot columns ---- */

/* One nonzero of an encoded row. */
typedef struct nonzero {
    int   col;
    float x;
} nonzero;

/* The nonzeros of row r of ENCODE node t, at most one per raw column, in order of columns. */
static int row_nonzeros(const cpu_block *b, sk_tensor t, int r, nonzero *ret) {
    view                 raw = input_of(b, t, 0);
    const sk_node       *n = sk_graph_node(b->plan->base.graph, t);
    const float         *mean = n->n_in == 3 ? input_of(b, t, 1).v : NULL;
    const float         *inv_std = mean ? input_of(b, t, 2).v : NULL, *row = raw.v + r * raw.ld;
    int                  n_runs, n_nonzero = 0, col = 0, at = 0;
    const sk_encode_run *run = sk_graph_runs(b->plan->base.graph, t, &n_runs);
    for (int i = 0; i < n_runs; i++, run++) {
        for (int c = 0; c < run->cols; c++, at++) {
            if (run->choices == 0) {
                float x = row[at];
                if (mean) {
                    x = (x - mean[at]) * inv_std[at];
                    x = x < -n->a ? -n->a : x > n->a ? n->a : x;
                }
                ret[n_nonzero++] = (nonzero){col++, x};
                continue;
            }
            int32_t number;
            memcpy(&number, &row[at], sizeof number);
            int64_t choice = (int64_t)number - run->low;
            if (choice >= 0 && choice < run->choices) ret[n_nonzero++] = (nonzero){col + (int)choice, 1.0f};
            col += run->choices;
        }
    }
    return n_nonzero;
}

/* Room for the nonzeros of one row, in the block's scratch. */
static nonzero *nonzero_room(const cpu_block *b) { return (nonzero *)(void *)b->w->scratch; }

static void forward_encode(const cpu_block *b, sk_tensor t) {
    view     y = view_of(b, t);
    nonzero *at = nonzero_room(b);
    memset(y.v, 0, (size_t)(b->rows * y.ld) * sizeof(float));
    for (int r = 0; r < b->rows; r++) {
        int n = row_nonzeros(b, t, r, at);
        for (int i = 0; i < n; i++) y.v[r * y.ld + at[i].col] = at[i].x;
    }
}

/* Y = X W + bias */
static void sparse_linear(const cpu_block *b, sk_tensor t, const float *bias) {
    view     y = view_of(b, t), w = input_of(b, t, 1);
    nonzero *at = nonzero_room(b);
    for (int r = 0; r < b->rows; r++) {
        float *restrict to = y.v + r * y.ld;
        int n = row_nonzeros(b, y.n->in[0], r, at);
        if (bias) memcpy(to, bias, (size_t)y.ld * sizeof(float));
        else memset(to, 0, (size_t)y.ld * sizeof(float));
        for (int i = 0; i < n; i++) {
            const float *restrict row = w.v + at[i].col * w.ld;
            float                 x = at[i].x;
            for (int c = 0; c < y.ld; c++) to[c] += x * row[c];
        }
    }
}

/* dW = or += X^T dY */
static void sparse_linear_weight(const cpu_block *b, sk_tensor t) {
    view     y = view_of(b, t), w = input_of(b, t, 1);
    nonzero *at = nonzero_room(b);
    if (!w.adds) memset(w.g, 0, (size_t)(w.n->rows * w.ld) * sizeof(float));
    for (int r = 0; r < b->rows; r++) {
        const float *restrict dy = y.g + r * y.ld;
        int n = row_nonzeros(b, y.n->in[0], r, at);
        for (int i = 0; i < n; i++) {
            float *restrict row = w.g + at[i].col * w.ld;
            float           x = at[i].x;
            for (int c = 0; c < w.ld; c++) row[c] += x * dy[c];
        }
    }
}

static void forward_linear(const cpu_block *b, sk_tensor t) {
    const sk_kernels *k = b->plan->k;
    view              y = view_of(b, t), x = input_of(b, t, 0), w = input_of(b, t, 1);
    const float      *bias = y.n->in[2] == SK_NO_TENSOR ? NULL : input_of(b, t, 2).v;
    if (sk_graph_is_sparse(b->plan->base.graph, y.n->in[0])) sparse_linear(b, t, bias);
    else if (y.cols == 1) k->dot_rows(b->rows, x.cols, x.v, x.ld, w.v, bias ? bias[0] : 0.0f, y.v);
    else
        k->gemm(&(sk_gemm){.m = b->rows, .n = (int)y.ld, .k = x.cols, .a = x.v, .a_row = x.ld, .a_col = 1, .b = w.v,
                           .b_row = w.ld, .c = y.v, .c_row = y.ld, .bias = bias});
    if (y.n->kind == SK_UNARY_IDENTITY) return;
    k->unary(y.n->kind, 0.0f, 0.0f, y.v, y.v, (size_t)(b->rows * y.ld));
    if (y.n->kind == SK_UNARY_SIGMOID) zero_pad(b, &y);
}

/* dW = or += X^T dY */
static void backward_linear_weight(const cpu_block *b, const view *x, const view *w, const view *y) {
    const sk_kernels *k = b->plan->k;
    int               padded = x->ld % SK_PAD == 0;
    if (y->cols == 1 && padded) { /* w is a contiguous column: dw^T = dy^T X */
        k->gemm(&(sk_gemm){.m = 1, .n = (int)x->ld, .k = b->rows, .a = y->g, .a_row = 1, .a_col = 1, .b = x->v,
                           .b_row = x->ld, .c = w->g, .c_row = x->ld, .accumulate = w->adds});
    } else if (y->cols == 1) {
        if (!w->adds) memset(w->g, 0, (size_t)x->cols * sizeof(float));
        for (int r = 0; r < b->rows; r++)
            for (int c = 0; c < x->cols; c++) w->g[c] += y->g[r] * x->v[r * x->ld + c];
    } else {
        k->gemm(&(sk_gemm){.m = x->cols, .n = (int)y->ld, .k = b->rows, .a = x->v, .a_row = 1, .a_col = x->ld,
                           .b = y->g, .b_row = y->ld, .c = w->g, .c_row = w->ld, .accumulate = w->adds});
    }
}

/* dX = or += dY W^T */
static void backward_linear_input(const cpu_block *b, const view *x, const view *w, const view *y) {
    const sk_kernels *k = b->plan->k;
    sk_gemm g = {.m = b->rows, .n = (int)x->ld, .k = y->cols, .a = y->g, .a_row = y->ld, .a_col = 1,
                 .b = b->plan->packed[y->n->in[1]], .b_row = x->ld, .c = x->g, .c_row = x->ld, .accumulate = x->adds};
    if (x->cols == 1) { /* W is one row */
        float *to = x->adds ? b->w->scratch : x->g;
        k->dot_rows(b->rows, y->cols, y->g, y->ld, w->v, 0.0f, to);
        if (x->adds) k->add_to(to, x->g, (size_t)b->rows);
        return;
    }
    if (y->cols == 1) g.b = w->v; /* a contiguous column, which is its own transpose */
    k->gemm(&g);
}

static void backward_linear(const cpu_block *b, sk_tensor t) {
    const sk_kernels *k = b->plan->k;
    view              y = view_of(b, t), x = input_of(b, t, 0), w = input_of(b, t, 1);
    if (y.n->kind != SK_UNARY_IDENTITY) /* in place: nobody else reads this gradient */
        k->unary_grad(y.n->kind, 0.0f, 0.0f, NULL, y.v, y.g, y.g, (size_t)(b->rows * y.ld), 0);
    if (w.g && sk_graph_is_sparse(b->plan->base.graph, y.n->in[0])) sparse_linear_weight(b, t);
    else if (w.g) backward_linear_weight(b, &x, &w, &y);
    if (y.n->in[2] != SK_NO_TENSOR) {
        view bias = input_of(b, t, 2);
        if (bias.g) k->col_sum(b->rows, (int)y.ld, y.g, y.ld, bias.g, bias.adds);
    }
    if (x.g) backward_linear_input(b, &x, &w, &y);
}

static int keeps_zero(const sk_node *n) { /* f(0) == 0 */
    switch ((sk_unary)n->kind) {
    case SK_UNARY_SIGMOID: case SK_UNARY_EXP: case SK_UNARY_LOG: return 0;
    case SK_UNARY_AFFINE: return n->b == 0.0f;
    case SK_UNARY_CLIP: return n->a <= 0.0f && n->b >= 0.0f;
    default: return 1;
    }
}

static void forward_unary(const cpu_block *b, sk_tensor t) {
    const sk_kernels *k = b->plan->k;
    view              y = view_of(b, t), x = input_of(b, t, 0);
    if (is_flat(&x, &y)) k->unary(y.n->kind, y.n->a, y.n->b, x.v, y.v, (size_t)(b->rows * y.ld));
    else
        for (int r = 0; r < b->rows; r++)
            k->unary(y.n->kind, y.n->a, y.n->b, x.v + r * x.ld, y.v + r * y.ld, (size_t)y.cols);
    if (!keeps_zero(y.n)) zero_pad(b, &y);
}

/* Row by row over the true columns, so that padding (where log has no slope) never enters. */
static void backward_unary(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    if (!x.g) return;
    size_t n = y.ld == y.cols ? (size_t)(b->rows * y.ld) : (size_t)y.cols;
    int    rows = y.ld == y.cols ? 1 : b->rows;
    for (int r = 0; r < rows; r++)
        b->plan->k->unary_grad(y.n->kind, y.n->a, y.n->b, x.v + r * x.ld, y.v + r * y.ld, y.g + r * y.ld,
                               x.g + r * x.ld, n, x.adds);
}

static void forward_binary(const cpu_block *b, sk_tensor t) {
    view z = view_of(b, t), x = input_of(b, t, 0), y = input_of(b, t, 1);
    for (int r = 0; r < b->rows; r++)
        b->plan->k->binary(z.n->kind, x.v + r * x.ld, is_shared(&y) ? y.v : y.v + r * y.ld, z.v + r * z.ld,
                           (size_t)z.cols);
}

static void backward_binary(const cpu_block *b, sk_tensor t) {
    view z = view_of(b, t), x = input_of(b, t, 0), y = input_of(b, t, 1);
    if (y.g && is_shared(&y) && !y.adds) memset(y.g, 0, (size_t)y.cols * sizeof(float));
    for (int r = 0; r < b->rows; r++) {
        int    shared = is_shared(&y);
        float *dx = x.g ? x.g + r * x.ld : NULL, *dy = !y.g ? NULL : shared ? y.g : y.g + r * y.ld;
        b->plan->k->binary_grad(z.n->kind, x.v + r * x.ld, shared ? y.v : y.v + r * y.ld, z.g + r * z.ld, dx, x.adds,
                                dy, shared || y.adds, (size_t)z.cols);
    }
}

static void forward_pick(const cpu_block *b, sk_tensor t) {
    view           y = view_of(b, t), x = input_of(b, t, 0);
    const int32_t *index = (const int32_t *)(const void *)input_of(b, t, 1).v;
    for (int r = 0; r < b->rows; r++) y.v[r] = x.v[r * x.ld + index[r]];
}
static void backward_pick(const cpu_block *b, sk_tensor t) {
    view           y = view_of(b, t), x = input_of(b, t, 0);
    const int32_t *index = (const int32_t *)(const void *)input_of(b, t, 1).v;
    if (!x.g) return;
    if (!x.adds) memset(x.g, 0, (size_t)(b->rows * x.ld) * sizeof(float));
    for (int r = 0; r < b->rows; r++) x.g[r * x.ld + index[r]] += y.g[r];
}

static void forward_row_sum(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    for (int r = 0; r < b->rows; r++) {
        float sum = 0.0f;
        for (int c = 0; c < x.cols; c++) sum += x.v[r * x.ld + c];
        y.v[r] = sum;
    }
}
static void backward_row_sum(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    for (int r = 0; x.g && r < b->rows; r++)
        for (int c = 0; c < x.cols; c++) x.g[r * x.ld + c] = (x.adds ? x.g[r * x.ld + c] : 0.0f) + y.g[r];
}

static void forward_sum(const cpu_block *b, sk_tensor t) {
    view    x = input_of(b, t, 0);
    double *sums = b->slot_sums + b->plan->sum_at[t];
    for (int r = 0; r < b->rows; r++)
        for (int c = 0; c < x.cols; c++) sums[c] += (double)x.v[r * x.ld + c];
}
/* Only column 0 of a sum is minimised. */
static void backward_sum(const cpu_block *b, sk_tensor t) {
    view  x = input_of(b, t, 0);
    float d = sk_graph_loss_coef(b->plan->base.graph, t);
    if (sk_graph_node(b->plan->base.graph, t)->kind) d /= (float)b->plan->rows;
    if (!x.adds) memset(x.g, 0, (size_t)(b->rows * x.ld) * sizeof(float));
    for (int r = 0; r < b->rows; r++) x.g[r * x.ld] += d;
}

/* Copy or add `cols` columns of every row. */
static void copy_cols(int rows, int cols, const float *from, ptrdiff_t from_ld, float *to, ptrdiff_t to_ld, int adds) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            to[r * to_ld + c] = adds ? to[r * to_ld + c] + from[r * from_ld + c] : from[r * from_ld + c];
}
static void forward_concat(const cpu_block *b, sk_tensor t) {
    view z = view_of(b, t), x = input_of(b, t, 0), y = input_of(b, t, 1);
    copy_cols(b->rows, x.cols, x.v, x.ld, z.v, z.ld, 0);
    copy_cols(b->rows, y.cols, y.v, y.ld, z.v + x.cols, z.ld, 0);
}
static void backward_concat(const cpu_block *b, sk_tensor t) {
    view z = view_of(b, t), x = input_of(b, t, 0), y = input_of(b, t, 1);
    if (x.g) copy_cols(b->rows, x.cols, z.g, z.ld, x.g, x.ld, x.adds);
    if (y.g) copy_cols(b->rows, y.cols, z.g + x.cols, z.ld, y.g, y.ld, y.adds);
}
static void forward_slice(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    copy_cols(b->rows, y.cols, x.v + y.n->offset, x.ld, y.v, y.ld, 0);
}
static void backward_slice(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    if (!x.g) return;
    if (!x.adds) memset(x.g, 0, (size_t)(b->rows * x.ld) * sizeof(float));
    copy_cols(b->rows, y.cols, y.g, y.ld, x.g + y.n->offset, x.ld, 1);
}

static void forward_layer_norm(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    b->plan->k->layer_norm(b->rows, x.cols, (int)x.ld, x.v, input_of(b, t, 1).v, input_of(b, t, 2).v, y.v);
}
static void backward_layer_norm(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0), gamma = input_of(b, t, 1), beta = input_of(b, t, 2);
    if (gamma.g && !gamma.adds) memset(gamma.g, 0, (size_t)gamma.cols * sizeof(float));
    if (beta.g && !beta.adds) memset(beta.g, 0, (size_t)beta.cols * sizeof(float));
    b->plan->k->layer_norm_grad(b->rows, x.cols, (int)x.ld, x.v, gamma.v, y.g, x.g, x.adds, gamma.g, beta.g);
}

static void forward_normalize(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    b->plan->k->normalize(b->rows, x.cols, x.v, x.ld, input_of(b, t, 1).v, input_of(b, t, 2).v, y.n->a, y.v, y.ld);
}

static sk_categorical categorical_of(const cpu_block *b, sk_tensor t) {
    view           y = view_of(b, t), logits = input_of(b, t, 0);
    sk_categorical c = {.rows = b->rows, .ld = (int)logits.ld, .logits = logits.v, .out = y.v, .d_out = y.g,
                        .action = (const int32_t *)(const void *)input_of(b, t, 1).v};
    c.part_n = sk_graph_parts(b->plan->base.graph, t, &c.n_parts);
    if (y.n->in[2] != SK_NO_TENSOR) {
        view mask = input_of(b, t, 2);
        c.mask = mask.v;
        c.mask_ld = (int)mask.ld;
    }
    /* a gathered action of several columns lies padded in its rows; the kernel wants its own row length */
    c.action_ld = (int)input_of(b, t, 1).ld;
    return c;
}
static void forward_categorical(const cpu_block *b, sk_tensor t) {
    sk_categorical c = categorical_of(b, t);
    b->plan->k->categorical(&c);
}
static void backward_categorical(const cpu_block *b, sk_tensor t) {
    sk_categorical c = categorical_of(b, t);
    view           logits = input_of(b, t, 0);
    if (!logits.g) return;
    c.d_logits = logits.adds ? b->w->scratch : logits.g;
    b->plan->k->categorical_grad(&c);
    if (logits.adds) b->plan->k->add_to(c.d_logits, logits.g, (size_t)(b->rows * logits.ld));
}

static sk_gaussian gaussian_of(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), mean = input_of(b, t, 0), log_std = input_of(b, t, 1), action = input_of(b, t, 2);
    return (sk_gaussian){.rows = b->rows, .cols = mean.cols, .ld = (int)mean.ld,
                         .log_std_ld = is_shared(&log_std) ? 0 : (int)log_std.ld, .mean = mean.v,
                         .log_std = log_std.v, .action = action.v, .action_ld = (int)action.ld, .out = y.v,
                         .d_out = y.g};
}
static void forward_gaussian(const cpu_block *b, sk_tensor t) {
    sk_gaussian g = gaussian_of(b, t);
    b->plan->k->gaussian(&g);
}
static void backward_gaussian(const cpu_block *b, sk_tensor t) {
    view        mean = input_of(b, t, 0), log_std = input_of(b, t, 1);
    sk_gaussian g = gaussian_of(b, t);
    size_t      half = (size_t)(b->rows * mean.ld);
    if (mean.g) g.d_mean = mean.adds ? b->w->scratch : mean.g;
    if (log_std.g && is_shared(&log_std)) {
        g.d_log_std = log_std.g;
        if (!log_std.adds) memset(log_std.g, 0, (size_t)log_std.cols * sizeof(float));
    } else if (log_std.g) {
        g.d_log_std = log_std.adds ? b->w->scratch + half : log_std.g;
    }
    b->plan->k->gaussian_grad(&g);
    if (mean.g && mean.adds) b->plan->k->add_to(b->w->scratch, mean.g, half);
    if (log_std.g && !is_shared(&log_std) && log_std.adds)
        b->plan->k->add_to(b->w->scratch + half, log_std.g, half);
}

static void forward_sample_categorical(const cpu_block *b, sk_tensor t) {
    view           y = view_of(b, t), logits = input_of(b, t, 0), noise = input_of(b, t, 1);
    sk_categorical c = {.rows = b->rows, .ld = (int)logits.ld, .logits = logits.v, .noise = noise.v,
                        .noise_ld = (int)noise.ld, .choice = (int32_t *)(void *)y.v, .action_ld = (int)y.ld};
    c.part_n = sk_graph_parts(b->plan->base.graph, t, &c.n_parts);
    if (y.n->in[2] != SK_NO_TENSOR) {
        view mask = input_of(b, t, 2);
        c.mask = mask.v;
        c.mask_ld = (int)mask.ld;
    }
    b->plan->k->categorical_sample(&c);
}
static void forward_sample_gaussian(const cpu_block *b, sk_tensor t) {
    sk_gaussian g = gaussian_of(b, t);
    g.sample = view_of(b, t).v;
    b->plan->k->gaussian_sample(&g);
}

static sk_ppo_loss ppo_loss_of(const cpu_block *b, sk_tensor t) {
    return (sk_ppo_loss){.rows = b->rows, .dist = input_of(b, t, 0).v, .value = input_of(b, t, 1).v,
                         .logp_old = input_of(b, t, 2).v, .value_old = input_of(b, t, 3).v,
                         .advantage = input_of(b, t, 4).v, .value_target = input_of(b, t, 5).v,
                         .weight = input_of(b, t, 6).v, .coef = input_of(b, t, 7).v,
                         .stats = b->slot_sums + b->plan->sum_at[t]};
}
static void forward_ppo_loss(const cpu_block *b, sk_tensor t) {
    sk_ppo_loss p = ppo_loss_of(b, t);
    b->plan->k->ppo_loss(&p);
}
/* dist and value feed nothing else in a PPO graph, so their gradients are written, not added. */
static void backward_ppo_loss(const cpu_block *b, sk_tensor t) {
    sk_ppo_loss p = ppo_loss_of(b, t);
    view        dist = input_of(b, t, 0), value = input_of(b, t, 1);
    float      *spare = b->w->scratch;
    p.d_total = sk_graph_loss_coef(b->plan->base.graph, t);
    p.d_dist = dist.g && !dist.adds ? dist.g : spare;
    p.d_value = value.g && !value.adds ? value.g : spare + (ptrdiff_t)b->rows * SK_PAD;
    b->plan->k->ppo_loss_grad(&p);
    if (dist.g && dist.adds) b->plan->k->add_to(p.d_dist, dist.g, (size_t)(b->rows * dist.ld));
    if (value.g && value.adds) b->plan->k->add_to(p.d_value, value.g, (size_t)b->rows);
}

static void forward_stop(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    copy_cols(b->rows, y.cols, x.v, x.ld, y.v, y.ld, 0);
}
static void forward_softmax(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    SK_ASSERT(x.ld == y.ld);
    b->plan->k->softmax(b->rows, x.cols, (int)x.ld, x.v, y.v, y.n->op == SK_OP_LOG_SOFTMAX);
}
static void backward_softmax(const cpu_block *b, sk_tensor t) {
    view y = view_of(b, t), x = input_of(b, t, 0);
    if (x.g)
        b->plan->k->softmax_grad(b->rows, x.cols, (int)x.ld, y.v, y.g, x.g, y.n->op == SK_OP_LOG_SOFTMAX, x.adds);
}

typedef void (*op_fn)(const cpu_block *b, sk_tensor t);
static const struct {
    op_fn forward, backward;
} ops[SK_OP_COUNT] = {
    [SK_OP_GATHER] = {forward_gather, NULL},
    [SK_OP_LINEAR] = {forward_linear, backward_linear},
    [SK_OP_UNARY] = {forward_unary, backward_unary},
    [SK_OP_BINARY] = {forward_binary, backward_binary},
    [SK_OP_SOFTMAX] = {forward_softmax, backward_softmax},
    [SK_OP_LOG_SOFTMAX] = {forward_softmax, backward_softmax},
    [SK_OP_PICK] = {forward_pick, backward_pick},
    [SK_OP_ROW_SUM] = {forward_row_sum, backward_row_sum},
    [SK_OP_SUM] = {forward_sum, backward_sum},
    [SK_OP_CONCAT] = {forward_concat, backward_concat},
    [SK_OP_SLICE] = {forward_slice, backward_slice},
    [SK_OP_LAYER_NORM] = {forward_layer_norm, backward_layer_norm},
    [SK_OP_STOP_GRADIENT] = {forward_stop, NULL},
    [SK_OP_NORMALIZE] = {forward_normalize, NULL},
    [SK_OP_CATEGORICAL] = {forward_categorical, backward_categorical},
    [SK_OP_GAUSSIAN] = {forward_gaussian, backward_gaussian},
    [SK_OP_SAMPLE_CATEGORICAL] = {forward_sample_categorical, NULL},
    [SK_OP_SAMPLE_GAUSSIAN] = {forward_sample_gaussian, NULL},
    [SK_OP_PPO_LOSS] = {forward_ppo_loss, backward_ppo_loss},
    [SK_OP_ENCODE] = {forward_encode, NULL},
    [SK_OP_SQUASHED_GAUSSIAN] = {sk__forward_squashed_gaussian, sk__backward_squashed_gaussian},
    [SK_OP_SDE_LOG_STD] = {sk__forward_sde_log_std, sk__backward_sde_log_std},
    [SK_OP_SDE_SAMPLE] = {sk__forward_sde_sample, NULL},
    [SK_OP_COLUMN_BINARY] = {sk__forward_column_binary, sk__backward_column_binary},
    [SK_OP_DUELING] = {sk__forward_dueling, sk__backward_dueling},
    [SK_OP_ARGMAX] = {sk__forward_argmax, NULL},
    [SK_OP_TAKE] = {sk__forward_take, sk__backward_take},
    [SK_OP_GROUP_MEAN] = {sk__forward_group_mean, sk__backward_group_mean},
    [SK_OP_ATOM_MEAN] = {sk__forward_atom_mean, NULL},
    [SK_OP_C51_TARGET] = {sk__forward_c51_target, NULL},
    [SK_OP_CROSS_ENTROPY] = {sk__forward_cross_entropy, sk__backward_cross_entropy},
    [SK_OP_QUANTILE_HUBER] = {sk__forward_quantile_huber, sk__backward_quantile_huber},
};

void sk__cpu_forward(const cpu_block *b) {
    for (int i = 0; i < b->plan->n_steps; i++) {
        sk_tensor t = b->plan->steps[i];
        ops[sk_graph_node(b->plan->base.graph, t)->op].forward(b, t);
    }
}

void sk__cpu_backward(const cpu_block *b) {
    for (sk_tensor t = b->plan->n_nodes - 1; t >= 0; t--) {
        op_fn fn = ops[sk_graph_node(b->plan->base.graph, t)->op].backward;
        if (fn && b->plan->live[t]) fn(b, t);
    }
}
