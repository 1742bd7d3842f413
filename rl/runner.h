/* runner: the rollout actor. It steps its environments with the present policy and writes what happens straight into
 * its rows of the experience block; only a reference to that block and a few numbers travel in messages.
 *
 * The same class runs inline, in a thread or in a worker process (skiff/skiff.h).
 * Methods: sample (one fragment), save and load (the state of its environments, by environment).
 *
 * Restarts. Outside of sample a runner writes nothing into the experience block, which is the learner's then: it may be
 * killed and made anew at any moment. With `keep_state` the runtime keeps its state at the boundary of the last
 * fragment; a runner made anew goes on from there and writes the very same fragment again. */
#ifndef SK_RL_RUNNER_H
#define SK_RL_RUNNER_H
#include "core/transport/block.h"
#include "policies/policy.h"
#include "rl/batch.h"
#include "rl/vec.h"
#include "skiff/skiff.h"
#include <stdatomic.h>

extern const sk_actor_class sk_runner_class;

typedef enum sk_runner_method { SK_RUNNER_SAMPLE, SK_RUNNER_SAVE, SK_RUNNER_LOAD } sk_runner_method;

/* The first argument of create; the second is a text that describes the environment (rl/runner_arg.h). */
typedef struct sk_runner_arg {
    sk_block_ref     batch_ref, weights_ref;
    sk_batch_shape   shape;
    sk_policy_spaces spaces;
    sk_model_config  model;
    int32_t          filter;      /* sk_obs_filter                                        */
    int32_t          on_invalid;  /* sk_on_invalid                                        */
    int32_t          keep_state;  /* 1: keep the state with every fragment for a restart  */
    int32_t          runner, n_envs;
    int64_t          first_env, n_total_envs;
    uint64_t         seed;
    int64_t          n_floats;    /* of the parameters                                    */
} sk_runner_arg;

/* The weights block: parameters (n_floats, padded to 64 bytes), then observation mean and inverse std (O each, padded
 * to 64 bytes). The learner writes it between samples; runners read parameters in place. Behind them is the one thing
 * that runners write: how often each was made, which is how restarts are counted. */
typedef struct sk_weights {
    float            *params, *obs_mean, *obs_inv_std;
    _Atomic uint64_t *n_made; /* (n_runners) */
} sk_weights;
size_t sk_weights_bytes(size_t n_floats, int obs_dim, int n_runners);
void   sk_weights_map(void *memory, size_t n_floats, int obs_dim, sk_weights *ret_weights);

/* Input of sample. Its answer is empty: the fragment's head in the block says the rest. */
typedef struct sk_sample_in {
    int64_t policy_version;
    int64_t first_step; /* global step index, per environment: names the draws            */
    sk_exploration explore;
} sk_sample_in;

/* SAVE answers n_envs records of one size: this head, the vec's state of one environment, its rows'
 * observations, exploration noise (SK_EXPLORE_OU) and masks. LOAD takes the same. `has_state` 0: the environment cannot
 * save; the episode starts anew after a load. */
typedef struct sk_runner_env_head {
    uint64_t bytes;     /* of the whole record                                            */
    int64_t  env;       /* global                                                         */
    int64_t  has_state;
} sk_runner_env_head;

#endif
