/* checkpoint: everything a run needs to go on bit for bit: run_dir/checkpoints/<env steps>/ with policy.skiff (the
 * policy alone, for use anywhere) and state.skiff (counters, optimizer, schedules' position, environments).
 * A checkpoint appears whole or not at all: it is written beside and renamed. checkpoints/best/policy.skiff is the
 * policy with the best evaluation so far.
 * Threads: one owner. */
#ifndef SK_RL_CHECKPOINT_H
#define SK_RL_CHECKPOINT_H
#include "policies/policy.h"
#include "rl/algorithm.h"
#include "rl/metrics.h"
#include "rl/replay_source.h"
#include "rl/stream.h"

enum { SK_CHECKPOINT_VERSION = 1 };

/* What is saved and restored; all borrowed. */
typedef struct sk_checkpoint_state {
    const sk_train_config  *config;
    const sk_env           *env;
    sk_policy              *policy;
    const sk_algorithm_api *algorithm;
    void                   *algorithm_self;
    sk_stream_source       *stream;
    sk_replay_source       *replay;       /* NULL: none                                    */
    sk_metrics             *metrics;
    sk_episode_window      *window;
    double                 *best_return;  /* of evaluations so far; -INFINITY = none       */
    const char             *device;       /* name; another instruction set is warned about */
} sk_checkpoint_state;

/* Write checkpoints/<env_steps>/ and remove all but the `keep` newest. SK_EIO: the former checkpoints are untouched. */
SK_NODISCARD sk_status sk_checkpoint_save(const char *run_dir, const sk_checkpoint_state *state, int64_t keep,
                                          sk_error *reterr);
/* Write checkpoints/best/policy.skiff. */
SK_NODISCARD sk_status sk_checkpoint_save_best(const char *run_dir, const sk_policy *policy, sk_error *reterr);
/* Env steps of the newest checkpoint, -1 if there is none. */
int64_t sk_checkpoint_newest(const char *run_dir);

/* Read the policy of the newest checkpoint (before runners and algorithm exist), then the rest into them. SK_ENOTFOUND,
 * SK_ECORRUPT, SK_EVERSION, SK_ECONFIG (the checkpoint is of another experiment; names what differs). */
SK_NODISCARD sk_status sk_checkpoint_load_policy(const char *run_dir, sk_policy **ret_policy, sk_error *reterr);
SK_NODISCARD sk_status sk_checkpoint_load_state(const char *run_dir, const sk_checkpoint_state *state,
                                                sk_error *reterr);

#endif
