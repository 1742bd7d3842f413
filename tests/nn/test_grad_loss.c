/* Gradients of the distributions and of the PPO loss against central differences. */
#include "tests/nn/grad_net.h"

static char what[128];
#define WHAT(...) (snprintf(what, sizeof what, __VA_ARGS__), what)

static const struct parts {
    int n, part_n[4];
} all_parts[] = {{1, {2}}, {1, {7}}, {1, {33}}, {3, {2, 7, 3}}, {4, {1, 5, 2, 2}}};
static int n_choices(const struct parts *p) {
    int n = 0;
    for (int i = 0; i < p->n; i++) n += p->part_n[i];
    return n;
}

/* A mask of 0 and 1 that leaves every action taken allowed. */
static sk_tensor add_mask(small_net *n, const struct parts *p, sk_tensor action) {
    int cols = n_choices(p);
    sk_tensor mask = net_input(n, cols, 0.0, 1.0);
    float *m = net_values(n, mask);
    const int32_t *a = net_values(n, action);
    for (int i = 0; i < NET_ROWS * cols; i++) m[i] = m[i] > 0.4f ? 1.0f : 0.0f;
    for (int r = 0; r < NET_ROWS; r++)
        for (int part = 0, first = 0; part < p->n; first += p->part_n[part++])
            m[r * cols + first + a[r * p->n + part]] = 1.0f;
    return mask;
}

Test(grad, categorical) {
    for (int i = 0; i < SK_COUNT(all_parts); i++)
        for (int masked = 0; masked < 2; masked++)
            for (int twice = 0; twice < 2; twice++) {
                const struct parts *p = &all_parts[i];
                small_net net = net_create((uint64_t)(2000 + 10 * i + masked));
                sk_tensor logits = net_rows(&net, n_choices(p), -1.0, 1.0, NET_PLAIN);
                sk_tensor action = net_choices(&net, p->n, p->part_n);
                sk_tensor mask = masked ? add_mask(&net, p, action) : SK_NO_TENSOR;
                if (twice) net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, logits));
                net_minimize(&net, sk_graph_categorical(net.g, logits, action, mask, p->part_n, p->n));
                if (twice)
                    net_minimize(&net, sk_graph_categorical(net.g, logits, action, mask, p->part_n, p->n));
                net_check(&net, WHAT("categorical %d, mask %d", i, masked), &net_smooth);
            }
}

Test(grad, categorical_of_gathered_actions_and_masks) {
    enum { TABLE_ROWS = 19 };
    static const int table_rows[] = {TABLE_ROWS};
    for (int i = 0; i < SK_COUNT(all_parts); i++) {
        const struct parts *p = &all_parts[i];
        int cols = n_choices(p);
        small_net net = net_create((uint64_t)(2100 + i));
        sk_tensor logits = net_rows(&net, cols, -1.0, 1.0, NET_PLAIN);
        sk_tensor index = net_choices(&net, 1, table_rows);
        sk_tensor actions = net_table(&net, TABLE_ROWS, p->n, 0.0, 1.0),
                  masks = net_table(&net, TABLE_ROWS, cols, 0.0, 1.0);
        int32_t *a = net_values(&net, actions);
        float *m = net_values(&net, masks);
        for (int j = 0; j < TABLE_ROWS * p->n; j++) a[j] = fix_below(&net.seed, p->part_n[j % p->n]);
        for (int j = 0; j < TABLE_ROWS * cols; j++) m[j] = m[j] > 0.3f ? 1.0f : 0.0f;
        for (int r = 0; r < TABLE_ROWS; r++)
            for (int part = 0, first = 0; part < p->n; first += p->part_n[part++])
                m[r * cols + first + a[r * p->n + part]] = 1.0f;
        net_minimize(&net, sk_graph_categorical(net.g, logits, sk_graph_gather(net.g, actions, index),
                                                sk_graph_gather(net.g, masks, index), p->part_n, p->n));
        net_check(&net, WHAT("categorical %d from a table", i), &net_smooth);
    }
}

/* log_std: 0 a parameter, 1 rows, 2 the very tensor that is the mean. */
Test(grad, gaussian) {
    static const int widths[] = {1, 2, 6, 17};
    for (int i = 0; i < SK_COUNT(widths); i++)
        for (int how = 0; how < 3; how++)
            for (int twice = 0; twice < 2; twice++) {
                small_net net = net_create((uint64_t)(2200 + 10 * i + how));
                int cols = widths[i];
                sk_tensor mean = net_rows(&net, cols, -0.5, 0.5, NET_PLAIN), log_std = mean;
                if (how == 0) log_std = net_param(&net, 1, cols, -0.5, 0.5, NET_PLAIN);
                if (how == 1) log_std = net_rows(&net, cols, -0.5, 0.5, NET_PLAIN);
                sk_tensor action = net_input(&net, cols, -0.7, 0.7);
                if (twice) net_minimize(&net, sk_graph_unary(net.g, SK_UNARY_TANH, mean));
                net_minimize(&net, sk_graph_gaussian(net.g, mean, log_std, action));
                if (twice)
                    net_minimize(&net,
                                 sk_graph_gaussian(net.g, mean, log_std, net_input(&net, cols, -0.7, 0.7)));
                net_check(&net, WHAT("gaussian %d columns, log_std %d", cols, how), &net_steep);
            }
}

Test(grad, gaussian_of_an_input_mean_with_learnt_log_std) { /* rows of different lengths meet here */
    static const int widths[] = {1, 3, 5, 17};
    for (int i = 0; i < SK_COUNT(widths); i++)
        for (int twice = 0; twice < 2; twice++) {
            small_net net = net_create((uint64_t)(2300 + i));
            int cols = widths[i];
            sk_tensor mean = net_input(&net, cols, -0.5, 0.5),
                      log_std = net_rows(&net, cols, -0.5, 0.5, NET_PLAIN);
            net_minimize(&net, sk_graph_gaussian(net.g, mean, log_std, net_input(&net, cols, -0.7, 0.7)));
            if (twice)
                net_minimize(&net, sk_graph_gaussian(net.g, mean, log_std, net_input(&net, cols, -0.7, 0.7)));
            net_check(&net, WHAT("gaussian of an input, %d columns", cols), &net_steep);
        }
}

/* Columns 0 and 2 lie outside the clamp: no gradient; actions equal to the mean keep z = 0 at std e^-20. */
static void check_clamp(int shared) {
    small_net net = net_create(2400);
    sk_tensor mean = net_input(&net, 3, -0.5, 0.5);
    sk_tensor base =
        shared ? net_param(&net, 1, 3, 2.4, 2.6, NET_PLAIN) : net_rows(&net, 3, 0.1, 0.3, NET_PLAIN);
    sk_tensor log_std = base;
    if (!shared) {
        sk_tensor shift = sk_graph_const(net.g, "shift", 3);
        float *values = net_add_data(&net, shift, 1);
        values[0] = 2.5f, values[1] = 0.0f, values[2] = -22.0f;
        log_std = sk_graph_binary(net.g, SK_BINARY_ADD, base, shift);
    }
    sk_tensor action = net_input(&net, 3, 0.0, 1.0);
    memcpy(net_values(&net, action), net_values(&net, mean), sizeof(float) * NET_ROWS * 3);
    net_minimize(&net, sk_graph_gaussian(net.g, mean, log_std, action));
    net_check(&net, WHAT("clamped log_std, shared %d", shared), &net_steep);
}
Test(grad, gaussian_log_std_passes_inside_its_clamp_only) {
    check_clamp(0);
    check_clamp(1);
}

/* ---- PPO ---- */

enum { U_DIST, U_VALUE, U_LOGP_OLD, U_VALUE_OLD, U_TARGET, U_ADVANTAGE, U_WEIGHT };

/* Once the policy's own log-probs and values are known: ratios well inside and outside [0.8, 1.2] on both
 * sides, value changes of 0.1 and 0.6 both ways around a range of 0.3, targets 1 away. */
static void prepare_ppo(small_net *n, sk_plan *plan) {
    static const float log_ratio[] = {-0.5f, -0.08f, 0.08f, 0.5f},
                       change[] = {-0.6f, 0.1f, -0.1f, 0.6f, 0.6f};
    const float *dist = sk_plan_output(plan, n->user[U_DIST]),
                *value = sk_plan_output(plan, n->user[U_VALUE]);
    float *logp_old = net_values(n, n->user[U_LOGP_OLD]), *value_old = net_values(n, n->user[U_VALUE_OLD]);
    float *target = net_values(n, n->user[U_TARGET]), *advantage = net_values(n, n->user[U_ADVANTAGE]);
    int ld = sk_graph_node(n->g, n->user[U_DIST])->ld;
    for (int r = 0; r < NET_ROWS; r++) {
        logp_old[r] = dist[r * ld] - log_ratio[r % 4];
        value_old[r] = value[r] - change[r % 5];
        target[r] = value[r] + (r % 2 ? 1.0f : -1.2f);
        advantage[r] = r % 3 ? 0.7f + 0.1f * (float)r : -0.9f;
    }
}

typedef struct ppo_case {
    float vf_clip, vf, entropy, kl;
    int gaussian;  /* else categorical                               */
    int zero_rows; /* some weights are 0                             */
    int shared;    /* value and policy share the last hidden layer   */
    int more;      /* dist and value have other consumers too        */
} ppo_case;

static sk_tensor add_policy(small_net *n, const ppo_case *c, sk_tensor hidden) {
    static const int part_n[] = {4};
    sk_tensor w = net_param(n, 6, 4, -0.5, 0.5, NET_PLAIN);
    sk_tensor out = sk_graph_linear(n->g, hidden, w, SK_NO_TENSOR, SK_UNARY_IDENTITY);
    if (c->gaussian)
        return sk_graph_gaussian(n->g, out, net_param(n, 1, 4, -0.3, 0.3, NET_PLAIN),
                                 net_input(n, 4, -0.6, 0.6));
    return sk_graph_categorical(n->g, out, net_choices(n, 1, part_n), SK_NO_TENSOR, part_n, 1);
}

static sk_tensor add_coef(small_net *n, const ppo_case *c) {
    sk_tensor coef = sk_graph_const(n->g, "coef", SK_PPO_COEF_N);
    const float values[SK_PPO_COEF_N] = {0.2f,  c->vf_clip, c->vf, c->entropy,
                                         c->kl, 0.1f,       1.3f,  1.0f / NET_ROWS};
    float *to = net_add_data(n, coef, 1);
    memcpy(to, values, sizeof values);
    return coef;
}

static void check_ppo(const ppo_case *c, int index) {
    small_net net = net_create((uint64_t)(2500 + index));
    sk_tensor x = net_input(&net, 3, -1.0, 1.0);
    sk_tensor hidden = sk_graph_linear(net.g, x, net_param(&net, 3, 6, -0.6, 0.6, NET_PLAIN),
                                       net_param(&net, 1, 6, -0.6, 0.6, NET_PLAIN), SK_UNARY_TANH);
    sk_tensor beside = c->shared ? hidden
                                 : sk_graph_linear(net.g, x, net_param(&net, 3, 6, -0.6, 0.6, NET_PLAIN),
                                                   SK_NO_TENSOR, SK_UNARY_TANH);
    sk_tensor *u = net.user;
    u[U_DIST] = add_policy(&net, c, hidden);
    u[U_VALUE] = sk_graph_linear(net.g, beside, net_param(&net, 6, 1, -0.5, 0.5, NET_PLAIN),
                                 net_param(&net, 1, 1, -0.5, 0.5, NET_PLAIN), SK_UNARY_IDENTITY);
    for (int i = U_LOGP_OLD; i <= U_WEIGHT; i++) u[i] = net_input(&net, 1, 0.5, 1.5);
    float *weight = net_values(&net, u[U_WEIGHT]);
    for (int r = 0; c->zero_rows && r < NET_ROWS; r += 3) weight[r] = 0.0f;
    sk_graph_output(net.g, u[U_DIST]);
    sk_graph_output(net.g, u[U_VALUE]);
    if (c->more) net_minimize(&net, u[U_VALUE]);
    sk_tensor loss = sk_graph_ppo_loss(net.g, &(sk_ppo_loss_in){.dist = u[U_DIST],
                                                                .value = u[U_VALUE],
                                                                .logp_old = u[U_LOGP_OLD],
                                                                .value_old = u[U_VALUE_OLD],
                                                                .advantage = u[U_ADVANTAGE],
                                                                .value_target = u[U_TARGET],
                                                                .weight = u[U_WEIGHT],
                                                                .coef = add_coef(&net, c)});
    sk_graph_minimize(net.g, loss, c->more ? 1.5f : 4.0f);
    if (c->more) net_minimize(&net, u[U_DIST]);
    if (c->more) net_minimize(&net, u[U_VALUE]);
    net.prepare = prepare_ppo;
    net_check(&net, WHAT("ppo case %d", index), &net_steep);
}

static const ppo_case ppo_cases[] = {
    {0},
    {.vf = 0.5f},
    {.vf = 0.5f, .vf_clip = 0.3f},
    {.vf = 1.0f, .vf_clip = 0.3f, .entropy = 0.05f},
    {.kl = 0.4f},
    {.vf = 0.5f, .entropy = 0.1f, .kl = 0.4f, .zero_rows = 1},
    {.vf = 0.5f, .vf_clip = 0.3f, .entropy = 0.1f, .kl = 0.4f, .zero_rows = 1, .shared = 1},
    {.vf = 0.5f, .vf_clip = 0.3f, .entropy = 0.1f, .kl = 0.4f, .shared = 1, .more = 1},
    {.gaussian = 1},
    {.vf = 0.5f, .entropy = 0.05f, .kl = 0.2f, .gaussian = 1},
    {.vf = 0.5f, .vf_clip = 0.3f, .entropy = 0.05f, .gaussian = 1, .zero_rows = 1},
    {.vf = 0.5f, .vf_clip = -1.0f, .entropy = 0.05f, .kl = 0.2f, .gaussian = 1, .shared = 1, .more = 1},
};

Test(grad, ppo_loss) {
    for (int i = 0; i < SK_COUNT(ppo_cases); i++) check_ppo(&ppo_cases[i], i);
}

Test(grad, several_losses_add_up) {
    small_net net = net_create(2600);
    sk_tensor x = net_rows(&net, 4, -0.8, 0.8, NET_PLAIN), y = net_rows(&net, 1, -0.8, 0.8, NET_PLAIN);
    sk_graph_minimize(net.g, sk_graph_mean(net.g, sk_graph_unary(net.g, SK_UNARY_SQUARE, x)), 3.0f);
    sk_tensor sum = sk_graph_sum(net.g, sk_graph_row_sum(net.g, sk_graph_unary(net.g, SK_UNARY_TANH, x)));
    sk_graph_minimize(net.g, sum, 0.7f);
    sk_graph_minimize(net.g, sum, -0.2f); /* the same sum again: 0.5 in all */
    sk_graph_minimize(
        net.g, sk_graph_mean(net.g, sk_graph_binary(net.g, SK_BINARY_MUL, y, sk_graph_row_sum(net.g, x))),
        -1.5f);
    net_check(&net, "several losses", &net_smooth);
}
