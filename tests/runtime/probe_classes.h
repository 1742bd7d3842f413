/* probe_classes: the actors of the runtime's tests, the same in the test programs and in worker_probe. */
#ifndef SK_TESTS_RUNTIME_PROBE_CLASSES_H
#define SK_TESTS_RUNTIME_PROBE_CLASSES_H
#include "core/runtime/runtime.h"
#include "core/transport/block.h"

/* Methods of "probe". Its create fails with SK_EENV and the argument as text when that begins with '!'. */
enum {
    PROBE_ECHO,       /* bytes -> the same bytes                                     */
    PROBE_COUNT,      /* -> int32_t: how many calls of it came before                */
    PROBE_FAIL,       /* text -> fails with SK_EENV and that text                    */
    PROBE_SLEEP,      /* int32_t ms -> the same, later                               */
    PROBE_EXIT,       /* int32_t status: ends its process                            */
    PROBE_BLOCK_FILL, /* fill_order -> fills the block's data with a byte            */
    PROBE_BLOCK_MAKE, /* int64_t size -> sk_block_ref of a block that it owns        */
    PROBE_BIG,        /* int64_t size -> as many bytes, i % 251                      */
    PROBE_ALIGNED,    /* bytes -> int32_t: is the input 16-byte aligned?             */
    PROBE_RAISE,      /* int32_t signal: to its own process                          */
    PROBE_ODD,        /* -> fails with a status that does not exist                  */
    PROBE_FDS,        /* -> int32_t: its open descriptors that a driver left to it   */
    PROBE_N_METHODS
};

typedef struct fill_order {
    sk_block_ref ref;
    uint8_t      byte;
} fill_order;

/* "probe"; "exits" (create ends the process with the int32_t status); "hangs" (create sleeps int32_t ms). */
extern const sk_actor_class *const probe_classes[];
extern const int                   probe_n_classes;

/* Path of the worker program for them, in a static buffer. */
const char *probe_worker_path(void);

#endif
