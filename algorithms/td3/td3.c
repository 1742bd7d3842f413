/* td3: learn() draws a batch, moves the critics towards r + discount * min_i Q'_i(s', pi'(s') + noise) (Fujimoto et al.
 * 2018, algorithm 1), and now and then the policy along the first critic's gradient (Silver et al. 2014, eq. 9), and
 * then all targets. ddpg is the same with one critic, without that noise and without a delay (Lillicrap et al. 2016,
 * algorithm 1). */
#include "algorithms/td3/td3.h"

#include "algorithms/critics.h"
#include "algorithms/td3/td3_config.h"
#include "core/base/clock.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TARGET_NOISE }; /* stream of an update's normals */

typedef struct td3 {
    sk_algorithm_context    x;
    const sk_td3_config    *c;
    const sk_policy_spaces *spaces;
    const char             *name;
    int64_t     policy_delay, n_updates;

    sk_critics  critics;
    sk_trained  actor;                         /* the policy's parameters                            */
    sk_buffer  *policy_params, *policy_target; /* laid out alike                                     */
    sk_columns  actor_in;
    sk_tensor   noise_in, pi_loss;             /* noise_in: SK_NO_TENSOR without target noise        */
    float      *noise;                         /* (rows x S) standard normals                        */
} td3;

/* Sums over an iteration. */
typedef struct iteration {
    sk_critics_sums critics;
    double          pi_loss;
    int             n_policy;
} iteration;

/* ---- the losses ------------------------------------------------------------------------------------------- */

static sk_tensor add(sk_graph *g, sk_tensor x, sk_tensor y) { return sk_graph_binary(g, SK_BINARY_ADD, x, y); }
static sk_tensor mul(sk_graph *g, sk_tensor x, sk_tensor y) { return sk_graph_binary(g, SK_BINARY_MUL, x, y); }

/* clip(pi'(s') + clip(sigma * noise, -c, c), -1, 1)  (Fujimoto et al. 2018, eq. 14 and 15) */
static sk_tensor target_action(td3 *a, sk_graph *g, sk_tensor next, sk_net *net) {
    float sigma = (float)a->c->target_noise, bound = (float)a->c->target_noise_clip;
    sk_net_build_on(g, a->spaces, sk_policy_model(a->x.policy), next, net);
    a->noise_in = SK_NO_TENSOR;
    if (!(sigma > 0.0f && bound > 0.0f)) return net->pi;
    a->noise_in = sk_graph_input(g, "noise", a->spaces->action_slots);
    sk_tensor noise = sk_graph_clip(g, sk_graph_affine(g, a->noise_in, sigma, 0.0f), -bound, bound);
    return sk_graph_clip(g, add(g, net->pi, noise), -1.0f, 1.0f);
}

static sk_status build_critics(td3 *a, int n_critics, sk_error *reterr) {
    SK_TRY(sk_critics_begin(&a->critics, &a->x, n_critics, reterr));
    const sk_columns *in = &a->critics.in;
    sk_graph         *g = a->critics.trained.graph;
    sk_obs_filter     filter = sk_policy_filter(a->x.policy);
    sk_net            net = SK_NET_INIT;
    sk_tensor x = sk_net_encode(g, a->spaces, filter, in->obs, &net);
    sk_tensor next = sk_net_encode(g, a->spaces, filter, in->next_obs, &net);

    sk_graph_use_group(g, SK_CRITICS_POLICY); /* its target */
    sk_tensor action = target_action(a, g, next, &net);
    sk_graph_use_group(g, SK_CRITICS_TARGETS);
    sk_tensor value = sk_critics_least(&a->critics, g, next, action);
    sk_critics_minimize(&a->critics, x, add(g, in->reward, mul(g, in->discount, value)), 1.0f);
    SK_TRY(sk_critics_finish(&a->critics, &net, a->c->adam_epsilon, reterr));
    sk_plan_bind_group(a->critics.trained.plan, SK_CRITICS_POLICY, a->policy_target);
    if (a->noise_in != SK_NO_TENSOR) sk_plan_bind_host(a->critics.trained.plan, a->noise_in, a->noise);
    return SK_OK;
}

/* Minimise - mean Q_1(s, pi(s)). */
static sk_status build_actor(td3 *a, sk_error *reterr) {
    SK_TRY(sk_trained_begin(&a->actor, reterr));
    sk_graph *g = a->actor.graph;
    sk_net    net = SK_NET_INIT;
    a->actor_in = sk_columns_obs(g, a->spaces);
    sk_tensor x = sk_net_encode(g, a->spaces, sk_policy_filter(a->x.policy), a->actor_in.obs, &net);
    sk_net_build_on(g, a->spaces, sk_policy_model(a->x.policy), x, &net);
    sk_graph_use_group(g, 1); /* the critics, of which the first comes first */
    sk_tensor value = sk_critics_first(&a->critics, g, x, net.pi);
    a->pi_loss = sk_graph_mean(g, sk_graph_affine(g, value, -1.0f, 0.0f));
    sk_graph_minimize(g, a->pi_loss, 1.0f);
    SK_TRY(sk_trained_finish(&a->actor, &a->x, &net, a->policy_params, a->c->adam_epsilon, reterr));
    sk_plan_bind_group(a->actor.plan, 1, a->critics.trained.params);
    return SK_OK;
}

/* ---- create and destroy ----------------------------------------------------------------------------------- */

static void td3_destroy(void *self) {
    td3 *a = self;
    if (!a) return;
    sk_critics_deinit(&a->critics);
    sk_trained_deinit(&a->actor);
    sk_buffer_destroy(&a->policy_params);
    sk_buffer_destroy(&a->policy_target);
    free(a->noise);
    free(a);
}

/* targets += tau (networks - targets) */
static void move_targets(td3 *a, double tau) {
    sk_critics_move_targets(&a->critics, tau);
    sk_device_polyak(a->x.device, a->policy_target, a->policy_params, sk_policy_n_floats(a->x.policy), tau);
}

static sk_status create_buffers(td3 *a, sk_error *reterr) {
    size_t n_noise = (size_t)a->x.shape.n_rows * (size_t)a->spaces->action_slots;
    size_t bytes = sk_policy_n_floats(a->x.policy) * sizeof(float);
    a->noise = aligned_alloc(64, (n_noise * sizeof *a->noise + 63) / 64 * 64);
    if (!a->noise) return SK_FAIL(reterr, SK_ENOMEM, "%s: no memory for a batch of %d", a->name, a->x.shape.n_rows);
    SK_TRY(sk_buffer_create(a->x.device, bytes, &a->policy_target, reterr));
    return sk_buffer_wrap(a->x.device, sk_policy_params(a->x.policy), bytes, &a->policy_params, reterr);
}

static sk_status create(const sk_algorithm_context *context, const char *name, int n_critics, void **ret_self,
                        sk_error *reterr) {
    sk_status status = SK_OK;
    td3      *a = calloc(1, sizeof *a);
    if (!a) return SK_FAIL(reterr, SK_ENOMEM, "%s: no memory", name);
    a->x = *context;
    a->c = context->own;
    a->spaces = sk_policy_spaces_get(context->policy);
    a->name = name;
    a->policy_delay = a->c->policy_delay > 0 ? a->c->policy_delay : 1;
    if (a->spaces->n_parts > 0) {
        status = SK_FAIL(reterr, SK_EUNSUPPORTED, "%s: environment \"%s\" has discrete actions, wanted box ones "
                         "(ppo and sac take both)", name, a->spaces->env_name);
        goto fail;
    }
    SK_TRY_GOTO(create_buffers(a, reterr));
    SK_TRY_GOTO(build_critics(a, n_critics, reterr));
    SK_TRY_GOTO(build_actor(a, reterr));
    move_targets(a, 1.0);
    *ret_self = a;
    return SK_OK;
fail:
    td3_destroy(a);
    return status;
}

static sk_status td3_create(const sk_algorithm_context *context, void **ret_self, sk_error *reterr) {
    return create(context, "td3", 2, ret_self, reterr);
}

static sk_status ddpg_create(const sk_algorithm_context *context, void **ret_self, sk_error *reterr) {
    return create(context, "ddpg", 1, ret_self, reterr);
}

/* ---- one update ------------------------------------------------------------------------------------------- */

static void update_policy(td3 *a, const sk_batch *b, double lr, iteration *it) {
    sk_trained_push_constants(&a->actor, a->x.policy);
    sk_columns_bind(a->actor.plan, &a->actor_in, b);
    double norm = sk_plan_train(a->actor.plan, b->shape.n_rows, a->actor.adam, lr, a->c->grad_clip);
    if (isfinite(norm)) {
        it->pi_loss += sk_plan_sum(a->actor.plan, a->pi_loss)[0];
        it->n_policy++;
    }
    move_targets(a, a->c->tau);
    sk_buffer_pull(a->policy_params);
}

static sk_status update(td3 *a, sk_source *source, const sk_batch *b, double steps, iteration *it, sk_error *reterr) {
    if (a->noise_in != SK_NO_TENSOR)
        sk_fill_normal((uint64_t)a->x.config->seed, TARGET_NOISE, (uint64_t)a->n_updates, a->noise,
                       b->shape.n_rows * a->spaces->action_slots);
    SK_TRY(sk_critics_update(&a->critics, source, b, sk_schedule_at(&a->c->critic_lr, steps), a->c->grad_clip,
                             &it->critics, reterr));
    a->n_updates++;
    if (a->n_updates % a->policy_delay == 0) update_policy(a, b, sk_schedule_at(&a->c->actor_lr, steps), it);
    sk_policy_set_version(a->x.policy, sk_policy_version(a->x.policy) + 1);
    return SK_OK;
}

/* How actions are to differ from the policy's. theta and dt as in Lillicrap et al. 2016 and Baselines. */
static void set_exploration(const td3 *a, double steps) {
    *sk_policy_exploration(a->x.policy) = (sk_exploration){
        .kind = a->c->exploration_type == SK_TD3_OU ? SK_EXPLORE_OU : SK_EXPLORE_GAUSSIAN,
        .sigma = (float)sk_schedule_at(&a->c->exploration_noise, steps), .theta = 0.15f, .dt = 0.01f};
}

static sk_status td3_learn(void *self, sk_source *source, sk_metrics *m, sk_error *reterr) {
    td3      *a = self;
    iteration it = {0};
    double    steps = sk_metrics_get(m, SK_METRIC_ENV_STEPS, 0.0);
    double    end = steps + (double)a->c->replay.min_iteration_steps;
    while (steps < end) {
        const sk_batch *b = NULL;
        set_exploration(a, steps);
        SK_TRY(sk_source_next(source, &b, reterr));
        steps = sk_metrics_get(m, SK_METRIC_ENV_STEPS, 0.0);
        double start_s = sk_clock_now_s();
        SK_TRY(update(a, source, b, steps, &it, reterr));
        sk_metrics_add(m, SK_METRIC_TIME_LEARN, sk_clock_now_s() - start_s);
    }
    sk_critics_report(&it.critics, a->name, m);
    sk_metrics_set(m, SK_METRIC_POLICY_LOSS, it.pi_loss / it.n_policy); /* absent if there was none */
    sk_metrics_set(m, SK_METRIC_LR, sk_schedule_at(&a->c->actor_lr, steps));
    return SK_OK;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------ */

static sk_status td3_save(void *self, sk_pack_writer *writer, sk_error *reterr) {
    td3 *a = self;
    SK_TRY(sk_pack_writer_add(writer, "td3_updates", &a->n_updates, sizeof a->n_updates, reterr));
    SK_TRY(sk_critics_save(&a->critics, writer, reterr));
    SK_TRY(sk_trained_save(&a->actor, "actor", writer, reterr));
    return sk_buffer_save(a->policy_target, sk_policy_n_floats(a->x.policy), "policy_target", writer, reterr);
}

static sk_status td3_load(void *self, const sk_pack *pack, sk_error *reterr) {
    td3        *a = self;
    int64_t     n = 0;
    const void *bytes = NULL;
    SK_TRY(sk_pack_section(pack, "td3_updates", sizeof n, &bytes, NULL, reterr));
    memcpy(&n, bytes, sizeof n);
    if (n < 0 || n > INT64_MAX / 2)
        return SK_FAIL(reterr, SK_ECORRUPT, "the checkpoint says %lld updates of %s", (long long)n, a->name);
    a->n_updates = n;
    SK_TRY(sk_critics_load(&a->critics, pack, reterr));
    SK_TRY(sk_trained_load(&a->actor, "actor", pack, reterr));
    return sk_buffer_load(a->policy_target, sk_policy_n_floats(a->x.policy), "policy_target", pack, reterr);
}

static const sk_replay_config *td3_replay(const void *own) { return &((const sk_td3_config *)own)->replay; }

const sk_algorithm_api sk_td3_api = {
    .name = "td3",
    .keys = sk__td3_keys,
    .n_keys = SK__TD3_N_KEYS,
    .config_size = sizeof(sk_td3_config),
    .prepare = sk__td3_prepare,
    .replay = td3_replay,
    .check = sk__td3_check,
    .create = td3_create,
    .destroy = td3_destroy,
    .learn = td3_learn,
    .save = td3_save,
    .load = td3_load,
};

const sk_algorithm_api sk_ddpg_api = {
    .name = "ddpg",
    .keys = sk__ddpg_keys,
    .n_keys = SK__DDPG_N_KEYS,
    .config_size = sizeof(sk_td3_config),
    .prepare = sk__td3_prepare,
    .replay = td3_replay,
    .check = sk__td3_check,
    .create = ddpg_create,
    .destroy = td3_destroy,
    .learn = td3_learn,
    .save = td3_save,
    .load = td3_load,
};
