/* Cheat: an environment that breaks one promise of skiff/env.h, chosen by the config pair `sin`, for the tests
 * of `skiff check-env`. Honest (without sin) it counts its steps: obs = {step / 10, a random number in [0, 1)},
 * ends after ten, reward 1. */
#include "skiff/env.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct env {
    int      t;
    uint64_t random;
} env;

typedef struct instance {
    char sin[16];
    int  n;
    env  envs[];
} instance;

static int sins(const instance *self, const char *sin) { return strcmp(self->sin, sin) == 0; }

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    (void)config, (void)err, (void)err_size;
    spec->n_obs = 2;
    spec->obs[0] = (sk_env_field){.name = "share", .low = 0, .high = 1};
    spec->obs[1] = (sk_env_field){.name = "noise", .low = 0, .high = 1};
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "none", .kind = SK_ENV_DISCRETE, .n = 1};
    spec->n_agents = 1;
    spec->reward_high = 1;
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    (void)err, (void)err_size;
    instance *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(env));
    if (!self) return 1;
    if (config->n) strncpy(self->sin, config->values[0], sizeof self->sin - 1);
    self->n = n_envs;
    *ret_self = self;
    return 0;
}

static void destroy(void *self) { free(self); }

static void observe(const instance *self, env *e, float *obs) {
    static uint64_t chance;
    e->random = e->random * 6364136223846793005u + 1442695040888963407u;
    if (sins(self, "chance")) e->random += ++chance;
    if (sins(self, "company")) e->random += (uint64_t)self->n;
    obs[0] = (float)e->t / 10.0f;
    obs[1] = (float)(e->random >> 40) * 0x1p-24f;
    if (sins(self, "bounds") && e->t == 5) obs[0] = 1.5f;
    if (sins(self, "nan") && e->t == 5) obs[0] = NAN;
}

static int reset(void *self_v, int at, const uint64_t *seed, void *obs, uint8_t *mask) {
    (void)mask;
    instance *self = self_v;
    float     row[2];
    if (seed) self->envs[at].random = *seed;
    self->envs[at].t = 0;
    observe(self, &self->envs[at], row);
    memcpy(obs, row, sins(self, "reset_obs") ? sizeof(float) : sizeof row);
    return 0;
}

/* Some sins write where they must not: AddressSanitizer is to let that pass, check-env is to find it. */
__attribute__((no_sanitize("address")))
static int step(void *self_v, int first, int count, const sk_env_io *io) {
    instance *self = self_v;
    float    *obs = io->obs;
    for (int i = 0; i < count; i++) {
        env  *e = &self->envs[first + i];
        float row[2];
        e->t++;
        observe(self, e, row);
        memcpy(obs + 2 * i, row, sins(self, "obs") && e->t == 3 ? sizeof(float) : sizeof row);
        io->reward[i] = sins(self, "reward") && e->t == 4 ? 3.0f : 1.0f;
        io->terminated[i] = e->t >= 10;
        if (!sins(self, "flags")) io->truncated[i] = 0;
    }
    if (sins(self, "neighbour") && first > 0) obs[-1] = 0.0f;
    if (sins(self, "overrun") && first + count == self->n) obs[2 * count] = 0.0f;
    return 0;
}

static size_t state_size(void *self) { return (void)self, sizeof(env); }
static int state_save(void *self, int at, void *bytes) {
    memcpy(bytes, &((instance *)self)->envs[at], sizeof(env));
    return 0;
}
static int state_load(void *self_v, int at, const void *bytes) {
    instance *self = self_v;
    env       saved;
    memcpy(&saved, bytes, sizeof saved);
    self->envs[at].t = saved.t;
    if (!sins(self, "amnesia")) self->envs[at].random = saved.random;
    return 0;
}

static const sk_env_api cheat = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Cheat-v0",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
};

SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index) { return index == 0 ? &cheat : NULL; }
