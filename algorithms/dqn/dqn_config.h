/* dqn_config: DQN's keys, for dqn.c only. */
#ifndef SK_ALGORITHMS_DQN_DQN_CONFIG_H
#define SK_ALGORITHMS_DQN_DQN_CONFIG_H
#include "algorithms/dqn/dqn.h"

enum { SK__DQN_N_KEYS = SK_REPLAY_N_KEYS + 15 };
extern const sk_key sk__dqn_keys[SK__DQN_N_KEYS];
void      sk__dqn_prepare(void *own, sk_train_config *config, const sk_config *cfg);
sk_status sk__dqn_check(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr);

#endif
