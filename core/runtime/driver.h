/* driver: the process that created the runtime owns everything in it, under one lock: objects, tasks and calls
 * (together *jobs*), actors, resources, workers. Worker processes speak with it alone (a star), so there is one
 * place where things are decided, and when it is gone, so is all else.
 *
 * Progress: messages of workers are handled by whoever waits. The first thread that waits *leads*: it looks at the
 * board, handles what came, and hands on when its own wait is over; other waiting threads follow. When nobody
 * waits, the pump (a thread of the driver) is woken for what cannot wait, and for timers.
 *
 *   driver.c     life; the pump; waiting and leading; timers
 *   slab.c       items by ids that never name two things
 *   object.c     objects: counts, values, who waits for them, spilling, making lost ones again
 *   job.c        tasks and calls from creation to end: arguments, answers, retries, cancelling
 *   submit.c     what is asked for becomes a job; checks
 *   program.c    skiff.h for the driver's own program
 *   schedule*.c  queues of tasks, fair between callers; which host and which worker gets the next one
 *   actor.c      actors: starting, restarting, their calls, their end
 *   peer.c       worker processes: spawning, messages, death
 *   peer_send.c  what goes to them
 *   request.c    what workers ask for
 *   host*.c      further hosts: their nodes, the copies that lie there, the workers there
 *   pool.c       threads of the driver that run tasks and actors
 *   watch.c      the tables of the board; who waits for what when nothing moves
 *
 * Threads: all functions here are called with the lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_DRIVER_H
#define SK_RUNTIME_DRIVER_H
#include "core/runtime/peer.h"
#include "core/runtime/pool.h"
#include "core/runtime/slab.h"
#include "core/runtime/supervisor.h"
#include "core/runtime/watch.h"

typedef struct sk__request sk__request;
/* A call of an inline run, kept for the next one. */
typedef struct sk__kept_call {
    sk_call               call;
    struct sk__kept_call *next;
} sk__kept_call;

struct sk__driver {
    pthread_mutex_t lock;
    pthread_cond_t  changed; /* followers */
    bool            leading;
    int             n_followers;
    _Atomic uint64_t n_events; /* something changed that is not mail */
    int             n_spin_skips;
    bool            may_spin;
    _Atomic bool    destroying;

    sk_runtime           *rt;
    sk_runtime_params     params; /* own copies of what it points to */
    char                 *strings; /* them */
    char                **plugins;
    sk_registry          *registry;
    sk_resources         *resources;
    sk_block             *board_block;
    sk_board             *board;
    sk_store             *store;
    sk_supervisor        *supervisor; /* NULL until the first process */
    struct sk__hosts     *hosts;      /* NULL: one host alone         */
    sk__slab              objects, jobs, actors;
    sk__object           *lru_first, *lru_last, *tell_first, *tell_last;
    sk__job              *dead_jobs;
    bool                  telling, burying;
    sk__class            *classes;
    sk__peer             *peers[SK_BOARD_LINES];
    uint32_t              generations[SK_BOARD_LINES];
    int                   n_lines; /* highest line in use + 1 */
    int                   n_cpus; /* that are shared out, at least 1 */
    int                   n_peers, n_task_peers, n_blocked_peers, n_bad_starts;
    sk__peer             *task_peers;
    int                   n_with_letters; /* peers that have letters */
    int                   n_want_room;    /* peers whose next job had no room */
    bool                  resources_changed; /* something was given back                */
    bool                  room_changed;      /* the store may have room for what waits  */
    bool                  starved_actors;    /* some have calls whose arguments find no room in it */
    sk__list              no_room;           /* tasks whose arguments find none         */
    sk__actor            *pending_actors, *pending_actors_last; /* wait for resources */
    sk__actor            *dead_actors, *dead_actors_last;       /* still known by how they died */
    sk__actor            *names[4096];                          /* living ones by hash of the name */
    int                   n_dead_actors;
    int                   n_timed_actors; /* RESTARTING */
    sk__job              *deadlines;
    sk__pool              pool;
    sk__waiter           *waiters;
    sk__request          *requests;
    int                   n_alloc_waits; /* workers that wait for room in the store */
    sk__kept_call        *kept_calls;
    sk_board_counters     n;  /* copied to the board now and then */
    int64_t               n_open; /* jobs that have not ended */
    int64_t               progress_ns, warned_ns;
    uint64_t              n_failures_seen; /* objects that failed, ever */
    pthread_t             pump;
    bool                  has_pump, pump_stop;
    bool                  has_mail_work; /* schedule() is wanted                         */
    int64_t               trimmed_ns;
    uint64_t              n_requests; /* of workers, ever                           */
    uint64_t              shown;    /* a sum of what was last looked at             */
    bool                  stale;    /* the board is to be refreshed                 */
    int64_t               refreshed_ns;
    bool                  napping;  /* the pump sleeps until it is woken            */
};

/* Create and destroy; without the lock. */
SK_NODISCARD sk_status sk__driver_create(sk_runtime *rt, const sk_runtime_params *params, sk_error *reterr);
/* False: a thread was left behind, and what it uses with it. */
bool sk__driver_destroy(sk__driver *d);
void sk__driver_lock(sk__driver *d);
void sk__driver_unlock(sk__driver *d);
/* Handle all that has arrived. */
void sk__driver_drain(sk__driver *d);
/* Something ended or changed: whoever waits looks again. */
void sk__driver_notify(sk__driver *d);
/* Wait until something changes, at the latest until deadline_ns; unlocks meanwhile. */
void sk__driver_wait_event(sk__driver *d, int64_t deadline_ns);
/* Wait until is_done(d, arg). SK_ETIMEOUT, SK_EINTERRUPTED (both without text). `what` and `subject` are for
 * people: who waits for what. A run gives its share to others meanwhile. */
typedef bool (*sk__is_done)(sk__driver *d, void *arg);
SK_NODISCARD sk_status sk__driver_wait(sk__driver *d, sk__is_done is_done, void *arg, int64_t deadline_ns,
                                       const char *what, uint64_t subject);
/* Something runs that does not wait itself, as far as is known for certain: when it ends, there may be room in the
 * store. */
bool sk__driver_may_make_room(sk__driver *d);
void sk__driver_wake_pump(sk__driver *d);
/* Do what a call of the program made possible, show it, and let go. */
void sk__driver_leave(sk__driver *d);
/* The pump must run from now on. */
SK_NODISCARD sk_status sk__driver_need_pump(sk__driver *d, sk_error *reterr);

#endif
