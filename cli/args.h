/* args: the command line of one subcommand, declared as a table.
 *
 *   sk_arg args[] = {{"--seed", SK_ARG_INT, &seed, .max = INT64_MAX, .help = "first seed"}};
 *   sk_args parsed = {.usage = "skiff rollout ENV [--seed S]", .args = args, .n_args = SK_COUNT(args),
 *                     .n_min = 1, .n_max = 1};
 *   int code = sk_args_parse(&parsed, argc, argv);
 *   if (code != SK_ARGS_GO) return code;              // --help was printed, or a usage error
 *
 * Threads: one. */
#ifndef SK_CLI_ARGS_H
#define SK_CLI_ARGS_H
#include <stdint.h>

typedef enum sk_arg_type {
    SK_ARG_FLAG, /* bool: present or not          */
    SK_ARG_TEXT, /* const char *, borrowed        */
    SK_ARG_INT,  /* int64_t within [min, max]     */
    SK_ARG_TEXTS /* sk_arg_texts; may be given several times */
} sk_arg_type;

enum { SK_ARG_TEXTS_MAX = 32 };
typedef struct sk_arg_texts {
    int         n;
    const char *at[SK_ARG_TEXTS_MAX]; /* borrowed */
} sk_arg_texts;

typedef struct sk_arg {
    const char *name;  /* "--seed"                                       */
    sk_arg_type type;
    void       *value; /* keeps its content if the argument is not given */
    int64_t     min, max;
    const char *help;  /* one line                                       */
} sk_arg;

/* What does not begin with "--" is positional; options and positionals may be mixed; after "--" all are. */
enum { SK_ARGS_GO = -1, SK_POSITIONAL_MAX = 64 };

typedef struct sk_args {
    const char   *usage;
    const sk_arg *args;
    int           n_args;
    int           n_min, n_max; /* positionals wanted                     */
    int           n_positional; /* and found                              */
    const char   *positional[SK_POSITIONAL_MAX];
} sk_args;

/* SK_ARGS_GO, or the exit code: 0 after --help, 2 after a usage error (said on stderr). */
int sk_args_parse(sk_args *self, int argc, char **argv);

#endif
