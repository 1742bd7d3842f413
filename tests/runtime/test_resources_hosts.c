/* Resources of several hosts: what each has, and where placement groups go. */
#include "tests/runtime/resources_rig.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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
