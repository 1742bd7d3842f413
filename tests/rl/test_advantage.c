/* GAE against the sum it stands for, written per episode, over random ends. */
#include "core/base/rng.h"
#include "rl/advantage.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 24, ROWS_MAX = 9, MAX = STEPS_MAX * ROWS_MAX };

typedef struct plate { /* a batch with the columns that GAE reads */
    sk_batch b;
    float    value[MAX], reward[MAX], final_value[MAX], bootstrap[ROWS_MAX], advantage[MAX], target[MAX];
    uint8_t  terminated[MAX], truncated[MAX];
} plate;

static void plate_init(plate *p, int n_steps, int n_rows) {
    memset(p, 0, sizeof *p);
    p->b = (sk_batch){.shape = {.n_steps = n_steps, .n_rows = n_rows}, .value = p->value, .reward = p->reward,
                      .final_value = p->final_value, .bootstrap = p->bootstrap, .terminated = p->terminated,
                      .truncated = p->truncated};
    for (int i = 0; i < MAX; i++) p->advantage[i] = p->target[i] = NAN;
}

static uint32_t draw(uint64_t *n) {
    uint32_t words[4];
    sk_philox(1, sk_stream_id(SK_STREAM_TEST, 0), (*n)++, words);
    return words[0];
}
static float noise(uint64_t *n) { return sk_u32_to_unit(draw(n)) * 2.0f - 1.0f; }

/* The discounted sum of one-step errors to the end of the episode or of the batch. */
static double slow(const plate *p, const float *reward, double gamma, double lambda, int t, int r) {
    double sum = 0.0, weight = 1.0;
    int    rows = p->b.shape.n_rows;
    for (int k = t; k < p->b.shape.n_steps; k++) {
        int    i = k * rows + r;
        double next = k + 1 < p->b.shape.n_steps ? (double)p->value[i + rows] : (double)p->bootstrap[r];
        if (p->truncated[i]) next = (double)p->final_value[i];
        if (p->terminated[i]) next = 0.0;
        sum += weight * ((double)reward[i] + gamma * next - (double)p->value[i]);
        if (p->terminated[i] || p->truncated[i]) break;
        weight *= gamma * lambda;
    }
    return sum;
}

static void agrees(plate *p, const float *reward, double gamma, double lambda) {
    int rows = p->b.shape.n_rows, n = rows * p->b.shape.n_steps;
    sk_gae(&p->b, reward, &(sk_gae_params){(float)gamma, (float)lambda}, p->advantage, p->target);
    for (int i = 0; i < n; i++) {
        double wanted = slow(p, reward, gamma, lambda, i / rows, i % rows);
        cr_assert_float_eq(p->advantage[i], wanted, 2e-5 * (1.0 + fabs(wanted)), "A at step %d, row %d: %g, wanted %g",
                           i / rows, i % rows, (double)p->advantage[i], wanted);
        cr_assert_float_eq(p->target[i], wanted + (double)p->value[i], 2e-5 * (1.0 + fabs(wanted)));
    }
    for (int i = n; i < MAX; i++) cr_assert(isnan(p->advantage[i]) && isnan(p->target[i]), "written past the end");
}

Test(gae, is_the_sum_over_the_episode_for_random_ends) {
    static const double gammas[] = {0.0, 0.9, 0.99, 1.0}, lambdas[] = {0.0, 0.8, 1.0};
    uint64_t            n = 0;
    int                 seen[4] = {0}; /* neither, terminated, truncated, both */
    for (int trial = 0; trial < 240; trial++) {
        plate p;
        plate_init(&p, 1 + (int)(draw(&n) % STEPS_MAX), 1 + (int)(draw(&n) % ROWS_MAX));
        for (int i = 0; i < p.b.shape.n_steps * p.b.shape.n_rows; i++) {
            p.value[i] = noise(&n), p.reward[i] = noise(&n), p.final_value[i] = 5.0f * noise(&n);
            p.terminated[i] = draw(&n) % 8 == 0, p.truncated[i] = draw(&n) % 8 == 0;
            seen[p.terminated[i] + 2 * p.truncated[i]]++;
        }
        for (int r = 0; r < ROWS_MAX; r++) p.bootstrap[r] = 3.0f * noise(&n);
        agrees(&p, p.reward, gammas[trial % 4], lambdas[trial % 3]);
    }
    for (int i = 0; i < 4; i++) cr_assert_gt(seen[i], 50);
}

/* By hand: gamma 0.5, lambda 0.5, values 1, rewards 1. */
Test(gae, bootstraps_when_truncated_and_not_when_terminated) {
    plate p;
    plate_init(&p, 2, 4);
    for (int i = 0; i < 8; i++) p.value[i] = p.reward[i] = 1.0f, p.final_value[i] = 8.0f;
    for (int r = 0; r < 4; r++) p.bootstrap[r] = 2.0f;
    p.terminated[1] = 1;                  /* row 1 ends by itself in step 0            */
    p.truncated[2] = 1;                   /* row 2 is cut                              */
    p.terminated[3] = p.truncated[3] = 1; /* row 3 both: terminated wins               */
    sk_gae(&p.b, p.reward, &(sk_gae_params){0.5f, 0.5f}, p.advantage, p.target);
    static const float wanted[8] = {0.5f + 0.25f * 1.0f, 0.0f, 4.0f, 0.0f, /* 1 + 0.5 V' - 1 (+ 0.25 A of step 1) */
                                    1.0f, 1.0f, 1.0f, 1.0f};              /* 1 + 0.5 * 2 - 1, the batch's end    */
    for (int i = 0; i < 8; i++) cr_assert_eq(p.advantage[i], wanted[i], "%d: %g", i, (double)p.advantage[i]);
}

Test(gae, uses_the_rewards_it_is_given) {
    plate p;
    plate_init(&p, 3, 2);
    float scaled[6] = {1, 2, 3, 4, 5, 6};
    for (int i = 0; i < 6; i++) p.reward[i] = NAN;
    agrees(&p, scaled, 0.9, 0.9);
}

Test(gae, sees_nothing_behind_an_end) {
    plate p, clean;
    plate_init(&p, 6, 1);
    p.terminated[1] = 1;
    p.truncated[3] = 1, p.final_value[3] = 2.0f;
    for (int i = 0; i < 6; i++) p.value[i] = p.reward[i] = (float)i;
    p.bootstrap[0] = 1.0f;
    clean = p;
    clean.b = p.b;
    p.value[4] = p.value[5] = p.reward[4] = p.bootstrap[0] = NAN;
    p.final_value[0] = p.final_value[1] = INFINITY;
    sk_gae(&p.b, p.reward, &(sk_gae_params){0.9f, 0.9f}, p.advantage, p.target);
    float advantage[6], target[6];
    clean.b.value = clean.value, clean.b.final_value = clean.final_value, clean.b.bootstrap = clean.bootstrap;
    sk_gae(&clean.b, clean.reward, &(sk_gae_params){0.9f, 0.9f}, advantage, target);
    cr_assert_eq(memcmp(p.advantage, advantage, 4 * sizeof(float)), 0);
    cr_assert_eq(memcmp(p.target, target, 4 * sizeof(float)), 0);
    for (int i = 0; i < 4; i++) cr_assert(isfinite(p.advantage[i]));
}
