/* Spaces of several kinds, end to end: fields of floats and integers by name, several discrete actions, masks. */
#include "rl/vec.h"
#include "tests/rl/rig.h"

/* ---- the host ---- */

static sk_env *open_mixed(int n_config, const char *const *names, const char *const *values) {
    sk_env  *env = NULL;
    sk_error error = {0};
    cr_assert_eq(sk_env_create(&(sk_env_params){.plugin = rig_plugin("mixed"),
                                                .n_config = n_config,
                                                .config_names = names,
                                                .config_values = values},
                               &env, &error),
                 SK_OK, "%s", error.msg);
    return env;
}

Test(spaces, fields_have_offsets_and_kinds) {
    sk_env            *env = open_mixed(0, NULL, NULL);
    const sk_env_info *info = sk_env_info_get(env);
    const sk_env_spec *spec = sk_env_spec_get(env);
    int                element;
    char               name[SK_ENV_NAME_MAX + 16];
    cr_assert_eq(info->obs_dim, 4);
    cr_assert_eq(info->n_obs_discrete, 1);
    cr_assert_eq(info->action_slots, 2);
    cr_assert_eq(info->n_choices, 5);
    cr_assert_eq(sk_env_obs_field(spec, 1, &element), &spec->obs[0]);
    cr_assert_eq(element, 1);
    cr_assert_eq(sk_env_obs_field(spec, 3, &element), &spec->obs[2]);
    cr_assert_eq(element, 0);
    sk_env_obs_name(spec, 1, name, sizeof name);
    cr_assert_str_eq(name, "position[1]");
    sk_env_obs_name(spec, 3, name, sizeof name);
    cr_assert_str_eq(name, "harbour");
    sk_env_destroy(&env);
}

/* Step `n_envs` of them with allowed actions until something fails; the number of steps made. */
static int play(sk_env *env, sk_on_invalid on_invalid, int n_steps, int64_t *ret_n_invalid, sk_error *error) {
    enum { N = 3 };
    sk_vec       *vec = NULL;
    float         obs[N * 4], final_obs[N * 4], reward[N];
    uint8_t       mask[N * 5], terminated[N], truncated[N], valid[N];
    sk_env_slot   action[N * 2];
    sk_vec_params params = {.env = env, .n_envs = N, .on_invalid = on_invalid};
    cr_assert_eq(sk_vec_create(&params, &vec, error), SK_OK, "%s", error->msg);
    cr_assert_eq(sk_vec_reset(vec, obs, mask, error), SK_OK, "%s", error->msg);
    sk_vec_step step = {.action = action, .reward = reward, .terminated = terminated, .truncated = truncated,
                        .valid = valid, .next_obs = obs, .next_mask = mask, .final_obs = final_obs};
    int t = 0;
    for (; t < n_steps; t++) {
        for (int r = 0; r < N; r++) {
            int32_t harbour;
            memcpy(&harbour, &obs[r * 4 + 3], sizeof harbour);
            cr_assert(harbour >= 2 && harbour <= 6, "harbour %d", harbour);
            sk_env_action_random(sk_env_spec_get(env), 1, (uint64_t)r, (uint64_t)t, mask + r * 5,
                                 action + r * 2);
            cr_assert_eq(mask[r * 5 + action[r * 2].i + 1], 1);
        }
        if (sk_vec_step_run(vec, &step, error) != SK_OK) break;
    }
    if (ret_n_invalid) *ret_n_invalid = sk_vec_n_invalid(vec);
    sk_vec_destroy(&vec);
    return t;
}

Test(spaces, random_actions_obey_the_mask) {
    const char *names[] = {"refuse"}, *values[] = {"1"};
    sk_env     *env = open_mixed(1, names, values);
    sk_error    error = {0};
    cr_assert_eq(play(env, SK_INVALID_STOP, 100, NULL, &error), 100, "%s", error.msg);
    sk_env_destroy(&env);
}

Test(spaces, an_integer_out_of_its_range_stops_the_run_or_drops_the_episode) {
    const char *names[] = {"bad"}, *values[] = {"3"};
    sk_env     *env = open_mixed(1, names, values);
    sk_error    error = {0};
    int64_t     n_invalid = 0;
    cr_assert_eq(play(env, SK_INVALID_STOP, 100, NULL, &error), 2);
    rig_has(error.msg, "episode step 3: observation \"harbour\" is 7, wanted an integer from 2 to 6");
    cr_assert_eq(play(env, SK_INVALID_DROP, 30, &n_invalid, &error), 30, "%s", error.msg);
    cr_assert_eq(n_invalid, 30);
    sk_env_destroy(&env);
}

/* ---- training ---- */

static const char *mixed_yaml(int runners, int iterations) {
    return rig_text(
        "algorithm: ppo\n"
        "env: {plugin: \"%s\", config: {refuse: 1}}\n"
        "seed: 5\n"
        "env_runners: {num_env_runners: %d, num_envs_per_env_runner: %d, rollout_fragment_length: 32,\n"
        "  observation_filter: MeanStdFilter}\n"
        "model: {fcnet_hiddens: [32]}\n"
        "training: {lr: 5.0e-3, num_epochs: 8, minibatch_size: 128, gamma: 0.5}\n"
        "evaluation: {num_episodes: 20}\n"
        "stop: {training_iteration: %d}\n",
        rig_plugin("mixed"), runners, 16 / (runners ? runners : 1), iterations);
}

/* 8 points are there to be had; random actions get 4. The environment itself refuses forbidden courses. */
Test(spaces, ppo_learns_from_floats_integers_and_masks) {
    sk_train_result result = rig_train_ok((rig_run){.yaml = mixed_yaml(0, 40)});
    cr_assert_gt(result.metrics.value[SK_METRIC_EVAL_RETURN_MEAN], 7.2, "%g",
                 result.metrics.value[SK_METRIC_EVAL_RETURN_MEAN]);
}

Test(spaces, the_same_bits_for_any_number_of_runners_and_after_a_resume) {
    char           *dir = rig_folder();
    sk_train_result inline_ = rig_train_ok((rig_run){.yaml = mixed_yaml(0, 6)});
    sk_train_result two = rig_train_ok((rig_run){.yaml = mixed_yaml(2, 6)});
    cr_assert_str_eq(inline_.params_sha256, two.params_sha256);
    rig_train_ok((rig_run){.yaml = mixed_yaml(2, 3), .run_dir = dir});
    sk_train_result rest = rig_train_ok((rig_run){.yaml = mixed_yaml(2, 6), .run_dir = dir, .resume = 1});
    cr_assert_str_eq(rest.params_sha256, two.params_sha256);
    rig_remove(&dir);
}

/* ---- spaces of a policy ---- */

static sk_policy_spaces spaces_of(const char *name) {
    sk_policy_spaces spaces;
    sk_env          *env = NULL;
    sk_error         error = {0};
    cr_assert_eq(sk_env_create(&(sk_env_params){.name = name}, &env, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk_policy_spaces_of(sk_env_spec_get(env), name, &spaces, &error), SK_OK, "%s", error.msg);
    sk_env_destroy(&env);
    return spaces;
}

static void run_is(const sk_policy_spaces *s, int i, int cols, int choices, int low) {
    cr_assert(s->runs[i].cols == cols && s->runs[i].choices == choices && s->runs[i].low == low,
              "run %d: %d slots of %d from %d", i, s->runs[i].cols, s->runs[i].choices, s->runs[i].low);
}

Test(spaces, a_policy_sees_runs_of_slots) {
    sk_policy_spaces floats = spaces_of("CartPole-v1"), taxi = spaces_of("Taxi-v4"),
                     cards = spaces_of("Blackjack-v1");
    cr_assert_eq(floats.n_runs, 0);
    cr_assert_eq(taxi.n_runs, 1);
    run_is(&taxi, 0, 1, 500, 0);
    cr_assert_eq(cards.n_runs, 3);
    run_is(&cards, 1, 1, 11, 0);
    sk_env          *env = open_mixed(0, NULL, NULL);
    sk_policy_spaces mixed;
    cr_assert_eq(sk_policy_spaces_of(sk_env_spec_get(env), "Mixed-v0", &mixed, NULL), SK_OK);
    cr_assert_eq(mixed.n_runs, 2); /* the fields of floats are one run */
    run_is(&mixed, 0, 3, 0, 0);
    run_is(&mixed, 1, 1, 5, 2);
    sk_env_destroy(&env);
}

Test(spaces, a_policy_of_other_integers_does_not_fit) {
    sk_policy_spaces small = spaces_of("FrozenLake-v1"), large = spaces_of("FrozenLake8x8-v1");
    sk_error         error = {0};
    cr_assert_eq(sk_policy_spaces_same(&small, &large, &error), SK_EINVAL);
    rig_has(error.msg, "run 0 of the observation is 1 slots of 16 choices from 0, wanted 1 of 64 from 0");
}

Test(spaces, a_policy_file_keeps_them) {
    char            *dir = rig_folder();
    const char      *path = rig_text("%s/policy.skiff", dir);
    sk_policy_spaces spaces = spaces_of("Blackjack-v1");
    sk_model_config  model = {.fcnet_hiddens = {.n = 1, .v = {8}}};
    sk_policy       *policy = NULL, *back = NULL;
    sk_error         error = {0};
    cr_assert_eq(sk_policy_create(&spaces, &model, SK_FILTER_MEAN_STD, 1, &policy, &error), SK_OK, "%s",
                 error.msg);
    cr_assert_eq(sk_policy_save(policy, path, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk_policy_load(path, &back, &error), SK_OK, "%s", error.msg);
    cr_assert_eq(sk_policy_spaces_same(sk_policy_spaces_get(back), &spaces, &error), SK_OK, "%s", error.msg);
    cr_assert(sk_policy_same_network(policy, back));
    cr_assert_eq(sk_policy_n_params(back), sk_policy_n_params(policy));
    sk_policy_destroy(&policy);
    sk_policy_destroy(&back);
    rig_remove(&dir);
}

/* Integers neither move the statistics nor are moved by them. */
Test(spaces, a_normaliser_passes_over_integers) {
    sk_normalizer n = {0};
    float         row[6] = {1.0f, 0.0f, 5.0f, 3.0f, 0.0f, 7.0f}, mean[3], inv_std[3];
    int32_t       integers[2] = {-1, 12}; /* the bits of -1 are a NaN */
    memcpy(&row[1], &integers[0], sizeof integers[0]);
    memcpy(&row[4], &integers[1], sizeof integers[1]);
    cr_assert_eq(sk_normalizer_init(&n, 3, NULL), SK_OK);
    sk_normalizer_skip(&n, 1, 1);
    sk_normalizer_update(&n, row, NULL, 2);
    sk_normalizer_update(&n, row, NULL, 2);
    sk_normalizer_constants(&n, mean, inv_std);
    cr_assert_eq(mean[0], 2.0f);
    cr_assert_eq(mean[2], 6.0f);
    cr_assert_float_eq(inv_std[0], 1.0f, 1e-6);
    cr_assert_eq(mean[1], 0.0f);
    cr_assert_eq(inv_std[1], 1.0f);
    cr_assert(n.mean[1] == 0.0 && n.m2[1] == 0.0);
    sk_normalizer_deinit(&n);
}
