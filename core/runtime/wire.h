/* wire: what the head of a cluster and its nodes say to each other, in frames of core/transport/link.h.
 *
 * The *head* is the driver of a runtime that was given a cluster; a *node* is a process (`skiff node`) on each further
 * host. A worker process on a node is an ordinary one: it speaks through a line of its node's own board and reads the
 * node's own store, and does not know where it is. The node carries its messages (message.h) to the head and back and
 * keeps, for each extent of the head's store that is used on its host, one *copy* in its own store; it alone translates.
 *
 *   invariant   A node has a copy of the extent at offset H exactly when the head's table says so. Frames arrive in
 *               order, so DROP of an old extent always comes before COPY of a new one at the same place.
 *   down        A message to a worker that names extents (packed records, blobs) is sent after their copies.
 *   up          A worker asks for memory as always (ALLOC); the answer makes an empty copy, which the worker fills. When
 *               a message of it gives that extent away, the node first sends the bytes (CHUNKs), then the message with
 *               the head's own extent in it. So every value lies in the head's store as soon as it exists: a host that
 *               dies takes nothing with it but what was under way.
 *
 * A worker on a node has the same line number in both boards; `generation` tells its uses apart: frames about a line
 * with another generation are of a worker that is gone, and are passed over.
 *
 * Life: JOIN -> WELCOME (or REFUSE) -> READY (or LEAVE, saying why this host cannot: a plugin is missing or differs).
 * Both sides send BEAT every SK_BEAT_MS; any frame counts as a sign of life. The head gives a node up after
 * SK_HOST_LOST_MS of silence; its workers are dead then, whatever they do. A node that hears nothing for
 * SK_HEAD_LOST_MS kills its workers and ends (or joins anew). A node that was given up and comes back is told
 * REFUSE a = 1 and joins anew, with a new session and without workers.
 *
 * Threads: free of state. */
#ifndef SK_RUNTIME_WIRE_H
#define SK_RUNTIME_WIRE_H
#include "core/runtime/message.h"
#include "core/transport/link.h"

enum {
    SK_BEAT_MS = 500,
    SK_HOST_LOST_MS = 4000,  /* noticed within 5 s                    */
    SK_HEAD_LOST_MS = 8000,  /* ended within 10 s                     */
    SK_CHUNK_BYTES = 64 << 10,
    SK_HOST_NAME = 64,
    SK_BUILD_TEXT = 160,
    SK_WIRE_RESOURCES_MAX = 14,
    SK_WIRE_TEXT_MAX = 1024, /* of LEAVE, REFUSE, BYE; without a zero byte, may be empty */
};

typedef enum sk_wire_kind {
    /* node to head */
    SK_WIRE_JOIN = 1, /* payload: sk_wire_join                                                                      */
    SK_WIRE_READY,    /* I can run what you have                                                                     */
    SK_WIRE_LEAVE,    /* payload: text why; the session is over                                                      */
    SK_WIRE_DEATH,    /* line, generation; a = n_started; payload: sk_wire_death                                     */
    /* head to node */
    SK_WIRE_WELCOME,  /* a = number of the host (1 ..); payload: packed VALUE records: the head's name, n plugins as
                         a decimal text, per plugin its absolute path and its 64 hex digits of BLAKE2b-256, then
                         "NAME=VALUE" for the workers' environment, to the end                                       */
    SK_WIRE_REFUSE,   /* payload: text why; a = 1: join anew                                                         */
    SK_WIRE_SPAWN,    /* line, generation; payload: the worker's name (no zero byte)                                 */
    SK_WIRE_SIGNAL,   /* line, generation; a = signal                                                                */
    SK_WIRE_CANCEL,   /* line, generation; a = job: into the line's list of cancelled ones                           */
    SK_WIRE_STOPPING, /* the program is ending: set `stopping` of every line                                         */
    SK_WIRE_COPY,     /* a = offset, b = size of an extent: make room for it; its CHUNKs follow                      */
    SK_WIRE_DROP,     /* a = offset: the copy is not needed any more                                                 */
    SK_WIRE_BYE,      /* payload: text why; end your workers and yourself                                            */
    /* both ways */
    SK_WIRE_BEAT,     /* a = the sender's clock [ns]; b = the a of the last BEAT it got, + the ns since (0: none yet)
                         so that the other can tell the round trip                                                   */
    SK_WIRE_MAIL,     /* line, generation; up: a = n_started; payload: one message of message.h                       */
    SK_WIRE_CHUNK,    /* a = offset of the extent, b = position in it; payload: up to SK_CHUNK_BYTES. Up: line,
                         generation of the worker that it was allocated for                                          */
    SK_WIRE_N_KINDS
} sk_wire_kind;

typedef struct sk_wire_join {
    char     name[SK_HOST_NAME];   /* of the host, for people                     */
    char     build[SK_BUILD_TEXT]; /* must be the head's, letter by letter        */
    uint64_t store_bytes;          /* of the node's store                         */
    int32_t  pid, n_resources;
    sk_resource_wire resources[SK_WIRE_RESOURCES_MAX]; /* cpu, gpu, memory, and others; absolute, not negative */
} sk_wire_join;

typedef struct sk_wire_death {
    int32_t pid, exit_status; /* as in sk_death */
    char    how[80];
} sk_wire_death;

/* Is the frame of a kind that this side may get, and does its payload fit that? SK_ECORRUPT says what does not. All
 * texts in it are terminated after that, all numbers in range; packed records and the message of a MAIL are looked at by
 * who reads them. Fuzzed. */
typedef enum sk_wire_to { SK_TO_HEAD, SK_TO_NODE } sk_wire_to;
SK_NODISCARD sk_status sk_wire_check(const sk_link_frame *frame, sk_wire_to to, sk_error *reterr);
const char *sk_wire_kind_text(int kind); /* "MAIL"; for messages */

/* ---- extents in messages --------------------------------------------------------------------------------- */
/* Call `on_extent` for every extent that a message names, in place, so that it can be rewritten: those of its packed
 * arguments, answers or value, of a FREE and (down) of the ANSWER to an ALLOC, which the caller tells by
 * `answers_alloc`. `is_blob`: the extent holds packed records itself, which the caller goes through with
 * sk_wire_each_packed once its bytes are at hand (before they are sent up, after they have come down); it is the only
 * record of its message, and there is none within one. `message` is writable, 16-byte aligned, and has been through
 * sk_message_parse. A callback's failure ends it and is given back. */
typedef sk_status (*sk_wire_on_extent)(void *arg, sk_extent *extent, bool is_blob, sk_error *reterr);
SK_NODISCARD sk_status sk_wire_each_extent(void *message, size_t size, sk_message_to to, bool answers_alloc,
                                           sk_wire_on_extent on_extent, void *arg, sk_error *reterr);
SK_NODISCARD sk_status sk_wire_each_packed(void *packed, size_t size, sk_wire_on_extent on_extent, void *arg,
                                           sk_error *reterr);

#endif
