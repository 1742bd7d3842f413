/* user_env: a robot of the user's own: an MJCF file, and expressions for what it observes, what it is rewarded for and
 * when an episode ends (docs/own_robot.md). Named "mujoco", or "mujoco:FILE.xml".
 *
 * Config (as texts; lists separated by ";"): model, frame_skip (1), observation ("qpos; qvel"), reward, terminate,
 * keyframe, reset_noise ("qpos = 0.01; joint/target.qpos = 0.2"), action_limit, render_width, render_height.
 *
 * What belongs to which instant. After a step, positions and velocities (xpos, sensors of these stages, ...) are those
 * of the new qpos and qvel. Accelerations and forces (qacc, accelerometers, touch, actuator forces, cfrc) are those
 * that acted during the last physics step. mj_step ends before the former are computed; the next one begins with them.
 * So the halves of MuJoCo's step are run in the other order, mj_step2 and then mj_step1, from a state whose mj_step1 is
 * done: the same states, and nothing is computed twice. Only RK4 has no halves: there mj_step1 follows the last
 * mj_step, and costs up to 1 / (4 x frame_skip) more.
 *
 * Threads: one instance, one thread at a time. */
#include "core/base/rng.h"
#include "envs/mujoco/render.h"
#include "envs/mujoco/user_robot.h"
#include "skiff/env.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EPISODE_STEPS = 1000 };

typedef struct robot_env {
    mjData  *data;
    sk_pcg64 rng;
    double  *kept;                    /* (kept_size) what rate() remembers              */
    double  *bases[SK_ROBOT_N_BASES]; /* of data and of the instance                    */
} robot_env;

typedef struct instance {
    sk_robot   robot;
    int        n_envs, state_numbers; /* doubles of mjData in a saved state             */
    double    *memory;                /* of the expressions; the arrays below follow it */
    double    *action, *velocity, *kept, *state; /* kept: (n_envs x kept_size)          */
    sk_mujoco_view *view;             /* NULL: nothing was drawn yet                    */
    char       error[384];
    robot_env *envs;                  /* (n_envs)                                       */
} instance;

/* ---- description ---- */

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    sk_robot  robot;
    sk_error  error = {0};
    sk_status status = sk__robot_init(&robot, config, &error);
    if (status != SK_OK) {
        snprintf(err, err_size, "%s", error.msg);
        sk__robot_deinit(&robot);
        return -1;
    }
    spec->n_obs = robot.observation.n;
    for (int i = 0; i < spec->n_obs; i++) {
        int length = robot.observation.place[i].length;
        spec->obs[i] = (sk_env_field){.dtype = SK_ENV_F32, .n_dims = length > 1, .shape = {length > 1 ? length : 0},
                                      .low = -INFINITY, .high = INFINITY};
        memcpy(spec->obs[i].name, robot.observation.name[i], SK_ENV_NAME_MAX);
    }
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "action", .kind = SK_ENV_BOX, .n = robot.nu,
                                           .low = robot.action_low[0], .high = robot.action_high[0],
                                           .lows = robot.action_low, .highs = robot.action_high};
    spec->n_metrics = robot.reward.n;
    memcpy(spec->metric_name, robot.reward.name, sizeof robot.reward.name);
    spec->n_agents = 1;
    spec->max_episode_steps = MAX_EPISODE_STEPS;
    sk__robot_deinit(&robot);
    return 0;
}

/* ---- instances ---- */

static void destroy(void *self_v) {
    instance *self = self_v;
    if (!self) return;
    sk__mujoco_view_destroy(&self->view);
    for (int i = 0; self->envs && i < self->n_envs; i++) {
        if (self->envs[i].data) self->robot.model->lib->mj_deleteData(self->envs[i].data);
    }
    free(self->envs);
    free(self->memory);
    sk__robot_deinit(&self->robot);
    free(self);
}

/* All doubles of an instance in one block. */
static sk_status allot(instance *self, sk_error *reterr) {
    size_t memory = (size_t)sk_expr_memory_size(self->robot.expr), nu = (size_t)self->robot.nu;
    size_t velocity = 6 * (size_t)self->robot.names.n_velocities;
    size_t kept = (size_t)sk_expr_kept_size(self->robot.expr) * (size_t)self->n_envs;
    size_t state = (size_t)self->state_numbers;
    self->memory = calloc(memory + nu + velocity + kept + state, sizeof *self->memory);
    self->envs = calloc((size_t)self->n_envs, sizeof *self->envs);
    if (!self->memory || !self->envs)
        return SK_FAIL(reterr, SK_ENOMEM, "out of memory for %d environments", self->n_envs);
    self->action = self->memory + memory;
    self->velocity = self->action + nu;
    self->kept = self->velocity + velocity;
    self->state = self->kept + kept;
    return SK_OK;
}

static sk_status make(instance *self, const sk_env_config *config, sk_error *reterr) {
    SK_TRY(sk__robot_init(&self->robot, config, reterr));
    const sk_robot *robot = &self->robot;
    self->state_numbers = robot->model->lib->mj_stateSize(robot->model->m, mjSTATE_INTEGRATION);
    SK_TRY(allot(self, reterr));
    sk_expr_begin(robot->expr, self->memory);
    for (int i = 0; i < self->n_envs; i++) {
        robot_env *env = &self->envs[i];
        SK_TRY(sk__mujoco_data_create(robot->model, &env->data, reterr));
        sk_pcg64_seed(&env->rng, (uint64_t)i);
        sk__robot_bases(env->data, env->bases);
        env->bases[SK_ROBOT_MEMORY] = self->memory;
        env->bases[SK_ROBOT_ACTION] = self->action;
        env->bases[SK_ROBOT_DT] = &self->robot.dt;
        env->bases[SK_ROBOT_VELOCITY] = self->velocity;
        env->kept = self->kept + (size_t)i * (size_t)sk_expr_kept_size(robot->expr);
    }
    return SK_OK;
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    sk_error  error = {0};
    instance *self = calloc(1, sizeof *self);
    if (!self) {
        snprintf(err, err_size, "out of memory for %d environments", n_envs);
        return -1;
    }
    self->n_envs = n_envs;
    if (make(self, config, &error) != SK_OK) {
        snprintf(err, err_size, "%s", error.msg);
        destroy(self);
        return -1;
    }
    *ret_self = self;
    return 0;
}

/* ---- physics ---- */

/* From a state with mj_step1 done to the next such. */
static void advance(const sk_robot *robot, mjData *d) {
    const mjModel       *m = robot->model->m;
    const sk_mujoco_lib *lib = robot->model->lib;
    bool has_halves = m->opt.integrator != mjINT_RK4;
    for (int i = 0; i < robot->frame_skip; i++) {
        if (has_halves) lib->mj_step2(m, d);
        else lib->mj_step(m, d);
        bool is_last = i == robot->frame_skip - 1;
        if (is_last && robot->names.uses_cfrc) lib->mj_rnePostConstraint(m, d); /* of the forces just found */
        if (has_halves || is_last) lib->mj_step1(m, d);
    }
}

/* Noise on a quaternion leaves it without length 1. */
static void normalize_quaternions(const mjModel *m, double *qpos) {
    for (int j = 0; j < m->njnt; j++) {
        if (m->jnt_type[j] != mjJNT_FREE && m->jnt_type[j] != mjJNT_BALL) continue;
        double *q = qpos + m->jnt_qposadr[j] + (m->jnt_type[j] == mjJNT_FREE ? 3 : 0);
        double  norm = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
        for (int k = 0; k < 4; k++) q[k] = norm > 1e-10 ? q[k] / norm : k == 0;
    }
}

static void begin_episode(const sk_robot *robot, mjData *d, sk_pcg64 *rng) {
    const mjModel       *m = robot->model->m;
    const sk_mujoco_lib *lib = robot->model->lib;
    if (robot->keyframe >= 0) lib->mj_resetDataKeyframe(m, d, robot->keyframe);
    else lib->mj_resetData(m, d);
    for (int i = 0; i < m->nq; i++) {
        if (robot->qpos_noise[i] > 0) d->qpos[i] += sk_pcg64_uniform(rng, -robot->qpos_noise[i], robot->qpos_noise[i]);
    }
    for (int i = 0; i < m->nv; i++) {
        if (robot->qvel_noise[i] > 0) d->qvel[i] += sk_pcg64_uniform(rng, -robot->qvel_noise[i], robot->qvel_noise[i]);
    }
    normalize_quaternions(m, d->qpos);
    lib->mj_forward(m, d);
    if (robot->names.uses_cfrc) lib->mj_rnePostConstraint(m, d);
}

/* ---- what is seen of it ---- */

/* Run all expressions. */
static void evaluate(instance *self, robot_env *env, bool first) {
    const sk_robot *robot = &self->robot;
    for (int i = 0; i < robot->names.n_velocities; i++)
        robot->model->lib->mj_objectVelocity(robot->model->m, env->data, robot->names.velocity[i].type,
                                             robot->names.velocity[i].id, self->velocity + 6 * i, 0);
    sk_expr_run_params params = {.bases = env->bases, .kept = env->kept, .dt = robot->dt, .first = first};
    sk_expr_run(robot->expr, &params);
}

static void write_floats(const robot_env *env, const sk_robot_list *list, float *to) {
    for (int i = 0; i < list->n; i++) {
        const double *from = env->bases[list->place[i].base] + list->place[i].offset;
        for (int k = 0; k < list->place[i].length; k++) *to++ = (float)from[k];
    }
}

static double number(const robot_env *env, const sk_robot_list *list, int i) {
    return env->bases[list->place[i].base][list->place[i].offset];
}

/* ---- the interface ---- */

/* Begin an episode of one environment. False, and a text in self->error: it went wrong. */
static bool begin(instance *self, robot_env *env) {
    volatile bool   good = true;
    sk_mujoco_guard guard;
    memset(self->action, 0, (size_t)self->robot.nu * sizeof *self->action);
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) {
        begin_episode(&self->robot, env->data, &env->rng);
        evaluate(self, env, true);
    } else {
        good = false;
    }
    sk__mujoco_guard_leave(&guard);
    if (!good) snprintf(self->error, sizeof self->error, "reset of %s: %s", self->robot.names.file, guard.text);
    return good;
}

static int reset(void *self_v, int i, const uint64_t *seed, void *obs, uint8_t *mask) {
    (void)mask;
    instance  *self = self_v;
    robot_env *env = &self->envs[i];
    if (seed) sk_pcg64_seed(&env->rng, *seed);
    if (!begin(self, env)) return -1;
    write_floats(env, &self->robot.observation, obs);
    return 0;
}

/* Simulate one environment with self->action. False, and a text in self->error: it went wrong. */
static bool simulate(instance *self, robot_env *env) {
    const sk_robot *robot = &self->robot;
    char            text[256];
    volatile bool   good = true;
    sk_mujoco_guard guard;
    memcpy(env->data->ctrl, self->action, (size_t)robot->nu * sizeof *self->action);
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) {
        advance(robot, env->data);
        evaluate(self, env, false);
    } else {
        good = false;
        robot->model->lib->mj_resetData(robot->model->m, env->data);
    }
    sk__mujoco_guard_leave(&guard);
    if (!good) snprintf(text, sizeof text, "%s", guard.text);
    else good = sk__mujoco_step_was_good(robot->model, env->data, text, sizeof text);
    if (!good) snprintf(self->error, sizeof self->error, "step of %s: %s", robot->names.file, text);
    return good;
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    instance       *self = self_v;
    const sk_robot *robot = &self->robot;
    size_t          nu = (size_t)robot->nu, obs_dim = (size_t)robot->obs_dim;
    memset(io->truncated, 0, (size_t)count);
    for (int row = 0; row < count; row++) {
        robot_env *env = &self->envs[first + row];
        double     reward = 0.0;
        uint8_t    ended = 0;
        for (size_t a = 0; a < nu; a++) self->action[a] = (double)io->action[(size_t)row * nu + a].f;
        bool good = simulate(self, env);
        for (int i = 0; i < robot->reward.n; i++) reward += number(env, &robot->reward, i);
        for (int i = 0; i < robot->terminate.n; i++) ended |= number(env, &robot->terminate, i) != 0.0;
        write_floats(env, &robot->observation, (float *)io->obs + (size_t)row * obs_dim);
        write_floats(env, &robot->reward, io->metrics + (size_t)row * (size_t)robot->reward.n);
        io->reward[row] = good ? (float)reward : 0.0f;
        io->terminated[row] = good && ended;
        if (!good) io->failed[row] = 1;
    }
    return 0;
}

/* ---- states ---- */

/* A saved state: the random stream, the numbers of mjData, what rate() remembers. */
static size_t state_size(void *self_v) {
    instance *self = self_v;
    size_t    numbers = (size_t)self->state_numbers + (size_t)sk_expr_kept_size(self->robot.expr);
    return sizeof(sk_pcg64) + numbers * sizeof(double);
}

static int state_save(void *self_v, int i, void *bytes) {
    instance       *self = self_v;
    const robot_env *env = &self->envs[i];
    size_t          size = (size_t)self->state_numbers * sizeof *self->state;
    unsigned char  *to = bytes;
    self->robot.model->lib->mj_getState(self->robot.model->m, env->data, self->state, mjSTATE_INTEGRATION);
    memcpy(to, &env->rng, sizeof env->rng);
    memcpy(to + sizeof env->rng, self->state, size);
    size_t kept = (size_t)sk_expr_kept_size(self->robot.expr) * sizeof *env->kept;
    memcpy(to + sizeof env->rng + size, env->kept, kept);
    return 0;
}

static int state_load(void *self_v, int i, const void *bytes) {
    instance            *self = self_v;
    robot_env           *env = &self->envs[i];
    const mjModel       *m = self->robot.model->m;
    const sk_mujoco_lib *lib = self->robot.model->lib;
    const unsigned char *from = bytes;
    size_t               size = (size_t)self->state_numbers * sizeof *self->state;
    sk_pcg64             rng;
    volatile bool        good = true;
    sk_mujoco_guard      guard;
    memcpy(&rng, from, sizeof rng);
    if (!sk_pcg64_is_sound(&rng)) {
        snprintf(self->error, sizeof self->error, "a saved state has no random stream");
        return -1;
    }
    env->rng = rng;
    memcpy(self->state, from + sizeof rng, size);
    memcpy(env->kept, from + sizeof rng + size, (size_t)sk_expr_kept_size(self->robot.expr) * sizeof *env->kept);
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) {
        lib->mj_resetData(m, env->data);
        lib->mj_setState(m, env->data, self->state, mjSTATE_INTEGRATION);
        lib->mj_step1(m, env->data);
    } else {
        good = false;
    }
    sk__mujoco_guard_leave(&guard);
    if (!good) snprintf(self->error, sizeof self->error, "a saved state: %s", guard.text);
    return good ? 0 : -1;
}

/* ---- pictures ---- */

static sk_status draw(instance *self, int i, uint8_t *rgb, sk_error *reterr) {
    const sk_robot *robot = &self->robot;
    if (!self->view)
        SK_TRY(sk__mujoco_view_create(robot->model, robot->render_width, robot->render_height, &self->view, reterr));
    robot->model->lib->mj_getState(robot->model->m, self->envs[i].data, self->state, mjSTATE_INTEGRATION);
    return sk__mujoco_view_draw(self->view, self->state, mjSTATE_INTEGRATION, rgb, reterr);
}

static int render(void *self_v, int i, int *width, int *height, uint8_t *rgb) {
    instance *self = self_v;
    sk_error  error = {0};
    *width = self->robot.render_width;
    *height = self->robot.render_height;
    if (!rgb || draw(self, i, rgb, &error) == SK_OK) return 0;
    snprintf(self->error, sizeof self->error, "%.*s", (int)sizeof self->error - 1, error.msg);
    return -1;
}

static const char *last_error(void *self_v) { return ((instance *)self_v)->error; }

extern const sk_env_api sk_env_mujoco;
const sk_env_api        sk_env_mujoco = {
    .abi_version = SK_ENV_ABI_VERSION,
    .struct_size = sizeof(sk_env_api),
    .name = "mujoco",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE | SK_ENV_CAP_RENDER,
    .describe = describe,
    .create = create,
    .destroy = destroy,
    .reset = reset,
    .step = step,
    .state_size = state_size,
    .state_save = state_save,
    .state_load = state_load,
    .render = render,
    .last_error = last_error,
};
