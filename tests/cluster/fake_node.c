#include "tests/cluster/fake_node.h"
#include "core/base/clock.h"
#include "tests/runtime/probe_module.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake_worker {
    uint32_t line, generation;
    uint64_t n_started, total;
    sk_message held[16]; /* jobs without an answer */
    uint64_t   held_sum[16];
    int        n_held;
    sk_message large;    /* the job whose answer waits for memory */
    bool       has_large;
};

struct fake_copy {
    fake_copy *next;
    uint64_t   offset, size, n_got;
    uint8_t    bytes[];
};

/* ---- frames ---------------------------------------------------------------------------------------------- */
static void send_frame(fake_node *self, sk_link_frame frame) {
    sk_error err = {0};
    frame.session = self->session;
    for (int64_t end_ns = sk_clock_now_ns() + INT64_C(5000000000); !self->is_silent;) {
        sk_status status = sk_link_send(self->link, &frame, &self->order, &err);
        if (status == SK_OK || sk_clock_now_ns() > end_ns) return;
        usleep(500);
    }
}

static void send_message(fake_node *self, const fake_worker *worker, sk_message head, const void *payload,
                         size_t size) {
    _Alignas(16) uint8_t bytes[sizeof head + 8192];
    SK_ASSERT(size <= 8192);
    head.magic = SK_MESSAGE_MAGIC;
    memcpy(bytes, &head, sizeof head);
    if (size) memcpy(bytes + sizeof head, payload, size);
    send_frame(self, (sk_link_frame){.kind = SK_WIRE_MAIL, .line = worker->line, .generation = worker->generation,
                                     .a = worker->n_started, .payload = bytes, .size = sizeof head + size});
}

static void die(fake_node *self, fake_worker *worker, int exit_status, const char *how) {
    sk_wire_death death = {.pid = 1000 + (int)worker->line, .exit_status = exit_status};
    snprintf(death.how, sizeof death.how, "%s", how);
    send_frame(self, (sk_link_frame){.kind = SK_WIRE_DEATH, .line = worker->line, .generation = worker->generation,
                                     .a = worker->n_started, .payload = &death, .size = sizeof death});
    self->workers[worker->line] = NULL;
    self->n_living--;
    free(worker);
}

/* ---- copies ---------------------------------------------------------------------------------------------- */
static fake_copy **find_copy(fake_node *self, uint64_t offset) {
    fake_copy **link = &self->copies;
    while (*link && (*link)->offset != offset) link = &(*link)->next;
    return link;
}

static void add_copy(fake_node *self, uint64_t offset, uint64_t size) {
    cr_assert_null(*find_copy(self, offset), "a second copy of offset %lu", (unsigned long)offset);
    fake_copy *copy = calloc(1, sizeof *copy + size);
    copy->offset = offset;
    copy->size = size;
    copy->next = self->copies;
    self->copies = copy;
    self->copied_bytes += size;
}

static void on_chunk(fake_node *self, const sk_link_frame *frame) {
    fake_copy *copy = *find_copy(self, frame->a);
    cr_assert(copy && frame->b == copy->n_got && frame->b + frame->size <= copy->size, "a chunk that does not fit");
    memcpy(copy->bytes + frame->b, frame->payload, frame->size);
    copy->n_got += frame->size;
    self->n_chunks_got++;
    self->bytes_got += frame->size;
}

static void on_drop(fake_node *self, const sk_link_frame *frame) {
    fake_copy **link = find_copy(self, frame->a), *copy = *link;
    if (!copy) return;
    *link = copy->next;
    self->copied_bytes -= copy->size;
    self->n_drops++;
    free(copy);
}

/* ---- the script of a worker ------------------------------------------------------------------------------ */
static uint64_t sum_of(fake_node *self, sk_bytes packed) {
    uint64_t  sum = 0;
    sk_record record;
    while (packed.size && sk_packed_next(&packed, &record, NULL) == SK_OK) {
        if (record.kind == SK_PACKED_VALUE) sum += probe_sum(record.value);
        if (record.kind != SK_PACKED_EXTENT && record.kind != SK_PACKED_BLOB) continue;
        const fake_copy *copy = *find_copy(self, record.extent.offset);
        if (!copy || copy->n_got != record.extent.size) self->n_missing++;
        else if (record.kind == SK_PACKED_BLOB) return sum_of(self, (sk_bytes){copy->bytes, copy->size});
        else sum += probe_sum((sk_bytes){copy->bytes, copy->size});
    }
    return sum;
}

static void reply(fake_node *self, fake_worker *worker, const sk_message *job, uint64_t sum) {
    _Alignas(16) uint8_t packed[256], *at = packed;
    sk_message           answer = {.kind = SK_MSG_REPLY, .job = job->job, .subject = job->subject,
                                   .n_returns = job->n_returns, .b = 1000};
    answer.a = sk_clock_now_ns() + self->params.clock_ahead_ns - answer.b;
    if (job->kind == SK_MSG_CALL) sum = worker->total += sum;
    for (uint32_t i = 0; i < job->n_returns; i++) at = sk_packed_put_value(at, &sum, sizeof sum);
    if (job->kind == SK_MSG_CALL) {
        answer.method = 1;
        at = sk_packed_put_value(at, &worker->total, sizeof worker->total);
    }
    send_message(self, worker, answer, packed, (size_t)(at - packed));
}

static void ask_for_memory(fake_node *self, fake_worker *worker, const sk_message *job) {
    worker->large = *job;
    worker->has_large = true;
    send_message(self, worker,
                 (sk_message){.kind = SK_MSG_ALLOC, .job = 77, .a = (int64_t)self->params.large}, NULL, 0);
}

static void on_memory(fake_node *self, fake_worker *worker, const sk_message *m, sk_bytes payload) {
    sk_extent extent;
    cr_assert(worker->has_large);
    worker->has_large = false;
    sk_message answer = {.kind = SK_MSG_REPLY, .job = worker->large.job, .n_returns = 1, .b = 1};
    if (m->status != SK_OK) {
        answer.status = m->status;
        send_message(self, worker, answer, payload.data, payload.size);
        return;
    }
    cr_assert_eq(payload.size, sizeof extent);
    memcpy(&extent, payload.data, sizeof extent);
    cr_assert_eq(extent.size, self->params.large);
    add_copy(self, extent.offset, extent.size);
    if (self->mode == FAKE_WILD_CHUNK) {
        send_frame(self, (sk_link_frame){.kind = SK_WIRE_CHUNK, .line = worker->line, .generation = worker->generation,
                                         .a = extent.offset + 64, .payload = "wild", .size = 4});
        return;
    }
    uint8_t *bytes = malloc(extent.size + 1);
    probe_fill(bytes, extent.size + 1);
    for (uint64_t at = 0; at < extent.size; at += SK_CHUNK_BYTES) {
        uint64_t size = extent.size - at < SK_CHUNK_BYTES ? extent.size - at : SK_CHUNK_BYTES;
        bool     last = at + size == extent.size;
        send_frame(self, (sk_link_frame){.kind = SK_WIRE_CHUNK, .line = worker->line, .generation = worker->generation,
                                         .a = extent.offset, .b = at, .payload = bytes + at,
                                         .size = size + (last && self->mode == FAKE_BAD_CHUNK)});
    }
    free(bytes);
    _Alignas(16) uint8_t packed[SK_PACKED_EXTENT_SIZE];
    sk_packed_put_extent(packed, extent);
    send_message(self, worker, answer, packed, sizeof packed);
}

static void fetch(fake_node *self, fake_worker *worker, const sk_message *job, sk_bytes payload) {
    sk_record record;
    cr_assert_eq(sk_packed_next(&payload, &record, NULL), SK_OK);
    for (size_t at = 0; at < record.value.size; at += sizeof(uint64_t)) {
        uint64_t id;
        memcpy(&id, (const uint8_t *)record.value.data + at, sizeof id);
        send_message(self, worker, (sk_message){.kind = SK_MSG_FETCH, .subject = id}, NULL, 0);
    }
    if (self->mode == FAKE_FETCH)
        send_message(self, worker, (sk_message){.kind = SK_MSG_RELEASE}, record.value.data, record.value.size);
    reply(self, worker, job, 0);
}

static void on_job(fake_node *self, fake_worker *worker, const sk_message *m, sk_bytes payload) {
    uint64_t sum = sum_of(self, payload);
    worker->n_started++;
    self->n_jobs++;
    switch ((fake_mode)self->mode) {
    case FAKE_HOLD:
        cr_assert(worker->n_held < SK_COUNT(worker->held));
        worker->held[worker->n_held] = *m;
        worker->held_sum[worker->n_held++] = sum;
        break;
    case FAKE_LARGE:
    case FAKE_BAD_CHUNK:
    case FAKE_WILD_CHUNK: ask_for_memory(self, worker, m); break;
    case FAKE_KEEP:
    case FAKE_FETCH: fetch(self, worker, m, payload); break;
    case FAKE_DIE:
        self->mode = FAKE_SUM;
        die(self, worker, -1, "was killed by signal 9 (SIGKILL)");
        break;
    case FAKE_SUM: reply(self, worker, m, sum);
    }
}

static void release_held(fake_node *self) {
    for (int i = 0; i < SK_COUNT(self->workers); i++) {
        fake_worker *worker = self->workers[i];
        for (int k = 0; worker && k < worker->n_held; k++) reply(self, worker, &worker->held[k], worker->held_sum[k]);
        if (worker) worker->n_held = 0;
    }
}

static void on_create(fake_node *self, fake_worker *worker, const sk_message *m, sk_bytes payload) {
    sk_record record;
    worker->n_started++;
    if (m->b == 1) { /* the state is the last record */
        while (payload.size && sk_packed_next(&payload, &record, NULL) == SK_OK) {
        }
        cr_assert_eq(record.value.size, sizeof worker->total);
        memcpy(&worker->total, record.value.data, sizeof worker->total);
        self->n_restored++;
    }
    sk_message made = {.kind = SK_MSG_REPLY, .job = m->job, .subject = m->subject, .b = 1};
    send_message(self, worker, made, NULL, 0);
}

static void on_mail(fake_node *self, fake_worker *worker, const sk_link_frame *frame) {
    const sk_message *m;
    sk_bytes          payload;
    sk_error          err = {0};
    cr_assert_eq(sk_message_parse(frame->payload, frame->size, SK_TO_WORKER, &m, &payload, &err), SK_OK, "%s", err.msg);
    switch ((sk_message_kind)m->kind) {
    case SK_MSG_RUN:
    case SK_MSG_CALL: on_job(self, worker, m, payload); break;
    case SK_MSG_CREATE: on_create(self, worker, m, payload); break;
    case SK_MSG_ANSWER: on_memory(self, worker, m, payload); break;
    case SK_MSG_VALUE: {
        sk_record record;
        cr_assert(m->status == SK_OK && sk_packed_next(&payload, &record, NULL) == SK_OK);
        if (record.kind == SK_PACKED_EXTENT && !*find_copy(self, record.extent.offset)) self->n_missing++;
        self->n_values++;
        break;
    }
    case SK_MSG_STOP:
        if (self->params.ignores_stop) break;
        send_message(self, worker, (sk_message){.kind = SK_MSG_BYE}, NULL, 0);
        die(self, worker, 0, "exited with status 0");
        break;
    default: break;
    }
}

/* ---- the node -------------------------------------------------------------------------------------------- */
static void on_spawn(fake_node *self, const sk_link_frame *frame) {
    cr_assert(frame->line < SK_COUNT(self->workers) && !self->workers[frame->line]);
    fake_worker *worker = calloc(1, sizeof *worker);
    worker->line = frame->line;
    worker->generation = frame->generation;
    self->workers[frame->line] = worker;
    self->n_spawned++;
    self->n_living++;
    if (self->params.dies_early) die(self, worker, 1, "exited with status 1");
    else send_message(self, worker, (sk_message){.kind = SK_MSG_HELLO, .a = 1000 + (int)worker->line}, NULL, 0);
}

static void on_welcome(fake_node *self, const sk_link_frame *frame) {
    sk_bytes  rest = {frame->payload, frame->size};
    sk_record record;
    int       n = 0;
    for (; n < SK_COUNT(self->welcome) && rest.size && sk_packed_next(&rest, &record, NULL) == SK_OK; n++)
        snprintf(self->welcome[n], sizeof self->welcome[n], "%.*s", (int)record.value.size,
                 (const char *)record.value.data);
    self->n_welcome = n;
    self->number = (int)frame->a;
    if (self->params.leaves)
        send_frame(self, (sk_link_frame){.kind = SK_WIRE_LEAVE, .payload = self->params.leaves,
                                         .size = strlen(self->params.leaves)});
    else send_frame(self, (sk_link_frame){.kind = SK_WIRE_READY});
    self->is_welcome = true;
}

static void end_with(fake_node *self, const sk_link_frame *frame) {
    snprintf(self->why, sizeof self->why, "%.*s", (int)frame->size, frame->size ? (const char *)frame->payload : "");
    if (frame->kind == SK_WIRE_REFUSE) self->refused = 1 + (int)frame->a;
    else self->n_byes++;
    self->is_over = true;
}

static void on_frame(fake_node *self, const sk_link_frame *frame) {
    if (frame->kind != SK_WIRE_REFUSE) cr_assert(sk_link_order_take(&self->order, frame->seq), "frames were lost");
    sk_error err = {0};
    cr_assert_eq(sk_wire_check(frame, SK_TO_NODE, &err), SK_OK, "%s", err.msg);
    fake_worker *worker = frame->line < SK_COUNT(self->workers) ? self->workers[frame->line] : NULL;
    if (worker && worker->generation != frame->generation) worker = NULL;
    switch ((sk_wire_kind)frame->kind) {
    case SK_WIRE_WELCOME: on_welcome(self, frame); break;
    case SK_WIRE_REFUSE:
    case SK_WIRE_BYE: end_with(self, frame); break;
    case SK_WIRE_SPAWN: on_spawn(self, frame); break;
    case SK_WIRE_SIGNAL:
        if (worker) die(self, worker, -1, "was killed by signal 9 (SIGKILL)");
        break;
    case SK_WIRE_CANCEL: self->n_canceled++; break;
    case SK_WIRE_STOPPING: self->n_stopping++; break;
    case SK_WIRE_COPY:
        add_copy(self, frame->a, frame->b);
        self->n_copies_got++;
        break;
    case SK_WIRE_DROP: on_drop(self, frame); break;
    case SK_WIRE_BEAT:
        self->head_beat = frame->a;
        self->head_beat_ns = (uint64_t)sk_clock_now_ns();
        break;
    case SK_WIRE_MAIL:
        if (worker) on_mail(self, worker, frame);
        break;
    case SK_WIRE_CHUNK: on_chunk(self, frame); break;
    default: cr_assert(false, "a frame %s", sk_wire_kind_text(frame->kind));
    }
}

static void beat(fake_node *self) {
    uint64_t now_ns = (uint64_t)sk_clock_now_ns();
    if (now_ns - self->told_ns < (uint64_t)SK_BEAT_MS * 1000000) return;
    self->told_ns = now_ns;
    uint64_t echo = self->head_beat ? self->head_beat + (now_ns - self->head_beat_ns) : 0;
    uint64_t its_ns = now_ns + (uint64_t)self->params.clock_ahead_ns;
    send_frame(self, (sk_link_frame){.kind = SK_WIRE_BEAT, .a = its_ns, .b = echo});
}

static void say_join(fake_node *self) {
    const fake_params *params = &self->params;
    sk_wire_join join = {.store_bytes = params->store_bytes ? params->store_bytes : UINT64_C(64) << 20, .pid = getpid(),
                         .n_resources = 1, .resources = {{"cpu", params->cpus > 0 ? params->cpus : 2}}};
    snprintf(join.name, sizeof join.name, "%s", params->name ? params->name : "fake");
    snprintf(join.build, sizeof join.build, "%s", params->build ? params->build : "fake build");
    send_frame(self, (sk_link_frame){.kind = SK_WIRE_JOIN, .payload = &join, .size = sizeof join});
}

static void *run(void *arg) {
    fake_node    *self = arg;
    sk_link_frame frame;
    int           mode = self->mode;
    while (!self->stop) {
        while (!self->is_silent && !self->is_over && sk_link_recv(self->link, &frame, NULL) == SK_OK)
            on_frame(self, &frame);
        if (self->skip) self->order.n_sent++;
        if (self->twice) say_join(self);
        self->skip = self->twice = false;
        if (mode == FAKE_HOLD && self->mode != FAKE_HOLD) release_held(self);
        mode = self->mode;
        if (self->is_welcome && !self->is_over && !self->is_silent) beat(self);
        sk_link_wait(self->link, 5);
    }
    if (!self->is_over && !self->is_silent && !self->params.leaves)
        send_frame(self, (sk_link_frame){.kind = SK_WIRE_LEAVE, .payload = "the test says so", .size = 16});
    return NULL;
}

fake_node *fake_node_start(fake_params params) {
    static _Atomic uint64_t last_session;
    sk_error                err = {0};
    fake_node              *self = calloc(1, sizeof *self);
    cr_assert_not_null(self);
    self->params = params;
    self->session = (uint64_t)getpid() << 32 | ++last_session;
    sk_link_params link = {.endpoint = params.endpoint, .session = self->session};
    cr_assert_eq(sk_link_connect(&link, &self->link, &err), SK_OK, "%s", err.msg);
    say_join(self);
    cr_assert_eq(pthread_create(&self->thread, NULL, run, self), 0);
    return self;
}

void fake_node_skip(fake_node *self) { self->skip = true; }

void fake_node_join_again(fake_node *self) { self->twice = true; }

void fake_node_stop(fake_node **self_p) {
    fake_node *self = *self_p;
    *self_p = NULL;
    self->stop = true;
    sk_link_wake(self->link);
    pthread_join(self->thread, NULL);
    sk_link_destroy(&self->link, self->is_silent ? 0 : 500);
    for (fake_copy *copy = self->copies, *next; copy; copy = next) {
        next = copy->next;
        free(copy);
    }
    for (int i = 0; i < SK_COUNT(self->workers); i++) free(self->workers[i]);
    free(self);
}
