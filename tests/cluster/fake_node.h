/* fake_node: a node that is played by a thread of the test: it speaks wire.h, and its workers are a few lines of
 * script. So the head can be shown hosts that are slow, silent, mad, or a hundred. Functions fail the test when
 * something goes wrong.
 *
 * A worker adds up all bytes of its arguments and answers with that as an uint64_t; an actor's call answers with all
 * that it was ever sent, and keeps that as its state. */
#ifndef SK_TESTS_CLUSTER_FAKE_NODE_H
#define SK_TESTS_CLUSTER_FAKE_NODE_H
#include "core/runtime/wire.h"
#include <pthread.h>
#include <stdatomic.h>

/* What its workers do with the next jobs. */
typedef enum fake_mode {
    FAKE_SUM,
    FAKE_HOLD,       /* begin, and answer only in FAKE_SUM again                                    */
    FAKE_LARGE,      /* answer with `large` bytes (probe_fill's) in the store                       */
    FAKE_BAD_CHUNK,  /* the same, but the last CHUNK reaches one byte beyond its extent             */
    FAKE_WILD_CHUNK, /* CHUNK for an offset that nobody gave it                                     */
    FAKE_KEEP,       /* ask for the objects whose ids the argument has, then answer                 */
    FAKE_FETCH,      /* the same, and release them before the answer                                */
    FAKE_DIE         /* the worker dies of signal 9; then FAKE_SUM                                  */
} fake_mode;

typedef struct fake_params {
    const char *endpoint, *name;  /* NULL: "fake"                                                   */
    const char *build;            /* NULL: "fake build"                                             */
    const char *leaves;           /* answers WELCOME with LEAVE and this text                       */
    double      cpus;             /* 0: 2                                                           */
    uint64_t    store_bytes;      /* 0: 64 MiB                                                      */
    uint64_t    session;          /* 0: any                                                         */
    uint64_t    large;            /* of FAKE_LARGE                                                  */
    bool        ignores_stop;
    bool        dies_early;       /* its workers end before they say hello                          */
    int64_t     clock_ahead_ns;   /* of its clock                                                   */
} fake_params;

typedef struct fake_worker fake_worker;
typedef struct fake_copy fake_copy;
typedef struct fake_node {
    fake_params    params;
    sk_link       *link;
    sk_link_order  order;
    uint64_t       session;
    pthread_t      thread;
    _Atomic int    mode;           /* fake_mode                                                     */
    _Atomic bool   stop, skip, twice, is_silent, is_welcome, is_over /* told BYE or REFUSE */;
    _Atomic int    number, refused /* 1 + a */, n_spawned, n_living, n_jobs, n_copies_got, n_chunks_got, n_drops,
                   n_restored, n_missing /* messages that named what it has no copy of */, n_canceled, n_stopping,
                   n_byes, n_values;
    _Atomic uint64_t copied_bytes, bytes_got;
    char           why[240];       /* of REFUSE or BYE; valid when is_over                          */
    char           welcome[6][512]; /* first records of WELCOME                                     */
    _Atomic int    n_welcome;
    fake_worker   *workers[64];    /* by line                                                       */
    fake_copy     *copies;
    uint64_t       head_beat, head_beat_ns, told_ns;
} fake_node;

/* Connect, say JOIN, and go on in a thread. */
fake_node *fake_node_start(fake_params params);
/* Send one frame too few, as if it had been lost on the way. */
void fake_node_skip(fake_node *self);
/* Say JOIN a second time. */
void fake_node_join_again(fake_node *self);
/* Leave (unless silent or over), join the thread, free all. */
void fake_node_stop(fake_node **self_p);

#endif
