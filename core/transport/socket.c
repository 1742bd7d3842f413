#include "core/transport/socket.h"
#include "core/base/clock.h"
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

#define FRAME_MAGIC   UINT32_C(0x46464b53) /* "SKFF", little-endian */
#define FRAME_VERSION 1
/* A sleeping thread takes 20 to 50 us to wake up (virtual machines); looking that long first catches quick
 * answers, and costs little when the answer is far away. */
#define SPIN_NS 30000
/* Between two looks the core is offered to others. When one took it for this long, cores are scarce, and the
 * next waits sleep at once: being woken is then faster than having one's turn again. */
#define SPIN_CROWDED_NS 200000
#define SPIN_SKIPS      100
#define ROUTING_SIZE    9 /* 'W' + u64: ids that begin with zero belong to ZeroMQ */
#define PAYLOAD_ALIGN   16
#define LINGER_MS       1000
#define CONTEXT_FILES   12 /* of a context with one I/O thread, by measurement 6 */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the wire is little-endian, and so are all targets");

/* ThreadSanitizer does not see into libzmq, so it must be told that a message orders what was written before
 * it was sent and what is read after it was received. One address per worker and direction. */
#if defined(__SANITIZE_THREAD__)
#define SK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SK_TSAN 1
#endif
#endif
#ifdef SK_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define TSAN_KEYS 1024
static char tsan_keys[2][TSAN_KEYS]; /* [towards the router?][worker] */
#define TSAN_RELEASE(up, id) __tsan_release(&tsan_keys[up][(id) % TSAN_KEYS])
#define TSAN_ACQUIRE(up, id) __tsan_acquire(&tsan_keys[up][(id) % TSAN_KEYS])
#else
#define TSAN_RELEASE(up, id) ((void)(id))
#define TSAN_ACQUIRE(up, id) ((void)(id))
#endif

typedef struct frame_head {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    uint64_t actor_id;
    uint64_t call_id;
    int32_t method;
    int32_t status;
    uint64_t size;
} frame_head;
_Static_assert(sizeof(frame_head) == SK_FRAME_HEAD_SIZE, "no padding in the wire head");

struct sk_messenger {
    void *zmq;
    atomic_int n_users;
};

struct sk_socket {
    void *zmq;
    uint64_t own_id; /* of a dealer; 0: a router                                   */
    bool may_spin;
    int n_spin_skips; /* waits that are still to sleep at once                      */
    zmq_msg_t msg;    /* the last one received; frames point into it                */
    uint8_t *scratch; /* an aligned copy where ZeroMQ's own memory is not aligned  */
    size_t scratch_size;
};

/* ---- frames ----------------------------------------------------------------------------------------- */
bool sk_frame_status_is_known(int32_t value) {
    switch (value) {
#define STATUS_CASE(code, number, text) case number:
        SK_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
        return true;
    default:
        return false;
    }
}

void sk_frame_write_head(const sk_frame *frame, uint8_t *ret_head) {
    frame_head head = {.magic = FRAME_MAGIC,
                       .version = FRAME_VERSION,
                       .kind = (uint16_t)frame->kind,
                       .actor_id = frame->actor_id,
                       .call_id = frame->call_id,
                       .method = frame->method,
                       .status = frame->status,
                       .size = frame->size};
    memcpy(ret_head, &head, sizeof head);
}

sk_status sk_frame_parse(const void *bytes, size_t size, sk_frame *ret_frame, sk_error *reterr) {
    frame_head head;
    if (size < sizeof head)
        return SK_FAIL(reterr, SK_ECORRUPT, "message of %zu bytes is shorter than its head (%zu)", size,
                       sizeof head);
    memcpy(&head, bytes, sizeof head);
    if (head.magic != FRAME_MAGIC)
        return SK_FAIL(reterr, SK_ECORRUPT, "message begins with %08x, wanted %08x", head.magic, FRAME_MAGIC);
    if (head.version != FRAME_VERSION)
        return SK_FAIL(reterr, SK_EVERSION, "message has version %d, wanted %d", head.version, FRAME_VERSION);
    if (head.kind < SK_FRAME_HELLO || head.kind > SK_FRAME_BYE)
        return SK_FAIL(reterr, SK_ECORRUPT, "message is of unknown kind %d", head.kind);
    if (!sk_frame_status_is_known(head.status))
        return SK_FAIL(reterr, SK_ECORRUPT, "message has unknown status %d", head.status);
    if (head.size > SK_FRAME_PAYLOAD_MAX || head.size != size - sizeof head)
        return SK_FAIL(reterr, SK_ECORRUPT, "message says it carries %llu bytes, it has %zu",
                       (unsigned long long)head.size, size - sizeof head);
    *ret_frame = (sk_frame){.kind = (sk_frame_kind)head.kind,
                            .actor_id = head.actor_id,
                            .call_id = head.call_id,
                            .method = head.method,
                            .status = (sk_status)head.status,
                            .payload = (const uint8_t *)bytes + sizeof head,
                            .size = (size_t)head.size};
    return SK_OK;
}

/* ---- context ---------------------------------------------------------------------------------------- */
/* libzmq aborts where the files of its own threads cannot be opened; so be sure of them before. */
static bool has_files_for_context(void) {
    int fds[CONTEXT_FILES], n = 0;
    while (n < CONTEXT_FILES && (fds[n] = eventfd(0, EFD_CLOEXEC)) >= 0) n++;
    bool all = n == CONTEXT_FILES;
    while (n > 0) close(fds[--n]);
    return all;
}

sk_status sk_messenger_create(sk_messenger **ret_messenger, sk_error *reterr) {
    SK_ASSERT(ret_messenger);
    if (!has_files_for_context()) {
        struct rlimit files = {0};
        getrlimit(RLIMIT_NOFILE, &files);
        return SK_FAIL(reterr, SK_ELIMIT, "no room for the %d files that ZeroMQ wants (limit: %llu open files by ulimit -n)",
                       CONTEXT_FILES, (unsigned long long)files.rlim_cur);
    }
    sk_messenger *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a ZeroMQ context");
    self->zmq = zmq_ctx_new();
    if (!self->zmq) {
        free(self);
        return SK_FAIL(reterr, SK_EIO, "cannot create a ZeroMQ context: %s", zmq_strerror(errno));
    }
    atomic_init(&self->n_users, 1);
    *ret_messenger = self;
    return SK_OK;
}

sk_messenger *sk_messenger_acquire(sk_messenger *self) {
    atomic_fetch_add(&self->n_users, 1);
    return self;
}

void sk_messenger_release(sk_messenger **self_p) {
    if (!self_p || !*self_p) return;
    sk_messenger *self = *self_p;
    *self_p = NULL;
    if (atomic_fetch_sub(&self->n_users, 1) != 1) return;
    while (zmq_ctx_term(self->zmq) != 0 && errno == EINTR) {
    }
    free(self);
}

void sk_messenger_shutdown(sk_messenger *self) { zmq_ctx_shutdown(self->zmq); }

/* ---- sockets: life ---------------------------------------------------------------------------------- */
static sk_status set_int(void *zmq, int option, int value, sk_error *reterr) {
    if (zmq_setsockopt(zmq, option, &value, sizeof value) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot set ZeroMQ option %d to %d: %s", option, value,
                       zmq_strerror(errno));
    return SK_OK;
}

/* Spinning pays only where the other side can run meanwhile. */
static bool has_two_cores(void) {
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
}

static sk_status open_socket(sk_messenger *messenger, int type, int linger_ms, sk_socket **ret_socket,
                             sk_error *reterr) {
    void *zmq = zmq_socket(messenger->zmq, type);
    if (!zmq) {
        struct rlimit files = {0};
        getrlimit(RLIMIT_NOFILE, &files);
        return SK_FAIL(reterr, errno == EMFILE ? SK_ELIMIT : SK_EIO,
                       "cannot open a socket: %s (limits: %llu open files by ulimit -n, %d sockets)",
                       zmq_strerror(errno), (unsigned long long)files.rlim_cur,
                       zmq_ctx_get(messenger->zmq, ZMQ_MAX_SOCKETS));
    }
    sk_socket *self = calloc(1, sizeof *self);
    if (!self) {
        zmq_close(zmq);
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for a socket");
    }
    self->zmq = zmq;
    self->may_spin = has_two_cores();
    zmq_msg_init(&self->msg);

    /* No high-water marks: at one, a router would drop messages without a word. Calls in flight are bounded
     * by their futures. */
    int64_t max_size = (int64_t)(SK_FRAME_HEAD_SIZE + SK_FRAME_PAYLOAD_MAX);
    sk_status status = SK_OK;
    SK_TRY_GOTO(set_int(zmq, ZMQ_SNDHWM, 0, reterr));
    SK_TRY_GOTO(set_int(zmq, ZMQ_RCVHWM, 0, reterr));
    SK_TRY_GOTO(set_int(zmq, ZMQ_LINGER, linger_ms, reterr));
    if (zmq_setsockopt(zmq, ZMQ_MAXMSGSIZE, &max_size, sizeof max_size) != 0) {
        status = SK_FAIL(reterr, SK_EIO, "cannot limit the size of messages: %s", zmq_strerror(errno));
        goto fail;
    }
    *ret_socket = self;
    return SK_OK;
fail:
    sk_socket_destroy(&self);
    return status;
}

static void write_routing(uint64_t id, uint8_t ret_routing[ROUTING_SIZE]) {
    ret_routing[0] = 'W';
    memcpy(ret_routing + 1, &id, sizeof id);
}

/* 0 when it is none of ours. */
static uint64_t read_routing(const uint8_t *routing, size_t size) {
    uint64_t id = 0;
    if (size == ROUTING_SIZE && routing[0] == 'W') memcpy(&id, routing + 1, sizeof id);
    return id;
}

sk_status sk_socket_create_router(sk_messenger *messenger, sk_socket **ret_socket, sk_error *reterr) {
    SK_ASSERT(messenger && ret_socket);
    sk_socket *self = NULL;
    uid_t uid = getuid();
    SK_TRY(open_socket(messenger, ZMQ_ROUTER, 0, &self, reterr));
    sk_status status = set_int(self->zmq, ZMQ_ROUTER_MANDATORY, 1, reterr);
    if (status == SK_OK && zmq_setsockopt(self->zmq, ZMQ_IPC_FILTER_UID, &uid, sizeof uid) != 0)
        status = SK_FAIL(reterr, SK_EIO, "cannot restrict ipc to this user: %s", zmq_strerror(errno));
    if (status != SK_OK) {
        sk_socket_destroy(&self);
        return status;
    }
    *ret_socket = self;
    return SK_OK;
}

sk_status sk_socket_create_dealer(sk_messenger *messenger, uint64_t own_id, const char *endpoint,
                                  sk_socket **ret_socket, sk_error *reterr) {
    SK_ASSERT(messenger && own_id != 0 && endpoint && ret_socket);
    sk_socket *self = NULL;
    uint8_t routing[ROUTING_SIZE];
    SK_TRY(open_socket(messenger, ZMQ_DEALER, LINGER_MS, &self, reterr));
    self->own_id = own_id;
    write_routing(own_id, routing);
    if (zmq_setsockopt(self->zmq, ZMQ_ROUTING_ID, routing, sizeof routing) != 0 ||
        zmq_connect(self->zmq, endpoint) != 0) {
        sk_status status = SK_FAIL(reterr, SK_EIO, "cannot connect to %s: %s", endpoint, zmq_strerror(errno));
        sk_socket_destroy(&self);
        return status;
    }
    *ret_socket = self;
    return SK_OK;
}

void sk_socket_destroy(sk_socket **self_p) {
    if (!self_p || !*self_p) return;
    sk_socket *self = *self_p;
    *self_p = NULL;
    zmq_msg_close(&self->msg);
    zmq_close(self->zmq);
    free(self->scratch);
    free(self);
}

sk_status sk_socket_bind(sk_socket *self, const char *endpoint, sk_error *reterr) {
    SK_ASSERT(self && endpoint);
    if (zmq_bind(self->zmq, endpoint) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot listen at %s: %s", endpoint, zmq_strerror(errno));
    return SK_OK;
}

/* ---- sockets: messages ------------------------------------------------------------------------------ */
static sk_status send_failed(sk_error *reterr) {
    if (errno == EHOSTUNREACH || errno == EAGAIN)
        return SK_FAIL(reterr, SK_EDEAD, "the other side is not connected");
    if (errno == ETERM) return SK_FAIL(reterr, SK_EINTERRUPTED, "the sockets were shut down");
    return SK_FAIL(reterr, SK_EIO, "cannot send: %s", zmq_strerror(errno));
}

sk_status sk_socket_send(sk_socket *self, uint64_t peer, const sk_frame *frame, sk_error *reterr) {
    SK_ASSERT(self && frame && (frame->payload || frame->size == 0));
    if (frame->size > SK_FRAME_PAYLOAD_MAX)
        return SK_FAIL(reterr, SK_ELIMIT, "a message carries at most %zu bytes, got %zu",
                       SK_FRAME_PAYLOAD_MAX, frame->size);
    zmq_msg_t msg;
    if (zmq_msg_init_size(&msg, SK_FRAME_HEAD_SIZE + frame->size) != 0)
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for a message of %zu bytes", frame->size);
    sk_frame_write_head(frame, zmq_msg_data(&msg));
    if (frame->size) memcpy((uint8_t *)zmq_msg_data(&msg) + SK_FRAME_HEAD_SIZE, frame->payload, frame->size);

    bool is_router = self->own_id == 0;
    TSAN_RELEASE(!is_router, is_router ? peer : self->own_id);
    if (is_router) {
        uint8_t routing[ROUTING_SIZE];
        write_routing(peer, routing);
        if (zmq_send(self->zmq, routing, sizeof routing, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&msg);
            return send_failed(reterr);
        }
    }
    if (zmq_msg_send(&msg, self->zmq, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&msg);
        return send_failed(reterr);
    }
    return SK_OK;
}

/* Receive one part into self->msg. */
static sk_status recv_part(sk_socket *self, sk_error *reterr) {
    int rc;
    do rc = zmq_msg_recv(&self->msg, self->zmq, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    if (rc >= 0) return SK_OK;
    if (errno == EAGAIN) return SK_ENOTFOUND;
    if (errno == ETERM) return SK_FAIL(reterr, SK_EINTERRUPTED, "the sockets were shut down");
    return SK_FAIL(reterr, SK_EIO, "cannot receive: %s", zmq_strerror(errno));
}

/* Actors may read structs out of a payload, so it must be aligned; small ipc messages are not. */
static sk_status align_payload(sk_socket *self, sk_frame *frame, sk_error *reterr) {
    if ((uintptr_t)frame->payload % PAYLOAD_ALIGN == 0 || frame->size == 0) return SK_OK;
    if (self->scratch_size < frame->size) {
        uint8_t *grown = realloc(self->scratch, frame->size); /* malloc aligns to 16 */
        if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory to receive %zu bytes", frame->size);
        self->scratch = grown;
        self->scratch_size = frame->size;
    }
    memcpy(self->scratch, frame->payload, frame->size);
    frame->payload = self->scratch;
    return SK_OK;
}

sk_status sk_socket_recv(sk_socket *self, uint64_t *ret_peer, sk_frame *ret_frame, sk_error *reterr) {
    SK_ASSERT(self && ret_frame);
    uint64_t peer = 0;
    SK_TRY(recv_part(self, reterr));
    if (self->own_id == 0) {
        peer = read_routing(zmq_msg_data(&self->msg), zmq_msg_size(&self->msg));
        if (!zmq_msg_more(&self->msg)) return SK_FAIL(reterr, SK_ECORRUPT, "message without a body");
        SK_TRY(recv_part(self, reterr));
    }
    TSAN_ACQUIRE(self->own_id == 0, self->own_id == 0 ? peer : self->own_id);

    int n_extra = 0;
    while (zmq_msg_more(&self->msg)) {
        SK_TRY(recv_part(self, reterr));
        n_extra++;
    }
    if (n_extra) return SK_FAIL(reterr, SK_ECORRUPT, "message has %d parts too many", n_extra);
    SK_TRY(sk_frame_parse(zmq_msg_data(&self->msg), zmq_msg_size(&self->msg), ret_frame, reterr));
    SK_TRY(align_payload(self, ret_frame, reterr));
    if (ret_peer) *ret_peer = peer;
    return SK_OK;
}

/* Look for a message without sleeping, for a moment. */
static bool spin(sk_socket *self) {
    if (self->n_spin_skips > 0) {
        self->n_spin_skips--;
        return false;
    }
    int64_t end_ns = sk_clock_now_ns() + SPIN_NS, now_ns = 0;
    bool found = false;
    while (!found && now_ns < end_ns) {
        int events = 0;
        size_t size = sizeof events;
        sched_yield();
        if (zmq_getsockopt(self->zmq, ZMQ_EVENTS, &events, &size) != 0) return false;
        found = events & ZMQ_POLLIN;
        now_ns = sk_clock_now_ns();
    }
    if (now_ns > end_ns + SPIN_CROWDED_NS) self->n_spin_skips = SPIN_SKIPS;
    return found;
}

bool sk_socket_wait(sk_socket *self, int fd, int timeout_ms) {
    SK_ASSERT(self);
    if (timeout_ms != 0 && self->may_spin && spin(self)) return true;
    zmq_pollitem_t items[2] = {{.socket = self->zmq, .events = ZMQ_POLLIN}, {.fd = fd, .events = ZMQ_POLLIN}};
    int rc = zmq_poll(items, fd >= 0 ? 2 : 1, timeout_ms);
    return rc >= 0 || errno == EINTR;
}
