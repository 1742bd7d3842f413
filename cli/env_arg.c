#include "cli/env_arg.h"
#include "cli/args.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ends_with(const char *text, size_t length, const char *end) {
    size_t n = strlen(end);
    return length >= n && memcmp(text + length - n, end, n) == 0;
}

int sk_env_arg_is_plugin(const char *text) { return ends_with(text, strlen(text), ".so"); }

/* Split "name=value" copies in place. */
static sk_status split_pairs(char *const *copies, int n, const char **names, const char **values,
                             sk_error *reterr) {
    for (int i = 0; i < n; i++) {
        char *equals = strchr(copies[i], '=');
        if (!equals || equals == copies[i]) {
            return SK_FAIL(reterr, SK_EINVAL,
                           "got \"%s\", wanted a pair name=value of the environment's config", copies[i]);
        }
        *equals = 0;
        names[i] = copies[i];
        values[i] = equals + 1;
    }
    return SK_OK;
}

sk_status sk_env_arg_open(const char *text, int n_pairs, const char *const *pairs, int max_episode_steps,
                          sk_env **ret_env, sk_error *reterr) {
    SK_ASSERT(n_pairs >= 0 && n_pairs <= SK_POSITIONAL_MAX);
    char        path[PATH_MAX];
    const char *colon = strrchr(text, ':');
    if (strlen(text) >= sizeof path)
        return SK_FAIL(reterr, SK_EINVAL, "the name of the environment is too long");
    strcpy(path, text);
    sk_env_params params = {.name = text, .n_config = n_pairs, .max_episode_steps = max_episode_steps};
    if (colon && ends_with(text, (size_t)(colon - text), ".so")) {
        path[colon - text] = 0;
        params.plugin = path;
        params.name = colon + 1;
    } else if (sk_env_arg_is_plugin(text)) {
        params.plugin = path;
        params.name = NULL;
    }

    char       *copies[SK_POSITIONAL_MAX] = {NULL};
    const char *names[SK_POSITIONAL_MAX], *values[SK_POSITIONAL_MAX];
    sk_status   status = SK_OK;
    for (int i = 0; i < n_pairs && status == SK_OK; i++) {
        copies[i] = strdup(pairs[i]);
        if (!copies[i]) status = SK_FAIL(reterr, SK_ENOMEM, "out of memory");
    }
    if (status == SK_OK) status = split_pairs(copies, n_pairs, names, values, reterr);
    params.config_names = names;
    params.config_values = values;
    if (status == SK_OK) status = sk_env_create(&params, ret_env, reterr);
    for (int i = 0; i < n_pairs; i++) free(copies[i]);
    return status;
}

int sk_env_arg_fail(const sk_error *error) {
    fprintf(stderr, "%s\n", error->msg);
    return error->status == SK_EINVAL || error->status == SK_ENOTFOUND || error->status == SK_ECONFIG ? 2 : 1;
}
