/* train: build, loop, report. The learner lives in the driver's own thread (as RLlib's num_learners 0); runners are
 * actors wherever the config puts them. */
#include "rl/train.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "nn/cpu/kernels.h"
#include "policies/policy.h"
#include "rl/algorithm.h"
#include "rl/checkpoint.h"
#include "rl/env.h"
#include "rl/evaluate.h"
#include "rl/modules.h"
#include "rl/runner_arg.h"
#include "rl/stream.h"
#include "rl/train_setup.h"
#include "skiff/skiff.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_SIZE = 64, PATH_SIZE = 4096, LOOK_MS = 200 /* between two looks while hosts are waited for */ };

typedef struct trainer {
    const sk_train_params *p;
    sk_train_setup         setup; /* bound configs, environment, spaces          */
    char                  *env_text; /* of that environment, for runners         */
    sk_policy             *policy;
    sk_device             *device;
    sk_runtime            *runtime;
    sk_stream_source      *stream;
    sk_replay_source      *replay; /* NULL: the algorithm reads the stream */
    void                  *algorithm;
    sk_metrics             metrics;
    sk_episode_window      window;
    double                 best_return, start_s, former_s; /* former_s: wall time before a resume */
    int64_t                next_eval, next_checkpoint;     /* env steps; INT64_MAX = never         */
    int                    evaluated; /* the present policy has been evaluated   */
    int                    saved;     /* the present state is on disk            */
    int                    n_hosts;   /* that had joined at the last look        */
} trainer;

static const sk_train_config *config_of(const trainer *t) { return &t->setup.config; }
static int64_t env_steps(const trainer *t) { return (int64_t)sk_metrics_get(&t->metrics, SK_METRIC_ENV_STEPS, 0.0); }

static void close_trainer(trainer *t) {
    if (t->algorithm) t->setup.algorithm->destroy(t->algorithm);
    sk_replay_source_destroy(&t->replay);
    sk_stream_destroy(&t->stream);
    sk_runtime_destroy(&t->runtime);
    sk_policy_destroy(&t->policy);
    sk_device_destroy(&t->device);
    free(t->env_text);
    sk_train_setup_deinit(&t->setup);
}

/* ---- building ----------------------------------------------------------------------------------------------- */

/* All cores, at most 4: a learner's slots (nn/plan.h) keep no more busy. */
static int learner_threads(const sk_train_config *c) {
    if (c->learners.num_cpus_per_learner > 0) return (int)c->learners.num_cpus_per_learner;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > 4 ? 4 : (int)cores;
}

/* A policy of the same network, whatever it was trained on. */
static sk_status check_fits(const trainer *t, const sk_policy *policy, const char *from, sk_error *reterr) {
    const sk_train_config *c = config_of(t);
    sk_status              status = sk_policy_spaces_same(sk_policy_spaces_get(policy), &t->setup.spaces, reterr);
    sk_policy             *fresh = NULL;
    if (status == SK_OK)
        status = sk_policy_create(&t->setup.spaces, &c->model, (sk_obs_filter)c->env_runners.observation_filter, 0, &fresh,
                                  reterr);
    if (status == SK_OK && !sk_policy_same_network(policy, fresh))
        status = SK_FAIL(reterr, SK_ECONFIG, "its network or observation filter is not the one the config describes (model, "
                         "env_runners.observation_filter)");
    sk_policy_destroy(&fresh);
    if (status != SK_OK) sk_error_prefix(reterr, "%s", from);
    return status;
}

static sk_status create_policy(trainer *t, sk_error *reterr) {
    const sk_train_config *c = config_of(t);
    if (t->p->resume) {
        SK_TRY(sk_checkpoint_load_policy(t->p->run_dir, &t->policy, reterr));
        return check_fits(t, t->policy, t->p->run_dir, reterr);
    }
    if (t->p->init_from) {
        SK_TRY(sk_policy_load(t->p->init_from, &t->policy, reterr));
        sk_policy_set_version(t->policy, 0);
        return check_fits(t, t->policy, t->p->init_from, reterr);
    }
    return sk_policy_create(&t->setup.spaces, &c->model, (sk_obs_filter)c->env_runners.observation_filter,
                            (uint64_t)c->seed, &t->policy, reterr);
}

static sk_checkpoint_state checkpoint_state(trainer *t) {
    return (sk_checkpoint_state){.config = config_of(t), .env = t->setup.env, .policy = t->policy,
                                 .algorithm = t->setup.algorithm, .algorithm_self = t->algorithm, .stream = t->stream,
                                 .replay = t->replay, .metrics = &t->metrics, .window = &t->window, .best_return = &t->best_return,
                                 .device = sk_device_name(t->device)};
}

/* The next multiple of `interval` beyond `steps`; 0 = never. */
static int64_t next_due(int64_t steps, int64_t interval) {
    return interval > 0 ? (steps / interval + 1) * interval : INT64_MAX;
}

/* What the run is called in `skiff status`: its folder's name. */
static void name_of_run(const trainer *t, char *ret_name, size_t size) {
    const char *dir = t->p->run_dir ? t->p->run_dir : "";
    size_t      end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && dir[start - 1] != '/') start--;
    if (end > start) snprintf(ret_name, size, "%.*s", (int)(end - start), dir + start);
    else snprintf(ret_name, size, "%s %s", t->setup.algorithm->name, sk_env_info_get(t->setup.env)->name);
}

static int is_remote(const trainer *t) { return config_of(t)->env_runners.placement == SK_RUNNER_REMOTE; }

/* What runners in processes write to standard error goes into the run's folder. (That of remote ones stays with their
 * hosts.) All hosts are to compute with this host's instructions. */
static sk_status create_runtime(trainer *t, sk_error *reterr) {
    static const sk_module *const modules[] = {&sk_rl_module};
    const sk_train_config        *c = config_of(t);
    char                          name[NAME_SIZE], logs[PATH_SIZE];
    sk_runtime_params params = {.name = name, .modules = modules, .n_modules = SK_COUNT(modules),
                                .worker_has_modules = true, .worker_path = t->p->worker_path};
    char               isa[] = "SKIFF_ISA=v0";
    const char *const  env[] = {isa};
    const char        *level = sk_kernels_get()->level; /* "x86-64-v4" */
    sk_cluster_params  cluster = {.bind = c->cluster.bind,
                                  .key_path = *c->cluster.key_file ? c->cluster.key_file : NULL,
                                  .plain = !c->cluster.encrypt, .build = t->p->build ? t->p->build : "skiff",
                                  .worker_env = env, .n_worker_env = SK_COUNT(env)};
    isa[sizeof isa - 2] = level[strlen(level) - 1];
    if (is_remote(t)) params.cluster = &cluster;
    name_of_run(t, name, sizeof name);
    if (t->p->run_dir && c->env_runners.num_env_runners > 0 && c->env_runners.placement == SK_RUNNER_PROCESS) {
        int n = snprintf(logs, sizeof logs, "%s/logs", t->p->run_dir);
        if (n < 0 || (size_t)n >= sizeof logs) return SK_FAIL(reterr, SK_EINVAL, "the run folder's path is too long");
        if (mkdir(logs, 0755) != 0 && errno != EEXIST)
            return SK_FAIL(reterr, SK_EIO, "cannot make folder \"%s\": %s", logs, strerror(errno));
        params.log_dir = logs;
    }
    return sk_runtime_create(&params, &t->runtime, reterr);
}

static int is_interrupted(const trainer *t) { return t->p->interrupted && *t->p->interrupted; }

static void tell_waiting(const trainer *t, int n_joined, int n_wanted) {
    sk_train_waiting w = {.n_joined = n_joined, .n_wanted = n_wanted, .endpoint = sk_runtime_endpoint(t->runtime)};
    if (t->p->on_waiting) t->p->on_waiting(t->p->user, &w);
    else if (n_joined < n_wanted)
        sk_log(SK_LOG_INFO, "waiting for hosts: %d of %d have joined; join with: skiff node --join %s", n_joined,
               n_wanted, w.endpoint);
}

/* Until as many as wanted have joined, or for as long as wanted: then those that have must do. */
static sk_status wait_for_hosts(trainer *t, sk_error *reterr) {
    const sk_train_config *c = config_of(t);
    int                    n_wanted = (int)c->cluster.num_hosts, n_told = -1;
    double                 end_s = sk_clock_now_s() + c->cluster.wait_s;
    for (;;) {
        sk_status status = sk_runtime_wait_hosts(t->runtime, n_wanted, n_told < 0 ? 0 : LOOK_MS, &t->n_hosts, reterr);
        if (status != SK_OK && status != SK_ETIMEOUT) return status;
        if (t->n_hosts != n_told) tell_waiting(t, n_told = t->n_hosts, n_wanted);
        if (status == SK_OK) return SK_OK;
        if (is_interrupted(t)) return SK_FAIL(reterr, SK_EINTERRUPTED, "interrupted while waiting for hosts");
        if (sk_clock_now_s() >= end_s) break;
    }
    tell_waiting(t, t->n_hosts, 0);
    if (t->n_hosts == 0)
        return SK_FAIL(reterr, SK_ETIMEOUT, "no host has joined within %g s (cluster.wait_s), wanted %d; join with: "
                       "skiff node --join %s", c->cluster.wait_s, n_wanted, sk_runtime_endpoint(t->runtime));
    sk_log(SK_LOG_WARN, "%d of %d hosts have joined within %g s (cluster.wait_s): the run goes on with those",
           t->n_hosts, n_wanted, c->cluster.wait_s);
    return SK_OK;
}

/* How many hosts there are now. */
static sk_status count_hosts(trainer *t, sk_error *reterr) {
    int n = 0;
    if (!is_remote(t)) return SK_OK;
    SK_TRY(sk_runtime_wait_hosts(t->runtime, 0, 0, &n, reterr));
    sk_metrics_add(&t->metrics, SK_METRIC_HOSTS_LOST, n < t->n_hosts ? t->n_hosts - n : 0);
    sk_metrics_set(&t->metrics, SK_METRIC_HOSTS, n);
    t->n_hosts = n;
    return SK_OK;
}

static sk_status create_replay(trainer *t, sk_error *reterr) {
    sk_replay_source_params params = {.stream = t->stream, .own = t->setup.algorithm->replay(t->setup.own),
                                      .config = config_of(t), .env_name = sk_env_info_get(t->setup.env)->name,
                                      .policy = t->policy, .metrics = &t->metrics};
    return sk_replay_source_create(&params, &t->replay, reterr);
}

static sk_source *source_of(trainer *t) {
    return t->replay ? sk_replay_source_of(t->replay) : sk_stream_source_of(t->stream);
}

static sk_status open_trainer(trainer *t, sk_error *reterr) {
    const sk_train_config *c = config_of(t);
    SK_TRY(sk_train_setup_init(&t->setup, t->p->cfg, reterr));
    SK_TRY(sk__env_text_encode(c, &t->env_text, reterr)); /* now: its files are those that have just been opened */
    SK_TRY(create_policy(t, reterr));
    SK_TRY(sk_device_create_cpu(learner_threads(c), &t->device, reterr));
    SK_TRY(create_runtime(t, reterr));
    if (is_remote(t)) SK_TRY(wait_for_hosts(t, reterr));
    sk_stream_params stream = {.runtime = t->runtime, .env = t->setup.env, .config = c, .policy = t->policy,
                               .metrics = &t->metrics, .window = &t->window, .interrupted = t->p->interrupted,
                               .env_text = t->env_text,
                               .keep_final_obs = t->setup.algorithm->keep_final_obs || t->setup.algorithm->replay};
    SK_TRY(sk_stream_create(&stream, &t->stream, reterr));
    if (t->setup.algorithm->replay) SK_TRY(create_replay(t, reterr));
    sk_algorithm_context context = {.device = t->device, .policy = t->policy, .config = c, .own = t->setup.own,
                                    .shape = t->replay ? sk_replay_source_shape(t->replay) : sk_stream_shape(t->stream)};
    SK_TRY(t->setup.algorithm->create(&context, &t->algorithm, reterr));
    t->best_return = -INFINITY;
    if (t->p->resume) {
        sk_checkpoint_state state = checkpoint_state(t);
        SK_TRY(sk_checkpoint_load_state(t->p->run_dir, &state, reterr));
        sk_metrics_clear(&t->metrics, SK_METRIC_HOSTS); /* those of now are counted anew */
        t->former_s = sk_metrics_get(&t->metrics, SK_METRIC_TIME_TOTAL, 0.0);
        sk_log(SK_LOG_INFO, "resumed at %lld env steps", (long long)env_steps(t));
    }
    /* not part of checkpoints: a resumed run may have other intervals */
    t->next_eval = next_due(env_steps(t), c->evaluation.interval_steps);
    t->next_checkpoint = next_due(env_steps(t), c->checkpoint.interval_steps);
    return SK_OK;
}

/* ---- evaluation and checkpoints ------------------------------------------------------------------------------ */

static sk_status evaluate(trainer *t, sk_error *reterr) {
    const sk_train_config *c = config_of(t);
    sk_evaluation          e;
    sk_evaluate_params     params = {.env = t->setup.env, .policy = t->policy,
                                     .n_episodes = (int)c->evaluation.num_episodes, .seed = (uint64_t)c->evaluation.seed,
                                     .on_invalid = (sk_on_invalid)c->env_runners.on_invalid,
                                     .interrupted = t->p->interrupted};
    SK_TRY(sk_evaluate_run(&params, &e, reterr));
    sk_metrics *m = &t->metrics;
    sk_metrics_set(m, SK_METRIC_EVAL_RETURN_MEAN, e.return_mean);
    sk_metrics_set(m, SK_METRIC_EVAL_RETURN_STD, e.return_std);
    sk_metrics_set(m, SK_METRIC_EVAL_RETURN_MIN, e.return_min);
    sk_metrics_set(m, SK_METRIC_EVAL_RETURN_MAX, e.return_max);
    sk_metrics_set(m, SK_METRIC_EVAL_LEN_MEAN, e.len_mean);
    sk_metrics_set(m, SK_METRIC_EVAL_EPISODES, e.n_episodes);
    sk_metrics_add(m, SK_METRIC_TIME_EVAL, e.wall_s);
    t->evaluated = 1;
    if (e.return_mean > t->best_return) {
        t->best_return = e.return_mean;
        if (t->p->run_dir) SK_TRY(sk_checkpoint_save_best(t->p->run_dir, t->policy, reterr));
    }
    return SK_OK;
}

static sk_status evaluate_if_due(trainer *t, sk_error *reterr) {
    const sk_train_config *c = config_of(t);
    if (c->evaluation.num_episodes == 0 || env_steps(t) < t->next_eval) return SK_OK;
    t->next_eval = next_due(env_steps(t), c->evaluation.interval_steps);
    return evaluate(t, reterr);
}

static sk_status save_checkpoint(trainer *t, sk_error *reterr) {
    if (!t->p->run_dir) return SK_OK;
    sk_checkpoint_state state = checkpoint_state(t);
    SK_TRY(sk_checkpoint_save(t->p->run_dir, &state, config_of(t)->checkpoint.keep, reterr));
    t->saved = 1;
    return SK_OK;
}

static sk_status checkpoint_if_due(trainer *t, sk_error *reterr) {
    if (env_steps(t) < t->next_checkpoint) return SK_OK;
    t->next_checkpoint = next_due(env_steps(t), config_of(t)->checkpoint.interval_steps);
    return save_checkpoint(t, reterr);
}

/* ---- stopping and reporting ---------------------------------------------------------------------------------- */

/* The first stop key that is met, or -1. */
static int met_key(const trainer *t) {
    const sk_pairs *stop = &config_of(t)->stop;
    for (int i = 0; i < stop->n; i++) {
        sk_metric metric = (sk_metric)sk_metric_find(stop->at[i].name);
        if (t->metrics.present[metric] && t->metrics.value[metric] >= stop->at[i].number) return i;
    }
    return -1;
}

static int is_goal(const sk_pairs *stop, int i) {
    return sk_metric_info_get((sk_metric)sk_metric_find(stop->at[i].name))->kind == SK_METRIC_KIND_GOAL;
}

/* Share of the budget that will be used up first, and the time it will take at the present pace. */
static void budget_left(const trainer *t, double *done, double *eta_s) {
    const sk_pairs *stop = &config_of(t)->stop;
    double          here_s = sk_clock_now_s() - t->start_s;
    *done = *eta_s = -1.0;
    for (int i = 0; i < stop->n; i++) {
        if (is_goal(stop, i) || stop->at[i].number <= 0.0) continue;
        double share = sk_metrics_get(&t->metrics, (sk_metric)sk_metric_find(stop->at[i].name), 0.0) / stop->at[i].number;
        if (share > *done) *done = share > 1.0 ? 1.0 : share;
    }
    if (*done > 0.0 && !t->p->resume) *eta_s = here_s * (1.0 - *done) / *done;
}

static double resident_mb(void) {
    long  pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return (double)NAN;
    int got = fscanf(f, "%*s %ld", &pages);
    fclose(f);
    return got == 1 ? (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6 : (double)NAN;
}

static void report(trainer *t, int is_last) {
    sk_train_progress progress = {.metrics = &t->metrics, .is_last = is_last, .evaluated = t->evaluated,
                                  .config = config_of(t)};
    sk_metrics_set(&t->metrics, SK_METRIC_TIME_TOTAL, t->former_s + sk_clock_now_s() - t->start_s);
    if (!t->p->on_progress) return;
    sk_metrics_set(&t->metrics, SK_METRIC_RSS, resident_mb());
    budget_left(t, &progress.done, &progress.eta_s);
    t->p->on_progress(t->p->user, &progress);
}

static void clear_times(sk_metrics *m) {
    static const sk_metric times[] = {SK_METRIC_TIME_ENV, SK_METRIC_TIME_INFERENCE, SK_METRIC_TIME_TRANSPORT,
                                      SK_METRIC_TIME_LEARN, SK_METRIC_TIME_EVAL};
    for (int i = 0; i < SK_COUNT(times); i++) sk_metrics_clear(m, times[i]);
}

static sk_status iterate(trainer *t, sk_error *reterr) {
    double  start_s = sk_clock_now_s();
    int64_t before = env_steps(t);
    clear_times(&t->metrics);
    t->evaluated = t->saved = 0;
    SK_TRY(t->setup.algorithm->learn(t->algorithm, source_of(t), &t->metrics, reterr));
    SK_TRY(count_hosts(t, reterr));
    sk_metrics_add(&t->metrics, SK_METRIC_TRAINING_ITERATION, 1.0);
    sk_metrics_set(&t->metrics, SK_METRIC_STEPS_PER_S, (double)(env_steps(t) - before) / (sk_clock_now_s() - start_s));
    sk_metrics_set(&t->metrics, SK_METRIC_TIME_TOTAL, t->former_s + sk_clock_now_s() - t->start_s);
    return SK_OK;
}

static sk_status loop(trainer *t, sk_error *reterr) {
    while (met_key(t) < 0 && !is_interrupted(t)) {
        SK_TRY(iterate(t, reterr));
        sk_status status = evaluate_if_due(t, reterr);
        if (status != SK_OK && status != SK_EINTERRUPTED) return status;
        report(t, 0); /* before the checkpoint: a resumed run finds every line up to it */
        SK_TRY(checkpoint_if_due(t, reterr));
    }
    return SK_OK;
}

/* After the loop: a last evaluation if the policy has changed since, a last checkpoint. */
static sk_status finish(trainer *t, sk_error *reterr) {
    if (!t->evaluated && config_of(t)->evaluation.num_episodes > 0 && !is_interrupted(t)) {
        sk_status status = evaluate(t, reterr);
        if (status != SK_OK && status != SK_EINTERRUPTED) return status;
    }
    if (!t->saved) SK_TRY(save_checkpoint(t, reterr));
    report(t, 1);
    return SK_OK;
}

static void fill_result(const trainer *t, sk_train_result *r) {
    const sk_pairs *stop = &config_of(t)->stop;
    int             met = met_key(t);
    *r = (sk_train_result){.kind = SK_STOP_INTERRUPTED, .metrics = t->metrics,
                           .wall_s = sk_clock_now_s() - t->start_s};
    snprintf(r->stop_reason, sizeof r->stop_reason, "interrupted");
    for (int i = 0; i < stop->n; i++) {
        if (!is_goal(stop, i)) continue;
        sk_metric metric = (sk_metric)sk_metric_find(stop->at[i].name);
        r->goal_named = 1;
        if (!t->metrics.present[metric] || t->metrics.value[metric] < stop->at[i].number) continue;
        r->goal_met = 1;
        met = i; /* a goal reached by the last evaluation says more than the budget that ended the run */
    }
    if (met >= 0) {
        r->kind = is_goal(stop, met) ? SK_STOP_GOAL : SK_STOP_BUDGET;
        snprintf(r->stop_reason, sizeof r->stop_reason, "%s %.6g >= %.6g", stop->at[met].name,
                 sk_metrics_get(&t->metrics, (sk_metric)sk_metric_find(stop->at[met].name), 0.0), stop->at[met].number);
    }
    sk_policy_sha256(t->policy, r->params_sha256);
    snprintf(r->device, sizeof r->device, "%s", sk_device_name(t->device));
}

sk_status sk_train_run(const sk_train_params *params, sk_train_result *ret_result, sk_error *reterr) {
    trainer *t = calloc(1, sizeof *t);
    if (!t) return SK_FAIL(reterr, SK_ENOMEM, "train: no memory");
    t->p = params;
    t->start_s = sk_clock_now_s();
    sk_status status = open_trainer(t, reterr);
    if (status == SK_OK) status = loop(t, reterr);
    if (status == SK_OK) status = finish(t, reterr);
    if (status == SK_OK) fill_result(t, ret_result);
    close_trainer(t);
    free(t);
    return status;
}
