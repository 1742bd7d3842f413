/* exploration: how actions of training differ from the policy's best ones. A plain value: an algorithm sets it, it
 * travels to the runners with every request for a fragment. Threads: pure data. */
#ifndef SK_POLICIES_EXPLORATION_H
#define SK_POLICIES_EXPLORATION_H
#include <stdint.h>

typedef enum sk_exploration_kind {
    SK_EXPLORE_POLICY,   /* draw from the policy's own distribution (or noisy layers); greedy where it has none */
    SK_EXPLORE_UNIFORM,  /* any action, alike: before learning starts                                          */
    SK_EXPLORE_EPSILON,  /* discrete: with probability epsilon any (allowed) choice, else the best             */
    SK_EXPLORE_GAUSSIAN, /* box in [-1, 1]: plus sigma * normal, clipped                                       */
    SK_EXPLORE_OU        /* likewise, an Ornstein-Uhlenbeck process of each row (Lillicrap et al. 2016)        */
} sk_exploration_kind;

typedef struct sk_exploration {
    int32_t kind;
    float   epsilon;
    float   sigma;         /* deviation, in units of half the action's range                        */
    float   theta, dt;     /* OU: x += theta (0 - x) dt + sigma sqrt(dt) normal; 0.15 and 0.01      */
} sk_exploration;

#endif
