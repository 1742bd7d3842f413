/* stress_runtime: many threads at once through the runtime, for ThreadSanitizer (which Criterion cannot start
 * under), and with a seed as its argument to run the same again. Exit status 0: all went well.
 *
 * Each of several driver threads has its own runtime with thread actors that write into shared blocks; the
 * drivers read them without any other lock than the messages. Then: create and destroy in a loop, abandoned
 * calls, a worker that is left behind, processes that are killed meanwhile. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "tests/runtime/probe_classes.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_DRIVERS   3
#define N_ACTORS    6
#define N_ROUNDS    60
#define BLOCK_BYTES 4096
#define PATIENCE_MS 120000

/* Always on, and says where; the exit status is the verdict. */
#define CHECK(cond, text)                                                                                    \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "stress_runtime: %s:%d: %s: %s\n", __FILE__, __LINE__, #cond, (text));           \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static const char *worker_path;

static sk_runtime *start(int stop_timeout_ms) {
    sk_runtime_params params = {.classes = probe_classes,
                                .n_classes = probe_n_classes,
                                .worker_path = worker_path,
                                .stop_timeout_ms = stop_timeout_ms};
    sk_runtime *rt = NULL;
    sk_error err = {0};
    CHECK(sk_runtime_create(&params, &rt, &err) == SK_OK, err.msg);
    return rt;
}

static sk_actor *make(sk_runtime *rt, sk_placement placement) {
    sk_actor *actor = NULL;
    sk_error err = {0};
    sk_status status =
        sk_actor_create(rt, "probe", "probe", placement, (sk_bytes){0}, PATIENCE_MS, &actor, &err);
    CHECK(status == SK_OK, err.msg);
    return actor;
}

static sk_future *call(sk_actor *actor, int method, const void *in, size_t size) {
    sk_future *future = NULL;
    sk_error err = {0};
    CHECK(sk_actor_call(actor, method, (sk_bytes){in, size}, &future, &err) == SK_OK, err.msg);
    return future;
}

/* Every actor fills its block, the driver reads them all, gives them back, and so on. */
static void share_blocks(sk_runtime *rt) {
    sk_actor *actors[N_ACTORS];
    sk_block *blocks[N_ACTORS] = {NULL};
    sk_error err = {0};
    for (int i = 0; i < N_ACTORS; i++) {
        actors[i] = make(rt, SK_PLACE_THREAD);
        CHECK(sk_block_create(BLOCK_BYTES, &blocks[i], &err) == SK_OK, err.msg);
    }
    for (int round = 0; round < N_ROUNDS; round++) {
        sk_future *futures[N_ACTORS];
        for (int i = 0; i < N_ACTORS; i++) {
            fill_order order = {.ref = sk_block_get_ref(blocks[i]), .byte = (uint8_t)(round * N_ACTORS + i)};
            futures[i] = call(actors[i], PROBE_BLOCK_FILL, &order, sizeof order);
        }
        CHECK(sk_future_wait_all(futures, N_ACTORS, PATIENCE_MS, &err) == SK_OK, err.msg);
        for (int i = 0; i < N_ACTORS; i++) {
            const uint8_t *data = sk_block_data(blocks[i]);
            for (int at = 0; at < BLOCK_BYTES; at++)
                CHECK(data[at] == (uint8_t)(round * N_ACTORS + i), "a block was read before it was written");
            sk_future_destroy(&futures[i]);
        }
    }
    for (int i = 0; i < N_ACTORS; i++) {
        sk_actor_destroy(&actors[i]);
        sk_block_destroy(&blocks[i]);
    }
}

/* Actors come and go, with calls that nobody waits for. */
static void come_and_go(sk_runtime *rt, unsigned *seed) {
    for (int round = 0; round < N_ROUNDS / 4; round++) {
        sk_actor *actor = make(rt, SK_PLACE_THREAD);
        sk_error err = {0};
        for (int i = 0; i < 8; i++) {
            sk_future *future = call(actor, PROBE_ECHO, "bytes", 5);
            if (rand_r(seed) % 2) CHECK(sk_future_wait(future, PATIENCE_MS, NULL, &err) == SK_OK, err.msg);
            sk_future_destroy(&future);
        }
        if (rand_r(seed) % 4) sk_actor_destroy(&actor); /* else the runtime does it */
    }
}

/* Processes end while calls go on; each call ends in a value or an error. */
static void lose_processes(sk_runtime *rt, unsigned *seed) {
    for (int round = 0; round < 4; round++) {
        sk_actor *actor = make(rt, SK_PLACE_PROCESS);
        sk_error err = {0};
        int pid = sk_actor_pid(actor), hit_at = (int)(rand_r(seed) % 20u);
        for (int i = 0; i < 20; i++) {
            sk_future *future = call(actor, PROBE_ECHO, "bytes", 5);
            if (i == hit_at) kill(pid, SIGKILL);
            sk_status status = sk_future_wait(future, PATIENCE_MS, NULL, &err);
            CHECK(status == SK_OK || status == SK_EDEAD, err.msg);
            sk_future_destroy(&future);
        }
        sk_actor_destroy(&actor);
    }
}

static unsigned first_seed;

static void *drive(void *arg) {
    unsigned seed = first_seed + *(const unsigned *)arg;
    sk_runtime *rt = start(PATIENCE_MS);
    share_blocks(rt);
    come_and_go(rt, &seed);
    lose_processes(rt, &seed);
    sk_runtime_destroy(&rt);
    return NULL;
}

/* A thread that is left behind ends after its runtime did. */
static void leave_one_behind(void) {
    int32_t ms = 200;
    sk_runtime *rt = start(10);
    sk_actor *actor = make(rt, SK_PLACE_THREAD);
    sk_future *future = call(actor, PROBE_SLEEP, &ms, sizeof ms);
    sk_future_destroy(&future);
    sk_runtime_destroy(&rt);
    usleep(600000);
}

int main(int argc, char **argv) {
    unsigned numbers[N_DRIVERS];
    pthread_t drivers[N_DRIVERS];
    worker_path = probe_worker_path();
    first_seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : (unsigned)sk_clock_now_ns();
    fprintf(stderr, "stress_runtime: seed %u\n", first_seed);
    for (unsigned i = 0; i < N_DRIVERS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&drivers[i], NULL, drive, &numbers[i]) == 0, "no thread");
    }
    for (int i = 0; i < N_DRIVERS; i++) CHECK(pthread_join(drivers[i], NULL) == 0, "not joined");
    leave_one_behind();
    return 0;
}
