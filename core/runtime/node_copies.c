#include "core/runtime/node_internal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CAP_MIN = 64 };

/* ---- the table ------------------------------------------------------------------------------------------- */
/* Offsets are multiples of a cache line: those bits say nothing. */
static size_t home_of(const sk__node_copies *self, uint64_t offset) {
    return (size_t)((offset >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (self->cap - 1);
}

void sk__node_copies_deinit(sk__node_copies *self) {
    free(self->slots);
    *self = (sk__node_copies){0};
}

sk__node_copy *sk__node_copies_find(const sk__node_copies *self, uint64_t offset) {
    if (self->cap == 0) return NULL;
    for (size_t i = home_of(self, offset); self->slots[i].size; i = (i + 1) & (self->cap - 1))
        if (self->slots[i].offset == offset) return &self->slots[i];
    return NULL;
}

static sk__node_copy *insert(sk__node_copies *self, const sk__node_copy *copy) {
    size_t i = home_of(self, copy->offset);
    while (self->slots[i].size) i = (i + 1) & (self->cap - 1);
    self->slots[i] = *copy;
    return &self->slots[i];
}

/* At most half full. */
static sk_status grow(sk__node_copies *self, sk_error *reterr) {
    if (2 * (self->n + 1) <= self->cap) return SK_OK;
    sk__node_copies grown = *self;
    grown.cap = self->cap ? 2 * self->cap : CAP_MIN;
    grown.slots = calloc(grown.cap, sizeof *grown.slots);
    if (!grown.slots) return SK_FAIL(reterr, SK_ENOMEM, "no memory to note %zu copies", self->n + 1);
    for (size_t i = 0; i < self->cap; i++)
        if (self->slots[i].size) insert(&grown, &self->slots[i]);
    free(self->slots);
    *self = grown;
    return SK_OK;
}

/* Close the gap at slot i: what was pushed beyond its home moves back. */
static void remove_slot(sk__node_copies *self, size_t i) {
    size_t mask = self->cap - 1;
    for (size_t j = (i + 1) & mask; self->slots[j].size; j = (j + 1) & mask) {
        size_t home = home_of(self, self->slots[j].offset);
        if (((j - home) & mask) < ((j - i) & mask)) continue; /* its home lies behind the gap */
        self->slots[i] = self->slots[j];
        i = j;
    }
    self->slots[i] = (sk__node_copy){0};
    self->n--;
}

sk_status sk__node_copies_add(sk__node_copies *self, sk_extent there, sk__node_copy **ret_copy, sk_error *reterr) {
    if (there.size == 0 || sk__node_copies_find(self, there.offset))
        return SK_FAIL(reterr, SK_ECORRUPT, "a copy of %" PRIu64 " bytes at %" PRIu64 " cannot be: %s", there.size,
                       there.offset, there.size ? "there is one already" : "it has none");
    SK_TRY(grow(self, reterr));
    sk__node_copy copy = {.offset = there.offset, .size = there.size};
    sk_status     status = sk_store_alloc(self->store, there.size, &copy.at, reterr);
    if (status != SK_OK) copy.at = (sk_extent){0};
    self->n++;
    *ret_copy = insert(self, &copy);
    return status;
}

sk_status sk__node_copies_fill(sk__node_copies *self, uint64_t offset, uint64_t at, sk_bytes bytes, sk_error *reterr) {
    sk__node_copy *copy = sk__node_copies_find(self, offset);
    if (!copy)
        return SK_FAIL(reterr, SK_ECORRUPT, "%zu bytes for a copy at %" PRIu64 " that is not here", bytes.size, offset);
    if (at != copy->filled || bytes.size > copy->size - copy->filled)
        return SK_FAIL(reterr, SK_ECORRUPT, "%zu bytes from %" PRIu64 " on for a copy that has %" PRIu64 " of %" PRIu64,
                       bytes.size, at, copy->filled, copy->size);
    if (copy->at.size && bytes.size) memcpy(sk__node_copy_data(self, copy) + at, bytes.data, bytes.size);
    copy->filled += bytes.size;
    return SK_OK;
}

void sk__node_copies_drop(sk__node_copies *self, uint64_t offset) {
    sk__node_copy *copy = sk__node_copies_find(self, offset);
    if (!copy) return;
    if (copy->at.size) sk_store_free(self->store, copy->at);
    remove_slot(self, (size_t)(copy - self->slots));
}

uint8_t *sk__node_copy_data(const sk__node_copies *self, const sk__node_copy *copy) {
    return (uint8_t *)sk_store_data(self->store) + copy->at.offset;
}

/* ---- messages down --------------------------------------------------------------------------------------- */
/* All its bytes need not be here: those of what was given up while they were on their way do not come any more, and
 * nobody looks at the answer then. */
static sk_status find_named(const sk__node_copies *self, sk_extent there, sk__node_copy **ret_copy, sk_error *reterr) {
    sk__node_copy *copy = sk__node_copies_find(self, there.offset);
    if (!copy || copy->size != there.size)
        return SK_FAIL(reterr, SK_ENOTFOUND, "no copy of %" PRIu64 " bytes it is to use", there.size);
    if (copy->at.size == 0)
        return SK_FAIL(reterr, SK_ELIMIT, "its host's store has no room for %" PRIu64 " bytes", there.size);
    *ret_copy = copy;
    return SK_OK;
}

static sk_status record_to_here(void *arg, sk_extent *extent, bool is_blob, sk_error *reterr) {
    sk__node_copy *copy = NULL;
    if (is_blob) return SK_FAIL(reterr, SK_ECORRUPT, "records that lie elsewhere name others that do");
    SK_TRY(find_named(arg, *extent, &copy, reterr));
    *extent = copy->at;
    return SK_OK;
}

static sk_status to_here(void *arg, sk_extent *extent, bool is_blob, sk_error *reterr) {
    sk__node_copies *self = arg;
    sk__node_copy   *copy = NULL;
    SK_TRY(find_named(self, *extent, &copy, reterr));
    if (is_blob && !copy->is_ours && copy->filled == copy->size) {
        SK_TRY(sk_wire_each_packed(sk__node_copy_data(self, copy), copy->size, record_to_here, self, reterr));
        copy->is_ours = true;
    }
    *extent = copy->at;
    return SK_OK;
}

sk_status sk__node_copies_translate(sk__node_copies *self, void *message, size_t size, bool answers_alloc,
                                    sk_error *reterr) {
    return sk_wire_each_extent(message, size, SK_TO_WORKER, answers_alloc, to_here, self, reterr);
}
