/* lanes: rows worked on side by side, one lane each, so that nothing is summed across lanes and a row's result does not
 * depend on its neighbours. Only kernels include this. */
#ifndef SK_NN_CPU_LANES_H
#define SK_NN_CPU_LANES_H
#include "nn/cpu/kernels.h"
#include "nn/cpu/simd.h"

enum { DIST_LD = SK_PAD }; /* rows of (log-prob, entropy) results */

/* One lane per row: element `col` of rows r .. r + VL - 1; past the end the last row is repeated. */
SK_INLINE vf load_col(const float *x, ptrdiff_t ld, int col, int r, int rows) {
    float t[VL];
    for (int i = 0; i < VL; i++) t[i] = x[(r + i < rows ? r + i : rows - 1) * ld + col];
    return vload(t);
}
SK_INLINE void store_col(float *x, ptrdiff_t ld, int col, int r, int rows, vf value) {
    float t[VL];
    vstore(t, value);
    for (int i = 0; i < VL && r + i < rows; i++) x[(r + i) * ld + col] = t[i];
}
/* 1 in lanes that are rows, 0 in the repeated ones. */
SK_INLINE vf lane_is_row(int r, int rows) {
    float t[VL];
    for (int i = 0; i < VL; i++) t[i] = r + i < rows ? 1.0f : 0.0f;
    return vload(t);
}
static inline void zero_pad(int rows, int cols, int ld, float *x) {
    if (ld == cols) return;
    for (int r = 0; r < rows; r++) memset(x + (ptrdiff_t)r * ld + cols, 0, (size_t)(ld - cols) * sizeof *x);
}

/* Log-deviations are used as clamped, and get a gradient inside only. */
#define LOG_STD_MIN (-20.0f)
#define LOG_STD_MAX 2.0f
SK_INLINE vf clamp_log_std(vf s) { return vmin(vset(LOG_STD_MAX), vmax(vset(LOG_STD_MIN), s)); }
SK_INLINE vf inside_log_std(vf raw, vf d) {
    return vsel_ge(raw, vset(LOG_STD_MIN), vsel_ge(vset(LOG_STD_MAX), raw, d, vset(0.0f)), vset(0.0f));
}

#endif
