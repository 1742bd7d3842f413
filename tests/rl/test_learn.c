/* That something is learned at all: the published configs on few seeds. (All seeds: the bars of docs/results.md.) */
#include "tests/rl/rig.h"

static void learns(const char *config, const char *seed, const char *stop, double wanted) {
    sk_config      *cfg = NULL;
    sk_error        e = {0};
    sk_train_result r;
    const char     *set[] = {seed, stop, "evaluation.num_episodes=100", "evaluation.interval_steps=0"};
    const char     *path = rig_text("%s/configs/%s", getenv("SKIFF_SOURCE_DIR"), config);
    cr_assert_eq(sk_config_open(path, set, SK_COUNT(set), &cfg, &e), SK_OK, "%s", e.msg);
    sk_train_params p = {.cfg = cfg};
    cr_assert_eq(sk_train_run(&p, &r, &e), SK_OK, "%s", e.msg);
    double got = r.metrics.value[SK_METRIC_EVAL_RETURN_MEAN];
    cr_assert(r.metrics.present[SK_METRIC_EVAL_RETURN_MEAN] && got >= wanted, "%s, %s: %g, wanted %g", config, seed,
              got, wanted);
    cr_assert_eq(r.metrics.value[SK_METRIC_UPDATES_SKIPPED], 0);
    sk_config_destroy(&cfg);
}

/* 100 fresh episodes after 100k steps. */
Test(learn, cartpole_is_solved_within_100k_steps) {
    learns("cartpole_ppo.yaml", "seed=1", "stop={num_env_steps_sampled_lifetime: 100000}", 475);
    learns("cartpole_ppo.yaml", "seed=2", "stop={num_env_steps_sampled_lifetime: 100000}", 475);
}
/* Far from the bar of 300k steps, and far from a policy that has learned nothing (about -1200). */
Test(learn, pendulum_is_on_its_way_after_120k_steps) {
    learns("pendulum_ppo.yaml", "seed=1", "stop={num_env_steps_sampled_lifetime: 120000}", -500);
}
