#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/client.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments ------------------------------------------------------------------------------------------- */
sk_status sk__work_open(const sk__client *client, sk_bytes payload, sk_bytes *ret_rest, sk_error *reterr) {
    sk_bytes  rest = payload;
    sk_record record;
    *ret_rest = payload;
    if (payload.size == 0) return SK_OK;
    SK_TRY(sk_packed_next(&rest, &record, reterr));
    if (record.kind != SK_PACKED_BLOB) return SK_OK;
    if (rest.size > 0) return SK_FAIL(reterr, SK_ECORRUPT, "%zu bytes follow the place of all arguments", rest.size);
    void *place = sk__client_place(client, record.extent);
    if (!place || record.extent.offset % 16 != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "arguments in %" PRIu64 " bytes at %" PRIu64 ": not in the store",
                       record.extent.size, record.extent.offset);
    *ret_rest = (sk_bytes){place, record.extent.size};
    return SK_OK;
}

sk_status sk__work_next(const sk__client *client, sk_bytes *rest, sk_bytes *ret_value, sk_error *reterr) {
    sk_record record;
    SK_TRY(sk_packed_next(rest, &record, reterr));
    if (record.kind == SK_PACKED_VALUE) {
        *ret_value = record.value;
        return SK_OK;
    }
    if (record.kind != SK_PACKED_EXTENT)
        return SK_FAIL(reterr, SK_ECORRUPT, "an argument's record is of kind %d, wanted its bytes or their place",
                       record.kind);
    void *place = sk__client_place(client, record.extent);
    if (!place || record.extent.offset % 16 != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "an argument of %" PRIu64 " bytes at %" PRIu64 ": not in the store",
                       record.extent.size, record.extent.offset);
    *ret_value = (sk_bytes){place, record.extent.size};
    return SK_OK;
}

sk_status sk__work_close(sk_bytes rest, sk_error *reterr) {
    if (rest.size > 0) return SK_FAIL(reterr, SK_ECORRUPT, "%zu bytes follow the last argument", rest.size);
    return SK_OK;
}

/* ---- a job's beginning and end --------------------------------------------------------------------------- */
static bool call_is_cancelled(const sk_call *call) {
    sk__work *work = call->host;
    return sk__work_is_cancelled(work) || atomic_load_explicit(&work->client->line->stopping, memory_order_relaxed);
}

void sk__work_begin(sk__work *self, const sk_message *message) {
    sk_line *line = self->client->line;
    self->job = message->job;
    self->cancelled = self->blocked = false;
    self->n_waits = 0;
    self->cancels_seen = 0; /* the job may be among those cancelled long since */
    self->call.host = self;
    self->call.is_cancelled = call_is_cancelled;
    self->call.is_actor = message->kind != SK_MSG_RUN;
    atomic_store_explicit(&line->job, message->job, memory_order_relaxed);
    self->start_ns = sk_clock_now_ns();
    atomic_store_explicit(&line->job_since_ns, self->start_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&line->n_started, 1, memory_order_release);
}

sk_status sk__work_check(sk__work *self, sk_error *reterr) {
    SK_TRY(sk__call_begin(&self->call, &self->client->rt, 0, 0, reterr)); /* nothing is left of the last one */
    if (sk__work_is_cancelled(self)) /* not an error of this place */
        return sk_error_set(reterr, SK_ECANCELED, NULL, 0, "cancelled before it began");
    return SK_OK;
}

/* The returns of a good run, and the state if there is one: their records. */
static size_t answer_size(const sk_call *call) {
    size_t size = 0;
    for (int i = 0; i < call->n_returns; i++) {
        const sk__return *ret = &call->returns[i];
        size += ret->extent.size ? SK_PACKED_EXTENT_SIZE : sk_packed_value_size(ret->bytes.size);
    }
    if (call->has_state)
        size += call->state_extent.size ? SK_PACKED_EXTENT_SIZE : sk_packed_value_size(call->state.size);
    return size;
}

static uint8_t *write_one(uint8_t *at, const sk__buffer *bytes, sk_extent extent) {
    return extent.size ? sk_packed_put_extent(at, extent) : sk_packed_put_value(at, bytes->data, bytes->size);
}

static void write_answer(const sk_call *call, uint8_t *at) {
    for (int i = 0; i < call->n_returns; i++) at = write_one(at, &call->returns[i].bytes, call->returns[i].extent);
    if (call->has_state) write_one(at, &call->state, call->state_extent);
}

/* Send what the run answered. Takes the call's memory in the store. */
static sk_status send_answer(sk__work *self, const sk_message *reply, sk_urgency urgency, sk_error *reterr) {
    sk__client *client = self->client;
    sk_call    *call = &self->call;
    sk_extent   blob = {0};
    void       *place = NULL;
    size_t      size = answer_size(call);
    if (size > SK_RING_MESSAGE_MAX - sizeof *reply) {
        SK_TRY(sk__client_store_alloc(client, size, &blob, &place, reterr));
        write_answer(call, place);
        size = SK_PACKED_EXTENT_SIZE;
    }
    pthread_mutex_lock(&client->lock);
    sk_message *message = sk__mail_begin(client, SK_MSG_REPLY, size);
    if (message) {
        *message = *reply;
        message->method = call->has_state;
        if (blob.size) sk_packed_put_blob((uint8_t *)(message + 1), blob);
        else write_answer(call, (uint8_t *)(message + 1));
        sk__mail_send(client, size, urgency);
        sk__client_end_job(client, self);
    }
    pthread_mutex_unlock(&client->lock);
    /* nobody reads any more: what lies in the store goes with it */
    return message ? SK_OK : SK_FAIL(reterr, SK_EINTERRUPTED, "the program is ending");
}

static void send_error(sk__work *self, const sk_message *reply, sk_status status, const sk_error *err,
                       sk_urgency urgency) {
    char       text[sizeof err->msg + 128];
    sk_message message = *reply;
    sk_error   failure = {0};
    message.status = sk_message_status_is_known(status) && status != SK_OK ? status : SK_EINVAL;
    sk__error_text(err, (sk_status)message.status, text, sizeof text);
    pthread_mutex_lock(&self->client->lock);
    sk_status sent = sk__mail_put(self->client, &message, text, strlen(text), urgency, &failure);
    sk__client_end_job(self->client, self);
    pthread_mutex_unlock(&self->client->lock);
    if (sent != SK_OK) sk_log(SK_LOG_WARN, "worker: %s", failure.msg);
}

void sk__work_end(sk__work *self, const sk_message *message, sk_status status, const sk_error *err) {
    sk__client *client = self->client;
    sk_line    *line = client->line;
    sk_error    own = {0};
    sk_message  reply = {.magic = SK_MESSAGE_MAGIC, .kind = SK_MSG_REPLY, .job = message->job,
                         .subject = message->subject, .n_returns = (uint32_t)self->call.n_returns,
                         .a = self->start_ns, .b = sk_clock_now_ns() - self->start_ns};
    /* the loop looks again before it sleeps and tells the driver then; other threads do not */
    sk_urgency urgency = self->is_loop ? SK_MAIL_PLAIN : SK_MAIL_URGENT;
    if (status == SK_OK) {
        err = &own;
        status = sk__call_finish(&self->call, &own);
        if (status == SK_OK) status = send_answer(self, &reply, urgency, &own);
    }
    if (status != SK_OK) {
        sk__call_abandon(&self->call);
        send_error(self, &reply, status, err, urgency);
    }
    if (!self->is_loop) sk__mail_tell(client);
    uint64_t job = self->job;
    self->job = 0;
    atomic_compare_exchange_strong_explicit(&line->job, &job, 0, memory_order_relaxed, memory_order_relaxed);
}

sk_status sk__work_run_task(sk__work *self, const sk_message *message, sk_bytes payload, sk_error *reterr) {
    sk_bytes           rest;
    const sk_function *function = sk_registry_find(self->client->registry, message->function);
    if (!function || !function->run)
        return SK_FAIL(reterr, SK_ENOTFOUND, "a worker process has no function of hash %016" PRIx64
                       " (a module of the program that its worker program lacks?)", message->function);
    SK_TRY(sk__call_begin(&self->call, &self->client->rt, (int)message->n_args, (int)message->n_returns, reterr));
    SK_TRY(sk__work_open(self->client, payload, &rest, reterr));
    for (int i = 0; i < self->call.n_args; i++) SK_TRY(sk__work_next(self->client, &rest, &self->call.args[i], reterr));
    SK_TRY(sk__work_close(rest, reterr));
    return function->run(&self->call, reterr);
}

void sk__work_deinit(sk__work *self) {
    sk__call_deinit(&self->call);
    free(self->borrowed);
    self->borrowed = NULL;
}

/* ---- a task in the calling thread ------------------------------------------------------------------------ */
/* Aligned copies of the arguments by value, the values of those by reference. */
static sk_status gather_args(sk__client *client, const sk_task *task, sk_call *call, uint8_t **ret_copies,
                             sk_error *reterr) {
    size_t size = 16;
    for (int i = 0; i < task->n_args; i++) size += (task->args[i].size + 15) & ~(size_t)15;
    uint8_t *at = *ret_copies = aligned_alloc(16, size);
    if (!at) return SK_FAIL(reterr, SK_ENOMEM, "no memory for arguments of %zu bytes", size);
    for (int i = 0; i < task->n_args; i++) {
        const sk_arg *arg = &task->args[i];
        if (arg->ref.id) {
            SK_TRY(sk__client_get_argument(client, arg->ref, &call->args[i], reterr));
            continue;
        }
        if (arg->size) memcpy(at, arg->data, arg->size);
        call->args[i] = (sk_bytes){at, arg->size};
        at += (arg->size + 15) & ~(size_t)15;
    }
    return SK_OK;
}

static sk_status run_here(sk__client *client, const sk_task *task, const sk_function *function, sk_call *call,
                          sk_error *reterr) {
    uint8_t  *copies = NULL;
    sk_status status = gather_args(client, task, call, &copies, reterr);
    if (status == SK_OK) status = function->run(call, reterr);
    if (status == SK_OK) status = sk__call_finish(call, reterr);
    else sk__call_abandon(call);
    free(copies);
    return status;
}

/* One object per return: its value, or why there is none. */
static sk_status keep_results(sk__client *client, sk_call *call, sk_status ran, const char *text, sk_ref *ret_refs,
                              sk_error *reterr) {
    for (int i = 0; i < call->n_returns; i++) {
        sk__return *ret = &call->returns[i];
        if (ran == SK_OK && ret->extent.size == 0) {
            SK_TRY(sk__client_put(client, ret->bytes.data, ret->bytes.size, &ret_refs[i], reterr));
            continue;
        }
        pthread_mutex_lock(&client->lock);
        sk_status status = sk__client_take_ids(client, 1, &ret_refs[i], reterr);
        if (status == SK_OK && ran == SK_OK) {
            status = sk__client_put_extent(client, ret_refs[i], ret->extent, reterr);
            if (status == SK_OK) ret->extent = (sk_extent){0}; /* the object's now */
        } else if (status == SK_OK)
            status = sk__client_put_failure(client, ret_refs[i], ran, text, reterr);
        pthread_mutex_unlock(&client->lock);
        SK_TRY(status);
    }
    return SK_OK;
}

static bool outer_is_cancelled(const sk_call *call) {
    return call->host && sk__work_is_cancelled(call->host);
}

sk_status sk__client_run_inline(sk__client *self, const sk_task *task, sk_ref *ret_refs, sk_error *reterr) {
    const sk_function *function = NULL;
    sk__work          *work = sk__work_current();
    int                n_returns = task->n_returns ? task->n_returns : 1;
    sk_call            call = {.is_cancelled = outer_is_cancelled, .host = work && work->job ? work : NULL};
    sk_error           err = {0};
    char               text[sizeof err.msg + 128] = "";
    if (task->n_args < 0 || n_returns < 0)
        return SK_FAIL(reterr, SK_EINVAL, "a task with %d arguments and %d returns", task->n_args, task->n_returns);
    SK_TRY(sk_registry_find_name(self->registry, SK_FUNCTION_TASK, task->function, &function, reterr));
    for (int i = 0; i < n_returns; i++) ret_refs[i] = (sk_ref){0};
    sk_status status = sk__call_begin(&call, &self->rt, task->n_args, n_returns, reterr);
    if (status == SK_OK) {
        sk_status ran = run_here(self, task, function, &call, &err);
        if (ran != SK_OK) {
            if (!sk_message_status_is_known(ran)) ran = SK_EINVAL;
            sk_error_prefix(&err, "%s", task->name ? task->name : task->function);
            sk__error_text(&err, ran, text, sizeof text);
        }
        status = keep_results(self, &call, ran, text, ret_refs, reterr);
        sk__call_abandon(&call);
    }
    if (status != SK_OK)
        for (int i = 0; i < n_returns; i++) sk__client_release(self, &ret_refs[i]);
    sk__call_deinit(&call);
    return status;
}
