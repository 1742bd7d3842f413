/* skiff/policy.h: a trained policy in any C program. This header stands alone; link with libskiff
 * (`pkg-config --cflags --libs skiff`). `skiff export POLICY --c NAME` makes C source that needs no library at all.
 *
 *     skiff_policy *policy = NULL;
 *     char          why[256];
 *     if (skiff_policy_load("policy.skiff", &policy, why, sizeof why) != 0) { ... }
 *     skiff_policy_act(policy, obs, NULL, 1, action);
 *     skiff_policy_destroy(&policy);
 *
 * Same observation, same bits: as `skiff eval` acts, and whatever other rows are in the batch. Floating-point results
 * are promised per instruction set (x86-64-v2, v3, v4; `skiff version` names it; $SKIFF_ISA can lower it).
 *
 * Shapes: B rows of a batch (any number > 0), O obs_slots, S action_slots, K mask_size; row-major, row after row.
 * An observation row is what the environment writes: O slots of 4 bytes, each a float, or an int32_t where the
 * environment describes its field as int32.
 * Threads: a policy is used by one thread at a time; different policies, also of the same file, by different threads
 * at once. Only load and destroy allocate. */
#ifndef SKIFF_POLICY_H
#define SKIFF_POLICY_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKIFF_POLICY_API __attribute__((visibility("default")))

typedef struct skiff_policy skiff_policy;

/* One number of an action: `.i` if the policy's actions are discrete, else `.f`. */
typedef union skiff_action_slot {
    float   f;
    int32_t i;
} skiff_action_slot;

/* Read a policy file, or the policy of a checkpoint or run folder (its best, else its newest). 0, or non-zero with the
 * reason in `err` (one line; err may be NULL if err_size is 0) and *ret_policy untouched. Caller destroys. */
SKIFF_POLICY_API int skiff_policy_load(const char *path, skiff_policy **ret_policy, char *err, size_t err_size);
/* Destroy and null *policy_p. NULL and already-null are fine. */
SKIFF_POLICY_API void skiff_policy_destroy(skiff_policy **policy_p);

/* What it was trained for. */
SKIFF_POLICY_API const char *skiff_policy_env_name(const skiff_policy *policy); /* borrowed until destroy     */
SKIFF_POLICY_API int skiff_policy_obs_slots(const skiff_policy *policy);        /* O                          */
SKIFF_POLICY_API int skiff_policy_action_slots(const skiff_policy *policy);     /* S                          */
SKIFF_POLICY_API int skiff_policy_mask_size(const skiff_policy *policy);        /* K: 0, or all choices       */
SKIFF_POLICY_API int skiff_policy_is_discrete(const skiff_policy *policy);      /* 1 discrete, 0 box          */
/* Discrete actions: slot `slot` (0 .. S-1) takes n_choices values, counted from first_choice. Box: both 0. */
SKIFF_POLICY_API int skiff_policy_n_choices(const skiff_policy *policy, int slot);
SKIFF_POLICY_API int skiff_policy_first_choice(const skiff_policy *policy, int slot);

/* The most probable choices, or the mean. mask: (B x K) bytes, 1 = allowed; NULL = all are. action: (B x S) out; choices
 * as the environment counts them; box actions as the network has them: clip them to the environment's bounds. */
SKIFF_POLICY_API void skiff_policy_act(skiff_policy *policy, const void *obs, const uint8_t *mask, int n_rows,
                                       skiff_action_slot *action);
/* An action drawn from the policy. The draw is a function of (seed, row, counter): row b is row `first_row` + b of the
 * caller's, `counter` (< 2^48) its time step. `skiff eval --stochastic --seed S` draws with seed S, first_row 0 and
 * the counter counting steps from 0. */
SKIFF_POLICY_API void skiff_policy_sample(skiff_policy *policy, const void *obs, const uint8_t *mask, int n_rows,
                                          uint64_t seed, int64_t first_row, uint64_t counter,
                                          skiff_action_slot *action);
/* What the value function expects from here, in the units the algorithm trained it in. value: (B) out. */
SKIFF_POLICY_API void skiff_policy_value(skiff_policy *policy, const void *obs, int n_rows, float *value);

#ifdef __cplusplus
}
#endif
#endif
