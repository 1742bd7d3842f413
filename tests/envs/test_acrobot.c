/* Acrobot-v1 against Gymnasium (NumPy >= 2) and against its own contract. */
#include "core/base/rng.h"
#include "env_rig.h"
#include "envs/common.h"
#include "golden.h"

Test(acrobot, equals_gymnasium_bit_for_bit) {
    golden_count count = golden_replay("Acrobot-v1");
    cr_assert_eq(count.steps, 4200);
    cr_assert_geq(count.terminated, 10);
    cr_assert_geq(count.truncated, 2);
}

/* The quick square must be pow's for every double, the rare ones included where it is not the rounded product. */
Test(acrobot, the_quick_square_is_pows) {
    sk_pcg64 rng;
    int      unusual = 0;
    sk_pcg64_seed(&rng, 1);
    for (int i = 0; i < 300000; i++) {
        double x = sk_pcg64_uniform(&rng, -30.0, 30.0), want = sk__env_square_by_pow(x);
        cr_assert_eq(sk__env_square(x), want, "%a", x);
        unusual += want != x * x;
    }
    cr_assert_eq(sk__env_square(0.0), 0.0);
    cr_assert_gt(unusual, 0);
}

/* At full speed a step turns a link by more than a turn; the angle stays within half a turn, the speed bounded. */
Test(acrobot, stays_within_its_bounds) {
    env_rig rig;
    rig_init(&rig, "Acrobot-v1", 1, NULL, NULL, 3);
    double state[8];
    cr_assert_leq(rig.api->state_size(rig.self), 2 * sizeof state);
    unsigned char bytes[128];
    rig.api->state_save(rig.self, 0, bytes);
    memcpy(state, bytes, sizeof state);
    state[2] = 12.5, state[3] = 28.2;
    memcpy(bytes, state, sizeof state);
    rig.api->state_load(rig.self, 0, bytes);
    for (int t = 0; t < 200; t++) {
        rig.action[0].i = t % 3;
        rig_step(&rig);
        for (int i = 0; i < 6; i++) {
            cr_assert_leq(rig.obs[i].f, rig.spec.obs[0].highs[i], "step %d, element %d", t, i);
            cr_assert_geq(rig.obs[i].f, rig.spec.obs[0].lows[i], "step %d, element %d", t, i);
        }
    }
    rig_deinit(&rig);
    rig_refuses("Acrobot-v1", "dt", "0.1", "known: none");
}
