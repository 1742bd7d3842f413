/* sk_vec: an instance of an environment and the host's duties towards it: seeds, automatic reset within the
 * same step, time limits, final observations, episode statistics, clipping of actions at the door, agents that
 * end before their environment, and a watch for numbers that are none.
 *
 * Shapes:  E environments, A agents, R = E * A rows (row = env * A + agent), O obs_dim, S action_slots,
 *          K mask_size, M n_metrics. Row-major; every column starts at this vec's first row.
 *
 * Ends. `terminated` and `truncated` are 1 on a row's last step; both may be (the time limit met on a
 * terminating step): terminated wins for the bootstrap. An environment is reset within the step in which all
 * of its agents have ended or act no more; on that step each of its rows has an end flag (rows that ended
 * before have terminated = 1, valid = 0), so an end flag always precedes a new episode.
 *
 * Invalid episodes (a non-finite observation or reward, a failed row, a failed step) stop the run with SK_EENV,
 * or, with SK_INVALID_DROP, are cut (terminated = 1, valid = 0, reward = 0, never bootstrapped from), counted
 * and reported as an event; the vec cannot reach back, so the caller clears `valid` for the `length - 1`
 * steps before it as well. SK_VEC_INVALID_MAX of them in a row stop the run in any case.
 *
 * Threads: one at a time. No allocation after create. */
#ifndef SK_RL_VEC_H
#define SK_RL_VEC_H
#include "core/base/status.h"
#include "rl/env.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An environment that has not finished a valid episode for so many episodes is broken, not unlucky. */
enum { SK_VEC_INVALID_MAX = 100 };

typedef enum sk_on_invalid { SK_INVALID_STOP, SK_INVALID_DROP } sk_on_invalid;

typedef enum sk_vec_seeding {
    SK_VEC_SEED_DERIVED, /* training: env g starts from Philox(seed, SK_STREAM_ENV_SEED, g), then goes on     */
    SK_VEC_SEED_OFFSET,  /* Gymnasium's way: env g starts from seed + g, then goes on                         */
    SK_VEC_SEED_EPISODES /* evaluation: episode i has seed `seed + i`; env g plays i = g, g + n_total, ...    */
} sk_vec_seeding;

typedef struct sk_vec_params {
    const sk_env  *env;       /* must outlive the vec                                           */
    int            n_envs;
    int64_t        first_env; /* global index of the first one                                  */
    int64_t        n_total;   /* environments in all vecs together; 0 = n_envs                  */
    uint64_t       seed;
    sk_vec_seeding seeding;
    sk_on_invalid  on_invalid;
} sk_vec_params;

/* One step's columns; the caller owns them. */
typedef struct sk_vec_step {
    const sk_env_slot *action; /* (R x S) as the policy gave it: discrete in range, box unclipped    */
    float   *reward;           /* (R)                                                               */
    uint8_t *terminated;       /* (R)     1 = ended by the task                                     */
    uint8_t *truncated;        /* (R)     1 = cut by the clock or the simulator                     */
    uint8_t *valid;            /* (R)     0 = the row did not act, or its episode is invalid: loss weight 0 */
    float   *next_obs;         /* (R x O) after the step and after any reset: what the policy sees next */
    uint8_t *next_mask;        /* (R x K) 1 = allowed; not used if K is 0                            */
    float   *final_obs;        /* (R x O) written only for rows with an end flag: their true last observation
                                  (zeros for rows that ended before, and in dropped episodes)       */
} sk_vec_step;

/* An episode of one row that ended in the last step. */
typedef struct sk_vec_event {
    int64_t env;         /* global index                                                       */
    int64_t episode;     /* SK_VEC_SEED_EPISODES: the global number i; else a count per env from 0 */
    int     agent, row;  /* row: within this vec                                               */
    int     length;      /* steps of this row                                                  */
    bool    valid;       /* false: dropped, see above; ret and metrics mean nothing            */
    bool    terminated, truncated;
    double  ret;         /* undiscounted sum of rewards                                        */
    const double *metrics; /* (M) means over the episode; borrowed until the next step         */
} sk_vec_event;

typedef struct sk_vec sk_vec;

/* Make the environments (not yet reset). SK_EENV, SK_ENOMEM, SK_EINVAL (sizes). Caller destroys. */
SK_NODISCARD sk_status sk_vec_create(const sk_vec_params *params, sk_vec **ret_vec, sk_error *reterr);
/* NULL and already-null are fine. */
void sk_vec_destroy(sk_vec **self_p);
int           sk_vec_rows(const sk_vec *self);
const sk_env *sk_vec_env(const sk_vec *self); /* Borrowed. */

/* Begin anew: every environment from its seed. Writes obs (R x O) and mask (R x K; not used if K is 0). */
SK_NODISCARD sk_status sk_vec_reset(sk_vec *self, float *obs, uint8_t *mask, sk_error *reterr);
/* Step all rows once. SK_EENV names the environment, its global index, the episode's step, the field and the
 * value; SK_ENUMERIC: an action was no number. */
SK_NODISCARD sk_status sk_vec_step_run(sk_vec *self, const sk_vec_step *step, sk_error *reterr);

/* The episodes that ended in the last step, in order of rows. Borrowed until the next step or reset. */
const sk_vec_event *sk_vec_events(const sk_vec *self, int *ret_n);
/* Dropped episodes, counted by environment, since reset. Part of the state. */
int64_t sk_vec_n_invalid(const sk_vec *self);
/* (R) 1 = this row acts in the next step. Borrowed until destroy. */
const uint8_t *sk_vec_acting(const sk_vec *self);
/* Steps already done in the row's present episode. */
int sk_vec_episode_age(const sk_vec *self, int row);

/* Draw an environment as it is now (after the step that ended an episode: the next one's beginning). *ret_width and
 * *ret_height tell the size; unless it is NULL, rgb (height x width x 3) gets the picture, rows from the top.
 * SK_EUNSUPPORTED: it does not claim SK_ENV_CAP_RENDER. SK_EENV: it failed, or tells a size that makes no sense. It
 * may allocate. */
SK_NODISCARD sk_status sk_vec_render(sk_vec *self, int env, int *ret_width, int *ret_height, uint8_t *rgb,
                                     sk_error *reterr);

/* State, by environment, so that it can be dealt out anew to another number of vecs. It holds counters, sums
 * and flags and the environment's own state, but not the observation (nor mask), which lies with the caller. */
bool   sk_vec_has_state(const sk_vec *self);
size_t sk_vec_env_state_size(const sk_vec *self);
SK_NODISCARD sk_status sk_vec_env_state_save(sk_vec *self, int env, void *ret_bytes, sk_error *reterr);
SK_NODISCARD sk_status sk_vec_env_state_load(sk_vec *self, int env, const void *bytes, sk_error *reterr);
/* All of them, one after the other: n_envs * sk_vec_env_state_size. */
size_t sk_vec_state_size(const sk_vec *self);
SK_NODISCARD sk_status sk_vec_state_save(sk_vec *self, void *ret_bytes, sk_error *reterr);
SK_NODISCARD sk_status sk_vec_state_load(sk_vec *self, const void *bytes, sk_error *reterr);

#endif
