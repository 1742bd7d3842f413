#include "rl/env.h"
#include "core/base/config.h"
#include "envs/registry.h"
#include "rl/env_spec.h"
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A plugin that never says NULL is not asked for ever. */
enum { PLUGIN_ENVS_MAX = 256 };

struct sk_env {
    const sk_env_api *api;
    char              name[SK_ENV_NAME_MAX]; /* the api's own, or "family:id"        */
    const char       *id;     /* behind the family, or NULL; borrowed from the params, for setup only */
    void             *plugin; /* dlopen handle; NULL: built in */
    sk_env_config     config; /* names and values are owned    */
    sk_env_spec       spec;
    sk_env_info       info;
};

/* ---- plugins ---- */

static sk_status plugin_open(const char *path, void **ret_handle, sk_env_plugin_fn *ret_fn,
                             sk_error *reterr) {
    /* Without a slash the loader would search the system's folders. */
    char file[PATH_MAX];
    int  len = snprintf(file, sizeof file, "%s%s", strchr(path, '/') ? "" : "./", path);
    if (len < 0 || (size_t)len >= sizeof file) return SK_FAIL(reterr, SK_EINVAL, "plugin path is too long");
    if (access(file, R_OK) != 0)
        return SK_FAIL(reterr, SK_ENOTFOUND, "plugin \"%s\": no such readable file", path);

    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        return SK_FAIL(reterr, SK_EENV, "plugin \"%s\" does not load: %s", path,
                       why ? why : "unknown reason");
    }
    /* POSIX lets an object pointer stand for a function here; ISO C needs the copy. */
    void *symbol = dlsym(handle, SK_ENV_PLUGIN_SYMBOL);
    if (!symbol) {
        dlclose(handle);
        return SK_FAIL(reterr, SK_ENOTFOUND, "plugin \"%s\" does not export \"%s\" (see skiff/env.h)", path,
                       SK_ENV_PLUGIN_SYMBOL);
    }
    memcpy(ret_fn, &symbol, sizeof symbol);
    *ret_handle = handle;
    return SK_OK;
}

/* The api struct is one this host understands and its functions are there. */
static sk_status check_api(const sk_env_api *api, sk_error *reterr) {
    if (api->abi_version != SK_ENV_ABI_VERSION) {
        return SK_FAIL(reterr, SK_EVERSION,
                       "abi_version: got %u, wanted %u; rebuild it with this skiff/env.h", api->abi_version,
                       SK_ENV_ABI_VERSION);
    }
    if (api->struct_size < sizeof(sk_env_api)) {
        return SK_FAIL(reterr, SK_EVERSION,
                       "struct_size: got %u, wanted at least %zu; rebuild it with this skiff/env.h",
                       api->struct_size, sizeof(sk_env_api));
    }
    if (!api->name || !api->name[0]) return SK_FAIL(reterr, SK_EENV, "it has no name");
    if (strlen(api->name) >= SK_ENV_NAME_MAX) {
        return SK_FAIL(reterr, SK_EENV, "its name is longer than %d bytes", SK_ENV_NAME_MAX - 1);
    }
    const char *missing = !api->describe ? "describe" : !api->create ? "create" : !api->destroy ? "destroy"
                          : !api->reset  ? "reset"    : !api->step   ? "step"   : NULL;
    if (missing) return SK_FAIL(reterr, SK_EENV, "\"%s\": function %s is missing", api->name, missing);
    if ((api->caps & SK_ENV_CAP_STATE) && (!api->state_size || !api->state_save || !api->state_load)) {
        return SK_FAIL(reterr, SK_EENV, "\"%s\" claims SK_ENV_CAP_STATE but lacks a state function",
                       api->name);
    }
    if ((api->caps & SK_ENV_CAP_RENDER) && !api->render) {
        return SK_FAIL(reterr, SK_EENV, "\"%s\" claims SK_ENV_CAP_RENDER but lacks render", api->name);
    }
    return SK_OK;
}

/* All environments of a plugin, checked; *ret_n of them. */
static sk_status plugin_list(sk_env_plugin_fn fn, const char *path, const sk_env_api **ret_apis, int *ret_n,
                             sk_error *reterr) {
    int n = 0;
    for (const sk_env_api *api; n < PLUGIN_ENVS_MAX && (api = fn(n)) != NULL; n++) {
        sk_status status = check_api(api, reterr);
        if (status != SK_OK) {
            sk_error_prefix(reterr, "plugin \"%s\", environment %d", path, n);
            return status;
        }
        ret_apis[n] = api;
    }
    if (n == 0) return SK_FAIL(reterr, SK_ENOTFOUND, "plugin \"%s\" holds no environment", path);
    *ret_n = n;
    return SK_OK;
}

/* "no environment ...; known: a, b, c (did you mean "b"?)" */
static sk_status unknown_name(const char *name, const char *where, const char *const *names, int n,
                              sk_error *reterr) {
    char known[256] = "";
    for (int i = 0, used = 0; i < n && used >= 0 && (size_t)used < sizeof known; i++) {
        used += snprintf(known + used, sizeof known - (size_t)used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = sk_nearest_name(name, names, n);
    return SK_FAIL(reterr, SK_ENOTFOUND, "no environment \"%s\" %s; known: %s%s%s%s", name, where, known,
                   near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
}

/* The environment `name` of a plugin, or its only one if name is empty. */
static sk_status plugin_choose(const sk_env_api *const *apis, int n, const char *name, const char *path,
                               const sk_env_api **ret_api, sk_error *reterr) {
    const char *names[PLUGIN_ENVS_MAX];
    for (int i = 0; i < n; i++) {
        names[i] = apis[i]->name;
        if ((name && strcmp(name, names[i]) == 0) || ((!name || !name[0]) && n == 1)) {
            *ret_api = apis[i];
            return SK_OK;
        }
    }
    if (name && name[0]) {
        char where[PATH_MAX];
        snprintf(where, sizeof where, "in plugin %.200s", path);
        return unknown_name(name, where, names, n, reterr);
    }
    return SK_FAIL(reterr, SK_EINVAL, "plugin \"%s\" holds %d environments (%s, %s%s): say which by name",
                   path, n, names[0], names[1], n > 2 ? ", ..." : "");
}

static sk_status find_plugin(sk_env *self, const char *path, const char *name, sk_error *reterr) {
    const sk_env_api *apis[PLUGIN_ENVS_MAX];
    sk_env_plugin_fn  fn;
    int               n = 0;
    SK_TRY(plugin_open(path, &self->plugin, &fn, reterr));
    SK_TRY(plugin_list(fn, path, apis, &n, reterr));
    return plugin_choose(apis, n, name, path, &self->api, reterr);
}

static sk_status find_builtin(sk_env *self, const char *name, sk_error *reterr) {
    if (!name || !name[0]) return SK_FAIL(reterr, SK_EINVAL, "an environment needs a name or a plugin");
    self->api = sk_env_builtin(name);
    if (self->api) return check_api(self->api, reterr);
    self->api = sk_env_family(name, &self->id);
    if (self->api) return check_api(self->api, reterr);
    const char *names[PLUGIN_ENVS_MAX];
    int         n = 0;
    for (; n < sk_env_builtin_count() && n < PLUGIN_ENVS_MAX; n++) names[n] = sk_env_builtin_at(n)->name;
    return unknown_name(name, "is built in", names, n, reterr);
}

sk_status sk_env_plugin_names(const char *path, char (*ret_names)[SK_ENV_NAME_MAX], int max, int *ret_n,
                              sk_error *reterr) {
    const sk_env_api *apis[PLUGIN_ENVS_MAX];
    sk_env_plugin_fn  fn;
    void             *handle;
    int               n = 0;
    SK_TRY(plugin_open(path, &handle, &fn, reterr));
    sk_status status = plugin_list(fn, path, apis, &n, reterr);
    for (int i = 0; i < n && i < max; i++) snprintf(ret_names[i], SK_ENV_NAME_MAX, "%s", apis[i]->name);
    dlclose(handle);
    if (status == SK_OK) *ret_n = n;
    return status;
}

/* ---- config and description ---- */

/* Copies of the texts and, if it is not NULL, of one more. */
static sk_status copy_texts(const char *const *texts, int n, const char *more, const char *const **ret_copy,
                            sk_error *reterr) {
    char **copy = calloc((size_t)n + 2, sizeof *copy);
    if (!copy) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for an environment's config");
    *ret_copy = (const char *const *)copy; /* owned by self from here on, also half filled */
    for (int i = 0; i < n + (more != NULL); i++) {
        copy[i] = strdup(i < n ? texts[i] : more);
        if (!copy[i]) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for an environment's config");
    }
    return SK_OK;
}

static void free_texts(const char *const *texts) {
    for (int i = 0; texts && texts[i]; i++) free((void *)(uintptr_t)texts[i]);
    free((void *)(uintptr_t)texts);
}

static sk_status describe_once(const sk_env *self, sk_env_spec *ret_spec, sk_error *reterr) {
    char err[sizeof reterr->msg - 64] = ""; /* room for what is put in front */
    memset(ret_spec, 0, sizeof *ret_spec);
    ret_spec->struct_size = sizeof *ret_spec;
    if (self->api->describe(&self->config, ret_spec, err, sizeof err) != 0) {
        err[sizeof err - 1] = 0;
        return SK_FAIL(reterr, SK_EENV, "describe refused: %s", err[0] ? err : "(it gave no reason)");
    }
    return sk__env_spec_check(ret_spec, reterr);
}

/* Ask twice: an answer that changes would tear shapes apart later, far from its cause. */
static sk_status describe(sk_env *self, sk_error *reterr) {
    sk_env_spec *again = malloc(sizeof *again);
    if (!again) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a description");
    sk_status status = describe_once(self, &self->spec, reterr);
    if (status == SK_OK) status = describe_once(self, again, reterr);
    if (status == SK_OK) status = sk__env_spec_same(&self->spec, again, reterr);
    free(again);
    return status;
}

static void derive(sk_env *self) {
    sk_env_info *info = &self->info;
    *info = (sk_env_info){.name = self->name, .mask_size = self->spec.mask_size,
                          .n_agents = self->spec.n_agents, .n_metrics = self->spec.n_metrics,
                          .max_episode_steps = self->spec.max_episode_steps};
    for (int f = 0; f < self->spec.n_obs; f++) {
        int n = sk_env_field_size(&self->spec.obs[f]);
        info->obs_dim += n;
        info->n_obs_discrete += self->spec.obs[f].dtype == SK_ENV_I32 ? n : 0;
    }
    for (int p = 0; p < self->spec.n_action; p++) {
        const sk_env_action_part *part = &self->spec.action[p];
        info->action_slots += sk_env_part_slots(part);
        info->n_discrete += part->kind == SK_ENV_DISCRETE;
        info->n_box += part->kind == SK_ENV_BOX ? part->n : 0;
        info->n_choices += part->kind == SK_ENV_DISCRETE ? part->n : 0;
    }
}

/* ---- lifecycle ---- */

static sk_status setup(sk_env *self, const sk_env_params *params, sk_error *reterr) {
    bool plugin = params->plugin && params->plugin[0];
    SK_TRY(plugin ? find_plugin(self, params->plugin, params->name, reterr)
                  : find_builtin(self, params->name, reterr));
    const char *name = self->id ? params->name : self->api->name;
    if (strlen(name) >= SK_ENV_NAME_MAX) {
        return SK_FAIL(reterr, SK_EINVAL, "the name \"%.100s\" of an environment is longer than %d bytes", name,
                       SK_ENV_NAME_MAX - 1);
    }
    strcpy(self->name, name);
    SK_TRY(copy_texts(params->config_names, params->n_config, self->id ? "id" : NULL, &self->config.names, reterr));
    SK_TRY(copy_texts(params->config_values, params->n_config, self->id, &self->config.values, reterr));
    self->config.n = params->n_config + (self->id != NULL);
    self->id = NULL;
    sk_status status = describe(self, reterr);
    if (status != SK_OK) {
        sk_error_prefix(reterr, "environment \"%s\"", self->name);
        return status;
    }
    if (params->max_episode_steps > 0) self->spec.max_episode_steps = params->max_episode_steps;
    derive(self);
    return SK_OK;
}

sk_status sk_env_create(const sk_env_params *params, sk_env **ret_env, sk_error *reterr) {
    SK_ASSERT(params && ret_env && params->n_config >= 0);
    if (params->max_episode_steps < 0) {
        return SK_FAIL(reterr, SK_EINVAL, "max_episode_steps must be >= 0, got %d",
                       params->max_episode_steps);
    }
    sk_env *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for an environment");
    sk_status status = setup(self, params, reterr);
    if (status != SK_OK) {
        sk_env_destroy(&self);
        return status;
    }
    *ret_env = self;
    return SK_OK;
}

void sk_env_destroy(sk_env **self_p) {
    if (!self_p || !*self_p) return;
    sk_env *self = *self_p;
    free_texts(self->config.names);
    free_texts(self->config.values);
    if (self->plugin) dlclose(self->plugin);
    free(self);
    *self_p = NULL;
}

const sk_env_info   *sk_env_info_get(const sk_env *self) { return &self->info; }
const sk_env_spec   *sk_env_spec_get(const sk_env *self) { return &self->spec; }
const sk_env_api    *sk_env_api_get(const sk_env *self) { return self->api; }
const sk_env_config *sk_env_config_get(const sk_env *self) { return &self->config; }
