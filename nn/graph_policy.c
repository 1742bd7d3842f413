/* graph_policy: ops of policies whose actions are squashed, or whose noise depends on the state. */
#include "nn/graph_internal.h"

sk_tensor sk_graph_squashed_gaussian(sk_graph *g, sk_tensor mean, sk_tensor log_std, sk_tensor noise) {
    sk_tensor in[3] = {sk__padded(g, mean), log_std, noise};
    if (!sk__usable(g, in, 3)) return -1;
    const sk_node *m = sk__node_of(g, in[0]), *s = sk__node_of(g, log_std), *e = sk__node_of(g, noise);
    int s_ok = s->cols == m->cols && (s->scope == SK_SCOPE_ROWS || (s->op == SK_OP_PARAM && s->rows == 1));
    if (m->scope != SK_SCOPE_ROWS || !s_ok || e->cols != m->cols || !sk__is_row_data(e))
        return sk__refuse(g, "squashed_gaussian: mean (B x %d), log_std of %d and noise of %d columns do not fit",
                          m->cols, s->cols, e->cols);
    return sk__add_node(g, SK_OP_SQUASHED_GAUSSIAN, SK_SCOPE_ROWS, 0, m->cols + 1, in, 3);
}

/* Is log_std a weight for features x? */
static int fits_features(const sk_node *x, const sk_node *log_std) {
    return x->scope == SK_SCOPE_ROWS && log_std->op == SK_OP_PARAM && log_std->rows == x->cols;
}

sk_tensor sk_graph_sde_log_std(sk_graph *g, sk_tensor x, sk_tensor log_std) {
    if (!sk__usable(g, (sk_tensor[]){x, log_std}, 2)) return -1;
    if (sk__node_of(g, x)->scope == SK_SCOPE_ROWS && sk__node_of(g, x)->needs_grad) x = sk_graph_stop_gradient(g, x);
    if (!sk__usable(g, &x, 1)) return -1;
    const sk_node *xn = sk__node_of(g, x), *s = sk__node_of(g, log_std);
    if (!fits_features(xn, s))
        return sk__refuse(g, "sde_log_std: features (B x %d) and log_std \"%s\" (%d x %d) do not fit", xn->cols,
                          s->name, s->rows, s->cols);
    return sk__add_node(g, SK_OP_SDE_LOG_STD, SK_SCOPE_ROWS, 0, s->cols, (sk_tensor[]){x, log_std}, 2);
}

sk_tensor sk_graph_sde_sample(sk_graph *g, sk_tensor mean, sk_tensor x, sk_tensor log_std, sk_tensor eps) {
    sk_tensor in[4] = {mean, x, log_std, eps};
    if (!sk__usable(g, in, 4)) return -1;
    const sk_node *m = sk__node_of(g, mean), *xn = sk__node_of(g, x), *s = sk__node_of(g, log_std);
    const sk_node *e = sk__node_of(g, eps);
    if (!fits_features(xn, s) || m->scope != SK_SCOPE_ROWS || m->cols != s->cols || !sk__is_row_data(e) ||
        (int64_t)e->cols != (int64_t)s->rows * s->cols)
        return sk__refuse(g, "sde_sample: mean (B x %d), features (B x %d), log_std (%d x %d) and noise (B x %d) do "
                          "not fit", m->cols, xn->cols, s->rows, s->cols, e->cols);
    sk_tensor t = sk__add_node(g, SK_OP_SDE_SAMPLE, SK_SCOPE_ROWS, 0, s->cols, in, 4);
    if (t >= 0) g->nodes[t].needs_grad = 0;
    return t;
}
