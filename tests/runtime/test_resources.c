/* Resources against a plain model in integers: what is taken and given back adds up, whatever the order. */
#include "core/runtime/resources.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static const sk_group HOST = {0};

static sk_resources *host_of(const sk_resource *given, int n) {
    sk_resources *self = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_resources_create(given, n, &self, &err), SK_OK, "%s", err.msg);
    return self;
}

/* 2 cpu, 1 gpu, 1000 bytes of memory, 4 tpu. */
static sk_resources *small_host(void) {
    const sk_resource given[] = {{"cpu", 2}, {"gpu", 1}, {"memory", 1000}, {"tpu", 4}};
    return host_of(given, 4);
}

static sk_demand demand_of(const sk_resources *self, const char *name, double amount) {
    sk_demand demand;
    sk_error err = {0};
    sk_resource asked = {name, amount};
    cr_assert_eq(sk_resources_parse(self, &asked, 1, SK_REACH_HERE, HOST, -1, &demand, &err), SK_OK, "%s", err.msg);
    return demand;
}

static double free_of(const sk_resources *self, const char *name) {
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    int n = sk_resources_rows(self, 0, rows);
    for (int i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0) return rows[i].free;
    cr_assert_fail("no row %s", name);
    return NAN;
}

static void expect_refused(const sk_resources *self, const sk_resource *asked, int n, sk_group group, int bundle,
                           sk_status status, const char *text) {
    sk_demand demand;
    sk_error err = {0};
    cr_assert_eq(sk_resources_parse(self, asked, n, SK_REACH_HERE, group, bundle, &demand, &err), status, "%s", err.msg);
    cr_assert_str_eq(err.msg, text);
}

static sk_group group_of(sk_resources *self, const char *name, double amount, int n) {
    sk_resource share = {name, amount};
    sk_bundle bundles[8];
    sk_group group;
    sk_error err = {0};
    for (int i = 0; i < n; i++) bundles[i] = (sk_bundle){&share, 1};
    cr_assert_eq(sk_resources_group_create(self, bundles, n, SK_PACK, SK_REACH_HERE, &group, &err), SK_OK, "%s", err.msg);
    return group;
}

/* ---- what there is --------------------------------------------------------------------------------------------- */
Test(resources, start_with_what_the_machine_has) {
    sk_resources *self = host_of(NULL, 0);
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    cr_assert_eq(sk_resources_rows(self, 0, rows), 3);
    cr_assert_str_eq(rows[0].name, "cpu");
    cr_assert_str_eq(rows[1].name, "gpu");
    cr_assert_str_eq(rows[2].name, "memory");
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    cr_assert_eq(rows[0].total, (double)CPU_COUNT(&set));
    int n_gpus = 0;
    DIR *dir = opendir("/dev");
    for (struct dirent *entry; (entry = readdir(dir));) {
        int number, end = 0;
        n_gpus += sscanf(entry->d_name, "nvidia%d%n", &number, &end) == 1 && entry->d_name[end] == '\0';
    }
    closedir(dir);
    cr_assert_eq(rows[1].total, (double)n_gpus);
    cr_assert_gt(rows[2].total, 64e6);
    cr_assert_eq(rows[2].total, rows[2].free);
    sk_resources_destroy(&self);
    cr_assert_null(self);
}

Test(resources, take_the_given_amounts_over_the_machines) {
    sk_resources *self = small_host();
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    cr_assert_eq(sk_resources_rows(self, 0, rows), 4);
    cr_assert_eq(rows[0].total, 2);
    cr_assert_eq(rows[1].total, 1);
    cr_assert_eq(rows[2].total, 1000);
    cr_assert_str_eq(rows[3].name, "tpu");
    cr_assert_eq(rows[3].total, 4);
    sk_resources_destroy(&self);
}

Test(resources, destroy_accepts_null) {
    sk_resources *self = NULL;
    sk_resources_destroy(&self);
    sk_resources_destroy(NULL);
}

Test(resources, refuse_given_amounts_that_cannot_be) {
    static const struct {
        sk_resource given[2];
        int         n;
        const char *text;
    } cases[] = {
        {{{"cpu", -1}}, 1, "resource \"cpu\": an amount must be finite and >= 0, got -1"},
        {{{"gpu", NAN}}, 1, "resource \"gpu\": an amount must be finite and >= 0, got nan"},
        {{{"tpu", INFINITY}}, 1, "resource \"tpu\": an amount must be finite and >= 0, got inf"},
        {{{"memory", 1e16}}, 1, "resource \"memory\": at most 4e+14 can be counted, got 1e+16"},
        {{{"tpu", 1e-5}}, 1, "resource \"tpu\": amounts count to 1/10,000, got 1e-05"},
        {{{"", 1}}, 1, "a resource has no name"},
        {{{NULL, 1}}, 1, "a resource has no name"},
        {{{"a b", 1}}, 1, "resource \"a b\": a name is of letters, digits and _-.:/"},
        {{{"twenty_four_letters_here", 1}}, 1,
         "resource \"twenty_four_letters_here...\": a name has at most 23 bytes"},
        {{{"tpu", 1}, {"tpu", 2}}, 2, "resource \"tpu\" is given twice"},
    };
    for (int i = 0; i < SK_COUNT(cases); i++) {
        sk_resources *self = NULL;
        sk_error err = {0};
        cr_assert_eq(sk_resources_create(cases[i].given, cases[i].n, &self, &err), SK_EINVAL);
        cr_assert_str_eq(err.msg, cases[i].text);
        cr_assert_null(self);
    }
}

Test(resources, count_at_most_16_kinds) {
    char names[14][16];
    sk_resource given[14];
    for (int i = 0; i < 14; i++) {
        snprintf(names[i], sizeof names[i], "kind%d", i);
        given[i] = (sk_resource){names[i], 1};
    }
    sk_resources *self = host_of(given, 13);
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    cr_assert_eq(sk_resources_rows(self, 0, rows), 16);
    sk_resources_destroy(&self);
    sk_error err = {0};
    cr_assert_eq(sk_resources_create(given, 14, &self, &err), SK_EINVAL);
    cr_assert_str_eq(err.msg, "resource \"kind13\" is one too many: there may be 16 kinds");
}

/* ---- requests -------------------------------------------------------------------------------------------------- */
Test(resources, say_what_can_never_be_met) {
    sk_resources *self = small_host();
    expect_refused(self, &(sk_resource){"cpu", 5}, 1, HOST, -1, SK_ELIMIT, "asks for 5 cpu, there are 2 in all");
    expect_refused(self, &(sk_resource){"gpu", 1.5}, 1, HOST, -1, SK_ELIMIT, "asks for 1.5 gpu, there is 1 in all");
    expect_refused(self, &(sk_resource){"memory", 1e300}, 1, HOST, -1, SK_ELIMIT,
                   "asks for 400000000000000 bytes of memory, there are 1000 in all");
    expect_refused(self, &(sk_resource){"npu", 1}, 1, HOST, -1, SK_ENOTFOUND,
                   "asks for 1 npu, and this host has none (cpu, gpu, memory, tpu)");
    sk_resources_destroy(&self);
}

Test(resources, refuse_bad_requests_by_name) {
    sk_resources *self = small_host();
    expect_refused(self, &(sk_resource){"cpu", NAN}, 1, HOST, -1, SK_EINVAL,
                   "resource \"cpu\": an amount must be finite and >= 0, got nan");
    expect_refused(self, &(sk_resource){"gpu", -0.5}, 1, HOST, -1, SK_EINVAL,
                   "resource \"gpu\": an amount must be finite and >= 0, got -0.5");
    sk_resource twice[] = {{"cpu", 1}, {"gpu", 1}, {"cpu", 1}};
    expect_refused(self, twice, 3, HOST, -1, SK_EINVAL, "resource \"cpu\" is asked for twice");
    sk_resources_destroy(&self);

    char names[7][16];
    sk_resource given[7];
    for (int i = 0; i < 7; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        given[i] = (sk_resource){names[i], 1};
    }
    self = host_of(given, 7);
    expect_refused(self, given, 7, HOST, -1, SK_EINVAL, "resource \"k6\" is one too many: a request may name 6 kinds");
    sk_resources_destroy(&self);
}

Test(resources, compare_requests_by_bytes_whatever_their_order) {
    sk_resources *self = small_host();
    sk_resource one[] = {{"tpu", 2}, {"cpu", 1}, {"gpu", 0.5}, {"memory", 0}};
    sk_resource other[] = {{"gpu", 0.5}, {"tpu", 2}, {"cpu", 1}};
    sk_demand a, b, none;
    memset(&a, 0xff, sizeof a);
    cr_assert_eq(sk_resources_parse(self, one, 4, SK_REACH_HERE, HOST, -1, &a, NULL), SK_OK);
    cr_assert_eq(sk_resources_parse(self, other, 3, SK_REACH_HERE, HOST, -1, &b, NULL), SK_OK);
    cr_assert_eq(memcmp(&a, &b, sizeof a), 0);
    cr_assert_eq(a.n, 3);
    char text[64];
    sk_demand_text(self, &a, text, sizeof text);
    cr_assert_str_eq(text, "1 cpu, 0.5 gpu, 2 tpu");
    sk_demand_text(self, &a, text, 8);
    cr_assert_str_eq(text, "1 cpu, ");

    static const sk_demand zero;
    cr_assert_eq(sk_resources_parse(self, NULL, 0, SK_REACH_HERE, HOST, -1, &none, NULL), SK_OK);
    cr_assert_eq(memcmp(&none, &zero, sizeof zero), 0);
    sk_demand_text(self, &none, text, sizeof text);
    cr_assert_str_eq(text, "nothing");
    sk_demand_text(self, &(sk_demand){{40960000, 12345}, {2, 3}, 2, 0}, text, sizeof text);
    cr_assert_str_eq(text, "4096 bytes of memory, 1.2345 tpu");
    sk_resources_destroy(&self);
}

/* ---- taking ---------------------------------------------------------------------------------------------------- */
Test(resources, add_fractions_exactly) {
    sk_resources *self = small_host();
    sk_demand tenth = demand_of(self, "gpu", 0.1), third = demand_of(self, "gpu", 1.0 / 3);
    sk_demand sixth = demand_of(self, "gpu", 1.0 / 6);
    const struct {
        sk_demand demand;
        int       n;
    } shares[] = {{tenth, 10}, {third, 3}, {sixth, 6}};
    for (int i = 0; i < SK_COUNT(shares); i++) {
        sk_lease leases[11];
        for (int j = 0; j < shares[i].n; j++)
            cr_assert(sk_resources_take(self, &shares[i].demand, 0, HOST, -1, &leases[j]), "share %d of %d", j,
                      shares[i].n);
        cr_assert(!sk_resources_take(self, &shares[i].demand, 0, HOST, -1, &leases[10]));
        for (int j = 0; j < shares[i].n; j++) sk_resources_give_back(self, &leases[j]);
        cr_assert_eq(free_of(self, "gpu"), 1.0);
    }
    sk_resources_destroy(&self);
}

Test(resources, take_all_of_a_request_or_nothing) {
    sk_resources *self = small_host();
    sk_resource both[] = {{"cpu", 2}, {"tpu", 3}};
    sk_demand demand, cpu = demand_of(self, "cpu", 1);
    sk_lease lease, other;
    cr_assert_eq(sk_resources_parse(self, both, 2, SK_REACH_HERE, HOST, -1, &demand, NULL), SK_OK);
    cr_assert(sk_resources_take(self, &cpu, 0, HOST, -1, &other));
    cr_assert(!sk_resources_take(self, &demand, 0, HOST, -1, &lease));
    cr_assert_eq(free_of(self, "cpu"), 1.0);
    cr_assert_eq(free_of(self, "tpu"), 4.0);
    sk_resources_give_back(self, &other);
    cr_assert(sk_resources_take(self, &demand, 0, HOST, -1, &lease));
    cr_assert_eq(free_of(self, "tpu"), 1.0);
    sk_resources_destroy(&self);
}

Test(resources, are_overcommitted_by_a_retake_and_recover) {
    sk_resources *self = small_host();
    sk_demand two = demand_of(self, "cpu", 2), one = demand_of(self, "cpu", 1);
    sk_lease waiter, other, third;
    cr_assert(sk_resources_take(self, &two, 0, HOST, -1, &waiter));
    sk_resources_give_back(self, &waiter); /* it waits for an object */
    cr_assert(sk_resources_take(self, &two, 0, HOST, -1, &other));
    cr_assert(sk_resources_retake(self, &waiter));
    cr_assert_eq(free_of(self, "cpu"), -2.0);
    sk_resources_give_back(self, &other);
    cr_assert_eq(free_of(self, "cpu"), 0.0);
    cr_assert(!sk_resources_take(self, &one, 0, HOST, -1, &third));
    sk_resources_give_back(self, &waiter);
    cr_assert(sk_resources_take(self, &one, 0, HOST, -1, &third));
    cr_assert_eq(free_of(self, "cpu"), 1.0);
    sk_resources_destroy(&self);
}

/* ---- placement groups ------------------------------------------------------------------------------------------ */
Test(resources, reserve_groups_as_a_whole) {
    sk_resources *self = small_host();
    sk_group group = group_of(self, "tpu", 1.5, 2);
    cr_assert(sk_resources_group_exists(self, group) && sk_resources_group_is_reserved(self, group));
    cr_assert_eq(free_of(self, "tpu"), 1.0);
    sk_group second = group_of(self, "tpu", 0.8, 2); /* one bundle would fit */
    cr_assert(sk_resources_group_exists(self, second) && !sk_resources_group_is_reserved(self, second));
    cr_assert_eq(free_of(self, "tpu"), 1.0);
    cr_assert(!sk_resources_groups_retry(self));
    sk_resources_group_destroy(self, group);
    cr_assert(!sk_resources_group_exists(self, group));
    cr_assert(sk_resources_groups_retry(self));
    cr_assert(sk_resources_group_is_reserved(self, second));
    sk_resources_group_destroy(self, second);
    cr_assert_eq(free_of(self, "tpu"), 4.0);
    sk_resources_destroy(&self);
}

Test(resources, of_a_bundle_are_taken_only_from_it) {
    sk_resources *self = small_host();
    sk_group group = group_of(self, "cpu", 1, 2);
    sk_demand one = demand_of(self, "cpu", 1), none;
    sk_lease first, second, third, empty;
    cr_assert(!sk_resources_take(self, &one, 0, HOST, -1, &first));
    cr_assert(sk_resources_take(self, &one, 0, group, 1, &first));
    cr_assert_eq(first.bundle, 1);
    cr_assert(!sk_resources_take(self, &one, 0, group, 1, &second));
    cr_assert(sk_resources_take(self, &one, 0, group, -1, &second));
    cr_assert_eq(second.bundle, 0);
    cr_assert(!sk_resources_take(self, &one, 0, group, -1, &third));
    cr_assert(!sk_resources_take(self, &one, 0, group, 2, &third));
    cr_assert_eq(sk_resources_parse(self, NULL, 0, SK_REACH_HERE, group, -1, &none, NULL), SK_OK);
    cr_assert(sk_resources_take(self, &none, 0, group, -1, &empty));
    sk_resources_give_back(self, &empty);
    sk_resources_give_back(self, &first);
    cr_assert(!sk_resources_take(self, &one, 0, HOST, -1, &third));
    cr_assert(sk_resources_take(self, &one, 0, group, -1, &first));
    cr_assert_eq(first.bundle, 1);
    sk_resources_destroy(&self);
}

Test(resources, that_no_bundle_has_are_refused) {
    sk_resources *self = small_host();
    sk_resource share[] = {{"cpu", 1}, {"tpu", 1}}, big[] = {{"tpu", 2}};
    sk_bundle bundles[] = {{share, 2}, {big, 1}};
    sk_group group, gone = {UINT64_C(12345) << 20 | 1};
    cr_assert_eq(sk_resources_group_create(self, bundles, 2, SK_SPREAD, SK_REACH_HERE, &group, NULL), SK_OK);
    sk_demand demand;
    cr_assert_eq(sk_resources_parse(self, share, 2, SK_REACH_HERE, group, -1, &demand, NULL), SK_OK);
    cr_assert_eq(sk_resources_parse(self, big, 1, SK_REACH_HERE, group, 1, &demand, NULL), SK_OK);
    expect_refused(self, big, 1, group, 0, SK_ELIMIT,
                   "asks for 2 tpu, bundle 0 of its placement group has 1 in all");
    expect_refused(self, share, 2, group, 1, SK_ELIMIT,
                   "asks for 1 cpu, bundle 1 of its placement group has 0 in all");
    sk_resource both[] = {{"cpu", 1}, {"tpu", 2}};
    expect_refused(self, both, 2, group, -1, SK_ELIMIT,
                   "asks for 1 cpu, 2 tpu, and none of the 2 bundles of its placement group has that in all");
    expect_refused(self, big, 1, group, 2, SK_ENOTFOUND, "the placement group has no bundle 2, only 0 to 1");
    expect_refused(self, big, 1, gone, -1, SK_ENOTFOUND, "there is no such placement group, or it was destroyed");
    sk_resources_destroy(&self);
}

static void expect_no_group(sk_resources *self, const sk_bundle *bundles, int n, sk_strategy strategy, sk_status status,
                            const char *text) {
    sk_group group = {7};
    sk_error err = {0};
    cr_assert_eq(sk_resources_group_create(self, bundles, n, strategy, SK_REACH_HERE, &group, &err), status);
    cr_assert_str_eq(err.msg, text);
    cr_assert_eq(group.id, 7);
}

Test(resources, refuse_groups_that_can_never_be) {
    sk_resources *self = small_host();
    sk_resource one[] = {{"cpu", 1}}, five[] = {{"cpu", 5}}, zero[] = {{"cpu", 0}}, npu[] = {{"npu", 1}};
    sk_bundle three[] = {{one, 1}, {one, 1}, {one, 1}}, big = {five, 1}, empty = {zero, 1}, unknown = {npu, 1};
    expect_no_group(self, three, 3, SK_PACK, SK_ELIMIT,
                    "a placement group's first 3 bundles: asks for 3 cpu, there are 2 in all");
    expect_no_group(self, &big, 1, SK_PACK, SK_ELIMIT,
                    "bundle 0 of a placement group: asks for 5 cpu, there are 2 in all");
    expect_no_group(self, &unknown, 1, SK_PACK, SK_ENOTFOUND,
                    "bundle 0 of a placement group: asks for 1 npu, and this host has none (cpu, gpu, memory, tpu)");
    expect_no_group(self, &empty, 1, SK_PACK, SK_EINVAL, "bundle 0 of a placement group asks for nothing");
    expect_no_group(self, three, 0, SK_PACK, SK_EINVAL, "a placement group needs at least one bundle, got 0");
    expect_no_group(self, three, 2, SK_STRICT_SPREAD, SK_ELIMIT,
                    "a placement group asks for 2 hosts (strict spread, 2 bundles), there is 1");
    expect_no_group(self, three, 1, (sk_strategy)9, SK_EINVAL, "a placement group's strategy is 0 to 3, got 9");
    sk_group group;
    cr_assert_eq(sk_resources_group_create(self, three, 1, SK_STRICT_SPREAD, SK_REACH_HERE, &group, NULL), SK_OK);
    cr_assert_eq(free_of(self, "cpu"), 1.0);
    sk_resources_destroy(&self);
}

Test(resources, let_waiting_groups_have_their_turn) {
    sk_resources *self = small_host();
    sk_demand one = demand_of(self, "cpu", 1);
    sk_lease lease;
    cr_assert(sk_resources_take(self, &one, 0, HOST, -1, &lease));
    sk_group big = group_of(self, "cpu", 2, 1);
    sk_group small = group_of(self, "cpu", 1, 1); /* would fit, but big came first */
    sk_group apart = group_of(self, "tpu", 1, 1); /* takes nothing that big waits for */
    cr_assert(!sk_resources_group_is_reserved(self, big) && !sk_resources_group_is_reserved(self, small));
    cr_assert(sk_resources_group_is_reserved(self, apart));
    cr_assert(!sk_resources_groups_retry(self));
    sk_lease task;
    cr_assert(sk_resources_take(self, &one, 0, HOST, -1, &task)); /* tasks go on */
    sk_resources_give_back(self, &task);
    cr_assert(!sk_resources_take(self, &one, 0, big, -1, &task)); /* not yet */

    sk_resources_give_back(self, &lease);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert(sk_resources_group_is_reserved(self, big) && !sk_resources_group_is_reserved(self, small));
    sk_resources_group_destroy(self, big);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert(sk_resources_group_is_reserved(self, small));
    cr_assert_eq(free_of(self, "cpu"), 1.0);
    sk_resources_destroy(&self);
}

Test(resources, let_the_next_group_go_when_a_waiting_one_is_destroyed) {
    sk_resources *self = small_host();
    sk_demand one = demand_of(self, "cpu", 1);
    sk_lease lease;
    cr_assert(sk_resources_take(self, &one, 0, HOST, -1, &lease));
    sk_group first = group_of(self, "cpu", 2, 1), middle = group_of(self, "cpu", 2, 1);
    sk_group last = group_of(self, "cpu", 1, 1);
    sk_resources_group_destroy(self, middle);
    cr_assert(!sk_resources_groups_retry(self));
    sk_resources_group_destroy(self, first);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert(sk_resources_group_is_reserved(self, last));
    cr_assert_eq(free_of(self, "cpu"), 0.0);
    sk_resources_destroy(&self);
}

Test(resources, let_no_group_go_before_one_that_waits_for_the_same) {
    sk_resources *self = small_host();
    sk_demand one = demand_of(self, "cpu", 1), gpu = demand_of(self, "gpu", 1);
    sk_lease cpu_lease, gpu_lease;
    cr_assert(sk_resources_take(self, &one, 0, HOST, -1, &cpu_lease));
    cr_assert(sk_resources_take(self, &gpu, 0, HOST, -1, &gpu_lease));
    sk_resource both[] = {{"cpu", 2}, {"tpu", 1}};
    sk_bundle bundle = {both, 2};
    sk_group first, last;
    cr_assert_eq(sk_resources_group_create(self, &bundle, 1, SK_PACK, SK_REACH_HERE, &first, NULL), SK_OK);
    sk_group second = group_of(self, "cpu", 1, 1); /* fits, and shares cpu with the first */
    last = group_of(self, "gpu", 1, 1);            /* shares nothing */
    cr_assert(!sk_resources_groups_retry(self));
    sk_resources_give_back(self, &gpu_lease);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert(sk_resources_group_is_reserved(self, last));
    cr_assert(!sk_resources_group_is_reserved(self, first) && !sk_resources_group_is_reserved(self, second));
    sk_resources_destroy(&self);
}

Test(resources, keep_the_line_of_groups_when_its_end_leaves) {
    sk_resources *self = small_host();
    sk_demand two = demand_of(self, "cpu", 2);
    sk_lease lease;
    cr_assert(sk_resources_take(self, &two, 0, HOST, -1, &lease));
    sk_group first = group_of(self, "cpu", 1, 1), gone = group_of(self, "cpu", 1, 1);
    sk_resources_group_destroy(self, gone);
    sk_group spare = group_of(self, "tpu", 1, 1); /* takes its place */
    sk_group last = group_of(self, "cpu", 1, 1);
    sk_resources_give_back(self, &lease);
    cr_assert(sk_resources_groups_retry(self));
    cr_assert(sk_resources_group_is_reserved(self, first) && sk_resources_group_is_reserved(self, last));
    cr_assert(sk_resources_group_is_reserved(self, spare));
    cr_assert_eq(free_of(self, "cpu"), 0.0);
    sk_resources_destroy(&self);
}

Test(resources, of_a_destroyed_group_return_as_they_are_given_back) {
    sk_resources *self = small_host();
    sk_group group = group_of(self, "tpu", 3, 1);
    sk_demand two = demand_of(self, "tpu", 2);
    sk_lease lease, waiter, other;
    cr_assert(sk_resources_take(self, &two, 0, group, -1, &waiter));
    sk_resources_give_back(self, &waiter);
    cr_assert(sk_resources_take(self, &two, 0, group, -1, &lease));
    cr_assert(sk_resources_retake(self, &waiter)); /* the bundle is short of 1 */
    sk_resources_group_destroy(self, group);
    cr_assert_eq(free_of(self, "tpu"), 0.0);
    sk_resources_give_back(self, &lease);
    cr_assert_eq(free_of(self, "tpu"), 2.0);
    sk_resources_give_back(self, &waiter);
    cr_assert_eq(free_of(self, "tpu"), 4.0);
    cr_assert(!sk_resources_retake(self, &waiter));
    cr_assert(!sk_resources_take(self, &two, 0, group, -1, &other));
    cr_assert_eq(free_of(self, "tpu"), 4.0);
    sk_resources_group_destroy(self, group);
    sk_resources_group_destroy(self, HOST);
    sk_resources_destroy(&self);
}

Test(resources, never_give_a_groups_name_again) {
    sk_resources *self = small_host();
    uint64_t last = 0;
    for (int i = 0; i < 10000; i++) {
        sk_group group = group_of(self, "cpu", 1, 1);
        cr_assert_gt(group.id, last);
        last = group.id;
        sk_resources_group_destroy(self, group);
        cr_assert(!sk_resources_group_exists(self, group));
    }
    cr_assert_eq(free_of(self, "cpu"), 2.0);
    sk_resources_destroy(&self);
}

Test(resources, hold_many_groups) {
    sk_resource given = {"slot", 1000};
    sk_resources *self = host_of(&given, 1);
    sk_group groups[1500];
    for (int i = 0; i < 1500; i++) groups[i] = group_of(self, "slot", 1, 1);
    for (int i = 0; i < 1500; i++) cr_assert_eq(sk_resources_group_is_reserved(self, groups[i]), i < 1000);
    for (int i = 0; i < 500; i++) sk_resources_group_destroy(self, groups[i]);
    cr_assert(sk_resources_groups_retry(self)); /* all that can go, in one call */
    for (int i = 500; i < 1500; i++) cr_assert(sk_resources_group_is_reserved(self, groups[i]));
    cr_assert_eq(free_of(self, "slot"), 0.0);
    sk_resources_destroy(&self);
}

/* ---- against a model --------------------------------------------------------------------------------------------- */
enum { N_KINDS = 4, N_LEASES = 64, N_GROUPS = 6, N_STEPS = 200000 };
static uint64_t draw(uint64_t *state, uint64_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % below;
}

typedef struct model_group {
    sk_group id;
    int64_t  total, free; /* of one bundle of kind 3; < 0 never here */
    bool     alive;
} model_group;
typedef struct model_lease {
    sk_lease lease;
    int64_t  units[N_KINDS];
    int      group; /* -1: the host's */
    bool     out;
} model_lease;

static void compare_with_model(const sk_resources *self, const int64_t *host_free) {
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    sk_resources_rows(self, 0, rows);
    for (int k = 0; k < N_KINDS; k++) cr_assert_eq(llround(rows[k].free * 10000), host_free[k], "kind %d", k);
}

Test(resources, agree_with_a_plain_model) {
    static const char *const names[N_KINDS] = {"cpu", "gpu", "memory", "tpu"};
    sk_resource given[N_KINDS] = {{"cpu", 8}, {"gpu", 2}, {"memory", 1e9}, {"tpu", 6}};
    sk_resources *self = host_of(given, N_KINDS);
    int64_t host_free[N_KINDS] = {80000, 20000, 10000000000000, 60000};
    static model_lease leases[N_LEASES];
    model_group groups[N_GROUPS] = {0};
    uint64_t state = 5;
    int n_taken = 0, n_refused = 0;
    for (int step = 0; step < N_STEPS; step++) {
        model_lease *one = &leases[draw(&state, N_LEASES)];
        model_group *group = &groups[draw(&state, N_GROUPS)];
        uint64_t what = draw(&state, 20);
        if (what == 0 && !group->alive) { /* a group that fits now */
            int64_t units = (int64_t)draw(&state, 20000) + 1;
            if (units > host_free[3]) continue;
            group->id = group_of(self, "tpu", (double)units / 10000, 1);
            cr_assert(sk_resources_group_is_reserved(self, group->id));
            group->total = group->free = units;
            group->alive = true;
            host_free[3] -= units;
        } else if (what == 1 && group->alive) {
            sk_resources_group_destroy(self, group->id);
            host_free[3] += group->free;
            group->alive = false;
            for (int i = 0; i < N_LEASES; i++)
                if (leases[i].out && leases[i].group == (int)(group - groups)) leases[i].group = -1;
        } else if (one->out) {
            sk_resources_give_back(self, &one->lease);
            one->out = false;
            for (int k = 0; k < N_KINDS; k++)
                if (one->group < 0)
                    host_free[k] += one->units[k];
                else if (k == 3)
                    groups[one->group].free += one->units[k];
        } else {
            bool in_group = group->alive && draw(&state, 3) == 0;
            sk_resource asked[N_KINDS];
            int n = 0;
            for (int k = 0; k < N_KINDS; k++) {
                bool wants = in_group ? k == 3 : draw(&state, 2) == 0;
                int64_t most = in_group ? group->total : k == 2 ? 100000000000 : 10000;
                one->units[k] = wants ? 1 + (int64_t)draw(&state, (uint64_t)most) : 0;
                if (wants) asked[n++] = (sk_resource){names[k], (double)one->units[k] / 10000};
            }
            sk_group id = in_group ? group->id : HOST;
            sk_demand demand;
            sk_error err = {0};
            cr_assert_eq(sk_resources_parse(self, asked, n, SK_REACH_HERE, id, -1, &demand, &err), SK_OK, "%s", err.msg);
            bool fits = true;
            for (int k = 0; k < N_KINDS; k++)
                fits = fits && one->units[k] <= (in_group ? (k == 3 ? group->free : INT64_MAX) : host_free[k]);
            cr_assert_eq(sk_resources_take(self, &demand, 0, id, -1, &one->lease), fits);
            n_taken += fits;
            n_refused += !fits;
            if (!fits) continue;
            one->out = true;
            one->group = in_group ? (int)(group - groups) : -1;
            for (int k = 0; k < N_KINDS; k++)
                if (in_group)
                    group->free -= k == 3 ? one->units[k] : 0;
                else
                    host_free[k] -= one->units[k];
        }
        if (step % 97 == 0) compare_with_model(self, host_free);
    }
    cr_assert(n_taken > 10000 && n_refused > 10000, "taken %d, refused %d", n_taken, n_refused);

    for (int i = 0; i < N_LEASES; i++)
        if (leases[i].out) sk_resources_give_back(self, &leases[i].lease);
    for (int i = 0; i < N_GROUPS; i++)
        if (groups[i].alive) sk_resources_group_destroy(self, groups[i].id);
    for (int k = 0; k < N_KINDS; k++) cr_assert_eq(free_of(self, names[k]), given[k].amount);
    sk_resources_destroy(&self);
}
