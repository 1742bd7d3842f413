/* cpu_ops: what the steps of the ops share, wherever they are written. Only nn/cpu includes this. */
#ifndef SK_NN_CPU_CPU_OPS_H
#define SK_NN_CPU_CPU_OPS_H
#include "nn/cpu/cpu_plan.h"

/* A node as one block sees it. */
typedef struct view {
    const sk_node *n;
    float         *v, *g; /* values and gradient; g NULL if none is wanted */
    ptrdiff_t      ld;
    int            cols, adds; /* adds: how this consumer must write g */
} view;

static inline view view_of(const cpu_block *b, sk_tensor t) {
    const sk_node *n = sk_graph_node(b->plan->base.graph, t);
    return (view){.n = n, .v = b->w->value[t], .g = b->w->grad[t], .ld = n->ld, .cols = n->cols};
}

/* Input i of node t, with where and how its gradient goes. */
static inline view input_of(const cpu_block *b, sk_tensor t, int i) {
    const sk_node *n = sk_graph_node(b->plan->base.graph, t);
    view           in = view_of(b, n->in[i]);
    in.adds = b->plan->adds[t][i];
    SK_ASSERT(in.v || in.n->scope == SK_SCOPE_SUM); /* else an INPUT, TABLE or CONST was not bound */
    if (!b->plan->live[n->in[i]]) in.g = NULL;
    if (in.n->op == SK_OP_PARAM && b->slot_grad && b->plan->live[n->in[i]]) {
        in.g = b->slot_grad + in.n->offset;
        in.adds |= !b->first_in_slot;
    }
    return in;
}

static inline int is_shared(const view *x) { return x->n->scope != SK_SCOPE_ROWS; } /* one row for all */

#endif
