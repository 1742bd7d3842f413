/* policy_env: the environment that a trained policy is to act in: the one named on the command line, else that of the
 * config of the run it belongs to, else the built-in one whose name the policy holds. Threads: one. */
#ifndef SK_CLI_POLICY_ENV_H
#define SK_CLI_POLICY_ENV_H
#include "core/base/config.h"
#include "rl/env.h"
#include "rl/train_setup.h"
#include "rl/vec.h"

typedef struct sk_policy_env {
    const sk_env  *env;
    sk_on_invalid  on_invalid;
    sk_config     *cfg;   /* of its run, if that is where it is from */
    sk_train_setup setup; /* owns the env of that config             */
    sk_env        *own;   /* any other                               */
} sk_policy_env;

typedef struct sk_policy_env_params {
    const char        *path;     /* of the run, checkpoint or policy                        */
    const char        *env_name; /* that the policy holds                                   */
    const char        *env_text; /* NULL, or as in cli/env_arg.h: instead of the run's own  */
    int                n_pairs;  /* of config to add: "name=value"                          */
    const char *const *pairs;
} sk_policy_env_params;

/* SK_ENOTFOUND, SK_EINVAL, SK_ECONFIG, SK_EENV. `self` zeroed; deinit also what has failed. */
SK_NODISCARD sk_status sk_policy_env_init(sk_policy_env *self, const sk_policy_env_params *params, sk_error *reterr);
void                   sk_policy_env_deinit(sk_policy_env *self);

#endif
