/* Hosts that are killed, stopped and started while threads of the program use them: every answer that comes is right,
 * what does not come says why, and in the end nothing is left. `stress_hosts [SECONDS [SEED]]`. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include "tests/runtime/probe_module.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_THREADS = 3, N_NODES = 3, PATIENCE_MS = 60000, LARGE = 700000 };

static sk_runtime      *rt;
static _Atomic bool     stop;
static _Atomic uint64_t n_good, n_failed;

#define CHECK(cond, ...)                                                                                               \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond);                                                 \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fprintf(stderr, "\n");                                                                                     \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static uint32_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* A value, or a reason that a lost host gives. */
static bool get(sk_ref ref, sk_bytes *ret_value) {
    sk_error  err = {0};
    sk_status status = sk_get(rt, ref, PATIENCE_MS, ret_value, &err);
    if (status == SK_OK) {
        n_good++;
        return true;
    }
    CHECK(status == SK_EDEAD || status == SK_ECANCELED, "%s: %s", sk_status_text(status), err.msg);
    n_failed++;
    return false;
}

static sk_ref submit(const char *function, sk_arg arg) {
    sk_task  task = {.function = function, .args = &arg, .n_args = 1, .placement = SK_PLACE_REMOTE,
                     .max_retries = 1000};
    sk_ref   ref = {0};
    sk_error err = {0};
    while (!stop && sk_submit(rt, &task, &ref, &err) != SK_OK) { /* no host is there now */
        CHECK(err.status == SK_ELIMIT, "%s", err.msg);
        usleep(10000);
    }
    return ref;
}

/* ---- what the threads do --------------------------------------------------------------------------------- */
static void large_arguments(uint64_t *random) {
    enum { N = 4 };
    sk_ref   value = {0}, sums[N];
    sk_error err = {0};
    void    *data;
    size_t   size = 1 + draw(random) % LARGE;
    CHECK(sk_put_begin(rt, size, &value, &data, &err) == SK_OK, "%s", err.msg);
    memset(data, 1, size);
    CHECK(sk_put_end(rt, value, &err) == SK_OK, "%s", err.msg);
    for (int i = 0; i < N; i++) sums[i] = submit("probe.sum", sk_by_ref(value));
    if (draw(random) % 4 == 0) sk_cancel(rt, sums[0], draw(random) % 2 ? SK_CANCEL_ASK : SK_CANCEL_KILL);
    for (int i = 0; i < N; i++) {
        sk_bytes sum;
        if (sums[i].id && get(sums[i], &sum))
            CHECK(sum.size == 8 && (size_t)probe_long(sum) == size, "%zu bytes of 1 sum up to %" PRId64, size,
                  probe_long(sum));
        sk_release(rt, &sums[i]);
    }
    sk_release(rt, &value);
}

static void large_answers(uint64_t *random) {
    int64_t  size = 1 + draw(random) % LARGE;
    sk_ref   big = submit("probe.big", sk_by_value(&size, sizeof size));
    sk_bytes value;
    if (!big.id) return;
    if (get(big, &value))
        CHECK((int64_t)value.size == size && probe_is_filled(value), "%zu bytes came wrong", value.size);
    sk_release(rt, &big);
}

static void small_ones(uint64_t *random) {
    enum { N = 100 };
    sk_ref  refs[N];
    int64_t numbers[N];
    for (int i = 0; i < N; i++) {
        numbers[i] = draw(random);
        refs[i] = submit("probe.add", sk_by_value(&numbers[i], sizeof numbers[i]));
    }
    for (int i = 0; i < N; i++) {
        sk_bytes value;
        if (refs[i].id && get(refs[i], &value)) CHECK(probe_long(value) == numbers[i], "of %d", i);
        sk_release(rt, &refs[i]);
    }
}

/* An actor that saves its total: an answered call counts, whatever happens to its host. */
static void actor_calls(uint64_t *random, int thread) {
    int64_t         start = 0, one = 1, total = 0, last = 0;
    sk_arg          args[] = {sk_by_value(&start, sizeof start)};
    char            name[64];
    sk_actor        actor;
    sk_error        err = {0};
    snprintf(name, sizeof name, "counter-%d-%u", thread, draw(random));
    sk_actor_params params = {.class_name = "counter", .name = name, .placement = SK_PLACE_REMOTE, .args = args,
                              .n_args = 1, .max_restarts = -1};
    if (sk_actor_create(rt, &params, &actor, &err) != SK_OK) {
        CHECK(err.status == SK_ELIMIT, "%s", err.msg);
        usleep(10000);
        return;
    }
    for (int i = 0; i < 200 && !stop; i++) {
        sk_arg    arg = sk_by_value(&one, sizeof one);
        sk_method method = {.method = COUNTER_ADD, .args = &arg, .n_args = 1};
        sk_ref    ref;
        sk_bytes  value;
        CHECK(sk_actor_call(rt, actor, &method, &ref, &err) == SK_OK, "%s", err.msg);
        last++;
        if (get(ref, &value)) {
            int64_t now = probe_long(value);
            CHECK(now > total && now <= last, "%s: %" PRId64 " after %" PRId64 ", %" PRId64 " were sent", name, now,
                  total, last);
            total = now;
        }
        sk_release(rt, &ref);
    }
    sk_actor_join(rt, &actor, 1, PATIENCE_MS);
}

static void *use(void *arg) {
    int      thread = (int)(intptr_t)arg;
    uint64_t random = (uint64_t)thread * 7919 + 1;
    while (!stop) {
        switch (draw(&random) % 4) {
        case 0: large_arguments(&random); break;
        case 1: large_answers(&random); break;
        case 2: small_ones(&random); break;
        default: actor_calls(&random, thread);
        }
    }
    return NULL;
}

/* ---- nodes ----------------------------------------------------------------------------------------------- */
static int start_node(void) {
    static int number;
    char       name[16], worker[512];
    snprintf(name, sizeof name, "n%d", ++number);
    snprintf(worker, sizeof worker, "%s/tests/runtime/worker_probe", getenv("SKIFF_BUILD_DIR"));
    int pid = fork();
    CHECK(pid >= 0, "cannot fork");
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl(getenv("SKIFF_BIN"), "skiff", "node", "--plain", "--join", sk_runtime_endpoint(rt), "--name", name,
          "--worker", worker, "--build", "stress", "--cpus", "2", "--store", "16000000", "--wait", "30", (char *)NULL);
    _exit(127);
}

/* One of them goes, in one of three ways; another takes its place. */
static void replace_one(int *pids, uint64_t *random) {
    int at = (int)(draw(random) % N_NODES), how = (int)(draw(random) % 3);
    if (how == 0) kill(pids[at], SIGSTOP); /* silent, and then it is too late */
    else kill(pids[at], how == 1 ? SIGKILL : SIGTERM);
    int stopped = how == 0 ? pids[at] : 0;
    if (!stopped) waitpid(pids[at], NULL, 0);
    pids[at] = start_node();
    if (!stopped) return;
    usleep((SK_HOST_LOST_MS + 1000) * 1000);
    kill(stopped, SIGCONT);
    usleep(500000); /* it learns that it was given up, and joins anew */
    kill(stopped, SIGTERM);
    waitpid(stopped, NULL, 0);
}

static void say(void *user, sk_log_level level, const char *line) {
    (void)user;
    if (level >= SK_LOG_ERROR) CHECK(false, "%s", line);
    if (getenv("STRESS_LOG")) fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv) {
    int64_t                 seconds = argc > 1 ? atoi(argv[1]) : 20;
    uint64_t                random = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
    const sk_module        *modules[] = {&probe_module};
    const sk_resource       one = {"cpu", 1};
    const sk_cluster_params cluster = {.plain = true, .build = "stress"};
    const sk_runtime_params params = {.modules = modules, .n_modules = 1, .worker_has_modules = true, .resources = &one,
                                      .n_resources = 1, .store_bytes = (size_t)64 << 20, .cluster = &cluster,
                                      .worker_path = probe_worker_path()};
    pthread_t threads[N_THREADS];
    sk_error  err = {0};
    int       pids[N_NODES];
    sk_log_set_sink(say, NULL);
    CHECK(sk_runtime_create(&params, &rt, &err) == SK_OK, "%s", err.msg);
    for (int i = 0; i < N_NODES; i++) pids[i] = start_node();
    CHECK(sk_runtime_wait_hosts(rt, N_NODES, PATIENCE_MS, NULL, &err) == SK_OK, "%s", err.msg);
    for (int i = 0; i < N_THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, use, (void *)(intptr_t)i) == 0, "a thread");
    int64_t end_ns = sk_clock_now_ns() + seconds * INT64_C(1000000000);
    while (sk_clock_now_ns() < end_ns) {
        usleep(300000 + draw(&random) % 1500000);
        replace_one(pids, &random);
    }
    usleep((SK_HOST_LOST_MS + 1000) * 1000); /* those that were killed are counted no more, the last one is there */
    CHECK(sk_runtime_wait_hosts(rt, N_NODES, PATIENCE_MS, NULL, &err) == SK_OK, "%s", err.msg);
    stop = true;
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    sk__driver *d = rt->driver;
    for (int i = 0; i < 2000; i++) { /* what was cancelled is still being answered */
        sk__driver_lock(d);
        sk__driver_drain(d);
        bool settled = d->n.n_objects == 0 && d->n_open == 0;
        sk__driver_unlock(d);
        if (settled) break;
        usleep(10000);
    }
    sk__driver_lock(d);
    CHECK(d->n.n_objects == 0 && d->n_open == 0 && sk_store_get_stats(d->store).used == 0 && d->hosts->n_copies == 0,
          "%" PRIu64 " objects, %" PRId64 " jobs, %" PRIu64 " bytes and %zu copies are left", d->n.n_objects, d->n_open,
          sk_store_get_stats(d->store).used, d->hosts->n_copies);
    uint64_t n_lost = d->n.n_hosts_lost, n_malformed = d->n.n_malformed;
    sk__driver_unlock(d);
    CHECK(n_malformed == 0, "%" PRIu64 " messages were malformed", n_malformed);
    sk_runtime_destroy(&rt);
    for (int i = 0; i < N_NODES; i++) {
        int status = -1;
        waitpid(pids[i], &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a node ended with %x", (unsigned)status);
    }
    printf("ok: %" PRIu64 " answers, %" PRIu64 " that say why not, %" PRIu64 " hosts lost\n", n_good, n_failed, n_lost);
    return 0;
}
