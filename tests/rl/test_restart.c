/* Runners whose processes are killed, at any moment: they are made anew and nothing downstream can tell, to the last
 * bit; unless the config says otherwise, or environments cannot be given their state back. */
#include "core/base/clock.h"
#include "rl/checkpoint.h"
#include "tests/rl/rig.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>

enum { N_ENVS = 8, N_RUNNERS = 2, FRAGMENT = 40, PATIENCE_MS = 60000 };

/* `runners` 0 = inline; `more`: further keys of env_runners. */
static const char *yaml_of(const char *env, int runners, const char *more) {
    return rig_text("algorithm: ppo\nenv: %s\nseed: 21\n"
                    "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: %d,\n"
                    "  placement: process, observation_filter: MeanStdFilter, on_invalid: drop, %s}\n"
                    "model: {fcnet_hiddens: [16, 16]}\n"
                    "stop: {training_iteration: 1}\n",
                    env, runners, N_ENVS / (runners ? runners : 1), FRAGMENT, more);
}
static const char cartpole[] = "{name: CartPole-v1, max_episode_steps: 23}", none[] = "sample_timeout_s: 60";
static const char *drill(const char *name, const char *config) {
    return rig_text("{plugin: %s, name: %s, config: {%s}}", rig_plugin("drill"), name, config);
}

/* ---- chance ---- */

static uint64_t chance_state;
static uint32_t chance(uint32_t n) { /* 0 .. n-1 */
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(chance_state >> 33) % n;
}
/* From SKIFF_TEST_SEED, else from the clock; printed, so that it can be asked for again. */
static void chance_begin(void) {
    const char *text = getenv("SKIFF_TEST_SEED");
    chance_state = text ? strtoull(text, NULL, 10) : (uint64_t)(sk_clock_now_s() * 1e6);
    fprintf(stderr, "# SKIFF_TEST_SEED=%llu\n", (unsigned long long)chance_state);
}

/* ---- what is in a batch ---- */

static void add(uint64_t *digest, const void *data, size_t size) { /* FNV-1a */
    for (size_t i = 0; i < size; i++) *digest = (*digest ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
}

/* Of all columns and lists, without the times. */
static uint64_t digest_of(const sk_batch *b) {
    const sk_batch_shape *s = &b->shape;
    size_t                rows = (size_t)s->n_rows, n = rows * (size_t)s->n_steps;
    uint64_t              digest = 0xcbf29ce484222325u;
    add(&digest, b->obs, (n + rows) * (size_t)s->obs_dim * 4);
    if (s->mask_size) add(&digest, b->mask, (n + rows) * (size_t)s->mask_size * 4);
    add(&digest, b->action, n * (size_t)s->action_slots * 4);
    const void *const floats[] = {b->logp, b->value, b->reward, b->final_value};
    for (int i = 0; i < SK_COUNT(floats); i++) add(&digest, floats[i], n * 4);
    add(&digest, b->bootstrap, rows * 4);
    const void *const flags[] = {b->terminated, b->truncated, b->valid};
    for (int i = 0; i < SK_COUNT(flags); i++) add(&digest, flags[i], n);
    uint64_t episodes = 0; /* a sum: whose list they are in does not matter */
    for (int f = 0; f < s->n_fragments; f++)
        for (int i = 0; i < b->fragment[f].n_episodes; i++) {
            uint64_t one = 1;
            add(&one, &b->episode[s->n_steps * b->fragment[f].first_row + i], sizeof(sk_batch_episode));
            episodes += one;
        }
    return digest ^ episodes;
}

/* What an algorithm does between two batches, without one. */
static void change_policy(rig *r, const sk_batch *b) {
    float *params = sk_policy_params(r->policy);
    for (size_t i = 0; i < sk_policy_n_floats(r->policy); i++) params[i] *= 1.03f;
    sk_normalizer_update(sk_policy_normalizer(r->policy), b->obs, b->valid, FRAGMENT * b->shape.n_rows);
    sk_policy_set_version(r->policy, sk_policy_version(r->policy) + 1);
}

/* ---- killing ---- */

static sk_actor runner_of(rig *r, int i) {
    sk_actor actor = {0};
    sk_error e = {0};
    cr_assert_eq(sk_actor_find(r->runtime, rig_text("runner-%d", i), &actor, &e), SK_OK, "%s", e.msg);
    return actor;
}
static int pid_of(rig *r, int i) {
    int      pid = 0;
    sk_error e = {0};
    cr_assert_eq(sk_actor_check(r->runtime, runner_of(r, i), &pid, &e), SK_OK, "%s", e.msg);
    cr_assert(pid > 0 && pid != getpid());
    return pid;
}
static int kill_runner(rig *r, int i) {
    int pid = pid_of(r, i);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    return pid;
}
/* Until runner i is another process than `old` and ready. */
static void wait_for_another(rig *r, int i, int old) {
    sk_error e = {0};
    int      pid = old;
    for (int ms = 0; ms < PATIENCE_MS && (pid == old || pid <= 0); ms += 5, usleep(5000))
        cr_assert_eq(sk_actor_check(r->runtime, runner_of(r, i), &pid, &e), SK_OK, "%s", e.msg);
    cr_assert(pid != old && pid > 0, "runner-%d was not made anew", i);
    cr_assert_eq(sk_actor_wait(r->runtime, runner_of(r, i), PATIENCE_MS, &e), SK_OK, "%s", e.msg);
}

typedef struct later { /* kill a process after a while */
    int      pid;
    uint32_t after_us;
} later;
static void *kill_later(void *arg) {
    later *l = arg;
    usleep(l->after_us);
    kill(l->pid, SIGKILL);
    return NULL;
}

/* ---- streams ---- */

enum { N_BATCHES = 6 };

/* Before the first and third batch of three one runner is killed and all are; during the second one is. */
static void same_batches_with_kills(const char *env) {
    rig      r;
    uint64_t wanted[N_BATCHES];
    int      n_kills = 0;
    double   batch_s = 0.0;
    rig_open(&r, yaml_of(env, 0, none), 0);
    for (int i = 0; i < N_BATCHES; i++) {
        double          start_s = sk_clock_now_s();
        const sk_batch *b = rig_next(&r);
        batch_s = sk_clock_now_s() - start_s;
        wanted[i] = digest_of(b);
        change_policy(&r, b);
    }
    rig_close(&r);
    rig_open(&r, yaml_of(env, N_RUNNERS, none), 0);
    for (int i = 0; i < N_BATCHES; i++) {
        pthread_t thread;
        later     l = {.pid = pid_of(&r, i / 3 % N_RUNNERS), .after_us = chance((uint32_t)(batch_s * 1e6) + 1000)};
        if (i % 3 == 0) kill_runner(&r, i / 3 % N_RUNNERS), n_kills++;
        if (i % 3 == 1) {
            cr_assert_eq(pthread_create(&thread, NULL, kill_later, &l), 0);
            n_kills++;
        }
        for (int k = 0; i % 3 == 2 && k < N_RUNNERS; k++) kill_runner(&r, k), n_kills++;
        const sk_batch *b = rig_next(&r);
        if (i % 3 == 1) {
            pthread_join(thread, NULL);
            wait_for_another(&r, i / 3 % N_RUNNERS, l.pid);
        }
        cr_assert_eq(digest_of(b), wanted[i], "%s: batch %d", env, i);
        change_policy(&r, b);
    }
    cr_assert_eq(sk_metrics_get(&r.metrics, SK_METRIC_RESTARTS, 0), n_kills);
    rig_close(&r);
}
Test(restart, gives_the_same_batches_as_if_nothing_had_happened) {
    chance_begin();
    same_batches_with_kills(cartpole);
    same_batches_with_kills("{name: Pendulum-v1, max_episode_steps: 17}");
    same_batches_with_kills(drill("Drill-v0", "mask: 1, agents: 2, end: 6, cut: 19, nan: 5"));
}

Test(restart, leaves_the_batch_that_the_learner_has_alone) {
    rig r;
    int pids[N_RUNNERS];
    rig_open(&r, yaml_of(cartpole, N_RUNNERS, none), 0);
    const sk_batch *b = rig_next(&r);
    uint64_t        digest = digest_of(b);
    for (int i = 0; i < N_RUNNERS; i++) pids[i] = kill_runner(&r, i);
    for (int i = 0; i < N_RUNNERS; i++) wait_for_another(&r, i, pids[i]);
    cr_assert_eq(digest_of(b), digest);
    cr_assert_eq(sk_stream_check(r.stream, &r.error), SK_OK, "%s", r.error.msg);
    rig_close(&r);
}

Test(restart, keeps_what_was_loaded_and_saves_what_was_kept) {
    rig      r;
    void    *bytes = NULL, *again = NULL;
    size_t   size = 0, size_again = 0;
    int      complete;
    rig_open(&r, yaml_of(cartpole, N_RUNNERS, none), 0);
    for (int i = 0; i < 2; i++) rig_next(&r);
    int64_t step = sk_stream_step(r.stream);
    for (int i = 0; i < N_RUNNERS; i++) kill_runner(&r, i);
    cr_assert_eq(sk_stream_save(r.stream, &bytes, &size, &complete, &r.error), SK_OK, "%s", r.error.msg);
    uint64_t third = digest_of(rig_next(&r));
    rig_next(&r);
    cr_assert_eq(sk_stream_load(r.stream, bytes, size, step, &r.error), SK_OK, "%s", r.error.msg);
    for (int i = 0; i < N_RUNNERS; i++) kill_runner(&r, i);
    cr_assert_eq(sk_stream_save(r.stream, &again, &size_again, &complete, &r.error), SK_OK, "%s", r.error.msg);
    cr_assert(size_again == size && memcmp(again, bytes, size) == 0);
    cr_assert_eq(digest_of(rig_next(&r)), third);
    cr_assert_eq(sk_metrics_get(&r.metrics, SK_METRIC_RESTARTS, 0), 2 * N_RUNNERS);
    free(bytes), free(again);
    rig_close(&r);
}

static void fails_and_names(rig *r, int i, int pid, const char *why) {
    const sk_batch *b = NULL;
    int             pids[8];
    cr_assert_eq(sk_source_next(sk_stream_source_of(r->stream), &b, &r->error), SK_EDEAD, "%s", r->error.msg);
    rig_has(r->error.msg, rig_text("runner-%d", i));
    rig_has(r->error.msg, rig_text("process %d", pid));
    rig_has(r->error.msg, "SIGKILL");
    rig_has(r->error.msg, why);
    cr_assert_eq(sk_stream_check(r->stream, &r->error), SK_EDEAD);
    rig_has(r->error.msg, rig_text("process %d", pid));
    rig_close(r);
    cr_assert_eq(rig_children(pids, 8), 0);
}

Test(restart, ends_with_its_budget_and_names_the_runner) {
    rig r;
    rig_open(&r, yaml_of(cartpole, N_RUNNERS, "max_num_env_runner_restarts: 2"), 0);
    for (int k = 0; k < 2; k++) {
        kill_runner(&r, 1);
        rig_next(&r);
    }
    kill_runner(&r, 0); /* the other's budget is its own */
    rig_next(&r);
    cr_assert_eq(sk_metrics_get(&r.metrics, SK_METRIC_RESTARTS, 0), 3);
    fails_and_names(&r, 1, kill_runner(&r, 1), "; restarts: 2, which is its limit");
}

Test(restart, is_not_done_where_the_config_says_so) {
    rig r;
    rig_open(&r, yaml_of(cartpole, N_RUNNERS, "restart_failed_env_runners: false"), 0);
    rig_next(&r);
    fails_and_names(&r, 0, kill_runner(&r, 0), "");
    rig_open(&r, yaml_of(cartpole, N_RUNNERS, "max_num_env_runner_restarts: 0"), 0);
    rig_next(&r);
    fails_and_names(&r, 1, kill_runner(&r, 1), "");
}

static int count_of(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) n++;
    return n;
}

Test(restart, of_environments_without_state_begins_other_episodes_and_says_so_once) {
    rig    r;
    float *first = NULL;
    rig_open(&r, yaml_of(drill("Drillbit-v0", "end: 9"), N_RUNNERS, none), 0);
    rig_log_watch();
    const sk_batch *b = rig_next(&r);
    size_t          n = (size_t)(b->shape.n_rows * b->shape.obs_dim), half = n / N_RUNNERS;
    first = malloc(n * sizeof *first);
    memcpy(first, b->obs, n * sizeof *first);
    for (int k = 0; k < 2; k++) {
        kill_runner(&r, 0);
        b = rig_next(&r);
        cr_assert_neq(memcmp(b->obs, first, half * sizeof *first), 0, "the same episodes again");
        memcpy(first, b->obs, n * sizeof *first);
    }
    cr_assert_eq(sk_metrics_get(&r.metrics, SK_METRIC_RESTARTS, 0), 2);
    cr_assert_eq(count_of(rig_warnings, "\"Drillbit-v0\" cannot save its state"), 1, "%s", rig_warnings);
    free(first);
    rig_close(&r);
}

/* ---- whole runs ---- */

enum { ITERATIONS = 60 };

static const char *train_yaml(int iterations) {
    return rig_text("algorithm: ppo\nenv: {name: CartPole-v1, max_episode_steps: 90}\nseed: 3\n"
                    "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 4, rollout_fragment_length: 64,\n"
                    "  placement: process, observation_filter: MeanStdFilter, normalize_rewards: true}\n"
                    "learners: {num_cpus_per_learner: 1}\nmodel: {fcnet_hiddens: [32, 32]}\n"
                    "training: {num_epochs: 3, minibatch_size: 160}\nevaluation: {num_episodes: 0}\n"
                    "checkpoint: {interval_steps: 1, keep: 3}\nstop: {training_iteration: %d}\n", iterations);
}

/* With a report it gets, it chooses one of the runners and kills it a little later: at whatever they and the learner do
 * then. */
typedef struct killer {
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  wakes, done;
    int             victim, quit, n_kills; /* victim: pid, 0 = none chosen          */
    int             n_reports;             /* since one was chosen; the fourth waits */
    uint32_t        after_us;
    double          last_s, least_s; /* end of the last report's work, 0 = none yet; shortest time between two */
} killer;

static void *killer_run(void *arg) {
    killer *k = arg;
    pthread_mutex_lock(&k->lock);
    for (;;) {
        while (!k->victim && !k->quit) pthread_cond_wait(&k->wakes, &k->lock);
        if (k->quit) break;
        pthread_mutex_unlock(&k->lock);
        usleep(k->after_us);
        int killed = kill(k->victim, SIGKILL) == 0;
        pthread_mutex_lock(&k->lock);
        k->n_kills += killed;
        k->victim = 0;
        pthread_cond_signal(&k->done);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}
/* Mostly within an undisturbed iteration, now and then within one that waits for a restart. */
static uint32_t killer_delay(killer *k) {
    double pace_s = k->last_s > 0.0 ? sk_clock_now_s() - k->last_s : 0.0;
    if (pace_s > 0.0 && (k->least_s <= 0.0 || pace_s < k->least_s)) k->least_s = pace_s;
    double most_s = 1.5 * (chance(3) ? k->least_s : fmin(pace_s, 0.2));
    return chance((uint32_t)(most_s * 1e6) + 100);
}
static void killer_arm(void *user, const sk_train_progress *progress) {
    killer *k = user;
    int     pids[8], n;
    pthread_mutex_lock(&k->lock);
    k->n_reports++;
    while (k->victim && k->n_reports >= 4) pthread_cond_wait(&k->done, &k->lock);
    if (!k->victim && !progress->is_last && (n = rig_children(pids, 8)) > 0) {
        k->n_reports = 0;
        k->after_us = killer_delay(k);
        k->victim = pids[chance((uint32_t)n)];
        pthread_cond_signal(&k->wakes);
    }
    pthread_mutex_unlock(&k->lock);
    k->last_s = sk_clock_now_s();
}

static sk_train_result train_with_kills(int iterations, const char *run_dir, int resume, int *ret_kills) {
    killer k = {.lock = PTHREAD_MUTEX_INITIALIZER, .wakes = PTHREAD_COND_INITIALIZER,
                .done = PTHREAD_COND_INITIALIZER};
    cr_assert_eq(pthread_create(&k.thread, NULL, killer_run, &k), 0);
    sk_train_result result = rig_train_ok((rig_run){.yaml = train_yaml(iterations), .run_dir = run_dir,
                                                    .resume = resume, .on_progress = killer_arm, .user = &k});
    pthread_mutex_lock(&k.lock);
    k.quit = 1;
    pthread_cond_signal(&k.wakes);
    pthread_mutex_unlock(&k.lock);
    pthread_join(k.thread, NULL);
    *ret_kills = k.n_kills;
    return result;
}

/* All metrics but times and the count of restarts. */
static void same_metrics(const sk_train_result *a, const sk_train_result *b) {
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        const char *name = sk_metric_info_get((sk_metric)i)->name;
        if (strncmp(name, "perf/", 5) == 0 || i == SK_METRIC_TIME_TOTAL || i == SK_METRIC_RESTARTS) continue;
        cr_assert_eq(a->metrics.present[i], b->metrics.present[i], "%s", name);
        cr_assert_eq(a->metrics.value[i], b->metrics.value[i], "%s: %.17g and %.17g", name, a->metrics.value[i],
                     b->metrics.value[i]);
    }
}

Test(restart, a_killed_runner_is_restarted_and_the_parameters_are_the_same_bits) {
    int   n_kills = 0, pids[8];
    chance_begin();
    sk_train_result quiet = rig_train_ok((rig_run){.yaml = train_yaml(ITERATIONS)});
    sk_train_result hunted = train_with_kills(ITERATIONS, NULL, 0, &n_kills);
    cr_assert_str_eq(hunted.params_sha256, quiet.params_sha256, "after %d kills", n_kills);
    same_metrics(&hunted, &quiet);
    cr_assert_not(quiet.metrics.present[SK_METRIC_RESTARTS]);
    double n_restarts = sk_metrics_get(&hunted.metrics, SK_METRIC_RESTARTS, 0);
    cr_assert(n_restarts >= 5 && n_restarts <= n_kills, "%g restarts, %d kills", n_restarts, n_kills);
    cr_assert_eq(rig_children(pids, 8), 0);
}

Test(restart, a_run_under_kills_can_be_resumed_and_the_count_goes_on) {
    char *dir = rig_folder();
    int   n_kills = 0, n_more = 0;
    chance_begin();
    sk_train_result quiet = rig_train_ok((rig_run){.yaml = train_yaml(ITERATIONS)});
    sk_train_result half = train_with_kills(ITERATIONS / 2, dir, 0, &n_kills);
    double          before = sk_metrics_get(&half.metrics, SK_METRIC_RESTARTS, 0);
    cr_assert(before > 0 && before <= n_kills);
    sk_train_result more = train_with_kills(ITERATIONS - 5, dir, 1, &n_more);
    double          after = sk_metrics_get(&more.metrics, SK_METRIC_RESTARTS, 0);
    cr_assert(after > before && after <= n_kills + n_more, "%g restarts, then %g; %d and %d kills", before, after,
              n_kills, n_more);
    sk_train_result rest = rig_train_ok((rig_run){.yaml = train_yaml(ITERATIONS), .run_dir = dir, .resume = 1});
    cr_assert_str_eq(rest.params_sha256, quiet.params_sha256);
    same_metrics(&rest, &quiet);
    cr_assert_eq(sk_metrics_get(&rest.metrics, SK_METRIC_RESTARTS, 0), after);
    rig_remove(&dir);
}
