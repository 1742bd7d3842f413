/* config_fixture: a schema in two parts, like the common keys and an algorithm's, for the config tests. */
#ifndef SK_TESTS_CONFIG_FIXTURE_H
#define SK_TESTS_CONFIG_FIXTURE_H
#include "core/base/config.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

typedef struct common {
    const char *algorithm, *env_name, *env_plugin;
    sk_pairs    env_config, stop;
    int64_t     seed, n_runners;
    int         device;
    sk_int_list hiddens;
} common;

typedef struct ppo {
    double      gamma;
    sk_schedule lr;
    int64_t     num_epochs;
    bool        vf_share_layers;
} ppo;

static const sk_key common_keys[] = {
    {"algorithm", SK_KEY_STRING, offsetof(common, algorithm), "ppo", .help = "What learns."},
    {"env.name", SK_KEY_STRING, offsetof(common, env_name), NULL, .help = "Registered name.",
     .shorthand = "env"},
    {"env.plugin", SK_KEY_STRING, offsetof(common, env_plugin), "", .help = "Shared library."},
    {"env.config", SK_KEY_STRINGS, offsetof(common, env_config), "{}", .help = "For the environment."},
    {"seed", SK_KEY_INT, offsetof(common, seed), "1", 0, (double)INT64_MAX, .help = "Of everything."},
    {"device", SK_KEY_ENUM, offsetof(common, device), "auto", .choices = "auto|cpu|cuda", .help = "Where."},
    {"env_runners.num_env_runners", SK_KEY_INT, offsetof(common, n_runners), "2", 0, 1024, .help = "Actors."},
    {"model.fcnet_hiddens", SK_KEY_LIST, offsetof(common, hiddens), "[64, 64]", 1, 4096, .unit = "units",
     .help = "Widths."},
    {"stop", SK_KEY_NUMBERS, offsetof(common, stop), "", .help = "First one met ends the run."},
};
static const sk_key ppo_keys[] = {
    {"training.gamma", SK_KEY_FLOAT, offsetof(ppo, gamma), "0.99", 0, 1, .help = "Discount."},
    {"training.lr", SK_KEY_SCHEDULE, offsetof(ppo, lr), "3e-4", 0, INFINITY, .help = "Step size | rate."},
    {"model.vf_share_layers", SK_KEY_BOOL, offsetof(ppo, vf_share_layers), "false", .help = "One trunk."},
    {"training.num_epochs", SK_KEY_INT, offsetof(ppo, num_epochs), "10", 1, 1000, .help = "Passes."},
};

typedef struct bound {
    sk_config     *cfg; /* owns the strings */
    common         common;
    ppo            ppo;
    sk_config_part parts[2];
    sk_error       error;
    sk_status      status;
} bound;

/* Parse and bind; the status and error say how far it came. Release with bound_deinit. */
static inline void bound_init(bound *self, const char *text, int n_overrides, const char *const *overrides) {
    *self = (bound){0};
    memset(&self->common, 0x5a, sizeof self->common); /* to see what a failed bind touches */
    memset(&self->ppo, 0x5a, sizeof self->ppo);
    self->parts[0] = (sk_config_part){common_keys, SK_COUNT(common_keys), &self->common};
    self->parts[1] = (sk_config_part){ppo_keys, SK_COUNT(ppo_keys), &self->ppo};
    self->status = sk_config_parse(text, "x.yaml", overrides, n_overrides, &self->cfg, &self->error);
    if (self->status == SK_OK) self->status = sk_config_bind(self->cfg, self->parts, 2, &self->error);
}

static inline void bound_deinit(bound *self) { sk_config_destroy(&self->cfg); }

#endif
