/* gemm: matrix products for small layers, in registers. A tile of MR rows by NV vectors of C is kept in
 * registers while k runs; B's rows are read in place (row-major, padded), A through two strides, so one kernel
 * serves X W (forward), dY W^T (with a transposed copy of W) and X^T dY. Compiled once per instruction set. */
#include "nn/cpu/kernels_level.h"
#include "nn/cpu/simd.h"

#if VL == 16
#define NV_MAX 4
#define MR_MAX 14
static const int mr_of_nv[NV_MAX + 1] = {0, 14, 12, 8, 6}; /* 24-28 of 32 registers hold C */
#elif VL == 8
#define NV_MAX 2
#define MR_MAX 8
static const int mr_of_nv[NV_MAX + 1] = {0, 8, 6}; /* 12 of 16 */
#else
#define NV_MAX 2
#define MR_MAX 6
static const int mr_of_nv[NV_MAX + 1] = {0, 6, 4};
#endif

/* mr and nv are constants at every place this is expanded, so acc lives in registers. */
SK_INLINE void tile(const int mr, const int nv, int k, const float *a, ptrdiff_t a_row, ptrdiff_t a_col,
                    const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row, const float *bias, int accumulate) {
    vf acc[MR_MAX][NV_MAX];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            acc[i][j] = accumulate ? vload(c + i * c_row + j * VL) : bias ? vload(bias + j * VL) : vset(0.0f);
    for (int p = 0; p < k; p++) {
        vf bv[NV_MAX];
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) bv[j] = vload(b + j * VL);
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            vf av = vset(a[i * a_row]);
#pragma GCC unroll 4
            for (int j = 0; j < nv; j++) acc[i][j] = vfma(av, bv[j], acc[i][j]);
        }
        a += a_col;
        b += b_row;
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) vstore(c + i * c_row + j * VL, acc[i][j]);
}

#define TILE_ARGS k, a, a_row, a_col, b, b_row, c, c_row, bias, accumulate
#define CASE(mr, nv)                                                                                       \
    case mr: tile(mr, nv, TILE_ARGS); break;
#define TILE_PARAMS                                                                                        \
    int k, const float *a, ptrdiff_t a_row, ptrdiff_t a_col, const float *b, ptrdiff_t b_row, float *c,    \
        ptrdiff_t c_row, const float *bias, int accumulate

static __attribute__((noinline)) void tile_nv1(int mr, TILE_PARAMS) {
    switch (mr) {
        CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1) CASE(5, 1) CASE(6, 1)
#if MR_MAX >= 8
        CASE(7, 1) CASE(8, 1)
#endif
#if MR_MAX >= 14
        CASE(9, 1) CASE(10, 1) CASE(11, 1) CASE(12, 1) CASE(13, 1) CASE(14, 1)
#endif
    }
}

static __attribute__((noinline)) void tile_nv2(int mr, TILE_PARAMS) {
    switch (mr) {
        CASE(1, 2) CASE(2, 2) CASE(3, 2) CASE(4, 2)
#if VL >= 8
        CASE(5, 2) CASE(6, 2)
#endif
#if VL == 16
        CASE(7, 2) CASE(8, 2) CASE(9, 2) CASE(10, 2) CASE(11, 2) CASE(12, 2)
#endif
    }
}

#if NV_MAX >= 4
static __attribute__((noinline)) void tile_nv3(int mr, TILE_PARAMS) {
    switch (mr) { CASE(1, 3) CASE(2, 3) CASE(3, 3) CASE(4, 3) CASE(5, 3) CASE(6, 3) CASE(7, 3) CASE(8, 3) }
}
static __attribute__((noinline)) void tile_nv4(int mr, TILE_PARAMS) {
    switch (mr) { CASE(1, 4) CASE(2, 4) CASE(3, 4) CASE(4, 4) CASE(5, 4) CASE(6, 4) }
}
#endif

/* Columns are walked in strips of NV_MAX vectors (a strip of B stays in cache), rows in tiles. */
void SK_K(gemm)(const sk_gemm *g) {
    for (int j = 0; j < g->n;) {
        int nv = (g->n - j) / VL;
        if (nv > NV_MAX) nv = NV_MAX;
        int          mr_full = mr_of_nv[nv];
        const float *bias = g->bias ? g->bias + j : NULL;
        for (int i = 0; i < g->m;) {
            int          mr = g->m - i < mr_full ? g->m - i : mr_full;
            const float *a = g->a + i * g->a_row, *b = g->b + j;
            float       *c = g->c + i * g->c_row + j;
            switch (nv) {
            case 1: tile_nv1(mr, g->k, a, g->a_row, g->a_col, b, g->b_row, c, g->c_row, bias, g->accumulate); break;
            case 2: tile_nv2(mr, g->k, a, g->a_row, g->a_col, b, g->b_row, c, g->c_row, bias, g->accumulate); break;
#if NV_MAX >= 4
            case 3: tile_nv3(mr, g->k, a, g->a_row, g->a_col, b, g->b_row, c, g->c_row, bias, g->accumulate); break;
            default: tile_nv4(mr, g->k, a, g->a_row, g->a_col, b, g->b_row, c, g->c_row, bias, g->accumulate); break;
#endif
            }
            i += mr;
        }
        j += nv * VL;
    }
}

enum { DOT_NV = SK_DOT_LANES / VL };

void SK_K(dot_rows)(int rows, int k, const float *x, ptrdiff_t x_row, const float *w, float bias, float *y) {
    for (int r = 0; r < rows; r++, x += x_row) {
        vf  acc[DOT_NV];
        int p = 0;
        for (int j = 0; j < DOT_NV; j++) acc[j] = vset(0.0f);
        for (; p + SK_DOT_LANES <= k; p += SK_DOT_LANES)
#pragma GCC unroll 4
            for (int j = 0; j < DOT_NV; j++)
                acc[j] = vfma(vload(x + p + j * VL), vload(w + p + j * VL), acc[j]);
        for (int j = 0; p < k; j++, p += VL) {
            size_t n = k - p < VL ? (size_t)(k - p) : VL;
            acc[j] = vfma(vload_n(x + p, n), vload_n(w + p, n), acc[j]);
        }
        for (int half = DOT_NV / 2; half > 0; half /= 2)
            for (int j = 0; j < half; j++) acc[j] = acc[j] + acc[j + half];
        y[r] = vsum(acc[0]) + bias;
    }
}

/* Tiles of VL x VL in registers; zeros stand in for what lies past the last row or column of src. */
void SK_K(transpose)(int rows, int cols, const float *src, ptrdiff_t src_ld, float *dst, ptrdiff_t dst_ld) {
    for (int c = 0; c < cols; c += VL) {
        int n_cols = cols - c < VL ? cols - c : VL;
        for (int r = 0; r < dst_ld; r += VL) {
            int n_rows = dst_ld - r < VL ? (int)(dst_ld - r) : VL;
            vf  v[VL];
            if (rows - r >= VL && n_cols == VL) {
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++) v[i] = vload(src + (r + i) * src_ld + c);
            } else {
                for (int i = 0; i < VL; i++)
                    v[i] = r + i < rows ? vload_n(src + (r + i) * src_ld + c, (size_t)n_cols) : vset(0.0f);
            }
            vtranspose(v);
            if (n_rows == VL && n_cols == VL) {
#pragma GCC unroll 16
                for (int j = 0; j < VL; j++) vstore(dst + (c + j) * dst_ld + r, v[j]);
            } else {
                for (int j = 0; j < n_cols; j++) vstore_n(dst + (c + j) * dst_ld + r, v[j], (size_t)n_rows);
            }
        }
    }
}

void SK_K(col_sum)(int rows, int n, const float *x, ptrdiff_t ld, float *out, int accumulate) {
    if (n == 1) {
        vf  acc = vset(0.0f);
        int r = 0;
        for (; r + VL <= rows; r += VL) acc = acc + vload(x + r);
        if (r < rows) acc = acc + vload_n(x + r, (size_t)(rows - r));
        out[0] = (accumulate ? out[0] : 0.0f) + vsum(acc);
        return;
    }
    for (int c = 0; c < n; c += VL) {
        vf acc = accumulate ? vload(out + c) : vset(0.0f);
        for (int r = 0; r < rows; r++) acc = acc + vload(x + r * ld + c);
        vstore(out + c, acc);
    }
}

double SK_K(fma_peak)(int64_t n_rounds, float *sink) {
    vf acc[12], a = vset(0.999999f), b = vset(1e-7f);
    for (int i = 0; i < 12; i++) acc[i] = vset((float)i);
    for (int64_t round = 0; round < n_rounds; round++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) acc[i] = vfma(acc[i], a, b);
    vf sum = acc[0];
    for (int i = 1; i < 12; i++) sum = sum + acc[i];
    *sink = vsum(sum);
    return 2.0 * 12.0 * VL * (double)n_rounds;
}
