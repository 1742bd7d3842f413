#include "tests/rl/replay_rig.h"
#include <math.h>

static const rig_odds usual = {.terminated = 6, .truncated = 5, .invalid = 4, .dropped = 2, .breaks = 10};

/* ---- everything that is drawn is what went in ---- */

static void compare(const sk_replay_params *p, rig_odds odds, uint32_t seed) {
    rig r;
    rig_open(&r, p, odds, seed);
    while (r.n_steps < 4 * (int)(p->capacity / p->n_rows) + 10) {
        rig_add(&r, 1 + (int)(rig_random(&r) % RIG_T_MAX));
        cr_assert_eq(sk_replay_size(r.replay), rig_size(&r), "after %d steps", r.n_steps);
        if (rig_size(&r) == 0) continue;
        rig_check_drawn(&r, rig_draw(&r, p->max_draw), p->max_draw, NULL);
    }
    rig_close(&r);
}

static void compare_many(rig_odds odds) {
    for (int rows = 1; rows <= RIG_ROWS_MAX; rows++)
        for (int n = 1; n <= 5; n++)
            for (int prioritized = 0; prioritized < 2; prioritized++)
                for (int size = 0; size < 3; size++) {
                    static const int steps[] = {5, 64, 201};
                    sk_replay_params p = {.capacity = steps[size] * rows + rows - 1, .n_rows = rows, .n_step = n,
                                          .gamma = 0.9, .max_draw = 40, .prioritized = prioritized, .alpha = 0.6,
                                          .seed = 3, .mask_size = (rows + n) % 3 == 0 ? RIG_K_MAX : 0};
                    compare(&p, odds, (uint32_t)(rows * 100 + n * 10 + size));
                }
}

Test(replay, what_is_drawn_is_what_a_list_of_all_steps_gives) { compare_many(usual); }
Test(replay, works_where_every_step_ends_an_episode) { compare_many((rig_odds){.terminated = 50, .truncated = 100}); }
Test(replay, works_where_no_episode_ever_ends) { compare_many((rig_odds){0}); }
Test(replay, works_where_hardly_any_step_is_valid) {
    compare_many((rig_odds){.terminated = 3, .truncated = 3, .invalid = 97});
}

static sk_replay_params params_of(int64_t capacity, int rows, int n_step, int prioritized) {
    return (sk_replay_params){.capacity = capacity, .n_rows = rows, .n_step = n_step, .gamma = 0.9, .max_draw = 256,
                              .prioritized = prioritized, .alpha = 1.0, .seed = 7};
}

Test(replay, terminated_wins_where_the_time_limit_falls_on_it) {
    rig              r;
    sk_replay_params p = params_of(8, 1, 1, 0);
    rig_open(&r, &p, (rig_odds){.terminated = 100, .truncated = 100}, 1);
    rig_add(&r, 4);
    const sk_batch *b = rig_draw(&r, 16);
    for (int i = 0; i < 16; i++) cr_assert_eq(b->discount[i], 0.0f);
    rig_check_drawn(&r, b, 16, NULL);
    rig_close(&r);
}

Test(replay, columns_are_aligned_and_stay_where_they_are) {
    rig              r;
    sk_replay_params p = params_of(64, 2, 2, 0);
    p.mask_size = 3;
    rig_open(&r, &p, usual, 1);
    rig_add(&r, 7);
    sk_batch first = *rig_draw(&r, 5), b = *rig_draw(&r, 100);
    float   *columns[] = {b.obs, b.next_obs, b.mask, b.next_mask, &b.action->f, b.reward, b.discount, b.weight};
    for (int i = 0; i < SK_COUNT(columns); i++) cr_assert(columns[i] && (uintptr_t)columns[i] % 64 == 0, "%d", i);
    cr_assert(first.obs == b.obs && first.next_mask == b.next_mask && first.weight == b.weight);
    cr_assert(!b.fragment && !b.logp && !b.value && !b.terminated && !b.valid && !b.final_obs && !b.episode);
    for (int i = 0; i < 100; i++) cr_assert_eq(b.weight[i], 1.0f);
    rig_close(&r);
}

/* ---- uniform ---- */

/* Counts of `n_draws` x 256 draws over the ids. */
static int *count_draws(rig *r, int n_draws) {
    int *count = calloc((size_t)((r->n_steps + 1) * r->p.n_rows), sizeof *count), id[256];
    for (int d = 0; d < n_draws; d++) {
        rig_check_drawn(r, rig_draw(r, 256), 256, id);
        for (int i = 0; i < 256; i++) count[id[i]]++;
    }
    return count;
}

/* How far counts are from `share` of `n`, in standard deviations of chi-square, about. */
static double chi_square_z(const rig *r, const int *count, const double *share, double n) {
    double sum = 0.0;
    int    cells = 0;
    for (int s = rig_oldest(r); s < r->n_steps; s++)
        for (int row = 0; row < r->p.n_rows; row++) {
            int id = s * r->p.n_rows + row;
            if (!rig_at(r, s, row)->valid) continue;
            double want = n * share[id];
            sum += (count[id] - want) * (count[id] - want) / want;
            cells++;
        }
    return (sum - (cells - 1)) / sqrt(2.0 * (cells - 1));
}

static void check_uniform(rig_odds odds, int steps) {
    rig              r;
    sk_replay_params p = params_of(300, 3, 2, 0);
    rig_open(&r, &p, odds, 5);
    while (r.n_steps < steps) rig_add(&r, 7);
    int    *count = count_draws(&r, 400), n = rig_size(&r);
    double *share = calloc((size_t)((r.n_steps + 1) * 3), sizeof *share);
    for (int i = 0; i < r.n_steps * 3; i++) share[i] = 1.0 / n;
    double z = chi_square_z(&r, count, share, 400 * 256);
    cr_assert(fabs(z) < 4.0, "%g", z);
    free(share);
    free(count);
    rig_close(&r);
}

Test(replay, draws_are_uniform_over_all_valid_steps) {
    check_uniform(usual, 40);   /* not full yet */
    check_uniform(usual, 1000); /* many times round */
    check_uniform((rig_odds){.invalid = 95}, 500); /* counted, not tried */
}

Test(replay, draws_follow_from_the_seed_and_their_number) {
    rig              a, b, c;
    sk_replay_params p = params_of(300, 3, 2, 0);
    int              id_a[64], id_b[64], id_c[64];
    rig_open(&a, &p, usual, 5);
    rig_open(&b, &p, usual, 5);
    p.seed++;
    rig_open(&c, &p, usual, 5);
    for (int i = 0; i < 20; i++) rig_add(&a, 7), rig_add(&b, 7), rig_add(&c, 7);
    rig_check_drawn(&a, rig_draw(&a, 200), 200, NULL); /* how many were drawn before does not matter */
    rig_check_drawn(&b, rig_draw(&b, 1), 1, NULL);
    rig_check_drawn(&c, rig_draw(&c, 1), 1, NULL);
    rig_check_drawn(&a, rig_draw(&a, 64), 64, id_a);
    rig_check_drawn(&b, rig_draw(&b, 64), 64, id_b);
    rig_check_drawn(&c, rig_draw(&c, 64), 64, id_c);
    cr_assert_arr_eq(id_a, id_b, sizeof id_a);
    cr_assert_arr_neq(id_a, id_c, sizeof id_a);
    rig_close(&a), rig_close(&b), rig_close(&c);
}

/* ---- by priority ---- */

/* A TD error for each id, set until all have it. */
static float td_of(int id) { return (id % 2 ? -1.0f : 1.0f) * (float)(1 + id % 13) * 0.25f; }

static void set_all(rig *r) {
    int   id[256];
    float td[256];
    for (int d = 0; d < 300; d++) {
        rig_check_drawn(r, rig_draw(r, 256), 256, id);
        for (int i = 0; i < 256; i++) td[i] = td_of(id[i]);
        cr_assert_eq(sk_replay_set_priorities(r->replay, td, 256, NULL), SK_OK);
    }
}

Test(replay, draws_are_in_proportion_to_priority) {
    rig              r;
    sk_replay_params p = params_of(300, 3, 2, 1);
    rig_open(&r, &p, usual, 5);
    while (r.n_steps < 300) rig_add(&r, 7);
    set_all(&r);
    double *share = calloc((size_t)((r.n_steps + 1) * 3), sizeof *share), sum = 0.0;
    for (int s = rig_oldest(&r); s < r.n_steps; s++)
        for (int row = 0; row < 3; row++) {
            int id = s * 3 + row;
            share[id] = fabs((double)td_of(id)) + 1e-6;
            if (rig_at(&r, s, row)->valid) sum += share[id];
        }
    for (int i = 0; i < r.n_steps * 3; i++) share[i] /= sum;
    int *count = count_draws(&r, 400);
    /* drawn one from each part, counts spread less than freely drawn ones */
    double z = chi_square_z(&r, count, share, 400 * 256);
    cr_assert_lt(z, 4.0, "%g", z);
    free(share);
    free(count);
    rig_close(&r);
}

Test(replay, weights_are_the_least_priority_by_the_own_to_the_beta) {
    rig              r;
    sk_replay_params p = params_of(300, 3, 2, 1);
    int              id[256];
    rig_open(&r, &p, usual, 5);
    while (r.n_steps < 300) rig_add(&r, 7);
    set_all(&r);
    const sk_batch *b = rig_draw(&r, 256);
    double          least = INFINITY, largest = 0.0;
    rig_check_drawn(&r, b, 256, id);
    for (int i = 0; i < 256; i++) least = fmin(least, fabs((double)td_of(id[i])) + 1e-6);
    for (int i = 0; i < 256; i++) {
        double want = pow(least / (fabs((double)td_of(id[i])) + 1e-6), 0.4);
        cr_assert(fabs((double)b->weight[i] - want) < 1e-6, "%g, wanted %g", (double)b->weight[i], want);
        largest = fmax(largest, (double)b->weight[i]);
    }
    cr_assert_eq(largest, 1.0);
    rig_close(&r);
}

Test(replay, new_steps_get_the_largest_priority_ever_seen) {
    rig              r;
    sk_replay_params p = params_of(1000, 1, 1, 1);
    int              id[256], n_new = 0;
    rig_open(&r, &p, (rig_odds){0}, 5);
    rig_add(&r, 1);
    rig_draw(&r, 1);
    cr_assert_eq(sk_replay_set_priorities(r.replay, (float[]){50.0f}, 1, NULL), SK_OK);
    rig_draw(&r, 1);
    cr_assert_eq(sk_replay_set_priorities(r.replay, (float[]){1e-3f}, 1, NULL), SK_OK);
    rig_add(&r, 1);
    rig_check_drawn(&r, rig_draw(&r, 256), 256, id);
    for (int i = 0; i < 256; i++) n_new += id[i] == 1;
    cr_assert_geq(n_new, 255);
    rig_close(&r);
}

Test(replay, of_a_transition_drawn_twice_the_last_priority_counts) {
    rig              r;
    sk_replay_params p = params_of(10, 1, 1, 1);
    float            td[256];
    int              id[256], n[2] = {0};
    rig_open(&r, &p, (rig_odds){0}, 5);
    rig_add(&r, 2);
    rig_check_drawn(&r, rig_draw(&r, 256), 256, id);
    for (int i = 0; i < 256; i++) n[id[i]] = i;
    for (int i = 0; i < 256; i++) td[i] = i == n[0] ? 3.0f : i == n[1] ? 1.0f : 1e3f;
    cr_assert_eq(sk_replay_set_priorities(r.replay, td, 256, NULL), SK_OK);
    rig_check_drawn(&r, rig_draw(&r, 256), 256, id);
    n[0] = 0;
    for (int i = 0; i < 256; i++) n[0] += id[i] == 0;
    cr_assert(abs(n[0] - 192) <= 1, "%d", n[0]);
    rig_close(&r);
}

Test(replay, refuses_priorities_that_are_zero_or_no_numbers_and_changes_nothing) {
    static const float bad[] = {0.0f, -0.0f, NAN, INFINITY, -INFINITY};
    rig                r;
    sk_replay_params   p = params_of(10, 1, 1, 1);
    sk_error           err = {0};
    rig_open(&r, &p, (rig_odds){0}, 5);
    rig_add(&r, 2);
    for (int i = 0; i < SK_COUNT(bad); i++) {
        float td[16];
        rig_draw(&r, 16);
        for (int j = 0; j < 16; j++) td[j] = j < 8 ? 1e-6f : 1e6f;
        td[15] = bad[i];
        cr_assert_eq(sk_replay_set_priorities(r.replay, td, 16, &err), SK_ENUMERIC);
        cr_assert(strstr(err.msg, "transition 15"), "%s", err.msg);
    }
    const sk_batch *b = rig_draw(&r, 16);
    for (int i = 0; i < 16; i++) cr_assert_eq(b->weight[i], 1.0f);
    cr_assert_eq(sk_replay_set_priorities(r.replay, bad, 3, &err), SK_EINVAL);
    rig_close(&r);
}

/* Priorities come late: steps may have been overwritten or dropped since. */
Test(replay, priorities_of_transitions_that_are_gone_are_passed_over) {
    for (uint32_t seed = 0; seed < 30; seed++) {
        rig              r;
        sk_replay_params p = params_of(40, 2, 3, 1);
        float            td[256];
        rig_open(&r, &p, (rig_odds){.terminated = 10, .dropped = 10, .invalid = 5}, seed);
        for (int i = 0; i < 256; i++) td[i] = 1e4f;
        while (r.n_steps < 200) {
            rig_add(&r, 1 + (int)(rig_random(&r) % RIG_T_MAX));
            if (!rig_size(&r)) continue;
            rig_check_drawn(&r, rig_draw(&r, 256), 256, NULL);
            rig_add(&r, 1 + (int)(rig_random(&r) % RIG_T_MAX));
            cr_assert_eq(sk_replay_set_priorities(r.replay, td, 256, NULL), SK_OK);
            if (rig_size(&r)) rig_check_drawn(&r, rig_draw(&r, 256), 256, NULL);
        }
        rig_close(&r);
    }
}

Test(replay, priorities_of_a_step_do_not_go_to_the_one_that_took_its_slot) {
    rig              r;
    sk_replay_params p = params_of(4, 1, 1, 1);
    float            td[64];
    rig_open(&r, &p, (rig_odds){0}, 5);
    rig_add(&r, 5);
    rig_draw(&r, 64);
    for (int i = 0; i < 64; i++) td[i] = (float)(i + 1) * 100.0f;
    rig_add(&r, 5); /* now all slots have other steps */
    cr_assert_eq(sk_replay_set_priorities(r.replay, td, 64, NULL), SK_OK);
    const sk_batch *b = rig_draw(&r, 64);
    for (int i = 0; i < 64; i++) cr_assert_eq(b->weight[i], 1.0f);
    rig_close(&r);
}

/* ---- refusals ---- */

Test(replay, names_a_parameter_out_of_range) {
    sk_replay_params good = params_of(10, 2, 1, 1);
    sk_replay       *replay = NULL;
    sk_error         err = {0};
    good.obs_dim = 3, good.action_slots = 1;
    sk_replay_params bad[9];
    const char      *word[] = {"capacity", "rows", "observation", "n_step", "n_step", "gamma", "alpha", "draws",
                               "capacity"};
    for (int i = 0; i < SK_COUNT(bad); i++) bad[i] = good;
    bad[0].capacity = 3, bad[1].n_rows = 0, bad[2].obs_dim = 0, bad[3].n_step = 0, bad[4].n_step = 6;
    bad[5].gamma = NAN, bad[6].alpha = 1.5, bad[7].max_draw = 0, bad[8].capacity = INT64_MAX;
    for (int i = 0; i < SK_COUNT(bad); i++) {
        cr_assert_eq(sk_replay_create(&bad[i], &replay, &err), SK_EINVAL, "%d", i);
        cr_assert(strstr(err.msg, word[i]), "%s", err.msg);
        cr_assert_null(replay);
        cr_assert_eq(sk_replay_bytes(&bad[i]), 0);
    }
    cr_assert_eq(sk_replay_create(&good, &replay, &err), SK_OK);
    cr_assert_gt(sk_replay_bytes(&good), 0);
    cr_assert_eq(sk_replay_capacity(replay), 10);
    sk_replay_destroy(&replay);
    sk_replay_destroy(&replay);
    sk_replay_destroy(NULL);
}

Test(replay, refuses_a_batch_of_another_shape_and_a_draw_from_nothing) {
    rig              r;
    sk_replay_params p = params_of(10, 2, 1, 0);
    sk_error         err = {0};
    const sk_batch  *b = NULL;
    rig_open(&r, &p, (rig_odds){.invalid = 100}, 5);
    cr_assert_eq(sk_replay_draw(r.replay, 1, 0.0, &b, &err), SK_EINVAL);
    rig_add(&r, 2);
    cr_assert_eq(sk_replay_size(r.replay), 0);
    cr_assert_eq(sk_replay_draw(r.replay, 1, 0.0, &b, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "nothing"), "%s", err.msg);
    r.odds.invalid = 0;
    rig_add(&r, 2);
    cr_assert_eq(sk_replay_draw(r.replay, 257, 0.0, &b, &err), SK_EINVAL);
    cr_assert_eq(sk_replay_draw(r.replay, 0, 0.0, &b, &err), SK_EINVAL);
    sk_batch other = *rig_batch(&r, 2);
    other.shape.obs_dim++;
    cr_assert_eq(sk_replay_add(r.replay, &other, &err), SK_EINVAL);
    other = r.batch;
    other.final_obs = NULL;
    cr_assert_eq(sk_replay_add(r.replay, &other, &err), SK_EINVAL);
    cr_assert(strstr(err.msg, "final_obs"), "%s", err.msg);
    rig_close(&r);
}
