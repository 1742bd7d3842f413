/* Nodes and their runners, played: each node is a thread with a link of its own, its runners are a few numbers. What
 * they say is what `skiff node` and its workers say; nothing is computed, a runner only waits for as long as a real one
 * needs.
 *
 *   down   SPAWN, CREATE, CALL "sample", ANSWER, COPY + CHUNKs of weights, DROP
 *   up     HELLO, REPLY to CREATE; per sample ALLOC of the fragment, ALLOC of the state, their CHUNKs, REPLY */
#include "tests/bench/scaling.h"

#include "core/base/clock.h"
#include "core/runtime/wire.h"
#include "rl/runner.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { JOBS_MAX = 16, SPARE_RUNNERS = 8, PARTS_MAX = 2, BLOCKED_MS = 1, IDLE_MS = 100, PID_BASE = 1000000 };

typedef enum phase { ABSENT, HELLO, IDLE, THINK, ALLOC, WAIT, CHUNKS, REPLY, BYE, DEATH } phase;

typedef struct job {
    uint64_t id;
    uint32_t n_returns;
    bool     is_sample;
} job;

typedef struct runner {
    phase     phase;
    uint32_t  line, generation;
    int       pid;
    bool      asked_to_stop, killed;
    job       jobs[JOBS_MAX];
    int       n_jobs;
    uint64_t  n_started, n_asked;
    int64_t   due_ns;
    int       index;           /* it is runner-<index> */
    sk_sample_in in;           /* of the call          */
    sk_fragment  head;         /* of the fragment      */
    sk_batch_episode *episodes; /* likewise            */
    sk_extent part[PARTS_MAX]; /* the fragment, the state */
    int       n_parts, at_part;
    uint64_t  at;
} runner;

typedef struct node {
    scaling_shared *shared;
    pthread_t       thread;
    int             number;
    sk_link        *link;
    sk_link_order   order;
    uint64_t        session;
    bool            is_up, ended, blocked;
    int64_t         joined_ns, told_ns, heard_ns, beat_a, beat_at_ns;
    runner         *runners;
    int             n_runners;
    sk_link_stats   counted;
    char            failure[600];
    _Alignas(16) uint8_t message[1024];
    uint8_t         chunk[SK_CHUNK_BYTES];
} node;

static const uint8_t zeros[SK_CHUNK_BYTES];

static void fail(node *self, const char *what) {
    if (!self->failure[0]) snprintf(self->failure, sizeof self->failure, "node %d: %s", self->number, what);
    self->ended = true;
}

/* ---- sending ------------------------------------------------------------------------------------------------- */
/* False: not now. */
static bool send_frame(node *self, sk_link_frame *frame, const void *payload, size_t size) {
    sk_error err = {0};
    frame->session = self->session;
    frame->payload = payload;
    frame->size = size;
    sk_status status = sk_link_send(self->link, frame, &self->order, &err);
    if (status == SK_OK) return true;
    if (status == SK_ELIMIT) self->blocked = true;
    else fail(self, err.msg);
    return false;
}

static bool send_mail(node *self, const runner *r, const sk_message *head, size_t payload_size) {
    sk_link_frame frame = {.kind = SK_WIRE_MAIL, .line = r->line, .generation = r->generation, .a = r->n_started};
    sk_message    message = *head;
    message.magic = SK_MESSAGE_MAGIC;
    memcpy(self->message, &message, sizeof message);
    return send_frame(self, &frame, self->message, sizeof message + payload_size);
}

static bool send_beat(node *self, int64_t now_ns) {
    sk_link_frame frame = {.kind = SK_WIRE_BEAT, .a = (uint64_t)now_ns};
    if (self->beat_at_ns) frame.b = (uint64_t)(self->beat_a + (now_ns - self->beat_at_ns));
    return send_frame(self, &frame, NULL, 0);
}

static bool send_join(node *self) {
    sk_link_frame frame = {.kind = SK_WIRE_JOIN};
    sk_wire_join  join = {.store_bytes = (uint64_t)16 << 30, .pid = (int32_t)getpid(), .n_resources = 1};
    snprintf(join.name, sizeof join.name, "load-%d", self->number);
    snprintf(join.build, sizeof join.build, "%s", SCALING_BUILD);
    snprintf(join.resources[0].name, sizeof join.resources[0].name, "cpu");
    join.resources[0].amount = self->shared->c.n_per_node;
    return send_frame(self, &frame, &join, sizeof join);
}

/* ---- one runner ---------------------------------------------------------------------------------------------- */
static uint64_t part_bytes(const node *self, int part) {
    return part == 0 ? self->shared->fragment_bytes : self->shared->state_bytes;
}

static bool send_alloc(node *self, runner *r) {
    sk_message head = {.kind = SK_MSG_ALLOC, .job = (r->n_asked + 1) * 4 + 1,
                       .a = (int64_t)part_bytes(self, r->at_part)};
    if (!send_mail(self, r, &head, 0)) return false;
    r->n_asked++;
    return true;
}

/* What of `size` bytes `from` lies within [at, at + n) of a fragment, where they begin at `place`. */
static void lay_over(uint8_t *chunk, uint64_t at, size_t n, uint64_t place, const void *from, size_t size) {
    uint64_t first = place > at ? place : at, end = place + size < at + n ? place + size : at + n;
    if (first < end) memcpy(chunk + (first - at), (const uint8_t *)from + (first - place), (size_t)(end - first));
}

/* The recorded fragment as if this runner had sampled it now. */
static const uint8_t *fragment_chunk(node *self, const runner *r, size_t n) {
    const scaling_shared *s = self->shared;
    memcpy(self->chunk, s->fragment + r->at, n);
    lay_over(self->chunk, r->at, n, 0, &r->head, sizeof r->head);
    lay_over(self->chunk, r->at, n, s->episodes_at, r->episodes, (size_t)(s->fragment_bytes - s->episodes_at));
    return self->chunk;
}

/* As much as can be sent now. True: all of it is. */
static bool send_chunks(node *self, runner *r) {
    while (r->at_part < r->n_parts) {
        uint64_t size = part_bytes(self, r->at_part), left = size - r->at;
        size_t   n = left < SK_CHUNK_BYTES ? (size_t)left : SK_CHUNK_BYTES;
        const uint8_t *bytes = r->at_part == 0 ? fragment_chunk(self, r, n) : zeros;
        sk_link_frame  frame = {.kind = SK_WIRE_CHUNK, .line = r->line, .generation = r->generation,
                                .a = r->part[r->at_part].offset, .b = r->at};
        if (!send_frame(self, &frame, bytes, n)) return false;
        r->at += n;
        if (r->at < size) continue;
        r->at = 0;
        r->at_part++;
    }
    return true;
}

/* The answer: where its values lie, or empty ones; and a small state. */
static bool send_reply(node *self, runner *r) {
    const job *j = &r->jobs[0];
    uint64_t   state = self->shared->state_bytes;
    bool       has_state = j->is_sample && state > 0;
    int64_t    now_ns = sk_clock_now_ns();
    sk_message head = {.kind = SK_MSG_REPLY, .job = j->id, .n_returns = j->n_returns, .a = now_ns, .b = 1,
                       .method = has_state};
    uint8_t   *first = self->message + sizeof head, *at = first;
    for (uint32_t i = 0; i < j->n_returns; i++)
        at = j->is_sample && i == 0 ? sk_packed_put_extent(at, r->part[0]) : sk_packed_put_value(at, "", 0);
    if (has_state && r->n_parts > 1) at = sk_packed_put_extent(at, r->part[1]);
    else if (has_state) at = sk_packed_put_value(at, zeros, state < 256 ? (size_t)state : 256);
    return send_mail(self, r, &head, (size_t)(at - first));
}

static bool send_death(node *self, const runner *r) {
    sk_link_frame frame = {.kind = SK_WIRE_DEATH, .line = r->line, .generation = r->generation, .a = r->n_started};
    sk_wire_death death = {.pid = r->pid, .exit_status = r->killed ? -1 : 0};
    snprintf(death.how, sizeof death.how, "%s", r->killed ? "was killed by a signal" : "exited with status 0");
    return send_frame(self, &frame, &death, sizeof death);
}

static void begin_job(node *self, runner *r) {
    if (r->n_jobs == 0) {
        if (r->asked_to_stop) r->phase = BYE;
        return;
    }
    r->n_started++;
    r->phase = r->jobs[0].is_sample ? THINK : REPLY;
    r->due_ns = sk_clock_now_ns() + (int64_t)(self->shared->c.think_s * 1e9);
    r->n_parts = self->shared->state_bytes > SK_INLINE_MAX ? 2 : 1;
    r->at_part = 0;
}

static void end_job(node *self, runner *r) {
    if (r->jobs[0].is_sample) atomic_fetch_add_explicit(&self->shared->n_fragments, 1, memory_order_relaxed);
    r->n_jobs--;
    memmove(r->jobs, r->jobs + 1, (size_t)r->n_jobs * sizeof r->jobs[0]);
    r->phase = IDLE;
}

/* Go on as far as it can. */
static void step(node *self, runner *r, int64_t now_ns) {
    for (phase before = ABSENT; before != r->phase && !self->blocked && !self->ended;) {
        before = r->phase;
        switch (r->phase) {
        case HELLO:
            if (send_mail(self, r, &(sk_message){.kind = SK_MSG_HELLO, .a = r->pid}, 0)) r->phase = IDLE;
            break;
        case IDLE: begin_job(self, r); break;
        case THINK:
            if (now_ns >= r->due_ns) r->phase = ALLOC;
            break;
        case ALLOC:
            if (send_alloc(self, r)) r->phase = WAIT;
            break;
        case CHUNKS:
            if (send_chunks(self, r)) r->phase = REPLY;
            break;
        case REPLY:
            if (send_reply(self, r)) end_job(self, r);
            break;
        case BYE:
            if (send_mail(self, r, &(sk_message){.kind = SK_MSG_BYE}, 0)) r->phase = DEATH;
            break;
        case DEATH:
            if (send_death(self, r)) r->phase = ABSENT;
            break;
        case WAIT:
        case ABSENT: break;
        }
    }
}

/* ---- receiving ----------------------------------------------------------------------------------------------- */
static runner *find_runner(node *self, const sk_link_frame *frame) {
    for (int i = 0; i < self->n_runners; i++) {
        runner *r = &self->runners[i];
        if (r->phase != ABSENT && r->line == frame->line && r->generation == frame->generation) return r;
    }
    return NULL;
}

static void on_spawn(node *self, const sk_link_frame *frame) {
    char name[64] = "";
    int  index = -1;
    memcpy(name, frame->payload, frame->size < sizeof name ? frame->size : sizeof name - 1);
    for (int i = 0; i < self->n_runners && sscanf(name, "runner-%d", &index) == 1; i++) {
        runner *r = &self->runners[i];
        if (r->phase != ABSENT) continue;
        sk_batch_episode *episodes = r->episodes;
        *r = (runner){.phase = HELLO, .line = frame->line, .generation = frame->generation, .index = index,
                      .pid = PID_BASE + self->number * 100 + i, .episodes = episodes};
        return;
    }
    fail(self, index < 0 ? "a worker that is no runner" : "more runners than were asked for");
}

/* What the call asks for: the head and the episodes of its fragment. */
static void on_sample(node *self, runner *r, sk_bytes payload) {
    const scaling_shared   *s = self->shared;
    const sk_batch_episode *recorded = (const void *)(s->fragment + s->episodes_at);
    sk_record               record;
    if (sk_packed_next(&payload, &record, NULL) != SK_OK || record.kind != SK_PACKED_VALUE ||
        record.value.size != sizeof r->in) {
        fail(self, "a call without its first argument");
        return;
    }
    memcpy(&r->in, record.value.data, sizeof r->in);
    memcpy(&r->head, s->fragment, sizeof r->head);
    r->head.policy_version = r->in.policy_version;
    r->head.first_step = r->in.first_step;
    r->head.runner = r->index;
    r->head.first_row = r->index * s->c.n_envs;
    r->head.env_s = s->c.think_s;
    r->head.inference_s = 0.0;
    for (int i = 0; i < r->head.n_episodes; i++) {
        r->episodes[i] = recorded[i];
        r->episodes[i].row += r->head.first_row;
    }
}

static void on_answer(node *self, runner *r, const sk_message *m, sk_bytes payload) {
    if (r->phase != WAIT) return;
    if (m->status != SK_OK || payload.size != sizeof(sk_extent)) {
        fail(self, "the head has no room for a fragment");
        return;
    }
    memcpy(&r->part[r->at_part++], payload.data, sizeof(sk_extent));
    r->phase = ALLOC;
    if (r->at_part < r->n_parts) return;
    r->phase = CHUNKS;
    r->at_part = 0;
    r->at = 0;
}

static void on_mail(node *self, const sk_link_frame *frame) {
    const sk_message *m = NULL;
    sk_bytes          payload = {0};
    sk_error          err = {0};
    runner           *r = find_runner(self, frame);
    if (!r) return;
    if (sk_message_parse(frame->payload, frame->size, SK_TO_WORKER, &m, &payload, &err) != SK_OK) {
        fail(self, err.msg);
        return;
    }
    if (m->kind == SK_MSG_STOP) r->asked_to_stop = true;
    if (m->kind == SK_MSG_ANSWER) on_answer(self, r, m, payload);
    if (m->kind != SK_MSG_CREATE && m->kind != SK_MSG_CALL) return;
    bool is_sample = m->kind == SK_MSG_CALL && m->method == SK_RUNNER_SAMPLE;
    if (r->n_jobs == JOBS_MAX || (is_sample && r->n_jobs > 0)) fail(self, "more calls at a time than were expected");
    else r->jobs[r->n_jobs++] = (job){m->job, m->n_returns, is_sample};
    if (is_sample && !self->ended) on_sample(self, r, payload);
}

static void on_frame(node *self, const sk_link_frame *frame) {
    runner *r = NULL;
    switch (frame->kind) {
    case SK_WIRE_WELCOME:
        self->is_up = send_frame(self, &(sk_link_frame){.kind = SK_WIRE_READY}, NULL, 0);
        if (!self->is_up) fail(self, "cannot say READY");
        break;
    case SK_WIRE_REFUSE: fail(self, frame->size ? (const char *)frame->payload : "was refused"); break;
    case SK_WIRE_BYE: self->ended = true; break;
    case SK_WIRE_SPAWN: on_spawn(self, frame); break;
    case SK_WIRE_MAIL: on_mail(self, frame); break;
    case SK_WIRE_SIGNAL:
        if (!(r = find_runner(self, frame))) break;
        r->killed = true;
        r->phase = DEATH;
        break;
    case SK_WIRE_BEAT:
        self->beat_a = (int64_t)frame->a;
        self->beat_at_ns = sk_clock_now_ns();
        break;
    default: break; /* copies: their bytes are all that matters */
    }
}

static void receive(node *self, int64_t now_ns) {
    sk_link_frame frame;
    sk_error      err = {0};
    while (!self->ended && sk_link_recv(self->link, &frame, &err) == SK_OK) {
        self->heard_ns = now_ns;
        bool in_order = frame.kind == SK_WIRE_REFUSE || sk_link_order_take(&self->order, frame.seq);
        if (!in_order) fail(self, "a frame was lost");
        else on_frame(self, &frame);
    }
}

/* ---- a node's life ------------------------------------------------------------------------------------------- */
static void count(node *self) {
    sk_link_stats   now = sk_link_get_stats(self->link);
    scaling_shared *s = self->shared;
    atomic_fetch_add_explicit(&s->frames_up, now.n_sent - self->counted.n_sent, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->frames_down, now.n_received - self->counted.n_received, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->bytes_up, now.bytes_sent - self->counted.bytes_sent, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->bytes_down, now.bytes_received - self->counted.bytes_received, memory_order_relaxed);
    self->counted = now;
}

/* Until the next thing that is due. */
static int patience_ms(const node *self, int64_t now_ns) {
    if (self->blocked) return BLOCKED_MS;
    int64_t until_ns = now_ns + (int64_t)IDLE_MS * 1000000;
    for (int i = 0; i < self->n_runners; i++) {
        const runner *r = &self->runners[i];
        if (r->phase == THINK && r->due_ns < until_ns) until_ns = r->due_ns;
    }
    return until_ns <= now_ns ? 0 : (int)((until_ns - now_ns + 999999) / 1000000);
}

static void turn(node *self) {
    int64_t now_ns = sk_clock_now_ns();
    self->blocked = false;
    receive(self, now_ns);
    if (self->is_up && now_ns - self->told_ns > (int64_t)SK_BEAT_MS * 1000000 && send_beat(self, now_ns))
        self->told_ns = now_ns;
    now_ns = sk_clock_now_ns();
    for (int i = 0; i < self->n_runners; i++) step(self, &self->runners[i], now_ns);
    count(self);
    if (now_ns - self->heard_ns > (int64_t)SK_HEAD_LOST_MS * 1000000) fail(self, "the head is silent");
    if (!self->ended) sk_link_wait(self->link, patience_ms(self, now_ns));
}

static void *run_node(void *arg) {
    node          *self = arg;
    sk_error       err = {0};
    const scaling_case *c = &self->shared->c;
    sk_link_params params = {.key = c->plain ? NULL : &self->shared->key, .endpoint = self->shared->endpoint,
                             .session = self->session};
    if (sk_link_connect(&params, &self->link, &err) != SK_OK) {
        fail(self, err.msg);
        return NULL;
    }
    self->heard_ns = sk_clock_now_ns();
    if (!send_join(self)) fail(self, "cannot say JOIN");
    while (!self->ended && !atomic_load(&self->shared->over)) turn(self);
    sk_link_destroy(&self->link, 0);
    return NULL;
}

static void free_runners(node *self) {
    for (int i = 0; self->runners && i < self->n_runners; i++) free(self->runners[i].episodes);
    free(self->runners);
}

static bool make_runners(node *self) {
    size_t size = (size_t)(self->shared->fragment_bytes - self->shared->episodes_at) + sizeof(sk_batch_episode);
    self->runners = calloc((size_t)self->n_runners, sizeof *self->runners);
    for (int i = 0; self->runners && i < self->n_runners; i++)
        if (!(self->runners[i].episodes = malloc(size))) return false;
    return self->runners != NULL;
}

int scaling_nodes(scaling_shared *shared) {
    const scaling_case *c = &shared->c;
    node               *nodes = calloc((size_t)c->n_nodes, sizeof *nodes);
    int                 n_started = 0;
    while (!atomic_load(&shared->listening) && !atomic_load(&shared->over)) usleep(2000);
    for (int i = 0; nodes && i < c->n_nodes; i++) {
        node *n = &nodes[i];
        *n = (node){.shared = shared, .number = i + 1, .n_runners = c->n_per_node + SPARE_RUNNERS};
        if (!make_runners(n) || getrandom(&n->session, sizeof n->session, 0) != sizeof n->session ||
            pthread_create(&n->thread, NULL, run_node, n) != 0)
            break;
        n_started++;
    }
    if (n_started < c->n_nodes)
        snprintf(shared->nodes_failure, sizeof shared->nodes_failure, "cannot start node %d", n_started + 1);
    for (int i = 0; i < n_started; i++) {
        pthread_join(nodes[i].thread, NULL);
        if (nodes[i].failure[0] && !shared->nodes_failure[0])
            snprintf(shared->nodes_failure, sizeof shared->nodes_failure, "%s", nodes[i].failure);
    }
    for (int i = 0; nodes && i < c->n_nodes; i++) free_runners(&nodes[i]);
    free(nodes);
    return shared->nodes_failure[0] ? 1 : 0;
}
