/* What is bound and checked before anything starts, and the resolved config. */
#include "algorithms/ppo/ppo.h"
#include "tests/rl/rig.h"

#include <math.h>

static const char minimal[] = "algorithm: ppo\nenv: CartPole-v1\nstop: {training_iteration: 1}\n";

static sk_status init(const char *yaml, const char *set, sk_train_setup *s, sk_config **cfg, sk_error *e) {
    *e = (sk_error){0};
    *cfg = NULL;
    cr_assert_eq(sk_config_parse(yaml, "test.yaml", &set, set ? 1 : 0, cfg, e), SK_OK, "%s", e->msg);
    return sk_train_setup_init(s, *cfg, e);
}

/* The error a config ends in; everything can be taken down afterwards. */
static void refuses(const char *yaml, const char *set, sk_status wanted, const char *part1, const char *part2) {
    sk_train_setup s;
    sk_config     *cfg;
    sk_error       e;
    sk_status      got = init(yaml, set, &s, &cfg, &e);
    cr_assert_eq(got, wanted, "wanted %s, got %s: %s", sk_status_text(wanted), sk_status_text(got), e.msg);
    rig_has(e.msg, part1);
    rig_has(e.msg, part2);
    sk_train_setup_deinit(&s);
    sk_config_destroy(&cfg);
}

Test(train_setup, refuses_a_batch_size_that_does_not_follow) {
    refuses(minimal, "training.train_batch_size=100", SK_ECONFIG, "training.train_batch_size is 100, but one iteration is "
            "2048 env steps: 1 environments x ", "leave it out or make them agree");
    sk_train_setup s;
    sk_config     *cfg;
    sk_error       e;
    cr_assert_eq(init(minimal, "training.train_batch_size=2048", &s, &cfg, &e), SK_OK, "%s", e.msg);
    sk_train_setup_deinit(&s);
    sk_config_destroy(&cfg);
}

Test(train_setup, has_the_defaults_of_stable_baselines3) {
    sk_train_setup s;
    sk_config     *cfg;
    sk_error       e;
    cr_assert_eq(init(minimal, NULL, &s, &cfg, &e), SK_OK, "%s", e.msg);
    const sk_ppo_config *c = s.own;
    cr_assert_str_eq(s.algorithm->name, "ppo");
    cr_assert(c->gamma == 0.99 && c->lambda == 0.95 && c->lr.value[0] == 3e-4 && c->clip_param.value[0] == 0.2);
    cr_assert(c->num_epochs == 10 && c->minibatch_size == 64 && c->vf_loss_coeff == 0.5 && c->grad_clip == 0.5);
    cr_assert(c->entropy_coeff.value[0] == 0.0 && c->vf_clip_param == 0.0 && c->target_kl == 0.0 && !c->use_kl_loss);
    cr_assert(c->normalize_advantages && c->adam_epsilon == 1e-5);
    const sk_model_config *m = &s.config.model;
    cr_assert(m->fcnet_hiddens.n == 2 && m->fcnet_hiddens.v[0] == 64 && m->fcnet_hiddens.v[1] == 64);
    cr_assert(m->fcnet_activation == SK_ACT_TANH && !m->vf_share_layers && m->free_log_std && m->log_std_init == 0.0);
    cr_assert(s.spaces.obs_dim == 4 && s.spaces.n_parts == 1 && s.spaces.part_n[0] == 2);
    cr_assert(s.config.env_runners.rollout_fragment_length == 2048 && !s.config.env_runners.normalize_rewards);
    sk_train_setup_deinit(&s);
    sk_config_destroy(&cfg);
}

Test(train_setup, names_what_does_not_exist_and_where_it_was_written) {
    refuses("algorithm: pp\nenv: CartPole-v1\nstop: {training_iteration: 1}\n", NULL, SK_ECONFIG,
            "test.yaml:1:", "unknown algorithm \"pp\"; did you mean \"ppo\"?");
    refuses("env: CartPole-v1\nstop: {training_iteration: 1}\n", NULL, SK_ECONFIG, "algorithm", "");
    refuses("algorithm: ppo\nenv: CartPol-v1\nstop: {training_iteration: 1}\n", NULL, SK_ENOTFOUND, "test.yaml:2:",
            "CartPole-v1");
    refuses(minimal, "training.gama=0.9", SK_ECONFIG, "training.gama=0.9", "gamma");
    refuses("algorithm: ppo\nenv: {plugin: /nowhere/at_all.so}\nstop: {training_iteration: 1}\n", NULL, SK_ENOTFOUND,
            "test.yaml:2:", "/nowhere/at_all.so");
    refuses(rig_text("algorithm: ppo\nenv: {plugin: %s, name: Scripted-v0}\nstop: {training_iteration: 1}\n",
                     rig_plugin("scripted")), NULL, SK_EUNSUPPORTED, "1 discrete and 2 box actions", "test.yaml:2:");
}

Test(train_setup, refuses_what_ppo_cannot_do) {
    refuses("algorithm: ppo\nenv: CartPole-v1\nstop: {training_iteration: 1}\n"
            "env_runners: {rollout_fragment_length: 10, num_envs_per_env_runner: 3}\n"
            "training: {minibatch_size: 31}\n", NULL, SK_ECONFIG,
            "test.yaml:5:", "minibatch_size 31 is larger than a batch of 30 env steps");
    refuses("algorithm: ppo\nenv: CartPole-v1\nstop: {training_iteration: 1}\n"
            "env_runners: {rollout_fragment_length: 1}\ntraining: {minibatch_size: 1}\n", NULL, SK_ECONFIG,
            "normalize_advantages", "one step");
}

static const char *with(const char *algorithm, const char *env) {
    return rig_text("algorithm: %s\nenv: %s\nstop: {training_iteration: 1}\n", algorithm, env);
}

Test(train_setup, refuses_options_of_continuous_actions_where_there_are_none) {
    static const char *const algorithms[] = {"ppo", "sac"};
    for (int i = 0; i < 2; i++) {
        const char *yaml = with(algorithms[i], "CartPole-v1");
        refuses(yaml, "model.use_sde=true", SK_ECONFIG, "model.use_sde is for continuous actions", "CartPole-v1");
        refuses(yaml, "model.squash_actions=true", SK_ECONFIG, "model.squash_actions is for continuous actions",
                "CartPole-v1");
        yaml = with(algorithms[i], "Pendulum-v1\nmodel: {use_sde: true}");
        refuses(yaml, "model.sde_sample_freq=0", SK_ECONFIG, "model.sde_sample_freq 0", "");
        refuses(yaml, "model.sde_sample_freq=-2", SK_ECONFIG, "model.sde_sample_freq", "");
    }
    refuses(with("dqn", "CartPole-v1"), "model.use_sde=true", SK_ECONFIG, "model.use_sde is not for dqn", "");
    refuses(with("td3", "Pendulum-v1"), "model.use_sde=true", SK_ECONFIG, "model.use_sde is not for td3", "");
    refuses(with("td3", "Pendulum-v1"), "model.squash_actions=true", SK_ECONFIG, "model.squash_actions is not for td3",
            "");
    refuses(with("sac", "Pendulum-v1"), "model.squash_actions=true", SK_ECONFIG, "model.squash_actions is not for sac",
            "");
}

Test(train_setup, takes_options_of_continuous_actions_where_they_belong) {
    static const char *const yaml[] = {"Pendulum-v1\nmodel: {use_sde: true, squash_actions: true, sde_sample_freq: 1}",
                                       "Pendulum-v1\nmodel: {use_sde: true, sde_sample_freq: -1}"};
    for (int i = 0; i < 2; i++) {
        sk_train_setup s;
        sk_config     *cfg;
        sk_error       e;
        cr_assert_eq(init(with(i ? "sac" : "ppo", yaml[i]), NULL, &s, &cfg, &e), SK_OK, "%s", e.msg);
        cr_assert_eq(s.config.model.log_std_init, i ? -3.0 : 0.0, "sac starts with less noise, as in its paper");
        sk_train_setup_deinit(&s);
        sk_config_destroy(&cfg);
    }
}

/* The bounds that squashed actions are scaled to are only known to the environment. */
Test(train_setup, resolving_says_that_unbounded_actions_cannot_be_squashed) {
    sk_config  *cfg = NULL;
    sk_error    e = {0};
    char       *text = NULL;
    const char *set[] = {"model.squash_actions=true"};
    const char *yaml = with("ppo", rig_text("{plugin: %s, name: Drill-v0, config: {kind: 4}}", rig_plugin("drill")));
    cr_assert_eq(sk_config_parse(yaml, "test.yaml", set, 1, &cfg, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_train_resolve(cfg, &text, &e), SK_EUNSUPPORTED, "%s", e.msg);
    rig_has(e.msg, "bounds");
    cr_assert_null(text);
    sk_config_destroy(&cfg);
}

Test(train_setup, resolves_to_a_config_that_says_the_same) {
    sk_config *cfg = NULL, *again = NULL;
    sk_error   e = {0};
    char      *text = NULL, *second = NULL;
    const char *set[] = {"env_runners={num_env_runners: 3, num_envs_per_env_runner: 2, rollout_fragment_length: 16}",
                         "training.lr=[[0, 0.001], [1000, 0]]"};
    cr_assert_eq(sk_config_parse(minimal, "test.yaml", set, 2, &cfg, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_train_resolve(cfg, &text, &e), SK_OK, "%s", e.msg);
    rig_has(text, "environments: 6");
    rig_has(text, "train_batch_size): 96");
    rig_has(text, "observation: 4 slots; action: 1 discrete");
    rig_has(text, "time limit: 500 steps");
    rig_has(text, "parameters: 9155"); /* 2 x (4 x 64 + 64 + 64 x 64 + 64) + 64 x 2 + 2 + 64 + 1 */
    cr_assert_eq(sk_config_parse(text, "resolved.yaml", NULL, 0, &again, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_train_resolve(again, &second, &e), SK_OK, "%s", e.msg);
    cr_assert_str_eq(text, second);
    free(text), free(second);
    sk_config_destroy(&cfg), sk_config_destroy(&again);
    cr_assert_eq(sk_config_parse(minimal, "test.yaml", NULL, 0, &cfg, &e), SK_OK); /* the text is not asked for */
    cr_assert_eq(sk_train_resolve(cfg, NULL, &e), SK_OK, "%s", e.msg);
    sk_config_destroy(&cfg);
}
