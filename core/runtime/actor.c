#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WINDOW_S 60.0
#define DEFAULT_BACKOFF_MS 10
#define BACKOFF_MAX_MS 30000
#define DEAD_KEPT 4096 /* so many are remembered by how they died */

/* ---- names ----------------------------------------------------------------------------------------------- */
static sk__actor **bucket(sk__driver *d, const char *name) {
    return &d->names[sk_function_hash(name) % (uint64_t)SK_COUNT(d->names)];
}

sk__actor *sk__actor_find_name(sk__driver *d, const char *name) {
    sk__actor *actor = *bucket(d, name);
    while (actor && strcmp(actor->name, name) != 0) actor = actor->name_next;
    return actor;
}

static void forget_name(sk__driver *d, sk__actor *self) {
    sk__actor **link = bucket(d, self->name);
    while (*link && *link != self) link = &(*link)->name_next;
    if (*link) *link = self->name_next;
}

sk__actor *sk__actor_find(sk__driver *d, uint64_t id) { return sk__slab_find(&d->actors, id); }

static void set_state(sk__driver *d, sk__actor *self, sk_board_actor_state state) {
    if (self->state == SK_ACTOR_RESTARTING) d->n_timed_actors--;
    if (state == SK_ACTOR_RESTARTING) d->n_timed_actors++;
    self->state = (uint8_t)state;
    sk__watch_actor(d, self);
    sk__driver_notify(d);
}

/* ---- creating -------------------------------------------------------------------------------------------- */
static sk_status check_params(sk__driver *d, const sk_actor_params *params, sk_error *reterr) {
    const char *name = params->name ? params->name : "";
    if (strlen(name) >= SK_BOARD_NAME)
        return SK_FAIL(reterr, SK_EINVAL, "an actor's name has at most %d bytes, got %zu: %.40s...", SK_BOARD_NAME - 1,
                       strlen(name), name);
    if (params->max_concurrency < 0 || params->max_concurrency > 1024)
        return SK_FAIL(reterr, SK_EINVAL, "%s: max_concurrency must be 0 to 1024, got %d", params->class_name,
                       params->max_concurrency);
    sk__actor *other = *name ? sk__actor_find_name(d, name) : NULL;
    if (other)
        return SK_FAIL(reterr, SK_EINVAL, "there is an actor named %s already (a %s)", name, other->function->name);
    return SK_OK;
}

static void set_params(sk__actor *self, const sk_actor_params *p) {
    self->max_concurrency = p->max_concurrency > 0 ? p->max_concurrency : 1;
    self->max_pending = p->max_pending_calls;
    self->max_restarts = p->max_restarts;
    self->window_s = p->restart_window_s > 0.0 ? p->restart_window_s : DEFAULT_WINDOW_S;
    self->backoff_ms = p->restart_backoff_ms > 0 ? p->restart_backoff_ms : DEFAULT_BACKOFF_MS;
    self->max_task_retries = p->max_task_retries < 0 ? -1 : p->max_task_retries;
    self->group = p->group;
    self->bundle = p->bundle;
    if (p->name) snprintf(self->name, sizeof self->name, "%s", p->name);
    else snprintf(self->name, sizeof self->name, "%.40s-%" PRIu32, self->function->name, (uint32_t)self->id);
}

static sk_status make_create_job(sk__driver *d, sk__actor *self, const sk_actor_params *params, sk__peer *from,
                                 sk_bytes packed, sk_error *reterr) {
    sk__order order = {.function = self->function, .placement = self->placement, .from = from};
    if (from) SK_TRY(sk__job_create_packed(d, SK__CREATE, &order, params->n_args, packed, &self->create, reterr));
    else SK_TRY(sk__job_create(d, SK__CREATE, &order, params->args, params->n_args, &self->create, reterr));
    self->create->actor = self;
    self->create->state = SK__ENDED; /* until it starts */
    return SK_OK;
}

/* Once more, or for the first time: wait for arguments, then start. */
static void order_start(sk__driver *d, sk__actor *self) {
    self->create->n_users++;
    d->n_open++;
    d->n.n_submitted++;
    sk__watch_row(d, self->function)->n_submitted++;
    self->is_starting = true;
    self->create->state = SK__WAITING;
    if (self->placement != SK_PLACE_INLINE) sk__job_start(d, self->create);
}

sk_status sk__actor_create(sk__driver *d, const sk_actor_params *params, sk__peer *from, sk_bytes packed,
                           sk__actor **ret_actor, sk_error *reterr) {
    const sk_function *cls;
    sk_placement       placement;
    sk_demand          demand;
    SK_TRY(sk_registry_find_name(d->registry, SK_FUNCTION_CLASS, params->class_name, &cls, reterr));
    SK_TRY(check_params(d, params, reterr));
    SK_TRY(sk__choose_placement(d, cls, params->placement, params->group, &placement, reterr));
    SK_TRY(sk__parse_request(d, params->name ? params->name : params->class_name, params->resources,
                             params->n_resources, placement, params->group, params->bundle, &demand, reterr));
    sk__actor *self = sk__slab_take(&d->actors);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an actor");
    self->function = cls;
    self->placement = placement;
    self->demand = demand;
    self->board_row = -1;
    set_params(self, params);
    sk_status status = make_create_job(d, self, params, from, packed, reterr);
    if (status != SK_OK) {
        sk__slab_give(&d->actors, self);
        return status;
    }
    sk__actor **names = bucket(d, self->name);
    self->name_next = *names;
    *names = self;
    d->n.n_actors++;
    set_state(d, self, SK_ACTOR_PENDING);
    *ret_actor = self;
    order_start(d, self);
    return SK_OK;
}

/* ---- starting -------------------------------------------------------------------------------------------- */
static void wait_for_resources(sk__driver *d, sk__actor *self) {
    self->pending_next = NULL;
    *(d->pending_actors_last ? &d->pending_actors_last->pending_next : &d->pending_actors) = self;
    d->pending_actors_last = self;
    set_state(d, self, SK_ACTOR_PENDING);
}

static void start_process(sk__driver *d, sk__actor *self) {
    sk_error err = {0};
    if (sk__peer_create(d, self, self->lease.pool, &self->peer, &err) != SK_OK) {
        sk__job_fail(d, self->create, sk__failure_create(err.status, "%s: %s", self->name, err.msg));
        return;
    }
    set_state(d, self, SK_ACTOR_STARTING);
    SK_ASSERT(sk__peer_send_job(d, self->peer, self->create)); /* its ring is empty, and a blob fits or fails */
    sk__actor_dispatch(d, self);
}

/* On the best host of those that have it. What it had is kept for a restart, but not beyond its host's end. */
static bool take_share(sk__driver *d, sk__actor *self) {
    if (self->has_lease && !sk_resources_is_lost(d->resources, &self->lease)) return true;
    int host = 0;
    self->has_lease = false;
    if (self->placement == SK_PLACE_REMOTE &&
        sk__hosts_rank(d, &self->demand, self->group, self->bundle, self->create, &host, 1) == 0)
        return false;
    self->has_lease = sk_resources_take(d->resources, &self->demand, host, self->group, self->bundle, &self->lease);
    return self->has_lease;
}

void sk__actor_start(sk__driver *d, sk__actor *self) {
    if (self->state == SK_ACTOR_DEAD) return;
    if (!take_share(d, self)) {
        wait_for_resources(d, self);
        return;
    }
    sk__pinned pinned = sk__job_pin(d, self->create);
    if (pinned == SK__PIN_LATER) wait_for_resources(d, self);
    if (pinned != SK__PINNED) return; /* or it has failed, or waits for an argument again */
    if (sk__in_process(self->placement)) {
        start_process(d, self);
        return;
    }
    set_state(d, self, SK_ACTOR_STARTING);
    self->n_running++;
    sk__pool_push(d, self->create);
}

void sk__actors_start_pending(sk__driver *d) {
    sk__actor *actor = d->pending_actors;
    d->pending_actors = d->pending_actors_last = NULL;
    for (sk__actor *next; actor; actor = next) {
        next = actor->pending_next;
        if (actor->state == SK_ACTOR_PENDING) sk__actor_start(d, actor);
    }
}

void sk__actor_on_created(sk__driver *d, sk__actor *self, sk__job *job, sk__failure *failure) {
    (void)job;
    self->is_starting = false;
    if (failure) {
        if (self->peer) sk__peer_stop(d, self->peer);
        sk__actor_end(d, self, failure->status, sk__failure_text(failure));
        return;
    }
    if (self->state == SK_ACTOR_DEAD) return;
    set_state(d, self, self->stopping ? SK_ACTOR_STOPPING : SK_ACTOR_ALIVE);
    sk__actor_dispatch(d, self);
}

/* ---- calls ----------------------------------------------------------------------------------------------- */
sk_status sk__actor_accepts(sk__driver *d, sk__actor *self, int method, sk_error *reterr) {
    (void)d;
    const sk_actor_class *cls = self->function->cls;
    if (method < 0 || method >= cls->n_methods)
        return SK_FAIL(reterr, SK_EINVAL, "%s: class %s has methods 0 to %d, got %d", self->name, cls->name,
                       cls->n_methods - 1, method);
    if (self->max_pending > 0 && self->n_open >= self->max_pending)
        return SK_FAIL(reterr, SK_ELIMIT, "%s: %" PRId64 " calls wait already, and max_pending_calls is %d",
                       self->name, self->n_open, self->max_pending);
    return SK_OK;
}

void sk__actor_push(sk__driver *d, sk__job *job, bool in_front) {
    sk__actor *self = job->actor;
    job->state = SK__QUEUED;
    if (self->state == SK_ACTOR_DEAD || (self->stopping && !in_front)) {
        const char *how = self->state == SK_ACTOR_DEAD ? self->end : "was asked to stop before this call";
        bool        named = strncmp(how, self->name, strlen(self->name)) == 0;
        sk_status   status = self->state == SK_ACTOR_DEAD ? self->end_status : SK_EDEAD;
        sk__job_fail(d, job, sk__failure_create(status, "%s%s%s", named ? "" : self->name, named ? "" : " ", how));
        return;
    }
    if (in_front) sk__list_push_front(&self->queue, job);
    else sk__list_push(&self->queue, job);
    if (!in_front) sk__actor_dispatch(d, self);
}

static bool takes_calls(const sk__actor *self) {
    if (self->state == SK_ACTOR_ALIVE || self->state == SK_ACTOR_STOPPING) return true;
    return self->state == SK_ACTOR_STARTING && self->peer; /* its ring keeps them behind the create */
}

/* The end of a stop: nothing is left to be run. */
static void finish_stop(sk__driver *d, sk__actor *self) {
    if (!self->stopping || self->stop_sent || self->queue.n > 0 || !takes_calls(self)) return;
    if (sk__in_process(self->placement)) {
        self->stop_sent = true;
        sk__peer_stop(d, self->peer);
    } else if (self->n_running == 0) {
        self->stop_sent = true;
        sk__actor_end(d, self, SK_EDEAD, "was stopped");
    }
}

enum { BLOCKED_MAX = 32 };

/* The first call that may run now: its arguments have values, and so have those of its caller's earlier calls. */
static sk__job *next_call(const sk__actor *self) {
    uint32_t blocked[BLOCKED_MAX];
    int      n_blocked = 0;
    for (sk__job *job = self->queue.first; job; job = job->next) {
        bool behind = false;
        for (int i = 0; i < n_blocked && !behind; i++) behind = blocked[i] == job->caller;
        if (behind) continue;
        if (job->n_missing == 0) return job;
        if (n_blocked == BLOCKED_MAX) return NULL;
        blocked[n_blocked++] = job->caller;
    }
    return NULL;
}

static void dispatch(sk__driver *d, sk__actor *self) {
    bool sent = false, in_process = sk__in_process(self->placement);
    while (takes_calls(self)) {
        sk__job *job = next_call(self);
        if (!job) break;
        if (in_process ? !sk__peer_has_room(self->peer, job) : self->n_running >= self->max_concurrency) break;
        sk__pinned pinned = sk__job_pin(d, job);
        if (pinned == SK__PIN_LATER) {
            d->starved_actors = true;
            break;
        }
        if (pinned == SK__PIN_GONE) continue;
        sk__list_remove(job);
        if (!in_process) {
            self->n_running++;
            sk__pool_push(d, job);
        } else if (!sk__peer_send_job(d, self->peer, job)) {
            sk__job_unpin(d, job);
            sk__list_push_front(&self->queue, job);
            break;
        } else {
            sent = true;
        }
    }
    if (sent) sk__peer_ring(self->peer);
}

void sk__actor_dispatch(sk__driver *d, sk__actor *self) {
    if (self->is_dispatching) return; /* what ends a call in here comes back to the loop */
    self->is_dispatching = true;
    dispatch(d, self);
    self->is_dispatching = false;
    finish_stop(d, self);
}

void sk__actor_on_answer(sk__driver *d, sk__actor *self) {
    self->n_open--;
    if (self->queue.n > 0 || self->stopping) sk__actor_dispatch(d, self);
}

/* A dead thread's actor is destroyed when its last run is over, in a thread of the pool. */
static void destroy_self(sk__driver *d, sk__actor *self) {
    if (self->placement != SK_PLACE_THREAD || !self->self || self->n_running > 0 || self->destroy_pushed) return;
    sk__order order = {.function = self->function, .placement = SK_PLACE_THREAD};
    sk__job  *job = NULL;
    if (sk__job_create(d, SK__DESTROY, &order, NULL, 0, &job, NULL) != SK_OK) {
        sk_log(SK_LOG_ERROR, "%s: no memory to destroy it", self->name);
        return;
    }
    self->destroy_pushed = true;
    job->actor = self;
    d->n_open++;
    sk__pool_push(d, job);
}

void sk__actor_on_run_end(sk__driver *d, sk__actor *self) {
    self->n_running--;
    if (self->state == SK_ACTOR_DEAD) destroy_self(d, self);
}

void sk__actor_keep(sk__driver *d, sk__actor *self, const void *state, size_t size) {
    self->saved.size = 0;
    self->has_saved = sk__buffer_append(&self->saved, state, size, NULL) == SK_OK;
    if (!self->has_saved) sk_log(SK_LOG_ERROR, "%s: no memory to keep its state of %zu bytes", self->name, size);
    (void)d;
}

/* ---- restarting ------------------------------------------------------------------------------------------ */
static bool may_restart_now(sk__actor *self, int64_t now_ns) {
    if (self->max_restarts == 0) return false;
    if ((double)(now_ns - self->window_ns) > self->window_s * 1e9) {
        self->window_ns = now_ns;
        self->n_in_window = 0;
    }
    return self->max_restarts < 0 || self->n_in_window < self->max_restarts;
}

static void restart_later(sk__driver *d, sk__actor *self, int64_t now_ns) {
    int     doublings = self->n_in_a_row < 12 ? self->n_in_a_row : 12;
    int64_t backoff_ms = (int64_t)self->backoff_ms << doublings;
    if (backoff_ms > BACKOFF_MAX_MS) backoff_ms = BACKOFF_MAX_MS;
    self->n_in_a_row++;
    self->n_in_window++;
    self->n_restarts++;
    d->n.n_restarts++;
    self->start_at_ns = now_ns + backoff_ms * 1000000;
    set_state(d, self, SK_ACTOR_RESTARTING);
}

void sk__actor_on_peer_death(sk__driver *d, sk__actor *self, const char *how, bool may_restart) {
    sk__job *create = self->create;
    if (create->state == SK__SENT) { /* the start did not come to an end */
        sk__job_unpin(d, create);
        d->n.n_running--;
        d->n_open--;
        create->state = SK__ENDED;
        create->peer = NULL;
        self->is_starting = false;
        sk__watch_row(d, self->function)->n_failed++;
        d->n.n_failed++;
        sk__job_release(d, create);
    }
    if (self->state == SK_ACTOR_DEAD) return;
    int64_t now_ns = sk_clock_now_ns();
    bool    asked = self->stop_sent || d->destroying;
    if (!asked && may_restart && may_restart_now(self, now_ns)) {
        restart_later(d, self, now_ns);
        return;
    }
    char text[sizeof self->end];
    bool used_up = !asked && may_restart && self->max_restarts > 0;
    char window[32] = "";
    if (isfinite(self->window_s)) snprintf(window, sizeof window, " within %g s", self->window_s);
    if (used_up)
        snprintf(text, sizeof text, "%.200s; restarts%s: %d, which is its limit", how, window, self->n_in_window);
    else snprintf(text, sizeof text, "%s", asked ? "was stopped" : how);
    sk__actor_end(d, self, SK_EDEAD, text);
}

void sk__actors_check_timers(sk__driver *d, int64_t now_ns) {
    if (d->n_timed_actors == 0) return;
    uint32_t   at = 0;
    sk__actor *actor;
    while (d->n_timed_actors > 0 && (actor = sk__slab_next(&d->actors, &at)))
        if (actor->state == SK_ACTOR_RESTARTING && actor->start_at_ns <= now_ns && !actor->is_starting)
            order_start(d, actor);
}

/* ---- the end --------------------------------------------------------------------------------------------- */
/* The oldest dead are forgotten. */
static void remember_dead(sk__driver *d, sk__actor *self) {
    self->pending_next = NULL;
    *(d->dead_actors_last ? &d->dead_actors_last->pending_next : &d->dead_actors) = self;
    d->dead_actors_last = self;
    d->n_dead_actors++;
    sk__actor *oldest = d->dead_actors;
    if (d->n_dead_actors <= DEAD_KEPT || oldest->n_running > 0 || oldest->peer || oldest->self || oldest->n_open > 0 ||
        oldest->is_starting)
        return;
    d->dead_actors = oldest->pending_next;
    d->n_dead_actors--;
    sk_board_actor *row = oldest->board_row >= 0 ? &d->board->actors[oldest->board_row] : NULL;
    if (row && row->id == oldest->id) *row = (sk_board_actor){0}; /* else another has it by now */
    sk__buffer_deinit(&oldest->saved);
    sk__job_release(d, oldest->create);
    sk__slab_give(&d->actors, oldest);
}

static void fail_calls(sk__driver *d, sk__actor *self) {
    sk__list *lists[] = {self->peer ? &self->peer->sent : NULL, &self->queue};
    for (int i = 0; i < SK_COUNT(lists); i++) {
        for (sk__job *job = lists[i] ? lists[i]->first : NULL, *next; job; job = next) {
            next = job->next;
            if (job->kind != SK__METHOD) continue;
            sk__peer_forget_job(d, job);
            bool named = strncmp(self->end, self->name, strlen(self->name)) == 0;
            sk__job_fail(
                d, job,
                sk__failure_create(self->end_status, "%s%s%s", named ? "" : self->name, named ? "" : " ", self->end));
            next = lists[i]->first; /* its end may have changed the list */
            while (next && next->kind != SK__METHOD) next = next->next;
        }
    }
}

/* Its start still waited for arguments or resources. */
static void drop_create(sk__driver *d, sk__actor *self) {
    sk__job *create = self->create;
    if (!self->is_starting || (create->state != SK__WAITING && create->state != SK__QUEUED)) return;
    self->is_starting = false;
    create->state = SK__ENDED;
    d->n_open--;
    d->n.n_canceled++;
    sk__watch_row(d, self->function)->n_canceled++;
    sk__job_release(d, create);
}

/* Threads cannot be stopped in a call: its caller is told now, the call itself ends when it ends. */
static void fail_running(sk__driver *d, sk__actor *self) {
    sk__list *lists[] = {&self->running, &d->pool.ready};
    for (int i = 0; i < SK_COUNT(lists); i++) {
        for (sk__job *job = lists[i]->first, *next; job; job = next) {
            next = job->next;
            if (job->actor != self || job->kind != SK__METHOD || job->canceled) continue;
            sk__failure *failure = sk__failure_create(SK_EDEAD, "%s %s", self->name, self->end);
            sk__job_end_early(d, job, failure);
            sk__failure_release(failure);
        }
    }
}

void sk__actor_end(sk__driver *d, sk__actor *self, sk_status status, const char *how) {
    if (self->state == SK_ACTOR_DEAD) return;
    bool was_pending = self->state == SK_ACTOR_PENDING && d->pending_actors;
    self->end_status = status;
    snprintf(self->end, sizeof self->end, "%s", how);
    set_state(d, self, SK_ACTOR_DEAD);
    if (was_pending) { /* out of the line for resources */
        sk__actor **link = &d->pending_actors;
        d->pending_actors_last = NULL;
        while (*link) {
            if (*link == self) *link = self->pending_next;
            else {
                d->pending_actors_last = *link;
                link = &(*link)->pending_next;
            }
        }
    }
    forget_name(d, self);
    d->n.n_actors--;
    drop_create(d, self);
    fail_calls(d, self);
    if (self->placement == SK_PLACE_THREAD) fail_running(d, self);
    if (self->has_lease) sk_resources_give_back(d->resources, &self->lease);
    self->has_lease = false;
    d->resources_changed = d->has_mail_work = true;
    destroy_self(d, self);
    remember_dead(d, self);
}

void sk__actor_stop(sk__driver *d, sk__actor *self) {
    if (self->stopping || self->state == SK_ACTOR_DEAD) return;
    self->stopping = true;
    bool idle = self->queue.n == 0 && self->n_open == 0;
    if (idle &&
        (self->state == SK_ACTOR_RESTARTING || (self->state == SK_ACTOR_PENDING && self->create->state != SK__SENT))) {
        sk__actor_end(d, self, SK_EDEAD, "was stopped before it was made");
        return;
    }
    if (self->state == SK_ACTOR_ALIVE) set_state(d, self, SK_ACTOR_STOPPING);
    finish_stop(d, self);
}

void sk__actor_kill(sk__driver *d, sk__actor *self, sk_kill_how how) {
    if (self->state == SK_ACTOR_DEAD) return;
    sk__peer *peer = self->peer;
    if (peer) {
        peer->may_restart = how == SK_KILL_MAY_RESTART;
        sk__peer_kill(d, peer, "was killed by its program");
        if (how == SK_KILL_MAY_RESTART) return; /* its death decides */
    }
    sk__actor_end(d, self, SK_EDEAD, "was killed by its program");
}

sk_status sk__actor_tell_end(const sk__actor *self, sk_error *reterr) {
    bool named = strncmp(self->end, self->name, strlen(self->name)) == 0;
    return SK_FAIL(reterr, self->end_status, "%s%s%s", named ? "" : self->name, named ? "" : " ", self->end);
}

void sk__actors_deinit(sk__driver *d) {
    uint32_t   at = 0;
    sk__actor *actor;
    while ((actor = sk__slab_next(&d->actors, &at))) {
        sk__buffer_deinit(&actor->saved);
        sk__job_release(d, actor->create);
    }
    sk__slab_deinit(&d->actors);
}
