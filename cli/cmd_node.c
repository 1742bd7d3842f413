/* skiff node: this host runs workers for a program on another one; or this host is that other one. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/node_join.h"
#include "core/transport/keys.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "skiff node --join tcp://HOST:PORT [--key FILE] [--name NAME] [--cpus N] [--gpus N] [--memory BYTES]\n"
    "                  [--resource NAME=AMOUNT]... [--store BYTES] [--worker PROGRAM] [--build TEXT] [--log-dir DIR]\n"
    "                  [--wait SECONDS] [--rejoin] [--plain]\n"
    "       skiff node --head [--bind tcp://ADDRESS:PORT] [--hosts N] [--key FILE] -- train FILE.yaml [ARGUMENT ...]";
#define DEFAULT_BIND "tcp://127.0.0.1:7711"
enum { TRAIN_ARGS_MAX = SK_POSITIONAL_MAX + 6 };

typedef struct node_args {
    sk_node_join join;
    sk_arg_texts resources;
    const char  *key, *bind;
    bool         is_head;
    int64_t      hosts;
    sk_args      parsed; /* positional: the command of the head */
} node_args;

static int usage_error(const char *message) {
    fprintf(stderr, "%s\nusage: %s\n", message, usage);
    return SK_EXIT_USAGE;
}

static int parse(node_args *self, int argc, char **argv) {
    const int64_t most = INT64_MAX / 4;
    sk_node_join *join = &self->join;
    sk_arg        options[] = {
        {"--join", SK_ARG_TEXT, &join->endpoint, 0, 0, "the program that this host is to help"},
        {"--key", SK_ARG_TEXT, &self->key, 0, 0, "the cluster's key ($SKIFF_CLUSTER_KEY, ~/.config/skiff/cluster.key)"},
        {"--name", SK_ARG_TEXT, &join->name, 0, 0, "of this host, for people ($SLURMD_NODENAME, its own)"},
        {"--cpus", SK_ARG_INT, &join->cpus, 0, 1 << 20, "cores to give (those this process may use)"},
        {"--gpus", SK_ARG_INT, &join->gpus, 0, 1 << 20, "GPUs to give (those of the machine)"},
        {"--memory", SK_ARG_INT, &join->memory, 0, most, "bytes of memory to give (that of the machine)"},
        {"--resource", SK_ARG_TEXTS, &self->resources, 0, 0, "NAME=AMOUNT of something else, as often as wanted"},
        {"--store", SK_ARG_INT, &join->store, 1, most, "bytes of values kept here at most (30 % of the memory)"},
        {"--worker", SK_ARG_TEXT, &join->worker, 0, 0, "the worker program ($SKIFF_WORKER, this program)"},
        {"--build", SK_ARG_TEXT, &join->build, 0, 0, "which build the workers are of (this program's)"},
        {"--log-dir", SK_ARG_TEXT, &join->log_dir, 0, 0, "a folder for the workers' output (standard error)"},
        {"--wait", SK_ARG_INT, &join->wait_s, 0, 1000000, "seconds to wait for the program (300)"},
        {"--rejoin", SK_ARG_FLAG, &join->rejoin, 0, 0, "when it is lost, wait for another one"},
        {"--plain", SK_ARG_FLAG, &join->plain, 0, 0, "neither key nor encryption; on loopback only"},
        {"--head", SK_ARG_FLAG, &self->is_head, 0, 0, "train here, with the runners on the hosts that join"},
        {"--bind", SK_ARG_TEXT, &self->bind, 0, 0, "where they join (" DEFAULT_BIND ")"},
        {"--hosts", SK_ARG_INT, &self->hosts, 1, 1023, "how many to wait for (1)"},
    };
    self->parsed = (sk_args){
        .usage = usage, .args = options, .n_args = SK_COUNT(options), .n_max = SK_POSITIONAL_MAX};
    int code = sk_args_parse(&self->parsed, argc, argv);
    if (code != SK_ARGS_GO) return code;
    bool has_command = self->parsed.n_positional > 0;
    if (self->is_head == (join->endpoint != NULL)) return usage_error("wanted one of --join and --head");
    if (self->is_head && (!has_command || strcmp(self->parsed.positional[0], "train") != 0))
        return usage_error("--head wants the command behind --, which begins with train");
    bool is_about_host = join->rejoin || join->plain || join->name || join->worker || join->build || join->log_dir ||
                         join->store || self->resources.n || join->cpus >= 0 || join->gpus >= 0 || join->memory >= 0;
    if (self->is_head && is_about_host)
        return usage_error("--head takes --bind, --hosts and --key; what else there is belongs behind --");
    if (!self->is_head && has_command) return usage_error("--join takes no command");
    if (!self->is_head && (self->bind || self->hosts)) return usage_error("--bind and --hosts belong to --head");
    return SK_ARGS_GO;
}

/* ---- the head -------------------------------------------------------------------------------------------- */
static void print_line(const char *host, const char *port, const char *key_where) {
    bool is_file = key_where[0] && key_where[0] != '$';
    fprintf(stderr, "  skiff node --join tcp://%s:%s%s%s\n", host, port, is_file ? " --key " : "",
            is_file ? key_where : "");
}

/* One line per address under which others can reach this host. */
static int print_addresses(const char *port, const char *key_where) {
    struct ifaddrs *all = NULL;
    int             n = 0;
    if (getifaddrs(&all) != 0) return 0;
    for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
        char text[INET_ADDRSTRLEN] = "";
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || (at->ifa_flags & IFF_LOOPBACK)) continue;
        const struct sockaddr_in *address = (const void *)at->ifa_addr;
        if (!inet_ntop(AF_INET, &address->sin_addr, text, sizeof text)) continue;
        print_line(text, port, key_where);
        n++;
    }
    freeifaddrs(all);
    return n;
}

typedef struct bind_place {
    char        address[256];
    const char *port; /* behind the last colon of --bind */
} bind_place;

static bool read_place(const char *bind, bind_place *ret_place) {
    static const char scheme[] = "tcp://";
    const size_t      skip = sizeof scheme - 1;
    const char       *colon = strrchr(bind, ':');
    if (strncmp(bind, scheme, skip) != 0 || colon <= bind + skip) return false;
    size_t length = (size_t)(colon - bind) - skip;
    if (length >= sizeof ret_place->address || colon[1 + strspn(colon + 1, "0123456789")]) return false;
    snprintf(ret_place->address, sizeof ret_place->address, "%.*s", (int)length, bind + skip);
    ret_place->port = colon + 1;
    return strtol(colon + 1, NULL, 10) > 0;
}

/* What to type elsewhere. */
static int print_invitation(const node_args *self, const char *bind) {
    static const char *const any[] = {"0.0.0.0", "*", "[::]"};
    sk_cluster_key           key = {0};
    char                     where[512] = "";
    bind_place               place;
    bool                     is_any = false;
    sk_error                 err = {0};
    if (!read_place(bind, &place)) {
        fprintf(stderr, "--bind %s: wanted tcp://ADDRESS:PORT, with the port that the other hosts are told\n", bind);
        return SK_EXIT_USAGE;
    }
    sk_status status = sk_cluster_key_find(self->key, SK_KEY_MAKE, &key, where, &err);
    sk_cluster_key_forget(&key);
    if (status != SK_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return sk_exit_code_of_input(status);
    }
    for (int i = 0; i < SK_COUNT(any); i++) is_any |= strcmp(place.address, any[i]) == 0;
    fprintf(stderr, "on each other host, with the same key:\n");
    if (!is_any) print_line(place.address, place.port, where);
    else if (print_addresses(place.port, where) == 0) print_line("127.0.0.1", place.port, where);
    fflush(stderr);
    return SK_ARGS_GO;
}

/* The command in this very process, told where the runners are. */
static int run_head(const node_args *self) {
    const char *bind = self->bind ? self->bind : DEFAULT_BIND;
    char        bind_key[400], hosts_key[64], key_key[600];
    char       *args[TRAIN_ARGS_MAX];
    int         n = 0, code = print_invitation(self, bind);
    if (code != SK_ARGS_GO) return code;
    snprintf(bind_key, sizeof bind_key, "cluster.bind=%s", bind);
    snprintf(hosts_key, sizeof hosts_key, "cluster.num_hosts=%lld", (long long)(self->hosts ? self->hosts : 1));
    if (self->key && strlen(self->key) >= sizeof key_key - 32) return usage_error("the path of the key is too long");
    snprintf(key_key, sizeof key_key, "cluster.key_file=%s", self->key ? self->key : "");
    const sk_args *parsed = &self->parsed;
    int            n_before = parsed->n_positional > 1 && parsed->positional[1][0] != '-' ? 2 : 1; /* train FILE */
    for (int i = 0; i < n_before; i++) args[n++] = (char *)(uintptr_t)parsed->positional[i];
    args[n++] = (char *)(uintptr_t) "env_runners.placement=remote";
    args[n++] = bind_key;
    args[n++] = hosts_key;
    if (self->key) args[n++] = key_key;
    for (int i = n_before; i < parsed->n_positional; i++) args[n++] = (char *)(uintptr_t)parsed->positional[i];
    args[n] = NULL;
    return sk_cmd_train(n, args);
}

int sk_cmd_node(int argc, char **argv) {
    node_args     self = {.join = {.cpus = -1, .gpus = -1, .memory = -1, .wait_s = 300}};
    sk_node_join *join = &self.join;
    int           code = parse(&self, argc, argv);
    if (code != SK_ARGS_GO) return code;
    if (self.is_head) return run_head(&self);
    join->key = self.key;
    join->resources = self.resources.at;
    join->n_resources = self.resources.n;
    return sk_node_join_run(join);
}
