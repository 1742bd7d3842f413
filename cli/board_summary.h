/* board_summary: a program at a glance: who works, what waits, what is used, and what looks wrong. */
#ifndef SK_CLI_BOARD_SUMMARY_H
#define SK_CLI_BOARD_SUMMARY_H
#include "cli/board_hosts.h"
#include "cli/board_view.h"
#include "cli/report.h"

enum { SK_SUMMARY_STOPPED = 8 }; /* stopped workers that are named */

/* The counters at one moment; two of them give the rates. */
typedef struct sk_board_sample {
    int64_t           at_ns;
    sk_board_counters counters;
    sk_hosts_sample   hosts;
} sk_board_sample;
sk_board_sample sk_board_sample_take(const sk_board_view *view);

typedef struct sk_summary {
    const sk_program *program; /* borrowed */
    sk_process        process; /* of the driver */
    sk_board_sample   now;
    double            uptime_s, progress_s; /* since something last ended (or the start) */
    double            done_per_s, failed_per_s, retried_per_s;
    int               n_workers[SK_WORKER_STOPPING + 1], n_actors[SK_ACTOR_DEAD + 1]; /* by state */
    int               n_resources, n_waits, n_stopped;
    sk_board_resource resources[SK_BOARD_RESOURCES];
    sk_board_wait     waits[SK_BOARD_WAITS]; /* longest first */
    sk_board_worker   stopped[SK_SUMMARY_STOPPED];
    sk_hosts_summary  hosts;
    bool              is_stuck; /* nothing has ended for long, and someone waits */
} sk_summary;
/* Look at the program; the rates are those since `before`. SK_ENOMEM. */
SK_NODISCARD sk_status sk_summary_take(const sk_program *program, const sk_board_sample *before,
                                       sk_summary *ret_summary, sk_error *reterr);
/* For people, some ten lines; for programs, one object in one line. */
void sk_summary_print(const sk_summary *self, FILE *out);
SK_NODISCARD sk_status sk_summary_print_json(const sk_summary *self, FILE *out, sk_error *reterr);

#endif
