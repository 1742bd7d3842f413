/* Memory: a training step takes none, and when any allocation of a create fails the create says so and gives
 * everything back. The allocator is this program's own: it counts, and fails when told to. */
#include "tests/nn/mlp.h"

#include <errno.h>
#include <stdatomic.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

static _Atomic long n_allocs, n_live; /* allocations so far; less frees */

#ifdef HAVE_ASAN /* its allocator stays; it tells us of every call, but cannot be made to fail */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));
static void on_malloc(const volatile void *p, size_t bytes) {
    (void)p, (void)bytes;
    n_allocs++;
    n_live++;
}
static void on_free(const volatile void *p) {
    if (p) n_live--;
}
static void install_hooks(void) {
    cr_assert_gt(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free), 0);
}
#else
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void __libc_free(void *p);

static _Atomic long fail_in = -1; /* 0 = the next allocation fails; negative = none */

static int refused(void) {
    n_allocs++;
    long left = fail_in;
    if (left >= 0) fail_in = left - 1;
    if (left == 0) {
        errno = ENOMEM;
        return 1;
    }
    n_live++;
    return 0;
}
void *malloc(size_t bytes) { return refused() ? NULL : __libc_malloc(bytes); }
void *calloc(size_t n, size_t bytes) { return refused() ? NULL : __libc_calloc(n, bytes); }
void *aligned_alloc(size_t align, size_t bytes) { return refused() ? NULL : __libc_memalign(align, bytes); }
void *memalign(size_t align, size_t bytes) { return refused() ? NULL : __libc_memalign(align, bytes); }
int posix_memalign(void **ret, size_t align, size_t bytes) {
    void *p = refused() ? NULL : __libc_memalign(align, bytes);
    if (!p) return ENOMEM;
    *ret = p;
    return 0;
}
void *realloc(void *p, size_t bytes) {
    if (!p) return malloc(bytes);
    n_allocs++;
    return __libc_realloc(p, bytes);
}
void free(void *p) {
    if (p) n_live--;
    __libc_free(p);
}
static void install_hooks(void) {}
#endif

static const sk_plan_params training = {.max_rows = MLP_ROWS, .backward = 1};

Test(alloc, the_counter_sees_allocations) {
    install_hooks();
    long before = n_allocs;
    void *volatile p = malloc(100), *volatile q = aligned_alloc(64, 640);
    long seen = n_allocs - before;
    free(p);
    free(q);
    cr_assert_eq(seen, 2);
    before = n_allocs;
    mlp m = mlp_create(2, &training);
    long created = n_allocs - before;
    cr_assert_gt(created, 10, "creating a plan allocates; the counter saw %ld", created);
    mlp_destroy(&m);
}

/* Allocations while a plan runs and trains on batches of many sizes, from its very first run on. */
static long allocations_of_runs(mlp *m) {
    long before = n_allocs;
    for (int rows = 1; rows <= MLP_ROWS; rows += 37) {
        mlp_bind(m, MLP_ROWS - rows);
        sk_plan_train(m->plan, rows, m->adam, 1e-3, 0.5);
        sk_plan_backward(m->plan, rows);
        sk_plan_forward(m->plan, rows);
        (void)sk_plan_output(m->plan, m->dist);
        (void)sk_plan_sum(m->plan, m->loss);
        (void)sk_plan_grad(m->plan);
    }
    return n_allocs - before;
}

Test(alloc, running_and_training_allocate_nothing) {
    install_hooks();
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        mlp  m = mlp_create(n_threads, &training);
        long seen = allocations_of_runs(&m);
#ifdef HAVE_ASAN /* its threads allocate for themselves when they first take part, which may be late */
        for (int i = 0; i < 20 && seen > 0; i++) seen = allocations_of_runs(&m);
#endif
        cr_assert_eq(seen, 0, "%ld allocations with %d threads", seen, n_threads);
        mlp_destroy(&m);
        guard_check_all();
    }
}

#ifndef HAVE_ASAN
/* Everything a learner creates, in order; stops at the first failure and gives back what there is. */
static sk_status create_all(const sk_graph *g, sk_error *err) {
    SK_AUTO(sk_device) dev = NULL;
    SK_AUTO(sk_buffer) params = NULL;
    SK_AUTO(sk_plan) plan = NULL;
    SK_AUTO(sk_adam) adam = NULL;
    size_t n = sk_graph_param_floats(g);
    SK_TRY(sk_device_create_cpu(2, &dev, err));
    SK_TRY(sk_buffer_create(dev, n * sizeof(float), &params, err));
    SK_TRY(sk_plan_create(dev, g, params, &training, &plan, err));
    SK_TRY(sk_adam_create(dev, params, n, &(sk_adam_params){0.9f, 0.999f, 1e-5f}, &adam, err));
    return SK_OK;
}

Test(alloc, every_failing_allocation_is_reported_and_nothing_leaks) {
    mlp m = {0};
    mlp_build(&m);
    sk_error warm_up = {0};
    cr_assert_eq(create_all(m.g, &warm_up), SK_OK, "%s", warm_up.msg); /* libc's own caches */
    int n_failed = 0;
    for (long n = 0;; n++) {
        sk_error err = {0};
        long live = n_live;
        fail_in = n;
        sk_status status = create_all(m.g, &err);
        int all_made = fail_in >= 0;
        fail_in = -1;
        cr_assert_eq(n_live, live, "allocation %ld failed and %ld blocks leaked", n, n_live - live);
        if (all_made) {
            cr_assert_eq(status, SK_OK);
            break;
        }
        if (status != SK_OK) cr_assert_eq(status, SK_ENOMEM, "allocation %ld: %s", n, err.msg);
        n_failed += status != SK_OK;
    }
    cr_assert_gt(n_failed, 15, "only %d allocations were tried", n_failed);
    sk_graph *g = NULL;
    fail_in = 0;
    sk_status status = sk_graph_create(&g, NULL);
    fail_in = -1;
    cr_assert(status == SK_ENOMEM && !g);
    sk_graph_destroy(&m.g);
}
#endif
