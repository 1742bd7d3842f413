/* skiff envs: which environments there are, and what one of them sees and does. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/env_arg.h"
#include "envs/registry.h"
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

/* More elements than this are not listed one by one; more environments of a plugin are not listed at all. */
enum { ELEMENTS_MAX = 32, PLUGIN_ENVS_MAX = 256 };

/* ---- for people ---- */

static void action_text(const sk_env_spec *spec, char *text, size_t size) {
    int used = 0;
    for (int p = 0; p < spec->n_action && used >= 0 && (size_t)used < size; p++) {
        const sk_env_action_part *part = &spec->action[p];
        used += snprintf(text + used, size - (size_t)used, "%s%s(%d)", p ? " " : "",
                         part->kind == SK_ENV_DISCRETE ? "discrete" : "box", part->n);
    }
}

static void print_head(void) { printf("%-28s %8s  %-24s %10s\n", "name", "obs", "action", "steps"); }

static void print_row(const sk_env *env) {
    const sk_env_info *info = sk_env_info_get(env);
    char action[128], limit[16] = "no limit";
    action_text(sk_env_spec_get(env), action, sizeof action);
    if (info->max_episode_steps) snprintf(limit, sizeof limit, "%d", info->max_episode_steps);
    printf("%-28s %8d  %-24s %10s\n", info->name, info->obs_dim, action, limit);
}

typedef void (*bounds_fn)(const void *of, int i, float *ret_low, float *ret_high);
static void field_bounds(const void *of, int i, float *low, float *high) {
    sk_env_field_bounds(of, i, low, high);
}
static void part_bounds(const void *of, int i, float *low, float *high) {
    sk_env_part_bounds(of, i, low, high);
}

/* Bounds of n elements: once if they are all the same, else element by element. */
static void print_bounds(const void *of, bounds_fn bounds, int n) {
    float low0, high0, low, high;
    bool  same = true;
    bounds(of, 0, &low0, &high0);
    for (int i = 1; i < n; i++) {
        bounds(of, i, &low, &high);
        same &= low == low0 && high == high0;
    }
    if (same) {
        printf(" in [%g, %g]\n", (double)low0, (double)high0);
        return;
    }
    printf("\n");
    for (int i = 0; i < n && i < ELEMENTS_MAX; i++) {
        bounds(of, i, &low, &high);
        printf("    [%d] in [%g, %g]\n", i, (double)low, (double)high);
    }
    if (n > ELEMENTS_MAX) printf("    ... %d more\n", n - ELEMENTS_MAX);
}

static const char *dtype_name(int dtype) { return dtype == SK_ENV_I32 ? "i32" : "f32"; }

/* Fields and parts with their offsets in the row: Dict and Tuple spaces are read by these. */
static void print_full(const sk_env *env) {
    const sk_env_spec *spec = sk_env_spec_get(env);
    const sk_env_info *info = sk_env_info_get(env);
    printf("%s\nobservation: %d slot%s\n", info->name, info->obs_dim, info->obs_dim == 1 ? "" : "s");
    for (int f = 0, offset = 0; f < spec->n_obs; offset += sk_env_field_size(&spec->obs[f++])) {
        printf("  %s at %d: %s", spec->obs[f].name, offset, dtype_name(spec->obs[f].dtype));
        for (int d = 0; d < spec->obs[f].n_dims; d++) printf("%s%d", d ? " x " : " ", spec->obs[f].shape[d]);
        print_bounds(&spec->obs[f], field_bounds, sk_env_field_size(&spec->obs[f]));
    }
    printf("action: %d slot%s%s\n", info->action_slots, info->action_slots == 1 ? "" : "s",
           info->mask_size ? ", with a mask" : "");
    for (int p = 0, offset = 0; p < spec->n_action; offset += sk_env_part_slots(&spec->action[p++])) {
        const sk_env_action_part *part = &spec->action[p];
        if (part->kind == SK_ENV_DISCRETE) {
            printf("  %s at %d: discrete %d (%d to %d)\n", part->name, offset, part->n, part->start,
                   part->start + part->n - 1);
        } else {
            printf("  %s at %d: box %d", part->name, offset, part->n);
            print_bounds(part, part_bounds, part->n);
        }
    }
    printf("agents: %d\n", info->n_agents);
    if (info->max_episode_steps) printf("time limit: %d steps\n", info->max_episode_steps);
    else printf("time limit: none\n");
    if (spec->reward_low != 0.0f || spec->reward_high != 0.0f) {
        printf("reward: in [%g, %g]\n", (double)spec->reward_low, (double)spec->reward_high);
    }
    for (int m = 0; m < spec->n_metrics; m++) printf("metric: %s\n", spec->metric_name[m]);
    unsigned caps = sk_env_api_get(env)->caps;
    printf("deterministic: %s\nsaves its state: %s\n", caps & SK_ENV_CAP_DETERMINISTIC ? "yes" : "no",
           caps & SK_ENV_CAP_STATE ? "yes" : "no");
}

/* ---- for programs ---- */

/* JSON knows no infinity: null stands for "no bound". */
static json_t *bound(float x) { return isfinite(x) ? json_real((double)x) : json_null(); }

static void add_bounds(json_t *to, const void *of, bounds_fn bounds, int n) {
    json_t *lows = json_array(), *highs = json_array();
    for (int i = 0; i < n; i++) {
        float low, high;
        bounds(of, i, &low, &high);
        json_array_append_new(lows, bound(low));
        json_array_append_new(highs, bound(high));
    }
    json_object_set_new(to, "low", lows);
    json_object_set_new(to, "high", highs);
}

static json_t *obs_json(const sk_env_spec *spec) {
    json_t *fields = json_array();
    for (int f = 0, offset = 0; f < spec->n_obs; offset += sk_env_field_size(&spec->obs[f++])) {
        json_t *field = json_pack("{s:s, s:i, s:s, s:[]}", "name", spec->obs[f].name, "offset", offset, "dtype",
                                  dtype_name(spec->obs[f].dtype), "shape");
        for (int d = 0; d < spec->obs[f].n_dims; d++) {
            json_array_append_new(json_object_get(field, "shape"), json_integer(spec->obs[f].shape[d]));
        }
        add_bounds(field, &spec->obs[f], field_bounds, sk_env_field_size(&spec->obs[f]));
        json_array_append_new(fields, field);
    }
    return fields;
}

static json_t *action_json(const sk_env_spec *spec) {
    json_t *parts = json_array();
    for (int p = 0, offset = 0; p < spec->n_action; offset += sk_env_part_slots(&spec->action[p++])) {
        const sk_env_action_part *part = &spec->action[p];
        bool    discrete = part->kind == SK_ENV_DISCRETE;
        json_t *json = json_pack("{s:s, s:i, s:s, s:i}", "name", part->name, "offset", offset, "kind",
                                 discrete ? "discrete" : "box", "n", part->n);
        if (discrete) json_object_set_new(json, "start", json_integer(part->start));
        else add_bounds(json, part, part_bounds, part->n);
        json_array_append_new(parts, json);
    }
    return parts;
}

static int print_json(const sk_env *env) {
    const sk_env_spec *spec = sk_env_spec_get(env);
    unsigned           caps = sk_env_api_get(env)->caps;
    json_t *json =
        json_pack("{s:s, s:o, s:o, s:i, s:i, s:i, s:b, s:b, s:[]}", "name", sk_env_info_get(env)->name,
                  "observation", obs_json(spec), "action", action_json(spec), "mask_size", spec->mask_size,
                  "n_agents", spec->n_agents, "max_episode_steps", spec->max_episode_steps, "deterministic",
                  (caps & SK_ENV_CAP_DETERMINISTIC) != 0, "state", (caps & SK_ENV_CAP_STATE) != 0, "metrics");
    for (int m = 0; json && m < spec->n_metrics; m++) {
        json_array_append_new(json_object_get(json, "metrics"), json_string(spec->metric_name[m]));
    }
    /* 9 digits: a float32 reads back to the same bits. */
    int failed = !json || json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0;
    printf("\n");
    json_decref(json);
    if (failed) fprintf(stderr, "cannot write the description of %s\n", sk_env_info_get(env)->name);
    return failed ? 1 : 0;
}

/* ---- the command ---- */

typedef enum style { STYLE_ROW, STYLE_FULL, STYLE_JSON } style;

static int show(const char *text, int n_pairs, const char *const *pairs, style how) {
    SK_AUTO(sk_env) env = NULL;
    sk_error error = {0};
    if (sk_env_arg_open(text, n_pairs, pairs, 0, &env, &error) != SK_OK) return sk_env_arg_fail(&error);
    if (how == STYLE_JSON) return print_json(env);
    if (how == STYLE_ROW) print_row(env);
    else print_full(env);
    return 0;
}

static int show_all(style how) {
    int code = 0;
    if (how == STYLE_ROW) print_head();
    for (int i = 0; i < sk_env_builtin_count() && code == 0; i++)
        code = show(sk_env_builtin_at(i)->name, 0, NULL, how);
    for (int i = 0; i < sk_env_family_count() && how == STYLE_ROW && code == 0; i++)
        printf("%s\n", sk_env_family_help(i));
    return code;
}

/* All environments of a plugin, in full if it is only one. */
static int show_plugin(const char *path, int n_pairs, const char *const *pairs, style how) {
    static char names[PLUGIN_ENVS_MAX][SK_ENV_NAME_MAX];
    sk_error    error = {0};
    int         n, code = 0;
    if (sk_env_plugin_names(path, names, PLUGIN_ENVS_MAX, &n, &error) != SK_OK)
        return sk_env_arg_fail(&error);
    if (n > 1 && how == STYLE_FULL) {
        how = STYLE_ROW;
        print_head();
    }
    for (int i = 0; i < n && code == 0; i++) {
        char text[4096 + SK_ENV_NAME_MAX + 2];
        snprintf(text, sizeof text, "%.4095s:%.63s", path, names[i]);
        code = show(text, n_pairs, pairs, how);
    }
    return code;
}

int sk_cmd_envs(int argc, char **argv) {
    bool   json = false;
    sk_arg args[] = {{"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object per environment"}};
    sk_args parsed = {.usage = "skiff envs [NAME|gymnasium:NAME|PLUGIN.so[:NAME] [CONFIG=VALUE ...]] [--json]", .args = args,
                      .n_args = SK_COUNT(args), .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    if (parsed.n_positional == 0) return show_all(json ? STYLE_JSON : STYLE_ROW);
    const char *text = parsed.positional[0];
    style       how = json ? STYLE_JSON : STYLE_FULL;
    if (sk_env_arg_is_plugin(text))
        return show_plugin(text, parsed.n_positional - 1, parsed.positional + 1, how);
    return show(text, parsed.n_positional - 1, parsed.positional + 1, how);
}
