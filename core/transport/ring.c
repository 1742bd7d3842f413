#include "core/transport/ring.h"
#include "core/transport/fence.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MASK        ((uint64_t)SK_RING_BYTES - 1)
#define STEP        ((uint64_t)SK_RING_BYTES / 8) /* the writer hears of every so many consumed bytes */
#define RECORD_HEAD ((uint64_t)16)

/* A record: one word (size of the message in the low half, a tag in the high one), 8 unused bytes, the message,
 * padding to 16. A message that would not fit before the end of the ring lies at its start, behind a wrap mark at
 * the old place. */
#define TAG_MESSAGE ((uint64_t)0x4d474e52 << 32) /* "RNGM" */
#define TAG_MASK    ((uint64_t)0xffffffff << 32)
#define WRAP_MARK   ((uint64_t)0x57474e52 << 32) /* "RNGW", size 0 */

_Static_assert((SK_RING_BYTES & (SK_RING_BYTES - 1)) == 0, "positions are taken by a mask");
/* A message and the piece in front of a wrap take less than 5/8, and less than 1/8 is consumed and not told. So when a
 * writer finds no room, more than 2/8 are unread: the reader passes a point of telling while it reads them. */
_Static_assert(2 * (SK_RING_MESSAGE_MAX + RECORD_HEAD) <= 5 * STEP, "a waiting writer is always woken");

static inline uint64_t record_bytes(size_t size) {
    return RECORD_HEAD + (((uint64_t)size + 15) & ~UINT64_C(15));
}

/* ---- bell ------------------------------------------------------------------------------------------------ */
/* Between processes, so not FUTEX_PRIVATE. The kernel is handed the word's address only. */
static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout) {
    return syscall(SYS_futex, (uint32_t *)word, op, value, timeout, NULL, 0);
}

uint32_t sk_bell_prepare(sk_bell *self) {
    atomic_fetch_add_explicit(&self->n_sleepers, 1, memory_order_seq_cst);
    uint32_t ticket = sk__load32_after_stores(&self->count);
    uint32_t newest = atomic_load_explicit(&self->newest, memory_order_relaxed);
    while ((int32_t)(ticket - newest) > 0 &&
           !atomic_compare_exchange_weak_explicit(&self->newest, &newest, ticket, memory_order_seq_cst,
                                                  memory_order_relaxed)) {
    }
    (void)sk__load32_after_stores(&self->count); /* the look that follows comes after all this */
    return ticket;
}

void sk_bell_cancel(sk_bell *self) { atomic_fetch_sub_explicit(&self->n_sleepers, 1, memory_order_relaxed); }

void sk_bell_wait(sk_bell *self, uint32_t ticket, int64_t timeout_ns) {
    struct timespec limit = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    /* Woken, rung meanwhile (EAGAIN), a signal or too late: the caller looks for itself, whatever it was. */
    (void)futex(&self->count, FUTEX_WAIT, ticket, timeout_ns < 0 ? NULL : &limit);
    sk_bell_cancel(self);
}

void sk_bell_ring(sk_bell *self) {
    if (sk__load32_after_stores(&self->n_sleepers) == 0) return;
    /* It was rung since the newest of them lay down: they are on their way, which takes a while. */
    uint32_t newest = atomic_load_explicit(&self->newest, memory_order_relaxed);
    if (atomic_load_explicit(&self->count, memory_order_relaxed) != newest) return;
    sk_bell_ring_again(self);
}

void sk_bell_ring_again(sk_bell *self) {
    atomic_fetch_add_explicit(&self->count, 1, memory_order_seq_cst);
    (void)futex(&self->count, FUTEX_WAKE, INT32_MAX, NULL);
}

/* ---- writer ---------------------------------------------------------------------------------------------- */
static inline void set_word(sk_ring *ring, uint64_t pos, uint64_t word) {
    atomic_store_explicit((_Atomic uint64_t *)(void *)(ring->bytes + pos), word, memory_order_relaxed);
}

/* A damaged ring must not lead out of its bytes: positions stay multiples of 16 from here on. */
void sk_ring_writer_init(sk_ring_writer *self, sk_ring *ring) {
    SK_ASSERT(self && ring);
    *self = (sk_ring_writer){
        .ring = ring,
        .tail = atomic_load_explicit(&ring->tail, memory_order_acquire) & ~UINT64_C(15),
        .head_seen = atomic_load_explicit(&ring->head, memory_order_acquire),
    };
}

/* Look at the reader's progress; false: none, or one that cannot be. */
static bool look_at_head(sk_ring_writer *self) {
    uint64_t head = atomic_load_explicit(&self->ring->head, memory_order_acquire);
    if (head == self->head_seen || self->tail - head > SK_RING_BYTES) return false;
    self->head_seen = head;
    return true;
}

/* Does a record of `bytes` lie before the end of the ring, or at its start? */
static inline bool wraps(const sk_ring_writer *self, uint64_t bytes) {
    return bytes > SK_RING_BYTES - (self->tail & MASK);
}

static inline bool has_room(sk_ring_writer *self, uint64_t bytes) {
    uint64_t total = wraps(self, bytes) ? SK_RING_BYTES - (self->tail & MASK) + bytes : bytes;
    if (self->tail + total - self->head_seen <= SK_RING_BYTES) return true;
    return look_at_head(self) && self->tail + total - self->head_seen <= SK_RING_BYTES;
}

bool sk_ring_has_room(sk_ring_writer *self, size_t size) {
    SK_ASSERT(size <= SK_RING_MESSAGE_MAX);
    return has_room(self, record_bytes(size));
}

void *sk_ring_reserve(sk_ring_writer *self, size_t size) {
    SK_ASSERT(size <= SK_RING_MESSAGE_MAX && self->reserved == 0);
    uint64_t bytes = record_bytes(size);
    if (!has_room(self, bytes)) return NULL;
    self->reserved = bytes;
    uint64_t pos = wraps(self, bytes) ? 0 : self->tail & MASK;
    return self->ring->bytes + pos + RECORD_HEAD;
}

void sk_ring_commit(sk_ring_writer *self, size_t size) {
    uint64_t bytes = record_bytes(size);
    SK_ASSERT(bytes <= self->reserved);
    /* The place was chosen for what was reserved, even if the message became shorter. */
    if (wraps(self, self->reserved)) {
        uint64_t pos = self->tail & MASK;
        set_word(self->ring, pos, WRAP_MARK);
        self->tail += SK_RING_BYTES - pos;
    }
    set_word(self->ring, self->tail & MASK, TAG_MESSAGE | (uint64_t)size);
    self->tail += bytes;
    self->reserved = 0;
    atomic_store_explicit(&self->ring->tail, self->tail, memory_order_release);
}

void sk_ring_wait_room(sk_ring_writer *self, int64_t timeout_ns) {
    SK_ASSERT(self->reserved == 0);
    sk_ring *ring = self->ring;
    uint32_t ticket = sk_bell_prepare(&ring->room);
    atomic_store_explicit(&ring->writer_waits, 1, memory_order_seq_cst);
    (void)sk__load32_after_stores(&ring->writer_waits);
    if (look_at_head(self)) sk_bell_cancel(&ring->room);
    else sk_bell_wait(&ring->room, ticket, timeout_ns);
    atomic_store_explicit(&ring->writer_waits, 0, memory_order_relaxed);
}

/* ---- reader ---------------------------------------------------------------------------------------------- */
void sk_ring_reader_init(sk_ring_reader *self, sk_ring *ring) {
    SK_ASSERT(self && ring);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire) & ~UINT64_C(15);
    *self = (sk_ring_reader){.ring = ring, .head = head, .tail_seen = head, .head_told = head};
}

/* From now on there is nothing but the error: peek finds no mail in sight and comes to look_at_tail. */
__attribute__((cold)) static sk_status damage(sk_ring_reader *self, const char *what, uint64_t got, sk_error *reterr) {
    self->damaged = true;
    self->tail_seen = self->head;
    self->peeked = 0;
    return SK_FAIL(reterr, SK_ECORRUPT, "ring is damaged at byte %llu: %s, got 0x%llx", (unsigned long long)self->head,
                   what, (unsigned long long)got);
}

/* All that was seen is consumed: is there more? */
static sk_status look_at_tail(sk_ring_reader *self, sk_error *reterr) {
    if (self->damaged) return damage(self, "it was damaged before", 0, reterr);
    uint64_t tail = atomic_load_explicit(&self->ring->tail, memory_order_acquire);
    if (tail == self->head) return SK_ENOTFOUND;
    if (tail - self->head > SK_RING_BYTES || (tail & 15) != 0)
        return damage(self, "its tail must be ahead by a multiple of 16 up to the ring's size", tail, reterr);
    self->tail_seen = tail;
    return SK_OK;
}

sk_status sk_ring_peek(sk_ring_reader *self, const void **ret_data, size_t *ret_size, sk_error *reterr) {
    if (self->head == self->tail_seen) SK_TRY(look_at_tail(self, reterr));
    for (;;) { /* a second time after a wrap mark; head is then at the start, where no further one is accepted */
        uint64_t pos = self->head & MASK, left = self->tail_seen - self->head, to_end = SK_RING_BYTES - pos;
        const uint8_t *at = self->ring->bytes + pos;
        /* Read once: the writer may change it behind our back. */
        uint64_t word = atomic_load_explicit((const _Atomic uint64_t *)(const void *)at, memory_order_relaxed);
        uint64_t size = word & ~TAG_MASK, bytes = record_bytes(size);
        if ((word & TAG_MASK) == TAG_MESSAGE && size <= SK_RING_MESSAGE_MAX && bytes <= left && bytes <= to_end) {
            self->peeked = bytes;
            *ret_data = at + RECORD_HEAD;
            *ret_size = size;
            return SK_OK;
        }
        if (word != WRAP_MARK || to_end >= left)
            return damage(self, "a record's head must be a tag and a size within what is published", word, reterr);
        self->head += to_end;
    }
}

/* Tell the writer how far we are, and wake it if it waits. */
static void tell(sk_ring_reader *self) {
    sk_ring *ring = self->ring;
    self->head_told = self->head;
    atomic_store_explicit(&ring->head, self->head, memory_order_release);
    if (sk__load32_after_stores(&ring->writer_waits)) sk_bell_ring(&ring->room);
}

void sk_ring_pop(sk_ring_reader *self) {
    SK_ASSERT(self->peeked > 0);
    self->head += self->peeked;
    self->peeked = 0;
    if (self->head - self->head_told >= STEP || self->head == self->tail_seen) tell(self);
}

bool sk_ring_has_mail(sk_ring_reader *self) {
    if (self->head != self->tail_seen) return true;
    return !self->damaged && atomic_load_explicit(&self->ring->tail, memory_order_acquire) != self->head;
}
