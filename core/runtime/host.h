/* host: the further hosts of a runtime as the driver sees them: who they are, whether they live, what lies on them.
 * Host 0 is the driver's own, which is no node; its processes are the driver's children.
 *
 * One thread, `skiff-hosts`, owns the link (core/transport/link.h). It takes the driver's lock for each frame that comes
 * and each that goes, and otherwise sleeps. What is to be sent waits in its host's queue: a host whose way is full keeps
 * its own queue waiting and nobody else's. Bytes of the store are copied when they are sent, not before.
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

/* Something that waits to be sent. */
typedef struct sk__parcel_out {
    struct sk__parcel_out *next;
    sk_link_frame          frame;  /* its payload points to `bytes`; for a copy (COPY, then CHUNKs) there is none       */
    sk_extent              extent; /* size > 0: bytes of the store, read when they are sent                           */
    uint64_t               at;     /* of the extent: the next byte to send; SK__COPY_NOT_BEGUN: COPY itself is to come */
    size_t                 size;
    _Alignas(16) uint8_t   bytes[];
} sk__parcel_out;
#define SK__COPY_NOT_BEGUN UINT64_MAX

/* An extent of the store that lies on a host too. */
typedef struct sk__copy {
    uint64_t offset, size; /* of the extent; size 0: a free slot                                                       */
    uint64_t object;       /* whose value it is; 0: a blob, or what a worker fills                                     */
    uint64_t used;         /* when, by a counter                                                                       */
} sk__copy;

typedef struct sk__host {
    sk__driver     *d;
    int             number; /* 1 ..; also its row on the board and its pool of resources                               */
    uint64_t        session;
    sk__host_state  state;
    char            name[SK_HOST_NAME]; /* unique: a second one of the same name is "name-2"                           */
    int             pid;    /* of the node, on its host                                                                */
    int             n_peers, n_cpus;
    int64_t         heard_ns, told_ns;  /* the last frame from it; the last BEAT to it                                 */
    int64_t         joined_ns;
    int64_t         beat_a, beat_at_ns; /* of its last BEAT, to be echoed                                              */
    int64_t         round_trip_ns, clock_offset_ns; /* ours - its; of the shortest round trip lately                   */
    sk_link_order   order;
    sk__parcel_out *out, *out_last;
    size_t          out_bytes; /* that wait, copies not counted                                                        */
    sk__copy       *copies;    /* open addressing by offset */
    size_t          n_copies, copies_cap;
    uint64_t        copied_bytes, store_bytes; /* of copies now; of its store                                          */
    uint64_t        n_frames_in, n_frames_out, bytes_in, bytes_out;
} sk__host;

typedef struct sk__hosts sk__hosts; /* host_link.c */

/* Listen and start the thread; the driver was given a cluster. */
SK_NODISCARD sk_status sk__hosts_create(sk__driver *d, const sk_cluster_params *params, sk_error *reterr);
/* Say BYE to all, give them a moment, join the thread. Without the lock. */
void sk__hosts_destroy(sk__driver *d);
/* The host of that number that can be used now, or NULL. */
sk__host *sk__host_at(const sk__driver *d, int number);
int sk__hosts_n_up(const sk__driver *d);
const char *sk__hosts_endpoint(const sk__driver *d);
/* Queue a frame (kind, line, generation, a, b); the payload is copied. */
void sk__host_send(sk__host *self, const sk_link_frame *frame, const void *payload, size_t size);
/* It is given up: its workers are dead, its share of the resources is gone. `why` reads "was lost: no sign of life for
 * 4.1 s". */
void sk__host_end(sk__host *self, const char *why);

/* ---- host_copies.c --------------------------------------------------------------------------------------- */
/* See to it that the host has, or will have before what is sent next, the bytes of an extent of the store. `object` 0:
 * not a value. False: its store has no room and nothing there can go (what is pinned stays). */
bool sk__host_need_copy(sk__host *self, sk_extent extent, uint64_t object);
/* A worker there was given an extent to fill: it makes its own copy. */
bool sk__host_note_copy(sk__host *self, sk_extent extent);
bool sk__host_has_copy(const sk__host *self, uint64_t offset);
/* The store's memory at that extent is given up: copies go everywhere. The store calls it for every extent that is
 * freed or spilled (sk_store_on_free). */
void sk__hosts_on_free(void *driver, sk_extent extent);

/* ---- host_peer.c: what peer.c does for a peer with a host ------------------------------------------------- */
SK_NODISCARD sk_status sk__host_spawn(sk__peer *peer, sk_error *reterr);
void sk__host_signal(sk__peer *peer, int signal_number);
/* One message of message.h, whose extents the host needs first. False: no room in its store. */
bool sk__host_post(sk__peer *peer, const void *message, size_t size);
bool sk__host_has_room(const sk__peer *peer); /* for more jobs: its queue is short */
void sk__host_cancel(sk__peer *peer, uint64_t job);

#endif
