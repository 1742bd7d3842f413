/* replay: memory of transitions for off-policy learning. Steps go in as the fragments of a batch, row by row; what
 * comes out are n-step transitions drawn uniformly or by priority (Schaul et al. 2016). One piece of memory, made once:
 * pages are taken as they are used, or lie in a file of the caller's choice (a sparse memory-mapped one).
 *
 * Layout: a ring of `capacity / R` steps of R rows. A step of a row holds its observation, action, reward and how it
 * ended; the next observation is the next step's, except where an episode ended: there the final observation has a side
 * slot of its own. The newest step's next observation lies in the ring's head, which is not a transition yet.
 *
 * n-step windows stop at terminations and truncations and at the newest step, and never cross the head:
 *     reward = sum_{j<k} gamma^j r_{t+j},  discount = 0 if the last step terminated, else gamma^k,
 *     next_obs = observation after the k-th step (the final one, where an episode ended there).
 * Where both flags are set terminated wins. The mask of a final observation is not known: next_mask is all ones there.
 * A row that goes on with another observation than the one its newest step led to (its runner began anew) was cut
 * there.
 * Steps that are not valid (dropped episodes, agents that sat out) are never drawn; an episode that is dropped later
 * takes its earlier steps in the memory with it.
 *
 * Shapes: N drawn transitions, O obs_dim, S action_slots, K mask_size.
 * Threads: one owner. */
#ifndef SK_RL_REPLAY_H
#define SK_RL_REPLAY_H
#include "core/base/pack.h"
#include "core/base/status.h"
#include "rl/batch.h"

typedef struct sk_replay sk_replay;

typedef struct sk_replay_params {
    int64_t     capacity;     /* transitions, >= 2 * n_rows; used down to a multiple of n_rows          */
    int         n_rows;       /* R that write side by side                                             */
    int         obs_dim, action_slots, mask_size;
    int         n_step;       /* >= 1                                                                  */
    double      gamma;
    int         max_draw;     /* largest N of a draw                                                   */
    int         prioritized;  /* 1: draws in proportion to priority^alpha                              */
    double      alpha;        /* [0, 1]                                                                */
    uint64_t    seed;         /* draws are Philox(seed, SK_STREAM_REPLAY, number of the draw)          */
    const char *path;         /* NULL: memory; else a file, made anew and removed with the replay. One that is there
                                 already is taken over only if its head says that it is a replay of this environment
                                 and shape: nothing else is ever overwritten                          */
    const char *env_name;     /* kept in what is saved, so that another env's is refused               */
} sk_replay_params;

/* Bytes the memory will take when full (without side slots). */
int64_t sk_replay_bytes(const sk_replay_params *params);

/* SK_EINVAL names what is out of range, SK_ENOMEM, SK_EIO (the file: what and why). Caller destroys. */
SK_NODISCARD sk_status sk_replay_create(const sk_replay_params *params, sk_replay **ret_replay, sk_error *reterr);
void sk_replay_destroy(sk_replay **self_p);

/* Append all T steps of a stream's batch (rl/batch.h), which must have the column final_obs. New steps get the largest
 * priority seen so far (1 at first). SK_EINVAL: another shape; SK_EIO: the file's disk is full; nothing is changed
 * then. */
SK_NODISCARD sk_status sk_replay_add(sk_replay *self, const sk_batch *batch, sk_error *reterr);
/* Transitions that can be drawn now. */
int64_t sk_replay_size(const sk_replay *self);
int64_t sk_replay_capacity(const sk_replay *self);

/* Draw n <= max_draw transitions with replacement into the replay's own columns (64-byte aligned, the same at each
 * draw): T = 1, n rows; columns obs, action, mask, reward, next_obs, next_mask, discount, weight; all others NULL.
 * Uniform: weight 1. Prioritised: drawn one from each of n equal parts of the total (stratified), weight
 * (size * P(i))^-beta, divided by the largest of the draw. Borrowed until the next draw. SK_EINVAL: nothing to draw
 * from. */
SK_NODISCARD sk_status sk_replay_draw(sk_replay *self, int n, double beta, const sk_batch **ret_batch,
                                      sk_error *reterr);
/* New priorities of the transitions of the last draw (their TD errors; |x| is taken, (|x| + 1e-6)^alpha stored). One
 * that is zero, negative zero or not finite is refused: SK_ENUMERIC names which, and nothing is changed. Without
 * `prioritized` this does nothing. */
SK_NODISCARD sk_status sk_replay_set_priorities(sk_replay *self, const float *td_error, int n, sk_error *reterr);

/* Everything, contents included, into an open container, which borrows it: nothing may be added or loaded before that
 * is saved; back into one made with the same params. The same draws follow.
 * SK_ECORRUPT, SK_ECONFIG (of another environment, shape or capacity: names both). */
SK_NODISCARD sk_status sk_replay_save(sk_replay *self, sk_pack_writer *writer, sk_error *reterr);
SK_NODISCARD sk_status sk_replay_load(sk_replay *self, const sk_pack *pack, sk_error *reterr);

#endif
