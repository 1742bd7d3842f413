/* Gradients of every op against central differences. Distributions and the PPO loss: test_grad_loss.c. */
#include "tests/nn/grad_net.h"

static const int widths[] = {1, 2, 5, 16, 17};
static char what[128];
#define WHAT(...) (snprintf(what, sizeof what, __VA_ARGS__), what)

/* act(x W + b) with K inputs and N outputs; x an input, or rows that want a gradient too. */
static void check_linear(int k, int n, sk_unary act, int with_bias, int x_wants_gradient) {
    small_net net = net_create((uint64_t)(1000 * k + 10 * n + (int)act));
    sk_tensor x = x_wants_gradient ? net_rows(&net, k, 0.4, 1.0, NET_PLAIN) : net_input(&net, k, 0.4, 1.0);
    sk_tensor w = net_param(&net, k, n, 0.5 / k, 1.5 / k, NET_COLUMN_SIGNS);
    sk_tensor b = with_bias ? net_param(&net, 1, n, 0.1, 0.3, NET_COLUMN_SIGNS) : SK_NO_TENSOR;
    net_minimize(&net, sk_graph_linear(net.g, x, w, b, act));
    net_check(&net,
              WHAT("linear k %d n %d act %d bias %d dx %d", k, n, (int)act, with_bias, x_wants_gradient),
              &net_smooth);
}

static void check_linear_shapes(sk_unary act) {
    static const int ks[] = {1, 3, 16, 64}, ns[] = {1, 2, 17};
    for (int i = 0; i < SK_COUNT(ks); i++)
        for (int j = 0; j < SK_COUNT(ns); j++)
            for (int bias = 0; bias < 2; bias++)
                for (int dx = 0; dx < 2; dx++) check_linear(ks[i], ns[j], act, bias, dx);
}

Test(grad, linear) { check_linear_shapes(SK_UNARY_IDENTITY); }
Test(grad, linear_with_fused_tanh) { check_linear_shapes(SK_UNARY_TANH); }
Test(grad, linear_with_fused_relu) { check_linear_shapes(SK_UNARY_RELU); }
Test(grad, linear_with_fused_elu) { check_linear_shapes(SK_UNARY_ELU); }
Test(grad, linear_with_fused_sigmoid) { check_linear_shapes(SK_UNARY_SIGMOID); }
Test(grad, linear_with_gelu_after_it) { check_linear_shapes(SK_UNARY_GELU); }
Test(grad, linear_with_silu_after_it) { check_linear_shapes(SK_UNARY_SILU); }

/* A head of one column reads whole padded rows of what is below it. */
Test(grad, linear_of_one_column_on_a_fused_layer) {
    static const sk_unary acts[] = {SK_UNARY_IDENTITY, SK_UNARY_TANH, SK_UNARY_RELU, SK_UNARY_ELU,
                                    SK_UNARY_SIGMOID};
    for (int i = 0; i < SK_COUNT(acts); i++)
        for (int j = 1; j < SK_COUNT(widths); j++) {
            small_net net = net_create((uint64_t)(60 + 10 * i + j));
            sk_tensor w = net_param(&net, 3, widths[j], 0.2, 0.5, NET_COLUMN_SIGNS);
            sk_tensor h = sk_graph_linear(net.g, net_input(&net, 3, 0.4, 1.0), w, SK_NO_TENSOR, acts[i]);
            sk_tensor v = net_param(&net, widths[j], 1, 0.2, 0.5, NET_RANDOM_SIGNS);
            net_minimize(&net, sk_graph_linear(net.g, h, v, SK_NO_TENSOR, SK_UNARY_TANH));
            net_check(&net, WHAT("one column on activation %d, %d columns", (int)acts[i], widths[j]),
                      &net_smooth);
        }
}

/* One-hot inputs: rows of one batch lie on both sides of the kink. */
Test(grad, linear_with_rows_on_both_sides_of_a_kink) {
    static const sk_unary acts[] = {SK_UNARY_RELU, SK_UNARY_ELU};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < SK_COUNT(widths); j++) {
            small_net net = net_create((uint64_t)(50 + 10 * i + j));
            sk_tensor hot = net_rows(&net, widths[j], 0.3, 1.0, NET_RANDOM_SIGNS);
            sk_tensor eye = net_param(&net, widths[j], 3, 0.5 / widths[j], 1.0 / widths[j], NET_COLUMN_SIGNS);
            sk_tensor h = sk_graph_unary(net.g, acts[i], hot);
            net_minimize(&net, sk_graph_linear(net.g, h, eye, SK_NO_TENSOR, SK_UNARY_TANH));
            net_check(&net, WHAT("kink of %d, %d columns", (int)acts[i], widths[j]), &net_smooth);
        }
}

static sk_tensor add_unary(small_net *n, int kind, sk_tensor x, int second) {
    if (kind == SK_UNARY_AFFINE) return sk_graph_affine(n->g, x, -0.7f, second ? 0.0f : 0.4f);
    if (kind == SK_UNARY_HUBER) return sk_graph_huber(n->g, x, second ? 0.15f : 2.5f);
    if (kind == SK_UNARY_CLIP)
        return sk_graph_clip(n->g, x, second ? 0.15f : -0.15f, second ? 3.0f : 0.15f + 3.0f);
    return sk_graph_unary(n->g, (sk_unary)kind, x);
}

/* Sizes of 0.3 to 1.4 with random signs keep clear of the kinks at 0, -0.15 and 0.15. */
Test(grad, unary) {
    for (int kind = 0; kind < SK_UNARY_COUNT; kind++)
        for (int j = 0; j < SK_COUNT(widths); j++)
            for (int second = 0; second < 2; second++) {
                small_net net = net_create((uint64_t)(100 * kind + j));
                net_signs signs = kind == SK_UNARY_LOG ? NET_PLAIN : NET_RANDOM_SIGNS;
                sk_tensor x = net_rows(&net, widths[j], kind == SK_UNARY_LOG ? 0.8 : 0.3, 1.4, signs);
                sk_tensor y = add_unary(&net, kind, x, second);
                /* a layer on top reads the padding if there is something in it */
                sk_tensor w = net_param(&net, widths[j], 1 + second, 0.2, 0.8, NET_RANDOM_SIGNS);
                net_minimize(&net, sk_graph_linear(net.g, y, w, SK_NO_TENSOR, SK_UNARY_IDENTITY));
                net_check(&net, WHAT("unary %d, %d columns", kind, widths[j]), &net_smooth);
            }
}

Test(grad, unary_of_an_input_feeds_a_layer) {
    for (int kind = 0; kind < SK_UNARY_COUNT; kind++)
        for (int j = 0; j < SK_COUNT(widths); j++) {
            small_net net = net_create((uint64_t)(3000 + 100 * kind + j));
            sk_tensor y = add_unary(&net, kind, net_input(&net, widths[j], 0.3, 1.4), 0);
            sk_tensor w = net_param(&net, widths[j], 1, 0.2, 0.8, NET_RANDOM_SIGNS);
            net_minimize(&net, sk_graph_linear(net.g, y, w, SK_NO_TENSOR, SK_UNARY_TANH));
            net_check(&net, WHAT("unary %d of an input, %d columns", kind, widths[j]), &net_smooth);
        }
}

/* y of sizes that keep MIN and MAX away from ties and DIV away from 0. */
static sk_tensor second_operand(small_net *n, int kind, int how, int cols) {
    double low = kind == SK_BINARY_DIV ? 0.7 : -0.3, high = kind == SK_BINARY_DIV ? 1.5 : 0.3;
    switch (how) {
    case 0:
        return net_rows(n, cols, low, high, NET_PLAIN);
    case 1:
        return net_param(n, 1, cols, low, high, NET_PLAIN);
    case 2:
        return net_const(n, cols, low, high);
    default:
        return net_input(n, cols, low, high);
    }
}

Test(grad, binary) {
    for (int kind = 0; kind < SK_BINARY_COUNT; kind++)
        for (int j = 0; j < SK_COUNT(widths); j++)
            for (int how = 0; how < 4; how++)
                for (int x_is_input = 0; x_is_input < 2; x_is_input++) {
                    if (x_is_input && how >= 2) continue; /* nothing to differentiate */
                    small_net net = net_create((uint64_t)(1000 * kind + 10 * j + how));
                    int cols = widths[j];
                    sk_tensor x = x_is_input ? net_input(&net, cols, 0.6, 1.4)
                                             : net_rows(&net, cols, 0.6, 1.4, NET_RANDOM_SIGNS);
                    net_minimize(&net, sk_graph_binary(net.g, (sk_binary)kind, x,
                                                       second_operand(&net, kind, how, cols)));
                    net_check(&net,
                              WHAT("binary %d, %d columns, second %d, input %d", kind, cols, how, x_is_input),
                              &net_smooth);
                }
}

Test(grad, binary_of_a_tensor_with_itself) {
    for (int kind = 0; kind < SK_BINARY_COUNT; kind++) {
        small_net net = net_create((uint64_t)(77 + kind));
        sk_tensor x = net_rows(&net, 5, 0.6, 1.4, NET_RANDOM_SIGNS);
        net_minimize(&net, sk_graph_binary(net.g, (sk_binary)kind, x, x));
        net_check(&net, WHAT("binary %d with itself", kind), &net_smooth);
    }
}

Test(grad, softmax_and_log_softmax) {
    for (int log = 0; log < 2; log++)
        for (int j = 0; j < SK_COUNT(widths); j++)
            for (int twice = 0; twice < 2;
                 twice++) { /* twice: another consumer has written x's gradient before */
                small_net net = net_create((uint64_t)(200 + 10 * log + j));
                sk_tensor x = net_rows(&net, widths[j], -1.5, 1.5, NET_PLAIN);
                sk_tensor y = log ? sk_graph_log_softmax(net.g, x) : sk_graph_softmax(net.g, x);
                net_minimize(&net, y);
                if (twice) net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, x));
                net_check(&net, WHAT("softmax log %d, %d columns", log, widths[j]), &net_smooth);
            }
}

Test(grad, softmax_and_layer_norm_take_an_input_of_any_width) {
    for (int op = 0; op < 3; op++)
        for (int j = 0; j < SK_COUNT(widths); j++) {
            small_net net = net_create((uint64_t)(300 + 10 * op + j));
            int cols = widths[j];
            sk_tensor x = net_input(&net, cols, -1.0, 1.0), y;
            if (op == 0)
                y = sk_graph_softmax(net.g, x);
            else if (op == 1)
                y = sk_graph_log_softmax(net.g, x);
            else
                y = sk_graph_layer_norm(net.g, x, net_param(&net, 1, cols, 0.5, 1.5, NET_PLAIN),
                                        net_param(&net, 1, cols, -1.0, 1.0, NET_PLAIN));
            sk_tensor w = net_param(&net, cols, 3, 0.2, 0.8, NET_RANDOM_SIGNS);
            net_minimize(&net, sk_graph_linear(net.g, y, w, SK_NO_TENSOR, SK_UNARY_TANH));
            net_check(&net, WHAT("row op %d of an input, %d columns", op, cols), &net_smooth);
        }
}

Test(grad, layer_norm) {
    for (int j = 1; j < SK_COUNT(widths); j++)
        for (int twice = 0; twice < 2; twice++) {
            small_net net = net_create((uint64_t)(400 + j));
            int cols = widths[j];
            sk_tensor x = net_rows(&net, cols, 0.5, 1.5, NET_COLUMN_SIGNS);
            sk_tensor gamma = net_param(&net, 1, cols, 0.5, 1.5, NET_PLAIN);
            sk_tensor beta = net_param(&net, 1, cols, -1.0, 1.0, NET_PLAIN);
            net_minimize(&net, sk_graph_layer_norm(net.g, x, gamma, beta));
            if (twice) net_minimize(&net, sk_graph_layer_norm(net.g, x, beta, gamma));
            net_check(&net, WHAT("layer_norm, %d columns", cols), &net_smooth);
        }
}

Test(grad, pick) {
    for (int j = 0; j < SK_COUNT(widths); j++)
        for (int twice = 0; twice < 2; twice++) {
            small_net net = net_create((uint64_t)(500 + j));
            sk_tensor x = net_rows(&net, widths[j], -1.0, 1.0, NET_PLAIN);
            sk_tensor y = sk_graph_unary(net.g, SK_UNARY_TANH, x);
            net_minimize(&net, sk_graph_pick(net.g, y, net_choices(&net, 1, &widths[j])));
            if (twice) net_minimize(&net, sk_graph_pick(net.g, y, net_choices(&net, 1, &widths[j])));
            net_check(&net, WHAT("pick of %d", widths[j]), &net_smooth);
        }
}

Test(grad, sums_and_means) {
    for (int j = 0; j < SK_COUNT(widths); j++)
        for (int mean = 0; mean < 2; mean++) {
            small_net net = net_create((uint64_t)(600 + j));
            sk_tensor x = net_rows(&net, widths[j], 0.3, 1.0, NET_RANDOM_SIGNS);
            sk_tensor y = sk_graph_unary(net.g, SK_UNARY_SQUARE, x);
            sk_graph_minimize(net.g, mean ? sk_graph_mean(net.g, y) : sk_graph_sum(net.g, y),
                              0.5f); /* column 0 only */
            sk_graph_minimize(net.g, sk_graph_sum(net.g, sk_graph_row_sum(net.g, y)), -0.25f);
            net_check(&net, WHAT("sum, %d columns, mean %d", widths[j], mean), &net_smooth);
        }
}

Test(grad, concat_and_slice) {
    for (int i = 0; i < SK_COUNT(widths); i++)
        for (int j = 0; j < SK_COUNT(widths); j++) {
            small_net net = net_create((uint64_t)(700 + 10 * i + j));
            sk_tensor x = net_rows(&net, widths[i], -1.0, 1.0, NET_PLAIN);
            sk_tensor y = j % 2 ? net_input(&net, widths[j], -1.0, 1.0)
                                : net_rows(&net, widths[j], -1.0, 1.0, NET_PLAIN);
            sk_tensor z = sk_graph_unary(net.g, SK_UNARY_TANH, sk_graph_concat(net.g, x, y));
            int cols = widths[i] + widths[j];
            net_minimize(&net, sk_graph_slice(net.g, z, cols / 3, cols - cols / 3));
            net_minimize(&net, sk_graph_slice(net.g, z, 0, cols / 2)); /* overlaps */
            net_minimize(&net, sk_graph_concat(net.g, z, z));
            net_check(&net, WHAT("concat %d and %d", widths[i], widths[j]), &net_smooth);
        }
}

Test(grad, gather_and_normalize_feed_a_layer) {
    static const int table_rows[] = {23};
    for (int j = 0; j < SK_COUNT(widths); j++) {
        small_net net = net_create((uint64_t)(800 + j));
        int cols = widths[j];
        sk_tensor table = net_table(&net, table_rows[0], cols, -2.0, 2.0);
        sk_tensor x = sk_graph_gather(net.g, table, net_choices(&net, 1, table_rows));
        sk_tensor mean = net_const(&net, cols, -0.5, 0.5), inv_std = net_const(&net, cols, 0.5, 2.0);
        sk_tensor y = sk_graph_normalize(net.g, x, mean, inv_std, 1.0f);
        sk_tensor z = sk_graph_normalize(net.g, net_input(&net, cols, -2.0, 2.0), mean, inv_std, 1.5f);
        sk_tensor w = net_param(&net, cols, 3, 0.2, 0.8, NET_RANDOM_SIGNS);
        net_minimize(&net, sk_graph_linear(net.g, y, w, SK_NO_TENSOR, SK_UNARY_TANH));
        net_minimize(&net, sk_graph_linear(net.g, z, w, SK_NO_TENSOR, SK_UNARY_IDENTITY));
        net_minimize(&net, sk_graph_linear(net.g, x, w, SK_NO_TENSOR, SK_UNARY_SIGMOID));
        net_check(&net, WHAT("gather of %d columns", cols), &net_smooth);
    }
}

/* The gradient of one net, in an array the caller frees. */
static float *gradient_of(small_net *n) {
    cr_assert_eq(sk_graph_finish(n->g, NULL), SK_OK);
    net_run run = net_start(n, 2, NET_BLOCK_ROWS, NET_SLOTS);
    sk_plan_backward(run.plan, NET_ROWS);
    size_t bytes = sk_graph_param_floats(n->g) * sizeof(float);
    float *grad = malloc(bytes);
    memcpy(grad, sk_plan_grad(run.plan), bytes);
    net_stop(&run);
    return grad;
}

Test(grad, stop_gradient_and_normalize_stop_it_exactly) {
    small_net net = net_create(900);
    sk_tensor hidden = net_rows(&net, 5, -1.0, 1.0, NET_PLAIN),
              stopped = sk_graph_stop_gradient(net.g, hidden);
    sk_tensor mean = net_const(&net, 5, -0.5, 0.5), inv_std = net_const(&net, 5, 0.5, 2.0);
    sk_tensor cut = sk_graph_normalize(net.g, hidden, mean, inv_std, 1.0f);
    sk_tensor w = net_param(&net, 5, 2, -1.0, 1.0, NET_PLAIN);
    net_minimize(&net, sk_graph_linear(net.g, stopped, w, SK_NO_TENSOR, SK_UNARY_TANH));
    net_minimize(&net, sk_graph_linear(net.g, cut, w, SK_NO_TENSOR, SK_UNARY_TANH));
    float *grad = gradient_of(&net), size = 0.0f;
    const sk_node *behind = sk_graph_node(net.g, net.params[0].t), *after = sk_graph_node(net.g, w);
    for (int i = 0; i < behind->rows * behind->ld; i++) cr_assert_eq(grad[behind->offset + i], 0.0f);
    for (int i = 0; i < after->rows * after->ld; i++) size += fabsf(grad[after->offset + i]);
    cr_assert_gt(size, 0.1f, "the layer after the stop must learn");
    free(grad);
    sk_graph_destroy(&net.g);
}

Test(grad, stop_gradient_halves_the_slope_of_a_square) {
    float *grad[2];
    size_t n = 0;
    for (int stop = 0; stop < 2; stop++) {
        small_net net = net_create(901);
        sk_tensor x = net_rows(&net, 5, -1.0, 1.0, NET_PLAIN);
        net_minimize(&net,
                     sk_graph_binary(net.g, SK_BINARY_MUL, x, stop ? sk_graph_stop_gradient(net.g, x) : x));
        n = sk_graph_param_floats(net.g);
        grad[stop] = gradient_of(&net);
        sk_graph_destroy(&net.g);
    }
    for (size_t i = 0; i < n; i++) cr_assert_float_eq(grad[0][i], 2.0f * grad[1][i], 1e-6f);
    free(grad[0]);
    free(grad[1]);
}

Test(grad, adds_up_over_all_consumers_of_a_tensor) {
    small_net net = net_create(910);
    sk_tensor x = net_rows(&net, 6, -1.0, 1.0, NET_PLAIN);
    sk_tensor w = net_param(&net, 6, 6, -0.6, 0.6, NET_PLAIN),
              v = net_param(&net, 6, 1, -0.6, 0.6, NET_PLAIN);
    sk_tensor b = net_param(&net, 1, 6, -0.6, 0.6, NET_PLAIN);
    sk_tensor h = sk_graph_linear(net.g, x, w, b, SK_UNARY_TANH);
    net_minimize(&net, sk_graph_linear(net.g, h, w, b, SK_UNARY_SIGMOID)); /* W and b twice, h four times */
    net_minimize(&net, sk_graph_linear(net.g, h, v, SK_NO_TENSOR, SK_UNARY_IDENTITY));
    net_minimize(&net, sk_graph_binary(net.g, SK_BINARY_MUL, h, b));
    net_minimize(&net, sk_graph_binary(net.g, SK_BINARY_SUB, x, h));
    net_minimize(&net, sk_graph_row_sum(net.g, sk_graph_unary(net.g, SK_UNARY_SQUARE, x)));
    net_minimize(&net, sk_graph_affine(net.g, x, 0.5f, 0.1f));
    net_check(&net, "many consumers", &net_smooth);
}

Test(grad, layer_of_one_input_used_twice) { /* K == 1 has ways of its own */
    small_net net = net_create(911);
    sk_tensor x = net_rows(&net, 1, -1.0, 1.0, NET_PLAIN);
    sk_tensor w = net_param(&net, 1, 7, -0.8, 0.8, NET_PLAIN), v = net_param(&net, 1, 1, 0.3, 0.8, NET_PLAIN);
    net_minimize(&net, sk_graph_linear(net.g, x, w, SK_NO_TENSOR, SK_UNARY_TANH));
    net_minimize(&net, sk_graph_linear(net.g, x, w, w, SK_UNARY_SIGMOID)); /* the weight as its own bias */
    net_minimize(&net, sk_graph_linear(net.g, x, v, v, SK_UNARY_TANH));
    net_check(&net, "one input, twice", &net_smooth);
}

Test(grad, leaves_out_what_is_not_minimised) {
    small_net net = net_create(912);
    sk_tensor x = net_rows(&net, 3, -1.0, 1.0, NET_PLAIN), y = net_rows(&net, 3, -1.0, 1.0, NET_PLAIN);
    sk_tensor unused = net_param(&net, 4, 4, -1.0, 1.0, NET_PLAIN),
              z = sk_graph_binary(net.g, SK_BINARY_MUL, x, y);
    sk_graph_sum(net.g, sk_graph_row_sum(net.g, z)); /* a metric: watched, not minimised */
    sk_graph_output(net.g, z);
    net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, x));
    float *grad = gradient_of(&net);
    for (int p = 1; p < 3; p++) {
        const sk_node *n = sk_graph_node(net.g, p == 1 ? net.params[1].t : unused);
        for (int i = 0; i < n->rows * n->ld; i++) cr_assert_eq(grad[n->offset + i], 0.0f);
    }
    free(grad);
    sk_graph_destroy(&net.g);
}

Test(grad, three_layers_with_two_heads) {
    small_net net = net_create(920);
    sk_tensor h = net_input(&net, 4, -1.0, 1.0);
    for (int layer = 0, k = 4; layer < 2; layer++, k = 64)
        h = sk_graph_linear(net.g, h, net_param(&net, k, 64, -0.3, 0.3, NET_PLAIN),
                            net_param(&net, 1, 64, -0.3, 0.3, NET_PLAIN), SK_UNARY_TANH);
    sk_graph_output(net.g, h); /* a kept tensor lies elsewhere */
    for (int head = 1; head <= 6; head += 5)
        net_minimize(&net,
                     sk_graph_linear(net.g, h, net_param(&net, 64, head, -0.3, 0.3, NET_PLAIN),
                                     net_param(&net, 1, head, -0.3, 0.3, NET_PLAIN), SK_UNARY_IDENTITY));
    net_check(&net, "three layers", &net_smooth);
}
