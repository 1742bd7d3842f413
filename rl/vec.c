#include "rl/vec.h"
#include "core/base/rng.h"
#include "rl/vec_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows times the widest column must stay far from overflow. */
static const int64_t ELEMENTS_MAX = (int64_t)1 << 30;

/* ---- lifecycle ---- */

static sk_status check_params(const sk_vec_params *params, sk_error *reterr) {
    const sk_env_info *info = sk_env_info_get(params->env);
    if (params->n_envs <= 0) return SK_FAIL(reterr, SK_EINVAL, "n_envs must be > 0, got %d", params->n_envs);
    int64_t total = params->n_total ? params->n_total : params->n_envs;
    if (params->first_env < 0 || params->first_env + params->n_envs > total) {
        return SK_FAIL(reterr, SK_EINVAL, "environments %lld to %lld do not fit into the %lld there are",
                       (long long)params->first_env, (long long)params->first_env + params->n_envs - 1,
                       (long long)total);
    }
    int64_t widest = info->obs_dim > info->mask_size ? info->obs_dim : info->mask_size;
    if (info->action_slots > widest) widest = info->action_slots;
    if ((int64_t)params->n_envs * info->n_agents > ELEMENTS_MAX / widest) {
        return SK_FAIL(reterr, SK_EINVAL, "environment \"%s\": %d environments are too many", info->name,
                       params->n_envs);
    }
    return SK_OK;
}

static sk_status allocate(sk_vec *self, sk_error *reterr) {
    size_t envs = (size_t)self->params.n_envs, rows = (size_t)self->n_rows;
    size_t metrics = rows * (size_t)self->info.n_metrics;
    size_t slots = self->info.n_box ? rows * (size_t)self->info.action_slots : 0;
    sk_arena_plan plan = {0};
    sk_arena_plan_add(&plan, (void **)&self->age, envs * sizeof *self->age, 64);
    sk_arena_plan_add(&plan, (void **)&self->invalid_streak, envs * sizeof *self->invalid_streak, 64);
    sk_arena_plan_add(&plan, (void **)&self->n_invalid, envs * sizeof *self->n_invalid, 64);
    sk_arena_plan_add(&plan, (void **)&self->episode, envs * sizeof *self->episode, 64);
    sk_arena_plan_add(&plan, (void **)&self->ret, rows * sizeof *self->ret, 64);
    sk_arena_plan_add(&plan, (void **)&self->acting, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->ended, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->metric_sum, metrics * sizeof *self->metric_sum, 64);
    sk_arena_plan_add(&plan, (void **)&self->action, slots * sizeof *self->action, 64);
    sk_arena_plan_add(&plan, (void **)&self->active, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->failed, rows, 64);
    sk_arena_plan_add(&plan, (void **)&self->metrics, metrics * sizeof *self->metrics, 64);
    sk_arena_plan_add(&plan, (void **)&self->events, rows * sizeof *self->events, 64);
    sk_arena_plan_add(&plan, (void **)&self->event_metrics, metrics * sizeof *self->event_metrics, 64);
    return sk_arena_create(&plan, &self->arena, reterr);
}

static sk_status setup(sk_vec *self, sk_error *reterr) {
    SK_TRY(allocate(self, reterr));
    char err[sizeof reterr->msg - 64] = ""; /* room for what is put in front */
    if (self->api->create(sk_env_config_get(self->params.env), self->params.n_envs, &self->impl, err,
                          sizeof err)) {
        err[sizeof err - 1] = 0;
        self->impl = NULL;
        return SK_FAIL(reterr, SK_EENV, "environment \"%s\": create failed: %s", self->info.name,
                       err[0] ? err : "(it gave no reason)");
    }
    return SK_OK;
}

sk_status sk_vec_create(const sk_vec_params *params, sk_vec **ret_vec, sk_error *reterr) {
    SK_ASSERT(params && params->env && ret_vec);
    SK_TRY(check_params(params, reterr));
    sk_vec *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "out of memory for a vec");
    self->params = *params;
    if (!self->params.n_total) self->params.n_total = params->n_envs;
    self->api = sk_env_api_get(params->env);
    self->info = *sk_env_info_get(params->env);
    self->n_rows = params->n_envs * self->info.n_agents;
    sk_status status = setup(self, reterr);
    if (status != SK_OK) {
        sk_vec_destroy(&self);
        return status;
    }
    *ret_vec = self;
    return SK_OK;
}

void sk_vec_destroy(sk_vec **self_p) {
    if (!self_p || !*self_p) return;
    sk_vec *self = *self_p;
    if (self->impl) self->api->destroy(self->impl);
    sk_arena_destroy(&self->arena);
    free(self);
    *self_p = NULL;
}

int            sk_vec_rows(const sk_vec *self) { return self->n_rows; }
const sk_env  *sk_vec_env(const sk_vec *self) { return self->params.env; }
const uint8_t *sk_vec_acting(const sk_vec *self) { return self->acting; }

int sk_vec_episode_age(const sk_vec *self, int row) {
    SK_ASSERT(row >= 0 && row < self->n_rows);
    return self->age[row / self->info.n_agents];
}

const sk_vec_event *sk_vec_events(const sk_vec *self, int *ret_n) {
    *ret_n = self->n_events;
    return self->events;
}

int64_t sk_vec_n_invalid(const sk_vec *self) {
    int64_t n = 0;
    for (int e = 0; e < self->params.n_envs; e++) n += self->n_invalid[e];
    return n;
}

sk_status sk_vec_reset(sk_vec *self, float *obs, uint8_t *mask, sk_error *reterr) {
    SK_ASSERT(self && obs && (mask || !self->info.mask_size));
    size_t agents = (size_t)self->info.n_agents;
    self->n_events = 0;
    for (int e = 0; e < self->params.n_envs; e++) {
        size_t row = (size_t)e * agents;
        self->invalid_streak[e] = 0;
        self->n_invalid[e] = self->episode[e] = 0;
        SK_TRY(sk__vec_reset_env(self, e, true, obs + row * (size_t)self->info.obs_dim,
                                 self->info.mask_size ? mask + row * (size_t)self->info.mask_size : NULL,
                                 reterr));
    }
    self->was_reset = true;
    return SK_OK;
}

/* ---- pictures ---- */

sk_status sk_vec_render(sk_vec *self, int env, int *ret_width, int *ret_height, uint8_t *rgb, sk_error *reterr) {
    enum { SIDE_MAX = 16384 }; /* more is a mistake, and its bytes would not fit an int */
    SK_ASSERT(env >= 0 && env < self->params.n_envs && self->was_reset);
    if (!(self->api->caps & SK_ENV_CAP_RENDER))
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "environment \"%s\" cannot be drawn", self->info.name);
    int width = 0, height = 0;
    if (self->api->render(self->impl, env, &width, &height, rgb)) {
        const char *why = self->api->last_error ? self->api->last_error(self->impl) : "(it gave no reason)";
        return SK_FAIL(reterr, SK_EENV, "environment \"%s\": render failed: %s", self->info.name, why);
    }
    if (width <= 0 || height <= 0 || width > SIDE_MAX || height > SIDE_MAX)
        return SK_FAIL(reterr, SK_EENV, "environment \"%s\": render tells a size of %d x %d, wanted 1 to %d",
                       self->info.name, width, height, SIDE_MAX);
    *ret_width = width;
    *ret_height = height;
    return SK_OK;
}

/* ---- state ---- */

/* What the host knows of an environment; the rows' columns and the environment's own bytes follow. */
typedef struct state_head {
    int64_t age, episode, invalid_streak, n_invalid;
} state_head;

static size_t round8(size_t size) { return (size + 7) / 8 * 8; }

/* Bytes before the environment's own. */
static size_t host_state_size(const sk_vec *self) {
    size_t agents = (size_t)self->info.n_agents;
    return sizeof(state_head) + agents * sizeof(double) * (size_t)(1 + self->info.n_metrics) +
           round8(2 * agents);
}

bool sk_vec_has_state(const sk_vec *self) { return (self->api->caps & SK_ENV_CAP_STATE) != 0; }

size_t sk_vec_env_state_size(const sk_vec *self) {
    if (!sk_vec_has_state(self)) return 0;
    return host_state_size(self) + round8(self->api->state_size(self->impl));
}

static sk_status check_state(const sk_vec *self, int env, sk_error *reterr) {
    SK_ASSERT(env >= 0 && env < self->params.n_envs);
    if (sk_vec_has_state(self)) return SK_OK;
    return SK_FAIL(reterr, SK_EUNSUPPORTED, "environment \"%s\" cannot save its state", self->info.name);
}

static sk_status state_failed(sk_vec *self, const char *what, int env, sk_error *reterr) {
    const char *why = self->api->last_error ? self->api->last_error(self->impl) : "(it gave no reason)";
    return SK_FAIL(reterr, SK_EENV, "environment \"%s\", env %lld: %s failed: %s", self->info.name,
                   (long long)(self->params.first_env + env), what, why);
}

/* Copy one column of an env's rows out of (save) or into (load) the vec; moves *at on. */
typedef enum copy_dir { COPY_SAVE, COPY_LOAD } copy_dir;
static void copy_column(copy_dir dir, void *column, size_t size, unsigned char **at) {
    if (dir == COPY_SAVE) memcpy(*at, column, size);
    else memcpy(column, *at, size);
    *at += size;
}

static void copy_rows(sk_vec *self, int env, copy_dir dir, unsigned char *at) {
    size_t agents = (size_t)self->info.n_agents, row = (size_t)env * agents;
    size_t metrics = (size_t)self->info.n_metrics;
    copy_column(dir, self->ret + row, agents * sizeof(double), &at);
    copy_column(dir, self->metric_sum + row * metrics, agents * metrics * sizeof(double), &at);
    copy_column(dir, self->acting + row, agents, &at);
    copy_column(dir, self->ended + row, agents, &at);
}

sk_status sk_vec_env_state_save(sk_vec *self, int env, void *ret_bytes, sk_error *reterr) {
    SK_TRY(check_state(self, env, reterr));
    SK_ASSERT(self->was_reset);
    unsigned char *bytes = ret_bytes;
    memset(bytes, 0, sk_vec_env_state_size(self));
    state_head head = {.age = self->age[env], .episode = self->episode[env],
                       .invalid_streak = self->invalid_streak[env], .n_invalid = self->n_invalid[env]};
    memcpy(bytes, &head, sizeof head);
    copy_rows(self, env, COPY_SAVE, bytes + sizeof head);
    if (self->api->state_save(self->impl, env, bytes + host_state_size(self))) {
        return state_failed(self, "state_save", env, reterr);
    }
    return SK_OK;
}

sk_status sk_vec_env_state_load(sk_vec *self, int env, const void *bytes, sk_error *reterr) {
    SK_TRY(check_state(self, env, reterr));
    state_head head;
    memcpy(&head, bytes, sizeof head);
    /* far from where counting on would wrap round */
    if (head.age < 0 || head.age > INT32_MAX / 2 || head.episode < 0 || head.episode > INT64_MAX / 2 ||
        head.n_invalid < 0 || head.n_invalid > INT64_MAX / 2 || head.invalid_streak < 0 || head.invalid_streak > SK_VEC_INVALID_MAX) {
        return SK_FAIL(reterr, SK_ECORRUPT, "environment \"%s\", env %lld: its saved counters make no sense",
                       self->info.name, (long long)(self->params.first_env + env));
    }
    const unsigned char *own = (const unsigned char *)bytes + host_state_size(self);
    if (self->api->state_load(self->impl, env, own)) return state_failed(self, "state_load", env, reterr);
    self->age[env] = (int32_t)head.age;
    self->episode[env] = head.episode;
    self->invalid_streak[env] = (int32_t)head.invalid_streak;
    self->n_invalid[env] = head.n_invalid;
    /* Loading only reads through this pointer. */
    copy_rows(self, env, COPY_LOAD, (unsigned char *)(uintptr_t)bytes + sizeof head);
    self->was_reset = true;
    return SK_OK;
}

size_t sk_vec_state_size(const sk_vec *self) {
    return (size_t)self->params.n_envs * sk_vec_env_state_size(self);
}

sk_status sk_vec_state_save(sk_vec *self, void *ret_bytes, sk_error *reterr) {
    size_t size = sk_vec_env_state_size(self);
    for (int e = 0; e < self->params.n_envs; e++) {
        SK_TRY(sk_vec_env_state_save(self, e, (char *)ret_bytes + (size_t)e * size, reterr));
    }
    return SK_OK;
}

sk_status sk_vec_state_load(sk_vec *self, const void *bytes, sk_error *reterr) {
    size_t size = sk_vec_env_state_size(self);
    for (int e = 0; e < self->params.n_envs; e++) {
        SK_TRY(sk_vec_env_state_load(self, e, (const char *)bytes + (size_t)e * size, reterr));
    }
    self->n_events = 0;
    return SK_OK;
}
