/* What may be promised of a trajectory: it stays in its bounds, extreme actions do not break it, and it
 * depends on the seed and the actions only: not on chance, neighbours, the order of steps or what was
 * played before. */
#include "cli/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- bounds ---- */

/* The slot of a row that lies outside of its bounds, said in detail. */
static bool outside(sk_checker *check, const float *obs, int64_t t) {
    for (int at = 0; at < check->info->obs_dim; at++) {
        int                 i;
        float               low, high;
        const sk_env_field *field = sk_env_obs_field(check->spec, at, &i);
        sk_env_field_bounds(field, i, &low, &high);
        if (field->dtype == SK_ENV_I32 ? sk_env_slot_good(field, i, &obs[at])
                                       : obs[at] >= low && obs[at] <= high)
            continue;
        char name[SK_ENV_NAME_MAX + 16], value[32];
        sk_env_obs_name(check->spec, at, name, sizeof name);
        sk_env_slot_text(field, &obs[at], value, sizeof value);
        SK_CHECK_SAY(check, "step %lld: observation \"%s\" is %s, outside of [%.9g, %.9g]", (long long)t,
                     name, value, (double)low, (double)high);
        return true;
    }
    return false;
}

static sk_verdict bounds_hold(sk_checker *check, const sk_lane *self, int64_t t) {
    const sk_env_spec *spec = check->spec;
    bool               stated = spec->reward_low != 0.0f || spec->reward_high != 0.0f;
    for (int row = 0; row < self->rows; row++) {
        size_t at = (size_t)row * (size_t)check->info->obs_dim;
        if (outside(check, self->obs + at, t)) return SK_CHECK_FAIL;
        if (t == 0 || !self->valid[row]) continue;
        if ((self->terminated[row] || self->truncated[row]) && outside(check, self->final_obs + at, t))
            return SK_CHECK_FAIL;
        if (stated && !(self->reward[row] >= spec->reward_low && self->reward[row] <= spec->reward_high)) {
            SK_CHECK_SAY(check, "step %lld: reward is %.9g, outside of [%.9g, %.9g]", (long long)t,
                         (double)self->reward[row], (double)spec->reward_low, (double)spec->reward_high);
            return SK_CHECK_FAIL;
        }
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_check_bounds(sk_checker *check) {
    sk_lane    self;
    sk_error   error = {0};
    sk_status  status = sk_lane_create(check, SK_CHECK_ENVS, 0, &self, &error);
    sk_verdict result = status == SK_OK ? bounds_hold(check, &self, 0) : SK_CHECK_FAIL;
    int64_t    episodes = 0;
    for (int64_t t = 0; status == SK_OK && result == SK_CHECK_PASS && t < check->n_steps; t++) {
        int n;
        status = sk_lane_step(check, &self, t, &error);
        if (status == SK_OK) result = bounds_hold(check, &self, t + 1);
        sk_vec_events(self.vec, &n);
        episodes += n;
    }
    if (status != SK_OK) SK_CHECK_SAY(check, "%s", error.msg);
    else if (result == SK_CHECK_PASS)
        SK_CHECK_SAY(check, "%lld steps, %lld episodes", (long long)check->n_steps * SK_CHECK_ENVS,
                     (long long)episodes);
    sk_lane_destroy(&self);
    return status == SK_OK ? result : SK_CHECK_FAIL;
}

/* ---- comparing ---- */

/* The first difference between row a of one lane and row b of another, or NULL. */
static const char *differs(const sk_checker *check, const sk_lane *one, int a, const sk_lane *two, int b) {
    size_t dim = (size_t)check->info->obs_dim, masks = (size_t)check->info->mask_size;
    bool   ended = one->terminated[a] || one->truncated[a];
    if (memcmp(one->obs + (size_t)a * dim, two->obs + (size_t)b * dim, dim * sizeof(float)))
        return "observation";
    if (memcmp(one->reward + a, two->reward + b, sizeof(float))) return "reward";
    if (one->terminated[a] != two->terminated[b]) return "terminated";
    if (one->truncated[a] != two->truncated[b]) return "truncated";
    if (memcmp(one->mask + (size_t)a * masks, two->mask + (size_t)b * masks, masks)) return "mask";
    if (ended &&
        memcmp(one->final_obs + (size_t)a * dim, two->final_obs + (size_t)b * dim, dim * sizeof(float)))
        return "final observation";
    return NULL;
}

/* Row i of `part` must be row offset + i of `whole`, after step t. */
static sk_verdict same_rows(sk_checker *check, const sk_lane *whole, const sk_lane *part, int64_t t,
                            const char *cause) {
    int offset = part->first_row - whole->first_row;
    for (int row = 0; row < part->rows; row++) {
        const char *what = differs(check, whole, offset + row, part, row);
        if (!what) continue;
        SK_CHECK_SAY(check, "step %lld, row %d: another %s %s", (long long)t, part->first_row + row, what,
                     cause);
        return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

/* Step two lanes side by side from `from` on and compare. */
static sk_verdict side_by_side(sk_checker *check, sk_lane *whole, sk_lane *part, int64_t from,
                               const char *cause) {
    sk_error error = {0};
    for (int64_t t = from; t < from + check->n_steps; t++) {
        if (sk_lane_step(check, part, t, &error) != SK_OK || sk_lane_step(check, whole, t, &error) != SK_OK)
            return SK_CHECK_SAY(check, "%s", error.msg), SK_CHECK_FAIL;
        if (same_rows(check, whole, part, t + 1, cause) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

/* `n_part` environments from `first` on, alone, against SK_CHECK_ENVS in one instance. */
static sk_verdict compare_lanes(sk_checker *check, int n_part, int first, const char *cause) {
    sk_lane    whole, part = {0};
    sk_error   error = {0};
    sk_verdict result = SK_CHECK_FAIL;
    if (sk_lane_create(check, SK_CHECK_ENVS, 0, &whole, &error) != SK_OK ||
        sk_lane_create(check, n_part, first, &part, &error) != SK_OK)
        SK_CHECK_SAY(check, "%s", error.msg);
    else result = side_by_side(check, &whole, &part, 0, cause);
    sk_lane_destroy(&whole);
    sk_lane_destroy(&part);
    return result;
}

static bool is_deterministic(sk_checker *check) {
    return sk_check_claims(check, SK_ENV_CAP_DETERMINISTIC, "SK_ENV_CAP_DETERMINISTIC");
}

sk_verdict sk_check_determinism(sk_checker *check) {
    if (!is_deterministic(check)) return SK_CHECK_SKIP;
    return compare_lanes(check, SK_CHECK_ENVS, 0, "for the same seed and actions");
}

/* Alone, and in other places of smaller groups. */
sk_verdict sk_check_grouping(sk_checker *check) {
    if (!is_deterministic(check)) return SK_CHECK_SKIP;
    for (int e = 0; e < SK_CHECK_ENVS; e++)
        if (compare_lanes(check, 1, e, "when it is alone than among others") != SK_CHECK_PASS)
            return SK_CHECK_FAIL;
    return compare_lanes(check, 2, 1, "in another place of a smaller group");
}

/* ---- actions at and beyond their bounds ---- */

/* What an unbounded side counts as: large, but nothing that a policy could not do. */
static const float FAR = 10.0f;

/* Ways to be extreme: all lowest, all highest, by turns over slots, by turns over time. */
enum { EXTREMES = 4 };

static bool is_high(int way, int slot, int64_t t) {
    return way == 0 ? false : way == 1 ? true : way == 2 ? slot % 2 == 0 : (t / 8 + slot) % 2 == 0;
}

/* A choice that the mask allows: the extreme one, or (by turns over time) one after the other. */
static int32_t pick(const sk_env_action_part *part, const uint8_t *mask, int way, int slot, int64_t t) {
    int c = way == EXTREMES - 1 ? (int)((t + slot) % part->n) : is_high(way, slot, t) ? part->n - 1 : 0;
    for (int tries = 0; mask && !mask[c] && tries < part->n; tries++) c = (c + 1) % part->n;
    return part->start + c;
}

/* The bound itself, or with `beyond` something on its other side. */
static float reach(const sk_env_action_part *part, int i, bool high_side, bool beyond) {
    float low, high;
    sk_env_part_bounds(part, i, &low, &high);
    float bound = high_side ? high : low;
    if (!isfinite(bound)) return high_side ? FAR : -FAR;
    if (!beyond) return bound;
    return high_side ? bound + fabsf(bound) + 1.0f : -1e30f;
}

static void choose_extreme(const sk_checker *check, sk_lane *self, int way, int64_t t, bool beyond) {
    const sk_env_spec *spec = check->spec;
    for (int row = 0; row < self->rows; row++) {
        sk_env_slot   *slots = self->action + row * check->info->action_slots;
        const uint8_t *mask = check->info->mask_size ? self->mask + row * check->info->mask_size : NULL;
        for (int p = 0, slot = 0; p < spec->n_action; p++) {
            const sk_env_action_part *part = &spec->action[p];
            bool                      discrete = part->kind == SK_ENV_DISCRETE;
            for (int i = 0; i < sk_env_part_slots(part); i++, slot++) {
                if (discrete) slots[slot].i = pick(part, mask, way, slot, t);
                else slots[slot].f = reach(part, i, is_high(way, slot, t), beyond);
            }
            if (discrete && mask) mask += part->n;
        }
    }
}

/* Play one way to the bounds and, beside it, beyond them, which the host cuts off. */
static sk_verdict extreme(sk_checker *check, int way, sk_lane *at, sk_lane *beyond) {
    static const char *const ways[EXTREMES] = {"all lowest", "all highest", "lowest and highest by turns",
                                               "every one in its turn"};
    bool compare = check->info->n_box > 0 && (sk_env_api_get(check->env)->caps & SK_ENV_CAP_DETERMINISTIC);
    sk_error error = {0};
    char     detail[sizeof check->detail];
    int64_t  n_steps = check->n_steps;
    for (int64_t t = 0; t < n_steps; t++) {
        choose_extreme(check, at, way, t, false);
        sk_verdict result = SK_CHECK_FAIL;
        if (sk_lane_step_on(at, &error) != SK_OK) SK_CHECK_SAY(check, "%s", error.msg);
        else result = bounds_hold(check, at, t + 1);
        if (result == SK_CHECK_PASS && compare) {
            choose_extreme(check, beyond, way, t, true);
            if (sk_lane_step_on(beyond, &error) != SK_OK)
                SK_CHECK_SAY(check, "%s", error.msg), result = SK_CHECK_FAIL;
            else result = same_rows(check, at, beyond, t + 1, "beyond the bounds than at them");
        }
        if (result == SK_CHECK_PASS) continue;
        memcpy(detail, check->detail, sizeof detail);
        SK_CHECK_SAY(check, "actions %s: %.550s", ways[way], detail);
        return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

sk_verdict sk_check_actions(sk_checker *check) {
    sk_verdict result = SK_CHECK_PASS;
    for (int way = 0; way < EXTREMES && result == SK_CHECK_PASS; way++) {
        sk_lane  at, beyond = {0};
        sk_error error = {0};
        if (sk_lane_create(check, SK_CHECK_ENVS, 0, &at, &error) != SK_OK ||
            sk_lane_create(check, SK_CHECK_ENVS, 0, &beyond, &error) != SK_OK)
            SK_CHECK_SAY(check, "%s", error.msg), result = SK_CHECK_FAIL;
        else result = extreme(check, way, &at, &beyond);
        sk_lane_destroy(&at);
        sk_lane_destroy(&beyond);
    }
    return result;
}

/* ---- order and resets, straight from the api ---- */

/* The first difference between two environments' rows of two instances that acted, or NULL. */
static const char *bare_differs(const sk_checker *check, const sk_bare *one, const sk_bare *two, bool fresh,
                                int env) {
    size_t agents = (size_t)check->info->n_agents, dim = (size_t)check->info->obs_dim;
    size_t masks = (size_t)check->info->mask_size;
    for (size_t row = (size_t)env * agents; row < ((size_t)env + 1) * agents; row++) {
        if (!sk_bare_acts(one, row)) continue;
        if (memcmp(one->obs + row * dim, two->obs + row * dim, dim * sizeof(float))) return "observation";
        if (memcmp(one->mask + row * masks, two->mask + row * masks, masks)) return "mask";
        if (fresh) continue;
        if (memcmp(one->reward + row, two->reward + row, sizeof(float))) return "reward";
        if (one->terminated[row] != two->terminated[row]) return "terminated";
        if (one->truncated[row] != two->truncated[row]) return "truncated";
        if (one->active[row] != two->active[row]) return "active";
    }
    return NULL;
}

static sk_verdict bare_same(sk_checker *check, const sk_bare *one, const sk_bare *two, bool fresh, int64_t t,
                            const char *cause) {
    for (int e = 0; e < one->n_envs; e++) {
        const char *what = bare_differs(check, one, two, fresh, e);
        if (!what) continue;
        SK_CHECK_SAY(check, "step %lld%s, env %d: another %s %s", (long long)t,
                     fresh ? ", after a reset" : "", e, what, cause);
        return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

/* Step all at once, or one after the other from the last to the first. */
static sk_verdict bare_step_all(sk_checker *check, sk_bare *self, bool backwards) {
    if (!backwards) return sk_bare_step(check, self, 0, self->n_envs);
    for (int e = self->n_envs - 1; e >= 0; e--)
        if (sk_bare_step(check, self, e, 1) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    return SK_CHECK_PASS;
}

/* Step two instances that have the same present, the second one backwards if wanted, and compare all they
 * write. */
static sk_verdict bare_side_by_side(sk_checker *check, sk_bare *one, sk_bare *two, bool backwards,
                                    const char *cause) {
    for (int64_t t = 0; t < check->n_steps; t++) {
        sk_check_choose(check, (int)one->rows, 0, t, one->mask, one->action);
        memcpy(two->action, one->action, one->rows * (size_t)check->info->action_slots * sizeof(sk_env_slot));
        if (bare_step_all(check, one, false) != SK_CHECK_PASS ||
            bare_step_all(check, two, backwards) != SK_CHECK_PASS ||
            bare_same(check, one, two, false, t + 1, cause) != SK_CHECK_PASS)
            return SK_CHECK_FAIL;
        bool any = false;
        for (int i = 0; i < one->n_envs; i++) {
            int e = i, f = backwards ? one->n_envs - 1 - i : i;
            if (sk_bare_settle(check, one, e) && sk_bare_reset(check, one, e, NULL) != SK_CHECK_PASS)
                return SK_CHECK_FAIL;
            bool over = sk_bare_settle(check, two, f);
            if (over && sk_bare_reset(check, two, f, NULL) != SK_CHECK_PASS) return SK_CHECK_FAIL;
            any |= over;
        }
        if (any && bare_same(check, one, two, true, t + 1, cause) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

/* A played-on instance; its environments are then reset, from the last to the first. */
static sk_verdict play_then_reset(sk_checker *check, sk_bare *self) {
    for (int64_t t = 0; t < check->n_steps; t++) {
        sk_check_choose(check, (int)self->rows, 7, t, self->mask, self->action);
        if (sk_bare_step(check, self, 0, self->n_envs) != SK_CHECK_PASS) return SK_CHECK_FAIL;
        for (int e = 0; e < self->n_envs; e++)
            if (sk_bare_settle(check, self, e) && sk_bare_reset(check, self, e, NULL) != SK_CHECK_PASS)
                return SK_CHECK_FAIL;
    }
    for (int e = self->n_envs - 1; e >= 0; e--) {
        uint64_t seed = check->seed + (uint64_t)e;
        if (sk_bare_reset(check, self, e, &seed) != SK_CHECK_PASS) return SK_CHECK_FAIL;
    }
    return SK_CHECK_PASS;
}

static sk_verdict compare_bares(sk_checker *check, bool played, bool backwards, const char *cause) {
    sk_bare    one, two = {0};
    sk_error   error = {0};
    sk_verdict result = SK_CHECK_FAIL;
    if (sk_bare_create(check, SK_CHECK_ENVS, &one, &error) != SK_OK ||
        sk_bare_create(check, SK_CHECK_ENVS, &two, &error) != SK_OK)
        SK_CHECK_SAY(check, "%s", error.msg);
    else if (sk_bare_reset_all(check, &one) == SK_CHECK_PASS &&
             sk_bare_reset_all(check, &two) == SK_CHECK_PASS &&
             (!played || play_then_reset(check, &two) == SK_CHECK_PASS) &&
             bare_same(check, &one, &two, true, 0, cause) == SK_CHECK_PASS)
        result = bare_side_by_side(check, &one, &two, backwards, cause);
    sk_bare_destroy(check, &one);
    sk_bare_destroy(check, &two);
    return result;
}

sk_verdict sk_check_order(sk_checker *check) {
    if (!is_deterministic(check)) return SK_CHECK_SKIP;
    return compare_bares(check, false, true, "when environments are stepped one by one, the last one first");
}

sk_verdict sk_check_reset(sk_checker *check) {
    if (!is_deterministic(check)) return SK_CHECK_SKIP;
    return compare_bares(check, true, false,
                         "in an instance that was played before than in a new one, for the same seed");
}

/* ---- state ---- */

/* Play, save, load into a fresh instance, and play both on. The columns go along by hand. */
static sk_verdict replay(sk_checker *check, sk_lane *old, sk_lane *fresh, void *bytes) {
    sk_error error = {0};
    for (int64_t t = 0; t < check->n_steps; t++)
        if (sk_lane_step(check, old, t, &error) != SK_OK)
            return SK_CHECK_SAY(check, "%s", error.msg), SK_CHECK_FAIL;
    if (sk_vec_state_save(old->vec, bytes, &error) != SK_OK ||
        sk_vec_state_load(fresh->vec, bytes, &error) != SK_OK)
        return SK_CHECK_SAY(check, "%s", error.msg), SK_CHECK_FAIL;
    memcpy(fresh->mask, old->mask, (size_t)old->rows * (size_t)check->info->mask_size);
    sk_verdict result = side_by_side(check, old, fresh, check->n_steps, "after its state was loaded");
    if (result == SK_CHECK_PASS)
        SK_CHECK_SAY(check, "%zu bytes per environment", sk_vec_env_state_size(old->vec));
    return result;
}

sk_verdict sk_check_state(sk_checker *check) {
    if (!sk_check_claims(check, SK_ENV_CAP_STATE, "SK_ENV_CAP_STATE")) return SK_CHECK_SKIP;
    sk_lane    old, fresh = {0};
    sk_error   error = {0};
    sk_verdict result = SK_CHECK_FAIL;
    void      *bytes = NULL;
    if (sk_lane_create(check, SK_CHECK_ENVS, 0, &old, &error) != SK_OK ||
        sk_lane_create(check, SK_CHECK_ENVS, 0, &fresh, &error) != SK_OK)
        SK_CHECK_SAY(check, "%s", error.msg);
    else if ((bytes = malloc(sk_vec_state_size(old.vec) + 1)) == NULL) SK_CHECK_SAY(check, "out of memory");
    else result = replay(check, &old, &fresh, bytes);
    free(bytes);
    sk_lane_destroy(&old);
    sk_lane_destroy(&fresh);
    return result;
}
