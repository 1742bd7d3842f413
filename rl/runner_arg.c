#include "rl/runner_arg.h"

#include "core/base/pack.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pairs of env.config, and two that other keys stand for. */
enum { PAIRS_MAX = SK_PAIRS_MAX + 2 };

/* Parameters of an environment, and the memory that they point into. */
typedef struct env_texts {
    char        name[2 * SK_ENV_NAME_MAX], timeout[32];
    const char *names[PAIRS_MAX], *values[PAIRS_MAX];
    sk_env_params params;
} env_texts;

static void add_pair(env_texts *self, const char *name, const char *value) {
    self->names[self->params.n_config] = name;
    self->values[self->params.n_config++] = value;
}

/* The texts are the config's own. */
static void read_texts(const sk_train_config *config, env_texts *self) {
    *self = (env_texts){.params = {.name = config->env.name, .plugin = config->env.plugin,
                                   .max_episode_steps = (int)config->env.max_episode_steps}};
    self->params.config_names = self->names;
    self->params.config_values = self->values;
    for (int i = 0; i < config->env.config.n; i++)
        add_pair(self, config->env.config.at[i].name, config->env.config.at[i].text);
    const char *gymnasium = config->env.gymnasium ? config->env.gymnasium : "";
    if (gymnasium[0]) {
        snprintf(self->name, sizeof self->name, "gymnasium:%s", gymnasium);
        self->params.name = self->name;
    }
    if (!self->params.name || strncmp(self->params.name, "gymnasium:", 10) != 0) return;
    if (config->env.python && config->env.python[0]) add_pair(self, "skiff.python", config->env.python);
    snprintf(self->timeout, sizeof self->timeout, "%.17g", config->env.timeout_s);
    add_pair(self, "skiff.timeout_s", self->timeout);
}

sk_status sk_env_create_from(const sk_train_config *config, sk_env **ret_env, sk_error *reterr) {
    env_texts texts;
    read_texts(config, &texts);
    return sk_env_create(&texts.params, ret_env, reterr);
}

sk_status sk__env_text_encode(const sk_train_config *config, char **ret_text, sk_error *reterr) {
    env_texts            texts;
    const sk_env_params *params = &texts.params;
    char        absolute[PATH_MAX] = "";
    const char *plugin = config->env.plugin ? config->env.plugin : "";
    if (plugin[0] && !realpath(plugin, absolute))
        return SK_FAIL(reterr, SK_ENOTFOUND, "environment plugin \"%s\": %s", plugin, strerror(errno));
    read_texts(config, &texts);
    const char *name = params->name ? params->name : "";
    json_t     *pairs = json_object();
    int         bad = !pairs;
    for (int i = 0; !bad && i < params->n_config; i++)
        bad = json_object_set_new(pairs, params->config_names[i], json_string(params->config_values[i]));
    json_t *all = bad ? NULL
                      : json_pack("{s:s, s:s, s:O, s:I}", "name", name, "plugin", absolute, "config", pairs,
                                  "max_episode_steps", (json_int_t)params->max_episode_steps);
    *ret_text = all ? sk_json_text(all) : NULL;
    json_decref(pairs);
    json_decref(all);
    return *ret_text ? SK_OK
                     : SK_FAIL(reterr, SK_ENOMEM, "environment \"%s\": its config is no valid text", name);
}

sk_status sk__env_text_open(const char *text, size_t size, sk_env **ret_env, sk_error *reterr) {
    const char  *name = NULL, *plugin = NULL, *names[PAIRS_MAX], *values[PAIRS_MAX], *key;
    json_t      *pairs = NULL, *value;
    json_int_t   max_steps = 0;
    json_error_t why;
    int          n = 0;
    json_t      *all = json_loadb(text, size, 0, &why);
    if (!all || json_unpack_ex(all, &why, 0, "{s:s, s:s, s:o, s:I}", "name", &name, "plugin", &plugin, "config", &pairs,
                               "max_episode_steps", &max_steps)) {
        json_decref(all);
        if (!why.text[0]) return SK_FAIL(reterr, SK_ENOMEM, "runner: no memory to read the environment's description");
        return SK_FAIL(reterr, SK_ECORRUPT, "runner: the environment's description cannot be read: %s", why.text);
    }
    int bad = !json_is_object(pairs) || json_object_size(pairs) > PAIRS_MAX || max_steps < 0 || max_steps > INT_MAX;
    json_object_foreach(pairs, key, value) {
        if (bad || !json_is_string(value)) {
            bad = 1;
            break;
        }
        names[n] = key;
        values[n++] = json_string_value(value);
    }
    if (bad) {
        json_decref(all);
        return SK_FAIL(reterr, SK_ECORRUPT, "runner: the environment's description has a config that is none");
    }
    sk_env_params params = {.name = name, .plugin = plugin, .n_config = n, .config_names = names,
                            .config_values = values, .max_episode_steps = (int)max_steps};
    sk_status status = sk_env_create(&params, ret_env, reterr);
    json_decref(all);
    return status;
}
