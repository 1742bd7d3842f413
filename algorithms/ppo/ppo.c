/* ppo: reads top to bottom like the paper: learn() = collect, advantages, then epochs of minibatches; the loss is a graph
 * built once. What every line decides is written in docs/design.md, "Decisions". */
#include "algorithms/ppo/ppo.h"

#include "algorithms/ppo/ppo_config.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rng.h"
#include "policies/net.h"
#include "rl/advantage.h"
#include "rl/reward_filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The columns of a batch that the loss gathers its rows from. */
typedef enum table {
    TABLE_OBS, TABLE_MASK, TABLE_ACTION, TABLE_LOGP, TABLE_VALUE, TABLE_ADVANTAGE, TABLE_TARGET, TABLE_WEIGHT, N_TABLES
} table;

typedef struct ppo {
    sk_algorithm_context x;
    const sk_ppo_config *c;
    int                  n;          /* rows of a batch: T x R                                    */
    double               kl_coeff;   /* adaptive                                                  */
    int64_t              n_shuffles; /* epochs ever run: names the next shuffle                   */
    sk_reward_filter     reward_filter;
    float               *reward, *advantage, *target, *weight; /* (n)                             */

    sk_graph  *graph;
    sk_plan   *plan;
    sk_adam   *adam;
    sk_tensor  table[N_TABLES], index, coef, loss;
    sk_net     net;
    sk_buffer *params, *columns[N_TABLES], *indices, *coefs, *obs_constants;
    const void *columns_of;          /* the batch memory that `columns` wrap                      */
    int        padded_obs;
} ppo;

/* Sums over an iteration's minibatches. */
typedef struct iteration {
    double  stat[SK_PPO_N], grad_norm, lr, clip, entropy_coeff;
    double  first_kl, first_ratio_dev;
    int     n_updates, n_finite, n_epochs, n_valid, stopped;
} iteration;

/* ---- the loss -------------------------------------------------------------------------------------------- */

static sk_tensor gather_table(ppo *p, table which, const char *name, int cols) {
    p->table[which] = sk_graph_table(p->graph, name, cols);
    return sk_graph_gather(p->graph, p->table[which], p->index);
}

static sk_status build_loss(ppo *p, sk_error *reterr) {
    const sk_policy_spaces *s = sk_policy_spaces_get(p->x.policy);
    SK_TRY(sk_graph_create(&p->graph, reterr));
    sk_graph *g = p->graph;
    p->index = sk_graph_input(g, "index", 1);
    p->coef = sk_graph_const(g, "coef", SK_PPO_COEF_N);
    sk_tensor obs = gather_table(p, TABLE_OBS, "obs", s->obs_dim);
    sk_net_build(g, s, sk_policy_model(p->x.policy), sk_policy_filter(p->x.policy), obs, &p->net);
    sk_tensor mask = s->mask_size ? gather_table(p, TABLE_MASK, "mask", s->mask_size) : SK_NO_TENSOR;
    sk_tensor action = gather_table(p, TABLE_ACTION, "action", s->action_slots);
    sk_ppo_loss_in in = {.dist = sk_net_distribution(g, s, &p->net, action, mask),
                         .value = p->net.value,
                         .logp_old = gather_table(p, TABLE_LOGP, "logp", 1),
                         .value_old = gather_table(p, TABLE_VALUE, "value", 1),
                         .advantage = gather_table(p, TABLE_ADVANTAGE, "advantage", 1),
                         .value_target = gather_table(p, TABLE_TARGET, "target", 1),
                         .weight = gather_table(p, TABLE_WEIGHT, "weight", 1),
                         .coef = p->coef};
    p->loss = sk_graph_ppo_loss(g, &in);
    sk_graph_minimize(g, p->loss, 1.0f);
    return sk_graph_finish(g, reterr);
}

/* ---- create and destroy ----------------------------------------------------------------------------------- */

static void ppo_destroy(void *self) {
    ppo *p = self;
    if (!p) return;
    sk_plan_destroy(&p->plan);
    sk_adam_destroy(&p->adam);
    sk_graph_destroy(&p->graph);
    for (int i = 0; i < N_TABLES; i++) sk_buffer_destroy(&p->columns[i]);
    sk_buffer_destroy(&p->indices);
    sk_buffer_destroy(&p->coefs);
    sk_buffer_destroy(&p->obs_constants);
    sk_buffer_destroy(&p->params);
    sk_reward_filter_deinit(&p->reward_filter);
    free(p->reward); /* one piece: reward, advantage, target, weight */
    free(p);
}

static sk_status create_buffers(ppo *p, sk_error *reterr) {
    size_t n = (size_t)p->n, padded = (n + 15) / 16 * 16, n_floats = sk_policy_n_floats(p->x.policy);
    p->reward = aligned_alloc(64, 4 * padded * sizeof *p->reward);
    if (!p->reward) return SK_FAIL(reterr, SK_ENOMEM, "ppo: no memory for a batch of %zu steps", n);
    memset(p->reward, 0, 4 * padded * sizeof *p->reward);
    p->advantage = p->reward + padded;
    p->target = p->advantage + padded;
    p->weight = p->target + padded;
    p->padded_obs = (p->x.shape.obs_dim + 15) / 16 * 16;
    SK_TRY(sk_reward_filter_init(&p->reward_filter, p->x.shape.n_rows, p->c->gamma, reterr));
    SK_TRY(sk_buffer_wrap(p->x.device, sk_policy_params(p->x.policy), n_floats * sizeof(float), &p->params, reterr));
    SK_TRY(sk_buffer_create(p->x.device, n * sizeof(int32_t), &p->indices, reterr));
    SK_TRY(sk_buffer_create(p->x.device, SK_PPO_COEF_N * sizeof(float), &p->coefs, reterr));
    return sk_buffer_create(p->x.device, 2 * (size_t)p->padded_obs * sizeof(float), &p->obs_constants, reterr);
}

static sk_status create_plan(ppo *p, sk_error *reterr) {
    sk_plan_params how = {.max_rows = (int)p->c->minibatch_size, .backward = 1};
    SK_TRY(sk_plan_create(p->x.device, p->graph, p->params, &how, &p->plan, reterr));
    sk_plan_bind(p->plan, p->coef, p->coefs, 0);
    if (p->net.obs_mean != SK_NO_TENSOR) {
        sk_plan_bind(p->plan, p->net.obs_mean, p->obs_constants, 0);
        sk_plan_bind(p->plan, p->net.obs_inv_std, p->obs_constants, (size_t)p->padded_obs * sizeof(float));
    }
    sk_adam_params adam = {.beta1 = 0.9f, .beta2 = 0.999f, .eps = (float)p->c->adam_epsilon};
    return sk_adam_create(p->x.device, p->params, sk_policy_n_floats(p->x.policy), &adam, &p->adam, reterr);
}

static sk_status ppo_create(const sk_algorithm_context *context, void **ret_self, sk_error *reterr) {
    sk_status status = SK_OK;
    ppo      *p = calloc(1, sizeof *p);
    if (!p) return SK_FAIL(reterr, SK_ENOMEM, "ppo: no memory");
    p->x = *context;
    p->c = context->own;
    p->n = context->shape.n_steps * context->shape.n_rows;
    p->kl_coeff = p->c->use_kl_loss ? p->c->kl_coeff : 0.0;
    SK_TRY_GOTO(create_buffers(p, reterr));
    SK_TRY_GOTO(build_loss(p, reterr));
    SK_TRY_GOTO(create_plan(p, reterr));
    *ret_self = p;
    return SK_OK;
fail:
    ppo_destroy(p);
    return status;
}

/* ---- one iteration ---------------------------------------------------------------------------------------- */

/* Let the loss read the batch where it lies. */
static sk_status bind_columns(ppo *p, const sk_batch *b, sk_error *reterr) {
    if (p->columns_of != b->obs) {
        size_t n = (size_t)p->n;
        struct {
            const void *memory;
            size_t      cols;
        } at[N_TABLES] = {{b->obs, (size_t)b->shape.obs_dim}, {b->mask, (size_t)b->shape.mask_size},
                          {b->action, (size_t)b->shape.action_slots}, {b->logp, 1}, {b->value, 1}, {p->advantage, 1},
                          {p->target, 1}, {p->weight, 1}};
        for (int i = 0; i < N_TABLES; i++) {
            sk_buffer_destroy(&p->columns[i]);
            if (!at[i].cols) continue;
            SK_TRY(sk_buffer_wrap(p->x.device, (void *)(uintptr_t)at[i].memory, n * at[i].cols * sizeof(float),
                                  &p->columns[i], reterr));
            sk_plan_bind(p->plan, p->table[i], p->columns[i], 0);
        }
        p->columns_of = b->obs;
    }
    for (int i = 0; i < N_TABLES; i++)
        if (p->columns[i]) sk_buffer_push(p->columns[i]);
    return SK_OK;
}

/* The statistics the batch was collected with: those of the policy's present version. */
static void push_obs_constants(ppo *p) {
    float *constants = sk_buffer_host(p->obs_constants);
    sk_normalizer_constants(sk_policy_normalizer(p->x.policy), constants, constants + p->padded_obs);
    sk_buffer_push(p->obs_constants);
}

static const float *scaled_reward(ppo *p, const sk_batch *b) {
    float clip = (float)p->x.config->env_runners.clip_rewards;
    if (p->x.config->env_runners.normalize_rewards) {
        sk_reward_filter_apply(&p->reward_filter, b, clip, p->reward);
        return p->reward;
    }
    if (clip <= 0.0f) return b->reward;
    for (int i = 0; i < p->n; i++) p->reward[i] = fmaxf(-clip, fminf(clip, b->reward[i]));
    return p->reward;
}

/* Rows that may be learned from, in a random order that only (seed, epoch number) decides (Fisher & Yates). */
static int shuffled_rows(ppo *p, const sk_batch *b) {
    int32_t *index = sk_buffer_host(p->indices);
    uint32_t words[4];
    int      n = 0;
    for (int i = 0; i < p->n; i++)
        if (b->valid[i]) index[n++] = i;
    uint64_t stream = sk_stream_id(SK_STREAM_SHUFFLE, (uint64_t)p->n_shuffles++);
    for (int i = n - 1, k = 0; i > 0; i--, k++) {
        if (k % 4 == 0) sk_philox((uint64_t)p->x.config->seed, stream, (uint64_t)(k / 4), words);
        int     j = (int)sk_u32_below(words[k % 4], (uint32_t)i + 1);
        int32_t swap = index[i];
        index[i] = index[j];
        index[j] = swap;
    }
    sk_buffer_push(p->indices);
    return n;
}

/* This minibatch's coefficients: advantages are normalised within it, with the unbiased deviation as in SB3. */
static void push_coefs(ppo *p, const int32_t *index, int rows, const iteration *it) {
    double mean = 0.0, var = 0.0;
    float *coef = sk_buffer_host(p->coefs);
    for (int i = 0; i < rows; i++) mean += (double)p->advantage[index[i]];
    mean /= rows;
    for (int i = 0; i < rows; i++) {
        double d = (double)p->advantage[index[i]] - mean;
        var += d * d;
    }
    int normalize = p->c->normalize_advantages && rows > 1;
    coef[SK_PPO_COEF_CLIP] = (float)it->clip;
    coef[SK_PPO_COEF_VF_CLIP] = (float)p->c->vf_clip_param;
    coef[SK_PPO_COEF_VF] = (float)p->c->vf_loss_coeff;
    coef[SK_PPO_COEF_ENTROPY] = (float)it->entropy_coeff;
    coef[SK_PPO_COEF_KL] = (float)p->kl_coeff;
    coef[SK_PPO_COEF_ADV_MEAN] = normalize ? (float)mean : 0.0f;
    coef[SK_PPO_COEF_ADV_SCALE] = normalize ? (float)(1.0 / (sqrt(var / (rows - 1)) + 1e-8)) : 1.0f;
    coef[SK_PPO_COEF_INV_WEIGHT] = 1.0f / (float)rows;
    sk_buffer_push(p->coefs);
}

static void minibatch(ppo *p, int first, int rows, iteration *it) {
    const int32_t *index = sk_buffer_host(p->indices);
    push_coefs(p, index + first, rows, it);
    sk_plan_bind(p->plan, p->index, p->indices, (size_t)first * sizeof(int32_t));
    double        norm = sk_plan_train(p->plan, rows, p->adam, it->lr, p->c->grad_clip);
    const double *stat = sk_plan_sum(p->plan, p->loss);
    if (it->n_updates == 0) {
        it->first_kl = stat[SK_PPO_KL];
        it->first_ratio_dev = stat[SK_PPO_RATIO_DEV];
    }
    it->n_updates++;
    if (isfinite(norm)) { /* else the step was left out */
        for (int s = 0; s < SK_PPO_N; s++) it->stat[s] += stat[s];
        it->grad_norm += norm;
        it->n_finite++;
    }
    if (p->c->target_kl > 0.0 && stat[SK_PPO_KL] > 1.5 * p->c->target_kl) it->stopped = 1; /* 1.5 as in SB3 */
}

static void run_epochs(ppo *p, const sk_batch *b, iteration *it) {
    for (int64_t epoch = 0; epoch < p->c->num_epochs && !it->stopped; epoch++) {
        it->n_valid = shuffled_rows(p, b);
        for (int first = 0; first < it->n_valid && !it->stopped; first += (int)p->c->minibatch_size) {
            int left = it->n_valid - first, full = (int)p->c->minibatch_size;
            minibatch(p, first, left < full ? left : full, it);
        }
        it->n_epochs += !it->stopped;
    }
}

/* RLlib's rule: 1.5 times when the KL is above twice its target, half when below half of it. */
static void adapt_kl_coeff(ppo *p, double mean_kl) {
    if (!p->c->use_kl_loss) return;
    if (mean_kl > 2.0 * p->c->kl_target) p->kl_coeff *= 1.5;
    else if (mean_kl < 0.5 * p->c->kl_target) p->kl_coeff *= 0.5;
}

/* 1 - Var(target - value) / Var(target) over the valid rows; NAN (left out) where the target does not vary. */
static double explained_variance(const ppo *p, const sk_batch *b) {
    double n = 0.0, t1 = 0.0, t2 = 0.0, e1 = 0.0, e2 = 0.0;
    for (int i = 0; i < p->n; i++) {
        if (!b->valid[i]) continue;
        double t = (double)p->target[i], e = t - (double)b->value[i];
        n += 1.0;
        t1 += t, t2 += t * t, e1 += e, e2 += e * e;
    }
    double var_t = n > 0.0 ? t2 / n - t1 / n * (t1 / n) : 0.0, var_e = n > 0.0 ? e2 / n - e1 / n * (e1 / n) : 0.0;
    return var_t > 1e-12 ? 1.0 - var_e / var_t : (double)NAN;
}

static void report(const ppo *p, const sk_batch *b, const iteration *it, sk_metrics *m) {
    static const struct {
        sk_metric   metric;
        sk_ppo_stat stat;
    } means[] = {{SK_METRIC_TOTAL_LOSS, SK_PPO_TOTAL}, {SK_METRIC_POLICY_LOSS, SK_PPO_POLICY},
                 {SK_METRIC_VF_LOSS, SK_PPO_VF},       {SK_METRIC_ENTROPY, SK_PPO_ENTROPY},
                 {SK_METRIC_KL, SK_PPO_KL},            {SK_METRIC_CLIP_FRACTION, SK_PPO_CLIP_FRACTION}};
    double n = (double)it->n_finite; /* 0 makes the means absent */
    for (int i = 0; i < SK_COUNT(means); i++) sk_metrics_set(m, means[i].metric, it->stat[means[i].stat] / n);
    sk_metrics_set(m, SK_METRIC_GRAD_NORM, it->grad_norm / n);
    sk_metrics_set(m, SK_METRIC_LR, it->lr);
    sk_metrics_set(m, SK_METRIC_CLIP_PARAM, it->clip);
    if (p->c->use_kl_loss) sk_metrics_set(m, SK_METRIC_KL_COEFF, p->kl_coeff);
    sk_metrics_set(m, SK_METRIC_EXPLAINED_VAR, explained_variance(p, b));
    sk_metrics_set(m, SK_METRIC_EPOCHS_DONE, it->n_epochs);
    sk_metrics_set(m, SK_METRIC_FIRST_KL, it->first_kl);
    sk_metrics_set(m, SK_METRIC_FIRST_RATIO, it->first_ratio_dev);
    sk_metrics_add(m, SK_METRIC_UPDATES, it->n_finite);
    sk_metrics_add(m, SK_METRIC_UPDATES_SKIPPED, it->n_updates - it->n_finite);
    sk_metrics_add(m, SK_METRIC_ENV_STEPS_TRAINED, it->n_valid);
}

/* Schulman et al. 2017, algorithm 1. */
static sk_status ppo_learn(void *self, sk_source *source, sk_metrics *m, sk_error *reterr) {
    ppo            *p = self;
    const sk_batch *b = NULL;
    SK_TRY(sk_source_next(source, &b, reterr));
    double    start_s = sk_clock_now_s(), steps = sk_metrics_get(m, SK_METRIC_ENV_STEPS, 0.0);
    iteration it = {.lr = sk_schedule_at(&p->c->lr, steps), .clip = sk_schedule_at(&p->c->clip_param, steps),
                    .entropy_coeff = sk_schedule_at(&p->c->entropy_coeff, steps)};

    sk_gae_params gae = {.gamma = (float)p->c->gamma, .lambda = (float)p->c->lambda};
    sk_gae(b, scaled_reward(p, b), &gae, p->advantage, p->target);
    for (int i = 0; i < p->n; i++) p->weight[i] = b->valid[i] ? 1.0f : 0.0f;
    push_obs_constants(p);
    SK_TRY(bind_columns(p, b, reterr));

    run_epochs(p, b, &it);
    if (it.n_valid == 0) sk_log(SK_LOG_WARN, "ppo: no valid step in this batch; nothing was learned from it");
    if (it.n_finite < it.n_updates)
        sk_log(SK_LOG_WARN, "ppo: %d of %d updates were left out: the gradient was not finite", it.n_updates - it.n_finite,
               it.n_updates);
    if (it.n_finite) adapt_kl_coeff(p, it.stat[SK_PPO_KL] / it.n_finite);
    sk_buffer_pull(p->params);

    /* what the next version of the policy knows about observations, merged in the order of the environments */
    if (sk_policy_filter(p->x.policy) == SK_FILTER_MEAN_STD)
        sk_normalizer_update(sk_policy_normalizer(p->x.policy), b->obs, b->valid, p->n);
    sk_policy_set_version(p->x.policy, sk_policy_version(p->x.policy) + 1);
    report(p, b, &it, m);
    sk_metrics_add(m, SK_METRIC_TIME_LEARN, sk_clock_now_s() - start_s);
    return SK_OK;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------ */

static sk_status ppo_save(void *self, sk_pack_writer *writer, sk_error *reterr) {
    ppo     *p = self;
    json_t  *json = json_pack("{s:I, s:I}", "adam_steps", (json_int_t)sk_adam_n_steps(p->adam), "n_shuffles",
                              (json_int_t)p->n_shuffles);
    size_t   bytes = 2 * sk_policy_n_floats(p->x.policy) * sizeof(float);
    if (!json || json_object_set_new(sk_pack_writer_json(writer), "ppo", json))
        return SK_FAIL(reterr, SK_ENOMEM, "ppo: no memory for a checkpoint");
    sk_buffer_pull(sk_adam_moments(p->adam));
    SK_TRY(sk_pack_writer_add(writer, "ppo_kl_coeff", &p->kl_coeff, sizeof p->kl_coeff, reterr));
    SK_TRY(sk_pack_writer_add(writer, "adam", sk_buffer_host(sk_adam_moments(p->adam)), bytes, reterr));
    return sk_reward_filter_save(&p->reward_filter, writer, reterr);
}

static sk_status ppo_load(void *self, const sk_pack *pack, sk_error *reterr) {
    ppo         *p = self;
    json_int_t   adam_steps = 0, n_shuffles = 0;
    json_error_t why;
    const void  *bytes = NULL;
    size_t       size = 2 * sk_policy_n_floats(p->x.policy) * sizeof(float);
    json_t      *json = json_object_get(sk_pack_json(pack), "ppo");
    if (!json || json_unpack_ex(json, &why, 0, "{s:I, s:I}", "adam_steps", &adam_steps, "n_shuffles", &n_shuffles) ||
        adam_steps < 0 || n_shuffles < 0 || adam_steps > INT64_MAX / 2 || n_shuffles > INT64_MAX / 2)
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's state of ppo: %s",
                       !json ? "there is none" : why.text[0] ? why.text : "its counts make no sense");
    SK_TRY(sk_pack_section(pack, "ppo_kl_coeff", sizeof p->kl_coeff, &bytes, NULL, reterr));
    memcpy(&p->kl_coeff, bytes, sizeof p->kl_coeff);
    SK_TRY(sk_pack_section(pack, "adam", size, &bytes, NULL, reterr));
    memcpy(sk_buffer_host(sk_adam_moments(p->adam)), bytes, size);
    sk_buffer_push(sk_adam_moments(p->adam));
    sk_adam_set_n_steps(p->adam, adam_steps);
    p->n_shuffles = n_shuffles;
    sk_buffer_push(p->params);
    return sk_reward_filter_load(&p->reward_filter, pack, reterr);
}

const sk_algorithm_api sk_ppo_api = {
    .name = "ppo",
    .keys = sk__ppo_keys,
    .n_keys = SK__PPO_N_KEYS,
    .config_size = sizeof(sk_ppo_config),
    .check = sk__ppo_check,
    .create = ppo_create,
    .destroy = ppo_destroy,
    .learn = ppo_learn,
    .save = ppo_save,
    .load = ppo_load,
};
