#include "rl/runner_arg.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

sk_status sk_env_create_from(const sk_train_config *config, sk_env **ret_env, sk_error *reterr) {
    const char *names[SK_PAIRS_MAX], *values[SK_PAIRS_MAX];
    for (int i = 0; i < config->env.config.n; i++) {
        names[i] = config->env.config.at[i].name;
        values[i] = config->env.config.at[i].text;
    }
    sk_env_params params = {.name = config->env.name, .plugin = config->env.plugin, .n_config = config->env.config.n,
                            .config_names = names, .config_values = values,
                            .max_episode_steps = (int)config->env.max_episode_steps};
    return sk_env_create(&params, ret_env, reterr);
}

sk_status sk__env_text_encode(const sk_train_config *config, char **ret_text, sk_error *reterr) {
    char        absolute[PATH_MAX] = "";
    json_t     *pairs = json_object();
    const char *plugin = config->env.plugin ? config->env.plugin : "";
    int         bad = !pairs;
    if (plugin[0] && !realpath(plugin, absolute)) {
        json_decref(pairs);
        return SK_FAIL(reterr, SK_ENOTFOUND, "environment plugin \"%s\": %s", plugin, strerror(errno));
    }
    for (int i = 0; !bad && i < config->env.config.n; i++)
        bad = json_object_set_new(pairs, config->env.config.at[i].name, json_string(config->env.config.at[i].text));
    json_t *all = bad ? NULL
                      : json_pack("{s:s, s:s, s:O, s:I}", "name", config->env.name ? config->env.name : "", "plugin",
                                  absolute, "config", pairs, "max_episode_steps",
                                  (json_int_t)config->env.max_episode_steps);
    *ret_text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(pairs);
    json_decref(all);
    return *ret_text ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "environment \"%s\": its config is no valid text", config->env.name);
}

sk_status sk__env_text_open(const char *text, size_t size, sk_env **ret_env, sk_error *reterr) {
    const char  *name = NULL, *plugin = NULL, *names[SK_PAIRS_MAX], *values[SK_PAIRS_MAX], *key;
    json_t      *pairs = NULL, *value;
    json_int_t   max_steps = 0;
    json_error_t why;
    int          n = 0;
    json_t      *all = json_loadb(text, size, 0, &why);
    if (!all || json_unpack_ex(all, &why, 0, "{s:s, s:s, s:o, s:I}", "name", &name, "plugin", &plugin, "config", &pairs,
                               "max_episode_steps", &max_steps)) {
        json_decref(all);
        return SK_FAIL(reterr, SK_ECORRUPT, "runner: the environment's description cannot be read: %s", why.text);
    }
    json_object_foreach(pairs, key, value) {
        if (n == SK_PAIRS_MAX) break;
        names[n] = key;
        values[n++] = json_string_value(value);
    }
    sk_env_params params = {.name = name, .plugin = plugin, .n_config = n, .config_names = names,
                            .config_values = values, .max_episode_steps = (int)max_steps};
    sk_status status = sk_env_create(&params, ret_env, reterr);
    json_decref(all);
    return status;
}
