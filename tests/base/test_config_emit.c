#include "config_fixture.h"

#include "core/base/rng.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

Test(config_emit, writes_nested_yaml_grouped_by_section) {
    bound b;
    bound_init(&b,
               "env: {name: \"my env\", config: {a: \"x: y\", \"b c\": 1.50}}\ntraining: {lr: [[0, 1e-3], "
               "[100000, 0]]}\n"
               "stop: {evaluation/episode_return_mean: 475}\nmodel: {fcnet_hiddens: []}\n",
               0, NULL);
    cr_assert_eq(b.status, SK_OK, "%s", b.error.msg);
    char *text = NULL;
    cr_assert_eq(sk_config_emit(b.parts, 2, &text, &b.error), SK_OK, "%s", b.error.msg);
    cr_assert_str_eq(text, "algorithm: ppo\n"
                           "env:\n"
                           "  name: \"my env\"\n"
                           "  plugin: \"\"\n"
                           "  config:\n"
                           "    a: \"x: y\"\n"
                           "    \"b c\": 1.50\n"
                           "seed: 1\n"
                           "device: auto\n"
                           "env_runners:\n"
                           "  num_env_runners: 2\n"
                           "model:\n"
                           "  fcnet_hiddens: []\n"
                           "  vf_share_layers: false\n"
                           "stop:\n"
                           "  evaluation/episode_return_mean: 475\n"
                           "training:\n"
                           "  gamma: 0.99\n"
                           "  lr: [[0, 0.001], [100000, 0]]\n"
                           "  num_epochs: 10\n");
    free(text);
    bound_deinit(&b);
}

Test(config_emit, writes_an_empty_map_for_no_keys) {
    char *text = NULL;
    cr_assert_eq(sk_config_emit(NULL, 0, &text, NULL), SK_OK);
    cr_assert_str_eq(text, "{}\n");
    free(text);
}

Test(config_emit, refuses_values_that_no_file_can_hold) {
    bound b;
    bound_init(&b, "env: A\n", 0, NULL);
    char *text = NULL;
    b.ppo.gamma = NAN;
    cr_assert_eq(sk_config_emit(b.parts, 2, &text, &b.error), SK_EINVAL);
    cr_assert_str_eq(b.error.msg, "training.gamma is nan, which no configuration can hold");
    b.ppo.gamma = 0.5;
    b.common.device = 3;
    cr_assert_eq(sk_config_emit(b.parts, 2, &text, &b.error), SK_EINVAL);
    cr_assert_str_eq(b.error.msg, "device is choice 3, wanted one of auto|cpu|cuda");
    b.common.device = 0;
    b.common.algorithm = "\xff";
    cr_assert_eq(sk_config_emit(b.parts, 2, &text, &b.error), SK_EINVAL);
    cr_assert_str_eq(b.error.msg, "algorithm is not UTF-8 and cannot be written as YAML");
    b.common.algorithm = NULL; /* taken for "" */
    b.ppo.lr.n = 0;
    cr_assert_eq(sk_config_emit(b.parts, 2, &text, &b.error), SK_EINVAL);
    cr_assert_str_eq(b.error.msg, "training.lr has 0 points, wanted 1 to 16");
    cr_assert_null(text);
    bound_deinit(&b);
}

Test(config_emit, writes_the_reference_as_a_table) {
    const sk_config_part part = {ppo_keys, 3, NULL}, env = {common_keys, 3, NULL};
    char                *text = NULL;
    cr_assert_eq(sk_config_reference(&part, 1, &text, NULL), SK_OK);
    cr_assert_str_eq(text, "| key | type | default | range | unit | meaning |\n|---|---|---|---|---|---|\n"
                           "| `training.gamma` | number | `0.99` | in [0, 1] |  | Discount. |\n"
                           "| `training.lr` | number or schedule | `3e-4` | >= 0 |  | Step size \\| rate. |\n"
                           "| `model.vf_share_layers` | bool | `false` |  |  | One trunk. |\n");
    free(text);
    cr_assert_eq(sk_config_reference(&env, 1, &text, NULL), SK_OK);
    cr_assert(strstr(
        text, "| `env.name` | string | required |  |  | Registered name. Short form: `env: VALUE`. |\n"));
    cr_assert(strstr(text, "| `env.plugin` | string | `\"\"` |  |  | Shared library. |\n"));
    free(text);
}

/* --- bind(emit(x)) == x for random x --- */

typedef struct draw {
    uint64_t stream, counter;
} draw;

static uint64_t next_u64(draw *d) {
    uint32_t words[4];
    sk_philox(11, d->stream, d->counter++, words);
    return (uint64_t)words[0] << 32 | words[1];
}

static int below(draw *d, int n) { return (int)(next_u64(d) % (uint64_t)n); }

/* Any finite double: random bits, or a short decimal number as people write them. */
static double any_number(draw *d) {
    if (below(d, 2)) return (double)(int64_t)(next_u64(d) % 2000001 - 1000000) / 1000;
    for (;;) {
        uint64_t bits = next_u64(d);
        double   number;
        memcpy(&number, &bits, sizeof number);
        if (isfinite(number)) return number;
    }
}

/* A text of characters that YAML is touchy about, and of others; never a NUL. Static storage by `at`. */
static const char *any_text(draw *d, int at) {
    static char              texts[128][80];
    static const char *const pieces[] = {"a",
                                         "Z",
                                         "9",
                                         " ",
                                         ":",
                                         "#",
                                         "-",
                                         "'",
                                         "\"",
                                         "\\",
                                         "\n",
                                         "\r",
                                         "\t",
                                         "\x01",
                                         "\x7f",
                                         "{",
                                         "]",
                                         ",",
                                         "&",
                                         "*",
                                         "!",
                                         "|",
                                         ">",
                                         "%",
                                         "@",
                                         "`",
                                         "~",
                                         "=",
                                         ".",
                                         "\xc3\xa4",
                                         "\xc2\x85",
                                         "\xc2\xa0",
                                         "\xe2\x80\xa8",
                                         "\xe2\x80\xa9",
                                         "\xef\xbb\xbf",
                                         "\xef\xbf\xbf",
                                         "\xf0\x9f\x9b\xb6",
                                         "null",
                                         "true",
                                         "<<",
                                         "\xc2\x80",
                                         "\xed\x9f\xbf",
                                         "---",
                                         "..."};
    texts[at][0] = '\0';
    for (int n = below(d, 8); n > 0; n--) strcat(texts[at], pieces[below(d, SK_COUNT(pieces))]);
    return texts[at];
}

static void any_pairs(draw *d, sk_pairs *pairs, bool numbers, int at) {
    memset(pairs, 0, sizeof *pairs);
    for (int want = below(d, 9); pairs->n < want;) {
        const char *name = any_text(d, at + 2 * pairs->n);
        bool        twin = false;
        for (int i = 0; i < pairs->n; i++) twin = twin || !strcmp(pairs->at[i].name, name);
        if (twin) continue;
        pairs->at[pairs->n].name = name;
        if (numbers)
            pairs->at[pairs->n].number = any_number(d);
        else
            pairs->at[pairs->n].text = any_text(d, at + 2 * pairs->n + 1);
        pairs->n++;
    }
}

static void any_values(draw *d, common *c, ppo *p) {
    memset(c, 0, sizeof *c);
    memset(p, 0, sizeof *p);
    c->algorithm = any_text(d, 0);
    c->env_name = any_text(d, 1);
    c->env_plugin = any_text(d, 2);
    any_pairs(d, &c->env_config, false, 3);
    any_pairs(d, &c->stop, true, 30);
    c->seed = (int64_t)(next_u64(d) >> 1 >> below(d, 63));
    c->n_runners = below(d, 1025);
    c->device = below(d, 3);
    c->hiddens.n = below(d, SK_LIST_MAX + 1);
    for (int i = 0; i < c->hiddens.n; i++) c->hiddens.v[i] = 1 + below(d, 4096);
    p->gamma = (double)(next_u64(d) >> 11) * 0x1p-53;
    p->lr.n = 1 + below(d, SK_LIST_MAX);
    for (int i = 0; i < p->lr.n; i++) {
        p->lr.step[i] = (i > 0 ? p->lr.step[i - 1] : 0) + (i > 0) + below(d, 1000000) * (below(d, 4) > 0);
        p->lr.value[i] = fabs(any_number(d));
    }
    p->num_epochs = 1 + below(d, 1000);
    p->vf_share_layers = below(d, 2);
}

static void expect_pairs(const sk_pairs *got, const sk_pairs *want) {
    cr_assert_eq(got->n, want->n);
    for (int i = 0; i < want->n; i++) {
        cr_assert_str_eq(got->at[i].name, want->at[i].name);
        cr_assert_eq(got->at[i].number, want->at[i].number);
        cr_assert((got->at[i].text != NULL) == (want->at[i].text != NULL));
        if (want->at[i].text) cr_assert_str_eq(got->at[i].text, want->at[i].text);
    }
}

Test(config_emit, binds_back_to_the_same_values) {
    setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* a decimal comma, where installed, changes nothing */
    for (uint64_t round = 0; round < 400; round++) {
        draw   d = {.stream = sk_stream_id(SK_STREAM_TEST, round)};
        common c;
        ppo    p;
        any_values(&d, &c, &p);
        sk_config_part parts[2] = {{common_keys, SK_COUNT(common_keys), &c},
                                   {ppo_keys, SK_COUNT(ppo_keys), &p}};
        char          *text = NULL;
        sk_error       error;
        cr_assert_eq(sk_config_emit(parts, 2, &text, &error), SK_OK, "%s", error.msg);
        bound b;
        bound_init(&b, text, 0, NULL);
        cr_assert_eq(b.status, SK_OK, "%s\nin\n%s", b.error.msg, text);
        cr_assert_str_eq(b.common.algorithm, c.algorithm);
        cr_assert_str_eq(b.common.env_name, c.env_name);
        cr_assert_str_eq(b.common.env_plugin, c.env_plugin);
        expect_pairs(&b.common.env_config, &c.env_config);
        expect_pairs(&b.common.stop, &c.stop);
        cr_assert_eq(b.common.seed, c.seed);
        cr_assert_eq(b.common.n_runners, c.n_runners);
        cr_assert_eq(b.common.device, c.device);
        cr_assert_eq(memcmp(&b.common.hiddens, &c.hiddens, sizeof c.hiddens), 0);
        cr_assert_eq(b.ppo.gamma, p.gamma);
        cr_assert_eq(memcmp(&b.ppo.lr, &p.lr, sizeof p.lr), 0, "%s", text);
        cr_assert_eq(b.ppo.num_epochs, p.num_epochs);
        cr_assert_eq(b.ppo.vf_share_layers, p.vf_share_layers);
        /* And the text is a fixed point. */
        char *again = NULL;
        cr_assert_eq(sk_config_emit(b.parts, 2, &again, &error), SK_OK, "%s", error.msg);
        cr_assert_str_eq(again, text);
        free(again);
        free(text);
        bound_deinit(&b);
    }
}
