/* Elementary functions against libm in double over their whole range, NaN and infinity, slopes against
 * central differences in double, and arrays of every length. */
#include "tests/nn/nn_fixture.h"

#include <float.h>

/* The functions again, in double. */
static double plain_sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
static double plain_gelu(double x) {
    return x * plain_sigmoid(2.0 * sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x));
}
static double plain_unary(sk_unary kind, double a, double b, double x) {
    switch (kind) {
    case SK_UNARY_IDENTITY:
        return x;
    case SK_UNARY_TANH:
        return tanh(x);
    case SK_UNARY_RELU:
        return x > 0.0 ? x : 0.0;
    case SK_UNARY_ELU:
        return x > 0.0 ? x : expm1(x);
    case SK_UNARY_GELU:
        return plain_gelu(x);
    case SK_UNARY_SILU:
        return x * plain_sigmoid(x);
    case SK_UNARY_SIGMOID:
        return plain_sigmoid(x);
    case SK_UNARY_EXP:
        return exp(x);
    case SK_UNARY_LOG:
        return log(x);
    case SK_UNARY_SQUARE:
        return x * x;
    case SK_UNARY_AFFINE:
        return a * x + b;
    case SK_UNARY_CLIP:
        return x < a ? a : x > b ? b : x;
    case SK_UNARY_HUBER:
        return fabs(x) > a ? a * (fabs(x) - a / 2.0) : x * x / 2.0;
    default:
        return NAN;
    }
}

enum { CHUNK = 1000 };                                /* not a multiple of a vector */
static const float unary_b = 1.25f;
/* AFFINE's slope, the start of CLIP's range, HUBER's bend */
static float unary_a(int kind) { return kind == SK_UNARY_HUBER ? 0.75f : -0.75f; }

/* What is allowed: |error| <= relative * |exact| or <= absolute, for x in [low, high]. */
static const struct accuracy {
    sk_unary kind;
    const char *name;
    float low, high;
    double relative, absolute;
} accuracies[] = {
    {SK_UNARY_TANH, "tanh", -FLT_MAX, FLT_MAX, 4e-7, 0.0},
    {SK_UNARY_EXP, "exp", -87.33f, 88.37f, 1.5e-7, 0.0},
    {SK_UNARY_LOG, "log", FLT_MIN, FLT_MAX, 2e-7, 3e-8},
    {SK_UNARY_SIGMOID, "sigmoid", -87.33f, FLT_MAX, 2e-7, 0.0},
    {SK_UNARY_SIGMOID, "sigmoid far below", -FLT_MAX, -87.33f, 0.0, 2e-38},
    {SK_UNARY_ELU, "elu", -FLT_MAX, FLT_MAX, 0.0, 1e-7},
    {SK_UNARY_SILU, "silu", -87.33f, FLT_MAX, 3e-7, 0.0},
    {SK_UNARY_SILU, "silu far below", -1e6f, -87.33f, 0.0, 1e-30},
    {SK_UNARY_GELU, "gelu", -3.0f, 1e9f, 1.5e-6, 0.0},
    {SK_UNARY_GELU, "gelu far below", -1e9f, -3.0f, 0.0, 1e-8},
    {SK_UNARY_SQUARE, "square", -1e18f, 1e18f, 1e-7, 1e-37},
    {SK_UNARY_AFFINE, "affine", -1e30f, 1e30f, 2e-7, 2e-7},
    {SK_UNARY_CLIP, "clip", -FLT_MAX, FLT_MAX, 0.0, 0.0},
    {SK_UNARY_HUBER, "huber", -FLT_MAX, FLT_MAX, 3e-7, 1e-37},
    {SK_UNARY_RELU, "relu", -FLT_MAX, FLT_MAX, 0.0, 0.0},
    {SK_UNARY_IDENTITY, "identity", -FLT_MAX, FLT_MAX, 0.0, 0.0},
};

/* Floats in rising order as integers, so that a range can be walked through every size of number. */
static int64_t order_of(float x) {
    uint32_t bits = fix_bits(x);
    return bits >> 31 ? -(int64_t)(bits & 0x7fffffffu) : (int64_t)bits;
}
static float float_at(int64_t order) {
    return fix_from_bits(order < 0 ? 0x80000000u | (uint32_t)-order : (uint32_t)order);
}

static void check_chunk(const sk_kernels *k, const struct accuracy *want, const float *x, double *worst) {
    float y[CHUNK];
    k->unary((int)want->kind, unary_a(want->kind), unary_b, x, y, CHUNK);
    for (int i = 0; i < CHUNK; i++) {
        double exact = plain_unary(want->kind, (double)unary_a(want->kind), (double)unary_b, (double)x[i]);
        double err = fabs((double)y[i] - exact), relative = err / fmax(fabs(exact), (double)FLT_MIN);
        int ok = err <= want->absolute || relative <= want->relative;
        if (!ok)
            cr_assert_fail("%s %s(%.9g) is %.9g, should be %.9g", k->level, want->name, (double)x[i],
                           (double)y[i], exact);
        if (err > want->absolute && relative > worst[0]) worst[0] = relative;
        if (err > worst[1]) worst[1] = err;
    }
}

Test(elementwise, functions_are_accurate_over_their_whole_range) {
    enum { STEP = 5003 }; /* every 5,003rd float */
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(accuracies); s++) {
        const struct accuracy *want = &accuracies[s];
        double worst[2] = {0.0, 0.0}; /* relative where that counts, absolute */
        int64_t last = order_of(want->high), at = order_of(want->low);
        while (at <= last) {
            float x[CHUNK];
            for (int i = 0; i < CHUNK; i++, at += STEP) x[i] = float_at(at < last ? at : last);
            check_chunk(k, want, x, worst);
        }
        cr_log_info("%s %-18s worst relative %.3g, absolute %.3g\n", k->level, want->name, worst[0],
                    worst[1]);
    }
}

/* A dense look at where the polynomials are used at their full width. */
Test(elementwise, functions_are_accurate_around_one) {
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(accuracies); s++) {
        const struct accuracy *want = &accuracies[s];
        double worst[2] = {0.0, 0.0}, low = fmax((double)want->low, -10.0);
        double high = fmin((double)want->high, 10.0);
        for (int at = 0; low < high && at < 300000; at += CHUNK) {
            float x[CHUNK];
            for (int i = 0; i < CHUNK; i++) x[i] = (float)(low + (high - low) * (at + i) / 300000.0);
            check_chunk(k, want, x, worst);
        }
        cr_log_info("%s %-18s [-10, 10] relative %.3g, absolute %.3g\n", k->level, want->name, worst[0],
                    worst[1]);
    }
}

Test(elementwise, known_points_are_exact) {
    static const struct {
        sk_unary kind;
        float x, y;
    } points[] = {
        {SK_UNARY_TANH, 0.0f, 0.0f},    {SK_UNARY_EXP, 0.0f, 1.0f},  {SK_UNARY_LOG, 1.0f, 0.0f},
        {SK_UNARY_SIGMOID, 0.0f, 0.5f}, {SK_UNARY_GELU, 0.0f, 0.0f}, {SK_UNARY_SILU, 0.0f, 0.0f},
        {SK_UNARY_ELU, 0.0f, 0.0f},     {SK_UNARY_RELU, 0.0f, 0.0f}, {SK_UNARY_SQUARE, -3.0f, 9.0f}};
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(points); s++) {
        float y = NAN;
        k->unary((int)points[s].kind, 0.0f, 0.0f, &points[s].x, &y, 1);
        cr_assert_eq(y, points[s].y, "v%d kind %d: %a", level, (int)points[s].kind, (double)y);
    }
}

Test(elementwise, tanh_and_sigmoid_stay_in_their_range) {
    FOR_LEVELS(level, k)
    for (int at = -20000; at < 20000; at++) {
        float x = (float)at / 1000.0f, y[2];
        k->unary(SK_UNARY_TANH, 0.0f, 0.0f, &x, &y[0], 1);
        k->unary(SK_UNARY_SIGMOID, 0.0f, 0.0f, &x, &y[1], 1);
        cr_assert(y[0] >= -1.0f && y[0] <= 1.0f, "v%d tanh(%g) = %.9g", level, (double)x, (double)y[0]);
        cr_assert(y[1] > 0.0f && y[1] <= 1.0f, "v%d sigmoid(%g) = %.9g", level, (double)x, (double)y[1]);
    }
}

Test(elementwise, nan_in_gives_nan_out_in_its_own_lane_only) {
    enum { N = 37 };
    FOR_LEVELS(level, k)
    for (int kind = 0; kind < SK_UNARY_COUNT; kind++)
        for (int at = 0; at < N; at++) {
            float x[N], y[N], dy[N], dx[N];
            for (int i = 0; i < N; i++) x[i] = i == at ? NAN : 0.5f, dy[i] = i == at ? NAN : 1.0f;
            k->unary(kind, unary_a(kind), unary_b, x, y, N);
            for (int i = 0; i < N; i++)
                cr_assert_eq(!!isnan(y[i]), i == at, "v%d kind %d lane %d", level, kind, i);
            for (int i = 0; i < N; i++) x[i] = y[i] = 0.5f;
            k->unary_grad(kind, unary_a(kind), unary_b, x, y, dy, dx, N, 0);
            for (int i = 0; i < N; i++)
                cr_assert_eq(!!isnan(dx[i]), i == at, "v%d slope %d lane %d", level, kind, i);
        }
    FOR_LEVELS(level, k)
    for (int kind = 0; kind < SK_BINARY_COUNT; kind++)
        for (int side = 0; side < 2; side++) {
            float x[2] = {side ? 1.0f : NAN, 1.0f}, y[2] = {side ? NAN : 2.0f, 2.0f}, z[2];
            k->binary(kind, x, y, z, 2);
            cr_assert(isnan(z[0]), "v%d binary %d side %d: NaN became %g", level, kind, side, (double)z[0]);
            cr_assert_not(isnan(z[1]));
        }
}

Test(elementwise, infinity_goes_to_the_limit) {
    static const struct {
        sk_unary kind;
        float at_minus, at_plus;
    } limits[] = {{SK_UNARY_TANH, -1.0f, 1.0f},    {SK_UNARY_RELU, 0.0f, INFINITY},
                  {SK_UNARY_ELU, -1.0f, INFINITY}, {SK_UNARY_SIGMOID, 0.0f, 1.0f},
                  {SK_UNARY_LOG, NAN, INFINITY},   {SK_UNARY_SQUARE, INFINITY, INFINITY},
                  {SK_UNARY_CLIP, -0.75f, 1.25f},  {SK_UNARY_HUBER, INFINITY, INFINITY},
                  {SK_UNARY_EXP, 0.0f, NAN},
                  {SK_UNARY_GELU, NAN, INFINITY},  {SK_UNARY_SILU, NAN, INFINITY}};
    FOR_LEVELS(level, k)
    for (int s = 0; s < SK_COUNT(limits); s++) {
        float x[2] = {-INFINITY, INFINITY}, want[2] = {limits[s].at_minus, limits[s].at_plus}, y[2];
        k->unary((int)limits[s].kind, unary_a(limits[s].kind), unary_b, x, y, 2);
        for (int i = 0; i < 2; i++) {
            if (isnan(want[i])) continue; /* where nothing is promised */
            int ok = isinf(want[i]) ? y[i] == want[i] : fabsf(y[i] - want[i]) <= 3e-7f;
            cr_assert(ok, "v%d kind %d of %g: %g", level, (int)limits[s].kind, (double)x[i], (double)y[i]);
        }
    }
}

Test(elementwise, exp_and_log_saturate_without_overflow) {
    FOR_LEVELS(level, k) {
        float x[5] = {1e30f, INFINITY, -1e30f, -INFINITY, 89.0f}, y[5];
        k->unary(SK_UNARY_EXP, 0.0f, 0.0f, x, y, 5);
        cr_assert(y[0] > 2.3e38f && isfinite(y[0]) && y[1] == y[0] && y[4] == y[0], "v%d", level);
        cr_assert(y[2] >= 0.0f && y[2] < 1.2e-38f && y[3] == y[2], "v%d", level);
        float z[3] = {0.0f, -1.0f, 1e-44f};
        k->unary(SK_UNARY_LOG, 0.0f, 0.0f, z, y, 3);
        for (int i = 0; i < 3; i++)
            cr_assert_float_eq(y[i], -87.3365f, 1e-3f, "v%d log(%g)", level, (double)z[i]);
    }
}

/* Slopes at points away from kinks; inputs of 5 columns in rows of 5 and flat ones alike end somewhere. */
Test(elementwise, slopes_are_those_of_the_functions) {
    enum { N = 61 };
    FOR_LEVELS(level, k)
    for (int kind = 0; kind < SK_UNARY_COUNT; kind++) {
        uint64_t seed = 11;
        float x[N], y[N], dy[N], dx[N], sum[N];
        for (int i = 0; i < N; i++) {
            x[i] = kind == SK_UNARY_LOG ? 0.2f + 0.1f * (float)i : -3.03f + 0.1f * (float)i;
            dy[i] = (float)fix_uniform(&seed, -1.0, 1.0);
            sum[i] = 1.0f;
        }
        k->unary(kind, unary_a(kind), unary_b, x, y, N);
        k->unary_grad(kind, unary_a(kind), unary_b, x, y, dy, dx, N, 0);
        k->unary_grad(kind, unary_a(kind), unary_b, x, y, dy, sum, N, 1);
        for (int i = 0; i < N; i++) {
            double a = (double)unary_a(kind), b = (double)unary_b, h = 1e-5, at = (double)x[i];
            double slope =
                (plain_unary((sk_unary)kind, a, b, at + h) - plain_unary((sk_unary)kind, a, b, at - h)) /
                (2 * h);
            cr_assert_float_eq(dx[i], slope * (double)dy[i], 2e-6 * (1.0 + fabs(slope)),
                               "v%d kind %d at %g: %g, not %g", level, kind, at, (double)dx[i],
                               slope * (double)dy[i]);
            cr_assert_eq(sum[i], 1.0f + dx[i]);
        }
    }
}

Test(elementwise, slopes_far_out_are_finite) {
    static const float far[] = {-1e4f, -200.0f, -90.0f, -20.0f, 20.0f, 90.0f, 200.0f, 1e4f};
    FOR_LEVELS(level, k)
    for (int kind = SK_UNARY_TANH; kind <= SK_UNARY_SIGMOID; kind++) {
        float y[8], dx[8], dy[8] = {1, 1, 1, 1, 1, 1, 1, 1};
        k->unary(kind, 0.0f, 0.0f, far, y, 8);
        k->unary_grad(kind, 0.0f, 0.0f, far, y, dy, dx, 8, 0);
        for (int i = 0; i < 8; i++) {
            int linear = far[i] > 0.0f && kind != SK_UNARY_TANH && kind != SK_UNARY_SIGMOID;
            cr_assert_float_eq(dx[i], linear ? 1.0f : 0.0f, 1e-6f, "v%d kind %d at %g: %g", level, kind,
                               (double)far[i], (double)dx[i]);
        }
    }
}

static float plain_binary(int kind, float x, float y) {
    switch ((sk_binary)kind) {
    case SK_BINARY_ADD:
        return x + y;
    case SK_BINARY_SUB:
        return x - y;
    case SK_BINARY_MUL:
        return x * y;
    case SK_BINARY_DIV:
        return x / y;
    case SK_BINARY_MIN:
        return x < y ? x : y;
    case SK_BINARY_MAX:
        return x > y ? x : y;
    default:
        return NAN;
    }
}
static void plain_binary_grad(int kind, double x, double y, double d, double *dx, double *dy) {
    int to_x = kind == SK_BINARY_MIN ? x <= y : x >= y; /* ties: the first */
    *dx = kind == SK_BINARY_MUL          ? d * y
          : kind == SK_BINARY_DIV        ? d / y
          : kind < SK_BINARY_MUL || to_x ? d
                                         : 0.0;
    *dy = kind == SK_BINARY_MUL   ? d * x
          : kind == SK_BINARY_DIV ? -d * x / (y * y)
          : kind == SK_BINARY_ADD ? d
          : kind == SK_BINARY_SUB ? -d
          : to_x                  ? 0.0
                                  : d;
}

Test(elementwise, binaries_and_their_slopes_agree_for_every_length) {
    FOR_LEVELS(level, k)
    for (int kind = 0; kind < SK_BINARY_COUNT; kind++)
        for (int n = 1; n <= 40; n++) {
            uint64_t seed = 12;
            float *x = guard_fill((size_t)n, &seed, -2.0, 2.0), *y = guard_fill((size_t)n, &seed, 0.5, 2.0);
            float *z = guard_alloc((size_t)n), *dz = guard_fill((size_t)n, &seed, -1.0, 1.0);
            float *dx = guard_alloc((size_t)n), *dy = guard_fill((size_t)n, &seed, -1.0, 1.0);
            float *dy_was = guard_copy(dy, (size_t)n);
            x[n / 2] = y[n / 2]; /* a tie */
            k->binary(kind, x, y, z, (size_t)n);
            k->binary_grad(kind, x, y, dz, dx, 0, dy, 1, (size_t)n);
            for (int i = 0; i < n; i++) {
                double gx, gy;
                plain_binary_grad(kind, (double)x[i], (double)y[i], (double)dz[i], &gx, &gy);
                cr_assert_eq(z[i], plain_binary(kind, x[i], y[i]), "v%d kind %d", level, kind);
                cr_assert_float_eq(dx[i], gx, 1e-6, "v%d kind %d", level, kind);
                cr_assert_float_eq(dy[i], (double)dy_was[i] + gy, 3e-6, "v%d kind %d", level, kind);
            }
            k->binary_grad(kind, x, y, dz, NULL, 0, NULL, 0, (size_t)n);
            guard_check_all();
        }
}

Test(elementwise, arrays_of_every_length_end_where_they_end) {
    FOR_LEVELS(level, k)
    for (int n = 1; n <= 70; n++)
        for (int kind = 0; kind < SK_UNARY_COUNT; kind++) {
            uint64_t seed = 13;
            size_t size = (size_t)n;
            float *x = guard_fill(size, &seed, 0.1, 2.0), *y = guard_alloc(size), *dx = guard_alloc(size);
            float *long_x = guard_alloc(96), *long_y = guard_alloc(96);
            for (int i = 0; i < 96; i++) long_x[i] = i < n ? x[i] : 1.0f;
            k->unary(kind, unary_a(kind), unary_b, x, y, size);
            k->unary(kind, unary_a(kind), unary_b, long_x, long_y, 96);
            assert_same_bits(y, long_y, size, "a tail");
            k->unary_grad(kind, unary_a(kind), unary_b, x, y, x, dx, size, 0);
            for (size_t i = 0; i < size; i++) cr_assert_not(isnan(dx[i]));
            guard_check_all();
        }
}

Test(elementwise, works_in_place) {
    FOR_LEVELS(level, k)
    for (int kind = 0; kind < SK_UNARY_COUNT; kind++) {
        uint64_t seed = 14;
        float x[37], y[37];
        fix_fill(x, 37, &seed, 0.1, 2.0);
        k->unary(kind, unary_a(kind), unary_b, x, y, 37);
        k->unary(kind, unary_a(kind), unary_b, x, x, 37);
        assert_same_bits(x, y, 37, k->level);
    }
}

Test(normalize, clips_and_keeps_to_its_columns) {
    FOR_LEVELS(level, k)
    for (int cols = 1; cols <= 35; cols++) {
        enum { ROWS = 3 };
        uint64_t seed = 15;
        int y_ld = cols == 1 ? 1 : (cols + 15) / 16 * 16;
        float *x = guard_fill((size_t)(ROWS * cols), &seed, -3.0, 3.0);
        float *mean = guard_fill((size_t)cols, &seed, -1.0, 1.0),
              *inv = guard_fill((size_t)cols, &seed, 0.5, 2.0);
        float *y = guard_alloc((size_t)(ROWS * y_ld));
        for (int i = 0; i < ROWS * y_ld; i++) y[i] = 7.0f;
        k->normalize(ROWS, cols, x, cols, mean, inv, 1.5f, y, y_ld);
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < y_ld; c++) {
                float want =
                    c < cols ? fminf(1.5f, fmaxf(-1.5f, (x[r * cols + c] - mean[c]) * inv[c])) : 7.0f;
                cr_assert_eq(y[r * y_ld + c], want, "v%d cols %d", level, cols);
            }
        guard_check_all();
    }
}
