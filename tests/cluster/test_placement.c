/* Which host gets what: a real head in this process, real nodes on this machine. */
#include "tests/cluster/cluster_rig.h"
#include "tests/runtime/harness.h"
#include <signal.h>

enum { MIB = 1024 * 1024, NODES_MAX = 4 };

/* ---- a cluster ------------------------------------------------------------------------------------------------- */
static rig        *the_rig;
static sk_runtime *rt;
static int         nodes[NODES_MAX]; /* pids */
static int         n_nodes;

/* The head alone. */
static void open_cluster(void) {
    static const sk_resource two = {"cpu", 2};
    the_rig = rig_create();
    n_nodes = 0;
    rt = rig_start_head(the_rig, (sk_runtime_params){.resources = &two, .n_resources = 1});
    sk_log_set_sink(count_warnings, NULL);
    the_runtime = rt;
}

/* One host more, with so many cpus and (nullable) "NAME=AMOUNT". */
static void add_node(int n_cpus, const char *resource) {
    char        name[16], cpus[16];
    const char *args[] = {"--cpus", cpus, resource ? "--resource" : NULL, resource, NULL};
    snprintf(name, sizeof name, "n%d", n_nodes + 1);
    snprintf(cpus, sizeof cpus, "%d", n_cpus);
    nodes[n_nodes++] = rig_start_node(the_rig, name, sk_runtime_endpoint(rt), args);
}

static void start_cluster(int n, int n_cpus) {
    open_cluster();
    for (int i = 0; i < n; i++) {
        add_node(n_cpus, NULL);
        rig_await_hosts(rt, i + 1); /* n1 is host 1, and so on */
    }
}

static void end_cluster(void) {
    if (view.board) sk_board_close(&view);
    view = (sk_board_view){0};
    the_runtime = NULL;
    rig_end_head(rt);
    rig_destroy(the_rig);
}

/* The node (0: n1) whose worker that process is; -1: of none. */
static int node_of(int pid) {
    for (int i = 0; i < n_nodes; i++) {
        int pids[64], n = rig_children(nodes[i], pids, 64);
        for (int k = 0; k < n && k < 64; k++)
            if (pids[k] == pid) return i;
    }
    return -1;
}

/* ---- asking ---------------------------------------------------------------------------------------------------- */
static sk_task far_task(const char *function, const sk_arg *args, int n_args) {
    return (sk_task){.function = function, .args = args, .n_args = n_args, .placement = SK_PLACE_REMOTE};
}

static sk_ref sleep_far(int32_t ms) {
    sk_arg arg = sk_by_value(&ms, sizeof ms);
    return submit(rt, far_task("probe.sleep", &arg, 1));
}

/* Where a task with these arguments runs. */
static int node_for(const sk_arg *args, int n_args) {
    return node_of(take_int(rt, submit(rt, far_task("probe.pid", args, n_args))));
}

/* An actor in a bundle, or (group {0}) anywhere; its node. */
static sk_actor far_actor(const char *name, sk_group group, int bundle, double cpu) {
    sk_resource share = {"cpu", cpu};
    return order(rt, (sk_actor_params){.class_name = "probe", .name = name, .placement = SK_PLACE_REMOTE,
                                       .group = group, .bundle = bundle, .resources = &share, .n_resources = 1,
                                       .max_restarts = -1});
}
static int node_of_actor(sk_actor actor) {
    sk_error err = {0};
    cr_assert_eq(sk_actor_wait(rt, actor, READY_MS, &err), SK_OK, "%s", err.msg);
    return node_of(take_int(rt, call(rt, actor, PROBE_PID, NULL, 0)));
}

static sk_group reserve(double cpu, int n, sk_strategy strategy) {
    sk_resource share = {"cpu", cpu};
    sk_bundle   bundles[8];
    sk_group    group = {0};
    sk_error    err = {0};
    for (int i = 0; i < n; i++) bundles[i] = (sk_bundle){&share, 1};
    cr_assert_eq(sk_group_create(rt, bundles, n, strategy, &group, &err), SK_OK, "%s", err.msg);
    return group;
}
static const char *group_refused(double cpu, int n, sk_strategy strategy) {
    static sk_error err;
    sk_resource     share = {"cpu", cpu};
    sk_bundle       bundles[8];
    sk_group        group = {0};
    err = (sk_error){0};
    for (int i = 0; i < n; i++) bundles[i] = (sk_bundle){&share, 1};
    cr_assert_eq(sk_group_create(rt, bundles, n, strategy, &group, &err), SK_ELIMIT, "%s", err.msg);
    return err.msg;
}

/* Which nodes the bundles lie on, by an actor in each: bit of each node. Ends them again. */
static unsigned nodes_of_group(sk_group group, int n) {
    sk_actor actors[8];
    unsigned mask = 0;
    for (int i = 0; i < n; i++) actors[i] = far_actor(NULL, group, i, 0.5);
    for (int i = 0; i < n; i++) {
        int at = node_of_actor(actors[i]);
        cr_assert_geq(at, 0);
        mask |= 1u << at;
    }
    sk_actor_join(rt, actors, n, READY_MS);
    return mask;
}

/* ---- never ----------------------------------------------------------------------------------------------------- */
Test(placement, is_refused_at_once_where_it_can_never_be) {
    sk_resource many = {"cpu", 64}, npu = {"npu", 1};
    open_cluster();
    const char *msg = refused(rt, far_task("probe.pid", NULL, 0), SK_ELIMIT);
    cr_assert(strstr(msg, "probe.pid: asks for 1 cpu, and no host has joined yet; hosts can join at "), "%s", msg);
    cr_assert(strstr(msg, sk_runtime_endpoint(rt)), "%s", msg);
    sk_actor_params params = {.class_name = "probe", .name = "far", .placement = SK_PLACE_REMOTE};
    sk_actor        actor;
    sk_error        err = {0};
    cr_assert_eq(sk_actor_create(rt, &params, &actor, &err), SK_ELIMIT);
    cr_assert(strstr(err.msg, "far: no host has joined yet; hosts can join at tcp://"), "%s", err.msg);
    msg = group_refused(1, 2, SK_SPREAD);
    cr_assert(strstr(msg, "no host has joined yet; hosts can join at tcp://"), "%s", msg);

    add_node(2, NULL);
    add_node(3, NULL);
    rig_await_hosts(rt, 2);
    sk_task task = far_task("probe.pid", NULL, 0);
    task.n_resources = 1;
    task.resources = &many;
    cr_assert_str_eq(refused(rt, task, SK_ELIMIT), "probe.pid: asks for 64 cpu, the most that one host has is 3");
    task.resources = &npu;
    msg = refused(rt, task, SK_ENOTFOUND);
    cr_assert(strstr(msg, "asks for 1 npu, and no host that has joined has any (cpu, "), "%s", msg);
    msg = group_refused(1, 3, SK_STRICT_SPREAD);
    cr_assert(strstr(msg, "asks for 3 hosts (strict spread, 3 bundles), there are 2"), "%s", msg);
    cr_assert(strstr(group_refused(2, 2, SK_STRICT_PACK), "one host for all of its 2 bundles"));
    cr_assert(strstr(group_refused(2, 3, SK_PACK), "asks for 6 cpu, there are 5 in all on 2 hosts"));
    end_cluster();
}

Test(placement, on_other_hosts_wants_a_cluster) {
    static const sk_module *const modules[] = {&probe_module};
    sk_runtime_params             params = {.modules = modules, .n_modules = 1};
    sk_runtime                   *alone = start(), *threads = NULL;
    const char                   *msg = refused(alone, far_task("probe.pid", NULL, 0), SK_EUNSUPPORTED);
    cr_assert(strstr(msg, "this runtime has no cluster"), "%s", msg);
    sk_actor_params actor = {.class_name = "probe", .placement = SK_PLACE_REMOTE};
    sk_actor        made;
    cr_assert_eq(sk_actor_create(alone, &actor, &made, NULL), SK_EUNSUPPORTED);
    finish(alone);
    cr_assert_eq(sk_runtime_create(&params, &threads, NULL), SK_OK);
    msg = refused(threads, far_task("probe.pid", NULL, 0), SK_EUNSUPPORTED);
    cr_assert(strstr(msg, "belongs to this program alone"), "%s", msg);
    sk_task odd = far_task("probe.pid", NULL, 0);
    odd.placement = (sk_placement)9;
    cr_assert(strstr(refused(threads, odd, SK_EINVAL), "got 9"));
    sk_runtime_destroy(&threads);
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */
Test(placement, of_tasks_waits_for_a_share_until_a_host_joins) {
    start_cluster(1, 1);
    sk_actor busy = far_actor("busy", (sk_group){0}, -1, 1);
    cr_assert_eq(node_of_actor(busy), 0);
    sk_ref waiting = sleep_far(10);
    cr_assert_eq(sk_get(rt, waiting, 200, NULL, NULL), SK_ETIMEOUT);
    add_node(1, NULL);
    cr_assert_eq(take_int(rt, waiting), 10);
    end_cluster();
}

Test(placement, of_actors_and_groups_waits_for_a_share_until_a_host_joins) {
    start_cluster(1, 1);
    sk_actor busy = far_actor("busy", (sk_group){0}, -1, 1), actor = far_actor("later", (sk_group){0}, -1, 1);
    cr_assert_eq(node_of_actor(busy), 0);
    sk_group group = reserve(1, 1, SK_PACK);
    cr_assert_eq(sk_group_wait(rt, group, 200, NULL), SK_ETIMEOUT);
    cr_assert_eq(sk_actor_wait(rt, actor, 0, NULL), SK_ETIMEOUT);
    add_node(2, NULL);
    cr_assert_eq(sk_group_wait(rt, group, READY_MS, NULL), SK_OK);
    cr_assert_eq(node_of_actor(actor), 1);
    end_cluster();
}

Test(placement, of_a_lost_hosts_tasks_waits_for_another_one) {
    start_cluster(1, 1);
    sk_ref refs[3];
    for (int i = 0; i < 3; i++) refs[i] = sleep_far(200);
    kill(nodes[0], SIGKILL);
    AWAIT(seen()->n_hosts == 0);
    cr_assert_eq(sk_get(rt, refs[2], 50, NULL, NULL), SK_ETIMEOUT);
    add_node(1, NULL);
    for (int i = 0; i < 3; i++) cr_assert_eq(take_int(rt, refs[i]), 200);
    end_cluster();
}

/* ---- near the arguments ---------------------------------------------------------------------------------------- */
Test(placement, is_where_the_arguments_are) {
    sk_resource lab = {"lab", 1};
    open_cluster();
    add_node(4, NULL);
    add_node(2, "lab=1");
    rig_await_hosts(rt, 2);
    cr_assert_eq(node_for(NULL, 0), 0, "the most free cpu");

    sk_ref  large = put(rt, 8 * MIB), other = put(rt, MIB);
    sk_arg  args[] = {sk_by_ref(large), sk_by_ref(other)};
    sk_task task = far_task("probe.sum", &args[0], 1);
    task.resources = &lab;
    task.n_resources = 1;
    uint64_t sum = probe_sum(value_of(rt, large));
    cr_assert_eq((uint64_t)take_long(rt, submit(rt, task)), sum); /* so a copy lies on n2 */
    for (int i = 0; i < 4; i++) cr_assert_eq(node_for(&args[0], 1), 1, "it ran away from its argument");
    cr_assert_eq(node_for(&args[1], 1), 0, "which lies nowhere");
    cr_assert_eq(node_for(args, 2), 1, "8 MiB here, 1 MiB there");
    cr_assert_eq((uint64_t)take_long(rt, submit(rt, far_task("probe.sum", &args[0], 1))), sum);

    /* Actors too, by the arguments of their create. */
    sk_actor_params params = {.class_name = "probe", .placement = SK_PLACE_REMOTE, .args = args, .n_args = 1};
    cr_assert_eq(node_of_actor(order(rt, params)), 1);
    params.n_args = 0;
    cr_assert_eq(node_of_actor(order(rt, params)), 0);

    /* It does not wait for that host. */
    int32_t ms = READY_MS;
    sk_arg  long_args[] = {sk_by_value(&ms, sizeof ms), sk_by_ref(large)};
    sk_ref  busy[2];
    for (int i = 0; i < 2; i++) busy[i] = submit(rt, far_task("probe.sleep", long_args, 2));
    cr_assert_eq(node_for(&args[0], 1), 0);
    for (int i = 0; i < 2; i++) {
        sk_cancel(rt, busy[i], SK_CANCEL_KILL);
        drop(rt, busy[i]);
    }
    drop(rt, large);
    drop(rt, other);
    end_cluster();
}

Test(placement, is_not_where_the_arguments_could_never_be) {
    const char *small[] = {"--cpus", "4", "--store", "1048576", NULL};
    open_cluster();
    nodes[n_nodes++] = rig_start_node(the_rig, "n1", sk_runtime_endpoint(rt), small);
    add_node(2, NULL);
    rig_await_hosts(rt, 2);
    sk_ref large = put(rt, 4 * MIB);
    sk_arg arg = sk_by_ref(large);
    for (int i = 0; i < 3; i++) cr_assert_eq(node_for(&arg, 1), 1);
    cr_assert_eq(node_for(NULL, 0), 0);
    kill(nodes[1], SIGTERM);
    AWAIT(seen()->n_hosts == 1);
    const char *msg = take_error(rt, submit(rt, far_task("probe.pid", &arg, 1)), SK_ELIMIT);
    cr_assert(strstr(msg, "n1") && strstr(msg, "4194304"), "%s", msg);
    drop(rt, large);
    end_cluster();
}

/* What a host made itself lies there as well. */
Test(placement, is_where_an_argument_was_made) {
    sk_resource lab = {"lab", 1};
    open_cluster();
    add_node(4, NULL);
    add_node(2, "lab=1");
    rig_await_hosts(rt, 2);
    int64_t size = 4 * MIB;
    sk_arg  arg = sk_by_value(&size, sizeof size);
    sk_task task = far_task("probe.big", &arg, 1);
    task.resources = &lab;
    task.n_resources = 1;
    sk_ref made = submit(rt, task);
    cr_assert(probe_is_filled(value_of(rt, made)));
    sk_arg args[] = {sk_by_ref(made)};
    cr_assert_eq(node_for(args, 1), 1);
    drop(rt, made);
    end_cluster();
}

/* ---- actors ---------------------------------------------------------------------------------------------------- */
static void count_on_nodes(const sk_actor *actors, int n, int ret_n[NODES_MAX]) {
    memset(ret_n, 0, NODES_MAX * sizeof *ret_n);
    for (int i = 0; i < n; i++) {
        int at = node_of_actor(actors[i]);
        cr_assert_geq(at, 0);
        ret_n[at]++;
    }
}

Test(placement, of_actors_is_even) {
    enum { N = 6 };
    sk_actor actors[N], idle[N], more;
    int      n_on[NODES_MAX];
    start_cluster(3, 2);
    sk_actor_params for_nothing = {.class_name = "probe", .placement = SK_PLACE_REMOTE};
    for (int i = 0; i < N; i++) idle[i] = order(rt, for_nothing);
    count_on_nodes(idle, N, n_on);
    for (int i = 0; i < 3; i++) cr_assert_eq(n_on[i], 2, "%d actors that ask for nothing are on n%d", n_on[i], i + 1);
    for (int i = 0; i < N; i++) actors[i] = far_actor(NULL, (sk_group){0}, -1, 1);
    count_on_nodes(actors, N, n_on);
    for (int i = 0; i < 3; i++) cr_assert_eq(n_on[i], 2, "%d actors of 1 cpu are on n%d", n_on[i], i + 1);
    more = far_actor(NULL, (sk_group){0}, -1, 1);
    cr_assert_eq(sk_actor_wait(rt, more, 200, NULL), SK_ETIMEOUT);
    int at = node_of_actor(actors[3]);
    sk_actor_join(rt, &actors[3], 1, READY_MS);
    cr_assert_eq(node_of_actor(more), at);
    end_cluster();
}

/* ---- groups ---------------------------------------------------------------------------------------------------- */
Test(placement, of_groups_follows_their_strategy) {
    start_cluster(3, 2);
    static const struct {
        sk_strategy strategy;
        double      cpu;
        int         n, n_nodes;
    } cases[] = {{SK_PACK, 1, 2, 1},        {SK_PACK, 1, 4, 2},        {SK_STRICT_PACK, 0.5, 4, 1},
                 {SK_SPREAD, 0.5, 3, 3},    {SK_SPREAD, 0.5, 5, 3},    {SK_STRICT_SPREAD, 0.5, 3, 3},
                 {SK_STRICT_SPREAD, 2, 2, 2}};
    for (int i = 0; i < SK_COUNT(cases); i++) {
        sk_group group = reserve(cases[i].cpu, cases[i].n, cases[i].strategy);
        cr_assert_eq(sk_group_wait(rt, group, READY_MS, NULL), SK_OK);
        int n = __builtin_popcount(nodes_of_group(group, cases[i].n));
        cr_assert_eq(n, cases[i].n_nodes, "case %d: %d hosts, wanted %d", i, n, cases[i].n_nodes);
        sk_group_destroy(rt, &group);
    }
    AWAIT(look()->resources[0].free == 2 + 6);
    end_cluster();
}

Test(placement, in_a_group_is_remote_and_nowhere_else) {
    start_cluster(1, 2);
    sk_group group = reserve(1, 1, SK_PACK);
    sk_task  task = {.function = "probe.pid", .group = group};
    cr_assert_eq(node_of(take_int(rt, submit(rt, task))), 0);
    for (int p = SK_PLACE_THREAD; p <= SK_PLACE_PROCESS; p++) {
        task.placement = (sk_placement)p;
        const char *msg = refused(rt, task, SK_EUNSUPPORTED);
        cr_assert(strstr(msg, "only a remote placement is possible"), "%s", msg);
    }
    sk_actor_params params = {.class_name = "probe", .group = group};
    cr_assert_eq(node_of_actor(order(rt, params)), 0);
    sk_group_destroy(rt, &group);
    end_cluster();
}

/* Its host is killed: the actor in it is made again where the bundle finds another place, the other stays. */
Test(placement, of_a_bundle_moves_when_its_host_is_lost) {
    start_cluster(2, 2);
    sk_group group = reserve(1, 2, SK_STRICT_SPREAD);
    sk_actor actors[2] = {far_actor("first", group, 0, 1), far_actor("second", group, 1, 1)};
    int      first = node_of_actor(actors[0]), second = node_of_actor(actors[1]);
    cr_assert_eq(first + second, 1, "on n%d and n%d", first + 1, second + 1);
    int pid = pid_of(rt, actors[1]);
    cr_assert_eq(take_int(rt, call(rt, actors[1], PROBE_COUNT, NULL, 0)), 0);
    kill(nodes[first], SIGKILL);
    AWAIT(seen()->n_hosts == 1);
    cr_assert_eq(sk_group_wait(rt, group, 200, NULL), SK_ETIMEOUT, "n%d has room, but is not another", second + 1);
    cr_assert_eq(sk_actor_wait(rt, actors[0], 50, NULL), SK_ETIMEOUT);
    cr_assert_eq(take_int(rt, call(rt, actors[1], PROBE_COUNT, NULL, 0)), 1);

    add_node(2, NULL);
    cr_assert_eq(sk_group_wait(rt, group, READY_MS, NULL), SK_OK);
    cr_assert_eq(node_of_actor(actors[0]), 2);
    cr_assert_eq(pid_of(rt, actors[1]), pid);
    sk_task task = {.function = "probe.pid", .group = group, .bundle = 0, .resources = &(sk_resource){"cpu", 0},
                    .n_resources = 1};
    cr_assert_eq(node_of(take_int(rt, submit(rt, task))), 2);
    sk_group_destroy(rt, &group);
    AWAIT(look()->resources[0].free == 2 + 4); /* all of it: nothing of the lost host is counted */
    end_cluster();
}

/* ---- in turn --------------------------------------------------------------------------------------------------- */
/* One caller has hundreds of tasks waiting: another's few go in between. */
Test(placement, goes_in_turn_between_callers) {
    start_cluster(2, 1);
    int64_t n = 500;
    sk_arg  arg = sk_by_value(&n, sizeof n);
    sk_ref  flood = submit(rt, (sk_task){.function = "probe.flood", .args = &arg, .n_args = 1}), refs[8];
    AWAIT(seen()->n_queued > 300);
    for (int i = 0; i < 8; i++) refs[i] = sleep_far(10);
    for (int i = 0; i < 8; i++) cr_assert_eq(take_int(rt, refs[i]), 10);
    cr_assert_gt(seen()->n_queued, 100, "they waited behind all of the other's");
    cr_assert_eq(take_long(rt, flood), 500);
    end_cluster();
}
