#include "rl/train_setup.h"

#include "rl/runner_arg.h"
#include "rl/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALGORITHMS_MAX = 64, NAME_MAX_BYTES = 64 };

static sk_status choose_algorithm(const sk_config *cfg, const sk_algorithm_api **ret, sk_error *reterr) {
    char        name[NAME_MAX_BYTES];
    const char *names[ALGORITHMS_MAX];
    int         n = 0;
    SK_TRY(sk_config_peek(cfg, "algorithm", "", name, sizeof name, reterr));
    while (n < ALGORITHMS_MAX && sk_algorithm_at(n)) {
        names[n] = sk_algorithm_at(n)->name;
        n++;
    }
    *ret = name[0] ? sk_algorithm_find(name) : sk_algorithm_at(0); /* an absent key is reported by bind */
    if (*ret) return SK_OK;
    const char *near = sk_nearest_name(name, names, n);
    return SK_FAIL(reterr, SK_ECONFIG, "%s: unknown algorithm \"%s\"%s%s%s", sk_config_mark(cfg, "algorithm"), name,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static void parts_of(sk_train_setup *self, sk_config_part parts[2]) {
    parts[0] = (sk_config_part){sk_train_config_keys, sk_train_config_n_keys, &self->config};
    parts[1] = (sk_config_part){self->algorithm->keys, self->algorithm->n_keys, self->own};
}

static sk_status refuse_box_key(const sk_train_setup *self, const sk_config *cfg, const char *key, sk_error *reterr) {
    return SK_FAIL(reterr, SK_ECONFIG, "%s: %s is for continuous actions; environment \"%s\" has discrete ones",
                   sk_config_mark(cfg, key), key, self->spaces.env_name);
}

/* Options of continuous actions, where there are none or the algorithm does not read them. */
static sk_status check_box_keys(const sk_train_setup *self, const sk_config *cfg, sk_error *reterr) {
    const sk_model_config *m = &self->config.model;
    int                    discrete = self->spaces.n_parts > 0;
    if (m->sde_sample_freq == 0)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: model.sde_sample_freq 0 would never draw; give env steps, or -1 for "
                       "once per fragment", sk_config_mark(cfg, "model.sde_sample_freq"));
    if (m->use_sde && discrete) return refuse_box_key(self, cfg, "model.use_sde", reterr);
    if (m->squash_actions && discrete) return refuse_box_key(self, cfg, "model.squash_actions", reterr);
    if (m->squash_actions && m->kind != SK_POLICY_ACTOR_CRITIC)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: model.squash_actions is not for %s: its actions always end within the "
                       "bounds", sk_config_mark(cfg, "model.squash_actions"), self->algorithm->name);
    return SK_OK;
}

sk_status sk_train_setup_init(sk_train_setup *self, sk_config *cfg, sk_error *reterr) {
    sk_config_part parts[2];
    *self = (sk_train_setup){0};
    SK_TRY(choose_algorithm(cfg, &self->algorithm, reterr));
    self->own = calloc(1, self->algorithm->config_size);
    if (!self->own) return SK_FAIL(reterr, SK_ENOMEM, "train: no memory");
    parts_of(self, parts);
    SK_TRY(sk_config_bind(cfg, parts, 2, reterr));
    if (self->algorithm->replay && !sk_config_given(cfg, "env_runners.rollout_fragment_length"))
        self->config.env_runners.rollout_fragment_length = 1; /* a replay learns as it goes */
    if (self->algorithm->prepare) self->algorithm->prepare(self->own, &self->config, cfg);
    self->plugin_path = *self->config.env.plugin ? realpath(self->config.env.plugin, NULL) : NULL;
    if (self->plugin_path) self->config.env.plugin = self->plugin_path; /* one that is not there is refused below */
    self->model_path = *self->config.env.model ? realpath(self->config.env.model, NULL) : NULL;
    if (self->model_path) self->config.env.model = self->model_path;
    SK_TRY(sk_train_config_check(&self->config, cfg, reterr));
    SK_TRY(self->algorithm->check(self->own, &self->config, cfg, reterr));
    sk_status status = sk_env_create_from(&self->config, &self->env, reterr);
    if (status == SK_OK)
        status = sk_policy_spaces_of(sk_env_spec_get(self->env), sk_env_info_get(self->env)->name, &self->spaces, reterr);
    const char *key = *self->config.env.gymnasium ? "env.gymnasium" : *self->config.env.name ? "env.name" : "env.plugin";
    if (status != SK_OK) sk_error_prefix(reterr, "%s", sk_config_mark(cfg, key));
    return status == SK_OK ? check_box_keys(self, cfg, reterr) : status;
}

void sk_train_setup_deinit(sk_train_setup *self) {
    sk_env_destroy(&self->env);
    free(self->own);
    free(self->plugin_path);
    free(self->model_path);
    *self = (sk_train_setup){0};
}

/* Numbers that follow from others, as comments behind the config. SK_EUNSUPPORTED: no such policy can be made. */
static sk_status derived_text(const sk_train_setup *s, char *text, size_t size, sk_error *reterr) {
    const sk_env_info *info = sk_env_info_get(s->env);
    sk_policy         *policy = NULL;
    SK_TRY(sk_policy_create(&s->spaces, &s->config.model, (sk_obs_filter)s->config.env_runners.observation_filter, 0,
                            &policy, reterr));
    size_t n_params = sk_policy_n_params(policy);
    sk_policy_destroy(&policy);
    snprintf(text, size,
             "# derived:\n#   environments: %lld\n#   env steps per iteration (train_batch_size): %lld\n"
             "#   observation: %d slots; action: %d %s\n#   time limit: %d steps\n#   parameters: %zu\n",
             (long long)sk_train_config_n_envs(&s->config), (long long)sk_train_config_batch_steps(&s->config),
             info->obs_dim, info->action_slots, info->n_discrete ? "discrete" : "box", info->max_episode_steps,
             n_params);
    return SK_OK;
}

sk_status sk_train_resolve(sk_config *cfg, char **ret_text, sk_error *reterr) {
    sk_train_setup setup;
    char           derived[512], *yaml = NULL, *all = NULL;
    sk_status      status = sk_train_setup_init(&setup, cfg, reterr);
    if (status == SK_OK && ret_text) {
        sk_config_part parts[2];
        parts_of(&setup, parts);
        status = sk_config_emit(parts, 2, &yaml, reterr);
        if (status == SK_OK) status = derived_text(&setup, derived, sizeof derived, reterr);
        if (status == SK_OK && asprintf(&all, "%s%s", yaml, derived) < 0)
            status = SK_FAIL(reterr, SK_ENOMEM, "config: no memory");
        if (status == SK_OK) *ret_text = all;
        free(yaml);
    }
    sk_train_setup_deinit(&setup);
    return status;
}
