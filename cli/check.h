/* check: the inside of `skiff check-env`: what an environment under test is played with, and the checks
 * themselves.
 *
 *   check_lane.c     the two ways to play: through the host (lane), straight from the api (bare)
 *   check_columns.c  who writes what: columns, numbers, types, masks, pictures
 *   check_play.c     what may be promised of a trajectory: bounds, actions, determinism, grouping, order, ...
 *   check_run.c      what a long run needs: ends, memory, speed
 *   check_guard.c    keeps what the environment prints, and outlives its crash
 *
 * A check returns its verdict and puts what it has to say into `detail`. Threads: one. */
#ifndef SK_CLI_CHECK_H
#define SK_CLI_CHECK_H
#include "core/base/arena.h"
#include "rl/vec.h"
#include <stdbool.h>
#include <stdio.h>

typedef enum sk_verdict { SK_CHECK_PASS, SK_CHECK_FAIL, SK_CHECK_SKIP } sk_verdict;

typedef struct sk_checker {
    const sk_env      *env;
    const sk_env_info *info;
    const sk_env_spec *spec;
    uint64_t           seed;
    int64_t            n_steps;
    char               detail[600]; /* what the last check has to say */
} sk_checker;

#define SK_CHECK_SAY(self, ...) ((void)snprintf((self)->detail, sizeof(self)->detail, __VA_ARGS__))

/* How many environments are played together. */
enum { SK_CHECK_ENVS = 4 };

/* Does it claim a capability? Says so if not. */
bool sk_check_claims(sk_checker *self, unsigned cap, const char *name);

/* ---- through the host: vectorised, clipped, automatically reset ---- */
typedef struct sk_lane {
    sk_vec      *vec;
    sk_arena    *memory;
    int          rows, first_row;
    sk_env_slot *action;
    float       *reward, *obs, *final_obs;
    uint8_t     *terminated, *truncated, *valid, *mask;
} sk_lane;

/* `n_envs` environments from global index `first` on, reset. Destroy also what create has half made. */
SK_NODISCARD sk_status sk_lane_create(const sk_checker *check, int n_envs, int first, sk_lane *self,
                                      sk_error *reterr);
void                   sk_lane_destroy(sk_lane *self);
/* One step with the actions that are there, or with random ones, number t of each global row. */
SK_NODISCARD sk_status sk_lane_step_on(sk_lane *self, sk_error *reterr);
SK_NODISCARD sk_status sk_lane_step(const sk_checker *check, sk_lane *self, int64_t t, sk_error *reterr);
/* Random actions number t. */
void sk_check_choose(const sk_checker *check, int rows, int first_row, int64_t t, const uint8_t *mask,
                     sk_env_slot *action);

/* ---- straight from the api: nothing is reset, clipped or looked at ---- */
typedef struct sk_bare {
    void        *impl;
    sk_arena    *memory;
    int          n_envs;
    size_t       rows, obs_bytes;
    sk_env_slot *action;
    float       *obs, *reward, *metrics;
    uint8_t     *terminated, *truncated, *mask, *active, *failed;
    uint8_t     *ended; /* (rows) the agent's episode is over, its environment goes on */
    int         *age;   /* (envs) steps in the present episode                         */
} sk_bare;

/* Bytes behind the last observation that nobody may write; what unwritten bytes look like. */
enum { SK_BARE_GUARD = 64, SK_BARE_UNWRITTEN = 0xaa };

SK_NODISCARD sk_status sk_bare_create(const sk_checker *check, int n_envs, sk_bare *self, sk_error *reterr);
void                   sk_bare_destroy(const sk_checker *check, sk_bare *self);
/* Reset one environment. PASS, or FAIL with the reason said. */
sk_verdict sk_bare_reset(sk_checker *check, sk_bare *self, int env, const uint64_t *seed);
/* Reset all, env e with the checker's seed + e. */
sk_verdict sk_bare_reset_all(sk_checker *check, sk_bare *self);
/* Step `count` envs from `first` with the actions that are there. PASS, or FAIL with the reason said. */
sk_verdict sk_bare_step(sk_checker *check, sk_bare *self, int first, int count);
/* After a step: note who has ended; is `env` to be reset? */
bool sk_bare_settle(const sk_checker *check, sk_bare *self, int env);
/* Does the row act (or has it just acted)? */
bool sk_bare_acts(const sk_bare *self, size_t row);

/* ---- what the environment does to the process ---- */
/* Between begin and end, standard output and error of the process go into a file, and an end of the
 * process (crash, exit, no end in `timeout_s`) is reported by `last_words`, called in a signal handler;
 * then it exits with 1. */
typedef struct sk_guard sk_guard;
typedef void (*sk_guard_words)(int out, const char *what);
SK_NODISCARD sk_status sk_guard_create(sk_guard_words last_words, sk_guard **ret_guard, sk_error *reterr);
void                   sk_guard_destroy(sk_guard **self_p);
void                   sk_guard_begin(sk_guard *self, int timeout_s);
void                   sk_guard_end(sk_guard *self);
/* What was printed since the last call, cut to `size`, quotes and control characters replaced; bytes in
 * all. */
size_t sk_guard_take(sk_guard *self, char *ret_text, size_t size);

/* ---- the checks ---- */
sk_verdict sk_check_columns(sk_checker *check);
sk_verdict sk_check_numbers(sk_checker *check);
sk_verdict sk_check_types(sk_checker *check);
sk_verdict sk_check_masks(sk_checker *check);
sk_verdict sk_check_bounds(sk_checker *check);
sk_verdict sk_check_actions(sk_checker *check);
sk_verdict sk_check_determinism(sk_checker *check);
sk_verdict sk_check_grouping(sk_checker *check);
sk_verdict sk_check_order(sk_checker *check);
sk_verdict sk_check_reset(sk_checker *check);
sk_verdict sk_check_state(sk_checker *check);
sk_verdict sk_check_render(sk_checker *check); /* for those that claim SK_ENV_CAP_RENDER */
sk_verdict sk_check_ends(sk_checker *check);
sk_verdict sk_check_memory(sk_checker *check);
sk_verdict sk_check_speed(sk_checker *check);

#endif
