#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/runtime/driver.h"
#include "core/runtime/host.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define DEFAULT_STOP_TIMEOUT_MS 5000
#define DEFAULT_MAX_PENDING ((size_t)4000000)
#define STORE_SHARE 0.3 /* of the machine's memory */
#define SPILL_FACTOR 4
#define KILL_TIMEOUT_MS 5000
/* Waking a sleeper costs more than most answers take, so a waiting thread looks for this long first. Between two
 * looks the core is offered to others; when one took it for long, cores are scarce, and the next waits sleep at
 * once. */
#define SPIN_NS INT64_C(50000)
#define SPIN_CROWDED_NS INT64_C(500000)
#define SPIN_SKIPS 50
#define INTERRUPT_NS INT64_C(100000000) /* the program's flag is looked at this often */
#define BLOCK_NS INT64_C(1000000)       /* a run that waits so long gives its share to others */
#define SHOW_NS INT64_C(100000000)      /* a wait so long is shown on the board */
#define TICK_NS INT64_C(1000000)
#define ROOM_NS INT64_C(10000000) /* a full ring is looked at this often, should its worker have nothing to say */
#define TRIM_NS INT64_C(1000000000)
#define REST_NS 200000 /* the pump, after it was woken for answers that nobody waited for */

int64_t sk__deadline_ns(int timeout_ms) {
    SK_ASSERT(timeout_ms >= 0);
    return sk_clock_now_ns() + (int64_t)timeout_ms * 1000000;
}

void sk__driver_lock(sk__driver *d) { pthread_mutex_lock(&d->lock); }
void sk__driver_unlock(sk__driver *d) { pthread_mutex_unlock(&d->lock); }

/* ---- creating -------------------------------------------------------------------------------------------- */
/* Own copies of all strings that the params point to, one after another. */
static sk_status copy_params(sk__driver *d, const sk_runtime_params *p, sk_error *reterr) {
    const char *worker = p->worker_path ? p->worker_path : getenv("SKIFF_WORKER");
    if (!worker || !*worker) worker = "/proc/self/exe";
    const char  *spill_dir = p->spill_dir ? p->spill_dir : "", *log_dir = p->log_dir ? p->log_dir : "";
    const char  *fixed[] = {p->name ? p->name : program_invocation_short_name, worker, spill_dir, log_dir};
    const char **to[] = {&d->params.name, &d->params.worker_path, &d->params.spill_dir, &d->params.log_dir};
    size_t       size = 0;
    for (int i = 0; i < SK_COUNT(fixed); i++) size += strlen(fixed[i]) + 1;
    for (int i = 0; i < p->n_plugins; i++) size += strlen(p->plugins[i]) + 1;
    d->params = *p;
    d->params.cluster = NULL; /* used up when the runtime is made */
    d->strings = malloc(size);
    d->plugins = calloc((size_t)p->n_plugins + 1, sizeof *d->plugins);
    if (!d->strings || !d->plugins) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a runtime");
    char *at = d->strings;
    for (int i = 0; i < SK_COUNT(fixed); i++) {
        *to[i] = *fixed[i] ? at : NULL;
        at = stpcpy(at, fixed[i]) + 1;
    }
    for (int i = 0; i < p->n_plugins; i++) {
        d->plugins[i] = at;
        at = stpcpy(at, p->plugins[i]) + 1;
    }
    d->params.plugins = (const char *const *)d->plugins;
    if (d->params.stop_timeout_ms == 0) d->params.stop_timeout_ms = DEFAULT_STOP_TIMEOUT_MS;
    if (d->params.max_pending == 0) d->params.max_pending = DEFAULT_MAX_PENDING;
    return SK_OK;
}

static sk_status open_registry(sk__driver *d, sk_error *reterr) {
    SK_TRY(sk_registry_create(&d->registry, reterr));
    for (int i = 0; i < d->params.n_modules; i++)
        SK_TRY(sk_registry_add_module(d->registry, d->params.modules[i], reterr));
    for (int i = 0; i < d->params.n_plugins; i++)
        SK_TRY(sk_registry_add_plugin(d->registry, d->params.plugins[i], reterr));
    return SK_OK;
}

static sk_status open_store(sk__driver *d, sk_error *reterr) {
    const size_t page = 4096;
    size_t       bytes = d->params.store_bytes, spill = d->params.spill_bytes;
    if (bytes == 0) bytes = (size_t)(STORE_SHARE * (double)sysconf(_SC_PHYS_PAGES)) * (size_t)sysconf(_SC_PAGE_SIZE);
    bytes = (bytes + page - 1) / page * page;
    if (spill == 0) spill = SPILL_FACTOR * bytes;
    if (spill == SIZE_MAX) spill = 0;
    sk_store_params params = {.bytes = bytes, .spill_bytes = spill, .spill_dir = d->params.spill_dir};
    return sk_store_create(&params, &d->store, reterr);
}

static sk_status open_shared(sk__driver *d, sk_error *reterr) {
    SK_TRY(sk_resources_create(d->params.resources, d->params.n_resources, &d->resources, reterr));
    SK_TRY(sk_board_create(d->params.name, &d->board_block, &d->board, reterr));
    if (d->params.log_dir) {
        size_t size = sizeof d->board->log_dir;
        if (strlen(d->params.log_dir) + SK_BOARD_NAME + 24 >= sizeof d->board->workers[0].log_path)
            return SK_FAIL(reterr, SK_EINVAL, "the path of the log folder is too long: %.80s...", d->params.log_dir);
        memcpy(d->board->log_dir, d->params.log_dir, strnlen(d->params.log_dir, size - 1));
    }
    return open_store(d, reterr);
}

static void count_cpus(sk__driver *d) {
    sk_resource_row rows[SK_RESOURCE_KINDS_MAX];
    int             n = sk_resources_rows(d->resources, 0, rows);
    d->n_cpus = 1;
    for (int i = 0; i < n; i++)
        if (strcmp(rows[i].name, "cpu") == 0 && rows[i].total > 1.0) d->n_cpus = (int)rows[i].total;
}

static void init_lock(sk__driver *d) {
    pthread_condattr_t attr;
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attr);
    pthread_cond_init(&d->pool.wake, &attr);
    pthread_condattr_destroy(&attr);
}

/* What is left when no thread and no process is. */
static void free_all(sk__driver *d) {
    uint32_t at = 0;
    sk__actors_deinit(d);
    for (sk__job *job; (job = sk__slab_next(&d->jobs, &at));) {
        if (job->packed != job->small) free(job->packed);
        free(job->more_returns);
        free(job->lease);
        free(job->name);
    }
    sk__slab_deinit(&d->jobs);
    for (sk__kept_call *kept; (kept = d->kept_calls);) {
        d->kept_calls = kept->next;
        sk__call_deinit(&kept->call);
        free(kept);
    }
    sk__objects_deinit(d);
    sk__schedule_deinit(d);
    sk_store_destroy(&d->store);
    sk_block_destroy(&d->board_block);
    sk_resources_destroy(&d->resources);
    sk_registry_destroy(&d->registry);
    pthread_cond_destroy(&d->pool.wake);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d->strings);
    free(d->plugins);
    free(d);
}

sk_status sk__driver_create(sk_runtime *rt, const sk_runtime_params *params, sk_error *reterr) {
    if (params->stop_timeout_ms < 0)
        return SK_FAIL(reterr, SK_EINVAL, "stop_timeout_ms must be >= 0, got %d", params->stop_timeout_ms);
    sk__driver *d = calloc(1, sizeof *d);
    if (!d) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a runtime");
    init_lock(d);
    d->rt = rt;
    d->objects.item_size = sizeof(sk__object);
    d->jobs.item_size = sizeof(sk__job);
    d->actors.item_size = (sizeof(sk__actor) + 15) / 16 * 16;
    d->may_spin = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    d->progress_ns = sk_clock_now_ns();
    sk_status status = copy_params(d, params, reterr);
    if (status == SK_OK) status = open_registry(d, reterr);
    if (status == SK_OK) status = open_shared(d, reterr);
    if (status != SK_OK) {
        free_all(d);
        return status;
    }
    count_cpus(d);
    sk__watch_functions(d);
    sk__watch_sync(d);
    rt->driver = d;
    if (!params->cluster) return SK_OK;
    status = sk__hosts_create(d, params->cluster, reterr);
    if (status == SK_OK) return SK_OK;
    rt->driver = NULL;
    free_all(d);
    return status;
}

/* ---- progress -------------------------------------------------------------------------------------------- */
void sk__driver_notify(sk__driver *d) {
    d->n_events++;
    sk_bell_ring(&d->board->leader);
    if (d->n_followers > 0) pthread_cond_broadcast(&d->changed);
}

static void on_line(void *arg, int line) {
    sk__driver *d = arg;
    if (line < d->n_lines && d->peers[line] && !d->peers[line]->host) sk__peer_on_mail(d, d->peers[line]);
}

void sk__driver_drain(sk__driver *d) {
    if (sk_board_has_mail(d->board)) sk_board_take_mail(d->board, on_line, d);
    sk__peers_on_deaths(d);
    if (d->n_with_letters > 0 || d->n_want_room > 0) sk__peers_send_letters(d);
    while (d->has_mail_work) {
        d->has_mail_work = false;
        sk__schedule(d);
        if (d->requests) sk__requests_check(d);
    }
    sk__watch_sync(d);
}

static bool has_news(sk__driver *d, uint64_t seen) {
    return sk_board_has_mail(d->board) || d->n_events != seen ||
           (d->supervisor && sk_supervisor_has_death(d->supervisor));
}

/* Look without sleeping for a while. */
static bool spin(sk__driver *d, uint64_t seen, int64_t deadline_ns) {
    if (!d->may_spin) return false;
    if (d->n_spin_skips > 0) {
        d->n_spin_skips--;
        return false;
    }
    int64_t now_ns = sk_clock_now_ns(), end_ns = now_ns + SPIN_NS;
    if (end_ns > deadline_ns) end_ns = deadline_ns;
    while (now_ns < end_ns) {
        if (has_news(d, seen)) return true;
        sched_yield();
        int64_t then_ns = now_ns;
        now_ns = sk_clock_now_ns();
        if (now_ns - then_ns > SPIN_CROWDED_NS) d->n_spin_skips = SPIN_SKIPS;
    }
    return has_news(d, seen);
}

/* Without the lock: until there is news. */
static void look(sk__driver *d, uint64_t seen, int64_t deadline_ns) {
    if (spin(d, seen, deadline_ns)) return;
    uint32_t ticket = sk_bell_prepare(&d->board->leader);
    int64_t  left_ns = deadline_ns - sk_clock_now_ns();
    if (has_news(d, seen) || left_ns <= 0) {
        sk_bell_cancel(&d->board->leader);
        return;
    }
    sk_bell_wait(&d->board->leader, ticket, left_ns < INTERRUPT_NS ? left_ns : INTERRUPT_NS);
}

static void follow(sk__driver *d, int64_t deadline_ns) {
    int64_t         until_ns = sk_clock_now_ns() + INTERRUPT_NS;
    struct timespec until;
    if (until_ns > deadline_ns) until_ns = deadline_ns;
    until.tv_sec = until_ns / 1000000000;
    until.tv_nsec = until_ns % 1000000000;
    d->n_followers++;
    pthread_cond_timedwait(&d->changed, &d->lock, &until);
    d->n_followers--;
}

void sk__driver_wait_event(sk__driver *d, int64_t deadline_ns) {
    if (d->leading) {
        follow(d, deadline_ns);
        return;
    }
    d->leading = true;
    atomic_store(&d->board->has_leader, 1);
    uint64_t seen = d->n_events;
    sk__driver_unlock(d);
    look(d, seen, deadline_ns);
    sk__driver_lock(d);
    sk__driver_drain(d);
    d->leading = false;
    atomic_store(&d->board->has_leader, 0);
    if (sk_board_has_mail(d->board)) sk__driver_drain(d); /* its sender saw a leader and woke nobody */
    if (d->n_followers > 0) pthread_cond_broadcast(&d->changed);
}

/* Does something run in it? Not while its job waits and has heard all that it was told; what was sent behind it waits
 * with it. Actors may run several at once. */
static bool goes_on(const sk__peer *peer) {
    int64_t at_once = peer->actor ? peer->actor->max_concurrency : 1;
    int64_t n_begun = peer->sent.n < at_once ? peer->sent.n : at_once;
    int64_t n_waiting = peer->n_alloc_waits;
    if (n_waiting == 0 && peer->blocked && peer->n_heard == peer->n_told) n_waiting = 1;
    return n_begun > n_waiting;
}

bool sk__driver_may_make_room(sk__driver *d) {
    int64_t n_in_threads = (int64_t)d->n.n_running - d->pool.n_starved;
    for (int i = 0; i < d->n_lines; i++) {
        if (!d->peers[i]) continue;
        if (goes_on(d->peers[i])) return true;
        n_in_threads -= d->peers[i]->sent.n;
    }
    for (const sk__waiter *waiter = d->waiters; waiter; waiter = waiter->next)
        if (waiter->run && waiter->run->blocked && !waiter->is_done(d, waiter->arg)) n_in_threads--;
    return n_in_threads > 0;
}

static bool is_interrupted(const sk__driver *d) { return d->params.interrupted && *d->params.interrupted; }

static void enter_wait(sk__driver *d, sk__waiter *waiter) {
    waiter->next = d->waiters;
    d->waiters = waiter;
}

static void leave_wait(sk__driver *d, sk__waiter *waiter) {
    sk__waiter **link = &d->waiters;
    while (*link != waiter) link = &(*link)->next;
    *link = waiter->next;
    waiter->since_ns = 0;
    if (waiter->row >= 0) sk__watch_waiter(d, waiter);
}

sk_status sk__driver_wait(sk__driver *d, sk__is_done is_done, void *arg, int64_t deadline_ns, const char *what,
                          uint64_t subject) {
    if (is_done(d, arg)) return SK_OK;
    sk__run   *run = sk__run_current();
    sk__waiter waiter = {.run = run, .is_done = is_done, .arg = arg, .since_ns = sk_clock_now_ns(), .what = what,
                         .subject = subject, .row = -1};
    sk_status  status = SK_OK;
    bool       done = false;
    enter_wait(d, &waiter);
    for (int64_t now_ns = waiter.since_ns;;) {
        int64_t until_ns = deadline_ns;
        if (run && !run->blocked && until_ns > waiter.since_ns + BLOCK_NS) until_ns = waiter.since_ns + BLOCK_NS;
        if (now_ns < until_ns) sk__driver_wait_event(d, until_ns);
        else sk__driver_drain(d);
        if ((done = is_done(d, arg))) break;
        now_ns = sk_clock_now_ns();
        if (is_interrupted(d)) status = SK_EINTERRUPTED;
        else if (now_ns >= deadline_ns) status = SK_ETIMEOUT;
        if (status != SK_OK) break;
        if (run && !run->blocked && now_ns >= waiter.since_ns + BLOCK_NS) sk__run_block(run);
        if (waiter.row < 0 && now_ns - waiter.since_ns > SHOW_NS) sk__watch_waiter(d, &waiter);
    }
    leave_wait(d, &waiter);
    if (run && run->blocked) sk__run_unblock(run);
    return done ? SK_OK : status;
}

/* ---- the pump -------------------------------------------------------------------------------------------- */
/* Something that people see has changed since this was asked last. */
static bool has_changed(sk__driver *d) {
    const uint64_t now[] = {d->n.n_submitted, d->n.n_done,     d->n.n_failed, d->n.n_canceled,     d->n.n_objects,
                            d->n.n_groups,    d->n.object_bytes, d->n.n_actors, (uint64_t)d->n_peers};
    uint64_t       sum = 0;
    for (int i = 0; i < SK_COUNT(now); i++) sum = sum * 1000003 + now[i];
    bool changed = sum != d->shown;
    d->shown = sum;
    return changed;
}

/* How long it may sleep [ns]; negative: until it is woken. */
static int64_t next_timer(sk__driver *d, int64_t now_ns) {
    if ((d->pool.ready.first && d->pool.n_idle == 0) || d->n_with_letters > 0) return TICK_NS;
    int64_t next_ns = d->n_want_room > 0 ? now_ns + ROOM_NS : INT64_MAX;
    for (const sk__job *job = d->deadlines; job; job = job->deadline_next)
        if (job->deadline_ns < next_ns) next_ns = job->deadline_ns;
    uint32_t   at = 0;
    sk__actor *actor;
    while (d->n_timed_actors > 0 && (actor = sk__slab_next(&d->actors, &at)))
        if (actor->state == SK_ACTOR_RESTARTING && actor->start_at_ns < next_ns) next_ns = actor->start_at_ns;
    if (next_ns != INT64_MAX && next_ns - now_ns < TRIM_NS)
        return next_ns > now_ns + TICK_NS ? next_ns - now_ns : TICK_NS;
    if (has_changed(d)) d->stale = true; /* what people see is refreshed until nothing has changed since */
    d->napping = !(d->stale || d->n_open > 0 || d->n_task_peers > 2 || next_ns != INT64_MAX);
    if (d->napping || !d->stale) return d->napping ? -1 : TRIM_NS;
    int64_t due_ns = d->refreshed_ns + SHOW_NS - now_ns;
    return due_ns > TICK_NS ? due_ns : TICK_NS;
}

static void check_timers(sk__driver *d, int64_t now_ns) {
    sk__jobs_check_deadlines(d, now_ns);
    sk__actors_check_timers(d, now_ns);
    sk__pool_grow(d, now_ns);
    if (now_ns - d->refreshed_ns >= (d->stale ? SHOW_NS : TRIM_NS)) {
        sk__watch_refresh(d);
        d->refreshed_ns = now_ns;
        d->stale = false;
    }
    sk__watch_progress(d, now_ns);
    if (now_ns - d->trimmed_ns < TRIM_NS) return;
    d->trimmed_ns = now_ns;
    sk__schedule_trim(d, now_ns);
}

static void rest(const sk__driver *d) {
    struct timespec moment = {.tv_nsec = REST_NS};
    if (!d->destroying) nanosleep(&moment, NULL);
}

static void *pump(void *arg) {
    sk__driver *d = arg;
    prctl(PR_SET_NAME, "skiff-pump");
    sk__driver_lock(d);
    while (!d->pump_stop) {
        int64_t  now_ns = sk_clock_now_ns();
        uint32_t ticket = sk_bell_prepare(&d->board->pump); /* what rings from here on is seen */
        uint64_t n_requests = d->n_requests;
        check_timers(d, now_ns);
        sk__driver_drain(d);
        bool restless = d->n_requests != n_requests; /* a worker waits for such an answer, and may ask again at once */
        int64_t sleep_ns = next_timer(d, now_ns);
        sk__driver_unlock(d);
        sk_bell_wait(&d->board->pump, ticket, sleep_ns);
        if (!restless) rest(d); /* those that come meanwhile wake nobody */
        sk__driver_lock(d);
    }
    sk__driver_unlock(d);
    return NULL;
}

void sk__driver_wake_pump(sk__driver *d) { sk_bell_ring(&d->board->pump); }

void sk__driver_leave(sk__driver *d) {
    while (d->has_mail_work) {
        d->has_mail_work = false;
        sk__schedule(d);
        if (d->requests) sk__requests_check(d);
    }
    if (d->napping) {
        d->napping = false;
        sk__driver_wake_pump(d);
    } else if (!d->has_pump && has_changed(d)) { /* a program that runs all by itself */
        sk__watch_sync(d);
        sk__watch_resources(d);
    }
    sk__driver_unlock(d);
}

sk_status sk__driver_need_pump(sk__driver *d, sk_error *reterr) {
    if (d->has_pump) return SK_OK;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&d->pump, NULL, pump, d);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) return SK_FAIL(reterr, SK_ELIMIT, "cannot start the runtime's thread: %s", strerror(rc));
    d->has_pump = true;
    return SK_OK;
}

/* ---- the end --------------------------------------------------------------------------------------------- */
static void stop_everything(sk__driver *d) {
    uint32_t at = 0;
    for (sk__actor *actor; (actor = sk__slab_next(&d->actors, &at));) {
        if (actor->placement == SK_PLACE_INLINE && actor->self) actor->function->cls->destroy(actor->self);
        if (actor->placement == SK_PLACE_INLINE) actor->self = NULL;
        sk__actor_stop(d, actor);
    }
    for (int i = 0; i < d->n_lines; i++)
        if (d->peers[i] && !d->peers[i]->actor) sk__peer_stop(d, d->peers[i]);
}

/* Threads' actors that still live in their threads' hands. */
static bool has_live_actors(sk__driver *d) {
    uint32_t at = 0;
    for (sk__actor *actor; (actor = sk__slab_next(&d->actors, &at));)
        if (actor->self || actor->n_running > 0) return true;
    return false;
}

static void end_peers(sk__driver *d, int64_t deadline_ns) {
    while ((d->n_peers > 0 || has_live_actors(d)) && sk_clock_now_ns() < deadline_ns)
        sk__driver_wait_event(d, deadline_ns);
    for (int i = 0; i < d->n_lines; i++) {
        sk__peer *peer = d->peers[i];
        if (!peer) continue;
        if (peer->hello)
            sk_log(SK_LOG_WARN, "%s (process %d) did not stop in time and is killed", peer->name, peer->pid);
        sk__peer_kill(d, peer, "did not stop in time and was killed");
        /* Its node has been told; whether it still can do it is no reason to wait. */
        if (peer->host) sk__peer_on_end(d, peer, "did not stop in time");
    }
    deadline_ns = sk__deadline_ns(KILL_TIMEOUT_MS);
    while (d->n_peers > 0 && sk_clock_now_ns() < deadline_ns) sk__driver_wait_event(d, deadline_ns);
    for (int i = 0; i < d->n_lines; i++)
        if (d->peers[i])
            sk_log(SK_LOG_ERROR, "%s (process %d) was killed but has not ended yet", d->peers[i]->name,
                   d->peers[i]->pid);
}

bool sk__driver_destroy(sk__driver *d) {
    sk__driver_lock(d);
    d->destroying = true;
    d->params.interrupted = NULL;
    for (int i = 0; i < d->n_lines; i++)
        if (d->peers[i] && !d->peers[i]->host) d->board->lines[i].stopping = 1;
    sk__hosts_stop(d);
    stop_everything(d);
    int64_t deadline_ns = sk__deadline_ns(d->params.stop_timeout_ms);
    end_peers(d, deadline_ns);
    bool all_ended = sk__pool_stop(d, deadline_ns);
    d->pump_stop = true;
    bool has_pump = d->has_pump;
    sk__driver_unlock(d);
    sk__driver_wake_pump(d);
    if (has_pump) pthread_join(d->pump, NULL);
    sk__hosts_destroy(d);
    sk_supervisor_destroy(&d->supervisor);
    if (!all_ended) { /* what they use must stay */
        sk_log(SK_LOG_ERROR, "a thread of the runtime did not stop in time and is left behind");
        return false;
    }
    free_all(d);
    return true;
}
