/* skiff eval: how good a trained policy is. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/env_arg.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "core/base/config.h"
#include "policies/policy.h"
#include "rl/env.h"
#include "rl/evaluate.h"
#include "rl/json_line.h"
#include "rl/train_setup.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 100 episodes are what results are quoted by; seed 0 keeps clear of training's own evaluations. */
enum { EPISODES = 100 };

typedef struct evaluation {
    const char *path;     /* of the policy                                 */
    const char *env_text; /* --env, or NULL                                */
    int64_t n_episodes, seed;
    bool stochastic, json;
    sk_policy *policy;
    sk_config *cfg;       /* of its run, if found                          */
    sk_train_setup setup; /* owns the env of that config                   */
    sk_env *own_env;      /* any other                                     */
    sk_on_invalid on_invalid;
} evaluation;

static const sk_env *env_of(const evaluation *self) {
    return self->own_env ? self->own_env : self->setup.env;
}

static void deinit(evaluation *self) {
    sk_env_destroy(&self->own_env);
    sk_train_setup_deinit(&self->setup);
    sk_config_destroy(&self->cfg);
    sk_policy_destroy(&self->policy);
}

/* ---- the environment ---- */
/* The config of the run that `path` belongs to: beside it, or above its checkpoints/<env steps>/. False:
 * there is none. */
static bool find_config(const char *path, char *ret_config, size_t size) {
    static const char *const ups[] = {"", "../", "../../", "../../../"};
    const char *slash = strrchr(path, '/');
    char in[4096], above[4096];
    /* A folder counts itself as a level, a file does not. */
    int n = snprintf(in, sizeof in, "%s/.", path);
    if (n < 0 || (size_t)n >= sizeof in) return false;
    if (access(in, F_OK) == 0)
        snprintf(in, sizeof in, "%s", path);
    else
        snprintf(in, sizeof in, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    for (int up = 0; up < SK_COUNT(ups); up++) {
        n = snprintf(ret_config, size, "%s/%sconfig.yaml", in, ups[up]);
        if (n < 0 || (size_t)n >= size) return false;
        /* Above the first folder only a run's own config counts, known by its checkpoints. */
        n = snprintf(above, sizeof above, "%s/%scheckpoints", in, ups[up]);
        if (n < 0 || (size_t)n >= sizeof above) return false;
        if (access(ret_config, R_OK) == 0 && (up == 0 || access(above, F_OK) == 0)) return true;
    }
    return false;
}

static sk_status open_env(evaluation *self, sk_error *reterr) {
    char config[4096];
    if (self->env_text) return sk_env_arg_open(self->env_text, 0, NULL, 0, &self->own_env, reterr);
    if (find_config(self->path, config, sizeof config)) {
        SK_TRY(sk_config_open(config, NULL, 0, &self->cfg, reterr));
        SK_TRY(sk_train_setup_init(&self->setup, self->cfg, reterr));
        self->on_invalid = (sk_on_invalid)self->setup.config.env_runners.on_invalid;
        return SK_OK;
    }
    sk_env_params params = {.name = sk_policy_spaces_get(self->policy)->env_name};
    sk_status status = sk_env_create(&params, &self->own_env, reterr);
    if (status == SK_ENOTFOUND) sk_error_prefix(reterr, "the policy's environment (--env names another)");
    return status;
}

/* ---- what came of it ---- */
static void print_text(const evaluation *self, const sk_evaluation *e) {
    printf(
        "%s: return %.6g +- %.4g (min %.6g, max %.6g), length %.6g, %d episodes from seed %lld, %s, %.2f s\n",
        sk_env_info_get(env_of(self))->name, e->return_mean, e->return_std, e->return_min, e->return_max,
        e->len_mean, e->n_episodes, (long long)self->seed, self->stochastic ? "stochastic" : "deterministic",
        e->wall_s);
    if (e->n_invalid) printf("%d episodes were invalid and are left out\n", e->n_invalid);
}

static sk_status print_json(const evaluation *self, const sk_evaluation *e, sk_error *reterr) {
    char sha256[65], *text = NULL;
    sk_json_line line;
    sk_policy_sha256(self->policy, sha256);
    sk_json_line_init(&line);
    sk_json_line_text(&line, "env", sk_env_info_get(env_of(self))->name);
    sk_json_line_number(&line, "episode_return_mean", e->return_mean);
    sk_json_line_number(&line, "episode_return_std", e->return_std);
    sk_json_line_number(&line, "episode_return_min", e->return_min);
    sk_json_line_number(&line, "episode_return_max", e->return_max);
    sk_json_line_number(&line, "episode_len_mean", e->len_mean);
    sk_json_line_integer(&line, "num_episodes", e->n_episodes);
    sk_json_line_integer(&line, "num_episodes_invalid", e->n_invalid);
    sk_json_line_integer(&line, "num_env_steps", e->env_steps);
    sk_json_line_integer(&line, "seed", self->seed);
    sk_json_line_bool(&line, "stochastic", self->stochastic);
    sk_json_line_number(&line, "wall_s", e->wall_s);
    sk_json_line_text(&line, "policy", self->path);
    sk_json_line_text(&line, "params_sha256", sha256);
    SK_TRY(sk_json_line_finish(&line, &text, reterr));
    printf("%s\n", text);
    free(text);
    return SK_OK;
}

/* ---- the command ---- */
static int fail(const sk_error *err, int code) {
    fprintf(stderr, "%s\n", err->msg);
    return code;
}

static int evaluate(evaluation *self) {
    sk_error err = {0};
    sk_evaluation result = {0};
    sk_status status = sk_policy_load(self->path, &self->policy, &err);
    if (status == SK_OK) status = open_env(self, &err);
    if (status != SK_OK) return fail(&err, sk_exit_code_of_input(status));
    sk_evaluate_params params = {.env = env_of(self),
                                 .policy = self->policy,
                                 .n_episodes = (int)self->n_episodes,
                                 .seed = (uint64_t)self->seed,
                                 .stochastic = self->stochastic,
                                 .on_invalid = self->on_invalid,
                                 .interrupted = sk_interrupt_install(NULL)};
    status = sk_evaluate_run(&params, &result, &err);
    if (status == SK_EINVAL || status == SK_EINTERRUPTED) return fail(&err, sk_exit_code_of_input(status));
    if (status == SK_OK && self->json) status = print_json(self, &result, &err);
    if (status != SK_OK) return fail(&err, SK_EXIT_FAILED);
    if (!self->json) print_text(self, &result);
    return SK_EXIT_DONE;
}

int sk_cmd_eval(int argc, char **argv) {
    evaluation self = {.n_episodes = EPISODES, .on_invalid = SK_INVALID_STOP};
    sk_arg options[] = {
        {"--episodes", SK_ARG_INT, &self.n_episodes, 1, 1000000, "how many (100); each has its own seed"},
        {"--seed", SK_ARG_INT, &self.seed, 0, (int64_t)1 << 53, "of the first episode (0)"},
        {"--stochastic", SK_ARG_FLAG, &self.stochastic, 0, 0, "sample actions as in training"},
        {"--env", SK_ARG_TEXT, &self.env_text, 0, 0, "NAME or PLUGIN.so[:NAME] instead of the run's own"},
        {"--json", SK_ARG_FLAG, &self.json, 0, 0, "one JSON object"},
    };
    sk_args args = {
        .usage = "skiff eval RUN_DIR|CHECKPOINT|POLICY [--episodes N] [--seed S] [--stochastic] [--env ENV] "
                 "[--json]",
        .args = options,
        .n_args = SK_COUNT(options),
        .n_min = 1,
        .n_max = 1};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    self.path = args.positional[0];
    code = evaluate(&self);
    deinit(&self);
    return code;
}
