#include "tests/runtime/hostile.h"
#include "core/runtime/board.h"
#include "core/runtime/message.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

typedef enum mode { NICE, NOISE, TWICE, REVERSED, WRONG, ANSWERS, RANDOM, RING, SCRIBBLE, SILENT, BYE, N_MODES } mode;
static const char *const mode_names[N_MODES] = {"",        "noise",  "twice", "reversed", "wrong", "answers",
                                                "random", "ring",  "scribble", "silent", "bye"};
static mode     how;
static uint64_t random_state;

static uint64_t draw(uint64_t n) { /* splitmix64 */
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

static void draw_bytes(void *data, size_t size) {
    for (size_t i = 0; i < size; i++) ((uint8_t *)data)[i] = (uint8_t)draw(256);
}

/* What $SKIFF_HOSTILE says of this line. */
static void choose(int line) {
    const char *text = getenv("SKIFF_HOSTILE");
    char        name[16] = "";
    int         wanted = 0;
    if (!text || sscanf(text, "%15[a-z]:%d:%" SCNu64, name, &wanted, &random_state) != 3) return;
    random_state += (uint64_t)getpid();
    for (int m = 1; m < N_MODES; m++)
        if (strcmp(name, mode_names[m]) == 0 && (wanted < 0 || wanted == line)) how = (mode)m;
}

/* ---- noise ---------------------------------------------------------------------------------------------------------- */
/* The linker sends a real worker's calls of sk_ring_commit here. */
void __real_sk_ring_commit(sk_ring_writer *self, size_t size);
void __wrap_sk_ring_commit(sk_ring_writer *self, size_t size);

enum { N_OLD = 16, OLD_BYTES = 8192 };
static struct {
    size_t               size;
    _Alignas(16) uint8_t bytes[OLD_BYTES];
} old[N_OLD]; /* a worker's threads write under its lock */
static unsigned n_old;

static void send_extra(sk_ring_writer *self, const void *bytes, size_t size) {
    void *at = size <= SK_RING_MESSAGE_MAX ? sk_ring_reserve(self, size) : NULL;
    if (!at) return; /* full: then not */
    memcpy(at, bytes, size);
    __real_sk_ring_commit(self, size);
}

static void make_noise(sk_ring_writer *self) {
    _Alignas(16) uint8_t copy[OLD_BYTES];
    unsigned             which = (unsigned)draw(n_old < N_OLD ? n_old : N_OLD);
    size_t               size = old[which].size;
    memcpy(copy, old[which].bytes, size);
    switch (draw(5)) {
    case 0: send_extra(self, old[(n_old - 1) % N_OLD].bytes, old[(n_old - 1) % N_OLD].size); break;
    case 1: send_extra(self, copy, size); break;
    case 2:
        copy[draw(size)] ^= (uint8_t)(1u << draw(8));
        send_extra(self, copy, size);
        break;
    case 3: send_extra(self, copy, (size_t)draw(size)); break;
    default:
        draw_bytes(copy, sizeof copy);
        send_extra(self, copy, (size_t)draw(300));
    }
}

void __wrap_sk_ring_commit(sk_ring_writer *self, size_t size) {
    if (how == NOISE && size <= OLD_BYTES) { /* not published yet, so it lies behind the reserved place's head */
        uint64_t pos = self->tail % SK_RING_BYTES;
        if (self->reserved > SK_RING_BYTES - pos) pos = 0;
        memcpy(old[n_old % N_OLD].bytes, self->ring->bytes + pos + 16, size);
        old[n_old++ % N_OLD].size = size;
    }
    __real_sk_ring_commit(self, size);
    if (how == NOISE && n_old > 0 && draw(8) == 0) make_noise(self);
}

/* ---- a worker that can only echo ---------------------------------------------------------------------------------------- */
typedef struct echo {
    sk_board      *board;
    sk_line       *line;
    int            number, n_jobs;
    sk_ring_writer up;
    sk_ring_reader down;
    struct {
        uint64_t job;
        uint32_t n_returns;
        size_t   size;
        uint8_t  value[SK_INLINE_MAX];
    } held[4];
    int n_held;
} echo;

static void send_raw(echo *self, const void *bytes, size_t size) {
    void *at;
    while (!(at = sk_ring_reserve(&self->up, size))) {
        sk_board_post(self->board, self->number, SK_MAIL_URGENT);
        sk_ring_wait_room(&self->up, 1000000);
    }
    if (size) memcpy(at, bytes, size);
    sk_ring_commit(&self->up, size);
    sk_board_post(self->board, self->number, SK_MAIL_URGENT);
}

static void send(echo *self, sk_message head, const void *payload, size_t size) {
    static _Alignas(16) uint8_t bytes[SK_RING_MESSAGE_MAX];
    head.magic = SK_MESSAGE_MAGIC;
    memcpy(bytes, &head, sizeof head);
    if (size) memcpy(bytes + sizeof head, payload, size);
    send_raw(self, bytes, sizeof head + size);
}

static void answer(echo *self, uint64_t job, uint32_t n_returns, const void *value, size_t size) {
    _Alignas(16) uint8_t record[sizeof(sk_packed) + SK_INLINE_MAX];
    size_t               n = n_returns ? (size_t)(sk_packed_put_value(record, value, size) - record) : 0;
    send(self, (sk_message){.kind = SK_MSG_REPLY, .job = job, .a = 1, .b = 1}, record, n);
}

/* ---- messages that cannot be -------------------------------------------------------------------------------------------- */
/* For a job that there is not. */
static void send_damaged_heads(echo *self, uint64_t job) {
    sk_message good = {.magic = SK_MESSAGE_MAGIC, .kind = SK_MSG_REPLY, .job = job};
    uint8_t    bad[sizeof good];
    for (size_t size = 0; size < sizeof good; size++) send_raw(self, &good, size);
    for (size_t i = 0; i < sizeof good; i++) {
        memcpy(bad, &good, sizeof good);
        bad[i] ^= 0x80;
        send_raw(self, bad, sizeof bad);
    }
    for (uint16_t kind = 0; kind < SK_MSG_N_KINDS; kind++)
        if (kind != SK_MSG_BYE && kind != SK_MSG_BOUNCE) send(self, (sk_message){.kind = kind, .job = job}, NULL, 0);
}

static void send_wrong_answers(echo *self, uint64_t job) {
    _Alignas(16) uint8_t record[2 * sizeof(sk_packed) + 64];
    sk_extent            foreign[] = {{0, 100000}, {64, 1}, {UINT64_MAX - 63, 128}, {0, UINT64_MAX}};
    size_t               n = (size_t)(sk_packed_put_value(record, "wrong", 5) - record);
    sk_message           reply = {.kind = SK_MSG_REPLY, .job = job};
    for (size_t size = 1; size < n; size++) send(self, reply, record, size);
    memset(record + n, 0x77, sizeof record - n);
    send(self, reply, record, n + 16);
    send(self, (sk_message){.kind = SK_MSG_REPLY, .job = job, .method = 1}, record, n); /* a state that is not there */
    for (int i = 0; i < SK_COUNT(foreign); i++) {
        send(self, reply, record, (size_t)(sk_packed_put_extent(record, foreign[i]) - record));
        send(self, reply, record, (size_t)(sk_packed_put_blob(record, foreign[i]) - record));
        send(self, (sk_message){.kind = SK_MSG_FREE}, &foreign[i], sizeof foreign[i]);
    }
    send(self, reply, record, (size_t)(sk_packed_put_ref(record, (sk_ref){1}) - record));
}

static void send_wrong_requests(echo *self, uint64_t job) {
    static uint64_t      ids[4000];
    _Alignas(16) uint8_t bytes[512];
    const int64_t        amounts[] = {INT64_MIN, -1, 0, INT64_C(1) << 40, INT64_MAX};
    const uint16_t       with_ids[] = {SK_MSG_ACQUIRE, SK_MSG_RELEASE}, submits[] = {SK_MSG_SUBMIT, SK_MSG_SUBMIT_CALL};
    draw_bytes(ids, sizeof ids);
    for (int i = 0; i < SK_COUNT(amounts); i++) {
        send(self, (sk_message){.kind = SK_MSG_ALLOC, .job = 1, .a = amounts[i]}, NULL, 0);
        send(self, (sk_message){.kind = SK_MSG_IDS, .job = 1, .a = amounts[i]}, NULL, 0);
        send(self, (sk_message){.kind = SK_MSG_CANCEL, .subject = UINT64_MAX - job, .a = amounts[i]}, NULL, 0);
    }
    for (int i = 0; i < 2; i++) {
        send(self, (sk_message){.kind = with_ids[i]}, ids, sizeof ids);
        send(self, (sk_message){.kind = with_ids[i]}, ids, 12);
    }
    const uint64_t others[] = {0, 1, job ^ (UINT64_C(1) << 61), job ^ (UINT64_C(1) << 20), UINT64_MAX};
    size_t         n = (size_t)(sk_packed_put_value(bytes, "mine", 4) - bytes);
    for (int i = 0; i < SK_COUNT(others); i++)
        send(self, (sk_message){.kind = SK_MSG_REPLY, .job = others[i]}, bytes, n);
    for (uint64_t id = 0; id < 4; id++) send(self, (sk_message){.kind = SK_MSG_PUT, .subject = id}, bytes, n);
    for (uint64_t id = 0; id < 4; id++) send(self, (sk_message){.kind = SK_MSG_FETCH, .subject = id}, NULL, 0);
    for (int i = 0; i < 100; i++) {
        uint32_t n_args = draw(2) ? (uint32_t)draw(4) : UINT32_MAX - (uint32_t)draw(4);
        uint32_t n_returns = draw(2) ? (uint32_t)draw(4) : UINT32_MAX - (uint32_t)draw(4);
        draw_bytes(bytes, sizeof bytes);
        if (draw(2)) memset(bytes, 0, sizeof(sk_submit_head));
        send(self, (sk_message){.kind = submits[i % 2], .n_args = n_args, .n_returns = n_returns, .function = draw(9)},
             bytes, (size_t)draw(sizeof bytes));
        send(self, (sk_message){.kind = SK_MSG_ASK, .job = 1, .method = (int32_t)draw(12) - 1, .n_args = n_args,
                                .subject = draw(5), .a = (int64_t)draw(5) - 1}, bytes, (size_t)draw(sizeof bytes));
    }
    for (int i = 0; i < 2; i++) send(self, (sk_message){.kind = SK_MSG_BOUNCE, .job = job + 1000}, NULL, 0);
    send(self, (sk_message){.kind = SK_MSG_UNBLOCKED, .job = job}, NULL, 0);
    send(self, (sk_message){.kind = SK_MSG_HELLO, .a = 1}, NULL, 0);
}

static void send_random(echo *self) {
    static _Alignas(16) uint8_t bytes[SK_RING_MESSAGE_MAX];
    for (int i = 0; i < 200; i++) {
        size_t     size = (size_t)draw(draw(4) ? 300 : sizeof bytes);
        sk_message head = {.magic = SK_MESSAGE_MAGIC, .kind = (uint16_t)draw(SK_MSG_N_KINDS)};
        draw_bytes(bytes, size);
        if (size >= 16 && draw(4)) memcpy(bytes, &head, draw(2) ? 8 : 16); /* begins well, now and then */
        if (head.kind != SK_MSG_BYE && head.kind != SK_MSG_BOUNCE) send_raw(self, bytes, size);
    }
}

/* ---- its loop --------------------------------------------------------------------------------------------------------------- */
static void answer_held(echo *self) {
    while (self->n_held > 0) {
        int i = --self->n_held;
        answer(self, self->held[i].job, self->held[i].n_returns, self->held[i].value, self->held[i].size);
    }
}

static void do_job(echo *self, const sk_message *m, sk_bytes payload) {
    sk_record record = {0};
    sk_bytes  value = {0};
    if (m->kind != SK_MSG_CREATE && m->n_args > 0 && sk_packed_next(&payload, &record, NULL) == SK_OK)
        value = record.value;
    if (value.size > SK_INLINE_MAX) value.size = 0;
    atomic_fetch_add(&self->line->n_started, 1);
    bool is_third = ++self->n_jobs == 3;
    if (how == WRONG && m->kind != SK_MSG_CREATE) {
        send_damaged_heads(self, m->job ^ (UINT64_C(1) << 62));
        send_wrong_requests(self, m->job);
    }
    if (how == ANSWERS && m->kind != SK_MSG_CREATE) send_wrong_answers(self, m->job);
    if (how == RANDOM) send_random(self);
    if (how == RING && is_third) {
        atomic_store(&self->line->up.tail, UINT64_C(0x123456789abc));
        sk_board_post(self->board, self->number, SK_MAIL_URGENT);
        for (;;) pause();
    }
    if (how == SCRIBBLE && is_third) {
        draw_bytes(self->line, sizeof *self->line);
        sk_board_post(self->board, self->number, SK_MAIL_URGENT);
        for (;;) pause();
    }
    if (how == BYE && is_third) {
        send(self, (sk_message){.kind = SK_MSG_BYE}, NULL, 0);
        _exit(0);
    }
    if (how == REVERSED && m->kind != SK_MSG_CREATE) {
        int i = self->n_held++;
        self->held[i].job = m->job;
        self->held[i].n_returns = m->n_returns;
        self->held[i].size = value.size;
        if (value.size) memcpy(self->held[i].value, value.data, value.size);
        if (self->n_held == SK_COUNT(self->held)) answer_held(self);
        return;
    }
    for (int i = 0; i < (how == TWICE ? 2 : 1); i++) answer(self, m->job, m->n_returns, value.data, value.size);
}

/* False: it is told to stop. */
static bool read_mail(echo *self) {
    const void       *bytes;
    size_t            size;
    const sk_message *m;
    sk_bytes          payload;
    while (sk_ring_peek(&self->down, &bytes, &size, NULL) == SK_OK) {
        bool stop = false;
        if (sk_message_parse(bytes, size, SK_TO_WORKER, &m, &payload, NULL) == SK_OK) {
            stop = m->kind == SK_MSG_STOP;
            if (m->kind == SK_MSG_RUN || m->kind == SK_MSG_CREATE || m->kind == SK_MSG_CALL) do_job(self, m, payload);
        }
        sk_ring_pop(&self->down);
        if (stop) return false;
    }
    return true;
}

static void serve(echo *self) {
    sk_ring_writer_init(&self->up, &self->line->up);
    sk_ring_reader_init(&self->down, &self->line->down);
    send(self, (sk_message){.kind = SK_MSG_HELLO, .a = getpid()}, NULL, 0);
    while (read_mail(self)) {
        uint32_t ticket = sk_bell_prepare(&self->line->bell);
        if (sk_ring_has_mail(&self->down))
            sk_bell_cancel(&self->line->bell);
        else
            sk_bell_wait(&self->line->bell, ticket, 2000000);
        if (!sk_ring_has_mail(&self->down)) answer_held(self);
    }
    send(self, (sk_message){.kind = SK_MSG_BYE}, NULL, 0);
}

int hostile_main(int argc, char **argv) {
    static echo  self;
    sk_block_ref ref = {0};
    sk_block    *block = NULL;
    sk_error     err = {0};
    self.number = -1;
    for (int i = 0; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--line") == 0) self.number = atoi(argv[i + 1]);
        if (strcmp(argv[i], "--board") == 0 && sscanf(argv[i + 1], "%d,%d,%" SCNu64 ",%" SCNu64, &ref.pid, &ref.fd,
                                                      &ref.id, &ref.size_bytes) != 4)
            return -1;
    }
    choose(self.number);
    if (how == NICE || how == NOISE || self.number < 0) return -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (how == SILENT)
        for (;;) pause();
    if (sk_block_open(&ref, &block, &err) != SK_OK) {
        fprintf(stderr, "hostile worker: %s\n", err.msg);
        return 1;
    }
    self.board = sk_block_data(block);
    self.line = &self.board->lines[self.number];
    serve(&self);
    sk_block_destroy(&block);
    return 0;
}
