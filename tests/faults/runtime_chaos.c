/* runtime_chaos [--rounds N] [--seed S]: the runtime at work while everything goes wrong at random moments. In each round
 * some threads make tasks, nested tasks, objects, actors with restarts and cancel, wait and forget; meanwhile workers are
 * killed, stopped and continued, limits of descriptors and of file sizes come and go, spilled objects are damaged, the
 * clock jumps, a line is full of noise (tests/runtime/hostile.h), and other drivers are killed with their workers.
 *
 * After each round: every reference has ended in a value or an error in time, values are right, counters add up, and
 * nothing stays: no process, descriptor, thread, file, shared memory; and memory does not grow over the rounds.
 *
 * Prints TAP. Round r of seed S is round 0 of seed S + r, so a failure is seen again by `--rounds 1 --seed X`. All of it:
 *     build/tests/faults/runtime_chaos --rounds 200 */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/board.h"
#include "tests/runtime/clock_jump.h"
#include "tests/runtime/probe_module.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

enum { N_USERS = 3, N_OPS = 120, N_KEPT = 40, N_FAULTS = 80, PATIENCE_MS = 60000, KIB = 1024, MIB = 1024 * 1024 };
#define HEAP_GROWTH_MAX (256 * 1024) /* [bytes] over all rounds but the first ones, which fill caches */

static uint64_t round_seed;
static int      round_number;
static char     folder[300];

#define CHECK(cond, ...)                                                                                               \
    do {                                                                                                               \
        if (cond) break;                                                                                               \
        printf("not ok %d - seed %llu: %s:%d: %s: ", round_number + 1, (unsigned long long)round_seed, __FILE__,       \
               __LINE__, #cond);                                                                                       \
        printf(__VA_ARGS__);                                                                                           \
        printf("\n");                                                                                                  \
        fflush(stdout);                                                                                                \
        _exit(1); /* its workers go with it */                                                                         \
    } while (0)

/* The same for what takes its time. */
#define CHECK_SOON(cond, ...)                                                                                          \
    do {                                                                                                               \
        int64_t soon_end_ns_ = sk_clock_now_ns() + (int64_t)PATIENCE_MS * 1000000;                                     \
        while (!(cond) && sk_clock_now_ns() < soon_end_ns_) usleep(500);                                               \
        CHECK(cond, __VA_ARGS__);                                                                                      \
    } while (0)

static uint32_t draw(uint64_t *state, uint32_t n) { /* splitmix64 */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % n);
}

/* ---- what is there ----------------------------------------------------------------------------------------------------- */
static int count_named(const char *path, const char *part) {
    int  n = 0;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) n += strstr(e->d_name, part) != NULL;
    if (dir) closedir(dir);
    return n;
}
static int count_entries(const char *path) { return count_named(path, ""); }

/* Children of `pid`, whichever thread started them; fills up to max. */
static int children_of(int pid, int *ret_pids, int max) {
    char path[300];
    int  n = 0, child;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", pid, e->d_name);
        FILE *file = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        while (file && n < max && fscanf(file, "%d", &child) == 1) ret_pids[n++] = child;
        if (file) fclose(file);
    }
    if (tasks) closedir(tasks);
    return n;
}

/* Is it gone, or a zombie that only its new parent has still to reap? */
static bool has_ended(int pid) {
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) return true;
    bool read_it = fscanf(file, "%*d (%*[^)]) %c", &state) == 1;
    fclose(file);
    return !read_it || state == 'Z' || state == 'X';
}

typedef struct things {
    int n_fds, n_threads, n_shm, n_children;
} things;

static things look_around(void) {
    int pids[8];
    return (things){count_entries("/proc/self/fd"), count_entries("/proc/self/task"), count_named("/dev/shm", "skiff"),
                    children_of(getpid(), pids, 8)};
}

/* ---- faults --------------------------------------------------------------------------------------------------------------- */
typedef struct round_plan {
    bool     noise, files, disk, damage, signals, jumps;
    size_t   store_bytes, spill_bytes;
    uint32_t pause_us; /* between faults */
} round_plan;

typedef struct saboteur {
    const round_plan *plan;
    uint64_t          random;
    _Atomic int       stop;
    int               n_faults;
} saboteur;

static void hit_worker(saboteur *self) {
    int pids[64], n = children_of(getpid(), pids, 64);
    if (n == 0) return;
    int      pid = pids[draw(&self->random, (uint32_t)n)];
    uint32_t what = draw(&self->random, 4);
    if (what > 1) kill(pid, SIGSTOP);
    if (what > 1) usleep(draw(&self->random, 8000));
    kill(pid, what == 3 ? SIGCONT : SIGKILL);
}

static void limit(int what, rlim_t n, uint32_t us) {
    struct rlimit old, low;
    getrlimit(what, &old);
    low = old;
    low.rlim_cur = n;
    setrlimit(what, &low);
    usleep(us);
    setrlimit(what, &old);
}

/* Write over the file of spilled objects, which has no name. */
static void damage_spilled(saboteur *self) {
    char path[64], to[400];
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct stat st;
        int         fd = atoi(e->d_name);
        snprintf(path, sizeof path, "/proc/self/fd/%.20s", e->d_name);
        ssize_t n = readlink(path, to, sizeof to - 1);
        if (n <= 0) continue;
        to[n] = 0;
        if (strncmp(to, folder, strlen(folder)) != 0 || !strstr(to, "(deleted)") || fstat(fd, &st) != 0) continue;
        if (st.st_size > 0) (void)!pwrite(fd, "damage", 6, (off_t)draw(&self->random, (uint32_t)st.st_size));
    }
    if (dir) closedir(dir);
}

static void *sabotage(void *arg) {
    saboteur *self = arg;
    while (!self->stop && self->n_faults < N_FAULTS) {
        usleep(1000 + draw(&self->random, self->plan->pause_us));
        uint32_t what = draw(&self->random, 8);
        if (what < 5 && self->plan->signals) hit_worker(self);
        if (what == 5 && self->plan->files)
            limit(RLIMIT_NOFILE, (rlim_t)count_entries("/proc/self/fd"), draw(&self->random, 5000));
        if (what == 6 && self->plan->disk) limit(RLIMIT_FSIZE, MIB, draw(&self->random, 20000));
        if (what == 7 && self->plan->damage) damage_spilled(self);
        self->n_faults++;
    }
    return NULL;
}

/* ---- the work --------------------------------------------------------------------------------------------------------------- */
typedef enum value_kind { ANY, LONG, FILLED, COUNTED } value_kind;
typedef struct kept {
    sk_ref     ref;
    value_kind kind;
    int64_t    wanted; /* LONG, COUNTED: value; FILLED: size */
    bool       may_be_canceled;
} kept;

typedef struct user {
    sk_runtime *rt;
    const round_plan *plan;
    uint64_t    random;
    sk_actor    exact, shared; /* a counter that saves and retries; one that loses what it was at */
    int64_t     n_exact;
    kept        kept[N_KEPT];
    int         n_values, n_errors;
} user;

/* May a request end like this? Noise may do anything to those it was made of. */
static bool is_expected(const user *self, sk_status status, bool canceled) {
    if (self->plan->noise) return status != SK_ETIMEOUT;
    switch (status) {
    case SK_OK: case SK_EDEAD: return true;
    case SK_ECANCELED: return canceled;
    case SK_ELIMIT: case SK_EIO: return true; /* no room in store and file, no descriptors */
    case SK_ELOST: return self->plan->damage || self->plan->disk;
    default: return false;
    }
}

static void check_value(const user *self, const kept *item, sk_bytes value) {
    int64_t number = 0;
    if (self->plan->noise || item->kind == ANY) return;
    if (item->kind == FILLED) {
        CHECK(value.size == (size_t)item->wanted && probe_is_filled(value), "%zu bytes", value.size);
        return;
    }
    CHECK(value.size == sizeof number, "%zu bytes", value.size);
    memcpy(&number, value.data, sizeof number);
    if (item->kind == LONG || !self->plan->files)
        CHECK(number == item->wanted, "got %lld, wanted %lld", (long long)number, (long long)item->wanted);
}

/* Wait for its end, look at it, release it. */
static void settle(user *self, kept *item) {
    sk_bytes value = {0};
    sk_error err = {0};
    if (item->ref.id == 0) return;
    sk_status status = sk_get(self->rt, item->ref, PATIENCE_MS, &value, &err);
    CHECK(is_expected(self, status, item->may_be_canceled), "kind %d: %s: %s", item->kind, sk_status_text(status), err.msg);
    CHECK(status == SK_OK || err.msg[0], "%s, without a word", sk_status_text(status));
    if (item->kind == COUNTED && !self->plan->files && !self->plan->noise)
        CHECK(status == SK_OK, "a call that is retried: %s", err.msg);
    if (status == SK_OK) check_value(self, item, value);
    *(status == SK_OK ? &self->n_values : &self->n_errors) += 1;
    sk_release(self->rt, &item->ref);
}

static sk_status submit(user *self, const char *function, const sk_arg *args, int n_args, kept *item) {
    sk_task task = {.function = function, .args = args, .n_args = n_args, .max_retries = 20};
    if (draw(&self->random, 4) == 0) task.placement = SK_PLACE_THREAD;
    return sk_submit(self->rt, &task, &item->ref, NULL);
}

static void submit_long(user *self, const char *function, int64_t n, value_kind kind, int64_t wanted, kept *item) {
    sk_arg    arg = sk_by_value(&n, sizeof n);
    sk_status status = submit(self, function, &arg, 1, item);
    CHECK(is_expected(self, status, false), "%s: %s", function, sk_status_text(status));
    item->kind = kind;
    item->wanted = wanted;
}

static void put_some(user *self, size_t size, kept *item) {
    void     *data = NULL;
    sk_error  err = {0};
    sk_status status = sk_put_begin(self->rt, size, &item->ref, &data, &err);
    CHECK(is_expected(self, status, false), "%s", err.msg);
    if (status != SK_OK) return;
    probe_fill(data, size);
    CHECK(sk_put_end(self->rt, item->ref, &err) == SK_OK, "%s", err.msg);
    item->kind = FILLED;
    item->wanted = (int64_t)size;
}

static void call_actor(user *self, sk_actor actor, int method, int64_t n, kept *item) {
    sk_arg    arg = sk_by_value(&n, sizeof n);
    sk_method params = {.method = method, .args = &arg, .n_args = 1};
    sk_error  err = {0};
    sk_status status = sk_actor_call(self->rt, actor, &params, &item->ref, &err);
    CHECK(is_expected(self, status, false), "%s", err.msg);
    item->kind = ANY;
    if (actor.id != self->exact.id || status != SK_OK) return;
    item->kind = COUNTED;
    item->wanted = self->n_exact += n;
}

/* Sums of what is kept, whatever becomes of it. */
static void sum_some(user *self, kept *item) {
    sk_arg args[5];
    int    n = 0;
    for (int i = 0; i < 5; i++) {
        const kept *other = &self->kept[draw(&self->random, N_KEPT)];
        if (other->ref.id) args[n++] = sk_by_ref(other->ref);
    }
    sk_status status = submit(self, "probe.sum", args, n, item);
    CHECK(is_expected(self, status, false), "%s", sk_status_text(status));
    item->kind = ANY;
    item->may_be_canceled = true; /* with its arguments */
}

static void drive_shared(user *self, kept *item) {
    drive_order drive = {self->shared, 5};
    sk_arg      arg = sk_by_value(&drive, sizeof drive);
    sk_status   status = submit(self, "probe.drive", &arg, 1, item);
    CHECK(is_expected(self, status, false), "%s", sk_status_text(status));
    item->kind = ANY;
}

static void do_something(user *self) {
    static const int64_t fib[] = {0, 1, 1, 2, 3, 5, 8, 13};
    kept                *item = &self->kept[draw(&self->random, N_KEPT)];
    int64_t              n = draw(&self->random, 8);
    uint8_t              ended[1];
    int                  n_ended;
    if (item->ref.id) {
        switch (draw(&self->random, 5)) {
        case 0:
            if (item->kind == COUNTED) return; /* what comes after it would be anyone's guess */
            sk_cancel(self->rt, item->ref, draw(&self->random, 2) ? SK_CANCEL_ASK : SK_CANCEL_KILL);
            item->may_be_canceled = true;
            return;
        case 1: sk_release(self->rt, &item->ref); break;
        case 2: (void)!sk_wait(self->rt, &item->ref, 1, 1, (int)draw(&self->random, 3), ended, &n_ended, NULL); return;
        default: settle(self, item);
        }
    }
    *item = (kept){0};
    switch (draw(&self->random, 11)) {
    case 0: case 1: submit_long(self, "probe.add", n, LONG, n, item); break;
    case 2: submit_long(self, "probe.fib", n, LONG, fib[n], item); break;
    case 3: submit_long(self, "probe.spread", 8, LONG, 28, item); break;
    case 4: submit_long(self, "probe.big", n * 100 * KIB, FILLED, n * 100 * KIB, item); break;
    case 5: put_some(self, (size_t)n * 100 * KIB, item); break;
    case 6: submit_long(self, "probe.put", n * 50 * KIB, ANY, 0, item); break;
    case 7: sum_some(self, item); break;
    case 8: drive_shared(self, item); break;
    case 9: call_actor(self, self->shared, COUNTER_ADD, 1, item); break;
    default: call_actor(self, self->exact, COUNTER_ADD, 1, item);
    }
}

static void *work(void *arg) {
    user *self = arg;
    for (int i = 0; i < N_OPS; i++) do_something(self);
    for (int i = 0; i < N_KEPT; i++) settle(self, &self->kept[i]);
    return NULL;
}

/* ---- a round ---------------------------------------------------------------------------------------------------------------- */
static round_plan draw_plan(uint64_t *random) {
    static const size_t stores[] = {2 * MIB, 4 * MIB, 64 * MIB}, files[] = {SIZE_MAX, 4 * MIB, 256 * MIB};
    round_plan          plan = {.signals = draw(random, 8) > 0, .noise = draw(random, 4) == 0,
                                .files = draw(random, 4) == 0, .disk = draw(random, 3) == 0, .damage = draw(random, 3) == 0,
                                .jumps = draw(random, 2), .store_bytes = stores[draw(random, 3)],
                                .spill_bytes = files[draw(random, 3)], .pause_us = 1000 + draw(random, 20000)};
    return plan;
}

static sk_runtime *start(const round_plan *plan, uint64_t *random) {
    static const sk_module *const modules[] = {&probe_module};
    const sk_resource             cpu = {"cpu", 3};
    sk_runtime_params             params = {.modules = modules, .n_modules = 1, .worker_has_modules = true,
                                            .worker_path = probe_worker_path(), .resources = &cpu, .n_resources = 1,
                                            .store_bytes = plan->store_bytes, .spill_bytes = plan->spill_bytes,
                                            .spill_dir = folder, .log_dir = folder, .stop_timeout_ms = 2000};
    sk_runtime                   *rt = NULL;
    sk_error                      err = {0};
    char                          text[64];
    snprintf(text, sizeof text, "noise:%d:%u", (int)draw(random, 6) - 1, draw(random, 1000000));
    if (plan->noise) setenv("SKIFF_HOSTILE", text, 1);
    CHECK(sk_runtime_create(&params, &rt, &err) == SK_OK, "%s", err.msg);
    return rt;
}

static sk_actor make_counter(sk_runtime *rt, int max_task_retries) {
    sk_actor_params params = {.class_name = "counter", .placement = SK_PLACE_PROCESS, .max_restarts = -1,
                              .restart_backoff_ms = 1, .max_task_retries = max_task_retries};
    sk_actor        actor = {0};
    sk_error        err = {0};
    CHECK(sk_actor_create(rt, &params, &actor, &err) == SK_OK, "%s", err.msg);
    return actor;
}

/* All has ended and been released: the counters say so. */
static void check_counters(const round_plan *plan, const volatile sk_board_counters *c) {
    CHECK_SOON(c->n_running == 0 && c->n_queued == 0, "%llu queued, %llu running", (unsigned long long)c->n_queued,
          (unsigned long long)c->n_running);
    CHECK_SOON(c->n_submitted == c->n_done + c->n_failed + c->n_canceled, "%llu != %llu + %llu + %llu",
          (unsigned long long)c->n_submitted, (unsigned long long)c->n_done, (unsigned long long)c->n_failed,
          (unsigned long long)c->n_canceled);
    if (plan->noise) return; /* its workers may count on anything as long as they live */
    CHECK_SOON(c->n_objects == 0, "%llu objects of %llu bytes", (unsigned long long)c->n_objects,
          (unsigned long long)c->object_bytes);
    CHECK_SOON(c->store_used == 0 && c->spilled_bytes == 0, "%llu in the store, %llu spilled",
          (unsigned long long)c->store_used, (unsigned long long)c->spilled_bytes);
}

static void work_hard(uint64_t *random) {
    round_plan    plan = draw_plan(random);
    sk_runtime   *rt = start(&plan, random);
    sk_board_view view = {0};
    sk_error      err = {0};
    user          users[N_USERS];
    pthread_t     threads[N_USERS], fault_thread;
    saboteur      faults = {.plan = &plan, .random = *random ^ 0x5ab0};
    sk_actor      shared = make_counter(rt, 0);
    int           n_values = 0, n_errors = 0;
    CHECK(sk_board_open(getpid(), &view, &err) == SK_OK, "%s", err.msg);
    clock_jumps = plan.jumps;
    CHECK(pthread_create(&fault_thread, NULL, sabotage, &faults) == 0, "no thread");
    for (int i = 0; i < N_USERS; i++) {
        users[i] = (user){.rt = rt, .plan = &plan, .random = *random + (uint64_t)i, .shared = shared};
        users[i].exact = make_counter(rt, -1);
        CHECK(pthread_create(&threads[i], NULL, work, &users[i]) == 0, "no thread");
    }
    for (int i = 0; i < N_USERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0, "not joined");
        n_values += users[i].n_values;
        n_errors += users[i].n_errors;
    }
    faults.stop = 1;
    CHECK(pthread_join(fault_thread, NULL) == 0, "not joined");
    clock_jumps = 0;
    check_counters(&plan, &view.board->counters);
    printf("# seed %llu:%s%s%s%s%s%s: %d faults, %llu deaths, %llu retries, %llu restarts, %llu rebuilt, %llu malformed, "
           "%d values, %d errors\n", (unsigned long long)round_seed, plan.signals ? " signals" : "",
           plan.noise ? " noise" : "", plan.files ? " files" : "", plan.disk ? " disk" : "",
           plan.damage ? " damage" : "", plan.jumps ? " clock" : "", faults.n_faults,
           (unsigned long long)view.board->counters.n_worker_deaths, (unsigned long long)view.board->counters.n_retried,
           (unsigned long long)view.board->counters.n_restarts, (unsigned long long)view.board->counters.n_rebuilt,
           (unsigned long long)view.board->counters.n_malformed, n_values, n_errors);
    sk_board_close(&view);
    sk_runtime_destroy(&rt);
    unsetenv("SKIFF_HOSTILE");
}

/* Another driver at work is killed, or stopped, continued and terminated; its workers must go with it. */
static void lose_driver(uint64_t *random) {
    char path[400], line[64] = "";
    int  ends[2], pid = 0, workers[64], status = 0;
    posix_spawn_file_actions_t files;
    const char                *build = getenv("SKIFF_BUILD_DIR");
    snprintf(path, sizeof path, "%.300s/tests/runtime/driver_probe", build ? build : "build");
    char *argv[] = {path, (char *)"busy", folder, NULL};
    CHECK(pipe2(ends, O_CLOEXEC) == 0, "no pipe");
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    CHECK(posix_spawn(&pid, path, &files, NULL, argv, environ) == 0, "%s", path);
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    bool at_start = draw(random, 3) == 0; /* before it has its workers, perhaps */
    if (at_start) usleep(draw(random, 30000));
    if (!at_start) CHECK(read(ends[0], line, sizeof line - 1) > 0, "it ended early");
    usleep(draw(random, 50000));
    int n = children_of(pid, workers, 64);
    if (draw(random, 2)) {
        kill(pid, SIGSTOP);
        usleep(draw(random, 20000));
        n = children_of(pid, workers, 64);
        kill(pid, SIGCONT);
    }
    kill(pid, draw(random, 3) ? SIGKILL : SIGTERM);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "status 0x%x", status);
    close(ends[0]);
    for (int i = 0; i < n; i++) CHECK_SOON(has_ended(workers[i]), "worker %d of driver %d lives on", workers[i], pid);
}

static int remove_log(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st;
    if (at->level == 0) return 0;
    CHECK(kind == FTW_F && strstr(path, ".log"), "%s is left", path);
    return remove(path);
}

static void run_round(void) {
    uint64_t random = round_seed;
    things   before = look_around();
    work_hard(&random);
    if (draw(&random, 3) == 0) lose_driver(&random);
    things after = look_around();
    CHECK(after.n_children == 0, "%d processes are left", after.n_children);
    CHECK(after.n_fds == before.n_fds, "%d descriptors, before %d", after.n_fds, before.n_fds);
    CHECK_SOON(count_entries("/proc/self/task") <= before.n_threads, "%d threads, before %d", after.n_threads,
          before.n_threads);
    CHECK(after.n_shm == before.n_shm, "%d entries in /dev/shm, before %d", after.n_shm, before.n_shm);
    CHECK(nftw(folder, remove_log, 8, FTW_DEPTH | FTW_PHYS) == 0, "%s: %s", folder, strerror(errno));
    printf("ok %d - round of seed %llu\n", round_number + 1, (unsigned long long)round_seed);
    fflush(stdout);
}

/* ---- all of them -------------------------------------------------------------------------------------------------------------- */
static uint64_t choose_seed(void) {
    const char *given = getenv("SKIFF_TEST_SEED");
    uint64_t    seed = 0;
    if (given) return strtoull(given, NULL, 0);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint64_t)sk_clock_now_ns();
    return seed % 1000000000;
}

static int usage(void) {
    fprintf(stderr, "usage: runtime_chaos [--rounds N] [--seed S]\n");
    return 2;
}

int main(int argc, char **argv) {
    const char *base = getenv("TMPDIR");
    uint64_t    seed = choose_seed();
    int         n_rounds = 10;
    size_t      heap = 0;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0) n_rounds = atoi(argv[i + 1]);
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 0);
        else return usage();
    }
    snprintf(folder, sizeof folder, "%.200s/skiff-chaos-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder)) {
        fprintf(stderr, "runtime_chaos: %s: %s\n", folder, strerror(errno));
        return 1;
    }
    signal(SIGXFSZ, SIG_IGN);
    printf("# seed %llu\n1..%d\n", (unsigned long long)seed, n_rounds + 1);
    for (round_number = 0; round_number < n_rounds; round_number++) {
        round_seed = seed + (uint64_t)round_number;
        run_round();
        if (round_number == n_rounds / 2) heap = mallinfo2().uordblks;
    }
    size_t now = mallinfo2().uordblks; /* 0 where the allocator is a sanitizer's */
    bool   grew = n_rounds >= 10 && now > heap + HEAP_GROWTH_MAX;
    printf("%sok %d - the heap is %zu bytes, and was %zu\n", grew ? "not " : "", n_rounds + 1, now, heap);
    rmdir(folder);
    return grew;
}
