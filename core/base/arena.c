#include "core/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifndef ARENA_ASAN
#define ARENA_ASAN 0
#endif

/* Under ASAN every byte that nobody asked for is marked, and touching one is reported; a red zone keeps
 * neighbouring arrays apart. Otherwise both cost nothing. */
#if ARENA_ASAN
#include <sanitizer/asan_interface.h>
enum { REDZONE_BYTES = 64 };
static void poison(const void *at, size_t bytes) { __asan_poison_memory_region(at, bytes); }
static void unpoison(const void *at, size_t bytes) { __asan_unpoison_memory_region(at, bytes); }
#else
enum { REDZONE_BYTES = 0 };
static void poison(const void *at, size_t bytes) { (void)at, (void)bytes; }
static void unpoison(const void *at, size_t bytes) { (void)at, (void)bytes; }
#endif

enum {
    BLOCK_ALIGN = 4096, /* a page: any alignment a plan may ask for holds within the block */
    SCRATCH_ALIGN = 64  /* a cache line, also the widest vector                             */
};

/* Sums of two sizes below this cannot wrap round, with room for alignment. */
static const size_t SIZE_LIMIT = SIZE_MAX / 4;

struct sk_arena {
    unsigned char *block;       /* (block_bytes) arrays first, then scratch         */
    size_t         block_bytes;
    size_t         scratch_at;  /* where scratch begins in the block [bytes]        */
    size_t         scratch_end; /* and where it ends: what was planned, no padding  */
    size_t         used_bytes;  /* of scratch, by all open frames, gaps included    */
    size_t         peak_bytes;  /* the largest used_bytes ever                      */
};

static size_t align_up(size_t n, size_t align) { return (n + align - 1) & ~(align - 1); }

static int is_valid_align(size_t align) {
    return align > 0 && align <= BLOCK_ALIGN && (align & (align - 1)) == 0;
}

void sk_arena_plan_add(sk_arena_plan *plan, void **slot, size_t bytes, size_t align) {
    SK_ASSERT(plan && slot);
    SK_ASSERT(is_valid_align(align));
    size_t taken = bytes ? bytes : 1; /* one byte makes the pointer unique */
    if (plan->n_items >= SK_ARENA_PLAN_MAX || taken > SIZE_LIMIT || plan->total_bytes > SIZE_LIMIT) {
        plan->overflow = 1;
        return;
    }
    size_t offset = align_up(plan->total_bytes, align);
    plan->items[plan->n_items].slot = slot;
    plan->items[plan->n_items].offset = offset;
    plan->items[plan->n_items].bytes = bytes;
    plan->n_items++;
    plan->total_bytes = offset + taken + REDZONE_BYTES;
}

void sk_arena_plan_scratch(sk_arena_plan *plan, size_t bytes) {
    SK_ASSERT(plan);
    if (bytes > SIZE_LIMIT || plan->scratch_bytes > SIZE_LIMIT) {
        plan->overflow = 1;
        return;
    }
    plan->scratch_bytes += bytes;
}

sk_status sk_arena_create(const sk_arena_plan *plan, sk_arena **ret_arena, sk_error *reterr) {
    SK_ASSERT(plan && ret_arena);
    if (plan->overflow || plan->total_bytes > SIZE_LIMIT || plan->scratch_bytes > SIZE_LIMIT)
        return SK_FAIL(reterr, SK_EINVAL, "memory plan: more than %d arrays or more than %zu bytes",
                       SK_ARENA_PLAN_MAX, SIZE_LIMIT);
    size_t scratch_at = align_up(plan->total_bytes, SCRATCH_ALIGN);
    /* A whole number of pages, at least one. */
    size_t block_bytes = align_up(scratch_at + plan->scratch_bytes + 1, BLOCK_ALIGN);
    void  *block = NULL;
    sk_arena *self = calloc(1, sizeof *self);
    if (!self || posix_memalign(&block, BLOCK_ALIGN, block_bytes) != 0) {
        free(self);
        return SK_FAIL(reterr, SK_ENOMEM, "memory plan: no room for %d arrays in %zu bytes", plan->n_items,
                       block_bytes);
    }
    memset(block, 0, block_bytes);
    *self = (sk_arena){.block = block,
                       .block_bytes = block_bytes,
                       .scratch_at = scratch_at,
                       .scratch_end = scratch_at + plan->scratch_bytes};
    poison(block, block_bytes);
    for (int i = 0; i < plan->n_items; i++) {
        *plan->items[i].slot = self->block + plan->items[i].offset;
        unpoison(self->block + plan->items[i].offset, plan->items[i].bytes);
    }
    *ret_arena = self;
    return SK_OK;
}

void sk_arena_destroy(sk_arena **self_p) {
    if (!self_p || !*self_p) return;
    unpoison((*self_p)->block, (*self_p)->block_bytes);
    free((*self_p)->block);
    free(*self_p);
    *self_p = NULL;
}

size_t sk_arena_mark(sk_arena *self) {
    SK_ASSERT(self);
    return self->used_bytes;
}

void *sk_arena_push(sk_arena *self, size_t bytes, size_t align) {
    SK_ASSERT(self);
    SK_ASSERT(is_valid_align(align));
    size_t at = align_up(self->scratch_at + self->used_bytes, align);
    SK_ASSERT(at <= self->scratch_end && bytes <= self->scratch_end - at);
    self->used_bytes = at + bytes - self->scratch_at;
    if (self->used_bytes > self->peak_bytes) self->peak_bytes = self->used_bytes;
    unpoison(self->block + at, bytes);
    return self->block + at;
}

void sk_arena_rewind(sk_arena *self, size_t mark) {
    SK_ASSERT(self);
    SK_ASSERT(mark <= self->used_bytes);
    poison(self->block + self->scratch_at + mark, self->used_bytes - mark);
    self->used_bytes = mark;
}

size_t sk_arena_peak_bytes(const sk_arena *self) {
    SK_ASSERT(self);
    return self->peak_bytes;
}

size_t sk_arena_total_bytes(const sk_arena *self) {
    SK_ASSERT(self);
    return self->block_bytes;
}
