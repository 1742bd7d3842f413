/* Workers that talk nonsense (hostile.h): the driver drops what cannot be, counts it, and goes on; only what the hostile
 * one was to do may fail. */
#include "tests/runtime/harness.h"
#include <signal.h>

enum { N = 24 };

/* The worker at line 0 is hostile, those that come after it are not. */
static sk_runtime *start_hostile(const char *mode, const char *seed) {
    char text[64];
    snprintf(text, sizeof text, "%s:0:%s", mode, seed);
    setenv("SKIFF_HOSTILE", text, 1);
    return start();
}

static void expect_service(sk_runtime *rt, sk_actor actor) {
    for (int i = 0; i < 20; i++) {
        sk_ref ref = call_int(rt, actor, PROBE_ECHO, i);
        cr_assert_eq(take_int(rt, ref), i);
    }
}

/* Counters add up. */
static void check_and_leave(sk_runtime *rt) {
    AWAIT(seen()->n_running == 0 && seen()->n_queued == 0);
    cr_assert_eq(seen()->n_submitted, seen()->n_done + seen()->n_failed + seen()->n_canceled);
    leave(rt);
}

static void answer_all(const char *mode, uint64_t least_malformed) {
    sk_runtime *rt = start_hostile(mode, "1");
    sk_actor    actor = make(rt, "hostile", SK_PLACE_PROCESS), other = make(rt, "calm", SK_PLACE_PROCESS);
    sk_ref      object = put(rt, 100000);
    for (int round = 0; round < 3; round++) {
        sk_ref refs[N];
        for (int i = 0; i < N; i++) refs[i] = call_int(rt, actor, PROBE_ECHO, i);
        for (int i = 0; i < N; i++) cr_assert_eq(take_int(rt, refs[i]), i, "%s", mode);
        expect_service(rt, other);
    }
    cr_assert(probe_is_filled(value_of(rt, object)));
    cr_assert_eq(sk_actor_check(rt, actor, NULL, NULL), SK_OK);
    AWAIT(seen()->n_malformed >= least_malformed);
    cr_assert_lt(n_warnings, 40, "nonsense does not flood the log");
    cr_assert(least_malformed == 0 || strstr(last_warning, "hostile"), "%s", last_warning);
    drop(rt, object);
    sk_actor_join(rt, &actor, 1, READY_MS);
    AWAIT(seen()->store_used == 0);
    check_and_leave(rt);
}

Test(hostile, answers_that_come_twice_count_once) { answer_all("twice", 60); }
Test(hostile, answers_find_their_calls_in_any_order) { answer_all("reversed", 0); }
Test(hostile, messages_that_cannot_be_are_dropped) { answer_all("wrong", 1000); }

/* What it says of its own jobs cannot be trusted, but they end, and nobody else's are touched. */
static void end_all(const char *mode) {
    for (int seed = 1; seed <= 3; seed++) {
        char text[16];
        snprintf(text, sizeof text, "%d", seed);
        sk_runtime *rt = start_hostile(mode, text);
        sk_actor    actor = make(rt, "hostile", SK_PLACE_PROCESS), other = make(rt, "calm", SK_PLACE_PROCESS);
        sk_ref      refs[N];
        for (int i = 0; i < N; i++) refs[i] = call_int(rt, actor, PROBE_ECHO, i);
        for (int i = 0; i < N; i++) {
            sk_status status = sk_get(rt, refs[i], READY_MS, NULL, NULL);
            cr_assert_neq(status, SK_ETIMEOUT, "seed %d", seed);
            drop(rt, refs[i]);
        }
        expect_service(rt, other);
        cr_assert_gt(seen()->n_malformed, 20);
        sk_actor_join(rt, &actor, 1, READY_MS);
        AWAIT(seen()->store_used == 0);
        check_and_leave(rt);
    }
}

Test(hostile, answers_that_cannot_be_end_their_own_calls) { end_all("answers"); }
Test(hostile, random_messages_harm_nobody_else) { end_all("random"); }

/* What cannot be read any more is ended: its calls fail, with its name. */
static void is_ended(const char *mode) {
    sk_runtime *rt = start_hostile(mode, "1");
    sk_actor    actor = make(rt, "hostile", SK_PLACE_PROCESS), other = make(rt, "calm", SK_PLACE_PROCESS);
    int         pid = pid_of(rt, actor);
    sk_ref      refs[N];
    cr_assert_eq(take_int(rt, call_int(rt, actor, PROBE_ECHO, 7)), 7, "its first two jobs it does");
    for (int i = 0; i < N; i++) refs[i] = call_int(rt, actor, PROBE_ECHO, i);
    for (int i = 0; i < N; i++) {
        const char *msg = take_error(rt, refs[i], SK_EDEAD);
        cr_assert(strstr(msg, "hostile"), "%s: %s", mode, msg);
    }
    AWAIT(sk_actor_check(rt, actor, NULL, NULL) == SK_EDEAD);
    cr_assert(wait_until_ended(pid, READY_MS));
    expect_service(rt, other);
    check_and_leave(rt);
}

Test(hostile, one_that_damages_its_ring_is_ended) { is_ended("ring"); }
Test(hostile, one_that_scribbles_over_its_line_is_ended) { is_ended("scribble"); }
Test(hostile, one_that_leaves_unasked_is_dead) { is_ended("bye"); }

Test(hostile, one_that_never_speaks_can_be_ended) {
    sk_runtime *rt = start_hostile("silent", "1");
    sk_actor    actor = order(rt, (sk_actor_params){.class_name = "probe", .name = "mute", .placement = SK_PLACE_PROCESS});
    sk_actor    other = make(rt, "calm", SK_PLACE_PROCESS);
    sk_ref      ref = call_int(rt, actor, PROBE_ECHO, 1);
    sk_error    err = {0};
    cr_assert_eq(sk_actor_wait(rt, actor, 50, &err), SK_ETIMEOUT);
    cr_assert(strstr(err.msg, "mute"), "%s", err.msg);
    expect_service(rt, other);
    sk_actor_join(rt, &actor, 1, 50);
    take_error(rt, ref, SK_EDEAD);
    expect_service(rt, other);
    check_and_leave(rt);
}

/* A real worker with noise on its line: what it is asked ends in one way or the other, and the others do not care. */
Test(hostile, noise_on_a_line_stops_nobody_else) {
    for (int seed = 1; seed <= 3; seed++) {
        char text[16];
        snprintf(text, sizeof text, "%d", seed);
        sk_runtime *rt = start_hostile("noise", text);
        sk_ref      refs[N];
        sk_actor    noisy = make(rt, "noisy", SK_PLACE_PROCESS), other = make(rt, "calm", SK_PLACE_PROCESS);
        for (int i = 0; i < N; i++)
            refs[i] = i % 3 ? call_int(rt, noisy, PROBE_ECHO, i) : call_long(rt, noisy, PROBE_PUT, i * 2000);
        for (int i = 0; i < N; i++) {
            cr_assert_neq(sk_get(rt, refs[i], READY_MS, NULL, NULL), SK_ETIMEOUT, "seed %d", seed);
            drop(rt, refs[i]);
        }
        expect_service(rt, other);
        cr_assert_eq(take_long(rt, run_long(rt, "probe.fib", 6)), 8, "seed %d", seed);
        check_and_leave(rt);
    }
}
