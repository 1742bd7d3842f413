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
    bool needs_peak; /* of the multiply-adds: its limits are made of it */
} benches[] = {{"ppo", sk_bench_ppo, true}, {"sac", sk_bench_sac, true}, {"td3", sk_bench_td3, true},
               {"dqn", sk_bench_dqn, true}, {"env", sk_bench_env, true}, {"inference", sk_bench_inference, true},
               {"kernels", sk_bench_kernels, true}, {"mujoco", sk_bench_mujoco, false},
               {"replay", sk_bench_replay, false}, {"runtime", sk_bench_runtime, false}};

static void print_peak(sk_bench *bench, const char *name) {
    char settings[80];
    bench->fma_gflops = sk_bench_fma_gflops();
    snprintf(settings, sizeof settings, "one core of %d, %s", bench->n_cores, sk_kernels_get()->level);
    sk_bench_print(bench, &(sk_bench_row){name, "fma_peak", "GFLOP/s", bench->fma_gflops, 0.0, settings});
}

static int refuse(const char *name, const char *why) {
    fprintf(stderr, "bench %s: %s\n", name, why);
    return SK_EXIT_USAGE;
}

int sk_cmd_bench(int argc, char **argv) {
    int code;
    if (sk_bench_runtime_is_child(argc, argv, &code)) return code;
    bool        json = false;
    int64_t     repeats = 3, window_ms = 1000;
    const char *row = NULL;
    sk_arg      args[] = {{"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object per row"},
                          {"--repeats", SK_ARG_INT, &repeats, 1, 64, "report the median of this many (3)"},
                          {"--row", SK_ARG_TEXT, &row, 0, 0, "runtime: only this row"},
                          {"--window-ms", SK_ARG_INT, &window_ms, 1, 60000, "runtime: length of each repeat (1000)"}};
    sk_args     parsed = {.usage = "skiff bench ppo|sac|td3|dqn|env|inference|kernels|mujoco|replay|runtime "
                                   "[--repeats N] [--json] [--row NAME]",
                          .args = args, .n_args = SK_COUNT(args), .n_min = 1, .n_max = 1};
    code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    const char *names[SK_COUNT(benches)];
    sk_error    err = {0};
    sk_bench    bench = {.json = json, .n_repeats = (int)repeats, .n_cores = (int)sysconf(_SC_NPROCESSORS_ONLN),
                         .window_ms = (int)window_ms, .row = row};
    for (int i = 0; i < SK_COUNT(benches); i++) {
        names[i] = benches[i].name;
        if (strcmp(names[i], parsed.positional[0]) != 0) continue;
        if (row && benches[i].run != sk_bench_runtime)
            return refuse(names[i], "--row is for `skiff bench runtime`");
        if (row && sk_bench_runtime_check_row(row, &err) != SK_OK) return refuse(names[i], err.msg);
        if (benches[i].needs_peak) print_peak(&bench, names[i]);
        if (benches[i].run(&bench, &err) == SK_OK) return SK_EXIT_DONE;
        fprintf(stderr, "bench %s: %s\n", names[i], err.msg);
        return SK_EXIT_FAILED;
    }
    const char *near = sk_nearest_name(parsed.positional[0], names, SK_COUNT(benches));
    fprintf(stderr, "no benchmark \"%s\"%s%s%s\n", parsed.positional[0],
            near ? "; did you mean \""
                 : "; there are ppo, sac, td3, dqn, env, inference, kernels, mujoco, replay and runtime",
            near ? near : "", near ? "\"?" : "");
    return SK_EXIT_USAGE;
}
