/* runtime: actors on one host. An actor is an object with methods that lives somewhere else: a thread of
 * this process, a worker process (`skiff worker`), or right here (inline, which sends no messages). It does
 * not know where it runs; the same code serves all three.
 *
 * Calls carry plain bytes (at most 64 MiB) and return futures. Large data lies in shared-memory blocks
 * (core/transport/block.h) whose references are put into those bytes. Nothing waits for ever: every wait has
 * a timeout, says what it waited for, and ends at once when the actor dies (naming it, its process and the
 * signal).
 *
 * A *worker* is a thread or a process with one ZeroMQ socket; it hosts any number of actors, so a mailbox
 * costs neither a socket nor a thread. Messages: inproc between threads, ipc (abstract, same user only)
 * between processes. When the driver is gone, by whatever end, so are its workers.
 *
 * Threads: a runtime and its actors and futures belong to the thread that created it. */
#ifndef SK_RUNTIME_RUNTIME_H
#define SK_RUNTIME_RUNTIME_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sk_placement { SK_PLACE_INLINE, SK_PLACE_THREAD, SK_PLACE_PROCESS } sk_placement;

/* Borrowed bytes. */
typedef struct sk_bytes {
    const void *data;
    size_t      size;
} sk_bytes;

/* Where a method writes its answer: a buffer that the runtime keeps and grows, so a steady state allocates
 * nothing. */
typedef struct sk_reply sk_reply;
/* Append; SK_ELIMIT beyond 64 MiB in all. */
SK_NODISCARD sk_status sk_reply_write(sk_reply *self, const void *data, size_t size, sk_error *reterr);

/* A kind of actor: static, const, and the same in every process. `arg` and `in` are borrowed for the call
 * and, outside inline actors, 16-byte aligned. What create and call put into *reterr reaches the driver with
 * the actor's name in front. */
typedef struct sk_actor_class {
    const char        *name;
    const char *const *methods; /* names, for messages; index = method number */
    int                n_methods;
    sk_status (*create)(sk_bytes arg, void **ret_self, sk_error *reterr);
    sk_status (*call)(void *self, int method, sk_bytes in, sk_reply *out, sk_error *reterr);
    void (*destroy)(void *self);
} sk_actor_class;

typedef struct sk_runtime sk_runtime;
typedef struct sk_actor   sk_actor;
typedef struct sk_future  sk_future;

typedef struct sk_runtime_params {
    const sk_actor_class *const *classes; /* static table, same in the worker program   */
    int                          n_classes;
    const char                  *worker_path; /* program to spawn; NULL: $SKIFF_WORKER, else /proc/self/exe */
    int                          stop_timeout_ms; /* patience with a worker at the end; 0 = 5,000  */
    const volatile int          *interrupted; /* nullable; non-zero: waits end with SK_EINTERRUPTED */
} sk_runtime_params;

/* Start the runtime (nothing is spawned yet). Caller destroys. */
SK_NODISCARD sk_status sk_runtime_create(const sk_runtime_params *params, sk_runtime **ret_rt,
                                         sk_error *reterr);
/* Stop all actors, join all threads, reap all processes. Actors and futures that still exist are destroyed
 * too, and pointers to them dangle. NULL is fine. */
void sk_runtime_destroy(sk_runtime **self_p);

/* Create an actor and wait until it is ready. `name` is for people ("runner-0"). `arg` is copied.
 * SK_ENOTFOUND (class), SK_ETIMEOUT, SK_EDEAD, or what its create said. Caller destroys. */
SK_NODISCARD sk_status sk_actor_create(sk_runtime *rt, const char *class_name, const char *name,
                                       sk_placement placement, sk_bytes arg, int timeout_ms,
                                       sk_actor **ret_actor, sk_error *reterr);
/* Stop gracefully: calls made before still run. If that takes longer than the runtime's stop timeout, a
 * process is killed; a thread cannot be: it is left behind with an error in the log, and ends after its
 * present call. Calls without an answer fail with SK_EDEAD. NULL is fine. */
void sk_actor_destroy(sk_actor **self_p);
/* Process id of its worker (the own one for inline and thread). */
int  sk_actor_pid(const sk_actor *self);
/* SK_OK, or SK_EDEAD with how it died. Looks without waiting. */
SK_NODISCARD sk_status sk_actor_check(sk_actor *self, sk_error *reterr);

/* Start a call; calls of one actor run in the order they were made. `in` is copied (inline: runs now).
 * Fails only for a wrong method or size; all else, also that the actor is dead already, is told by waiting,
 * so it looks alike in every placement. Caller destroys the future. */
SK_NODISCARD sk_status sk_actor_call(sk_actor *self, int method, sk_bytes in, sk_future **ret_future,
                                     sk_error *reterr);
/* Wait for the answer. `*ret_out` (nullable) is borrowed until the future is destroyed. On SK_ETIMEOUT the
 * future stays valid and may be waited for again. Otherwise the status is the call's own. */
SK_NODISCARD sk_status sk_future_wait(sk_future *self, int timeout_ms, sk_bytes *ret_out, sk_error *reterr);
/* Wait for all; ends at the first that failed, and at once when any of their actors dies. */
SK_NODISCARD sk_status sk_future_wait_all(sk_future *const *futures, int n, int timeout_ms, sk_error *reterr);
/* Forget a future; a late answer is dropped. NULL is fine. */
void sk_future_destroy(sk_future **self_p);

/* The body of `skiff worker`: serve until the driver says stop, or is gone. `argv` after the subcommand.
 * Returns the exit status. SIGINT is ignored there, a first SIGTERM too (the driver stops its workers); a second one
 * ends it at once. */
int sk_worker_main(int argc, char **argv, const sk_actor_class *const *classes, int n_classes);

#endif
