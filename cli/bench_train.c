/* bench_train: whole training runs with the settings that the peers were measured with; `skiff bench ppo`, `sac`, `td3` and
 * `dqn`. */
#include "cli/bench.h"
#include "core/base/config.h"
#include "rl/train.h"

#include <math.h>
#include <stdio.h>

typedef enum run_kind {
    RUN_ENV_STEPS, /* env steps per second                                             */
    RUN_UPDATES,   /* updates per second, evaluation and the first random steps included */
    RUN_WALL,      /* seconds of the whole run                                         */
    RUN_GOAL       /* seconds until the goal; infinite where it is missed              */
} run_kind;

typedef struct run {
    const char *row, *unit, *settings;
    const char *yaml;
    int         n_cores;    /* that the run uses                                                       */
    double      kflop;      /* multiply-adds per env step or update, acting and learning [kFLOP]; 0 = not said */
    run_kind    kind;
} run;

/* 64x64 twins: 4 or 3 inputs. A forward pass is 2 (n_in 64 + 64 64 + 64 n_out) FLOP per network; backward twice that. */
static const run ppo_runs[] = {
    {"2a", "env steps/s", "PPO CartPole-v1, 8 envs x 128, minibatch 256, 4 epochs, 64x64 tanh, 200k steps",
     "algorithm: ppo\nenv: CartPole-v1\n"
     "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 4, rollout_fragment_length: 128}\n"
     "training: {lr: 3.0e-4, num_epochs: 4, minibatch_size: 256}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 200000}\n",
     2, 231.0, RUN_ENV_STEPS},
    {"2a'", "s to 475", "PPO CartPole-v1, rl-zoo settings, 20 evaluation episodes every 5k steps, start to stop",
     "algorithm: ppo\nenv: CartPole-v1\n"
     "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 4, rollout_fragment_length: 32}\n"
     "training: {gamma: 0.98, lambda: 0.8, lr: [[0, 1.0e-3], [100000, 0]], clip_param: [[0, 0.2], [100000, 0]], "
     "num_epochs: 20, minibatch_size: 256}\n"
     "evaluation: {interval_steps: 5000, num_episodes: 20}\n"
     "stop: {num_env_steps_sampled_lifetime: 100000, evaluation/episode_return_mean: 475}\n",
     2, 0.0, RUN_GOAL},
    {"2c", "env steps/s", "PPO Pendulum-v1, 4 envs x 1024, minibatch 256, 2 epochs, 64x64, 303k steps, one thread",
     "algorithm: ppo\nenv: Pendulum-v1\n"
     "env_runners: {num_env_runners: 0, num_envs_per_env_runner: 4, rollout_fragment_length: 1024}\n"
     "learners: {num_cpus_per_learner: 1}\n"
     "training: {gamma: 0.9, lr: 1.0e-3, num_epochs: 2, minibatch_size: 256}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 303000}\n",
     1, 122.0, RUN_ENV_STEPS},
    {"2c two cores", "env steps/s", "the same with 2 runners of 2 envs and 2 learner threads",
     "algorithm: ppo\nenv: Pendulum-v1\n"
     "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 2, rollout_fragment_length: 1024}\n"
     "learners: {num_cpus_per_learner: 2}\n"
     "training: {gamma: 0.9, lr: 1.0e-3, num_epochs: 2, minibatch_size: 256}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 303000}\n",
     2, 122.0, RUN_ENV_STEPS},
    {"2b PPO HalfCheetah", "env steps/s", "PPO HalfCheetah-v5, 8 envs x 256, minibatch 512, 10 epochs, 64x64 tanh, 100k steps",
     "algorithm: ppo\nenv: HalfCheetah-v5\n"
     "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 4, rollout_fragment_length: 256}\n"
     "training: {lr: 3.0e-4, num_epochs: 10, minibatch_size: 512}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 100000}\n",
     2, 0.0, RUN_ENV_STEPS},
};

/* 256x256 and 64x64 networks: a forward pass of one of w units is 2 (n_in w + w w + w n_out) FLOP a row, backward twice
 * that, less what nobody asks for; SAC runs the policy twice and the critics four times forward, all but the targets and
 * the target's policy backward. */
static const run sac_runs[] = {
    {"3 SAC", "updates/s", "SAC HalfCheetah-v5, 256x256 relu, batch 256, 1 env, 1,000 random steps, 3,000 updates",
     "algorithm: sac\nenv: HalfCheetah-v5\ntraining: {num_steps_sampled_before_learning_starts: 1000}\n"
     "replay_buffer_config: {capacity: 100000}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 4000}\n",
     2, 627.0e3, RUN_UPDATES},
    {"3c SAC Pendulum", "s", "SAC Pendulum-v1 at RLtools' settings: 64x64 relu, batch 100, 10k steps, one thread",
     "algorithm: sac\nenv: Pendulum-v1\nmodel: {fcnet_hiddens: [64, 64]}\nlearners: {num_cpus_per_learner: 1}\n"
     "training: {train_batch_size: 100, actor_lr: 1.0e-3, critic_lr: 1.0e-3, alpha_lr: 1.0e-3, "
     "num_steps_sampled_before_learning_starts: 100}\nreplay_buffer_config: {capacity: 10000}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 10000}\n",
     1, 0.0, RUN_WALL},
};
static const run td3_runs[] = {
    {"3 TD3", "updates/s", "TD3 HalfCheetah-v5, 256x256 relu, batch 256, 1 env, 1,000 random steps, 3,000 updates",
     "algorithm: td3\nenv: HalfCheetah-v5\nmodel: {fcnet_hiddens: [256, 256], fcnet_activation: relu}\n"
     "training: {num_steps_sampled_before_learning_starts: 1000}\nreplay_buffer_config: {capacity: 100000}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 4000}\n",
     2, 425.0e3, RUN_UPDATES},
};
static const run dqn_runs[] = {
    {"3 DQN", "updates/s", "DQN CartPole-v1, 256x256 relu, batch 64, 1 env, 1,000 random steps, 10,000 updates",
     "algorithm: dqn\nenv: CartPole-v1\nmodel: {fcnet_hiddens: [256, 256], fcnet_activation: relu}\n"
     "training: {train_batch_size: 64, lr: 1.0e-3, num_steps_sampled_before_learning_starts: 1000, "
     "target_network_update_freq: 500}\nreplay_buffer_config: {capacity: 100000}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 11000}\n",
     2, 34.0e3, RUN_UPDATES},
};

static sk_status train_once(const run *r, int seed, sk_train_result *ret, sk_error *reterr) {
    char        text[32];
    const char *overrides[] = {text};
    sk_config  *cfg = NULL;
    snprintf(text, sizeof text, "seed=%d", seed);
    SK_TRY(sk_config_parse(r->yaml, r->row, overrides, 1, &cfg, reterr));
    sk_train_params params = {.cfg = cfg};
    sk_status       status = sk_train_run(&params, ret, reterr);
    sk_config_destroy(&cfg);
    return status;
}

static double value_of(const run *r, const sk_train_result *result) {
    switch (r->kind) {
    case RUN_ENV_STEPS: return sk_metrics_get(&result->metrics, SK_METRIC_ENV_STEPS, 0.0) / result->wall_s;
    case RUN_UPDATES: return sk_metrics_get(&result->metrics, SK_METRIC_UPDATES, 0.0) / result->wall_s;
    case RUN_GOAL: return result->goal_met ? result->wall_s : (double)INFINITY;
    case RUN_WALL: break;
    }
    return result->wall_s;
}

static sk_status bench_one(const sk_bench *self, const char *bench, const run *r, sk_error *reterr) {
    double values[64];
    for (int k = 0; k < self->n_repeats; k++) {
        sk_train_result result;
        SK_TRY(train_once(r, k + 1, &result, reterr));
        values[k] = value_of(r, &result);
    }
    double value = sk_bench_median(values, self->n_repeats);
    int    cores = r->n_cores < self->n_cores ? r->n_cores : self->n_cores;
    double limit = r->kflop > 0.0 ? self->fma_gflops * 1e6 * cores / r->kflop : 0.0;
    sk_bench_print(self, &(sk_bench_row){bench, r->row, r->unit, value, limit, r->settings});
    if (r->kflop <= 0.0) return SK_OK;
    char name[48];
    snprintf(name, sizeof name, "%s GFLOP/s", r->row);
    sk_bench_print(self, &(sk_bench_row){bench, name, "GFLOP/s", value * r->kflop * 1e-6, self->fma_gflops * cores,
                                         "multiply-adds of the network alone, acting and learning"});
    return SK_OK;
}

static sk_status bench_all(const sk_bench *self, const char *bench, const run *runs, int n, sk_error *reterr) {
    for (int i = 0; i < n; i++) SK_TRY(bench_one(self, bench, &runs[i], reterr));
    return SK_OK;
}

sk_status sk_bench_ppo(const sk_bench *self, sk_error *reterr) {
    return bench_all(self, "ppo", ppo_runs, SK_COUNT(ppo_runs), reterr);
}
sk_status sk_bench_sac(const sk_bench *self, sk_error *reterr) {
    return bench_all(self, "sac", sac_runs, SK_COUNT(sac_runs), reterr);
}
sk_status sk_bench_td3(const sk_bench *self, sk_error *reterr) {
    return bench_all(self, "td3", td3_runs, SK_COUNT(td3_runs), reterr);
}
sk_status sk_bench_dqn(const sk_bench *self, sk_error *reterr) {
    return bench_all(self, "dqn", dqn_runs, SK_COUNT(dqn_runs), reterr);
}
