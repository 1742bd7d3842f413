#include "nn/init.h"

#include "core/base/rng.h"

#include <math.h>
#include <stdlib.h>

/* Standard normals, two per draw; counters count draws. */
static void fill_normal(double *x, int64_t n, uint64_t seed, uint64_t index) {
    for (int64_t i = 0; i < n; i += 2) {
        uint32_t words[4];
        float    normal[2];
        sk_philox(seed, sk_stream_id(SK_STREAM_INIT, index), (uint64_t)(i / 2), words);
        sk_u32_to_normal2(words[0], words[1], normal);
        x[i] = (double)normal[0];
        if (i + 1 < n) x[i + 1] = (double)normal[1];
    }
}

static double dot(const double *x, const double *y, int n) {
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* Gram-Schmidt on the k rows of q (k <= n), twice for stability ("twice is enough", Giraud et al. 2005). */
static void orthonormalize(double *q, int k, int n) {
    for (int i = 0; i < k; i++) {
        double *row = q + (int64_t)i * n;
        for (int pass = 0; pass < 2; pass++)
            for (int j = 0; j < i; j++) {
                const double *other = q + (int64_t)j * n;
                double        c = dot(row, other, n);
                for (int p = 0; p < n; p++) row[p] -= c * other[p];
            }
        double norm = sqrt(dot(row, row, n));
        for (int p = 0; p < n; p++) row[p] /= norm;
    }
}

sk_status sk_init_orthogonal(float *w, int rows, int cols, int ld, float gain, uint64_t seed, uint64_t index,
                             sk_error *reterr) {
    int     k = rows < cols ? rows : cols, n = rows < cols ? cols : rows;
    double *q = malloc((size_t)k * (size_t)n * sizeof *q);
    if (!q) return SK_FAIL(reterr, SK_ENOMEM, "init: no memory for %d x %d", rows, cols);
    fill_normal(q, (int64_t)k * n, seed, index);
    orthonormalize(q, k, n);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            w[(int64_t)r * ld + c] = gain * (float)(rows < cols ? q[(int64_t)r * n + c] : q[(int64_t)c * n + r]);
    free(q);
    return SK_OK;
}

void sk_init_uniform(float *w, int rows, int cols, int ld, float bound, uint64_t seed, uint64_t index) {
    uint32_t words[4];
    for (int64_t i = 0; i < (int64_t)rows * cols; i++) {
        if (i % 4 == 0) sk_philox(seed, sk_stream_id(SK_STREAM_INIT, index), (uint64_t)(i / 4), words);
        w[i / cols * ld + i % cols] = bound * (2.0f * sk_u32_to_unit(words[i % 4]) - 1.0f);
    }
}
