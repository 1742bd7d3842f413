/* td3_config: the keys of td3 and ddpg, for td3.c only. */
#ifndef SK_ALGORITHMS_TD3_TD3_CONFIG_H
#define SK_ALGORITHMS_TD3_TD3_CONFIG_H
#include "algorithms/td3/td3.h"

enum { SK__DDPG_N_KEYS = SK_REPLAY_N_KEYS + 7, SK__TD3_N_KEYS = SK__DDPG_N_KEYS + 3 };
extern const sk_key sk__ddpg_keys[SK__DDPG_N_KEYS];
extern const sk_key sk__td3_keys[SK__TD3_N_KEYS];
void      sk__td3_prepare(void *own, sk_train_config *config, const sk_config *cfg);
sk_status sk__td3_check(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr);

#endif
