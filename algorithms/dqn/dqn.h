/* dqn: action values of one discrete action, learned off policy (Mnih et al. 2015), with the parts of Rainbow (Hessel et
 * al. 2018) as switches: double Q-learning, dueling networks, noisy layers, distributions of returns by atoms (C51) or
 * quantiles; n-step returns and priorities are the replay's. Reached through sk_dqn_api in algorithms/registry.c. */
#ifndef SK_ALGORITHMS_DQN_DQN_H
#define SK_ALGORITHMS_DQN_DQN_H
#include "rl/algorithm.h"

typedef enum sk_td_loss { SK_TD_HUBER, SK_TD_MSE } sk_td_loss;

typedef struct sk_dqn_config {
    sk_replay_config replay;
    sk_schedule      lr, epsilon;                /* epsilon: share of random actions                           */
    double           tau;                        /* share of the network that its target takes when it moves   */
    int64_t          target_network_update_freq; /* env steps between; 0 = before every update                 */
    bool             double_q, dueling, noisy;
    double           sigma0;                     /* noisy: starting deviation, over sqrt of a layer's inputs   */
    int              distribution;               /* sk_q_distribution                                          */
    int64_t          num_atoms;                  /* of it: atoms or quantiles                                  */
    double           v_min, v_max;               /* C51: the first and the last atom [reward]                  */
    int              td_loss;                    /* sk_td_loss                                                 */
    double           grad_clip;                  /* 0 = none                                                   */
    double           adam_epsilon;
} sk_dqn_config;

extern const sk_algorithm_api sk_dqn_api;

#endif
