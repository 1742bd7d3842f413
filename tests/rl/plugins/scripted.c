/* Scripted: an environment whose every move is told by its config, for tests/rl/test_vec.c. Step t of an
 * episode (from 1): obs = {t, a random number, the box action as it arrived}, reward = t, metric = t.
 *
 * Config (all integers, 0 = never or off):
 *   agents     rows of an environment
 *   end        agent a terminates at step end + a * stagger (and keeps saying so until the reset)
 *   stagger    see above
 *   loud       1: terminated is 255 instead of 1
 *   cut        all agents are truncated at this step
 *   rest       from this step on agents say that they do not act (active = 0) once they have ended
 *   quit       all agents stop acting at this step, without an end
 *   turns      only agent t % agents acts after step t
 *   nan        obs "noise" is NaN at this step           | of environment `of` (local index),
 *   inf        reward is infinite                        | in episodes up to `until` (0: all)
 *   fail       io->failed of the last agent              |
 *   mask       1: a mask is given; nomask: it is all zero at this step
 *   error      step returns an error when environment `of` comes to this step
 *   bad_reset  the n-th reset of environment `of` fails
 * Scripted-v0 can save its state, Stateless-v0 cannot. */
#include "skiff/env.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct script {
    int agents, end, stagger, loud, cut, rest, quit, turns, nan, inf, fail, mask, nomask, error, bad_reset,
        of, until;
} script;

typedef struct env {
    int      t, episode, resets;
    uint64_t random;
} env;

typedef struct instance {
    script say;
    char   error[64];
    env    envs[];
} instance;

enum { OBS_DIM = 4, SLOTS = 3, CHOICES = 3 };

static int get(const sk_env_config *config, const char *name, int fallback) {
    for (int i = 0; i < config->n; i++) {
        if (strcmp(config->names[i], name) == 0) return atoi(config->values[i]);
    }
    return fallback;
}

static script read_script(const sk_env_config *c) {
    return (script){.agents = get(c, "agents", 1),
                    .end = get(c, "end", 0),
                    .stagger = get(c, "stagger", 0),
                    .loud = get(c, "loud", 0),
                    .cut = get(c, "cut", 0),
                    .rest = get(c, "rest", 0),
                    .quit = get(c, "quit", 0),
                    .turns = get(c, "turns", 0),
                    .nan = get(c, "nan", 0),
                    .inf = get(c, "inf", 0),
                    .fail = get(c, "fail", 0),
                    .mask = get(c, "mask", 0),
                    .nomask = get(c, "nomask", 0),
                    .error = get(c, "error", 0),
                    .bad_reset = get(c, "bad_reset", 0),
                    .of = get(c, "of", 0),
                    .until = get(c, "until", 0)};
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    (void)err, (void)err_size;
    script say = read_script(config);
    spec->n_obs = 3;
    spec->obs[0] = (sk_env_field){.name = "time", .high = INFINITY};
    spec->obs[1] = (sk_env_field){.name = "noise", .high = 1};
    spec->obs[2] = (sk_env_field){.name = "pull", .n_dims = 1, .shape = {2}, .low = -1, .high = 1};
    spec->n_action = 2;
    spec->action[0] =
        (sk_env_action_part){.name = "gear", .kind = SK_ENV_DISCRETE, .n = CHOICES, .start = -1};
    spec->action[1] = (sk_env_action_part){.name = "pull", .kind = SK_ENV_BOX, .n = 2, .low = -1, .high = 1};
    spec->mask_size = say.mask ? CHOICES : 0;
    spec->n_agents = say.agents;
    spec->n_metrics = 1;
    strcpy(spec->metric_name[0], "time");
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    instance *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(env));
    if (!self) {
        snprintf(err, err_size, "out of memory");
        return 1;
    }
    self->say = read_script(config);
    *ret_self = self;
    return 0;
}

static void destroy(void *self) { free(self); }

static void write_row(const instance *self, env *e, const sk_env_slot *action, float *obs, uint8_t *mask) {
    e->random = e->random * 6364136223846793005u + 1442695040888963407u;
    obs[0] = (float)e->t;
    obs[1] = (float)(e->random >> 40) * 0x1p-24f;
    obs[2] = action ? action[1].f : 0.0f;
    obs[3] = action ? action[2].f : 0.0f;
    if (mask) memset(mask, e->t != self->say.nomask || !e->t, CHOICES);
}

static int reset(void *self_v, int at, const uint64_t *seed, void *obs, uint8_t *mask) {
    instance *self = self_v;
    env      *e = &self->envs[at];
    if (seed) e->random = *seed;
    e->t = 0;
    e->episode++;
    e->resets++;
    if (self->say.bad_reset == e->resets && at == self->say.of) {
        snprintf(self->error, sizeof self->error, "reset %d went wrong", e->resets);
        return 1;
    }
    for (int a = 0; a < self->say.agents; a++) {
        write_row(self, e, NULL, (float *)obs + a * OBS_DIM, mask ? mask + a * CHOICES : NULL);
    }
    return 0;
}

static void step_env(instance *self, int at, const sk_env_io *io, int row0) {
    const script *say = &self->say;
    env          *e = &self->envs[at];
    int           faulty = at == say->of && (!say->until || e->episode <= say->until);
    e->t++;
    for (int a = 0; a < say->agents; a++) {
        int    row = row0 + a, last = say->end + a * say->stagger;
        float *obs = (float *)io->obs + row * OBS_DIM;
        write_row(self, e, io->action + row * SLOTS, obs, io->mask ? io->mask + row * CHOICES : NULL);
        io->reward[row] = (float)e->t;
        io->metrics[row] = (float)e->t;
        io->terminated[row] = say->end && e->t >= last ? say->loud ? 255 : 1 : 0;
        io->truncated[row] = say->cut && e->t >= say->cut;
        if (say->rest && e->t >= say->rest && io->terminated[row]) io->active[row] = 0;
        if (say->quit && e->t >= say->quit) io->active[row] = 0;
        if (say->turns) io->active[row] = e->t % say->agents == a;
        if (faulty && say->nan == e->t) obs[1] = NAN;
        if (faulty && say->inf == e->t) io->reward[row] = INFINITY;
        if (faulty && say->fail == e->t && a == say->agents - 1) io->failed[row] = 1;
    }
    if (faulty && say->fail == e->t) snprintf(self->error, sizeof self->error, "the mast broke");
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    instance *self = self_v;
    for (int i = 0; i < count; i++) {
        step_env(self, first + i, io, i * self->say.agents);
        if (self->say.error && first + i == self->say.of && self->envs[first + i].t == self->say.error) {
            snprintf(self->error, sizeof self->error, "the sea is gone");
            return 1;
        }
    }
    return 0;
}

static size_t state_size(void *self) {
    (void)self;
    return sizeof(env);
}
static int state_save(void *self, int at, void *bytes) {
    memcpy(bytes, &((instance *)self)->envs[at], sizeof(env));
    return 0;
}
static int state_load(void *self, int at, const void *bytes) {
    memcpy(&((instance *)self)->envs[at], bytes, sizeof(env));
    return 0;
}
static const char *last_error(void *self) { return ((instance *)self)->error; }

static const sk_env_api scripted = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Scripted-v0",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load, .last_error = last_error,
};
static const sk_env_api stateless = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Stateless-v0",
    .caps = SK_ENV_CAP_DETERMINISTIC,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .last_error = last_error,
};

SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index) {
    return index == 0 ? &scripted : index == 1 ? &stateless : NULL;
}
