#include "rl/env_spec.h"
#include "core/base/rng.h"
#include "rl/env.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- sizes and bounds of single pieces ---- */

int sk_env_field_size(const sk_env_field *field) {
    int size = 1;
    for (int d = 0; d < field->n_dims; d++) size *= field->shape[d];
    return size;
}

int sk_env_part_slots(const sk_env_action_part *part) { return part->kind == SK_ENV_DISCRETE ? 1 : part->n; }

void sk_env_field_bounds(const sk_env_field *field, int i, float *ret_low, float *ret_high) {
    *ret_low = field->lows ? field->lows[i] : field->low;
    *ret_high = field->highs ? field->highs[i] : field->high;
}

void sk_env_part_bounds(const sk_env_action_part *part, int i, float *ret_low, float *ret_high) {
    *ret_low = part->lows ? part->lows[i] : part->low;
    *ret_high = part->highs ? part->highs[i] : part->high;
}

const sk_env_field *sk_env_obs_field(const sk_env_spec *spec, int i, int *ret_element) {
    int f = 0;
    for (int n; i >= (n = sk_env_field_size(&spec->obs[f])); f++) {
        i -= n;
        SK_ASSERT(f + 1 < spec->n_obs);
    }
    *ret_element = i;
    return &spec->obs[f];
}

int sk_env_slot_good(const sk_env_field *field, int element, const void *slot) {
    float   low, high, x;
    int32_t choice;
    memcpy(&x, slot, sizeof x);
    if (field->dtype != SK_ENV_I32) return isfinite(x);
    memcpy(&choice, slot, sizeof choice);
    sk_env_field_bounds(field, element, &low, &high);
    return choice >= (int32_t)low && choice <= (int32_t)high;
}

void sk_env_slot_text(const sk_env_field *field, const void *slot, char *ret_text, size_t size) {
    float   x;
    int32_t choice;
    memcpy(&x, slot, sizeof x);
    memcpy(&choice, slot, sizeof choice);
    if (field->dtype == SK_ENV_I32) snprintf(ret_text, size, "%d", choice);
    else snprintf(ret_text, size, "%.9g", (double)x);
}

void sk_env_obs_name(const sk_env_spec *spec, int i, char *ret_text, size_t size) {
    int                 element;
    const sk_env_field *field = sk_env_obs_field(spec, i, &element);
    if (field->n_dims == 0) snprintf(ret_text, size, "%s", field->name);
    else snprintf(ret_text, size, "%s[%d]", field->name, element);
}

/* The k-th of the choices allowed by mask, where k is drawn with `word`; all if none is. */
static int32_t random_choice(const sk_env_action_part *part, uint32_t word, const uint8_t *mask) {
    int allowed = 0;
    for (int c = 0; mask && c < part->n; c++) allowed += mask[c] != 0;
    if (allowed == 0) return part->start + (int32_t)sk_u32_below(word, (uint32_t)part->n);
    int k = (int)sk_u32_below(word, (uint32_t)allowed);
    int choice = 0;
    while (!mask[choice] || k-- > 0) choice++;
    return part->start + choice;
}

/* A float in the box; bounds that are missing are made up near the other one, or near zero. */
static float random_float(const sk_env_action_part *part, int i, uint32_t word) {
    float low, high;
    sk_env_part_bounds(part, i, &low, &high);
    if (!isfinite(low)) low = isfinite(high) ? high - 2.0f : -1.0f;
    if (!isfinite(high)) high = low + 2.0f;
    float value = low + (high - low) * sk_u32_to_unit(word);
    return value < high ? value : high;
}

void sk_env_action_random(const sk_env_spec *spec, uint64_t seed, uint64_t stream, uint64_t t,
                          const uint8_t *mask, sk_env_slot *ret_slots) {
    uint64_t slots = 0, slot = 0;
    uint32_t words[4];
    for (int p = 0; p < spec->n_action; p++) slots += (uint64_t)sk_env_part_slots(&spec->action[p]);
    uint64_t blocks = (slots + 3) / 4; /* Philox makes four words at a time */
    for (int p = 0; p < spec->n_action; p++) {
        const sk_env_action_part *part = &spec->action[p];
        for (int i = 0; i < sk_env_part_slots(part); i++, slot++) {
            if (slot % 4 == 0) sk_philox(seed, stream, t * blocks + slot / 4, words);
            if (part->kind == SK_ENV_DISCRETE) ret_slots[slot].i = random_choice(part, words[slot % 4], mask);
            else ret_slots[slot].f = random_float(part, i, words[slot % 4]);
        }
        if (mask && part->kind == SK_ENV_DISCRETE) mask += part->n;
    }
}

/* ---- checks ---- */

/* A name is there and ends within its array. */
static sk_status check_name(const char name[SK_ENV_NAME_MAX], const char *what, int index, sk_error *reterr) {
    if (!memchr(name, 0, SK_ENV_NAME_MAX)) {
        return SK_FAIL(reterr, SK_EENV, "%s %d: its name has no end within %d bytes", what, index,
                       SK_ENV_NAME_MAX);
    }
    if (!name[0]) return SK_FAIL(reterr, SK_EENV, "%s %d has no name", what, index);
    return SK_OK;
}

/* Names of one list differ. `at` is the first name; they lie `stride` bytes apart. */
static sk_status check_unique(const char *at, size_t stride, int n, const char *what, sk_error *reterr) {
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++) {
            if (strcmp(at + (size_t)i * stride, at + (size_t)j * stride)) continue;
            return SK_FAIL(reterr, SK_EENV, "%s %d and %d are both named \"%s\"", what, j, i,
                           at + (size_t)i * stride);
        }
    }
    return SK_OK;
}

static sk_status check_count(const char *what, long got, long low, long high, sk_error *reterr) {
    if (got >= low && got <= high) return SK_OK;
    return SK_FAIL(reterr, SK_EENV, "%s: got %ld, wanted %ld to %ld", what, got, low, high);
}

static sk_status check_bound(const char *what, const char *name, int i, float low, float high,
                             sk_error *reterr) {
    if (low <= high && low < INFINITY && high > -INFINITY) return SK_OK;
    return SK_FAIL(reterr, SK_EENV, "%s \"%s\" element %d: bounds [%g, %g], wanted low <= high", what, name,
                   i, (double)low, (double)high);
}

/* An integer element has whole bounds, and not too many values between them. */
static sk_status check_choices(const char *name, int i, float low, float high, sk_error *reterr) {
    const float far = (float)SK_SPEC_SIZE_MAX;
    if (low < -far || high > far || low != floorf(low) || high != floorf(high)) {
        return SK_FAIL(reterr, SK_EENV, "observation field \"%s\" (i32) element %d: bounds [%g, %g], wanted integers",
                       name, i, (double)low, (double)high);
    }
    if (high - low < (float)SK_SPEC_CHOICES_MAX) return SK_OK;
    return SK_FAIL(reterr, SK_EENV, "observation field \"%s\" (i32) element %d: bounds [%g, %g], wanted at most %d values",
                   name, i, (double)low, (double)high, SK_SPEC_CHOICES_MAX);
}

static sk_status check_obs_field(const sk_env_field *field, int index, sk_error *reterr) {
    SK_TRY(check_name(field->name, "observation field", index, reterr));
    if (field->dtype < SK_ENV_F32 || field->dtype > SK_ENV_I32) {
        return SK_FAIL(reterr, SK_EENV, "observation field \"%s\": unknown dtype %d", field->name,
                       field->dtype);
    }
    if (field->dtype == SK_ENV_U8) {
        return SK_FAIL(reterr, SK_EUNSUPPORTED,
                       "observation field \"%s\" has dtype u8; this version of skiff takes f32 and i32",
                       field->name);
    }
    SK_TRY(check_count("dimensions of an observation field", field->n_dims, 0, SK_ENV_DIMS_MAX, reterr));
    int64_t size = 1;
    for (int d = 0; d < field->n_dims; d++) {
        SK_TRY(check_count("shape of an observation field", field->shape[d], 1, SK_SPEC_SIZE_MAX, reterr));
        size *= field->shape[d];
        SK_TRY(check_count("elements of an observation field", (long)size, 1, SK_SPEC_SIZE_MAX, reterr));
    }
    if (!field->lows != !field->highs) {
        return SK_FAIL(reterr, SK_EENV,
                       "observation field \"%s\": lows and highs must both be given, or neither",
                       field->name);
    }
    for (int i = 0; i < (field->lows ? (int)size : 1); i++) {
        float low, high;
        sk_env_field_bounds(field, i, &low, &high);
        SK_TRY(check_bound("observation field", field->name, i, low, high, reterr));
        if (field->dtype == SK_ENV_I32) SK_TRY(check_choices(field->name, i, low, high, reterr));
    }
    return SK_OK;
}

static sk_status check_box(const sk_env_action_part *part, sk_error *reterr) {
    if (!part->lows != !part->highs) {
        return SK_FAIL(reterr, SK_EENV, "action part \"%s\": lows and highs must both be given, or neither",
                       part->name);
    }
    for (int i = 0; i < (part->lows ? part->n : 1); i++) {
        float low, high;
        sk_env_part_bounds(part, i, &low, &high);
        SK_TRY(check_bound("action part", part->name, i, low, high, reterr));
        if (low == high) { /* most likely bounds that were forgotten */
            return SK_FAIL(reterr, SK_EENV,
                           "action part \"%s\" element %d: bounds [%g, %g] leave nothing to choose",
                           part->name, i, (double)low, (double)high);
        }
    }
    return SK_OK;
}

static sk_status check_action_part(const sk_env_action_part *part, int index, sk_error *reterr) {
    SK_TRY(check_name(part->name, "action part", index, reterr));
    SK_TRY(check_count("n of an action part", part->n, 1, SK_SPEC_SIZE_MAX, reterr));
    if (part->kind == SK_ENV_BOX) return check_box(part, reterr);
    if (part->kind != SK_ENV_DISCRETE) {
        return SK_FAIL(reterr, SK_EENV, "action part \"%s\": unknown kind %d", part->name, part->kind);
    }
    if (part->lows || part->highs) {
        return SK_FAIL(reterr, SK_EENV, "action part \"%s\" is discrete but has bounds", part->name);
    }
    return check_count("start of a discrete action part", part->start, -SK_SPEC_SIZE_MAX, SK_SPEC_SIZE_MAX,
                       reterr);
}

static sk_status check_mask(const sk_env_spec *spec, sk_error *reterr) {
    int n_choices = 0;
    for (int p = 0; p < spec->n_action; p++) {
        if (spec->action[p].kind == SK_ENV_DISCRETE) n_choices += spec->action[p].n;
    }
    if (spec->mask_size == 0 || spec->mask_size == n_choices) return SK_OK;
    return SK_FAIL(reterr, SK_EENV, "mask_size: got %d, wanted 0 or %d (the choices of all discrete parts)",
                   spec->mask_size, n_choices);
}

static sk_status check_rest(const sk_env_spec *spec, sk_error *reterr) {
    SK_TRY(check_mask(spec, reterr));
    SK_TRY(check_count("n_agents", spec->n_agents, 1, SK_SPEC_AGENTS_MAX, reterr));
    SK_TRY(check_count("max_episode_steps", spec->max_episode_steps, 0, INT32_MAX, reterr));
    SK_TRY(check_count("n_metrics", spec->n_metrics, 0, SK_ENV_FIELDS_MAX, reterr));
    for (int m = 0; m < spec->n_metrics; m++) SK_TRY(check_name(spec->metric_name[m], "metric", m, reterr));
    SK_TRY(check_unique(spec->metric_name[0], SK_ENV_NAME_MAX, spec->n_metrics, "metrics", reterr));
    if (!(spec->reward_low <= spec->reward_high)) {
        return SK_FAIL(reterr, SK_EENV, "reward bounds [%g, %g], wanted low <= high",
                       (double)spec->reward_low, (double)spec->reward_high);
    }
    return SK_OK;
}

sk_status sk__env_spec_check(const sk_env_spec *spec, sk_error *reterr) {
    long obs_dim = 0, slots = 0;
    SK_TRY(check_count("n_obs", spec->n_obs, 1, SK_ENV_FIELDS_MAX, reterr));
    for (int f = 0; f < spec->n_obs; f++) {
        SK_TRY(check_obs_field(&spec->obs[f], f, reterr));
        obs_dim += sk_env_field_size(&spec->obs[f]);
    }
    SK_TRY(check_count("elements of an observation", obs_dim, 1, SK_SPEC_SIZE_MAX, reterr));
    SK_TRY(check_unique(spec->obs[0].name, sizeof spec->obs[0], spec->n_obs, "observation fields", reterr));

    SK_TRY(check_count("n_action", spec->n_action, 1, SK_ENV_FIELDS_MAX, reterr));
    for (int p = 0; p < spec->n_action; p++) {
        SK_TRY(check_action_part(&spec->action[p], p, reterr));
        slots += spec->action[p].n; /* choices count too, so that their sum fits as well */
    }
    SK_TRY(check_count("slots and choices of an action", slots, 1, SK_SPEC_SIZE_MAX, reterr));
    SK_TRY(
        check_unique(spec->action[0].name, sizeof spec->action[0], spec->n_action, "action parts", reterr));
    return check_rest(spec, reterr);
}

/* ---- comparison ---- */

static int same_floats(const float *a, const float *b, int n) {
    if (!a != !b) return 0;
    return !a || memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

static int same_obs_field(const sk_env_field *a, const sk_env_field *b) {
    return strcmp(a->name, b->name) == 0 && a->dtype == b->dtype && a->n_dims == b->n_dims &&
           memcmp(a->shape, b->shape, (size_t)a->n_dims * sizeof a->shape[0]) == 0 && a->low == b->low &&
           a->high == b->high && same_floats(a->lows, b->lows, sk_env_field_size(a)) &&
           same_floats(a->highs, b->highs, sk_env_field_size(a));
}

static int same_action_part(const sk_env_action_part *a, const sk_env_action_part *b) {
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->n == b->n && a->start == b->start &&
           a->low == b->low && a->high == b->high && same_floats(a->lows, b->lows, a->n) &&
           same_floats(a->highs, b->highs, a->n);
}

static sk_status differ(const char *what, int a, int b, sk_error *reterr) {
    if (a == b) return SK_OK;
    return SK_FAIL(reterr, SK_EENV, "describe contradicts itself: %s was %d and then %d", what, a, b);
}

sk_status sk__env_spec_same(const sk_env_spec *a, const sk_env_spec *b, sk_error *reterr) {
    SK_TRY(differ("n_obs", a->n_obs, b->n_obs, reterr));
    SK_TRY(differ("n_action", a->n_action, b->n_action, reterr));
    SK_TRY(differ("mask_size", a->mask_size, b->mask_size, reterr));
    SK_TRY(differ("n_agents", a->n_agents, b->n_agents, reterr));
    SK_TRY(differ("max_episode_steps", a->max_episode_steps, b->max_episode_steps, reterr));
    SK_TRY(differ("n_metrics", a->n_metrics, b->n_metrics, reterr));
    const char *what = NULL;
    for (int f = 0; f < a->n_obs; f++) {
        if (!same_obs_field(&a->obs[f], &b->obs[f])) what = a->obs[f].name;
    }
    for (int p = 0; p < a->n_action; p++) {
        if (!same_action_part(&a->action[p], &b->action[p])) what = a->action[p].name;
    }
    for (int m = 0; m < a->n_metrics; m++) {
        if (strcmp(a->metric_name[m], b->metric_name[m])) what = a->metric_name[m];
    }
    if (a->reward_low != b->reward_low || a->reward_high != b->reward_high) what = "reward bounds";
    if (what) return SK_FAIL(reterr, SK_EENV, "describe contradicts itself about \"%s\"", what);
    return SK_OK;
}
