/* ring: messages from one writer to one reader through shared memory, and the bell that wakes a sleeper. A writer
 * that is killed in the middle of a message has published nothing of it. The reader believes nothing: every length
 * is checked before it is used, so a writer gone mad costs its own ring and no more.
 *
 * A message is contiguous and 16-byte aligned. 200 ns from end to end when both sides look; no system call unless
 * the other side sleeps.
 *
 * Threads: one writer thread and one reader thread at a time, in any two processes that map the memory. */
#ifndef SK_TRANSPORT_RING_H
#define SK_TRANSPORT_RING_H
#include "core/base/status.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SK_RING_BYTES       ((size_t)256 << 10)
#define SK_RING_MESSAGE_MAX ((size_t)64 << 10) /* [bytes] */

/* ---- bell: an event count over a futex ------------------------------------------------------------------- */
/* Zeroed memory is a bell. Only the sleeper clears what it has set, so no wake-up is lost:
 *   sleeper: ticket = prepare; look once more; wait(ticket) or, if there was something, cancel.
 *   waker:   publish; ring. */
typedef struct sk_bell {
    _Alignas(64) _Atomic uint32_t count; /* futex word                    */
    _Atomic uint32_t n_sleepers;
    _Atomic uint32_t newest;     /* ticket of the sleeper that lay down last */
    uint8_t          pad[52];
} sk_bell;
uint32_t sk_bell_prepare(sk_bell *self);
void     sk_bell_cancel(sk_bell *self);
/* Sleep until rung after `ticket` was taken, a signal, or timeout_ns (negative: none). */
void sk_bell_wait(sk_bell *self, uint32_t ticket, int64_t timeout_ns);
/* Wakes all sleepers. A fence and a load when nobody sleeps, or those who do are being woken already. */
void sk_bell_ring(sk_bell *self);
/* The same without looking: for who must be heard even if another waker was killed in the middle of ringing. */
void sk_bell_ring_again(sk_bell *self);

/* ---- the ring itself ------------------------------------------------------------------------------------- */
/* Zeroed memory is an empty ring. */
typedef struct sk_ring {
    _Alignas(64) _Atomic uint64_t tail; /* bytes ever published                  */
    _Alignas(64) _Atomic uint64_t head; /* bytes ever consumed                   */
    _Atomic uint32_t writer_waits;      /* ring `room` when head moves           */
    sk_bell room;
    _Alignas(64) uint8_t bytes[SK_RING_BYTES];
} sk_ring;

typedef struct sk_ring_writer {
    sk_ring *ring;
    uint64_t tail, head_seen;
    uint64_t reserved; /* bytes of the message being written, padding included */
} sk_ring_writer;
void sk_ring_writer_init(sk_ring_writer *self, sk_ring *ring); /* goes on where the ring is */
/* Room for a message of up to `size` (<= SK_RING_MESSAGE_MAX) bytes, or NULL: full. */
void *sk_ring_reserve(sk_ring_writer *self, size_t size);
/* Publish the first `size` (<= reserved) bytes of it. */
void sk_ring_commit(sk_ring_writer *self, size_t size);
/* Is there room for one of `size`? Looks at the reader's progress only when needed. */
bool sk_ring_has_room(sk_ring_writer *self, size_t size);
/* Sleep until the reader has consumed something, or timeout_ns. Nothing may be reserved. */
void sk_ring_wait_room(sk_ring_writer *self, int64_t timeout_ns);

typedef struct sk_ring_reader {
    sk_ring *ring;
    uint64_t head, tail_seen, head_told;
    uint64_t peeked; /* bytes of the message of the last peek, padding included */
    bool     damaged;
} sk_ring_reader;
void sk_ring_reader_init(sk_ring_reader *self, sk_ring *ring);
/* The next message, borrowed until pop. SK_ENOTFOUND (without text): none. SK_ECORRUPT: the ring is damaged for
 * good. */
SK_NODISCARD sk_status sk_ring_peek(sk_ring_reader *self, const void **ret_data, size_t *ret_size, sk_error *reterr);
/* Done with the message of the last peek. Tells the writer (and wakes it, if it waits) after every eighth of the
 * ring, and whenever the ring is empty. */
void sk_ring_pop(sk_ring_reader *self);
/* Is there something? Cheap. Not in a ring that was found damaged. */
bool sk_ring_has_mail(sk_ring_reader *self);

#endif
