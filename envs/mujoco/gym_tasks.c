/* The MuJoCo environments (v5) of Gymnasium 1.4.0 with their default arguments; see docs/mujoco.md.
 *
 * Numbers are Gymnasium's under NumPy >= 2: observations and rewards are made in double and handed out as float. What
 * is computed from the action alone is float, since actions are float32 arrays: there the weight is a float too. */
#include "envs/common.h"
#include "envs/mujoco/gym_task.h"
#include "envs/mujoco/mujoco_names.h"

/* ---- sums of squares in NumPy's order: below 8 one by one, else in 8 lanes that are added as a tree, then the rest.
 * (From 129 elements on NumPy splits; nothing here is that long.) ---- */

static float square_sum_f32(const float *x, int n) {
    float sum = 0.0f;
    int   i = 0;
    if (n >= 8) {
        float lane[8];
        for (int k = 0; k < 8; k++) lane[k] = x[k] * x[k];
        for (i = 8; i + 8 <= n; i += 8) {
            for (int k = 0; k < 8; k++) lane[k] += x[i + k] * x[i + k];
        }
        sum = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    }
    for (; i < n; i++) sum += x[i] * x[i];
    return sum;
}

static double square_sum_f64(const double *x, int n, double clip) {
    double sum = 0.0, lane[8] = {0};
    int    n_lanes = n / 8 * 8;
    for (int i = 0; i < n; i++) {
        double value = clip > 0.0 ? fmin(fmax(x[i], -clip), clip) : x[i];
        if (i < n_lanes) lane[i % 8] += value * value;
        if (i == n_lanes - 1) {
            sum = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
        }
        if (i >= n_lanes) sum += value * value;
    }
    return sum;
}

static double sum_f64(const double *x, int n) {
    double sum = 0.0, lane[8] = {0};
    int    n_lanes = n / 8 * 8;
    for (int i = 0; i < n_lanes; i++) lane[i % 8] += x[i];
    if (n_lanes > 0) sum = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    for (int i = n_lanes; i < n; i++) sum += x[i];
    return sum;
}

static double distance(const double *a, const double *b) {
    double x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
    return sqrt(x * x + y * y + z * z);
}

/* ---- coordinates ---- */

static double root_x(const sk_gym_sim *sim) { return sim->d->qpos[0]; }

/* Of the body's frame, which is that of the last substep's beginning. */
static double torso_x(const sk_gym_sim *sim) { return sim->d->xpos[3 * sim->body[0]]; }

/* Of the centre of mass. */
static double mass_x(const sk_gym_sim *sim) {
    double moment = 0.0;
    for (int b = 0; b < sim->m->nbody; b++) moment += sim->m->body_mass[b] * sim->d->xipos[3 * b];
    return moment / sum_f64(sim->m->body_mass, (int)sim->m->nbody);
}

/* ---- rewards ---- */

static double cheetah_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    (void)sim, (void)terminated;
    return rate - (double)(0.1f * square_sum_f32(action, 6));
}

static double swimmer_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    (void)sim, (void)terminated;
    return rate - (double)(1e-4f * square_sum_f32(action, 2));
}

static double hopper_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    const mjData *d = sim->d;
    bool healthy = d->qpos[1] > 0.7 && -0.2 < d->qpos[2] && d->qpos[2] < 0.2;
    for (int i = 2; i < 6; i++) healthy &= -100.0 < d->qpos[i] && d->qpos[i] < 100.0;
    for (int i = 0; i < 6; i++) healthy &= -100.0 < d->qvel[i] && d->qvel[i] < 100.0;
    *terminated = !healthy;
    return (rate + (healthy ? 1.0 : 0.0)) - (double)(1e-3f * square_sum_f32(action, 3));
}

static double walker_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    double z = sim->d->qpos[1], angle = sim->d->qpos[2];
    bool   healthy = 0.8 < z && z < 2.0 && -1.0 < angle && angle < 1.0;
    *terminated = !healthy;
    return (rate + (healthy ? 1.0 : 0.0)) - (double)(1e-3f * square_sum_f32(action, 6));
}

static double ant_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    double z = sim->d->qpos[2];
    bool   healthy = 0.2 <= z && z <= 1.0;
    *terminated = !healthy;
    double contact = 5e-4 * square_sum_f64(sim->d->cfrc_ext, 6 * (int)sim->m->nbody, 1.0);
    return (rate + (healthy ? 1.0 : 0.0)) - ((double)(0.5f * square_sum_f32(action, 8)) + contact);
}

static double humanoid_ctrl_cost(const sk_gym_sim *sim) { return 0.1 * square_sum_f64(sim->d->ctrl, 17, 0.0); }

static double humanoid_contact_cost(const sk_gym_sim *sim) {
    double cost = 5e-7 * square_sum_f64(sim->d->cfrc_ext, 6 * (int)sim->m->nbody, 0.0);
    return cost > 10.0 ? 10.0 : cost;
}

static double humanoid_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    (void)action;
    double z = sim->d->qpos[2];
    bool   healthy = 1.0 < z && z < 2.0;
    *terminated = !healthy;
    return (1.25 * rate + (healthy ? 5.0 : 0.0)) - (humanoid_ctrl_cost(sim) + humanoid_contact_cost(sim));
}

/* Height over one *substep*, as Gymnasium has it. */
static double standup_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    (void)action, (void)rate, (void)terminated;
    double up = sim->d->qpos[2] / sim->m->opt.timestep;
    return up - humanoid_ctrl_cost(sim) - humanoid_contact_cost(sim) + 1.0;
}

static double reacher_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    (void)rate, (void)terminated;
    const double *xpos = sim->d->xpos;
    return -distance(xpos + 3 * sim->body[0], xpos + 3 * sim->body[1]) + (double)-square_sum_f32(action, 2);
}

/* Bodies: the arm's tip, the object, the goal. */
static double pusher_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    (void)rate, (void)terminated;
    const double *tip = sim->d->xpos + 3 * sim->body[0], *object = sim->d->xpos + 3 * sim->body[1];
    double near = -distance(object, tip) * 0.5, far = -distance(object, sim->d->xpos + 3 * sim->body[2]);
    return far + (double)(-square_sum_f32(action, 7) * 0.1f) + near;
}

static double pendulum_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    (void)action, (void)rate;
    *terminated = fabs(sim->d->qpos[1]) > 0.2;
    return *terminated ? 0.0 : 1.0;
}

static double double_pendulum_reward(const sk_gym_sim *sim, const float *action, double rate, bool *terminated) {
    (void)action, (void)rate;
    double x = sim->d->site_xpos[0], y = sim->d->site_xpos[2]; /* of the tip */
    *terminated = y <= 1.0;
    double far = 0.01 * sk__env_square(x) + sk__env_square(y - 2.0);
    double fast = 1e-3 * sk__env_square(sim->d->qvel[1]) + 5e-3 * sk__env_square(sim->d->qvel[2]);
    return (*terminated ? 0.0 : 10.0) - far - fast;
}

/* ---- placement after a reset ---- */

static double plane_norm(double x, double y) { return sqrt(x * x + y * y); }

/* The goal anywhere in a disc, the arm nearly straight. */
static void reacher_place(const mjModel *m, sk_pcg64 *rng, double *qpos, double *qvel) {
    for (int i = 0; i < m->nq; i++) qpos[i] = sk_pcg64_uniform(rng, -0.1, 0.1) + qpos[i];
    do {
        qpos[2] = sk_pcg64_uniform(rng, -0.2, 0.2);
        qpos[3] = sk_pcg64_uniform(rng, -0.2, 0.2);
    } while (!(plane_norm(qpos[2], qpos[3]) < 0.2));
    for (int i = 0; i < m->nv; i++) qvel[i] = 0.0 + sk_pcg64_uniform(rng, -0.005, 0.005);
    qvel[2] = qvel[3] = 0.0;
}

/* The object not too near to the goal, which is at 0. */
static void pusher_place(const mjModel *m, sk_pcg64 *rng, double *qpos, double *qvel) {
    do {
        qpos[7] = sk_pcg64_uniform(rng, -0.3, 0.0);
        qpos[8] = sk_pcg64_uniform(rng, -0.2, 0.2);
    } while (!(plane_norm(qpos[7], qpos[8]) > 0.17));
    qpos[9] = qpos[10] = 0.0;
    for (int i = 0; i < m->nv; i++) qvel[i] = 0.0 + sk_pcg64_uniform(rng, -0.005, 0.005);
    for (int i = 7; i < 11; i++) qvel[i] = 0.0;
}

/* ---- the table ---- */

static const sk_gym_task half_cheetah = {
    .name = "HalfCheetah-v5", .file = "half_cheetah.xml", .frame_skip = 5, .max_episode_steps = 1000,
    .nq = 9, .nv = 9, .nu = 6, .action_bound = 1.0f,
    .obs = {{SK_GYM_QPOS, 1, 8, 0}, {SK_GYM_QVEL, 0, 9, 0}},
    .noise = 0.1, .normal_speed = true, .coordinate = root_x, .reward = cheetah_reward};

static const sk_gym_task hopper = {
    .name = "Hopper-v5", .file = "hopper.xml", .frame_skip = 4, .max_episode_steps = 1000,
    .nq = 6, .nv = 6, .nu = 3, .action_bound = 1.0f,
    .obs = {{SK_GYM_QPOS, 1, 5, 0}, {SK_GYM_QVEL, 0, 6, 10}},
    .noise = 5e-3, .coordinate = root_x, .reward = hopper_reward};

static const sk_gym_task walker2d = {
    .name = "Walker2d-v5", .file = "walker2d_v5.xml", .frame_skip = 4, .max_episode_steps = 1000,
    .nq = 9, .nv = 9, .nu = 6, .action_bound = 1.0f,
    .obs = {{SK_GYM_QPOS, 1, 8, 0}, {SK_GYM_QVEL, 0, 9, 10}},
    .noise = 5e-3, .coordinate = root_x, .reward = walker_reward};

static const sk_gym_task ant = {
    .name = "Ant-v5", .file = "ant.xml", .frame_skip = 5, .max_episode_steps = 1000,
    .nq = 15, .nv = 14, .nu = 8, .action_bound = 1.0f, .bodies = {"torso"},
    .obs = {{SK_GYM_QPOS, 2, 13, 0}, {SK_GYM_QVEL, 0, 14, 0}, {SK_GYM_CFRC_EXT, 6, 78, 1}},
    .reset_stage = SK_GYM_KINEMATICS, .uses_contact_forces = true,
    .noise = 0.1, .normal_speed = true, .coordinate = torso_x, .reward = ant_reward};

/* The world's body is left out of the fields by body. */
#define HUMANOID_OBS                                                                                                  \
    {{SK_GYM_QPOS, 2, 22, 0}, {SK_GYM_QVEL, 0, 23, 0}, {SK_GYM_CINERT, 10, 130, 0}, {SK_GYM_CVEL, 6, 78, 0},          \
     {SK_GYM_QFRC_ACTUATOR, 6, 17, 0}, {SK_GYM_CFRC_EXT, 6, 78, 0}}

static const sk_gym_task humanoid = {
    .name = "Humanoid-v5", .file = "humanoid.xml", .frame_skip = 5, .max_episode_steps = 1000,
    .nq = 24, .nv = 23, .nu = 17, .action_bound = 0.4f, .obs = HUMANOID_OBS,
    .reset_stage = SK_GYM_KINEMATICS, .uses_contact_forces = true,
    .noise = 1e-2, .coordinate = mass_x, .reward = humanoid_reward};

static const sk_gym_task humanoid_standup = {
    .name = "HumanoidStandup-v5", .file = "humanoidstandup.xml", .frame_skip = 5, .max_episode_steps = 1000,
    .nq = 24, .nv = 23, .nu = 17, .action_bound = 0.4f, .obs = HUMANOID_OBS,
    .reset_stage = SK_GYM_KINEMATICS, .uses_contact_forces = true,
    .noise = 1e-2, .reward = standup_reward};

static const sk_gym_task swimmer = {
    .name = "Swimmer-v5", .file = "swimmer.xml", .frame_skip = 4, .max_episode_steps = 1000,
    .nq = 5, .nv = 5, .nu = 2, .action_bound = 1.0f,
    .obs = {{SK_GYM_QPOS, 2, 3, 0}, {SK_GYM_QVEL, 0, 5, 0}},
    .noise = 0.1, .coordinate = root_x, .reward = swimmer_reward};

static const sk_gym_task reacher = {
    .name = "Reacher-v5", .file = "reacher.xml", .frame_skip = 2, .max_episode_steps = 50,
    .nq = 4, .nv = 4, .nu = 2, .action_bound = 1.0f, .bodies = {"fingertip", "target"},
    .obs = {{SK_GYM_COS_QPOS, 0, 2, 0}, {SK_GYM_SIN_QPOS, 0, 2, 0}, {SK_GYM_QPOS, 2, 2, 0}, {SK_GYM_QVEL, 0, 2, 0},
            {SK_GYM_XPOS_DIFF, 0, 2, 0}},
    .reset_stage = SK_GYM_KINEMATICS, .place = reacher_place, .reward = reacher_reward};

static const sk_gym_task pusher = {
    .name = "Pusher-v5", .file = "pusher_v5.xml", .frame_skip = 5, .max_episode_steps = 100,
    .nq = 11, .nv = 11, .nu = 7, .action_bound = 2.0f, .bodies = {"tips_arm", "object", "goal"},
    .obs = {{SK_GYM_QPOS, 0, 7, 0}, {SK_GYM_QVEL, 0, 7, 0}, {SK_GYM_XPOS, 0, 3, 0}, {SK_GYM_XPOS, 1, 3, 0},
            {SK_GYM_XPOS, 2, 3, 0}},
    .reset_stage = SK_GYM_KINEMATICS, .place = pusher_place, .reward = pusher_reward};

static const sk_gym_task inverted_pendulum = {
    .name = "InvertedPendulum-v5", .file = "inverted_pendulum.xml", .frame_skip = 2, .max_episode_steps = 1000,
    .nq = 2, .nv = 2, .nu = 1, .action_bound = 3.0f,
    .obs = {{SK_GYM_QPOS, 0, 2, 0}, {SK_GYM_QVEL, 0, 2, 0}},
    .noise = 0.01, .reward = pendulum_reward};

static const sk_gym_task inverted_double_pendulum = {
    .name = "InvertedDoublePendulum-v5", .file = "inverted_double_pendulum.xml", .frame_skip = 5,
    .max_episode_steps = 1000, .nq = 3, .nv = 3, .nu = 1, .action_bound = 1.0f,
    .obs = {{SK_GYM_QPOS, 0, 1, 0}, {SK_GYM_SIN_QPOS, 1, 2, 0}, {SK_GYM_COS_QPOS, 1, 2, 0}, {SK_GYM_QVEL, 0, 3, 10},
            {SK_GYM_QFRC_CONSTRAINT, 0, 1, 10}},
    .reset_stage = SK_GYM_FORWARD, .noise = 0.1, .normal_speed = true, .reward = double_pendulum_reward};

/* An sk_env_api by task: describe and create are not told which environment they are of, so each has its own. */
#define SK_GYM_API(id, env_name)                                                                                      \
    static int describe_##id(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {            \
        return sk__gym_describe(&id, config, spec, err, err_size);                                                    \
    }                                                                                                                 \
    static int create_##id(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {    \
        return sk__gym_create(&id, config, n_envs, ret_self, err, err_size);                                          \
    }                                                                                                                 \
    extern const sk_env_api sk_env_##id;                                                                              \
    const sk_env_api sk_env_##id = {                                                                                  \
        .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = env_name,                       \
        .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE | SK_ENV_CAP_RENDER, .describe = describe_##id,           \
        .create = create_##id, .render = sk__gym_render, .destroy = sk__gym_destroy,                                  \
        .reset = sk__gym_reset, .step = sk__gym_step, .state_size = sk__gym_state_size,                               \
        .state_save = sk__gym_state_save, .state_load = sk__gym_state_load, .last_error = sk__gym_last_error};
SK_MUJOCO_ENVS(SK_GYM_API)
