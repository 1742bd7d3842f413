/* spawn: what a worker process is started with, by a driver on its own host and by a node on a further one.
 *
 * Threads: free of state. */
#ifndef SK_RUNTIME_SPAWN_H
#define SK_RUNTIME_SPAWN_H
#include "core/runtime/store.h"
#include "core/runtime/supervisor.h"

#define SK_SPAWN_HASH_TEXT 65 /* 64 hex digits of BLAKE2b-256, with their end */

/* A worker process to be. All borrowed for the call. */
typedef struct sk_spawn {
    uint64_t           id;          /* for the supervisor                                       */
    const char        *worker_path; /* run as `PATH worker ...`                                 */
    const sk_block    *board;
    const sk_store    *store;
    int                line;        /* of the board                                             */
    const char *const *plugins;     /* (n_plugins) paths                                        */
    int                n_plugins;
    const char        *log_path;    /* NULL or "": its output goes to this program's standard error */
} sk_spawn;

/* Start it as a child of this process. As of sk_supervisor_spawn. */
SK_NODISCARD sk_status sk_spawn_worker(sk_supervisor *supervisor, const sk_spawn *params, int *ret_pid,
                                       sk_error *reterr);
/* The worker program: `given`, else $SKIFF_WORKER, else this very one. Borrowed from those. */
const char *sk_spawn_worker_path(const char *given);
/* The hash of a file's content, by which hosts tell whether they have the same plugin. SK_ENOTFOUND: no such file.
 * SK_EIO. */
SK_NODISCARD sk_status sk_spawn_hash_file(const char *path, char ret_text[SK_SPAWN_HASH_TEXT], sk_error *reterr);

#endif
