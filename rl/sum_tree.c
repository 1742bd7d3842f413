#include "rl/sum_tree.h"

#include <stddef.h>
#include <stdlib.h>

enum { FANOUT = 16, LEVELS_MAX = 8, NODE_BYTES = FANOUT * 8 };
#define LEAVES_MAX ((int64_t)1 << 32)

struct sk_sum_tree {
    double *level[LEVELS_MAX]; /* level[0]: the leaves; each a whole number of nodes     */
    int64_t n_at[LEVELS_MAX];  /* numbers in use there                                   */
    int     n_levels;          /* the last one is a single node                          */
    double  total;
    void   *memory;
};

/* Sizes of all levels; returns the numbers in all of them together, padding included. */
static int64_t plan(int64_t n_leaves, int64_t ret_n[LEVELS_MAX], int *ret_levels) {
    int64_t n = n_leaves, sum = 0;
    int     levels = 0;
    do {
        ret_n[levels++] = n;
        n = (n + FANOUT - 1) / FANOUT;
        sum += n * FANOUT;
    } while (n > 1);
    *ret_levels = levels;
    return sum;
}

int64_t sk_sum_tree_bytes(int64_t n_leaves) {
    int64_t n[LEVELS_MAX];
    int     levels;
    if (n_leaves < 1 || n_leaves > LEAVES_MAX) return 0;
    return plan(n_leaves, n, &levels) * (int64_t)sizeof(double);
}

sk_status sk_sum_tree_create(int64_t n_leaves, sk_sum_tree **ret_tree, sk_error *reterr) {
    SK_ASSERT(ret_tree);
    if (n_leaves < 1 || n_leaves > LEAVES_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "sum tree: %lld leaves, wanted 1 to 2^32", (long long)n_leaves);
    sk_sum_tree *self = calloc(1, sizeof *self);
    size_t       bytes = (size_t)sk_sum_tree_bytes(n_leaves);
    if (self) self->memory = calloc(1, bytes + NODE_BYTES); /* zero pages, none touched where it is large */
    if (!self || !self->memory) {
        free(self);
        return SK_FAIL(reterr, SK_ENOMEM, "sum tree: no room for %zu bytes", bytes);
    }
    plan(n_leaves, self->n_at, &self->n_levels);
    double *at = (double *)(((uintptr_t)self->memory + NODE_BYTES - 1) / NODE_BYTES * NODE_BYTES);
    for (int l = 0; l < self->n_levels; l++) {
        self->level[l] = at;
        at += (self->n_at[l] + FANOUT - 1) / FANOUT * FANOUT;
    }
    *ret_tree = self;
    return SK_OK;
}

void sk_sum_tree_destroy(sk_sum_tree **self_p) {
    if (!self_p || !*self_p) return;
    free((*self_p)->memory);
    free(*self_p);
    *self_p = NULL;
}

double sk_sum_tree_total(const sk_sum_tree *self) { return self->total; }

double sk_sum_tree_get(const sk_sum_tree *self, int64_t leaf) {
    SK_ASSERT(leaf >= 0 && leaf < self->n_at[0]);
    return self->level[0][leaf];
}

double *sk_sum_tree_leaves(sk_sum_tree *self) { return self->level[0]; }

/* Four running sums side by side: one vector register, or two. */
static double sum_node(const double *node) {
    double s[4];
    for (int j = 0; j < 4; j++) s[j] = (node[j] + node[4 + j]) + (node[8 + j] + node[12 + j]);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* Make the sums above node `node` of the leaves anew. */
static void sum_above(sk_sum_tree *self, int64_t node) {
    for (int l = 1; l < self->n_levels; l++) {
        self->level[l][node] = sum_node(self->level[l - 1] + node * FANOUT);
        node /= FANOUT;
    }
    self->total = sum_node(self->level[self->n_levels - 1]);
}

void sk_sum_tree_set(sk_sum_tree *self, int64_t leaf, double value) {
    SK_ASSERT(leaf >= 0 && leaf < self->n_at[0] && value >= 0.0);
    self->level[0][leaf] = value;
    sum_above(self, leaf / FANOUT);
}

void sk_sum_tree_set_many(sk_sum_tree *self, const int64_t *leaf, const double *value, int n, int64_t *scratch) {
    for (int i = 0; i < n; i++) {
        SK_ASSERT(leaf[i] >= 0 && leaf[i] < self->n_at[0] && value[i] >= 0.0);
        self->level[0][leaf[i]] = value[i];
        scratch[i] = leaf[i] / FANOUT;
    }
    for (int l = 1; l < self->n_levels; l++) {
        for (int i = 0; i < n; i++) {
            self->level[l][scratch[i]] = sum_node(self->level[l - 1] + scratch[i] * FANOUT);
            scratch[i] /= FANOUT;
        }
    }
    self->total = sum_node(self->level[self->n_levels - 1]);
}

void sk_sum_tree_sum_up(sk_sum_tree *self) {
    for (int l = 1; l < self->n_levels; l++)
        for (int64_t i = 0; i < self->n_at[l]; i++) self->level[l][i] = sum_node(self->level[l - 1] + i * FANOUT);
    self->total = sum_node(self->level[self->n_levels - 1]);
}

/* The child in which the running sum passes *at; *at becomes the way into it. Without branches but for the last line:
 * rounding can put *at behind all of them. */
static int64_t find_child(const double *node, double *at) {
    double  sum = 0.0, below = 0.0;
    int64_t child = 0;
    for (int j = 0; j < FANOUT; j++) {
        sum += node[j];
        child += sum <= *at;
        below = sum <= *at ? sum : below;
    }
    *at -= below;
    if (child == FANOUT) {
        for (child--; child > 0 && node[child] <= 0.0;) child--;
        *at = node[child];
    }
    return child;
}

void sk_sum_tree_find_many(const sk_sum_tree *self, double *at, int n, int64_t *ret_leaf) {
    SK_ASSERT(self->total > 0.0);
    for (int i = 0; i < n; i++) ret_leaf[i] = 0;
    for (int l = self->n_levels - 1; l >= 0; l--) {
        for (int i = 0; i < n; i++) {
            ret_leaf[i] = ret_leaf[i] * FANOUT + find_child(self->level[l] + ret_leaf[i] * FANOUT, &at[i]);
            if (l > 0) __builtin_prefetch(self->level[l - 1] + ret_leaf[i] * FANOUT);
            if (l > 0) __builtin_prefetch(self->level[l - 1] + ret_leaf[i] * FANOUT + FANOUT / 2);
        }
    }
}
