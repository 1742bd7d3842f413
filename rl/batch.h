/* batch: the experience block. One piece of shared memory holds T steps of all R rows of all runners, time-major, each
 * column contiguous; every runner writes its own rows in place, and the learner reads the whole without copying. A
 * runner's part of it is its *fragment*. (A runner on another host has a block of its own: rl/fragment.h.)
 *
 * The layout is a pure function of sk_batch_shape, so every process computes the same one; its hash travels along.
 * Shapes: T fragment length, R rows (environments * agents), O obs_dim, S action_slots, K mask_size.
 * Threads: rows are owned by their runner while it samples and by the learner afterwards; messages hand them over. */
#ifndef SK_RL_BATCH_H
#define SK_RL_BATCH_H
#include "core/base/status.h"
#include "skiff/env.h"
#include <stddef.h>
#include <stdint.h>

typedef struct sk_batch_shape {
    int32_t n_steps;      /* T */
    int32_t n_rows;       /* R */
    int32_t obs_dim;      /* O */
    int32_t action_slots; /* S */
    int32_t mask_size;    /* K */
    int32_t n_fragments;  /* runners                                                  */
    int32_t keep_final_obs; /* 1: the column final_obs is there                         */
} sk_batch_shape;

/* An episode that ended, for statistics. */
typedef struct sk_batch_episode {
    int32_t step;    /* t of its last step in this block                                */
    int32_t row;     /* global                                                          */
    int32_t length;  /* [env steps]                                                     */
    int32_t valid;   /* 0: dropped                                                      */
    double  ret;     /* undiscounted return                                             */
} sk_batch_episode;

/* One runner's head. */
typedef struct sk_fragment {
    uint64_t layout_hash;    /* of the shape it was written with                         */
    int64_t  policy_version; /* that acted                                               */
    int64_t  first_step;     /* global step index of t = 0, per environment              */
    uint64_t env_seed;       /* the run's seed; env g starts from Philox(seed, ENV_SEED, g) */
    int32_t  runner, first_row, n_rows;
    int32_t  n_episodes;     /* in its list                                              */
    int64_t  n_made;         /* how often the runner has been made, this time included   */
    double   env_s, inference_s; /* time spent [s]                                       */
} sk_fragment;

/* Pointers into a mapped block. */
typedef struct sk_batch {
    sk_batch_shape    shape;
    sk_fragment      *fragment;    /* (n_fragments)                                       */
    float            *obs;         /* (T+1 x R x O) row T: what the next step starts from */
    float            *mask;        /* (T+1 x R x K) 0/1; NULL if K is 0                   */
    sk_env_slot      *action;      /* (T x R x S)   choices from 0, or unclipped floats   */
    float            *logp;        /* (T x R)       under the policy that acted           */
    float            *value;       /* (T x R)       likewise                              */
    float            *reward;      /* (T x R)                                             */
    float            *final_value; /* (T x R)       V(final obs) where truncated, else 0  */
    float            *bootstrap;   /* (R)           V(obs[T])                             */
    uint8_t          *terminated;  /* (T x R)                                             */
    uint8_t          *truncated;   /* (T x R)                                             */
    uint8_t          *valid;       /* (T x R)       0 = loss weight 0                     */
    float            *final_obs;   /* (T x R x O)   where an episode ended; optional      */
    sk_batch_episode *episode;     /* (T x R) room; fragment f's list starts at T * first_row */

    /* only in what a replay draws (rl/replay.h), where T is 1; NULL else, as the columns above are that it lacks */
    float            *next_obs;    /* (R x O)       after n steps                         */
    float            *next_mask;   /* (R x K)                                             */
    float            *discount;    /* (R)           of the value of next_obs; 0 = terminated */
    float            *weight;      /* (R)           importance weight                     */
} sk_batch;

/* Bytes of a block; 0 if the shape is out of bounds (any dimension <= 0 where it must not, or beyond 2^40). */
size_t   sk_batch_bytes(const sk_batch_shape *shape);
uint64_t sk_batch_hash(const sk_batch_shape *shape);
/* Bytes of a block in front of `episode`, its last column; 0 likewise. */
size_t   sk_batch_bytes_before_episodes(const sk_batch_shape *shape);
/* Point into `memory` (64-byte aligned where a network reads it, else 16; sk_batch_bytes long). */
void     sk_batch_map(const sk_batch_shape *shape, void *memory, sk_batch *ret_batch);

#endif
