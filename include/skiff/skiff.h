/* skiff/skiff.h: tasks, actors and objects on the cores of one host or of many, for any C program. Stands alone with
 * skiff/status.h; link with libskiff (`pkg-config --cflags --libs skiff`). A guided tour is docs/runtime.md.
 *
 *   task    a named C function, run once somewhere: a thread of this program or a worker process
 *   actor   a struct with methods that lives somewhere; calls of one caller run in the order they were made
 *   object  immutable bytes under a reference. Tasks and calls answer with references at once; the bytes come
 *           later. Small objects travel in messages, large ones lie in shared memory and are read in place.
 *
 * A *driver* is the program that creates the runtime. Worker processes are spawned (never forked), run functions
 * of plugins or of the worker program itself, and end with the driver, whatever ends it. Code inside tasks and
 * actors uses the same functions, with the runtime that sk_runtime_current() gives.
 *
 * Nothing waits for ever: each wait has a timeout and says what it waited for; a request that can never be met
 * fails at once with resource, asked and available.
 *
 * Threads: every function may be called by any thread of the process. Handles are plain values. */
#ifndef SKIFF_SKIFF_H
#define SKIFF_SKIFF_H
#include "skiff/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sk_runtime sk_runtime;
/* Names an object that exists or will exist; {0} names none. Copies are the same reference, not one more: see
 * sk_acquire. Valid in every process of the runtime, so it may travel inside of other data. */
typedef struct sk_ref {
    uint64_t id;
} sk_ref;
/* Names an actor; {0} names none. May travel in data. Never names another one later. */
typedef struct sk_actor {
    uint64_t id;
} sk_actor;
/* Names a placement group; {0} names none. */
typedef struct sk_group {
    uint64_t id;
} sk_group;

/* Borrowed bytes. */
typedef struct sk_bytes {
    const void *data;
    size_t      size;
} sk_bytes;

/* ---- functions that run elsewhere ------------------------------------------------------------------------ */
/* One run of a task or method: its arguments, its answers. Valid until the function returns. */
typedef struct sk_call sk_call;
SK_API int sk_call_n_args(const sk_call *call);
/* Argument i, 16-byte aligned, borrowed until the function returns. An argument by reference is the object's value. */
SK_API sk_bytes sk_call_arg(const sk_call *call, int i);
/* Copy argument i into `ret`, which it must fill: SK_EINVAL names both sizes. */
static inline SK_NODISCARD sk_status sk_call_read(const sk_call *call, int i, void *ret, size_t size,
                                                  sk_error *reterr) {
    sk_bytes bytes = sk_call_arg(call, i);
    if (bytes.size != size)
        return SK_FAIL(reterr, SK_EINVAL, "argument %d has %zu bytes, wanted %zu", i, bytes.size, size);
    if (size) memcpy(ret, bytes.data, size);
    return SK_OK;
}
/* Append to return value i (0 unless more were asked for). Copied. */
SK_NODISCARD SK_API sk_status sk_call_write(sk_call *call, int i, const void *data, size_t size, sk_error *reterr);
/* Return value i as `size` bytes to be filled in place, 64-byte aligned: no copy. Not after sk_call_write of it. */
SK_NODISCARD SK_API sk_status sk_call_alloc(sk_call *call, int i, size_t size, void **ret_data, sk_error *reterr);
/* Was this call cancelled, or is its program ending? Long functions look now and then and return SK_ECANCELED. */
SK_API bool sk_call_cancelled(const sk_call *call);
/* Actors: keep this state for a restart. It replaces the one kept before, together with this call's answer or not at
 * all; a failing call keeps nothing. Copied. */
SK_NODISCARD SK_API sk_status sk_call_save(sk_call *call, const void *state, size_t size, sk_error *reterr);

/* A task. Its error reaches the caller with the function's name in front and the place where it arose. */
typedef sk_status (*sk_task_fn)(sk_call *call, sk_error *reterr);
typedef struct sk_task_def {
    const char *name; /* unique among all modules; by custom "module.function" */
    sk_task_fn  run;
} sk_task_def;

/* A kind of actor: static and const. */
typedef struct sk_actor_class {
    const char        *name;
    const char *const *methods; /* names, for messages; index = method number */
    int                n_methods;
    sk_status (*create)(sk_call *call, void **ret_self, sk_error *reterr);
    sk_status (*call)(void *self, int method, sk_call *call, sk_error *reterr);
    void (*destroy)(void *self);
    /* (optional) After a restart: create ran with the old arguments, this is what sk_call_save kept. */
    sk_status (*restore)(void *self, sk_bytes state, sk_error *reterr);
} sk_actor_class;

#define SK_MODULE_ABI 1
/* What a program or a plugin offers. A plugin is a shared library that exports skiff_module(). */
typedef struct sk_module {
    uint32_t                     abi;         /* SK_MODULE_ABI                                 */
    uint32_t                     struct_size; /* sizeof(sk_module); fields are only appended   */
    const char                  *name;
    const sk_task_def           *tasks;       /* nullable if n_tasks is 0                      */
    int                          n_tasks;
    const sk_actor_class *const *classes;     /* nullable if n_classes is 0                    */
    int                          n_classes;
} sk_module;
SK_API const sk_module *skiff_module(void); /* defined by plugins alone */

/* ---- the runtime ----------------------------------------------------------------------------------------- */
/* An amount of something counted: "cpu", "gpu", "memory" [bytes] or any other name. Fractions count to 1/10,000. */
typedef struct sk_resource {
    const char *name;
    double      amount;
} sk_resource;

/* Further hosts: this program is their *head*, and on each of them `skiff node --join ENDPOINT
 * [--worker PROGRAM]` runs workers for it. docs/cluster.md. */
typedef struct sk_cluster_params {
    const char        *bind;     /* where to listen: "tcp://127.0.0.1:0" (port 0: any free one), "tcp://10.0.0.1:7711";
                                    nothing is bound beyond loopback unless it says so                               */
    const char        *key_path; /* NULL: $SKIFF_CLUSTER_KEY, else ~/.config/skiff/cluster.key, made when missing    */
    bool               plain;    /* no encryption and no keys; on loopback only                                      */
    const char        *build;    /* hosts must have the very same text: what functions they run depends on it        */
    const char *const *worker_env; /* "NAME=VALUE" for the workers on all hosts                                      */
    int                n_worker_env;
} sk_cluster_params;

typedef struct sk_runtime_params {
    const char                *name;    /* for `skiff status`; NULL: the program's                                 */
    const sk_module *const    *modules; /* of this program                                                         */
    int                        n_modules;
    bool                       worker_has_modules; /* the worker program has them too: they may run in processes   */
    const char *const         *plugins; /* paths of shared libraries; they run in threads and processes            */
    int                        n_plugins;
    const char                *worker_path; /* NULL: $SKIFF_WORKER, else /proc/self/exe; run as `PATH worker ...`   */
    const sk_resource         *resources;   /* what there is; not named: cpu = cores, gpu = those of the machine,
                                               memory = that of the machine                                        */
    int                        n_resources;
    size_t                     store_bytes;   /* shared memory for large objects; 0: 30 % of the machine's; taken only
                                                 as it is used                                                      */
    size_t                     spill_bytes;   /* disk for what does not fit; 0: 4 x store_bytes; SIZE_MAX: none      */
    const char                *spill_dir;     /* NULL: $TMPDIR, else /tmp. The file has no name: nothing stays       */
    const char                *log_dir;       /* one file per worker process; NULL: the driver's standard error      */
    size_t                     max_pending;   /* tasks and calls without an answer before submitting waits; 0: 4 M   */
    int                        stop_timeout_ms; /* patience with workers at the end; 0: 5,000                        */
    const volatile int        *interrupted;   /* nullable; non-zero: waits end with SK_EINTERRUPTED                  */
    const sk_cluster_params   *cluster;       /* NULL: this host alone                                               */
} sk_runtime_params;

/* Start a runtime; nothing is spawned yet. `params` and all in it is copied, but modules and `interrupted`. Caller
 * destroys. */
SK_NODISCARD SK_API sk_status sk_runtime_create(const sk_runtime_params *params, sk_runtime **ret_rt, sk_error *reterr);
/* Stop all actors and workers, reap all processes, join all threads, forget all objects. The caller's own threads must
 * be out of it. NULL is fine. */
SK_API void sk_runtime_destroy(sk_runtime **self_p);
/* Inside of a task or method: the runtime it runs in. Elsewhere NULL. */
SK_API sk_runtime *sk_runtime_current(void);
/* Write what ran when and where (the last 65,536 runs) as a Chrome trace: chrome://tracing, ui.perfetto.dev. */
SK_NODISCARD SK_API sk_status sk_runtime_timeline(sk_runtime *rt, const char *path, sk_error *reterr);
/* Where hosts can join ("tcp://127.0.0.1:40123"), or "" without a cluster. Borrowed. */
SK_API const char *sk_runtime_endpoint(sk_runtime *rt);
/* Wait until at least n hosts have joined. SK_ETIMEOUT says how many have, and where they can join. *ret_n (nullable):
 * how many there are now. */
SK_NODISCARD SK_API sk_status sk_runtime_wait_hosts(sk_runtime *rt, int n, int timeout_ms, int *ret_n, sk_error *reterr);
/* The body of a worker program: `argv` after the word "worker". Returns the exit status. SIGINT is ignored there, a
 * first SIGTERM too (the driver stops its workers); a second one ends it at once. */
SK_API int sk_worker_main(int argc, char **argv, const sk_module *const *modules, int n_modules);

/* ---- objects --------------------------------------------------------------------------------------------- */
/* Store a copy. Caller releases. SK_ELIMIT names size, store and spill when neither has room, and what runs has made none
 * within 10 s. */
SK_NODISCARD SK_API sk_status sk_put(sk_runtime *rt, const void *data, size_t size, sk_ref *ret_ref, sk_error *reterr);
/* In two steps, without a copy: fill *ret_data (64-byte aligned), then seal; nobody can read before. Caller
 * releases. */
SK_NODISCARD SK_API sk_status sk_put_begin(sk_runtime *rt, size_t size, sk_ref *ret_ref, void **ret_data,
                                           sk_error *reterr);
SK_NODISCARD SK_API sk_status sk_put_end(sk_runtime *rt, sk_ref ref, sk_error *reterr);
/* Wait for the value. *ret_value (nullable) is 16-byte aligned, the object's own memory, and valid until this process
 * releases its last reference. Otherwise the status is that of the task or call that was to make it, or SK_ETIMEOUT
 * (it may be asked for again), SK_EDEAD, SK_ECANCELED, SK_ELOST, SK_EINTERRUPTED. */
SK_NODISCARD SK_API sk_status sk_get(sk_runtime *rt, sk_ref ref, int timeout_ms, sk_bytes *ret_value, sk_error *reterr);
/* Wait until all have values; ends at once when one has failed. */
SK_NODISCARD SK_API sk_status sk_get_all(sk_runtime *rt, const sk_ref *refs, int n, int timeout_ms, sk_error *reterr);
/* Wait until n_wanted have ended, with a value or not. ret_ended[i] (n bytes) is 1 where it has. SK_ETIMEOUT: fewer
 * have; both outputs hold then too. */
SK_NODISCARD SK_API sk_status sk_wait(sk_runtime *rt, const sk_ref *refs, int n, int n_wanted, int timeout_ms,
                                      uint8_t *ret_ended, int *ret_n_ended, sk_error *reterr);
/* One more count of this process on the object (for a reference that came inside of data: while its sender holds
 * it). */
SK_API void sk_acquire(sk_runtime *rt, sk_ref ref);
/* Give back one count and null *ref. The object goes when nobody counts on it: no process, no waiting task. A
 * result that is not there yet is dropped when it comes. {0} is fine. */
SK_API void sk_release(sk_runtime *rt, sk_ref *ref);
/* End what was to make it: a waiting task is taken out, a running one sees sk_call_cancelled; `kill` ends its worker
 * process. The reference then fails with SK_ECANCELED. Nothing happens to what has ended. */
typedef enum sk_cancel_how { SK_CANCEL_ASK, SK_CANCEL_KILL } sk_cancel_how;
SK_API void sk_cancel(sk_runtime *rt, sk_ref ref, sk_cancel_how how);

/* ---- tasks ----------------------------------------------------------------------------------------------- */
/* An argument: bytes (copied), or the value of an object, which the task waits for. */
typedef struct sk_arg {
    const void *data;
    size_t      size;
    sk_ref      ref;
} sk_arg;
static inline sk_arg sk_by_value(const void *data, size_t size) {
    sk_arg arg = {data, size, {0}};
    return arg;
}
static inline sk_arg sk_by_ref(sk_ref ref) {
    sk_arg arg = {NULL, 0, ref};
    return arg;
}

typedef enum sk_placement {
    SK_PLACE_DEFAULT, /* a process of this host where the function can run in one, else a thread; in a placement group
                         of a cluster: remote                                             */
    SK_PLACE_INLINE,  /* the calling thread, at once; actors: always their caller's       */
    SK_PLACE_THREAD,
    SK_PLACE_PROCESS, /* of this host                                                     */
    SK_PLACE_REMOTE   /* a process of any host that has joined; the driver's own is one of them only if a node runs on
                         it. Of equal hosts the one with the most of the arguments, then the one with the most free cpu */
} sk_placement;

/* All zero is a good start. */
typedef struct sk_task {
    const char        *function;    /* name of its sk_task_def                                                      */
    const char        *name;        /* for people; NULL: the function's                                             */
    const sk_arg      *args;
    int                n_args;
    int                n_returns;   /* 0: 1                                                                         */
    sk_placement       placement;
    const sk_resource *resources;   /* NULL: one cpu. {"cpu", 0}: none                                              */
    int                n_resources;
    int                max_retries; /* runs again when its worker died; 0: 3; negative: none                        */
    bool               retry_errors; /* also when it returned an error                                              */
    int                timeout_ms;  /* of one run; then its process is killed (a thread's answer is dropped) and the
                                       reference fails with SK_ETIMEOUT; 0: none                                    */
    sk_group           group;       /* runs in this placement group's share                                         */
    int                bundle;      /* of the group; negative: any                                                  */
} sk_task;

/* Run a function. Writes n_returns references; Caller releases each. Fails for what can be known now: an unknown
 * function, a request that can never be met. Waits while max_pending are under way. */
SK_NODISCARD SK_API sk_status sk_submit(sk_runtime *rt, const sk_task *task, sk_ref *ret_refs, sk_error *reterr);

/* ---- actors ---------------------------------------------------------------------------------------------- */
typedef struct sk_actor_params {
    const char        *class_name;
    const char        *name;       /* unique among living actors, found by sk_actor_find; NULL: "class-<number>"     */
    sk_placement       placement;
    const sk_arg      *args;       /* of its create                                                                 */
    int                n_args;
    const sk_resource *resources;  /* held while it lives; NULL: none                                               */
    int                n_resources;
    int                max_restarts;      /* within restart_window_s; negative: no limit                            */
    double             restart_window_s;  /* 0: 60; INFINITY: its whole life                                        */
    int                restart_backoff_ms; /* before the first, doubled for each further one up to 30 s; 0: 10      */
    int                max_task_retries;  /* of a call that was running when its worker died; negative: no limit;
                                             0: such a call fails with SK_EDEAD, and may have taken effect          */
    int                max_concurrency;   /* calls that run at the same time; 0: 1. Above 1 their order is not kept  */
    int                max_pending_calls; /* more fail with SK_ELIMIT (in a worker: their references do); 0: no limit */
    sk_group           group;
    int                bundle;
} sk_actor_params;

/* Order an actor; it is made in the background, in order with its calls. Fails for what can be known now. */
SK_NODISCARD SK_API sk_status sk_actor_create(sk_runtime *rt, const sk_actor_params *params, sk_actor *ret_actor,
                                              sk_error *reterr);
/* Wait until it is made. Its create's error, SK_EDEAD, SK_ETIMEOUT. */
SK_NODISCARD SK_API sk_status sk_actor_wait(sk_runtime *rt, sk_actor actor, int timeout_ms, sk_error *reterr);
/* The living actor of that name; SK_ENOTFOUND. */
SK_NODISCARD SK_API sk_status sk_actor_find(sk_runtime *rt, const char *name, sk_actor *ret_actor, sk_error *reterr);

typedef struct sk_method {
    int           method;
    const sk_arg *args;
    int           n_args;
    int           n_returns;  /* 0: 1                                   */
    int           timeout_ms; /* as of tasks; 0: none                   */
} sk_method;
/* Call a method. Caller releases the references. */
SK_NODISCARD SK_API sk_status sk_actor_call(sk_runtime *rt, sk_actor actor, const sk_method *method, sk_ref *ret_refs,
                                            sk_error *reterr);
/* SK_OK, or SK_EDEAD with how it died, without waiting. *ret_pid (nullable): its process, the own one for threads. */
SK_NODISCARD SK_API sk_status sk_actor_check(sk_runtime *rt, sk_actor actor, int *ret_pid, sk_error *reterr);
/* Ask it to end after the calls made before; returns at once. */
SK_API void sk_actor_stop(sk_runtime *rt, sk_actor actor);
/* Stop all n and wait until they have ended; those that need longer than the timeout (a common one) are killed (a
 * thread cannot be: it is left behind with an error in the log and ends after its present call). */
SK_API void sk_actor_join(sk_runtime *rt, const sk_actor *actors, int n, int timeout_ms);
/* End it now, without a restart if so said: calls without an answer fail with SK_EDEAD. */
typedef enum sk_kill_how { SK_KILL_FOR_GOOD, SK_KILL_MAY_RESTART } sk_kill_how;
SK_API void sk_actor_kill(sk_runtime *rt, sk_actor actor, sk_kill_how how);

/* ---- placement groups: shares of the resources, reserved together ---------------------------------------- */
typedef struct sk_bundle {
    const sk_resource *resources;
    int                n_resources;
} sk_bundle;
/* Over the hosts that have joined, in a runtime with a cluster; else on this one, where pack, spread and strict pack are
 * alike and strict spread fits one bundle. */
typedef enum sk_strategy { SK_PACK, SK_SPREAD, SK_STRICT_PACK, SK_STRICT_SPREAD } sk_strategy;
/* Reserve all bundles or wait for them. Fails at once when it never can. Caller destroys. */
SK_NODISCARD SK_API sk_status sk_group_create(sk_runtime *rt, const sk_bundle *bundles, int n, sk_strategy strategy,
                                              sk_group *ret_group, sk_error *reterr);
SK_NODISCARD SK_API sk_status sk_group_wait(sk_runtime *rt, sk_group group, int timeout_ms, sk_error *reterr);
/* Give the shares back; waiting tasks of the group fail with SK_ECANCELED, its actors are killed. {0} is fine. */
SK_API void sk_group_destroy(sk_runtime *rt, sk_group *group);

#ifdef __cplusplus
}
#endif
#endif
