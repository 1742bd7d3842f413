/* bench: what the benchmarks of `skiff bench` share: rows out, medians, the machine's limit. Rows are named as in the
 * peers' table of docs/performance.md. Threads: one. */
#ifndef SK_CLI_BENCH_H
#define SK_CLI_BENCH_H
#include "core/base/status.h"

typedef struct sk_bench {
    int         json;       /* one JSON object per row on stdout, else a table line */
    int         n_repeats;  /* the median is reported                               */
    double      fma_gflops; /* of one core, measured at start [GFLOP/s]             */
    int         n_cores;
    int         window_ms;  /* runtime: each repeat takes so long                   */
    const char *row;        /* runtime: only this row; NULL: all                    */
} sk_bench;

typedef struct sk_bench_row {
    const char *bench, *row, *unit;
    double      value;
    double      limit;      /* what the machine could do at most in the same unit; 0 = not stated */
    const char *settings;
} sk_bench_row;

void   sk_bench_print(const sk_bench *self, const sk_bench_row *row);
double sk_bench_median(double *values, int n); /* sorts */
/* Multiply-adds from registers on one core for about 0.1 s [GFLOP/s]. */
double sk_bench_fma_gflops(void);

/* The benchmarks; each prints its rows. */
SK_NODISCARD sk_status sk_bench_ppo(const sk_bench *self, sk_error *reterr);
SK_NODISCARD sk_status sk_bench_sac(const sk_bench *self, sk_error *reterr);
SK_NODISCARD sk_status sk_bench_td3(const sk_bench *self, sk_error *reterr);
SK_NODISCARD sk_status sk_bench_dqn(const sk_bench *self, sk_error *reterr);
SK_NODISCARD sk_status sk_bench_env(const sk_bench *self, sk_error *reterr);
SK_NODISCARD sk_status sk_bench_inference(const sk_bench *self, sk_error *reterr);
SK_NODISCARD sk_status sk_bench_kernels(const sk_bench *self, sk_error *reterr);
/* SK_EUNSUPPORTED: built without MuJoCo. */
SK_NODISCARD sk_status sk_bench_mujoco(const sk_bench *self, sk_error *reterr);
SK_NODISCARD sk_status sk_bench_replay(const sk_bench *self, sk_error *reterr);
SK_NODISCARD sk_status sk_bench_runtime(const sk_bench *self, sk_error *reterr);

/* Is there such a row in `skiff bench runtime`? SK_ENOTFOUND names the nearest. */
SK_NODISCARD sk_status sk_bench_runtime_check_row(const char *name, sk_error *reterr);
/* Is argv (from the word "bench" on) what `skiff bench runtime` starts new processes with? Then do it; *ret_code is the
 * exit status. */
int sk_bench_runtime_is_child(int argc, char **argv, int *ret_code);

#endif
