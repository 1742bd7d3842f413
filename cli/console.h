/* console: what a training run says to people and to programs. People read stderr: a live line on a terminal,
 * plain lines otherwise, and the library's log between them; programs read stdout with --json: one object per
 * line. Everything said (not the progress) also goes to the run folder's log.txt.
 *
 * A write to stdout that fails is told once and counted; the run goes on.
 * Threads: the log may come from any thread, everything else from the main one. */
#ifndef SK_CLI_CONSOLE_H
#define SK_CLI_CONSOLE_H
#include "rl/run_dir.h"
#include "rl/train.h"
#include <stdbool.h>

typedef struct sk_console sk_console;

/* Takes the log until destroyed; at most one at a time. SK_ENOMEM. Caller destroys. */
SK_NODISCARD sk_status sk_console_create(bool json, sk_console **ret_console, sk_error *reterr);
void sk_console_destroy(sk_console **self_p);
/* From now on log.txt gets a copy. `dir` (nullable) is borrowed until detached by NULL. */
void sk_console_attach(sk_console *self, sk_run_dir *dir);

/* A line for people; an error for people ("error: ..."). */
void sk_console_say(sk_console *self, const char *fmt, ...) SK_PRINTF(2, 3);
void sk_console_fail(sk_console *self, const char *fmt, ...) SK_PRINTF(2, 3);
/* How the run goes; shown now and then. */
void sk_console_progress(sk_console *self, const sk_train_progress *progress);
/* Other hosts are waited for; as a live line, where there is one. */
void sk_console_waiting(sk_console *self, const sk_train_waiting *waiting);
/* One JSON object for programs, if they listen (--json): `{"event":<event>,` and the rest of `object`. */
void sk_console_json(sk_console *self, const char *event, const char *object);
/* Lines that could not be written to stdout. */
int sk_console_n_failed(const sk_console *self);

#endif
