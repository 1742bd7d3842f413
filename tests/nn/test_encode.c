/* ENCODE: floats and one-hot integers, and layers that read them, dense or sparse. */
#include "nn/device.h"
#include "nn/plan.h"
#include "nn_fixture.h"

#include <stdlib.h>

enum { ROWS = 150, WIDTH = 20 };

/* A layer over an encoded input (`encoded`), and the same over the columns written out (`written`). */
typedef struct pair {
    sk_device *dev;
    sk_buffer *params;
    float     *param_data, *raw, *columns, *mean, *inv_std;
    sk_graph  *g[2];
    sk_plan   *plan[2];
    sk_tensor  y[2], x[2], sum[2];
    int        raw_cols, cols;
} pair;

static void build(pair *p, int which, const sk_encode_run *runs, int n_runs, int normalized, int width) {
    sk_error err = {0};
    sk_graph *g = NULL;
    cr_assert_eq(sk_graph_create(&g, &err), SK_OK);
    sk_tensor x = sk_graph_input(g, "x", which == 0 ? p->raw_cols : p->cols), raw = x;
    sk_tensor mean = SK_NO_TENSOR, inv_std = SK_NO_TENSOR;
    if (which == 0) {
        if (normalized) {
            mean = sk_graph_const(g, "mean", p->raw_cols);
            inv_std = sk_graph_const(g, "inv_std", p->raw_cols);
        }
        x = sk_graph_encode(g, x, runs, n_runs, mean, inv_std, 2.0f);
        sk_graph_output(g, x);
        p->x[0] = x;
    }
    sk_tensor w = sk_graph_param(g, "w", p->cols, width), b = sk_graph_param(g, "b", 1, width);
    p->y[which] = sk_graph_linear(g, x, w, b, SK_UNARY_TANH);
    sk_graph_output(g, p->y[which]);
    p->sum[which] = sk_graph_mean(g, sk_graph_row_sum(g, sk_graph_unary(g, SK_UNARY_SQUARE, p->y[which])));
    sk_graph_minimize(g, p->sum[which], 1.0f);
    cr_assert_eq(sk_graph_finish(g, &err), SK_OK, "%s", err.msg);
    p->g[which] = g;
    if (!p->params) {
        size_t   n = sk_graph_param_floats(g);
        uint64_t seed = 7;
        p->param_data = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
        cr_assert_not_null(p->param_data);
        for (size_t i = 0; i < n; i++) p->param_data[i] = 0.0f;
        for (sk_tensor t = 0; t < sk_graph_n_nodes(g); t++) { /* the padding stays 0 */
            const sk_node *node = sk_graph_node(g, t);
            for (int i = 0; node->op == SK_OP_PARAM && i < node->rows; i++)
                fix_fill(p->param_data + node->offset + i * node->ld, (size_t)node->cols, &seed, -0.5, 0.5);
        }
        cr_assert_eq(sk_buffer_wrap(p->dev, p->param_data, n * sizeof(float), &p->params, &err), SK_OK);
    }
    sk_plan_params how = {.max_rows = ROWS, .backward = 1};
    cr_assert_eq(sk_plan_create(p->dev, g, p->params, &how, &p->plan[which], &err), SK_OK, "%s", err.msg);
    sk_plan_bind_host(p->plan[which], raw, which == 0 ? p->raw : p->columns);
    if (mean != SK_NO_TENSOR) {
        sk_plan_bind_host(p->plan[which], mean, p->mean);
        sk_plan_bind_host(p->plan[which], inv_std, p->inv_std);
    }
}

/* Random rows; every eleventh integer is out of its range. */
static void fill_rows(pair *p, const sk_encode_run *runs, int n_runs, int normalized) {
    uint64_t seed = 3;
    for (int r = 0; r < ROWS; r++) {
        float *raw = p->raw + r * p->raw_cols, *columns = p->columns + r * p->cols;
        int    at = 0;
        for (int i = 0; i < n_runs; i++) {
            for (int c = 0; c < runs[i].cols; c++, at++) {
                if (runs[i].choices == 0) {
                    raw[at] = (float)fix_uniform(&seed, -4, 4);
                    float x = normalized ? (raw[at] - p->mean[at]) * p->inv_std[at] : raw[at];
                    *columns++ = normalized ? fminf(2.0f, fmaxf(-2.0f, x)) : x;
                    continue;
                }
                int     bad = fix_below(&seed, 11) == 0;
                int32_t number =
                    bad ? runs[i].low + runs[i].choices : runs[i].low + fix_below(&seed, runs[i].choices);
                if (bad && fix_below(&seed, 2)) number = runs[i].low - 1;
                memcpy(&raw[at], &number, sizeof number);
                for (int k = 0; k < runs[i].choices; k++) *columns++ = number == runs[i].low + k;
            }
        }
    }
}

static void open_pair(pair *p, const sk_encode_run *runs, int n_runs, int normalized, int width) {
    *p = (pair){0};
    for (int i = 0; i < n_runs; i++) {
        p->raw_cols += runs[i].cols;
        p->cols += runs[i].cols * (runs[i].choices ? runs[i].choices : 1);
    }
    uint64_t seed = 1;
    cr_assert_eq(sk_device_create_cpu(1, &p->dev, NULL), SK_OK);
    p->raw = guard_alloc((size_t)(ROWS * p->raw_cols));
    p->columns = guard_alloc((size_t)(ROWS * p->cols));
    p->mean = guard_fill((size_t)p->raw_cols, &seed, -1, 1);
    p->inv_std = guard_fill((size_t)p->raw_cols, &seed, 0.3, 2);
    /* Constants of integers must not be looked at. */
    for (int i = 0, at = 0; i < n_runs; at += runs[i++].cols)
        for (int c = 0; runs[i].choices && c < runs[i].cols; c++) p->mean[at + c] = p->inv_std[at + c] = NAN;
    fill_rows(p, runs, n_runs, normalized);
    for (int which = 0; which < 2; which++) build(p, which, runs, n_runs, normalized, width);
}

static void close_pair(pair *p) {
    for (int which = 0; which < 2; which++) {
        sk_plan_destroy(&p->plan[which]);
        sk_graph_destroy(&p->g[which]);
    }
    sk_buffer_destroy(&p->params);
    free(p->param_data);
    sk_device_destroy(&p->dev);
    guard_check_all();
}

static void same_layer(const sk_encode_run *runs, int n_runs, int normalized, int width) {
    pair p;
    open_pair(&p, runs, n_runs, normalized, width);
    for (int which = 0; which < 2; which++) sk_plan_backward(p.plan[which], ROWS);
    int ld_x = sk_graph_node(p.g[0], p.x[0])->ld, ld = sk_graph_node(p.g[0], p.y[0])->ld;
    for (int r = 0; r < ROWS; r++) {
        assert_same_bits(sk_plan_output(p.plan[0], p.x[0]) + r * ld_x, p.columns + r * p.cols, (size_t)p.cols,
                         "encoded");
        for (int c = p.cols; c < ld_x; c++)
            cr_assert_eq(sk_plan_output(p.plan[0], p.x[0])[r * ld_x + c], 0.0f);
        for (int c = 0; c < width; c++)
            cr_assert_float_eq(sk_plan_output(p.plan[0], p.y[0])[r * ld + c],
                               sk_plan_output(p.plan[1], p.y[1])[r * ld + c], 2e-6);
    }
    const float *a = sk_plan_grad(p.plan[0]), *b = sk_plan_grad(p.plan[1]);
    double       size = 0.0;
    for (size_t i = 0; i < sk_graph_param_floats(p.g[0]); i++) {
        cr_assert_float_eq(a[i], b[i], 2e-6, "gradient %zu: %g and %g", i, (double)a[i], (double)b[i]);
        size += fabs((double)a[i]);
    }
    cr_assert_gt(size, 0.01);
    close_pair(&p);
}

static const sk_encode_run one_large[] = {{1, 60, 0}},
                           several[] = {{2, 0, 0}, {2, 40, -3}, {1, 0, 0}, {1, 7, 100}},
                           dense[] = {{3, 0, 0}, {1, 5, 2}};

Test(encode, a_sparse_layer_equals_the_dense_one) {
    same_layer(one_large, 1, 0, WIDTH);
    same_layer(several, 4, 0, WIDTH);
    same_layer(several, 4, 1, WIDTH);
    same_layer(several, 4, 1, 1);
}

Test(encode, a_dense_layer_reads_the_columns) {
    same_layer(dense, 2, 0, WIDTH);
    same_layer(dense, 2, 1, WIDTH);
    same_layer(dense, 2, 1, 1);
}

Test(encode, a_row_does_not_depend_on_its_batch) {
    pair p;
    open_pair(&p, several, 4, 1, WIDTH);
    int    ld = sk_graph_node(p.g[0], p.y[0])->ld;
    size_t n = (size_t)(ROWS * ld);
    sk_plan_forward(p.plan[0], ROWS);
    float *want = guard_copy(sk_plan_output(p.plan[0], p.y[0]), n);
    for (int r = 0; r < ROWS; r += 7) {
        sk_plan_bind_host(p.plan[0], 0, p.raw + r * p.raw_cols);
        sk_plan_forward(p.plan[0], 1);
        assert_same_bits(sk_plan_output(p.plan[0], p.y[0]), want + r * ld, (size_t)ld, "row alone");
    }
    close_pair(&p);
}

static void refused(int cols, const sk_encode_run *runs, int n_runs, const char *text) {
    sk_graph *g = NULL;
    sk_error  err = {0};
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    sk_graph_encode(g, sk_graph_input(g, "x", cols), runs, n_runs, SK_NO_TENSOR, SK_NO_TENSOR, 1.0f);
    cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, text), "%s", err.msg);
    sk_graph_destroy(&g);
}

Test(encode, refuses_runs_that_do_not_fit) {
    sk_encode_run many[65];
    refused(2, one_large, 1, "do not fit rows (B x 2)");
    refused(2, (sk_encode_run[]){{2, -1, 0}}, 1, "do not fit");
    refused(2, (sk_encode_run[]){{2, 1 << 20, 0}}, 1, "2097152 encoded");
    for (int i = 0; i < SK_COUNT(many); i++) many[i] = (sk_encode_run){1, 2, 0};
    refused(SK_COUNT(many), many, SK_COUNT(many), "more than 64 runs");
}
