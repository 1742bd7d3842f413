/* CartPole-v1 against Gymnasium and against its own contract. */
#include "envs/registry.h"
#include "golden.h"

Test(cartpole, equals_gymnasium_bit_for_bit) {
    golden_count count = golden_replay("CartPole-v1");
    cr_assert_eq(count.steps, 2400);
    cr_assert_gt(count.terminated, 20);
    cr_assert_geq(count.truncated, 1);
}

/* An instance of two, from the registry. */
static void *make_two(const sk_env_api **ret_api, const sk_env_config *config) {
    const sk_env_api *api = sk_env_builtin("CartPole-v1");
    void *self = NULL;
    char  err[256] = "";
    cr_assert_eq(api->create(config, 2, &self, err, sizeof err), 0, "%s", err);
    *ret_api = api;
    return self;
}

Test(cartpole, pays_as_sutton_and_barto_if_told) {
    const char *name = "sutton_barto_reward", *value = "true";
    const sk_env_api *api;
    void    *self = make_two(&api, &(sk_env_config){.n = 1, .names = &name, .values = &value});
    float    obs[8], reward[2] = {9, 9};
    uint8_t  terminated[2] = {0}, truncated[2], active[2] = {1, 1}, failed[2] = {0};
    uint64_t seed = 3;
    sk_env_slot action[2] = {{.i = 1}, {.i = 1}};
    api->reset(self, 0, &seed, obs, NULL);
    api->reset(self, 1, &seed, obs + 4, NULL);
    sk_env_io io = {.struct_size = sizeof io, .action = action, .obs = obs, .reward = reward,
                    .terminated = terminated, .truncated = truncated, .active = active, .failed = failed};
    for (int t = 0; t < 30 && !terminated[0]; t++) {
        api->step(self, 0, 2, &io);
        cr_assert_eq(reward[0], terminated[0] ? -1.0f : 0.0f);
    }
    cr_assert_eq(terminated[0], 1);
    api->destroy(self);
}

Test(cartpole, steps_a_range_and_leaves_the_others) {
    const sk_env_api *api;
    void    *self = make_two(&api, &(sk_env_config){0});
    float    obs[8], before[4], reward[2] = {9, 9};
    uint8_t  terminated[2] = {7, 7}, truncated[2] = {7, 7}, active[2] = {1, 1}, failed[2] = {0};
    uint64_t seed = 3;
    sk_env_slot action[2] = {{.i = 1}, {.i = 1}};
    api->reset(self, 0, &seed, obs, NULL);
    api->reset(self, 1, &seed, obs + 4, NULL);
    memcpy(before, obs, sizeof before);
    sk_env_io io = {.struct_size = sizeof io,
                    .action = action + 1,
                    .obs = obs + 4,
                    .reward = reward + 1,
                    .terminated = terminated + 1,
                    .truncated = truncated + 1,
                    .active = active + 1,
                    .failed = failed + 1};
    cr_assert_eq(api->step(self, 1, 1, &io), 0);
    cr_assert_eq(memcmp(before, obs, sizeof before), 0);
    cr_assert_eq(reward[0], 9.0f);
    cr_assert_eq(terminated[0], 7);
    cr_assert_eq(reward[1], 1.0f);
    cr_assert_eq(terminated[1], 0);
    cr_assert_eq(truncated[1], 0);
    /* Env 0 still stands where it was: its next step equals env 1's last one. */
    io = (sk_env_io){.struct_size = sizeof io, .action = action, .obs = obs, .reward = reward,
                     .terminated = terminated, .truncated = truncated, .active = active, .failed = failed};
    float moved[4];
    memcpy(moved, obs + 4, sizeof moved);
    cr_assert_eq(api->step(self, 0, 1, &io), 0);
    cr_assert_eq(memcmp(moved, obs, sizeof moved), 0);
    api->destroy(self);
}

Test(cartpole, refuses_unknown_and_bad_config) {
    const sk_env_api *api = sk_env_builtin("CartPole-v1");
    sk_env_spec spec = {0};
    char        err[256] = "";
    const char *name = "gravity", *value = "true";
    cr_assert_neq(
        api->describe(&(sk_env_config){.n = 1, .names = &name, .values = &value}, &spec, err, sizeof err), 0);
    cr_assert(strstr(err, "gravity") && strstr(err, "sutton_barto_reward"), "%s", err);
    name = "sutton_barto_reward", value = "yes";
    cr_assert_neq(
        api->describe(&(sk_env_config){.n = 1, .names = &name, .values = &value}, &spec, err, sizeof err), 0);
    cr_assert(strstr(err, "\"yes\""), "%s", err);
}
