/* common: small helpers for the built-in environments: reading the `env.config` texts.
 * Threads: free of state. */
#ifndef SK_ENVS_COMMON_H
#define SK_ENVS_COMMON_H
#include "skiff/env.h"
#include <stdbool.h>

/* 0 if every name of `config` is one of the `n` known ones, else -1 with a text in `err`. */
int sk__env_config_known(const sk_env_config *config, const char *const *known, int n, char *err,
                         size_t err_size);
/* *value = the number or bool (true, false) named `name`; untouched if it is not given. 0, or -1 and a text. */
int sk__env_config_number(const sk_env_config *config, const char *name, double *value, char *err,
                          size_t err_size);
int sk__env_config_bool(const sk_env_config *config, const char *name, bool *value, char *err,
                        size_t err_size);

#endif
