/* ppo_config: the keys of PPO. Names are RLlib's; defaults are Stable-Baselines3's. */
#include "algorithms/ppo/ppo_config.h"

#define AT(field) offsetof(sk_ppo_config, field)

const sk_key sk__ppo_keys[SK__PPO_N_KEYS] = {
    {"training.lr", SK_KEY_SCHEDULE, AT(lr), "3.0e-4", 0.0, 1.0, NULL, "", "Learning rate of Adam.", NULL},
    {"training.gamma", SK_KEY_FLOAT, AT(gamma), "0.99", 0.0, 1.0, NULL, "", "Discount factor.", NULL},
    {"training.lambda", SK_KEY_FLOAT, AT(lambda), "0.95", 0.0, 1.0, NULL, "",
     "Trade of bias against variance in generalized advantage estimation.", NULL},
    {"training.num_epochs", SK_KEY_INT, AT(num_epochs), "10", 1, 10000, NULL, "epochs",
     "Passes over each batch.", NULL},
    {"training.train_batch_size", SK_KEY_INT, AT(train_batch_size), "0", 0, 1e9, NULL, "env steps",
     "Env steps of one iteration, always runners x environments x fragment length. 0 = derived; given and different is "
     "refused.", NULL},
    {"training.minibatch_size", SK_KEY_INT, AT(minibatch_size), "64", 1, 1 << 24, NULL, "rows",
     "Samples per update; the last minibatch of an epoch may be smaller.", NULL},
    {"training.clip_param", SK_KEY_SCHEDULE, AT(clip_param), "0.2", 0.0, 10.0, NULL, "",
     "Range of the probability ratio around 1.", NULL},
    {"training.vf_clip_param", SK_KEY_FLOAT, AT(vf_clip_param), "0", 0.0, 1e9, NULL, "reward",
     "Range of the value's change within an iteration; 0 = no value clipping.", NULL},
    {"training.vf_loss_coeff", SK_KEY_FLOAT, AT(vf_loss_coeff), "0.5", 0.0, 1e6, NULL, "",
     "Weight of the value function's squared error.", NULL},
    {"training.entropy_coeff", SK_KEY_SCHEDULE, AT(entropy_coeff), "0", 0.0, 1e3, NULL, "",
     "Weight of the entropy bonus.", NULL},
    {"training.use_kl_loss", SK_KEY_BOOL, AT(use_kl_loss), "false", 0, 0, NULL, "",
     "Add an adaptive KL penalty.", NULL},
    {"training.kl_coeff", SK_KEY_FLOAT, AT(kl_coeff), "0.2", 0.0, 1e3, NULL, "",
     "Initial weight of the KL penalty (use_kl_loss).", NULL},
    {"training.kl_target", SK_KEY_FLOAT, AT(kl_target), "0.01", 1e-9, 1e3, NULL, "nat",
     "KL the penalty's weight is steered to (use_kl_loss).", NULL},
    {"training.target_kl", SK_KEY_FLOAT, AT(target_kl), "0", 0.0, 1e3, NULL, "nat",
     "End an iteration's updates when a minibatch's mean KL exceeds 1.5 times this; 0 = never.", NULL},
    {"training.normalize_advantages", SK_KEY_BOOL, AT(normalize_advantages), "true", 0, 0, NULL, "",
     "Zero mean, unit variance within each minibatch.", NULL},
    {"training.grad_clip", SK_KEY_FLOAT, AT(grad_clip), "0.5", 0.0, 1e9, NULL, "",
     "Largest global gradient norm; 0 = no clipping.", NULL},
    {"training.adam_epsilon", SK_KEY_FLOAT, AT(adam_epsilon), "1.0e-5", 1e-12, 1.0, NULL, "",
     "Adam's epsilon (1e-5 as in OpenAI baselines).", NULL},
};

sk_status sk__ppo_check(const void *own, const sk_train_config *config, const sk_config *cfg, sk_error *reterr) {
    const sk_ppo_config *c = own;
    int64_t              rows = sk_train_config_batch_steps(config), asked = c->train_batch_size;
    if (asked != 0 && asked != rows)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: training.train_batch_size is %lld, but one iteration is %lld env steps: %lld environments x "
                       "env_runners.rollout_fragment_length %lld; leave it out or make them agree",
                       sk_config_mark(cfg, "training.train_batch_size"), (long long)asked, (long long)rows,
                       (long long)sk_train_config_n_envs(config),
                       (long long)config->env_runners.rollout_fragment_length);
    if (c->minibatch_size > rows)
        return SK_FAIL(reterr, SK_ECONFIG,
                       "%s: training.minibatch_size %lld is larger than a batch of %lld env steps "
                       "(rollout_fragment_length x environments)",
                       sk_config_mark(cfg, "training.minibatch_size"), (long long)c->minibatch_size, (long long)rows);
    if (rows == 1 && c->normalize_advantages)
        return SK_FAIL(reterr, SK_ECONFIG, "%s: one step per batch cannot be normalised; set "
                       "training.normalize_advantages to false", sk_config_mark(cfg, "training.normalize_advantages"));
    return SK_OK;
}
