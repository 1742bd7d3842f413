/* What skiff status, list, top and logs show of a program's further hosts. */
#include "board_program.h"

static void begin_cluster(void) {
    begin();
    have_cluster();
}

static void lacks(const char *text, const char *unwanted) {
    cr_assert_null(strstr(text, unwanted), "\"%s\" is in %s", unwanted, text);
}

/* ---- status ---- */

Test(hosts, are_not_spoken_of_in_a_program_without_a_cluster, .init = begin, .fini = end) {
    fill_counters();
    add_worker(0, SK_WORKER_BUSY, getpid(), "worker-0", "");
    add_actor(0, SK_ACTOR_ALIVE, "first", "");
    static const char *const lines[] = {"status", "list workers", "list actors", "list tasks", "top --count 1"};
    for (int i = 0; i < SK_COUNT(lines); i++) {
        expect_code(run_here(lines[i]), 0);
        lacks(out, "host");
    }
    shows("list hosts", "no further hosts\nthe program runs on its own host alone: it was not given a cluster\n");
    expect_code(run_here("list hosts --json"), 0);
    cr_assert_str_empty(out);
}

Test(hosts, none_yet_says_where_they_join, .init = begin_cluster, .fini = end) {
    shows("status", "hosts      0 up; they join at tcp://10.0.0.1:7711\n");
    shows("list hosts", "no further hosts\nthey join at tcp://10.0.0.1:7711: skiff node --join tcp://10.0.0.1:7711\n");
    shows("top --count 1", "no host has joined\n");
}

Test(hosts, that_are_up_joining_lost_and_left_are_counted, .init = begin_cluster, .fini = end) {
    add_host(1, SK_HOST_UP, "n1", "");
    add_host(2, SK_HOST_UP, "n2", "");
    add_host(3, SK_HOST_JOINING, "n3", "");
    add_host(4, SK_HOST_LOST, "n4", "was lost (no sign of life for 4.1 s)");
    add_host(1023, SK_HOST_LEFT, "n5", "has left: the plugin /opt/walker.so differs");
    board->hosts[2].waiting_bytes = 512 << 10;
    board->counters.n_hosts_lost = 3;
    board->counters.n_refused = 1;
    shows("status", "hosts      2 up (6 workers, 0 B/s in, 0 B/s out, 512 KiB waiting), 1 joining, 1 lost, 1 left; "
                    "they join at tcp://10.0.0.1:7711\n");
    holds(out, "faults     3 hosts lost, 1 connection refused (no key, or another)\n");
    holds(out, "warning: host n4 was lost (no sign of life for 4.1 s), 60 s ago\n");
    holds(out, "note: host n5 has left: the plugin /opt/walker.so differs, 60 s ago\n");
    lacks(out, "silent");
    lacks(out, "wait for host");
}

Test(hosts, say_the_same_to_programs, .init = begin_cluster, .fini = end) {
    add_host(1, SK_HOST_UP, "n1", "");
    add_host(4, SK_HOST_LOST, "n4", "was lost (no sign of life for 4.1 s)");
    board->counters.n_hosts_lost = 1;
    board->counters.n_refused = 2;
    expect_code(run_here("status --json"), 0);
    json_t *all = parse(out), *hosts = json_object_get(all, "hosts"), *faults = json_object_get(all, "faults");
    json_t *troubles = json_object_get(all, "hosts_in_trouble"), *lost = json_array_get(troubles, 0);
    cr_assert_str_eq(text_of(hosts, "endpoint"), "tcp://10.0.0.1:7711");
    cr_assert_eq(number(hosts, "up"), 1);
    cr_assert_eq(number(hosts, "lost"), 1);
    cr_assert_eq(number(hosts, "left"), 0);
    cr_assert_eq(number(hosts, "workers"), 3);
    cr_assert_eq(number(hosts, "waiting_bytes"), 0);
    cr_assert_eq(number(faults, "hosts_lost"), 1);
    cr_assert_eq(number(faults, "connections_refused"), 2);
    cr_assert_eq(json_array_size(troubles), 1);
    cr_assert_str_eq(text_of(lost, "host"), "n4");
    cr_assert_str_eq(text_of(lost, "trouble"), "lost");
    cr_assert_str_eq(text_of(lost, "end"), "was lost (no sign of life for 4.1 s)");
    cr_assert_float_eq(number(lost, "for_s"), 60, 30);
    json_decref(all);
}

Test(hosts, that_are_silent_or_slow_are_warned_of, .init = begin_cluster, .fini = end) {
    add_host(1, SK_HOST_UP, "quiet", "")->heard_ns = ago(2.6);
    add_host(2, SK_HOST_UP, "far", "")->waiting_bytes = 120 << 20;
    shows("status", "warning: host quiet has been silent for 2.");
    holds(out, " s; it is given up after 4 s\n");
    holds(out, "warning: 120 MiB wait for host far, to which 0 B/s go\n");
    board->hosts[1].heard_ns = ago(0.2);
    board->hosts[2].waiting_bytes = 1000;
    expect_code(run_here("status"), 0);
    lacks(out, "warning");
}

/* A stopped program hears nobody: that is no trouble of its hosts. */
Test(hosts, of_a_stopped_program_are_not_called_silent, .init = begin, .fini = end) {
    pid_t program = fork();
    int   status;
    cr_assert_geq(program, 0);
    if (program == 0) {
        sk_error error = {0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sk_block_destroy(&block);
        if (sk_board_create("frozen", &block, &board, &error) != SK_OK) _exit(1);
        have_cluster();
        add_host(1, SK_HOST_UP, "n1", "")->heard_ns = ago(60);
        raise(SIGSTOP);
        _exit(2);
    }
    cr_assert_eq(waitpid(program, &status, WUNTRACED), program);
    cr_assert(WIFSTOPPED(status));
    int code = run_about(program, "status");
    stop_child(program);
    expect_code(code, 0);
    holds(out, "hosts      1 up");
    lacks(out, "silent");
}

Test(hosts, that_came_back_are_no_trouble_any_more, .init = begin_cluster, .fini = end) {
    add_host(1, SK_HOST_LOST, "n1", "was lost (no sign of life for 4.1 s)");
    add_host(2, SK_HOST_UP, "n1", "");
    shows("status", "hosts      1 up (3 workers, 0 B/s in, 0 B/s out, 0 B waiting); they join at ");
    lacks(out, "warning");
    shows("list hosts", "was lost"); /* there it stays to be seen */
    board->hosts[2].state = SK_HOST_LEFT; /* what became of the newest of a name is told, once */
    board->hosts[2].since_ns = ago(5);
    shows("status", "hosts      0 up, 1 left; they join at ");
    holds(out, "note: host n1 has left, 5.");
    lacks(out, "was lost");
}

Test(hosts, of_many_in_trouble_the_worst_and_the_newest_are_told, .init = begin_cluster, .fini = end) {
    for (int i = 1; i <= 12; i++) {
        char name[16];
        snprintf(name, sizeof name, "lost-%d", i);
        add_host(i, SK_HOST_LOST, name, "was lost")->since_ns = ago(100 - i);
    }
    add_host(20, SK_HOST_UP, "quiet", "")->heard_ns = ago(3);
    shows("status", "warning: host quiet has been silent ");
    const char *at = strstr(out, "warning: host quiet");
    for (int i = 12; i > 5; i--) { /* newest first, below the silent one */
        char wanted[32];
        snprintf(wanted, sizeof wanted, "warning: host lost-%d was lost", i);
        at = strstr(at, wanted);
        cr_assert_not_null(at, "%s: %s", wanted, out);
    }
    lacks(out, "host lost-5 ");
    holds(out, "warning: 5 more hosts are in trouble or gone; `skiff list hosts` shows them\n");
}

/* ---- list ---- */

Test(hosts, are_listed_with_their_ways_and_ends, .init = begin_cluster, .fini = end) {
    add_host(2, SK_HOST_LOST, "n2", "was lost (no sign of life for 4.1 s)")->round_trip_ns = 0;
    add_host(7, SK_HOST_UP, "n7", "");
    board->hosts[7].since_ns = board->hosts[2].since_ns = LATER;
    shows("list hosts",
          "host  state  for  node's pid  workers  cpu free  silent  round trip        in       out  waiting    copies"
          "     store  end\n"
          "n7    up     0 s         907        3  1.5 of 4     0 s      250 us  5.00 MiB  70.0 MiB      0 B  2.00 MiB  "
          "1.00 GiB  -\n"
          "n2    lost   0 s         902        3  -              -           -  5.00 MiB  70.0 MiB      0 B  2.00 MiB  "
          "1.00 GiB  was lost (no sign of life for 4.1 s)\n"
          "they join at tcp://10.0.0.1:7711: skiff node --join tcp://10.0.0.1:7711\n");
    expect_code(run_here("list hosts --json"), 0);
    json_t *rows = parse_lines(out), *up = json_array_get(rows, 0), *lost = json_array_get(rows, 1);
    cr_assert_eq(json_array_size(rows), 2);
    cr_assert_str_eq(text_of(up, "host"), "n7");
    cr_assert_eq(number(up, "number"), 7);
    cr_assert_eq(number(up, "cpu_free"), 1.5);
    cr_assert_eq(number(up, "cpu_total"), 4);
    cr_assert_eq(number(up, "out_bytes"), 70 << 20);
    cr_assert_eq(number(up, "in_frames"), 40);
    cr_assert_eq(number(up, "copies"), 2);
    cr_assert_float_eq(number(up, "round_trip_s"), 250e-6, 1e-9);
    cr_assert_str_eq(text_of(lost, "state"), "lost");
    cr_assert(json_is_null(json_object_get(lost, "round_trip_s")));
    cr_assert(json_is_null(json_object_get(lost, "silence_s")));
    json_decref(rows);
}

/* Pids are those of their hosts: what this machine has under the same number says nothing about them. */
Test(hosts, workers_of_other_hosts_are_not_looked_for_here, .init = begin_cluster, .fini = end) {
    pid_t stopped = start_sleeper();
    freeze(stopped);
    add_host(3, SK_HOST_UP, "n3", "");
    add_worker(0, SK_WORKER_BUSY, stopped, "mine", "");
    add_worker(1, SK_WORKER_BUSY, stopped, "theirs", "");
    add_worker(2, SK_WORKER_IDLE, 4194303, "theirs too", "");
    add_worker(3, SK_WORKER_IDLE, 5, "nameless", "");
    board->workers[1].host = board->workers[2].host = 3;
    board->workers[3].host = 9;
    static const char *const lines[] = {"list workers --json", "list workers", "status"};
    char *said[SK_COUNT(lines)];
    int   codes[SK_COUNT(lines)];
    for (int i = 0; i < SK_COUNT(lines); i++) {
        codes[i] = run_here(lines[i]);
        said[i] = strdup(out);
    }
    stop_child(stopped);
    for (int i = 0; i < SK_COUNT(lines); i++) cr_assert_eq(codes[i], 0, "%s", lines[i]);
    json_t *rows = parse_lines(said[0]);
    static const char *const states[] = {"stopped", "busy", "idle", "idle"};
    static const char *const hosts[] = {NULL, "n3", "n3", "host 9"};
    cr_assert_eq(json_array_size(rows), 4);
    for (int i = 0; i < 4; i++) {
        const json_t *row = json_array_get(rows, (size_t)i), *host = json_object_get(row, "host");
        cr_assert_str_eq(text_of(row, "state"), states[i], "row %d", i);
        if (hosts[i]) cr_assert_str_eq(text_of(row, "host"), hosts[i]);
        else cr_assert(json_is_null(host));
        cr_assert_eq(json_is_null(json_object_get(row, "rss_bytes")), i > 0, "row %d", i);
    }
    json_decref(rows);
    holds(said[1], "mine        here    ");
    holds(said[1], "theirs      n3      ");
    holds(said[2], "worker mine is stopped");
    lacks(said[2], "worker theirs");
    for (int i = 0; i < SK_COUNT(lines); i++) free(said[i]);
}

Test(hosts, are_named_beside_actors_and_what_runs, .init = begin_cluster, .fini = end) {
    add_host(1, SK_HOST_UP, "n1", "");
    add_actor(0, SK_ACTOR_ALIVE, "first", "");
    add_actor(1, SK_ACTOR_ALIVE, "second", "");
    board->actors[1].placement = SK_PLACE_REMOTE;
    board->actors[1].host = 1;
    add_worker(7, SK_WORKER_BUSY, 777, "worker-7", "");
    board->workers[7].host = 1;
    atomic_store(&board->lines[7].job, 0xab);
    atomic_store(&board->lines[7].job_since_ns, LATER);
    shows("list actors", "name    class    state  runs in  host   pid  restarts    done  pending  end\n"
                         "first   counter  alive  process  here  4321         3  20,500        7  -\n"
                         "second  counter  alive  remote   n1    4321         3  20,500        7  -\n");
    shows("list tasks", "worker    host  pid  runs  for\n"
                        "worker-7  n1    777    ab  0 s\n");
}

/* ---- top ---- */

Test(hosts, top_shows_what_goes_to_and_comes_from_each, .init = begin_cluster, .fini = end) {
    add_host(1, SK_HOST_UP, "n1", "");
    add_host(2, SK_HOST_LOST, "n2", "was lost: its way broke");
    char line[64];
    snprintf(line, sizeof line, "top --interval 1 --count 2 --pid %d", (int)getpid());
    pid_t top = start_to(NULL, line);
    wait_for_content("out");
    /* Between the two pictures. */
    board->hosts[1].bytes_in += 3 << 20;
    board->hosts[1].bytes_out += 300 << 20;
    expect_code(finish(top), 0);
    const char *first = strstr(out, "\nhost  state "), *second = first ? strstr(first + 1, "\nhost  state ") : NULL;
    cr_assert(first && second, "%s", out);
    holds(first, "  0 B/s  0 B/s      0 B  -\n");
    holds(first, "was lost: its way broke\n");
    holds(second, " MiB/s  ");
}

/* ---- logs ---- */

Test(hosts, logs_there_are_said_to_be_there, .init = begin_cluster, .fini = end) {
    char line[64];
    add_host(1, SK_HOST_UP, "n1", "");
    write_file("local-5.log", "from here\n");
    add_worker(0, SK_WORKER_BUSY, 5, "far", "");
    add_worker(1, SK_WORKER_BUSY, 5, "local", "local-5.log");
    add_worker(2, SK_WORKER_BUSY, 6, "kept", "/var/log/skiff/kept-1.log");
    add_worker(3, SK_WORKER_BUSY, getpid(), "twin", "");
    board->workers[0].host = board->workers[2].host = board->workers[3].host = 1;
    add_actor(0, SK_ACTOR_ALIVE, "away", "");
    board->actors[0].pid = getpid(); /* there */
    board->actors[0].host = 1;
    expect_code(run_here("logs far"), 1);
    holds(err, "\"far\" runs on host n1 (pid 5 there), and its log is there too: in the node's --log-dir, or ");
    expect_code(run_here("logs kept"), 1);
    holds(err, "its log is there too: /var/log/skiff/kept-1.log\n");
    expect_code(run_here("logs 5"), 0); /* two have that pid: the one of this host is meant */
    cr_assert_str_eq(out, "from here\n");
    expect_code(run_here("logs away"), 2);
    holds(err, "has no actor or worker \"away\"");
    snprintf(line, sizeof line, "logs %d", (int)getpid());
    expect_code(run_here(line), 1);
    cr_assert_str_empty(out);
}

/* ---- timeline ---- */

Test(hosts, timeline_has_a_row_for_each_process_of_each, .init = begin_cluster, .fini = end) {
    add_host(1, SK_HOST_UP, "n1", "");
    add_worker(0, SK_WORKER_BUSY, 77, "runner-0", "");
    add_worker(1, SK_WORKER_BUSY, 77, "runner-1", "");
    board->workers[1].host = 1;
    sk_board_event events[] = {{.start_ns = ago(1), .pid = 77, .thread = 0, .method = -1},
                               {.start_ns = ago(1), .pid = 77, .thread = 1, .method = -1, .host = 1}};
    for (int i = 0; i < SK_COUNT(events); i++) sk_board_add_event(board, &events[i]);
    shows("timeline trace.json", "trace.json: the last 2 of 2 runs of pi farm");
    holds(read_file("trace.json"), "\"runner-0\"");
    holds(read_file("trace.json"), "\"runner-1@n1\"");
}
