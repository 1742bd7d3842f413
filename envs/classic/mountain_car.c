/* MountainCar-v0: get a car with a weak engine out of a valley by swinging (Moore 1990).
 *
 * Same numbers as Gymnasium 1.4.0, bit for bit: state and arithmetic in double, observation in float, resets
 * drawn from PCG64. The host ends episodes at 200 steps.
 *
 * Config: goal_velocity (0): the least speed at the goal that counts [per step].
 * Threads: one instance, one thread at a time. */
#include "core/base/rng.h"
#include "envs/classic/hill.h"
#include "envs/common.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_DIM = 2 };

static const double X_MIN = -1.2, X_MAX = 0.6; /* the left one is a wall */
static const double SPEED_MAX = 0.07;          /* [per step]             */
static const double X_GOAL = 0.5;
static const double FORCE = 0.001, GRAVITY = 0.0025;

/* One car; this is also what is saved. */
typedef struct car {
    double   x, v;
    sk_pcg64 rng;
} car;

typedef struct mountain_car {
    double goal_velocity;
    car    cars[]; /* (n_envs) */
} mountain_car;

static int read_config(const sk_env_config *config, double *goal_velocity, char *err, size_t err_size) {
    static const char *const known[] = {"goal_velocity"};
    *goal_velocity = 0.0;
    if (sk__env_config_known(config, known, 1, err, err_size)) return -1;
    return sk__env_config_number(config, known[0], goal_velocity, err, err_size);
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    double goal_velocity;
    if (read_config(config, &goal_velocity, err, err_size)) return -1;
    static const float highs[OBS_DIM] = {0.6f, 0.07f}, lows[OBS_DIM] = {-1.2f, -0.07f};
    spec->n_obs = 1;
    spec->obs[0] = (sk_env_field){.name = "obs", .dtype = SK_ENV_F32, .n_dims = 1, .shape = {OBS_DIM},
                                  .low = -1.2f, .high = 0.6f, .lows = lows, .highs = highs};
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "push", .kind = SK_ENV_DISCRETE, .n = 3};
    spec->n_agents = 1;
    spec->max_episode_steps = 200;
    spec->reward_low = -1.0f;
    spec->reward_high = -1.0f;
    return 0;
}

static void destroy(void *self_v) { free(self_v); }

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    double goal_velocity;
    if (read_config(config, &goal_velocity, err, err_size)) return -1;
    mountain_car *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(car));
    if (!self) {
        snprintf(err, err_size, "out of memory for %d environments", n_envs);
        return -1;
    }
    self->goal_velocity = goal_velocity;
    for (int i = 0; i < n_envs; i++) sk_pcg64_seed(&self->cars[i].rng, (uint64_t)i);
    *ret_self = self;
    return 0;
}

static int reset(void *self_v, int env, const uint64_t *seed, void *obs_v, uint8_t *mask) {
    (void)mask;
    car   *self = &((mountain_car *)self_v)->cars[env];
    float *obs = obs_v;
    if (seed) sk_pcg64_seed(&self->rng, *seed);
    self->x = sk_pcg64_uniform(&self->rng, -0.6, -0.4);
    self->v = 0.0;
    obs[0] = (float)self->x;
    obs[1] = 0.0f;
    return 0;
}

static double clip(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    mountain_car *self = self_v;
    float        *obs = io->obs;
    for (int i = 0; i < count; i++) {
        car *c = &self->cars[first + i];
        /* 0, 1, 2 push left, not at all, right; the slope is sin(3 x). */
        double v = c->v + ((double)(io->action[i].i - 1) * FORCE + cos(3.0 * c->x) * -GRAVITY);
        v = clip(v, -SPEED_MAX, SPEED_MAX);
        double x = clip(c->x + v, X_MIN, X_MAX);
        if (x == X_MIN && v < 0.0) v = 0.0;
        c->x = x;
        c->v = v;
        obs[i * OBS_DIM + 0] = (float)x;
        obs[i * OBS_DIM + 1] = (float)v;
        io->reward[i] = -1.0f;
        io->terminated[i] = x >= X_GOAL && v >= self->goal_velocity;
        io->truncated[i] = 0;
    }
    return 0;
}

static size_t state_size(void *self) {
    (void)self;
    return sizeof(car);
}

static int state_save(void *self_v, int env, void *bytes) {
    memcpy(bytes, &((mountain_car *)self_v)->cars[env], sizeof(car));
    return 0;
}

static int state_load(void *self_v, int env, const void *bytes) {
    car saved;
    memcpy(&saved, bytes, sizeof saved);
    if (!sk_pcg64_is_sound(&saved.rng)) return -1;
    ((mountain_car *)self_v)->cars[env] = saved;
    return 0;
}

static int render(void *self_v, int env, int *ret_width, int *ret_height, uint8_t *rgb) {
    return sk__hill_render(((mountain_car *)self_v)->cars[env].x, X_GOAL, ret_width, ret_height, rgb);
}

const sk_env_api sk_env_mountain_car = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "MountainCar-v0",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE | SK_ENV_CAP_RENDER,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
    .render = render,
};
