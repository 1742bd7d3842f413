#include "cli/board_view.h"
#include "cli/exit_code.h"
#include "cli/report.h"
#include "core/base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROGRAMS_MAX = 64 }; /* of one user at a time, that a choice lists */

/* ---- processes ---- */

/* The first bytes of /proc/<pid>/<name>, terminated. False: there is no such process. */
static bool read_proc(int pid, const char *name, char *ret_text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "re");
    if (!file) return false;
    size_t got = fread(ret_text, 1, size - 1, file);
    fclose(file);
    ret_text[got] = '\0';
    return got > 0;
}

bool sk_process_look(int pid, sk_process *ret_process) {
    char     text[1024];
    uint64_t user = 0, system = 0, pages = 0;
    *ret_process = (sk_process){.state = 'X', .is_ended = true};
    if (pid <= 0 || !read_proc(pid, "stat", text, sizeof text)) return false;
    /* The second field is a name in brackets with anything in it; fields 3, 14, 15 and 22 are wanted. */
    const char *after = strrchr(text, ')');
    char        state;
    int64_t     birth;
    if (!after || sscanf(after, ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64
                                " %*s %*s %*s %*s %*s %*s %" SCNd64, &state, &user, &system, &birth) != 4)
        return false;
    if (read_proc(pid, "statm", text, sizeof text)) (void)sscanf(text, "%*s %" SCNu64, &pages);
    *ret_process = (sk_process){.birth = birth,
                                .cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK),
                                .rss_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE),
                                .state = state,
                                .is_stopped = state == 'T' || state == 't',
                                .is_ended = state == 'Z' || state == 'X'};
    return !ret_process->is_ended;
}

/* ---- rows ---- */

void sk_board_read(const sk_board_view *view, const void *from, void *ret_copy, size_t size) {
    ptrdiff_t at = (const uint8_t *)from - (const uint8_t *)view->map;
    ssize_t   got = pread(view->fd, ret_copy, size, at);
    size_t    kept = got > 0 ? (size_t)got : 0;
    memset((uint8_t *)ret_copy + kept, 0, size - kept);
}

void *sk_board_read_table(const sk_board_view *view, const void *from, size_t size) {
    size_t align = _Alignof(sk_board); /* enough for any part of it */
    void  *copy = aligned_alloc(align, (size + align - 1) / align * align);
    if (copy) sk_board_read(view, from, copy, size);
    return copy;
}

double sk_board_age_s(int64_t then_ns, int64_t now_ns) {
    double age_s = ((double)now_ns - (double)then_ns) * 1e-9;
    return age_s > 0 ? age_s : 0;
}

const char *sk_board_worker_state_text(int32_t state) {
    static const char *const texts[] = {[SK_WORKER_NONE] = "none",    [SK_WORKER_STARTING] = "starting",
                                        [SK_WORKER_IDLE] = "idle",    [SK_WORKER_BUSY] = "busy",
                                        [SK_WORKER_BLOCKED] = "blocked", [SK_WORKER_STOPPING] = "stopping"};
    return state >= 0 && state < SK_COUNT(texts) ? texts[state] : "?";
}

const char *sk_board_actor_state_text(int32_t state) {
    static const char *const texts[] = {[SK_ACTOR_NONE] = "none",         [SK_ACTOR_PENDING] = "pending",
                                        [SK_ACTOR_STARTING] = "starting", [SK_ACTOR_ALIVE] = "alive",
                                        [SK_ACTOR_RESTARTING] = "restarting", [SK_ACTOR_STOPPING] = "stopping",
                                        [SK_ACTOR_DEAD] = "dead"};
    return state >= 0 && state < SK_COUNT(texts) ? texts[state] : "?";
}

/* ---- choosing a program ---- */

static sk_status open_one(int pid, sk_program *ret_program, sk_error *reterr) {
    sk_process process;
    sk_program program = {.pid = pid};
    char       name[SK_BOARD_NAME];
    SK_TRY(sk_board_open(pid, &program.view, reterr));
    (void)sk_process_look(pid, &process); /* birth 0 of one that has ended meanwhile: fits no process */
    program.birth = process.birth;
    sk_board_read(&program.view, program.view.board->name, name, sizeof name);
    sk_text_safe(name, sizeof name, program.name, sizeof program.name);
    *ret_program = program;
    return SK_OK;
}

/* One of several programs: its pid, name and age; why not, where it cannot be read. */
static void print_choice(int pid) {
    sk_program program;
    sk_error   error = {0};
    char       age[SK_REPORT_TEXT];
    if (open_one(pid, &program, &error) != SK_OK) {
        fprintf(stderr, "  %8d  %s\n", pid, error.msg);
        return;
    }
    sk_text_span(sk_board_age_s(program.view.board->started_ns, sk_clock_now_ns()), age);
    fprintf(stderr, "  %8d  %s, up %s\n", pid, program.name, age);
    sk_program_close(&program);
}

int sk_program_open(int64_t pid, sk_program *ret_program) {
    int      pids[PROGRAMS_MAX];
    sk_error error = {0};
    if (pid > 0) {
        if (open_one((int)pid, ret_program, &error) == SK_OK) return SK_EXIT_DONE;
        fprintf(stderr, "%s\n", error.msg);
        return sk_exit_code_of_input(error.status);
    }
    int n = sk_board_find(pids, PROGRAMS_MAX);
    if (n == 0) {
        fprintf(stderr, "no skiff program is running (as this user)\n");
        return SK_EXIT_FAILED;
    }
    if (n == 1) {
        if (open_one(pids[0], ret_program, &error) == SK_OK) return SK_EXIT_DONE;
        fprintf(stderr, "%s\n", error.msg);
        return SK_EXIT_FAILED;
    }
    fprintf(stderr, "%d skiff programs are running; --pid names one:\n", n);
    for (int i = 0; i < n && i < PROGRAMS_MAX; i++) print_choice(pids[i]);
    return SK_EXIT_USAGE;
}

void sk_program_close(sk_program *self) { sk_board_close(&self->view); }

bool sk_program_has_ended(const sk_program *self) {
    sk_process process;
    return !sk_process_look(self->pid, &process) || process.birth != self->birth;
}
