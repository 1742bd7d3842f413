/* skiff check-env: does an environment keep the promises of skiff/env.h? Plays it in several ways with random
 * actions and compares. Exit code 1 if a promise is broken. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/env_arg.h"
#include "core/base/arena.h"
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "rl/vec.h"
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPEED_ENVS = 64, GROUP_ENVS = 4, UNWRITTEN = 0xaa };
static const double SPEED_S = 0.3; /* how long the speed is measured */

typedef enum verdict { PASS, FAIL, SKIP } verdict;

typedef struct checker {
    const sk_env      *env;
    const sk_env_info *info;
    const sk_env_spec *spec;
    uint64_t           seed;
    int64_t            n_steps;
    bool               json;
    char               detail[600]; /* what the last check has to say */
} checker;

/* Some environments in play, with their columns. */
typedef struct lane {
    sk_vec      *vec;
    sk_arena    *memory;
    int          rows, first_row;
    sk_env_slot *action;
    float       *reward, *obs, *final_obs;
    uint8_t     *terminated, *truncated, *valid, *mask;
} lane;

#define SAY(self, ...) ((void)snprintf((self)->detail, sizeof(self)->detail, __VA_ARGS__))

/* ---- lanes ---- */

static void lane_destroy(lane *self) {
    sk_vec_destroy(&self->vec);
    sk_arena_destroy(&self->memory);
}

/* `n_envs` environments from global index `first` on, reset. */
static sk_status lane_create(const checker *check, int n_envs, int first, lane *self, sk_error *reterr) {
    const sk_env_info *info = check->info;
    size_t rows = (size_t)n_envs * (size_t)info->n_agents, floats = rows * (size_t)info->obs_dim;
    *self = (lane){.rows = (int)rows, .first_row = first * info->n_agents};
    sk_vec_params params = {.env = check->env,
                            .n_envs = n_envs,
                            .first_env = first,
                            .n_total = first + n_envs,
                            .seed = check->seed};
    SK_TRY(sk_vec_create(&params, &self->vec, reterr));
    sk_arena_plan plan = {0};
    sk_arena_plan_add(&plan, (void **)&self->action, rows * (size_t)info->action_slots * sizeof(sk_env_slot),
                      64);
    sk_arena_plan_add(&plan, (void **)&self->reward, rows * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->obs, floats * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->final_obs, floats * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->terminated, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->truncated, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->valid, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->mask, rows * (size_t)info->mask_size, 64);
    SK_TRY(sk_arena_create(&plan, &self->memory, reterr));
    return sk_vec_reset(self->vec, self->obs, self->mask, reterr);
}

/* Actions number t of all rows, by their global row. */
static void choose(const checker *check, int rows, int first_row, int64_t t, const uint8_t *mask,
                   sk_env_slot *action) {
    for (int row = 0; row < rows; row++) {
        sk_env_action_random(check->spec, check->seed,
                             sk_stream_id(SK_STREAM_ROLLOUT, (uint64_t)(first_row + row)), (uint64_t)t,
                             check->info->mask_size ? mask + row * check->info->mask_size : NULL,
                             action + row * check->info->action_slots);
    }
}

static sk_status lane_step(const checker *check, lane *self, int64_t t, sk_error *reterr) {
    choose(check, self->rows, self->first_row, t, self->mask, self->action);
    sk_vec_step step = {.action = self->action, .reward = self->reward, .terminated = self->terminated,
                        .truncated = self->truncated, .valid = self->valid, .next_obs = self->obs,
                        .next_mask = self->mask, .final_obs = self->final_obs};
    return sk_vec_step_run(self->vec, &step, reterr);
}

/* The first difference between row a of one lane and row b of another, or NULL. */
static const char *differs(const checker *check, const lane *one, int a, const lane *two, int b) {
    size_t dim = (size_t)check->info->obs_dim, masks = (size_t)check->info->mask_size;
    bool   ended = one->terminated[a] || one->truncated[a];
    if (memcmp(one->obs + (size_t)a * dim, two->obs + (size_t)b * dim, dim * sizeof(float)))
        return "observation";
    if (memcmp(one->reward + a, two->reward + b, sizeof(float))) return "reward";
    if (one->terminated[a] != two->terminated[b]) return "terminated";
    if (one->truncated[a] != two->truncated[b]) return "truncated";
    if (memcmp(one->mask + (size_t)a * masks, two->mask + (size_t)b * masks, masks)) return "mask";
    if (ended &&
        memcmp(one->final_obs + (size_t)a * dim, two->final_obs + (size_t)b * dim, dim * sizeof(float))) {
        return "final observation";
    }
    return NULL;
}

/* ---- everything is written, and nothing else ---- */

/* Columns of three environments, straight from the api, with a guard behind the observations. */
typedef struct bare {
    void        *impl;
    sk_arena    *memory;
    sk_env_slot *action;
    float       *obs, *reward, *metrics;
    uint8_t     *terminated, *truncated, *mask, *active, *failed;
    size_t       obs_bytes, rows;
} bare;

enum { BARE_ENVS = 3, GUARD_BYTES = 64 };

static const char *api_error(const checker *check, void *impl) {
    const sk_env_api *api = sk_env_api_get(check->env);
    return api->last_error && api->last_error(impl) ? api->last_error(impl) : "(it gave no reason)";
}

static sk_status bare_create(const checker *check, bare *self, sk_error *reterr) {
    const sk_env_info *info = check->info;
    char               err[256] = "";
    self->rows = (size_t)(BARE_ENVS * info->n_agents);
    self->obs_bytes = self->rows * (size_t)info->obs_dim * sizeof(float);
    sk_arena_plan plan = {0};
    sk_arena_plan_add(&plan, (void **)&self->action,
                      self->rows * (size_t)info->action_slots * sizeof(sk_env_slot), 64);
    sk_arena_plan_add(&plan, (void **)&self->obs, self->obs_bytes + GUARD_BYTES, 64);
    sk_arena_plan_add(&plan, (void **)&self->reward, self->rows * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->metrics, self->rows * (size_t)info->n_metrics * sizeof(float),
                      64);
    sk_arena_plan_add(&plan, (void **)&self->terminated, self->rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->truncated, self->rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->mask, self->rows * (size_t)info->mask_size, 64);
    sk_arena_plan_add(&plan, (void **)&self->active, self->rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->failed, self->rows, 64);
    SK_TRY(sk_arena_create(&plan, &self->memory, reterr));
    if (sk_env_api_get(check->env)
            ->create(sk_env_config_get(check->env), BARE_ENVS, &self->impl, err, sizeof err)) {
        self->impl = NULL;
        return SK_FAIL(reterr, SK_EENV, "create failed: %.250s", err);
    }
    return SK_OK;
}

static void bare_destroy(const checker *check, bare *self) {
    if (self->impl) sk_env_api_get(check->env)->destroy(self->impl);
    sk_arena_destroy(&self->memory);
}

/* Rubbish into all columns that an environment must write: as floats a number that no one writes. */
static void bare_soil(const checker *check, bare *self) {
    memset(self->obs, UNWRITTEN, self->obs_bytes + GUARD_BYTES);
    memset(self->reward, UNWRITTEN, self->rows * sizeof(float));
    memset(self->metrics, UNWRITTEN, self->rows * (size_t)check->info->n_metrics * sizeof(float));
    memset(self->terminated, UNWRITTEN, self->rows);
    memset(self->truncated, UNWRITTEN, self->rows);
    memset(self->mask, UNWRITTEN, self->rows * (size_t)check->info->mask_size);
    memset(self->active, 1, self->rows);
    memset(self->failed, 0, self->rows);
}

/* Step `count` envs from `first`. */
static int bare_step(const checker *check, bare *self, int first, int count) {
    size_t    row = (size_t)(first * check->info->n_agents);
    sk_env_io io = {.struct_size = sizeof io,
                    .action = self->action + row * (size_t)check->info->action_slots,
                    .obs = self->obs + row * (size_t)check->info->obs_dim,
                    .reward = self->reward + row,
                    .terminated = self->terminated + row,
                    .truncated = self->truncated + row,
                    .mask = check->info->mask_size ? self->mask + row * (size_t)check->info->mask_size : NULL,
                    .active = self->active + row,
                    .failed = self->failed + row,
                    .metrics =
                        check->info->n_metrics ? self->metrics + row * (size_t)check->info->n_metrics : NULL};
    return sk_env_api_get(check->env)->step(self->impl, first, count, &io);
}

static bool untouched(const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < n; i++) {
        if (at[i] != UNWRITTEN) return false;
    }
    return true;
}

/* Floats that were not written, or -1. */
static int64_t first_untouched(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (untouched(&x[i], sizeof x[i])) return (int64_t)i;
    }
    return -1;
}

/* What a row lacks after a step, or NULL. */
static const char *row_unwritten(const checker *check, const bare *self, size_t row) {
    size_t dim = (size_t)check->info->obs_dim, metrics = (size_t)check->info->n_metrics;
    size_t masks = (size_t)check->info->mask_size;
    if (first_untouched(self->obs + row * dim, dim) >= 0) return "an observation is not written completely";
    if (first_untouched(self->reward + row, 1) >= 0) return "reward is not written";
    if (first_untouched(self->metrics + row * metrics, metrics) >= 0)
        return "metrics are not written completely";
    if (self->terminated[row] > 1) return "terminated is not written, or neither 0 nor 1";
    if (self->truncated[row] > 1) return "truncated is not written, or neither 0 nor 1";
    if (self->active[row] > 1) return "active is neither 0 nor 1";
    if (self->failed[row] > 1) return "failed is neither 0 nor 1";
    for (size_t i = 0; i < masks; i++) {
        if (self->mask[row * masks + i] > 1) return "the mask is not written completely, or neither 0 nor 1";
    }
    return NULL;
}

/* Reset all; every observation and mask must be written by it. */
static verdict bare_reset(checker *check, bare *self) {
    size_t agents = (size_t)check->info->n_agents, dim = (size_t)check->info->obs_dim;
    size_t masks = (size_t)check->info->mask_size;
    for (size_t e = 0; e < BARE_ENVS; e++) {
        uint64_t seed = check->seed + e;
        if (sk_env_api_get(check->env)->reset(self->impl, (int)e, &seed, self->obs + e * agents * dim,
                                              masks ? self->mask + e * agents * masks : NULL)) {
            return SAY(check, "reset failed: %.250s", api_error(check, self->impl)), FAIL;
        }
        if (first_untouched(self->obs + e * agents * dim, agents * dim) >= 0) {
            return SAY(check, "reset does not write the whole observation"), FAIL;
        }
    }
    return PASS;
}

/* A step of the middle environment alone writes its rows and no others. */
static verdict bare_middle(checker *check, bare *self) {
    size_t agents = (size_t)check->info->n_agents, dim = (size_t)check->info->obs_dim;
    bare_soil(check, self);
    if (bare_step(check, self, 1, 1))
        return SAY(check, "step failed: %.250s", api_error(check, self->impl)), FAIL;
    for (size_t row = agents; row < 2 * agents; row++) {
        const char *what = row_unwritten(check, self, row);
        if (what) return SAY(check, "stepping one environment out of three: %s", what), FAIL;
    }
    for (size_t e = 0; e < BARE_ENVS; e += 2) {
        if (!untouched(self->obs + e * agents * dim, agents * dim * sizeof(float)) ||
            !untouched(self->reward + e * agents, agents * sizeof(float)) ||
            !untouched(self->terminated + e * agents, agents) ||
            !untouched(self->truncated + e * agents, agents)) {
            return SAY(check, "stepping environment 1 writes into the rows of environment %zu", e), FAIL;
        }
    }
    return PASS;
}

static verdict bare_steps(checker *check, bare *self) {
    bare_soil(check, self);
    verdict result = bare_reset(check, self);
    bool    ended = false;
    for (int64_t t = 0; result == PASS && !ended && t < check->n_steps; t++) {
        choose(check, (int)self->rows, 0, t, self->mask, self->action);
        bare_soil(check, self);
        if (bare_step(check, self, 0, BARE_ENVS)) {
            return SAY(check, "step failed: %.250s", api_error(check, self->impl)), FAIL;
        }
        for (size_t row = 0; row < self->rows; row++) {
            const char *what = row_unwritten(check, self, row);
            if (what) return SAY(check, "step %lld: %s", (long long)t + 1, what), FAIL;
            ended |= self->terminated[row] || self->truncated[row] || !self->active[row] || self->failed[row];
        }
        if (!untouched((char *)self->obs + self->obs_bytes, GUARD_BYTES)) {
            return SAY(check, "step %lld: it writes behind the last observation", (long long)t + 1), FAIL;
        }
    }
    if (result == PASS) result = bare_reset(check, self);
    if (result != PASS) return result;
    choose(check, (int)self->rows, 0, 0, self->mask, self->action);
    return bare_middle(check, self);
}

static verdict check_columns(checker *check) {
    bare      self = {0};
    sk_error  error = {0};
    sk_status status = bare_create(check, &self, &error);
    verdict   result = FAIL;
    if (status != SK_OK) SAY(check, "%s", error.msg);
    else result = bare_steps(check, &self);
    bare_destroy(check, &self);
    return result;
}

/* ---- the checks ---- */

/* The slot of a row that lies outside of its bounds, said in detail. */
static bool outside(checker *check, const float *obs, int64_t t) {
    int at = 0;
    for (int f = 0; f < check->spec->n_obs; f++) {
        const sk_env_field *field = &check->spec->obs[f];
        for (int i = 0; i < sk_env_field_size(field); i++, at++) {
            float low, high;
            sk_env_field_bounds(field, i, &low, &high);
            if (field->dtype == SK_ENV_I32 ? sk_env_slot_good(field, i, &obs[at])
                                           : obs[at] >= low && obs[at] <= high)
                continue;
            char name[SK_ENV_NAME_MAX + 16], value[32];
            sk_env_obs_name(check->spec, at, name, sizeof name);
            sk_env_slot_text(field, &obs[at], value, sizeof value);
            SAY(check, "step %lld: observation \"%s\" is %s, outside of [%.9g, %.9g]", (long long)t, name, value,
                (double)low, (double)high);
            return true;
        }
    }
    return false;
}

static verdict bounds_hold(checker *check, const lane *self, int64_t t) {
    const sk_env_spec *spec = check->spec;
    bool stated = spec->reward_low != 0.0f || spec->reward_high != 0.0f;
    for (int row = 0; row < self->rows; row++) {
        size_t at = (size_t)row * (size_t)check->info->obs_dim;
        if (outside(check, self->obs + at, t)) return FAIL;
        if (t == 0 || !self->valid[row]) continue;
        if ((self->terminated[row] || self->truncated[row]) && outside(check, self->final_obs + at, t))
            return FAIL;
        if (stated && !(self->reward[row] >= spec->reward_low && self->reward[row] <= spec->reward_high)) {
            return SAY(check, "step %lld: reward is %.9g, outside of [%.9g, %.9g]", (long long)t,
                       (double)self->reward[row], (double)spec->reward_low, (double)spec->reward_high), FAIL;
        }
    }
    return PASS;
}

static verdict check_bounds(checker *check) {
    lane      self;
    sk_error  error = {0};
    sk_status status = lane_create(check, GROUP_ENVS, 0, &self, &error);
    verdict   result = status == SK_OK ? bounds_hold(check, &self, 0) : FAIL;
    int64_t   episodes = 0;
    for (int64_t t = 0; status == SK_OK && result == PASS && t < check->n_steps; t++) {
        int n;
        status = lane_step(check, &self, t, &error);
        if (status == SK_OK) result = bounds_hold(check, &self, t + 1);
        sk_vec_events(self.vec, &n);
        episodes += n;
    }
    if (status != SK_OK) SAY(check, "%s", error.msg);
    else if (result == PASS) SAY(check, "%lld steps, %lld episodes", (long long)check->n_steps * GROUP_ENVS,
                                 (long long)episodes);
    lane_destroy(&self);
    return status == SK_OK ? result : FAIL;
}

/* Step two lanes side by side from `from` on and compare row i of `part` with row offset + i of `whole`. */
static verdict side_by_side(checker *check, lane *whole, lane *part, int64_t from, const char *cause) {
    sk_error error = {0};
    int      offset = part->first_row - whole->first_row;
    for (int64_t t = from; t < from + check->n_steps; t++) {
        if (lane_step(check, part, t, &error) != SK_OK || lane_step(check, whole, t, &error) != SK_OK) {
            return SAY(check, "%s", error.msg), FAIL;
        }
        for (int row = 0; row < part->rows; row++) {
            const char *what = differs(check, whole, offset + row, part, row);
            if (!what) continue;
            return SAY(check, "step %lld, row %d: another %s %s", (long long)t + 1, part->first_row + row,
                       what, cause),
                   FAIL;
        }
    }
    return PASS;
}

/* `n_part` environments from `first` on, alone, against GROUP_ENVS in one instance. */
static verdict compare_lanes(checker *check, int n_part, int first, const char *cause) {
    lane     whole, part = {0};
    sk_error error = {0};
    verdict  result = FAIL;
    if (lane_create(check, GROUP_ENVS, 0, &whole, &error) != SK_OK ||
        lane_create(check, n_part, first, &part, &error) != SK_OK) {
        SAY(check, "%s", error.msg);
    } else {
        result = side_by_side(check, &whole, &part, 0, cause);
    }
    lane_destroy(&whole);
    lane_destroy(&part);
    return result;
}

static bool claims(checker *check, unsigned cap, const char *name) {
    if (sk_env_api_get(check->env)->caps & cap) return true;
    SAY(check, "it does not claim %s", name);
    return false;
}

static verdict check_determinism(checker *check) {
    if (!claims(check, SK_ENV_CAP_DETERMINISTIC, "SK_ENV_CAP_DETERMINISTIC")) return SKIP;
    return compare_lanes(check, GROUP_ENVS, 0, "for the same seed and actions");
}

static verdict check_grouping(checker *check) {
    if (!claims(check, SK_ENV_CAP_DETERMINISTIC, "SK_ENV_CAP_DETERMINISTIC")) return SKIP;
    for (int e = 0; e < GROUP_ENVS; e++) {
        if (compare_lanes(check, 1, e, "when it is alone than among others") != PASS) return FAIL;
    }
    return PASS;
}

/* Play, save, load into a fresh instance, and play both on. The columns go along by hand. */
static verdict replay(checker *check, lane *old, lane *fresh, void *bytes) {
    sk_error error = {0};
    for (int64_t t = 0; t < check->n_steps; t++) {
        if (lane_step(check, old, t, &error) != SK_OK) return SAY(check, "%s", error.msg), FAIL;
    }
    if (sk_vec_state_save(old->vec, bytes, &error) != SK_OK ||
        sk_vec_state_load(fresh->vec, bytes, &error) != SK_OK) {
        return SAY(check, "%s", error.msg), FAIL;
    }
    memcpy(fresh->mask, old->mask, (size_t)old->rows * (size_t)check->info->mask_size);
    verdict result = side_by_side(check, old, fresh, check->n_steps, "after its state was loaded");
    if (result == PASS) SAY(check, "%zu bytes per environment", sk_vec_env_state_size(old->vec));
    return result;
}

static verdict check_state(checker *check) {
    if (!claims(check, SK_ENV_CAP_STATE, "SK_ENV_CAP_STATE")) return SKIP;
    lane     old, fresh = {0};
    sk_error error = {0};
    verdict  result = FAIL;
    void    *bytes = NULL;
    if (lane_create(check, GROUP_ENVS, 0, &old, &error) != SK_OK ||
        lane_create(check, GROUP_ENVS, 0, &fresh, &error) != SK_OK) {
        SAY(check, "%s", error.msg);
    } else if ((bytes = malloc(sk_vec_state_size(old.vec) + 1)) == NULL) {
        SAY(check, "out of memory");
    } else {
        result = replay(check, &old, &fresh, bytes);
    }
    free(bytes);
    lane_destroy(&old);
    lane_destroy(&fresh);
    return result;
}

/* Not a promise, but good to know: environment steps per second of one thread, the host's duties included. */
static verdict check_speed(checker *check) {
    lane      self;
    sk_error  error = {0};
    int64_t   t = 0;
    sk_status status = lane_create(check, SPEED_ENVS, 0, &self, &error);
    double    start_s = sk_clock_now_s(), wall_s = 0;
    sk_vec_step step = {.action = self.action, .reward = self.reward, .terminated = self.terminated,
                        .truncated = self.truncated, .valid = self.valid, .next_obs = self.obs,
                        .next_mask = self.mask, .final_obs = self.final_obs};
    for (; status == SK_OK && wall_s < SPEED_S; t++) {
        /* New actions only now and then, unless a mask may have changed: drawing them costs more than a step.
         */
        if (t % 16 == 0 || check->info->mask_size) choose(check, self.rows, 0, t, self.mask, self.action);
        status = sk_vec_step_run(self.vec, &step, &error);
        wall_s = sk_clock_now_s() - start_s;
    }
    if (status == SK_OK) SAY(check, "%.4g steps/s", (double)t * SPEED_ENVS / wall_s);
    else SAY(check, "%s", error.msg);
    lane_destroy(&self);
    return status == SK_OK ? PASS : FAIL;
}

/* ---- the command ---- */

static const struct {
    const char *name, *promise;
    verdict (*run)(checker *);
} checks[] = {
    {"columns", "reset and step write all of their rows and nothing else", check_columns},
    {"bounds", "observations and rewards are finite and within their bounds", check_bounds},
    {"determinism", "same seed and actions, same bits", check_determinism},
    {"grouping", "an environment does not depend on its neighbours", check_grouping},
    {"state", "a saved state goes on bit for bit", check_state},
    {"speed", "64 environments in one thread", check_speed},
};

static void report(const checker *check, const char *name, const char *promise, verdict result) {
    static const char *const words[] = {"ok", "FAIL", "skipped"};
    static const char *const json_words[] = {"pass", "fail", "skip"};
    if (!check->json) {
        printf("%-8s%-12s %s%s%s\n", words[result], name, promise, check->detail[0] ? ": " : "",
               check->detail);
        return;
    }
    json_t *json =
        json_pack("{s:s, s:s, s:s}", "check", name, "result", json_words[result], "detail", check->detail);
    if (json) json_dumpf(json, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(json);
}

int sk_cmd_check_env(int argc, char **argv) {
    int64_t seed = 0, n_steps = 500;
    bool    json = false;
    sk_arg args[] = {{"--seed", SK_ARG_INT, &seed, 0, INT64_MAX, "of environments and actions (0)"},
                     {"--steps", SK_ARG_INT, &n_steps, 1, INT32_MAX, "of each check (500)"},
                     {"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object per check"}};
    sk_args parsed = {
        .usage = "skiff check-env NAME|PLUGIN.so[:NAME] [CONFIG=VALUE ...] [--seed S] [--steps N] [--json]",
        .args = args,
        .n_args = SK_COUNT(args),
        .n_min = 1,
        .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;

    /* Opening is the first check: it describes the environment twice and looks at every number. */
    SK_AUTO(sk_env) env = NULL;
    sk_error  error = {0};
    checker   check = {.seed = (uint64_t)seed, .n_steps = n_steps, .json = json};
    sk_status status = sk_env_arg_open(parsed.positional[0], parsed.n_positional - 1, parsed.positional + 1,
                                       0, &env, &error);
    if (status == SK_EINVAL || status == SK_ENOTFOUND) return sk_env_arg_fail(&error);
    if (status != SK_OK) SAY(&check, "%s", error.msg);
    report(&check, "description", "its spaces make sense", status == SK_OK ? PASS : FAIL);
    if (status != SK_OK) return 1;

    check.env = env;
    check.info = sk_env_info_get(env);
    check.spec = sk_env_spec_get(env);
    int n_failed = 0;
    for (int i = 0; i < SK_COUNT(checks); i++) {
        check.detail[0] = 0;
        verdict result = checks[i].run(&check);
        report(&check, checks[i].name, checks[i].promise, result);
        n_failed += result == FAIL;
    }
    return n_failed ? 1 : 0;
}
