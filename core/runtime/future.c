#include "core/runtime/old_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A future that held more than this gives its memory back when it is forgotten [bytes]. */
#define REPLY_KEEP ((size_t)1 << 20)

/* ---- replies ---------------------------------------------------------------------------------------- */
sk_status sk_reply_write(sk_reply *self, const void *data, size_t size, sk_error *reterr) {
    SK_ASSERT(self && (data || size == 0));
    if (size > SK_FRAME_PAYLOAD_MAX - self->size)
        return SK_FAIL(
            reterr, SK_ELIMIT,
            "a reply holds at most %zu bytes, got %zu more after %zu; large data belongs into a block",
            SK_FRAME_PAYLOAD_MAX, size, self->size);
    if (self->size + size > self->cap) {
        size_t cap = 2 * (self->size + size);
        uint8_t *grown = realloc(self->data, cap);
        if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a reply of %zu bytes", cap);
        self->data = grown;
        self->cap = cap;
    }
    if (size) memcpy(self->data + self->size, data, size);
    self->size += size;
    return SK_OK;
}

void sk__reply_deinit(sk_reply *self) {
    free(self->data);
    *self = (sk_reply){0};
}

/* ---- life: futures are kept and used again, so steady calls allocate nothing ------------------------- */
static sk_future *take_idle(sk__futures *futures) {
    sk_future *self = futures->idle;
    if (self) {
        futures->idle = self->next;
        return self;
    }
    self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->next_of_all = futures->all;
    futures->all = self;
    return self;
}

static void put_idle(sk_future *self) {
    sk__futures *futures = &self->rt->futures;
    if (self->reply.cap > REPLY_KEEP) sk__reply_deinit(&self->reply);
    self->actor = NULL;
    self->next = futures->idle;
    futures->idle = self;
}

void sk__futures_deinit(sk__futures *self) {
    while (self->all) {
        sk_future *future = self->all;
        self->all = future->next_of_all;
        sk__reply_deinit(&future->reply);
        free(future);
    }
    self->idle = NULL;
}

sk_status sk__future_create(sk_actor *actor, int method, sk_future **ret_future, sk_error *reterr) {
    sk_future *self = take_idle(&actor->rt->futures);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "%s: no memory for a future", actor->name);
    self->rt = actor->rt;
    self->actor = actor;
    self->call_id = ++actor->n_calls;
    self->method = method;
    self->done = self->forgotten = false;
    self->err.status = SK_OK;
    self->err.msg[0] = 0;
    self->reply.size = 0;
    self->next = NULL;
    if (actor->newest)
        actor->newest->next = self;
    else
        actor->oldest = self;
    actor->newest = self;
    *ret_future = self;
    return SK_OK;
}

void sk_future_destroy(sk_future **self_p) {
    if (!self_p || !*self_p) return;
    sk_future *self = *self_p;
    *self_p = NULL;
    if (self->done)
        put_idle(self);
    else
        self->forgotten = true; /* its answer is still to come and to be dropped */
}

/* ---- answers ---------------------------------------------------------------------------------------- */
void sk__error_tell(sk_error *ret_err, const char *name, sk_status status, sk_bytes text) {
    size_t n = text.size < sizeof ret_err->msg ? text.size : sizeof ret_err->msg - 1;
    if (n == 0 || *(const char *)text.data == 0)
        sk_error_set(ret_err, status, __FILE__, __LINE__, "%s: %s", name, sk_status_text(status));
    else
        sk_error_set(ret_err, status, __FILE__, __LINE__, "%s: %.*s", name, (int)n, (const char *)text.data);
}

sk_future *sk__future_find(const sk_actor *actor, uint64_t call_id) {
    sk_future *future = actor->oldest; /* answers come in the order of the calls: this is nearly always it */
    while (future && future->call_id != call_id) future = future->next;
    return future;
}

/* Take it out of its actor's row. */
static void unlink_call(sk_future *self) {
    sk_actor *actor = self->actor;
    sk_future *before = NULL;
    for (sk_future *at = actor->oldest; at != self; at = at->next) before = at;
    if (before)
        before->next = self->next;
    else
        actor->oldest = self->next;
    if (actor->newest == self) actor->newest = before;
    self->next = NULL;
}

void sk__future_finish(sk_future *self, sk_status status, sk_bytes answer) {
    sk_actor *actor = self->actor;
    unlink_call(self);
    if (status != SK_OK) {
        sk__error_tell(&self->err, actor->name, status, answer);
    } else if (!self->forgotten && answer.data != self->reply.data) { /* inline calls wrote it in place */
        sk_error err = {0};
        if (sk_reply_write(&self->reply, answer.data, answer.size, &err) != SK_OK)
            sk__error_tell(&self->err, actor->name, err.status, (sk_bytes){err.msg, strlen(err.msg)});
    }
    self->done = true;
    self->actor = NULL;
    if (self->forgotten) put_idle(self);
}

void sk__futures_fail(sk_actor *actor, const char *text) {
    while (actor->oldest) {
        sk_future *future = actor->oldest;
        sk_error_set(&future->err, SK_EDEAD, __FILE__, __LINE__, "%s", text);
        unlink_call(future);
        future->done = true;
        future->actor = NULL;
        if (future->forgotten) put_idle(future);
    }
}

/* ---- waiting ---------------------------------------------------------------------------------------- */
static sk_status outcome(const sk_future *self, sk_error *reterr) {
    if (self->err.status != SK_OK && reterr) *reterr = self->err;
    return self->err.status;
}

static const char *method_name(const sk_future *self) { return self->actor->cls->methods[self->method]; }

static bool is_done(void *arg) { return ((const sk_future *)arg)->done; }

sk_status sk_future_wait(sk_future *self, int timeout_ms, sk_bytes *ret_out, sk_error *reterr) {
    SK_ASSERT(self && !self->forgotten);
    sk_status status =
        sk__runtime_wait(self->rt, is_done, self, sk__deadline_ns(timeout_ms), SK__INTERRUPTIBLE, reterr);
    if (status == SK_ETIMEOUT)
        return SK_FAIL(reterr, status, "%s: no answer to %s within %d ms", self->actor->name,
                       method_name(self), timeout_ms);
    if (status != SK_OK) {
        sk_error_prefix(reterr, "%s: waiting for the answer to %s", self->actor->name, method_name(self));
        return status;
    }
    SK_TRY(outcome(self, reterr));
    if (ret_out) *ret_out = (sk_bytes){self->reply.data, self->reply.size};
    return SK_OK;
}

typedef struct many {
    sk_future *const *futures;
    int n;
} many;

static bool are_done_or_one_failed(void *arg) {
    const many *all = arg;
    bool done = true;
    for (int i = 0; i < all->n; i++) {
        if (all->futures[i]->err.status != SK_OK) return true;
        done = done && all->futures[i]->done;
    }
    return done;
}

/* Who keeps us waiting: the first one by name, the others by number. */
static sk_status tell_open(const many *all, sk_status status, int timeout_ms, sk_error *reterr) {
    const sk_future *first = NULL;
    int n_open = 0;
    for (int i = 0; i < all->n; i++) {
        if (all->futures[i]->done) continue;
        if (!first) first = all->futures[i];
        n_open++;
    }
    const char *name = first->actor->name, *method = method_name(first);
    if (status == SK_ETIMEOUT)
        return SK_FAIL(reterr, status, "%s: no answer to %s within %d ms (%d of %d calls are open)", name,
                       method, timeout_ms, n_open, all->n);
    sk_error_prefix(reterr, "%s: waiting for the answer to %s (%d of %d calls are open)", name, method,
                    n_open, all->n);
    return status;
}

sk_status sk_future_wait_all(sk_future *const *futures, int n, int timeout_ms, sk_error *reterr) {
    SK_ASSERT(n >= 0 && (futures || n == 0));
    if (n == 0) return SK_OK;
    for (int i = 0; i < n; i++)
        SK_ASSERT(futures[i] && !futures[i]->forgotten && futures[i]->rt == futures[0]->rt);
    many all = {futures, n};
    sk_status status = sk__runtime_wait(futures[0]->rt, are_done_or_one_failed, &all,
                                        sk__deadline_ns(timeout_ms), SK__INTERRUPTIBLE, reterr);
    if (status != SK_OK) return tell_open(&all, status, timeout_ms, reterr);
    for (int i = 0; i < n; i++) SK_TRY(outcome(futures[i], reterr));
    return SK_OK;
}
