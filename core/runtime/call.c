#include "core/runtime/internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Buffers up to this stay allocated from one run to the next [bytes]. */
#define KEPT_MAX ((size_t)1 << 20)

/* ---- buffers --------------------------------------------------------------------------------------------- */
/* Room for `cap` bytes in all, 64-byte aligned as sk_call_alloc promises. */
static sk_status reserve_bytes(sk__buffer *self, size_t cap, sk_error *reterr) {
    if (cap <= self->cap) return SK_OK;
    size_t grown = self->cap < 256 ? 256 : self->cap;
    while (grown < cap && grown <= SIZE_MAX / 2) grown *= 2;
    uint8_t *data = grown >= cap ? aligned_alloc(64, grown) : NULL;
    if (!data) return SK_FAIL(reterr, SK_ENOMEM, "no memory for an answer of %zu bytes", cap);
    if (self->size) memcpy(data, self->data, self->size);
    free(self->data);
    self->data = data;
    self->cap = grown;
    return SK_OK;
}

sk_status sk__buffer_append(sk__buffer *self, const void *data, size_t size, sk_error *reterr) {
    if (size == 0) return SK_OK;
    if (size > SIZE_MAX - self->size)
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for an answer of %zu bytes more", size);
    SK_TRY(reserve_bytes(self, self->size + size, reterr));
    memcpy(self->data + self->size, data, size);
    self->size += size;
    return SK_OK;
}

void sk__buffer_deinit(sk__buffer *self) {
    free(self->data);
    *self = (sk__buffer){0};
}

/* Empty it for the next run; what one large answer took is given back. */
static void clear_buffer(sk__buffer *self) {
    self->size = 0;
    if (self->cap > KEPT_MAX) sk__buffer_deinit(self);
}

/* ---- one run --------------------------------------------------------------------------------------------- */
static sk_status reserve_args(sk_call *self, int n, sk_error *reterr) {
    if (n <= self->args_cap) return SK_OK;
    sk_bytes *grown = realloc(self->args, (size_t)n * sizeof *grown);
    if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d arguments", n);
    self->args = grown;
    self->args_cap = n;
    return SK_OK;
}

static sk_status reserve_returns(sk_call *self, int n, sk_error *reterr) {
    if (n <= self->returns_cap) return SK_OK;
    sk__return *grown = realloc(self->returns, (size_t)n * sizeof *grown);
    if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d returns", n);
    memset(grown + self->returns_cap, 0, (size_t)(n - self->returns_cap) * sizeof *grown);
    self->returns = grown;
    self->returns_cap = n;
    return SK_OK;
}

sk_status sk__call_begin(sk_call *self, sk_runtime *rt, int n_args, int n_returns, sk_error *reterr) {
    SK_ASSERT(self && n_args >= 0 && n_returns >= 0);
    SK_TRY(reserve_args(self, n_args, reterr));
    SK_TRY(reserve_returns(self, n_returns, reterr));
    for (int i = 0; i < n_args; i++) self->args[i] = (sk_bytes){0};
    for (int i = 0; i < n_returns; i++) {
        clear_buffer(&self->returns[i].bytes);
        self->returns[i].extent = (sk_extent){0};
        self->returns[i].in_store = NULL;
    }
    clear_buffer(&self->state);
    self->state_extent = (sk_extent){0};
    self->has_state = false;
    self->rt = rt;
    self->n_args = n_args;
    self->n_returns = n_returns;
    return SK_OK;
}

/* Bytes that are too large for a message go to the store. */
static sk_status move_to_store(sk_call *self, const sk__buffer *bytes, sk_extent *ret_extent, void **ret_data,
                               sk_error *reterr) {
    if (bytes->size <= SK_INLINE_MAX || ret_extent->size > 0) return SK_OK;
    SK_TRY(sk__store_alloc(self->rt, bytes->size, ret_extent, ret_data, reterr));
    memcpy(*ret_data, bytes->data, bytes->size);
    return SK_OK;
}

sk_status sk__call_finish(sk_call *self, sk_error *reterr) {
    sk_status status = SK_OK;
    void     *state = NULL;
    for (int i = 0; i < self->n_returns; i++) {
        sk__return *ret = &self->returns[i];
        SK_TRY_GOTO(move_to_store(self, &ret->bytes, &ret->extent, &ret->in_store, reterr));
    }
    if (self->has_state) SK_TRY_GOTO(move_to_store(self, &self->state, &self->state_extent, &state, reterr));
    return SK_OK;
fail:
    sk__call_abandon(self);
    return status;
}

void sk__call_abandon(sk_call *self) {
    for (int i = 0; i < self->n_returns; i++) {
        sk__return *ret = &self->returns[i];
        if (ret->extent.size > 0) sk__store_free(self->rt, ret->extent);
        ret->extent = (sk_extent){0};
        ret->in_store = NULL;
    }
    if (self->state_extent.size > 0) sk__store_free(self->rt, self->state_extent);
    self->state_extent = (sk_extent){0};
}

void sk__call_deinit(sk_call *self) {
    for (int i = 0; i < self->returns_cap; i++) sk__buffer_deinit(&self->returns[i].bytes);
    sk__buffer_deinit(&self->state);
    free(self->returns);
    free(self->args);
    *self = (sk_call){0};
}

void sk__error_text(const sk_error *err, sk_status status, char *ret_text, size_t size) {
    char        place[128] = "";
    const char *text = err->msg[0] ? err->msg : sk_status_text(status);
    if (err->file && err->line > 0 && err->msg[0]) {
        /* the compiler writes paths as seen from the build folder */
        const char *file = err->file;
        while (strncmp(file, "../", 3) == 0) file += 3;
        size_t n = strlen(file); /* of a long path the end tells more */
        snprintf(place, sizeof place, " (%s:%d)", n > 100 ? file + n - 100 : file, err->line);
    }
    /* a long message gives way to the place */
    size_t room = size > strlen(place) ? size - strlen(place) - 1 : 0;
    snprintf(ret_text, size, "%.*s%s", (int)room, text, place);
}

/* ---- what the function sees ------------------------------------------------------------------------------ */
int sk_call_n_args(const sk_call *call) {
    SK_ASSERT(call);
    return call->n_args;
}

sk_bytes sk_call_arg(const sk_call *call, int i) {
    SK_ASSERT(call && i >= 0 && i < call->n_args);
    return call->args[i];
}

static sk_status check_return(const sk_call *call, int i, sk_error *reterr) {
    if (i < 0 || i >= call->n_returns)
        return SK_FAIL(reterr, SK_EINVAL, "there is no return value %d: the caller asked for %d", i, call->n_returns);
    return SK_OK;
}

sk_status sk_call_write(sk_call *call, int i, const void *data, size_t size, sk_error *reterr) {
    SK_ASSERT(call && (data || size == 0));
    SK_TRY(check_return(call, i, reterr));
    if (call->returns[i].in_store)
        return SK_FAIL(reterr, SK_EINVAL, "return value %d is filled in place: sk_call_write after sk_call_alloc", i);
    return sk__buffer_append(&call->returns[i].bytes, data, size, reterr);
}

sk_status sk_call_alloc(sk_call *call, int i, size_t size, void **ret_data, sk_error *reterr) {
    SK_ASSERT(call && ret_data);
    SK_TRY(check_return(call, i, reterr));
    sk__return *ret = &call->returns[i];
    if (ret->in_store || ret->bytes.size > 0)
        return SK_FAIL(reterr, SK_EINVAL, "return value %d is written or allocated already", i);
    if (size > SK_INLINE_MAX)
        SK_TRY(sk__store_alloc(call->rt, size, &ret->extent, &ret->in_store, reterr));
    else {
        SK_TRY(reserve_bytes(&ret->bytes, size ? size : 1, reterr));
        ret->bytes.size = size;
        ret->in_store = ret->bytes.data;
    }
    *ret_data = ret->in_store;
    return SK_OK;
}

bool sk_call_cancelled(const sk_call *call) {
    SK_ASSERT(call);
    return call->is_cancelled && call->is_cancelled(call);
}

sk_status sk_call_save(sk_call *call, const void *state, size_t size, sk_error *reterr) {
    SK_ASSERT(call && (state || size == 0));
    if (!call->is_actor) return SK_FAIL(reterr, SK_EINVAL, "a task has no state to save; an actor has");
    call->state.size = 0;
    call->has_state = false;
    SK_TRY(sk__buffer_append(&call->state, state, size, reterr));
    call->has_state = true;
    return SK_OK;
}
