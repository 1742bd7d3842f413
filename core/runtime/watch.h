/* watch: what people see: the tables of the board, and who waits for what when nothing moves.
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_WATCH_H
#define SK_RUNTIME_WATCH_H
#include "core/runtime/peer.h"

/* A thread of the driver that waits; known to the watch and shown on the board when it takes long. */
typedef struct sk__waiter {
    struct sk__waiter *next;
    const struct sk__run *run;  /* that waits; NULL: the program   */
    bool (*is_done)(sk__driver *d, void *arg);
    void              *arg;
    int64_t            since_ns;
    const char        *what;    /* "sk_get"                        */
    uint64_t           subject; /* id of the object or actor; or 0 */
    int                row;     /* on the board; -1: none          */
} sk__waiter;

void sk__watch_functions(sk__driver *d);                  /* put their names on the board */
sk_board_function *sk__watch_row(sk__driver *d, const sk_function *function); /* its counters */
void sk__watch_ended(sk__driver *d, const sk__job *job, sk_status status, int64_t start_ns,
                     int64_t duration_ns, int pid, int thread);
void sk__watch_peer(sk__driver *d, const sk__peer *peer, sk_board_worker_state state);
void sk__watch_actor(sk__driver *d, sk__actor *actor);
void sk__watch_object(sk__driver *d, sk__object *object); /* large ones: shown, changed or gone */
void sk__watch_sync(sk__driver *d);                       /* counters */
void sk__watch_resources(sk__driver *d);
void sk__watch_refresh(sk__driver *d);                    /* and all that changes too often to be written each time */
void sk__watch_waiter(sk__driver *d, sk__waiter *waiter);  /* show it, or take it down (since_ns 0) */
void sk__watch_progress(sk__driver *d, int64_t now_ns);   /* nothing moved for 10 s: say who waits for what */

#endif
