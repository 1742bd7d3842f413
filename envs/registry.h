/* registry: the environments built into skiff, in one const table made by envs/meson.build.
 * Threads: constant data. */
#ifndef SK_ENVS_REGISTRY_H
#define SK_ENVS_REGISTRY_H
#include "skiff/env.h"

/* The environment of that name ("CartPole-v1"), or NULL. */
const sk_env_api *sk_env_builtin(const char *name);
/* How many there are, and each of them (0 <= index < count), in the order of the list. */
int               sk_env_builtin_count(void);
const sk_env_api *sk_env_builtin_at(int index);

/* A family of environments that others bring, named "<family>:<id>": its api, which takes `id` as a pair of its config,
 * or NULL. *ret_id points behind the colon; it is NULL for "<family>" alone, where the rest of the config says which. */
const sk_env_api *sk_env_family(const char *name, const char **ret_id);
int               sk_env_family_count(void);
const sk_env_api *sk_env_family_at(int index);
const char       *sk_env_family_help(int index); /* one line for lists of environments */

#endif
