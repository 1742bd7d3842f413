#include "rl/replay_source.h"

#include "core/base/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sk_replay_source {
    sk_source               base;
    sk_replay_source_params p;
    sk_replay              *replay;
    sk_batch_shape          shape;
    int                     n_envs;
    double                  per_round;  /* transitions drawn per fragment of all runners  */
    int64_t                 n_warm;     /* env steps still to be added before learning    */
    int                     is_uniform; /* their actions are uniform                      */
    double                  owed;       /* transitions to be drawn before more are added  */
};

/* Rewards as the learner is to see them; the statistics of episodes have been taken. */
static void clip_rewards(const sk_replay_source *self, const sk_batch *b) {
    float clip = (float)self->p.config->env_runners.clip_rewards;
    for (int i = 0; clip > 0.0f && i < b->shape.n_steps * b->shape.n_rows; i++)
        b->reward[i] = fmaxf(-clip, fminf(clip, b->reward[i]));
}

/* One fragment of all runners. */
static sk_status collect(sk_replay_source *self, sk_error *reterr) {
    sk_exploration *explore = sk_policy_exploration(self->p.policy), kept = *explore;
    const sk_batch *b = NULL;
    int             warm = self->n_warm > 0;
    if (warm && self->is_uniform) *explore = (sk_exploration){.kind = SK_EXPLORE_UNIFORM};
    sk_status status = sk_source_next(sk_stream_source_of(self->p.stream), &b, reterr);
    *explore = kept;
    SK_TRY(status);
    clip_rewards(self, b);
    SK_TRY(sk_replay_add(self->replay, b, reterr));
    if (sk_policy_filter(self->p.policy) == SK_FILTER_MEAN_STD)
        sk_normalizer_update(sk_policy_normalizer(self->p.policy), b->obs, b->valid,
                             (int64_t)b->shape.n_steps * b->shape.n_rows);
    if (warm) self->n_warm -= (int64_t)b->shape.n_steps * self->n_envs;
    else self->owed += self->per_round;
    return SK_OK;
}

static sk_status replay_next(sk_source *base, const sk_batch **ret_batch, sk_error *reterr) {
    sk_replay_source *self = (sk_replay_source *)base;
    double            n = (double)self->p.own->batch_size;
    while (self->n_warm > 0 || self->owed < n || sk_replay_size(self->replay) == 0) SK_TRY(collect(self, reterr));
    self->owed -= n;
    double beta = sk_schedule_at(&self->p.own->beta, sk_metrics_get(self->p.metrics, SK_METRIC_ENV_STEPS, 0.0));
    sk_metrics_set(self->p.metrics, SK_METRIC_REPLAY_SIZE, (double)sk_replay_size(self->replay));
    sk_metrics_add(self->p.metrics, SK_METRIC_ENV_STEPS_TRAINED, n);
    return sk_replay_draw(self->replay, (int)n, beta, ret_batch, reterr);
}

static sk_status replay_feedback(sk_source *base, const float *td_error, int n, sk_error *reterr) {
    return sk_replay_set_priorities(((sk_replay_source *)base)->replay, td_error, n, reterr);
}

static const sk_source_ops replay_ops = {replay_next, replay_feedback};

sk_source     *sk_replay_source_of(sk_replay_source *self) { return &self->base; }
sk_batch_shape sk_replay_source_shape(const sk_replay_source *self) { return self->shape; }

sk_status sk_replay_source_create(const sk_replay_source_params *p, sk_replay_source **ret_source, sk_error *reterr) {
    sk_batch_shape         s = sk_stream_shape(p->stream);
    const sk_replay_config *own = p->own;
    sk_replay_source      *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "replay: no memory");
    self->base.ops = &replay_ops;
    self->p = *p;
    self->n_envs = (int)sk_train_config_n_envs(p->config);
    self->shape = (sk_batch_shape){.n_steps = 1, .n_rows = (int32_t)own->batch_size, .obs_dim = s.obs_dim,
                                   .action_slots = s.action_slots, .mask_size = s.mask_size, .n_fragments = 1};
    self->per_round = own->training_intensity > 0.0
                          ? own->training_intensity * (double)sk_train_config_batch_steps(p->config)
                          : (double)own->batch_size;
    self->n_warm = own->learning_starts;
    self->is_uniform = 1;
    sk_replay_params params = {.capacity = own->capacity, .n_rows = s.n_rows, .obs_dim = s.obs_dim,
                               .action_slots = s.action_slots, .mask_size = s.mask_size, .n_step = (int)own->n_step,
                               .gamma = own->gamma, .max_draw = (int)own->batch_size, .prioritized = own->prioritized,
                               .alpha = own->alpha, .seed = (uint64_t)p->config->seed,
                               .path = own->file && *own->file ? own->file : NULL, .env_name = p->env_name};
    sk_status status = sk_replay_create(&params, &self->replay, reterr);
    if (status != SK_OK) {
        free(self);
        return status;
    }
    *ret_source = self;
    return SK_OK;
}

void sk_replay_source_destroy(sk_replay_source **self_p) {
    if (!self_p || !*self_p) return;
    sk_replay_destroy(&(*self_p)->replay);
    free(*self_p);
    *self_p = NULL;
}

sk_status sk_replay_source_save(sk_replay_source *self, sk_pack_writer *writer, sk_error *reterr) {
    json_t *json = json_pack("{s:I, s:b, s:b}", "n_warm", (json_int_t)self->n_warm, "is_uniform", self->is_uniform,
                             "contents", self->p.own->save);
    if (!json || json_object_set_new(sk_pack_writer_json(writer), "replay_source", json))
        return SK_FAIL(reterr, SK_ENOMEM, "replay: no memory for a checkpoint");
    SK_TRY(sk_pack_writer_add(writer, "replay_owed", &self->owed, sizeof self->owed, reterr));
    return self->p.own->save ? sk_replay_save(self->replay, writer, reterr) : SK_OK;
}

sk_status sk_replay_source_load(sk_replay_source *self, const sk_pack *pack, sk_error *reterr) {
    json_t      *json = json_object_get(sk_pack_json(pack), "replay_source");
    json_int_t   n_warm = 0;
    int          is_uniform = 0, contents = 0;
    double       owed = 0.0;
    json_error_t why;
    const void  *bytes = NULL;
    if (!json || json_unpack_ex(json, &why, 0, "{s:I, s:b, s:b}", "n_warm", &n_warm, "is_uniform", &is_uniform,
                                "contents", &contents))
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's replay: %s", json ? why.text : "there is none");
    SK_TRY(sk_pack_section(pack, "replay_owed", sizeof owed, &bytes, NULL, reterr));
    memcpy(&owed, bytes, sizeof owed);
    if (!isfinite(owed) || owed < 0.0 || n_warm > INT64_MAX / 2 || n_warm < INT64_MIN / 2)
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's replay: its counts make no sense");
    self->n_warm = n_warm;
    self->is_uniform = is_uniform;
    self->owed = owed;
    if (contents) return sk_replay_load(self->replay, pack, reterr);
    /* nothing to learn from yet: as much as before the first update, by the policy's own actions if it has learned */
    int64_t least = self->p.own->batch_size > self->p.own->learning_starts ? self->p.own->batch_size
                                                                            : self->p.own->learning_starts;
    if (n_warm <= 0) self->is_uniform = 0;
    self->n_warm = least;
    sk_log(SK_LOG_WARN, "the checkpoint holds no replay (replay_buffer_config.save_in_checkpoints): %lld env steps are "
           "taken before learning goes on, and not bit for bit", (long long)least);
    return SK_OK;
}
