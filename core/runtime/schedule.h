/* schedule: queues of tasks, fair between callers, and which worker gets the next one.
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_SCHEDULE_H
#define SK_RUNTIME_SCHEDULE_H
#include "core/runtime/job.h"
#include "core/runtime/resources.h"

/* The tasks of one caller in one class. */
typedef struct sk__queue {
    uint32_t          caller;
    sk__list          jobs;
    struct sk__queue *next; /* ring of those with jobs */
} sk__queue;

/* Tasks that want the same: they are interchangeable for the scheduler. */
struct sk__class {
    sk__class   *next;
    sk_demand    demand;
    sk_group     group;
    int          bundle;
    sk_placement placement; /* THREAD, PROCESS or REMOTE */
    sk__queue   *turn;      /* whose turn it is; NULL: no jobs */
    sk__queue   *idle;      /* queues without jobs, to be used again */
};
SK_NODISCARD sk_status sk__class_find(sk__driver *d, const sk_demand *demand, sk_group group, int bundle,
                                      sk_placement placement, sk__class **ret_class, sk_error *reterr);
void sk__class_push(sk__driver *d, sk__job *job, bool in_front);
/* Hand out what can be handed out. */
void sk__schedule(sk__driver *d);
void sk__schedule_group_gone(sk__driver *d, sk_group group);
/* Workers of this host cannot be started: fail what waits for them. */
void sk__schedule_fail_starts(sk__driver *d, sk_status status, const char *text);
/* Stop workers that nobody needs any more. */
void sk__schedule_trim(sk__driver *d, int64_t now_ns);
/* How long it may run, by what its function needed so far. */
int64_t sk__job_expected_ns(sk__driver *d, const sk__job *job);
void sk__schedule_deinit(sk__driver *d);

/* ---- schedule_host.c ---- */
/* Further hosts that could give the share now, best first: the most bytes of the job's arguments, then the most free cpu
 * (for what asks for no cpu: the fewest workers per cpu), then the lowest number. Writes up to max, gives how many. */
int sk__hosts_rank(sk__driver *d, const sk_demand *demand, sk_group group, int bundle, const sk__job *job,
                   int *ret_hosts, int max);
/* Has it arguments in the store? How many bytes of them are on that host? */
bool sk__job_is_large(sk__driver *d, const sk__job *job);
uint64_t sk__job_bytes_on(sk__driver *d, const sk__job *job, int host);

#endif
