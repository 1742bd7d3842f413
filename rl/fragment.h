/* fragment: a runner's rows on their way from another host. Such a runner writes a block of its own, with its rows
 * alone, and answers with the bytes of it up to the last episode of its list; here they are looked at and dealt out into
 * the rows of the learner's one block, which is then what it would be if the runner had written it in place.
 *
 * The bytes come from elsewhere: nothing in them is believed. What a network may well have made of a policy gone wrong
 * (log-probs and values that are no numbers) passes, as it does in place; what an environment must not give, an action
 * that does not exist or a place outside of the runner's rows does not.
 *
 * Threads: free of state. */
#ifndef SK_RL_FRAGMENT_H
#define SK_RL_FRAGMENT_H
#include "policies/policy.h"
#include "rl/batch.h"
#include "skiff/skiff.h"

/* Of the block of a runner with n_rows rows of those that `whole` has. */
sk_batch_shape sk_fragment_shape(const sk_batch_shape *whole, int n_rows);
/* Bytes of such a block that travel, with n_episodes in its list; 0: no such shape or list. */
size_t sk_fragment_bytes(const sk_batch_shape *own, int n_episodes);

/* What the fragment must be. */
typedef struct sk_fragment_wanted {
    const sk_policy_spaces *spaces;
    int64_t                 policy_version, first_step;
    uint64_t                env_seed;
    int                     runner, first_row, n_rows; /* rows of the whole block */
} sk_fragment_wanted;

/* Check `bytes` (16-byte aligned) and copy them into their rows, list and head of `whole`. SK_ECORRUPT names the
 * runner, what is wrong, got and wanted; `whole` is untouched then. */
SK_NODISCARD sk_status sk_fragment_scatter(const sk_fragment_wanted *wanted, sk_bytes bytes, sk_batch *whole,
                                           sk_error *reterr);

#endif
