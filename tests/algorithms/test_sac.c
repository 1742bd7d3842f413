/* SAC on made-up batches against a plain reference in double, for box actions, with state-dependent exploration and for
 * discrete ones, and as whole runs: the same bits however the work is dealt out, and after a resume. */
#include "algorithms/sac/sac.h"
#include "tests/algorithms/off_policy_reference.h"
#include "tests/rl/rig.h"

/* ---- the reference ---- */

enum { NEXT_NOISE, NOISE, CHOICES = 4 };

typedef struct ref {
    ref_scene           *s;
    const sk_sac_config *c;
    long                 n_updates;
    ref_net              actor, critics;
    double              *frozen; /* the actor's parameters that no gradient reaches: features of the exploration  */
    double               log_alpha, alpha_m, alpha_v, target_entropy, logp, alpha_loss;
    double               x[REF_ROWS][REF_OBS], y[REF_ROWS]; /* encoded observations, targets of the values         */
    int                  n_second; /* rows in whose target the second critic was the lesser                        */
} ref;

static int is_discrete(const ref *f) { return f->s->spaces.n_parts > 0; }

/* Log-deviations of a box action: an output, or those of noise that the (frozen) features multiply. */
static void ref_log_std(const ref *f, const double *x, const double *h, double *log_std) {
    double features[REF_HIDDEN];
    if (!sk_policy_model(f->s->policy)->use_sde) {
        ref_layer(&f->actor, f->actor.theta, "pi", "log_std_out", h, log_std);
        return;
    }
    const sk_node *w = sk_graph_node(f->actor.g, sk_graph_find_param(f->actor.g, "pi/sde_log_std"));
    ref_hidden(&f->actor, f->frozen, "pi", x, features);
    for (int k = 0; k < 2; k++) {
        double var = 1e-6;
        for (int j = 0; j < REF_HIDDEN; j++)
            var += pow(features[j] * exp(f->actor.theta[w->offset + j * w->ld + k]), 2);
        log_std[k] = 0.5 * log(var);
    }
}
/* a = tanh(mean + deviation * noise); its log-probability (Haarnoja et al. 2018b, appendix C). */
static double ref_box(const ref *f, const double *x, uint64_t stream, int i, double *action) {
    double h[REF_HIDDEN], mean[2], log_std[2], logp = 0.0;
    ref_hidden(&f->actor, f->actor.theta, "pi", x, h);
    ref_layer(&f->actor, f->actor.theta, "pi", "out", h, mean);
    ref_log_std(f, x, h, log_std);
    for (int k = 0; k < 2; k++) {
        double noise = ref_normal(f->s, stream, (uint64_t)f->n_updates, i * 2 + k);
        action[k] = tanh(mean[k] + exp(log_std[k]) * noise);
        logp += -0.5 * noise * noise - log_std[k] - 0.5 * log(2.0 * M_PI) - log(1.0 - action[k] * action[k]);
    }
    return logp;
}
/* Probabilities of the choices that the mask (NULL: all) allows, and sum over them of p log p. */
static double ref_choices(const ref *f, const double *x, const float *mask, double *p) {
    double logits[CHOICES], sum = 0.0, entropy = 0.0;
    ref_forward(&f->actor, f->actor.theta, "pi", x, logits);
    for (int k = 0; k < CHOICES; k++) sum += p[k] = mask && mask[k] == 0.0f ? 0.0 : exp(logits[k]);
    for (int k = 0; k < CHOICES; k++) {
        p[k] /= sum;
        if (p[k] > 0.0) entropy += p[k] * log(p[k]);
    }
    return entropy;
}
/* E[min_i Q_i - alpha log pi] with the critics' parameters theta; the log-probability goes to *ret_logp. */
static double ref_value(const ref *f, const double *theta, const double *x, const float *mask, uint64_t stream, int i,
                        double *ret_logp, int *n_second) {
    double a[CHOICES], q[2][CHOICES], value = 0.0;
    *ret_logp = is_discrete(f) ? ref_choices(f, x, mask, a) : ref_box(f, x, stream, i, a);
    for (int j = 0; j < 2; j++)
        if (is_discrete(f)) ref_forward(&f->critics, theta, j ? "q2" : "q1", x, q[j]);
        else q[j][0] = ref_q(&f->critics, theta, j ? "q2" : "q1", x, a);
    if (n_second) *n_second += q[1][0] < q[0][0];
    for (int k = 0; k < (is_discrete(f) ? CHOICES : 1); k++)
        value += (is_discrete(f) ? a[k] : 1.0) * fmin(q[0][k], q[1][k]);
    return value - exp(f->log_alpha) * *ret_logp;
}
static const float *mask_row(const ref *f, const float *mask, int i) {
    return mask ? mask + i * f->s->spaces.mask_size : NULL;
}

static void ref_targets(ref *f) {
    const sk_batch *b = &f->s->source.batch;
    for (int i = 0; i < REF_ROWS; i++) {
        double next[REF_OBS], logp;
        ref_see(f->s, b->next_obs, i, next);
        ref_see(f->s, b->obs, i, f->x[i]);
        f->y[i] = (double)b->reward[i] + (double)b->discount[i] * ref_value(f, f->critics.target, next,
                                                                           mask_row(f, b->next_mask, i), NEXT_NOISE, i,
                                                                           &logp, &f->n_second);
    }
}
/* TD error of critic j at row i. */
static double ref_td(const ref *f, int i, int j) {
    const sk_batch *b = &f->s->source.batch;
    const char     *name = j ? "q2" : "q1";
    double          q[CHOICES];
    if (is_discrete(f)) {
        ref_forward(&f->critics, f->critics.theta, name, f->x[i], q);
        return q[b->action[i].i] - f->y[i];
    }
    double action[2] = {(double)b->action[i * 2].f, (double)b->action[i * 2 + 1].f};
    return ref_q(&f->critics, f->critics.theta, name, f->x[i], action) - f->y[i];
}
/* Mean over rows of 1/2 weight * td^2, for both critics. */
static double ref_critic_loss(void *user) {
    const ref *f = user;
    double     sum = 0.0;
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < REF_ROWS; i++)
            sum += 0.5 * (double)f->s->source.batch.weight[i] * pow(ref_td(f, i, j), 2) / REF_ROWS;
    return sum;
}
static double ref_actor_loss(void *user) {
    ref   *f = user;
    double sum = 0.0, logp;
    f->logp = 0.0;
    for (int i = 0; i < REF_ROWS; i++) {
        sum -= ref_value(f, f->critics.theta, f->x[i], mask_row(f, f->s->source.batch.mask, i), NOISE, i, &logp, NULL) /
               REF_ROWS;
        f->logp += logp / REF_ROWS;
    }
    return sum;
}

static void ref_open(ref *f, ref_scene *s, const sk_sac_config *c, double target_entropy) {
    *f = (ref){.s = s, .c = c, .log_alpha = log(c->initial_alpha), .target_entropy = target_entropy};
    ref_net_policy(&f->actor, s->policy);
    ref_net_critics(&f->critics, s, 2);
    f->frozen = malloc(f->actor.n * sizeof *f->frozen);
}
static void ref_close(ref *f) {
    ref_net_close(&f->actor);
    ref_net_close(&f->critics);
    free(f->frozen);
}

static void ref_alpha(ref *f, double lr) {
    double grad = -(f->logp + f->target_entropy), t = (double)(f->n_updates + 1);
    f->alpha_loss = grad * f->log_alpha;
    if (!f->c->learn_alpha) return;
    f->alpha_m = 0.9 * f->alpha_m + 0.1 * grad;
    f->alpha_v = 0.999 * f->alpha_v + 0.001 * grad * grad;
    double m = f->alpha_m / (1.0 - pow(0.9, t)), v = f->alpha_v / (1.0 - pow(0.999, t));
    f->log_alpha -= lr * m / (sqrt(v) + f->c->adam_epsilon);
}

/* The update that the learner has just made, once more; what it reported must agree. */
static void ref_update(ref *f) {
    ref_scene *s = f->s;
    double     steps = ref_metric(s, SK_METRIC_ENV_STEPS);
    memcpy(f->frozen, f->actor.theta, f->actor.n * sizeof *f->frozen);
    ref_targets(f);
    ref_near("loss of the critics", ref_metric(s, SK_METRIC_QF_LOSS), ref_critic_loss(f), 1e-5);
    for (int i = 0; i < REF_ROWS; i++)
        ref_near("TD error", (double)s->source.told[i], 1e-6 + (fabs(ref_td(f, i, 0)) + fabs(ref_td(f, i, 1))) / 2.0,
                 1e-5);
    ref_gradient(&f->critics, ref_critic_loss, f);
    ref_near("gradient norm", ref_metric(s, SK_METRIC_GRAD_NORM), f->critics.norm, 1e-5);
    ref_adam(&f->critics, sk_schedule_at(&f->c->critic_lr, steps), f->c->grad_clip, f->c->adam_epsilon);

    ref_gradient(&f->actor, ref_actor_loss, f);
    ref_near("policy loss", ref_metric(s, SK_METRIC_POLICY_LOSS), ref_actor_loss(f), 1e-5);
    ref_near("entropy", ref_metric(s, SK_METRIC_ENTROPY), -f->logp, 1e-5);
    ref_adam(&f->actor, sk_schedule_at(&f->c->actor_lr, steps), f->c->grad_clip, f->c->adam_epsilon);
    ref_alpha(f, sk_schedule_at(&f->c->alpha_lr, steps));
    ref_near("alpha", ref_metric(s, SK_METRIC_ALPHA), exp(f->log_alpha), 1e-6);
    ref_near("loss of alpha", ref_metric(s, SK_METRIC_ALPHA_LOSS), f->alpha_loss, 1e-5);
    if (++f->n_updates % f->c->target_network_update_freq == 0) ref_polyak(&f->critics, f->c->tau);
}
static void near_reference(const ref *f) {
    sk_pack *pack = ref_scene_saved(f->s);
    ref_near_all("policy", sk_policy_params_const(f->s->policy), f->actor.theta, f->actor.n, 1e-5);
    ref_near_all("critics", ref_section(pack, "critic", f->critics.n), f->critics.theta, f->critics.n, 1e-5);
    ref_near_all("targets", ref_section(pack, "targets", f->critics.n), f->critics.target, f->critics.n, 1e-5);
    sk_pack_destroy(&pack);
}

/* ---- against the reference ---- */

static const sk_model_config net = {.kind = SK_POLICY_SQUASHED};

static sk_sac_config sac_config(void) {
    return (sk_sac_config){.replay = {.min_iteration_steps = 1}, .actor_lr = {1, {0}, {4e-3}},
                           .critic_lr = {1, {0}, {8e-3}}, .alpha_lr = {1, {0}, {2e-2}}, .tau = 0.05,
                           .target_network_update_freq = 1, .initial_alpha = 0.3, .learn_alpha = true,
                           .target_entropy_text = "auto", .adam_epsilon = 1e-3};
}

/* Several updates, each seen by both; then they must have gone far, and together. Returns the share of rows in whose
 * target the second critic was the lesser. */
static double agrees(ref_scene *s, double target_entropy, int n_updates) {
    const sk_sac_config *c = s->own;
    ref                  f;
    ref_scene_start(s);
    ref_open(&f, s, c, target_entropy);
    float *begin = malloc(f.actor.n * sizeof *begin);
    memcpy(begin, sk_policy_params(s->policy), f.actor.n * sizeof *begin);
    for (int i = 0; i < n_updates; i++) {
        ref_scene_learn(s);
        ref_update(&f);
        near_reference(&f);
        cr_assert_eq(ref_metric(s, SK_METRIC_UPDATES), i + 1);
        cr_assert_eq(sk_policy_version(s->policy), i + 1);
    }
    cr_assert_eq(s->source.n_told, n_updates);
    cr_assert_eq(sk_policy_exploration(s->policy)->kind, SK_EXPLORE_POLICY);
    cr_assert_gt(ref_distance(f.actor.theta, begin, f.actor.n), 0.01, "the policy hardly moved");
    cr_assert_eq(f.log_alpha != log(c->initial_alpha), c->learn_alpha);
    free(begin);
    ref_close(&f);
    ref_scene_destroy(s);
    return (double)f.n_second / (n_updates * REF_ROWS);
}

Test(sac, agrees_with_the_reference_on_box_actions) {
    sk_sac_config c = sac_config();
    agrees(ref_scene_make(&sk_sac_api, &c, 0, 0, net, SK_FILTER_NONE), -2.0, 8);
}
Test(sac, agrees_with_the_reference_with_a_filter_schedules_gradient_clipping_and_slow_targets) {
    sk_sac_config c = sac_config();
    c.actor_lr = (sk_schedule){2, {0, 6}, {1e-2, 1e-3}};
    c.critic_lr = (sk_schedule){2, {2, 8}, {1e-2, 0}};
    c.alpha_lr = (sk_schedule){2, {0, 4}, {0, 5e-2}};
    c.grad_clip = 0.3;
    c.target_network_update_freq = 3;
    c.target_entropy_text = "-0.7";
    agrees(ref_scene_make(&sk_sac_api, &c, 0, 0, net, SK_FILTER_MEAN_STD), -0.7, 7);
}
Test(sac, agrees_with_the_reference_with_a_fixed_weight_of_the_entropy) {
    sk_sac_config c = sac_config();
    c.learn_alpha = false;
    agrees(ref_scene_make(&sk_sac_api, &c, 0, 0, net, SK_FILTER_NONE), -2.0, 4);
}
Test(sac, agrees_with_the_reference_with_state_dependent_exploration) {
    sk_sac_config   c = sac_config();
    sk_model_config model = net;
    model.use_sde = true;
    model.log_std_init = -1.0;
    agrees(ref_scene_make(&sk_sac_api, &c, 0, 0, model, SK_FILTER_NONE), -2.0, 6);
}
Test(sac, agrees_with_the_reference_on_choices) {
    sk_sac_config c = sac_config();
    double share = agrees(ref_scene_make(&sk_sac_api, &c, CHOICES, 0, net, SK_FILTER_NONE), 0.98 * log(CHOICES), 6);
    cr_assert(share > 0.03 && share < 0.97, "one critic is always the lesser: %g", share);
}
Test(sac, agrees_with_the_reference_on_masked_choices) {
    sk_sac_config c = sac_config();
    agrees(ref_scene_make(&sk_sac_api, &c, CHOICES, 1, net, SK_FILTER_NONE), 0.98 * log(CHOICES), 6);
}

/* ---- parts of an update ---- */

static ref_scene *started(const sk_sac_config *c, int choices, void (*spoil)(sk_batch *b)) {
    ref_scene *s = ref_scene_make(&sk_sac_api, c, choices, choices > 0, net, SK_FILTER_NONE);
    s->source.spoil = spoil;
    ref_scene_start(s);
    return s;
}
/* Same networks, same targets, same optimizers? */
static int same_state(ref_scene *a, ref_scene *b) {
    static const char *const sections[] = {"sac", "critic", "critic_adam", "critic_adam_steps", "targets", "actor_adam",
                                           "actor_adam_steps"};
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

/* What follows a terminated step is nonsense that must not count. */
static void foul_after_the_end(sk_batch *b) {
    for (int i = 0; i < REF_ROWS; i++)
        for (int k = 0; b->discount[i] == 0.0f && k < REF_OBS; k++) b->next_obs[i * REF_OBS + k] = 3.0f;
}
/* What follows another step counts: the discount alone says so, and that of a truncated step is not 0. */
static void foul_before_the_end(sk_batch *b) {
    for (int i = 0; i < REF_ROWS; i++)
        for (int k = 0; b->discount[i] != 0.0f && k < REF_OBS; k++) b->next_obs[i * REF_OBS + k] = 3.0f;
}
Test(sac, looks_at_what_follows_unless_the_step_terminated) {
    sk_sac_config c = sac_config();
    for (int choices = 0; choices <= CHOICES; choices += CHOICES) {
        ref_scene *clean = started(&c, choices, NULL);
        ref_scene *after = started(&c, choices, foul_after_the_end);
        ref_scene *before = started(&c, choices, foul_before_the_end);
        for (int i = 0; i < 4; i++) ref_scene_learn(clean), ref_scene_learn(after), ref_scene_learn(before);
        cr_assert(same_state(clean, after));
        cr_assert_not(same_state(clean, before));
        ref_scene_destroy(clean), ref_scene_destroy(after), ref_scene_destroy(before);
    }
}

static void spoil_one(sk_batch *b) { b->reward[20] = NAN; }
Test(sac, leaves_out_updates_whose_gradient_is_not_finite_and_counts_them) {
    sk_sac_config c = sac_config();
    ref_scene    *s = started(&c, 0, spoil_one);
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

Test(sac, refuses_several_discrete_actions_by_the_environments_name) {
    sk_sac_config c = sac_config();
    sk_error      e = {0};
    ref_scene    *s = ref_scene_make(&sk_sac_api, &c, 3, 0, net, SK_FILTER_NONE);
    sk_policy_destroy(&s->policy);
    s->spaces.n_parts = s->spaces.action_slots = s->source.batch.shape.action_slots = 2;
    s->spaces.part_n[1] = 2;
    sk_model_config model = net;
    model.fcnet_hiddens = (sk_int_list){1, {REF_HIDDEN}};
    cr_assert_eq(sk_policy_create(&s->spaces, &model, SK_FILTER_NONE, 7, &s->policy, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(ref_scene_try(s, &e), SK_EUNSUPPORTED);
    rig_has(e.msg, "Made-up"), rig_has(e.msg, "2 discrete actions");
    ref_scene_destroy(s);
}

/* ---- checkpoints ---- */

Test(sac, goes_on_from_what_it_saved) {
    sk_sac_config c = sac_config();
    c.target_network_update_freq = 2; /* so that the count of updates matters */
    for (int choices = 0; choices <= CHOICES; choices += CHOICES) {
        ref_scene *whole = started(&c, choices, NULL), *rest = started(&c, choices, NULL);
        for (int i = 0; i < 3; i++) ref_scene_learn(whole);
        sk_pack *pack = ref_scene_saved(whole);
        for (int i = 0; i < 6; i++) ref_scene_learn(rest); /* somewhere else entirely */
        memcpy(sk_policy_params(rest->policy), sk_policy_params(whole->policy),
               sk_policy_n_floats(rest->policy) * sizeof(float));
        cr_assert_eq(rest->api->load(rest->learner, pack, NULL), SK_OK);
        cr_assert(same_state(whole, rest));
        rest->source.state = whole->source.state;
        for (int i = 0; i < 5; i++) ref_scene_learn(whole), ref_scene_learn(rest);
        cr_assert(same_state(whole, rest));
        sk_pack_destroy(&pack);
        ref_scene_destroy(whole), ref_scene_destroy(rest);
    }
}

/* ---- whole runs ---- */

typedef struct experiment {
    const char *env, *placement, *model; /* model: more of `model` */
    int         runners, learner_threads, iterations;
} experiment;

static sk_train_result train(experiment e, const char *run_dir, int resume) {
    const char *yaml = rig_text(
        "algorithm: sac\n"
        "env: {name: %s, max_episode_steps: 50}\n"
        "seed: 3\n"
        "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, placement: %s,\n"
        "  observation_filter: MeanStdFilter}\n"
        "learners: {num_cpus_per_learner: %d}\n"
        "model: {fcnet_hiddens: [32, 32]%s}\n"
        "training: {train_batch_size: 130, num_steps_sampled_before_learning_starts: 60, n_step: 2,\n"
        "  min_sample_timesteps_per_iteration: 40, actor_lr: 2.0e-3, target_network_update_freq: 2}\n"
        "replay_buffer_config: {capacity: 300, prioritized: true, save_in_checkpoints: true}\n"
        "evaluation: {num_episodes: 0}\n"
        "stop: {training_iteration: %d}\n",
        e.env ? e.env : "Pendulum-v1", e.runners, 4 / (e.runners ? e.runners : 1), e.placement ? e.placement : "thread",
        e.learner_threads ? e.learner_threads : 1, e.model ? e.model : "", e.iterations);
    return rig_train_ok((rig_run){.yaml = yaml, .run_dir = run_dir, .resume = resume});
}
#define SAME_PARAMS(a, b) cr_assert_str_eq((a).params_sha256, (b).params_sha256)

static void same_bits(const char *env, const char *model) {
    experiment      e = {.env = env, .model = model, .iterations = 5};
    sk_train_result one = train(e, NULL, 0);
    for (e.learner_threads = 2; e.learner_threads <= 3; e.learner_threads++) SAME_PARAMS(train(e, NULL, 0), one);
    e.learner_threads = 1;
    for (e.runners = 1; e.runners <= 4; e.runners *= 2) SAME_PARAMS(train(e, NULL, 0), one);
    e.runners = 2;
    e.placement = "process";
    SAME_PARAMS(train(e, NULL, 0), one);
    e.iterations = 6;
    cr_assert_str_neq(train(e, NULL, 0).params_sha256, one.params_sha256);
}
Test(sac, gives_the_same_bits_for_any_number_of_threads_and_placement_on_pendulum) { same_bits("Pendulum-v1", NULL); }
Test(sac, gives_the_same_bits_for_any_number_of_threads_and_placement_on_cartpole) { same_bits("CartPole-v1", NULL); }
Test(sac, gives_the_same_bits_with_state_dependent_exploration) {
    same_bits("Pendulum-v1", ", use_sde: true, sde_sample_freq: 8");
}

static void resumes(const char *env, const char *model) {
    char           *dir = rig_folder();
    experiment      e = {.env = env, .model = model, .iterations = 10, .runners = 2};
    sk_train_result whole = train(e, NULL, 0);
    e.iterations = 5, e.runners = 0;
    sk_train_result half = train(e, dir, 0);
    cr_assert_str_neq(half.params_sha256, whole.params_sha256);
    e.iterations = 10, e.runners = 1;
    sk_train_result rest = train(e, dir, 1);
    SAME_PARAMS(rest, whole);
    cr_assert_eq(rest.metrics.value[SK_METRIC_ALPHA], whole.metrics.value[SK_METRIC_ALPHA]);
    cr_assert_eq(rest.metrics.value[SK_METRIC_QF_LOSS], whole.metrics.value[SK_METRIC_QF_LOSS]);
    cr_assert_eq(rest.metrics.value[SK_METRIC_UPDATES], whole.metrics.value[SK_METRIC_UPDATES]);
    rig_remove(&dir);
}
Test(sac, resumes_bit_for_bit_on_pendulum) { resumes("Pendulum-v1", NULL); }
Test(sac, resumes_bit_for_bit_on_cartpole) { resumes("CartPole-v1", NULL); }
Test(sac, resumes_bit_for_bit_with_state_dependent_exploration) {
    resumes("Pendulum-v1", ", use_sde: true, sde_sample_freq: 8");
}
