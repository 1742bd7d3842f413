#include "config_fixture.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A text that must bind, and one with overrides. */
#define BIND_OK(self, text)                                                                                  \
    bound self;                                                                                              \
    bound_init(&self, text, 0, NULL);                                                                        \
    cr_assert_eq(self.status, SK_OK, "%s", self.error.msg)
#define BIND_OK_WITH(self, text, ...)                                                                        \
    const char *const self##_overrides[] = {__VA_ARGS__};                                                    \
    bound             self;                                                                                  \
    bound_init(&self, text, SK_COUNT(self##_overrides), self##_overrides);                                   \
    cr_assert_eq(self.status, SK_OK, "%s", self.error.msg)

/* A text and perhaps an override must be refused with exactly this message, and nothing written into
 * the structs. */
static void refuses_with(const char *message, const char *text, const char *override) {
    bound b;
    bound_init(&b, text, override != NULL, &override);
    cr_assert_eq(b.status, SK_ECONFIG, "was not refused, wanted: %s", message);
    cr_assert_str_eq(b.error.msg, message);
    for (size_t i = 0; i < sizeof b.common; i++) cr_assert_eq(((const char *)&b.common)[i], 0x5a);
    for (size_t i = 0; i < sizeof b.ppo; i++) cr_assert_eq(((const char *)&b.ppo)[i], 0x5a);
    bound_deinit(&b);
}
static void refuses(const char *message, const char *text) { refuses_with(message, text, NULL); }

/* `value` for `key` in the second line. */
static void refuses_value(const char *message, const char *key, const char *value) {
    char text[256], want[256];
    snprintf(text, sizeof text, "env: A\n%s: %s\n", key, value);
    snprintf(want, sizeof want, "x.yaml:2:%s", message);
    refuses(want, text);
}

static const char example[] =
    "algorithm: ppo\n"
    "env: CartPole-v1                    # a comment\n"
    "seed: 7\n"
    "device: cpu\n"
    "env_runners:\n"
    "  num_env_runners: 0\n"
    "model: {fcnet_hiddens: [32, 16, 8], vf_share_layers: true}\n"
    "training: {gamma: 0.98, lr: [[0, 1.0e-3], [100000, 0]], num_epochs: 20}\n"
    "stop: {num_env_steps_sampled_lifetime: 1e5, evaluation/episode_return_mean: 475}\n";

Test(config, binds_an_experiment) {
    BIND_OK(b, example);
    cr_assert_str_eq(b.common.algorithm, "ppo");
    cr_assert_str_eq(b.common.env_name, "CartPole-v1");
    cr_assert_str_eq(b.common.env_plugin, "");
    cr_assert_eq(b.common.env_config.n, 0);
    cr_assert_eq(b.common.seed, 7);
    cr_assert_eq(b.common.device, 1);
    cr_assert_eq(b.common.n_runners, 0);
    cr_assert_eq(b.common.hiddens.n, 3);
    cr_assert_eq(b.common.hiddens.v[2], 8);
    cr_assert(b.ppo.vf_share_layers);
    cr_assert_eq(b.ppo.gamma, 0.98);
    cr_assert_eq(b.ppo.lr.n, 2);
    cr_assert_eq(b.ppo.lr.step[1], 100000);
    cr_assert_eq(b.ppo.lr.value[0], 1e-3);
    cr_assert_eq(b.ppo.num_epochs, 20);
    cr_assert_eq(b.common.stop.n, 2);
    cr_assert_str_eq(b.common.stop.at[1].name, "evaluation/episode_return_mean");
    cr_assert_eq(b.common.stop.at[0].number, 1e5);
    cr_assert_null(b.common.stop.at[0].text);
    cr_assert_str_eq(b.common.stop.at[1].mark, "x.yaml:9:45");
    bound_deinit(&b);
}

Test(config, takes_defaults_for_what_is_not_given) {
    BIND_OK(b, "env: CartPole-v1\n");
    cr_assert_str_eq(b.common.algorithm, "ppo");
    cr_assert_eq(b.common.seed, 1);
    cr_assert_eq(b.common.device, 0);
    cr_assert_eq(b.common.hiddens.n, 2);
    cr_assert_eq(b.common.stop.n, 0);
    cr_assert_eq(b.ppo.gamma, 0.99);
    cr_assert_eq(b.ppo.lr.n, 1);
    cr_assert_eq(b.ppo.lr.value[0], 3e-4);
    cr_assert_not(sk_config_given(b.cfg, "training.gamma"));
    cr_assert(sk_config_given(b.cfg, "env.name"));
    cr_assert_str_eq(sk_config_mark(b.cfg, "env.name"), "x.yaml:1:1");
    cr_assert_str_eq(sk_config_mark(b.cfg, "training.gamma"), "x.yaml");
    bound_deinit(&b);
}

Test(config, takes_an_empty_section_and_an_empty_map) {
    BIND_OK(b, "env: {name: A}\ntraining:\nstop:\nmodel: {}\n");
    cr_assert_eq(b.ppo.gamma, 0.99);
    cr_assert_eq(b.common.stop.n, 0);
    bound_deinit(&b);
}

Test(config, binds_again_to_fresh_structs) {
    BIND_OK(b, example);
    common               second;
    const sk_config_part parts[2] = {{common_keys, SK_COUNT(common_keys), &second}, b.parts[1]};
    cr_assert_eq(sk_config_bind(b.cfg, parts, 2, NULL), SK_OK);
    cr_assert_eq(second.seed, 7);
    cr_assert_str_eq(second.env_name, "CartPole-v1");
    bound_deinit(&b);
}

/* --- unknown and missing keys --- */

Test(config, names_the_nearest_sibling_of_an_unknown_key) {
    refuses("x.yaml:4:3: unknown key \"env_runners.num_env_runer\"; did you mean "
            "\"env_runners.num_env_runners\"?",
            "env: A\n\nenv_runners:\n  num_env_runer: 1\n");
    refuses("x.yaml:2:1: unknown key \"env_runer\"; did you mean \"env_runners\"?",
            "env: A\nenv_runer: {}\n");
    refuses("x.yaml:1:16: unknown key \"env.plugn\"; did you mean \"env.plugin\"?",
            "env: {name: A, plugn: b}\n");
}

Test(config, names_a_key_of_another_section) {
    refuses("x.yaml:1:1: unknown key \"gamma\"; did you mean \"training.gamma\"?", "gamma: 0.9\nenv: A\n");
    refuses("x.yaml:1:1: unknown key \"fcnet_hidden\"; did you mean \"model.fcnet_hiddens\"?",
            "fcnet_hidden: 1\n");
    refuses("x.yaml:1:9: unknown key \"model.seed\"; did you mean \"seed\"?", "model: {seed: 1}\n");
}

Test(config, names_nothing_when_nothing_is_near) {
    refuses("x.yaml:1:1: unknown key \"zzzzzzzzzz\"", "zzzzzzzzzz: 1\n");
}

Test(config, says_that_dots_do_not_nest_in_a_file) {
    refuses("x.yaml:1:1: unknown key \"training.gamma\"; dots do not nest in a file, write \"a: {b: "
            "...}\" "
            "for a.b",
            "training.gamma: 0.9\n");
}

Test(config, says_what_is_missing) {
    refuses("x.yaml: the key \"env.name\" is missing, wanted a string (Registered name.)", "seed: 1\n");
    refuses("x.yaml:2:19: training.gamma has no value, it must be a number in [0, 1]", /* "~" is a null too */
            "env: A\ntraining: {gamma: ~}\n");
    refuses("x.yaml:3:3: training.gamma has no value, it must be a number in [0, 1]",
            "env: A\ntraining:\n  gamma:\n");
    refuses("x.yaml:1:1: algorithm has no value, it must be a string", "algorithm:\nenv: A\n");
}

Test(config, wants_a_map_for_a_section) {
    refuses("x.yaml:1:14: env_runners must be a map of keys, got 3", "env_runners: 3\n");
    refuses("x.yaml:1:14: env_runners must be a map of keys, got a list", "env_runners: [3]\n");
    refuses("x.yaml:1:6: env must be a map of keys or a string, got a list", "env: [A]\n");
}

/* --- types --- */

Test(config, refuses_what_is_no_integer) {
    refuses_value("7: seed must be an integer >= 0, got 1.5", "seed", "1.5");
    refuses_value("7: seed must be an integer >= 0, got \"1_000\"", "seed", "1_000");
    refuses_value("7: seed must be an integer >= 0, got \"0x10\"", "seed", "0x10");
    refuses_value("7: seed must be an integer >= 0, got \".nan\"", "seed", ".nan");
    refuses_value("7: seed must be an integer >= 0, got \".inf\"", "seed", ".inf");
    refuses_value("7: seed must be an integer >= 0, got \"true\"", "seed", "true");
    refuses_value("7: seed must be an integer >= 0, got \"5\" in quotes, which make it a string", "seed",
                  "\"5\"");
    refuses_value("7: seed must be an integer >= 0, got 9223372036854775808", "seed", "9223372036854775808");
    refuses_value("7: seed must be an integer >= 0, got 1e19", "seed", "1e19");
    refuses_value("7: seed must be an integer >= 0, got 1e-1", "seed", "1e-1");
    refuses_value("7: seed must be an integer >= 0, got 1e99999999999999999999", "seed",
                  "1e99999999999999999999");
    refuses_value("7: seed must be an integer >= 0, got -1", "seed", "-1");
    refuses_value("7: seed must be an integer >= 0, got a list", "seed", "[1]");
    refuses_value("7: seed must be an integer >= 0, got a map", "seed", "{a: 1}");
}

Test(config, takes_integers_in_any_exact_notation) {
    static const struct {
        const char *text;
        int64_t     want;
    } cases[] = {{"0", 0},
                 {"-0", 0},
                 {"+5", 5},
                 {"007", 7},
                 {"1e5", 100000},
                 {"1.0e5", 100000},
                 {"1E+5", 100000},
                 {"100.000", 100},
                 {"2.50e1", 25},
                 {"12000e-3", 12},
                 {"0.5e1", 5},
                 {"10203.04e2", 1020304},
                 {"0e999999999", 0},
                 {"1000000000000000000e-18", 1},
                 {"9223372036854775807", INT64_MAX},
                 {"9223372036854775.807e3", INT64_MAX},
                 {"9007199254740993.0", 9007199254740993}};
    for (int i = 0; i < SK_COUNT(cases); i++) {
        char text[80];
        snprintf(text, sizeof text, "env: A\nseed: %s\n", cases[i].text);
        BIND_OK(b, text);
        cr_assert_eq(b.common.seed, cases[i].want, "%s gave %ld", cases[i].text, (long)b.common.seed);
        bound_deinit(&b);
    }
}

Test(config, takes_the_least_integer) {
    int64_t        value = 0;
    const sk_key   key = {"x", SK_KEY_INT, 0, NULL, .help = ""};
    sk_config_part part = {&key, 1, &value};
    sk_config     *cfg = NULL;
    cr_assert_eq(sk_config_parse("x: -9223372036854775808", "x.yaml", NULL, 0, &cfg, NULL), SK_OK);
    cr_assert_eq(sk_config_bind(cfg, &part, 1, NULL), SK_OK);
    cr_assert_eq(value, INT64_MIN);
    sk_config_destroy(&cfg);
    sk_error error;
    cr_assert_eq(sk_config_parse("x: -9223372036854775809", "x.yaml", NULL, 0, &cfg, NULL), SK_OK);
    cr_assert_eq(sk_config_bind(cfg, &part, 1, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg, "x.yaml:1:4: x must be an integer, got -9223372036854775809");
    sk_config_destroy(&cfg);
}

Test(config, refuses_what_is_no_number) {
    refuses("x.yaml:3:10: training.gamma must be a number in [0, 1], got \"abc\"",
            "env: A\ntraining:\n  gamma: abc\n");
    refuses("x.yaml:1:19: training.gamma must be a number in [0, 1], got 2", "training: {gamma: 2}\n");
    refuses("x.yaml:1:19: training.gamma must be a number in [0, 1], got -0.1", "training: {gamma: -0.1}\n");
    refuses("x.yaml:1:19: training.gamma must be a number in [0, 1], got \".nan\"",
            "training: {gamma: .nan}\n");
    refuses("x.yaml:1:19: training.gamma must be a number in [0, 1], got \"inf\"",
            "training: {gamma: inf}\n");
    refuses("x.yaml:1:19: training.gamma must be a number in [0, 1], got \"1e\"", "training: {gamma: 1e}\n");
    refuses("x.yaml:1:16: training.lr must be a number >= 0 or a list of at most 16 [env step, number], got "
            "1e999",
            "training: {lr: 1e999}\n");
    refuses("x.yaml:1:19: training.gamma must be a number in [0, 1], got \"0.5\" in quotes, which make it a "
            "string",
            "training: {gamma: '0.5'}\n");
}

Test(config, takes_numbers_in_any_notation) {
    static const struct {
        const char *text;
        double      want;
    } cases[] = {{"1", 1},       {"0", 0},         {".5", 0.5},    {"1.", 1},
                 {"1e-3", 1e-3}, {"1.0E-3", 1e-3}, {"+0.25", 0.25}};
    for (int i = 0; i < SK_COUNT(cases); i++) {
        char text[80];
        snprintf(text, sizeof text, "env: A\ntraining: {gamma: %s}\n", cases[i].text);
        BIND_OK(b, text);
        cr_assert_eq(b.ppo.gamma, cases[i].want, "%s gave %g", cases[i].text, b.ppo.gamma);
        bound_deinit(&b);
    }
}

Test(config, reads_decimal_points_in_any_locale) {
    /* Only where such a locale is installed; otherwise this is the plain case. */
    setlocale(LC_NUMERIC, "de_DE.UTF-8");
    BIND_OK(b, "env: A\ntraining: {gamma: 0.25}\n");
    cr_assert_eq(b.ppo.gamma, 0.25);
    bound_deinit(&b);
}

Test(config, takes_true_and_false_only) {
    refuses("x.yaml:1:26: model.vf_share_layers must be true or false, got \"yes\", which YAML 1.2 takes for "
            "a plain "
            "word",
            "model: {vf_share_layers: yes}\n");
    refuses("x.yaml:1:26: model.vf_share_layers must be true or false, got \"off\", which YAML 1.2 takes for "
            "a plain "
            "word",
            "model: {vf_share_layers: off}\n");
    refuses("x.yaml:1:26: model.vf_share_layers must be true or false, got 1",
            "model: {vf_share_layers: 1}\n");
    refuses("x.yaml:1:26: model.vf_share_layers must be true or false, got \"true\" in quotes, which make it "
            "a string",
            "model: {vf_share_layers: \"true\"}\n");
}

Test(config, takes_one_of_the_choices) {
    refuses_value("9: device must be one of auto, cpu, cuda, got \"gpu\"", "device", "gpu");
    refuses_value("9: device must be one of auto, cpu, cuda, got \"cud\"", "device", "cud");
    refuses_value("9: device must be one of auto, cpu, cuda, got \"auto|cpu\"", "device", "auto|cpu");
    BIND_OK(b, "env: A\ndevice: \"cuda\"\n");
    cr_assert_eq(b.common.device, 2);
    bound_deinit(&b);
}

Test(config, keeps_any_scalar_of_a_string_key_as_text) {
    BIND_OK(b, "env: 1.50\nalgorithm: \"null\"\n");
    cr_assert_str_eq(b.common.env_name, "1.50");
    cr_assert_str_eq(b.common.algorithm, "null");
    bound_deinit(&b);
    refuses_value("12: algorithm must be a string, got a list", "algorithm", "[ppo]");
}

Test(config, checks_each_element_of_a_list) {
    refuses("x.yaml:1:29: model.fcnet_hiddens[1] must be an integer in [1, 4096], got 0",
            "model: {fcnet_hiddens: [64, 0]}\n");
    refuses("x.yaml:1:29: model.fcnet_hiddens[1] must be an integer in [1, 4096], got \"x\"",
            "model: {fcnet_hiddens: [64, x]}\n");
    refuses("x.yaml:1:24: model.fcnet_hiddens must be a list of at most 16 integers in [1, 4096], got 64",
            "model: {fcnet_hiddens: 64}\n");
    refuses("x.yaml:1:57: model.fcnet_hiddens has more than 16 elements",
            "model: {fcnet_hiddens: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}\n");
    BIND_OK(b, "env: A\nmodel: {fcnet_hiddens: []}\n");
    cr_assert_eq(b.common.hiddens.n, 0);
    bound_deinit(&b);
}

Test(config, checks_each_point_of_a_schedule) {
    refuses("x.yaml:1:27: training.lr[1] must be [env step, number] with a step > 5 (steps rise), got 5",
            "training: {lr: [[5, 1], [ 5, 0]]}\n");
    refuses("x.yaml:1:18: training.lr[0] must be [env step, number] with a step >= 0, got -1",
            "training: {lr: [[-1, 1]]}\n");
    refuses("x.yaml:1:21: training.lr[0] must be [env step, number] with a number >= 0, got -1",
            "training: {lr: [[0, -1]]}\n");
    refuses("x.yaml:1:17: training.lr[0] must be [env step, number], got a list",
            "training: {lr: [[0, 1, 2]]}\n");
    refuses("x.yaml:1:17: training.lr[0] must be [env step, number], got 0", "training: {lr: [0, 1]}\n");
    refuses("x.yaml:1:16: training.lr is an empty list, wanted a number or [env step, number] points",
            "training: {lr: []}\n");
    refuses("x.yaml:1:16: training.lr must be a number >= 0 or a list of at most 16 [env step, number], got "
            "\"fast\"",
            "training: {lr: fast}\n");
}

Test(config, refuses_too_many_points) {
    char text[512] = "training: {lr: [";
    for (int i = 0; i <= SK_LIST_MAX; i++) sprintf(text + strlen(text), "[%d, 1], ", i);
    strcat(text, "]}\n");
    bound b;
    bound_init(&b, text, 0, NULL);
    cr_assert_eq(b.status, SK_ECONFIG);
    cr_assert(strstr(b.error.msg, "training.lr has more than 16 points"), "%s", b.error.msg);
    bound_deinit(&b);
}

Test(config, checks_each_entry_of_a_map) {
    refuses_value("11: stop: \"a\" must be a number, got \"b\"", "stop", "{a: b}");
    refuses_value("8: stop: \"a\" has no value, it must be a number", "stop", "{a: }");
    refuses_value("7: stop must be a map of at most 32 numbers, got 5", "stop", "5");
    refuses("x.yaml:1:28: env.config: \"a\" must be a string, got a list",
            "env: {name: A, config: {a: [1]}}\n");
    BIND_OK(b, "env: {name: A, config: {a: 1.50, \"b.c\": \"\", d: true}}\n");
    cr_assert_eq(b.common.env_config.n, 3);
    cr_assert_str_eq(b.common.env_config.at[0].text, "1.50");
    cr_assert_str_eq(b.common.env_config.at[1].name, "b.c");
    cr_assert_str_eq(b.common.env_config.at[1].text, "");
    cr_assert_str_eq(b.common.env_config.at[2].text, "true");
    bound_deinit(&b);
}

Test(config, refuses_too_many_entries) {
    char text[512] = "env: A\nstop:\n";
    for (int i = 0; i <= SK_PAIRS_MAX; i++) sprintf(text + strlen(text), "  a%d: 1\n", i);
    refuses("x.yaml:35:3: stop has more than 32 entries", text);
}

/* --- the shorthand and overrides --- */

Test(config, takes_a_scalar_or_a_map_where_a_shorthand_allows) {
    BIND_OK(a, "env: {name: A, plugin: ./a.so}\n");
    cr_assert_str_eq(a.common.env_name, "A");
    cr_assert_str_eq(a.common.env_plugin, "./a.so");
    bound_deinit(&a);
    BIND_OK_WITH(b, "env: {name: A, plugin: ./a.so}\n", "env=Pendulum-v1");
    cr_assert_str_eq(b.common.env_name, "Pendulum-v1");
    cr_assert_str_eq(b.common.env_plugin, "", "an override replaces maps");
    bound_deinit(&b);
}

Test(config, turns_a_scalar_into_a_map_when_an_override_goes_below_it) {
    BIND_OK_WITH(a, "env: A\n", "env.plugin=./a.so");
    cr_assert_str_eq(a.common.env_name, "A");
    cr_assert_str_eq(a.common.env_plugin, "./a.so");
    cr_assert_str_eq(sk_config_mark(a.cfg, "env.name"), "x.yaml:1:1");
    cr_assert_str_eq(sk_config_mark(a.cfg, "env.plugin"), "override \"env.plugin=./a.so\"");
    bound_deinit(&a);
    BIND_OK_WITH(b, "env: A\n", "env.name=B", "env.config.length=0.5", "env.config.mass=2");
    cr_assert_str_eq(b.common.env_name, "B");
    cr_assert_eq(b.common.env_config.n, 2);
    cr_assert_str_eq(b.common.env_config.at[1].text, "2");
    bound_deinit(&b);
    refuses_with("x.yaml:2:11: training must be a map of keys, got 5", "env: A\ntraining: 5\n",
                 "training.gamma=0.5");
    refuses_with("x.yaml:2:7: stop must be a map of at most 32 numbers, got 5", "env: A\nstop: 5\n",
                 "stop.a=1");
    refuses_with("override \"env.name=A\": \"env\" is a list (x.yaml:1:6), wanted a map", "env: [A]\n",
                 "env.name=A");
}

Test(config, applies_overrides_in_order) {
    BIND_OK_WITH(b, example, "training.gamma=0.5", "training.gamma=0.25",
                 "stop={num_env_steps_sampled_lifetime: 1000}", "model.fcnet_hiddens=[8]",
                 "training.lr=[[0, 1], [10, 0.5]]", " seed =3");
    cr_assert_eq(b.ppo.gamma, 0.25);
    cr_assert_eq(b.common.stop.n, 1);
    cr_assert_eq(b.common.stop.at[0].number, 1000);
    cr_assert_eq(b.common.hiddens.n, 1);
    cr_assert_eq(b.ppo.lr.value[1], 0.5);
    cr_assert_eq(b.common.seed, 3);
    cr_assert_eq(b.ppo.num_epochs, 20, "the rest of the section stays");
    cr_assert_str_eq(b.common.stop.at[0].mark, "override \"stop={num_env_steps_sampled_lifetime: 1000}\"");
    bound_deinit(&b);
}

Test(config, makes_missing_maps_for_an_override) {
    BIND_OK_WITH(b, "{}", "env=A", "training.gamma=0.5", "stop.evaluation/episode_return_mean=475");
    cr_assert_eq(b.ppo.gamma, 0.5);
    cr_assert_str_eq(b.common.stop.at[0].name, "evaluation/episode_return_mean");
    cr_assert(sk_config_given(b.cfg, "training.gamma"));
    bound_deinit(&b);
}

Test(config, names_the_override_that_is_wrong) {
    refuses_with("override \"training.gamma=2\": training.gamma must be a number in [0, 1], got 2",
                 "env: A\n", "training.gamma=2");
    refuses_with(
        "override \"training.gama=1\": unknown key \"training.gama\"; did you mean \"training.gamma\"?",
        "env: A\n", "training.gama=1");
    refuses_with("override \"training.gamma=\": training.gamma has no value, it must be a number in [0, 1]",
                 "env: A\n", "training.gamma=");
    refuses_with("override \"stop={a: b}\": stop: \"a\" must be a number, got \"b\"", "env: A\n",
                 "stop={a: b}");
    refuses_with("override \"seed=[1\": YAML: flow sequence without a closing bracket", "env: A\n",
                 "seed=[1");
    refuses_with("override \"seed\": wanted key.path=value, such as training.gamma=0.99", "env: A\n", "seed");
    refuses_with("override \"=1\": wanted key.path=value, such as training.gamma=0.99", "env: A\n", "=1");
    refuses_with("override \"a..b=1\": the path has an empty or overlong name, wanted key.path=value",
                 "env: A\n", "a..b=1");
    refuses_with("override \"a.=1\": the path has an empty or overlong name, wanted key.path=value",
                 "env: A\n", "a.=1");
    refuses_with("override \"stop.\xff=1\": byte 0xff is not text, wanted UTF-8", "env: A\n", "stop.\xff=1");
    refuses_with("override \"seed=\xff\": byte 0xff is not text, wanted UTF-8", "env: A\n", "seed=\xff");
}

/* --- peek --- */

Test(config, peeks_before_binding) {
    sk_config *cfg = NULL;
    sk_error   error;
    char       text[8] = "";
    cr_assert_eq(sk_config_parse("algorithm: sac\ntraining: {a: 1}\nlong: 12345678\nnull: \n", "x.yaml", NULL,
                                 0, &cfg, &error),
                 SK_OK);
    cr_assert_eq(sk_config_peek(cfg, "algorithm", "ppo", text, sizeof text, &error), SK_OK);
    cr_assert_str_eq(text, "sac");
    cr_assert_eq(sk_config_peek(cfg, "training.a", "ppo", text, sizeof text, &error), SK_OK);
    cr_assert_str_eq(text, "1");
    cr_assert_eq(sk_config_peek(cfg, "nothing.here", "ppo", text, sizeof text, &error), SK_OK);
    cr_assert_str_eq(text, "ppo");
    cr_assert_eq(sk_config_peek(cfg, "training", "ppo", text, sizeof text, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg, "x.yaml:2:11: training must be a single word or number, got a map");
    cr_assert_eq(sk_config_peek(cfg, "long", "ppo", text, sizeof text, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg, "x.yaml:3:7: long has 8 bytes, wanted at most 7");
    cr_assert_eq(sk_config_peek(cfg, "null", "ppo", text, sizeof text, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg, "x.yaml:4:1: null has no value");
    cr_assert_eq(sk_config_peek(cfg, "nothing", NULL, text, sizeof text, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg, "x.yaml: \"nothing\" must be given");
    cr_assert_str_eq(text, "ppo", "a failed peek writes nothing");
    sk_config_destroy(&cfg);
    sk_config_destroy(&cfg);
    sk_config_destroy(NULL);
}

/* --- files --- */

Test(config, reads_a_file_and_says_why_it_cannot) {
    char dir[] = "/tmp/skiff-test-XXXXXX", path[64], want[160];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/c.yaml", dir);
    FILE *file = fopen(path, "w");
    fputs(example, file);
    fclose(file);
    sk_config *cfg = NULL;
    sk_error   error;
    cr_assert_eq(sk_config_open(path, NULL, 0, &cfg, &error), SK_OK, "%s", error.msg);
    snprintf(want, sizeof want, "%s:3:1", path);
    cr_assert_str_eq(sk_config_mark(cfg, "seed"), want);
    sk_config_destroy(&cfg);
    remove(path);
    cr_assert_eq(sk_config_open(path, NULL, 0, &cfg, &error), SK_EIO);
    snprintf(want, sizeof want, "%s: cannot be opened: No such file or directory", path);
    cr_assert_str_eq(error.msg, want);
    cr_assert_eq(sk_config_open(dir, NULL, 0, &cfg, &error), SK_EIO);
    snprintf(want, sizeof want, "%s: cannot be read: Is a directory", dir);
    cr_assert_str_eq(error.msg, want);
    cr_assert_null(cfg);
    rmdir(dir);
}

Test(config, refuses_an_endless_file) {
    sk_config *cfg = NULL;
    sk_error   error;
    cr_assert_eq(sk_config_open("/dev/zero", NULL, 0, &cfg, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg, "/dev/zero: longer than 1048576 bytes, which no configuration is");
}

/* --- tables --- */

Test(config, names_a_broken_default) {
    double         value = 5;
    const sk_key   key = {"x", SK_KEY_FLOAT, 0, "high", .help = ""};
    sk_config_part part = {&key, 1, &value};
    sk_config     *cfg = NULL;
    sk_error       error;
    cr_assert_eq(sk_config_parse("{}", "x.yaml", NULL, 0, &cfg, &error), SK_OK);
    cr_assert_eq(sk_config_bind(cfg, &part, 1, &error), SK_ECONFIG);
    cr_assert_str_eq(error.msg, "default of x: x must be a number, got \"high\"");
    cr_assert_eq(value, 5);
    sk_config_destroy(&cfg);
}

/* --- schedules and names --- */

Test(schedule, is_linear_between_and_constant_outside) {
    const sk_schedule s = {3, {100, 200, 400}, {1, 0.5, 2}};
    cr_assert_eq(sk_schedule_at(&s, 0), 1);
    cr_assert_eq(sk_schedule_at(&s, 100), 1);
    cr_assert_eq(sk_schedule_at(&s, 150), 0.75);
    cr_assert_eq(sk_schedule_at(&s, 200), 0.5);
    cr_assert_eq(sk_schedule_at(&s, 300), 1.25);
    cr_assert_eq(sk_schedule_at(&s, 400), 2);
    cr_assert_eq(sk_schedule_at(&s, 1e12), 2);
    const sk_schedule one = {1, {0}, {0.25}};
    cr_assert_eq(sk_schedule_at(&one, 0), 0.25);
    cr_assert_eq(sk_schedule_at(&one, 1e9), 0.25);
}

Test(nearest_name, allows_a_third_of_the_length_and_one) {
    static const char *const names[] = {"gamma", "lambda", "num_epochs"};
    cr_assert_str_eq(sk_nearest_name("gama", names, 3), "gamma");
    cr_assert_str_eq(sk_nearest_name("lamda", names, 3), "lambda");
    cr_assert_str_eq(sk_nearest_name("num_epoch", names, 3), "num_epochs");
    cr_assert_str_eq(sk_nearest_name("epochs", names, 3) ? "near" : "none", "none", "4 edits of 6");
    cr_assert_str_eq(sk_nearest_name("gxmmx", names, 3), "gamma", "2 edits of 5");
    cr_assert_null(sk_nearest_name("gxxmx", names, 3), "3 edits of 5");
    cr_assert_null(sk_nearest_name("", names, 3));
    cr_assert_null(sk_nearest_name("gamma", NULL, 0));
    char lengthy[4096];
    memset(lengthy, 'g', sizeof lengthy);
    lengthy[sizeof lengthy - 1] = '\0';
    cr_assert_null(sk_nearest_name(lengthy, names, 3));
    const char *const also[] = {lengthy, "gamma"};
    cr_assert_str_eq(sk_nearest_name("gamme", also, 2), "gamma");
}
