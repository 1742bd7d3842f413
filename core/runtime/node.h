/* node: a further host of a runtime (wire.h). It owns a board and a store of its own, spawns worker processes when the
 * head says so, carries their messages, keeps copies of what they use, and ends with its head.
 *
 *   node.c         life: join, beats, the loop, the end
 *   node_welcome.c what this host says of itself, and what the head wants of it
 *   node_worker.c  worker processes: spawning, their messages up and down, their death
 *   node_copies.c  copies of the head's extents and the translation of messages
 *
 * Threads: one loop that owns all; `skiff-ears` only listens to the workers' bell and wakes it; a supervisor. */
#ifndef SK_RUNTIME_NODE_H
#define SK_RUNTIME_NODE_H
#include "skiff/skiff.h"

/* What `skiff node --join` is told. All borrowed. */
typedef struct sk_node_params {
    const char        *endpoint;    /* of the head, tcp://HOST:PORT */
    const char        *key_path;    /* NULL: as sk_cluster_key_find says */
    bool               plain;       /* neither encrypted nor authenticated: loopback only */
    const char        *name;        /* NULL: $SLURMD_NODENAME, else the machine's */
    const char        *build;       /* must be the head's (sk_cluster_params) */
    const char        *worker_path; /* NULL: $SKIFF_WORKER, else /proc/self/exe */
    const sk_resource *resources;   /* as of sk_runtime_params */
    int                n_resources;
    size_t             store_bytes; /* most that the head may keep here; 0: 30 % of the machine's memory. Taken only as
                                       it is used */
    const char        *log_dir;     /* one file per worker; NULL: this program's standard error */
    double             wait_s;      /* patience until the head answers for the first time */
    bool               rejoin;      /* after the head was lost: wait for another one, for wait_s */
    const volatile int *interrupted; /* nullable; non-zero (the signal): leave and end with SK_EINTERRUPTED */
} sk_node_params;

/* Join and serve until the head says BYE (SK_OK). A head that gave this host up, or lost something on the way, is
 * joined anew, without workers. SK_ENOTFOUND: no head within wait_s, or no key; SK_EVERSION: another build, names both;
 * SK_EDEAD: the head was lost; SK_ECONFIG: this host cannot run what the head has (which plugin); SK_ECORRUPT: what the
 * head says cannot be; SK_EINVAL: a parameter cannot be; SK_EINTERRUPTED. Whatever it is, no process, no memory and no
 * file is left behind. */
SK_NODISCARD sk_status sk_node_run(const sk_node_params *params, sk_error *reterr);

#endif
