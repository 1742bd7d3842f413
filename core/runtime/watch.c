/* What people see: the tables of the board, and a word when nothing moves. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define QUIET_NS INT64_C(10000000000) /* nothing ended for so long while someone waits: say who waits for what */

/* ---- functions ------------------------------------------------------------------------------------------- */
void sk__watch_functions(sk__driver *d) {
    int n = sk_registry_n(d->registry);
    for (int i = 0; i < n && i < SK_BOARD_FUNCTIONS; i++)
        snprintf(d->board->functions[i].name, SK_BOARD_NAME, "%s", sk_registry_at(d->registry, i)->name);
}

/* Functions beyond the table share its last row. */
static int row_of(const sk_function *function) {
    return function->index < SK_BOARD_FUNCTIONS ? function->index : SK_BOARD_FUNCTIONS - 1;
}

sk_board_function *sk__watch_row(sk__driver *d, const sk_function *function) {
    return &d->board->functions[row_of(function)];
}

void sk__watch_ended(sk__driver *d, const sk__job *job, sk_status status, int64_t start_ns, int64_t duration_ns,
                     int pid, int thread) {
    sk_board_function *row = sk__watch_row(d, job->function);
    if (duration_ns < 0) duration_ns = 0;
    row->total_ns += duration_ns;
    /* The mean forgets with 1/8; the first runs count fully. */
    row->mean_ns = row->n_done == 0 ? duration_ns : row->mean_ns + (duration_ns - row->mean_ns) / 8;
    d->progress_ns = start_ns + duration_ns;
    sk_board_add_event(d->board, &(sk_board_event){.start_ns = start_ns,
                                                   .duration_ns = duration_ns,
                                                   .id = job->id,
                                                   .function = row_of(job->function),
                                                   .method = job->kind == SK__TASK     ? -1
                                                             : job->kind == SK__CREATE ? -2
                                                                                       : job->method,
                                                   .pid = pid,
                                                   .thread = thread,
                                                   .host = thread >= 0 ? d->board->workers[thread].host : 0,
                                                   .status = status});
}

/* ---- workers, actors, objects ---------------------------------------------------------------------------- */
void sk__watch_peer(sk__driver *d, const sk__peer *peer, sk_board_worker_state state) {
    sk_board_worker *row = &d->board->workers[peer->line];
    if (state == SK_WORKER_NONE) {
        *row = (sk_board_worker){0};
        return;
    }
    row->state = (int32_t)state;
    row->pid = peer->pid;
    row->since_ns = sk_clock_now_ns();
    row->actor = peer->actor ? peer->actor->id : 0;
    row->host = sk__peer_host(peer);
    memcpy(row->name, peer->name, sizeof row->name);
}

void sk__watch_actor(sk__driver *d, sk__actor *actor) {
    if (actor->board_row == -1) { /* once: a free row, or none */
        actor->board_row = -2;
        for (int i = 0; i < SK_BOARD_ACTORS && actor->board_row < 0; i++) {
            int at = (int)((uint32_t)actor->id + (uint32_t)i) % SK_BOARD_ACTORS;
            if (d->board->actors[at].state == SK_ACTOR_NONE || d->board->actors[at].state == SK_ACTOR_DEAD)
                actor->board_row = at;
        }
    }
    if (actor->board_row < 0) return;
    sk_board_actor *row = &d->board->actors[actor->board_row];
    if (row->id != actor->id && row->state != SK_ACTOR_NONE && row->state != SK_ACTOR_DEAD)
        return; /* given to another since */
    row->id = actor->id;
    row->state = actor->state;
    row->placement = (int32_t)actor->placement;
    row->pid = actor->peer ? actor->peer->pid : sk__in_process(actor->placement) ? 0 : d->board->pid;
    row->host = actor->peer ? sk__peer_host(actor->peer) : 0;
    row->n_restarts = (uint32_t)actor->n_restarts;
    row->n_done = actor->n_done;
    row->n_pending = (uint32_t)actor->n_open;
    memcpy(row->name, actor->name, sizeof row->name);
    snprintf(row->class_name, sizeof row->class_name, "%s", actor->function->name);
    snprintf(row->end, sizeof row->end, "%.*s", (int)sizeof row->end - 1, actor->end);
}

void sk__watch_object(sk__driver *d, sk__object *object) {
    bool shown = object->place == SK__IN_STORE || object->place == SK__SPILLED;
    if (object->board_row < 0) {
        if (!shown) return;
        int at = (int)((uint32_t)object->id % SK_BOARD_OBJECTS);
        if (d->board->objects[at].id) return; /* another is shown there: counted, not shown */
        object->board_row = at;
        d->board->objects[at] = (sk_board_object){.id = object->id, .created_ns = sk_clock_now_ns(), .function = -1};
    }
    sk_board_object *row = &d->board->objects[object->board_row];
    if (!shown) {
        *row = (sk_board_object){0};
        object->board_row = -1;
        return;
    }
    row->size = object->size;
    row->place = object->place == SK__IN_STORE ? SK_OBJECT_IN_MEMORY : SK_OBJECT_SPILLED;
    row->n_refs = object->n_program + object->n_jobs;
    row->n_pins = object->n_pins;
    if (object->maker) row->function = row_of(object->maker->function);
}

void sk__watch_sync(sk__driver *d) {
    sk_store_stats store = sk_store_get_stats(d->store);
    d->n.store_bytes = store.bytes;
    d->n.store_used = store.used;
    d->n.store_peak = store.peak;
    d->n.spill_bytes = store.spill_bytes;
    d->n.spilled_bytes = store.spilled;
    d->n.n_spills = store.n_spills;
    d->n.n_unspills = store.n_unspills;
    d->n.n_workers = (uint64_t)d->n_peers;
    d->n.progress_ns = d->progress_ns;
    d->board->counters = d->n;
}

void sk__watch_resources(sk__driver *d) {
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    int             n = sk_resources_rows(d->resources, -1, rows);
    for (int i = 0; i < n && i < SK_BOARD_RESOURCES; i++) {
        sk_board_resource *row = &d->board->resources[i];
        memcpy(row->name, rows[i].name, sizeof rows[i].name);
        row->total = rows[i].total;
        row->free = rows[i].free;
    }
}

void sk__watch_refresh(sk__driver *d) {
    sk__watch_sync(d);
    sk__watch_resources(d);
    for (int i = 0; i < d->n_lines; i++) {
        const sk__peer *peer = d->peers[i];
        if (!peer) continue;
        sk_board_worker *row = &d->board->workers[i];
        row->n_done = peer->n_done;
        row->n_in_flight = (uint32_t)peer->sent.n;
        bool settled = row->state == SK_WORKER_IDLE || row->state == SK_WORKER_BUSY;
        int  state = peer->sent.n ? SK_WORKER_BUSY : SK_WORKER_IDLE;
        if (settled && row->state != state) sk__watch_peer(d, peer, (sk_board_worker_state)state);
    }
    uint32_t at = 0;
    for (sk__actor *actor; (actor = sk__slab_next(&d->actors, &at));)
        if (actor->state != SK_ACTOR_DEAD) sk__watch_actor(d, actor);
}

/* ---- who waits for what ---------------------------------------------------------------------------------- */
static void describe_job(const sk__job *job, char *text, size_t size) {
    char        where[SK_BOARD_NAME + SK_HOST_NAME + 48] = "";
    const char *method = job->kind == SK__METHOD ? job->function->cls->methods[job->method] : "";
    const char *colon = *method ? ": " : "";
    if (job->state == SK__SENT)
        snprintf(where, sizeof where, "%s runs it (process %d%s%s)", job->peer->name, job->peer->pid,
                 job->peer->host ? " on " : "", job->peer->host ? job->peer->host->name : "");
    else if (job->state == SK__RUNNING) snprintf(where, sizeof where, "a thread runs it");
    else if (job->n_missing > 0) snprintf(where, sizeof where, "it waits for %u arguments", job->n_missing);
    else if (job->actor && job->actor->state != SK_ACTOR_ALIVE)
        snprintf(where, sizeof where, "its actor is not ready");
    else if (job->actor) snprintf(where, sizeof where, "it waits for its turn");
    else snprintf(where, sizeof where, "it waits for a free share of the resources");
    snprintf(text, size, "%s%s%s (%s)", sk__job_name(job), colon, method, where);
}

static void describe_wait(sk__driver *d, const sk__waiter *waiter, char *text, size_t size) {
    const sk__object *object = sk__object_find(d, waiter->subject);
    const sk__actor  *actor = object ? NULL : sk__actor_find(d, waiter->subject);
    int               n = snprintf(text, size, "%s: ", waiter->what);
    if (object && object->maker) describe_job(object->maker, text + n, size - (size_t)n);
    else if (actor) snprintf(text + n, size - (size_t)n, "%s", actor->name);
    else snprintf(text + n, size - (size_t)n, "object %" PRIx64, waiter->subject);
}

void sk__watch_waiter(sk__driver *d, sk__waiter *waiter) {
    if (waiter->row < 0) {
        int row = 0;
        while (row < SK_BOARD_WAITS && d->board->waits[row].since_ns) row++;
        if (row == SK_BOARD_WAITS) return;
        waiter->row = row;
    }
    sk_board_wait *wait = &d->board->waits[waiter->row];
    if (waiter->since_ns) describe_wait(d, waiter, wait->what, sizeof wait->what);
    wait->since_ns = waiter->since_ns;
}

void sk__watch_progress(sk__driver *d, int64_t now_ns) {
    sk__waiter *waiter = d->waiters;
    if (!waiter || now_ns - d->progress_ns < QUIET_NS || now_ns - d->warned_ns < QUIET_NS) return;
    while (waiter && now_ns - waiter->since_ns < QUIET_NS) waiter = waiter->next;
    if (!waiter) return;
    d->warned_ns = now_ns;
    sk_log(SK_LOG_WARN, "nothing has ended for %.0f s: %" PRIu64 " tasks and calls run, %" PRIu64 " wait",
           (double)(now_ns - d->progress_ns) * 1e-9, d->n.n_running, d->n.n_queued);
    for (int n = 0; waiter && n < 8; waiter = waiter->next, n++) {
        char text[SK_BOARD_NAME * 2];
        describe_wait(d, waiter, text, sizeof text);
        sk_log(SK_LOG_WARN, "  since %.0f s: %s", (double)(now_ns - waiter->since_ns) * 1e-9, text);
    }
}
