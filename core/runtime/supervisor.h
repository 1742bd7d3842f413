/* supervisor: starts worker processes and notices their end.
 *
 * It is a thread of its own because the kernel's parent-death signal follows the *thread* that spawned: this
 * one lives until the last child is reaped, so the children end with the program and never before.
 *
 * Threads: spawn by one thread at a time, the rest by any; the supervisor's own thread is inside. */
#ifndef SK_RUNTIME_SUPERVISOR_H
#define SK_RUNTIME_SUPERVISOR_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct sk_supervisor sk_supervisor;

typedef struct sk_death {
    uint64_t worker_id;
    int      pid;
    int      exit_status; /* -1: it did not exit by itself      */
    char     how[80];     /* "was killed by signal 9 (SIGKILL)" */
} sk_death;

/* Start the thread. It calls on_death(arg) after each death that can be popped. Caller destroys. */
SK_NODISCARD sk_status sk_supervisor_create(void (*on_death)(void *arg), void *arg, sk_supervisor **ret_supervisor,
                                            sk_error *reterr);
/* Kill and reap what is left, join the thread. NULL is fine. */
void sk_supervisor_destroy(sk_supervisor **self_p);

/* The environment of those that are started from now on (NULL-terminated, borrowed until destroy); NULL, as at first:
 * this program's. By the thread that spawns. */
void sk_supervisor_set_env(sk_supervisor *self, char *const *env);
/* Run `path` with `argv` (NULL-terminated; both borrowed for the call): standard input empty, standard output and
 * error appended to log_path (NULL: both go to this program's standard error), all signals at their defaults,
 * SIGINT blocked until the worker ignores it. */
SK_NODISCARD sk_status sk_supervisor_spawn(sk_supervisor *self, uint64_t worker_id, const char *path, char *const *argv,
                                           const char *log_path, int *ret_pid, sk_error *reterr);
/* Send a signal; nothing happens when the worker has ended. */
void sk_supervisor_signal(sk_supervisor *self, uint64_t worker_id, int signal_number);

/* Cheap: is there one? */
bool sk_supervisor_has_death(const sk_supervisor *self);
/* Take the oldest one; false: there is none. */
bool sk_supervisor_pop_death(sk_supervisor *self, sk_death *ret_death);

#endif
