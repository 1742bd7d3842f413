/* skiff docs: the pages of docs/ that are made from tables, for whoever writes docs/. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/reference.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sk_cmd_docs(int argc, char **argv) {
    sk_args args = {.usage = "skiff docs metrics|config", .n_min = 1, .n_max = 1};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    const char *page = args.positional[0];
    bool metrics = strcmp(page, "metrics") == 0;
    if (!metrics && strcmp(page, "config") != 0) {
        fprintf(stderr, "there is no page \"%s\"\nusage: %s\n", page, args.usage);
        return SK_EXIT_USAGE;
    }
    char *text = NULL;
    sk_error err = {0};
    if ((metrics ? sk_reference_metrics : sk_reference_config)(&text, &err) != SK_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return SK_EXIT_FAILED;
    }
    fputs(text, stdout);
    free(text);
    return SK_EXIT_DONE;
}
