/* Pendulum-v1 against Gymnasium (NumPy >= 2) and against its own contract. */
#include "envs/registry.h"
#include "golden.h"

Test(pendulum, equals_gymnasium_bit_for_bit) {
    golden_count count = golden_replay("Pendulum-v1");
    cr_assert_eq(count.steps, 1800);
    cr_assert_eq(count.terminated, 0);
    cr_assert_eq(count.truncated, 8);
}

/* Spun up to full speed the angle passes many turns; the cost stays that of an angle within half a turn. */
Test(pendulum, wraps_the_angle_of_many_turns) {
    const sk_env_api *api = sk_env_builtin("Pendulum-v1");
    const char *name = "g", *value = "0";
    void *self = NULL;
    char  err[256] = "";
    cr_assert_eq(
        api->create(&(sk_env_config){.n = 1, .names = &name, .values = &value}, 1, &self, err, sizeof err),
        0);
    for (int sign = -1; sign <= 1; sign += 2) {
        float    obs[3], reward;
        uint8_t  terminated, truncated, active = 1, failed = 0;
        uint64_t seed = 3;
        sk_env_slot action = {.f = 2.0f * (float)sign};
        sk_env_io io = {.struct_size = sizeof io,
                        .action = &action,
                        .obs = obs,
                        .reward = &reward,
                        .terminated = &terminated,
                        .truncated = &truncated,
                        .active = &active,
                        .failed = &failed};
        api->reset(self, 0, &seed, obs, NULL);
        for (int t = 0; t < 2000; t++) {
            double angle = atan2((double)obs[1], (double)obs[0]), speed = (double)obs[2];
            cr_assert_eq(api->step(self, 0, 1, &io), 0);
            double cost = angle * angle + 0.1 * speed * speed + 0.004;
            cr_assert_float_eq(-reward, cost, 1e-4, "step %d: cost %g, wanted %g", t, -(double)reward, cost);
        }
        cr_assert_float_eq(obs[2], 8.0f * (float)sign, 1e-6);
    }
    api->destroy(self);
}

Test(pendulum, takes_gravity_from_the_config) {
    const sk_env_api *api = sk_env_builtin("Pendulum-v1");
    const char *name = "g", *value = "9.81x";
    sk_env_spec spec = {0};
    char        err[256] = "";
    cr_assert_neq(
        api->describe(&(sk_env_config){.n = 1, .names = &name, .values = &value}, &spec, err, sizeof err), 0);
    cr_assert(strstr(err, "9.81x") && strstr(err, "number"), "%s", err);
    value = "9.81";
    cr_assert_eq(
        api->describe(&(sk_env_config){.n = 1, .names = &name, .values = &value}, &spec, err, sizeof err), 0);
}
