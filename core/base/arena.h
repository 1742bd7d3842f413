/* arena: many arrays, one allocation. First every array is planned, then one aligned block is
 * taken and all pointers are filled; scratch inside it is taken and given back by frames.
 *
 *   sk_arena_plan plan = {0};
 *   sk_arena_plan_add(&plan, (void **)&obs, n * sizeof *obs, 64);
 *   sk_arena_plan_scratch(&plan, 4096);
 *   SK_TRY(sk_arena_create(&plan, &arena, reterr));     // obs is valid and zeroed now
 *
 * Threads: an arena belongs to one thread at a time. */
#ifndef SK_BASE_ARENA_H
#define SK_BASE_ARENA_H
#include "core/base/status.h"
#include <stddef.h>

typedef struct sk_arena sk_arena;

/* At most this many arrays in one plan. */
enum { SK_ARENA_PLAN_MAX = 512 };

typedef struct sk_arena_plan {
    int    n_items;
    int    overflow; /* 1 = too many items or a size beyond SIZE_MAX / 4: create refuses */
    size_t scratch_bytes;
    struct {
        void **slot;   /* filled by sk_arena_create                 */
        size_t offset; /* from the start of the block [bytes]       */
        size_t bytes;  /* as asked for                              */
    } items[SK_ARENA_PLAN_MAX];
    size_t total_bytes;
} sk_arena_plan;

/* Ask for `bytes` (0 gives a valid unique pointer) at a multiple of `align` (a power of two <= 4096);
 * *slot is written when the arena is created. `slot` must live until then. */
void sk_arena_plan_add(sk_arena_plan *plan, void **slot, size_t bytes, size_t align);
/* Ask for `bytes` more to be used as frames. Adds up. Scratch begins at a multiple of 64; gaps that
 * later pushes leave for their alignment count, so plan each push rounded up to its alignment. */
void sk_arena_plan_scratch(sk_arena_plan *plan, size_t bytes);

/* Take the memory, zero it and fill all slots. Caller destroys. SK_ENOMEM, SK_EINVAL (plan overflow). */
SK_NODISCARD sk_status sk_arena_create(const sk_arena_plan *plan, sk_arena **ret_arena, sk_error *reterr);
/* Destroy and null *self_p. NULL and already-null are fine. */
void sk_arena_destroy(sk_arena **self_p);

/* Scratch: mark, push as often as needed, rewind to the mark. Under ASAN what lies beyond the
 * mark is poisoned. Pushed bytes are not zeroed. A push that does not fit is a programmer's mistake (asserted). */
size_t sk_arena_mark(sk_arena *self);
void  *sk_arena_push(sk_arena *self, size_t bytes, size_t align);
void   sk_arena_rewind(sk_arena *self, size_t mark);

/* The most scratch bytes ever in use at once; the size of the whole block. */
size_t sk_arena_peak_bytes(const sk_arena *self);
size_t sk_arena_total_bytes(const sk_arena *self);

#endif
