/* sac: learn() draws a batch, then moves the critics towards the soft target (Haarnoja et al. 2018b, eq. 5-6), the
 * policy along the critics (eq. 9), the temperature towards its entropy (eq. 17) and the targets after the critics. */
#include "algorithms/sac/sac.h"

#include "algorithms/critics.h"
#include "algorithms/sac/sac_config.h"
#include "core/base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEXT_NOISE, NOISE }; /* streams of an update's normals */

/* Adam's state of one number. */
typedef struct scalar_adam {
    double m, v;
} scalar_adam;

typedef struct sac {
    sk_algorithm_context x;
    const sk_sac_config *c;
    const sk_policy_spaces *spaces;
    double     target_entropy, log_alpha;
    scalar_adam alpha_adam;
    int64_t    n_updates;

    sk_critics critics;
    sk_trained actor;                 /* the policy's parameters */
    sk_buffer *policy_params, *alpha;
    sk_columns actor_in;
    sk_tensor  critic_noise, actor_noise, critic_alpha, actor_alpha, pi_loss, logp_mean;
    float     *noise;                 /* (2 x rows x S)          */
} sac;

/* Sums over an iteration. */
typedef struct iteration {
    sk_critics_sums critics;
    double          pi_loss, logp, alpha_loss;
} iteration;

/* ---- the losses ------------------------------------------------------------------------------------------- */

static sk_tensor add(sk_graph *g, sk_tensor x, sk_tensor y) { return sk_graph_binary(g, SK_BINARY_ADD, x, y); }
static sk_tensor sub(sk_graph *g, sk_tensor x, sk_tensor y) { return sk_graph_binary(g, SK_BINARY_SUB, x, y); }
static sk_tensor mul(sk_graph *g, sk_tensor x, sk_tensor y) { return sk_graph_binary(g, SK_BINARY_MUL, x, y); }

/* What the policy does about observations x: an action and its log-prob; or all choices' probabilities and their
 * logarithms. */
typedef struct behaviour {
    sk_tensor action, logp; /* (B x S), (B x 1); discrete: (B x n), (B x n) */
} behaviour;

static behaviour behave(const sac *a, sk_graph *g, sk_tensor x, sk_tensor mask, sk_tensor noise, sk_net *net) {
    int slots = a->spaces->action_slots;
    sk_net_build_on(g, a->spaces, sk_policy_model(a->x.policy), x, net);
    if (a->spaces->n_parts == 0) {
        sk_tensor drawn = sk_graph_squashed_gaussian(g, net->pi, net->log_std, noise);
        return (behaviour){sk_graph_slice(g, drawn, 0, slots), sk_graph_slice(g, drawn, slots, 1)};
    }
    sk_tensor logits = net->pi;
    if (mask != SK_NO_TENSOR) logits = add(g, logits, sk_graph_affine(g, mask, -SK_MASKED_LOGIT, SK_MASKED_LOGIT));
    return (behaviour){sk_graph_softmax(g, logits), sk_graph_log_softmax(g, logits)};
}

/* E[q - alpha logp]: of the one action drawn, or over all choices. */
static sk_tensor soft_value(const sac *a, sk_graph *g, behaviour b, sk_tensor q, sk_tensor alpha) {
    if (a->spaces->n_parts == 0) return sub(g, q, mul(g, b.logp, alpha));
    sk_tensor entropy = sk_graph_row_sum(g, mul(g, b.action, b.logp)); /* minus the entropy */
    return sub(g, sk_graph_row_sum(g, mul(g, b.action, q)), mul(g, entropy, alpha));
}

static sk_status build_critics(sac *a, sk_error *reterr) {
    SK_TRY(sk_critics_begin(&a->critics, &a->x, 2, reterr));
    const sk_columns *in = &a->critics.in;
    sk_graph         *g = a->critics.trained.graph;
    sk_obs_filter     filter = sk_policy_filter(a->x.policy);
    sk_net            net = SK_NET_INIT;
    a->critic_noise = a->spaces->n_parts == 0 ? sk_graph_input(g, "noise", a->spaces->action_slots) : SK_NO_TENSOR;
    a->critic_alpha = sk_graph_const(g, "alpha", 1);
    sk_tensor x = sk_net_encode(g, a->spaces, filter, in->obs, &net);
    sk_tensor next = sk_net_encode(g, a->spaces, filter, in->next_obs, &net);

    sk_graph_use_group(g, SK_CRITICS_POLICY);
    behaviour b = behave(a, g, next, in->next_mask, a->critic_noise, &net);
    sk_graph_use_group(g, SK_CRITICS_TARGETS);
    sk_tensor value = soft_value(a, g, b, sk_critics_least(&a->critics, g, next, b.action), a->critic_alpha);
    sk_tensor target = add(g, in->reward, mul(g, in->discount, value));
    sk_critics_minimize(&a->critics, x, target, 0.5f); /* 1/2 td^2, as SB3 */
    return sk_critics_finish(&a->critics, &net, a->c->adam_epsilon, reterr);
}

static sk_status build_actor(sac *a, sk_error *reterr) {
    SK_TRY(sk_trained_begin(&a->actor, reterr));
    sk_graph *g = a->actor.graph;
    sk_net    net = SK_NET_INIT;
    a->actor_in = sk_columns_obs(g, a->spaces);
    a->actor_noise = a->spaces->n_parts == 0 ? sk_graph_input(g, "noise", a->spaces->action_slots) : SK_NO_TENSOR;
    a->actor_alpha = sk_graph_const(g, "alpha", 1);
    sk_tensor x = sk_net_encode(g, a->spaces, sk_policy_filter(a->x.policy), a->actor_in.obs, &net);
    behaviour b = behave(a, g, x, a->actor_in.mask, a->actor_noise, &net);
    sk_graph_use_group(g, 1); /* the critics */
    sk_tensor value = soft_value(a, g, b, sk_critics_least(&a->critics, g, x, b.action), a->actor_alpha);
    a->pi_loss = sk_graph_mean(g, sk_graph_affine(g, value, -1.0f, 0.0f));
    a->logp_mean = sk_graph_mean(g, a->spaces->n_parts == 0 ? b.logp : sk_graph_row_sum(g, mul(g, b.action, b.logp)));
    sk_graph_minimize(g, a->pi_loss, 1.0f);
    return sk_trained_finish(&a->actor, &a->x, &net, a->policy_params, a->c->adam_epsilon, reterr);
}

/* ---- create and destroy ----------------------------------------------------------------------------------- */

static void sac_destroy(void *self) {
    sac *a = self;
    if (!a) return;
    sk_critics_deinit(&a->critics);
    sk_trained_deinit(&a->actor);
    sk_buffer_destroy(&a->policy_params);
    sk_buffer_destroy(&a->alpha);
    free(a->noise);
    free(a);
}

static void push_alpha(sac *a) {
    *(float *)sk_buffer_host(a->alpha) = (float)exp(a->log_alpha);
    sk_buffer_push(a->alpha);
}

static sk_status create_buffers(sac *a, sk_error *reterr) {
    size_t rows = (size_t)a->x.shape.n_rows, n = 2 * rows * (size_t)a->spaces->action_slots;
    a->noise = aligned_alloc(64, (n * sizeof *a->noise + 127) / 64 * 64);
    if (!a->noise) return SK_FAIL(reterr, SK_ENOMEM, "sac: no memory for a batch of %zu", rows);
    SK_TRY(sk_buffer_create(a->x.device, SK_PAD * sizeof(float), &a->alpha, reterr));
    return sk_buffer_wrap(a->x.device, sk_policy_params(a->x.policy), sk_policy_n_floats(a->x.policy) * sizeof(float),
                          &a->policy_params, reterr);
}

static void bind_for_life(sac *a) {
    size_t half = (size_t)a->x.shape.n_rows * (size_t)a->spaces->action_slots;
    sk_plan_bind_group(a->critics.trained.plan, SK_CRITICS_POLICY, a->policy_params);
    sk_plan_bind_group(a->actor.plan, 1, a->critics.trained.params);
    sk_plan_bind(a->critics.trained.plan, a->critic_alpha, a->alpha, 0);
    sk_plan_bind(a->actor.plan, a->actor_alpha, a->alpha, 0);
    if (a->critic_noise == SK_NO_TENSOR) return;
    sk_plan_bind_host(a->critics.trained.plan, a->critic_noise, a->noise);
    sk_plan_bind_host(a->actor.plan, a->actor_noise, a->noise + half);
}

static sk_status sac_create(const sk_algorithm_context *context, void **ret_self, sk_error *reterr) {
    sk_status status = SK_OK;
    sac      *a = calloc(1, sizeof *a);
    if (!a) return SK_FAIL(reterr, SK_ENOMEM, "sac: no memory");
    a->x = *context;
    a->c = context->own;
    a->spaces = sk_policy_spaces_get(context->policy);
    a->target_entropy = sk__sac_target_entropy(a->c, a->spaces);
    a->log_alpha = log(a->c->initial_alpha);
    if (a->spaces->n_parts > 1) {
        status = SK_FAIL(reterr, SK_EUNSUPPORTED, "sac: environment \"%s\" has %d discrete actions at once, wanted "
                         "one, or box actions", a->spaces->env_name, a->spaces->n_parts);
        goto fail;
    }
    SK_TRY_GOTO(create_buffers(a, reterr));
    SK_TRY_GOTO(build_critics(a, reterr));
    SK_TRY_GOTO(build_actor(a, reterr));
    bind_for_life(a);
    push_alpha(a);
    *ret_self = a;
    return SK_OK;
fail:
    sac_destroy(a);
    return status;
}

/* ---- one update ------------------------------------------------------------------------------------------- */

/* Fresh noise for the next action of the target and for the action that the policy learns from. */
static void draw_noise(sac *a, int rows) {
    int n = rows * a->spaces->action_slots;
    if (a->spaces->n_parts > 0) return;
    size_t half = (size_t)a->x.shape.n_rows * (size_t)a->spaces->action_slots;
    sk_fill_normal((uint64_t)a->x.config->seed, NEXT_NOISE, (uint64_t)a->n_updates, a->noise, n);
    sk_fill_normal((uint64_t)a->x.config->seed, NOISE, (uint64_t)a->n_updates, a->noise + half, n);
}

/* d/d log alpha of -log alpha (log pi + target entropy), by Adam (as SB3: the logarithm is learned). */
static void learn_alpha(sac *a, double logp, double lr, iteration *it) {
    double grad = -(logp + a->target_entropy), t = (double)(a->n_updates + 1);
    it->alpha_loss += grad * a->log_alpha;
    if (!a->c->learn_alpha || !isfinite(grad)) return;
    a->alpha_adam.m = 0.9 * a->alpha_adam.m + 0.1 * grad;
    a->alpha_adam.v = 0.999 * a->alpha_adam.v + 0.001 * grad * grad;
    double m = a->alpha_adam.m / (1.0 - pow(0.9, t)), v = a->alpha_adam.v / (1.0 - pow(0.999, t));
    a->log_alpha -= lr * m / (sqrt(v) + a->c->adam_epsilon);
    push_alpha(a);
}

static sk_status update(sac *a, sk_source *source, const sk_batch *b, double steps, iteration *it, sk_error *reterr) {
    int rows = b->shape.n_rows;
    draw_noise(a, rows);
    SK_TRY(sk_critics_update(&a->critics, source, b, sk_schedule_at(&a->c->critic_lr, steps), a->c->grad_clip,
                             &it->critics, reterr));

    sk_trained_push_constants(&a->actor, a->x.policy);
    sk_columns_bind(a->actor.plan, &a->actor_in, b);
    double norm = sk_plan_train(a->actor.plan, rows, a->actor.adam, sk_schedule_at(&a->c->actor_lr, steps),
                                a->c->grad_clip);
    if (isfinite(norm)) it->pi_loss += sk_plan_sum(a->actor.plan, a->pi_loss)[0];
    double logp = sk_plan_sum(a->actor.plan, a->logp_mean)[0];
    it->logp += logp;
    learn_alpha(a, logp, sk_schedule_at(&a->c->alpha_lr, steps), it);

    a->n_updates++;
    if (a->n_updates % a->c->target_network_update_freq == 0)
        sk_critics_move_targets(&a->critics, a->c->tau);
    sk_buffer_pull(a->policy_params);
    sk_policy_set_version(a->x.policy, sk_policy_version(a->x.policy) + 1);
    return SK_OK;
}

static void report(const sac *a, const iteration *it, double steps, sk_metrics *m) {
    int n = it->critics.n_updates;
    sk_critics_report(&it->critics, "sac", m);
    sk_metrics_set(m, SK_METRIC_POLICY_LOSS, it->pi_loss / n);
    sk_metrics_set(m, SK_METRIC_ENTROPY, -it->logp / n);
    sk_metrics_set(m, SK_METRIC_ALPHA_LOSS, it->alpha_loss / n);
    sk_metrics_set(m, SK_METRIC_ALPHA, exp(a->log_alpha));
    sk_metrics_set(m, SK_METRIC_LR, sk_schedule_at(&a->c->actor_lr, steps));
}

/* Haarnoja et al. 2018b, algorithm 1, for an iteration's env steps. */
static sk_status sac_learn(void *self, sk_source *source, sk_metrics *m, sk_error *reterr) {
    sac      *a = self;
    iteration it = {0};
    double    steps = sk_metrics_get(m, SK_METRIC_ENV_STEPS, 0.0);
    double    end = steps + (double)a->c->replay.min_iteration_steps;
    *sk_policy_exploration(a->x.policy) = (sk_exploration){.kind = SK_EXPLORE_POLICY};
    while (steps < end) {
        const sk_batch *b = NULL;
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
    double  log_alpha, alpha_m, alpha_v;
    int64_t n_updates;
} saved_numbers;

static sk_status sac_save(void *self, sk_pack_writer *writer, sk_error *reterr) {
    sac          *a = self;
    saved_numbers n = {a->log_alpha, a->alpha_adam.m, a->alpha_adam.v, a->n_updates};
    SK_TRY(sk_pack_writer_add(writer, "sac", &n, sizeof n, reterr));
    SK_TRY(sk_critics_save(&a->critics, writer, reterr));
    return sk_trained_save(&a->actor, "actor", writer, reterr);
}

static sk_status sac_load(void *self, const sk_pack *pack, sk_error *reterr) {
    sac          *a = self;
    saved_numbers n;
    const void   *bytes = NULL;
    SK_TRY(sk_pack_section(pack, "sac", sizeof n, &bytes, NULL, reterr));
    memcpy(&n, bytes, sizeof n);
    if (!isfinite(n.log_alpha) || !isfinite(n.alpha_m) || !(n.alpha_v >= 0.0) || n.n_updates < 0 ||
        n.n_updates > INT64_MAX / 2)
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint's state of sac makes no sense");
    a->log_alpha = n.log_alpha;
    a->alpha_adam = (scalar_adam){n.alpha_m, n.alpha_v};
    a->n_updates = n.n_updates;
    push_alpha(a);
    SK_TRY(sk_critics_load(&a->critics, pack, reterr));
    return sk_trained_load(&a->actor, "actor", pack, reterr);
}

static const sk_replay_config *sac_replay(const void *own) { return &((const sk_sac_config *)own)->replay; }

const sk_algorithm_api sk_sac_api = {
    .name = "sac",
    .keys = sk__sac_keys,
    .n_keys = SK__SAC_N_KEYS,
    .config_size = sizeof(sk_sac_config),
    .prepare = sk__sac_prepare,
    .replay = sac_replay,
    .check = sk__sac_check,
    .create = sac_create,
    .destroy = sac_destroy,
    .learn = sac_learn,
    .save = sac_save,
    .load = sac_load,
};
