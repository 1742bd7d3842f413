/* evaluate: how good a policy is: deterministic actions, frozen normaliser, environments of its own. Episode i has
 * seed `seed + i`, and every started episode counts (never "the first N to finish": short ones finish first).
 * Threads: one at a time per evaluator. */
#ifndef SK_RL_EVALUATE_H
#define SK_RL_EVALUATE_H
#include "policies/policy.h"
#include "rl/env.h"
#include "rl/vec.h"

typedef struct sk_evaluation {
    int    n_episodes, n_invalid;
    double return_mean, return_std, return_min, return_max, len_mean; /* std: population */
    double wall_s;
    int64_t env_steps;
} sk_evaluation;

typedef struct sk_evaluate_params {
    const sk_env     *env;
    const sk_policy  *policy;
    int               n_episodes;   /* > 0 */
    uint64_t          seed;
    int               stochastic;   /* 0 = deterministic actions */
    sk_on_invalid     on_invalid;
    const volatile int *interrupted; /* nullable */
    double           *ret_returns;  /* nullable: (n_episodes), by episode */
} sk_evaluate_params;

/* SK_EENV, SK_EINTERRUPTED, SK_EINVAL (the policy does not fit the environment: says which space differs). */
SK_NODISCARD sk_status sk_evaluate_run(const sk_evaluate_params *params, sk_evaluation *ret, sk_error *reterr);

#endif
