/* The normaliser against two passes over everything that was seen. */
#include "policies/normalizer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4, ROWS_MAX = 400 };

typedef struct seen {
    float   x[ROWS_MAX][N];
    uint8_t weight[ROWS_MAX];
    int     rows;
} seen;

static float next(uint64_t *state) { /* in [0, 1) */
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-24f;
}

/* Columns of different kinds: far from zero, tiny, constant, heavy-tailed. */
static void draw(seen *s, int rows, uint64_t *state) {
    for (int r = 0; r < rows; r++, s->rows++) {
        float *x = s->x[s->rows];
        x[0] = 1000.0f + next(state);
        x[1] = 1e-5f * (next(state) - 0.5f);
        x[2] = 7.0f;
        x[3] = 1.0f / (0.01f + next(state));
        s->weight[s->rows] = next(state) < 0.7f;
    }
}

static void two_pass(const seen *s, int use_weight, double mean[N], double m2[N], double *count) {
    *count = 0;
    memset(mean, 0, N * sizeof *mean);
    memset(m2, 0, N * sizeof *m2);
    for (int r = 0; r < s->rows; r++) *count += !use_weight || s->weight[r];
    for (int i = 0; i < N; i++) {
        for (int r = 0; r < s->rows; r++)
            if (!use_weight || s->weight[r]) mean[i] += (double)s->x[r][i] / *count;
        for (int r = 0; r < s->rows; r++)
            if (!use_weight || s->weight[r]) m2[i] += pow((double)s->x[r][i] - mean[i], 2);
    }
}

static void agrees(const sk_normalizer *self, const seen *s, int use_weight) {
    double mean[N], m2[N], count;
    float  got_mean[N], got_inv[N];
    two_pass(s, use_weight, mean, m2, &count);
    sk_normalizer_constants(self, got_mean, got_inv);
    cr_assert_eq(self->count, count);
    for (int i = 0; i < N; i++) {
        double inv = 1.0 / sqrt(m2[i] / count + SK_NORMALIZER_EPS);
        cr_assert_float_eq(self->mean[i], mean[i], 1e-12 * (1.0 + fabs(mean[i])), "mean[%d]: %.17g, wanted %.17g", i,
                           self->mean[i], mean[i]);
        cr_assert_float_eq(self->m2[i], m2[i], 1e-9 * (1e-12 + m2[i]), "m2[%d]: %.17g, wanted %.17g", i, self->m2[i],
                           m2[i]);
        cr_assert_eq(got_mean[i], (float)self->mean[i]);
        cr_assert_float_eq(got_inv[i], inv, 1e-6 * inv);
    }
}

Test(normalizer, agrees_with_two_passes_over_all_batches) {
    static const int sizes[] = {1, 1, 7, 64, 3, 200, 50};
    for (int use_weight = 0; use_weight < 2; use_weight++) {
        sk_normalizer self;
        static seen   s;
        uint64_t      state = 4;
        memset(&s, 0, sizeof s);
        cr_assert_eq(sk_normalizer_init(&self, N, NULL), SK_OK);
        for (int b = 0; b < SK_COUNT(sizes); b++) {
            int before = s.rows;
            draw(&s, sizes[b], &state);
            s.weight[0] = 1; /* something from the start on */
            sk_normalizer_update(&self, s.x[before], use_weight ? s.weight + before : NULL, sizes[b]);
            agrees(&self, &s, use_weight);
        }
        sk_normalizer_deinit(&self);
    }
}

Test(normalizer, rows_without_weight_may_be_anything) {
    sk_normalizer clean, foul;
    static seen   s;
    uint64_t      state = 9;
    memset(&s, 0, sizeof s);
    draw(&s, 40, &state);
    cr_assert_eq(sk_normalizer_init(&clean, N, NULL), SK_OK);
    cr_assert_eq(sk_normalizer_init(&foul, N, NULL), SK_OK);
    sk_normalizer_update(&clean, s.x[0], s.weight, 40);
    for (int r = 0; r < 40; r++)
        for (int i = 0; i < N && !s.weight[r]; i++) s.x[r][i] = i % 2 ? NAN : INFINITY;
    sk_normalizer_update(&foul, s.x[0], s.weight, 40);
    cr_assert_eq(clean.count, foul.count);
    cr_assert_eq(memcmp(clean.mean, foul.mean, 2 * N * sizeof(double)), 0);
    double before = clean.count;
    memset(s.weight, 0, sizeof s.weight); /* and nothing is learned from nothing */
    sk_normalizer_update(&clean, s.x[0], s.weight, 40);
    sk_normalizer_update(&clean, s.x[0], NULL, 0);
    cr_assert_eq(clean.count, before);
    cr_assert_eq(memcmp(clean.mean, foul.mean, 2 * N * sizeof(double)), 0);
    sk_normalizer_deinit(&clean);
    sk_normalizer_deinit(&foul);
}

/* One batch and the same rows in two give the same but for rounding; each way always gives the same bits. */
Test(normalizer, merges_in_order_and_repeatably) {
    sk_normalizer one, two, again;
    static seen   s;
    uint64_t      state = 2;
    memset(&s, 0, sizeof s);
    draw(&s, 100, &state);
    cr_assert_eq(sk_normalizer_init(&one, N, NULL), SK_OK);
    cr_assert_eq(sk_normalizer_init(&two, N, NULL), SK_OK);
    cr_assert_eq(sk_normalizer_init(&again, N, NULL), SK_OK);
    sk_normalizer_update(&one, s.x[0], NULL, 100);
    for (int k = 0; k < 2; k++) {
        sk_normalizer *self = k ? &again : &two;
        sk_normalizer_update(self, s.x[0], NULL, 30);
        sk_normalizer_update(self, s.x[30], NULL, 70);
    }
    agrees(&one, &s, 0);
    agrees(&two, &s, 0);
    cr_assert_eq(memcmp(two.mean, again.mean, 2 * N * sizeof(double)), 0);
    sk_normalizer_deinit(&one);
    sk_normalizer_deinit(&two);
    sk_normalizer_deinit(&again);
}

Test(normalizer, changes_nothing_before_the_first_sample) {
    sk_normalizer self;
    float         mean[N], inv[N];
    cr_assert_eq(sk_normalizer_init(&self, N, NULL), SK_OK);
    sk_normalizer_constants(&self, mean, inv);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(mean[i], 0.0f);
        cr_assert_float_eq(inv[i], 1.0f, 1e-7);
    }
    sk_normalizer_deinit(&self);
}

/* A column that never varies is divided by sqrt(eps), not by zero. */
Test(normalizer, keeps_a_constant_column_finite) {
    sk_normalizer self;
    float         x[3] = {5.0f, 5.0f, 5.0f}, mean, inv;
    cr_assert_eq(sk_normalizer_init(&self, 1, NULL), SK_OK);
    sk_normalizer_update(&self, x, NULL, 3);
    sk_normalizer_constants(&self, &mean, &inv);
    cr_assert_eq(mean, 5.0f);
    cr_assert_float_eq(inv, 1e4, 1.0);
    sk_normalizer_deinit(&self);
}

Test(normalizer, leaves_integers_alone) {
    sk_normalizer self, plain;
    static seen   s;
    uint64_t      state = 6;
    float         mean[N], inv[N];
    memset(&s, 0, sizeof s);
    draw(&s, 50, &state);
    cr_assert_eq(sk_normalizer_init(&plain, N, NULL), SK_OK);
    sk_normalizer_update(&plain, s.x[0], NULL, 50);
    cr_assert_eq(sk_normalizer_init(&self, N, NULL), SK_OK);
    sk_normalizer_skip(&self, 1, 2);
    for (int r = 0; r < 50; r++) memcpy(&s.x[r][1], (int[]){0x7fc00000, r}, 8); /* bits of integers: a NaN too */
    sk_normalizer_update(&self, s.x[0], NULL, 50);
    sk_normalizer_constants(&self, mean, inv);
    for (int i = 1; i < 3; i++)
        cr_assert(mean[i] == 0.0f && inv[i] == 1.0f && self.mean[i] == 0.0 && self.m2[i] == 0.0);
    for (int i = 0; i < N; i += 3) cr_assert(self.mean[i] == plain.mean[i] && self.m2[i] == plain.m2[i]);
    sk_normalizer_deinit(&self);
    sk_normalizer_deinit(&plain);
}
