#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/client.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ids come in such lots, the next one is asked for when so few are left. */
enum { IDS_LOT = 1024, IDS_LOW = 256 };
/* What the driver takes of one worker's submission. */
enum { RETURNS_MAX = 1024 };

/* What a request is about is part of its number: an answer that comes when nobody waits any more is of use still. */
typedef enum request_kind { REQUEST_ASK, REQUEST_ALLOC, REQUEST_IDS } request_kind;

static uint64_t next_request(sk__client *self, request_kind kind) { return ++self->n_asked * 4 + (uint64_t)kind; }

/* ---- answers --------------------------------------------------------------------------------------------- */
static void set_text(sk_error *ret_err, sk_status status, const void *text, size_t size) {
    if (size == 0) text = sk_status_text(status), size = strlen(text);
    sk_error_set(ret_err, status, NULL, 0, "%.*s", size < 600 ? (int)size : 600, (const char *)text);
}

static bool reserve_ids(sk__client *self, size_t n) {
    size_t wanted = (size_t)self->n_stock + n;
    if (wanted <= (size_t)self->stock_cap) return true;
    uint64_t *grown = realloc(self->stock, wanted * sizeof *grown);
    if (!grown) return false;
    self->stock = grown;
    self->stock_cap = (int)wanted;
    return true;
}

static void on_ids(sk__client *self, sk_status status, sk_bytes payload) {
    size_t n = payload.size / sizeof(uint64_t);
    self->ids_under_way = false;
    if (status == SK_OK && (n == 0 || payload.size % sizeof(uint64_t) != 0)) {
        status = SK_ECORRUPT;
        payload.size = 0;
    }
    if (status != SK_OK) {
        set_text(&self->ids_err, status, payload.data, payload.size);
        return;
    }
    if (!reserve_ids(self, n)) {
        SK_FAIL(&self->ids_err, SK_ENOMEM, "no memory for %zu ids", n);
        return;
    }
    memcpy(self->stock + self->n_stock, payload.data, n * sizeof(uint64_t));
    self->n_stock += (int)n;
}

/* Nobody waits for this memory any more. */
static void on_late_extent(sk__client *self, sk_status status, sk_bytes payload) {
    sk_extent extent;
    if (status != SK_OK || payload.size != sizeof extent) return;
    memcpy(&extent, payload.data, sizeof extent);
    sk__client_free_extent(self, extent);
}

void sk__client_on_answer(sk__client *self, const sk_message *message, sk_bytes payload) {
    request_kind kind = (request_kind)(message->job % 4);
    sk_status    status = (sk_status)message->status;
    if (kind == REQUEST_IDS) {
        on_ids(self, status, payload);
        return;
    }
    for (sk__asked *asked = self->asked; asked; asked = asked->next) {
        if (asked->id != message->job || asked->done) continue;
        asked->status = status;
        asked->size = payload.size < sizeof asked->payload ? payload.size : sizeof asked->payload;
        if (asked->size) memcpy(asked->payload, payload.data, asked->size);
        asked->done = true;
        return;
    }
    if (kind == REQUEST_ALLOC) on_late_extent(self, status, payload);
}

/* ---- asking ---------------------------------------------------------------------------------------------- */
static bool is_answered(sk__client *self, void *arg) {
    (void)self;
    return ((sk__asked *)arg)->done;
}

sk_status sk__client_await(sk__client *self, sk__asked *asked, int64_t deadline_ns, sk__patience patience,
                           const char *what, sk_error *reterr) {
    asked->next = self->asked;
    self->asked = asked;
    sk_status   status = sk__mail_wait(self, is_answered, asked, deadline_ns, patience);
    sk__asked **link = &self->asked;
    while (*link != asked) link = &(*link)->next;
    *link = asked->next;
    if (status != SK_OK) return sk__mail_fail(self, status, what, reterr);
    if (asked->status != SK_OK) set_text(reterr, asked->status, asked->payload, asked->size);
    return asked->status;
}

/* Send a question; its answer is dropped if nobody waits for it. */
sk_status sk__client_send_ask(sk__client *self, const sk_message *head, const void *payload, size_t size,
                              sk__asked *asked, sk_error *reterr) {
    sk_message message = *head;
    message.kind = SK_MSG_ASK;
    asked->id = message.job = next_request(self, REQUEST_ASK);
    asked->done = false;
    if (size > SK_RING_MESSAGE_MAX - sizeof message)
        return SK_FAIL(reterr, SK_ELIMIT, "a request of %zu bytes; up to %zu are possible", size,
                       SK_RING_MESSAGE_MAX - sizeof message);
    sk__client_flush(self);
    return sk__mail_put(self, &message, payload, size, SK_MAIL_URGENT, reterr);
}

/* Ask without a payload, and wait for the answer: up to size bytes, which have to be there if it is SK_OK. */
sk_status sk__client_ask(sk__client *self, const sk_message *head, const char *what, int64_t deadline_ns,
                         void *ret_answer, size_t size, sk_error *reterr) {
    sk__asked asked;
    pthread_mutex_lock(&self->lock);
    sk_status status = sk__client_send_ask(self, head, NULL, 0, &asked, reterr);
    if (status == SK_OK) status = sk__client_await(self, &asked, deadline_ns, SK__IMPATIENT, what, reterr);
    pthread_mutex_unlock(&self->lock);
    if (status != SK_OK || size == 0) return status;
    if (asked.size != size)
        return SK_FAIL(reterr, SK_ECORRUPT, "the driver's answer for %s has %zu bytes, wanted %zu", what, asked.size,
                       size);
    memcpy(ret_answer, asked.payload, size);
    return SK_OK;
}

/* Ask without waiting. */
void sk__client_tell(sk__client *self, const sk_message *head) {
    sk__asked asked;
    sk_error  err = {0};
    pthread_mutex_lock(&self->lock);
    sk_status status = sk__client_send_ask(self, head, NULL, 0, &asked, &err);
    pthread_mutex_unlock(&self->lock);
    if (status != SK_OK) sk_log(SK_LOG_WARN, "worker: %s", err.msg);
}

/* ---- memory in the store --------------------------------------------------------------------------------- */
void sk__client_free_extent(sk__client *self, sk_extent extent) {
    sk_message head = {.kind = SK_MSG_FREE};
    sk_error   err = {0};
    if (sk__mail_put(self, &head, &extent, sizeof extent, SK_MAIL_PLAIN, &err) != SK_OK)
        sk_log(SK_LOG_WARN, "worker: %" PRIu64 " bytes stay taken: %s", extent.size, err.msg);
}

sk_status sk__client_ask_extent(sk__client *self, size_t size, sk_extent *ret_extent, void **ret_data,
                                sk_error *reterr) {
    char       what[64];
    sk__asked  asked = {.id = next_request(self, REQUEST_ALLOC)};
    sk_message head = {.kind = SK_MSG_ALLOC, .job = asked.id, .a = (int64_t)size};
    if (size == 0 || size > INT64_MAX) return SK_FAIL(reterr, SK_EINVAL, "an object of %zu bytes cannot be", size);
    snprintf(what, sizeof what, "%zu bytes of the store", size);
    SK_TRY(sk__mail_put(self, &head, NULL, 0, SK_MAIL_URGENT, reterr));
    SK_TRY(sk__client_await(self, &asked, INT64_MAX, SK__IMPATIENT, what, reterr));
    sk_extent extent = {0};
    if (asked.size == sizeof extent) memcpy(&extent, asked.payload, sizeof extent);
    void *place = sk__client_place(self, extent);
    if (!place || extent.size != size)
        return SK_FAIL(reterr, SK_ECORRUPT, "the driver gave %" PRIu64 " bytes at %" PRIu64 " for %s", extent.size,
                       extent.offset, what);
    *ret_extent = extent;
    *ret_data = place;
    return SK_OK;
}

sk_status sk__client_store_alloc(sk__client *self, size_t size, sk_extent *ret_extent, void **ret_data,
                                 sk_error *reterr) {
    pthread_mutex_lock(&self->lock);
    sk_status status = sk__client_ask_extent(self, size, ret_extent, ret_data, reterr);
    pthread_mutex_unlock(&self->lock);
    return status;
}

void sk__client_store_free(sk__client *self, sk_extent extent) {
    pthread_mutex_lock(&self->lock);
    sk__client_free_extent(self, extent);
    pthread_mutex_unlock(&self->lock);
}

/* ---- ids ------------------------------------------------------------------------------------------------- */
static sk_status ask_ids(sk__client *self, int n, sk_error *reterr) {
    sk_message head = {.kind = SK_MSG_IDS, .job = next_request(self, REQUEST_IDS), .a = n > IDS_LOT ? n : IDS_LOT};
    SK_TRY(sk__mail_put(self, &head, NULL, 0, SK_MAIL_URGENT, reterr));
    self->ids_under_way = true;
    return SK_OK;
}

/* Another thread may have taken what was asked for: then ask again. */
static bool has_ids(sk__client *self, void *arg) {
    const int *n = arg;
    return self->n_stock >= *n || self->ids_err.status != SK_OK || !self->ids_under_way;
}

sk_status sk__client_take_ids(sk__client *self, int n, sk_ref *ret_refs, sk_error *reterr) {
    while (self->n_stock < n) {
        if (!self->ids_under_way) SK_TRY(ask_ids(self, n, reterr));
        sk_status status = sk__mail_wait(self, has_ids, &n, INT64_MAX, SK__IMPATIENT);
        if (status != SK_OK) return sk__mail_fail(self, status, "ids for new objects", reterr);
        if (self->ids_err.status != SK_OK) {
            if (reterr) *reterr = self->ids_err;
            status = self->ids_err.status;
            self->ids_err = (sk_error){0};
            return status;
        }
    }
    for (int i = 0; i < n; i++) ret_refs[i].id = self->stock[--self->n_stock];
    /* so that the next ones are there when they are needed */
    if (self->n_stock < IDS_LOW && !self->ids_under_way) SK_TRY(ask_ids(self, IDS_LOT, reterr));
    return SK_OK;
}

void sk__client_give_ids(sk__client *self, int n, const sk_ref *refs) {
    if (!reserve_ids(self, (size_t)n)) return; /* they are lost, which harms nobody */
    for (int i = 0; i < n; i++) self->stock[self->n_stock++] = refs[i].id;
}

/* ---- arguments ------------------------------------------------------------------------------------------- */
static bool is_large(const sk_arg *arg) { return arg->ref.id == 0 && arg->size > SK_INLINE_MAX; }

static uint8_t *write_records(const sk__packing *self, uint8_t *at) {
    for (int i = 0; i < self->n; i++) {
        const sk_arg *arg = &self->args[i];
        if (arg->ref.id) at = sk_packed_put_ref(at, arg->ref);
        else if (is_large(arg)) at = sk_packed_put_extent(at, self->extents[i]);
        else at = sk_packed_put_value(at, arg->data, arg->size);
    }
    return at;
}

size_t sk__packing_size(const sk__packing *self) { return self->blob.size ? SK_PACKED_EXTENT_SIZE : self->size; }

uint8_t *sk__packing_write(const sk__packing *self, uint8_t *at) {
    return self->blob.size ? sk_packed_put_blob(at, self->blob) : write_records(self, at);
}

/* Done with it. What nobody took is given back. */
void sk__packing_end(sk__client *client, sk__packing *self, bool taken) {
    for (int i = 0; !taken && self->extents && i < self->n; i++)
        if (self->extents[i].size) sk__client_free_extent(client, self->extents[i]);
    if (!taken && self->blob.size) sk__client_free_extent(client, self->blob);
    free(self->extents);
    self->extents = NULL;
    self->blob = (sk_extent){0};
}

static sk_status move_large(sk__client *client, sk__packing *self, sk_error *reterr) {
    for (int i = 0; i < self->n; i++) {
        const sk_arg *arg = &self->args[i];
        if (!is_large(arg)) continue;
        if (!self->extents) self->extents = calloc((size_t)self->n, sizeof *self->extents);
        if (!self->extents) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d arguments", self->n);
        void *place = NULL;
        SK_TRY(sk__client_ask_extent(client, arg->size, &self->extents[i], &place, reterr));
        pthread_mutex_unlock(&client->lock);
        memcpy(place, arg->data, arg->size);
        pthread_mutex_lock(&client->lock);
    }
    return SK_OK;
}

/* Get ready to write the records into a message that has `room` for them. Waits for memory in the store if need be. */
sk_status sk__packing_begin(sk__client *client, sk__packing *self, size_t room, sk_error *reterr) {
    if (self->n < 0 || self->n > SK_MESSAGE_COUNT_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "%d arguments; 0 to %d are possible", self->n, SK_MESSAGE_COUNT_MAX);
    for (int i = 0; i < self->n; i++) {
        const sk_arg *arg = &self->args[i];
        if (arg->ref.id) self->size += SK_PACKED_REF_SIZE;
        else self->size += is_large(arg) ? SK_PACKED_EXTENT_SIZE : sk_packed_value_size(arg->size);
    }
    sk_status status = SK_OK;
    SK_TRY_GOTO(move_large(client, self, reterr));
    if (self->size > room) {
        void *place = NULL;
        SK_TRY_GOTO(sk__client_ask_extent(client, self->size, &self->blob, &place, reterr));
        write_records(self, place);
    }
    return SK_OK;
fail:
    sk__packing_end(client, self, false);
    return status;
}

/* ---- resources ------------------------------------------------------------------------------------------- */
sk_status sk__resources_check(const sk_resource *resources, int n, sk_error *reterr) {
    const size_t room = sizeof(((sk_resource_wire *)0)->name);
    if (n < 0 || n > SK_BOARD_RESOURCES)
        return SK_FAIL(reterr, SK_EINVAL, "%d resources; up to %d kinds are possible", n, SK_BOARD_RESOURCES);
    for (int i = 0; resources && i < n; i++) {
        const char *name = resources[i].name;
        if (!name || !*name || strlen(name) >= room)
            return SK_FAIL(reterr, SK_EINVAL, "a resource's name has 1 to %zu bytes, got '%s'", room - 1,
                           name ? name : "");
    }
    return SK_OK;
}

uint8_t *sk__resources_write(uint8_t *at, const sk_resource *resources, int n) {
    for (int i = 0; resources && i < n; i++) {
        sk_resource_wire wire = {.amount = resources[i].amount};
        snprintf(wire.name, sizeof wire.name, "%s", resources[i].name);
        memcpy(at, &wire, sizeof wire);
        at += sizeof wire;
    }
    return at;
}

/* ---- tasks and calls ------------------------------------------------------------------------------------- */
/* A submission, of either kind. */
typedef struct order {
    sk_message         head;
    sk_submit_head     body;
    const sk_resource *resources; /* (body.n_resources) */
    const sk_arg      *args;
    int                n_args, n_returns;
} order;

static size_t ids_size(int n_returns) { return ((size_t)n_returns * sizeof(uint64_t) + 15) & ~(size_t)15; }

static size_t order_size(const order *self) {
    size_t n_resources = self->body.n_resources > 0 ? (size_t)self->body.n_resources : 0;
    return sizeof self->body + ids_size(self->n_returns) + n_resources * sizeof(sk_resource_wire);
}

static sk_status send_order(sk__client *client, const order *self, const sk__packing *args, const sk_ref *refs,
                            sk_error *reterr) {
    size_t size = order_size(self) + sk__packing_size(args);
    sk__client_flush(client);
    sk_message *head = sk__mail_begin(client, (sk_message_kind)self->head.kind, size);
    if (!head) return SK_FAIL(reterr, SK_EINTERRUPTED, "the program is ending");
    *head = self->head;
    head->magic = SK_MESSAGE_MAGIC;
    head->n_args = (uint32_t)self->n_args;
    head->n_returns = (uint32_t)self->n_returns;
    uint8_t *at = (uint8_t *)(head + 1);
    memcpy(at, &self->body, sizeof self->body);
    at += sizeof self->body;
    memset(at, 0, ids_size(self->n_returns));
    memcpy(at, refs, (size_t)self->n_returns * sizeof(uint64_t));
    at += ids_size(self->n_returns);
    at = sk__resources_write(at, self->resources, self->body.n_resources);
    sk__packing_write(args, at);
    sk__mail_send(client, size, SK_MAIL_URGENT);
    return SK_OK;
}

/* Rows for the results, whose values come by themselves. */
static sk_status know_results(sk__client *client, const sk_ref *refs, int n, uint64_t function, sk_error *reterr) {
    for (int i = 0; i < n; i++) {
        sk__known *known = sk__known_add(client, refs[i].id);
        if (!known) {
            while (--i >= 0) sk__known_remove(client, sk__known_find(client, refs[i].id));
            return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d results", n);
        }
        known->asked = true;
        known->function = function;
    }
    return SK_OK;
}

static sk_status submit_locked(sk__client *client, const order *self, sk_ref *ret_refs, sk_error *reterr) {
    sk__packing args = {.args = self->args, .n = self->n_args};
    size_t  fixed = sizeof(sk_message) + order_size(self);
    if (fixed + SK_PACKED_EXTENT_SIZE > SK_RING_MESSAGE_MAX)
        return SK_FAIL(reterr, SK_ELIMIT, "%d returns are too many for one submission", self->n_returns);
    SK_TRY(sk__packing_begin(client, &args, SK_RING_MESSAGE_MAX - fixed, reterr));
    sk_status status = sk__client_take_ids(client, self->n_returns, ret_refs, reterr);
    if (status == SK_OK) {
        status = know_results(client, ret_refs, self->n_returns, self->head.function, reterr);
        if (status == SK_OK) {
            status = send_order(client, self, &args, ret_refs, reterr);
            for (int i = 0; status != SK_OK && i < self->n_returns; i++)
                sk__known_remove(client, sk__known_find(client, ret_refs[i].id));
        }
        if (status != SK_OK) sk__client_give_ids(client, self->n_returns, ret_refs);
    }
    sk__packing_end(client, &args, status == SK_OK);
    if (status != SK_OK) memset(ret_refs, 0, (size_t)self->n_returns * sizeof *ret_refs);
    return status;
}

static sk_status submit(sk__client *client, order *self, sk_ref *ret_refs, sk_error *reterr) {
    if (self->n_returns == 0) self->n_returns = 1;
    if (self->n_returns < 0 || self->n_returns > RETURNS_MAX)
        return SK_FAIL(reterr, SK_EINVAL, "%d returns; a worker process may ask for 1 to %d", self->n_returns,
                       RETURNS_MAX);
    pthread_mutex_lock(&client->lock);
    sk_status status = submit_locked(client, self, ret_refs, reterr);
    pthread_mutex_unlock(&client->lock);
    return status;
}

sk_status sk__client_submit(sk__client *self, const sk_task *task, sk_ref *ret_refs, sk_error *reterr) {
    if (!task->function || !*task->function) return SK_FAIL(reterr, SK_EINVAL, "a task without a function");
    if (task->placement == SK_PLACE_INLINE) return sk__client_run_inline(self, task, ret_refs, reterr);
    SK_TRY(sk__resources_check(task->resources, task->n_resources, reterr));
    /* The function may be one of the driver's threads only: it tells through the results if there is none. */
    order it = {
        .head = {.kind = SK_MSG_SUBMIT, .function = sk_function_hash(task->function)},
        .body = {.placement = (int32_t)task->placement,
                 .n_resources = task->resources ? task->n_resources : -1,
                 .max_retries = task->max_retries,
                 .retry_errors = task->retry_errors,
                 .timeout_ms = task->timeout_ms,
                 .bundle = task->bundle,
                 .group = task->group.id},
        .resources = task->resources,
        .args = task->args,
        .n_args = task->n_args,
        .n_returns = task->n_returns,
    };
    snprintf(it.body.name, sizeof it.body.name, "%s", task->name ? task->name : task->function);
    return submit(self, &it, ret_refs, reterr);
}

sk_status sk__client_actor_call(sk__client *self, sk_actor actor, const sk_method *method, sk_ref *ret_refs,
                                sk_error *reterr) {
    if (actor.id == 0) return SK_FAIL(reterr, SK_EINVAL, "a call of no actor");
    if (method->method < 0) return SK_FAIL(reterr, SK_EINVAL, "methods are numbered from 0, got %d", method->method);
    order it = {
        .head = {.kind = SK_MSG_SUBMIT_CALL, .subject = actor.id, .method = method->method},
        .body = {.timeout_ms = method->timeout_ms},
        .args = method->args,
        .n_args = method->n_args,
        .n_returns = method->n_returns,
    };
    return submit(self, &it, ret_refs, reterr);
}

void sk__client_cancel(sk__client *self, sk_ref ref, sk_cancel_how how) {
    if (ref.id == 0) return;
    sk_message head = {.kind = SK_MSG_CANCEL, .subject = ref.id, .a = how};
    sk_error   err = {0};
    pthread_mutex_lock(&self->lock);
    sk_status status = sk__mail_put(self, &head, NULL, 0, SK_MAIL_URGENT, &err);
    pthread_mutex_unlock(&self->lock);
    if (status != SK_OK) sk_log(SK_LOG_WARN, "worker: %s", err.msg);
}
