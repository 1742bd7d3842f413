/* skiff config: what a config file comes to, checked as `skiff train` would, with all defaults and derived
 * values. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/reference.h"
#include "core/base/config.h"
#include "rl/train.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(sk_status status, const sk_error *err) {
    fprintf(stderr, "error: %s\n", err->msg);
    return sk_exit_code_of_input(status);
}

int sk_cmd_config(int argc, char **argv) {
    bool reference = false;
    sk_arg options[] = {{"--reference", SK_ARG_FLAG, &reference, 0, 0, "print all keys, as Markdown"}};
    sk_args args = {.usage = "skiff config FILE.yaml [key.path=value ...]\n       skiff config --reference",
                    .args = options,
                    .n_args = SK_COUNT(options),
                    .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    if (reference == (args.n_positional > 0)) {
        fprintf(stderr, "wanted either a config file or --reference\nusage: %s\n", args.usage);
        return SK_EXIT_USAGE;
    }
    SK_AUTO(sk_config) cfg = NULL;
    sk_error err = {0};
    char *text = NULL;
    sk_status status = SK_OK;
    if (reference) {
        status = sk_reference_config(&text, &err);
    } else {
        status = sk_config_open(args.positional[0], args.positional + 1, args.n_positional - 1, &cfg, &err);
        if (status == SK_OK) status = sk_train_resolve(cfg, &text, &err);
    }
    if (status != SK_OK) return fail(status, &err);
    fputs(text, stdout);
    free(text);
    return SK_EXIT_DONE;
}
