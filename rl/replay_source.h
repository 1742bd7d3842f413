/* replay_source: the off-policy source. next() lets the stream's runners add experience to a replay (rl/replay.h) as
 * the rate limiter asks for it, then draws a batch: `training_intensity` transitions are drawn for each one added,
 * counted exactly, whatever the number of runners (Reverb's sample-to-insert ratio as a hyperparameter of its own).
 *
 * Until `learning_starts` env steps were taken, actions are uniform and nothing is drawn. The observation normaliser is
 * updated with every fragment, in order of rows.
 * Threads: one at a time. */
#ifndef SK_RL_REPLAY_SOURCE_H
#define SK_RL_REPLAY_SOURCE_H
#include "rl/metrics.h"
#include "rl/replay.h"
#include "rl/replay_config.h"
#include "rl/source.h"
#include "rl/stream.h"

typedef struct sk_replay_source sk_replay_source;

typedef struct sk_replay_source_params {
    sk_stream_source       *stream; /* must keep final observations; outlives this      */
    const sk_replay_config *own;
    const sk_train_config  *config;
    const char             *env_name;
    sk_policy              *policy;
    sk_metrics             *metrics;
} sk_replay_source_params;

/* SK_ECONFIG, SK_ENOMEM, SK_EIO. Caller destroys, before the stream. */
SK_NODISCARD sk_status sk_replay_source_create(const sk_replay_source_params *params, sk_replay_source **ret_source,
                                               sk_error *reterr);
void           sk_replay_source_destroy(sk_replay_source **self_p);
sk_source     *sk_replay_source_of(sk_replay_source *self);
sk_batch_shape sk_replay_source_shape(const sk_replay_source *self); /* of every batch */

/* The limiter's position and, if asked for, the replay's contents; into / from an open container. Loading one without
 * contents: the replay is filled anew before learning goes on (with the policy's own actions, if it had learned), and a
 * line says so. */
SK_NODISCARD sk_status sk_replay_source_save(sk_replay_source *self, sk_pack_writer *writer, sk_error *reterr);
SK_NODISCARD sk_status sk_replay_source_load(sk_replay_source *self, const sk_pack *pack, sk_error *reterr);

#endif
