/* TD3 and DDPG on made-up batches against a plain reference in double, and as whole runs: the same bits however the
 * work is dealt out, and after a resume. */
#include "algorithms/td3/td3.h"
#include "tests/algorithms/off_policy_reference.h"
#include "tests/rl/rig.h"

/* ---- the reference ---- */

typedef struct ref {
    ref_scene           *s;
    const sk_td3_config *c;
    int                  n_critics;
    long                 n_updates, delay;
    ref_net              actor, critics;
    double               x[REF_ROWS][REF_OBS], y[REF_ROWS]; /* encoded observations, targets of the values */
    int                  n_noise_clipped, n_action_clipped;
} ref;

static double clip(double x, double low, double high) { return fmax(low, fmin(high, x)); }

/* y = r + discount * min_i Q'_i(s', clip(pi'(s') + clip(sigma noise, -c, c), -1, 1)) */
static void ref_targets(ref *f) {
    const sk_batch *b = &f->s->source.batch;
    for (int i = 0; i < REF_ROWS; i++) {
        double next[REF_OBS], action[2], q[2] = {INFINITY, INFINITY};
        ref_see(f->s, b->next_obs, i, next);
        ref_see(f->s, b->obs, i, f->x[i]);
        ref_forward(&f->actor, f->actor.target, "pi", next, action);
        for (int k = 0; k < 2; k++) {
            double noise = f->c->target_noise * ref_normal(f->s, 0, (uint64_t)f->n_updates, i * 2 + k);
            double bound = f->c->target_noise_clip, sum = tanh(action[k]) + clip(noise, -bound, bound);
            f->n_noise_clipped += fabs(noise) > bound;
            f->n_action_clipped += fabs(sum) > 1.0;
            action[k] = clip(sum, -1.0, 1.0);
        }
        for (int j = 0; j < f->n_critics; j++)
            q[j] = ref_q(&f->critics, f->critics.target, j ? "q2" : "q1", next, action);
        f->y[i] = (double)b->reward[i] + (double)b->discount[i] * fmin(q[0], q[1]);
    }
}
/* TD error of critic j at row i. */
static double ref_td(const ref *f, int i, int j) {
    const sk_env_slot *a = f->s->source.batch.action + i * 2;
    double             action[2] = {(double)a[0].f, (double)a[1].f};
    return ref_q(&f->critics, f->critics.theta, j ? "q2" : "q1", f->x[i], action) - f->y[i];
}
/* Mean over rows of weight * td^2, for both critics. */
static double ref_critic_loss(void *user) {
    const ref *f = user;
    double     sum = 0.0;
    for (int j = 0; j < f->n_critics; j++)
        for (int i = 0; i < REF_ROWS; i++)
            sum += (double)f->s->source.batch.weight[i] * pow(ref_td(f, i, j), 2) / REF_ROWS;
    return sum;
}
static double ref_actor_loss(void *user) {
    const ref *f = user;
    double     sum = 0.0;
    for (int i = 0; i < REF_ROWS; i++) {
        double action[2];
        ref_forward(&f->actor, f->actor.theta, "pi", f->x[i], action);
        for (int k = 0; k < 2; k++) action[k] = tanh(action[k]);
        sum -= ref_q(&f->critics, f->critics.theta, "q1", f->x[i], action) / REF_ROWS;
    }
    return sum;
}

static void ref_open(ref *f, ref_scene *s, const sk_td3_config *c, int n_critics) {
    *f = (ref){.s = s, .c = c, .n_critics = n_critics, .delay = c->policy_delay ? c->policy_delay : 1};
    ref_net_policy(&f->actor, s->policy);
    ref_net_critics(&f->critics, s, n_critics);
}
static void ref_close(ref *f) {
    ref_net_close(&f->actor);
    ref_net_close(&f->critics);
}

/* The update that the learner has just made, once more; what it reported must agree. */
static void ref_update(ref *f) {
    ref_scene *s = f->s;
    double     steps = ref_metric(s, SK_METRIC_ENV_STEPS), told = 0.0;
    ref_targets(f);
    ref_near("loss of the critics", ref_metric(s, SK_METRIC_QF_LOSS), ref_critic_loss(f), 1e-5);
    for (int i = 0; i < REF_ROWS; i++) {
        double error = 1e-6 + (fabs(ref_td(f, i, 0)) + fabs(ref_td(f, i, f->n_critics - 1))) / 2.0; /* never 0 */
        ref_near("TD error", (double)s->source.told[i], error, 1e-5);
        told += error / REF_ROWS;
    }
    ref_near("mean TD error", ref_metric(s, SK_METRIC_TD_ERROR), told, 1e-5);
    ref_gradient(&f->critics, ref_critic_loss, f);
    ref_near("gradient norm", ref_metric(s, SK_METRIC_GRAD_NORM), f->critics.norm, 1e-5);
    ref_adam(&f->critics, sk_schedule_at(&f->c->critic_lr, steps), f->c->grad_clip, f->c->adam_epsilon);
    cr_assert_eq(s->metrics.present[SK_METRIC_POLICY_LOSS], ++f->n_updates % f->delay == 0);
    if (f->n_updates % f->delay != 0) return;
    ref_near("policy loss", ref_metric(s, SK_METRIC_POLICY_LOSS), ref_actor_loss(f), 1e-5);
    ref_gradient(&f->actor, ref_actor_loss, f);
    ref_adam(&f->actor, sk_schedule_at(&f->c->actor_lr, steps), f->c->grad_clip, f->c->adam_epsilon);
    ref_polyak(&f->actor, f->c->tau);
    ref_polyak(&f->critics, f->c->tau);
}
static void near_reference(const ref *f) {
    sk_pack *pack = ref_scene_saved(f->s);
    ref_near_all("policy", sk_policy_params_const(f->s->policy), f->actor.theta, f->actor.n, 1e-5);
    ref_near_all("critics", ref_section(pack, "critic", f->critics.n), f->critics.theta, f->critics.n, 1e-5);
    ref_near_all("targets", ref_section(pack, "targets", f->critics.n), f->critics.target, f->critics.n, 1e-5);
    ref_near_all("policy's target", ref_section(pack, "policy_target", f->actor.n), f->actor.target, f->actor.n, 1e-5);
    sk_pack_destroy(&pack);
}

/* ---- against the reference ---- */

static const sk_model_config net = {.kind = SK_POLICY_DETERMINISTIC};

static sk_td3_config td3_config(void) {
    return (sk_td3_config){.replay = {.min_iteration_steps = 1}, .actor_lr = {1, {0}, {4e-3}},
                           .critic_lr = {1, {0}, {8e-3}}, .tau = 0.05, .policy_delay = 2, .target_noise = 0.2,
                           .target_noise_clip = 0.5, .exploration_noise = {1, {0}, {0.1}}, .adam_epsilon = 1e-3};
}
static sk_td3_config ddpg_config(void) {
    sk_td3_config c = td3_config();
    c.policy_delay = 0, c.target_noise = c.target_noise_clip = 0.0; /* keys that ddpg lacks */
    return c;
}

/* Several updates, each seen by both; then they must have gone far, and together. */
static void agrees(const sk_algorithm_api *api, const sk_td3_config *c, sk_obs_filter filter, int n_updates, ref *ret) {
    ref_scene *s = ref_scene_make(api, c, 0, 0, net, filter);
    ref        f;
    ref_scene_start(s);
    ref_open(&f, s, c, api == &sk_td3_api ? 2 : 1);
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
    cr_assert_gt(ref_distance(f.actor.theta, begin, f.actor.n), 0.01, "the policy hardly moved");
    cr_assert_gt(ref_distance(f.actor.target, begin, f.actor.n), 0.001, "its target hardly moved");
    if (ret) *ret = f; /* for its counts only */
    free(begin);
    ref_close(&f);
    ref_scene_destroy(s);
}

Test(td3, agrees_with_the_reference) {
    sk_td3_config c = td3_config();
    agrees(&sk_td3_api, &c, SK_FILTER_NONE, 10, NULL);
}
Test(td3, agrees_with_the_reference_with_a_filter_schedules_gradient_clipping_and_a_longer_delay) {
    sk_td3_config c = td3_config();
    c.actor_lr = (sk_schedule){2, {0, 12}, {2e-2, 1e-3}};
    c.critic_lr = (sk_schedule){2, {2, 8}, {1e-2, 0}};
    c.grad_clip = 0.3;
    c.policy_delay = 3;
    agrees(&sk_td3_api, &c, SK_FILTER_MEAN_STD, 9, NULL);
}
Test(td3, clips_the_noise_of_the_target_and_the_action_with_it) {
    sk_td3_config c = td3_config();
    ref           f;
    c.target_noise = 0.8, c.target_noise_clip = 0.6;
    agrees(&sk_td3_api, &c, SK_FILTER_NONE, 6, &f);
    cr_assert(f.n_noise_clipped > 100 && f.n_action_clipped > 100, "clipped %d times and %d times", f.n_noise_clipped,
              f.n_action_clipped);
}
Test(ddpg, agrees_with_the_reference) {
    sk_td3_config c = ddpg_config();
    agrees(&sk_ddpg_api, &c, SK_FILTER_NONE, 6, NULL);
}

/* ---- parts of an update ---- */

static ref_scene *started(const sk_td3_config *c, void (*spoil)(sk_batch *b)) {
    ref_scene *s = ref_scene_make(&sk_td3_api, c, 0, 0, net, SK_FILTER_NONE);
    s->source.spoil = spoil;
    ref_scene_start(s);
    return s;
}
/* Same networks, same targets, same optimizers? */
static int same_state(ref_scene *a, ref_scene *b) {
    static const char *const sections[] = {"td3_updates", "critic", "critic_adam", "critic_adam_steps", "targets",
                                           "actor_adam", "actor_adam_steps", "policy_target"};
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

Test(td3, moves_policy_and_targets_only_when_the_delay_is_over) {
    sk_td3_config c = td3_config();
    c.policy_delay = 3;
    ref_scene *s = started(&c, NULL);
    size_t     n = sk_policy_n_floats(s->policy);
    for (int i = 1; i <= 7; i++) {
        sk_pack *before = ref_scene_saved(s);
        float   *policy = malloc(n * sizeof *policy);
        memcpy(policy, sk_policy_params(s->policy), n * sizeof *policy);
        ref_scene_learn(s);
        sk_pack *after = ref_scene_saved(s);
        int      due = i % 3 == 0;
        cr_assert_eq(memcmp(policy, sk_policy_params(s->policy), n * sizeof *policy) != 0, due, "update %d", i);
        for (int k = 0; k < 3; k++) {
            static const char *const names[] = {"targets", "policy_target", "critic"};
            const void *p = NULL, *q = NULL;
            size_t      size = 0;
            cr_assert_eq(sk_pack_section(before, names[k], SIZE_MAX, &p, &size, NULL), SK_OK);
            cr_assert_eq(sk_pack_section(after, names[k], size, &q, NULL, NULL), SK_OK);
            cr_assert_eq(memcmp(p, q, size) != 0, due || k == 2, "update %d, %s", i, names[k]);
        }
        sk_pack_destroy(&before), sk_pack_destroy(&after);
        free(policy);
    }
    ref_scene_destroy(s);
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
Test(td3, looks_at_what_follows_unless_the_step_terminated) {
    sk_td3_config c = td3_config();
    ref_scene    *clean = started(&c, NULL);
    ref_scene    *after = started(&c, foul_after_the_end), *before = started(&c, foul_before_the_end);
    for (int i = 0; i < 4; i++) ref_scene_learn(clean), ref_scene_learn(after), ref_scene_learn(before);
    cr_assert(same_state(clean, after));
    cr_assert_not(same_state(clean, before));
    ref_scene_destroy(clean), ref_scene_destroy(after), ref_scene_destroy(before);
}

/* Rows 0, 3, 6 ... weigh nothing. */
static void weigh_nothing(sk_batch *b) {
    for (int i = 0; i < REF_ROWS; i += 3) b->weight[i] = 0.0f;
}
static void weigh_nothing_and_foul(sk_batch *b) {
    weigh_nothing(b);
    for (int i = 0; i < REF_ROWS; i += 3) b->reward[i] = 100.0f;
}
Test(td3, learns_from_rows_as_much_as_they_weigh) {
    sk_td3_config c = td3_config();
    ref_scene    *plain = started(&c, NULL);
    ref_scene    *light = started(&c, weigh_nothing), *foul = started(&c, weigh_nothing_and_foul);
    for (int i = 0; i < 4; i++) ref_scene_learn(plain), ref_scene_learn(light), ref_scene_learn(foul);
    cr_assert_not(same_state(plain, light));
    cr_assert(same_state(light, foul));
    cr_assert_gt(foul->source.told[0], 50.0f, "but the replay is told how wrong they are");
    ref_scene_destroy(plain), ref_scene_destroy(light), ref_scene_destroy(foul);
}

static void spoil_one(sk_batch *b) { b->reward[20] = NAN; }
Test(td3, leaves_out_updates_whose_gradient_is_not_finite_and_counts_them) {
    sk_td3_config c = td3_config();
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

Test(td3, asks_for_the_exploration_that_its_config_names) {
    sk_td3_config c = td3_config();
    c.exploration_noise = (sk_schedule){2, {0, 4}, {0.5, 0.1}};
    for (int type = SK_TD3_GAUSSIAN; type <= SK_TD3_OU; type++) {
        c.exploration_type = type;
        ref_scene *s = started(&c, NULL);
        for (int i = 0; i < 3; i++) ref_scene_learn(s); /* the third asks at step 2 */
        const sk_exploration *e = sk_policy_exploration(s->policy);
        cr_assert_eq(e->kind, type == SK_TD3_OU ? SK_EXPLORE_OU : SK_EXPLORE_GAUSSIAN);
        cr_assert_float_eq(e->sigma, 0.3f, 1e-6f);
        cr_assert(e->theta == 0.15f && e->dt == 0.01f);
        ref_scene_destroy(s);
    }
}

Test(td3, refuses_discrete_actions_by_the_environments_name) {
    sk_td3_config c = td3_config();
    for (int i = 0; i < 2; i++) {
        sk_error   e = {0};
        ref_scene *s = ref_scene_make(i ? &sk_ddpg_api : &sk_td3_api, &c, 3, 0, net, SK_FILTER_NONE);
        cr_assert_eq(ref_scene_try(s, &e), SK_EUNSUPPORTED);
        rig_has(e.msg, i ? "ddpg" : "td3"), rig_has(e.msg, "Made-up"), rig_has(e.msg, "discrete");
        ref_scene_destroy(s);
    }
}

/* ---- checkpoints ---- */

Test(td3, goes_on_from_what_it_saved) {
    sk_td3_config c = td3_config();
    ref_scene    *whole = started(&c, NULL), *rest = started(&c, NULL);
    for (int i = 0; i < 3; i++) ref_scene_learn(whole);
    sk_pack *pack = ref_scene_saved(whole);
    for (int i = 0; i < 7; i++) ref_scene_learn(rest); /* somewhere else entirely */
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

/* ---- whole runs ---- */

typedef struct experiment {
    const char *algorithm, *placement, *more; /* more: of `training` */
    int         runners, learner_threads, iterations;
} experiment;

static sk_train_result train(experiment e, const char *run_dir, int resume) {
    const char *yaml = rig_text(
        "algorithm: %s\n"
        "env: {name: Pendulum-v1, max_episode_steps: 50}\n"
        "seed: 3\n"
        "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, placement: %s,\n"
        "  observation_filter: MeanStdFilter}\n"
        "learners: {num_cpus_per_learner: %d}\n"
        "model: {fcnet_hiddens: [32, 32]}\n"
        "training: {train_batch_size: 130, num_steps_sampled_before_learning_starts: 60, n_step: 2,\n"
        "  min_sample_timesteps_per_iteration: 40, exploration_type: ou, exploration_noise: [[0, 0.4], [400, 0.1]]%s}\n"
        "replay_buffer_config: {capacity: 300, prioritized: true, save_in_checkpoints: true}\n"
        "evaluation: {num_episodes: 0}\n"
        "stop: {training_iteration: %d}\n",
        e.algorithm ? e.algorithm : "td3", e.runners, 4 / (e.runners ? e.runners : 1),
        e.placement ? e.placement : "thread", e.learner_threads ? e.learner_threads : 1, e.more ? e.more : "",
        e.iterations);
    return rig_train_ok((rig_run){.yaml = yaml, .run_dir = run_dir, .resume = resume});
}
#define SAME_PARAMS(a, b) cr_assert_str_eq((a).params_sha256, (b).params_sha256)

Test(td3, gives_the_same_bits_for_any_number_of_learner_threads) {
    sk_train_result one = train((experiment){.iterations = 5}, NULL, 0);
    for (int threads = 2; threads <= 3; threads++)
        SAME_PARAMS(train((experiment){.iterations = 5, .learner_threads = threads}, NULL, 0), one);
    cr_assert_str_neq(train((experiment){.iterations = 5, .more = ", target_noise: 0.1"}, NULL, 0).params_sha256,
                      one.params_sha256);
}
Test(td3, gives_the_same_bits_in_every_placement) {
    sk_train_result one = train((experiment){.iterations = 5}, NULL, 0);
    for (int runners = 1; runners <= 4; runners *= 2)
        SAME_PARAMS(train((experiment){.iterations = 5, .runners = runners}, NULL, 0), one);
    SAME_PARAMS(train((experiment){.iterations = 5, .runners = 2, .placement = "process"}, NULL, 0), one);
}

static void resumes(const char *algorithm) {
    char           *dir = rig_folder();
    sk_train_result whole = train((experiment){.algorithm = algorithm, .iterations = 10, .runners = 2}, NULL, 0);
    sk_train_result half = train((experiment){.algorithm = algorithm, .iterations = 5}, dir, 0);
    cr_assert_str_neq(half.params_sha256, whole.params_sha256);
    sk_train_result rest = train((experiment){.algorithm = algorithm, .iterations = 10, .runners = 1}, dir, 1);
    SAME_PARAMS(rest, whole);
    cr_assert_eq(rest.metrics.value[SK_METRIC_QF_LOSS], whole.metrics.value[SK_METRIC_QF_LOSS]);
    cr_assert_eq(rest.metrics.value[SK_METRIC_UPDATES], whole.metrics.value[SK_METRIC_UPDATES]);
    rig_remove(&dir);
}
Test(td3, resumes_bit_for_bit) { resumes("td3"); }
Test(ddpg, resumes_bit_for_bit) { resumes("ddpg"); }
