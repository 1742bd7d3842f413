/* stress_link: the head's end of a link and nodes' ends in threads, for ThreadSanitizer (which Criterion cannot start
 * under). Exit status 0: every frame came once, in order and whole, and no wake-up was lost. The only argument is a
 * seed.
 *
 * As in the runtime: the head's thread owns its link and is given work by others, who put it into a queue and wake the
 * link; it sleeps without a limit else. Nodes send and receive frames of random sizes with checksums, stop and come
 * back under new sessions. Somebody with another key knocks all the time. About 4 s. */
#include "core/base/clock.h"
#include "core/transport/link.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_NODES     4
#define N_LIVES     3 /* of each node */
#define RUN_NS      ((int64_t)1200000000) /* of each life */
#define PATIENCE_MS 60000 /* nobody sleeps this long unless a wake-up was lost */

/* Always on, and says where; the exit status is the verdict. */
#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "stress_link: %s:%d: this must hold: %s\n", __FILE__, __LINE__, #cond);          \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

enum { KIND_ASK = 1, KIND_ECHO, KIND_LAST, KIND_ORDER };
enum { WORDS_MAX = SK_LINK_PAYLOAD_MAX / 8 };

static sk_cluster_key key, other_key;
static char           endpoint[128];
static atomic_bool    is_over; /* of those who wake and who knock */

static uint64_t draw(uint64_t *state) { /* splitmix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t checksum(const uint64_t *words, size_t n) {
    uint64_t sum = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) sum = (sum ^ words[i]) * 1099511628211u;
    return sum;
}

static sk_status try_recv(sk_link *link, sk_link_frame *frame) {
    sk_error  err = {0};
    sk_status status = sk_link_recv(link, frame, &err);
    if (status != SK_OK && status != SK_ENOTFOUND) fprintf(stderr, "stress_link: %s\n", err.msg);
    CHECK(status == SK_OK || status == SK_ENOTFOUND);
    return status;
}

static void check_payload(const sk_link_frame *frame) {
    CHECK((uintptr_t)frame->payload % 16 == 0 && frame->size % 8 == 0);
    CHECK(frame->b == checksum(frame->payload, frame->size / 8));
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */
typedef struct node {
    pthread_t     thread;
    uint64_t      seed, session;
    sk_link      *link;
    sk_link_order order;
    uint64_t      n_asked, n_echoed, n_orders;
    uint64_t     *words;
} node;

static void on_frame(node *self, const sk_link_frame *frame) {
    CHECK(frame->session == self->session && sk_link_order_take(&self->order, frame->seq));
    check_payload(frame);
    if (frame->kind == KIND_ORDER) self->n_orders++;
    else CHECK(frame->kind == KIND_ECHO && frame->a == self->n_echoed++);
}

/* Wait for one frame at least. */
static void listen_a_bit(node *self, int timeout_ms) {
    sk_link_frame frame;
    sk_status     status = try_recv(self->link, &frame);
    if (status == SK_ENOTFOUND) {
        sk_link_wait(self->link, timeout_ms);
        status = try_recv(self->link, &frame);
    }
    for (; status == SK_OK; status = try_recv(self->link, &frame)) on_frame(self, &frame);
}

static void ask(node *self, uint16_t kind) {
    uint64_t r = draw(&self->seed);
    size_t   n = r % 16 == 0 ? (r >> 8) % WORDS_MAX : (r >> 8) % 64;
    for (size_t i = 0; i < n; i++) self->words[i] = draw(&self->seed);
    sk_link_frame frame = {.kind = kind, .session = self->session, .a = self->n_asked, .b = checksum(self->words, n),
                           .payload = self->words, .size = 8 * n};
    sk_status     status;
    while ((status = sk_link_send(self->link, &frame, &self->order, NULL)) == SK_ELIMIT) listen_a_bit(self, 1);
    CHECK(status == SK_OK);
    self->n_asked++;
}

static void live(node *self) {
    sk_link_params params = {.key = &key, .endpoint = endpoint, .session = self->session};
    sk_error       err = {0};
    self->order = (sk_link_order){0};
    self->n_asked = self->n_echoed = 0;
    CHECK(sk_link_connect(&params, &self->link, &err) == SK_OK);
    int64_t end_ns = sk_clock_now_ns() + RUN_NS;
    while (sk_clock_now_ns() < end_ns) {
        for (uint64_t n = draw(&self->seed) % 20; n > 0; n--) ask(self, KIND_ASK);
        if (draw(&self->seed) % 4 == 0) listen_a_bit(self, 1);
        while (self->n_asked > self->n_echoed + 100) listen_a_bit(self, PATIENCE_MS);
    }
    ask(self, KIND_LAST);
    end_ns = sk_clock_now_ns() + (int64_t)PATIENCE_MS * 1000000;
    while (self->n_echoed < self->n_asked && sk_clock_now_ns() < end_ns) listen_a_bit(self, PATIENCE_MS);
    CHECK(self->n_echoed == self->n_asked);
    sk_link_destroy(&self->link, 0);
}

static void *run_node(void *arg) {
    node *self = arg;
    self->words = aligned_alloc(64, SK_LINK_PAYLOAD_MAX);
    CHECK(self->words);
    for (int i = 0; i < N_LIVES; i++) {
        self->session = draw(&self->seed) | 1;
        live(self);
    }
    free(self->words);
    return NULL;
}

/* ---- the head --------------------------------------------------------------------------------------------------- */
typedef struct client {
    uint64_t      session;
    sk_link_order order;
} client;

typedef struct head {
    sk_link        *link;
    client          clients[N_NODES * N_LIVES];
    int             n_clients, n_ended;
    uint64_t        n_echoes, n_orders;
    pthread_mutex_t lock; /* of what others want sent */
    uint64_t        n_wanted;
} head;

static client *client_of(head *self, uint64_t session) {
    for (int i = 0; i < self->n_clients; i++)
        if (self->clients[i].session == session) return &self->clients[i];
    CHECK(self->n_clients < N_NODES * N_LIVES);
    self->clients[self->n_clients].session = session;
    return &self->clients[self->n_clients++];
}

static void send_back(head *self, client *to, const sk_link_frame *frame) {
    static _Alignas(64) uint64_t copy[WORDS_MAX];
    memcpy(copy, frame->payload, frame->size);
    sk_link_frame back = *frame;
    back.kind = KIND_ECHO;
    back.payload = copy;
    sk_status status;
    while ((status = sk_link_send(self->link, &back, &to->order, NULL)) == SK_ELIMIT) usleep(200);
    CHECK(status == SK_OK);
    self->n_echoes++;
}

/* What others asked for: a frame to whoever came last, if it is there still. */
static void send_orders(head *self) {
    pthread_mutex_lock(&self->lock);
    uint64_t n = self->n_wanted;
    pthread_mutex_unlock(&self->lock);
    while (self->n_orders < n) {
        self->n_orders++;
        if (self->n_clients == 0) continue;
        client       *to = &self->clients[self->n_clients - 1];
        sk_link_frame order = {.kind = KIND_ORDER, .session = to->session, .b = checksum(NULL, 0)};
        sk_status     status = sk_link_send(self->link, &order, &to->order, NULL);
        CHECK(status == SK_OK || status == SK_ELIMIT || status == SK_EDEAD);
    }
}

static void *run_head(void *arg) {
    head *self = arg;
    while (self->n_ended < N_NODES * N_LIVES) {
        sk_link_frame frame;
        send_orders(self);
        if (try_recv(self->link, &frame) == SK_ENOTFOUND) {
            sk_link_wait(self->link, PATIENCE_MS);
            continue;
        }
        client *from = client_of(self, frame.session);
        CHECK(sk_link_order_take(&from->order, frame.seq));
        check_payload(&frame);
        send_back(self, from, &frame);
        if (frame.kind == KIND_LAST) self->n_ended++;
    }
    return NULL;
}

/* Wants something of the head, and sees that it is done: nothing else would make a lost wake-up good at the end. */
static void *run_other(void *arg) {
    head    *self = arg;
    uint64_t seed = 5;
    while (!atomic_load(&is_over)) {
        pthread_mutex_lock(&self->lock);
        self->n_wanted++;
        pthread_mutex_unlock(&self->lock);
        sk_link_wake(self->link);
        usleep((useconds_t)(draw(&seed) % 500));
    }
    return NULL;
}

/* ---- wake-ups alone: in turns, nothing else makes a lost one good ------------------------------------------------ */
typedef struct turns {
    sk_link    *link;
    atomic_uint asked, answered;
} turns;
enum { N_TURNS = 20000 };

static void *run_waker(void *arg) {
    turns *self = arg;
    for (unsigned i = 1; i <= N_TURNS; i++) {
        atomic_store(&self->asked, i);
        sk_link_wake(self->link);
        int64_t end_ns = sk_clock_now_ns() + (int64_t)PATIENCE_MS * 1000000 / 2;
        for (int k = 0; atomic_load(&self->answered) != i; k++) {
            if (i % 64 == 0 || k > 1000) usleep(100); /* so that the other one sleeps, too */
            CHECK(sk_clock_now_ns() < end_ns);
        }
        if (i % 64 == 0) usleep(100);
    }
    return NULL;
}

static void take_turns(sk_link *link) {
    turns     self = {.link = link};
    pthread_t waker;
    CHECK(pthread_create(&waker, NULL, run_waker, &self) == 0);
    while (atomic_load(&self.answered) < N_TURNS) {
        unsigned asked = atomic_load(&self.asked);
        if (asked != atomic_load(&self.answered)) atomic_store(&self.answered, asked);
        else sk_link_wait(link, PATIENCE_MS);
    }
    CHECK(pthread_join(waker, NULL) == 0);
}

/* ---- somebody who does not belong -------------------------------------------------------------------------------- */
static void *run_stranger(void *arg) {
    (void)arg;
    uint64_t session = 2; /* nodes have odd ones */
    while (!atomic_load(&is_over)) {
        sk_link_params params = {.key = &other_key, .endpoint = endpoint, .session = session += 2};
        sk_link_order  order = {0};
        sk_link_frame  frame = {.kind = KIND_ASK, .session = session};
        sk_link       *link = NULL;
        CHECK(sk_link_connect(&params, &link, NULL) == SK_OK);
        CHECK(sk_link_send(link, &frame, &order, NULL) == SK_OK);
        for (int i = 0; i < 5; i++) {
            CHECK(try_recv(link, &frame) == SK_ENOTFOUND);
            sk_link_wait(link, 20);
        }
        sk_link_destroy(&link, 0);
    }
    return NULL;
}

static void on_trouble(void *arg, const char *text) {
    CHECK(strstr(text, "refused a connection"));
    ++*(int *)arg;
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)sk_clock_now_ns();
    printf("seed %lu\n", (unsigned long)seed);
    sk_error  err = {0};
    node      nodes[N_NODES] = {0};
    head      self = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t head_thread, other, stranger;
    int       n_troubles = 0;
    CHECK(sk_cluster_key_create(&key, &err) == SK_OK && sk_cluster_key_create(&other_key, &err) == SK_OK);
    sk_link_params params = {.key = &key, .endpoint = "tcp://127.0.0.1:*", .on_trouble = on_trouble};
    params.arg = &n_troubles;
    CHECK(sk_link_listen(&params, &self.link, &err) == SK_OK);
    snprintf(endpoint, sizeof endpoint, "%s", sk_link_endpoint(self.link));
    take_turns(self.link);
    CHECK(pthread_create(&head_thread, NULL, run_head, &self) == 0);
    CHECK(pthread_create(&other, NULL, run_other, &self) == 0);
    CHECK(pthread_create(&stranger, NULL, run_stranger, NULL) == 0);
    uint64_t n_orders = 0;
    for (int i = 0; i < N_NODES; i++) {
        nodes[i].seed = seed + (uint64_t)i;
        CHECK(pthread_create(&nodes[i].thread, NULL, run_node, &nodes[i]) == 0);
    }
    for (int i = 0; i < N_NODES; i++) {
        CHECK(pthread_join(nodes[i].thread, NULL) == 0);
        n_orders += nodes[i].n_orders;
    }
    CHECK(pthread_join(head_thread, NULL) == 0);
    atomic_store(&is_over, true);
    CHECK(pthread_join(other, NULL) == 0 && pthread_join(stranger, NULL) == 0);
    sk_link_stats stats = sk_link_get_stats(self.link);
    CHECK(stats.n_malformed == 0 && stats.n_refused > 0 && n_troubles > 0);
    printf("%lu frames there and back, %lu orders got, %lu of a stranger's connections refused, told %d times\n",
           (unsigned long)self.n_echoes, (unsigned long)n_orders, (unsigned long)stats.n_refused, n_troubles);
    sk_link_destroy(&self.link, 0);
    return 0;
}
