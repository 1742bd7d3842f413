/* Placement groups of the driver's own program. */
#include "core/runtime/program.h"
#include <inttypes.h>

sk_status sk__program_group_create(sk__driver *d, const sk_bundle *bundles, int n, sk_strategy strategy,
                                   sk_group *ret_group, sk_error *reterr) {
    sk__driver_lock(d);
    sk_status status =
        sk_resources_group_create(d->resources, bundles, n, strategy, sk__group_reach(d), ret_group, reterr);
    if (status == SK_OK) d->n.n_groups++;
    else sk__tell_where_hosts_join(d, status, reterr);
    sk__driver_leave(d);
    return status;
}

static bool group_is_settled(sk__driver *d, void *arg) {
    sk_group group = *(const sk_group *)arg;
    return !sk_resources_group_exists(d->resources, group) || sk_resources_group_is_reserved(d->resources, group);
}

sk_status sk__program_group_wait(sk__driver *d, sk_group group, int timeout_ms, sk_error *reterr) {
    sk__driver_lock(d);
    sk_status status = sk__driver_wait(d, group_is_settled, &group, sk__deadline_ns(timeout_ms), "sk_group_wait", 0);
    if (status == SK_ETIMEOUT)
        status =
            SK_FAIL(reterr, status, "placement group %" PRIx64 " is not reserved within %d ms", group.id, timeout_ms);
    else if (status != SK_OK) status = SK_FAIL(reterr, status, "interrupted while waiting for a placement group");
    else if (!sk_resources_group_exists(d->resources, group))
        status = SK_FAIL(reterr, SK_ENOTFOUND, "there is no placement group %" PRIx64 " (any more)", group.id);
    sk__driver_leave(d);
    return status;
}

void sk__group_destroy(sk__driver *d, sk_group group) {
    if (!sk_resources_group_exists(d->resources, group)) return;
    uint32_t   at = 0;
    sk__actor *actor;
    while ((actor = sk__slab_next(&d->actors, &at)))
        if (actor->group.id == group.id) sk__actor_kill(d, actor, SK_KILL_FOR_GOOD);
    sk__schedule_group_gone(d, group);
    sk_resources_group_destroy(d->resources, group);
    d->n.n_groups--;
    d->resources_changed = d->has_mail_work = true;
    sk__driver_notify(d);
}

void sk__program_group_destroy(sk__driver *d, sk_group *group) {
    sk__driver_lock(d);
    sk__group_destroy(d, *group);
    group->id = 0;
    sk__driver_leave(d);
}
