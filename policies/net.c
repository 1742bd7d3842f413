#include "policies/net.h"

#include "core/base/rng.h"
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

static sk_tensor param(sk_graph *g, const char *layer, const char *part, int rows, int cols) {
    char text[64];
    snprintf(text, sizeof text, "%s/%s", layer, part);
    return sk_graph_param(g, text, rows, cols);
}

static sk_tensor layer(sk_graph *g, sk_tensor x, const char *name, int n_in, int n_out, sk_unary act) {
    sk_tensor w = param(g, name, "w", n_in, n_out);
    sk_tensor b = param(g, name, "b", 1, n_out);
    return sk_graph_linear(g, x, w, b, act);
}

static sk_tensor noise_row(sk_graph *g, const char *layer, const char *part, int cols, sk_net *net) {
    char text[64];
    snprintf(text, sizeof text, "%s/%s", layer, part);
    SK_ASSERT(net->n_noise < SK_NET_NOISE_MAX);
    return net->noise[net->n_noise++] = sk_graph_const(g, text, cols);
}

/* y = x W + b + ((x * e_in) W_sigma + b_sigma) * e_out (Fortunato et al. 2018, eq. 9 with 10 and 11). */
static sk_tensor noisy_layer(sk_graph *g, sk_tensor x, const char *name, int n_in, int n_out, sk_unary act,
                             sk_net *net) {
    sk_tensor y = layer(g, x, name, n_in, n_out, SK_UNARY_IDENTITY);
    sk_tensor w = param(g, name, "w_sigma", n_in, n_out), b = param(g, name, "b_sigma", 1, n_out);
    sk_tensor e_in = noise_row(g, name, "e_in", n_in, net), e_out = noise_row(g, name, "e_out", n_out, net);
    sk_tensor s = sk_graph_linear(g, sk_graph_binary(g, SK_BINARY_MUL, x, e_in), w, b, SK_UNARY_IDENTITY);
    y = sk_graph_binary(g, SK_BINARY_ADD, y, sk_graph_binary(g, SK_BINARY_MUL, s, e_out));
    return act == SK_UNARY_IDENTITY ? y : sk_graph_unary(g, act, y);
}

/* Layer norm, then the activation. */
static sk_tensor normed(sk_graph *g, sk_tensor x, const char *name, sk_unary act) {
    int       cols = x >= 0 ? sk_graph_node(g, x)->cols : 1;
    sk_tensor gamma = param(g, name, "ln_gamma", 1, cols), beta = param(g, name, "ln_beta", 1, cols);
    x = sk_graph_layer_norm(g, x, gamma, beta);
    return act == SK_UNARY_IDENTITY ? x : sk_graph_unary(g, act, x);
}

static sk_tensor hidden_layer(sk_graph *g, sk_tensor x, const char *name, int n_in, int n_out,
                              const sk_model_config *model) {
    sk_unary act = unary_of(model->fcnet_activation);
    if (!model->layer_norm) return layer(g, x, name, n_in, n_out, act);
    return normed(g, layer(g, x, name, n_in, n_out, SK_UNARY_IDENTITY), name, act);
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

static int cols_of(const sk_graph *g, sk_tensor x) { return x >= 0 ? sk_graph_node(g, x)->cols : 1; }

/* The log-deviation of box actions: of the draw by features, a parameter, or an output. */
static sk_tensor log_std_head(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_tensor x,
                              int width, sk_net *net) {
    if (model->use_sde) {
        net->features = x;
        net->sde = sk_graph_param(g, "pi/sde_log_std", width, spaces->action_slots);
        return sk_graph_sde_log_std(g, x, net->sde);
    }
    if (model->free_log_std && model->kind == SK_POLICY_ACTOR_CRITIC)
        return sk_graph_param(g, "pi/log_std", 1, spaces->action_slots);
    return layer(g, x, "pi/log_std_out", width, spaces->action_slots, SK_UNARY_IDENTITY);
}

static void policy_head(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_tensor x,
                        int width, sk_net *net) {
    int      n_out = spaces->n_parts > 0 ? n_choices(spaces) : spaces->action_slots;
    sk_unary act = model->kind == SK_POLICY_DETERMINISTIC ? SK_UNARY_TANH : SK_UNARY_IDENTITY;
    net->pi = layer(g, x, "pi/out", width, n_out, act);
    if (spaces->n_parts == 0 && model->kind != SK_POLICY_DETERMINISTIC)
        net->log_std = log_std_head(g, spaces, model, x, width, net);
}

static void actor_critic(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_tensor x,
                         sk_net *net) {
    int       pi_width = cols_of(g, x), vf_width = pi_width;
    sk_tensor pi = trunk(g, x, model->vf_share_layers ? "shared" : "pi", model, &pi_width), vf = pi;
    if (model->vf_share_layers) vf_width = pi_width;
    else vf = trunk(g, x, "vf", model, &vf_width);
    policy_head(g, spaces, model, pi, pi_width, net);
    net->value = layer(g, vf, "vf/out", vf_width, 1, SK_UNARY_IDENTITY);
}

/* ---- action values ---- */

static sk_tensor q_layer(sk_graph *g, sk_tensor x, const char *name, int n_in, int n_out, sk_unary act,
                         const sk_model_config *model, sk_net *net) {
    return model->q.noisy ? noisy_layer(g, x, name, n_in, n_out, act, net) : layer(g, x, name, n_in, n_out, act);
}

/* A hidden one, with layer norm where the model has it. */
static sk_tensor q_hidden_layer(sk_graph *g, sk_tensor x, const char *name, int n_in, int n_out,
                                const sk_model_config *model, sk_net *net) {
    if (!model->q.noisy) return hidden_layer(g, x, name, n_in, n_out, model);
    sk_unary act = unary_of(model->fcnet_activation);
    if (!model->layer_norm) return noisy_layer(g, x, name, n_in, n_out, act, net);
    return normed(g, noisy_layer(g, x, name, n_in, n_out, SK_UNARY_IDENTITY, net), name, act);
}

/* Column a * K + k: atom k of action a. */
static void q_network(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_tensor x,
                      sk_net *net) {
    const sk_q_config *q = &model->q;
    int                n = n_choices(spaces), atoms = q->distribution == SK_Q_MEAN ? 1 : (int)q->num_atoms;
    int                width = cols_of(g, x);
    for (int i = 0; i < model->fcnet_hiddens.n; i++) {
        char text[48];
        int  n_out = (int)model->fcnet_hiddens.v[i];
        snprintf(text, sizeof text, "q/%d", i);
        x = q_hidden_layer(g, x, text, width, n_out, model, net);
        width = n_out;
    }
    net->pi = q_layer(g, x, "q/out", width, n * atoms, SK_UNARY_IDENTITY, model, net);
    if (q->dueling) {
        sk_tensor value = q_layer(g, x, "q/value", width, atoms, SK_UNARY_IDENTITY, model, net);
        net->pi = sk_graph_dueling(g, value, net->pi, n);
    }
    net->q = q->distribution == SK_Q_C51 ? sk_graph_atom_mean(g, net->pi, n, (float)q->v_min, (float)q->v_max)
             : q->distribution == SK_Q_QUANTILE ? sk_graph_group_mean(g, net->pi, n)
                                                : net->pi;
}

sk_tensor sk_net_critic(sk_graph *g, const sk_model_config *model, const char *name, sk_tensor x, sk_tensor action,
                        int n_out) {
    char text[48];
    if (action != SK_NO_TENSOR) x = sk_graph_concat(g, x, action);
    int width = cols_of(g, x);
    x = trunk(g, x, name, model, &width);
    snprintf(text, sizeof text, "%s/out", name);
    return layer(g, x, text, width, n_out, SK_UNARY_IDENTITY);
}

/* ---- the whole ---- */

sk_tensor sk_net_encode(sk_graph *g, const sk_policy_spaces *spaces, sk_obs_filter filter, sk_tensor obs, sk_net *net) {
    if (filter == SK_FILTER_MEAN_STD && net->obs_mean == SK_NO_TENSOR) {
        net->obs_mean = sk_graph_const(g, "obs_mean", spaces->obs_dim);
        net->obs_inv_std = sk_graph_const(g, "obs_inv_std", spaces->obs_dim);
    }
    if (spaces->n_runs > 0)
        return sk_graph_encode(g, obs, spaces->runs, spaces->n_runs, net->obs_mean, net->obs_inv_std,
                               SK_NORMALIZER_LIMIT);
    if (filter != SK_FILTER_MEAN_STD) return obs;
    return sk_graph_normalize(g, obs, net->obs_mean, net->obs_inv_std, SK_NORMALIZER_LIMIT);
}

void sk_net_build_on(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_tensor x,
                     sk_net *net) {
    int width = cols_of(g, x);
    switch ((sk_policy_kind)model->kind) {
    case SK_POLICY_ACTOR_CRITIC: actor_critic(g, spaces, model, x, net); return;
    case SK_POLICY_Q: q_network(g, spaces, model, x, net); return;
    case SK_POLICY_SQUASHED:
    case SK_POLICY_DETERMINISTIC:
        x = trunk(g, x, "pi", model, &width);
        policy_head(g, spaces, model, x, width, net);
        return;
    case SK_POLICY_KIND_N: break;
    }
    SK_ASSERT(0);
}

void sk_net_build(sk_graph *g, const sk_policy_spaces *spaces, const sk_model_config *model, sk_obs_filter filter,
                  sk_tensor obs, sk_net *ret_net) {
    *ret_net = SK_NET_INIT;
    sk_net_build_on(g, spaces, model, sk_net_encode(g, spaces, filter, obs, ret_net), ret_net);
}

static size_t padded_cols(const sk_graph *g, sk_tensor t) {
    return ((size_t)sk_graph_node(g, t)->cols + SK_PAD - 1) / SK_PAD * SK_PAD;
}

size_t sk_net_noise_floats(const sk_graph *g, const sk_net *net) {
    size_t n = 0;
    for (int i = 0; i < net->n_noise; i++) n += padded_cols(g, net->noise[i]);
    return n;
}

void sk_net_draw_noise(const sk_graph *g, const sk_net *net, uint64_t seed, uint64_t stream, uint64_t counter,
                       float *ret_noise) {
    uint64_t block = 0;
    for (int i = 0; i < net->n_noise; i++) {
        int n = sk_graph_node(g, net->noise[i])->cols;
        for (int c = 0; c < n; c += 4, block++) {
            uint32_t words[4];
            float    four[4];
            sk_philox(seed, stream, counter | block << 48, words);
            sk_u32_to_normal2(words[0], words[1], four);
            sk_u32_to_normal2(words[2], words[3], four + 2);
            for (int k = 0; k < 4 && c + k < n; k++) ret_noise[c + k] = copysignf(sqrtf(fabsf(four[k])), four[k]);
        }
        ret_noise += padded_cols(g, net->noise[i]);
    }
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

/* As PyTorch's Linear starts; noisy layers as their paper has it. */
static void init_uniform(const sk_graph *g, const sk_model_config *model, uint64_t seed, float *params) {
    uint64_t index = 0;
    int      n_in = 1;
    for (sk_tensor t = 0; t < sk_graph_n_nodes(g); t++) {
        const sk_node *n = sk_graph_node(g, t);
        if (n->op != SK_OP_PARAM || n->group != 0) continue;
        float *w = params + n->offset;
        if (ends_with(n->name, "/w")) n_in = n->rows;
        float bound = 1.0f / sqrtf((float)n_in);
        if (ends_with(n->name, "ln_gamma")) fill(w, n->cols, 1.0f);
        else if (ends_with(n->name, "ln_beta")) continue;
        else if (ends_with(n->name, "_sigma"))
            for (int r = 0; r < n->rows; r++) fill(w + r * n->ld, n->cols, (float)model->q.sigma0 * bound);
        else if (ends_with(n->name, "/sde_log_std"))
            for (int r = 0; r < n->rows; r++) fill(w + r * n->ld, n->cols, (float)model->log_std_init);
        else sk_init_uniform(w, n->rows, n->cols, n->ld, bound, seed, index++);
    }
}

static sk_status init_orthogonal(const sk_graph *g, const sk_model_config *model, uint64_t seed, float *params,
                                 sk_error *reterr) {
    uint64_t index = 0;
    for (sk_tensor t = 0; t < sk_graph_n_nodes(g); t++) {
        const sk_node *n = sk_graph_node(g, t);
        if (n->op != SK_OP_PARAM || n->group != 0) continue;
        float *w = params + n->offset;
        if (ends_with(n->name, "/w")) {
            float gain = strncmp(n->name, "pi/out", 6) == 0 || strncmp(n->name, "pi/log_std_out", 14) == 0 ? 0.01f
                         : strncmp(n->name, "vf/out", 6) == 0                                            ? 1.0f
                                                                                                         : sqrtf(2.0f);
            SK_TRY(sk_init_orthogonal(w, n->rows, n->cols, n->ld, gain, seed, index++, reterr));
        } else if (ends_with(n->name, "ln_gamma")) {
            fill(w, n->cols, 1.0f);
        } else if (ends_with(n->name, "log_std") || strcmp(n->name, "pi/log_std_out/b") == 0) {
            for (int r = 0; r < n->rows; r++) fill(w + r * n->ld, n->cols, (float)model->log_std_init);
        }
    }
    return SK_OK;
}

sk_status sk_net_init_params(const sk_graph *g, const sk_model_config *model, uint64_t seed, float *params,
                             sk_error *reterr) {
    memset(params, 0, sk_graph_param_floats(g) * sizeof *params);
    if (model->kind == SK_POLICY_ACTOR_CRITIC) return init_orthogonal(g, model, seed, params, reterr);
    init_uniform(g, model, seed, params);
    return SK_OK;
}
