/* DQN and the parts of Rainbow on made-up batches against a plain reference in double, and as whole runs: the same bits
 * however the work is dealt out, and after a resume. */
#include "algorithms/dqn/dqn.h"
#include "tests/algorithms/off_policy_reference.h"
#include "tests/rl/rig.h"

enum { CHOICES = 3, ATOMS = 7, OUT = CHOICES * ATOMS };

/* Numbers of the learner's streams of noise. */
enum { ONLINE, TARGET, CHOOSER, ROLES };

/* ---- the reference ---- */

typedef struct ref {
    ref_scene           *s;
    const sk_dqn_config *c;
    int                  k;                  /* numbers per choice                                             */
    long                 n_updates, n_moves; /* of the network, of the target                                  */
    ref_net              net;
    double               noise[ROLES][6][OUT]; /* hidden, out, value: of inputs, of outputs                    */
    double               x[REF_ROWS][REF_OBS];
    double               y[REF_ROWS][ATOMS]; /* a value, probabilities of atoms, or samples                    */
} ref;

/* Noise of update n_updates: f(e) = sign(e) sqrt|e| of normals, four of which a Philox block gives. */
static void ref_draw_noise(ref *f) {
    const int cols[6] = {REF_OBS, REF_HIDDEN, REF_HIDDEN, CHOICES * f->k, REF_HIDDEN, f->k};
    for (int role = 0; f->c->noisy && role < ROLES; role++)
        for (int row = 0, block = 0; row < (f->c->dueling ? 6 : 4); row++)
            for (int i = 0; i < cols[row]; i++) {
                uint32_t words[4];
                float    pair[2];
                if (i % 4 == 0) block++;
                sk_philox((uint64_t)f->s->config.seed, sk_stream_id(SK_STREAM_LEARNER, (uint64_t)role),
                          (uint64_t)f->n_updates | (uint64_t)(block - 1) << 48, words);
                sk_u32_to_normal2(words[i % 4 / 2 * 2], words[i % 4 / 2 * 2 + 1], pair);
                double e = (double)pair[i % 2];
                f->noise[role][row][i] = copysign(sqrt(fabs(e)), e);
            }
}

static double ref_param(const ref *f, const double *theta, const char *part, const char *name, int row, int col) {
    char text[64];
    snprintf(text, sizeof text, "q/%s/%s", part, name);
    sk_tensor t = sk_graph_find_param(f->net.g, text);
    cr_assert(t >= 0, "no parameter %s", text);
    const sk_node *n = sk_graph_node(f->net.g, t);
    return theta[n->offset + row * n->ld + col];
}
/* A layer, the mean one and what its noise adds: ((x e_in) W_sigma + b_sigma) e_out. */
static int ref_noisy(const ref *f, const double *theta, int role, const char *part, int at, const double *x, int n_in,
                     double *y) {
    int n_out = ref_layer(&f->net, theta, "q", part, x, y);
    for (int o = 0; f->c->noisy && o < n_out; o++) {
        double sum = ref_param(f, theta, part, "b_sigma", 0, o);
        for (int i = 0; i < n_in; i++) sum += x[i] * f->noise[role][at][i] * ref_param(f, theta, part, "w_sigma", i, o);
        y[o] += sum * f->noise[role][at + 1][o];
    }
    return n_out;
}
static void ref_numbers(const ref *f, const double *theta, int role, const double *x, double out[OUT]) {
    double h[REF_HIDDEN], value[ATOMS];
    ref_noisy(f, theta, role, "0", 0, x, REF_OBS, h);
    for (int i = 0; i < REF_HIDDEN; i++) h[i] = tanh(h[i]);
    cr_assert_eq(ref_noisy(f, theta, role, "out", 2, h, REF_HIDDEN, out), CHOICES * f->k);
    if (!f->c->dueling) return;
    cr_assert_eq(ref_noisy(f, theta, role, "value", 4, h, REF_HIDDEN, value), f->k);
    for (int k = 0; k < f->k; k++) {
        double mean = 0.0;
        for (int a = 0; a < CHOICES; a++) mean += out[a * f->k + k] / CHOICES;
        for (int a = 0; a < CHOICES; a++) out[a * f->k + k] += value[k] - mean;
    }
}

static double ref_atom(const ref *f, int k) { return f->c->v_min + (f->c->v_max - f->c->v_min) * k / (ATOMS - 1); }
static void   ref_softmax(const double *x, double *p) {
    double sum = 0.0;
    for (int k = 0; k < ATOMS; k++) sum += exp(x[k]);
    for (int k = 0; k < ATOMS; k++) p[k] = exp(x[k]) / sum;
}
/* The mean return that numbers stand for. */
static double ref_mean(const ref *f, const double *numbers) {
    double mean = 0.0, p[ATOMS];
    if (f->c->distribution == SK_Q_MEAN) return numbers[0];
    if (f->c->distribution == SK_Q_C51) ref_softmax(numbers, p);
    for (int k = 0; k < ATOMS; k++) mean += f->c->distribution == SK_Q_C51 ? p[k] * ref_atom(f, k) : numbers[k] / ATOMS;
    return mean;
}

static void ref_targets(ref *f) {
    const sk_batch *b = &f->s->source.batch;
    for (int i = 0; i < REF_ROWS; i++) {
        double next[REF_OBS], out[OUT], chooser[OUT], most = -INFINITY, p[ATOMS];
        double r = (double)b->reward[i], d = (double)b->discount[i];
        int    best = -1;
        ref_see(f->s, b->next_obs, i, next);
        ref_see(f->s, b->obs, i, f->x[i]);
        ref_numbers(f, f->net.target, TARGET, next, out);
        memcpy(chooser, out, sizeof out);
        if (f->c->double_q) ref_numbers(f, f->net.theta, CHOOSER, next, chooser);
        for (int a = 0; a < CHOICES; a++) {
            if (b->next_mask && b->next_mask[i * CHOICES + a] == 0.0f) continue;
            if (ref_mean(f, chooser + a * f->k) > most) most = ref_mean(f, chooser + a * f->k), best = a;
        }
        cr_assert(best >= 0);
        const double *numbers = out + best * f->k;
        for (int k = 0; k < f->k; k++) f->y[i][k] = r + d * numbers[k];
        if (f->c->distribution != SK_Q_C51) continue;
        /* every atom's mass goes to its neighbours by their nearness: a triangle as wide as the atoms are apart */
        ref_softmax(numbers, p);
        for (int k = 0; k < ATOMS; k++) {
            f->y[i][k] = 0.0;
            for (int j = 0; j < ATOMS; j++) {
                double z = fmin(f->c->v_max, fmax(f->c->v_min, r + d * ref_atom(f, j)));
                f->y[i][k] += p[j] * fmax(0.0, 1.0 - fabs(z - ref_atom(f, k)) / (ref_atom(f, 1) - ref_atom(f, 0)));
            }
        }
    }
}

static double ref_huber(double x) { return fabs(x) <= 1.0 ? 0.5 * x * x : fabs(x) - 0.5; }

/* The loss of row i before its weight; its error as the replay is to be told. */
static double ref_row(const ref *f, int i, double *ret_error) {
    double out[OUT], p[ATOMS], loss = 0.0;
    ref_numbers(f, f->net.theta, ONLINE, f->x[i], out);
    const double *now = out + f->s->source.action[i].i * f->k, *y = f->y[i];
    if (f->c->distribution == SK_Q_MEAN) {
        *ret_error = fabs(now[0] - y[0]);
        return f->c->td_loss == SK_TD_HUBER ? ref_huber(now[0] - y[0]) : pow(now[0] - y[0], 2);
    }
    if (f->c->distribution == SK_Q_C51) ref_softmax(now, p);
    for (int k = 0; k < ATOMS; k++) {
        double tau = (2 * k + 1) / (2.0 * ATOMS);
        if (f->c->distribution == SK_Q_C51) loss -= y[k] * log(p[k]);
        else
            for (int j = 0; j < ATOMS; j++)
                loss += fabs(tau - (y[j] < now[k] ? 1.0 : 0.0)) * ref_huber(y[j] - now[k]) / ATOMS;
    }
    return *ret_error = loss;
}
static double ref_loss(void *user) {
    const ref *f = user;
    double     sum = 0.0, error;
    for (int i = 0; i < REF_ROWS; i++) sum += (double)f->s->source.batch.weight[i] * ref_row(f, i, &error) / REF_ROWS;
    return sum;
}

/* The update that the learner has just made, once more; what it reported must agree. */
static void ref_update(ref *f) {
    ref_scene *s = f->s;
    int64_t    steps = (int64_t)ref_metric(s, SK_METRIC_ENV_STEPS), freq = f->c->target_network_update_freq;
    double     told = 0.0, mean = 0.0;
    if (freq == 0 || steps % freq == 0) ref_polyak(&f->net, f->c->tau), f->n_moves++; /* one step each */
    ref_draw_noise(f);
    ref_targets(f);
    ref_near("loss", ref_metric(s, SK_METRIC_QF_LOSS), ref_loss(f), 1e-5);
    for (int i = 0; i < REF_ROWS; i++) {
        double error, out[OUT];
        ref_row(f, i, &error);
        ref_numbers(f, f->net.theta, ONLINE, f->x[i], out);
        ref_near("error", (double)s->source.told[i], error, 1e-4); /* 1e-6 above it, so never 0 */
        told += error / REF_ROWS;
        mean += ref_mean(f, out + s->source.action[i].i * f->k) / REF_ROWS;
    }
    ref_near("mean error", ref_metric(s, SK_METRIC_TD_ERROR), told, 1e-4);
    ref_near("mean value", ref_metric(s, SK_METRIC_QF_MEAN), mean, 1e-5);
    ref_gradient(&f->net, ref_loss, f);
    ref_near("gradient norm", ref_metric(s, SK_METRIC_GRAD_NORM), f->net.norm, 1e-5);
    ref_adam(&f->net, sk_schedule_at(&f->c->lr, (double)steps), f->c->grad_clip, f->c->adam_epsilon);
    f->n_updates++;
}
static void near_reference(const ref *f) {
    sk_pack *pack = ref_scene_saved(f->s);
    ref_near_all("network", sk_policy_params_const(f->s->policy), f->net.theta, f->net.n, 1e-5);
    ref_near_all("target", ref_section(pack, "targets", f->net.n), f->net.target, f->net.n, 1e-5);
    sk_pack_destroy(&pack);
}

/* ---- against the reference ---- */

static sk_dqn_config plain(void) {
    return (sk_dqn_config){.replay = {.min_iteration_steps = 1}, .lr = {1, {0}, {8e-3}}, .epsilon = {1, {0}, {0.1}},
                           .tau = 1.0, .target_network_update_freq = 3, .num_atoms = 1, .v_min = -2, .v_max = 3,
                           .sigma0 = 0.5, .adam_epsilon = 1e-3};
}
static ref_scene *scene_make(const sk_dqn_config *c, int is_masked, sk_obs_filter filter) {
    sk_model_config model = {.kind = SK_POLICY_Q,
                             .q = {.dueling = c->dueling, .noisy = c->noisy, .distribution = c->distribution,
                                   .num_atoms = c->num_atoms, .v_min = c->v_min, .v_max = c->v_max,
                                   .sigma0 = c->sigma0}};
    return ref_scene_make(&sk_dqn_api, c, CHOICES, is_masked, model, filter);
}

/* Several updates, each seen by both; then they must have gone far, and together. */
static void agrees(sk_dqn_config c, int is_masked, sk_obs_filter filter, int n_updates) {
    if (c.distribution != SK_Q_MEAN) c.num_atoms = ATOMS;
    ref_scene *s = scene_make(&c, is_masked, filter);
    ref        f = {.s = s, .c = &c, .k = (int)c.num_atoms};
    ref_scene_start(s);
    ref_net_policy(&f.net, s->policy);
    float *begin = malloc(f.net.n * sizeof *begin);
    memcpy(begin, sk_policy_params(s->policy), f.net.n * sizeof *begin);
    for (int i = 0; i < n_updates; i++) {
        ref_scene_learn(s);
        ref_update(&f);
        near_reference(&f);
        cr_assert_eq(ref_metric(s, SK_METRIC_UPDATES), i + 1);
        cr_assert_eq(sk_policy_version(s->policy), i + 1);
    }
    cr_assert(s->source.n_told == n_updates && f.n_moves > 0);
    cr_assert_gt(ref_distance(f.net.theta, begin, f.net.n), 0.01, "the network hardly moved");
    cr_assert_gt(ref_distance(f.net.target, begin, f.net.n), 0.001, "its target hardly moved");
    free(begin);
    ref_net_close(&f.net);
    ref_scene_destroy(s);
}

Test(dqn, agrees_with_the_reference) { agrees(plain(), 0, SK_FILTER_NONE, 8); }

Test(dqn, agrees_with_the_reference_by_double_q_learning_with_squares_and_a_slow_target) {
    sk_dqn_config c = plain();
    c.double_q = true, c.td_loss = SK_TD_MSE, c.tau = 0.1, c.target_network_update_freq = 0;
    agrees(c, 0, SK_FILTER_NONE, 8);
}
Test(dqn, agrees_with_the_reference_on_a_dueling_network_with_a_filter_schedules_and_gradient_clipping) {
    sk_dqn_config c = plain();
    c.dueling = true, c.grad_clip = 0.2, c.lr = (sk_schedule){2, {2, 10}, {2e-2, 1e-3}};
    agrees(c, 0, SK_FILTER_MEAN_STD, 8);
}
Test(dqn, agrees_with_the_reference_where_choices_are_masked) {
    sk_dqn_config c = plain();
    agrees(c, 1, SK_FILTER_NONE, 7);
    c.double_q = true;
    agrees(c, 1, SK_FILTER_NONE, 7);
}
Test(dqn, agrees_with_the_reference_with_noisy_layers) {
    sk_dqn_config c = plain();
    c.noisy = true, c.double_q = true, c.dueling = true;
    agrees(c, 0, SK_FILTER_NONE, 5);
}
Test(dqn, agrees_with_the_reference_on_distributions_over_atoms) {
    sk_dqn_config c = plain();
    c.distribution = SK_Q_C51;
    agrees(c, 0, SK_FILTER_NONE, 5);
    c.double_q = true, c.dueling = true;
    agrees(c, 1, SK_FILTER_NONE, 4);
}
Test(dqn, agrees_with_the_reference_on_quantiles) {
    sk_dqn_config c = plain();
    c.distribution = SK_Q_QUANTILE;
    agrees(c, 0, SK_FILTER_NONE, 5);
    c.double_q = true, c.dueling = true;
    agrees(c, 1, SK_FILTER_NONE, 4);
}
Test(dqn, agrees_with_the_reference_on_all_of_rainbow) {
    sk_dqn_config c = plain();
    c.distribution = SK_Q_C51, c.double_q = c.dueling = c.noisy = true;
    agrees(c, 0, SK_FILTER_NONE, 4);
}

/* ---- parts of an update ---- */

static ref_scene *started(const sk_dqn_config *c, void (*spoil)(sk_batch *b)) {
    ref_scene *s = scene_make(c, 0, SK_FILTER_NONE);
    s->source.spoil = spoil;
    ref_scene_start(s);
    return s;
}
static int same_state(ref_scene *a, ref_scene *b) {
    static const char *const sections[] = {"dqn", "targets", "q_adam", "q_adam_steps"};
    sk_pack *x = ref_scene_saved(a), *y = ref_scene_saved(b);
    int      same = memcmp(sk_policy_params(a->policy), sk_policy_params(b->policy),
                           sk_policy_n_floats(a->policy) * sizeof(float)) == 0;
    for (int i = 0; i < SK_COUNT(sections); i++) {
        const void *p = NULL, *q = NULL;
        size_t      n = 0, m = 0;
        cr_assert_eq(sk_pack_section(x, sections[i], SIZE_MAX, &p, &n, NULL), SK_OK, "%s", sections[i]);
        cr_assert_eq(sk_pack_section(y, sections[i], SIZE_MAX, &q, &m, NULL), SK_OK, "%s", sections[i]);
        same &= n == m && memcmp(p, q, n) == 0;
    }
    sk_pack_destroy(&x);
    sk_pack_destroy(&y);
    return same;
}

/* A batch that comes with more than one env step. */
static sk_metrics *counting;
static int         jump;
static void        pass_steps(sk_batch *b) {
    (void)b;
    sk_metrics_add(counting, SK_METRIC_ENV_STEPS, jump - 1);
}
/* Moves of the target in 12 updates of `jump` env steps each. */
static int moves_of(int64_t freq) {
    sk_dqn_config c = plain();
    int           n = 0;
    c.target_network_update_freq = freq;
    ref_scene *s = started(&c, pass_steps);
    counting = &s->metrics;
    for (int i = 0; i < 12; i++) {
        size_t   n_floats = sk_policy_n_floats(s->policy);
        sk_pack *before = ref_scene_saved(s);
        float   *network = malloc(n_floats * sizeof *network);
        memcpy(network, sk_policy_params(s->policy), n_floats * sizeof *network);
        ref_scene_learn(s);
        sk_pack     *after = ref_scene_saved(s);
        const float *was = ref_section(before, "targets", n_floats), *is = ref_section(after, "targets", n_floats);
        int          follows = memcmp(is, network, n_floats * sizeof *is) == 0;
        cr_assert(follows || memcmp(is, was, n_floats * sizeof *is) == 0, "neither a copy nor what it was");
        n += follows && i > 0; /* it starts as a copy */
        sk_pack_destroy(&before), sk_pack_destroy(&after);
        free(network);
    }
    ref_scene_destroy(s);
    return n;
}
Test(dqn, copies_the_network_into_its_target_as_env_steps_pass) {
    jump = 1;
    cr_assert_eq(moves_of(0), 11);
    cr_assert_eq(moves_of(1), 11);
    cr_assert_eq(moves_of(4), 3); /* at 4, 8 and 12 */
    cr_assert_eq(moves_of(13), 0);
    jump = 5;
    cr_assert_eq(moves_of(4), 11);  /* once for several multiples */
    cr_assert_eq(moves_of(10), 6);  /* at 10, 20, ... 60 */
    cr_assert_eq(moves_of(12), 5);  /* at 15, 25, 40, 50, 60 */
}

Test(dqn, asks_for_the_epsilon_of_the_present_step) {
    sk_dqn_config c = plain();
    c.epsilon = (sk_schedule){2, {1, 5}, {0.9, 0.1}};
    const float wanted[] = {0.9f, 0.9f, 0.7f, 0.5f, 0.3f, 0.1f, 0.1f};
    ref_scene  *s = started(&c, NULL);
    for (int i = 0; i < SK_COUNT(wanted); i++) { /* before step i + 1 is taken */
        ref_scene_learn(s);
        cr_assert_eq(sk_policy_exploration(s->policy)->kind, SK_EXPLORE_EPSILON);
        cr_assert_float_eq(sk_policy_exploration(s->policy)->epsilon, wanted[i], 1e-6f, "step %d", i + 1);
        ref_near("exploration", ref_metric(s, SK_METRIC_EXPLORATION), sk_schedule_at(&c.epsilon, i + 1), 1e-9);
    }
    ref_scene_destroy(s);
}

static void foul_after_the_end(sk_batch *b) {
    for (int i = 0; i < REF_ROWS; i++)
        for (int k = 0; b->discount[i] == 0.0f && k < REF_OBS; k++) b->next_obs[i * REF_OBS + k] = 3.0f;
}
static void foul_before_the_end(sk_batch *b) {
    for (int i = 0; i < REF_ROWS; i++)
        for (int k = 0; b->discount[i] != 0.0f && k < REF_OBS; k++) b->next_obs[i * REF_OBS + k] = 3.0f;
}
Test(dqn, looks_at_what_follows_unless_the_step_terminated) {
    sk_dqn_config c = plain();
    for (int kind = SK_Q_MEAN; kind <= SK_Q_QUANTILE; kind++) {
        c.distribution = kind, c.num_atoms = kind == SK_Q_MEAN ? 1 : ATOMS;
        ref_scene *clean = started(&c, NULL);
        ref_scene *after = started(&c, foul_after_the_end), *before = started(&c, foul_before_the_end);
        for (int i = 0; i < 4; i++) ref_scene_learn(clean), ref_scene_learn(after), ref_scene_learn(before);
        cr_assert(kind == SK_Q_C51 || same_state(clean, after));
        cr_assert_not(same_state(clean, before));
        if (kind == SK_Q_C51) /* all mass goes to one reward, in sums that are 1 but for their rounding */
            for (size_t i = 0; i < sk_policy_n_floats(clean->policy); i++)
                cr_assert_float_eq(sk_policy_params(clean->policy)[i], sk_policy_params(after->policy)[i], 1e-5);
        ref_scene_destroy(clean), ref_scene_destroy(after), ref_scene_destroy(before);
    }
}

/* Rows 0, 3, 6 ... weigh nothing. */
static void weigh_nothing(sk_batch *b) {
    for (int i = 0; i < REF_ROWS; i += 3) b->weight[i] = 0.0f;
}
static void weigh_nothing_and_foul(sk_batch *b) {
    weigh_nothing(b);
    for (int i = 0; i < REF_ROWS; i += 3) b->reward[i] = 100.0f;
}
Test(dqn, learns_from_rows_as_much_as_they_weigh) {
    sk_dqn_config c = plain();
    ref_scene    *all = started(&c, NULL);
    ref_scene    *light = started(&c, weigh_nothing), *foul = started(&c, weigh_nothing_and_foul);
    for (int i = 0; i < 4; i++) ref_scene_learn(all), ref_scene_learn(light), ref_scene_learn(foul);
    cr_assert_not(same_state(all, light));
    cr_assert(same_state(light, foul));
    cr_assert_gt(foul->source.told[0], 50.0f, "but the replay is told how wrong they are");
    ref_scene_destroy(all), ref_scene_destroy(light), ref_scene_destroy(foul);
}

static void spoil_one(sk_batch *b) { b->reward[20] = NAN; }
Test(dqn, leaves_out_updates_whose_gradient_is_not_finite_and_counts_them) {
    sk_dqn_config c = plain();
    ref_scene    *s = started(&c, spoil_one);
    ref_scene_learn(s);
    cr_assert_eq(ref_metric(s, SK_METRIC_UPDATES_SKIPPED), 1);
    cr_assert_eq(s->source.n_told, 0);
    cr_assert_not(s->metrics.present[SK_METRIC_QF_LOSS], "no mean of nothing");
    s->source.spoil = NULL; /* and it goes on */
    for (int i = 0; i < 3; i++) ref_scene_learn(s);
    cr_assert_eq(ref_metric(s, SK_METRIC_UPDATES), 3);
    for (size_t i = 0; i < sk_policy_n_floats(s->policy); i++) cr_assert(isfinite(sk_policy_params(s->policy)[i]));
    ref_scene_destroy(s);
}

Test(dqn, goes_on_from_what_it_saved) {
    sk_dqn_config c = plain();
    c.noisy = true, c.target_network_update_freq = 2;
    ref_scene *whole = started(&c, NULL), *rest = started(&c, NULL);
    for (int i = 0; i < 3; i++) ref_scene_learn(whole);
    sk_pack *pack = ref_scene_saved(whole);
    for (int i = 0; i < 6; i++) ref_scene_learn(rest); /* somewhere else entirely */
    memcpy(sk_policy_params(rest->policy), sk_policy_params(whole->policy),
           sk_policy_n_floats(rest->policy) * sizeof(float));
    cr_assert_eq(rest->api->load(rest->learner, pack, NULL), SK_OK);
    cr_assert(same_state(whole, rest));
    rest->source.state = whole->source.state;
    rest->metrics = whole->metrics;
    for (int i = 0; i < 5; i++) ref_scene_learn(whole), ref_scene_learn(rest);
    cr_assert(same_state(whole, rest));
    sk_pack_destroy(&pack);
    ref_scene_destroy(whole), ref_scene_destroy(rest);
}

/* ---- whole runs ---- */

typedef struct experiment {
    const char *env, *placement, *more; /* more: of `training` */
    int         runners, learner_threads, iterations;
} experiment;

static const char rainbow[] = ", dueling: true, noisy: true, distribution: c51, num_atoms: 11, v_min: 0, v_max: 40";

static sk_train_result train(experiment e, const char *run_dir, int resume) {
    const char *yaml = rig_text(
        "algorithm: dqn\n"
        "env: {name: %s, max_episode_steps: 50}\n"
        "seed: 3\n"
        "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, placement: %s,\n"
        "  observation_filter: MeanStdFilter}\n"
        "learners: {num_cpus_per_learner: %d}\n"
        "model: {fcnet_hiddens: [32, 32]}\n"
        "training: {train_batch_size: 130, num_steps_sampled_before_learning_starts: 60, n_step: 2, lr: 1.0e-3,\n"
        "  min_sample_timesteps_per_iteration: 40, target_network_update_freq: 50, epsilon: [[0, 0.8], [400, 0.1]]%s}\n"
        "replay_buffer_config: {capacity: 300, prioritized: true, save_in_checkpoints: true}\n"
        "evaluation: {num_episodes: 0}\n"
        "stop: {training_iteration: %d}\n",
        e.env ? e.env : "CartPole-v1", e.runners, 4 / (e.runners ? e.runners : 1), e.placement ? e.placement : "thread",
        e.learner_threads ? e.learner_threads : 1, e.more ? e.more : "", e.iterations);
    return rig_train_ok((rig_run){.yaml = yaml, .run_dir = run_dir, .resume = resume});
}
#define SAME_PARAMS(a, b) cr_assert_str_eq((a).params_sha256, (b).params_sha256)

Test(dqn, gives_the_same_bits_for_any_number_of_learner_threads) {
    sk_train_result one = train((experiment){.iterations = 5, .more = rainbow}, NULL, 0);
    for (int threads = 2; threads <= 3; threads++)
        SAME_PARAMS(train((experiment){.iterations = 5, .more = rainbow, .learner_threads = threads}, NULL, 0), one);
    cr_assert_str_neq(train((experiment){.iterations = 5}, NULL, 0).params_sha256, one.params_sha256);
}
static void same_in_every_placement(const char *env, const char *more) {
    sk_train_result one = train((experiment){.env = env, .more = more, .iterations = 5}, NULL, 0);
    for (int runners = 1; runners <= 4; runners *= 2)
        SAME_PARAMS(train((experiment){.env = env, .more = more, .iterations = 5, .runners = runners}, NULL, 0), one);
    experiment apart = {.env = env, .more = more, .iterations = 5, .runners = 2, .placement = "process"};
    SAME_PARAMS(train(apart, NULL, 0), one);
}
Test(dqn, gives_the_same_bits_in_every_placement) { same_in_every_placement(NULL, NULL); }
Test(dqn, gives_the_same_bits_in_every_placement_with_noisy_layers) { same_in_every_placement(NULL, rainbow); }
Test(dqn, gives_the_same_bits_in_every_placement_with_masks) { same_in_every_placement("Taxi-v4", NULL); }

static void resumes(const char *more) {
    char           *dir = rig_folder();
    sk_train_result whole = train((experiment){.more = more, .iterations = 10, .runners = 2}, NULL, 0);
    sk_train_result half = train((experiment){.more = more, .iterations = 5}, dir, 0);
    cr_assert_str_neq(half.params_sha256, whole.params_sha256);
    sk_train_result rest = train((experiment){.more = more, .iterations = 10, .runners = 1}, dir, 1);
    SAME_PARAMS(rest, whole);
    cr_assert_eq(rest.metrics.value[SK_METRIC_QF_LOSS], whole.metrics.value[SK_METRIC_QF_LOSS]);
    cr_assert_eq(rest.metrics.value[SK_METRIC_UPDATES], whole.metrics.value[SK_METRIC_UPDATES]);
    rig_remove(&dir);
}
Test(dqn, resumes_bit_for_bit) { resumes(NULL); }
Test(dqn, resumes_bit_for_bit_with_noisy_layers) { resumes(rainbow); }

/* ---- what is refused ---- */

static void refused(const char *more, const char *word) {
    const char     *text = rig_text("{algorithm: dqn, stop: {training_iteration: 1}, %s}", more);
    sk_train_result result;
    sk_error        e = {0};
    sk_config      *cfg = NULL;
    cr_assert_eq(sk_config_parse(text, "x.yaml", NULL, 0, &cfg, &e), SK_OK, "%s", e.msg);
    sk_train_params params = {.cfg = cfg};
    cr_assert_neq(sk_train_run(&params, &result, &e), SK_OK, "%s", text);
    cr_assert(strstr(e.msg, word), "\"%s\" says nothing of \"%s\"", e.msg, word);
    sk_config_destroy(&cfg);
}
Test(dqn, refuses_what_it_cannot_learn_by_name) {
    refused("env: Pendulum-v1", "dqn needs discrete actions");
    refused("env: CartPole-v1, training: {num_atoms: 51}", "training.distribution is none");
    refused("env: CartPole-v1, training: {distribution: c51}", "training.num_atoms");
    refused("env: CartPole-v1, training: {distribution: c51, num_atoms: 3, v_min: 1, v_max: 1}", "v_min");
    refused("env: CartPole-v1, training: {distribution: quantile, num_atoms: 3, td_error_loss_fn: mse}",
            "td_error_loss_fn");
    refused("env: CartPole-v1, model: {vf_share_layers: true}", "model.vf_share_layers");
}
