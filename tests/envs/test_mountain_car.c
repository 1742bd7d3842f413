/* MountainCar-v0 and MountainCarContinuous-v0 against Gymnasium (NumPy >= 2) and against their own contract. */
#include "env_rig.h"
#include "golden.h"

Test(mountain_car, equals_gymnasium_bit_for_bit) {
    golden_count count = golden_replay("MountainCar-v0");
    cr_assert_eq(count.steps, 1800);
    cr_assert_geq(count.terminated, 2);
    cr_assert_geq(count.truncated, 4);
}

Test(mountain_car, the_goal_counts_from_the_configured_speed_on) {
    env_rig rig;
    rig_init(&rig, "MountainCar-v0", 1, "goal_velocity", "0.06", 42);
    int ended = 0, passed = 0;
    for (int t = 0; t < 2000 && !ended; t++) {
        rig.action[0].i = rig.obs[1].f > 0.0f ? 2 : 0;
        rig_step(&rig);
        passed += rig.obs[0].f >= 0.5f;
        ended = rig.terminated[0];
        if (ended) cr_assert_geq(rig.obs[1].f, 0.06f);
    }
    cr_assert_gt(passed, 0);
    rig_deinit(&rig);
    rig_refuses("MountainCar-v0", "goal_velocity", "fast", "wanted a finite number");
    rig_refuses("MountainCar-v0", "goal_speed", "1", "goal_velocity");
}

Test(mountain_car_continuous, equals_gymnasium_bit_for_bit) {
    golden_count count = golden_replay("MountainCarContinuous-v0");
    cr_assert_eq(count.steps, 3150);
    cr_assert_geq(count.terminated, 2);
    cr_assert_geq(count.truncated, 1);
}

/* The first step after a reset is computed from a double: the state tells whether that step was made. */
Test(mountain_car_continuous, a_saved_state_remembers_the_reset) {
    env_rig a, b;
    rig_init(&a, "MountainCarContinuous-v0", 1, NULL, NULL, 7);
    rig_init(&b, "MountainCarContinuous-v0", 1, NULL, NULL, 8);
    for (int t = 0; t < 3; t++) {
        char bytes[256];
        cr_assert_leq(a.api->state_size(a.self), sizeof bytes);
        a.api->state_save(a.self, 0, bytes);
        b.api->state_load(b.self, 0, bytes);
        a.action[0].f = b.action[0].f = 0.3f;
        rig_step(&a);
        rig_step(&b);
        cr_assert_eq(memcmp(a.obs, b.obs, 2 * sizeof(float)), 0, "step %d", t);
    }
    rig_deinit(&a);
    rig_deinit(&b);
}
