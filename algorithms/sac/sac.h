/* sac: soft actor-critic (Haarnoja et al. 2018b) with twin critics, automatic temperature and a squashed Gaussian, with
 * state-dependent exploration on request; for discrete actions the expectation over all of them (Christodoulou 2019).
 * Reached through sk_sac_api in algorithms/registry.c. */
#ifndef SK_ALGORITHMS_SAC_SAC_H
#define SK_ALGORITHMS_SAC_SAC_H
#include "rl/algorithm.h"

typedef struct sk_sac_config {
    sk_replay_config replay;
    sk_schedule      actor_lr, critic_lr, alpha_lr;
    double           tau;                    /* share of the critics that their targets take at an update       */
    int64_t          target_network_update_freq; /* updates between                                             */
    double           initial_alpha;
    bool             learn_alpha;
    const char      *target_entropy_text;    /* "auto" or a number [nat]                                         */
    double           grad_clip;              /* of each network; 0 = none                                       */
    double           adam_epsilon;
} sk_sac_config;

extern const sk_algorithm_api sk_sac_api;

#endif
