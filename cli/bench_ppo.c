/* bench_ppo: whole training runs with the settings that the peers were measured with. */
#include "cli/bench.h"
#include "core/base/config.h"
#include "rl/train.h"

#include <math.h>
#include <stdio.h>

typedef struct run {
    const char *row, *unit, *settings;
    const char *yaml;
    int         n_cores;    /* that the run uses                                        */
    double      kflop;      /* multiply-adds per env step, acting and learning [kFLOP]  */
    int         wall;       /* 1: seconds of the whole run, 0: env steps per second     */
} run;

/* 64x64 twins: 4 or 3 inputs. A forward pass is 2 (n_in 64 + 64 64 + 64 n_out) FLOP per network; backward twice that. */
static const run runs[] = {
    {"2a", "env steps/s", "PPO CartPole-v1, 8 envs x 128, minibatch 256, 4 epochs, 64x64 tanh, 200k steps",
     "algorithm: ppo\nenv: CartPole-v1\n"
     "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 4, rollout_fragment_length: 128}\n"
     "training: {lr: 3.0e-4, num_epochs: 4, minibatch_size: 256}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 200000}\n",
     2, 231.0, 0},
    {"2a'", "s to 475", "PPO CartPole-v1, rl-zoo settings, 20 evaluation episodes every 5k steps, start to stop",
     "algorithm: ppo\nenv: CartPole-v1\n"
     "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 4, rollout_fragment_length: 32}\n"
     "training: {gamma: 0.98, lambda: 0.8, lr: [[0, 1.0e-3], [100000, 0]], clip_param: [[0, 0.2], [100000, 0]], "
     "num_epochs: 20, minibatch_size: 256}\n"
     "evaluation: {interval_steps: 5000, num_episodes: 20}\n"
     "stop: {num_env_steps_sampled_lifetime: 100000, evaluation/episode_return_mean: 475}\n",
     2, 0.0, 1},
    {"2c", "env steps/s", "PPO Pendulum-v1, 4 envs x 1024, minibatch 256, 2 epochs, 64x64, 303k steps, one thread",
     "algorithm: ppo\nenv: Pendulum-v1\n"
     "env_runners: {num_env_runners: 0, num_envs_per_env_runner: 4, rollout_fragment_length: 1024}\n"
     "learners: {num_cpus_per_learner: 1}\n"
     "training: {gamma: 0.9, lr: 1.0e-3, num_epochs: 2, minibatch_size: 256}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 303000}\n",
     1, 122.0, 0},
    {"2c two cores", "env steps/s", "the same with 2 runners of 2 envs and 2 learner threads",
     "algorithm: ppo\nenv: Pendulum-v1\n"
     "env_runners: {num_env_runners: 2, num_envs_per_env_runner: 2, rollout_fragment_length: 1024}\n"
     "learners: {num_cpus_per_learner: 2}\n"
     "training: {gamma: 0.9, lr: 1.0e-3, num_epochs: 2, minibatch_size: 256}\n"
     "evaluation: {num_episodes: 0}\nstop: {num_env_steps_sampled_lifetime: 303000}\n",
     2, 122.0, 0},
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

sk_status sk_bench_ppo(const sk_bench *self, sk_error *reterr) {
    for (int i = 0; i < SK_COUNT(runs); i++) {
        const run *r = &runs[i];
        double     values[64];
        for (int k = 0; k < self->n_repeats; k++) {
            sk_train_result result;
            SK_TRY(train_once(r, k + 1, &result, reterr));
            double steps = sk_metrics_get(&result.metrics, SK_METRIC_ENV_STEPS, 0.0);
            values[k] = !r->wall ? steps / result.wall_s : !result.goal_named || result.goal_met ? result.wall_s : INFINITY;
        }
        double value = sk_bench_median(values, self->n_repeats);
        int    cores = r->n_cores < self->n_cores ? r->n_cores : self->n_cores;
        double limit = r->kflop > 0.0 ? self->fma_gflops * 1e6 * cores / r->kflop : 0.0;
        sk_bench_print(self, &(sk_bench_row){"ppo", r->row, r->unit, value, limit, r->settings});
        if (r->kflop <= 0.0) continue;
        char name[48];
        snprintf(name, sizeof name, "%s GFLOP/s", r->row);
        sk_bench_print(self, &(sk_bench_row){"ppo", name, "GFLOP/s", value * r->kflop * 1e-6, self->fma_gflops * cores,
                                             "multiply-adds of the network alone, acting and learning"});
    }
    return SK_OK;
}
