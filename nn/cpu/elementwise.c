/* elementwise: kernels over flat arrays. Compiled once per instruction set. */
#include "nn/cpu/kernels_level.h"
#include "nn/cpu/simd.h"

/* Run `body` for every full vector and once for the tail: LOAD and STORE are right for each. */
#define FOR_VECTORS(n, body)                                                                               \
    do {                                                                                                   \
        size_t i = 0, left = VL;                                                                           \
        for (; i + VL <= (n); i += VL) {                                                                   \
            body(vload, vstore)                                                                            \
        }                                                                                                  \
        left = (n) - i;                                                                                    \
        if (left) {                                                                                        \
            body(LOAD_TAIL, STORE_TAIL)                                                                    \
        }                                                                                                  \
    } while (0)
#define LOAD_TAIL(p) vload_n((p), left)
#define STORE_TAIL(p, x) vstore_n((p), (x), left)

/* GELU (tanh form): y = x s, s = (1 + tanh(z)) / 2 = sigmoid(2 z), z = sqrt(2 / pi) (x + 0.044715 x^3) */
SK_INLINE vf gelu_gate(vf x) { return vsigmoid(vset(1.5957691216f) * vfma(x * x * x, vset(0.044715f), x)); }
SK_INLINE vf gelu(vf x) { return x * gelu_gate(x); }
SK_INLINE vf gelu_slope(vf x) {
    vf s = gelu_gate(x);
    vf inner_slope = vset(1.5957691216f) * vfma(x * x, vset(3.0f * 0.044715f), vset(1.0f));
    return vfma(x * inner_slope, s * (vset(1.0f) - s), s);
}
SK_INLINE vf elu(vf x) { return vsel_gt(x, vset(0.0f), x, vexp(x) - vset(1.0f)); }
SK_INLINE vf silu_slope(vf x) {
    vf s = vsigmoid(x);
    return s * vfma(x, vset(1.0f) - s, vset(1.0f));
}

#define UNARY_BODY(ld, st, expr)                                                                           \
    vf xv = ld(x + i);                                                                                     \
    st(y + i, (expr));
#define B_IDENTITY(ld, st) UNARY_BODY(ld, st, xv)
#define B_TANH(ld, st) UNARY_BODY(ld, st, vtanh(xv))
#define B_RELU(ld, st) UNARY_BODY(ld, st, vsel_gt(vset(0.0f), xv, vset(0.0f), xv))
#define B_ELU(ld, st) UNARY_BODY(ld, st, elu(xv))
#define B_GELU(ld, st) UNARY_BODY(ld, st, gelu(xv))
#define B_SILU(ld, st) UNARY_BODY(ld, st, xv *vsigmoid(xv))
#define B_SIGMOID(ld, st) UNARY_BODY(ld, st, vsigmoid(xv))
#define B_EXP(ld, st) UNARY_BODY(ld, st, vexp(xv))
#define B_LOG(ld, st) UNARY_BODY(ld, st, vlog(xv))
#define B_SQUARE(ld, st) UNARY_BODY(ld, st, xv *xv)
#define B_AFFINE(ld, st) UNARY_BODY(ld, st, vfma(av, xv, bv))
#define B_CLIP(ld, st) UNARY_BODY(ld, st, vmin(bv, vmax(av, xv)))
#define B_HUBER(ld, st)                                                                                    \
    UNARY_BODY(ld, st, vsel_gt(vabs(xv), av, av *(vabs(xv) - vset(0.5f) * av), vset(0.5f) * xv * xv))

void SK_K(unary)(int kind, float a, float b, const float *x, float *y, size_t n) {
    vf av = vset(a), bv = vset(b);
    switch ((sk_unary)kind) {
    case SK_UNARY_IDENTITY: FOR_VECTORS(n, B_IDENTITY); break;
    case SK_UNARY_TANH: FOR_VECTORS(n, B_TANH); break;
    case SK_UNARY_RELU: FOR_VECTORS(n, B_RELU); break;
    case SK_UNARY_ELU: FOR_VECTORS(n, B_ELU); break;
    case SK_UNARY_GELU: FOR_VECTORS(n, B_GELU); break;
    case SK_UNARY_SILU: FOR_VECTORS(n, B_SILU); break;
    case SK_UNARY_SIGMOID: FOR_VECTORS(n, B_SIGMOID); break;
    case SK_UNARY_EXP: FOR_VECTORS(n, B_EXP); break;
    case SK_UNARY_LOG: FOR_VECTORS(n, B_LOG); break;
    case SK_UNARY_SQUARE: FOR_VECTORS(n, B_SQUARE); break;
    case SK_UNARY_AFFINE: FOR_VECTORS(n, B_AFFINE); break;
    case SK_UNARY_CLIP: FOR_VECTORS(n, B_CLIP); break;
    case SK_UNARY_HUBER: FOR_VECTORS(n, B_HUBER); break;
    case SK_UNARY_COUNT: break;
    }
}

/* dx = or += slope * dy; the slope is written through y = f(x) where that is enough, so a fused layer needs
 * not keep its input. */
#define GRAD_BODY(ld, st, needs_x, slope)                                                                  \
    vf yv = ld(y + i), dv = ld(dy + i), xv = (needs_x) ? ld(x + i) : yv;                                   \
    vf gv = dv * (slope);                                                                                  \
    (void)yv, (void)xv;                                                                                    \
    if (accumulate) gv = ld(dx + i) + gv;                                                                  \
    st(dx + i, gv);
#define G_IDENTITY(ld, st) GRAD_BODY(ld, st, 0, vset(1.0f))
#define G_TANH(ld, st) GRAD_BODY(ld, st, 0, vset(1.0f) - yv * yv)
#define G_RELU(ld, st) GRAD_BODY(ld, st, 0, vsel_gt(yv, vset(0.0f), vset(1.0f), vset(0.0f)))
#define G_ELU(ld, st) GRAD_BODY(ld, st, 0, vsel_gt(yv, vset(0.0f), vset(1.0f), yv + vset(1.0f)))
#define G_GELU(ld, st) GRAD_BODY(ld, st, 1, gelu_slope(xv))
#define G_SILU(ld, st) GRAD_BODY(ld, st, 1, silu_slope(xv))
#define G_SIGMOID(ld, st) GRAD_BODY(ld, st, 0, yv *(vset(1.0f) - yv))
#define G_EXP(ld, st) GRAD_BODY(ld, st, 0, yv)
#define G_LOG(ld, st) GRAD_BODY(ld, st, 1, vset(1.0f) / xv)
#define G_SQUARE(ld, st) GRAD_BODY(ld, st, 1, xv + xv)
#define G_AFFINE(ld, st) GRAD_BODY(ld, st, 0, av)
#define G_CLIP(ld, st)                                                                                     \
    GRAD_BODY(ld, st, 1, vsel_ge(xv, av, vsel_ge(bv, xv, vset(1.0f), vset(0.0f)), vset(0.0f)))
#define G_HUBER(ld, st) GRAD_BODY(ld, st, 1, vmin(av, vmax(vset(0.0f) - av, xv)))

void SK_K(unary_grad)(int kind, float a, float b, const float *x, const float *y, const float *dy, float *dx, size_t n,
                      int accumulate) {
    vf av = vset(a), bv = vset(b);
    switch ((sk_unary)kind) {
    case SK_UNARY_IDENTITY: FOR_VECTORS(n, G_IDENTITY); break;
    case SK_UNARY_TANH: FOR_VECTORS(n, G_TANH); break;
    case SK_UNARY_RELU: FOR_VECTORS(n, G_RELU); break;
    case SK_UNARY_ELU: FOR_VECTORS(n, G_ELU); break;
    case SK_UNARY_GELU: FOR_VECTORS(n, G_GELU); break;
    case SK_UNARY_SILU: FOR_VECTORS(n, G_SILU); break;
    case SK_UNARY_SIGMOID: FOR_VECTORS(n, G_SIGMOID); break;
    case SK_UNARY_EXP: FOR_VECTORS(n, G_EXP); break;
    case SK_UNARY_LOG: FOR_VECTORS(n, G_LOG); break;
    case SK_UNARY_SQUARE: FOR_VECTORS(n, G_SQUARE); break;
    case SK_UNARY_AFFINE: FOR_VECTORS(n, G_AFFINE); break;
    case SK_UNARY_CLIP: FOR_VECTORS(n, G_CLIP); break;
    case SK_UNARY_HUBER: FOR_VECTORS(n, G_HUBER); break;
    case SK_UNARY_COUNT: break;
    }
}

#define BINARY_BODY(ld, st, expr)                                                                          \
    vf xv = ld(x + i), yv = ld(y + i);                                                                     \
    st(z + i, (expr));
#define B_ADD(ld, st) BINARY_BODY(ld, st, xv + yv)
#define B_SUB(ld, st) BINARY_BODY(ld, st, xv - yv)
#define B_MUL(ld, st) BINARY_BODY(ld, st, xv *yv)
#define B_DIV(ld, st) BINARY_BODY(ld, st, xv / yv)
/* vmin and vmax give y if either is NaN; a NaN of x is put back. */
#define B_MIN(ld, st) BINARY_BODY(ld, st, vsel_ge(xv, xv, vmin(xv, yv), xv))
#define B_MAX(ld, st) BINARY_BODY(ld, st, vsel_ge(xv, xv, vmax(xv, yv), xv))

void SK_K(binary)(int kind, const float *x, const float *y, float *z, size_t n) {
    switch ((sk_binary)kind) {
    case SK_BINARY_ADD: FOR_VECTORS(n, B_ADD); break;
    case SK_BINARY_SUB: FOR_VECTORS(n, B_SUB); break;
    case SK_BINARY_MUL: FOR_VECTORS(n, B_MUL); break;
    case SK_BINARY_DIV: FOR_VECTORS(n, B_DIV); break;
    case SK_BINARY_MIN: FOR_VECTORS(n, B_MIN); break;
    case SK_BINARY_MAX: FOR_VECTORS(n, B_MAX); break;
    case SK_BINARY_COUNT: break;
    }
}

#define BINARY_GRAD_BODY(ld, st, gx, gy)                                                                   \
    vf xv = ld(x + i), yv = ld(y + i), dv = ld(dz + i);                                                    \
    (void)xv, (void)yv;                                                                                    \
    if (dx) {                                                                                              \
        vf d = (gx);                                                                                       \
        if (dx_accumulate) d = ld(dx + i) + d;                                                             \
        st(dx + i, d);                                                                                     \
    }                                                                                                      \
    if (dy) {                                                                                              \
        vf d = (gy);                                                                                       \
        if (dy_accumulate) d = ld(dy + i) + d;                                                             \
        st(dy + i, d);                                                                                     \
    }
#define ZERO vset(0.0f)
#define G_ADD(ld, st) BINARY_GRAD_BODY(ld, st, dv, dv)
#define G_SUB(ld, st) BINARY_GRAD_BODY(ld, st, dv, ZERO - dv)
#define G_MUL(ld, st) BINARY_GRAD_BODY(ld, st, dv *yv, dv *xv)
#define G_DIV(ld, st) BINARY_GRAD_BODY(ld, st, dv / yv, ZERO - dv * xv / (yv * yv))
#define G_MIN(ld, st) BINARY_GRAD_BODY(ld, st, vsel_gt(xv, yv, ZERO, dv), vsel_gt(xv, yv, dv, ZERO))
#define G_MAX(ld, st) BINARY_GRAD_BODY(ld, st, vsel_gt(yv, xv, ZERO, dv), vsel_gt(yv, xv, dv, ZERO))

void SK_K(binary_grad)(int kind, const float *x, const float *y, const float *dz, float *dx, int dx_accumulate,
                       float *dy, int dy_accumulate, size_t n) {
    switch ((sk_binary)kind) {
    case SK_BINARY_ADD: FOR_VECTORS(n, G_ADD); break;
    case SK_BINARY_SUB: FOR_VECTORS(n, G_SUB); break;
    case SK_BINARY_MUL: FOR_VECTORS(n, G_MUL); break;
    case SK_BINARY_DIV: FOR_VECTORS(n, G_DIV); break;
    case SK_BINARY_MIN: FOR_VECTORS(n, G_MIN); break;
    case SK_BINARY_MAX: FOR_VECTORS(n, G_MAX); break;
    case SK_BINARY_COUNT: break;
    }
}

#define ADD_BODY(ld, st) st(y + i, ld(y + i) + ld(x + i));
void SK_K(add_to)(const float *x, float *y, size_t n) { FOR_VECTORS(n, ADD_BODY); }

#define SCALE_ADD_BODY(ld, st) st(y + i, vfma(av, ld(x + i), ld(y + i)));
void SK_K(scale_add_to)(float a, const float *x, float *y, size_t n) {
    vf av = vset(a);
    FOR_VECTORS(n, SCALE_ADD_BODY);
}

#define POLYAK_BODY(ld, st) st(y + i, vfma(av, ld(x + i) - ld(y + i), ld(y + i)));
void SK_K(polyak)(float tau, const float *x, float *y, size_t n) {
    vf av = vset(tau);
    FOR_VECTORS(n, POLYAK_BODY);
}

/* Float vectors over at most 4,096 values, doubles beyond: the rounding does not grow with n. */
double SK_K(sum_squares)(const float *x, size_t n) {
    double total = 0.0;
    for (size_t start = 0; start < n; start += 4096) {
        size_t end = n - start < 4096 ? n : start + 4096, i = start;
        vf     acc0 = vset(0.0f), acc1 = vset(0.0f);
        for (; i + 2 * VL <= end; i += 2 * VL) {
            vf x0 = vload(x + i), x1 = vload(x + i + VL);
            acc0 = vfma(x0, x0, acc0);
            acc1 = vfma(x1, x1, acc1);
        }
        for (; i < end; i += VL) {
            vf x0 = vload_n(x + i, end - i < VL ? end - i : VL);
            acc0 = vfma(x0, x0, acc0);
        }
        total += (double)vsum(acc0 + acc1);
    }
    return total;
}

#define SUM_SLOTS_BODY(ld, st)                                                                             \
    vf acc = ld(src + i);                                                                                  \
    for (int s = 1; s < n_slots; s++) acc = acc + ld(src + (size_t)s * stride + i);                        \
    st(dst + i, acc);
void SK_K(sum_slots)(int n_slots, const float *src, size_t stride, float *dst, size_t n) {
    FOR_VECTORS(n, SUM_SLOTS_BODY);
}

void SK_K(normalize)(int rows, int cols, const float *x, ptrdiff_t x_ld, const float *mean, const float *inv_std,
                     float limit, float *y, ptrdiff_t y_ld) {
    vf high = vset(limit), low = vset(-limit);
    for (int r = 0; r < rows; r++, x += x_ld, y += y_ld) {
#define NORMALIZE_BODY(ld, st) st(y + i, vmin(high, vmax(low, (ld(x + i) - ld(mean + i)) * ld(inv_std + i))));
        FOR_VECTORS((size_t)cols, NORMALIZE_BODY);
    }
}

/* Kingma & Ba 2015, algorithm 1; eps outside the root, as PyTorch and TensorFlow have it. */
void SK_K(adam)(const sk_adam_step *s) {
    vf b1 = vset(s->beta1), b2 = vset(s->beta2), c1 = vset(1.0f - s->beta1), c2 = vset(1.0f - s->beta2);
    vf scale = vset(s->grad_scale), eps = vset(s->eps), step = vset(-s->step_size), bias2 = vset(s->inv_sqrt_bias2);
    float       *param = s->param, *m = s->m, *v = s->v;
    const float *grad = s->grad;
#define ADAM_BODY(ld, st)                                                                                  \
    vf g = ld(grad + i) * scale;                                                                           \
    vf mv = vfma(b1, ld(m + i), c1 * g), vv = vfma(b2, ld(v + i), c2 * (g * g));                           \
    st(m + i, mv);                                                                                         \
    st(v + i, vv);                                                                                         \
    st(param + i, vfma(step, mv / vfma(vsqrt(vv), bias2, eps), ld(param + i)));
    FOR_VECTORS(s->n, ADAM_BODY);
}
