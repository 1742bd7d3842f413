/* dqn: learn() draws a batch and moves Q(s, a) towards r + discount * Q'(s', argmax Q(s', .)) (Mnih et al. 2015,
 * algorithm 1; van Hasselt et al. 2016, eq. 4), or the return's distribution towards that of the next action by the
 * target; now and then the target follows. */
#include "algorithms/dqn/dqn.h"

#include "algorithms/dqn/dqn_config.h"
#include "algorithms/trained.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The policy's network three times over: on the observations, its target on the next ones, and the policy again on the
 * next ones, where it only chooses (double Q-learning). Their numbers are also their groups of parameters. */
typedef enum role { ONLINE, TARGET, CHOOSER, ROLE_N } role;

typedef struct dqn {
    sk_algorithm_context    x;
    const sk_dqn_config    *c;
    const sk_policy_spaces *spaces;
    int64_t    n_updates, target_step; /* target_step: env steps when last asked whether it is to move   */

    sk_trained trained;                /* the policy's parameters                                        */
    sk_buffer *policy_params, *target; /* laid out alike                                                 */
    sk_columns in;
    sk_net     nets[ROLE_N];           /* the last one without double_q: nothing                         */
    sk_buffer *noise[ROLE_N];          /* rows of noisy layers; NULL: none                               */
    sk_tensor  error, loss, mean;      /* error: (B x 1) what priorities are made of                     */
    float     *told;                   /* (rows) as told to the source                                   */
} dqn;

/* Sums over an iteration. */
typedef struct iteration {
    double loss, mean, error, grad_norm;
    int    n_updates, n_finite;
} iteration;

/* ---- the loss --------------------------------------------------------------------------------------------- */

static sk_tensor add(sk_graph *g, sk_tensor x, sk_tensor y) { return sk_graph_binary(g, SK_BINARY_ADD, x, y); }
static sk_tensor sub(sk_graph *g, sk_tensor x, sk_tensor y) { return sk_graph_binary(g, SK_BINARY_SUB, x, y); }
static sk_tensor mul(sk_graph *g, sk_tensor x, sk_tensor y) { return sk_graph_binary(g, SK_BINARY_MUL, x, y); }

/* The numbers of one action: its value, logits of atoms, or quantiles. */
static sk_tensor numbers_of(const dqn *a, role r, sk_tensor action) {
    int k = a->c->distribution == SK_Q_MEAN ? 1 : (int)a->c->num_atoms;
    return sk_graph_take(a->trained.graph, a->nets[r].pi, action, k);
}

/* (B x 1) the loss of each row before its weight; a->error of each row too. */
static sk_tensor row_loss(dqn *a, sk_tensor now, sk_tensor next) {
    sk_graph *g = a->trained.graph;
    float     v_min = (float)a->c->v_min, v_max = (float)a->c->v_max;
    sk_tensor reward = a->in.reward, discount = a->in.discount;
    if (a->c->distribution == SK_Q_C51)
        return a->error = sk_graph_cross_entropy(g, now, sk_graph_c51_target(g, next, reward, discount, v_min, v_max));
    sk_tensor target = add(g, mul(g, next, discount), reward);
    if (a->c->distribution == SK_Q_QUANTILE) return a->error = sk_graph_quantile_huber(g, now, target, 1.0f);
    a->error = sub(g, now, target);
    if (a->c->td_loss == SK_TD_HUBER) return sk_graph_huber(g, a->error, 1.0f);
    return sk_graph_unary(g, SK_UNARY_SQUARE, a->error);
}

static void build_network(dqn *a, role r, sk_tensor x) {
    sk_graph_use_group(a->trained.graph, (int)r);
    sk_net_build_on(a->trained.graph, a->spaces, sk_policy_model(a->x.policy), x, &a->nets[r]);
}

static sk_status build(dqn *a, sk_error *reterr) {
    sk_net encode = SK_NET_INIT;
    SK_TRY(sk_trained_begin(&a->trained, reterr));
    sk_graph     *g = a->trained.graph;
    sk_obs_filter filter = sk_policy_filter(a->x.policy);
    a->in = sk_columns_all(g, a->spaces);
    sk_tensor x = sk_net_encode(g, a->spaces, filter, a->in.obs, &encode);
    sk_tensor next = sk_net_encode(g, a->spaces, filter, a->in.next_obs, &encode);
    build_network(a, ONLINE, x);
    build_network(a, TARGET, next);
    if (a->c->double_q) build_network(a, CHOOSER, next);

    sk_tensor chosen = sk_graph_argmax(g, a->nets[a->c->double_q ? CHOOSER : TARGET].q, a->in.next_mask);
    sk_tensor loss = row_loss(a, numbers_of(a, ONLINE, a->in.action), numbers_of(a, TARGET, chosen));
    sk_graph_output(g, a->error);
    a->loss = sk_graph_mean(g, mul(g, a->in.weight, loss));
    a->mean = sk_graph_mean(g, sk_graph_take(g, a->nets[ONLINE].q, a->in.action, 1));
    sk_graph_minimize(g, a->loss, 1.0f);
    return sk_trained_finish(&a->trained, &a->x, &encode, a->policy_params, a->c->adam_epsilon, reterr);
}

/* ---- noisy layers ----------------------------------------------------------------------------------------- */

static sk_status create_noise(dqn *a, role r, sk_error *reterr) {
    const sk_graph *g = a->trained.graph;
    size_t          floats = sk_net_noise_floats(g, &a->nets[r]), at = 0;
    if (floats == 0) return SK_OK;
    SK_TRY(sk_buffer_create(a->x.device, floats * sizeof(float), &a->noise[r], reterr));
    for (int i = 0; i < a->nets[r].n_noise; i++) {
        sk_plan_bind(a->trained.plan, a->nets[r].noise[i], a->noise[r], at * sizeof(float));
        at += ((size_t)sk_graph_node(g, a->nets[r].noise[i])->cols + SK_PAD - 1) / SK_PAD * SK_PAD;
    }
    return SK_OK;
}

/* Each network's own, new in every update. */
static void draw_noise(dqn *a) {
    for (role r = 0; r < ROLE_N; r++) {
        if (!a->noise[r]) continue;
        sk_net_draw_noise(a->trained.graph, &a->nets[r], (uint64_t)a->x.config->seed,
                          sk_stream_id(SK_STREAM_LEARNER, (uint64_t)r), (uint64_t)a->n_updates,
                          sk_buffer_host(a->noise[r]));
        sk_buffer_push(a->noise[r]);
    }
}

/* ---- create and destroy ----------------------------------------------------------------------------------- */

static void dqn_destroy(void *self) {
    dqn *a = self;
    if (!a) return;
    sk_trained_deinit(&a->trained);
    for (role r = 0; r < ROLE_N; r++) sk_buffer_destroy(&a->noise[r]);
    sk_buffer_destroy(&a->target);
    sk_buffer_destroy(&a->policy_params);
    free(a->told);
    free(a);
}

static void move_target(dqn *a, double tau) {
    sk_device_polyak(a->x.device, a->target, a->policy_params, sk_policy_n_floats(a->x.policy), tau);
}

static sk_status create_parts(dqn *a, sk_error *reterr) {
    size_t bytes = sk_policy_n_floats(a->x.policy) * sizeof(float);
    a->told = calloc((size_t)a->x.shape.n_rows, sizeof *a->told);
    if (!a->told) return SK_FAIL(reterr, SK_ENOMEM, "dqn: no memory for a batch of %d", a->x.shape.n_rows);
    SK_TRY(sk_buffer_wrap(a->x.device, sk_policy_params(a->x.policy), bytes, &a->policy_params, reterr));
    SK_TRY(sk_buffer_create(a->x.device, bytes, &a->target, reterr));
    SK_TRY(build(a, reterr));
    for (role r = 0; r < ROLE_N; r++) SK_TRY(create_noise(a, r, reterr));
    sk_plan_bind_group(a->trained.plan, TARGET, a->target);
    if (a->c->double_q) sk_plan_bind_group(a->trained.plan, CHOOSER, a->policy_params);
    move_target(a, 1.0);
    return SK_OK;
}

static sk_status dqn_create(const sk_algorithm_context *context, void **ret_self, sk_error *reterr) {
    dqn *a = calloc(1, sizeof *a);
    if (!a) return SK_FAIL(reterr, SK_ENOMEM, "dqn: no memory");
    a->x = *context;
    a->c = context->own;
    a->spaces = sk_policy_spaces_get(context->policy);
    for (role r = 0; r < ROLE_N; r++) a->nets[r] = SK_NET_INIT;
    sk_status status = create_parts(a, reterr);
    if (status != SK_OK) {
        dqn_destroy(a);
        return status;
    }
    *ret_self = a;
    return SK_OK;
}

/* ---- one update ------------------------------------------------------------------------------------------- */

/* As often as multiples of target_network_update_freq were passed, but once at a time. */
static void follow(dqn *a, double steps) {
    int64_t freq = a->c->target_network_update_freq, now = (int64_t)steps;
    if (freq == 0 || now / freq > a->target_step / freq) move_target(a, a->c->tau);
    a->target_step = now;
}

static sk_status tell_errors(dqn *a, sk_source *source, int rows, iteration *it, sk_error *reterr) {
    const float *error = sk_plan_output(a->trained.plan, a->error);
    double       sum = 0.0;
    for (int i = 0; i < rows; i++) {
        a->told[i] = fabsf(error[i]) + 1e-6f; /* a replay refuses 0 */
        sum += (double)a->told[i];
    }
    it->error += sum / rows;
    return sk_source_feedback(source, a->told, rows, reterr);
}

/* An update whose gradient is not finite is left out, and told to nobody. */
static sk_status update(dqn *a, sk_source *source, const sk_batch *b, double steps, iteration *it, sk_error *reterr) {
    int rows = b->shape.n_rows;
    follow(a, steps);
    draw_noise(a);
    sk_trained_push_constants(&a->trained, a->x.policy);
    sk_columns_bind(a->trained.plan, &a->in, b);
    double lr = sk_schedule_at(&a->c->lr, steps);
    double norm = sk_plan_train(a->trained.plan, rows, a->trained.adam, lr, a->c->grad_clip);
    sk_buffer_pull(a->policy_params);
    sk_policy_set_version(a->x.policy, sk_policy_version(a->x.policy) + 1);
    a->n_updates++;
    it->n_updates++;
    if (!isfinite(norm)) return SK_OK;
    it->n_finite++;
    it->grad_norm += norm;
    it->loss += sk_plan_sum(a->trained.plan, a->loss)[0];
    it->mean += sk_plan_sum(a->trained.plan, a->mean)[0];
    return tell_errors(a, source, rows, it, reterr);
}

static void report(const dqn *a, const iteration *it, double steps, sk_metrics *m) {
    double n = (double)it->n_finite; /* 0 makes the means absent */
    sk_metrics_set(m, SK_METRIC_QF_LOSS, it->loss / n);
    sk_metrics_set(m, SK_METRIC_QF_MEAN, it->mean / n);
    sk_metrics_set(m, SK_METRIC_TD_ERROR, it->error / n);
    sk_metrics_set(m, SK_METRIC_GRAD_NORM, it->grad_norm / n);
    sk_metrics_set(m, SK_METRIC_LR, sk_schedule_at(&a->c->lr, steps));
    sk_metrics_set(m, SK_METRIC_EXPLORATION, sk_schedule_at(&a->c->epsilon, steps));
    sk_metrics_add(m, SK_METRIC_UPDATES, it->n_finite);
    sk_metrics_add(m, SK_METRIC_UPDATES_SKIPPED, it->n_updates - it->n_finite);
    if (it->n_finite < it->n_updates)
        sk_log(SK_LOG_WARN, "dqn: %d of %d updates were left out: the gradient was not finite",
               it->n_updates - it->n_finite, it->n_updates);
}

/* Mnih et al. 2015, algorithm 1, for an iteration's env steps. */
static sk_status dqn_learn(void *self, sk_source *source, sk_metrics *m, sk_error *reterr) {
    dqn      *a = self;
    iteration it = {0};
    double    steps = sk_metrics_get(m, SK_METRIC_ENV_STEPS, 0.0);
    double    end = steps + (double)a->c->replay.min_iteration_steps;
    while (steps < end) {
        const sk_batch *b = NULL;
        *sk_policy_exploration(a->x.policy) =
            (sk_exploration){.kind = SK_EXPLORE_EPSILON, .epsilon = (float)sk_schedule_at(&a->c->epsilon, steps)};
        SK_TRY(sk_source_next(source, &b, reterr));
        steps = sk_metrics_get(m, SK_METRIC_ENV_STEPS, 0.0);
        double start_s = sk_clock_now_s();
        SK_TRY(update(a, source, b, steps, &it, reterr));
        sk_metrics_add(m, SK_METRIC_TIME_LEARN, sk_clock_now_s() - start_s);
    }
    report(a, &it, steps, m);
    return SK_OK;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------ */

typedef struct saved_numbers {
    int64_t n_updates, target_step;
} saved_numbers;

static sk_status dqn_save(void *self, sk_pack_writer *writer, sk_error *reterr) {
    dqn          *a = self;
    saved_numbers n = {a->n_updates, a->target_step};
    SK_TRY(sk_pack_writer_add(writer, "dqn", &n, sizeof n, reterr));
    SK_TRY(sk_buffer_save(a->target, sk_policy_n_floats(a->x.policy), "targets", writer, reterr));
    return sk_trained_save(&a->trained, "q", writer, reterr);
}

static sk_status dqn_load(void *self, const sk_pack *pack, sk_error *reterr) {
    dqn          *a = self;
    saved_numbers n;
    const void   *bytes = NULL;
    SK_TRY(sk_pack_section(pack, "dqn", sizeof n, &bytes, NULL, reterr));
    memcpy(&n, bytes, sizeof n);
    if (n.n_updates < 0 || n.n_updates > INT64_MAX / 2 || n.target_step < 0 || n.target_step > INT64_MAX / 2)
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's state of dqn makes no sense");
    a->n_updates = n.n_updates;
    a->target_step = n.target_step;
    SK_TRY(sk_buffer_load(a->target, sk_policy_n_floats(a->x.policy), "targets", pack, reterr));
    return sk_trained_load(&a->trained, "q", pack, reterr);
}

static const sk_replay_config *dqn_replay(const void *own) { return &((const sk_dqn_config *)own)->replay; }

const sk_algorithm_api sk_dqn_api = {
    .name = "dqn",
    .keys = sk__dqn_keys,
    .n_keys = SK__DQN_N_KEYS,
    .config_size = sizeof(sk_dqn_config),
    .prepare = sk__dqn_prepare,
    .replay = dqn_replay,
    .check = sk__dqn_check,
    .create = dqn_create,
    .destroy = dqn_destroy,
    .learn = dqn_learn,
    .save = dqn_save,
    .load = dqn_load,
};
