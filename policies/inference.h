/* inference: a policy at work on batches of observations: actions, their log-probs and values. Same input, same bits,
 * whatever batch a row travels in. No allocation after create.
 *
 * Shapes: B rows, O obs_dim, S action_slots, K mask_size. Actions are as the network has them: discrete choices counted
 * from 0, box actions unclipped and unsquashed (ACTOR_CRITIC) or in [-1, 1]; sk_policy_to_env makes them the
 * environment's.
 * Threads: one at a time; parameters are read in place and must not change during a call. */
#ifndef SK_POLICIES_INFERENCE_H
#define SK_POLICIES_INFERENCE_H
#include "nn/plan.h"
#include "policies/exploration.h"
#include "policies/policy.h"

typedef struct sk_inference sk_inference;

typedef struct sk_inference_params {
    sk_device              *device;
    const sk_policy_spaces *spaces; /* copied */
    const sk_model_config  *model;  /* copied */
    sk_obs_filter           filter;
    float                  *params; /* 64-byte aligned, borrowed for life: sk_policy_n_floats           */
    size_t                  n_floats;
    int                     max_rows;
} sk_inference_params;

/* What to do for B rows; the caller owns the columns. */
typedef struct sk_inference_io {
    int          rows;
    const float *obs;            /* (B x O)                                                          */
    const float *mask;           /* (B x K) 0/1, NULL if K is 0                                      */
    int          deterministic;  /* 1: most probable choice, or the mean                             */
    uint64_t     seed, counter;  /* of the draw: Philox(seed, SK_STREAM_ACTION + row, counter)       */
    int64_t      first_row;      /* global row of row 0: names the stream                            */
    const sk_exploration *explore; /* NULL: SK_EXPLORE_POLICY; not looked at if deterministic        */
    float       *ou;             /* (B x S) where SK_EXPLORE_OU stands, kept by the caller; 0 at the start of an episode */
    uint64_t     sde_counter;    /* names the draw of state-dependent noise that lasts               */
    sk_env_slot *action;         /* (B x S) out                                                      */
    float       *logp, *value;   /* (B) out, ACTOR_CRITIC only; may be NULL                          */
} sk_inference_io;

SK_NODISCARD sk_status sk_inference_create(const sk_inference_params *params, sk_inference **ret_inf, sk_error *reterr);
void sk_inference_destroy(sk_inference **self_p);
/* Observation statistics to use from now on: (O) means and inverse standard deviations. Copied. */
void sk_inference_set_normalizer(sk_inference *self, const float *mean, const float *inv_std);
void sk_inference_act(sk_inference *self, const sk_inference_io *io);
/* Values only: obs (B x O), ret_value (B). B may exceed max_rows. Zeros where the policy has no value function. */
void sk_inference_value(sk_inference *self, const float *obs, int64_t rows, float *ret_value);

#endif
