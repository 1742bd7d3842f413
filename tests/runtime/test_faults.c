/* What must hold when processes die, stop, or talk nonsense. */
#include "core/transport/socket.h"
#include "tests/runtime/harness.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <zmq.h>

extern char **environ;

/* ---- a worker dies ---------------------------------------------------------------------------------- */
Test(fault, a_killed_worker_ends_the_wait_and_is_named) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-1", SK_PLACE_PROCESS), *other = make(rt, "runner-2", SK_PLACE_PROCESS);
    char wanted[128];
    int pid = sk_actor_pid(actor);
    snprintf(wanted, sizeof wanted, "runner-1 (process %d) was killed by signal 9 (SIGKILL)", pid);
    sk_future *running = call_int(actor, PROBE_SLEEP, 60000), *queued = call(actor, PROBE_COUNT, NULL, 0);
    cr_assert_eq(sk_future_wait(running, 20, NULL, NULL), SK_ETIMEOUT);
    kill(pid, SIGKILL);
    cr_assert_str_eq(wait_error(running, SK_EDEAD), wanted);
    cr_assert_str_eq(wait_error(queued, SK_EDEAD), wanted);

    /* It stays dead, the same words, and the others do not care. */
    sk_error err = {0};
    cr_assert_eq(sk_actor_check(actor, &err), SK_EDEAD);
    cr_assert_str_eq(err.msg, wanted);
    cr_assert_str_eq(wait_error(call(actor, PROBE_COUNT, NULL, 0), SK_EDEAD), wanted);
    cr_assert_eq(sk_actor_check(other, &err), SK_OK);
    cr_assert_eq(wait_int(call(other, PROBE_COUNT, NULL, 0)), 0);
    sk_actor_destroy(&actor);
    sk_runtime_destroy(&rt);
}

Test(fault, the_death_of_an_idle_worker_is_seen_by_looking) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_error err = {0};
    int64_t end_ns = sk_clock_now_ns() + (int64_t)READY_MS * 1000000;
    cr_assert_eq(sk_actor_check(actor, &err), SK_OK);
    kill(sk_actor_pid(actor), SIGUSR1);
    while (sk_actor_check(actor, &err) == SK_OK && sk_clock_now_ns() < end_ns) usleep(1000);
    cr_assert(strstr(err.msg, "runner-0 (process "), "%s", err.msg);
    sk_runtime_destroy(&rt);
}

Test(fault, a_worker_that_exits_is_told_with_its_status) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    const char *msg = wait_error(call_int(actor, PROBE_EXIT, 3), SK_EDEAD);
    cr_assert(strstr(msg, "exited with status 3"), "%s", msg);
    sk_runtime_destroy(&rt);
}

Test(fault, a_death_ends_the_wait_for_many) {
    sk_runtime *rt = start();
    sk_actor *slow = make(rt, "runner-0", SK_PLACE_PROCESS), *dying = make(rt, "runner-1", SK_PLACE_PROCESS);
    sk_future *futures[2] = {call_int(slow, PROBE_SLEEP, 1000), call_int(dying, PROBE_RAISE, SIGKILL)};
    sk_error err = {0};
    cr_assert_eq(sk_future_wait_all(futures, 2, READY_MS, &err), SK_EDEAD);
    cr_assert(strstr(err.msg, "runner-1") && strstr(err.msg, "(SIGKILL)"), "%s", err.msg);
    cr_assert_eq(sk_future_wait(futures[0], 0, NULL, NULL), SK_ETIMEOUT, "the slow one still sleeps");
    sk_runtime_destroy(&rt);
}

static void expect_create_fails(sk_runtime *rt, const char *class_name, sk_bytes arg, sk_status wanted,
                                const char *text) {
    sk_actor *actor = NULL;
    sk_error err = {0};
    sk_status got =
        sk_actor_create(rt, class_name, "runner-0", SK_PLACE_PROCESS, arg, READY_MS, &actor, &err);
    cr_assert_eq(got, wanted, "got %s: %s", sk_status_text(got), err.msg);
    cr_assert(strstr(err.msg, text), "wanted '%s' in '%s'", text, err.msg);
    cr_assert(strstr(err.msg, "runner-0"), "%s", err.msg);
    cr_assert_null(actor);
}

Test(fault, a_worker_that_dies_before_it_is_ready_fails_create) {
    sk_runtime *rt = start();
    int32_t status = 3;
    expect_create_fails(rt, "exits", (sk_bytes){&status, sizeof status}, SK_EDEAD,
                        "exited with status 3 before the actor was ready");
    sk_runtime_destroy(&rt);

    rt = start_with((sk_runtime_params){.worker_path = "/bin/false"});
    expect_create_fails(rt, "probe", NO_BYTES, SK_EDEAD, "exited with status 1 before the actor was ready");
    sk_runtime_destroy(&rt);
}

Test(fault, a_missing_worker_program_is_named) {
    sk_runtime *rt = start_with((sk_runtime_params){.worker_path = "/no/such/worker"});
    expect_create_fails(rt, "probe", NO_BYTES, SK_EIO,
                        "cannot start the worker program /no/such/worker: No such file");
    sk_runtime_destroy(&rt);
    rt = start_with((sk_runtime_params){.worker_path = "/"});
    expect_create_fails(rt, "probe", NO_BYTES, SK_EIO, "worker program /: Permission denied");
    sk_runtime_destroy(&rt);
}

Test(fault, a_program_that_ignores_its_children_still_learns_of_deaths) {
    signal(SIGCHLD, SIG_IGN);
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    const char *msg = wait_error(call_int(actor, PROBE_RAISE, SIGKILL), SK_EDEAD);
    cr_assert(strstr(msg, "runner-0 (process ") && strstr(msg, "has ended"), "%s", msg);
    sk_runtime_destroy(&rt);
    signal(SIGCHLD, SIG_DFL);
}

/* ---- signals to a worker ---------------------------------------------------------------------------- */
Test(fault, a_worker_ignores_ctrl_c) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    cr_assert_eq(wait_int(call_int(actor, PROBE_RAISE, SIGINT)), SIGINT);
    cr_assert_eq(wait_int(call(actor, PROBE_COUNT, NULL, 0)), 0);
    sk_runtime_destroy(&rt);
}

Test(fault, a_first_sigterm_leaves_the_worker_to_its_driver) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_future *present = call_int(actor, PROBE_RAISE, SIGTERM), *next = call(actor, PROBE_COUNT, NULL, 0);
    cr_assert_eq(wait_int(present), SIGTERM);
    cr_assert_eq(sk_future_wait(next, READY_MS, NULL, NULL), SK_OK);
    sk_runtime_destroy(&rt);
}

Test(fault, a_second_sigterm_ends_a_worker_at_once) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_future *sleeping = call_int(actor, PROBE_SLEEP, 600000);
    cr_assert_eq(sk_future_wait(sleeping, 20, NULL, NULL), SK_ETIMEOUT);
    kill(sk_actor_pid(actor), SIGTERM);
    cr_assert_eq(sk_future_wait(sleeping, 50, NULL, NULL), SK_ETIMEOUT, "the first one waits for the call");
    kill(sk_actor_pid(actor), SIGTERM);
    const char *msg = wait_error(sleeping, SK_EDEAD);
    cr_assert(strstr(msg, "exited with status 143"), "%s", msg);
    sk_runtime_destroy(&rt);
}

Test(fault, two_sigterms_end_an_idle_worker) {
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    wait_int(call(actor, PROBE_COUNT, NULL, 0));
    usleep(20000); /* asleep by now, most likely */
    kill(sk_actor_pid(actor), SIGTERM);
    usleep(20000); /* else the two may count as one */
    kill(sk_actor_pid(actor), SIGTERM);
    cr_assert(wait_until_ended(sk_actor_pid(actor), READY_MS));
    wait_error(call(actor, PROBE_COUNT, NULL, 0), SK_EDEAD);
    sk_runtime_destroy(&rt);
}

Test(fault, a_stopped_worker_times_out_and_is_killed_in_the_end) {
    sk_runtime *rt = start_with((sk_runtime_params){.stop_timeout_ms = 50});
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    int pid = sk_actor_pid(actor);
    sk_error err = {0};
    kill(pid, SIGSTOP);
    sk_future *future = call(actor, PROBE_ECHO, "x", 1);
    cr_assert_eq(sk_future_wait(future, 50, NULL, &err), SK_ETIMEOUT);
    cr_assert_str_eq(err.msg, "runner-0: no answer to echo within 50 ms");
    sk_actor_destroy(&actor);
    cr_assert(process_has_ended(pid));
    cr_assert_gt(n_warnings, 0, "it is said that it had to be killed");
    wait_error(future, SK_EDEAD);
    sk_runtime_destroy(&rt);
}

/* ---- at random moments ------------------------------------------------------------------------------ */
static uint64_t random_state;

static uint32_t draw(uint32_t n) { /* splitmix64 */
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % n);
}

static uint64_t choose_seed(void) {
    const char *given = getenv("SKIFF_TEST_SEED");
    uint64_t seed = 0;
    if (given) return strtoull(given, NULL, 0);
    cr_assert_eq(getrandom(&seed, sizeof seed, 0), (ssize_t)sizeof seed);
    return seed;
}

/* Calls go on while a helper process hits the worker; every future must end in a value or an error. */
static void one_random_round(sk_runtime *rt, int round, uint64_t seed) {
    enum { N_CALLS = 40 };
    sk_actor *actor = make(rt, "victim", SK_PLACE_PROCESS), *other = make(rt, "bystander", SK_PLACE_PROCESS);
    sk_future *futures[N_CALLS];
    int hit_at = (int)draw(N_CALLS), signal_number = draw(3) ? SIGKILL : SIGSTOP;
    uint8_t in[3000] = {0};
    for (int i = 0; i < N_CALLS; i++) {
        futures[i] = draw(4) ? call(actor, PROBE_ECHO, in, draw(sizeof in))
                             : call_int(actor, PROBE_SLEEP, (int)draw(3));
        if (i == hit_at) {
            usleep(draw(4000));
            kill(sk_actor_pid(actor), signal_number);
        }
        if (draw(8) == 0) (void)!sk_future_wait(futures[draw((uint32_t)i + 1)], 0, NULL, NULL);
    }
    for (int i = 0; i < N_CALLS; i++) {
        sk_error err = {0};
        int patience_ms = signal_number == SIGSTOP ? 2 : READY_MS;
        sk_status status = sk_future_wait(futures[i], patience_ms, NULL, &err);
        bool ok = status == SK_OK || status == (signal_number == SIGSTOP ? SK_ETIMEOUT : SK_EDEAD);
        cr_assert(ok, "seed %llu round %d: %s", (unsigned long long)seed, round, err.msg);
    }
    cr_assert_eq(wait_int(call(other, PROBE_COUNT, NULL, 0)), 0, "seed %llu", (unsigned long long)seed);
    sk_actor_destroy(&actor);
    for (int i = 0; i < N_CALLS; i++) {
        sk_error err = {0};
        sk_status status = sk_future_wait(futures[i], 0, NULL, &err);
        cr_assert(status == SK_OK || status == SK_EDEAD, "seed %llu: %s", (unsigned long long)seed, err.msg);
        sk_future_destroy(&futures[i]);
    }
    sk_actor_destroy(&other);
}

Test(fault, every_call_ends_when_workers_die_at_random_moments) {
    uint64_t seed = random_state = choose_seed();
    int n_fds = count_entries("/proc/self/fd");
    fprintf(stderr, "# SKIFF_TEST_SEED=%llu\n", (unsigned long long)seed);
    sk_runtime *rt = start_with((sk_runtime_params){.stop_timeout_ms = 50});
    for (int round = 0; round < 30; round++) one_random_round(rt, round, seed);
    sk_runtime_destroy(&rt);
    cr_assert_eq(count_entries("/proc/self/fd"), n_fds, "seed %llu", (unsigned long long)seed);
}

/* ---- strangers at the door -------------------------------------------------------------------------- */
/* The abstract socket of driver `pid`, without the @; false: it has none. */
static bool find_endpoint(int pid, char *ret_name, size_t size) {
    char line[512], mark[32];
    bool found = false;
    FILE *file = fopen("/proc/net/unix", "r");
    cr_assert_not_null(file);
    snprintf(mark, sizeof mark, "@skiff-%d-", pid);
    while (!found && fgets(line, sizeof line, file)) {
        char *at = strstr(line, mark);
        if (!at) continue;
        at[strcspn(at, "\n")] = 0;
        snprintf(ret_name, size, "%s", at + 1);
        found = true;
    }
    fclose(file);
    return found;
}

/* Frames as a foreign or broken program might send them. */
static void send_nonsense(void *dealer, uint64_t actor_id) {
    uint8_t head[SK_FRAME_HEAD_SIZE];
    sk_frame good = {.kind = SK_FRAME_REPLY, .actor_id = actor_id, .call_id = 1};
    sk_frame_write_head(&good, head);
    zmq_send(dealer, "", 0, 0);
    zmq_send(dealer, "hello", 5, 0);
    for (size_t size = 0; size < sizeof head; size++) zmq_send(dealer, head, size, 0);
    for (size_t i = 0; i < sizeof head; i++) {
        uint8_t bad[sizeof head];
        memcpy(bad, head, sizeof head);
        bad[i] ^= 0x80;
        zmq_send(dealer, bad, sizeof bad, 0);
    }
    zmq_send(dealer, head, sizeof head, 0); /* right in itself, but not from a worker */
    for (int kind = SK_FRAME_HELLO; kind <= SK_FRAME_BYE; kind++) {
        good.kind = (sk_frame_kind)kind;
        sk_frame_write_head(&good, head);
        zmq_send(dealer, head, sizeof head, 0);
    }
    zmq_send(dealer, head, sizeof head, ZMQ_SNDMORE);
    zmq_send(dealer, "more", 4, ZMQ_SNDMORE);
    zmq_send(dealer, "and more", 8, 0);
}

static void expect_service(sk_runtime *rt, sk_actor *actor) {
    (void)rt;
    for (int i = 0; i < 50; i++) {
        sk_future *future = call(actor, PROBE_ECHO, "calm", 4);
        cr_assert_eq(memcmp(wait_ok(future).data, "calm", 4), 0);
        sk_future_destroy(&future);
    }
}

Test(fault, strangers_that_send_nonsense_disturb_nobody) {
    char name[128], endpoint[160];
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    sk_future *slow = call_int(actor, PROBE_SLEEP, 200);
    cr_assert(find_endpoint(getpid(), name, sizeof name));
    snprintf(endpoint, sizeof endpoint, "ipc://@%s", name);

    /* One is nobody, one takes the worker's own name: 'W' and its id, 1 << 32 for the first. */
    uint8_t routing[9] = {'W', 0, 0, 0, 0, 1};
    void *context = zmq_ctx_new(), *nobody = zmq_socket(context, ZMQ_DEALER),
         *thief = zmq_socket(context, ZMQ_DEALER);
    int linger_ms = 0;
    zmq_setsockopt(thief, ZMQ_ROUTING_ID, routing, sizeof routing);
    zmq_setsockopt(thief, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    cr_assert_eq(zmq_connect(nobody, endpoint), 0);
    cr_assert_eq(zmq_connect(thief, endpoint), 0);
    send_nonsense(nobody, UINT64_C(1) << 32);
    send_nonsense(thief, UINT64_C(1) << 32);

    cr_assert_eq(wait_int(slow), 200, "no stranger answered for the worker");
    int64_t end_ns = sk_clock_now_ns() + (int64_t)READY_MS * 1000000;
    while (n_warnings == 0 && sk_clock_now_ns() < end_ns) expect_service(rt, actor);
    cr_assert_gt(n_warnings, 0, "nonsense is logged");
    cr_assert_lt(n_warnings, 20, "but does not flood the log");
    cr_assert(strstr(last_warning, "dropped a message"), "%s", last_warning);
    expect_service(rt, actor);
    zmq_close(nobody);
    zmq_close(thief);
    zmq_ctx_term(context);
    expect_service(rt, actor);
    sk_runtime_destroy(&rt);
}

Test(fault, raw_bytes_on_the_socket_disturb_nobody) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[100];
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    cr_assert(find_endpoint(getpid(), name, sizeof name));
    memcpy(address.sun_path + 1, name, strlen(name));
    for (int i = 0; i < 5; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
        cr_assert_eq(connect(fd, (struct sockaddr *)&address, size), 0, "%s", strerror(errno));
        uint8_t bytes[512];
        memset(bytes, i == 0 ? 0xff : 0x41 * i, sizeof bytes);
        (void)!send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        expect_service(rt, actor);
        close(fd);
    }
    sk_runtime_destroy(&rt);
}

/* Connect by hand; gives the number of bytes that ZeroMQ greets with, 0 when it hangs up. */
static ssize_t knock(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t bytes[64];
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path + 1, name, strlen(name));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, size), 0, "%s", strerror(errno));
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    close(fd);
    return n < 0 ? 0 : n;
}

Test(fault, other_users_are_turned_away) {
    char name[100];
    sk_runtime *rt = start();
    sk_actor *actor = make(rt, "runner-0", SK_PLACE_PROCESS);
    cr_assert(find_endpoint(getpid(), name, sizeof name));
    cr_assert_gt(knock(name), 0, "this user is let in");
    if (geteuid() == 0) { /* only root may try as somebody else */
        cr_assert_eq(seteuid(65534), 0);
        ssize_t n = knock(name);
        cr_assert_eq(seteuid(0), 0);
        cr_assert_eq(n, 0, "got %zd bytes", n);
    }
    expect_service(rt, actor);
    sk_runtime_destroy(&rt);
}

/* ---- the driver dies -------------------------------------------------------------------------------- */
/* Run driver_probe; gives its pid, those of its workers, and the pipe it writes to. */
static int start_driver(const char *mode, int ret_workers[2]) {
    char path[512], line[64] = "";
    int ends[2], pid = 0;
    posix_spawn_file_actions_t files;
    snprintf(path, sizeof path, "%s/tests/runtime/driver_probe", getenv("SKIFF_BUILD_DIR"));
    char *argv[] = {path, (char *)mode, NULL};
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

static void expect_all_gone(int driver, const int workers[2]) {
    char name[128];
    int64_t begin_ns = sk_clock_now_ns();
    for (int i = 0; i < 2; i++)
        cr_assert(wait_until_ended(workers[i], 10000), "worker %d lives on", workers[i]);
    fprintf(stderr, "# workers were gone after %.1f ms\n", (double)(sk_clock_now_ns() - begin_ns) * 1e-6);
    cr_assert_not(find_endpoint(driver, name, sizeof name), "socket %s is left", name);
}

static void kill_driver(const char *mode, int signal_number) {
    int workers[2], status, n_shm = count_shm();
    int driver = start_driver(mode, workers);
    for (int i = 0; signal_number && i < 2; i++) /* one that exits by itself may be gone already */
        cr_assert_not(process_has_ended(workers[i]));
    if (signal_number) kill(driver, signal_number);
    cr_assert_eq(waitpid(driver, &status, 0), driver);
    if (signal_number)
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
    else
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_all_gone(driver, workers);
    cr_assert_eq(count_shm(), n_shm);
}

Test(fault, nothing_is_left_of_a_driver_that_was_killed) { kill_driver("wait", SIGKILL); }
Test(fault, nothing_is_left_of_a_driver_that_was_killed_in_a_call) { kill_driver("call", SIGKILL); }
Test(fault, nothing_is_left_of_a_driver_that_was_terminated) { kill_driver("wait", SIGTERM); }
Test(fault, nothing_is_left_of_a_driver_that_exits_without_cleaning_up) { kill_driver("exit", 0); }

/* A worker that comes up when its driver is gone already must not stay. */
Test(fault, a_worker_refuses_to_serve_for_another_parent) {
    char path[512];
    int pid = 0, status = 0;
    snprintf(path, sizeof path, "%s", probe_worker_path());
    char *argv[] = {path, "worker", "--endpoint", "ipc://@skiff-nobody", "--id", "1", "--parent", "1", NULL};
    cr_assert_eq(posix_spawn(&pid, path, NULL, NULL, argv, environ), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

Test(fault, a_worker_refuses_arguments_it_does_not_know) {
    char path[512];
    char *wrong[][7] = {{path, "worker", NULL},
                        {path, "worker", "--endpoint", "ipc://@x", "--id", NULL},
                        {path, "worker", "--endpoint", "ipc://@x", "--id", "-1", NULL},
                        {path, "worker", "--id", "1x", NULL},
                        {path, "worker", "--what", "1", NULL}};
    snprintf(path, sizeof path, "%s", probe_worker_path());
    for (int i = 0; i < SK_COUNT(wrong); i++) {
        int pid = 0, status = 0;
        cr_assert_eq(posix_spawn(&pid, path, NULL, NULL, wrong[i], environ), 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "case %d", i);
    }
}
