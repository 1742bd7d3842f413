/* socket: the little of ZeroMQ that skiff uses. One ROUTER (the driver) speaks with many DEALERs (workers)
 * in messages of one fixed head and one payload. A receiver checks every field before it believes any.
 *
 * The wire (one ZeroMQ frame, little-endian, the same in inproc and ipc):
 *   u32 magic | u16 version | u16 kind | u64 actor id | u64 call id | i32 method | i32 status
 *   | u64 payload bytes | payload
 *
 * Threads: a socket belongs to one thread at a time; pthread_create may hand it over. A context may be used
 * by all. */
#ifndef SK_TRANSPORT_SOCKET_H
#define SK_TRANSPORT_SOCKET_H
#include "core/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SK_FRAME_PAYLOAD_MAX ((size_t)64 << 20) /* larger data belongs into blocks [bytes] */
#define SK_FRAME_HEAD_SIZE   40                 /* [bytes] */

typedef enum sk_frame_kind {
    SK_FRAME_HELLO = 1,  /* worker to driver: connected                                          */
    SK_FRAME_CREATE = 2, /* driver to worker: make an actor; payload "class\0name\0" + argument  */
    SK_FRAME_READY = 3,  /* worker to driver: it is made, or status + text why not               */
    SK_FRAME_CALL = 4,   /* driver to worker: run a method; payload is its input                 */
    SK_FRAME_REPLY = 5,  /* worker to driver: its output, or status + text                       */
    SK_FRAME_STOP = 6,   /* driver to worker: destroy your actors and end                        */
    SK_FRAME_BYE = 7     /* worker to driver: done so                                            */
} sk_frame_kind;

typedef struct sk_frame {
    sk_frame_kind kind;
    uint64_t      actor_id; /* 0 where it is about the worker                        */
    uint64_t      call_id;  /* CALL, REPLY                                           */
    int32_t       method;   /* CALL, REPLY                                           */
    sk_status     status;   /* READY, REPLY: when not SK_OK the payload is text      */
    const void   *payload;  /* borrowed until the next receive; 16-byte aligned      */
    size_t        size;     /* of the payload [bytes], <= SK_FRAME_PAYLOAD_MAX       */
} sk_frame;

/* Take a message apart. SK_ECORRUPT or SK_EVERSION says which field is wrong. `bytes` stays borrowed. */
SK_NODISCARD sk_status sk_frame_parse(const void *bytes, size_t size, sk_frame *ret_frame, sk_error *reterr);
/* Write the head of `frame` into ret_head[SK_FRAME_HEAD_SIZE]. */
void sk_frame_write_head(const sk_frame *frame, uint8_t *ret_head);
/* Others must not be sent: the receiver would drop the message. */
bool sk_frame_status_is_known(int32_t value);

/* ---- context: shared by the sockets of a process, counted ------------------------------------------- */
typedef struct sk_messenger sk_messenger;
/* Caller releases. */
SK_NODISCARD sk_status sk_messenger_create(sk_messenger **ret_messenger, sk_error *reterr);
sk_messenger          *sk_messenger_acquire(sk_messenger *self);
/* Null *self_p; the last one ends the context, after all its sockets are destroyed. NULL is fine. */
void sk_messenger_release(sk_messenger **self_p);
/* Make every socket of the context refuse to wait from now on. */
void sk_messenger_shutdown(sk_messenger *self);

/* ---- sockets ---------------------------------------------------------------------------------------- */
typedef struct sk_socket sk_socket;
/* The driver's end. Caller destroys; `messenger` must outlive it. */
SK_NODISCARD sk_status sk_socket_create_router(sk_messenger *messenger, sk_socket **ret_socket,
                                               sk_error *reterr);
/* A worker's end, known to the router as `own_id` (not 0), connected to `endpoint`. Caller destroys. */
SK_NODISCARD sk_status sk_socket_create_dealer(sk_messenger *messenger, uint64_t own_id, const char *endpoint,
                                               sk_socket **ret_socket, sk_error *reterr);
/* Sends of a dealer that are still under way get up to a second; those of a router are dropped. */
void sk_socket_destroy(sk_socket **self_p);
/* Listen at inproc://NAME or ipc://@NAME (abstract; only this user's processes may connect). */
SK_NODISCARD sk_status sk_socket_bind(sk_socket *self, const char *endpoint, sk_error *reterr);

/* Send without waiting; the payload is copied. `peer`: whom a router means, 0 for a dealer.
 * SK_EDEAD: the peer is not connected; SK_ELIMIT: the payload is too large. */
SK_NODISCARD sk_status sk_socket_send(sk_socket *self, uint64_t peer, const sk_frame *frame,
                                      sk_error *reterr);

/* Receive one message without waiting. SK_ENOTFOUND (without text): there is none. SK_ECORRUPT, SK_EVERSION:
 * it was malformed and is dropped. SK_EINTERRUPTED: the context was shut down.
 * *ret_peer (nullable) is who sent it to a router; 0: nobody we know. */
SK_NODISCARD sk_status sk_socket_recv(sk_socket *self, uint64_t *ret_peer, sk_frame *ret_frame,
                                      sk_error *reterr);
/* Sleep until a message may be there, `fd` (-1: none) is readable, a signal came, or time is up (-1: never).
 * First looks for a few microseconds without sleeping, since waking up costs more than most waits. False: the
 * context was shut down. */
bool sk_socket_wait(sk_socket *self, int fd, int timeout_ms);

#endif
