/* A real head and its learner: a runtime with a cluster, the stream of `placement: remote`, PPO on what it gives. */
#include "tests/bench/scaling.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "rl/modules.h"
#include "rl/stream.h"
#include "rl/train_setup.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOIN_MS = 60000, WARM_UP = 2 };

typedef struct head {
    sk_source         base; /* of the learner's experience */
    scaling_shared   *shared;
    scaling_result   *r;
    sk_train_setup    setup;
    sk_policy        *policy;
    sk_device        *device;
    void             *algorithm;
    sk_runtime       *rt;
    sk_stream_source *stream;
    sk_metrics        metrics;
    sk_episode_window window;
} head;

/* ---- what the process uses ----------------------------------------------------------------------------------- */
/* Resident memory [MB]: its own, and shared. */
static void read_memory(double *ret_own_mb, double *ret_shared_mb) {
    char  line[256];
    long  kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    *ret_own_mb = *ret_shared_mb = 0.0;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "RssAnon: %ld", &kb) == 1 || sscanf(line, "RssFile: %ld", &kb) == 1)
            *ret_own_mb += (double)kb / 1e3;
        if (sscanf(line, "RssShmem: %ld", &kb) == 1) *ret_shared_mb = (double)kb / 1e3;
    }
    if (f) fclose(f);
}

static double own_mb(void) {
    double own = 0.0, shared = 0.0;
    read_memory(&own, &shared);
    return own;
}

/* CPU time of this process's threads whose names begin so [s]. */
static double cpu_of(const char *name) {
    struct dirent *entry;
    double         sum = 0.0;
    DIR           *dir = opendir("/proc/self/task");
    while (dir && (entry = readdir(dir))) {
        char  path[320], comm[64] = "";
        long long ns = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *f = fopen(path, "re");
        if (f && fgets(comm, sizeof comm, f) && strncmp(comm, name, strlen(name)) == 0) {
            snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", entry->d_name);
            FILE *stat = fopen(path, "re");
            if (stat && fscanf(stat, "%lld", &ns) == 1) sum += (double)ns * 1e-9;
            if (stat) fclose(stat);
        }
        if (f) fclose(f);
    }
    if (dir) closedir(dir);
    return sum;
}

static int count_descriptors(void) {
    int  n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n - 3; /* ".", "..", and the folder itself */
}

static double thread_cpu_s(void) {
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* ---- experience ---------------------------------------------------------------------------------------------- */
/* The stream's batch; what it takes to get it is counted. */
static sk_status next(sk_source *base, const sk_batch **ret_batch, sk_error *reterr) {
    head     *h = (head *)base;
    double    start_s = sk_clock_now_s(), cpu_s = thread_cpu_s();
    sk_status status = sk_source_next(sk_stream_source_of(h->stream), ret_batch, reterr);
    h->r->sample_s += sk_clock_now_s() - start_s;
    h->r->call_s += thread_cpu_s() - cpu_s;
    return status;
}
static const sk_source_ops source_ops = {next, NULL};

/* ---- life ---------------------------------------------------------------------------------------------------- */
static sk_status open_cluster(head *h, sk_error *reterr) {
    static const sk_module *const modules[] = {&sk_rl_module};
    const scaling_case           *c = &h->shared->c;
    char                          key[SK_KEY_TEXT_MAX];
    sk_cluster_key_write(&h->shared->key, key);
    setenv("SKIFF_CLUSTER_KEY", key, 1);
    sk_cluster_params cluster = {.bind = "tcp://127.0.0.1:0", .plain = c->plain, .build = SCALING_BUILD};
    sk_runtime_params params = {.name = "scaling", .modules = modules, .n_modules = 1, .worker_has_modules = true,
                                .cluster = &cluster};
    SK_TRY(sk_runtime_create(&params, &h->rt, reterr));
    snprintf(h->shared->endpoint, sizeof h->shared->endpoint, "%s", sk_runtime_endpoint(h->rt));
    atomic_store(&h->shared->listening, 1);
    SK_TRY(sk_runtime_wait_hosts(h->rt, c->n_nodes, JOIN_MS, NULL, reterr));
    h->r->joined_mb = own_mb();
    return SK_OK;
}

static sk_status open_learner(head *h, sk_error *reterr) {
    sk_stream_params stream = {.runtime = h->rt, .env = h->setup.env, .config = &h->setup.config, .policy = h->policy,
                               .metrics = &h->metrics, .window = &h->window};
    SK_TRY(sk_stream_create(&stream, &h->stream, reterr));
    sk_batch_shape shape = sk_stream_shape(h->stream);
    h->r->batch_mb = (double)sk_batch_bytes(&shape) / 1e6;
    h->r->made_mb = own_mb();
    if (!h->shared->c.learns) return SK_OK;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    SK_TRY(sk_device_create_cpu(cores < 1 ? 1 : cores > 4 ? 4 : (int)cores, &h->device, reterr));
    sk_algorithm_context context = {.device = h->device, .policy = h->policy, .config = &h->setup.config,
                                    .own = h->setup.own, .shape = shape};
    return h->setup.algorithm->create(&context, &h->algorithm, reterr);
}

static sk_status open_head(head *h, sk_config *cfg, sk_error *reterr) {
    SK_TRY(sk_train_setup_init(&h->setup, cfg, reterr));
    SK_TRY(sk_policy_create(&h->setup.spaces, &h->setup.config.model, SK_FILTER_NONE, 1, &h->policy, reterr));
    h->r->base_mb = own_mb();
    SK_TRY(open_cluster(h, reterr));
    return open_learner(h, reterr);
}

static sk_status iterate(head *h, sk_error *reterr) {
    const sk_batch *batch = NULL;
    if (!h->shared->c.learns) return next(&h->base, &batch, reterr);
    return h->setup.algorithm->learn(h->algorithm, &h->base, &h->metrics, reterr);
}

typedef struct counts {
    double hosts_s, zmq_s, pump_s, frames_up, frames_down, bytes_up, bytes_down;
} counts;
static counts count_now(head *h) {
    scaling_shared *s = h->shared;
    return (counts){cpu_of("skiff-hosts"), cpu_of("ZMQbg"), cpu_of("skiff-pump"), (double)atomic_load(&s->frames_up),
                    (double)atomic_load(&s->frames_down), (double)atomic_load(&s->bytes_up),
                    (double)atomic_load(&s->bytes_down)};
}

static sk_status measure(head *h, sk_error *reterr) {
    scaling_result *r = h->r;
    for (int i = 0; i < (h->shared->c.learns ? 1 : WARM_UP); i++) SK_TRY(iterate(h, reterr));
    r->sample_s = r->call_s = 0.0;
    counts before = count_now(h);
    double start_s = sk_clock_now_s();
    while (r->n_iterations == 0 || sk_clock_now_s() - start_s < h->shared->c.seconds) {
        SK_TRY(iterate(h, reterr));
        r->n_iterations++;
    }
    r->wall_s = sk_clock_now_s() - start_s;
    counts after = count_now(h);
    r->learn_s = r->wall_s - r->sample_s;
    r->hosts_s = after.hosts_s - before.hosts_s;
    r->zmq_s = after.zmq_s - before.zmq_s;
    r->pump_s = after.pump_s - before.pump_s;
    r->frames_up = after.frames_up - before.frames_up;
    r->frames_down = after.frames_down - before.frames_down;
    r->bytes_up = after.bytes_up - before.bytes_up;
    r->bytes_down = after.bytes_down - before.bytes_down;
    read_memory(&r->end_mb, &r->shared_mb);
    r->n_descriptors = count_descriptors();
    return SK_OK;
}

static void close_head(head *h) {
    sk_stream_destroy(&h->stream);
    sk_runtime_destroy(&h->rt);
    if (h->algorithm) h->setup.algorithm->destroy(h->algorithm);
    sk_device_destroy(&h->device);
    sk_policy_destroy(&h->policy);
    sk_train_setup_deinit(&h->setup);
}

static void print_line(void *user, sk_log_level level, const char *line) {
    (void)user;
    if (level >= SK_LOG_WARN) fprintf(stderr, "head: %s\n", line);
}

int scaling_head(scaling_shared *shared) {
    char       text[1024];
    sk_error   err = {0};
    sk_config *cfg = NULL;
    head       h = {.base = {&source_ops}, .shared = shared, .r = &shared->result};
    sk_log_set_sink(print_line, NULL);
    scaling_config(&shared->c, shared->c.n_runners, text, sizeof text);
    sk_status status = sk_config_parse(text, "scaling", NULL, 0, &cfg, &err);
    if (status == SK_OK) status = open_head(&h, cfg, &err);
    if (status == SK_OK) status = measure(&h, &err);
    if (status != SK_OK) snprintf(shared->head_failure, sizeof shared->head_failure, "%s", err.msg);
    close_head(&h);
    atomic_store(&shared->over, 1);
    sk_config_destroy(&cfg);
    return status == SK_OK ? 0 : 1;
}
