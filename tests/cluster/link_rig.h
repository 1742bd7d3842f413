/* link_rig: what the tests of links share. Functions fail the test when something goes wrong. */
#ifndef SK_TESTS_CLUSTER_LINK_RIG_H
#define SK_TESTS_CLUSTER_LINK_RIG_H
#include "core/base/clock.h"
#include "core/transport/link.h"
#include "core/transport/zmq_lib.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HELPER __attribute__((unused)) static
enum { PATIENCE_MS = 60000, SESSION = 41, OTHER = 42, A_WHILE_MS = 300 };

static sk_cluster_key cluster_key;
static char           trouble[640]; /* the last one */
static int            n_troubles;

HELPER void on_trouble(void *arg, const char *text) {
    (void)arg;
    n_troubles++;
    snprintf(trouble, sizeof trouble, "%s", text);
}

HELPER const sk_cluster_key *the_key(void) {
    sk_error err = {0};
    if (!cluster_key.head_public[0]) cr_assert_eq(sk_cluster_key_create(&cluster_key, &err), SK_OK, "%s", err.msg);
    return &cluster_key;
}

HELPER sk_link *listen_at(const char *endpoint, const sk_cluster_key *key) {
    sk_link_params params = {.key = key, .endpoint = endpoint, .on_trouble = on_trouble};
    sk_link       *head = NULL;
    sk_error       err = {0};
    cr_assert_eq(sk_link_listen(&params, &head, &err), SK_OK, "%s", err.msg);
    return head;
}

HELPER sk_link *connect_to(const char *endpoint, const sk_cluster_key *key, uint64_t session) {
    sk_link_params params = {.key = key, .endpoint = endpoint, .session = session, .on_trouble = on_trouble};
    sk_link       *node = NULL;
    sk_error       err = {0};
    cr_assert_eq(sk_link_connect(&params, &node, &err), SK_OK, "%s", err.msg);
    return node;
}

/* The next frame within timeout_ms; false: none. */
HELPER bool next_frame(sk_link *link, sk_link_frame *ret_frame, int timeout_ms) {
    int64_t  end_ns = sk_clock_now_ns() + (int64_t)timeout_ms * 1000000;
    sk_error err = {0};
    for (;;) {
        sk_status status = sk_link_recv(link, ret_frame, &err);
        if (status == SK_OK) return true;
        cr_assert_eq(status, SK_ENOTFOUND, "%s", err.msg);
        if (sk_clock_now_ns() >= end_ns) return false;
        sk_link_wait(link, 10);
    }
}

HELPER void expect_frame(sk_link *link, uint64_t session, uint64_t seq, const void *payload, size_t size) {
    sk_link_frame got = {0};
    cr_assert(next_frame(link, &got, PATIENCE_MS));
    cr_assert(got.session == session && got.seq == seq, "session %lu, seq %lu", got.session, got.seq);
    cr_assert_eq((uintptr_t)got.payload % 16, 0);
    cr_assert_eq(got.size, size);
    cr_assert_eq(memcmp(got.payload, payload, size), 0);
}

HELPER sk_status try_send(sk_link *link, uint64_t session, const void *payload, size_t size, sk_link_order *order) {
    sk_link_frame frame = {.kind = 3, .session = session, .line = 4, .generation = 5, .a = 6, .b = 7};
    frame.payload = payload;
    frame.size = size;
    return sk_link_send(link, &frame, order, NULL);
}

HELPER void send_text(sk_link *link, uint64_t session, const char *text, sk_link_order *order) {
    sk_status status;
    while ((status = try_send(link, session, text, strlen(text), order)) == SK_ELIMIT) sk_link_wait(link, 1);
    cr_assert_eq(status, SK_OK);
}

/* The node speaks first, then the head; both hear. */
HELPER void expect_they_talk(sk_link *head, sk_link *node, uint64_t session, sk_link_order *down, sk_link_order *up) {
    send_text(node, session, "up", up);
    expect_frame(head, session, up->n_sent - 1, "up", 2);
    send_text(head, session, "down", down);
    expect_frame(node, session, down->n_sent - 1, "down", 4);
}

/* Wait for a stranger's knocks to have been noticed. */
HELPER void await_refusal(sk_link *head) {
    sk_link_frame got;
    int64_t       end_ns = sk_clock_now_ns() + (int64_t)PATIENCE_MS * 1000000;
    while (sk_link_get_stats(head).n_refused == 0 && sk_clock_now_ns() < end_ns)
        cr_assert_not(next_frame(head, &got, 10));
    cr_assert_not(next_frame(head, &got, 10));
    cr_assert_gt(sk_link_get_stats(head).n_refused, 0);
}

/* ---- a peer of somebody else's make: libzmq without a link ---- */
typedef struct raw {
    const sk_zmq_lib *zmq;
    void             *context, *socket;
} raw;

HELPER raw raw_connect(const char *endpoint, const sk_cluster_key *key, const void *routing, size_t size) {
    raw      self = {0};
    int      linger_ms = 0;
    sk_error err = {0};
    cr_assert_eq(sk_zmq_lib_get(&self.zmq, &err), SK_OK, "%s", err.msg);
    self.context = self.zmq->ctx_new();
    self.socket = self.zmq->socket(self.context, ZMQ_DEALER);
    cr_assert(self.socket);
    cr_assert_eq(self.zmq->setsockopt(self.socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms), 0);
    if (size) cr_assert_eq(self.zmq->setsockopt(self.socket, ZMQ_ROUTING_ID, routing, size), 0);
    if (key) {
        cr_assert_eq(self.zmq->setsockopt(self.socket, ZMQ_CURVE_SERVERKEY, key->head_public, SK_KEY_Z85), 0);
        cr_assert_eq(self.zmq->setsockopt(self.socket, ZMQ_CURVE_PUBLICKEY, key->node_public, SK_KEY_Z85), 0);
        cr_assert_eq(self.zmq->setsockopt(self.socket, ZMQ_CURVE_SECRETKEY, key->node_secret, SK_KEY_Z85), 0);
    }
    cr_assert_eq(self.zmq->connect(self.socket, endpoint), 0);
    return self;
}

HELPER void raw_close(raw *self) {
    self->zmq->close(self->socket);
    self->zmq->ctx_term(self->context);
}

HELPER void raw_send(raw *self, const void *bytes, size_t size, int flags) {
    cr_assert_eq(self->zmq->send(self->socket, bytes, size, flags), (int)size);
}

/* As the link of `session` would send it. */
HELPER void raw_send_frame(raw *self, uint64_t session, uint64_t seq, size_t size) {
    uint8_t      *bytes = calloc(1, SK_LINK_HEAD_SIZE + size);
    sk_link_frame frame = {.kind = 1, .session = session, .seq = seq, .size = size <= SK_LINK_PAYLOAD_MAX ? size : 0};
    sk_link_write_head(&frame, bytes);
    raw_send(self, bytes, SK_LINK_HEAD_SIZE + size, 0);
    free(bytes);
}

HELPER void write_routing(uint64_t session, uint8_t ret_routing[9]) {
    ret_routing[0] = 'N';
    memcpy(ret_routing + 1, &session, sizeof session);
}

#endif
