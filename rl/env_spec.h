/* env_spec: the checks of what an environment answers to describe(). Internal to rl/env. */
#ifndef SK_RL_ENV_SPEC_H
#define SK_RL_ENV_SPEC_H
#include "core/base/status.h"
#include "skiff/env.h"

/* Nothing in a spec is larger than this (elements): products below then fit an int. */
enum { SK_SPEC_SIZE_MAX = 1 << 24, SK_SPEC_AGENTS_MAX = 4096 };
/* Choices of one discrete (i32) observation element. */
enum { SK_SPEC_CHOICES_MAX = 1 << 20 };

/* SK_OK if every count, dimension, name and bound makes sense; SK_EENV says which does not;
 * SK_EUNSUPPORTED for observations of bytes (u8). */
SK_NODISCARD sk_status sk__env_spec_check(const sk_env_spec *spec, sk_error *reterr);
/* Do both (checked) specs say the same? If not, SK_EENV names what differs. */
SK_NODISCARD sk_status sk__env_spec_same(const sk_env_spec *a, const sk_env_spec *b, sk_error *reterr);

#endif
