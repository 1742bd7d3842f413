/* The stream: the same batches wherever the runners are and however many there are, environments that move between
 * runners, and runners that fail. */
#include "tests/rl/rig.h"

enum { N_ENVS = 8, FRAGMENT = 40, N_BATCHES = 4 };

/* `env`: YAML; `runners` 0 = inline. 8 environments in all. */
static const char *yaml_of(const char *env, int runners, const char *placement) {
    return rig_text("algorithm: ppo\nenv: %s\nseed: 21\n"
                    "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: %d,\n"
                    "  placement: %s, observation_filter: MeanStdFilter, on_invalid: drop}\n"
                    "model: {fcnet_hiddens: [16, 16]}\n"
                    "stop: {training_iteration: 1}\n",
                    env, runners, N_ENVS / (runners ? runners : 1), FRAGMENT, placement);
}
static const char *drill(const char *name, const char *config) {
    return rig_text("{plugin: %s, name: %s, config: {%s}}", rig_plugin("drill"), name, config);
}

static const char cartpole[] = "{name: CartPole-v1, max_episode_steps: 23}";
static const char pendulum[] = "{name: Pendulum-v1, max_episode_steps: 17}";
#define CREW drill("Drill-v0", "mask: 1, agents: 2, end: 6, cut: 19, nan: 5")

/* What an algorithm does between two batches, without one. */
static void change_policy(rig *r, const sk_batch *b) {
    float *params = sk_policy_params(r->policy);
    for (size_t i = 0; i < sk_policy_n_floats(r->policy); i++) params[i] *= 1.03f;
    sk_normalizer_update(sk_policy_normalizer(r->policy), b->obs, b->valid, FRAGMENT * b->shape.n_rows);
    sk_policy_set_version(r->policy, sk_policy_version(r->policy) + 1);
}

/* ---- batches, kept and compared ---- */

enum { N_COLUMNS = 11 };
typedef struct column {
    const char *name;
    const void *data;
    size_t      bytes;
} column;

static void columns_of(const sk_batch *b, column c[N_COLUMNS]) {
    const sk_batch_shape *s = &b->shape;
    size_t                rows = (size_t)s->n_rows, n = rows * (size_t)s->n_steps, o = (size_t)s->obs_dim * 4;
    const column all[N_COLUMNS] = {{"obs", b->obs, (n + rows) * o},
                                   {"mask", b->mask, (n + rows) * (size_t)s->mask_size * 4},
                                   {"action", b->action, n * (size_t)s->action_slots * 4},
                                   {"logp", b->logp, n * 4},
                                   {"value", b->value, n * 4},
                                   {"reward", b->reward, n * 4},
                                   {"final_value", b->final_value, n * 4},
                                   {"bootstrap", b->bootstrap, rows * 4},
                                   {"terminated", b->terminated, n},
                                   {"truncated", b->truncated, n},
                                   {"valid", b->valid, n}};
    memcpy(c, all, sizeof all);
}

typedef struct kept { /* some batches of one stream, and what was counted meanwhile */
    sk_batch_shape    shape;
    void             *columns[N_BATCHES][N_COLUMNS];
    sk_metrics        metrics;
    sk_episode_window window;
    int               n_ends, n_invalid, n_episodes, n_dropped;
} kept;

static void keep(kept *k, int at, const sk_batch *b) {
    column c[N_COLUMNS];
    columns_of(b, c);
    k->shape = b->shape;
    for (int i = 0; i < N_COLUMNS; i++) {
        k->columns[at][i] = malloc(c[i].bytes + 1);
        if (c[i].bytes) memcpy(k->columns[at][i], c[i].data, c[i].bytes);
    }
    for (int i = 0; i < FRAGMENT * b->shape.n_rows; i++) {
        k->n_ends += b->terminated[i] || b->truncated[i];
        k->n_invalid += !b->valid[i];
    }
    for (int f = 0; f < b->shape.n_fragments; f++)
        for (int i = 0; i < b->fragment[f].n_episodes; i++) {
            int valid = b->episode[FRAGMENT * b->fragment[f].first_row + i].valid;
            k->n_episodes += valid;
            k->n_dropped += !valid;
        }
}
static void same_batch(const kept *k, int at, const sk_batch *b, const char *who) {
    column c[N_COLUMNS];
    columns_of(b, c);
    cr_assert_eq(b->shape.n_rows, k->shape.n_rows);
    for (int i = 0; i < N_COLUMNS; i++)
        cr_assert(c[i].bytes == 0 || memcmp(c[i].data, k->columns[at][i], c[i].bytes) == 0, "%s: batch %d: %s differs",
                  who, at, c[i].name);
}
static void kept_free(kept *k) {
    for (int at = 0; at < N_BATCHES; at++)
        for (int i = 0; i < N_COLUMNS; i++) free(k->columns[at][i]);
}

static void check_heads(const sk_batch *b, int64_t version, int64_t step) {
    int row = 0;
    for (int f = 0; f < b->shape.n_fragments; f++) {
        const sk_fragment *h = &b->fragment[f];
        cr_assert_eq(h->layout_hash, sk_batch_hash(&b->shape));
        cr_assert(h->policy_version == version && h->first_step == step, "policy %lld at %lld, wanted %lld at %lld",
                  (long long)h->policy_version, (long long)h->first_step, (long long)version, (long long)step);
        cr_assert(h->env_seed == 21 && h->runner == f && h->first_row == row && h->n_rows > 0);
        cr_assert(h->env_s > 0 && h->inference_s > 0);
        row += h->n_rows;
    }
    cr_assert_eq(row, b->shape.n_rows);
}

static void collect(kept *k, const char *yaml) {
    rig r;
    *k = (kept){0};
    rig_open(&r, yaml, 0);
    for (int i = 0; i < N_BATCHES; i++) {
        const sk_batch *b = rig_next(&r);
        check_heads(b, i, i * FRAGMENT);
        keep(k, i, b);
        change_policy(&r, b);
    }
    k->metrics = r.metrics;
    k->window = r.window;
    rig_close(&r);
}

static void same_counts(const kept *k, const rig *r) {
    static const sk_metric counts[] = {SK_METRIC_ENV_STEPS, SK_METRIC_EPISODES, SK_METRIC_EPISODES_DROPPED,
                                       SK_METRIC_RETURN_MEAN, SK_METRIC_RETURN_MAX, SK_METRIC_LEN_MEAN};
    cr_assert_eq(memcmp(&k->window, &r->window, sizeof r->window), 0, "episodes differ, or their order");
    for (int i = 0; i < SK_COUNT(counts); i++) {
        cr_assert_eq(k->metrics.present[counts[i]], r->metrics.present[counts[i]]);
        cr_assert_eq(k->metrics.value[counts[i]], r->metrics.value[counts[i]], "%s", sk_metric_names()[counts[i]]);
    }
}

static void same_batches_everywhere(const char *env, int wants_invalid) {
    static const struct {
        int         runners;
        const char *placement;
    } places[] = {{1, "thread"}, {2, "thread"}, {4, "thread"}, {2, "process"}, {4, "process"}};
    kept k;
    collect(&k, yaml_of(env, 0, "thread"));
    cr_assert_gt(k.n_ends, 20, "the test needs ends");
    cr_assert(!wants_invalid || k.n_invalid > 20, "the test needs dropped episodes");
    cr_assert_eq(k.metrics.value[SK_METRIC_ENV_STEPS], N_BATCHES * FRAGMENT * N_ENVS);
    cr_assert_eq(sk_metrics_get(&k.metrics, SK_METRIC_EPISODES, 0), k.n_episodes);
    cr_assert_eq(sk_metrics_get(&k.metrics, SK_METRIC_EPISODES_DROPPED, 0), k.n_dropped);
    for (int p = 0; p < SK_COUNT(places); p++) {
        rig         r;
        const char *who = rig_text("%d %s runners", places[p].runners, places[p].placement);
        rig_open(&r, yaml_of(env, places[p].runners, places[p].placement), 0);
        for (int i = 0; i < N_BATCHES; i++) {
            const sk_batch *b = rig_next(&r);
            cr_assert_eq(b->shape.n_fragments, places[p].runners);
            check_heads(b, i, i * FRAGMENT);
            same_batch(&k, i, b, who);
            change_policy(&r, b);
        }
        same_counts(&k, &r);
        rig_close(&r);
    }
    kept_free(&k);
}

Test(stream, gives_the_same_batches_everywhere_on_cartpole) { same_batches_everywhere(cartpole, 0); }
Test(stream, gives_the_same_batches_everywhere_on_pendulum) { same_batches_everywhere(pendulum, 0); }
Test(stream, gives_the_same_batches_everywhere_with_masks_agents_and_dropped_episodes) {
    same_batches_everywhere(CREW, 1);
}
Test(stream, gives_the_same_batches_everywhere_with_several_choices) {
    same_batches_everywhere(drill("Drill-v0", "kind: 1, mask: 1, end: 9"), 0);
}

Test(stream, deals_out_environments_that_do_not_divide_evenly) {
    rig r;
    rig_open(&r, "algorithm: ppo\nenv: CartPole-v1\nseed: 21\n"
                 "env_runners: {num_env_runners: 3, num_envs_per_env_runner: 1, rollout_fragment_length: 40}\n"
                 "stop: {training_iteration: 1}\n", 0);
    check_heads(rig_next(&r), 0, 0);
    cr_assert_eq(sk_stream_step(r.stream), 40);
    rig_close(&r);
}

/* ---- state ---- */

/* 3 batches, saved, 1 more; and the same one more from the saved bytes, with the environments dealt out anew. */
static void moves_house(const char *env, int runners, const char *placement) {
    rig    r, other;
    kept   k = {0};
    void  *bytes = NULL;
    size_t size = 0;
    int    complete = 0;
    rig_open(&r, yaml_of(env, 2, "thread"), 0);
    for (int i = 0; i < 3; i++) change_policy(&r, rig_next(&r));
    cr_assert_eq(sk_stream_save(r.stream, &bytes, &size, &complete, &r.error), SK_OK, "%s", r.error.msg);
    cr_assert(complete && size > 0 && size % N_ENVS == 0);

    rig_open(&other, yaml_of(env, runners, placement), 0);
    memcpy(sk_policy_params(other.policy), sk_policy_params(r.policy), sk_policy_n_floats(r.policy) * sizeof(float));
    sk_normalizer *from = sk_policy_normalizer(r.policy), *to = sk_policy_normalizer(other.policy);
    to->count = from->count;
    memcpy(to->mean, from->mean, 2 * (size_t)from->n * sizeof *from->mean);
    rig_next(&other); /* what it did before is forgotten */
    sk_policy_set_version(other.policy, 3);
    cr_assert_eq(sk_stream_load(other.stream, bytes, size, sk_stream_step(r.stream), &r.error), SK_OK, "%s",
                 r.error.msg);
    for (int i = 0; i < 2; i++) {
        const sk_batch *b = rig_next(&r);
        keep(&k, i, b);
        const sk_batch *b2 = rig_next(&other);
        check_heads(b2, 3 + i, (3 + i) * FRAGMENT);
        same_batch(&k, i, b2, placement);
        change_policy(&r, b);
        change_policy(&other, b2);
    }
    cr_assert_gt(k.n_ends, 10);

    /* saved again after the move: the very same bytes */
    void  *a = NULL, *b = NULL;
    size_t size_a = 0, size_b = 0;
    cr_assert_eq(sk_stream_save(r.stream, &a, &size_a, &complete, NULL), SK_OK);
    cr_assert_eq(sk_stream_save(other.stream, &b, &size_b, &complete, NULL), SK_OK);
    cr_assert(size_a == size && size_b == size && memcmp(a, b, size) == 0);
    free(a), free(b), free(bytes);
    kept_free(&k);
    rig_close(&other);
    rig_close(&r);
}

Test(stream_state, moves_to_other_runners_bit_for_bit) {
    moves_house(cartpole, 4, "thread");
    moves_house(cartpole, 1, "process");
    moves_house(pendulum, 4, "process");
    moves_house(pendulum, 0, "thread");
    moves_house(CREW, 4, "thread");
    moves_house(drill("Drill-v0", "kind: 1, mask: 1, end: 9"), 1, "thread");
}

Test(stream_state, of_an_environment_without_any_starts_anew) {
    const char *env = drill("Drillbit-v0", "end: 9");
    rig         r, other;
    kept        k = {0};
    void       *bytes = NULL;
    size_t      size = 0;
    int         complete = 1;
    rig_open(&r, yaml_of(env, 2, "thread"), 0);
    keep(&k, 0, rig_next(&r));
    cr_assert_eq(sk_stream_save(r.stream, &bytes, &size, &complete, &r.error), SK_OK, "%s", r.error.msg);
    cr_assert_eq(complete, 0);
    rig_open(&other, yaml_of(env, 4, "thread"), 0);
    cr_assert_eq(sk_stream_load(other.stream, bytes, size, sk_stream_step(r.stream), &r.error), SK_OK, "%s",
                 r.error.msg);
    const sk_batch *b = rig_next(&other);
    check_heads(b, 0, FRAGMENT);
    cr_assert_eq(memcmp(b->obs, k.columns[0][0], (size_t)b->shape.n_rows * 4 * sizeof(float)), 0, "another beginning");
    free(bytes);
    kept_free(&k);
    rig_close(&other);
    rig_close(&r);
}

Test(stream_state, refuses_what_is_not_its_own) {
    rig    r;
    void  *bytes = NULL;
    size_t size = 0;
    int    complete;
    rig_open(&r, yaml_of(cartpole, 2, "thread"), 0);
    rig_next(&r);
    cr_assert_eq(sk_stream_save(r.stream, &bytes, &size, &complete, NULL), SK_OK);
    cr_assert_eq(sk_stream_load(r.stream, bytes, size - 1, 0, &r.error), SK_ECORRUPT);
    rig_has(r.error.msg, "8 environments");
    cr_assert_eq(sk_stream_load(r.stream, bytes, size / 2, 0, &r.error), SK_ECORRUPT);
    cr_assert_eq(sk_stream_load(r.stream, bytes, 0, 0, &r.error), SK_ECORRUPT);
    size_t record = size / N_ENVS; /* two environments swapped */
    char  *swapped = malloc(size);
    memcpy(swapped, bytes, size);
    memcpy(swapped, (char *)bytes + record, record);
    cr_assert_eq(sk_stream_load(r.stream, swapped, size, 0, &r.error), SK_ECORRUPT);
    rig_has(r.error.msg, "environment 0");
    memcpy(swapped, bytes, size);
    memset(swapped + record, 0xff, record); /* damaged */
    cr_assert_eq(sk_stream_load(r.stream, swapped, size, 0, &r.error), SK_ECORRUPT);
    free(swapped);
    free(bytes);
    rig_close(&r);
}

/* ---- failures ---- */

static void tells_a_failure(int runners, const char *placement) {
    char stop[4096];
    rig  r;
    snprintf(stop, sizeof stop, "%s", yaml_of(drill("Drill-v0", "end: 2, nan: 5"), runners, placement));
    memcpy(strstr(stop, "on_invalid: drop"), "on_invalid: stop", 16);
    rig_open(&r, stop, 0);
    const sk_batch *b = NULL;
    cr_assert_eq(sk_source_next(sk_stream_source_of(r.stream), &b, &r.error), SK_EENV, "%s", r.error.msg);
    rig_has(r.error.msg, "runner-");
    rig_has(r.error.msg, "\"Drill-v0\", env ");
    rig_has(r.error.msg, "step 5");
    rig_has(r.error.msg, "\"seen[2]\" is nan");
    rig_close(&r);
}
Test(stream_failure, names_the_environment_that_gave_no_number) {
    tells_a_failure(0, "thread");
    tells_a_failure(2, "thread");
    tells_a_failure(2, "process");
}

Test(stream_failure, names_the_runner_that_cannot_start) {
    /* it is there when the driver looks, and gone when the runner does */
    rig    r;
    char  *folder = rig_folder();
    char   copy[256];
    snprintf(copy, sizeof copy, "%s/drill.so", folder);
    rig_copy(rig_plugin("drill"), copy);
    const char *env = rig_text("{plugin: %s, name: Drill-v0}", copy);
    rig_open(&r, yaml_of(env, 2, "process"), 0);
    sk_stream_destroy(&r.stream);
    cr_assert_eq(remove(copy), 0); /* not overwritten: this process has it mapped */
    rig_write(copy, "no library", 10);
    sk_stream_params p = {.runtime = r.runtime, .env = r.setup.env, .config = &r.setup.config, .policy = r.policy,
                          .metrics = &r.metrics, .window = &r.window};
    cr_assert_neq(sk_stream_create(&p, &r.stream, &r.error), SK_OK);
    cr_assert_null(r.stream);
    rig_has(r.error.msg, "runner-0");
    rig_has(r.error.msg, "drill.so");
    rig_close(&r);
    rig_remove(&folder);
}

Test(stream_failure, a_fragment_that_takes_too_long_is_a_timeout) {
    rig             r;
    const sk_batch *b = NULL;
    rig_open(&r, "algorithm: ppo\nenv: Pendulum-v1\n"
                 "env_runners: {num_env_runners: 1, rollout_fragment_length: 200000, sample_timeout_s: 0.1,\n"
                 "  placement: process}\n"
                 "stop: {training_iteration: 1}\n", 0);
    cr_assert_eq(sk_source_next(sk_stream_source_of(r.stream), &b, &r.error), SK_ETIMEOUT, "%s", r.error.msg);
    rig_has(r.error.msg, "runner-0");
    rig_has(r.error.msg, "sample");
    rig_close(&r);
}
