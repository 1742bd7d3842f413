/* fake_driver: a worker in a thread of the test, whose driver the test itself plays, message by message. */
#ifndef SK_TESTS_RUNTIME_FAKE_DRIVER_H
#define SK_TESTS_RUNTIME_FAKE_DRIVER_H
#include "core/runtime/internal.h"
#include "core/runtime/worker_process.h"

enum { FAKE_LINE = 3, FAKE_STORE = 4 << 20, FAKE_PATIENCE_MS = 20000 };

typedef struct fake {
    sk_block      *block;
    sk_board      *board;
    sk_line       *line;
    uint8_t       *store;
    size_t         used;    /* of the store; nothing is given back */
    sk_registry   *registry;
    sk_ring_writer down;
    sk_ring_reader up;
    pthread_t      worker;
    int            exit_status;
    uint64_t       next_id;
    int            n_ids, n_allocs, n_frees; /* requests answered by fake_next itself */
    bool           holds_allocs;             /* they are given to the test instead    */
    _Alignas(16) uint8_t bytes[SK_RING_MESSAGE_MAX]; /* the last message of fake_next */
    sk_bytes       payload;
} fake;

/* A board, a store and a driver, and nobody on the line. */
fake *fake_create(const sk_module *module);
void  fake_destroy(fake *self);
/* ... and a worker that knows this module on the line; its HELLO is read. */
fake *fake_start(const sk_module *module);
/* Tell it to stop, read its BYE, and give everything back. Checks that it ends as it should. */
void fake_stop(fake *self);

/* Send a message; `head` without magic. */
void fake_send(fake *self, sk_message head, const void *payload, size_t size);
void fake_send_raw(fake *self, const void *bytes, size_t size);
/* The next message, checked; IDS, ALLOC and FREE are dealt with. Its payload is in self->payload. */
const sk_message *fake_next(fake *self);
/* The next one has to be of this kind. Passes over BLOCKED and UNBLOCKED, which any wait on a slow machine may say,
 * unless one of them is wanted; and over BLOCKED before UNBLOCKED, since a wait may say it again. */
const sk_message *fake_expect(fake *self, sk_message_kind kind);
/* Is nothing more said within a moment? */
bool fake_is_silent(fake *self);

/* RUN a function with packed arguments. */
void fake_run(fake *self, uint64_t job, const char *function, int n_args, sk_bytes packed, int n_returns);
/* ... with one argument by value. */
void fake_run_with(fake *self, uint64_t job, const char *function, const void *data, size_t size, int n_returns);
/* VALUE of an object. */
void fake_value(fake *self, uint64_t id, const void *data, size_t size);
/* The bytes of record i of the last message, wherever they lie. */
sk_bytes fake_record(fake *self, int i);
/* A place in the store, filled with `fill`. */
sk_extent fake_alloc(fake *self, size_t size, int fill);

#endif
