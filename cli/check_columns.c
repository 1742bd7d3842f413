/* Who writes what: every column is written, completely, with values of its type, and nothing else is. All
 * of it straight from the api, since the host would hide or repair some of it. */
#include "cli/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BARE_ENVS = 3 };

/* ---- columns ---- */

/* Rubbish into all columns that an environment must write: as floats a number that no one writes. */
static void soil(const sk_checker *check, sk_bare *self) {
    memset(self->obs, SK_BARE_UNWRITTEN, self->obs_bytes + SK_BARE_GUARD);
    memset(self->reward, SK_BARE_UNWRITTEN, self->rows * sizeof(float));
    memset(self->metrics, SK_BARE_UNWRITTEN, self->rows * (size_t)check->info->n_metrics * sizeof(float));
    memset(self->terminated, SK_BARE_UNWRITTEN, self->rows);
    memset(self->truncated, SK_BARE_UNWRITTEN, self->rows);
    memset(self->mask, SK_BARE_UNWRITTEN, self->rows * (size_t)check->info->mask_size);
}

static bool untouched(const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < n; i++)
        if (at[i] != SK_BARE_UNWRITTEN) return false;
    return true;
}

/* Was any of them not written? */
static bool some_untouched(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (untouched(&x[i], sizeof x[i])) return true;
    return false;
}

/* What a row lacks after a step, or NULL. */
static const char *row_unwritten(const sk_checker *check, const sk_bare *self, size_t row) {
    size_t dim = (size_t)check->info->obs_dim, metrics = (size_t)check->info->n_metrics;
    size_t masks = (size_t)check->info->mask_size;
    if (some_untouched(self->obs + row * dim, dim)) return "an observation is not written completely";
    if (some_untouched(self->reward + row, 1)) return "reward is not written";
    if (some_untouched(self->metrics + row * metrics, metrics)) return "metrics are not written completely";
    if (self->terminated[row] > 1) return "terminated is not written, or neither 0 nor 1";
    if (self->truncated[row] > 1) return "truncated is not written, or neither 0 nor 1";
    if (self->active[row] > 1) return "active is neither 0 nor 1";
    if (self->failed[row] > 1) return "failed is neither 0 nor 1";
    for (size_t i = 0; i < masks; i++)
        if (self->mask[row * masks + i] > 1) return "the mask is not written completely, or neither 0 nor 1";
    return NULL;
}

/* Reset all; every observation and mask must be written by it. */
static sk_verdict reset_writes(sk_checker *check, sk_bare *self) {
    size_t dim = (size_t)check->info->obs_dim, masks = (size_t)check->info->mask_size;
    if (sk_bare_reset_all(check, self) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    if (some_untouched(self->obs, self->rows * dim))
        return SK_CHECK_SAY(check, "reset does not write the whole observation"), SK_CHECK_FAIL;
    for (size_t i = 0; i < self->rows * masks; i++)
        if (self->mask[i] > 1)
            return SK_CHECK_SAY(check, "reset does not write the whole mask"), SK_CHECK_FAIL;
    return SK_CHECK_PASS;
}

/* A step of the middle environment alone writes its rows and no others. */
static sk_verdict middle(sk_checker *check, sk_bare *self) {
    size_t agents = (size_t)check->info->n_agents, dim = (size_t)check->info->obs_dim;
    soil(check, self);
    if (sk_bare_step(check, self, 1, 1) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    for (size_t row = agents; row < 2 * agents; row++) {
        const char *what = row_unwritten(check, self, row);
        if (what)
            return SK_CHECK_SAY(check, "stepping one environment out of three: %s", what), SK_CHECK_FAIL;
    }
    for (size_t e = 0; e < BARE_ENVS; e += 2) {
        if (!untouched(self->obs + e * agents * dim, agents * dim * sizeof(float)) ||
            !untouched(self->reward + e * agents, agents * sizeof(float)) ||
            !untouched(self->terminated + e * agents, agents) ||
            !untouched(self->truncated + e * agents, agents)) {
            SK_CHECK_SAY(check, "stepping environment 1 writes into the rows of environment %zu", e);
            return SK_CHECK_FAIL;
        }
    }
    return SK_CHECK_PASS;
}

static sk_verdict steps_write(sk_checker *check, sk_bare *self) {
    soil(check, self);
    sk_verdict result = reset_writes(check, self);
    bool       ended = false;
    for (int64_t t = 0; result == SK_CHECK_PASS && !ended && t < check->n_steps; t++) {
        sk_check_choose(check, (int)self->rows, 0, t, self->mask, self->action);
        soil(check, self);
        if (sk_bare_step(check, self, 0, BARE_ENVS) != SK_CHECK_PASS) return SK_CHECK_FAIL;
        for (size_t row = 0; row < self->rows; row++) {
            const char *what = row_unwritten(check, self, row);
            if (what) return SK_CHECK_SAY(check, "step %lld: %s", (long long)t + 1, what), SK_CHECK_FAIL;
            ended |= self->terminated[row] || self->truncated[row] || !self->active[row] || self->failed[row];
        }
        if (!untouched((char *)self->obs + self->obs_bytes, SK_BARE_GUARD)) {
            SK_CHECK_SAY(check, "step %lld: it writes behind the last observation", (long long)t + 1);
            return SK_CHECK_FAIL;
        }
    }
    if (result == SK_CHECK_PASS) result = reset_writes(check, self);
    if (result != SK_CHECK_PASS) return result;
    sk_check_choose(check, (int)self->rows, 0, 0, self->mask, self->action);
    return middle(check, self);
}

sk_verdict sk_check_columns(sk_checker *check) {
    sk_bare    self;
    sk_error   error = {0};
    sk_verdict result = SK_CHECK_FAIL;
    if (sk_bare_create(check, BARE_ENVS, &self, &error) != SK_OK) SK_CHECK_SAY(check, "%s", error.msg);
    else result = steps_write(check, &self);
    sk_bare_destroy(check, &self);
    return result;
}

/* ---- what the rows hold ---- */

/* Looks at a row that was reset (fresh) or has just acted. FAIL with the reason said. `t`: steps since the
 * first reset. */
typedef sk_verdict (*visitor)(sk_checker *check, const sk_bare *self, size_t row, int64_t t, bool fresh,
                              void *user);

static sk_verdict visit_env(sk_checker *check, const sk_bare *self, int env, int64_t t, bool fresh,
                            visitor visit, void *user) {
    size_t agents = (size_t)check->info->n_agents;
    for (size_t row = (size_t)env * agents; row < ((size_t)env + 1) * agents; row++)
        if (sk_bare_acts(self, row) && visit(check, self, row, t, fresh, user) != SK_CHECK_PASS)
            return SK_CHECK_FAIL;
    return SK_CHECK_PASS;
}

/* Play random actions and show every row that acts. */
static sk_verdict play(sk_checker *check, sk_bare *self, visitor visit, void *user) {
    if (sk_bare_reset_all(check, self) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    for (int e = 0; e < self->n_envs; e++)
        if (visit_env(check, self, e, 0, true, visit, user) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    for (int64_t t = 0; t < check->n_steps; t++) {
        sk_check_choose(check, (int)self->rows, 0, t, self->mask, self->action);
        if (sk_bare_step(check, self, 0, self->n_envs) != SK_CHECK_PASS) return SK_CHECK_FAIL;
        for (int e = 0; e < self->n_envs; e++) {
            if (visit_env(check, self, e, t + 1, false, visit, user) != SK_CHECK_PASS) return SK_CHECK_FAIL;
            if (!sk_bare_settle(check, self, e)) continue;
            if (sk_bare_reset(check, self, e, NULL) != SK_CHECK_PASS ||
                visit_env(check, self, e, t + 1, true, visit, user) != SK_CHECK_PASS)
                return SK_CHECK_FAIL;
        }
    }
    return SK_CHECK_PASS;
}

static sk_verdict play_new(sk_checker *check, visitor visit, void *user) {
    sk_bare    self;
    sk_error   error = {0};
    sk_verdict result = SK_CHECK_FAIL;
    if (sk_bare_create(check, BARE_ENVS, &self, &error) != SK_OK) SK_CHECK_SAY(check, "%s", error.msg);
    else result = play(check, &self, visit, user);
    sk_bare_destroy(check, &self);
    return result;
}

static const char *when(bool fresh) { return fresh ? ", after a reset" : ""; }

static sk_verdict is_finite(sk_checker *check, const sk_bare *self, size_t row, int64_t t, bool fresh,
                            void *user) {
    (void)user;
    const float *obs = self->obs + row * (size_t)check->info->obs_dim;
    char         name[SK_ENV_NAME_MAX + 16];
    int          element;
    for (int i = 0; i < check->info->obs_dim; i++) {
        if (sk_env_obs_field(check->spec, i, &element)->dtype != SK_ENV_F32 || isfinite(obs[i])) continue;
        sk_env_obs_name(check->spec, i, name, sizeof name);
        SK_CHECK_SAY(check, "step %lld, row %zu%s: observation \"%s\" is %g, wanted a finite number",
                     (long long)t, row, when(fresh), name, (double)obs[i]);
        return SK_CHECK_FAIL;
    }
    if (fresh || self->failed[row]) return SK_CHECK_PASS;
    if (!isfinite(self->reward[row])) {
        SK_CHECK_SAY(check, "step %lld, row %zu: reward is %g, wanted a finite number", (long long)t, row,
                     (double)self->reward[row]);
        return SK_CHECK_FAIL;
    }
    for (int m = 0; m < check->info->n_metrics; m++) {
        float value = self->metrics[row * (size_t)check->info->n_metrics + (size_t)m];
        if (isfinite(value)) continue;
        SK_CHECK_SAY(check, "step %lld, row %zu: metric \"%s\" is %g, wanted a finite number", (long long)t,
                     row, check->spec->metric_name[m], (double)value);
        return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_check_numbers(sk_checker *check) { return play_new(check, is_finite, NULL); }

/* Counts of a slot's values: all that are not zero, and those that look like the other type. */
typedef struct tally {
    int64_t n, n_strange;
    int32_t last; /* the last strange one, as an integer */
} tally;

/* Integers written as floats are subnormal numbers; floats written as integers are huge ones. */
static bool is_strange(const sk_env_field *field, int element, float x) {
    if (field->dtype == SK_ENV_F32) return fpclassify(x) == FP_SUBNORMAL;
    return !sk_env_slot_good(field, element, &x) && fabsf(x) > 1e-6f && fabsf(x) < 1e9f;
}

static sk_verdict tally_row(sk_checker *check, const sk_bare *self, size_t row, int64_t t, bool fresh,
                            void *user) {
    (void)t, (void)fresh;
    tally *tallies = user;
    int    element;
    for (int i = 0; i < check->info->obs_dim; i++) {
        float   x = self->obs[row * (size_t)check->info->obs_dim + (size_t)i];
        int32_t bits;
        memcpy(&bits, &x, sizeof bits);
        const sk_env_field *field = sk_env_obs_field(check->spec, i, &element);
        bool                strange = is_strange(field, element, x);
        tallies[i].n += bits != 0;
        tallies[i].n_strange += strange;
        if (strange) tallies[i].last = bits;
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_check_types(sk_checker *check) {
    tally     *tallies = calloc((size_t)check->info->obs_dim + 1, sizeof *tallies);
    sk_verdict result = SK_CHECK_FAIL;
    if (!tallies) SK_CHECK_SAY(check, "out of memory");
    else result = play_new(check, tally_row, tallies);
    for (int i = 0; result == SK_CHECK_PASS && i < check->info->obs_dim; i++) {
        char  name[SK_ENV_NAME_MAX + 16];
        float x;
        int   element;
        if (tallies[i].n == 0 || tallies[i].n_strange < tallies[i].n) continue;
        result = SK_CHECK_FAIL;
        memcpy(&x, &tallies[i].last, sizeof x);
        sk_env_obs_name(check->spec, i, name, sizeof name);
        if (sk_env_obs_field(check->spec, i, &element)->dtype == SK_ENV_I32)
            SK_CHECK_SAY(check,
                         "observation \"%s\" is declared i32, got %d, which is the float %g: wanted integers",
                         name, (int)tallies[i].last, (double)x);
        else
            SK_CHECK_SAY(check,
                         "observation \"%s\" is declared f32, got %g, which is the integer %d: wanted floats",
                         name, (double)x, (int)tallies[i].last);
    }
    free(tallies);
    return result;
}

static sk_verdict leaves_choice(sk_checker *check, const sk_bare *self, size_t row, int64_t t, bool fresh,
                                void *user) {
    (void)user;
    if (!fresh && (self->terminated[row] || self->truncated[row] || self->failed[row] || !self->active[row]))
        return SK_CHECK_PASS; /* nobody chooses */
    const uint8_t *mask = self->mask + row * (size_t)check->info->mask_size;
    for (int p = 0; p < check->spec->n_action; p++) {
        const sk_env_action_part *part = &check->spec->action[p];
        if (part->kind != SK_ENV_DISCRETE) continue;
        int allowed = 0;
        for (int c = 0; c < part->n; c++) {
            allowed += mask[c];
            if (mask[c] <= 1) continue;
            SK_CHECK_SAY(check,
                         "step %lld, row %zu%s: mask of action \"%s\", choice %d: got %d, wanted 0 or 1",
                         (long long)t, row, when(fresh), part->name, part->start + c, mask[c]);
            return SK_CHECK_FAIL;
        }
        if (!allowed) {
            SK_CHECK_SAY(check,
                         "step %lld, row %zu%s: the mask of action \"%s\" allows none of its %d choices",
                         (long long)t, row, when(fresh), part->name, part->n);
            return SK_CHECK_FAIL;
        }
        mask += part->n;
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_check_masks(sk_checker *check) {
    if (!check->info->mask_size) return SK_CHECK_SAY(check, "it has no masks"), SK_CHECK_SKIP;
    return play_new(check, leaves_choice, NULL);
}

/* ---- pictures ---- */

enum { PICTURES = 4, PICTURE_GUARD = 64 };

/* Draw env 0 into bytes that are all `soil`; the guard behind them must stay so. */
static sk_verdict draw_on(sk_checker *check, sk_lane *lane, uint8_t *rgb, size_t size, int soil) {
    int      width, height;
    sk_error error = {0};
    memset(rgb, soil, size + PICTURE_GUARD);
    if (sk_vec_render(lane->vec, 0, &width, &height, rgb, &error) != SK_OK) {
        SK_CHECK_SAY(check, "%s", error.msg);
        return strstr(error.msg, "render failed: ") ? SK_CHECK_SKIP : SK_CHECK_FAIL; /* a machine may lack OpenGL */
    }
    if ((size_t)width * (size_t)height * 3 != size)
        return SK_CHECK_SAY(check, "the size that it tells changes, now %d x %d", width, height), SK_CHECK_FAIL;
    for (size_t i = 0; i < PICTURE_GUARD; i++)
        if (rgb[size + i] != soil) return SK_CHECK_SAY(check, "render writes beyond its picture"), SK_CHECK_FAIL;
    return SK_CHECK_PASS;
}

/* The same state drawn on two different grounds: a byte that differs was not written. */
static sk_verdict pictures(sk_checker *check, sk_lane *lane, uint8_t *one, uint8_t *two, size_t size) {
    for (int64_t t = 0; t < PICTURES; t++) {
        sk_error error = {0};
        sk_verdict drawn = draw_on(check, lane, one, size, 0x00);
        if (drawn == SK_CHECK_PASS) drawn = draw_on(check, lane, two, size, 0xff);
        if (drawn != SK_CHECK_PASS) return drawn;
        for (size_t i = 0; i < size; i++) {
            if (one[i] == two[i]) continue;
            SK_CHECK_SAY(check, "byte %zu of a picture is not written, or another one for the same state", i);
            return SK_CHECK_FAIL;
        }
        if (sk_lane_step(check, lane, t, &error) != SK_OK) return SK_CHECK_SAY(check, "%s", error.msg), SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_check_render(sk_checker *check) {
    sk_lane    lane;
    sk_error   error = {0};
    int        width = 0, height = 0;
    sk_verdict result = SK_CHECK_FAIL;
    sk_status  status = sk_lane_create(check, 2, 0, &lane, &error);
    if (status == SK_OK) status = sk_vec_render(lane.vec, 0, &width, &height, NULL, &error);
    size_t   size = (size_t)width * (size_t)height * 3;
    uint8_t *bytes = status == SK_OK ? malloc(2 * (size + PICTURE_GUARD)) : NULL;
    if (status == SK_OK && !bytes) status = SK_FAIL(&error, SK_ENOMEM, "out of memory for pictures");
    if (status == SK_OK) result = pictures(check, &lane, bytes, bytes + size + PICTURE_GUARD, size);
    else SK_CHECK_SAY(check, "%s", error.msg);
    free(bytes);
    sk_lane_destroy(&lane);
    if (result == SK_CHECK_PASS) SK_CHECK_SAY(check, "%d x %d", width, height);
    return result;
}
