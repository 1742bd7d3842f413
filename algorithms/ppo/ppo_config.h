/* ppo_config: PPO's keys, for ppo.c only. */
#ifndef SK_ALGORITHMS_PPO_PPO_CONFIG_H
#define SK_ALGORITHMS_PPO_PPO_CONFIG_H
#include "algorithms/ppo/ppo.h"

enum { SK__PPO_N_KEYS = 17 };
extern const sk_key sk__ppo_keys[SK__PPO_N_KEYS];
sk_status sk__ppo_check(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr);

#endif
