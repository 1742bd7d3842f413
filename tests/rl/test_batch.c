#include "rl/batch.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const sk_batch_shape plain = {.n_steps = 7, .n_rows = 5, .obs_dim = 3, .action_slots = 2, .mask_size = 4,
                                     .n_fragments = 2, .keep_final_obs = 1};

typedef struct range {
    const char *name;
    char       *begin;
    size_t      bytes;
} range;

enum { N_RANGES = 14 };
static int ranges_of(const sk_batch *b, range out[N_RANGES]) {
    const sk_batch_shape *s = &b->shape;
    size_t                t = (size_t)s->n_steps, r = (size_t)s->n_rows, n = t * r, o = (size_t)s->obs_dim;
    const range all[N_RANGES] = {{"fragment", (char *)b->fragment, (size_t)s->n_fragments * sizeof *b->fragment},
                                 {"obs", (char *)b->obs, (t + 1) * r * o * 4},
                                 {"mask", (char *)b->mask, (t + 1) * r * (size_t)s->mask_size * 4},
                                 {"action", (char *)b->action, n * (size_t)s->action_slots * 4},
                                 {"logp", (char *)b->logp, n * 4},
                                 {"value", (char *)b->value, n * 4},
                                 {"reward", (char *)b->reward, n * 4},
                                 {"final_value", (char *)b->final_value, n * 4},
                                 {"bootstrap", (char *)b->bootstrap, r * 4},
                                 {"terminated", (char *)b->terminated, n},
                                 {"truncated", (char *)b->truncated, n},
                                 {"valid", (char *)b->valid, n},
                                 {"final_obs", (char *)b->final_obs, s->keep_final_obs ? n * o * 4 : 0},
                                 {"episode", (char *)b->episode, n * sizeof *b->episode}};
    memcpy(out, all, sizeof all);
    return N_RANGES;
}

Test(batch, columns_are_aligned_whole_and_apart) {
    sk_batch_shape shapes[] = {plain, plain, plain, plain};
    shapes[1].mask_size = 0;
    shapes[2].keep_final_obs = 0;
    shapes[3] = (sk_batch_shape){.n_steps = 1, .n_rows = 1, .obs_dim = 1, .action_slots = 1, .n_fragments = 1};
    for (int k = 0; k < SK_COUNT(shapes); k++) {
        size_t   bytes = sk_batch_bytes(&shapes[k]);
        char    *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
        sk_batch b;
        range    x[N_RANGES];
        cr_assert_gt(bytes, 0);
        memset(memory, 0, bytes);
        sk_batch_map(&shapes[k], memory, &b);
        for (int i = 0, n = ranges_of(&b, x); i < n; i++) {
            if (x[i].bytes == 0) {
                cr_assert_null(x[i].begin, "%s", x[i].name);
                continue;
            }
            cr_assert_eq((uintptr_t)x[i].begin % 64, 0, "%s", x[i].name);
            cr_assert(x[i].begin >= memory && x[i].begin + x[i].bytes + 64 <= memory + bytes, "%s", x[i].name);
            for (size_t at = 0; at < x[i].bytes; at++) cr_assert_eq(x[i].begin[at]++, 0, "%s overlaps", x[i].name);
        }
        free(memory);
    }
}

Test(batch, hash_tells_every_number_of_the_shape) {
    uint64_t       hash[8];
    sk_batch_shape s[8];
    for (int i = 0; i < 8; i++) s[i] = plain;
    s[1].n_steps++, s[2].n_rows++, s[3].obs_dim++, s[4].action_slots++, s[5].mask_size++, s[6].n_fragments++;
    s[7].keep_final_obs = 0;
    for (int i = 0; i < 8; i++) hash[i] = sk_batch_hash(&s[i]);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < i; j++) cr_assert_neq(hash[i], hash[j], "shapes %d and %d", i, j);
    sk_batch_shape swapped = plain;
    swapped.n_steps = plain.n_rows, swapped.n_rows = plain.n_steps;
    cr_assert_neq(sk_batch_hash(&swapped), hash[0]);
    cr_assert_eq(sk_batch_hash(&plain), hash[0]);
}

Test(batch, refuses_shapes_out_of_bounds) {
    sk_batch_shape s;
#define REFUSES(change)                                                                                                \
    do {                                                                                                               \
        s = plain;                                                                                                     \
        change;                                                                                                        \
        cr_assert_eq(sk_batch_bytes(&s), 0, "%s", #change);                                                            \
    } while (0)
    REFUSES(s.n_steps = 0);
    REFUSES(s.n_steps = -1);
    REFUSES(s.n_rows = 0);
    REFUSES(s.obs_dim = 0);
    REFUSES(s.action_slots = -3);
    REFUSES(s.mask_size = -1);
    REFUSES(s.n_fragments = 0);
    REFUSES(s.n_steps = s.n_rows = INT32_MAX);
    REFUSES(s.n_steps = s.n_rows = s.obs_dim = INT32_MAX);
    REFUSES(s.n_steps = s.n_rows = s.obs_dim = s.action_slots = s.mask_size = INT32_MAX);
    REFUSES(s.obs_dim = 1 << 30; s.n_steps = 1 << 10);
    REFUSES(s.n_fragments = INT32_MAX; s.n_steps = INT32_MAX);
    s = plain;
    s.n_steps = 1 << 20, s.n_rows = 1 << 10; /* 10^9 steps fit below the limit of 2^40 bytes */
    s.obs_dim = 4;
    cr_assert_gt(sk_batch_bytes(&s), (size_t)1 << 33);
}
