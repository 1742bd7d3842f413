/* graph_internal: what the files that add nodes to a graph share. Only nn/graph*.c include this. */
#ifndef SK_NN_GRAPH_INTERNAL_H
#define SK_NN_GRAPH_INTERNAL_H
#include "nn/graph.h"

enum { PARTS_MAX = 64 }; /* groups of logits in all CATEGORICAL nodes of a graph */
enum { RUNS_MAX = 64 };  /* runs of columns in all ENCODE nodes of a graph       */

struct sk_graph {
    int      n_nodes;
    sk_node  nodes[SK_GRAPH_MAX_NODES];
    float    loss_coef[SK_GRAPH_MAX_NODES];
    int      parts[PARTS_MAX], n_parts_used;
    sk_encode_run runs[RUNS_MAX];
    int      n_runs_used;
    size_t   group_floats[SK_GRAPH_GROUPS];
    int      group; /* of the parameters to come */
    int      finished;
    sk_error first_error; /* SK_OK while all is well */
};

/* Remember the first mistake and return -1; every later op sees tensor -1 and passes it on. */
sk_tensor sk__refuse(sk_graph *g, const char *fmt, ...) SK_PRINTF(2, 3);
/* May the tensors be used? A -1 among them is an earlier mistake, already remembered. */
int       sk__usable(sk_graph *g, const sk_tensor *in, int n);
/* needs_grad as soon as one of the inputs does: ops without a gradient take it back. */
sk_tensor sk__add_node(sk_graph *g, sk_op op, sk_scope scope, int rows, int cols, const sk_tensor *in, int n_in);
/* For ops whose kernel wants all rows of the same padded length: an input is copied to such rows. */
sk_tensor sk__padded(sk_graph *g, sk_tensor x);

static inline const sk_node *sk__node_of(const sk_graph *g, sk_tensor t) {
    SK_ASSERT(t >= 0 && t < g->n_nodes);
    return &g->nodes[t];
}

/* A column or more of data for the rows of the batch, through which no gradient flows. */
static inline int sk__is_row_data(const sk_node *n) { return n->scope == SK_SCOPE_ROWS && !n->needs_grad; }

#endif
