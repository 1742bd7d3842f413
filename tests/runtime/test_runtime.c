/* Actors in every placement: calls, errors, waits, ends. */
#include "tests/runtime/harness.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const sk_placement placements[] = {SK_PLACE_INLINE, SK_PLACE_THREAD, SK_PLACE_PROCESS};
static const char *const  placement_names[] = {"inline", "thread", "process"};

static void end(sk_runtime *rt, sk_actor actor) { sk_actor_join(rt, &actor, 1, READY_MS); }

/* ---- calls ------------------------------------------------------------------------------------------------------ */
Test(runtime, echoes_the_same_bytes_in_every_placement) {
    /* around what goes in a message, what a message holds, and what lies in the store */
    size_t      sizes[] = {0, 1, 15, 33, 4095, 4096, 4097, 65535, 65536, 70001};
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor actor = make(rt, "probe-0", placements[p]);
        for (int s = 0; s < SK_COUNT(sizes); s++) {
            uint8_t *in = malloc(sizes[s] + 1);
            probe_fill(in, sizes[s]);
            sk_ref   ref = call(rt, actor, PROBE_ECHO, in, sizes[s]);
            sk_bytes out = value_of(rt, ref);
            cr_assert_eq(out.size, sizes[s], "%s", placement_names[p]);
            cr_assert(probe_is_filled(out), "%s, %zu bytes", placement_names[p], sizes[s]);
            cr_assert(sizes[s] == 0 || (uintptr_t)out.data % 16 == 0, "%s, %zu bytes", placement_names[p], sizes[s]);
            drop(rt, ref);
            free(in);
        }
        end(rt, actor);
    }
    finish(rt);
}

Test(runtime, runs_calls_in_the_order_they_were_made) {
    enum { N = 2000 };
    static sk_ref refs[N];
    sk_runtime   *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor actor = make(rt, "probe-0", placements[p]);
        sk_error err = {0};
        for (int i = 0; i < N; i++) refs[i] = call(rt, actor, PROBE_COUNT, NULL, 0);
        cr_assert_eq(sk_get_all(rt, refs, N, READY_MS, &err), SK_OK, "%s", err.msg);
        for (int i = 0; i < N; i++) cr_assert_eq(take_int(rt, refs[i]), i, "%s", placement_names[p]);
        end(rt, actor);
    }
    finish(rt);
}

/* Calls run in order also when an early one is slow to get its argument, or does not fit a message. */
Test(runtime, keeps_the_order_of_calls_with_different_arguments) {
    uint8_t    *large = calloc(1, 300000);
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor  actor = make(rt, "probe-0", placements[p]);
        sk_ref    slow = run_int(rt, "probe.sleep", 50), refs[4];
        sk_arg    by_ref = sk_by_ref(slow);
        sk_method method = {.method = PROBE_COUNT, .args = &by_ref, .n_args = 1};
        refs[0] = call(rt, actor, PROBE_COUNT, large, 300000);
        cr_assert_eq(sk_actor_call(rt, actor, &method, &refs[1], NULL), SK_OK);
        refs[2] = call(rt, actor, PROBE_COUNT, large, 5000);
        refs[3] = call(rt, actor, PROBE_COUNT, NULL, 0);
        for (int i = 0; i < 4; i++) cr_assert_eq(take_int(rt, refs[i]), i, "%s", placement_names[p]);
        drop(rt, slow);
        end(rt, actor);
    }
    free(large);
    finish(rt);
}

Test(runtime, carries_large_payloads_both_ways) {
    size_t      size = (size_t)20 << 20;
    sk_runtime *rt = start();
    uint8_t    *in = malloc(size);
    probe_fill(in, size);
    for (int p = 0; p < 3; p++) {
        sk_actor actor = make(rt, "probe-0", placements[p]);
        sk_ref   ref = call(rt, actor, PROBE_ECHO, in, size);
        sk_bytes out = value_of(rt, ref);
        cr_assert_eq(out.size, size);
        cr_assert(probe_is_filled(out), "%s", placement_names[p]);
        drop(rt, ref);
        end(rt, actor);
    }
    free(in);
    AWAIT(seen()->store_used == 0);
    finish(rt);
}

/* Neither the argument nor the answer has room; the actor does not mind. */
Test(runtime, refuses_payloads_beyond_the_store) {
    size_t      size = (size_t)8 << 20;
    sk_runtime *rt = start_with((sk_runtime_params){.store_bytes = 4 << 20, .spill_bytes = SIZE_MAX});
    uint8_t    *in = calloc(1, size);
    for (int p = 1; p < 3; p++) {
        sk_actor  actor = make(rt, "probe-0", placements[p]);
        sk_ref    ref = {0};
        sk_error  err = {0};
        sk_arg    arg = sk_by_value(in, size);
        sk_method method = {.method = PROBE_ECHO, .args = &arg, .n_args = 1};
        cr_assert_eq(sk_actor_call(rt, actor, &method, &ref, &err), SK_ELIMIT, "%s", err.msg);
        cr_assert(strstr(err.msg, "8388608"), "%s", err.msg);
        cr_assert_eq(ref.id, 0);
        const char *msg = take_error(rt, call_long(rt, actor, PROBE_BIG, (int64_t)size), SK_ELIMIT);
        cr_assert(strstr(msg, "probe-0") && strstr(msg, "8388608"), "%s", msg);
        cr_assert_eq(take_int(rt, call(rt, actor, PROBE_COUNT, NULL, 0)), 0, "the actor lives on");
        end(rt, actor);
    }
    free(in);
    finish(rt);
}

Test(runtime, gives_actors_aligned_input) {
    uint8_t     in[200] = {0};
    sk_ref      refs[200];
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor actor = make(rt, "probe-0", placements[p]);
        for (int i = 0; i < 200; i++) refs[i] = call(rt, actor, PROBE_ALIGNED, in, (size_t)i);
        for (int i = 0; i < 200; i++)
            cr_assert_eq(take_int(rt, refs[i]), 1, "%s, %d bytes", placement_names[p], i);
        end(rt, actor);
    }
    finish(rt);
}

Test(runtime, keeps_an_answer_until_it_is_released) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "probe-0", SK_PLACE_PROCESS);
    sk_ref      first = call(rt, actor, PROBE_ECHO, "first", 5);
    sk_bytes    out = value_of(rt, first);
    for (int i = 0; i < 100; i++) {
        sk_ref other = call(rt, actor, PROBE_ECHO, "other", 5);
        value_of(rt, other);
        drop(rt, other);
    }
    cr_assert_eq(memcmp(out.data, "first", 5), 0);
    cr_assert_eq(value_of(rt, first).data, out.data, "waiting again gives the same answer");
    sk_release(rt, &first);
    cr_assert_eq(first.id, 0);
    sk_release(rt, &first); /* none: fine */
    finish(rt);
}

Test(runtime, a_call_may_have_several_answers) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor  actor = make(rt, "probe-0", placements[p]);
        int32_t   seven = 7;
        sk_arg    arg = sk_by_value(&seven, sizeof seven);
        sk_method method = {.method = PROBE_PAIR, .args = &arg, .n_args = 1, .n_returns = 2};
        sk_ref    refs[2];
        cr_assert_eq(sk_actor_call(rt, actor, &method, refs, NULL), SK_OK);
        cr_assert_eq(take_int(rt, refs[1]), 8, "%s", placement_names[p]);
        cr_assert_eq(take_int(rt, refs[0]), 7, "%s", placement_names[p]);
        end(rt, actor);
    }
    finish(rt);
}

Test(runtime, refuses_a_method_that_the_class_has_not) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor  actor = make(rt, "probe-0", placements[p]);
        sk_ref    ref = {0};
        sk_error  err = {0};
        sk_method method = {.method = PROBE_N_METHODS};
        cr_assert_eq(sk_actor_call(rt, actor, &method, &ref, &err), SK_EINVAL);
        cr_assert(strstr(err.msg, "probe") && strstr(err.msg, "17"), "%s", err.msg);
        method.method = -1;
        cr_assert_eq(sk_actor_call(rt, actor, &method, &ref, &err), SK_EINVAL);
        cr_assert_eq(ref.id, 0);
        end(rt, actor);
    }
    finish(rt);
}

/* ---- errors ------------------------------------------------------------------------------------------------------- */
Test(runtime, tells_the_text_and_the_place_of_a_failed_call) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor    actor = make(rt, "probe-3", placements[p]);
        const char *text = "CartPole-v1: step 12: reward is NaN";
        const char *msg = take_error(rt, call(rt, actor, PROBE_FAIL, text, strlen(text)), SK_EENV);
        cr_assert(strstr(msg, text) && strstr(msg, "probe-3"), "%s: %s", placement_names[p], msg);
        cr_assert(strstr(msg, "probe_module.c:"), "%s: %s", placement_names[p], msg);
        cr_assert_eq(take_int(rt, call(rt, actor, PROBE_COUNT, NULL, 0)), 0, "the actor lives on");
        end(rt, actor);
    }
    finish(rt);
}

Test(runtime, passes_on_a_status_that_does_not_exist_as_invalid) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor actor = make(rt, "probe-0", placements[p]);
        take_error(rt, call(rt, actor, PROBE_ODD, NULL, 0), SK_EINVAL);
        cr_assert_eq(take_int(rt, call(rt, actor, PROBE_COUNT, NULL, 0)), 0, "the actor lives on");
        end(rt, actor);
    }
    finish(rt);
}

Test(runtime, tells_the_text_of_a_failed_create) {
    sk_runtime *rt = start();
    sk_arg      arg = sk_by_value("!no such map", 12);
    for (int p = 0; p < 3; p++) {
        sk_actor_params params = {
            .class_name = "probe", .name = "probe-1", .placement = placements[p], .args = &arg, .n_args = 1};
        sk_actor  actor = {0};
        sk_error  err = {0};
        sk_status status = sk_actor_create(rt, &params, &actor, &err);
        if (status == SK_OK) {
            sk_ref queued = {0};
            sk_method method = {.method = PROBE_COUNT};
            status = sk_actor_call(rt, actor, &method, &queued, &err); /* may be known by now */
            if (status == SK_OK) take_error(rt, queued, SK_EENV);
            status = sk_actor_wait(rt, actor, READY_MS, &err);
        }
        cr_assert_eq(status, SK_EENV, "%s: %s", placement_names[p], err.msg);
        cr_assert(strstr(err.msg, "no such map") && strstr(err.msg, "probe-1"), "%s", err.msg);
    }
    finish(rt);
}

Test(runtime, refuses_an_unknown_class_and_names_the_known) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor_params params = {.class_name = "prob", .name = "x", .placement = placements[p]};
        sk_actor        actor = {0};
        sk_error        err = {0};
        cr_assert_eq(sk_actor_create(rt, &params, &actor, &err), SK_ENOTFOUND);
        cr_assert(strstr(err.msg, "prob") && strstr(err.msg, "probe"), "%s", err.msg);
        cr_assert_eq(actor.id, 0);
    }
    finish(rt);
}

/* ---- waiting -------------------------------------------------------------------------------------------------------- */
Test(runtime, a_wait_times_out_with_a_name_and_may_be_repeated) {
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor actor = make(rt, "runner-0", placements[p]);
        sk_ref   ref = call_int(rt, actor, PROBE_SLEEP, 200);
        sk_error err = {0};
        cr_assert_eq(sk_get(rt, ref, 20, NULL, &err), SK_ETIMEOUT);
        cr_assert(strstr(err.msg, "runner-0") && strstr(err.msg, "sleep") && strstr(err.msg, "20 ms"), "%s", err.msg);
        cr_assert_eq(take_int(rt, ref), 200, "the late answer arrives");
        end(rt, actor);
    }
    finish(rt);
}

Test(runtime, a_wait_for_many_names_one_that_is_late_and_counts_the_rest) {
    sk_runtime *rt = start();
    sk_actor    quick = make(rt, "runner-0", SK_PLACE_THREAD), slow = make(rt, "runner-1", SK_PLACE_THREAD);
    sk_ref      refs[3] = {call(rt, quick, PROBE_COUNT, NULL, 0), call_int(rt, slow, PROBE_SLEEP, 200),
                           call(rt, slow, PROBE_COUNT, NULL, 0)};
    sk_error    err = {0};
    value_of(rt, refs[0]);
    cr_assert_eq(sk_get_all(rt, refs, 3, 20, &err), SK_ETIMEOUT);
    cr_assert(strstr(err.msg, "runner-1") && strstr(err.msg, "20 ms") && strstr(err.msg, "2 of 3"), "%s", err.msg);
    cr_assert_eq(sk_get_all(rt, refs, 3, READY_MS, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_get_all(rt, NULL, 0, 0, &err), SK_OK);
    for (int i = 0; i < 3; i++) drop(rt, refs[i]);
    finish(rt);
}

Test(runtime, a_wait_for_many_ends_at_the_first_failure) {
    sk_runtime *rt = start();
    sk_actor    slow = make(rt, "runner-0", SK_PLACE_THREAD), bad = make(rt, "runner-1", SK_PLACE_THREAD);
    sk_ref      refs[2] = {call_int(rt, slow, PROBE_SLEEP, 500), call(rt, bad, PROBE_FAIL, "oops", 4)};
    sk_error    err = {0};
    cr_assert_eq(sk_get_all(rt, refs, 2, READY_MS, &err), SK_EENV);
    cr_assert(strstr(err.msg, "runner-1") && strstr(err.msg, "oops"), "%s", err.msg);
    cr_assert_not(has_ended(rt, refs[0]), "the slow one still sleeps");
    finish(rt);
}

Test(runtime, drops_the_late_answer_of_a_released_reference) {
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor actor = make(rt, "runner-0", placements[p]);
        sk_ref   forgotten = call_int(rt, actor, PROBE_SLEEP, 50), large = call_long(rt, actor, PROBE_BIG, 1 << 20);
        sk_ref   kept = call(rt, actor, PROBE_ECHO, "kept", 4);
        drop(rt, forgotten);
        drop(rt, large);
        cr_assert_eq(memcmp(value_of(rt, kept).data, "kept", 4), 0);
        drop(rt, kept);
        end(rt, actor);
    }
    AWAIT(seen()->store_used == 0 && seen()->n_objects == 0);
    finish(rt);
}

static volatile int interrupted;
static pthread_t    driver;

static void on_signal(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

static void *interrupt_soon(void *arg) {
    usleep(50000);
    if (arg)
        pthread_kill(driver, SIGUSR1); /* as Ctrl-C does */
    else
        interrupted = 1; /* as another thread may */
    return NULL;
}

Test(runtime, an_interrupt_ends_waits_and_spares_answers) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    driver = pthread_self();
    sk_runtime *rt = start_with((sk_runtime_params){.interrupted = &interrupted});
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_THREAD);
    for (int by_signal = 0; by_signal < 2; by_signal++) {
        pthread_t thread;
        sk_error  err = {0};
        sk_ref    ref = call_int(rt, actor, PROBE_SLEEP, 600);
        cr_assert_eq(pthread_create(&thread, NULL, interrupt_soon, by_signal ? &thread : NULL), 0);
        cr_assert_eq(sk_get(rt, ref, READY_MS, NULL, &err), SK_EINTERRUPTED);
        cr_assert(strstr(err.msg, "runner-0") && strstr(err.msg, "sleep"), "%s", err.msg);
        pthread_join(thread, NULL);
        interrupted = 0;
        cr_assert_eq(take_int(rt, ref), 600);
    }

    /* An answer that is there counts more than an interrupt; the end of the runtime is not hindered by one. */
    sk_ref ref = call(rt, actor, PROBE_COUNT, NULL, 0);
    value_of(rt, ref);
    interrupted = 1;
    cr_assert_eq(take_int(rt, ref), 0);
    int32_t  ms = 300;
    sk_arg   arg = sk_by_value(&ms, sizeof ms);
    sk_actor slow = order(rt, (sk_actor_params){.class_name = "hangs", .name = "h", .args = &arg, .n_args = 1});
    sk_error err = {0};
    cr_assert_eq(sk_actor_wait(rt, slow, READY_MS, &err), SK_EINTERRUPTED);
    cr_assert(strstr(err.msg, "h"), "%s", err.msg);
    sk_runtime_destroy(&rt);
    interrupted = 0;
}

Test(runtime, a_wait_for_a_slow_create_times_out_and_may_be_repeated) {
    int32_t     ms = 200;
    sk_arg      arg = sk_by_value(&ms, sizeof ms);
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor_params params = {
            .class_name = "hangs", .name = "slow", .placement = placements[p], .args = &arg, .n_args = 1};
        sk_actor actor = order(rt, params);
        sk_ref   early = call(rt, actor, PROBE_COUNT, NULL, 0);
        sk_error err = {0};
        cr_assert_eq(sk_actor_wait(rt, actor, 10, &err), SK_ETIMEOUT);
        cr_assert(strstr(err.msg, "slow") && strstr(err.msg, "10 ms"), "%s", err.msg);
        cr_assert_eq(sk_actor_wait(rt, actor, READY_MS, &err), SK_OK, "%s", err.msg);
        cr_assert_eq(take_int(rt, early), 0, "a call made before it was there");
        end(rt, actor);
    }
    finish(rt);
}

/* ---- ends ----------------------------------------------------------------------------------------------------------- */
Test(runtime, destroy_accepts_null) {
    sk_runtime *rt = NULL;
    sk_runtime_destroy(&rt);
    sk_runtime_destroy(NULL);
    cr_assert_null(sk_runtime_current());
}

Test(runtime, calls_made_before_a_stop_still_run) {
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor actor = make(rt, "runner-0", placements[p]);
        sk_ref   sleeping = call_int(rt, actor, PROBE_SLEEP, 50), last = call(rt, actor, PROBE_COUNT, NULL, 0);
        sk_actor_stop(rt, actor);
        sk_actor_join(rt, &actor, 1, READY_MS);
        cr_assert_eq(take_int(rt, sleeping), 50);
        cr_assert_eq(take_int(rt, last), 0);
        sk_error err = {0};
        cr_assert_eq(sk_actor_check(rt, actor, NULL, &err), SK_EDEAD);
        cr_assert(strstr(err.msg, "runner-0"), "%s", err.msg);
    }
    finish(rt);
}

Test(runtime, leaves_a_thread_behind_that_does_not_end_and_says_so) {
    sk_runtime *rt = start_with((sk_runtime_params){.stop_timeout_ms = 30});
    int         n_threads = count_entries("/proc/self/task");
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_THREAD);
    sk_ref      sleeping = call_int(rt, actor, PROBE_SLEEP, 500);
    cr_assert_eq(sk_get(rt, sleeping, 20, NULL, NULL), SK_ETIMEOUT);
    sk_actor_join(rt, &actor, 1, 30);
    cr_assert(strstr(last_warning, "runner-0") && strstr(last_warning, "left behind"), "%s", last_warning);
    take_error(rt, sleeping, SK_EDEAD);
    sk_runtime_destroy(&rt); /* does not wait for it */

    AWAIT(count_entries("/proc/self/task") <= n_threads); /* it ends by itself after its call */
}

Test(runtime, ends_what_the_program_forgot) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) call(rt, make(rt, NULL, placements[p]), PROBE_ECHO, "forgotten", 9);
    run_int(rt, "probe.sleep", 1);
    put(rt, 100000);
    finish(rt);
}

Test(runtime, opens_nothing_for_inline_actors) {
    sk_runtime *rt = start();
    int         n_fds = count_entries("/proc/self/fd"), n_threads = count_entries("/proc/self/task");
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_INLINE);
    cr_assert_eq(take_int(rt, call(rt, actor, PROBE_PID, NULL, 0)), getpid());
    cr_assert_eq(count_entries("/proc/self/fd"), n_fds);
    cr_assert_eq(count_entries("/proc/self/task"), n_threads);
    cr_assert_eq(pid_of(rt, actor), getpid());
    finish(rt);
}

Test(runtime, starts_no_process_before_it_is_needed) {
    sk_runtime *rt = start();
    cr_assert_eq(seen()->n_workers, 0);
    cr_assert_eq(take_int(rt, run_int(rt, "probe.sleep", 0)), 0);
    cr_assert_gt(seen()->n_workers, 0);
    finish(rt);
}

Test(runtime, leaves_no_descriptor_thread_or_shared_memory) {
    int n_fds = count_entries("/proc/self/fd"), n_threads = count_entries("/proc/self/task"), n_shm = count_shm();
    for (int round = 0; round < 3; round++) {
        sk_runtime *rt = start();
        for (int p = 0; p < 3; p++) {
            sk_actor actor = make(rt, NULL, placements[p]);
            cr_assert_eq(take_int(rt, call(rt, actor, PROBE_COUNT, NULL, 0)), 0);
            value_of(rt, call_long(rt, actor, PROBE_BIG, 1 << 16));
            value_of(rt, run_long(rt, "probe.big", 1 << 16));
            cr_assert_eq(count_shm(), n_shm);
            if (p == 0) end(rt, actor);
        }
        finish(rt);
    }
    cr_assert_eq(count_entries("/proc/self/fd"), n_fds);
    cr_assert_eq(count_entries("/proc/self/task"), n_threads);
    cr_assert_eq(count_shm(), n_shm);
}

Test(runtime, leaves_no_descriptor_to_its_workers) {
    sk_runtime *rt = start();
    make(rt, "runner-0", SK_PLACE_THREAD);
    sk_actor first = make(rt, "runner-1", SK_PLACE_PROCESS), second = make(rt, "runner-2", SK_PLACE_PROCESS);
    /* Criterion's own descriptors do not close on exec, and are inherited by both alike. */
    int32_t here = take_int(rt, call(rt, make(rt, "here", SK_PLACE_INLINE), PROBE_FDS, NULL, 0));
    cr_assert_leq(take_int(rt, call(rt, first, PROBE_FDS, NULL, 0)), here);
    cr_assert_leq(take_int(rt, call(rt, second, PROBE_FDS, NULL, 0)), here);
    finish(rt);
}

/* ---- many ------------------------------------------------------------------------------------------------------------- */
static void serve_many(int n, sk_placement placement) {
    sk_runtime *rt = start();
    sk_actor   *actors = calloc((size_t)n, sizeof *actors);
    sk_ref     *refs = calloc((size_t)n, sizeof *refs);
    sk_error    err = {0};
    for (int i = 0; i < n; i++) actors[i] = order(rt, (sk_actor_params){.class_name = "probe", .placement = placement});
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < n; i++) refs[i] = call(rt, actors[i], PROBE_COUNT, NULL, 0);
        cr_assert_eq(sk_get_all(rt, refs, n, READY_MS, &err), SK_OK, "%s", err.msg);
        for (int i = 0; i < n; i++) cr_assert_eq(take_int(rt, refs[i]), round);
    }
    sk_actor_join(rt, actors, n / 2, READY_MS);
    for (int i = 0; i < n; i++)
        cr_assert_eq(sk_actor_check(rt, actors[i], NULL, NULL), i < n / 2 ? SK_EDEAD : SK_OK);
    free(actors);
    free(refs);
    finish(rt);
}

Test(runtime, serves_500_threads) { serve_many(500, SK_PLACE_THREAD); }
Test(runtime, serves_30_processes) { serve_many(30, SK_PLACE_PROCESS); }
