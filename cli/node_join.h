/* node_join: `skiff node --join`: this host runs workers for a program on another one.
 *
 * Threads: one. */
#ifndef SK_CLI_NODE_JOIN_H
#define SK_CLI_NODE_JOIN_H
#include <stdbool.h>
#include <stdint.h>

/* What the command line says. All borrowed; NULL, and amounts below 0: not given. */
typedef struct sk_node_join {
    const char        *endpoint, *key, *name, *worker, *build, *log_dir;
    int64_t            cpus, gpus, memory; /* memory [bytes]              */
    const char *const *resources;          /* (n_resources) "licence=2"   */
    int                n_resources;
    int64_t            store, wait_s;      /* store [bytes]; 0: not given */
    bool               rejoin, plain;
} sk_node_join;

/* Until the program ends. Says on standard error what there is to say, and returns the exit code. */
int sk_node_join_run(const sk_node_join *params);

#endif
