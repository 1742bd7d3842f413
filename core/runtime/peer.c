#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

enum { ARGS_MAX = 12, ARG_SIZE = 96 };

static void write_ref(const sk_block_ref *ref, char *ret_text) {
    snprintf(ret_text, ARG_SIZE, "%d,%d,%" PRIu64 ",%" PRIu64, ref->pid, ref->fd, ref->id, ref->size_bytes);
}

static sk_status spawn(sk__driver *d, sk__peer *self, const char *log_path, sk_error *reterr) {
    char         board_text[ARG_SIZE], store_text[ARG_SIZE], line[16], parent[16];
    sk_block_ref board = sk_block_get_ref(d->board_block), store = sk_store_get_ref(d->store);
    write_ref(&board, board_text);
    write_ref(&store, store_text);
    snprintf(line, sizeof line, "%d", self->line);
    snprintf(parent, sizeof parent, "%d", getpid());
    int    n_plugins = d->params.n_plugins, n = 0;
    char **argv = calloc((size_t)(ARGS_MAX + 2 * n_plugins), sizeof *argv);
    if (!argv) return SK_FAIL(reterr, SK_ENOMEM, "no memory to start a worker");
    const char *fixed[] = {d->params.worker_path,
                           "worker",
                           "--board",
                           board_text,
                           "--store",
                           store_text,
                           "--line",
                           line,
                           "--parent",
                           parent};
    for (int i = 0; i < SK_COUNT(fixed); i++) argv[n++] = (char *)(uintptr_t)fixed[i];
    for (int i = 0; i < n_plugins; i++) {
        argv[n++] = (char *)(uintptr_t) "--plugin";
        argv[n++] = (char *)(uintptr_t)d->params.plugins[i];
    }
    sk_status status = sk_supervisor_spawn(d->supervisor, self->id, d->params.worker_path, argv,
                                           *log_path ? log_path : NULL, &self->pid, reterr);
    free(argv);
    return status;
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
    SK_ASSERT(host == 0);
    SK_TRY(sk__driver_need_pump(d, reterr));
    if (!d->supervisor) SK_TRY(sk_supervisor_create(ring_for_death, d->board, &d->supervisor, reterr));
    int line = find_line(d);
    if (line < 0)
        return SK_FAIL(reterr, SK_ELIMIT, "a runtime has at most %d worker processes at a time", SK_BOARD_LINES);
    sk__peer *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a worker");
    if (d->generations[line] > 0) sk_board_clear_line(d->board, line);
    self->d = d;
    self->line = line;
    self->generation = ++d->generations[line];
    self->id = (uint64_t)self->generation << 32 | (uint32_t)line;
    self->actor = actor;
    self->idle_ns = sk_clock_now_ns();
    if (actor) snprintf(self->name, sizeof self->name, "%s", actor->name);
    else snprintf(self->name, sizeof self->name, "worker-%d", line);
    sk_ring_writer_init(&self->down, &d->board->lines[line].down);
    sk_ring_reader_init(&self->up, &d->board->lines[line].up);
    char log_path[sizeof d->board->workers[0].log_path];
    name_log(d, self, log_path, sizeof log_path);
    d->peers[line] = self; /* its death may be told at once */
    sk_status status = spawn(d, self, log_path, reterr);
    if (status != SK_OK) {
        d->peers[line] = NULL;
        free(self);
        return status;
    }
    if (line >= d->n_lines) d->n_lines = line + 1;
    d->n_peers++;
    if (!actor) link_task_peer(d, self);
    memcpy(d->board->workers[line].log_path, log_path, sizeof log_path);
    d->board->workers[line].started_ns = self->idle_ns;
    sk__watch_peer(d, self, SK_WORKER_STARTING);
    *ret_peer = self;
    return SK_OK;
}

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
    sk_supervisor_signal(d->supervisor, self->id, SIGKILL);
}

/* ---- sending --------------------------------------------------------------------------------------------- */
void sk__peer_ring(sk__peer *self) { sk_bell_ring(&self->d->board->lines[self->line].bell); }

static void publish(sk__peer *self, size_t size) {
    sk_ring_commit(&self->down, size);
    sk__peer_ring(self);
}

static bool post(sk__peer *self, const sk_message *head, const void *payload, size_t size) {
    uint8_t *at = sk_ring_reserve(&self->down, sizeof *head + size);
    if (!at) return false;
    memcpy(at, head, sizeof *head);
    ((sk_message *)(void *)at)->magic = SK_MESSAGE_MAGIC;
    if (size) memcpy(at + sizeof *head, payload, size);
    publish(self, sizeof *head + size);
    return true;
}

static bool post_letters(sk__peer *self) {
    while (self->letters) {
        sk__letter *letter = self->letters;
        void       *at = sk_ring_reserve(&self->down, letter->size);
        if (!at) return false;
        memcpy(at, letter->bytes, letter->size);
        publish(self, letter->size);
        self->letters = letter->next;
        free(letter);
        if (!self->letters) {
            self->letters_last = NULL;
            self->d->n_with_letters--;
        }
    }
    return true;
}

void sk__peers_send_letters(sk__driver *d) {
    for (int i = 0; d->n_with_letters > 0 && i < d->n_lines; i++)
        if (d->peers[i] && d->peers[i]->letters) (void)post_letters(d->peers[i]);
}

void sk__peer_send(sk__peer *self, const sk_message *head, const void *payload, size_t size) {
    SK_ASSERT(sizeof *head + size <= SK_RING_MESSAGE_MAX);
    if (post_letters(self) && post(self, head, payload, size)) return;
    sk__letter *letter = malloc(sizeof *letter + sizeof *head + size);
    if (!letter) { /* the worker would wait for it for ever */
        sk__peer_kill(self->d, self, "was killed: no memory for a message to it");
        return;
    }
    letter->next = NULL;
    letter->size = sizeof *head + size;
    memcpy(letter->bytes, head, sizeof *head);
    ((sk_message *)(void *)letter->bytes)->magic = SK_MESSAGE_MAGIC;
    if (size) memcpy(letter->bytes + sizeof *head, payload, size);
    if (!self->letters) self->d->n_with_letters++;
    *(self->letters_last ? &self->letters_last->next : &self->letters) = letter;
    self->letters_last = letter;
}

void sk__peer_send_value(sk__driver *d, sk__hold *hold) {
    sk__object *object = hold->object;
    sk_error    err = {0};
    sk_message  m = {.kind = SK_MSG_VALUE, .subject = object->id};
    if (object->state == SK__READY && sk__object_load(d, object, &err) != SK_OK) {
        hold->wants_value = false;
        m.status = err.status;
        sk__peer_send(hold->peer, &m, err.msg, strlen(err.msg));
        return;
    }
    if (object->state == SK__PENDING || object->state == SK__FILLING) return; /* it is made again */
    hold->wants_value = false;
    if (object->state == SK__FAILED) {
        const char *text = sk__failure_text(object->failure);
        m.status = object->failure->status;
        sk__peer_send(hold->peer, &m, text, strlen(text));
        return;
    }
    _Alignas(16) uint8_t record[sizeof(sk_packed) + SK_INLINE_MAX];
    uint8_t             *end;
    if (object->place == SK__IN_STORE) {
        if (!hold->pins) sk__object_pin(d, object);
        hold->pins = true;
        end = sk_packed_put_extent(record, object->at.extent);
    } else {
        sk_bytes bytes = sk__object_bytes(d, object);
        end = sk_packed_put_value(record, bytes.data, bytes.size);
    }
    sk__peer_send(hold->peer, &m, record, (size_t)(end - record));
}

/* ---- sending jobs ---------------------------------------------------------------------------------------- */
/* Arguments as they travel: references become values or places in the store. */
static size_t resolved_size(sk__driver *d, const sk__job *job) {
    if (!job->has_refs) return job->packed_size;
    sk_bytes  rest = {job->packed, job->packed_size};
    sk_record record;
    size_t    size = 0;
    while (rest.size && sk_packed_next(&rest, &record, NULL) == SK_OK) {
        sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        if (!object) size += sk_packed_value_size(record.value.size);
        else size += object->place == SK__IN_STORE ? SK_PACKED_EXTENT_SIZE : sk_packed_value_size(object->size);
    }
    return size;
}

static uint8_t *write_resolved(sk__driver *d, const sk__job *job, uint8_t *at) {
    if (!job->has_refs) {
        if (job->packed_size) memcpy(at, job->packed, job->packed_size);
        return at + job->packed_size;
    }
    sk_bytes  rest = {job->packed, job->packed_size};
    sk_record record;
    while (rest.size && sk_packed_next(&rest, &record, NULL) == SK_OK) {
        sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        if (object && object->place == SK__IN_STORE) {
            at = sk_packed_put_extent(at, object->at.extent);
        } else {
            sk_bytes bytes = object ? sk__object_bytes(d, object) : record.value;
            at = sk_packed_put_value(at, bytes.data, bytes.size);
        }
    }
    return at;
}

static bool restores(const sk__job *job) { return job->kind == SK__CREATE && job->actor->has_saved; }

static size_t payload_size(sk__driver *d, const sk__job *job) {
    size_t size = resolved_size(d, job);
    if (job->kind == SK__CREATE) size += sk_packed_value_size(strlen(job->actor->name) + 1);
    if (restores(job)) size += sk_packed_value_size(job->actor->saved.size);
    return size;
}

static void write_payload(sk__driver *d, const sk__job *job, uint8_t *at) {
    if (job->kind == SK__CREATE) at = sk_packed_put_value(at, job->actor->name, strlen(job->actor->name) + 1);
    at = write_resolved(d, job, at);
    if (restores(job)) sk_packed_put_value(at, job->actor->saved.data, job->actor->saved.size);
}

/* What is too large for a message travels in the store. */
static sk_status make_blob(sk__driver *d, sk__job *job, size_t size, sk_error *reterr) {
    SK_TRY(sk__objects_alloc(d, size, &job->blob, reterr));
    write_payload(d, job, (uint8_t *)sk_store_data(d->store) + job->blob.offset);
    return SK_OK;
}

bool sk__peer_has_room(sk__peer *self, const sk__job *job) {
    if (self->letters && !post_letters(self)) return false;
    size_t size = sizeof(sk_message) + job->packed_size; /* what is larger travels as a blob */
    bool   any_size = job->has_refs || job->kind == SK__CREATE || size > SK_RING_MESSAGE_MAX;
    return sk_ring_has_room(&self->down, any_size ? SK_RING_MESSAGE_MAX : size);
}

bool sk__peer_send_job(sk__driver *d, sk__peer *self, sk__job *job) {
    size_t   size = payload_size(d, job);
    bool     in_blob = sizeof(sk_message) + size > SK_RING_MESSAGE_MAX;
    sk_error err = {0};
    if (in_blob && make_blob(d, job, size, &err) != SK_OK) {
        if (sk__driver_may_make_room(d)) return false;
        sk__job_fail(d, job, sk__failure_create(err.status, "%s: its arguments: %s", sk__job_name(job), err.msg));
        return true;
    }
    if (in_blob) size = SK_PACKED_EXTENT_SIZE;
    uint8_t *at = sk_ring_reserve(&self->down, sizeof(sk_message) + size);
    if (!at) return false;
    static const uint16_t kinds[] = {
        [SK__TASK] = SK_MSG_RUN, [SK__CREATE] = SK_MSG_CREATE, [SK__METHOD] = SK_MSG_CALL};
    sk_message *head = (sk_message *)(void *)at;
    *head = (sk_message){.magic = SK_MESSAGE_MAGIC,
                         .kind = kinds[job->kind],
                         .job = job->id,
                         .subject = job->actor ? job->actor->id : 0,
                         .function = job->function->hash,
                         .method = job->method,
                         .n_args = job->n_args,
                         .n_returns = job->n_returns};
    if (job->kind == SK__CREATE) {
        head->a = job->actor->max_concurrency;
        head->b = restores(job);
    }
    if (in_blob) sk_packed_put_blob(at + sizeof *head, job->blob);
    else write_payload(d, job, at + sizeof *head);
    sk_ring_commit(&self->down, sizeof *head + size);

    job->peer = self;
    job->state = SK__SENT;
    if (job->timeout_ms > 0) job->sent_ns = sk_clock_now_ns();
    job->sent_index = ++self->n_sent;
    self->load_ns += job->expected_ns;
    sk__list_push(&self->sent, job);
    d->n.n_running++;
    sk__job_set_deadline(d, job);
    return true;
}

/* It is no longer among those sent; whoever calls decides what becomes of it. */
static void take_back(sk__peer *self, sk__job *job) {
    sk__list_remove(job);
    self->load_ns -= job->expected_ns;
}

void sk__peer_forget_job(sk__driver *d, sk__job *job) {
    (void)d;
    if (job->state != SK__SENT) return;
    take_back(job->peer, job);
    job->peer->n_forgiven++;
}

void sk__peer_cancel_job(sk__driver *d, sk__job *job) {
    sk_line *line = &d->board->lines[job->peer->line];
    line->cancels[line->n_cancels % SK_COUNT(line->cancels)] = job->id;
    line->n_cancels++;
    sk_bell_ring(&line->bell);
}

bool sk__peer_has_begun(const sk__driver *d, const sk__job *job) {
    return job->sent_index <= d->board->lines[job->peer->line].n_started;
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
    sk__watch_ended(d, job, (sk_status)m->status, m->a, m->b, self->pid, self->line);
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

static void on_blocked(sk__driver *d, sk__peer *self, bool blocked) {
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

static void on_message(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload) {
    switch ((sk_message_kind)m->kind) {
    case SK_MSG_REPLY: on_reply(d, self, m, payload); break;
    case SK_MSG_BOUNCE: on_bounce(d, self, m); break;
    case SK_MSG_BLOCKED: on_blocked(d, self, true); break;
    case SK_MSG_UNBLOCKED: on_blocked(d, self, false); break;
    case SK_MSG_HELLO:
        self->hello = true;
        d->n_bad_starts = 0;
        sk__watch_peer(d, self, SK_WORKER_IDLE);
        break;
    case SK_MSG_BYE: self->said_bye = true; break;
    default:
        if (!sk__peer_on_request(d, self, m, payload)) sk__peer_malformed(d, self, "it is not for the driver");
    }
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
        const sk_message *m;
        sk_bytes          payload;
        if (sk_message_parse(bytes, size, SK_TO_DRIVER, &m, &payload, &err) == SK_OK) on_message(d, self, m, payload);
        else sk__peer_malformed(d, self, err.msg);
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
        bool begun = sk__peer_has_begun(d, job);
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
    if (!self->actor) unlink_task_peer(d, self);
    sk__watch_peer(d, self, SK_WORKER_NONE);
}

static void on_death(sk__driver *d, const sk_death *death) {
    uint32_t  line = (uint32_t)death->worker_id;
    sk__peer *self = line < SK_BOARD_LINES ? d->peers[line] : NULL;
    if (!self || self->id != death->worker_id) return;
    sk__peer_on_mail(d, self); /* what it said last counts first */
    char how[sizeof(((sk__actor *)0)->end)];
    snprintf(how, sizeof how, "%s (process %d) %s", self->name, self->pid,
             self->killed_by_us ? self->kill_reason : death->how);
    bool asked = self->asked_to_stop && (self->said_bye || self->killed_by_us);
    if (!asked) d->n.n_worker_deaths++;
    if (!asked && !self->killed_by_us && !d->destroying) sk_log(SK_LOG_WARN, "%s", how);
    d->n_bad_starts = self->hello ? 0 : d->n_bad_starts + 1;
    sk__actor *actor = self->actor;
    return_jobs(d, self, how);
    clean_up(d, self);
    if (actor && actor->peer == self) {
        actor->peer = NULL;
        sk__actor_on_peer_death(d, actor, how, !self->killed_by_us || self->may_restart);
    }
    if (!actor && d->n_bad_starts >= BAD_STARTS_MAX) {
        char text[sizeof how + 64];
        snprintf(text, sizeof text, "worker processes cannot start: %s before it was ready", how);
        sk__schedule_fail_starts(d, SK_EDEAD, text);
        d->n_bad_starts = 0;
    }
    free(self);
    d->has_mail_work = true;
    sk__driver_notify(d);
}

void sk__peers_on_deaths(sk__driver *d) {
    sk_death death;
    while (d->supervisor && sk_supervisor_has_death(d->supervisor) && sk_supervisor_pop_death(d->supervisor, &death))
        on_death(d, &death);
}
