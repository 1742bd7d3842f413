/* simd: the few vector operations the kernels are written in, for the instruction set the file is compiled for.
 * Kernels are compiled once per level (x86-64-v2, v3, v4) and chosen at run time (nn/cpu/kernels.h).
 * v3 and v4 use fused multiply-add in the same order, so they give the same bits, except where lanes are
 * summed in training (vsum: col_sum of one column, sum_squares, the gradient of a shared log_std, PPO
 * statistics); v2 rounds twice (tests/nn/test_levels.c). */
#ifndef SK_NN_CPU_SIMD_H
#define SK_NN_CPU_SIMD_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SK_CAT2(a, b) a##b
#define SK_CAT(a, b) SK_CAT2(a, b)
#define SK_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define SK_LEVEL v4
#define VL 16
typedef __m512  vf;
typedef __m512i vi;
SK_INLINE vf vload(const float *p) { return _mm512_loadu_ps(p); }
SK_INLINE void vstore(float *p, vf x) { _mm512_storeu_ps(p, x); }
SK_INLINE vf vset(float x) { return _mm512_set1_ps(x); }
SK_INLINE vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
SK_INLINE vf vmin(vf a, vf b) { return _mm512_min_ps(a, b); }
SK_INLINE vf vmax(vf a, vf b) { return _mm512_max_ps(a, b); }
SK_INLINE vf vsqrt(vf a) { return _mm512_sqrt_ps(a); }
SK_INLINE vf vround(vf a) { return _mm512_roundscale_ps(a, 8); }
SK_INLINE vf vabs(vf a) { return _mm512_abs_ps(a); }
SK_INLINE vi vtoi(vf a) { return _mm512_cvtps_epi32(a); }
SK_INLINE vf vitof(vi a) { return _mm512_cvtepi32_ps(a); }
SK_INLINE vi vcast_i(vf a) { return _mm512_castps_si512(a); }
SK_INLINE vf vcast_f(vi a) { return _mm512_castsi512_ps(a); }
SK_INLINE vi viset(int32_t x) { return _mm512_set1_epi32(x); }
SK_INLINE vi viadd(vi a, vi b) { return _mm512_add_epi32(a, b); }
SK_INLINE vi visub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
SK_INLINE vi viand(vi a, vi b) { return _mm512_and_si512(a, b); }
SK_INLINE vi vior(vi a, vi b) { return _mm512_or_si512(a, b); }
SK_INLINE vi vishl23(vi a) { return _mm512_slli_epi32(a, 23); }
SK_INLINE vi vishr23(vi a) { return _mm512_srli_epi32(a, 23); }
/* a > b ? x : y, lane by lane; false for NaN */
SK_INLINE vf vsel_gt(vf a, vf b, vf x, vf y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x); }
SK_INLINE vf vsel_ge(vf a, vf b, vf x, vf y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ), y, x); }
SK_INLINE __mmask16 vtail(size_t n) { return (__mmask16)((1u << n) - 1u); }
SK_INLINE vf vload_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(vtail(n), p); }
SK_INLINE void vstore_n(float *p, vf x, size_t n) { _mm512_mask_storeu_ps(p, vtail(n), x); }
/* The lower (upper) halves of a and b, lane by lane in turn: a0 b0 a1 b1 ... */
SK_INLINE vf vzip_low(vf a, vf b) {
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
SK_INLINE vf vzip_high(vf a, vf b) {
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}
#elif defined(__AVX2__)
#define SK_LEVEL v3
#define VL 8
typedef __m256  vf;
typedef __m256i vi;
SK_INLINE vf vload(const float *p) { return _mm256_loadu_ps(p); }
SK_INLINE void vstore(float *p, vf x) { _mm256_storeu_ps(p, x); }
SK_INLINE vf vset(float x) { return _mm256_set1_ps(x); }
SK_INLINE vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
SK_INLINE vf vmin(vf a, vf b) { return _mm256_min_ps(a, b); }
SK_INLINE vf vmax(vf a, vf b) { return _mm256_max_ps(a, b); }
SK_INLINE vf vsqrt(vf a) { return _mm256_sqrt_ps(a); }
SK_INLINE vf vround(vf a) { return _mm256_round_ps(a, 8); }
SK_INLINE vf vabs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
SK_INLINE vi vtoi(vf a) { return _mm256_cvtps_epi32(a); }
SK_INLINE vf vitof(vi a) { return _mm256_cvtepi32_ps(a); }
SK_INLINE vi vcast_i(vf a) { return _mm256_castps_si256(a); }
SK_INLINE vf vcast_f(vi a) { return _mm256_castsi256_ps(a); }
SK_INLINE vi viset(int32_t x) { return _mm256_set1_epi32(x); }
SK_INLINE vi viadd(vi a, vi b) { return _mm256_add_epi32(a, b); }
SK_INLINE vi visub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
SK_INLINE vi viand(vi a, vi b) { return _mm256_and_si256(a, b); }
SK_INLINE vi vior(vi a, vi b) { return _mm256_or_si256(a, b); }
SK_INLINE vi vishl23(vi a) { return _mm256_slli_epi32(a, 23); }
SK_INLINE vi vishr23(vi a) { return _mm256_srli_epi32(a, 23); }
SK_INLINE vf vsel_gt(vf a, vf b, vf x, vf y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ)); }
SK_INLINE vf vsel_ge(vf a, vf b, vf x, vf y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GE_OQ)); }
SK_INLINE vi vtail(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SK_INLINE vf vload_n(const float *p, size_t n) { return _mm256_maskload_ps(p, vtail(n)); }
SK_INLINE void vstore_n(float *p, vf x, size_t n) { _mm256_maskstore_ps(p, vtail(n), x); }
SK_INLINE vf vzip_low(vf a, vf b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
SK_INLINE vf vzip_high(vf a, vf b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
#else
#define SK_LEVEL v2
#define VL 4
typedef __m128  vf;
typedef __m128i vi;
SK_INLINE vf vload(const float *p) { return _mm_loadu_ps(p); }
SK_INLINE void vstore(float *p, vf x) { _mm_storeu_ps(p, x); }
SK_INLINE vf vset(float x) { return _mm_set1_ps(x); }
SK_INLINE vf vfma(vf a, vf b, vf c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
SK_INLINE vf vmin(vf a, vf b) { return _mm_min_ps(a, b); }
SK_INLINE vf vmax(vf a, vf b) { return _mm_max_ps(a, b); }
SK_INLINE vf vsqrt(vf a) { return _mm_sqrt_ps(a); }
SK_INLINE vf vround(vf a) { return _mm_round_ps(a, 8); }
SK_INLINE vf vabs(vf a) { return _mm_andnot_ps(_mm_set1_ps(-0.0f), a); }
SK_INLINE vi vtoi(vf a) { return _mm_cvtps_epi32(a); }
SK_INLINE vf vitof(vi a) { return _mm_cvtepi32_ps(a); }
SK_INLINE vi vcast_i(vf a) { return _mm_castps_si128(a); }
SK_INLINE vf vcast_f(vi a) { return _mm_castsi128_ps(a); }
SK_INLINE vi viset(int32_t x) { return _mm_set1_epi32(x); }
SK_INLINE vi viadd(vi a, vi b) { return _mm_add_epi32(a, b); }
SK_INLINE vi visub(vi a, vi b) { return _mm_sub_epi32(a, b); }
SK_INLINE vi viand(vi a, vi b) { return _mm_and_si128(a, b); }
SK_INLINE vi vior(vi a, vi b) { return _mm_or_si128(a, b); }
SK_INLINE vi vishl23(vi a) { return _mm_slli_epi32(a, 23); }
SK_INLINE vi vishr23(vi a) { return _mm_srli_epi32(a, 23); }
SK_INLINE vf vsel_gt(vf a, vf b, vf x, vf y) { return _mm_blendv_ps(y, x, _mm_cmpgt_ps(a, b)); }
SK_INLINE vf vsel_ge(vf a, vf b, vf x, vf y) { return _mm_blendv_ps(y, x, _mm_cmpge_ps(a, b)); }
SK_INLINE vf vload_n(const float *p, size_t n) {
    float t[VL] = {0};
    memcpy(t, p, n * sizeof *p);
    return vload(t);
}
SK_INLINE void vstore_n(float *p, vf x, size_t n) {
    float t[VL];
    vstore(t, x);
    memcpy(p, t, n * sizeof *p);
}
SK_INLINE vf vzip_low(vf a, vf b) { return _mm_unpacklo_ps(a, b); }
SK_INLINE vf vzip_high(vf a, vf b) { return _mm_unpackhi_ps(a, b); }
#endif

/* Name of a kernel at this level: SK_K(gemm) -> sk__v4_gemm. */
#define SK_K(name) SK_CAT(SK_CAT(SK_CAT(sk__, SK_LEVEL), _), name)

/* Transpose VL vectors in place. A round of zipping v[i] with v[i + VL/2] turns the bits of (vector, lane) by one, so
 * log2(VL) rounds exchange the two. */
SK_INLINE void vtranspose(vf v[VL]) {
#pragma GCC unroll 4
    for (int round = VL; round > 1; round /= 2) {
        vf w[VL];
#pragma GCC unroll 8
        for (int i = 0; i < VL / 2; i++) {
            w[2 * i] = vzip_low(v[i], v[i + VL / 2]);
            w[2 * i + 1] = vzip_high(v[i], v[i + VL / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) v[i] = w[i];
    }
}

/* Sum of the lanes, always in the same order: halves are added until one lane is left. */
SK_INLINE float vsum(vf x) {
    float t[VL];
    vstore(t, x);
    for (int half = VL / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) t[i] += t[i + half];
    return t[0];
}

/* exp by 2^n * p(r), r in [-ln2/2, ln2/2] (Cody & Waite reduction; degree 6, minimax of relative error 3e-9
 * with the first two coefficients kept at 1); relative error <= 1.5e-7. Below -87.3 it stays at 2^-126, above
 * 88.37 at 2.4e38. */
SK_INLINE vf vexp(vf x) {
    x = vmin(vset(88.37626f), vmax(vset(-87.33654f), x)); /* this order keeps NaN */
    vf n = vround(x * vset(1.44269504f));
    vf r = vfma(n, vset(-0.693359375f), x);
    r = vfma(n, vset(2.12194440e-4f), r);
    vf p = vset(0x1.6a23d0p-10f);
    p = vfma(p, r, vset(0x1.123a20p-7f));
    p = vfma(p, r, vset(0x1.5558f2p-5f));
    p = vfma(p, r, vset(0x1.555492p-3f));
    p = vfma(p, r, vset(0x1.fffffcp-2f));
    p = vfma(p, r, vset(1.0f));
    p = vfma(p, r, vset(1.0f));
    return p * vcast_f(vishl23(viadd(vtoi(n), viset(127))));
}

/* log for x > 0: x = 2^e m, m in [sqrt(1/2), sqrt(2)), log m by the atanh series in s = (m-1)/(m+1).
 * x <= 0 is taken as the smallest normal number; infinity and NaN stay what they are. Error <= 2 ulp away
 * from 1. */
SK_INLINE vf vlog(vf x) {
    x = vmax(vset(1.17549435e-38f), x);
    vi bits = vcast_i(x);
    vi shifted = visub(bits, viset(0x3f3504f3)); /* exponent counted from sqrt(1/2) */
    vf e = vitof(visub(vishr23(viadd(shifted, viset(0x3f800000))), viset(127)));
    vi mant = viadd(viand(shifted, viset(0x007fffff)), viset(0x3f3504f3));
    vf m = vcast_f(mant);
    vf s = (m - vset(1.0f)) / (m + vset(1.0f)), z = s * s;
    vf p = vset(2.0f / 9.0f);
    p = vfma(p, z, vset(2.0f / 7.0f));
    p = vfma(p, z, vset(2.0f / 5.0f));
    p = vfma(p, z, vset(2.0f / 3.0f));
    vf logm = vfma(p * z, s, s + s);
    vf y = vfma(e, vset(0.693359375f), vfma(e, vset(-2.12194440e-4f), logm));
    return vsel_ge(vset(3.40282347e38f), x, y, x);
}

/* tanh = x P(x^2) / Q(x^2), |x| clamped to 8: a rational fit of degree (9, 8), relative error <= 3.2e-7. */
SK_INLINE vf vtanh(vf x) {
    x = vmin(vset(8.0f), vmax(vset(-8.0f), x)); /* this order keeps NaN */
    vf u = x * x;
    vf p = vset(0x1.05a818p-26f);
    p = vfma(p, u, vset(0x1.6f54dcp-16f));
    p = vfma(p, u, vset(0x1.d422f2p-9f));
    p = vfma(p, u, vset(0x1.1357e4p-3f));
    p = vfma(p, u, vset(1.0f));
    vf q = vset(0x1.c98ba0p-21f);
    q = vfma(q, u, vset(0x1.65b32ep-12f));
    q = vfma(q, u, vset(0x1.acada2p-6f));
    q = vfma(q, u, vset(0x1.df0144p-2f));
    q = vfma(q, u, vset(1.0f));
    return x * p / q;
}

/* By exp, not tanh: it keeps its relative precision far below 0, where silu and gelu multiply it by x. */
SK_INLINE vf vsigmoid(vf x) { return vset(1.0f) / (vset(1.0f) + vexp(vset(0.0f) - x)); }

#endif
