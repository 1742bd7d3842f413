#include "policies/inference.h"

#include "core/base/rng.h"
#include "policies/explore.h"
#include "policies/net.h"

#include <stdlib.h>
#include <string.h>

/* Three graphs over the same parameters, so that nothing is computed that was not asked for. */
typedef enum purpose {
    PURPOSE_ACT,  /* an action drawn or the mode, with its log-prob, and the value */
    PURPOSE_MODE, /* the mode alone                                                 */
    PURPOSE_LOOK, /* the value alone                                                */
    PURPOSE_N
} purpose;

typedef struct act_graph {
    sk_graph  *graph;
    sk_plan   *plan;
    sk_net     net;
    sk_tensor  obs, noise, mask, action, dist, sde_eps; /* SK_NO_TENSOR: not in this graph    */
    sk_buffer *net_noise;                               /* rows of noisy layers; NULL: none   */
} act_graph;

struct sk_inference {
    sk_policy_spaces spaces;
    sk_model_config  model;
    sk_buffer       *params, *constants; /* constants: mean (O), then inv_std (O), each padded */
    float           *noise;              /* (max_rows x S) */
    float           *sde_eps;            /* (max_rows x k * S) as drawn for sde_*; NULL: none  */
    int              n_sde;              /* k * S                                              */
    uint64_t         sde_seed, sde_counter; /* of what is drawn; rows of them, from sde_first_row */
    int64_t          sde_first_row;
    int              sde_rows;
    int              max_rows, padded_obs;
    int              mode_noise;         /* 1 = the noise column holds the values of the deterministic mode */
    act_graph        graphs[PURPOSE_N];
};

static int has_value(const sk_model_config *m) { return m->kind == SK_POLICY_ACTOR_CRITIC; }

/* Box actions: the mean of a Gaussian or a draw, then the squashing of those that live in [-1, 1]. */
static void build_box(const sk_inference_params *p, purpose what, act_graph *ret) {
    sk_graph *g = ret->graph;
    sk_net   *net = &ret->net;
    ret->action = net->pi;
    if (p->model->kind == SK_POLICY_DETERMINISTIC) return;
    if (what == PURPOSE_ACT && p->model->use_sde) {
        int k = net->features >= 0 ? sk_graph_node(g, net->features)->cols : 1;
        ret->sde_eps = sk_graph_input(g, "sde_eps", k * p->spaces->action_slots);
        ret->action = sk_graph_sde_sample(g, net->pi, net->features, net->sde, ret->sde_eps);
    } else if (what == PURPOSE_ACT) {
        ret->noise = sk_graph_input(g, "noise", p->spaces->action_slots);
        ret->action = sk_net_sample(g, p->spaces, net, ret->noise, SK_NO_TENSOR);
    }
    if (p->model->kind == SK_POLICY_SQUASHED) ret->action = sk_graph_unary(g, SK_UNARY_TANH, ret->action);
}

static void build_action(const sk_inference_params *p, purpose what, act_graph *ret) {
    sk_graph *g = ret->graph;
    if (p->spaces->n_parts == 0) {
        build_box(p, what, ret);
    } else if (p->model->kind == SK_POLICY_Q) {
        ret->action = ret->net.q; /* the choice is made outside */
    } else {
        ret->noise = sk_graph_input(g, "noise", p->spaces->action_slots);
        if (p->spaces->mask_size > 0) ret->mask = sk_graph_input(g, "mask", p->spaces->mask_size);
        ret->action = sk_net_sample(g, p->spaces, &ret->net, ret->noise, ret->mask);
    }
    sk_graph_output(g, ret->action);
    if (what == PURPOSE_MODE || !has_value(p->model)) return;
    ret->dist = sk_net_distribution(g, p->spaces, &ret->net, ret->action, ret->mask);
    sk_graph_output(g, ret->dist);
}

static sk_status bind_constants(sk_inference *self, const sk_inference_params *p, act_graph *a, sk_error *reterr) {
    if (a->net.obs_mean != SK_NO_TENSOR) {
        sk_plan_bind(a->plan, a->net.obs_mean, self->constants, 0);
        sk_plan_bind(a->plan, a->net.obs_inv_std, self->constants, (size_t)self->padded_obs * sizeof(float));
    }
    size_t floats = sk_net_noise_floats(a->graph, &a->net), at = 0;
    if (!floats) return SK_OK;
    SK_TRY(sk_buffer_create(p->device, floats * sizeof(float), &a->net_noise, reterr));
    for (int i = 0; i < a->net.n_noise; i++) {
        sk_plan_bind(a->plan, a->net.noise[i], a->net_noise, at * sizeof(float));
        at += ((size_t)sk_graph_node(a->graph, a->net.noise[i])->cols + SK_PAD - 1) / SK_PAD * SK_PAD;
    }
    return SK_OK;
}

static sk_status build(sk_inference *self, const sk_inference_params *p, purpose what, sk_error *reterr) {
    act_graph *ret = &self->graphs[what];
    if (what == PURPOSE_LOOK && !has_value(p->model)) return SK_OK;
    SK_TRY(sk_graph_create(&ret->graph, reterr));
    sk_graph *g = ret->graph;
    ret->obs = sk_graph_input(g, "obs", p->spaces->obs_dim);
    sk_net_build(g, p->spaces, p->model, p->filter, ret->obs, &ret->net);
    ret->noise = ret->mask = ret->action = ret->dist = ret->sde_eps = SK_NO_TENSOR;
    if (what != PURPOSE_MODE && has_value(p->model)) sk_graph_output(g, ret->net.value);
    if (what != PURPOSE_LOOK) build_action(p, what, ret);
    SK_TRY(sk_graph_finish(g, reterr));
    if (sk_graph_param_floats(g) != p->n_floats)
        return SK_FAIL(reterr, SK_EINVAL, "inference: the network has %zu floats of parameters, got %zu",
                       sk_graph_param_floats(g), p->n_floats);
    sk_plan_params how = {.max_rows = p->max_rows};
    SK_TRY(sk_plan_create(p->device, g, self->params, &how, &ret->plan, reterr));
    if (ret->sde_eps != SK_NO_TENSOR) {
        self->n_sde = sk_graph_node(g, ret->sde_eps)->cols;
        self->sde_eps = calloc((size_t)p->max_rows * (size_t)self->n_sde, sizeof *self->sde_eps);
        if (!self->sde_eps) return SK_FAIL(reterr, SK_ENOMEM, "inference: no memory for %d rows", p->max_rows);
    }
    return bind_constants(self, p, ret, reterr);
}

sk_status sk_inference_create(const sk_inference_params *p, sk_inference **ret_inf, sk_error *reterr) {
    sk_status     status = SK_OK;
    sk_inference *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "inference: no memory");
    self->spaces = *p->spaces;
    self->model = *p->model;
    self->max_rows = p->max_rows;
    self->padded_obs = (p->spaces->obs_dim + 63) / 64 * 64;
    self->noise = calloc((size_t)p->max_rows * (size_t)p->spaces->action_slots, sizeof *self->noise);
    if (!self->noise) {
        status = SK_FAIL(reterr, SK_ENOMEM, "inference: no memory for %d rows", p->max_rows);
        goto fail;
    }
    SK_TRY_GOTO(sk_buffer_wrap(p->device, p->params, p->n_floats * sizeof(float), &self->params, reterr));
    SK_TRY_GOTO(sk_buffer_create(p->device, (size_t)self->padded_obs * 2 * sizeof(float), &self->constants, reterr));
    for (purpose what = 0; what < PURPOSE_N; what++) SK_TRY_GOTO(build(self, p, what, reterr));
    float *inv_std = (float *)sk_buffer_host(self->constants) + self->padded_obs;
    for (int i = 0; i < p->spaces->obs_dim; i++) inv_std[i] = 1.0f;
    sk_buffer_push(self->constants);
    *ret_inf = self;
    return SK_OK;
fail:
    sk_inference_destroy(&self);
    return status;
}

void sk_inference_destroy(sk_inference **self_p) {
    if (!self_p || !*self_p) return;
    sk_inference *self = *self_p;
    for (int what = 0; what < PURPOSE_N; what++) {
        sk_plan_destroy(&self->graphs[what].plan);
        sk_graph_destroy(&self->graphs[what].graph);
        sk_buffer_destroy(&self->graphs[what].net_noise);
    }
    sk_buffer_destroy(&self->constants);
    sk_buffer_destroy(&self->params);
    free(self->noise);
    free(self->sde_eps);
    free(self);
    *self_p = NULL;
}

void sk_inference_set_normalizer(sk_inference *self, const float *mean, const float *inv_std) {
    float *constants = sk_buffer_host(self->constants);
    memcpy(constants, mean, (size_t)self->spaces.obs_dim * sizeof *mean);
    memcpy(constants + self->padded_obs, inv_std, (size_t)self->spaces.obs_dim * sizeof *inv_std);
    sk_buffer_push(self->constants);
}

/* One Philox block gives four uniforms or four normals; slot i of a row takes number i % 4 of block i / 4. */
static void draw_noise(sk_inference *self, const sk_inference_io *io) {
    int n = self->spaces.action_slots, discrete = self->spaces.n_parts > 0;
    self->mode_noise = 0;
    for (int r = 0; r < io->rows; r++) {
        float   *row = self->noise + (ptrdiff_t)r * n;
        uint64_t stream = sk_stream_id(SK_STREAM_ACTION, (uint64_t)(io->first_row + r));
        for (int i = 0; i < n; i += 4) {
            uint32_t words[4];
            float    four[4];
            /* wide actions: the block number goes into the counter's upper half */
            sk_philox(io->seed, stream, io->counter | (uint64_t)(i / 4) << 48, words);
            if (discrete) {
                for (int k = 0; k < 4; k++) four[k] = sk_u32_to_unit(words[k]);
            } else {
                sk_u32_to_normal2(words[0], words[1], four);
                if (n - i > 2) sk_u32_to_normal2(words[2], words[3], four + 2);
            }
            memcpy(row + i, four, (size_t)(n - i < 4 ? n - i : 4) * sizeof *row);
        }
    }
}

static void mode_noise(sk_inference *self) {
    if (self->mode_noise) return;
    float value = self->spaces.n_parts > 0 ? -1.0f : 0.0f; /* see sk_graph_sample_* */
    for (int i = 0; i < self->max_rows * self->spaces.action_slots; i++) self->noise[i] = value;
    self->mode_noise = 1;
}

/* The matrices of state-dependent noise, one per row, unless they are those that were drawn last. */
static void draw_sde(sk_inference *self, const sk_inference_io *io) {
    if (self->sde_rows >= io->rows && self->sde_seed == io->seed && self->sde_counter == io->sde_counter &&
        self->sde_first_row == io->first_row)
        return;
    for (int r = 0; r < io->rows; r++) {
        float   *row = self->sde_eps + (ptrdiff_t)r * self->n_sde;
        uint64_t stream = sk_stream_id(SK_STREAM_EXPLORE, (uint64_t)(io->first_row + r));
        for (int i = 0; i < self->n_sde; i += 4) {
            uint32_t words[4];
            float    four[4];
            sk_philox(io->seed, stream, io->sde_counter | (uint64_t)(i / 4) << 44, words);
            sk_u32_to_normal2(words[0], words[1], four);
            sk_u32_to_normal2(words[2], words[3], four + 2);
            memcpy(row + i, four, (size_t)(self->n_sde - i < 4 ? self->n_sde - i : 4) * sizeof *row);
        }
    }
    self->sde_rows = io->rows;
    self->sde_seed = io->seed;
    self->sde_counter = io->sde_counter;
    self->sde_first_row = io->first_row;
}

static void no_sde(sk_inference *self) {
    memset(self->sde_eps, 0, (size_t)self->max_rows * (size_t)self->n_sde * sizeof *self->sde_eps);
    self->sde_rows = 0;
}

/* Noisy layers: the same noise for all rows of a step, so that rows may be dealt out to any runner. */
static void draw_net_noise(act_graph *a, const sk_inference_io *io) {
    float *noise = sk_buffer_host(a->net_noise);
    if (io->deterministic || (io->explore && io->explore->kind == SK_EXPLORE_UNIFORM))
        memset(noise, 0, sk_net_noise_floats(a->graph, &a->net) * sizeof *noise);
    else
        sk_net_draw_noise(a->graph, &a->net, io->seed, sk_stream_id(SK_STREAM_EXPLORE, SK__EXPLORE_LAYERS), io->counter,
                          noise);
    sk_buffer_push(a->net_noise);
}

static void bind_inputs(sk_inference *self, act_graph *a, const sk_inference_io *io) {
    sk_plan_bind_host(a->plan, a->obs, io->obs);
    if (a->noise != SK_NO_TENSOR) {
        if (io->deterministic) mode_noise(self);
        else draw_noise(self, io);
        sk_plan_bind_host(a->plan, a->noise, self->noise);
    }
    if (a->sde_eps != SK_NO_TENSOR) {
        if (io->deterministic) no_sde(self);
        else draw_sde(self, io);
        sk_plan_bind_host(a->plan, a->sde_eps, self->sde_eps);
    }
    if (a->mask != SK_NO_TENSOR) sk_plan_bind_host(a->plan, a->mask, io->mask);
    if (a->net_noise) draw_net_noise(a, io);
}

void sk_inference_act(sk_inference *self, const sk_inference_io *io) {
    int wants_dist = has_value(&self->model) && (io->logp || io->value);
    act_graph *a = &self->graphs[io->deterministic && !wants_dist ? PURPOSE_MODE : PURPOSE_ACT];
    if (!io->deterministic && io->explore && io->explore->kind == SK_EXPLORE_UNIFORM) {
        sk__explore_uniform(&self->spaces, io);
        return;
    }
    int slots = self->spaces.action_slots, action_ld = sk_graph_node(a->graph, a->action)->ld;
    bind_inputs(self, a, io);
    sk_plan_forward(a->plan, io->rows);

    const float *action = sk_plan_output(a->plan, a->action);
    if (self->model.kind == SK_POLICY_Q) {
        sk__explore_choose(&self->spaces, io, action, action_ld);
        return;
    }
    for (int r = 0; r < io->rows; r++) /* bits: choices are int32 inside */
        memcpy(io->action + (ptrdiff_t)r * slots, action + (ptrdiff_t)r * action_ld, (size_t)slots * sizeof *action);
    if (a->action == a->net.pi) /* mean + 0 as a draw has it: -0 becomes 0 */
        for (int i = 0; i < io->rows * slots; i++) io->action[i].f += 0.0f;
    if (!io->deterministic && io->explore) sk__explore_add_noise(&self->spaces, io);
    if (a->dist == SK_NO_TENSOR) return;
    const float *dist = sk_plan_output(a->plan, a->dist);
    int          dist_ld = sk_graph_node(a->graph, a->dist)->ld;
    if (io->logp)
        for (int r = 0; r < io->rows; r++) io->logp[r] = dist[(ptrdiff_t)r * dist_ld];
    if (io->value) memcpy(io->value, sk_plan_output(a->plan, a->net.value), (size_t)io->rows * sizeof *io->value);
}

void sk_inference_value(sk_inference *self, const float *obs, int64_t rows, float *ret_value) {
    act_graph *a = &self->graphs[PURPOSE_LOOK];
    if (!a->plan) {
        memset(ret_value, 0, (size_t)rows * sizeof *ret_value);
        return;
    }
    for (int64_t at = 0; at < rows; at += self->max_rows) {
        int n = rows - at < self->max_rows ? (int)(rows - at) : self->max_rows;
        sk_plan_bind_host(a->plan, a->obs, obs + at * self->spaces.obs_dim);
        sk_plan_forward(a->plan, n);
        memcpy(ret_value + at, sk_plan_output(a->plan, a->net.value), (size_t)n * sizeof *ret_value);
    }
}
