/* skiff logs and top: what an actor printed, and a program on the screen. */
#include "board_program.h"
#include <sys/ioctl.h>
#include <termios.h>

/* ---- logs ---- */

Test(logs, are_found_by_name_and_by_pid, .init = begin, .fini = end) {
    char path[256], line[64];
    write_file("counter-4.log", "one\ntwo\nthree\n");
    write_file("other-5.log", "other\n");
    snprintf(path, sizeof path, "%s/counter-4.log", work);
    add_worker(0, SK_WORKER_IDLE, 5, "other", "other-5.log"); /* from where the program is */
    add_worker(1, SK_WORKER_IDLE, 4, "counter", path);
    expect_code(run_here("logs counter"), 0);
    cr_assert_str_eq(out, "one\ntwo\nthree\n");
    expect_code(run_here("logs 4"), 0);
    cr_assert_str_eq(out, "one\ntwo\nthree\n");
    expect_code(run_here("logs other"), 0);
    cr_assert_str_eq(out, "other\n");
    expect_code(run_here("logs nobody"), 2);
    holds(err, "has no actor or worker \"nobody\"");
    unlink("other-5.log");
    expect_code(run_here("logs other"), 1);
    holds(err, "other-5.log: No such file");
    snprintf(line, sizeof line, "logs %d", (int)getpid());
    expect_code(run_here(line), 1);
    holds(err, "goes to the standard error of pi farm");
}

Test(logs, show_the_last_lines, .init = begin, .fini = end) {
    add_worker(0, SK_WORKER_IDLE, 4, "w", "w-4.log");
    write_file("w-4.log", "one\ntwo\nthree");
    static const char *const wanted[] = {"", "three", "two\nthree", "one\ntwo\nthree", "one\ntwo\nthree"};
    for (int n = 0; n < SK_COUNT(wanted); n++) {
        char line[64];
        snprintf(line, sizeof line, "logs w --lines %d", n);
        expect_code(run_here(line), 0);
        cr_assert_str_eq(out, wanted[n], "%d lines are \"%s\"", n, out);
    }
    /* Lines across the pieces in which the file is read. */
    FILE *file = fopen("w-4.log", "w");
    for (int i = 0; i < 20000; i++) fprintf(file, "line %d of many\n", i);
    fclose(file);
    expect_code(run_here("logs w --lines 15000"), 0);
    cr_assert_eq(strncmp(out, "line 5000 of many\n", 18), 0, "%.40s", out);
    holds(out, "line 19999 of many\n");
}

Test(logs, of_an_ended_actor_lie_in_the_folder, .init = begin, .fini = end) {
    snprintf(board->log_dir, sizeof board->log_dir, "%s", work);
    add_actor(0, SK_ACTOR_DEAD, "gone", "killed by SIGKILL");
    write_file("gone-3.log", "last words\n");
    expect_code(run_here("logs gone"), 0);
    cr_assert_str_eq(out, "last words\n");
}

Test(logs, of_an_ended_program_are_found_by_folder, .init = enter_folder, .fini = leave_folder) {
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    mkdir("logs", 0700);
    write_file("logs/run-ner-2.log", "second life\n");
    write_file("logs/run-ner-1.log", "first life\n");
    write_file("logs/ner-3.log", "another\n");
    write_file("logs/run-ner-x.log", "no log\n");
    cr_assert_eq(utimensat(AT_FDCWD, "logs/run-ner-1.log", times, 0), 0);
    expect_code(run("logs run-ner --dir logs"), 0);
    cr_assert_str_eq(out, "second life\n");
    holds(err, "run-ner-2.log: this is the newest");
    times[1].tv_sec = 500;
    cr_assert_eq(utimensat(AT_FDCWD, "logs/run-ner-2.log", times, 0), 0);
    expect_code(run("logs run-ner --dir logs"), 0);
    cr_assert_str_eq(out, "first life\n");
    expect_code(run("logs run --dir logs"), 2);
    expect_code(run("logs run --dir nowhere"), 2);
    expect_code(run("logs run-ner --dir logs --follow"), 2);
    expect_code(run("logs run --dir logs --pid 1"), 2);
}

Test(logs, that_go_to_the_program_are_not_looked_for, .init = begin, .fini = end) {
    add_worker(0, SK_WORKER_IDLE, 4, "loud", "");
    add_actor(0, SK_ACTOR_ALIVE, "inside", "");
    board->actors[0].pid = getpid();
    expect_code(run_here("logs loud"), 1);
    holds(err, "what \"loud\" prints goes to the standard error of pi farm");
    expect_code(run_here("logs inside"), 1);
    holds(err, "what \"inside\" prints goes to the standard error of pi farm");
}

Test(logs, follow_until_the_process_ends, .init = begin, .fini = end) {
    char  line[64];
    pid_t worker = start_sleeper();
    write_file("w.log", "early\n");
    add_worker(0, SK_WORKER_BUSY, worker, "w", "w.log");
    snprintf(line, sizeof line, "logs w --follow --pid %d", (int)getpid());
    pid_t reader = start_to(NULL, line);
    wait_for_content("out");
    FILE *file = fopen("w.log", "a");
    fputs("late\n", file);
    fflush(file);
    double end_s = sk_clock_now_s() + PATIENCE_S;
    while (!strstr(read_file("out"), "late\n")) {
        cr_assert(sk_clock_now_s() < end_s, "it does not follow");
        usleep(2000);
    }
    cr_assert_eq(waitpid(reader, NULL, WNOHANG), 0, "it ended before the worker");
    fputs("last\n", file);
    fclose(file);
    stop_child(worker);
    expect_code(finish(reader), 0);
    cr_assert_str_eq(out, "early\nlate\nlast\n");
}

/* ---- top ---- */

Test(top, prints_tables_where_there_is_no_terminal, .init = begin, .fini = end) {
    fill_counters();
    board->functions[0] = (sk_board_function){.name = "pi.sample", .n_submitted = 1000, .n_done = 900};
    add_worker(0, SK_WORKER_BUSY, getpid(), "worker-0", "");
    shows("top --count 2", "pi farm, pid ");
    const char *again = strstr(out + 1, "pi farm, pid ");
    cr_assert_not_null(again, "it came once: %s", out);
    holds(again, "pi.sample");
    holds(again, "worker-0");
    cr_assert_null(strchr(out, '\033'));
}

Test(top, shows_what_there_is_room_for, .init = begin, .fini = end) {
    for (int i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof name, "worker-%d", i);
        add_worker(i, SK_WORKER_IDLE, getpid(), name, "");
    }
    shows("top --count 1", "worker-49 ");
    holds(out, "\n... 10 more\n");
    cr_assert_null(strstr(out, "worker-50 "));
}

Test(top, ends_with_the_program, .init = begin, .fini = end) {
    char  line[64];
    pid_t program = start_program("short-lived");
    snprintf(line, sizeof line, "top --pid %d", (int)program);
    pid_t top = start_to(NULL, line);
    wait_for_content("out");
    stop_child(program);
    expect_code(finish(top), 0);
    holds(out, ", ended, up ");
    holds(err, "short-lived (pid ");
}

/* `skiff top` on a terminal of its own, whose other side is `master`; `slave` is kept open. */
typedef struct terminal {
    int   master, slave;
    pid_t pid;
    char  text[1 << 16];
    size_t size;
} terminal;

static void terminal_start(terminal *self) {
    char pid[16], path[64];
    posix_spawn_file_actions_t files;
    posix_spawnattr_t          how;
    setenv("TERM", "xterm", 1);
    self->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    cr_assert(self->master >= 0 && grantpt(self->master) == 0 && unlockpt(self->master) == 0);
    cr_assert_eq(ptsname_r(self->master, path, sizeof path), 0);
    self->slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    posix_spawn_file_actions_init(&files);
    for (int fd = 0; fd < 3; fd++) posix_spawn_file_actions_addopen(&files, fd, path, O_RDWR, 0);
    posix_spawnattr_init(&how);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID);
    char *argv[] = {"skiff", "top", "--pid", pid, NULL};
    cr_assert_eq(posix_spawn(&self->pid, getenv("SKIFF_BIN"), &files, &how, argv, environ), 0);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
}

/* Read what is there by now. */
static void terminal_read(terminal *self) {
    ssize_t got = read(self->master, self->text + self->size, sizeof self->text - 1 - self->size);
    if (got > 0) self->size += (size_t)got;
    self->text[self->size] = '\0';
    if (got <= 0) usleep(2000);
}

/* Read what is shown until it has `wanted`. */
static void terminal_await(terminal *self, const char *wanted) {
    double end_s = sk_clock_now_s() + PATIENCE_S;
    while (!strstr(self->text, wanted)) {
        cr_assert(sk_clock_now_s() < end_s, "\"%s\" does not come: %s", wanted, self->text);
        terminal_read(self);
    }
}

/* Press a key; the terminal must be as it was before. The exit code. */
static int terminal_end(terminal *self, char key) {
    struct termios settings;
    int            status;
    cr_assert_eq(write(self->master, &key, 1), 1);
    terminal_await(self, "\033[?25h\033[?1049l");
    cr_assert_eq(waitpid(self->pid, &status, 0), self->pid);
    cr_assert_eq(tcgetattr(self->slave, &settings), 0);
    cr_assert((settings.c_lflag & ICANON) && (settings.c_lflag & ECHO), "the terminal was left raw");
    cr_assert_neq(settings.c_cc[VSUSP], _POSIX_VDISABLE);
    close(self->master);
    close(self->slave);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

Test(top, is_live_on_a_terminal_and_puts_it_back, .init = begin, .fini = end) {
    static terminal self, again;
    add_worker(0, SK_WORKER_BUSY, getpid(), "worker-0", "");
    terminal_start(&self);
    terminal_await(&self, "\033[?1049h");
    terminal_await(&self, "worker-0");
    board->functions[0] = (sk_board_function){.name = "later.task", .n_submitted = 1};
    terminal_await(&self, "later.task");
    cr_assert_eq(terminal_end(&self, 'q'), 0);
    terminal_start(&again);
    terminal_await(&again, "worker-0");
    cr_assert_eq(terminal_end(&again, '\003'), 130);
}

/* Does the last whole picture (from one "home" to the next) fit so many rows and columns? False: there is none yet. */
static bool fits(const terminal *self, int rows, size_t columns) {
    const char *begin = NULL, *end = NULL;
    int         n = 1;
    for (const char *s = self->text; (s = strstr(s, "\033[H")); s++) {
        begin = end;
        end = s;
    }
    if (!begin) return false;
    for (const char *s = begin + 3; s < end; s++) {
        n += *s == '\n';
        if (strncmp(s, "\033[K", 3) == 0 && strcspn(s + 3, "\r\033") > columns) return false;
    }
    return n <= rows;
}

Test(top, fits_the_terminal_and_follows_its_size, .init = begin, .fini = end) {
    static terminal self;
    struct winsize  size = {.ws_row = 12, .ws_col = 30};
    for (int i = 0; i < 20; i++) add_worker(i, SK_WORKER_IDLE, getpid(), "a worker with quite a long name", "");
    terminal_start(&self);
    terminal_await(&self, "in flight"); /* 80 columns have room for that */
    cr_assert_eq(ioctl(self.master, TIOCSWINSZ, &size), 0);
    double end_s = sk_clock_now_s() + PATIENCE_S;
    while (!fits(&self, 12, 30)) {
        cr_assert(sk_clock_now_s() < end_s, "it does not fit: %s", self.text);
        terminal_read(&self);
    }
    cr_assert_eq(terminal_end(&self, 'q'), 0);
}
