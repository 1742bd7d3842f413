/* What goes to a worker process: messages, values of objects, jobs. On this host through its ring, or as letters that
 * wait for room in it; on another through that host's queue. */
#include "core/base/clock.h"
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include <stdlib.h>
#include <string.h>

/* ---- sending --------------------------------------------------------------------------------------------- */
void sk__peer_ring(sk__peer *self) {
    if (!self->host) sk_bell_ring(&self->d->board->lines[self->line].bell);
}

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
    for (int i = 0; (d->n_with_letters > 0 || d->n_want_room > 0) && i < d->n_lines; i++) {
        sk__peer *peer = d->peers[i];
        if (!peer || peer->host) continue;
        if (peer->letters && !post_letters(peer)) continue;
        if (!peer->wants_room || !sk_ring_has_room(&peer->down, SK_RING_MESSAGE_MAX)) continue;
        peer->wants_room = false; /* its worker has read on, and may have nothing to say about it */
        d->n_want_room--;
        d->has_mail_work = true;
        if (peer->actor) sk__actor_dispatch(d, peer->actor);
    }
}

void sk__peer_send(sk__peer *self, const sk_message *head, const void *payload, size_t size) {
    SK_ASSERT(sizeof *head + size <= SK_RING_MESSAGE_MAX);
    if (head->kind == SK_MSG_VALUE || head->kind == SK_MSG_ANSWER) self->n_told++;
    if (self->host) {
        sk__host_post(self, head, payload, size);
        return;
    }
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
        if (hold->peer->host &&
            sk__host_need_copy(hold->peer->host, object->at.extent, object->id, &err) != SK_OK) {
            m.status = err.status;
            sk__peer_send(hold->peer, &m, err.msg, strlen(err.msg));
            return;
        }
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
    if (self->host) return sk__host_has_room(self);
    size_t size = sizeof(sk_message) + job->packed_size; /* what is larger travels as a blob */
    bool   any_size = job->has_refs || job->kind == SK__CREATE || size > SK_RING_MESSAGE_MAX;
    if ((!self->letters || post_letters(self)) &&
        sk_ring_has_room(&self->down, any_size ? SK_RING_MESSAGE_MAX : size))
        return true;
    if (!self->wants_room) self->d->n_want_room++;
    self->wants_room = true;
    return false;
}

static void write_message(sk__driver *d, const sk__job *job, bool in_blob, uint8_t *at) {
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
}

/* All its arguments that lie in the store are to lie on the host too. */
static sk_status copy_arguments(sk__driver *d, sk__host *host, const sk__job *job, sk_error *reterr) {
    sk_bytes  rest = {job->packed, job->has_refs ? job->packed_size : 0};
    sk_record record;
    while (rest.size && sk_packed_next(&rest, &record, NULL) == SK_OK) {
        const sk__object *object = record.kind == SK_PACKED_REF ? sk__object_find(d, record.ref.id) : NULL;
        if (object && object->place == SK__IN_STORE)
            SK_TRY(sk__host_need_copy(host, object->at.extent, object->id, reterr));
    }
    if (job->blob.size) SK_TRY(sk__host_need_copy(host, job->blob, 0, reterr));
    return SK_OK;
}

/* NOT_NOW: no room, nothing happened. FAILED: the job has. */
typedef enum sent { SENT, NOT_NOW, FAILED } sent;

static sent send_to_host(sk__driver *d, sk__peer *self, sk__job *job, size_t size) {
    sk_error  err = {0};
    sk_status status = copy_arguments(d, self->host, job, &err);
    if (status == SK_ELIMIT && job->kind != SK__CREATE && self->host->n_sent > 0) {
        d->starved_actors = true; /* what runs there ends, and then what it used may leave */
        return NOT_NOW;
    }
    sk__parcel_out *parcel = status == SK_OK ? sk__host_parcel(self, SK_WIRE_MAIL, size, &err) : NULL;
    if (!parcel) {
        sk__job_fail(d, job, sk__failure_create(err.status, "%s: its arguments: %s", sk__job_name(job), err.msg));
        return FAILED;
    }
    write_message(d, job, job->blob.size > 0, parcel->bytes);
    sk__host_push(self->host, parcel);
    job->sent_size = (uint32_t)size;
    self->sent_bytes += size;
    self->host->n_sent++;
    return SENT;
}

static sent send_here(sk__driver *d, sk__peer *self, sk__job *job, size_t size) {
    uint8_t *at = sk_ring_reserve(&self->down, size);
    if (!at) return NOT_NOW;
    write_message(d, job, job->blob.size > 0, at);
    sk_ring_commit(&self->down, size);
    return SENT;
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
    size = sizeof(sk_message) + (in_blob ? SK_PACKED_EXTENT_SIZE : size);
    sent how = self->host ? send_to_host(d, self, job, size) : send_here(d, self, job, size);
    if (how != SENT) return how == FAILED;

    job->peer = self;
    job->state = SK__SENT;
    if (job->timeout_ms > 0) job->sent_ns = sk_clock_now_ns();
    job->sent_index = ++self->n_sent;
    self->load_ns += job->expected_ns;
    sk__list_push(&self->sent, job);
    d->n.n_running++;
    sk__job_set_deadline(d, job);
    if (self->host && self->sent.n == 1) sk__host_show_run(self);
    return true;
}
