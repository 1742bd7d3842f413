/* skiff rollout: play an environment with given or random actions and print every step. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/env_arg.h"
#include "core/base/arena.h"
#include "core/base/rng.h"
#include "rl/vec.h"
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rollout {
    sk_env            *env;
    sk_vec            *vec; /* one environment: rows are its agents */
    const sk_env_info *info;
    const sk_env_spec *spec;
    int                rows;
    sk_env_slot *given;     /* (n_given x rows x slots) from the file, or NULL */
    int64_t      n_given;
    uint64_t     seed;
    bool         json;
    /* one step's columns, (rows x ...) */
    sk_env_slot *action;
    float       *reward, *obs, *final_obs;
    uint8_t     *terminated, *truncated, *valid, *mask;
    sk_arena    *memory;
} rollout;

/* ---- actions ---- */

/* Parse one slot; *at moves behind it and its comma. */
static sk_status parse_slot(const sk_env_action_part *part, const char *file, int line, char **at,
                            sk_env_slot *ret, sk_error *reterr) {
    char  *end;
    double value = strtod(*at, &end);
    if (end == *at) return SK_FAIL(reterr, SK_EINVAL, "%s:%d: an action is missing", file, line);
    bool discrete = part->kind == SK_ENV_DISCRETE;
    if (discrete &&
        (value != floor(value) || value < part->start || value >= (double)part->start + part->n)) {
        return SK_FAIL(reterr, SK_EINVAL, "%s:%d: action \"%s\": got %g, wanted an integer from %d to %d",
                       file, line, part->name, value, part->start, part->start + part->n - 1);
    }
    if (!isfinite((float)value)) {
        return SK_FAIL(reterr, SK_EINVAL, "%s:%d: action \"%s\": got %g, wanted a finite number", file, line,
                       part->name, value);
    }
    if (discrete) ret->i = (int32_t)value;
    else ret->f = (float)value;
    end += strspn(end, " \t\r");
    *at = *end == ',' ? end + 1 : end;
    return SK_OK;
}

static sk_status parse_line(const rollout *self, const char *file, int line, char *at, sk_env_slot *ret,
                            sk_error *reterr) {
    for (int row = 0; row < self->rows; row++) {
        for (int p = 0; p < self->spec->n_action; p++) {
            const sk_env_action_part *part = &self->spec->action[p];
            for (int i = 0; i < sk_env_part_slots(part); i++) {
                SK_TRY(parse_slot(part, file, line, &at, ret++, reterr));
            }
        }
    }
    if (at[strspn(at, " \t\r\n")]) {
        return SK_FAIL(reterr, SK_EINVAL, "%s:%d: too many numbers, wanted %d", file, line,
                       self->rows * self->info->action_slots);
    }
    return SK_OK;
}

/* Room for one action more. */
static sk_status grow(rollout *self, int64_t *capacity, sk_error *reterr) {
    if (self->n_given < *capacity) return SK_OK;
    *capacity = *capacity ? *capacity * 2 : 256;
    size_t       slots = (size_t)(self->rows * self->info->action_slots);
    sk_env_slot *more = realloc(self->given, (size_t)*capacity * slots * sizeof *more);
    if (!more) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for actions");
    self->given = more;
    return SK_OK;
}

/* One line per step, comma separated; empty lines are passed over. */
static sk_status read_actions(rollout *self, FILE *file, const char *path, sk_error *reterr) {
    char     *line = NULL;
    size_t    size = 0;
    int64_t   capacity = 0;
    sk_status status = SK_OK;
    for (int n = 1; status == SK_OK && getline(&line, &size, file) >= 0; n++) {
        if (!line[strspn(line, " \t\r\n")]) continue;
        status = grow(self, &capacity, reterr);
        if (status != SK_OK) break;
        int64_t slots = (int64_t)self->rows * self->info->action_slots;
        status = parse_line(self, path, n, line, self->given + self->n_given * slots, reterr);
        self->n_given++;
    }
    if (status == SK_OK && ferror(file)) status = SK_FAIL(reterr, SK_EIO, "%s: %s", path, strerror(errno));
    free(line);
    return status;
}

/* The action of step t (from 0), given or drawn from (seed, row, t). */
static void choose_action(rollout *self, int64_t t) {
    int slots = self->info->action_slots;
    if (self->given) {
        memcpy(self->action, self->given + t * self->rows * slots,
               (size_t)(self->rows * slots) * sizeof *self->action);
        return;
    }
    for (int row = 0; row < self->rows; row++) {
        sk_env_action_random(self->spec, self->seed, sk_stream_id(SK_STREAM_ROLLOUT, (uint64_t)row),
                             (uint64_t)t,
                             self->info->mask_size ? self->mask + row * self->info->mask_size : NULL,
                             self->action + row * slots);
    }
}

/* ---- printing ---- */

/* A number as JSON, such that a float32 reads back to the same bits; integers of discrete observations are printed as
 * such. */
static void print_float(float x) { printf("%.9g", (double)x); }

/* One value per agent: bare for a single agent, else a list. `print` writes the value of a row. */
typedef void (*print_fn)(const rollout *self, int row);
static void print_agents(const rollout *self, const char *key, print_fn print) {
    printf("\"%s\":%s", key, self->rows > 1 ? "[" : "");
    for (int row = 0; row < self->rows; row++) {
        if (row) printf(",");
        print(self, row);
    }
    if (self->rows > 1) printf("]");
}

static void print_row(const rollout *self, const float *obs) {
    printf("[");
    for (int f = 0; f < self->spec->n_obs; f++) {
        for (int i = 0; i < sk_env_field_size(&self->spec->obs[f]); i++, obs++) {
            char text[32];
            sk_env_slot_text(&self->spec->obs[f], obs, text, sizeof text);
            printf("%s%s", f || i ? "," : "", text);
        }
    }
    printf("]");
}

static void print_obs(const rollout *self, int row) {
    print_row(self, self->obs + (size_t)row * (size_t)self->info->obs_dim);
}

/* The last observation of a row that ended, else null. */
static void print_final_obs(const rollout *self, int row) {
    if (!self->terminated[row] && !self->truncated[row]) printf("null");
    else print_row(self, self->final_obs + (size_t)row * (size_t)self->info->obs_dim);
}

/* A bare integer for a single discrete part, else a list of slots; as given, not clipped. */
static void print_action(const rollout *self, int row) {
    const sk_env_slot *slot = self->action + row * self->info->action_slots;
    bool bare = self->info->action_slots == 1 && self->info->n_discrete == 1, comma = false;
    if (!bare) printf("[");
    for (int p = 0; p < self->spec->n_action; p++) {
        const sk_env_action_part *part = &self->spec->action[p];
        for (int i = 0; i < sk_env_part_slots(part); i++, slot++, comma = true) {
            if (comma) printf(",");
            if (part->kind == SK_ENV_DISCRETE) printf("%d", slot->i);
            else print_float(slot->f);
        }
    }
    if (!bare) printf("]");
}

static void print_reward(const rollout *self, int row) { print_float(self->reward[row]); }
static void print_terminated(const rollout *self, int row) {
    printf(self->terminated[row] ? "true" : "false");
}
static void print_truncated(const rollout *self, int row) { printf(self->truncated[row] ? "true" : "false"); }

static void print_start(const rollout *self) {
    printf("{\"t\":0,");
    print_agents(self, "obs", print_obs);
    printf("}\n");
}

static void print_step(const rollout *self, int64_t t) {
    unsigned ended = 0;
    for (int row = 0; row < self->rows; row++)
        ended |= (unsigned)(self->terminated[row] | self->truncated[row]);
    printf("{\"t\":%lld,", (long long)t);
    print_agents(self, "action", print_action);
    printf(",");
    print_agents(self, "obs", print_obs);
    printf(",");
    print_agents(self, "reward", print_reward);
    printf(",");
    print_agents(self, "terminated", print_terminated);
    printf(",");
    print_agents(self, "truncated", print_truncated);
    if (ended) {
        printf(",");
        print_agents(self, "final_obs", print_final_obs);
    }
    printf("}\n");
}

/* For people: one line per finished episode. */
static void print_episodes(const rollout *self, int64_t t) {
    int n;
    const sk_vec_event *event = sk_vec_events(self->vec, &n);
    for (int i = 0; i < n; i++) {
        printf("t %lld: episode %lld", (long long)t, (long long)event[i].episode);
        if (self->rows > 1) printf(", agent %d", event[i].agent);
        printf(": return %g in %d steps,%s%s\n", event[i].ret, event[i].length,
               event[i].terminated ? " terminated" : "", event[i].truncated ? " truncated" : "");
    }
}

/* ---- the run ---- */

static sk_status allocate(rollout *self, sk_error *reterr) {
    size_t rows = (size_t)self->rows, floats = rows * (size_t)self->info->obs_dim;
    sk_arena_plan plan = {0};
    sk_arena_plan_add(&plan, (void **)&self->action,
                      rows * (size_t)self->info->action_slots * sizeof(sk_env_slot), 64);
    sk_arena_plan_add(&plan, (void **)&self->reward, rows * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->obs, floats * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->final_obs, floats * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->terminated, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->truncated, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->valid, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->mask, rows * (size_t)self->info->mask_size, 64);
    return sk_arena_create(&plan, &self->memory, reterr);
}

static sk_status play(rollout *self, int64_t n_steps, sk_error *reterr) {
    SK_TRY(sk_vec_reset(self->vec, self->obs, self->mask, reterr));
    if (self->json) print_start(self);
    sk_vec_step step = {.action = self->action, .reward = self->reward, .terminated = self->terminated,
                        .truncated = self->truncated, .valid = self->valid, .next_obs = self->obs,
                        .next_mask = self->mask, .final_obs = self->final_obs};
    for (int64_t t = 0; t < n_steps; t++) {
        choose_action(self, t);
        SK_TRY(sk_vec_step_run(self->vec, &step, reterr));
        if (self->json) print_step(self, t + 1);
        else print_episodes(self, t + 1);
        if (ferror(stdout)) return SK_FAIL(reterr, SK_EIO, "standard output: %s", strerror(errno));
    }
    return SK_OK;
}

/* Where the actions come from, and how many there are. */
static sk_status take_actions(rollout *self, const char *path, int64_t *n_steps, sk_error *reterr) {
    if (!path) return SK_OK;
    FILE *file = fopen(path, "r");
    if (!file) return SK_FAIL(reterr, SK_ENOTFOUND, "%s: %s", path, strerror(errno));
    sk_status status = read_actions(self, file, path, reterr);
    fclose(file);
    SK_TRY(status);
    if (*n_steps < 0) *n_steps = self->n_given;
    if (*n_steps > self->n_given) {
        return SK_FAIL(reterr, SK_EINVAL, "%s: got %lld actions, wanted %lld (--steps)", path,
                       (long long)self->n_given, (long long)*n_steps);
    }
    return SK_OK;
}

static int run(rollout *self, const char *actions, int64_t n_steps) {
    sk_error error = {0};
    self->info = sk_env_info_get(self->env);
    self->spec = sk_env_spec_get(self->env);
    self->rows = self->info->n_agents;
    sk_vec_params params = {.env = self->env, .n_envs = 1, .seed = self->seed, .seeding = SK_VEC_SEED_OFFSET};
    sk_status     status = sk_vec_create(&params, &self->vec, &error);
    if (status == SK_OK && take_actions(self, actions, &n_steps, &error) != SK_OK)
        return sk_env_arg_fail(&error);
    if (status == SK_OK) status = allocate(self, &error);
    if (status == SK_OK) status = play(self, n_steps, &error);
    if (fflush(stdout) != 0 && status == SK_OK)
        status = SK_FAIL(&error, SK_EIO, "standard output: %s", strerror(errno));
    if (status == SK_OK) return 0;
    fprintf(stderr, "%s\n", error.msg);
    return 1;
}

int sk_cmd_rollout(int argc, char **argv) {
    int64_t     seed = 0, n_steps = -1, limit = 0;
    const char *actions = NULL;
    bool        at_random = false, json = false;
    sk_arg args[] = {
        {"--seed", SK_ARG_INT, &seed, 0, INT64_MAX, "of the first reset (0)"},
        {"--actions", SK_ARG_TEXT, &actions, 0, 0, "CSV file: a line per step, a number per slot"},
        {"--random", SK_ARG_FLAG, &at_random, 0, 0, "uniform actions instead"},
        {"--steps", SK_ARG_INT, &n_steps, 0, INT64_MAX, "how many (with --actions: all)"},
        {"--max-episode-steps", SK_ARG_INT, &limit, 1, INT32_MAX, "another time limit"},
        {"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object per step"},
    };
    sk_args parsed = {.usage = "skiff rollout NAME|PLUGIN.so[:NAME] [CONFIG=VALUE ...] [--seed S] "
                               "(--actions FILE.csv | --random --steps N) [--json]",
                      .args = args, .n_args = SK_COUNT(args), .n_min = 1, .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    if (at_random == (actions != NULL) || (at_random && n_steps < 0)) {
        fprintf(stderr, "wanted either --actions FILE.csv or --random --steps N\nusage: %s\n", parsed.usage);
        return 2;
    }
    rollout  self = {.seed = (uint64_t)seed, .json = json};
    sk_error error = {0};
    if (sk_env_arg_open(parsed.positional[0], parsed.n_positional - 1, parsed.positional + 1, (int)limit,
                        &self.env, &error) != SK_OK) {
        return sk_env_arg_fail(&error);
    }
    code = run(&self, actions, n_steps);
    sk_arena_destroy(&self.memory);
    sk_vec_destroy(&self.vec);
    sk_env_destroy(&self.env);
    free(self.given);
    return code;
}
