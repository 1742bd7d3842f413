/* sum_tree: non-negative numbers in a row, of which one is found by how far it lies along their sum: drawing in
 * proportion to priority. A tree of 16 children per node, each node 128 bytes in a piece; a parent is the sum of its
 * children made anew whenever one of them changes, so nothing drifts. Of many look-ups or changes each goes one level
 * at a time together with the others, so that their loads overlap.
 *
 * Threads: one owner. */
#ifndef SK_RL_SUM_TREE_H
#define SK_RL_SUM_TREE_H
#include "core/base/status.h"
#include <stdint.h>

typedef struct sk_sum_tree sk_sum_tree;

/* Bytes of a tree over so many leaves. */
int64_t sk_sum_tree_bytes(int64_t n_leaves);
/* All leaves 0; pages are taken as they are used. SK_EINVAL: not in [1, 2^32]; SK_ENOMEM. Caller destroys. */
SK_NODISCARD sk_status sk_sum_tree_create(int64_t n_leaves, sk_sum_tree **ret_tree, sk_error *reterr);
void sk_sum_tree_destroy(sk_sum_tree **self_p);

/* The sum of all leaves. */
double sk_sum_tree_total(const sk_sum_tree *self);
double sk_sum_tree_get(const sk_sum_tree *self, int64_t leaf);
/* Values are finite and >= 0, and so is their sum. */
void sk_sum_tree_set(sk_sum_tree *self, int64_t leaf, double value);
/* Where a leaf is named twice the last value counts. `scratch` (n) is written. */
void sk_sum_tree_set_many(sk_sum_tree *self, const int64_t *leaf, const double *value, int n, int64_t *scratch);
/* ret_leaf[i] is the leaf in which the running sum passes at[i] of [0, total): never one whose value is 0. The total
 * must be > 0; an at[i] beyond it gives the last leaf that is not 0. `at` is used up. */
void sk_sum_tree_find_many(const sk_sum_tree *self, double *at, int n, int64_t *ret_leaf);

/* (n_leaves) For saving, and for filling a tree whose leaves are all known: then sk_sum_tree_sum_up. Borrowed. */
double *sk_sum_tree_leaves(sk_sum_tree *self);
void    sk_sum_tree_sum_up(sk_sum_tree *self);

#endif
