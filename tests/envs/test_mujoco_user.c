/* Robots of the user's own: what they observe and are rewarded for against the fields of an mjData that this test steps
 * itself, and what is refused in which words. Skipped where skiff was built without MuJoCo. */
#include "envs/mujoco_paths.h"
#include <criterion/criterion.h>

#ifndef SK_HAS_MUJOCO
Test(mujoco_user, needs_mujoco) { cr_skip_test("skiff was built without MuJoCo"); }
#else

#include "core/base/config.h"
#include "envs/mujoco/mujoco_lib.h"
#include "envs/registry.h"
#include "rl/env.h"
#include "rl/runner_arg.h"
#include "rl/train_config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OBS_MAX = 64, ENVS_MAX = 3, PAIRS_MAX = 9, NU = 2 };

/* A box that falls on the floor, with an arm and a slide; something of every kind. %s: the integrator; %s: the limits
 * of the second actuator. */
static const char MODEL[] =
    "<mujoco>\n"
    "<option timestep='0.004' integrator='%s'/>\n"
    "<worldbody>\n"
    "  <geom name='floor' type='plane' size='5 5 .1'/>\n"
    "  <body name='torso' pos='0 0 .3'>\n"
    "    <freejoint name='root'/>\n"
    "    <geom name='box' type='box' size='.1 .1 .05' mass='1'/>\n"
    "    <site name='imu' pos='.05 0 0'/>\n"
    "    <body name='left arm' pos='.1 0 .05'>\n"
    "      <joint name='elbow' axis='0 1 0' damping='.1'/>\n"
    "      <geom name='rod' type='capsule' fromto='0 0 0 .2 0 0' size='.02' mass='.2'/>\n"
    "      <site name='tip' pos='.2 0 0'/>\n"
    "    </body>\n"
    "  </body>\n"
    "  <body name='target' pos='1 0 .5'>\n"
    "    <joint name='rail' type='slide' axis='1 0 0' damping='1'/>\n"
    "    <geom name='ball' size='.03' mass='.1'/>\n"
    "  </body>\n"
    "</worldbody>\n"
    "<tendon><fixed name='cable'><joint joint='elbow' coef='.5'/></fixed></tendon>\n"
    "<actuator>\n"
    "  <motor name='bend' joint='elbow' ctrllimited='true' ctrlrange='-1 2'/>\n"
    "  <motor name='push' joint='rail' %s/>\n"
    "</actuator>\n"
    "<sensor><accelerometer name='accel' site='imu'/><gyro name='gyro' site='imu'/></sensor>\n"
    "<keyframe><key name='low' qpos='0 0 .06 1 0 0 0 .5 .2'/></keyframe>\n"
    "</mujoco>\n";

static const char LIMITS[] = "ctrllimited='true' ctrlrange='-3 3'";

static char folder[] = "/tmp/skiff_robot_XXXXXX", path[64];

static void write_model(const char *format, const char *integrator, const char *limits) {
    char text[4096];
    int  n = snprintf(text, sizeof text, format, integrator, limits);
    cr_assert(n > 0 && (size_t)n < sizeof text);
    if (!path[0]) {
        cr_assert_not_null(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/arm.xml", folder);
    }
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static void remove_model(void) {
    if (!path[0]) return;
    unlink(path);
    rmdir(folder);
}

TestSuite(mujoco_user, .fini = remove_model);

/* ---- an instance ---- */

typedef struct rig {
    const sk_env_api *api;
    void             *self;
    int               n, obs_dim;
    sk_env_spec       spec;
    float             obs[ENVS_MAX * OBS_MAX], reward[ENVS_MAX], metrics[ENVS_MAX * SK_ENV_FIELDS_MAX];
    sk_env_slot       action[ENVS_MAX * NU];
    uint8_t           terminated[ENVS_MAX], truncated[ENVS_MAX], active[ENVS_MAX], failed[ENVS_MAX];
} rig;

/* "name", "value", ..., NULL. */
typedef const char *const pairs[2 * PAIRS_MAX + 1];

static sk_env_config config_of(const char *const *list, const char **names, const char **values) {
    int n = 0;
    names[n] = "model";
    values[n++] = path;
    for (; *list; list += 2) {
        names[n] = list[0];
        values[n++] = list[1];
    }
    return (sk_env_config){.n = n, .names = names, .values = values};
}

static void rig_init(rig *self, int n, const char *const *list, uint64_t seed) {
    const char   *names[PAIRS_MAX + 1], *values[PAIRS_MAX + 1], *id;
    sk_env_config config = config_of(list, names, values);
    char          err[512] = "";
    *self = (rig){.api = sk_env_family("mujoco", &id), .n = n};
    cr_assert(self->api && !id);
    self->spec.struct_size = sizeof self->spec;
    cr_assert_eq(self->api->describe(&config, &self->spec, err, sizeof err), 0, "%s", err);
    cr_assert_eq(self->api->create(&config, n, &self->self, err, sizeof err), 0, "%s", err);
    for (int f = 0; f < self->spec.n_obs; f++) self->obs_dim += sk_env_field_size(&self->spec.obs[f]);
    cr_assert_leq(self->obs_dim, OBS_MAX);
    for (int i = 0; i < n; i++) {
        uint64_t of_env = seed + (uint64_t)i;
        cr_assert_eq(self->api->reset(self->self, i, &of_env, self->obs + i * self->obs_dim, NULL), 0);
    }
}

static void rig_step(rig *self, float bend, float push) {
    memset(self->active, 1, sizeof self->active);
    memset(self->failed, 0, sizeof self->failed);
    memset(self->reward, 0xff, sizeof self->reward); /* NaN: must be written */
    memset(self->metrics, 0xff, sizeof self->metrics);
    memset(self->obs, 0xff, sizeof self->obs);
    memset(self->terminated, 7, sizeof self->terminated);
    memset(self->truncated, 7, sizeof self->truncated);
    for (int i = 0; i < self->n; i++) {
        self->action[NU * i].f = bend;
        self->action[NU * i + 1].f = push;
    }
    sk_env_io io = {.struct_size = sizeof io, .action = self->action, .obs = self->obs, .reward = self->reward,
                    .terminated = self->terminated, .truncated = self->truncated, .active = self->active,
                    .failed = self->failed, .metrics = self->metrics};
    cr_assert_eq(self->api->step(self->self, 0, self->n, &io), 0, "%s", self->api->last_error(self->self));
}

static void rig_deinit(rig *self) { self->api->destroy(self->self); }

/* ---- the same simulation by hand ---- */

typedef struct sim {
    sk_mujoco_model     *model;
    const mjModel       *m;
    const sk_mujoco_lib *lib;
    mjData              *d, *now; /* stepped; a copy on which all is computed for the state that it has */
} sim;

static void sim_init(sim *self, int key) {
    sk_error error = {0};
    cr_assert_eq(sk__mujoco_model_open(path, &self->model, &error), SK_OK, "%s", error.msg);
    self->m = self->model->m;
    self->lib = self->model->lib;
    cr_assert_eq(sk__mujoco_data_create(self->model, &self->d, &error), SK_OK);
    cr_assert_eq(sk__mujoco_data_create(self->model, &self->now, &error), SK_OK);
    if (key >= 0) self->lib->mj_resetDataKeyframe(self->m, self->d, key);
    else self->lib->mj_resetData(self->m, self->d);
    self->lib->mj_forward(self->m, self->d);
    self->lib->mj_copyData(self->now, self->m, self->d);
}

static void sim_step(sim *self, int n, double bend, double push) {
    self->d->ctrl[0] = bend;
    self->d->ctrl[1] = push;
    for (int i = 0; i < n; i++) self->lib->mj_step(self->m, self->d);
    self->lib->mj_rnePostConstraint(self->m, self->d);
    self->lib->mj_copyData(self->now, self->m, self->d);
    self->lib->mj_forward(self->m, self->now);
}

static void sim_deinit(sim *self) {
    self->lib->mj_deleteData(self->d);
    self->lib->mj_deleteData(self->now);
    sk__mujoco_model_release(&self->model);
}

static int id_of(const sim *s, int type, const char *name) {
    int id = s->lib->mj_name2id(s->m, type, name);
    cr_assert_geq(id, 0, "%s", name);
    return id;
}

/* The next n numbers of the observation are these. */
static void same(const float **at, const double *wanted, int n, const char *what, int step) {
    for (int i = 0; i < n; i++, ++*at)
        cr_assert_eq(**at, (float)wanted[i], "step %d, %s[%d]: %.9g, wanted %.9g", step, what, i, (double)**at,
                     (double)(float)wanted[i]);
}

static void check_observation(const rig *r, const sim *s, int step) {
    const float *at = r->obs;
    int torso = id_of(s, mjOBJ_BODY, "torso"), arm = id_of(s, mjOBJ_BODY, "left arm");
    int tip = id_of(s, mjOBJ_SITE, "tip"), ball = id_of(s, mjOBJ_GEOM, "ball"), accel = id_of(s, mjOBJ_SENSOR, "accel");
    int gyro = id_of(s, mjOBJ_SENSOR, "gyro"), push = id_of(s, mjOBJ_ACTUATOR, "push");
    const mjData *now = s->now, *d = s->d;
    double        xvel[6];
    s->lib->mj_objectVelocity(s->m, now, mjOBJ_XBODY, arm, xvel, 0);
    same(&at, now->qpos, (int)s->m->nq, "qpos", step);
    same(&at, now->xpos + 3 * torso, 3, "torso.xpos", step);
    same(&at, now->xquat + 4 * arm, 4, "arm.xquat", step);
    same(&at, xvel, 6, "arm.xvel", step);
    same(&at, now->subtree_com + 3 * torso, 3, "torso.com", step);
    same(&at, d->cfrc_ext + 6 * torso, 6, "torso.cfrc", step);
    same(&at, now->site_xpos + 3 * tip, 3, "tip.xpos", step);
    same(&at, now->geom_xpos + 3 * ball, 3, "ball.xpos", step);
    same(&at, now->sensordata + s->m->sensor_adr[gyro], 3, "gyro", step);
    same(&at, d->sensordata + s->m->sensor_adr[accel], 3, "accel", step);
    same(&at, d->actuator_force + push, 1, "push.force", step);
    same(&at, now->ten_length, 1, "cable.length", step);
    same(&at, now->qpos + 7, 1, "elbow.qpos", step);
    same(&at, now->qvel, 6, "root.qvel", step);
    same(&at, d->qacc, (int)s->m->nv, "qacc", step);
    same(&at, &now->time, 1, "time", step);
}

static const char ALL[] = "qpos; body/torso.xpos; body/'left arm'.xquat; body/'left arm'.xvel; body/torso.com; "
                          "body/torso.cfrc; site/tip.xpos; geom/ball.xpos; sensor/gyro; sensor/accel; "
                          "actuator/push.force; tendon/cable.length; joint/elbow.qpos; joint/root.qvel; qacc; time";

static void compare_with_mj_step(const char *integrator) {
    rig r;
    sim s;
    write_model(MODEL, integrator, LIMITS);
    rig_init(&r, 1, (pairs){"observation", ALL, "reward", "0", "frame_skip", "3", "keyframe", "low"}, 5);
    sim_init(&s, 0);
    s.lib->mj_rnePostConstraint(s.m, s.d);
    check_observation(&r, &s, 0);
    for (int t = 1; t <= 100; t++) {
        float bend = t % 20 < 10 ? 1.5f : -1.0f, push = t % 7 < 3 ? -2.0f : 1.0f;
        rig_step(&r, bend, push);
        sim_step(&s, 3, (double)bend, (double)push);
        check_observation(&r, &s, t);
    }
    rig_deinit(&r);
    sim_deinit(&s);
}

Test(mujoco_user, observes_the_state_that_mj_step_leads_to_with_euler) { compare_with_mj_step("Euler"); }
Test(mujoco_user, observes_the_state_that_mj_step_leads_to_with_implicit) { compare_with_mj_step("implicit"); }
Test(mujoco_user, observes_the_state_that_mj_step_leads_to_with_implicitfast) { compare_with_mj_step("implicitfast"); }
Test(mujoco_user, observes_the_state_that_mj_step_leads_to_with_rk4) { compare_with_mj_step("RK4"); }

/* ---- rewards and ends ---- */

Test(mujoco_user, sums_its_rewards_and_shows_each) {
    rig r;
    write_model(MODEL, "Euler", LIMITS);
    rig_init(&r, 1,
             (pairs){"observation", "body/target.xpos[0]; x = qpos[0]", "reward",
                     "pushed = rate(body/target.xpos[0]); -0.1 * sum(action^2); 1.0", "frame_skip", "5"}, 1);
    cr_assert_eq(r.spec.n_metrics, 3);
    cr_assert_str_eq(r.spec.metric_name[0], "pushed");
    cr_assert_str_eq(r.spec.metric_name[1], "reward_1");
    cr_assert_str_eq(r.spec.metric_name[2], "reward_2");
    cr_assert_str_eq(r.spec.obs[0].name, "body/target.xpos[0]");
    cr_assert_str_eq(r.spec.obs[1].name, "x");
    cr_assert_eq(r.spec.obs[0].n_dims, 0);
    for (int t = 0; t < 20; t++) {
        double before = (double)r.obs[0];
        rig_step(&r, 0.5f, 3.0f);
        double rate = ((double)r.obs[0] - before) / 0.02; /* 5 x 4 ms */
        cr_assert_float_eq(r.metrics[0], rate, 2e-5, "step %d: %g, wanted %g", t, (double)r.metrics[0], rate);
        cr_assert_float_eq(r.metrics[1], -0.925, 1e-6);
        cr_assert_float_eq(r.metrics[2], 1.0, 0);
        cr_assert_float_eq(r.reward[0], r.metrics[0] + r.metrics[1] + r.metrics[2], 1e-6);
        if (t > 0) cr_assert_gt(rate, 0.0);
    }
    rig_deinit(&r);
}

Test(mujoco_user, ends_when_any_condition_is_true) {
    rig r;
    write_model(MODEL, "Euler", LIMITS);
    rig_init(&r, 1,
             (pairs){"observation", "body/torso.xpos[2]", "reward", "1", "terminate", "qpos[0] > 9; qpos[2] < .2"}, 1);
    int t = 0;
    for (; t < 200 && (t == 0 || !r.terminated[0]); t++) {
        rig_step(&r, 0, 0);
        cr_assert_eq(r.terminated[0], (double)r.obs[0] < 0.2);
        cr_assert_eq(r.truncated[0], 0);
        cr_assert_float_eq(r.reward[0], 1.0, 0);
    }
    cr_assert(t > 10 && t < 100, "it fell within %d steps", t);
    rig_deinit(&r);
}

Test(mujoco_user, starts_with_noise_within_its_bounds_and_different_by_seed) {
    rig a, b;
    write_model(MODEL, "Euler", LIMITS);
    pairs list = {"observation", "qpos; qvel", "reward", "1", "reset_noise",
                  "qpos = .02; joint/rail.qpos = 0.5; qvel[:3] = .1", "keyframe", "low"};
    rig_init(&a, 3, list, 1);
    rig_init(&b, 3, list, 1);
    cr_assert_eq(memcmp(a.obs, b.obs, sizeof a.obs), 0);
    double norm = 0, largest = 0;
    for (int i = 0; i < 3; i++) {
        const float *o = a.obs + i * a.obs_dim;
        cr_assert(fabs((double)o[2] - .06) <= .02 && fabs((double)o[7] - .5) <= .02 && fabs((double)o[8] - .2) <= .5);
        largest = fmax(largest, fabs((double)o[8] - .2));
        for (int k = 3; k < 7; k++) norm += (double)(o[k] * o[k]);
        for (int k = 0; k < 8; k++) cr_assert(fabs((double)o[9 + k]) <= (k < 3 ? .1 : 0.0));
        cr_assert(o[9] != 0.0f && o[3] != 1.0f);
    }
    cr_assert_float_eq(norm, 3.0, 1e-5, "quaternions have length 1");
    cr_assert_gt(largest, 0.02);
    cr_assert_neq(a.obs[8], a.obs[a.obs_dim + 8]);
    rig_deinit(&a);
    rig_deinit(&b);
}

/* ---- states ---- */

static void goes_on_from_a_saved_state(const char *integrator) {
    rig a, b;
    write_model(MODEL, integrator, LIMITS);
    pairs list = {"observation", "qpos; qvel; body/torso.xpos; sensor/accel; sensor/gyro; qacc",
                  "reward", "rate(site/tip.xpos[0]); rate(sensor/accel[2])", "reset_noise", "qpos = .01", "keyframe",
                  "low"};
    rig_init(&a, 1, list, 1);
    rig_init(&b, 1, list, 9);
    for (int t = 0; t < 30; t++) rig_step(&a, 1, -1);
    for (int t = 0; t < 7; t++) rig_step(&b, -1, 2);
    unsigned char *state = malloc(a.api->state_size(a.self));
    cr_assert_eq(a.api->state_save(a.self, 0, state), 0);
    cr_assert_eq(b.api->state_load(b.self, 0, state), 0);
    for (int t = 0; t < 50; t++) {
        rig_step(&a, 0.5f, 1);
        rig_step(&b, 0.5f, 1);
        cr_assert_eq(memcmp(a.obs, b.obs, sizeof a.obs), 0, "step %d", t);
        cr_assert_eq(memcmp(a.reward, b.reward, sizeof a.reward), 0, "step %d", t);
    }
    cr_assert_eq(a.api->reset(a.self, 0, NULL, a.obs, NULL), 0);
    cr_assert_eq(b.api->reset(b.self, 0, NULL, b.obs, NULL), 0);
    cr_assert_eq(memcmp(a.obs, b.obs, (size_t)a.obs_dim * sizeof(float)), 0, "the random streams differ");
    memset(state, 0, sizeof(sk_env_slot) * 12); /* no random stream */
    cr_assert_neq(a.api->state_load(a.self, 0, state), 0);
    free(state);
    rig_deinit(&a);
    rig_deinit(&b);
}

Test(mujoco_user, goes_on_from_a_saved_state_bit_for_bit) { goes_on_from_a_saved_state("implicitfast"); }
Test(mujoco_user, goes_on_from_a_saved_state_bit_for_bit_with_rk4) { goes_on_from_a_saved_state("RK4"); }

Test(mujoco_user, fails_the_row_whose_physics_is_unstable) {
    rig r;
    write_model(MODEL, "Euler", "ctrllimited='true' ctrlrange='-1e30 1e30' gear='1e9'");
    rig_init(&r, 2, (pairs){"observation", "qpos", "reward", "1"}, 1);
    rig_step(&r, 0, 1e20f);
    cr_assert(r.failed[0] && r.failed[1]);
    cr_assert(strstr(r.api->last_error(r.self), "arm.xml"), "%s", r.api->last_error(r.self));
    for (int i = 0; i < 2 * r.obs_dim; i++) cr_assert(isfinite(r.obs[i]));
    cr_assert(r.reward[0] == 0.0f && r.terminated[0] == 0);
    rig_step(&r, 0, 0);
    cr_assert(!r.failed[0], "%s", r.api->last_error(r.self));
    rig_deinit(&r);
}

/* ---- actions ---- */

Test(mujoco_user, takes_its_actions_from_the_ctrlrange_or_the_limit) {
    rig r;
    write_model(MODEL, "Euler", "ctrllimited='false'");
    rig_init(&r, 1, (pairs){"observation", "action; ctrl", "reward", "1", "action_limit", "4"}, 1);
    cr_assert_eq(r.spec.action[0].n, 2);
    cr_assert(r.spec.action[0].lows[0] == -1.0f && r.spec.action[0].highs[0] == 2.0f);
    cr_assert(r.spec.action[0].lows[1] == -4.0f && r.spec.action[0].highs[1] == 4.0f);
    cr_assert(r.obs[0] == 0.0f && r.obs[1] == 0.0f);
    rig_step(&r, 1.5f, -4);
    cr_assert(r.obs[0] == 1.5f && r.obs[1] == -4.0f && r.obs[2] == 1.5f && r.obs[3] == -4.0f);
    rig_deinit(&r);
}

/* ---- refusals ---- */

static void refuses(const char *const *list, const char *wanted) {
    const char       *names[PAIRS_MAX + 1], *values[PAIRS_MAX + 1], *id;
    sk_env_config     config = config_of(list, names, values);
    const sk_env_api *api = sk_env_family("mujoco", &id);
    sk_env_spec       spec = {.struct_size = sizeof spec};
    char              err[512] = "";
    cr_assert_neq(api->describe(&config, &spec, err, sizeof err), 0, "taken; wanted \"%s\"", wanted);
    cr_assert(strstr(err, wanted), "\"%s\" does not say \"%s\"", err, wanted);
}

Test(mujoco_user, names_what_it_does_not_find) {
    write_model(MODEL, "Euler", LIMITS);
    refuses((pairs){"reward", "1", "observation", "qpos; qvel; body/torsoo.xpos[2]"},
            "observation[2] \"body/torsoo.xpos[2]\": column 1: there is no body \"torsoo\" in arm.xml; did you mean "
            "\"torso\"?");
    refuses((pairs){"reward", "1 + sensor/gyr[0]"},
            "reward[0] \"1 + sensor/gyr[0]\": column 5: there is no sensor \"gyr\" in arm.xml; did you mean \"gyro\"?");
    refuses((pairs){"reward", "1", "terminate", "site/knee.xpos[2] < 0"},
            "there is no site \"knee\" in arm.xml; known: imu, tip");
    refuses((pairs){"reward", "qpo[0]"}, "there is no name \"qpo\"; did you mean \"qpos\"?");
    refuses((pairs){"reward", "torso.xpos[2]"}, "objects are written kind/name.part, as body/torso.xpos");
    refuses((pairs){"reward", "body/torso.xpo[2]"}, "a body has no part \"xpo\"; did you mean \"xpos\"?");
    refuses((pairs){"reward", "body/torso[2]"}, "wanted a part of the body, as in body/NAME.xpos");
    refuses((pairs){"reward", "sensor/gyro.x"}, "a sensor has no parts, got .x");
    refuses((pairs){"reward", "sum + 1"}, "sum is a function, wanted sum(...)");
    refuses((pairs){"reward", "body + 1"}, "wanted the name of a body behind it: body/NAME");
    refuses((pairs){"reward", "act[0]"}, "act has no elements in arm.xml");
    refuses((pairs){"reward", "1", "keyframe", "lo"},
            "keyframe: there is no key \"lo\" in arm.xml; did you mean \"low\"?");
}

Test(mujoco_user, refuses_what_does_not_fit) {
    write_model(MODEL, "Euler", LIMITS);
    refuses((pairs){NULL}, "reward is missing");
    refuses((pairs){"reward", "qpos"}, "reward[0] \"qpos\": got a vector of length 9, wanted one number");
    refuses((pairs){"reward", "1", "terminate", "1 > 2; qpos > 0"},
            "terminate[1] \"qpos > 0\": got a vector of length 9");
    refuses((pairs){"reward", "1", "observation", "qpos + qvel"}, "lengths 9 and 8 do not go together");
    refuses((pairs){"reward", "1", "observation", "qpos; qpos"},
            "observation[0] and observation[1] are both named \"qpos\"");
    refuses((pairs){"reward", "1", "frame_skip", "0"}, "got 0, wanted a number in [1, 10000]");
    refuses((pairs){"reward", "1", "frame_skip", "2.5"}, "wanted a whole number");
    refuses((pairs){"reward", "1", "reset_noise", "qpos"}, "reset_noise: got \"qpos\", wanted pairs like qpos = 0.01");
    refuses((pairs){"reward", "1", "reset_noise", "time = 1"}, "wanted qpos, qvel or a part of them");
    refuses((pairs){"reward", "1", "reset_noise", "qpos = -1"}, "wanted pairs like");
    refuses((pairs){"rewrad", "1"}, "unknown config \"rewrad\"; known: model");
}

Test(mujoco_user, refuses_an_actuator_without_limits_by_name) {
    write_model(MODEL, "Euler", "ctrllimited='false'");
    refuses((pairs){"reward", "1"}, "actuator \"push\" (number 1) of arm.xml has no limits");
}

Test(mujoco_user, refuses_a_broken_model_with_its_line) {
    write_model("<mujoco>\n<worldbody>\n<body name='a'><geom size='%s%s'/></body>\n<bodyy/>\n</worldbody></mujoco>",
                ".1", "");
    refuses((pairs){"reward", "1"}, "line 4");
    write_model("<mujoco>\n<worldbody>%s%s", "", "");
    refuses((pairs){"reward", "1"}, "arm.xml: XML");
    unlink(path);
    refuses((pairs){"reward", "1"}, "cannot read the model");
    refuses((pairs){"reward", "1", "model", ""}, "model is missing");
}

/* ---- from the config file ---- */

static const char YAML[] = "algorithm: ppo\n"
                           "env:\n"
                           "  name: mujoco\n"
                           "  model: %s\n"
                           "  frame_skip: 5\n"
                           "  max_episode_steps: 77\n"
                           "  observation:\n"
                           "    [\"qpos[1:]\", 'clip(qvel, -10, 10)', \"tip = site/tip.xpos - body/torso.xpos\"]\n"
                           "  reward:\n"
                           "    - forward = rate(qpos[0])\n"
                           "    - 1.0\n"
                           "  terminate: qpos[2] < 0.1\n"
                           "  reset_noise: {qpos: 0.01, 'joint/elbow.qvel': 0.1}\n"
                           "stop: {num_env_steps_sampled_lifetime: 1}\n";

/* The keys in the struct, and their text back again. */
static void bind(const char *text, sk_train_config *config, sk_config **cfg) {
    sk_error       error = {0};
    sk_config_part part = {sk_train_config_keys, sk_train_config_n_keys, config};
    cr_assert_eq(sk_config_parse(text, "robot.yaml", NULL, 0, cfg, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk_config_bind(*cfg, &part, 1, &error), SK_OK, "%s", error.msg);
}

static void check_env_of(const sk_train_config *config) {
    sk_env  *env = NULL;
    sk_error error = {0};
    char    *text = NULL;
    for (int pass = 0; pass < 2; pass++) { /* the env itself, and the one that a runner opens */
        if (pass == 0) {
            cr_assert_eq(sk_env_create_from(config, &env, &error), SK_OK, "%s", error.msg);
        } else {
            cr_assert_eq(sk__env_text_encode(config, &text, &error), SK_OK, "%s", error.msg);
            cr_assert_eq(sk__env_text_open(text, strlen(text), &env, &error), SK_OK, "%s", error.msg);
        }
        const sk_env_spec *spec = sk_env_spec_get(env);
        cr_assert_eq(sk_env_info_get(env)->obs_dim, 8 + 8 + 3);
        cr_assert_str_eq(spec->obs[1].name, "clip(qvel, -10, 10)");
        cr_assert_str_eq(spec->obs[2].name, "tip");
        cr_assert_str_eq(spec->metric_name[0], "forward");
        cr_assert_str_eq(spec->metric_name[1], "reward_1");
        cr_assert_eq(spec->max_episode_steps, 77);
        sk_env_destroy(&env);
    }
    free(text);
}

Test(mujoco_user, comes_from_a_config_file_and_from_its_resolved_text) {
    static sk_train_config config, again;
    sk_config *cfg = NULL, *cfg_again = NULL;
    char       yaml[1024], *text = NULL;
    sk_error   error = {0};
    write_model(MODEL, "Euler", LIMITS);
    snprintf(yaml, sizeof yaml, YAML, path);
    bind(yaml, &config, &cfg);
    cr_assert_eq(sk_train_config_check(&config, cfg, &error), SK_OK, "%s", error.msg);
    check_env_of(&config);
    sk_config_part part = {sk_train_config_keys, sk_train_config_n_keys, &config};
    cr_assert_eq(sk_config_emit(&part, 1, &text, &error), SK_OK, "%s", error.msg);
    bind(text, &again, &cfg_again);
    cr_assert_eq(again.env.observation.n, 3);
    cr_assert_str_eq(again.env.observation.at[0], "qpos[1:]");
    cr_assert_str_eq(again.env.reward.at[1], "1.0");
    cr_assert_str_eq(again.env.terminate.at[0], "qpos[2] < 0.1");
    check_env_of(&again);
    free(text);
    sk_config_destroy(&cfg);
    sk_config_destroy(&cfg_again);
}

Test(mujoco_user, refuses_its_keys_for_other_environments) {
    static sk_train_config config;
    sk_config *cfg = NULL;
    sk_error   error = {0};
    bind("algorithm: ppo\nenv:\n  name: CartPole-v1\n  reward: [1]\nstop: {num_env_steps_sampled_lifetime: 1}\n",
         &config, &cfg);
    cr_assert_eq(sk_train_config_check(&config, cfg, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg, "robot.yaml:4:3: env.reward is only for env.name mujoco, got \"CartPole-v1\"", "%s",
                     error.msg);
    sk_config_destroy(&cfg);
}

static void is_no_list(const char *value, const char *wanted) {
    static sk_train_config config;
    sk_config     *cfg = NULL;
    sk_error       error = {0};
    sk_config_part part = {sk_train_config_keys, sk_train_config_n_keys, &config};
    char           text[512];
    snprintf(text, sizeof text, "algorithm: ppo\nenv: {name: mujoco, reward: %s}\n", value);
    cr_assert_eq(sk_config_parse(text, "robot.yaml", NULL, 0, &cfg, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk_config_bind(cfg, &part, 1, &error), SK_ECONFIG);
    cr_assert(strstr(error.msg, wanted), "%s", error.msg);
    sk_config_destroy(&cfg);
}

Test(mujoco_user, refuses_lists_that_are_none) {
    is_no_list("{a: 1}", "env.reward must be a list of at most 16 scalars, got a map");
    is_no_list("[1, [2]]", "env.reward[1] must be a scalar, got a list");
    is_no_list("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]", "env.reward has more than 16 elements");
}
#endif
