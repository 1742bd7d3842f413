#include "rl/sum_tree.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static uint32_t the_random = 1;
static uint32_t next_random(void) {
    the_random = the_random * 1664525u + 1013904223u;
    return the_random >> 8;
}

static sk_sum_tree *make(int64_t n) {
    sk_sum_tree *tree = NULL;
    sk_error     err = {0};
    cr_assert_eq(sk_sum_tree_create(n, &tree, &err), SK_OK, "%s", err.msg);
    return tree;
}

static int64_t find(const sk_sum_tree *tree, double at) {
    int64_t leaf = -1;
    sk_sum_tree_find_many(tree, &at, 1, &leaf);
    return leaf;
}

/* Where the running sum passes `at`, one leaf after the other. Whole numbers: no rounding. */
static int64_t walk(const sk_sum_tree *tree, int64_t n, double at) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += sk_sum_tree_get(tree, i);
        if (sum > at) return i;
    }
    return -1;
}

static const int64_t sizes[] = {1, 2, 15, 16, 17, 255, 256, 257, 4096, 4097, 70000};

Test(sum_tree, finds_what_a_walk_along_all_leaves_finds) {
    for (int s = 0; s < SK_COUNT(sizes); s++) {
        int64_t      n = sizes[s];
        sk_sum_tree *tree = make(n);
        for (int64_t i = 0; i < n; i++)
            if (next_random() % 3) sk_sum_tree_set(tree, i, next_random() % 9);
        sk_sum_tree_set(tree, n / 2, 5.0);
        double total = sk_sum_tree_total(tree);
        for (int k = 0; k < 200; k++) {
            double at = k == 0 ? 0.0 : k == 1 ? total - 0.5 : fmod(next_random() * 0.25, total);
            cr_assert_eq(find(tree, at), walk(tree, n, at), "%g of %g in %ld leaves", at, total, (long)n);
        }
        sk_sum_tree_destroy(&tree);
    }
}

Test(sum_tree, sums_stay_exact_however_often_leaves_change) {
    enum { N = 1000, MANY = 64 };
    sk_sum_tree *tree = make(N);
    double       leaf[N] = {0}, value[MANY];
    int64_t      at[MANY], scratch[MANY];
    for (int k = 0; k < 5000; k++) {
        for (int i = 0; i < MANY; i++) {
            at[i] = next_random() % N;
            value[i] = k == 4999 ? 0.0 : next_random() % 4 ? 1e15 / (1 + next_random() % 1000) : 1e-9;
        }
        for (int i = 0; i < MANY; i++) leaf[at[i]] = value[i];
        sk_sum_tree_set_many(tree, at, value, MANY, scratch);
    }
    sk_sum_tree *fresh = make(N);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(sk_sum_tree_get(tree, i), leaf[i]); /* the last of several in one call counts */
        sk_sum_tree_leaves(fresh)[i] = leaf[i];
    }
    sk_sum_tree_sum_up(fresh);
    cr_assert_eq(sk_sum_tree_total(tree), sk_sum_tree_total(fresh)); /* to the bit: nothing drifted */
    for (int i = 0; i < N; i++) sk_sum_tree_set(tree, i, 0.0);
    cr_assert_eq(sk_sum_tree_total(tree), 0.0);
    sk_sum_tree_destroy(&tree);
    sk_sum_tree_destroy(&fresh);
}

Test(sum_tree, never_finds_a_leaf_that_is_zero) {
    enum { N = 5000 };
    sk_sum_tree *tree = make(N);
    for (int i = 0; i < N; i++)
        if (next_random() % 4 == 0) sk_sum_tree_set(tree, i, pow(10.0, (int)(next_random() % 40) - 20));
    double total = sk_sum_tree_total(tree);
    for (int k = 0; k < 20000; k++) {
        double  at = k % 4 ? total * (next_random() * 0x1p-24) : k % 8 ? nextafter(total, 0.0) : total * 2.0;
        int64_t leaf = find(tree, at);
        cr_assert(leaf >= 0 && leaf < N && sk_sum_tree_get(tree, leaf) > 0.0, "leaf %ld at %g", (long)leaf, at);
    }
    sk_sum_tree_destroy(&tree);
}

Test(sum_tree, finds_leaves_in_proportion_to_their_values) {
    enum { N = 300, DRAWS = 200000 };
    sk_sum_tree *tree = make(N);
    int          count[N] = {0};
    double       sum = 0.0, chi = 0.0;
    for (int i = 0; i < N; i++) sk_sum_tree_set(tree, i, 0.1 * (1 + i % 7));
    for (int k = 0; k < DRAWS; k++) count[find(tree, next_random() * 0x1p-24 * sk_sum_tree_total(tree))]++;
    for (int i = 0; i < N; i++) sum += 0.1 * (1 + i % 7);
    for (int i = 0; i < N; i++) {
        double want = DRAWS * 0.1 * (1 + i % 7) / sum;
        chi += (count[i] - want) * (count[i] - want) / want;
    }
    cr_assert(fabs(chi - (N - 1)) < 4.0 * sqrt(2.0 * (N - 1)), "%g", chi);
    sk_sum_tree_destroy(&tree);
}

Test(sum_tree, refuses_sizes_out_of_range) {
    sk_sum_tree *tree = NULL;
    sk_error     err = {0};
    cr_assert_eq(sk_sum_tree_create(0, &tree, &err), SK_EINVAL);
    cr_assert_eq(sk_sum_tree_create(((int64_t)1 << 32) + 1, &tree, &err), SK_EINVAL);
    cr_assert_null(tree);
    cr_assert_eq(sk_sum_tree_bytes(0), 0);
    cr_assert_eq(sk_sum_tree_bytes(17), (32 + 16) * 8);
    sk_sum_tree_destroy(&tree);
    sk_sum_tree_destroy(NULL);
}
