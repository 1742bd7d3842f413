/* train: one training run, from a bound config to a result: builds environments, policy, runners and algorithm,
 * then samples, learns, evaluates, checkpoints and reports until a stop condition is met.
 *
 * The run folder (rl/run_dir.h) is the caller's; the loop writes checkpoints into it. Progress goes to a callback,
 * so that the console is the command line's business.
 * Threads: called by the driver's main thread; `interrupted` may be set by a signal handler. */
#ifndef SK_RL_TRAIN_H
#define SK_RL_TRAIN_H
#include "core/base/config.h"
#include "core/base/status.h"
#include "rl/metrics.h"
#include "rl/train_config.h"

typedef struct sk_train_progress {
    const sk_metrics *metrics;    /* borrowed for the call                                           */
    double            done;       /* share of the nearest budget used, 0..1; < 0 = no budget          */
    double            eta_s;      /* time to the end of that budget; < 0 = unknown                    */
    int               is_last;    /* the final report                                                 */
    int               evaluated;  /* an evaluation is new in this report                              */
    const sk_train_config *config; /* borrowed for the call                                            */
} sk_train_progress;

/* Waiting for other hosts (env_runners.placement remote): before training starts, whenever their number changes. */
typedef struct sk_train_waiting {
    int         n_joined, n_wanted; /* hosts; n_joined >= n_wanted (0: too late): it is over */
    const char *endpoint;           /* where they can join; borrowed for the call    */
} sk_train_waiting;

typedef struct sk_train_params {
    sk_config             *cfg;         /* opened, not yet bound (train binds common and algorithm's keys) */
    const char            *run_dir;     /* exists; NULL = keep nothing on disk                             */
    int                    resume;      /* 1 = go on from the newest checkpoint in run_dir                 */
    const char            *init_from;   /* NULL, or a policy file / checkpoint whose parameters to start with */
    const char            *worker_path; /* see sk_runtime_params                                           */
    const char            *build;       /* nullable; which build this is, for other hosts: see sk_cluster_params */
    const volatile int    *interrupted; /* nullable; non-zero: finish the iteration, checkpoint, stop      */
    void (*on_progress)(void *user, const sk_train_progress *progress); /* nullable; after every iteration */
    void (*on_waiting)(void *user, const sk_train_waiting *waiting);    /* nullable                        */
    void                  *user;
} sk_train_params;

typedef enum sk_stop_kind { SK_STOP_BUDGET, SK_STOP_GOAL, SK_STOP_INTERRUPTED } sk_stop_kind;

typedef struct sk_train_result {
    sk_stop_kind kind;
    char         stop_reason[128]; /* "evaluation/episode_return_mean 487.2 >= 475"                       */
    int          goal_named, goal_met;
    double       wall_s;           /* of this process's part of the run                                  */
    sk_metrics   metrics;          /* the last values, final evaluation included                         */
    char         params_sha256[65];
    char         device[64];
} sk_train_result;

/* Check everything that can be checked before starting: binds the config, opens the environment, refuses what cannot
 * work. Used by train itself and by `skiff config`. `ret_text` (nullable): the resolved config as YAML with derived
 * values as comments; caller frees. SK_ECONFIG, SK_EENV, ... */
SK_NODISCARD sk_status sk_train_resolve(sk_config *cfg, char **ret_text, sk_error *reterr);

/* Run. SK_OK with *ret_result also when interrupted. SK_EDEAD (a runner died), SK_EENV, SK_EIO, SK_ECONFIG ... */
SK_NODISCARD sk_status sk_train_run(const sk_train_params *params, sk_train_result *ret_result, sk_error *reterr);

#endif
