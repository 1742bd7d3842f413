/* Evaluation against each episode played alone, and what it leaves untouched or refuses. */
#include "policies/inference.h"
#include "rl/evaluate.h"
#include "tests/rl/rig.h"

#include <math.h>

enum { EPISODES = 150, SEED = 500 }; /* more episodes than are played side by side */

typedef struct bench {
    sk_env   *env;
    sk_policy *policy;
} bench;

static const char *const no_names[1] = {NULL};

/* A policy of one hidden layer that has seen some observations; config: "name=value name=value". */
static bench bench_make(const char *name, const char *config, int limit, sk_obs_filter filter) {
    static char      texts[8][32], values[8][32];
    const char      *names_p[8], *values_p[8];
    sk_model_config  model = {.fcnet_hiddens = {1, {16}}, .free_log_std = true};
    sk_policy_spaces spaces;
    sk_error         e = {0};
    bench            b = {0};
    int              n = 0, used;
    for (; sscanf(config, " %31[^=]=%31s%n", texts[n], values[n], &used) == 2; config += used, n++)
        names_p[n] = texts[n], values_p[n] = values[n];
    int           plugin = strncmp(name, "Drill", 5) == 0;
    sk_env_params params = {.name = name, .plugin = plugin ? rig_plugin("drill") : NULL, .n_config = n,
                            .config_names = n ? names_p : no_names, .config_values = n ? values_p : no_names,
                            .max_episode_steps = limit};
    cr_assert_eq(sk_env_create(&params, &b.env, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_policy_spaces_of(sk_env_spec_get(b.env), name, &spaces, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_policy_create(&spaces, &model, filter, 8, &b.policy, &e), SK_OK, "%s", e.msg);
    for (size_t i = 0; i < sk_policy_n_floats(b.policy); i++) sk_policy_params(b.policy)[i] *= 3.0f;
    float seen[40 * 4];
    for (int i = 0; i < 40 * spaces.obs_dim; i++) seen[i] = (float)((i * 37) % 11) / 5.0f - 1.0f;
    sk_normalizer_update(sk_policy_normalizer(b.policy), seen, NULL, 40);
    return b;
}
static void bench_destroy(bench *b) {
    sk_env_destroy(&b->env);
    sk_policy_destroy(&b->policy);
}

/* Episode `seed` alone, row by row. Returns mean return over agents; *length likewise. */
static double play_alone(const bench *b, uint64_t seed, double *length) {
    const sk_env_info *info = sk_env_info_get(b->env);
    const sk_policy_spaces *s = sk_policy_spaces_get(b->policy);
    int               rows = info->n_agents, n_ended = 0;
    float             obs[4 * 4], final_obs[4 * 4], mask[4 * 5], reward[4], constants[2][4];
    uint8_t           mask_u8[4 * 5], terminated[4], truncated[4], valid[4];
    sk_env_slot       action[4 * 2];
    double            ret = 0.0;
    sk_vec           *vec = NULL;
    sk_device        *device = NULL;
    sk_inference     *inf = NULL;
    sk_error          e = {0};
    sk_vec_params     vec_how = {.env = b->env, .n_envs = 1, .seed = seed, .seeding = SK_VEC_SEED_OFFSET};
    cr_assert_eq(sk_vec_create(&vec_how, &vec, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_device_create_cpu(1, &device, &e), SK_OK);
    sk_inference_params how = {.device = device, .spaces = s, .model = sk_policy_model(b->policy),
                               .filter = sk_policy_filter(b->policy), .params = sk_policy_params(b->policy),
                               .n_floats = sk_policy_n_floats(b->policy), .max_rows = rows};
    cr_assert_eq(sk_inference_create(&how, &inf, &e), SK_OK, "%s", e.msg);
    sk_normalizer_constants(sk_policy_normalizer(b->policy), constants[0], constants[1]);
    sk_inference_set_normalizer(inf, constants[0], constants[1]);
    cr_assert_eq(sk_vec_reset(vec, obs, mask_u8, &e), SK_OK);
    *length = 0.0;
    while (n_ended < rows) {
        for (int i = 0; i < rows * info->mask_size; i++) mask[i] = mask_u8[i];
        sk_inference_act(inf, &(sk_inference_io){.rows = rows, .obs = obs, .mask = info->mask_size ? mask : NULL,
                                                 .deterministic = 1, .action = action});
        for (int i = 0; s->n_parts && i < rows * s->n_parts; i++) action[i].i += s->part_start[i % s->n_parts];
        sk_vec_step step = {.action = action, .reward = reward, .terminated = terminated, .truncated = truncated,
                            .valid = valid, .next_obs = obs, .next_mask = mask_u8, .final_obs = final_obs};
        cr_assert_eq(sk_vec_step_run(vec, &step, &e), SK_OK, "%s", e.msg);
        int                 n;
        const sk_vec_event *event = sk_vec_events(vec, &n);
        for (int i = 0; i < n; i++, n_ended++) ret += event[i].ret / rows, *length += (double)event[i].length / rows;
    }
    sk_inference_destroy(&inf);
    sk_device_destroy(&device);
    sk_vec_destroy(&vec);
    return ret;
}

static sk_evaluation evaluate(const bench *b, int n, uint64_t seed, double *returns) {
    sk_evaluation      out;
    sk_error           e = {0};
    sk_evaluate_params p = {.env = b->env, .policy = b->policy, .n_episodes = n, .seed = seed, .ret_returns = returns};
    cr_assert_eq(sk_evaluate_run(&p, &out, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(out.n_episodes, n);
    cr_assert_eq(out.n_invalid, 0);
    return out;
}

static void counts_every_episode(bench b, int want_spread) {
    double        returns[EPISODES], mean = 0.0, len = 0.0, var = 0.0, low = INFINITY, high = -INFINITY;
    sk_evaluation e = evaluate(&b, EPISODES, SEED, returns);
    for (int i = 0; i < EPISODES; i++) {
        double length, alone = play_alone(&b, SEED + (uint64_t)i, &length);
        cr_assert_eq(returns[i], alone, "episode %d: %.17g, alone %.17g", i, returns[i], alone);
        mean += alone / EPISODES, len += length / EPISODES;
        low = fmin(low, alone), high = fmax(high, alone);
    }
    for (int i = 0; i < EPISODES; i++) var += pow(returns[i] - mean, 2) / EPISODES;
    cr_assert_float_eq(e.return_mean, mean, 1e-9 * (1.0 + fabs(mean)));
    cr_assert_float_eq(e.return_std, sqrt(var), 1e-9 * (1.0 + sqrt(var)));
    cr_assert_float_eq(e.len_mean, len, 1e-9 * len);
    cr_assert(e.return_min == low && e.return_max == high);
    cr_assert(!want_spread || high - low > 5, "episodes are too much alike for this test: %g to %g", low, high);
    cr_assert(e.wall_s > 0.0 && e.env_steps > 0);
    bench_destroy(&b);
}

Test(evaluate, counts_every_episode_by_its_seed_on_cartpole) {
    counts_every_episode(bench_make("CartPole-v1", "", 60, SK_FILTER_MEAN_STD), 1);
}
Test(evaluate, counts_every_episode_by_its_seed_on_pendulum) {
    counts_every_episode(bench_make("Pendulum-v1", "", 30, SK_FILTER_NONE), 1);
}
Test(evaluate, counts_every_episode_by_its_seed_with_masks_and_agents) {
    counts_every_episode(bench_make("Drill-v0", "kind=1 mask=1 agents=3 end=10 cut=25", 0, SK_FILTER_MEAN_STD), 0);
}

/* The first N of a longer evaluation are the shorter one. */
Test(evaluate, an_episode_does_not_depend_on_how_many_are_played) {
    bench  b = bench_make("CartPole-v1", "", 0, SK_FILTER_NONE);
    double many[EPISODES], few[EPISODES];
    evaluate(&b, EPISODES, SEED, many);
    for (int n = 1; n <= EPISODES; n += 37) {
        evaluate(&b, n, SEED, few);
        cr_assert_eq(memcmp(many, few, (size_t)n * sizeof *few), 0, "%d episodes", n);
    }
    evaluate(&b, 20, SEED + 10, few);
    cr_assert_eq(memcmp(many + 10, few, 20 * sizeof *few), 0);
    bench_destroy(&b);
}

Test(evaluate, is_deterministic_and_leaves_the_policy_alone) {
    bench                b = bench_make("CartPole-v1", "", 80, SK_FILTER_MEAN_STD);
    const sk_normalizer *norm = sk_policy_normalizer_const(b.policy);
    double               first[20], second[20], drawn[20], redrawn[20], mean[8];
    char                 before[65], after[65];
    sk_evaluation        out;
    memcpy(mean, norm->mean, 2 * 4 * sizeof *mean);
    sk_policy_sha256(b.policy, before);
    evaluate(&b, 20, SEED, first);
    evaluate(&b, 20, SEED, second);
    cr_assert_eq(memcmp(first, second, sizeof first), 0);
    sk_evaluate_params p = {.env = b.env, .policy = b.policy, .n_episodes = 20, .seed = SEED, .stochastic = 1,
                            .ret_returns = drawn};
    cr_assert_eq(sk_evaluate_run(&p, &out, NULL), SK_OK);
    p.ret_returns = redrawn;
    cr_assert_eq(sk_evaluate_run(&p, &out, NULL), SK_OK);
    cr_assert_eq(memcmp(drawn, redrawn, sizeof drawn), 0);
    cr_assert_neq(memcmp(first, drawn, sizeof first), 0);
    sk_policy_sha256(b.policy, after);
    cr_assert_str_eq(before, after);
    cr_assert_eq(norm->count, 40.0, "the normaliser went on learning");
    cr_assert_eq(memcmp(mean, norm->mean, 2 * 4 * sizeof *mean), 0);
    bench_destroy(&b);
}

Test(evaluate, uses_the_statistics_of_the_policy) {
    bench  with = bench_make("CartPole-v1", "", 80, SK_FILTER_MEAN_STD);
    double a[20], b[20];
    evaluate(&with, 20, SEED, a);
    for (int i = 0; i < 4; i++) sk_policy_normalizer(with.policy)->mean[i] += 0.5;
    evaluate(&with, 20, SEED, b);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    bench_destroy(&with);
}

Test(evaluate, refuses_a_policy_of_other_spaces_and_names_the_difference) {
    bench              b = bench_make("CartPole-v1", "", 0, SK_FILTER_NONE);
    bench              p = bench_make("Pendulum-v1", "", 0, SK_FILTER_NONE);
    sk_evaluation      out;
    sk_error           e = {0};
    sk_evaluate_params how = {.env = b.env, .policy = p.policy, .n_episodes = 3};
    cr_assert_eq(sk_evaluate_run(&how, &out, &e), SK_EINVAL);
    rig_has(e.msg, "made for \"Pendulum-v1\"");
    rig_has(e.msg, "observation size is 3, wanted 4");
    how.policy = b.policy;
    how.n_episodes = 0;
    cr_assert_eq(sk_evaluate_run(&how, &out, &e), SK_EINVAL);
    rig_has(e.msg, "0 episodes");
    bench_destroy(&b), bench_destroy(&p);
}

Test(evaluate, ends_when_it_is_interrupted) {
    bench              b = bench_make("CartPole-v1", "", 0, SK_FILTER_NONE);
    volatile int       now = 1;
    sk_evaluation      out;
    sk_evaluate_params how = {.env = b.env, .policy = b.policy, .n_episodes = 3, .interrupted = &now};
    cr_assert_eq(sk_evaluate_run(&how, &out, NULL), SK_EINTERRUPTED);
    now = 0;
    cr_assert_eq(sk_evaluate_run(&how, &out, NULL), SK_OK);
    bench_destroy(&b);
}

/* Every other episode of an environment turns NaN at step 5, if it lives so long. */
Test(evaluate, stops_at_or_counts_episodes_that_are_invalid) {
    bench              b = bench_make("Drill-v0", "end=3 nan=5", 40, SK_FILTER_NONE);
    double             returns[EPISODES], sum = 0.0;
    int                n_nan = 0;
    sk_evaluation      out;
    sk_error           e = {0};
    sk_evaluate_params how = {.env = b.env, .policy = b.policy, .n_episodes = EPISODES, .ret_returns = returns};
    cr_assert_eq(sk_evaluate_run(&how, &out, &e), SK_EENV);
    rig_has(e.msg, "\"seen[2]\" is nan");
    how.on_invalid = SK_INVALID_DROP;
    cr_assert_eq(sk_evaluate_run(&how, &out, &e), SK_OK, "%s", e.msg);
    for (int i = 0; i < EPISODES; i++) {
        n_nan += isnan(returns[i]);
        if (!isnan(returns[i])) sum += returns[i];
    }
    cr_assert(n_nan > 20 && n_nan < EPISODES - 20, "%d", n_nan);
    cr_assert_eq(out.n_invalid, n_nan);
    cr_assert_eq(out.n_episodes, EPISODES - n_nan);
    cr_assert_float_eq(out.return_mean, sum / out.n_episodes, 1e-9);
    how.n_episodes = 1;
    how.seed = 0;
    while (out.n_episodes > 0) { /* a seed whose only episode is invalid */
        out.n_episodes = 0;
        if (sk_evaluate_run(&how, &out, &e) == SK_OK) how.seed++;
    }
    rig_has(e.msg, "all 1 episodes were invalid");
    bench_destroy(&b);
}
