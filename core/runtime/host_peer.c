#include "core/base/clock.h"
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What one worker may have before it; as much as the ring of one here. */
#define ROOM_BYTES ((size_t)1 << 20)
#define ROOM_JOBS  1024
#define BAD_STARTS_MAX 3 /* workers in a row that end before they say hello: the host is of no use */

/* ---- down ------------------------------------------------------------------------------------------------ */
static void send(sk__peer *self, sk_wire_kind kind, uint64_t a, const void *payload, size_t size) {
    sk_link_frame frame = {
        .kind = (uint16_t)kind, .line = (uint32_t)self->line, .generation = self->generation, .a = a};
    sk__host_send(self->host, &frame, payload, size);
}

sk_status sk__host_spawn(sk__peer *peer, sk_error *reterr) {
    if (peer->host->state != SK__HOST_UP)
        return SK_FAIL(reterr, SK_EDEAD, "%s: host %s is gone", peer->name, peer->host->name);
    send(peer, SK_WIRE_SPAWN, 0, peer->name, strlen(peer->name));
    return SK_OK;
}

void sk__host_signal(sk__peer *peer, int signal_number) {
    send(peer, SK_WIRE_SIGNAL, (uint64_t)signal_number, NULL, 0);
}

void sk__host_cancel(sk__peer *peer, uint64_t job) { send(peer, SK_WIRE_CANCEL, job, NULL, 0); }

void sk__host_post(sk__peer *peer, const sk_message *head, const void *payload, size_t size) {
    sk__parcel_out *parcel = sk__host_parcel(peer, SK_WIRE_MAIL, sizeof *head + size, NULL);
    if (!parcel) { /* the worker would wait for it for ever */
        sk__peer_kill(peer->d, peer, "was killed: no memory for a message to it");
        return;
    }
    memcpy(parcel->bytes, head, sizeof *head);
    ((sk_message *)(void *)parcel->bytes)->magic = SK_MESSAGE_MAGIC;
    if (size) memcpy(parcel->bytes + sizeof *head, payload, size);
    sk__host_push(peer->host, parcel);
}

bool sk__host_has_room(const sk__peer *peer) {
    if (peer->host->state != SK__HOST_UP) return false;
    int64_t side_by_side = peer->actor ? peer->actor->max_concurrency : 1; /* they may wait for each other */
    return peer->sent.n < side_by_side || (peer->sent.n < ROOM_JOBS && peer->sent_bytes < ROOM_BYTES);
}

void sk__host_show_run(sk__peer *peer) {
    sk_line       *line = &peer->d->board->lines[peer->line];
    const sk__job *first = peer->sent.first;
    uint64_t       id = first ? first->id : 0;
    if (line->job == id) return;
    line->job_since_ns = sk_clock_now_ns();
    line->job = id;
}

int64_t sk__host_to_our_clock(const sk__host *self, int64_t start_ns, int64_t duration_ns) {
    int64_t latest_ns = sk_clock_now_ns() - (duration_ns > 0 ? duration_ns : 0);
    int64_t ours_ns;
    if (self->round_trip_ns == 0 || __builtin_add_overflow(start_ns, self->clock_offset_ns, &ours_ns) ||
        ours_ns > latest_ns || ours_ns < 0)
        return latest_ns;
    return ours_ns;
}

/* ---- up -------------------------------------------------------------------------------------------------- */
/* The worker that a frame is about; NULL: it is gone. */
static sk__peer *peer_of(const sk__host *self, const sk_link_frame *frame) {
    sk__peer *peer = frame->line < SK_BOARD_LINES ? self->d->peers[frame->line] : NULL;
    return peer && peer->host == self && peer->generation == frame->generation ? peer : NULL;
}

/* How many of its jobs it has begun, by its host's word. Never back, never more than it was sent. */
static void note_started(sk__peer *peer, uint64_t n_started) {
    sk_line *line = &peer->d->board->lines[peer->line];
    if (n_started > peer->n_sent) n_started = peer->n_sent;
    if (n_started > line->n_started) line->n_started = n_started;
}

static void on_mail(sk__peer *peer, const sk_link_frame *frame) {
    sk__driver *d = peer->d;
    note_started(peer, frame->a);
    sk__peer_on_message(d, peer, frame->payload, frame->size);
    if (peer->actor) sk__actor_dispatch(d, peer->actor);
    d->has_mail_work = true;
}

static sk_status on_death(sk__host *self, sk__peer *peer, const sk_link_frame *frame, sk_error *reterr) {
    const sk_wire_death *death = frame->payload;
    char                 how[sizeof death->how];
    memcpy(how, death->how, sizeof how);
    if (death->pid > 0) peer->pid = death->pid;
    note_started(peer, frame->a);
    sk__peer_on_end(self->d, peer, how);
    if (self->n_bad_starts < BAD_STARTS_MAX || self->d->destroying) return SK_OK;
    return SK_FAIL(reterr, SK_EDEAD, "its workers cannot start: %d in a row ended before they were ready; the last %s",
                   self->n_bad_starts, how);
}

/* Bytes of what a worker gives away: into the extent that it was granted, and nowhere else. */
static sk_status on_chunk(sk__peer *peer, const sk_link_frame *frame, sk_error *reterr) {
    const sk_extent *extent = NULL;
    for (int i = 0; i < peer->n_extents && !extent; i++)
        if (peer->extents[i].offset == frame->a) extent = &peer->extents[i];
    if (!extent)
        return SK_FAIL(reterr, SK_ECORRUPT, "it sent bytes for offset %" PRIu64 " of the store, which %s was not given",
                       frame->a, peer->name);
    if (frame->b > extent->size || frame->size > extent->size - frame->b)
        return SK_FAIL(reterr, SK_ECORRUPT,
                       "it sent %zu bytes at %" PRIu64 " of an extent of %s that has %" PRIu64 " bytes", frame->size,
                       frame->b, peer->name, extent->size);
    memcpy((uint8_t *)sk_store_data(peer->d->store) + extent->offset + frame->b, frame->payload, frame->size);
    return SK_OK;
}

sk_status sk__host_on_peer_frame(sk__host *self, const sk_link_frame *frame, sk_error *reterr) {
    sk__peer *peer = peer_of(self, frame);
    if (!peer) return SK_OK;
    switch (frame->kind) {
    case SK_WIRE_MAIL: on_mail(peer, frame); return SK_OK;
    case SK_WIRE_CHUNK: return on_chunk(peer, frame, reterr);
    case SK_WIRE_DEATH: return on_death(self, peer, frame, reterr);
    default: return SK_FAIL(reterr, SK_ECORRUPT, "a frame %s about a worker", sk_wire_kind_text(frame->kind));
    }
}

void sk__host_end_peers(sk__host *self, const char *why) {
    sk__driver *d = self->d;
    for (int i = 0; i < d->n_lines && self->n_peers > 0; i++) {
        sk__peer *peer = d->peers[i];
        if (!peer || peer->host != self) continue;
        d->board->lines[i].n_started = peer->n_sent; /* nobody knows: what it was sent may have taken effect */
        sk__peer_on_end(d, peer, why);
    }
}
