/* Runs the tasks of gym_tasks.c. An instance has one mjData; its environments are rows that hold what decides the next
 * step (mjSTATE_FULLPHYSICS, the solver's warm start, the coordinate before the step) and are switched in and out.
 * mj_step computes all the rest anew from these, so that the bits are those of a simulation per environment.
 *
 * A simulation that went wrong (a warning, a number that is none, a fatal error of MuJoCo) fails its row alone. */
#include "envs/common.h"
#include "envs/mujoco/gym_task.h"
#include "envs/mujoco/render.h"
#include <stdio.h>
#include <stdlib.h>

enum { ROW_STATE = mjSTATE_FULLPHYSICS | mjSTATE_WARMSTART };

/* One environment; this is also what is saved. */
typedef struct row {
    sk_pcg64 rng;
    double   coordinate; /* before the next step [m]           */
    double   state[];    /* (n_state) ROW_STATE of mj_getState */
} row;

typedef struct gym_env {
    const sk_gym_task *task;
    sk_mujoco_model   *model;
    sk_gym_sim         sim;
    int                obs_dim, n_state, n_envs;
    size_t             row_size; /* bytes */
    unsigned char     *rows;     /* (n_envs x row_size) */
    double            *origin;   /* (n_state) qpos0, at rest */
    sk_mujoco_view    *view;     /* NULL: nothing was drawn yet */
    int                width, height; /* of its pictures        */
    char               error[400];
} gym_env;

static row *row_at(const gym_env *self, int env) {
    SK_ASSERT(env >= 0 && env < self->n_envs);
    return (row *)(void *)(self->rows + (size_t)env * self->row_size);
}

static int obs_dim(const sk_gym_task *task) {
    int dim = 0;
    for (int i = 0; i < SK_GYM_PIECES_MAX; i++) dim += task->obs[i].n;
    return dim;
}

/* Config of all tasks: render_width, render_height. */
static int read_config(const sk_env_config *config, int *width, int *height, char *err, size_t err_size) {
    static const char *const known[] = {SK_MUJOCO_RENDER_KEYS};
    if (sk__env_config_known(config, known, SK_COUNT(known), err, err_size)) return -1;
    return sk__mujoco_view_size(config, width, height, err, err_size);
}

int sk__gym_describe(const sk_gym_task *task, const sk_env_config *config, sk_env_spec *spec, char *err,
                     size_t err_size) {
    int width, height;
    if (read_config(config, &width, &height, err, err_size)) return -1;
    spec->n_obs = 1;
    spec->obs[0] = (sk_env_field){.name = "obs", .dtype = SK_ENV_F32, .n_dims = 1, .shape = {obs_dim(task)},
                                  .low = -INFINITY, .high = INFINITY};
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.name = "action", .kind = SK_ENV_BOX, .n = task->nu,
                                           .low = -task->action_bound, .high = task->action_bound};
    spec->n_agents = 1;
    spec->max_episode_steps = task->max_episode_steps;
    return 0;
}

/* ---- lifecycle ---- */

void sk__gym_destroy(void *self_v) {
    gym_env *self = self_v;
    if (!self) return;
    sk__mujoco_view_destroy(&self->view);
    if (self->sim.d) self->model->lib->mj_deleteData(self->sim.d);
    sk__mujoco_model_release(&self->model);
    free(self->rows);
    free(self->origin);
    free(self);
}

/* Is this the model that the table speaks of? Its folder may be the user's. */
static sk_status check_model(gym_env *self, sk_error *reterr) {
    const sk_gym_task *task = self->task;
    const mjModel     *m = self->model->m;
    if (m->nq != task->nq || m->nv != task->nv || m->nu != task->nu || m->na != 0) {
        return SK_FAIL(reterr, SK_ECONFIG, "%s: got nq %d, nv %d, nu %d, na %d, wanted %d, %d, %d, 0",
                       self->model->path, (int)m->nq, (int)m->nv, (int)m->nu, (int)m->na, task->nq, task->nv, task->nu);
    }
    for (int i = 0; i < SK_GYM_PIECES_MAX; i++) {
        sk_gym_source source = task->obs[i].source;
        int per_body = source == SK_GYM_CINERT ? 10 : source == SK_GYM_CVEL || source == SK_GYM_CFRC_EXT ? 6 : 0;
        if (per_body == 0 || task->obs[i].first + task->obs[i].n == per_body * (int)m->nbody) continue;
        return SK_FAIL(reterr, SK_ECONFIG, "%s: got %d bodies, wanted %d", self->model->path, (int)m->nbody,
                       (task->obs[i].first + task->obs[i].n) / per_body);
    }
    for (int i = 0; i < SK_GYM_BODIES_MAX && task->bodies[i]; i++) {
        self->sim.body[i] = self->model->lib->mj_name2id(m, mjOBJ_BODY, task->bodies[i]);
        if (self->sim.body[i] >= 0) continue;
        return SK_FAIL(reterr, SK_ECONFIG, "%s: there is no body \"%s\"", self->model->path, task->bodies[i]);
    }
    return SK_OK;
}

static sk_status open_model(gym_env *self, sk_error *reterr) {
    char path[4096];
    SK_TRY(sk__mujoco_model_path(self->task->file, path, sizeof path, reterr));
    SK_TRY(sk__mujoco_model_open(path, &self->model, reterr));
    SK_TRY(check_model(self, reterr));
    SK_TRY(sk__mujoco_data_create(self->model, &self->sim.d, reterr));
    self->sim.m = self->model->m;
    self->sim.dt_s = self->sim.m->opt.timestep * self->task->frame_skip;
    self->n_state = self->model->lib->mj_stateSize(self->sim.m, ROW_STATE);
    self->row_size = sizeof(row) + (size_t)self->n_state * sizeof(double);
    self->origin = calloc((size_t)self->n_state, sizeof(double));
    self->rows = calloc((size_t)self->n_envs, self->row_size);
    if (!self->rows || !self->origin) {
        return SK_FAIL(reterr, SK_ENOMEM, "out of memory for %d environments", self->n_envs);
    }
    self->model->lib->mj_getState(self->sim.m, self->sim.d, self->origin, ROW_STATE);
    for (int i = 0; i < self->n_envs; i++) {
        sk_pcg64_seed(&row_at(self, i)->rng, (uint64_t)i);
        memcpy(row_at(self, i)->state, self->origin, (size_t)self->n_state * sizeof(double));
    }
    return SK_OK;
}

int sk__gym_create(const sk_gym_task *task, const sk_env_config *config, int n_envs, void **ret_self, char *err,
                   size_t err_size) {
    int width, height;
    if (read_config(config, &width, &height, err, err_size)) return -1;
    sk_error error = {0};
    gym_env *self = calloc(1, sizeof *self);
    if (!self) {
        snprintf(err, err_size, "out of memory for %d environments", n_envs);
        return -1;
    }
    self->width = width;
    self->height = height;
    self->task = task;
    self->obs_dim = obs_dim(task);
    self->n_envs = n_envs;
    if (open_model(self, &error) != SK_OK) {
        snprintf(err, err_size, "%s", error.msg);
        sk__gym_destroy(self);
        return -1;
    }
    *ret_self = self;
    return 0;
}

/* ---- observations ---- */

static const double *source_of(const sk_gym_sim *sim, const sk_gym_piece *piece) {
    const mjData *d = sim->d;
    switch (piece->source) {
    case SK_GYM_QPOS:
    case SK_GYM_COS_QPOS:
    case SK_GYM_SIN_QPOS: return d->qpos + piece->first;
    case SK_GYM_QVEL: return d->qvel + piece->first;
    case SK_GYM_CINERT: return d->cinert + piece->first;
    case SK_GYM_CVEL: return d->cvel + piece->first;
    case SK_GYM_QFRC_ACTUATOR: return d->qfrc_actuator + piece->first;
    case SK_GYM_QFRC_CONSTRAINT: return d->qfrc_constraint + piece->first;
    case SK_GYM_CFRC_EXT: return d->cfrc_ext + piece->first;
    case SK_GYM_XPOS:
    case SK_GYM_XPOS_DIFF: return d->xpos + 3 * sim->body[piece->first];
    }
    SK_ASSERT(0); /* no such source */
    return NULL;
}

static double clipped(double x, double bound) { return x > bound ? bound : x < -bound ? -bound : x; }

static void observe(const gym_env *self, float *obs) {
    const sk_gym_sim *sim = &self->sim;
    for (int p = 0; p < SK_GYM_PIECES_MAX && self->task->obs[p].n > 0; p++) {
        const sk_gym_piece *piece = &self->task->obs[p];
        const double       *x = source_of(sim, piece);
        const double       *from = sim->d->xpos;
        if (piece->source == SK_GYM_XPOS_DIFF) from += 3 * sim->body[piece->first + 1];
        for (int i = 0; i < piece->n; i++) {
            double value = x[i];
            if (piece->source == SK_GYM_COS_QPOS) value = cos(value);
            if (piece->source == SK_GYM_SIN_QPOS) value = sin(value);
            if (piece->source == SK_GYM_XPOS_DIFF) value -= from[i];
            if (piece->clip > 0.0) value = clipped(value, piece->clip);
            *obs++ = (float)value;
        }
    }
}

/* ---- reset ---- */

/* Draw the first qpos and qvel into the simulation, positions first. */
static void place(const gym_env *self, sk_pcg64 *rng) {
    const sk_gym_task *task = self->task;
    mjData            *d = self->sim.d;
    if (task->place) {
        task->place(self->sim.m, rng, d->qpos, d->qvel);
        return;
    }
    for (int i = 0; i < task->nq; i++) d->qpos[i] = d->qpos[i] + sk_pcg64_uniform(rng, -task->noise, task->noise);
    for (int i = 0; i < task->nv; i++) {
        double speed = task->normal_speed ? task->noise * sk_pcg64_standard_normal(rng)
                                          : sk_pcg64_uniform(rng, -task->noise, task->noise);
        d->qvel[i] = 0.0 + speed;
    }
}

/* Make of mjData what a new one with this state would have been after mj_forward, as far as it is looked at. */
static void settle(const gym_env *self) {
    const sk_mujoco_lib *lib = self->model->lib;
    const mjModel       *m = self->sim.m;
    mjData              *d = self->sim.d;
    memset(d->ctrl, 0, (size_t)m->nu * sizeof(double));
    if (self->task->reset_stage == SK_GYM_FORWARD) lib->mj_forward(m, d);
    if (self->task->reset_stage != SK_GYM_KINEMATICS) return;
    lib->mj_kinematics(m, d);
    lib->mj_comPos(m, d);
    lib->mj_comVel(m, d);
    memset(d->qfrc_actuator, 0, (size_t)m->nv * sizeof(double));
    memset(d->cfrc_ext, 0, (size_t)m->nbody * 6 * sizeof(double));
}

int sk__gym_reset(void *self_v, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    (void)mask;
    gym_env             *self = self_v;
    const sk_mujoco_lib *lib = self->model->lib;
    row                 *r = row_at(self, env);
    sk_mujoco_guard      guard;
    volatile int         failed = 0;
    if (seed) sk_pcg64_seed(&r->rng, *seed);
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) {
        lib->mj_setState(self->sim.m, self->sim.d, self->origin, ROW_STATE);
        place(self, &r->rng);
        settle(self);
        lib->mj_getState(self->sim.m, self->sim.d, r->state, ROW_STATE);
        r->coordinate = self->task->coordinate ? self->task->coordinate(&self->sim) : 0.0;
        observe(self, obs);
    } else {
        snprintf(self->error, sizeof self->error, "%s: reset of environment %d: %s", self->task->name, env, guard.text);
        lib->mj_resetData(self->sim.m, self->sim.d);
        failed = 1;
    }
    sk__mujoco_guard_leave(&guard);
    return failed ? -1 : 0;
}

/* ---- step ---- */

static bool all_finite(const double *x, int n) {
    double sum = 0.0; /* x - x is 0, or NaN for what is not finite */
    for (int i = 0; i < n; i++) sum += x[i] - x[i];
    return sum == 0.0;
}

/* Was that a step of a sound simulation? Else a text. */
static bool is_sound(const gym_env *self, char *text, size_t text_size) {
    mjData *d = self->sim.d;
    if (!sk__mujoco_step_was_good(self->model, d, text, text_size)) return false;
    if (all_finite(d->qpos, self->task->nq) && all_finite(d->qvel, self->task->nv)) return true;
    snprintf(text, text_size, "qpos or qvel is not finite");
    return false;
}

/* The physics of one step, from the row's state; false with a text in `text` if it went wrong. */
static bool advance(const gym_env *self, const row *r, const sk_env_slot *action, char *text, size_t text_size) {
    const sk_mujoco_lib *lib = self->model->lib;
    const mjModel       *m = self->sim.m;
    mjData              *d = self->sim.d;
    volatile bool        good = false;
    sk_mujoco_guard      guard;
    sk__mujoco_guard_enter(&guard);
    if (_setjmp(guard.back) == 0) {
        lib->mj_setState(m, d, r->state, ROW_STATE);
        for (int i = 0; i < self->task->nu; i++) d->ctrl[i] = (double)action[i].f;
        for (int i = 0; i < self->task->frame_skip; i++) lib->mj_step(m, d);
        good = is_sound(self, text, text_size);
        if (good && self->task->uses_contact_forces) lib->mj_rnePostConstraint(m, d);
    } else {
        snprintf(text, text_size, "%s", guard.text);
    }
    sk__mujoco_guard_leave(&guard);
    return good;
}

/* The row's episode is invalid; it stands where a new simulation does until its reset. */
static void fail_row(gym_env *self, row *r, int env, const char *text, float *obs) {
    snprintf(self->error, sizeof self->error, "%s: environment %d: the simulation is invalid: %s", self->task->name,
             env, text);
    self->model->lib->mj_resetData(self->sim.m, self->sim.d);
    memcpy(r->state, self->origin, (size_t)self->n_state * sizeof(double));
    r->coordinate = 0.0;
    memset(obs, 0, (size_t)self->obs_dim * sizeof(float));
}

int sk__gym_step(void *self_v, int first, int count, const sk_env_io *io) {
    gym_env           *self = self_v;
    const sk_gym_task *task = self->task;
    for (int i = 0; i < count; i++) {
        row               *r = row_at(self, first + i);
        const sk_env_slot *action = io->action + (size_t)i * (size_t)task->nu;
        float             *obs = (float *)io->obs + (size_t)i * (size_t)self->obs_dim;
        char               text[300];
        bool               terminated = false;
        io->terminated[i] = io->truncated[i] = 0;
        io->reward[i] = 0.0f;
        if (!advance(self, r, action, text, sizeof text)) {
            fail_row(self, r, first + i, text, obs);
            io->failed[i] = 1;
            continue;
        }
        double before = r->coordinate;
        if (task->coordinate) r->coordinate = task->coordinate(&self->sim);
        double rate = (r->coordinate - before) / self->sim.dt_s;
        io->reward[i] = (float)task->reward(&self->sim, &action[0].f, rate, &terminated);
        io->terminated[i] = terminated;
        observe(self, obs);
        self->model->lib->mj_getState(self->sim.m, self->sim.d, r->state, ROW_STATE);
    }
    return 0;
}

/* ---- pictures ---- */

static sk_status draw(gym_env *self, int env, uint8_t *rgb, sk_error *reterr) {
    if (!self->view) SK_TRY(sk__mujoco_view_create(self->model, self->width, self->height, &self->view, reterr));
    return sk__mujoco_view_draw(self->view, row_at(self, env)->state, ROW_STATE, rgb, reterr);
}

int sk__gym_render(void *self_v, int env, int *width, int *height, uint8_t *rgb) {
    gym_env *self = self_v;
    sk_error error = {0};
    *width = self->width;
    *height = self->height;
    if (!rgb || draw(self, env, rgb, &error) == SK_OK) return 0;
    snprintf(self->error, sizeof self->error, "%.*s", (int)sizeof self->error - 1, error.msg);
    return -1;
}

/* ---- state ---- */

size_t sk__gym_state_size(void *self_v) { return ((gym_env *)self_v)->row_size; }

int sk__gym_state_save(void *self_v, int env, void *bytes) {
    gym_env *self = self_v;
    memcpy(bytes, row_at(self, env), self->row_size);
    return 0;
}

int sk__gym_state_load(void *self_v, int env, const void *bytes) {
    gym_env *self = self_v;
    sk_pcg64 rng;
    memcpy(&rng, bytes, sizeof rng); /* the first of a row */
    if (!sk_pcg64_is_sound(&rng)) {
        snprintf(self->error, sizeof self->error, "%s: the saved random stream is none", self->task->name);
        return -1;
    }
    memcpy(row_at(self, env), bytes, self->row_size);
    return 0;
}

const char *sk__gym_last_error(void *self_v) { return ((gym_env *)self_v)->error; }
