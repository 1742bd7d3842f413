#include "rl/batch.h"

#define COLUMN_ALIGN 64
#define BYTES_MAX ((size_t)1 << 40)

/* Walk all columns in order; with memory NULL only count. The one place that knows the layout. *ret_list: where the
 * episodes begin. */
static size_t lay_out(const sk_batch_shape *s, char *memory, sk_batch *b, size_t *ret_list) {
    size_t at = 0, t = (size_t)s->n_steps, r = (size_t)s->n_rows;
#define COLUMN(field, count)                                                                                           \
    do {                                                                                                               \
        size_t n_ = (count);                                                                                           \
        b->field = n_ && memory ? (void *)(memory + at) : NULL;                                                        \
        at = (at + n_ * sizeof *b->field + COLUMN_ALIGN - 1) / COLUMN_ALIGN * COLUMN_ALIGN;                            \
    } while (0)
    COLUMN(fragment, (size_t)s->n_fragments);
    COLUMN(obs, (t + 1) * r * (size_t)s->obs_dim);
    COLUMN(mask, (t + 1) * r * (size_t)s->mask_size);
    COLUMN(action, t * r * (size_t)s->action_slots);
    COLUMN(logp, t * r);
    COLUMN(value, t * r);
    COLUMN(reward, t * r);
    COLUMN(final_value, t * r);
    COLUMN(bootstrap, r);
    COLUMN(terminated, t * r);
    COLUMN(truncated, t * r);
    COLUMN(valid, t * r);
    COLUMN(final_obs, s->keep_final_obs ? t * r * (size_t)s->obs_dim : 0);
    *ret_list = at;
    COLUMN(episode, t * r); /* the last one: rl/fragment.h sends no more of it than there is */
#undef COLUMN
    return at + COLUMN_ALIGN; /* whole vectors may be read at the very end */
}

size_t sk_batch_bytes(const sk_batch_shape *s) {
    if (s->n_steps <= 0 || s->n_rows <= 0 || s->obs_dim <= 0 || s->action_slots <= 0 || s->mask_size < 0 ||
        s->n_fragments <= 0)
        return 0;
    double floats = ((double)s->n_steps + 1) * s->n_rows *
                    (2.0 * s->obs_dim + s->mask_size + s->action_slots + 16.0); /* more than the columns together */
    if (floats * 4.0 > (double)BYTES_MAX) return 0;
    sk_batch unused;
    size_t   list;
    return lay_out(s, NULL, &unused, &list);
}

size_t sk_batch_bytes_before_episodes(const sk_batch_shape *s) {
    sk_batch unused;
    size_t   list = 0;
    if (sk_batch_bytes(s) > 0) lay_out(s, NULL, &unused, &list);
    return list;
}

/* FNV-1a over the numbers of the shape and the version of the layout. */
uint64_t sk_batch_hash(const sk_batch_shape *s) {
    const int32_t numbers[] = {2, s->n_steps, s->n_rows, s->obs_dim, s->action_slots, s->mask_size, s->n_fragments,
                               s->keep_final_obs};
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < SK_COUNT(numbers); i++) hash = (hash ^ (uint32_t)numbers[i]) * 0x100000001b3u;
    return hash;
}

void sk_batch_map(const sk_batch_shape *shape, void *memory, sk_batch *ret_batch) {
    size_t list;
    SK_ASSERT(memory && (uintptr_t)memory % _Alignof(max_align_t) == 0);
    *ret_batch = (sk_batch){.shape = *shape};
    lay_out(shape, memory, ret_batch, &list);
}
