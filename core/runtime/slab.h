/* slab: items that never move, by ids that never name two things.
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_SLAB_H
#define SK_RUNTIME_SLAB_H
#include "core/runtime/internal.h"

/* An item begins with its uint64_t id: a generation and an index, so it is never 0, and an old id finds nothing. */
typedef struct sk__slab {
    uint8_t **chunks;
    size_t    item_size;
    uint32_t  n_chunks, cap_chunks, n_items /* ever made */, n_used;
    void     *free; /* list through the second word */
} sk__slab;
/* A zeroed item with an id, or NULL: no memory. */
void *sk__slab_take(sk__slab *self);
void  sk__slab_give(sk__slab *self, void *item);
void *sk__slab_find(const sk__slab *self, uint64_t id);
/* Items in use, in order of index; NULL past the last. Start with *at = 0. */
void *sk__slab_next(const sk__slab *self, uint32_t *at);
void  sk__slab_deinit(sk__slab *self);

#endif
