/* cluster_rig: a cluster on this machine for a test: a key in a folder of its own, real `skiff node` processes, and the
 * means to end them. Nodes end with the test's thread that started them, whatever becomes of it.
 *
 *   rig        *rig = rig_create();
 *   sk_runtime *rt = rig_start_head(rig, (sk_runtime_params){0});
 *   int         pid = rig_start_node(rig, "n1", sk_runtime_endpoint(rt), NULL);
 *   rig_await_hosts(rt, 1);
 *   ...
 *   rig_end_head(rt);                  // the nodes are told goodbye and end with 0
 *   rig_expect_exit(rig, pid, 0);
 *   rig_destroy(rig);
 *
 * All of it fails the test when something goes wrong. */
#ifndef SK_TESTS_CLUSTER_RIG_H
#define SK_TESTS_CLUSTER_RIG_H
#include "skiff/skiff.h"
#include "tests/runtime/probe_module.h"

enum { RIG_NODES = 32, RIG_PATIENCE_MS = 60000 };
#define RIG_BUILD "the build of the test" /* of head and nodes, unless they say something else */

typedef struct rig {
    char folder[200];   /* removed by destroy with all in it */
    char key_path[256]; /* the cluster's key                 */
    int  n_nodes;
    int  pids[RIG_NODES];           /* 0: has been reaped                 */
    char log_paths[RIG_NODES][256]; /* of what each one says              */
} rig;

rig *rig_create(void);
/* Kills the nodes that are left. */
void rig_destroy(rig *self);

/* A runtime with a cluster on 127.0.0.1:0 and the tests' tasks and actors (probe_module.h); what `params` says stays,
 * but for modules and cluster. No log lines are looked at. */
sk_runtime *rig_start_head(rig *self, sk_runtime_params params);
void        rig_end_head(sk_runtime *rt);
/* Wait until exactly so many hosts are up. */
void rig_await_hosts(sk_runtime *rt, int n);

/* Start `skiff node --join ENDPOINT --key KEY --name NAME --worker worker_probe --build RIG_BUILD --wait 60 --cpus 2`
 * and further arguments (NULL-terminated; nullable), of which the last of a kind counts. Gives its pid. */
int rig_start_node(rig *self, const char *name, const char *endpoint, const char *const *args);
/* Start any command (NULL-terminated, a path first) in the same way, in the rig's folder; the rest is for it too. */
int rig_start(rig *self, const char *name, const char *const *argv);
/* Wait for its end; gives the exit status, or minus the signal that ended it. */
int rig_await_exit(rig *self, int pid);
/* ... which must be this. */
void rig_expect_exit(rig *self, int pid, int status);
/* What it has said so far, in a static buffer. */
const char *rig_log(const rig *self, int pid);
/* Wait until it has said that. */
void rig_await_log(const rig *self, int pid, const char *text);

/* Its worker processes: fills up to max pids, gives how many there are. */
int rig_children(int pid, int *ret_pids, int max);
/* Is it gone, or a zombie? */
bool rig_has_ended(int pid);
/* Wait until all of them have ended; false: one still lives after so long. */
bool rig_await_ended(const int *pids, int n, int patience_ms);

#endif
