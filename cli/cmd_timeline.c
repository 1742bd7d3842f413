/* skiff timeline: what ran when and where, as a trace for chrome://tracing or ui.perfetto.dev. */
#include "cli/args.h"
#include "cli/board_view.h"
#include "cli/commands.h"
#include "cli/exit_code.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int write_timeline(const sk_program *program, const char *path) {
    sk_error  error = {0};
    /* All of the board but its lines, which are large and last. */
    sk_board *board = sk_board_read_table(&program->view, program->view.board, offsetof(sk_board, lines));
    sk_status status = board ? sk_board_write_timeline(board, path, &error)
                             : SK_FAIL(&error, SK_ENOMEM, "no memory for a copy of the tables");
    uint64_t  n_ever = board ? atomic_load(&board->n_events) : 0;
    uint64_t  n_kept = n_ever < SK_BOARD_EVENTS ? n_ever : SK_BOARD_EVENTS;
    free(board);
    if (status != SK_OK) {
        fprintf(stderr, "%s\n", error.msg);
        return SK_EXIT_FAILED;
    }
    printf("%s: the last %" PRIu64 " of %" PRIu64 " runs of %s (pid %d); open it in chrome://tracing or "
           "ui.perfetto.dev\n", path, n_kept, n_ever, program->name, program->pid);
    return SK_EXIT_DONE;
}

int sk_cmd_timeline(int argc, char **argv) {
    int64_t pid = 0;
    sk_arg  args[] = {{"--pid", SK_ARG_INT, &pid, 1, INT32_MAX, "of the program; not needed if only one runs"}};
    sk_args parsed = {.usage = "skiff timeline FILE [--pid PID]", .args = args, .n_args = SK_COUNT(args), .n_min = 1,
                      .n_max = 1};
    int     code = sk_args_parse(&parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    sk_program program;
    code = sk_program_open(pid, &program);
    if (code != SK_EXIT_DONE) return code;
    code = write_timeline(&program, parsed.positional[0]);
    sk_program_close(&program);
    return code;
}
