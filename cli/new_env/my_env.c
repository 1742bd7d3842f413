/* MyEnv-v0: an environment for skiff, in this one file and the header beside it.
 *
 * As `skiff new-env` made it: a puck on a line is pushed left or right and shall stay near the middle;
 * whoever lets it slide off has lost. It compiles, passes `skiff check-env` and can be learned within a
 * second, so change it step by step, from top to bottom, and check again after each step:
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden my_env.c -o my_env.so -lm
 *     skiff check-env ./my_env.so
 *     skiff train my_env.yaml
 *
 * env.h says what is promised to whom; skiff's docs/adding_an_env.md leads through it. */
#include "env.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 1. Constants, with their units. */
static const float DT_S = 0.1f;
static const float PUSH_M_S2 = 1.0f;
static const float EDGE_M = 1.0f; /* beyond it the puck is lost */

/* 2. The state of one environment: all that decides its future, its random numbers included. */
typedef struct state {
    float    x_m, speed_m_s;
    uint64_t random;
} state;

/* An instance holds many environments that are stepped together, and what `env.config` said. */
typedef struct instance {
    float wind_m_s2;
    state envs[]; /* (n_envs) */
} instance;

/* A uniform number in [-1, 1) (SplitMix64). Never rand(): it is shared by everybody, and the same seed
 * must give the same numbers. */
static float draw(state *s) {
    uint64_t z = s->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)((z ^ (z >> 31)) >> 40) * 0x1p-23f - 1.0f;
}

/* 3. Settings: `env: {config: {wind: 0.2}}` in a config file. Refuse what you do not know: 0, or -1 with a
 * text. */
static int read_config(const sk_env_config *config, float *wind_m_s2, char *err, size_t err_size) {
    *wind_m_s2 = 0.0f;
    for (int i = 0; i < config->n; i++) {
        char *end = NULL;
        if (strcmp(config->names[i], "wind") == 0) *wind_m_s2 = strtof(config->values[i], &end);
        if (end && end != config->values[i] && !*end && fabsf(*wind_m_s2) < PUSH_M_S2) continue;
        snprintf(err, err_size, "got %s: %s, wanted wind: a number between -1 and 1", config->names[i],
                 config->values[i]);
        return -1;
    }
    return 0;
}

/* 4. What an agent sees and does. The host has zeroed `spec`: leave out what does not apply. */
static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    float wind_m_s2;
    if (read_config(config, &wind_m_s2, err, err_size)) return -1;
    /* observations: named fields that follow each other in a row; this one is x and speed */
    spec->n_obs = 1;
    spec->obs[0] = (sk_env_field){
        .name = "puck", .dtype = SK_ENV_F32, .n_dims = 1, .shape = {2}, .low = -INFINITY, .high = INFINITY};
    /* actions: a choice of three; a continuous one would be {.kind = SK_ENV_BOX, .n = 1, .low = -1, .high
     * = 1} */
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "push", .kind = SK_ENV_DISCRETE, .n = 3, .start = -1};
    spec->n_agents = 1;
    spec->max_episode_steps = 100; /* the host counts them: never do it in step */
    spec->reward_low = 0.0f, spec->reward_high = 1.0f;
    return 0;
}

/* 5. An instance. Everything that step needs is allocated here. */
static int create(const sk_env_config *config, int n_envs, void **self, char *err, size_t err_size) {
    float wind_m_s2;
    if (read_config(config, &wind_m_s2, err, err_size)) return -1;
    instance *made = calloc(1, sizeof *made + (size_t)n_envs * sizeof(state));
    if (!made) {
        snprintf(err, err_size, "out of memory");
        return -1;
    }
    made->wind_m_s2 = wind_m_s2;
    *self = made;
    return 0;
}

static void destroy(void *self) { free(self); }

static void observe(const state *s, float *obs) {
    obs[0] = s->x_m;
    obs[1] = s->speed_m_s;
}

/* 6. The start of an episode. With a seed the random numbers start there, without one they go on. Set
 * every field of the state: nothing may be left of the episode before. */
static int reset(void *self, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    state *s = &((instance *)self)->envs[env];
    (void)mask; /* only for environments that forbid some choices at times */
    if (seed) s->random = *seed;
    s->x_m = 0.5f * draw(s);
    s->speed_m_s = 0.5f * draw(s);
    observe(s, obs);
    return 0;
}

/* 7. One step of `count` environments: row i of every column belongs to environment first + i. Write every
 * row of every column; never reset, print, allocate or exit here. */
static int step(void *self, int first, int count, const sk_env_io *io) {
    instance *in = self;
    for (int i = 0; i < count; i++) {
        state *s = &in->envs[first + i];
        float  push = (float)io->action[i].i; /* -1, 0 or 1; it is within its bounds already */
        s->speed_m_s += (push * PUSH_M_S2 + in->wind_m_s2) * DT_S;
        s->x_m += s->speed_m_s * DT_S;
        int lost = fabsf(s->x_m) > EDGE_M;
        io->reward[i] = lost ? 0.0f : 1.0f - fabsf(s->x_m) / EDGE_M;
        io->terminated[i] = (uint8_t)lost; /* the task has ended                                    */
        io->truncated[i] = 0;              /* 1 only where the simulator itself cannot go on        */
        observe(s, (float *)io->obs + 2 * i);
    }
    return 0;
}

/* 8. Optional: with them a resumed run goes on bit for bit. */
static size_t state_size(void *self) { return (void)self, sizeof(state); }
static int    state_save(void *self, int env, void *bytes) {
    memcpy(bytes, &((instance *)self)->envs[env], sizeof(state));
    return 0;
}
static int state_load(void *self, int env, const void *bytes) {
    memcpy(&((instance *)self)->envs[env], bytes, sizeof(state));
    return 0;
}

/* 9. The table, and the one symbol that skiff looks for. Raise the number in the name when results change. */
static const sk_env_api api = {
    .abi_version = SK_ENV_ABI_VERSION,
    .struct_size = sizeof(sk_env_api),
    .name = "MyEnv-v0",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe,
    .create = create,
    .destroy = destroy,
    .reset = reset,
    .step = step,
    .state_size = state_size,
    .state_save = state_save,
    .state_load = state_load,
};

SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index) { return index == 0 ? &api : NULL; }
