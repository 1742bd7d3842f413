#include "cli/board_tables.h"
#include "core/base/clock.h"
#include "skiff/skiff.h"

#include <stdlib.h>
#include <string.h>

/* ---- functions ---- */

static int by_time(const void *a, const void *b) {
    const sk_board_function *x = a, *y = b;
    if (x->n_running != y->n_running) return x->n_running > y->n_running ? -1 : 1;
    if (x->total_ns != y->total_ns) return x->total_ns > y->total_ns ? -1 : 1;
    return memcmp(x->name, y->name, sizeof x->name);
}

static void function_row(const sk_board_function *f, sk_report *to) {
    if (to->json) sk_report_text(to, "row", "", "function");
    sk_report_field(to, "name", "function", f->name, sizeof f->name);
    sk_report_count(to, "submitted", "submitted", f->n_submitted);
    sk_report_count(to, "done", "done", f->n_done);
    sk_report_count(to, "failed", "failed", f->n_failed);
    sk_report_count(to, "retried", "retried", f->n_retried);
    sk_report_count(to, "canceled", "canceled", f->n_canceled);
    sk_report_count(to, "running", "running", f->n_running);
    if (f->n_done + f->n_failed > 0) sk_report_seconds(to, "mean_s", "mean", (double)f->mean_ns * 1e-9);
    else sk_report_none(to, "mean_s", "mean");
    sk_report_end_row(to);
}

void sk_board_rows_functions(const sk_board_view *view, sk_report *report) {
    const sk_board    *board = view->board;
    sk_board_function *rows = sk_board_read_table(view, board->functions, sizeof board->functions);
    int                n = 0;
    report->broken |= !rows;
    for (int i = 0; rows && i < SK_BOARD_FUNCTIONS; i++) {
        if (rows[i].name[0] && (rows[i].n_submitted || rows[i].n_running)) rows[n++] = rows[i];
    }
    if (rows) qsort(rows, (size_t)n, sizeof *rows, by_time);
    for (int i = 0; i < n; i++) function_row(&rows[i], report);
    free(rows);
}

/* ---- what runs now ---- */

typedef struct run {
    int                    line;
    uint64_t               job;
    int64_t                since_ns;
    const sk_board_worker *worker;
} run;

static int by_start(const void *a, const void *b) {
    const run *x = a, *y = b;
    if (x->since_ns != y->since_ns) return x->since_ns < y->since_ns ? -1 : 1;
    return x->line - y->line;
}

/* The job of a line, if its worker has one. */
static bool look_at_run(const sk_board_view *view, int line, const sk_board_worker *worker, run *ret_run) {
    const sk_line *at = &view->board->lines[line];
    if (worker->state == SK_WORKER_NONE) return false;
    *ret_run = (run){.line = line, .worker = worker};
    sk_board_read(view, (const void *)&at->job, &ret_run->job, sizeof ret_run->job);
    sk_board_read(view, (const void *)&at->job_since_ns, &ret_run->since_ns, sizeof ret_run->since_ns);
    return ret_run->job != 0;
}

void sk_board_rows_runs(const sk_board_view *view, sk_report *report) {
    sk_board_worker *table = sk_board_read_table(view, view->board->workers, sizeof view->board->workers);
    run             *rows = malloc(SK_BOARD_LINES * sizeof *rows);
    int64_t          now_ns = sk_clock_now_ns();
    int              n = 0;
    bool             is_there = table && rows, has_cluster = sk_board_has_cluster(view);
    report->broken |= !is_there;
    for (int i = 0; is_there && i < SK_BOARD_LINES; i++) n += look_at_run(view, i, &table[i], &rows[n]);
    if (is_there) qsort(rows, (size_t)n, sizeof *rows, by_start);
    for (int i = 0; i < n; i++) {
        if (report->json) sk_report_text(report, "row", "", "run");
        sk_report_field(report, "worker", "worker", rows[i].worker->name, sizeof rows[i].worker->name);
        sk_report_host(report, view, has_cluster, rows[i].worker->host);
        sk_report_number(report, "pid", "pid", rows[i].worker->pid);
        sk_report_id(report, "job", "runs", rows[i].job);
        sk_report_seconds(report, "for_s", "for", sk_board_age_s(rows[i].since_ns, now_ns));
        sk_report_end_row(report);
    }
    free(rows);
    free(table);
}

/* ---- actors ---- */

static const char *placement_text(int32_t placement) {
    return placement == SK_PLACE_INLINE    ? "inline"
           : placement == SK_PLACE_THREAD  ? "thread"
           : placement == SK_PLACE_PROCESS ? "process"
           : placement == SK_PLACE_REMOTE  ? "remote"
           : placement == SK_PLACE_DEFAULT ? "default"
                                           : "?";
}

static void actor_row(const sk_board_view *view, const sk_board_actor *actor, bool has_cluster, sk_report *to) {
    sk_report_field(to, "name", "name", actor->name, sizeof actor->name);
    sk_report_field(to, "class", "class", actor->class_name, sizeof actor->class_name);
    sk_report_text(to, "state", "state", sk_board_actor_state_text(actor->state));
    sk_report_text(to, "placement", "runs in", placement_text(actor->placement));
    sk_report_host(to, view, has_cluster, actor->host);
    if (actor->pid > 0) sk_report_number(to, "pid", "pid", actor->pid);
    else sk_report_none(to, "pid", "pid");
    sk_report_count(to, "restarts", "restarts", actor->n_restarts);
    sk_report_count(to, "done", "done", actor->n_done);
    sk_report_count(to, "pending", "pending", actor->n_pending);
    if (to->json) sk_report_id(to, "id", "", actor->id);
    sk_report_field(to, "end", "end", actor->end, sizeof actor->end);
    sk_report_end_row(to);
}

void sk_board_rows_actors(const sk_board_view *view, sk_report *report) {
    sk_board_actor *rows = sk_board_read_table(view, view->board->actors, sizeof view->board->actors);
    bool            has_cluster = sk_board_has_cluster(view);
    report->broken |= !rows;
    for (int i = 0; rows && i < SK_BOARD_ACTORS; i++)
        if (rows[i].state != SK_ACTOR_NONE) actor_row(view, &rows[i], has_cluster, report);
    free(rows);
}

/* ---- objects ---- */

static int by_size(const void *a, const void *b) {
    const sk_board_object *x = a, *y = b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void object_row(const sk_board_view *view, const sk_board_object *object, int64_t now_ns, sk_report *to) {
    char maker[SK_BOARD_NAME] = "put";
    bool is_made = object->function >= 0 && object->function < SK_BOARD_FUNCTIONS;
    if (is_made) sk_board_read(view, view->board->functions[object->function].name, maker, sizeof maker);
    sk_report_id(to, "id", "id", object->id);
    sk_report_bytes(to, "size_bytes", "size", object->size);
    sk_report_text(to, "place", "place", object->place == SK_OBJECT_IN_MEMORY ? "memory"
                                         : object->place == SK_OBJECT_SPILLED ? "disk"
                                                                              : "?");
    sk_report_count(to, "refs", "refs", object->n_refs);
    sk_report_count(to, "pins", "pins", object->n_pins);
    sk_report_field(to, "made_by", "made by", maker, sizeof maker);
    sk_report_seconds(to, "age_s", "age", sk_board_age_s(object->created_ns, now_ns));
    sk_report_end_row(to);
}

void sk_board_rows_objects(const sk_board_view *view, sk_report *report) {
    sk_board_object *rows = sk_board_read_table(view, view->board->objects, sizeof view->board->objects);
    int64_t          now_ns = sk_clock_now_ns();
    int              n = 0;
    report->broken |= !rows;
    for (int i = 0; rows && i < SK_BOARD_OBJECTS; i++)
        if (rows[i].id != 0) rows[n++] = rows[i];
    if (rows) qsort(rows, (size_t)n, sizeof *rows, by_size);
    for (int i = 0; i < n; i++) object_row(view, &rows[i], now_ns, report);
    free(rows);
}

/* ---- workers ---- */

/* What the system says counts more than what the driver last knew; of other hosts it says nothing. */
static const char *worker_state(const sk_board_worker *worker, const sk_process *process, bool is_there) {
    if (process->is_stopped) return "stopped";
    bool is_known = is_there || worker->host != 0 || worker->pid <= 0;
    return is_known ? sk_board_worker_state_text(worker->state) : "ended";
}

static void worker_row(const sk_board_view *view, const sk_board_worker *worker, int64_t now_ns, bool has_cluster,
                       sk_report *to) {
    sk_process process = {0};
    bool       is_there = worker->host == 0 && sk_process_look(worker->pid, &process);
    sk_report_field(to, "name", "name", worker->name, sizeof worker->name);
    sk_report_host(to, view, has_cluster, worker->host);
    sk_report_number(to, "pid", "pid", worker->pid);
    sk_report_text(to, "state", "state", worker_state(worker, &process, is_there));
    sk_report_seconds(to, "for_s", "for", sk_board_age_s(worker->since_ns, now_ns));
    sk_report_seconds(to, "up_s", "up", sk_board_age_s(worker->started_ns, now_ns));
    sk_report_count(to, "done", "done", worker->n_done);
    sk_report_count(to, "in_flight", "in flight", worker->n_in_flight);
    if (is_there) {
        sk_report_bytes(to, "rss_bytes", "memory", process.rss_bytes);
        sk_report_seconds(to, "cpu_s", "cpu", process.cpu_s);
    } else {
        sk_report_none(to, "rss_bytes", "memory");
        sk_report_none(to, "cpu_s", "cpu");
    }
    sk_report_field(to, "log", "log", worker->log_path, sizeof worker->log_path);
    sk_report_end_row(to);
}

void sk_board_rows_workers(const sk_board_view *view, sk_report *report) {
    sk_board_worker *rows = sk_board_read_table(view, view->board->workers, sizeof view->board->workers);
    int64_t          now_ns = sk_clock_now_ns();
    bool             has_cluster = sk_board_has_cluster(view);
    report->broken |= !rows;
    for (int i = 0; rows && i < SK_BOARD_LINES; i++)
        if (rows[i].state != SK_WORKER_NONE) worker_row(view, &rows[i], now_ns, has_cluster, report);
    free(rows);
}
