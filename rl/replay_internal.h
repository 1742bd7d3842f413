/* replay_internal: what the parts of the replay share: replay.c (steps in), replay_draw.c (transitions out),
 * replay_store.c (where they lie), replay_save.c (checkpoints).
 *
 * A record is one step of one row, all in one piece, and the records of a row follow each other: a transition and what
 * it leads to are read from neighbouring cache lines.
 *     obs (O floats) | mask (K bytes, up to a multiple of 4) | action (S slots) | reward (float) | end word (u32)
 * The end word says how the step ended, whether it can be drawn, and where its final observation lies. A slot that
 * holds no step, the head's too, has end word 0. */
#ifndef SK_RL_REPLAY_INTERNAL_H
#define SK_RL_REPLAY_INTERNAL_H
#include "core/base/arena.h"
#include "rl/replay.h"
#include "rl/sum_tree.h"
#include "skiff/env.h"
#include <stddef.h>

enum {
    SK__END_TERMINATED = 1,
    SK__END_TRUNCATED = 2,
    SK__END_KIND = 3,
    SK__END_VALID = 4, /* a transition: may be drawn                                              */
    SK__END_SIDE_BIT = 3, /* bits from here on: the side slot, where the step is valid and an end */
    SK__REPLAY_HEAD_BYTES = 4096
};
#define SK__REPLAY_SLOTS_MAX ((int64_t)1 << 29) /* side slots fit the end word */

/* Where a drawn transition lies. */
typedef struct sk__pick {
    int64_t step; /* counted from the first one ever added */
    int32_t row;
    int32_t slot;
} sk__pick;

/* The mapped memory: a head of one page, (R x P) records, (R * C) side slots of O floats. */
typedef struct sk__replay_store {
    char  *path;      /* NULL: memory                                       */
    int    fd;        /* -1: memory                                         */
    char  *base;      /* NULL: not mapped                                   */
    size_t bytes;
    int64_t n_steps, n_side; /* of each row, and side slots: so many are backed by the disk */
} sk__replay_store;

struct sk_replay {
    sk_replay_params p; /* path and env_name point below                          */
    char             env_name[SK_ENV_NAME_MAX];
    int64_t          n_keep; /* C: steps kept of each row                              */
    int64_t          ring;   /* P = C + 1: with the head                               */
    size_t           mask_at, action_at, reward_at, end_at, stride; /* in a record [bytes] */
    size_t           side_bytes;
    sk__replay_store store;
    char            *record, *side; /* in the store */

    int64_t      n_added;    /* steps of each row ever; the head is slot n_added % P   */
    int64_t      n_drawable;
    uint64_t    *drawable;   /* (R * P) bits                                           */
    int32_t      side_free;  /* first of those given back, each holds the next; -1     */
    int64_t      n_side;     /* ever used: [0, n_side)                                 */
    int64_t      n_side_free;
    sk_sum_tree *tree;       /* (R * P) priority^alpha of what can be drawn; NULL      */
    double       priority_max; /* largest leaf ever, at least 1                        */
    uint64_t     n_draws;

    /* the last draw */
    sk_arena *arena;
    int       n_picked;
    sk__pick *pick;      /* (max_draw)     */
    int64_t  *leaf, *leaf_scratch; /* (max_draw) */
    double   *number;    /* (max_draw)     */
    double   *gamma_pow; /* (n_step + 1)   */
    sk_batch  out;
};

static inline size_t sk__replay_at(const sk_replay *self, int row, int64_t slot) {
    return (size_t)row * (size_t)self->ring + (size_t)slot;
}
static inline char *sk__replay_record(const sk_replay *self, int row, int64_t slot) {
    return self->record + sk__replay_at(self, row, slot) * self->stride;
}
static inline uint32_t *sk__replay_end(const sk_replay *self, char *record) {
    return (uint32_t *)(void *)(record + self->end_at);
}
static inline char *sk__replay_side(const sk_replay *self, uint32_t end) {
    return self->side + (size_t)(end >> SK__END_SIDE_BIT) * self->side_bytes;
}
/* Steps of each row that are in the ring. */
static inline int64_t sk__replay_n_kept(const sk_replay *self) {
    return self->n_added < self->n_keep ? self->n_added : self->n_keep;
}

/* replay_store.c */

/* Map the memory or the file. On failure nothing is left behind, in the file system neither. */
SK_NODISCARD sk_status sk__replay_store_open(sk_replay *self, sk_error *reterr);
/* Unmaps; removes the file. */
void sk__replay_store_close(sk_replay *self);
/* See that so many steps of each row and so many side slots can be written: of a file the disk must have room. */
SK_NODISCARD sk_status sk__replay_store_reserve(sk_replay *self, int64_t n_steps, int64_t n_side, sk_error *reterr);

#endif
