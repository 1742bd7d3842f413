/* program: skiff.h for the driver's own program. Same contracts as skiff.h; take the lock themselves. */
#ifndef SK_RUNTIME_PROGRAM_H
#define SK_RUNTIME_PROGRAM_H
#include "core/runtime/driver.h"

SK_NODISCARD sk_status sk__program_put(sk__driver *d, const void *data, size_t size, sk_ref *ret_ref, sk_error *reterr);
SK_NODISCARD sk_status sk__program_put_begin(sk__driver *d, size_t size, sk_ref *ret_ref, void **ret_data,
                                             sk_error *reterr);
SK_NODISCARD sk_status sk__program_put_end(sk__driver *d, sk_ref ref, sk_error *reterr);
SK_NODISCARD sk_status sk__program_get(sk__driver *d, sk_ref ref, int timeout_ms, sk_bytes *ret_value,
                                       sk_error *reterr);
SK_NODISCARD sk_status sk__program_get_all(sk__driver *d, const sk_ref *refs, int n, int timeout_ms, sk_error *reterr);
SK_NODISCARD sk_status sk__program_wait(sk__driver *d, const sk_ref *refs, int n, int n_wanted, int timeout_ms,
                                        uint8_t *ret_ended, int *ret_n_ended, sk_error *reterr);
void sk__program_acquire(sk__driver *d, sk_ref ref);
void sk__program_release(sk__driver *d, sk_ref *ref);
void sk__program_cancel(sk__driver *d, sk_ref ref, sk_cancel_how how);
SK_NODISCARD sk_status sk__program_submit(sk__driver *d, const sk_task *task, sk_ref *ret_refs, sk_error *reterr);
SK_NODISCARD sk_status sk__program_actor_create(sk__driver *d, const sk_actor_params *params, sk_actor *ret_actor,
                                                sk_error *reterr);
SK_NODISCARD sk_status sk__program_actor_wait(sk__driver *d, sk_actor actor, int timeout_ms, sk_error *reterr);
SK_NODISCARD sk_status sk__program_actor_find(sk__driver *d, const char *name, sk_actor *ret_actor, sk_error *reterr);
SK_NODISCARD sk_status sk__program_actor_call(sk__driver *d, sk_actor actor, const sk_method *method, sk_ref *ret_refs,
                                              sk_error *reterr);
SK_NODISCARD sk_status sk__program_actor_check(sk__driver *d, sk_actor actor, int *ret_pid, sk_error *reterr);
void sk__program_actor_stop(sk__driver *d, sk_actor actor);
void sk__program_actor_join(sk__driver *d, const sk_actor *actors, int n, int timeout_ms);
void sk__program_actor_kill(sk__driver *d, sk_actor actor, sk_kill_how how);
SK_NODISCARD sk_status sk__program_group_create(sk__driver *d, const sk_bundle *bundles, int n, sk_strategy strategy,
                                                sk_group *ret_group, sk_error *reterr);
SK_NODISCARD sk_status sk__program_group_wait(sk__driver *d, sk_group group, int timeout_ms, sk_error *reterr);
void sk__program_group_destroy(sk__driver *d, sk_group *group);
SK_NODISCARD sk_status sk__program_store_alloc(sk__driver *d, size_t size, sk_extent *ret_extent, void **ret_data,
                                               sk_error *reterr);
void sk__program_store_free(sk__driver *d, sk_extent extent);
SK_NODISCARD sk_status sk__program_timeline(sk__driver *d, const char *path, sk_error *reterr);
/* Shared with request.c. */
void sk__group_destroy(sk__driver *d, sk_group group);

#endif
