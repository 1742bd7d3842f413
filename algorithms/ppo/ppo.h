/* ppo: proximal policy optimization (Schulman et al. 2017) with clipping, value clipping, entropy bonus, adaptive KL
 * penalty and KL early stop. Reached through sk_ppo_api in algorithms/registry.c. */
#ifndef SK_ALGORITHMS_PPO_PPO_H
#define SK_ALGORITHMS_PPO_PPO_H
#include "rl/algorithm.h"

typedef struct sk_ppo_config {
    sk_schedule lr, clip_param, entropy_coeff;
    double      gamma, lambda;
    double      vf_loss_coeff;
    double      vf_clip_param;       /* 0 = no value clipping                                        */
    bool        use_kl_loss;
    double      kl_coeff, kl_target; /* adaptive penalty (their section 4)                           */
    double      target_kl;           /* > 0: stop an iteration's epochs when the mean KL exceeds 1.5 of it */
    int64_t     num_epochs, minibatch_size;
    int64_t     train_batch_size;    /* 0 = derived; given and different: refused                    */
    bool        normalize_advantages;
    double      grad_clip;           /* global norm; 0 = none                                        */
    double      adam_epsilon;
} sk_ppo_config;

extern const sk_algorithm_api sk_ppo_api;

#endif
