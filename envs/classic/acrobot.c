/* Acrobot-v1: swing the tip of a two-link arm above a line, with a motor at the middle joint only (Sutton 1996).
 *
 * Same numbers as Gymnasium 1.4.0 under NumPy >= 2, bit for bit: state and arithmetic in double (the book's
 * equations, one Runge-Kutta step of 0.2 s), observation in float. The state after a reset is rounded to float,
 * and that observation comes from NumPy's own float sine and cosine. Resets are drawn from PCG64. The host ends
 * episodes at 500 steps.
 *
 * Config: none.
 * Threads: one instance, one thread at a time. */
#include "core/base/rng.h"
#include "envs/common.h"
#include "envs/draw.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_DIM = 6, DIM = 4 };

static const double PI = 3.141592653589793;
static const double SPEED1_MAX = 4 * 3.141592653589793, SPEED2_MAX = 9 * 3.141592653589793; /* [rad/s] */
static const double DT_S = 0.2;
static const double GRAVITY = 9.8; /* [m/s2] */
/* Both links: length 1 m, mass 1 kg, centre of mass at 0.5 m, inertia 1 kg m2. */

/* One arm; this is also what is saved. s = angles of the first link from hanging down and of the second from the
 * first [rad], and their speeds [rad/s]. */
typedef struct arm {
    double   s[DIM];
    double   sin2, cos2; /* of s[1]: the first stage of the next step needs them */
    sk_pcg64 rng;
} arm;

typedef struct acrobot {
    int n;
    arm arms[]; /* (n_envs) */
} acrobot;

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    if (sk__env_config_known(config, NULL, 0, err, err_size)) return -1;
    static const float highs[OBS_DIM] = {1, 1, 1, 1, 12.566371f, 28.274334f};
    static const float lows[OBS_DIM] = {-1, -1, -1, -1, -12.566371f, -28.274334f};
    spec->n_obs = 1;
    spec->obs[0] = (sk_env_field){.name = "obs", .dtype = SK_ENV_F32, .n_dims = 1, .shape = {OBS_DIM},
                                  .low = -28.274334f, .high = 28.274334f, .lows = lows, .highs = highs};
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "torque", .kind = SK_ENV_DISCRETE, .n = 3};
    spec->n_agents = 1;
    spec->max_episode_steps = 500;
    spec->reward_low = -1.0f;
    spec->reward_high = 0.0f;
    return 0;
}

static void destroy(void *self_v) { free(self_v); }

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    if (sk__env_config_known(config, NULL, 0, err, err_size)) return -1;
    acrobot *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(arm));
    if (!self) {
        snprintf(err, err_size, "out of memory for %d environments", n_envs);
        return -1;
    }
    self->n = n_envs;
    for (int i = 0; i < n_envs; i++) sk_pcg64_seed(&self->arms[i].rng, (uint64_t)i);
    *ret_self = self;
    return 0;
}

/* Cosine and sine of a float within 45 degrees as NumPy has them: polynomials in x^2 (minimax, below 0.9 ulp),
 * evaluated with fused multiply-adds. */
static float numpy_cosf(float x) {
    float x2 = x * x;
    float y = fmaf(0x1.98e616p-16f, x2, -0x1.6c06dcp-10f);
    y = fmaf(y, x2, 0x1.55553cp-05f);
    y = fmaf(y, x2, -0.5f);
    return fmaf(y, x2, 1.0f);
}
static float numpy_sinf(float x) {
    float x2 = x * x;
    float y = fmaf(0x1.7d3bbcp-19f, x2, -0x1.a06bbap-13f);
    y = fmaf(y, x2, 0x1.11119ap-07f);
    y = fmaf(y, x2, -0x1.555556p-03f);
    return fmaf(y * x2, x, x);
}

static int reset(void *self_v, int env, const uint64_t *seed, void *obs_v, uint8_t *mask) {
    (void)mask;
    arm   *self = &((acrobot *)self_v)->arms[env];
    float *obs = obs_v, s[DIM];
    if (seed) sk_pcg64_seed(&self->rng, *seed);
    for (int i = 0; i < DIM; i++) {
        s[i] = (float)sk_pcg64_uniform(&self->rng, -0.1, 0.1);
        self->s[i] = (double)s[i];
    }
    self->sin2 = sin(self->s[1]);
    self->cos2 = cos(self->s[1]);
    obs[0] = numpy_cosf(s[0]);
    obs[1] = numpy_sinf(s[0]);
    obs[2] = numpy_cosf(s[1]);
    obs[3] = numpy_sinf(s[1]);
    obs[4] = s[2];
    obs[5] = s[3];
    return 0;
}

/* ds/dt, in Gymnasium's order of operations; sin2 and cos2 are of s[1]. */
static inline void derive(const double s[DIM], double sin2, double cos2, double torque, double ret[DIM]) {
    double speed1 = s[2], speed2 = s[3];
    double d1 = 0.25 + (1.25 + cos2) + 1.0 + 1.0;
    double d2 = 0.25 + 0.5 * cos2 + 1.0;
    double phi2 = 0.5 * GRAVITY * cos(s[0] + s[1] - PI / 2.0);
    double phi1 = -0.5 * sk__env_square(speed2) * sin2 - speed2 * speed1 * sin2 +
                  1.5 * GRAVITY * cos(s[0] - PI / 2.0) + phi2;
    double accel2 = (torque + d2 / d1 * phi1 - 0.5 * sk__env_square(speed1) * sin2 - phi2) /
                    (1.25 - sk__env_square(d2) / d1);
    ret[0] = speed1;
    ret[1] = speed2;
    ret[2] = -(d2 * accel2 + phi1) / d1;
    ret[3] = accel2;
}

/* s + h k */
static inline void ahead(const double s[DIM], double h, const double k[DIM], double ret[DIM]) {
    for (int i = 0; i < DIM; i++) ret[i] = s[i] + h * k[i];
}

/* One step of the classical Runge-Kutta method. */
static inline void integrate(arm *self, double torque) {
    double *s = self->s, k1[DIM], k2[DIM], k3[DIM], k4[DIM], at[DIM];
    derive(s, self->sin2, self->cos2, torque, k1);
    ahead(s, DT_S / 2.0, k1, at);
    derive(at, sin(at[1]), cos(at[1]), torque, k2);
    ahead(s, DT_S / 2.0, k2, at);
    derive(at, sin(at[1]), cos(at[1]), torque, k3);
    ahead(s, DT_S, k3, at);
    derive(at, sin(at[1]), cos(at[1]), torque, k4);
    for (int i = 0; i < DIM; i++) s[i] += DT_S / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]);
}

static inline double wrap(double x) {
    while (x > PI) x -= 2 * PI;
    while (x < -PI) x += 2 * PI;
    return x;
}

static inline double bound(double x, double max) { return x < -max ? -max : x > max ? max : x; }

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    acrobot *self = self_v;
    float   *obs = io->obs;
    for (int i = 0; i < count; i++, obs += OBS_DIM) {
        arm *a = &self->arms[first + i];
        integrate(a, (double)(io->action[i].i - 1));
        a->s[0] = wrap(a->s[0]);
        a->s[1] = wrap(a->s[1]);
        a->s[2] = bound(a->s[2], SPEED1_MAX);
        a->s[3] = bound(a->s[3], SPEED2_MAX);
        double cos1 = cos(a->s[0]), sin1 = sin(a->s[0]);
        a->cos2 = cos(a->s[1]);
        a->sin2 = sin(a->s[1]);
        obs[0] = (float)cos1;
        obs[1] = (float)sin1;
        obs[2] = (float)a->cos2;
        obs[3] = (float)a->sin2;
        obs[4] = (float)a->s[2];
        obs[5] = (float)a->s[3];
        /* The tip's height above the upper joint; both links hang down at -2. */
        io->terminated[i] = -cos1 - cos(a->s[1] + a->s[0]) > 1.0;
        io->truncated[i] = 0;
        io->reward[i] = io->terminated[i] ? 0.0f : -1.0f;
    }
    return 0;
}

static size_t state_size(void *self) {
    (void)self;
    return sizeof(arm);
}

static int state_save(void *self_v, int env, void *bytes) {
    memcpy(bytes, &((acrobot *)self_v)->arms[env], sizeof(arm));
    return 0;
}

static int state_load(void *self_v, int env, const void *bytes) {
    arm saved;
    memcpy(&saved, bytes, sizeof saved);
    if (!sk_pcg64_is_sound(&saved.rng)) return -1;
    ((acrobot *)self_v)->arms[env] = saved;
    return 0;
}

static int render(void *self_v, int env, int *ret_width, int *ret_height, uint8_t *rgb) {
    static const sk_color paper = {255, 255, 255}, line = {150, 150, 150}, link1 = {0, 160, 160}, link2 = {0, 110, 160},
                          joint = {200, 180, 0};
    const double *s = ((acrobot *)self_v)->arms[env].s;
    if (sk__draw_size_only(ret_width, ret_height, rgb)) return 0;
    sk_canvas canvas = {.rgb = rgb, .scale = 90, .origin_x = SK_DRAW_WIDTH / 2, .origin_y = SK_DRAW_HEIGHT / 2};
    double    middle_x = sin(s[0]), middle_y = -cos(s[0]);
    double    tip_x = middle_x + sin(s[0] + s[1]), tip_y = middle_y - cos(s[0] + s[1]);
    sk__draw_fill(&canvas, paper);
    sk__draw_line(&canvas, -2.2, 1, 2.2, 1, 0.02, line); /* to be passed by the tip */
    sk__draw_line(&canvas, 0, 0, middle_x, middle_y, 0.2, link1);
    sk__draw_line(&canvas, middle_x, middle_y, tip_x, tip_y, 0.2, link2);
    sk__draw_disc(&canvas, 0, 0, 0.08, joint);
    sk__draw_disc(&canvas, middle_x, middle_y, 0.08, joint);
    return 0;
}

const sk_env_api sk_env_acrobot = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Acrobot-v1",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE | SK_ENV_CAP_RENDER,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
    .render = render,
};
