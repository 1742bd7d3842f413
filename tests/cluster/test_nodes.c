/* Several hosts from end to end: a real head in this process, real `skiff node` processes on this machine, and what
 * must hold when they work, are told to stop, or are killed. */
#include "tests/cluster/cluster_rig.h"
#include "tests/runtime/harness.h"
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { MIB = 1024 * 1024, LOST_MS = 10000 /* the issue's */ };

static sk_ref run_remote(sk_runtime *rt, const char *function, const void *data, size_t size) {
    sk_arg arg = sk_by_value(data, size);
    return submit(rt, (sk_task){.function = function, .args = &arg, .n_args = 1, .placement = SK_PLACE_REMOTE});
}
static sk_ref remote_long(sk_runtime *rt, const char *function, int64_t value) {
    return run_remote(rt, function, &value, sizeof value);
}
static sk_ref remote_int(sk_runtime *rt, const char *function, int32_t value) {
    return run_remote(rt, function, &value, sizeof value);
}
static sk_ref remote_on(sk_runtime *rt, const char *function, sk_ref ref) {
    sk_arg arg = sk_by_ref(ref);
    return submit(rt, (sk_task){.function = function, .args = &arg, .n_args = 1, .placement = SK_PLACE_REMOTE});
}
static int remote_pid(sk_runtime *rt) {
    return take_int(rt, submit(rt, (sk_task){.function = "probe.pid", .placement = SK_PLACE_REMOTE}));
}

/* A head with n nodes. */
static sk_runtime *start_cluster(rig *it, int n, int *ret_pids) {
    static const sk_resource two = {"cpu", 2};
    sk_runtime *rt = rig_start_head(it, (sk_runtime_params){.resources = &two, .n_resources = 1});
    char        name[16];
    n_warnings = 0;
    sk_log_set_sink(count_warnings, NULL);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "n%d", i + 1);
        ret_pids[i] = rig_start_node(it, name, sk_runtime_endpoint(rt), NULL);
    }
    rig_await_hosts(rt, n);
    the_runtime = rt;
    return rt;
}

/* The program ends; so do its nodes, without a complaint. */
static void end_cluster(rig *it, sk_runtime *rt, const int *pids, int n) {
    if (view.board) sk_board_close(&view);
    view = (sk_board_view){0};
    the_runtime = NULL;
    rig_end_head(rt);
    for (int i = 0; i < n; i++) rig_expect_exit(it, pids[i], 0);
    rig_destroy(it);
}

static bool is_child_of(int pid, int parent) {
    int pids[64], n = rig_children(parent, pids, 64);
    for (int i = 0; i < n && i < 64; i++)
        if (pids[i] == pid) return true;
    return false;
}

/* ---- work ------------------------------------------------------------------------------------------------ */
Test(nodes, run_tasks_in_workers_of_their_own) {
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    cr_assert(is_child_of(remote_pid(rt), node), "it ran somewhere else");
    int64_t n = 41;
    cr_assert_eq(take_long(rt, run_remote(rt, "probe.add", &n, sizeof n)), 41);
    const char *msg = take_error(rt, run_remote(rt, "probe.fail", "on purpose", 10), SK_EENV);
    cr_assert(strstr(msg, "on purpose"), "%s", msg);
    end_cluster(it, rt, &node, 1);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

Test(nodes, carry_large_values_both_ways) {
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    sk_ref      given = put(rt, 10 * MIB), made = remote_long(rt, "probe.big", 10 * MIB);
    uint64_t    sum = probe_sum(value_of(rt, given));
    cr_assert(probe_is_filled(value_of(rt, made)) && value_of(rt, made).size == 10 * MIB);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq((uint64_t)take_long(rt, remote_on(rt, "probe.sum", given)), sum);
        cr_assert_eq((uint64_t)take_long(rt, remote_on(rt, "probe.sum", made)), sum);
    }
    drop(rt, given);
    drop(rt, made);
    end_cluster(it, rt, &node, 1);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
}

/* The head's row of a host, by name. */
static const volatile sk_board_host *row_of(const char *name) {
    const sk_board *board = look();
    for (int i = 1; i < SK_BOARD_HOSTS; i++)
        if (strcmp(board->hosts[i].name, name) == 0) return &board->hosts[i];
    cr_assert(false, "the head knows no host %s", name);
    return NULL;
}

static int32_t head_state(const char *name) { return row_of(name)->state; }

Test(nodes, get_a_value_once_however_many_use_it) {
    rig        *it = rig_create();
    int         nodes[2];
    sk_runtime *rt = start_cluster(it, 2, nodes);
    sk_ref      given = put(rt, 10 * MIB), refs[24];
    uint64_t    sum = probe_sum(value_of(rt, given));
    for (int i = 0; i < 24; i++) refs[i] = remote_on(rt, "probe.sum", given);
    for (int i = 0; i < 24; i++) cr_assert_eq((uint64_t)take_long(rt, refs[i]), sum);
    for (int i = 0; i < 2; i++) {
        uint64_t bytes = row_of(i ? "n2" : "n1")->bytes_out;
        cr_assert(bytes < 11 * MIB, "host %d was sent %llu bytes", i + 1, (unsigned long long)bytes);
    }
    drop(rt, given);
    end_cluster(it, rt, nodes, 2);
}

/* Everything a task can do, from inside of one on another host: put, get, submit, wait, cancel, actors, groups. */
Test(nodes, let_tasks_use_the_whole_runtime) {
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    uint8_t     bytes[3 * MIB / 2];
    probe_fill(bytes, sizeof bytes);
    cr_assert_eq((uint64_t)take_long(rt, remote_long(rt, "probe.put", sizeof bytes)),
                 probe_sum((sk_bytes){bytes, sizeof bytes}));
    cr_assert_eq(take_long(rt, remote_long(rt, "probe.fib", 9)), 34);
    cr_assert_eq(take_long(rt, remote_long(rt, "probe.spread", 100)), 4950);
    const char *msg = take_error(rt, run_remote(rt, "probe.fail_below", "deep down", 9), SK_EENV);
    cr_assert(strstr(msg, "deep down"), "%s", msg);
    char path[300];
    snprintf(path, sizeof path, "%s/cancelled", it->folder);
    cr_assert_eq(take_int(rt, run_remote(rt, "probe.cancel_below", path, strlen(path))), SK_ECANCELED);
    sk_actor actor = {0};
    take(rt, run_remote(rt, "probe.start", "made-elsewhere", 14), &actor, sizeof actor);
    drive_order order = {.actor = actor, .n = 200};
    cr_assert_eq(take_long(rt, run_remote(rt, "probe.drive", &order, sizeof order)), 201);
    cr_assert_eq(take_int(rt, run_remote(rt, "probe.stop", &actor, sizeof actor)), SK_EDEAD);
    end_cluster(it, rt, &node, 1);
}

Test(nodes, take_references_inside_of_data) {
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    sk_ref      inner = put(rt, 2 * MIB), small = put(rt, 100);
    uint64_t    sum = probe_sum(value_of(rt, inner)), small_sum = probe_sum(value_of(rt, small));
    cr_assert_eq((uint64_t)take_long(rt, run_remote(rt, "probe.read_ref", &inner, sizeof inner)), sum);
    cr_assert_eq((uint64_t)take_long(rt, run_remote(rt, "probe.read_ref", &small, sizeof small)), small_sum);
    drop(rt, inner);
    drop(rt, small);
    end_cluster(it, rt, &node, 1);
}

/* More than a message holds, each way: all arguments together lie in the store, the large ones among them once more. */
Test(nodes, carry_many_arguments_and_answers) {
    enum { N = 40 };
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    uint8_t     bytes[4000];
    sk_arg      args[N];
    sk_ref      refs[N], large = put(rt, MIB), ref;
    sk_error    err = {0};
    probe_fill(bytes, sizeof bytes);
    for (int i = 0; i < N; i++) args[i] = i % 10 == 9 ? sk_by_ref(large) : sk_by_value(bytes, sizeof bytes);
    ref = submit(rt, (sk_task){.function = "probe.sum", .args = args, .n_args = N, .placement = SK_PLACE_REMOTE});
    sk_bytes sums = value_of(rt, ref);
    cr_assert_eq(sums.size, N * sizeof(uint64_t));
    for (int i = 0; i < N; i++) {
        uint64_t sum, wanted = probe_sum(i % 10 == 9 ? value_of(rt, large) : (sk_bytes){bytes, sizeof bytes});
        memcpy(&sum, (const uint8_t *)sums.data + i * 8, sizeof sum);
        cr_assert_eq(sum, wanted, "argument %d", i);
    }
    drop(rt, ref);
    int32_t k = N;
    sk_arg  arg = sk_by_value(&k, sizeof k);
    sk_task task = {.function = "probe.many", .args = &arg, .n_args = 1, .n_returns = N, .placement = SK_PLACE_REMOTE};
    cr_assert_eq(sk_submit(rt, &task, refs, &err), SK_OK, "%s", err.msg);
    for (int i = 0; i < N; i++) {
        int32_t  got = 0;
        sk_bytes value = value_of(rt, refs[i]);
        cr_assert_eq(value.size, sizeof got + (size_t)i * 1000);
        memcpy(&got, value.data, sizeof got);
        cr_assert_eq(got, i);
        drop(rt, refs[i]);
    }
    drop(rt, large);
    end_cluster(it, rt, &node, 1);
}

/* ---- actors ---------------------------------------------------------------------------------------------- */
Test(nodes, host_actors_which_answer_in_order) {
    enum { N = 2000 };
    rig        *it = rig_create();
    int         nodes[2];
    sk_runtime *rt = start_cluster(it, 2, nodes);
    sk_actor    actor = make(rt, "far", SK_PLACE_REMOTE);
    sk_ref      refs[N];
    cr_assert(is_child_of(pid_of(rt, actor), nodes[0]) || is_child_of(pid_of(rt, actor), nodes[1]));
    for (int i = 0; i < N; i++) refs[i] = call(rt, actor, PROBE_COUNT, NULL, 0);
    for (int i = 0; i < N; i++) cr_assert_eq(take_int(rt, refs[i]), i);
    sk_ref big = call_long(rt, actor, PROBE_BIG, 5 * MIB);
    cr_assert(probe_is_filled(value_of(rt, big)) && value_of(rt, big).size == 5 * MIB);
    drop(rt, big);
    end_cluster(it, rt, nodes, 2);
}

Test(nodes, keep_an_actors_state_at_the_head) {
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    int64_t     start[2] = {100, 200000}; /* the state is large: it lies in the store */
    sk_arg      args[2] = {sk_by_value(&start[0], 8), sk_by_value(&start[1], 8)};
    sk_actor    actor = make_with(rt, (sk_actor_params){.class_name = "counter", .args = args, .n_args = 2,
                                                        .placement = SK_PLACE_REMOTE, .max_restarts = 3});
    cr_assert_eq(take_long(rt, call_long(rt, actor, COUNTER_ADD, 11)), 111);
    int pid = pid_of(rt, actor);
    kill(pid, SIGKILL);
    AWAIT(pid_of(rt, actor) != pid && pid_of(rt, actor) != 0);
    cr_assert_eq(take_long(rt, call_long(rt, actor, COUNTER_ADD, 1)), 112, "it began anew");
    end_cluster(it, rt, &node, 1);
}

/* ---- ends ------------------------------------------------------------------------------------------------ */
Test(nodes, can_be_told_to_end_a_task) {
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    char        path[300];
    snprintf(path, sizeof path, "%s/asked", it->folder);
    sk_ref asked = run_remote(rt, "probe.cancellable", path, strlen(path));
    AWAIT(file_size(path) == 0);
    sk_cancel(rt, asked, SK_CANCEL_ASK);
    take_error(rt, asked, SK_ECANCELED);
    AWAIT(file_size(path) == 1);

    snprintf(path, sizeof path, "%s/killed", it->folder);
    sk_ref killed = run_remote(rt, "probe.cancellable", path, strlen(path));
    AWAIT(file_size(path) == 0);
    sk_cancel(rt, killed, SK_CANCEL_KILL);
    take_error(rt, killed, SK_ECANCELED);

    int32_t ms = READY_MS;
    sk_arg  arg = sk_by_value(&ms, sizeof ms);
    sk_ref  late = submit(rt, (sk_task){.function = "probe.sleep", .args = &arg, .n_args = 1, .timeout_ms = 100,
                                        .placement = SK_PLACE_REMOTE});
    take_error(rt, late, SK_ETIMEOUT);
    cr_assert_gt(remote_pid(rt), 0);
    cr_assert_eq(file_size(path), 0, "the killed one saw that it was cancelled");
    end_cluster(it, rt, &node, 1);
}

Test(nodes, tell_of_a_worker_that_dies_and_its_task_runs_again) {
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    flaky_order order = {.how = FLAKY_EXITS, .n = 2};
    snprintf(order.path, sizeof order.path, "%.200s/flaky", it->folder);
    cr_assert_eq(take_int(rt, run_remote(rt, "probe.flaky", &order, sizeof order)), 3);
    sk_ref slow = remote_int(rt, "probe.sleep", 300);
    int    pids[64], n = 0;
    AWAIT((n = rig_children(node, pids, 64)) > 0);
    usleep(50000);
    for (int i = 0; i < n; i++) kill(pids[i], SIGKILL);
    cr_assert_eq(take_int(rt, slow), 300);
    int32_t status = 7;
    sk_arg  arg = sk_by_value(&status, sizeof status);
    const char *msg = take_error(rt, submit(rt, (sk_task){.function = "probe.exit", .args = &arg, .n_args = 1,
                                                          .max_retries = -1, .placement = SK_PLACE_REMOTE}), SK_EDEAD);
    cr_assert(strstr(msg, "exited with status 7"), "%s", msg);
    end_cluster(it, rt, &node, 1);
}

Test(nodes, are_given_up_when_killed_and_their_tasks_run_elsewhere) {
    enum { N = 8 };
    rig        *it = rig_create();
    int         nodes[2], children[64];
    sk_runtime *rt = start_cluster(it, 2, nodes);
    sk_ref      refs[N];
    for (int i = 0; i < N; i++) refs[i] = remote_int(rt, "probe.sleep", 1000);
    int n = 0;
    AWAIT((n = rig_children(nodes[0], children, 64)) >= 2);
    int64_t killed_ns = sk_clock_now_ns();
    kill(nodes[0], SIGKILL);
    cr_assert(rig_await_ended(children, n, LOST_MS), "its workers outlive it");
    cr_assert_eq(rig_await_exit(it, nodes[0]), -SIGKILL);
    AWAIT(head_state("n1") == SK_HOST_LOST);
    cr_assert_lt(sk_clock_now_ns() - killed_ns, LOST_MS * INT64_C(1000000));
    for (int i = 0; i < N; i++) cr_assert_eq(take_int(rt, refs[i]), 1000);
    rig_await_hosts(rt, 1);
    cr_assert(strstr((const char *)row_of("n1")->end, "was lost"), "%s", (const char *)row_of("n1")->end);
    end_cluster(it, rt, nodes + 1, 1);
}

/* A host that was silent for too long comes back: it is told so, and joins anew without its old workers. */
Test(nodes, join_anew_after_they_were_given_up) {
    rig        *it = rig_create();
    int         node, children[64];
    sk_runtime *rt = start_cluster(it, 1, &node);
    int         before = remote_pid(rt), n = rig_children(node, children, 64);
    kill(node, SIGSTOP);
    sk_ref waiting = submit(rt, (sk_task){.function = "probe.pid", .placement = SK_PLACE_REMOTE});
    AWAIT(head_state("n1") == SK_HOST_LOST);
    kill(node, SIGCONT);
    int after = take_int(rt, waiting);
    cr_assert(after != before && is_child_of(after, node));
    cr_assert(rig_await_ended(children, n, LOST_MS), "old workers live on");
    end_cluster(it, rt, &node, 1);
}

Test(nodes, leave_when_they_are_told_to_end) {
    rig        *it = rig_create();
    int         nodes[2], children[64];
    sk_runtime *rt = start_cluster(it, 2, nodes);
    sk_ref      refs[4];
    for (int i = 0; i < 4; i++) refs[i] = remote_int(rt, "probe.sleep", 1000);
    int n = 0;
    AWAIT((n = rig_children(nodes[0], children, 64)) >= 2);
    kill(nodes[0], SIGTERM);
    rig_expect_exit(it, nodes[0], 130);
    cr_assert(rig_await_ended(children, n, LOST_MS));
    AWAIT(head_state("n1") == SK_HOST_LEFT);
    const char *end = (const char *)row_of("n1")->end;
    cr_assert(strstr(end, "was told to end by SIGTERM"), "%s", end);
    for (int i = 0; i < 4; i++) cr_assert_eq(take_int(rt, refs[i]), 1000);
    end_cluster(it, rt, nodes + 1, 1);
}

/* The head in a process of its own, so that it can be killed. */
static int start_head_process(rig *it, char *ret_endpoint, size_t size) {
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    fflush(NULL);
    int pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        sk_runtime *rt = rig_start_head(it, (sk_runtime_params){0});
        dprintf(fds[1], "%s\n", sk_runtime_endpoint(rt));
        close(fds[1]);
        int n = 0;
        if (sk_runtime_wait_hosts(rt, 2, READY_MS, &n, NULL) != SK_OK) _exit(1);
        int64_t size_of_each = 3000000;
        sk_arg  arg = sk_by_value(&size_of_each, sizeof size_of_each);
        sk_task task = {.function = "probe.big", .args = &arg, .n_args = 1, .placement = SK_PLACE_REMOTE};
        for (;;) { /* busy until it is killed */
            sk_ref refs[8] = {{0}};
            for (int i = 0; i < 8; i++)
                if (sk_submit(rt, &task, &refs[i], NULL) != SK_OK) _exit(1);
            if (sk_get_all(rt, refs, 8, READY_MS, NULL) != SK_OK) _exit(1);
            for (int i = 0; i < 8; i++) sk_release(rt, &refs[i]);
        }
    }
    close(fds[1]);
    FILE *in = fdopen(fds[0], "r");
    cr_assert(in && fgets(ret_endpoint, (int)size, in));
    ret_endpoint[strcspn(ret_endpoint, "\n")] = 0;
    fclose(in);
    return pid;
}

Test(nodes, end_with_a_head_that_is_killed) {
    rig *it = rig_create();
    char endpoint[128];
    int  head = start_head_process(it, endpoint, sizeof endpoint), nodes[2], children[2][64], n[2] = {0, 0};
    nodes[0] = rig_start_node(it, "n1", endpoint, NULL);
    nodes[1] = rig_start_node(it, "n2", endpoint, NULL);
    for (int i = 0; i < 2; i++) AWAIT((n[i] = rig_children(nodes[i], children[i], 64)) > 0);
    int64_t killed_ns = sk_clock_now_ns();
    kill(head, SIGKILL);
    cr_assert_eq(waitpid(head, NULL, 0), head);
    for (int i = 0; i < 2; i++) {
        rig_expect_exit(it, nodes[i], 1);
        cr_assert(rig_await_ended(children[i], n[i], 0), "workers outlive their node");
    }
    cr_assert_lt(sk_clock_now_ns() - killed_ns, LOST_MS * INT64_C(1000000));
    rig_destroy(it);
}

Test(nodes, wait_for_another_head_if_they_are_told_to) {
    rig        *it = rig_create();
    const char *args[] = {"--rejoin", NULL};
    char        endpoint[128];
    int         head = start_head_process(it, endpoint, sizeof endpoint);
    int         node = rig_start_node(it, "n1", endpoint, args), children[64];
    (void)rig_start_node(it, "n2", endpoint, NULL);
    AWAIT(rig_children(node, children, 64) > 0);
    kill(head, SIGKILL);
    cr_assert_eq(waitpid(head, NULL, 0), head);
    rig_await_log(it, node, "waits for another one");
    cr_assert_eq(rig_children(node, children, 64), 0);
    sk_cluster_params cluster = {.bind = endpoint, .key_path = it->key_path, .build = RIG_BUILD};
    sk_runtime_params params = {.cluster = &cluster};
    sk_runtime       *rt = NULL;
    sk_error          err = {0};
    cr_assert_eq(sk_runtime_create(&params, &rt, &err), SK_OK, "%s", err.msg);
    rig_await_hosts(rt, 1);
    sk_runtime_destroy(&rt);
    rig_expect_exit(it, node, 0);
    rig_destroy(it);
}

/* ---- who may join ---------------------------------------------------------------------------------------- */
Test(nodes, with_another_key_are_refused_while_others_work) {
    rig        *it = rig_create(), *other = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    const char *args[] = {"--wait", "3", "--key", other->key_path, NULL};
    int         stranger = rig_start_node(it, "stranger", sk_runtime_endpoint(rt), args);
    cr_assert_gt(remote_pid(rt), 0);
    rig_expect_exit(it, stranger, 1);
    int n = 0;
    cr_assert_eq(sk_runtime_wait_hosts(rt, 0, 0, &n, NULL), SK_OK);
    cr_assert_eq(n, 1);
    cr_assert_gt(seen()->n_refused, 0);
    cr_assert_gt(remote_pid(rt), 0);
    rig_destroy(other);
    end_cluster(it, rt, &node, 1);
}

Test(nodes, of_another_build_are_refused_and_both_are_named) {
    rig        *it = rig_create();
    int         node;
    sk_runtime *rt = start_cluster(it, 1, &node);
    const char *args[] = {"--build", "last year's", NULL};
    int         old = rig_start_node(it, "old", sk_runtime_endpoint(rt), args);
    rig_await_log(it, old, "last year's");
    rig_await_log(it, old, RIG_BUILD);
    rig_expect_exit(it, old, 1);
    end_cluster(it, rt, &node, 1);
}

Test(nodes, without_the_heads_plugin_are_refused_by_its_name) {
    rig        *it = rig_create();
    char        path[400], command[1200];
    const char *build = getenv("SKIFF_BUILD_DIR");
    snprintf(path, sizeof path, "%s/plug.so", it->folder);
    snprintf(command, sizeof command, "cp '%s/tests/runtime/plug.so' '%s'", build, path);
    cr_assert_eq(system(command), 0);
    const char *plugins[] = {path};
    sk_runtime *rt = rig_start_head(it, (sk_runtime_params){.plugins = plugins, .n_plugins = 1});
    const char *args[] = {"--worker", getenv("SKIFF_BIN"), NULL}; /* the tests' own worker program takes no plugins */
    int         good = rig_start_node(it, "good", sk_runtime_endpoint(rt), args);
    rig_await_hosts(rt, 1);
    int64_t seven = 7;
    cr_assert_eq(take_long(rt, run_remote(rt, "plug.add", &seven, sizeof seven)), 7);
    /* The file is replaced, as a later build of it does: the old one stays with those that have it open. */
    snprintf(command, sizeof command, "rm '%s' && cp '%s/tests/runtime/plug_future.so' '%s'", path, build, path);
    cr_assert_eq(system(command), 0);
    int other = rig_start_node(it, "other", sk_runtime_endpoint(rt), NULL);
    rig_await_log(it, other, "has another content than the head's");
    rig_await_log(it, other, path);
    rig_expect_exit(it, other, 1);
    cr_assert_eq(unlink(path), 0);
    int none = rig_start_node(it, "none", sk_runtime_endpoint(rt), NULL);
    rig_await_log(it, none, "is not on this host");
    rig_expect_exit(it, none, 1);
    rig_end_head(rt);
    rig_expect_exit(it, good, 0);
    rig_destroy(it);
}

Test(nodes, a_head_whose_port_is_taken_says_so) {
    rig              *it = rig_create();
    sk_runtime       *rt = rig_start_head(it, (sk_runtime_params){0}), *second = NULL;
    sk_cluster_params cluster = {.bind = sk_runtime_endpoint(rt), .key_path = it->key_path, .build = RIG_BUILD};
    sk_runtime_params params = {.cluster = &cluster};
    sk_error          err = {0};
    cr_assert_eq(sk_runtime_create(&params, &second, &err), SK_EIO);
    cr_assert(strstr(err.msg, cluster.bind) && strstr(err.msg, "in use"), "%s", err.msg);
    rig_end_head(rt);
    rig_destroy(it);
}

/* ---- the command line ------------------------------------------------------------------------------------ */
Test(nodes, that_find_no_head_say_where_they_looked) {
    rig        *it = rig_create();
    const char *args[] = {"--wait", "1", NULL};
    int         node = rig_start_node(it, "n1", "tcp://127.0.0.1:1", args);
    rig_await_log(it, node, "no head has answered at tcp://127.0.0.1:1");
    rig_expect_exit(it, node, 1);
    rig_destroy(it);
}

Test(nodes, with_a_wrong_command_line_are_told_what_is_wrong) {
    static const struct {
        const char *args[4], *said;
    } cases[] = {
        {{"--key", "/no/such/key"}, "/no/such/key"},   {{"--cpus", "many"}, "--cpus"},
        {{"--resource", "licence"}, "NAME=AMOUNT"},    {{"--head"}, "one of --join and --head"},
        {{"--join", "nowhere"}, "nowhere"},            {{"--hosts", "3"}, "belong to --head"},
        {{"--", "train"}, "takes no command"},         {{"--name", "a\tb"}, "name"},
    };
    rig *it = rig_create();
    for (int i = 0; i < SK_COUNT(cases); i++) {
        int node = rig_start_node(it, "n1", "tcp://127.0.0.1:1", cases[i].args);
        rig_await_log(it, node, cases[i].said);
        rig_expect_exit(it, node, 2);
    }
    rig_destroy(it);
}

/* A port that is free now. */
static int free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          size = sizeof address;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* Words of a command line as a head prints it: "  skiff node --join ... --key ..." */
static int split_invitation(char *text, const char **ret_argv, int max) {
    char *line = strstr(text, "  skiff node --join "), *rest = NULL;
    int   n = 0;
    cr_assert(line, "no command to type elsewhere in:\n%s", text);
    line[strcspn(line, "\n")] = 0;
    for (char *word = strtok_r(line, " ", &rest); word && n < max - 1; word = strtok_r(NULL, " ", &rest))
        ret_argv[n++] = word;
    ret_argv[n] = NULL;
    return n;
}

Test(nodes, of_a_training_are_told_what_to_type) {
    static const char config[] = "algorithm: ppo\nenv: CartPole-v1\n"
                                 "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 2, "
                                 "rollout_fragment_length: 16}\nmodel: {fcnet_hiddens: [8]}\n"
                                 "training: {num_epochs: 1, minibatch_size: 32}\n"
                                 "stop: {num_env_steps_sampled_lifetime: 1280}\n";
    rig  *it = rig_create();
    char  path[300], bind[64], text[4096];
    const char *bin = getenv("SKIFF_BIN"), *words[16];
    snprintf(path, sizeof path, "%s/tiny.yaml", it->folder);
    snprintf(bind, sizeof bind, "tcp://127.0.0.1:%d", free_port());
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(config, file) >= 0 && fclose(file) == 0);
    const char *argv[] = {bin, "node", "--head", "--bind", bind, "--hosts", "1", "--key", it->key_path, "--", "train",
                          "tiny.yaml", "--run-dir", "run", NULL};
    int head = rig_start(it, "head", argv);
    rig_await_log(it, head, bind);
    snprintf(text, sizeof text, "%s", rig_log(it, head));
    cr_assert_geq(split_invitation(text, words, 16), 6);
    words[0] = bin;
    int node = rig_start(it, "node", words);
    rig_expect_exit(it, head, 0);
    rig_expect_exit(it, node, 0);
    snprintf(path, sizeof path, "%s/run/result.json", it->folder);
    cr_assert_gt(file_size(path), 0);
    rig_destroy(it);
}

Test(nodes, a_head_wants_a_port_that_can_be_told) {
    rig        *it = rig_create();
    const char *binds[] = {"tcp://127.0.0.1:0", "127.0.0.1:77", "tcp://:77", "tcp://127.0.0.1:*"};
    for (int i = 0; i < SK_COUNT(binds); i++) {
        const char *argv[] = {getenv("SKIFF_BIN"), "node", "--head", "--bind", binds[i], "--key", it->key_path, "--",
                              "train", "tiny.yaml", NULL};
        int         head = rig_start(it, "head", argv);
        rig_await_log(it, head, "wanted tcp://ADDRESS:PORT");
        rig_expect_exit(it, head, 2);
    }
    rig_destroy(it);
}
