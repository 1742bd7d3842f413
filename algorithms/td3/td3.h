/* td3: deterministic policies that climb their critic. `ddpg` (Lillicrap et al. 2016) has one critic; `td3` (Fujimoto
 * et al. 2018) adds a twin whose lesser value counts, noise on the target's action, and fewer updates of the policy
 * than of the critics. Reached through algorithms/registry.c. */
#ifndef SK_ALGORITHMS_TD3_TD3_H
#define SK_ALGORITHMS_TD3_TD3_H
#include "rl/algorithm.h"

/* Noise is in units of [-1, 1], what actions are scaled to. ddpg's policy_delay and target_noise are 0: none. */
typedef struct sk_td3_config {
    sk_replay_config replay;
    sk_schedule      actor_lr, critic_lr;
    double           tau;                /* share of the networks that their targets take when they move */
    int64_t          policy_delay;       /* updates of the critics to one of policy and targets          */
    double           target_noise;       /* deviation of the noise on the target's action                */
    double           target_noise_clip;  /* its bound                                                    */
    sk_schedule      exploration_noise;  /* deviation of the noise on actions                            */
    int              exploration_type;   /* sk_td3_exploration                                           */
    double           grad_clip;          /* of each network; 0 = none                                    */
    double           adam_epsilon;
} sk_td3_config;

typedef enum sk_td3_exploration { SK_TD3_GAUSSIAN, SK_TD3_OU } sk_td3_exploration;

extern const sk_algorithm_api sk_td3_api, sk_ddpg_api;

#endif
