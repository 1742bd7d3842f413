/* The description is one JSON object:
 *   {"max_episode_steps": 500, "mask_size": 0,
 *    "obs":    [{"name", "dtype": "f32|u8|i32", "shape": [..], "low", "high"}, ...],
 *    "action": [{"name", "kind": "discrete", "n", "start"} or {"name", "kind": "box", "n", "low", "high"}]}
 * Bounds are the bytes of float32 numbers in hexadecimal: one number for all elements, or one for each. */
#include "envs/external/gymnasium_spec.h"
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HEX_PER_FLOAT = 8, ELEMENTS_MAX = 1 << 24 };

/* Where the next bounds by element go. */
typedef struct bounds_store {
    float *all;
    size_t used, cap;
} bounds_store;

static sk_status refuse(const char *what, sk_error *reterr) {
    return SK_FAIL(reterr, SK_EENV, "the Python side's description makes no sense: %s", what);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 8 digits, the bytes in memory order. */
static bool hex_float(const char *hex, float *ret) {
    unsigned char bytes[sizeof *ret];
    for (size_t i = 0; i < sizeof bytes; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        bytes[i] = (unsigned char)(high * 16 + low);
    }
    memcpy(ret, bytes, sizeof *ret);
    return true;
}

/* Read one side's bounds of n elements: into *ret_one if they are all the same, else into the store. */
static sk_status read_side(const char *hex, int n, bounds_store *store, float *ret_one,
                           const float **ret_each, sk_error *reterr) {
    size_t digits = strlen(hex);
    *ret_each = NULL;
    if (digits == HEX_PER_FLOAT) return hex_float(hex, ret_one) ? SK_OK : refuse("bounds", reterr);
    if (digits != (size_t)n * HEX_PER_FLOAT) return refuse("the number of bounds", reterr);
    SK_ASSERT(store->used + (size_t)n <= store->cap);
    float *to = store->all + store->used;
    for (int i = 0; i < n; i++)
        if (!hex_float(hex + (size_t)i * HEX_PER_FLOAT, &to[i])) return refuse("bounds", reterr);
    store->used += (size_t)n;
    *ret_each = to;
    return SK_OK;
}

/* Both sides; where only one differs by element the host wants both so. */
static sk_status read_bounds(const char *low, const char *high, int n, bounds_store *store, float ret_one[2],
                             const float *ret_each[2], sk_error *reterr) {
    SK_TRY(read_side(low, n, store, &ret_one[0], &ret_each[0], reterr));
    SK_TRY(read_side(high, n, store, &ret_one[1], &ret_each[1], reterr));
    if (!ret_each[0] == !ret_each[1]) return SK_OK;
    int    missing = ret_each[0] ? 1 : 0;
    float *to = store->all + store->used;
    SK_ASSERT(store->used + (size_t)n <= store->cap);
    for (int i = 0; i < n; i++) to[i] = ret_one[missing];
    store->used += (size_t)n;
    ret_each[missing] = to;
    return SK_OK;
}

static sk_status copy_name(char to[SK_ENV_NAME_MAX], const char *name, sk_error *reterr) {
    if (strlen(name) >= SK_ENV_NAME_MAX) {
        return SK_FAIL(reterr, SK_EENV, "the name \"%.80s\" of a space is longer than %d bytes", name,
                       SK_ENV_NAME_MAX - 1);
    }
    strcpy(to, name);
    return SK_OK;
}

static sk_status read_obs(json_t *json, sk_env_field *field, bounds_store *store, sk_error *reterr) {
    const char *name, *dtype, *low, *high;
    json_t     *shape;
    if (json_unpack(json, "{s:s, s:s, s:o, s:s, s:s}", "name", &name, "dtype", &dtype, "shape", &shape, "low",
                    &low, "high", &high))
        return refuse("an observation", reterr);
    SK_TRY(copy_name(field->name, name, reterr));
    field->dtype = strcmp(dtype, "f32") == 0 ? SK_ENV_F32 : strcmp(dtype, "u8") == 0 ? SK_ENV_U8 : SK_ENV_I32;
    field->n_dims = (int)json_array_size(shape);
    if (field->n_dims > SK_ENV_DIMS_MAX) return refuse("an observation's shape", reterr);
    int64_t n = 1;
    for (int d = 0; d < field->n_dims; d++) {
        json_int_t size = json_integer_value(json_array_get(shape, (size_t)d));
        n = size < 1 || size > ELEMENTS_MAX ? 0 : n * size;
        if (n < 1 || n > ELEMENTS_MAX) return refuse("an observation's shape", reterr);
        field->shape[d] = (int)size;
    }
    float        one[2] = {-INFINITY, INFINITY};
    const float *each[2];
    SK_TRY(read_bounds(low, high, (int)n, store, one, each, reterr));
    field->low = one[0];
    field->high = one[1];
    field->lows = each[0];
    field->highs = each[1];
    return SK_OK;
}

static sk_status read_action(json_t *json, sk_env_action_part *part, bounds_store *store, sk_error *reterr) {
    const char  *name, *kind, *low = NULL, *high = NULL;
    float        one[2] = {-INFINITY, INFINITY};
    const float *each[2] = {NULL, NULL};
    if (json_unpack(json, "{s:s, s:s, s:i, s?i, s?s, s?s}", "name", &name, "kind", &kind, "n", &part->n,
                    "start", &part->start, "low", &low, "high", &high) ||
        part->n < 1 || part->n > ELEMENTS_MAX)
        return refuse("an action", reterr);
    SK_TRY(copy_name(part->name, name, reterr));
    part->kind = strcmp(kind, "box") == 0 ? SK_ENV_BOX : SK_ENV_DISCRETE;
    if (part->kind == SK_ENV_DISCRETE) return SK_OK;
    if (!low || !high) return refuse("an action's bounds", reterr);
    SK_TRY(read_bounds(low, high, part->n, store, one, each, reterr));
    part->low = one[0];
    part->high = one[1];
    part->lows = each[0];
    part->highs = each[1];
    return SK_OK;
}

static sk_status read_all(json_t *json, sk_env_spec *spec, bounds_store *store, sk_error *reterr) {
    json_t *obs, *action;
    if (json_unpack(json, "{s:o, s:o, s:i, s:i}", "obs", &obs, "action", &action, "max_episode_steps",
                    &spec->max_episode_steps, "mask_size", &spec->mask_size))
        return refuse("a key is missing", reterr);
    spec->n_agents = 1;
    spec->n_obs = (int)json_array_size(obs);
    spec->n_action = (int)json_array_size(action);
    if (spec->n_obs < 1 || spec->n_obs > SK_ENV_FIELDS_MAX || spec->n_action < 1 ||
        spec->n_action > SK_ENV_FIELDS_MAX)
        return refuse("the number of observations or actions", reterr);
    for (int i = 0; i < spec->n_obs; i++)
        SK_TRY(read_obs(json_array_get(obs, (size_t)i), &spec->obs[i], store, reterr));
    for (int i = 0; i < spec->n_action; i++)
        SK_TRY(read_action(json_array_get(action, (size_t)i), &spec->action[i], store, reterr));
    return SK_OK;
}

sk_status sk__gymnasium_spec_parse(const char *text, size_t size, sk_env_spec *spec, float **ret_bounds,
                                   sk_error *reterr) {
    json_error_t why;
    json_t      *json = json_loadb(text, size, 0, &why);
    if (!json) return SK_FAIL(reterr, SK_EENV, "the Python side's description cannot be read: %s", why.text);
    /* One side by element makes both so: the text holds at least half of what is stored. */
    bounds_store store = {.cap = 2 * (size / HEX_PER_FLOAT)};
    store.all = store.cap ? malloc(store.cap * sizeof *store.all) : NULL;
    sk_status status = SK_OK;
    if (store.cap && !store.all) status = SK_FAIL(reterr, SK_ENOMEM, "out of memory for bounds");
    if (status == SK_OK) status = read_all(json, spec, &store, reterr);
    json_decref(json);
    if (status == SK_OK && store.used > 0) {
        *ret_bounds = store.all;
        return SK_OK;
    }
    free(store.all);
    if (status == SK_OK) *ret_bounds = NULL;
    return status;
}

static size_t element_bytes(int dtype) { return dtype == SK_ENV_U8 ? 1 : 4; }

size_t sk__gymnasium_row_bytes(const sk_env_spec *spec) {
    size_t bytes = 0;
    for (int f = 0; f < spec->n_obs; f++) {
        size_t n = 1;
        for (int d = 0; d < spec->obs[f].n_dims; d++) n *= (size_t)spec->obs[f].shape[d];
        bytes += n * element_bytes(spec->obs[f].dtype);
    }
    return bytes;
}

int sk__gymnasium_action_slots(const sk_env_spec *spec) {
    int slots = 0;
    for (int p = 0; p < spec->n_action; p++)
        slots += spec->action[p].kind == SK_ENV_DISCRETE ? 1 : spec->action[p].n;
    return slots;
}
