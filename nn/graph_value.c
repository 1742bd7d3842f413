/* Value-based learning: dueling heads, greedy choices, C51 and quantile regression (nn/graph.h). */
#include "nn/graph_internal.h"

/* Does x hold n groups of equal width? Then that width, else 0. */
static int group_width(const sk_node *x, int n) {
    return x->scope == SK_SCOPE_ROWS && n > 0 && x->cols % n == 0 ? x->cols / n : 0;
}

static sk_tensor without_gradient(sk_graph *g, sk_tensor t) {
    if (t >= 0) g->nodes[t].needs_grad = 0;
    return t;
}

/* The number of columns of a group, or of groups, that the op was made with. */
static sk_tensor with_kind(sk_graph *g, sk_tensor t, int kind) {
    if (t >= 0) g->nodes[t].kind = kind;
    return t;
}

sk_tensor sk_graph_dueling(sk_graph *g, sk_tensor value, sk_tensor advantage, int n) {
    sk_tensor in[] = {value, advantage};
    if (!sk__usable(g, in, 2)) return -1;
    const sk_node *v = sk__node_of(g, value), *a = sk__node_of(g, advantage);
    if (v->scope != SK_SCOPE_ROWS || group_width(a, n) != v->cols)
        return sk__refuse(g, "dueling: values (B x %d) and advantages (B x %d) do not fit %d actions", v->cols, a->cols,
                          n);
    return with_kind(g, sk__add_node(g, SK_OP_DUELING, SK_SCOPE_ROWS, 0, a->cols, in, 2), n);
}

sk_tensor sk_graph_argmax(sk_graph *g, sk_tensor q, sk_tensor mask) {
    sk_tensor in[] = {q, mask};
    int       n_in = mask == SK_NO_TENSOR ? 1 : 2;
    if (!sk__usable(g, in, n_in)) return -1;
    const sk_node *x = sk__node_of(g, q);
    if (x->scope != SK_SCOPE_ROWS) return sk__refuse(g, "argmax works on rows of the batch");
    if (n_in == 2 && (sk__node_of(g, mask)->cols != x->cols || !sk__is_row_data(sk__node_of(g, mask))))
        return sk__refuse(g, "argmax: a mask of %d columns for %d choices", sk__node_of(g, mask)->cols, x->cols);
    return without_gradient(g, sk__add_node(g, SK_OP_ARGMAX, SK_SCOPE_ROWS, 0, 1, in, n_in));
}

sk_tensor sk_graph_take(sk_graph *g, sk_tensor x, sk_tensor action, int k) {
    sk_tensor in[] = {x, action};
    if (!sk__usable(g, in, 2)) return -1;
    const sk_node *xn = sk__node_of(g, x), *a = sk__node_of(g, action);
    if (xn->scope != SK_SCOPE_ROWS || k <= 0 || xn->cols % k || a->cols != 1 || !sk__is_row_data(a))
        return sk__refuse(g, "take wants groups of %d columns and a column of choices, got (B x %d) and (B x %d)", k,
                          xn->cols, a->cols);
    return sk__add_node(g, SK_OP_TAKE, SK_SCOPE_ROWS, 0, k, in, 2);
}

sk_tensor sk_graph_group_mean(sk_graph *g, sk_tensor x, int n) {
    if (!sk__usable(g, &x, 1)) return -1;
    if (!group_width(sk__node_of(g, x), n))
        return sk__refuse(g, "group_mean: (B x %d) are not %d groups", sk__node_of(g, x)->cols, n);
    return sk__add_node(g, SK_OP_GROUP_MEAN, SK_SCOPE_ROWS, 0, n, &x, 1);
}

/* Both C51 ops: the support from v_min to v_max goes with the node. */
static sk_tensor with_support(sk_graph *g, sk_tensor t, float v_min, float v_max) {
    if (t < 0) return t;
    g->nodes[t].a = v_min;
    g->nodes[t].b = v_max;
    return without_gradient(g, t);
}
static int is_support(int atoms, float v_min, float v_max) { return atoms >= 2 && v_min < v_max; }

sk_tensor sk_graph_atom_mean(sk_graph *g, sk_tensor logits, int n, float v_min, float v_max) {
    if (!sk__usable(g, &logits, 1)) return -1;
    const sk_node *x = sk__node_of(g, logits);
    if (!is_support(group_width(x, n), v_min, v_max))
        return sk__refuse(g, "atom_mean: (B x %d) are not %d groups of two or more atoms from %g to %g", x->cols, n,
                          (double)v_min, (double)v_max);
    return with_support(g, sk__add_node(g, SK_OP_ATOM_MEAN, SK_SCOPE_ROWS, 0, n, &logits, 1), v_min, v_max);
}

sk_tensor sk_graph_c51_target(sk_graph *g, sk_tensor next_logits, sk_tensor reward, sk_tensor discount, float v_min,
                              float v_max) {
    sk_tensor in[] = {next_logits, reward, discount};
    if (!sk__usable(g, in, 3)) return -1;
    const sk_node *x = sk__node_of(g, next_logits), *r = sk__node_of(g, reward), *d = sk__node_of(g, discount);
    if (x->scope != SK_SCOPE_ROWS || r->scope != SK_SCOPE_ROWS || d->scope != SK_SCOPE_ROWS || r->cols != 1 ||
        d->cols != 1 || !is_support(x->cols, v_min, v_max))
        return sk__refuse(g, "c51_target: logits (B x %d), reward (B x %d) and discount (B x %d) do not fit a support "
                          "from %g to %g", x->cols, r->cols, d->cols, (double)v_min, (double)v_max);
    return with_support(g, sk__add_node(g, SK_OP_C51_TARGET, SK_SCOPE_ROWS, 0, x->cols, in, 3), v_min, v_max);
}

sk_tensor sk_graph_cross_entropy(sk_graph *g, sk_tensor logits, sk_tensor target) {
    sk_tensor in[] = {logits, target};
    if (!sk__usable(g, in, 2)) return -1;
    const sk_node *x = sk__node_of(g, logits), *p = sk__node_of(g, target);
    if (x->scope != SK_SCOPE_ROWS || p->cols != x->cols || !sk__is_row_data(p))
        return sk__refuse(g, "cross_entropy wants logits (B x %d) and as many probabilities without a gradient, got %d",
                          x->cols, p->cols);
    return sk__add_node(g, SK_OP_CROSS_ENTROPY, SK_SCOPE_ROWS, 0, 1, in, 2);
}

sk_tensor sk_graph_quantile_huber(sk_graph *g, sk_tensor theta, sk_tensor target, float kappa) {
    sk_tensor in[] = {theta, target};
    if (!sk__usable(g, in, 2)) return -1;
    const sk_node *x = sk__node_of(g, theta), *y = sk__node_of(g, target);
    if (x->scope != SK_SCOPE_ROWS || !sk__is_row_data(y))
        return sk__refuse(g, "quantile_huber wants quantiles (B x %d) and samples without a gradient", x->cols);
    if (!(kappa >= 0.0f)) return sk__refuse(g, "quantile_huber: kappa must be >= 0, got %g", (double)kappa);
    sk_tensor t = sk__add_node(g, SK_OP_QUANTILE_HUBER, SK_SCOPE_ROWS, 0, 1, in, 2);
    if (t >= 0) g->nodes[t].a = kappa;
    return t;
}
