#include "cli/board_summary.h"
#include "cli/console_text.h"
#include "core/base/clock.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* So long without anything ending while someone waits is worth a warning; the driver itself prints one then. */
static const double STUCK_S = 10;
enum { WAITS_SHOWN = 8 };

/* ---- looking ---- */

sk_board_sample sk_board_sample_take(const sk_board_view *view) {
    sk_board_sample sample = {.at_ns = sk_clock_now_ns()};
    sk_board_read(view, &view->board->counters, &sample.counters, sizeof sample.counters);
    sk_hosts_sample_take(view, &sample.hosts);
    return sample;
}

static void count_workers(const sk_board_worker *workers, sk_summary *to) {
    sk_process process;
    for (const sk_board_worker *w = workers; w < workers + SK_BOARD_LINES; w++) {
        if (w->state <= SK_WORKER_NONE || w->state > SK_WORKER_STOPPING) continue;
        to->n_workers[w->state]++;
        if (w->host != 0 || !sk_process_look(w->pid, &process) || !process.is_stopped) continue;
        if (to->n_stopped < SK_SUMMARY_STOPPED) to->stopped[to->n_stopped] = *w;
        to->n_stopped++;
    }
}

static void count_actors(const sk_board_actor *actors, sk_summary *to) {
    for (int i = 0; i < SK_BOARD_ACTORS; i++)
        if (actors[i].state > SK_ACTOR_NONE && actors[i].state <= SK_ACTOR_DEAD) to->n_actors[actors[i].state]++;
}

static sk_status look_at_states(const sk_board_view *view, sk_summary *to, sk_error *reterr) {
    const sk_board  *board = view->board;
    sk_board_worker *workers = sk_board_read_table(view, board->workers, sizeof board->workers);
    sk_board_actor  *actors = sk_board_read_table(view, board->actors, sizeof board->actors);
    bool             is_there = workers && actors;
    if (is_there) {
        count_workers(workers, to);
        count_actors(actors, to);
    }
    free(workers);
    free(actors);
    return is_there ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "no memory for a copy of the tables");
}

static int by_since(const void *a, const void *b) {
    const sk_board_wait *x = a, *y = b;
    return (x->since_ns > y->since_ns) - (x->since_ns < y->since_ns);
}

static void look_at_waits(const sk_board_view *view, sk_summary *to) {
    sk_board_read(view, view->board->waits, to->waits, sizeof to->waits);
    for (int i = 0; i < SK_BOARD_WAITS; i++)
        if (to->waits[i].since_ns != 0) to->waits[to->n_waits++] = to->waits[i];
    qsort(to->waits, (size_t)to->n_waits, sizeof to->waits[0], by_since);
}

static void look_at_resources(const sk_board_view *view, sk_summary *to) {
    sk_board_read(view, view->board->resources, to->resources, sizeof to->resources);
    for (int i = 0; i < SK_BOARD_RESOURCES; i++)
        if (to->resources[i].name[0]) to->resources[to->n_resources++] = to->resources[i];
}

/* Counters only grow; a program gone mad may say otherwise. */
static double rate(uint64_t before, uint64_t now, double seconds) {
    return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

sk_status sk_summary_take(const sk_program *program, const sk_board_sample *before, sk_summary *ret_summary,
                          sk_error *reterr) {
    sk_summary *self = ret_summary;
    *self = (sk_summary){.program = program, .now = sk_board_sample_take(&program->view)};
    if (!sk_process_look(program->pid, &self->process) || self->process.birth != program->birth)
        self->process.is_ended = true;
    const sk_board_counters *c = &self->now.counters;
    int64_t started_ns = program->view.board->started_ns;
    self->uptime_s = sk_board_age_s(started_ns, self->now.at_ns);
    self->progress_s = sk_board_age_s(c->progress_ns ? c->progress_ns : started_ns, self->now.at_ns);
    double since_s = sk_board_age_s(before->at_ns, self->now.at_ns);
    self->done_per_s = rate(before->counters.n_done, c->n_done, since_s);
    self->failed_per_s = rate(before->counters.n_failed, c->n_failed, since_s);
    self->retried_per_s = rate(before->counters.n_retried, c->n_retried, since_s);
    look_at_waits(&program->view, self);
    look_at_resources(&program->view, self);
    self->is_stuck = self->n_waits > 0 && self->progress_s > STUCK_S && !self->process.is_ended;
    bool looks_alive = !self->process.is_ended && !self->process.is_stopped;
    SK_TRY(sk_hosts_summary_take(&program->view, &before->hosts, self->now.at_ns, looks_alive, &self->hosts, reterr));
    return look_at_states(&program->view, self, reterr);
}

/* ---- for people ---- */

static const char *state_text(const sk_summary *self) {
    return self->process.is_ended ? "ended" : self->process.is_stopped ? "stopped" : "running";
}

/* ", 3 busy", without the comma in front of the first; nothing where there are none, unless `always`. */
static void print_part(FILE *out, int *n_parts, uint64_t n, const char *what, bool always) {
    char text[SK_CONSOLE_TEXT];
    if (n == 0 && !always) return;
    sk_console_count((double)n, text);
    fprintf(out, "%s%s %s", (*n_parts)++ ? ", " : "", text, what);
}

/* ", 1,200 done (350/s)" */
static void print_rated(FILE *out, int *n_parts, uint64_t n, const char *what, double per_s) {
    char text[SK_CONSOLE_TEXT];
    if (n == 0) return;
    print_part(out, n_parts, n, what, true);
    if (per_s <= 0) return;
    sk_console_rate(per_s, text);
    fprintf(out, " (%s/s)", text);
}

static void print_workers(const sk_summary *self, FILE *out) {
    static const int order[] = {SK_WORKER_BUSY, SK_WORKER_IDLE, SK_WORKER_BLOCKED, SK_WORKER_STARTING,
                                SK_WORKER_STOPPING};
    int n = 0;
    fputs("workers    ", out);
    for (int i = 0; i < SK_COUNT(order); i++)
        print_part(out, &n, (uint64_t)self->n_workers[order[i]], sk_board_worker_state_text(order[i]), i < 3);
    if (self->now.counters.n_threads > 0) {
        fputs("; ", out);
        print_part(out, &(int){0}, self->now.counters.n_threads, "threads in the program", true);
    }
    fputc('\n', out);
}

static void print_actors(const sk_summary *self, FILE *out) {
    static const int order[] = {SK_ACTOR_ALIVE,    SK_ACTOR_STARTING, SK_ACTOR_RESTARTING,
                                SK_ACTOR_STOPPING, SK_ACTOR_PENDING,  SK_ACTOR_DEAD};
    int      n = 0;
    uint64_t n_living = 0;
    fputs("actors     ", out);
    for (int i = 0; i < SK_COUNT(order); i++) {
        bool is_pending = order[i] == SK_ACTOR_PENDING;
        print_part(out, &n, (uint64_t)self->n_actors[order[i]],
                   is_pending ? "waiting for resources" : sk_board_actor_state_text(order[i]), i == 0);
        if (order[i] != SK_ACTOR_DEAD) n_living += (uint64_t)self->n_actors[order[i]];
    }
    if (self->now.counters.n_actors > n_living) /* the table is full */
        print_part(out, &n, self->now.counters.n_actors - n_living, "more, not shown", true);
    fputc('\n', out);
}

static void print_tasks(const sk_summary *self, FILE *out) {
    const sk_board_counters *c = &self->now.counters;
    int n = 0;
    fputs("tasks      ", out);
    print_part(out, &n, c->n_queued, "pending", true);
    print_part(out, &n, c->n_running, "running", true);
    print_rated(out, &n, c->n_done, "done", self->done_per_s);
    print_rated(out, &n, c->n_failed, "failed", self->failed_per_s);
    print_rated(out, &n, c->n_retried, "retried", self->retried_per_s);
    print_part(out, &n, c->n_canceled, "cancelled", false);
    fputc('\n', out);
}

/* "cpu 3 of 4"; memory in units of bytes. */
static void print_resources(const sk_summary *self, FILE *out) {
    fputs("resources  ", out);
    for (int i = 0; i < self->n_resources; i++) {
        const sk_board_resource *r = &self->resources[i];
        char name[4 * sizeof r->name], used[SK_REPORT_TEXT], total[SK_REPORT_TEXT];
        sk_text_safe(r->name, sizeof r->name, name, sizeof name);
        if (strcmp(name, "memory") == 0) {
            sk_text_bytes(r->total - r->free, used);
            sk_text_bytes(r->total, total);
        } else {
            snprintf(used, sizeof used, "%.6g", r->total - r->free);
            snprintf(total, sizeof total, "%.6g", r->total);
        }
        fprintf(out, "%s%s %s of %s", i ? ", " : "", name, used, total);
    }
    fputs(self->n_resources ? " in use\n" : "none\n", out);
}

static void print_objects(const sk_summary *self, FILE *out) {
    const sk_board_counters *c = &self->now.counters;
    char n[SK_CONSOLE_TEXT], bytes[SK_REPORT_TEXT], used[SK_REPORT_TEXT], all[SK_REPORT_TEXT], peak[SK_REPORT_TEXT];
    sk_console_count((double)c->n_objects, n);
    sk_text_bytes((double)c->object_bytes, bytes);
    sk_text_bytes((double)c->store_used, used);
    sk_text_bytes((double)c->store_bytes, all);
    sk_text_bytes((double)c->store_peak, peak);
    fprintf(out, "objects    %s (%s); store %s of %s (peak %s)", n, bytes, used, all, peak);
    if (c->spilled_bytes > 0 || c->n_spills > 0) {
        sk_text_bytes((double)c->spilled_bytes, used);
        sk_text_bytes((double)c->spill_bytes, all);
        fprintf(out, "; on disk %s of %s", used, all);
    }
    fputc('\n', out);
}

static void print_faults(const sk_summary *self, FILE *out) {
    const sk_board_counters *c = &self->now.counters;
    int n = 0;
    if (!(c->n_worker_deaths || c->n_restarts || c->n_rebuilt || c->n_malformed || c->n_hosts_lost || c->n_refused))
        return;
    fputs("faults     ", out);
    print_part(out, &n, c->n_worker_deaths, c->n_worker_deaths == 1 ? "worker died" : "workers died", false);
    print_part(out, &n, c->n_restarts, c->n_restarts == 1 ? "restart of an actor" : "restarts of actors", false);
    print_part(out, &n, c->n_rebuilt, c->n_rebuilt == 1 ? "lost object made again" : "lost objects made again", false);
    print_part(out, &n, c->n_malformed, c->n_malformed == 1 ? "malformed message" : "malformed messages", false);
    print_part(out, &n, c->n_hosts_lost, c->n_hosts_lost == 1 ? "host lost" : "hosts lost", false);
    print_part(out, &n, c->n_refused, c->n_refused == 1 ? "connection refused (no key, or another)"
                                                        : "connections refused (no key, or another)", false);
    fputc('\n', out);
}

static void print_waits(const sk_summary *self, FILE *out) {
    char what[4 * sizeof self->waits[0].what], age[SK_REPORT_TEXT];
    for (int i = 0; i < self->n_waits && i < WAITS_SHOWN; i++) {
        sk_text_safe(self->waits[i].what, sizeof self->waits[i].what, what, sizeof what);
        sk_text_span(sk_board_age_s(self->waits[i].since_ns, self->now.at_ns), age);
        fprintf(out, "%-10s %s (%s)\n", i ? "" : "waits for", what, age);
    }
    if (self->n_waits > WAITS_SHOWN) fprintf(out, "%-10s ... %d more\n", "", self->n_waits - WAITS_SHOWN);
}

static void print_warnings(const sk_summary *self, FILE *out) {
    char name[4 * SK_BOARD_NAME], age[SK_REPORT_TEXT];
    if (self->process.is_stopped)
        fprintf(out, "warning: the program is stopped (kill -CONT %d lets it go on)\n", self->program->pid);
    for (int i = 0; i < self->n_stopped && i < SK_SUMMARY_STOPPED; i++) {
        sk_text_safe(self->stopped[i].name, SK_BOARD_NAME, name, sizeof name);
        fprintf(out, "warning: worker %s is stopped (kill -CONT %d lets it go on)\n", name, self->stopped[i].pid);
    }
    if (self->n_stopped > SK_SUMMARY_STOPPED)
        fprintf(out, "warning: %d more workers are stopped\n", self->n_stopped - SK_SUMMARY_STOPPED);
    sk_text_span(self->progress_s, age);
    sk_hosts_summary_print_troubles(&self->hosts, self->now.at_ns, out);
    if (self->is_stuck) fprintf(out, "warning: nothing has ended for %s, and someone waits\n", age);
}

void sk_summary_print(const sk_summary *self, FILE *out) {
    char up[SK_REPORT_TEXT], age[SK_REPORT_TEXT];
    sk_text_span(self->uptime_s, up);
    sk_text_span(self->progress_s, age);
    fprintf(out, "%s, pid %d, %s, up %s\n", self->program->name, self->program->pid, state_text(self), up);
    sk_hosts_summary_print(&self->hosts, out);
    print_workers(self, out);
    print_actors(self, out);
    print_tasks(self, out);
    print_resources(self, out);
    print_objects(self, out);
    print_faults(self, out);
    fprintf(out, "progress   %s%s ago\n", self->now.counters.progress_ns ? "something ended " : "nothing yet, started ",
            age);
    print_waits(self, out);
    print_warnings(self, out);
}

/* ---- for programs ---- */

typedef struct pair {
    const char *key;
    uint64_t    n;
} pair;

static void add_object(sk_json_line *line, const char *key, const pair *pairs, int n) {
    sk_json_line_begin(line, key);
    for (int i = 0; i < n; i++) sk_json_line_integer(line, pairs[i].key, sk_json_count(pairs[i].n));
    sk_json_line_end(line);
}

static void add_field(sk_json_line *line, const char *key, const char *field, size_t size) {
    char text[4 * SK_BOARD_NAME];
    snprintf(text, sizeof text, "%.*s", (int)size, field);
    sk_json_line_text(line, key, text);
}

static void add_states(const sk_summary *self, sk_json_line *line) {
    sk_json_line_begin(line, "workers");
    for (int i = SK_WORKER_NONE + 1; i <= SK_WORKER_STOPPING; i++)
        sk_json_line_integer(line, sk_board_worker_state_text(i), self->n_workers[i]);
    sk_json_line_end(line);
    sk_json_line_begin(line, "actors");
    for (int i = SK_ACTOR_NONE + 1; i <= SK_ACTOR_DEAD; i++)
        sk_json_line_integer(line, sk_board_actor_state_text(i), self->n_actors[i]);
    sk_json_line_end(line);
}

static void add_counters(const sk_summary *self, sk_json_line *line) {
    const sk_board_counters *c = &self->now.counters;
    const pair tasks[] = {{"submitted", c->n_submitted}, {"pending", c->n_queued}, {"running", c->n_running},
                          {"done", c->n_done}, {"failed", c->n_failed}, {"retried", c->n_retried},
                          {"canceled", c->n_canceled}};
    const pair objects[] = {{"n", c->n_objects}, {"bytes", c->object_bytes}, {"store_bytes", c->store_bytes},
                            {"store_used_bytes", c->store_used}, {"store_peak_bytes", c->store_peak},
                            {"spilled_bytes", c->spilled_bytes}, {"spill_max_bytes", c->spill_bytes},
                            {"spills", c->n_spills}, {"unspills", c->n_unspills}};
    const pair faults[] = {{"worker_deaths", c->n_worker_deaths}, {"actor_restarts", c->n_restarts},
                           {"objects_rebuilt", c->n_rebuilt}, {"malformed", c->n_malformed},
                           {"hosts_lost", c->n_hosts_lost}, {"connections_refused", c->n_refused}};
    add_object(line, "tasks", tasks, SK_COUNT(tasks));
    sk_json_line_number(line, "done_per_s", self->done_per_s);
    sk_json_line_number(line, "failed_per_s", self->failed_per_s);
    sk_json_line_number(line, "retried_per_s", self->retried_per_s);
    add_object(line, "objects", objects, SK_COUNT(objects));
    add_object(line, "faults", faults, SK_COUNT(faults));
    sk_json_line_integer(line, "threads", sk_json_count(c->n_threads));
    sk_json_line_integer(line, "groups", sk_json_count(c->n_groups));
}

static void add_lists(const sk_summary *self, sk_json_line *line) {
    sk_json_line_begin_array(line, "resources");
    for (int i = 0; i < self->n_resources; i++) {
        const sk_board_resource *r = &self->resources[i];
        sk_json_line_begin(line, NULL);
        add_field(line, "name", r->name, sizeof r->name);
        sk_json_line_number(line, "total", r->total);
        sk_json_line_number(line, "free", r->free);
        sk_json_line_end(line);
    }
    sk_json_line_end_array(line);
    sk_json_line_begin_array(line, "waits");
    for (int i = 0; i < self->n_waits; i++) {
        sk_json_line_begin(line, NULL);
        add_field(line, "what", self->waits[i].what, sizeof self->waits[i].what);
        sk_json_line_number(line, "for_s", sk_board_age_s(self->waits[i].since_ns, self->now.at_ns));
        sk_json_line_end(line);
    }
    sk_json_line_end_array(line);
    sk_json_line_begin_array(line, "stopped");
    for (int i = 0; i < self->n_stopped && i < SK_SUMMARY_STOPPED; i++) {
        sk_json_line_begin(line, NULL);
        add_field(line, "name", self->stopped[i].name, sizeof self->stopped[i].name);
        sk_json_line_integer(line, "pid", self->stopped[i].pid);
        sk_json_line_end(line);
    }
    sk_json_line_end_array(line);
    sk_json_line_integer(line, "n_stopped", self->n_stopped);
}

sk_status sk_summary_print_json(const sk_summary *self, FILE *out, sk_error *reterr) {
    sk_json_line line;
    char        *text;
    sk_json_line_init(&line);
    add_field(&line, "program", self->program->view.board->name, SK_BOARD_NAME);
    sk_json_line_integer(&line, "pid", self->program->pid);
    sk_json_line_text(&line, "state", state_text(self));
    sk_json_line_number(&line, "uptime_s", self->uptime_s);
    sk_json_line_number(&line, "progress_s", self->progress_s);
    sk_json_line_bool(&line, "is_stuck", self->is_stuck);
    add_states(self, &line);
    add_counters(self, &line);
    add_lists(self, &line);
    sk_hosts_summary_add(&self->hosts, self->now.at_ns, &line);
    SK_TRY(sk_json_line_finish(&line, &text, reterr));
    fprintf(out, "%s\n", text);
    free(text);
    return SK_OK;
}
