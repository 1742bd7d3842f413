/* runner_arg: an environment's description as text, to make the same environment in another process, here
 * or on another host. Internal to rl. */
#ifndef SK_RL_RUNNER_ARG_H
#define SK_RL_RUNNER_ARG_H
#include "rl/env.h"
#include "rl/train_config.h"

/* JSON text of the config's `env` part: plugin paths made absolute, and the hashes of its plugin and its model. Caller
 * frees. */
SK_NODISCARD sk_status sk__env_text_encode(const sk_train_config *config, char **ret_text, sk_error *reterr);
/* Open the environment such a text describes. SK_ENOTFOUND, SK_EVERSION: a file of it is not here or another one.
 * Caller destroys. */
SK_NODISCARD sk_status sk__env_text_open(const char *text, size_t size, sk_env **ret_env, sk_error *reterr);
/* Open the environment of a config. Caller destroys. */
SK_NODISCARD sk_status sk_env_create_from(const sk_train_config *config, sk_env **ret_env, sk_error *reterr);

#endif
