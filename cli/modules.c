#include "cli/modules.h"
#include "rl/modules.h"

const sk_module *const sk_cli_modules[] = {&sk_bench_runtime_module, &sk_rl_module};
const int              sk_n_cli_modules = SK_COUNT(sk_cli_modules);
