/* td3_config: the keys of td3 and ddpg. Names are RLlib's; defaults are Stable-Baselines3's, but for the network, which
 * is that of the authors' own code (256x256, not 400x300). */
#include "algorithms/td3/td3_config.h"

#define AT(field) offsetof(sk_td3_config, field)

#define KEYS_OF_BOTH                                                                                                   \
    SK_REPLAY_KEYS,                                                                                                    \
    {"training.actor_lr", SK_KEY_SCHEDULE, AT(actor_lr), "1.0e-3", 0.0, 1.0, .unit = "",                               \
     .help = "Learning rate of the policy."},                                                                          \
    {"training.critic_lr", SK_KEY_SCHEDULE, AT(critic_lr), "1.0e-3", 0.0, 1.0, .unit = "",                             \
     .help = "Learning rate of the action values."},                                                                   \
    {"training.tau", SK_KEY_FLOAT, AT(tau), "0.005", 0.0, 1.0, .unit = "",                                             \
     .help = "Share of policy and action values that their targets take over when they move."},                        \
    {"training.exploration_noise", SK_KEY_SCHEDULE, AT(exploration_noise), "0.1", 0.0, 10.0, .unit = "",               \
     .help = "Deviation of the noise on actions, in [-1, 1] space."},                                                  \
    {"training.exploration_type", SK_KEY_ENUM, AT(exploration_type), "gaussian", .choices = "gaussian|ou", .unit = "", \
     .help = "Noise that is new at every step, or an Ornstein-Uhlenbeck process (theta 0.15, dt 0.01)."},              \
    {"training.grad_clip", SK_KEY_FLOAT, AT(grad_clip), "0", 0.0, 1e9, .unit = "",                                     \
     .help = "Largest gradient norm of each network; 0 = no clipping."},                                               \
    {"training.adam_epsilon", SK_KEY_FLOAT, AT(adam_epsilon), "1.0e-8", 1e-12, 1.0, .unit = "",                        \
     .help = "Adam's epsilon."}

const sk_key sk__ddpg_keys[SK__DDPG_N_KEYS] = {KEYS_OF_BOTH};

const sk_key sk__td3_keys[SK__TD3_N_KEYS] = {
    KEYS_OF_BOTH,
    {"training.policy_delay", SK_KEY_INT, AT(policy_delay), "2", 1, 1e9, .unit = "updates",
     .help = "Updates of the action values to one of the policy and the targets."},
    {"training.target_noise", SK_KEY_FLOAT, AT(target_noise), "0.2", 0.0, 10.0, .unit = "",
     .help = "Deviation of the noise on the action whose value is learned towards, in [-1, 1] space; 0 = none."},
    {"training.target_noise_clip", SK_KEY_FLOAT, AT(target_noise_clip), "0.5", 0.0, 10.0, .unit = "",
     .help = "Bound of that noise."},
};

void sk__td3_prepare(void *own, sk_train_config *config, const sk_config *cfg) {
    (void)own;
    config->model.kind = SK_POLICY_DETERMINISTIC;
    if (!sk_config_given(cfg, "model.fcnet_hiddens")) config->model.fcnet_hiddens = (sk_int_list){2, {256, 256}};
    if (!sk_config_given(cfg, "model.fcnet_activation")) config->model.fcnet_activation = SK_ACT_RELU;
}

sk_status sk__td3_check(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr) {
    const sk_td3_config *c = own;
    SK_TRY(sk_replay_config_check(&c->replay, config, cfg, reterr));
    if (config->model.vf_share_layers)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: model.vf_share_layers is not for %s: policy and action values "
                       "learn apart", sk_config_mark(cfg, "model.vf_share_layers"), config->algorithm);
    if (config->model.use_sde)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: model.use_sde is not for %s, whose policy draws nothing; noise is "
                       "training.exploration_noise", sk_config_mark(cfg, "model.use_sde"), config->algorithm);
    return SK_OK;
}
