/* Actors: restarts, saved state, names, ends, concurrency, handles that travel. */
#include "tests/runtime/harness.h"
#include <signal.h>
#include <sys/stat.h>

static sk_actor make_counter(sk_runtime *rt, sk_actor_params params) {
    params.class_name = "counter";
    params.placement = SK_PLACE_PROCESS;
    return make_with(rt, params);
}

static int64_t add(sk_runtime *rt, sk_actor actor, int64_t n) { return take_long(rt, call_long(rt, actor, COUNTER_ADD, n)); }
static int64_t get(sk_runtime *rt, sk_actor actor) { return take_long(rt, call(rt, actor, COUNTER_GET, NULL, 0)); }

/* What the board says of an actor of that name. */
static const volatile sk_board_actor *row_of(const char *name) {
    for (int i = 0; i < SK_BOARD_ACTORS; i++)
        if (strcmp(look()->actors[i].name, name) == 0) return &look()->actors[i];
    cr_assert_fail("the board does not show %s", name);
    return NULL;
}

/* ---- restarts --------------------------------------------------------------------------------------------------------- */
Test(actors, stay_dead_by_custom_and_say_how_they_died) {
    sk_runtime *rt = start();
    sk_actor    actor = make_counter(rt, (sk_actor_params){.name = "fragile"});
    const char *msg = take_error(rt, call_int(rt, actor, COUNTER_EXIT, 3), SK_EDEAD);
    cr_assert(strstr(msg, "fragile") && strstr(msg, "exited with status 3"), "%s", msg);
    sk_error  err = {0};
    sk_ref    ref = {0};
    sk_method method = {.method = COUNTER_GET};
    cr_assert_eq(sk_actor_check(rt, actor, NULL, &err), SK_EDEAD);
    cr_assert(strstr(err.msg, "exited with status 3"), "%s", err.msg);
    cr_assert_eq(sk_actor_wait(rt, actor, READY_MS, &err), SK_EDEAD);
    sk_status status = sk_actor_call(rt, actor, &method, &ref, &err);
    if (status == SK_OK) take_error(rt, ref, SK_EDEAD);
    cr_assert(status == SK_OK || status == SK_EDEAD);
    cr_assert(strstr((const char *)row_of("fragile")->end, "status 3"), "%s", (const char *)row_of("fragile")->end);
    leave(rt);
}

Test(actors, restart_with_the_state_they_saved) {
    sk_runtime *rt = start();
    int64_t     start_at = 100, pads[] = {0, 3000, 100000}; /* in a message, larger than a value in one, in the store */
    for (int i = 0; i < SK_COUNT(pads); i++) {
        char   name[20];
        sk_arg args[] = {sk_by_value(&start_at, sizeof start_at), sk_by_value(&pads[i], sizeof pads[i])};
        snprintf(name, sizeof name, "counter-%d", i);
        sk_actor actor = make_counter(rt, (sk_actor_params){.name = name, .args = args, .n_args = 2, .max_restarts = 5});
        int      pid = pid_of(rt, actor);
        take_error(rt, call_int(rt, actor, COUNTER_EXIT, 1), SK_EDEAD);
        cr_assert_eq(get(rt, actor), 100, "nothing was saved: it begins as it was created");
        cr_assert_eq(add(rt, actor, 11), 111);
        take_error(rt, call_long(rt, actor, COUNTER_ADD_FAIL, 1000), SK_EENV);
        take_error(rt, call_int(rt, actor, COUNTER_EXIT, 1), SK_EDEAD);
        cr_assert_eq(get(rt, actor), 111, "a call that fails keeps nothing");
        take_error(rt, call_long(rt, actor, COUNTER_ADD_EXIT, 1000), SK_EDEAD);
        cr_assert_eq(get(rt, actor), 111, "nor does one without an answer");
        cr_assert_neq(pid_of(rt, actor), pid);
        cr_assert_eq(row_of(name)->n_restarts, 3);
        sk_actor_join(rt, &actor, 1, READY_MS);
    }
    cr_assert_eq(seen()->n_restarts, 9);
    AWAIT(seen()->n_objects == 0 && seen()->store_used == 0);
    leave(rt);
}

/* Killed at any moment: with retries each call takes effect exactly once, in order. */
Test(actors, that_save_and_retry_do_everything_exactly_once) {
    enum { N = 3000 };
    static sk_ref refs[N];
    sk_runtime   *rt = start();
    sk_actor      actor = make_counter(rt, (sk_actor_params){.name = "exact", .max_restarts = -1,
                                                             .restart_backoff_ms = 1, .max_task_retries = -1});
    int           n_kills = 0;
    for (int i = 0; i < N; i++) {
        refs[i] = call_long(rt, actor, COUNTER_ADD, 1);
        int pid = 0;
        if (i % 500 == 400 && sk_actor_wait(rt, actor, READY_MS, NULL) == SK_OK &&
            sk_actor_check(rt, actor, &pid, NULL) == SK_OK && pid > 0)
            n_kills += kill(pid, SIGKILL) == 0;
    }
    for (int i = 0; i < N; i++) cr_assert_eq(take_long(rt, refs[i]), i + 1, "call %d", i);
    cr_assert_eq(get(rt, actor), N);
    cr_assert_geq(n_kills, 3, "%d kills", n_kills);
    leave(rt);
}

Test(actors, retry_a_call_only_when_asked_for) {
    const char *folder = make_folder();
    sk_runtime *rt = start();
    for (int retries = 0; retries < 2; retries++) {
        char file[300];
        snprintf(file, sizeof file, "%s/%d", folder, retries);
        sk_actor  actor = make_counter(rt, (sk_actor_params){.max_restarts = 3, .max_task_retries = retries});
        int64_t   five = 5;
        sk_arg    args[] = {sk_by_value(&five, sizeof five), sk_by_value(file, strlen(file))};
        sk_method method = {.method = COUNTER_EXIT_ONCE, .args = args, .n_args = 2};
        sk_ref    ref = {0};
        cr_assert_eq(sk_actor_call(rt, actor, &method, &ref, NULL), SK_OK);
        sk_ref behind = call_long(rt, actor, COUNTER_ADD, 1); /* had not begun: it is not lost */
        if (retries == 0)
            take_error(rt, ref, SK_EDEAD);
        else
            cr_assert_eq(take_long(rt, ref), 5);
        cr_assert_eq(take_long(rt, behind), retries == 0 ? 1 : 6);
    }
    remove_folder(folder);
    leave(rt);
}

Test(actors, are_given_up_when_they_die_too_often) {
    sk_runtime *rt = start();
    sk_actor    actor = make_counter(rt, (sk_actor_params){.name = "often", .max_restarts = 2, .restart_backoff_ms = 1});
    for (int i = 0; i < 2; i++) {
        take_error(rt, call_int(rt, actor, COUNTER_EXIT, 1), SK_EDEAD);
        cr_assert_eq(add(rt, actor, 1), i + 1);
    }
    take_error(rt, call_int(rt, actor, COUNTER_EXIT, 1), SK_EDEAD);
    sk_error err = {0};
    AWAIT(sk_actor_check(rt, actor, NULL, &err) == SK_EDEAD);
    cr_assert(strstr(err.msg, "often") && strstr(err.msg, "2"), "%s", err.msg);

    /* a budget per time: deaths of long ago do not count */
    actor = make_counter(
        rt, (sk_actor_params){.max_restarts = 1, .restart_window_s = 0.2, .restart_backoff_ms = 1});
    for (int i = 0; i < 3; i++) {
        take_error(rt, call_int(rt, actor, COUNTER_EXIT, 1), SK_EDEAD);
        cr_assert_eq(add(rt, actor, 1), i + 1);
        usleep(250000);
    }
    leave(rt);
}

/* Its create ends the process; waits between its restarts grow until it succeeds. */
Test(actors, restart_ever_more_slowly) {
    const char *folder = make_folder();
    char        file[300];
    snprintf(file, sizeof file, "%s/now", folder);
    sk_runtime *rt = start();
    sk_arg      arg = sk_by_value(file, strlen(file));
    sk_actor    actor = order(rt, (sk_actor_params){.class_name = "late", .name = "late", .args = &arg, .n_args = 1,
                                                    .max_restarts = -1, .restart_backoff_ms = 20});
    sk_ref      early = call(rt, actor, PROBE_COUNT, NULL, 0);
    int64_t     begin_ns = sk_clock_now_ns();
    AWAIT(row_of("late")->n_restarts >= 5); /* the fifth is ordered */
    cr_assert_geq(sk_clock_now_ns() - begin_ns, (20 + 40 + 80 + 160) * INT64_C(1000000));
    FILE *now = fopen(file, "w");
    cr_assert_not_null(now);
    fclose(now);
    sk_error err = {0};
    cr_assert_eq(sk_actor_wait(rt, actor, READY_MS, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(take_int(rt, early), 0, "it waited for the actor to come up");
    remove_folder(folder);
    leave(rt);
}

/* ---- names ---------------------------------------------------------------------------------------------------------------- */
Test(actors, are_found_by_name_while_they_live) {
    sk_runtime *rt = start();
    sk_error    err = {0};
    sk_actor    found = {0}, second = {0};
    for (int p = SK_PLACE_INLINE; p <= SK_PLACE_PROCESS; p++) {
        sk_actor        actor = make(rt, "the one", (sk_placement)p);
        sk_actor_params params = {.class_name = "probe", .name = "the one"};
        cr_assert_eq(sk_actor_find(rt, "the one", &found, &err), SK_OK, "%s", err.msg);
        cr_assert_eq(found.id, actor.id);
        cr_assert_eq(sk_actor_create(rt, &params, &second, &err), SK_EINVAL, "a name is given once");
        cr_assert(strstr(err.msg, "the one"), "%s", err.msg);
        sk_actor_join(rt, &actor, 1, READY_MS);
        cr_assert_eq(sk_actor_find(rt, "the one", &found, &err), SK_ENOTFOUND);
        cr_assert(strstr(err.msg, "the one"), "%s", err.msg);
        cr_assert_eq(sk_actor_check(rt, actor, NULL, NULL), SK_EDEAD, "an old handle never names another one");
    }
    sk_actor a = make(rt, NULL, SK_PLACE_THREAD), b = make(rt, NULL, SK_PLACE_THREAD);
    cr_assert_neq(a.id, b.id);
    finish(rt);
}

/* ---- ends ------------------------------------------------------------------------------------------------------------------ */
Test(actors, killed_for_good_end_at_once) {
    sk_runtime *rt = start();
    sk_actor    actor = make_counter(rt, (sk_actor_params){.name = "victim", .max_restarts = -1, .max_task_retries = -1});
    int         pid = pid_of(rt, actor);
    sk_ref      running = call_int(rt, actor, COUNTER_SLEEP, 60000), queued = call(rt, actor, COUNTER_GET, NULL, 0);
    cr_assert_eq(sk_get(rt, running, 20, NULL, NULL), SK_ETIMEOUT);
    sk_actor_kill(rt, actor, SK_KILL_FOR_GOOD);
    const char *msg = take_error(rt, running, SK_EDEAD);
    cr_assert(strstr(msg, "victim") && strstr(msg, "kill"), "%s", msg);
    take_error(rt, queued, SK_EDEAD);
    cr_assert_eq(sk_actor_check(rt, actor, NULL, NULL), SK_EDEAD);
    cr_assert(wait_until_ended(pid, READY_MS));
    sk_actor_kill(rt, actor, SK_KILL_FOR_GOOD); /* again: nothing */
    sk_actor_stop(rt, actor);
    leave(rt);
}

Test(actors, killed_with_a_restart_come_back) {
    sk_runtime *rt = start();
    sk_actor    actor = make_counter(rt, (sk_actor_params){.name = "cat", .max_restarts = 9});
    cr_assert_eq(add(rt, actor, 7), 7);
    sk_ref running = call_int(rt, actor, COUNTER_SLEEP, 60000);
    cr_assert_eq(sk_get(rt, running, 20, NULL, NULL), SK_ETIMEOUT);
    sk_actor_kill(rt, actor, SK_KILL_MAY_RESTART);
    take_error(rt, running, SK_EDEAD);
    cr_assert_eq(get(rt, actor), 7);
    leave(rt);
}

Test(actors, threads_end_when_killed_as_soon_as_they_can) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "thread", SK_PLACE_THREAD);
    sk_ref      running = call_int(rt, actor, PROBE_SLEEP, 100), queued = call(rt, actor, PROBE_COUNT, NULL, 0);
    cr_assert_eq(sk_get(rt, running, 20, NULL, NULL), SK_ETIMEOUT);
    sk_actor_kill(rt, actor, SK_KILL_FOR_GOOD);
    take_error(rt, queued, SK_EDEAD);
    take_error(rt, running, SK_EDEAD);
    leave(rt);
}

/* One common deadline, not one each; those that need longer are killed. */
Test(actors, are_joined_by_a_common_deadline) {
    enum { N = 6 };
    sk_runtime *rt = start();
    sk_actor    actors[N];
    sk_ref      last[N];
    int         pids[N];
    for (int i = 0; i < N; i++) {
        actors[i] = make(rt, NULL, SK_PLACE_PROCESS);
        pids[i] = pid_of(rt, actors[i]);
        last[i] = call_int(rt, actors[i], PROBE_SLEEP, i < 2 ? 10 : 60000);
    }
    int64_t begin_ns = sk_clock_now_ns();
    sk_actor_join(rt, actors, N, 500);
    cr_assert_lt(sk_clock_now_ns() - begin_ns, INT64_C(20000) * 1000000, "four that sleep for a minute");
    for (int i = 0; i < N; i++) {
        cr_assert(process_has_ended(pids[i]), "actor %d", i);
        if (i < 2)
            cr_assert_eq(take_int(rt, last[i]), 10);
        else
            take_error(rt, last[i], SK_EDEAD);
    }
    leave(rt);
}

/* ---- concurrency and limits -------------------------------------------------------------------------------------------------- */
Test(actors, may_serve_several_calls_at_the_same_time) {
    sk_runtime *rt = start();
    for (int p = SK_PLACE_THREAD; p <= SK_PLACE_PROCESS; p++) {
        sk_actor actor = make_with(
            rt, (sk_actor_params){.class_name = "meeting", .placement = (sk_placement)p, .max_concurrency = 4});
        sk_ref refs[12];
        for (int i = 0; i < 4; i++) refs[i] = call_int(rt, actor, MEETING_ENTER, 4);
        for (int i = 0; i < 4; i++) cr_assert_eq(take_int(rt, refs[i]), 4);
        for (int i = 0; i < 12; i++) refs[i] = call_int(rt, actor, MEETING_STAY, 5);
        for (int i = 0; i < 12; i++) cr_assert_eq(take_int(rt, refs[i]), 4, "and not more");
        sk_actor_join(rt, &actor, 1, READY_MS);
    }
    sk_actor alone = make_with(rt, (sk_actor_params){.class_name = "meeting"});
    sk_ref   refs[4];
    for (int i = 0; i < 4; i++) refs[i] = call_int(rt, alone, MEETING_STAY, 5);
    for (int i = 0; i < 4; i++) cr_assert_eq(take_int(rt, refs[i]), 1);
    finish(rt);
}

Test(actors, refuse_more_calls_than_they_may_have_pending) {
    sk_runtime *rt = start();
    for (int p = SK_PLACE_THREAD; p <= SK_PLACE_PROCESS; p++) {
        sk_actor actor = make_with(rt, (sk_actor_params){.class_name = "probe", .name = "popular",
                                                         .placement = (sk_placement)p, .max_pending_calls = 3});
        sk_ref    refs[3], more = {0};
        sk_error  err = {0};
        sk_method method = {.method = PROBE_COUNT};
        for (int i = 0; i < 3; i++) refs[i] = call_int(rt, actor, PROBE_SLEEP, 100);
        cr_assert_eq(sk_actor_call(rt, actor, &method, &more, &err), SK_ELIMIT);
        cr_assert(strstr(err.msg, "popular") && strstr(err.msg, "3"), "%s", err.msg);
        for (int i = 0; i < 3; i++) cr_assert_eq(take_int(rt, refs[i]), 100);
        cr_assert_eq(take_int(rt, call(rt, actor, PROBE_COUNT, NULL, 0)), 0);
        sk_actor_join(rt, &actor, 1, READY_MS);
    }
    finish(rt);
}

Test(actors, hold_their_resources_while_they_live) {
    sk_resource three = {"cpu", 3}, five = {"cpu", 5}, two = {"cpu", 2};
    sk_runtime *rt = start();
    sk_actor    actor = {0};
    sk_error    err = {0};
    sk_actor_params params = {.class_name = "probe", .resources = &five, .n_resources = 1};
    cr_assert_eq(sk_actor_create(rt, &params, &actor, &err), SK_ELIMIT);
    cr_assert(strstr(err.msg, "cpu") && strstr(err.msg, "5") && strstr(err.msg, "4"), "%s", err.msg);
    params.resources = &three;
    actor = make_with(rt, params);
    sk_ref task = submit(rt, (sk_task){.function = "probe.pid", .resources = &two, .n_resources = 1});
    params.resources = &two;
    sk_actor second = order(rt, params);
    cr_assert_eq(sk_actor_wait(rt, second, 30, &err), SK_ETIMEOUT);
    cr_assert(strstr(err.msg, "resources"), "it says what it waits for: %s", err.msg);
    cr_assert_not(has_ended(rt, task));
    sk_actor_join(rt, &actor, 1, READY_MS);
    take_int(rt, task);
    cr_assert_eq(sk_actor_wait(rt, second, READY_MS, &err), SK_OK, "%s", err.msg);
    finish(rt);
}

/* ---- handles that travel ------------------------------------------------------------------------------------------------------ */
Test(actors, serve_tasks_that_got_their_handles) {
    enum { N_ACTORS = 3, N_TASKS = 9, N_CALLS = 50 };
    sk_runtime *rt = start();
    for (int p = SK_PLACE_THREAD; p <= SK_PLACE_PROCESS; p++) {
        sk_actor actors[N_ACTORS];
        sk_ref   refs[N_TASKS];
        for (int i = 0; i < N_ACTORS; i++)
            actors[i] = order(rt, (sk_actor_params){.class_name = "counter", .placement = (sk_placement)p});
        for (int i = 0; i < N_TASKS; i++) {
            drive_order drive = {actors[i % N_ACTORS], N_CALLS};
            refs[i] = run(rt, "probe.drive", &drive, sizeof drive);
        }
        for (int i = 0; i < N_TASKS; i++) cr_assert_geq(take_long(rt, refs[i]), N_CALLS);
        for (int i = 0; i < N_ACTORS; i++) cr_assert_eq(get(rt, actors[i]), N_CALLS * N_TASKS / N_ACTORS);
        sk_actor_join(rt, actors, N_ACTORS, READY_MS);
    }
    AWAIT(seen()->n_objects == 0);
    finish(rt);
}
