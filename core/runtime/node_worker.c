#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/node_internal.h"
#include "core/runtime/spawn.h"
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one worker in one turn of the loop, so that all come to their turn. */
enum { MESSAGES_PER_TURN = 64 };
/* Requests without an answer, and extents, that a worker may have at a time: a sane one has one or two per thread. */
enum { NUMBERS_MAX = 1 << 16 };

/* ---- lists of numbers ------------------------------------------------------------------------------------ */
static bool push_number(uint64_t **numbers, int *n, int *cap, uint64_t number) {
    if (*n == *cap) {
        int       grown_cap = *cap ? 2 * *cap : 8;
        uint64_t *grown = grown_cap > NUMBERS_MAX ? NULL : realloc(*numbers, (size_t)grown_cap * sizeof *grown);
        if (!grown) return false;
        *numbers = grown;
        *cap = grown_cap;
    }
    (*numbers)[(*n)++] = number;
    return true;
}

static bool take_number(uint64_t *numbers, int *n, uint64_t number) {
    for (int i = 0; i < *n; i++) {
        if (numbers[i] != number) continue;
        numbers[i] = numbers[--*n];
        return true;
    }
    return false;
}

/* ---- life ------------------------------------------------------------------------------------------------ */
static sk__node_worker *find(const sk__node *self, const sk_link_frame *frame) {
    sk__node_worker *worker = frame->line < SK_BOARD_LINES ? self->workers[frame->line] : NULL;
    return worker && worker->generation == frame->generation ? worker : NULL;
}

static sk_line *line_of(const sk__node *self, const sk__node_worker *worker) {
    return &self->board->lines[worker->line];
}

static uint64_t n_started(const sk__node *self, int line) {
    return atomic_load_explicit(&self->board->lines[line].n_started, memory_order_acquire);
}

/* What is known of it now, for `skiff status` on this host. */
static void show(sk__node *self, const sk__node_worker *worker) {
    sk_board_worker *row = &self->board->workers[worker->line];
    int32_t          state = worker->is_stopping    ? SK_WORKER_STOPPING
                             : !worker->said_hello  ? SK_WORKER_STARTING
                             : worker->is_blocked   ? SK_WORKER_BLOCKED
                             : worker->n_in_flight ? SK_WORKER_BUSY
                                                    : SK_WORKER_IDLE;
    if (state != row->state) row->since_ns = sk_clock_now_ns();
    row->state = state;
    row->n_in_flight = worker->n_in_flight;
}

/* It is of no use any more; `why` reads "was ended: it ...". */
__attribute__((format(printf, 3, 4))) static void end_worker(sk__node *self, sk__node_worker *worker, const char *why,
                                                             ...) {
    if (worker->kill_reason[0]) return;
    va_list args;
    va_start(args, why);
    vsnprintf(worker->kill_reason, sizeof worker->kill_reason, why, args);
    va_end(args);
    worker->is_mute = true;
    sk_log(SK_LOG_WARN, "node: %s (process %d) %s", worker->name, worker->pid, worker->kill_reason);
    sk_supervisor_signal(self->supervisor, worker->id, SIGKILL);
}

static void free_worker(sk__node *self, sk__node_worker *worker) {
    for (sk__node_letter *letter = worker->letters, *next; letter; letter = next) {
        next = letter->next;
        free(letter);
    }
    self->board->workers[worker->line] = (sk_board_worker){0};
    self->workers[worker->line] = NULL;
    self->n_workers--;
    free(worker->allocs);
    free(worker->owned);
    free(worker->message);
    free(worker->loads);
    free(worker);
}

void sk__node_forget_workers(sk__node *self) {
    for (int i = 0; i < self->n_lines; i++)
        if (self->workers[i]) free_worker(self, self->workers[i]);
    self->n_lines = 0;
}

/* All that it said is on its way: now its end. */
static void send_death(sk__node *self, uint32_t line, uint32_t generation, const sk_wire_death *death) {
    sk_link_frame frame = {.kind = SK_WIRE_DEATH, .line = line, .generation = generation,
                           .a = n_started(self, (int)line), .payload = death, .size = sizeof *death};
    self->n_deaths++;
    sk__node_send(self, &frame);
}

static void take_deaths(sk__node *self) {
    sk_death death;
    while (sk_supervisor_has_death(self->supervisor) && sk_supervisor_pop_death(self->supervisor, &death)) {
        uint32_t         line = (uint32_t)death.worker_id;
        sk__node_worker *worker = line < SK_BOARD_LINES ? self->workers[line] : NULL;
        if (!worker || worker->id != death.worker_id) continue;
        worker->has_ended = worker->has_mail = true;
        worker->death = (sk_wire_death){.pid = death.pid, .exit_status = death.exit_status};
        snprintf(worker->death.how, sizeof worker->death.how, "%s",
                 worker->kill_reason[0] ? worker->kill_reason : death.how);
    }
}

/* ---- what the head says about a line --------------------------------------------------------------------- */
static sk_status spawn(sk__node *self, sk__node_worker *worker, sk_error *reterr) {
    sk_board_worker *row = &self->board->workers[worker->line];
    const char      *log_dir = self->params->log_dir;
    if (log_dir)
        snprintf(row->log_path, sizeof row->log_path, "%s/%s-%" PRIu32 ".log", log_dir, worker->name,
                 worker->generation);
    sk_spawn params = {.id = worker->id, .worker_path = sk_spawn_worker_path(self->params->worker_path),
                       .board = self->board_block, .store = self->store, .line = worker->line,
                       .plugins = self->plugins, .n_plugins = self->n_plugins, .log_path = row->log_path};
    SK_TRY(sk_spawn_worker(self->supervisor, &params, &worker->pid, reterr));
    memcpy(row->name, worker->name, sizeof row->name);
    row->pid = worker->pid;
    row->started_ns = sk_clock_now_ns();
    show(self, worker);
    return SK_OK;
}

static sk__node_worker *make_worker(sk__node *self, const sk_link_frame *frame) {
    sk__node_worker *worker = calloc(1, sizeof *worker);
    if (!worker) return NULL;
    worker->line = (int)frame->line;
    worker->generation = frame->generation;
    worker->id = (uint64_t)frame->generation << 32 | frame->line;
    size_t size = frame->size < sizeof worker->name ? frame->size : sizeof worker->name - 1;
    if (size) memcpy(worker->name, frame->payload, size);
    if (self->was_used[worker->line]) sk_board_clear_line(self->board, worker->line);
    self->was_used[worker->line] = true;
    sk_line *line = line_of(self, worker);
    line->stopping = self->is_stopping;
    sk_ring_writer_init(&worker->down, &line->down);
    sk_ring_reader_init(&worker->up, &line->up);
    self->workers[worker->line] = worker;
    self->n_workers++;
    if (worker->line >= self->n_lines) self->n_lines = worker->line + 1;
    return worker;
}

void sk__node_on_spawn(sk__node *self, const sk_link_frame *frame) {
    sk_error err = {0};
    if (frame->line >= SK_BOARD_LINES || self->workers[frame->line]) {
        (void)SK_FAIL(&err, SK_ECORRUPT, "the head wants a worker on line %" PRIu32 ", which %s", frame->line,
                      frame->line >= SK_BOARD_LINES ? "there is not" : "has one");
        sk__node_fail(self, SK__NODE_FAILED, &err);
        return;
    }
    sk__node_worker *worker = make_worker(self, frame);
    if (worker && spawn(self, worker, &err) == SK_OK) return;
    if (!worker) (void)SK_FAIL(&err, SK_ENOMEM, "no memory for a worker");
    sk_log(SK_LOG_WARN, "node: %s", err.msg);
    sk_wire_death death = {.exit_status = -1};
    snprintf(death.how, sizeof death.how, "%.79s", err.msg);
    if (worker) free_worker(self, worker);
    send_death(self, frame->line, frame->generation, &death);
}

void sk__node_on_signal(sk__node *self, const sk_link_frame *frame) {
    const sk__node_worker *worker = find(self, frame);
    if (worker) sk_supervisor_signal(self->supervisor, worker->id, (int)frame->a);
}

void sk__node_on_cancel(sk__node *self, const sk_link_frame *frame) {
    const sk__node_worker *worker = find(self, frame);
    if (!worker) return;
    sk_line *line = line_of(self, worker);
    line->cancels[line->n_cancels % SK_COUNT(line->cancels)] = frame->a;
    line->n_cancels++;
    sk_bell_ring(&line->bell);
}

void sk__node_on_stopping(sk__node *self) {
    self->is_stopping = true;
    for (int i = 0; i < self->n_lines; i++) {
        if (!self->workers[i]) continue;
        self->board->lines[i].stopping = 1;
        sk_bell_ring(&self->board->lines[i].bell);
    }
}

/* ---- messages down --------------------------------------------------------------------------------------- */
static bool put(sk__node *self, sk__node_worker *worker, const void *message, size_t size) {
    void *at = sk_ring_reserve(&worker->down, size);
    if (!at) return false;
    memcpy(at, message, size);
    sk_ring_commit(&worker->down, size);
    sk_bell_ring(&line_of(self, worker)->bell);
    return true;
}

static void put_letters(sk__node *self, sk__node_worker *worker) {
    while (worker->letters && put(self, worker, worker->letters->bytes, worker->letters->size)) {
        sk__node_letter *letter = worker->letters;
        worker->letters = letter->next;
        if (!worker->letters) worker->letters_last = NULL;
        free(letter);
        self->letters_ms = 0;
    }
    if (worker->letters) self->has_letters = true;
}

/* To the worker, or kept until its ring has room. */
static void deliver(sk__node *self, sk__node_worker *worker, const void *message, size_t size) {
    put_letters(self, worker);
    if (!worker->letters && put(self, worker, message, size)) return;
    sk__node_letter *letter = malloc(sizeof *letter + size);
    if (!letter) { /* it would wait for it for ever */
        end_worker(self, worker, "was ended: its host has no memory for a message to it");
        return;
    }
    letter->next = NULL;
    letter->size = size;
    memcpy(letter->bytes, message, size);
    *(worker->letters_last ? &worker->letters_last->next : &worker->letters) = letter;
    worker->letters_last = letter;
    self->has_letters = true;
}

static void send_message(sk__node *self, const sk__node_worker *worker, const void *message, size_t size) {
    sk_link_frame frame = {.kind = SK_WIRE_MAIL, .line = (uint32_t)worker->line, .generation = worker->generation,
                           .a = n_started(self, worker->line), .payload = message, .size = size};
    sk__node_send(self, &frame);
}

void sk__node_stop_workers(sk__node *self) {
    static const sk_message stop = {.magic = SK_MESSAGE_MAGIC, .kind = SK_MSG_STOP};
    sk__node_on_stopping(self);
    for (int i = 0; i < self->n_lines; i++) {
        sk__node_worker *worker = self->workers[i];
        if (!worker || worker->is_stopping || worker->has_ended || worker->kill_reason[0]) continue;
        worker->is_stopping = true;
        deliver(self, worker, &stop, sizeof stop);
        show(self, worker);
    }
}

/* The store here has no room for what the head gave: the worker hears so, the head gets it back. */
static void refuse_memory(sk__node *self, sk__node_worker *worker, const sk_message *answer, sk_extent there,
                          const sk_error *err) {
    struct {
        sk_message head;
        sk_extent  extent;
    } back = {.head = {.magic = SK_MESSAGE_MAGIC, .kind = SK_MSG_FREE}, .extent = there};
    send_message(self, worker, &back, sizeof back);
    _Alignas(16) uint8_t bytes[sizeof *answer + sizeof err->msg + sizeof self->name + 16];
    sk_message          *head = (sk_message *)(void *)bytes;
    *head = *answer;
    head->status = err->status;
    int n = snprintf((char *)(head + 1), sizeof bytes - sizeof *head, "host %s: %s", self->name, err->msg);
    deliver(self, worker, bytes, sizeof *head + (size_t)n);
}

/* The answer to an ALLOC: an empty copy, which the worker fills. False: the worker has been told something else. */
static bool take_memory(sk__node *self, sk__node_worker *worker, const sk_message *answer, sk_bytes payload) {
    sk_extent      there;
    sk__node_copy *copy = NULL;
    sk_error       err = {0};
    if (payload.size != sizeof there) return true; /* its reader refuses that */
    memcpy(&there, payload.data, sizeof there);
    if (sk__node_copies_find(&self->copies, there.offset)) {
        (void)SK_FAIL(&err, SK_ECORRUPT, "the head gave out memory at %" PRIu64 " twice", there.offset);
        sk__node_fail(self, SK__NODE_FAILED, &err);
        return false;
    }
    if (sk__node_copies_add(&self->copies, there, &copy, &err) != SK_OK) {
        sk__node_copies_drop(&self->copies, there.offset);
        refuse_memory(self, worker, answer, there, &err);
        return false;
    }
    copy->filled = copy->size; /* by the worker, before it gives it away */
    if (push_number(&worker->owned, &worker->n_owned, &worker->cap_owned, there.offset)) return true;
    end_worker(self, worker, "was ended: its host cannot note more memory for it");
    return false;
}

static void count_down(sk__node *self, sk__node_worker *worker, const sk_message *message) {
    switch ((sk_message_kind)message->kind) {
    case SK_MSG_RUN:
    case SK_MSG_CREATE:
    case SK_MSG_CALL: worker->n_in_flight++; break;
    case SK_MSG_STOP: worker->is_stopping = true; break;
    default: return;
    }
    show(self, worker);
}

void sk__node_on_mail(sk__node *self, const sk_link_frame *frame) {
    sk__node_worker  *worker = find(self, frame);
    const sk_message *message = NULL;
    sk_bytes          payload = {0};
    sk_error          err = {0};
    if (!worker || worker->kill_reason[0] || worker->has_ended) return;
    sk_status status = frame->size <= sizeof self->scratch
                           ? SK_OK
                           : SK_FAIL(&err, SK_ECORRUPT, "a message of %zu bytes to a worker", frame->size);
    if (status == SK_OK) {
        memcpy(self->scratch, frame->payload, frame->size);
        status = sk_message_parse(self->scratch, frame->size, SK_TO_WORKER, &message, &payload, &err);
    }
    if (status != SK_OK) {
        sk__node_fail(self, SK__NODE_FAILED, &err);
        return;
    }
    bool gives_memory = message->kind == SK_MSG_ANSWER &&
                        take_number(worker->allocs, &worker->n_allocs, message->job) && message->status == SK_OK;
    if (gives_memory && !take_memory(self, worker, message, payload)) return;
    status = sk__node_copies_translate(&self->copies, self->scratch, frame->size, gives_memory, &err);
    if (status != SK_OK) {
        end_worker(self, worker, "was ended: %s", err.msg);
        return;
    }
    count_down(self, worker, message);
    deliver(self, worker, self->scratch, frame->size);
}

/* ---- messages up ----------------------------------------------------------------------------------------- */
/* What a message names, on its way into the words of the head. */
typedef struct rewriting {
    sk__node        *node;
    sk__node_worker *worker;
    bool             is_free; /* its bytes are of no interest */
    int              n;
} rewriting;

static bool add_load(sk__node_worker *worker, uint64_t offset) {
    if (worker->n_loads == worker->cap_loads) {
        int            cap = worker->cap_loads ? 2 * worker->cap_loads : 8;
        sk__node_load *grown = realloc(worker->loads, (size_t)cap * sizeof *grown);
        if (!grown) return false;
        worker->loads = grown;
        worker->cap_loads = cap;
    }
    worker->loads[worker->n_loads++] = (sk__node_load){.offset = offset};
    return true;
}

/* The worker gives away an extent that it was given; it has it no longer. */
static sk_status to_there(rewriting *it, sk_extent *extent, sk__node_copy **ret_copy, sk_error *reterr) {
    sk__node_worker *worker = it->worker;
    sk_extent        here = *extent; /* read once: it may lie in memory that the worker can write */
    for (int i = 0; i < worker->n_owned; i++) {
        sk__node_copy *copy = sk__node_copies_find(&it->node->copies, worker->owned[i]);
        if (!copy || copy->at.offset != here.offset || copy->at.size != here.size) continue;
        worker->owned[i] = worker->owned[--worker->n_owned];
        *extent = (sk_extent){copy->offset, copy->size};
        it->n++;
        *ret_copy = copy;
        if (!it->is_free && !add_load(worker, copy->offset))
            return SK_FAIL(reterr, SK_ENOMEM, "its host has no memory to send what it gave away");
        return SK_OK;
    }
    return SK_FAIL(reterr, SK_EINVAL, "it gave away memory that it was not given");
}

static sk_status record_to_there(void *arg, sk_extent *extent, bool is_blob, sk_error *reterr) {
    sk__node_copy *copy = NULL;
    if (is_blob) return SK_FAIL(reterr, SK_ECORRUPT, "its records that lie elsewhere name others that do");
    return to_there(arg, extent, &copy, reterr);
}

static sk_status message_to_there(void *arg, sk_extent *extent, bool is_blob, sk_error *reterr) {
    rewriting     *it = arg;
    sk__node_copy *copy = NULL;
    SK_TRY(to_there(it, extent, &copy, reterr));
    if (!is_blob) return SK_OK;
    const sk__node_copies *copies = &it->node->copies;
    return sk_wire_each_packed(sk__node_copy_data(copies, copy), copy->size, record_to_there, it, reterr);
}

/* A chunk of what goes before the message, or the message itself. False: nothing is left to send, or no way. */
static bool send_some(sk__node *self, sk__node_worker *worker) {
    while (worker->load_at < worker->n_loads) {
        sk__node_load *load = &worker->loads[worker->load_at];
        sk__node_copy *copy = sk__node_copies_find(&self->copies, load->offset);
        if (!copy || copy->at.size == 0) {
            end_worker(self, worker, "was ended: the head took back what it was about to give away");
            return false;
        }
        uint64_t left = copy->size - load->sent, size = left < SK_CHUNK_BYTES ? left : SK_CHUNK_BYTES;
        sk_link_frame frame = {.kind = SK_WIRE_CHUNK, .line = (uint32_t)worker->line,
                               .generation = worker->generation, .a = load->offset, .b = load->sent,
                               .payload = sk__node_copy_data(&self->copies, copy) + load->sent, .size = size};
        if (!sk__node_try_send(self, &frame)) return false;
        load->sent += size;
        if (load->sent == copy->size) worker->load_at++;
        return true;
    }
    sk_link_frame frame = {.kind = SK_WIRE_MAIL, .line = (uint32_t)worker->line, .generation = worker->generation,
                           .a = n_started(self, worker->line), .payload = worker->message,
                           .size = worker->message_size};
    if (!sk__node_try_send(self, &frame)) return false;
    free(worker->message);
    worker->message = NULL;
    return false;
}

/* What the board shows, and what is expected of the head, once a message is on its way. */
static void note_sent(sk__node *self, sk__node_worker *worker, const sk_message *message) {
    switch ((sk_message_kind)message->kind) {
    case SK_MSG_HELLO: worker->said_hello = true; break;
    case SK_MSG_REPLY:
        self->n_done++;
        self->board->workers[worker->line].n_done++;
        if (worker->n_in_flight > 0) worker->n_in_flight--;
        break;
    case SK_MSG_BOUNCE:
        if (worker->n_in_flight > 0) worker->n_in_flight--;
        break;
    case SK_MSG_BLOCKED: worker->is_blocked = true; break;
    case SK_MSG_UNBLOCKED: worker->is_blocked = false; break;
    case SK_MSG_ALLOC:
        if (!push_number(&worker->allocs, &worker->n_allocs, &worker->cap_allocs, message->job))
            end_worker(self, worker, "was ended: too many requests for memory at a time");
        return;
    default: return;
    }
    show(self, worker);
}

static void drop_malformed(sk__node *self, const sk__node_worker *worker, const char *why) {
    uint64_t n = ++self->n_malformed;
    if ((n & (n - 1)) == 0) /* 1st, 2nd, 4th, 8th, ...: no flood of lines */
        sk_log(SK_LOG_WARN, "node: dropped a message of %s (process %d): %s (%" PRIu64 " dropped so far)",
               worker->name, worker->pid, why, n);
}

/* One message of the worker's ring, which lies in `scratch` now. False: the way is full, it stays in the ring. */
static bool pass_up(sk__node *self, sk__node_worker *worker, size_t size) {
    const sk_message *message = NULL;
    sk_bytes          payload = {0};
    sk_error          err = {0};
    if (sk_message_parse(self->scratch, size, SK_TO_DRIVER, &message, &payload, &err) != SK_OK) {
        drop_malformed(self, worker, err.msg);
        return true;
    }
    rewriting it = {.node = self, .worker = worker, .is_free = message->kind == SK_MSG_FREE};
    worker->n_loads = worker->load_at = 0;
    sk_status status = sk_wire_each_extent(self->scratch, size, SK_TO_DRIVER, false, message_to_there, &it, &err);
    if (status == SK_ECORRUPT && it.n == 0) { /* as a driver does with what it cannot read */
        drop_malformed(self, worker, err.msg);
        return true;
    }
    if (status != SK_OK) {
        end_worker(self, worker, "was ended: %s", err.msg);
        return true;
    }
    if (it.n > 0) {
        worker->message = malloc(size);
        if (!worker->message) {
            end_worker(self, worker, "was ended: its host has no memory for a message of it");
            return true;
        }
        memcpy(worker->message, self->scratch, size);
        worker->message_size = size;
    } else {
        sk_link_frame frame = {.kind = SK_WIRE_MAIL, .line = (uint32_t)worker->line,
                               .generation = worker->generation, .a = n_started(self, worker->line),
                               .payload = self->scratch, .size = size};
        if (!sk__node_try_send(self, &frame)) return false;
    }
    note_sent(self, worker, message);
    return true;
}

/* False: its ring is empty. */
static bool read_one(sk__node *self, sk__node_worker *worker) {
    const void *bytes = NULL;
    size_t      size = 0;
    sk_error    err = {0};
    sk_status   status = sk_ring_peek(&worker->up, &bytes, &size, &err);
    if (status == SK_ENOTFOUND) return false;
    if (status != SK_OK) { /* nothing it says can be understood any more */
        end_worker(self, worker, "was ended: its messages are damaged");
        return false;
    }
    memcpy(self->scratch, bytes, size); /* it could change it under our eyes */
    if (pass_up(self, worker, size)) sk_ring_pop(&worker->up);
    return true;
}

/* Some of what it has to say; true: all of it is said. */
static bool serve(sk__node *self, sk__node_worker *worker) {
    for (int i = 0; i < MESSAGES_PER_TURN && !self->is_full; i++) {
        if (worker->is_mute) return true;
        if (worker->message) {
            if (send_some(self, worker)) break; /* one chunk, then the others */
        } else if (!read_one(self, worker)) {
            return true;
        }
    }
    self->is_busy |= !self->is_full;
    return false;
}

/* What the ears have heard. */
static void take_marks(sk__node *self) {
    for (int i = 0; i < SK_COUNT(self->mail); i++) {
        if (atomic_load_explicit(&self->mail[i], memory_order_relaxed) == 0) continue;
        for (uint64_t bits = atomic_exchange(&self->mail[i], 0); bits; bits &= bits - 1) {
            sk__node_worker *worker = self->workers[i * 64 + __builtin_ctzll(bits)];
            if (worker) worker->has_mail = true;
        }
    }
}

void sk__node_serve_workers(sk__node *self) {
    take_deaths(self);
    take_marks(self);
    for (int i = 0; i < self->n_lines; i++) {
        sk__node_worker *worker = self->workers[i];
        if (!worker) continue;
        if (worker->letters) put_letters(self, worker);
        if (!worker->has_mail || !serve(self, worker)) continue;
        worker->has_mail = false;
        if (!worker->has_ended) continue;
        sk_wire_death death = worker->death;
        uint32_t      generation = worker->generation;
        if (worker->kill_reason[0]) memcpy(death.how, worker->kill_reason, sizeof death.how);
        free_worker(self, worker);
        send_death(self, (uint32_t)i, generation, &death);
    }
}

/* ---- what is seen ---------------------------------------------------------------------------------------- */
void sk__node_show(sk__node *self) {
    sk_board_counters *n = &self->board->counters;
    sk_store_stats     store = sk_store_get_stats(self->store);
    uint64_t           running = 0;
    for (int i = 0; i < self->n_lines; i++) running += self->workers[i] ? self->workers[i]->n_in_flight : 0;
    if (n->n_done != self->n_done) n->progress_ns = sk_clock_now_ns();
    n->n_done = self->n_done;
    n->n_running = running;
    n->n_workers = (uint64_t)self->n_workers;
    n->n_worker_deaths = self->n_deaths;
    n->n_malformed = self->n_malformed;
    n->store_bytes = self->store_bytes;
    n->store_used = store.used;
    n->store_peak = store.peak;
    n->n_objects = self->copies.n;
    n->object_bytes = store.used;
}
