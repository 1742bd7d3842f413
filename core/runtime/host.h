/* host: the further hosts of a runtime as the driver sees them: who they are, whether they live, what lies on them.
 * Host 0 is the driver's own, which is no node; its processes are the driver's children.
 *
 * One thread, `skiff-hosts`, owns the link (core/transport/link.h). It takes the driver's lock for each frame that
 * comes and for those that go, and otherwise sleeps. What is to be sent waits in its host's queue: a host whose way is
 * full keeps its own queue waiting and nobody else's. Bytes of the store are copied when they are sent, not before.
 *
 *   host.c         the table: join, refuse, lost, leave; beats; what people see
 *   host_link.c    the thread: sending queues, receiving frames
 *   host_copies.c  which extents of the store have a copy on which host
 *   host_peer.c    worker processes on hosts: spawning, messages, signals, death
 *
 * Threads: all functions here are called with the driver's lock held, but where they say otherwise. */
#ifndef SK_RUNTIME_HOST_H
#define SK_RUNTIME_HOST_H
#include "core/runtime/peer.h"
#include "core/runtime/wire.h"

enum { SK__HOSTS_MAX = SK_BOARD_HOSTS }; /* with number 0, which is not in the table */

typedef enum sk__host_state { SK__HOST_JOINING, SK__HOST_UP, SK__HOST_GONE } sk__host_state;

/* Something that waits to be sent: a frame with its payload, or an extent: COPY, then its CHUNKs, whose bytes are read
 * when they are sent. */
typedef struct sk__parcel_out {
    struct sk__parcel_out *next;
    struct sk__copy       *copy;   /* an extent's; NULL: of a frame, or the extent is freed (the rest is not sent)      */
    sk_link_frame          frame;  /* of an extent: COPY                                                              */
    uint64_t               at;     /* of an extent: the next byte to send                                             */
    bool                   is_extent, has_begun; /* begun: COPY is sent                                               */
    size_t                 size;
    _Alignas(16) uint8_t   bytes[];
} sk__parcel_out;

/* An extent of the store that lies on a host too. */
typedef struct sk__copy {
    struct sk__copy *next;           /* of the same bucket                                                            */
    struct sk__copy *older, *newer;  /* of the same host, by use                                                      */
    struct sk__host *host;
    sk_extent        extent;
    uint64_t         object;         /* whose value it is; 0: a blob, or what a worker fills                          */
    sk__parcel_out  *parcel;         /* while it is not sent                                                          */
} sk__copy;

typedef struct sk__host {
    sk__driver     *d;
    int             number; /* 1 ..; also its row on the board and its pool of resources                              */
    uint64_t        session;
    sk__host_state  state;
    char            name[SK_HOST_NAME]; /* unique: a second one of the same name is "name-2"                          */
    int             pid;    /* of the node, on its host                                                               */
    int             n_peers, n_bad_starts /* in a row */;
    bool            is_doomed; /* it missed something, and is to be ended                                             */
    int64_t         n_sent; /* jobs that its workers have                                                             */
    int64_t         heard_ns, told_ns;  /* the last frame from it; the last BEAT to it                                */
    int64_t         deaf_ns;            /* since when it is not connected; 0: it is                                   */
    int64_t         beat_a, beat_at_ns; /* of its last BEAT, to be echoed                                             */
    int64_t         round_trip_ns, clock_offset_ns; /* of the shortest round trip lately; ours - its                  */
    sk_link_order   order;
    sk__parcel_out *out, *out_last;
    uint64_t        out_bytes;          /* that wait, with those of copies                                            */
    sk__copy       *oldest, *newest;    /* copies there, by use                                                       */
    size_t          n_copies;
    uint64_t        copied_bytes, store_bytes; /* of copies, as they lie there; of its store                          */
    uint64_t        n_frames_in, n_frames_out, bytes_in, bytes_out;
    sk_wire_join    join;               /* what it said                                                               */
} sk__host;

typedef struct sk__hosts {
    sk__driver *d;
    sk_link    *link;
    pthread_t   thread;
    bool        is_awake;      /* the thread: it looks at the queues before it sleeps                                 */
    bool        stop;          /* end when all is sent, or at stop_ns                                                 */
    int64_t     stop_ns;
    char        build[SK_BUILD_TEXT];
    uint8_t    *welcome;       /* payload of WELCOME, packed                                                          */
    size_t      welcome_size;
    sk__host   *at[SK__HOSTS_MAX]; /* by number                                                                       */
    uint64_t    sessions[SK__HOSTS_MAX];          /* theirs, to be found; 0: none                                     */
    uint64_t    has_out[(SK__HOSTS_MAX + 63) / 64]; /* a bit for each: something waits to be sent to it               */
    int         n;             /* highest number in use + 1                                                           */
    int         n_up;
    sk__copy  **buckets;       /* of all copies, by offset                                                            */
    size_t      n_buckets, n_copies;
    int64_t     refused_ns;    /* when the last ones were, to send few                                                */
    int         n_refused_now;
    int64_t     ticked_ns, shown_ns;
    uint64_t    n_frames;      /* that changed something, ever                                                        */
    char        last_refusal[240]; /* of a host that wanted to join; "": none                                         */
} sk__hosts;

/* Listen and start the thread; the driver was given a cluster. */
SK_NODISCARD sk_status sk__hosts_create(sk__driver *d, const sk_cluster_params *params, sk_error *reterr);
/* Say BYE to all, give them a moment, join the thread. Without the lock. */
void sk__hosts_destroy(sk__driver *d);
/* The program is ending: workers there see that they are cancelled. */
void sk__hosts_stop(sk__driver *d);
/* The host of that number that can be used now, or NULL. */
sk__host *sk__host_at(const sk__driver *d, int number);
int sk__hosts_n_up(const sk__driver *d);
const char *sk__hosts_endpoint(const sk__driver *d); /* "" without a cluster */
/* skiff.h for the driver's program. Takes the lock. */
SK_NODISCARD sk_status sk__program_wait_hosts(sk__driver *d, int n, int timeout_ms, int *ret_n, sk_error *reterr);

/* ---- host_link.c: the thread ----------------------------------------------------------------------------- */
/* Queue a frame (kind, line, generation, a, b); the payload is copied. Without memory for it the host is lost soon. */
void sk__host_send(sk__host *self, const sk_link_frame *frame, const void *payload, size_t size);
/* The same in two steps, for a frame about a worker: fill parcel->bytes, then push. NULL: no memory. */
sk__parcel_out *sk__host_parcel(const sk__peer *peer, sk_wire_kind kind, size_t size, sk_error *reterr);
void sk__host_push(sk__host *self, sk__parcel_out *parcel);
/* Past the queue, at once, by the thread that owns the link; SK_ELIMIT, SK_EDEAD as of sk_link_send. */
SK_NODISCARD sk_status sk__host_send_now(sk__host *self, sk_link_frame *frame, sk_error *reterr);
void sk__host_free_queue(sk__host *self);

/* ---- host.c: what the thread calls for frames and time --------------------------------------------------- */
/* A frame of a host, or of a session that is none. */
void sk__hosts_on_frame(sk__hosts *self, const sk_link_frame *frame, int64_t now_ns);
void sk__hosts_on_time(sk__hosts *self, int64_t now_ns); /* beats, lost ones, the board */
/* It is given up: its workers are dead, its share of the resources is gone; it is freed. `why` reads "was lost (no sign
 * of life for 4.1 s)". By the thread alone, since its callers must not hold one of its peers. */
void sk__host_end(sk__host *self, sk_board_host_state state, const char *why);
void sk__host_show(sk__host *self); /* on the board */

/* ---- host_copies.c --------------------------------------------------------------------------------------- */
/* See to it that the host has, or will have before what is sent next, the bytes of an extent of the store. `object` 0:
 * not a value. SK_ELIMIT names host, asked and store: nothing there can go now (what is pinned stays). */
SK_NODISCARD sk_status sk__host_need_copy(sk__host *self, sk_extent extent, uint64_t object, sk_error *reterr);
/* A worker there was given an extent to fill: it makes its own copy. */
SK_NODISCARD sk_status sk__host_note_copy(sk__host *self, sk_extent extent, sk_error *reterr);
bool sk__host_has_copy(const sk__host *self, uint64_t offset);
/* What a worker filled is an object's value now: its copy may leave when nobody reads it. */
void sk__hosts_name_copies(sk__driver *d, sk_extent extent, uint64_t object);
/* The store's memory at that extent is given up: copies go everywhere. The store calls it for every extent that is
 * freed or spilled (sk_store_on_free). */
void sk__hosts_on_free(void *driver, sk_extent extent);
void sk__host_free_copies(sk__host *self);

/* ---- host_peer.c: what peer.c does for a peer with a host ------------------------------------------------- */
SK_NODISCARD sk_status sk__host_spawn(sk__peer *peer, sk_error *reterr);
void sk__host_signal(sk__peer *peer, int signal_number);
/* One message of message.h; what it names in the store has a copy there. */
void sk__host_post(sk__peer *peer, const sk_message *head, const void *payload, size_t size);
bool sk__host_has_room(const sk__peer *peer); /* for more jobs */
void sk__host_cancel(sk__peer *peer, uint64_t job);
void sk__host_show_run(sk__peer *peer); /* on the board: what it runs, as far as is known */
/* When something began, by the worker's word in its host's clock [ns]; never later than now - duration. */
int64_t sk__host_to_our_clock(const sk__host *self, int64_t start_ns, int64_t duration_ns);
/* Frames of the kinds MAIL, DEATH and CHUNK. SK_ECORRUPT: it breaks the rules, and is to be ended. */
SK_NODISCARD sk_status sk__host_on_peer_frame(sk__host *self, const sk_link_frame *frame, sk_error *reterr);
/* All its workers are dead. */
void sk__host_end_peers(sk__host *self, const char *why);

#endif
