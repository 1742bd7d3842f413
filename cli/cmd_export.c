/* skiff export: a policy as C source for programs without skiff. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "policies/export_c.h"

#include <stdio.h>

int sk_cmd_export(int argc, char **argv) {
    const char *name = NULL, *dir = ".";
    sk_arg      options[] = {
        {"--c", SK_ARG_TEXT, &name, 0, 0, "the C name: writes TEXT.c and TEXT.h with TEXT_act()"},
        {"--out", SK_ARG_TEXT, &dir, 0, 0, "folder to write to (the present one)"},
    };
    sk_args args = {.usage = "skiff export RUN_DIR|CHECKPOINT|POLICY --c NAME [--out DIR]", .args = options,
                    .n_args = SK_COUNT(options), .n_min = 1, .n_max = 1};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    if (!name) {
        fprintf(stderr, "--c NAME is missing\nusage: %s\n", args.usage);
        return SK_EXIT_USAGE;
    }
    sk_error   err = {0};
    sk_policy *policy = NULL;
    sk_status  status = sk_policy_load(args.positional[0], &policy, &err);
    code = sk_exit_code_of_input(status);
    if (status == SK_OK) {
        status = sk_policy_export_c(policy, name, dir, &err);
        code = status == SK_EIO ? SK_EXIT_FAILED : sk_exit_code_of_input(status);
    }
    sk_policy_destroy(&policy);
    if (status != SK_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return code;
    }
    printf("%s/%s.c\n%s/%s.h\n", dir, name, dir, name);
    return SK_EXIT_DONE;
}
