/* reward_filter: rewards divided by the running standard deviation of the discounted return (Engstrom et al. 2020), as
 * SB3's VecNormalize does: variance only (no mean is taken off), returns reset at episode ends. The learner applies it
 * in time order over all environments, so the result does not depend on how many runners there are.
 * Threads: one owner. */
#ifndef SK_RL_REWARD_FILTER_H
#define SK_RL_REWARD_FILTER_H
#include "core/base/pack.h"
#include "rl/batch.h"

typedef struct sk_reward_filter {
    int     n_rows;
    double  gamma;
    double  count, mean, m2; /* of all discounted returns so far (Welford 1962) */
    double *ret;             /* (n_rows) running discounted return              */
} sk_reward_filter;

SK_NODISCARD sk_status sk_reward_filter_init(sk_reward_filter *self, int n_rows, double gamma, sk_error *reterr);
void sk_reward_filter_deinit(sk_reward_filter *self);
/* Learn from a batch, then write its scaled rewards (T x R); clip > 0 bounds them to [-clip, clip]. Invalid steps give
 * 0 and teach nothing. */
void sk_reward_filter_apply(sk_reward_filter *self, const sk_batch *batch, float clip, float *ret_reward);
SK_NODISCARD sk_status sk_reward_filter_save(const sk_reward_filter *self, sk_pack_writer *writer, sk_error *reterr);
SK_NODISCARD sk_status sk_reward_filter_load(sk_reward_filter *self, const sk_pack *pack, sk_error *reterr);

#endif
