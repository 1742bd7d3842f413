#include "core/runtime/old_internal.h"
#include <stdlib.h>

/* id = generation << 32 | slot; generations begin with 1. */
static uint64_t make_id(int slot, uint32_t generation) {
    return ((uint64_t)generation << 32) | (uint32_t)slot;
}

static sk__slot *find(const sk__table *self, uint64_t id) {
    uint64_t slot = id & UINT32_MAX;
    if (slot >= (uint64_t)self->n_slots) return NULL;
    sk__slot *found = &self->slots[slot];
    return found->item && found->generation == id >> 32 ? found : NULL;
}

sk_status sk__table_put(sk__table *self, void *item, uint64_t *ret_id, sk_error *reterr) {
    SK_ASSERT(item && ret_id);
    int slot = 0;
    while (slot < self->n_slots && self->slots[slot].item) slot++;
    if (slot == self->cap) {
        int cap = self->cap ? 2 * self->cap : 16;
        sk__slot *grown = realloc(self->slots, (size_t)cap * sizeof *grown);
        if (!grown) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a table of %d", cap);
        self->slots = grown;
        self->cap = cap;
    }
    if (slot == self->n_slots) self->slots[self->n_slots++] = (sk__slot){0};
    self->slots[slot].item = item;
    self->slots[slot].generation++;
    *ret_id = make_id(slot, self->slots[slot].generation);
    return SK_OK;
}

void *sk__table_get(const sk__table *self, uint64_t id) {
    sk__slot *slot = find(self, id);
    return slot ? slot->item : NULL;
}

bool sk__table_had(const sk__table *self, uint64_t id) {
    uint64_t slot = id & UINT32_MAX;
    return slot < (uint64_t)self->n_slots && id >> 32 != 0 && id >> 32 <= self->slots[slot].generation;
}

void sk__table_remove(sk__table *self, uint64_t id) {
    sk__slot *slot = find(self, id);
    if (slot) slot->item = NULL;
}

void sk__table_deinit(sk__table *self) {
    free(self->slots);
    *self = (sk__table){0};
}
