/* Whole runs that learn from a replay: the same bits however the work is dealt out, and what a checkpoint without the
 * replay's contents means. */
#include "rl/checkpoint.h"
#include "tests/rl/rig.h"

enum { N_ENVS = 4, ITERATION = 100 };

typedef struct experiment {
    const char *env, *more; /* more: further lines */
    int         runners, iterations, save;
    const char *placement;
} experiment;

/* An iteration is ITERATION env steps: 25 fragments of one step of four environments. */
static const char *yaml_of(experiment e) {
    return rig_text("algorithm: sac\nenv: %s\nseed: 5\n"
                    "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, placement: %s,\n"
                    "  observation_filter: MeanStdFilter, clip_rewards: 5}\n"
                    "training: {train_batch_size: 32, num_steps_sampled_before_learning_starts: 60,\n"
                    "  min_sample_timesteps_per_iteration: %d, training_intensity: 8}\n"
                    "replay_buffer_config: {capacity: 700, save_in_checkpoints: %s}\n"
                    "evaluation: {num_episodes: 0}\nstop: {training_iteration: %d}\n"
                    "model: {fcnet_hiddens: [16, 16]%s}\n",
                    e.env ? e.env : "Pendulum-v1", e.runners, N_ENVS / (e.runners ? e.runners : 1),
                    e.placement ? e.placement : "thread", ITERATION, e.save ? "true" : "false", e.iterations,
                    e.more ? e.more : "");
}

static sk_train_result train(experiment e, const char *run_dir, int resume) {
    return rig_train_ok((rig_run){.yaml = yaml_of(e), .run_dir = run_dir, .resume = resume});
}

static void same(const sk_train_result *a, const sk_train_result *b) {
    cr_assert_str_eq(a->params_sha256, b->params_sha256);
    for (int i = 0; i < SK_METRIC_COUNT; i++) {
        const char *name = sk_metric_info_get((sk_metric)i)->name;
        if (strncmp(name, "perf/", 5) == 0 || i == SK_METRIC_TIME_TOTAL) continue;
        cr_assert_eq(a->metrics.present[i], b->metrics.present[i], "%s", name);
        cr_assert(!a->metrics.present[i] || a->metrics.value[i] == b->metrics.value[i], "%s: %.17g and %.17g", name,
                  a->metrics.value[i], b->metrics.value[i]);
    }
}

static void same_bits_in_every_placement(const char *more) {
    sk_train_result first = train((experiment){.iterations = 5, .more = more}, NULL, 0);
    cr_assert_gt(first.metrics.value[SK_METRIC_UPDATES], 90);
    cr_assert_eq(first.metrics.value[SK_METRIC_UPDATES_SKIPPED], 0);
    for (int runners = 1; runners <= 4; runners *= 2)
        for (int process = 0; process < 2; process++) {
            sk_train_result other = train((experiment){.iterations = 5, .runners = runners, .more = more,
                                                       .placement = process ? "process" : "thread"}, NULL, 0);
            same(&other, &first);
        }
}
Test(train_replay, sac_gives_the_same_bits_in_every_placement_and_number_of_runners) {
    same_bits_in_every_placement("");
}
Test(train_replay, sac_gives_the_same_bits_in_every_placement_with_state_dependent_noise) {
    same_bits_in_every_placement(", use_sde: true, sde_sample_freq: 7");
}

/* Longer than the replay, so that it has gone round; cut while it is still warming up, too. */
static void resumes_bit_for_bit(const char *more, const char *set, int cut_at) {
    char           *straight = rig_folder(), *cut = rig_folder();
    experiment      e = {.iterations = 10, .save = 1, .runners = 2, .more = more};
    rig_run         run = {.yaml = yaml_of(e), .run_dir = straight, .set = {set}};
    sk_train_result whole = rig_train_ok(run);
    e.iterations = cut_at;
    run.yaml = yaml_of(e), run.run_dir = cut;
    sk_train_result half = rig_train_ok(run);
    cr_assert_str_neq(half.params_sha256, whole.params_sha256);
    e.iterations = 10;
    run.yaml = yaml_of(e), run.resume = 1;
    rig_log_watch();
    sk_train_result rest = rig_train_ok(run);
    cr_assert_str_eq(rig_warnings, "");
    same(&rest, &whole);
    rig_remove(&straight), rig_remove(&cut);
}
Test(train_replay, sac_resumes_bit_for_bit_with_the_contents_of_its_replay) {
    resumes_bit_for_bit("", NULL, 8);
    resumes_bit_for_bit("", "training.num_steps_sampled_before_learning_starts=450", 2);
    resumes_bit_for_bit(", use_sde: true, sde_sample_freq: 7", "replay_buffer_config.prioritized=true", 4);
}

Test(train_replay, sac_resumes_with_another_number_of_runners) {
    char           *dir = rig_folder();
    sk_train_result whole = train((experiment){.iterations = 6, .save = 1}, NULL, 0);
    train((experiment){.iterations = 2, .save = 1, .runners = 4, .placement = "process"}, dir, 0);
    sk_train_result rest = train((experiment){.iterations = 6, .save = 1, .runners = 1}, dir, 1);
    same(&rest, &whole);
    rig_remove(&dir);
}

Test(train_replay, says_that_a_checkpoint_holds_no_replay_and_fills_it_anew) {
    char           *dir = rig_folder();
    sk_train_result whole = train((experiment){.iterations = 6}, NULL, 0);
    sk_train_result half = train((experiment){.iterations = 3}, dir, 0);
    rig_log_watch();
    sk_train_result rest = train((experiment){.iterations = 6}, dir, 1);
    rig_has(rig_warnings, "the checkpoint holds no replay");
    rig_has(rig_warnings, "replay_buffer_config.save_in_checkpoints");
    rig_has(rig_warnings, " 60 env steps");
    cr_assert_str_neq(rest.params_sha256, whole.params_sha256);
    cr_assert_str_neq(rest.params_sha256, half.params_sha256);
    /* the steps that fill it anew pay for no updates */
    double paid = whole.metrics.value[SK_METRIC_UPDATES] - rest.metrics.value[SK_METRIC_UPDATES];
    cr_assert_float_eq(paid, 60.0 * 8 / 32, 1.0, "%g updates fewer", paid);
    cr_assert_eq(rest.metrics.value[SK_METRIC_UPDATES_SKIPPED], 0);
    rig_remove(&dir);
}

/* The statistics are part of the policy: they come from every step that was taken, and go on after a resume. */
Test(train_replay, sac_normalises_observations_over_a_resume) {
    char      *dir = rig_folder();
    sk_policy *policy = NULL;
    for (int resume = 0; resume < 2; resume++) {
        train((experiment){.iterations = resume ? 6 : 3, .save = 1}, dir, resume);
        cr_assert_eq(sk_checkpoint_load_policy(dir, &policy, NULL), SK_OK);
        const sk_normalizer *n = sk_policy_normalizer_const(policy);
        cr_assert_eq((double)n->count, (double)(resume ? 6 * ITERATION : 3 * ITERATION));
        cr_assert_neq(n->mean[0], 0.0);
        sk_policy_destroy(&policy);
    }
    rig_remove(&dir);
}
