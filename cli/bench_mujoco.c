/* bench_mujoco: row 4 of the peers' table on MuJoCo: 64 environments through the host (observations, rewards, resets,
 * time limits, statistics), beside a bare loop of mj_step that takes the same actions and begins the same episodes at
 * the same moments but looks at nothing. Both walk alternately through the same episodes; that they are the same is
 * checked at the end. */
#include "cli/bench.h"
#include "envs/mujoco_paths.h"

#ifndef SK_HAS_MUJOCO
sk_status sk_bench_mujoco(const sk_bench *self, sk_error *reterr) {
    (void)self;
    return SK_FAIL(reterr, SK_EUNSUPPORTED,
                   "skiff was built without MuJoCo (no include/mujoco/mujoco.h in %s). To get it: python3 "
                   "%s/envs/mujoco/fetch.py, then ./skiff again", SK_MUJOCO_DIR, SK_SOURCE_DIR);
}
#else
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "envs/mujoco/mujoco_lib.h"
#include "rl/env.h"
#include "rl/vec.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_ENVS = 64,
    THREADS_MAX = 2,
    N_ACTIONS = 64, /* different actions of each environment, used in turn                              */
    FRAME_SKIP = 5, /* of all three                                                                     */
    SEED = 1,       /* environment i starts from SEED + i                                               */
    WARM_UP = 50,   /* steps before anything is counted: past the fall from the first pose              */
    N_SLICES = 16,  /* of a repeat, for each of the two: what else the machine does disturbs both alike */
    SLICE_MS = 60
};

/* The two that are compared. */
typedef enum side { HOST, BARE, N_SIDES } side;

/* What the bare loop must know of an environment. */
typedef struct task {
    const char *env, *file;
    double      noise;          /* of qpos: uniform in +-noise                                       */
    bool        normal_speed;   /* qvel: noise x N(0, 1), else as qpos                               */
    bool        contact_forces; /* mj_rnePostConstraint after each step                              */
    int         n_unseen;       /* first numbers of qpos that the observation leaves out; then qpos  */
    double      low, high;      /* qpos[2] of a healthy one; both 0: always healthy                  */
} task;

static const task tasks[] = {{"HalfCheetah-v5", "half_cheetah.xml", 0.1, true, false, 1, 0.0, 0.0},
                             {"Ant-v5", "ant.xml", 0.1, true, true, 2, 0.2, 1.0},
                             {"Humanoid-v5", "humanoid.xml", 0.01, false, true, 2, 1.0, 2.0}};

/* A thread's share of the environments, twice. */
typedef struct lane {
    const task  *what;
    int          n_envs, obs_dim, nu, limit; /* limit: steps of the longest episode         */
    sk_env_slot *action;                     /* (N_ACTIONS x n_envs x nu)                    */
    side         now;                        /* which one the next slice is of               */
    int          n_steps;                    /* of that slice                                */
    int64_t      t[N_SIDES], n_resets[N_SIDES];

    sk_vec  *vec; /* HOST */
    float   *obs, *final_obs, *reward;
    uint8_t *flags; /* (3 x n_envs) terminated, truncated, valid */

    const sk_mujoco_model *model; /* BARE */
    mjData                *data[N_ENVS];
    sk_pcg64               rng[N_ENVS];
    int                    age[N_ENVS];

    sk_status status;
    sk_error  error;
} lane;

static const sk_env_slot *action_at(const lane *self, side which) {
    return self->action + (self->t[which] % N_ACTIONS) * self->n_envs * self->nu;
}

/* ---- the bare loop ---- */

static void bare_reset(lane *self, int i) {
    const mjModel *m = self->model->m;
    mjData        *d = self->data[i];
    double         noise = self->what->noise;
    self->model->lib->mj_resetData(m, d);
    for (int k = 0; k < m->nq; k++) d->qpos[k] += sk_pcg64_uniform(&self->rng[i], -noise, noise);
    for (int k = 0; k < m->nv; k++)
        d->qvel[k] = self->what->normal_speed ? noise * sk_pcg64_standard_normal(&self->rng[i])
                                              : sk_pcg64_uniform(&self->rng[i], -noise, noise);
    self->age[i] = 0;
}

static void bare_step(lane *self, int i, const sk_env_slot *action) {
    const task          *what = self->what;
    const sk_mujoco_lib *lib = self->model->lib;
    const mjModel       *m = self->model->m;
    mjData              *d = self->data[i];
    for (int k = 0; k < self->nu; k++) d->ctrl[k] = (double)action[k].f;
    for (int k = 0; k < FRAME_SKIP; k++) lib->mj_step(m, d);
    if (what->contact_forces) lib->mj_rnePostConstraint(m, d);
    bool fallen = what->high > what->low && (d->qpos[2] < what->low || d->qpos[2] > what->high);
    if (++self->age[i] < self->limit && !fallen) return;
    self->n_resets[BARE]++;
    bare_reset(self, i);
}

static void bare_slice(lane *self) {
    for (int n = 0; n < self->n_steps; n++, self->t[BARE]++) {
        const sk_env_slot *action = action_at(self, BARE);
        for (int i = 0; i < self->n_envs; i++) bare_step(self, i, action + i * self->nu);
    }
}

/* ---- the host ---- */

static sk_status host_slice(lane *self, sk_error *reterr) {
    for (int n = 0; n < self->n_steps; n++, self->t[HOST]++) {
        int         n_ended;
        sk_vec_step step = {.action = action_at(self, HOST), .reward = self->reward, .terminated = self->flags,
                            .truncated = self->flags + self->n_envs, .valid = self->flags + 2 * self->n_envs,
                            .next_obs = self->obs, .final_obs = self->final_obs};
        SK_TRY(sk_vec_step_run(self->vec, &step, reterr));
        sk_vec_events(self->vec, &n_ended);
        self->n_resets[HOST] += n_ended;
    }
    return SK_OK;
}

/* ---- slices ---- */

static void *run_slice(void *self_v) {
    lane *self = self_v;
    if (self->now == BARE) bare_slice(self);
    else self->status = host_slice(self, &self->error);
    return NULL;
}

/* n_steps of all environments, on a thread per lane; adds the time until the last is done to *seconds. */
static sk_status slice(lane *lanes, int n_lanes, side which, int n_steps, double *seconds, sk_error *reterr) {
    pthread_t thread[THREADS_MAX];
    int       n_started = 1;
    double    start_s = sk_clock_now_s();
    for (int k = 0; k < n_lanes; k++) lanes[k].now = which, lanes[k].n_steps = n_steps;
    while (n_started < n_lanes && pthread_create(&thread[n_started], NULL, run_slice, &lanes[n_started]) == 0)
        n_started++;
    run_slice(&lanes[0]);
    for (int k = 1; k < n_started; k++) pthread_join(thread[k], NULL);
    *seconds += sk_clock_now_s() - start_s;
    if (n_started < n_lanes) return SK_FAIL(reterr, SK_ENOMEM, "bench mujoco: cannot start a thread");
    for (int k = 0; k < n_lanes; k++) {
        if (lanes[k].status == SK_OK) continue;
        *reterr = lanes[k].error;
        return lanes[k].status;
    }
    return SK_OK;
}

/* Did both walk through the same episodes? Else the one is no limit of the other. */
static sk_status check_same(const lane *self, sk_error *reterr) {
    if (self->n_resets[HOST] != self->n_resets[BARE])
        return SK_FAIL(reterr, SK_EENV, "%s: %lld episodes ended, %lld in the bare loop", self->what->env,
                       (long long)self->n_resets[HOST], (long long)self->n_resets[BARE]);
    for (int i = 0; i < self->n_envs; i++) {
        const double *qpos = self->data[i]->qpos + self->what->n_unseen;
        for (int k = 0; k < self->model->m->nq - self->what->n_unseen; k++) {
            float seen = self->obs[i * self->obs_dim + k];
            if (seen == (float)qpos[k]) continue;
            return SK_FAIL(reterr, SK_EENV, "%s, environment %d: observation %d is %g, %g in the bare loop",
                           self->what->env, i, k, (double)seen, qpos[k]);
        }
    }
    return SK_OK;
}

/* Env steps per second of both, for each repeat. */
static sk_status measure(lane *lanes, int n_lanes, int n_repeats, double rate[N_SIDES][64], sk_error *reterr) {
    double warm_s[N_SIDES] = {0};
    SK_TRY(slice(lanes, n_lanes, HOST, WARM_UP, &warm_s[HOST], reterr));
    SK_TRY(slice(lanes, n_lanes, BARE, WARM_UP, &warm_s[BARE], reterr));
    int n_steps = (int)(SLICE_MS * 1e-3 * WARM_UP / warm_s[BARE]) + 1;
    for (int r = 0; r < n_repeats; r++) {
        double took_s[N_SIDES] = {0};
        for (int s = 0; s < N_SLICES; s++) {
            side first = s % 2 ? HOST : BARE, second = s % 2 ? BARE : HOST;
            SK_TRY(slice(lanes, n_lanes, first, n_steps, &took_s[first], reterr));
            SK_TRY(slice(lanes, n_lanes, second, n_steps, &took_s[second], reterr));
        }
        for (int k = 0; k < N_SIDES; k++) rate[k][r] = (double)N_SLICES * n_steps * N_ENVS / took_s[k];
    }
    for (int k = 0; k < n_lanes; k++) SK_TRY(check_same(&lanes[k], reterr));
    return SK_OK;
}

/* ---- lifecycle ---- */

static void deinit_lane(lane *self) {
    sk_vec_destroy(&self->vec);
    for (int i = 0; i < self->n_envs; i++)
        if (self->data[i]) self->model->lib->mj_deleteData(self->data[i]);
    free(self->obs);
    free(self->final_obs);
    free(self->reward);
    free(self->flags);
    free(self->action);
}

/* Environments first... of the 64, and all of them reset. Deinit it also after a failure. */
static sk_status init_lane(lane *self, const task *what, const sk_env *env, const sk_mujoco_model *model, int first,
                           int n_envs, sk_error *reterr) {
    const sk_env_info *info = sk_env_info_get(env);
    size_t             n = (size_t)n_envs, o = (size_t)info->obs_dim, nu = (size_t)info->action_slots;
    sk_vec_params      params = {.env = env, .n_envs = n_envs, .first_env = first, .n_total = N_ENVS, .seed = SEED,
                                 .seeding = SK_VEC_SEED_OFFSET};
    *self = (lane){.what = what, .n_envs = n_envs, .obs_dim = info->obs_dim, .nu = info->action_slots,
                   .limit = info->max_episode_steps, .model = model, .obs = calloc(n * o, sizeof(float)),
                   .final_obs = calloc(n * o, sizeof(float)), .reward = calloc(n, sizeof(float)),
                   .flags = calloc(3 * n, 1), .action = calloc(N_ACTIONS * n * nu, sizeof(sk_env_slot))};
    if (!self->obs || !self->final_obs || !self->reward || !self->flags || !self->action)
        return SK_FAIL(reterr, SK_ENOMEM, "bench: no memory");
    for (size_t t = 0; t < N_ACTIONS; t++)
        for (size_t i = 0; i < n; i++)
            sk_env_action_random(sk_env_spec_get(env), SEED, (uint64_t)first + i, t, NULL,
                                 self->action + (t * n + i) * nu);
    SK_TRY(sk_vec_create(&params, &self->vec, reterr));
    SK_TRY(sk_vec_reset(self->vec, self->obs, NULL, reterr));
    for (int i = 0; i < n_envs; i++) {
        SK_TRY(sk__mujoco_data_create(model, &self->data[i], reterr));
        sk_pcg64_seed(&self->rng[i], SEED + (uint64_t)(first + i));
        bare_reset(self, i);
    }
    return SK_OK;
}

static void print_row(const sk_bench *self, const task *what, int n_threads, double rate[N_SIDES][64]) {
    char row[64], settings[240];
    snprintf(row, sizeof row, n_threads > 1 ? "4 %s %d threads" : "4 %s", what->env, n_threads);
    snprintf(settings, sizeof settings,
             "64 envs, %d thread%s, random actions, with the host's duties; limit: bare mj_step x %d%s on as many "
             "threads, an mjData per env, same actions and resets",
             n_threads, n_threads > 1 ? "s" : "", FRAME_SKIP,
             what->contact_forces ? " + mj_rnePostConstraint" : "");
    sk_bench_print(self, &(sk_bench_row){"mujoco", row, "env steps/s", sk_bench_median(rate[HOST], self->n_repeats),
                                         sk_bench_median(rate[BARE], self->n_repeats), settings});
}

static sk_status bench_task(const sk_bench *self, const task *what, int n_threads, const sk_env *env,
                            const sk_mujoco_model *model, sk_error *reterr) {
    double    rate[N_SIDES][64];
    int       share = N_ENVS / n_threads, n_lanes = 0;
    sk_status status = SK_OK;
    lane     *lanes = calloc((size_t)n_threads, sizeof *lanes);
    if (!lanes) return SK_FAIL(reterr, SK_ENOMEM, "bench: no memory");
    for (; n_lanes < n_threads && status == SK_OK; n_lanes++)
        status = init_lane(&lanes[n_lanes], what, env, model, n_lanes * share, share, reterr);
    if (status == SK_OK) status = measure(lanes, n_lanes, self->n_repeats, rate, reterr);
    if (status == SK_OK) print_row(self, what, n_threads, rate);
    for (int k = 0; k < n_lanes; k++) deinit_lane(&lanes[k]);
    free(lanes);
    return status;
}

sk_status sk_bench_mujoco(const sk_bench *self, sk_error *reterr) {
    sk_status status = SK_OK;
    for (int i = 0; i < SK_COUNT(tasks) && status == SK_OK; i++) {
        char             path[4096];
        sk_mujoco_model *model = NULL;
        SK_AUTO(sk_env) env = NULL;
        sk_env_params params = {.name = tasks[i].env};
        SK_TRY(sk_env_create(&params, &env, reterr));
        SK_TRY(sk__mujoco_model_path(tasks[i].file, path, sizeof path, reterr));
        SK_TRY(sk__mujoco_model_open(path, &model, reterr));
        for (int n = 1; n <= THREADS_MAX && status == SK_OK; n++)
            status = bench_task(self, &tasks[i], n, env, model, reterr);
        sk__mujoco_model_release(&model);
    }
    return status;
}
#endif
