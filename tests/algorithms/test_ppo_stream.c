/* PPO on experience from runners: acting and learning agree on the policy to the last bit, and a settled iteration
 * allocates nothing. */
#include "algorithms/ppo/ppo.h"
#include "tests/rl/rig.h"

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

static long allocations_of_iterations(const char *env, const char *runners) {
    learner l;
    learner_open(&l, env, runners, "");
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
    cr_assert_eq(allocations_of_iterations("CartPole-v1", inline_8), 0);
    cr_assert_eq(allocations_of_iterations("Pendulum-v1", inline_8), 0);
    cr_assert_eq(allocations_of_iterations(drill("mask: 1, agents: 2, end: 8, cut: 15, nan: 4"), inline_8), 0);
    /* libzmq takes memory for every message: two runners, a question and an answer each */
    cr_assert_leq(allocations_of_iterations("CartPole-v1", threads_2x4), 10 * 2 * 2);
#endif
}
