/* The worker program of the runtime's tests: what `skiff worker` is, with the tests' tasks and actors; a hostile one if
 * it is told so (hostile.h). */
#include "core/base/log.h"
#include "tests/runtime/hostile.h"
#include "tests/runtime/probe_module.h"
#include <stdio.h>
#include <string.h>

static void print_line(void *user, sk_log_level level, const char *line) {
    (void)user;
    if (level >= SK_LOG_WARN) fprintf(stderr, "worker_probe: %s\n", line);
}

int main(int argc, char **argv) {
    static const sk_module *const modules[] = {&probe_module};
    if (argc < 2 || strcmp(argv[1], "worker") != 0) {
        fprintf(stderr, "worker_probe: started by tests/runtime as: worker_probe worker ...\n");
        return 2;
    }
    int status = hostile_main(argc - 2, argv + 2);
    if (status >= 0) return status;
    sk_log_set_sink(print_line, NULL);
    return sk_worker_main(argc - 2, argv + 2, modules, SK_COUNT(modules));
}
