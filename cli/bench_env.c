/* bench_env: stepping built-in environments on one core, through the host (resets, time limits, statistics) and bare. */
#include "cli/bench.h"
#include "core/base/clock.h"
#include "envs/mujoco/mujoco_names.h"
#include "envs/registry.h"
#include "rl/env.h"
#include "rl/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ENVS = 64 };

typedef struct columns {
    float       *obs, *final_obs, *reward;
    uint8_t     *flags; /* terminated, truncated, valid, active, failed: (5 x N_ENVS) */
    uint8_t     *mask;  /* written, not obeyed; NULL if there is none */
    sk_env_slot *action;
    int          n_actions; /* different action sets, used in turn */
} columns;

static void free_columns(columns *c) {
    free(c->obs);
    free(c->final_obs);
    free(c->reward);
    free(c->flags);
    free(c->mask);
    free(c->action);
}

static sk_status alloc_columns(columns *c, const sk_env *env, sk_error *reterr) {
    const sk_env_info *info = sk_env_info_get(env);
    size_t             rows = (size_t)(N_ENVS * info->n_agents);
    c->n_actions = 16;
    c->obs = calloc(rows * (size_t)info->obs_dim, sizeof *c->obs);
    c->final_obs = calloc(rows * (size_t)info->obs_dim, sizeof *c->final_obs);
    c->reward = calloc(rows, sizeof *c->reward);
    c->flags = calloc(rows * 5, 1);
    c->action = calloc((size_t)c->n_actions * rows * (size_t)info->action_slots, sizeof *c->action);
    if (info->mask_size) c->mask = calloc(rows, (size_t)info->mask_size);
    if (!c->obs || !c->final_obs || !c->reward || !c->flags || !c->action || (info->mask_size && !c->mask))
        return SK_FAIL(reterr, SK_ENOMEM, "bench: no memory");
    for (int t = 0; t < c->n_actions; t++)
        for (size_t r = 0; r < rows; r++)
            sk_env_action_random(sk_env_spec_get(env), 1, r, (uint64_t)t, NULL,
                                 c->action + ((size_t)t * rows + r) * (size_t)info->action_slots);
    return SK_OK;
}

/* Env steps per second over about 0.2 s. */
static sk_status time_vec(const sk_env *env, columns *c, double *ret, sk_error *reterr) {
    sk_vec       *vec = NULL;
    sk_vec_params params = {.env = env, .n_envs = N_ENVS, .seed = 1};
    int           slots = sk_env_info_get(env)->action_slots;
    SK_TRY(sk_vec_create(&params, &vec, reterr));
    sk_status status = sk_vec_reset(vec, c->obs, c->mask, reterr);
    int64_t   n = 0;
    double    start_s = sk_clock_now_s(), now_s = start_s;
    while (status == SK_OK && now_s - start_s < 0.2) {
        for (int t = 0; t < 256 && status == SK_OK; t++, n++)
            status = sk_vec_step_run(vec,
                                     &(sk_vec_step){.action = c->action + (t % c->n_actions) * N_ENVS * slots,
                                                    .reward = c->reward, .terminated = c->flags,
                                                    .truncated = c->flags + N_ENVS, .valid = c->flags + 2 * N_ENVS,
                                                    .next_obs = c->obs, .final_obs = c->final_obs,
                                                    .next_mask = c->mask},
                                     reterr);
        now_s = sk_clock_now_s();
    }
    *ret = (double)n * N_ENVS / (now_s - start_s);
    sk_vec_destroy(&vec);
    return status;
}

static uint8_t *mask_of(const columns *c, const sk_env *env, int e) {
    return c->mask ? c->mask + (size_t)e * (size_t)sk_env_info_get(env)->mask_size : NULL;
}

/* The same through the environment's own table, every env reset when it ends: what the host cannot beat. */
static sk_status time_bare(const sk_env *env, columns *c, double *ret, sk_error *reterr) {
    const sk_env_api *api = sk_env_api_get(env);
    void             *self = NULL;
    char              text[256] = "";
    int               slots = sk_env_info_get(env)->action_slots, bad = 0;
    int64_t           n = 0;
    if (api->create(sk_env_config_get(env), N_ENVS, &self, text, sizeof text))
        return SK_FAIL(reterr, SK_EENV, "%s: %s", api->name, text);
    size_t obs_dim = (size_t)sk_env_info_get(env)->obs_dim;
    for (int e = 0; e < N_ENVS; e++) bad |= api->reset(self, e, &(uint64_t){(uint64_t)e}, c->obs + (size_t)e * obs_dim, mask_of(c, env, e));
    double start_s = sk_clock_now_s(), now_s = start_s;
    while (!bad && now_s - start_s < 0.2) {
        for (int t = 0; t < 256; t++, n++) {
            bad |= api->step(self, 0, N_ENVS,
                             &(sk_env_io){.struct_size = sizeof(sk_env_io), .obs = c->obs, .reward = c->reward,
                                          .action = c->action + (t % c->n_actions) * N_ENVS * slots,
                                          .terminated = c->flags, .truncated = c->flags + N_ENVS,
                                          .mask = c->mask, .active = c->flags + 3 * N_ENVS,
                                          .failed = c->flags + 4 * N_ENVS});
            for (int e = 0; e < N_ENVS; e++)
                if (c->flags[e])
                    bad |= api->reset(self, e, NULL, c->obs + (size_t)e * obs_dim, mask_of(c, env, e));
        }
        now_s = sk_clock_now_s();
    }
    api->destroy(self);
    *ret = (double)n * N_ENVS / (now_s - start_s);
    return bad ? SK_FAIL(reterr, SK_EENV, "%s: a step or reset failed", api->name) : SK_OK;
}

static sk_status bench_one(const sk_bench *self, const char *name, sk_error *reterr) {
    sk_env       *env = NULL;
    columns       c = {0};
    double        host[64], bare[64];
    sk_env_params params = {.name = name};
    SK_TRY(sk_env_create(&params, &env, reterr));
    sk_status status = sk_env_info_get(env)->n_agents == 1
                           ? alloc_columns(&c, env, reterr)
                           : SK_FAIL(reterr, SK_EUNSUPPORTED, "%s: only single agents are timed", name);
    for (int r = 0; r < self->n_repeats && status == SK_OK; r++) {
        status = time_bare(env, &c, &bare[r], reterr);
        if (status == SK_OK) status = time_vec(env, &c, &host[r], reterr);
    }
    char row[SK_ENV_NAME_MAX + 2];
    snprintf(row, sizeof row, "4 %s", name); /* row 4 of the peers' table */
    if (status == SK_OK)
        sk_bench_print(self, &(sk_bench_row){"env", row, "env steps/s", sk_bench_median(host, self->n_repeats),
                                             sk_bench_median(bare, self->n_repeats),
                                             "64 envs, one core, with the host's duties; limit: bare calls and resets"});
    free_columns(&c);
    sk_env_destroy(&env);
    return status;
}

/* Those on MuJoCo are for bench_mujoco.c; the robot of one's own has no model until a config names it. */
static int is_simulated(const char *name) {
#define NAME_TEXT(id, text) text,
    static const char *const names[] = {SK_MUJOCO_ENVS(NAME_TEXT) "mujoco"};
#undef NAME_TEXT
    for (int i = 0; i < SK_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) return 1;
    return 0;
}

sk_status sk_bench_env(const sk_bench *self, sk_error *reterr) {
    for (int i = 0; i < sk_env_builtin_count(); i++)
        if (!is_simulated(sk_env_builtin_at(i)->name)) SK_TRY(bench_one(self, sk_env_builtin_at(i)->name, reterr));
    return SK_OK;
}
