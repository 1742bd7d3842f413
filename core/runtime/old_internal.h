/* internal: what the files of the runtime know of each other. Nobody else includes this.
 *
 *   runtime.c     the runtime's life; receiving and handing out messages
 *   actor.c       creating, calling and destroying actors
 *   future.c      futures, replies and waiting
 *   peer.c        the driver's view of a worker: starting and stopping threads and processes
 *   worker.c      the worker itself: a loop that serves actors, the same in a thread and in a process
 *   supervisor.c  spawning processes and noticing their end
 *   table.c       ids that never name two things
 *
 * All structs here belong to the runtime's thread; only worker.c and supervisor.c run elsewhere. */
#ifndef SK_RUNTIME_INTERNAL_H
#define SK_RUNTIME_INTERNAL_H
#include "core/runtime/runtime.h"
#include "core/runtime/supervisor.h"
#include "core/transport/socket.h"
#include <pthread.h>

#define SK__ENDPOINT_MAX 96

/* ---- table.c: items by id ---------------------------------------------------------------------- */
/* An id is a slot and how often that slot was used, so it is never 0, and an old id finds nothing. */
typedef struct sk__slot {
    void    *item;
    uint32_t generation;
} sk__slot;
typedef struct sk__table {
    sk__slot *slots;
    int       n_slots, cap;
} sk__table;
SK_NODISCARD sk_status sk__table_put(sk__table *self, void *item, uint64_t *ret_id, sk_error *reterr);
void                  *sk__table_get(const sk__table *self, uint64_t id); /* NULL: no such item */
bool                   sk__table_had(const sk__table *self, uint64_t id); /* it is, or was, an item's */
void                   sk__table_remove(sk__table *self, uint64_t id);
void                   sk__table_deinit(sk__table *self);

/* ---- worker.c --------------------------------------------------------------------------------------- */
struct sk_reply {
    uint8_t *data;
    size_t   size, cap;
};
void sk__reply_deinit(sk_reply *self);

/* How a worker process exits: told to stop, could not start, ended by SIGTERM (as a shell reports it). The
 * first and the last come after a BYE. */
enum { SK__EXIT_STOPPED = 0, SK__EXIT_FAILED = 1, SK__EXIT_SIGTERM = 128 + 15 };

/* A worker that is a thread of this process. */
typedef struct sk__thread_worker sk__thread_worker;
/* Start it; it says hello to `endpoint` as `id`. */
SK_NODISCARD sk_status sk__thread_worker_start(sk_messenger *messenger, const char *endpoint, uint64_t id,
                                               const sk_actor_class *const *classes, int n_classes,
                                               sk__thread_worker **ret_worker, sk_error *reterr);
/* Wait for its end, which must be near (it said BYE), and free it. */
void sk__thread_worker_join(sk__thread_worker **self_p);
/* Give up on it: it frees itself if its present call ever ends. */
void sk__thread_worker_abandon(sk__thread_worker **self_p);

/* The class of that name, or SK_ENOTFOUND with the names there are. */
SK_NODISCARD sk_status sk__class_find(const sk_actor_class *const *classes, int n_classes, const char *name,
                                      const sk_actor_class **ret_class, sk_error *reterr);

/* ---- peer.c ----------------------------------------------------------------------------------------- */
typedef struct sk__peer {
    sk_runtime        *rt;
    uint64_t           id;
    char              *name;   /* of its first actor, for people                               */
    int                pid;    /* of its process; the own one for a thread                     */
    bool               is_process;
    bool               hello;  /* it is connected                                              */
    bool               asked_to_stop;
    bool               bye;    /* it has destroyed its actors and ends by itself               */
    int64_t            bye_until_ns; /* its process ended as one that says BYE: wait for that; or 0 */
    bool               dead;         /* its process is reaped; `end` says how                  */
    char               end[160];
    sk__thread_worker *thread; /* where it is one                                              */
} sk__peer;
/* Start a worker; it is usable when `hello` is set. */
SK_NODISCARD sk_status sk__peer_create(sk_runtime *rt, const char *name, sk_placement placement,
                                       sk__peer **ret_peer, sk_error *reterr);
void sk__peer_on_hello(sk__peer *self);
void sk__peer_on_bye(sk__peer *self);
void sk__peer_on_death(sk__peer *self, const sk_death *death);
/* Do not wait longer for those BYEs that are overdue. */
void sk__peers_expire(sk_runtime *rt);
void sk__peer_ask_to_stop(sk__peer *self);
/* Ask to stop, wait until `deadline_ns`, then kill (a thread is left behind). NULL is fine. */
void sk__peer_destroy(sk__peer **self_p, int64_t deadline_ns);

/* ---- actor.c, future.c ------------------------------------------------------------------------------ */
struct sk_actor {
    sk_runtime           *rt;
    uint64_t              id;
    char                 *name;
    const sk_actor_class *cls;
    void                 *inline_self; /* where it lives right here                             */
    sk__peer             *peer;        /* where it does not                                     */
    bool                  ready;       /* its worker answered CREATE; `err` has its status       */
    sk_error              err;
    sk_future            *oldest, *newest; /* calls without an answer, in the order of the calls */
    uint64_t              n_calls;
};
void sk__actor_destroy(sk_actor **self_p, int64_t deadline_ns);
void sk__actor_on_ready(sk_actor *self, const sk_frame *frame);
void sk__actor_on_reply(sk_actor *self, const sk_frame *frame);

struct sk_future {
    sk_runtime *rt;
    sk_actor   *actor; /* NULL once it is done: the actor may end before its futures */
    uint64_t    call_id;
    int         method;
    bool        done;
    bool        forgotten; /* destroyed by the caller before the answer came         */
    sk_error    err;       /* its status is the call's                               */
    sk_reply    reply;
    sk_future  *next;      /* in the actor's calls, or among the idle                */
    sk_future  *next_of_all;
};
typedef struct sk__futures {
    sk_future *all;  /* every one there is, to be freed at the end */
    sk_future *idle; /* those to be used again                     */
} sk__futures;
void sk__futures_deinit(sk__futures *self);
/* A future for the actor's next call, last in its row. */
SK_NODISCARD sk_status sk__future_create(sk_actor *actor, int method, sk_future **ret_future,
                                         sk_error *reterr);
/* The answer to a call: a value, or a status and its text, which gets the actor's name in front. */
void sk__future_finish(sk_future *self, sk_status status, sk_bytes answer);
/* All calls of the actor that wait for an answer fail with SK_EDEAD and this text. */
void sk__futures_fail(sk_actor *actor, const char *text);
/* The call of that id which waits for an answer, or NULL. */
sk_future *sk__future_find(const sk_actor *actor, uint64_t call_id);
/* "name: text" out of a status and a text from somewhere else. */
void sk__error_tell(sk_error *ret_err, const char *name, sk_status status, sk_bytes text);

/* ---- runtime.c -------------------------------------------------------------------------------------- */
struct sk_runtime {
    sk_runtime_params params;
    char             *worker_path;
    sk_messenger     *messenger; /* NULL until the first actor that is not inline   */
    sk_socket        *router;
    char              inproc[SK__ENDPOINT_MAX];
    char              ipc[SK__ENDPOINT_MAX]; /* "" until the first process           */
    sk_supervisor    *supervisor;            /* NULL until then                      */
    sk__table         peers;                 /* sk__peer                             */
    sk__table         actors;                /* sk_actor                             */
    sk__futures       futures;
    int               n_awaiting_bye; /* peers with bye_until_ns                     */
    uint64_t          n_malformed;    /* messages dropped                            */
    bool              abandoned_threads;
};
/* Open what a placement needs and is not open yet. */
SK_NODISCARD sk_status sk__runtime_open(sk_runtime *self, sk_placement placement, sk_error *reterr);
/* Handle all that has arrived, without waiting. */
SK_NODISCARD sk_status sk__runtime_drain(sk_runtime *self, sk_error *reterr);
/* Handle messages until `is_done(arg)`. SK_ETIMEOUT (without text) at `deadline_ns`; SK_EINTERRUPTED when the
 * program's flag is set, unless `must_finish`. */
typedef enum sk__patience { SK__INTERRUPTIBLE, SK__MUST_FINISH } sk__patience;
SK_NODISCARD sk_status sk__runtime_wait(sk_runtime *self, bool (*is_done)(void *arg), void *arg,
                                        int64_t deadline_ns, sk__patience patience, sk_error *reterr);
/* A moment `timeout_ms` from now. */
int64_t sk__deadline_ns(int timeout_ms);

#endif
