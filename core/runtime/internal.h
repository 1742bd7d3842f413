/* internal: what the files of the runtime know of each other. Nobody else includes this.
 *
 * Every process of a runtime has an sk_runtime. In the driver it is an sk__driver, which owns everything: objects,
 * actors, queues, workers. In a worker process it is an sk__client, which asks the driver through its line of the
 * board. The functions of skiff.h (api.c) go to one or the other.
 *
 *   api.c         skiff.h, for both
 *   call.c        sk_call: arguments in, answers out, the same in a thread and in a worker process
 *   client.c      the functions of skiff.h in a worker process
 *   worker.c      a worker process: receives jobs, runs them
 *   message.c     what goes through the rings
 *   board.c       the shared memory: lines and tables
 *   store.c       the shared memory of large objects
 *   resources.c   who has how much of what
 *   registry.c    functions and classes by name
 *   supervisor.c  spawning processes and noticing their end
 *   driver*.c and what driver.h lists: the driver */
#ifndef SK_RUNTIME_INTERNAL_H
#define SK_RUNTIME_INTERNAL_H
#include "core/runtime/board.h"
#include "core/runtime/message.h"
#include "core/runtime/registry.h"
#include "core/runtime/store.h"
#include "skiff/skiff.h"
#include <pthread.h>

typedef struct sk__driver sk__driver;
typedef struct sk__client sk__client;
/* Of the driver. */
typedef struct sk__object sk__object;
typedef struct sk__job    sk__job;
typedef struct sk__actor  sk__actor;
typedef struct sk__peer   sk__peer;
typedef struct sk__class  sk__class;

struct sk_runtime {
    sk__driver *driver; /* one of the two is NULL */
    sk__client *client;
};

/* A moment `timeout_ms` from now [ns, monotonic]. */
int64_t sk__deadline_ns(int timeout_ms);
/* Sets the thread's sk_runtime_current(), gives the old one. (api.c) */
sk_runtime *sk__set_current(sk_runtime *rt);
/* Memory in the store, from wherever this process is; waits while others have to make room. (api.c) */
SK_NODISCARD sk_status sk__store_alloc(sk_runtime *rt, size_t size, sk_extent *ret_extent, void **ret_data,
                                       sk_error *reterr);
void sk__store_free(sk_runtime *rt, sk_extent extent);

/* How a worker process exits: told to stop, could not start, ended by SIGTERM (as a shell reports it). */
enum { SK__EXIT_STOPPED = 0, SK__EXIT_FAILED = 1, SK__EXIT_SIGTERM = 128 + 15 };

/* ---- call.c ---------------------------------------------------------------------------------------------- */
/* A buffer that grows and is kept, so a steady state allocates nothing. */
typedef struct sk__buffer {
    uint8_t *data;
    size_t   size, cap;
} sk__buffer;
SK_NODISCARD sk_status sk__buffer_append(sk__buffer *self, const void *data, size_t size, sk_error *reterr);
void sk__buffer_deinit(sk__buffer *self);

/* One return value while its function runs. */
typedef struct sk__return {
    sk__buffer bytes;    /* what was written: always the value up to SK_INLINE_MAX                        */
    sk_extent  extent;   /* size > 0: it lies in the store: allocated at once, or moved there by finish    */
    void      *in_store; /* where; also set, to bytes.data, by an sk_call_alloc of a small one              */
} sk__return;

struct sk_call {
    sk_runtime *rt;
    sk_bytes   *args; /* (n_args)     */
    sk__return *returns; /* (n_returns)  */
    int         n_args, args_cap, n_returns, returns_cap;
    sk__buffer  state;
    sk_extent   state_extent; /* size > 0: finish has moved the state there */
    bool        has_state, is_actor;
    bool      (*is_cancelled)(const sk_call *self); /* where it runs knows */
    void       *host; /* for is_cancelled */
};
/* Make ready for a run; arrays are kept from the last one. The caller fills args. */
SK_NODISCARD sk_status sk__call_begin(sk_call *self, sk_runtime *rt, int n_args, int n_returns, sk_error *reterr);
/* After a good run: move what is larger than SK_INLINE_MAX (and a state that is) into the store. On failure nothing
 * is left there. */
SK_NODISCARD sk_status sk__call_finish(sk_call *self, sk_error *reterr);
/* After a failed run: give back what lies in the store. */
void sk__call_abandon(sk_call *self);
void sk__call_deinit(sk_call *self);
/* The text of an error as it travels: its message, and " (file:line)" where it arose. */
void sk__error_text(const sk_error *err, sk_status status, char *ret_text, size_t size);

/* ---- client.c: skiff.h in a worker process --------------------------------------------------------------- */
/* Same contracts as the functions of skiff.h. The lists of arguments are the public ones. */
SK_NODISCARD sk_status sk__client_put(sk__client *self, const void *data, size_t size, sk_ref *ret_ref,
                                      sk_error *reterr);
SK_NODISCARD sk_status sk__client_put_begin(sk__client *self, size_t size, sk_ref *ret_ref, void **ret_data,
                                            sk_error *reterr);
SK_NODISCARD sk_status sk__client_put_end(sk__client *self, sk_ref ref, sk_error *reterr);
SK_NODISCARD sk_status sk__client_get(sk__client *self, sk_ref ref, int timeout_ms, sk_bytes *ret_value,
                                      sk_error *reterr);
SK_NODISCARD sk_status sk__client_get_all(sk__client *self, const sk_ref *refs, int n, int timeout_ms,
                                          sk_error *reterr);
SK_NODISCARD sk_status sk__client_wait(sk__client *self, const sk_ref *refs, int n, int n_wanted, int timeout_ms,
                                       uint8_t *ret_ended, int *ret_n_ended, sk_error *reterr);
void sk__client_acquire(sk__client *self, sk_ref ref);
void sk__client_release(sk__client *self, sk_ref *ref);
void sk__client_cancel(sk__client *self, sk_ref ref, sk_cancel_how how);
SK_NODISCARD sk_status sk__client_submit(sk__client *self, const sk_task *task, sk_ref *ret_refs, sk_error *reterr);
SK_NODISCARD sk_status sk__client_actor_create(sk__client *self, const sk_actor_params *params, sk_actor *ret_actor,
                                               sk_error *reterr);
SK_NODISCARD sk_status sk__client_actor_wait(sk__client *self, sk_actor actor, int timeout_ms, sk_error *reterr);
SK_NODISCARD sk_status sk__client_actor_find(sk__client *self, const char *name, sk_actor *ret_actor, sk_error *reterr);
SK_NODISCARD sk_status sk__client_actor_call(sk__client *self, sk_actor actor, const sk_method *method,
                                             sk_ref *ret_refs, sk_error *reterr);
SK_NODISCARD sk_status sk__client_actor_check(sk__client *self, sk_actor actor, int *ret_pid, sk_error *reterr);
void sk__client_actor_stop(sk__client *self, sk_actor actor);
void sk__client_actor_join(sk__client *self, const sk_actor *actors, int n, int timeout_ms);
void sk__client_actor_kill(sk__client *self, sk_actor actor, sk_kill_how how);
SK_NODISCARD sk_status sk__client_group_create(sk__client *self, const sk_bundle *bundles, int n, sk_strategy strategy,
                                               sk_group *ret_group, sk_error *reterr);
SK_NODISCARD sk_status sk__client_group_wait(sk__client *self, sk_group group, int timeout_ms, sk_error *reterr);
void sk__client_group_destroy(sk__client *self, sk_group *group);
SK_NODISCARD sk_status sk__client_store_alloc(sk__client *self, size_t size, sk_extent *ret_extent, void **ret_data,
                                              sk_error *reterr);
void sk__client_store_free(sk__client *self, sk_extent extent);

#endif
