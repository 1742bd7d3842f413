/* Acting: the same bits in any company, the right distribution, and an own computation in double next to it. */
#include "core/base/rng.h"
#include "tests/policies/policy_fixture.h"

#include <math.h>

/* ---- policies of all kinds ---- */

static const sk_policy_spaces several = {.env_name = "Several-v0", .obs_dim = 6, .action_slots = 3, .n_parts = 3,
                                         .part_n = {2, 5, 3}};
static const sk_policy_spaces boxes = {.env_name = "Boxes-v0", .obs_dim = 7, .action_slots = 6};
static const sk_policy_spaces wide_box = {.env_name = "Wide-v0", .obs_dim = 37, .action_slots = 19};
static const sk_policy_spaces one_masked = {.env_name = "One-v0", .obs_dim = 4, .action_slots = 1, .n_parts = 1,
                                            .part_n = {5}, .mask_size = 5};

typedef struct player {
    const char             *name;
    const sk_policy_spaces *spaces;
    sk_model_config         model;
    sk_obs_filter           filter;
} player;

#define TANH(...) {.fcnet_hiddens = {2, {24, 17}}, .free_log_std = true, .log_std_init = -0.5, __VA_ARGS__}
static const player players[] = {
    {"one choice", &fix_cartpole, TANH(), SK_FILTER_NONE},
    {"one choice, filter", &fix_cartpole, TANH(), SK_FILTER_MEAN_STD},
    {"masked", &fix_masked, TANH(), SK_FILTER_MEAN_STD},
    {"one masked, shared", &one_masked, TANH(.vf_share_layers = true), SK_FILTER_NONE},
    {"several", &several, TANH(.layer_norm = true, .fcnet_activation = SK_ACT_GELU), SK_FILTER_NONE},
    {"box", &fix_pendulum, TANH(), SK_FILTER_MEAN_STD},
    {"boxes, own deviation", &boxes, {.fcnet_hiddens = {1, {16}}, .log_std_init = -0.5}, SK_FILTER_NONE},
    {"wide box, relu", &wide_box, TANH(.fcnet_activation = SK_ACT_RELU), SK_FILTER_MEAN_STD},
    {"no hidden layer", &boxes, {.free_log_std = true}, SK_FILTER_NONE},
};

enum { ROWS = 67, SLOTS_MAX = 19, OBS_MAX = 37, MASK_MAX = 16 };

/* Observations and masks, the same for the same seed. */
typedef struct scene {
    float obs[ROWS * OBS_MAX], mask[ROWS * MASK_MAX];
} scene;
static void scene_fill(scene *s, const sk_policy_spaces *spaces, uint64_t seed) {
    for (int i = 0; i < ROWS * spaces->obs_dim; i++) s->obs[i] = fix_uniform(&seed, -3.0f, 3.0f);
    for (int r = 0; spaces->mask_size && r < ROWS; r++)
        for (int p = 0, at = r * spaces->mask_size; p < spaces->n_parts; at += spaces->part_n[p++]) {
            for (int j = 0; j < spaces->part_n[p]; j++) s->mask[at + j] = fix_uniform(&seed, 0, 1) < 0.6f;
            s->mask[at + (int)fix_uniform(&seed, 0, (float)spaces->part_n[p])] = 1.0f;
        }
}

typedef struct acts {
    sk_env_slot action[ROWS * SLOTS_MAX];
    float       logp[ROWS], value[ROWS];
} acts;

static void act(sk_inference *inf, const sk_policy_spaces *sp, const scene *s, int first, int rows, int deterministic,
                acts *out) {
    memset(out, 0x7f, sizeof *out);
    sk_inference_act(inf, &(sk_inference_io){.rows = rows, .obs = s->obs + first * sp->obs_dim,
                                             .mask = sp->mask_size ? s->mask + first * sp->mask_size : NULL,
                                             .deterministic = deterministic, .seed = 77, .counter = 5,
                                             .first_row = 1000 + first, .action = out->action, .logp = out->logp,
                                             .value = out->value});
}

/* Rows `first`... of `all` must be what `part` holds from 0 on, bit for bit. */
static void same_rows(const acts *all, const acts *part, int first, int rows, int slots, const char *who) {
    cr_assert_eq(memcmp(all->action + first * slots, part->action, (size_t)(rows * slots) * 4), 0, "%s: action", who);
    cr_assert_eq(memcmp(all->logp + first, part->logp, (size_t)rows * 4), 0, "%s: logp", who);
    cr_assert_eq(memcmp(all->value + first, part->value, (size_t)rows * 4), 0, "%s: value", who);
}

Test(inference, gives_a_row_the_same_bits_in_any_batch) {
    static scene s;
    static acts  all, part;
    for (int k = 0; k < SK_COUNT(players); k++) {
        const player *p = &players[k];
        sk_policy    *policy = fix_policy(p->spaces, &p->model, p->filter, (uint64_t)k);
        sk_device    *device = NULL, *small_device = NULL;
        sk_inference *inf = fix_inference(policy, ROWS, &device), *small = fix_inference(policy, 5, &small_device);
        scene_fill(&s, p->spaces, 100 + (uint64_t)k);
        for (int deterministic = 0; deterministic < 2; deterministic++) {
            act(inf, p->spaces, &s, 0, ROWS, deterministic, &all);
            for (int rows = 1; rows <= ROWS; rows++) {
                int first = (rows * 13) % (ROWS - rows + 1);
                act(inf, p->spaces, &s, first, rows, deterministic, &part);
                same_rows(&all, &part, first, rows, p->spaces->action_slots, p->name);
                if (rows > 5) continue;
                act(small, p->spaces, &s, first, rows, deterministic, &part); /* a plan of another size */
                same_rows(&all, &part, first, rows, p->spaces->action_slots, p->name);
            }
        }
        sk_inference_destroy(&inf);
        sk_inference_destroy(&small);
        sk_device_destroy(&device);
        sk_device_destroy(&small_device);
        sk_policy_destroy(&policy);
    }
}

Test(inference, value_gives_the_bits_of_act_for_any_number_of_rows) {
    static scene s;
    static acts  all;
    float        value[ROWS];
    for (int k = 0; k < SK_COUNT(players); k++) {
        const player *p = &players[k];
        sk_policy    *policy = fix_policy(p->spaces, &p->model, p->filter, (uint64_t)k);
        sk_device    *device = NULL, *small_device = NULL;
        sk_inference *inf = fix_inference(policy, ROWS, &device), *small = fix_inference(policy, 4, &small_device);
        scene_fill(&s, p->spaces, (uint64_t)k);
        act(inf, p->spaces, &s, 0, ROWS, 0, &all);
        for (int rows = 1; rows <= ROWS; rows += 11) {
            memset(value, 0x7f, sizeof value);
            sk_inference_value(small, s.obs, rows, value); /* more rows than its plan has */
            cr_assert_eq(memcmp(value, all.value, (size_t)rows * 4), 0, "%s, %d rows", p->name, rows);
        }
        sk_inference_destroy(&inf);
        sk_inference_destroy(&small);
        sk_device_destroy(&device);
        sk_device_destroy(&small_device);
        sk_policy_destroy(&policy);
    }
}

Test(inference, logp_and_value_may_be_left_out) {
    static scene s;
    static acts  all;
    sk_device   *device = NULL;
    sk_policy   *policy = fix_policy(&boxes, &players[0].model, SK_FILTER_NONE, 3);
    sk_inference *inf = fix_inference(policy, ROWS, &device);
    sk_env_slot   action[ROWS * 6];
    float         value[ROWS];
    scene_fill(&s, &boxes, 8);
    act(inf, &boxes, &s, 0, ROWS, 0, &all);
    sk_inference_io io = {.rows = ROWS, .obs = s.obs, .seed = 77, .counter = 5, .first_row = 1000, .action = action};
    sk_inference_act(inf, &io);
    cr_assert_eq(memcmp(action, all.action, sizeof action), 0);
    io.value = value;
    memset(action, 0, sizeof action);
    sk_inference_act(inf, &io);
    cr_assert_eq(memcmp(action, all.action, sizeof action), 0);
    cr_assert_eq(memcmp(value, all.value, sizeof value), 0);
    sk_inference_destroy(&inf);
    sk_device_destroy(&device);
    sk_policy_destroy(&policy);
}

/* ---- what a draw depends on ---- */

Test(inference, a_draw_depends_on_seed_global_row_and_counter_only) {
    sk_device    *device = NULL;
    sk_policy    *policy = fix_policy(&boxes, &players[0].model, SK_FILTER_NONE, 3);
    sk_inference *inf = fix_inference(policy, ROWS, &device);
    float         obs[3 * 7], same[7];
    sk_env_slot   a[3 * 6], b[3 * 6];
    uint64_t      seed = 1;
    for (int i = 0; i < 7; i++) same[i] = fix_uniform(&seed, -1, 1);
    for (int i = 0; i < 21; i++) obs[i] = same[i % 7];
    sk_inference_io io = {.rows = 3, .obs = obs, .seed = 1, .counter = 2, .first_row = 10, .action = a};
    sk_inference_act(inf, &io);
    for (int i = 0; i < 6; i++) /* the same observation, other rows: other draws; within a row too */
        for (int r = 1; r < 3; r++) cr_assert_neq(a[i].f, a[r * 6 + i].f);
    io.action = b;
    io.rows = 1, io.first_row = 12, io.obs = same;
    sk_inference_act(inf, &io);
    cr_assert_eq(memcmp(b, a + 12, 6 * sizeof *a), 0, "row 12 alone");
    static const struct {
        uint64_t seed, counter;
        int64_t  row;
    } others[] = {{2, 2, 12}, {1, 3, 12}, {1, 2, 13}, {1, 2, 12 + ((int64_t)1 << 33)}, {1, 2 + (1ull << 40), 12}};
    for (int k = 0; k < SK_COUNT(others); k++) {
        io.seed = others[k].seed, io.counter = others[k].counter, io.first_row = others[k].row;
        sk_inference_act(inf, &io);
        for (int i = 0; i < 6; i++) cr_assert_neq(b[i].f, a[12 + i].f, "case %d", k);
    }
    sk_inference_destroy(&inf);
    sk_device_destroy(&device);
    sk_policy_destroy(&policy);
}

/* Noise is not kept from one mode to the other. */
Test(inference, deterministic_and_drawn_actions_may_alternate) {
    static scene s;
    static acts  drawn, mode, again;
    for (int k = 0; k < SK_COUNT(players); k++) {
        const player *p = &players[k];
        sk_policy    *policy = fix_policy(p->spaces, &p->model, p->filter, (uint64_t)k);
        sk_device    *device = NULL;
        sk_inference *inf = fix_inference(policy, ROWS, &device);
        scene_fill(&s, p->spaces, (uint64_t)k);
        act(inf, p->spaces, &s, 0, ROWS, 1, &mode);
        act(inf, p->spaces, &s, 0, ROWS, 0, &drawn);
        cr_assert_neq(memcmp(drawn.action, mode.action, sizeof mode.action), 0);
        act(inf, p->spaces, &s, 0, 3, 0, &again);
        act(inf, p->spaces, &s, 0, ROWS, 1, &again);
        same_rows(&mode, &again, 0, ROWS, p->spaces->action_slots, p->name);
        act(inf, p->spaces, &s, 0, ROWS, 0, &again);
        same_rows(&drawn, &again, 0, ROWS, p->spaces->action_slots, p->name);
        sk_inference_destroy(&inf);
        sk_device_destroy(&device);
        sk_policy_destroy(&policy);
    }
}

/* ---- against double ---- */

typedef struct naive { /* a network of tanh layers in double */
    const sk_policy *policy;
    sk_graph        *g;
} naive;

static const sk_node *param(const naive *n, const char *name) {
    sk_tensor t = sk_graph_find_param(n->g, name);
    return t < 0 ? NULL : sk_graph_node(n->g, t);
}
static void layer(const naive *n, const char *name, const double *x, double *y) {
    char text[64];
    snprintf(text, sizeof text, "%s/w", name);
    const sk_node *w = param(n, text);
    snprintf(text, sizeof text, "%s/b", name);
    const sk_node *b = param(n, text);
    const float   *p = sk_policy_params_const(n->policy);
    cr_assert(w && b, "%s", name);
    for (int o = 0; o < w->cols; o++) {
        y[o] = (double)p[b->offset + o];
        for (int i = 0; i < w->rows; i++) y[o] += x[i] * (double)p[w->offset + i * w->ld + o];
    }
}
/* Hidden layers under `trunk`, then `head`. */
static void network(const naive *n, const char *trunk, const char *head, const double *x, double *out) {
    double h[64], y[64];
    int    width = sk_policy_spaces_get(n->policy)->obs_dim;
    memcpy(h, x, (size_t)width * sizeof *h);
    for (int l = 0; l < sk_policy_model(n->policy)->fcnet_hiddens.n; l++) {
        char name[64];
        snprintf(name, sizeof name, "%s/%d", trunk, l);
        layer(n, name, h, y);
        width = (int)sk_policy_model(n->policy)->fcnet_hiddens.v[l];
        for (int i = 0; i < width; i++) h[i] = tanh(y[i]);
    }
    layer(n, head, h, out);
}

/* Statistics by hand, in double, of what the filter has. */
static void normalized(const sk_policy *policy, const float *obs, double *x) {
    const sk_normalizer *f = sk_policy_normalizer_const(policy);
    for (int i = 0; i < f->n; i++) {
        x[i] = (double)obs[i];
        if (sk_policy_filter(policy) == SK_FILTER_MEAN_STD)
            x[i] = fmax(-10.0, fmin(10.0, (x[i] - f->mean[i]) / sqrt(f->m2[i] / f->count + 1e-8)));
    }
}

/* log-prob of a row's action by definition; the mode must be the best choice, or the mean. */
static void check_row(const naive *n, const float *obs, const float *mask, const sk_env_slot *a,
                      const sk_env_slot *mode, float logp, float value, const char *who) {
    const sk_policy_spaces *s = sk_policy_spaces_get(n->policy);
    double                  x[64], out[64], log_std[64], v, wanted = 0.0;
    int                     shared = sk_policy_model(n->policy)->vf_share_layers;
    normalized(n->policy, obs, x);
    network(n, shared ? "shared" : "pi", "pi/out", x, out);
    network(n, shared ? "shared" : "vf", "vf/out", x, &v);
    cr_assert_float_eq(value, v, 1e-5 * (1.0 + fabs(v)), "%s: value %g, wanted %g", who, (double)value, v);
    for (int p = 0, at = 0; p < s->n_parts; at += s->part_n[p++]) {
        double sum = 0.0, best = -INFINITY;
        for (int j = 0; j < s->part_n[p]; j++) {
            if (mask && mask[at + j] == 0.0f) continue;
            sum += exp(out[at + j]);
            best = fmax(best, out[at + j]);
        }
        cr_assert(a[p].i >= 0 && a[p].i < s->part_n[p] && (!mask || mask[at + a[p].i] == 1.0f), "%s: choice %d", who,
                  a[p].i);
        cr_assert(!mask || mask[at + mode[p].i] == 1.0f);
        cr_assert_float_eq(out[at + mode[p].i], best, 1e-5, "%s: not the most probable choice", who);
        wanted += out[at + a[p].i] - log(sum);
    }
    if (s->n_parts == 0 && sk_policy_model(n->policy)->free_log_std)
        for (int i = 0; i < s->action_slots; i++)
            log_std[i] = (double)sk_policy_params_const(n->policy)[param(n, "pi/log_std")->offset + i];
    else if (s->n_parts == 0) network(n, shared ? "shared" : "pi", "pi/log_std_out", x, log_std);
    for (int i = 0; s->n_parts == 0 && i < s->action_slots; i++) {
        double z = ((double)a[i].f - out[i]) / exp(log_std[i]);
        cr_assert_float_eq(mode[i].f, out[i], 1e-5 * (1.0 + fabs(out[i])), "%s: not the mean", who);
        wanted += -0.5 * z * z - log_std[i] - 0.5 * log(2.0 * M_PI);
    }
    cr_assert_float_eq(logp, wanted, 2e-5 * (1.0 + fabs(wanted)), "%s: logp %.8g, wanted %.8g", who, (double)logp,
                       wanted);
}

Test(inference, agrees_with_an_own_computation_in_double) {
    static scene s;
    static acts  drawn, mode;
    for (int k = 0; k < SK_COUNT(players); k++) {
        const player *p = &players[k];
        if (p->model.layer_norm || p->model.fcnet_activation != SK_ACT_TANH) continue;
        sk_policy    *policy = fix_policy(p->spaces, &p->model, p->filter, (uint64_t)k);
        sk_device    *device = NULL;
        sk_inference *inf = fix_inference(policy, ROWS, &device);
        naive         n = {.policy = policy};
        sk_net        net;
        cr_assert_eq(sk_graph_create(&n.g, NULL), SK_OK);
        sk_net_build(n.g, p->spaces, &p->model, p->filter, sk_graph_input(n.g, "obs", p->spaces->obs_dim), &net);
        scene_fill(&s, p->spaces, (uint64_t)k);
        s.obs[0] = 1e4f, s.obs[1] = -1e4f; /* far out: a filter clips them, without one tanh flattens */
        act(inf, p->spaces, &s, 0, ROWS, 0, &drawn);
        act(inf, p->spaces, &s, 0, ROWS, 1, &mode);
        int first = p->filter || p->model.fcnet_hiddens.n ? 0 : 1;
        for (int r = first; r < ROWS; r++)
            check_row(&n, s.obs + r * p->spaces->obs_dim,
                      p->spaces->mask_size ? s.mask + r * p->spaces->mask_size : NULL,
                      drawn.action + r * p->spaces->action_slots, mode.action + r * p->spaces->action_slots,
                      drawn.logp[r], drawn.value[r], p->name);
        sk_graph_destroy(&n.g);
        sk_inference_destroy(&inf);
        sk_device_destroy(&device);
        sk_policy_destroy(&policy);
    }
}

/* ---- distributions ---- */

enum { DRAWS = 100000, CROWD = 500 };

/* `rows` rows of one observation and one mask, many times: calls `look` with every action drawn. */
typedef struct crowd {
    sk_policy    *policy;
    sk_device    *device;
    sk_inference *inf;
    float         obs[CROWD * 8], mask[CROWD * 8];
    sk_env_slot   action[CROWD * 8];
    float         logp[CROWD];
} crowd;

static crowd *crowd_make(const sk_policy_spaces *spaces, const float *mask, uint64_t seed) {
    crowd *c = calloc(1, sizeof *c);
    c->policy = fix_policy(spaces, &players[0].model, SK_FILTER_MEAN_STD, seed);
    c->inf = fix_inference(c->policy, CROWD, &c->device);
    for (int i = 0; i < spaces->obs_dim; i++) c->obs[i] = fix_uniform(&seed, -2, 2);
    for (int r = 0; r < CROWD; r++) {
        memcpy(c->obs + r * spaces->obs_dim, c->obs, (size_t)spaces->obs_dim * 4);
        if (mask) memcpy(c->mask + r * spaces->mask_size, mask, (size_t)spaces->mask_size * 4);
    }
    return c;
}
static void crowd_act(crowd *c, uint64_t counter) {
    const sk_policy_spaces *s = sk_policy_spaces_get(c->policy);
    sk_inference_act(c->inf, &(sk_inference_io){.rows = CROWD, .obs = c->obs, .mask = s->mask_size ? c->mask : NULL,
                                                .seed = 4, .counter = counter, .action = c->action, .logp = c->logp});
}
static void crowd_destroy(crowd *c) {
    sk_inference_destroy(&c->inf);
    sk_device_destroy(&c->device);
    sk_policy_destroy(&c->policy);
    free(c);
}

/* Pearson's chi-square of the joint choices against exp(logp); masked ones never come. Critical values at 1e-4. */
static void frequencies(const sk_policy_spaces *spaces, const float *mask, uint64_t seed, double critical) {
    crowd *c = crowd_make(spaces, mask, seed);
    int    counts[64] = {0}, cells = 1;
    double prob[64] = {0}, chi2 = 0.0, total = 0.0;
    for (int p = 0; p < spaces->n_parts; p++) cells *= spaces->part_n[p];
    for (uint64_t t = 0; t < DRAWS / CROWD; t++) {
        crowd_act(c, t);
        for (int r = 0; r < CROWD; r++) {
            int cell = 0;
            for (int p = 0, at = 0; p < spaces->n_parts; at += spaces->part_n[p++]) {
                int choice = c->action[r * spaces->n_parts + p].i;
                cr_assert(choice >= 0 && choice < spaces->part_n[p]);
                cr_assert(!mask || mask[at + choice] == 1.0f, "a masked choice was taken");
                cell = cell * spaces->part_n[p] + choice;
            }
            counts[cell]++;
            prob[cell] = exp((double)c->logp[r]);
        }
    }
    for (int i = 0; i < cells; i++) {
        total += prob[i];
        if (prob[i] > 0.0) chi2 += pow(counts[i] - DRAWS * prob[i], 2) / (DRAWS * prob[i]);
    }
    cr_assert_float_eq(total, 1.0, 1e-5, "probabilities sum to %g (a possible choice never came)", total);
    cr_assert_lt(chi2, critical, "chi-square %g", chi2);
    crowd_destroy(c);
}

Test(inference, draws_choices_as_often_as_their_probability_says) {
    static const float some[7] = {1, 0, 1, 0, 1, 1, 1}, all[7] = {1, 1, 1, 1, 1, 1, 1}, five[5] = {0, 1, 0, 1, 1};
    frequencies(&fix_cartpole, NULL, 1, 15.1);  /* 1 degree of freedom  */
    frequencies(&several, NULL, 2, 67.6);       /* 29                   */
    frequencies(&fix_masked, all, 3, 37.4);     /* 11                   */
    frequencies(&fix_masked, some, 4, 25.7);    /* 5                    */
    frequencies(&one_masked, five, 5, 18.4);    /* 2                    */
}

Test(inference, takes_the_only_choice_that_is_left) {
    for (int left = 0; left < 5; left++) {
        float mask[5] = {0};
        mask[left] = 1.0f;
        crowd *c = crowd_make(&one_masked, mask, 6);
        for (uint64_t t = 0; t < DRAWS / CROWD / 5; t++) {
            crowd_act(c, t);
            for (int r = 0; r < CROWD; r++) {
                cr_assert_eq(c->action[r].i, left);
                cr_assert_float_eq(c->logp[r], 0.0f, 1e-6);
            }
        }
        crowd_destroy(c);
    }
}

Test(inference, draws_box_actions_with_the_right_moments) {
    crowd      *c = crowd_make(&boxes, NULL, 7);
    double      n = DRAWS, m1[6] = {0}, m2[6] = {0}, m3[6] = {0}, m4[6] = {0}, cross[6][6] = {{0}};
    sk_env_slot mean[6];
    float       log_std[6], at_mean;
    sk_inference_act(c->inf, &(sk_inference_io){.rows = 1, .obs = c->obs, .deterministic = 1, .action = mean,
                                                .logp = &at_mean});
    sk_graph *g = NULL;
    sk_net    net;
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    sk_net_build(g, &boxes, &players[0].model, SK_FILTER_MEAN_STD, sk_graph_input(g, "obs", 7), &net);
    memcpy(log_std, sk_policy_params(c->policy) + sk_graph_node(g, sk_graph_find_param(g, "pi/log_std"))->offset,
           sizeof log_std);
    sk_graph_destroy(&g);
    for (uint64_t t = 0; t < DRAWS / CROWD; t++) {
        crowd_act(c, t);
        for (int r = 0; r < CROWD; r++) {
            double z[6];
            for (int i = 0; i < 6; i++) {
                z[i] = ((double)c->action[r * 6 + i].f - (double)mean[i].f) / exp((double)log_std[i]);
                m1[i] += z[i] / n, m2[i] += z[i] * z[i] / n, m3[i] += pow(z[i], 3) / n, m4[i] += pow(z[i], 4) / n;
            }
            for (int i = 0; i < 6; i++)
                for (int j = 0; j < i; j++) cross[i][j] += z[i] * z[j] / n;
        }
    }
    for (int i = 0; i < 6; i++) { /* five standard errors each */
        cr_assert_lt(fabs(m1[i]), 5.0 * sqrt(1.0 / n), "mean of slot %d: %g", i, m1[i]);
        cr_assert_lt(fabs(m2[i] - 1.0), 5.0 * sqrt(2.0 / n), "variance of slot %d: %g", i, m2[i]);
        cr_assert_lt(fabs(m3[i]), 5.0 * sqrt(15.0 / n), "skewness of slot %d: %g", i, m3[i]);
        cr_assert_lt(fabs(m4[i] - 3.0), 5.0 * sqrt(96.0 / n), "kurtosis of slot %d: %g", i, m4[i]);
    }
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++)
            cr_assert_lt(fabs(cross[i][j]), 5.0 * sqrt(1.0 / n), "slots %d and %d are correlated: %g", i, j,
                         cross[i][j]);
    crowd_destroy(c);
}

/* ---- create ---- */

Test(inference, refuses_parameters_of_another_network) {
    sk_policy          *policy = fix_policy(&fix_cartpole, &players[0].model, SK_FILTER_NONE, 3);
    sk_device          *device = NULL;
    sk_inference       *inf = NULL;
    sk_error            e = {0};
    cr_assert_eq(sk_device_create_cpu(1, &device, NULL), SK_OK);
    sk_inference_params how = {.device = device, .spaces = &fix_cartpole, .model = &players[0].model,
                               .params = sk_policy_params(policy), .n_floats = sk_policy_n_floats(policy) - 16,
                               .max_rows = 3};
    cr_assert_eq(sk_inference_create(&how, &inf, &e), SK_EINVAL);
    cr_assert(strstr(e.msg, "floats of parameters"), "%s", e.msg);
    cr_assert_null(inf);
    sk_inference_destroy(&inf);
    sk_device_destroy(&device);
    sk_policy_destroy(&policy);
}

/* ---- memory ---- */

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define COUNTS_ALLOCATIONS 0 /* the sanitizers have their own */
#else
#define COUNTS_ALLOCATIONS 1
static long n_allocations;
static void count(void) { n_allocations++; }
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t size) { return count(), __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return count(), __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { return count(), __libc_realloc(old, size); }
void *aligned_alloc(size_t align, size_t size) { return count(), __libc_memalign(align, size); }
#endif

Test(inference, allocates_nothing_while_it_acts, .disabled = !COUNTS_ALLOCATIONS) {
#if COUNTS_ALLOCATIONS
    static scene s;
    static acts  out;
    float        value[ROWS];
    long         before = n_allocations;
    free(malloc(1));
    cr_assert_eq(n_allocations, before + 1, "the counter does not count");
    for (int k = 0; k < SK_COUNT(players); k++) {
        const player *p = &players[k];
        sk_policy    *policy = fix_policy(p->spaces, &p->model, p->filter, (uint64_t)k);
        sk_device    *device = NULL;
        sk_inference *inf = fix_inference(policy, 20, &device);
        scene_fill(&s, p->spaces, (uint64_t)k);
        before = n_allocations;
        for (int i = 0; i < 20; i++) {
            act(inf, p->spaces, &s, i, 1 + i % 20, i % 2, &out);
            sk_inference_value(inf, s.obs, ROWS, value);
        }
        cr_assert_eq(n_allocations, before, "%s", p->name);
        sk_inference_destroy(&inf);
        sk_device_destroy(&device);
        sk_policy_destroy(&policy);
    }
#endif
}
