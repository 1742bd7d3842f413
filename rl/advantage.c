#include "rl/advantage.h"

void sk_gae(const sk_batch *b, const float *reward, const sk_gae_params *how, float *advantage, float *target) {
    const float     gamma = how->gamma, gamma_lambda = how->gamma * how->lambda;
    const ptrdiff_t n_rows = b->shape.n_rows;
    for (int t = b->shape.n_steps - 1; t >= 0; t--) {
        const int       last = t == b->shape.n_steps - 1;
        const ptrdiff_t at = t * n_rows;
        const float    *next_value = last ? b->bootstrap : b->value + at + n_rows;
        const float    *next_advantage = last ? NULL : advantage + at + n_rows;
        for (ptrdiff_t r = 0; r < n_rows; r++) {
            const ptrdiff_t i = at + r;
            /* chosen, not multiplied by zero: what lies behind an end may be anything, NaN too */
            float v_next = b->truncated[i] ? b->final_value[i] : next_value[r];
            float boot = b->terminated[i] ? 0.0f : gamma * v_next;
            float later = last || b->terminated[i] || b->truncated[i] ? 0.0f : gamma_lambda * next_advantage[r];
            advantage[i] = reward[i] + boot - b->value[i] + later;
            target[i] = advantage[i] + b->value[i];
        }
    }
}
