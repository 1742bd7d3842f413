/* probe_module: the tasks and actors of the runtime's tests, the same in the test programs and in worker_probe. */
#ifndef SK_TESTS_RUNTIME_PROBE_MODULE_H
#define SK_TESTS_RUNTIME_PROBE_MODULE_H
#include "core/transport/block.h"
#include "skiff/skiff.h"

/* Actor "probe". Its create fails with SK_EENV and argument 0 as text when that begins with '!'. */
enum {
    PROBE_ECHO,       /* bytes -> the same bytes                                          */
    PROBE_COUNT,      /* -> int32_t: how many calls of it came before                     */
    PROBE_FAIL,       /* text -> fails with SK_EENV and that text                         */
    PROBE_SLEEP,      /* int32_t ms -> the same, later                                    */
    PROBE_EXIT,       /* int32_t status: ends its process                                 */
    PROBE_BLOCK_FILL, /* fill_order -> fills the block's data with a byte                 */
    PROBE_BLOCK_MAKE, /* int64_t size -> sk_block_ref of a block that it owns             */
    PROBE_BIG,        /* int64_t size -> as many bytes, as probe_fill makes them, written */
    PROBE_ALIGNED,    /* bytes -> int32_t: is the input 16-byte aligned?                  */
    PROBE_RAISE,      /* int32_t signal: to its own process                               */
    PROBE_ODD,        /* -> fails with a status that does not exist                       */
    PROBE_FDS,        /* -> int32_t: its open descriptors that a driver left to it        */
    PROBE_PID,        /* -> int32_t: its process                                          */
    PROBE_KEEP,       /* sk_ref as data -> counts on it, maps it, keeps it; uint64_t: sum */
    PROBE_PUT,        /* int64_t size -> puts that many bytes, keeps them; sk_ref         */
    PROBE_DROP,       /* -> releases what it kept                                         */
    PROBE_PAIR,       /* int32_t -> two returns: the same, and one more                   */
    PROBE_N_METHODS
};

/* Actor "counter" (int64_t start[, int64_t pad]): saves its total, and `pad` bytes behind it, with every ADD. */
enum {
    COUNTER_ADD,       /* int64_t n -> the new total                                       */
    COUNTER_GET,       /* -> the total                                                     */
    COUNTER_ADD_FAIL,  /* int64_t n: adds, saves, and fails                                */
    COUNTER_ADD_EXIT,  /* int64_t n: adds, saves, and ends its process before it answers   */
    COUNTER_EXIT_ONCE, /* int64_t n, path: the same when there is no such file yet (it makes it), else as ADD */
    COUNTER_EXIT,      /* int32_t status: ends its process                                 */
    COUNTER_SLEEP,     /* int32_t ms -> the same, later                                    */
    COUNTER_N_METHODS
};

/* Actor "meeting": for calls at the same time. */
enum {
    MEETING_ENTER, /* int32_t n -> int32_t: waits until n are inside; fails after 30 s */
    MEETING_STAY,  /* int32_t ms -> int32_t: most that were ever inside                */
    MEETING_N_METHODS
};

/* Actors "exits" (create ends the process with the int32_t status) and "hangs" (create sleeps int32_t ms) have the
 * methods of "probe"; "late" (path): create ends the process until that file exists. */

typedef struct fill_order {
    sk_block_ref ref;
    uint8_t      byte;
} fill_order;

/* How probe.flaky fails as long as its file is shorter than wanted; each run adds a byte. */
typedef enum flaky_how { FLAKY_FAILS, FLAKY_EXITS } flaky_how;
typedef struct flaky_order {
    int32_t how, n; /* flaky_how; runs that go wrong */
    char    path[248];
} flaky_order;

/* What probe.drive does with an actor "counter": n ADDs of 1 in flight at once; gives the last total. */
typedef struct drive_order {
    sk_actor actor;
    int64_t  n;
} drive_order;

extern const sk_module probe_module;

/* Path of the worker program for them, in a static buffer. */
const char *probe_worker_path(void);

/* Bytes that tell where they belong: byte i is i % 251. */
void probe_fill(void *data, size_t size);
bool probe_is_filled(sk_bytes bytes);

/* ---- between probe_module.c and probe_tasks.c ---- */
enum { PROBE_N_TASKS = 25 };
extern const sk_task_def probe_tasks[];
int32_t  probe_int(sk_bytes bytes);  /* must be an int32_t */
int64_t  probe_long(sk_bytes bytes); /* must be an int64_t */
uint64_t probe_sum(sk_bytes bytes);
void     probe_sleep_ms(int32_t ms);

#endif
