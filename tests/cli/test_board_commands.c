/* skiff status, list and timeline: what they show of a running program. */
#include "board_program.h"
#include <sched.h>
#include <sys/mount.h>

/* ---- status ---- */

Test(status, shows_workers_actors_tasks_resources_objects_and_faults, .init = begin, .fini = end) {
    fill_counters();
    add_worker(0, SK_WORKER_BUSY, getpid(), "worker-0", "");
    add_worker(1, SK_WORKER_IDLE, getpid(), "worker-1", "");
    add_worker(2000, SK_WORKER_BLOCKED, getpid(), "worker-2000", "");
    add_actor(0, SK_ACTOR_ALIVE, "first", "");
    add_actor(9, SK_ACTOR_PENDING, "second", "");
    add_actor(SK_BOARD_ACTORS - 1, SK_ACTOR_DEAD, "third", "killed by SIGKILL");
    shows("status", "pi farm, pid ");
    holds(out, ", running, up ");
    holds(out, "workers    1 busy, 1 idle, 1 blocked; 6 threads in the program\n");
    holds(out, "actors     1 alive, 1 waiting for resources, 1 dead\n");
    holds(out, "tasks      900 pending, 87 running, 4,000 done, 12 failed, 3 retried, 1 cancelled\n");
    holds(out, "resources  cpu 2.5 of 4, memory 4.00 GiB of 16.0 GiB in use\n");
    holds(out, "objects    1,024 (300 MiB); store 256 MiB of 4.00 GiB (peak 512 MiB); on disk 64.0 MiB of 16.0 GiB\n");
    holds(out, "faults     5 workers died, 4 restarts of actors\n");
    holds(out, "progress   something ended ");
    cr_assert_null(strstr(out, "warning"), "%s", out);
}

Test(status, says_the_same_to_programs, .init = begin, .fini = end) {
    fill_counters();
    add_worker(3, SK_WORKER_BUSY, getpid(), "worker-3", "");
    add_actor(0, SK_ACTOR_RESTARTING, "first", "");
    board->waits[5] = (sk_board_wait){ago(2), "sk_get of pi.sample"};
    expect_code(run_here("status --json"), 0);
    json_t *all = parse(out);
    cr_assert_str_eq(text_of(all, "program"), "pi farm");
    cr_assert_str_eq(text_of(all, "state"), "running");
    cr_assert_eq(number(all, "pid"), getpid());
    cr_assert_eq(number(json_object_get(all, "workers"), "busy"), 1);
    cr_assert_eq(number(json_object_get(all, "actors"), "restarting"), 1);
    cr_assert_eq(number(json_object_get(all, "tasks"), "pending"), 900);
    cr_assert_eq(number(json_object_get(all, "objects"), "store_used_bytes"), 256 << 20);
    cr_assert_eq(number(json_object_get(all, "faults"), "worker_deaths"), 5);
    cr_assert_eq(number(json_array_get(json_object_get(all, "resources"), 0), "free"), 1.5);
    const json_t *wait = json_array_get(json_object_get(all, "waits"), 0);
    cr_assert_str_eq(text_of(wait, "what"), "sk_get of pi.sample");
    cr_assert_geq(number(wait, "for_s"), 2);
    cr_assert(json_is_false(json_object_get(all, "is_stuck")));
    json_decref(all);
}

Test(status, warns_when_nothing_ends_and_someone_waits, .init = begin, .fini = end) {
    board->counters.progress_ns = ago(14);
    expect_code(run_here("status"), 0);
    cr_assert_null(strstr(out, "warning"), "nobody waits: %s", out);
    board->waits[0] = (sk_board_wait){ago(12), "sk_get of tree.sum"};
    board->waits[63] = (sk_board_wait){ago(13), "sk_wait of 3 references"};
    shows("status", "waits for  sk_wait of 3 references (");
    holds(out, " s)\n           sk_get of tree.sum ("); /* which waits for less long */
    holds(out, "warning: nothing has ended for 1");
    holds(out, " s, and someone waits\n");
    board->counters.progress_ns = LATER;
    expect_code(run_here("status"), 0);
    cr_assert_null(strstr(out, "warning"), "it goes on: %s", out);
}

Test(status, names_stopped_workers, .init = begin, .fini = end) {
    char  wanted[128];
    pid_t worker = start_sleeper();
    freeze(worker);
    add_worker(0, SK_WORKER_BUSY, worker, "worker-0", "");
    snprintf(wanted, sizeof wanted, "warning: worker worker-0 is stopped (kill -CONT %d lets it go on)\n", (int)worker);
    shows("status", wanted);
    shows("list workers", "  stopped  ");
    stop_child(worker);
    expect_code(run_here("status"), 0);
    cr_assert_null(strstr(out, "warning"), "%s", out);
    shows("list workers", "  ended  ");
}

Test(status, works_while_the_program_is_stopped, .init = begin, .fini = end) {
    pid_t program = start_program("frozen");
    freeze(program);
    expect_code(run_about(program, "status"), 0);
    holds(out, "frozen, pid ");
    holds(out, ", stopped, up ");
    holds(out, "warning: the program is stopped");
    expect_code(run_about(program, "list workers"), 0);
    expect_code(run_about(program, "timeline t.json"), 0);
    stop_child(program);
}

/* ---- choosing the program ---- */

Test(program, several_are_listed_and_one_has_to_be_named, .init = begin, .fini = end) {
    pid_t first = start_program("one of two"), second = start_program("two of \033[31mtwo");
    expect_code(run("status"), 2);
    holds(err, "skiff programs are running; --pid names one:\n");
    holds(err, "  one of two, up ");
    holds(err, "  two of \\x1b[31mtwo, up ");
    cr_assert_str_empty(out);
    stop_child(first);
    stop_child(second);
}

Test(program, one_that_is_not_there_is_a_usage_error, .init = begin, .fini = end) {
    pid_t sleeper = start_sleeper(); /* a process, but no skiff program */
    expect_code(run_about(sleeper, "list tasks"), 2);
    cr_assert(err[0], "nothing was said");
    stop_child(sleeper);
    expect_code(run_about(sleeper, "list tasks"), 2);
    expect_code(run("list tasks --pid 0"), 2);
    expect_code(run("list"), 2);
    expect_code(run_here("list task"), 2);
    holds(err, "did you mean \"tasks\"?");
    expect_code(run_here("status now"), 2);
    expect_code(run_here("top --interval 0"), 2);
}

Test(program, every_command_says_how_it_is_used, .init = enter_folder, .fini = leave_folder) {
    static const char *const names[] = {"status", "list", "top", "timeline", "logs"};
    for (int i = 0; i < SK_COUNT(names); i++) {
        char line[64], wanted[64];
        snprintf(line, sizeof line, "help %s", names[i]);
        snprintf(wanted, sizeof wanted, "usage: skiff %s ", names[i]);
        expect_code(run(line), 0);
        holds(out, wanted);
    }
}

/* In a world of processes of our own: where no other program can run. The exit code of what is done there; 77: the
 * system does not let us. */
static int in_own_world(int (*act)(void)) {
    int   status;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        char map[32];
        snprintf(map, sizeof map, "0 %d 1\n", (int)getuid()); /* as root there, so that programs keep their rights */
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) != 0) _exit(77);
        int fd = open("/proc/self/uid_map", O_WRONLY);
        if (fd < 0 || write(fd, map, strlen(map)) < 0) _exit(77);
        close(fd);
        pid = fork(); /* the first of the new world */
        if (pid == 0) {
            if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) _exit(77);
            if (mount("proc", "/proc", "proc", 0, NULL) != 0) _exit(77);
            _exit(act());
        }
        _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 99);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Without Criterion, which is in the other world. */
static int run_there(const char *to_out, const char *to_err) {
    int   status;
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen(to_out, "w", stdout) || !freopen(to_err, "w", stderr)) _exit(98);
        execl(getenv("SKIFF_BIN"), "skiff", "status", (char *)NULL);
        _exit(97);
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 96;
}

static int look_alone(void) { return run_there("out", "err"); }

static int look_with_one(void) {
    sk_error error = {0};
    prctl(PR_SET_DUMPABLE, 1); /* the way here took it away, and with it the right to be looked at */
    if (sk_board_create("the only one", &block, &board, &error) != SK_OK) return 95;
    return run_there("out", "err");
}

Test(program, the_only_one_need_not_be_named, .init = enter_folder, .fini = leave_folder) {
    int code = in_own_world(look_with_one);
    if (code == 77) cr_skip_test("no namespaces here");
    cr_assert_eq(code, 0, "exit code %d: %s", code, read_file("err"));
    holds(read_file("out"), "the only one, pid 1, running");
}

Test(program, none_is_a_failure, .init = enter_folder, .fini = leave_folder) {
    int code = in_own_world(look_alone);
    if (code == 77) cr_skip_test("no namespaces here");
    cr_assert_eq(code, 1);
    cr_assert_str_eq(read_file("err"), "no skiff program is running (as this user)\n");
}

/* ---- lists ---- */

Test(list, shows_tasks_by_function_and_what_runs, .init = begin, .fini = end) {
    shows("list tasks", "no tasks yet\n\nnothing runs now\n");
    board->functions[0] = (sk_board_function){.name = "pi.sample", .n_submitted = 1000, .n_done = 900, .n_failed = 1,
                                              .n_retried = 2, .n_canceled = 3, .n_running = 4, .total_ns = 1,
                                              .mean_ns = 1500000};
    board->functions[511] = (sk_board_function){.name = "tree.sum", .n_submitted = 5};
    add_worker(7, SK_WORKER_BUSY, 777, "worker-7", "");
    atomic_store(&board->lines[7].job, 0xab00000001);
    atomic_store(&board->lines[7].job_since_ns, LATER);
    shows("list tasks", "function   submitted  done  failed  retried  canceled  running    mean\n"
                        "pi.sample      1,000   900       1        2         3        4  1.5 ms\n"
                        "tree.sum           5     0       0        0         0        0       -\n"
                        "\n"
                        "worker    pid        runs  for\n"
                        "worker-7  777  ab00000001  0 s\n");
}

Test(list, shows_actors_and_how_they_ended, .init = begin, .fini = end) {
    shows("list actors", "no actors\n");
    add_actor(0, SK_ACTOR_ALIVE, "first", "");
    add_actor(5, SK_ACTOR_DEAD, "second", "killed by SIGKILL");
    shows("list actors", "name    class    state  runs in   pid  restarts    done  pending  end\n"
                         "first   counter  alive  process  4321         3  20,500        7  -\n"
                         "second  counter  dead   process  4321         3  20,500        7  killed by SIGKILL\n");
}

Test(list, shows_objects_largest_first, .init = begin, .fini = end) {
    snprintf(board->functions[3].name, SK_BOARD_NAME, "make.rows");
    board->objects[0] = (sk_board_object){.id = 0x10, .size = 4096, .place = SK_OBJECT_SPILLED, .n_refs = 1,
                                          .function = -1, .created_ns = LATER};
    board->objects[4095] = (sk_board_object){.id = 0x2f, .size = 1 << 20, .place = SK_OBJECT_IN_MEMORY, .n_refs = 2,
                                             .n_pins = 1, .function = 3, .created_ns = LATER};
    shows("list objects", "id      size  place   refs  pins  made by    age\n"
                          "2f  1.00 MiB  memory     2     1  make.rows  0 s\n"
                          "10  4.00 KiB  disk       1     0  put        0 s\n");
}

Test(list, shows_workers_with_their_memory, .init = begin, .fini = end) {
    add_worker(0, SK_WORKER_BUSY, getpid(), "worker-0", "/var/log/worker-0.log");
    shows("list workers", "name      ");
    holds(out, "  busy  ");
    holds(out, " MiB ");
    holds(out, "/var/log/worker-0.log\n");
    expect_code(run_here("list workers --json"), 0);
    json_t *row = parse(out);
    cr_assert_eq(number(row, "pid"), getpid());
    cr_assert_gt(number(row, "rss_bytes"), 1 << 20);
    cr_assert_geq(number(row, "up_s"), 70);
    cr_assert_str_eq(text_of(row, "log"), "/var/log/worker-0.log");
    json_decref(row);
}

Test(list, gives_one_object_per_row_to_programs, .init = begin, .fini = end) {
    expect_code(run_here("list actors --json"), 0);
    cr_assert_str_empty(out);
    add_actor(0, SK_ACTOR_ALIVE, "a \"quoted\" name", "");
    add_actor(1, SK_ACTOR_DEAD, "b", "killed by SIGKILL");
    board->functions[0] = (sk_board_function){.name = "f", .n_submitted = 1};
    expect_code(run_here("list actors --json"), 0);
    json_t *rows = parse_lines(out);
    cr_assert_eq(json_array_size(rows), 2);
    cr_assert_str_eq(text_of(json_array_get(rows, 0), "name"), "a \"quoted\" name");
    cr_assert_str_eq(text_of(json_array_get(rows, 1), "state"), "dead");
    cr_assert_str_eq(text_of(json_array_get(rows, 1), "id"), "700000001");
    json_decref(rows);
    add_worker(0, SK_WORKER_BUSY, 777, "w", "");
    atomic_store(&board->lines[0].job, 9);
    expect_code(run_here("list tasks --json"), 0);
    rows = parse_lines(out);
    cr_assert_eq(json_array_size(rows), 2);
    cr_assert_str_eq(text_of(json_array_get(rows, 0), "row"), "function");
    cr_assert(json_is_null(json_object_get(json_array_get(rows, 0), "mean_s")));
    cr_assert_str_eq(text_of(json_array_get(rows, 1), "row"), "run");
    json_decref(rows);
}

Test(list, shows_names_so_that_they_cannot_steer_a_terminal, .init = begin, .fini = end) {
    add_actor(0, SK_ACTOR_ALIVE, "\033]0;gotcha\a\n\tK\xc3\xa4se\xc2\x9b\xff", "");
    shows("list actors", "\n\\x1b]0;gotcha\\x07\\x0a\\x09K\xc3\xa4se\\xc2\\x9b\\xff  counter");
}

/* ---- damaged boards ---- */

static uint64_t random_state = 0x5eed;
static uint64_t draw(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void scribble(void *to, size_t size) {
    for (size_t i = 0; i < size; i++) ((uint8_t *)to)[i] = (uint8_t)(draw() >> 40);
}

/* Anything anywhere; in half of the rounds the states are such that the rows are shown. */
static void scribble_tables(bool keep_states) {
    sk_board_actor *actors = board->actors;
    scribble(board->name, sizeof board->name);
    scribble(board->log_dir, sizeof board->log_dir);
    scribble(&board->counters, sizeof board->counters);
    scribble(board->resources, sizeof board->resources);
    scribble(board->waits, sizeof board->waits);
    scribble(board->functions, sizeof board->functions);
    scribble(board->workers, 200 * sizeof board->workers[0]);
    scribble(&board->workers[SK_BOARD_LINES - 1], sizeof board->workers[0]);
    scribble(actors, 200 * sizeof actors[0]);
    scribble(&actors[SK_BOARD_ACTORS - 1], sizeof actors[0]);
    scribble(board->objects, sizeof board->objects);
    scribble(board->hosts, sizeof board->hosts);
    scribble(board->endpoint, sizeof board->endpoint);
    scribble(board->events, 3000 * sizeof board->events[0]);
    atomic_store(&board->n_events, draw() % 2 ? draw() : draw() % 3000);
    for (int i = 0; i < 200; i++) {
        atomic_store(&board->lines[i].job, draw());
        atomic_store(&board->lines[i].job_since_ns, (int64_t)draw());
        if (!keep_states) continue;
        board->workers[i].state = (int32_t)(draw() % 8) - 1;
        actors[i].state = (int32_t)(draw() % 9) - 1;
        board->hosts[i].state = (int32_t)(draw() % 7) - 1;
        board->workers[i].host = (int32_t)(draw() % 300) - 20;
        actors[i].host = (int32_t)(draw() % 300) - 20;
        board->events[i].host = (int32_t)(draw() % 300) - 20;
    }
}

/* Every line of the output, however many: of a table, without control characters; else one JSON object. */
static void check_lines(bool json) {
    char  *line = NULL;
    size_t cap = 0;
    FILE  *file = fopen("out", "r");
    cr_assert_not_null(file);
    for (ssize_t size; (size = getline(&line, &cap, file)) > 0;) {
        json_error_t why;
        json_t      *row = json ? json_loads(line, 0, &why) : NULL;
        cr_assert(!json || json_is_object(row), "%s in %s", why.text, line);
        json_decref(row);
        for (ssize_t i = 0; i < size - 1; i++)
            cr_assert((unsigned char)line[i] >= 0x20 && line[i] != 0x7f, "a control character in %s", line);
    }
    free(line);
    fclose(file);
}

Test(board, any_bytes_in_the_tables_do_no_harm, .init = begin, .fini = end) {
    static const char *const lines[] = {"status", "status --json", "list tasks", "list tasks --json", "list actors",
                                        "list actors --json", "list objects", "list objects --json", "list workers",
                                        "list workers --json", "list hosts", "list hosts --json",
                                        "top --count 1", "timeline trace.json", "logs worker-1", "logs 12345"};
    for (int round = 0; round < 4; round++) {
        uint64_t seed = random_state;
        scribble_tables(round % 2 == 0);
        for (int i = 0; i < SK_COUNT(lines); i++) {
            int code = run_here(lines[i]);
            cr_assert(code == 0 || (i >= 14 && (code == 1 || code == 2)), "%s with seed %llx: %d: %s", lines[i],
                      (unsigned long long)seed, code, err);
            check_lines(strstr(lines[i], "--json") != NULL);
        }
        json_t *trace = json_load_file("trace.json", 0, NULL);
        cr_assert_not_null(trace, "the trace is no JSON, with seed %llx", (unsigned long long)seed);
        json_decref(trace);
    }
}

/* The tables are some 14 MB of memory that nobody has touched yet. */
Test(board, looking_at_it_takes_no_memory_of_the_program, .init = begin, .fini = end) {
    static const char *const lines[] = {"status", "list tasks", "list actors", "list objects", "list workers",
                                        "list hosts", "top --count 1", "timeline trace.json", "logs nobody"};
    char path[64];
    struct stat before, after;
    snprintf(path, sizeof path, "/proc/self/fd/%d", sk_block_get_ref(block).fd);
    cr_assert_eq(stat(path, &before), 0);
    for (int i = 0; i < SK_COUNT(lines); i++) {
        run_here(lines[i]);
        cr_assert_eq(stat(path, &after), 0);
        cr_assert_eq(after.st_blocks, before.st_blocks, "%s took %ld KB", lines[i],
                     (long)(after.st_blocks - before.st_blocks) / 2);
    }
}

/* ---- timeline ---- */

Test(timeline, writes_a_trace, .init = begin, .fini = end) {
    snprintf(board->functions[0].name, SK_BOARD_NAME, "pi.sample");
    sk_board_event event = {.start_ns = ago(1), .duration_ns = 1000000, .id = 5, .method = -1, .pid = 77, .thread = 0};
    sk_board_add_event(board, &event);
    shows("timeline trace.json", "trace.json: the last 1 of 1 runs of pi farm");
    json_t *trace = parse(read_file("trace.json"));
    holds(read_file("trace.json"), "pi.sample");
    json_decref(trace);
    expect_code(run_here("timeline no/such/folder.json"), 1);
    holds(err, "no/such/folder.json");
    expect_code(run_here("timeline"), 2);
}
