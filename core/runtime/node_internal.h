/* node_internal: what the files of the node (node.h) know of each other. Nobody else includes this.
 *
 * Threads: all of it belongs to the loop, but what a comment says is shared. */
#ifndef SK_RUNTIME_NODE_INTERNAL_H
#define SK_RUNTIME_NODE_INTERNAL_H
#include "core/runtime/board.h"
#include "core/runtime/node.h"
#include "core/runtime/supervisor.h"
#include "core/runtime/wire.h"
#include <pthread.h>

/* ---- copies ---------------------------------------------------------------------------------------------- */
/* An extent of the head's store that lies here too. */
typedef struct sk__node_copy {
    uint64_t  offset, size; /* there; size 0: a free slot                                   */
    sk_extent at;           /* here; size 0: there was no room for it                       */
    uint64_t  filled;       /* bytes that have come, from the front                         */
    bool      is_ours;      /* of a blob: what its records name lies here, no longer there  */
} sk__node_copy;

typedef struct sk__node_copies {
    sk_store      *store;
    sk__node_copy *slots; /* (cap) open addressing by offset */
    size_t         n, cap /* 0 or a power of 2 */;
} sk__node_copies;

void sk__node_copies_deinit(sk__node_copies *self);
/* Borrowed until the next add or drop; NULL: none there. */
sk__node_copy *sk__node_copies_find(const sk__node_copies *self, uint64_t offset);
/* Make room for a copy. SK_ECORRUPT: there is one already. SK_ELIMIT, SK_ENOMEM: the store has no room, of which a
 * note is kept until drop. */
SK_NODISCARD sk_status sk__node_copies_add(sk__node_copies *self, sk_extent there, sk__node_copy **ret_copy,
                                           sk_error *reterr);
/* Some of its bytes. Of one for which there was no room they are passed over. SK_ECORRUPT: none there, out of its
 * bounds, or out of order. */
SK_NODISCARD sk_status sk__node_copies_fill(sk__node_copies *self, uint64_t offset, uint64_t at, sk_bytes bytes,
                                            sk_error *reterr);
/* Nothing happens where there is none. */
void     sk__node_copies_drop(sk__node_copies *self, uint64_t offset);
uint8_t *sk__node_copy_data(const sk__node_copies *self, const sk__node_copy *copy);
/* Rewrite a message to a worker: what it names lies here. SK_ENOTFOUND, SK_ELIMIT: it does not. */
SK_NODISCARD sk_status sk__node_copies_translate(sk__node_copies *self, void *message, size_t size, bool answers_alloc,
                                                 sk_error *reterr);

/* ---- workers --------------------------------------------------------------------------------------------- */
/* A message that had no room in its ring. */
typedef struct sk__node_letter {
    struct sk__node_letter *next;
    size_t                  size;
    _Alignas(16) uint8_t    bytes[];
} sk__node_letter;

/* Bytes that go up before the message that gives them away. */
typedef struct sk__node_load {
    uint64_t offset, sent; /* of the copy; bytes on their way */
} sk__node_load;

typedef struct sk__node_worker {
    int              line, pid;
    uint32_t         generation;
    uint64_t         id; /* for the supervisor: generation and line */
    char             name[SK_BOARD_NAME];
    sk_ring_writer   down;
    sk_ring_reader   up;
    bool             has_mail;
    bool             is_mute; /* nothing it says is passed on any more */
    bool             has_ended;
    sk_wire_death    death;   /* how, once it has                      */
    char             kill_reason[sizeof ((sk_wire_death *)0)->how]; /* "": not killed by us */
    sk__node_letter *letters, *letters_last;
    uint64_t        *allocs; /* (n_allocs) requests for memory without an answer, by their numbers     */
    uint64_t        *owned;  /* (n_owned) offsets at the head of what it was given and has not given away */
    int              n_allocs, cap_allocs, n_owned, cap_owned;
    uint8_t         *message; /* on its way up, rewritten, behind `loads`; NULL: none */
    size_t           message_size;
    sk__node_load   *loads;
    int              n_loads, cap_loads, load_at;
    uint32_t         n_in_flight; /* for the board */
    bool             said_hello, is_blocked, is_stopping;
} sk__node_worker;

/* A frame that waits for the way to be free. */
typedef struct sk__node_parcel {
    struct sk__node_parcel *next;
    sk_link_frame           frame; /* its payload is `bytes` */
    _Alignas(16) uint8_t    bytes[];
} sk__node_parcel;

/* ---- the node -------------------------------------------------------------------------------------------- */
/* How a session ends. */
typedef enum sk__node_end {
    SK__NODE_GOES_ON,
    SK__NODE_BYE,         /* the head's program is over                               */
    SK__NODE_LOST,        /* nothing was heard of the head                            */
    SK__NODE_JOINS_ANEW,  /* it gave us up, or something got lost                     */
    SK__NODE_INTERRUPTED,
    SK__NODE_FAILED       /* refused, unable, or out of memory: `err`                 */
} sk__node_end;

typedef struct sk__node {
    /* for the whole life */
    const sk_node_params *params;
    char                  name[SK_HOST_NAME];
    sk_cluster_key        key;
    char                  key_where[512];
    char                  trouble[256]; /* what the link last complained of */
    sk_wire_join          join;
    /* of a session */
    sk_block         *board_block;
    sk_board         *board;
    sk_store         *store;
    uint64_t          store_bytes; /* what the head may use of it */
    sk_supervisor    *supervisor;
    sk_link          *link;
    uint64_t          session;
    sk_link_order     order;
    char              head_name[SK_BOARD_NAME];
    char             *welcome; /* texts of the next two */
    const char      **plugins, **env; /* (n_plugins); NULL-terminated */
    int               n_plugins, number;
    pthread_t         ears;
    bool              has_ears;
    _Atomic bool      ears_stop;
    _Atomic uint64_t  mail[SK_BOARD_LINES / 64]; /* lines the ears heard of; shared */
    sk__node_copies   copies;
    sk__node_worker  *workers[SK_BOARD_LINES];
    bool              was_used[SK_BOARD_LINES];
    int               n_lines, n_workers; /* highest line in use + 1 */
    sk__node_parcel  *out, *out_last;
    bool              is_full;   /* the way to the head, in this turn of the loop  */
    bool              is_busy;   /* there is more to do at once                     */
    bool              has_letters, is_stopping;
    int               letters_ms; /* until the next look at letters: longer with each that moved none */
    int64_t           heard_ns, told_ns, beat_a, beat_at_ns, bye_ns;
    uint64_t          n_done, n_malformed, n_deaths;
    sk__node_end      end;
    sk_error          err;
    _Alignas(16) uint8_t scratch[SK_RING_MESSAGE_MAX]; /* one message */
} sk__node;

/* ---- node.c ---- */
/* Send a frame with its payload, or keep it until there is room; all frames kept go before any other. */
void sk__node_send(sk__node *self, const sk_link_frame *frame);
/* False: the way is full, nothing happened. */
bool sk__node_try_send(sk__node *self, const sk_link_frame *frame);
/* End the session for a reason of its own; the first one counts. */
void sk__node_fail(sk__node *self, sk__node_end end, const sk_error *err);

/* ---- node_welcome.c ---- */
/* What this host says of itself. */
SK_NODISCARD sk_status sk__node_write_join(sk__node *self, sk_error *reterr);
/* Take the head's WELCOME up: plugins are checked, the workers' environment is made. SK_ECONFIG: this host cannot run
 * what the head has. */
SK_NODISCARD sk_status sk__node_read_welcome(sk__node *self, const sk_link_frame *frame, sk_error *reterr);
void sk__node_forget_welcome(sk__node *self);

/* ---- node_worker.c ---- */
/* Frames of the head about a line. */
void sk__node_on_spawn(sk__node *self, const sk_link_frame *frame);
void sk__node_on_signal(sk__node *self, const sk_link_frame *frame);
void sk__node_on_cancel(sk__node *self, const sk_link_frame *frame);
void sk__node_on_stopping(sk__node *self);
void sk__node_on_mail(sk__node *self, const sk_link_frame *frame);
/* The program is over: those that the head has not told to stop are told now. */
void sk__node_stop_workers(sk__node *self);
/* What the workers have to say, and how they ended, goes to the head: some of each one's. */
void sk__node_serve_workers(sk__node *self);
/* The tables of the board. */
void sk__node_show(sk__node *self);
void sk__node_forget_workers(sk__node *self); /* after the supervisor's end */

#endif
