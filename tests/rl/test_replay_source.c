/* The rate limiter between runners and a learner with a replay: how much is added before each draw, whose actions, and
 * what becomes of rewards and statistics on the way. */
#include "core/base/pack.h"
#include "policies/net.h"
#include "rl/replay_source.h"
#include "tests/rl/rig.h"

#include <math.h>

/* Drill's observation begins with step / 10: without ends it says which step of its environment it is. */
enum { OBS = 4 };

typedef struct scene {
    rig               rig;
    sk_replay_source *source;
} scene;

static const char *yaml_of(const char *drill, const char *runners, const char *more) {
    return rig_text("algorithm: sac\nseed: 6\nenv: {plugin: %s, name: Drill-v0, config: {kind: 2%s}}\n"
                    "env_runners: {%s}\nmodel: {fcnet_hiddens: [8]}\nstop: {training_iteration: 1}\n%s\n",
                    rig_plugin("drill"), drill, runners, more);
}

static void scene_open(scene *s, const char *yaml) {
    rig_open(&s->rig, yaml, 1);
    sk_replay_source_params p = {.stream = s->rig.stream, .own = s->rig.setup.algorithm->replay(s->rig.setup.own),
                                 .config = &s->rig.setup.config, .env_name = "Drill-v0", .policy = s->rig.policy,
                                 .metrics = &s->rig.metrics};
    cr_assert_eq(sk_replay_source_create(&p, &s->source, &s->rig.error), SK_OK, "%s", s->rig.error.msg);
}
static void scene_close(scene *s) {
    sk_replay_source_destroy(&s->source);
    rig_close(&s->rig);
}
static const sk_batch *scene_next(scene *s) {
    const sk_batch *b = NULL;
    cr_assert_eq(sk_source_next(sk_replay_source_of(s->source), &b, &s->rig.error), SK_OK, "%s", s->rig.error.msg);
    return b;
}
static int64_t scene_steps(const scene *s) {
    return (int64_t)sk_metrics_get(&s->rig.metrics, SK_METRIC_ENV_STEPS, 0.0);
}

/* ---- how much ---- */

/* After draw k there have been: the fragments of the warm-up, then as many as k draws of n ask for. `intensity` is
 * num / den; 0 = a draw per fragment. */
static void limits(int runners, int envs, int length, int n, int num, int den, int warm) {
    scene     s;
    const int round = (runners ? runners : 1) * envs * length, before = (warm + round - 1) / round * round;
    scene_open(&s, yaml_of("", rig_text("num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: %d",
                                        runners, envs, length),
                           rig_text("training: {train_batch_size: %d, training_intensity: %.17g,\n"
                                    "  num_steps_sampled_before_learning_starts: %d}\n"
                                    "replay_buffer_config: {capacity: 5000}", n, (double)num / den, warm)));
    for (int64_t k = 1; k <= 300; k++) {
        int64_t rounds = num ? (k * n * den + (int64_t)num * round - 1) / ((int64_t)num * round) : k;
        const sk_batch *b = scene_next(&s);
        cr_assert_eq(b->shape.n_rows, n);
        cr_assert_eq(scene_steps(&s), before + rounds * round, "draw %lld: %lld steps, wanted %lld", (long long)k,
                     (long long)scene_steps(&s), (long long)(before + rounds * round));
        if (scene_steps(&s) <= 5000) cr_assert_eq(s.rig.metrics.value[SK_METRIC_REPLAY_SIZE], (double)scene_steps(&s));
        cr_assert_eq(s.rig.metrics.value[SK_METRIC_ENV_STEPS_TRAINED], (double)(k * n));
    }
    scene_close(&s);
}

Test(replay_source, draws_once_per_fragment_by_default) {
    limits(0, 1, 1, 32, 0, 1, 100);
    limits(0, 3, 5, 7, 0, 1, 100);
    limits(2, 2, 4, 32, 0, 1, 0);
    limits(0, 7, 7, 1, 0, 1, 0); /* 49 times 1/49 is less than 1 */
}
Test(replay_source, draws_as_many_transitions_as_its_intensity_says) {
    limits(0, 1, 1, 32, 8, 1, 64);    /* a draw every 4 steps */
    limits(0, 1, 1, 16, 40, 1, 10);   /* 5 draws in 2 steps */
    limits(0, 3, 1, 50, 7, 2, 1);     /* nothing divides anything */
    limits(2, 2, 5, 64, 1, 4, 0);     /* fewer drawn than added */
    limits(0, 1, 1, 256, 256, 1, 17); /* the usual: one update per step */
}

/* ---- whose actions ---- */

static int is_own(float action) { return action > 0.9999f; }

/* All means far out, so that the policy's own actions are as good as 1. */
static void saturate(sk_policy *policy) {
    sk_graph *g = NULL;
    sk_net    net;
    const sk_policy_spaces *spaces = sk_policy_spaces_get(policy);
    cr_assert_eq(sk_graph_create(&g, NULL), SK_OK);
    sk_net_build(g, spaces, sk_policy_model(policy), sk_policy_filter(policy), sk_graph_input(g, "obs", OBS), &net);
    cr_assert_eq(sk_graph_finish(g, NULL), SK_OK);
    const sk_node *b = sk_graph_node(g, sk_graph_find_param(g, "pi/out/b"));
    for (int i = 0; i < b->cols; i++) sk_policy_params(policy)[b->offset + i] = 100.0f;
    sk_graph_destroy(&g);
}

static const char warm_90[] = "training: {train_batch_size: 64, num_steps_sampled_before_learning_starts: 90}";
static const char three_envs[] = "num_env_runners: 0, num_envs_per_env_runner: 3, rollout_fragment_length: 4";

/* 90 steps of 3 environments in fragments of 12: the 8th fragment is still uniform, 96 steps in all. */
Test(replay_source, acts_uniformly_until_learning_starts) {
    scene  s;
    double n = 0.0, sum = 0.0, square = 0.0;
    int    n_own = 0;
    scene_open(&s, yaml_of("", three_envs, warm_90));
    saturate(s.rig.policy);
    sk_policy_exploration(s.rig.policy)->sigma = 0.25f;
    for (int k = 0; k < 40; k++) {
        const sk_batch *b = scene_next(&s);
        for (int i = 0; i < b->shape.n_rows; i++) {
            int   step = (int)lrintf(b->obs[i * OBS] * 10.0f);
            float a = b->action[2 * i].f;
            cr_assert_eq(is_own(a), step >= 96 / 3, "step %d: action %g", step, (double)a);
            cr_assert(a >= -1.0f && a <= 1.0f);
            n_own += is_own(a);
            if (!is_own(a)) n++, sum += (double)a, square += (double)(a * a);
        }
    }
    cr_assert(n > 300 && n_own > 300, "%g uniform, %d of its own", n, n_own);
    cr_assert_float_eq(sum / n, 0.0, 0.15);
    cr_assert_float_eq(square / n, 1.0 / 3.0, 0.08);
    cr_assert_eq(sk_policy_exploration(s.rig.policy)->sigma, 0.25f, "the algorithm's way to explore is put back");
    scene_close(&s);
}

static const char *scene_save(scene *s, const char *folder, int spoil) {
    sk_pack_writer *w = NULL;
    sk_error       *e = &s->rig.error;
    const char     *path = rig_text("%s/source.skiff", folder);
    double          owed = spoil == 1 ? (double)NAN : -1.0;
    cr_assert_eq(sk_pack_writer_create(SK_PACK_CHECKPOINT, 1, &w, e), SK_OK, "%s", e->msg);
    if (!spoil) {
        cr_assert_eq(sk_replay_source_save(s->source, w, e), SK_OK, "%s", e->msg);
    } else if (spoil < 3) {
        json_t *counts = json_pack("{s:I, s:b, s:b}", "n_warm", (json_int_t)0, "is_uniform", 0, "contents", 0);
        cr_assert_eq(json_object_set_new(sk_pack_writer_json(w), "replay_source", counts), 0);
        cr_assert_eq(sk_pack_writer_add(w, "replay_owed", &owed, sizeof owed, e), SK_OK);
    }
    cr_assert_eq(sk_pack_writer_save(w, path, e), SK_OK, "%s", e->msg);
    sk_pack_writer_destroy(&w);
    return path;
}
static sk_status scene_load(scene *s, const char *path) {
    sk_pack *pack = NULL;
    cr_assert_eq(sk_pack_load(path, SK_PACK_CHECKPOINT, 1, &pack, &s->rig.error), SK_OK, "%s", s->rig.error.msg);
    sk_status status = sk_replay_source_load(s->source, pack, &s->rig.error);
    sk_pack_destroy(&pack);
    return status;
}

/* `draws` before the cut; then another source without contents, from its environments' beginning. */
static void fills_anew(int draws, int own_actions) {
    char  *folder = rig_folder();
    scene  a, b;
    scene_open(&a, yaml_of("", three_envs, warm_90));
    for (int i = 0; i < draws; i++) scene_next(&a);
    const char *path = scene_save(&a, folder, 0);
    scene_close(&a);
    scene_open(&b, yaml_of("", three_envs, warm_90));
    saturate(b.rig.policy);
    rig_log_watch();
    cr_assert_eq(scene_load(&b, path), SK_OK, "%s", b.rig.error.msg);
    rig_has(rig_warnings, "the checkpoint holds no replay");
    rig_has(rig_warnings, "90 env steps");
    const sk_batch *batch = scene_next(&b);
    cr_assert_eq(scene_steps(&b), 96 + 12);
    for (int i = 0; i < batch->shape.n_rows; i++) {
        int step = (int)lrintf(batch->obs[i * OBS] * 10.0f);
        cr_assert_eq(is_own(batch->action[2 * i].f), own_actions || step >= 32, "step %d", step);
    }
    scene_close(&b);
    rig_remove(&folder);
}
Test(replay_source, fills_anew_with_the_policys_own_actions_after_a_resume_without_contents) { fills_anew(3, 1); }
Test(replay_source, begins_its_warm_up_again_after_a_resume_without_contents) { fills_anew(0, 0); }

Test(replay_source, refuses_a_checkpoint_whose_counts_make_no_sense) {
    char *folder = rig_folder();
    scene s;
    scene_open(&s, yaml_of("", three_envs, warm_90));
    for (int spoil = 1; spoil <= 3; spoil++) {
        cr_assert_eq(scene_load(&s, scene_save(&s, folder, spoil)), SK_ECORRUPT);
        rig_has(s.rig.error.msg, "replay");
    }
    scene_close(&s);
    rig_remove(&folder);
}

/* ---- rewards and statistics ---- */

Test(replay_source, clips_what_is_learned_from_and_not_what_is_reported) {
    scene s;
    int   n_clipped = 0;
    scene_open(&s, yaml_of(", cut: 10", rig_text("%s, clip_rewards: 0.25", three_envs), warm_90));
    for (int k = 0; k < 10; k++) {
        const sk_batch *b = scene_next(&s);
        for (int i = 0; i < b->shape.n_rows; i++) {
            float r = 1.0f - fabsf(b->action[2 * i].f - b->obs[i * OBS + 1]);
            n_clipped += fabsf(r) > 0.25f;
            cr_assert_float_eq(b->reward[i], fmaxf(-0.25f, fminf(0.25f, r)), 1e-6);
        }
    }
    cr_assert(n_clipped > 100 && n_clipped < 640);
    cr_assert_gt(s.rig.metrics.value[SK_METRIC_RETURN_MAX], 10 * 0.25);
    scene_close(&s);
}

/* Every step once, in order of steps, then rows; however many runners brought them. */
Test(replay_source, normaliser_sees_every_step_in_order_of_rows) {
    static const char *const runners[] = {"num_env_runners: 0, num_envs_per_env_runner: 4", "num_env_runners: 2, "
                                          "num_envs_per_env_runner: 2"};
    scene         s;
    rig           plain;
    sk_normalizer own;
    rig_open(&plain, yaml_of(", cut: 9", rig_text("%s, rollout_fragment_length: 5, observation_filter: MeanStdFilter",
                                                  runners[0]), warm_90), 1);
    cr_assert_eq(sk_normalizer_init(&own, OBS, NULL), SK_OK);
    *sk_policy_exploration(plain.policy) = (sk_exploration){.kind = SK_EXPLORE_UNIFORM};
    for (int f = 0; f < 5; f++) { /* 5 fragments of 20: the warm-up */
        const sk_batch *b = rig_next(&plain);
        sk_normalizer_update(&own, b->obs, b->valid, 20);
    }
    for (int i = 0; i < 2; i++) {
        scene_open(&s, yaml_of(", cut: 9", rig_text("%s, rollout_fragment_length: 5, observation_filter: MeanStdFilter",
                                                    runners[i]),
                               "training: {train_batch_size: 64, training_intensity: 1000,\n"
                               "  num_steps_sampled_before_learning_starts: 80}"));
        scene_next(&s); /* 4 fragments of the warm-up and one by the policy */
        const sk_normalizer *n = sk_policy_normalizer_const(s.rig.policy);
        cr_assert_eq(n->count, own.count);
        cr_assert_eq(n->mean[0], own.mean[0], "steps do not depend on actions");
        cr_assert_arr_eq(n->mean, own.mean, OBS * sizeof *own.mean);
        cr_assert_arr_eq(n->m2, own.m2, OBS * sizeof *own.m2);
        scene_close(&s);
    }
    sk_normalizer_deinit(&own);
    rig_close(&plain);
}

Test(replay_source, draws_the_same_for_any_number_of_runners) {
    enum { DRAWS = 30, N = 16 };
    static float obs[DRAWS][N * OBS], reward[DRAWS][N];
    for (int runners = 0; runners <= 4; runners += runners ? runners : 1) {
        scene s;
        scene_open(&s, yaml_of(", cut: 9, end: 5",
                               rig_text("num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: 3",
                                        runners, 4 / (runners ? runners : 1)),
                               "training: {train_batch_size: 16, training_intensity: 2, n_step: 3}\n"
                               "replay_buffer_config: {capacity: 200, prioritized: true}"));
        for (int k = 0; k < DRAWS; k++) {
            const sk_batch *b = scene_next(&s);
            float           told[N];
            for (int i = 0; i < N; i++) told[i] = b->reward[i] + 2.0f;
            cr_assert_eq(sk_source_feedback(sk_replay_source_of(s.source), told, N, &s.rig.error), SK_OK);
            if (runners == 0) memcpy(obs[k], b->obs, sizeof obs[k]), memcpy(reward[k], b->reward, sizeof reward[k]);
            cr_assert_arr_eq(b->obs, obs[k], sizeof obs[k], "%d runners, draw %d", runners, k);
            cr_assert_arr_eq(b->reward, reward[k], sizeof reward[k]);
        }
        scene_close(&s);
    }
}

/* ---- the config ---- */

static void refuses(const char *key, const char *other, const char *part1, const char *part2) {
    sk_train_setup s;
    sk_config     *cfg = NULL;
    sk_error       e = {0};
    const char    *set[2] = {key, other};
    cr_assert_eq(sk_config_parse("algorithm: sac\nenv: Pendulum-v1\nstop: {training_iteration: 1}\n", "test.yaml", set,
                                 other ? 2 : 1, &cfg, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_train_setup_init(&s, cfg, &e), SK_ECONFIG, "%s: %s", key, e.msg);
    rig_has(e.msg, part1);
    rig_has(e.msg, part2);
    sk_train_setup_deinit(&s);
    sk_config_destroy(&cfg);
}

Test(replay_source, config_refuses_sizes_that_do_not_fit_each_other) {
    const char *capacity = "replay_buffer_config.capacity";
    refuses("replay_buffer_config={capacity: 255}", NULL, capacity, "255 is too small");
    refuses("env_runners={rollout_fragment_length: 600000}", NULL, capacity, "a fragment of all runners brings 600000");
    refuses("training={num_steps_sampled_before_learning_starts: 1000001}", NULL, capacity,
            "learning starts after 1000001");
    refuses("training={train_batch_size: 1000001}", NULL, capacity, "an update takes 1000001");
    refuses("training={n_step: 1000}", "replay_buffer_config={capacity: 1999}", "training.n_step 1000 is too long",
            "1999");
    refuses("env_runners={normalize_rewards: true}", NULL, "normalize_rewards", "clip_rewards");
}
