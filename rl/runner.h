/* runner: the rollout actor. It steps its environments with the present policy and writes what happens straight into
 * its rows of the experience block; only a reference to that block and a few numbers travel in messages.
 *
 * The same class runs inline, in a thread, in a worker process of this host or, as a *remote* runner, of any host
 * (skiff/skiff.h). A remote one shares no memory with the learner: it is given the weights as an argument of sample,
 * writes a block of its own and answers with that (rl/fragment.h). Numbers of rows and environments are the same
 * everywhere: they are those of the whole run and name the draws; only where a row lies in the block differs.
 *
 * Methods: sample (one fragment), save and load (the state of its environments, by environment).
 *
 * Restarts. Outside of sample a runner writes nothing into the experience block, which is the learner's then: it may be
 * killed and made anew at any moment. With `keep_state` the runtime keeps its state at the boundary of the last
 * fragment; a runner made anew goes on from there and makes the very same fragment again. How often it was made is
 * counted in shared memory, or, by a remote one, in the state that is kept (times between two fragments as one). */
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
    sk_block_ref     batch_ref, weights_ref; /* {0} if remote                           */
    sk_batch_shape   shape;       /* of the whole block                                   */
    sk_policy_spaces spaces;
    sk_model_config  model;
    int32_t          filter;      /* sk_obs_filter                                        */
    int32_t          on_invalid;  /* sk_on_invalid                                        */
    int32_t          keep_state;  /* 1: keep the state with every fragment for a restart  */
    int32_t          remote;      /* 1: on any host                                       */
    char             isa[16];     /* remote: the kernels it must compute with, "x86-64-v4" */
    int32_t          runner, n_envs;
    int64_t          first_env, n_total_envs;
    uint64_t         seed;
    int64_t          n_floats;    /* of the parameters                                    */
} sk_runner_arg;

/* The weights block: parameters (n_floats, padded to 64 bytes), then observation mean and inverse std (O each, padded
 * to 64 bytes). The learner writes it between samples; runners read parameters in place. Behind them is the one thing
 * that runners write: how often each was made, which is how restarts are counted; not in what travels to remote ones
 * (n_runners 0). */
typedef struct sk_weights {
    float            *params, *obs_mean, *obs_inv_std;
    _Atomic uint64_t *n_made; /* (n_runners) */
} sk_weights;
size_t sk_weights_bytes(size_t n_floats, int obs_dim, int n_runners);
void   sk_weights_map(void *memory, size_t n_floats, int obs_dim, sk_weights *ret_weights);

/* Input of sample; a remote runner's has the weights of that policy as a second argument. The answer is empty, as the
 * fragment's head in the block says the rest; or a remote runner's fragment. */
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

/* What is kept for a restart: this, and then what SAVE answers, if the environment can save. */
typedef struct sk_runner_kept {
    int64_t n_made;   /* as in the fragment's head */
    int64_t n_bytes;  /* behind this               */
} sk_runner_kept;

#endif
