#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/old_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- creating --------------------------------------------------------------------------------------- */
static bool is_connected(void *arg) {
    const sk_actor *self = arg;
    return self->peer->hello || self->peer->dead;
}

static bool is_ready(void *arg) {
    const sk_actor *self = arg;
    return self->ready || self->peer->dead;
}

/* Payload of CREATE: "class\0name\0" and the argument. */
static sk_status send_create(sk_actor *self, sk_bytes arg, sk_error *reterr) {
    size_t class_size = strlen(self->cls->name) + 1, name_size = strlen(self->name) + 1;
    sk_reply payload = {0};
    sk_status status = sk_reply_write(&payload, self->cls->name, class_size, reterr);
    if (status == SK_OK) status = sk_reply_write(&payload, self->name, name_size, reterr);
    if (status == SK_OK) status = sk_reply_write(&payload, arg.data, arg.size, reterr);
    sk_frame frame = {
        .kind = SK_FRAME_CREATE, .actor_id = self->id, .payload = payload.data, .size = payload.size};
    if (status == SK_OK) status = sk_socket_send(self->rt->router, self->peer->id, &frame, reterr);
    sk__reply_deinit(&payload);
    if (status != SK_OK) sk_error_prefix(reterr, "%s: creating", self->name);
    return status;
}

/* Wait for one step of the start; the error says what went wrong in it. */
static sk_status wait_for_start(sk_actor *self, bool (*is_done)(void *), int64_t deadline_ns,
                                sk_error *reterr) {
    sk_status status = sk__runtime_wait(self->rt, is_done, self, deadline_ns, SK__INTERRUPTIBLE, reterr);
    if (status == SK_ETIMEOUT) {
        const char *what = self->peer->hello ? "to create itself" : "to connect";
        if (self->peer->is_process)
            return SK_FAIL(reterr, status, "%s: its worker (process %d) needed too long %s", self->name,
                           self->peer->pid, what);
        return SK_FAIL(reterr, status, "%s: its worker (a thread) needed too long %s", self->name, what);
    }
    if (status != SK_OK) {
        sk_error_prefix(reterr, "%s: waiting until it is ready", self->name);
        return status;
    }
    if (self->peer->dead) return SK_FAIL(reterr, SK_EDEAD, "%s before the actor was ready", self->peer->end);
    return SK_OK;
}

static sk_status start_elsewhere(sk_actor *self, sk_placement placement, sk_bytes arg, int64_t deadline_ns,
                                 sk_error *reterr) {
    sk_status status = sk__peer_create(self->rt, self->name, placement, &self->peer, reterr);
    if (status != SK_OK) {
        sk_error_prefix(reterr, "%s", self->name);
        return status;
    }
    SK_TRY(wait_for_start(self, is_connected, deadline_ns, reterr));
    SK_TRY(send_create(self, arg, reterr));
    SK_TRY(wait_for_start(self, is_ready, deadline_ns, reterr));
    if (self->err.status != SK_OK && reterr) *reterr = self->err;
    return self->err.status;
}

static sk_status start_here(sk_actor *self, sk_bytes arg, sk_error *reterr) {
    sk_error err = {0};
    sk_status status = self->cls->create(arg, &self->inline_self, &err);
    if (status != SK_OK) {
        self->inline_self = NULL;
        sk_error told;
        sk__error_tell(&told, self->name, status, (sk_bytes){err.msg, strlen(err.msg)});
        if (reterr) *reterr = told;
        return status;
    }
    self->ready = true;
    return SK_OK;
}

static sk_actor *make_actor(sk_runtime *rt, const char *name, const sk_actor_class *cls, sk_error *reterr) {
    sk_actor *self = calloc(1, sizeof *self);
    if (self) self->name = strdup(name);
    if (!self || !self->name || sk__table_put(&rt->actors, self, &self->id, NULL) != SK_OK) {
        if (self) free(self->name);
        free(self);
        (void)SK_FAIL(reterr, SK_ENOMEM, "%s: no memory for an actor", name);
        return NULL;
    }
    self->rt = rt;
    self->cls = cls;
    return self;
}

sk_status sk_actor_create(sk_runtime *rt, const char *class_name, const char *name, sk_placement placement,
                          sk_bytes arg, int timeout_ms, sk_actor **ret_actor, sk_error *reterr) {
    SK_ASSERT(rt && class_name && name && ret_actor && (arg.data || arg.size == 0));
    SK_ASSERT(placement == SK_PLACE_INLINE || placement == SK_PLACE_THREAD || placement == SK_PLACE_PROCESS);
    int64_t deadline_ns = sk__deadline_ns(timeout_ms);
    const sk_actor_class *cls = NULL;
    sk_status status = sk__class_find(rt->params.classes, rt->params.n_classes, class_name, &cls, reterr);
    if (status != SK_OK) {
        sk_error_prefix(reterr, "%s", name);
        return status;
    }
    sk_actor *self = make_actor(rt, name, cls, reterr);
    if (!self) return SK_ENOMEM;

    status = placement == SK_PLACE_INLINE ? start_here(self, arg, reterr)
                                          : start_elsewhere(self, placement, arg, deadline_ns, reterr);
    if (status != SK_OK) {
        /* A process that was too slow, or is not wanted any more, is not asked politely; a thread cannot be
         * killed. */
        bool answered = self->ready || !self->peer || !self->peer->is_process;
        sk__actor_destroy(&self, sk__deadline_ns(answered ? rt->params.stop_timeout_ms : 0));
        return status;
    }
    *ret_actor = self;
    return SK_OK;
}

void sk__actor_on_ready(sk_actor *self, const sk_frame *frame) {
    self->ready = true;
    self->err.status = SK_OK;
    if (frame->status != SK_OK)
        sk__error_tell(&self->err, self->name, frame->status, (sk_bytes){frame->payload, frame->size});
}

/* ---- destroying ------------------------------------------------------------------------------------- */
void sk__actor_destroy(sk_actor **self_p, int64_t deadline_ns) {
    if (!self_p || !*self_p) return;
    sk_actor *self = *self_p;
    *self_p = NULL;
    sk__peer *peer = self->peer; /* answers may still come until it has ended */
    sk__peer_destroy(&peer, deadline_ns);
    self->peer = NULL;
    if (self->inline_self) self->cls->destroy(self->inline_self);
    char text[160];
    snprintf(text, sizeof text, "%s was destroyed before it answered", self->name);
    sk__futures_fail(self, text);
    sk__table_remove(&self->rt->actors, self->id);
    free(self->name);
    free(self);
}

void sk_actor_destroy(sk_actor **self_p) {
    if (!self_p || !*self_p) return;
    sk__actor_destroy(self_p, sk__deadline_ns((*self_p)->rt->params.stop_timeout_ms));
}

/* ---- looking ---------------------------------------------------------------------------------------- */
int sk_actor_pid(const sk_actor *self) {
    SK_ASSERT(self);
    return self->peer ? self->peer->pid : getpid();
}

sk_status sk_actor_check(sk_actor *self, sk_error *reterr) {
    SK_ASSERT(self);
    SK_TRY(sk__runtime_drain(self->rt, reterr));
    if (self->peer && self->peer->dead) return SK_FAIL(reterr, SK_EDEAD, "%s", self->peer->end);
    return SK_OK;
}

/* ---- calling ---------------------------------------------------------------------------------------- */
static void call_here(sk_actor *self, sk_future *future, sk_bytes in) {
    sk_error err = {0};
    sk_status status = self->cls->call(self->inline_self, future->method, in, &future->reply, &err);
    if (status != SK_OK)
        sk__future_finish(future, status, (sk_bytes){err.msg, strlen(err.msg)});
    else
        sk__future_finish(future, SK_OK, (sk_bytes){future->reply.data, future->reply.size});
}

static void call_elsewhere(sk_actor *self, sk_future *future, sk_bytes in) {
    sk_error err = {0};
    sk_frame frame = {.kind = SK_FRAME_CALL,
                      .actor_id = self->id,
                      .call_id = future->call_id,
                      .method = future->method,
                      .payload = in.data,
                      .size = in.size};
    if (self->peer->dead) {
        sk__futures_fail(self, self->peer->end);
        return;
    }
    sk_status status = sk_socket_send(self->rt->router, self->peer->id, &frame, &err);
    /* A connection that is gone means that the worker is; how it ended is about to be known, so wait for
     * that. */
    if (status != SK_OK && status != SK_EDEAD)
        sk__future_finish(future, status, (sk_bytes){err.msg, strlen(err.msg)});
}

sk_status sk_actor_call(sk_actor *self, int method, sk_bytes in, sk_future **ret_future, sk_error *reterr) {
    SK_ASSERT(self && ret_future && (in.data || in.size == 0));
    if (method < 0 || method >= self->cls->n_methods)
        return SK_FAIL(reterr, SK_EINVAL, "%s: class %s has methods 0 to %d, got %d", self->name,
                       self->cls->name, self->cls->n_methods - 1, method);
    if (in.size > SK_FRAME_PAYLOAD_MAX)
        return SK_FAIL(reterr, SK_ELIMIT,
                       "%s: %s: an input holds at most %zu bytes, got %zu; large data belongs into a block",
                       self->name, self->cls->methods[method], SK_FRAME_PAYLOAD_MAX, in.size);
    sk_future *future = NULL;
    SK_TRY(sk__future_create(self, method, &future, reterr));
    if (self->peer)
        call_elsewhere(self, future, in);
    else
        call_here(self, future, in);
    *ret_future = future;
    return SK_OK;
}

void sk__actor_on_reply(sk_actor *self, const sk_frame *frame) {
    sk_future *future = sk__future_find(self, frame->call_id);
    if (!future) {
        sk_log(SK_LOG_WARN, "%s answered call %llu, which does not wait for an answer", self->name,
               (unsigned long long)frame->call_id);
        return;
    }
    sk__future_finish(future, frame->status, (sk_bytes){frame->payload, frame->size});
}
