#include "core/runtime/program.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_NS INT64_C(10000000) /* looks for room in a full store this often */
#define ROOM_PATIENCE_NS INT64_C(10000000000) /* of who puts something into it */
#define KILL_MS 5000
#define FOR_EVER INT64_MAX

static sk_status no_object(sk_ref ref, sk_error *reterr) {
    return SK_FAIL(reterr, SK_ENOTFOUND, "there is no object %" PRIx64 " (any more)", ref.id);
}

/* With the lock: the store has no room; wait a moment for what runs to make some. False: nothing will, or it is too
 * late. */
static bool await_room(sk__driver *d, int64_t deadline_ns) {
    const sk__run *run = sk__run_current();
    int64_t        now_ns = sk_clock_now_ns();
    bool           interrupted = d->destroying || (d->params.interrupted && *d->params.interrupted);
    if (run) d->pool.n_starved++;
    bool may = !interrupted && now_ns < deadline_ns && sk__driver_may_make_room(d);
    if (may) sk__driver_wait_event(d, now_ns + ROOM_NS);
    if (run) d->pool.n_starved--;
    return may;
}

static sk_status alloc(sk__driver *d, size_t size, sk_extent *ret_extent, sk_error *reterr) {
    for (int64_t deadline_ns = 0;;) {
        sk_error  err = {0};
        sk_status status = sk__objects_alloc(d, size, ret_extent, &err);
        if (status == SK_OK) return SK_OK;
        if (deadline_ns == 0) deadline_ns = sk_clock_now_ns() + ROOM_PATIENCE_NS;
        bool fits = status == SK_ELIMIT && size <= sk_store_get_stats(d->store).bytes;
        if (fits && await_room(d, deadline_ns)) continue;
        if (reterr) *reterr = err;
        return status;
    }
}

/* ---- putting --------------------------------------------------------------------------------------------- */
sk_status sk__program_store_alloc(sk__driver *d, size_t size, sk_extent *ret_extent, void **ret_data,
                                  sk_error *reterr) {
    sk__driver_lock(d);
    sk_status status = alloc(d, size, ret_extent, reterr);
    if (status == SK_OK) *ret_data = (uint8_t *)sk_store_data(d->store) + ret_extent->offset;
    sk__driver_unlock(d);
    return status;
}

void sk__program_store_free(sk__driver *d, sk_extent extent) {
    sk__driver_lock(d);
    sk_store_free(d->store, extent);
    sk__driver_unlock(d);
}

/* Large: the copy is made without the lock. */
static sk_status put_large(sk__driver *d, const void *data, size_t size, sk_ref *ret_ref, sk_error *reterr) {
    void *to = NULL;
    SK_TRY(sk__program_put_begin(d, size, ret_ref, &to, reterr));
    memcpy(to, data, size);
    return sk__program_put_end(d, *ret_ref, reterr);
}

sk_status sk__program_put(sk__driver *d, const void *data, size_t size, sk_ref *ret_ref, sk_error *reterr) {
    if (size > SK_INLINE_MAX) return put_large(d, data, size, ret_ref, reterr);
    sk__driver_lock(d);
    sk__object *object = sk__object_create(d, 1);
    sk_status   status = object ? sk__object_fill(d, object, data, size, reterr)
                                : SK_FAIL(reterr, SK_ENOMEM, "no memory for an object");
    if (status == SK_OK) {
        object->state = SK__READY; /* nobody can wait for it yet */
        ret_ref->id = object->id;
    } else if (object) {
        object->n_program = 0;
        sk__object_settle(d, object);
    }
    sk__driver_leave(d);
    return status;
}

static sk_status begin(sk__driver *d, sk__object *object, size_t size, void **ret_data, sk_error *reterr) {
    if (size > SK_INLINE_MAX) {
        sk_extent extent;
        SK_TRY(alloc(d, size, &extent, reterr));
        sk__object_take_extent(d, object, extent);
    } else {
        object->at.heap = aligned_alloc(64, (size + 64) / 64 * 64);
        if (!object->at.heap) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an object of %zu bytes", size);
        object->place = SK__IN_HEAP;
        object->size = size;
        d->n.object_bytes += size;
    }
    object->state = SK__FILLING;
    *ret_data = (void *)(uintptr_t)sk__object_bytes(d, object).data;
    return SK_OK;
}

sk_status sk__program_put_begin(sk__driver *d, size_t size, sk_ref *ret_ref, void **ret_data, sk_error *reterr) {
    sk__driver_lock(d);
    sk__object *object = sk__object_create(d, 1);
    sk_status   status =
        object ? begin(d, object, size, ret_data, reterr) : SK_FAIL(reterr, SK_ENOMEM, "no memory for an object");
    if (status == SK_OK) {
        ret_ref->id = object->id;
    } else if (object) {
        object->n_program = 0;
        sk__object_settle(d, object);
    }
    sk__driver_unlock(d);
    return status;
}

sk_status sk__program_put_end(sk__driver *d, sk_ref ref, sk_error *reterr) {
    sk_status status = SK_OK;
    sk__driver_lock(d);
    sk__object *object = sk__object_find(d, ref.id);
    if (!object) status = no_object(ref, reterr);
    else if (object->state != SK__FILLING)
        status = SK_FAIL(reterr, SK_EINVAL, "object %" PRIx64 " is not being filled", ref.id);
    else sk__object_announce(d, object);
    sk__driver_leave(d);
    return status;
}

/* ---- getting --------------------------------------------------------------------------------------------- */
static bool has_ended(const sk__object *object) {
    return !object || object->state == SK__READY || object->state == SK__FAILED;
}

/* {0} names nothing and never ends; what is gone has. */
static bool ref_has_ended(sk__driver *d, sk_ref ref) { return ref.id && has_ended(sk__object_find(d, ref.id)); }

static bool one_has_ended(sk__driver *d, void *arg) { return has_ended(sk__object_find(d, *(const uint64_t *)arg)); }

/* What a wait that ended without its object says. */
static sk_status tell_wait(sk__driver *d, sk_status status, uint64_t id, int timeout_ms, sk_error *reterr) {
    const sk__object *object = sk__object_find(d, id);
    const sk__job    *job = object ? object->maker : NULL;
    const char       *name = job ? sk__job_name(job) : "an object";
    const char       *method = job && job->kind == SK__METHOD ? job->function->cls->methods[job->method] : NULL;
    if (status == SK_ETIMEOUT && method)
        return SK_FAIL(reterr, status, "%s: no answer to %s within %d ms", name, method, timeout_ms);
    if (status == SK_ETIMEOUT) return SK_FAIL(reterr, status, "%s: no value within %d ms", name, timeout_ms);
    return SK_FAIL(reterr, status, "%s: interrupted while waiting for %s", name, method ? method : "its value");
}

/* With the lock: until it has a value that can be read. */
static sk_status get_value(sk__driver *d, uint64_t id, int timeout_ms, sk__object **ret_object, sk_error *reterr) {
    int64_t deadline_ns = one_has_ended(d, &id) ? 0 : sk__deadline_ns(timeout_ms); /* most are there already */
    for (;;) {
        sk_status status = sk__driver_wait(d, one_has_ended, &id, deadline_ns, "sk_get", id);
        if (status != SK_OK) return tell_wait(d, status, id, timeout_ms, reterr);
        sk__object *object = sk__object_find(d, id);
        if (!object) return no_object((sk_ref){id}, reterr);
        if (object->state == SK__FAILED) return sk__failure_tell(object->failure, reterr);
        status = sk__object_load(d, object, reterr);
        if (status == SK_OK && object->state == SK__READY) {
            *ret_object = object;
            return SK_OK;
        }
        if (deadline_ns == 0) deadline_ns = sk__deadline_ns(timeout_ms);
        if (status == SK_OK) continue; /* it is made again, or lost */
        if (!await_room(d, deadline_ns)) return status;
    }
}

sk_status sk__program_get(sk__driver *d, sk_ref ref, int timeout_ms, sk_bytes *ret_value, sk_error *reterr) {
    sk__object *object = NULL;
    sk__driver_lock(d);
    sk_status status = get_value(d, ref.id, timeout_ms, &object, reterr);
    if (status == SK_OK && ret_value) {
        if (object->place == SK__IN_STORE && !object->program_pins) {
            object->program_pins = true;
            sk__object_pin(d, object);
        }
        *ret_value = sk__object_bytes(d, object);
    }
    sk__driver_leave(d);
    return status;
}

typedef struct many {
    const sk_ref *refs;
    int           n, at, failed; /* all before `at` have values */
    uint64_t      seen;          /* failures known so far */
} many;

static bool all_have_values_or_one_failed(sk__driver *d, void *arg) {
    many *all = arg;
    bool  look_at_all = all->seen != d->n_failures_seen;
    all->seen = d->n_failures_seen;
    bool in_row = true; /* so far */
    for (int i = all->at; i < all->n && (in_row || look_at_all); i++) {
        const sk__object *object = sk__object_find(d, all->refs[i].id);
        if (!object || object->state == SK__FAILED) {
            all->failed = i;
            return true;
        }
        in_row = in_row && object->state == SK__READY;
        if (in_row) all->at = i + 1;
    }
    return all->at == all->n;
}

sk_status sk__program_get_all(sk__driver *d, const sk_ref *refs, int n, int timeout_ms, sk_error *reterr) {
    many all = {.refs = refs, .n = n, .failed = -1, .seen = UINT64_MAX};
    sk__driver_lock(d);
    sk_status status = sk__driver_wait(d, all_have_values_or_one_failed, &all, sk__deadline_ns(timeout_ms),
                                       "sk_get_all", n > 0 ? refs[0].id : 0);
    if (status != SK_OK) {
        int n_open = 0;
        for (int i = all.at; i < n; i++) n_open += !has_ended(sk__object_find(d, refs[i].id));
        status = tell_wait(d, status, refs[all.at].id, timeout_ms, reterr);
        if (reterr && n > 1) {
            size_t used = strlen(reterr->msg);
            snprintf(reterr->msg + used, sizeof reterr->msg - used, " (%d of %d are open)", n_open, n);
        }
    } else if (all.failed >= 0) {
        const sk__object *object = sk__object_find(d, refs[all.failed].id);
        status = object ? sk__failure_tell(object->failure, reterr) : no_object(refs[all.failed], reterr);
    }
    sk__driver_leave(d);
    return status;
}

typedef struct some {
    const sk_ref *refs;
    int           n, n_wanted, n_ended;
} some;

static bool enough_have_ended(sk__driver *d, void *arg) {
    some *these = arg;
    these->n_ended = 0;
    for (int i = 0; i < these->n && these->n_ended < these->n_wanted; i++)
        these->n_ended += ref_has_ended(d, these->refs[i]);
    return these->n_ended >= these->n_wanted;
}

sk_status sk__program_wait(sk__driver *d, const sk_ref *refs, int n, int n_wanted, int timeout_ms, uint8_t *ret_ended,
                           int *ret_n_ended, sk_error *reterr) {
    some these = {.refs = refs, .n = n, .n_wanted = n_wanted};
    sk__driver_lock(d);
    sk_status status =
        sk__driver_wait(d, enough_have_ended, &these, sk__deadline_ns(timeout_ms), "sk_wait", n > 0 ? refs[0].id : 0);
    *ret_n_ended = 0;
    for (int i = 0; i < n; i++) {
        ret_ended[i] = ref_has_ended(d, refs[i]);
        *ret_n_ended += ret_ended[i];
    }
    if (status == SK_ETIMEOUT)
        status = SK_FAIL(reterr, status, "%d of %d references have ended within %d ms, wanted %d", *ret_n_ended, n,
                         timeout_ms, n_wanted);
    else if (status != SK_OK) status = SK_FAIL(reterr, status, "interrupted while waiting for %d references", n);
    sk__driver_leave(d);
    return status;
}

void sk__program_acquire(sk__driver *d, sk_ref ref) {
    sk__driver_lock(d);
    sk__object *object = sk__object_find(d, ref.id);
    if (object) object->n_program++;
    sk__driver_unlock(d);
}

void sk__program_release(sk__driver *d, sk_ref *ref) {
    sk__driver_lock(d);
    sk__object *object = sk__object_find(d, ref->id);
    ref->id = 0;
    if (object && object->n_program > 0 && --object->n_program == 0) {
        if (object->program_pins) {
            object->program_pins = false;
            sk__object_unpin(d, object);
        } else {
            sk__object_settle(d, object);
        }
    }
    sk__driver_leave(d);
}

void sk__program_cancel(sk__driver *d, sk_ref ref, sk_cancel_how how) {
    sk__driver_lock(d);
    sk__object *object = sk__object_find(d, ref.id);
    if (object && object->state == SK__PENDING && object->maker) sk__job_cancel(d, object->maker, how);
    sk__driver_leave(d);
}

/* ---- tasks and calls ------------------------------------------------------------------------------------- */
static bool has_room(sk__driver *d, void *arg) {
    (void)arg;
    return d->n_open < (int64_t)d->params.max_pending;
}

/* With the lock: back-pressure. */
static sk_status wait_for_room(sk__driver *d, sk_error *reterr) {
    if (has_room(d, NULL)) return SK_OK;
    sk_status status = sk__driver_wait(d, has_room, NULL, FOR_EVER, "sk_submit", 0);
    return status == SK_OK
               ? SK_OK
               : SK_FAIL(reterr, status, "interrupted while %zu tasks were pending", d->params.max_pending);
}

/* Arguments above SK_INLINE_MAX become objects; the others stay. Gives how many it made; `ret_args` is the caller's
 * `args` where there was none, else an array to be freed. */
static sk_status put_large_args(sk__driver *d, const sk_arg *args, int n, const sk_arg **ret_args, int *ret_n_made,
                                sk_error *reterr) {
    *ret_args = args;
    *ret_n_made = 0;
    int n_large = 0;
    for (int i = 0; i < n; i++) n_large += !args[i].ref.id && args[i].size > SK_INLINE_MAX;
    if (n_large == 0) return SK_OK;
    sk_arg *made = malloc((size_t)n * sizeof *made);
    if (!made) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d arguments", n);
    memcpy(made, args, (size_t)n * sizeof *made);
    *ret_args = made;
    for (int i = 0; i < n; i++) {
        if (args[i].ref.id || args[i].size <= SK_INLINE_MAX) continue;
        made[i] = (sk_arg){0};
        SK_TRY(put_large(d, args[i].data, args[i].size, &made[i].ref, reterr));
        ++*ret_n_made;
    }
    return SK_OK;
}

/* The job counts on them now, or nobody does. */
static void release_large_args(sk__driver *d, const sk_arg *args, int n, const sk_arg *made_args) {
    if (made_args == args) return;
    for (int i = 0; i < n; i++) {
        sk_ref ref = made_args[i].ref;
        if (!args[i].ref.id && ref.id) sk__program_release(d, &ref);
    }
    free((void *)(uintptr_t)made_args);
}

/* All references among the arguments have ended. */
static bool args_have_ended(sk__driver *d, void *arg) {
    (void)d;
    const sk__job *job = arg;
    return job->n_missing == 0 || job->state == SK__ENDED;
}

/* With the lock: run it here and now. */
static void run_inline(sk__driver *d, sk__job *job) {
    sk__kept_call *kept = d->kept_calls;
    if (kept) d->kept_calls = kept->next;
    else kept = calloc(1, sizeof *kept);
    job->n_users++; /* it may end while its arguments come */
    sk__pinned pinned = SK__PIN_LATER;
    while (kept && job->state != SK__ENDED && (pinned = sk__job_pin(d, job)) != SK__PINNED &&
           job->state != SK__ENDED) {
        int64_t until_ns = pinned == SK__PIN_LATER ? sk_clock_now_ns() + ROOM_NS : FOR_EVER;
        if (sk__driver_wait(d, args_have_ended, job, until_ns, "an inline run", job->first_return) == SK_EINTERRUPTED)
            sk__job_cancel(d, job, SK_CANCEL_ASK);
    }
    if (job->state != SK__ENDED && kept) {
        do { /* again, if its error is to be tried again */
            job->state = SK__RUNNING;
            d->n.n_running++;
            sk__run_job(d, job, &kept->call, -1);
        } while (job->state == SK__QUEUED && sk__job_pin(d, job) == SK__PINNED);
    } else if (job->state != SK__ENDED) {
        sk__job_fail(d, job, sk__failure_create(SK_ENOMEM, "%s: no memory to run it", sk__job_name(job)));
    }
    if (kept) {
        kept->next = d->kept_calls;
        d->kept_calls = kept;
    }
    sk__job_release(d, job);
}

sk_status sk__program_submit(sk__driver *d, const sk_task *given, sk_ref *ret_refs, sk_error *reterr) {
    sk_task   task = *given;
    sk__job  *job = NULL;
    int       n_made;
    sk_status status = put_large_args(d, given->args, given->n_args, &task.args, &n_made, reterr);
    if (status == SK_OK) {
        sk__driver_lock(d);
        status = wait_for_room(d, reterr);
        if (status == SK_OK) status = sk__submit_task(d, &task, NULL, (sk_bytes){0}, NULL, ret_refs, &job, reterr);
        if (status == SK_OK && task.placement == SK_PLACE_INLINE) run_inline(d, job);
        sk__driver_leave(d);
    }
    release_large_args(d, given->args, given->n_args, task.args);
    return status;
}

sk_status sk__program_actor_call(sk__driver *d, sk_actor actor, const sk_method *given, sk_ref *ret_refs,
                                 sk_error *reterr) {
    sk_method method = *given;
    sk__job  *job = NULL;
    int       n_made;
    sk_status status = put_large_args(d, given->args, given->n_args, &method.args, &n_made, reterr);
    if (status == SK_OK) {
        sk__driver_lock(d);
        status = wait_for_room(d, reterr);
        if (status == SK_OK)
            status = sk__submit_call(d, actor, &method, NULL, (sk_bytes){0}, NULL, ret_refs, &job, reterr);
        if (status == SK_OK && job->placement == SK_PLACE_INLINE) {
            if (job->actor->state == SK_ACTOR_ALIVE) run_inline(d, job);
            else sk__actor_push(d, job, false); /* which fails it: it is dead */
        }
        sk__driver_leave(d);
    }
    release_large_args(d, given->args, given->n_args, method.args);
    return status;
}

/* ---- actors ---------------------------------------------------------------------------------------------- */
/* An inline actor that has ended is destroyed by whoever ended it. With the lock, opens it. */
static void destroy_inline(sk__driver *d, sk__actor *actor) {
    if (actor->placement != SK_PLACE_INLINE || actor->state != SK_ACTOR_DEAD || !actor->self) return;
    void                 *self = actor->self;
    const sk_actor_class *cls = actor->function->cls;
    actor->self = NULL;
    sk__driver_unlock(d);
    cls->destroy(self);
    sk__driver_lock(d);
}

sk_status sk__program_actor_create(sk__driver *d, const sk_actor_params *given, sk_actor *ret_actor,
                                   sk_error *reterr) {
    sk_actor_params params = *given;
    sk__actor      *actor = NULL;
    int             n_made;
    sk_status       status = put_large_args(d, given->args, given->n_args, &params.args, &n_made, reterr);
    if (status == SK_OK) {
        sk__driver_lock(d);
        status = sk__actor_create(d, &params, NULL, (sk_bytes){0}, &actor, reterr);
        if (status == SK_OK && actor->placement == SK_PLACE_INLINE) {
            run_inline(d, actor->create);
            if (actor->state == SK_ACTOR_DEAD) status = sk__actor_tell_end(actor, reterr);
        }
        if (status == SK_OK) ret_actor->id = actor->id;
        sk__driver_leave(d);
    }
    release_large_args(d, given->args, given->n_args, params.args);
    return status;
}

static sk_status no_actor(sk_actor actor, sk_error *reterr) {
    return SK_FAIL(reterr, SK_ENOTFOUND, "there is no actor %" PRIx64 " (any more)", actor.id);
}

static bool actor_is_settled(sk__driver *d, void *arg) {
    const sk__actor *actor = sk__actor_find(d, *(const uint64_t *)arg);
    return !actor || actor->state == SK_ACTOR_ALIVE || actor->state == SK_ACTOR_STOPPING ||
           actor->state == SK_ACTOR_DEAD;
}

sk_status sk__program_actor_wait(sk__driver *d, sk_actor id, int timeout_ms, sk_error *reterr) {
    sk__driver_lock(d);
    sk_status status =
        sk__driver_wait(d, actor_is_settled, &id.id, sk__deadline_ns(timeout_ms), "sk_actor_wait", id.id);
    sk__actor *actor = sk__actor_find(d, id.id);
    if (!actor) status = no_actor(id, reterr);
    else if (actor->state == SK_ACTOR_DEAD) status = sk__actor_tell_end(actor, reterr);
    else if (status == SK_ETIMEOUT && actor->peer)
        status = SK_FAIL(reterr, status, "%s: its worker (process %d) needed longer than %d ms to create itself",
                         actor->name, actor->peer->pid, timeout_ms);
    else if (status == SK_ETIMEOUT)
        status =
            SK_FAIL(reterr, status, "%s: not ready within %d ms (%s)", actor->name, timeout_ms,
                    actor->state == SK_ACTOR_PENDING ? "it waits for arguments or resources" : "it creates itself");
    else if (status != SK_OK)
        status = SK_FAIL(reterr, status, "%s: interrupted while waiting until it is ready", actor->name);
    sk__driver_leave(d);
    return status;
}

sk_status sk__program_actor_find(sk__driver *d, const char *name, sk_actor *ret_actor, sk_error *reterr) {
    sk__driver_lock(d);
    const sk__actor *actor = sk__actor_find_name(d, name);
    sk_status        status = actor ? SK_OK : SK_FAIL(reterr, SK_ENOTFOUND, "there is no living actor named %s", name);
    if (actor) ret_actor->id = actor->id;
    sk__driver_unlock(d);
    return status;
}

sk_status sk__program_actor_check(sk__driver *d, sk_actor id, int *ret_pid, sk_error *reterr) {
    sk_status status = SK_OK;
    sk__driver_lock(d);
    sk__driver_drain(d);
    const sk__actor *actor = sk__actor_find(d, id.id);
    if (!actor) status = no_actor(id, reterr);
    else if (actor->state == SK_ACTOR_DEAD) status = sk__actor_tell_end(actor, reterr);
    else if (ret_pid)
        *ret_pid = !sk__in_process(actor->placement) ? d->board->pid : actor->peer ? actor->peer->pid : 0;
    sk__driver_leave(d);
    return status;
}

void sk__program_actor_stop(sk__driver *d, sk_actor id) {
    sk__driver_lock(d);
    sk__actor *actor = sk__actor_find(d, id.id);
    if (actor) {
        sk__actor_stop(d, actor);
        destroy_inline(d, actor);
    }
    sk__driver_leave(d);
}

static bool is_gone(const sk__actor *actor) {
    return !actor || (actor->state == SK_ACTOR_DEAD && !actor->peer && !actor->self && actor->n_running == 0);
}

typedef struct group_of_actors {
    const sk_actor *actors;
    int             n;
} group_of_actors;

static bool all_are_gone(sk__driver *d, void *arg) {
    const group_of_actors *these = arg;
    for (int i = 0; i < these->n; i++)
        if (!is_gone(sk__actor_find(d, these->actors[i].id))) return false;
    return true;
}

void sk__program_actor_join(sk__driver *d, const sk_actor *actors, int n, int timeout_ms) {
    group_of_actors these = {actors, n};
    for (int i = 0; i < n; i++) sk__program_actor_stop(d, actors[i]);
    sk__driver_lock(d);
    uint64_t first = n > 0 ? actors[0].id : 0;
    int64_t  deadline_ns = sk__deadline_ns(timeout_ms);
    /* An interrupt does not end this: what was started must end. */
    sk_status status = SK_OK;
    while ((status = sk__driver_wait(d, all_are_gone, &these, deadline_ns, "sk_actor_join", first)) == SK_EINTERRUPTED)
        sk__driver_wait_event(d, deadline_ns);
    if (status != SK_OK) {
        for (int i = 0; i < n; i++) {
            sk__actor *actor = sk__actor_find(d, actors[i].id);
            if (is_gone(actor)) continue;
            bool is_process = actor->peer != NULL;
            sk_log(is_process ? SK_LOG_WARN : SK_LOG_ERROR, "%s (%s) did not stop in time and is %s", actor->name,
                   is_process ? "a process" : "a thread", is_process ? "killed" : "left behind");
            if (actor->peer) sk__peer_kill(d, actor->peer, "did not stop in time and was killed");
            sk__actor_end(d, actor, SK_EDEAD, "did not stop in time");
        }
        deadline_ns = sk__deadline_ns(KILL_MS);
        bool processes = true;
        while (processes && sk_clock_now_ns() < deadline_ns) {
            processes = false;
            for (int i = 0; i < n; i++) {
                const sk__actor *actor = sk__actor_find(d, actors[i].id);
                processes = processes || (actor && actor->peer);
            }
            if (processes) sk__driver_wait_event(d, deadline_ns);
        }
    }
    sk__driver_leave(d);
}

void sk__program_actor_kill(sk__driver *d, sk_actor id, sk_kill_how how) {
    sk__driver_lock(d);
    sk__actor *actor = sk__actor_find(d, id.id);
    if (actor) {
        sk__actor_kill(d, actor, how);
        destroy_inline(d, actor);
    }
    sk__driver_leave(d);
}

/* ---- the timeline ----------------------------------------------------------------------------------------- */
sk_status sk__program_timeline(sk__driver *d, const char *path, sk_error *reterr) {
    return sk_board_write_timeline(d->board, path, reterr);
}
