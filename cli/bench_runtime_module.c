/* bench_runtime_module: what `skiff bench runtime` lets its workers do, which is as little as can be. */
#include "cli/bench_runtime.h"
#include "cli/modules.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The answer of every row: two bytes. */
static sk_status small(sk_call *call, sk_error *reterr) { return sk_call_write(call, 0, "ok", 2, reterr); }

/* Where it runs, so that its memory can be looked at. */
static sk_status pid(sk_call *call, sk_error *reterr) {
    int32_t own = (int32_t)getpid();
    return sk_call_write(call, 0, &own, sizeof own, reterr);
}

/* Call actors from inside of a task, all calls in flight at once, and wait for all answers. */
static sk_status caller(sk_call *call, sk_error *reterr) {
    sk_bench_caller_args args;
    sk_bytes             bytes = sk_call_arg(call, 0);
    if (bytes.size != sizeof args)
        return SK_FAIL(reterr, SK_EINVAL, "argument of %zu bytes, wanted %zu", bytes.size, sizeof args);
    memcpy(&args, bytes.data, sizeof args);
    if (args.n_calls < 1) return SK_FAIL(reterr, SK_EINVAL, "%d calls, wanted at least 1", args.n_calls);

    sk_runtime *rt = sk_runtime_current();
    sk_ref     *refs = calloc((size_t)args.n_calls, sizeof *refs);
    if (!refs) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d references", args.n_calls);
    sk_method method = {.method = 0};
    sk_status status = SK_OK;
    for (int i = 0; i < args.n_calls && status == SK_OK; i++)
        status = sk_actor_call(rt, args.actors[i % SK_BENCH_RT_ACTORS], &method, &refs[i], reterr);
    if (status == SK_OK) status = sk_get_all(rt, refs, args.n_calls, SK_BENCH_RT_TIMEOUT_MS, reterr);
    for (int i = 0; i < args.n_calls; i++) sk_release(rt, &refs[i]);
    free(refs);
    return status == SK_OK ? small(call, reterr) : status;
}

/* An actor that has nothing but a count of its calls. */
typedef struct counter {
    int64_t n_calls;
} counter;

static sk_status counter_create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)call;
    *ret_self = calloc(1, sizeof(counter));
    return *ret_self ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "no memory for an actor");
}

static sk_status counter_call(void *self, int method, sk_call *call, sk_error *reterr) {
    (void)method;
    ((counter *)self)->n_calls++;
    return small(call, reterr);
}

static const char *const    methods[] = {"small"};
static const sk_actor_class actor = {.name = "bench.actor",
                                     .methods = methods,
                                     .n_methods = SK_COUNT(methods),
                                     .create = counter_create,
                                     .call = counter_call,
                                     .destroy = free};

static const sk_task_def           tasks[] = {{"bench.small", small}, {"bench.pid", pid}, {"bench.caller", caller}};
static const sk_actor_class *const classes[] = {&actor};

const sk_module sk_bench_runtime_module = {.abi = SK_MODULE_ABI,
                                           .struct_size = sizeof(sk_module),
                                           .name = "bench",
                                           .tasks = tasks,
                                           .n_tasks = SK_COUNT(tasks),
                                           .classes = classes,
                                           .n_classes = SK_COUNT(classes)};
