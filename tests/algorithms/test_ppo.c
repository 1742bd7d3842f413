/* PPO's learn() on made-up batches, held against tests/algorithms/ppo_reference.h, and what it does with rows that
 * must not count and numbers that are none. */
#include "tests/algorithms/ppo_reference.h"
#include "rl/batch.h"

#include <stdio.h>

/* ---- batches from nowhere ---- */

typedef struct synth {
    sk_source   base;
    sk_batch    batch;
    void       *memory;
    sk_metrics *metrics;
    const ref  *ref;      /* acts: logp and value are near what it says; NULL: small random numbers */
    uint64_t    state;
    int         n_batches;
    void (*spoil)(sk_batch *batch); /* nullable: last touch before it is handed out */
} synth;

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static float uniform(synth *s, double low, double high) {
    return (float)(low + (high - low) * ((double)(splitmix(&s->state) >> 11) * 0x1p-53));
}
static int below(synth *s, int n) { return (int)(splitmix(&s->state) % (uint64_t)n); }

static void fill_action(synth *s, const sk_policy_spaces *spaces, int i) {
    sk_batch *b = &s->batch;
    for (int k = 0; spaces->n_parts == 0 && k < spaces->action_slots; k++)
        b->action[i * spaces->action_slots + k].f = uniform(s, -1.5, 1.5);
    for (int p = 0, first = 0; p < spaces->n_parts; first += spaces->part_n[p++]) {
        int take = below(s, spaces->part_n[p]);
        b->action[i * spaces->action_slots + p].i = take;
        for (int j = 0; spaces->mask_size && j < spaces->part_n[p]; j++)
            b->mask[i * spaces->mask_size + first + j] = j == take || below(s, 3) ? 1.0f : 0.0f;
    }
}

/* Ends of all kinds; whole episodes that end in the batch are dropped now and then. */
static void fill_ends(synth *s) {
    sk_batch *b = &s->batch;
    for (int r = 0; r < REF_ROWS; r++)
        for (int t = 0, begin = 0; t < REF_STEPS; t++) {
            int i = t * REF_ROWS + r, kind = below(s, 30);
            b->terminated[i] = kind <= 2, b->truncated[i] = kind >= 2 && kind <= 4, b->valid[i] = 1;
            b->final_value[i] = b->truncated[i] && !b->terminated[i] ? uniform(s, -1, 1) : 0.0f;
            if (kind > 4) continue;
            int drop = below(s, 4) == 0;
            if (drop) b->terminated[i] = 1, b->truncated[i] = 0, b->final_value[i] = 0.0f;
            for (int back = begin; drop && back <= t; back++) b->valid[back * REF_ROWS + r] = 0;
            begin = t + 1;
        }
}

static sk_status synth_next(sk_source *base, const sk_batch **ret_batch, sk_error *reterr) {
    synth    *s = (synth *)base;
    sk_batch *b = &s->batch;
    (void)reterr;
    for (int i = 0; i < (REF_STEPS + 1) * REF_ROWS * REF_OBS; i++) b->obs[i] = uniform(s, -2, 2 + i % REF_OBS);
    fill_ends(s);
    for (int i = 0; i < REF_N; i++) {
        double logp = -1.0, entropy, value = 0.0;
        fill_action(s, &s->ref->s, i);
        ref_distribution(s->ref, b, i, &logp, &entropy, &value);
        b->logp[i] = (float)logp + uniform(s, -0.25, 0.25);
        b->value[i] = (float)value + uniform(s, -0.3, 0.3);
        b->reward[i] = uniform(s, -1, 2);
    }
    for (int r = 0; r < REF_ROWS; r++) b->bootstrap[r] = uniform(s, -1, 1);
    if (s->spoil) s->spoil(b);
    s->n_batches++;
    sk_metrics_add(s->metrics, SK_METRIC_ENV_STEPS, REF_N);
    *ret_batch = b;
    return SK_OK;
}
static const sk_source_ops synth_ops = {.next = synth_next};

/* ---- a learner ---- */

typedef struct scene {
    sk_train_config  config;
    sk_ppo_config    c;
    sk_policy_spaces spaces;
    sk_policy       *policy;
    sk_device       *device;
    void            *ppo;
    sk_metrics       metrics;
    synth            source;
    ref              ref;
} scene;

enum { DISCRETE, MASKED, MULTI, BOX };

/* PPO's defaults, without schedules. */
static sk_ppo_config defaults(void) {
    return (sk_ppo_config){.lr = {1, {0}, {3e-3}}, .clip_param = {1, {0}, {0.2}}, .entropy_coeff = {1, {0}, {0}},
                           .gamma = 0.97, .lambda = 0.9, .vf_loss_coeff = 0.5, .kl_coeff = 0.2, .kl_target = 0.01,
                           .num_epochs = 3, .minibatch_size = 70, .normalize_advantages = true, .grad_clip = 0.5,
                           .adam_epsilon = 1e-5};
}

static scene *scene_make(int kind, sk_ppo_config c, sk_model_config model, sk_obs_filter filter) {
    scene *s = calloc(1, sizeof *s);
    sk_error e = {0};
    s->config = (sk_train_config){.seed = 11};
    s->c = c;
    s->spaces = (sk_policy_spaces){.env_name = "Made-up", .obs_dim = REF_OBS, .action_slots = kind == MULTI ? 2 : 1};
    if (kind == BOX) {
        s->spaces.action_slots = 2;
        for (int i = 0; i < 2; i++) s->spaces.box_low[i] = -1.0f, s->spaces.box_high[i] = 2.0f;
    } else {
        s->spaces.n_parts = s->spaces.action_slots, s->spaces.part_n[0] = 3, s->spaces.part_n[1] = 2;
    }
    if (kind == MASKED) s->spaces.mask_size = 3;
    if (kind == MULTI) s->spaces.mask_size = 5;
    model.fcnet_hiddens = (sk_int_list){1, {REF_HIDDEN}};
    cr_assert_eq(sk_policy_create(&s->spaces, &model, filter, 7, &s->policy, &e), SK_OK, "%s", e.msg);
    /* heads start almost at zero: make them speak up */
    for (size_t i = 0; i < sk_policy_n_floats(s->policy); i++) sk_policy_params(s->policy)[i] *= 1.5f;
    cr_assert_eq(sk_device_create_cpu(1, &s->device, &e), SK_OK, "%s", e.msg);
    sk_batch_shape shape = {.n_steps = REF_STEPS, .n_rows = REF_ROWS, .obs_dim = REF_OBS,
                            .action_slots = s->spaces.action_slots, .mask_size = s->spaces.mask_size, .n_fragments = 1};
    s->source = (synth){.base = {&synth_ops}, .metrics = &s->metrics, .ref = &s->ref, .state = 5};
    s->source.memory = aligned_alloc(64, sk_batch_bytes(&shape));
    memset(s->source.memory, 0, sk_batch_bytes(&shape));
    sk_batch_map(&shape, s->source.memory, &s->source.batch);
    ref_open(&s->ref, s->policy, &s->c, &s->config);
    return s;
}
/* The learner itself, when the scene is as it should be. */
static void scene_start(scene *s) {
    sk_error             e = {0};
    sk_algorithm_context x = {.device = s->device, .policy = s->policy, .config = &s->config, .own = &s->c,
                              .shape = s->source.batch.shape};
    cr_assert_eq(sk_ppo_api.create(&x, &s->ppo, &e), SK_OK, "%s", e.msg);
}
static void scene_learn(scene *s) {
    sk_error e = {0};
    cr_assert_eq(sk_ppo_api.learn(s->ppo, &s->source.base, &s->metrics, &e), SK_OK, "%s", e.msg);
}
static void scene_destroy(scene *s) {
    sk_ppo_api.destroy(s->ppo);
    ref_close(&s->ref);
    sk_policy_destroy(&s->policy);
    sk_device_destroy(&s->device);
    free(s->source.memory);
    free(s);
}
static double metric(const scene *s, sk_metric m) {
    cr_assert(s->metrics.present[m], "%s is absent", sk_metric_info_get(m)->name);
    return s->metrics.value[m];
}

/* ---- against the reference ---- */

static void near(const char *what, double got, double wanted, double relative) {
    cr_assert(fabs(got - wanted) <= relative * (0.1 + fabs(wanted)), "%s is %.9g, wanted %.9g", what, got, wanted);
}

static void near_reference(const scene *s) {
    const float *params = sk_policy_params_const(s->policy);
    char         what[64];
    for (size_t i = 0; i < s->ref.n; i++) {
        snprintf(what, sizeof what, "batch %d: parameter %zu", s->source.n_batches, i);
        near(what, (double)params[i], s->ref.theta[i], 1e-4);
    }
    double n = s->ref.n_updates;
    near("total loss", metric(s, SK_METRIC_TOTAL_LOSS), s->ref.total / n, 1e-4);
    near("policy loss", metric(s, SK_METRIC_POLICY_LOSS), s->ref.policy / n, 1e-4);
    near("value loss", metric(s, SK_METRIC_VF_LOSS), s->ref.vf / n, 1e-4);
    near("entropy", metric(s, SK_METRIC_ENTROPY), s->ref.entropy / n, 1e-4);
    near("KL", metric(s, SK_METRIC_KL), s->ref.kl / n, 1e-4);
    near("clip fraction", metric(s, SK_METRIC_CLIP_FRACTION), s->ref.clip_fraction / n, 1e-3);
    near("gradient norm", metric(s, SK_METRIC_GRAD_NORM), s->ref.grad_norm / n, 1e-4);
    near("first KL", metric(s, SK_METRIC_FIRST_KL), s->ref.first_kl, 1e-4);
    cr_assert_eq(metric(s, SK_METRIC_EPOCHS_DONE), s->ref.n_epochs);
}

/* Several iterations, each seen by both; then they must have gone far, and together. */
static void agrees(scene *s, int n_batches) {
    double  steps = 0.0, updates = 0.0, moved = 0.0;
    double *begin = malloc(s->ref.n * sizeof *begin);
    memcpy(begin, s->ref.theta, s->ref.n * sizeof *begin);
    scene_start(s);
    for (int i = 0; i < n_batches; i++) {
        scene_learn(s);
        steps += REF_N;
        ref_learn(&s->ref, &s->source.batch, steps);
        near_reference(s);
        updates += s->ref.n_updates;
        cr_assert_eq(metric(s, SK_METRIC_UPDATES), updates);
        cr_assert_eq(metric(s, SK_METRIC_UPDATES_SKIPPED), 0.0);
        near("lr", metric(s, SK_METRIC_LR), sk_schedule_at(&s->c.lr, steps), 1e-9);
        near("clip_param", metric(s, SK_METRIC_CLIP_PARAM), sk_schedule_at(&s->c.clip_param, steps), 1e-9);
        if (s->c.use_kl_loss) near("kl_coeff", metric(s, SK_METRIC_KL_COEFF), s->ref.kl_coeff, 1e-9);
        cr_assert_eq(sk_policy_version(s->policy), i + 1);
    }
    for (size_t i = 0; i < s->ref.n; i++) moved = fmax(moved, fabs(s->ref.theta[i] - begin[i]));
    cr_assert_gt(moved, 0.02, "parameters hardly moved: %g", moved);
    free(begin);
    scene_destroy(s);
}

static const sk_model_config apart = {.free_log_std = true, .log_std_init = -0.4};

Test(ppo, agrees_with_the_reference_on_one_choice) { agrees(scene_make(DISCRETE, defaults(), apart, 0), 3); }

Test(ppo, agrees_with_the_reference_on_a_masked_choice_with_value_clipping_and_entropy) {
    sk_ppo_config c = defaults();
    c.vf_clip_param = 0.2;
    c.entropy_coeff = (sk_schedule){1, {0}, {0.05}};
    agrees(scene_make(MASKED, c, apart, 0), 3);
}

Test(ppo, agrees_with_the_reference_on_masked_choices_with_an_adaptive_kl_penalty) {
    sk_ppo_config c = defaults();
    c.use_kl_loss = true;
    c.kl_coeff = 0.7;
    c.kl_target = 1e-3; /* the made-up KL is far above: the coefficient grows */
    scene *s = scene_make(MULTI, c, apart, 0);
    agrees(s, 3);
}

Test(ppo, agrees_with_the_reference_on_a_gaussian_with_schedules_and_without_gradient_clipping) {
    sk_ppo_config c = defaults();
    c.lr = (sk_schedule){2, {0, 5.0 * REF_N}, {5e-3, 0}};
    c.clip_param = (sk_schedule){2, {0, 4.0 * REF_N}, {0.3, 0.1}};
    c.entropy_coeff = (sk_schedule){2, {REF_N, 3.0 * REF_N}, {0.1, 0.0}};
    c.grad_clip = 0.0;
    agrees(scene_make(BOX, c, apart, 0), 4);
}

Test(ppo, agrees_with_the_reference_on_a_shared_network_with_both_filters) {
    sk_ppo_config   c = defaults();
    sk_model_config model = {.vf_share_layers = true, .log_std_init = -0.3};
    c.normalize_advantages = false;
    c.vf_clip_param = 0.5;
    scene *s = scene_make(BOX, c, model, SK_FILTER_MEAN_STD);
    s->config.env_runners.normalize_rewards = true;
    s->config.env_runners.clip_rewards = 0.6;
    agrees(s, 4);
}

Test(ppo, agrees_with_the_reference_on_state_dependent_noise) {
    sk_ppo_config   c = defaults();
    sk_model_config model = {.use_sde = true, .log_std_init = -0.6, .squash_actions = true};
    c.entropy_coeff = (sk_schedule){1, {0}, {0.05}};
    agrees(scene_make(BOX, c, model, SK_FILTER_MEAN_STD), 3);
    model.vf_share_layers = true;
    agrees(scene_make(BOX, c, model, 0), 3);
}

Test(ppo, clips_rewards_that_are_not_normalised) {
    scene *s = scene_make(DISCRETE, defaults(), apart, 0);
    s->config.env_runners.clip_rewards = 0.5;
    agrees(s, 2);
}

Test(ppo, stops_its_epochs_when_the_kl_grows_too_large) {
    sk_ppo_config c = defaults();
    c.num_epochs = 30;
    c.lr = (sk_schedule){1, {0}, {2e-2}};
    c.target_kl = 0.02; /* the made-up KL is below 1.5 of it at the start, so that it takes some updates */
    scene *s = scene_make(DISCRETE, c, apart, 0);
    scene_start(s);
    scene_learn(s);
    ref_learn(&s->ref, &s->source.batch, REF_N);
    cr_assert_lt(s->ref.n_epochs, 30);
    cr_assert(s->ref.n_updates > 1 && s->ref.n_updates % 3 != 0, "%d updates: not in the middle of an epoch",
              s->ref.n_updates);
    near_reference(s);
    cr_assert_eq(metric(s, SK_METRIC_UPDATES), s->ref.n_updates);
    scene_destroy(s);
}

Test(ppo, halves_the_kl_coefficient_when_the_kl_is_small) {
    sk_ppo_config c = defaults();
    c.use_kl_loss = true;
    c.kl_target = 10.0;
    scene *s = scene_make(DISCRETE, c, apart, 0);
    scene_start(s);
    scene_learn(s);
    cr_assert_eq(metric(s, SK_METRIC_KL_COEFF), 0.1);
    scene_learn(s);
    cr_assert_eq(metric(s, SK_METRIC_KL_COEFF), 0.05);
    scene_destroy(s);
}

/* ---- rows that do not count ---- */

/* NaN and nonsense wherever an episode was dropped. */
static void poison_invalid(sk_batch *b) {
    const sk_batch_shape *s = &b->shape;
    for (int i = 0; i < REF_N; i++) {
        if (b->valid[i]) continue;
        for (int k = 0; k < s->obs_dim; k++) b->obs[i * s->obs_dim + k] = NAN;
        for (int k = 0; k < s->mask_size; k++) b->mask[i * s->mask_size + k] = 0.0f;
        for (int k = 0; k < s->action_slots; k++) b->action[i * s->action_slots + k].i = 0x7fc00000 + k;
        b->logp[i] = NAN;
        b->value[i] = i % 2 ? NAN : INFINITY;
        b->reward[i] = i % 3 ? NAN : 1e30f;
        b->final_value[i] = NAN;
    }
}

static scene *scene_learned(int kind, sk_obs_filter filter, void (*spoil)(sk_batch *b)) {
    sk_ppo_config c = defaults();
    c.use_kl_loss = true;
    c.vf_clip_param = 0.3;
    scene *s = scene_make(kind, c, apart, filter);
    s->config.env_runners.normalize_rewards = true;
    s->config.env_runners.clip_rewards = 3;
    s->source.spoil = spoil;
    scene_start(s);
    for (int i = 0; i < 3; i++) scene_learn(s);
    return s;
}

Test(ppo, rows_that_are_not_valid_have_no_influence) {
    for (int kind = DISCRETE; kind <= BOX; kind++) {
        scene *clean = scene_learned(kind, SK_FILTER_MEAN_STD, NULL);
        scene *foul = scene_learned(kind, SK_FILTER_MEAN_STD, poison_invalid);
        char   a[65], b[65];
        int    n_invalid = 0;
        for (int i = 0; i < REF_N; i++) n_invalid += !foul->source.batch.valid[i];
        cr_assert(n_invalid > 10 && n_invalid < REF_N / 2, "%d invalid rows", n_invalid);
        sk_policy_sha256(clean->policy, a);
        sk_policy_sha256(foul->policy, b);
        cr_assert_str_eq(a, b, "kind %d", kind);
        const sk_normalizer *x = sk_policy_normalizer_const(clean->policy);
        const sk_normalizer *y = sk_policy_normalizer_const(foul->policy);
        cr_assert_eq(x->count, y->count);
        cr_assert_eq(memcmp(x->mean, y->mean, 2 * REF_OBS * sizeof *x->mean), 0);
        for (int m = 0; m < SK_METRIC_COUNT; m++) {
            if (m == SK_METRIC_TIME_LEARN) continue;
            cr_assert_eq(clean->metrics.present[m], foul->metrics.present[m], "%s", sk_metric_names()[m]);
            cr_assert(!clean->metrics.present[m] || clean->metrics.value[m] == foul->metrics.value[m], "%s",
                      sk_metric_names()[m]);
        }
        cr_assert_lt(metric(clean, SK_METRIC_ENV_STEPS_TRAINED), metric(clean, SK_METRIC_ENV_STEPS));
        scene_destroy(clean);
        scene_destroy(foul);
    }
}

static void drop_all(sk_batch *b) {
    memset(b->valid, 0, REF_N);
    poison_invalid(b);
}
Test(ppo, a_batch_without_a_valid_row_teaches_nothing) {
    scene *s = scene_make(DISCRETE, defaults(), apart, SK_FILTER_MEAN_STD);
    char   before[65], after[65];
    s->source.spoil = drop_all;
    scene_start(s);
    sk_policy_sha256(s->policy, before);
    scene_learn(s);
    sk_policy_sha256(s->policy, after);
    cr_assert_str_eq(before, after);
    cr_assert_eq(metric(s, SK_METRIC_UPDATES), 0);
    cr_assert_not(s->metrics.present[SK_METRIC_TOTAL_LOSS]);
    cr_assert_eq(sk_policy_normalizer(s->policy)->count, 0);
    scene_destroy(s);
}

/* ---- numbers that are none ---- */

static int spoiled_row;
static void spoil_one(sk_batch *b) {
    for (spoiled_row = 20; !b->valid[spoiled_row];) spoiled_row++;
    b->logp[spoiled_row] = NAN;
}
Test(ppo, leaves_out_updates_whose_gradient_is_not_finite_and_counts_them) {
    for (int whole = 0; whole < 2; whole++) {
        sk_ppo_config c = defaults();
        c.minibatch_size = whole ? REF_N : 40; /* one minibatch, which is spoiled; or one of several */
        scene *s = scene_make(BOX, c, apart, 0);
        char   before[65], after[65];
        s->source.spoil = spoil_one;
        scene_start(s);
        sk_policy_sha256(s->policy, before);
        scene_learn(s);
        sk_policy_sha256(s->policy, after);
        cr_assert_eq(metric(s, SK_METRIC_UPDATES_SKIPPED), 3, "one in each of the three epochs");
        cr_assert_eq(strcmp(before, after) == 0, whole);
        cr_assert_eq(s->metrics.present[SK_METRIC_TOTAL_LOSS], !whole, "no mean of nothing");
        for (size_t i = 0; i < sk_policy_n_floats(s->policy); i++) cr_assert(isfinite(sk_policy_params(s->policy)[i]));
        s->source.spoil = NULL; /* and it goes on */
        scene_learn(s);
        sk_policy_sha256(s->policy, after);
        cr_assert_str_neq(before, after);
        cr_assert_eq(metric(s, SK_METRIC_UPDATES_SKIPPED), 3);
        scene_destroy(s);
    }
}
