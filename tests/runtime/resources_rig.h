/* What the tests of several hosts' resources share. */
#ifndef SK_TESTS_RUNTIME_RESOURCES_RIG_H
#define SK_TESTS_RUNTIME_RESOURCES_RIG_H
#include "core/runtime/resources.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define HELPER __attribute__((unused)) static

HELPER const sk_group NO_GROUP = {0};

/* The driver's own host with 2 cpu, and further ones as they are added. */
HELPER sk_resources *start(void) {
    const sk_resource given[] = {{"cpu", 2}, {"gpu", 0}, {"memory", 1000}};
    sk_resources     *self = NULL;
    sk_error          err = {0};
    cr_assert_eq(sk_resources_create(given, 3, &self, &err), SK_OK, "%s", err.msg);
    return self;
}

HELPER void add(sk_resources *self, int pool, double cpu, double gpu) {
    const sk_resource given[] = {{"cpu", cpu}, {"gpu", gpu}};
    sk_error          err = {0};
    cr_assert_eq(sk_resources_add_pool(self, pool, given, 2, &err), SK_OK, "%s", err.msg);
}

HELPER double amount_of(const sk_resources *self, int pool, const char *name, bool total) {
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    int             n = sk_resources_rows(self, pool, rows);
    for (int i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0) return total ? rows[i].total : rows[i].free;
    return NAN;
}
HELPER double free_of(const sk_resources *self, int pool, const char *name) {
    return amount_of(self, pool, name, false);
}

enum { BUNDLES_MAX = 8 };
typedef struct share {
    double cpu, gpu;
} share;
HELPER sk_status make(sk_resources *self, const share *sizes, int n, sk_strategy strategy, sk_group *ret_group,
                      sk_error *err) {
    sk_resource shares[BUNDLES_MAX][2];
    sk_bundle   bundles[BUNDLES_MAX];
    for (int i = 0; i < n; i++) {
        shares[i][0] = (sk_resource){"cpu", sizes[i].cpu};
        shares[i][1] = (sk_resource){"gpu", sizes[i].gpu};
        bundles[i] = (sk_bundle){shares[i], 2};
    }
    return sk_resources_group_create(self, bundles, n, strategy, SK_REACH_HOSTS, ret_group, err);
}

/* Where a bundle lies: nothing can be taken from it there, and nowhere else. -1: it has no place. */
HELPER int place_of(sk_resources *self, sk_group group, int bundle) {
    const sk_demand nothing = {0};
    sk_lease        lease;
    int             found = -1;
    for (int pool = 0; pool < 64; pool++) {
        if (!sk_resources_take(self, &nothing, pool, group, bundle, &lease)) continue;
        cr_assert_eq(found, -1, "bundle %d lies on %d and on %d", bundle, found, pool);
        cr_assert_eq(lease.pool, pool);
        sk_resources_give_back(self, &lease);
        found = pool;
    }
    return found;
}

#endif
