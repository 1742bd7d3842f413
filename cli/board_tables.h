/* board_tables: the tables of a board as rows of a report. */
#ifndef SK_CLI_BOARD_TABLES_H
#define SK_CLI_BOARD_TABLES_H
#include "cli/board_hosts.h"
#include "cli/report.h"

/* Each adds its rows to an empty report. */
typedef void (*sk_board_rows_fn)(const sk_board_view *view, sk_report *report);

/* Functions that ran or will, most time first; what runs now, longest first. */
void sk_board_rows_functions(const sk_board_view *view, sk_report *report);
void sk_board_rows_runs(const sk_board_view *view, sk_report *report);
void sk_board_rows_actors(const sk_board_view *view, sk_report *report);
/* Largest first. */
void sk_board_rows_objects(const sk_board_view *view, sk_report *report);
void sk_board_rows_workers(const sk_board_view *view, sk_report *report);

#endif
