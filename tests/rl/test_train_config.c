#include "rl/metrics.h"
#include "rl/train_config.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

typedef struct bound {
    sk_config *cfg; /* owns the strings */
    sk_train_config c;
} bound;

/* Parse, bind and check; the status of the first that failed. Release with bound_deinit. */
static sk_status bind(bound *self, const char *text, sk_error *err) {
    *self = (bound){0};
    sk_config_part part = {sk_train_config_keys, sk_train_config_n_keys, &self->c};
    SK_TRY(sk_config_parse(text, "x.yaml", NULL, 0, &self->cfg, err));
    SK_TRY(sk_config_bind(self->cfg, &part, 1, err));
    return sk_train_config_check(&self->c, self->cfg, err);
}

static void bound_deinit(bound *self) { sk_config_destroy(&self->cfg); }

static void accepts(const char *text) {
    bound b;
    sk_error err = {0};
    cr_assert_eq(bind(&b, text, &err), SK_OK, "%s", err.msg);
    bound_deinit(&b);
}

static void refuses(const char *message, const char *text) {
    bound b;
    sk_error err = {0};
    cr_assert_eq(bind(&b, text, &err), SK_ECONFIG, "was not refused, wanted: %s", message);
    cr_assert_str_eq(err.msg, message);
    bound_deinit(&b);
}

#define HEAD   "algorithm: ppo\nenv: CartPole-v1\n"
#define BUDGET "stop: {num_env_steps_sampled_lifetime: 1000}\n"

Test(train_config, has_sensible_defaults) {
    bound b;
    sk_error err = {0};
    cr_assert_eq(bind(&b, HEAD BUDGET, &err), SK_OK, "%s", err.msg);
    cr_assert_str_eq(b.c.algorithm, "ppo");
    cr_assert_str_eq(b.c.env.name, "CartPole-v1");
    cr_assert_str_eq(b.c.env.plugin, "");
    cr_assert_eq(b.c.env.config.n, 0);
    cr_assert_eq(b.c.device, SK_DEVICE_AUTO);
    cr_assert_eq(b.c.env_runners.num_env_runners, 0);
    cr_assert_eq(b.c.env_runners.num_envs_per_env_runner, 1);
    cr_assert_eq(b.c.env_runners.rollout_fragment_length, 2048);
    cr_assert_eq(b.c.env_runners.placement, SK_RUNNER_THREAD);
    cr_assert_eq(b.c.env_runners.observation_filter, SK_FILTER_NONE);
    cr_assert_eq(b.c.env_runners.sample_timeout_s, 60);
    cr_assert(b.c.env_runners.restart_failed_env_runners);
    cr_assert_eq(b.c.env_runners.max_num_env_runner_restarts, 1000);
    cr_assert_eq(b.c.model.fcnet_hiddens.n, 2);
    cr_assert_eq(b.c.model.fcnet_hiddens.v[1], 64);
    cr_assert_eq(b.c.model.fcnet_activation, SK_ACT_TANH);
    cr_assert(b.c.model.free_log_std);
    cr_assert_eq(b.c.evaluation.num_episodes, 10);
    cr_assert_eq(b.c.evaluation.seed, 10000);
    cr_assert_eq(b.c.checkpoint.keep, 3);
    bound_deinit(&b);
}

Test(train_config, emits_what_binds_again) {
    bound b, again;
    sk_error err = {0};
    char *text = NULL, *second = NULL;
    cr_assert_eq(
        bind(&b,
             HEAD "model: {fcnet_hiddens: [], log_std_init: -0.5}\nenv_runners: {clip_rewards: 10}\n" BUDGET,
             &err),
        SK_OK, "%s", err.msg);
    sk_config_part part = {sk_train_config_keys, sk_train_config_n_keys, &b.c};
    cr_assert_eq(sk_config_emit(&part, 1, &text, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(bind(&again, text, &err), SK_OK, "%s in:\n%s", err.msg, text);
    part.base = &again.c;
    cr_assert_eq(sk_config_emit(&part, 1, &second, &err), SK_OK);
    cr_assert_str_eq(second, text);
    cr_assert_eq(again.c.model.log_std_init, -0.5);
    free(text);
    free(second);
    bound_deinit(&b);
    bound_deinit(&again);
}

Test(train_config, counts_environments_and_steps) {
    bound b;
    sk_error err = {0};
    cr_assert_eq(bind(&b,
                      HEAD BUDGET "env_runners: {num_env_runners: 3, num_envs_per_env_runner: 5, "
                                  "rollout_fragment_length: 7}\n",
                      &err),
                 SK_OK, "%s", err.msg);
    cr_assert_eq(sk_train_config_n_envs(&b.c), 15);
    cr_assert_eq(sk_train_config_batch_steps(&b.c), 105);
    b.c.env_runners.num_env_runners = 0; /* inline: one runner without an actor */
    cr_assert_eq(sk_train_config_n_envs(&b.c), 5);
    cr_assert_eq(sk_train_config_batch_steps(&b.c), 35);
    bound_deinit(&b);
}

Test(train_config, every_key_has_a_sentence) {
    for (int i = 0; i < sk_train_config_n_keys; i++) {
        const sk_key *key = &sk_train_config_keys[i];
        cr_assert(key->help && key->help[strlen(key->help) - 1] == '.', "%s", key->path);
    }
}

Test(train_config, wants_an_algorithm_and_an_environment) {
    refuses("x.yaml: the key \"algorithm\" is missing, wanted a string (What learns.)",
            "env: CartPole-v1\n" BUDGET);
    refuses("x.yaml: env is missing, wanted the name of an environment, e.g. \"env: CartPole-v1\" (`skiff "
            "envs` lists "
            "them)",
            "algorithm: ppo\n" BUDGET);
    accepts("algorithm: ppo\nenv: {plugin: ./my_env.so}\n" BUDGET);
}

Test(train_config, takes_an_environment_of_gymnasium) {
    bound b;
    sk_error err = {0};
    cr_assert_eq(bind(&b, "algorithm: ppo\nenv: {gymnasium: A-v1, python: ./py, timeout_s: 5}\n" BUDGET, &err), SK_OK,
                 "%s", err.msg);
    cr_assert_str_eq(b.c.env.gymnasium, "A-v1");
    cr_assert_str_eq(b.c.env.name, "");
    bound_deinit(&b);
    accepts("algorithm: ppo\nenv: {name: 'gymnasium:A-v1', python: ./py}\n" BUDGET);
    refuses("x.yaml:2:16: env.gymnasium takes the place of env.name and env.plugin, got \"A\" and \"B\"",
            "algorithm: ppo\nenv: {name: B, gymnasium: A}\n" BUDGET);
    refuses("x.yaml:2:16: env.python is only for env.gymnasium",
            "algorithm: ppo\nenv: {name: B, python: py}\n" BUDGET);
}

Test(train_config, wants_a_condition_to_stop) {
    refuses("x.yaml: stop needs at least one condition, e.g. {num_env_steps_sampled_lifetime: 100000}", HEAD);
    refuses("x.yaml:3:1: stop needs at least one condition, e.g. {num_env_steps_sampled_lifetime: 100000}",
            HEAD "stop: {}\n");
}

Test(train_config, knows_the_metrics_that_stop) {
    refuses("x.yaml:3:8: stop: there is no metric \"num_env_steps_sampled\"; did you mean "
            "\"num_env_steps_sampled_lifetime\"?",
            HEAD "stop: {num_env_steps_sampled: 1000}\n");
    refuses(
        "x.yaml:3:8: stop: there is no metric \"episode_reward_mean\"; did you mean \"episode_return_mean\"?",
        HEAD "stop: {episode_reward_mean: 400}\n");
    refuses("x.yaml:3:8: stop: there is no metric \"vf_loss\"; did you mean \"learner/vf_loss\"?",
            HEAD "stop: {vf_loss: 1}\n");
    refuses("x.yaml:3:8: stop: there is no metric \"zzzzzzzz\" (`skiff docs metrics` lists them)",
            HEAD "stop: {zzzzzzzz: 1000}\n");
}

Test(train_config, wants_positive_budgets) {
    refuses("x.yaml:3:8: stop: time_total_s is a budget and must be > 0, got 0",
            HEAD "stop: {time_total_s: 0}\n");
    accepts(HEAD "stop: {time_total_s: 0.5}\n");
}

Test(train_config, a_goal_of_evaluations_needs_evaluations) {
    refuses("x.yaml:3:8: stop: evaluation/episode_return_mean is only looked at during the run if "
            "evaluation.interval_steps is > 0, got 0",
            HEAD "stop: {evaluation/episode_return_mean: 475}\n");
    refuses(
        "x.yaml:3:8: stop: evaluation/episode_return_mean can never be reached, because "
        "evaluation.num_episodes is "
        "0",
        HEAD
        "stop: {evaluation/episode_return_mean: 475}\nevaluation: {interval_steps: 10, num_episodes: 0}\n");
    accepts(HEAD "stop: {evaluation/episode_return_mean: 475}\nevaluation: {interval_steps: 1000}\n");
}

Test(train_config, something_must_be_able_to_end_the_run) {
    refuses("x.yaml:3:1: stop needs a condition that ends the run: a budget like "
            "num_env_steps_sampled_lifetime, or a "
            "goal like evaluation/episode_return_mean",
            HEAD "stop: {learner/mean_kl_loss: 1}\n");
    accepts(HEAD "stop: {learner/mean_kl_loss: 1, training_iteration: 5}\n");
    accepts(HEAD "stop: {episode_return_mean: 450}\n");
}

Test(train_config, refuses_an_iteration_beyond_counting) {
    refuses("x.yaml:4:1: one iteration would be 65536000000 env steps (65536 environments x "
            "env_runners.rollout_fragment_length 1000000), at most 2147483647 are possible",
            HEAD BUDGET "env_runners: {num_envs_per_env_runner: 65536, rollout_fragment_length: 1000000}\n");
}

#define REMOTE "env_runners: {placement: remote, num_env_runners: 2}\n"
Test(train_config, takes_runners_on_other_hosts_where_they_can_join) {
    bound b;
    sk_error err = {0};
    cr_assert_eq(bind(&b, HEAD BUDGET REMOTE, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(b.c.env_runners.placement, SK_RUNNER_REMOTE);
    cr_assert_eq(b.c.env_runners.num_cpus_per_env_runner, 1);
    cr_assert_str_eq(b.c.cluster.bind, "tcp://127.0.0.1:0");
    cr_assert_str_eq(b.c.cluster.key_file, "");
    cr_assert(b.c.cluster.num_hosts == 1 && b.c.cluster.wait_s == 300 && b.c.cluster.encrypt);
    bound_deinit(&b);
    accepts(HEAD BUDGET REMOTE "cluster: {bind: tcp://10.0.0.1:7711, num_hosts: 3, wait_s: 0}\n");
    refuses("x.yaml:4:15: env_runners.placement remote needs runners that can be elsewhere, wanted "
            "env_runners.num_env_runners > 0, got 0",
            HEAD BUDGET "env_runners: {placement: remote}\n");
    refuses("x.yaml:5:11: cluster.bind \"10.0.0.1:7711\" is no place to listen, wanted \"tcp://ADDRESS:PORT\", as in "
            "\"tcp://127.0.0.1:0\"",
            HEAD BUDGET REMOTE "cluster: {bind: \"10.0.0.1:7711\"}\n");
    refuses("x.yaml:5:11: cluster.bind \"tcp://host\" is no place to listen, wanted \"tcp://ADDRESS:PORT\", as in "
            "\"tcp://127.0.0.1:0\"",
            HEAD BUDGET REMOTE "cluster: {bind: tcp://host}\n");
    accepts(HEAD BUDGET "cluster: {bind: nowhere}\n"); /* nobody listens */
}

Test(train_config, leaves_nothing_unencrypted_beyond_loopback) {
    accepts(HEAD BUDGET REMOTE "cluster: {encrypt: false}\n");
    accepts(HEAD BUDGET REMOTE "cluster: {encrypt: false, bind: \"tcp://127.3.2.1:99\"}\n");
    accepts(HEAD BUDGET REMOTE "cluster: {encrypt: false, bind: \"tcp://[::1]:99\"}\n");
    accepts(HEAD BUDGET REMOTE "cluster: {encrypt: false, bind: \"tcp://localhost:0\"}\n");
    refuses("x.yaml:5:11: cluster.encrypt false is for loopback only, and cluster.bind is \"tcp://0.0.0.0:99\": anybody "
            "there could join",
            HEAD BUDGET REMOTE "cluster: {encrypt: false, bind: \"tcp://0.0.0.0:99\"}\n");
    refuses("x.yaml:5:11: cluster.encrypt false is for loopback only, and cluster.bind is \"tcp://*:0\": anybody there "
            "could join",
            HEAD BUDGET REMOTE "cluster: {encrypt: false, bind: \"tcp://*:0\"}\n");
    refuses("x.yaml:5:11: cluster.encrypt false is for loopback only, and cluster.bind is \"tcp://127.evil.org:0\": "
            "anybody there could join",
            HEAD BUDGET REMOTE "cluster: {encrypt: false, bind: \"tcp://127.evil.org:0\"}\n");
    refuses("x.yaml:5:11: cluster.encrypt false is for loopback only, and cluster.bind is \"tcp://localhost.evil.org:0\": "
            "anybody there could join",
            HEAD BUDGET REMOTE "cluster: {encrypt: false, bind: \"tcp://localhost.evil.org:0\"}\n");
}

Test(train_config, refuses_what_this_version_cannot_do) {
    refuses("x.yaml:4:1: device cuda is not there: this skiff computes on the CPU only",
            HEAD BUDGET "device: cuda\n");
}
