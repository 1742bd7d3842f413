#include "cli/board_hosts.h"
#include "cli/console_text.h"
#include "core/base/clock.h"
#include "core/runtime/wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A host says something every SK_BEAT_MS: three in a row that do not come are told. */
static const double SILENT_S = 3 * SK_BEAT_MS * 1e-3;
/* So much waits for a host, and for so long at its present rate: its way is slow. */
static const uint64_t SLOW_BYTES = 1 << 20;
static const double   SLOW_S = 2;

/* ---- looking ---- */

bool sk_board_has_cluster(const sk_board_view *view) {
    char first;
    sk_board_read(view, view->board->endpoint, &first, 1);
    return first != '\0';
}

static void read_endpoint(const sk_board_view *view, char ret_text[sizeof view->board->endpoint]) {
    sk_board_read(view, view->board->endpoint, ret_text, sizeof view->board->endpoint);
    ret_text[sizeof view->board->endpoint - 1] = '\0';
}

void sk_board_host_name(const sk_board_view *view, int32_t number, char ret_name[SK_BOARD_NAME + 1]) {
    ret_name[0] = '\0';
    if (number == 0) return;
    if (number > 0 && number < SK_BOARD_HOSTS) {
        sk_board_read(view, view->board->hosts[number].name, ret_name, SK_BOARD_NAME);
        ret_name[SK_BOARD_NAME] = '\0';
        if (!ret_name[0]) snprintf(ret_name, SK_BOARD_NAME, "host %d", number);
        return;
    }
    snprintf(ret_name, SK_BOARD_NAME, "?");
}

void sk_hosts_sample_take(const sk_board_view *view, sk_hosts_sample *ret_sample) {
    memset(ret_sample, 0, sizeof *ret_sample);
    ret_sample->at_ns = sk_clock_now_ns();
    if (!sk_board_has_cluster(view)) return;
    for (int i = 1; i < SK_BOARD_HOSTS; i++) {
        sk_board_host host;
        sk_board_read(view, &view->board->hosts[i], &host, sizeof host);
        ret_sample->bytes_in[i] = host.bytes_in;
        ret_sample->bytes_out[i] = host.bytes_out;
    }
}

/* Counters only grow, but for another host in the same row. */
static double rate(uint64_t before, uint64_t now, double seconds) {
    return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

/* ---- a program's hosts at a glance ---- */

static bool is_shown(const sk_board_host *host) { return host->state > SK_HOST_NONE && host->state <= SK_HOST_LEFT; }
static bool is_gone(const sk_board_host *host) { return host->state == SK_HOST_LOST || host->state == SK_HOST_LEFT; }

/* Did a host of that name join since? Then what became of that one is what counts. */
static bool is_replaced(const sk_board_host *hosts, const sk_board_host *gone) {
    for (int i = 1; i < SK_BOARD_HOSTS; i++) {
        if (&hosts[i] == gone || !is_shown(&hosts[i])) continue;
        if (strncmp(hosts[i].name, gone->name, SK_BOARD_NAME) != 0) continue;
        if (!is_gone(&hosts[i]) || hosts[i].since_ns > gone->since_ns) return true;
    }
    return false;
}

static bool is_slow(const sk_board_host *host, double out_per_s) {
    return host->waiting_bytes > SLOW_BYTES && (double)host->waiting_bytes > SLOW_S * out_per_s;
}

static sk_host_trouble_kind trouble_of(const sk_board_host *host, double out_per_s, int64_t now_ns, bool looks_alive) {
    if (host->state == SK_HOST_LOST) return SK_TROUBLE_LOST;
    if (host->state == SK_HOST_LEFT) return SK_TROUBLE_LEFT;
    if (host->state != SK_HOST_UP) return SK_TROUBLE_NONE;
    if (looks_alive && sk_board_age_s(host->heard_ns, now_ns) > SILENT_S) return SK_TROUBLE_SILENT;
    return is_slow(host, out_per_s) ? SK_TROUBLE_SLOW : SK_TROUBLE_NONE;
}

/* Keep the worst, in order. */
static void add_trouble(sk_hosts_summary *to, const sk_host_trouble *trouble) {
    int at = to->n_troubles < SK_HOST_TROUBLES ? to->n_troubles : SK_HOST_TROUBLES;
    to->n_troubles++;
    while (at > 0 && (to->troubles[at - 1].kind > trouble->kind ||
                      (to->troubles[at - 1].kind == trouble->kind &&
                       to->troubles[at - 1].host.since_ns < trouble->host.since_ns))) {
        if (at < SK_HOST_TROUBLES) to->troubles[at] = to->troubles[at - 1];
        at--;
    }
    if (at < SK_HOST_TROUBLES) to->troubles[at] = *trouble;
}

static void add_host(sk_hosts_summary *to, const sk_board_host *hosts, int number, const sk_hosts_sample *before,
                     int64_t now_ns, bool looks_alive) {
    const sk_board_host *host = &hosts[number];
    if (!is_shown(host) || (is_gone(host) && is_replaced(hosts, host))) return;
    double since_s = sk_board_age_s(before->at_ns, now_ns);
    double out_per_s = rate(before->bytes_out[number], host->bytes_out, since_s);
    to->n[host->state]++;
    if (host->state == SK_HOST_UP) {
        to->n_workers += host->n_workers;
        to->in_per_s += rate(before->bytes_in[number], host->bytes_in, since_s);
        to->out_per_s += out_per_s;
        to->waiting_bytes += host->waiting_bytes;
    }
    sk_host_trouble trouble = {.kind = trouble_of(host, out_per_s, now_ns, looks_alive), .number = number,
                               .out_per_s = out_per_s, .host = *host};
    if (trouble.kind != SK_TROUBLE_NONE) add_trouble(to, &trouble);
}

sk_status sk_hosts_summary_take(const sk_board_view *view, const sk_hosts_sample *before, int64_t now_ns,
                                bool looks_alive, sk_hosts_summary *ret_summary, sk_error *reterr) {
    *ret_summary = (sk_hosts_summary){.has_cluster = sk_board_has_cluster(view)};
    if (!ret_summary->has_cluster) return SK_OK;
    read_endpoint(view, ret_summary->endpoint);
    sk_board_host *hosts = sk_board_read_table(view, view->board->hosts, sizeof view->board->hosts);
    if (!hosts) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a copy of the table of hosts");
    for (int i = 1; i < SK_BOARD_HOSTS; i++) add_host(ret_summary, hosts, i, before, now_ns, looks_alive);
    free(hosts);
    return SK_OK;
}

static const char *state_text(int32_t state) {
    static const char *const texts[] = {[SK_HOST_NONE] = "none", [SK_HOST_JOINING] = "joining", [SK_HOST_UP] = "up",
                                        [SK_HOST_LOST] = "lost", [SK_HOST_LEFT] = "left"};
    return state >= 0 && state < SK_COUNT(texts) ? texts[state] : "?";
}

void sk_hosts_summary_print(const sk_hosts_summary *self, FILE *out) {
    static const int order[] = {SK_HOST_JOINING, SK_HOST_LOST, SK_HOST_LEFT};
    char in[SK_REPORT_TEXT], away[SK_REPORT_TEXT], waiting[SK_REPORT_TEXT], where[4 * sizeof self->endpoint];
    char n_workers[SK_CONSOLE_TEXT];
    if (!self->has_cluster) return;
    sk_text_safe(self->endpoint, sizeof self->endpoint, where, sizeof where);
    fprintf(out, "hosts      %d up", self->n[SK_HOST_UP]);
    if (self->n[SK_HOST_UP] > 0) {
        sk_text_byte_rate(self->in_per_s, in);
        sk_text_byte_rate(self->out_per_s, away);
        sk_text_bytes((double)self->waiting_bytes, waiting);
        sk_console_count((double)self->n_workers, n_workers);
        fprintf(out, " (%s worker%s, %s in, %s out, %s waiting)", n_workers, self->n_workers == 1 ? "" : "s", in, away,
                waiting);
    }
    for (int i = 0; i < SK_COUNT(order); i++)
        if (self->n[order[i]] > 0) fprintf(out, ", %d %s", self->n[order[i]], state_text(order[i]));
    fprintf(out, "; they join at %s\n", where);
}

/* ---- trouble ---- */

static void print_trouble(const sk_host_trouble *trouble, int64_t now_ns, FILE *out) {
    const sk_board_host *host = &trouble->host;
    char name[4 * SK_BOARD_NAME], end[4 * sizeof host->end], age[SK_REPORT_TEXT], bytes[SK_REPORT_TEXT];
    char per_s[SK_REPORT_TEXT];
    sk_text_safe(host->name, sizeof host->name, name, sizeof name);
    sk_text_safe(host->end, sizeof host->end, end, sizeof end);
    switch (trouble->kind) {
    case SK_TROUBLE_SILENT:
        sk_text_span(sk_board_age_s(host->heard_ns, now_ns), age);
        fprintf(out, "warning: host %s has been silent for %s; it is given up after %g s\n", name, age,
                SK_HOST_LOST_MS * 1e-3);
        break;
    case SK_TROUBLE_SLOW:
        sk_text_bytes((double)host->waiting_bytes, bytes);
        sk_text_byte_rate(trouble->out_per_s, per_s);
        fprintf(out, "warning: %s wait for host %s, to which %s go\n", bytes, name, per_s);
        break;
    case SK_TROUBLE_LOST:
    case SK_TROUBLE_LEFT:
        sk_text_span(sk_board_age_s(host->since_ns, now_ns), age);
        fprintf(out, "%s: host %s %s, %s ago\n", trouble->kind == SK_TROUBLE_LOST ? "warning" : "note", name,
                end[0] ? end : trouble->kind == SK_TROUBLE_LOST ? "was lost" : "has left", age);
        break;
    case SK_TROUBLE_NONE: break;
    }
}

void sk_hosts_summary_print_troubles(const sk_hosts_summary *self, int64_t now_ns, FILE *out) {
    for (int i = 0; i < self->n_troubles && i < SK_HOST_TROUBLES; i++) print_trouble(&self->troubles[i], now_ns, out);
    if (self->n_troubles > SK_HOST_TROUBLES)
        fprintf(out, "warning: %d more hosts are in trouble or gone; `skiff list hosts` shows them\n",
                self->n_troubles - SK_HOST_TROUBLES);
}

/* ---- for programs ---- */

static void add_field(sk_json_line *line, const char *key, const char *field, size_t size) {
    char text[2 * sizeof(((sk_board_host *)0)->end)];
    snprintf(text, sizeof text, "%.*s", (int)size, field);
    sk_json_line_text(line, key, text);
}

static void add_one_trouble(const sk_host_trouble *trouble, int64_t now_ns, sk_json_line *line) {
    static const char *const texts[] = {[SK_TROUBLE_NONE] = "none", [SK_TROUBLE_SILENT] = "silent",
                                        [SK_TROUBLE_SLOW] = "slow", [SK_TROUBLE_LOST] = "lost",
                                        [SK_TROUBLE_LEFT] = "left"};
    bool is_over = trouble->kind >= SK_TROUBLE_LOST;
    sk_json_line_begin(line, NULL);
    add_field(line, "host", trouble->host.name, sizeof trouble->host.name);
    sk_json_line_integer(line, "number", trouble->number);
    sk_json_line_text(line, "trouble", texts[trouble->kind]);
    sk_json_line_number(line, "for_s",
                        sk_board_age_s(is_over ? trouble->host.since_ns : trouble->host.heard_ns, now_ns));
    sk_json_line_integer(line, "waiting_bytes", sk_json_count(trouble->host.waiting_bytes));
    add_field(line, "end", trouble->host.end, sizeof trouble->host.end);
    sk_json_line_end(line);
}

void sk_hosts_summary_add(const sk_hosts_summary *self, int64_t now_ns, sk_json_line *line) {
    sk_json_line_begin(line, "hosts");
    if (self->has_cluster) add_field(line, "endpoint", self->endpoint, sizeof self->endpoint);
    else sk_json_line_null(line, "endpoint");
    for (int i = SK_HOST_JOINING; i <= SK_HOST_LEFT; i++) sk_json_line_integer(line, state_text(i), self->n[i]);
    sk_json_line_integer(line, "workers", sk_json_count(self->n_workers));
    sk_json_line_number(line, "in_bytes_per_s", self->in_per_s);
    sk_json_line_number(line, "out_bytes_per_s", self->out_per_s);
    sk_json_line_integer(line, "waiting_bytes", sk_json_count(self->waiting_bytes));
    sk_json_line_end(line);
    sk_json_line_begin_array(line, "hosts_in_trouble");
    for (int i = 0; i < self->n_troubles && i < SK_HOST_TROUBLES; i++)
        add_one_trouble(&self->troubles[i], now_ns, line);
    sk_json_line_end_array(line);
}

/* ---- one by one ---- */

typedef struct host_at {
    int           number;
    sk_board_host host;
} host_at;

static int by_state(const void *a, const void *b) {
    const host_at *x = a, *y = b;
    if (is_gone(&x->host) != is_gone(&y->host)) return is_gone(&x->host) ? 1 : -1;
    if (is_gone(&x->host) && x->host.since_ns != y->host.since_ns)
        return x->host.since_ns > y->host.since_ns ? -1 : 1;
    return x->number - y->number;
}

/* Those that are shown, in order; NULL: none, or no memory, which *ret_broken says. Caller frees. */
static host_at *read_rows(const sk_board_view *view, int *ret_n, bool *ret_broken) {
    host_at *rows = malloc(SK_BOARD_HOSTS * sizeof *rows);
    *ret_n = 0;
    *ret_broken |= !rows;
    for (int i = 1; rows && i < SK_BOARD_HOSTS; i++) {
        host_at *at = &rows[*ret_n];
        at->number = i;
        sk_board_read(view, &view->board->hosts[i], &at->host, sizeof at->host);
        *ret_n += is_shown(&at->host);
    }
    if (rows) qsort(rows, (size_t)*ret_n, sizeof *rows, by_state);
    return rows;
}

/* "1.5 of 4"; programs get both numbers. */
static void add_cpu(const sk_board_host *host, sk_report *to) {
    char text[2 * SK_REPORT_TEXT];
    if (to->json) {
        sk_json_line_number(&to->line, "cpu_free", host->cpu_free);
        sk_json_line_number(&to->line, "cpu_total", host->cpu_total);
        return;
    }
    if (is_gone(host)) {
        sk_report_text(to, "", "cpu free", "-");
        return;
    }
    if (!isfinite(host->cpu_free) || !isfinite(host->cpu_total)) snprintf(text, sizeof text, "?");
    else snprintf(text, sizeof text, "%.6g of %.6g", host->cpu_free, host->cpu_total);
    sk_report_text(to, "", "cpu free", text);
}

/* What both tables begin with. */
static void add_state(const host_at *row, int64_t now_ns, sk_report *to) {
    const sk_board_host *host = &row->host;
    sk_report_field(to, "host", "host", host->name, sizeof host->name);
    if (to->json) sk_report_number(to, "number", "", row->number);
    sk_report_text(to, "state", "state", state_text(host->state));
    sk_report_seconds(to, "for_s", "for", sk_board_age_s(host->since_ns, now_ns));
    sk_report_number(to, "pid", "node's pid", host->pid);
    sk_report_count(to, "workers", "workers", host->n_workers);
    add_cpu(host, to);
    if (is_gone(host)) sk_report_none(to, "silence_s", "silent");
    else sk_report_seconds(to, "silence_s", "silent", sk_board_age_s(host->heard_ns, now_ns));
    bool is_known = host->round_trip_ns > 0;
    if (is_known) sk_report_seconds(to, "round_trip_s", "round trip", (double)host->round_trip_ns * 1e-9);
    else sk_report_none(to, "round_trip_s", "round trip");
}

static void host_row(const host_at *row, int64_t now_ns, sk_report *to) {
    const sk_board_host *host = &row->host;
    add_state(row, now_ns, to);
    sk_report_bytes(to, "in_bytes", "in", host->bytes_in);
    sk_report_bytes(to, "out_bytes", "out", host->bytes_out);
    sk_report_bytes(to, "waiting_bytes", "waiting", host->waiting_bytes);
    if (to->json) {
        sk_report_count(to, "in_frames", "", host->n_frames_in);
        sk_report_count(to, "out_frames", "", host->n_frames_out);
        sk_report_count(to, "copies", "", host->n_copies);
    }
    sk_report_bytes(to, "copied_bytes", "copies", host->copied_bytes);
    sk_report_bytes(to, "store_bytes", "store", host->store_bytes);
    sk_report_field(to, "end", "end", host->end, sizeof host->end);
    sk_report_end_row(to);
}

void sk_board_rows_hosts(const sk_board_view *view, sk_report *report) {
    int      n;
    host_at *rows = read_rows(view, &n, &report->broken);
    int64_t  now_ns = sk_clock_now_ns();
    for (int i = 0; i < n; i++) host_row(&rows[i], now_ns, report);
    free(rows);
}

static void rate_row(const host_at *row, const sk_hosts_sample *before, int64_t now_ns, sk_report *to) {
    double since_s = sk_board_age_s(before->at_ns, now_ns);
    add_state(row, now_ns, to);
    sk_report_byte_rate(to, "", "in", rate(before->bytes_in[row->number], row->host.bytes_in, since_s));
    sk_report_byte_rate(to, "", "out", rate(before->bytes_out[row->number], row->host.bytes_out, since_s));
    sk_report_bytes(to, "", "waiting", row->host.waiting_bytes);
    sk_report_field(to, "", "end", row->host.end, sizeof row->host.end);
    sk_report_end_row(to);
}

void sk_board_rows_host_rates(const sk_board_view *view, const sk_hosts_sample *before, sk_report *report) {
    int      n;
    host_at *rows = read_rows(view, &n, &report->broken);
    int64_t  now_ns = sk_clock_now_ns();
    for (int i = 0; i < n; i++) rate_row(&rows[i], before, now_ns, report);
    free(rows);
}

void sk_board_tell_endpoint(const sk_board_view *view, FILE *out) {
    char endpoint[sizeof view->board->endpoint], text[4 * sizeof endpoint];
    read_endpoint(view, endpoint);
    sk_text_safe(endpoint, sizeof endpoint, text, sizeof text);
    if (text[0]) fprintf(out, "they join at %s: skiff node --join %s\n", text, text);
    else fprintf(out, "the program runs on its own host alone: it was not given a cluster\n");
}

void sk_report_host(sk_report *report, const sk_board_view *view, bool has_cluster, int32_t number) {
    char name[SK_BOARD_NAME + 1];
    sk_board_host_name(view, number, name);
    if (report->json && number == 0) sk_report_none(report, "host", "");
    else if (report->json || has_cluster) sk_report_text(report, "host", "host", name[0] ? name : "here");
}
