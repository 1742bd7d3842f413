/* tabular: environments that are a table of transitions, as Gymnasium's toy_text has them: in state s, action a
 * leads to one of up to three outcomes. Resets and outcomes are drawn from PCG64 with one double each, exactly as
 * Gymnasium draws them: the first index whose cumulative probability exceeds it.
 *
 * The observation is the state, one int32.
 * Threads: one instance, one thread at a time. */
#ifndef SK_ENVS_TOY_TEXT_TABULAR_H
#define SK_ENVS_TOY_TEXT_TABULAR_H
#include "core/base/rng.h"
#include "envs/common.h"
#include <stddef.h>

enum { SK__TABULAR_ACTIONS_MAX = 6, SK__TABULAR_OUTCOMES = 3 };

typedef struct sk__outcome {
    int32_t next;
    float   reward;
    int32_t terminated;
} sk__outcome;

/* One environment; this is also what is saved. */
typedef struct sk__tabular_env {
    int32_t  state;
    int32_t  extra; /* for the environment's own use */
    sk_pcg64 rng;
} sk__tabular_env;

typedef struct sk__tabular {
    int              n_states, n_actions;
    double           cdf[SK__TABULAR_ACTIONS_MAX][SK__TABULAR_OUTCOMES]; /* of an action's outcomes */
    double          *start_cdf; /* (n_states)                                  */
    sk__outcome     *outcome;   /* (n_states x n_actions x OUTCOMES)           */
    sk__tabular_env *envs;      /* (n_envs)                                    */
    double           extra;     /* for the environment's own use               */
} sk__tabular;

/* A discrete observation of n values from 0, and a discrete action: all of `spec` but time limit and rewards. */
void sk__tabular_describe(sk_env_spec *spec, int n_states, const char *action_name, int n_actions);
/* An instance with empty tables, every action with one certain outcome; NULL with a text in `err`. */
sk__tabular *sk__tabular_create(int n_envs, int n_states, int n_actions, char *err, size_t err_size);
/* The outcomes of action a in state s: 1 if the action has one, else 3. */
sk__outcome *sk__tabular_outcomes(const sk__tabular *self, int s, int a);
/* Probabilities of the three outcomes of action a. */
void sk__tabular_set_odds(sk__tabular *self, int a, double first, double second, double third);
/* Start states: the probability of each (n_states), before they are summed up. */
void sk__tabular_set_start(sk__tabular *self, const double *p);

/* Draw a start state, or the outcome of an action, and go there. */
void               sk__tabular_start(sk__tabular *self, int env, const uint64_t *seed);
const sk__outcome *sk__tabular_move(sk__tabular *self, int env, int action);

/* Functions for sk_env_api. */
void   sk__tabular_destroy(void *self);
int    sk__tabular_reset(void *self, int env, const uint64_t *seed, void *obs, uint8_t *mask);
int    sk__tabular_step(void *self, int first, int count, const sk_env_io *io);
size_t sk__tabular_state_size(void *self);
int    sk__tabular_state_save(void *self, int env, void *bytes);
int    sk__tabular_state_load(void *self, int env, const void *bytes);

#endif
