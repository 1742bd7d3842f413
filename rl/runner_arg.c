#include "rl/runner_arg.h"

#include "core/base/pack.h"
#include "core/runtime/spawn.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The pairs of env.config, and those that other keys stand for. */
enum { ROBOT_PAIRS = 8, PAIRS_MAX = SK_PAIRS_MAX + ROBOT_PAIRS };

/* Parameters of an environment, and the memory that they point into. */
typedef struct env_texts {
    char        name[2 * SK_ENV_NAME_MAX], timeout[32];
    const char *names[PAIRS_MAX], *values[PAIRS_MAX];
    char *owned[ROBOT_PAIRS]; /* values that are not the config's own */
    int   n_owned;
    sk_env_params params;
} env_texts;

static void env_texts_deinit(env_texts *self) {
    for (int i = 0; i < self->n_owned; i++) free(self->owned[i]);
}

static void add_pair(env_texts *self, const char *name, const char *value) {
    self->names[self->params.n_config] = name;
    self->values[self->params.n_config++] = value;
}

/* A pair whose value a stream has written. Closes it. */
static sk_status add_written(env_texts *self, const char *name, FILE *out, char **text, sk_error *reterr) {
    if (!out || fclose(out) != 0) {
        if (out) free(*text);
        return SK_FAIL(reterr, SK_ENOMEM, "env.%s: no memory", name);
    }
    self->owned[self->n_owned++] = *text;
    add_pair(self, name, *text);
    return SK_OK;
}

/* A list as one text: its items cannot hold a semicolon. */
static sk_status add_list(env_texts *self, const char *name, const sk_texts *list, sk_error *reterr) {
    if (list->n == 0) return SK_OK;
    char  *text = NULL;
    size_t size;
    FILE  *out = open_memstream(&text, &size);
    for (int i = 0; out && i < list->n; i++) fprintf(out, "%s%s", i ? "; " : "", list->at[i]);
    return add_written(self, name, out, &text, reterr);
}

static sk_status add_numbers(env_texts *self, const char *name, const sk_pairs *pairs, sk_error *reterr) {
    if (pairs->n == 0) return SK_OK;
    char  *text = NULL;
    size_t size;
    FILE  *out = open_memstream(&text, &size);
    for (int i = 0; out && i < pairs->n; i++)
        fprintf(out, "%s%s = %.17g", i ? "; " : "", pairs->at[i].name, pairs->at[i].number);
    return add_written(self, name, out, &text, reterr);
}

static sk_status add_number(env_texts *self, const char *name, double number, sk_error *reterr) {
    char  *text = NULL;
    size_t size;
    FILE  *out = open_memstream(&text, &size);
    if (out) fprintf(out, "%.17g", number);
    return add_written(self, name, out, &text, reterr);
}

/* What env.name mujoco is made of. */
static sk_status read_robot(const sk_train_config *config, env_texts *self, sk_error *reterr) {
    const char *model = config->env.model, *keyframe = config->env.keyframe;
    if (model && model[0]) add_pair(self, "model", model);
    if (keyframe && keyframe[0]) add_pair(self, "keyframe", keyframe);
    SK_TRY(add_number(self, "frame_skip", (double)config->env.frame_skip, reterr));
    if (config->env.action_limit > 0) SK_TRY(add_number(self, "action_limit", config->env.action_limit, reterr));
    SK_TRY(add_numbers(self, "reset_noise", &config->env.reset_noise, reterr));
    SK_TRY(add_list(self, "observation", &config->env.observation, reterr));
    SK_TRY(add_list(self, "reward", &config->env.reward, reterr));
    return add_list(self, "terminate", &config->env.terminate, reterr);
}

static int is_robot(const char *name) { return strcmp(name, "mujoco") == 0 || strncmp(name, "mujoco:", 7) == 0; }

/* Most texts are the config's own. Caller deinits, also after a failure. */
static sk_status read_texts(const sk_train_config *config, env_texts *self, sk_error *reterr) {
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
    const char *name = self->params.name ? self->params.name : "";
    if (is_robot(name)) return read_robot(config, self, reterr);
    if (strncmp(name, "gymnasium:", 10) != 0) return SK_OK;
    if (config->env.python && config->env.python[0]) add_pair(self, "skiff.python", config->env.python);
    snprintf(self->timeout, sizeof self->timeout, "%.17g", config->env.timeout_s);
    add_pair(self, "skiff.timeout_s", self->timeout);
    return SK_OK;
}

sk_status sk_env_create_from(const sk_train_config *config, sk_env **ret_env, sk_error *reterr) {
    env_texts texts;
    sk_status status = read_texts(config, &texts, reterr);
    if (status == SK_OK) status = sk_env_create(&texts.params, ret_env, reterr);
    env_texts_deinit(&texts);
    return status;
}

/* A file that the environment is made of and what is in it, so that another host can tell whether it has the same. */
static sk_status add_file(json_t *files, const char *path, sk_error *reterr) {
    char hash[SK_SPAWN_HASH_TEXT];
    if (!path || !path[0]) return SK_OK;
    SK_TRY(sk_spawn_hash_file(path, hash, reterr));
    if (json_object_set_new(files, path, json_string(hash)) != 0)
        return SK_FAIL(reterr, SK_ENOMEM, "file \"%s\": no memory, or its name is no valid text", path);
    return SK_OK;
}

/* A file and its hash as the head has them. `what` it is: "plugin". */
static sk_status check_file(const char *what, const char *path, const char *wanted, sk_error *reterr) {
    char      got[SK_SPAWN_HASH_TEXT], host[64] = "";
    sk_status status = sk_spawn_hash_file(path, got, reterr);
    if (status == SK_OK && strcmp(got, wanted) == 0) return SK_OK;
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    if (status == SK_ENOTFOUND)
        return SK_FAIL(reterr, SK_ENOTFOUND, "%s %s: host %s has no such file; the head has (%.16s)", what, path, host,
                       wanted);
    if (status != SK_OK) return status;
    return SK_FAIL(reterr, SK_EVERSION, "%s %s: host %s has another one (%.16s) than the head (%.16s)", what, path,
                   host, got, wanted);
}

static sk_status check_files(const json_t *files, const char *plugin, sk_error *reterr) {
    const char *path;
    json_t     *hash;
    json_object_foreach((json_t *)(uintptr_t)files, path, hash) {
        if (!json_is_string(hash)) return SK_FAIL(reterr, SK_ECORRUPT, "file \"%s\" has no hash", path);
        SK_TRY(check_file(strcmp(path, plugin) == 0 ? "plugin" : "model", path, json_string_value(hash), reterr));
    }
    return SK_OK;
}

sk_status sk__env_text_encode(const sk_train_config *config, char **ret_text, sk_error *reterr) {
    env_texts            texts;
    const sk_env_params *params = &texts.params;
    char        absolute[PATH_MAX] = "";
    const char *plugin = config->env.plugin ? config->env.plugin : "";
    if (plugin[0] && !realpath(plugin, absolute))
        return SK_FAIL(reterr, SK_ENOTFOUND, "environment plugin \"%s\": %s", plugin, strerror(errno));
    sk_status status = read_texts(config, &texts, reterr);
    if (status != SK_OK) {
        env_texts_deinit(&texts);
        return status;
    }
    const char *name = params->name ? params->name : "";
    json_t     *pairs = json_object(), *files = json_object();
    int         bad = !pairs || !files;
    if (!bad) status = add_file(files, absolute, reterr);
    if (!bad && status == SK_OK && is_robot(name)) status = add_file(files, config->env.model, reterr);
    for (int i = 0; !bad && i < params->n_config; i++)
        bad = json_object_set_new(pairs, params->config_names[i], json_string(params->config_values[i]));
    json_t *all = bad ? NULL
                      : json_pack("{s:s, s:s, s:O, s:O, s:I}", "name", name, "plugin", absolute, "config", pairs,
                                  "files", files, "max_episode_steps", (json_int_t)params->max_episode_steps);
    *ret_text = all && status == SK_OK ? sk_json_text(all) : NULL;
    json_decref(pairs);
    json_decref(files);
    json_decref(all);
    if (!*ret_text && status == SK_OK)
        status = SK_FAIL(reterr, SK_ENOMEM, "environment \"%s\": its config is no valid text", name);
    env_texts_deinit(&texts);
    return status;
}

sk_status sk__env_text_open(const char *text, size_t size, sk_env **ret_env, sk_error *reterr) {
    const char  *name = NULL, *plugin = NULL, *names[PAIRS_MAX], *values[PAIRS_MAX], *key;
    json_t      *pairs = NULL, *files = NULL, *value;
    json_int_t   max_steps = 0;
    json_error_t why;
    int          n = 0;
    json_t      *all = json_loadb(text, size, 0, &why);
    if (!all || json_unpack_ex(all, &why, 0, "{s:s, s:s, s:o, s?o, s:I}", "name", &name, "plugin", &plugin, "config",
                               &pairs, "files", &files, "max_episode_steps", &max_steps)) {
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
    if (bad || (files && !json_is_object(files))) {
        json_decref(all);
        return SK_FAIL(reterr, SK_ECORRUPT, "runner: the environment's description has a config that is none");
    }
    sk_env_params params = {.name = name, .plugin = plugin, .n_config = n, .config_names = names,
                            .config_values = values, .max_episode_steps = (int)max_steps};
    sk_status status = files ? check_files(files, plugin, reterr) : SK_OK;
    if (status == SK_OK) status = sk_env_create(&params, ret_env, reterr);
    json_decref(all);
    return status;
}
