/* net: the actor-critic network of a policy, put into a graph. Acting and learning build it with the same function, so
 * parameters have the same names and places in both. Threads: pure. */
#ifndef SK_POLICIES_NET_H
#define SK_POLICIES_NET_H
#include "nn/graph.h"
#include "policies/model.h"
#include "policies/policy.h"

typedef struct sk_net {
    sk_tensor obs_mean, obs_inv_std; /* CONST (1 x O), or SK_NO_TENSOR without a filter               */
    sk_tensor pi;                    /* (B x choices) logits, or (B x box) means                      */
    sk_tensor log_std;               /* PARAM (1 x box) or (B x box); SK_NO_TENSOR for discrete       */
    sk_tensor value;                 /* (B x 1)                                                       */
} sk_net;

/* obs: ROWS (B x O), raw observations. */
void sk_net_build(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter,
                  sk_tensor obs, sk_net *ret_net);
/* (B x 2) log-prob and entropy of `action` (ROWS, 0-based int32 choices or floats) under the network's distribution.
 * mask: SK_NO_TENSOR or (B x K) of 0/1 floats. */
sk_tensor sk_net_distribution(sk_graph *g, const sk_policy_spaces *spaces, const sk_net *net, sk_tensor action,
                              sk_tensor mask);
/* An action drawn with `noise` (B x action_slots; see nn/graph.h, sk_graph_sample_*). */
sk_tensor sk_net_sample(sk_graph *g, const sk_policy_spaces *spaces, const sk_net *net, sk_tensor noise,
                        sk_tensor mask);
/* Fresh parameters into `params` (sk_graph_param_floats): orthogonal weights with gain sqrt 2 in hidden layers, 0.01
 * in the policy head and 1 in the value head (Engstrom et al. 2020; Andrychowicz et al. 2021), zero biases. */
SK_NODISCARD sk_status sk_net_init_params(const sk_graph *g, const sk_model_config *model, uint64_t seed, float *params,
                                          sk_error *reterr);

#endif
