/* capture: runs a command function and keeps what it printed. */
#ifndef SK_TESTS_CAPTURE_H
#define SK_TESTS_CAPTURE_H
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAPTURE_MAX = 1 << 18, CAPTURE_BLANK = 1 };

typedef struct captured {
    int  code;
    char out[CAPTURE_MAX], err[CAPTURE_MAX / 8];
} captured;

static inline void capture_read(FILE *file, char *text, size_t size) {
    rewind(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

/* capture(sk_cmd_envs, "envs CartPole-v1"): words are split at blanks; CAPTURE_BLANK stands for a blank inside a word.
 * Result is overwritten by the next call. */
static inline captured *capture(int (*command)(int, char **), const char *line) {
    static captured result;
    static char     words[8192];
    char           *argv[64];
    int             argc = 0;
    snprintf(words, sizeof words, "%s", line);
    for (char *save, *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    argv[argc] = NULL;
    for (int i = 0; i < argc; i++)
        for (char *c = argv[i]; (c = strchr(c, CAPTURE_BLANK)); c++) *c = ' ';
    FILE *out = tmpfile(), *err = tmpfile();
    cr_assert(out && err);
    fflush(NULL);
    int old_out = dup(1), old_err = dup(2);
    dup2(fileno(out), 1);
    dup2(fileno(err), 2);
    result.code = command(argc, argv);
    fflush(NULL);
    dup2(old_out, 1);
    dup2(old_err, 2);
    close(old_out);
    close(old_err);
    capture_read(out, result.out, sizeof result.out);
    capture_read(err, result.err, sizeof result.err);
    return &result;
}

#endif
