/* Squashed and state-dependent noise: gradients by differences, values against doubles far into saturation, and the
 * distribution that is drawn from. */
#include "tests/nn/grad_net.h"

static char what[128];
#define WHAT(...) (snprintf(what, sizeof what, __VA_ARGS__), what)
static const int widths[] = {1, 2, 6, 17};

/* ---- gradients ---- */

/* log_std: 0 a parameter, 1 rows, 2 the very tensor that is the mean. */
Test(grad, squashed_gaussian) {
    for (int i = 0; i < SK_COUNT(widths); i++)
        for (int how = 0; how < 3; how++)
            for (int twice = 0; twice < 2; twice++) {
                small_net net = net_create((uint64_t)(4000 + 10 * i + how));
                int cols = widths[i];
                sk_tensor mean = net_rows(&net, cols, -0.8, 0.8, NET_PLAIN), log_std = mean;
                if (how == 0) log_std = net_param(&net, 1, cols, -0.8, 0.3, NET_PLAIN);
                if (how == 1) log_std = net_rows(&net, cols, -0.8, 0.3, NET_PLAIN);
                for (int use = 0; use <= twice; use++) {
                    sk_tensor noise = net_input(&net, cols, -1.2, 1.2);
                    net_minimize(&net, sk_graph_squashed_gaussian(net.g, mean, log_std, noise));
                    if (use) net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, mean));
                }
                net_check(&net, WHAT("squashed gaussian %d columns, log_std %d", cols, how), &net_steep);
            }
}

/* As SAC uses it: the log-prob and a critic that is only read, on the action. */
Test(grad, squashed_gaussian_below_a_read_only_critic) {
    small_net net = net_create(4050);
    sk_tensor h = net_rows(&net, 7, -0.5, 0.5, NET_PLAIN), noise = net_input(&net, 3, -1.0, 1.0);
    sk_tensor mean = sk_graph_slice(net.g, h, 0, 3), log_std = sk_graph_slice(net.g, h, 3, 3);
    sk_tensor draw = sk_graph_squashed_gaussian(net.g, mean, log_std, noise);
    sk_tensor q_in = sk_graph_concat(net.g, net_input(&net, 4, -1.0, 1.0), sk_graph_slice(net.g, draw, 0, 3));
    sk_graph_use_group(net.g, 1);
    sk_tensor q = sk_graph_linear(net.g, q_in, sk_graph_param(net.g, "w0", 7, 20), sk_graph_param(net.g, "b0", 1, 20),
                                  SK_UNARY_TANH);
    q = sk_graph_linear(net.g, q, sk_graph_param(net.g, "w1", 20, 1), SK_NO_TENSOR, SK_UNARY_IDENTITY);
    sk_graph_minimize(net.g, sk_graph_mean(net.g, q), -1.0f);
    sk_graph_minimize(net.g, sk_graph_mean(net.g, sk_graph_slice(net.g, draw, 3, 1)), 0.3f);
    net_check(&net, "an actor below its critic", &net_steep);
}

Test(grad, sde_log_std) {
    for (int i = 0; i < SK_COUNT(widths); i++)
        for (int k = 1; k <= 40; k += 13)
            for (int twice = 0; twice < 2; twice++) {
                small_net net = net_create((uint64_t)(4100 + 10 * i + k));
                sk_tensor x = net_input(&net, k, -1.0, 1.0);
                sk_tensor log_std = net_param(&net, k, widths[i], -0.5, 0.5, NET_PLAIN);
                for (int use = 0; use <= twice; use++)
                    net_minimize(&net, sk_graph_sde_log_std(net.g, use ? net_input(&net, k, 0.5, 1.0) : x, log_std));
                net_check(&net, WHAT("sde of %d features, %d columns", k, widths[i]), &net_steep);
            }
}

Test(grad, sde_log_std_below_a_gaussian_gives_its_features_no_gradient) {
    small_net net = net_create(4190);
    sk_tensor x = net_rows(&net, 9, -1.0, 1.0, NET_PLAIN), log_std = net_param(&net, 9, 2, -0.5, 0.5, NET_PLAIN);
    sk_tensor mean = net_rows(&net, 2, -0.5, 0.5, NET_PLAIN), noise = net_input(&net, 2, -1.0, 1.0);
    sk_tensor stated = sk_graph_sde_log_std(net.g, x, log_std);
    cr_assert_not(sk_graph_node(net.g, sk_graph_node(net.g, stated)->in[0])->needs_grad);
    net_minimize(&net, sk_graph_squashed_gaussian(net.g, mean, stated, noise));
    cr_assert_eq(sk_graph_finish(net.g, NULL), SK_OK);
    net_run run = net_start(&net, 2, NET_BLOCK_ROWS, NET_SLOTS);
    sk_plan_backward(run.plan, NET_ROWS);
    for (int p = 0; p < 3; p++) {
        const sk_node *node = sk_graph_node(net.g, net.params[p].t);
        float size = 0.0f;
        for (int i = 0; i < node->rows * node->ld; i++) size += fabsf(sk_plan_grad(run.plan)[node->offset + i]);
        if (p == 0) cr_assert_eq(size, 0.0f);
        else cr_assert_gt(size, 0.1f);
    }
    net_stop(&run);
    sk_graph_destroy(&net.g);
    guard_check_all();
}

/* ---- values ---- */

enum { ROWS = 203 };

/* One squashed draw in double: out = action, log-prob; slopes of a * action + b * log-prob by mean and log_std. */
static void exact_squashed(double mean, double log_std, double noise, double a, double b, double out[2],
                           double slope[2]) {
    double s = fmin(2.0, fmax(-20.0, log_std)), step = exp(s) * noise, u = mean + step, e = exp(-2.0 * fabs(u));
    double log_slope = 2.0 * (log(2.0) - fabs(u) - log1p(e)), squeeze = 4.0 * e / ((1.0 + e) * (1.0 + e));
    out[0] = tanh(u);
    out[1] = -0.5 * noise * noise - s - 0.5 * log(2.0 * 3.14159265358979323846) - log_slope;
    slope[0] = a * squeeze + b * 2.0 * tanh(u);
    slope[1] = log_std < -20.0 || log_std > 2.0 ? 0.0 : slope[0] * step - b;
}

/* |got - want| within `ulps` roundings of the sizes that are added up. */
static void assert_near(double got, double want, double size, double ulps, const char *name, int row) {
    cr_assert(fabs(got - want) <= ulps * 0x1p-24 * size, "%s, row %d: %.9g, should be %.9g", name, row, got, want);
}

Test(squashed, agrees_with_double_far_into_saturation) {
    static const double reach[] = {0.01, 1.0, 5.0, 25.0, 300.0};
    FOR_LEVELS(level, k)
    for (int i = 0; i < SK_COUNT(widths); i++)
        for (int s = 0; s < SK_COUNT(reach); s++) {
            int cols = widths[i], ld = cols == 1 ? 1 : (cols + 15) / 16 * 16, out_ld = (cols + 16) / 16 * 16;
            uint64_t seed = (uint64_t)(10 * i + s);
            float *mean = guard_fill((size_t)(ROWS * ld), &seed, -reach[s], reach[s]);
            float *log_std = guard_fill((size_t)(ROWS * ld), &seed, -25.0, 3.0);
            float *noise = guard_fill((size_t)(ROWS * cols), &seed, -3.0, 3.0);
            float *out = guard_alloc((size_t)(ROWS * out_ld)), *d_mean = guard_alloc((size_t)(ROWS * ld));
            float *d_out = guard_fill((size_t)(ROWS * out_ld), &seed, -1.0, 1.0);
            float *d_log_std = guard_alloc((size_t)(ROWS * ld));
            sk_squashed g = {.rows = ROWS, .cols = cols, .ld = ld, .log_std_ld = ld, .mean = mean, .log_std = log_std,
                             .noise = noise, .noise_ld = cols, .out = out, .out_ld = out_ld, .d_out = d_out,
                             .d_mean = d_mean, .d_log_std = d_log_std};
            k->squashed(&g);
            k->squashed_grad(&g);
            for (int r = 0; r < ROWS; r++) {
                double logp = 0.0, logp_size = 0.0, b = (double)d_out[r * out_ld + cols];
                for (int c = 0; c < cols; c++) {
                    double want[2], slope[2], m = (double)mean[r * ld + c], ls = (double)log_std[r * ld + c];
                    double e = (double)noise[r * cols + c], a = (double)d_out[r * out_ld + c];
                    exact_squashed(m, ls, e, a, b, want, slope);
                    double step = fabs(exp(fmin(2.0, fmax(-20.0, ls))) * e), size_u = fabs(m) + 4.0 * step;
                    cr_assert_leq(fabsf(out[r * out_ld + c]), 1.0f);
                    assert_near((double)out[r * out_ld + c], want[0], 1.0 + size_u, 6.0, "action", r);
                    double slope_size = (fabs(a) + 2.0 * fabs(b)) * (1.0 + size_u);
                    assert_near((double)d_mean[r * ld + c], slope[0], slope_size, 8.0, "d mean", r);
                    assert_near((double)d_log_std[r * ld + c], slope[1], slope_size * (1.0 + step), 12.0, "d log_std",
                                r);
                    logp += want[1];
                    logp_size += 0.5 * e * e + 20.0 + 2.0 * size_u + 4.0;
                }
                assert_near((double)out[r * out_ld + cols], logp, logp_size * (1.0 + 0.3 * cols), 2.0, "log-prob", r);
                for (int c = cols + 1; c < out_ld; c++) cr_assert_eq(out[r * out_ld + c], 0.0f, "padding");
                for (int c = cols; c < ld; c++) cr_assert(d_mean[r * ld + c] == 0.0f && d_log_std[r * ld + c] == 0.0f);
            }
            guard_check_all();
        }
}

/* Where 1 - tanh(u)^2 taken from a rounded tanh would be noise or 0, the slope keeps its relative precision. */
Test(squashed, slope_of_the_action_keeps_its_precision_at_saturation) {
    FOR_LEVELS(level, k)
    for (double u = -30.0; u <= 30.0; u += 0.37) {
        float mean = (float)u, log_std = 0.0f, noise = 0.0f, out[SK_PAD], d_out[SK_PAD] = {1.0f, 0.0f}, d_mean;
        sk_squashed g = {.rows = 1, .cols = 1, .ld = 1, .log_std_ld = 1, .mean = &mean, .log_std = &log_std,
                         .noise = &noise, .noise_ld = 1, .out = out, .out_ld = SK_PAD, .d_out = d_out,
                         .d_mean = &d_mean};
        k->squashed(&g);
        k->squashed_grad(&g);
        double e = exp(-2.0 * fabs((double)mean)), want = 4.0 * e / ((1.0 + e) * (1.0 + e));
        cr_assert_float_eq((double)d_mean / want, 1.0, 1e-6, "v%d, u = %g", level, u);
        double logp = -0.5 * log(2.0 * 3.14159265358979323846) - log(want);
        cr_assert_float_eq((double)out[1], logp, 4e-7 * (2.0 + 2.0 * fabs(u)), "v%d, u = %g", level, u);
    }
}

/* The density that is claimed is the one of the actions: it integrates to 1 over [-1, 1]. */
Test(squashed, density_integrates_to_one) {
    static const float means[] = {0.0f, -0.8f, 1.5f}, log_stds[] = {-1.5f, -0.3f, 0.4f};
    for (int m = 0; m < 3; m++)
        for (int s = 0; s < 3; s++) {
            double total = 0.0, last = -1.0;
            enum { N = 20000 };
            for (int i = 0; i <= N; i++) { /* over the noise, so that the points crowd where the density is high */
                float noise = (float)(-8.0 + 16.0 * i / N), out[SK_PAD];
                sk_kernels_get()->squashed(&(sk_squashed){.rows = 1, .cols = 1, .ld = 1, .log_std_ld = 1,
                                                          .mean = &means[m], .log_std = &log_stds[s],
                                                          .noise = &noise, .noise_ld = 1, .out = out,
                                                          .out_ld = SK_PAD});
                double at = tanh((double)means[m] + exp((double)log_stds[s]) * (double)noise);
                if (i > 0) total += exp((double)out[1]) * (at - last);
                last = at;
            }
            cr_assert_float_eq(total, 1.0, 2e-3, "mean %g, log_std %g: %g", (double)means[m], (double)log_stds[s],
                               total);
        }
}

/* ---- state-dependent exploration ---- */

enum { N_DRAWS = 20000, N_X = 11, N_ACT = 3 };

/* A graph that states the deviation and draws. */
typedef struct sde_net {
    sk_graph *g;
    sk_device *dev;
    sk_buffer *params;
    sk_plan *plan;
    sk_tensor stated, drawn, mean, x, eps;
} sde_net;
static void sde_create(sde_net *n, int cols, int max_rows) {
    uint64_t seed = 5;
    sk_plan_params how = {.max_rows = max_rows};
    cr_assert_eq(sk_graph_create(&n->g, NULL), SK_OK);
    n->mean = sk_graph_input(n->g, "mean", cols);
    n->x = sk_graph_input(n->g, "x", N_X);
    n->eps = sk_graph_input(n->g, "eps", N_X * cols);
    sk_tensor w = sk_graph_param(n->g, "log_std", N_X, cols);
    n->stated = sk_graph_sde_log_std(n->g, n->x, w);
    n->drawn = sk_graph_sde_sample(n->g, n->mean, n->x, w, n->eps);
    sk_graph_output(n->g, n->stated);
    sk_graph_output(n->g, n->drawn);
    sk_error err = {0};
    cr_assert_eq(sk_graph_finish(n->g, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_device_create_cpu(2, &n->dev, NULL), SK_OK);
    cr_assert_eq(sk_buffer_create(n->dev, sk_graph_param_floats(n->g) * sizeof(float), &n->params, NULL), SK_OK);
    const sk_node *node = sk_graph_node(n->g, w);
    for (int i = 0; i < N_X; i++) /* one weight on either side of its clamp */
        for (int c = 0; c < cols; c++)
            ((float *)sk_buffer_host(n->params))[i * node->ld + c] =
                i == 3 ? -30.0f : i == 4 ? 2.5f : (float)fix_uniform(&seed, -2.0, 0.5);
    cr_assert_eq(sk_plan_create(n->dev, n->g, n->params, &how, &n->plan, NULL), SK_OK);
}
static void sde_destroy(sde_net *n) {
    sk_plan_destroy(&n->plan);
    sk_buffer_destroy(&n->params);
    sk_device_destroy(&n->dev);
    sk_graph_destroy(&n->g);
}
static double sde_weight(sde_net *n, int i, int c) {
    const sk_node *node = sk_graph_node(n->g, sk_graph_find_param(n->g, "log_std"));
    return exp(fmin(2.0, fmax(-20.0, (double)((float *)sk_buffer_host(n->params))[i * node->ld + c])));
}
/* Box & Muller */
static float normal(uint64_t *seed) {
    double u = fix_uniform(seed, 1e-12, 1.0), v = fix_uniform(seed, 0.0, 1.0);
    return (float)(sqrt(-2.0 * log(u)) * cos(2.0 * 3.14159265358979323846 * v));
}

Test(sde, agrees_with_double_and_a_row_does_not_depend_on_its_batch) {
    enum { MANY = 70 };
    for (int level = 2; level <= 4; level++)
        for (int i = 0; i < SK_COUNT(widths) && sk_kernels_at(level); i++) {
            int cols = widths[i];
            sde_net n;
            uint64_t seed = 9;
            setenv("SKIFF_ISA", (const char[]){'v', (char)('0' + level), 0}, 1);
            sde_create(&n, cols, MANY);
            float *mean = guard_fill((size_t)(MANY * cols), &seed, -1.0, 1.0);
            float *x = guard_fill(MANY * N_X, &seed, -1.0, 1.0);
            float *eps = guard_fill((size_t)(MANY * N_X * cols), &seed, -2, 2);
            int ld = sk_graph_node(n.g, n.stated)->ld;
            sk_plan_bind_host(n.plan, n.mean, mean);
            sk_plan_bind_host(n.plan, n.x, x);
            sk_plan_bind_host(n.plan, n.eps, eps);
            sk_plan_forward(n.plan, MANY);
            float *stated = guard_copy(sk_plan_output(n.plan, n.stated), (size_t)(MANY * ld));
            float *drawn = guard_copy(sk_plan_output(n.plan, n.drawn), (size_t)(MANY * ld));
            for (int r = 0; r < MANY; r++)
                for (int c = 0; c < cols; c++) {
                    double var = 1e-6, at = (double)mean[r * cols + c], size = fabs(at);
                    for (int j = 0; j < N_X; j++) {
                        double step = (double)x[r * N_X + j] * sde_weight(&n, j, c);
                        var += step * step;
                        at += step * (double)eps[(r * N_X + j) * cols + c];
                        size += fabs(step * (double)eps[(r * N_X + j) * cols + c]);
                    }
                    cr_assert_float_eq((double)stated[r * ld + c], 0.5 * log(var), 2e-6, "v%d row %d", level, r);
                    assert_near((double)drawn[r * ld + c], at, size, 20.0, "draw", r);
                }
            for (int r = 0; r < MANY; r++) {
                sk_plan_bind_host(n.plan, n.mean, mean + r * cols);
                sk_plan_bind_host(n.plan, n.x, x + r * N_X);
                sk_plan_bind_host(n.plan, n.eps, eps + r * N_X * cols);
                sk_plan_forward(n.plan, 1);
                assert_same_bits(sk_plan_output(n.plan, n.stated), stated + r * ld, (size_t)ld, "stated");
                assert_same_bits(sk_plan_output(n.plan, n.drawn), drawn + r * ld, (size_t)ld, "drawn");
            }
            sde_destroy(&n);
            guard_check_all();
        }
}

/* Of normal eps comes the deviation that sde_log_std states: 4 standard errors of an estimate of 20,000. */
Test(sde, draws_have_the_stated_deviation) {
    sde_net n;
    uint64_t seed = 17;
    sde_create(&n, N_ACT, N_DRAWS);
    float *mean = calloc(N_DRAWS * N_ACT, sizeof *mean), *x = malloc(N_DRAWS * N_X * sizeof *x);
    float *eps = malloc(sizeof(float) * N_DRAWS * N_X * N_ACT);
    for (int i = 0; i < N_DRAWS * N_X * N_ACT; i++) eps[i] = normal(&seed);
    for (int r = 0; r < N_DRAWS; r++)
        for (int i = 0; i < N_X; i++) x[r * N_X + i] = 0.1f * (float)(i - 5);
    for (int i = 0; i < N_DRAWS * N_ACT; i++) mean[i] = 0.5f * (float)(i % N_ACT);
    sk_plan_bind_host(n.plan, n.mean, mean);
    sk_plan_bind_host(n.plan, n.x, x);
    sk_plan_bind_host(n.plan, n.eps, eps);
    sk_plan_forward(n.plan, N_DRAWS);
    for (int c = 0; c < N_ACT; c++) {
        double sum = 0.0, square = 0.0, stated = exp((double)sk_plan_output(n.plan, n.stated)[c]);
        for (int r = 0; r < N_DRAWS; r++) sum += (double)sk_plan_output(n.plan, n.drawn)[r * SK_PAD + c];
        for (int r = 0; r < N_DRAWS; r++)
            square += pow((double)sk_plan_output(n.plan, n.drawn)[r * SK_PAD + c] - sum / N_DRAWS, 2);
        double std = sqrt(square / N_DRAWS);
        cr_assert_float_eq(std / stated, 1.0, 4.0 / sqrt(2.0 * N_DRAWS), "column %d: %g, stated %g", c, std, stated);
        cr_assert_float_eq(sum / N_DRAWS, 0.5 * c, 4.0 * stated / sqrt((double)N_DRAWS), "column %d", c);
    }
    free(mean);
    free(x);
    free(eps);
    sde_destroy(&n);
}

Test(sde, weights_outside_their_clamp_get_no_gradient) {
    FOR_LEVELS(level, k) {
        float x[2] = {1.0f, 0.5f}, log_std[2 * SK_PAD] = {-21.0f, 0.5f, 2.5f}, out[SK_PAD], d_out[SK_PAD] = {1, 1, 1};
        float squares[2], wide[SK_PAD], table[2 * SK_PAD], sums[2 * SK_PAD], d[2 * SK_PAD] = {0};
        sk_sde s = {.rows = 1, .k = 2, .cols = 3, .padded = SK_PAD, .x = x, .x_ld = 2, .log_std = log_std,
                    .log_std_ld = SK_PAD, .out = out, .out_ld = SK_PAD, .d_out = d_out, .d_log_std = d,
                    .squares = squares, .wide = wide, .table = table, .sums = sums};
        k->sde_log_std(&s);
        k->sde_log_std_grad(&s);
        cr_assert(d[0] == 0.0f && d[2] == 0.0f && d[1] > 0.5f, "v%d: %g %g %g", level, (double)d[0], (double)d[1],
                  (double)d[2]);
    }
}

/* ---- shapes ---- */

static void assert_refused(sk_graph *g, sk_tensor t, const char *want) {
    sk_error err = {0};
    cr_assert_eq(t, -1, "was not refused; should say \"%s\"", want);
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, want), "says \"%s\", should say \"%s\"", err.msg, want);
}

Test(sde, wrong_shapes_are_refused) {
    for (int i = 0; i < 6; i++) {
        sk_graph *g = NULL;
        cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
        sk_tensor r3 = sk_graph_input(g, "r3", 3), r2 = sk_graph_input(g, "r2", 2), w = sk_graph_param(g, "w", 3, 2);
        sk_tensor learnt = sk_graph_linear(g, r3, w, SK_NO_TENSOR, SK_UNARY_TANH), e6 = sk_graph_input(g, "e6", 6);
        if (i == 0) assert_refused(g, sk_graph_squashed_gaussian(g, r3, r2, r3), "of 2 and noise of 3");
        if (i == 1) assert_refused(g, sk_graph_squashed_gaussian(g, r2, r2, learnt), "squashed_gaussian");
        if (i == 2) assert_refused(g, sk_graph_sde_log_std(g, r2, w), "features (B x 2) and log_std \"w\" (3 x 2)");
        if (i == 3) assert_refused(g, sk_graph_sde_sample(g, r3, r3, w, e6), "mean (B x 3)");
        if (i == 4) assert_refused(g, sk_graph_sde_sample(g, r2, r3, w, r3), "noise (B x 3)");
        if (i == 5) {
            cr_assert_geq(sk_graph_sde_sample(g, r2, r3, w, e6), 0);
            cr_assert_eq(sk_graph_node(g, sk_graph_squashed_gaussian(g, r2, learnt, r2))->cols, 3);
            cr_assert_eq(sk_graph_finish(g, NULL), SK_OK);
        }
        sk_graph_destroy(&g);
    }
}
