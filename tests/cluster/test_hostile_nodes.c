/* Workers on another host that talk nonsense (tests/runtime/hostile.h): their node and their head go on, only what the
 * hostile one was to do may fail, and nothing stays taken. */
#include "tests/cluster/cluster_rig.h"
#include "tests/runtime/harness.h"

enum { N = 24 };

static void expect_service(sk_runtime *rt, sk_actor actor) {
    for (int i = 0; i < 20; i++) cr_assert_eq(take_int(rt, call_int(rt, actor, PROBE_ECHO, i)), i);
    sk_ref big = call_long(rt, actor, PROBE_BIG, 300000);
    cr_assert(probe_is_filled(value_of(rt, big)));
    drop(rt, big);
}

/* The worker on line 0, the first that is started, is hostile; the next one is not. */
static void expect_others_to_go_on(const char *mode, int n_seeds) {
    for (int seed = 1; seed <= n_seeds; seed++) {
        rig        *it = rig_create();
        sk_runtime *rt = rig_start_head(it, (sk_runtime_params){.stop_timeout_ms = 3000});
        char        text[64];
        sk_ref      refs[N];
        the_runtime = rt;
        snprintf(text, sizeof text, "%s:0:%d", mode, seed);
        setenv("SKIFF_HOSTILE", text, 1);
        int node = rig_start_node(it, "n1", sk_runtime_endpoint(rt), NULL);
        rig_await_hosts(rt, 1);
        sk_actor_params params = {.class_name = "probe", .name = "hostile", .placement = SK_PLACE_REMOTE};
        sk_actor        actor = order(rt, params), other;
        params.name = "calm";
        other = make_with(rt, params);
        sk_ref object = put(rt, 100000);
        for (int i = 0; i < N; i++) refs[i] = call_int(rt, actor, PROBE_ECHO, i);
        expect_service(rt, other);
        if (strcmp(mode, "silent") == 0) sk_actor_kill(rt, actor, SK_KILL_FOR_GOOD);
        for (int i = 0; i < N; i++) {
            sk_error  err = {0};
            sk_status status = sk_get(rt, refs[i], READY_MS, NULL, &err);
            cr_assert_neq(status, SK_ETIMEOUT, "%s, seed %d, call %d: %s", mode, seed, i, err.msg);
            drop(rt, refs[i]);
        }
        expect_service(rt, other);
        cr_assert(probe_is_filled(value_of(rt, object)));
        drop(rt, object);
        sk_actor_join(rt, &actor, 1, 1000);
        AWAIT(seen()->store_used == 0);
        int n = 0;
        cr_assert_eq(sk_runtime_wait_hosts(rt, 0, 0, &n, NULL), SK_OK);
        cr_assert_eq(n, 1, "%s: the host is gone; it said:\n%s", mode, rig_log(it, node));
        leave(rt);
        rig_expect_exit(it, node, 0);
        rig_destroy(it);
    }
}

Test(hostile_nodes, answers_that_come_twice_count_once) { expect_others_to_go_on("twice", 1); }
Test(hostile_nodes, answers_find_their_calls_in_any_order) { expect_others_to_go_on("reversed", 1); }
Test(hostile_nodes, messages_that_cannot_be_are_dropped) { expect_others_to_go_on("wrong", 1); }
Test(hostile_nodes, answers_that_cannot_be_harm_nobody_else) { expect_others_to_go_on("answers", 1); }
Test(hostile_nodes, random_messages_harm_nobody_else) { expect_others_to_go_on("random", 3); }
Test(hostile_nodes, a_damaged_ring_harms_nobody_else) { expect_others_to_go_on("ring", 1); }
Test(hostile_nodes, a_scribbled_line_harms_nobody_else) { expect_others_to_go_on("scribble", 2); }
Test(hostile_nodes, one_that_leaves_unasked_harms_nobody_else) { expect_others_to_go_on("bye", 1); }
Test(hostile_nodes, one_that_never_speaks_can_be_ended) { expect_others_to_go_on("silent", 1); }
Test(hostile_nodes, noise_on_a_line_harms_nobody_else) { expect_others_to_go_on("noise", 3); }
