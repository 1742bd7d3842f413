/* export_c: a policy as C source that needs nothing but libc and libm (docs/deploy.md). Threads: pure. */
#ifndef SK_POLICIES_EXPORT_C_H
#define SK_POLICIES_EXPORT_C_H
#include "policies/policy.h"

/* Write DIR/NAME.h and DIR/NAME.c with the function NAME_act, which gives the bits of skiff_policy_act on x86-64-v3 and
 * v4. SK_EINVAL: `name` is no C identifier; SK_EUNSUPPORTED: the network has a part that has no C form yet;
 * SK_ENUMERIC: a parameter is not finite; SK_EIO. */
SK_NODISCARD sk_status sk_policy_export_c(const sk_policy *self, const char *name, const char *dir, sk_error *reterr);

#endif
