#include "cli/check.h"
#include "core/base/rng.h"

#include <string.h>

bool sk_check_claims(sk_checker *self, unsigned cap, const char *name) {
    if (sk_env_api_get(self->env)->caps & cap) return true;
    SK_CHECK_SAY(self, "it does not claim %s", name);
    return false;
}

void sk_check_choose(const sk_checker *check, int rows, int first_row, int64_t t, const uint8_t *mask,
                     sk_env_slot *action) {
    for (int row = 0; row < rows; row++) {
        sk_env_action_random(check->spec, check->seed,
                             sk_stream_id(SK_STREAM_ROLLOUT, (uint64_t)(first_row + row)), (uint64_t)t,
                             check->info->mask_size ? mask + row * check->info->mask_size : NULL,
                             action + row * check->info->action_slots);
    }
}

/* ---- lanes ---- */

void sk_lane_destroy(sk_lane *self) {
    sk_vec_destroy(&self->vec);
    sk_arena_destroy(&self->memory);
}

sk_status sk_lane_create(const sk_checker *check, int n_envs, int first, sk_lane *self, sk_error *reterr) {
    const sk_env_info *info = check->info;
    size_t             rows = (size_t)n_envs * (size_t)info->n_agents, floats = rows * (size_t)info->obs_dim;
    *self = (sk_lane){.rows = (int)rows, .first_row = first * info->n_agents};
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

sk_status sk_lane_step_on(sk_lane *self, sk_error *reterr) {
    sk_vec_step step = {.action = self->action,
                        .reward = self->reward,
                        .terminated = self->terminated,
                        .truncated = self->truncated,
                        .valid = self->valid,
                        .next_obs = self->obs,
                        .next_mask = self->mask,
                        .final_obs = self->final_obs};
    return sk_vec_step_run(self->vec, &step, reterr);
}

sk_status sk_lane_step(const sk_checker *check, sk_lane *self, int64_t t, sk_error *reterr) {
    sk_check_choose(check, self->rows, self->first_row, t, self->mask, self->action);
    return sk_lane_step_on(self, reterr);
}

/* ---- bare ---- */

static const char *api_error(const sk_checker *check, void *impl) {
    const sk_env_api *api = sk_env_api_get(check->env);
    return api->last_error && api->last_error(impl) ? api->last_error(impl) : "(it gave no reason)";
}

sk_status sk_bare_create(const sk_checker *check, int n_envs, sk_bare *self, sk_error *reterr) {
    const sk_env_info *info = check->info;
    char               err[256] = "";
    *self = (sk_bare){.n_envs = n_envs, .rows = (size_t)(n_envs * info->n_agents)};
    self->obs_bytes = self->rows * (size_t)info->obs_dim * sizeof(float);
    sk_arena_plan plan = {0};
    sk_arena_plan_add(&plan, (void **)&self->action,
                      self->rows * (size_t)info->action_slots * sizeof(sk_env_slot), 64);
    sk_arena_plan_add(&plan, (void **)&self->obs, self->obs_bytes + SK_BARE_GUARD, 64);
    sk_arena_plan_add(&plan, (void **)&self->reward, self->rows * sizeof(float), 64);
    sk_arena_plan_add(&plan, (void **)&self->metrics, self->rows * (size_t)info->n_metrics * sizeof(float),
                      64);
    sk_arena_plan_add(&plan, (void **)&self->terminated, self->rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->truncated, self->rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->mask, self->rows * (size_t)info->mask_size, 64);
    sk_arena_plan_add(&plan, (void **)&self->active, self->rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->failed, self->rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->ended, self->rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->age, (size_t)n_envs * sizeof(int), 64);
    SK_TRY(sk_arena_create(&plan, &self->memory, reterr));
    if (sk_env_api_get(check->env)
            ->create(sk_env_config_get(check->env), n_envs, &self->impl, err, sizeof err)) {
        self->impl = NULL;
        return SK_FAIL(reterr, SK_EENV, "create failed: %.250s", err);
    }
    return SK_OK;
}

void sk_bare_destroy(const sk_checker *check, sk_bare *self) {
    if (self->impl) sk_env_api_get(check->env)->destroy(self->impl);
    sk_arena_destroy(&self->memory);
    self->impl = NULL;
}

sk_verdict sk_bare_reset(sk_checker *check, sk_bare *self, int env, const uint64_t *seed) {
    size_t agents = (size_t)check->info->n_agents, row = (size_t)env * agents;
    size_t masks = (size_t)check->info->mask_size;
    self->age[env] = 0;
    memset(self->ended + row, 0, agents);
    memset(self->active + row, 1, agents);
    if (sk_env_api_get(check->env)
            ->reset(self->impl, env, seed, self->obs + row * (size_t)check->info->obs_dim,
                    masks ? self->mask + row * masks : NULL)) {
        SK_CHECK_SAY(check, "reset failed: %.250s", api_error(check, self->impl));
        return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_bare_reset_all(sk_checker *check, sk_bare *self) {
    for (int e = 0; e < self->n_envs; e++) {
        uint64_t seed = check->seed + (uint64_t)e;
        if (sk_bare_reset(check, self, e, &seed) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_bare_step(sk_checker *check, sk_bare *self, int first, int count) {
    const sk_env_info *info = check->info;
    size_t             row = (size_t)(first * info->n_agents), masks = (size_t)info->mask_size;
    size_t             rows = (size_t)(count * info->n_agents), metrics = (size_t)info->n_metrics;
    memset(self->active + row, 1, rows);
    memset(self->failed + row, 0, rows);
    sk_env_io io = {.struct_size = sizeof io,
                    .action = self->action + row * (size_t)info->action_slots,
                    .obs = self->obs + row * (size_t)info->obs_dim,
                    .reward = self->reward + row,
                    .terminated = self->terminated + row,
                    .truncated = self->truncated + row,
                    .mask = masks ? self->mask + row * masks : NULL,
                    .active = self->active + row,
                    .failed = self->failed + row,
                    .metrics = metrics ? self->metrics + row * metrics : NULL};
    if (sk_env_api_get(check->env)->step(self->impl, first, count, &io)) {
        SK_CHECK_SAY(check, "step failed: %.250s", api_error(check, self->impl));
        return SK_CHECK_FAIL;
    }
    for (int e = first; e < first + count; e++) self->age[e]++;
    return SK_CHECK_PASS;
}

bool sk_bare_acts(const sk_bare *self, size_t row) { return !self->ended[row]; }

bool sk_bare_settle(const sk_checker *check, sk_bare *self, int env) {
    size_t agents = (size_t)check->info->n_agents;
    bool   over = true;
    for (size_t row = (size_t)env * agents; row < ((size_t)env + 1) * agents; row++) {
        self->ended[row] |= self->terminated[row] || self->truncated[row] || self->failed[row];
        over &= self->ended[row] || !self->active[row];
    }
    return over;
}
