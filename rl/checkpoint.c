#include "rl/checkpoint.h"

#include "core/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };
/* No run counts so far (a double's integers end there, too); what a file says beyond it is damage. */
static const int64_t COUNT_MAX = (int64_t)1 << 53;

static sk_status path_of(char *ret_path, sk_error *reterr, const char *fmt, ...) SK_PRINTF(3, 4);
static sk_status path_of(char *ret_path, sk_error *reterr, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(ret_path, PATH_SIZE, fmt, args);
    va_end(args);
    return n > 0 && n < PATH_SIZE ? SK_OK : SK_FAIL(reterr, SK_EINVAL, "the run folder's path is too long");
}

static sk_status make_folder(const char *path, sk_error *reterr) {
    if (mkdir(path, 0755) == 0 || errno == EEXIST) return SK_OK;
    return SK_FAIL(reterr, SK_EIO, "cannot make folder \"%s\": %s", path, strerror(errno));
}

/* Remove a folder of plain files. What cannot be removed is logged: it is litter, not a loss. */
static void remove_folder(const char *path) {
    char file[PATH_SIZE];
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (path_of(file, NULL, "%s/%s", path, e->d_name) == SK_OK) unlink(file);
    }
    closedir(dir);
    if (rmdir(path) != 0) sk_log(SK_LOG_WARN, "cannot remove \"%s\": %s", path, strerror(errno));
}

/* Env steps if `name` is a finished checkpoint's, else -1. */
static int64_t steps_of(const char *name) {
    char   *end = NULL;
    int64_t steps = strtoll(name, &end, 10);
    return end != name && *end == '\0' && steps >= 0 ? steps : -1;
}

int64_t sk_checkpoint_newest(const char *run_dir) {
    char    path[PATH_SIZE];
    int64_t newest = -1;
    if (path_of(path, NULL, "%s/checkpoints", run_dir) != SK_OK) return -1;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (steps_of(e->d_name) > newest) newest = steps_of(e->d_name);
    if (dir) closedir(dir);
    return newest;
}

/* Keep the `keep` newest: remove the oldest while there are more. Half-written ones of a crash go too. */
static void prune(const char *folder, int64_t keep) {
    for (;;) {
        char    path[PATH_SIZE];
        int64_t n = 0, oldest = INT64_MAX;
        DIR    *dir = opendir(folder);
        if (!dir) return;
        for (struct dirent *e; (e = readdir(dir));) {
            int64_t steps = steps_of(e->d_name);
            if (strncmp(e->d_name, ".tmp-", 5) == 0 && path_of(path, NULL, "%s/%s", folder, e->d_name) == SK_OK)
                remove_folder(path);
            if (steps < 0) continue;
            n++;
            if (steps < oldest) oldest = steps;
        }
        closedir(dir);
        if (n <= keep || path_of(path, NULL, "%s/%lld", folder, (long long)oldest) != SK_OK) return;
        remove_folder(path);
        if (access(path, F_OK) == 0) return; /* it would not go */
    }
}

static json_t *metrics_object(const sk_metrics *metrics) {
    json_t *object = json_object();
    for (int i = 0; object && i < SK_METRIC_COUNT; i++)
        if (metrics->present[i])
            json_object_set_new(object, sk_metric_info_get((sk_metric)i)->name, json_real(metrics->value[i]));
    return object;
}

/* Numbers that must be the same for a checkpoint to be of this experiment. */
static json_t *experiment_object(const sk_checkpoint_state *s) {
    return json_pack("{s:s, s:s, s:I, s:I, s:I}", "algorithm", s->algorithm->name, "env", sk_env_info_get(s->env)->name,
                     "seed", (json_int_t)s->config->seed, "environments", (json_int_t)sk_train_config_n_envs(s->config),
                     "rollout_fragment_length", (json_int_t)s->config->env_runners.rollout_fragment_length);
}

static sk_status fill_state(const sk_checkpoint_state *s, sk_pack_writer *writer, sk_error *reterr) {
    void   *envs = NULL;
    size_t  envs_size = 0;
    int     complete = 0;
    json_t *json = sk_pack_writer_json(writer);
    int     bad = json_object_set_new(json, "experiment", experiment_object(s)) |
              json_object_set_new(json, "metrics", metrics_object(s->metrics)) |
              json_object_set_new(json, "step", json_integer(sk_stream_step(s->stream))) |
              json_object_set_new(json, "device", json_string(s->device));
    if (bad) return SK_FAIL(reterr, SK_ENOMEM, "checkpoint: no memory");
    SK_TRY(sk_stream_save(s->stream, &envs, &envs_size, &complete, reterr));
    json_object_set_new(json, "env_state_complete", json_boolean(complete));
    sk_status status = sk_pack_writer_add(writer, "environments", envs ? envs : "", envs_size, reterr);
    free(envs);
    SK_TRY(status);
    SK_TRY(sk_pack_writer_add(writer, "episode_window", s->window, sizeof *s->window, reterr));
    SK_TRY(sk_pack_writer_add(writer, "best_return", s->best_return, sizeof *s->best_return, reterr));
    if (s->replay) SK_TRY(sk_replay_source_save(s->replay, writer, reterr));
    return s->algorithm->save(s->algorithm_self, writer, reterr);
}

static sk_status write_files(const char *folder, const sk_checkpoint_state *s, sk_error *reterr) {
    char path[PATH_SIZE];
    SK_AUTO(sk_pack_writer) writer = NULL;
    SK_TRY(make_folder(folder, reterr));
    SK_TRY(path_of(path, reterr, "%s/policy.skiff", folder));
    SK_TRY(sk_policy_save(s->policy, path, reterr));
    SK_TRY(sk_pack_writer_create(SK_PACK_CHECKPOINT, SK_CHECKPOINT_VERSION, &writer, reterr));
    SK_TRY(fill_state(s, writer, reterr));
    SK_TRY(path_of(path, reterr, "%s/state.skiff", folder));
    return sk_pack_writer_save(writer, path, reterr);
}

/* Give a finished folder its name, durably. */
static sk_status publish(const char *from, const char *to, const char *parent, sk_error *reterr) {
    remove_folder(to); /* an earlier checkpoint of the very same step */
    if (rename(from, to) != 0)
        return SK_FAIL(reterr, SK_EIO, "cannot rename \"%s\" to \"%s\": %s", from, to, strerror(errno));
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    return synced ? SK_OK : SK_FAIL(reterr, SK_EIO, "cannot sync \"%s\": %s", parent, strerror(errno));
}

sk_status sk_checkpoint_save(const char *run_dir, const sk_checkpoint_state *s, int64_t keep, sk_error *reterr) {
    char      parent[PATH_SIZE], temporary[PATH_SIZE], final[PATH_SIZE];
    long long steps = (long long)sk_metrics_get(s->metrics, SK_METRIC_ENV_STEPS, 0.0);
    SK_TRY(path_of(parent, reterr, "%s/checkpoints", run_dir));
    SK_TRY(path_of(temporary, reterr, "%s/checkpoints/.tmp-%lld", run_dir, steps));
    SK_TRY(path_of(final, reterr, "%s/checkpoints/%lld", run_dir, steps));
    SK_TRY(make_folder(parent, reterr));
    sk_status status = write_files(temporary, s, reterr);
    if (status == SK_OK) status = publish(temporary, final, parent, reterr);
    if (status != SK_OK) {
        remove_folder(temporary);
        return status;
    }
    prune(parent, keep);
    return SK_OK;
}

sk_status sk_checkpoint_save_best(const char *run_dir, const sk_policy *policy, sk_error *reterr) {
    char path[PATH_SIZE];
    SK_TRY(path_of(path, reterr, "%s/checkpoints", run_dir));
    SK_TRY(make_folder(path, reterr));
    SK_TRY(path_of(path, reterr, "%s/checkpoints/best", run_dir));
    SK_TRY(make_folder(path, reterr));
    SK_TRY(path_of(path, reterr, "%s/checkpoints/best/policy.skiff", run_dir));
    return sk_policy_save(policy, path, reterr);
}

static sk_status newest_file(const char *run_dir, const char *name, char *ret_path, sk_error *reterr) {
    int64_t steps = sk_checkpoint_newest(run_dir);
    if (steps < 0) return SK_FAIL(reterr, SK_ENOTFOUND, "\"%s\" holds no checkpoint to resume from", run_dir);
    return path_of(ret_path, reterr, "%s/checkpoints/%lld/%s", run_dir, (long long)steps, name);
}

sk_status sk_checkpoint_load_policy(const char *run_dir, sk_policy **ret_policy, sk_error *reterr) {
    char path[PATH_SIZE];
    SK_TRY(newest_file(run_dir, "policy.skiff", path, reterr));
    return sk_policy_load(path, ret_policy, reterr);
}

static sk_status check_experiment(const json_t *json, const sk_checkpoint_state *s, sk_error *reterr) {
    json_t     *saved = json_object_get(json, "experiment"), *mine = experiment_object(s), *value;
    const char *key;
    sk_status   status = mine ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "checkpoint: no memory");
    if (!json_is_object(saved)) status = SK_FAIL(reterr, SK_ECORRUPT, "it does not say which experiment it is of");
    json_object_foreach(mine, key, value) {
        json_t *was = json_object_get(saved, key);
        if (status != SK_OK || json_equal(was, value)) continue;
        char *had = was ? json_dumps(was, JSON_ENCODE_ANY) : NULL, *wants = json_dumps(value, JSON_ENCODE_ANY);
        status = SK_FAIL(reterr, SK_ECONFIG, "it is of another experiment: %s was %s, the config says %s", key,
                         had ? had : "not there", wants ? wants : "?");
        free(had);
        free(wants);
    }
    json_decref(mine);
    return status;
}

static sk_status read_numbers(const json_t *json, const sk_checkpoint_state *s, int64_t *ret_step, sk_error *reterr) {
    json_int_t   step = 0;
    json_t      *metrics = NULL, *value;
    const char  *device = NULL, *key;
    json_error_t why;
    if (json_unpack_ex((json_t *)(uintptr_t)json, &why, 0, "{s:I, s:o, s:s}", "step", &step, "metrics", &metrics,
                       "device", &device))
        return SK_FAIL(reterr, SK_ECORRUPT, "%s", why.text);
    *ret_step = step;
    json_object_foreach(metrics, key, value) {
        int metric = sk_metric_find(key);
        if (metric >= 0 && json_is_number(value)) sk_metrics_set(s->metrics, (sk_metric)metric, json_number_value(value));
    }
    double env_steps = sk_metrics_get(s->metrics, SK_METRIC_ENV_STEPS, 0.0);
    if (step < 0 || step > COUNT_MAX || !(env_steps >= 0.0 && env_steps <= (double)COUNT_MAX))
        return SK_FAIL(reterr, SK_ECORRUPT, "it says it is at step %lld, after %g env steps", (long long)step, env_steps);
    if (strcmp(device, s->device) != 0)
        sk_log(SK_LOG_WARN, "the checkpoint was made on \"%s\", this is \"%s\": the last bits may differ", device,
               s->device);
    return SK_OK;
}

static sk_status read_state(const sk_pack *pack, const sk_checkpoint_state *s, sk_error *reterr) {
    const json_t *json = sk_pack_json(pack);
    const void   *bytes = NULL;
    size_t        size = 0;
    int64_t       step = 0;
    SK_TRY(check_experiment(json, s, reterr));
    SK_TRY(read_numbers(json, s, &step, reterr));
    SK_TRY(sk_pack_section(pack, "episode_window", sizeof *s->window, &bytes, NULL, reterr));
    memcpy(s->window, bytes, sizeof *s->window);
    if (s->window->n_total < 0 || s->window->n_total > COUNT_MAX) { /* it is an index, too */
        long long n_total = (long long)s->window->n_total;
        s->window->n_total = 0;
        return SK_FAIL(reterr, SK_ECORRUPT, "it says that %lld episodes have ended", n_total);
    }
    SK_TRY(sk_pack_section(pack, "best_return", sizeof *s->best_return, &bytes, NULL, reterr));
    memcpy(s->best_return, bytes, sizeof *s->best_return);
    SK_TRY(sk_pack_section(pack, "environments", SIZE_MAX, &bytes, &size, reterr));
    SK_TRY(sk_stream_load(s->stream, bytes, size, step, reterr));
    if (!json_is_true(json_object_get(json, "env_state_complete")))
        sk_log(SK_LOG_WARN, "environment \"%s\" cannot save its state: its episodes start anew, so the run goes on but not "
               "bit for bit", sk_env_info_get(s->env)->name);
    if (s->replay) SK_TRY(sk_replay_source_load(s->replay, pack, reterr));
    return s->algorithm->load(s->algorithm_self, pack, reterr);
}

sk_status sk_checkpoint_load_state(const char *run_dir, const sk_checkpoint_state *s, sk_error *reterr) {
    char path[PATH_SIZE];
    SK_AUTO(sk_pack) pack = NULL;
    SK_TRY(newest_file(run_dir, "state.skiff", path, reterr));
    SK_TRY(sk_pack_load(path, SK_PACK_CHECKPOINT, SK_CHECKPOINT_VERSION, &pack, reterr));
    sk_status status = read_state(pack, s, reterr);
    if (status != SK_OK) sk_error_prefix(reterr, "checkpoint %s", path);
    return status;
}
