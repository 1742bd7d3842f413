/* The runner: every column of its batches against the environments stepped once more by hand and the policy asked
 * once more, what it does with dropped episodes, and arguments it refuses. */
#include "core/transport/block.h"
#include "policies/inference.h"
#include "rl/runner.h"
#include "rl/runner_arg.h"
#include "tests/rl/rig.h"

#include <math.h>

enum { FRAGMENT = 37, ROWS_MAX = 16, N_BATCHES = 3 };

static const char *yaml_of(const char *env, int n_envs, const char *more) {
    return rig_text("algorithm: ppo\nenv: %s\nseed: 33\n"
                    "env_runners: {num_env_runners: 0, num_envs_per_env_runner: %d, rollout_fragment_length: %d,\n"
                    "  on_invalid: drop, %s}\n"
                    "model: {fcnet_hiddens: [16, 16]}\n"
                    "stop: {training_iteration: 1}\n",
                    env, n_envs, FRAGMENT, more);
}
static const char *drill(const char *config) {
    return rig_text("{plugin: %s, name: Drill-v0, config: {%s}}", rig_plugin("drill"), config);
}

/* A second look at a stream: its environments and its policy, owned by the test. */
typedef struct witness {
    rig          *rig;
    sk_vec       *vec;
    sk_device    *device;
    sk_inference *inference;
    int           obs_dim, slots, choices;
    float         obs[ROWS_MAX * 8], final_obs[ROWS_MAX * 8], reward[ROWS_MAX];
    uint8_t       mask[ROWS_MAX * 8], terminated[ROWS_MAX], truncated[ROWS_MAX], valid[FRAGMENT][ROWS_MAX];
    int64_t       step;
    int           n_ends, n_truncated, n_both, n_sat_out, n_dropped, n_cut_short;
} witness;

static void witness_open(witness *w, rig *r) {
    const sk_env_info *info = sk_env_info_get(r->setup.env);
    *w = (witness){.rig = r, .obs_dim = info->obs_dim, .slots = info->action_slots, .choices = info->mask_size};
    int           n_envs = (int)sk_train_config_n_envs(&r->setup.config);
    sk_vec_params vec = {.env = r->setup.env, .n_envs = n_envs, .n_total = n_envs, .seed = 33,
                         .seeding = SK_VEC_SEED_DERIVED, .on_invalid = SK_INVALID_DROP};
    cr_assert_eq(sk_vec_create(&vec, &w->vec, NULL), SK_OK);
    cr_assert(sk_vec_rows(w->vec) <= ROWS_MAX && w->obs_dim <= 8 && w->choices <= 8);
    cr_assert_eq(sk_device_create_cpu(1, &w->device, NULL), SK_OK);
    sk_inference_params how = {.device = w->device, .spaces = &r->setup.spaces, .model = &r->setup.config.model,
                               .filter = sk_policy_filter(r->policy), .params = sk_policy_params(r->policy),
                               .n_floats = sk_policy_n_floats(r->policy), .max_rows = FRAGMENT * ROWS_MAX};
    cr_assert_eq(sk_inference_create(&how, &w->inference, NULL), SK_OK);
    cr_assert_eq(sk_vec_reset(w->vec, w->obs, w->mask, NULL), SK_OK);
}
static void witness_close(witness *w) {
    sk_inference_destroy(&w->inference);
    sk_device_destroy(&w->device);
    sk_vec_destroy(&w->vec);
}

static void same_floats(const float *got, const float *wanted, int n, const char *what, int t) {
    cr_assert_eq(memcmp(got, wanted, (size_t)n * sizeof *got), 0, "%s of step %d", what, t);
}

/* Observations and masks that step t starts from. */
static void check_start(const witness *w, const sk_batch *b, int t) {
    int rows = b->shape.n_rows;
    same_floats(b->obs + t * rows * w->obs_dim, w->obs, rows * w->obs_dim, "obs", t);
    for (int i = 0; i < rows * w->choices; i++)
        cr_assert_eq(b->mask[t * rows * w->choices + i], (float)w->mask[i], "mask of step %d", t);
}

/* The draw of step t, again: a pure function of (seed, row, step) and of what the policy sees. */
static void check_action(witness *w, const sk_batch *b, int t) {
    int         rows = b->shape.n_rows;
    sk_env_slot action[ROWS_MAX * 8];
    float       logp[ROWS_MAX], value[ROWS_MAX];
    sk_inference_act(w->inference,
                     &(sk_inference_io){.rows = rows, .obs = b->obs + t * rows * w->obs_dim,
                                        .mask = w->choices ? b->mask + t * rows * w->choices : NULL, .seed = 33,
                                        .counter = (uint64_t)(w->step + t), .action = action, .logp = logp,
                                        .value = value});
    cr_assert_eq(memcmp(b->action + t * rows * w->slots, action, (size_t)(rows * w->slots) * 4), 0, "action of %d", t);
    same_floats(b->logp + t * rows, logp, rows, "logp", t);
    same_floats(b->value + t * rows, value, rows, "value", t);
}

static void step_again(witness *w, const sk_batch *b, int t) {
    int                     rows = b->shape.n_rows;
    const sk_policy_spaces *s = &w->rig->setup.spaces;
    sk_env_slot             action[ROWS_MAX * 8];
    memcpy(action, b->action + t * rows * w->slots, (size_t)(rows * w->slots) * 4);
    for (int i = 0; s->n_parts && i < rows * w->slots; i++) action[i].i += s->part_start[i % w->slots];
    sk_vec_step step = {.action = action, .reward = w->reward, .terminated = w->terminated, .truncated = w->truncated,
                        .valid = w->valid[t], .next_obs = w->obs, .next_mask = w->mask, .final_obs = w->final_obs};
    sk_error    e;
    cr_assert_eq(sk_vec_step_run(w->vec, &step, &e), SK_OK, "%s", e.msg);
}

/* V(final observation) where the clock cut what had not ended by itself, 0 everywhere else. */
static void check_final_value(witness *w, const sk_batch *b, int t, int r) {
    int   i = t * b->shape.n_rows + r;
    float wanted = 0.0f;
    if (b->truncated[i] && !b->terminated[i])
        sk_inference_value(w->inference, w->final_obs + r * w->obs_dim, 1, &wanted);
    same_floats(&b->final_value[i], &wanted, 1, "final_value", t);
    if (!b->terminated[i] && !b->truncated[i]) return;
    same_floats(b->final_obs + i * w->obs_dim, w->final_obs + r * w->obs_dim, w->obs_dim, "final_obs", t);
    w->n_ends++;
    w->n_truncated += b->truncated[i] && !b->terminated[i];
    w->n_sat_out += b->truncated[i] && !w->valid[t][r];
    w->n_both += b->truncated[i] && b->terminated[i];
}

/* Dropped episodes take their earlier steps in this batch with them; the list tells all that ended. */
static void check_episodes(witness *w, const sk_batch *b, int t, int *n_seen) {
    int                 n;
    const sk_vec_event *event = sk_vec_events(w->vec, &n);
    for (int i = 0; i < n; i++, ++*n_seen) {
        const sk_batch_episode *ep = &b->episode[*n_seen];
        cr_assert_lt(*n_seen, b->fragment[0].n_episodes);
        cr_assert(ep->step == t && ep->row == event[i].row && ep->length == event[i].length, "episode %d", *n_seen);
        cr_assert(ep->valid == event[i].valid && (!ep->valid || ep->ret == event[i].ret), "episode %d", *n_seen);
        if (event[i].valid) continue;
        w->n_dropped++;
        for (int back = 0; back < event[i].length; back++) {
            if (back <= t) w->valid[t - back][event[i].row] = 0;
            else w->n_cut_short++;
        }
    }
}

static void check_batch(witness *w, const sk_batch *b) {
    int   rows = b->shape.n_rows, n_episodes = 0;
    float constants[2][8], bootstrap[ROWS_MAX];
    sk_normalizer_constants(sk_policy_normalizer(w->rig->policy), constants[0], constants[1]);
    sk_inference_set_normalizer(w->inference, constants[0], constants[1]);
    for (int t = 0; t < FRAGMENT; t++) {
        check_start(w, b, t);
        check_action(w, b, t);
        step_again(w, b, t);
        for (int r = 0; r < rows; r++) {
            int i = t * rows + r;
            same_floats(&b->reward[i], &w->reward[r], 1, "reward", t);
            cr_assert(b->terminated[i] == w->terminated[r] && b->truncated[i] == w->truncated[r], "ends of step %d", t);
            check_final_value(w, b, t, r);
        }
        check_episodes(w, b, t, &n_episodes);
    }
    check_start(w, b, FRAGMENT);
    cr_assert_eq(n_episodes, b->fragment[0].n_episodes);
    sk_inference_value(w->inference, w->obs, rows, bootstrap);
    same_floats(b->bootstrap, bootstrap, rows, "bootstrap", FRAGMENT);
    for (int t = 0; t < FRAGMENT; t++)
        for (int r = 0; r < rows; r++)
            cr_assert_eq(b->valid[t * rows + r], w->valid[t][r], "valid of step %d, row %d: %d", t, r,
                         b->valid[t * rows + r]);
    w->step += FRAGMENT;
}

/* Everything in some batches, the policy changing between them. */
static witness watch(const char *yaml) {
    rig     r;
    witness w;
    rig_open(&r, yaml, 1);
    witness_open(&w, &r);
    for (int i = 0; i < N_BATCHES; i++) {
        const sk_batch *b = rig_next(&r);
        check_batch(&w, b);
        for (size_t k = 0; k < sk_policy_n_floats(r.policy); k++) sk_policy_params(r.policy)[k] *= 1.1f;
        sk_normalizer_update(sk_policy_normalizer(r.policy), b->obs, b->valid, FRAGMENT * b->shape.n_rows);
        sk_policy_set_version(r.policy, i + 1);
    }
    cr_assert_gt(w.n_ends, 10, "the test needs ends");
    witness_close(&w);
    rig_close(&r);
    return w;
}

static const char filter[] = "observation_filter: MeanStdFilter", none[] = "observation_filter: NoFilter";

Test(runner, writes_what_happened_on_cartpole) {
    witness w = watch(yaml_of("{name: CartPole-v1, max_episode_steps: 20}", 5, filter));
    cr_assert_gt(w.n_truncated, 2);
    watch(yaml_of("CartPole-v1", 5, none));
}
Test(runner, writes_what_happened_on_pendulum) {
    witness w = watch(yaml_of("{name: Pendulum-v1, max_episode_steps: 13}", 3, filter));
    cr_assert_eq(w.n_truncated, w.n_ends);
}
Test(runner, writes_what_happened_with_masks_and_several_choices) {
    witness w = watch(yaml_of(drill("mask: 1, kind: 1, end: 10, cut: 12"), 6, filter));
    cr_assert(w.n_truncated > 3 && w.n_both > 0 && w.n_dropped == 0, "%d %d %d", w.n_truncated, w.n_both, w.n_dropped);
}
Test(runner, writes_what_happened_with_agents_that_end_by_themselves) {
    watch(yaml_of(drill("agents: 3, end: 10, cut: 15"), 4, filter));
}
Test(runner, writes_what_happened_with_agents_that_take_turns) {
    witness w = watch(yaml_of(drill("agents: 3, turns: 1, end: 2, cut: 10"), 4, filter));
    cr_assert_gt(w.n_sat_out, 5, "no agent sat out the step in which the clock cut its episode");
}
Test(runner, takes_all_steps_of_a_dropped_episode_out) {
    witness w = watch(yaml_of(drill("end: 6, nan: 5"), 8, filter));
    cr_assert_gt(w.n_dropped, 10);
    cr_assert_gt(w.n_cut_short, 0, "no dropped episode began in an earlier batch");
    w = watch(yaml_of(drill("agents: 2, mask: 1, end: 6, nan: 5, cut: 9"), 6, filter));
    cr_assert_gt(w.n_dropped, 10);
}

/* ---- arguments ---- */

typedef struct argument {
    sk_runner_arg head;
    char          text[512];
} argument;

/* What a stream would hand over, with blocks of its own. */
static argument make_argument(const rig *r, sk_block **batch, sk_block **weights) {
    argument       a = {0};
    char          *text = NULL;
    sk_batch_shape shape = sk_stream_shape(r->stream);
    size_t         n_floats = sk_policy_n_floats(r->policy);
    cr_assert_eq(sk_block_create(sk_batch_bytes(&shape), batch, NULL), SK_OK);
    cr_assert_eq(sk_block_create(sk_weights_bytes(n_floats, shape.obs_dim, shape.n_fragments), weights, NULL), SK_OK);
    cr_assert_eq(sk__env_text_encode(&r->setup.config, &text, NULL), SK_OK);
    a.head = (sk_runner_arg){.batch_ref = sk_block_get_ref(*batch), .weights_ref = sk_block_get_ref(*weights),
                             .shape = shape, .spaces = r->setup.spaces, .model = r->setup.config.model,
                             .n_envs = 2, .n_total_envs = 2, .n_floats = (int64_t)n_floats};
    cr_assert_lt(strlen(text), sizeof a.text);
    memcpy(a.text, text, strlen(text));
    free(text);
    return a;
}
/* In this thread; the first `n_args` of the two arguments, the head as `head_size` bytes. */
static sk_status create_runner(const rig *r, const argument *a, size_t head_size, int n_args, sk_actor *ret_actor,
                               sk_error *e) {
    sk_arg          args[2] = {sk_by_value(&a->head, head_size), sk_by_value(a->text, strlen(a->text))};
    sk_actor_params p = {.class_name = "runner", .placement = SK_PLACE_INLINE, .args = args, .n_args = n_args};
    *e = (sk_error){0};
    SK_TRY(sk_actor_create(r->runtime, &p, ret_actor, e));
    return sk_actor_wait(r->runtime, *ret_actor, 0, e);
}
static sk_status try_runner(const rig *r, const argument *a, sk_error *e) {
    sk_actor  actor = {0};
    sk_status status = create_runner(r, a, sizeof a->head, 2, &actor, e);
    if (actor.id) sk_actor_join(r->runtime, &actor, 1, 0);
    return status;
}
static sk_status call_runner(const rig *r, sk_actor actor, int method, const void *in, size_t size, sk_error *e) {
    sk_arg    arg = sk_by_value(in, size);
    sk_method m = {.method = method, .args = &arg, .n_args = in != NULL};
    sk_ref    answer = {0};
    SK_TRY(sk_actor_call(r->runtime, actor, &m, &answer, e));
    sk_status status = sk_get(r->runtime, answer, 0, NULL, e);
    sk_release(r->runtime, &answer);
    return status;
}

Test(runner, refuses_arguments_that_do_not_fit) {
    rig       r;
    sk_block *batch = NULL, *weights = NULL;
    sk_error  e;
    rig_open(&r, yaml_of("CartPole-v1", 2, none), 0);
    const argument good = make_argument(&r, &batch, &weights);
    argument       a = good;
    cr_assert_eq(try_runner(&r, &a, &e), SK_OK, "%s", e.msg);
#define REFUSES(change, wanted)                                                                                        \
    do {                                                                                                               \
        a = good;                                                                                                      \
        change;                                                                                                        \
        cr_assert_eq(try_runner(&r, &a, &e), wanted, "%s: %s", #change, e.msg);                                        \
    } while (0)
    REFUSES(a.head.n_envs = 3, SK_EINVAL);
    REFUSES(a.head.n_envs = 0, SK_EINVAL);
    REFUSES(a.head.first_env = 1, SK_EINVAL);
    REFUSES(a.head.first_env = -1, SK_EINVAL);
    REFUSES(a.head.runner = 1, SK_EINVAL);
    REFUSES(a.head.runner = -1, SK_EINVAL);
    REFUSES(a.head.shape.n_steps++, SK_EVERSION);
    REFUSES(a.head.shape.n_rows = -1, SK_EVERSION);
    REFUSES(a.head.n_floats += 16, SK_EVERSION);
    REFUSES(a.head.n_floats = -1, SK_EVERSION);
    REFUSES(a.head.batch_ref.id++, SK_ENOTFOUND);
    REFUSES(a.head.model.fcnet_hiddens.v[0] = 24, SK_EINVAL);
    REFUSES(a.text[0] = '?', SK_ECORRUPT);
    REFUSES(memcpy(strstr(a.text, "CartPole"), "CartWheel", 8), SK_ENOTFOUND);
    sk_actor actor;
    cr_assert_eq(create_runner(&r, &good, sizeof good.head - 1, 2, &actor, &e), SK_EVERSION);
    cr_assert_eq(create_runner(&r, &good, sizeof good.head, 1, &actor, &e), SK_ECORRUPT);
    cr_assert_eq(create_runner(&r, &good, sizeof good.head, 0, &actor, &e), SK_EVERSION);
    sk_block_destroy(&batch);
    sk_block_destroy(&weights);
    rig_close(&r);
}

Test(runner, refuses_calls_that_do_not_fit) {
    rig       r;
    sk_block *batch = NULL, *weights = NULL;
    sk_error  e;
    sk_actor  actor = {0};
    rig_open(&r, yaml_of("CartPole-v1", 2, none), 0);
    argument a = make_argument(&r, &batch, &weights);
    cr_assert_eq(create_runner(&r, &a, sizeof a.head, 2, &actor, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(call_runner(&r, actor, SK_RUNNER_SAMPLE, "abc", 3, &e), SK_EVERSION);
    cr_assert_eq(call_runner(&r, actor, SK_RUNNER_SAMPLE, NULL, 0, &e), SK_EVERSION);
    cr_assert_eq(call_runner(&r, actor, SK_RUNNER_LOAD, "abc", 3, &e), SK_ECORRUPT);
    cr_assert_eq(call_runner(&r, actor, SK_RUNNER_LOAD, NULL, 0, &e), SK_ECORRUPT);
    cr_assert_eq(call_runner(&r, actor, 7, NULL, 0, &e), SK_EINVAL);
    sk_sample_in in = {0};
    cr_assert_eq(call_runner(&r, actor, SK_RUNNER_SAMPLE, &in, sizeof in, &e), SK_OK, "%s", e.msg);
    sk_actor_join(r.runtime, &actor, 1, 0);
    sk_runner_class.destroy(NULL);
    sk_block_destroy(&batch);
    sk_block_destroy(&weights);
    rig_close(&r);
}

/* ---- restarts ---- */

/* What the learner has in its hands stays as it is while a runner is made anew, and the state of the last boundary
 * makes the next fragment what it would have been. */
Test(runner, made_anew_writes_nothing_before_it_samples_and_then_the_same) {
    rig       r;
    sk_block *batch = NULL, *weights = NULL;
    sk_error  e;
    sk_actor  first = {0}, second = {0};
    rig_open(&r, yaml_of("CartPole-v1", 2, none), 0);
    argument       a = make_argument(&r, &batch, &weights);
    sk_batch_shape shape = a.head.shape;
    sk_weights     w;
    sk_weights_map(sk_block_data(weights), (size_t)a.head.n_floats, shape.obs_dim, &w);
    memcpy(w.params, sk_policy_params(r.policy), (size_t)a.head.n_floats * sizeof(float));
    for (int i = 0; i < shape.obs_dim; i++) w.obs_inv_std[i] = 1.0f;
    size_t size = sk_batch_bytes(&shape);
    void  *before = malloc(size), *wanted = malloc(size);
    cr_assert_eq(create_runner(&r, &a, sizeof a.head, 2, &first, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(call_runner(&r, first, SK_RUNNER_SAMPLE, &(sk_sample_in){0}, sizeof(sk_sample_in), &e), SK_OK);
    memcpy(before, sk_block_data(batch), size);

    sk_method save = {.method = SK_RUNNER_SAVE};
    sk_ref    state = {0};
    sk_bytes  bytes;
    cr_assert_eq(sk_actor_call(r.runtime, first, &save, &state, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_get(r.runtime, state, 0, &bytes, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(create_runner(&r, &a, sizeof a.head, 2, &second, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(call_runner(&r, second, SK_RUNNER_LOAD, bytes.data, bytes.size, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(memcmp(before, sk_block_data(batch), size), 0, "it wrote into the learner's block");
    cr_assert_eq(atomic_load(&w.n_made[0]), 2);

    sk_sample_in next = {.first_step = FRAGMENT};
    sk_batch     b;
    sk_batch_map(&shape, sk_block_data(batch), &b);
    cr_assert_eq(call_runner(&r, first, SK_RUNNER_SAMPLE, &next, sizeof next, &e), SK_OK);
    cr_assert_eq(b.fragment[0].n_made, 1);
    b.fragment[0].env_s = b.fragment[0].inference_s = 0; /* times are not the same */
    memcpy(wanted, sk_block_data(batch), size);
    cr_assert_neq(memcmp(wanted, before, size), 0);
    cr_assert_eq(call_runner(&r, second, SK_RUNNER_SAMPLE, &next, sizeof next, &e), SK_OK);
    cr_assert_eq(b.fragment[0].n_made, 2);
    b.fragment[0].env_s = b.fragment[0].inference_s = 0;
    b.fragment[0].n_made = 1;
    cr_assert_eq(memcmp(wanted, sk_block_data(batch), size), 0);
    free(before), free(wanted);
    sk_release(r.runtime, &state);
    sk_actor_join(r.runtime, (sk_actor[]){first, second}, 2, 0);
    sk_block_destroy(&batch);
    sk_block_destroy(&weights);
    rig_close(&r);
}
