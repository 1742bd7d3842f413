#include "tests/cluster/fake_head.h"
#include "core/base/clock.h"
#include "core/runtime/registry.h"
#include "tests/runtime/probe_module.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BEAT_MS = 300, HOST_NUMBER = 1 };

/* ---- life ------------------------------------------------------------------------------------------------ */
head *head_create(void) {
    head *self = aligned_alloc(64, (sizeof *self + 63) / 64 * 64);
    cr_assert(self);
    memset(self, 0, sizeof *self);
    self->got = calloc(1, HEAD_BYTES_MAX);
    self->next_id = 1000;
    cr_assert(self->got);
    sk_link_params params = {.endpoint = "tcp://127.0.0.1:0"};
    sk_error       err = {0};
    cr_assert_eq(sk_link_listen(&params, &self->link, &err), SK_OK, "%s", err.msg);
    snprintf(self->endpoint, sizeof self->endpoint, "%s", sk_link_endpoint(self->link));
    return self;
}

static void *run_node(void *arg) {
    head *self = arg;
    self->status = sk_node_run(&self->params, &self->err);
    atomic_store(&self->node_has_ended, true);
    return NULL;
}

void head_start_node(head *self, sk_node_params params) {
    static const sk_resource two = {"cpu", 2};
    self->params = params;
    self->params.endpoint = self->endpoint;
    self->params.plain = true;
    self->params.interrupted = &self->interrupted;
    if (!params.name) self->params.name = "far";
    if (!params.build) self->params.build = HEAD_BUILD;
    if (!params.worker_path) self->params.worker_path = probe_worker_path();
    if (!params.store_bytes) self->params.store_bytes = HEAD_BYTES_MAX;
    if (!params.resources) {
        self->params.resources = &two;
        self->params.n_resources = 1;
    }
    if (params.wait_s == 0) self->params.wait_s = HEAD_PATIENCE_MS / 1e3;
    cr_assert_eq(pthread_create(&self->node, NULL, run_node, self), 0);
    self->has_node = true;
}

head *head_start(void) {
    head *self = head_create();
    head_start_node(self, (sk_node_params){0});
    return self;
}

static void send_beat(head *self) {
    int64_t now_ns = sk_clock_now_ns();
    if (self->is_silent || self->session == 0 || now_ns - self->told_ns < BEAT_MS * INT64_C(1000000)) return;
    head_send(self, (sk_link_frame){.kind = SK_WIRE_BEAT, .a = (uint64_t)now_ns}, NULL, 0);
    self->told_ns = now_ns;
}

void head_await_node(head *self) {
    int64_t end_ns = sk_clock_now_ns() + HEAD_PATIENCE_MS * INT64_C(1000000);
    while (!atomic_load(&self->node_has_ended)) {
        sk_link_frame frame;
        cr_assert_lt(sk_clock_now_ns(), end_ns, "the node has not ended");
        while (sk_link_recv(self->link, &frame, NULL) == SK_OK) continue;
        sk_link_wait(self->link, 20);
    }
    pthread_join(self->node, NULL);
    self->has_node = false;
}

void head_destroy(head *self, sk_status status) {
    if (self->has_node && self->session && !atomic_load(&self->node_has_ended))
        head_send(self, (sk_link_frame){.kind = SK_WIRE_BYE}, "the test is over", 16);
    if (self->has_node) head_await_node(self);
    cr_assert_eq(self->status, status, "the node ended with %s, wanted %s: %s", sk_status_text(self->status),
                 sk_status_text(status), self->err.msg);
    sk_link_destroy(&self->link, 0);
    free(self->got);
    free(self);
}

/* ---- frames ---------------------------------------------------------------------------------------------- */
void head_send(head *self, sk_link_frame frame, const void *payload, size_t size) {
    sk_error err = {0};
    frame.session = self->session;
    frame.payload = payload;
    frame.size = size;
    sk_status status;
    while ((status = sk_link_send(self->link, &frame, &self->order, &err)) == SK_ELIMIT) usleep(500);
    cr_assert_eq(status, SK_OK, "%s", err.msg);
}

static void keep_chunk(head *self) {
    const sk_link_frame *frame = &self->frame;
    cr_assert_leq(frame->a + frame->b + frame->size, HEAD_BYTES_MAX);
    memcpy(self->got + frame->a + frame->b, frame->payload, frame->size);
    self->n_got += frame->size;
}

/* False: there is none now. */
static bool receive(head *self) {
    sk_error  err = {0};
    sk_status status = sk_link_recv(self->link, &self->frame, &err);
    if (status == SK_ENOTFOUND) return false;
    cr_assert_eq(status, SK_OK, "%s", err.msg);
    cr_assert_eq(sk_wire_check(&self->frame, SK_TO_HEAD, &err), SK_OK, "%s", err.msg);
    if (self->frame.kind == SK_WIRE_JOIN) {
        self->session = self->frame.session;
        self->order = (sk_link_order){0};
    }
    if (self->frame.session != self->session) return false; /* of one that is over */
    cr_assert(sk_link_order_take(&self->order, self->frame.seq), "frame %llu came out of order",
              (unsigned long long)self->frame.seq);
    if (self->frame.size) memcpy(self->bytes, self->frame.payload, self->frame.size);
    self->frame.payload = self->bytes;
    if (self->frame.kind == SK_WIRE_BEAT) self->n_beats++;
    if (self->frame.kind == SK_WIRE_CHUNK) keep_chunk(self);
    return self->frame.kind != SK_WIRE_BEAT;
}

const sk_link_frame *head_next(head *self) {
    int64_t end_ns = sk_clock_now_ns() + HEAD_PATIENCE_MS * INT64_C(1000000);
    while (!receive(self)) {
        cr_assert_lt(sk_clock_now_ns(), end_ns, "nothing came");
        cr_assert_not(atomic_load(&self->node_has_ended), "the node has ended: %s", self->err.msg);
        send_beat(self);
        sk_link_wait(self->link, 20);
    }
    return &self->frame;
}

const sk_link_frame *head_expect(head *self, sk_wire_kind kind) {
    const sk_link_frame *frame;
    do frame = head_next(self);
    while (frame->kind == SK_WIRE_CHUNK && kind != SK_WIRE_CHUNK);
    cr_assert_eq(frame->kind, kind, "wanted %s, got %s: %.*s", sk_wire_kind_text(kind), sk_wire_kind_text(frame->kind),
                 frame->kind == SK_WIRE_LEAVE ? (int)frame->size : 0, (const char *)frame->payload);
    return frame;
}

const sk_wire_join *head_expect_join(head *self) { return head_expect(self, SK_WIRE_JOIN)->payload; }

void head_welcome(head *self, const char *const *texts) {
    static const char   *const none[] = {"0", NULL};
    _Alignas(16) uint8_t bytes[8192];
    uint8_t             *at = sk_packed_put_value(bytes, "the test", 8);
    for (texts = texts ? texts : none; *texts; texts++) at = sk_packed_put_value(at, *texts, strlen(*texts));
    head_send(self, (sk_link_frame){.kind = SK_WIRE_WELCOME, .a = HOST_NUMBER}, bytes, (size_t)(at - bytes));
}

int head_spawn(head *self, uint32_t line, uint32_t generation) {
    head_send(self, (sk_link_frame){.kind = SK_WIRE_SPAWN, .line = line, .generation = generation}, "worker", 6);
    int pid = (int)head_expect_mail(self, SK_MSG_HELLO)->a;
    cr_assert(self->frame.line == line && self->frame.generation == generation);
    return pid;
}

int head_start_worker(head *self) {
    head_expect_join(self);
    head_welcome(self, NULL);
    head_expect(self, SK_WIRE_READY);
    return head_spawn(self, HEAD_LINE, HEAD_GENERATION);
}

/* ---- messages -------------------------------------------------------------------------------------------- */
void head_mail_to(head *self, uint32_t line, uint32_t generation, sk_message message, const void *payload,
                  size_t size) {
    _Alignas(16) uint8_t bytes[SK_RING_MESSAGE_MAX];
    cr_assert_leq(sizeof message + size, sizeof bytes);
    message.magic = SK_MESSAGE_MAGIC;
    memcpy(bytes, &message, sizeof message);
    if (size) memcpy(bytes + sizeof message, payload, size);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_MAIL, .line = line, .generation = generation}, bytes,
              sizeof message + size);
}

void head_mail(head *self, sk_message message, const void *payload, size_t size) {
    head_mail_to(self, HEAD_LINE, HEAD_GENERATION, message, payload, size);
}

void head_run(head *self, uint64_t job, const char *function, int n_args, sk_bytes packed, int n_returns) {
    sk_message run = {.kind = SK_MSG_RUN, .job = job, .function = sk_function_hash(function),
                      .n_args = (uint32_t)n_args, .n_returns = (uint32_t)n_returns};
    head_mail(self, run, packed.data, packed.size);
}

void head_run_with(head *self, uint64_t job, const char *function, const void *data, size_t size) {
    _Alignas(16) uint8_t bytes[SK_RING_MESSAGE_MAX];
    uint8_t             *end = sk_packed_put_value(bytes, data, size);
    head_run(self, job, function, 1, (sk_bytes){bytes, (size_t)(end - bytes)}, 1);
}
void head_run_int(head *self, uint64_t job, const char *function, int32_t value) {
    head_run_with(self, job, function, &value, sizeof value);
}
void head_run_long(head *self, uint64_t job, const char *function, int64_t value) {
    head_run_with(self, job, function, &value, sizeof value);
}

static void grant_ids(head *self, const sk_message *asked) {
    uint64_t ids[4096];
    int64_t  n = asked->a > 0 && asked->a < 4096 ? asked->a : 4096;
    for (int64_t i = 0; i < n; i++) ids[i] = self->next_id++;
    head_mail_to(self, self->frame.line, self->frame.generation, (sk_message){.kind = SK_MSG_ANSWER, .job = asked->job},
                 ids, (size_t)n * sizeof *ids);
}

const sk_message *head_expect_mail(head *self, sk_message_kind kind) {
    for (;;) {
        const sk_message *message = NULL;
        sk_error          err = {0};
        head_expect(self, SK_WIRE_MAIL);
        sk_status status =
            sk_message_parse(self->bytes, self->frame.size, SK_TO_DRIVER, &message, &self->payload, &err);
        cr_assert_eq(status, SK_OK, "%s", err.msg);
        if (message->kind == SK_MSG_IDS) grant_ids(self, message);
        else if ((message->kind != SK_MSG_BLOCKED && message->kind != SK_MSG_UNBLOCKED) || message->kind == kind) {
            bool is_error = message->kind == SK_MSG_REPLY && message->status != SK_OK;
            cr_assert_eq(message->kind, kind, "wanted kind %d, got %d: %.*s", kind, message->kind,
                         is_error ? (int)self->payload.size : 0, (const char *)self->payload.data);
            return message;
        }
    }
}

sk_record head_record(head *self, int i) {
    sk_bytes  rest = self->payload;
    sk_record record;
    sk_error  err = {0};
    for (; i >= 0; i--) cr_assert_eq(sk_packed_next(&rest, &record, &err), SK_OK, "%s", err.msg);
    return record;
}

static const void *expect_value(head *self, uint64_t job, size_t size) {
    const sk_message *reply = head_expect_mail(self, SK_MSG_REPLY);
    cr_assert_eq(reply->job, job, "wanted the answer to job %llu, got that to %llu", (unsigned long long)job,
                 (unsigned long long)reply->job);
    cr_assert_eq(reply->status, SK_OK, "%.*s", (int)self->payload.size, (const char *)self->payload.data);
    sk_record record = head_record(self, 0);
    cr_assert(record.kind == SK_PACKED_VALUE && record.value.size == size);
    return record.value.data;
}
int64_t head_expect_long(head *self, uint64_t job) {
    int64_t value;
    memcpy(&value, expect_value(self, job, sizeof value), sizeof value);
    return value;
}
int32_t head_expect_int(head *self, uint64_t job) {
    int32_t value;
    memcpy(&value, expect_value(self, job, sizeof value), sizeof value);
    return value;
}

void head_expect_death(head *self, uint32_t line, const char *how) {
    const sk_link_frame *frame = head_expect(self, SK_WIRE_DEATH);
    const sk_wire_death *death = frame->payload;
    cr_assert_eq(frame->line, line);
    cr_assert(strstr(death->how, how), "wanted '%s', got '%s'", how, death->how);
}

void head_copy(head *self, sk_extent extent, const void *data) {
    head_send(self, (sk_link_frame){.kind = SK_WIRE_COPY, .a = extent.offset, .b = extent.size}, NULL, 0);
    for (uint64_t at = 0; at < extent.size; at += SK_CHUNK_BYTES) {
        uint64_t size = extent.size - at < SK_CHUNK_BYTES ? extent.size - at : SK_CHUNK_BYTES;
        head_send(self, (sk_link_frame){.kind = SK_WIRE_CHUNK, .a = extent.offset, .b = at}, (const uint8_t *)data + at,
                  size);
    }
}
