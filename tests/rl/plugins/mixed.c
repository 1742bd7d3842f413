/* Mixed-v0: an environment with a Dict-like observation and two discrete action parts with a mask, for the tests of
 * spaces of several kinds.
 *
 * Observation: position (2 floats), heading (1 float), harbour (an integer from 2 to 6). Actions: course in {-1, 0, 1},
 * sail in {0, 1}. Right are the course (harbour % 3) - 1 and the sail that is set where position[0] > 0: half a point
 * each. The mask forbids one course that is not the right one. An episode lasts 8 steps.
 *
 * Config: bad (0): at this step the harbour is 7, which it must not be; refuse (0): 1 = a forbidden course is an error. */
#include "skiff/env.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_SLOTS = 4, SLOTS = 2, MASK = 5, STEPS = 8, HARBOUR_MIN = 2, HARBOURS = 5 };

typedef struct env {
    uint64_t random;
    int32_t  t, harbour, forbidden;
    float    x;
} env;

typedef struct instance {
    int  bad, refuse;
    char error[64];
    env  envs[];
} instance;

static int get(const sk_env_config *config, const char *name) {
    for (int i = 0; i < config->n; i++)
        if (strcmp(config->names[i], name) == 0) return atoi(config->values[i]);
    return 0;
}

static int describe(const sk_env_config *config, sk_env_spec *spec, char *err, size_t err_size) {
    (void)config, (void)err, (void)err_size;
    spec->n_obs = 3;
    spec->obs[0] = (sk_env_field){.name = "position", .n_dims = 1, .shape = {2}, .low = -1, .high = 1};
    spec->obs[1] = (sk_env_field){.name = "heading", .low = 0, .high = 1};
    spec->obs[2] = (sk_env_field){.name = "harbour", .dtype = SK_ENV_I32, .low = HARBOUR_MIN,
                                  .high = HARBOUR_MIN + HARBOURS - 1};
    spec->n_action = 2;
    spec->action[0] = (sk_env_action_part){.name = "course", .kind = SK_ENV_DISCRETE, .n = 3, .start = -1};
    spec->action[1] = (sk_env_action_part){.name = "sail", .kind = SK_ENV_DISCRETE, .n = 2};
    spec->mask_size = MASK;
    spec->n_agents = 1;
    spec->reward_high = 1.0f;
    return 0;
}

static int create(const sk_env_config *config, int n_envs, void **ret_self, char *err, size_t err_size) {
    instance *self = calloc(1, sizeof *self + (size_t)n_envs * sizeof(env));
    if (!self) {
        snprintf(err, err_size, "out of memory");
        return 1;
    }
    self->bad = get(config, "bad");
    self->refuse = get(config, "refuse");
    *ret_self = self;
    return 0;
}

static void destroy(void *self) { free(self); }

static float draw(env *e) {
    e->random = e->random * 6364136223846793005u + 1442695040888963407u;
    return (float)(e->random >> 40) * 0x1p-24f;
}

static int right_course(const env *e) { return e->harbour % 3 - 1; }

static void write_row(const instance *self, env *e, sk_env_slot *obs, uint8_t *mask) {
    e->x = draw(e) * 2.0f - 1.0f;
    e->harbour = HARBOUR_MIN + (int)(draw(e) * HARBOURS);
    e->forbidden = (right_course(e) + 1 + 1 + (draw(e) < 0.5f)) % 3 - 1; /* one of the two wrong ones */
    obs[0].f = e->x;
    obs[1].f = draw(e) * 2.0f - 1.0f;
    obs[2].f = draw(e);
    obs[3].i = self->bad && e->t == self->bad ? HARBOUR_MIN + HARBOURS : e->harbour;
    for (int c = 0; c < MASK; c++) mask[c] = c != e->forbidden + 1;
}

static int reset(void *self_v, int at, const uint64_t *seed, void *obs, uint8_t *mask) {
    env *e = &((instance *)self_v)->envs[at];
    if (seed) e->random = *seed * 2 + 1;
    e->t = 0;
    write_row(self_v, e, obs, mask);
    return 0;
}

static int step(void *self_v, int first, int count, const sk_env_io *io) {
    instance *self = self_v;
    for (int i = 0; i < count; i++) {
        env               *e = &self->envs[first + i];
        const sk_env_slot *action = io->action + i * SLOTS;
        if (self->refuse && action[0].i == e->forbidden) {
            snprintf(self->error, sizeof self->error, "course %d is forbidden", action[0].i);
            return 1;
        }
        io->reward[i] =
            0.5f * (float)(action[0].i == right_course(e)) + 0.5f * (float)(action[1].i == (e->x > 0.0f));
        io->terminated[i] = ++e->t == STEPS;
        io->truncated[i] = 0;
        write_row(self, e, (sk_env_slot *)io->obs + i * OBS_SLOTS, io->mask + i * MASK);
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

static const sk_env_api mixed = {
    .abi_version = SK_ENV_ABI_VERSION, .struct_size = sizeof(sk_env_api), .name = "Mixed-v0",
    .caps = SK_ENV_CAP_DETERMINISTIC | SK_ENV_CAP_STATE,
    .describe = describe, .create = create, .destroy = destroy, .reset = reset, .step = step,
    .state_size = state_size, .state_save = state_save, .state_load = state_load, .last_error = last_error,
};

SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index);
SK_ENV_EXPORT const sk_env_api *skiff_env_plugin(int index) { return index == 0 ? &mixed : NULL; }
