/* worker_process: what a worker process does once it has started. */
#ifndef SK_RUNTIME_WORKER_PROCESS_H
#define SK_RUNTIME_WORKER_PROCESS_H
#include "core/runtime/board.h"
#include "core/runtime/registry.h"

/* The memory of large objects, as this process maps it. */
typedef struct sk__store_view {
    void  *data;
    size_t size; /* [bytes] */
} sk__store_view;
/* Say HELLO on the line and serve what comes until told to stop; leaves no actor and no thread behind. Gives the exit
 * status of the process. All arguments are borrowed until it returns. */
int sk__worker_serve(sk_board *board, int line, sk__store_view store, const sk_registry *registry);

#endif
