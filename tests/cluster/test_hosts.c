/* The head and its hosts, with nodes that are played by threads (fake_node.h). */
#include "core/runtime/host.h"
#include "tests/cluster/fake_node.h"
#include "tests/runtime/harness.h"

TestSuite(hosts, .timeout = 120);

static sk_runtime *start_head(sk_runtime_params params) {
    static const sk_cluster_params cluster = {.bind = "tcp://127.0.0.1:0", .plain = true, .build = "fake build"};
    params.cluster = &cluster;
    return start_with(params);
}

static fake_node *join_as(sk_runtime *rt, fake_params params) {
    params.endpoint = sk_runtime_endpoint(rt);
    return fake_node_start(params);
}

static void wait_hosts(sk_runtime *rt, int n) {
    sk_error err = {0};
    cr_assert_eq(sk_runtime_wait_hosts(rt, n, READY_MS, NULL, &err), SK_OK, "%s", err.msg);
}

static fake_node *join(sk_runtime *rt, const char *name) {
    int n = 0;
    cr_assert_eq(sk_runtime_wait_hosts(rt, 0, 0, &n, NULL), SK_OK);
    fake_node *node = join_as(rt, (fake_params){.name = name});
    wait_hosts(rt, n + 1);
    return node;
}

/* The program's counters must see no host any more. */
static void finish_head(sk_runtime *rt) {
    AWAIT(seen()->n_hosts == 0);
    finish(rt);
}

static const sk_board_host *row_of(const char *name) {
    const sk_board *board = look();
    for (int i = SK_BOARD_HOSTS - 1; i > 0; i--)
        if (board->hosts[i].state != SK_HOST_NONE && strcmp(board->hosts[i].name, name) == 0) return &board->hosts[i];
    cr_assert(false, "no row of %s", name);
    return NULL;
}

static sk_ref run_there(sk_runtime *rt, const void *data, size_t size) {
    sk_arg arg = sk_by_value(data, size);
    return submit(rt, (sk_task){.function = "probe.sum", .args = &arg, .n_args = 1, .placement = SK_PLACE_REMOTE});
}

static sk_ref run_there_on(sk_runtime *rt, sk_ref ref) {
    sk_arg arg = sk_by_ref(ref);
    return submit(rt, (sk_task){.function = "probe.sum", .args = &arg, .n_args = 1, .placement = SK_PLACE_REMOTE});
}

static uint64_t sum_of_filled(size_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) sum += i % 251;
    return sum;
}

/* ---- joining --------------------------------------------------------------------------------------------- */
Test(hosts, a_node_joins_is_seen_with_what_it_has_and_leaves) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .cpus = 3});
    wait_hosts(rt, 1);
    cr_assert_eq(node->number, 1);
    const volatile sk_board_host *row = row_of("n1");
    AWAIT(row->state == SK_HOST_UP && row->cpu_total == 3 && row->cpu_free == 3);
    cr_assert_eq(row->pid, getpid());
    AWAIT(seen()->n_hosts == 1 && look()->resources[0].total == 7); /* 4 here */
    AWAIT(row->round_trip_ns > 0 && row->round_trip_ns < 1000000000);
    fake_node_stop(&node);
    AWAIT(row->state == SK_HOST_LEFT && look()->resources[0].total == 4);
    cr_assert_str_eq((const char *)row->end, "has left: the test says so");
    finish_head(rt);
}

Test(hosts, a_node_is_told_plugins_their_hashes_and_the_workers_environment) {
    char plugin[512], relative[600];
    snprintf(plugin, sizeof plugin, "%s/tests/runtime/plug.so", getenv("SKIFF_BUILD_DIR"));
    snprintf(relative, sizeof relative, "%s/tests/../tests/runtime/plug.so", getenv("SKIFF_BUILD_DIR"));
    const char *const plugins[] = {relative}, *const env[] = {"OMP_NUM_THREADS=1", "EMPTY="};
    sk_cluster_params cluster = {.plain = true, .build = "fake build", .worker_env = env, .n_worker_env = 2};
    sk_runtime       *rt = start_with((sk_runtime_params){
              .name = "the head", .plugins = plugins, .n_plugins = 1, .cluster = &cluster});
    fake_node        *node = join(rt, "n1");
    char              path[4096];
    cr_assert_not_null(realpath(plugin, path));
    cr_assert_eq(node->n_welcome, 6);
    cr_assert_str_eq(node->welcome[0], "the head");
    cr_assert_str_eq(node->welcome[1], "1");
    cr_assert_str_eq(node->welcome[2], path);
    cr_assert_eq(strlen(node->welcome[3]), 64);
    cr_assert_eq(strspn(node->welcome[3], "0123456789abcdef"), 64);
    cr_assert_str_eq(node->welcome[4], "OMP_NUM_THREADS=1");
    cr_assert_str_eq(node->welcome[5], "EMPTY=");
    fake_node_stop(&node);
    finish_head(rt);
}

Test(hosts, a_node_of_another_build_is_refused_by_both_names) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .build = "older build"});
    AWAIT(node->is_over);
    cr_assert_eq(node->refused, 1);
    cr_assert_str_eq(node->why, "this host runs older build, the head fake build: install the same on both");
    sk_error err = {0};
    int      n = -1;
    cr_assert_eq(sk_runtime_wait_hosts(rt, 1, 50, &n, &err), SK_ETIMEOUT);
    cr_assert_eq(n, 0);
    cr_assert(strstr(err.msg, "0 of 1 hosts") && strstr(err.msg, sk_runtime_endpoint(rt)), "%s", err.msg);
    cr_assert(strstr(err.msg, "older build"), "%s", err.msg);
    fake_node_stop(&node);
    leave(rt);
}

Test(hosts, a_second_node_of_the_same_name_is_told_apart) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *a = join(rt, "n1"), *b = join(rt, "n1"), *c = join(rt, "n1");
    cr_assert_str_eq(row_of("n1-2")->name, "n1-2");
    cr_assert_str_eq(row_of("n1-3")->name, "n1-3");
    fake_node_stop(&b);
    AWAIT(seen()->n_hosts == 2);
    b = join(rt, "n1");
    cr_assert_eq(b->number, 4, "a row is used again although others were not used yet");
    fake_node_stop(&a);
    fake_node_stop(&b);
    fake_node_stop(&c);
    finish_head(rt);
}

Test(hosts, a_node_that_cannot_run_the_program_leaves_and_says_why) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .leaves = "plugin /x/y.so differs"});
    sk_error    err = {0};
    AWAIT(n_warnings == 1);
    cr_assert(strstr(last_warning, "n1") && strstr(last_warning, "plugin /x/y.so differs"), "%s", last_warning);
    cr_assert_eq(sk_runtime_wait_hosts(rt, 1, 50, NULL, &err), SK_ETIMEOUT);
    cr_assert(strstr(err.msg, "plugin /x/y.so differs"), "%s", err.msg);
    fake_node_stop(&node);
    leave(rt);
}

Test(hosts, waiting_for_hosts_ends_when_the_program_is_interrupted) {
    static volatile int interrupted;
    sk_runtime         *rt = start_head((sk_runtime_params){.interrupted = &interrupted});
    sk_error            err = {0};
    interrupted = 1;
    cr_assert_eq(sk_runtime_wait_hosts(rt, 1, READY_MS, NULL, &err), SK_EINTERRUPTED);
    finish(rt);
}

Test(hosts, a_runtime_without_a_cluster_has_no_endpoint) {
    sk_runtime *rt = start();
    sk_error    err = {0};
    cr_assert_str_eq(sk_runtime_endpoint(rt), "");
    cr_assert_eq(sk_runtime_wait_hosts(rt, 1, 0, NULL, &err), SK_EUNSUPPORTED);
    finish(rt);
}

Test(hosts, a_hundred_nodes_join_and_leave) {
    enum { N = 100 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *nodes[N];
    for (int i = 0; i < N; i++) nodes[i] = join_as(rt, (fake_params){.name = "n"});
    wait_hosts(rt, N);
    AWAIT(look()->resources[0].total == 4 + 2 * N);
    for (int i = 0; i < N; i++) fake_node_stop(&nodes[i]);
    AWAIT(look()->resources[0].total == 4);
    finish_head(rt);
}

/* ---- tasks and actors ------------------------------------------------------------------------------------ */
Test(hosts, a_task_is_run_by_a_worker_of_another_host) {
    sk_runtime   *rt = start_head((sk_runtime_params){0});
    fake_node    *node = join(rt, "n1");
    const uint8_t bytes[] = {1, 2, 3, 250};
    cr_assert_eq(take_long(rt, run_there(rt, bytes, sizeof bytes)), 256);
    cr_assert_eq(node->n_spawned, 1);
    cr_assert_eq(node->n_jobs, 1);
    const sk_board *board = look();
    cr_assert_eq(board->workers[0].host, 1);
    cr_assert_eq(board->workers[0].pid, 1000);
    cr_assert_eq(board->events[0].host, 1);
    leave(rt);
    AWAIT(node->is_over);
    cr_assert_eq(node->n_stopping, 1);
    cr_assert_eq(node->n_byes, 1);
    cr_assert_eq(node->n_living, 0);
    cr_assert_eq(n_warnings, 0, "%s", last_warning);
    fake_node_stop(&node);
}

Test(hosts, runs_on_a_host_whose_clock_is_ahead_are_shown_in_our_time) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .clock_ahead_ns = INT64_C(7000000000000)});
    wait_hosts(rt, 1);
    AWAIT(row_of("n1")->round_trip_ns > 0);
    int64_t before_ns = sk_clock_now_ns();
    take_long(rt, run_there(rt, "x", 1));
    int64_t               after_ns = sk_clock_now_ns();
    const sk_board_event *event = &look()->events[0];
    /* Off by no more than half a round trip. */
    cr_assert(event->start_ns > before_ns - 100000000 && event->start_ns <= after_ns, "%ld not in %ld to %ld",
              (long)event->start_ns, (long)before_ns, (long)after_ns);
    fake_node_stop(&node);
    finish_head(rt);
}

Test(hosts, a_large_argument_reaches_a_host_once_and_leaves_it_after_its_release) {
    enum { SIZE = 300000, N = 6 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .cpus = 4});
    wait_hosts(rt, 1);
    sk_ref large = put(rt, SIZE), sums[N];
    node->mode = FAKE_HOLD; /* so that several workers are needed */
    for (int i = 0; i < N; i++) sums[i] = run_there_on(rt, large);
    AWAIT(node->n_jobs >= 4);
    cr_assert_gt(node->n_spawned, 1);
    node->mode = FAKE_SUM;
    for (int i = 0; i < N; i++) cr_assert_eq((uint64_t)take_long(rt, sums[i]), sum_of_filled(SIZE));
    cr_assert_eq(node->n_copies_got, 1);
    cr_assert_eq(node->bytes_got, SIZE);
    cr_assert_eq(node->n_chunks_got, (SIZE + SK_CHUNK_BYTES - 1) / SK_CHUNK_BYTES);
    AWAIT(row_of("n1")->n_copies == 1);
    cr_assert_eq(node->n_drops, 0);
    drop(rt, large);
    AWAIT(node->n_drops == 1 && node->copied_bytes == 0);
    cr_assert_eq(node->n_missing, 0);
    fake_node_stop(&node);
    finish_head(rt);
}

Test(hosts, arguments_that_do_not_fit_a_message_go_as_a_blob) {
    enum { SIZE = 4000, N = 40 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join(rt, "n1");
    uint8_t     bytes[SIZE];
    sk_arg      args[N];
    memset(bytes, 1, sizeof bytes);
    for (int i = 0; i < N; i++) args[i] = sk_by_value(bytes, sizeof bytes);
    sk_task task = {.function = "probe.sum", .args = args, .n_args = N, .placement = SK_PLACE_REMOTE};
    sk_ref  sum = submit(rt, task);
    cr_assert_eq(take_long(rt, sum), SIZE * N);
    AWAIT(node->n_drops == 1);
    cr_assert_eq(node->n_missing, 0);
    fake_node_stop(&node);
    finish_head(rt);
}

Test(hosts, a_large_answer_comes_back_and_is_the_heads) {
    enum { SIZE = 1000003 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .large = SIZE});
    wait_hosts(rt, 1);
    node->mode = FAKE_LARGE;
    sk_ref   answer = run_there(rt, "x", 1);
    sk_bytes value = value_of(rt, answer);
    cr_assert_eq(value.size, SIZE);
    cr_assert(probe_is_filled(value));
    fake_node_stop(&node);
    AWAIT(seen()->n_hosts == 0);
    cr_assert(probe_is_filled(value_of(rt, answer)), "it went with its host");
    drop(rt, answer);
    finish_head(rt);
}

Test(hosts, copies_that_nobody_reads_leave_a_full_host_and_what_never_fits_fails_by_name) {
    enum { MB = 1 << 20 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .store_bytes = 4 * MB});
    wait_hosts(rt, 1);
    sk_ref ones[6];
    for (int i = 0; i < 6; i++) {
        ones[i] = put(rt, MB);
        cr_assert_eq((uint64_t)take_long(rt, run_there_on(rt, ones[i])), sum_of_filled(MB));
        cr_assert_leq(node->copied_bytes, 4 * MB);
    }
    AWAIT(node->n_drops == 2);
    cr_assert_eq((uint64_t)take_long(rt, run_there_on(rt, ones[0])), sum_of_filled(MB)); /* sent again */
    cr_assert_eq(node->n_copies_got, 7);
    sk_ref      five = put(rt, 5 * MB);
    const char *text = take_error(rt, run_there_on(rt, five), SK_ELIMIT);
    cr_assert(strstr(text, "n1") && strstr(text, "5242880") && strstr(text, "4194304"), "%s", text);
    cr_assert_eq(node->n_missing, 0);
    for (int i = 0; i < 6; i++) drop(rt, ones[i]);
    drop(rt, five);
    fake_node_stop(&node);
    finish_head(rt);
}

Test(hosts, answers_that_a_host_still_has_leave_it_when_it_is_full) {
    enum { MB = 1 << 20, N = 6 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .store_bytes = 4 * MB, .large = MB});
    wait_hosts(rt, 1);
    node->mode = FAKE_LARGE;
    sk_ref answers[N];
    for (int i = 0; i < N; i++) {
        answers[i] = run_there(rt, "x", 1);
        cr_assert(probe_is_filled(value_of(rt, answers[i])));
        cr_assert_leq(node->copied_bytes, 4 * MB);
    }
    cr_assert_eq(node->n_drops, N - 4);
    for (int i = 0; i < N; i++) drop(rt, answers[i]);
    fake_node_stop(&node);
    finish_head(rt);
}

Test(hosts, what_a_worker_has_asked_for_stays_on_its_host_while_it_counts_on_it) {
    enum { SIZE = 3 << 20 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .store_bytes = 4 << 20});
    wait_hosts(rt, 1);
    sk_ref kept = put(rt, SIZE), other = put(rt, SIZE);
    node->mode = FAKE_KEEP;
    take_long(rt, run_there(rt, &kept, sizeof kept));
    AWAIT(node->n_values == 1);
    node->mode = FAKE_SUM;
    take_error(rt, run_there_on(rt, other), SK_ELIMIT);
    cr_assert_eq(node->n_drops, 0);
    cr_assert_eq((uint64_t)take_long(rt, run_there_on(rt, kept)), sum_of_filled(SIZE));
    cr_assert_eq(node->n_copies_got, 1);
    drop(rt, kept);
    drop(rt, other);
    fake_node_stop(&node);
    leave(rt);
}

Test(hosts, objects_that_are_released_while_they_are_being_sent_leave_their_place_to_others) {
    enum { SIZE = 60 << 20, BEHIND = 1 << 20, ROUNDS = 3 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join(rt, "n1");
    for (int i = 0; i < ROUNDS; i++) {
        sk_ref large[] = {put(rt, SIZE), put(rt, BEHIND)};
        node->mode = FAKE_FETCH;
        take_long(rt, run_there(rt, large, sizeof large)); /* asked for and released there before this answer */
        for (int k = 0; k < 2; k++) drop(rt, large[k]);
        AWAIT(node->n_values == 2 * (i + 1) && node->n_drops == 3 * i + 2 && node->copied_bytes == 0);
        node->mode = FAKE_SUM;
        sk_ref next = put(rt, SIZE); /* at the same place */
        cr_assert_eq((uint64_t)take_long(rt, run_there_on(rt, next)), sum_of_filled(SIZE));
        drop(rt, next);
        AWAIT(node->n_drops == 3 * i + 3);
    }
    cr_assert_lt(node->bytes_got, (uint64_t)2 * ROUNDS * SIZE, "all of what nobody wanted any more was sent");
    cr_assert_eq(node->n_missing, 0);
    fake_node_stop(&node);
    finish_head(rt);
}

Test(hosts, arguments_that_fit_a_host_one_after_the_other_wait_for_each_other) {
    enum { SIZE = 3 << 20, N = 3 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .cpus = 4, .store_bytes = 4 << 20});
    wait_hosts(rt, 1);
    node->mode = FAKE_HOLD;
    sk_ref large[N], sums[N];
    for (int i = 0; i < N; i++) sums[i] = run_there_on(rt, large[i] = put(rt, SIZE));
    AWAIT(node->n_jobs == 1);
    usleep(20000);
    cr_assert_eq(node->n_jobs, 1);
    node->mode = FAKE_SUM;
    for (int i = 0; i < N; i++) cr_assert_eq((uint64_t)take_long(rt, sums[i]), sum_of_filled(SIZE));
    for (int i = 0; i < N; i++) drop(rt, large[i]);
    cr_assert_eq(node->n_missing, 0);
    fake_node_stop(&node);
    finish_head(rt);
}

Test(hosts, a_cancelled_task_is_told_to_its_worker) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join(rt, "n1");
    node->mode = FAKE_HOLD;
    sk_ref sum = run_there(rt, "x", 1);
    AWAIT(node->n_jobs == 1);
    sk_cancel(rt, sum, SK_CANCEL_ASK);
    take_error(rt, sum, SK_ECANCELED);
    AWAIT(node->n_canceled == 1);
    sum = run_there(rt, "x", 1);
    AWAIT(node->n_jobs == 2);
    sk_cancel(rt, sum, SK_CANCEL_KILL);
    take_error(rt, sum, SK_ECANCELED);
    AWAIT(node->n_living < node->n_spawned);
    node->mode = FAKE_SUM;
    fake_node_stop(&node);
    leave(rt);
}

Test(hosts, a_dead_worker_is_named_with_its_host_and_its_task_runs_again) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join(rt, "n1");
    node->mode = FAKE_DIE;
    sk_ref sum = run_there(rt, "x", 1);
    cr_assert_eq(take_long(rt, sum), 'x');
    cr_assert(strstr(last_warning, "(process 1000 on n1) was killed by signal 9 (SIGKILL)"), "%s", last_warning);
    fake_node_stop(&node);
    leave(rt);
}

Test(hosts, a_host_whose_workers_cannot_start_is_given_up) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *bad = join_as(rt, (fake_params){.name = "bad", .cpus = 64, .dies_early = true});
    wait_hosts(rt, 1);
    sk_ref sum = run_there(rt, "x", 1);
    AWAIT(bad->is_over);
    cr_assert(strstr(bad->why, "its workers cannot start"), "%s", bad->why);
    fake_node *good = join_as(rt, (fake_params){.name = "good"});
    cr_assert_eq(take_long(rt, sum), 'x');
    fake_node_stop(&bad);
    fake_node_stop(&good);
    leave(rt);
}

/* ---- what goes wrong ------------------------------------------------------------------------------------- */
/* Of two hosts the mad one goes, the other goes on. */
static void lose_for(fake_mode mode, const char *text) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *mad = join_as(rt, (fake_params){.name = "mad", .cpus = 8, .large = 100000}), *sane;
    wait_hosts(rt, 1);
    sk_ref canary = put(rt, 8192), sum;
    mad->mode = mode;
    sum = run_there(rt, "x", 1);
    AWAIT(mad->is_over);
    cr_assert(strstr(mad->why, text), "%s", mad->why);
    cr_assert(probe_is_filled(value_of(rt, canary)), "another's memory was written");
    AWAIT(row_of("mad")->state == SK_HOST_LOST);
    sane = join(rt, "sane");
    cr_assert_eq(take_long(rt, sum), 'x');
    drop(rt, canary);
    fake_node_stop(&mad);
    fake_node_stop(&sane);
    leave(rt);
}

Test(hosts, bytes_beyond_an_extent_cost_their_host_only) { lose_for(FAKE_BAD_CHUNK, "that has 100000 bytes"); }
Test(hosts, bytes_for_foreign_memory_cost_their_host_only) { lose_for(FAKE_WILD_CHUNK, "was not given"); }

Test(hosts, a_gap_in_the_numbers_ends_the_session) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join(rt, "n1");
    fake_node_skip(node);
    AWAIT(node->is_over);
    cr_assert(strstr(node->why, "frames were lost on the way"), "%s", node->why);
    fake_node_stop(&node);
    node = join(rt, "n1"); /* anew */
    cr_assert_eq(take_long(rt, run_there(rt, "x", 1)), 'x');
    fake_node_stop(&node);
    leave(rt);
}

static double silence_s(fake_node *node, const volatile sk_board_host *row) {
    int64_t from_ns = sk_clock_now_ns();
    node->is_silent = true;
    AWAIT(row->state == SK_HOST_LOST);
    return (double)(sk_clock_now_ns() - from_ns) * 1e-9;
}

Test(hosts, a_silent_host_is_lost_within_5_s_and_its_actor_lives_on_elsewhere_with_its_state) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *first = join(rt, "n1");
    sk_actor    actor = make_with(rt, (sk_actor_params){.class_name = "counter", .placement = SK_PLACE_REMOTE,
                                                        .max_restarts = 1});
    const uint8_t ten = 10;
    cr_assert_eq(take_long(rt, call(rt, actor, 0, &ten, 1)), 10);
    cr_assert_eq(take_long(rt, call(rt, actor, 0, &ten, 1)), 20);
    fake_node *second = join(rt, "n2");
    first->mode = FAKE_HOLD;
    sk_ref  under_way = call(rt, actor, 0, &ten, 1);
    int64_t from_ns = sk_clock_now_ns();
    AWAIT(first->n_jobs == 3);
    double lost_s = silence_s(first, row_of("n1"));
    cr_assert_leq(lost_s, 5.0 + 1.0, "after %.1f s", lost_s); /* 1 s for a busy machine */
    const char *text = take_error(rt, under_way, SK_EDEAD);
    cr_assert(strstr(text, "n1 was lost (no sign of life"), "%s", text);
    cr_assert_eq(take_long(rt, call(rt, actor, 0, &ten, 1)), 30, "its state did not come with it");
    cr_assert_leq((double)(sk_clock_now_ns() - from_ns) * 1e-9, 10.0);
    cr_assert_eq(second->n_restored, 1);
    AWAIT(seen()->n_hosts_lost == 1 && seen()->n_hosts == 1);
    cr_assert(strstr((const char *)row_of("n1")->end, "was lost"));
    fake_node_stop(&first);
    fake_node_stop(&second);
    leave(rt);
}

Test(hosts, a_host_that_was_given_up_is_told_to_join_anew_and_does) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join(rt, "n1");
    silence_s(node, row_of("n1"));
    node->is_silent = false; /* its next beat is of a session that is none */
    AWAIT(node->is_over);
    cr_assert_eq(node->refused, 2, "it was not told to join anew");
    fake_node_stop(&node);
    node = join(rt, "n1");
    cr_assert_eq(take_long(rt, run_there(rt, "x", 1)), 'x');
    fake_node_stop(&node);
    leave(rt);
}

Test(hosts, a_session_that_joins_twice_is_ended) {
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join(rt, "n1");
    fake_node_join_again(node);
    AWAIT(node->is_over);
    cr_assert(strstr(node->why, "joined a second time"), "%s", node->why);
    AWAIT(seen()->n_hosts == 0);
    fake_node_stop(&node);
    leave(rt);
}

Test(hosts, the_end_does_not_wait_for_a_host_longer_than_was_said) {
    sk_runtime *rt = start_head((sk_runtime_params){.stop_timeout_ms = 300});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .ignores_stop = true});
    wait_hosts(rt, 1);
    node->mode = FAKE_HOLD;
    drop(rt, run_there(rt, "x", 1));
    AWAIT(node->n_jobs == 1);
    node->is_silent = true;
    int64_t from_ns = sk_clock_now_ns();
    leave(rt);
    cr_assert_leq((double)(sk_clock_now_ns() - from_ns) * 1e-9, 0.3 + 1.0 + 1.0); /* stop, linger, a busy machine */
    fake_node_stop(&node);
}

Test(hosts, a_remote_worker_costs_the_head_no_more_than_8_kb) {
    enum { N = 60, KB = 1024 };
    sk_runtime *rt = start_head((sk_runtime_params){0});
    fake_node  *node = join_as(rt, (fake_params){.name = "n1", .cpus = 64});
    wait_hosts(rt, 1);
    const sk_resource none = {"cpu", 0};
    sk_actor          actors[N];
    take_long(rt, run_there(rt, "x", 1)); /* what is there once */
    struct stat before, after;
    int         fd = sk_block_get_ref(rt->driver->board_block).fd;
    nudge();
    cr_assert_eq(fstat(fd, &before), 0);
    for (int i = 0; i < N; i++)
        actors[i] = make_with(rt, (sk_actor_params){.class_name = "counter", .placement = SK_PLACE_REMOTE,
                                                    .resources = &none, .n_resources = 1});
    nudge();
    cr_assert_eq(fstat(fd, &after), 0);
    double each = (double)(after.st_blocks - before.st_blocks) * 512.0 / N + sizeof(sk__peer);
    cr_assert_leq(each, 8 * KB, "%.0f bytes", each);
    sk_actor_join(rt, actors, N, READY_MS);
    fake_node_stop(&node);
    finish_head(rt);
}
