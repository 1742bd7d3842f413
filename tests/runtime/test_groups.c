/* Placement groups: shares that are reserved together. */
#include "tests/runtime/harness.h"

static const sk_resource one = {"cpu", 1}, two = {"cpu", 2}, three = {"cpu", 3}, half = {"cpu", 0.5};

static sk_group reserve(sk_runtime *rt, const sk_resource *each, int n) {
    sk_bundle bundles[8];
    sk_group  group = {0};
    sk_error  err = {0};
    for (int i = 0; i < n; i++) bundles[i] = (sk_bundle){each, 1};
    cr_assert_eq(sk_group_create(rt, bundles, n, SK_PACK, &group, &err), SK_OK, "%s", err.msg);
    return group;
}

static double free_cpu(void) {
    for (int i = 0; i < SK_BOARD_RESOURCES; i++)
        if (strcmp(look()->resources[i].name, "cpu") == 0) return look()->resources[i].free;
    return -1.0;
}

static sk_ref sleep_in(sk_runtime *rt, sk_group group, int bundle, const sk_resource *each, int32_t ms) {
    sk_arg arg = sk_by_value(&ms, sizeof ms);
    return submit(rt, (sk_task){.function = "probe.sleep", .args = &arg, .n_args = 1, .group = group, .bundle = bundle,
                                .resources = each, .n_resources = each ? 1 : 0});
}

Test(groups, reserve_and_give_back) {
    sk_runtime *rt = start();
    sk_error    err = {0};
    sk_group    group = reserve(rt, &one, 3);
    cr_assert_eq(sk_group_wait(rt, group, READY_MS, &err), SK_OK, "%s", err.msg);
    AWAIT(free_cpu() == 1.0 && seen()->n_groups == 1);
    sk_group_destroy(rt, &group);
    cr_assert_eq(group.id, 0);
    AWAIT(free_cpu() == 4.0 && seen()->n_groups == 0);
    sk_group_destroy(rt, &group); /* none: fine */
    finish(rt);
}

Test(groups, that_can_never_be_are_refused_at_once) {
    sk_runtime *rt = start();
    sk_bundle   bundles[] = {{&three, 1}, {&two, 1}};
    sk_group    group = {0};
    sk_error    err = {0};
    cr_assert_eq(sk_group_create(rt, bundles, 2, SK_PACK, &group, &err), SK_ELIMIT);
    cr_assert(strstr(err.msg, "cpu") && strstr(err.msg, "5") && strstr(err.msg, "4"), "%s", err.msg);
    bundles[0] = (sk_bundle){&one, 1};
    cr_assert_eq(sk_group_create(rt, bundles, 2, SK_STRICT_SPREAD, &group, &err), SK_ELIMIT, "one host");
    cr_assert_eq(sk_group_create(rt, bundles, 0, SK_PACK, &group, &err), SK_EINVAL);
    cr_assert_eq(group.id, 0);
    finish(rt);
}

Test(groups, wait_for_their_shares) {
    sk_runtime *rt = start();
    sk_error    err = {0};
    sk_group    first = reserve(rt, &three, 1), second = reserve(rt, &two, 1);
    cr_assert_eq(sk_group_wait(rt, first, READY_MS, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_group_wait(rt, second, 20, &err), SK_ETIMEOUT);
    cr_assert(strstr(err.msg, "20 ms"), "%s", err.msg);
    sk_ref early = sleep_in(rt, second, 0, NULL, 1); /* waits with its group */
    cr_assert_eq(sk_get(rt, early, 20, NULL, NULL), SK_ETIMEOUT);
    sk_group_destroy(rt, &first);
    cr_assert_eq(sk_group_wait(rt, second, READY_MS, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(take_int(rt, early), 1);
    finish(rt);
}

/* What is reserved is there for the group's tasks, whatever else is going on, and only for them. */
Test(groups, keep_their_shares_for_their_tasks) {
    sk_runtime *rt = start();
    sk_error    err = {0};
    sk_group    group = reserve(rt, &one, 2);
    sk_ref      others[2];
    cr_assert_eq(sk_group_wait(rt, group, READY_MS, &err), SK_OK, "%s", err.msg);
    for (int i = 0; i < 2; i++) others[i] = run_int(rt, "probe.sleep", 60000); /* all that is left */
    AWAIT(free_cpu() == 0.0);
    sk_ref behind = run_int(rt, "probe.sleep", 1);
    cr_assert_eq(take_int(rt, sleep_in(rt, group, 0, NULL, 2)), 2);
    cr_assert_eq(take_int(rt, sleep_in(rt, group, 1, NULL, 3)), 3);
    cr_assert_eq(take_int(rt, sleep_in(rt, group, -1, &half, 4)), 4);
    cr_assert_not(has_ended(rt, behind), "not of the group");
    sk_group_destroy(rt, &group);
    cr_assert_eq(take_int(rt, behind), 1);
    for (int i = 0; i < 2; i++) sk_cancel(rt, others[i], SK_CANCEL_KILL);
    for (int i = 0; i < 2; i++) take_error(rt, others[i], SK_ECANCELED);
    leave(rt);
}

Test(groups, refuse_tasks_that_do_not_fit_a_bundle) {
    sk_runtime *rt = start();
    sk_group    group = reserve(rt, &one, 2);
    sk_task     task = {.function = "probe.pid", .group = group, .bundle = -1, .resources = &two, .n_resources = 1};
    const char *msg = refused(rt, task, SK_ELIMIT);
    cr_assert(strstr(msg, "cpu") && strstr(msg, "2"), "%s", msg);
    task.resources = &one;
    task.bundle = 2;
    refused(rt, task, SK_ENOTFOUND);
    sk_group_destroy(rt, &group);
    refused(rt, (sk_task){.function = "probe.pid", .group = {group.id + 1}}, SK_ENOTFOUND);
    finish(rt);
}

Test(groups, end_their_tasks_and_actors_when_destroyed) {
    sk_runtime *rt = start();
    sk_group    group = reserve(rt, &one, 1);
    sk_actor    actor = make_with(rt, (sk_actor_params){.class_name = "probe", .name = "member", .group = group,
                                                        .resources = &one, .n_resources = 1, .max_restarts = -1});
    sk_ref      waiting = sleep_in(rt, group, 0, NULL, 1), call_of_it = call_int(rt, actor, PROBE_SLEEP, 60000);
    cr_assert_eq(sk_get(rt, waiting, 20, NULL, NULL), SK_ETIMEOUT, "the actor has the share");
    sk_group copy = group;
    sk_group_destroy(rt, &group);
    const char *msg = take_error(rt, waiting, SK_ECANCELED);
    cr_assert(strstr(msg, "group"), "%s", msg);
    take_error(rt, call_of_it, SK_EDEAD);
    cr_assert_eq(sk_actor_check(rt, actor, NULL, NULL), SK_EDEAD);
    cr_assert_eq(sk_group_wait(rt, copy, 0, NULL), SK_ENOTFOUND);
    AWAIT(free_cpu() == 4.0);
    leave(rt);
}

Test(groups, many_come_and_go) {
    sk_runtime *rt = start();
    for (int i = 0; i < 2000; i++) {
        sk_group group = reserve(rt, &half, 1 + i % 8);
        cr_assert_eq(sk_group_wait(rt, group, READY_MS, NULL), SK_OK);
        sk_group_destroy(rt, &group);
    }
    AWAIT(free_cpu() == 4.0 && seen()->n_groups == 0);
    finish(rt);
}
