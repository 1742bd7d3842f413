/* Whole runs: the same bits however the work is dealt out and wherever a run is cut in two; checkpoints that are
 * damaged, foreign or cannot be written; runners that die. */
#include "algorithms/ppo/ppo.h"
#include "rl/checkpoint.h"
#include "rl/evaluate.h"
#include "tests/rl/rig.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Everything that carries state is on: both filters, schedules, the adaptive KL penalty, several epochs. */
typedef struct experiment {
    const char *env;
    int         runners, envs_each, iterations, learner_threads, checkpoint_every; /* [env steps] */
    const char *placement;
    const char *model; /* ", key: value" */
} experiment;

enum { N_ENVS = 8, FRAGMENT = 48, BATCH = N_ENVS * FRAGMENT };

static const char *yaml_of(experiment e) {
    if (!e.env) e.env = "CartPole-v1";
    if (!e.envs_each) e.envs_each = N_ENVS / (e.runners ? e.runners : 1);
    return rig_text("algorithm: ppo\n"
                    "env: {name: %s, max_episode_steps: %d}\n"
                    "seed: 3\n"
                    "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: %d,\n"
                    "  placement: %s, observation_filter: MeanStdFilter, normalize_rewards: true, clip_rewards: 5}\n"
                    "learners: {num_cpus_per_learner: %d}\n"
                    "model: {fcnet_hiddens: [32, 32]%s}\n"
                    "training: {lr: [[0, 2.0e-3], [20000, 0]], num_epochs: 3, minibatch_size: 160, use_kl_loss: true,\n"
                    "  kl_target: 0.001, entropy_coeff: 0.01, vf_clip_param: 1}\n"
                    "evaluation: {num_episodes: 0}\n"
                    "checkpoint: {interval_steps: %d, keep: 2}\n"
                    "stop: {training_iteration: %d}\n",
                    e.env, strcmp(e.env, "Pendulum-v1") == 0 ? 50 : 90, e.runners, e.envs_each, FRAGMENT,
                    e.placement ? e.placement : "thread", e.learner_threads ? e.learner_threads : 1,
                    e.model ? e.model : "", e.checkpoint_every, e.iterations);
}

static sk_train_result train(experiment e, const char *run_dir, int resume) {
    return rig_train_ok((rig_run){.yaml = yaml_of(e), .run_dir = run_dir, .resume = resume});
}

#define SAME_PARAMS(a, b) cr_assert_str_eq((a).params_sha256, (b).params_sha256)

/* All metrics but those that are times. */
static void same_metrics(const sk_train_result *a, const sk_train_result *b) {
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        const char *name = sk_metric_info_get((sk_metric)i)->name;
        if (strncmp(name, "perf/", 5) == 0 || i == SK_METRIC_TIME_TOTAL) continue;
        cr_assert_eq(a->metrics.present[i], b->metrics.present[i], "%s", name);
        if (a->metrics.present[i])
            cr_assert_eq(a->metrics.value[i], b->metrics.value[i], "%s: %.17g and %.17g", name, a->metrics.value[i],
                         b->metrics.value[i]);
    }
}

static const char *newest(const char *run_dir, const char *file) {
    return rig_text("%s/checkpoints/%lld/%s", run_dir, (long long)sk_checkpoint_newest(run_dir), file);
}

/* The two runs' newest checkpoints hold the same future. */
static void same_state(const char *dir_a, const char *dir_b) {
    static const char *const sections[] = {"environments", "episode_window", "best_return", "ppo_kl_coeff", "adam",
                                           "reward_filter", "reward_filter_returns"};
    sk_pack *a = NULL, *b = NULL;
    sk_error e = {0};
    cr_assert_eq(sk_checkpoint_newest(dir_a), sk_checkpoint_newest(dir_b));
    cr_assert_eq(sk_pack_load(newest(dir_a, "state.skiff"), SK_PACK_CHECKPOINT, 1, &a, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_pack_load(newest(dir_b, "state.skiff"), SK_PACK_CHECKPOINT, 1, &b, &e), SK_OK, "%s", e.msg);
    for (int i = 0; i < SK_COUNT(sections); i++) {
        const void *x, *y;
        size_t      size_x = 0, size_y = 0;
        cr_assert_eq(sk_pack_section(a, sections[i], SIZE_MAX, &x, &size_x, &e), SK_OK, "%s", e.msg);
        cr_assert_eq(sk_pack_section(b, sections[i], SIZE_MAX, &y, &size_y, &e), SK_OK, "%s", e.msg);
        cr_assert(size_x == size_y && size_x > 0 && memcmp(x, y, size_x) == 0, "%s differs", sections[i]);
    }
    sk_pack_destroy(&a);
    sk_pack_destroy(&b);
}

/* ---- the same bits ---- */

static void resumes_bit_for_bit(const char *env, const char *model) {
    char           *straight = rig_folder(), *cut = rig_folder();
    experiment      e = {.env = env, .runners = 2, .iterations = 20, .model = model}, first = e;
    first.iterations = 10;
    sk_train_result whole = train(e, straight, 0);
    sk_train_result half = train(first, cut, 0);
    cr_assert_str_neq(half.params_sha256, whole.params_sha256);
    cr_assert_eq(half.metrics.value[SK_METRIC_ENV_STEPS], 10.0 * BATCH);
    sk_train_result rest = train(e, cut, 1);
    SAME_PARAMS(rest, whole);
    same_metrics(&rest, &whole);
    same_state(straight, cut);
    cr_assert_gt(whole.metrics.value[SK_METRIC_EPISODES], 50, "the test needs episode ends");
    cr_assert_neq(whole.metrics.value[SK_METRIC_KL_COEFF], 0.2, "the test needs an adaptive KL penalty that adapts");
    rig_remove(&straight);
    rig_remove(&cut);
}
Test(train, resumes_bit_for_bit_on_cartpole) { resumes_bit_for_bit("CartPole-v1", ""); }
Test(train, resumes_bit_for_bit_on_pendulum) { resumes_bit_for_bit("Pendulum-v1", ""); }

/* 5 does not divide 48: a draw lasts into the next fragment */
static const char lasting_noise[] = ", use_sde: true, sde_sample_freq: 5, squash_actions: true";
Test(train, resumes_bit_for_bit_with_state_dependent_noise) {
    resumes_bit_for_bit("Pendulum-v1", ", use_sde: true");
    resumes_bit_for_bit("Pendulum-v1", lasting_noise);
}

Test(train, resumes_bit_for_bit_with_another_number_of_runners) {
    char           *dir = rig_folder();
    sk_train_result whole = train((experiment){.runners = 0, .iterations = 12}, NULL, 0);
    train((experiment){.runners = 1, .iterations = 5}, dir, 0);
    train((experiment){.runners = 4, .iterations = 9, .placement = "process"}, dir, 1);
    sk_train_result rest = train((experiment){.runners = 0, .iterations = 12}, dir, 1);
    SAME_PARAMS(rest, whole);
    same_metrics(&rest, &whole);
    rig_remove(&dir);
}

static void same_bits_in_every_placement(const char *env, const char *model) {
    sk_train_result first = train((experiment){.env = env, .model = model, .runners = 0, .iterations = 8}, NULL, 0);
    for (int runners = 1; runners <= 4; runners *= 2)
        for (int process = 0; process < 2; process++) {
            sk_train_result other = train((experiment){.env = env, .model = model, .runners = runners, .iterations = 8,
                                                       .placement = process ? "process" : "thread"}, NULL, 0);
            SAME_PARAMS(other, first);
            same_metrics(&other, &first);
        }
}
Test(train, gives_the_same_bits_in_every_placement_on_cartpole) { same_bits_in_every_placement("CartPole-v1", ""); }
Test(train, gives_the_same_bits_in_every_placement_on_pendulum) { same_bits_in_every_placement("Pendulum-v1", ""); }
Test(train, gives_the_same_bits_in_every_placement_with_squashed_actions_and_state_dependent_noise) {
    same_bits_in_every_placement("Pendulum-v1", lasting_noise);
    same_bits_in_every_placement("Pendulum-v1", ", use_sde: true");
    same_bits_in_every_placement("Pendulum-v1", ", squash_actions: true");
}

Test(train, gives_the_same_bits_for_any_number_of_learner_threads) {
    sk_train_result one = train((experiment){.iterations = 6, .learner_threads = 1}, NULL, 0);
    for (int threads = 2; threads <= 3; threads++) {
        sk_train_result more = train((experiment){.iterations = 6, .learner_threads = threads}, NULL, 0);
        SAME_PARAMS(more, one);
        same_metrics(&more, &one);
    }
}

Test(train, depends_on_the_seed_and_on_nothing_that_is_kept_between_runs) {
    sk_train_result a = train((experiment){.iterations = 3}, NULL, 0);
    sk_train_result b = train((experiment){.iterations = 3}, NULL, 0);
    SAME_PARAMS(a, b);
    sk_train_result c = rig_train_ok((rig_run){.yaml = yaml_of((experiment){.iterations = 3}), .set = {"seed=4"}});
    cr_assert_str_neq(c.params_sha256, a.params_sha256);
}

static void evaluate_and_look(void *user, const sk_train_progress *progress) {
    *(int *)user += progress->evaluated && !progress->is_last;
}
Test(train, is_not_disturbed_by_evaluations_and_checkpoints) {
    char           *dir = rig_folder();
    int             n_evaluations = 0;
    sk_train_result quiet = train((experiment){.iterations = 6}, NULL, 0);
    sk_train_result looked = rig_train_ok(
        (rig_run){.yaml = yaml_of((experiment){.iterations = 6, .checkpoint_every = BATCH}),
                  .set = {"evaluation.num_episodes=3", rig_text("evaluation.interval_steps=%d", 2 * BATCH)},
                  .run_dir = dir, .on_progress = evaluate_and_look, .user = &n_evaluations});
    SAME_PARAMS(looked, quiet);
    cr_assert_eq(n_evaluations, 3);
    rig_remove(&dir);
}

/* ---- interruption ---- */

static volatile int interrupted;
static void interrupt_after_four(void *user, const sk_train_progress *progress) {
    (void)user;
    if (sk_metrics_get(progress->metrics, SK_METRIC_TRAINING_ITERATION, 0) >= 4) interrupted = 1;
}

Test(train, leaves_a_checkpoint_when_interrupted_and_goes_on_from_it) {
    char           *dir = rig_folder();
    sk_train_result whole = train((experiment){.iterations = 8}, NULL, 0);
    sk_train_result cut = rig_train_ok((rig_run){.yaml = yaml_of((experiment){.iterations = 8}), .run_dir = dir,
                                                 .interrupted = &interrupted, .on_progress = interrupt_after_four});
    cr_assert_eq(cut.kind, SK_STOP_INTERRUPTED);
    cr_assert_str_eq(cut.stop_reason, "interrupted");
    cr_assert_eq(cut.metrics.value[SK_METRIC_TRAINING_ITERATION], 4);
    cr_assert_eq(sk_checkpoint_newest(dir), 4 * BATCH);
    SAME_PARAMS(train((experiment){.iterations = 8}, dir, 1), whole);
    rig_remove(&dir);
}

Test(train, interrupted_before_it_began_still_leaves_a_checkpoint) {
    char        *dir = rig_folder();
    volatile int now = 1;
    rig_train_ok((rig_run){.yaml = yaml_of((experiment){.iterations = 8}), .run_dir = dir, .interrupted = &now});
    cr_assert_eq(sk_checkpoint_newest(dir), 0);
    SAME_PARAMS(train((experiment){.iterations = 2}, dir, 1), train((experiment){.iterations = 2}, NULL, 0));
    rig_remove(&dir);
}

/* ---- checkpoints on disk ---- */

Test(train, keeps_the_newest_checkpoints) {
    char *dir = rig_folder();
    train((experiment){.iterations = 5, .checkpoint_every = BATCH}, dir, 0); /* keep is 2 */
    cr_assert_eq(sk_checkpoint_newest(dir), 5 * BATCH);
    for (int i = 1; i <= 5; i++) {
        const char *folder = rig_text("%s/checkpoints/%d", dir, i * BATCH);
        cr_assert_eq(access(folder, F_OK) == 0, i >= 4, "%s", folder);
    }
    rig_remove(&dir);
}

/* Evaluated after every iteration; `best` is the largest mean of all. */
static void note_best(void *user, const sk_train_progress *progress) {
    double *best = user, now = sk_metrics_get(progress->metrics, SK_METRIC_EVAL_RETURN_MEAN, -INFINITY);
    if (progress->evaluated && now > *best) *best = now;
}
static double best_of(const char *dir, int iterations, int resume) {
    double  best = -INFINITY;
    rig_run run = {.yaml = yaml_of((experiment){.iterations = iterations}), .run_dir = dir, .resume = resume,
                   .set = {"evaluation={num_episodes: 7, interval_steps: 1, seed: 40}", "training.lr=0.02"},
                   .on_progress = note_best, .user = &best};
    rig_train_ok(run);
    return best;
}
Test(train, keeps_the_policy_that_was_evaluated_best_also_over_a_resume) {
    char         *whole = rig_folder(), *cut = rig_folder();
    double        best = best_of(whole, 14, 0), first = best_of(cut, 7, 0), second = best_of(cut, 14, 1);
    sk_policy    *policy = NULL, *other = NULL;
    sk_env       *env = NULL;
    sk_evaluation e;
    char          sha[2][65];
    cr_assert_eq(best, fmax(first, second));
    cr_assert_eq(sk_env_create(&(sk_env_params){.name = "CartPole-v1", .max_episode_steps = 90}, &env, NULL), SK_OK);
    cr_assert_eq(sk_policy_load(whole, &policy, NULL), SK_OK); /* a run folder stands for its best */
    cr_assert_eq(sk_policy_load(cut, &other, NULL), SK_OK);
    sk_policy_sha256(policy, sha[0]), sk_policy_sha256(other, sha[1]);
    cr_assert_str_eq(sha[0], sha[1]);
    sk_evaluate_params p = {.env = env, .policy = policy, .n_episodes = 7, .seed = 40};
    cr_assert_eq(sk_evaluate_run(&p, &e, NULL), SK_OK);
    cr_assert_eq(e.return_mean, best);
    cr_assert_neq(sk_policy_version(policy), 14, "the last is the best: this proves nothing");
    sk_policy_destroy(&policy), sk_policy_destroy(&other);
    sk_env_destroy(&env);
    rig_remove(&whole), rig_remove(&cut);
}

static void refuses_to_resume(const char *dir, experiment e, sk_status wanted, const char *part1, const char *part2) {
    rig_run run = {.yaml = yaml_of(e), .run_dir = dir, .resume = 1};
    cr_assert_eq(rig_train(&run), wanted, "wanted %s, got %s: %s", sk_status_text(wanted), sk_status_text(run.status),
                 run.error.msg);
    rig_has(run.error.msg, part1);
    rig_has(run.error.msg, part2);
}

Test(train, names_the_damaged_file_of_a_checkpoint) {
    char *dir = rig_folder();
    static const char *const files[] = {"state.skiff", "policy.skiff"};
    experiment e = {.iterations = 4};
    train((experiment){.iterations = 2}, dir, 0);
    for (int i = 0; i < 2; i++) {
        const char    *path = newest(dir, files[i]), *other = newest(dir, files[1 - i]);
        size_t         size, other_size;
        unsigned char *bytes = rig_read(path, &size), *others = rig_read(other, &other_size);
        for (size_t at = 0; at < size; at += size / 5 + 1) { /* flipped bits */
            bytes[at] ^= 4;
            rig_write(path, bytes, size);
            rig_run run = {.yaml = yaml_of(e), .run_dir = dir, .resume = 1};
            sk_status status = rig_train(&run);
            cr_assert(status == SK_ECORRUPT || status == SK_EVERSION, "byte %zu: %s", at, run.error.msg);
            rig_has(run.error.msg, path);
            bytes[at] ^= 4;
        }
        rig_write(path, bytes, size - 1);
        refuses_to_resume(dir, e, SK_ECORRUPT, path, "");
        rig_write(path, bytes, 0);
        refuses_to_resume(dir, e, SK_ECORRUPT, path, "");
        rig_write(path, others, other_size); /* foreign: the other kind of file */
        refuses_to_resume(dir, e, SK_ECORRUPT, path, "");
        cr_assert_eq(remove(path), 0);
        refuses_to_resume(dir, e, SK_EIO, path, "");
        rig_write(path, bytes, size);
        free(bytes);
        free(others);
    }
    train(e, dir, 1); /* put back, it works */
    rig_remove(&dir);
}

Test(train, names_the_folder_without_a_checkpoint) {
    char *dir = rig_folder();
    refuses_to_resume(dir, (experiment){.iterations = 2}, SK_ENOTFOUND, dir, "no checkpoint");
    rig_remove(&dir);
}

Test(train, refuses_to_resume_another_experiment) {
    char *dir = rig_folder();
    train((experiment){.iterations = 2}, dir, 0);
    refuses_to_resume(dir, (experiment){.iterations = 4, .runners = 1, .envs_each = 6}, SK_ECONFIG,
                      "environments was 8, the config says 6", "state.skiff");
    refuses_to_resume(dir, (experiment){.iterations = 4, .env = "Pendulum-v1"}, SK_EINVAL, "CartPole-v1",
                      "Pendulum-v1");
    rig_run run = {.yaml = yaml_of((experiment){.iterations = 4}), .run_dir = dir, .resume = 1,
                   .set = {"model.fcnet_hiddens=[32, 31]"}};
    cr_assert_eq(rig_train(&run), SK_ECONFIG);
    rig_has(run.error.msg, "network");
    run.set[0] = "seed=5";
    cr_assert_eq(rig_train(&run), SK_ECONFIG);
    rig_has(run.error.msg, "seed was 3, the config says 5");
    rig_remove(&dir);
}

/* A regular file where the new checkpoint's folder is to be made stops even root. */
Test(train, a_checkpoint_that_cannot_be_written_leaves_the_old_one) {
    char *dir = rig_folder();
    train((experiment){.iterations = 2}, dir, 0);
    const char *obstacle = rig_text("%s/checkpoints/.tmp-%d", dir, 4 * BATCH);
    rig_write(obstacle, "", 0);
    rig_run run = {.yaml = yaml_of((experiment){.iterations = 4}), .run_dir = dir, .resume = 1};
    cr_assert_eq(rig_train(&run), SK_EIO);
    rig_has(run.error.msg, obstacle);
    cr_assert_eq(sk_checkpoint_newest(dir), 2 * BATCH);
    cr_assert_eq(remove(obstacle), 0);
    SAME_PARAMS(train((experiment){.iterations = 4}, dir, 1), train((experiment){.iterations = 4}, NULL, 0));
    rig_remove(&dir);
}

/* After the second iteration's checkpoint, no file may grow beyond 12 KiB: state.skiff breaks off in the middle. */
static void limit_file_size(void *user, const sk_train_progress *progress) {
    (void)user;
    /* an iteration is reported before it is saved */
    if (sk_metrics_get(progress->metrics, SK_METRIC_TRAINING_ITERATION, 0) < 3) return;
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 12 << 10;
    setrlimit(RLIMIT_FSIZE, &limit);
}
Test(train, a_checkpoint_that_breaks_off_leaves_the_old_one_and_no_litter) {
    char         *dir = rig_folder();
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    rig_run run = {.yaml = yaml_of((experiment){.iterations = 5, .checkpoint_every = BATCH}), .run_dir = dir,
                   .on_progress = limit_file_size};
    sk_status status = rig_train(&run);
    setrlimit(RLIMIT_FSIZE, &before);
    cr_assert_eq(status, SK_EIO, "%s", sk_status_text(status));
    rig_has(run.error.msg, "skiff");
    cr_assert_eq(sk_checkpoint_newest(dir), 2 * BATCH);
    int            n = 0;
    DIR           *folder = opendir(rig_text("%s/checkpoints", dir));
    for (struct dirent *e; (e = readdir(folder));) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(folder);
    cr_assert_eq(n, 2, "%d entries in checkpoints/", n);
    SAME_PARAMS(train((experiment){.iterations = 4}, dir, 1), train((experiment){.iterations = 4}, NULL, 0));
    rig_remove(&dir);
}

/* ---- init-from ---- */

Test(train, starts_from_another_policys_parameters) {
    char           *dir = rig_folder();
    sk_train_result donor = train((experiment){.iterations = 3}, dir, 0);
    rig_run         still = {.yaml = yaml_of((experiment){.iterations = 1}), .set = {"training.lr=0"},
                             .init_from = dir};
    sk_train_result same = rig_train_ok(still);
    SAME_PARAMS(same, donor);
    cr_assert_eq(same.metrics.value[SK_METRIC_TRAINING_ITERATION], 1);
    cr_assert_eq(same.metrics.value[SK_METRIC_ENV_STEPS], BATCH);
    const char *file = rig_text("%s/checkpoints/%d/policy.skiff", dir, 3 * BATCH);
    still.init_from = file;
    SAME_PARAMS(rig_train_ok(still), donor);

    rig_run run = {.yaml = yaml_of((experiment){.env = "Pendulum-v1", .iterations = 1}), .init_from = file};
    cr_assert_eq(rig_train(&run), SK_EINVAL);
    rig_has(run.error.msg, file);
    rig_has(run.error.msg, "obs");
    run = (rig_run){.yaml = still.yaml, .set = {"model.fcnet_hiddens=[32, 33]"}, .init_from = file};
    cr_assert_eq(rig_train(&run), SK_ECONFIG);
    rig_has(run.error.msg, "network");
    run.init_from = rig_text("%s/nothing-here", dir);
    cr_assert_eq(rig_train(&run), SK_EIO);
    rig_has(run.error.msg, "nothing-here");
    rig_remove(&dir);
}

/* ---- runners that die ---- */

static int killed_pid;
static void kill_a_runner(void *user, const sk_train_progress *progress) {
    (void)user;
    int pids[16];
    if (sk_metrics_get(progress->metrics, SK_METRIC_TRAINING_ITERATION, 0) != 3) return;
    int n = rig_children(pids, 16);
    cr_assert_eq(n, 2, "%d runner processes", n);
    killed_pid = pids[1] > pids[0] ? pids[1] : pids[0];
    kill(killed_pid, SIGKILL);
}

Test(train, reports_a_killed_runner_by_name_and_signal_and_leaves_nothing) {
    char   *dir = rig_folder();
    int     pids[16];
    rig_run run = {.yaml = yaml_of((experiment){.runners = 2, .iterations = 8, .placement = "process",
                                                .checkpoint_every = 2 * BATCH}),
                   .set = {"env_runners.restart_failed_env_runners=false"}, .run_dir = dir,
                   .on_progress = kill_a_runner};
    cr_assert_eq(rig_train(&run), SK_EDEAD, "%s", run.error.msg);
    rig_has(run.error.msg, "runner-");
    rig_has(run.error.msg, rig_text("%d", killed_pid));
    rig_has(run.error.msg, "SIGKILL");
    cr_assert_eq(rig_children(pids, 16), 0);
    cr_assert_eq(sk_checkpoint_newest(dir), 2 * BATCH);
    SAME_PARAMS(train((experiment){.runners = 2, .iterations = 4}, dir, 1),
                train((experiment){.iterations = 4}, NULL, 0));
    rig_remove(&dir);
}

/* The same while a fragment of some seconds is being sampled. */
static void *kill_soon(void *arg) {
    int pids[16], n = 0;
    for (int i = 0; i < 2000 && (n = rig_children(pids, 16)) < 2; i++) usleep(5000);
    usleep(300000);
    if (n == 2) kill(pids[0], SIGKILL);
    return arg;
}
Test(train, reports_a_runner_killed_while_it_samples) {
    pthread_t killer;
    rig_run   run = {.yaml = "algorithm: ppo\nenv: {name: Pendulum-v1}\n"
                             "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 1, placement: process,\n"
                             "  rollout_fragment_length: 100000, sample_timeout_s: 3000,\n"
                             "  restart_failed_env_runners: false}\n"
                             "model: {fcnet_hiddens: [256, 256]}\n"
                             "stop: {training_iteration: 1}\n"};
    pthread_create(&killer, NULL, kill_soon, NULL);
    cr_assert_eq(rig_train(&run), SK_EDEAD, "%s", run.error.msg);
    pthread_join(killer, NULL);
    rig_has(run.error.msg, "runner-");
    rig_has(run.error.msg, "SIGKILL");
    int pids[16];
    cr_assert_eq(rig_children(pids, 16), 0);
}

/* ---- what ends a run ---- */

Test(train, says_what_ended_it) {
    sk_train_result r = train((experiment){.iterations = 3}, NULL, 0);
    cr_assert_eq(r.kind, SK_STOP_BUDGET);
    cr_assert_str_eq(r.stop_reason, "training_iteration 3 >= 3");
    cr_assert(!r.goal_named && !r.goal_met);
    rig_has(r.device, "cpu");
    rig_run goal = {.yaml = yaml_of((experiment){.iterations = 3}),
                    .set = {"stop={training_iteration: 50, episode_return_mean: 5}"}};
    r = rig_train_ok(goal);
    cr_assert_eq(r.kind, SK_STOP_GOAL);
    cr_assert(r.goal_named && r.goal_met);
    rig_has(r.stop_reason, "episode_return_mean");
    cr_assert_lt(r.metrics.value[SK_METRIC_TRAINING_ITERATION], 50);
    goal.set[0] = "stop={training_iteration: 2, episode_return_mean: 5000}";
    r = rig_train_ok(goal);
    cr_assert_eq(r.kind, SK_STOP_BUDGET);
    cr_assert(r.goal_named && !r.goal_met);
}
