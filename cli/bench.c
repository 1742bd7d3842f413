#include "cli/bench.h"

#include "core/base/clock.h"
#include "nn/cpu/kernels.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void sk_bench_print(const sk_bench *self, const sk_bench_row *row) {
    if (!self->json) {
        printf("%-10s %-32s %14.5g %-14s", row->bench, row->row, row->value, row->unit);
        if (row->limit > 0.0) printf(" limit %.4g", row->limit);
        printf("  %s\n", row->settings);
        fflush(stdout);
        return;
    }
    json_t *json = json_pack("{s:s, s:s, s:f, s:s, s:o, s:s}", "bench", row->bench, "row", row->row, "value", row->value,
                             "unit", row->unit, "limit", row->limit > 0.0 ? json_real(row->limit) : json_null(),
                             "settings", row->settings);
    char   *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    if (text) puts(text);
    fflush(stdout);
    free(text);
    json_decref(json);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double sk_bench_median(double *values, int n) {
    SK_ASSERT(n > 0);
    qsort(values, (size_t)n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

double sk_bench_fma_gflops(void) {
    const sk_kernels *k = sk_kernels_get();
    float             sink = 0.0f;
    double            best = 0.0;
    for (int i = 0; i < 10; i++) {
        double start_s = sk_clock_now_s(), flops = k->fma_peak(200000, &sink);
        best = fmax(best, flops / (sk_clock_now_s() - start_s) * 1e-9);
    }
    return best;
}

/* Products of the shapes that 64-wide networks and their batches make. */
sk_status sk_bench_kernels(const sk_bench *self, sk_error *reterr) {
    static const int  shape[][3] = {{64, 64, 64}, {4, 64, 64}, {1, 64, 64}, {64, 64, 4}, {64, 256, 256}, {256, 512, 512}};
    const sk_kernels *k = sk_kernels_get();
    for (int s = 0; s < SK_COUNT(shape); s++) {
        int    m = shape[s][0], n = shape[s][1], kk = shape[s][2];
        size_t a_n = (size_t)(m * kk), b_n = (size_t)(kk * n), c_n = (size_t)(m * n);
        float *all = aligned_alloc(64, (a_n + b_n + c_n + 48) / 16 * 16 * sizeof *all);
        if (!all) return SK_FAIL(reterr, SK_ENOMEM, "bench: no memory");
        for (size_t i = 0; i < a_n + b_n; i++) all[i] = 1e-3f * (float)(i % 13);
        double  flops = 2.0 * m * n * kk, values[64];
        sk_gemm g = {.m = m, .n = n, .k = kk, .a = all, .a_row = kk, .a_col = 1, .b = all + a_n, .b_row = n,
                     .c = all + a_n + b_n, .c_row = n};
        int n_calls = (int)(2e8 / flops) + 1;
        for (int r = 0; r < self->n_repeats; r++) {
            double start_s = sk_clock_now_s();
            for (int i = 0; i < n_calls; i++) k->gemm(&g);
            values[r] = flops * n_calls / (sk_clock_now_s() - start_s) * 1e-9;
        }
        free(all);
        char name[32];
        snprintf(name, sizeof name, "gemm %d x %d x %d", m, n, kk);
        sk_bench_print(self, &(sk_bench_row){"kernels", name, "GFLOP/s", sk_bench_median(values, self->n_repeats),
                                             self->fma_gflops, "m x n x k, one core"});
    }
    return SK_OK;
}
