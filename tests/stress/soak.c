/* soak [SECONDS]: does anything grow? Trains with runners in threads and in processes, episodes ending all the time,
 * with evaluations and checkpoints, for so many seconds each (SKIFF_SOAK_S, else 5), then makes and destroys runtimes
 * and actors over and over. After a warm-up the heap, the memory of the driver and of its workers, open files and
 * threads must stay as they are. Prints TAP. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "rl/train.h"
#include "skiff/skiff.h"

#include <dirent.h>
#include <ftw.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How much a quantity may grow from the middle of the samples to their end, by a line through them. */
#define HEAP_MAX 16384.0          /* [bytes]; what is in use, which malloc knows exactly           */
#define RSS_MAX  (768.0 * 1024.0) /* [bytes]; of a process: pages come and go with the allocator   */
#define SHARED_MAX 4.5e6          /* [bytes]; the tables of the board fill up: its last 65,536 events are 3.7 MB */

enum { SAMPLES_MAX = 8192, CYCLES = 1000, PROCESS_CYCLES = 60 };

typedef enum quantity { HEAP, RSS, SHARED, WORKERS, FILES, THREADS, N_QUANTITIES } quantity;
static const char *const names[N_QUANTITIES] = {"heap", "driver", "shared", "workers", "files", "threads"};

static struct {
    double x, value[N_QUANTITIES];
} samples[SAMPLES_MAX];
static int n_samples, n_tests, n_failed;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "soak: %s: %s\n", what, why);
    exit(1);
}

/* ---- looking ---- */

/* Resident memory of its own, and what it shares with others (also files). */
static double resident_bytes(const char *pid, double *ret_shared) {
    char path[300];
    long pages = 0, shared = 0;
    snprintf(path, sizeof path, "/proc/%s/statm", pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%*d %ld %ld", &pages, &shared) != 2) pages = shared = 0;
    if (file) fclose(file); /* else it has just ended */
    if (ret_shared) *ret_shared = (double)shared * (double)sysconf(_SC_PAGESIZE);
    return (double)(pages - shared) * (double)sysconf(_SC_PAGESIZE);
}

static int count_entries(const char *folder) {
    int  n = 0;
    DIR *dir = opendir(folder);
    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n;
}

static double children_bytes(void) {
    double bytes = 0.0;
    char   path[64], pid[32];
    DIR *tasks = opendir("/proc/self/task"); /* whichever thread started them */
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%.20s/children", e->d_name);
        FILE *file = fopen(path, "re");
        while (file && fscanf(file, "%31s", pid) == 1) bytes += resident_bytes(pid, NULL);
        if (file) fclose(file);
    }
    if (tasks) closedir(tasks);
    return bytes;
}

static void take_sample(double x) {
    if (n_samples == SAMPLES_MAX) return;
    samples[n_samples].x = x;
    double *value = samples[n_samples++].value;
    value[RSS] = resident_bytes("self", &value[SHARED]);
    value[WORKERS] = children_bytes();
    value[FILES] = count_entries("/proc/self/fd");
    value[THREADS] = count_entries("/proc/self/task");
    value[HEAP] = (double)mallinfo2().uordblks;
}

/* ---- judging ---- */

/* Growth of a quantity over the second half of the samples, along the line of least squares. */
static double growth_of(quantity q) {
    int    first = n_samples / 2, n = n_samples - first;
    double mx = 0.0, my = 0.0, sxy = 0.0, sxx = 0.0;
    for (int i = first; i < n_samples; i++) {
        mx += samples[i].x / n;
        my += samples[i].value[q] / n;
    }
    for (int i = first; i < n_samples; i++) {
        sxy += (samples[i].x - mx) * (samples[i].value[q] - my);
        sxx += (samples[i].x - mx) * (samples[i].x - mx);
    }
    return sxx > 0.0 ? sxy / sxx * (samples[n_samples - 1].x - samples[first].x) : 0.0;
}

static void judge(const char *what, int n_workers) {
    const double most[N_QUANTITIES] = {HEAP_MAX, RSS_MAX, SHARED_MAX, RSS_MAX * (n_workers > 0 ? n_workers : 1), 0.5, 0.5};
    n_failed += n_samples < 20;
    printf("%sok %d - %s: enough samples (%d)\n", n_samples < 20 ? "not " : "", ++n_tests, what, n_samples);
    for (int q = 0; q < N_QUANTITIES && n_samples >= 20; q++) {
        double growth = growth_of((quantity)q);
        int    bad = !(growth <= most[q]);
        n_failed += bad;
        printf("%sok %d - %s: %s from %.0f to %.0f, by a line %+.0f, at most %.0f\n", bad ? "not " : "", ++n_tests, what,
               names[q], samples[n_samples / 2].value[q], samples[n_samples - 1].value[q], growth, most[q]);
    }
    fflush(stdout);
    n_samples = 0;
}

/* ---- training ---- */

static volatile int interrupted;
static double       start_s, end_s, next_s;

static void on_progress(void *user, const sk_train_progress *progress) {
    (void)user, (void)progress;
    double now_s = sk_clock_now_s();
    if (now_s > end_s) interrupted = 1;
    if (now_s < next_s || interrupted) return;
    next_s = now_s + (end_s - start_s) / 400.0;
    take_sample(now_s - start_s);
}

static void train(const char *placement, const char *run_dir, double seconds) {
    char       yaml[1000];
    sk_config *cfg = NULL;
    sk_error   err = {0};
    snprintf(yaml, sizeof yaml,
             "algorithm: ppo\nenv: {name: CartPole-v1, max_episode_steps: 7}\nseed: 1\nmodel: {fcnet_hiddens: [32]}\n"
             "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 4, rollout_fragment_length: 32,\n"
             "  placement: %s, observation_filter: MeanStdFilter, normalize_rewards: true}\n"
             "training: {num_epochs: 1, minibatch_size: 64}\nevaluation: {interval_steps: 512, num_episodes: 2}\n"
             "checkpoint: {interval_steps: 5120, keep: 2}\nstop: {num_env_steps_sampled_lifetime: 1000000000}\n", placement);
    sk_train_result result;
    sk_train_params params = {.run_dir = run_dir, .interrupted = &interrupted, .on_progress = on_progress};
    if (sk_config_parse(yaml, "soak.yaml", NULL, 0, &cfg, &err) != SK_OK) fail(placement, err.msg);
    params.cfg = cfg;
    interrupted = 0;
    start_s = next_s = sk_clock_now_s();
    end_s = start_s + seconds;
    if (sk_train_run(&params, &result, &err) != SK_OK) fail(placement, err.msg);
    sk_config_destroy(&cfg);
    printf("# %s: %.0f iterations\n", placement, sk_metrics_get(&result.metrics, SK_METRIC_TRAINING_ITERATION, 0.0));
    judge(strcmp(placement, "thread") == 0 ? "training, runners in threads" : "training, runners in processes", 2);
}

/* ---- runtimes ---- */

/* An actor with a little memory of its own. */
static sk_status probe_create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)call;
    *ret_self = calloc(1, 1000);
    return *ret_self ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "no memory");
}
/* Answer with the argument. */
static sk_status probe_call(void *self, int method, sk_call *call, sk_error *reterr) {
    (void)self, (void)method;
    sk_bytes in = sk_call_arg(call, 0);
    return sk_call_write(call, 0, in.data, in.size, reterr);
}
static const char *const           probe_methods[] = {"echo"};
static const sk_actor_class        probe_class = {.name = "probe", .methods = probe_methods, .n_methods = 1,
                                                  .create = probe_create, .call = probe_call, .destroy = free};
static const sk_actor_class *const probe_classes[] = {&probe_class};
static const sk_module             probe_module = {.abi = SK_MODULE_ABI, .struct_size = sizeof(sk_module),
                                                   .name = "soak", .classes = probe_classes, .n_classes = 1};
static const sk_module *const      probe_modules[] = {&probe_module};

/* A small object and one that lies in shared memory. */
static void call_probe(sk_runtime *rt, sk_actor actor, size_t size) {
    static char bytes[100000];
    sk_arg      arg = sk_by_value(bytes, size);
    sk_method   method = {.args = &arg, .n_args = 1};
    sk_ref      answer = {0};
    sk_bytes    value = {0};
    sk_error    err = {0};
    if (sk_actor_call(rt, actor, &method, &answer, &err) != SK_OK || sk_get(rt, answer, 60000, &value, &err) != SK_OK ||
        value.size != size)
        fail("call", err.msg);
    sk_release(rt, &answer);
}

static void cycle(sk_placement placement) {
    sk_runtime       *rt = NULL;
    sk_actor          actors[3] = {{0}};
    sk_error          err = {0};
    sk_actor_params   how = {.class_name = "probe", .placement = placement};
    sk_runtime_params params = {.modules = probe_modules, .n_modules = 1, .worker_has_modules = true,
                                .worker_path = "/proc/self/exe", .store_bytes = (size_t)16 << 20};
    if (sk_runtime_create(&params, &rt, &err) != SK_OK) fail("runtime", err.msg);
    for (int i = 0; i < SK_COUNT(actors); i++)
        if (sk_actor_create(rt, &how, &actors[i], &err) != SK_OK) fail("actor", err.msg);
    for (int i = 0; i < SK_COUNT(actors); i++)
        if (sk_actor_wait(rt, actors[i], 60000, &err) != SK_OK) fail("actor", err.msg);
    call_probe(rt, actors[0], 10);
    call_probe(rt, actors[1], 100000);
    sk_actor_join(rt, &actors[1], 1, 60000); /* one by hand, the others by the runtime */
    sk_runtime_destroy(&rt);
}

static void cycle_runtimes(sk_placement placement, const char *what, int n) {
    for (int i = 0; i < n; i++) {
        cycle(placement);
        take_sample(i);
    }
    judge(what, 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void be_quiet(void *user, sk_log_level level, const char *line) {
    (void)user;
    if (level >= SK_LOG_WARN) fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0) return sk_worker_main(argc - 2, argv + 2, probe_modules, 1);
    const char *text = argc > 1 ? argv[1] : getenv("SKIFF_SOAK_S"), *base = getenv("TMPDIR");
    double      seconds = text ? atof(text) : 5.0;
    char        folder[300];
    snprintf(folder, sizeof folder, "%.250s/skiff-soak-XXXXXX", base && *base ? base : "/tmp");
    mallopt(M_ARENA_MAX, 1); /* else resident memory depends on which threads met in malloc */
    if (!mkdtemp(folder)) fail(folder, "cannot be made");
    sk_log_set_sink(be_quiet, NULL);
    train("thread", folder, seconds);
    train("process", folder, seconds);
    cycle_runtimes(SK_PLACE_INLINE, "runtimes with actors inline", CYCLES);
    cycle_runtimes(SK_PLACE_THREAD, "runtimes with actors in threads", CYCLES);
    cycle_runtimes(SK_PLACE_PROCESS, "runtimes with actors in processes", PROCESS_CYCLES);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    printf("1..%d\n", n_tests);
    return n_failed > 0;
}
