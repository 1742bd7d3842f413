/* parallel_pi: tasks. Points drawn in a square by several processes; the share of them in the circle gives pi.
 *
 *     cc -O2 parallel_pi.c $(pkg-config --cflags --libs skiff) -o parallel_pi && ./parallel_pi
 *
 * prints
 *
 *     16 tasks of 1000000 points: pi is about 3.1418 */
#include <skiff/skiff.h>

#include <stdio.h>
#include <string.h>

enum { N_TASKS = 16, N_POINTS = 1000000, PATIENCE_MS = 60000 };

/* What one task is asked for. Arguments are plain bytes: no pointers in them. */
typedef struct share {
    uint64_t seed;
    int64_t  n_points;
} share;

/* Steele's SplitMix64: a task draws the same points wherever and whenever it runs. */
static uint64_t draw(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The task: how many of its points are in the circle? Coordinates are integers below 2^31. */
static sk_status count_inside(sk_call *call, sk_error *reterr) {
    const share *asked = sk_call_arg(call, 0).data;
    uint64_t     state = asked->seed;
    int64_t      n_inside = 0;
    for (int64_t i = 0; i < asked->n_points; i++) {
        if (i % 65536 == 0 && sk_call_cancelled(call))
            return SK_FAIL(reterr, SK_ECANCELED, "cancelled at point %lld", (long long)i);
        uint64_t point = draw(&state), x = point >> 33, y = point & 0x7fffffff;
        n_inside += x * x + y * y < (uint64_t)1 << 62;
    }
    return sk_call_write(call, 0, &n_inside, sizeof n_inside, reterr);
}

static const sk_task_def tasks[] = {{"pi.count_inside", count_inside}};
static const sk_module   module = {SK_MODULE_ABI, sizeof module, "pi", tasks, SK_COUNT(tasks), NULL, 0};
static const sk_module *const modules[] = {&module};

static sk_status run(sk_runtime *rt, double *ret_pi, sk_error *reterr) {
    /* Submitting does not wait: it gives a reference to an answer that will come. */
    sk_ref counts[N_TASKS];
    for (int i = 0; i < N_TASKS; i++) {
        share  asked = {.seed = (uint64_t)i, .n_points = N_POINTS};
        sk_arg arg = sk_by_value(&asked, sizeof asked);
        SK_TRY(sk_submit(rt, &(sk_task){.function = "pi.count_inside", .args = &arg, .n_args = 1}, &counts[i], reterr));
    }
    int64_t n_inside = 0;
    for (int i = 0; i < N_TASKS; i++) {
        sk_bytes value;
        SK_TRY(sk_get(rt, counts[i], PATIENCE_MS, &value, reterr));
        n_inside += *(const int64_t *)value.data;
        sk_release(rt, &counts[i]); /* now `value` is gone */
    }
    *ret_pi = 4.0 * (double)n_inside / ((double)N_TASKS * N_POINTS);
    return SK_OK;
}

int main(int argc, char **argv) {
    /* The runtime starts this very program again as its worker processes. */
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return sk_worker_main(argc - 2, argv + 2, modules, SK_COUNT(modules));

    /* ---- create ---- */
    sk_runtime_params params = {.modules = modules, .n_modules = SK_COUNT(modules), .worker_has_modules = true};
    sk_runtime       *rt = NULL;
    sk_error          err = {0};
    sk_status         status = sk_runtime_create(&params, &rt, &err);

    /* ---- run ---- */
    double pi = 0.0;
    if (status == SK_OK) status = run(rt, &pi, &err);

    /* ---- report ---- */
    if (status == SK_OK)
        printf("%d tasks of %d points: pi is about %.4f\n", N_TASKS, N_POINTS, pi);
    else
        fprintf(stderr, "%s\n", err.msg);

    /* ---- destroy: what a failure left behind goes with it ---- */
    sk_runtime_destroy(&rt);
    return status == SK_OK ? 0 : 1;
}
