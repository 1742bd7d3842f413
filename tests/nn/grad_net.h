/* grad_net: a small graph with random data, and its gradient held against central differences of the loss. A
 * test builds with the net_* helpers, says what to minimise, and calls net_check.
 *
 * The batch has 11 rows in blocks of 4 on 2 slots, so every gradient is a sum over blocks and over slots. */
#ifndef SK_TESTS_NN_GRAD_NET_H
#define SK_TESTS_NN_GRAD_NET_H
#include "nn/plan.h"
#include "tests/nn/nn_fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { NET_ROWS = 11, NET_BLOCK_ROWS = 4, NET_SLOTS = 2, NET_HOTS = 5, NET_MAX = 32, NET_SAMPLES = 250 };

/* Allowed: |gradient - difference| <= absolute + relative * |difference|; the step of the differences. Losses
 * are sums of about 11 float32 terms near 1, so a difference has noise of some 1e-6 / step. */
static const struct net_tolerance {
    const char *name;
    double absolute, relative, step;
} net_smooth = {"smooth", 2e-4, 2e-4, 0.04}, /* error of the extrapolated difference ~ step^4 */
    net_steep = {"steep", 6e-4, 1e-3, 0.02}; /* functions with large higher derivatives        */

/* How a parameter starts: uniform in [low, high]; or of that size with a random sign, or a sign per column
 * (so that nothing comes near a kink at 0). */
typedef enum net_signs { NET_PLAIN, NET_RANDOM_SIGNS, NET_COLUMN_SIGNS } net_signs;

typedef struct small_net {
    sk_graph *g;
    uint64_t seed;
    int n_data, n_params;
    struct {
        sk_tensor t;
        void *values; /* float or int32; INPUT (NET_ROWS x cols), CONST, TABLE */
    } data[NET_MAX];
    struct {
        sk_tensor t;
        double low, high;
        net_signs signs;
    } params[NET_MAX];
    void (*prepare)(struct small_net *n, sk_plan *plan); /* may set data from a first forward run; or NULL */
    sk_tensor user[16];                                  /* tensors a prepare() wants to find again        */
} small_net;

static inline small_net net_create(uint64_t seed) {
    small_net n = {.seed = seed};
    cr_assert_eq(sk_graph_create(&n.g, NULL), SK_OK);
    return n;
}

static inline float *net_add_data(small_net *n, sk_tensor t, int rows) {
    cr_assert(t >= 0 && n->n_data < NET_MAX);
    float *values = guard_alloc((size_t)rows * (size_t)sk_graph_node(n->g, t)->cols);
    n->data[n->n_data].t = t;
    n->data[n->n_data++].values = values;
    return values;
}
static inline void *net_values(const small_net *n, sk_tensor t) {
    for (int i = 0; i < n->n_data; i++)
        if (n->data[i].t == t) return n->data[i].values;
    cr_assert_fail("tensor %d has no data", (int)t);
    return NULL;
}

static inline sk_tensor net_input(small_net *n, int cols, double low, double high) {
    sk_tensor t = sk_graph_input(n->g, "input", cols);
    fix_fill(net_add_data(n, t, NET_ROWS), (size_t)(NET_ROWS * cols), &n->seed, low, high);
    return t;
}
/* int32 in [0, choices[c]) in column c. */
static inline sk_tensor net_choices(small_net *n, int cols, const int *choices) {
    sk_tensor t = sk_graph_input(n->g, "choices", cols);
    int32_t *values = (int32_t *)(void *)net_add_data(n, t, NET_ROWS);
    for (int i = 0; i < NET_ROWS * cols; i++) values[i] = fix_below(&n->seed, choices[i % cols]);
    return t;
}
static inline sk_tensor net_const(small_net *n, int cols, double low, double high) {
    sk_tensor t = sk_graph_const(n->g, "const", cols);
    fix_fill(net_add_data(n, t, 1), (size_t)cols, &n->seed, low, high);
    return t;
}
static inline sk_tensor net_table(small_net *n, int rows, int cols, double low, double high) {
    sk_tensor t = sk_graph_table(n->g, "table", cols);
    fix_fill(net_add_data(n, t, rows), (size_t)(rows * cols), &n->seed, low, high);
    return t;
}
static inline sk_tensor net_param(small_net *n, int rows, int cols, double low, double high,
                                  net_signs signs) {
    char name[32];
    snprintf(name, sizeof name, "p%d", n->n_params);
    sk_tensor t = sk_graph_param(n->g, name, rows, cols);
    cr_assert(t >= 0 && n->n_params < NET_MAX);
    n->params[n->n_params].t = t;
    n->params[n->n_params].low = low;
    n->params[n->n_params].high = high;
    n->params[n->n_params++].signs = signs;
    return t;
}
/* (B x cols) with a gradient behind it: each row is one of NET_HOTS rows of a parameter (one-hot x W). */
static inline sk_tensor net_rows(small_net *n, int cols, double low, double high, net_signs signs) {
    sk_tensor hot = sk_graph_input(n->g, "one-hot", NET_HOTS);
    float *values = net_add_data(n, hot, NET_ROWS);
    memset(values, 0, sizeof(float) * NET_ROWS * NET_HOTS);
    for (int r = 0; r < NET_ROWS; r++) values[r * NET_HOTS + fix_below(&n->seed, NET_HOTS)] = 1.0f;
    sk_tensor w = net_param(n, NET_HOTS, cols, low, high, signs);
    return sk_graph_linear(n->g, hot, w, SK_NO_TENSOR, SK_UNARY_IDENTITY);
}
/* Minimise the sum of all elements of x, each with a random weight of its own. */
static inline void net_minimize(small_net *n, sk_tensor x) {
    cr_assert_geq(x, 0);
    sk_tensor weight = net_input(n, sk_graph_node(n->g, x)->cols, -1.0, 1.0);
    sk_tensor terms = sk_graph_row_sum(n->g, sk_graph_binary(n->g, SK_BINARY_MUL, x, weight));
    sk_graph_minimize(n->g, sk_graph_sum(n->g, terms), 1.0f);
}

/* A finished net on a device. */
typedef struct net_run {
    small_net *n;
    sk_device *dev;
    sk_buffer *params, *read_only[SK_GRAPH_GROUPS];
    sk_plan *plan;
} net_run;

static inline void net_init_params(const small_net *n, float *params) {
    uint64_t seed = n->seed;
    for (int p = 0; p < n->n_params; p++) {
        const sk_node *node = sk_graph_node(n->g, n->params[p].t);
        for (int i = 0; i < node->rows * node->cols; i++) {
            int c = i % node->cols, negative = fix_below(&seed, 2);
            double x = fix_uniform(&seed, n->params[p].low, n->params[p].high);
            if (n->params[p].signs == NET_PLAIN) negative = 0;
            if (n->params[p].signs == NET_COLUMN_SIGNS) negative = c % 2;
            params[node->offset + i / node->cols * node->ld + c] = (float)(negative ? -x : x);
        }
    }
}

/* Weights of the groups that are only read: uniform in [-0.7, 0.7], the same in every run. */
static inline void net_bind_groups(net_run *run) {
    uint64_t seed = run->n->seed + 1;
    for (int group = 1; group < SK_GRAPH_GROUPS; group++) {
        size_t floats = sk_graph_group_floats(run->n->g, group);
        if (floats == 0) continue;
        cr_assert_eq(sk_buffer_create(run->dev, floats * sizeof(float), &run->read_only[group], NULL), SK_OK);
        float *values = sk_buffer_host(run->read_only[group]);
        for (sk_tensor t = 0; t < sk_graph_n_nodes(run->n->g); t++) {
            const sk_node *node = sk_graph_node(run->n->g, t);
            if (node->op != SK_OP_PARAM || node->group != group) continue;
            for (int i = 0; i < node->rows * node->cols; i++)
                values[node->offset + i / node->cols * node->ld + i % node->cols] =
                    (float)fix_uniform(&seed, -0.7, 0.7);
        }
        sk_plan_bind_group(run->plan, group, run->read_only[group]);
    }
}

static inline net_run net_start(small_net *n, int level, int block_rows, int n_slots) {
    net_run run = {.n = n};
    sk_error err = {0};
    char isa[3] = {'v', (char)('0' + level), 0};
    setenv("SKIFF_ISA", isa, 1);
    cr_assert_eq(sk_device_create_cpu(1, &run.dev, &err), SK_OK, "%s", err.msg);
    size_t bytes = sk_graph_param_floats(n->g) * sizeof(float);
    cr_assert_eq(sk_buffer_create(run.dev, bytes, &run.params, &err), SK_OK, "%s", err.msg);
    net_init_params(n, sk_buffer_host(run.params));
    sk_plan_params how = {.max_rows = NET_ROWS, .block_rows = block_rows, .n_slots = n_slots, .backward = 1};
    cr_assert_eq(sk_plan_create(run.dev, n->g, run.params, &how, &run.plan, &err), SK_OK, "%s", err.msg);
    net_bind_groups(&run);
    for (int i = 0; i < n->n_data; i++) sk_plan_bind_host(run.plan, n->data[i].t, n->data[i].values);
    if (n->prepare) {
        sk_plan_forward(run.plan, NET_ROWS);
        n->prepare(n, run.plan);
    }
    return run;
}
static inline void net_stop(net_run *run) {
    sk_plan_destroy(&run->plan);
    sk_buffer_destroy(&run->params);
    for (int group = 1; group < SK_GRAPH_GROUPS; group++) sk_buffer_destroy(&run->read_only[group]);
    sk_device_destroy(&run->dev);
}

/* What is minimised, from the plan's double sums. */
static inline double net_loss(net_run *run) {
    double loss = 0.0;
    sk_plan_forward(run->plan, NET_ROWS);
    for (sk_tensor t = 0; t < sk_graph_n_nodes(run->n->g); t++) {
        double coef = (double)sk_graph_loss_coef(run->n->g, t);
        if (coef != 0.0) loss += coef * sk_plan_sum(run->plan, t)[0];
    }
    return loss;
}

/* (L(x + h) - L(x - h)) / 2h with the step that float32 really makes. */
static inline double net_difference(net_run *run, float *x, double h) {
    float was = *x, up = (float)((double)was + h), down = (float)((double)was - h);
    *x = up;
    double above = net_loss(run);
    *x = down;
    double below = net_loss(run);
    *x = was;
    return (above - below) / ((double)up - (double)down);
}

/* Every element (or an even sample of many) of one parameter; returns the worst error as a share of what is
 * allowed. */
static inline double net_check_param(net_run *run, int p, const float *grad, const char *what,
                                     const struct net_tolerance *tol) {
    const sk_node *node = sk_graph_node(run->n->g, run->n->params[p].t);
    int n = node->rows * node->cols, stride = n / NET_SAMPLES + 1;
    double worst = 0.0;
    for (int i = 0; i < n; i += stride) {
        int at = node->offset + i / node->cols * node->ld + i % node->cols;
        float *x = (float *)sk_buffer_host(run->params) + at;
        double coarse = net_difference(run, x, tol->step), fine = net_difference(run, x, tol->step / 2);
        double slope = (4.0 * fine - coarse) / 3.0; /* Richardson: the error of order step^2 is gone */
        double off = fabs((double)grad[at] - slope) / (tol->absolute + tol->relative * fabs(slope));
        cr_assert(off <= 1.0, "%s, %s: %s[%d, %d] has gradient %.7g, differences give %.7g", what,
                  sk_device_name(run->dev), node->name, i / node->cols, i % node->cols, (double)grad[at],
                  slope);
        if (off > worst) worst = off;
    }
    return worst;
}

/* What belongs to no element must get no gradient, or the optimiser would move it. */
static inline void net_check_padding(net_run *run, const float *grad, const char *what) {
    size_t n = sk_graph_param_floats(run->n->g);
    char *used = calloc(n, 1);
    for (int p = 0; p < run->n->n_params; p++) {
        const sk_node *node = sk_graph_node(run->n->g, run->n->params[p].t);
        for (int i = 0; i < node->rows * node->cols; i++)
            used[node->offset + i / node->cols * node->ld + i % node->cols] = 1;
    }
    for (size_t i = 0; i < n; i++)
        if (!used[i])
            cr_assert_eq(grad[i], 0.0f, "%s: padding float %zu has gradient %g", what, i, (double)grad[i]);
    free(used);
}

/* Finish, then check at every instruction set of this machine. */
static inline void net_check(small_net *n, const char *what, const struct net_tolerance *tol) {
    sk_error err = {0};
    cr_assert_eq(sk_graph_finish(n->g, &err), SK_OK, "%s: %s", what, err.msg);
    size_t floats = sk_graph_param_floats(n->g);
    double worst = 0.0;
    for (int level = 2; level <= 4; level++) {
        if (!sk_kernels_at(level)) continue;
        net_run run = net_start(n, level, NET_BLOCK_ROWS, NET_SLOTS);
        float *grad = malloc(floats * sizeof *grad);
        for (int pass = 0; pass < 2; pass++) { /* the second run must not see what the first left behind */
            sk_plan_backward(run.plan, NET_ROWS);
            if (pass) assert_same_bits(grad, sk_plan_grad(run.plan), floats, what);
            memcpy(grad, sk_plan_grad(run.plan), floats * sizeof *grad);
        }
        net_check_padding(&run, grad, what);
        for (int p = 0; p < n->n_params; p++) worst = fmax(worst, net_check_param(&run, p, grad, what, tol));
        net_run whole = net_start(n, level, NET_ROWS, 1); /* in one block */
        sk_plan_backward(whole.plan, NET_ROWS);
        for (size_t i = 0; i < floats; i++)
            cr_assert_float_eq(sk_plan_grad(whole.plan)[i], grad[i], 1e-5 + 1e-5 * fabs((double)grad[i]),
                               "%s", what);
        net_stop(&whole);
        free(grad);
        net_stop(&run);
    }
    cr_log_info("%s: worst error %.2f of the allowed (%s)\n", what, worst, tol->name);
    sk_graph_destroy(&n->g);
    guard_check_all();
}

#endif
