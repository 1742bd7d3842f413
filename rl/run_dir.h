/* run_dir: the folder that one run leaves behind.
 *
 *   config.yaml      the resolved config, so that the folder alone can be resumed and evaluated
 *   metrics.jsonl    one JSON object per training iteration, in their order
 *   events.out.*     the same for TensorBoard (rl/tensorboard.h); every part of a run adds a file
 *   progress.csv     the same as a table
 *   log.txt          what was said, with the time
 *   result.json      written when the run has ended; one JSON object
 *   checkpoints/     rl/checkpoint.h
 *   logs/            what runners in processes wrote to standard error (made by rl/train.c)
 *
 * A write that fails is told once per file, with the path and what the system said; later ones try again and
 * stay silent. n_failed tells at the end that something is missing. Only one process at a time writes a
 * folder (it is locked). Threads: log may be called from any thread (calls must not overlap), everything else
 * by one owner. */
#ifndef SK_RL_RUN_DIR_H
#define SK_RL_RUN_DIR_H
#include "core/base/log.h"
#include "core/base/status.h"
#include "rl/metrics.h"
#include "rl/train.h"
#include <stdbool.h>

typedef struct sk_run_dir sk_run_dir;

typedef struct sk_run_dir_params {
    const char *path; /* made if need be; NULL: a new runs/<stem>_<YYYYmmdd-HHMMSS>[-n]       */
    const char *stem; /* used if path is NULL                                                */
    int resume;       /* 1 = the folder must be there, and metrics.jsonl and log.txt continue */
} sk_run_dir_params;

/* Make or enter the folder and lock it. SK_EINVAL: it holds a run already, or another process writes it;
 * SK_ENOTFOUND: nothing to resume; SK_EIO. Caller destroys. */
SK_NODISCARD sk_status sk_run_dir_create(const sk_run_dir_params *params, sk_run_dir **ret_dir,
                                         sk_error *reterr);
void sk_run_dir_destroy(sk_run_dir **self_p);
const char *sk_run_dir_path(const sk_run_dir *self); /* Borrowed. */

/* The run is on: write config.yaml and remove the result of an earlier part. Only the first call does it. */
SK_NODISCARD sk_status sk_run_dir_begin(sk_run_dir *self, const char *config_text, sk_error *reterr);
/* Append `line` (of sk_metrics_json) to metrics.jsonl. Another report of the same iteration (the final one)
 * replaces the one before. The first report after a resume cuts what the earlier part wrote after its last
 * checkpoint: the lines of this and later iterations. SK_EIO, once. */
SK_NODISCARD sk_status sk_run_dir_report(sk_run_dir *self, const sk_metrics *metrics, const char *line,
                                         sk_error *reterr);
/* The same report to progress.csv, made by the first one; resumed and replaced in the same way. SK_EIO, once;
 * SK_EVERSION, once: the file has other columns. */
SK_NODISCARD sk_status sk_run_dir_report_csv(sk_run_dir *self, const sk_metrics *metrics, sk_error *reterr);
/* The same report to TensorBoard's event file, made by the first one. What was not yet written (about a second's
 * reports) is written by finish and destroy. SK_EIO, once. */
SK_NODISCARD sk_status sk_run_dir_report_events(sk_run_dir *self, const sk_metrics *metrics, sk_error *reterr);
/* Append a line to log.txt, with the time. SK_EIO, once. */
SK_NODISCARD sk_status sk_run_dir_log(sk_run_dir *self, sk_log_level level, const char *line,
                                      sk_error *reterr);
/* Write what is left of the events and result.json. SK_EIO. */
SK_NODISCARD sk_status sk_run_dir_finish(sk_run_dir *self, const char *result_text, sk_error *reterr);
/* Files that could not be written as they should. */
int sk_run_dir_n_failed(const sk_run_dir *self);

/* result.json: what came of the run. `command`: how it was started. Caller frees *ret_text. SK_ENOMEM. */
SK_NODISCARD sk_status sk_run_result_json(const sk_train_result *result, const char *command, char **ret_text,
                                          sk_error *reterr);

#endif
