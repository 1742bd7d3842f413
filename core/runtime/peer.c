#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include "core/runtime/spawn.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BAD_STARTS_MAX 3 /* processes in a row that end before they say hello */

/* ---- life ------------------------------------------------------------------------------------------------ */
/* Called by the supervisor's thread; without the lock. */
static void ring_for_death(void *arg) {
    sk_board *board = arg;
    sk_bell_ring_again(&board->leader); /* it may have died while it rang */
    sk_bell_ring_again(&board->pump);
}

static int find_line(sk__driver *d) {
    for (int i = 0; i < SK_BOARD_LINES; i++)
        if (!d->peers[i]) return i;
    return -1;
}

/* The file of its output, or "" for the driver's standard error. */
static void name_log(const sk__driver *d, const sk__peer *self, char *ret_path, size_t size) {
    *ret_path = 0;
    if (!d->params.log_dir) return;
    snprintf(ret_path, size, "%s/%s-%" PRIu32 ".log", d->params.log_dir, self->name, self->generation);
}

static sk_status spawn(sk__driver *d, sk__peer *self, const char *log_path, sk_error *reterr) {
    if (self->host) return sk__host_spawn(self, reterr);
    if (!d->supervisor) SK_TRY(sk_supervisor_create(ring_for_death, d->board, &d->supervisor, reterr));
    sk_spawn params = {.id = self->id,
                       .worker_path = d->params.worker_path,
                       .board = d->board_block,
                       .store = d->store,
                       .line = self->line,
                       .plugins = d->params.plugins,
                       .n_plugins = d->params.n_plugins,
                       .log_path = log_path};
    return sk_spawn_worker(d->supervisor, &params, &self->pid, reterr);
}

static void link_task_peer(sk__driver *d, sk__peer *self) {
    self->task_next = d->task_peers;
    if (d->task_peers) d->task_peers->task_prev = self;
    d->task_peers = self;
    d->n_task_peers++;
}

static void unlink_task_peer(sk__driver *d, sk__peer *self) {
    *(self->task_prev ? &self->task_prev->task_next : &d->task_peers) = self->task_next;
    if (self->task_next) self->task_next->task_prev = self->task_prev;
    d->n_task_peers--;
}

sk_status sk__peer_create(sk__driver *d, sk__actor *actor, int host, sk__peer **ret_peer, sk_error *reterr) {
    sk__host *at = host > 0 ? sk__host_at(d, host) : NULL;
    if (host > 0 && !at) return SK_FAIL(reterr, SK_EDEAD, "host %d is gone", host);
    SK_TRY(sk__driver_need_pump(d, reterr));
    int line = find_line(d);
    if (line < 0)
        return SK_FAIL(reterr, SK_ELIMIT, "a runtime has at most %d worker processes at a time", SK_BOARD_LINES);
    sk__peer *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a worker");
    if (d->generations[line] > 0) sk_board_clear_line(d->board, line);
    self->d = d;
    self->host = at;
    self->line = line;
    self->generation = ++d->generations[line];
    self->id = (uint64_t)self->generation << 32 | (uint32_t)line;
    self->actor = actor;
    self->idle_ns = sk_clock_now_ns();
    if (actor) snprintf(self->name, sizeof self->name, "%s", actor->name);
    else snprintf(self->name, sizeof self->name, "worker-%d", line);
    char log_path[sizeof d->board->workers[0].log_path] = "";
    if (!at) { /* of a line whose worker is elsewhere no ring is touched: it takes no memory */
        sk_ring_writer_init(&self->down, &d->board->lines[line].down);
        sk_ring_reader_init(&self->up, &d->board->lines[line].up);
        name_log(d, self, log_path, sizeof log_path);
    }
    d->peers[line] = self; /* its death may be told at once */
    sk_status status = spawn(d, self, log_path, reterr);
    if (status != SK_OK) {
        d->peers[line] = NULL;
        free(self);
        return status;
    }
    if (line >= d->n_lines) d->n_lines = line + 1;
    d->n_peers++;
    if (at) at->n_peers++;
    if (!actor) link_task_peer(d, self);
    memcpy(d->board->workers[line].log_path, log_path, sizeof log_path);
    d->board->workers[line].started_ns = self->idle_ns;
    sk__watch_peer(d, self, SK_WORKER_STARTING);
    *ret_peer = self;
    return SK_OK;
}

int sk__peer_host(const sk__peer *self) { return self->host ? self->host->number : 0; }

void sk__peer_give_back(sk__driver *d, sk__peer *self) {
    if (self->has_lease) {
        sk_resources_give_back(d->resources, &self->lease);
        self->has_lease = false;
        d->resources_changed = d->has_mail_work = true;
    }
    if (!self->blocked) self->cls = NULL;
}

void sk__peer_stop(sk__driver *d, sk__peer *self) {
    if (self->asked_to_stop) return;
    self->asked_to_stop = true;
    sk_message stop = {.kind = SK_MSG_STOP};
    sk__peer_send(self, &stop, NULL, 0);
    sk__watch_peer(d, self, SK_WORKER_STOPPING);
}

void sk__peer_kill(sk__driver *d, sk__peer *self, const char *why) {
    if (self->killed_by_us) return;
    self->killed_by_us = true;
    snprintf(self->kill_reason, sizeof self->kill_reason, "%s", why);
    if (self->host) sk__host_signal(self, SIGKILL);
    else sk_supervisor_signal(d->supervisor, self->id, SIGKILL);
}

/* ---- what it was sent -------------------------------------------------------------------------------------- */
/* It is no longer among those sent; whoever calls decides what becomes of it. */
static void take_back(sk__peer *self, sk__job *job) {
    sk__list_remove(job);
    self->load_ns -= job->expected_ns;
    if (!self->host) return;
    self->sent_bytes -= job->sent_size;
    self->host->n_sent--;
    sk__host_show_run(self);
}

void sk__peer_forget_job(sk__driver *d, sk__job *job) {
    (void)d;
    if (job->state != SK__SENT) return;
    take_back(job->peer, job);
    job->peer->n_forgiven++;
}

void sk__peer_cancel_job(sk__driver *d, sk__job *job) {
    if (job->peer->host) {
        sk__host_cancel(job->peer, job->id);
        return;
    }
    sk_line *line = &d->board->lines[job->peer->line];
    line->cancels[line->n_cancels % SK_COUNT(line->cancels)] = job->id;
    line->n_cancels++;
    sk_bell_ring(&line->bell);
}

static bool is_known_to_have_begun(const sk__driver *d, const sk__job *job) {
    return job->sent_index <= d->board->lines[job->peer->line].n_started;
}

/* A worker on another host tells with its next message only; it runs the oldest that it was sent. */
bool sk__peer_has_begun(const sk__driver *d, const sk__job *job) {
    const sk__peer *peer = job->peer;
    return is_known_to_have_begun(d, job) || (peer->host && peer->hello && peer->sent.first == job);
}

/* ---- messages -------------------------------------------------------------------------------------------- */
void sk__peer_malformed(sk__driver *d, sk__peer *self, const char *why) {
    uint64_t n = ++d->n.n_malformed;
    if ((n & (n - 1)) == 0) /* 1st, 2nd, 4th, 8th, ...: no flood of lines */
        sk_log(SK_LOG_WARN, "runtime: dropped a message of %s (process %d): %s (%" PRIu64 " dropped so far)",
               self->name, self->pid, why, n);
}

bool sk__peer_claim(sk__peer *self, sk_extent extent) {
    for (int i = 0; i < self->n_extents; i++) {
        if (self->extents[i].offset != extent.offset || self->extents[i].size != extent.size) continue;
        self->extents[i] = self->extents[--self->n_extents];
        return true;
    }
    return false;
}

/* A state for the actor's next start comes behind the answers. False: damaged. */
static bool keep_state(sk__driver *d, sk__peer *self, sk__actor *actor, uint32_t n_returns, sk_bytes packed) {
    sk_record record;
    for (uint32_t i = 0; i <= n_returns; i++)
        if (sk_packed_next(&packed, &record, NULL) != SK_OK) return false;
    if (record.kind == SK_PACKED_VALUE) {
        sk__actor_keep(d, actor, record.value.data, record.value.size);
        return true;
    }
    if (record.kind != SK_PACKED_EXTENT || !sk__peer_claim(self, record.extent)) return false;
    sk__actor_keep(d, actor, (uint8_t *)sk_store_data(d->store) + record.extent.offset, record.extent.size);
    sk_store_free(d->store, record.extent);
    return true;
}

static void on_success(sk__driver *d, sk__peer *self, sk__job *job, const sk_message *m, sk_bytes packed) {
    sk_record first;
    sk_bytes  rest = packed;
    sk_extent blob = {0};
    if (packed.size && sk_packed_next(&rest, &first, NULL) == SK_OK && first.kind == SK_PACKED_BLOB) {
        if (sk__peer_claim(self, first.extent)) blob = first.extent;
        packed = (sk_bytes){blob.size ? (uint8_t *)sk_store_data(d->store) + blob.offset : NULL, blob.size};
    }
    sk__actor *actor = job->actor;
    if (m->method == 1 && actor && !job->canceled && !keep_state(d, self, actor, job->n_returns, packed))
        sk__peer_malformed(d, self, "an actor's state is damaged");
    if (job->kind == SK__CREATE) sk__actor_on_created(d, actor, job, NULL);
    sk__job_succeed(d, job, packed);
    if (blob.size) sk_store_free(d->store, blob);
}

static void on_reply(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload) {
    sk__job *job = sk__slab_find(&d->jobs, m->job);
    if (!job || job->peer != self || job->state != SK__SENT) {
        if (self->n_forgiven > 0) self->n_forgiven--;
        else sk__peer_malformed(d, self, "an answer that nobody waits for");
        return;
    }
    take_back(self, job);
    self->n_done++;
    int64_t start_ns = self->host ? sk__host_to_our_clock(self->host, m->a, m->b) : m->a;
    sk__watch_ended(d, job, (sk_status)m->status, start_ns, m->b, self->pid, self->line);
    if (m->status == SK_OK) on_success(d, self, job, m, payload);
    else sk__job_error(d, job, (sk_status)m->status, payload.data, payload.size);
    if (self->sent.n > 0) return;
    self->idle_ns = d->progress_ns;
    sk__peer_give_back(d, self);
}

static void on_bounce(sk__driver *d, sk__peer *self, const sk_message *m) {
    sk__job *job = sk__slab_find(&d->jobs, m->job);
    if (!job || job->peer != self || job->state != SK__SENT || job->kind != SK__TASK) {
        sk__peer_malformed(d, self, "a task given back that it has not");
        return;
    }
    self->n_sent--; /* it did not begin: those sent later move up */
    for (sk__job *later = job->next; later; later = later->next) later->sent_index--;
    take_back(self, job);
    sk__job_unpin(d, job);
    d->n.n_running--;
    job->peer = NULL;
    sk__class_push(d, job, true);
}

static void on_blocked(sk__driver *d, sk__peer *self, bool blocked, int64_t n_heard) {
    if (blocked) self->n_heard = n_heard;
    if (self->blocked == blocked) return;
    self->blocked = blocked;
    d->n_blocked_peers += blocked ? 1 : -1;
    sk__watch_peer(d, self, blocked ? SK_WORKER_BLOCKED : SK_WORKER_BUSY);
    if (self->actor) return; /* an actor's share is its own */
    d->has_mail_work = true;
    if (blocked && self->has_lease) {
        sk_resources_give_back(d->resources, &self->lease);
        self->has_lease = false;
        d->resources_changed = true;
    } else if (!blocked && self->cls && self->sent.n > 0) {
        self->has_lease = sk_resources_retake(d->resources, &self->lease);
    }
}

static int *bad_starts(sk__driver *d, sk__peer *self) {
    return self->host ? &self->host->n_bad_starts : &d->n_bad_starts;
}

static void on_message(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload) {
    switch ((sk_message_kind)m->kind) {
    case SK_MSG_REPLY: on_reply(d, self, m, payload); break;
    case SK_MSG_BOUNCE: on_bounce(d, self, m); break;
    case SK_MSG_BLOCKED: on_blocked(d, self, true, m->a); break;
    case SK_MSG_UNBLOCKED: on_blocked(d, self, false, 0); break;
    case SK_MSG_HELLO:
        self->hello = true;
        if (self->host) self->pid = (int)m->a;
        *bad_starts(d, self) = 0;
        sk__watch_peer(d, self, SK_WORKER_IDLE);
        break;
    case SK_MSG_BYE: self->said_bye = true; break;
    default:
        if (!sk__peer_on_request(d, self, m, payload)) sk__peer_malformed(d, self, "it is not for the driver");
    }
}

void sk__peer_on_message(sk__driver *d, sk__peer *self, const void *bytes, size_t size) {
    const sk_message *m;
    sk_bytes          payload;
    sk_error          err = {0};
    if (sk_message_parse(bytes, size, SK_TO_DRIVER, &m, &payload, &err) == SK_OK) on_message(d, self, m, payload);
    else sk__peer_malformed(d, self, err.msg);
}

void sk__peer_on_mail(sk__driver *d, sk__peer *self) {
    for (;;) {
        const void *bytes = NULL;
        size_t      size = 0;
        sk_error    err = {0};
        sk_status   status = sk_ring_peek(&self->up, &bytes, &size, &err);
        if (status == SK_ENOTFOUND) break;
        if (status != SK_OK) { /* nothing it says can be understood any more */
            sk__peer_malformed(d, self, err.msg);
            sk__peer_kill(d, self, "was killed: its messages are damaged");
            break;
        }
        sk__peer_on_message(d, self, bytes, size);
        sk_ring_pop(&self->up);
    }
    if (self->actor) sk__actor_dispatch(d, self->actor);
    d->has_mail_work = true;
}

/* ---- death ----------------------------------------------------------------------------------------------- */
/* What it was sent: begun or not. Backwards, since all go to the front of their queues. */
static void return_jobs(sk__driver *d, sk__peer *self, const char *how) {
    for (sk__job *job; (job = self->sent.last);) {
        take_back(self, job);
        if (job->kind == SK__CREATE) continue; /* its actor sees to it */
        bool begun = is_known_to_have_begun(d, job);
        if (begun || job->canceled) {
            sk__job_died(d, job, how);
            continue;
        }
        sk__job_unpin(d, job);
        d->n.n_running--;
        job->peer = NULL;
        job->state = SK__QUEUED;
        if (job->kind == SK__METHOD) sk__actor_push(d, job, true);
        else sk__class_push(d, job, true);
    }
}

static void clean_up(sk__driver *d, sk__peer *self) {
    while (self->holds) sk__hold_remove(d, self->holds);
    for (int i = 0; i < self->n_extents; i++) sk_store_free(d->store, self->extents[i]);
    free(self->extents);
    if (self->letters) d->n_with_letters--;
    if (self->wants_room) d->n_want_room--;
    for (sk__letter *letter = self->letters, *next; letter; letter = next) {
        next = letter->next;
        free(letter);
    }
    self->letters = self->letters_last = NULL;
    sk__requests_forget(d, self);
    if (self->blocked) d->n_blocked_peers--;
    self->blocked = false;
    sk__peer_give_back(d, self);
    d->peers[self->line] = NULL;
    d->n_peers--;
    if (self->host) self->host->n_peers--;
    if (!self->actor) unlink_task_peer(d, self);
    sk__watch_peer(d, self, SK_WORKER_NONE);
}

/* "n2-worker (process 4711 on n2) was killed by signal 9 (SIGKILL)" */
static void tell_how(const sk__peer *self, const char *how, char *ret_text, size_t size) {
    char where[SK_HOST_NAME + 8] = "";
    if (self->host) snprintf(where, sizeof where, " on %s", self->host->name);
    snprintf(ret_text, size, "%s (process %d%s) %s", self->name, self->pid, where,
             self->killed_by_us ? self->kill_reason : how);
}

/* Its kind cannot even start: nobody is to wait for it. Those of other hosts cost their host. */
static void check_starts(sk__driver *d, const sk__peer *self, const char *how) {
    if (self->actor || self->host || d->n_bad_starts < BAD_STARTS_MAX) return;
    char text[sizeof(((sk__actor *)0)->end) + 64];
    snprintf(text, sizeof text, "worker processes cannot start: %s before it was ready", how);
    sk__schedule_fail_starts(d, SK_EDEAD, text);
    d->n_bad_starts = 0;
}

void sk__peer_on_end(sk__driver *d, sk__peer *self, const char *how_text) {
    if (!self->host) sk__peer_on_mail(d, self); /* what it said last counts first */
    char how[sizeof(((sk__actor *)0)->end)];
    tell_how(self, how_text, how, sizeof how);
    bool asked = self->asked_to_stop && (self->said_bye || self->killed_by_us);
    bool with_host = self->host && self->host->state == SK__HOST_GONE; /* told once, for all of them */
    if (!asked) d->n.n_worker_deaths++;
    if (!asked && !self->killed_by_us && !d->destroying && !with_host) sk_log(SK_LOG_WARN, "%s", how);
    *bad_starts(d, self) = self->hello ? 0 : *bad_starts(d, self) + 1;
    sk__actor *actor = self->actor;
    return_jobs(d, self, how);
    clean_up(d, self);
    if (actor && actor->peer == self) {
        actor->peer = NULL;
        sk__actor_on_peer_death(d, actor, how, !self->killed_by_us || self->may_restart);
    }
    check_starts(d, self, how);
    free(self);
    d->has_mail_work = true;
    sk__driver_notify(d);
}

void sk__peers_on_deaths(sk__driver *d) {
    sk_death death;
    while (d->supervisor && sk_supervisor_has_death(d->supervisor) && sk_supervisor_pop_death(d->supervisor, &death)) {
        uint32_t  line = (uint32_t)death.worker_id;
        sk__peer *self = line < SK_BOARD_LINES ? d->peers[line] : NULL;
        if (self && !self->host && self->id == death.worker_id) sk__peer_on_end(d, self, death.how);
    }
}
