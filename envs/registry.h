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

#endif
