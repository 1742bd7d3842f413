/* stress_runtime: many threads at once through the runtime, for ThreadSanitizer (which Criterion cannot start under), and
 * with a seed as its argument to run the same again. Exit status 0: all went well.
 *
 * Several threads use one runtime, with thread actors and worker processes: they submit, get, wait, put, release, cancel,
 * create and end actors, share references with each other; some read what others filled in without any other lock than the
 * runtime's. Then: create and destroy in a loop, a thread that is left behind, processes that are killed meanwhile. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "tests/runtime/probe_module.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_USERS = 4, N_ROUNDS = 150, N_KEPT = 16, N_ACTORS = 4, BLOCK_BYTES = 4096, PATIENCE_MS = 120000 };

/* Always on, and says where; the exit status is the verdict. */
#define CHECK(cond, text)                                                                                              \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "stress_runtime: %s:%d: %s: %s\n", __FILE__, __LINE__, #cond, (text));                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static sk_runtime *start(int stop_timeout_ms) {
    static const sk_module *const modules[] = {&probe_module};
    const sk_resource             cpu = {"cpu", 4};
    sk_runtime_params             params = {.modules = modules, .n_modules = 1, .worker_has_modules = true,
                                            .worker_path = probe_worker_path(), .resources = &cpu, .n_resources = 1,
                                            .store_bytes = 8 << 20, .stop_timeout_ms = stop_timeout_ms};
    sk_runtime                   *rt = NULL;
    sk_error                      err = {0};
    CHECK(sk_runtime_create(&params, &rt, &err) == SK_OK, err.msg);
    return rt;
}

static sk_actor make(sk_runtime *rt, const char *class_name, sk_placement placement) {
    sk_actor_params params = {.class_name = class_name, .placement = placement, .max_restarts = -1,
                              .restart_backoff_ms = 1, .max_task_retries = -1};
    sk_actor        actor = {0};
    sk_error        err = {0};
    CHECK(sk_actor_create(rt, &params, &actor, &err) == SK_OK, err.msg);
    return actor;
}

static sk_ref call(sk_runtime *rt, sk_actor actor, int method, const void *in, size_t size) {
    sk_arg    arg = sk_by_value(in, size);
    sk_method params = {.method = method, .args = &arg, .n_args = 1};
    sk_ref    ref = {0};
    sk_error  err = {0};
    CHECK(sk_actor_call(rt, actor, &params, &ref, &err) == SK_OK, err.msg);
    return ref;
}

static sk_ref submit(sk_runtime *rt, const char *function, sk_arg arg, sk_placement placement) {
    sk_task  task = {.function = function, .args = &arg, .n_args = 1, .placement = placement, .max_retries = 50};
    sk_ref   ref = {0};
    sk_error err = {0};
    CHECK(sk_submit(rt, &task, &ref, &err) == SK_OK, err.msg);
    return ref;
}

/* ---- what the users share ------------------------------------------------------------------------------------------------ */
typedef struct shared {
    sk_runtime     *rt;
    pthread_mutex_t lock;
    sk_ref          posted[8];        /* references that anyone may count on; each counted once for this table */
    sk_actor        counter, process; /* a thread and a process that all of them call */
    int64_t         n_added[2];
} shared;

typedef struct user {
    shared  *shared;
    unsigned seed;
} user;

/* Every actor fills its block, the user reads them all, gives them back, and so on: the bytes are ordered by the calls. */
static void share_blocks(sk_runtime *rt) {
    sk_actor  actors[N_ACTORS];
    sk_block *blocks[N_ACTORS] = {NULL};
    sk_error  err = {0};
    for (int i = 0; i < N_ACTORS; i++) {
        actors[i] = make(rt, "probe", SK_PLACE_THREAD);
        CHECK(sk_block_create(BLOCK_BYTES, &blocks[i], &err) == SK_OK, err.msg);
    }
    for (int round = 0; round < 20; round++) {
        sk_ref refs[N_ACTORS];
        for (int i = 0; i < N_ACTORS; i++) {
            fill_order order = {.ref = sk_block_get_ref(blocks[i]), .byte = (uint8_t)(round * N_ACTORS + i)};
            refs[i] = call(rt, actors[i], PROBE_BLOCK_FILL, &order, sizeof order);
        }
        CHECK(sk_get_all(rt, refs, N_ACTORS, PATIENCE_MS, &err) == SK_OK, err.msg);
        for (int i = 0; i < N_ACTORS; i++) {
            const uint8_t *data = sk_block_data(blocks[i]);
            for (int at = 0; at < BLOCK_BYTES; at++)
                CHECK(data[at] == (uint8_t)(round * N_ACTORS + i), "a block was read before it was written");
            sk_release(rt, &refs[i]);
        }
    }
    sk_actor_join(rt, actors, N_ACTORS, PATIENCE_MS);
    for (int i = 0; i < N_ACTORS; i++) sk_block_destroy(&blocks[i]);
}

/* Put it where others find it, and take over what was there. */
static void post(shared *self, sk_ref *ref, unsigned at) {
    pthread_mutex_lock(&self->lock);
    sk_ref before = self->posted[at];
    self->posted[at] = *ref;
    pthread_mutex_unlock(&self->lock);
    *ref = before;
}

static sk_ref find_posted(shared *self, unsigned at) {
    pthread_mutex_lock(&self->lock);
    sk_ref ref = self->posted[at];
    if (ref.id) sk_acquire(self->rt, ref);
    pthread_mutex_unlock(&self->lock);
    return ref;
}

static void add(shared *self, int which) {
    int64_t one = 1;
    sk_ref  ref = call(self->rt, which ? self->process : self->counter, COUNTER_ADD, &one, sizeof one);
    sk_release(self->rt, &ref);
    __atomic_fetch_add(&self->n_added[which], 1, __ATOMIC_RELAXED);
}

/* Values and ends of references that any thread may have cancelled. */
static void look_at(sk_runtime *rt, sk_ref *ref) {
    sk_bytes  value = {0};
    sk_error  err = {0};
    sk_status status = sk_get(rt, *ref, PATIENCE_MS, &value, &err);
    CHECK(status == SK_OK || status == SK_ECANCELED || status == SK_EDEAD, err.msg);
    if (status == SK_OK && value.size > 1000) CHECK(probe_is_filled(value), "the value is another one");
    sk_release(rt, ref);
}

static sk_ref make_something(user *self) {
    sk_runtime *rt = self->shared->rt;
    int64_t     n = rand_r(&self->seed) % 8, large = n * 30000;
    sk_placement where = rand_r(&self->seed) % 2 ? SK_PLACE_THREAD : SK_PLACE_PROCESS;
    sk_ref      ref = {0};
    sk_error    err = {0};
    void       *data = NULL;
    switch (rand_r(&self->seed) % 6) {
    case 0: return submit(rt, "probe.add", sk_by_value(&n, sizeof n), where);
    case 1: return submit(rt, "probe.big", sk_by_value(&large, sizeof large), where);
    case 2: return submit(rt, "probe.spread", sk_by_value(&n, sizeof n), where);
    case 3: return call(rt, self->shared->counter, COUNTER_GET, NULL, 0);
    case 4: return submit(rt, "probe.sum", sk_by_value(&n, sizeof n), SK_PLACE_INLINE);
    default:
        CHECK(sk_put_begin(rt, (size_t)large, &ref, &data, &err) == SK_OK, err.msg);
        probe_fill(data, (size_t)large);
        CHECK(sk_put_end(rt, ref, &err) == SK_OK, err.msg);
        return ref;
    }
}

static void *use(void *arg) {
    user       *self = arg;
    sk_runtime *rt = self->shared->rt;
    sk_ref      kept[N_KEPT] = {{0}};
    uint8_t     ended[1];
    int         n_ended;
    share_blocks(rt);
    for (int round = 0; round < N_ROUNDS; round++) {
        unsigned at = (unsigned)rand_r(&self->seed) % N_KEPT;
        if (kept[at].id) {
            switch (rand_r(&self->seed) % 6) {
            case 0: sk_cancel(rt, kept[at], SK_CANCEL_ASK); break;
            case 1: post(self->shared, &kept[at], at % 8); break;
            case 2: sk_release(rt, &kept[at]); break;
            case 3: (void)!sk_get(rt, kept[at], 1, NULL, NULL); break;
            case 4: (void)!sk_wait(rt, &kept[at], 1, 1, 1, ended, &n_ended, NULL); break;
            default: look_at(rt, &kept[at]);
            }
        }
        if (kept[at].id == 0) kept[at] = rand_r(&self->seed) % 4 ? make_something(self) : find_posted(self->shared, at % 8);
        if (round % 4 == 0) add(self->shared, round % 8 == 0);
        if (round % 50 == 25) { /* an actor of its own, ended in one way or the other */
            sk_actor actor = make(rt, "probe", SK_PLACE_THREAD);
            kept[at].id ? sk_release(rt, &kept[at]) : (void)0;
            kept[at] = call(rt, actor, PROBE_ECHO, "bytes", 5);
            if (round % 100 == 25) sk_actor_kill(rt, actor, SK_KILL_FOR_GOOD);
            else sk_actor_stop(rt, actor);
        }
    }
    for (int i = 0; i < N_KEPT; i++)
        if (kept[i].id) look_at(rt, &kept[i]);
    return NULL;
}

/* Kills the process actor now and then; its calls are retried, its state is kept. */
static _Atomic int users_are_done;
static void *kill_processes(void *arg) {
    shared *self = arg;
    while (!users_are_done) {
        int pid = 0;
        usleep(100000);
        if (sk_actor_check(self->rt, self->process, &pid, NULL) == SK_OK && pid > 0 && pid != getpid()) kill(pid, SIGKILL);
    }
    return NULL;
}

static int64_t total_of(sk_runtime *rt, sk_actor actor) {
    int64_t  total = -1;
    sk_bytes value = {0};
    sk_error err = {0};
    sk_ref   ref = call(rt, actor, COUNTER_GET, NULL, 0);
    CHECK(sk_get(rt, ref, PATIENCE_MS, &value, &err) == SK_OK, err.msg);
    memcpy(&total, value.data, sizeof total);
    sk_release(rt, &ref);
    return total;
}

static void all_together(unsigned seed) {
    static shared all;
    user          users[N_USERS];
    pthread_t     threads[N_USERS], killer;
    all.rt = start(PATIENCE_MS);
    all.counter = make(all.rt, "counter", SK_PLACE_THREAD);
    all.process = make(all.rt, "counter", SK_PLACE_PROCESS);
    CHECK(pthread_mutex_init(&all.lock, NULL) == 0, "no lock");
    CHECK(pthread_create(&killer, NULL, kill_processes, &all) == 0, "no thread");
    for (unsigned i = 0; i < N_USERS; i++) {
        users[i] = (user){&all, seed + i};
        CHECK(pthread_create(&threads[i], NULL, use, &users[i]) == 0, "no thread");
    }
    for (int i = 0; i < N_USERS; i++) CHECK(pthread_join(threads[i], NULL) == 0, "not joined");
    users_are_done = 1;
    CHECK(pthread_join(killer, NULL) == 0, "not joined");
    CHECK(total_of(all.rt, all.counter) == all.n_added[0], "calls of a thread were lost");
    CHECK(total_of(all.rt, all.process) == all.n_added[1], "calls of a process were lost or repeated");
    for (int i = 0; i < 8; i++) sk_release(all.rt, &all.posted[i]);
    sk_runtime_destroy(&all.rt);
    pthread_mutex_destroy(&all.lock);
}

/* Runtimes come and go, with calls and tasks that nobody waits for. */
static void come_and_go(void) {
    for (int round = 0; round < 12; round++) {
        sk_runtime *rt = start(PATIENCE_MS);
        for (int i = 0; i < 6; i++) {
            int64_t n = i;
            call(rt, make(rt, "probe", i % 3 ? SK_PLACE_THREAD : SK_PLACE_PROCESS), PROBE_ECHO, "bytes", 5);
            submit(rt, "probe.add", sk_by_value(&n, sizeof n), i % 2 ? SK_PLACE_THREAD : SK_PLACE_PROCESS);
        }
        if (round % 2) usleep(2000);
        sk_runtime_destroy(&rt);
    }
}

/* A thread that is left behind ends after its runtime did. */
static void leave_one_behind(void) {
    int32_t     ms = 200;
    sk_runtime *rt = start(10);
    call(rt, make(rt, "probe", SK_PLACE_THREAD), PROBE_SLEEP, &ms, sizeof ms);
    usleep(20000);
    sk_runtime_destroy(&rt);
    usleep(600000);
}

int main(int argc, char **argv) {
    unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : (unsigned)sk_clock_now_ns();
    fprintf(stderr, "stress_runtime: seed %u\n", seed);
    all_together(seed);
    come_and_go();
    leave_one_behind();
    return 0;
}
