/* dqn_config: the keys of DQN. Names are RLlib's; defaults are Stable-Baselines3's, but for double_q (RLlib's). */
#include "algorithms/dqn/dqn_config.h"

#define AT(field) offsetof(sk_dqn_config, field)

const sk_key sk__dqn_keys[SK__DQN_N_KEYS] = {
    SK_REPLAY_KEYS,
    {"training.lr", SK_KEY_SCHEDULE, AT(lr), "1.0e-4", 0.0, 1.0, .unit = "", .help = "Learning rate."},
    {"training.epsilon", SK_KEY_SCHEDULE, AT(epsilon), "[[0, 1.0], [10000, 0.05]]", 0.0, 1.0, .unit = "",
     .help = "Share of uniformly random actions; 0 with noisy layers, unless it is given."},
    {"training.tau", SK_KEY_FLOAT, AT(tau), "1.0", 0.0, 1.0, .unit = "",
     .help = "Share of the network that its target takes over when it moves; 1 = a copy."},
    {"training.target_network_update_freq", SK_KEY_INT, AT(target_network_update_freq), "10000", 0, 1e12,
     .unit = "env steps",
     .help = "Env steps, of all environments together, between moves of the target, each before the first update that "
             "is due; 0 = before every update."},
    {"training.double_q", SK_KEY_BOOL, AT(double_q), "true", .unit = "",
     .help = "The network chooses the next action, its target values it (van Hasselt et al. 2016)."},
    {"training.dueling", SK_KEY_BOOL, AT(dueling), "false", .unit = "",
     .help = "Action values are a state's value and advantages (Wang et al. 2016)."},
    {"training.noisy", SK_KEY_BOOL, AT(noisy), "false", .unit = "",
     .help = "Explore by layers with learned noise, new at every step and every update (Fortunato et al. 2018)."},
    {"training.sigma0", SK_KEY_FLOAT, AT(sigma0), "0.5", 0.0, 10.0, .unit = "",
     .help = "noisy: deviation at the start, over the square root of a layer's inputs."},
    {"training.distribution", SK_KEY_ENUM, AT(distribution), "none", .choices = SK_Q_DISTRIBUTION_CHOICES, .unit = "",
     .help = "What is learned: mean returns, or their distribution over fixed atoms (c51, Bellemare et al. 2017) or at "
             "fixed quantiles (quantile, Dabney et al. 2018)."},
    {"training.num_atoms", SK_KEY_INT, AT(num_atoms), "1", 1, 4096, .unit = "",
     .help = "Atoms or quantiles of that distribution; 1 without one."},
    {"training.v_min", SK_KEY_FLOAT, AT(v_min), "-10.0", -1e9, 1e9, .unit = "reward", .help = "c51: the first atom."},
    {"training.v_max", SK_KEY_FLOAT, AT(v_max), "10.0", -1e9, 1e9, .unit = "reward", .help = "c51: the last atom."},
    {"training.td_error_loss_fn", SK_KEY_ENUM, AT(td_loss), "huber", .choices = "huber|mse", .unit = "",
     .help = "Loss of a TD error: Huber's with bend 1, or its square; distributions have their own."},
    {"training.grad_clip", SK_KEY_FLOAT, AT(grad_clip), "10.0", 0.0, 1e9, .unit = "",
     .help = "Largest gradient norm; 0 = no clipping."},
    {"training.adam_epsilon", SK_KEY_FLOAT, AT(adam_epsilon), "1.0e-8", 1e-12, 1.0, .unit = "",
     .help = "Adam's epsilon."},
};

void sk__dqn_prepare(void *own, sk_train_config *config, const sk_config *cfg) {
    sk_dqn_config *c = own;
    config->model.kind = SK_POLICY_Q;
    config->model.q = (sk_q_config){.dueling = c->dueling, .noisy = c->noisy, .distribution = c->distribution,
                                    .num_atoms = c->num_atoms, .v_min = c->v_min, .v_max = c->v_max,
                                    .sigma0 = c->sigma0};
    if (!sk_config_given(cfg, "model.fcnet_activation")) config->model.fcnet_activation = SK_ACT_RELU;
    if (c->noisy && !sk_config_given(cfg, "training.epsilon")) c->epsilon = (sk_schedule){.n = 1};
}

static sk_status check_distribution(const sk_dqn_config *c, const sk_config *cfg, sk_error *reterr) {
    if (c->distribution == SK_Q_MEAN && c->num_atoms > 1)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: training.num_atoms is %lld, but training.distribution is none; say "
                       "c51 or quantile", sk_config_mark(cfg, "training.num_atoms"), (long long)c->num_atoms);
    if (c->distribution != SK_Q_MEAN && c->num_atoms < 2)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: training.distribution needs training.num_atoms of at least 2, got %lld",
                       sk_config_mark(cfg, "training.distribution"), (long long)c->num_atoms);
    if (c->distribution == SK_Q_C51 && !(c->v_min < c->v_max))
        return SK_FAIL(reterr, SK_ECONFIG, "%s: training.v_min must be less than training.v_max, got %g and %g",
                       sk_config_mark(cfg, "training.v_min"), c->v_min, c->v_max);
    if (c->distribution != SK_Q_MEAN && c->td_loss == SK_TD_MSE)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: training.td_error_loss_fn mse is for training.distribution none only",
                       sk_config_mark(cfg, "training.td_error_loss_fn"));
    return SK_OK;
}

sk_status sk__dqn_check(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr) {
    const sk_dqn_config *c = own;
    SK_TRY(sk_replay_config_check(&c->replay, config, cfg, reterr));
    SK_TRY(check_distribution(c, cfg, reterr));
    const char *none[] = {"model.vf_share_layers", "model.use_sde", "model.squash_actions"};
    const bool  set[] = {config->model.vf_share_layers, config->model.use_sde, config->model.squash_actions};
    for (int i = 0; i < SK_COUNT(none); i++)
        if (set[i])
            return SK_FAIL(reterr, SK_ECONFIG, "%s: %s is not for dqn, whose network is action values alone",
                           sk_config_mark(cfg, none[i]), none[i]);
    return SK_OK;
}
