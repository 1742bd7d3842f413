/* skiff status: a running program at a glance. */
#include "cli/args.h"
#include "cli/board_summary.h"
#include "cli/commands.h"
#include "cli/exit_code.h"

#include <stdbool.h>
#include <unistd.h>

enum { SAMPLE_US = 100000 }; /* over which rates are measured */

static int show(const sk_program *program, bool json) {
    sk_summary      summary;
    sk_error        error = {0};
    sk_board_sample before = sk_board_sample_take(&program->view);
    usleep(SAMPLE_US);
    sk_status status = sk_summary_take(program, &before, &summary, &error);
    if (status == SK_OK && json) status = sk_summary_print_json(&summary, stdout, &error);
    else if (status == SK_OK) sk_summary_print(&summary, stdout);
    if (status == SK_OK) return SK_EXIT_DONE;
    fprintf(stderr, "%s\n", error.msg);
    return SK_EXIT_FAILED;
}

int sk_cmd_status(int argc, char **argv) {
    bool    json = false;
    int64_t pid = 0;
    sk_arg  args[] = {{"--pid", SK_ARG_INT, &pid, 1, INT32_MAX, "of the program; not needed if only one runs"},
                      {"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object"}};
    sk_args parsed = {.usage = "skiff status [--pid PID] [--json]", .args = args, .n_args = SK_COUNT(args)};
    int     code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    sk_program program;
    code = sk_program_open(pid, &program);
    if (code != SK_EXIT_DONE) return code;
    code = show(&program, json);
    sk_program_close(&program);
    return code;
}
