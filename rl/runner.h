/* runner: the rollout actor. It steps its environments with the present policy and writes what happens straight into
 * its rows of the experience block; only a reference to that block and a few numbers travel in messages.
 *
 * The same class runs inline, in a thread or in a worker process (core/runtime/runtime.h).
 * Methods: sample (one fragment), save and load (the state of its environments, by environment). */
#ifndef SK_RL_RUNNER_H
#define SK_RL_RUNNER_H
#include "core/runtime/runtime.h"
#include "core/transport/block.h"
#include "policies/policy.h"
#include "rl/batch.h"
#include "rl/vec.h"

extern const sk_actor_class sk_runner_class;

typedef enum sk_runner_method { SK_RUNNER_SAMPLE, SK_RUNNER_SAVE, SK_RUNNER_LOAD } sk_runner_method;

/* The argument of create: this struct, then `env_text_bytes` of text that describes the environment
 * (rl/runner_arg.h). */
typedef struct sk_runner_arg {
    sk_block_ref     batch_ref, weights_ref;
    sk_batch_shape   shape;
    sk_policy_spaces spaces;
    sk_model_config  model;
    int32_t          filter;      /* sk_obs_filter                                        */
    int32_t          on_invalid;  /* sk_on_invalid                                        */
    int32_t          runner, n_envs;
    int64_t          first_env, n_total_envs;
    uint64_t         seed;
    int64_t          n_floats;    /* of the parameters                                    */
    uint64_t         env_text_bytes;
} sk_runner_arg;

/* The weights block: parameters (n_floats, padded to 64 bytes), then observation mean and inverse std (O each, padded
 * to 64 bytes). The learner writes it between samples; runners read parameters in place. */
typedef struct sk_weights {
    float *params, *obs_mean, *obs_inv_std;
} sk_weights;
size_t sk_weights_bytes(size_t n_floats, int obs_dim);
void   sk_weights_map(void *memory, size_t n_floats, int obs_dim, sk_weights *ret_weights);

/* Input of sample. Its answer is empty: the fragment's head in the block says the rest. */
typedef struct sk_sample_in {
    int64_t policy_version;
    int64_t first_step; /* global step index, per environment: names the draws            */
} sk_sample_in;

/* SAVE answers n_envs records of one size: this head, the vec's state of one environment, its rows'
 * observations and masks as floats. LOAD takes the same. `has_state` 0: the environment cannot save; the episode
 * starts anew after a load. */
typedef struct sk_runner_env_head {
    uint64_t bytes;     /* of the whole record                                            */
    int64_t  env;       /* global                                                         */
    int64_t  has_state;
} sk_runner_env_head;

#endif
