/* team: a few threads that run the same function together, with barriers. Between two runs and in a barrier they
 * spin for a bounded time (about 50 us) before they sleep, so short updates pay no wake-up and an idle team burns
 * no core.
 *
 * Threads: run() may be called by any thread, which takes part as member 0; runs of several threads wait for each
 * other. fn must not call run() of its own team. */
#ifndef SK_NN_CPU_TEAM_H
#define SK_NN_CPU_TEAM_H
#include "core/base/status.h"

typedef struct sk_team sk_team;
typedef void (*sk_team_fn)(void *arg, int member, int n_members);

/* Caller destroys. n_threads >= 1. */
SK_NODISCARD sk_status sk_team_create(int n_threads, sk_team **ret_team, sk_error *reterr);
void sk_team_destroy(sk_team **self_p);
int  sk_team_size(const sk_team *self);
/* Every member runs fn once; returns when all have. */
void sk_team_run(sk_team *self, sk_team_fn fn, void *arg);
/* Inside fn: wait until every member is here. */
void sk_team_barrier(sk_team *self);

#endif
