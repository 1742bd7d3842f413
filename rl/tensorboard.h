/* tensorboard: writes metrics as a TensorBoard event file, one event per report with the metrics' names as
 * tags and the env steps as step.
 *
 *   events.out.tfevents.<time>.<host>.<pid>.<n>   TFRecords of tensorboard.Event (event.proto)
 *
 * Events are collected and written at most once a second, the newest one excepted: a later report of the
 * same step still replaces it. flush and destroy write it too. Threads: one owner. After create, adding
 * allocates nothing. */
#ifndef SK_RL_TENSORBOARD_H
#define SK_RL_TENSORBOARD_H
#include "core/base/status.h"
#include "rl/metrics.h"
#include <stdint.h>

typedef struct sk_tensorboard sk_tensorboard;

/* Begin a new file in `folder`, such that TensorBoard reads it after those that are there. SK_EIO, SK_ENOMEM.
 * Caller destroys. */
SK_NODISCARD sk_status sk_tensorboard_create(const char *folder, sk_tensorboard **ret_board,
                                             sk_error *reterr);
/* Destroy and null *self_p, writing what has not been written; whoever wants to know of a failure flushes
 * before. NULL is fine. */
void        sk_tensorboard_destroy(sk_tensorboard **self_p);
const char *sk_tensorboard_path(const sk_tensorboard *self); /* Borrowed. */

/* A run goes on: what older files say about `step` and later ones is void. Call before the first add. */
SK_NODISCARD sk_status sk_tensorboard_restart(sk_tensorboard *self, int64_t step, sk_error *reterr);
/* One event with all present metrics, in place of the one before if that had the same step. SK_EIO: a
 * write failed; the events that were waiting for it are lost, the file ends with the last one written. */
SK_NODISCARD sk_status sk_tensorboard_add(sk_tensorboard *self, const sk_metrics *metrics, int64_t step,
                                          sk_error *reterr);
/* Write all events. SK_EIO as above. */
SK_NODISCARD sk_status sk_tensorboard_flush(sk_tensorboard *self, sk_error *reterr);

#endif
