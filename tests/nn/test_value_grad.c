/* Gradients of the ops of value-based learning against central differences. Their values: test_value_ops.c. */
#include "tests/nn/grad_net.h"

static char what[128];
#define WHAT(...) (snprintf(what, sizeof what, __VA_ARGS__), what)

static const int groups[] = {1, 2, 3, 7}, widths[] = {1, 2, 5, 17};

/* x as rows that want a gradient, or as data. */
static sk_tensor rows_or_input(small_net *n, int wants, int cols) {
    return wants ? net_rows(n, cols, -1.0, 1.0, NET_PLAIN) : net_input(n, cols, -1.0, 1.0);
}

/* which: 1 values want a gradient, 2 advantages do, 3 both. */
Test(grad, dueling) {
    for (int i = 0; i < SK_COUNT(groups); i++)
        for (int j = 0; j < SK_COUNT(widths); j++)
            for (int which = 1; which < 4; which++)
                for (int twice = 0; twice < 2; twice++) {
                    small_net net = net_create((uint64_t)(5000 + 100 * i + 10 * j + which));
                    int n = groups[i], k = widths[j];
                    sk_tensor v = rows_or_input(&net, which & 1, k), a = rows_or_input(&net, which & 2, n * k);
                    if (twice && which == 3) {
                        net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, v));
                        net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, a));
                    }
                    sk_tensor q = sk_graph_dueling(net.g, v, a, n);
                    net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, q));
                    if (twice) net_minimize(&net, sk_graph_dueling(net.g, v, a, n));
                    net_check(&net, WHAT("dueling, %d actions of %d, %d", n, k, which), &net_smooth);
                }
}

Test(grad, dueling_of_a_tensor_with_itself) {
    small_net net = net_create(5900);
    sk_tensor x = net_rows(&net, 5, -1.0, 1.0, NET_PLAIN);
    net_minimize(&net, sk_graph_dueling(net.g, x, sk_graph_unary(net.g, SK_UNARY_SQUARE, x), 1));
    net_minimize(&net, sk_graph_dueling(net.g, x, x, 1));
    net_check(&net, "dueling with itself", &net_smooth);
}

/* A layer on top reads the padding if there is something in it. */
Test(grad, dueling_below_a_layer) {
    small_net net = net_create(5901);
    sk_tensor v = net_rows(&net, 3, -1.0, 1.0, NET_PLAIN), a = net_rows(&net, 15, -1.0, 1.0, NET_PLAIN);
    sk_tensor w = net_param(&net, 15, 1, -0.6, 0.6, NET_PLAIN), q = sk_graph_dueling(net.g, v, a, 5);
    net_minimize(&net, sk_graph_linear(net.g, q, w, SK_NO_TENSOR, SK_UNARY_TANH));
    net_check(&net, "dueling below a layer", &net_smooth);
}

Test(grad, take) {
    for (int i = 0; i < SK_COUNT(groups); i++)
        for (int j = 0; j < SK_COUNT(widths); j++)
            for (int twice = 0; twice < 2; twice++) {
                small_net net = net_create((uint64_t)(6000 + 10 * i + j));
                int n = groups[i], k = widths[j];
                sk_tensor x = net_rows(&net, n * k, -1.0, 1.0, NET_PLAIN);
                sk_tensor y = sk_graph_take(net.g, x, net_choices(&net, 1, &n), k);
                net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, y));
                if (twice) net_minimize(&net, sk_graph_take(net.g, x, net_choices(&net, 1, &n), k));
                net_check(&net, WHAT("take one of %d groups of %d", n, k), &net_smooth);
            }
}

/* max over actions: the gradient flows to the choice, not through choosing. */
Test(grad, take_of_the_argmax) {
    small_net net = net_create(6100);
    sk_tensor x = net_rows(&net, 3, -1.0, 1.0, NET_PLAIN);
    net_minimize(&net, sk_graph_take(net.g, x, sk_graph_argmax(net.g, x, SK_NO_TENSOR), 1));
    net_check(&net, "max", &net_smooth);
}

Test(grad, group_mean) {
    for (int i = 0; i < SK_COUNT(groups); i++)
        for (int j = 0; j < SK_COUNT(widths); j++)
            for (int twice = 0; twice < 2; twice++) {
                small_net net = net_create((uint64_t)(6200 + 10 * i + j));
                int n = groups[i], k = widths[j];
                sk_tensor x = net_rows(&net, n * k, -1.0, 1.0, NET_PLAIN);
                sk_tensor y = sk_graph_group_mean(net.g, x, n);
                net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, y));
                if (twice) net_minimize(&net, sk_graph_group_mean(net.g, x, n));
                net_check(&net, WHAT("means of %d groups of %d", n, k), &net_smooth);
            }
}

/* target: 0 an input that is no distribution, 1 a softmax, 2 what C51 makes. */
static sk_tensor add_target(small_net *n, int how, int k) {
    sk_tensor x = net_input(n, k, -1.0, 1.0);
    if (how == 1) return sk_graph_softmax(n->g, x);
    if (how == 2)
        return sk_graph_c51_target(n->g, x, net_input(n, 1, -1.0, 1.0), net_input(n, 1, 0.0, 1.0), -1.0f, 2.0f);
    return x;
}

Test(grad, cross_entropy) {
    for (int j = 0; j < SK_COUNT(widths); j++)
        for (int how = 0; how < 3; how++)
            for (int twice = 0; twice < 2; twice++) {
                int k = widths[j];
                if (how == 2 && k == 1) continue; /* no support */
                small_net net = net_create((uint64_t)(6300 + 10 * j + how));
                sk_tensor x = net_rows(&net, k, -1.5, 1.5, NET_PLAIN);
                net_minimize(&net, sk_graph_cross_entropy(net.g, x, add_target(&net, how, k)));
                if (twice) net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, x));
                if (twice) net_minimize(&net, sk_graph_cross_entropy(net.g, x, add_target(&net, 0, k)));
                net_check(&net, WHAT("cross entropy of %d, target %d", k, how), &net_smooth);
            }
}

/* Differences of 0.3 to 0.7 and 1.8 to 2.2 of both signs stay clear of the bends at 0 and kappa. */
static sk_tensor add_samples(small_net *n, int cols) {
    static const float at[] = {0.5f, -2.0f, 2.0f, -0.5f};
    sk_tensor t = net_input(n, cols, -0.1, 0.1);
    float *x = net_values(n, t);
    for (int i = 0; i < NET_ROWS * cols; i++) x[i] += at[fix_below(&n->seed, 4)];
    return t;
}

Test(grad, quantile_huber) {
    static const float kappas[] = {0.0f, 0.15f, 1.0f, 10.0f};
    for (int j = 0; j < SK_COUNT(widths); j++)
        for (int i = 0; i < SK_COUNT(kappas); i++)
            for (int twice = 0; twice < 2; twice++) {
                small_net net = net_create((uint64_t)(6400 + 10 * j + i));
                sk_tensor theta = net_rows(&net, widths[j], -0.1, 0.1, NET_PLAIN);
                if (twice) net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, theta));
                sk_tensor y = add_samples(&net, widths[j]);
                net_minimize(&net, sk_graph_quantile_huber(net.g, theta, y, kappas[i]));
                if (twice) y = add_samples(&net, widths[SK_COUNT(widths) - 1 - j]); /* of any number */
                if (twice) net_minimize(&net, sk_graph_quantile_huber(net.g, theta, y, kappas[i]));
                net_check(&net, WHAT("quantiles %d, kappa %g", widths[j], (double)kappas[i]), &net_steep);
            }
}

/* which: 1 x wants a gradient, 2 the column does, 3 both. */
Test(grad, binary_with_a_column) {
    static const int cols[] = {2, 5, 16, 17};
    for (int kind = 0; kind < SK_BINARY_COUNT; kind++)
        for (int j = 0; j < SK_COUNT(cols); j++)
            for (int which = 1; which < 4; which++)
                for (int twice = 0; twice < 2; twice++) {
                    small_net net = net_create((uint64_t)(7000 + 100 * kind + 10 * j + which));
                    double low = kind == SK_BINARY_DIV ? 0.7 : -0.3, high = kind == SK_BINARY_DIV ? 1.5 : 0.3;
                    sk_tensor x = which & 1 ? net_rows(&net, cols[j], 0.6, 1.4, NET_RANDOM_SIGNS)
                                            : net_input(&net, cols[j], 0.6, 1.4);
                    sk_tensor y = which & 2 ? net_rows(&net, 1, low, high, NET_PLAIN) : net_input(&net, 1, low, high);
                    sk_tensor z = sk_graph_binary(net.g, (sk_binary)kind, x, y);
                    net_minimize(&net, z);
                    if (twice) net_minimize(&net, sk_graph_binary(net.g, (sk_binary)kind, x, y));
                    if (twice && which == 3) net_minimize(&net, sk_graph_binary(net.g, SK_BINARY_ADD, x, y));
                    net_check(&net, WHAT("binary %d of %d with a column, %d", kind, cols[j], which), &net_smooth);
                }
}

Test(grad, binary_with_a_column_of_its_own) {
    small_net net = net_create(7900);
    sk_tensor x = net_rows(&net, 6, -1.0, 1.0, NET_PLAIN);
    net_minimize(&net, sk_graph_binary(net.g, SK_BINARY_MUL, x, sk_graph_row_sum(net.g, x)));
    net_check(&net, "x times the sum of its row", &net_smooth);
}

/* Fortunato et al. 2018, eq. 8 with factorised noise: y = x mu + mu_b + ((x e_in) sigma) e_out + sigma_b e_out. */
static sk_tensor noisy_linear(small_net *n, sk_tensor x, int cols_out, int noise_by_row) {
    sk_graph *g = n->g;
    int k = sk_graph_node(g, x)->cols;
    sk_tensor mu = net_param(n, k, cols_out, -0.5, 0.5, NET_PLAIN),
              mu_b = net_param(n, 1, cols_out, -0.5, 0.5, NET_PLAIN);
    sk_tensor sigma = net_param(n, k, cols_out, 0.1, 0.4, NET_PLAIN),
              sigma_b = net_param(n, 1, cols_out, 0.1, 0.4, NET_PLAIN);
    sk_tensor e_in = noise_by_row ? net_input(n, k, -1.5, 1.5) : net_const(n, k, -1.5, 1.5);
    sk_tensor e_out = noise_by_row ? net_input(n, cols_out, -1.5, 1.5) : net_const(n, cols_out, -1.5, 1.5);
    sk_tensor noise = sk_graph_linear(g, sk_graph_binary(g, SK_BINARY_MUL, x, e_in), sigma, sigma_b, SK_UNARY_IDENTITY);
    noise = sk_graph_binary(g, SK_BINARY_MUL, noise, e_out);
    return sk_graph_binary(g, SK_BINARY_ADD, sk_graph_linear(g, x, mu, mu_b, SK_UNARY_IDENTITY), noise);
}

Test(grad, noisy_layers) {
    for (int j = 0; j < SK_COUNT(widths); j++)
        for (int by_row = 0; by_row < 2; by_row++) {
            small_net net = net_create((uint64_t)(7950 + j));
            sk_tensor x = net_rows(&net, 4, -1.0, 1.0, NET_PLAIN);
            sk_tensor h = sk_graph_unary(net.g, SK_UNARY_TANH, noisy_linear(&net, x, widths[j], by_row));
            net_minimize(&net, noisy_linear(&net, h, widths[SK_COUNT(widths) - 1 - j], by_row));
            net_check(&net, WHAT("noisy layers of %d, noise by row %d", widths[j], by_row), &net_smooth);
        }
}

/* Prioritised replay: sum over rows of weight * loss / B. */
Test(grad, weighted_mean_of_a_loss) {
    small_net net = net_create(7960);
    static const int n = 4;
    sk_tensor q = net_rows(&net, n, -2.0, 2.0, NET_PLAIN);
    sk_tensor target = net_input(&net, 1, 4.0, 5.0);
    float *values = net_values(&net, target);
    for (int r = 0; r < NET_ROWS; r += 2) values[r] = -values[r]; /* errors of 2 to 7, of both signs */
    sk_tensor err = sk_graph_binary(net.g, SK_BINARY_SUB, sk_graph_take(net.g, q, net_choices(&net, 1, &n), 1), target);
    sk_tensor loss = sk_graph_binary(net.g, SK_BINARY_ADD, sk_graph_huber(net.g, err, 1.0f),
                                     sk_graph_huber(net.g, err, 20.0f));
    loss = sk_graph_binary(net.g, SK_BINARY_MUL, loss, net_input(&net, 1, 0.1, 1.0));
    sk_graph_minimize(net.g, sk_graph_mean(net.g, loss), 3.0f);
    net_check(&net, "weighted mean", &net_smooth);
}
