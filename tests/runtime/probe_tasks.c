#include "tests/runtime/probe_module.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000 };

/* ---- alone --------------------------------------------------------------------------------------------------------- */
/* bytes -> the same */
static sk_status run_echo(sk_call *call, sk_error *reterr) {
    sk_bytes in = sk_call_arg(call, 0);
    return sk_call_write(call, 0, in.data, in.size, reterr);
}

/* any number of int64_t -> their sum */
static sk_status run_add(sk_call *call, sk_error *reterr) {
    int64_t sum = 0;
    for (int i = 0; i < sk_call_n_args(call); i++) sum += probe_long(sk_call_arg(call, i));
    return sk_call_write(call, 0, &sum, sizeof sum, reterr);
}

/* text -> fails with SK_EENV and that text */
static sk_status run_fail(sk_call *call, sk_error *reterr) {
    sk_bytes in = sk_call_arg(call, 0);
    return SK_FAIL(reterr, SK_EENV, "%.*s", (int)in.size, (const char *)in.data);
}

/* int32_t ms[, anything] -> the same, later */
static sk_status run_sleep(sk_call *call, sk_error *reterr) {
    int32_t ms = probe_int(sk_call_arg(call, 0));
    probe_sleep_ms(ms);
    return sk_call_write(call, 0, &ms, sizeof ms, reterr);
}

/* int32_t status: ends its process */
static sk_status run_exit(sk_call *call, sk_error *reterr) {
    (void)reterr;
    _exit(probe_int(sk_call_arg(call, 0)));
}

/* int32_t signal: to its own process */
static sk_status run_raise(sk_call *call, sk_error *reterr) {
    int32_t number = probe_int(sk_call_arg(call, 0));
    kill(getpid(), number);
    return sk_call_write(call, 0, &number, sizeof number, reterr);
}

/* int64_t n[, anything] -> n bytes of probe_fill, made in place */
static sk_status run_big(sk_call *call, sk_error *reterr) {
    int64_t n = probe_long(sk_call_arg(call, 0));
    void   *data = NULL;
    SK_TRY(sk_call_alloc(call, 0, (size_t)n, &data, reterr));
    if ((uintptr_t)data % 64 != 0) return SK_FAIL(reterr, SK_EINVAL, "memory at %p is not aligned", data);
    probe_fill(data, (size_t)n);
    return SK_OK;
}

/* int32_t k -> k returns: i, with i * 1,000 bytes behind it */
static sk_status run_many(sk_call *call, sk_error *reterr) {
    int32_t k = probe_int(sk_call_arg(call, 0));
    uint8_t behind[1000] = {0};
    for (int32_t i = 0; i < k; i++) {
        SK_TRY(sk_call_write(call, i, &i, sizeof i, reterr));
        for (int32_t j = 0; j < i; j++) SK_TRY(sk_call_write(call, i, behind, sizeof behind, reterr));
    }
    return SK_OK;
}

/* flaky_order -> int32_t: which run this was, from 1 */
static sk_status run_flaky(sk_call *call, sk_error *reterr) {
    flaky_order order;
    struct stat st;
    SK_ASSERT(sk_call_arg(call, 0).size == sizeof order);
    memcpy(&order, sk_call_arg(call, 0).data, sizeof order);
    int fd = open(order.path, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return SK_FAIL(reterr, SK_EIO, "%s", order.path);
    bool ok = write(fd, "x", 1) == 1 && fstat(fd, &st) == 0;
    close(fd);
    if (!ok) return SK_FAIL(reterr, SK_EIO, "%s", order.path);
    int32_t run = (int32_t)st.st_size;
    if (run <= order.n && order.how == FLAKY_EXITS) _exit(9);
    if (run <= order.n) return SK_FAIL(reterr, SK_EENV, "run %d goes wrong", run);
    return sk_call_write(call, 0, &run, sizeof run, reterr);
}

/* path -> makes that file, then loops until it is cancelled; adds a byte to the file then */
static sk_status run_cancellable(sk_call *call, sk_error *reterr) {
    char     path[256];
    sk_bytes in = sk_call_arg(call, 0);
    snprintf(path, sizeof path, "%.*s", (int)in.size, (const char *)in.data);
    int fd = open(path, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return SK_FAIL(reterr, SK_EIO, "%s", path);
    for (int i = 0; i < PATIENCE_MS && !sk_call_cancelled(call); i++) probe_sleep_ms(1);
    bool ok = write(fd, "x", 1) == 1;
    close(fd);
    if (!ok) return SK_FAIL(reterr, SK_EIO, "%s", path);
    return SK_FAIL(reterr, SK_ECANCELED, "saw it");
}

/* -> int32_t: its process */
static sk_status run_pid(sk_call *call, sk_error *reterr) {
    int32_t pid = getpid();
    return sk_call_write(call, 0, &pid, sizeof pid, reterr);
}

/* any -> per argument a uint64_t: the sum of its bytes */
static sk_status run_sum(sk_call *call, sk_error *reterr) {
    for (int i = 0; i < sk_call_n_args(call); i++) {
        uint64_t sum = probe_sum(sk_call_arg(call, i));
        SK_TRY(sk_call_write(call, 0, &sum, sizeof sum, reterr));
    }
    return SK_OK;
}

/* bytes, int32_t n -> n returns, all the same as those */
static sk_status run_copies(sk_call *call, sk_error *reterr) {
    sk_bytes in = sk_call_arg(call, 0);
    for (int32_t i = 0; i < probe_int(sk_call_arg(call, 1)); i++) SK_TRY(sk_call_write(call, i, in.data, in.size, reterr));
    return SK_OK;
}

/* ---- with others ----------------------------------------------------------------------------------------------- */
static sk_status submit_long(const char *function, int64_t n, sk_ref *ret_ref, sk_error *reterr) {
    sk_arg  arg = sk_by_value(&n, sizeof n);
    sk_task task = {.function = function, .args = &arg, .n_args = 1};
    return sk_submit(sk_runtime_current(), &task, ret_ref, reterr);
}

/* Wait, copy the int64_t, release. */
static sk_status take_long(sk_ref *ref, int64_t *ret_value, sk_error *reterr) {
    sk_bytes  value = {0};
    sk_status status = sk_get(sk_runtime_current(), *ref, PATIENCE_MS, &value, reterr);
    if (status == SK_OK) *ret_value = probe_long(value);
    sk_release(sk_runtime_current(), ref);
    return status;
}

/* int64_t n -> the n-th Fibonacci number, by two tasks */
static sk_status run_fib(sk_call *call, sk_error *reterr) {
    int64_t n = probe_long(sk_call_arg(call, 0)), a = n, b = 0;
    if (n >= 2) {
        sk_ref refs[2] = {{0}, {0}};
        SK_TRY(submit_long("probe.fib", n - 1, &refs[0], reterr));
        sk_status status = submit_long("probe.fib", n - 2, &refs[1], reterr);
        if (status == SK_OK) status = take_long(&refs[0], &a, reterr);
        if (status == SK_OK) status = take_long(&refs[1], &b, reterr);
        sk_release(sk_runtime_current(), &refs[0]);
        sk_release(sk_runtime_current(), &refs[1]);
        SK_TRY(status);
    }
    a += b;
    return sk_call_write(call, 0, &a, sizeof a, reterr);
}

/* text -> what probe.fail made of it, one level up */
static sk_status run_fail_below(sk_call *call, sk_error *reterr) {
    sk_bytes in = sk_call_arg(call, 0);
    sk_arg   arg = sk_by_value(in.data, in.size);
    sk_task  task = {.function = "probe.fail", .args = &arg, .n_args = 1};
    sk_ref   ref = {0};
    SK_TRY(sk_submit(sk_runtime_current(), &task, &ref, reterr));
    sk_status status = sk_get(sk_runtime_current(), ref, PATIENCE_MS, NULL, reterr);
    sk_release(sk_runtime_current(), &ref);
    return status;
}

/* path -> int32_t: the status of a probe.cancellable that it starts and cancels */
static sk_status run_cancel_below(sk_call *call, sk_error *reterr) {
    sk_bytes in = sk_call_arg(call, 0);
    sk_arg   arg = sk_by_value(in.data, in.size);
    sk_task  task = {.function = "probe.cancellable", .args = &arg, .n_args = 1};
    sk_ref   ref = {0};
    SK_TRY(sk_submit(sk_runtime_current(), &task, &ref, reterr));
    if (sk_get(sk_runtime_current(), ref, 30, NULL, NULL) != SK_ETIMEOUT)
        return SK_FAIL(reterr, SK_EINVAL, "it ended by itself");
    sk_cancel(sk_runtime_current(), ref, SK_CANCEL_ASK);
    int32_t status = sk_get(sk_runtime_current(), ref, PATIENCE_MS, NULL, NULL);
    sk_release(sk_runtime_current(), &ref);
    return sk_call_write(call, 0, &status, sizeof status, reterr);
}

/* int64_t width -> the sum of so many tasks, taken as they come */
static sk_status run_spread(sk_call *call, sk_error *reterr) {
    enum { MOST = 256 };
    int64_t   width = probe_long(sk_call_arg(call, 0)), sum = 0, value = 0;
    sk_ref    refs[MOST] = {{0}};
    uint8_t   ended[MOST];
    int       n_ended = 0;
    sk_status status = SK_OK;
    SK_ASSERT(width <= MOST);
    for (int64_t i = 0; i < width && status == SK_OK; i++) status = submit_long("probe.add", i, &refs[i], reterr);
    for (int n = 1; n <= width && status == SK_OK; n *= 2)
        status = sk_wait(sk_runtime_current(), refs, (int)width, n, PATIENCE_MS, ended, &n_ended, reterr);
    if (status == SK_OK) status = sk_get_all(sk_runtime_current(), refs, (int)width, PATIENCE_MS, reterr);
    for (int64_t i = 0; i < width; i++) {
        if (status == SK_OK) status = take_long(&refs[i], &value, reterr);
        if (status == SK_OK) sum += value;
        sk_release(sk_runtime_current(), &refs[i]);
    }
    SK_TRY(status);
    return sk_call_write(call, 0, &sum, sizeof sum, reterr);
}

/* int64_t n -> the same, after so many tasks of 10 ms on hosts that have joined */
static sk_status run_flood(sk_call *call, sk_error *reterr) {
    enum { MOST = 1024 };
    static const int32_t ms = 10;
    sk_runtime *rt = sk_runtime_current();
    int64_t     n = probe_long(sk_call_arg(call, 0));
    sk_arg      arg = sk_by_value(&ms, sizeof ms);
    sk_task     task = {.function = "probe.sleep", .args = &arg, .n_args = 1, .placement = SK_PLACE_REMOTE};
    sk_ref      refs[MOST] = {{0}};
    sk_status   status = SK_OK;
    SK_ASSERT(n <= MOST);
    for (int64_t i = 0; i < n && status == SK_OK; i++) status = sk_submit(rt, &task, &refs[i], reterr);
    if (status == SK_OK) status = sk_get_all(rt, refs, (int)n, PATIENCE_MS, reterr);
    for (int64_t i = 0; i < n; i++) sk_release(rt, &refs[i]);
    SK_TRY(status);
    return sk_call_write(call, 0, &n, sizeof n, reterr);
}

/* int64_t size -> int64_t: the sum of the bytes of an object that it put and another task read */
static sk_status run_put(sk_call *call, sk_error *reterr) {
    sk_runtime *rt = sk_runtime_current();
    int64_t     size = probe_long(sk_call_arg(call, 0)), sum = 0;
    void       *data = NULL;
    sk_ref      big = {0}, ref = {0};
    sk_bytes    value = {0};
    SK_TRY(sk_put_begin(rt, (size_t)size, &big, &data, reterr));
    probe_fill(data, (size_t)size);
    sk_status status = sk_put_end(rt, big, reterr);
    if (status == SK_OK) status = sk_get(rt, big, PATIENCE_MS, &value, reterr);
    if (status == SK_OK && (value.size != (size_t)size || !probe_is_filled(value)))
        status = SK_FAIL(reterr, SK_ECORRUPT, "got %zu other bytes back", value.size);
    sk_arg  arg = sk_by_ref(big);
    sk_task task = {.function = "probe.sum", .args = &arg, .n_args = 1};
    if (status == SK_OK) status = sk_submit(rt, &task, &ref, reterr);
    sk_release(rt, &big);
    if (status == SK_OK) status = take_long(&ref, &sum, reterr);
    SK_TRY(status);
    return sk_call_write(call, 0, &sum, sizeof sum, reterr);
}

/* sk_ref as data -> uint64_t: the sum of its bytes */
static sk_status run_read_ref(sk_call *call, sk_error *reterr) {
    sk_ref   ref;
    sk_bytes value = {0};
    uint64_t sum = 0;
    SK_ASSERT(sk_call_arg(call, 0).size == sizeof ref);
    memcpy(&ref, sk_call_arg(call, 0).data, sizeof ref);
    sk_acquire(sk_runtime_current(), ref);
    sk_status status = sk_get(sk_runtime_current(), ref, PATIENCE_MS, &value, reterr);
    if (status == SK_OK) sum = probe_sum(value);
    sk_release(sk_runtime_current(), &ref);
    SK_TRY(status);
    return sk_call_write(call, 0, &sum, sizeof sum, reterr);
}

/* bytes, int32_t n -> uint64_t: their sum, by a task that has them n times as an argument */
static sk_status run_sum_below(sk_call *call, sk_error *reterr) {
    enum { MOST = 256 };
    sk_bytes in = sk_call_arg(call, 0), value = {0};
    int32_t  n = probe_int(sk_call_arg(call, 1));
    sk_arg   args[MOST];
    sk_ref   ref = {0};
    uint64_t sum = 0, one;
    SK_ASSERT(n <= MOST);
    for (int32_t i = 0; i < n; i++) args[i] = sk_by_value(in.data, in.size);
    sk_task task = {.function = "probe.sum", .args = args, .n_args = n};
    SK_TRY(sk_submit(sk_runtime_current(), &task, &ref, reterr));
    sk_status status = sk_get(sk_runtime_current(), ref, PATIENCE_MS, &value, reterr);
    for (size_t at = 0; status == SK_OK && at < value.size; at += sizeof one) {
        memcpy(&one, (const uint8_t *)value.data + at, sizeof one);
        sum += one;
    }
    sk_release(sk_runtime_current(), &ref);
    SK_TRY(status);
    return sk_call_write(call, 0, &sum, sizeof sum, reterr);
}

/* ---- with actors ------------------------------------------------------------------------------------------------- */
static sk_status add_many(sk_actor actor, int64_t n, int64_t *ret_total, sk_error *reterr) {
    int64_t   one = 1;
    sk_arg    arg = sk_by_value(&one, sizeof one);
    sk_method method = {.method = COUNTER_ADD, .args = &arg, .n_args = 1};
    sk_status status = SK_OK;
    sk_ref   *refs = calloc((size_t)n, sizeof *refs);
    if (!refs) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %lld references", (long long)n);
    for (int64_t i = 0; i < n && status == SK_OK; i++)
        status = sk_actor_call(sk_runtime_current(), actor, &method, &refs[i], reterr);
    for (int64_t i = 0, before = 0; i < n; i++) {
        if (status == SK_OK) status = take_long(&refs[i], ret_total, reterr);
        if (status == SK_OK && *ret_total <= before)
            status = SK_FAIL(reterr, SK_EINVAL, "%lld came after %lld", (long long)*ret_total, (long long)before);
        before = *ret_total;
        sk_release(sk_runtime_current(), &refs[i]);
    }
    free(refs);
    return status;
}

/* drive_order -> int64_t: the total after its last call; fails when the totals do not grow */
static sk_status run_drive(sk_call *call, sk_error *reterr) {
    drive_order order;
    int64_t     total = 0;
    SK_ASSERT(sk_call_arg(call, 0).size == sizeof order);
    memcpy(&order, sk_call_arg(call, 0).data, sizeof order);
    SK_TRY(add_many(order.actor, order.n, &total, reterr));
    return sk_call_write(call, 0, &total, sizeof total, reterr);
}

/* name -> sk_actor: a counter of that name, made here, found by its name, called once, and still alive */
static sk_status run_start(sk_call *call, sk_error *reterr) {
    char     name[64];
    sk_bytes in = sk_call_arg(call, 0);
    sk_actor made = {0}, found = {0};
    int64_t  total = 0;
    int      pid = 0;
    snprintf(name, sizeof name, "%.*s", (int)in.size, (const char *)in.data);
    sk_actor_params params = {.class_name = "counter", .name = name};
    SK_TRY(sk_actor_create(sk_runtime_current(), &params, &made, reterr));
    SK_TRY(sk_actor_wait(sk_runtime_current(), made, PATIENCE_MS, reterr));
    SK_TRY(sk_actor_find(sk_runtime_current(), name, &found, reterr));
    SK_TRY(sk_actor_check(sk_runtime_current(), found, &pid, reterr));
    if (found.id != made.id || pid <= 0) return SK_FAIL(reterr, SK_EINVAL, "found another one, process %d", pid);
    SK_TRY(add_many(found, 1, &total, reterr));
    return sk_call_write(call, 0, &made, sizeof made, reterr);
}

/* sk_actor -> int32_t: its status after it was stopped here and waited for */
static sk_status run_stop(sk_call *call, sk_error *reterr) {
    sk_actor actor;
    SK_ASSERT(sk_call_arg(call, 0).size == sizeof actor);
    memcpy(&actor, sk_call_arg(call, 0).data, sizeof actor);
    sk_actor_join(sk_runtime_current(), &actor, 1, PATIENCE_MS);
    int32_t status = sk_actor_check(sk_runtime_current(), actor, NULL, reterr);
    return sk_call_write(call, 0, &status, sizeof status, reterr);
}

/* -> int64_t: 7, made by a task in a placement group that lives as long as this one */
static sk_status run_group(sk_call *call, sk_error *reterr) {
    sk_runtime *rt = sk_runtime_current();
    sk_resource cpu = {"cpu", 1};
    sk_bundle   bundles[2] = {{&cpu, 1}, {&cpu, 1}};
    sk_group    group = {0};
    int64_t     seven = 7, got = 0;
    sk_arg      arg = sk_by_value(&seven, sizeof seven);
    sk_ref      ref = {0};
    SK_TRY(sk_group_create(rt, bundles, 2, SK_PACK, &group, reterr));
    sk_task   task = {.function = "probe.add", .args = &arg, .n_args = 1, .group = group, .bundle = 1};
    sk_status status = sk_group_wait(rt, group, PATIENCE_MS, reterr);
    if (status == SK_OK) status = sk_submit(rt, &task, &ref, reterr);
    if (status == SK_OK) status = take_long(&ref, &got, reterr);
    sk_group_destroy(rt, &group);
    SK_TRY(status);
    return sk_call_write(call, 0, &got, sizeof got, reterr);
}

const sk_task_def probe_tasks[] = {
    {"probe.echo", run_echo},         {"probe.add", run_add},
    {"probe.fail", run_fail},         {"probe.sleep", run_sleep},
    {"probe.exit", run_exit},         {"probe.raise", run_raise},
    {"probe.big", run_big},           {"probe.many", run_many},
    {"probe.flaky", run_flaky},       {"probe.cancellable", run_cancellable},
    {"probe.pid", run_pid},           {"probe.sum", run_sum},
    {"probe.fib", run_fib},           {"probe.fail_below", run_fail_below},
    {"probe.cancel_below", run_cancel_below}, {"probe.spread", run_spread},
    {"probe.put", run_put},           {"probe.read_ref", run_read_ref},
    {"probe.drive", run_drive},       {"probe.start", run_start},
    {"probe.stop", run_stop},         {"probe.group", run_group},
    {"probe.copies", run_copies},     {"probe.sum_below", run_sum_below},
    {"probe.flood", run_flood},
};
_Static_assert(SK_COUNT(probe_tasks) == PROBE_N_TASKS, "as probe_module.c has it");
