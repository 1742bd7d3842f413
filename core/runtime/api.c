/* skiff.h: each function goes to the driver's side (program.c) or to a worker's (client.c). */
#include "core/base/clock.h"
#include "core/runtime/host.h"
#include "core/runtime/program.h"
#include <stdlib.h>

static _Thread_local sk_runtime *current;

sk_runtime *sk_runtime_current(void) { return current; }

sk_runtime *sk__set_current(sk_runtime *rt) {
    sk_runtime *before = current;
    current = rt;
    return before;
}

sk_status sk_runtime_create(const sk_runtime_params *params, sk_runtime **ret_rt, sk_error *reterr) {
    SK_ASSERT(params && ret_rt && (params->modules || params->n_modules == 0) &&
              (params->plugins || params->n_plugins == 0));
    sk_runtime *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a runtime");
    sk_status status = sk__driver_create(self, params, reterr);
    if (status != SK_OK) {
        free(self);
        return status;
    }
    *ret_rt = self;
    return SK_OK;
}

void sk_runtime_destroy(sk_runtime **self_p) {
    if (!self_p || !*self_p) return;
    sk_runtime *self = *self_p;
    SK_ASSERT(self->driver); /* a worker's is not the caller's to end */
    *self_p = NULL;
    if (sk__driver_destroy(self->driver)) free(self);
}

sk_status sk_runtime_timeline(sk_runtime *rt, const char *path, sk_error *reterr) {
    SK_ASSERT(rt && path);
    if (!rt->driver) return SK_FAIL(reterr, SK_EUNSUPPORTED, "the timeline is the driver's: a worker cannot write it");
    return sk__program_timeline(rt->driver, path, reterr);
}

const char *sk_runtime_endpoint(sk_runtime *rt) {
    SK_ASSERT(rt);
    return rt->driver ? sk__hosts_endpoint(rt->driver) : "";
}

sk_status sk_runtime_wait_hosts(sk_runtime *rt, int n, int timeout_ms, int *ret_n, sk_error *reterr) {
    SK_ASSERT(rt && n >= 0 && timeout_ms >= 0);
    if (!rt->driver) return SK_FAIL(reterr, SK_EUNSUPPORTED, "hosts join the driver: a worker cannot wait for them");
    return sk__program_wait_hosts(rt->driver, n, timeout_ms, ret_n, reterr);
}

sk_status sk__store_alloc(sk_runtime *rt, size_t size, sk_extent *ret_extent, void **ret_data, sk_error *reterr) {
    return rt->driver ? sk__program_store_alloc(rt->driver, size, ret_extent, ret_data, reterr)
                      : sk__client_store_alloc(rt->client, size, ret_extent, ret_data, reterr);
}

void sk__store_free(sk_runtime *rt, sk_extent extent) {
    if (rt->driver) sk__program_store_free(rt->driver, extent);
    else sk__client_store_free(rt->client, extent);
}

/* ---- objects --------------------------------------------------------------------------------------------- */
sk_status sk_put(sk_runtime *rt, const void *data, size_t size, sk_ref *ret_ref, sk_error *reterr) {
    SK_ASSERT(rt && ret_ref && (data || size == 0));
    return rt->driver ? sk__program_put(rt->driver, data, size, ret_ref, reterr)
                      : sk__client_put(rt->client, data, size, ret_ref, reterr);
}

sk_status sk_put_begin(sk_runtime *rt, size_t size, sk_ref *ret_ref, void **ret_data, sk_error *reterr) {
    SK_ASSERT(rt && ret_ref && ret_data);
    return rt->driver ? sk__program_put_begin(rt->driver, size, ret_ref, ret_data, reterr)
                      : sk__client_put_begin(rt->client, size, ret_ref, ret_data, reterr);
}

sk_status sk_put_end(sk_runtime *rt, sk_ref ref, sk_error *reterr) {
    SK_ASSERT(rt);
    return rt->driver ? sk__program_put_end(rt->driver, ref, reterr) : sk__client_put_end(rt->client, ref, reterr);
}

sk_status sk_get(sk_runtime *rt, sk_ref ref, int timeout_ms, sk_bytes *ret_value, sk_error *reterr) {
    SK_ASSERT(rt && timeout_ms >= 0);
    return rt->driver ? sk__program_get(rt->driver, ref, timeout_ms, ret_value, reterr)
                      : sk__client_get(rt->client, ref, timeout_ms, ret_value, reterr);
}

sk_status sk_get_all(sk_runtime *rt, const sk_ref *refs, int n, int timeout_ms, sk_error *reterr) {
    SK_ASSERT(rt && n >= 0 && (refs || n == 0) && timeout_ms >= 0);
    return rt->driver ? sk__program_get_all(rt->driver, refs, n, timeout_ms, reterr)
                      : sk__client_get_all(rt->client, refs, n, timeout_ms, reterr);
}

sk_status sk_wait(sk_runtime *rt, const sk_ref *refs, int n, int n_wanted, int timeout_ms, uint8_t *ret_ended,
                  int *ret_n_ended, sk_error *reterr) {
    SK_ASSERT(rt && n >= 0 && n_wanted >= 0 && n_wanted <= n && ((refs && ret_ended) || n == 0) && ret_n_ended &&
              timeout_ms >= 0);
    return rt->driver ? sk__program_wait(rt->driver, refs, n, n_wanted, timeout_ms, ret_ended, ret_n_ended, reterr)
                      : sk__client_wait(rt->client, refs, n, n_wanted, timeout_ms, ret_ended, ret_n_ended, reterr);
}

void sk_acquire(sk_runtime *rt, sk_ref ref) {
    SK_ASSERT(rt);
    if (rt->driver) sk__program_acquire(rt->driver, ref);
    else sk__client_acquire(rt->client, ref);
}

void sk_release(sk_runtime *rt, sk_ref *ref) {
    SK_ASSERT(rt && ref);
    if (ref->id == 0) return;
    if (rt->driver) sk__program_release(rt->driver, ref);
    else sk__client_release(rt->client, ref);
}

void sk_cancel(sk_runtime *rt, sk_ref ref, sk_cancel_how how) {
    SK_ASSERT(rt);
    if (rt->driver) sk__program_cancel(rt->driver, ref, how);
    else sk__client_cancel(rt->client, ref, how);
}

/* ---- tasks and actors ------------------------------------------------------------------------------------ */
sk_status sk_submit(sk_runtime *rt, const sk_task *task, sk_ref *ret_refs, sk_error *reterr) {
    SK_ASSERT(rt && task && task->function && ret_refs && (task->args || task->n_args == 0));
    return rt->driver ? sk__program_submit(rt->driver, task, ret_refs, reterr)
                      : sk__client_submit(rt->client, task, ret_refs, reterr);
}

sk_status sk_actor_create(sk_runtime *rt, const sk_actor_params *params, sk_actor *ret_actor, sk_error *reterr) {
    SK_ASSERT(rt && params && params->class_name && ret_actor && (params->args || params->n_args == 0));
    return rt->driver ? sk__program_actor_create(rt->driver, params, ret_actor, reterr)
                      : sk__client_actor_create(rt->client, params, ret_actor, reterr);
}

sk_status sk_actor_wait(sk_runtime *rt, sk_actor actor, int timeout_ms, sk_error *reterr) {
    SK_ASSERT(rt && timeout_ms >= 0);
    return rt->driver ? sk__program_actor_wait(rt->driver, actor, timeout_ms, reterr)
                      : sk__client_actor_wait(rt->client, actor, timeout_ms, reterr);
}

sk_status sk_actor_find(sk_runtime *rt, const char *name, sk_actor *ret_actor, sk_error *reterr) {
    SK_ASSERT(rt && name && ret_actor);
    return rt->driver ? sk__program_actor_find(rt->driver, name, ret_actor, reterr)
                      : sk__client_actor_find(rt->client, name, ret_actor, reterr);
}

sk_status sk_actor_call(sk_runtime *rt, sk_actor actor, const sk_method *method, sk_ref *ret_refs, sk_error *reterr) {
    SK_ASSERT(rt && method && ret_refs && (method->args || method->n_args == 0));
    return rt->driver ? sk__program_actor_call(rt->driver, actor, method, ret_refs, reterr)
                      : sk__client_actor_call(rt->client, actor, method, ret_refs, reterr);
}

sk_status sk_actor_check(sk_runtime *rt, sk_actor actor, int *ret_pid, sk_error *reterr) {
    SK_ASSERT(rt);
    return rt->driver ? sk__program_actor_check(rt->driver, actor, ret_pid, reterr)
                      : sk__client_actor_check(rt->client, actor, ret_pid, reterr);
}

void sk_actor_stop(sk_runtime *rt, sk_actor actor) {
    SK_ASSERT(rt);
    if (rt->driver) sk__program_actor_stop(rt->driver, actor);
    else sk__client_actor_stop(rt->client, actor);
}

void sk_actor_join(sk_runtime *rt, const sk_actor *actors, int n, int timeout_ms) {
    SK_ASSERT(rt && n >= 0 && (actors || n == 0) && timeout_ms >= 0);
    if (rt->driver) sk__program_actor_join(rt->driver, actors, n, timeout_ms);
    else sk__client_actor_join(rt->client, actors, n, timeout_ms);
}

void sk_actor_kill(sk_runtime *rt, sk_actor actor, sk_kill_how how) {
    SK_ASSERT(rt);
    if (rt->driver) sk__program_actor_kill(rt->driver, actor, how);
    else sk__client_actor_kill(rt->client, actor, how);
}

/* ---- groups ---------------------------------------------------------------------------------------------- */
sk_status sk_group_create(sk_runtime *rt, const sk_bundle *bundles, int n, sk_strategy strategy, sk_group *ret_group,
                          sk_error *reterr) {
    SK_ASSERT(rt && (bundles || n <= 0) && ret_group);
    return rt->driver ? sk__program_group_create(rt->driver, bundles, n, strategy, ret_group, reterr)
                      : sk__client_group_create(rt->client, bundles, n, strategy, ret_group, reterr);
}

sk_status sk_group_wait(sk_runtime *rt, sk_group group, int timeout_ms, sk_error *reterr) {
    SK_ASSERT(rt && timeout_ms >= 0);
    return rt->driver ? sk__program_group_wait(rt->driver, group, timeout_ms, reterr)
                      : sk__client_group_wait(rt->client, group, timeout_ms, reterr);
}

void sk_group_destroy(sk_runtime *rt, sk_group *group) {
    SK_ASSERT(rt && group);
    if (group->id == 0) return;
    if (rt->driver) sk__program_group_destroy(rt->driver, group);
    else sk__client_group_destroy(rt->client, group);
}
