/* bench_runtime_fresh: rows of `skiff bench runtime` that need a new process: how fast one starts, what it weighs when
 * idle, and how much a million queued tasks take. The new process is this program with a word that is not for people;
 * it does the work and prints a line of numbers. The clock is the same in all processes of the machine. */
#include "cli/bench_runtime.h"
#include "core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { N_STARTS = 7, N_SPAWNS = 100, N_QUEUED = 1000000, IDLE_MS = 200 };
#define CHILD_START   "runtime-start"
#define CHILD_QUEUE   "runtime-queue"
#define CHILD_NOTHING "runtime-nothing"

/* ---- the new process ------------------------------------------------------------------------------------------ */
/* Of a line "Key:   123 kB" in a file of /proc [bytes]; 0: there is none. */
static double read_kb(const char *path, const char *key) {
    char   line[256];
    double kb = 0.0;
    FILE  *file = fopen(path, "r");
    if (!file) return 0.0;
    while (kb <= 0.0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0) kb = strtod(line + strlen(key), NULL);
    fclose(file);
    return kb * 1024.0;
}

/* This process's share of the memory it maps [bytes]. */
static double pss(int pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    return read_kb(path, "Pss:");
}

/* One task, waited for; what it answers goes to ret_value (size bytes). */
static sk_status run_task(sk_runtime *rt, const char *function, void *ret_value, size_t size, sk_error *reterr) {
    sk_task  task = {.function = function, .placement = SK_PLACE_PROCESS};
    sk_ref   ref = {0};
    sk_bytes value = {0};
    SK_TRY(sk_submit(rt, &task, &ref, reterr));
    sk_status status = sk_get(rt, ref, SK_BENCH_RT_TIMEOUT_MS, &value, reterr);
    if (status == SK_OK && value.size == size) memcpy(ret_value, value.data, size);
    else if (status == SK_OK) status = SK_FAIL(reterr, SK_ECORRUPT, "%s: answer of %zu bytes", function, value.size);
    sk_release(rt, &ref);
    return status;
}

/* Prints: main() reached, runtime ready, first result [ns]; memory of this process and of an idle worker [bytes]. */
static sk_status child_start(int64_t main_ns, sk_error *reterr) {
    sk_runtime *rt = NULL;
    char        text[2];
    int32_t     worker = 0;
    SK_TRY(sk_bench_rt_open(&rt, reterr));
    int64_t   ready_ns = sk_clock_now_ns();
    sk_status status = run_task(rt, "bench.small", text, sizeof text, reterr);
    int64_t   first_ns = sk_clock_now_ns();
    if (status == SK_OK) status = run_task(rt, "bench.pid", &worker, sizeof worker, reterr);
    if (status == SK_OK) {
        usleep(IDLE_MS * 1000);
        printf("%lld %lld %lld %.0f %.0f\n", (long long)main_ns, (long long)ready_ns, (long long)first_ns,
               pss(getpid()), pss(worker));
    }
    sk_runtime_destroy(&rt);
    return status;
}

/* Prints: seconds until all are submitted, and until all have answered; peak memory of this process [bytes]. */
static sk_status child_queue(sk_error *reterr) {
    sk_runtime *rt = NULL;
    sk_task     task = {.function = "bench.small", .placement = SK_PLACE_PROCESS};
    sk_ref     *refs = calloc(N_QUEUED, sizeof *refs);
    if (!refs) return SK_FAIL(reterr, SK_ENOMEM, "no memory for %d references", N_QUEUED);
    sk_status status = sk_bench_rt_open(&rt, reterr);
    double    start_s = sk_clock_now_s();
    int       n = 0;
    while (n < N_QUEUED && status == SK_OK)
        if ((status = sk_submit(rt, &task, &refs[n], reterr)) == SK_OK) n++;
    double submitted_s = sk_clock_now_s();
    if (status == SK_OK) status = sk_get_all(rt, refs, n, SK_BENCH_RT_TIMEOUT_MS, reterr);
    double end_s = sk_clock_now_s();
    /* not getrusage: its peak goes on from that of the process which started this one */
    if (status == SK_OK)
        printf("%.6f %.6f %.0f\n", submitted_s - start_s, end_s - start_s, read_kb("/proc/self/status", "VmHWM:"));
    for (int i = 0; i < n; i++) sk_release(rt, &refs[i]);
    sk_runtime_destroy(&rt);
    free(refs);
    return status;
}

int sk_bench_runtime_is_child(int argc, char **argv, int *ret_code) {
    int64_t   main_ns = sk_clock_now_ns();
    sk_error  err = {0};
    sk_status status;
    if (argc != 2) return 0;
    if (strcmp(argv[1], CHILD_START) == 0) status = child_start(main_ns, &err);
    else if (strcmp(argv[1], CHILD_QUEUE) == 0) status = child_queue(&err);
    else if (strcmp(argv[1], CHILD_NOTHING) == 0) status = SK_OK;
    else return 0;
    if (status != SK_OK) fprintf(stderr, "bench %s: %s\n", argv[1], err.msg);
    *ret_code = status == SK_OK ? 0 : 1;
    return 1;
}

/* ---- starting it ---------------------------------------------------------------------------------------------- */
/* Start this program as `skiff bench WHAT`; what it prints goes to `out_fd` (-1: to where ours goes). */
static sk_status spawn_child(const char *what, int out_fd, pid_t *ret_pid, sk_error *reterr) {
    char                      *argv[] = {"skiff", "bench", (char *)(uintptr_t)what, NULL};
    posix_spawn_file_actions_t actions;
    int                        rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0) return SK_FAIL(reterr, SK_ENOMEM, "cannot start %s: %s", what, strerror(rc));
    if (out_fd >= 0) rc = posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    if (rc == 0) rc = posix_spawn(ret_pid, "/proc/self/exe", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc == 0 ? SK_OK : SK_FAIL(reterr, SK_EIO, "cannot start %s: %s", what, strerror(rc));
}

static sk_status reap(const char *what, pid_t pid, sk_error *reterr) {
    int   how = 0;
    pid_t got;
    do got = waitpid(pid, &how, 0);
    while (got < 0 && errno == EINTR);
    if (got == pid && WIFEXITED(how) && WEXITSTATUS(how) == 0) return SK_OK;
    return SK_FAIL(reterr, SK_EDEAD, "%s ended with wait status %d", what, how);
}

/* Run it to its end; ret_line (size) is the first line it printed. */
static sk_status run_child(const char *what, char *ret_line, int size, sk_error *reterr) {
    int   fds[2];
    pid_t pid = 0;
    if (pipe2(fds, O_CLOEXEC) != 0) return SK_FAIL(reterr, SK_EIO, "%s: no pipe: %s", what, strerror(errno));
    sk_status status = spawn_child(what, fds[1], &pid, reterr);
    close(fds[1]);
    FILE *out = fdopen(fds[0], "r");
    if (!out || !fgets(ret_line, size, out)) ret_line[0] = '\0';
    if (out) fclose(out);
    else close(fds[0]);
    return status == SK_OK ? reap(what, pid, reterr) : status;
}

sk_status sk_bench_rt_spawn_rate(double *ret_per_s, sk_error *reterr) {
    pid_t     pids[N_SPAWNS];
    int       n = 0;
    double    start_s = sk_clock_now_s();
    sk_status status = SK_OK;
    while (n < N_SPAWNS && status == SK_OK)
        if ((status = spawn_child(CHILD_NOTHING, -1, &pids[n], reterr)) == SK_OK) n++;
    for (int i = 0; i < n; i++) {
        sk_status ended = reap(CHILD_NOTHING, pids[i], reterr);
        if (status == SK_OK) status = ended;
    }
    *ret_per_s = N_SPAWNS / (sk_clock_now_s() - start_s);
    return status;
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */
sk_status sk_bench_rt_start(const sk_bench *self, sk_error *reterr) {
    double    main_ms[N_STARTS], ready_ms[N_STARTS], first_ms[N_STARTS], driver_mb[N_STARTS], worker_mb[N_STARTS];
    long long main_ns, ready_ns, first_ns;
    char      line[256], settings[200];
    for (int i = 0; i < N_STARTS; i++) {
        int64_t start_ns = sk_clock_now_ns();
        SK_TRY(run_child(CHILD_START, line, sizeof line, reterr));
        if (sscanf(line, "%lld %lld %lld %lf %lf", &main_ns, &ready_ns, &first_ns, &driver_mb[i], &worker_mb[i]) != 5)
            return SK_FAIL(reterr, SK_ECORRUPT, "%s printed \"%s\", wanted five numbers", CHILD_START, line);
        main_ms[i] = (double)(main_ns - start_ns) * 1e-6;
        ready_ms[i] = (double)(ready_ns - start_ns) * 1e-6;
        first_ms[i] = (double)(first_ns - start_ns) * 1e-6;
        driver_mb[i] *= 1e-6;
        worker_mb[i] *= 1e-6;
    }
    double bare = sk_bench_median(main_ms, N_STARTS);
    if (sk_bench_rt_wants(self, "start_ms"))
        sk_bench_print(self, &(sk_bench_row){"runtime", "start_ms", "ms", sk_bench_median(ready_ms, N_STARTS), bare,
                                             "new process: from its spawn to runtime ready; limit: to main()"});
    if (sk_bench_rt_wants(self, "first_task_ms"))
        sk_bench_print(self, &(sk_bench_row){"runtime", "first_task_ms", "ms", sk_bench_median(first_ms, N_STARTS),
                                             2 * bare,
                                             "new process: from its spawn to the first result of a process task; "
                                             "limit: the program started twice"});
    double driver = sk_bench_median(driver_mb, N_STARTS), worker = sk_bench_median(worker_mb, N_STARTS);
    snprintf(settings, sizeof settings,
             "PSS (1e6 bytes), the larger of driver %.2f and worker %.2f, idle after two tasks", driver, worker);
    if (sk_bench_rt_wants(self, "idle_mb"))
        sk_bench_print(self, &(sk_bench_row){"runtime", "idle_mb", "MB/process", driver > worker ? driver : worker,
                                             0.0, settings});
    return SK_OK;
}

sk_status sk_bench_rt_queue(const sk_bench *self, sk_error *reterr) {
    double submit_s[64], total_s[64], peak[64], sum_s = 0.0;
    char   line[256], settings[200];
    int    n = 0;
    /* once if slow, so that the whole bench stays within a minute */
    while (n < self->n_repeats && (n == 0 || sum_s < 3.0)) {
        SK_TRY(run_child(CHILD_QUEUE, line, sizeof line, reterr));
        if (sscanf(line, "%lf %lf %lf", &submit_s[n], &total_s[n], &peak[n]) != 3)
            return SK_FAIL(reterr, SK_ECORRUPT, "%s printed \"%s\", wanted three numbers", CHILD_QUEUE, line);
        sum_s += total_s[n++];
    }
    snprintf(settings, sizeof settings,
             "new process: 1,000,000 tasks submitted (%.2f s), then all awaited; peak RSS of the driver %.0f MB (1e6)",
             sk_bench_median(submit_s, n), sk_bench_median(peak, n) * 1e-6);
    sk_bench_print(self, &(sk_bench_row){"runtime", "tasks_queued_1m_s", "s", sk_bench_median(total_s, n), 0.0,
                                         settings});
    return SK_OK;
}
