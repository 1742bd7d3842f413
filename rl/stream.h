/* stream: the on-policy source: runners in the placement the config says, the experience block they fill and the
 * weights block they read. next() hands out the present weights, lets all runners sample one fragment, and gives back
 * the whole block; rows are in order of the global environment index whatever the number of runners, so nothing
 * downstream can tell 1 from 4 runners. A runner whose process dies is made anew and samples its fragment again
 * (env_runners.restart_failed_env_runners), so nothing downstream can tell that either. Runners on other hosts get the
 * weights and give their fragments in messages (rl/fragment.h); the block is the same again.
 *
 * Threads: one at a time. */
#ifndef SK_RL_STREAM_H
#define SK_RL_STREAM_H
#include "policies/policy.h"
#include "rl/env.h"
#include "rl/metrics.h"
#include "rl/source.h"
#include "rl/train_config.h"
#include "skiff/skiff.h"

typedef struct sk_stream_source sk_stream_source;

typedef struct sk_stream_params {
    sk_runtime            *runtime;
    const sk_env          *env;
    const sk_train_config *config;
    sk_policy             *policy;  /* read at every next()                       */
    sk_metrics            *metrics; /* counters and times are added here          */
    sk_episode_window     *window;  /* finished episodes are pushed here          */
    const char            *env_text; /* of `env` (rl/runner_arg.h); NULL: as the config says now. Borrowed for create */
    int                    keep_final_obs; /* the algorithm asks for that column  */
    const volatile int    *interrupted;    /* nullable; non-zero: a wait for remote runners to start ends */
} sk_stream_params;

/* Start the runners. Caller destroys (before the runtime). */
SK_NODISCARD sk_status sk_stream_create(const sk_stream_params *params, sk_stream_source **ret_stream,
                                        sk_error *reterr);
void       sk_stream_destroy(sk_stream_source **self_p);
sk_source *sk_stream_source_of(sk_stream_source *self);
sk_batch_shape sk_stream_shape(const sk_stream_source *self); /* of every batch */
/* SK_OK, or SK_EDEAD with which runner died and how; one that is being made anew has not. */
SK_NODISCARD sk_status sk_stream_check(sk_stream_source *self, sk_error *reterr);

/* All environments' state as one byte string in global order, independent of how they were dealt out. Caller frees
 * *ret_bytes. *ret_complete 0: the environment cannot save its state. */
SK_NODISCARD sk_status sk_stream_save(sk_stream_source *self, void **ret_bytes, size_t *ret_size, int *ret_complete,
                                      sk_error *reterr);
/* Put it back; the next sample is at global step `step`. */
SK_NODISCARD sk_status sk_stream_load(sk_stream_source *self, const void *bytes, size_t size, int64_t step,
                                      sk_error *reterr);
/* Global step index of the next sample, per environment. */
int64_t sk_stream_step(const sk_stream_source *self);

#endif
