/* exit_code: what the program's exit status means, everywhere. */
#ifndef SK_CLI_EXIT_CODE_H
#define SK_CLI_EXIT_CODE_H
#include "core/base/status.h"

typedef enum sk_exit_code {
    SK_EXIT_DONE = 0,
    SK_EXIT_FAILED = 1,       /* run-time failure                                       */
    SK_EXIT_USAGE = 2,        /* the command line, a config file or what they name      */
    SK_EXIT_GOAL = 3,         /* a goal was named in `stop` and not met                 */
    SK_EXIT_INTERRUPTED = 130 /* Ctrl-C or SIGTERM, as a shell reports SIGINT           */
} sk_exit_code;

/* The code for a failure of something the user named, before any work began: only lack of memory, a limit of the system
 * and being interrupted are not the command line's or the config's to correct. */
static inline int sk_exit_code_of_input(sk_status status) {
    return status == SK_EINTERRUPTED ? SK_EXIT_INTERRUPTED
           : status == SK_ENOMEM || status == SK_ELIMIT ? SK_EXIT_FAILED
                                                        : SK_EXIT_USAGE;
}

#endif
