/* Pendulum-v1: swing a rod up with a weak motor and hold it there.
 *
 * Same numbers as Gymnasium 1.4.0 under NumPy >= 2: state in double, while the torque is a float and what is
 * computed from the torque alone is rounded to float. Resets are drawn from PCG64. It never terminates; the
 * host ends episodes at 200 steps.
 *
 * Config: g (10), gravity.
 * Threads: one instance, one thread at a time. */
#include "core/base/rng.h"
#include "envs/common.h"
#include "envs/draw.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_DIM = 3 };

static const double PI = 3.141592653589793;
static const double SPEED_MAX = 8.0;  /* [rad/s] */
static const float  TORQUE_MAX = 2.0f; /* [N m]   */
static const double DT_S = 0.05;

/* One pendulum; mass and length are 1. This is also what is saved. */
typedef struct rod {
    double   theta, theta_dot; /* angle from upright [rad], unbounded; speed [rad/s] */
    double   sin_theta;        /* of the above, computed for the last observation    */
    sk_pcg64 rng;
} rod;

typedef struct pendulum {
    double gravity_gain; /* 3 g / (2 l) [1/s2] */
    rod    rods[];       /* (n_envs)           */
} pendulum;

static int read_config(const sk_env_config *config, double *gravity, char *err, size_t err_size) {
    static const char *const known[] = {"g"};
    *gravity = 10.0;
    if (sk__env_config_known(config, known, 1, err, err_size)) return -1;
    return sk__env_config_number(config, known[0], gravity, err, err_size);
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    double gravity;
    if (read_config(config, &gravity, err, err_size)) return -1;
    static const float highs[OBS_DIM] = {1.0f, 1.0f, 8.0f}, lows[OBS_DIM] = {-1.0f, -1.0f, -8.0f};
    spec->n_obs = 1;
    spec->obs[0] = (sk_env_field){.name = "obs", .dtype = SK_ENV_F32, .n_dims = 1, .shape = {OBS_DIM},
                                  .low = -8.0f, .high = 8.0f, .lows = lows, .highs = highs};
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "torque", .kind = SK_ENV_BOX, .n = 1,
                                           .low = -TORQUE_MAX, .high = TORQUE_MAX};
    spec->n_agents = 1;
    spec->max_episode_steps = 200;
    /* pi^2 + 0.1 * 8^2 + 0.001 * 2^2 */
    spec->reward_low = -16.273605f;
    spec->reward_high = 0.0f;
    return 0;
}

static void destroy(void *self_v) { free(self_v); }

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    double gravity;
    if (read_config(config, &gravity, err, err_size)) return -1;
    pendulum *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(rod));
    if (!self) {
        snprintf(err, err_size, "out of memory for %d environments", n_envs);
        return -1;
    }
    self->gravity_gain = 3 * gravity / 2.0;
    for (int i = 0; i < n_envs; i++) sk_pcg64_seed(&self->rods[i].rng, (uint64_t)i);
    *ret_self = self;
    return 0;
}

static inline void observe(rod *self, float *obs) {
    self->sin_theta = sin(self->theta);
    obs[0] = (float)cos(self->theta);
    obs[1] = (float)self->sin_theta;
    obs[2] = (float)self->theta_dot;
}

static int reset(void *self_v, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    (void)mask;
    rod *self = &((pendulum *)self_v)->rods[env];
    if (seed) sk_pcg64_seed(&self->rng, *seed);
    self->theta = sk_pcg64_uniform(&self->rng, -PI, PI);
    self->theta_dot = sk_pcg64_uniform(&self->rng, -1.0, 1.0);
    observe(self, obs);
    return 0;
}

/* ((x + pi) mod 2 pi) - pi, where mod has the sign of the divisor, as in Python. */
static inline double wrap(double x) {
    double y = x + PI;
    if (y >= 2 * PI || y < 0.0) {
        y = fmod(y, 2 * PI);
        if (y < 0.0) y += 2 * PI;
    }
    return y - PI;
}

/* u^2 as NumPy has it, which asks libm's powf. That is the rounded product but for some results near the middle
 * of two floats (its error stays below 0.52 ulp), so powf itself is only called there: within 1/16 ulp. */
static inline float torque_square(float u) {
    static const volatile float two = 2.0f; /* a plain constant would become a product */
    double   product = (double)u * (double)u; /* exact */
    uint64_t bits;
    memcpy(&bits, &product, sizeof bits);
    int32_t from_middle = (int32_t)(bits & 0x1fffffff) - 0x10000000; /* [2^-29 ulp] */
    if (from_middle > -0x2000000 && from_middle < 0x2000000) return powf(u, two);
    return (float)product;
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    pendulum *self = self_v;
    float    *obs = io->obs;
    for (int i = 0; i < count; i++) {
        rod   *r = &self->rods[first + i];
        float  u = io->action[i].f;
        double angle = wrap(r->theta);
        /* The cost is of the state before the step; the torque's share is computed in float. */
        double cost =
            angle * angle + 0.1 * (r->theta_dot * r->theta_dot) + (double)(0.001f * torque_square(u));
        double accel = self->gravity_gain * r->sin_theta + (double)(3.0f * u);
        double speed = r->theta_dot + accel * DT_S;
        speed = speed < -SPEED_MAX ? -SPEED_MAX : speed > SPEED_MAX ? SPEED_MAX : speed;
        r->theta = r->theta + speed * DT_S;
        r->theta_dot = speed;
        observe(r, obs + (size_t)i * OBS_DIM);
        io->reward[i] = (float)-cost;
    }
    memset(io->terminated, 0, (size_t)count);
    memset(io->truncated, 0, (size_t)count);
    return 0;
}

static size_t state_size(void *self) {
    (void)self;
    return sizeof(rod);
}

static int state_save(void *self_v, int env, void *bytes) {
    memcpy(bytes, &((pendulum *)self_v)->rods[env], sizeof(rod));
    return 0;
}

static int state_load(void *self_v, int env, const void *bytes) {
    rod saved;
    memcpy(&saved, bytes, sizeof saved);
    if (!sk_pcg64_is_sound(&saved.rng)) return -1;
    ((pendulum *)self_v)->rods[env] = saved;
    return 0;
}

static int render(void *self_v, int env, int *ret_width, int *ret_height, uint8_t *rgb) {
    static const sk_color paper = {255, 255, 255}, bar = {204, 77, 77}, axle = {20, 20, 20};
    double                theta = ((pendulum *)self_v)->rods[env].theta;
    if (sk__draw_size_only(ret_width, ret_height, rgb)) return 0;
    sk_canvas canvas = {.rgb = rgb, .scale = 170, .origin_x = SK_DRAW_WIDTH / 2, .origin_y = SK_DRAW_HEIGHT / 2};
    sk__draw_fill(&canvas, paper);
    sk__draw_line(&canvas, 0, 0, -sin(theta), cos(theta), 0.18, bar); /* it turns counter-clockwise */
    sk__draw_disc(&canvas, 0, 0, 0.045, axle);
    return 0;
}

const sk_env_api sk_env_pendulum = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Pendulum-v1",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE | SK_ENV_CAP_RENDER,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
    .render = render,
};
