/* The ops of value-based learning against the same in double, edge cases, and what every op must keep: a row does not
 * depend on its batch, nothing depends on threads. Gradients: test_value_grad.c. */
#include "nn/plan.h"
#include "tests/nn/nn_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 70 };
static const float v_min = -2.0f, v_max = 3.0f, kappa = 0.7f, delta = 0.4f;

/* n actions of k numbers. K = 1 has no support, so no C51. */
static const struct shape {
    int n, k;
} shapes[] = {{1, 1}, {4, 1}, {17, 1}, {1, 2}, {3, 7}, {2, 51}, {18, 5}, {6, 33}};

typedef enum input { VALUE, ADVANTAGE, MASK, ACTION, NEXT, REWARD, DISCOUNT, SAMPLES, N_INPUTS } input;
typedef enum output {
    DUEL, BEST, BEST_MASKED, TAKEN, MEAN, TARGET_VALUES, QUANTILE, PINBALL, HUBER, ATOM_MEAN, C51, ENTROPY, N_OUTPUTS
} output;

typedef struct value_net {
    struct shape s;
    sk_graph *g;
    sk_tensor in[N_INPUTS], out[N_OUTPUTS], scale;
    int n_outputs;
    sk_device *dev;
    sk_buffer *params;
    sk_plan *plan;
    float *data[N_INPUTS]; /* (ROWS x cols); ACTION holds int32 */
} value_net;

static int input_cols(const struct shape *s, input i) {
    switch (i) {
    case VALUE: case NEXT: return s->k;
    case ADVANTAGE: return s->n * s->k;
    case MASK: return s->n;
    case SAMPLES: return s->k + 1;
    default: return 1;
    }
}

static void minimize_mean(sk_graph *g, sk_tensor x) {
    sk_tensor terms = sk_graph_node(g, x)->cols > 1 ? sk_graph_row_sum(g, sk_graph_unary(g, SK_UNARY_SQUARE, x)) : x;
    sk_graph_minimize(g, sk_graph_mean(g, terms), 1.0f);
}

static void build(value_net *v) {
    int n = v->s.n, k = v->s.k;
    cr_assert_eq(sk_graph_create(&v->g, NULL), SK_OK);
    for (int i = 0; i < N_INPUTS; i++) v->in[i] = sk_graph_input(v->g, "input", input_cols(&v->s, (input)i));
    sk_graph *g = v->g;
    sk_tensor *in = v->in, *out = v->out;
    v->scale = sk_graph_param(g, "scale", 1, n * k);
    sk_tensor x = sk_graph_binary(g, SK_BINARY_MUL, in[ADVANTAGE], v->scale);
    out[DUEL] = sk_graph_dueling(g, in[VALUE], x, n);
    out[MEAN] = sk_graph_group_mean(g, out[DUEL], n);
    out[BEST] = sk_graph_argmax(g, out[MEAN], SK_NO_TENSOR);
    out[BEST_MASKED] = sk_graph_argmax(g, out[MEAN], in[MASK]);
    out[TAKEN] = sk_graph_take(g, out[DUEL], in[ACTION], k);
    /* r + discount * theta' */
    sk_tensor later = sk_graph_binary(g, SK_BINARY_MUL, in[NEXT], in[DISCOUNT]);
    out[TARGET_VALUES] = sk_graph_binary(g, SK_BINARY_ADD, later, in[REWARD]);
    out[QUANTILE] = sk_graph_quantile_huber(g, out[TAKEN], in[SAMPLES], kappa);
    out[PINBALL] = sk_graph_quantile_huber(g, out[TAKEN], in[SAMPLES], 0.0f);
    out[HUBER] = sk_graph_huber(g, sk_graph_binary(g, SK_BINARY_SUB, out[TAKEN], out[TARGET_VALUES]), delta);
    v->n_outputs = k > 1 ? N_OUTPUTS : ATOM_MEAN;
    if (k > 1) {
        out[ATOM_MEAN] = sk_graph_atom_mean(g, out[DUEL], n, v_min, v_max);
        out[C51] = sk_graph_c51_target(g, in[NEXT], in[REWARD], in[DISCOUNT], v_min, v_max);
        out[ENTROPY] = sk_graph_cross_entropy(g, out[TAKEN], out[C51]);
        minimize_mean(g, out[ENTROPY]);
    }
    for (int i = 0; i < v->n_outputs; i++) sk_graph_output(g, out[i]);
    minimize_mean(g, out[MEAN]);
    minimize_mean(g, out[QUANTILE]);
    minimize_mean(g, out[HUBER]);
    sk_error err = {0};
    cr_assert_eq(sk_graph_finish(g, &err), SK_OK, "%s", err.msg);
}

static void fill(value_net *v) {
    uint64_t seed = 91;
    for (int i = 0; i < N_INPUTS; i++) {
        int cols = input_cols(&v->s, (input)i);
        double size = i == REWARD ? 2.0 : 1.5;
        v->data[i] = guard_fill((size_t)(ROWS * cols), &seed, i == DISCOUNT ? 0.0 : -size, i == DISCOUNT ? 1.0 : size);
        for (int j = 0; i == MASK && j < ROWS * cols; j++) v->data[i][j] = v->data[i][j] > 0.3f ? 1.0f : 0.0f;
        for (int j = 0; i == ACTION && j < ROWS; j++)
            memcpy(&v->data[i][j], &(int32_t){fix_below(&seed, v->s.n)}, sizeof(int32_t));
        for (int r = 0; i == DISCOUNT && r < ROWS; r += 5) v->data[i][r] = 0.0f; /* ends of episodes */
    }
    const sk_node *p = sk_graph_node(v->g, v->scale);
    fix_fill((float *)sk_buffer_host(v->params) + p->offset, (size_t)p->cols, &seed, 0.5, 1.5);
}

static void bind(value_net *v, int first) {
    for (int i = 0; i < N_INPUTS; i++)
        sk_plan_bind_host(v->plan, v->in[i], v->data[i] + first * input_cols(&v->s, (input)i));
}

static value_net create(struct shape s, int level, int n_threads, const sk_plan_params *how) {
    value_net v = {.s = s};
    sk_error err = {0};
    char isa[3] = {'v', (char)('0' + level), 0};
    setenv("SKIFF_ISA", isa, 1);
    build(&v);
    cr_assert_eq(sk_device_create_cpu(n_threads, &v.dev, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_buffer_create(v.dev, sk_graph_param_floats(v.g) * sizeof(float), &v.params, &err), SK_OK);
    fill(&v);
    cr_assert_eq(sk_plan_create(v.dev, v.g, v.params, how, &v.plan, &err), SK_OK, "%s", err.msg);
    bind(&v, 0);
    return v;
}

static void destroy(value_net *v) {
    sk_plan_destroy(&v->plan);
    sk_buffer_destroy(&v->params);
    sk_device_destroy(&v->dev);
    sk_graph_destroy(&v->g);
}

static const float *output_row(value_net *v, output i, int r) {
    return sk_plan_output(v->plan, v->out[i]) + r * sk_graph_node(v->g, v->out[i])->ld;
}

/* ---- the same in double ---- */

enum { MAX_K = 64, MAX_NK = 256 };

static double atom(int k, int i) { return (double)v_min + i * ((double)v_max - (double)v_min) / (k - 1); }
static double huber(double x, double d) { return fabs(x) <= d ? 0.5 * x * x : d * (fabs(x) - 0.5 * d); }

static void softmax(int k, const double *x, double *p) {
    double top = x[0], sum = 0.0;
    for (int i = 1; i < k; i++) top = fmax(top, x[i]);
    for (int i = 0; i < k; i++) sum += p[i] = exp(x[i] - top);
    for (int i = 0; i < k; i++) p[i] /= sum;
}

/* Bellemare et al. 2017, eq. 7: every atom takes by its distance, another way to the same as algorithm 1. */
static void project(int k, const double *p, double reward, double discount, double *m) {
    double step = atom(k, 1) - atom(k, 0);
    for (int i = 0; i < k; i++) {
        m[i] = 0.0;
        for (int j = 0; j < k; j++) {
            double z = fmin(fmax(reward + discount * atom(k, j), (double)v_min), (double)v_max);
            m[i] += p[j] * fmin(fmax(1.0 - fabs(z - atom(k, i)) / step, 0.0), 1.0);
        }
    }
}

static double quantile_loss(int k, const double *theta, int n, const float *y, double bend) {
    double loss = 0.0;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < n; j++) {
            double u = (double)y[j] - theta[i], tau = (i + 0.5) / k;
            loss += fabs(tau - (u < 0.0)) * (bend > 0.0 ? huber(u, bend) : fabs(u)) / n;
        }
    return loss;
}

static void expect(value_net *v, output i, int r, int c, double want, double tolerance) {
    float got = output_row(v, i, r)[c];
    cr_assert_float_eq(got, want, tolerance * (1.0 + fabs(want)), "%d actions of %d, output %d, row %d, column %d: "
                       "%.9g, not %.9g", v->s.n, v->s.k, (int)i, r, c, (double)got, want);
}

static void check_dueling(value_net *v, int r, double *q /* (n x k) */) {
    int n = v->s.n, k = v->s.k;
    const float *a = v->data[ADVANTAGE] + r * n * k, *value = v->data[VALUE] + r * k;
    const float *scale = (float *)sk_buffer_host(v->params) + sk_graph_node(v->g, v->scale)->offset;
    for (int j = 0; j < k; j++) {
        double mean = 0.0;
        for (int i = 0; i < n; i++) mean += (double)a[i * k + j] * (double)scale[i * k + j] / n;
        for (int i = 0; i < n; i++) {
            q[i * k + j] = (double)value[j] + (double)a[i * k + j] * (double)scale[i * k + j] - mean;
            expect(v, DUEL, r, i * k + j, q[i * k + j], 1e-6);
        }
    }
    for (int i = 0; i < n; i++) {
        double mean = 0.0;
        for (int j = 0; j < k; j++) mean += q[i * k + j] / k;
        expect(v, MEAN, r, i, mean, 1e-6);
    }
}

/* The best by what the op itself was given. */
static void check_choices(value_net *v, int r) {
    const float *q = output_row(v, MEAN, r), *mask = v->data[MASK] + r * v->s.n;
    for (int masked = 0; masked < 2; masked++) {
        int32_t best = -1, got;
        for (int a = 0; a < v->s.n; a++)
            if ((!masked || mask[a] == 1.0f) && (best < 0 || q[a] > q[best])) best = a;
        memcpy(&got, output_row(v, masked ? BEST_MASKED : BEST, r), sizeof got);
        if (best >= 0) cr_assert_eq(got, best, "row %d: action %d, not %d", r, got, best);
    }
}

static void check_distribution(value_net *v, int r, const double *q, const double *taken) {
    int n = v->s.n, k = v->s.k;
    double next[MAX_K], p[MAX_K], m[MAX_K], entropy = 0.0;
    for (int j = 0; j < k; j++) next[j] = (double)v->data[NEXT][r * k + j];
    for (int i = 0; i < n; i++) {
        double mean = 0.0;
        softmax(k, q + i * k, p);
        for (int j = 0; j < k; j++) mean += p[j] * atom(k, j);
        expect(v, ATOM_MEAN, r, i, mean, 2e-6);
    }
    softmax(k, next, p);
    project(k, p, (double)v->data[REWARD][r], (double)v->data[DISCOUNT][r], m);
    double sum = 0.0;
    for (int j = 0; j < k; j++) {
        expect(v, C51, r, j, m[j], 1e-6);
        sum += (double)output_row(v, C51, r)[j];
    }
    cr_assert_float_eq(sum, 1.0, 1e-6, "row %d sums to %.9g", r, sum);
    softmax(k, taken, p);
    for (int j = 0; j < k; j++) entropy -= m[j] * log(p[j]);
    expect(v, ENTROPY, r, 0, entropy, 2e-6);
}

static void check_row(value_net *v, int r) {
    int n = v->s.n, k = v->s.k;
    int32_t action;
    double q[MAX_NK], taken[MAX_K];
    cr_assert(n * k <= MAX_NK && k <= MAX_K);
    check_dueling(v, r, q);
    check_choices(v, r);
    memcpy(&action, &v->data[ACTION][r], sizeof action);
    for (int j = 0; j < k; j++) {
        double later = (double)v->data[REWARD][r] + (double)v->data[DISCOUNT][r] * (double)v->data[NEXT][r * k + j];
        taken[j] = q[action * k + j];
        expect(v, TAKEN, r, j, taken[j], 1e-6);
        expect(v, TARGET_VALUES, r, j, later, 1e-6);
        expect(v, HUBER, r, j, huber(taken[j] - later, (double)delta), 2e-6);
    }
    const float *samples = v->data[SAMPLES] + r * (k + 1);
    expect(v, QUANTILE, r, 0, quantile_loss(k, taken, k + 1, samples, (double)kappa), 2e-6);
    expect(v, PINBALL, r, 0, quantile_loss(k, taken, k + 1, samples, 0.0), 2e-6);
    if (k > 1) check_distribution(v, r, q, taken);
    for (int i = 0; i < v->n_outputs; i++) { /* nothing is left in the padding */
        const sk_node *node = sk_graph_node(v->g, v->out[i]);
        for (int c = node->cols; c < node->ld; c++) cr_assert_eq(output_row(v, (output)i, r)[c], 0.0f);
    }
}

Test(value_ops, agree_with_double) {
    FOR_LEVELS(level, kernels)
    for (int s = 0; s < SK_COUNT(shapes); s++) {
        value_net v = create(shapes[s], level, 1, &(sk_plan_params){.max_rows = ROWS, .block_rows = 16, .backward = 1});
        for (int pass = 0; pass < 2; pass++) { /* the second on workspaces that have been used */
            sk_plan_backward(v.plan, ROWS);
            for (int r = 0; r < ROWS; r++) check_row(&v, r);
        }
        destroy(&v);
        guard_check_all();
    }
}

Test(value_ops, a_row_does_not_depend_on_its_batch) {
    static const int counts[] = {1, 3, 16, 33};
    FOR_LEVELS(level, kernels)
    for (int s = 0; s < SK_COUNT(shapes); s++) {
        value_net whole = create(shapes[s], level, 1, &(sk_plan_params){.max_rows = ROWS, .block_rows = ROWS});
        sk_plan_params small_blocks = {.max_rows = ROWS, .block_rows = 5, .backward = 1};
        value_net part = create(shapes[s], level, 2, &small_blocks);
        sk_plan_forward(whole.plan, ROWS);
        for (int c = 0; c < SK_COUNT(counts); c++)
            for (int first = 0; first + counts[c] <= ROWS; first += 13) {
                bind(&part, first);
                sk_plan_forward(part.plan, counts[c]);
                for (int i = 0; i < whole.n_outputs; i++)
                    assert_same_bits(output_row(&part, (output)i, 0), output_row(&whole, (output)i, first),
                                     (size_t)(counts[c] * sk_graph_node(whole.g, whole.out[i])->ld), "rows");
            }
        destroy(&whole);
        destroy(&part);
        guard_check_all();
    }
}

Test(value_ops, gradients_do_not_depend_on_threads) {
    for (int s = 0; s < SK_COUNT(shapes); s++) {
        sk_plan_params how = {.max_rows = ROWS, .block_rows = 8, .backward = 1};
        value_net one = create(shapes[s], 3, 1, &how), three = create(shapes[s], 3, 3, &how);
        size_t n = sk_graph_param_floats(one.g);
        sk_plan_backward(one.plan, ROWS);
        for (int again = 0; again < 5; again++) {
            sk_plan_backward(three.plan, ROWS);
            assert_same_bits(sk_plan_grad(one.plan), sk_plan_grad(three.plan), n, "gradient");
        }
        destroy(&one);
        destroy(&three);
        guard_check_all();
    }
}

/* ---- edge cases, of graphs with one output and no parameters ---- */

typedef struct tiny {
    sk_graph *g;
    sk_device *dev;
    sk_plan *plan;
} tiny;

static const float *tiny_run(tiny *t, sk_tensor out, const sk_tensor *in, const void *const *data, int n_in, int rows) {
    sk_error err = {0};
    setenv("SKIFF_ISA", "v2", 1);
    sk_graph_output(t->g, out);
    cr_assert_eq(sk_graph_finish(t->g, &err), SK_OK, "%s", err.msg);
    cr_assert_eq(sk_device_create_cpu(1, &t->dev, &err), SK_OK);
    cr_assert_eq(sk_plan_create(t->dev, t->g, NULL, &(sk_plan_params){.max_rows = rows}, &t->plan, &err), SK_OK);
    for (int i = 0; i < n_in; i++) sk_plan_bind_host(t->plan, in[i], data[i]);
    sk_plan_forward(t->plan, rows);
    return sk_plan_output(t->plan, out);
}
static void tiny_stop(tiny *t) {
    sk_plan_destroy(&t->plan);
    sk_device_destroy(&t->dev);
    sk_graph_destroy(&t->g);
}

Test(value_ops, argmax_takes_the_first_best_and_the_masked_last) {
    static const float q[][4] = {{1, 3, 3, 2}, {1, 3, 3, 2}, {1, 3, 3, 2}, {-INFINITY, -INFINITY, -INFINITY, -INFINITY},
                                 {NAN, 1, 2, NAN}, {NAN, NAN, NAN, NAN}, {NAN, -INFINITY, NAN, NAN}, {9, NAN, 1, 9}};
    static const float mask[][4] = {{1, 1, 1, 1}, {1, 0, 1, 1}, {0, 0, 0, 0}, {0, 1, 1, 0},
                                    {1, 1, 1, 1}, {0, 1, 1, 1}, {1, 1, 1, 1}, {0, 1, 0, 0}};
    static const int32_t want[] = {1, 2, 1, 1, 2, 1, 1, 1};
    tiny t = {0};
    cr_assert_eq(sk_graph_create(&t.g, NULL), SK_OK);
    sk_tensor in[] = {sk_graph_input(t.g, "q", 4), sk_graph_input(t.g, "mask", 4)};
    const float *got = tiny_run(&t, sk_graph_argmax(t.g, in[0], in[1]), in, (const void *const[]){q, mask}, 2, 8);
    for (int r = 0; r < 8; r++) {
        int32_t choice;
        memcpy(&choice, &got[r], sizeof choice);
        cr_assert_eq(choice, want[r], "row %d: %d, not %d", r, choice, want[r]);
    }
    tiny_stop(&t);
}

enum { ATOMS = 51 };

/* The projected rows, of 64 floats each. */
static const float *c51(tiny *t, int rows, const float *logits, const float *reward, const float *discount) {
    cr_assert_eq(sk_graph_create(&t->g, NULL), SK_OK);
    sk_tensor in[] = {sk_graph_input(t->g, "next", ATOMS), sk_graph_input(t->g, "reward", 1),
                      sk_graph_input(t->g, "discount", 1)};
    sk_tensor out = sk_graph_c51_target(t->g, in[0], in[1], in[2], -10.0f, 10.0f);
    return tiny_run(t, out, in, (const void *const[]){logits, reward, discount}, 3, rows);
}

/* At the end of an episode all mass goes to the reward: no atom may lose it, first and last included. */
Test(value_ops, c51_keeps_the_mass_of_a_return_right_on_an_atom) {
    static float logits[ATOMS * ATOMS], reward[ATOMS], discount[ATOMS];
    tiny t = {0};
    for (int r = 0; r < ATOMS; r++) reward[r] = (float)(-10.0 + 0.4 * r);
    const float *m = c51(&t, ATOMS, logits, reward, discount);
    for (int r = 0; r < ATOMS; r++)
        for (int j = 0; j < ATOMS; j++)
            cr_assert_float_eq(m[r * 64 + j], r == j ? 1.0f : 0.0f, 2e-6f, "reward %g, atom %d has %g",
                               (double)reward[r], j, (double)m[r * 64 + j]);
    tiny_stop(&t);
}

Test(value_ops, c51_moves_clips_and_leaves_alone) {
    enum { SAME, ABOVE, BELOW, FAR, STEP, HALF_STEP, NOT_A_NUMBER, CASES };
    static float logits[CASES * ATOMS];
    static const float reward[CASES] = {0.0f, 30.0f, -30.0f, INFINITY, 0.4f, 0.2f, NAN};
    static const float discount[CASES] = {1.0f, 1.0f, 1.0f, 0.99f, 1.0f, 1.0f, 1.0f};
    uint64_t seed = 5;
    tiny t = {0};
    fix_fill(logits, CASES * ATOMS, &seed, -2.0, 2.0);
    const float *m = c51(&t, CASES, logits, reward, discount);
    double p[CASES][ATOMS], x[ATOMS];
    for (int r = 0; r < CASES; r++) {
        for (int j = 0; j < ATOMS; j++) x[j] = (double)logits[r * ATOMS + j];
        softmax(ATOMS, x, p[r]);
    }
    for (int j = 0; j < ATOMS; j++) {
        cr_assert_float_eq(m[SAME * 64 + j], p[SAME][j], 1e-7);
        cr_assert_float_eq(m[ABOVE * 64 + j], j == ATOMS - 1, 1e-6);
        cr_assert_float_eq(m[BELOW * 64 + j], j == 0, 1e-6);
        cr_assert_float_eq(m[FAR * 64 + j], j == ATOMS - 1, 1e-6);
        double step = j == 0 ? 0.0 : p[STEP][j - 1] + (j == ATOMS - 1 ? p[STEP][j] : 0.0);
        cr_assert_float_eq(m[STEP * 64 + j], step, 1e-6);
        const double *h = p[HALF_STEP];
        double half = (j == ATOMS - 1 ? h[j] : 0.5 * h[j]) + (j ? 0.5 * h[j - 1] : 0.0);
        cr_assert_float_eq(m[HALF_STEP * 64 + j], half, 1e-6);
    }
    cr_assert(isnan(m[NOT_A_NUMBER * 64]), "a reward that is no number must be seen");
    tiny_stop(&t);
}

/* A choice out of range would read, and in training write, another row's numbers. */
Test(value_ops, take_aborts_on_a_choice_out_of_range, .signal = SIGABRT) {
    static const float x[6] = {0};
    static const int32_t action[1] = {3};
    tiny t = {0};
    cr_assert_eq(sk_graph_create(&t.g, NULL), SK_OK);
    sk_tensor in[] = {sk_graph_input(t.g, "x", 6), sk_graph_input(t.g, "action", 1)};
    tiny_run(&t, sk_graph_take(t.g, in[0], in[1], 2), in, (const void *const[]){x, action}, 2, 1);
}

/* ---- what does not fit ---- */

static sk_graph *g;
static sk_tensor rows1, rows2, rows6, grad1, grad6, row6;

/* A graph that is refused stays so, and every case wants a fresh one. */
static void fresh(void) {
    sk_graph_destroy(&g);
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    rows1 = sk_graph_input(g, "rows1", 1);
    rows2 = sk_graph_input(g, "rows2", 2);
    rows6 = sk_graph_input(g, "rows6", 6);
    row6 = sk_graph_param(g, "row6", 1, 6);
    grad6 = sk_graph_binary(g, SK_BINARY_MUL, rows6, row6);
    grad1 = sk_graph_row_sum(g, grad6);
}
#define ASSERT_REFUSED(call, text)                                                                           \
    do {                                                                                                     \
        sk_error err = {0};                                                                                  \
        fresh();                                                                                             \
        cr_assert_eq((call), -1);                                                                            \
        cr_assert_eq(sk_graph_finish(g, &err), SK_EINVAL);                                                   \
        cr_assert_not_null(strstr(err.msg, (text)), "%s", err.msg);                                          \
    } while (0)

Test(value_ops, refuse_what_does_not_fit) {
    ASSERT_REFUSED(sk_graph_dueling(g, rows2, grad6, 2), "values (B x 2) and advantages (B x 6) do not fit 2");
    ASSERT_REFUSED(sk_graph_dueling(g, rows2, grad6, 0), "do not fit 0");
    ASSERT_REFUSED(sk_graph_dueling(g, row6, grad6, 1), "dueling");
    ASSERT_REFUSED(sk_graph_argmax(g, row6, SK_NO_TENSOR), "argmax works on rows");
    ASSERT_REFUSED(sk_graph_argmax(g, rows6, rows2), "a mask of 2 columns for 6 choices");
    ASSERT_REFUSED(sk_graph_argmax(g, rows6, grad6), "a mask");
    ASSERT_REFUSED(sk_graph_argmax(g, -1, SK_NO_TENSOR), "does not exist");
    ASSERT_REFUSED(sk_graph_take(g, rows6, rows1, 4), "groups of 4 columns");
    ASSERT_REFUSED(sk_graph_take(g, rows6, rows1, 0), "groups of 0 columns");
    ASSERT_REFUSED(sk_graph_take(g, rows6, rows2, 2), "(B x 6) and (B x 2)");
    ASSERT_REFUSED(sk_graph_take(g, rows6, grad1, 2), "column of choices");
    ASSERT_REFUSED(sk_graph_group_mean(g, rows6, 4), "are not 4 groups");
    ASSERT_REFUSED(sk_graph_group_mean(g, row6, 2), "group_mean");
    ASSERT_REFUSED(sk_graph_atom_mean(g, rows6, 4, -1.0f, 1.0f), "are not 4 groups");
    ASSERT_REFUSED(sk_graph_atom_mean(g, rows6, 6, -1.0f, 1.0f), "two or more atoms");
    ASSERT_REFUSED(sk_graph_atom_mean(g, rows6, 2, 1.0f, 1.0f), "from 1 to 1");
    ASSERT_REFUSED(sk_graph_c51_target(g, rows6, rows2, rows1, -1.0f, 1.0f), "reward (B x 2)");
    ASSERT_REFUSED(sk_graph_c51_target(g, rows6, rows1, rows2, -1.0f, 1.0f), "discount (B x 2)");
    ASSERT_REFUSED(sk_graph_c51_target(g, rows1, rows1, rows1, -1.0f, 1.0f), "logits (B x 1)");
    ASSERT_REFUSED(sk_graph_c51_target(g, rows6, rows1, rows1, -1.0f, NAN), "support from -1 to nan");
    ASSERT_REFUSED(sk_graph_cross_entropy(g, grad6, rows2), "logits (B x 6) and as many");
    ASSERT_REFUSED(sk_graph_cross_entropy(g, grad6, grad6), "without a gradient");
    ASSERT_REFUSED(sk_graph_quantile_huber(g, rows6, grad6, 1.0f), "without a gradient");
    ASSERT_REFUSED(sk_graph_quantile_huber(g, row6, rows6, 1.0f), "quantiles");
    ASSERT_REFUSED(sk_graph_quantile_huber(g, grad6, rows6, -1.0f), "kappa must be >= 0, got -1");
    ASSERT_REFUSED(sk_graph_huber(g, grad6, 0.0f), "delta must be > 0, got 0");
    ASSERT_REFUSED(sk_graph_huber(g, grad6, NAN), "delta must be > 0");
    sk_graph_destroy(&g);
}

Test(value_ops, no_gradient_flows_through_choices_and_targets) {
    fresh();
    cr_assert_not(sk_graph_node(g, sk_graph_argmax(g, grad6, SK_NO_TENSOR))->needs_grad);
    cr_assert_not(sk_graph_node(g, sk_graph_atom_mean(g, grad6, 2, -1.0f, 1.0f))->needs_grad);
    cr_assert_not(sk_graph_node(g, sk_graph_c51_target(g, grad6, grad1, rows1, -1.0f, 1.0f))->needs_grad);
    cr_assert(sk_graph_node(g, sk_graph_take(g, grad6, rows1, 2))->needs_grad);
    sk_graph_destroy(&g);
}
