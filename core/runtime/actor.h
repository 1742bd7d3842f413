/* actor: its start and restarts, its calls, its end.
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_ACTOR_H
#define SK_RUNTIME_ACTOR_H
#include "core/runtime/job.h"
#include "core/runtime/resources.h"

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
/* Register an actor and let its create wait for its arguments and resources. Arguments are those of
 * the params or, from a worker, `packed` records. An INLINE one's create is left to the caller to run, in its thread. */
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

#endif
