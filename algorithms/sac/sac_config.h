/* sac_config: SAC's keys, for sac.c only. */
#ifndef SK_ALGORITHMS_SAC_SAC_CONFIG_H
#define SK_ALGORITHMS_SAC_SAC_CONFIG_H
#include "algorithms/sac/sac.h"

enum { SK__SAC_N_KEYS = SK_REPLAY_N_KEYS + 10 };
extern const sk_key sk__sac_keys[SK__SAC_N_KEYS];
void      sk__sac_prepare(void *own, sk_train_config *config, const sk_config *cfg);
sk_status sk__sac_check(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr);
/* What target_entropy says, for actions like these. */
double    sk__sac_target_entropy(const sk_sac_config *c, const sk_policy_spaces *spaces);

#endif
