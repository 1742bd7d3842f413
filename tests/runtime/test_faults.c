/* What must hold when processes die or stop, the machine's limits are met, or its clock jumps. Workers that talk
 * nonsense are in test_hostile.c, all of it at random moments in tests/faults/runtime_chaos.c. */
#include "tests/runtime/clock_jump.h"
#include "tests/runtime/harness.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;
enum { MIB = 1024 * 1024 };

/* ---- a worker dies ------------------------------------------------------------------------------------------------ */
Test(fault, a_killed_worker_ends_the_wait_and_is_named) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-1", SK_PLACE_PROCESS), other = make(rt, "runner-2", SK_PLACE_PROCESS);
    char        wanted[128];
    int         pid = pid_of(rt, actor);
    snprintf(wanted, sizeof wanted, "runner-1 (process %d) was killed by signal 9 (SIGKILL)", pid);
    sk_ref running = call_int(rt, actor, PROBE_SLEEP, 60000), queued = call(rt, actor, PROBE_COUNT, NULL, 0);
    cr_assert_eq(sk_get(rt, running, 20, NULL, NULL), SK_ETIMEOUT);
    kill(pid, SIGKILL);
    const char *msg = take_error(rt, running, SK_EDEAD);
    cr_assert(strstr(msg, wanted), "%s", msg);
    msg = take_error(rt, queued, SK_EDEAD);
    cr_assert(strstr(msg, wanted), "%s", msg);

    /* It stays dead, the same words, and the others do not care. */
    sk_error err = {0};
    cr_assert_eq(sk_actor_check(rt, actor, NULL, &err), SK_EDEAD);
    cr_assert(strstr(err.msg, wanted), "%s", err.msg);
    cr_assert_eq(sk_actor_check(rt, other, NULL, &err), SK_OK);
    cr_assert_eq(take_int(rt, call(rt, other, PROBE_COUNT, NULL, 0)), 0);
    leave(rt);
}

Test(fault, the_death_of_an_idle_worker_is_seen_by_looking) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_error    err = {0};
    kill(pid_of(rt, actor), SIGUSR1);
    AWAIT(sk_actor_check(rt, actor, NULL, &err) != SK_OK);
    cr_assert(strstr(err.msg, "runner-0") && strstr(err.msg, "SIGUSR1"), "%s", err.msg);
    leave(rt);
}

Test(fault, a_death_ends_the_wait_for_many) {
    sk_runtime *rt = start();
    sk_actor    slow = make(rt, "runner-0", SK_PLACE_PROCESS), dying = make(rt, "runner-1", SK_PLACE_PROCESS);
    sk_ref      refs[2] = {call_int(rt, slow, PROBE_SLEEP, 60000), call_int(rt, dying, PROBE_RAISE, SIGKILL)};
    sk_error    err = {0};
    cr_assert_eq(sk_get_all(rt, refs, 2, READY_MS, &err), SK_EDEAD);
    cr_assert(strstr(err.msg, "runner-1") && strstr(err.msg, "(SIGKILL)"), "%s", err.msg);
    cr_assert_not(has_ended(rt, refs[0]), "the slow one still sleeps");
    sk_actor_kill(rt, slow, SK_KILL_FOR_GOOD);
    leave(rt);
}

static void expect_create_fails(sk_runtime *rt, const char *class_name, int32_t arg, const char *text) {
    sk_arg    args = sk_by_value(&arg, sizeof arg);
    sk_actor  actor = order(rt, (sk_actor_params){.class_name = class_name, .name = "runner-0", .args = &args,
                                                  .n_args = 1, .placement = SK_PLACE_PROCESS});
    sk_ref    early = call(rt, actor, PROBE_COUNT, NULL, 0);
    sk_error  err = {0};
    sk_status got = sk_actor_wait(rt, actor, READY_MS, &err);
    cr_assert(got == SK_EDEAD || got == SK_EIO, "got %s: %s", sk_status_text(got), err.msg);
    cr_assert(strstr(err.msg, text) && strstr(err.msg, "runner-0"), "wanted '%s' in '%s'", text, err.msg);
    cr_assert(sk_get(rt, early, READY_MS, NULL, NULL) == SK_EDEAD || sk_get(rt, early, 0, NULL, NULL) == got);
    drop(rt, early);
}

Test(fault, a_worker_that_dies_before_it_is_ready_fails_create) {
    sk_runtime *rt = start();
    expect_create_fails(rt, "exits", 3, "exited with status 3");
    leave(rt);
    rt = start_with((sk_runtime_params){.worker_path = "/bin/false"});
    expect_create_fails(rt, "probe", 0, "exited with status 1");
    leave(rt);
}

Test(fault, a_missing_worker_program_is_named) {
    const char *paths[] = {"/no/such/worker", "/"};
    for (int i = 0; i < 2; i++) {
        sk_runtime *rt = start_with((sk_runtime_params){.worker_path = paths[i]});
        expect_create_fails(rt, "probe", 0, paths[i]);
        const char *msg = take_error(rt, submit(rt, (sk_task){.function = "probe.pid"}), SK_EIO);
        cr_assert(strstr(msg, paths[i]) && strstr(msg, i ? "Permission denied" : "No such file"), "%s", msg);
        cr_assert_eq(take_int(rt, submit(rt, (sk_task){.function = "probe.pid", .placement = SK_PLACE_THREAD})), getpid());
        leave(rt);
    }
}

/* Each run of a task that kills its worker is one too many at some time, and the runtime does not spin. */
Test(fault, worker_programs_that_die_at_once_are_given_up) {
    sk_runtime *rt = start_with((sk_runtime_params){.worker_path = "/bin/false"});
    const char *msg = take_error(rt, submit(rt, (sk_task){.function = "probe.pid"}), SK_EDEAD);
    cr_assert(strstr(msg, "exited with status 1"), "%s", msg);
    cr_assert_lt(seen()->n_worker_deaths, 100);
    leave(rt);
}

Test(fault, a_program_that_ignores_its_children_still_learns_of_deaths) {
    signal(SIGCHLD, SIG_IGN);
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    const char *msg = take_error(rt, call_int(rt, actor, PROBE_RAISE, SIGKILL), SK_EDEAD);
    cr_assert(strstr(msg, "runner-0"), "%s", msg);
    leave(rt);
    signal(SIGCHLD, SIG_DFL);
}

Test(fault, tasks_outlive_the_deaths_of_their_workers) {
    enum { N = 300 };
    sk_ref      refs[N];
    sk_runtime *rt = start();
    for (int i = 0; i < N; i++) refs[i] = run_int(rt, "probe.sleep", 1);
    for (int kills = 0; kills < 6; kills++) {
        usleep(10000);
        for (int line = 0; line < SK_BOARD_LINES; line++) {
            if (look()->workers[line].state < SK_WORKER_IDLE) continue; /* one that dies before it is ready counts as unable to */
            kill(look()->workers[line].pid, SIGKILL);
            break;
        }
    }
    for (int i = 0; i < N; i++) cr_assert_eq(take_int(rt, refs[i]), 1);
    leave(rt);
}

/* ---- signals to a worker ------------------------------------------------------------------------------------------- */
Test(fault, a_worker_ignores_ctrl_c) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    cr_assert_eq(take_int(rt, call_int(rt, actor, PROBE_RAISE, SIGINT)), SIGINT);
    cr_assert_eq(take_int(rt, call(rt, actor, PROBE_COUNT, NULL, 0)), 0);
    finish(rt);
}

Test(fault, a_first_sigterm_leaves_the_worker_to_its_driver) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_ref      present = call_int(rt, actor, PROBE_RAISE, SIGTERM), next = call(rt, actor, PROBE_COUNT, NULL, 0);
    cr_assert_eq(take_int(rt, present), SIGTERM);
    cr_assert_eq(take_int(rt, next), 0);
    finish(rt);
}

Test(fault, a_second_sigterm_ends_a_worker_at_once) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    int         pid = pid_of(rt, actor);
    sk_ref      sleeping = call_int(rt, actor, PROBE_SLEEP, 60000);
    cr_assert_eq(sk_get(rt, sleeping, 20, NULL, NULL), SK_ETIMEOUT);
    kill(pid, SIGTERM);
    cr_assert_eq(sk_get(rt, sleeping, 50, NULL, NULL), SK_ETIMEOUT, "the first one waits for the call");
    kill(pid, SIGTERM);
    const char *msg = take_error(rt, sleeping, SK_EDEAD);
    cr_assert(strstr(msg, "exited with status 143"), "%s", msg);
    leave(rt);
}

Test(fault, two_sigterms_end_an_idle_worker) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    int         pid = pid_of(rt, actor);
    for (int i = 0; i < 2; i++) {
        usleep(20000); /* asleep by now, most likely; and else the two may count as one */
        kill(pid, SIGTERM);
    }
    cr_assert(wait_until_ended(pid, READY_MS));
    AWAIT(sk_actor_check(rt, actor, NULL, NULL) == SK_EDEAD);
    leave(rt);
}

Test(fault, a_stopped_worker_times_out_and_goes_on_when_continued) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_error    err = {0};
    kill(pid_of(rt, actor), SIGSTOP);
    sk_ref refs[200];
    for (int i = 0; i < 200; i++) refs[i] = call(rt, actor, PROBE_COUNT, &err, sizeof err); /* more than its ring takes */
    cr_assert_eq(sk_get(rt, refs[0], 50, NULL, &err), SK_ETIMEOUT);
    cr_assert(strstr(err.msg, "runner-0") && strstr(err.msg, "count") && strstr(err.msg, "50 ms"), "%s", err.msg);
    kill(pid_of(rt, actor), SIGCONT);
    for (int i = 0; i < 200; i++) cr_assert_eq(take_int(rt, refs[i]), i);
    finish(rt);
}

Test(fault, a_stopped_worker_is_killed_in_the_end) {
    sk_runtime *rt = start_with((sk_runtime_params){.stop_timeout_ms = 50});
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    int         pid = pid_of(rt, actor);
    kill(pid, SIGSTOP);
    sk_ref ref = call(rt, actor, PROBE_COUNT, NULL, 0);
    sk_actor_join(rt, &actor, 1, 50);
    cr_assert(wait_until_ended(pid, READY_MS));
    take_error(rt, ref, SK_EDEAD);

    pid = pid_of(rt, make(rt, "runner-1", SK_PLACE_PROCESS));
    kill(pid, SIGSTOP);
    leave(rt);
    cr_assert(process_has_ended(pid));
}

/* ---- the driver dies ------------------------------------------------------------------------------------------------- */
/* Run driver_probe; gives its pid and those of its workers. */
static int start_driver(const char *mode, const char *folder, int ret_workers[2]) {
    char                       path[512], line[64] = "";
    int                        ends[2], pid = 0;
    posix_spawn_file_actions_t files;
    snprintf(path, sizeof path, "%s/tests/runtime/driver_probe", getenv("SKIFF_BUILD_DIR"));
    char *argv[] = {path, (char *)mode, (char *)folder, NULL};
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    cr_assert_eq(posix_spawn(&pid, path, &files, NULL, argv, environ), 0, "%s", path);
    posix_spawn_file_actions_destroy(&files);
    close(ends[1]);
    FILE *out = fdopen(ends[0], "r");
    cr_assert_not_null(fgets(line, sizeof line, out), "driver_probe ended early");
    cr_assert_eq(sscanf(line, "%d %d", &ret_workers[0], &ret_workers[1]), 2, "'%s'", line);
    fclose(out);
    return pid;
}

/* Children of `pid`, whichever thread started them; gives how many, up to max. */
static int children_of(int pid, int *ret_pids, int max) {
    char           path[300];
    int            n = 0, child;
    DIR           *tasks;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    tasks = opendir(path);
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", pid, e->d_name);
        FILE *file = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        while (file && n < max && fscanf(file, "%d", &child) == 1) ret_pids[n++] = child;
        if (file) fclose(file);
    }
    if (tasks) closedir(tasks);
    return n;
}

static void end_driver(const char *mode, int signal_number) {
    const char *folder = make_folder();
    int         workers[2], all[64], status, n_shm = count_shm(), driver = start_driver(mode, folder, workers);
    if (strcmp(mode, "busy") == 0) usleep(50000);
    int n = children_of(driver, all, 64);
    for (int i = 0; signal_number && i < 2; i++) /* one that exits by itself may be gone already */
        cr_assert_not(process_has_ended(workers[i]));
    if (signal_number) kill(driver, signal_number);
    cr_assert_eq(waitpid(driver, &status, 0), driver);
    if (signal_number)
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
    else
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    int64_t begin_ns = sk_clock_now_ns();
    for (int i = 0; i < 2; i++) cr_assert(wait_until_ended(workers[i], 10000), "worker %d lives on", workers[i]);
    for (int i = 0; i < n; i++) cr_assert(wait_until_ended(all[i], 10000), "worker %d lives on", all[i]);
    fprintf(stderr, "# workers were gone after %.1f ms\n", (double)(sk_clock_now_ns() - begin_ns) * 1e-6);
    cr_assert_eq(count_shm(), n_shm);
    DIR *dir = opendir(folder);
    for (struct dirent *e; (e = readdir(dir));)
        cr_assert(e->d_name[0] == '.' || strstr(e->d_name, ".log"), "%s is left", e->d_name);
    closedir(dir);
    remove_folder(folder);
}

Test(fault, nothing_is_left_of_a_driver_that_was_killed) { end_driver("wait", SIGKILL); }
Test(fault, nothing_is_left_of_a_driver_that_was_killed_in_a_call) { end_driver("call", SIGKILL); }
Test(fault, nothing_is_left_of_a_driver_that_was_killed_at_work) { end_driver("busy", SIGKILL); }
Test(fault, nothing_is_left_of_a_driver_that_was_terminated) { end_driver("wait", SIGTERM); }
Test(fault, nothing_is_left_of_a_driver_that_exits_without_cleaning_up) { end_driver("exit", 0); }

static void expect_worker_refuses(char **argv, int i) {
    int pid = 0, status = 0;
    cr_assert_eq(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "case %d: status 0x%x", i, status);
}

Test(fault, a_worker_refuses_arguments_it_does_not_know) {
    char  path[512];
    char *wrong[][8] = {{path, "worker", NULL},
                        {path, "worker", "--board", "0:0:0:0", NULL},
                        {path, "worker", "--parent", "1", NULL},
                        {path, "worker", "1", "2", "3", "4", "5", NULL},
                        {path, "worker", "--what", "1", NULL}};
    snprintf(path, sizeof path, "%s", probe_worker_path());
    for (int i = 0; i < SK_COUNT(wrong); i++) expect_worker_refuses(wrong[i], i);
}

/* ---- limits ------------------------------------------------------------------------------------------------------------- */
static rlim_t limit_files(rlim_t n) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t old = files.rlim_cur;
    files.rlim_cur = n;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    return old;
}

/* With one descriptor more each time: told with the limit's name, or it works. */
Test(fault, the_limit_of_open_files_is_named) {
    static const sk_module *const modules[] = {&probe_module};
    int n_fds = count_entries("/proc/self/fd") - 3, n_failed = 0; /* ".", ".." and the one that reads */
    for (int more = 0; more < 40; more++) {
        sk_runtime_params params = {.modules = modules, .n_modules = 1, .worker_has_modules = true,
                                    .worker_path = probe_worker_path()};
        sk_runtime *rt = NULL;
        sk_error    err = {0};
        rlim_t      old = limit_files((rlim_t)(n_fds + more));
        sk_status   status = sk_runtime_create(&params, &rt, &err);
        if (status == SK_OK) {
            sk_ref ref = put(rt, 100000), sum = {0};
            sk_arg arg = sk_by_ref(ref);
            sk_task task = {.function = "probe.sum", .args = &arg, .n_args = 1};
            status = sk_submit(rt, &task, &sum, &err);
            if (status == SK_OK) status = sk_get(rt, sum, READY_MS, NULL, &err);
        } else {
            cr_assert_eq(status, SK_ELIMIT, "%s", err.msg);
            cr_assert(strstr(err.msg, "ulimit -n"), "%s", err.msg);
        }
        limit_files(old);
        cr_assert(status == SK_OK || err.msg[0]);
        n_failed += status != SK_OK;
        if (rt) { /* and with the limit gone it goes on */
            cr_assert_eq(take_long(rt, run_long(rt, "probe.add", 5)), 5);
            sk_runtime_destroy(&rt);
        }
        cr_assert_eq(count_entries("/proc/self/fd") - 3, n_fds, "with %d more", more);
        if (status == SK_OK) break;
    }
    cr_assert_geq(n_failed, 2, "the limit was never met");
}

/* As a disk that is full: writing the file of spilled objects fails at 1 MiB. */
Test(fault, a_full_disk_is_told_and_loses_nothing) {
    struct rlimit size = {.rlim_cur = MIB, .rlim_max = RLIM_INFINITY};
    sk_ref        refs[40];
    int           n = 0;
    void         *data = NULL;
    sk_error      err = {0};
    sk_status     status = SK_OK;
    sk_runtime   *rt = start_with((sk_runtime_params){.store_bytes = 2 * MIB});
    cr_assert_eq(take_long(rt, run_long(rt, "probe.add", 5)), 5);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &size);
    while (n < 40 && status == SK_OK) {
        status = sk_put_begin(rt, MIB / 4, &refs[n], &data, &err);
        if (status != SK_OK) break;
        probe_fill(data, MIB / 4);
        cr_assert_eq(sk_put_end(rt, refs[n++], &err), SK_OK, "%s", err.msg);
    }
    cr_assert(status == SK_ELIMIT || status == SK_EIO, "%d are in: %s", n, err.msg);
    cr_assert(strstr(err.msg, "262144"), "%s", err.msg);
    cr_assert(n >= 8 && n <= 12, "%d", n);
    const char *msg = take_error(rt, run_long(rt, "probe.big", MIB), status);
    cr_assert(strstr(msg, "probe.big"), "%s", msg);
    for (int i = n - 1; i >= 0; i--) { /* those in memory first: each makes room for one that is not */
        cr_assert(probe_is_filled(value_of(rt, refs[i])), "object %d", i);
        drop(rt, refs[i]);
    }
    sk_ref again = put(rt, MIB);
    cr_assert(probe_is_filled(value_of(rt, again)));
    drop(rt, again);
    size.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &size);
    leave(rt);
}

Test(fault, a_spill_folder_that_is_not_there_is_named) {
    sk_error    err = {0};
    sk_ref      ref = {0};
    sk_status   status = SK_OK;
    sk_runtime *rt = start_with((sk_runtime_params){.store_bytes = 2 * MIB, .spill_dir = "/no/such/folder"});
    for (int i = 0; i < 5 && status == SK_OK; i++) status = sk_put(rt, rt, 1, &ref, &err);
    void *data = NULL;
    for (int i = 0; i < 5 && status == SK_OK; i++) {
        status = sk_put_begin(rt, MIB, &ref, &data, &err);
        if (status == SK_OK) status = sk_put_end(rt, ref, &err);
    }
    cr_assert_neq(status, SK_OK);
    cr_assert(strstr(err.msg, "/no/such/folder"), "%s", err.msg);
    leave(rt);
}

/* ---- the clock jumps --------------------------------------------------------------------------------------------------- */
Test(fault, a_clock_that_jumps_changes_no_wait) {
    sk_runtime *rt = start();
    sk_actor    actor = make(rt, "runner-0", SK_PLACE_PROCESS), thread = make(rt, "runner-1", SK_PLACE_THREAD);
    clock_jumps = 1;
    for (int i = 0; i < 3; i++) {
        sk_ref  slow = call_int(rt, i % 2 ? thread : actor, PROBE_SLEEP, 150);
        int64_t begin_ns = sk_clock_now_ns();
        cr_assert_eq(sk_get(rt, slow, 60, NULL, NULL), SK_ETIMEOUT);
        cr_assert_geq(sk_clock_now_ns() - begin_ns, INT64_C(60000000), "not too early");
        cr_assert_eq(take_int(rt, slow), 150);
        int32_t ms = 10000;
        sk_arg  arg = sk_by_value(&ms, sizeof ms);
        sk_task task = {.function = "probe.sleep", .args = &arg, .n_args = 1, .timeout_ms = 50};
        take_error(rt, submit(rt, task), SK_ETIMEOUT);
    }
    sk_actor both[] = {actor, thread};
    sk_actor_join(rt, both, 2, READY_MS);
    clock_jumps = 0;
    leave(rt);
}
