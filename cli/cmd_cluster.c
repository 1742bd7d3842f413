/* skiff cluster: one run over many hosts that an engine has. */
#include "cli/args.h"
#include "cli/cluster.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "core/base/config.h"
#include "core/transport/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODES_MAX = 1023 }; /* hosts of a run */

static const char usage[] =
    "skiff cluster slurm [OPTION ...] -- train FILE.yaml [key.path=value ...] [--run-dir DIR] [--resume]\n"
    "       skiff cluster slurm --follow JOB\n"
    "       skiff cluster key [--key FILE]";

static int usage_error(const char *message) {
    fprintf(stderr, "%s\nusage: %s\n", message, usage);
    return SK_EXIT_USAGE;
}

/* ---- slurm ---- */
/* key=value is an override, unless it is a file's name. */
static bool is_override(const char *word) { return strchr(word, '=') && access(word, F_OK) != 0; }

/* Two keys are what this command is for. */
static int check_override(const char *word) {
    static const char bind[] = "cluster.bind=", placement[] = "env_runners.placement=";
    if (strncmp(word, bind, sizeof bind - 1) == 0)
        return usage_error("cluster.bind is this command's to set: say where the head listens by --bind");
    if (strncmp(word, placement, sizeof placement - 1) == 0 && strcmp(word + sizeof placement - 1, "remote") != 0)
        return usage_error("on a cluster env_runners.placement is remote");
    return SK_ARGS_GO;
}

static int find_files(sk_cluster_run *run, const sk_args *words) {
    for (int i = 0; i < words->n_positional; i++) {
        const char *word = words->positional[i];
        if (is_override(word)) {
            int code = check_override(word);
            if (code != SK_ARGS_GO) return code;
            run->overrides[run->n_overrides++] = word;
        } else if (run->file) {
            return usage_error("wanted one config file, then overrides like training.lr=1e-3");
        } else {
            run->file = word;
        }
    }
    if (run->resume && !run->run_dir) return usage_error("--resume needs --run-dir, the folder of the run");
    if (run->resume && run->init_from)
        return usage_error("--init-from starts a new run and --resume goes on with an old one: wanted one of them");
    if (!run->file && !run->resume) return usage_error("wanted a config file after train");
    if (run->file && access(run->file, R_OK) != 0) {
        fprintf(stderr, "%s: %s\n", run->file, strerror(errno));
        return SK_EXIT_USAGE;
    }
    return SK_ARGS_GO;
}

/* What stands behind "--": a command of skiff's. */
static int parse_command(sk_cluster_run *run, const sk_args *args) {
    char *words[SK_POSITIONAL_MAX + 1];
    if (args->n_positional == 0 || strcmp(args->positional[0], "train") != 0)
        return usage_error(args->n_positional ? "only `train` can run on a cluster"
                                              : "wanted `-- train FILE.yaml`: what is to run");
    for (int i = 0; i < args->n_positional; i++) words[i] = (char *)(uintptr_t)args->positional[i];
    sk_arg options[] = {
        {"--run-dir", SK_ARG_TEXT, &run->run_dir, 0, 0, "where the run is kept; all hosts of the job must see it"},
        {"--resume", SK_ARG_FLAG, &run->resume, 0, 0, "go on from the newest checkpoint in --run-dir"},
        {"--init-from", SK_ARG_TEXT, &run->init_from, 0, 0, "a policy or checkpoint to start with"},
    };
    sk_args parsed = {.usage = usage, .args = options, .n_args = SK_COUNT(options), .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&parsed, args->n_positional, words);
    return code == SK_ARGS_GO ? find_files(run, &parsed) : code;
}

/* "3" or "2-3". */
static bool read_nodes(sk_cluster_run *run) {
    char *end;
    run->n_nodes = run->n_nodes_min = strtol(run->nodes, &end, 10);
    if (end != run->nodes && *end == '-') run->n_nodes = strtol(end + 1, &end, 10);
    bool digits = run->nodes[strspn(run->nodes, "0123456789-")] == '\0' && end > run->nodes && end[-1] != '-';
    bool good = digits && *end == '\0' && run->n_nodes_min >= 1 && run->n_nodes_min <= run->n_nodes &&
                run->n_nodes <= NODES_MAX;
    if (!good)
        fprintf(stderr, "--nodes: got \"%s\", wanted a number from 1 to %d, or two like 2-3\n", run->nodes, NODES_MAX);
    return good;
}

static int run_slurm(int argc, char **argv) {
    sk_cluster_run run = {.nodes = "2"};
    sk_arg_texts sbatch = {0};
    const char *follow = NULL;
    sk_error err = {0};
    sk_arg options[] = {
        {"--nodes", SK_ARG_TEXT, &run.nodes, 0, 0, "hosts (2); MIN-MAX: as many as there are, at each start"},
        {"--partition", SK_ARG_TEXT, &run.partition, 0, 0, "of Slurm's (its default)"},
        {"--time", SK_ARG_TEXT, &run.time, 0, 0,
         "limit of one allocation, as sbatch takes it; the run goes on in the next"},
        {"--key", SK_ARG_TEXT, &run.key_path, 0, 0,
         "file of the cluster's key (~/.config/skiff/cluster.key, made if missing)"},
        {"--bind", SK_ARG_TEXT, &run.bind, 0, 0,
         "where the head listens, tcp://ADDRESS|INTERFACE:PORT (its address towards the other hosts, a free port)"},
        {"--sbatch", SK_ARG_TEXTS, &sbatch, 0, 0,
         "a further option for sbatch, like --sbatch --account=me; may be repeated"},
        {"--no-wait", SK_ARG_FLAG, &run.no_wait, 0, 0, "do not follow the job: print its number and return"},
        {"--follow", SK_ARG_TEXT, &follow, 0, 0, "follow a job that was started before"},
    };
    sk_args args = {.usage = usage, .args = options, .n_args = SK_COUNT(options), .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    if (follow)
        return args.n_positional ? usage_error("--follow takes a job and nothing else") : sk_cluster_follow(follow);
    run.sbatch = sbatch.at;
    run.n_sbatch = sbatch.n;
    code = parse_command(&run, &args);
    if (code != SK_ARGS_GO) return code;
    if (!read_nodes(&run)) return SK_EXIT_USAGE;
    if (sk_cluster_check_bind(run.bind, &err) != SK_OK) {
        fprintf(stderr, "error: %s\n", err.msg);
        return SK_EXIT_USAGE;
    }
    const char *job = getenv("SLURM_JOB_ID");
    return job && *job ? sk_cluster_head(&run) : sk_cluster_submit(&run);
}

/* ---- key ---- */
static int run_key(int argc, char **argv) {
    const char *path = NULL;
    sk_arg options[] = {{"--key", SK_ARG_TEXT, &path, 0, 0, "the file (~/.config/skiff/cluster.key)"}};
    sk_args args = {.usage = usage, .args = options, .n_args = SK_COUNT(options)};
    int code = sk_args_parse(&args, argc, argv);
    if (code != SK_ARGS_GO) return code;
    sk_cluster_key key;
    sk_error err = {0};
    char where[512];
    sk_status status = sk_cluster_key_find(path, SK_KEY_MAKE, &key, where, &err);
    if (status != SK_OK) {
        fprintf(stderr, "error: %s\n", err.msg);
        return sk_exit_code_of_input(status);
    }
    sk_cluster_key_forget(&key);
    printf("%s\n", where);
    return SK_EXIT_DONE;
}

/* ---- cluster ---- */
int sk_cmd_cluster(int argc, char **argv) {
    static const char *const names[] = {"slurm", "key"};
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "slurm") == 0) return run_slurm(argc - 1, argv + 1);
    if (strcmp(name, "key") == 0) return run_key(argc - 1, argv + 1);
    if (strcmp(name, "host") == 0) return sk_cluster_host(argc - 1, argv + 1);
    if (strcmp(name, "child") == 0) return sk_cluster_child(argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return run_slurm(2, (char *[]){argv[0], argv[1], NULL});
    const char *near = sk_nearest_name(name, names, SK_COUNT(names));
    char message[256] = "wanted `slurm` or `key`";
    if (*name)
        snprintf(message, sizeof message, "unknown \"%.100s\"%s%s%s", name, near ? "; did you mean \"" : "",
                 near ? near : "", near ? "\"?" : "");
    return usage_error(message);
}
