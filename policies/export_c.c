/* export_c: walks the graph from the observation to the policy's head and writes each step as C. The written code does
 * what the kernels of nn/cpu do, number by number: the same order of sums, the same polynomials, fused multiply-add
 * where they fuse; tests/policies/test_export_c.c compares the bits. */
#include "policies/export_c.h"

#include "policies/net.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 64 };

typedef enum layer_kind { LAYER_LINEAR, LAYER_DOT, LAYER_SPARSE, LAYER_N } layer_kind;

typedef struct exporter {
    const sk_policy        *policy;
    const sk_policy_spaces *spaces;
    const char             *name;
    sk_graph               *graph;
    sk_tensor               steps[SK_GRAPH_MAX_NODES]; /* from the first after the observation to the head */
    int                     n_steps, max_cols;
    sk_unary                activation;                /* of hidden layers */
    int                     scales;                    /* 1 = box actions are squashed, then scaled to the bounds */
    int                     uses[SK_OP_COUNT];         /* ops among the steps */
    int                     uses_layer[LAYER_N];
    int                     has_floats, has_integers;  /* in an observation   */
} exporter;

/* ---- what there is to write --------------------------------------------------------------------------------- */
static sk_status check_name(const char *name, sk_error *reterr) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (n == 0 || name[n] || n >= NAME_SIZE || isdigit((unsigned char)name[0]))
        return SK_FAIL(reterr, SK_EINVAL,
                       "\"%s\" cannot name C functions; wanted letters, digits and _, not a digit first, at most %d",
                       name, NAME_SIZE - 1);
    return SK_OK;
}

static int has_activation(const sk_node *n) {
    return n->op == SK_OP_UNARY || (n->op == SK_OP_LINEAR && n->kind != SK_UNARY_IDENTITY);
}
/* The tanh of a deterministic policy's head is not its hidden layers' activation. */
static int is_hidden_activation(const exporter *e, const sk_node *n, int is_head) {
    return has_activation(n) && !(is_head && sk_policy_model(e->policy)->kind == SK_POLICY_DETERMINISTIC);
}
static layer_kind layer_kind_of(const exporter *e, const sk_node *layer) {
    if (sk_graph_is_sparse(e->graph, layer->in[0])) return LAYER_SPARSE;
    return layer->cols == 1 ? LAYER_DOT : LAYER_LINEAR;
}

static sk_status note_step(exporter *e, sk_tensor t, sk_error *reterr) {
    const sk_node *n = sk_graph_node(e->graph, t);
    if (n->op != SK_OP_LINEAR && n->op != SK_OP_UNARY && n->op != SK_OP_LAYER_NORM && n->op != SK_OP_NORMALIZE &&
        n->op != SK_OP_ENCODE)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "the network's step \"%s\" has no C form", n->name);
    if (is_hidden_activation(e, n, e->n_steps == 0)) { /* the head is met first */
        SK_ASSERT(e->activation == SK_UNARY_IDENTITY || (int)e->activation == n->kind); /* a model has one */
        e->activation = (sk_unary)n->kind;
    }
    e->uses[n->op] = 1;
    if (n->op == SK_OP_LINEAR) e->uses_layer[layer_kind_of(e, n)] = 1;
    if (n->cols > e->max_cols) e->max_cols = n->cols;
    e->steps[e->n_steps++] = t;
    return SK_OK;
}

/* The steps from the observation to the head, each fed by the one before. */
static sk_status find_steps(exporter *e, sk_error *reterr) {
    sk_net net;
    const sk_model_config *model = sk_policy_model(e->policy);
    if (model->kind == SK_POLICY_Q && (model->q.dueling || model->q.noisy || model->q.distribution != SK_Q_MEAN))
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "action values of dueling networks, noisy layers and distributions have "
                       "no C form yet; `skiff/policy.h` runs them");
    e->scales = sk_policy_scales_actions(e->spaces, model);
    SK_TRY(sk_graph_create(&e->graph, reterr));
    sk_tensor obs = sk_graph_input(e->graph, "obs", e->spaces->obs_dim);
    sk_net_build(e->graph, e->spaces, model, sk_policy_filter(e->policy), obs, &net);
    SK_TRY(sk_graph_finish(e->graph, reterr));
    e->has_floats = e->spaces->n_runs == 0;
    for (int i = 0; i < e->spaces->n_runs; i++) {
        if (e->spaces->runs[i].choices > 0) e->has_integers = 1;
        else e->has_floats = 1;
    }
    for (sk_tensor t = net.pi; t != obs; t = sk_graph_node(e->graph, t)->in[0]) {
        SK_ASSERT(t >= 0);
        SK_TRY(note_step(e, t, reterr));
    }
    for (int i = 0; i < e->n_steps / 2; i++) {
        sk_tensor other = e->steps[e->n_steps - 1 - i];
        e->steps[e->n_steps - 1 - i] = e->steps[i];
        e->steps[i] = other;
    }
    return SK_OK;
}

/* ---- numbers ------------------------------------------------------------------------------------------------ */
/* "pi/0/w" -> "pi_0_w" */
static const char *c_name(const char *name, char ret[NAME_SIZE]) {
    snprintf(ret, NAME_SIZE, "%s", name);
    for (char *c = ret; *c; c++)
        if (*c == '/') *c = '_';
    return ret;
}

/* (rows x cols) of `v`, as hexadecimal constants: exact. */
static sk_status write_array(FILE *out, const char *name, const float *v, int rows, int cols, int ld,
                             sk_error *reterr) {
    char text[NAME_SIZE];
    int  n = 0;
    fprintf(out, "static const float %s[%d * %d] = {", c_name(name, text), rows, cols);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++, n++) {
            float x = v[(ptrdiff_t)r * ld + c];
            if (!isfinite(x)) return SK_FAIL(reterr, SK_ENUMERIC, "%s[%d, %d] is %g", name, r, c, (double)x);
            fprintf(out, "%s%af,", n % 6 ? " " : "\n    ", (double)x);
        }
    fprintf(out, "\n};\n");
    return SK_OK;
}

static sk_status write_param(const exporter *e, FILE *out, sk_tensor t, sk_error *reterr) {
    const sk_node *n = sk_graph_node(e->graph, t);
    const float   *params = sk_policy_params_const(e->policy);
    return write_array(out, n->name, params + n->offset, n->rows, n->cols, n->ld, reterr);
}

static sk_status write_statistics(const exporter *e, FILE *out, sk_error *reterr) {
    int    n = e->spaces->obs_dim;
    float *constants = calloc((size_t)n * 2, sizeof *constants);
    if (!constants) return SK_FAIL(reterr, SK_ENOMEM, "export: no memory");
    sk_normalizer_constants(sk_policy_normalizer_const(e->policy), constants, constants + n);
    sk_status status = write_array(out, "obs_mean", constants, 1, n, n, reterr);
    if (status == SK_OK) status = write_array(out, "obs_inv_std", constants + n, 1, n, n, reterr);
    free(constants);
    return status;
}

static sk_status write_numbers(const exporter *e, FILE *out, sk_error *reterr) {
    for (int i = 0; i < e->n_steps; i++) {
        const sk_node *n = sk_graph_node(e->graph, e->steps[i]);
        int            reads_obs = n->op == SK_OP_NORMALIZE || n->op == SK_OP_ENCODE;
        if (reads_obs && n->n_in == 3 && e->has_floats) SK_TRY(write_statistics(e, out, reterr));
        for (int k = 1; !reads_obs && k < n->n_in; k++) SK_TRY(write_param(e, out, n->in[k], reterr));
    }
    if (e->scales) {
        SK_TRY(write_array(out, "action_low", e->spaces->box_low, 1, e->spaces->action_slots, 0, reterr));
        SK_TRY(write_array(out, "action_high", e->spaces->box_high, 1, e->spaces->action_slots, 0, reterr));
    }
    fputc('\n', out);
    return SK_OK;
}

/* ---- functions ---------------------------------------------------------------------------------------------- */
static const char linear_text[] =
    "/* y = x W + b, each column summed over the inputs in rising order. */\n"
    "static void linear(const float *restrict x, const float *restrict w, const float *b, int n_in, int n_out,\n"
    "                   float *restrict y) {\n"
    "    for (int j = 0; j < n_out; j++) y[j] = b[j];\n"
    "    for (int i = 0; i < n_in; i++)\n"
    "        for (int j = 0; j < n_out; j++) y[j] = fmaf(x[i], w[i * n_out + j], y[j]);\n"
    "}\n\n";
static const char dot_text[] =
    "/* A single column: 16 partial sums over every 16th input, added by halves. */\n"
    "static void dot(const float *x, const float *w, const float *b, int n_in, float *y) {\n"
    "    float sum[16] = {0};\n"
    "    for (int i = 0; i < n_in; i++) sum[i % 16] = fmaf(x[i], w[i], sum[i % 16]);\n"
    "    for (int half = 8; half > 0; half /= 2)\n"
    "        for (int i = 0; i < half; i++) sum[i] += sum[i + half];\n"
    "    y[0] = sum[0] + b[0];\n"
    "}\n\n";
static const char sparse_text[] =
    "/* On one-hot columns: as linear, but in two roundings, and over the columns that count. */\n"
    "static void sparse(const float *restrict x, const float *restrict w, const float *b, int n_in, int n_out,\n"
    "                   float *restrict y) {\n"
    "    for (int j = 0; j < n_out; j++) y[j] = b[j];\n"
    "    for (int i = 0; i < n_in; i++)\n"
    "        for (int j = 0; x[i] != 0.0f && j < n_out; j++) y[j] += x[i] * w[i * n_out + j];\n"
    "}\n\n";
static const char one_hot_text[] =
    "/* One column per choice, counted from `low`: 1 for the number's own, none if it is out of range. */\n"
    "static void one_hot(const int *x, int n, int n_choices, int low, float *y) {\n"
    "    for (int i = 0; i < n; i++)\n"
    "        for (int c = 0; c < n_choices; c++) y[i * n_choices + c] = x[i] == low + c ? 1.0f : 0.0f;\n"
    "}\n\n";
static const char copy_text[] = "static void copy(const float *x, int n, float *y) {\n"
                                "    for (int i = 0; i < n; i++) y[i] = x[i];\n"
                                "}\n\n";
static const char normalize_text[] =
    "static void normalize(const float *x, const float *mean, const float *inv_std, int n, float *y) {\n"
    "    for (int i = 0; i < n; i++) {\n"
    "        float z = (x[i] - mean[i]) * inv_std[i];\n"
    "        z = -10.0f > z ? -10.0f : z;\n"
    "        y[i] = 10.0f < z ? 10.0f : z;\n"
    "    }\n"
    "}\n\n";
static const char layer_norm_text[] =
    "static void layer_norm(float *x, const float *gamma, const float *beta, int n) {\n"
    "    double sum = 0.0, var = 0.0;\n"
    "    for (int i = 0; i < n; i++) sum += (double)x[i];\n"
    "    double mean = sum / n;\n"
    "    for (int i = 0; i < n; i++) var += ((double)x[i] - mean) * ((double)x[i] - mean);\n"
    "    float m = (float)mean, inv_std = (float)(1.0 / sqrt(var / n + 1e-5));\n"
    "    for (int i = 0; i < n; i++) x[i] = (x[i] - m) * inv_std * gamma[i] + beta[i];\n"
    "}\n\n";
static const char exp_text[] =
    "/* exp as 2^n p(r), r in [-ln2/2, ln2/2]. */\n"
    "static float exp_of(float x) {\n"
    "    if (x != x) return x;\n"
    "    x = -87.33654f > x ? -87.33654f : x;\n"
    "    x = 88.37626f < x ? 88.37626f : x;\n"
    "    float n = rintf(x * 1.44269504f), r = fmaf(n, -0.693359375f, x);\n"
    "    r = fmaf(n, 2.12194440e-4f, r);\n"
    "    float p = 0x1.6a23d0p-10f;\n"
    "    p = fmaf(p, r, 0x1.123a20p-7f);\n"
    "    p = fmaf(p, r, 0x1.5558f2p-5f);\n"
    "    p = fmaf(p, r, 0x1.555492p-3f);\n"
    "    p = fmaf(p, r, 0x1.fffffcp-2f);\n"
    "    p = fmaf(p, r, 1.0f);\n"
    "    p = fmaf(p, r, 1.0f);\n"
    "    return p * ldexpf(1.0f, (int)n);\n"
    "}\n\n";
/* tanh as x P(x^2) / Q(x^2), |x| <= 8 */
#define TANH_OF_X                                                                                                      \
    "    x = -8.0f > x ? -8.0f : x;\n"                                                                                 \
    "    x = 8.0f < x ? 8.0f : x;\n"                                                                                   \
    "    float u = x * x, p = 0x1.05a818p-26f, q = 0x1.c98ba0p-21f;\n"                                                 \
    "    p = fmaf(p, u, 0x1.6f54dcp-16f);\n"                                                                           \
    "    p = fmaf(p, u, 0x1.d422f2p-9f);\n"                                                                            \
    "    p = fmaf(p, u, 0x1.1357e4p-3f);\n"                                                                            \
    "    p = fmaf(p, u, 1.0f);\n"                                                                                      \
    "    q = fmaf(q, u, 0x1.65b32ep-12f);\n"                                                                           \
    "    q = fmaf(q, u, 0x1.acada2p-6f);\n"                                                                            \
    "    q = fmaf(q, u, 0x1.df0144p-2f);\n"                                                                            \
    "    q = fmaf(q, u, 1.0f);\n"                                                                                      \
    "    return x * p / q;\n"                                                                                          \
    "}\n"
static const char tanh_text[] =
    "/* tanh as x P(x^2) / Q(x^2), |x| <= 8. */\nstatic float activation(float x) {\n" TANH_OF_X;
static const char squash_text[] = "/* Likewise of actions. */\nstatic float squash(float x) {\n" TANH_OF_X "\n";
static const char relu_text[] = "static float activation(float x) { return 0.0f > x ? 0.0f : x; }\n";
static const char elu_text[] = "static float activation(float x) { return x > 0.0f ? x : exp_of(x) - 1.0f; }\n";
static const char sigmoid_text[] = "static float activation(float x) { return 1.0f / (1.0f + exp_of(0.0f - x)); }\n";
static const char silu_text[] = "static float activation(float x) { return x * (1.0f / (1.0f + exp_of(0.0f - x))); }\n";
static const char gelu_text[] =
    "/* GELU, tanh form: x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)) */\n"
    "static float activation(float x) {\n"
    "    float z = 1.5957691216f * fmaf(x * x * x, 0.044715f, x);\n"
    "    return x * (1.0f / (1.0f + exp_of(0.0f - z)));\n"
    "}\n";
static const char activate_text[] = "static void activate(float *x, int n) {\n"
                                    "    for (int i = 0; i < n; i++) x[i] = activation(x[i]);\n"
                                    "}\n\n";

static const struct {
    const char *text;
    int         uses_exp;
} activations[SK_UNARY_COUNT] = {
    [SK_UNARY_TANH] = {tanh_text, 0},       [SK_UNARY_RELU] = {relu_text, 0}, [SK_UNARY_ELU] = {elu_text, 1},
    [SK_UNARY_GELU] = {gelu_text, 1},       [SK_UNARY_SILU] = {silu_text, 1},
    [SK_UNARY_SIGMOID] = {sigmoid_text, 1},
};

static sk_status write_functions(const exporter *e, FILE *out, sk_error *reterr) {
    int filters = sk_policy_filter(e->policy) == SK_FILTER_MEAN_STD && e->has_floats;
    if (filters) fputs(normalize_text, out);
    if (!filters && e->has_floats && e->uses[SK_OP_ENCODE]) fputs(copy_text, out);
    if (e->has_integers) fputs(one_hot_text, out);
    if (e->uses_layer[LAYER_SPARSE]) fputs(sparse_text, out);
    if (e->uses_layer[LAYER_LINEAR]) fputs(linear_text, out);
    if (e->uses_layer[LAYER_DOT]) fputs(dot_text, out);
    if (e->uses[SK_OP_LAYER_NORM]) fputs(layer_norm_text, out);
    if (e->scales && sk_policy_model(e->policy)->kind != SK_POLICY_ACTOR_CRITIC) fputs(squash_text, out);
    if (e->activation == SK_UNARY_IDENTITY) return SK_OK;
    if (!activations[e->activation].text)
        return SK_FAIL(reterr, SK_EUNSUPPORTED, "the network's activation (%d) has no C form", (int)e->activation);
    if (activations[e->activation].uses_exp) fputs(exp_text, out);
    fputs(activations[e->activation].text, out);
    fputs(activate_text, out);
    return SK_OK;
}

/* ---- NAME_act ----------------------------------------------------------------------------------------------- */
static void write_prototype(const exporter *e, FILE *out, const char *end) {
    const char *obs = !e->has_integers ? "float" : e->has_floats ? "void" : "int";
    const char *mask = e->spaces->mask_size > 0 ? "const unsigned char *mask, " : "";
    fprintf(out, "void %s_act(const %s *obs, %s%s *action)%s\n", e->name, obs, mask,
            e->spaces->n_parts > 0 ? "int" : "float", end);
}

/* Run by run of the observation's slots. */
static void write_encode(const sk_graph *g, sk_tensor t, FILE *out, char to) {
    int                  n_runs, at = 0, col = 0;
    const sk_encode_run *run = sk_graph_runs(g, t, &n_runs);
    for (int i = 0; i < n_runs; i++, run++) {
        if (run->choices > 0)
            fprintf(out, "    one_hot((const int *)obs + %d, %d, %d, %d, %c + %d);\n", at, run->cols, run->choices,
                    run->low, to, col);
        else if (sk_graph_node(g, t)->n_in == 3)
            fprintf(out, "    normalize((const float *)obs + %d, obs_mean + %d, obs_inv_std + %d, %d, %c + %d);\n", at,
                    at, at, run->cols, to, col);
        else fprintf(out, "    copy((const float *)obs + %d, %d, %c + %d);\n", at, run->cols, to, col);
        at += run->cols;
        col += run->cols * (run->choices > 0 ? run->choices : 1);
    }
}

static void write_layer(const exporter *e, const sk_node *n, FILE *out, const char *from, char to) {
    const sk_node *x = sk_graph_node(e->graph, n->in[0]);
    char           w[NAME_SIZE], b[NAME_SIZE];
    c_name(sk_graph_node(e->graph, n->in[1])->name, w);
    c_name(sk_graph_node(e->graph, n->in[2])->name, b);
    if (layer_kind_of(e, n) == LAYER_DOT) fprintf(out, "    dot(%s, %s, %s, %d, %c);\n", from, w, b, x->cols, to);
    else
        fprintf(out, "    %s(%s, %s, %s, %d, %d, %c);\n", layer_kind_of(e, n) == LAYER_SPARSE ? "sparse" : "linear",
                from, w, b, x->cols, n->cols, to);
}

/* Layers go from one of two buffers to the other, the rest works in place. Returns where the head's values are. */
static char write_steps(const exporter *e, FILE *out) {
    char from[8] = "obs", to = 'a', gamma[NAME_SIZE], beta[NAME_SIZE];
    for (int i = 0; i < e->n_steps; i++) {
        const sk_node *n = sk_graph_node(e->graph, e->steps[i]);
        if (n->op == SK_OP_NORMALIZE)
            fprintf(out, "    normalize(%s, obs_mean, obs_inv_std, %d, %c);\n", from, n->cols, to);
        if (n->op == SK_OP_ENCODE) write_encode(e->graph, e->steps[i], out, to);
        if (n->op == SK_OP_LINEAR) write_layer(e, n, out, from, to);
        if (n->op == SK_OP_LAYER_NORM)
            fprintf(out, "    layer_norm(%s, %s, %s, %d);\n", from,
                    c_name(sk_graph_node(e->graph, n->in[1])->name, gamma),
                    c_name(sk_graph_node(e->graph, n->in[2])->name, beta), n->cols);
        if (n->op != SK_OP_LAYER_NORM && n->op != SK_OP_UNARY) {
            from[0] = to;
            from[1] = '\0';
            to = to == 'a' ? 'b' : 'a';
        }
        if (is_hidden_activation(e, n, i == e->n_steps - 1)) fprintf(out, "    activate(%s, %d);\n", from, n->cols);
    }
    return from[0];
}

static void write_choices(const exporter *e, FILE *out, char head) {
    const sk_policy_spaces *s = e->spaces;
    int                     first = 0;
    if (s->mask_size > 0)
        fprintf(out, "    for (int i = 0; i < %d; i++)\n        if (!mask[i]) %c[i] = -1e9f;\n", s->mask_size, head);
    for (int part = 0; part < s->n_parts; first += s->part_n[part++])
        fprintf(out, "    action[%d] = %d + best(%c + %d, %d);\n", part, s->part_start[part], head, first,
                s->part_n[part]);
}

/* As sk_policy_to_env scales, in its order. */
static void write_scaled(const exporter *e, FILE *out, char head) {
    const char *squash = sk_policy_model(e->policy)->kind == SK_POLICY_ACTOR_CRITIC ? "tanhf" : "squash";
    fprintf(out, "    for (int i = 0; i < %d; i++)\n"
                 "        action[i] = action_low[i] + 0.5f * (%s(%c[i]) + 1.0f) * (action_high[i] - action_low[i]);\n",
            e->spaces->action_slots, squash, head);
}

static void write_act(const exporter *e, FILE *out) {
    if (e->spaces->n_parts > 0)
        fputs("/* The first of the largest. */\n"
              "static int best(const float *x, int n) {\n"
              "    int at = 0;\n"
              "    for (int i = 1; i < n; i++)\n"
              "        if (x[i] > x[at]) at = i;\n"
              "    return at;\n"
              "}\n\n",
              out);
    write_prototype(e, out, " {");
    fprintf(out, e->n_steps > 1 ? "    float a[%d], b[%d];\n" : "    float a[%d];\n", e->max_cols, e->max_cols);
    char head = write_steps(e, out);
    if (e->spaces->n_parts > 0) write_choices(e, out, head);
    else if (e->scales) write_scaled(e, out, head);
    else /* + 0: as the library adds no noise to the mean, which makes 0 of -0 */
        fprintf(out, "    for (int i = 0; i < %d; i++) action[i] = %c[i] + 0.0f;\n", e->spaces->action_slots, head);
    fputs("}\n", out);
}

/* ---- the two files ------------------------------------------------------------------------------------------ */
static sk_status write_source(const exporter *e, FILE *out, sk_error *reterr) {
    char sha256[65];
    sk_policy_sha256(e->policy, sha256);
    fprintf(out,
            "/* %s: a policy for %s, written by `skiff export`; see %s.h.\n"
            " * The order of every sum, the polynomials and fused multiply-add (fmaf) are those of skiff's own kernels,\n"
            " * so the bits are the same wherever floats are IEEE and computed as such (FLT_EVAL_METHOD 0); not with\n"
            " * -ffast-math.\n"
            " * Parameters: SHA-256 %s */\n"
            "#include \"%s.h\"\n\n#include <math.h>\n\n"
            "/* Products and sums are fused where fmaf says so and nowhere else. */\n"
            "#if defined(__GNUC__) && !defined(__clang__)\n"
            "#pragma GCC optimize(\"fp-contract=off\")\n"
            "#else\n"
            "#pragma STDC FP_CONTRACT OFF\n"
            "#endif\n\n",
            e->name, e->spaces->env_name, e->name, sha256, e->name);
    SK_TRY(write_numbers(e, out, reterr));
    SK_TRY(write_functions(e, out, reterr));
    write_act(e, out);
    return SK_OK;
}

static sk_status write_header(const exporter *e, FILE *out, sk_error *reterr) {
    const sk_policy_spaces *s = e->spaces;
    char                    guard[NAME_SIZE];
    (void)reterr;
    snprintf(guard, sizeof guard, "%s", e->name);
    for (char *c = guard; *c; c++) *c = (char)toupper((unsigned char)*c);
    fprintf(out,
            "/* %s: a policy for %s, as C99 for libc and libm.\n"
            " * No memory is allocated and nothing is kept between calls: any thread may act at any time. */\n"
            "#ifndef %s_POLICY_H\n#define %s_POLICY_H\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
            "enum { %s_OBS_SLOTS = %d, %s_ACTION_SLOTS = %d, %s_MASK_SIZE = %d };\n\n",
            e->name, s->env_name, guard, guard, guard, s->obs_dim, guard, s->action_slots, guard, s->mask_size);
    fprintf(out, "/* obs: the observation as the environment gives it (%d numbers%s).\n", s->obs_dim,
            e->has_integers && e->has_floats ? ", floats and ints of 4 bytes each" : "");
    if (s->mask_size > 0)
        fprintf(out, " * mask: %d bytes, 0 = this choice is not allowed; parts one after another.\n", s->mask_size);
    if (s->n_parts > 0) fputs(" * action: written; the best choice", out);
    else if (e->scales)
        fprintf(out, " * action: written; %d numbers, scaled to the environment's bounds", s->action_slots);
    else
        fprintf(out, " * action: written; %d numbers, the mean: clip them to the environment's bounds",
                s->action_slots);
    for (int i = 0; i < s->n_parts; i++)
        fprintf(out, "%s %d to %d", i ? "," : " of", s->part_start[i], s->part_start[i] + s->part_n[i] - 1);
    fputs(". */\n", out);
    write_prototype(e, out, ";");
    fputs("\n#ifdef __cplusplus\n}\n#endif\n#endif\n", out);
    return SK_OK;
}

static sk_status write_file(const exporter *e, const char *dir, const char *ending,
                            sk_status (*write)(const exporter *e, FILE *out, sk_error *reterr), sk_error *reterr) {
    char   path[4096], *text = NULL;
    size_t size = 0;
    int    n = snprintf(path, sizeof path, "%s/%s%s", dir, e->name, ending);
    if (n < 0 || (size_t)n >= sizeof path) return SK_FAIL(reterr, SK_EINVAL, "the path is too long: %.100s...", dir);
    FILE *out = open_memstream(&text, &size);
    if (!out) return SK_FAIL(reterr, SK_ENOMEM, "export: no memory");
    sk_status status = write(e, out, reterr);
    int       failed = ferror(out);
    failed |= fclose(out) != 0;
    if (status == SK_OK && failed) status = SK_FAIL(reterr, SK_ENOMEM, "export: no memory for the text of %s", path);
    if (status == SK_OK) status = sk_file_write_atomic(path, text, size, reterr);
    free(text);
    return status;
}

sk_status sk_policy_export_c(const sk_policy *self, const char *name, const char *dir, sk_error *reterr) {
    SK_TRY(check_name(name, reterr));
    exporter e = {.policy = self, .spaces = sk_policy_spaces_get(self), .name = name, .activation = SK_UNARY_IDENTITY};
    sk_status status = find_steps(&e, reterr);
    if (status == SK_OK) status = write_file(&e, dir, ".c", write_source, reterr);
    if (status == SK_OK) status = write_file(&e, dir, ".h", write_header, reterr);
    sk_graph_destroy(&e.graph);
    return status;
}
