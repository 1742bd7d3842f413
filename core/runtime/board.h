/* board: the shared memory of one runtime. Two things lie on it: the mail lines between the driver and its worker
 * processes, and tables of what is going on, which anyone of the same user may read while the program runs,
 * whatever state it is in: `skiff status`, `list`, `top`, `timeline` and `logs` map it through /proc/<pid>/fd and
 * never disturb the program.
 *
 * The driver alone writes the tables (a worker writes `job` in its own line); a reader takes what it sees as of
 * about now: every field is plain and may be one moment older than its neighbour. Names are always terminated.
 *
 * The memory is a sparse memfd (core/transport/block.h): only what is touched is taken.
 *
 * Threads: the lines as core/transport/ring.h says; tables by the runtime's lock. */
#ifndef SK_RUNTIME_BOARD_H
#define SK_RUNTIME_BOARD_H
#include "core/transport/block.h"
#include "core/transport/ring.h"

#define SK_BOARD_MAGIC   "SKBOARD"
#define SK_BOARD_VERSION 2u

enum {
    SK_BOARD_LINES = 2048,      /* worker processes at a time           */
    SK_BOARD_ACTORS = 16384,    /* shown; more run, unseen              */
    SK_BOARD_FUNCTIONS = 512,
    SK_BOARD_OBJECTS = 4096,    /* large ones, shown                    */
    SK_BOARD_EVENTS = 65536,
    SK_BOARD_RESOURCES = 16,
    SK_BOARD_WAITS = 64,
    SK_BOARD_HOSTS = 1024,      /* with number 0: the driver's own      */
    SK_BOARD_NAME = 64,
};

/* ---- tables ---------------------------------------------------------------------------------------------- */
typedef enum sk_board_worker_state {
    SK_WORKER_NONE, SK_WORKER_STARTING, SK_WORKER_IDLE, SK_WORKER_BUSY, SK_WORKER_BLOCKED, SK_WORKER_STOPPING
} sk_board_worker_state;

typedef struct sk_board_worker {
    int32_t  state;      /* sk_board_worker_state                                */
    int32_t  pid;
    int64_t  since_ns;   /* of this state, monotonic                             */
    int64_t  started_ns;
    uint64_t actor;      /* id of the actor it hosts; 0: it runs tasks           */
    uint64_t n_done;     /* tasks and calls answered                             */
    uint32_t n_in_flight;
    int32_t  host;       /* its number; 0: the driver's own, and pid is of this machine  */
    char     name[SK_BOARD_NAME];     /* of its actor, else "worker-<line>"      */
    char     log_path[256];           /* "" where its output goes to the driver's standard error */
} sk_board_worker;

typedef enum sk_board_actor_state {
    SK_ACTOR_NONE, SK_ACTOR_PENDING /* waits for resources */, SK_ACTOR_STARTING, SK_ACTOR_ALIVE, SK_ACTOR_RESTARTING,
    SK_ACTOR_STOPPING, SK_ACTOR_DEAD
} sk_board_actor_state;

typedef struct sk_board_actor {
    uint64_t id;
    int32_t  state;     /* sk_board_actor_state                                  */
    int32_t  placement; /* sk_placement                                          */
    int32_t  pid;
    uint32_t n_restarts;
    uint64_t n_done;
    uint32_t n_pending; /* calls without an answer                               */
    int32_t  host;      /* as of a worker                                        */
    char     name[SK_BOARD_NAME], class_name[SK_BOARD_NAME];
    char     end[160];  /* how it died, "" before                                */
} sk_board_actor;

/* Tasks are shown by function; those running also by line and pool thread. */
typedef struct sk_board_function {
    char     name[SK_BOARD_NAME]; /* "" : none; a class's calls are counted together */
    uint64_t n_submitted, n_done, n_failed, n_retried, n_canceled; /* pending = submitted - done - failed - canceled */
    uint64_t n_running;
    int64_t  total_ns, mean_ns;   /* of runs; the mean forgets slowly             */
} sk_board_function;

typedef enum sk_board_place { SK_OBJECT_IN_MEMORY = 1, SK_OBJECT_SPILLED = 2 } sk_board_place;
typedef struct sk_board_object {
    uint64_t id;    /* 0: none */
    uint64_t size;
    int32_t  place; /* sk_board_place                                            */
    uint32_t n_refs, n_pins;
    int32_t  function; /* index of the function that made it; -1: put             */
    int64_t  created_ns;
} sk_board_object;

typedef struct sk_board_resource {
    char   name[32];
    double total, free;    /* of all hosts */
} sk_board_resource;

typedef enum sk_board_host_state { SK_HOST_NONE, SK_HOST_JOINING, SK_HOST_UP, SK_HOST_LOST, SK_HOST_LEFT } sk_board_host_state;
/* A further host; row 0 stays empty. A row is used again only when all are used up: who was lost can be seen. */
typedef struct sk_board_host {
    int32_t  state;       /* sk_board_host_state                                  */
    int32_t  pid;         /* of its node, there                                   */
    int64_t  since_ns;    /* of this state                                        */
    int64_t  heard_ns;    /* last sign of life                                    */
    int64_t  round_trip_ns; /* 0: not known                                       */
    uint32_t n_workers, n_copies;
    double   cpu_total, cpu_free;
    uint64_t bytes_in, bytes_out, n_frames_in, n_frames_out; /* ours, with heads  */
    uint64_t copied_bytes, store_bytes, waiting_bytes;       /* copies there; its store; in our queue to it */
    char     name[SK_BOARD_NAME];
    char     end[160];    /* why it is lost or has left                           */
} sk_board_host;

/* One run that has ended; the timeline is made of them. */
typedef struct sk_board_event {
    int64_t  start_ns, duration_ns; /* the driver's clock, of runs on other hosts too                             */
    uint64_t id;       /* of the task or call                                    */
    int32_t  function; /* index into functions                                   */
    int32_t  method;   /* -1: a task, -2: create                                 */
    int32_t  pid;
    int32_t  thread;   /* line of a worker (>= 0), or -1 - number of a pool thread of the driver */
    int32_t  status;   /* sk_status                                              */
    int32_t  host;     /* where it ran; 0: here                                  */
    int32_t  pad;
    uint32_t seq;      /* set by sk_board_add_event: which event this is         */
} sk_board_event;

/* Who waits for what now: a thread of the driver in sk_get and the like. */
typedef struct sk_board_wait {
    int64_t since_ns; /* 0: none */
    char    what[SK_BOARD_NAME * 2];
} sk_board_wait;

typedef struct sk_board_counters {
    uint64_t n_submitted, n_done, n_failed, n_retried, n_canceled; /* tasks and calls, ever */
    uint64_t n_queued, n_running;                                   /* now                   */
    uint64_t n_objects, object_bytes;                               /* small ones too        */
    uint64_t store_bytes, store_used, store_peak, spilled_bytes, spill_bytes, n_spills, n_unspills, n_rebuilt;
    uint64_t n_worker_deaths, n_restarts, n_malformed;
    uint64_t n_actors, n_workers, n_threads, n_groups;              /* now                   */
    uint64_t n_hosts;                                               /* up, further ones      */
    uint64_t n_hosts_lost, n_refused;                               /* ever: hosts; connections with a wrong key */
    int64_t  progress_ns;                                           /* when something last ended */
} sk_board_counters;

/* ---- lines ----------------------------------------------------------------------------------------------- */
/* What a worker process says without a message. */
typedef struct sk_line {
    _Alignas(64) sk_bell bell;         /* wakes the worker                                             */
    _Alignas(64) _Atomic uint64_t job; /* what it runs now; 0: nothing                                 */
    _Atomic int64_t  job_since_ns;
    _Atomic uint64_t n_started;        /* jobs it began, in the order they were sent: which of those in flight it has */
    _Atomic uint32_t n_cancels;        /* grows with every entry                                       */
    _Atomic uint64_t cancels[8];       /* jobs that are cancelled; slot = entry % 8                    */
    _Atomic uint32_t stopping;         /* its program is ending                                        */
    sk_ring down, up;                  /* driver to worker, worker to driver                           */
} sk_line;

typedef struct sk_board {
    char     magic[8];
    uint32_t version;
    int32_t  pid;           /* of the driver                                     */
    uint64_t size;          /* sizeof(sk_board): another build's board is refused */
    int64_t  started_ns;    /* monotonic                                          */
    int64_t  started_s;     /* unix time                                          */
    char     name[SK_BOARD_NAME];
    char     log_dir[256];

    /* Mail: a worker that has published rings `leader` (someone is looking, or sleeps in a wait), and `pump` if nobody
     * leads and it is urgent: the driver's own thread then takes it. */
    _Alignas(64) sk_bell leader, pump;
    _Alignas(64) _Atomic uint32_t has_leader;
    _Alignas(64) _Atomic uint64_t mail[SK_BOARD_LINES / 64]; /* bit of each line whose up-ring has something */

    _Alignas(64) sk_board_counters counters;
    sk_board_resource resources[SK_BOARD_RESOURCES];
    sk_board_wait     waits[SK_BOARD_WAITS];
    sk_board_host     hosts[SK_BOARD_HOSTS];   /* by number */
    char              endpoint[96];            /* where hosts join; "" : nowhere */
    sk_board_function functions[SK_BOARD_FUNCTIONS];
    sk_board_worker   workers[SK_BOARD_LINES]; /* by line */
    sk_board_actor    actors[SK_BOARD_ACTORS];
    sk_board_object   objects[SK_BOARD_OBJECTS];
    _Atomic uint64_t  n_events; /* ever; event e is events[e % SK_BOARD_EVENTS] */
    sk_board_event    events[SK_BOARD_EVENTS];
    sk_line           lines[SK_BOARD_LINES];
} sk_board;

/* ---- the driver ------------------------------------------------------------------------------------------ */
/* A board in a new block. Caller destroys the block. */
SK_NODISCARD sk_status sk_board_create(const char *name, sk_block **ret_block, sk_board **ret_board, sk_error *reterr);
/* Bring line `line` back to its first state and give its memory back to the machine. Nobody may be using it. */
void sk_board_clear_line(sk_board *board, int line);
/* Call `on_line` for each line that has mail, clearing its bit first. */
void sk_board_take_mail(sk_board *board, void (*on_line)(void *arg, int line), void *arg);
bool sk_board_has_mail(const sk_board *board);
void sk_board_add_event(sk_board *board, const sk_board_event *event);

/* ---- a worker -------------------------------------------------------------------------------------------- */
/* After publishing into the up-ring of `line`: mark the mail and wake who has to be woken. `urgent`: the driver has
 * to act even if nobody of it waits. */
typedef enum sk_urgency { SK_MAIL_PLAIN, SK_MAIL_URGENT } sk_urgency;
void sk_board_post(sk_board *board, int line, sk_urgency urgency);

/* ---- readers --------------------------------------------------------------------------------------------- */
/* A running program's board, mapped read-only. */
typedef struct sk_board_view {
    const sk_board *board;
    size_t          map_size;
    const void     *map;
    int             fd; /* of the memory: pread of what may be untouched; reading it mapped would take memory */
} sk_board_view;
/* Drivers of this user: fills up to max pids (oldest first), gives how many there are. */
int sk_board_find(int *ret_pids, int max);
/* SK_ENOTFOUND: no such process or no runtime in it; SK_EVERSION: of another version of skiff. Caller closes. */
SK_NODISCARD sk_status sk_board_open(int pid, sk_board_view *ret_view, sk_error *reterr);
void sk_board_close(sk_board_view *self);
/* The events as a Chrome trace (JSON). */
SK_NODISCARD sk_status sk_board_write_timeline(const sk_board *board, const char *path, sk_error *reterr);

#endif
