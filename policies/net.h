/* net: the actor-critic network of a policy, put into a graph. Acting and learning build it with the same function, so
 * parameters have the same names and places in both. Threads: pure. */
#ifndef SK_POLICIES_NET_H
#define SK_POLICIES_NET_H
#include "nn/graph.h"
#include "policies/model.h"
#include "policies/policy.h"

enum { SK_NET_NOISE_MAX = 2 * (SK_LIST_MAX + 2) };

typedef struct sk_net {
    sk_tensor obs_mean, obs_inv_std; /* CONST (1 x O), or SK_NO_TENSOR without a filter               */
    sk_tensor pi;       /* (B x choices) logits; (B x box) means (before tanh), or actions in [-1, 1] of DETERMINISTIC */
    sk_tensor log_std;  /* PARAM (1 x box) or (B x box); SK_NO_TENSOR where there is no Gaussian      */
    sk_tensor value;    /* (B x 1), ACTOR_CRITIC; else SK_NO_TENSOR                                   */
    sk_tensor features, sde; /* of state-dependent exploration: (B x k), PARAM (k x box); else SK_NO_TENSOR */
    sk_tensor q;        /* SK_POLICY_Q: (B x choices) action values; pi: what they are made of (B x choices * atoms) */
    sk_tensor noise[SK_NET_NOISE_MAX]; /* CONST rows that noisy layers take                           */
    int       n_noise;
} sk_net;

/* What all networks of a graph read of raw observations (B x O): integers one-hot, floats normalised by the constants of
 * `net`, which are made on the first use: start with SK_NET_INIT. */
#define SK_NET_INIT                                                                                                    \
    ((sk_net){.obs_mean = SK_NO_TENSOR, .obs_inv_std = SK_NO_TENSOR, .pi = SK_NO_TENSOR, .log_std = SK_NO_TENSOR,      \
              .value = SK_NO_TENSOR, .features = SK_NO_TENSOR, .sde = SK_NO_TENSOR, .q = SK_NO_TENSOR})
sk_tensor sk_net_encode(sk_graph *g, const sk_policy_spaces *spaces, sk_obs_filter filter, sk_tensor obs, sk_net *net);
/* The policy's network on encoded observations, in the graph's group in use. */
void      sk_net_build_on(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_tensor x,
                          sk_net *net);
/* A critic Q(x, action) (B x 1), or with action SK_NO_TENSOR Q(x, .) (B x n_out): the model's hidden layers under
 * `name`, then a linear one. */
sk_tensor sk_net_critic(sk_graph *g, const sk_model_config *model, const char *name, sk_tensor x, sk_tensor action,
                        int n_out);
/* Fill the noise rows of noisy layers, f(e) = sign(e) sqrt|e| of standard normals (Fortunato et al. 2018, eq. 10-11), one
 * after the other as they lie in net->noise, each padded to SK_PAD: sk_net_noise_floats. `stream`, `counter`: Philox. */
size_t sk_net_noise_floats(const sk_graph *g, const sk_net *net);
void   sk_net_draw_noise(const sk_graph *g, const sk_net *net, uint64_t seed, uint64_t stream, uint64_t counter,
                         float *ret_noise);

/* obs: ROWS (B x O), raw observations. */
void sk_net_build(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter,
                  sk_tensor obs, sk_net *ret_net);
/* (B x 2) log-prob and entropy of `action` (ROWS, 0-based int32 choices or floats) under the network's distribution.
 * mask: SK_NO_TENSOR or (B x K) of 0/1 floats. */
sk_tensor sk_net_distribution(sk_graph *g, const sk_policy_spaces *spaces, const sk_net *net, sk_tensor action,
                              sk_tensor mask);
/* An action drawn with `noise` (B x action_slots; see nn/graph.h, sk_graph_sample_*), before any squashing. */
sk_tensor sk_net_sample(sk_graph *g, const sk_policy_spaces *spaces, const sk_net *net, sk_tensor noise,
                        sk_tensor mask);
/* Fresh parameters of group 0 into `params` (sk_graph_param_floats). ACTOR_CRITIC: orthogonal weights with gain sqrt 2 in
 * hidden layers, 0.01 in the policy head and 1 in the value head (Engstrom et al. 2020; Andrychowicz et al. 2021), zero
 * biases. All others: uniform in +- 1 / sqrt(inputs), weights and biases (PyTorch's default, which the published results
 * of SAC, TD3 and DQN were made with). `seed` also tells networks apart that look the same. */
SK_NODISCARD sk_status sk_net_init_params(const sk_graph *g, const sk_model_config *model, uint64_t seed, float *params,
                                          sk_error *reterr);

#endif
