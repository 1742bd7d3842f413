/* FrozenLake, CliffWalking, Taxi and Blackjack against Gymnasium and against their own contract. */
#include "env_rig.h"
#include "golden.h"

/* A pair or two of config for golden_replay_with. */
#define CONFIG(...) (const char *const[]){__VA_ARGS__}

Test(frozen_lake, equals_gymnasium) {
    golden_count count = golden_replay("FrozenLake-v1");
    cr_assert_eq(count.steps, 600);
    cr_assert_gt(count.terminated, 20);
    count = golden_replay_with("FrozenLake-v1", "-sure", 1, CONFIG("is_slippery"), CONFIG("false"));
    cr_assert_gt(count.terminated, 10);
    golden_replay_with("FrozenLake8x8-v1", "", 1, CONFIG("success_rate"), CONFIG("0.9"));
}

Test(frozen_lake, the_large_map_goes_by_both_names) {
    env_rig a, b;
    rig_init(&a, "FrozenLake-v1", 1, "map_name", "8x8", 5);
    rig_init(&b, "FrozenLake8x8-v1", 1, NULL, NULL, 5);
    cr_assert_eq(a.spec.obs[0].high, 63.0f);
    cr_assert_eq(a.spec.max_episode_steps, 100); /* as gymnasium.make has it */
    cr_assert_eq(b.spec.max_episode_steps, 200);
    for (int t = 0; t < 20 && !a.terminated[0]; t++) {
        a.action[0].i = b.action[0].i = t % 4;
        rig_step(&a);
        rig_step(&b);
        cr_assert_eq(a.obs[0].i, b.obs[0].i);
    }
    rig_deinit(&a);
    rig_deinit(&b);
    rig_refuses("FrozenLake-v1", "map_name", "5x5", "wanted 4x4 or 8x8");
    rig_refuses("FrozenLake-v1", "success_rate", "1.5", "wanted a number in [0, 1]");
}

Test(cliff_walking, equals_gymnasium) {
    golden_count count = golden_replay("CliffWalking-v1");
    cr_assert_eq(count.steps, 400);
    cr_assert_gt(count.terminated, 5);
    count = golden_replay("CliffWalkingSlippery-v1");
    cr_assert_eq(count.steps, 800);
    cr_assert_gt(count.terminated, 2);
}

Test(cliff_walking, slips_if_told) {
    env_rig a, b;
    rig_init(&a, "CliffWalking-v1", 1, "is_slippery", "true", 9);
    rig_init(&b, "CliffWalkingSlippery-v1", 1, NULL, NULL, 9);
    int moved_aside = 0;
    for (int t = 0; t < 100; t++) {
        int before = a.obs[0].i;
        a.action[0].i = b.action[0].i = 0; /* up */
        rig_step(&a);
        rig_step(&b);
        cr_assert_eq(a.obs[0].i, b.obs[0].i);
        moved_aside += a.obs[0].i == before + 1;
    }
    cr_assert_gt(moved_aside, 10);
    rig_deinit(&a);
    rig_deinit(&b);
}

Test(taxi, equals_gymnasium_with_its_mask) {
    golden_count count = golden_replay("Taxi-v4");
    cr_assert_eq(count.steps, 1500);
    cr_assert_gt(count.terminated, 10);
    cr_assert_gt(count.truncated, 1);
    count = golden_replay_with("Taxi-v4", "-wet", 2, CONFIG("is_rainy", "fickle_passenger"),
                               CONFIG("true", "true"));
    cr_assert_gt(count.terminated, 10);
}

/* The mask allows an action if and only if it changes the state. */
Test(taxi, the_mask_allows_what_changes_the_state) {
    env_rig rig;
    rig_init(&rig, "Taxi-v3", 1, NULL, NULL, 1);
    char     bytes[256];
    uint64_t random = 1;
    cr_assert_leq(rig.api->state_size(rig.self), sizeof bytes);
    for (int t = 0; t < 2000; t++) {
        int     before = rig.obs[0].i, go = -1;
        uint8_t mask[6];
        memcpy(mask, rig.mask, sizeof mask);
        rig.api->state_save(rig.self, 0, bytes);
        random = random * 6364136223846793005u + 1442695040888963407u;
        for (int a = 0; a < 6; a++) {
            rig.api->state_load(rig.self, 0, bytes);
            rig.action[0].i = a;
            rig_step(&rig);
            cr_assert_eq(mask[a], rig.obs[0].i != before, "state %d, action %d", before, a);
            if (mask[(a + (random >> 33)) % 6] && go < 0) go = (int)((a + (random >> 33)) % 6);
        }
        rig.api->state_load(rig.self, 0, bytes);
        rig.action[0].i = go;
        rig_step(&rig);
        if (rig.terminated[0]) rig.api->reset(rig.self, 0, NULL, rig.obs, rig.mask);
    }
    rig_deinit(&rig);
    rig_refuses("Taxi-v3", "is_rainy", "true", "known: none");
}

Test(blackjack, equals_gymnasium) {
    golden_count count = golden_replay("Blackjack-v1");
    cr_assert_eq(count.steps, 1500);
    cr_assert_gt(count.terminated, 500);
    count =
        golden_replay_with("Blackjack-v1", "-natural", 2, CONFIG("sab", "natural"), CONFIG("false", "true"));
    cr_assert_gt(count.terminated, 500);
}

Test(blackjack, the_book_overrules_the_price_of_a_natural) {
    sk_env_config     both = {.n = 2, .names = CONFIG("sab", "natural"), .values = CONFIG("true", "true")};
    sk_env_config     casino = {.n = 2, .names = CONFIG("sab", "natural"), .values = CONFIG("false", "true")};
    const sk_env_api *api = sk_env_builtin("Blackjack-v1");
    sk_env_spec       spec = {.struct_size = sizeof spec};
    char              err[256];
    cr_assert_eq(api->describe(&both, &spec, err, sizeof err), 0);
    cr_assert_eq(spec.reward_high, 1.0f);
    cr_assert_eq(api->describe(&casino, &spec, err, sizeof err), 0);
    cr_assert_eq(spec.reward_high, 1.5f);
}

/* A state that would index beyond the tables is refused. */
Test(tabular, refuses_a_state_out_of_range) {
    env_rig rig;
    rig_init(&rig, "FrozenLake-v1", 1, NULL, NULL, 1);
    char    bytes[256];
    int32_t state = 16;
    rig.api->state_save(rig.self, 0, bytes);
    memcpy(bytes, &state, sizeof state);
    cr_assert_neq(rig.api->state_load(rig.self, 0, bytes), 0);
    rig_deinit(&rig);
}
