/* native: what the Python module skiff_gym calls through ctypes: environments of one agent with the host's
 * duties that Gymnasium's interface needs (time limits, clipping of actions, resets within the step), and
 * skiff/policy.h. Built as libskiff_gym.so; not meant for C programs.
 * Columns are NumPy's: (N x ...) row-major, N environments.
 * Threads: one per instance. */
#include "policies/policy.h"
#include "rl/env.h"
#include "skiff/policy.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct skiff_gym {
    sk_env            *env;
    const sk_env_api  *api;
    const sk_env_spec *spec;
    sk_env_info        info;
    void              *impl;
    int                n;
    int32_t           *age;             /* (N) steps in the episode                     */
    sk_env_slot       *action;          /* (N x S) clipped                              */
    uint8_t           *active, *failed; /* (N)                                 */
    char               error[600];
} skiff_gym;

/* One step's columns, as struct Step in _native.py. */
typedef struct skiff_gym_step_io {
    const sk_env_slot *action; /* (N x S)                                                   */
    void              *obs;    /* (N x O) slots; after a reset its first observation        */
    float             *reward; /* (N)                                                       */
    uint8_t           *terminated, *truncated; /* (N)                                       */
    uint8_t           *mask;      /* (N x K), NULL if K is 0                                */
    float             *metrics;   /* (N x M), NULL if M is 0                                */
    void              *final_obs; /* (N x O) of ended environments, which are reset; NULL: nothing is reset */
} skiff_gym_step_io;

EXPORT void skiff_gym_destroy(skiff_gym *self);
EXPORT int  skiff_gym_create(const char *name, const char *plugin, int n_config,
                             const char *const *config_names, const char *const *config_values,
                             int max_episode_steps, int n_envs, skiff_gym **ret, char *err, size_t err_size);
EXPORT const char        *skiff_gym_name(const skiff_gym *self);
EXPORT const sk_env_spec *skiff_gym_spec(const skiff_gym *self);
EXPORT const char        *skiff_gym_error(const skiff_gym *self);
EXPORT int skiff_gym_reset(skiff_gym *self, int env, const uint64_t *seed, void *obs, uint8_t *mask);
EXPORT int skiff_gym_step(skiff_gym *self, const skiff_gym_step_io *io);
EXPORT int skiff_gym_policy_integers(const char *path, uint8_t *ret_is_integer, char *err, size_t err_size);

/* Named here so that the linker takes them along. */
typedef void (*any_fn)(void);
EXPORT extern const any_fn skiff_gym_policy_functions[];
const any_fn skiff_gym_policy_functions[] = {(any_fn)skiff_policy_load, (any_fn)skiff_policy_act,
                                             (any_fn)skiff_policy_sample};

/* ---- lifecycle ---- */

void skiff_gym_destroy(skiff_gym *self) {
    if (!self) return;
    if (self->impl) self->api->destroy(self->impl);
    sk_env_destroy(&self->env);
    free(self->age);
    free(self->action);
    free(self->active);
    free(self->failed);
    free(self);
}

static sk_status open_env(skiff_gym *self, const sk_env_params *params, sk_error *reterr) {
    SK_TRY(sk_env_create(params, &self->env, reterr));
    self->api = sk_env_api_get(self->env);
    self->spec = sk_env_spec_get(self->env);
    self->info = *sk_env_info_get(self->env);
    if (self->info.n_agents != 1)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "environment \"%s\" has %d agents; gymnasium.Env is for one",
                       self->info.name, self->info.n_agents);
    size_t n = (size_t)self->n, slots = (size_t)self->info.action_slots;
    self->age = calloc(n, sizeof *self->age);
    self->action = calloc(n * slots, sizeof *self->action);
    self->active = calloc(n, 1);
    self->failed = calloc(n, 1);
    if (!self->age || !self->action || !self->active || !self->failed)
        return SK_FAIL(reterr, SK_ENOMEM, "out of memory for %d environments", self->n);
    char why[400] = "";
    if (self->api->create(sk_env_config_get(self->env), self->n, &self->impl, why, sizeof why) == 0)
        return SK_OK;
    self->impl = NULL;
    return SK_FAIL(reterr, SK_EENV, "environment \"%s\": create failed: %s", self->info.name, why);
}

int skiff_gym_create(const char *name, const char *plugin, int n_config, const char *const *config_names,
                     const char *const *config_values, int max_episode_steps, int n_envs, skiff_gym **ret,
                     char *err, size_t err_size) {
    sk_error      error = {0};
    sk_env_params params = {.name = name,
                            .plugin = plugin,
                            .n_config = n_config,
                            .config_names = config_names,
                            .config_values = config_values,
                            .max_episode_steps = max_episode_steps};
    skiff_gym    *self = n_envs > 0 ? calloc(1, sizeof *self) : NULL;
    if (self) self->n = n_envs;
    sk_status status = self ? open_env(self, &params, &error)
                            : SK_FAIL(&error, SK_EINVAL, "num_envs must be > 0, got %d", n_envs);
    if (status == SK_OK) {
        *ret = self;
        return 0;
    }
    snprintf(err, err_size, "%s", error.msg);
    skiff_gym_destroy(self);
    return (int)status;
}

const char        *skiff_gym_name(const skiff_gym *self) { return self->info.name; }
const sk_env_spec *skiff_gym_spec(const skiff_gym *self) { return self->spec; }
const char        *skiff_gym_error(const skiff_gym *self) { return self->error; }

/* ---- use ---- */

/* Note what the environment says went wrong. */
static int failed(skiff_gym *self, const char *what, int env) {
    const char *why = self->api->last_error ? self->api->last_error(self->impl) : NULL;
    snprintf(self->error, sizeof self->error, "environment \"%s\", env %d: %s: %s", self->info.name, env,
             what, why && why[0] ? why : "(it gave no reason)");
    return -1;
}

int skiff_gym_reset(skiff_gym *self, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    self->age[env] = 0;
    return self->api->reset(self->impl, env, seed, obs, mask) ? failed(self, "reset failed", env) : 0;
}

/* Copy slot `at` of a row, at the door: choices must be in range, box values are clipped. */
static int admit(skiff_gym *self, const sk_env_action_part *part, int i, int env, size_t at,
                 sk_env_slot slot) {
    if (part->kind == SK_ENV_DISCRETE) {
        self->action[at] = slot;
        if ((uint32_t)slot.i - (uint32_t)part->start < (uint32_t)part->n) return 0;
        snprintf(self->error, sizeof self->error, "env %d: action \"%s\" is %d, wanted %d to %d", env,
                 part->name, slot.i, part->start, part->start + part->n - 1);
        return -1;
    }
    float low, high;
    sk_env_part_bounds(part, i, &low, &high);
    self->action[at].f = slot.f < low ? low : slot.f > high ? high : slot.f;
    if (!isnan(slot.f)) return 0;
    snprintf(self->error, sizeof self->error, "env %d: action \"%s[%d]\" is nan", env, part->name, i);
    return -1;
}

static int admit_all(skiff_gym *self, const sk_env_slot *action) {
    size_t at = 0;
    for (int env = 0; env < self->n; env++)
        for (int p = 0; p < self->spec->n_action; p++)
            for (int i = 0; i < sk_env_part_slots(&self->spec->action[p]); i++, at++)
                if (admit(self, &self->spec->action[p], i, env, at, action[at])) return -1;
    return 0;
}

/* After a step: count it, apply the time limit, reset what has ended if that is asked for. */
static int settle(skiff_gym *self, const skiff_gym_step_io *io, int env) {
    size_t row_bytes = (size_t)self->info.obs_dim * sizeof(float), at = (size_t)env * row_bytes;
    if (self->failed[env]) return failed(self, "step failed", env);
    if (!self->active[env]) io->terminated[env] = 1;
    self->age[env]++;
    if (self->info.max_episode_steps > 0 && self->age[env] >= self->info.max_episode_steps)
        io->truncated[env] = 1;
    if (!io->final_obs || (!io->terminated[env] && !io->truncated[env])) return 0;
    memcpy((char *)io->final_obs + at, (char *)io->obs + at, row_bytes);
    return skiff_gym_reset(self, env, NULL, (char *)io->obs + at,
                           io->mask ? io->mask + env * self->info.mask_size : NULL);
}

int skiff_gym_step(skiff_gym *self, const skiff_gym_step_io *io) {
    if (admit_all(self, io->action)) return -1;
    memset(self->active, 1, (size_t)self->n);
    memset(self->failed, 0, (size_t)self->n);
    sk_env_io columns = {.struct_size = sizeof columns,
                         .action = self->action,
                         .obs = io->obs,
                         .reward = io->reward,
                         .terminated = io->terminated,
                         .truncated = io->truncated,
                         .mask = io->mask,
                         .active = self->active,
                         .failed = self->failed,
                         .metrics = io->metrics};
    if (self->api->step(self->impl, 0, self->n, &columns)) return failed(self, "step failed", 0);
    for (int env = 0; env < self->n; env++)
        if (settle(self, io, env)) return -1;
    return 0;
}

/* ---- policies ---- */

/* Which slots of an observation (O of them) the policy reads as integers. */
int skiff_gym_policy_integers(const char *path, uint8_t *ret_is_integer, char *err, size_t err_size) {
    sk_policy *policy = NULL;
    sk_error   error = {0};
    if (sk_policy_load(path, &policy, &error) != SK_OK) {
        snprintf(err, err_size, "%s", error.msg);
        return -1;
    }
    const sk_policy_spaces *spaces = sk_policy_spaces_get(policy);
    memset(ret_is_integer, 0, (size_t)spaces->obs_dim);
    for (int r = 0, at = 0; r < spaces->n_runs; at += spaces->runs[r++].cols)
        memset(ret_is_integer + at, spaces->runs[r].choices > 0, (size_t)spaces->runs[r].cols);
    sk_policy_destroy(&policy);
    return 0;
}
