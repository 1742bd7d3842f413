/* sac_config: the keys of SAC. Names are RLlib's; defaults are Stable-Baselines3's. */
#include "algorithms/sac/sac_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(sk_sac_config, field)

const sk_key sk__sac_keys[SK__SAC_N_KEYS] = {
    SK_REPLAY_KEYS,
    {"training.actor_lr", SK_KEY_SCHEDULE, AT(actor_lr), "3.0e-4", 0.0, 1.0, .unit = "",
     .help = "Learning rate of the policy."},
    {"training.critic_lr", SK_KEY_SCHEDULE, AT(critic_lr), "3.0e-4", 0.0, 1.0, .unit = "",
     .help = "Learning rate of the action values."},
    {"training.alpha_lr", SK_KEY_SCHEDULE, AT(alpha_lr), "3.0e-4", 0.0, 1.0, .unit = "",
     .help = "Learning rate of the log of the entropy's weight."},
    {"training.tau", SK_KEY_FLOAT, AT(tau), "0.005", 0.0, 1.0, .unit = "",
     .help = "Share of the action values that their targets take over at an update."},
    {"training.target_network_update_freq", SK_KEY_INT, AT(target_network_update_freq), "1", 1, 1e9, .unit = "updates",
     .help = "Updates between updates of the targets."},
    {"training.initial_alpha", SK_KEY_FLOAT, AT(initial_alpha), "1.0", 1e-9, 1e6, .unit = "",
     .help = "Weight of the entropy at the start, or always (learn_alpha: false)."},
    {"training.learn_alpha", SK_KEY_BOOL, AT(learn_alpha), "true", .unit = "",
     .help = "Adapt that weight so that the entropy stays at target_entropy."},
    {"training.target_entropy", SK_KEY_STRING, AT(target_entropy_text), "auto", .unit = "nat",
     .help = "Entropy to keep, in [-1, 1] space; auto = minus the number of box actions, or 0.98 log of the number of "
             "choices."},
    {"training.grad_clip", SK_KEY_FLOAT, AT(grad_clip), "0", 0.0, 1e9, .unit = "",
     .help = "Largest gradient norm of each network; 0 = no clipping."},
    {"training.adam_epsilon", SK_KEY_FLOAT, AT(adam_epsilon), "1.0e-8", 1e-12, 1.0, .unit = "",
     .help = "Adam's epsilon."},
};

void sk__sac_prepare(void *own, sk_train_config *config, const sk_config *cfg) {
    (void)own;
    config->model.kind = SK_POLICY_SQUASHED;
    if (!sk_config_given(cfg, "model.fcnet_hiddens")) config->model.fcnet_hiddens = (sk_int_list){2, {256, 256}};
    if (!sk_config_given(cfg, "model.fcnet_activation")) config->model.fcnet_activation = SK_ACT_RELU;
    if (config->model.use_sde && !sk_config_given(cfg, "model.log_std_init")) config->model.log_std_init = -3.0;
}

static int is_number(const char *text, double *ret) {
    char *end = NULL;
    *ret = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*ret);
}

double sk__sac_target_entropy(const sk_sac_config *c, const sk_policy_spaces *spaces) {
    double number, choices = 0.0;
    if (is_number(c->target_entropy_text, &number)) return number;
    if (spaces->n_parts == 0) return -(double)spaces->action_slots;
    for (int i = 0; i < spaces->n_parts; i++) choices += spaces->part_n[i];
    return 0.98 * log(choices);
}

sk_status sk__sac_check(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr) {
    const sk_sac_config *c = own;
    double               number;
    SK_TRY(sk_replay_config_check(&c->replay, config, cfg, reterr));
    if (strcmp(c->target_entropy_text, "auto") != 0 && !is_number(c->target_entropy_text, &number))
        return SK_FAIL(reterr, SK_ECONFIG, "%s: training.target_entropy must be \"auto\" or a number, got \"%.60s\"",
                       sk_config_mark(cfg, "training.target_entropy"), c->target_entropy_text);
    if (config->model.vf_share_layers)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: model.vf_share_layers is not for sac: policy and action values "
                       "learn apart", sk_config_mark(cfg, "model.vf_share_layers"));
    return SK_OK;
}
