/* PPO on experience from runners: acting and learning agree on the policy to the last bit, what becomes of squashed
 * actions and state-dependent noise on the way to the environment, and a settled iteration allocates nothing. */
#include "algorithms/ppo/ppo.h"
#include "policies/net.h"
#include "rl/evaluate.h"
#include "tests/rl/rig.h"

#include <math.h>

typedef struct learner {
    rig        rig;
    sk_device *device;
    void      *ppo;
} learner;

/* `env` and `runners` as YAML; both filters are on. */
static void learner_open(learner *l, const char *env, const char *runners, const char *more) {
    rig_open(&l->rig, rig_text("algorithm: ppo\nenv: %s\nseed: 9\n"
                               "env_runners: {%s, rollout_fragment_length: 40, observation_filter: MeanStdFilter,\n"
                               "  normalize_rewards: true, on_invalid: drop}\n"
                               "model: {fcnet_hiddens: [32, 32]%s}\n"
                               "training: {num_epochs: 2, minibatch_size: 48, lr: 3.0e-3, use_kl_loss: true}\n"
                               "stop: {training_iteration: 1}\n", env, runners, more), 0);
    sk_error *e = &l->rig.error;
    cr_assert_eq(sk_device_create_cpu(2, &l->device, e), SK_OK, "%s", e->msg);
    sk_algorithm_context x = {.device = l->device, .policy = l->rig.policy, .config = &l->rig.setup.config,
                              .own = l->rig.setup.own, .shape = sk_stream_shape(l->rig.stream)};
    cr_assert_eq(sk_ppo_api.create(&x, &l->ppo, e), SK_OK, "%s", e->msg);
}
static void learner_close(learner *l) {
    sk_ppo_api.destroy(l->ppo);
    rig_close(&l->rig);
    sk_device_destroy(&l->device);
}
static void learner_learn(learner *l) {
    sk_error *e = &l->rig.error;
    cr_assert_eq(sk_ppo_api.learn(l->ppo, sk_stream_source_of(l->rig.stream), &l->rig.metrics, e), SK_OK, "%s", e->msg);
}

static const char *drill(const char *config) {
    return rig_text("{plugin: %s, name: Drill-v0, config: {%s}}", rig_plugin("drill"), config);
}

static void starts_where_it_acted(const char *env, const char *runners, const char *more) {
    learner l;
    learner_open(&l, env, runners, more);
    for (int i = 0; i < 4; i++) {
        learner_learn(&l);
        const sk_metrics *m = &l.rig.metrics;
        cr_assert(m->present[SK_METRIC_FIRST_RATIO] && m->present[SK_METRIC_FIRST_KL]);
        cr_assert_eq(m->value[SK_METRIC_FIRST_RATIO], 0.0, "%s, iteration %d: |ratio - 1| is %g", env, i,
                     m->value[SK_METRIC_FIRST_RATIO]);
        cr_assert_lt(m->value[SK_METRIC_FIRST_KL], 1e-6);
        cr_assert_gt(m->value[SK_METRIC_KL], 1e-6, "%s: it does not learn, so this proves nothing", env);
        cr_assert_eq(m->value[SK_METRIC_UPDATES_SKIPPED], 0);
    }
    learner_close(&l);
}

static const char inline_8[] = "num_env_runners: 0, num_envs_per_env_runner: 8";
static const char threads_2x4[] = "num_env_runners: 2, num_envs_per_env_runner: 4";
static const char threads_3x1[] = "num_env_runners: 3, num_envs_per_env_runner: 1";

Test(ppo_stream, first_minibatch_has_ratio_exactly_1_on_cartpole) {
    starts_where_it_acted("CartPole-v1", inline_8, "");
    starts_where_it_acted("CartPole-v1", threads_3x1, ", vf_share_layers: true");
    starts_where_it_acted("CartPole-v1", threads_2x4, ", layer_norm: true, fcnet_activation: gelu");
}
Test(ppo_stream, first_minibatch_has_ratio_exactly_1_on_pendulum) {
    starts_where_it_acted("Pendulum-v1", threads_2x4, "");
    starts_where_it_acted("Pendulum-v1", inline_8, ", free_log_std: false");
}
Test(ppo_stream, first_minibatch_has_ratio_exactly_1_with_masks_and_several_choices) {
    starts_where_it_acted(drill("mask: 1, end: 8"), threads_2x4, "");
    starts_where_it_acted(drill("kind: 1, mask: 1, end: 8, cut: 15"), inline_8, "");
    starts_where_it_acted(drill("kind: 2, end: 8"), inline_8, "");
}
Test(ppo_stream, first_minibatch_has_ratio_exactly_1_with_agents_and_dropped_episodes) {
    starts_where_it_acted(drill("mask: 1, agents: 2, end: 8, cut: 15, nan: 4"), threads_2x4, "");
}

Test(ppo_stream, first_minibatch_has_ratio_exactly_1_with_squashed_actions) {
    starts_where_it_acted("Pendulum-v1", threads_2x4, ", squash_actions: true");
    starts_where_it_acted(drill("kind: 3, end: 8"), inline_8, ", squash_actions: true, free_log_std: false");
}
Test(ppo_stream, first_minibatch_has_ratio_exactly_1_with_state_dependent_noise) {
    starts_where_it_acted("Pendulum-v1", threads_2x4, ", use_sde: true");
    starts_where_it_acted("Pendulum-v1", threads_3x1, ", use_sde: true, sde_sample_freq: 3, vf_share_layers: true");
    starts_where_it_acted(drill("kind: 2, end: 8, agents: 2"), inline_8, ", use_sde: true, fcnet_activation: relu");
    starts_where_it_acted(drill("kind: 3, end: 8"), threads_2x4, ", use_sde: true, squash_actions: true");
    starts_where_it_acted("Pendulum-v1", inline_8, ", use_sde: true, squash_actions: true, sde_sample_freq: 3");
}

/* ---- squashed actions ---- */

enum { DRILL_OBS = 4 };

static float within(float low, float high, float u) { return low + (tanhf(u) + 1.0f) / 2.0f * (high - low); }

/* Drill's reward says which action it was given: 1 - |action - what it saw first|. */
Test(ppo_stream, squashed_actions_reach_the_environment_scaled_to_its_bounds) {
    rig r;
    int n_wide = 0;
    rig_open(&r, rig_text("algorithm: ppo\nenv: %s\nenv_runners: {%s, rollout_fragment_length: 50}\n"
                          "model: {squash_actions: true, log_std_init: 1}\nstop: {training_iteration: 1}\n",
                          drill("kind: 3, cut: 9"), threads_2x4), 0);
    const sk_batch *b = rig_next(&r);
    for (int i = 0; i < b->shape.n_steps * b->shape.n_rows; i++) {
        float u = b->action[2 * i].f, did = within(-0.5f, 1.5f, u);
        n_wide += fabsf(u) > 1.5f; /* the draw itself stays as it was: it is what has the log-prob */
        cr_assert(did >= -0.5f && did <= 1.5f);
        cr_assert_float_eq(b->reward[i], 1.0f - fabsf(did - b->obs[i * DRILL_OBS + 1]), 1e-6, "row %d", i);
    }
    cr_assert_gt(n_wide, 100);
    rig_close(&r);
}

Test(ppo_stream, squashing_stays_within_the_bounds_at_both_ends) {
    const sk_policy_spaces s = {.obs_dim = 1, .action_slots = 3, .box_low = {-3, 0.1f, -1e-3f},
                                .box_high = {-1, 0.7f, 5}};
    const sk_model_config  m = {.squash_actions = true};
    for (int i = -200; i <= 200; i++) {
        float       u = (float)i * 0.1f;
        sk_env_slot a[3] = {{u}, {-u}, {u}};
        sk_policy_to_env(&s, &m, a, 1, a);
        for (int k = 0; k < 3; k++) {
            cr_assert(a[k].f >= s.box_low[k] && a[k].f <= s.box_high[k], "%.9g of [%.9g, %.9g]", (double)a[k].f,
                      (double)s.box_low[k], (double)s.box_high[k]);
            cr_assert_float_eq(a[k].f, within(s.box_low[k], s.box_high[k], k == 1 ? -u : u), 1e-6);
        }
    }
}

/* What Drill shows first in an episode of this seed. */
static void first_seen(uint64_t seed, float *obs) {
    obs[0] = 0.0f;
    for (int i = 1; i < DRILL_OBS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        obs[i] = (float)(seed >> 40) * 0x1p-23f - 1.0f;
    }
}

/* A policy without hidden layers; episodes of one step. */
Test(ppo_stream, evaluation_takes_tanh_of_the_mean_scaled_to_the_bounds) {
    for (int use_sde = 0; use_sde < 2; use_sde++) {
        rig           r;
        sk_evaluation e;
        float         obs[DRILL_OBS];
        rig_open(&r, rig_text("algorithm: ppo\nenv: %s\nmodel: {squash_actions: true, fcnet_hiddens: [], use_sde: %s}\n"
                              "stop: {training_iteration: 1}\n", drill("kind: 3, cut: 1"), use_sde ? "true" : "false"),
                 0);
        float *params = sk_policy_params(r.policy);
        for (size_t i = 0; i < sk_policy_n_floats(r.policy); i++) params[i] *= 80.0f; /* heads start almost at zero */
        sk_graph *g = NULL;
        sk_net    net;
        cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
        sk_net_build(g, &r.setup.spaces, sk_policy_model(r.policy), SK_FILTER_NONE, sk_graph_input(g, "obs", DRILL_OBS),
                     &net);
        cr_assert_eq(sk_graph_finish(g, NULL), SK_OK);
        const sk_node *w = sk_graph_node(g, sk_graph_find_param(g, "pi/out/w"));
        for (int seed = 5; seed < 25; seed++) {
            float u = 0.0f;
            first_seen((uint64_t)seed, obs);
            for (int i = 0; i < DRILL_OBS; i++) u += obs[i] * params[w->offset + i * w->ld];
            sk_evaluate_params p = {.env = r.setup.env, .policy = r.policy, .n_episodes = 1, .seed = (uint64_t)seed};
            cr_assert_eq(sk_evaluate_run(&p, &e, &r.error), SK_OK, "%s", r.error.msg);
            cr_assert_float_eq(e.return_mean, 1.0 - fabs((double)within(-0.5f, 1.5f, u) - (double)obs[1]), 1e-5);
        }
        sk_graph_destroy(&g);
        rig_close(&r);
    }
}

/* ---- state-dependent noise ---- */

/* A policy of nothing but noise: all parameters are 0, so that an action is its observation times a matrix (4 x 2). The
 * first four steps from `from` on say which matrix; how many steps after them have the same? */
static int steps_with_one_matrix(const sk_batch *b, int row, int from) {
    double m[DRILL_OBS][DRILL_OBS + 1];
    int    rows = b->shape.n_rows, t;
    for (int i = 0; i < DRILL_OBS; i++) {
        for (int k = 0; k < DRILL_OBS; k++) m[i][k] = (double)b->obs[((from + i) * rows + row) * DRILL_OBS + k];
        m[i][DRILL_OBS] = (double)b->action[2 * ((from + i) * rows + row)].f;
    }
    for (int c = 0; c < DRILL_OBS; c++) { /* Gauss & Jordan with pivots */
        int best = c;
        for (int i = c; i < DRILL_OBS; i++) best = fabs(m[i][c]) > fabs(m[best][c]) ? i : best;
        for (int k = 0; k <= DRILL_OBS; k++) {
            double swap = m[c][k];
            m[c][k] = m[best][k], m[best][k] = swap;
        }
        for (int i = 0; i < DRILL_OBS; i++)
            for (int k = DRILL_OBS; i != c && k >= c; k--) m[i][k] -= m[i][c] / m[c][c] * m[c][k];
    }
    for (t = from + DRILL_OBS; t < b->shape.n_steps; t++) {
        double a = 0.0;
        for (int k = 0; k < DRILL_OBS; k++)
            a += (double)b->obs[(t * rows + row) * DRILL_OBS + k] * m[k][DRILL_OBS] / m[k][k];
        if (fabs(a - (double)b->action[2 * (t * rows + row)].f) > 2e-3) break;
    }
    return t - from;
}

/* Observations stay small: the log of a deviation is clamped at 2. */
static void open_noise(rig *r, const char *runners, int freq) {
    rig_open(r, rig_text("algorithm: ppo\nenv: %s\nseed: 4\nenv_runners: {%s, rollout_fragment_length: 40}\n"
                         "model: {use_sde: true, sde_sample_freq: %d, fcnet_hiddens: []}\n"
                         "stop: {training_iteration: 1}\n", drill("kind: 2, cut: 25"), runners, freq), 0);
    memset(sk_policy_params(r->policy), 0, sk_policy_n_floats(r->policy) * sizeof(float));
}

Test(ppo_stream, state_dependent_noise_is_one_matrix_for_as_many_steps_as_asked) {
    rig r;
    open_noise(&r, threads_2x4, 8);
    for (int i = 0; i < 2; i++) {
        const sk_batch *b = rig_next(&r);
        for (int row = 0; row < 8; row++)
            for (int from = 0; from < 40; from += 8) cr_assert_eq(steps_with_one_matrix(b, row, from), 8);
    }
    rig_close(&r);
    open_noise(&r, threads_2x4, -1);
    float last = 0.0f;
    for (int i = 0; i < 3; i++) {
        const sk_batch *b = rig_next(&r);
        for (int row = 0; row < 8; row++) cr_assert_eq(steps_with_one_matrix(b, row, 0), 40, "row %d", row);
        cr_assert_neq(b->action[0].f / b->obs[1], last, "the matrix of the fragment before");
        last = b->action[0].f / b->obs[1];
    }
    rig_close(&r);
}

/* Given the observation, actions are independent normals of variance |obs|^2 + 1e-6 here. */
Test(ppo_stream, state_dependent_noise_has_the_log_prob_of_its_normal) {
    rig r;
    open_noise(&r, inline_8, 2);
    double square = 0.0;
    int    n = 0;
    for (int f = 0; f < 20; f++) {
        const sk_batch *b = rig_next(&r);
        for (int i = 0; i < 40 * 8; i++) {
            double var = 1e-6, logp = 0.0;
            for (int k = 0; k < DRILL_OBS; k++) var += pow((double)b->obs[i * DRILL_OBS + k], 2);
            for (int k = 0; k < 2; k++, n++) {
                double a = (double)b->action[2 * i + k].f;
                square += a * a / var;
                logp += -0.5 * a * a / var - 0.5 * log(2.0 * M_PI * var);
            }
            cr_assert_float_eq(b->logp[i], logp, 1e-4 * (1.0 + fabs(logp)), "row %d: %g, wanted %g", i,
                               (double)b->logp[i], logp);
        }
    }
    cr_assert_float_eq(square / n, 1.0, 0.06, "%g", square / n);
    rig_close(&r);
}

/* ---- memory ---- */

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define COUNTS_ALLOCATIONS 0 /* the sanitizers have their own */
#else
#define COUNTS_ALLOCATIONS 1
#include <stdatomic.h>
static atomic_long n_allocations;
static void count(void) { atomic_fetch_add(&n_allocations, 1); }
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t size) { return count(), __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return count(), __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { return count(), __libc_realloc(old, size); }
void *aligned_alloc(size_t align, size_t size) { return count(), __libc_memalign(align, size); }

static long allocations_of_iterations(const char *env, const char *runners, const char *more) {
    learner l;
    learner_open(&l, env, runners, more);
    for (int i = 0; i < 3; i++) learner_learn(&l);
    long before = n_allocations;
    for (int i = 0; i < 10; i++) learner_learn(&l);
    long after = n_allocations;
    learner_close(&l);
    return after - before;
}
#endif

/* Sampling and updates: ten iterations. */
Test(ppo_stream, an_iteration_allocates_nothing, .disabled = !COUNTS_ALLOCATIONS) {
#if COUNTS_ALLOCATIONS
    long before = n_allocations;
    free(malloc(1));
    free(aligned_alloc(64, 64));
    cr_assert_eq(n_allocations, before + 2, "the counter does not count");
    cr_assert_eq(allocations_of_iterations("CartPole-v1", inline_8, ""), 0);
    cr_assert_eq(allocations_of_iterations("Pendulum-v1", inline_8, ""), 0);
    cr_assert_eq(allocations_of_iterations("Pendulum-v1", inline_8, ", use_sde: true, squash_actions: true"), 0);
    cr_assert_eq(allocations_of_iterations(drill("mask: 1, agents: 2, end: 8, cut: 15, nan: 4"), inline_8, ""), 0);
    /* libzmq takes memory for every message: two runners, a question and an answer each */
    cr_assert_leq(allocations_of_iterations("CartPole-v1", threads_2x4, ""), 10 * 2 * 2);
#endif
}
