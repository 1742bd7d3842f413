#include "tests/runtime/harness.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static const sk_placement placements[] = {SK_PLACE_INLINE, SK_PLACE_THREAD, SK_PLACE_PROCESS};
static const char *const placement_names[] = {"inline", "thread", "process"};

/* ---- calls ------------------------------------------------------------------------------------------ */
Test(runtime, echoes_the_same_bytes_in_every_placement) {
    sk_runtime *rt = start();
    size_t sizes[] = {0, 1, 33, 40, 4096, 70001};
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-0", placements[p]);
        for (int s = 0; s < SK_COUNT(sizes); s++) {
            uint8_t *in = malloc(sizes[s] + 1);
            for (size_t i = 0; i < sizes[s]; i++) in[i] = (uint8_t)(i * 7 + (size_t)s);
            sk_future *future = call(actor, PROBE_ECHO, in, sizes[s]);
            sk_bytes out = wait_ok(future);
            cr_assert_eq(out.size, sizes[s], "%s", placement_names[p]);
            cr_assert(sizes[s] == 0 || memcmp(out.data, in, sizes[s]) == 0, "%s", placement_names[p]);
            sk_future_destroy(&future);
            cr_assert_null(future);
            free(in);
        }
        sk_actor_destroy(&actor);
        cr_assert_null(actor);
    }
    sk_runtime_destroy(&rt);
    cr_assert_null(rt);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

Test(runtime, runs_calls_in_the_order_they_were_made) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-0", placements[p]);
        sk_future *futures[500];
        sk_error err = {0};
        for (int i = 0; i < 500; i++) futures[i] = call(actor, PROBE_COUNT, NULL, 0);
        cr_assert_eq(sk_future_wait_all(futures, 500, READY_MS, &err), SK_OK, "%s", err.msg);
        for (int i = 0; i < 500; i++) cr_assert_eq(wait_int(futures[i]), i, "%s", placement_names[p]);
        sk_actor_destroy(&actor);
    }
    sk_runtime_destroy(&rt);
}

Test(runtime, carries_large_payloads_both_ways) {
    sk_runtime *rt = start();
    size_t size = (size_t)20 << 20;
    uint8_t *in = malloc(size);
    for (size_t i = 0; i < size; i++) in[i] = (uint8_t)(i % 253);
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-0", placements[p]);
        sk_future *future = call(actor, PROBE_ECHO, in, size);
        sk_bytes out = wait_ok(future);
        cr_assert_eq(out.size, size);
        cr_assert_eq(memcmp(out.data, in, size), 0, "%s", placement_names[p]);
        sk_future_destroy(&future);
        sk_actor_destroy(&actor);
    }
    free(in);
    sk_runtime_destroy(&rt);
}

Test(runtime, refuses_payloads_beyond_the_limit) {
    sk_runtime *rt = start();
    size_t size = ((size_t)64 << 20) + 1;
    uint8_t *in = calloc(1, size);
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-0", placements[p]);
        sk_future *future = NULL;
        sk_error err = {0};
        cr_assert_eq(sk_actor_call(actor, PROBE_ECHO, (sk_bytes){in, size}, &future, &err), SK_ELIMIT);
        cr_assert(strstr(err.msg, "probe-0: echo") && strstr(err.msg, "67108865"), "%s", err.msg);
        cr_assert_null(future);

        int64_t wanted = (int64_t)size;
        const char *msg = wait_error(call(actor, PROBE_BIG, &wanted, sizeof wanted), SK_ELIMIT);
        cr_assert(strstr(msg, "probe-0: a reply holds at most 67108864 bytes"), "%s", msg);
        cr_assert_eq(wait_int(call(actor, PROBE_COUNT, NULL, 0)), 0, "the actor lives on");
        sk_actor_destroy(&actor);
    }
    free(in);
    sk_runtime_destroy(&rt);
}

Test(runtime, gives_actors_aligned_input) {
    sk_runtime *rt = start();
    uint8_t in[200] = {0};
    for (int p = 1; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-0", placements[p]);
        /* many small ones at once: ZeroMQ then hands them out from one buffer, at any address */
        sk_future *futures[200];
        for (int i = 0; i < 200; i++) futures[i] = call(actor, PROBE_ALIGNED, in, (size_t)i);
        for (int i = 1; i < 200; i++)
            cr_assert_eq(wait_int(futures[i]), 1, "%s, %d bytes", placement_names[p], i);
        sk_actor_destroy(&actor);
    }
    sk_runtime_destroy(&rt);
}

Test(runtime, keeps_an_answer_until_the_future_is_destroyed) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "probe-0", SK_PLACE_THREAD);
    sk_future *first = call(actor, PROBE_ECHO, "first", 5);
    sk_bytes out = wait_ok(first);
    for (int i = 0; i < 100; i++) {
        sk_future *other = call(actor, PROBE_ECHO, "other", 5);
        wait_ok(other);
        sk_future_destroy(&other);
    }
    cr_assert_eq(memcmp(out.data, "first", 5), 0);
    cr_assert_eq(wait_ok(first).data, out.data, "waiting again gives the same answer");
    sk_future_destroy(&first);
    sk_future_destroy(&first);
    sk_future_destroy(NULL);
    sk_actor_destroy(&actor);
    sk_runtime_destroy(&rt);
}

Test(runtime, refuses_a_method_that_the_class_has_not) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "probe-0", SK_PLACE_INLINE);
    sk_future *future = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_actor_call(actor, PROBE_N_METHODS, NO_BYTES, &future, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "probe-0: class probe has methods 0 to 11, got 12"), "%s", err.msg);
    cr_assert_eq(sk_actor_call(actor, -1, NO_BYTES, &future, &err), SK_EINVAL);
    sk_runtime_destroy(&rt);
}

/* ---- errors ----------------------------------------------------------------------------------------- */
Test(runtime, tells_the_text_of_a_failed_call) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-3", placements[p]);
        const char *text = "CartPole-v1: step 12: reward is NaN";
        const char *msg = wait_error(call(actor, PROBE_FAIL, text, strlen(text)), SK_EENV);
        cr_assert_str_eq(msg, "probe-3: CartPole-v1: step 12: reward is NaN", "%s", placement_names[p]);
        msg = wait_error(call(actor, PROBE_FAIL, "", 0), SK_EENV);
        cr_assert_str_eq(msg, "probe-3: the environment failed", "%s", placement_names[p]);
        cr_assert_eq(wait_int(call(actor, PROBE_COUNT, NULL, 0)), 0, "the actor lives on");
        sk_actor_destroy(&actor);
    }
    sk_runtime_destroy(&rt);
}

Test(runtime, passes_on_a_status_that_does_not_exist_as_invalid) {
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor *actor = make(rt, "probe-0", placements[p]);
        wait_error(call(actor, PROBE_ODD, NULL, 0), SK_EINVAL);
        sk_actor_destroy(&actor);
    }
    sk_runtime_destroy(&rt);
}

Test(runtime, tells_the_text_of_a_failed_create) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = NULL;
        sk_error err = {0};
        sk_bytes arg = {"!no such map", 12};
        cr_assert_eq(sk_actor_create(rt, "probe", "probe-1", placements[p], arg, READY_MS, &actor, &err),
                     SK_EENV);
        cr_assert_str_eq(err.msg, "probe-1: no such map", "%s", placement_names[p]);
        cr_assert_null(actor);
    }
    sk_runtime_destroy(&rt);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

Test(runtime, refuses_an_unknown_class_and_names_the_known) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = NULL;
        sk_error err = {0};
        cr_assert_eq(sk_actor_create(rt, "prob", "x", placements[p], NO_BYTES, READY_MS, &actor, &err),
                     SK_ENOTFOUND);
        cr_assert_str_eq(err.msg, "x: there is no actor class 'prob'; there are: probe, exits, hangs");
    }
    sk_runtime_destroy(&rt);
}

/* ---- waiting ---------------------------------------------------------------------------------------- */
Test(runtime, a_wait_times_out_with_a_name_and_may_be_repeated) {
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor *actor = make(rt, "runner-0", placements[p]);
        sk_future *future = call_int(actor, PROBE_SLEEP, 300);
        sk_error err = {0};
        cr_assert_eq(sk_future_wait(future, 20, NULL, &err), SK_ETIMEOUT);
        cr_assert_str_eq(err.msg, "runner-0: no answer to sleep within 20 ms");
        cr_assert_eq(wait_int(future), 300, "the late answer arrives");
        sk_actor_destroy(&actor);
    }
    sk_runtime_destroy(&rt);
}

Test(runtime, a_wait_for_many_names_one_that_is_late_and_counts_the_rest) {
    sk_runtime *rt = start();
    sk_actor *quick = make(rt, "runner-0", SK_PLACE_THREAD), *slow = make(rt, "runner-1", SK_PLACE_THREAD);
    sk_future *futures[3] = {call(quick, PROBE_COUNT, NULL, 0), call_int(slow, PROBE_SLEEP, 300),
                             call(slow, PROBE_COUNT, NULL, 0)};
    sk_error err = {0};
    wait_ok(futures[0]);
    cr_assert_eq(sk_future_wait_all(futures, 3, 20, &err), SK_ETIMEOUT);
    cr_assert_str_eq(err.msg, "runner-1: no answer to sleep within 20 ms (2 of 3 calls are open)");
    cr_assert_eq(sk_future_wait_all(futures, 3, READY_MS, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_future_wait_all(NULL, 0, 0, &err), SK_OK);
    sk_runtime_destroy(&rt);
}

Test(runtime, a_wait_for_many_ends_at_the_first_failure) {
    sk_runtime *rt = start();
    sk_actor *slow = make(rt, "runner-0", SK_PLACE_THREAD), *bad = make(rt, "runner-1", SK_PLACE_THREAD);
    sk_future *futures[2] = {call_int(slow, PROBE_SLEEP, 500), call(bad, PROBE_FAIL, "oops", 4)};
    sk_error err = {0};
    cr_assert_eq(sk_future_wait_all(futures, 2, READY_MS, &err), SK_EENV);
    cr_assert_str_eq(err.msg, "runner-1: oops");
    cr_assert_eq(sk_future_wait(futures[0], 0, NULL, NULL), SK_ETIMEOUT, "the slow one still sleeps");
    sk_runtime_destroy(&rt);
}

Test(runtime, drops_the_late_answer_of_a_forgotten_future) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_future *forgotten = call_int(actor, PROBE_SLEEP, 100);
    sk_future *kept = call(actor, PROBE_ECHO, "kept", 4);
    sk_future_destroy(&forgotten);
    cr_assert_eq(memcmp(wait_ok(kept).data, "kept", 4), 0);
    sk_future_destroy(&kept);
    sk_runtime_destroy(&rt);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

static volatile int interrupted;
static pthread_t driver;

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
    sk_runtime *rt =
        start_with((sk_runtime_params){.stop_timeout_ms = READY_MS, .interrupted = &interrupted});
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_THREAD);
    for (int by_signal = 0; by_signal < 2; by_signal++) {
        pthread_t thread;
        sk_error err = {0};
        sk_future *future = call_int(actor, PROBE_SLEEP, 1000);
        cr_assert_eq(pthread_create(&thread, NULL, interrupt_soon, by_signal ? &thread : NULL), 0);
        cr_assert_eq(sk_future_wait(future, READY_MS, NULL, &err), SK_EINTERRUPTED);
        cr_assert_str_eq(err.msg, "runner-0: waiting for the answer to sleep: interrupted");
        pthread_join(thread, NULL);
        interrupted = 0;
        cr_assert_eq(wait_int(future), 1000);
    }

    /* An answer that is there counts more than an interrupt; the end of the runtime is not hindered by one.
     */
    sk_future *future = call(actor, PROBE_COUNT, NULL, 0);
    wait_ok(future);
    interrupted = 1;
    cr_assert_eq(wait_int(future), 0);
    sk_actor *never = NULL;
    sk_error err = {0};
    cr_assert_eq(sk_actor_create(rt, "probe", "runner-1", SK_PLACE_PROCESS, NO_BYTES, READY_MS, &never, &err),
                 SK_EINTERRUPTED);
    cr_assert(strstr(err.msg, "runner-1"), "%s", err.msg);
    sk_runtime_destroy(&rt);
    interrupted = 0;
}

Test(runtime, a_slow_create_times_out) {
    int32_t ms = 400;
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor *actor = NULL;
        sk_error err = {0};
        cr_assert_eq(
            sk_actor_create(rt, "hangs", "h", placements[p], (sk_bytes){&ms, sizeof ms}, 1, &actor, &err),
            SK_ETIMEOUT);
        cr_assert(strstr(err.msg, "h: its worker (") && strstr(err.msg, "needed too long"), "%s", err.msg);
        cr_assert_null(actor);
    }
    sk_runtime_destroy(&rt);
}

/* ---- ends ------------------------------------------------------------------------------------------- */
Test(runtime, destroy_accepts_null) {
    sk_runtime *rt = NULL;
    sk_actor *actor = NULL;
    sk_runtime_destroy(&rt);
    sk_runtime_destroy(NULL);
    sk_actor_destroy(&actor);
    sk_actor_destroy(NULL);
}

Test(runtime, destroying_an_actor_fails_its_open_calls) {
    sk_runtime *rt = start_with((sk_runtime_params){.stop_timeout_ms = 100});
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_future *sleeping = call_int(actor, PROBE_SLEEP, 60000), *waiting = call(actor, PROBE_COUNT, NULL, 0);
    sk_future *forgotten = call(actor, PROBE_COUNT, NULL, 0);
    sk_future_destroy(&forgotten);
    int pid = sk_actor_pid(actor);
    sk_actor_destroy(&actor); /* does not stop in time: killed */
    cr_assert(process_has_ended(pid));
    cr_assert_str_eq(wait_error(sleeping, SK_EDEAD), "runner-0 was destroyed before it answered");
    cr_assert_str_eq(wait_error(waiting, SK_EDEAD), "runner-0 was destroyed before it answered");
    sk_runtime_destroy(&rt);
}

Test(runtime, calls_made_before_the_end_still_run) {
    sk_runtime *rt = start();
    for (int p = 1; p < 3; p++) {
        sk_actor *actor = make(rt, "runner-0", placements[p]);
        sk_future *sleeping = call_int(actor, PROBE_SLEEP, 50), *last = call(actor, PROBE_COUNT, NULL, 0);
        sk_actor_destroy(&actor);
        cr_assert_eq(wait_int(sleeping), 50);
        cr_assert_eq(wait_int(last), 0);
    }
    sk_runtime_destroy(&rt);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

Test(runtime, leaves_a_thread_behind_that_does_not_end_and_says_so) {
    sk_runtime *rt = start_with((sk_runtime_params){.stop_timeout_ms = 30});
    int n_threads = count_entries("/proc/self/task");
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_THREAD);
    sk_future *sleeping = call_int(actor, PROBE_SLEEP, 500);
    sk_actor_destroy(&actor);
    cr_assert_str_eq(last_warning, "runner-0 (a thread) did not stop in time and is left behind");
    cr_assert_str_eq(wait_error(sleeping, SK_EDEAD), "runner-0 was destroyed before it answered");
    sk_runtime_destroy(&rt); /* does not wait for it */

    /* It ends by itself after its call, and takes the context with it. */
    int64_t end_ns = sk_clock_now_ns() + (int64_t)READY_MS * 1000000;
    while (count_entries("/proc/self/task") > n_threads && sk_clock_now_ns() < end_ns) usleep(1000);
    cr_assert_eq(count_entries("/proc/self/task"), n_threads);
}

Test(runtime, destroys_what_the_program_forgot) {
    sk_runtime *rt = start();
    for (int p = 0; p < 3; p++) {
        sk_actor *actor = make(rt, "forgotten", placements[p]);
        call(actor, PROBE_ECHO, "forgotten", 9);
    }
    sk_runtime_destroy(&rt);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

Test(runtime, opens_nothing_for_inline_actors) {
    int n_fds = count_entries("/proc/self/fd"), n_threads = count_entries("/proc/self/task");
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_INLINE);
    cr_assert_eq(count_entries("/proc/self/fd"), n_fds);
    cr_assert_eq(count_entries("/proc/self/task"), n_threads);
    cr_assert_eq(sk_actor_pid(actor), getpid());
    cr_assert_eq(sk_actor_check(actor, NULL), SK_OK);
    sk_runtime_destroy(&rt);
}

Test(runtime, leaves_no_descriptor_thread_or_shared_memory) {
    int n_fds = count_entries("/proc/self/fd"), n_threads = count_entries("/proc/self/task");
    int n_shm = count_shm();
    for (int round = 0; round < 3; round++) {
        sk_runtime *rt = start();
        for (int p = 0; p < 3; p++) {
            sk_actor *actor = make(rt, "runner-0", placements[p]);
            wait_int(call(actor, PROBE_COUNT, NULL, 0));
            int64_t size = 1 << 16;
            sk_future *future = call(actor, PROBE_BLOCK_MAKE, &size, sizeof size);
            wait_ok(future);
            cr_assert_eq(count_shm(), n_shm);
            if (p == 0) sk_actor_destroy(&actor);
        }
        sk_runtime_destroy(&rt);
    }
    cr_assert_eq(count_entries("/proc/self/fd"), n_fds);
    cr_assert_eq(count_entries("/proc/self/task"), n_threads);
    cr_assert_eq(count_shm(), n_shm);
}

Test(runtime, leaves_no_descriptor_to_its_workers) {
    sk_runtime *rt = start();
    sk_actor *thread = make(rt, "runner-0", SK_PLACE_THREAD),
             *process = make(rt, "runner-1", SK_PLACE_PROCESS);
    (void)thread;
    sk_actor *second = make(rt, "runner-2", SK_PLACE_PROCESS);
    /* Criterion's own descriptors do not close on exec, and are inherited by both alike. */
    int32_t here = wait_int(call(make(rt, "here", SK_PLACE_INLINE), PROBE_FDS, NULL, 0));
    cr_assert_leq(wait_int(call(process, PROBE_FDS, NULL, 0)), here);
    cr_assert_leq(wait_int(call(second, PROBE_FDS, NULL, 0)), here);
    sk_runtime_destroy(&rt);
}

/* ---- many ------------------------------------------------------------------------------------------- */
static void serve_many(int n, sk_placement placement) {
    sk_runtime *rt = start();
    sk_actor **actors = calloc((size_t)n, sizeof *actors);
    sk_future **futures = calloc((size_t)n, sizeof *futures);
    sk_error err = {0};
    for (int i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "runner-%d", i);
        actors[i] = make(rt, name, placement);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < n; i++) futures[i] = call(actors[i], PROBE_COUNT, NULL, 0);
        cr_assert_eq(sk_future_wait_all(futures, n, READY_MS, &err), SK_OK, "%s", err.msg);
        for (int i = 0; i < n; i++) cr_assert_eq(wait_int(futures[i]), round);
    }
    for (int i = 0; i < n / 2; i++) sk_actor_destroy(&actors[i]);
    sk_runtime_destroy(&rt);
    free(actors);
    free(futures);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

Test(runtime, serves_200_threads) { serve_many(200, SK_PLACE_THREAD); }
Test(runtime, serves_20_processes) { serve_many(20, SK_PLACE_PROCESS); }

Test(runtime, names_the_limit_of_open_files) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    sk_runtime *rt = start();
    sk_actor *first = make(rt, "runner-0", SK_PLACE_THREAD), *actor = NULL;
    sk_error err = {0};
    sk_status status = SK_OK;
    rlim_t old = files.rlim_cur;
    files.rlim_cur = (rlim_t)count_entries("/proc/self/fd") + 10;
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 1; i < 100 && status == SK_OK; i++)
        status = sk_actor_create(rt, "probe", "runner-n", SK_PLACE_THREAD, NO_BYTES, READY_MS, &actor, &err);
    files.rlim_cur = old;
    setrlimit(RLIMIT_NOFILE, &files);
    cr_assert_eq(status, SK_ELIMIT);
    cr_assert(strstr(err.msg, "runner-n: cannot open a socket") && strstr(err.msg, "ulimit -n"), "%s",
              err.msg);
    cr_assert_eq(wait_int(call(first, PROBE_COUNT, NULL, 0)), 0, "the others go on");
    sk_runtime_destroy(&rt);
}
