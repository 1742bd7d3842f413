/* space: gives out pieces of a range of offsets, and keeps its books outside of it: whoever writes over the range
 * cannot harm them. A piece lies at the lowest offset where it fits, so what was used before is used again.
 *
 * Threads: one at a time. */
#ifndef SK_RUNTIME_SPACE_H
#define SK_RUNTIME_SPACE_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* What a piece of `size` occupies: whole cache lines, from 1 MiB on whole pages (so that freed pieces fit again). */
uint64_t sk_space_round(uint64_t size);

typedef struct sk_space_hole sk_space_hole;
typedef struct sk_space_piece {
    uint64_t offset, size; /* as asked for; size 0: empty entry */
} sk_space_piece;

/* Fields are read by all, written by space.c. */
typedef struct sk_space {
    uint64_t        size, used;   /* [bytes], used counts pieces rounded                                            */
    sk_space_hole  *holes;        /* (holes_cap) treap by offset, each node knows the largest hole below; [0] is nil */
    uint32_t        root, unused; /* unused: list of nodes                                                          */
    uint32_t        holes_cap;
    uint32_t        random;
    sk_space_piece *pieces;       /* (pieces_cap) open addressing by offset                                         */
    uint64_t        pieces_cap, n_pieces;
} sk_space;

/* A range of `size` > 0 bytes (a multiple of 4096), all free. SK_ENOMEM. */
SK_NODISCARD sk_status sk_space_init(sk_space *self, uint64_t size, sk_error *reterr);
void sk_space_deinit(sk_space *self); /* zeroed is fine */
/* A piece of `size` > 0 bytes, 64-byte aligned. SK_ELIMIT (without text): no hole is large enough. O(log n). */
SK_NODISCARD sk_status sk_space_take(sk_space *self, uint64_t size, uint64_t *ret_offset, sk_error *reterr);
void     sk_space_give_back(sk_space *self, uint64_t offset, uint64_t size);
bool     sk_space_owns(const sk_space *self, uint64_t offset, uint64_t size); /* exactly a piece that was taken? */
uint64_t sk_space_largest(const sk_space *self);                              /* hole [bytes]                    */

#endif
