/* bench_runtime: what the files of `skiff bench runtime` share. bench_runtime.c has the rows that are timed in this
 * process, bench_runtime_fresh.c those that need a new one, bench_runtime_module.c what runs in the workers. */
#ifndef SK_CLI_BENCH_RUNTIME_H
#define SK_CLI_BENCH_RUNTIME_H
#include "cli/bench.h"
#include "skiff/skiff.h"

enum {
    SK_BENCH_RT_ACTORS = 2,        /* that the callers of actor_nn_async share        */
    SK_BENCH_RT_TIMEOUT_MS = 60000 /* of every wait: only a broken runtime meets it   */
};

/* Argument of the task "bench.caller". */
typedef struct sk_bench_caller_args {
    sk_actor actors[SK_BENCH_RT_ACTORS]; /* called in turn                            */
    int32_t  n_calls;                    /* all under way before the first is awaited */
    int32_t  pad;
} sk_bench_caller_args;

/* A runtime with two cpus (the peers' setting) and the bench's module in worker processes. Caller destroys. */
SK_NODISCARD sk_status sk_bench_rt_open(sk_runtime **ret_rt, sk_error *reterr);

/* ---- bench_runtime_fresh.c ------------------------------------------------------------------------------------ */
/* Is the row wanted (--row)? */
int sk_bench_rt_wants(const sk_bench *self, const char *row);
/* start_ms, first_task_ms, idle_mb. */
SK_NODISCARD sk_status sk_bench_rt_start(const sk_bench *self, sk_error *reterr);
/* tasks_queued_1m_s. */
SK_NODISCARD sk_status sk_bench_rt_queue(const sk_bench *self, sk_error *reterr);
/* Processes of this program that end at once, started together, per second: the limit of actor_create_process. */
SK_NODISCARD sk_status sk_bench_rt_spawn_rate(double *ret_per_s, sk_error *reterr);

#endif
