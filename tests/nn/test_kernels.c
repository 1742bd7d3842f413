/* Products, sums and Adam, at every instruction set of this machine, against plain C in double and OpenBLAS.
 */
#include "tests/nn/nn_fixture.h"

#include <cblas.h>

#define ULP 0x1p-24 /* half a unit in the last place of 1.0f: the most one rounding is off */

/* One product: A (m x k), B (k x n), C (m x n) with rows longer than needed. */
typedef struct product {
    int m, n, k, transposed, with_bias, accumulate;
    float *a, *b, *c, *start, *bias;
} product;

static sk_gemm gemm_of(const product *p) {
    sk_gemm g = {.m = p->m,
                 .n = p->n,
                 .k = p->k,
                 .a = p->a,
                 .b = p->b,
                 .b_row = p->n,
                 .c = p->c,
                 .c_row = p->n,
                 .bias = p->bias,
                 .accumulate = p->accumulate};
    g.a_row = p->transposed ? 1 : p->k;
    g.a_col = p->transposed ? p->m : 1;
    return g;
}

static product product_create(int m, int n, int k, int variant, uint64_t *seed) {
    product p = {.m = m,
                 .n = n,
                 .k = k,
                 .transposed = variant & 1,
                 .with_bias = variant == 2 || variant == 3,
                 .accumulate = variant >= 4};
    p.a = guard_fill((size_t)m * k, seed, -1.0, 1.0);
    p.b = guard_fill((size_t)k * n, seed, -1.0, 1.0);
    p.c = guard_alloc((size_t)m * n);
    p.start = guard_fill((size_t)m * n, seed, -1.0, 1.0);
    if (p.with_bias) p.bias = guard_fill((size_t)n, seed, -1.0, 1.0);
    if (p.accumulate) memcpy(p.c, p.start, sizeof(float) * (size_t)m * n);
    return p;
}

static float a_of(const product *p, int i, int q) {
    return p->transposed ? p->a[q * p->m + i] : p->a[i * p->k + q];
}
static float start_of(const product *p, int i, int j) {
    return p->accumulate ? p->start[i * p->n + j] : p->bias ? p->bias[j] : 0.0f;
}

/* The header's promise to the bit: one chain of k steps in rising order from the starting value. */
static float chain(const product *p, int level, int i, int j) {
    float acc = start_of(p, i, j);
    for (int q = 0; q < p->k; q++) {
        float a = a_of(p, i, q), b = p->b[q * p->n + j];
        acc = level == 2 ? a * b + acc : fmaf(a, b, acc);
    }
    return acc;
}

static void check_product(const product *p, int level) {
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++) {
            double exact = (double)start_of(p, i, j), size = fabs(exact), got = (double)p->c[i * p->n + j];
            for (int q = 0; q < p->k; q++) {
                double term = (double)a_of(p, i, q) * (double)p->b[q * p->n + j];
                exact += term;
                size += fabs(term);
            }
            /* Higham 2002, eq. 3.5: |error| <= gamma_(k+1) * sum |a||b| */
            cr_assert_leq(fabs(got - exact), (p->k + 2) * ULP * size,
                          "v%d m %d n %d k %d: C[%d, %d] is %.9g, should be %.9g", level, p->m, p->n, p->k, i,
                          j, got, exact);
            cr_assert_eq(fix_bits(p->c[i * p->n + j]), fix_bits(chain(p, level, i, j)),
                         "v%d m %d n %d k %d: C[%d, %d] is not the sum in rising order", level, p->m, p->n,
                         p->k, i, j);
        }
}

static const int gemm_ks[] = {1, 2, 3, 4, 7, 16, 33, 64, 70};

Test(gemm, agrees_with_double_and_sums_in_rising_order) {
    uint64_t seed = 1;
    FOR_LEVELS(level, k)
    for (int m = 1; m <= 20; m++)
        for (int n = 16; n <= 80; n += 16)
            for (int s = 0; s < SK_COUNT(gemm_ks); s++)
                for (int variant = 0; variant < 6; variant++) {
                    product p = product_create(m, n, gemm_ks[s], variant, &seed);
                    sk_gemm g = gemm_of(&p);
                    k->gemm(&g);
                    check_product(&p, level);
                    guard_check_all();
                }
}

Test(gemm, agrees_with_openblas) {
    uint64_t seed = 2;
    FOR_LEVELS(level, k)
    for (int m = 1; m <= 20; m++)
        for (int n = 16; n <= 80; n += 16)
            for (int s = 0; s < SK_COUNT(gemm_ks); s++)
                for (int variant = 0; variant < 6; variant++) {
                    int depth = gemm_ks[s];
                    product p = product_create(m, n, depth, variant, &seed);
                    sk_gemm g = gemm_of(&p);
                    k->gemm(&g);
                    for (int i = 0; i < m; i++)
                        for (int j = 0; j < n; j++) p.start[i * n + j] = start_of(&p, i, j);
                    cblas_sgemm(CblasRowMajor, p.transposed ? CblasTrans : CblasNoTrans, CblasNoTrans, m, n,
                                depth, 1.0f, p.a, p.transposed ? m : depth, p.b, n, 1.0f, p.start, n);
                    for (int i = 0; i < m * n; i++) /* |a|, |b|, |c| <= 1 */
                        cr_assert_leq(fabsf(p.c[i] - p.start[i]), 2 * (depth + 2) * ULP * (depth + 1),
                                      "v%d m %d n %d k %d", level, m, n, depth);
                    guard_check_all();
                }
}

Test(gemm, an_element_does_not_depend_on_the_shape_around_it) {
    enum { M = 29, N = 80, K = 37 };
    uint64_t seed = 3;
    FOR_LEVELS(level, k) {
        product p = product_create(M, N, K, 2, &seed);
        sk_gemm g = gemm_of(&p);
        k->gemm(&g);
        float *piece = guard_alloc(16);
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j += 16) {
                sk_gemm one = g;
                one.m = 1;
                one.n = 16;
                one.a = p.a + i * K;
                one.b = p.b + j;
                one.bias = p.bias + j;
                one.c = piece;
                k->gemm(&one);
                assert_same_bits(piece, p.c + i * N + j, 16, k->level);
            }
        guard_check_all();
    }
}

Test(
    gemm,
    reads_rows_of_any_length) { /* as inputs lie in the caller's table: longer rows, or overlapping windows */
    enum { M = 9, N = 32, K = 5 };
    static const int rows[] = {K, K + 1, 23, 2};
    uint64_t seed = 4;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(rows); s++) {
        int a_row = rows[s];
        product p = product_create(M, N, K, 0, &seed);
        float *a = guard_fill((size_t)(M - 1) * a_row + K, &seed, -1.0, 1.0);
        sk_gemm g = gemm_of(&p);
        g.a = a;
        g.a_row = a_row;
        k->gemm(&g);
        for (int i = 0; i < M; i++)
            for (int q = 0; q < K; q++) p.a[i * K + q] = a[i * a_row + q];
        check_product(&p, level);
        guard_check_all();
    }
}

Test(gemm, one_row_of_any_width_is_the_row_of_a_taller_product) {
    static const int widths[] = {16, 32, 48, 64, 96, 128, 144, 240, 256, 272, 512, 528};
    uint64_t seed = 16;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(widths); s++)
        for (int variant = 0; variant < 6; variant++) {
            int n = widths[s];
            product p = product_create(2, n, 37, variant, &seed);
            sk_gemm g = gemm_of(&p);
            float *row = p.accumulate ? guard_copy(p.start + n, (size_t)n) : guard_alloc((size_t)n);
            k->gemm(&g);
            check_product(&p, level);
            g.m = 1;
            g.a += g.a_row;
            g.c = row;
            k->gemm(&g);
            assert_same_bits(row, p.c + n, (size_t)n, k->level);
            guard_check_all();
        }
}

Test(dot_rows, agrees_with_double) {
    uint64_t seed = 5;
    FOR_LEVELS(level, k)
    for (int depth = 1; depth <= 70; depth++)
        for (int rows = 1; rows <= 4; rows += 3) {
            int x_row = depth + (depth % 3);
            float *x = guard_fill((size_t)(rows - 1) * x_row + depth, &seed, -1.0, 1.0);
            float *w = guard_fill((size_t)depth, &seed, -1.0, 1.0), *y = guard_alloc((size_t)rows);
            k->dot_rows(rows, depth, x, x_row, w, 0.25f, y);
            for (int r = 0; r < rows; r++) {
                double exact = 0.25, size = 0.25;
                for (int q = 0; q < depth; q++) {
                    exact += (double)x[r * x_row + q] * (double)w[q];
                    size += fabs((double)x[r * x_row + q] * (double)w[q]);
                }
                cr_assert_leq(fabs((double)y[r] - exact), (depth + 2) * ULP * size, "v%d k %d", level, depth);
            }
            guard_check_all();
        }
}

Test(transpose, turns_rows_into_columns_and_zeroes_the_rest) {
    uint64_t seed = 6;
    FOR_LEVELS(level, k)
    for (int rows = 1; rows <= 35; rows += 2)
        for (int cols = 1; cols <= 20; cols += 3) {
            int src_ld = cols + 2, dst_ld = (rows + 15) / 16 * 16;
            float *src = guard_fill((size_t)rows * src_ld, &seed, -1.0, 1.0);
            float *dst = guard_alloc((size_t)cols * dst_ld);
            k->transpose(rows, cols, src, src_ld, dst, dst_ld);
            for (int c = 0; c < cols; c++)
                for (int r = 0; r < dst_ld; r++)
                    cr_assert_eq(dst[c * dst_ld + r], r < rows ? src[r * src_ld + c] : 0.0f, "v%d", level);
            guard_check_all();
        }
}

Test(col_sum, agrees_with_double) {
    static const int widths[] = {1, 16, 32, 80};
    uint64_t seed = 7;
    FOR_LEVELS(level, k)
    for (int rows = 1; rows <= 40; rows++)
        for (int s = 0; s < SK_COUNT(widths); s++)
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                int n = widths[s];
                float *x = guard_fill((size_t)rows * n, &seed, -1.0, 1.0), *out = guard_alloc((size_t)n);
                for (int c = 0; accumulate && c < n; c++) out[c] = 0.5f;
                k->col_sum(rows, n, x, n, out, accumulate);
                for (int c = 0; c < n; c++) {
                    double exact = accumulate ? 0.5 : 0.0;
                    for (int r = 0; r < rows; r++) exact += (double)x[r * n + c];
                    cr_assert_leq(fabs((double)out[c] - exact), (rows + 1) * ULP * (rows + 0.5),
                                  "v%d rows %d", level, rows);
                }
                guard_check_all();
            }
}

Test(sums, agree_with_double) {
    enum { N_MAX = 9000 };
    static const int sizes[] = {1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 47, 70, 1024, 4095, 4096, 4097, N_MAX};
    uint64_t seed = 8;
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(sizes); s++) {
        size_t n = (size_t)sizes[s];
        float *x = guard_fill(3 * n, &seed, -1.0, 1.0), *out = guard_alloc(n);
        double squares = 0.0;
        for (size_t i = 0; i < 3 * n; i++) squares += (double)x[i] * (double)x[i];
        cr_assert_float_eq(k->sum_squares(x, 3 * n), squares, 1e-5 * squares, "v%d n %zu", level, 3 * n);
        k->sum_slots(3, x, n, out, n);
        for (size_t i = 0; i < n; i++) cr_assert_eq(out[i], x[i] + x[n + i] + x[2 * n + i], "v%d", level);
        k->sum_slots(1, x, n, out, n);
        assert_same_bits(out, x, n, "one slot");
        k->add_to(x, out, n);
        for (size_t i = 0; i < n; i++) cr_assert_eq(out[i], x[i] + x[i], "v%d", level);
        k->scale_add_to(-0.5f, x, out, n);
        for (size_t i = 0; i < n; i++) cr_assert_float_eq(out[i], 1.5f * x[i], 1e-6f, "v%d", level);
        guard_check_all();
    }
}

Test(sums,
     a_large_vector_keeps_its_precision) { /* 2^20 ones in one float sum would be fine, 2^20 tenths not */
    enum { N = 1 << 20 };
    float *x = guard_alloc(N);
    for (int i = 0; i < N; i++) x[i] = 0.1f;
    double exact = (double)N * (double)0.1f * (double)0.1f;
    FOR_LEVELS(level, k) cr_assert_float_eq(k->sum_squares(x, N), exact, 1e-5 * exact, "v%d", level);
    guard_check_all();
}

/* Adam as in the paper, in double. */
typedef struct plain_adam {
    double p, m, v;
} plain_adam;
static void plain_step(plain_adam *s, double grad, int t, double lr) {
    double b1 = (double)0.9f, b2 = (double)0.999f;
    s->m = b1 * s->m + (1.0 - b1) * grad;
    s->v = b2 * s->v + (1.0 - b2) * grad * grad;
    s->p -= lr * (s->m / (1.0 - pow(b1, t))) / (sqrt(s->v / (1.0 - pow(b2, t))) + 1e-5);
}

Test(adam, follows_the_paper_for_100_steps) {
    enum { N = 37, STEPS = 100 };
    const double lr = 1e-2, scale = 0.5;
    FOR_LEVELS(level, k) {
        uint64_t seed = 9;
        plain_adam plain[N] = {0};
        float *p = guard_fill(N, &seed, -1.0, 1.0), *m = guard_alloc(N), *v = guard_alloc(N),
              *grad = guard_alloc(N);
        memset(m, 0, N * sizeof *m);
        memset(v, 0, N * sizeof *v);
        for (int i = 0; i < N; i++) plain[i].p = (double)p[i];
        for (int t = 1; t <= STEPS; t++) {
            for (int i = 0; i < N; i++) { /* sizes from 1e-5 to 10 */
                grad[i] = (float)(fix_uniform(&seed, -1.0, 1.5) * pow(10.0, i % 7 - 5));
                plain_step(&plain[i], scale * (double)grad[i], t, lr);
            }
            k->adam(&(sk_adam_step){.n = N,
                                    .param = p,
                                    .m = m,
                                    .v = v,
                                    .grad = grad,
                                    .grad_scale = (float)scale,
                                    .beta1 = 0.9f,
                                    .beta2 = 0.999f,
                                    .eps = 1e-5f,
                                    .step_size = (float)(lr / (1.0 - pow((double)0.9f, t))),
                                    .inv_sqrt_bias2 = (float)(1.0 / sqrt(1.0 - pow((double)0.999f, t)))});
        }
        for (int i = 0; i < N; i++) {
            cr_assert_float_eq(p[i], plain[i].p, 3e-6, "v%d: parameter %d is %.9g, should be %.9g", level, i,
                               (double)p[i], plain[i].p);
            cr_assert_float_eq(m[i], plain[i].m, 1e-6 * pow(10.0, i % 7 - 5), "v%d", level);
            cr_assert_float_eq(v[i], plain[i].v, 1e-5 * plain[i].v, "v%d", level);
        }
        guard_check_all();
    }
}

Test(adam, a_parameter_without_a_gradient_stays_and_tails_are_not_touched) {
    FOR_LEVELS(level, k)
    for (int n = 1; n <= 40; n++) {
        uint64_t seed = 10;
        float *p = guard_fill((size_t)n, &seed, -1.0, 1.0), *was = guard_copy(p, (size_t)n);
        float *zero = guard_alloc(3 * (size_t)n);
        memset(zero, 0, 3 * (size_t)n * sizeof *zero);
        k->adam(&(sk_adam_step){.n = (size_t)n,
                                .param = p,
                                .m = zero,
                                .v = zero + n,
                                .grad = zero + 2 * n,
                                .grad_scale = 1.0f,
                                .beta1 = 0.9f,
                                .beta2 = 0.999f,
                                .eps = 1e-5f,
                                .step_size = 0.1f,
                                .inv_sqrt_bias2 = 1.0f});
        assert_same_bits(p, was, (size_t)n, k->level);
        guard_check_all();
    }
}
