#include "core/runtime/host.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)
#define DEAF_NS (2000 * MS)  /* its connection broke, and it did not come back so long */
#define SHOW_NS (500 * MS)
#define TICK_NS (20 * MS)
#define ASLEEP_NS (1500 * MS)
#define NAMED_MAX 6          /* workers of a lost host in the log */
#define REFUSALS_MAX 32      /* a second: unknown sessions that are told so, lines of the log */

/* ---- asked by others ------------------------------------------------------------------------------------- */
sk__host *sk__host_at(const sk__driver *d, int number) {
    if (!d->hosts || number < 1 || number >= d->hosts->n) return NULL;
    sk__host *host = d->hosts->at[number];
    return host && host->state == SK__HOST_UP ? host : NULL;
}

int sk__hosts_n_up(const sk__driver *d) { return d->hosts ? d->hosts->n_up : 0; }

const char *sk__hosts_endpoint(const sk__driver *d) { return d->board->endpoint; }

typedef struct wanted {
    int n;
} wanted;

static bool are_up(sk__driver *d, void *arg) { return sk__hosts_n_up(d) >= ((const wanted *)arg)->n; }

sk_status sk__program_wait_hosts(sk__driver *d, int n, int timeout_ms, int *ret_n, sk_error *reterr) {
    wanted want = {n};
    if (!d->hosts)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "this runtime has no cluster: no host can join it (params.cluster)");
    if (n >= SK__HOSTS_MAX)
        return SK_FAIL(reterr, SK_ELIMIT, "a runtime has at most %d hosts, waited for %d", SK__HOSTS_MAX - 1, n);
    sk__driver_lock(d);
    sk_status status = sk__driver_need_pump(d, reterr);
    if (status == SK_OK)
        status = sk__driver_wait(d, are_up, &want, sk__deadline_ns(timeout_ms), "sk_runtime_wait_hosts", 0);
    int  n_up = sk__hosts_n_up(d);
    char refusal[sizeof d->hosts->last_refusal];
    memcpy(refusal, d->hosts->last_refusal, sizeof refusal);
    sk__driver_leave(d);
    if (ret_n) *ret_n = n_up;
    if (status == SK_ETIMEOUT)
        return SK_FAIL(reterr, SK_ETIMEOUT, "%d of %d hosts have joined after %.1f s; they can join at %s%s%.100s",
                       n_up, n, timeout_ms * 1e-3, d->board->endpoint, *refusal ? "; the last refusal: " : "", refusal);
    if (status == SK_EINTERRUPTED)
        return SK_FAIL(reterr, SK_EINTERRUPTED, "interrupted with %d of %d hosts there", n_up, n);
    return status;
}

/* ---- what people see ------------------------------------------------------------------------------------- */
static void show_cpus(const sk__host *self, sk_board_host *row) {
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    int             n = self->state == SK__HOST_UP ? sk_resources_rows(self->d->resources, self->number, rows) : 0;
    row->cpu_total = row->cpu_free = 0.0;
    for (int i = 0; i < n; i++) {
        if (strcmp(rows[i].name, "cpu") != 0) continue;
        row->cpu_total = rows[i].total;
        row->cpu_free = rows[i].free;
    }
}

static void set_state(sk__host *self, sk_board_host_state state, const char *end) {
    sk_board_host *row = &self->d->board->hosts[self->number];
    row->state = (int32_t)state;
    row->since_ns = sk_clock_now_ns();
    snprintf(row->end, sizeof row->end, "%s", end);
    sk__host_show(self);
}

void sk__host_show(sk__host *self) {
    sk_board_host *row = &self->d->board->hosts[self->number];
    memcpy(row->name, self->name, sizeof row->name);
    row->pid = self->pid;
    row->heard_ns = self->heard_ns;
    row->round_trip_ns = self->round_trip_ns;
    row->n_workers = (uint32_t)self->n_peers;
    row->n_copies = (uint32_t)self->n_copies;
    show_cpus(self, row);
    row->bytes_in = self->bytes_in;
    row->bytes_out = self->bytes_out;
    row->n_frames_in = self->n_frames_in;
    row->n_frames_out = self->n_frames_out;
    row->copied_bytes = self->copied_bytes;
    row->store_bytes = self->store_bytes;
    row->waiting_bytes = self->out_bytes;
}

/* "4 cpu, 1 gpu, 7.7 GB" */
static void tell_resources(const sk_wire_join *join, char *ret_text, size_t size) {
    size_t n = 0;
    *ret_text = 0;
    for (int i = 0; i < join->n_resources && n < size; i++) {
        const sk_resource_wire *one = &join->resources[i];
        bool                    memory = strcmp(one->name, "memory") == 0;
        const char             *comma = n ? ", " : "";
        if (one->amount <= 0.0) continue;
        n += (size_t)(memory ? snprintf(ret_text + n, size - n, "%s%.1f GB", comma, one->amount * 1e-9)
                             : snprintf(ret_text + n, size - n, "%s%g %s", comma, one->amount, one->name));
    }
}

/* ---- joining --------------------------------------------------------------------------------------------- */
static sk__host *find(const sk__hosts *self, uint64_t session) {
    for (int i = 1; i < self->n; i++)
        if (self->sessions[i] == session) return self->at[i];
    return NULL;
}

/* A row that was never used, else the one whose host has been gone for longest. 0: all hosts live. */
static int find_number(const sk__hosts *self) {
    const sk_board_host *rows = self->d->board->hosts;
    int                  oldest = 0;
    for (int i = 1; i < SK__HOSTS_MAX; i++) {
        if (self->at[i]) continue;
        if (rows[i].state == SK_HOST_NONE) return i;
        if (oldest == 0 || rows[i].since_ns < rows[oldest].since_ns) oldest = i;
    }
    return oldest;
}

static bool is_taken(const sk__hosts *self, const char *name) {
    for (int i = 1; i < self->n; i++)
        if (self->at[i] && strcmp(self->at[i]->name, name) == 0) return true;
    return false;
}

static void name_host(const sk__hosts *self, const char *wanted_name, char ret_name[SK_HOST_NAME]) {
    snprintf(ret_name, SK_HOST_NAME, "%s", *wanted_name ? wanted_name : "host");
    for (int i = 2; is_taken(self, ret_name); i++)
        snprintf(ret_name, SK_HOST_NAME, "%.*s-%d", SK_HOST_NAME - 13, *wanted_name ? wanted_name : "host", i);
}

/* To a session that is none of ours (any more). It is told once; a full way is its own business. */
static void refuse(sk__hosts *self, uint64_t session, bool again, const char *why) {
    sk_link_order order = {0};
    sk_link_frame frame = {.kind = SK_WIRE_REFUSE, .session = session, .a = again, .payload = why, .size = strlen(why)};
    if (sk_link_send(self->link, &frame, &order, NULL) != SK_OK)
        sk_log(SK_LOG_DEBUG, "a host that was refused could not be told");
}

/* Those that are refused may be many, and may never stop. */
static bool are_few(sk__hosts *self, int64_t now_ns) {
    if (now_ns - self->refused_ns > 1000 * MS) {
        self->refused_ns = now_ns;
        self->n_refused_now = 0;
    }
    return self->n_refused_now++ < REFUSALS_MAX;
}

static void refuse_unknown(sk__hosts *self, uint64_t session, int64_t now_ns) {
    if (are_few(self, now_ns)) refuse(self, session, true, "you are not known here (any more): join anew");
}

/* Each is answered, or it would wait. */
static void refuse_join(sk__hosts *self, const sk_link_frame *frame, int64_t now_ns, const sk_error *why) {
    const sk_wire_join *join = frame->payload;
    snprintf(self->last_refusal, sizeof self->last_refusal, "%s: %.150s", join->name, why->msg);
    if (are_few(self, now_ns))
        sk_log(SK_LOG_WARN, "host %s (process %d there) may not join: %s", join->name, join->pid, why->msg);
    refuse(self, frame->session, false, why->msg);
}

static sk_status check_join(const sk__hosts *self, const sk_wire_join *join, int *ret_number, sk_error *reterr) {
    if (self->stop || self->d->destroying) return SK_FAIL(reterr, SK_EDEAD, "the program is ending");
    if (strcmp(join->build, self->build) != 0)
        return SK_FAIL(reterr, SK_EVERSION, "this host runs %s, the head %s: install the same on both", join->build,
                       self->build);
    *ret_number = find_number(self);
    if (*ret_number == 0)
        return SK_FAIL(reterr, SK_ELIMIT, "%d hosts have joined, more cannot", SK__HOSTS_MAX - 1);
    return SK_OK;
}

static sk_status on_join(sk__hosts *self, const sk_link_frame *frame, int64_t now_ns, sk_error *reterr) {
    const sk_wire_join *join = frame->payload;
    int                 number = 0;
    SK_TRY(check_join(self, join, &number, reterr));
    sk__host *host = calloc(1, sizeof *host);
    if (!host) return SK_FAIL(reterr, SK_ENOMEM, "the head has no memory for one more host");
    host->d = self->d;
    host->number = number;
    host->session = frame->session;
    host->pid = join->pid;
    host->heard_ns = now_ns;
    host->store_bytes = join->store_bytes;
    host->join = *join;
    host->n_frames_in = 1;
    host->bytes_in = SK_LINK_HEAD_SIZE + frame->size;
    name_host(self, join->name, host->name);
    if (!sk_link_order_take(&host->order, frame->seq)) {
        free(host);
        return SK_FAIL(reterr, SK_ECORRUPT, "its first frame has number %" PRIu64, frame->seq);
    }
    self->at[number] = host;
    self->sessions[number] = host->session;
    if (number >= self->n) self->n = number + 1;
    set_state(host, SK_HOST_JOINING, "");
    sk__host_send(host, &(sk_link_frame){.kind = SK_WIRE_WELCOME, .a = (uint64_t)number}, self->welcome,
                  self->welcome_size);
    return SK_OK;
}

static sk_status on_ready(sk__hosts *self, sk__host *host, sk_error *reterr) {
    sk__driver *d = self->d;
    sk_resource given[SK_WIRE_RESOURCES_MAX];
    char        text[160];
    for (int i = 0; i < host->join.n_resources; i++)
        given[i] = (sk_resource){host->join.resources[i].name, host->join.resources[i].amount};
    SK_TRY(sk_resources_add_pool(d->resources, host->number, given, host->join.n_resources, reterr));
    host->state = SK__HOST_UP;
    self->n_up++;
    d->n.n_hosts++;
    set_state(host, SK_HOST_UP, "");
    sk__watch_resources(d);
    d->resources_changed = d->has_mail_work = true;
    tell_resources(&host->join, text, sizeof text);
    sk_log(SK_LOG_INFO, "host %s has joined (%s)", host->name, text);
    sk__driver_notify(d);
    return SK_OK;
}

/* ---- the end --------------------------------------------------------------------------------------------- */
/* "; with it 3 workers: learner, runner-1, runner-2", or nothing. */
static void tell_workers(const sk__host *self, char *ret_text, size_t size) {
    const sk__driver *d = self->d;
    int               n = 0, n_named = 0;
    *ret_text = 0;
    if (self->n_peers > 0)
        n = snprintf(ret_text, size, "; with it %d worker%s: ", self->n_peers, self->n_peers > 1 ? "s" : "");
    for (int i = 0; i < d->n_lines && n_named < self->n_peers && n < (int)size; i++) {
        if (!d->peers[i] || d->peers[i]->host != self) continue;
        n += snprintf(ret_text + n, size - (size_t)n, "%s%s", n_named ? ", " : "",
                      n_named < NAMED_MAX ? d->peers[i]->name : "...");
        if (n_named++ == NAMED_MAX) break;
    }
}

void sk__host_end(sk__host *self, sk_board_host_state state, const char *why) {
    sk__driver *d = self->d;
    sk__hosts  *hosts = d->hosts;
    bool        was_up = self->state == SK__HOST_UP;
    char        text[256], workers[NAMED_MAX * (SK_BOARD_NAME + 2) + 48];
    tell_workers(self, workers, sizeof workers);
    self->state = SK__HOST_GONE;
    sk__host_free_queue(self);
    sk__host_free_copies(self);
    if (was_up) {
        hosts->n_up--;
        d->n.n_hosts--;
        sk_resources_remove_pool(d->resources, self->number);
    }
    if (state == SK_HOST_LOST) d->n.n_hosts_lost++;
    if (!d->destroying || state == SK_HOST_LOST)
        sk_log(state == SK_HOST_LOST || !was_up ? SK_LOG_WARN : SK_LOG_INFO, "host %s %s%s", self->name, why, workers);
    snprintf(text, sizeof text, "has ended: its host %s %s", self->name, why);
    sk__host_end_peers(self, text);
    SK_ASSERT(self->n_peers == 0);
    if (!was_up) snprintf(hosts->last_refusal, sizeof hosts->last_refusal, "%s: %.150s", self->name, why);
    set_state(self, state, why);
    sk__watch_resources(d);
    d->resources_changed = d->has_mail_work = true;
    hosts->at[self->number] = NULL;
    hosts->sessions[self->number] = 0;
    free(self);
    while (hosts->n > 1 && !hosts->at[hosts->n - 1]) hosts->n--;
    sk__driver_notify(d);
    sk__driver_wake_pump(d); /* what restarts does so by its timers */
}

/* It breaks the rules, or is of no use: it is told, if it can be, and nobody else is harmed. */
static void throw_out(sk__host *self, const char *why) {
    char          text[256];
    sk_link_frame frame = {.kind = SK_WIRE_REFUSE, .payload = why, .size = strlen(why)};
    if (sk__host_send_now(self, &frame, NULL) != SK_OK)
        sk_log(SK_LOG_DEBUG, "host %s could not be told that it is given up", self->name);
    snprintf(text, sizeof text, "was given up: %s", why);
    sk__host_end(self, SK_HOST_LOST, text);
}

/* ---- frames ---------------------------------------------------------------------------------------------- */
/* Its clock and how far it is away. The shortest round trip lately counts; it is forgotten slowly: clocks drift. */
static void on_beat(sk__host *self, const sk_link_frame *frame, int64_t now_ns) {
    self->beat_a = (int64_t)frame->a;
    self->beat_at_ns = now_ns;
    int64_t trip_ns = frame->b == 0 ? -1 : now_ns - (int64_t)frame->b;
    self->round_trip_ns += self->round_trip_ns / 64;
    if (trip_ns < 0 || trip_ns > SK_HOST_LOST_MS * MS) return;
    if (self->round_trip_ns > 0 && trip_ns > self->round_trip_ns) return;
    int64_t offset_ns;
    if (__builtin_sub_overflow(now_ns - trip_ns / 2, self->beat_a, &offset_ns)) return;
    self->round_trip_ns = trip_ns > 0 ? trip_ns : 1;
    self->clock_offset_ns = offset_ns;
}

static sk_status on_host_frame(sk__hosts *self, sk__host *host, const sk_link_frame *frame, int64_t now_ns,
                               sk_error *reterr) {
    if (!sk_link_order_take(&host->order, frame->seq))
        return SK_FAIL(reterr, SK_ECORRUPT, "frames were lost on the way: number %" PRIu64 " came, %" PRIu64
                       " was next", frame->seq, host->order.n_received);
    host->heard_ns = now_ns;
    host->n_frames_in++;
    host->bytes_in += SK_LINK_HEAD_SIZE + frame->size;
    SK_TRY(sk_wire_check(frame, SK_TO_HEAD, reterr));
    switch (frame->kind) {
    case SK_WIRE_BEAT: on_beat(host, frame, now_ns); return SK_OK;
    case SK_WIRE_JOIN: return SK_FAIL(reterr, SK_ECORRUPT, "it joined a second time");
    default: break;
    }
    self->n_frames++;
    if (frame->kind == SK_WIRE_READY)
        return host->state == SK__HOST_JOINING ? on_ready(self, host, reterr)
                                               : SK_FAIL(reterr, SK_ECORRUPT, "it was ready a second time");
    if (host->state != SK__HOST_UP)
        return SK_FAIL(reterr, SK_ECORRUPT, "a frame %s came before it was ready", sk_wire_kind_text(frame->kind));
    return sk__host_on_peer_frame(host, frame, reterr);
}

static void on_leave(sk__host *self, const sk_link_frame *frame) {
    char text[200];
    snprintf(text, sizeof text, "%s: %.*s", self->state == SK__HOST_UP ? "has left" : "did not join", (int)frame->size,
             (const char *)frame->payload);
    sk__host_end(self, SK_HOST_LEFT, text);
}

void sk__hosts_on_frame(sk__hosts *self, const sk_link_frame *frame, int64_t now_ns) {
    sk_error  err = {0};
    sk__host *host = find(self, frame->session);
    if (host && frame->kind == SK_WIRE_LEAVE && sk_wire_check(frame, SK_TO_HEAD, &err) == SK_OK) {
        self->n_frames++;
        on_leave(host, frame);
    } else if (host) {
        if (on_host_frame(self, host, frame, now_ns, &err) == SK_OK) return;
        self->n_frames++;
        throw_out(host, err.msg);
    } else if (frame->kind == SK_WIRE_JOIN && sk_wire_check(frame, SK_TO_HEAD, &err) == SK_OK) {
        if (on_join(self, frame, now_ns, &err) != SK_OK) refuse_join(self, frame, now_ns, &err);
    } else if (frame->kind != SK_WIRE_LEAVE) {
        refuse_unknown(self, frame->session, now_ns);
    }
}

/* ---- time ------------------------------------------------------------------------------------------------ */
static void beat(sk__host *self, int64_t now_ns) {
    sk_link_frame frame = {.kind = SK_WIRE_BEAT, .a = (uint64_t)now_ns};
    if (now_ns - self->told_ns < SK_BEAT_MS * MS) return;
    if (self->beat_at_ns) frame.b = (uint64_t)(self->beat_a + (now_ns - self->beat_at_ns));
    if (sk__host_send_now(self, &frame, NULL) == SK_OK) self->told_ns = now_ns; /* else at the next look */
}

/* True: it is ended. */
static bool check_alive(sk__host *self, int64_t now_ns) {
    char    why[128];
    int64_t silent_ns = now_ns - self->heard_ns, deaf_ns = self->deaf_ns ? now_ns - self->deaf_ns : 0;
    if (silent_ns <= SK_HOST_LOST_MS * MS && deaf_ns <= DEAF_NS && !self->is_doomed) return false;
    if (self->is_doomed) snprintf(why, sizeof why, "was given up: no memory for a message to it");
    else if (deaf_ns > DEAF_NS)
        snprintf(why, sizeof why, "was lost (its connection has been closed for %.1f s)", (double)deaf_ns * 1e-9);
    else snprintf(why, sizeof why, "was lost (no sign of life for %.1f s)", (double)silent_ns * 1e-9);
    sk__host_end(self, SK_HOST_LOST, why);
    return true;
}

/* This program was stopped or held up itself: what it did not hear meanwhile says nothing. */
static void forgive(sk__host *self, int64_t asleep_ns, int64_t now_ns) {
    self->heard_ns = self->heard_ns + asleep_ns < now_ns ? self->heard_ns + asleep_ns : now_ns;
    if (self->deaf_ns) self->deaf_ns = now_ns;
}

void sk__hosts_on_time(sk__hosts *self, int64_t now_ns) {
    sk__driver *d = self->d;
    int64_t     since_ns = now_ns - self->ticked_ns;
    bool        show = now_ns - self->shown_ns >= SHOW_NS;
    if (since_ns < TICK_NS) return;
    self->ticked_ns = now_ns;
    if (show) {
        self->shown_ns = now_ns;
        d->n.n_refused = sk_link_get_stats(self->link).n_refused;
    }
    for (int i = 1; i < self->n; i++) {
        sk__host *host = self->at[i];
        if (!host) continue;
        if (since_ns > ASLEEP_NS) forgive(host, since_ns, now_ns);
        if (check_alive(host, now_ns)) {
            self->n_frames++;
            continue;
        }
        beat(host, now_ns);
        if (show) sk__host_show(host);
    }
    if (show) sk__watch_sync(d);
}
