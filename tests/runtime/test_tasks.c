/* Tasks: values, references, options, nesting, errors, retries, cancelling. */
#include "tests/runtime/harness.h"
#include <sys/stat.h>

static const sk_placement placements[] = {SK_PLACE_DEFAULT, SK_PLACE_INLINE, SK_PLACE_THREAD, SK_PLACE_PROCESS};
static const char *const  placement_names[] = {"default", "inline", "thread", "process"};
enum { N_PLACEMENTS = 4 };

static sk_ref run_at(sk_runtime *rt, sk_placement placement, const char *function, const void *data, size_t size) {
    sk_arg arg = sk_by_value(data, size);
    return submit(rt, (sk_task){.function = function, .args = &arg, .n_args = 1, .placement = placement});
}

/* ---- values and references --------------------------------------------------------------------------------------- */
Test(tasks, run_in_every_placement) {
    sk_runtime *rt = start();
    for (int p = 0; p < N_PLACEMENTS; p++) {
        sk_ref  pid = submit(rt, (sk_task){.function = "probe.pid", .placement = placements[p]});
        bool    in_process = placements[p] == SK_PLACE_DEFAULT || placements[p] == SK_PLACE_PROCESS;
        int32_t got = take_int(rt, pid);
        cr_assert_eq(got != getpid(), in_process, "%s: %d", placement_names[p], got);
    }
    finish(rt);
}

Test(tasks, add_up_values_and_references) {
    sk_runtime *rt = start();
    for (int p = 0; p < N_PLACEMENTS; p++) {
        int64_t three = 3, four = 4;
        sk_ref  first = run_long(rt, "probe.add", 10), object = {0};
        cr_assert_eq(sk_put(rt, &four, sizeof four, &object, NULL), SK_OK);
        sk_arg args[] = {sk_by_value(&three, sizeof three), sk_by_ref(first), sk_by_ref(object), sk_by_ref(first)};
        sk_ref sum = submit(
            rt, (sk_task){.function = "probe.add", .args = args, .n_args = 4, .placement = placements[p]});
        drop(rt, first); /* the waiting task counts on them */
        drop(rt, object);
        cr_assert_eq(take_long(rt, sum), 27, "%s", placement_names[p]);
    }
    AWAIT(seen()->n_objects == 0);
    finish(rt);
}

Test(tasks, take_a_thousand_arguments) {
    enum { N = 1000 };
    static sk_arg  args[N];
    static sk_ref  refs[N];
    static int64_t values[N];
    sk_runtime    *rt = start();
    for (int p = 0; p < N_PLACEMENTS; p++) {
        for (int i = 0; i < N; i++) {
            values[i] = i;
            cr_assert_eq(sk_put(rt, &values[i], sizeof values[i], &refs[i], NULL), SK_OK);
            args[i] = i % 2 ? sk_by_ref(refs[i]) : sk_by_value(&values[i], sizeof values[i]);
        }
        sk_ref sum = submit(
            rt, (sk_task){.function = "probe.add", .args = args, .n_args = N, .placement = placements[p]});
        for (int i = 0; i < N; i++) drop(rt, refs[i]);
        cr_assert_eq(take_long(rt, sum), N * (N - 1) / 2, "%s", placement_names[p]);
    }
    AWAIT(seen()->n_objects == 0);
    finish(rt);
}

/* More than one message holds, in values and in references to large and small objects. */
Test(tasks, take_arguments_of_every_size) {
    size_t      sizes[] = {0, 100, 4096, 4097, 50000, 70000, 1 << 20};
    sk_arg      args[2 * SK_COUNT(sizes)];
    sk_ref      refs[SK_COUNT(sizes)];
    uint64_t    sums[2 * SK_COUNT(sizes)], wanted[2 * SK_COUNT(sizes)];
    uint8_t    *bytes = malloc(1 << 20);
    sk_runtime *rt = start();
    probe_fill(bytes, 1 << 20);
    for (int p = 0; p < N_PLACEMENTS; p++) {
        for (int i = 0; i < SK_COUNT(sizes); i++) {
            refs[i] = put(rt, sizes[i]);
            args[2 * i] = sk_by_value(bytes, sizes[i]);
            args[2 * i + 1] = sk_by_ref(refs[i]);
            wanted[2 * i] = wanted[2 * i + 1] = probe_sum((sk_bytes){bytes, sizes[i]});
        }
        sk_ref ref = submit(rt, (sk_task){.function = "probe.sum",
                                          .args = args,
                                          .n_args = SK_COUNT(args),
                                          .placement = placements[p]});
        for (int i = 0; i < SK_COUNT(sizes); i++) drop(rt, refs[i]);
        take(rt, ref, sums, sizeof sums);
        cr_assert_eq(memcmp(sums, wanted, sizeof sums), 0, "%s", placement_names[p]);
    }
    free(bytes);
    AWAIT(seen()->store_used == 0);
    finish(rt);
}

Test(tasks, give_several_returns) {
    enum { K = 12 }; /* the last ones lie in the store */
    sk_runtime *rt = start();
    for (int p = 0; p < N_PLACEMENTS; p++) {
        int32_t k = K;
        sk_arg  arg = sk_by_value(&k, sizeof k);
        sk_task task = {
            .function = "probe.many", .args = &arg, .n_args = 1, .n_returns = K, .placement = placements[p]};
        sk_ref   refs[K];
        sk_error err = {0};
        cr_assert_eq(sk_submit(rt, &task, refs, &err), SK_OK, "%s", err.msg);
        drop(rt, refs[3]); /* not wanted after all */
        for (int i = K - 1; i >= 0; i--) {
            if (i == 3) continue;
            sk_bytes value = value_of(rt, refs[i]);
            int32_t  got;
            cr_assert_eq(value.size, sizeof got + (size_t)i * 1000, "%s", placement_names[p]);
            memcpy(&got, value.data, sizeof got);
            cr_assert_eq(got, i, "%s", placement_names[p]);
            drop(rt, refs[i]);
        }
        /* writing into a return value that was not asked for fails */
        take_error(rt, run_at(rt, placements[p], "probe.many", &k, sizeof k), SK_EINVAL);
    }
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0);
    finish(rt);
}

Test(tasks, chain_without_the_driver) {
    sk_runtime *rt = start();
    sk_ref      ref = run_long(rt, "probe.add", 1);
    for (int i = 0; i < 300; i++) {
        sk_ref next = run_on(rt, "probe.add", ref);
        drop(rt, ref);
        ref = next;
    }
    cr_assert_eq(take_long(rt, ref), 1);
    AWAIT(seen()->n_objects == 0);
    finish(rt);
}

Test(tasks, ten_thousand_in_flight_all_answer) {
    enum { N = 10000 };
    static sk_ref refs[N];
    sk_error      err = {0};
    sk_runtime   *rt = start();
    for (int i = 0; i < N; i++) refs[i] = run_long(rt, "probe.add", i);
    cr_assert_eq(sk_get_all(rt, refs, N, READY_MS, &err), SK_OK, "%s", err.msg);
    for (int i = 0; i < N; i++) cr_assert_eq(take_long(rt, refs[i]), i);
    finish(rt);
}

/* ---- nested ------------------------------------------------------------------------------------------------------- */
Test(tasks, nest) {
    sk_runtime *rt = start();
    for (int p = 0; p < N_PLACEMENTS; p++) {
        int64_t n = 9;
        cr_assert_eq(take_long(rt, run_at(rt, placements[p], "probe.fib", &n, sizeof n)), 34, "%s", placement_names[p]);
    }
    AWAIT(seen()->n_objects == 0);
    finish(rt);
}

/* One cpu: whoever waits in a task gives it to those it waits for. */
Test(tasks, nest_on_one_cpu) {
    sk_resource one = {"cpu", 1};
    sk_runtime *rt = start_with((sk_runtime_params){.resources = &one, .n_resources = 1});
    cr_assert_eq(take_long(rt, run_long(rt, "probe.fib", 7)), 13);
    cr_assert_eq(take_long(rt, run_long(rt, "probe.spread", 20)), 190);
    finish(rt);
}

Test(tasks, use_objects_actors_and_groups_from_inside) {
    sk_runtime *rt = start();
    uint8_t    *bytes = malloc(300000);
    probe_fill(bytes, 300000);
    for (int p = 0; p < N_PLACEMENTS; p++) {
        int64_t sizes[] = {100, 300000}, width = 100;
        for (int i = 0; i < 2; i++)
            cr_assert_eq(take_long(rt, run_at(rt, placements[p], "probe.put", &sizes[i], sizeof sizes[i])),
                         (int64_t)probe_sum((sk_bytes){bytes, (size_t)sizes[i]}), "%s", placement_names[p]);
        cr_assert_eq(take_long(rt, run_at(rt, placements[p], "probe.spread", &width, sizeof width)), 4950);
        cr_assert_eq(take_long(rt, run_at(rt, placements[p], "probe.group", NULL, 0)), 7, "%s", placement_names[p]);

        sk_actor actor;
        take(rt, run_at(rt, placements[p], "probe.start", "inner", 5), &actor, sizeof actor);
        cr_assert_eq(take_long(rt, call_long(rt, actor, COUNTER_ADD, 1)), 2, "it was called once already");
        int32_t status = take_int(rt, run_at(rt, placements[p], "probe.stop", &actor, sizeof actor));
        cr_assert_eq(status, SK_EDEAD, "%s", placement_names[p]);
    }
    free(bytes);
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0 && seen()->n_groups == 0);
    finish(rt);
}

Test(tasks, read_references_that_came_inside_of_data) {
    sk_runtime *rt = start();
    for (int size = 1000; size <= 100000; size *= 100)
        for (int p = 0; p < N_PLACEMENTS; p++) {
            sk_ref   object = put(rt, (size_t)size);
            uint64_t sum = 0;
            take(rt, run_at(rt, placements[p], "probe.read_ref", &object, sizeof object), &sum, sizeof sum);
            cr_assert_eq(sum, probe_sum(value_of(rt, object)), "%s", placement_names[p]);
            drop(rt, object);
        }
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0);
    finish(rt);
}

/* ---- errors --------------------------------------------------------------------------------------------------------- */
Test(tasks, tell_text_name_and_place_of_an_error) {
    sk_runtime *rt = start();
    for (int p = 0; p < N_PLACEMENTS; p++) {
        const char *msg = take_error(rt, run_at(rt, placements[p], "probe.fail", "no such map", 11), SK_EENV);
        cr_assert(strstr(msg, "no such map") && strstr(msg, "probe.fail"), "%s: %s", placement_names[p], msg);
        cr_assert(strstr(msg, "probe_tasks.c:"), "%s: %s", placement_names[p], msg);
        msg = take_error(rt, run_at(rt, placements[p], "probe.fail_below", "deep down", 9), SK_EENV);
        cr_assert(strstr(msg, "deep down") && strstr(msg, "probe.fail_below") && strstr(msg, "probe.fail:"),
                  "%s: %s", placement_names[p], msg);
        cr_assert_not(strstr(msg, "core/runtime/"), "where it was passed on is not where it arose: %s", msg);
    }
    finish(rt);
}

Test(tasks, are_not_run_when_an_argument_failed) {
    sk_runtime *rt = start();
    sk_ref      bad = run(rt, "probe.fail", "broken input", 12), sum = run_on(rt, "probe.sum", bad);
    sk_ref      third = run_on(rt, "probe.sum", sum);
    const char *msg = take_error(rt, third, SK_EENV);
    cr_assert(strstr(msg, "broken input"), "%s", msg);
    take_error(rt, sum, SK_EENV);
    take_error(rt, bad, SK_EENV);
    finish(rt);
}

Test(tasks, of_unknown_names_are_refused_at_once) {
    sk_runtime *rt = start();
    const char *msg = refused(rt, (sk_task){.function = "probe.ad"}, SK_ENOTFOUND);
    cr_assert(strstr(msg, "probe.ad") && strstr(msg, "probe.add"), "%s", msg);
    refused(rt, (sk_task){.function = "probe"}, SK_ENOTFOUND); /* a class is no task */
    refused(rt, (sk_task){.function = ""}, SK_EINVAL);
    finish(rt);
}

Test(tasks, that_can_never_have_their_resources_are_refused_at_once) {
    sk_resource many = {"cpu", 5}, unknown = {"unicorn", 1}, negative = {"cpu", -1};
    sk_runtime *rt = start();
    sk_task     task = {.function = "probe.pid", .resources = &many, .n_resources = 1};
    const char *msg = refused(rt, task, SK_ELIMIT);
    cr_assert(strstr(msg, "cpu") && strstr(msg, "5") && strstr(msg, "4"), "%s", msg);
    task.resources = &unknown;
    sk_ref    ref = {0};
    sk_error  err = {0};
    sk_status status = sk_submit(rt, &task, &ref, &err);
    cr_assert(status == SK_ENOTFOUND || status == SK_ELIMIT, "%s", err.msg);
    cr_assert(strstr(err.msg, "unicorn"), "%s", err.msg);
    task.resources = &negative;
    refused(rt, task, SK_EINVAL);
    task = (sk_task){.function = "probe.pid", .group = {12345}};
    refused(rt, task, SK_ENOTFOUND);
    finish(rt);
}

/* ---- resources -------------------------------------------------------------------------------------------------------- */
Test(tasks, share_what_is_counted) {
    sk_resource have[] = {{"cpu", 4}, {"slot", 1}}, slot = {"slot", 0.5}, none = {"cpu", 0};
    sk_runtime *rt = start_with((sk_runtime_params){.resources = have, .n_resources = 2});
    int32_t     ms = 150;
    sk_arg      arg = sk_by_value(&ms, sizeof ms);
    sk_task     half = {
            .function = "probe.sleep", .args = &arg, .n_args = 1, .resources = &slot, .n_resources = 1};
    sk_task     free_one = {.function = "probe.pid", .resources = &none, .n_resources = 1};
    sk_ref      refs[3] = {submit(rt, half), submit(rt, half), submit(rt, half)};
    uint8_t     ended[3];
    int         n_ended = 0;
    take_int(rt, submit(rt, free_one)); /* takes nothing, so it does not wait for them */
    sk_error err = {0};
    cr_assert_eq(sk_wait(rt, refs, 3, 2, READY_MS, ended, &n_ended, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(n_ended, 2, "a third one has no room beside two halves");
    for (int i = 0; i < 3; i++) cr_assert_eq(take_int(rt, refs[i]), ms);
    for (int i = 0; i < SK_BOARD_RESOURCES; i++) {
        const volatile sk_board_resource *row = &look()->resources[i];
        if (strcmp((const char *)row->name, "slot") == 0) AWAIT(row->free == 1.0);
    }
    finish(rt);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------------ */
Test(tasks, can_be_waited_for_in_part) {
    sk_runtime *rt = start();
    sk_ref      refs[3] = {run_int(rt, "probe.sleep", 1000), run_long(rt, "probe.add", 5), run(rt, "probe.fail", "x", 1)};
    uint8_t     ended[3] = {9, 9, 9};
    int         n_ended = 0;
    sk_error    err = {0};
    cr_assert_eq(sk_wait(rt, refs, 3, 2, READY_MS, ended, &n_ended, &err), SK_OK, "%s", err.msg);
    cr_assert(n_ended == 2 && ended[0] == 0 && ended[1] == 1 && ended[2] == 1);
    cr_assert_eq(sk_wait(rt, refs, 3, 3, 10, ended, &n_ended, &err), SK_ETIMEOUT);
    cr_assert(n_ended == 2 && ended[0] == 0 && ended[1] == 1 && ended[2] == 1);
    cr_assert(strstr(err.msg, "10 ms") && strstr(err.msg, "2 of 3"), "%s", err.msg);
    cr_assert_eq(sk_wait(rt, refs, 3, 0, 0, ended, &n_ended, &err), SK_OK, "just looking");
    cr_assert_eq(n_ended, 2);
    for (int i = 0; i < 3; i++) drop(rt, refs[i]);
    finish(rt);
}

Test(tasks, wait_while_too_many_are_pending) {
    enum { N = 60, MOST = 8 };
    sk_runtime *rt = start_with((sk_runtime_params){.max_pending = MOST});
    sk_ref      refs[N];
    sk_error    err = {0};
    for (int i = 0; i < N; i++) {
        refs[i] = run_int(rt, "probe.sleep", 2);
        uint64_t open = seen()->n_submitted - seen()->n_done;
        cr_assert_leq(open, MOST + 1, "%llu are pending", (unsigned long long)open);
    }
    cr_assert_eq(sk_get_all(rt, refs, N, READY_MS, &err), SK_OK, "%s", err.msg);
    finish(rt);
}

/* ---- retries and timeouts ---------------------------------------------------------------------------------------------- */
static const char *flaky_folder;

/* probe.flaky with a file of that name, which counts its runs. */
static sk_ref run_flaky(sk_runtime *rt, flaky_how how, int n, const char *file, sk_task task) {
    flaky_order flaky = {.how = how, .n = n};
    sk_arg      arg = sk_by_value(&flaky, sizeof flaky);
    if (!flaky_folder) flaky_folder = make_folder();
    snprintf(flaky.path, sizeof flaky.path, "%.200s/%.30s", flaky_folder, file);
    task.function = "probe.flaky";
    task.args = &arg;
    task.n_args = 1;
    return submit(rt, task);
}

Test(tasks, run_again_when_their_worker_died) {
    sk_runtime *rt = start();
    cr_assert_eq(take_int(rt, run_flaky(rt, FLAKY_EXITS, 3, "a", (sk_task){0})), 4, "three retries by custom");
    const char *msg = take_error(rt, run_flaky(rt, FLAKY_EXITS, 9, "b", (sk_task){.max_retries = 1}), SK_EDEAD);
    cr_assert(strstr(msg, "probe.flaky") && strstr(msg, "exited with status 9"), "%s", msg);
    take_error(rt, run_flaky(rt, FLAKY_EXITS, 1, "c", (sk_task){.max_retries = -1}), SK_EDEAD);
    cr_assert_eq(take_int(rt, run_flaky(rt, FLAKY_EXITS, 0, "b", (sk_task){0})), 3, "it ran twice");
    cr_assert_eq(take_int(rt, run_flaky(rt, FLAKY_EXITS, 0, "c", (sk_task){0})), 2, "it ran once");
    cr_assert_eq(seen()->n_worker_deaths, 6);
    cr_assert_eq(seen()->n_retried, 4);
    leave(rt);
    remove_folder(flaky_folder);
}

Test(tasks, run_again_after_an_error_only_when_asked_for) {
    sk_runtime *rt = start();
    for (int p = 0; p < N_PLACEMENTS; p++) {
        const char *file = placement_names[p];
        sk_task     once = {.placement = placements[p]}, again = {.placement = placements[p], .retry_errors = true};
        const char *msg = take_error(rt, run_flaky(rt, FLAKY_FAILS, 2, file, once), SK_EENV);
        cr_assert(strstr(msg, "run 1 goes wrong"), "%s: %s", file, msg);
        cr_assert_eq(take_int(rt, run_flaky(rt, FLAKY_FAILS, 3, file, again)), 4, "%s", file);
        again.max_retries = 2;
        msg = take_error(rt, run_flaky(rt, FLAKY_FAILS, 100, file, again), SK_EENV);
        cr_assert(strstr(msg, "run 7 goes wrong"), "%s: %s", file, msg);
        cr_assert_eq(take_int(rt, run_flaky(rt, FLAKY_FAILS, 0, file, once)), 8, "%s", file);
    }
    finish(rt);
    remove_folder(flaky_folder);
}

Test(tasks, that_take_too_long_are_ended) {
    sk_runtime *rt = start();
    for (int p = 2; p < N_PLACEMENTS; p++) {
        int32_t     ms = placements[p] == SK_PLACE_THREAD ? 300 : 60000;
        sk_arg      arg = sk_by_value(&ms, sizeof ms);
        sk_task     task = {.function = "probe.sleep", .args = &arg, .n_args = 1, .placement = placements[p],
                            .timeout_ms = 50, .name = "the slow one"};
        const char *msg = take_error(rt, submit(rt, task), SK_ETIMEOUT);
        cr_assert(strstr(msg, "the slow one") && strstr(msg, "50 ms"), "%s: %s", placement_names[p], msg);
        cr_assert_eq(take_long(rt, run_long(rt, "probe.add", 1)), 1);
    }
    leave(rt);
}

/* ---- cancelling -------------------------------------------------------------------------------------------------------- */
Test(tasks, running_see_that_they_are_cancelled) {
    sk_runtime *rt = start();
    const char *folder = make_folder();
    for (int p = 2; p < N_PLACEMENTS; p++) {
        char file[300];
        snprintf(file, sizeof file, "%s/%d", folder, p);
        sk_ref ref = run_at(rt, placements[p], "probe.cancellable", file, strlen(file));
        AWAIT(file_size(file) == 0); /* it runs */
        sk_cancel(rt, ref, SK_CANCEL_ASK);
        const char *msg = take_error(rt, ref, SK_ECANCELED);
        cr_assert(strstr(msg, "probe.cancellable"), "%s: %s", placement_names[p], msg);
        AWAIT(file_size(file) == 1); /* and ended by itself */
        snprintf(file, sizeof file, "%s/%d-below", folder, p);
        cr_assert_eq(take_int(rt, run_at(rt, placements[p], "probe.cancel_below", file, strlen(file))), SK_ECANCELED);
    }
    AWAIT(seen()->n_canceled == 4 && seen()->n_running == 0);
    remove_folder(folder);
    finish(rt);
}

Test(tasks, waiting_are_taken_out_when_cancelled) {
    sk_resource one = {"cpu", 1};
    sk_runtime *rt = start_with((sk_runtime_params){.resources = &one, .n_resources = 1});
    const char *folder = make_folder();
    char        file[300];
    snprintf(file, sizeof file, "%s/never", folder);
    sk_ref  busy = run_int(rt, "probe.sleep", 200), queued = run(rt, "probe.cancellable", file, strlen(file));
    sk_ref  dependent = run_on(rt, "probe.sum", queued), argument = run_int(rt, "probe.sleep", 100);
    sk_ref  waiting = run_on(rt, "probe.sum", argument);
    sk_cancel(rt, queued, SK_CANCEL_ASK);
    sk_cancel(rt, waiting, SK_CANCEL_KILL);
    take_error(rt, queued, SK_ECANCELED);
    take_error(rt, dependent, SK_ECANCELED);
    take_error(rt, waiting, SK_ECANCELED);
    cr_assert_not(has_ended(rt, busy), "all that at once");
    sk_cancel(rt, argument, SK_CANCEL_ASK);
    cr_assert_eq(take_int(rt, busy), 200);
    cr_assert_eq(take_long(rt, run_long(rt, "probe.add", 3)), 3);
    take_error(rt, argument, SK_ECANCELED);
    cr_assert_eq(file_size(file), -1, "it never ran");
    remove_folder(folder);
    finish(rt);
}

Test(tasks, waiting_that_are_cancelled_leave_their_arguments_alone) {
    sk_runtime *rt = start();
    sk_ref      slow = run_int(rt, "probe.sleep", 100), sum = run_on(rt, "probe.sum", slow);
    sk_cancel(rt, sum, SK_CANCEL_ASK);
    take_error(rt, sum, SK_ECANCELED);
    drop(rt, slow); /* has no value yet, and had one who waited for it */
    cr_assert_eq(take_long(rt, run_long(rt, "probe.add", 1)), 1);
    AWAIT(seen()->n_running == 0 && seen()->n_objects == 0);
    finish(rt);
}

Test(tasks, can_be_cancelled_by_killing_their_process) {
    sk_runtime *rt = start();
    sk_ref      slow = run_int(rt, "probe.sleep", 60000), other = run_int(rt, "probe.sleep", 300);
    AWAIT(seen()->n_running >= 2);
    sk_cancel(rt, slow, SK_CANCEL_KILL);
    const char *msg = take_error(rt, slow, SK_ECANCELED);
    cr_assert(strstr(msg, "probe.sleep"), "%s", msg);
    cr_assert_eq(take_int(rt, other), 300, "the others go on");
    leave(rt);
}

Test(tasks, that_ended_are_not_changed_by_cancelling) {
    sk_runtime *rt = start();
    sk_ref      ref = run_long(rt, "probe.add", 4), none = {0}, object = put(rt, 100);
    value_of(rt, ref);
    sk_cancel(rt, ref, SK_CANCEL_KILL);
    sk_cancel(rt, none, SK_CANCEL_ASK);
    sk_cancel(rt, object, SK_CANCEL_KILL);
    cr_assert_eq(take_long(rt, ref), 4);
    cr_assert_eq(value_of(rt, object).size, 100);
    cr_assert_eq(seen()->n_canceled, 0);
    finish(rt);
}
