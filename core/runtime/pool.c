#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SPIN_NS INT64_C(30000)   /* an idle thread looks this long before it sleeps: waking costs more */
#define GROW_NS INT64_C(1000000) /* jobs that wait so long while all threads are busy get a thread more */

static _Thread_local sk__run *current_run;
sk__run                      *sk__run_current(void) { return current_run; }

/* ---- one run --------------------------------------------------------------------------------------------- */
static bool job_is_cancelled(const sk_call *call) {
    const sk__run *run = call->host;
    return run->job->canceled || run->d->destroying;
}

/* Arguments where they lie: in the job, or in the objects it pins. */
static void point_at_args(sk__driver *d, const sk__job *job, sk_call *call) {
    sk_bytes rest = {job->packed, job->packed_size};
    for (uint32_t i = 0; i < job->n_args; i++) {
        sk_record record;
        if (sk_packed_next(&rest, &record, NULL) != SK_OK) return;
        sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        call->args[i] = object ? sk__object_bytes(d, object) : record.value;
    }
}

static sk_status run_function(sk__job *job, void *self, sk_call *call, void **ret_self, sk_error *reterr) {
    switch ((sk__job_kind)job->kind) {
    case SK__TASK: return job->function->run(call, reterr);
    case SK__CREATE: return job->function->cls->create(call, ret_self, reterr);
    case SK__METHOD: return job->function->cls->call(self, job->method, call, reterr);
    case SK__DESTROY: job->function->cls->destroy(self); return SK_OK;
    }
    return SK_FAIL(reterr, SK_EINVAL, "unknown job");
}

/* The function itself, with the lock open. */
static sk_status run_unlocked(sk__run *run, void *self, sk_call *call, void **ret_self, sk_error *err) {
    sk__driver *d = run->d;
    sk__run    *before = current_run;
    current_run = run;
    sk__driver_unlock(d);
    sk_runtime *rt_before = sk__set_current(d->rt);
    sk_status   status = run_function(run->job, self, call, ret_self, err);
    if (status == SK_OK) status = sk__call_finish(call, err);
    else sk__call_abandon(call);
    sk__set_current(rt_before);
    sk__driver_lock(d);
    current_run = before;
    if (run->blocked) sk__run_unblock(run);
    return status;
}

static void report(sk__driver *d, sk__job *job, sk_call *call, sk_status status, const sk_error *err) {
    if (status == SK_OK) {
        sk__job_succeed_call(d, job, call);
        return;
    }
    sk__call_abandon(call);
    char text[sizeof err->msg + 128];
    sk__error_text(err, status, text, sizeof text);
    sk__job_error(d, job, status, text, strlen(text));
}

static void end_destroy(sk__driver *d, sk__job *job) {
    job->actor->self = NULL;
    job->state = SK__ENDED;
    d->n.n_running--;
    d->n_open--;
    job->actor = NULL;
    sk__job_release(d, job);
    sk__driver_notify(d);
}

void sk__run_job(sk__driver *d, sk__job *job, sk_call *call, int thread) {
    sk__run    run = {.d = d, .job = job, .thread = thread};
    sk__actor *actor = job->actor;
    void      *made = NULL;
    sk_error   err = {0};
    if (job->lease) {
        run.lease = *job->lease;
        run.has_lease = true;
    }
    sk_status status = job->canceled ? SK_FAIL(&err, SK_ECANCELED, "cancelled before it began")
                                     : sk__call_begin(call, d->rt, (int)job->n_args, (int)job->n_returns, &err);
    int64_t   start_ns = sk_clock_now_ns();
    if (status == SK_OK) {
        call->host = &run;
        call->is_cancelled = job_is_cancelled;
        call->is_actor = actor != NULL;
        point_at_args(d, job, call);
        if (actor && job->kind == SK__METHOD) sk__list_push(&actor->running, job);
        status = run_unlocked(&run, actor ? actor->self : NULL, call, &made, &err);
    }
    if (run.has_lease) {
        sk_resources_give_back(d->resources, &run.lease);
        d->resources_changed = true;
    }
    d->has_mail_work = true;
    if (job->kind == SK__DESTROY) {
        end_destroy(d, job);
        return;
    }
    sk__watch_ended(d, job, status, start_ns, sk_clock_now_ns() - start_ns, getpid(), -1 - thread);
    sk__list_remove(job);
    if (made) actor->self = made;
    if (actor && actor->placement == SK_PLACE_THREAD) sk__actor_on_run_end(d, actor);
    if (job->kind == SK__CREATE && status == SK_OK) sk__actor_on_created(d, actor, job, NULL);
    report(d, job, call, status, &err);
}

/* ---- waiting inside of a run ----------------------------------------------------------------------------- */
void sk__run_block(sk__run *self) {
    sk__driver *d = self->d;
    self->blocked = true;
    if (self->thread >= 0) d->pool.n_blocked++;
    if (self->has_lease) {
        sk_resources_give_back(d->resources, &self->lease);
        d->resources_changed = true;
    }
    d->has_mail_work = true; /* it makes no room now: who hoped for that is told */
    sk__pool_grow(d, sk_clock_now_ns());
    sk__driver_notify(d); /* what was given back may be what others lack */
}

void sk__run_unblock(sk__run *self) {
    self->blocked = false;
    if (self->thread >= 0) self->d->pool.n_blocked--;
    if (self->has_lease) self->has_lease = sk_resources_retake(self->d->resources, &self->lease);
}

/* ---- threads --------------------------------------------------------------------------------------------- */
/* Look for a while without the lock, then sleep. One looker is enough. */
static void wait_for_job(sk__driver *d) {
    sk__pool *pool = &d->pool;
    pool->n_idle++;
    if (d->may_spin && pool->n_spinning == 0) {
        pool->n_spinning++;
        sk__driver_unlock(d);
        int64_t end_ns = sk_clock_now_ns() + SPIN_NS;
        while (!pool->n_ready && !pool->stopping && sk_clock_now_ns() < end_ns) sched_yield();
        sk__driver_lock(d);
        pool->n_spinning--;
    }
    while (!pool->ready.first && !pool->stopping) pthread_cond_wait(&pool->wake, &d->lock);
    pool->n_idle--;
}

typedef struct start {
    sk__driver *d;
    int         thread;
} start;

static void *serve(void *arg) {
    start      *mine = arg;
    sk__driver *d = mine->d;
    int         thread = mine->thread;
    sk_call     call = {0};
    free(mine);
    prctl(PR_SET_NAME, "skiff-pool");
    sk__driver_lock(d);
    for (;;) {
        sk__job *job = sk__list_pop(&d->pool.ready);
        if (job) {
            d->pool.n_ready = (int)d->pool.ready.n;
            d->pool.since_ns = sk_clock_now_ns();
            sk__run_job(d, job, &call, thread);
            sk__driver_drain(d); /* what it made possible */
        } else if (d->pool.stopping) {
            break;
        } else {
            wait_for_job(d);
        }
    }
    d->pool.n_ended++;
    sk__driver_notify(d);
    sk__driver_unlock(d);
    sk__call_deinit(&call);
    return NULL;
}

/* Signals are for the program's own threads; those of faults must stay deliverable. */
static int start_thread(pthread_t *ret_thread, void *(*run)(void *), void *arg) {
    sigset_t  blocked, old;
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigfillset(&blocked);
    for (int i = 0; i < SK_COUNT(faults); i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &old);
    int rc = pthread_create(ret_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

void sk__pool_grow(sk__driver *d, int64_t now_ns) {
    sk__pool *pool = &d->pool;
    if (pool->left_behind) return; /* whoever pushed it runs it next */
    if (!pool->ready.first || pool->n_idle > 0 || pool->n_threads == SK__THREADS_MAX) return;
    bool needed = pool->n_threads - pool->n_blocked < d->n_cpus || now_ns - pool->since_ns > GROW_NS;
    if (!needed) {
        sk__driver_wake_pump(d); /* it looks again in a moment */
        return;
    }
    start *mine = malloc(sizeof *mine);
    int    rc = mine ? 0 : ENOMEM;
    if (mine) {
        *mine = (start){d, pool->n_threads};
        rc = start_thread(&pool->threads[pool->n_threads], serve, mine);
    }
    if (rc == 0) {
        pool->n_threads++;
        pool->since_ns = now_ns;
        d->n.n_threads = (uint64_t)pool->n_threads;
        return;
    }
    free(mine);
    if (pool->n_threads > 0) return; /* those there are will do it, later */
    sk__job *job = sk__list_pop(&pool->ready);
    pool->n_ready = (int)pool->ready.n;
    if (job->actor && job->kind != SK__DESTROY) sk__actor_on_run_end(d, job->actor);
    sk__job_fail(d, job,
                 sk__failure_create(rc == ENOMEM ? SK_ENOMEM : SK_ELIMIT, "%s: cannot start a thread: %s",
                                    sk__job_name(job), strerror(rc)));
}

void sk__pool_push(sk__driver *d, sk__job *job) {
    sk__pool *pool = &d->pool;
    int64_t   now_ns = sk_clock_now_ns();
    sk_error  err = {0};
    job->state = SK__RUNNING; /* as good as: it cannot be taken out any more, only cancelled */
    job->sent_ns = now_ns;
    d->n.n_running++;
    if (!pool->ready.first) pool->since_ns = now_ns;
    sk__list_push(&pool->ready, job);
    pool->n_ready = (int)pool->ready.n;
    sk__job_set_deadline(d, job);
    if (sk__driver_need_pump(d, &err) != SK_OK) sk_log(SK_LOG_ERROR, "%s", err.msg);
    if (pool->n_idle > pool->n_spinning) pthread_cond_signal(&pool->wake);
    else sk__pool_grow(d, now_ns);
}

bool sk__pool_stop(sk__driver *d, int64_t deadline_ns) {
    sk__pool *pool = &d->pool;
    int       n_joined = 0;
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    while (n_joined < pool->n_threads) { /* the last words of one may start another */
        while (pool->n_ended < pool->n_threads && sk_clock_now_ns() < deadline_ns) sk__driver_wait_event(d, deadline_ns);
        int n = pool->n_threads;
        if (pool->n_ended < n) {
            for (int i = n_joined; i < n; i++) pthread_detach(pool->threads[i]);
            pool->left_behind = true;
            return false;
        }
        sk__driver_unlock(d);
        for (int i = n_joined; i < n; i++) pthread_join(pool->threads[i], NULL);
        sk__driver_lock(d);
        n_joined = n;
    }
    return true;
}
