#include "rl/stream.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/transport/block.h"
#include "nn/cpu/kernels.h"
#include "rl/fragment.h"
#include "rl/runner.h"
#include "rl/runner_arg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A runner's process that dies as soon as it is made must not keep the machine busy: 10 ms, then doubled. */
enum {
    START_TIMEOUT_MS = 30000,
    STATE_TIMEOUT_MS = 60000,
    STOP_TIMEOUT_MS = 5000,
    RESTART_BACKOFF_MS = 10,
    LOOK_MS = 200 /* how often a wait for other hosts looks whether it is wanted any more */
};

struct sk_stream_source {
    sk_source           base;
    sk_stream_params    p;
    sk_batch            batch;
    sk_weights          weights;
    sk_block           *batch_block, *weights_block;
    int                 n_runners, n_agents, n_envs, timeout_ms;
    int                 restarts, has_state; /* 1: runners are restarted; environments can be given their state back */
    int                 remote;              /* 1: runners may be on other hosts      */
    sk_ref              sent;                /* remote: the weights as they were last; {0}: not yet */
    int                 told_anew;           /* it was told that episodes start anew  */
    sk_actor           *runners;   /* (n_runners) {0}: not yet there                  */
    sk_ref             *answers;   /* (n_runners) to the call under way               */
    uint64_t           *n_made;    /* (n_runners) how often, as counted so far        */
    int                *first_env; /* (n_runners + 1)                                 */
    int                *next_episode; /* (n_runners) cursor into each fragment's list */
    int64_t             step;      /* global step index of the next t = 0             */
};

static sk_status stream_next(sk_source *base, const sk_batch **ret_batch, sk_error *reterr);
static const sk_source_ops stream_ops = {stream_next, NULL};

sk_source     *sk_stream_source_of(sk_stream_source *self) { return &self->base; }
sk_batch_shape sk_stream_shape(const sk_stream_source *self) { return self->batch.shape; }

static sk_batch_shape shape_of(const sk_stream_params *p, int n_runners) {
    const sk_env_info *info = sk_env_info_get(p->env);
    return (sk_batch_shape){.n_steps = (int32_t)p->config->env_runners.rollout_fragment_length,
                            .n_rows = (int32_t)sk_train_config_n_envs(p->config) * info->n_agents,
                            .obs_dim = info->obs_dim, .action_slots = info->action_slots,
                            .mask_size = info->mask_size, .n_fragments = n_runners,
                            .keep_final_obs = p->keep_final_obs};
}

static sk_status create_blocks(sk_stream_source *self, const sk_batch_shape *shape, sk_error *reterr) {
    size_t bytes = sk_batch_bytes(shape), n_floats = sk_policy_n_floats(self->p.policy);
    if (bytes == 0)
        return SK_FAIL(reterr, SK_ECONFIG, "a batch of %d steps x %d rows x %d observation floats is too large",
                       shape->n_steps, shape->n_rows, shape->obs_dim);
    SK_TRY(sk_block_create(bytes, &self->batch_block, reterr));
    size_t weights_bytes = sk_weights_bytes(n_floats, shape->obs_dim, shape->n_fragments);
    SK_TRY(sk_block_create(weights_bytes, &self->weights_block, reterr));
    sk_batch_map(shape, sk_block_data(self->batch_block), &self->batch);
    sk_weights_map(sk_block_data(self->weights_block), n_floats, shape->obs_dim, &self->weights);
    return SK_OK;
}

/* Parameters and observation statistics as they are now; runners are idle while this is written. */
static void publish_weights(sk_stream_source *self) {
    memcpy(self->weights.params, sk_policy_params(self->p.policy), sk_policy_n_floats(self->p.policy) * sizeof(float));
    sk_normalizer_constants(sk_policy_normalizer(self->p.policy), self->weights.obs_mean, self->weights.obs_inv_std);
}

static size_t sent_bytes(const sk_stream_source *self) {
    return sk_weights_bytes(sk_policy_n_floats(self->p.policy), self->batch.shape.obs_dim, 0);
}

/* The same for runners that share no memory: an object, which travels once to each host, and only if it is another one
 * than the last (while a replay is being filled, it is not). */
static sk_status send_weights(sk_stream_source *self, sk_error *reterr) {
    sk_bytes last = {0};
    publish_weights(self);
    if (self->sent.id) SK_TRY(sk_get(self->p.runtime, self->sent, STATE_TIMEOUT_MS, &last, reterr));
    if (last.data && memcmp(last.data, self->weights.params, last.size) == 0) return SK_OK;
    sk_release(self->p.runtime, &self->sent);
    return sk_put(self->p.runtime, self->weights.params, sent_bytes(self), &self->sent, reterr);
}

static sk_placement placement_of(const sk_train_config *c) {
    if (c->env_runners.num_env_runners == 0) return SK_PLACE_INLINE;
    switch ((sk_runner_placement)c->env_runners.placement) {
    case SK_RUNNER_THREAD: return SK_PLACE_THREAD;
    case SK_RUNNER_PROCESS: return SK_PLACE_PROCESS;
    case SK_RUNNER_REMOTE: return SK_PLACE_REMOTE;
    }
    return SK_PLACE_THREAD;
}

/* Order runner i; it is made in the background. */
static sk_status order_runner(sk_stream_source *self, int i, const char *env_text, sk_error *reterr) {
    const sk_train_config *c = self->p.config;
    int64_t                max_restarts = c->env_runners.max_num_env_runner_restarts;
    char                   name[32];
    sk_runner_arg arg = {.shape = self->batch.shape, .remote = self->remote,
                         .spaces = *sk_policy_spaces_get(self->p.policy), .model = *sk_policy_model(self->p.policy),
                         .filter = (int32_t)sk_policy_filter(self->p.policy), .on_invalid = c->env_runners.on_invalid,
                         .keep_state = self->restarts && (self->has_state || self->remote),
                         .runner = i, .n_envs = self->first_env[i + 1] - self->first_env[i],
                         .first_env = self->first_env[i], .n_total_envs = self->n_envs, .seed = (uint64_t)c->seed,
                         .n_floats = (int64_t)sk_policy_n_floats(self->p.policy)};
    const sk_arg args[] = {sk_by_value(&arg, sizeof arg), sk_by_value(env_text, strlen(env_text))};
    if (self->remote) {
        snprintf(arg.isa, sizeof arg.isa, "%s", sk_kernels_get()->level);
    } else {
        arg.batch_ref = sk_block_get_ref(self->batch_block);
        arg.weights_ref = sk_block_get_ref(self->weights_block);
    }
    snprintf(name, sizeof name, "runner-%d", i);
    sk_resource     cpu = {"cpu", c->env_runners.num_cpus_per_env_runner};
    sk_actor_params params = {.class_name = "runner", .name = name, .placement = placement_of(c), .args = args,
                              .n_args = SK_COUNT(args)};
    if (self->remote && cpu.amount > 0.0) {
        params.resources = &cpu;
        params.n_resources = 1;
    }
    if (self->restarts) {
        params.max_restarts = max_restarts < 0 ? -1 : (int)max_restarts;
        params.restart_window_s = INFINITY; /* the budget is for the whole run */
        params.restart_backoff_ms = RESTART_BACKOFF_MS;
        params.max_task_retries = -1; /* a fragment is the same however often it is sampled */
    }
    return sk_actor_create(self->p.runtime, &params, &self->runners[i], reterr);
}

static int is_interrupted(const sk_stream_source *self) { return self->p.interrupted && *self->p.interrupted; }

/* A remote one may wait for a host that is still to join. */
static sk_status wait_for_runner(sk_stream_source *self, int i, sk_error *reterr) {
    if (!self->remote) return sk_actor_wait(self->p.runtime, self->runners[i], START_TIMEOUT_MS, reterr);
    int64_t left_ms = START_TIMEOUT_MS + (int64_t)(self->p.config->cluster.wait_s * 1000.0);
    for (;; left_ms -= LOOK_MS) {
        sk_status status = sk_actor_wait(self->p.runtime, self->runners[i], LOOK_MS, reterr);
        if (status != SK_ETIMEOUT || left_ms <= LOOK_MS) return status;
        if (is_interrupted(self)) return SK_FAIL(reterr, SK_EINTERRUPTED, "interrupted while runners were starting");
    }
}

/* All at once: they start side by side. */
static sk_status start_runners(sk_stream_source *self, const char *env_text, sk_error *reterr) {
    for (int i = 0; i < self->n_runners; i++) SK_TRY(order_runner(self, i, env_text, reterr));
    for (int i = 0; i < self->n_runners; i++) SK_TRY(wait_for_runner(self, i, reterr));
    for (int i = 0; i < self->n_runners; i++) self->n_made[i] = 1;
    return SK_OK;
}

sk_status sk_stream_create(const sk_stream_params *p, sk_stream_source **ret_stream, sk_error *reterr) {
    sk_status         status = SK_OK;
    char             *env_text = NULL;
    sk_stream_source *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "stream: no memory");
    self->base.ops = &stream_ops;
    self->p = *p;
    self->n_runners = p->config->env_runners.num_env_runners > 0 ? (int)p->config->env_runners.num_env_runners : 1;
    sk_placement placement = placement_of(p->config);
    self->remote = placement == SK_PLACE_REMOTE;
    self->restarts = (self->remote || placement == SK_PLACE_PROCESS) &&
                     p->config->env_runners.restart_failed_env_runners;
    self->has_state = (sk_env_api_get(p->env)->caps & SK_ENV_CAP_STATE) != 0;
    self->n_agents = sk_env_info_get(p->env)->n_agents;
    self->n_envs = (int)sk_train_config_n_envs(p->config);
    self->timeout_ms = (int)(p->config->env_runners.sample_timeout_s * 1000.0);
    size_t n = (size_t)self->n_runners;
    self->runners = calloc(n, sizeof *self->runners);
    self->answers = calloc(n, sizeof *self->answers);
    self->n_made = calloc(n, sizeof *self->n_made);
    self->first_env = calloc(n + 1, sizeof *self->first_env);
    self->next_episode = calloc(n, sizeof *self->next_episode);
    if (!self->runners || !self->answers || !self->n_made || !self->first_env || !self->next_episode) {
        status = SK_FAIL(reterr, SK_ENOMEM, "stream: no memory for %zu runners", n);
        goto fail;
    }
    for (int i = 0; i <= self->n_runners; i++) self->first_env[i] = (int)((int64_t)i * self->n_envs / self->n_runners);
    sk_batch_shape shape = shape_of(p, self->n_runners);
    SK_TRY_GOTO(create_blocks(self, &shape, reterr));
    publish_weights(self);
    if (!p->env_text) SK_TRY_GOTO(sk__env_text_encode(p->config, &env_text, reterr));
    SK_TRY_GOTO(start_runners(self, p->env_text ? p->env_text : env_text, reterr));
    free(env_text);
    *ret_stream = self;
    return SK_OK;
fail:
    free(env_text);
    sk_stream_destroy(&self);
    return status;
}

void sk_stream_destroy(sk_stream_source **self_p) {
    if (!self_p || !*self_p) return;
    sk_stream_source *self = *self_p;
    int n_ordered = 0;
    while (self->runners && n_ordered < self->n_runners && self->runners[n_ordered].id) n_ordered++;
    if (n_ordered) sk_actor_join(self->p.runtime, self->runners, n_ordered, STOP_TIMEOUT_MS);
    if (self->sent.id) sk_release(self->p.runtime, &self->sent);
    sk_block_destroy(&self->batch_block);
    sk_block_destroy(&self->weights_block);
    free(self->runners);
    free(self->answers);
    free(self->n_made);
    free(self->first_env);
    free(self->next_episode);
    free(self);
    *self_p = NULL;
}

sk_status sk_stream_check(sk_stream_source *self, sk_error *reterr) {
    for (int i = 0; i < self->n_runners; i++)
        SK_TRY(sk_actor_check(self->p.runtime, self->runners[i], NULL, reterr));
    return SK_OK;
}

static void forget_answers(sk_stream_source *self) {
    for (int i = 0; i < self->n_runners; i++) sk_release(self->p.runtime, &self->answers[i]);
}

/* How often it has been made, as far as is known. */
static uint64_t times_made(const sk_stream_source *self, int i) {
    if (!self->remote) return atomic_load(&self->weights.n_made[i]);
    int64_t told = self->batch.fragment[i].n_made; /* 0 before its first fragment */
    return told > 0 ? (uint64_t)told : self->n_made[i];
}

/* Count the runners that were made anew since the last look. */
static void count_restarts(sk_stream_source *self) {
    uint64_t n = 0;
    for (int i = 0; i < self->n_runners; i++) {
        uint64_t now = times_made(self, i);
        if (now <= self->n_made[i]) continue;
        n += now - self->n_made[i];
        self->n_made[i] = now;
        if (self->remote) sk_log(SK_LOG_WARN, "runner-%d was made anew, its process having died; it goes on", i);
    }
    if (!n) return;
    sk_metrics_add(self->p.metrics, SK_METRIC_RESTARTS, (double)n);
    if (self->has_state || self->told_anew) return;
    sk_log(SK_LOG_WARN, "environment \"%s\" cannot save its state: episodes start anew in a runner that was restarted, so "
           "the run goes on but not bit for bit", sk_env_info_get(self->p.env)->name);
    self->told_anew = 1;
}

/* Fragments that came as answers: into their rows. */
static sk_status take_fragments(sk_stream_source *self, const sk_sample_in *in, sk_error *reterr) {
    sk_fragment_wanted wanted = {.spaces = sk_policy_spaces_get(self->p.policy), .policy_version = in->policy_version,
                                 .first_step = in->first_step, .env_seed = (uint64_t)self->p.config->seed};
    for (int i = 0; i < self->n_runners; i++) {
        sk_bytes bytes = {0};
        wanted.runner = i;
        wanted.first_row = self->first_env[i] * self->n_agents;
        wanted.n_rows = (self->first_env[i + 1] - self->first_env[i]) * self->n_agents;
        SK_TRY(sk_get(self->p.runtime, self->answers[i], self->timeout_ms, &bytes, reterr));
        SK_TRY(sk_fragment_scatter(&wanted, bytes, &self->batch, reterr));
    }
    return SK_OK;
}

/* A fragment that does not come may have nowhere to come from. */
static void tell_hosts(const sk_stream_source *self, sk_error *reterr) {
    int n = 0;
    if (!reterr || sk_runtime_wait_hosts(self->p.runtime, 0, 0, &n, NULL) != SK_OK || n > 0) return;
    sk_error_prefix(reterr, "no host is left (others can join with: skiff node --join %s)",
                    sk_runtime_endpoint(self->p.runtime));
}

/* One fragment of each, into its rows of the block. */
static sk_status sample_all(sk_stream_source *self, const sk_sample_in *in, sk_error *reterr) {
    sk_status status = SK_OK;
    sk_arg    args[] = {sk_by_value(in, sizeof *in), sk_by_ref(self->sent)};
    sk_method method = {.method = SK_RUNNER_SAMPLE, .args = args, .n_args = self->remote ? 2 : 1};
    for (int i = 0; i < self->n_runners && status == SK_OK; i++)
        status = sk_actor_call(self->p.runtime, self->runners[i], &method, &self->answers[i], reterr);
    if (status == SK_OK)
        status = sk_get_all(self->p.runtime, self->answers, self->n_runners, self->timeout_ms, reterr);
    if (status == SK_EDEAD && reterr) /* told at once: the others may need a while to finish their fragments */
        sk_log(SK_LOG_ERROR, "%s; the other runners are being stopped", reterr->msg);
    if (status == SK_OK && self->remote) status = take_fragments(self, in, reterr);
    if (status == SK_ETIMEOUT && self->remote) tell_hosts(self, reterr);
    forget_answers(self);
    count_restarts(self);
    return status;
}

/* Episodes of all fragments in the order they happened: by step, then by row. Fragments are in order of rows and their
 * lists in that very order, so each is gone through once. */
static void merge_episodes(sk_stream_source *self) {
    const sk_batch *b = &self->batch;
    memset(self->next_episode, 0, (size_t)self->n_runners * sizeof *self->next_episode);
    for (int t = 0; t < b->shape.n_steps; t++)
        for (int f = 0; f < self->n_runners; f++) {
            const sk_batch_episode *list = b->episode + (ptrdiff_t)b->shape.n_steps * b->fragment[f].first_row;
            for (int *at = &self->next_episode[f]; *at < b->fragment[f].n_episodes && list[*at].step == t; ++*at) {
                const sk_batch_episode *ep = &list[*at];
                if (ep->valid) sk_episode_window_push(self->p.window, ep->ret, (double)ep->length);
                else sk_metrics_add(self->p.metrics, SK_METRIC_EPISODES_DROPPED, 1.0);
            }
        }
}

static sk_status check_heads(const sk_stream_source *self, sk_error *reterr) {
    uint64_t hash = sk_batch_hash(&self->batch.shape);
    int64_t  version = sk_policy_version(self->p.policy);
    for (int f = 0; f < self->n_runners; f++) {
        const sk_fragment *head = &self->batch.fragment[f];
        if (head->layout_hash != hash || head->policy_version != version || head->first_step != self->step)
            return SK_FAIL(reterr, SK_ECORRUPT,
                           "runner-%d wrote a fragment of policy %lld at step %lld, wanted policy %lld at step %lld", f,
                           (long long)head->policy_version, (long long)head->first_step, (long long)version,
                           (long long)self->step);
    }
    return SK_OK;
}

static sk_status stream_next(sk_source *base, const sk_batch **ret_batch, sk_error *reterr) {
    sk_stream_source *self = (sk_stream_source *)base;
    double            start_s = sk_clock_now_s(), env_s = 0.0, inference_s = 0.0;
    if (self->remote) SK_TRY(send_weights(self, reterr));
    else publish_weights(self);
    sk_sample_in in = {.policy_version = sk_policy_version(self->p.policy), .first_step = self->step,
                       .explore = *sk_policy_exploration(self->p.policy)};
    SK_TRY(sample_all(self, &in, reterr));
    SK_TRY(check_heads(self, reterr));
    for (int f = 0; f < self->n_runners; f++) { /* the slowest runner is what the learner waited for */
        const sk_fragment *head = &self->batch.fragment[f];
        if (head->env_s + head->inference_s <= env_s + inference_s) continue;
        env_s = head->env_s;
        inference_s = head->inference_s;
    }
    merge_episodes(self);
    double transport_s = sk_clock_now_s() - start_s - env_s - inference_s;
    sk_metrics_add(self->p.metrics, SK_METRIC_TIME_ENV, env_s);
    sk_metrics_add(self->p.metrics, SK_METRIC_TIME_INFERENCE, inference_s);
    sk_metrics_add(self->p.metrics, SK_METRIC_TIME_TRANSPORT, transport_s > 0.0 ? transport_s : 0.0);
    self->step += self->batch.shape.n_steps;
    sk_metrics_add(self->p.metrics, SK_METRIC_ENV_STEPS, (double)self->batch.shape.n_steps * self->n_envs);
    sk_episode_window_report(self->p.window, self->p.metrics);
    *ret_batch = &self->batch;
    return SK_OK;
}

/* Append runner i's part, which the call under way answers with. */
static sk_status append_state(sk_stream_source *self, int i, char **all, size_t *size, sk_error *reterr) {
    sk_bytes part = {0};
    SK_TRY(sk_get(self->p.runtime, self->answers[i], STATE_TIMEOUT_MS, &part, reterr));
    char *grown = realloc(*all, *size + part.size + 1);
    if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "stream: no memory for the environments' state");
    *all = grown;
    if (part.size) memcpy(grown + *size, part.data, part.size);
    *size += part.size;
    return SK_OK;
}

sk_status sk_stream_save(sk_stream_source *self, void **ret_bytes, size_t *ret_size, int *ret_complete,
                         sk_error *reterr) {
    char     *all = NULL;
    size_t    size = 0;
    sk_status status = SK_OK;
    sk_method method = {.method = SK_RUNNER_SAVE};
    *ret_complete = self->has_state;
    for (int i = 0; i < self->n_runners && status == SK_OK; i++)
        status = sk_actor_call(self->p.runtime, self->runners[i], &method, &self->answers[i], reterr);
    for (int i = 0; i < self->n_runners && status == SK_OK; i++) /* in order of runners, hence of environments */
        status = append_state(self, i, &all, &size, reterr);
    forget_answers(self);
    if (status != SK_OK) {
        free(all);
        return status;
    }
    *ret_bytes = all;
    *ret_size = size;
    return SK_OK;
}

int64_t sk_stream_step(const sk_stream_source *self) { return self->step; }

sk_status sk_stream_load(sk_stream_source *self, const void *bytes, size_t size, int64_t step, sk_error *reterr) {
    self->step = step;
    if (size % (size_t)self->n_envs != 0)
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's environment states (%zu bytes) are not of %d environments",
                       size, self->n_envs);
    size_t    record = size / (size_t)self->n_envs;
    sk_status status = SK_OK;
    for (int i = 0; i < self->n_runners && status == SK_OK; i++) {
        sk_arg    part = sk_by_value((const char *)bytes + (size_t)self->first_env[i] * record,
                                     (size_t)(self->first_env[i + 1] - self->first_env[i]) * record);
        sk_method method = {.method = SK_RUNNER_LOAD, .args = &part, .n_args = 1};
        status = sk_actor_call(self->p.runtime, self->runners[i], &method, &self->answers[i], reterr);
    }
    if (status == SK_OK) status = sk_get_all(self->p.runtime, self->answers, self->n_runners, STATE_TIMEOUT_MS, reterr);
    forget_answers(self);
    return status;
}
