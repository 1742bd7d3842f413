#include "core/base/clock.h"
#include "core/runtime/driver.h"
#include <stdlib.h>
#include <string.h>

/* A worker is sent tasks ahead while what it has will keep it busy no longer than this: enough that it never waits for
 * short ones, little enough that a task hardly waits behind another while a worker elsewhere is free. */
#define WINDOW_NS 1000000
/* Short tasks are dealt out in portions of about this, so that all workers get some. */
#define PORTION_NS 50000
#define SENT_MAX 4096
/* Waking another worker for tiny tasks pays only when there is so much of them. */
#define TINY_NS 5000
#define CROWD_NS 250000
/* Beyond what the machine's cores need, a worker without work ends after this. */
#define IDLE_NS INT64_C(10000000000)

/* ---- classes --------------------------------------------------------------------------------------------- */
sk_status sk__class_find(sk__driver *d, const sk_demand *demand, sk_group group, int bundle, sk_placement placement,
                         sk__class **ret_class, sk_error *reterr) {
    sk__class *cls = d->classes;
    while (cls && (cls->placement != placement || cls->group.id != group.id || cls->bundle != bundle ||
                   memcmp(&cls->demand, demand, sizeof *demand) != 0))
        cls = cls->next;
    if (!cls) {
        cls = calloc(1, sizeof *cls);
        if (!cls) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a queue");
        *cls = (sk__class){
            .next = d->classes, .demand = *demand, .group = group, .bundle = bundle, .placement = placement};
        d->classes = cls;
    }
    *ret_class = cls;
    return SK_OK;
}

/* The queue of that caller, in the ring of those whose turn comes. NULL: no memory. */
static sk__queue *queue_of(sk__class *cls, uint32_t caller) {
    sk__queue *queue = cls->turn;
    if (queue) {
        do {
            if (queue->caller == caller) return queue;
            queue = queue->next;
        } while (queue != cls->turn);
    }
    queue = cls->idle;
    if (queue) cls->idle = queue->next;
    else queue = calloc(1, sizeof *queue);
    if (!queue) return NULL;
    *queue = (sk__queue){.caller = caller};
    if (cls->turn) {
        queue->next = cls->turn->next;
        cls->turn->next = queue;
    } else {
        queue->next = queue;
        cls->turn = queue;
    }
    return queue;
}

void sk__class_push(sk__driver *d, sk__job *job, bool in_front) {
    sk__class *cls = job->cls;
    sk__queue *queue = queue_of(cls, job->caller);
    if (!queue) {
        sk__job_fail(d, job, sk__failure_create(SK_ENOMEM, "%s: no memory to queue it", sk__job_name(job)));
        return;
    }
    job->state = SK__QUEUED;
    if (in_front) sk__list_push_front(&queue->jobs, job);
    else sk__list_push(&queue->jobs, job);
    d->has_mail_work = true;
}

static int64_t count_jobs(const sk__class *cls) {
    int64_t    n = 0;
    sk__queue *queue = cls->turn;
    if (!queue) return 0;
    do {
        n += queue->jobs.n;
        queue = queue->next;
    } while (queue != cls->turn);
    return n;
}

/* The job whose turn it is, or NULL. It stays where it is. */
static sk__job *first_job(sk__class *cls) {
    while (cls->turn) {
        sk__queue *before = cls->turn, *queue = before->next;
        if (queue->jobs.first) return queue->jobs.first;
        /* It is empty: out of the ring. */
        if (queue == before) cls->turn = NULL;
        else before->next = queue->next;
        queue->next = cls->idle;
        cls->idle = queue;
    }
    return NULL;
}

/* Take that job out and give the turn to the next caller. */
static void take_job(sk__class *cls, sk__job *job) {
    sk__list_remove(job);
    cls->turn = cls->turn->next;
}

/* Its arguments find no room in the store: others go before it until something changes there. */
static void set_aside(sk__driver *d, sk__class *cls, sk__job *job) {
    take_job(cls, job);
    sk__list_push(&d->no_room, job);
}

static void try_again(sk__driver *d) {
    d->room_changed = false;
    while (d->no_room.last) {
        sk__job *job = d->no_room.last;
        sk__list_remove(job);
        sk__class_push(d, job, true);
    }
    if (!d->starved_actors) return;
    d->starved_actors = false;
    uint32_t at = 0;
    for (sk__actor *actor; (actor = sk__slab_next(&d->actors, &at));)
        if (actor->queue.n > 0) sk__actor_dispatch(d, actor);
}

/* ---- workers --------------------------------------------------------------------------------------------- */
int64_t sk__job_expected_ns(sk__driver *d, const sk__job *job) {
    const sk_board_function *row = sk__watch_row(d, job->function);
    return row->n_done ? row->mean_ns : WINDOW_NS;
}

static bool has_time(const sk__peer *peer, const sk__job *job, int64_t expected_ns) {
    if (peer->sent.n == 0) return true;
    return job->timeout_ms == 0 && peer->load_ns + expected_ns <= WINDOW_NS && peer->sent.n < SENT_MAX;
}

/* Tasks may ask for no cpu at all, so shares alone do not limit the workers of a host. */
static int workers_max(const sk__driver *d, int host, int n_blocked) {
    int n_cpus = host == 0 ? d->n_cpus : sk_resources_cpus(d->resources, host);
    return 4 * (n_cpus > 0 ? n_cpus : 1) + 8 + n_blocked;
}

static bool is_usable(const sk__peer *peer) { return !peer->blocked && !peer->asked_to_stop && !peer->killed_by_us; }

/* Of those that run this class the one with the least to do; of a large job, near its arguments. */
static sk__peer *find_busy(sk__driver *d, const sk__class *cls, const sk__job *job, bool is_large) {
    sk__peer *best = NULL;
    uint64_t  best_bytes = 0;
    for (sk__peer *peer = d->task_peers; peer; peer = peer->task_next) {
        if (peer->cls != cls || !is_usable(peer)) continue;
        uint64_t bytes = is_large ? sk__job_bytes_on(d, job, sk__peer_host(peer)) : 0;
        if (best && (bytes != best_bytes ? bytes < best_bytes : peer->load_ns >= best->load_ns)) continue;
        best = peer;
        best_bytes = bytes;
    }
    return best;
}

/* One of that host that is free, else a new one; NULL: not now. */
static sk__peer *find_free(sk__driver *d, int host) {
    sk__peer *best = NULL;
    int       n = 0, n_blocked = 0;
    sk_error  err = {0};
    for (sk__peer *peer = d->task_peers; peer; peer = peer->task_next) {
        if (sk__peer_host(peer) != host) continue;
        n++;
        n_blocked += peer->blocked;
        if (is_usable(peer) && !peer->cls && peer->sent.n == 0 && (!best || peer->hello > best->hello)) best = peer;
    }
    if (best || n >= workers_max(d, host, n_blocked)) return best;
    if (sk__peer_create(d, NULL, host, &best, &err) == SK_OK) return best;
    if (host == 0 && n == 0) sk__schedule_fail_starts(d, err.status, err.msg);
    return NULL; /* a further host whose workers cannot start is given up soon */
}

/* A worker of that host, with the class's share; NULL: not now. */
static sk__peer *lease_worker(sk__driver *d, sk__class *cls, int host) {
    sk_lease share;
    if (!sk_resources_take(d->resources, &cls->demand, host, cls->group, cls->bundle, &share)) return NULL;
    sk__peer *peer = find_free(d, host);
    if (!peer) {
        sk_resources_give_back(d->resources, &share);
        return NULL;
    }
    peer->lease = share;
    peer->has_lease = true;
    peer->cls = cls;
    return peer;
}

static sk__peer *lease_remote(sk__driver *d, sk__class *cls, const sk__job *job) {
    int       hosts[SK_BOARD_HOSTS];
    int       n = sk__hosts_rank(d, &cls->demand, cls->group, cls->bundle, job, hosts, 1);
    sk__peer *peer = n > 0 ? lease_worker(d, cls, hosts[0]) : NULL;
    if (peer || n == 0) return peer;
    n = sk__hosts_rank(d, &cls->demand, cls->group, cls->bundle, job, hosts, SK_BOARD_HOSTS);
    for (int i = 1; i < n && !peer; i++) peer = lease_worker(d, cls, hosts[i]);
    return peer;
}

/* A worker process for the next job of the class; NULL: none now. */
static sk__peer *find_worker(sk__driver *d, sk__class *cls, const sk__job *job) {
    bool      remote = cls->placement == SK_PLACE_REMOTE, is_large = remote && sk__job_is_large(d, job);
    sk__peer *busy = find_busy(d, cls, job, is_large);
    int64_t   expected_ns = sk__job_expected_ns(d, job);
    bool      tiny = expected_ns < TINY_NS && busy && busy->load_ns + expected_ns <= CROWD_NS && !is_large;
    if (busy && (busy->sent.n == 0 || (tiny && has_time(busy, job, expected_ns)))) return busy;
    sk__peer *peer = remote ? lease_remote(d, cls, job) : lease_worker(d, cls, 0);
    if (peer) return peer;
    return busy && has_time(busy, job, expected_ns) ? busy : NULL;
}

/* Send this worker a portion of the class's jobs. False: nothing could be sent. */
static bool feed(sk__driver *d, sk__class *cls, sk__peer *peer) {
    bool    fed = false, had_work = d->has_mail_work, had_changed = d->resources_changed;
    int64_t given_ns = 0;
    while (given_ns < PORTION_NS) {
        sk__job *job = first_job(cls);
        if (!job) break;
        int64_t expected_ns = sk__job_expected_ns(d, job);
        if (!has_time(peer, job, expected_ns) || !sk__peer_has_room(peer, job)) break;
        if (given_ns > 0 && peer->host && sk__job_is_large(d, job)) break; /* perhaps another host is nearer */
        sk__pinned pinned = sk__job_pin(d, job);
        if (pinned == SK__PIN_LATER) {
            set_aside(d, cls, job);
            fed = true; /* the next one may do */
            continue;
        }
        if (pinned == SK__PIN_GONE) continue;
        take_job(cls, job);
        job->expected_ns = expected_ns;
        if (!sk__peer_send_job(d, peer, job)) { /* its blob found no room, or its arguments on their host */
            bool had_room = d->room_changed;
            sk__job_unpin(d, job);
            if (peer->host) {
                sk__list_push(&d->no_room, job); /* another host, or this one later */
                d->room_changed = had_room;
                d->has_mail_work = had_work;
                fed = true;
                continue;
            }
            sk__class_push(d, job, true);
            break;
        }
        given_ns += expected_ns + 100;
        fed = true;
    }
    sk__peer_ring(peer);
    if (peer->sent.n == 0) sk__peer_give_back(d, peer);
    if (!fed || peer->sent.n == 0) { /* that is no news: nothing has come of it */
        d->has_mail_work = had_work;
        d->resources_changed = had_changed;
    }
    return fed;
}

static void schedule_processes(sk__driver *d, sk__class *cls) {
    for (sk__job *job; (job = first_job(cls));) {
        sk__peer *peer = find_worker(d, cls, job);
        if (!peer || !feed(d, cls, peer)) break;
    }
}

/* ---- threads --------------------------------------------------------------------------------------------- */
static void schedule_threads(sk__driver *d, sk__class *cls) {
    for (sk__job *job; (job = first_job(cls));) {
        sk_lease share;
        if (!sk_resources_take(d->resources, &cls->demand, 0, cls->group, cls->bundle, &share)) break;
        if (!job->lease) job->lease = malloc(sizeof *job->lease);
        sk__pinned pinned = job->lease ? sk__job_pin(d, job) : SK__PIN_LATER;
        if (pinned != SK__PINNED) {
            sk_resources_give_back(d->resources, &share);
            if (pinned == SK__PIN_LATER) set_aside(d, cls, job);
            continue;
        }
        take_job(cls, job);
        *job->lease = share;
        sk__pool_push(d, job);
    }
}

void sk__schedule(sk__driver *d) {
    if (d->destroying) return; /* nothing new begins */
    /* What is given back serves groups first, then actors, then tasks. */
    while (d->resources_changed) {
        d->resources_changed = false;
        if (sk_resources_groups_retry(d->resources)) sk__driver_notify(d);
        sk__actors_start_pending(d);
    }
    /* Also when nothing runs any more: then it is told that there will be no room. */
    if (d->room_changed || (d->no_room.n > 0 && !sk__driver_may_make_room(d))) try_again(d);
    d->n.n_queued = (uint64_t)d->no_room.n;
    for (sk__class *cls = d->classes; cls; cls = cls->next) {
        if (sk__in_process(cls->placement)) schedule_processes(d, cls);
        else schedule_threads(d, cls);
        d->n.n_queued += (uint64_t)count_jobs(cls);
    }
}

/* ---- the end of hopes ------------------------------------------------------------------------------------ */
static void fail_class(sk__driver *d, sk__class *cls, sk_status status, const char *text) {
    for (sk__job *job; (job = first_job(cls));) {
        take_job(cls, job);
        sk__job_fail(d, job, sk__failure_create(status, "%s: %s", sk__job_name(job), text));
    }
}

void sk__schedule_group_gone(sk__driver *d, sk_group group) {
    try_again(d); /* back into their classes */
    for (sk__class *cls = d->classes; cls; cls = cls->next)
        if (cls->group.id == group.id) fail_class(d, cls, SK_ECANCELED, "its placement group was destroyed");
}

void sk__schedule_fail_starts(sk__driver *d, sk_status status, const char *text) {
    for (sk__class *cls = d->classes; cls; cls = cls->next)
        if (cls->placement == SK_PLACE_PROCESS) fail_class(d, cls, status, text);
}

void sk__schedule_trim(sk__driver *d, int64_t now_ns) {
    int n_free = 0;
    for (sk__peer *peer = d->task_peers, *next; peer; peer = next) {
        next = peer->task_next;
        if (peer->cls || peer->sent.n || peer->asked_to_stop || !peer->hello) continue;
        n_free++;
        if (n_free > 2 && now_ns - peer->idle_ns > IDLE_NS) sk__peer_stop(d, peer);
    }
}

void sk__schedule_deinit(sk__driver *d) {
    while (d->classes) {
        sk__class *cls = d->classes;
        d->classes = cls->next;
        sk__queue *queue = cls->turn ? cls->turn->next : NULL;
        if (queue) cls->turn->next = NULL; /* open the ring */
        for (sk__queue *next; queue; queue = next) {
            next = queue->next;
            free(queue);
        }
        for (queue = cls->idle; queue; queue = cls->idle) {
            cls->idle = queue->next;
            free(queue);
        }
        free(cls);
    }
}
