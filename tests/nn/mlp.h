/* mlp: a policy and value network of three layers with heads of 1, 2 and 6 columns and a loss on each, its
 * data, parameters and optimiser; what the tests of plans run. */
#ifndef SK_TESTS_NN_MLP_H
#define SK_TESTS_NN_MLP_H
#include "nn/plan.h"
#include "tests/nn/nn_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { MLP_OBS = 5, MLP_WIDTH = 64, MLP_ROWS = 300, MLP_HEADS = 3 };
static const int mlp_head_cols[MLP_HEADS] = {1, 2, 6};

typedef struct mlp {
    sk_graph *g;
    sk_tensor obs, action, target, heads[MLP_HEADS], dist, loss;
    sk_device *dev;
    sk_buffer *params;
    sk_plan *plan;
    sk_adam *adam;
    float *obs_data, *target_data; /* (MLP_ROWS x cols) */
    int32_t *action_data;
} mlp;

static inline sk_tensor mlp_layer(mlp *m, const char *name, sk_tensor x, int n, sk_unary act) {
    char w[32], b[32];
    snprintf(w, sizeof w, "%s.w", name);
    snprintf(b, sizeof b, "%s.b", name);
    int k = sk_graph_node(m->g, x)->cols;
    return sk_graph_linear(m->g, x, sk_graph_param(m->g, w, k, n), sk_graph_param(m->g, b, 1, n), act);
}

static inline void mlp_build(mlp *m) {
    static const char *const names[MLP_HEADS] = {"value", "logits", "wide"};
    static const int part_n[1] = {2};
    cr_assert_eq(sk_graph_create(&m->g, NULL), SK_OK);
    m->obs = sk_graph_input(m->g, "obs", MLP_OBS);
    m->action = sk_graph_input(m->g, "action", 1);
    m->target = sk_graph_input(m->g, "target", 1);
    sk_tensor h = mlp_layer(m, "h0", m->obs, MLP_WIDTH, SK_UNARY_TANH);
    h = mlp_layer(m, "h1", h, MLP_WIDTH, SK_UNARY_RELU);
    for (int i = 0; i < MLP_HEADS; i++) {
        m->heads[i] = mlp_layer(m, names[i], h, mlp_head_cols[i], SK_UNARY_IDENTITY);
        sk_graph_output(m->g, m->heads[i]);
    }
    m->dist = sk_graph_categorical(m->g, m->heads[1], m->action, SK_NO_TENSOR, part_n, 1);
    sk_graph_output(m->g, m->dist);
    sk_tensor err = sk_graph_binary(m->g, SK_BINARY_SUB, m->heads[0], m->target);
    m->loss = sk_graph_mean(m->g, sk_graph_unary(m->g, SK_UNARY_SQUARE, err));
    sk_graph_minimize(m->g, m->loss, 0.5f);
    sk_graph_minimize(m->g, sk_graph_mean(m->g, sk_graph_slice(m->g, m->dist, 0, 1)), -1.0f);
    sk_tensor wide = sk_graph_row_sum(m->g, sk_graph_unary(m->g, SK_UNARY_SQUARE, m->heads[2]));
    sk_graph_minimize(m->g, sk_graph_mean(m->g, wide), 0.1f);
    sk_error failure = {0};
    cr_assert_eq(sk_graph_finish(m->g, &failure), SK_OK, "%s", failure.msg);
}

static inline void mlp_fill(mlp *m) {
    uint64_t seed = 61;
    m->obs_data = guard_fill(MLP_ROWS * MLP_OBS, &seed, -2.0, 2.0);
    m->target_data = guard_fill(MLP_ROWS, &seed, -1.0, 1.0);
    m->action_data = (int32_t *)(void *)guard_alloc(MLP_ROWS);
    for (int i = 0; i < MLP_ROWS; i++) m->action_data[i] = fix_below(&seed, 2);
    float *params = sk_buffer_host(m->params);
    for (sk_tensor t = 0; t < sk_graph_n_nodes(m->g); t++) {
        const sk_node *n = sk_graph_node(m->g, t);
        if (n->op != SK_OP_PARAM) continue;
        double size = n->rows > 1 ? 1.0 / sqrt(n->rows) : 0.1;
        for (int i = 0; i < n->rows * n->cols; i++)
            params[n->offset + i / n->cols * n->ld + i % n->cols] = (float)fix_uniform(&seed, -size, size);
    }
    sk_buffer_push(m->params);
}

/* Rows of the batch begin at `first` of the data. */
static inline void mlp_bind(mlp *m, int first) {
    sk_plan_bind_host(m->plan, m->obs, m->obs_data + first * MLP_OBS);
    sk_plan_bind_host(m->plan, m->action, m->action_data + first);
    sk_plan_bind_host(m->plan, m->target, m->target_data + first);
}

static inline mlp mlp_create(int n_threads, const sk_plan_params *how) {
    mlp m = {0};
    sk_error err = {0};
    mlp_build(&m);
    size_t floats = sk_graph_param_floats(m.g);
    cr_assert_eq(sk_device_create_cpu(n_threads, &m.dev, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_buffer_create(m.dev, floats * sizeof(float), &m.params, &err), SK_OK, "%s", err.msg);
    mlp_fill(&m);
    cr_assert_eq(sk_plan_create(m.dev, m.g, m.params, how, &m.plan, &err), SK_OK, "%s", err.msg);
    sk_adam_params adam = {0.9f, 0.999f, 1e-5f};
    cr_assert_eq(sk_adam_create(m.dev, m.params, floats, &adam, &m.adam, &err), SK_OK, "%s", err.msg);
    mlp_bind(&m, 0);
    return m;
}

static inline void mlp_destroy(mlp *m) {
    sk_adam_destroy(&m->adam);
    sk_plan_destroy(&m->plan);
    sk_buffer_destroy(&m->params);
    sk_device_destroy(&m->dev);
    sk_graph_destroy(&m->g);
}

/* Parameters, both moments and the step count as they are now; the caller frees. */
typedef struct mlp_state {
    size_t n_floats;
    float *params, *moments;
    int64_t n_steps;
} mlp_state;
static inline mlp_state mlp_save(mlp *m) {
    mlp_state s = {.n_floats = sk_graph_param_floats(m->g), .n_steps = sk_adam_n_steps(m->adam)};
    s.params = malloc(s.n_floats * sizeof(float));
    s.moments = malloc(2 * s.n_floats * sizeof(float));
    sk_buffer_pull(m->params);
    sk_buffer_pull(sk_adam_moments(m->adam));
    memcpy(s.params, sk_buffer_host(m->params), s.n_floats * sizeof(float));
    memcpy(s.moments, sk_buffer_host(sk_adam_moments(m->adam)), 2 * s.n_floats * sizeof(float));
    return s;
}
static inline void mlp_load(mlp *m, const mlp_state *s) {
    memcpy(sk_buffer_host(m->params), s->params, s->n_floats * sizeof(float));
    memcpy(sk_buffer_host(sk_adam_moments(m->adam)), s->moments, 2 * s->n_floats * sizeof(float));
    sk_buffer_push(m->params);
    sk_buffer_push(sk_adam_moments(m->adam));
    sk_adam_set_n_steps(m->adam, s->n_steps);
}
static inline void mlp_state_free(mlp_state *s) {
    free(s->params);
    free(s->moments);
}
static inline void assert_same_state(const mlp_state *a, const mlp_state *b, const char *what) {
    cr_assert_eq(a->n_floats, b->n_floats);
    cr_assert_eq(a->n_steps, b->n_steps, "%s: %lld and %lld steps", what, (long long)a->n_steps,
                 (long long)b->n_steps);
    assert_same_bits(a->params, b->params, a->n_floats, what);
    assert_same_bits(a->moments, b->moments, 2 * a->n_floats, what);
}

#endif
