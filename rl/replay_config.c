#include "rl/replay_config.h"

sk_status sk_replay_config_check(const sk_replay_config *self, const sk_train_config *config, const sk_config *cfg,
                                 sk_error *reterr) {
    int64_t round = sk_train_config_batch_steps(config), n_envs = sk_train_config_n_envs(config);
    if (self->capacity < self->batch_size || self->capacity < 2 * round || self->capacity < self->learning_starts)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: replay_buffer_config.capacity %lld is too small: an update takes %lld transitions "
                       "(training.train_batch_size), a fragment of all runners brings %lld, and learning starts after %lld "
                       "(training.num_steps_sampled_before_learning_starts)",
                       sk_config_mark(cfg, "replay_buffer_config.capacity"), (long long)self->capacity,
                       (long long)self->batch_size, (long long)round, (long long)self->learning_starts);
    if (self->n_step > self->capacity / n_envs / 2)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: training.n_step %lld is too long for a replay of %lld steps per environment",
                       sk_config_mark(cfg, "training.n_step"), (long long)self->n_step,
                       (long long)(self->capacity / n_envs));
    if (config->env_runners.normalize_rewards)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: env_runners.normalize_rewards is not for algorithms with a replay: old "
                       "rewards would have another scale than new ones; env_runners.clip_rewards does",
                       sk_config_mark(cfg, "env_runners.normalize_rewards"));
    return SK_OK;
}
