#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/old_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DEFAULT_STOP_TIMEOUT_MS 5000
#define INTERRUPT_CHECK_MS      100 /* the program's flag is looked at this often */
#define BYE_CHECK_MS            5   /* and this often whether a worker's last words are overdue */

int64_t sk__deadline_ns(int timeout_ms) {
    SK_ASSERT(timeout_ms >= 0);
    return sk_clock_now_ns() + (int64_t)timeout_ms * 1000000;
}

/* ---- life ------------------------------------------------------------------------------------------- */
sk_status sk_runtime_create(const sk_runtime_params *params, sk_runtime **ret_rt, sk_error *reterr) {
    SK_ASSERT(params && ret_rt && (params->classes || params->n_classes == 0));
    if (params->stop_timeout_ms < 0)
        return SK_FAIL(reterr, SK_EINVAL, "stop_timeout_ms must be >= 0, got %d", params->stop_timeout_ms);
    const char *path = params->worker_path ? params->worker_path : getenv("SKIFF_WORKER");
    sk_runtime *self = calloc(1, sizeof *self);
    if (self) self->worker_path = strdup(path && *path ? path : "/proc/self/exe");
    if (!self || !self->worker_path) {
        free(self);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for a runtime");
    }
    self->params = *params;
    self->params.worker_path = self->worker_path;
    if (self->params.stop_timeout_ms == 0) self->params.stop_timeout_ms = DEFAULT_STOP_TIMEOUT_MS;
    *ret_rt = self;
    return SK_OK;
}

/* All stop at the same time, so the slowest decides how long it takes. */
static void destroy_actors(sk_runtime *self) {
    for (int i = 0; i < self->peers.n_slots; i++)
        if (self->peers.slots[i].item) sk__peer_ask_to_stop(self->peers.slots[i].item);
    int64_t deadline_ns = sk__deadline_ns(self->params.stop_timeout_ms);
    for (int i = 0; i < self->actors.n_slots; i++) {
        sk_actor *actor = self->actors.slots[i].item;
        sk__actor_destroy(&actor, deadline_ns);
    }
}

void sk_runtime_destroy(sk_runtime **self_p) {
    if (!self_p || !*self_p) return;
    sk_runtime *self = *self_p;
    *self_p = NULL;
    destroy_actors(self);
    sk_supervisor_destroy(&self->supervisor);
    sk_socket_destroy(&self->router);
    if (self->abandoned_threads) sk_messenger_shutdown(self->messenger);
    sk_messenger_release(&self->messenger);
    sk__futures_deinit(&self->futures);
    sk__table_deinit(&self->actors);
    sk__table_deinit(&self->peers);
    free(self->worker_path);
    free(self);
}

/* ---- opening on demand: a runtime of inline actors has no socket, a runtime of threads no supervisor -- */
static sk_status open_router(sk_runtime *self, sk_error *reterr) {
    SK_TRY(sk_messenger_create(&self->messenger, reterr));
    sk_status status = sk_socket_create_router(self->messenger, &self->router, reterr);
    if (status == SK_OK) {
        /* inproc names are private to the context */
        snprintf(self->inproc, sizeof self->inproc, "inproc://skiff");
        status = sk_socket_bind(self->router, self->inproc, reterr);
    }
    if (status != SK_OK) {
        sk_socket_destroy(&self->router);
        sk_messenger_release(&self->messenger);
    }
    return status;
}

static sk_status open_ipc(sk_runtime *self, sk_error *reterr) {
    uint64_t random[2];
    char endpoint[SK__ENDPOINT_MAX];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return SK_FAIL(reterr, SK_EIO, "cannot draw a random socket name: %s", strerror(errno));
    snprintf(endpoint, sizeof endpoint, "ipc://@skiff-%d-%016" PRIx64 "%016" PRIx64, getpid(), random[0],
             random[1]);
    SK_TRY(sk_socket_bind(self->router, endpoint, reterr));
    memcpy(self->ipc, endpoint, sizeof endpoint);
    return SK_OK;
}

sk_status sk__runtime_open(sk_runtime *self, sk_placement placement, sk_error *reterr) {
    if (placement == SK_PLACE_INLINE) return SK_OK;
    if (!self->router) SK_TRY(open_router(self, reterr));
    if (placement == SK_PLACE_THREAD) return SK_OK;
    if (!*self->ipc) SK_TRY(open_ipc(self, reterr));
    if (!self->supervisor) SK_TRY(sk_supervisor_create(&self->supervisor, reterr));
    return SK_OK;
}

/* ---- messages --------------------------------------------------------------------------------------- */
/* A message that is not from one of our workers, or not what a worker may say, has no effect. */
static void drop(sk_runtime *self, const char *why) {
    self->n_malformed++;
    if ((self->n_malformed & (self->n_malformed - 1)) == 0) /* 1st, 2nd, 4th, 8th, ...: no flood of lines */
        sk_log(SK_LOG_WARN, "runtime: dropped a message: %s (%" PRIu64 " dropped so far)", why,
               self->n_malformed);
}

static void handle(sk_runtime *self, uint64_t peer_id, const sk_frame *frame) {
    sk__peer *peer = sk__table_get(&self->peers, peer_id);
    if (!peer) {
        if (sk__table_had(&self->peers, peer_id)) return; /* late words of a worker that was given up */
        drop(self, "its sender is not a worker of this runtime");
        return;
    }
    if (frame->kind == SK_FRAME_HELLO) {
        sk__peer_on_hello(peer);
        return;
    }
    if (frame->kind == SK_FRAME_BYE) {
        sk__peer_on_bye(peer);
        return;
    }
    if (frame->kind != SK_FRAME_READY && frame->kind != SK_FRAME_REPLY) {
        drop(self, "a worker sent what only the driver may send");
        return;
    }
    sk_actor *actor = sk__table_get(&self->actors, frame->actor_id);
    if (!actor || actor->peer != peer) {
        if (!peer->asked_to_stop) drop(self, "it is about an actor that its sender does not host");
        return;
    }
    if (frame->kind == SK_FRAME_READY)
        sk__actor_on_ready(actor, frame);
    else
        sk__actor_on_reply(actor, frame);
}

static sk_status receive_all(sk_runtime *self, sk_error *reterr) {
    for (;;) {
        sk_error err = {0};
        sk_frame frame;
        uint64_t peer_id = 0;
        switch (sk_socket_recv(self->router, &peer_id, &frame, &err)) {
        case SK_OK:
            handle(self, peer_id, &frame);
            break;
        case SK_ENOTFOUND:
            return SK_OK;
        case SK_ECORRUPT:
        case SK_EVERSION:
            drop(self, err.msg);
            break;
        default:
            if (reterr) *reterr = err;
            return err.status;
        }
    }
}

sk_status sk__runtime_drain(sk_runtime *self, sk_error *reterr) {
    if (!self->router) return SK_OK;
    /* Deaths that were there before receiving began: what those workers said last counts first. */
    bool has_death = self->supervisor && sk_supervisor_has_death(self->supervisor);
    SK_TRY(receive_all(self, reterr));
    sk_death death;
    while (has_death && sk_supervisor_pop_death(self->supervisor, &death)) {
        sk__peer *peer = sk__table_get(&self->peers, death.worker_id);
        if (peer) sk__peer_on_death(peer, &death);
    }
    if (self->n_awaiting_bye > 0) sk__peers_expire(self);
    return SK_OK;
}

static bool is_interrupted(const sk_runtime *self) {
    return self->params.interrupted && *self->params.interrupted;
}

sk_status sk__runtime_wait(sk_runtime *self, bool (*is_done)(void *arg), void *arg, int64_t deadline_ns,
                           sk__patience patience, sk_error *reterr) {
    for (;;) {
        if (is_done(arg)) return SK_OK;
        sk_status status = sk__runtime_drain(self, reterr);
        if (is_done(arg)) return SK_OK; /* even when what came after it could not be received */
        SK_TRY(status);
        if (patience == SK__INTERRUPTIBLE && is_interrupted(self))
            return SK_FAIL(reterr, SK_EINTERRUPTED, "interrupted");
        int64_t left_ns = deadline_ns - sk_clock_now_ns();
        if (left_ns <= 0) return SK_ETIMEOUT;
        SK_ASSERT(self->router); /* without sockets all is done at once */

        int64_t left_ms = (left_ns + 999999) / 1000000;
        int most_ms = self->n_awaiting_bye > 0 ? BYE_CHECK_MS : INTERRUPT_CHECK_MS;
        int timeout_ms = left_ms < most_ms ? (int)left_ms : most_ms;
        int fd = self->supervisor ? sk_supervisor_fd(self->supervisor) : -1;
        if (!sk_socket_wait(self->router, fd, timeout_ms))
            return SK_FAIL(reterr, SK_EIO, "the driver's socket failed while waiting: %s", strerror(errno));
    }
}
