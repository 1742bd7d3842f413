/* board_hosts: the further hosts of a running program: which are up, how the way to each is, and why one is gone.
 * Host 0, the program's own, has no row. Only looks, and believes nothing, as board_view.h says. */
#ifndef SK_CLI_BOARD_HOSTS_H
#define SK_CLI_BOARD_HOSTS_H
#include "cli/board_view.h"
#include "cli/report.h"

enum { SK_HOST_TROUBLES = 8 }; /* hosts whose trouble is told; the others are counted */

/* What had gone to and come from each host at one moment; two of them give the rates. */
typedef struct sk_hosts_sample {
    int64_t  at_ns;
    uint64_t bytes_in[SK_BOARD_HOSTS], bytes_out[SK_BOARD_HOSTS];
} sk_hosts_sample;
void sk_hosts_sample_take(const sk_board_view *view, sk_hosts_sample *ret_sample);

/* In the order of importance. */
typedef enum sk_host_trouble_kind {
    SK_TROUBLE_NONE,
    SK_TROUBLE_SILENT, /* up, but no sign of life for longer than usual                            */
    SK_TROUBLE_SLOW,   /* more waits for it than goes out in some seconds                          */
    SK_TROUBLE_LOST,   /* given up, or left; of several of a name the newest, unless that is up     */
    SK_TROUBLE_LEFT
} sk_host_trouble_kind;

typedef struct sk_host_trouble {
    sk_host_trouble_kind kind;
    int                  number;
    double               out_per_s;
    sk_board_host        host;
} sk_host_trouble;

typedef struct sk_hosts_summary {
    bool            has_cluster;            /* hosts can join                                      */
    char            endpoint[96];           /* where; terminated, not yet fit to be shown          */
    int             n[SK_HOST_LEFT + 1];    /* by state; lost and left: but those whose name is back */
    uint64_t        n_workers;              /* on hosts that are up                                */
    double          in_per_s, out_per_s;    /* [bytes/s] of them all                               */
    uint64_t        waiting_bytes;
    int             n_troubles;             /* all of them                                         */
    sk_host_trouble troubles[SK_HOST_TROUBLES]; /* worst first; of one kind the newest first       */
} sk_hosts_summary;
/* `looks_alive`: the program goes on; while it is stopped nobody is heard, and silence means nothing. SK_ENOMEM. */
SK_NODISCARD sk_status sk_hosts_summary_take(const sk_board_view *view, const sk_hosts_sample *before, int64_t now_ns,
                                             bool looks_alive, sk_hosts_summary *ret_summary, sk_error *reterr);
/* The line "hosts ..."; nothing for a program that was given no cluster. */
void sk_hosts_summary_print(const sk_hosts_summary *self, FILE *out);
/* "warning: host n2 was lost (no sign of life for 4.1 s), 12 s ago" */
void sk_hosts_summary_print_troubles(const sk_hosts_summary *self, int64_t now_ns, FILE *out);
/* "hosts":{...},"hosts_in_trouble":[...] */
void sk_hosts_summary_add(const sk_hosts_summary *self, int64_t now_ns, sk_json_line *line);

/* Hosts that are up first, those that are gone last, newest first: everything since they joined; and, for `top`, rates
 * since `before`. */
void sk_board_rows_hosts(const sk_board_view *view, sk_report *report);
void sk_board_rows_host_rates(const sk_board_view *view, const sk_hosts_sample *before, sk_report *report);
/* One line for people: where hosts join. */
void sk_board_tell_endpoint(const sk_board_view *view, FILE *out);

/* Was the program given a cluster? */
bool sk_board_has_cluster(const sk_board_view *view);
/* "n2"; "host 7" for one without a name, "?" for a number that is none; "" for 0, the program's own. */
void sk_board_host_name(const sk_board_view *view, int32_t number, char ret_name[SK_BOARD_NAME + 1]);
/* A cell for the host of a worker or actor: for people only in a program with a cluster (`has_cluster`). */
void sk_report_host(sk_report *report, const sk_board_view *view, bool has_cluster, int32_t number);

#endif
