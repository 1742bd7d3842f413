/* Misfit: plugins that are wrong in one way each, for tests/rl/test_env.c. What is wrong with the library is
 * chosen at compile time (MISFIT_ABI, _SIZE, _STEP, _STATE, _EMPTY, _NOSYMBOL, _SEVERAL, _NONE), what is wrong
 * with its description by the config pair `break`. */
#include "skiff/env.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *get(const sk_env_config *config, const char *name) {
    for (int i = 0; i < config->n; i++) {
        if (strcmp(config->names[i], name) == 0) return config->values[i];
    }
    return "";
}

static void sane(sk_env_spec *spec) {
    spec->n_obs = 2;
    spec->obs[0] = (sk_env_field){.name = "where", .n_dims = 2, .shape = {2, 3}, .low = -1, .high = 1};
    spec->obs[1] = (sk_env_field){.name = "when", .low = 0, .high = INFINITY};
    spec->n_action = 2;
    spec->action[0] = (sk_env_action_part){.name = "gear", .kind = SK_ENV_DISCRETE, .n = 3, .start = -1};
    spec->action[1] = (sk_env_action_part){.name = "pull", .kind = SK_ENV_BOX, .n = 2, .low = -2, .high = 2};
    spec->n_agents = 1;
    spec->max_episode_steps = 10;
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    static int         calls;
    static const float lows[6] = {0, 0, 0, 0, NAN, 0}, highs[6] = {1, 1, 1, 1, 1, 1};
    const char        *broken = get(config, "break");
    sane(spec);
    calls++;
    if (!strcmp(broken, "refuse")) {
        snprintf(err, err_size, "no wind today");
        return 1;
    }
    if (!strcmp(broken, "silent")) return 1;
    if (!strcmp(broken, "contradict")) spec->obs[0].shape[1] = 2 + calls % 2;
    if (!strcmp(broken, "contradict_agents")) spec->n_agents = 1 + calls % 2;
    if (!strcmp(broken, "n_obs")) spec->n_obs = 17;
    if (!strcmp(broken, "n_action")) spec->n_action = 0;
    if (!strcmp(broken, "unnamed")) spec->obs[1].name[0] = 0;
    if (!strcmp(broken, "endless")) memset(spec->obs[1].name, 'x', SK_ENV_NAME_MAX);
    if (!strcmp(broken, "twins")) strcpy(spec->obs[1].name, "where");
    if (!strcmp(broken, "dims")) spec->obs[0].n_dims = 5;
    if (!strcmp(broken, "shape")) spec->obs[0].shape[1] = 0;
    if (!strcmp(broken, "huge")) spec->obs[0].shape[0] = spec->obs[0].shape[1] = 1 << 20;
    if (!strcmp(broken, "bounds")) spec->obs[0].low = 2;
    if (!strcmp(broken, "nan_bounds")) spec->obs[0].lows = lows, spec->obs[0].highs = highs;
    if (!strcmp(broken, "half_bounds")) spec->obs[0].highs = highs;
    if (!strcmp(broken, "dtype")) spec->obs[0].dtype = 9;
    if (!strcmp(broken, "u8")) spec->obs[0].dtype = SK_ENV_U8;
    if (!strcmp(broken, "i32")) spec->obs[1].dtype = SK_ENV_I32;
    if (!strcmp(broken, "i32_half")) spec->obs[0].dtype = SK_ENV_I32, spec->obs[0].high = 1.5f;
    if (!strcmp(broken, "i32_wide")) spec->obs[0].dtype = SK_ENV_I32, spec->obs[0].high = 1 << 20;
    if (!strcmp(broken, "kind")) spec->action[1].kind = 2;
    if (!strcmp(broken, "n")) spec->action[0].n = 0;
    if (!strcmp(broken, "no_box")) spec->action[1].low = spec->action[1].high = 0;
    if (!strcmp(broken, "mask")) spec->mask_size = 5;
    if (!strcmp(broken, "agents")) spec->n_agents = 0;
    if (!strcmp(broken, "limit")) spec->max_episode_steps = -1;
    if (!strcmp(broken, "metrics")) spec->n_metrics = 1; /* without a name */
    if (!strcmp(broken, "reward")) spec->reward_low = 1;
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **self, char *err, size_t err_size) {
    (void)config, (void)self;
    snprintf(err, err_size, "cannot make %d of these", n_envs);
    return 1;
}
static void destroy(void *self) { (void)self; }
static int reset(void *self, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    (void)self, (void)env, (void)seed, (void)obs, (void)mask;
    return 1;
}
#ifndef MISFIT_STEP
static int step(void *self, int first, int count, const sk_env_io *io) {
    (void)self, (void)first, (void)count, (void)io;
    return 1;
}
#endif

#if defined MISFIT_ABI
#define ABI (SK_ENV_ABI_VERSION + 1)
#else
#define ABI SK_ENV_ABI_VERSION
#endif
#if defined MISFIT_SIZE
#define SIZE (sizeof(sk_env_api) - sizeof(void *))
#else
#define SIZE sizeof(sk_env_api)
#endif

static const sk_env_api misfit = {
    .abi_version = ABI, .struct_size = SIZE, .name = "Misfit-v0",
    .describe = describe, .create = create, .destroy = destroy, .reset = reset,
#ifndef MISFIT_STEP
    .step = step,
#endif
#ifdef MISFIT_STATE
    .caps = SK_ENV_CAP_STATE,
#endif
};

#ifdef MISFIT_SEVERAL
static const sk_env_api other = {
    .abi_version = ABI, .struct_size = SIZE, .name = "Other-v3",
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
};
#endif

#ifdef MISFIT_NOSYMBOL
SK_ENV_EXPORT const sk_env_api *skiff_env_plugout(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugout(int index) { return index ? NULL : &misfit; }
#else
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index) {
#if defined MISFIT_EMPTY
    (void)index, (void)misfit;
    return NULL;
#elif defined MISFIT_SEVERAL
    return index == 0 ? &misfit : index == 1 ? &other : NULL;
#else
    return index == 0 ? &misfit : NULL;
#endif
}
#endif
