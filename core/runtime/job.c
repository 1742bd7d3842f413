#include "core/base/clock.h"
#include "core/runtime/driver.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists ----------------------------------------------------------------------------------------------- */
void sk__list_push(sk__list *list, sk__job *job) {
    SK_ASSERT(!job->list);
    job->list = list;
    job->next = NULL;
    job->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = job;
    list->last = job;
    list->n++;
}

void sk__list_push_front(sk__list *list, sk__job *job) {
    SK_ASSERT(!job->list);
    job->list = list;
    job->prev = NULL;
    job->next = list->first;
    *(list->first ? &list->first->prev : &list->last) = job;
    list->first = job;
    list->n++;
}

void sk__list_remove(sk__job *job) {
    sk__list *list = job->list;
    if (!list) return;
    *(job->prev ? &job->prev->next : &list->first) = job->next;
    *(job->next ? &job->next->prev : &list->last) = job->prev;
    list->n--;
    job->list = NULL;
    job->prev = job->next = NULL;
}

sk__job *sk__list_pop(sk__list *list) {
    sk__job *job = list->first;
    if (job) sk__list_remove(job);
    return job;
}

/* ---- creating -------------------------------------------------------------------------------------------- */
static sk__job *make(sk__driver *d, sk__job_kind kind, const sk__order *order) {
    sk__job *self = sk__slab_take(&d->jobs);
    if (!self) return NULL;
    if (order->name && !(self->name = strdup(order->name))) {
        sk__slab_give(&d->jobs, self);
        return NULL;
    }
    self->kind = (uint8_t)kind;
    self->placement = (uint8_t)order->placement;
    self->function = order->function;
    self->method = order->method;
    self->retries_left = order->max_retries;
    self->retry_errors = order->retry_errors;
    self->remake = kind == SK__TASK && order->max_retries != 0;
    self->timeout_ms = order->timeout_ms;
    self->caller = order->caller;
    self->n_users = 1;
    return self;
}

static sk_status reserve(sk__job *self, size_t size, sk_error *reterr) {
    self->packed = size <= sizeof self->small ? self->small : malloc(size);
    if (!self->packed) return SK_FAIL(reterr, SK_ENOMEM, "no memory for arguments of %zu bytes", size);
    return SK_OK;
}

/* It takes the object as argument i. */
static sk_status count_on(sk__driver *d, sk__job *self, sk_ref ref, int i, sk_error *reterr) {
    sk__object *object = sk__object_find(d, ref.id);
    if (!object)
        return SK_FAIL(reterr, SK_ENOTFOUND, "%s: argument %d: there is no object %" PRIx64 " (any more)",
                       self->name ? self->name : self->function->name, i, ref.id);
    object->n_jobs++;
    self->has_refs = true;
    return SK_OK;
}

/* Of a job that never started. */
static sk_status give_up(sk__driver *d, sk__job *self, sk_status status) {
    sk__job_release(d, self);
    return status;
}

sk_status sk__job_create(sk__driver *d, sk__job_kind kind, const sk__order *order, const sk_arg *args, int n_args,
                         sk__job **ret_job, sk_error *reterr) {
    sk__job *self = make(d, kind, order);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %s", order->function->name);
    size_t size = 0;
    for (int i = 0; i < n_args; i++) size += args[i].ref.id ? SK_PACKED_REF_SIZE : sk_packed_value_size(args[i].size);
    sk_status status = reserve(self, size, reterr);
    if (status != SK_OK) return give_up(d, self, status);
    uint8_t *at = self->packed;
    for (int i = 0; i < n_args; i++) {
        if (args[i].ref.id) {
            status = count_on(d, self, args[i].ref, i, reterr);
            if (status != SK_OK) return give_up(d, self, status);
            at = sk_packed_put_ref(at, args[i].ref);
        } else {
            SK_ASSERT(args[i].size <= SK_INLINE_MAX); /* larger ones were made objects before */
            at = sk_packed_put_value(at, args[i].data, args[i].size);
        }
        self->packed_size = (size_t)(at - self->packed);
        self->n_args++;
    }
    *ret_job = self;
    return SK_OK;
}

/* What a worker put into the store becomes an object that only this job counts on. */
static sk_status adopt_extent(sk__driver *d, sk__job *self, const sk__order *order, sk_extent extent, uint8_t **at,
                              sk_error *reterr) {
    if (!order->from || !sk__peer_claim(order->from, extent))
        return SK_FAIL(reterr, SK_ECORRUPT, "%s: an argument lies in memory that is not its caller's",
                       order->function->name);
    sk__object *object = sk__object_create(d, 0);
    if (!object) {
        sk_store_free(d->store, extent);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for an object");
    }
    sk__object_take_extent(d, object, extent);
    object->state = SK__READY;
    object->n_jobs = 1;
    self->has_refs = true;
    *at = sk_packed_put_ref(*at, (sk_ref){object->id});
    return SK_OK;
}

sk_status sk__job_create_packed(sk__driver *d, sk__job_kind kind, const sk__order *order, int n_args, sk_bytes packed,
                                sk__job **ret_job, sk_error *reterr) {
    sk__job *self = make(d, kind, order);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %s", order->function->name);
    sk_status status = reserve(self, packed.size, reterr); /* records only become smaller */
    uint8_t  *at = self->packed;
    for (int i = 0; i < n_args && status == SK_OK; i++) {
        sk_record record;
        status = sk_packed_next(&packed, &record, reterr);
        if (status != SK_OK) break;
        if (record.kind == SK_PACKED_VALUE) at = sk_packed_put_value(at, record.value.data, record.value.size);
        else if (record.kind == SK_PACKED_EXTENT) status = adopt_extent(d, self, order, record.extent, &at, reterr);
        else if (record.kind == SK_PACKED_REF) {
            status = count_on(d, self, record.ref, i, reterr);
            if (status == SK_OK) at = sk_packed_put_ref(at, record.ref);
        } else status = SK_FAIL(reterr, SK_ECORRUPT, "%s: an argument of unknown kind", order->function->name);
        if (status != SK_OK) break;
        self->packed_size = (size_t)(at - self->packed);
        self->n_args++;
    }
    if (status != SK_OK) return give_up(d, self, status);
    *ret_job = self;
    return SK_OK;
}

static sk_status reserve_returns(sk__job *self, int n, sk_error *reterr) {
    if (n > 1 && !(self->more_returns = calloc((size_t)n - 1, sizeof *self->more_returns)))
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d return values", n);
    return SK_OK;
}

static void set_return(sk__job *self, uint64_t id) {
    if (self->n_returns == 0) self->first_return = id;
    else self->more_returns[self->n_returns - 1] = id;
    self->n_returns++;
}

sk_status sk__job_add_returns(sk__driver *d, sk__job *self, int n, sk_ref *ret_refs, sk_error *reterr) {
    SK_TRY(reserve_returns(self, n, reterr));
    for (int i = 0; i < n; i++) {
        sk__object *object = sk__object_create(d, 1);
        if (!object) {
            for (int k = 0; k < i; k++) {
                sk__object *made = sk__object_find(d, ret_refs[k].id);
                made->n_program = 0;
                sk__object_settle(d, made);
            }
            return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d objects", n);
        }
        object->maker = self;
        set_return(self, object->id);
        ret_refs[i].id = object->id;
    }
    return SK_OK;
}

sk_status sk__job_adopt_returns(sk__driver *d, sk__job *self, sk__peer *from, int n, const uint64_t *ids,
                                sk_error *reterr) {
    SK_TRY(reserve_returns(self, n, reterr));
    for (int i = 0; i < n; i++) {
        sk__object *object = sk__object_find(d, ids[i]);
        sk__hold   *hold = object ? sk__hold_find(object, from) : NULL;
        if (!hold || object->state != SK__PENDING || object->maker) {
            for (uint32_t k = 0; k < self->n_returns; k++) sk__object_find(d, sk__job_return(self, k))->maker = NULL;
            return SK_FAIL(reterr, SK_ECORRUPT, "return value %d: %" PRIx64 " is not a new object of this worker", i,
                           ids[i]);
        }
        object->maker = self;
        hold->wants_value = true;
        sk__object_count(d, object);
        set_return(self, object->id);
    }
    return SK_OK;
}

uint64_t sk__job_return(const sk__job *self, uint32_t i) {
    return i == 0 ? self->first_return : self->more_returns[i - 1];
}

const char *sk__job_name(const sk__job *self) {
    if (self->actor) return self->actor->name;
    return self->name ? self->name : self->function->name;
}

/* ---- ending ---------------------------------------------------------------------------------------------- */
/* Call on_ref for each argument by reference. */
static void each_ref(sk__driver *d, sk__job *self, void (*on_ref)(sk__driver *d, sk__object *object)) {
    if (!self->has_refs) return;
    sk_bytes  rest = {self->packed, self->packed_size};
    sk_record record;
    while (rest.size && sk_packed_next(&rest, &record, NULL) == SK_OK) {
        sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        if (object) on_ref(d, object);
    }
}

static void drop_count(sk__driver *d, sk__object *object) {
    SK_ASSERT(object->n_jobs > 0);
    object->n_jobs--;
    sk__object_settle(d, object);
}

static void bury(sk__driver *d, sk__job *self) {
    each_ref(d, self, drop_count);
    if (self->packed != self->small) free(self->packed);
    free(self->more_returns);
    free(self->lease);
    free(self->name);
    sk__slab_give(&d->jobs, self);
}

/* Its arguments may be the last to keep other jobs: they line up, since such a chain can be long. */
void sk__job_release(sk__driver *d, sk__job *self) {
    SK_ASSERT(self->n_users > 0);
    if (--self->n_users > 0) return;
    SK_ASSERT(!self->list);
    self->next = d->dead_jobs;
    d->dead_jobs = self;
    if (d->burying) return;
    d->burying = true;
    while (d->dead_jobs) {
        sk__job *job = d->dead_jobs;
        d->dead_jobs = job->next;
        job->next = NULL;
        bury(d, job);
    }
    d->burying = false;
}

static void clear_deadline(sk__driver *d, sk__job *self) {
    if (!self->deadline_ns) return;
    self->deadline_ns = 0;
    *(self->deadline_prev ? &self->deadline_prev->deadline_next : &d->deadlines) = self->deadline_next;
    if (self->deadline_next) self->deadline_next->deadline_prev = self->deadline_prev;
    self->deadline_prev = self->deadline_next = NULL;
}

void sk__job_unpin(sk__driver *d, sk__job *self) {
    if (self->blob.size) sk_store_free(d->store, self->blob);
    self->blob = (sk_extent){0};
    if (!self->pinned) return;
    self->pinned = false;
    each_ref(d, self, sk__object_unpin);
}

/* Whatever happened: it is over. */
static void end(sk__driver *d, sk__job *self) {
    sk__list_remove(self);
    clear_deadline(d, self);
    sk__job_unpin(d, self);
    if (self->state == SK__SENT || self->state == SK__RUNNING) d->n.n_running--;
    self->state = SK__ENDED;
    d->n_open--;
    if (d->pending_actors)
        d->resources_changed = d->has_mail_work = true; /* room in the store may be what they lack */
    sk__actor *actor = self->actor;
    if (actor && self->kind == SK__METHOD) sk__actor_on_answer(d, actor);
    sk__job_release(d, self);
}

static sk__object *open_return(sk__driver *d, const sk__job *self, uint32_t i) {
    sk__object *object = sk__object_find(d, sk__job_return(self, i));
    return object && object->state == SK__PENDING && object->maker == self ? object : NULL;
}

static void fail_returns(sk__driver *d, sk__job *self, sk__failure *failure) {
    for (uint32_t i = 0; i < self->n_returns; i++) {
        sk__object *object = open_return(d, self, i);
        if (object) sk__object_fail(d, object, failure);
    }
}

void sk__job_fail(sk__driver *d, sk__job *self, sk__failure *failure) {
    sk_board_function *row = sk__watch_row(d, self->function);
    bool               canceled = self->canceled || failure->status == SK_ECANCELED;
    (*(canceled ? &row->n_canceled : &row->n_failed))++;
    (*(canceled ? &d->n.n_canceled : &d->n.n_failed))++;
    sk__actor *actor = self->kind == SK__CREATE ? self->actor : NULL;
    fail_returns(d, self, failure);
    if (actor) sk__actor_on_created(d, actor, self, failure);
    end(d, self);
    sk__failure_release(failure);
}

/* A value has come: what is large can be made again by the same task. */
static void deliver(sk__driver *d, sk__job *self, sk__object *object) {
    bool remake = self->remake && object->place == SK__IN_STORE;
    object->maker = remake ? self : NULL;
    if (remake) self->n_users++;
    sk__object_announce(d, object);
}

static void deliver_bytes(sk__driver *d, sk__job *self, sk__object *object, sk_bytes value) {
    sk_error err = {0};
    if (sk__object_fill(d, object, value.data, value.size, &err) == SK_OK) {
        deliver(d, self, object);
        return;
    }
    sk__failure *failure = sk__failure_create(err.status, "%s: %s", sk__job_name(self), err.msg);
    sk__object_fail(d, object, failure);
    sk__failure_release(failure);
}

static void succeeded(sk__driver *d, sk__job *self) {
    sk_board_function *row = sk__watch_row(d, self->function);
    (*(self->canceled ? &row->n_canceled : &row->n_done))++;
    (*(self->canceled ? &d->n.n_canceled : &d->n.n_done))++;
    if (self->actor) {
        self->actor->n_done++;
        if (self->kind == SK__METHOD) self->actor->n_in_a_row = 0;
    }
    end(d, self);
}

void sk__job_succeed(sk__driver *d, sk__job *self, sk_bytes packed) {
    sk__peer *peer = self->peer;
    for (uint32_t i = 0; i < self->n_returns; i++) {
        sk_record record;
        sk_error  err = {0};
        bool      good = sk_packed_next(&packed, &record, &err) == SK_OK &&
                    (record.kind == SK_PACKED_VALUE || record.kind == SK_PACKED_EXTENT);
        if (good && record.kind == SK_PACKED_EXTENT) good = sk__peer_claim(peer, record.extent);
        if (!good) {
            sk__peer_malformed(d, peer, "an answer without its values");
            sk__job_fail(d, self,
                         sk__failure_create(SK_ECORRUPT, "%s: its worker's answer is damaged", sk__job_name(self)));
            return;
        }
        sk__object *object = open_return(d, self, i);
        if (record.kind == SK_PACKED_VALUE) {
            if (object) deliver_bytes(d, self, object, record.value);
        } else if (object) {
            sk__object_take_extent(d, object, record.extent);
            deliver(d, self, object);
        } else {
            sk_store_free(d->store, record.extent);
        }
    }
    succeeded(d, self);
}

void sk__job_succeed_call(sk__driver *d, sk__job *self, sk_call *call) {
    for (uint32_t i = 0; i < self->n_returns; i++) {
        sk__return *value = &call->returns[i];
        sk__object *object = open_return(d, self, i);
        if (value->extent.size && object) {
            sk__object_take_extent(d, object, value->extent);
            deliver(d, self, object);
        } else if (value->extent.size) {
            sk_store_free(d->store, value->extent);
        } else if (object) {
            deliver_bytes(d, self, object, (sk_bytes){value->bytes.data, value->bytes.size});
        }
        value->extent = (sk_extent){0};
    }
    succeeded(d, self);
}

/* ---- running again --------------------------------------------------------------------------------------- */
static void count_retry(sk__driver *d, sk__job *self) {
    if (self->retries_left > 0) self->retries_left--;
    sk__watch_row(d, self->function)->n_retried++;
    d->n.n_retried++;
}

/* Back to where it waited before it was sent or run. */
static void requeue(sk__driver *d, sk__job *self) {
    sk__list_remove(self);
    clear_deadline(d, self);
    sk__job_unpin(d, self);
    if (self->state == SK__SENT || self->state == SK__RUNNING) d->n.n_running--;
    self->peer = NULL;
    self->state = SK__QUEUED;
    if (self->placement == SK_PLACE_INLINE) return; /* its caller runs it again */
    if (self->kind == SK__METHOD) sk__actor_push(d, self, true);
    else sk__class_push(d, self, true);
}

void sk__job_error(sk__driver *d, sk__job *self, sk_status status, const char *text, size_t text_size) {
    bool again = self->retry_errors && self->retries_left != 0 && !self->canceled && status != SK_ECANCELED;
    if (again && self->kind == SK__TASK) {
        count_retry(d, self);
        requeue(d, self);
        return;
    }
    if (!sk_message_status_is_known(status) || status == SK_OK) status = SK_EINVAL;
    int n = text_size < 400 ? (int)text_size : 400;
    if (n == 0) {
        text = sk_status_text(status);
        n = (int)strlen(text);
    }
    sk__job_fail(d, self, sk__failure_create(status, "%s: %.*s", sk__job_name(self), n, text));
}

void sk__job_died(sk__driver *d, sk__job *self, const char *how) {
    bool again = self->retries_left != 0 && !self->canceled && self->kind != SK__CREATE;
    if (!again) {
        sk__job_fail(d, self,
                     sk__failure_create(SK_EDEAD, "%s%s%s", self->actor ? "" : sk__job_name(self),
                                        self->actor ? "" : ": ", how));
        return;
    }
    count_retry(d, self);
    requeue(d, self);
}

/* ---- waiting for arguments ------------------------------------------------------------------------------- */
/* False: it has failed. */
static bool depend(sk__driver *d, sk__job *self, sk__object *object) {
    if (object->state == SK__READY) return true;
    if (object->state == SK__FAILED) {
        sk__failure *why = object->failure;
        sk__job_fail(d, self,
                     sk__failure_create(why->status, "%s: an argument has no value: %s", sk__job_name(self),
                                        sk__failure_text(why)));
        return false;
    }
    sk__dependent *one = malloc(sizeof *one);
    if (!one) {
        sk__job_fail(d, self,
                     sk__failure_create(SK_ENOMEM, "%s: no memory to wait for an argument", sk__job_name(self)));
        return false;
    }
    *one = (sk__dependent){.next = object->dependents, .job = self->id};
    object->dependents = one;
    self->n_missing++;
    return true;
}

/* Note all arguments that have no value yet. False: it has failed. */
static bool find_missing(sk__driver *d, sk__job *self) {
    self->n_missing = 0;
    if (!self->has_refs) return true;
    sk_bytes  rest = {self->packed, self->packed_size};
    sk_record record;
    while (rest.size && sk_packed_next(&rest, &record, NULL) == SK_OK) {
        sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        if (object && !depend(d, self, object)) return false;
    }
    return true;
}

void sk__job_start(sk__driver *d, sk__job *self) {
    self->state = SK__WAITING;
    if (!find_missing(d, self) || self->placement == SK_PLACE_INLINE) return;
    if (self->kind == SK__METHOD) sk__actor_push(d, self, false); /* keeps its place among its caller's */
    else if (self->n_missing == 0 && self->kind == SK__CREATE) sk__actor_start(d, self->actor);
    else if (self->n_missing == 0) sk__class_push(d, self, false);
}

void sk__job_on_argument(sk__driver *d, uint64_t job_id, const sk__object *object) {
    sk__job *self = sk__slab_find(&d->jobs, job_id);
    if (!self || self->state == SK__ENDED || self->n_missing == 0) return;
    self->n_missing--;
    if (object->state == SK__FAILED) {
        (void)depend(d, self, (sk__object *)(uintptr_t)object);
        return;
    }
    if (self->n_missing > 0 || self->placement == SK_PLACE_INLINE) return;
    if (self->kind == SK__METHOD) sk__actor_dispatch(d, self->actor);
    else if (self->kind == SK__CREATE) sk__actor_start(d, self->actor);
    else sk__class_push(d, self, false);
}

sk__pinned sk__job_pin(sk__driver *d, sk__job *self) {
    if (!self->has_refs) return SK__PINNED;
    sk_bytes   rest = {self->packed, self->packed_size};
    sk_record  record;
    sk_error   err = {0};
    sk__pinned result = SK__PINNED;
    size_t     n_pinned = 0;
    while (rest.size && result == SK__PINNED && sk_packed_next(&rest, &record, NULL) == SK_OK) {
        sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        if (!object) continue;
        if (sk__object_load(d, object, &err) != SK_OK) result = SK__PIN_LATER;
        else if (object->state != SK__READY) result = SK__PIN_GONE;
        else {
            sk__object_pin(d, object);
            n_pinned++;
        }
    }
    self->pinned = result == SK__PINNED;
    if (result == SK__PINNED) return result;

    /* Undo. That makes no room that was not there before. */
    bool had_room = d->room_changed, had_work = d->has_mail_work;
    rest = (sk_bytes){self->packed, self->packed_size};
    while (n_pinned > 0 && sk_packed_next(&rest, &record, NULL) == SK_OK) {
        sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        if (!object) continue;
        n_pinned--;
        sk__object_unpin(d, object);
    }
    d->room_changed = had_room;
    d->has_mail_work = had_work;
    if (result == SK__PIN_LATER && sk__driver_may_make_room(d)) return result;
    if (result == SK__PIN_LATER)
        sk__job_fail(d, self,
                     sk__failure_create(SK_ELIMIT, "%s: its arguments do not fit: %s", sk__job_name(self), err.msg));
    else if (self->kind == SK__METHOD) (void)find_missing(d, self); /* keeps its place */
    else {
        sk__list_remove(self);
        sk__job_start(d, self);
    }
    return SK__PIN_GONE;
}

/* ---- cancelling and timeouts ----------------------------------------------------------------------------- */
void sk__job_end_early(sk__driver *d, sk__job *self, sk__failure *failure) {
    self->canceled = true;
    fail_returns(d, self, failure);
    if (self->peer) sk__peer_cancel_job(d, self);
}

void sk__job_cancel(sk__driver *d, sk__job *self, sk_cancel_how how) {
    if (self->state == SK__ENDED || self->canceled) return;
    sk__failure *failure = sk__failure_create(SK_ECANCELED, "%s was cancelled", sk__job_name(self));
    if (self->state == SK__WAITING || self->state == SK__QUEUED) {
        sk__job_fail(d, self, failure);
        return;
    }
    sk__job_end_early(d, self, failure);
    sk__failure_release(failure);
    if (how == SK_CANCEL_KILL && self->peer && sk__peer_has_begun(d, self)) {
        self->peer->may_restart = true;
        sk__peer_kill(d, self->peer, "was killed to cancel what it ran");
    }
}

void sk__job_set_deadline(sk__driver *d, sk__job *self) {
    if (self->timeout_ms <= 0) return;
    clear_deadline(d, self);
    self->deadline_ns = sk__deadline_ns(self->timeout_ms);
    sk__driver_wake_pump(d);
    self->deadline_next = d->deadlines;
    if (d->deadlines) d->deadlines->deadline_prev = self;
    d->deadlines = self;
}

static void time_out(sk__driver *d, sk__job *self) {
    sk__peer    *peer = self->peer;
    const char  *method = self->kind == SK__METHOD ? self->function->cls->methods[self->method] : "it";
    sk__failure *failure =
        sk__failure_create(SK_ETIMEOUT, "%s: %s ran longer than %d ms", sk__job_name(self), method, self->timeout_ms);
    clear_deadline(d, self);
    sk__job_end_early(d, self, failure);
    sk__failure_release(failure);
    if (!peer) return;
    peer->may_restart = true;
    sk__peer_kill(d, peer, "was killed because its job ran too long");
}

void sk__jobs_check_deadlines(sk__driver *d, int64_t now_ns) {
    for (sk__job *job = d->deadlines, *next; job; job = next) {
        next = job->deadline_next;
        if (job->deadline_ns > now_ns) continue;
        /* What has not begun, because others of its worker ran before it, gets its time from when it begins. */
        sk_line *line = job->peer ? &d->board->lines[job->peer->line] : NULL;
        bool     first = line && job->peer->sent.first == job; /* a worker that is stopped does not even begin it */
        bool     runs = !line || first || line->job == job->id;
        int64_t  since_ns = line && line->job == job->id ? line->job_since_ns : job->sent_ns;
        int64_t  due_ns = (runs ? since_ns : now_ns) + (int64_t)job->timeout_ms * 1000000;
        if (due_ns > now_ns) job->deadline_ns = due_ns;
        else time_out(d, job);
    }
}
