/* board_program: programs for the commands that look at one: this test and children of it, with boards that are filled
 * by hand. */
#ifndef SK_TESTS_BOARD_PROGRAM_H
#define SK_TESTS_BOARD_PROGRAM_H
#include "core/runtime/board.h"
#include "program.h"
#include "skiff/skiff.h"
#include <sys/prctl.h>

static sk_block *block;
static sk_board *board; /* of this process */

HELPER void be_a_program(const char *name) {
    sk_error error = {0};
    cr_assert_eq(sk_board_create(name, &block, &board, &error), SK_OK, "%s", error.msg);
}

HELPER void begin(void) {
    enter_folder();
    be_a_program("pi farm");
}

HELPER void end(void) {
    sk_block_destroy(&block);
    leave_folder();
}

/* Run a command about the program `pid`. */
HELPER int run_about(pid_t pid, const char *line) {
    char words[1024];
    snprintf(words, sizeof words, "%s --pid %d", line, (int)pid);
    return run(words);
}

HELPER int run_here(const char *line) { return run_about(getpid(), line); }

HELPER void shows(const char *line, const char *wanted) {
    expect_code(run_here(line), 0);
    holds(out, wanted);
}

/* A moment whose age is 0 however long the test takes. */
#define LATER (INT64_MAX / 2)

HELPER int64_t ago(double seconds) { return sk_clock_now_ns() - (int64_t)(seconds * 1e9); }

/* ---- children ---- */

/* A child that only waits. Ends with the test. */
HELPER pid_t start_sleeper(void) {
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
}

/* A child with a board of its own, which it has when this returns. */
HELPER pid_t start_program(const char *name) {
    int   ready[2];
    char  byte;
    pid_t pid;
    cr_assert_eq(pipe(ready), 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        sk_error error = {0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sk_block_destroy(&block); /* the test's own is not this one's */
        if (sk_board_create(name, &block, &board, &error) != SK_OK || write(ready[1], "r", 1) != 1) _exit(1);
        for (;;) pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

HELPER void stop_child(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* SIGSTOP, and wait until it has taken effect. */
HELPER void freeze(pid_t pid) {
    int status;
    kill(pid, SIGSTOP);
    cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
    cr_assert(WIFSTOPPED(status));
}

/* ---- what the tables hold ---- */

HELPER void add_worker(int line, int state, int pid, const char *name, const char *log_path) {
    sk_board_worker *w = &board->workers[line];
    *w = (sk_board_worker){.state = state, .pid = pid, .since_ns = ago(3), .started_ns = ago(70), .n_done = 1234,
                           .n_in_flight = 2};
    snprintf(w->name, sizeof w->name, "%s", name);
    snprintf(w->log_path, sizeof w->log_path, "%s", log_path);
}

HELPER void add_actor(int at, int state, const char *name, const char *how_it_ended) {
    sk_board_actor *a = &board->actors[at];
    *a = (sk_board_actor){.id = UINT64_C(0x700000000) + (uint64_t)at, .state = state, .placement = SK_PLACE_PROCESS,
                          .pid = 4321, .n_restarts = 3, .n_done = 20500, .n_pending = 7, .class_name = "counter"};
    snprintf(a->name, sizeof a->name, "%s", name);
    snprintf(a->end, sizeof a->end, "%s", how_it_ended);
}

/* The program has a cluster, and further hosts join there. */
HELPER void have_cluster(void) { snprintf(board->endpoint, sizeof board->endpoint, "tcp://10.0.0.1:7711"); }

/* Host `number` since a minute, heard just now. */
HELPER sk_board_host *add_host(int number, int state, const char *name, const char *how_it_ended) {
    sk_board_host *h = &board->hosts[number];
    *h = (sk_board_host){.state = state, .pid = 900 + number, .since_ns = ago(60), .heard_ns = LATER,
                         .round_trip_ns = 250000, .n_workers = 3, .n_copies = 2, .cpu_total = 4, .cpu_free = 1.5,
                         .bytes_in = 5 << 20, .bytes_out = 70 << 20, .n_frames_in = 40, .n_frames_out = 50,
                         .copied_bytes = 2 << 20, .store_bytes = 1 << 30};
    snprintf(h->name, sizeof h->name, "%s", name);
    snprintf(h->end, sizeof h->end, "%s", how_it_ended);
    return h;
}

HELPER void fill_counters(void) {
    board->counters = (sk_board_counters){
        .n_submitted = 5000, .n_done = 4000, .n_failed = 12, .n_retried = 3, .n_canceled = 1,
        .n_queued = 900, .n_running = 87,
        .n_objects = 1024, .object_bytes = 300 << 20, .store_bytes = UINT64_C(4) << 30, .store_used = 256 << 20,
        .store_peak = 512 << 20, .spilled_bytes = 64 << 20, .spill_bytes = UINT64_C(16) << 30, .n_spills = 2,
        .n_worker_deaths = 5, .n_restarts = 4, .n_actors = 2, .n_workers = 3, .n_threads = 6,
        .progress_ns = LATER};
    board->resources[0] = (sk_board_resource){"cpu", 4, 1.5};
    board->resources[1] = (sk_board_resource){"memory", 16.0 * (1 << 30), 12.0 * (1 << 30)};
}

#endif
