#include "policies/net.h"

#include "nn/init.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static sk_unary unary_of(int activation) {
    switch ((sk_activation)activation) {
    case SK_ACT_TANH: return SK_UNARY_TANH;
    case SK_ACT_RELU: return SK_UNARY_RELU;
    case SK_ACT_ELU: return SK_UNARY_ELU;
    case SK_ACT_GELU: return SK_UNARY_GELU;
    case SK_ACT_SILU: return SK_UNARY_SILU;
    case SK_ACT_SIGMOID: return SK_UNARY_SIGMOID;
    case SK_ACT_LINEAR: break;
    }
    return SK_UNARY_IDENTITY;
}

static sk_tensor layer(sk_graph *g, sk_tensor x, const char *name, int n_in, int n_out, sk_unary act) {
    char text[64];
    snprintf(text, sizeof text, "%s/w", name);
    sk_tensor w = sk_graph_param(g, text, n_in, n_out);
    snprintf(text, sizeof text, "%s/b", name);
    sk_tensor b = sk_graph_param(g, text, 1, n_out);
    return sk_graph_linear(g, x, w, b, act);
}

static sk_tensor hidden_layer(sk_graph *g, sk_tensor x, const char *name, int n_in, int n_out,
                              const sk_model_config *model) {
    sk_unary act = unary_of(model->fcnet_activation);
    if (!model->layer_norm) return layer(g, x, name, n_in, n_out, act);
    char text[64];
    x = layer(g, x, name, n_in, n_out, SK_UNARY_IDENTITY);
    snprintf(text, sizeof text, "%s/ln_gamma", name);
    sk_tensor gamma = sk_graph_param(g, text, 1, n_out);
    snprintf(text, sizeof text, "%s/ln_beta", name);
    sk_tensor beta = sk_graph_param(g, text, 1, n_out);
    x = sk_graph_layer_norm(g, x, gamma, beta);
    return act == SK_UNARY_IDENTITY ? x : sk_graph_unary(g, act, x);
}

/* Hidden layers under one name; *width is that of the result. */
static sk_tensor trunk(sk_graph *g, sk_tensor x, const char *name, const sk_model_config *model, int *width) {
    for (int i = 0; i < model->fcnet_hiddens.n; i++) {
        char text[48];
        int  n_out = (int)model->fcnet_hiddens.v[i];
        snprintf(text, sizeof text, "%s/%d", name, i);
        x = hidden_layer(g, x, text, *width, n_out, model);
        *width = n_out;
    }
    return x;
}

static int n_choices(const sk_policy_spaces *spaces) {
    int n = 0;
    for (int i = 0; i < spaces->n_parts; i++) n += spaces->part_n[i];
    return n;
}

static void policy_head(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_tensor x,
                        int width, sk_net *net) {
    net->log_std = SK_NO_TENSOR;
    if (spaces->n_parts > 0) {
        net->pi = layer(g, x, "pi/out", width, n_choices(spaces), SK_UNARY_IDENTITY);
        return;
    }
    net->pi = layer(g, x, "pi/out", width, spaces->action_slots, SK_UNARY_IDENTITY);
    net->log_std = model->free_log_std
                       ? sk_graph_param(g, "pi/log_std", 1, spaces->action_slots)
                       : layer(g, x, "pi/log_std_out", width, spaces->action_slots, SK_UNARY_IDENTITY);
}

void sk_net_build(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter,
                  sk_tensor obs, sk_net *ret_net) {
    int pi_width = spaces->obs_dim, vf_width = 0;
    ret_net->obs_mean = ret_net->obs_inv_std = SK_NO_TENSOR;
    if (filter == SK_FILTER_MEAN_STD) {
        ret_net->obs_mean = sk_graph_const(g, "obs_mean", spaces->obs_dim);
        ret_net->obs_inv_std = sk_graph_const(g, "obs_inv_std", spaces->obs_dim);
        if (spaces->n_runs == 0)
            obs = sk_graph_normalize(g, obs, ret_net->obs_mean, ret_net->obs_inv_std, SK_NORMALIZER_LIMIT);
    }
    if (spaces->n_runs > 0) {
        obs = sk_graph_encode(g, obs, spaces->runs, spaces->n_runs, ret_net->obs_mean, ret_net->obs_inv_std,
                              SK_NORMALIZER_LIMIT);
        if (obs >= 0) pi_width = sk_graph_node(g, obs)->cols;
    }
    vf_width = pi_width;
    sk_tensor pi = trunk(g, obs, model->vf_share_layers ? "shared" : "pi", model, &pi_width), vf = pi;
    if (model->vf_share_layers) vf_width = pi_width;
    else vf = trunk(g, obs, "vf", model, &vf_width);
    policy_head(g, spaces, model, pi, pi_width, ret_net);
    ret_net->value = layer(g, vf, "vf/out", vf_width, 1, SK_UNARY_IDENTITY);
}

sk_tensor sk_net_distribution(sk_graph *g, const sk_policy_spaces *spaces, const sk_net *net, sk_tensor action,
                              sk_tensor mask) {
    if (spaces->n_parts > 0) return sk_graph_categorical(g, net->pi, action, mask, spaces->part_n, spaces->n_parts);
    return sk_graph_gaussian(g, net->pi, net->log_std, action);
}

sk_tensor sk_net_sample(sk_graph *g, const sk_policy_spaces *spaces, const sk_net *net, sk_tensor noise,
                        sk_tensor mask) {
    if (spaces->n_parts > 0)
        return sk_graph_sample_categorical(g, net->pi, noise, mask, spaces->part_n, spaces->n_parts);
    return sk_graph_sample_gaussian(g, net->pi, net->log_std, noise);
}

static int ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void fill(float *row, int cols, float value) {
    for (int c = 0; c < cols; c++) row[c] = value;
}

sk_status sk_net_init_params(const sk_graph *g, const sk_model_config *model, uint64_t seed, float *params,
                             sk_error *reterr) {
    uint64_t index = 0;
    memset(params, 0, sk_graph_param_floats(g) * sizeof *params);
    for (sk_tensor t = 0; t < sk_graph_n_nodes(g); t++) {
        const sk_node *n = sk_graph_node(g, t);
        if (n->op != SK_OP_PARAM) continue;
        float *w = params + n->offset;
        if (ends_with(n->name, "/w")) {
            float gain = strncmp(n->name, "pi/out", 6) == 0 || strncmp(n->name, "pi/log_std_out", 14) == 0 ? 0.01f
                         : strncmp(n->name, "vf/out", 6) == 0                                            ? 1.0f
                                                                                                         : sqrtf(2.0f);
            SK_TRY(sk_init_orthogonal(w, n->rows, n->cols, n->ld, gain, seed, index++, reterr));
        } else if (ends_with(n->name, "ln_gamma")) {
            fill(w, n->cols, 1.0f);
        } else if (strcmp(n->name, "pi/log_std") == 0 || strcmp(n->name, "pi/log_std_out/b") == 0) {
            fill(w, n->cols, (float)model->log_std_init);
        }
    }
    return SK_OK;
}
