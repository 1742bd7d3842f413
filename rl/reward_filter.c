#include "rl/reward_filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

sk_status sk_reward_filter_init(sk_reward_filter *self, int n_rows, double gamma, sk_error *reterr) {
    *self = (sk_reward_filter){.n_rows = n_rows, .gamma = gamma};
    self->ret = calloc((size_t)n_rows, sizeof *self->ret);
    return self->ret ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "reward filter: no memory for %d rows", n_rows);
}

void sk_reward_filter_deinit(sk_reward_filter *self) {
    free(self->ret);
    *self = (sk_reward_filter){0};
}

/* R_t = gamma R_{t-1} + r_t; 0 after an end */
static void learn(sk_reward_filter *self, const sk_batch *b) {
    ptrdiff_t n = (ptrdiff_t)b->shape.n_steps * b->shape.n_rows;
    for (ptrdiff_t i = 0; i < n; i++) {
        double *ret = &self->ret[i % b->shape.n_rows];
        if (b->valid[i]) {
            *ret = self->gamma * *ret + (double)b->reward[i];
            self->count += 1.0;
            double d = *ret - self->mean;
            self->mean += d / self->count;
            self->m2 += d * (*ret - self->mean);
        }
        if (b->terminated[i] || b->truncated[i]) *ret = 0.0;
    }
}

void sk_reward_filter_apply(sk_reward_filter *self, const sk_batch *b, float clip, float *ret_reward) {
    SK_ASSERT(b->shape.n_rows == self->n_rows);
    learn(self, b);
    double var = self->count > 1.0 ? self->m2 / self->count : 1.0;
    float  scale = (float)(1.0 / sqrt(var + 1e-8)); /* 1e-8 as in VecNormalize */
    for (ptrdiff_t i = 0; i < (ptrdiff_t)b->shape.n_steps * b->shape.n_rows; i++) {
        float r = b->valid[i] ? b->reward[i] * scale : 0.0f;
        if (clip > 0.0f) r = r > clip ? clip : r < -clip ? -clip : r;
        ret_reward[i] = r;
    }
}

sk_status sk_reward_filter_save(const sk_reward_filter *self, sk_pack_writer *writer, sk_error *reterr) {
    double stats[4] = {self->count, self->mean, self->m2, self->gamma};
    SK_TRY(sk_pack_writer_add(writer, "reward_filter", stats, sizeof stats, reterr));
    return sk_pack_writer_add(writer, "reward_filter_returns", self->ret, (size_t)self->n_rows * sizeof *self->ret,
                              reterr);
}

sk_status sk_reward_filter_load(sk_reward_filter *self, const sk_pack *pack, sk_error *reterr) {
    double      stats[4];
    const void *bytes = NULL;
    SK_TRY(sk_pack_section(pack, "reward_filter", sizeof stats, &bytes, NULL, reterr));
    memcpy(stats, bytes, sizeof stats);
    SK_TRY(sk_pack_section(pack, "reward_filter_returns", (size_t)self->n_rows * sizeof *self->ret, &bytes, NULL,
                           reterr));
    memcpy(self->ret, bytes, (size_t)self->n_rows * sizeof *self->ret);
    self->count = stats[0];
    self->mean = stats[1];
    self->m2 = stats[2];
    return SK_OK;
}
