/* gymnasium_spec: what the Python side says about an environment's spaces, as an sk_env_spec. Internal to
 * envs/external. Threads: free of state. */
#ifndef SK_ENVS_GYMNASIUM_SPEC_H
#define SK_ENVS_GYMNASIUM_SPEC_H
#include "core/base/status.h"
#include "skiff/env.h"

/* From the JSON text of python/skiff_gym/worker.py (`describe`). Bounds by element are put into one new
 * array, *ret_bounds (NULL if there are none), which the spec points into; caller frees it after the
 * spec's last use. SK_EENV: the text is not such a description. */
SK_NODISCARD sk_status sk__gymnasium_spec_parse(const char *text, size_t size, sk_env_spec *spec,
                                                float **ret_bounds, sk_error *reterr);
/* Bytes of one row's observation: all fields, without gaps. */
size_t sk__gymnasium_row_bytes(const sk_env_spec *spec);
/* Slots of one row's action. */
int sk__gymnasium_action_slots(const sk_env_spec *spec);

#endif
