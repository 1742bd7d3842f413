/* env_rig: an instance of a built-in environment with its columns, for tests of the contract itself. */
#ifndef SK_TESTS_ENV_RIG_H
#define SK_TESTS_ENV_RIG_H
#include "envs/registry.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RIG_ENVS_MAX = 8, RIG_OBS_MAX = 8, RIG_MASK_MAX = 8 };

typedef struct env_rig {
    const sk_env_api *api;
    void             *self;
    int               n;
    sk_env_spec       spec;
    sk_env_slot       obs[RIG_ENVS_MAX * RIG_OBS_MAX], action[RIG_ENVS_MAX];
    float             reward[RIG_ENVS_MAX];
    uint8_t           terminated[RIG_ENVS_MAX], truncated[RIG_ENVS_MAX], active[RIG_ENVS_MAX],
        failed[RIG_ENVS_MAX], mask[RIG_ENVS_MAX * RIG_MASK_MAX];
} env_rig;

/* `n` environments of that name with up to one pair of config (name NULL: none), reset with `seed`. */
static inline void rig_init(env_rig *rig, const char *env, int n, const char *name, const char *value,
                            uint64_t seed) {
    sk_env_config config = {.n = name != NULL, .names = &name, .values = &value};
    char          err[256] = "";
    *rig = (env_rig){.api = sk_env_builtin(env), .n = n};
    cr_assert_not_null(rig->api, "%s is not built in", env);
    rig->spec.struct_size = sizeof rig->spec;
    cr_assert_eq(rig->api->describe(&config, &rig->spec, err, sizeof err), 0, "%s", err);
    cr_assert_eq(rig->api->create(&config, n, &rig->self, err, sizeof err), 0, "%s", err);
    int obs_dim = 0;
    for (int f = 0; f < rig->spec.n_obs; f++)
        obs_dim += rig->spec.obs[f].n_dims ? rig->spec.obs[f].shape[0] : 1;
    for (int i = 0; i < n; i++)
        rig->api->reset(rig->self, i, &seed, rig->obs + i * obs_dim, rig->mask + i * rig->spec.mask_size);
}

/* One step of all of them with rig->action. */
static inline void rig_step(env_rig *rig) {
    memset(rig->active, 1, sizeof rig->active);
    memset(rig->failed, 0, sizeof rig->failed);
    memset(rig->reward, 0xff, sizeof rig->reward); /* NaN: must be written */
    memset(rig->terminated, 7, sizeof rig->terminated);
    memset(rig->truncated, 7, sizeof rig->truncated);
    sk_env_io io = {.struct_size = sizeof io, .action = rig->action, .obs = rig->obs, .reward = rig->reward,
                    .terminated = rig->terminated, .truncated = rig->truncated, .active = rig->active,
                    .failed = rig->failed, .mask = rig->spec.mask_size ? rig->mask : NULL};
    cr_assert_eq(rig->api->step(rig->self, 0, rig->n, &io), 0);
}

static inline void rig_deinit(env_rig *rig) {
    rig->api->destroy(rig->self);
    rig->self = NULL;
}

/* describe refuses this pair and says so with `wanted` in its text. */
static inline void rig_refuses(const char *env, const char *name, const char *value, const char *wanted) {
    const sk_env_api *api = sk_env_builtin(env);
    sk_env_spec       spec = {.struct_size = sizeof spec};
    char              err[256] = "";
    cr_assert_neq(
        api->describe(&(sk_env_config){.n = 1, .names = &name, .values = &value}, &spec, err, sizeof err), 0,
        "%s takes %s=%s", env, name, value);
    cr_assert(strstr(err, wanted), "\"%s\" does not say \"%s\"", err, wanted);
}

#endif
