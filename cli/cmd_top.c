/* skiff top: a running program, again and again: live on a terminal, as plain tables elsewhere. */
#include "cli/args.h"
#include "cli/board_summary.h"
#include "cli/board_tables.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "core/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { ROWS_MIN = 3, ROWS_PLAIN = 50 }; /* of each table: on the smallest terminal, and where there is none */
enum { SAMPLE_US = 100000 };            /* before the first picture, whose rates are measured then */

/* ---- the terminal ---- */
#define ENTER "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"

typedef struct screen {
    bool           live, has_keys;
    int            rows, columns;
    struct termios saved;
} screen;

static volatile sig_atomic_t ended_by; /* the signal */
static volatile sig_atomic_t resized;

static void on_signal(int number) {
    if (number == SIGWINCH) resized = 1;
    else ended_by = number;
}

/* poll ends at each of them, whatever the flags. */
static void catch_signals(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < SK_COUNT(numbers); i++) (void)sigaction(numbers[i], &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN); /* a failed write, told by main */
}

/* Keys come one by one and unseen. Suspending is off: it would leave the shell on the other screen. */
static void screen_start(screen *self) {
    const char *terminal = getenv("TERM");
    *self = (screen){.live = isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb") != 0};
    catch_signals();
    if (!self->live) return;
    self->has_keys = tcgetattr(STDIN_FILENO, &self->saved) == 0;
    if (self->has_keys) {
        struct termios raw = self->saved;
        raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        raw.c_cc[VSUSP] = _POSIX_VDISABLE;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    fputs(ENTER, stdout);
}

static void screen_stop(screen *self) {
    if (!self->live) return;
    fputs(LEAVE, stdout);
    fflush(stdout);
    if (self->has_keys) (void)tcsetattr(STDIN_FILENO, TCSANOW, &self->saved);
}

static void screen_measure(screen *self) {
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    self->columns = known ? size.ws_col : 80;
    self->rows = known ? size.ws_row : 24;
}

/* One line of the picture, cut at the last column (characters, not bytes). */
static void put_line(const char *text, size_t size, int columns) {
    size_t kept = 0;
    int    n = 0;
    for (; kept < size; kept++) {
        bool begins = ((unsigned char)text[kept] & 0xc0) != 0x80;
        if (begins && n == columns) break;
        n += begins;
    }
    fputs("\033[K", stdout); /* first: behind a full line it would take that one's last character */
    fwrite(text, 1, kept, stdout);
}

static void screen_put(const screen *self, const char *text) {
    int r = 0;
    fputs("\033[H", stdout);
    for (; r < self->rows && *text; r++) {
        size_t size = strcspn(text, "\n");
        if (r > 0) fputs("\r\n", stdout);
        put_line(text, size, self->columns);
        text += size + (text[size] == '\n');
    }
    if (r < self->rows) fputs("\r\n\033[J", stdout);
}

/* ---- one picture ---- */

static int count_lines(const char *text) {
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

static int add_table(const sk_board_view *view, sk_board_rows_fn rows, int max_rows, const char *empty, FILE *to) {
    sk_report report;
    sk_report_init(&report, false);
    report.max_rows = max_rows;
    rows(view, &report);
    fputc('\n', to);
    return sk_report_print(&report, to, empty);
}

static int add_hosts(const sk_program *program, const sk_board_sample *before, int max_rows, FILE *to) {
    sk_report report;
    sk_report_init(&report, false);
    report.max_rows = max_rows;
    sk_board_rows_host_rates(&program->view, &before->hosts, &report);
    fputc('\n', to);
    return sk_report_print(&report, to, "no host has joined");
}

/* The summary, then functions, workers and hosts with what room is left; SK_EXIT_DONE, or the exit code. */
static int draw(const screen *self, const sk_program *program, const sk_board_sample *before, char **ret_text) {
    size_t     size;
    sk_summary summary;
    sk_error   error = {0};
    FILE      *to = NULL;
    if (sk_summary_take(program, before, &summary, &error) != SK_OK || !(to = open_memstream(ret_text, &size))) {
        fprintf(stderr, "%s\n", error.status ? error.msg : "out of memory");
        return SK_EXIT_FAILED;
    }
    sk_summary_print(&summary, to);
    fflush(to);
    int room = self->live ? self->rows - count_lines(*ret_text) : 0;
    int share = room / (summary.hosts.has_cluster ? 3 : 2) - 3; /* less a blank line, the head, "more" */
    int max_rows = !self->live ? ROWS_PLAIN : share > ROWS_MIN ? share : ROWS_MIN;
    int code = add_table(&program->view, sk_board_rows_functions, max_rows, "no tasks yet", to);
    if (code == SK_EXIT_DONE && summary.hosts.has_cluster) code = add_hosts(program, before, max_rows, to);
    if (code == SK_EXIT_DONE) code = add_table(&program->view, sk_board_rows_workers, max_rows, "no workers", to);
    if (fclose(to) == 0 && code == SK_EXIT_DONE) return SK_EXIT_DONE;
    free(*ret_text);
    return SK_EXIT_FAILED;
}

static int show(screen *self, const sk_program *program, const sk_board_sample *before) {
    char *text;
    if (self->live) screen_measure(self);
    int code = draw(self, program, before, &text);
    if (code != SK_EXIT_DONE) return code;
    if (self->live) screen_put(self, text);
    else printf("%s\n", text);
    free(text);
    return fflush(stdout) == 0 ? SK_EXIT_DONE : SK_EXIT_FAILED;
}

/* ---- again and again ---- */

typedef enum why { IT_IS_TIME, IT_WAS_RESIZED, IT_IS_OVER } why;

/* Wait for the moment of the next picture, another size of the terminal, or a key or signal that ends it. */
static why wait_until(const screen *self, int64_t then_ns) {
    struct pollfd keys = {.fd = self->has_keys ? STDIN_FILENO : -1, .events = POLLIN};
    while (!ended_by && !resized) {
        int64_t left_ns = then_ns - sk_clock_now_ns();
        if (left_ns <= 0) return IT_IS_TIME;
        int n = poll(&keys, 1, (int)(left_ns / 1000000) + 1);
        if (n < 0 && errno != EINTR) return IT_IS_OVER;
        char key = 0;
        if (n > 0 && (keys.revents & POLLIN) && read(STDIN_FILENO, &key, 1) != 1) return IT_IS_OVER;
        if (n > 0 && !(keys.revents & POLLIN)) return IT_IS_OVER; /* the terminal is gone */
        if (key == 'q' || key == 'Q') return IT_IS_OVER;
    }
    return ended_by ? IT_IS_OVER : IT_WAS_RESIZED;
}

/* Show a picture and wait; again for each size the terminal gets meanwhile, with the same rates. True: the next one is
 * due. */
static bool show_until(screen *self, const sk_program *program, const sk_board_sample *before, int64_t then_ns,
                       int *ret_code) {
    why what;
    do {
        resized = 0;
        *ret_code = show(self, program, before);
        if (*ret_code != SK_EXIT_DONE || sk_program_has_ended(program)) return false;
        what = wait_until(self, then_ns);
    } while (what == IT_WAS_RESIZED);
    return what == IT_IS_TIME;
}

static int run(screen *self, const sk_program *program, int64_t interval_s, int64_t count) {
    sk_board_sample before = sk_board_sample_take(&program->view);
    int             code = SK_EXIT_DONE;
    usleep(SAMPLE_US);
    for (int64_t i = 1; i != count; i++) { /* count 0: for ever */
        sk_board_sample now = sk_board_sample_take(&program->view);
        if (!show_until(self, program, &before, now.at_ns + interval_s * 1000000000, &code))
            return code == SK_EXIT_DONE && ended_by ? SK_EXIT_INTERRUPTED : code;
        before = now;
    }
    return show(self, program, &before); /* the last one, without a wait */
}

int sk_cmd_top(int argc, char **argv) {
    int64_t pid = 0, interval_s = 1, count = 0;
    sk_arg  args[] = {{"--pid", SK_ARG_INT, &pid, 1, INT32_MAX, "of the program; not needed if only one runs"},
                      {"--interval", SK_ARG_INT, &interval_s, 1, 3600, "seconds between two pictures; 1"},
                      {"--count", SK_ARG_INT, &count, 1, INT32_MAX, "end after so many; without: q or Ctrl-C ends it"}};
    sk_args parsed = {.usage = "skiff top [--pid PID] [--interval S] [--count N]", .args = args,
                      .n_args = SK_COUNT(args)};
    int     code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    sk_program program;
    code = sk_program_open(pid, &program);
    if (code != SK_EXIT_DONE) return code;
    screen self;
    screen_start(&self);
    code = run(&self, &program, interval_s, count);
    screen_stop(&self);
    if (sk_program_has_ended(&program)) fprintf(stderr, "%s (pid %d) has ended\n", program.name, program.pid);
    sk_program_close(&program);
    return code;
}
