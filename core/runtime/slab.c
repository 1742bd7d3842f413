#include "core/runtime/driver.h"
#include <stdlib.h>
#include <string.h>

/* id = generation << 32 | index. A generation is odd while its item is in use, so a free item is found by no id. */
enum { CHUNK_ITEMS = 512 };

typedef struct head {
    uint64_t id;
    void    *free;
} head;

static head *item_at(const sk__slab *self, uint32_t index) {
    return (head *)(void *)(self->chunks[index / CHUNK_ITEMS] + (size_t)(index % CHUNK_ITEMS) * self->item_size);
}

static bool is_used(uint64_t id) { return (id >> 32 & 1) != 0; }

/* One chunk more; all its items are free, in order. */
static bool grow(sk__slab *self) {
    if (self->n_items > UINT32_MAX - CHUNK_ITEMS) return false;
    if (self->n_chunks == self->cap_chunks) {
        uint32_t  cap = self->cap_chunks ? 2 * self->cap_chunks : 8;
        uint8_t **grown = realloc(self->chunks, cap * sizeof *grown);
        if (!grown) return false;
        self->chunks = grown;
        self->cap_chunks = cap;
    }
    size_t   bytes = CHUNK_ITEMS * self->item_size;
    uint8_t *chunk = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!chunk) return false;
    self->chunks[self->n_chunks++] = chunk;
    uint32_t first = self->n_items;
    self->n_items += CHUNK_ITEMS;
    for (uint32_t i = CHUNK_ITEMS; i-- > 0;) {
        head *item = item_at(self, first + i);
        *item = (head){.id = first + i, .free = self->free};
        self->free = item;
    }
    return true;
}

void *sk__slab_take(sk__slab *self) {
    SK_ASSERT(self->item_size >= sizeof(head) && self->item_size % 16 == 0);
    if (!self->free && !grow(self)) return NULL;
    head *item = self->free;
    self->free = item->free;
    uint64_t id = item->id + (UINT64_C(1) << 32);
    memset(item, 0, self->item_size);
    item->id = id;
    self->n_used++;
    return item;
}

void sk__slab_give(sk__slab *self, void *given) {
    head *item = given;
    SK_ASSERT(is_used(item->id));
    item->id += UINT64_C(1) << 32;
    item->free = self->free;
    self->free = item;
    self->n_used--;
}

void *sk__slab_find(const sk__slab *self, uint64_t id) {
    uint32_t index = (uint32_t)id;
    if (index >= self->n_items || !is_used(id)) return NULL;
    head *item = item_at(self, index);
    return item->id == id ? item : NULL;
}

void *sk__slab_next(const sk__slab *self, uint32_t *at) {
    while (*at < self->n_items) {
        head *item = item_at(self, (*at)++);
        if (is_used(item->id)) return item;
    }
    return NULL;
}

void sk__slab_deinit(sk__slab *self) {
    for (uint32_t i = 0; i < self->n_chunks; i++) free(self->chunks[i]);
    free(self->chunks);
    self->chunks = NULL;
    self->free = NULL;
    self->n_chunks = self->cap_chunks = self->n_items = self->n_used = 0;
}
