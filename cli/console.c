#include "cli/console.h"
#include "cli/console_text.h"
#include "core/base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Between two plain lines; between two pictures of the live line. */
static const double PLAIN_S = 2.0, LIVE_S = 0.1;

struct sk_console {
    bool json;                   /* stdout is for programs            */
    bool live;                   /* stderr is a terminal              */
    pthread_mutex_t lock;        /* of what follows                   */
    sk_run_dir *dir;             /* nullable                          */
    char shown[SK_CONSOLE_LINE]; /* the live line, "" = none          */
    int n_failed;
    /* the main thread's: */
    sk_console_span span;   /* since the last line               */
    sk_console_span total;  /* since the start, up to it         */
    double shown_s;         /* when that was                     */
    sk_console_span report; /* the last report's part of it      */
    bool has_last;
    bool told_where; /* how other hosts can join           */
    double last_iteration, last_steps, last_s; /* of the last report                 */
    double before_steps, before_s;             /* of the report before its iteration */
};

/* Columns of the terminal. */
static int width(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

static void hide_live(const sk_console *self) {
    if (self->shown[0]) fputs("\r\033[K", stderr);
}

static void show_live(const sk_console *self) {
    if (self->shown[0]) fprintf(stderr, "\r\033[K%.*s", width() - 1, self->shown);
    fflush(stderr);
}

/* One line to stderr and log.txt. stderr has no place where its own failure could be told. */
static void print_line(sk_console *self, sk_log_level level, const char *prefix, const char *text) {
    sk_error err = {0};
    pthread_mutex_lock(&self->lock);
    hide_live(self);
    fprintf(stderr, "%s%s\n", prefix, text);
    if (self->dir && sk_run_dir_log(self->dir, level, text, &err) != SK_OK)
        fprintf(stderr, "error: %s\n", err.msg);
    show_live(self);
    pthread_mutex_unlock(&self->lock);
}

static const char *prefix_of(sk_log_level level) {
    return level == SK_LOG_ERROR ? "error: " : level == SK_LOG_WARN ? "warning: " : "";
}

static void on_log(void *user, sk_log_level level, const char *line) {
    if (level > SK_LOG_DEBUG) print_line(user, level, prefix_of(level), line);
}

sk_status sk_console_create(bool json, sk_console **ret_console, sk_error *reterr) {
    sk_console *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for the console");
    const char *terminal = getenv("TERM");
    self->json = json;
    self->live = !json && isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    self->shown_s = sk_clock_now_s();
    pthread_mutex_init(&self->lock, NULL);
    sk_log_set_sink(on_log, self);
    *ret_console = self;
    return SK_OK;
}

void sk_console_destroy(sk_console **self_p) {
    if (!self_p || !*self_p) return;
    sk_log_set_sink(NULL, NULL);
    if ((*self_p)->shown[0]) fputc('\n', stderr); /* the run failed: leave its last line standing */
    pthread_mutex_destroy(&(*self_p)->lock);
    free(*self_p);
    *self_p = NULL;
}

void sk_console_attach(sk_console *self, sk_run_dir *dir) {
    pthread_mutex_lock(&self->lock);
    self->dir = dir;
    pthread_mutex_unlock(&self->lock);
}

void sk_console_say(sk_console *self, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    print_line(self, SK_LOG_INFO, "", text);
}

void sk_console_fail(sk_console *self, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    print_line(self, SK_LOG_ERROR, "error: ", text);
}

/* ---- progress ---- */
static void add_span(sk_console_span *self, const sk_console_span *more, double sign) {
    self->env_steps += sign * more->env_steps;
    self->wall_s += sign * more->wall_s;
    self->env_s += sign * more->env_s;
    self->inference_s += sign * more->inference_s;
    self->transport_s += sign * more->transport_s;
    self->learn_s += sign * more->learn_s;
    self->evaluation_s += sign * more->evaluation_s;
}

static void before(sk_console *self, double steps, double time_s) {
    self->before_steps = steps;
    self->before_s = time_s;
}

/* Add one report's numbers to the span. Another report of the same iteration (the final one) repeats that
 * iteration's, so it stands in its place. The steps before the first report of a resumed run are an earlier
 * part's. */
static void add_report(sk_console *self, const sk_metrics *m) {
    double iteration = sk_metrics_get(m, SK_METRIC_TRAINING_ITERATION, 0);
    double steps = sk_metrics_get(m, SK_METRIC_ENV_STEPS, 0),
           time_s = sk_metrics_get(m, SK_METRIC_TIME_TOTAL, 0);
    sk_console_span report = {.env_s = sk_metrics_get(m, SK_METRIC_TIME_ENV, 0),
                              .inference_s = sk_metrics_get(m, SK_METRIC_TIME_INFERENCE, 0),
                              .transport_s = sk_metrics_get(m, SK_METRIC_TIME_TRANSPORT, 0),
                              .learn_s = sk_metrics_get(m, SK_METRIC_TIME_LEARN, 0),
                              .evaluation_s = sk_metrics_get(m, SK_METRIC_TIME_EVAL, 0)};
    if (self->has_last && iteration == self->last_iteration)
        add_span(&self->span, &self->report, -1);
    else if (self->has_last || iteration <= 1)
        before(self, self->last_steps, self->last_s);
    else
        before(self, steps, time_s);
    report.env_steps = steps - self->before_steps;
    report.wall_s = time_s > self->before_s ? time_s - self->before_s - report.evaluation_s : 0;
    add_span(&self->span, &report, 1);
    self->report = report;
    self->has_last = true;
    self->last_iteration = iteration;
    self->last_steps = steps;
    self->last_s = time_s;
}

void sk_console_progress(sk_console *self, const sk_train_progress *progress) {
    add_report(self, progress->metrics);
    double now_s = sk_clock_now_s();
    if (self->json) return;
    if (!progress->is_last && now_s - self->shown_s < (self->live ? LIVE_S : PLAIN_S)) return;
    self->shown_s = now_s;

    char text[SK_CONSOLE_LINE];
    add_span(&self->total, &self->span, 1);
    sk_console_line(progress, progress->is_last ? &self->total : &self->span, text);
    if (self->live && !progress->is_last) {
        pthread_mutex_lock(&self->lock);
        memcpy(self->shown, text, sizeof text);
        show_live(self);
        pthread_mutex_unlock(&self->lock);
    } else {
        pthread_mutex_lock(&self->lock);
        hide_live(self);
        self->shown[0] = '\0';
        fprintf(stderr, "%s\n", text);
        pthread_mutex_unlock(&self->lock);
    }
    self->span = (sk_console_span){0};
}

/* `text` "": none. */
static void set_live(sk_console *self, const char *text) {
    pthread_mutex_lock(&self->lock);
    hide_live(self);
    snprintf(self->shown, sizeof self->shown, "%s", text);
    show_live(self);
    pthread_mutex_unlock(&self->lock);
}

void sk_console_waiting(sk_console *self, const sk_train_waiting *waiting) {
    char count[SK_CONSOLE_LINE], object[SK_CONSOLE_LINE];
    bool is_over = waiting->n_joined >= waiting->n_wanted;
    snprintf(object, sizeof object, "{\"hosts\":%d,\"wanted\":%d,\"endpoint\":\"%s\"}", waiting->n_joined,
             waiting->n_wanted, waiting->endpoint);
    sk_console_json(self, "waiting", object);
    snprintf(count, sizeof count, "hosts: %d of %d have joined", waiting->n_joined, waiting->n_wanted);
    if (self->live) set_live(self, is_over ? "" : count);
    if (is_over && waiting->n_wanted > 0) /* else it is told what comes of it */
        sk_console_say(self, "%s", count);
    else if (!is_over && (!self->live || !self->told_where)) /* whole: a live line may be cut */
        sk_console_say(self, "waiting for %s; join with: skiff node --join %s", count, waiting->endpoint);
    self->told_where = true;
}

void sk_console_json(sk_console *self, const char *event, const char *object) {
    SK_ASSERT(object[0] == '{');
    if (!self->json) return;
    errno = 0;
    int failed = printf("{\"event\":\"%s\"%s%s\n", event, object[1] == '}' ? "" : ",", object + 1) < 0;
    failed |= fflush(stdout) != 0;
    if (!failed) return;
    clearerr(stdout);
    if (self->n_failed++ == 0) sk_console_fail(self, "cannot write to standard output: %s", strerror(errno));
}

int sk_console_n_failed(const sk_console *self) { return self->n_failed; }
