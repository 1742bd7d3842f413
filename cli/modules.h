/* modules: the tasks and actor classes that are built into the program, so that `skiff worker` can run them. A command
 * that starts a runtime with one of them says `worker_has_modules`.
 *
 * Kept apart from cli/args.h, whose sk_arg is another one. */
#ifndef SK_CLI_MODULES_H
#define SK_CLI_MODULES_H
#include "skiff/skiff.h"

extern const sk_module sk_bench_runtime_module; /* bench_runtime_module.c */

/* All of them, for sk_worker_main. */
extern const sk_module *const sk_cli_modules[];
extern const int              sk_n_cli_modules;

#endif
