/* The step of sk_vec: actions in, the environment's step, then one cheap pass over what came out; only when
 * that pass saw an end, a limit or a bad number are environments looked at one by one. */
#include "core/base/numbers.h"
#include "core/base/rng.h"
#include "rl/vec_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A reset that fails in drop mode is tried again, on the stream's next numbers. */
enum { RESET_TRIES = 3 };

/* What is wrong with an environment, for the message. */
typedef struct fault {
    char text[384];
} fault;

static const char *last_error(sk_vec *self) {
    const char *text = self->api->last_error ? self->api->last_error(self->impl) : NULL;
    return text && text[0] ? text : "(it gave no reason)";
}

/* ---- actions, at the environment's door ---- */

/* Discrete slots of all rows are in range. A policy or caller that draws others is broken: asserted. */
static void check_discrete(const sk_vec *self, const sk_env_action_part *part, const sk_env_slot *action) {
    size_t   stride = (size_t)self->info.action_slots;
    uint32_t bad = 0;
    for (int r = 0; r < self->n_rows; r++) {
        bad |= (uint32_t)action[(size_t)r * stride].i - (uint32_t)part->start >= (uint32_t)part->n;
    }
    SK_ASSERT(!bad /* a discrete action is out of range */);
}

/* Copy element `i` of a box part for all rows, clipped. Returns whether any is NaN. */
static bool clip(const sk_vec *self, const sk_env_action_part *part, int i,
                 const sk_env_slot *restrict action, sk_env_slot *restrict clipped) {
    size_t stride = (size_t)self->info.action_slots;
    float  low, high;
    sk_env_part_bounds(part, i, &low, &high);
    uint32_t nan = 0;
    for (int r = 0; r < self->n_rows; r++) {
        float a = action[(size_t)r * stride].f;
        nan |= a != a;
        a = a < low ? low : a;
        clipped[(size_t)r * stride].f = a > high ? high : a;
    }
    return nan != 0;
}

/* *ret_action: the caller's column, or with box parts the clipped copy. */
static sk_status admit_actions(sk_vec *self, const sk_env_slot *action, const sk_env_slot **ret_action,
                               sk_error *reterr) {
    const sk_env_spec *spec = sk_env_spec_get(self->params.env);
    sk_env_slot       *copy = self->action;
    *ret_action = self->info.n_box ? self->action : action;
    for (int p = 0; p < spec->n_action; p++) {
        const sk_env_action_part *part = &spec->action[p];
        if (part->kind == SK_ENV_DISCRETE) {
            check_discrete(self, part, action);
            for (int r = 0; self->info.n_box && r < self->n_rows; r++) {
                copy[(size_t)r * (size_t)self->info.action_slots] =
                    action[(size_t)r * (size_t)self->info.action_slots];
            }
            action++, copy++;
            continue;
        }
        for (int i = 0; i < part->n; i++) {
            if (clip(self, part, i, action++, copy++)) {
                return SK_FAIL(reterr, SK_ENUMERIC, "environment \"%s\": an action \"%s[%d]\" is nan",
                               self->info.name, part->name, i);
            }
        }
    }
    return SK_OK;
}

/* ---- looking for bad numbers ---- */

/* Does a row's mask leave a choice in every discrete part? */
static bool mask_allows(const sk_vec *self, const uint8_t *mask) {
    const sk_env_spec *spec = sk_env_spec_get(self->params.env);
    for (int p = 0; p < spec->n_action; p++) {
        if (spec->action[p].kind != SK_ENV_DISCRETE) continue;
        unsigned any = 0;
        for (int c = 0; c < spec->action[p].n; c++) any |= mask[c];
        if (!any) return false;
        mask += spec->action[p].n;
    }
    return true;
}

/* Is any slot of any row's observation bad? */
static bool any_bad_obs(const sk_vec *self, const float *obs) {
    size_t rows = (size_t)self->n_rows, dim = (size_t)self->info.obs_dim;
    if (self->info.n_obs_discrete == 0) return sk_any_nonfinite(obs, rows * dim);
    const sk_env_spec *spec = sk_env_spec_get(self->params.env);
    for (int f = 0; f < spec->n_obs; f++) {
        const sk_env_field *field = &spec->obs[f];
        int                 n = sk_env_field_size(field);
        bool                bad = false;
        for (size_t r = 0; r < rows; r++) {
            if (field->dtype == SK_ENV_F32) bad |= sk_any_nonfinite(obs + r * dim, (size_t)n);
            else for (int i = 0; i < n; i++) bad |= !sk_env_slot_good(field, i, obs + r * dim + i);
        }
        if (bad) return true;
        obs += n;
    }
    return false;
}

/* Describe a bad observation of a row, if it is. */
static bool obs_faulty(const sk_vec *self, const float *obs, fault *ret_fault) {
    const sk_env_spec *spec = sk_env_spec_get(self->params.env);
    for (int i = 0; i < self->info.obs_dim; i++) {
        int                 element;
        float               low, high;
        const sk_env_field *field = sk_env_obs_field(spec, i, &element);
        if (sk_env_slot_good(field, element, &obs[i])) continue;
        char name[SK_ENV_NAME_MAX + 16], value[32], wanted[64] = "a finite number";
        sk_env_obs_name(spec, i, name, sizeof name);
        sk_env_slot_text(field, &obs[i], value, sizeof value);
        sk_env_field_bounds(field, element, &low, &high);
        if (field->dtype == SK_ENV_I32)
            snprintf(wanted, sizeof wanted, "an integer from %.0f to %.0f", (double)low, (double)high);
        snprintf(ret_fault->text, sizeof ret_fault->text, "observation \"%s\" is %s, wanted %s", name, value,
                 wanted);
        return true;
    }
    return false;
}

/* Describe what is bad in a row after a step, if anything is. */
static bool row_faulty(sk_vec *self, const sk_vec_step *step, int row, fault *ret_fault) {
    const sk_env_info *info = &self->info;
    if (obs_faulty(self, step->next_obs + (size_t)row * (size_t)info->obs_dim, ret_fault)) return true;
    if (self->ended[row]) return false;
    if (self->failed[row]) {
        snprintf(ret_fault->text, sizeof ret_fault->text, "the environment gave the episode up: %s",
                 last_error(self));
        return true;
    }
    if (!isfinite(step->reward[row])) {
        snprintf(ret_fault->text, sizeof ret_fault->text, "reward is %g, wanted a finite number",
                 (double)step->reward[row]);
        return true;
    }
    bool over = step->terminated[row] || step->truncated[row] || !self->active[row];
    if (info->mask_size && !over &&
        !mask_allows(self, step->next_mask + (size_t)row * (size_t)info->mask_size)) {
        snprintf(ret_fault->text, sizeof ret_fault->text, "the action mask allows nothing");
        return true;
    }
    return false;
}

static sk_status fail_env(const sk_vec *self, int env, int agent, const fault *why, sk_error *reterr) {
    char who[48] = "";
    if (self->info.n_agents > 1) snprintf(who, sizeof who, ", agent %d", agent);
    return SK_FAIL(reterr, SK_EENV, "environment \"%s\", env %lld%s, episode step %d: %s", self->info.name,
                   (long long)(self->params.first_env + env), who, self->age[env], why->text);
}

/* ---- resets ---- */

/* The seed of env's next episode; false: go on with its stream. */
static bool next_seed(const sk_vec *self, int env, bool first, uint64_t *ret_seed) {
    int64_t global = self->params.first_env + env;
    if (self->params.seeding == SK_VEC_SEED_EPISODES) {
        *ret_seed = self->params.seed + (uint64_t)(global + self->episode[env] * self->params.n_total);
        return true;
    }
    if (self->params.seeding == SK_VEC_SEED_OFFSET) *ret_seed = self->params.seed + (uint64_t)global;
    else {
        uint32_t words[4];
        sk_philox(self->params.seed, sk_stream_id(SK_STREAM_ENV_SEED, (uint64_t)global), 0, words);
        *ret_seed = (((uint64_t)words[1] << 32) | words[0]) >> 1;
    }
    return first;
}

/* Is what a reset wrote fit to be seen by a policy? */
static bool reset_faulty(const sk_vec *self, const float *obs, const uint8_t *mask, int *ret_agent,
                         fault *ret_fault) {
    for (int a = 0; a < self->info.n_agents; a++) {
        *ret_agent = a;
        if (obs_faulty(self, obs + (size_t)a * (size_t)self->info.obs_dim, ret_fault)) return true;
        if (mask && !mask_allows(self, mask + (size_t)a * (size_t)self->info.mask_size)) {
            snprintf(ret_fault->text, sizeof ret_fault->text, "the action mask allows nothing");
            return true;
        }
    }
    return false;
}

sk_status sk__vec_reset_env(sk_vec *self, int env, bool first, float *obs, uint8_t *mask, sk_error *reterr) {
    size_t agents = (size_t)self->info.n_agents, row = (size_t)env * agents,
           metrics = (size_t)self->info.n_metrics;
    self->age[env] = 0;
    memset(self->acting + row, 1, agents);
    memset(self->ended + row, 0, agents);
    memset(self->ret + row, 0, agents * sizeof *self->ret);
    memset(self->metric_sum + row * metrics, 0, agents * metrics * sizeof *self->metric_sum);

    uint64_t seed;
    bool     seeded = next_seed(self, env, first, &seed);
    int      tries = self->params.on_invalid == SK_INVALID_DROP ? RESET_TRIES : 1, agent = 0;
    fault    why;
    for (int i = 0; i < tries; i++) {
        if (self->api->reset(self->impl, env, seeded && i == 0 ? &seed : NULL, obs, mask) != 0) {
            snprintf(why.text, sizeof why.text, "reset failed: %s", last_error(self));
        } else if (!reset_faulty(self, obs, mask, &agent, &why)) {
            return SK_OK;
        }
        if (i + 1 < tries) self->n_invalid[env]++;
    }
    return fail_env(self, env, agent, &why, reterr);
}

/* ---- ends ---- */

static void push_event(sk_vec *self, const sk_vec_step *step, int row, bool valid) {
    int           agents = self->info.n_agents, env = row / agents;
    size_t        metrics = (size_t)self->info.n_metrics;
    int64_t       global = self->params.first_env + env;
    sk_vec_event *event = &self->events[self->n_events];
    double       *means = self->event_metrics + (size_t)self->n_events * metrics;
    for (size_t m = 0; m < metrics; m++)
        means[m] = self->metric_sum[(size_t)row * metrics + m] / self->age[env];
    *event = (sk_vec_event){
        .env = global, .agent = row % agents, .row = row, .length = self->age[env], .valid = valid,
        .episode = self->params.seeding == SK_VEC_SEED_EPISODES
                       ? global + self->episode[env] * self->params.n_total : self->episode[env],
        .terminated = step->terminated[row], .truncated = step->truncated[row],
        .ret = self->ret[row], .metrics = means};
    self->n_events++;
}

/* A row's episode ends in this step. */
static void end_row(sk_vec *self, const sk_vec_step *step, int row) {
    size_t dim = (size_t)self->info.obs_dim;
    memcpy(step->final_obs + (size_t)row * dim, step->next_obs + (size_t)row * dim, dim * sizeof(float));
    self->ended[row] = 1;
    push_event(self, step, row, true);
}

/* A row without a true last observation gets an end flag that nothing is bootstrapped from. */
static void end_row_void(const sk_vec *self, const sk_vec_step *step, int row) {
    size_t dim = (size_t)self->info.obs_dim;
    step->reward[row] = 0.0f;
    step->terminated[row] = 1;
    step->truncated[row] = 0;
    step->valid[row] = 0;
    memset(step->final_obs + (size_t)row * dim, 0, dim * sizeof(float));
}

static sk_status next_episode(sk_vec *self, const sk_vec_step *step, int env, sk_error *reterr) {
    size_t row = (size_t)env * (size_t)self->info.n_agents;
    self->episode[env]++;
    return sk__vec_reset_env(
        self, env, false, step->next_obs + row * (size_t)self->info.obs_dim,
        self->info.mask_size ? step->next_mask + row * (size_t)self->info.mask_size : NULL, reterr);
}

/* Cut an invalid episode, or stop. */
static sk_status drop_env(sk_vec *self, const sk_vec_step *step, int env, int agent, const fault *why,
                          sk_error *reterr) {
    if (self->params.on_invalid == SK_INVALID_STOP) return fail_env(self, env, agent, why, reterr);
    self->n_invalid[env]++;
    if (++self->invalid_streak[env] >= SK_VEC_INVALID_MAX) {
        sk_status status = fail_env(self, env, agent, why, reterr);
        sk_error_prefix(reterr, "%d invalid episodes in a row", SK_VEC_INVALID_MAX);
        return status;
    }
    for (int a = 0; a < self->info.n_agents; a++) {
        int row = env * self->info.n_agents + a;
        end_row_void(self, step, row);
        if (!self->ended[row]) push_event(self, step, row, false);
    }
    return next_episode(self, step, env, reterr);
}

/* The flags of an env's rows after a step. Returns whether any agent goes on. */
static bool settle_rows(sk_vec *self, const sk_vec_step *step, int env, bool at_limit) {
    bool any_acting = false;
    for (int row = env * self->info.n_agents; row < (env + 1) * self->info.n_agents; row++) {
        if (self->ended[row]) { /* waits for its environment: nothing it says counts */
            step->reward[row] = 0.0f;
            step->terminated[row] = step->truncated[row] = 0;
        } else {
            step->terminated[row] = step->terminated[row] != 0;
            step->truncated[row] = at_limit || step->truncated[row];
            if (step->terminated[row] || step->truncated[row]) end_row(self, step, row);
        }
        self->acting[row] = !self->ended[row] && self->active[row];
        any_acting |= self->acting[row];
    }
    return any_acting;
}

/* No agent of env acts any more: give each row that has none in this step its end flag, and reset. */
static sk_status finish_env(sk_vec *self, const sk_vec_step *step, int env, sk_error *reterr) {
    for (int row = env * self->info.n_agents; row < (env + 1) * self->info.n_agents; row++) {
        if (!self->ended[row]) { /* it only stopped acting */
            step->terminated[row] = 1;
            end_row(self, step, row);
        } else if (!step->terminated[row] && !step->truncated[row]) {
            end_row_void(self, step, row);
        }
    }
    self->invalid_streak[env] = 0;
    return next_episode(self, step, env, reterr);
}

/* ---- the step ---- */

typedef struct seen {
    bool bad;    /* a number or mask somewhere is bad, or a row failed */
    bool events; /* a row ended or stopped acting, or a limit is met   */
} seen;

/* Count the step and look over all columns, quickly. */
static seen look_over(sk_vec *self, const sk_vec_step *step) {
    const sk_env_info *info = &self->info;
    int      rows = self->n_rows, envs = self->params.n_envs;
    int32_t *restrict age = self->age;
    double  *restrict ret = self->ret;
    unsigned ends = 0, failed = 0, limits = 0;
    int32_t  limit = info->max_episode_steps > 0 ? info->max_episode_steps : INT32_MAX;
    for (int e = 0; e < envs; e++) {
        age[e]++;
        limits |= age[e] >= limit;
    }
    for (int r = 0; r < rows; r++) ret[r] += (double)step->reward[r];
    for (int r = 0; r < rows; r++) {
        ends |= (unsigned)(step->terminated[r] | step->truncated[r] | (self->active[r] ^ 1));
        failed |= self->failed[r];
    }
    for (size_t i = 0; i < (size_t)rows * (size_t)info->n_metrics; i++)
        self->metric_sum[i] += (double)self->metrics[i];
    bool bad =
        failed || sk_any_nonfinite(step->reward, (size_t)rows) || any_bad_obs(self, step->next_obs);
    for (int r = 0; info->mask_size && !bad && r < rows; r++) {
        bad = !mask_allows(self, step->next_mask + (size_t)r * (size_t)info->mask_size);
    }
    return (seen){.bad = bad, .events = ends || limits};
}

/* Look at every environment singly. */
static sk_status settle(sk_vec *self, const sk_vec_step *step, bool look_for_faults, sk_error *reterr) {
    int limit = self->info.max_episode_steps, agents = self->info.n_agents;
    for (int env = 0; env < self->params.n_envs; env++) {
        fault why;
        int   faulty = -1;
        for (int a = 0; look_for_faults && faulty < 0 && a < agents; a++) {
            if (row_faulty(self, step, env * agents + a, &why)) faulty = a;
        }
        if (faulty >= 0) {
            SK_TRY(drop_env(self, step, env, faulty, &why, reterr));
        } else if (!settle_rows(self, step, env, limit > 0 && self->age[env] >= limit)) {
            SK_TRY(finish_env(self, step, env, reterr));
        }
    }
    return SK_OK;
}

/* The environment failed as a whole: all episodes are invalid. */
static sk_status step_failed(sk_vec *self, const sk_vec_step *step, sk_error *reterr) {
    fault why;
    snprintf(why.text, sizeof why.text, "step failed: %s", last_error(self));
    for (int env = 0; env < self->params.n_envs; env++) {
        self->age[env]++;
        SK_TRY(drop_env(self, step, env, 0, &why, reterr));
    }
    return SK_OK;
}

sk_status sk_vec_step_run(sk_vec *self, const sk_vec_step *step, sk_error *reterr) {
    SK_ASSERT(self && step && self->was_reset && (step->next_mask || !self->info.mask_size));
    size_t    rows = (size_t)self->n_rows;
    sk_env_io io = {.struct_size = sizeof io, .obs = step->next_obs, .reward = step->reward,
                    .terminated = step->terminated, .truncated = step->truncated, .active = self->active,
                    .mask = self->info.mask_size ? step->next_mask : NULL, .failed = self->failed,
                    .metrics = self->info.n_metrics ? self->metrics : NULL};
    SK_TRY(admit_actions(self, step->action, &io.action, reterr));
    self->n_events = 0;
    memset(self->active, 1, rows);
    memset(self->failed, 0, rows);
    memcpy(step->valid, self->acting, rows);
    if (self->api->step(self->impl, 0, self->params.n_envs, &io) != 0) return step_failed(self, step, reterr);

    seen now = look_over(self, step);
    /* With several agents, rows that wait or sit out need their columns put right in every step. */
    if (!now.bad && !now.events && self->info.n_agents == 1) return SK_OK;
    return settle(self, step, now.bad, reterr);
}
