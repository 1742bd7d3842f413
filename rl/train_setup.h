/* train_setup: what is known about a run before anything runs: the bound configs, the opened environment, the policy's
 * spaces. Internal to rl; `skiff config` reaches it through sk_train_resolve. */
#ifndef SK_RL_TRAIN_SETUP_H
#define SK_RL_TRAIN_SETUP_H
#include "policies/policy.h"
#include "rl/algorithm.h"
#include "rl/env.h"
#include "rl/train_config.h"

typedef struct sk_train_setup {
    sk_train_config         config;
    const sk_algorithm_api *algorithm;
    void                   *own;  /* the algorithm's bound config */
    sk_env                 *env;
    sk_policy_spaces        spaces;
    char *plugin_path, *model_path; /* absolute, so that the run's config.yaml works from anywhere; or NULL */
} sk_train_setup;

/* Bind and check everything. SK_ECONFIG, SK_ENOTFOUND, SK_EENV, SK_EUNSUPPORTED. On failure there is still something to
 * deinit. */
SK_NODISCARD sk_status sk_train_setup_init(sk_train_setup *self, sk_config *cfg, sk_error *reterr);
void sk_train_setup_deinit(sk_train_setup *self);

#endif
