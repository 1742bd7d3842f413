#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/old_internal.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SIGKILL takes effect at once, but a process in the middle of a system call is reaped when that ends. */
#define KILL_TIMEOUT_MS 5000
/* A worker's last words need no longer than this from its exit to here. */
#define BYE_TIMEOUT_MS 100

static sk_status start_thread(sk__peer *self, sk_error *reterr) {
    sk_runtime *rt = self->rt;
    self->pid = getpid();
    return sk__thread_worker_start(rt->messenger, rt->inproc, self->id, rt->params.classes,
                                   rt->params.n_classes, &self->thread, reterr);
}

static sk_status start_process(sk__peer *self, sk_error *reterr) {
    sk_runtime *rt = self->rt;
    char id[24], parent[24];
    snprintf(id, sizeof id, "%" PRIu64, self->id);
    snprintf(parent, sizeof parent, "%d", getpid());
    char *argv[] = {rt->worker_path, "worker", "--endpoint", rt->ipc, "--id", id, "--parent", parent, NULL};
    self->is_process = true;
    return sk_supervisor_spawn(rt->supervisor, self->id, rt->worker_path, argv, &self->pid, reterr);
}

sk_status sk__peer_create(sk_runtime *rt, const char *name, sk_placement placement, sk__peer **ret_peer,
                          sk_error *reterr) {
    SK_TRY(sk__runtime_open(rt, placement, reterr));
    sk__peer *self = calloc(1, sizeof *self);
    if (self) self->name = strdup(name);
    if (!self || !self->name) {
        free(self);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for a worker");
    }
    self->rt = rt;
    sk_status status = sk__table_put(&rt->peers, self, &self->id, reterr);
    if (status == SK_OK)
        status = placement == SK_PLACE_THREAD ? start_thread(self, reterr) : start_process(self, reterr);
    if (status != SK_OK) {
        sk__table_remove(&rt->peers, self->id);
        free(self->name);
        free(self);
        return status;
    }
    *ret_peer = self;
    return SK_OK;
}

static void send_stop(sk__peer *self) {
    sk_frame stop = {.kind = SK_FRAME_STOP};
    sk_error err = {0};
    if (sk_socket_send(self->rt->router, self->id, &stop, &err) != SK_OK)
        sk_log(SK_LOG_DEBUG, "%s could not be asked to stop: %s", self->name, err.msg);
}

void sk__peer_ask_to_stop(sk__peer *self) {
    if (self->asked_to_stop || self->dead || self->bye) return;
    self->asked_to_stop = true;
    if (self->hello) send_stop(self);
}

void sk__peer_on_hello(sk__peer *self) {
    self->hello = true;
    if (self->asked_to_stop) send_stop(self); /* it could not be told before */
}

static bool has_ended(void *arg) {
    const sk__peer *self = arg;
    return self->is_process ? self->dead : self->bye;
}

static void end_process(sk__peer *self, int64_t deadline_ns) {
    sk_runtime *rt = self->rt;
    bool polite =
        self->hello && sk__runtime_wait(rt, has_ended, self, deadline_ns, SK__MUST_FINISH, NULL) == SK_OK;
    if (self->dead) return;
    if (!polite && self->hello)
        sk_log(SK_LOG_WARN, "%s (process %d) did not stop in time and is killed", self->name, self->pid);
    sk_supervisor_signal(rt->supervisor, self->id, SIGKILL);
    if (sk__runtime_wait(rt, has_ended, self, sk__deadline_ns(KILL_TIMEOUT_MS), SK__MUST_FINISH, NULL) !=
        SK_OK)
        sk_log(SK_LOG_ERROR, "%s (process %d) was killed but has not ended yet", self->name, self->pid);
}

static void end_thread(sk__peer *self, int64_t deadline_ns) {
    sk_runtime *rt = self->rt;
    if (sk__runtime_wait(rt, has_ended, self, deadline_ns, SK__MUST_FINISH, NULL) == SK_OK) {
        sk__thread_worker_join(&self->thread);
        return;
    }
    /* A thread cannot be killed without taking the program down; waiting for it might be for ever. */
    sk_log(SK_LOG_ERROR, "%s (a thread) did not stop in time and is left behind", self->name);
    rt->abandoned_threads = true;
    sk__thread_worker_abandon(&self->thread);
}

void sk__peer_destroy(sk__peer **self_p, int64_t deadline_ns) {
    if (!self_p || !*self_p) return;
    sk__peer *self = *self_p;
    *self_p = NULL;
    sk__peer_ask_to_stop(self);
    if (self->is_process)
        end_process(self, deadline_ns);
    else
        end_thread(self, deadline_ns);
    if (self->bye_until_ns) self->rt->n_awaiting_bye--;
    sk__table_remove(&self->rt->peers, self->id);
    free(self->name);
    free(self);
}

/* From now on it is dead for everyone. */
static void declare_dead(sk__peer *self) {
    sk_runtime *rt = self->rt;
    if (self->bye_until_ns) rt->n_awaiting_bye--;
    self->bye_until_ns = 0;
    self->dead = true;
    if (self->asked_to_stop) return; /* its calls fail when the actor is destroyed, with a better reason */
    for (int i = 0; i < rt->actors.n_slots; i++) {
        sk_actor *actor = rt->actors.slots[i].item;
        if (actor && actor->peer == self) sk__futures_fail(actor, self->end);
    }
}

void sk__peer_on_death(sk__peer *self, const sk_death *death) {
    snprintf(self->end, sizeof self->end, "%s (process %d) %s", self->name, self->pid, death->how);
    if (self->asked_to_stop && death->exit_status != SK__EXIT_STOPPED)
        sk_log(SK_LOG_WARN, "%s while it was to stop", self->end);
    /* The kernel tells of the end at once; what the worker sent last may still be on its way to us. */
    bool says_bye = death->exit_status == SK__EXIT_STOPPED || death->exit_status == SK__EXIT_SIGTERM;
    if (says_bye && self->hello && !self->bye) {
        self->bye_until_ns = sk__deadline_ns(BYE_TIMEOUT_MS);
        self->rt->n_awaiting_bye++;
        return;
    }
    declare_dead(self);
}

void sk__peer_on_bye(sk__peer *self) {
    self->bye = true;
    if (self->bye_until_ns) declare_dead(self);
}

void sk__peers_expire(sk_runtime *rt) {
    int64_t now_ns = sk_clock_now_ns();
    for (int i = 0; i < rt->peers.n_slots && rt->n_awaiting_bye > 0; i++) {
        sk__peer *peer = rt->peers.slots[i].item;
        if (peer && peer->bye_until_ns && peer->bye_until_ns <= now_ns) declare_dead(peer);
    }
}
