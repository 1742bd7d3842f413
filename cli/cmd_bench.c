/* `skiff bench NAME`: speed on this machine, next to the machine's own limit. */
#include "cli/args.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "core/base/config.h"
#include "nn/cpu/kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    sk_status (*run)(const sk_bench *bench, sk_error *reterr);
} benches[] = {{"ppo", sk_bench_ppo}, {"env", sk_bench_env}, {"inference", sk_bench_inference},
               {"kernels", sk_bench_kernels}};

int sk_cmd_bench(int argc, char **argv) {
    bool    json = false;
    int64_t repeats = 3;
    sk_arg  args[] = {{"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object per row"},
                      {"--repeats", SK_ARG_INT, &repeats, 1, 64, "report the median of this many (3)"}};
    sk_args parsed = {.usage = "skiff bench ppo|env|inference|kernels [--repeats N] [--json]", .args = args,
                      .n_args = SK_COUNT(args), .n_min = 1, .n_max = 1};
    int     code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    const char *names[SK_COUNT(benches)];
    sk_error    err = {0};
    sk_bench    bench = {.json = json, .n_repeats = (int)repeats, .n_cores = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    for (int i = 0; i < SK_COUNT(benches); i++) {
        names[i] = benches[i].name;
        if (strcmp(names[i], parsed.positional[0]) != 0) continue;
        bench.fma_gflops = sk_bench_fma_gflops();
        char settings[80];
        snprintf(settings, sizeof settings, "one core of %d, %s", bench.n_cores, sk_kernels_get()->level);
        sk_bench_print(&bench, &(sk_bench_row){names[i], "fma_peak", "GFLOP/s", bench.fma_gflops, 0.0, settings});
        if (benches[i].run(&bench, &err) == SK_OK) return SK_EXIT_DONE;
        fprintf(stderr, "bench %s: %s\n", names[i], err.msg);
        return SK_EXIT_FAILED;
    }
    const char *near = sk_nearest_name(parsed.positional[0], names, SK_COUNT(benches));
    fprintf(stderr, "no benchmark \"%s\"%s%s%s\n", parsed.positional[0],
            near ? "; did you mean \"" : "; there are ppo, env, inference and kernels", near ? near : "",
            near ? "\"?" : "");
    return SK_EXIT_USAGE;
}
