/* Groups of parameters: the trained one and those that are only read, weights that are used several times, and the
 * target that follows slowly. */
#include "tests/nn/grad_net.h"

#include <signal.h>

static char what[128];
#define WHAT(...) (snprintf(what, sizeof what, __VA_ARGS__), what)

/* A weight of a group that is only read; group 0 is in use again afterwards. */
static sk_tensor read_only(small_net *n, int group, const char *name, int rows, int cols) {
    sk_graph_use_group(n->g, group);
    sk_tensor t = sk_graph_param(n->g, name, rows, cols);
    sk_graph_use_group(n->g, 0);
    cr_assert(t >= 0);
    return t;
}

Test(param_groups, a_name_is_the_same_weight_again_in_its_group_only) {
    sk_graph *g = NULL;
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    sk_tensor w = sk_graph_param(g, "w", 3, 20), b = sk_graph_param(g, "b", 1, 20);
    cr_assert_eq(sk_graph_param(g, "w", 3, 20), w);
    sk_graph_use_group(g, 2);
    sk_tensor w2 = sk_graph_param(g, "w", 3, 20), b2 = sk_graph_param(g, "b", 1, 20);
    cr_assert_neq(w2, w);
    cr_assert_eq(sk_graph_param(g, "w", 3, 20), w2);
    cr_assert_eq(sk_graph_node(g, b2)->offset, sk_graph_node(g, b)->offset, "the same order, the same layout");
    cr_assert_eq(sk_graph_node(g, b2)->group, 2);
    cr_assert_eq(sk_graph_node(g, b2)->needs_grad, 0);
    cr_assert_eq(sk_graph_node(g, b)->needs_grad, 1);
    cr_assert_eq(sk_graph_find_param(g, "w"), w, "group 0 is meant");
    cr_assert_eq(sk_graph_param_floats(g), 4 * 32u);
    cr_assert_eq(sk_graph_group_floats(g, 0), 4 * 32u);
    cr_assert_eq(sk_graph_group_floats(g, 1), 0u);
    cr_assert_eq(sk_graph_group_floats(g, 2), 4 * 32u);
    sk_graph_use_group(g, SK_GRAPH_GROUPS);
    sk_error err = {0};
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    cr_assert_not_null(strstr(err.msg, "groups are 0 to 3, got 4"), "%s", err.msg);
    sk_graph_destroy(&g);
}

/* Layers, layer norm and a shared row of weights that are only read, of every mixture of shapes. */
Test(param_groups, a_gradient_flows_through_weights_that_are_only_read) {
    static const int widths[] = {1, 2, 16, 19};
    for (int i = 0; i < SK_COUNT(widths); i++)
        for (int j = 0; j < SK_COUNT(widths); j++) {
            int k = widths[i], n = widths[j];
            small_net net = net_create((uint64_t)(3000 + 10 * i + j));
            sk_tensor x = net_rows(&net, k, -1.0, 1.0, NET_PLAIN);
            sk_tensor w = read_only(&net, 1, "w", k, n), b = read_only(&net, 1, "b", 1, n);
            sk_tensor v = read_only(&net, 2, "v", n, 3);
            sk_tensor h = sk_graph_linear(net.g, x, w, b, SK_UNARY_TANH);
            sk_tensor gamma = n % 2 ? read_only(&net, 3, "gamma", 1, n) : net_param(&net, 1, n, 0.5, 1.5, NET_PLAIN);
            sk_tensor beta = read_only(&net, 3, "beta", 1, n);
            net_minimize(&net, sk_graph_binary(net.g, SK_BINARY_MUL, h, b));
            if (n > 2) h = sk_graph_layer_norm(net.g, h, gamma, beta);
            net_minimize(&net, sk_graph_linear(net.g, h, v, SK_NO_TENSOR, SK_UNARY_SIGMOID));
            /* a trained bias on a weight that is only read, and the other way round */
            sk_tensor bias = net_param(&net, 1, n, -0.3, 0.3, NET_PLAIN);
            sk_tensor u = net_param(&net, k, n, -0.3, 0.3, NET_PLAIN);
            net_minimize(&net, sk_graph_linear(net.g, x, w, bias, SK_UNARY_TANH));
            net_minimize(&net, sk_graph_linear(net.g, x, u, b, SK_UNARY_TANH));
            net_check(&net, WHAT("read only, k %d n %d", k, n), &net_steep);
        }
}

/* One network on two inputs, as a critic on the action that was taken and on the policy's. */
Test(param_groups, a_weight_used_on_several_inputs_gets_the_sum_of_its_gradients) {
    static const int widths[] = {1, 6, 17};
    for (int i = 0; i < SK_COUNT(widths); i++) {
        small_net net = net_create((uint64_t)(3100 + i));
        int n = widths[i];
        sk_tensor x = net_rows(&net, 3, -1.0, 1.0, NET_PLAIN), y = net_input(&net, 3, -1.0, 1.0);
        sk_tensor w = net_param(&net, 3, n, -0.6, 0.6, NET_PLAIN), b = net_param(&net, 1, n, -0.6, 0.6, NET_PLAIN);
        sk_tensor gamma = net_param(&net, 1, n, 0.5, 1.5, NET_PLAIN);
        sk_tensor beta = net_param(&net, 1, n, -0.5, 0.5, NET_PLAIN);
        for (int use = 0; use < 3; use++) {
            sk_tensor at = use == 0 ? x : use == 1 ? y : sk_graph_unary(net.g, SK_UNARY_TANH, x);
            cr_assert_eq(sk_graph_param(net.g, sk_graph_node(net.g, w)->name, 3, n), w);
            sk_tensor h = sk_graph_linear(net.g, at, w, b, SK_UNARY_TANH);
            if (n > 1) h = sk_graph_layer_norm(net.g, h, gamma, beta);
            net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_SILU, h));
        }
        net_check(&net, WHAT("used three times, %d columns", n), &net_steep);
    }
}

/* Weights in group 1 act as the same ones in group 0 do, and their gradient to what is below is the same bits. */
Test(param_groups, a_read_only_network_computes_what_the_trained_one_does) {
    float *grad[2];
    size_t n_below = 0;
    for (int group = 0; group < 2; group++) {
        small_net net = net_create(3200);
        sk_tensor x = net_rows(&net, 33, -1.0, 1.0, NET_PLAIN), w = -1, b = -1;
        n_below = sk_graph_param_floats(net.g);
        sk_graph_use_group(net.g, group);
        w = sk_graph_param(net.g, "w", 33, 40);
        b = sk_graph_param(net.g, "b", 1, 40);
        sk_tensor y = sk_graph_linear(net.g, x, w, b, SK_UNARY_TANH);
        sk_graph_minimize(net.g, sk_graph_mean(net.g, sk_graph_row_sum(net.g, y)), 1.0f);
        cr_assert_eq(sk_graph_finish(net.g, NULL), SK_OK);
        net_run run = net_start(&net, 2, NET_BLOCK_ROWS, NET_SLOTS);
        float *weights = group ? sk_buffer_host(run.read_only[1]) : (float *)sk_buffer_host(run.params);
        for (int p = 0; p < 2; p++) {
            const sk_node *node = sk_graph_node(net.g, p ? b : w);
            for (int r = 0; r < node->rows; r++)
                for (int c = 0; c < node->cols; c++)
                    weights[node->offset + r * node->ld + c] = sinf((float)(r * 40 + c + p));
        }
        sk_plan_backward(run.plan, NET_ROWS);
        grad[group] = malloc(n_below * sizeof(float));
        memcpy(grad[group], sk_plan_grad(run.plan), n_below * sizeof(float));
        net_stop(&run);
        sk_graph_destroy(&net.g);
    }
    assert_same_bits(grad[0], grad[1], n_below, "gradient below");
    free(grad[0]);
    free(grad[1]);
}

/* A graph of one layer whose weights are of group `group`, on a batch of one row. */
typedef struct one_layer {
    sk_graph *g;
    sk_device *dev;
    sk_plan *plan;
    sk_tensor y;
    float x[3];
} one_layer;
static void one_layer_create(one_layer *o, int group) {
    *o = (one_layer){.x = {1.0f, 2.0f, 3.0f}};
    sk_plan_params how = {.max_rows = 1};
    cr_assert_eq(sk_device_create_cpu(1, &o->dev, NULL), SK_OK);
    cr_assert_eq(sk_graph_create(&o->g, NULL), SK_OK);
    sk_graph_use_group(o->g, group);
    sk_tensor x = sk_graph_input(o->g, "x", 3);
    o->y = sk_graph_linear(o->g, x, sk_graph_param(o->g, "w", 3, 2), SK_NO_TENSOR, SK_UNARY_IDENTITY);
    sk_graph_output(o->g, o->y);
    cr_assert_eq(sk_graph_finish(o->g, NULL), SK_OK);
    cr_assert_eq(sk_plan_create(o->dev, o->g, NULL, &how, &o->plan, NULL), SK_OK);
    sk_plan_bind_host(o->plan, x, o->x);
}

Test(param_groups, are_read_where_they_are_bound_at_each_run) {
    one_layer o;
    sk_buffer *buffers[2];
    one_layer_create(&o, 3);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(sk_buffer_create(o.dev, 3 * SK_PAD * sizeof(float), &buffers[i], NULL), SK_OK);
        for (int r = 0; r < 3; r++) ((float *)sk_buffer_host(buffers[i]))[r * SK_PAD + 1] = i ? 2.0f : 1.0f;
    }
    for (int run = 0; run < 4; run++) {
        sk_plan_bind_group(o.plan, 3, buffers[run % 2]);
        sk_plan_forward(o.plan, 1);
        cr_assert_eq(sk_plan_output(o.plan, o.y)[1], run % 2 ? 12.0f : 6.0f);
    }
    sk_plan_destroy(&o.plan);
    for (int i = 0; i < 2; i++) sk_buffer_destroy(&buffers[i]);
    sk_device_destroy(&o.dev);
    sk_graph_destroy(&o.g);
}

Test(param_groups, a_group_that_is_not_bound_is_a_mistake, .signal = SIGABRT) {
    one_layer o;
    one_layer_create(&o, 1);
    sk_plan_forward(o.plan, 1);
}

Test(param_groups, a_target_follows_its_source) {
    static const int sizes[] = {1, 15, 16, 17, 4096, 70001};
    static const double taus[] = {0.0, 0.005, 0.5, 1.0};
    for (int level = 2; level <= 4; level++)
        for (int s = 0; s < SK_COUNT(sizes) && sk_kernels_at(level); s++)
            for (int i = 0; i < SK_COUNT(taus); i++) {
                sk_device *dev = NULL;
                sk_buffer *target = NULL, *source = NULL;
                uint64_t seed = 7;
                size_t n = (size_t)sizes[s], bytes = (n + 1) * sizeof(float);
                setenv("SKIFF_ISA", (const char[]){'v', (char)('0' + level), 0}, 1);
                cr_assert_eq(sk_device_create_cpu(2, &dev, NULL), SK_OK);
                cr_assert_eq(sk_buffer_create(dev, bytes, &target, NULL), SK_OK);
                cr_assert_eq(sk_buffer_create(dev, bytes, &source, NULL), SK_OK);
                float *t = sk_buffer_host(target), *x = sk_buffer_host(source), *was = malloc(bytes);
                fix_fill(t, n + 1, &seed, -1.0, 1.0);
                fix_fill(x, n + 1, &seed, -1.0, 1.0);
                memcpy(was, t, bytes);
                sk_device_polyak(dev, target, source, n, taus[i]);
                for (size_t j = 0; j < n; j++) {
                    double exact = (double)was[j] + taus[i] * ((double)x[j] - (double)was[j]);
                    cr_assert_float_eq((double)t[j], exact, 2e-7, "v%d, tau %g, %zu of %zu", level, taus[i], j, n);
                }
                cr_assert_eq(t[n], was[n], "what lies behind is not touched");
                if (taus[i] == 1.0) assert_same_bits(t, x, n, "a copy");
                free(was);
                sk_buffer_destroy(&target);
                sk_buffer_destroy(&source);
                sk_device_destroy(&dev);
            }
}
