#include "nn/graph_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int round_up_pad(int n) { return (n + SK_PAD - 1) / SK_PAD * SK_PAD; }

sk_status sk_graph_create(sk_graph **ret_graph, sk_error *reterr) {
    sk_graph *g = calloc(1, sizeof *g);
    if (!g) return SK_FAIL(reterr, SK_ENOMEM, "graph: no memory");
    *ret_graph = g;
    return SK_OK;
}

void sk_graph_destroy(sk_graph **self_p) {
    if (!self_p || !*self_p) return;
    free(*self_p);
    *self_p = NULL;
}

sk_tensor sk__refuse(sk_graph *g, const char *fmt, ...) {
    if (g->first_error.status != SK_OK) return -1;
    char    text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sk_error_set(&g->first_error, SK_EINVAL, __FILE__, __LINE__, "graph: %s", text);
    return -1;
}

int sk__usable(sk_graph *g, const sk_tensor *in, int n) {
    SK_ASSERT(!g->finished);
    for (int i = 0; i < n; i++) {
        if (in[i] < 0 || in[i] >= g->n_nodes) {
            if (g->first_error.status == SK_OK) sk__refuse(g, "tensor %d does not exist", (int)in[i]);
            return 0;
        }
    }
    return 1;
}

sk_tensor sk__add_node(sk_graph *g, sk_op op, sk_scope scope, int rows, int cols, const sk_tensor *in, int n_in) {
    if (g->n_nodes == SK_GRAPH_MAX_NODES) return sk__refuse(g, "more than %d tensors", SK_GRAPH_MAX_NODES);
    if (cols <= 0 || cols > 1 << 20) return sk__refuse(g, "a tensor needs 1 to 2^20 columns, got %d", cols);
    sk_node *n = &g->nodes[g->n_nodes];
    *n = (sk_node){.op = op, .scope = scope, .rows = rows, .cols = cols, .n_in = n_in};
    n->ld = cols == 1 ? 1 : round_up_pad(cols);
    for (int i = 0; i < n_in; i++) {
        n->in[i] = in[i];
        if (in[i] >= 0 && g->nodes[in[i]].needs_grad) n->needs_grad = 1;
    }
    return g->n_nodes++;
}

static sk_tensor add_leaf(sk_graph *g, sk_op op, sk_scope scope, const char *name, int rows, int cols) {
    SK_ASSERT(!g->finished);
    sk_tensor t = sk__add_node(g, op, scope, rows, cols, NULL, 0);
    if (t < 0) return t;
    sk_node *n = &g->nodes[t];
    snprintf(n->name, sizeof n->name, "%s", name);
    if (op == SK_OP_INPUT || op == SK_OP_TABLE) n->ld = cols;
    return t;
}

sk_tensor sk_graph_input(sk_graph *g, const char *name, int cols) {
    return add_leaf(g, SK_OP_INPUT, SK_SCOPE_ROWS, name, 0, cols);
}
sk_tensor sk_graph_table(sk_graph *g, const char *name, int cols) {
    return add_leaf(g, SK_OP_TABLE, SK_SCOPE_TABLE, name, 0, cols);
}
sk_tensor sk_graph_const(sk_graph *g, const char *name, int cols) {
    return add_leaf(g, SK_OP_CONST, SK_SCOPE_CONST, name, 1, cols);
}

void sk_graph_use_group(sk_graph *g, int group) {
    SK_ASSERT(!g->finished);
    if (group < 0 || group >= SK_GRAPH_GROUPS) sk__refuse(g, "groups are 0 to %d, got %d", SK_GRAPH_GROUPS - 1, group);
    else g->group = group;
}

static sk_tensor find_param(const sk_graph *g, int group, const char *name) {
    for (sk_tensor t = 0; t < g->n_nodes; t++)
        if (g->nodes[t].op == SK_OP_PARAM && g->nodes[t].group == group && strcmp(g->nodes[t].name, name) == 0)
            return t;
    return -1;
}

sk_tensor sk_graph_param(sk_graph *g, const char *name, int rows, int cols) {
    if (strlen(name) >= sizeof g->nodes[0].name) return sk__refuse(g, "the name \"%s\" is too long", name);
    if (rows <= 0) return sk__refuse(g, "parameter \"%s\" needs at least one row, got %d", name, rows);
    sk_tensor t = find_param(g, g->group, name);
    if (t >= 0) {
        const sk_node *same = &g->nodes[t];
        if (same->rows == rows && same->cols == cols) return t;
        return sk__refuse(g, "two parameters are called \"%s\": (%d x %d) and (%d x %d)", name, same->rows, same->cols,
                      rows, cols);
    }
    t = add_leaf(g, SK_OP_PARAM, SK_SCOPE_PARAM, name, rows, cols);
    if (t < 0) return t;
    sk_node *n = &g->nodes[t];
    size_t  *used = &g->group_floats[g->group], floats = (size_t)rows * (size_t)n->ld;
    n->group = g->group;
    n->needs_grad = g->group == 0;
    n->offset = (int)*used;
    *used += (floats + SK_PAD - 1) / SK_PAD * SK_PAD;
    if (*used > (size_t)1 << 30) return sk__refuse(g, "more than 2^30 parameters at \"%s\"", name);
    return t;
}

sk_tensor sk_graph_gather(sk_graph *g, sk_tensor table, sk_tensor index) {
    if (!sk__usable(g, (sk_tensor[]){table, index}, 2)) return -1;
    const sk_node *t = sk__node_of(g, table), *i = sk__node_of(g, index);
    if (t->op != SK_OP_TABLE || i->op != SK_OP_INPUT || i->cols != 1)
        return sk__refuse(g, "gather wants a table and an input column of row numbers");
    return sk__add_node(g, SK_OP_GATHER, SK_SCOPE_ROWS, 0, t->cols, (sk_tensor[]){table, index}, 2);
}

/* Activations whose slope can be had from the result alone are fused into the layer. */
static int fusable(sk_unary act) {
    return act == SK_UNARY_IDENTITY || act == SK_UNARY_TANH || act == SK_UNARY_RELU || act == SK_UNARY_ELU ||
           act == SK_UNARY_SIGMOID;
}

sk_tensor sk_graph_linear(sk_graph *g, sk_tensor x, sk_tensor w, sk_tensor b, sk_unary act) {
    if (!sk__usable(g, (sk_tensor[]){x, w, b}, b == SK_NO_TENSOR ? 2 : 3)) return -1;
    const sk_node *xn = sk__node_of(g, x), *wn = sk__node_of(g, w);
    if (xn->scope != SK_SCOPE_ROWS || wn->op != SK_OP_PARAM || wn->rows != xn->cols)
        return sk__refuse(g, "linear: (B x %d) times \"%s\" (%d x %d) does not fit", xn->cols, wn->name, wn->rows,
                      wn->cols);
    if (b != SK_NO_TENSOR && (sk__node_of(g, b)->op != SK_OP_PARAM || sk__node_of(g, b)->rows != 1 ||
                              sk__node_of(g, b)->cols != wn->cols))
        return sk__refuse(g, "linear: the bias of \"%s\" must be a parameter (1 x %d)", wn->name, wn->cols);
    sk_tensor t = sk__add_node(g, SK_OP_LINEAR, SK_SCOPE_ROWS, 0, wn->cols, (sk_tensor[]){x, w, b}, 3);
    if (t < 0) return t;
    g->nodes[t].kind = (int)(fusable(act) ? act : SK_UNARY_IDENTITY);
    return fusable(act) ? t : sk_graph_unary(g, act, t);
}

static sk_tensor add_unary(sk_graph *g, sk_unary kind, sk_tensor x, float a, float b) {
    if (!sk__usable(g, &x, 1)) return -1;
    const sk_node *xn = sk__node_of(g, x);
    if (xn->scope != SK_SCOPE_ROWS) return sk__refuse(g, "unary ops work on rows of the batch");
    sk_tensor t = sk__add_node(g, SK_OP_UNARY, SK_SCOPE_ROWS, 0, xn->cols, &x, 1);
    if (t < 0) return t;
    g->nodes[t].kind = (int)kind;
    g->nodes[t].a = a;
    g->nodes[t].b = b;
    return t;
}

sk_tensor sk_graph_unary(sk_graph *g, sk_unary kind, sk_tensor x) {
    SK_ASSERT(kind != SK_UNARY_AFFINE && kind != SK_UNARY_CLIP && kind != SK_UNARY_HUBER);
    return add_unary(g, kind, x, 0.0f, 0.0f);
}
sk_tensor sk_graph_affine(sk_graph *g, sk_tensor x, float a, float b) { return add_unary(g, SK_UNARY_AFFINE, x, a, b); }
sk_tensor sk_graph_clip(sk_graph *g, sk_tensor x, float low, float high) {
    return add_unary(g, SK_UNARY_CLIP, x, low, high);
}
sk_tensor sk_graph_huber(sk_graph *g, sk_tensor x, float delta) {
    if (!(delta > 0.0f)) return sk__refuse(g, "huber: delta must be > 0, got %g", (double)delta);
    return add_unary(g, SK_UNARY_HUBER, x, delta, 0.0f);
}

sk_tensor sk_graph_binary(sk_graph *g, sk_binary kind, sk_tensor x, sk_tensor y) {
    if (!sk__usable(g, (sk_tensor[]){x, y}, 2)) return -1;
    const sk_node *xn = sk__node_of(g, x), *yn = sk__node_of(g, y);
    int shared = (yn->scope == SK_SCOPE_PARAM || yn->scope == SK_SCOPE_CONST) && yn->rows == 1;
    int column = yn->scope == SK_SCOPE_ROWS && yn->cols == 1 && xn->cols > 1;
    if (xn->scope != SK_SCOPE_ROWS || (xn->cols != yn->cols && !column) || (yn->scope != SK_SCOPE_ROWS && !shared))
        return sk__refuse(g, "binary: (B x %d) with (%s x %d) does not fit", xn->cols, shared ? "1" : "B", yn->cols);
    sk_op     op = column ? SK_OP_COLUMN_BINARY : SK_OP_BINARY;
    sk_tensor t = sk__add_node(g, op, SK_SCOPE_ROWS, 0, xn->cols, (sk_tensor[]){x, y}, 2);
    if (t >= 0) g->nodes[t].kind = (int)kind;
    return t;
}

sk_tensor sk__padded(sk_graph *g, sk_tensor x) {
    if (!sk__usable(g, &x, 1)) return -1;
    const sk_node *n = sk__node_of(g, x);
    return n->op == SK_OP_INPUT && n->cols > 1 && n->cols % SK_PAD ? sk_graph_unary(g, SK_UNARY_IDENTITY, x) : x;
}

static sk_tensor add_same_shape(sk_graph *g, sk_op op, sk_tensor x) {
    x = sk__padded(g, x);
    if (!sk__usable(g, &x, 1)) return -1;
    const sk_node *xn = sk__node_of(g, x);
    if (xn->scope != SK_SCOPE_ROWS) return sk__refuse(g, "this op works on rows of the batch");
    return sk__add_node(g, op, SK_SCOPE_ROWS, 0, xn->cols, &x, 1);
}

sk_tensor sk_graph_softmax(sk_graph *g, sk_tensor x) { return add_same_shape(g, SK_OP_SOFTMAX, x); }
sk_tensor sk_graph_log_softmax(sk_graph *g, sk_tensor x) { return add_same_shape(g, SK_OP_LOG_SOFTMAX, x); }
sk_tensor sk_graph_stop_gradient(sk_graph *g, sk_tensor x) {
    sk_tensor t = add_same_shape(g, SK_OP_STOP_GRADIENT, x);
    if (t >= 0) g->nodes[t].needs_grad = 0;
    return t;
}

sk_tensor sk_graph_pick(sk_graph *g, sk_tensor x, sk_tensor index) {
    if (!sk__usable(g, (sk_tensor[]){x, index}, 2)) return -1;
    const sk_node *i = sk__node_of(g, index);
    if (sk__node_of(g, x)->scope != SK_SCOPE_ROWS || i->cols != 1 || !sk__is_row_data(i))
        return sk__refuse(g, "pick wants rows and a column of column numbers");
    return sk__add_node(g, SK_OP_PICK, SK_SCOPE_ROWS, 0, 1, (sk_tensor[]){x, index}, 2);
}

sk_tensor sk_graph_row_sum(sk_graph *g, sk_tensor x) {
    if (!sk__usable(g, &x, 1)) return -1;
    if (sk__node_of(g, x)->scope != SK_SCOPE_ROWS) return sk__refuse(g, "row_sum works on rows of the batch");
    return sk__add_node(g, SK_OP_ROW_SUM, SK_SCOPE_ROWS, 0, 1, &x, 1);
}

static sk_tensor add_sum(sk_graph *g, sk_tensor x, int mean) {
    if (!sk__usable(g, &x, 1)) return -1;
    if (sk__node_of(g, x)->scope != SK_SCOPE_ROWS) return sk__refuse(g, "sum works on rows of the batch");
    sk_tensor t = sk__add_node(g, SK_OP_SUM, SK_SCOPE_SUM, 1, sk__node_of(g, x)->cols, &x, 1);
    if (t >= 0) g->nodes[t].kind = mean;
    return t;
}
sk_tensor sk_graph_sum(sk_graph *g, sk_tensor x) { return add_sum(g, x, 0); }
sk_tensor sk_graph_mean(sk_graph *g, sk_tensor x) { return add_sum(g, x, 1); }

sk_tensor sk_graph_concat(sk_graph *g, sk_tensor x, sk_tensor y) {
    if (!sk__usable(g, (sk_tensor[]){x, y}, 2)) return -1;
    const sk_node *xn = sk__node_of(g, x), *yn = sk__node_of(g, y);
    if (xn->scope != SK_SCOPE_ROWS || yn->scope != SK_SCOPE_ROWS)
        return sk__refuse(g, "concat works on rows of the batch");
    return sk__add_node(g, SK_OP_CONCAT, SK_SCOPE_ROWS, 0, xn->cols + yn->cols, (sk_tensor[]){x, y}, 2);
}

sk_tensor sk_graph_slice(sk_graph *g, sk_tensor x, int first_col, int cols) {
    if (!sk__usable(g, &x, 1)) return -1;
    const sk_node *xn = sk__node_of(g, x);
    if (xn->scope != SK_SCOPE_ROWS || first_col < 0 || cols <= 0 || first_col > xn->cols - cols)
        return sk__refuse(g, "slice: columns %d to %d of %d", first_col, first_col + cols, xn->cols);
    sk_tensor t = sk__add_node(g, SK_OP_SLICE, SK_SCOPE_ROWS, 0, cols, &x, 1);
    if (t >= 0) g->nodes[t].offset = first_col;
    return t;
}

static int is_row_param(const sk_node *n, int cols) { return n->op == SK_OP_PARAM && n->rows == 1 && n->cols == cols; }

sk_tensor sk_graph_layer_norm(sk_graph *g, sk_tensor x, sk_tensor gamma, sk_tensor beta) {
    x = sk__padded(g, x);
    if (!sk__usable(g, (sk_tensor[]){x, gamma, beta}, 3)) return -1;
    int cols = sk__node_of(g, x)->cols;
    if (sk__node_of(g, x)->scope != SK_SCOPE_ROWS || !is_row_param(sk__node_of(g, gamma), cols) ||
        !is_row_param(sk__node_of(g, beta), cols))
        return sk__refuse(g, "layer_norm wants (B x %d) and two parameters (1 x %d)", cols, cols);
    return sk__add_node(g, SK_OP_LAYER_NORM, SK_SCOPE_ROWS, 0, cols, (sk_tensor[]){x, gamma, beta}, 3);
}

sk_tensor sk_graph_normalize(sk_graph *g, sk_tensor x, sk_tensor mean, sk_tensor inv_std, float limit) {
    if (!sk__usable(g, (sk_tensor[]){x, mean, inv_std}, 3)) return -1;
    const sk_node *xn = sk__node_of(g, x), *m = sk__node_of(g, mean), *s = sk__node_of(g, inv_std);
    if (xn->scope != SK_SCOPE_ROWS || m->op != SK_OP_CONST || s->op != SK_OP_CONST || m->cols != xn->cols ||
        s->cols != xn->cols)
        return sk__refuse(g, "normalize wants (B x %d) and two constants of as many columns", xn->cols);
    sk_tensor t = sk__add_node(g, SK_OP_NORMALIZE, SK_SCOPE_ROWS, 0, xn->cols, (sk_tensor[]){x, mean, inv_std}, 3);
    if (t < 0) return t;
    g->nodes[t].a = limit;
    g->nodes[t].needs_grad = 0;
    return t;
}

/* Columns of raw rows, and of what they are encoded as; -1 if a run makes no sense. */
static int64_t run_widths(const sk_encode_run *runs, int n_runs, int64_t *ret_raw) {
    int64_t raw = 0, encoded = 0;
    for (int i = 0; i < n_runs; i++) {
        if (runs[i].cols <= 0 || runs[i].choices < 0) return -1;
        raw += runs[i].cols;
        encoded += (int64_t)runs[i].cols * (runs[i].choices > 0 ? runs[i].choices : 1);
    }
    *ret_raw = raw;
    return encoded;
}

sk_tensor sk_graph_encode(sk_graph *g, sk_tensor x, const sk_encode_run *runs, int n_runs, sk_tensor mean,
                          sk_tensor inv_std, float limit) {
    int normal = mean != SK_NO_TENSOR;
    if (!sk__usable(g, (sk_tensor[]){x, mean, inv_std}, normal ? 3 : 1)) return -1;
    int64_t raw = 0, encoded = run_widths(runs, n_runs, &raw);
    if (encoded < 0 || encoded > 1 << 20 || !sk__is_row_data(sk__node_of(g, x)) || raw != sk__node_of(g, x)->cols)
        return sk__refuse(g, "encode: %d runs of %lld columns, %lld encoded, do not fit rows (B x %d)", n_runs,
                      (long long)raw, (long long)encoded, sk__node_of(g, x)->cols);
    for (int i = 1; normal && i < 3; i++) {
        const sk_node *c = sk__node_of(g, i == 1 ? mean : inv_std);
        if (c->op != SK_OP_CONST || c->cols != (int)raw)
            return sk__refuse(g, "encode wants two constants of %lld columns", (long long)raw);
    }
    if (g->n_runs_used + n_runs > RUNS_MAX) return sk__refuse(g, "more than %d runs of columns", RUNS_MAX);
    sk_tensor t = sk__add_node(g, SK_OP_ENCODE, SK_SCOPE_ROWS, 0, (int)encoded, (sk_tensor[]){x, mean, inv_std},
                           normal ? 3 : 1);
    if (t < 0) return t;
    memcpy(g->runs + g->n_runs_used, runs, (size_t)n_runs * sizeof *runs);
    g->nodes[t].offset = g->n_runs_used;
    g->nodes[t].kind = n_runs;
    g->nodes[t].a = limit;
    g->n_runs_used += n_runs;
    return t;
}

/* Both CATEGORICAL (other = actions) and SAMPLE_CATEGORICAL (other = noise). */
static sk_tensor add_categorical(sk_graph *g, sk_op op, int cols_out, const sk_tensor in[3], const int *part_n,
                                 int n_parts) {
    if (!sk__usable(g, in, in[2] == SK_NO_TENSOR ? 2 : 3)) return -1;
    const sk_node *l = sk__node_of(g, in[0]), *other = sk__node_of(g, in[1]);
    int            cols = 0;
    for (int i = 0; i < n_parts; i++) {
        if (part_n[i] <= 0) return sk__refuse(g, "categorical: part %d has %d choices", i, part_n[i]);
        cols += part_n[i];
    }
    if (l->scope != SK_SCOPE_ROWS || cols != l->cols || other->cols != n_parts || !sk__is_row_data(other))
        return sk__refuse(g, "categorical: %d choices in %d parts do not fit logits (B x %d), actions (B x %d)", cols,
                      n_parts, l->cols, other->cols);
    if (in[2] != SK_NO_TENSOR && (sk__node_of(g, in[2])->cols != cols || !sk__is_row_data(sk__node_of(g, in[2]))))
        return sk__refuse(g, "categorical: a mask of %d columns for %d choices", sk__node_of(g, in[2])->cols, cols);
    if (g->n_parts_used + n_parts > PARTS_MAX) return sk__refuse(g, "more than %d discrete actions", PARTS_MAX);
    sk_tensor t = sk__add_node(g, op, SK_SCOPE_ROWS, 0, cols_out, in, 3);
    if (t < 0) return t;
    memcpy(g->parts + g->n_parts_used, part_n, (size_t)n_parts * sizeof *part_n);
    g->nodes[t].offset = g->n_parts_used;
    g->nodes[t].kind = n_parts;
    g->n_parts_used += n_parts;
    return t;
}

sk_tensor sk_graph_categorical(sk_graph *g, sk_tensor logits, sk_tensor action, sk_tensor mask, const int *part_n,
                               int n_parts) {
    return add_categorical(g, SK_OP_CATEGORICAL, 2, (sk_tensor[]){logits, action, mask}, part_n, n_parts);
}

sk_tensor sk_graph_sample_categorical(sk_graph *g, sk_tensor logits, sk_tensor noise, sk_tensor mask, const int *part_n,
                                      int n_parts) {
    sk_tensor t = add_categorical(g, SK_OP_SAMPLE_CATEGORICAL, n_parts, (sk_tensor[]){logits, noise, mask}, part_n,
                                  n_parts);
    if (t >= 0) g->nodes[t].needs_grad = 0;
    return t;
}

/* Both GAUSSIAN (other = actions) and SAMPLE_GAUSSIAN (other = noise). */
static sk_tensor add_gaussian(sk_graph *g, sk_op op, sk_tensor mean, sk_tensor log_std, sk_tensor action) {
    sk_tensor in[3] = {sk__padded(g, mean), log_std, action};
    if (!sk__usable(g, in, 3)) return -1;
    const sk_node *m = sk__node_of(g, in[0]), *s = sk__node_of(g, in[1]), *other = sk__node_of(g, in[2]);
    int s_ok = s->cols == m->cols && (s->scope == SK_SCOPE_ROWS || is_row_param(s, m->cols));
    if (m->scope != SK_SCOPE_ROWS || !s_ok || other->cols != m->cols || !sk__is_row_data(other))
        return sk__refuse(g, "gaussian: mean (B x %d), log_std of %d and action of %d columns do not fit", m->cols,
                      s->cols, other->cols);
    return sk__add_node(g, op, SK_SCOPE_ROWS, 0, op == SK_OP_GAUSSIAN ? 2 : m->cols, in, 3);
}

sk_tensor sk_graph_gaussian(sk_graph *g, sk_tensor mean, sk_tensor log_std, sk_tensor action) {
    return add_gaussian(g, SK_OP_GAUSSIAN, mean, log_std, action);
}

sk_tensor sk_graph_sample_gaussian(sk_graph *g, sk_tensor mean, sk_tensor log_std, sk_tensor noise) {
    sk_tensor t = add_gaussian(g, SK_OP_SAMPLE_GAUSSIAN, mean, log_std, noise);
    if (t >= 0) g->nodes[t].needs_grad = 0;
    return t;
}

sk_tensor sk_graph_ppo_loss(sk_graph *g, const sk_ppo_loss_in *in) {
    sk_tensor all[] = {sk__padded(g, in->dist), in->value,        in->logp_old, in->value_old,
                       in->advantage,       in->value_target, in->weight,   in->coef};
    if (!sk__usable(g, all, SK_COUNT(all))) return -1;
    const sk_node *dist = sk__node_of(g, all[0]), *coef = sk__node_of(g, in->coef);
    if (dist->cols != 2 || dist->scope != SK_SCOPE_ROWS || coef->op != SK_OP_CONST || coef->cols != SK_PPO_COEF_N)
        return sk__refuse(g, "ppo_loss wants dist (B x 2) and coefficients (1 x %d)", SK_PPO_COEF_N);
    for (int i = 1; i < 7; i++)
        if (sk__node_of(g, all[i])->cols != 1 || sk__node_of(g, all[i])->scope != SK_SCOPE_ROWS)
            return sk__refuse(g, "ppo_loss: input %d must be (B x 1), has %d columns", i, sk__node_of(g, all[i])->cols);
    for (int i = 2; i < 7; i++)
        if (!sk__is_row_data(sk__node_of(g, all[i])))
            return sk__refuse(g, "ppo_loss: a gradient would flow to input %d, which is data: use stop_gradient", i);
    return sk__add_node(g, SK_OP_PPO_LOSS, SK_SCOPE_SUM, 1, SK_PPO_N, all, SK_COUNT(all));
}

void sk_graph_output(sk_graph *g, sk_tensor x) {
    if (!sk__usable(g, &x, 1)) return;
    const sk_node *n = sk__node_of(g, x);
    if (n->scope != SK_SCOPE_ROWS || n->op == SK_OP_INPUT) sk__refuse(g, "only computed rows can be an output");
    else g->nodes[x].is_output = 1;
}

void sk_graph_minimize(sk_graph *g, sk_tensor sum, float coef) {
    if (!sk__usable(g, &sum, 1)) return;
    if (sk__node_of(g, sum)->scope != SK_SCOPE_SUM) sk__refuse(g, "only a sum over the batch can be minimised");
    else g->loss_coef[sum] += coef;
}

sk_status sk_graph_finish(sk_graph *g, sk_error *reterr) {
    if (g->first_error.status != SK_OK) {
        if (reterr) *reterr = g->first_error;
        return g->first_error.status;
    }
    if (g->n_nodes == 0) return SK_FAIL(reterr, SK_EINVAL, "graph: nothing in it");
    g->finished = 1;
    return SK_OK;
}

int            sk_graph_n_nodes(const sk_graph *g) { return g->n_nodes; }
const sk_node *sk_graph_node(const sk_graph *g, sk_tensor t) { return sk__node_of(g, t); }
const int     *sk_graph_parts(const sk_graph *g, sk_tensor t, int *ret_n) {
    SK_ASSERT(sk__node_of(g, t)->op == SK_OP_CATEGORICAL || sk__node_of(g, t)->op == SK_OP_SAMPLE_CATEGORICAL);
    *ret_n = sk__node_of(g, t)->kind;
    return g->parts + sk__node_of(g, t)->offset;
}
const sk_encode_run *sk_graph_runs(const sk_graph *g, sk_tensor t, int *ret_n) {
    SK_ASSERT(sk__node_of(g, t)->op == SK_OP_ENCODE);
    *ret_n = sk__node_of(g, t)->kind;
    return g->runs + sk__node_of(g, t)->offset;
}
int sk_graph_is_sparse(const sk_graph *g, sk_tensor t) {
    const sk_node *n = sk__node_of(g, t);
    return n->op == SK_OP_ENCODE && n->cols >= 8 * sk__node_of(g, n->in[0])->cols;
}
float  sk_graph_loss_coef(const sk_graph *g, sk_tensor t) { return g->loss_coef[t]; }
size_t sk_graph_param_floats(const sk_graph *g) { return g->group_floats[0]; }
size_t sk_graph_group_floats(const sk_graph *g, int group) {
    SK_ASSERT(group >= 0 && group < SK_GRAPH_GROUPS);
    return g->group_floats[group];
}
sk_tensor sk_graph_find_param(const sk_graph *g, const char *name) { return find_param(g, 0, name); }
