/* env_arg: how an environment is named on the command line: a built-in name ("CartPole-v1"), a plugin
 * ("./my.so", if it holds one environment) or both ("./my.so:MyEnv-v0"); then pairs of its config
 * ("g=9.81"). */
#ifndef SK_CLI_ENV_ARG_H
#define SK_CLI_ENV_ARG_H
#include "rl/env.h"

/* Open it. Caller destroys. As sk_env_create; SK_EINVAL for a pair without "=". */
SK_NODISCARD sk_status sk_env_arg_open(const char *text, int n_pairs, const char *const *pairs,
                                       int max_episode_steps, sk_env **ret_env, sk_error *reterr);
/* Is it the path of a plugin without a name? */
int sk_env_arg_is_plugin(const char *text);
/* Say a failure on stderr; the exit code for it: 2 for what the user should write otherwise, else 1. */
int sk_env_arg_fail(const sk_error *error);

#endif
