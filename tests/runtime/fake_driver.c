#include "tests/runtime/fake_driver.h"
#include "core/base/clock.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *run_worker(void *arg) {
    fake *self = arg;
    self->exit_status = sk__worker_serve(self->board, FAKE_LINE, (sk__store_view){self->store, FAKE_STORE},
                                         self->registry);
    return NULL;
}

fake *fake_create(const sk_module *module) {
    fake *self = aligned_alloc(64, (sizeof *self + 63) / 64 * 64);
    cr_assert(self);
    memset(self, 0, sizeof *self);
    self->next_id = 1000;
    self->exit_status = -1;
    cr_assert_eq(sk_board_create("test", &self->block, &self->board, NULL), SK_OK);
    self->store = aligned_alloc(64, FAKE_STORE);
    cr_assert(self->store);
    cr_assert_eq(sk_registry_create(&self->registry, NULL), SK_OK);
    cr_assert_eq(sk_registry_add_module(self->registry, module, NULL), SK_OK);
    self->line = &self->board->lines[FAKE_LINE];
    sk_ring_writer_init(&self->down, &self->line->down);
    sk_ring_reader_init(&self->up, &self->line->up);
    return self;
}

fake *fake_start(const sk_module *module) {
    fake *self = fake_create(module);
    cr_assert_eq(pthread_create(&self->worker, NULL, run_worker, self), 0);
    cr_assert_eq(fake_expect(self, SK_MSG_HELLO)->a, getpid());
    return self;
}

void fake_stop(fake *self) {
    fake_send(self, (sk_message){.kind = SK_MSG_STOP}, NULL, 0);
    fake_expect(self, SK_MSG_BYE);
    pthread_join(self->worker, NULL);
    cr_assert_eq(self->exit_status, SK__EXIT_STOPPED);
    fake_destroy(self);
}

void fake_destroy(fake *self) {
    sk_registry_destroy(&self->registry);
    sk_block_destroy(&self->block);
    free(self->store);
    free(self);
}

void fake_send_raw(fake *self, const void *bytes, size_t size) {
    void *at;
    while (!(at = sk_ring_reserve(&self->down, size))) sk_ring_wait_room(&self->down, 1000000);
    memcpy(at, bytes, size);
    sk_ring_commit(&self->down, size);
    sk_bell_ring(&self->line->bell);
}

void fake_send(fake *self, sk_message head, const void *payload, size_t size) {
    uint8_t *bytes = malloc(sizeof head + size);
    cr_assert(bytes);
    head.magic = SK_MESSAGE_MAGIC;
    memcpy(bytes, &head, sizeof head);
    if (size) memcpy(bytes + sizeof head, payload, size);
    fake_send_raw(self, bytes, sizeof head + size);
    free(bytes);
}

sk_extent fake_alloc(fake *self, size_t size, int fill) {
    sk_extent extent = {self->used, size};
    self->used += (size + 63) / 64 * 64;
    cr_assert(self->used <= FAKE_STORE, "the test wants too much of its store");
    memset(self->store + extent.offset, fill, size);
    return extent;
}

static void grant_ids(fake *self, const sk_message *message) {
    uint64_t *ids = malloc((size_t)message->a * sizeof *ids);
    cr_assert(ids);
    for (int64_t i = 0; i < message->a; i++) ids[i] = self->next_id++;
    fake_send(self, (sk_message){.kind = SK_MSG_ANSWER, .job = message->job}, ids, (size_t)message->a * sizeof *ids);
    free(ids);
    self->n_ids++;
}

/* True: it was for the driver only. */
static bool deal_with(fake *self, const sk_message *message) {
    if (message->kind == SK_MSG_IDS) grant_ids(self, message);
    else if (message->kind == SK_MSG_ALLOC && !self->holds_allocs) {
        sk_extent extent = fake_alloc(self, (size_t)message->a, 0);
        fake_send(self, (sk_message){.kind = SK_MSG_ANSWER, .job = message->job}, &extent, sizeof extent);
        self->n_allocs++;
    } else if (message->kind == SK_MSG_FREE)
        self->n_frees++;
    else
        return false;
    return true;
}

/* NULL: nothing comes until then. */
static const sk_message *next_until(fake *self, int64_t until_ns) {
    for (;;) {
        const void *bytes = NULL;
        size_t      size = 0;
        sk_error    err = {0};
        sk_status   status = sk_ring_peek(&self->up, &bytes, &size, &err);
        if (status == SK_ENOTFOUND) {
            if (sk_clock_now_ns() > until_ns) return NULL;
            usleep(50);
            continue;
        }
        cr_assert_eq(status, SK_OK, "%s", err.msg);
        memcpy(self->bytes, bytes, size);
        sk_ring_pop(&self->up);
        const sk_message *message = NULL;
        status = sk_message_parse(self->bytes, size, SK_TO_DRIVER, &message, &self->payload, &err);
        cr_assert_eq(status, SK_OK, "%s", err.msg);
        if (!deal_with(self, message)) return message;
    }
}

const sk_message *fake_next(fake *self) {
    const sk_message *message = next_until(self, sk_clock_now_ns() + (int64_t)FAKE_PATIENCE_MS * 1000000);
    cr_assert(message, "the worker says nothing");
    return message;
}

const sk_message *fake_expect(fake *self, sk_message_kind kind) {
    const sk_message *message = fake_next(self);
    bool              is_about_blocking = kind == SK_MSG_BLOCKED || kind == SK_MSG_UNBLOCKED;
    while ((!is_about_blocking && message->kind == SK_MSG_UNBLOCKED) ||
           (kind != SK_MSG_BLOCKED && message->kind == SK_MSG_BLOCKED))
        message = fake_next(self);
    cr_assert_eq(message->kind, kind, "wanted a message of kind %d, got %d: %.*s", kind, message->kind,
                 message->status ? (int)self->payload.size : 0, (const char *)self->payload.data);
    return message;
}

bool fake_is_silent(fake *self) { return !next_until(self, sk_clock_now_ns() + 30 * 1000000); }

void fake_run(fake *self, uint64_t job, const char *function, int n_args, sk_bytes packed, int n_returns) {
    sk_message head = {.kind = SK_MSG_RUN, .job = job, .function = sk_function_hash(function), .method = -1,
                       .n_args = (uint32_t)n_args, .n_returns = (uint32_t)n_returns};
    fake_send(self, head, packed.data, packed.size);
}

void fake_run_with(fake *self, uint64_t job, const char *function, const void *data, size_t size, int n_returns) {
    uint8_t *packed = malloc(sk_packed_value_size(size));
    cr_assert(packed);
    sk_packed_put_value(packed, data, size);
    fake_run(self, job, function, 1, (sk_bytes){packed, sk_packed_value_size(size)}, n_returns);
    free(packed);
}

void fake_value(fake *self, uint64_t id, const void *data, size_t size) {
    uint8_t *packed = malloc(sk_packed_value_size(size));
    cr_assert(packed);
    sk_packed_put_value(packed, data, size);
    fake_send(self, (sk_message){.kind = SK_MSG_VALUE, .subject = id}, packed, sk_packed_value_size(size));
    free(packed);
}

sk_bytes fake_record(fake *self, int i) {
    sk_bytes  rest = self->payload;
    sk_record record = {0};
    cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    if (record.kind == SK_PACKED_BLOB) {
        rest = (sk_bytes){self->store + record.extent.offset, record.extent.size};
        cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
    }
    for (int k = 0; k < i; k++) cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK, "there is no record %d", i);
    if (record.kind == SK_PACKED_EXTENT) return (sk_bytes){self->store + record.extent.offset, record.extent.size};
    cr_assert_eq(record.kind, SK_PACKED_VALUE);
    return record.value;
}
