/* CartPole-v1: balance a pole on a cart that is pushed left or right (Barto, Sutton and Anderson 1983).
 *
 * Same numbers as Gymnasium 1.4.0, bit for bit: state and arithmetic in double, observation in float, explicit
 * Euler, resets drawn from PCG64. The host ends episodes at 500 steps.
 *
 * Config: sutton_barto_reward (false): 0 per step and -1 on failure, instead of 1 per step.
 * Threads: one instance, one thread at a time. */
#include "core/base/rng.h"
#include "envs/common.h"
#include "envs/draw.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_DIM = 4, CHUNK = 64 };

static const double GRAVITY = 9.8;                  /* [m/s2]                          */
static const double MASS_POLE = 0.1;                /* [kg]                            */
static const double MASS_TOTAL = 0.1 + 1.0;         /* pole and cart [kg]              */
static const double HALF_LENGTH = 0.5;              /* of the pole [m]                 */
static const double POLE_MOMENT = 0.1 * 0.5;        /* MASS_POLE * HALF_LENGTH [kg m]  */
static const double FORCE = 10.0;                   /* of a push [N]                   */
static const double DT_S = 0.02;
static const double X_MAX = 2.4;                    /* beyond it the task has failed [m] */
static const double THETA_MAX = 12 * 2 * 3.141592653589793 / 360; /* [rad]              */

typedef struct cartpole {
    int     n;
    bool    sutton_barto_reward;
    double *x, *x_dot, *theta, *theta_dot; /* (n) each: position [m], angle from upright [rad], per second */
    sk_pcg64 *rng;                         /* (n) */
} cartpole;

/* What a saved environment consists of. */
typedef struct saved {
    double   x, x_dot, theta, theta_dot;
    sk_pcg64 rng;
} saved;

static int read_config(const sk_env_config *config, bool *sutton_barto, char *err, size_t err_size) {
    static const char *const known[] = {"sutton_barto_reward"};
    *sutton_barto = false;
    if (sk__env_config_known(config, known, 1, err, err_size)) return -1;
    return sk__env_config_bool(config, known[0], sutton_barto, err, err_size);
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    bool sutton_barto;
    if (read_config(config, &sutton_barto, err, err_size)) return -1;
    /* Twice the failure bounds, so that a failing observation is still inside. */
    static const float highs[OBS_DIM] = {4.8f, INFINITY, 0.41887903f, INFINITY};
    static const float lows[OBS_DIM] = {-4.8f, -INFINITY, -0.41887903f, -INFINITY};
    spec->n_obs = 1;
    spec->obs[0] = (sk_env_field){.name = "obs", .dtype = SK_ENV_F32, .n_dims = 1, .shape = {OBS_DIM},
                                  .low = -INFINITY, .high = INFINITY, .lows = lows, .highs = highs};
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "push", .kind = SK_ENV_DISCRETE, .n = 2};
    spec->n_agents = 1;
    spec->max_episode_steps = 500;
    spec->reward_low = sutton_barto ? -1.0f : 1.0f;
    spec->reward_high = sutton_barto ? 0.0f : 1.0f;
    return 0;
}

static void destroy(void *self_v) { free(self_v); }

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    bool sutton_barto;
    if (read_config(config, &sutton_barto, err, err_size)) return -1;
    /* One allocation: the struct, four columns of doubles, the random streams. */
    size_t n = (size_t)n_envs;
    size_t head = (sizeof(cartpole) + 63) / 64 * 64;
    cartpole *self = calloc(1, head + n * (OBS_DIM * sizeof(double) + sizeof(sk_pcg64)));
    if (!self) {
        snprintf(err, err_size, "out of memory for %d environments", n_envs);
        return -1;
    }
    self->n = n_envs;
    self->sutton_barto_reward = sutton_barto;
    self->x = (double *)(void *)((char *)self + head);
    self->x_dot = self->x + n;
    self->theta = self->x_dot + n;
    self->theta_dot = self->theta + n;
    self->rng = (sk_pcg64 *)(void *)(self->theta_dot + n);
    for (size_t i = 0; i < n; i++) sk_pcg64_seed(&self->rng[i], i);
    *ret_self = self;
    return 0;
}

static int reset(void *self_v, int env, const uint64_t *seed, void *obs_v, uint8_t *mask) {
    (void)mask;
    cartpole *self = self_v;
    sk_pcg64 *rng = &self->rng[env];
    if (seed) sk_pcg64_seed(rng, *seed);
    self->x[env] = sk_pcg64_uniform(rng, -0.05, 0.05);
    self->x_dot[env] = sk_pcg64_uniform(rng, -0.05, 0.05);
    self->theta[env] = sk_pcg64_uniform(rng, -0.05, 0.05);
    self->theta_dot[env] = sk_pcg64_uniform(rng, -0.05, 0.05);
    float *obs = obs_v;
    obs[0] = (float)self->x[env];
    obs[1] = (float)self->x_dot[env];
    obs[2] = (float)self->theta[env];
    obs[3] = (float)self->theta_dot[env];
    return 0;
}

/* Dynamics of `n` poles from `first`, in Gymnasium's order of operations (Florian 2007, without friction). */
static void integrate(cartpole *self, int first, int n, const sk_env_slot *restrict action) {
    double *restrict x = self->x + first, *restrict x_dot = self->x_dot + first;
    double *restrict theta = self->theta + first, *restrict theta_dot = self->theta_dot + first;
    double sine[CHUNK], cosine[CHUNK];
    for (int i = 0; i < n; i++) {
        sine[i] = sin(theta[i]);
        cosine[i] = cos(theta[i]);
    }
    for (int i = 0; i < n; i++) {
        double force = action[i].i == 1 ? FORCE : -FORCE;
        double temp = (force + POLE_MOMENT * (theta_dot[i] * theta_dot[i]) * sine[i]) / MASS_TOTAL;
        double theta_acc = (GRAVITY * sine[i] - cosine[i] * temp) /
                           (HALF_LENGTH * (4.0 / 3.0 - MASS_POLE * (cosine[i] * cosine[i]) / MASS_TOTAL));
        double x_acc = temp - POLE_MOMENT * theta_acc * cosine[i] / MASS_TOTAL;
        /* Explicit Euler: positions move with the old speeds. */
        x[i] = x[i] + DT_S * x_dot[i];
        x_dot[i] = x_dot[i] + DT_S * x_acc;
        theta[i] = theta[i] + DT_S * theta_dot[i];
        theta_dot[i] = theta_dot[i] + DT_S * theta_acc;
    }
}

static void observe(const cartpole *self, int first, int n, float *restrict obs,
                    uint8_t *restrict terminated) {
    const double *restrict x = self->x + first, *restrict x_dot = self->x_dot + first;
    const double *restrict theta = self->theta + first, *restrict theta_dot = self->theta_dot + first;
    for (int i = 0; i < n; i++) {
        obs[i * OBS_DIM + 0] = (float)x[i];
        obs[i * OBS_DIM + 1] = (float)x_dot[i];
        obs[i * OBS_DIM + 2] = (float)theta[i];
        obs[i * OBS_DIM + 3] = (float)theta_dot[i];
    }
    for (int i = 0; i < n; i++) {
        terminated[i] = (uint8_t)((fabs(x[i]) > X_MAX) | (fabs(theta[i]) > THETA_MAX));
    }
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    cartpole *self = self_v;
    float    *obs = io->obs;
    for (int at = 0; at < count; at += CHUNK) {
        int n = count - at < CHUNK ? count - at : CHUNK;
        integrate(self, first + at, n, io->action + at);
        observe(self, first + at, n, obs + (size_t)at * OBS_DIM, io->terminated + at);
    }
    float alive = self->sutton_barto_reward ? 0.0f : 1.0f, fallen = self->sutton_barto_reward ? -1.0f : 1.0f;
    for (int i = 0; i < count; i++) {
        io->truncated[i] = 0;
        io->reward[i] = io->terminated[i] ? fallen : alive;
    }
    return 0;
}

static size_t state_size(void *self) {
    (void)self;
    return sizeof(saved);
}

static int state_save(void *self_v, int env, void *bytes) {
    const cartpole *self = self_v;
    saved state = {.x = self->x[env], .x_dot = self->x_dot[env], .theta = self->theta[env],
                   .theta_dot = self->theta_dot[env], .rng = self->rng[env]};
    memcpy(bytes, &state, sizeof state);
    return 0;
}

static int state_load(void *self_v, int env, const void *bytes) {
    cartpole *self = self_v;
    saved     state;
    memcpy(&state, bytes, sizeof state);
    if (!sk_pcg64_is_sound(&state.rng)) return -1;
    self->x[env] = state.x;
    self->x_dot[env] = state.x_dot;
    self->theta[env] = state.theta;
    self->theta_dot[env] = state.theta_dot;
    self->rng[env] = state.rng;
    return 0;
}

/* The track is as wide as the picture; where the task has failed there is none. */
static int render(void *self_v, int env, int *ret_width, int *ret_height, uint8_t *rgb) {
    static const sk_color paper = {255, 255, 255}, track = {150, 150, 150}, cart = {40, 40, 40}, pole = {202, 152, 101},
                          joint = {129, 132, 203};
    const cartpole *self = self_v;
    if (sk__draw_size_only(ret_width, ret_height, rgb)) return 0;
    double    scale = SK_DRAW_WIDTH / (2 * X_MAX);
    sk_canvas canvas = {.rgb = rgb, .scale = scale, .origin_x = SK_DRAW_WIDTH / 2, .origin_y = 300};
    double    x = self->x[env], length = 2 * HALF_LENGTH;
    sk__draw_fill(&canvas, paper);
    sk__draw_line(&canvas, -X_MAX, 0, X_MAX, 0, 0.012, track);
    sk__draw_rect(&canvas, x - 0.2, -0.12, x + 0.2, 0.12, cart);
    sk__draw_line(&canvas, x, 0.12, x + length * sin(self->theta[env]), 0.12 + length * cos(self->theta[env]), 0.08,
                  pole);
    sk__draw_disc(&canvas, x, 0.12, 0.04, joint);
    return 0;
}

const sk_env_api sk_env_cartpole = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "CartPole-v1",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE | SK_ENV_CAP_RENDER,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
    .render = render,
};
