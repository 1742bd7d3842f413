/* skiff: one program, one table of subcommands. */
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "core/base/config.h"
#include "rl/version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int cmd_help(int argc, char **argv);

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: not for people */
} command;

static const command commands[] = {
    {"train", sk_cmd_train, "train from a config file"},
    {"cluster", sk_cmd_cluster, "train over many hosts that a scheduler has"},
    {"eval", sk_cmd_eval, "evaluate a trained policy"},
    {"play", sk_cmd_play, "film a trained policy at work"},
    {"export", sk_cmd_export, "write a trained policy as C source"},
    {"config", sk_cmd_config, "show what a config file comes to, or all keys"},
    {"envs", sk_cmd_envs, "list environments, or describe one"},
    {"check-env", sk_cmd_check_env, "test an environment against its contract"},
    {"new-env", sk_cmd_new_env, "write a new environment to start from"},
    {"rollout", sk_cmd_rollout, "step an environment with given or random actions"},
    {"status", sk_cmd_status, "show a running program at a glance"},
    {"list", sk_cmd_list, "list its tasks, actors, objects, processes or hosts"},
    {"top", sk_cmd_top, "watch it"},
    {"timeline", sk_cmd_timeline, "write what ran when, as a trace"},
    {"logs", sk_cmd_logs, "show what an actor or a process of it printed"},
    {"node", sk_cmd_node, "lend this host to a program on another one"},
    {"bench", sk_cmd_bench, "measure speed on this machine"},
    {"version", sk_cmd_version, "show versions and the kernels in use"},
    {"help", cmd_help, "show this, or how a command is used"},
    {"docs", sk_cmd_docs, NULL},
    {"worker", sk_cmd_worker, NULL},
};

static const command *find(const char *name) {
    for (int i = 0; i < SK_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static void print_commands(FILE *out) {
    fputs("usage: skiff COMMAND [ARGUMENT ...]\n\n", out);
    for (int i = 0; i < SK_COUNT(commands); i++)
        if (commands[i].help) fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\n`skiff help COMMAND` shows how it is used.\n", out);
}

static int unknown(const char *name) {
    const char *names[SK_COUNT(commands)];
    int n = 0;
    for (int i = 0; i < SK_COUNT(commands); i++)
        if (commands[i].help) names[n++] = commands[i].name;
    const char *near = sk_nearest_name(name, names, n);
    fprintf(stderr, "unknown command \"%s\"%s%s%s\n", name,
            near ? "; did you mean \"" : "; `skiff help` lists them", near ? near : "", near ? "\"?" : "");
    return SK_EXIT_USAGE;
}

static int cmd_help(int argc, char **argv) {
    if (argc < 2) {
        print_commands(stdout);
        return SK_EXIT_DONE;
    }
    const command *known = find(argv[1]);
    if (!known) return unknown(argv[1]);
    if (known->run == cmd_help) return cmd_help(1, argv);
    return known->run(2, (char *[]){argv[1], "--help", NULL});
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        print_commands(stderr);
        return SK_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return cmd_help(1, argv);
    if (strcmp(argv[1], "--version") == 0) {
        printf("skiff %s\n", sk_version());
        return SK_EXIT_DONE;
    }
    const command *known = find(argv[1]);
    return known ? known->run(argc - 1, argv + 1) : unknown(argv[1]);
}

/* Where standard input, output or error was closed, the next file opened would take its number, and what is printed
 * would go into it. */
static void open_standard_files(void) {
    int fd;
    do fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
    open_standard_files();
    int code = run(argc, argv);
    errno = 0;
    bool failed = ferror(stdout) != 0;
    failed |= fflush(stdout) != 0;
    if (failed && code == SK_EXIT_DONE) {
        fprintf(stderr, "cannot write to standard output: %s\n", errno ? strerror(errno) : "a write failed");
        code = SK_EXIT_FAILED;
    }
    return code;
}
