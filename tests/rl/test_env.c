/* Opening environments: built in, from plugins, and every way in which a plugin can be wrong. */
#include "core/base/rng.h"
#include "envs/registry.h"
#include "rl/env.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *plugin_path(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/tests/rl/plugins/%s.so", getenv("SKIFF_BUILD_DIR"), name);
    return path;
}

/* Opening must fail with this status and a message that holds this text. */
static void refused(const sk_env_params *params, sk_status status, const char *text) {
    sk_env  *env = NULL;
    sk_error error = {0};
    cr_assert_eq(sk_env_create(params, &env, &error), status, "status %d: %s", error.status, error.msg);
    cr_assert_null(env);
    cr_assert(strstr(error.msg, text), "\"%s\" lacks \"%s\"", error.msg, text);
}

/* The same for misfit_none.so with config break=how. */
static void refused_spec(const char *how, sk_status status, const char *text) {
    static const char *const names[] = {"break"};
    refused(&(sk_env_params){.plugin = plugin_path("misfit_none"), .n_config = 1, .config_names = names,
                             .config_values = &how}, status, text);
}

static sk_env *opened(const sk_env_params *params) {
    sk_env  *env = NULL;
    sk_error error = {0};
    cr_assert_eq(sk_env_create(params, &env, &error), SK_OK, "%s", error.msg);
    return env;
}

Test(env, knows_what_the_built_in_ones_are) {
    sk_env *env = opened(&(sk_env_params){.name = "CartPole-v1"});
    const sk_env_info *info = sk_env_info_get(env);
    cr_assert_str_eq(info->name, "CartPole-v1");
    cr_assert_eq(info->obs_dim, 4);
    cr_assert_eq(info->action_slots, 1);
    cr_assert_eq(info->n_discrete, 1);
    cr_assert_eq(info->n_choices, 2);
    cr_assert_eq(info->n_box, 0);
    cr_assert_eq(info->n_agents, 1);
    cr_assert_eq(info->max_episode_steps, 500);
    sk_env_destroy(&env);
    cr_assert_null(env);
    for (int i = 0; i < sk_env_builtin_count(); i++) {
        const sk_env_api *api = sk_env_builtin_at(i);
        cr_assert_eq(sk_env_builtin(api->name), api, "two are named %s", api->name);
        env = opened(&(sk_env_params){.name = api->name});
        sk_env_destroy(&env);
    }
}

Test(env, names_the_nearest_of_an_unknown_name) {
    refused(&(sk_env_params){.name = "CartPole-v0"}, SK_ENOTFOUND, "did you mean \"CartPole-v1\"");
    refused(&(sk_env_params){.name = "Halma"}, SK_ENOTFOUND, "known: CartPole-v1");
    refused(&(sk_env_params){.name = ""}, SK_EINVAL, "needs a name");
    refused(&(sk_env_params){0}, SK_EINVAL, "needs a name");
}

Test(env, lets_the_host_set_the_time_limit) {
    sk_env *env = opened(&(sk_env_params){.name = "Pendulum-v1", .max_episode_steps = 7});
    cr_assert_eq(sk_env_info_get(env)->max_episode_steps, 7);
    cr_assert_eq(sk_env_spec_get(env)->max_episode_steps, 7);
    sk_env_destroy(&env);
    refused(&(sk_env_params){.name = "Pendulum-v1", .max_episode_steps = -7}, SK_EINVAL, "got -7");
}

Test(env, copies_its_config) {
    char name[] = "g", value[] = "3.5";
    const char *names[] = {name}, *values[] = {value};
    sk_env *env = opened(&(sk_env_params){.name = "Pendulum-v1", .n_config = 1, .config_names = names,
                                          .config_values = values});
    name[0] = value[0] = '?';
    cr_assert_str_eq(sk_env_config_get(env)->names[0], "g");
    cr_assert_str_eq(sk_env_config_get(env)->values[0], "3.5");
    sk_env_destroy(&env);
    refused(
        &(sk_env_params){
            .name = "Pendulum-v1", .n_config = 1, .config_names = names, .config_values = values},
        SK_EENV, "environment \"Pendulum-v1\": describe refused: unknown config \"?\"");
}

Test(env, destroy_accepts_null) {
    sk_env *env = NULL;
    sk_env_destroy(&env);
    sk_env_destroy(NULL);
}

Test(env_plugin, opens_by_name_or_as_the_only_one) {
    const char *several = strdup(plugin_path("misfit_several"));
    sk_env *env = opened(&(sk_env_params){.plugin = plugin_path("misfit_none")});
    const sk_env_info *info = sk_env_info_get(env);
    cr_assert_str_eq(info->name, "Misfit-v0");
    cr_assert_eq(info->obs_dim, 7);
    cr_assert_eq(info->action_slots, 3);
    cr_assert_eq(info->n_box, 2);
    sk_env_destroy(&env);
    env = opened(&(sk_env_params){.plugin = several, .name = "Other-v3"});
    cr_assert_str_eq(sk_env_info_get(env)->name, "Other-v3");
    sk_env_destroy(&env);
    refused(&(sk_env_params){.plugin = several}, SK_EINVAL, "holds 2 environments (Misfit-v0, Other-v3)");
    refused(&(sk_env_params){.plugin = several, .name = "Other-v4"}, SK_ENOTFOUND,
            "did you mean \"Other-v3\"");
    char names[1][SK_ENV_NAME_MAX];
    int  n = 0;
    cr_assert_eq(sk_env_plugin_names(several, names, 1, &n, NULL), SK_OK);
    cr_assert_eq(n, 2);
    cr_assert_str_eq(names[0], "Misfit-v0");
    free((void *)several);
}

Test(env_plugin, refuses_files_that_are_no_plugin) {
    char folder[] = "/tmp/skiff-test-XXXXXX", file[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/text.so", folder);
    refused(&(sk_env_params){.plugin = file}, SK_ENOTFOUND, "no such readable file");
    FILE *text = fopen(file, "w");
    fputs("this is no library\n", text);
    fclose(text);
    refused(&(sk_env_params){.plugin = file}, SK_EENV, "does not load");
    unlink(file);
    rmdir(folder);
    refused(&(sk_env_params){.plugin = plugin_path("misfit_nosymbol")}, SK_ENOTFOUND,
            "does not export \"skiff_env_plugin\"");
    refused(&(sk_env_params){.plugin = plugin_path("misfit_empty")}, SK_ENOTFOUND, "holds no environment");
}

Test(env_plugin, refuses_other_versions_naming_both) {
    char text[128];
    refused(&(sk_env_params){.plugin = plugin_path("misfit_abi")}, SK_EVERSION,
            "abi_version: got 2, wanted 1");
    snprintf(text, sizeof text, "struct_size: got %zu, wanted at least %zu",
             sizeof(sk_env_api) - sizeof(void *), sizeof(sk_env_api));
    refused(&(sk_env_params){.plugin = plugin_path("misfit_size")}, SK_EVERSION, text);
}

Test(env_plugin, refuses_missing_functions) {
    refused(&(sk_env_params){.plugin = plugin_path("misfit_step")}, SK_EENV, "function step is missing");
    refused(&(sk_env_params){.plugin = plugin_path("misfit_state")}, SK_EENV, "claims SK_ENV_CAP_STATE");
}

Test(env_plugin, hands_on_why_describe_refuses) {
    refused_spec("refuse", SK_EENV, "environment \"Misfit-v0\": describe refused: no wind today");
    refused_spec("silent", SK_EENV, "(it gave no reason)");
}

Test(env_plugin, refuses_contradicting_descriptions) {
    refused_spec("contradict", SK_EENV, "contradicts itself about \"where\"");
    refused_spec("contradict_agents", SK_EENV, "contradicts itself: n_agents was");
}

Test(env_plugin, refuses_descriptions_that_make_no_sense) {
    static const struct { const char *how, *text; } cases[] = {
        {"n_obs", "n_obs: got 17, wanted 1 to 16"},
        {"n_action", "n_action: got 0"},
        {"unnamed", "observation field 1 has no name"},
        {"endless", "observation field 1: its name has no end"},
        {"twins", "both named \"where\""},
        {"dims", "dimensions of an observation field: got 5"},
        {"shape", "shape of an observation field: got 0"},
        {"huge", "elements of an observation field: got 1099511627776"},
        {"bounds", "observation field \"where\" element 0: bounds [2, 1]"},
        {"nan_bounds", "observation field \"where\" element 4: bounds [nan, 1]"},
        {"half_bounds", "lows and highs must both be given"},
        {"dtype", "unknown dtype 9"},
        {"kind", "unknown kind 2"},
        {"n", "n of an action part: got 0"},
        {"no_box", "leave nothing to choose"},
        {"mask", "mask_size: got 5, wanted 0 or 3"},
        {"agents", "n_agents: got 0"},
        {"limit", "max_episode_steps: got -1"},
        {"metrics", "metric 0 has no name"},
        {"reward", "reward bounds [1, 0]"},
        {"i32", "observation field \"when\" (i32) element 0: bounds [0, inf], wanted integers"},
        {"i32_half", "observation field \"where\" (i32) element 0: bounds [-1, 1.5], wanted integers"},
        {"i32_wide", "bounds [-1, 1.04858e+06], wanted at most 1048576 values"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused_spec(cases[i].how, SK_EENV, cases[i].text);
}

Test(env_plugin, says_which_dtypes_it_cannot_carry_yet) {
    refused_spec("u8", SK_EUNSUPPORTED, "observation field \"where\" has dtype u8");
}

Test(env, names_single_floats_of_an_observation) {
    sk_env *env = opened(&(sk_env_params){.plugin = plugin_path("misfit_none")});
    char    name[SK_ENV_NAME_MAX + 16];
    sk_env_obs_name(sk_env_spec_get(env), 5, name, sizeof name);
    cr_assert_str_eq(name, "where[5]");
    sk_env_obs_name(sk_env_spec_get(env), 6, name, sizeof name);
    cr_assert_str_eq(name, "when");
    sk_env_destroy(&env);
}

Test(env, draws_random_actions_inside_the_space) {
    sk_env *env = opened(&(sk_env_params){.plugin = plugin_path("misfit_none")});
    uint8_t mask[3] = {1, 0, 1};
    int     seen[3] = {0}, seen_masked[3] = {0};
    float   low = INFINITY, high = -INFINITY;
    for (uint64_t t = 0; t < 300; t++) {
        sk_env_slot action[3];
        uint64_t    stream = sk_stream_id(SK_STREAM_TEST, 0);
        sk_env_action_random(sk_env_spec_get(env), 1, stream, t, NULL, action);
        cr_assert(action[0].i >= -1 && action[0].i <= 1);
        seen[action[0].i + 1]++;
        for (int i = 1; i < 3; i++) low = fminf(low, action[i].f), high = fmaxf(high, action[i].f);
        sk_env_action_random(sk_env_spec_get(env), 1, stream, t, mask, action);
        seen_masked[action[0].i + 1]++;
    }
    for (int i = 0; i < 3; i++) cr_assert_gt(seen[i], 60);
    cr_assert_eq(seen_masked[1], 0);
    cr_assert(seen_masked[0] > 100 && seen_masked[2] > 100);
    cr_assert(low >= -2 && low < -1.9f && high <= 2 && high > 1.9f, "[%g, %g]", (double)low, (double)high);
    sk_env_destroy(&env);
}
