/* rig: what the tests of rl/ and algorithms/ share: a folder of their own, a training run from a config's text, and
 * a stream of experience with everything it stands on. Functions fail the test when something goes wrong. */
#ifndef SK_TESTS_RL_RIG_H
#define SK_TESTS_RL_RIG_H
#include "core/base/log.h"
#include "rl/modules.h"
#include "rl/stream.h"
#include "rl/train.h"
#include "rl/train_setup.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RIG_HELPER __attribute__((unused)) static

/* ---- log, folders, files ---- */

static char rig_warnings[8192]; /* lines of the log at WARN or above since the last rig_log_watch */

RIG_HELPER void rig_log_sink(void *user, sk_log_level level, const char *line) {
    (void)user;
    size_t used = strlen(rig_warnings);
    if (level >= SK_LOG_WARN) snprintf(rig_warnings + used, sizeof rig_warnings - used, "%s\n", line);
}
RIG_HELPER void rig_log_watch(void) {
    rig_warnings[0] = '\0';
    sk_log_set_sink(rig_log_sink, NULL);
}

/* A new folder; the caller removes it with rig_remove. */
RIG_HELPER char *rig_folder(void) {
    char *path = strdup("/tmp/skiff-test-XXXXXX");
    cr_assert(path && mkdtemp(path));
    return path;
}

RIG_HELPER void rig_remove_tree(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char child[1024];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        rig_remove_tree(child);
    }
    if (dir) closedir(dir);
    remove(path);
}
RIG_HELPER void rig_remove(char **path_p) {
    rig_remove_tree(*path_p);
    free(*path_p);
    *path_p = NULL;
}

/* Formatted text from a ring of static buffers: good until 64 calls later. */
RIG_HELPER SK_PRINTF(1, 2) const char *rig_text(const char *fmt, ...) {
    static char ring[64][4096];
    static int  next;
    char       *text = ring[next++ % 64];
    va_list     args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof ring[0], fmt, args);
    va_end(args);
    cr_assert(n >= 0 && (size_t)n < sizeof ring[0], "rig_text: too long");
    return text;
}

/* Path of a test plugin. */
RIG_HELPER const char *rig_plugin(const char *name) {
    return rig_text("%s/tests/rl/plugins/%s.so", getenv("SKIFF_BUILD_DIR"), name);
}

/* A whole file; the caller frees. */
RIG_HELPER unsigned char *rig_read(const char *path, size_t *ret_size) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s is missing", path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    unsigned char *bytes = malloc((size_t)size + 1);
    cr_assert(bytes && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    *ret_size = (size_t)size;
    return bytes;
}
RIG_HELPER void rig_write(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(bytes, 1, size, file) == size, "cannot write %s", path);
    fclose(file);
}
RIG_HELPER void rig_copy(const char *from, const char *to) {
    size_t         size;
    unsigned char *bytes = rig_read(from, &size);
    rig_write(to, bytes, size);
    free(bytes);
}

RIG_HELPER void rig_has(const char *text, const char *part) {
    cr_assert(strstr(text, part), "\"%s\" lacks \"%s\"", text, part);
}

/* Processes that `of` started and that still run; at most `max` are put into `pids`. */
RIG_HELPER int rig_children_of(int of, int *pids, int max) {
    int  n = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[300], state = 'Z';
        int  parent = 0;
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *file = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (!file) continue;
        if (fscanf(file, "%*d (%*[^)]) %c %d", &state, &parent) == 2 && parent == of && state != 'Z' && n < max)
            pids[n++] = atoi(e->d_name);
        fclose(file);
    }
    if (dir) closedir(dir);
    return n;
}

RIG_HELPER int rig_children(int *pids, int max) { return rig_children_of(getpid(), pids, max); }

/* ---- a training run ---- */

typedef struct rig_run {
    const char *yaml, *run_dir, *init_from; /* run_dir, init_from: NULL = none */
    const char *set[8];                     /* overrides "key=value"           */
    int         resume;
    const volatile int *interrupted;
    void (*on_progress)(void *user, const sk_train_progress *progress);
    void (*on_waiting)(void *user, const sk_train_waiting *waiting);
    const char *build;
    void       *user;
    /* what came of it */
    sk_status       status;
    sk_error        error;
    sk_train_result result;
} rig_run;

RIG_HELPER sk_status rig_train(rig_run *run) {
    sk_config *cfg = NULL;
    run->error = (sk_error){0};
    int n_set = 0;
    while (n_set < SK_COUNT(run->set) && run->set[n_set]) n_set++;
    run->status = sk_config_parse(run->yaml, "test.yaml", run->set, n_set, &cfg, &run->error);
    cr_assert_eq(run->status, SK_OK, "%s", run->error.msg);
    sk_train_params params = {.cfg = cfg, .run_dir = run->run_dir, .resume = run->resume, .init_from = run->init_from,
                              .interrupted = run->interrupted, .on_progress = run->on_progress, .on_waiting = run->on_waiting,
                              .build = run->build, .user = run->user};
    run->status = sk_train_run(&params, &run->result, &run->error);
    sk_config_destroy(&cfg);
    return run->status;
}
/* A run that must succeed. */
RIG_HELPER sk_train_result rig_train_ok(rig_run run) {
    cr_assert_eq(rig_train(&run), SK_OK, "%s", run.error.msg);
    cr_assert_eq(strlen(run.result.params_sha256), 64);
    return run.result;
}

/* ---- a stream ---- */

typedef struct rig {
    sk_config        *cfg;
    sk_train_setup    setup;
    sk_policy        *policy;
    sk_runtime       *runtime;
    sk_stream_source *stream;
    sk_metrics        metrics;
    sk_episode_window window;
    sk_error          error;
} rig;

/* The driver of runners, as sk_train_run has it. */
RIG_HELPER sk_status rig_runtime(sk_runtime **ret_runtime, sk_error *reterr) {
    static const sk_module *const modules[] = {&sk_rl_module};
    sk_runtime_params params = {.modules = modules, .n_modules = 1, .worker_has_modules = true};
    return sk_runtime_create(&params, ret_runtime, reterr);
}

/* From a config's text; parameters are made from the config's seed. `keep_final_obs` as in sk_stream_params. */
RIG_HELPER sk_status rig_try_open(rig *r, const char *yaml, int keep_final_obs) {
    *r = (rig){0};
    cr_assert_eq(sk_config_parse(yaml, "test.yaml", NULL, 0, &r->cfg, &r->error), SK_OK, "%s", r->error.msg);
    cr_assert_eq(sk_train_setup_init(&r->setup, r->cfg, &r->error), SK_OK, "%s", r->error.msg);
    const sk_train_config *c = &r->setup.config;
    cr_assert_eq(sk_policy_create(&r->setup.spaces, &c->model, (sk_obs_filter)c->env_runners.observation_filter,
                                  (uint64_t)c->seed, &r->policy, &r->error), SK_OK, "%s", r->error.msg);
    cr_assert_eq(rig_runtime(&r->runtime, &r->error), SK_OK, "%s", r->error.msg);
    sk_stream_params stream = {.runtime = r->runtime, .env = r->setup.env, .config = c, .policy = r->policy,
                               .metrics = &r->metrics, .window = &r->window, .keep_final_obs = keep_final_obs};
    return sk_stream_create(&stream, &r->stream, &r->error);
}
RIG_HELPER void rig_open(rig *r, const char *yaml, int keep_final_obs) {
    cr_assert_eq(rig_try_open(r, yaml, keep_final_obs), SK_OK, "%s", r->error.msg);
}
RIG_HELPER void rig_close(rig *r) {
    sk_stream_destroy(&r->stream);
    sk_runtime_destroy(&r->runtime);
    sk_policy_destroy(&r->policy);
    sk_train_setup_deinit(&r->setup);
    sk_config_destroy(&r->cfg);
}
RIG_HELPER const sk_batch *rig_next(rig *r) {
    const sk_batch *batch = NULL;
    cr_assert_eq(sk_source_next(sk_stream_source_of(r->stream), &batch, &r->error), SK_OK, "%s", r->error.msg);
    return batch;
}

#endif
