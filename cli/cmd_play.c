/* skiff play: a trained policy at work, as a film. Actions are the most probable ones and episode i has seed S + i, as
 * `skiff eval` plays them; picture t of an episode shows what the policy saw when it chose action t. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/play.h"
#include "cli/policy_env.h"
#include "core/base/arena.h"
#include "envs/registry.h"
#include "policies/policy.h"
#include "rl/json_line.h"
#include "skiff/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double FPS = 30; /* where the environment's time is not known */

typedef struct player {
    const char *path, *env_text, *out;
    int64_t n_episodes, seed, fps, every, width, height, max_steps; /* 0: not given */
    bool json;

    sk_policy *policy;   /* what it was trained for */
    skiff_policy *actor; /* the same, acting        */
    sk_policy_env env;
    const sk_env_info *info;
    sk_vec *vec; /* one environment: rows are its agents */
    sk_film *film;
    const volatile int *interrupted;
    double rate; /* pictures per second */
    int picture_width, picture_height;
    uint8_t *rgb; /* (height x width x 3) */

    /* one step's columns, (rows x ...) */
    sk_arena *memory;
    sk_env_slot *action;
    float *reward, *obs, *final_obs;
    uint8_t *terminated, *truncated, *valid, *mask;

    /* what came of it; means over agents */
    int64_t n_pictures, n_steps, n_ended;
    int n_agents_ended;             /* of the present episode */
    double ret, length;             /* of the present episode */
    double *returns, *lengths;      /* (n_episodes)           */
} player;

static void deinit(player *self) {
    sk_film_destroy(&self->film);
    free(self->rgb);
    free(self->returns);
    sk_arena_destroy(&self->memory);
    sk_vec_destroy(&self->vec);
    sk_policy_env_deinit(&self->env);
    skiff_policy_destroy(&self->actor);
    sk_policy_destroy(&self->policy);
}

/* ---- what is played ---- */

/* Steps per second of simulated time, as Gymnasium plays them; 0 = not known. */
static double steps_per_s(const char *env) {
    static const struct {
        const char *name;
        double rate;
    } known[] = {{"CartPole-v1", 50},
                 {"Pendulum-v1", 20},
                 {"Acrobot-v1", 5},
                 {"Ant-v5", 20},
                 {"HalfCheetah-v5", 20},
                 {"Hopper-v5", 125},
                 {"Humanoid-v5", 200.0 / 3},
                 {"HumanoidStandup-v5", 200.0 / 3},
                 {"InvertedDoublePendulum-v5", 20},
                 {"InvertedPendulum-v5", 25},
                 {"Pusher-v5", 20},
                 {"Reacher-v5", 50},
                 {"Swimmer-v5", 25},
                 {"Walker2d-v5", 125}};
    for (int i = 0; i < SK_COUNT(known); i++)
        if (strcmp(known[i].name, env) == 0) return known[i].rate;
    return 0;
}

/* The size of the pictures is the environment's to know: it is told through its config. */
static sk_status open_env(player *self, sk_error *reterr) {
    char width[64], height[64];
    const char *pairs[2];
    int n = 0;
    snprintf(width, sizeof width, "render_width=%lld", (long long)self->width);
    snprintf(height, sizeof height, "render_height=%lld", (long long)self->height);
    if (self->width) pairs[n++] = width;
    if (self->height) pairs[n++] = height;
    sk_policy_env_params params = {.path = self->path,
                                   .env_name = sk_policy_spaces_get(self->policy)->env_name,
                                   .env_text = self->env_text,
                                   .n_pairs = n,
                                   .pairs = pairs};
    sk_status status = sk_policy_env_init(&self->env, &params, reterr);
    if (status != SK_OK && strstr(reterr->msg, "render_"))
        sk_error_prefix(reterr, "its pictures have one size only (--width, --height)");
    return status;
}

static sk_status check_can_render(const player *self, sk_error *reterr) {
    char names[400] = "";
    if (sk_env_api_get(self->env.env)->caps & SK_ENV_CAP_RENDER) return SK_OK;
    for (int i = 0, used = 0; i < sk_env_builtin_count() && used >= 0 && (size_t)used < sizeof names; i++) {
        const sk_env_api *api = sk_env_builtin_at(i);
        if (api->caps & SK_ENV_CAP_RENDER)
            used += snprintf(names + used, sizeof names - (size_t)used, "%s%s", used ? ", " : "", api->name);
    }
    return SK_FAIL(reterr, SK_EUNSUPPORTED, "environment \"%s\" cannot be drawn; those that can: %s", self->info->name,
                   names);
}

static sk_status allocate(player *self, sk_error *reterr) {
    size_t rows = (size_t)self->info->n_agents, floats = rows * (size_t)self->info->obs_dim;
    size_t episodes = (size_t)self->n_episodes;
    sk_arena_plan plan = {0};
    sk_arena_plan_add(&plan, (void **)&self->action, rows * (size_t)self->info->action_slots * sizeof(sk_env_slot), 64);
    sk_arena_plan_add(&plan, (void **)&self->reward, rows * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->obs, floats * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->final_obs, floats * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->terminated, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->truncated, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->valid, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->mask, rows * (size_t)self->info->mask_size, 64);
    SK_TRY(sk_arena_create(&plan, &self->memory, reterr));
    self->returns = calloc(2 * episodes, sizeof *self->returns);
    if (!self->returns) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for %zu episodes", episodes);
    self->lengths = self->returns + episodes;
    return SK_OK;
}

/* Everything that the command line names. */
static sk_status open_all(player *self, sk_error *reterr) {
    char why[sizeof reterr->msg - 64];
    sk_policy_spaces spaces;
    SK_TRY(sk_film_check_name(self->out, reterr));
    SK_TRY(sk_policy_load(self->path, &self->policy, reterr));
    SK_TRY(open_env(self, reterr));
    self->info = sk_env_info_get(self->env.env);
    SK_TRY(check_can_render(self, reterr));
    SK_TRY(sk_policy_spaces_of(sk_env_spec_get(self->env.env), self->info->name, &spaces, reterr));
    SK_TRY(sk_policy_spaces_same(sk_policy_spaces_get(self->policy), &spaces, reterr));
    int rc = skiff_policy_load(self->path, &self->actor, why, sizeof why);
    if (rc) return SK_FAIL(reterr, (sk_status)rc, "%s", why);
    SK_TRY(allocate(self, reterr));
    double steps = steps_per_s(self->info->name);
    self->rate = self->fps ? (double)self->fps : steps > 0 ? fmax(steps / (double)self->every, 1) : FPS;
    return SK_OK;
}

/* The environment's first state, which is the first picture: only it tells how large that is. */
static sk_status begin(player *self, sk_error *reterr) {
    sk_vec_params params = {.env = self->env.env,
                            .n_envs = 1,
                            .seed = (uint64_t)self->seed,
                            .seeding = SK_VEC_SEED_EPISODES,
                            .on_invalid = self->env.on_invalid};
    SK_TRY(sk_vec_create(&params, &self->vec, reterr));
    SK_TRY(sk_vec_reset(self->vec, self->obs, self->mask, reterr));
    SK_TRY(sk_vec_render(self->vec, 0, &self->picture_width, &self->picture_height, NULL, reterr));
    self->rgb = calloc((size_t)self->picture_width * (size_t)self->picture_height, 3);
    if (!self->rgb) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a picture");
    int width = 0, height = 0; /* drawn once before the film is opened: where that cannot be, nothing is written */
    return sk_vec_render(self->vec, 0, &width, &height, self->rgb, reterr);
}

/* ---- playing ---- */

static sk_status add_picture(player *self, sk_error *reterr) {
    int width = 0, height = 0;
    SK_TRY(sk_vec_render(self->vec, 0, &width, &height, NULL, reterr));
    if (width != self->picture_width || height != self->picture_height)
        return SK_FAIL(reterr, SK_EENV, "environment \"%s\": its pictures were %d x %d and are now %d x %d",
                       self->info->name, self->picture_width, self->picture_height, width, height);
    SK_TRY(sk_vec_render(self->vec, 0, &width, &height, self->rgb, reterr));
    SK_TRY(sk_film_add(self->film, self->rgb, reterr));
    self->n_pictures++;
    return SK_OK;
}

static void tell_episode(const player *self, const char *end) {
    if (self->json) return;
    printf("episode %lld, seed %lld: return %.6g in %.6g steps, %s\n", (long long)self->n_ended,
           (long long)(self->seed + self->n_ended), self->ret, self->length, end);
    fflush(stdout);
}

static void count_ends(player *self) {
    int n = 0;
    const sk_vec_event *event = sk_vec_events(self->vec, &n);
    for (int i = 0; i < n; i++) {
        self->ret += event[i].ret / self->info->n_agents;
        self->length += (double)event[i].length / self->info->n_agents;
        if (++self->n_agents_ended < self->info->n_agents) continue;
        tell_episode(self, !event[i].valid ? "invalid" : event[i].terminated ? "terminated" : "truncated");
        self->returns[self->n_ended] = event[i].valid ? self->ret : (double)NAN;
        self->lengths[self->n_ended++] = self->length;
        self->ret = self->length = 0;
        self->n_agents_ended = 0;
    }
}

static bool goes_on(const player *self) {
    return self->n_ended < self->n_episodes && (!self->max_steps || self->n_steps < self->max_steps) &&
           !*self->interrupted;
}

static sk_status play(player *self, sk_error *reterr) {
    sk_vec_step step = {.action = self->action,
                        .reward = self->reward,
                        .terminated = self->terminated,
                        .truncated = self->truncated,
                        .valid = self->valid,
                        .next_obs = self->obs,
                        .next_mask = self->mask,
                        .final_obs = self->final_obs};
    _Static_assert(sizeof(skiff_action_slot) == sizeof(sk_env_slot), "one action, two names");
    do {
        if (sk_vec_episode_age(self->vec, 0) % self->every == 0) SK_TRY(add_picture(self, reterr));
        skiff_policy_act(self->actor, self->obs, self->info->mask_size ? self->mask : NULL, self->info->n_agents,
                         (skiff_action_slot *)(void *)self->action);
        SK_TRY(sk_vec_step_run(self->vec, &step, reterr));
        self->n_steps++;
        count_ends(self);
    } while (goes_on(self));
    return sk_film_finish(self->film, reterr);
}

/* ---- what came of it ---- */

static sk_status print_json(const player *self, sk_error *reterr) {
    char *text = NULL;
    sk_json_line line;
    sk_json_line_init(&line);
    sk_json_line_text(&line, "env", self->info->name);
    sk_json_line_text(&line, "policy", self->path);
    sk_json_line_text(&line, "out", self->out);
    sk_json_line_integer(&line, "num_pictures", self->n_pictures);
    sk_json_line_integer(&line, "width", self->picture_width);
    sk_json_line_integer(&line, "height", self->picture_height);
    sk_json_line_number(&line, "fps", self->rate);
    sk_json_line_integer(&line, "seed", self->seed);
    sk_json_line_integer(&line, "num_env_steps", self->n_steps);
    sk_json_line_integer(&line, "num_episodes", self->n_ended);
    sk_json_line_begin_array(&line, "episode_returns");
    for (int64_t i = 0; i < self->n_ended; i++) sk_json_line_number(&line, NULL, self->returns[i]);
    sk_json_line_end_array(&line);
    sk_json_line_begin_array(&line, "episode_lens");
    for (int64_t i = 0; i < self->n_ended; i++) sk_json_line_number(&line, NULL, self->lengths[i]);
    sk_json_line_end_array(&line);
    SK_TRY(sk_json_line_finish(&line, &text, reterr));
    printf("%s\n", text);
    free(text);
    return SK_OK;
}

static int fail(const sk_error *err, int code) {
    fprintf(stderr, "%s\n", err->msg);
    return code;
}

static int run(player *self) {
    sk_error err = {0};
    sk_status status = open_all(self, &err);
    if (status != SK_OK) return fail(&err, sk_exit_code_of_input(status));
    self->interrupted = sk_interrupt_install(NULL);
    status = begin(self, &err);
    if (status != SK_OK) return fail(&err, SK_EXIT_FAILED);
    status = sk_film_create(self->out, self->picture_width, self->picture_height, self->rate, &self->film, &err);
    if (status != SK_OK) return fail(&err, sk_exit_code_of_input(status));
    status = play(self, &err);
    if (status == SK_OK && self->json) status = print_json(self, &err);
    if (status != SK_OK) return fail(&err, SK_EXIT_FAILED);
    bool stopped = self->n_ended < self->n_episodes;
    if (!self->json) {
        if (stopped)
            printf("stopped after %lld steps, in episode %lld\n", (long long)self->n_steps, (long long)self->n_ended);
        printf("%s: %lld pictures of %d x %d, %.4g per second\n", self->out, (long long)self->n_pictures,
               self->picture_width, self->picture_height, self->rate);
    }
    return stopped && *self->interrupted ? SK_EXIT_INTERRUPTED : SK_EXIT_DONE;
}

int sk_cmd_play(int argc, char **argv) {
    player self = {.n_episodes = 1, .every = 1, .out = "play.mp4"};
    sk_arg options[] = {
        {"--episodes", SK_ARG_INT, &self.n_episodes, 1, 1000000, "how many (1); each has its own seed"},
        {"--seed", SK_ARG_INT, &self.seed, 0, (int64_t)1 << 53, "of the first episode (0)"},
        {"--out", SK_ARG_TEXT, &self.out, 0, 0, "FILE.mp4 (by ffmpeg), or a new folder for PNG files (play.mp4)"},
        {"--fps", SK_ARG_INT, &self.fps, 1, 1000, "pictures per second (real time where it is known, else 30)"},
        {"--every", SK_ARG_INT, &self.every, 1, 1000000, "a picture of every K-th step only (1)"},
        {"--width", SK_ARG_INT, &self.width, 16, 8192, "of the pictures; classic environments have one size only"},
        {"--height", SK_ARG_INT, &self.height, 16, 8192, "likewise"},
        {"--max-steps", SK_ARG_INT, &self.max_steps, 1, INT64_MAX, "stop after so many steps in all"},
        {"--env", SK_ARG_TEXT, &self.env_text, 0, 0, "NAME or PLUGIN.so[:NAME] instead of the run's own"},
        {"--json", SK_ARG_FLAG, &self.json, 0, 0, "one JSON object"},
    };
    sk_args args = {.usage = "skiff play RUN_DIR|CHECKPOINT|POLICY [--out FILE.mp4|FOLDER] [--episodes N] [--seed S] "
                             "[--fps F] [--every K] [--width W] [--height H] [--max-steps N] [--env ENV] [--json]",
                    .args = options,
                    .n_args = SK_COUNT(options),
                    .n_min = 1,
                    .n_max = 1};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    self.path = args.positional[0];
    code = run(&self);
    deinit(&self);
    return code;
}
