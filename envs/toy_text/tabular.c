#include "envs/toy_text/tabular.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sk__tabular_describe(sk_env_spec *spec, int n_states, const char *action_name, int n_actions) {
    spec->n_obs = 1;
    spec->obs[0] = (sk_env_field){.name = "state", .dtype = SK_ENV_I32, .high = (float)(n_states - 1)};
    spec->n_action = 1;
    spec->action[0] = (sk_env_action_part){.kind = SK_ENV_DISCRETE, .n = n_actions};
    snprintf(spec->action[0].name, sizeof spec->action[0].name, "%s", action_name);
    spec->n_agents = 1;
}

sk__tabular *sk__tabular_create(int n_envs, int n_states, int n_actions, char *err, size_t err_size) {
    /* One allocation: the struct, then the columns from the widest element to the narrowest. */
    size_t envs = (size_t)n_envs * sizeof(sk__tabular_env), start = (size_t)n_states * sizeof(double);
    size_t outcomes = (size_t)(n_states * n_actions * SK__TABULAR_OUTCOMES) * sizeof(sk__outcome);
    size_t head = (sizeof(sk__tabular) + 63) / 64 * 64;
    char  *memory = calloc(1, head + envs + start + outcomes);
    if (!memory) {
        snprintf(err, err_size, "out of memory for %d environments", n_envs);
        return NULL;
    }
    sk__tabular *self = (sk__tabular *)(void *)memory;
    self->n_states = n_states;
    self->n_actions = n_actions;
    self->envs = (sk__tabular_env *)(void *)(memory + head);
    self->start_cdf = (double *)(void *)(memory + head + envs);
    self->outcome = (sk__outcome *)(void *)(memory + head + envs + start);
    for (int a = 0; a < n_actions; a++) sk__tabular_set_odds(self, a, 1.0, 0.0, 0.0);
    for (int i = 0; i < n_envs; i++) sk_pcg64_seed(&self->envs[i].rng, (uint64_t)i);
    return self;
}

void sk__tabular_destroy(void *self) { free(self); }

sk__outcome *sk__tabular_outcomes(const sk__tabular *self, int s, int a) {
    return self->outcome + (ptrdiff_t)(s * self->n_actions + a) * SK__TABULAR_OUTCOMES;
}

void sk__tabular_set_odds(sk__tabular *self, int a, double first, double second, double third) {
    self->cdf[a][0] = first;
    self->cdf[a][1] = self->cdf[a][0] + second;
    self->cdf[a][2] = self->cdf[a][1] + third;
}

void sk__tabular_set_start(sk__tabular *self, const double *p) {
    double sum = 0.0;
    for (int s = 0; s < self->n_states; s++) self->start_cdf[s] = sum += p[s];
}

void sk__tabular_start(sk__tabular *self, int env, const uint64_t *seed) {
    sk__tabular_env *e = &self->envs[env];
    if (seed) sk_pcg64_seed(&e->rng, *seed);
    double u = sk_pcg64_random(&e->rng);
    int    low = 0, high = self->n_states; /* the first cdf > u is at low or behind it, below high */
    while (low < high) {
        int middle = (low + high) / 2;
        if (self->start_cdf[middle] > u) high = middle;
        else low = middle + 1;
    }
    e->state =
        low < self->n_states ? low : 0; /* a sum that stays below 1 by rounding: index 0, as argmax has it */
}

const sk__outcome *sk__tabular_move(sk__tabular *self, int env, int action) {
    sk__tabular_env *e = &self->envs[env];
    const double    *cdf = self->cdf[action];
    double           u = sk_pcg64_random(&e->rng);
    int              k = cdf[0] > u ? 0 : cdf[1] > u ? 1 : cdf[2] > u ? 2 : 0;
    const sk__outcome *outcome = sk__tabular_outcomes(self, e->state, action) + k;
    e->state = outcome->next;
    return outcome;
}

int sk__tabular_reset(void *self_v, int env, const uint64_t *seed, void *obs, uint8_t *mask) {
    (void)mask;
    sk__tabular *self = self_v;
    sk__tabular_start(self, env, seed);
    memcpy(obs, &self->envs[env].state, sizeof(int32_t));
    return 0;
}

int sk__tabular_step(void *self_v, int first, int count, const sk_env_io *io) {
    sk__tabular *self = self_v;
    int32_t     *obs = io->obs;
    for (int i = 0; i < count; i++) {
        const sk__outcome *outcome = sk__tabular_move(self, first + i, io->action[i].i);
        obs[i] = outcome->next;
        io->reward[i] = outcome->reward;
        io->terminated[i] = (uint8_t)outcome->terminated;
        io->truncated[i] = 0;
    }
    return 0;
}

size_t sk__tabular_state_size(void *self) {
    (void)self;
    return sizeof(sk__tabular_env);
}

int sk__tabular_state_save(void *self, int env, void *bytes) {
    memcpy(bytes, &((sk__tabular *)self)->envs[env], sizeof(sk__tabular_env));
    return 0;
}

int sk__tabular_state_load(void *self_v, int env, const void *bytes) {
    sk__tabular    *self = self_v;
    sk__tabular_env saved;
    memcpy(&saved, bytes, sizeof saved);
    if (saved.state < 0 || saved.state >= self->n_states) return -1; /* it would index the tables */
    if (!sk_pcg64_is_sound(&saved.rng)) return -1;
    self->envs[env] = saved;
    return 0;
}
