/* advantage: generalized advantage estimation (Schulman et al. 2016), with terminated and truncated kept apart.
 *
 *   V'_t = final_value_t where truncated, else V_{t+1} (the bootstrap at the fragment's end)
 *   d_t  = r_t + gamma (1 - terminated_t) V'_t - V_t
 *   A_t  = d_t + gamma lambda (1 - terminated_t)(1 - truncated_t) A_{t+1}
 *   value target_t = A_t + V_t
 *
 * Threads: pure. */
#ifndef SK_RL_ADVANTAGE_H
#define SK_RL_ADVANTAGE_H
#include "rl/batch.h"

typedef struct sk_gae_params {
    float gamma, lambda;
} sk_gae_params;

/* advantage and target: (T x R), written. reward: (T x R), the batch's own or a scaled copy. */
void sk_gae(const sk_batch *batch, const float *reward, const sk_gae_params *how, float *advantage, float *target);

#endif
