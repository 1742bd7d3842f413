/* board_view: the running program that a command looks at, and what the system knows of processes. Only looks: the
 * program is neither asked nor stopped, and may be stopped or hang itself.
 *
 * What a board says is another process's word: rows are copied before they are looked at, names need not be
 * terminated, and states and indices may be anything.
 * Threads: one. */
#ifndef SK_CLI_BOARD_VIEW_H
#define SK_CLI_BOARD_VIEW_H
#include "core/runtime/board.h"

/* What /proc/<pid> says. */
typedef struct sk_process {
    int64_t  birth;  /* ticks since the machine started: tells a process from a later one of that pid */
    double   cpu_s;  /* user and system time                                                          */
    uint64_t rss_bytes;
    char     state;  /* as in /proc/<pid>/stat                                                        */
    bool     is_stopped, is_ended; /* ended: a zombie too                                             */
} sk_process;
/* False: there is none; *ret_process is that of an ended one. */
bool sk_process_look(int pid, sk_process *ret_process);

/* A running program. */
typedef struct sk_program {
    int           pid;
    int64_t       birth;
    sk_board_view view;
    char          name[4 * SK_BOARD_NAME]; /* fit to be shown */
} sk_program;
/* The program `pid`, or the only one if that is 0. SK_EXIT_DONE, or the exit code after saying why on stderr. Caller
 * closes. */
int  sk_program_open(int64_t pid, sk_program *ret_program);
void sk_program_close(sk_program *self);
/* Gone since it was opened? Its board can still be read. */
bool sk_program_has_ended(const sk_program *self);

/* Copy `size` bytes at `from`, which lies on the board, as they are now. Through the file: looking at untouched memory
 * through the mapping would make the system take some for it. Zeros if it cannot be read. */
void sk_board_read(const sk_board_view *view, const void *from, void *ret_copy, size_t size);
/* A copy of a whole table, as aligned as a board. NULL: no memory. Caller frees. */
void *sk_board_read_table(const sk_board_view *view, const void *from, size_t size);
/* Seconds from `then_ns` to `now_ns` (monotonic); never negative. */
double sk_board_age_s(int64_t then_ns, int64_t now_ns);
/* "busy"; "?" for a number that is none. */
const char *sk_board_worker_state_text(int32_t state);
const char *sk_board_actor_state_text(int32_t state);

#endif
