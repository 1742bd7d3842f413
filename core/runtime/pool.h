/* pool: threads of the driver that run tasks and actors.
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_POOL_H
#define SK_RUNTIME_POOL_H
#include "core/runtime/job.h"
#include "core/runtime/resources.h"

enum { SK__THREADS_MAX = 1024 };
typedef struct sk__pool {
    pthread_cond_t wake;
    sk__list       ready;     /* jobs to run                                */
    _Atomic int    n_ready;   /* the same, for those who look unlocked      */
    int            n_threads; /* started; they stay until the end           */
    int            n_ended, n_idle, n_spinning, n_blocked;
    int            n_starved; /* runs, inline ones too, that wait for room in the store */
    int64_t        since_ns;  /* when `ready` last moved                    */
    bool           left_behind; /* some did not end in time                  */
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

#endif
