/* Policies of all kinds but PPO's: action values with the parts of Rainbow, squashed Gaussians and deterministic ones act
 * as a plain computation in double says, in any batch, from a file too; and how training explores with them. */
#include "core/base/rng.h"
#include "tests/policies/policy_fixture.h"
#include "tests/rl/rig.h"

#include <math.h>

static const sk_policy_spaces one = {.env_name = "One-v0", .obs_dim = 4, .action_slots = 1, .n_parts = 1, .part_n = {5},
                                     .part_start = {-2}};
static const sk_policy_spaces masked = {.env_name = "Masked-v1", .obs_dim = 4, .action_slots = 1, .n_parts = 1,
                                        .part_n = {5}, .mask_size = 5};
static const sk_policy_spaces parts = {.env_name = "Parts-v0", .obs_dim = 4, .action_slots = 2, .n_parts = 2,
                                       .part_n = {3, 2}, .mask_size = 5};
static const sk_policy_spaces box = {.env_name = "Box-v1", .obs_dim = 4, .action_slots = 3,
                                     .box_low = {-2, 0, -0.5f}, .box_high = {2, 10, 0.25f}};

typedef struct player {
    const char             *name;
    const sk_policy_spaces *spaces;
    sk_model_config         model;
    sk_obs_filter           filter;
} player;

#define NET(...) {.fcnet_hiddens = {2, {12, 9}}, __VA_ARGS__}
#define VALUES(...) NET(.kind = SK_POLICY_Q, .q = {.sigma0 = 0.5, __VA_ARGS__})
#define ATOMS(which) .distribution = which, .num_atoms = 7, .v_min = -3, .v_max = 5
static const player players[] = {
    {"values", &one, VALUES(.num_atoms = 1), SK_FILTER_NONE},
    {"values, filter, masks", &masked, VALUES(.num_atoms = 1), SK_FILTER_MEAN_STD},
    {"dueling", &masked, VALUES(.num_atoms = 1, .dueling = true), SK_FILTER_NONE},
    {"noisy", &one, VALUES(.num_atoms = 1, .noisy = true), SK_FILTER_NONE},
    {"atoms", &masked, VALUES(ATOMS(SK_Q_C51)), SK_FILTER_NONE},
    {"quantiles", &one, VALUES(ATOMS(SK_Q_QUANTILE), .dueling = true), SK_FILTER_NONE},
    {"rainbow", &masked, VALUES(ATOMS(SK_Q_C51), .dueling = true, .noisy = true), SK_FILTER_MEAN_STD},
    {"squashed", &box, NET(.kind = SK_POLICY_SQUASHED), SK_FILTER_MEAN_STD},
    {"squashed, by state", &box, NET(.kind = SK_POLICY_SQUASHED, .use_sde = true, .log_std_init = -1), SK_FILTER_NONE},
    {"choices", &parts, NET(.kind = SK_POLICY_SQUASHED), SK_FILTER_NONE},
    {"deterministic", &box, NET(.kind = SK_POLICY_DETERMINISTIC), SK_FILTER_MEAN_STD},
};
#define BY_NAME(name) player_called(name)
static const player *player_called(const char *name) {
    for (int i = 0; i < SK_COUNT(players); i++)
        if (strcmp(players[i].name, name) == 0) return &players[i];
    cr_assert(0, "no player %s", name);
    return NULL;
}

enum { ROWS = 70, SLOTS = 3, WIDE = 64 };

typedef struct stage {
    const player *p;
    sk_policy    *policy;
    sk_device    *device;
    sk_inference *inf;
    float         obs[ROWS * 4], mask[ROWS * 5], ou[ROWS * SLOTS];
    sk_env_slot   action[ROWS * SLOTS];
} stage;

static void stage_open(stage *s, const player *p, uint64_t seed) {
    memset(s, 0, sizeof *s);
    s->p = p;
    s->policy = fix_policy(p->spaces, &p->model, p->filter, seed);
    s->inf = fix_inference(s->policy, ROWS, &s->device);
    for (int i = 0; i < ROWS * 4; i++) s->obs[i] = fix_uniform(&seed, -2, 2);
    for (int i = 0; i < ROWS * 5; i++) s->mask[i] = fix_uniform(&seed, 0, 1) < 0.6f;
    for (int r = 0; r < ROWS; r++) s->mask[r * 5 + r % 3] = s->mask[r * 5 + 3 + r % 2] = 1.0f; /* one of each part */
}
static void stage_close(stage *s) {
    sk_inference_destroy(&s->inf);
    sk_device_destroy(&s->device);
    sk_policy_destroy(&s->policy);
}
/* Rows [first, first + rows) into s->action, from its start. */
static void act_on(stage *s, sk_inference *inf, int first, int rows, int deterministic, const sk_exploration *e,
                   uint64_t counter) {
    sk_inference_act(inf, &(sk_inference_io){.rows = rows, .obs = s->obs + first * 4,
                                             .mask = s->p->spaces->mask_size ? s->mask + first * 5 : NULL,
                                             .deterministic = deterministic, .seed = 9, .counter = counter,
                                             .sde_counter = counter, .first_row = 40 + first, .explore = e,
                                             .ou = s->ou + first * s->p->spaces->action_slots, .action = s->action});
}
static void act(stage *s, int deterministic, const sk_exploration *e, uint64_t counter) {
    act_on(s, s->inf, 0, ROWS, deterministic, e, counter);
}

/* ---- against double ---- */

typedef struct naive {
    const stage *s;
    sk_graph    *g;
    double       x[WIDE]; /* the observation, as the network sees it */
    int          noisy;   /* 1 = with the noise of step `counter`    */
    uint64_t     counter;
    int          n_noise; /* Philox blocks taken so far              */
} naive;

static void naive_open(naive *n, const stage *s) {
    sk_net net;
    *n = (naive){.s = s};
    cr_assert_eq(sk_graph_create(&n->g, NULL), SK_OK);
    sk_net_build(n->g, s->p->spaces, &s->p->model, s->p->filter, sk_graph_input(n->g, "obs", 4), &net);
}
static const sk_node *node(const naive *n, const char *layer, const char *name) {
    char text[64];
    snprintf(text, sizeof text, "%s/%s", layer, name);
    sk_tensor t = sk_graph_find_param(n->g, text);
    cr_assert(t >= 0, "no %s", text);
    return sk_graph_node(n->g, t);
}
static double at(const naive *n, const sk_node *p, int row, int col) {
    return (double)sk_policy_params_const(n->s->policy)[p->offset + row * p->ld + col];
}
/* f(e) of the next `cols` normals of this step. */
static void noise_row(naive *n, int cols, double *e) {
    for (int i = 0; i < cols; i++) {
        uint32_t words[4];
        float    pair[2];
        if (i % 4 == 0) n->n_noise++;
        sk_philox(9, sk_stream_id(SK_STREAM_EXPLORE, 0xffffffffffffu), n->counter | (uint64_t)(n->n_noise - 1) << 48,
                  words);
        sk_u32_to_normal2(words[i % 4 / 2 * 2], words[i % 4 / 2 * 2 + 1], pair);
        e[i] = copysign(sqrt(fabs((double)pair[i % 2])), (double)pair[i % 2]);
    }
}
static int layer(naive *n, const char *name, const double *x, double *y) {
    const sk_node *w = node(n, name, "w"), *b = node(n, name, "b");
    double         in[WIDE] = {0}, out[WIDE] = {0};
    int            noisy = n->s->p->model.q.noisy && n->s->p->model.kind == SK_POLICY_Q && n->noisy;
    if (noisy) noise_row(n, w->rows, in), noise_row(n, w->cols, out);
    for (int o = 0; o < w->cols; o++) {
        y[o] = at(n, b, 0, o);
        for (int i = 0; i < w->rows; i++) y[o] += x[i] * at(n, w, i, o);
        if (!noisy) continue;
        y[o] += out[o] * at(n, node(n, name, "b_sigma"), 0, o);
        for (int i = 0; i < w->rows; i++) y[o] += out[o] * x[i] * in[i] * at(n, node(n, name, "w_sigma"), i, o);
    }
    return w->cols;
}
/* Both hidden layers of `trunk`. */
static void hidden(naive *n, const char *trunk, int row, double *h) {
    const sk_normalizer *f = sk_policy_normalizer_const(n->s->policy);
    double               x[WIDE], y[WIDE];
    n->n_noise = 0;
    for (int i = 0; i < 4; i++) {
        x[i] = (double)n->s->obs[row * 4 + i];
        if (n->s->p->filter) x[i] = fmax(-10, fmin(10, (x[i] - f->mean[i]) / sqrt(f->m2[i] / f->count + 1e-8)));
    }
    for (int l = 0; l < 2; l++) {
        char name[32];
        snprintf(name, sizeof name, "%s/%d", trunk, l);
        int width = layer(n, name, x, y);
        for (int i = 0; i < width; i++) x[i] = tanh(y[i]);
    }
    memcpy(h, x, sizeof x);
}
/* Action values of a row. */
static void values_of(naive *n, int row, double q[5]) {
    const sk_q_config *c = &n->s->p->model.q;
    int                k = (int)c->num_atoms;
    double             h[WIDE], x[WIDE], v[WIDE];
    hidden(n, "q", row, h);
    cr_assert_eq(layer(n, "q/out", h, x), 5 * k);
    if (c->dueling) layer(n, "q/value", h, v);
    for (int i = 0; i < k && c->dueling; i++) {
        double mean = 0;
        for (int a = 0; a < 5; a++) mean += x[a * k + i] / 5;
        for (int a = 0; a < 5; a++) x[a * k + i] += v[i] - mean;
    }
    for (int a = 0; a < 5; a++) {
        double sum = 0, weight = 0;
        for (int i = 0; i < k; i++) {
            double w = c->distribution == SK_Q_C51 ? exp(x[a * k + i]) : 1.0;
            sum += w * (c->distribution == SK_Q_C51 ? c->v_min + (c->v_max - c->v_min) * i / (k - 1) : x[a * k + i]);
            weight += w;
        }
        q[a] = sum / weight;
    }
}
static void check_choice(naive *n, int row, const char *how) {
    const stage *s = n->s;
    double       q[5], best = -INFINITY;
    int          taken = s->action[row].i;
    values_of(n, row, q);
    cr_assert(taken >= 0 && taken < 5);
    for (int a = 0; a < 5; a++)
        if (!s->p->spaces->mask_size || s->mask[row * 5 + a] > 0) best = fmax(best, q[a]);
    cr_assert(!s->p->spaces->mask_size || s->mask[row * 5 + taken] > 0, "%s: masked", s->p->name);
    cr_assert_float_eq(q[taken], best, 1e-5, "%s, %s, row %d: took one of %g, the best is %g", s->p->name, how, row,
                       q[taken], best);
}

Test(kinds, choose_by_the_action_values_of_a_plain_computation) {
    static stage s;
    naive        n;
    for (int i = 0; i < SK_COUNT(players); i++) {
        if (players[i].model.kind != SK_POLICY_Q) continue;
        stage_open(&s, &players[i], 50 + (uint64_t)i);
        naive_open(&n, &s);
        act(&s, 1, NULL, 3);
        for (int r = 0; r < ROWS; r++) check_choice(&n, r, "deterministic");
        n.noisy = 1, n.counter = 3; /* drawing without exploration of another kind: noisy layers alone */
        act(&s, 0, NULL, 3);
        for (int r = 0; r < ROWS; r++) check_choice(&n, r, "drawn");
        act(&s, 0, &(sk_exploration){.kind = SK_EXPLORE_EPSILON}, 3);
        for (int r = 0; r < ROWS; r++) check_choice(&n, r, "epsilon 0");
        sk_graph_destroy(&n.g);
        stage_close(&s);
    }
}

/* The four normals of block i / 4 that a row's action takes, or a row of state-dependent noise. */
static double normal_of(sk_stream family, int row, uint64_t counter, int i, int shift) {
    uint32_t words[4];
    float    pair[2];
    sk_philox(9, sk_stream_id(family, (uint64_t)(40 + row)), counter | (uint64_t)(i / 4) << shift, words);
    sk_u32_to_normal2(words[i % 4 / 2 * 2], words[i % 4 / 2 * 2 + 1], pair);
    return (double)pair[i % 2];
}
static void check_box(naive *n, int row, int draws) {
    const stage *s = n->s;
    double       h[WIDE], mean[WIDE], log_std[WIDE];
    hidden(n, "pi", row, h);
    layer(n, "pi/out", h, mean);
    int squashed = s->p->model.kind == SK_POLICY_SQUASHED, sde = s->p->model.use_sde;
    if (squashed && !sde) layer(n, "pi/log_std_out", h, log_std);
    for (int k = 0; k < 3; k++) {
        double u = mean[k];
        if (squashed && draws && !sde)
            u += exp(fmax(-20, fmin(2, log_std[k]))) * normal_of(SK_STREAM_ACTION, row, 4, k, 48);
        for (int j = 0; squashed && draws && sde && j < 9; j++)
            u += h[j] * exp(fmax(-20, fmin(2, at(n, node(n, "pi", "sde_log_std"), j, k)))) *
                 normal_of(SK_STREAM_EXPLORE, row, 4, j * 3 + k, 44);
        cr_assert_float_eq(s->action[row * 3 + k].f, tanh(u), 2e-6, "%s, row %d: %g, wanted %g", s->p->name, row,
                           (double)s->action[row * 3 + k].f, tanh(u));
    }
}

Test(kinds, squash_what_a_plain_computation_draws) {
    static stage             s;
    naive                    n;
    static const char *const names[] = {"squashed", "squashed, by state", "deterministic"};
    for (int i = 0; i < SK_COUNT(names); i++) {
        stage_open(&s, BY_NAME(names[i]), 60 + (uint64_t)i);
        naive_open(&n, &s);
        for (int draws = 0; draws < 2; draws++) {
            act(&s, !draws, NULL, 4);
            for (int r = 0; r < ROWS; r++) check_box(&n, r, draws);
        }
        sk_graph_destroy(&n.g);
        stage_close(&s);
    }
}

Test(kinds, draw_choices_that_are_allowed_and_take_the_most_probable_ones) {
    static stage s;
    naive        n;
    int          n_other = 0;
    stage_open(&s, BY_NAME("choices"), 70);
    naive_open(&n, &s);
    for (uint64_t step = 0; step < 20; step++) {
        act(&s, step == 0, NULL, step);
        for (int r = 0; r < ROWS; r++) {
            double h[WIDE], logits[WIDE];
            hidden(&n, "pi", r, h);
            layer(&n, "pi/out", h, logits);
            for (int part = 0, first = 0; part < 2; first += parts.part_n[part++]) {
                int taken = s.action[r * 2 + part].i;
                cr_assert(taken >= 0 && taken < parts.part_n[part] && s.mask[r * 5 + first + taken] > 0);
                for (int c = 0; c < parts.part_n[part]; c++) {
                    if (s.mask[r * 5 + first + c] == 0.0f || logits[first + c] < logits[first + taken] + 1e-5) continue;
                    cr_assert(step > 0, "row %d: not the most probable choice", r);
                    n_other++;
                }
            }
        }
    }
    cr_assert_gt(n_other, 100);
    sk_graph_destroy(&n.g);
    stage_close(&s);
}

/* ---- batches and files ---- */

static const sk_exploration explorations[] = {
    {.kind = SK_EXPLORE_POLICY},
    {.kind = SK_EXPLORE_UNIFORM},
    {.kind = SK_EXPLORE_EPSILON, .epsilon = 0.5f},
    {.kind = SK_EXPLORE_GAUSSIAN, .sigma = 0.3f},
    {.kind = SK_EXPLORE_OU, .sigma = 0.3f, .theta = 0.15f, .dt = 0.01f},
};

Test(kinds, give_a_row_the_same_bits_in_any_batch_however_they_explore) {
    static stage s;
    sk_env_slot  all[ROWS * SLOTS];
    float        ou[ROWS * SLOTS];
    for (int i = 0; i < SK_COUNT(players); i++)
        for (int e = -1; e < SK_COUNT(explorations); e++) { /* -1: deterministic */
            stage_open(&s, &players[i], 80 + (uint64_t)i);
            size_t        slots = (size_t)players[i].spaces->action_slots;
            sk_device    *device = NULL;
            sk_inference *small = fix_inference(s.policy, 9, &device);
            uint64_t      seed = 2;
            for (int k = 0; k < ROWS * SLOTS; k++) s.ou[k] = fix_uniform(&seed, -0.2f, 0.2f);
            memcpy(ou, s.ou, sizeof ou);
            act(&s, e < 0, e < 0 ? NULL : &explorations[e], 6);
            memcpy(all, s.action, sizeof all);
            for (int first = 0, rows = 1; first < ROWS; first += rows, rows = rows % 9 + 1) {
                if (first + rows > ROWS) rows = ROWS - first;
                memcpy(s.ou, ou, sizeof ou);
                act_on(&s, small, first, rows, e < 0, e < 0 ? NULL : &explorations[e], 6);
                cr_assert_eq(memcmp(s.action, all + (size_t)first * slots, (size_t)rows * slots * sizeof *all), 0,
                             "%s, exploration %d, rows from %d", players[i].name, e, first);
            }
            sk_inference_destroy(&small);
            sk_device_destroy(&device);
            stage_close(&s);
        }
}

Test(kinds, act_the_same_from_a_file) {
    static stage s;
    sk_env_slot  before[2][ROWS * SLOTS];
    for (int i = 0; i < SK_COUNT(players); i++) {
        char       dir[64], path[96];
        sk_policy *read = NULL;
        sk_device *device = NULL;
        sk_error   err = {0};
        stage_open(&s, &players[i], 90 + (uint64_t)i);
        for (int drawn = 0; drawn < 2; drawn++) {
            act(&s, !drawn, NULL, 8);
            memcpy(before[drawn], s.action, sizeof s.action);
        }
        fix_save(s.policy, dir, path);
        cr_assert_eq(sk_policy_load(path, &read, &err), SK_OK, "%s: %s", players[i].name, err.msg);
        cr_assert(sk_policy_same_network(read, s.policy));
        sk_inference *inf = fix_inference(read, ROWS, &device);
        for (int drawn = 0; drawn < 2; drawn++) {
            act_on(&s, inf, 0, ROWS, !drawn, NULL, 8);
            cr_assert_eq(memcmp(before[drawn], s.action, sizeof s.action), 0, "%s", players[i].name);
        }
        fix_remove(dir, path);
        sk_inference_destroy(&inf);
        sk_device_destroy(&device);
        sk_policy_destroy(&read);
        stage_close(&s);
    }
}

Test(kinds, are_told_apart_by_what_their_numbers_mean) {
    sk_model_config model = BY_NAME("atoms")->model, other = model;
    sk_policy      *a = fix_policy(&one, &model, SK_FILTER_NONE, 1), *b = NULL;
    for (int i = 0; i < 5; i++) {
        other = model;
        if (i == 1) other.q.v_min = -4;
        if (i == 2) other.q.v_max = 6;
        if (i == 3) other.q.distribution = SK_Q_QUANTILE;
        if (i == 4) other.q.noisy = true;
        b = fix_policy(&one, &other, SK_FILTER_NONE, 1);
        cr_assert_eq(sk_policy_same_network(a, b), i == 0, "case %d", i);
        sk_policy_destroy(&b);
    }
    sk_policy_destroy(&a);
}

static sk_status load_changed(const sk_policy *policy, const char *key, json_t *value, sk_error *reterr) {
    char            path[] = "/tmp/skiff-test-XXXXXX";
    int             fd = mkstemp(path);
    sk_pack_writer *writer = NULL;
    sk_policy      *read = NULL;
    cr_assert(fd >= 0 && close(fd) == 0);
    cr_assert_eq(sk_pack_writer_create(SK_PACK_POLICY, SK_POLICY_FILE_VERSION, &writer, NULL), SK_OK);
    cr_assert_eq(sk_policy_pack(policy, writer, NULL), SK_OK);
    json_t *model = json_object_get(json_object_get(sk_pack_writer_json(writer), "policy"), "model");
    cr_assert(model);
    if (!key) json_object_del(model, "q");
    else cr_assert_eq(json_object_set_new(strcmp(key, "kind") ? json_object_get(model, "q") : model, key, value), 0);
    cr_assert_eq(sk_pack_writer_save(writer, path, NULL), SK_OK);
    sk_status status = sk_policy_load(path, &read, reterr);
    sk_pack_writer_destroy(&writer);
    sk_policy_destroy(&read);
    unlink(path);
    return status;
}
Test(kinds, refuse_files_whose_description_of_action_values_lies) {
    const struct {
        const char *key;
        json_t     *value;
    } lies[] = {{NULL, NULL}, {"num_atoms", json_integer(0)}, {"num_atoms", json_integer(1)},
                {"num_atoms", json_integer(4097)}, {"num_atoms", json_integer(12)}, {"num_atoms", json_string("7")},
                {"distribution", json_string("normal")}, {"distribution", json_integer(1)}, {"v_min", json_real(5.0)},
                {"v_max", json_string("x")}, {"dueling", json_true()}, {"noisy", json_true()},
                {"noisy", json_integer(1)}, {"kind", json_string("actor")}, {"kind", json_integer(3)}};
    sk_policy *policy = fix_policy(&one, &BY_NAME("atoms")->model, SK_FILTER_NONE, 1);
    cr_assert_eq(load_changed(policy, "v_min", json_real(-1.0), NULL), SK_OK); /* this is one that may be */
    for (int i = 0; i < SK_COUNT(lies); i++) {
        sk_error err = {0};
        cr_assert_eq(load_changed(policy, lies[i].key, lies[i].value, &err), SK_ECORRUPT, "lie %d: %s", i, err.msg);
        cr_assert(err.msg[0]);
    }
    sk_policy_destroy(&policy);
}

/* ---- exploration ---- */

/* Pearson's chi-square with 4 degrees of freedom is above 23.5 once in 10,000 times. */
Test(kinds, explore_uniformly_among_what_is_allowed) {
    static stage s;
    const double critical[5] = {0, 15.1, 18.4, 21.1, 23.5};
    int          counts[ROWS][5] = {{0}}, n_steps = 2000;
    stage_open(&s, BY_NAME("values, filter, masks"), 100);
    for (int t = 0; t < n_steps; t++) {
        act(&s, 0, &explorations[SK_EXPLORE_UNIFORM], (uint64_t)t);
        for (int r = 0; r < ROWS; r++) counts[r][s.action[r].i]++;
    }
    for (int r = 0; r < 5; r++) { /* all of them once in 20 runs of other seeds would be too many */
        int    n = 0;
        double chi2 = 0.0;
        for (int c = 0; c < 5; c++) n += s.mask[r * 5 + c] > 0;
        for (int c = 0; c < 5; c++) {
            cr_assert(s.mask[r * 5 + c] > 0 || counts[r][c] == 0, "a masked choice");
            if (s.mask[r * 5 + c] > 0) chi2 += pow(counts[r][c] - (double)n_steps / n, 2) / ((double)n_steps / n);
        }
        cr_assert(n == 1 || chi2 < critical[n - 1], "row %d: chi-square %g of %d choices", r, chi2, n);
    }
    stage_close(&s);
}

Test(kinds, explore_uniformly_in_a_box) {
    static stage s;
    double       m1[3] = {0}, m2[3] = {0}, cross = 0.0, n = 0.0;
    stage_open(&s, BY_NAME("deterministic"), 101);
    for (uint64_t t = 0; t < 500; t++, n += ROWS) {
        act(&s, 0, &explorations[SK_EXPLORE_UNIFORM], t);
        for (int i = 0; i < ROWS * 3; i++) {
            double a = (double)s.action[i].f;
            cr_assert(a >= -1.0 && a < 1.0);
            m1[i % 3] += a, m2[i % 3] += a * a;
            if (i % 3 == 0) cross += a * (double)s.action[i + 1].f;
        }
    }
    for (int k = 0; k < 3; k++) {
        cr_assert_float_eq(m1[k] / n, 0.0, 4.0 * sqrt(1.0 / 3.0 / n));
        cr_assert_float_eq(m2[k] / n, 1.0 / 3.0, 4.0 * sqrt(4.0 / 45.0 / n));
    }
    cr_assert_float_eq(cross / n, 0.0, 4.0 / 3.0 / sqrt(n));
    stage_close(&s);
}

Test(kinds, explore_with_epsilon_as_often_as_it_says) {
    static stage s;
    sk_env_slot  best[ROWS];
    stage_open(&s, BY_NAME("values"), 102);
    act(&s, 1, NULL, 0);
    memcpy(best, s.action, sizeof best);
    for (int k = 0; k <= 10; k += 5) {
        double         other = 0.0, n = 0.0, epsilon = k / 10.0, p = epsilon * 4.0 / 5.0;
        sk_exploration e = {.kind = SK_EXPLORE_EPSILON, .epsilon = (float)epsilon};
        for (uint64_t t = 0; t < 300; t++, n += ROWS) {
            act(&s, 0, &e, t);
            for (int r = 0; r < ROWS; r++) other += s.action[r].i != best[r].i;
        }
        cr_assert_float_eq(other / n, p, 4.0 * sqrt(p * (1.0 - p) / n) + 1e-9, "epsilon %g: %g", epsilon, other / n);
        act(&s, 1, &e, 1); /* never when it is asked for the best */
        cr_assert_eq(memcmp(s.action, best, sizeof best), 0);
    }
    stage_close(&s);
}

/* Normal i of a row's exploration in step `counter`. */
static double explored(int row, uint64_t counter, int i) {
    return normal_of(SK_STREAM_EXPLORE, row, counter | (uint64_t)1 << 63, i, 48);
}

Test(kinds, add_gaussian_noise_of_the_given_deviation_and_clip) {
    static stage   s;
    sk_env_slot    mode[ROWS * SLOTS];
    sk_exploration e = {.kind = SK_EXPLORE_GAUSSIAN, .sigma = 0.4f};
    double         sum = 0.0, n = 0.0;
    int            n_clipped = 0;
    stage_open(&s, BY_NAME("deterministic"), 103);
    act(&s, 1, NULL, 0);
    memcpy(mode, s.action, sizeof mode);
    for (uint64_t t = 0; t < 100; t++) {
        act(&s, 0, &e, t);
        for (int i = 0; i < ROWS * 3; i++, n++) {
            double z = explored(i / 3, t, i % 3), wanted = fmax(-1, fmin(1, (double)mode[i].f + 0.4 * z));
            cr_assert_float_eq(s.action[i].f, wanted, 1e-6);
            n_clipped += fabs(wanted) >= 1.0;
            sum += z * z;
        }
    }
    cr_assert_float_eq(sum / n, 1.0, 4.0 * sqrt(2.0 / n));
    cr_assert_gt(n_clipped, 100);
    stage_close(&s);
}

Test(kinds, add_an_ornstein_uhlenbeck_process_by_its_recursion) {
    static stage          s;
    sk_env_slot           mode[ROWS * SLOTS];
    const sk_exploration *e = &explorations[SK_EXPLORE_OU];
    double                x[ROWS * SLOTS] = {0};
    stage_open(&s, BY_NAME("deterministic"), 104);
    act(&s, 1, NULL, 0);
    memcpy(mode, s.action, sizeof mode);
    for (uint64_t t = 0; t < 200; t++) {
        act(&s, 0, e, t);
        for (int i = 0; i < ROWS * 3; i++) {
            x[i] += 0.15 * (0.0 - x[i]) * 0.01 + 0.3 * sqrt(0.01) * explored(i / 3, t, i % 3);
            cr_assert_float_eq(s.ou[i], x[i], 1e-5);
            cr_assert_float_eq(s.action[i].f, fmax(-1, fmin(1, (double)mode[i].f + x[i])), 1e-5);
        }
    }
    stage_close(&s);
}

/* A policy that does nothing: the actions are the process. */
Test(kinds, begin_that_process_anew_with_every_episode) {
    const sk_batch *b = NULL;
    rig             r;
    int             n_ends = 0;
    float           x[3] = {0};
    rig_open(&r, "algorithm: td3\nenv: {name: Pendulum-v1, max_episode_steps: 7}\nseed: 4\n"
                 "env_runners: {num_env_runners: 0, num_envs_per_env_runner: 3, rollout_fragment_length: 10}\n"
                 "stop: {training_iteration: 1}\n", 1);
    memset(sk_policy_params(r.policy), 0, sk_policy_n_floats(r.policy) * sizeof(float));
    *sk_policy_exploration(r.policy) = explorations[SK_EXPLORE_OU];
    for (int batch = 0; batch < 3; batch++) {
        b = rig_next(&r);
        for (int i = 0; i < 30; i++) {
            uint32_t words[4];
            float    pair[2];
            sk_philox(4, sk_stream_id(SK_STREAM_EXPLORE, (uint64_t)(i % 3)),
                      (uint64_t)(batch * 10 + i / 3) | (uint64_t)1 << 63, words);
            sk_u32_to_normal2(words[0], words[1], pair);
            x[i % 3] += -0.15f * x[i % 3] * 0.01f + 0.3f * 0.1f * pair[0];
            cr_assert_float_eq(b->action[i].f, x[i % 3], 1e-6, "batch %d, step %d", batch, i);
            if (b->terminated[i] || b->truncated[i]) x[i % 3] = 0.0f, n_ends++;
        }
    }
    cr_assert_eq(n_ends, 12);
    rig_close(&r);
}

/* ---- bounds ---- */

Test(kinds, scale_actions_to_the_environments_bounds) {
    const float       in[4] = {-1.0f, 0.0f, 0.5f, 1.0f};
    const float       wanted[4][3] = {{-2, 0, -0.5f}, {0, 5, -0.125f}, {1, 7.5f, 0.0625f}, {2, 10, 0.25f}};
    sk_model_config   model = BY_NAME("deterministic")->model, squashed = BY_NAME("squashed")->model;
    sk_model_config   tanh_after = NET(.squash_actions = true), as_it_is = NET();
    const sk_model_config *models[] = {&model, &squashed, &tanh_after, &as_it_is};
    for (int m = 0; m < 4; m++)
        for (int i = 0; i < 4; i++) {
            float       u = m == 2 ? atanhf(in[i]) : in[i];
            sk_env_slot a[3] = {{.f = u}, {.f = u}, {.f = u}}, out[3];
            cr_assert_eq(sk_policy_scales_actions(&box, models[m]), m < 3);
            sk_policy_to_env(&box, models[m], a, 1, out);
            for (int k = 0; k < 3; k++)
                cr_assert_float_eq(out[k].f, m == 3 ? u : wanted[i][k], 1e-5, "model %d, action %d of %g", m, k,
                                   (double)in[i]);
        }
    sk_env_slot choice = {.i = 3}, out;
    sk_policy_to_env(&one, &BY_NAME("values")->model, &choice, 1, &out);
    cr_assert_eq(out.i, 1, "choices are counted from -2 outside");
}

static void refused(const sk_policy_spaces *spaces, const sk_model_config *model, const char *word) {
    sk_policy *policy = NULL;
    sk_error   err = {0};
    cr_assert_eq(sk_policy_create(spaces, model, SK_FILTER_NONE, 1, &policy, &err), SK_EUNSUPPORTED, "%s",
                 spaces->env_name);
    cr_assert(strstr(err.msg, word) && strstr(err.msg, spaces->env_name), "%s", err.msg);
}
Test(kinds, refuse_actions_that_they_cannot_take) {
    static const char *const scaled[] = {"squashed", "deterministic"};
    sk_policy_spaces         odd = box;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 4; k++) {
            odd = box;
            if (k == 0) odd.box_high[1] = INFINITY;
            if (k == 1) odd.box_low[1] = -INFINITY;
            if (k == 2) odd.box_low[1] = NAN;
            if (k == 3) odd.box_low[1] = odd.box_high[1];
            refused(&odd, &BY_NAME(scaled[i])->model, "action 1");
        }
    odd.action_slots = SK_POLICY_BOX_MAX + 1;
    refused(&odd, &BY_NAME("squashed")->model, "65");
    refused(&box, &BY_NAME("values")->model, "discrete");
    refused(&parts, &BY_NAME("values")->model, "one");
}

Test(kinds, prefer_a_number_to_none) {
    static stage s;
    stage_open(&s, BY_NAME("values"), 105);
    sk_graph *g = NULL;
    naive     n;
    naive_open(&n, &s);
    g = n.g;
    sk_policy_params(s.policy)[node(&n, "q/out", "b")->offset] = NAN; /* the first choice */
    act(&s, 1, NULL, 0);
    for (int r = 0; r < ROWS; r++) cr_assert_neq(s.action[r].i, 0);
    sk_graph_destroy(&g);
    stage_close(&s);
}

/* Uniform in +- 1 / sqrt(inputs); deviations of noise sigma0 / sqrt(inputs) (Fortunato et al. 2018). */
Test(kinds, start_as_they_should) {
    static stage     s;
    const player    *p = BY_NAME("noisy");
    sk_policy       *policy = NULL;
    naive            n;
    stage_open(&s, p, 106);
    cr_assert_eq(sk_policy_create(p->spaces, &p->model, SK_FILTER_NONE, 3, &policy, NULL), SK_OK);
    sk_policy_destroy(&s.policy);
    s.policy = policy;
    naive_open(&n, &s);
    static const struct { const char *layer; int n_in; } layers[] = {{"q/0", 4}, {"q/1", 12}, {"q/out", 9}};
    for (int i = 0; i < 3; i++) {
        double bound = 1.0 / sqrt(layers[i].n_in), most = 0.0;
        const sk_node *w = node(&n, layers[i].layer, "w"), *sw = node(&n, layers[i].layer, "w_sigma");
        const sk_node *sb = node(&n, layers[i].layer, "b_sigma"), *b = node(&n, layers[i].layer, "b");
        for (int o = 0; o < w->cols; o++) {
            for (int k = 0; k < w->rows; k++) {
                most = fmax(most, fabs(at(&n, w, k, o)));
                cr_assert_float_eq(at(&n, sw, k, o), 0.5 * bound, 1e-6);
            }
            cr_assert_float_eq(at(&n, sb, 0, o), 0.5 * bound, 1e-6);
            cr_assert_leq(fabs(at(&n, b, 0, o)), bound + 1e-6);
        }
        cr_assert(most <= bound + 1e-6 && most > 0.8 * bound, "%s: %g, wanted at most %g", layers[i].layer, most,
                  bound);
    }
    sk_graph_destroy(&n.g);
    stage_close(&s);
}
