/* The host's duties, with an environment whose every move is told by its config (plugins/scripted.c). */
#include "core/base/rng.h"
#include "rl/vec.h"
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 32, DIM_MAX = 4, SLOTS_MAX = 3, CHOICES = 3 };

/* A vec with its columns, filled with rubbish before each step. */
typedef struct rig {
    sk_env     *env;
    sk_vec     *vec;
    int         rows, dim, slots;
    sk_env_slot action[ROWS_MAX * SLOTS_MAX];
    float       reward[ROWS_MAX], obs[ROWS_MAX * DIM_MAX], final_obs[ROWS_MAX * DIM_MAX];
    uint8_t     terminated[ROWS_MAX], truncated[ROWS_MAX], valid[ROWS_MAX], mask[ROWS_MAX * CHOICES];
    sk_error    error;
} rig;

/* "end=3 agents=2" -> config pairs; opened as name, of the plugin if it has no other home. */
static void open_env(rig *self, const char *name, const char *script, int limit) {
    static char text[256], plugin[4096];
    const char *names[16], *values[16];
    int         n = 0;
    snprintf(text, sizeof text, "%s", script);
    snprintf(plugin, sizeof plugin, "%s/tests/rl/plugins/scripted.so", getenv("SKIFF_BUILD_DIR"));
    for (char *save, *pair = strtok_r(text, " ", &save); pair; pair = strtok_r(NULL, " ", &save), n++) {
        names[n] = pair;
        values[n] = strchr(pair, '=') + 1;
        *strchr(pair, '=') = 0;
    }
    bool own = strstr(name, "-v0") != NULL;
    sk_env_params params = {.name = name, .plugin = own ? plugin : NULL, .n_config = n, .config_names = names,
                            .config_values = values, .max_episode_steps = limit};
    cr_assert_eq(sk_env_create(&params, &self->env, &self->error), SK_OK, "%s", self->error.msg);
    self->dim = sk_env_info_get(self->env)->obs_dim;
    self->slots = sk_env_info_get(self->env)->action_slots;
}

static rig *make(const char *name, const char *script, int limit, const sk_vec_params *more) {
    rig *self = calloc(1, sizeof *self);
    open_env(self, name, script, limit);
    sk_vec_params params = *more;
    params.env = self->env;
    if (!params.n_envs) params.n_envs = 1;
    cr_assert_eq(sk_vec_create(&params, &self->vec, &self->error), SK_OK, "%s", self->error.msg);
    self->rows = sk_vec_rows(self->vec);
    cr_assert_leq(self->rows, ROWS_MAX);
    cr_assert_eq(sk_vec_reset(self->vec, self->obs, self->mask, &self->error), SK_OK, "%s", self->error.msg);
    return self;
}

static rig *scripted(const char *script, int limit, int n_envs) {
    return make("Scripted-v0", script, limit, &(sk_vec_params){.n_envs = n_envs, .seed = 5});
}

static sk_status step_raw(rig *self) {
    memset(self->reward, 0xee, sizeof self->reward);
    memset(self->terminated, 0xee, sizeof self->terminated);
    memset(self->truncated, 0xee, sizeof self->truncated);
    memset(self->valid, 0xee, sizeof self->valid);
    memset(self->final_obs, 0xff, sizeof self->final_obs); /* NaN */
    sk_vec_step step = {.action = self->action, .reward = self->reward, .terminated = self->terminated,
                        .truncated = self->truncated, .valid = self->valid, .next_obs = self->obs,
                        .next_mask = self->mask, .final_obs = self->final_obs};
    return sk_vec_step_run(self->vec, &step, &self->error);
}

static const sk_vec_event *step(rig *self, int *ret_n_events) {
    cr_assert_eq(step_raw(self), SK_OK, "%s", self->error.msg);
    return sk_vec_events(self->vec, ret_n_events);
}

static void steps(rig *self, int n) {
    for (int i = 0, events; i < n; i++) step(self, &events);
}

static void destroy(rig *self) {
    sk_vec_destroy(&self->vec);
    sk_env_destroy(&self->env);
    free(self);
}

/* Stepping must fail now with this text. */
static void stops(rig *self, sk_status status, const char *text) {
    cr_assert_eq(step_raw(self), status);
    cr_assert(strstr(self->error.msg, text), "\"%s\" lacks \"%s\"", self->error.msg, text);
}

#define FLAGS(rig_, row, term, trunc, ok)                                                                    \
    cr_assert((rig_)->terminated[row] == (term) && (rig_)->truncated[row] == (trunc) &&                      \
                  (rig_)->valid[row] == (ok),                                                                \
              "row %d: got %d %d %d, wanted %d %d %d", row, (rig_)->terminated[row], (rig_)->truncated[row], \
              (rig_)->valid[row], term, trunc, ok)

/* ---- ends ---- */

Test(vec, resets_within_the_step_and_keeps_the_final_observation) {
    rig *r = scripted("end=3 loud=1", 0, 1);
    int  n;
    steps(r, 2);
    FLAGS(r, 0, 0, 0, 1);
    cr_assert_eq(sk_vec_episode_age(r->vec, 0), 2);
    cr_assert(isnan(r->final_obs[0]), "written without an end");
    const sk_vec_event *event = step(r, &n);
    FLAGS(r, 0, 1, 0, 1);
    cr_assert_eq(r->final_obs[0], 3.0f);
    cr_assert_eq(r->obs[0], 0.0f);
    cr_assert_eq(sk_vec_episode_age(r->vec, 0), 0);
    cr_assert_eq(n, 1);
    cr_assert(event->valid && event->terminated && !event->truncated);
    cr_assert_eq(event->length, 3);
    cr_assert_eq(event->ret, 6.0);
    cr_assert_eq(event->metrics[0], 2.0);
    cr_assert_eq(event->episode, 0);
    event = step(r, &n);
    cr_assert_eq(n, 0);
    cr_assert_eq(r->obs[0], 1.0f);
    steps(r, 1);
    event = step(r, &n);
    cr_assert_eq(n, 1);
    cr_assert_eq(event->episode, 1);
    cr_assert_eq(event->ret, 6.0);
    destroy(r);
}

Test(vec, cuts_at_the_time_limit_with_the_final_observation) {
    rig *r = scripted("", 4, 2);
    int  n;
    steps(r, 3);
    FLAGS(r, 0, 0, 0, 1);
    const sk_vec_event *event = step(r, &n);
    cr_assert_eq(n, 2);
    for (int row = 0; row < 2; row++) {
        FLAGS(r, row, 0, 1, 1);
        cr_assert_eq(r->final_obs[row * 4], 4.0f);
        cr_assert_eq(r->obs[row * 4], 0.0f);
        cr_assert_eq(event[row].length, 4);
        cr_assert(event[row].truncated && !event[row].terminated);
    }
    destroy(r);
}

Test(vec, reports_both_flags_when_the_limit_meets_a_termination) {
    rig *r = scripted("end=4", 4, 1);
    steps(r, 4);
    FLAGS(r, 0, 1, 1, 1);
    destroy(r);
}

Test(vec, passes_the_simulators_own_truncation_on) {
    rig *r = scripted("cut=2", 0, 1);
    steps(r, 2);
    FLAGS(r, 0, 0, 1, 1);
    cr_assert_eq(r->final_obs[0], 2.0f);
    destroy(r);
}

Test(vec, ends_an_episode_in_which_nobody_acts_any_more) {
    rig *r = scripted("quit=2", 0, 1);
    int  n;
    steps(r, 1);
    const sk_vec_event *event = step(r, &n);
    FLAGS(r, 0, 1, 0, 1);
    cr_assert_eq(n, 1);
    cr_assert(event->valid && event->terminated);
    cr_assert_eq(r->obs[0], 0.0f);
    destroy(r);
}

/* ---- several agents ---- */

Test(vec_agents, wait_for_their_environment_after_their_own_end) {
    rig *r = scripted("agents=2 end=2 stagger=3", 0, 1); /* agent 0 ends at 2, agent 1 at 5 */
    int  n;
    steps(r, 1);
    const sk_vec_event *event = step(r, &n);
    FLAGS(r, 0, 1, 0, 1);
    FLAGS(r, 1, 0, 0, 1);
    cr_assert_eq(n, 1);
    cr_assert(event->agent == 0 && event->length == 2 && event->ret == 3.0);
    cr_assert_eq(r->final_obs[0], 2.0f);
    cr_assert_eq(r->obs[0], 2.0f, "no reset yet");
    cr_assert(sk_vec_acting(r->vec)[0] == 0 && sk_vec_acting(r->vec)[1] == 1);
    for (int t = 3; t < 5; t++) {
        step(r, &n);
        cr_assert_eq(n, 0);
        FLAGS(r, 0, 0, 0, 0);
        cr_assert_eq(r->reward[0], 0.0f);
        FLAGS(r, 1, 0, 0, 1);
        cr_assert_eq(r->reward[1], (float)t);
    }
    event = step(r, &n); /* the environment ends: agent 0's row is closed too, without weight */
    FLAGS(r, 0, 1, 0, 0);
    FLAGS(r, 1, 1, 0, 1);
    cr_assert_eq(n, 1);
    cr_assert(event->agent == 1 && event->row == 1 && event->length == 5 && event->ret == 15.0);
    cr_assert_eq(event->metrics[0], 3.0);
    cr_assert_eq(r->final_obs[0], 0.0f);
    cr_assert_eq(r->final_obs[4], 5.0f);
    cr_assert(r->obs[0] == 0.0f && r->obs[4] == 0.0f);
    step(r, &n);
    FLAGS(r, 0, 0, 0, 1);
    FLAGS(r, 1, 0, 0, 1);
    destroy(r);
}

Test(vec_agents, that_ended_are_not_cut_again_by_the_limit) {
    rig *r = scripted("agents=2 end=2 stagger=3", 4, 1);
    int  n;
    steps(r, 3);
    const sk_vec_event *event = step(r, &n);
    FLAGS(r, 0, 1, 0, 0);
    FLAGS(r, 1, 0, 1, 1);
    cr_assert_eq(n, 1);
    cr_assert(event->agent == 1 && event->truncated && !event->terminated);
    destroy(r);
}

Test(vec_agents, taking_turns_have_weight_only_when_they_act) {
    rig *r = scripted("agents=3 turns=1", 7, 1);
    int  n;
    step(r, &n); /* all act first */
    for (int a = 0; a < 3; a++) FLAGS(r, a, 0, 0, 1);
    for (int t = 2; t < 7; t++) {
        step(r, &n);
        for (int a = 0; a < 3; a++) FLAGS(r, a, 0, 0, (t - 1) % 3 == a);
        cr_assert_eq(r->reward[0], (float)t, "who waits is paid too");
    }
    const sk_vec_event *event = step(r, &n);
    cr_assert_eq(n, 3);
    for (int a = 0; a < 3; a++) {
        FLAGS(r, a, 0, 1, a == 0);
        cr_assert_eq(event[a].ret, 28.0);
    }
    destroy(r);
}

/* ---- invalid episodes ---- */

Test(vec_invalid, stops_naming_env_step_field_and_value) {
    rig *r =
        make("Scripted-v0", "nan=3 of=1", 0, &(sk_vec_params){.n_envs = 2, .first_env = 10, .n_total = 12});
    steps(r, 2);
    stops(r, SK_EENV, "environment \"Scripted-v0\", env 11, episode step 3: observation \"noise\" is nan");
    destroy(r);
    r = scripted("inf=2 agents=2", 0, 1);
    steps(r, 1);
    stops(r, SK_EENV, "env 0, agent 0, episode step 2: reward is inf");
    destroy(r);
    r = scripted("fail=2 agents=2", 0, 1);
    steps(r, 1);
    stops(r, SK_EENV, "env 0, agent 1, episode step 2: the environment gave the episode up: the mast broke");
    destroy(r);
    r = scripted("error=2", 0, 1);
    steps(r, 1);
    stops(r, SK_EENV, "env 0, episode step 2: step failed: the sea is gone");
    destroy(r);
    r = scripted("mask=1 nomask=2", 0, 1);
    steps(r, 1);
    stops(r, SK_EENV, "env 0, episode step 2: the action mask allows nothing");
    destroy(r);
    r = scripted("end=2 bad_reset=3", 0, 1);
    steps(r, 3);
    stops(r, SK_EENV, "env 0, episode step 0: reset failed: reset 3 went wrong");
    destroy(r);
}

/* The faulty env is cut at step 3 and starts again; the other one knows nothing of it. */
static void drops(const char *script) {
    rig *r = make("Scripted-v0", script, 0, &(sk_vec_params){.n_envs = 2, .on_invalid = SK_INVALID_DROP});
    int  n;
    steps(r, 2);
    const sk_vec_event *event = step(r, &n);
    FLAGS(r, 0, 0, 0, 1);
    FLAGS(r, 1, 1, 0, 0);
    cr_assert_eq(n, 1, "%s", script);
    cr_assert(event->env == 1 && event->row == 1 && event->length == 3 && !event->valid);
    cr_assert_eq(r->reward[0], 3.0f);
    cr_assert_eq(r->reward[1], 0.0f);
    for (int i = 0; i < 4; i++) cr_assert_eq(r->final_obs[4 + i], 0.0f);
    cr_assert_eq(r->obs[4], 0.0f);
    cr_assert(isfinite(r->obs[5]));
    cr_assert_eq(sk_vec_n_invalid(r->vec), 1);
    step(r, &n);
    FLAGS(r, 1, 0, 0, 1);
    cr_assert_eq(r->obs[0], 4.0f);
    cr_assert_eq(r->obs[4], 1.0f);
    destroy(r);
}

Test(vec_invalid, drops_only_the_environment_at_fault) {
    drops("nan=3 of=1");
    drops("inf=3 of=1");
    drops("fail=3 of=1");
}

Test(vec_invalid, drops_all_when_the_step_as_a_whole_failed) {
    rig *r =
        make("Scripted-v0", "error=2 of=1", 0, &(sk_vec_params){.n_envs = 3, .on_invalid = SK_INVALID_DROP});
    int  n;
    steps(r, 1);
    const sk_vec_event *event = step(r, &n);
    cr_assert_eq(n, 3);
    for (int row = 0; row < 3; row++) {
        FLAGS(r, row, 1, 0, 0);
        cr_assert(!event[row].valid && event[row].length == 2);
        cr_assert_eq(r->obs[row * 4], 0.0f);
    }
    cr_assert_eq(sk_vec_n_invalid(r->vec), 3);
    destroy(r);
}

Test(vec_invalid, drops_what_is_left_of_a_multi_agent_episode) {
    rig *r = make("Scripted-v0", "agents=3 end=2 stagger=2 nan=3", 0,
                  &(sk_vec_params){.on_invalid = SK_INVALID_DROP});
    int  n;
    steps(r, 1);
    const sk_vec_event *event = step(r, &n);
    cr_assert(n == 1 && event->valid && event->agent == 0);
    event = step(r, &n);
    cr_assert_eq(n, 2, "agent 0 had its end before");
    cr_assert(event[0].agent == 1 && event[1].agent == 2 && !event[0].valid && !event[1].valid);
    for (int row = 0; row < 3; row++) FLAGS(r, row, 1, 0, 0);
    destroy(r);
}

Test(vec_invalid, resets_again_after_a_failed_reset) {
    rig *r = make("Scripted-v0", "end=2 bad_reset=2", 0, &(sk_vec_params){.on_invalid = SK_INVALID_DROP});
    steps(r, 2);
    FLAGS(r, 0, 1, 0, 1);
    cr_assert_eq(r->obs[0], 0.0f);
    cr_assert_eq(sk_vec_n_invalid(r->vec), 1);
    destroy(r);
}

Test(vec_invalid, gives_up_on_an_environment_that_is_never_valid) {
    rig *r = make("Scripted-v0", "nan=1", 0, &(sk_vec_params){.on_invalid = SK_INVALID_DROP});
    steps(r, SK_VEC_INVALID_MAX - 1);
    stops(r, SK_EENV, "100 invalid episodes in a row: environment \"Scripted-v0\", env 0");
    destroy(r);
    r = make("Scripted-v0", "nan=1 end=2 until=99", 0, &(sk_vec_params){.on_invalid = SK_INVALID_DROP});
    steps(r, SK_VEC_INVALID_MAX + 1);
    FLAGS(r, 0, 1, 0, 1);
    destroy(r);
}

/* ---- actions ---- */

Test(vec_action, is_clipped_for_the_environment_only) {
    rig *r = scripted("", 0, 2);
    const float pulls[4] = {-7.0f, 0.25f, INFINITY, -INFINITY}, wanted[4] = {-1.0f, 0.25f, 1.0f, -1.0f};
    for (int row = 0; row < 2; row++) {
        r->action[row * 3].i = row ? 1 : -1;
        for (int i = 0; i < 2; i++) r->action[row * 3 + 1 + i].f = pulls[row * 2 + i];
    }
    steps(r, 1);
    for (int row = 0; row < 2; row++) {
        cr_assert_eq(r->action[row * 3].i, row ? 1 : -1);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(r->obs[row * 4 + 2 + i], wanted[row * 2 + i]);
            cr_assert_eq(r->action[row * 3 + 1 + i].f, pulls[row * 2 + i]);
        }
    }
    r->action[4].f = NAN;
    stops(r, SK_ENUMERIC, "an action \"pull[0]\" is nan");
    destroy(r);
}

Test(vec_action, out_of_range_is_asserted, .signal = SIGABRT) {
    rig *r = scripted("", 0, 1);
    r->action[0].i = 2; /* -1, 0, 1 */
    step_raw(r);
}

/* ---- seeds ---- */

Test(vec_seed, is_of_the_global_environment) {
    rig *all = make("Scripted-v0", "end=5", 0, &(sk_vec_params){.n_envs = 8, .seed = 77});
    rig *tail = make("Scripted-v0", "end=5", 0,
                     &(sk_vec_params){.n_envs = 2, .first_env = 6, .n_total = 8, .seed = 77});
    for (int t = 0; t < 12; t++) {
        cr_assert_eq(memcmp(all->obs + 6 * 4, tail->obs, 8 * sizeof(float)), 0, "step %d", t);
        for (int e = 0; e < 7; e++) cr_assert_neq(all->obs[e * 4 + 1], all->obs[e * 4 + 5]);
        steps(all, 1);
        steps(tail, 1);
    }
    destroy(all);
    destroy(tail);
}

Test(vec_seed, offset_counts_as_gymnasium_does_and_then_goes_on) {
    rig *r =
        make("CartPole-v1", "", 0, &(sk_vec_params){.n_envs = 2, .seed = 41, .seeding = SK_VEC_SEED_OFFSET});
    sk_pcg64 rng;
    for (int e = 0; e < 2; e++) {
        sk_pcg64_seed(&rng, 41 + (uint64_t)e);
        for (int i = 0; i < 4; i++)
            cr_assert_eq(r->obs[e * 4 + i], (float)sk_pcg64_uniform(&rng, -0.05, 0.05));
    }
    while (r->terminated[1] != 1) steps(r, 1);
    for (int i = 0; i < 4; i++) cr_assert_eq(r->obs[4 + i], (float)sk_pcg64_uniform(&rng, -0.05, 0.05));
    destroy(r);
}

/* Episode i starts alike wherever it is played. */
Test(vec_seed, of_evaluation_belongs_to_the_episode) {
    rig *two = make("CartPole-v1", "", 3,
                    &(sk_vec_params){.n_envs = 2, .seed = 100, .seeding = SK_VEC_SEED_EPISODES});
    rig *six = make("CartPole-v1", "", 3,
                    &(sk_vec_params){.n_envs = 6, .seed = 100, .seeding = SK_VEC_SEED_EPISODES});
    float start[6 * 4];
    memcpy(start, six->obs, sizeof start);
    for (int block = 0; block < 3; block++) {
        cr_assert_eq(memcmp(two->obs, start + block * 8, 8 * sizeof(float)), 0, "episodes %d, %d", 2 * block,
                     2 * block + 1);
        int n;
        steps(two, 2);
        const sk_vec_event *event = step(two, &n);
        cr_assert_eq(n, 2);
        for (int i = 0; i < 2; i++) cr_assert_eq(event[i].episode, 2 * block + i);
    }
    destroy(two);
    destroy(six);
}

/* ---- independence and state ---- */

/* Pseudo-random actions by global row and step. */
static void act(rig *r, int first_row, int t) {
    const sk_env_spec *spec = sk_env_spec_get(r->env);
    for (int row = 0; row < r->rows; row++) {
        uint64_t stream = sk_stream_id(SK_STREAM_TEST, (uint64_t)(first_row + row));
        sk_env_action_random(spec, 9, stream, (uint64_t)t, NULL, r->action + row * r->slots);
    }
}

/* Row `row` of r, in the last step, is row `other` of s, bit for bit. */
static void same_row(const rig *r, int row, const rig *s, int other, int t) {
    size_t bytes = (size_t)r->dim * sizeof(float);
    cr_assert(memcmp(r->obs + row * r->dim, s->obs + other * s->dim, bytes) == 0 &&
              memcmp(r->final_obs + row * r->dim, s->final_obs + other * s->dim, bytes) == 0 &&
              memcmp(r->reward + row, s->reward + other, sizeof(float)) == 0 &&
              r->terminated[row] == s->terminated[other] && r->truncated[row] == s->truncated[other] &&
              r->valid[row] == s->valid[other], "step %d, rows %d and %d", t, row, other);
}

static void independent(const char *name, const char *script, int limit) {
    enum { ENVS = 8 };
    rig *whole = make(name, script, limit, &(sk_vec_params){.n_envs = ENVS, .seed = 3});
    int  agents = whole->rows / ENVS;
    for (int part = 1; part <= 4; part *= 4) { /* 8 x 1 and 2 x 4 */
        rig *parts[ENVS];
        for (int p = 0; p < ENVS / part; p++) {
            parts[p] = make(name, script, limit, &(sk_vec_params){.n_envs = part, .first_env = p * part,
                                                                  .n_total = ENVS, .seed = 3});
        }
        cr_assert_eq(sk_vec_reset(whole->vec, whole->obs, whole->mask, NULL), SK_OK);
        for (int t = 0; t < 300; t++) {
            act(whole, 0, t);
            steps(whole, 1);
            for (int p = 0; p < ENVS / part; p++) {
                int first = p * part * agents;
                act(parts[p], first, t);
                steps(parts[p], 1);
                for (int row = 0; row < part * agents; row++) same_row(whole, first + row, parts[p], row, t);
            }
        }
        for (int p = 0; p < ENVS / part; p++) destroy(parts[p]);
    }
    destroy(whole);
}

Test(vec, does_not_depend_on_how_environments_are_grouped) {
    independent("CartPole-v1", "", 0);
    independent("Pendulum-v1", "", 50);
    independent("Scripted-v0", "agents=3 end=4 stagger=3", 9);
}

/* 100 steps on, save, 100 steps on; the same from the saved state, in one vec and dealt out to two. */
static void resumes(const char *name, const char *script, int limit) {
    enum { ENVS = 4, STEPS = 100 };
    rig *r = make(name, script, limit, &(sk_vec_params){.n_envs = ENVS, .seed = 3});
    int  agents = r->rows / ENVS, n, n_again;
    for (int t = 0; t < STEPS; t++) act(r, 0, t), steps(r, 1);
    cr_assert(sk_vec_has_state(r->vec));
    size_t size = sk_vec_env_state_size(r->vec);
    cr_assert_eq(sk_vec_state_size(r->vec), ENVS * size);
    char *saved = malloc(ENVS * size);
    cr_assert_eq(sk_vec_state_save(r->vec, saved, NULL), SK_OK);
    rig *one = make(name, script, limit, &(sk_vec_params){.n_envs = ENVS, .seed = 1});
    rig *two[2];
    cr_assert_eq(sk_vec_state_load(one->vec, saved, NULL), SK_OK);
    for (int h = 0; h < 2; h++) {
        two[h] = make(name, script, limit,
                      &(sk_vec_params){.n_envs = 2, .first_env = 2 * h, .n_total = 4, .seed = 2});
        for (int e = 0; e < 2; e++) {
            cr_assert_eq(sk_vec_env_state_load(two[h]->vec, e, saved + (size_t)(2 * h + e) * size, NULL),
                         SK_OK);
        }
    }
    for (int t = STEPS; t < 2 * STEPS; t++) {
        act(r, 0, t), act(one, 0, t);
        const sk_vec_event *event = step(r, &n), *again = step(one, &n_again);
        cr_assert_eq(n, n_again);
        for (int i = 0; i < n; i++) {
            cr_assert(event[i].ret == again[i].ret && event[i].length == again[i].length &&
                      event[i].episode == again[i].episode);
        }
        for (int row = 0; row < r->rows; row++) same_row(r, row, one, row, t);
        for (int h = 0; h < 2; h++) {
            act(two[h], 2 * h * agents, t);
            steps(two[h], 1);
            for (int row = 0; row < 2 * agents; row++) same_row(r, 2 * h * agents + row, two[h], row, t);
        }
    }
    free(saved);
    destroy(r), destroy(one), destroy(two[0]), destroy(two[1]);
}

Test(vec_state, goes_on_bit_for_bit_and_can_be_dealt_out_anew) {
    resumes("CartPole-v1", "", 0);
    resumes("Pendulum-v1", "", 70);
    resumes("Scripted-v0", "agents=3 end=4 stagger=3", 9);
}

Test(vec_state, refuses_damaged_counters) {
    rig *r = scripted("", 0, 1);
    int64_t saved[64];
    cr_assert_leq(sk_vec_state_size(r->vec), sizeof saved);
    cr_assert_eq(sk_vec_state_save(r->vec, saved, NULL), SK_OK);
    saved[0] = -1;
    cr_assert_eq(sk_vec_state_load(r->vec, saved, &r->error), SK_ECORRUPT);
    destroy(r);
}

Test(vec_state, is_refused_by_an_environment_that_has_none) {
    rig *r = make("Stateless-v0", "", 0, &(sk_vec_params){0});
    char byte;
    cr_assert(!sk_vec_has_state(r->vec));
    cr_assert_eq(sk_vec_state_size(r->vec), 0);
    cr_assert_eq(sk_vec_state_save(r->vec, &byte, &r->error), SK_EUNSUPPORTED);
    cr_assert(strstr(r->error.msg, "\"Stateless-v0\" cannot save"));
    destroy(r);
}

/* ---- create ---- */

Test(vec, refuses_bad_sizes_and_reports_a_failed_create) {
    rig *r = calloc(1, sizeof *r);
    open_env(r, "Scripted-v0", "", 0);
    cr_assert_eq(sk_vec_create(&(sk_vec_params){.env = r->env}, &r->vec, &r->error), SK_EINVAL);
    cr_assert(strstr(r->error.msg, "n_envs must be > 0, got 0"));
    cr_assert_eq(sk_vec_create(&(sk_vec_params){.env = r->env, .n_envs = INT32_MAX}, &r->vec, &r->error),
                 SK_EINVAL);
    cr_assert(strstr(r->error.msg, "too many"));
    cr_assert_eq(sk_vec_create(&(sk_vec_params){.env = r->env, .n_envs = 2, .first_env = 7, .n_total = 8},
                               &r->vec, &r->error),
                 SK_EINVAL);
    cr_assert_null(r->vec);
    sk_env_destroy(&r->env);
    char plugin[4096];
    snprintf(plugin, sizeof plugin, "%s/tests/rl/plugins/misfit_none.so", getenv("SKIFF_BUILD_DIR"));
    cr_assert_eq(sk_env_create(&(sk_env_params){.plugin = plugin}, &r->env, NULL), SK_OK);
    cr_assert_eq(sk_vec_create(&(sk_vec_params){.env = r->env, .n_envs = 2}, &r->vec, &r->error), SK_EENV);
    cr_assert(strstr(r->error.msg, "\"Misfit-v0\": create failed: cannot make 2 of these"));
    sk_vec_destroy(&r->vec);
    destroy(r);
}

/* ---- memory ---- */

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define COUNTS_ALLOCATIONS 0 /* the sanitizers have their own */
#else
#define COUNTS_ALLOCATIONS 1
static long n_allocations;
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t size) { return n_allocations++, __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return n_allocations++, __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { return n_allocations++, __libc_realloc(old, size); }

static long allocations_of_steps(const char *name, const char *script, int limit) {
    rig *r = make(name, script, limit, &(sk_vec_params){.n_envs = 4, .on_invalid = SK_INVALID_DROP});
    act(r, 0, 0);
    long before = n_allocations;
    for (int t = 0; t < 60; t++) step_raw(r);
    long after = n_allocations;
    destroy(r);
    return after - before;
}
#endif

Test(vec, allocates_nothing_in_a_step, .disabled = !COUNTS_ALLOCATIONS) {
#if COUNTS_ALLOCATIONS
    free(malloc(1));
    cr_assert_gt(n_allocations, 0, "the counter does not count");
    cr_assert_eq(allocations_of_steps("CartPole-v1", "", 0), 0);
    cr_assert_eq(allocations_of_steps("Pendulum-v1", "", 20), 0);
    cr_assert_eq(allocations_of_steps("Scripted-v0", "agents=3 end=4 stagger=3 nan=3 until=5", 9), 0);
#endif
}
