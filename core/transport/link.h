/* link: messages between hosts over ZeroMQ: one ROUTER (the head) and many DEALERs (nodes), over TCP, encrypted and
 * authenticated by CURVE. libzmq is opened when the first one is made, so a program on one host does not load it.
 *
 * A message is one frame: a fixed head of 64 bytes and a payload. In each direction a session's frames are numbered
 * from 0; a frame that is missing (its connection broke under it) ends the session: ZeroMQ connects again by itself,
 * but what it loses it does not tell.
 *
 *   u32 magic | u16 version | u16 kind | u64 seq | u64 session | u32 line | u32 generation | u64 a | u64 b
 *   | u32 size of the payload | 12 bytes 0 | payload                                       little-endian
 *
 * A session is a random number that a node draws when it joins; it is also how the head names the node. Kinds and what
 * they carry are core/runtime/wire.h's business.
 *
 * What does not fit (size, magic, version, numbers, an unknown session, a wrong key) costs the peer that sent it and
 * nobody else, and is told to `on_trouble` once per peer and second at most.
 *
 * Threads: a link belongs to one thread at a time, but sk_link_wake. Inside there are libzmq's threads, and the head's
 * has one that answers who may come in (ZAP, RFC 27). */
#ifndef SK_TRANSPORT_LINK_H
#define SK_TRANSPORT_LINK_H
#include "core/transport/keys.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SK_LINK_HEAD_SIZE   64
#define SK_LINK_PAYLOAD_MAX ((size_t)96 << 10) /* [bytes] */
#define SK_LINK_VERSION     1

typedef struct sk_link sk_link;

typedef struct sk_link_frame {
    uint16_t    kind;
    uint64_t    session;
    uint64_t    seq;        /* written by send                                */
    uint32_t    line, generation;
    uint64_t    a, b;
    const void *payload;    /* received: 16-byte aligned, borrowed until the next recv */
    size_t      size;
} sk_link_frame;

/* Take a message apart: everything but kind, seq and session, which are their readers' business. SK_ECORRUPT,
 * SK_EVERSION (names both versions). `bytes` stays borrowed. Pure; fuzzed. */
SK_NODISCARD sk_status sk_link_parse(const void *bytes, size_t size, sk_link_frame *ret_frame, sk_error *reterr);
void sk_link_write_head(const sk_link_frame *frame, uint8_t ret_head[SK_LINK_HEAD_SIZE]);

typedef struct sk_link_params {
    const sk_cluster_key *key; /* NULL: neither encrypted nor authenticated; only on loopback, refused elsewhere */
    const char *endpoint;      /* head: where to listen, tcp://ADDRESS:PORT (port 0 or *: any free one);
                                  node: where the head is                                                       */
    uint64_t    session;       /* node: its own, not 0                                                          */
    void (*on_trouble)(void *arg, const char *text); /* nullable; called by the thread that uses the link       */
    void       *arg;
} sk_link_params;

/* The head's end, listening. SK_EIO names the endpoint and what is wrong with it ("address already in use"). Caller
 * destroys. */
SK_NODISCARD sk_status sk_link_listen(const sk_link_params *params, sk_link **ret_link, sk_error *reterr);
/* A node's end. Connects in the background and again and again, unless the head refuses its key or encrypts where it
 * does not: then it stays apart, and on_trouble hears why. What is sent before it is connected waits. SK_EINVAL: the
 * endpoint does not read so, or may not be used without a key. Caller destroys. */
SK_NODISCARD sk_status sk_link_connect(const sk_link_params *params, sk_link **ret_link, sk_error *reterr);
/* Frames on their way get up to linger_ms. NULL is fine. */
void sk_link_destroy(sk_link **self_p, int linger_ms);
/* Where it listens, with the port it got. Borrowed. */
const char *sk_link_endpoint(const sk_link *self);

/* The numbering of one session's frames in both directions; zeroed memory is a new session. The head keeps one for each
 * node, a node has one. */
typedef struct sk_link_order {
    uint64_t n_sent, n_received;
} sk_link_order;
/* Send without waiting; the payload is copied, frame->seq comes from `order`. SK_ELIMIT (without text): the way to that
 * peer is full, ask again later (nothing wakes the caller then). SK_EDEAD: it is not connected. Where it fails nothing
 * was sent. */
SK_NODISCARD sk_status sk_link_send(sk_link *self, const sk_link_frame *frame, sk_link_order *order, sk_error *reterr);
/* The next frame that is well formed. SK_ENOTFOUND (without text): none now, or many malformed ones came first: wait.
 * The caller checks its number by sk_link_order_take. */
SK_NODISCARD sk_status sk_link_recv(sk_link *self, sk_link_frame *ret_frame, sk_error *reterr);
/* True: `seq` is the next one. False: something was lost. */
bool sk_link_order_take(sk_link_order *self, uint64_t seq);
/* Sleep until a frame may be there, sk_link_wake, or timeout_ms. */
void sk_link_wait(sk_link *self, int timeout_ms);
/* End the wait of another thread, or the next one. Any thread. Cheap while nobody sleeps. */
void sk_link_wake(sk_link *self);

/* What has gone through, ever. */
typedef struct sk_link_stats {
    uint64_t n_sent, n_received, bytes_sent, bytes_received; /* frames; bytes with heads */
    uint64_t n_refused;   /* connections without the right key; of a node: times that it was kept out */
    uint64_t n_malformed; /* frames that were dropped            */
} sk_link_stats;
sk_link_stats sk_link_get_stats(const sk_link *self);

#endif
