/* fake_head: a head that is played by the test itself, frame by frame, for a node that runs in a thread of the test
 * (core/runtime/node.h) with real worker processes. Functions fail the test when something goes wrong. */
#ifndef SK_TESTS_CLUSTER_FAKE_HEAD_H
#define SK_TESTS_CLUSTER_FAKE_HEAD_H
#include "core/runtime/board.h"
#include "core/runtime/node.h"
#include "core/runtime/wire.h"
#include <pthread.h>
#include <stdatomic.h>

enum { HEAD_PATIENCE_MS = 60000, HEAD_LINE = 5, HEAD_GENERATION = 3, HEAD_BYTES_MAX = 64 << 20 };
#define HEAD_BUILD "the build of the test"

typedef struct head {
    sk_link       *link;
    sk_node_params params;
    char           endpoint[128];
    pthread_t      node;
    bool           has_node;
    _Atomic bool   node_has_ended;
    sk_status      status; /* of the node, once it has ended */
    sk_error       err;
    volatile int   interrupted;
    bool           is_silent; /* no beats                     */
    uint64_t       session;
    sk_link_order  order;
    int64_t        told_ns;
    uint64_t       next_id;
    /* the last frame that came; its payload is in `bytes` */
    sk_link_frame        frame;
    _Alignas(16) uint8_t bytes[SK_LINK_PAYLOAD_MAX];
    sk_bytes             payload; /* of the message in it */
    uint8_t             *got;     /* (HEAD_BYTES_MAX) what CHUNKs brought, by offset */
    uint64_t             n_got;   /* bytes of them                                   */
    int                  n_beats;
} head;

/* Listens on loopback, without a key. */
head *head_create(void);
/* Say BYE to the node, if it is there, and give all back. The node must end as it should: with `status`. */
void head_destroy(head *self, sk_status status);
/* Start a node in a thread; `params` without endpoint, plain and interrupted. */
void head_start_node(head *self, sk_node_params params);
/* A head with a node. */
head *head_start(void);
/* Wait until it has ended; self->status and self->err. */
void head_await_node(head *self);

/* The next frame but beats, checked; CHUNKs are kept in `got` and given too. */
const sk_link_frame *head_next(head *self);
/* ... which must be of that kind; CHUNKs are passed over, unless one is wanted. */
const sk_link_frame *head_expect(head *self, sk_wire_kind kind);
void head_send(head *self, sk_link_frame frame, const void *payload, size_t size);
/* Wait for JOIN and take its session. */
const sk_wire_join *head_expect_join(head *self);
/* Answer JOIN; texts are the records behind the name (NULL-terminated): plugins and environment. */
void head_welcome(head *self, const char *const *texts);
/* A node that has joined, with a worker on HEAD_LINE that has said hello. Gives its pid. */
int head_start_worker(head *self);
/* SPAWN and its HELLO. */
int head_spawn(head *self, uint32_t line, uint32_t generation);

/* Mail to a line; `message` without magic. */
void head_mail_to(head *self, uint32_t line, uint32_t generation, sk_message message, const void *payload, size_t size);
void head_mail(head *self, sk_message message, const void *payload, size_t size); /* HEAD_LINE's */
/* RUN a function with packed arguments on HEAD_LINE. */
void head_run(head *self, uint64_t job, const char *function, int n_args, sk_bytes packed, int n_returns);
/* ... with one argument by value. */
void head_run_with(head *self, uint64_t job, const char *function, const void *data, size_t size);
void head_run_int(head *self, uint64_t job, const char *function, int32_t value);
void head_run_long(head *self, uint64_t job, const char *function, int64_t value);
/* The next message of a worker, which must be of that kind; BLOCKED and UNBLOCKED are passed over, IDS granted. */
const sk_message *head_expect_mail(head *self, sk_message_kind kind);
/* An answer whose one value is such a number. */
int64_t head_expect_long(head *self, uint64_t job);
int32_t head_expect_int(head *self, uint64_t job);
/* The end of the worker on that line, of which is said `how`. */
void head_expect_death(head *self, uint32_t line, const char *how);
/* COPY and its CHUNKs. */
void head_copy(head *self, sk_extent extent, const void *data);
/* Record i of the last message. */
sk_record head_record(head *self, int i);

#endif
