/* tree_reduction: tasks that work on the results of tasks. Sixteen vectors are added in pairs, the sums in pairs again:
 * first the driver lays out the whole tree before anything has an answer, then a task divides its work among others.
 *
 *     cc -O2 tree_reduction.c $(pkg-config --cflags --libs skiff) -o tree_reduction && ./tree_reduction
 *
 * prints
 *
 *     tree of references: 16 vectors, element 1000 of their sum is 120000
 *     tree of tasks:      16 vectors, element 1000 of their sum is 120000 */
#include <skiff/skiff.h>

#include <stdio.h>
#include <string.h>

enum { N_LEAVES = 16, LENGTH = 32768, PATIENCE_MS = 60000 };
static const size_t SIZE = LENGTH * sizeof(int64_t); /* 256 KiB: they lie in shared memory */

typedef struct range {
    int first, n; /* leaves */
} range;

/* Leaf i is i, 2i, 3i, ... shifted by one: element k is i * k. It is written where it stays. */
static sk_status answer_leaf(sk_call *call, int leaf, sk_error *reterr) {
    void *room;
    SK_TRY(sk_call_alloc(call, 0, SIZE, &room, reterr));
    for (int64_t k = 0, *to = room; k < LENGTH; k++) to[k] = leaf * k;
    return SK_OK;
}

static sk_status answer_sum(sk_call *call, const int64_t *a, const int64_t *b, sk_error *reterr) {
    void *room;
    SK_TRY(sk_call_alloc(call, 0, SIZE, &room, reterr));
    for (int64_t k = 0, *to = room; k < LENGTH; k++) to[k] = a[k] + b[k];
    return SK_OK;
}

static sk_status leaf_task(sk_call *call, sk_error *reterr) {
    return answer_leaf(call, *(const int *)sk_call_arg(call, 0).data, reterr);
}

/* Its arguments came by reference; here they are the vectors themselves, read in place. */
static sk_status add_task(sk_call *call, sk_error *reterr) {
    return answer_sum(call, sk_call_arg(call, 0).data, sk_call_arg(call, 1).data, reterr);
}

/* Sum of a range of leaves: halves go to two more tasks. While this one waits, its cpu is free for them. */
static sk_status sum_task(sk_call *call, sk_error *reterr) {
    range asked = *(const range *)sk_call_arg(call, 0).data;
    if (asked.n == 1) return answer_leaf(call, asked.first, reterr);
    sk_runtime *rt = sk_runtime_current();
    range       halves[2] = {{asked.first, asked.n / 2}, {asked.first + asked.n / 2, asked.n - asked.n / 2}};
    sk_ref      parts[2] = {{0}, {0}};
    sk_bytes    values[2];
    sk_status   status = SK_OK;
    for (int h = 0; h < 2 && status == SK_OK; h++) {
        sk_arg arg = sk_by_value(&halves[h], sizeof halves[h]);
        status = sk_submit(rt, &(sk_task){.function = "tree.sum", .args = &arg, .n_args = 1}, &parts[h], reterr);
    }
    for (int h = 0; h < 2 && status == SK_OK; h++) status = sk_get(rt, parts[h], PATIENCE_MS, &values[h], reterr);
    if (status == SK_OK) status = answer_sum(call, values[0].data, values[1].data, reterr);
    for (int h = 0; h < 2; h++) sk_release(rt, &parts[h]); /* a worker lives on: what it does not release stays */
    return status;
}

static const sk_task_def tasks[] = {{"tree.leaf", leaf_task}, {"tree.add", add_task}, {"tree.sum", sum_task}};
static const sk_module   module = {SK_MODULE_ABI, sizeof module, "tree", tasks, SK_COUNT(tasks), NULL, 0};
static const sk_module *const modules[] = {&module};

/* All tasks of the tree at once; each waits for the two below it. A task counts on its arguments, so they can be
 * released here as soon as it is submitted. */
static sk_status submit_tree(sk_runtime *rt, sk_ref *ret_sum, sk_error *reterr) {
    sk_ref level[N_LEAVES];
    for (int i = 0; i < N_LEAVES; i++) {
        sk_arg arg = sk_by_value(&i, sizeof i);
        SK_TRY(sk_submit(rt, &(sk_task){.function = "tree.leaf", .args = &arg, .n_args = 1}, &level[i], reterr));
    }
    for (int n = N_LEAVES / 2; n > 0; n /= 2) {
        for (int i = 0; i < n; i++) {
            sk_ref a = level[2 * i], b = level[2 * i + 1];
            sk_arg args[2] = {sk_by_ref(a), sk_by_ref(b)};
            SK_TRY(sk_submit(rt, &(sk_task){.function = "tree.add", .args = args, .n_args = 2}, &level[i], reterr));
            sk_release(rt, &a), sk_release(rt, &b);
        }
    }
    return *ret_sum = level[0], SK_OK;
}

static sk_status report(sk_runtime *rt, const char *title, sk_ref sum, sk_error *reterr) {
    sk_bytes value;
    SK_TRY(sk_get(rt, sum, PATIENCE_MS, &value, reterr));
    printf("%s %d vectors, element 1000 of their sum is %lld\n", title, N_LEAVES,
           (long long)((const int64_t *)value.data)[1000]);
    return sk_release(rt, &sum), SK_OK;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return sk_worker_main(argc - 2, argv + 2, modules, SK_COUNT(modules));
    /* ---- create ---- */
    sk_runtime_params params = {.modules = modules, .n_modules = SK_COUNT(modules), .worker_has_modules = true};
    sk_runtime       *rt = NULL;
    sk_error          err = {0};
    sk_status         status = sk_runtime_create(&params, &rt, &err);
    /* ---- run ---- */
    sk_ref by_refs = {0}, by_tasks = {0};
    range  all = {0, N_LEAVES};
    sk_arg arg = sk_by_value(&all, sizeof all);
    if (status == SK_OK) status = submit_tree(rt, &by_refs, &err);
    if (status == SK_OK)
        status = sk_submit(rt, &(sk_task){.function = "tree.sum", .args = &arg, .n_args = 1}, &by_tasks, &err);
    /* ---- report ---- */
    if (status == SK_OK) status = report(rt, "tree of references:", by_refs, &err);
    if (status == SK_OK) status = report(rt, "tree of tasks:     ", by_tasks, &err);
    if (status != SK_OK) fprintf(stderr, "%s\n", err.msg);
    /* ---- destroy ---- */
    sk_runtime_destroy(&rt);
    return status == SK_OK ? 0 : 1;
}
