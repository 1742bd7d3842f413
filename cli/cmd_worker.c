/* skiff worker: hosts actors and runs tasks for a driver, which starts it; not for people. */
#include "cli/commands.h"
#include "cli/modules.h"
#include "core/base/log.h"

#include <stdio.h>
#include <unistd.h>

/* What goes wrong in an actor reaches the driver as an error; this is for the rest. */
static void print_warning(void *user, sk_log_level level, const char *line) {
    (void)user;
    if (level >= SK_LOG_WARN) fprintf(stderr, "skiff worker %d: %s\n", (int)getpid(), line);
}

int sk_cmd_worker(int argc, char **argv) {
    sk_log_set_sink(print_warning, NULL);
    return sk_worker_main(argc - 1, argv + 1, sk_cli_modules, sk_n_cli_modules);
}
