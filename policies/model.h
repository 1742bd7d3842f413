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

typedef struct sk_model_config {
    sk_int_list fcnet_hiddens;    /* widths of the hidden layers; [] = none                       */
    int         fcnet_activation; /* sk_activation                                                */
    bool        vf_share_layers;  /* policy and value use the same hidden layers                  */
    bool        free_log_std;     /* box actions: log-std is a parameter, not an output           */
    double      log_std_init;     /* its start                                                    */
    bool        layer_norm;       /* layer norm before every hidden activation                    */
} sk_model_config;

#endif
