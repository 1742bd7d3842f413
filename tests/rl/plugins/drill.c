/* Drill: an environment that can be learned a little, in every kind of action a policy knows, for the tests of
 * runners, streams and algorithms. An observation is {step / 10, three random numbers in [-1, 1)}; the reward says how
 * well the action fits the first of them.
 *
 * Config (integers; 0 = off):
 *   kind     0 one choice of 4 | 1 two choices: 3 counted from -1, and 2 | a box of 2: 2 in [-1, 1] | 3 in [-0.5, 1.5]
 *            | 4 without bounds
 *   mask     1: masks are given, and a choice against them fails the episode
 *   agents   rows of an environment (0 counts as 1); each ends by itself, and waits for the others
 *   turns    1: only agent t % agents acts after step t
 *   end      an agent terminates with this chance [%] in each step
 *   cut      all agents are truncated at this step
 *   nan      observations of agent 0 turn NaN at this step, in every other episode
 *   big      observations are this many times larger
 * Drill-v0 can save its state, Drillbit-v0 cannot. */
#include "skiff/env.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_DIM = 4, CHOICES_MAX = 5, AGENTS_MAX = 4 };

typedef struct drill {
    int kind, mask, agents, turns, end, cut, nan, big;
} drill;

typedef struct env {
    int      t, episode;
    uint64_t random;
    float    want[AGENTS_MAX];                   /* the first random number each agent saw     */
    uint8_t  ended[AGENTS_MAX];
    uint8_t  allowed[AGENTS_MAX][CHOICES_MAX];
} env;

typedef struct instance {
    drill say;
    env   envs[];
} instance;

static int get(const sk_env_config *config, const char *name) {
    for (int i = 0; i < config->n; i++)
        if (strcmp(config->names[i], name) == 0) return atoi(config->values[i]);
    return 0;
}
static drill read_drill(const sk_env_config *c) {
    drill say = {.kind = get(c, "kind"), .mask = get(c, "mask"), .agents = get(c, "agents"), .turns = get(c, "turns"),
                 .end = get(c, "end"), .cut = get(c, "cut"), .nan = get(c, "nan"), .big = get(c, "big")};
    if (say.agents == 0) say.agents = 1;
    if (say.big == 0) say.big = 1;
    return say;
}
static int n_choices(const drill *say) { return say->kind == 0 ? 4 : say->kind == 1 ? 5 : 0; }
static int n_slots(const drill *say) { return say->kind == 0 ? 1 : 2; }

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    drill say = read_drill(config);
    if (say.agents > AGENTS_MAX) {
        snprintf(err, err_size, "at most %d agents", AGENTS_MAX);
        return 1;
    }
    spec->n_obs = 1;
    spec->obs[0] = (sk_env_field){.name = "seen", .n_dims = 1, .shape = {OBS_DIM}, .low = -INFINITY, .high = INFINITY};
    if (say.kind == 0) {
        spec->n_action = 1;
        spec->action[0] = (sk_env_action_part){.name = "choice", .kind = SK_ENV_DISCRETE, .n = 4};
    } else if (say.kind == 1) {
        spec->n_action = 2;
        spec->action[0] = (sk_env_action_part){.name = "gear", .kind = SK_ENV_DISCRETE, .n = 3, .start = -1};
        spec->action[1] = (sk_env_action_part){.name = "light", .kind = SK_ENV_DISCRETE, .n = 2};
    } else {
        spec->n_action = 1;
        float low = say.kind == 4 ? -INFINITY : say.kind == 3 ? -0.5f : -1.0f;
        float high = say.kind == 4 ? INFINITY : say.kind == 3 ? 1.5f : 1.0f;
        spec->action[0] = (sk_env_action_part){.name = "pull", .kind = SK_ENV_BOX, .n = 2, .low = low, .high = high};
    }
    spec->mask_size = say.mask ? n_choices(&say) : 0;
    spec->n_agents = say.agents;
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    instance *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(env));
    if (!self) {
        snprintf(err, err_size, "out of memory");
        return 1;
    }
    self->say = read_drill(config);
    *ret_self = self;
    return 0;
}
static void destroy(void *self) { free(self); }

/* 24 fresh bits. */
static unsigned next(env *e) {
    e->random = e->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(e->random >> 40);
}

static void write_row(const instance *self, env *e, int agent, float *obs, uint8_t *mask) {
    obs[0] = (float)e->t / 10.0f;
    for (int i = 1; i < OBS_DIM; i++) obs[i] = (float)next(e) * 0x1p-23f - 1.0f;
    e->want[agent] = obs[1];
    for (int i = 0; i < OBS_DIM; i++) obs[i] *= (float)self->say.big;
    if (agent == 0 && self->say.nan && self->say.nan == e->t && e->episode % 2) obs[2] = NAN;
    if (!mask) return;
    int n = n_choices(&self->say);
    for (int c = 0; c < n; c++) mask[c] = next(e) % 3 != 0;
    mask[0] = 1; /* something is always allowed, in each part */
    if (self->say.kind == 1) mask[3 + next(e) % 2] = 1;
    memcpy(e->allowed[agent], mask, (size_t)n);
}

static int reset(void *self_v, int at, const uint64_t *seed, void *obs, uint8_t *mask) {
    instance *self = self_v;
    env      *e = &self->envs[at];
    if (seed) e->random = *seed;
    e->t = 0;
    e->episode++;
    memset(e->ended, 0, sizeof e->ended);
    for (int a = 0; a < self->say.agents; a++)
        write_row(self, e, a, (float *)obs + a * OBS_DIM, mask ? mask + a * n_choices(&self->say) : NULL);
    return 0;
}

/* Reward of an action in [-1, 1]-ish; -100 if the mask forbids it. */
static float judge(const drill *say, const env *e, int agent, const sk_env_slot *action) {
    float did;
    if (say->kind >= 2) {
        did = action[0].f;
    } else {
        int gear = action[0].i + (say->kind == 1), light = say->kind == 1 ? action[1].i : 0;
        if (say->mask && (!e->allowed[agent][gear] || (say->kind == 1 && !e->allowed[agent][3 + light]))) return -100.0f;
        did = (float)gear / 1.5f - 1.0f + 0.1f * (float)light;
    }
    return 1.0f - fabsf(did - e->want[agent]);
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    instance    *self = self_v;
    const drill *say = &self->say;
    for (int i = 0; i < count * say->agents; i++) {
        int    a = i % say->agents;
        env   *e = &self->envs[first + i / say->agents];
        if (a == 0) e->t++;
        io->reward[i] = judge(say, e, a, io->action + i * n_slots(say));
        if (io->reward[i] <= -100.0f && !e->ended[a] && !say->turns) io->failed[i] = 1;
        write_row(self, e, a, (float *)io->obs + i * OBS_DIM, io->mask ? io->mask + i * n_choices(say) : NULL);
        e->ended[a] |= (int)(next(e) % 100) < say->end;
        io->terminated[i] = e->ended[a];
        if (say->turns) io->active[i] = e->t % say->agents == a;
        io->truncated[i] = say->cut && e->t >= say->cut;
    }
    return 0;
}

static size_t state_size(void *self) { return (void)self, sizeof(env); }
static int state_save(void *self, int at, void *bytes) {
    memcpy(bytes, &((instance *)self)->envs[at], sizeof(env));
    return 0;
}
static int state_load(void *self, int at, const void *bytes) {
    memcpy(&((instance *)self)->envs[at], bytes, sizeof(env));
    return 0;
}
static const char *last_error(void *self) { return (void)self, "a masked choice was taken"; }

#define COMMON .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .describe = describe, \
               .create = create, .destroy = destroy, .reset = reset, .step = step, .last_error = last_error
static const sk_env_api drill_api = {
    COMMON, .name = "Drill-v0", .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .state_size = state_size, .state_save = state_save, .state_load = state_load,
};
static const sk_env_api drillbit_api = {COMMON, .name = "Drillbit-v0", .caps = SK_ENV_CAP_DETERMINISTIC};

SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index) {
    return index == 0 ? &drill_api : index == 1 ? &drillbit_api : NULL;
}
