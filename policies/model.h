/* model: what a policy network looks like. RLlib's names (DefaultModelConfig), Stable-Baselines3's defaults. */
#ifndef SK_POLICIES_MODEL_H
#define SK_POLICIES_MODEL_H
#include "core/base/config.h"
#include <stdbool.h>

/* The activations a user can name, in the order of the config's choices. */
typedef enum sk_activation {
    SK_ACT_TANH, SK_ACT_RELU, SK_ACT_ELU, SK_ACT_GELU, SK_ACT_SILU, SK_ACT_SIGMOID, SK_ACT_LINEAR
} sk_activation;
#define SK_ACTIVATION_CHOICES "tanh|relu|elu|gelu|silu|sigmoid|linear"

typedef enum sk_obs_filter { SK_FILTER_NONE, SK_FILTER_MEAN_STD } sk_obs_filter;
#define SK_OBS_FILTER_CHOICES "NoFilter|MeanStdFilter"

/* What a policy's network is; its algorithm says. */
typedef enum sk_policy_kind {
    SK_POLICY_ACTOR_CRITIC,  /* logits, or a Gaussian of unclipped actions, and a value (PPO) */
    SK_POLICY_SQUASHED,      /* logits, or a tanh-squashed Gaussian (SAC)                     */
    SK_POLICY_DETERMINISTIC, /* tanh of an output (DDPG, TD3)                                 */
    SK_POLICY_Q,             /* action values (DQN)                                           */
    SK_POLICY_KIND_N
} sk_policy_kind;

typedef enum sk_q_distribution { SK_Q_MEAN, SK_Q_C51, SK_Q_QUANTILE, SK_Q_DISTRIBUTION_N } sk_q_distribution;
#define SK_Q_DISTRIBUTION_CHOICES "none|c51|quantile"

/* Action values, with the parts of Rainbow. */
typedef struct sk_q_config {
    bool    dueling, noisy;
    int     distribution;  /* sk_q_distribution                                                   */
    int64_t num_atoms;     /* of it                                                               */
    double  v_min, v_max;  /* the first and last atom of C51                                      */
    double  sigma0;        /* starting deviation of noisy layers, over sqrt of their inputs       */
} sk_q_config;

typedef struct sk_model_config {
    int         kind;             /* sk_policy_kind; not a key                                    */
    sk_q_config q;                /* SK_POLICY_Q; keys of that algorithm                          */
    sk_int_list fcnet_hiddens;    /* widths of the hidden layers; [] = none                       */
    int         fcnet_activation; /* sk_activation                                                */
    bool        vf_share_layers;  /* policy and value use the same hidden layers                  */
    bool        free_log_std;     /* box actions: log-std is a parameter, not an output           */
    double      log_std_init;     /* its start                                                    */
    bool        layer_norm;       /* layer norm before every hidden activation                    */
    bool        squash_actions;   /* ACTOR_CRITIC, box actions: tanh, then scaled to the bounds    */
    bool        use_sde;          /* box actions: state-dependent exploration (Raffin et al. 2021) */
    int64_t     sde_sample_freq;  /* env steps between its draws; -1 = once per fragment          */
} sk_model_config;

#endif
