/* stress_client: an actor of a worker with four threads and two threads of its program's own, all of which put, get,
 * submit and release at the same time through one line, while a driver answers what it is asked. Each call returns
 * what it should, and nothing stays counted. */
#include "core/base/clock.h"
#include "core/runtime/internal.h"
#include "core/runtime/worker_process.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 0, STORE = 8 << 20, N_CALLS = 400, N_ROUNDS = 20, N_THREADS = 4, LONG_MS = 60000, LARGE = 5000,
       FIRST_ID = 1000, IDS = 1 << 20,
       SLOT = 8192, SLOTS = STORE / SLOT };

static void check(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "stress_client: %s\n", what);
    exit(1);
}

/* ---- the worker's side ------------------------------------------------------------------------------------------- */
/* A little of everything; gives how many of its rounds went well. */
static sk_status play(sk__client *client, int *ret_n, sk_error *reterr) {
    static const char bytes[LARGE];
    for (int i = 0; i < N_ROUNDS; i++) {
        sk_ref   put = {0}, large = {0}, result = {0};
        sk_bytes value;
        SK_TRY(sk__client_put(client, &i, sizeof i, &put, reterr));
        SK_TRY(sk__client_put(client, bytes, sizeof bytes, &large, reterr));
        sk_arg args[] = {sk_by_value(&i, sizeof i), sk_by_ref(put)};
        SK_TRY(sk__client_submit(client, &(sk_task){.function = "t.any", .args = args, .n_args = 2}, &result, reterr));
        sk__client_acquire(client, put);
        SK_TRY(sk__client_get(client, put, 0, &value, reterr));
        *ret_n += *(const int *)value.data == i;
        sk_ref  both[] = {result, large};
        uint8_t ended[2];
        int     n = 0;
        SK_TRY(sk__client_wait(client, both, 2, 2, LONG_MS, ended, &n, reterr));
        SK_TRY(sk__client_get(client, result, 0, &value, reterr));
        *ret_n += memcmp(value.data, "result", 6) == 0 && n == 2;
        sk__client_release(client, &(sk_ref){put.id});
        sk__client_release(client, &put);
        sk__client_release(client, &large);
        sk__client_release(client, &result);
    }
    return SK_OK;
}

static void *play_freely(void *arg) {
    int      n = 0;
    sk_error err = {0};
    check(play(arg, &n, &err) == SK_OK, err.msg);
    check(n == 2 * N_ROUNDS, "a thread of its own got other values");
    return NULL;
}

static pthread_t own_threads[2];
static sk_status create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)reterr;
    *ret_self = own_threads;
    for (int i = 0; i < 2; i++)
        check(pthread_create(&own_threads[i], NULL, play_freely, call->rt->client) == 0, "no thread");
    return SK_OK;
}

static void destroy(void *self) {
    (void)self;
    for (int i = 0; i < 2; i++) pthread_join(own_threads[i], NULL);
}

static sk_status run(void *self, int method, sk_call *call, sk_error *reterr) {
    (void)self, (void)method;
    int n = 0;
    SK_TRY(play(call->rt->client, &n, reterr));
    return sk_call_write(call, 0, &n, sizeof n, reterr);
}

static const char *const     methods[] = {"run"};
static const sk_actor_class  player = {"t.player", methods, 1, create, run, destroy, NULL};
static const sk_actor_class *classes[] = {&player};
static const sk_module       module = {SK_MODULE_ABI, sizeof(sk_module), "t", NULL, 0, classes, 1};

typedef struct worker {
    sk_board       *board;
    sk__store_view  store;
    sk_registry    *registry;
} worker;

static void *run_worker(void *arg) {
    worker *self = arg;
    check(sk__worker_serve(self->board, LINE, self->store, self->registry) == SK__EXIT_STOPPED, "the worker failed");
    return NULL;
}

/* ---- the driver's side ------------------------------------------------------------------------------------------- */
static sk_line       *line;
static sk_ring_writer down;
static sk_ring_reader up;
static uint64_t       next_id = FIRST_ID;
static int            free_slots[SLOTS], n_free_slots; /* of the store */
static int            counts[IDS], n_replies, n_right, n_blocked;
static bool           is_blocked[N_CALLS + 2]; /* by job; one that waits on may say BLOCKED again */
static sk_extent      extents[IDS]; /* of large objects */

static void say(sk_message head, const void *payload, size_t size) {
    sk_message *at;
    while (!(at = sk_ring_reserve(&down, sizeof head + size))) sk_ring_wait_room(&down, 1000000);
    *at = head;
    at->magic = SK_MESSAGE_MAGIC;
    if (size) memcpy(at + 1, payload, size);
    sk_ring_commit(&down, sizeof head + size);
    sk_bell_ring(&line->bell);
}

static int *count_of(uint64_t id) {
    check(id >= FIRST_ID && id < next_id, "an id that was not granted");
    return &counts[id - FIRST_ID];
}

static void on_ids(const sk_message *m) {
    uint64_t ids[2048];
    check(m->a <= 2048 && next_id + (uint64_t)m->a < IDS, "too many ids");
    for (int64_t i = 0; i < m->a; i++) ids[i] = next_id++;
    say((sk_message){.kind = SK_MSG_ANSWER, .job = m->job}, ids, (size_t)m->a * sizeof *ids);
}

static void on_alloc(const sk_message *m) {
    check(m->a <= SLOT && n_free_slots > 0, "more memory is wanted than can be");
    sk_extent extent = {(uint64_t)free_slots[--n_free_slots] * SLOT, (uint64_t)m->a};
    say((sk_message){.kind = SK_MSG_ANSWER, .job = m->job}, &extent, sizeof extent);
}

static void on_put(const sk_message *m, sk_bytes payload) {
    sk_record record;
    check(sk_packed_next(&payload, &record, NULL) == SK_OK, "a damaged object");
    *count_of(m->subject) += 1;
    if (record.kind == SK_PACKED_EXTENT) extents[m->subject - FIRST_ID] = record.extent;
}

static void on_submit(sk_bytes payload) {
    _Alignas(16) uint8_t packed[64];
    uint64_t             id;
    memcpy(&id, (const uint8_t *)payload.data + sizeof(sk_submit_head), sizeof id);
    *count_of(id) += 1;
    sk_packed_put_value(packed, "result", 6);
    say((sk_message){.kind = SK_MSG_VALUE, .subject = id}, packed, sk_packed_value_size(6));
}

static void on_fetch(const sk_message *m) {
    _Alignas(16) uint8_t packed[64];
    sk_packed_put_extent(packed, extents[m->subject - FIRST_ID]);
    check(*count_of(m->subject) > 0, "an object was read after its release");
    say((sk_message){.kind = SK_MSG_VALUE, .subject = m->subject}, packed, SK_PACKED_EXTENT_SIZE);
}

static void on_reply(const sk_message *m, sk_bytes payload) {
    sk_record record;
    check(m->status == SK_OK, "a call failed");
    n_replies++;
    if (m->job == 1) return;
    check(sk_packed_next(&payload, &record, NULL) == SK_OK && record.value.size == sizeof(int), "a damaged answer");
    n_right += *(const int *)record.value.data == 2 * N_ROUNDS;
}

static void on_release(uint64_t id) {
    sk_extent extent = extents[id - FIRST_ID];
    check(*count_of(id) > 0, "an object was released more often than counted");
    *count_of(id) -= 1;
    if (*count_of(id) == 0 && extent.size > 0) free_slots[n_free_slots++] = (int)(extent.offset / SLOT);
}

/* False: it was BYE. */
static int on_message(const sk_message *m, sk_bytes payload) {
    const uint64_t *ids = payload.data;
    switch (m->kind) {
    case SK_MSG_IDS: on_ids(m); break;
    case SK_MSG_ALLOC: on_alloc(m); break;
    case SK_MSG_PUT: on_put(m, payload); break;
    case SK_MSG_SUBMIT: on_submit(payload); break;
    case SK_MSG_FETCH: on_fetch(m); break;
    case SK_MSG_REPLY: on_reply(m, payload); break;
    case SK_MSG_ACQUIRE: for (size_t i = 0; i < payload.size / 8; i++) *count_of(ids[i]) += 1; break;
    case SK_MSG_RELEASE: for (size_t i = 0; i < payload.size / 8; i++) on_release(ids[i]); break;
    case SK_MSG_BLOCKED:
    case SK_MSG_UNBLOCKED: {
        bool blocked = m->kind == SK_MSG_BLOCKED;
        check(m->job < SK_COUNT(is_blocked), "a job that is none waits");
        check(blocked || is_blocked[m->job], "a job goes on that did not wait");
        n_blocked += blocked - is_blocked[m->job];
        is_blocked[m->job] = blocked;
        break;
    }
    case SK_MSG_HELLO: break;
    case SK_MSG_BYE: return 0;
    default: check(0, "a message that nobody expects");
    }
    return 1;
}

static void order_calls(void) {
    _Alignas(16) uint8_t packed[64];
    sk_packed_put_value(packed, "player", 6);
    say((sk_message){.kind = SK_MSG_CREATE, .job = 1, .subject = 5, .function = sk_function_hash("t.player"),
                     .a = N_THREADS},
        packed, sk_packed_value_size(6));
    for (int i = 0; i < N_CALLS; i++)
        say((sk_message){.kind = SK_MSG_CALL, .job = 2 + (uint64_t)i, .subject = 5, .n_returns = 1}, NULL, 0);
    say((sk_message){.kind = SK_MSG_STOP}, NULL, 0);
}

static void drive(void) {
    int64_t until_ns = sk_clock_now_ns() + (int64_t)LONG_MS * 1000000;
    for (;;) {
        const void       *bytes;
        size_t            size;
        const sk_message *message = NULL;
        sk_bytes          payload = {0};
        sk_status         status = sk_ring_peek(&up, &bytes, &size, NULL);
        if (status == SK_ENOTFOUND) {
            check(sk_clock_now_ns() < until_ns, "nothing moves");
            sched_yield();
            continue;
        }
        check(status == SK_OK && sk_message_parse(bytes, size, SK_TO_DRIVER, &message, &payload, NULL) == SK_OK,
              "damaged mail");
        int goes_on = on_message(message, payload);
        sk_ring_pop(&up);
        if (!goes_on) return;
    }
}

int main(void) {
    sk_block *block = NULL;
    worker    it = {.store = {aligned_alloc(64, STORE), STORE}};
    pthread_t thread;
    check(it.store.data && sk_board_create("stress", &block, &it.board, NULL) == SK_OK, "no board");
    check(sk_registry_create(&it.registry, NULL) == SK_OK &&
          sk_registry_add_module(it.registry, &module, NULL) == SK_OK,
          "no registry");
    line = &it.board->lines[LINE];
    sk_ring_writer_init(&down, &line->down);
    sk_ring_reader_init(&up, &line->up);
    while (n_free_slots < SLOTS) free_slots[n_free_slots] = n_free_slots, n_free_slots++;
    order_calls();
    check(pthread_create(&thread, NULL, run_worker, &it) == 0, "no thread");
    drive();
    pthread_join(thread, NULL);
    check(n_replies == N_CALLS + 1 && n_right == N_CALLS, "not all calls were answered well");
    check(n_free_slots == SLOTS, "memory stays taken");
    check(n_blocked == 0 && atomic_load(&line->n_started) == N_CALLS + 1, "the worker counts wrongly");
    for (int i = 0; i < IDS; i++) check(counts[i] == 0, "an object stays counted");
    sk_registry_destroy(&it.registry);
    sk_block_destroy(&block);
    free(it.store.data);
    printf("stress_client: %d calls in %d threads\n", N_CALLS, N_THREADS);
    return 0;
}
