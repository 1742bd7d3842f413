/* Resources of several hosts: what each has, and where placement groups go, against a model that tries every place. */
#include "core/runtime/resources.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const sk_group NO_GROUP = {0};

/* The driver's own host with 2 cpu, and further ones as they are added. */
static sk_resources *start(void) {
    const sk_resource given[] = {{"cpu", 2}, {"gpu", 0}, {"memory", 1000}};
    sk_resources     *self = NULL;
    sk_error          err = {0};
    cr_assert_eq(sk_resources_create(given, 3, &self, &err), SK_OK, "%s", err.msg);
    return self;
}

static void add(sk_resources *self, int pool, double cpu, double gpu) {
    const sk_resource given[] = {{"cpu", cpu}, {"gpu", gpu}};
    sk_error          err = {0};
    cr_assert_eq(sk_resources_add_pool(self, pool, given, 2, &err), SK_OK, "%s", err.msg);
}

static double amount_of(const sk_resources *self, int pool, const char *name, bool total) {
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    int             n = sk_resources_rows(self, pool, rows);
    for (int i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0) return total ? rows[i].total : rows[i].free;
    return NAN;
}
static double free_of(const sk_resources *self, int pool, const char *name) {
    return amount_of(self, pool, name, false);
}

static sk_demand demand_of(const sk_resources *self, double cpu, double gpu) {
    const sk_resource asked[] = {{"cpu", cpu}, {"gpu", gpu}};
    sk_demand         demand;
    sk_error          err = {0};
    sk_status status = sk_resources_parse(self, asked, 2, SK_REACH_HOSTS, NO_GROUP, -1, &demand, &err);
    cr_assert_eq(status, SK_OK, "%s", err.msg);
    return demand;
}

static const char *refusal(const sk_resources *self, const sk_resource *asked, int n, sk_reach reach, sk_group group,
                           sk_status wanted) {
    static sk_error err;
    sk_demand       demand;
    err = (sk_error){0};
    cr_assert_eq(sk_resources_parse(self, asked, n, reach, group, -1, &demand, &err), wanted, "%s", err.msg);
    return err.msg;
}

enum { BUNDLES_MAX = 8 };
typedef struct share {
    double cpu, gpu;
} share;
static sk_status make(sk_resources *self, const share *sizes, int n, sk_strategy strategy, sk_group *ret_group,
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
static sk_group group_of(sk_resources *self, const share *sizes, int n, sk_strategy strategy) {
    sk_group group = {0};
    sk_error err = {0};
    cr_assert_eq(make(self, sizes, n, strategy, &group, &err), SK_OK, "%s", err.msg);
    return group;
}
static const char *group_refusal(sk_resources *self, const share *sizes, int n, sk_strategy strategy) {
    static sk_error err;
    sk_group        group = {7};
    err = (sk_error){0};
    cr_assert_eq(make(self, sizes, n, strategy, &group, &err), SK_ELIMIT, "%s", err.msg);
    cr_assert_eq(group.id, 7);
    return err.msg;
}

/* Where a bundle lies: nothing can be taken from it there, and nowhere else. -1: it has no place. */
static int place_of(sk_resources *self, sk_group group, int bundle) {
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
static int count_hosts(sk_resources *self, sk_group group, int n) {
    uint64_t seen = 0;
    for (int i = 0; i < n; i++) {
        int at = place_of(self, group, i);
        if (at >= 0) seen |= UINT64_C(1) << at;
    }
    return __builtin_popcountll(seen);
}

/* ---- hosts ----------------------------------------------------------------------------------------------- */
Test(resources_hosts, have_rows_of_their_own_and_together) {
    sk_resources     *self = start();
    const sk_resource given[] = {{"cpu", 8}, {"foil_rig", 2}};
    sk_resource_row   rows[SK_RESOURCE_KINDS_MAX];
    cr_assert_eq(sk_resources_add_pool(self, 5, given, 2, NULL), SK_OK);
    cr_assert_eq(sk_resources_rows(self, 5, rows), 2);
    cr_assert_str_eq(rows[1].name, "foil_rig");
    cr_assert_eq(sk_resources_rows(self, 0, rows), 3, "the driver's host has no foil_rig");
    cr_assert_eq(sk_resources_rows(self, 4, rows), 0);
    cr_assert_eq(sk_resources_rows(self, -1, rows), 4);
    cr_assert_eq(amount_of(self, -1, "cpu", true), 10);
    cr_assert_eq(amount_of(self, -1, "foil_rig", true), 2);
    cr_assert_eq(sk_resources_cpus(self, 5), 8);
    cr_assert_eq(sk_resources_cpus(self, 0), 2);
    cr_assert_eq(sk_resources_cpus(self, 6), 0);

    sk_demand three = demand_of(self, 3, 0);
    sk_lease  lease;
    cr_assert(!sk_resources_take(self, &three, 0, NO_GROUP, -1, &lease));
    cr_assert(!sk_resources_take(self, &three, 4, NO_GROUP, -1, &lease));
    cr_assert(sk_resources_take(self, &three, 5, NO_GROUP, -1, &lease));
    cr_assert_eq(free_of(self, 5, "cpu"), 5);
    cr_assert_eq(free_of(self, 0, "cpu"), 2);
    cr_assert_eq(free_of(self, -1, "cpu"), 7);
    sk_resources_give_back(self, &lease);
    sk_resources_remove_pool(self, 5);
    cr_assert_eq(sk_resources_rows(self, 5, rows), 0);
    cr_assert_eq(amount_of(self, -1, "cpu", true), 2);
    cr_assert_eq(sk_resources_rows(self, -1, rows), 4, "a kind stays known");
    cr_assert_eq(amount_of(self, -1, "foil_rig", true), 0);
    sk_resources_destroy(&self);
}

Test(resources_hosts, say_what_a_machine_has) {
    const sk_resource given[] = {{"cpu", 3}, {"foil_rig", 1}};
    sk_resource_row   rows[SK_RESOURCE_KINDS_MAX];
    int               n = 0;
    sk_error          err = {0};
    cr_assert_eq(sk_resources_of_machine(given, 2, rows, &n, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(n, 4);
    cr_assert(strcmp(rows[0].name, "cpu") == 0 && rows[0].total == 3);
    cr_assert(strcmp(rows[2].name, "memory") == 0 && rows[2].total > 64e6);
    cr_assert(strcmp(rows[3].name, "foil_rig") == 0 && rows[3].total == 1);
    cr_assert_eq(sk_resources_of_machine(&(sk_resource){"cpu", -1}, 1, rows, &n, &err), SK_EINVAL);
}

Test(resources_hosts, with_too_many_kinds_are_refused_and_leave_nothing) {
    sk_resources   *self = start();
    char            names[14][16];
    sk_resource     given[14];
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    sk_error        err = {0};
    for (int i = 0; i < 14; i++) {
        snprintf(names[i], sizeof names[i], "kind%d", i);
        given[i] = (sk_resource){names[i], 1};
    }
    cr_assert_eq(sk_resources_add_pool(self, 1, given, 14, &err), SK_ELIMIT);
    cr_assert_str_eq(err.msg, "resource \"kind13\" is one too many: there may be 16 kinds");
    cr_assert_eq(sk_resources_rows(self, 1, rows), 0);
    cr_assert_eq(sk_resources_rows(self, -1, rows), 3);
    cr_assert_eq(sk_resources_add_pool(self, 1, given, 13, &err), SK_OK);
    cr_assert_eq(sk_resources_rows(self, -1, rows), 16);
    sk_resources_destroy(&self);
}

Test(resources_hosts, that_are_gone_take_their_leases_along) {
    sk_resources *self = start();
    add(self, 1, 4, 0);
    sk_demand two = demand_of(self, 2, 0);
    sk_lease  lease, other;
    cr_assert(sk_resources_take(self, &two, 1, NO_GROUP, -1, &lease));
    cr_assert(!sk_resources_is_lost(self, &lease));
    sk_resources_remove_pool(self, 1);
    cr_assert(sk_resources_is_lost(self, &lease));
    cr_assert(!sk_resources_retake(self, &lease));
    sk_resources_give_back(self, &lease);
    add(self, 1, 4, 0); /* another host, of the same number */
    cr_assert_eq(free_of(self, 1, "cpu"), 4);
    sk_resources_give_back(self, &lease);
    cr_assert_eq(free_of(self, 1, "cpu"), 4);
    cr_assert(sk_resources_is_lost(self, &lease) && !sk_resources_retake(self, &lease));
    cr_assert(sk_resources_take(self, &two, 1, NO_GROUP, -1, &other));
    sk_resources_give_back(self, &other);
    cr_assert(sk_resources_retake(self, &other));
    cr_assert_eq(free_of(self, 1, "cpu"), 2);
    sk_resources_remove_pool(self, 9); /* there is none */
    sk_resources_destroy(&self);
}

/* ---- requests -------------------------------------------------------------------------------------------- */
Test(resources_hosts, refuse_what_no_host_can_ever_give) {
    sk_resources     *self = start();
    const sk_resource cpu = {"cpu", 1}, many = {"cpu", 5}, rig = {"foil_rig", 1}, npu = {"npu", 1};
    cr_assert_str_eq(refusal(self, &cpu, 1, SK_REACH_HOSTS, NO_GROUP, SK_ELIMIT),
                     "asks for 1 cpu, and no host has joined yet");
    cr_assert_str_eq(refusal(self, NULL, 0, SK_REACH_HOSTS, NO_GROUP, SK_ELIMIT), "no host has joined yet");
    const sk_resource rigs[] = {{"cpu", 2}, {"foil_rig", 1}};
    cr_assert_eq(sk_resources_add_pool(self, 2, rigs, 2, NULL), SK_OK);
    add(self, 1, 4, 1);
    cr_assert_str_eq(refusal(self, &many, 1, SK_REACH_HOSTS, NO_GROUP, SK_ELIMIT),
                     "asks for 5 cpu, the most that one host has is 4");
    cr_assert_str_eq(refusal(self, &npu, 1, SK_REACH_HOSTS, NO_GROUP, SK_ENOTFOUND),
                     "asks for 1 npu, and no host that has joined has any (cpu, gpu, foil_rig)");
    cr_assert_str_eq(refusal(self, &rig, 1, SK_REACH_HERE, NO_GROUP, SK_ENOTFOUND),
                     "asks for 1 foil_rig, and this host has none (cpu, gpu, memory)");
    const sk_resource both[] = {{"cpu", 3}, {"foil_rig", 1}};
    cr_assert_str_eq(refusal(self, both, 2, SK_REACH_HOSTS, NO_GROUP, SK_ELIMIT),
                     "asks for 3 cpu, 1 foil_rig, and no host has all of that");
    sk_demand demand;
    cr_assert_eq(sk_resources_parse(self, rigs, 2, SK_REACH_HOSTS, NO_GROUP, -1, &demand, NULL), SK_OK);
    sk_resources_remove_pool(self, 2);
    cr_assert_str_eq(refusal(self, &rig, 1, SK_REACH_HOSTS, NO_GROUP, SK_ENOTFOUND),
                     "asks for 1 foil_rig, and no host that has joined has any (cpu, gpu)");
    sk_resources_destroy(&self);
}

Test(resources_hosts, of_a_group_are_not_those_of_the_driver) {
    sk_resources     *self = start();
    const sk_resource cpu = {"cpu", 1}, two = {"cpu", 2};
    const sk_bundle   bundle = {&cpu, 1};
    sk_group          here = {0};
    add(self, 1, 4, 0);
    sk_group group = group_of(self, (share[]){{1, 0}}, 1, SK_PACK);
    cr_assert_eq(sk_resources_group_create(self, &bundle, 1, SK_PACK, SK_REACH_HERE, &here, NULL), SK_OK);
    cr_assert_eq(place_of(self, group, 0), 1);
    cr_assert_eq(place_of(self, here, 0), 0);
    cr_assert_str_eq(refusal(self, &cpu, 1, SK_REACH_HERE, group, SK_EUNSUPPORTED),
                     "its placement group lies on the hosts that have joined: in it, only a remote placement is "
                     "possible");
    cr_assert_str_eq(refusal(self, &cpu, 1, SK_REACH_HOSTS, here, SK_EUNSUPPORTED),
                     "its placement group lies on this host: nothing in it is remote");
    cr_assert_str_eq(refusal(self, &two, 1, SK_REACH_HOSTS, group, SK_ELIMIT),
                     "asks for 2 cpu, bundle 0 of its placement group has 1 in all");
    sk_resources_remove_pool(self, 1); /* what waits for a place may still be asked for */
    sk_demand demand;
    cr_assert_eq(sk_resources_parse(self, &cpu, 1, SK_REACH_HOSTS, group, 0, &demand, NULL), SK_OK);
    sk_resources_destroy(&self);
}

static void expect_candidates(const sk_resources *self, const sk_demand *demand, sk_group group, int max,
                              const char *wanted) {
    int  pools[8], at = 0;
    int  n = sk_resources_candidates(self, demand, SK_REACH_HOSTS, group, -1, pools, max);
    char text[64] = "";
    for (int i = 0; i < n; i++) at += snprintf(text + at, sizeof text - (size_t)at, "%s%d", i ? " " : "", pools[i]);
    cr_assert_str_eq(text, wanted);
}

Test(resources_hosts, with_the_most_free_cpu_are_candidates_first) {
    sk_resources *self = start();
    int           pool = 9;
    add(self, 4, 2, 0);
    add(self, 3, 8, 0);
    add(self, 2, 4, 1);
    add(self, 1, 8, 1);
    sk_demand none = {0}, two = demand_of(self, 2, 0), three = demand_of(self, 3, 0), gpu = demand_of(self, 0, 1);
    sk_lease  lease;
    expect_candidates(self, &two, NO_GROUP, 8, "1 3 2 4");
    expect_candidates(self, &two, NO_GROUP, 1, "1");
    expect_candidates(self, &two, NO_GROUP, 3, "1 3 2");
    expect_candidates(self, &three, NO_GROUP, 8, "1 3 2");
    expect_candidates(self, &gpu, NO_GROUP, 8, "1 2");
    cr_assert(sk_resources_take(self, &three, 1, NO_GROUP, -1, &lease));
    expect_candidates(self, &none, NO_GROUP, 8, "3 1 2 4");
    cr_assert_eq(sk_resources_candidates(self, &two, SK_REACH_HERE, NO_GROUP, -1, &pool, 1), 1);
    cr_assert_eq(pool, 0);
    cr_assert_eq(sk_resources_candidates(self, &three, SK_REACH_HERE, NO_GROUP, -1, &pool, 1), 0);

    /* Of a group: where its bundles lie. */
    sk_group group = group_of(self, (share[]){{1, 0}, {2, 0}, {3, 0}}, 3, SK_STRICT_SPREAD);
    int      where[] = {place_of(self, group, 0), place_of(self, group, 1), place_of(self, group, 2)};
    char     all[16], large[16];
    snprintf(all, sizeof all, "%d %d %d", where[2], where[1], where[0]);
    snprintf(large, sizeof large, "%d %d", where[2], where[1]);
    sk_demand one = demand_of(self, 1, 0);
    expect_candidates(self, &one, group, 8, all);
    expect_candidates(self, &two, group, 8, large);
    cr_assert_eq(sk_resources_candidates(self, &two, SK_REACH_HOSTS, group, 1, &pool, 1), 1);
    cr_assert_eq(pool, where[1]);
    cr_assert_eq(sk_resources_candidates(self, &two, SK_REACH_HOSTS, group, 0, &pool, 1), 0);
    sk_resources_destroy(&self);
}

/* ---- groups ---------------------------------------------------------------------------------------------- */
Test(resources_hosts, pack_on_the_one_that_fits_best) {
    sk_resources *self = start();
    add(self, 1, 8, 0);
    add(self, 2, 4, 0);
    add(self, 3, 5, 0);
    sk_group group = group_of(self, (share[]){{1, 0}, {3, 0}}, 2, SK_PACK);
    cr_assert_eq(place_of(self, group, 0), 2);
    cr_assert_eq(place_of(self, group, 1), 2);
    sk_group strict = group_of(self, (share[]){{2, 0}, {4, 0}}, 2, SK_STRICT_PACK);
    cr_assert_eq(place_of(self, strict, 0), 1);
    cr_assert_eq(place_of(self, strict, 1), 1);
    cr_assert_eq(free_of(self, 1, "cpu"), 2);
    cr_assert_eq(free_of(self, 0, "cpu"), 2, "the driver's own is not among them");
    sk_resources_destroy(&self);
}

/* Filling the roomiest first would need three hosts: 5 = 3 + 2, 4 = 2 + 2 and 4 = 3 is not how it begins. */
Test(resources_hosts, pack_on_as_few_as_can_be) {
    sk_resources *self = start();
    for (int pool = 1; pool <= 4; pool++) add(self, pool, pool <= 2 ? 7 : 5, 0);
    sk_group group = group_of(self, (share[]){{4, 0}, {3, 0}, {5, 0}, {2, 0}}, 4, SK_PACK);
    cr_assert_eq(count_hosts(self, group, 4), 2);
    sk_resources_destroy(&self);
}

Test(resources_hosts, spread_over_as_many_as_can_be) {
    sk_resources *self = start();
    add(self, 1, 8, 0);
    add(self, 2, 4, 0);
    add(self, 3, 1, 1);
    sk_group three = group_of(self, (share[]){{1, 0}, {1, 0}, {1, 0}}, 3, SK_SPREAD);
    cr_assert_eq(count_hosts(self, three, 3), 3);
    sk_group more = group_of(self, (share[]){{1, 0}, {1, 0}, {1, 0}, {1, 0}}, 4, SK_SPREAD); /* host 3 is full */
    cr_assert_eq(count_hosts(self, more, 4), 2);
    cr_assert(sk_resources_group_is_reserved(self, more));
    sk_resources_destroy(&self);
}

Test(resources_hosts, of_a_strict_spread_are_all_different) {
    sk_resources *self = start();
    add(self, 1, 4, 1);
    add(self, 2, 4, 0);
    cr_assert_str_eq(group_refusal(self, (share[]){{1, 0}, {1, 0}, {1, 0}}, 3, SK_STRICT_SPREAD),
                     "a placement group asks for 3 hosts (strict spread, 3 bundles), there are 2");
    cr_assert_str_eq(group_refusal(self, (share[]){{1, 0.5}, {1, 0.5}}, 2, SK_STRICT_SPREAD),
                     "a placement group asks for a host for each of its 2 bundles (strict spread): beside the others "
                     "none is left for bundle 1, which asks for 1 cpu, 0.5 gpu");
    sk_group group = group_of(self, (share[]){{4, 0}, {1, 1}}, 2, SK_STRICT_SPREAD); /* not the other way about */
    cr_assert_eq(place_of(self, group, 0), 2);
    cr_assert_eq(place_of(self, group, 1), 1);
    sk_group waiting = group_of(self, (share[]){{1, 0}, {1, 0}}, 2, SK_STRICT_SPREAD);
    cr_assert(!sk_resources_group_is_reserved(self, waiting), "both would fit on host 1");
    add(self, 3, 1, 0);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert_eq(count_hosts(self, waiting, 2), 2);
    sk_resources_destroy(&self);
}

Test(resources_hosts, refuse_groups_that_can_never_be) {
    sk_resources *self = start();
    sk_group      group;
    sk_error      err = {0};
    cr_assert_eq(make(self, (share[]){{1, 0}}, 1, SK_PACK, &group, &err), SK_ELIMIT);
    cr_assert_str_eq(err.msg, "bundle 0 of a placement group: asks for 1 cpu, and no host has joined yet");
    add(self, 1, 4, 1);
    add(self, 2, 4, 0);
    cr_assert_str_eq(group_refusal(self, (share[]){{1, 0}, {5, 0}}, 2, SK_PACK),
                     "bundle 1 of a placement group: asks for 5 cpu, the most that one host has is 4");
    cr_assert_str_eq(group_refusal(self, (share[]){{4, 0}, {4, 0}, {1, 0}}, 3, SK_SPREAD),
                     "a placement group's first 3 bundles: asks for 9 cpu, there are 8 in all on 2 hosts");
    cr_assert_str_eq(group_refusal(self, (share[]){{3, 0}, {3, 0}, {2, 0}}, 3, SK_PACK),
                     "a placement group's 3 bundles do not fit on the 2 hosts that have joined");
    cr_assert_str_eq(group_refusal(self, (share[]){{3, 0}, {3, 0}, {2, 0}}, 3, SK_SPREAD),
                     "a placement group's 3 bundles do not fit on the 2 hosts that have joined");
    cr_assert_str_eq(group_refusal(self, (share[]){{3, 0}, {2, 0}}, 2, SK_STRICT_PACK),
                     "a placement group asks for one host for all of its 2 bundles (strict pack), and no host has as "
                     "much");
    cr_assert_eq(free_of(self, -1, "cpu"), 10, "what was refused holds nothing");
    sk_resources_destroy(&self);
}

Test(resources_hosts, of_a_group_wait_for_another_place_when_one_is_gone) {
    sk_resources *self = start();
    for (int pool = 1; pool <= 3; pool++) add(self, pool, 4, 0);
    sk_group  group = group_of(self, (share[]){{2, 0}, {2, 0}}, 2, SK_STRICT_SPREAD);
    int       first = place_of(self, group, 0), second = place_of(self, group, 1), third = 6 - first - second;
    sk_demand one = demand_of(self, 1, 0), two = demand_of(self, 2, 0), four = demand_of(self, 4, 0);
    sk_lease  lost, stays, again, other;
    cr_assert(sk_resources_take(self, &one, first, group, 0, &lost));
    cr_assert(sk_resources_take(self, &one, second, group, 1, &stays));
    cr_assert(sk_resources_take(self, &four, third, NO_GROUP, -1, &other)); /* no place is left there */
    sk_resources_remove_pool(self, first);
    cr_assert(!sk_resources_group_is_reserved(self, group));
    cr_assert_eq(place_of(self, group, 0), -1);
    cr_assert_eq(place_of(self, group, 1), second, "the others stay");
    cr_assert(sk_resources_is_lost(self, &lost) && !sk_resources_is_lost(self, &stays));
    cr_assert(sk_resources_take(self, &one, second, group, -1, &again), "and may be taken from");
    sk_resources_give_back(self, &again);
    cr_assert(!sk_resources_groups_retry(self), "the host of bundle 1 has room enough, but it is not another one");

    sk_resources_give_back(self, &other);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert(sk_resources_group_is_reserved(self, group));
    cr_assert_eq(place_of(self, group, 0), third);
    sk_resources_give_back(self, &lost); /* of its first place: forgotten */
    cr_assert(!sk_resources_retake(self, &lost));
    cr_assert(sk_resources_take(self, &two, third, group, 0, &again));
    cr_assert(!sk_resources_take(self, &one, third, group, 0, &other));
    sk_resources_give_back(self, &again);
    sk_resources_give_back(self, &stays);
    sk_resources_group_destroy(self, group);
    cr_assert_eq(free_of(self, -1, "cpu"), 2 + 8);
    sk_resources_destroy(&self);
}

Test(resources_hosts, of_a_group_that_has_lost_one_are_as_few_or_as_many_as_can_be) {
    sk_resources *self = start();
    for (int pool = 1; pool <= 4; pool++) add(self, pool, 4, 0);
    sk_group pack = group_of(self, (share[]){{3, 0}, {3, 0}, {1, 0}}, 3, SK_PACK);
    int      at[] = {place_of(self, pack, 0), place_of(self, pack, 1), place_of(self, pack, 2)};
    int      lonely = at[2] == at[0] ? at[1] : at[0];
    cr_assert_eq(count_hosts(self, pack, 3), 2);
    sk_resources_remove_pool(self, lonely);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert_eq(count_hosts(self, pack, 3), 2);
    sk_resources_group_destroy(self, pack);

    sk_group spread = group_of(self, (share[]){{1, 0}, {1, 0}, {1, 0}}, 3, SK_SPREAD);
    cr_assert_eq(count_hosts(self, spread, 3), 3);
    sk_resources_remove_pool(self, place_of(self, spread, 1));
    cr_assert(sk_resources_groups_retry(self), "two hosts are better than none");
    cr_assert_eq(count_hosts(self, spread, 3), 2);
    sk_resources_destroy(&self);
}

Test(resources_hosts, let_an_older_group_that_lost_its_place_go_first) {
    sk_resources *self = start();
    add(self, 1, 2, 0);
    add(self, 2, 2, 0);
    sk_group older = group_of(self, (share[]){{2, 0}}, 1, SK_PACK);
    int      at = place_of(self, older, 0);
    sk_group holder = group_of(self, (share[]){{2, 0}}, 1, SK_PACK);
    sk_group younger = group_of(self, (share[]){{2, 0}}, 1, SK_PACK);
    cr_assert(!sk_resources_group_is_reserved(self, younger));
    sk_resources_remove_pool(self, at);
    sk_resources_group_destroy(self, holder);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert(sk_resources_group_is_reserved(self, older) && !sk_resources_group_is_reserved(self, younger));
    sk_resources_destroy(&self);
}

Test(resources_hosts, hold_groups_of_many_bundles) {
    sk_resources      *self = start();
    const sk_resource  one = {"cpu", 1}, big = {"cpu", 900};
    static sk_bundle   bundles[1000];
    sk_group           group;
    sk_error           err = {0};
    for (int pool = 1; pool <= 40; pool++) add(self, pool, 32, 0);
    for (int i = 0; i < 1000; i++) bundles[i] = (sk_bundle){&one, 1};
    for (int strategy = SK_PACK; strategy <= SK_SPREAD; strategy++) {
        sk_strategy how = (sk_strategy)strategy;
        cr_assert_eq(sk_resources_group_create(self, bundles, 1000, how, SK_REACH_HOSTS, &group, &err), SK_OK, "%s",
                     err.msg);
        cr_assert(sk_resources_group_is_reserved(self, group));
        cr_assert_eq(count_hosts(self, group, 1000), strategy == SK_PACK ? 32 : 40);
        sk_resources_group_destroy(self, group);
    }
    add(self, 41, 1000, 0);
    bundles[999] = (sk_bundle){&big, 1};
    cr_assert_eq(sk_resources_group_create(self, bundles, 1000, SK_PACK, SK_REACH_HOSTS, &group, &err), SK_OK, "%s",
                 err.msg);
    cr_assert_eq(place_of(self, group, 999), 41);
    sk_resources_group_destroy(self, group);
    cr_assert_eq(free_of(self, -1, "cpu"), 2 + 40 * 32 + 1000);
    sk_resources_destroy(&self);
}

/* ---- against a model that tries every place -------------------------------------------------------------- */
enum { N_POOLS = 4, N_KINDS = 2, N_GROUPS = 5, N_BUNDLES = 4, N_LEASES = 24, N_STEPS = 60000 };

static uint64_t draw(uint64_t *state, uint64_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % below;
}

typedef struct model_group {
    sk_group    id;
    sk_strategy strategy;
    int         n, order;                     /* when it was made */
    int         size[N_BUNDLES][N_KINDS];
    int         left[N_BUNDLES][N_KINDS];     /* not taken         */
    int         at[N_BUNDLES];                /* -1: waits         */
    bool        alive;
} model_group;
typedef struct model_lease {
    sk_lease lease;
    int      units[N_KINDS], pool, use, group /* -1: of the host */, order, bundle;
    bool     out;
} model_lease;
typedef struct model {
    bool        up[N_POOLS + 1];
    int         use[N_POOLS + 1];
    int         total[N_POOLS + 1][N_KINDS], left[N_POOLS + 1][N_KINDS];
    model_group groups[N_GROUPS];
    model_lease leases[N_LEASES];
    int         n_made;
} model;

static bool waits(const model_group *g) {
    for (int i = 0; i < g->n; i++)
        if (g->at[i] < 0) return true;
    return false;
}

/* Try every place for those without one; the best number of hosts, or -1: there is none. */
static int best_of(const model_group *g, const bool *up, int (*left)[N_KINDS], int *at, int i) {
    int n_here[N_POOLS + 1] = {0}, n_used = 0, best = -1;
    if (i == g->n) {
        for (int k = 0; k < g->n; k++) n_used += n_here[at[k]]++ == 0;
        if (g->strategy == SK_STRICT_PACK && n_used > 1) return -1;
        return g->strategy == SK_STRICT_SPREAD && n_used < g->n ? -1 : n_used;
    }
    if (g->at[i] >= 0) return best_of(g, up, left, at, i + 1);
    for (int pool = 1; pool <= N_POOLS; pool++) {
        if (!up[pool] || left[pool][0] < g->size[i][0] || left[pool][1] < g->size[i][1]) continue;
        for (int k = 0; k < N_KINDS; k++) left[pool][k] -= g->size[i][k];
        at[i] = pool;
        int n = best_of(g, up, left, at, i + 1);
        for (int k = 0; k < N_KINDS; k++) left[pool][k] += g->size[i][k];
        if (n >= 0 && (best < 0 || (g->strategy == SK_SPREAD ? n > best : n < best))) best = n;
    }
    at[i] = -1;
    return best;
}

static int best_now(const model *m, const model_group *g, bool by_total) {
    int left[N_POOLS + 1][N_KINDS], at[N_BUNDLES];
    memcpy(left, by_total ? m->total : m->left, sizeof left);
    memcpy(at, g->at, sizeof at);
    return best_of(g, m->up, left, at, 0);
}

static unsigned mask_of(const model_group *g) {
    unsigned mask = 0;
    for (int i = 0; i < g->n; i++)
        for (int k = 0; k < N_KINDS; k++)
            if (g->at[i] < 0 && g->size[i][k] > 0) mask |= 1u << k;
    return mask;
}

/* It must have found a place as good as the best: see where, and note it. */
static void follow(model *m, sk_resources *self, model_group *g, int best) {
    unsigned used = 0;
    for (int i = 0; i < g->n; i++) {
        int at = place_of(self, g->id, i);
        cr_assert(at >= 1 && at <= N_POOLS && m->up[at], "bundle %d lies on %d", i, at);
        if (g->at[i] >= 0) cr_assert_eq(at, g->at[i], "bundle %d has moved", i);
        for (int k = 0; g->at[i] < 0 && k < N_KINDS; k++) {
            m->left[at][k] -= g->size[i][k];
            g->left[i][k] = g->size[i][k];
            cr_assert_geq(m->left[at][k], 0);
        }
        g->at[i] = at;
        used |= 1u << at;
    }
    cr_assert_eq(__builtin_popcount(used), best, "strategy %d, %d bundles: %d hosts, %d is best", g->strategy, g->n,
                 __builtin_popcount(used), best);
}

/* Groups in the order they were made; one that waits holds back those that want the same. */
static void retry(model *m, sk_resources *self) {
    unsigned blocked = 0;
    bool     any = false;
    bool     got = sk_resources_groups_retry(self);
    for (int order = 0; order < m->n_made; order++) {
        for (int i = 0; i < N_GROUPS; i++) {
            model_group *g = &m->groups[i];
            if (!g->alive || g->order != order || !waits(g)) continue;
            unsigned mask = mask_of(g);
            int      best = mask & blocked ? -1 : best_now(m, g, false);
            cr_assert_eq(sk_resources_group_is_reserved(self, g->id), best >= 0, "group %d", i);
            if (best >= 0) follow(m, self, g, best);
            else blocked |= mask;
            any = any || best >= 0;
        }
    }
    cr_assert_eq(got, any);
}

static void create(model *m, sk_resources *self, model_group *g, uint64_t *state) {
    share       sizes[N_BUNDLES];
    sk_error    err = {0};
    model_group made = {.strategy = (sk_strategy)draw(state, 4), .n = 1 + (int)draw(state, N_BUNDLES), .alive = true};
    for (int i = 0; i < made.n; i++) {
        made.size[i][0] = (int)draw(state, 5);
        made.size[i][1] = made.size[i][0] == 0 ? 1 : (int)draw(state, 4) == 0;
        made.at[i] = -1;
        sizes[i] = (share){made.size[i][0], made.size[i][1]};
    }
    bool      ever = best_now(m, &made, true) >= 0;
    sk_status status = make(self, sizes, made.n, made.strategy, &made.id, &err);
    cr_assert(ever ? status == SK_OK : status == SK_ELIMIT, "%s: %s", ever ? "possible" : "impossible", err.msg);
    if (!ever) return;
    unsigned waiting = 0;
    for (int i = 0; i < N_GROUPS; i++)
        if (m->groups[i].alive) waiting |= mask_of(&m->groups[i]);
    int best = waiting & mask_of(&made) ? -1 : best_now(m, &made, false);
    made.order = m->n_made++;
    *g = made;
    cr_assert_eq(sk_resources_group_is_reserved(self, g->id), best >= 0);
    if (best >= 0) follow(m, self, g, best);
}

static void destroy(model *m, sk_resources *self, model_group *g) {
    sk_resources_group_destroy(self, g->id);
    g->alive = false;
    for (int i = 0; i < g->n; i++)
        for (int k = 0; g->at[i] >= 0 && k < N_KINDS; k++) m->left[g->at[i]][k] += g->left[i][k];
}

static void take(model *m, sk_resources *self, model_lease *one, uint64_t *state) {
    int          at = 1 + (int)draw(state, N_POOLS), bundle = (int)draw(state, N_BUNDLES);
    int          index = (int)draw(state, N_GROUPS);
    model_group *g = draw(state, 2) ? &m->groups[index] : NULL;
    if (g && (!g->alive || bundle >= g->n)) return;
    one->units[0] = (int)draw(state, 3);
    one->units[1] = (int)draw(state, 8) == 0;
    sk_demand demand = {0};
    for (int k = 0; k < N_KINDS; k++) { /* kinds 0 and 1 are cpu and gpu */
        if (one->units[k] == 0) continue;
        demand.kind[demand.n] = (uint8_t)k;
        demand.amount[demand.n++] = one->units[k] * 10000;
    }
    int *left = g ? g->left[bundle] : m->left[at];
    bool fits = g ? g->at[bundle] == at : m->up[at];
    for (int k = 0; k < N_KINDS; k++) fits = fits && (one->units[k] == 0 || left[k] >= one->units[k]);
    cr_assert_eq(sk_resources_take(self, &demand, at, g ? g->id : NO_GROUP, g ? bundle : -1, &one->lease), fits);
    if (!fits) return;
    for (int k = 0; k < N_KINDS; k++) left[k] -= one->units[k];
    one->out = true;
    one->pool = at;
    one->use = m->use[at];
    one->group = g ? index : -1;
    one->order = g ? g->order : 0;
    one->bundle = bundle;
}

static void give_back(model *m, sk_resources *self, model_lease *one) {
    bool there = m->up[one->pool] && m->use[one->pool] == one->use;
    cr_assert_eq(sk_resources_is_lost(self, &one->lease), !there);
    sk_resources_give_back(self, &one->lease);
    one->out = false;
    model_group *g = one->group >= 0 ? &m->groups[one->group] : NULL;
    bool         lives = g && g->alive && g->order == one->order;
    int         *left = lives ? g->left[one->bundle] : m->left[one->pool];
    for (int k = 0; there && k < N_KINDS; k++) left[k] += one->units[k];
}

static void come_or_go(model *m, sk_resources *self, int pool, uint64_t *state) {
    m->up[pool] = !m->up[pool];
    if (m->up[pool]) {
        m->total[pool][0] = m->left[pool][0] = 2 + (int)draw(state, 7);
        m->total[pool][1] = m->left[pool][1] = (int)draw(state, 3);
        m->use[pool]++;
        add(self, pool, m->total[pool][0], m->total[pool][1]);
        return;
    }
    sk_resources_remove_pool(self, pool);
    memset(m->total[pool], 0, sizeof m->total[pool]);
    memset(m->left[pool], 0, sizeof m->left[pool]);
    for (int i = 0; i < N_GROUPS; i++)
        for (int k = 0; m->groups[i].alive && k < m->groups[i].n; k++)
            if (m->groups[i].at[k] == pool) m->groups[i].at[k] = -1;
}

static void compare(const model *m, const sk_resources *self) {
    for (int pool = 1; pool <= N_POOLS; pool++) {
        if (!m->up[pool]) continue;
        cr_assert_eq(free_of(self, pool, "cpu"), m->left[pool][0], "cpu of %d", pool);
        cr_assert_eq(free_of(self, pool, "gpu"), m->left[pool][1], "gpu of %d", pool);
    }
    for (int i = 0; i < N_GROUPS; i++)
        if (m->groups[i].alive)
            cr_assert_eq(sk_resources_group_is_reserved(self, m->groups[i].id), !waits(&m->groups[i]), "group %d", i);
}

Test(resources_hosts, agree_with_a_model_that_tries_every_place) {
    static model  m;
    sk_resources *self = start();
    uint64_t      state = 11;
    int           n_reserved = 0, n_waiting = 0, n_moves = 0;
    for (int step = 0; step < N_STEPS; step++) {
        model_group *g = &m.groups[draw(&state, N_GROUPS)];
        model_lease *one = &m.leases[draw(&state, N_LEASES)];
        switch (draw(&state, 8)) {
        case 0: come_or_go(&m, self, 1 + (int)draw(&state, N_POOLS), &state); break;
        case 1:
        case 2:
            if (g->alive) destroy(&m, self, g);
            else create(&m, self, g, &state);
            if (g->alive) *(waits(g) ? &n_waiting : &n_reserved) += 1;
            break;
        case 3:
        case 4:
            n_moves++;
            retry(&m, self);
            break;
        default:
            if (one->out) give_back(&m, self, one);
            else take(&m, self, one, &state);
        }
        if (step % 7 == 0) compare(&m, self);
    }
    cr_assert(n_reserved > 1000 && n_waiting > 300 && n_moves > 1000, "%d reserved, %d waited", n_reserved, n_waiting);
    for (int i = 0; i < N_GROUPS; i++)
        if (m.groups[i].alive) destroy(&m, self, &m.groups[i]);
    for (int i = 0; i < N_LEASES; i++)
        if (m.leases[i].out) give_back(&m, self, &m.leases[i]);
    for (int pool = 1; pool <= N_POOLS; pool++)
        if (m.up[pool]) cr_assert_eq(free_of(self, pool, "cpu"), m.total[pool][0]);
    sk_resources_destroy(&self);
}
