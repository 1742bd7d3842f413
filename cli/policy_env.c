#include "cli/policy_env.h"
#include "cli/env_arg.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PAIRS_MAX = 8, PAIR_MAX = 128 };

/* The config of the run that `path` belongs to: beside it, or above its checkpoints/<env steps>/. False:
 * there is none. */
static bool find_config(const char *path, char *ret_config, size_t size) {
    static const char *const ups[] = {"", "../", "../../", "../../../"};
    const char *slash = strrchr(path, '/');
    char in[4096], above[4096];
    /* A folder counts itself as a level, a file does not. */
    int n = snprintf(in, sizeof in, "%s/.", path);
    if (n < 0 || (size_t)n >= sizeof in) return false;
    if (access(in, F_OK) == 0)
        snprintf(in, sizeof in, "%s", path);
    else
        snprintf(in, sizeof in, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    for (int up = 0; up < SK_COUNT(ups); up++) {
        n = snprintf(ret_config, size, "%s/%sconfig.yaml", in, ups[up]);
        if (n < 0 || (size_t)n >= size) return false;
        /* Above the first folder only a run's own config counts, known by its checkpoints. */
        n = snprintf(above, sizeof above, "%s/%scheckpoints", in, ups[up]);
        if (n < 0 || (size_t)n >= sizeof above) return false;
        if (access(ret_config, R_OK) == 0 && (up == 0 || access(above, F_OK) == 0)) return true;
    }
    return false;
}

/* The run's own, with the pairs as overrides of its config. */
static sk_status open_of_run(sk_policy_env *self, const char *config, const sk_policy_env_params *params,
                             sk_error *reterr) {
    char        texts[PAIRS_MAX][PAIR_MAX];
    const char *overrides[PAIRS_MAX];
    SK_ASSERT(params->n_pairs <= PAIRS_MAX);
    for (int i = 0; i < params->n_pairs; i++) {
        snprintf(texts[i], sizeof texts[i], "env.config.%s", params->pairs[i]);
        overrides[i] = texts[i];
    }
    SK_TRY(sk_config_open(config, overrides, params->n_pairs, &self->cfg, reterr));
    SK_TRY(sk_train_setup_init(&self->setup, self->cfg, reterr));
    self->env = self->setup.env;
    self->on_invalid = (sk_on_invalid)self->setup.config.env_runners.on_invalid;
    return SK_OK;
}

sk_status sk_policy_env_init(sk_policy_env *self, const sk_policy_env_params *params, sk_error *reterr) {
    char config[4096];
    self->on_invalid = SK_INVALID_STOP;
    if (!params->env_text && find_config(params->path, config, sizeof config))
        return open_of_run(self, config, params, reterr);
    const char *text = params->env_text ? params->env_text : params->env_name;
    sk_status   status = sk_env_arg_open(text, params->n_pairs, params->pairs, 0, &self->own, reterr);
    if (status == SK_ENOTFOUND && !params->env_text)
        sk_error_prefix(reterr, "the policy's environment (--env names another)");
    self->env = self->own;
    return status;
}

void sk_policy_env_deinit(sk_policy_env *self) {
    sk_env_destroy(&self->own);
    sk_train_setup_deinit(&self->setup);
    sk_config_destroy(&self->cfg);
    self->env = NULL;
}
