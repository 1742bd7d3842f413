/* state.skiff of a checkpoint behind its checksum, read into a run of PPO with an inline runner. Whatever is accepted,
 * the run must be able to go on from it. The environment is the first one below that the input names. */
#include "core/base/log.h"
#include "rl/checkpoint.h"
#include "rl/modules.h"
#include "rl/train_setup.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct run {
    const char       *env;
    sk_config        *cfg;
    sk_train_setup    setup;
    sk_policy        *policy;
    sk_device        *device;
    sk_runtime       *runtime;
    sk_stream_source *stream;
    void             *algorithm;
    sk_metrics        metrics;
    sk_episode_window window;
    double            best_return;
} run;

static run  runs[] = {{.env = "CartPole-v1"}, {.env = "Pendulum-v1"}, {.env = "FrozenLake-v1"}, {.env = "Blackjack-v1"}};
static char state_file[400];

static void be_quiet(void *user, sk_log_level level, const char *line) { (void)user, (void)level, (void)line; }

static void close_runs(void) {
    for (int i = 0; i < SK_COUNT(runs); i++) {
        run *r = &runs[i];
        if (r->algorithm) r->setup.algorithm->destroy(r->algorithm);
        sk_stream_destroy(&r->stream);
        sk_runtime_destroy(&r->runtime);
        sk_policy_destroy(&r->policy);
        sk_device_destroy(&r->device);
        sk_train_setup_deinit(&r->setup);
        sk_config_destroy(&r->cfg);
    }
}

static sk_status open_run(run *r, sk_error *err) {
    char yaml[600];
    snprintf(yaml, sizeof yaml,
             "algorithm: ppo\nenv: %s\nseed: 1\nmodel: {fcnet_hiddens: [2]}\n"
             "env_runners: {num_env_runners: 0, num_envs_per_env_runner: 2, rollout_fragment_length: 4,\n"
             "  observation_filter: MeanStdFilter, normalize_rewards: true}\n"
             "training: {num_epochs: 1, minibatch_size: 8}\nstop: {training_iteration: 1}\n", r->env);
    SK_TRY(sk_config_parse(yaml, "fuzz.yaml", NULL, 0, &r->cfg, err));
    SK_TRY(sk_train_setup_init(&r->setup, r->cfg, err));
    SK_TRY(sk_policy_create(&r->setup.spaces, &r->setup.config.model, SK_FILTER_MEAN_STD, 1, &r->policy, err));
    SK_TRY(sk_device_create_cpu(1, &r->device, err));
    static const sk_module *const modules[] = {&sk_rl_module};
    SK_TRY(sk_runtime_create(&(sk_runtime_params){.modules = modules, .n_modules = 1}, &r->runtime, err));
    sk_stream_params stream = {.runtime = r->runtime, .env = r->setup.env, .config = &r->setup.config,
                               .policy = r->policy, .metrics = &r->metrics, .window = &r->window,
                               .keep_final_obs = r->setup.algorithm->keep_final_obs};
    SK_TRY(sk_stream_create(&stream, &r->stream, err));
    sk_algorithm_context context = {.device = r->device, .policy = r->policy, .config = &r->setup.config,
                                    .own = r->setup.own, .shape = sk_stream_shape(r->stream)};
    return r->setup.algorithm->create(&context, &r->algorithm, err);
}

static void set_up(void) {
    char     path[290];
    sk_error err = {0};
    sk_log_set_sink(be_quiet, NULL);
    for (int i = 0; i < SK_COUNT(runs); i++)
        if (open_run(&runs[i], &err) != SK_OK) {
            fprintf(stderr, "%s\n", err.msg);
            abort();
        }
    atexit(close_runs);
    snprintf(path, sizeof path, "%s/checkpoints", fuzz_folder());
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/checkpoints/8", fuzz_folder());
    mkdir(path, 0755);
    snprintf(state_file, sizeof state_file, "%s/state.skiff", path);
}

static sk_checkpoint_state state_of(run *r) {
    return (sk_checkpoint_state){.config = &r->setup.config, .env = r->setup.env, .policy = r->policy,
                                 .algorithm = r->setup.algorithm, .algorithm_self = r->algorithm, .stream = r->stream,
                                 .metrics = &r->metrics, .window = &r->window, .best_return = &r->best_return,
                                 .device = sk_device_name(r->device)};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!state_file[0]) set_up();
    run *r = &runs[0];
    for (int i = SK_COUNT(runs) - 1; i > 0; i--)
        if (size && memmem(data, size, runs[i].env, strlen(runs[i].env))) r = &runs[i];
    sk_error err = {0};
    size_t   n;
    uint8_t *file = fuzz_pack(data, size, SK_PACK_CHECKPOINT, &n);
    fuzz_write(state_file, file, n);
    free(file);
    r->metrics = (sk_metrics){0};
    sk_checkpoint_state state = state_of(r);
    sk_status           status = sk_checkpoint_load_state(fuzz_folder(), &state, &err);
    fuzz_check_status(status, &err);
    if (status != SK_OK) return 0;
    status = r->setup.algorithm->learn(r->algorithm, sk_stream_source_of(r->stream), &r->metrics, &err);
    fuzz_check_status(status, &err);
    return 0;
}
