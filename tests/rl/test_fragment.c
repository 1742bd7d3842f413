/* Fragments of remote runners: dealt out they are what a runner in place would have written, to the last bit; and of
 * bytes that are not such a fragment nothing is believed and nothing written. */
#include "nn/cpu/kernels.h"
#include "rl/fragment.h"
#include "rl/runner.h"
#include "rl/runner_arg.h"
#include "tests/rl/rig.h"

#include <math.h>

enum { N_ENVS = 6, FRAGMENT = 29, N_BATCHES = 3 };

static const char *yaml_of(const char *env, const char *more) {
    return rig_text("algorithm: ppo\nenv: %s\nseed: 21\n"
                    "env_runners: {num_env_runners: 0, num_envs_per_env_runner: %d, rollout_fragment_length: %d,\n"
                    "  observation_filter: MeanStdFilter, on_invalid: drop%s}\nmodel: {fcnet_hiddens: [16, 16]}\n"
                    "stop: {training_iteration: 1}\n",
                    env, N_ENVS, FRAGMENT, more);
}
static const char *drill(const char *name, const char *config) {
    return rig_text("{plugin: %s, name: %s, config: {%s}}", rig_plugin("drill"), name, config);
}
static const char cartpole[] = "{name: CartPole-v1, max_episode_steps: 23}";

/* ---- runners as a stream makes them for other hosts, here in this thread ---- */

typedef struct remote {
    rig          *rig;
    sk_runner_arg arg;
    sk_actor      actor;
} remote;

static sk_status try_remote(rig *r, const sk_runner_arg *arg, sk_actor *ret_actor, sk_error *e) {
    char           *text = NULL;
    cr_assert_eq(sk__env_text_encode(&r->setup.config, &text, e), SK_OK, "%s", e->msg);
    sk_arg          args[2] = {sk_by_value(arg, sizeof *arg), sk_by_value(text, strlen(text))};
    sk_actor_params p = {.class_name = "runner", .placement = SK_PLACE_INLINE, .args = args, .n_args = 2};
    sk_status       status = sk_actor_create(r->runtime, &p, ret_actor, e);
    free(text);
    return status == SK_OK ? sk_actor_wait(r->runtime, *ret_actor, 0, e) : status;
}
static sk_runner_arg argument_of(const rig *r, int i, int n_runners) {
    int           first = i * N_ENVS / n_runners, end = (i + 1) * N_ENVS / n_runners;
    sk_runner_arg arg = {.shape = sk_stream_shape(r->stream), .spaces = r->setup.spaces, .model = r->setup.config.model,
                         .filter = (int32_t)sk_policy_filter(r->policy), .on_invalid = SK_INVALID_DROP, .remote = 1,
                         .keep_state = 1, .runner = i, .n_envs = end - first, .first_env = first,
                         .n_total_envs = N_ENVS, .seed = 21, .n_floats = (int64_t)sk_policy_n_floats(r->policy)};
    arg.shape.n_fragments = n_runners;
    snprintf(arg.isa, sizeof arg.isa, "%s", sk_kernels_get()->level);
    return arg;
}
static void remote_open(remote *self, rig *r, int i, int n_runners) {
    sk_error e = {0};
    *self = (remote){.rig = r, .arg = argument_of(r, i, n_runners)};
    cr_assert_eq(try_remote(r, &self->arg, &self->actor, &e), SK_OK, "%s", e.msg);
}
static void remote_close(remote *self) { sk_actor_join(self->rig->runtime, &self->actor, 1, 0); }

static sk_sample_in sample_in(const rig *r, int64_t step) {
    return (sk_sample_in){.policy_version = sk_policy_version(r->policy), .first_step = step};
}
static sk_status try_sample(remote *self, const sk_sample_in *in, const void *weights, size_t size, sk_ref *ret_answer,
                            sk_error *e) {
    sk_arg    args[2] = {sk_by_value(in, sizeof *in), sk_by_value(weights, size)};
    sk_method m = {.method = SK_RUNNER_SAMPLE, .args = args, .n_args = weights ? 2 : 1};
    sk_status status = sk_actor_call(self->rig->runtime, self->actor, &m, ret_answer, e);
    return status == SK_OK ? sk_get(self->rig->runtime, *ret_answer, 0, NULL, e) : status;
}
/* What travels: parameters and statistics as they are now. The caller frees. */
static void *weights_of(const rig *r, size_t *ret_size) {
    size_t     n = sk_policy_n_floats(r->policy);
    int        obs_dim = r->setup.spaces.obs_dim;
    sk_weights w;
    *ret_size = sk_weights_bytes(n, obs_dim, 0);
    void *memory = calloc(1, *ret_size);
    sk_weights_map(memory, n, obs_dim, &w);
    memcpy(w.params, sk_policy_params(r->policy), n * sizeof(float));
    sk_normalizer_constants(sk_policy_normalizer(r->policy), w.obs_mean, w.obs_inv_std);
    return memory;
}
/* The answer, copied; the caller frees. */
static void *sample(remote *self, int64_t step, size_t *ret_size) {
    sk_error     e = {0};
    sk_ref       answer = {0};
    sk_bytes     bytes = {0};
    size_t       size;
    void        *weights = weights_of(self->rig, &size);
    sk_sample_in in = sample_in(self->rig, step);
    cr_assert_eq(try_sample(self, &in, weights, size, &answer, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk_get(self->rig->runtime, answer, 0, &bytes, &e), SK_OK, "%s", e.msg);
    void *copy = malloc(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    *ret_size = bytes.size;
    sk_release(self->rig->runtime, &answer);
    free(weights);
    return copy;
}

static sk_fragment_wanted wanted_of(const remote *self, int64_t step) {
    int agents = sk_env_info_get(self->rig->setup.env)->n_agents;
    return (sk_fragment_wanted){.spaces = &self->rig->setup.spaces,
                                .policy_version = sk_policy_version(self->rig->policy), .first_step = step,
                                .env_seed = 21, .runner = self->arg.runner,
                                .first_row = (int)self->arg.first_env * agents, .n_rows = self->arg.n_envs * agents};
}

/* A learner's block, filled with what no fragment holds. */
typedef struct block {
    sk_batch b;
    void    *memory;
    size_t   bytes;
} block;
static block block_of(const sk_batch_shape *shape) {
    block w = {.bytes = sk_batch_bytes(shape)};
    w.memory = aligned_alloc(64, (w.bytes + 63) / 64 * 64);
    memset(w.memory, 0xa5, w.bytes);
    sk_batch_map(shape, w.memory, &w.b);
    return w;
}

static void same(const void *got, const void *wanted, size_t bytes, const char *what) {
    cr_assert(bytes == 0 || memcmp(got, wanted, bytes) == 0, "%s differs", what);
}
static void same_batch(const sk_batch *a, const sk_batch *b, const char *who) {
    const sk_batch_shape *s = &a->shape;
    size_t rows = (size_t)s->n_rows, n = rows * (size_t)s->n_steps, obs = (size_t)s->obs_dim * 4;
#define SAME(column, bytes) same(a->column, b->column, bytes, rig_text("%s: %s", who, #column))
    SAME(obs, (n + rows) * obs);
    SAME(mask, (n + rows) * (size_t)s->mask_size * 4);
    SAME(action, n * (size_t)s->action_slots * 4);
    SAME(logp, n * 4);
    SAME(value, n * 4);
    SAME(reward, n * 4);
    SAME(final_value, n * 4);
    SAME(bootstrap, rows * 4);
    SAME(terminated, n);
    SAME(truncated, n);
    SAME(valid, n);
    for (size_t i = 0; i < n; i++) /* elsewhere that column means nothing */
        if (a->terminated[i] || a->truncated[i])
            same(a->final_obs + i * (size_t)s->obs_dim, b->final_obs + i * (size_t)s->obs_dim, obs, "final_obs");
}
/* Each episode of `one` (which is all in one list) is in one of the lists of `many`. */
static int same_episodes(const sk_batch *many, const sk_batch *one) {
    int n = 0, n_steps = one->shape.n_steps;
    for (int f = 0; f < many->shape.n_fragments; f++)
        for (int i = 0; i < many->fragment[f].n_episodes; i++, n++) {
            const sk_batch_episode *ep = &many->episode[n_steps * many->fragment[f].first_row + i];
            int                     found = 0;
            for (int k = 0; k < one->fragment[0].n_episodes; k++)
                found += memcmp(ep, &one->episode[k], sizeof *ep) == 0;
            cr_assert_eq(found, 1, "episode of row %d at step %d", ep->row, ep->step);
        }
    cr_assert_eq(n, one->fragment[0].n_episodes);
    return n;
}

static void change_policy(rig *r, const sk_batch *b) {
    float *params = sk_policy_params(r->policy);
    for (size_t i = 0; i < sk_policy_n_floats(r->policy); i++) params[i] *= 1.03f;
    sk_normalizer_update(sk_policy_normalizer(r->policy), b->obs, b->valid, FRAGMENT * b->shape.n_rows);
    sk_policy_set_version(r->policy, sk_policy_version(r->policy) + 1);
}

/* Some batches by the stream in place and by n_runners that share nothing with it. */
static void are_the_same_batches(const char *env, int n_runners) {
    rig    r;
    remote runner[N_ENVS];
    int    n_episodes = 0;
    rig_open(&r, yaml_of(env, ""), 1);
    for (int i = 0; i < n_runners; i++) remote_open(&runner[i], &r, i, n_runners);
    block whole = block_of(&runner[0].arg.shape);
    for (int k = 0; k < N_BATCHES; k++) {
        int64_t step = sk_stream_step(r.stream);
        for (int i = 0; i < n_runners; i++) {
            size_t             size;
            sk_error           e = {0};
            sk_fragment_wanted wanted = wanted_of(&runner[i], step);
            void              *bytes = sample(&runner[i], step, &size);
            cr_assert_eq(sk_fragment_scatter(&wanted, (sk_bytes){bytes, size}, &whole.b, &e), SK_OK, "%s", e.msg);
            const sk_fragment *head = &whole.b.fragment[i];
            cr_assert(head->layout_hash == sk_batch_hash(&whole.b.shape) && head->n_made == 1 && head->runner == i);
            cr_assert(head->first_row == wanted.first_row && head->n_rows == wanted.n_rows);
            free(bytes);
        }
        const sk_batch *b = rig_next(&r);
        same_batch(&whole.b, b, rig_text("%s, batch %d", env, k));
        n_episodes += same_episodes(&whole.b, b);
        change_policy(&r, b);
    }
    cr_assert_gt(n_episodes, 10, "the test needs ends");
    for (int i = 0; i < n_runners; i++) remote_close(&runner[i]);
    free(whole.memory);
    rig_close(&r);
}
Test(fragment, dealt_out_is_what_a_runner_in_place_would_have_written) {
    are_the_same_batches(cartpole, 1);
    are_the_same_batches(cartpole, 4);
    are_the_same_batches("{name: Pendulum-v1, max_episode_steps: 7}", 2);
    are_the_same_batches(drill("Drill-v0", "mask: 1, agents: 2, end: 6, cut: 19, nan: 5"), 4);
    are_the_same_batches(drill("Drill-v0", "kind: 1, mask: 1, end: 9"), 3);
}

/* ---- what is no fragment ---- */

typedef struct damage {
    rig                r;
    remote             runner;
    sk_fragment_wanted wanted;
    block              whole;
    unsigned char     *good, *bad, *before;
    size_t             size;
    sk_batch           at; /* the block in `bad` */
} damage;

static void damage_open(damage *d, const char *env) {
    rig_open(&d->r, yaml_of(env, ""), 1);
    remote_open(&d->runner, &d->r, 1, 2);
    d->good = sample(&d->runner, 0, &d->size);
    d->wanted = wanted_of(&d->runner, 0);
    d->whole = block_of(&d->runner.arg.shape);
    d->bad = malloc(d->size + 64);
    d->before = malloc(d->whole.bytes);
    memcpy(d->before, d->whole.memory, d->whole.bytes);
    sk_batch_shape own = sk_fragment_shape(&d->runner.arg.shape, d->wanted.n_rows);
    sk_batch_map(&own, d->bad, &d->at);
}
static void damage_close(damage *d) {
    free(d->good), free(d->bad), free(d->before), free(d->whole.memory);
    remote_close(&d->runner);
    rig_close(&d->r);
}
static sk_status scatter(damage *d, size_t size, sk_error *e) {
    void     *exact = malloc(size ? size : 1); /* a sanitizer sees a look beyond it */
    *e = (sk_error){0};
    if (size) memcpy(exact, d->bad, size);
    sk_status status = sk_fragment_scatter(&d->wanted, (sk_bytes){exact, size}, &d->whole.b, e);
    free(exact);
    return status;
}
static void is_refused(damage *d, size_t size, const char *what, const char *part) {
    sk_error e;
    cr_assert_eq(scatter(d, size, &e), SK_ECORRUPT, "%s was taken", what);
    rig_has(e.msg, "runner-1 sent a fragment that is none");
    rig_has(e.msg, part);
    cr_assert_eq(memcmp(d->before, d->whole.memory, d->whole.bytes), 0, "%s: something was written", what);
}
#define REFUSES(change, part)                                                                                          \
    do {                                                                                                               \
        memcpy(d.bad, d.good, d.size);                                                                                 \
        change;                                                                                                        \
        is_refused(&d, d.size, #change, part);                                                                         \
    } while (0)

Test(fragment, of_another_size_is_refused) {
    damage d;
    damage_open(&d, cartpole);
    memcpy(d.bad, d.good, d.size);
    memset(d.bad + d.size, 0, 64);
    for (size_t size = 0; size < d.size; size += size < sizeof(sk_fragment) ? 1 : 97)
        is_refused(&d, size, "less", "bytes");
    is_refused(&d, d.size - 1, "a byte less", "bytes");
    is_refused(&d, d.size + 1, "a byte more", "bytes");
    is_refused(&d, d.size + sizeof(sk_batch_episode), "an episode more", "bytes");
    damage_close(&d);
}

Test(fragment, of_another_layout_policy_step_or_runner_is_refused) {
    damage d;
    damage_open(&d, cartpole);
    REFUSES(d.at.fragment->layout_hash++, "layout");
    REFUSES(d.at.fragment->layout_hash = sk_batch_hash(&d.whole.b.shape), "layout");
    REFUSES(d.at.fragment->policy_version++, "policy 1 at step 0, wanted policy 0 at step 0");
    REFUSES(d.at.fragment->first_step = -3, "policy 0 at step -3, wanted policy 0 at step 0");
    REFUSES(d.at.fragment->runner = 0, "runner-0");
    REFUSES(d.at.fragment->first_row = 0, "rows 0");
    REFUSES(d.at.fragment->first_row = INT32_MAX, "rows");
    REFUSES(d.at.fragment->n_rows++, "rows");
    REFUSES(d.at.fragment->env_seed++, "runner-1");
    REFUSES(d.at.fragment->n_episodes++, "episodes");
    REFUSES(d.at.fragment->n_episodes--, "episodes");
    REFUSES(d.at.fragment->n_episodes = -1, "episodes");
    REFUSES(d.at.fragment->n_episodes = INT32_MAX, "episodes");
    REFUSES(d.at.fragment->n_made = 0, "made 0 times");
    REFUSES(d.at.fragment->env_s = NAN, "nan s in environments");
    REFUSES(d.at.fragment->inference_s = -1.0, "s in the policy");
    REFUSES(d.at.fragment->inference_s = INFINITY, "s in the policy");
    damage_close(&d);
}

Test(fragment, with_episodes_elsewhere_or_in_disorder_is_refused) {
    damage d;
    damage_open(&d, cartpole);
    memcpy(d.bad, d.good, d.size);
    cr_assert_gt(d.at.fragment->n_episodes, 2, "the test needs episodes");
    sk_batch_episode *ep = d.at.episode;
    REFUSES(ep[0].step = -1, "episode 0");
    REFUSES(ep[0].step = FRAGMENT, "episode 0");
    REFUSES(ep[1].step = INT32_MIN, "episode 1");
    REFUSES(ep[0].row = d.wanted.first_row - 1, "episode 0");
    REFUSES(ep[0].row = d.wanted.first_row + d.wanted.n_rows, "episode 0");
    REFUSES(ep[0].row = INT32_MIN, "episode 0");
    REFUSES(ep[0].length = 0, "length 0");
    REFUSES(ep[0].valid = 2, "valid 2");
    REFUSES(ep[0].ret = NAN, "return nan");
    REFUSES(ep[0].ret = -INFINITY, "return -inf");
    REFUSES(ep[1] = ep[0], "out of order");
    REFUSES(sk_batch_episode first = ep[0]; ep[0] = ep[1]; ep[1] = first, "out of order");
    damage_close(&d);
}

Test(fragment, with_what_no_environment_gives_is_refused) {
    damage d;
    size_t last = (size_t)FRAGMENT * 3 - 1;
    damage_open(&d, cartpole);
    REFUSES(d.at.obs[0] = NAN, "observation");
    REFUSES(d.at.obs[(last + 3) * 4 + 3] = INFINITY, "observation");
    REFUSES(d.at.final_obs[last * 4] = NAN, "final observation");
    REFUSES(d.at.reward[last] = -INFINITY, "reward");
    REFUSES(d.at.terminated[last] = 2, "terminated");
    REFUSES(d.at.truncated[0] = 255, "truncated");
    REFUSES(d.at.valid[last] = 128, "valid");
    damage_close(&d);
}

Test(fragment, with_an_action_that_does_not_exist_is_refused) {
    damage d;
    size_t last = (size_t)FRAGMENT * 3 - 1;
    damage_open(&d, cartpole);
    REFUSES(d.at.action[last].i = 2, "action");
    REFUSES(d.at.action[0].i = -1, "action");
    REFUSES(d.at.action[0].i = INT32_MIN, "action");
    damage_close(&d);
    damage_open(&d, "Pendulum-v1");
    REFUSES(d.at.action[last].f = NAN, "action");
    damage_close(&d);
    damage_open(&d, drill("Drill-v0", "kind: 1, mask: 1, end: 9"));
    REFUSES(d.at.mask[0] = NAN, "mask");
    REFUSES(d.at.mask[5] = -1.0f, "mask");
    REFUSES(d.at.mask[5] = 1e30f, "mask");
    damage_close(&d);
}

Test(fragment, of_a_policy_gone_wrong_passes_as_it_does_in_place) {
    damage   d;
    sk_error e;
    damage_open(&d, cartpole);
    memcpy(d.bad, d.good, d.size);
    d.at.logp[3] = NAN, d.at.value[4] = INFINITY, d.at.final_value[5] = NAN, d.at.bootstrap[1] = NAN;
    cr_assert_eq(scatter(&d, d.size, &e), SK_OK, "%s", e.msg);
    size_t row = (size_t)d.wanted.first_row, rows = (size_t)d.whole.b.shape.n_rows;
    cr_assert(isnan(d.whole.b.logp[rows + row]) && isinf(d.whole.b.value[rows + row + 1]) &&
              isnan(d.whole.b.final_value[rows + row + 2]) && isnan(d.whole.b.bootstrap[row + 1]));
    damage_close(&d);
}

/* ---- remote runners ---- */

Test(remote_runner, refuses_weights_of_another_size_and_none) {
    rig          r;
    remote       runner;
    sk_error     e = {0};
    sk_ref       answer = {0};
    size_t       size;
    rig_open(&r, yaml_of(cartpole, ""), 1);
    remote_open(&runner, &r, 0, 2);
    void        *weights = weights_of(&r, &size);
    sk_sample_in in = sample_in(&r, 0);
    cr_assert_eq(try_sample(&runner, &in, weights, size - 4, &answer, &e), SK_EVERSION);
    rig_has(e.msg, rig_text("weights of %zu bytes, wanted %zu", size - 4, size));
    sk_release(r.runtime, &answer);
    cr_assert_eq(try_sample(&runner, &in, NULL, 0, &answer, &e), SK_EVERSION);
    sk_release(r.runtime, &answer);
    cr_assert_eq(try_sample(&runner, &in, weights, size, &answer, &e), SK_OK, "%s", e.msg);
    sk_release(r.runtime, &answer);
    free(weights);
    remote_close(&runner);
    rig_close(&r);
}

Test(remote_runner, on_a_host_that_computes_otherwise_is_refused_with_both) {
    rig           r;
    sk_error      e = {0};
    sk_actor      actor = {0};
    char          host[65] = "";
    rig_open(&r, yaml_of(cartpole, ""), 1);
    sk_runner_arg arg = argument_of(&r, 0, 1);
    memset(arg.isa, 0, sizeof arg.isa);
    memcpy(arg.isa, "x86-64-v9", 9);
    cr_assert_eq(try_remote(&r, &arg, &actor, &e), SK_EUNSUPPORTED);
    gethostname(host, sizeof host - 1);
    rig_has(e.msg, rig_text("host %s", host));
    rig_has(e.msg, rig_text("computes with %s and the head with x86-64-v9", sk_kernels_get()->level));
    memset(arg.isa, 'x', sizeof arg.isa); /* without an end */
    cr_assert_eq(try_remote(&r, &arg, &actor, &e), SK_EUNSUPPORTED);
    rig_close(&r);
}

Test(remote_runner, with_another_plugin_or_none_is_refused_with_both) {
    rig        r;
    sk_error   e = {0};
    sk_env    *env = NULL;
    char      *folder = rig_folder(), *text = NULL, copy[256];
    snprintf(copy, sizeof copy, "%s/drill.so", folder);
    rig_copy(rig_plugin("drill"), copy);
    rig_open(&r, yaml_of(rig_text("{plugin: %s, name: Drill-v0}", copy), ""), 1);
    cr_assert_eq(sk__env_text_encode(&r.setup.config, &text, &e), SK_OK, "%s", e.msg);
    cr_assert_eq(sk__env_text_open(text, strlen(text), &env, &e), SK_OK, "%s", e.msg);
    sk_env_destroy(&env);
    cr_assert_eq(remove(copy), 0);
    cr_assert_eq(sk__env_text_open(text, strlen(text), &env, &e), SK_ENOTFOUND);
    rig_has(e.msg, rig_text("plugin %s", copy));
    rig_has(e.msg, "has no such file");
    rig_copy(rig_plugin("mixed"), copy);
    cr_assert_eq(sk__env_text_open(text, strlen(text), &env, &e), SK_EVERSION);
    rig_has(e.msg, rig_text("plugin %s", copy));
    rig_has(e.msg, "has another one (");
    rig_has(e.msg, ") than the head (");
    free(text);
    rig_close(&r);
    rig_remove(&folder);
}

Test(remote_runner, with_another_model_is_refused) {
    sk_error        e = {0};
    sk_env         *env = NULL;
    char           *folder = rig_folder(), *text = NULL, path[256];
    snprintf(path, sizeof path, "%s/robot.xml", folder);
    rig_write(path, "<mujoco/>", 9);
    sk_train_config config = {.env = {.name = "mujoco", .plugin = "", .model = path, .frame_skip = 1}};
    cr_assert_eq(sk__env_text_encode(&config, &text, &e), SK_OK, "%s", e.msg);
    rig_write(path, "<mujoco />", 10);
    cr_assert_eq(sk__env_text_open(text, strlen(text), &env, &e), SK_EVERSION);
    rig_has(e.msg, rig_text("model %s", path));
    rig_has(e.msg, "has another one (");
    free(text);
    config.env.model = "/nowhere/robot.xml";
    cr_assert_eq(sk__env_text_encode(&config, &text, &e), SK_ENOTFOUND);
    rig_has(e.msg, "/nowhere/robot.xml");
    rig_remove(&folder);
}
