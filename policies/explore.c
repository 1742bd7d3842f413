#include "policies/explore.h"

#include "core/base/rng.h"

#include <math.h>

/* Four words for numbers i, i + 1, ... of a row in this step. */
static void words_of(const sk_inference_io *io, int row, int i, uint32_t ret_words[4]) {
    sk_philox(io->seed, sk_stream_id(SK_STREAM_EXPLORE, (uint64_t)(io->first_row + row)),
              io->counter | (uint64_t)(i / 4) << 48 | (uint64_t)1 << 63, ret_words);
}

static int is_allowed(const float *mask, int choice) { return !mask || mask[choice] != 0.0f; }

/* A number beats none, a greater one a smaller one. */
static int is_better(float x, float best) { return x > best || (isnan(best) && !isnan(x)); }

/* One of the allowed choices; where none is allowed, one of all. */
static int any_choice(uint32_t word, const float *mask, int n) {
    int n_allowed = 0;
    for (int c = 0; c < n; c++) n_allowed += is_allowed(mask, c);
    if (n_allowed == 0) return (int)sk_u32_below(word, (uint32_t)n);
    int k = (int)sk_u32_below(word, (uint32_t)n_allowed);
    for (int c = 0; c < n; c++)
        if (is_allowed(mask, c) && k-- == 0) return c;
    return 0;
}

static const float *mask_row(const sk_policy_spaces *spaces, const sk_inference_io *io, int row) {
    return spaces->mask_size > 0 && io->mask ? io->mask + (ptrdiff_t)row * spaces->mask_size : NULL;
}

void sk__explore_uniform(const sk_policy_spaces *spaces, const sk_inference_io *io) {
    for (int r = 0; r < io->rows; r++) {
        sk_env_slot *action = io->action + (ptrdiff_t)r * spaces->action_slots;
        const float *mask = mask_row(spaces, io, r);
        uint32_t     words[4];
        for (int i = 0; i < spaces->action_slots; i++) {
            if (i % 4 == 0) words_of(io, r, i, words);
            if (spaces->n_parts > 0) {
                action[i].i = any_choice(words[i % 4], mask, spaces->part_n[i]);
                if (mask) mask += spaces->part_n[i];
            } else action[i].f = 2.0f * sk_u32_to_unit(words[i % 4]) - 1.0f;
        }
    }
}

void sk__explore_choose(const sk_policy_spaces *spaces, const sk_inference_io *io, const float *q, int ld) {
    const sk_exploration *e = io->deterministic ? NULL : io->explore;
    float                 epsilon = e && e->kind == SK_EXPLORE_EPSILON ? e->epsilon : 0.0f;
    int                   n = spaces->part_n[0];
    for (int r = 0; r < io->rows; r++) {
        const float *row = q + (ptrdiff_t)r * ld, *mask = mask_row(spaces, io, r);
        int          best = -1;
        uint32_t     words[4];
        for (int c = 0; c < n; c++)
            if (is_allowed(mask, c) && (best < 0 || is_better(row[c], row[best]))) best = c;
        if (epsilon > 0.0f) {
            words_of(io, r, 0, words);
            if (sk_u32_to_unit(words[0]) < epsilon) best = any_choice(words[1], mask, n);
        }
        io->action[r].i = best < 0 ? 0 : best;
    }
}

void sk__explore_add_noise(const sk_policy_spaces *spaces, const sk_inference_io *io) {
    const sk_exploration *e = io->explore;
    int                   slots = spaces->action_slots;
    if (spaces->n_parts > 0 || (e->kind != SK_EXPLORE_GAUSSIAN && e->kind != SK_EXPLORE_OU)) return;
    for (int r = 0; r < io->rows; r++) {
        sk_env_slot *action = io->action + (ptrdiff_t)r * slots;
        float       *ou = e->kind == SK_EXPLORE_OU ? io->ou + (ptrdiff_t)r * slots : NULL;
        uint32_t     words[4];
        float        four[4];
        for (int i = 0; i < slots; i++) {
            if (i % 4 == 0) {
                words_of(io, r, i, words);
                sk_u32_to_normal2(words[0], words[1], four);
                sk_u32_to_normal2(words[2], words[3], four + 2);
            }
            float noise = e->sigma * four[i % 4];
            if (ou) noise = ou[i] += -e->theta * ou[i] * e->dt + sqrtf(e->dt) * noise;
            action[i].f = fminf(1.0f, fmaxf(-1.0f, action[i].f + noise));
        }
    }
}
