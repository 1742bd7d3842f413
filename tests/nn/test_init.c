#include "nn/init.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LD_MAX = 96, ROWS_MAX = 96 };
static float w[ROWS_MAX * LD_MAX], other[ROWS_MAX * LD_MAX];

static const struct {
    int rows, cols, ld;
    float gain;
} shapes[] = {{1, 1, 1, 1.0f},    {1, 7, 16, 1.0f},   {7, 1, 1, 2.0f},           {3, 5, 16, 1.41421356f},
              {5, 3, 16, 0.01f},  {16, 16, 16, 1.0f}, {64, 64, 64, 1.41421356f}, {4, 64, 64, 1.0f},
              {64, 2, 16, 0.01f}, {96, 33, 48, 3.0f}, {33, 96, 96, 1.0f}};

/* Scalar product of two rows or, if there are more rows than columns, of two columns. */
static double product(const float *m, int rows, int cols, int ld, int i, int j) {
    double sum = 0.0;
    if (rows <= cols)
        for (int c = 0; c < cols; c++) sum += (double)m[i * ld + c] * (double)m[j * ld + c];
    else
        for (int r = 0; r < rows; r++) sum += (double)m[r * ld + i] * (double)m[r * ld + j];
    return sum;
}

Test(init, rows_or_columns_are_orthogonal_and_as_long_as_the_gain) {
    for (int s = 0; s < SK_COUNT(shapes); s++) {
        int rows = shapes[s].rows, cols = shapes[s].cols, ld = shapes[s].ld, k = rows < cols ? rows : cols;
        double gain2 = (double)shapes[s].gain * (double)shapes[s].gain;
        cr_assert_eq(sk_init_orthogonal(w, rows, cols, ld, shapes[s].gain, 1, 2, NULL), SK_OK);
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++)
                cr_assert_float_eq(product(w, rows, cols, ld, i, j), i == j ? gain2 : 0.0, 1e-5 * gain2,
                                   "(%d x %d): %d with %d", rows, cols, i, j);
    }
}

Test(init, leaves_padding_alone) {
    for (int i = 0; i < ROWS_MAX * LD_MAX; i++) w[i] = 7.0f;
    cr_assert_eq(sk_init_orthogonal(w, 5, 3, 16, 1.0f, 1, 2, NULL), SK_OK);
    for (int i = 0; i < ROWS_MAX * LD_MAX; i++) {
        if (i < 5 * 16 && i % 16 < 3)
            cr_assert_leq(fabsf(w[i]), 1.0f);
        else
            cr_assert_eq(w[i], 7.0f, "float %d", i);
    }
}

Test(init, is_a_function_of_seed_and_index) {
    size_t bytes = sizeof w;
    memset(w, 0, bytes), memset(other, 0, bytes);
    cr_assert_eq(sk_init_orthogonal(w, 8, 8, 16, 1.0f, 5, 3, NULL), SK_OK);
    cr_assert_eq(sk_init_orthogonal(other, 8, 8, 16, 1.0f, 5, 3, NULL), SK_OK);
    cr_assert_eq(memcmp(w, other, bytes), 0, "the same call must give the same bits");
    for (int change = 0; change < 2; change++) {
        cr_assert_eq(sk_init_orthogonal(other, 8, 8, 16, 1.0f, change ? 6 : 5, change ? 3 : 4, NULL), SK_OK);
        for (int i = 0; i < 8 * 16; i++)
            if (i % 16 < 8)
                cr_assert_neq(w[i], other[i], "%s changed, float %d stayed", change ? "seed" : "index", i);
    }
}

/* Over many draws an element of an n x n orthogonal matrix has mean 0 and variance 1 / n (Haar measure). */
Test(init, is_spread_evenly) {
    enum { N = 8, DRAWS = 400 };
    double sum = 0.0, squares = 0.0, corner = 0.0;
    for (int draw = 0; draw < DRAWS; draw++) {
        cr_assert_eq(sk_init_orthogonal(w, N, N, 16, 1.0f, 9, (unsigned)draw, NULL), SK_OK);
        corner += (double)w[0] / DRAWS;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                sum += (double)w[i * 16 + j] / (DRAWS * N * N);
                squares += pow((double)w[i * 16 + j], 2) / (DRAWS * N * N);
            }
    }
    cr_assert_float_eq(squares, 1.0 / N, 1e-6);
    cr_assert_float_eq(sum, 0.0, 0.01);
    cr_assert_float_eq(corner, 0.0, 5.0 / sqrt(N * (double)DRAWS), "element [0, 0] leans to %g", corner);
}
