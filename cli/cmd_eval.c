/* skiff eval: how good a trained policy is. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/policy_env.h"
#include "policies/policy.h"
#include "rl/evaluate.h"
#include "rl/json_line.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* 100 episodes are what results are quoted by; seed 0 keeps clear of training's own evaluations. */
enum { EPISODES = 100 };

typedef struct evaluation {
    const char *path;     /* of the policy                                 */
    const char *env_text; /* --env, or NULL                                */
    int64_t n_episodes, seed;
    bool stochastic, json;
    sk_policy *policy;
    sk_policy_env env;
} evaluation;

static void deinit(evaluation *self) {
    sk_policy_env_deinit(&self->env);
    sk_policy_destroy(&self->policy);
}

static sk_status open_env(evaluation *self, sk_error *reterr) {
    sk_policy_env_params params = {
        .path = self->path, .env_name = sk_policy_spaces_get(self->policy)->env_name, .env_text = self->env_text};
    return sk_policy_env_init(&self->env, &params, reterr);
}

/* ---- what came of it ---- */
static void print_text(const evaluation *self, const sk_evaluation *e) {
    printf(
        "%s: return %.6g +- %.4g (min %.6g, max %.6g), length %.6g, %d episodes from seed %lld, %s, %.2f s\n",
        sk_env_info_get(self->env.env)->name, e->return_mean, e->return_std, e->return_min, e->return_max,
        e->len_mean, e->n_episodes, (long long)self->seed, self->stochastic ? "stochastic" : "deterministic",
        e->wall_s);
    if (e->n_invalid) printf("%d episodes were invalid and are left out\n", e->n_invalid);
}

static sk_status print_json(const evaluation *self, const sk_evaluation *e, sk_error *reterr) {
    char sha256[65], *text = NULL;
    sk_json_line line;
    sk_policy_sha256(self->policy, sha256);
    sk_json_line_init(&line);
    sk_json_line_text(&line, "env", sk_env_info_get(self->env.env)->name);
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
    sk_evaluate_params params = {.env = self->env.env,
                                 .policy = self->policy,
                                 .n_episodes = (int)self->n_episodes,
                                 .seed = (uint64_t)self->seed,
                                 .stochastic = self->stochastic,
                                 .on_invalid = self->env.on_invalid,
                                 .interrupted = sk_interrupt_install(NULL)};
    status = sk_evaluate_run(&params, &result, &err);
    if (status == SK_EINVAL || status == SK_EINTERRUPTED) return fail(&err, sk_exit_code_of_input(status));
    if (status == SK_OK && self->json) status = print_json(self, &result, &err);
    if (status != SK_OK) return fail(&err, SK_EXIT_FAILED);
    if (!self->json) print_text(self, &result);
    return SK_EXIT_DONE;
}

int sk_cmd_eval(int argc, char **argv) {
    evaluation self = {.n_episodes = EPISODES};
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
