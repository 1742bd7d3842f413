/* PointMass-v0: an environment as a plugin, in one file that needs nothing but skiff/env.h.
 *
 * A puck on a table is pushed towards a goal and shall come to rest there. Build it, look at it, test it:
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden -I include examples/plugin_env/point_mass.c -o point_mass.so -lm
 *     skiff envs point_mass.so
 *     skiff check-env point_mass.so
 *
 * and train on it with `env: {plugin: ./point_mass.so}` in a config file. To make your own, copy this file and
 * change, from top to bottom: the state, describe, reset, step. */
#include <math.h>
#include <skiff/env.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const float DT_S = 0.05f;
static const float PUSH_MAX = 1.0f;   /* [m/s2] in each direction                  */
static const float FRICTION = 0.1f;   /* share of the speed lost in a second [1/s] */
static const float NEAR_M = 0.05f, SLOW_M_S = 0.1f; /* what counts as arrived      */

/* 1. The state of one environment: all that decides its future. */
typedef struct puck {
    float    x, y, speed_x, speed_y; /* [m], [m/s] */
    float    goal_x, goal_y;         /* [m]        */
    uint64_t random;                 /* the state of its own random stream */
} puck;

/* An instance holds many of them, which are stepped together. */
typedef struct table {
    float friction;
    puck  pucks[]; /* (n_envs) */
} table;

/* A uniform number in [-1, 1): Steele's SplitMix64. Never rand(), which is shared by everybody. */
static float draw(puck *p) {
    uint64_t z = p->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)((z ^ (z >> 31)) >> 40) * 0x1p-23f - 1.0f;
}

/* The pair `friction` of `env.config`, if it is given. 0, or -1 with a text. */
static int read_config(const sk_env_config *config, float *friction, char *err, size_t err_size) {
    *friction = FRICTION;
    for (int i = 0; i < config->n; i++) {
        char *end;
        if (strcmp(config->names[i], "friction") == 0) {
            *friction = strtof(config->values[i], &end);
            if (end != config->values[i] && !*end && *friction >= 0.0f && *friction < 10.0f) continue;
        }
        snprintf(err, err_size, "got %s: %s, wanted friction: 0 to 10", config->names[i], config->values[i]);
        return -1;
    }
    return 0;
}

/* 2. What an agent sees and does. */
static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    float friction;
    if (read_config(config, &friction, err, err_size)) return -1;
    spec->n_obs = 2;
    spec->obs[0] = (sk_env_field){.name = "puck", .dtype = SK_ENV_F32, .n_dims = 1, .shape = {4},
                                  .low = -INFINITY, .high = INFINITY}; /* x, y and their speeds */
    spec->obs[1] = (sk_env_field){.name = "goal", .n_dims = 1, .shape = {2}, .low = -1.0f, .high = 1.0f};
    spec->n_action = 1;
    spec->action[0] =
        (sk_env_action_part){.name = "push", .kind = SK_ENV_BOX, .n = 2, .low = -PUSH_MAX, .high = PUSH_MAX};
    spec->n_agents = 1;
    spec->max_episode_steps = 200; /* the host counts them */
    spec->n_metrics = 1;
    strcpy(spec->metric_name[0], "distance");
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **self, char *err, size_t err_size) {
    float friction;
    if (read_config(config, &friction, err, err_size)) return -1;
    table *t = calloc(1, sizeof *t + (size_t)n_envs * sizeof(puck));
    if (!t) {
        snprintf(err, err_size, "out of memory");
        return -1;
    }
    t->friction = friction;
    for (int i = 0; i < n_envs; i++) t->pucks[i].random = (uint64_t)i;
    *self = t;
    return 0;
}

static void destroy(void *self) { free(self); }

static void observe(const puck *p, void *obs) {
    const float row[6] = {p->x, p->y, p->speed_x, p->speed_y, p->goal_x, p->goal_y};
    memcpy(obs, row, sizeof row);
}

/* 3. The start of an episode: at rest, somewhere, with a goal somewhere else. */
static int reset(void *self, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    puck *p = &((table *)self)->pucks[env];
    (void)mask; /* only for environments that forbid some actions */
    if (seed) p->random = *seed; /* else its stream goes on */
    p->x = draw(p), p->y = draw(p), p->goal_x = draw(p), p->goal_y = draw(p);
    p->speed_x = p->speed_y = 0.0f;
    observe(p, obs);
    return 0;
}

/* 4. One step of `count` environments. Row i of every column belongs to environment first + i. */
static int step(void *self, int first, int count, const sk_env_io *io) {
    table *t = self;
    for (int i = 0; i < count; i++) {
        puck              *p = &t->pucks[first + i];
        const sk_env_slot *push = io->action + 2 * i; /* within the bounds already */
        float keep = 1.0f - t->friction * DT_S;
        p->speed_x = p->speed_x * keep + push[0].f * DT_S;
        p->speed_y = p->speed_y * keep + push[1].f * DT_S;
        p->x += p->speed_x * DT_S;
        p->y += p->speed_y * DT_S;
        float distance = hypotf(p->goal_x - p->x, p->goal_y - p->y);
        int   arrived = distance < NEAR_M && hypotf(p->speed_x, p->speed_y) < SLOW_M_S;
        /* Being far costs by the second, pushing a little; arriving pays. */
        float effort = push[0].f * push[0].f + push[1].f * push[1].f;
        io->reward[i] = -DT_S * (distance + 0.01f * effort) + (arrived ? 10.0f : 0.0f);
        io->terminated[i] = (uint8_t)arrived;
        io->truncated[i] = 0;
        io->metrics[i] = distance;
        observe(p, (float *)io->obs + 6 * i); /* straight into the host's memory */
    }
    return 0;
}

/* 5. Optional, for runs that resume bit for bit. */
static size_t state_size(void *self) { return (void)self, sizeof(puck); }
static int state_save(void *self, int env, void *bytes) {
    return memcpy(bytes, &((table *)self)->pucks[env], sizeof(puck)), 0;
}
static int state_load(void *self, int env, const void *bytes) {
    return memcpy(&((table *)self)->pucks[env], bytes, sizeof(puck)), 0;
}

static const sk_env_api api = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "PointMass-v0",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
};

/* 6. The one symbol that skiff looks for. */
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index) { return index == 0 ? &api : NULL; }
