/* The thread that owns the link: what waits goes out, what comes is handled, and else it sleeps. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include "core/runtime/spawn.h"
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define TICK_MS     100  /* beats and lost hosts are looked after so often */
#define NO_HOST_MS  1000
#define BLOCKED_MS  1    /* a way that is full is tried again */
#define FRAMES_IN   256  /* at a time, before what changed is acted upon */
#define FRAMES_OUT  32   /* of one host at a time, while the lock is held */
#define LINGER_MS   1000 /* for the last BYE, in all */
#define LINGER_MIN_MS 50

/* ---- queues ---------------------------------------------------------------------------------------------- */
/* What is still to be sent of it [bytes]. */
static uint64_t waiting(const sk__parcel_out *parcel) {
    return parcel->is_extent ? parcel->frame.b - parcel->at : parcel->size;
}

void sk__host_push(sk__host *self, sk__parcel_out *parcel) {
    if (self->state == SK__HOST_GONE) {
        free(parcel);
        return;
    }
    *(self->out_last ? &self->out_last->next : &self->out) = parcel;
    self->out_last = parcel;
    self->out_bytes += waiting(parcel);
    sk__hosts *hosts = self->d->hosts;
    hosts->has_out[self->number / 64] |= UINT64_C(1) << self->number % 64;
    if (!hosts->is_awake) sk_link_wake(hosts->link);
}

static sk__parcel_out *make_parcel(const sk_link_frame *frame, size_t size) {
    sk__parcel_out *parcel = malloc(sizeof *parcel + size);
    if (!parcel) return NULL;
    *parcel = (sk__parcel_out){.frame = *frame, .size = size};
    parcel->frame.payload = parcel->bytes;
    parcel->frame.size = size;
    return parcel;
}

sk__parcel_out *sk__host_parcel(const sk__peer *peer, sk_wire_kind kind, size_t size, sk_error *reterr) {
    sk_link_frame frame = {
        .kind = (uint16_t)kind, .line = (uint32_t)peer->line, .generation = peer->generation};
    sk__parcel_out *parcel = make_parcel(&frame, size);
    if (!parcel) (void)SK_FAIL(reterr, SK_ENOMEM, "no memory for a message of %zu bytes to %s", size, peer->name);
    return parcel;
}

void sk__host_send(sk__host *self, const sk_link_frame *frame, const void *payload, size_t size) {
    if (self->state == SK__HOST_GONE) return;
    sk__parcel_out *parcel = make_parcel(frame, size);
    if (!parcel) { /* what it was to be told it will never know: it cannot be used any more */
        self->is_doomed = true;
        return;
    }
    if (size) memcpy(parcel->bytes, payload, size);
    sk__host_push(self, parcel);
}

void sk__host_free_queue(sk__host *self) {
    for (sk__parcel_out *parcel = self->out, *next; parcel; parcel = next) {
        next = parcel->next;
        if (parcel->copy) parcel->copy->parcel = NULL;
        free(parcel);
    }
    self->out = self->out_last = NULL;
    self->out_bytes = 0;
}

sk_status sk__host_send_now(sk__host *self, sk_link_frame *frame, sk_error *reterr) {
    frame->session = self->session;
    sk_status status = sk_link_send(self->d->hosts->link, frame, &self->order, reterr);
    if (status == SK_OK) {
        self->n_frames_out++;
        self->bytes_out += SK_LINK_HEAD_SIZE + frame->size;
        self->deaf_ns = 0;
    } else if (status == SK_EDEAD && self->deaf_ns == 0) {
        self->deaf_ns = sk_clock_now_ns();
    }
    return status;
}

/* The next frame of an extent: COPY, or some of its bytes. */
static sk_status send_extent(sk__host *self, sk__parcel_out *parcel) {
    if (!parcel->has_begun) {
        SK_TRY(sk__host_send_now(self, &parcel->frame, NULL));
        parcel->has_begun = true;
        return SK_OK;
    }
    uint64_t size = parcel->frame.b - parcel->at;
    if (size > SK_CHUNK_BYTES) size = SK_CHUNK_BYTES;
    sk_link_frame chunk = {.kind = SK_WIRE_CHUNK,
                           .a = parcel->frame.a,
                           .b = parcel->at,
                           .payload = (const uint8_t *)sk_store_data(self->d->store) + parcel->frame.a + parcel->at,
                           .size = (size_t)size};
    SK_TRY(sk__host_send_now(self, &chunk, NULL));
    parcel->at += size;
    self->out_bytes -= size;
    return SK_OK;
}

/* Is nothing of it left to be sent? Of an extent that was freed meanwhile only COPY goes out: what names it follows. */
static bool is_done(const sk__parcel_out *parcel) {
    if (!parcel->is_extent) return true;
    return parcel->has_begun && (!parcel->copy || parcel->at == parcel->frame.b);
}

static void pop(sk__host *self) {
    sk__parcel_out *parcel = self->out;
    self->out = parcel->next;
    if (!self->out) self->out_last = NULL;
    self->out_bytes -= waiting(parcel);
    if (parcel->copy) parcel->copy->parcel = NULL;
    free(parcel);
}

typedef enum flushed { ALL_SENT, MORE_TO_SEND, BLOCKED } flushed;

static flushed flush(sk__host *self) {
    for (int n = 0; self->out; n++) {
        sk__parcel_out *parcel = self->out;
        if (n == FRAMES_OUT) return MORE_TO_SEND;
        if (parcel->is_extent && is_done(parcel)) {
            pop(self); /* freed while it was being sent */
            continue;
        }
        sk_status status = parcel->is_extent ? send_extent(self, parcel)
                                             : sk__host_send_now(self, &parcel->frame, NULL);
        if (status != SK_OK) return BLOCKED;
        if (is_done(parcel)) pop(self);
    }
    return ALL_SENT;
}

/* One host's full way does not hold up the others. */
static flushed flush_all(sk__hosts *self) {
    bool more = false, blocked = false;
    for (int word = 0; word < SK_COUNT(self->has_out); word++)
        for (uint64_t bits = self->has_out[word]; bits; bits &= bits - 1) {
            sk__host *host = self->at[word * 64 + __builtin_ctzll(bits)];
            flushed   how = host ? flush(host) : ALL_SENT;
            if (how == ALL_SENT) self->has_out[word] &= ~(bits & -bits);
            more |= how == MORE_TO_SEND;
            blocked |= how == BLOCKED;
        }
    return more ? MORE_TO_SEND : blocked ? BLOCKED : ALL_SENT;
}

/* ---- the thread ------------------------------------------------------------------------------------------ */
static void on_trouble(void *arg, const char *text) {
    (void)arg;
    sk_log(SK_LOG_WARN, "%s", text);
}

/* False: nothing was there. */
static bool receive(sk__hosts *self) {
    sk__driver *d = self->d;
    int         n = 0;
    for (sk_link_frame frame; n < FRAMES_IN && sk_link_recv(self->link, &frame, NULL) == SK_OK; n++) {
        sk__driver_lock(d);
        sk__hosts_on_frame(self, &frame, sk_clock_now_ns());
        sk__driver_unlock(d);
    }
    return n > 0;
}

/* With the lock: what the frames have changed takes its course. */
static void act(sk__hosts *self, uint64_t n_frames_before) {
    sk__driver *d = self->d;
    if (self->n_frames == n_frames_before) return;
    sk__driver_drain(d);
    sk__driver_notify(d);
    if (!d->napping) return;
    d->napping = false;
    sk__driver_wake_pump(d);
}

static void set_awake(sk__hosts *self) {
    sk__driver_lock(self->d);
    self->is_awake = true;
    sk__driver_unlock(self->d);
}

static void *run(void *arg) {
    sk__hosts *self = arg;
    prctl(PR_SET_NAME, "skiff-hosts");
    for (bool stop = false; !stop;) {
        uint64_t n_frames = self->n_frames;
        set_awake(self);
        bool came = receive(self);
        sk__driver_lock(self->d);
        sk__hosts_on_time(self, sk_clock_now_ns());
        act(self, n_frames);
        flushed how = flush_all(self);
        int     wait_ms = how == BLOCKED ? BLOCKED_MS : self->n > 1 ? TICK_MS : NO_HOST_MS;
        stop = self->stop && (how != MORE_TO_SEND || sk_clock_now_ns() > self->stop_ns);
        self->is_awake = came || how == MORE_TO_SEND || stop;
        bool sleeps = !self->is_awake;
        sk__driver_unlock(self->d);
        if (sleeps) sk_link_wait(self->link, wait_ms);
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------ */
/* What every host is told when it joins: this runtime's name, its plugins and their hashes, workers' environment. */
static sk_status pack_welcome(sk__hosts *self, const sk_cluster_params *params, sk_error *reterr) {
    const sk_runtime_params *rt = &self->d->params;
    uint8_t                 *at = self->welcome = malloc(SK_LINK_PAYLOAD_MAX), *end = at + SK_LINK_PAYLOAD_MAX;
    char                     number[16], hash[SK_SPAWN_HASH_TEXT];
    if (!at) return SK_FAIL(reterr, SK_ENOMEM, "no memory for hosts");
    snprintf(number, sizeof number, "%d", rt->n_plugins);
    at = sk_packed_put_value(at, rt->name, strnlen(rt->name, SK_BOARD_NAME - 1));
    at = sk_packed_put_value(at, number, strlen(number));
    for (int i = 0; i < rt->n_plugins; i++) {
        char path[PATH_MAX];
        if (!realpath(rt->plugins[i], path))
            return SK_FAIL(reterr, SK_ENOTFOUND, "cannot find the plugin %s", rt->plugins[i]);
        SK_TRY(sk_spawn_hash_file(path, hash, reterr));
        size_t size = sk_packed_value_size(strlen(path)) + sk_packed_value_size(sizeof hash - 1);
        if (size > (size_t)(end - at))
            return SK_FAIL(reterr, SK_ELIMIT, "too many plugins for hosts: %d", rt->n_plugins);
        at = sk_packed_put_value(at, path, strlen(path));
        at = sk_packed_put_value(at, hash, sizeof hash - 1);
    }
    for (int i = 0; i < params->n_worker_env; i++) {
        const char *text = params->worker_env[i];
        if (!strchr(text, '=') || *text == '=')
            return SK_FAIL(reterr, SK_EINVAL, "worker_env[%d] must be NAME=VALUE, got %.60s", i, text);
        if (sk_packed_value_size(strlen(text)) > (size_t)(end - at))
            return SK_FAIL(reterr, SK_ELIMIT, "the workers' environment has more than %zu bytes", SK_LINK_PAYLOAD_MAX);
        at = sk_packed_put_value(at, text, strlen(text));
    }
    self->welcome_size = (size_t)(at - self->welcome);
    return SK_OK;
}

static sk_status listen_there(sk__hosts *self, const sk_cluster_params *params, sk_error *reterr) {
    sk_cluster_key key;
    sk_link_params link = {.endpoint = params->bind ? params->bind : "tcp://127.0.0.1:0", .on_trouble = on_trouble};
    if (!params->plain) {
        SK_TRY(sk_cluster_key_find(params->key_path, SK_KEY_MAKE, &key, NULL, reterr));
        link.key = &key;
    }
    sk_status status = sk_link_listen(&link, &self->link, reterr);
    if (!params->plain) sk_cluster_key_forget(&key);
    return status;
}

static sk_status start_thread(sk__hosts *self, sk_error *reterr) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&self->thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) return SK_FAIL(reterr, SK_ELIMIT, "cannot start the thread for hosts: %s", strerror(rc));
    return SK_OK;
}

static void free_hosts(sk__hosts *self) {
    int64_t left_ms = (self->stop_ns - sk_clock_now_ns()) / 1000000;
    sk_link_destroy(&self->link, left_ms > LINGER_MIN_MS ? (int)left_ms : LINGER_MIN_MS);
    free(self->welcome);
    free(self->buckets);
    free(self);
}

sk_status sk__hosts_create(sk__driver *d, const sk_cluster_params *params, sk_error *reterr) {
    if (strlen(params->build ? params->build : "") >= SK_BUILD_TEXT)
        return SK_FAIL(reterr, SK_EINVAL, "the text of a build has at most %d bytes, got %zu: %.40s...",
                       SK_BUILD_TEXT - 1, strlen(params->build), params->build);
    sk__hosts *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for hosts");
    self->d = d;
    self->n = 1;
    snprintf(self->build, sizeof self->build, "%s", params->build ? params->build : "");
    sk_status status = pack_welcome(self, params, reterr);
    if (status == SK_OK) status = listen_there(self, params, reterr);
    if (status == SK_OK) {
        snprintf(d->board->endpoint, sizeof d->board->endpoint, "%s", sk_link_endpoint(self->link));
        d->hosts = self;
        sk_store_on_free(d->store, sk__hosts_on_free, d);
        status = start_thread(self, reterr);
    }
    if (status != SK_OK) {
        sk_store_on_free(d->store, NULL, NULL);
        d->hosts = NULL;
        free_hosts(self);
    }
    return status;
}

void sk__hosts_stop(sk__driver *d) {
    for (int i = 1; d->hosts && i < d->hosts->n; i++)
        if (d->hosts->at[i]) sk__host_send(d->hosts->at[i], &(sk_link_frame){.kind = SK_WIRE_STOPPING}, NULL, 0);
}

void sk__hosts_destroy(sk__driver *d) {
    sk__hosts *self = d->hosts;
    if (!self) return;
    static const char why[] = "the program has ended";
    sk__driver_lock(d);
    for (int i = 1; i < self->n; i++)
        if (self->at[i]) sk__host_send(self->at[i], &(sk_link_frame){.kind = SK_WIRE_BYE}, why, sizeof why - 1);
    self->stop = true;
    self->stop_ns = sk__deadline_ns(LINGER_MS);
    sk__driver_unlock(d);
    sk_link_wake(self->link);
    pthread_join(self->thread, NULL);
    sk__driver_lock(d);
    for (int i = 1; i < self->n; i++)
        if (self->at[i]) sk__host_end(self->at[i], SK_HOST_LEFT, "was told that the program has ended");
    sk_store_on_free(d->store, NULL, NULL);
    d->hosts = NULL;
    sk__driver_unlock(d);
    free_hosts(self);
}
