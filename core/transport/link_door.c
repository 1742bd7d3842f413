#include "core/transport/link_door.h"
#include "core/base/clock.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ZAP_ENDPOINT     "inproc://zeromq.zap.01" /* as RFC 27 has it; every context has its own */
#define MONITOR_ENDPOINT "inproc://skiff.link.monitor"
enum { ADDRESS_SIZE = 96, EVENT_SIZE = 6, WHY_SIZE = 128, GUESTS_MAX = 256 };
#define GUEST_NS         ((int64_t)6000 * 1000 * 1000) /* whoever stays longer has shown its key, or was shown out */
#define FAILURES                                                                                             \
    (ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

/* A connection that was accepted and has not shown its key yet. */
typedef struct guest {
    int     fd;
    int64_t at_ns;
    char    address[ADDRESS_SIZE];
} guest;

struct sk__door {
    sk__door_params  params;
    const sk_zmq_lib *zmq;
    uint8_t          key[SK_DOOR_KEY_BYTES];
    pthread_t        thread;
    bool             has_thread;
    void            *zap, *monitor; /* used by the thread alone while it runs; zap NULL: does not ask */
    guest            guests[GUESTS_MAX]; /* oldest first                        */
    int              n_guests, n_answered; /* answered: refused by us, not yet gone */
    char             why[WHY_SIZE]; /* the one that ends next failed; "": none  */
    _Atomic uint64_t n_refused;
    atomic_bool      has_trouble;
    pthread_mutex_t  lock; /* of the text */
    char             trouble[SK_DOOR_TEXT];
};

static void refused(sk__door *self, const char *text) {
    atomic_fetch_add_explicit(&self->n_refused, 1, memory_order_relaxed);
    pthread_mutex_lock(&self->lock);
    snprintf(self->trouble, sizeof self->trouble, "%s", text);
    pthread_mutex_unlock(&self->lock);
    atomic_store(&self->has_trouble, true);
    self->params.on_news(self->params.arg);
}

/* ---- messages of several parts ---------------------------------------------------------------------------- */
/* The next part, cut to `size`; gives its whole size, or a negative number: nothing is there, or it is time to end. */
static int take_part(const sk_zmq_lib *zmq, void *socket, void *ret_bytes, size_t size, bool *ret_more) {
    zmq_msg_t msg;
    zmq->msg_init(&msg);
    int n = zmq->msg_recv(&msg, socket, ZMQ_DONTWAIT);
    if (n > 0 && size > 0) memcpy(ret_bytes, zmq->msg_data(&msg), (size_t)n < size ? (size_t)n : size);
    *ret_more = n >= 0 && zmq->msg_more(&msg);
    zmq->msg_close(&msg);
    return n;
}

static void skip_rest(const sk_zmq_lib *zmq, void *socket, bool more) {
    while (more && take_part(zmq, socket, NULL, 0, &more) >= 0) continue;
}

/* ---- ZAP --------------------------------------------------------------------------------------------------- */
typedef struct zap_request {
    char    version[8], id[256], domain[64], address[ADDRESS_SIZE], mechanism[16];
    size_t  id_size;
    uint8_t key[SK_DOOR_KEY_BYTES];
    bool    has_key; /* it is CURVE, and there are credentials of the right size */
} zap_request;

/* Parts: version, id, domain, address, routing id, mechanism, credentials. False: none is there (any more). */
static bool take_request(sk__door *self, zap_request *request) {
    char routing[8];
    struct {
        void  *to;
        size_t size;
    } parts[] = {{request->version, sizeof request->version - 1},
                 {request->id, sizeof request->id},
                 {request->domain, sizeof request->domain - 1},
                 {request->address, sizeof request->address - 1},
                 {routing, sizeof routing},
                 {request->mechanism, sizeof request->mechanism - 1},
                 {request->key, sizeof request->key}};
    bool more = true;
    int  n = 0;
    memset(request, 0, sizeof *request);
    for (int i = 0; i < SK_COUNT(parts) && more; i++) {
        n = take_part(self->zmq, self->zap, parts[i].to, parts[i].size, &more);
        if (n < 0) return false;
        if (i == 1) request->id_size = (size_t)n < sizeof request->id ? (size_t)n : sizeof request->id;
        request->has_key = i == SK_COUNT(parts) - 1 && n == SK_DOOR_KEY_BYTES && !more;
    }
    skip_rest(self->zmq, self->zap, more);
    request->has_key = request->has_key && strcmp(request->mechanism, "CURVE") == 0;
    return true;
}

/* Parts: version, id, status, its text, user, metadata. */
static void answer_request(sk__door *self, const zap_request *request, bool may_come_in) {
    const char *status = may_come_in ? "200" : "400", *text = may_come_in ? "OK" : "not a node of this cluster";
    const struct {
        const void *bytes;
        size_t      size;
    } parts[] = {{"1.0", 3}, {request->id, request->id_size}, {status, 3}, {text, strlen(text)}, {"", 0}, {"", 0}};
    for (int i = 0; i < SK_COUNT(parts); i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < SK_COUNT(parts) ? ZMQ_SNDMORE : 0);
        if (self->zmq->send(self->zap, parts[i].bytes, parts[i].size, flags) < 0) return; /* who asked is gone */
    }
}

static void on_request(sk__door *self) {
    zap_request request;
    char        text[SK_DOOR_TEXT];
    if (!take_request(self, &request)) return;
    bool may = strcmp(request.version, "1.0") == 0 && strcmp(request.domain, SK_DOOR_DOMAIN) == 0 && request.has_key &&
               memcmp(request.key, self->key, sizeof request.key) == 0;
    answer_request(self, &request, may);
    if (may) return;
    snprintf(text, sizeof text, "refused a connection from %s: it does not have the cluster's key", request.address);
    refused(self, text);
}

/* ---- what libzmq tells of connections ---------------------------------------------------------------------- */
static void write_address(int fd, char ret_address[ADDRESS_SIZE]) {
    struct sockaddr_storage at;
    socklen_t               size = sizeof at;
    char                    host[INET6_ADDRSTRLEN] = "";
    snprintf(ret_address, ADDRESS_SIZE, "somewhere");
    if (getpeername(fd, (struct sockaddr *)&at, &size) != 0) return; /* it is gone already */
    if (at.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&at;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(ret_address, ADDRESS_SIZE, "%s:%d", host, ntohs(in->sin_port));
    } else if (at.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)&at;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(ret_address, ADDRESS_SIZE, "[%s]:%d", host, ntohs(in->sin6_port));
    }
}

static void remove_guest(sk__door *self, int i) {
    self->n_guests--;
    memmove(&self->guests[i], &self->guests[i + 1], (size_t)(self->n_guests - i) * sizeof self->guests[0]);
}

static int find_guest(const sk__door *self, int fd) {
    for (int i = 0; i < self->n_guests; i++)
        if (self->guests[i].fd == fd) return i;
    return -1;
}

static void on_accepted(sk__door *self, int fd) {
    int old = find_guest(self, fd);
    if (old >= 0) remove_guest(self, old); /* the number is used again */
    if (self->n_guests == GUESTS_MAX) remove_guest(self, 0);
    guest *added = &self->guests[self->n_guests++];
    added->fd = fd;
    added->at_ns = sk_clock_now_ns();
    write_address(fd, added->address);
}

/* libzmq does not say whose handshake it was. A node's takes a moment, so it was most likely the newest guest's. */
static void on_success(sk__door *self) {
    if (self->n_guests > 0) remove_guest(self, self->n_guests - 1);
}

static const char *protocol_text(uint32_t value) {
    switch (value) {
    case ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: return "one side encrypts, the other does not";
    case ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: return "it has another key";
    default: return "it does not speak as skiff does";
    }
}

static void tell_why(sk__door *self, const char *address) {
    char text[SK_DOOR_TEXT];
    snprintf(text, sizeof text, "refused a connection from %s: %s", address, self->why);
    self->why[0] = 0;
    refused(self, text);
}

/* At the head the connection ends next, which tells whose it was. */
static void on_failure(sk__door *self, uint16_t event, uint32_t value, const char *endpoint) {
    char text[SK_DOOR_TEXT];
    if (self->why[0]) tell_why(self, "somewhere");
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        snprintf(self->why, sizeof self->why, "it does not accept our key (%" PRIu32 ")", value);
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
        snprintf(self->why, sizeof self->why, "%s (%" PRIx32 ")", protocol_text(value), value);
    else
        snprintf(self->why, sizeof self->why, "it ended before both knew each other%s%s", value ? ": " : "",
                 value ? self->zmq->strerror((int)value) : "");
    if (self->params.is_head) return;
    snprintf(text, sizeof text, "no connection with %s: %s%s", endpoint, self->why,
             event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL ? "; it may have another key" : "");
    self->why[0] = 0;
    refused(self, text);
}

/* Some failures are told by this alone: what is no ZeroMQ at all, what is too large. */
static void on_disconnected(sk__door *self, int fd) {
    int i = find_guest(self, fd);
    if (i < 0) { /* had shown its key, or has been here for long */
        if (self->why[0]) tell_why(self, "somewhere");
        return;
    }
    guest   gone = self->guests[i];
    int64_t age_ns = sk_clock_now_ns() - gone.at_ns;
    remove_guest(self, i);
    if (!self->why[0] && age_ns <= GUEST_NS) {
        if (self->n_answered > 0) { /* told when it was asked for */
            self->n_answered--;
            return;
        }
        snprintf(self->why, sizeof self->why, "it does not speak as a node does");
    }
    if (self->why[0]) tell_why(self, gone.address);
}

/* Parts: u16 event, u32 value; the endpoint. */
static void on_event(sk__door *self) {
    uint8_t  head[EVENT_SIZE] = {0};
    char     endpoint[160] = "";
    uint16_t event;
    uint32_t value;
    bool     more = false;
    if (take_part(self->zmq, self->monitor, head, sizeof head, &more) < 0) return;
    if (more && take_part(self->zmq, self->monitor, endpoint, sizeof endpoint - 1, &more) < 0) return;
    skip_rest(self->zmq, self->monitor, more);
    memcpy(&event, head, sizeof event);
    memcpy(&value, head + sizeof event, sizeof value);
    if (event == ZMQ_EVENT_ACCEPTED) on_accepted(self, (int)value);
    else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) on_success(self);
    else if (event == ZMQ_EVENT_DISCONNECTED) on_disconnected(self, (int)value);
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && self->params.is_head) self->n_answered++;
    else if (event & FAILURES) on_failure(self, event, value, endpoint);
}

/* ---- life -------------------------------------------------------------------------------------------------- */
static void *stand(void *arg) {
    sk__door      *self = arg;
    zmq_pollitem_t items[2] = {{.socket = self->monitor, .events = ZMQ_POLLIN},
                               {.socket = self->zap, .events = ZMQ_POLLIN}};
    for (;;) {
        int rc = self->zmq->poll(items, self->zap ? 2 : 1, -1);
        if (rc < 0 && errno != EINTR) break; /* the context was shut down */
        if (rc <= 0) continue;
        if (self->zap && items[1].revents) on_request(self);
        if (items[0].revents) on_event(self);
    }
    /* Both sockets stay open until the link is closed: without one to ask, libzmq would let everybody in. */
    return NULL;
}

static void *open_socket(sk__door *self, int type, const char *endpoint, bool listens, sk_error *reterr) {
    int   none = 0;
    void *socket = self->zmq->socket(self->params.context, type);
    if (!socket) {
        (void)SK_FAIL(reterr, SK_EIO, "cannot open a socket: %s", self->zmq->strerror(errno));
        return NULL;
    }
    /* no limit to what waits here: libzmq's own thread would wait for us */
    if (self->zmq->setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none) != 0 ||
        self->zmq->setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none) != 0 ||
        self->zmq->setsockopt(socket, ZMQ_LINGER, &none, sizeof none) != 0 ||
        (listens ? self->zmq->bind(socket, endpoint) : self->zmq->connect(socket, endpoint)) != 0) {
        (void)SK_FAIL(reterr, SK_EIO, "cannot use %s: %s", endpoint, self->zmq->strerror(errno));
        self->zmq->close(socket);
        return NULL;
    }
    return socket;
}

static sk_status start(sk__door *self, sk_error *reterr) {
    int events = FAILURES;
    if (self->params.is_head) events |= ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED;
    if (self->zmq->socket_monitor(self->params.socket, MONITOR_ENDPOINT, events) != 0)
        return SK_FAIL(reterr, errno == EMFILE ? SK_ELIMIT : SK_EIO, "cannot watch a socket: %s",
                       self->zmq->strerror(errno));
    self->monitor = open_socket(self, ZMQ_PAIR, MONITOR_ENDPOINT, false, reterr);
    if (!self->monitor) return reterr ? reterr->status : SK_EIO;
    if (self->params.key) {
        self->zap = open_socket(self, ZMQ_REP, ZAP_ENDPOINT, true, reterr);
        if (!self->zap) return reterr ? reterr->status : SK_EIO;
    }
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&self->thread, NULL, stand, self);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) return SK_FAIL(reterr, SK_ELIMIT, "cannot start a thread: %s", strerror(rc));
    self->has_thread = true;
    return SK_OK;
}

sk_status sk__door_create(const sk__door_params *params, sk__door **ret_door, sk_error *reterr) {
    SK_ASSERT(params && params->zmq && params->context && params->socket && params->on_news && ret_door);
    sk__door *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a link");
    self->params = *params;
    self->zmq = params->zmq;
    if (params->key) memcpy(self->key, params->key, sizeof self->key);
    pthread_mutex_init(&self->lock, NULL);
    sk_status status = start(self, reterr);
    if (status != SK_OK) {
        sk__door_destroy(&self);
        return status;
    }
    *ret_door = self;
    return SK_OK;
}

void sk__door_destroy(sk__door **self_p) {
    if (!self_p || !*self_p) return;
    sk__door *self = *self_p;
    *self_p = NULL;
    if (self->has_thread) pthread_join(self->thread, NULL);
    if (self->zap) self->zmq->close(self->zap);
    if (self->monitor) self->zmq->close(self->monitor);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

uint64_t sk__door_n_refused(const sk__door *self) {
    return atomic_load_explicit(&self->n_refused, memory_order_relaxed);
}

bool sk__door_take_trouble(sk__door *self, char ret_text[SK_DOOR_TEXT]) {
    if (!atomic_load_explicit(&self->has_trouble, memory_order_relaxed) || !atomic_exchange(&self->has_trouble, false))
        return false;
    pthread_mutex_lock(&self->lock);
    memcpy(ret_text, self->trouble, sizeof self->trouble);
    pthread_mutex_unlock(&self->lock);
    return true;
}
