/* skiff list: the tasks, actors, objects, workers or hosts of a running program, one by one. */
#include "cli/args.h"
#include "cli/board_tables.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "core/base/config.h"

#include <stdbool.h>
#include <string.h>

typedef struct listing {
    const char      *name;
    sk_board_rows_fn rows, more; /* more: a second table, NULL: none */
    const char      *empty, *more_empty;
    void (*tell)(const sk_board_view *view, FILE *out); /* a line for people below; NULL: none */
} listing;

static const listing listings[] = {
    {"tasks", sk_board_rows_functions, sk_board_rows_runs, "no tasks yet", "nothing runs now", NULL},
    {"actors", sk_board_rows_actors, NULL, "no actors", NULL, NULL},
    {"objects", sk_board_rows_objects, NULL, "no large objects", NULL, NULL},
    {"workers", sk_board_rows_workers, NULL, "no workers", NULL, NULL},
    {"hosts", sk_board_rows_hosts, NULL, "no further hosts", NULL, sk_board_tell_endpoint},
};

static int unknown(const char *name) {
    const char *names[SK_COUNT(listings)];
    for (int i = 0; i < SK_COUNT(listings); i++) names[i] = listings[i].name;
    const char *near = sk_nearest_name(name, names, SK_COUNT(listings));
    fprintf(stderr, "there is no list of \"%s\"%s%s%s\n", name, near ? "; did you mean \"" : "; ",
            near ? near : "it is tasks, actors, objects, workers or hosts", near ? "\"?" : "");
    return SK_EXIT_USAGE;
}

static int print_rows(const sk_program *program, sk_board_rows_fn rows, bool json, const char *empty) {
    sk_report report;
    sk_report_init(&report, json);
    rows(&program->view, &report);
    return sk_report_print(&report, stdout, empty);
}

static int list(const sk_program *program, const listing *what, bool json) {
    int code = print_rows(program, what->rows, json, what->empty);
    if (code == SK_EXIT_DONE && what->tell && !json) what->tell(&program->view, stdout);
    if (code != SK_EXIT_DONE || !what->more) return code;
    if (!json) putchar('\n');
    return print_rows(program, what->more, json, what->more_empty);
}

int sk_cmd_list(int argc, char **argv) {
    bool    json = false;
    int64_t pid = 0;
    sk_arg  args[] = {{"--pid", SK_ARG_INT, &pid, 1, INT32_MAX, "of the program; not needed if only one runs"},
                      {"--json", SK_ARG_FLAG, &json, 0, 0, "one JSON object per row"}};
    sk_args parsed = {.usage = "skiff list tasks|actors|objects|workers|hosts [--pid PID] [--json]", .args = args,
                      .n_args = SK_COUNT(args), .n_min = 1, .n_max = 1};
    int     code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;

    const listing *what = NULL;
    for (int i = 0; i < SK_COUNT(listings); i++)
        if (strcmp(listings[i].name, parsed.positional[0]) == 0) what = &listings[i];
    if (!what) return unknown(parsed.positional[0]);
    sk_program program;
    code = sk_program_open(pid, &program);
    if (code != SK_EXIT_DONE) return code;
    code = list(&program, what, json);
    sk_program_close(&program);
    return code;
}
