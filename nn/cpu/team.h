/* team: a few threads that share the items of a job. Items are taken one by one by whoever is free, and the caller takes
 * part, so a member that sleeps or lost its core delays nobody unless it holds an item: on a busy machine the caller
 * simply does more of them. Between jobs members spin for a bounded time (about 50 us) before they sleep, so short
 * updates pay no wake-up and an idle team burns no core.
 *
 * Which member does which item is up to chance: what an item computes must not depend on it.
 *
 * Threads: a job may be run from any thread that does not belong to the team; jobs of several callers wait for each
 * other. */
#ifndef SK_NN_CPU_TEAM_H
#define SK_NN_CPU_TEAM_H
#include "core/base/status.h"

typedef struct sk_team sk_team;
/* member: 0 (the caller) to size - 1, different for items that run at the same time: names a workspace. */
typedef void (*sk_team_fn)(void *arg, int item, int member);

enum { SK_TEAM_ITEMS_MAX = 1 << 15 };

/* Caller destroys. n_threads >= 1, the caller included. */
SK_NODISCARD sk_status sk_team_create(int n_threads, sk_team **ret_team, sk_error *reterr);
void sk_team_destroy(sk_team **self_p);
int  sk_team_size(const sk_team *self);
/* fn(arg, item, member) once for every item of 0 .. n_items - 1 (<= SK_TEAM_ITEMS_MAX); returns when all are done, and
 * what they wrote is seen by the caller. */
void sk_team_run(sk_team *self, int n_items, sk_team_fn fn, void *arg);

#endif
