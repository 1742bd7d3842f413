/* replay_config: the keys that all algorithms learning from a replay share. Each puts SK_REPLAY_KEYS into its own
 * table. Names are RLlib's. */
#ifndef SK_RL_REPLAY_CONFIG_H
#define SK_RL_REPLAY_CONFIG_H
#include "rl/train_config.h"
#include <stdbool.h>

typedef struct sk_replay_config {
    int64_t     capacity;          /* transitions                                                        */
    bool        prioritized;
    double      alpha;             /* of priorities                                                      */
    sk_schedule beta;              /* of importance weights                                              */
    const char *file;              /* "" = memory                                                        */
    bool        save;              /* contents go with checkpoints                                       */
    int64_t     n_step;
    double      gamma;
    int64_t     batch_size;        /* transitions per update                                             */
    int64_t     learning_starts;   /* env steps of uniform actions before the first update               */
    double      training_intensity; /* transitions drawn per transition added; 0 = one update per fragment */
    int64_t     min_iteration_steps; /* env steps of an iteration, at least                              */
} sk_replay_config;

enum { SK_REPLAY_N_KEYS = 12 };

/* In a table whose AT(field) is offsetof(the algorithm's config, field), which has `sk_replay_config replay`. */
#define SK_REPLAY_KEYS                                                                                                 \
    {"training.gamma", SK_KEY_FLOAT, AT(replay.gamma), "0.99", 0.0, 1.0, .unit = "", .help = "Discount factor."},      \
    {"training.n_step", SK_KEY_INT, AT(replay.n_step), "1", 1, 1000, .unit = "env steps",                              \
     .help = "Rewards summed before the value of what follows; never across an episode's end."},                       \
    {"training.train_batch_size", SK_KEY_INT, AT(replay.batch_size), "256", 1, 1 << 20, .unit = "transitions",         \
     .help = "Transitions drawn from the replay for each update."},                                                    \
    {"training.training_intensity", SK_KEY_FLOAT, AT(replay.training_intensity), "0", 0.0, 1e6,                        \
     .unit = "transitions",                                                                                            \
     .help = "Transitions drawn from the replay for each one added; 0 = one update per fragment of all runners."},     \
    {"training.num_steps_sampled_before_learning_starts", SK_KEY_INT, AT(replay.learning_starts), "100", 0, 1e12,      \
     .unit = "env steps", .help = "Steps with uniformly random actions before the first update."},                     \
    {"training.min_sample_timesteps_per_iteration", SK_KEY_INT, AT(replay.min_iteration_steps), "1000", 1, 1e9,        \
     .unit = "env steps", .help = "An iteration, after which metrics are reported, takes at least so many."},          \
    {"replay_buffer_config.capacity", SK_KEY_INT, AT(replay.capacity), "1000000", 2, 0x1p29, .unit = "transitions",    \
     .help = "Size of the replay; memory is taken as it fills."},                                                      \
    {"replay_buffer_config.prioritized", SK_KEY_BOOL, AT(replay.prioritized), "false", .unit = "",                     \
     .help = "Draw in proportion to the last TD error (Schaul et al. 2016)."},                                         \
    {"replay_buffer_config.alpha", SK_KEY_FLOAT, AT(replay.alpha), "0.6", 0.0, 1.0, .unit = "",                        \
     .help = "prioritized: exponent of the priorities; 0 = uniform."},                                                 \
    {"replay_buffer_config.beta", SK_KEY_SCHEDULE, AT(replay.beta), "0.4", 0.0, 1.0, .unit = "",                       \
     .help = "prioritized: exponent of the importance weights; 1 corrects the draw fully."},                           \
    {"replay_buffer_config.file", SK_KEY_STRING, AT(replay.file), "", .unit = "",                                      \
     .help = "Keep the replay in this memory-mapped file, for one larger than memory; empty = in memory."},            \
    {"replay_buffer_config.save_in_checkpoints", SK_KEY_BOOL, AT(replay.save), "false", .unit = "",                    \
     .help = "Checkpoints hold the replay's contents, so that a resumed run goes on bit for bit; else it fills anew."}

/* What the keys cannot say one by one: sizes that fit each other, options of on-policy learning. SK_ECONFIG. */
SK_NODISCARD sk_status sk_replay_config_check(const sk_replay_config *self, const sk_train_config *config,
                                              const sk_config *cfg, sk_error *reterr);

#endif
