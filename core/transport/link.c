#include "core/transport/link.h"
#include "core/base/clock.h"
#include "core/transport/link_door.h"
#include "core/transport/link_endpoint.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define LINK_MAGIC UINT32_C(0x4c4b4b53) /* "SKKL", little-endian */
/* A sleeping thread takes 20 to 50 us to wake up (virtual machines); looking that long first catches quick
 * answers, and costs little when the answer is far away. */
#define SPIN_NS 30000
/* Between two looks the core is offered to others. When one took it for this long, cores are scarce, and the
 * next waits sleep at once: being woken is then faster than having one's turn again. */
#define SPIN_CROWDED_NS 200000
#define TROUBLE_NS      1000000000 /* one peer's troubles are told this often */
enum {
    SPIN_SKIPS = 100,
    ROUTING_SIZE = 9, /* 'N' + u64: ids that begin with zero belong to ZeroMQ       */
    ALIGN = 16,
    HIGH_WATER = 256,     /* messages to one peer that wait                         */
    HIGH_WATER_IN = 16,   /* from one peer: a head of many has not much of each      */
    CURVE_BYTES = 64,     /* what encryption adds to a message; 33, by RFC 26       */
    HANDSHAKE_MS = 5000,  /* who says nothing is shown out                          */
    RECONNECT_MS = 100, RECONNECT_MAX_MS = 2000,
    KEEPALIVE_IDLE_S = 5, KEEPALIVE_EVERY_S = 2, KEEPALIVE_TIMES = 3,
    TCP_GIVE_UP_MS = 8000, /* bytes that nobody acknowledges for so long end the connection */
    LINK_FILES = 24,      /* of a context with its sockets, by measurement 15       */
    MALFORMED_MAX = 64,   /* dropped in one receive; then others have their turn    */
    TOLD_SLOTS = 64,
};
/* Who is asleep, for sk_link_wake. */
enum { AWAKE, ASLEEP, RUNG };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian, and so are all targets");

/* ThreadSanitizer does not see into libzmq, so it must be told that a message orders what was written before
 * it was sent and what is read after it was received. One address per session and direction. */
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
static char tsan_keys[2][TSAN_KEYS]; /* [towards the head?][session] */
#define TSAN_RELEASE(up, session) __tsan_release(&tsan_keys[up][(session) % TSAN_KEYS])
#define TSAN_ACQUIRE(up, session) __tsan_acquire(&tsan_keys[up][(session) % TSAN_KEYS])
#else
#define TSAN_RELEASE(up, session) ((void)(session))
#define TSAN_ACQUIRE(up, session) ((void)(session))
#endif

typedef struct link_head {
    uint32_t magic;
    uint16_t version, kind;
    uint64_t seq, session;
    uint32_t line, generation;
    uint64_t a, b;
    uint32_t size;
    uint8_t  zeros[12];
} link_head;
_Static_assert(sizeof(link_head) == SK_LINK_HEAD_SIZE, "no padding in the wire head");

/* When a peer's trouble was told last. Two that share a slot tell a little more. */
typedef struct told {
    uint64_t peer;
    int64_t  at_ns;
} told;

struct sk_link {
    const sk_zmq_lib *zmq;
    void             *context, *socket;
    sk__door         *door;
    uint64_t          session; /* of a node; 0: the head                                */
    char              endpoint[SK_ENDPOINT_SIZE];
    int               wake_fd;
    atomic_int        sleep;   /* AWAKE, ASLEEP, RUNG                                   */
    bool              may_spin;
    int               n_spin_skips; /* waits that are still to sleep at once            */
    zmq_msg_t         msg;     /* the last one received; frames point into it           */
    uint8_t          *scratch; /* an aligned copy where ZeroMQ's own memory is not aligned */
    sk_link_stats     stats;
    void (*on_trouble)(void *arg, const char *text);
    void             *arg;
    told              told[TOLD_SLOTS];
};

/* ---- frames ----------------------------------------------------------------------------------------- */
void sk_link_write_head(const sk_link_frame *frame, uint8_t ret_head[SK_LINK_HEAD_SIZE]) {
    SK_ASSERT(frame && ret_head && frame->size <= SK_LINK_PAYLOAD_MAX);
    link_head head = {.magic = LINK_MAGIC,
                      .version = SK_LINK_VERSION,
                      .kind = frame->kind,
                      .seq = frame->seq,
                      .session = frame->session,
                      .line = frame->line,
                      .generation = frame->generation,
                      .a = frame->a,
                      .b = frame->b,
                      .size = (uint32_t)frame->size};
    memcpy(ret_head, &head, sizeof head);
}

sk_status sk_link_parse(const void *bytes, size_t size, sk_link_frame *ret_frame, sk_error *reterr) {
    SK_ASSERT((bytes || size == 0) && ret_frame);
    static const uint8_t zeros[sizeof(((link_head *)0)->zeros)];
    link_head            head;
    if (size < sizeof head)
        return SK_FAIL(reterr, SK_ECORRUPT, "frame of %zu bytes is shorter than its head (%zu)", size, sizeof head);
    memcpy(&head, bytes, sizeof head);
    if (head.magic != LINK_MAGIC)
        return SK_FAIL(reterr, SK_ECORRUPT, "frame begins with %08x, wanted %08x", head.magic, LINK_MAGIC);
    if (head.version != SK_LINK_VERSION)
        return SK_FAIL(reterr, SK_EVERSION, "frame has version %d, wanted %d", head.version, SK_LINK_VERSION);
    if (memcmp(head.zeros, zeros, sizeof zeros) != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "frame has something where 0 belongs");
    if (head.size > SK_LINK_PAYLOAD_MAX || head.size != size - sizeof head)
        return SK_FAIL(reterr, SK_ECORRUPT,
                       "frame says it carries %" PRIu32 " bytes, it has %zu; up to %zu are possible", head.size,
                       size - sizeof head, SK_LINK_PAYLOAD_MAX);
    *ret_frame = (sk_link_frame){.kind = head.kind,
                                 .session = head.session,
                                 .seq = head.seq,
                                 .line = head.line,
                                 .generation = head.generation,
                                 .a = head.a,
                                 .b = head.b,
                                 .payload = (const uint8_t *)bytes + sizeof head,
                                 .size = head.size};
    return SK_OK;
}

bool sk_link_order_take(sk_link_order *self, uint64_t seq) {
    if (seq != self->n_received) return false;
    self->n_received++;
    return true;
}

/* ---- trouble ---------------------------------------------------------------------------------------- */
/* `peer` 0: who has no name. */
static void tell(sk_link *self, uint64_t peer, const char *text) {
    if (!self->on_trouble) return;
    told   *slot = &self->told[peer % TOLD_SLOTS];
    int64_t now_ns = sk_clock_now_ns();
    if (slot->at_ns && slot->peer == peer && now_ns - slot->at_ns < TROUBLE_NS) return;
    *slot = (told){peer, now_ns};
    self->on_trouble(self->arg, text);
}

static void tell_of_door(sk_link *self) {
    char text[SK_DOOR_TEXT];
    if (sk__door_take_trouble(self->door, text)) tell(self, 0, text);
}

static void drop_malformed(sk_link *self, uint64_t peer, const char *why) {
    char text[640];
    self->stats.n_malformed++;
    if (self->session) snprintf(text, sizeof text, "dropped a frame of the head: %s", why);
    else if (peer) snprintf(text, sizeof text, "dropped a frame of session %016" PRIx64 ": %s", peer, why);
    else snprintf(text, sizeof text, "dropped a frame of somebody who is no node: %s", why);
    tell(self, peer, text);
}

/* ---- life ------------------------------------------------------------------------------------------- */
/* libzmq aborts where the files of its own threads cannot be opened; so be sure of them before. */
static sk_status check_files(sk_error *reterr) {
    int fds[LINK_FILES], n = 0;
    while (n < LINK_FILES && (fds[n] = eventfd(0, EFD_CLOEXEC)) >= 0) n++;
    bool all = n == LINK_FILES;
    while (n > 0) close(fds[--n]);
    if (all) return SK_OK;
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    return SK_FAIL(reterr, SK_ELIMIT,
                   "no room for the %d files that ZeroMQ wants (limit: %llu open files by ulimit -n)", LINK_FILES,
                   (unsigned long long)files.rlim_cur);
}

/* Spinning pays only where the other side can run meanwhile. */
static bool has_two_cores(void) {
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
}

static sk_status set_option(sk_link *self, int option, const void *value, size_t size, sk_error *reterr) {
    if (self->zmq->setsockopt(self->socket, option, value, size) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot set ZeroMQ option %d: %s", option, self->zmq->strerror(errno));
    return SK_OK;
}

typedef struct int_option {
    int option, value;
} int_option;

static sk_status set_options(sk_link *self, const int_option *options, int n, sk_error *reterr) {
    for (int i = 0; i < n; i++)
        SK_TRY(set_option(self, options[i].option, &options[i].value, sizeof options[i].value, reterr));
    return SK_OK;
}

static sk_status set_common(sk_link *self, const sk__endpoint *endpoint, sk_error *reterr) {
    const int_option options[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_SNDHWM, HIGH_WATER},
        {ZMQ_RCVHWM, HIGH_WATER_IN},
        {ZMQ_IPV6, endpoint->wants_ipv6},
        {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S},
        {ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_EVERY_S},
        {ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_TIMES},
        {ZMQ_TCP_MAXRT, TCP_GIVE_UP_MS},
    };
    int64_t max_size = SK_LINK_HEAD_SIZE + (int64_t)SK_LINK_PAYLOAD_MAX + CURVE_BYTES;
    SK_TRY(set_options(self, options, SK_COUNT(options), reterr));
    return set_option(self, ZMQ_MAXMSGSIZE, &max_size, sizeof max_size, reterr);
}

static void write_routing(uint64_t session, uint8_t ret_routing[ROUTING_SIZE]) {
    ret_routing[0] = 'N';
    memcpy(ret_routing + 1, &session, sizeof session);
}

/* 0 when it is none of ours. */
static uint64_t read_routing(const uint8_t *routing, size_t size) {
    uint64_t session = 0;
    if (size == ROUTING_SIZE && routing[0] == 'N') memcpy(&session, routing + 1, sizeof session);
    return session;
}

static sk_status set_head(sk_link *self, const sk_cluster_key *key, sk_error *reterr) {
    /* Two of one name: the second one is not heard. A peer that is gone, or whose way is full, is told apart. */
    const int_option options[] = {{ZMQ_ROUTER_MANDATORY, 1}, {ZMQ_ROUTER_HANDOVER, 0}};
    const int_option curve[] = {{ZMQ_CURVE_SERVER, 1}};
    SK_TRY(set_options(self, options, SK_COUNT(options), reterr));
    if (!key) return SK_OK;
    SK_TRY(set_options(self, curve, SK_COUNT(curve), reterr));
    SK_TRY(set_option(self, ZMQ_ZAP_DOMAIN, SK_DOOR_DOMAIN, strlen(SK_DOOR_DOMAIN), reterr));
    return set_option(self, ZMQ_CURVE_SECRETKEY, key->head_secret, SK_KEY_Z85, reterr);
}

static sk_status set_node(sk_link *self, const sk_cluster_key *key, sk_error *reterr) {
    /* ZMQ_IMMEDIATE stays off: the first frame may be sent before the connection stands. */
    const int_option options[] = {{ZMQ_RECONNECT_IVL, RECONNECT_MS}, {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS}};
    uint8_t          routing[ROUTING_SIZE];
    write_routing(self->session, routing);
    SK_TRY(set_options(self, options, SK_COUNT(options), reterr));
    SK_TRY(set_option(self, ZMQ_ROUTING_ID, routing, sizeof routing, reterr));
    if (!key) return SK_OK;
    SK_TRY(set_option(self, ZMQ_CURVE_SERVERKEY, key->head_public, SK_KEY_Z85, reterr));
    SK_TRY(set_option(self, ZMQ_CURVE_PUBLICKEY, key->node_public, SK_KEY_Z85, reterr));
    return set_option(self, ZMQ_CURVE_SECRETKEY, key->node_secret, SK_KEY_Z85, reterr);
}

static void on_news(void *link) { sk_link_wake(link); }

static sk_status start_door(sk_link *self, const sk_cluster_key *key, sk_error *reterr) {
    sk__door_params door = {.zmq = self->zmq, .context = self->context, .socket = self->socket,
                            .is_head = self->session == 0, .on_news = on_news, .arg = self};
    uint8_t         node_key[SK_DOOR_KEY_BYTES];
    if (key && door.is_head) {
        SK_TRY(sk_cluster_key_node_bytes(key, node_key, reterr));
        door.key = node_key;
    }
    return sk__door_create(&door, &self->door, reterr);
}

/* All but listening and connecting. What fails is cleaned up by the caller. */
static sk_status open_link(sk_link *self, const sk_link_params *params, const sk__endpoint *endpoint,
                           sk_error *reterr) {
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) return SK_FAIL(reterr, SK_ELIMIT, "cannot open a file: %s", strerror(errno));
    self->scratch = aligned_alloc(64, SK_LINK_PAYLOAD_MAX);
    if (!self->scratch) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a link");
    self->context = self->zmq->ctx_new();
    if (!self->context) return SK_FAIL(reterr, SK_EIO, "cannot start ZeroMQ: %s", self->zmq->strerror(errno));
    self->socket = self->zmq->socket(self->context, self->session ? ZMQ_DEALER : ZMQ_ROUTER);
    if (!self->socket)
        return SK_FAIL(reterr, errno == EMFILE ? SK_ELIMIT : SK_EIO, "cannot open a socket: %s",
                       self->zmq->strerror(errno));
    SK_TRY(set_common(self, endpoint, reterr));
    SK_TRY(self->session ? set_node(self, params->key, reterr) : set_head(self, params->key, reterr));
    return start_door(self, params->key, reterr);
}

static sk_status begin(const sk_link_params *params, sk__endpoint_use use, sk__endpoint *ret_endpoint,
                       sk_link **ret_link, sk_error *reterr) {
    const sk_zmq_lib *zmq = NULL;
    SK_TRY(sk__endpoint_parse(params->endpoint, use, ret_endpoint, reterr));
    if (!params->key && !ret_endpoint->is_loopback)
        return SK_FAIL(reterr, SK_EINVAL,
                       "%s: without a key only this machine itself can be used (tcp://127.0.0.1:PORT): anybody could "
                       "come in or listen", params->endpoint);
    SK_TRY(sk_zmq_lib_get(&zmq, reterr));
    SK_TRY(check_files(reterr));
    sk_link *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a link");
    self->zmq = zmq;
    self->session = use == SK__TO_CONNECT ? params->session : 0;
    self->on_trouble = params->on_trouble;
    self->arg = params->arg;
    self->may_spin = has_two_cores();
    self->wake_fd = -1;
    zmq->msg_init(&self->msg);
    sk_status status = open_link(self, params, ret_endpoint, reterr);
    if (status != SK_OK) {
        sk_link_destroy(&self, 0);
        return status;
    }
    *ret_link = self;
    return SK_OK;
}

/* "Address already in use" in the middle of a sentence. */
static sk_status failed_at(const sk_link *self, const char *what, const char *where, sk_error *reterr) {
    const char *why = self->zmq->strerror(errno);
    return SK_FAIL(reterr, SK_EIO, "cannot %s %s: %c%s", what, where, tolower((unsigned char)why[0]),
                   why[0] ? why + 1 : "");
}

sk_status sk_link_listen(const sk_link_params *params, sk_link **ret_link, sk_error *reterr) {
    SK_ASSERT(params && params->endpoint && ret_link);
    sk__endpoint endpoint;
    sk_link     *self = NULL;
    sk_status    status = SK_OK;
    SK_TRY(begin(params, SK__TO_LISTEN, &endpoint, &self, reterr));
    size_t size = sizeof self->endpoint;
    if (self->zmq->bind(self->socket, endpoint.text) != 0)
        SK_TRY_GOTO(failed_at(self, "listen at", params->endpoint, reterr));
    if (self->zmq->getsockopt(self->socket, ZMQ_LAST_ENDPOINT, self->endpoint, &size) != 0)
        SK_TRY_GOTO(failed_at(self, "tell the port of", params->endpoint, reterr));
    *ret_link = self;
    return SK_OK;
fail:
    sk_link_destroy(&self, 0);
    return status;
}

sk_status sk_link_connect(const sk_link_params *params, sk_link **ret_link, sk_error *reterr) {
    SK_ASSERT(params && params->endpoint && params->session != 0 && ret_link);
    sk__endpoint endpoint;
    sk_link     *self = NULL;
    SK_TRY(begin(params, SK__TO_CONNECT, &endpoint, &self, reterr));
    snprintf(self->endpoint, sizeof self->endpoint, "%s", endpoint.text);
    if (self->zmq->connect(self->socket, endpoint.text) != 0) {
        sk_status status = failed_at(self, "connect to", params->endpoint, reterr);
        sk_link_destroy(&self, 0);
        return status;
    }
    *ret_link = self;
    return SK_OK;
}

void sk_link_destroy(sk_link **self_p, int linger_ms) {
    if (!self_p || !*self_p) return;
    sk_link *self = *self_p;
    *self_p = NULL;
    self->zmq->msg_close(&self->msg);
    if (self->socket) {
        (void)self->zmq->setsockopt(self->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        self->zmq->close(self->socket);
    }
    if (self->context) {
        self->zmq->ctx_shutdown(self->context); /* ends the door's thread */
        sk__door_destroy(&self->door);
        while (self->zmq->ctx_term(self->context) != 0 && errno == EINTR) continue;
    }
    if (self->wake_fd >= 0) close(self->wake_fd);
    free(self->scratch);
    free(self);
}

const char *sk_link_endpoint(const sk_link *self) {
    SK_ASSERT(self);
    return self->endpoint;
}

sk_link_stats sk_link_get_stats(const sk_link *self) {
    SK_ASSERT(self);
    sk_link_stats stats = self->stats;
    stats.n_refused = sk__door_n_refused(self->door);
    return stats;
}

/* ---- sending ---------------------------------------------------------------------------------------- */
static sk_status send_failed(const sk_link *self, sk_error *reterr) {
    if (errno == EAGAIN) return SK_ELIMIT;
    if (errno == EHOSTUNREACH) return SK_FAIL(reterr, SK_EDEAD, "the other side is not connected");
    return SK_FAIL(reterr, SK_EIO, "cannot send: %s", self->zmq->strerror(errno));
}

/* Whose it is. Where it fails, nothing has been sent: only a first part is refused. */
static sk_status send_routing(sk_link *self, uint64_t session, sk_error *reterr) {
    uint8_t routing[ROUTING_SIZE];
    int     rc;
    write_routing(session, routing);
    do rc = self->zmq->send(self->socket, routing, sizeof routing, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? send_failed(self, reterr) : SK_OK;
}

sk_status sk_link_send(sk_link *self, const sk_link_frame *frame, sk_link_order *order, sk_error *reterr) {
    SK_ASSERT(self && frame && order && (frame->payload || frame->size == 0) && frame->size <= SK_LINK_PAYLOAD_MAX);
    SK_ASSERT(self->session == 0 || frame->session == self->session);
    sk_link_frame numbered = *frame;
    numbered.seq = order->n_sent;
    zmq_msg_t msg;
    size_t    size = SK_LINK_HEAD_SIZE + frame->size;
    if (self->zmq->msg_init_size(&msg, size) != 0)
        return SK_FAIL(reterr, SK_ENOMEM, "no memory for a message of %zu bytes", size);
    sk_status status = self->session == 0 ? send_routing(self, frame->session, reterr) : SK_OK;
    if (status != SK_OK) {
        self->zmq->msg_close(&msg);
        return status;
    }
    uint8_t *at = self->zmq->msg_data(&msg);
    sk_link_write_head(&numbered, at);
    if (frame->size) memcpy(at + SK_LINK_HEAD_SIZE, frame->payload, frame->size);
    TSAN_RELEASE(self->session != 0, frame->session);
    int rc;
    do rc = self->zmq->msg_send(&msg, self->socket, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        status = send_failed(self, reterr);
        self->zmq->msg_close(&msg);
        return status;
    }
    order->n_sent++;
    self->stats.n_sent++;
    self->stats.bytes_sent += size;
    return SK_OK;
}

/* ---- receiving -------------------------------------------------------------------------------------- */
/* Receive one part into self->msg. SK_ENOTFOUND (without text): none. */
static sk_status recv_part(sk_link *self, sk_error *reterr) {
    int rc;
    do rc = self->zmq->msg_recv(&self->msg, self->socket, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    if (rc >= 0) return SK_OK;
    if (errno == EAGAIN) return SK_ENOTFOUND;
    return SK_FAIL(reterr, SK_EIO, "cannot receive: %s", self->zmq->strerror(errno));
}

/* Readers use structs of a payload in place. */
static void align_payload(sk_link *self, sk_link_frame *frame) {
    if ((uintptr_t)frame->payload % ALIGN == 0) return;
    if (frame->size) memcpy(self->scratch, frame->payload, frame->size);
    frame->payload = self->scratch;
}

/* One message of whoever it is. SK_ECORRUPT, SK_EVERSION: it is malformed; *ret_peer sent it. */
static sk_status recv_message(sk_link *self, uint64_t *ret_peer, sk_link_frame *ret_frame, sk_error *reterr) {
    *ret_peer = self->session;
    SK_TRY(recv_part(self, reterr));
    if (self->session == 0) {
        *ret_peer = read_routing(self->zmq->msg_data(&self->msg), self->zmq->msg_size(&self->msg));
        if (!self->zmq->msg_more(&self->msg)) return SK_FAIL(reterr, SK_ECORRUPT, "it has no body");
        SK_TRY(recv_part(self, reterr));
    }
    TSAN_ACQUIRE(self->session == 0, *ret_peer);
    int n_extra = 0;
    for (; self->zmq->msg_more(&self->msg); n_extra++) SK_TRY(recv_part(self, reterr));
    if (n_extra) return SK_FAIL(reterr, SK_ECORRUPT, "it has %d parts too many", n_extra);
    if (*ret_peer == 0) return SK_FAIL(reterr, SK_ECORRUPT, "it has no session");
    SK_TRY(sk_link_parse(self->zmq->msg_data(&self->msg), self->zmq->msg_size(&self->msg), ret_frame, reterr));
    if (ret_frame->session != *ret_peer)
        return SK_FAIL(reterr, SK_ECORRUPT, "it says that its session is %016" PRIx64, ret_frame->session);
    return SK_OK;
}

sk_status sk_link_recv(sk_link *self, sk_link_frame *ret_frame, sk_error *reterr) {
    SK_ASSERT(self && ret_frame);
    tell_of_door(self);
    for (int i = 0; i < MALFORMED_MAX; i++) {
        sk_error  err = {0};
        uint64_t  peer = 0;
        sk_status status = recv_message(self, &peer, ret_frame, &err);
        if (status == SK_ECORRUPT || status == SK_EVERSION) {
            drop_malformed(self, peer, err.msg);
            continue;
        }
        if (status != SK_OK) {
            if (status != SK_ENOTFOUND && reterr) *reterr = err;
            return status;
        }
        self->stats.n_received++;
        self->stats.bytes_received += SK_LINK_HEAD_SIZE + ret_frame->size;
        align_payload(self, ret_frame);
        return SK_OK;
    }
    return SK_ENOTFOUND;
}

/* ---- waiting ---------------------------------------------------------------------------------------- */
/* Look for a message or a wake-up without sleeping, for a moment. */
static bool spin(sk_link *self, int timeout_ms) {
    if (!self->may_spin || timeout_ms == 0) return false;
    if (self->n_spin_skips > 0) {
        self->n_spin_skips--;
        return false;
    }
    int64_t end_ns = sk_clock_now_ns() + SPIN_NS, now_ns = 0;
    bool    found = false;
    while (!found && now_ns < end_ns) {
        int    events = 0;
        size_t size = sizeof events;
        sched_yield();
        if (self->zmq->getsockopt(self->socket, ZMQ_EVENTS, &events, &size) != 0) return false;
        found = (events & ZMQ_POLLIN) || atomic_load_explicit(&self->sleep, memory_order_relaxed) == RUNG;
        now_ns = sk_clock_now_ns();
    }
    if (now_ns > end_ns + SPIN_CROWDED_NS) self->n_spin_skips = SPIN_SKIPS;
    return found;
}

void sk_link_wait(sk_link *self, int timeout_ms) {
    SK_ASSERT(self);
    int awake = AWAKE;
    if (!spin(self, timeout_ms) && atomic_compare_exchange_strong(&self->sleep, &awake, ASLEEP)) {
        zmq_pollitem_t items[2] = {{.socket = self->socket, .events = ZMQ_POLLIN},
                                   {.fd = self->wake_fd, .events = ZMQ_POLLIN}};
        /* An error is a signal, or the next receive's to tell. */
        uint64_t count;
        if (self->zmq->poll(items, 2, timeout_ms) > 0 && items[1].revents)
            while (read(self->wake_fd, &count, sizeof count) < 0 && errno == EINTR) continue;
    }
    /* Who rings from here on means the next wait. One that rang, but has not written yet, wakes that one too. */
    atomic_exchange(&self->sleep, AWAKE);
    tell_of_door(self);
}

void sk_link_wake(sk_link *self) {
    SK_ASSERT(self);
    uint64_t one = 1;
    if (atomic_exchange(&self->sleep, RUNG) != ASLEEP) return;
    while (write(self->wake_fd, &one, sizeof one) < 0 && errno == EINTR) continue;
}
