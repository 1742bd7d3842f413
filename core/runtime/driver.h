/* driver: the process that created the runtime owns everything in it, under one lock: objects, tasks and calls (together
 * *jobs*), actors, resources, workers. Worker processes speak with it alone (a star), so there is one place where things are
 * decided, and when it is gone, so is all else.
 *
 * Progress: messages of workers are handled by whoever waits. The first thread that waits *leads*: it looks at the board,
 * handles what came, and hands on when its own wait is over; other waiting threads follow. When nobody waits, the pump (a thread
 * of the driver) is woken for what cannot wait, and for timers.
 *
 *   driver.c     life; the pump; waiting and leading; timers
 *   slab.c       items by ids that never name two things
 *   object.c     objects: counts, values, who waits for them, spilling, making lost ones again
 *   job.c        tasks and calls from creation to end: arguments, answers, retries, cancelling
 *   submit.c     what is asked for becomes a job; checks
 *   program.c    skiff.h for the driver's own program
 *   schedule.c   queues of tasks, fair between callers, and which worker gets the next one
 *   actor.c      actors: starting, restarting, their calls, their end
 *   peer.c       worker processes: spawning, sending, messages, death
 *   request.c    what workers ask for
 *   pool.c       threads of the driver that run tasks and actors
 *   watch.c      the tables of the board; who waits for what when nothing moves
 *
 * Threads: all functions here are called with the lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_DRIVER_H
#define SK_RUNTIME_DRIVER_H
#include "core/runtime/internal.h"
#include "core/runtime/resources.h"
#include "core/runtime/supervisor.h"

typedef struct sk__object sk__object;
typedef struct sk__job    sk__job;
typedef struct sk__actor  sk__actor;
typedef struct sk__peer   sk__peer;
typedef struct sk__class  sk__class;

/* ---- slab.c: items that never move, by id --------------------------------------------------------------------------- */
/* An item begins with its uint64_t id: a generation and an index, so it is never 0, and an old id finds nothing. */
typedef struct sk__slab {
    uint8_t **chunks;
    size_t    item_size;
    uint32_t  n_chunks, cap_chunks, n_items /* ever made */, n_used;
    void     *free; /* list through the second word */
} sk__slab;
/* A zeroed item with an id, or NULL: no memory. */
void *sk__slab_take(sk__slab *self);
void  sk__slab_give(sk__slab *self, void *item);
void *sk__slab_find(const sk__slab *self, uint64_t id);
/* Items in use, in order of index; NULL past the last. Start with *at = 0. */
void *sk__slab_next(const sk__slab *self, uint32_t *at);
void  sk__slab_deinit(sk__slab *self);

/* ---- lists of jobs ------------------------------------------------------------------------------------------------ */
typedef struct sk__list {
    sk__job *first, *last;
    int64_t  n;
} sk__list;

/* ---- object.c ------------------------------------------------------------------------------------------------------- */
/* Why there is no value. Shared and counted. */
typedef struct sk__failure {
    int       n_users;
    sk_status status;
    char      text[]; /* one line */
} sk__failure;

/* A worker process that counts on an object. */
typedef struct sk__hold {
    struct sk__hold *next;               /* of the object             */
    struct sk__hold *peer_next, **peer_link; /* of the peer           */
    sk__peer        *peer;
    sk__object      *object;
    bool             wants_value; /* send it when there is one        */
    bool             pins;        /* it reads the store               */
} sk__hold;

typedef struct sk__dependent {
    struct sk__dependent *next;
    uint64_t              job; /* id */
} sk__dependent;

typedef enum sk__object_state { SK__PENDING, SK__READY, SK__FAILED, SK__FILLING /* between put_begin and put_end */ } sk__object_state;
typedef enum sk__object_place { SK__NOWHERE, SK__IN_ITEM, SK__IN_HEAP, SK__IN_STORE, SK__SPILLED } sk__object_place;

enum { SK__ITEM_BYTES = 48 };

struct sk__object {
    uint64_t       id;
    void          *slab_free;
    uint8_t        state, place;
    bool           program_pins; /* the driver's program has seen its address        */
    bool           in_stock;     /* a worker may use it for something new; not counted */
    uint32_t       n_program;    /* counts of the driver's program                   */
    uint32_t       n_jobs;       /* jobs that take it as an argument                 */
    uint32_t       n_pins;       /* readers of its memory: it must stay where it is  */
    int32_t        board_row;    /* -1: not shown                                    */
    uint64_t       size;
    sk__job       *maker;        /* PENDING: makes it. In the store: can make it again; counted. Nullable */
    sk__hold      *holds;
    sk__dependent *dependents;
    sk__failure   *failure;
    sk__object    *lru_prev, *lru_next; /* those in the store, least recently used first */
    sk__object    *tell_next; /* those whose end is being told */
    union {
        _Alignas(16) uint8_t item[SK__ITEM_BYTES];
        uint8_t   *heap;
        sk_extent  extent;
        sk_spilled spilled;
    } at;
};

/* A pending object; n_program as given. NULL: no memory. */
sk__object *sk__object_create(sk__driver *d, uint32_t n_program);
sk__object *sk__object_find(sk__driver *d, uint64_t id);
/* One from a worker's stock is used: it counts from now on. */
void sk__object_count(sk__driver *d, sk__object *self);
/* Store a copy as its value; above SK_INLINE_MAX in the store. Does not announce. */
SK_NODISCARD sk_status sk__object_fill(sk__driver *d, sk__object *self, const void *data, size_t size, sk_error *reterr);
/* Its value lies in an extent, which it takes. */
void sk__object_take_extent(sk__driver *d, sk__object *self, sk_extent extent);
/* It has a value now, or will never have one: tell everyone who waits. */
void sk__object_announce(sk__driver *d, sk__object *self);
void sk__object_fail(sk__driver *d, sk__object *self, sk__failure *failure); /* and announce; counts the failure */
/* Give it up if nobody counts on it. */
void sk__object_settle(sk__driver *d, sk__object *self);
/* Make its bytes readable where they are: reads a spilled one back, asks for a lost one to be made again (it is PENDING then).
 * SK_ELIMIT: no room now. Only READY ones. */
SK_NODISCARD sk_status sk__object_load(sk__driver *d, sk__object *self, sk_error *reterr);
sk_bytes sk__object_bytes(sk__driver *d, const sk__object *self); /* loaded ones */
void sk__object_pin(sk__driver *d, sk__object *self);
void sk__object_unpin(sk__driver *d, sk__object *self);
/* Room in the store, spilling others if need be. */
SK_NODISCARD sk_status sk__objects_alloc(sk__driver *d, size_t size, sk_extent *ret_extent, sk_error *reterr);
void sk__objects_deinit(sk__driver *d);

sk__hold *sk__hold_find(sk__object *object, const sk__peer *peer);
/* Note that the peer counts on it (once). NULL: no memory. */
sk__hold *sk__hold_add(sk__driver *d, sk__object *object, sk__peer *peer);
void sk__hold_remove(sk__driver *d, sk__hold *hold); /* may end the object */

sk__failure *sk__failure_create(sk_status status, const char *fmt, ...) SK_PRINTF(2, 3); /* never NULL: a static one without memory */
sk__failure *sk__failure_acquire(sk__failure *self);
void         sk__failure_release(sk__failure *self);
const char  *sk__failure_text(const sk__failure *self);
sk_status    sk__failure_tell(const sk__failure *self, sk_error *reterr); /* its status */

/* ---- job.c ---------------------------------------------------------------------------------------------------------- */
typedef enum sk__job_kind { SK__TASK, SK__CREATE, SK__METHOD, SK__DESTROY /* of a thread's actor */ } sk__job_kind;
typedef enum sk__job_state { SK__WAITING /* for arguments */, SK__QUEUED, SK__SENT /* to a process */, SK__RUNNING /* in a thread */, SK__ENDED } sk__job_state;

enum { SK__JOB_ARG_BYTES = 48 };

struct sk__job {
    uint64_t           id;
    void              *slab_free;
    sk__job           *prev, *next;
    sk__list          *list;     /* the queue it is in, or NULL                       */
    uint8_t            kind, state, placement;
    bool               has_refs; /* among its arguments                               */
    bool               retry_errors, pinned /* its arguments are */, remake /* its results can be made again */;
    _Atomic bool       canceled; /* its references have failed already; looked at by running threads */
    uint32_t           n_users;  /* 1 while it has not ended, + objects that it can make again */
    uint32_t           n_args, n_missing /* arguments without a value */;
    uint32_t           n_returns;
    int32_t            method, retries_left, timeout_ms;
    const sk_function *function; /* task, or class                                    */
    sk__actor         *actor;    /* METHOD, CREATE                                    */
    sk__peer          *peer;     /* SENT: where to; else who submitted... see caller  */
    sk__class         *cls;      /* TASK                                              */
    uint32_t           caller;   /* 0: the driver's program, else 1 + line            */
    uint32_t           caller_generation;
    int64_t            deadline_ns;  /* 0: none                                       */
    int64_t            sent_ns;
    int64_t            expected_ns;  /* counted in its peer's load                    */
    uint64_t           sent_index;   /* its number among what the peer was sent       */
    sk_lease          *lease;        /* of a task on its way into a thread; nullable  */
    sk_extent          blob;         /* size > 0: its packed arguments, while sent    */
    char              *name;         /* NULL: the function's                          */
    uint8_t           *packed;       /* VALUE and REF records, 16-byte aligned        */
    size_t             packed_size;
    uint64_t           first_return; /* object ids                                    */
    uint64_t          *more_returns; /* (n_returns - 1)                               */
    sk__job           *deadline_prev, *deadline_next;
    _Alignas(16) uint8_t small[SK__JOB_ARG_BYTES];
};

/* What a submission says, from the driver's program or from a worker. */
typedef struct sk__order {
    const char        *name; /* nullable */
    const sk_function *function;
    int                method, n_returns, timeout_ms, max_retries;
    bool               retry_errors;
    sk_placement       placement;
    uint32_t           caller;
    sk__peer          *from; /* the worker that orders it; NULL: the driver's program */
} sk__order;
/* A job with its arguments copied; those above SK_INLINE_MAX become objects. */
SK_NODISCARD sk_status sk__job_create(sk__driver *d, sk__job_kind kind, const sk__order *order, const sk_arg *args, int n_args,
                                      sk__job **ret_job, sk_error *reterr);
/* The same from packed records (VALUE, REF, EXTENT: taken). SK_ECORRUPT. */
SK_NODISCARD sk_status sk__job_create_packed(sk__driver *d, sk__job_kind kind, const sk__order *order, int n_args, sk_bytes packed,
                                             sk__job **ret_job, sk_error *reterr);
/* It makes n new objects for the driver's program. */
SK_NODISCARD sk_status sk__job_add_returns(sk__driver *d, sk__job *self, int n, sk_ref *ret_refs, sk_error *reterr);
/* It makes these, which the worker `from` was granted. SK_ECORRUPT. */
SK_NODISCARD sk_status sk__job_adopt_returns(sk__driver *d, sk__job *self, sk__peer *from, int n, const uint64_t *ids,
                                             sk_error *reterr);
uint64_t sk__job_return(const sk__job *self, uint32_t i);
const char *sk__job_name(const sk__job *self);
/* Let it wait for its arguments, then give it to the scheduler or its actor. */
void sk__job_start(sk__driver *d, sk__job *self);
void sk__job_on_argument(sk__driver *d, uint64_t job_id, const sk__object *object);
/* All its arguments had values: make them readable and pin them. */
typedef enum sk__pinned {
    SK__PINNED,
    SK__PIN_LATER, /* the store has no room now; it stays as it is                                    */
    SK__PIN_GONE   /* it waits for one that is made again, or it has failed: it is the caller's no more */
} sk__pinned;
sk__pinned sk__job_pin(sk__driver *d, sk__job *self);
void sk__job_unpin(sk__driver *d, sk__job *self);
/* It has run well: packed returns from a worker, or a finished call in a thread. */
void sk__job_succeed(sk__driver *d, sk__job *self, sk_bytes packed);
void sk__job_succeed_call(sk__driver *d, sk__job *self, sk_call *call);
/* It ran and failed; may run again. `text` gets its name in front. */
void sk__job_error(sk__driver *d, sk__job *self, sk_status status, const char *text, size_t text_size);
/* Its worker died while it ran; may run again. */
void sk__job_died(sk__driver *d, sk__job *self, const char *how);
/* It ends without a value. Takes the failure. */
void sk__job_fail(sk__driver *d, sk__job *self, sk__failure *failure);
void sk__job_cancel(sk__driver *d, sk__job *self, sk_cancel_how how);
/* Of one that runs: its references fail now; it may go on for a while. Does not take the failure. */
void sk__job_end_early(sk__driver *d, sk__job *self, sk__failure *failure);
void sk__job_release(sk__driver *d, sk__job *self); /* one user less */
void sk__job_set_deadline(sk__driver *d, sk__job *self);
void sk__jobs_check_deadlines(sk__driver *d, int64_t now_ns);
void sk__list_push(sk__list *list, sk__job *job);
void sk__list_push_front(sk__list *list, sk__job *job);
void sk__list_remove(sk__job *job);
sk__job *sk__list_pop(sk__list *list);

/* ---- schedule.c ------------------------------------------------------------------------------------------------------- */
/* The tasks of one caller in one class. */
typedef struct sk__queue {
    uint32_t          caller;
    sk__list          jobs;
    struct sk__queue *next; /* ring of those with jobs */
} sk__queue;

/* Tasks that want the same: they are interchangeable for the scheduler. */
struct sk__class {
    sk__class   *next;
    sk_demand    demand;
    sk_group     group;
    int          bundle;
    sk_placement placement; /* THREAD or PROCESS */
    sk__queue   *turn;      /* whose turn it is; NULL: no jobs */
    sk__queue   *idle;      /* queues without jobs, to be used again */
    int64_t      n_jobs;
};
SK_NODISCARD sk_status sk__class_find(sk__driver *d, const sk_demand *demand, sk_group group, int bundle,
                                      sk_placement placement, sk__class **ret_class, sk_error *reterr);
void sk__class_push(sk__driver *d, sk__job *job, bool in_front);
/* Hand out what can be handed out. */
void sk__schedule(sk__driver *d);
void sk__schedule_group_gone(sk__driver *d, sk_group group);
/* Workers cannot be started: fail what waits for them. */
void sk__schedule_fail_starts(sk__driver *d, sk_status status, const char *text);
/* Stop workers that nobody needs any more. */
void sk__schedule_trim(sk__driver *d, int64_t now_ns);
int64_t sk__job_expected_ns(sk__driver *d, const sk__job *job); /* how long it may run, by what its function needed so far */
void sk__schedule_deinit(sk__driver *d);

/* ---- actor.c ---------------------------------------------------------------------------------------------------------- */
struct sk__actor {
    uint64_t           id;
    void              *slab_free;
    char               name[SK_BOARD_NAME];
    const sk_function *function; /* its class                                        */
    uint8_t            state;    /* sk_board_actor_state                             */
    sk_placement       placement;
    bool               stopping;  /* asked to end after the calls made before        */
    bool               stop_sent, has_lease;
    sk_demand          demand;
    sk_group           group;
    int                bundle;
    sk_lease           lease;
    sk__peer          *peer;     /* PROCESS: where it is or starts                   */
    void              *self;     /* THREAD, INLINE                                   */
    sk__job           *create;   /* counted; runs once more for each start           */
    bool               is_dispatching, is_starting /* create is under way */, destroy_pushed;
    sk__list           queue;    /* calls that wait                                  */
    sk__list           running;  /* THREAD: calls that run                           */
    int                n_running; /* THREAD: calls in threads                        */
    int64_t            n_open;   /* calls without an answer                          */
    int                max_concurrency, max_pending, max_restarts, max_task_retries, backoff_ms;
    double             window_s;
    int64_t            window_ns; /* when the present window began                    */
    int                n_in_window; /* restarts in it                                 */
    uint64_t           n_restarts, n_done;
    int                n_in_a_row; /* restarts since a call was answered              */
    int64_t            start_at_ns; /* RESTARTING                                     */
    sk__buffer         saved;    /* for the next start                                */
    bool               has_saved;
    sk_status          end_status;
    char               end[320]; /* why it is dead                                    */
    int32_t            board_row; /* -1: not shown                                    */
    sk__actor         *pending_next; /* PENDING; of the dead: the next to be forgotten */
    sk__actor         *name_next;    /* of the same hash                              */
};
/* Register an actor and let its create wait for its arguments and resources. `args` or, from a worker, `packed` records.
 * An INLINE one is left to the caller to create, in its own thread: see sk__actor_created_inline. */
SK_NODISCARD sk_status sk__actor_create(sk__driver *d, const sk_actor_params *params, sk__peer *from, sk_bytes packed,
                                        sk__actor **ret_actor, sk_error *reterr);
sk__actor *sk__actor_find(sk__driver *d, uint64_t id);
sk__actor *sk__actor_find_name(sk__driver *d, const char *name);
/* May it be called like this now? SK_EINVAL: no such method; SK_ELIMIT: max_pending_calls. */
SK_NODISCARD sk_status sk__actor_accepts(sk__driver *d, sk__actor *self, int method, sk_error *reterr);
void sk__actor_push(sk__driver *d, sk__job *job, bool in_front);
/* Its create's arguments have values: start it, or let it wait for its resources. */
void sk__actor_start(sk__driver *d, sk__actor *self);
/* Send or run what can be. */
void sk__actor_dispatch(sk__driver *d, sk__actor *self);
void sk__actor_on_created(sk__driver *d, sk__actor *self, sk__job *job, sk__failure *failure); /* NULL: it is made */
void sk__actor_on_answer(sk__driver *d, sk__actor *self);
/* THREAD: a run of it is over. */
void sk__actor_on_run_end(sk__driver *d, sk__actor *self);
void sk__actor_keep(sk__driver *d, sk__actor *self, const void *state, size_t size);
void sk__actor_on_peer_death(sk__driver *d, sk__actor *self, const char *how, bool may_restart);
/* It ends now; `how` reads "was killed". */
void sk__actor_end(sk__driver *d, sk__actor *self, sk_status status, const char *how);
void sk__actor_stop(sk__driver *d, sk__actor *self);
void sk__actor_kill(sk__driver *d, sk__actor *self, sk_kill_how how);
void sk__actors_check_timers(sk__driver *d, int64_t now_ns);
void sk__actors_start_pending(sk__driver *d);
SK_NODISCARD sk_status sk__actor_tell_end(const sk__actor *self, sk_error *reterr);
void sk__actors_deinit(sk__driver *d);

/* ---- peer.c ----------------------------------------------------------------------------------------------------------- */
/* A message that had no room in its ring. */
typedef struct sk__letter {
    struct sk__letter *next;
    size_t             size;
    _Alignas(16) uint8_t bytes[];
} sk__letter;

struct sk__peer {
    sk__driver    *d;
    int            line, pid;
    uint32_t       generation; /* of the line's use: which caller is meant   */
    uint64_t       id;         /* for the supervisor                          */
    char           name[SK_BOARD_NAME];
    uint8_t        state;      /* sk_board_worker_state                       */
    bool           hello, asked_to_stop, said_bye, blocked, killed_by_us, has_lease, may_restart;
    sk__class     *cls;        /* whose tasks it runs now                     */
    sk_lease       lease;
    sk__actor     *actor;      /* or the actor it hosts                       */
    sk_ring_writer down;
    sk_ring_reader up;
    sk__list       sent;       /* in the order they were sent                 */
    uint64_t       n_sent, n_done, n_forgiven; /* forgiven: answers to jobs that ended before them */
    int64_t        load_ns;    /* expected, of those sent                     */
    int64_t        idle_ns;    /* since when it has had nothing               */
    sk__peer      *task_next, *task_prev; /* of those that run tasks           */
    sk__letter    *letters, *letters_last; /* waiting for room                */
    sk__hold      *holds;
    sk_extent     *extents;    /* allocated for it, not yet part of an object */
    int            n_extents, cap_extents;
    char           kill_reason[160]; /* "" : none                             */
};
/* Spawn a worker process; usable at once. */
SK_NODISCARD sk_status sk__peer_create(sk__driver *d, sk__actor *actor, sk__peer **ret_peer, sk_error *reterr);
/* Can one more job be sent now? */
bool sk__peer_has_room(sk__peer *self, const sk__job *job);
/* An extent that ALLOC gave to the peer and that it now gives away; false: it has no such. */
bool sk__peer_claim(sk__peer *self, sk_extent extent);
/* Send a job whose arguments are pinned; ring for it afterwards. False: no room (nothing happened). */
bool sk__peer_send_job(sk__driver *d, sk__peer *self, sk__job *job);
void sk__peer_ring(sk__peer *self);
/* Send, or keep until there is room. */
void sk__peer_send(sk__peer *self, const sk_message *head, const void *payload, size_t size);
void sk__peer_send_value(sk__driver *d, sk__hold *hold); /* of an object that has ended */
void sk__peer_forget_job(sk__driver *d, sk__job *job);   /* takes a job off its peer      */
void sk__peer_cancel_job(sk__driver *d, sk__job *job);   /* tell the worker               */
bool sk__peer_has_begun(const sk__driver *d, const sk__job *job); /* of a SENT one        */
void sk__peer_stop(sk__driver *d, sk__peer *self);
/* `why` reads "did not stop in time"; becomes part of how it ended. */
void sk__peer_kill(sk__driver *d, sk__peer *self, const char *why);
void sk__peer_give_back(sk__driver *d, sk__peer *self); /* its lease */
void sk__peer_on_mail(sk__driver *d, sk__peer *self);
void sk__peers_on_deaths(sk__driver *d);
void sk__peers_send_letters(sk__driver *d);
void sk__peer_malformed(sk__driver *d, sk__peer *self, const char *why);
/* request.c: false: the message is not a request. */
bool sk__peer_on_request(sk__driver *d, sk__peer *self, const sk_message *m, sk_bytes payload);
void sk__requests_check(sk__driver *d); /* answers to requests that had to wait */
void sk__requests_forget(sk__driver *d, const sk__peer *peer);

/* ---- pool.c ----------------------------------------------------------------------------------------------------------- */
enum { SK__THREADS_MAX = 1024 };
typedef struct sk__pool {
    pthread_cond_t wake;
    sk__list       ready;     /* jobs to run                                */
    _Atomic int    n_ready;   /* the same, for those who look unlocked      */
    int            n_threads; /* started; they stay until the end           */
    int            n_ended, n_idle, n_spinning, n_blocked;
    int64_t        since_ns;  /* when `ready` last moved                    */
    _Atomic bool   stopping;
    pthread_t      threads[SK__THREADS_MAX];
} sk__pool;
/* A run in a thread of the driver, where its waits can find it. */
typedef struct sk__run {
    sk__driver *d;
    sk__job    *job;
    sk_lease    lease;
    bool        has_lease, blocked, in_pool;
    int         thread; /* number in the pool; -1: the caller's own */
} sk__run;
sk__run *sk__run_current(void); /* of this thread; NULL: none */
void sk__pool_push(sk__driver *d, sk__job *job); /* its arguments are pinned */
/* Run a job, whose arguments are pinned, in this thread; unlocks meanwhile. `call` is kept for the next one. */
void sk__run_job(sk__driver *d, sk__job *job, sk_call *call, int thread);
/* Start a thread if one is needed. */
void sk__pool_grow(sk__driver *d, int64_t now_ns);
/* Stop all threads; those in a call get until the deadline. True: all have ended. */
bool sk__pool_stop(sk__driver *d, int64_t deadline_ns);
/* A run waits: others may have its share and its thread's place. */
void sk__run_block(sk__run *self);
void sk__run_unblock(sk__run *self);

/* ---- submit.c: orders of the program and of workers ------------------------------------------------------------------- */
/* A task. From the program: `from` NULL, new references. From a worker: packed arguments, ids it was granted. */
SK_NODISCARD sk_status sk__submit_task(sk__driver *d, const sk_task *task, sk__peer *from, sk_bytes packed, const uint64_t *ids,
                                       sk_ref *ret_refs, sk__job **ret_job, sk_error *reterr);
SK_NODISCARD sk_status sk__submit_call(sk__driver *d, sk_actor actor, const sk_method *method, sk__peer *from, sk_bytes packed,
                                       const uint64_t *ids, sk_ref *ret_refs, sk__job **ret_job, sk_error *reterr);

/* ---- driver.c, watch.c -------------------------------------------------------------------------------------------------- */
/* A thread of the driver that waits; known to the watch and shown on the board when it takes long. */
typedef struct sk__waiter {
    struct sk__waiter *next;
    int64_t            since_ns;
    const char        *what;    /* "sk_get"                        */
    uint64_t           subject; /* id of the object or actor; or 0 */
    int                row;     /* on the board; -1: none          */
} sk__waiter;

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
    bool            may_spin, destroying;

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
    bool                  resources_changed; /* something was given back                */
    bool                  room_changed;      /* the store may have room for what waits  */
    bool                  starved_actors;    /* some have calls whose arguments find no room in it */
    sk__list              no_room;           /* tasks whose arguments find none         */
    uint64_t              next_peer_id;
    sk__actor            *pending_actors, *pending_actors_last; /* wait for resources */
    sk__actor            *dead_actors, *dead_actors_last;       /* still known by how they died */
    sk__actor            *names[4096];                          /* living ones by hash of the name */
    int                   n_dead_actors;
    int                   n_timed_actors; /* RESTARTING */
    sk__job              *deadlines;
    sk__pool              pool;
    sk__waiter           *waiters;
    sk__request          *requests;
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
    uint64_t              shown;    /* a sum of what the board showed last          */
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
/* Wait until is_done(d, arg). SK_ETIMEOUT, SK_EINTERRUPTED (both without text). `what` and `subject` are for people: who waits
 * for what. A run gives its share to others meanwhile. */
typedef bool (*sk__is_done)(sk__driver *d, void *arg);
SK_NODISCARD sk_status sk__driver_wait(sk__driver *d, sk__is_done is_done, void *arg, int64_t deadline_ns, const char *what,
                                       uint64_t subject);
/* Something runs that does not wait itself: when it ends, there may be room in the store. */
bool sk__driver_may_make_room(const sk__driver *d);
void sk__driver_wake_pump(sk__driver *d);
/* Do what a call of the program made possible, show it, and let go. */
void sk__driver_leave(sk__driver *d);
/* The pump must run from now on. */
SK_NODISCARD sk_status sk__driver_need_pump(sk__driver *d, sk_error *reterr);

void sk__watch_functions(sk__driver *d);                  /* put their names on the board */
sk_board_function *sk__watch_row(sk__driver *d, const sk_function *function); /* its counters */
void sk__watch_ended(sk__driver *d, const sk__job *job, sk_status status, int64_t start_ns, int64_t duration_ns, int pid, int thread);
void sk__watch_peer(sk__driver *d, const sk__peer *peer, sk_board_worker_state state);
void sk__watch_actor(sk__driver *d, sk__actor *actor);
void sk__watch_object(sk__driver *d, sk__object *object); /* large ones: shown, changed or gone */
void sk__watch_sync(sk__driver *d);                       /* counters */
void sk__watch_refresh(sk__driver *d);                    /* and all that changes too often to be written each time */
void sk__watch_waiter(sk__driver *d, sk__waiter *waiter);  /* show it, or take it down (since_ns 0) */
void sk__watch_progress(sk__driver *d, int64_t now_ns);   /* nothing moved for 10 s: say who waits for what */

#endif
