/* The copies that a node keeps of the head's store: values that go down, values that go up, and what is not there. The
 * head is the test itself (fake_head.h), the workers are real ones. */
#include "core/runtime/node_internal.h"
#include "core/runtime/registry.h"
#include "tests/cluster/fake_head.h"
#include "tests/runtime/probe_module.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1024 * 1024 };

static sk_extent allocate(head *self, uint64_t offset) {
    const sk_message *asked = head_expect_mail(self, SK_MSG_ALLOC);
    sk_extent         extent = {offset, (uint64_t)asked->a};
    head_mail_to(self, self->frame.line, self->frame.generation,
                 (sk_message){.kind = SK_MSG_ANSWER, .job = asked->job}, &extent, sizeof extent);
    return extent;
}

/* ---- the table ------------------------------------------------------------------------------------------ */
/* Against a plain list, at random: whatever comes and goes, each copy is found, and nothing else. */
Test(copies, are_found_until_they_are_dropped) {
    enum { PLACES = 600, STEPS = 40000 };
    static bool     is_there[PLACES];
    sk_store_params params = {.bytes = MIB};
    sk__node_copies copies = {0};
    sk_error        err = {0};
    uint64_t        random = 1;
    cr_assert_eq(sk_store_create(&params, &copies.store, &err), SK_OK, "%s", err.msg);
    for (int step = 0, n = 0; step < STEPS; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        int       at = (int)((random >> 33) % PLACES);
        bool      is_growing = step / 4000 % 2 == 0; /* in turn: many come, many go */
        sk_extent there = {(uint64_t)at * 64, 64};
        if (is_growing && !is_there[at]) {
            sk__node_copy *copy = NULL;
            cr_assert_eq(sk__node_copies_add(&copies, there, &copy, &err), SK_OK, "%s", err.msg);
            cr_assert_eq(copy->offset, there.offset);
            is_there[at] = true;
            n++;
        } else if (!is_growing && is_there[at]) {
            sk__node_copies_drop(&copies, there.offset);
            is_there[at] = false;
            n--;
        }
        for (int i = step % 7; i < PLACES; i += 7)
            cr_assert_eq(sk__node_copies_find(&copies, (uint64_t)i * 64) != NULL, is_there[i], "place %d", i);
        cr_assert_eq(copies.n, (size_t)n);
    }
    for (int i = 0; i < PLACES; i++) sk__node_copies_drop(&copies, (uint64_t)i * 64);
    cr_assert_eq(sk_store_get_stats(copies.store).used, 0);
    sk_store_destroy(&copies.store);
    sk__node_copies_deinit(&copies);
}

/* ---- down ------------------------------------------------------------------------------------------------ */
Test(copies, gives_workers_the_copies_they_are_told_of) {
    const sk_extent      there = {INT64_C(5) << 40, 300001}; /* far outside of its own store */
    uint8_t             *data = malloc(there.size);
    _Alignas(16) uint8_t record[64];
    head                *self = head_start();
    probe_fill(data, there.size);
    int64_t wanted = 0;
    for (uint64_t i = 0; i < there.size; i++) wanted += data[i];
    head_start_worker(self);
    head_copy(self, there, data);
    sk_bytes packed = {record, (size_t)(sk_packed_put_extent(record, there) - record)};
    for (uint64_t job = 1; job < 4; job++) {
        head_run(self, job, "probe.sum", 1, packed, 1);
        cr_assert_eq(head_expect_long(self, job), wanted);
    }
    /* Another one at the same place. */
    head_send(self, (sk_link_frame){.kind = SK_WIRE_DROP, .a = there.offset}, NULL, 0);
    memset(data, 1, there.size);
    head_copy(self, there, data);
    head_run(self, 4, "probe.sum", 1, packed, 1);
    cr_assert_eq(head_expect_long(self, 4), (int64_t)there.size);
    free(data);
    head_destroy(self, SK_OK);
}

Test(copies, reads_arguments_that_lie_in_a_copy_themselves) {
    const sk_extent      blob = {4096, 0}, inner = {1 << 20, 5000};
    uint8_t              data[5000];
    _Alignas(16) uint8_t records[256], record[64];
    head                *self = head_start();
    memset(data, 3, sizeof data);
    head_start_worker(self);
    uint8_t  *end = sk_packed_put_extent(sk_packed_put_value(records, "\1\2", 2), inner);
    sk_extent there = {blob.offset, (uint64_t)(end - records)};
    head_copy(self, inner, data);
    head_copy(self, there, records);
    sk_bytes packed = {record, (size_t)(sk_packed_put_blob(record, there) - record)};
    for (uint64_t job = 1; job < 3; job++) { /* the second time they are rewritten already */
        head_run(self, job, "probe.sum", 2, packed, 1);
        head_expect_mail(self, SK_MSG_REPLY);
        sk_record sums = head_record(self, 0);
        uint64_t  got[2];
        cr_assert(sums.kind == SK_PACKED_VALUE && sums.value.size == sizeof got);
        memcpy(got, sums.value.data, sizeof got);
        cr_assert(got[0] == 3 && got[1] == 15000);
    }
    head_destroy(self, SK_OK);
}

Test(copies, ends_a_worker_that_is_to_use_what_is_not_here) {
    _Alignas(16) uint8_t record[64];
    sk_bytes             packed = {record, (size_t)(sk_packed_put_extent(record, (sk_extent){640, 77}) - record)};
    head                *self = head_start();
    head_start_worker(self);
    head_spawn(self, 9, 1);
    head_run(self, 1, "probe.sum", 1, packed, 1);
    head_expect_death(self, HEAD_LINE, "was ended: no copy of 77 bytes");
    head_mail_to(self, 9, 1, (sk_message){.kind = SK_MSG_STOP}, NULL, 0);
    head_expect_mail(self, SK_MSG_BYE);
    head_expect_death(self, 9, "exited with status 0");
    head_destroy(self, SK_OK);
}

/* ---- up -------------------------------------------------------------------------------------------------- */
Test(copies, sends_values_before_the_message_that_gives_them_away) {
    const uint64_t size = 1000003, offset = 8 << 20;
    head          *self = head_start();
    head_start_worker(self);
    head_run_long(self, 1, "probe.big", (int64_t)size);
    cr_assert_eq(allocate(self, offset).size, size);
    for (uint64_t at = 0; at < size; at += SK_CHUNK_BYTES) {
        const sk_link_frame *frame;
        do frame = head_next(self); /* UNBLOCKED may come first */
        while (frame->kind != SK_WIRE_CHUNK);
        cr_assert(frame->a == offset && frame->b == at);
        cr_assert(frame->line == HEAD_LINE && frame->generation == HEAD_GENERATION);
    }
    head_expect_mail(self, SK_MSG_REPLY);
    sk_record record = head_record(self, 0);
    cr_assert(record.kind == SK_PACKED_EXTENT && record.extent.offset == offset && record.extent.size == size);
    cr_assert(self->n_got == size && probe_is_filled((sk_bytes){self->got + offset, size}));
    /* It lies here too: no bytes are needed to read it. */
    _Alignas(16) uint8_t packed[64];
    int64_t              wanted = 0;
    for (uint64_t i = 0; i < size; i++) wanted += self->got[offset + i];
    size_t n = (size_t)(sk_packed_put_extent(packed, record.extent) - packed);
    head_run(self, 2, "probe.sum", 1, (sk_bytes){packed, n}, 1);
    cr_assert_eq(head_expect_long(self, 2), wanted);
    head_destroy(self, SK_OK);
}

/* The head's part in what a worker does before it sends a message of that kind: memory. Gives the message. */
static const sk_message *serve_until(head *self, sk_message_kind kind) {
    uint64_t offset = 0;
    for (;;) {
        head_expect(self, SK_WIRE_MAIL);
        const sk_message *message = (const void *)self->bytes;
        self->payload = (sk_bytes){self->bytes + sizeof *message, self->frame.size - sizeof *message};
        if (message->kind == kind) return message;
        if (message->kind == SK_MSG_IDS) { /* as many as it wants, all of them new */
            uint64_t ids[1024];
            for (int i = 0; i < SK_COUNT(ids); i++) ids[i] = self->next_id++;
            head_mail(self, (sk_message){.kind = SK_MSG_ANSWER, .job = message->job}, ids, sizeof ids);
        }
        if (message->kind != SK_MSG_ALLOC) continue;
        sk_extent extent = {offset, (uint64_t)message->a};
        offset += (extent.size + 63) / 64 * 64;
        head_mail(self, (sk_message){.kind = SK_MSG_ANSWER, .job = message->job}, &extent, sizeof extent);
    }
}

/* The n records of a blob, each of which holds `size` bytes of value 7. */
static void expect_sevens(head *self, sk_bytes packed, int n, size_t size) {
    sk_record record;
    cr_assert_eq(sk_packed_next(&packed, &record, NULL), SK_OK);
    cr_assert(record.kind == SK_PACKED_BLOB && packed.size == 0);
    sk_bytes rest = {self->got + record.extent.offset, record.extent.size};
    for (int i = 0; i < n; i++) {
        cr_assert_eq(sk_packed_next(&rest, &record, NULL), SK_OK);
        sk_bytes value = record.value;
        if (record.kind == SK_PACKED_EXTENT) value = (sk_bytes){self->got + record.extent.offset, record.extent.size};
        cr_assert_eq(value.size, size, "record %d has %zu bytes", i, value.size);
        for (size_t at = 0; at < size; at++) cr_assert_eq(((const uint8_t *)value.data)[at], 7, "record %d", i);
    }
    cr_assert_eq(rest.size, 0);
}

/* Small ones, whose records alone do not fit a message; and so many large ones that their places do not. */
Test(copies, sends_answers_that_fit_no_message) {
    enum { SMALL = 4000, LARGE = 4200 };
    static const int     ns[] = {30, 2200};
    _Alignas(16) uint8_t packed[8192];
    uint8_t              sevens[LARGE];
    head                *self = head_start();
    memset(sevens, 7, sizeof sevens);
    head_start_worker(self);
    for (int i = 0; i < 2; i++) {
        int32_t  n = ns[i];
        size_t   size = i ? LARGE : SMALL;
        uint8_t *end = sk_packed_put_value(sk_packed_put_value(packed, sevens, size), &n, sizeof n);
        memset(self->got, 0, HEAD_BYTES_MAX);
        head_run(self, (uint64_t)i + 1, "probe.copies", 2, (sk_bytes){packed, (size_t)(end - packed)}, n);
        const sk_message *reply = serve_until(self, SK_MSG_REPLY);
        cr_assert(reply->status == SK_OK && reply->job == (uint64_t)i + 1);
        expect_sevens(self, self->payload, n, size);
        if (i == 0) /* the places are given out anew: nothing may lie there any more */
            for (uint64_t at = 0; at < 30 * 64; at += 64)
                head_send(self, (sk_link_frame){.kind = SK_WIRE_DROP, .a = at}, NULL, 0);
    }
    head_destroy(self, SK_OK);
}

Test(copies, sends_arguments_that_fit_no_message) {
    enum { N = 30, SIZE = 4000 };
    _Alignas(16) uint8_t packed[8192];
    uint8_t              sevens[SIZE];
    int32_t              n = N;
    head                *self = head_start();
    memset(sevens, 7, sizeof sevens);
    head_start_worker(self);
    uint8_t *end = sk_packed_put_value(sk_packed_put_value(packed, sevens, SIZE), &n, sizeof n);
    head_run(self, 1, "probe.sum_below", 2, (sk_bytes){packed, (size_t)(end - packed)}, 1);
    const sk_message *submit = serve_until(self, SK_MSG_SUBMIT);
    cr_assert(submit->n_args == N && submit->n_returns == 1);
    const sk_submit_head *order = self->payload.data;
    size_t n_resources = order->n_resources > 0 ? (size_t)order->n_resources : 0;
    size_t skip = sizeof *order + 16 + n_resources * sizeof(sk_resource_wire);
    expect_sevens(self, (sk_bytes){(const uint8_t *)self->payload.data + skip, self->payload.size - skip}, N, SIZE);
    head_destroy(self, SK_OK);
}

Test(copies, does_not_hold_up_others_with_one_workers_bytes) {
    const int64_t size = 40 * MIB;
    head         *self = head_start();
    head_start_worker(self);
    head_spawn(self, 9, 1);
    head_run_long(self, 1, "probe.big", size);
    allocate(self, 64);
    while (self->n_got == 0) head_next(self);
    int64_t              seven = 7;
    _Alignas(16) uint8_t record[64];
    sk_message run = {.kind = SK_MSG_RUN, .job = 2, .function = 0, .n_args = 1, .n_returns = 1};
    run.function = sk_function_hash("probe.add");
    head_mail_to(self, 9, 1, run, record, (size_t)(sk_packed_put_value(record, &seven, sizeof seven) - record));
    uint64_t n_before = 0;
    for (;;) {
        head_expect(self, SK_WIRE_MAIL);
        if (self->frame.line == 9) n_before = self->n_got;
        if (self->frame.line == HEAD_LINE) break;
    }
    cr_assert(n_before > 0 && n_before < (uint64_t)size, "the other's answer came after %llu of %lld bytes",
              (unsigned long long)n_before, (long long)size);
    cr_assert_eq(self->n_got, (uint64_t)size);
    head_destroy(self, SK_OK);
}

/* The head reads nothing for a while: what goes to it fills all there is, waits, and comes in order. */
Test(copies, wait_while_the_way_to_the_head_is_full) {
    enum { N = 200 };
    const int64_t size = 60 * MIB;
    head         *self = head_start();
    head_start_worker(self);
    head_spawn(self, 9, 1);
    head_run_long(self, 1, "probe.big", size);
    allocate(self, 64);
    for (int i = 0; i < 10; i++) { /* no longer than a head is waited for */
        usleep(100000);
        head_send(self, (sk_link_frame){.kind = SK_WIRE_BEAT, .a = 1}, NULL, 0);
    }
    for (int i = 1; i <= N; i++) {
        int64_t              value = i;
        _Alignas(16) uint8_t record[64];
        size_t               n = (size_t)(sk_packed_put_value(record, &value, sizeof value) - record);
        sk_message           run = {.kind = SK_MSG_RUN, .job = (uint64_t)i, .n_args = 1, .n_returns = 1};
        run.function = sk_function_hash("probe.add");
        head_mail_to(self, 9, 1, run, record, n);
    }
    usleep(300000);
    for (int next = 1, n_large = 0; next <= N || n_large == 0;) {
        if (head_next(self)->kind != SK_WIRE_MAIL) continue;
        const sk_message *reply = (const void *)self->bytes;
        if (reply->kind != SK_MSG_REPLY) continue;
        cr_assert_eq(reply->status, SK_OK);
        if (self->frame.line == HEAD_LINE) n_large++;
        else cr_assert_eq(reply->job, (uint64_t)next++);
    }
    cr_assert(self->n_got == (uint64_t)size && probe_is_filled((sk_bytes){self->got + 64, (size_t)size}));
    head_destroy(self, SK_OK);
}

Test(copies, tells_a_worker_that_its_host_has_no_room) {
    head *self = head_create();
    head_start_node(self, (sk_node_params){.store_bytes = MIB});
    head_start_worker(self);
    head_run_long(self, 1, "probe.big", 6 * MIB);
    sk_extent extent = allocate(self, 128), back;
    head_expect_mail(self, SK_MSG_FREE);
    memcpy(&back, self->payload.data, sizeof back);
    cr_assert(self->payload.size == sizeof back && back.offset == extent.offset && back.size == extent.size);
    head_send(self, (sk_link_frame){.kind = SK_WIRE_DROP, .a = extent.offset}, NULL, 0);
    const sk_message *reply = head_expect_mail(self, SK_MSG_REPLY);
    cr_assert(reply->job == 1 && reply->status == SK_ELIMIT);
    char text[600];
    snprintf(text, sizeof text, "%.*s", (int)self->payload.size, (const char *)self->payload.data);
    cr_assert(strstr(text, "host far") && strstr(text, "6291456 bytes"), "%s", text);
    head_run_long(self, 2, "probe.big", MIB);
    allocate(self, 128);
    head_expect_mail(self, SK_MSG_REPLY);
    cr_assert(probe_is_filled((sk_bytes){self->got + 128, MIB}));
    head_destroy(self, SK_OK);
}
