#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/client.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Looking again costs less than sleeping for this long; a yield that took longer than the second found the cores
 * crowded, and looking then only takes the time of those who would answer: not for a while. */
#define SPIN_NS         ((int64_t)50 * 1000)
#define SPIN_CROWDED_NS ((int64_t)200 * 1000)
enum { SPIN_SKIPS = 100 };
/* A sleeper looks around this often, whatever it is told. */
#define SLICE_NS ((int64_t)1000 * 1000 * 1000)
/* A job that waits this long lets others have its resources. */
#define BLOCKED_AFTER_NS ((int64_t)2 * 1000 * 1000)
/* The driver that ends its program reads for this long at least what is said. */
#define LAST_WORDS_NS ((int64_t)1000 * 1000 * 1000)
#define ROOM_SLICE_NS ((int64_t)10 * 1000 * 1000)
/* Spare parcels: as many, and of such a size, as a busy worker uses. */
enum { SPARE_MAX = 16, SPARE_CAP = 1024, SPARE_CAP_MAX = 8192 };

/* ---- this thread ----------------------------------------------------------------------------------------- */
static _Thread_local sk__work *current_work;

sk__work *sk__work_current(void) { return current_work; }

void sk__work_set_current(sk__work *work) { current_work = work; }

bool sk__work_is_cancelled(sk__work *self) {
    sk_line *line = self->client->line;
    uint32_t n = atomic_load_explicit(&line->n_cancels, memory_order_acquire);
    if (n != self->cancels_seen) {
        self->cancels_seen = n;
        for (int i = 0; i < SK_COUNT(line->cancels); i++)
            if (atomic_load_explicit(&line->cancels[i], memory_order_relaxed) == self->job && self->job)
                self->cancelled = true;
    }
    return self->cancelled;
}

static bool is_stopping(const sk__client *self) {
    return atomic_load_explicit(&self->line->stopping, memory_order_relaxed) != 0;
}

/* ---- life ------------------------------------------------------------------------------------------------ */
/* Looking again pays only where the other side can run meanwhile. */
static bool has_two_cores(void) {
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
}

sk_status sk__client_init(sk__client *self, sk_board *board, int line, void *store, size_t store_size,
                          const sk_registry *registry, sk_error *reterr) {
    *self = (sk__client){.board = board, .line = &board->lines[line], .line_number = line, .store = store,
                         .store_size = store_size, .registry = registry, .may_spin = has_two_cores()};
    self->rt.client = self;
    pthread_condattr_t monotonic;
    int                rc = pthread_mutex_init(&self->lock, NULL);
    if (rc == 0) rc = pthread_condattr_init(&monotonic);
    if (rc == 0) {
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        rc = pthread_cond_init(&self->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
    }
    if (rc != 0) return SK_FAIL(reterr, SK_ENOMEM, "cannot make a worker's lock: %s", strerror(rc));
    sk_ring_writer_init(&self->up, &self->line->up);
    sk_ring_reader_init(&self->down, &self->line->down);
    return SK_OK;
}

static void free_parcels(sk__parcel *first) {
    while (first) {
        sk__parcel *next = first->next;
        free(first);
        first = next;
    }
}

void sk__client_deinit(sk__client *self) {
    sk__client_drop_objects(self);
    free_parcels(self->jobs.first);
    free_parcels(self->spare);
    free(self->stock);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
}

/* ---- parcels --------------------------------------------------------------------------------------------- */
void sk__parcels_push(sk__parcels *self, sk__parcel *parcel) {
    parcel->next = NULL;
    *(self->last ? &self->last->next : &self->first) = parcel;
    self->last = parcel;
}

sk__parcel *sk__parcels_pop(sk__parcels *self) {
    sk__parcel *parcel = self->first;
    if (!parcel) return NULL;
    self->first = parcel->next;
    if (!self->first) self->last = NULL;
    return parcel;
}

static sk__parcel *take_parcel(sk__client *self, size_t size) {
    sk__parcel *parcel = self->spare;
    if (parcel && parcel->cap >= size) {
        self->spare = parcel->next;
        self->n_spare--;
        return parcel;
    }
    size_t cap = size < SPARE_CAP ? SPARE_CAP : size;
    parcel = aligned_alloc(16, (sizeof *parcel + cap + 15) & ~(size_t)15);
    if (parcel) parcel->cap = cap;
    return parcel;
}

void sk__mail_give_parcel(sk__client *self, sk__parcel *parcel) {
    if (self->n_spare >= SPARE_MAX || parcel->cap > SPARE_CAP_MAX) {
        free(parcel);
        return;
    }
    parcel->next = self->spare;
    self->spare = parcel;
    self->n_spare++;
}

/* ---- sending --------------------------------------------------------------------------------------------- */
static void post(sk__client *self, sk_urgency urgency) {
    atomic_store_explicit(&self->has_told_nobody, urgency == SK_MAIL_PLAIN, memory_order_relaxed);
    sk_board_post(self->board, self->line_number, urgency);
}

/* False: the program is ending and its driver does not read any more. */
static bool wait_room(sk__client *self, int64_t *until_ns) {
    if (is_stopping(self)) {
        int64_t now_ns = sk_clock_now_ns();
        if (*until_ns == 0) *until_ns = now_ns + LAST_WORDS_NS;
        if (now_ns >= *until_ns) return false;
    }
    post(self, SK_MAIL_URGENT);
    sk_ring_wait_room(&self->up, ROOM_SLICE_NS);
    return true;
}

sk_message *sk__mail_begin(sk__client *self, sk_message_kind kind, size_t payload_size) {
    int64_t     until_ns = 0;
    sk_message *head;
    while (!(head = sk_ring_reserve(&self->up, sizeof *head + payload_size)))
        if (!wait_room(self, &until_ns)) return NULL;
    *head = (sk_message){.magic = SK_MESSAGE_MAGIC, .kind = (uint16_t)kind};
    return head;
}

void sk__mail_send(sk__client *self, size_t payload_size, sk_urgency urgency) {
    sk_ring_commit(&self->up, sizeof(sk_message) + payload_size);
    post(self, urgency);
}

sk_status sk__mail_put(sk__client *self, const sk_message *head, const void *payload, size_t size, sk_urgency urgency,
                       sk_error *reterr) {
    sk_message *message = sk__mail_begin(self, (sk_message_kind)head->kind, size);
    if (!message) return SK_FAIL(reterr, SK_EINTERRUPTED, "the program is ending");
    *message = *head;
    message->magic = SK_MESSAGE_MAGIC;
    if (size) memcpy(message + 1, payload, size);
    sk__mail_send(self, size, urgency);
    return SK_OK;
}

/* Something about a job, without a payload. */
static void tell_of_job(sk__client *self, sk_message_kind kind, uint64_t job) {
    sk_message head = {.kind = (uint16_t)kind, .job = job, .a = kind == SK_MSG_BLOCKED ? self->n_heard : 0};
    sk_error   err = {0};
    if (sk__mail_put(self, &head, NULL, 0, SK_MAIL_URGENT, &err) != SK_OK) sk_log(SK_LOG_WARN, "worker: %s", err.msg);
}

/* ---- receiving ------------------------------------------------------------------------------------------- */
/* Tasks are bounced while a job of this process waits for others: they might wait for ever behind it. */
static void bounce_tasks(sk__client *self) {
    sk__parcels kept = {0};
    sk__parcel *parcel;
    while ((parcel = sk__parcels_pop(&self->jobs))) {
        const sk_message *message = (const void *)parcel->bytes;
        if (message->kind == SK_MSG_RUN) {
            tell_of_job(self, SK_MSG_BOUNCE, message->job);
            sk__mail_give_parcel(self, parcel);
        } else
            sk__parcels_push(&kept, parcel);
    }
    self->jobs = kept;
}

/* True: kept for the loop. */
static bool keep_job(sk__client *self, const sk_message *message, size_t size) {
    if (message->kind == SK_MSG_RUN && self->n_blocked > 0) {
        tell_of_job(self, SK_MSG_BOUNCE, message->job);
        return false;
    }
    sk__parcel *parcel = take_parcel(self, size);
    if (!parcel) { /* a job that is lost would be waited for: let the driver see that it is */
        sk_log(SK_LOG_ERROR, "worker: no memory for a job of %zu bytes", size);
        self->broken = true;
        return false;
    }
    memcpy(parcel->bytes, message, size);
    parcel->size = size;
    sk__parcels_push(&self->jobs, parcel);
    return true;
}

static bool on_message(sk__client *self, const void *bytes, size_t size) {
    const sk_message *message = NULL;
    sk_bytes          payload = {0};
    sk_error          err = {0};
    if (sk_message_parse(bytes, size, SK_TO_WORKER, &message, &payload, &err) != SK_OK) {
        self->n_malformed++;
        sk_log(SK_LOG_WARN, "worker: dropped a message: %s", err.msg);
        return false;
    }
    switch (message->kind) {
    case SK_MSG_VALUE:
        self->n_heard++;
        sk__client_on_value(self, message, payload);
        return false;
    case SK_MSG_ANSWER:
        self->n_heard++;
        sk__client_on_answer(self, message, payload);
        return false;
    default: return keep_job(self, message, size);
    }
}

/* All that has come; for the loop no more than one job, which the others can wait for in the ring. */
typedef enum reading { READ_ALL, READ_ONE_JOB } reading;
static void read_mail(sk__client *self, reading how_much) {
    bool has_read = false;
    while (!self->broken) {
        const void *bytes = NULL;
        size_t      size = 0;
        sk_error    err = {0};
        sk_status   status = sk_ring_peek(&self->down, &bytes, &size, &err);
        if (status == SK_ENOTFOUND) break;
        has_read = true;
        if (status != SK_OK) {
            sk_log(SK_LOG_ERROR, "worker: %s", err.msg);
            self->broken = true;
            break;
        }
        bool is_job = on_message(self, bytes, size);
        sk_ring_pop(&self->down);
        if (is_job && how_much == READ_ONE_JOB) break;
    }
    if (has_read && self->n_followers > 0) pthread_cond_broadcast(&self->changed);
}

/* ---- waiting --------------------------------------------------------------------------------------------- */
/* Look for mail without sleeping, for a moment. */
static bool spin(sk__client *self, int64_t until_ns) {
    if (!self->may_spin) return false;
    if (self->n_spin_skips > 0) {
        self->n_spin_skips--;
        return false;
    }
    int64_t now_ns = sk_clock_now_ns(), end_ns = now_ns + SPIN_NS;
    if (end_ns > until_ns) end_ns = until_ns;
    while (now_ns < end_ns) {
        if (sk_ring_has_mail(&self->down)) return true;
        int64_t before_ns = now_ns;
        sched_yield();
        now_ns = sk_clock_now_ns();
        if (now_ns - before_ns > SPIN_CROWDED_NS) {
            self->n_spin_skips = SPIN_SKIPS;
            break;
        }
    }
    return sk_ring_has_mail(&self->down);
}

void sk__mail_tell(sk__client *self) {
    if (atomic_exchange_explicit(&self->has_told_nobody, false, memory_order_relaxed))
        sk_board_post(self->board, self->line_number, SK_MAIL_URGENT);
}

/* What the driver says without a message. */
typedef struct notice {
    uint32_t n_cancels, stopping;
} notice;
static notice read_notice(const sk__client *self) {
    return (notice){atomic_load_explicit(&self->line->n_cancels, memory_order_acquire),
                    atomic_load_explicit(&self->line->stopping, memory_order_acquire)};
}

/* Is there anything since `seen`? */
static bool has_news(sk__client *self, notice seen) {
    notice now = read_notice(self);
    return sk_ring_has_mail(&self->down) || now.n_cancels != seen.n_cancels || now.stopping != seen.stopping;
}

/* Read the line for everybody: sleep until it has mail, or a notice. Without the lock meanwhile. */
static void lead(sk__client *self, int64_t until_ns, notice seen) {
    self->reading = true;
    pthread_mutex_unlock(&self->lock);
    if (!sk_ring_has_mail(&self->down) && !spin(self, until_ns)) {
        sk__mail_tell(self);
        uint32_t ticket = sk_bell_prepare(&self->line->bell);
        int64_t  left_ns = until_ns - sk_clock_now_ns();
        if (left_ns <= 0 || has_news(self, seen))
            sk_bell_cancel(&self->line->bell);
        else
            sk_bell_wait(&self->line->bell, ticket, left_ns);
    }
    pthread_mutex_lock(&self->lock);
    self->reading = false;
}

/* Sleep until the reader has read something, or has left. */
static void follow(sk__client *self, int64_t until_ns) {
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    sk__mail_tell(self);
    self->n_followers++;
    pthread_cond_timedwait(&self->changed, &self->lock, &until);
    self->n_followers--;
}

void sk__mail_enter_wait(sk__client *self) {
    (void)self;
    sk__work *work = current_work;
    if (work && work->job && work->n_waits++ == 0) work->waits_since_ns = sk_clock_now_ns();
}

void sk__mail_leave_wait(sk__client *self) {
    sk__work *work = current_work;
    if (!work || !work->job || --work->n_waits > 0 || !work->blocked) return;
    work->blocked = false;
    self->n_blocked--;
    tell_of_job(self, SK_MSG_UNBLOCKED, work->job);
}

/* The job of this thread has waited for long: others may have its place. Gives how long to sleep at most. */
static int64_t block_job(sk__client *self, int64_t now_ns) {
    sk__work *work = current_work;
    if (!work || !work->job || (work->blocked && self->n_heard == self->n_heard_told)) return now_ns + SLICE_NS;
    if (now_ns < work->waits_since_ns + BLOCKED_AFTER_NS) return work->waits_since_ns + BLOCKED_AFTER_NS;
    if (!work->blocked) self->n_blocked++;
    work->blocked = true;
    self->n_heard_told = self->n_heard;
    tell_of_job(self, SK_MSG_BLOCKED, work->job);
    bounce_tasks(self);
    return now_ns + SLICE_NS;
}

/* SK_OK: nothing ends the wait. */
static sk_status find_end(sk__client *self, int64_t now_ns, int64_t deadline_ns, sk__patience patience) {
    if (self->broken) return SK_EDEAD;
    if (patience == SK__IMPATIENT) {
        if (current_work && current_work->job && sk__work_is_cancelled(current_work)) return SK_ECANCELED;
        if (is_stopping(self)) return SK_EINTERRUPTED;
    }
    return now_ns >= deadline_ns ? SK_ETIMEOUT : SK_OK;
}

static sk_status wait_until(sk__client *self, bool (*is_done)(sk__client *self, void *arg), void *arg,
                            int64_t deadline_ns, sk__patience patience, reading how_much) {
    sk_status status = SK_OK;
    for (;;) {
        if (!self->reading && !is_done(self, arg)) read_mail(self, how_much);
        if (is_done(self, arg)) break;
        int64_t now_ns = sk_clock_now_ns();
        notice  seen = read_notice(self);
        status = find_end(self, now_ns, deadline_ns, patience);
        if (status != SK_OK) break;
        sk__client_flush(self);
        int64_t until_ns = block_job(self, now_ns);
        if (until_ns > deadline_ns) until_ns = deadline_ns;
        if (self->reading) follow(self, until_ns);
        else lead(self, until_ns, seen);
    }
    /* whoever follows has to read now */
    if (!self->reading && self->n_followers > 0) pthread_cond_broadcast(&self->changed);
    return status;
}

sk_status sk__mail_wait(sk__client *self, bool (*is_done)(sk__client *self, void *arg), void *arg, int64_t deadline_ns,
                        sk__patience patience) {
    if (is_done(self, arg)) return SK_OK;
    sk__mail_enter_wait(self);
    sk_status status = wait_until(self, is_done, arg, deadline_ns, patience, READ_ALL);
    sk__mail_leave_wait(self);
    return status;
}

sk_status sk__mail_fail(sk__client *self, sk_status status, const char *what, sk_error *reterr) {
    (void)self;
    switch (status) {
    case SK_ETIMEOUT: return SK_FAIL(reterr, status, "no %s within the given time", what);
    case SK_ECANCELED: return SK_FAIL(reterr, status, "cancelled while it waited for %s", what);
    case SK_EINTERRUPTED: return SK_FAIL(reterr, status, "the program ended while this waited for %s", what);
    default: return SK_FAIL(reterr, status, "the line to the driver broke while this waited for %s", what);
    }
}

static bool has_job(sk__client *self, void *arg) {
    (void)arg;
    return self->jobs.first != NULL || self->broken;
}

sk__parcel *sk__mail_next_job(sk__client *self) {
    if (!self->jobs.first) {
        sk_status status = wait_until(self, has_job, NULL, INT64_MAX, SK__PATIENT, READ_ONE_JOB);
        if (status != SK_OK) return NULL;
    }
    return self->broken ? NULL : sk__parcels_pop(&self->jobs);
}
