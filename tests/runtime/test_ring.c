#include "core/base/clock.h"
#include "core/transport/ring.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_NS ((int64_t)20 * 1000000000) /* a lost wake-up fails; it is never waited for in a good run */

/* A ring with its two ends, in memory that a forked child shares. */
typedef struct ends {
    sk_ring *ring;
    sk_ring_writer writer;
    sk_ring_reader reader;
} ends;

static ends make_ends(void) {
    ends e = {0};
    e.ring = mmap(NULL, sizeof *e.ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(e.ring, MAP_FAILED);
    sk_ring_writer_init(&e.writer, e.ring);
    sk_ring_reader_init(&e.reader, e.ring);
    return e;
}

static void drop_ends(ends *e) { munmap(e->ring, sizeof *e->ring); }

/* Message `seq` of a sequence: its bytes are told by its number and size. */
static uint8_t byte_of(uint64_t seq, size_t i) { return (uint8_t)(seq * 131 + i * 7 + 1); }

static bool write_one(ends *e, uint64_t seq, size_t size) {
    uint8_t *data = sk_ring_reserve(&e->writer, size);
    if (!data) return false;
    cr_assert_eq((uintptr_t)data % 16, 0);
    for (size_t i = 0; i < size; i++) data[i] = byte_of(seq, i);
    sk_ring_commit(&e->writer, size);
    return true;
}

static void expect_one(ends *e, uint64_t seq, size_t size) {
    const void *data = NULL;
    size_t got = SIZE_MAX;
    sk_error err = {0};
    cr_assert_eq(sk_ring_peek(&e->reader, &data, &got, &err), SK_OK, "message %lu: %s", seq, err.msg);
    cr_assert_eq(got, size, "message %lu has %zu bytes, not %zu", seq, got, size);
    cr_assert_eq((uintptr_t)data % 16, 0);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(((const uint8_t *)data)[i], byte_of(seq, i), "message %lu of %zu, byte %zu", seq, size, i);
    sk_ring_pop(&e->reader);
}

static sk_status peek(ends *e, sk_error *reterr) {
    const void *data;
    size_t size;
    return sk_ring_peek(&e->reader, &data, &size, reterr);
}

Test(ring, gives_messages_in_order_and_whole) {
    ends e = make_ends();
    static const size_t sizes[] = {0, 1, 15, 16, 17, 64, 4096, SK_RING_MESSAGE_MAX - 1, SK_RING_MESSAGE_MAX};
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < SK_COUNT(sizes); i++) {
            cr_assert(write_one(&e, (uint64_t)i, sizes[i]));
            cr_assert(sk_ring_has_mail(&e.reader));
            expect_one(&e, (uint64_t)i, sizes[i]);
            cr_assert_not(sk_ring_has_mail(&e.reader));
        }
    drop_ends(&e);
}

Test(ring, of_zeroed_memory_is_empty_and_says_so_without_text) {
    ends e = make_ends();
    sk_error err = {0};
    cr_assert_eq(peek(&e, &err), SK_ENOTFOUND);
    cr_assert_str_empty(err.msg);
    cr_assert(sk_ring_has_room(&e.writer, SK_RING_MESSAGE_MAX));
    drop_ends(&e);
}

/* Fill up, empty a part, fill again, at many phases of the position: nothing is lost or overwritten around the wrap. */
Test(ring, keeps_everything_when_it_is_full_and_wraps) {
    ends e = make_ends();
    uint64_t written = 0, read = 0, seed = 1;
    size_t sizes[8192];
    for (int round = 0; round < 400; round++) {
        for (;;) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t size = (seed >> 33) % ((seed >> 60) == 0 ? SK_RING_MESSAGE_MAX + 1 : 700);
            bool has_room = sk_ring_has_room(&e.writer, size);
            cr_assert_eq(write_one(&e, written, size), has_room);
            if (!has_room) break;
            sizes[written++ % SK_COUNT(sizes)] = size;
            cr_assert_leq(written - read, (uint64_t)SK_COUNT(sizes));
        }
        uint64_t n = (written - read) * (1 + seed % 4) / 4;
        for (uint64_t i = 0; i < n; i++, read++) expect_one(&e, read, sizes[read % SK_COUNT(sizes)]);
    }
    for (; read < written; read++) expect_one(&e, read, sizes[read % SK_COUNT(sizes)]);
    cr_assert_eq(peek(&e, NULL), SK_ENOTFOUND);
    cr_assert_gt(e.writer.tail, 100 * SK_RING_BYTES);
    drop_ends(&e);
}

Test(ring, says_when_it_is_full_and_has_room_again) {
    ends e = make_ends();
    uint64_t n = 0;
    while (write_one(&e, n, 1000)) n++;
    cr_assert_not(sk_ring_has_room(&e.writer, 1000));
    cr_assert_gt(n * 1100, SK_RING_BYTES);
    for (uint64_t i = 0; i < n; i++) expect_one(&e, i, 1000);
    cr_assert(sk_ring_has_room(&e.writer, SK_RING_MESSAGE_MAX));
    drop_ends(&e);
}

Test(ring, publishes_what_was_committed_of_a_larger_reservation) {
    ends e = make_ends();
    for (int i = 0; i < 100; i++) { /* over the wrap too: the place was chosen for the large size */
        uint8_t *data = sk_ring_reserve(&e.writer, SK_RING_MESSAGE_MAX);
        cr_assert_not_null(data);
        for (size_t k = 0; k < 10000; k++) data[k] = byte_of((uint64_t)i, k);
        sk_ring_commit(&e.writer, 10000);
        expect_one(&e, (uint64_t)i, 10000);
    }
    drop_ends(&e);
}

Test(ring, shows_nothing_of_a_message_that_was_not_committed) {
    ends e = make_ends();
    uint8_t *data = sk_ring_reserve(&e.writer, 100);
    memset(data, 0xff, 100);
    cr_assert_not(sk_ring_has_mail(&e.reader));
    cr_assert_eq(peek(&e, NULL), SK_ENOTFOUND);
    /* The next writer of this ring goes on where the last one published. */
    sk_ring_writer_init(&e.writer, e.ring);
    cr_assert(write_one(&e, 1, 50));
    expect_one(&e, 1, 50);
    drop_ends(&e);
}

Test(ring, shows_the_same_message_until_it_is_popped) {
    ends e = make_ends();
    cr_assert(write_one(&e, 1, 10));
    cr_assert(write_one(&e, 2, 20));
    cr_assert_eq(peek(&e, NULL), SK_OK);
    expect_one(&e, 1, 10);
    expect_one(&e, 2, 20);
    drop_ends(&e);
}

Test(ring, goes_on_where_it_is_for_new_ends) {
    ends e = make_ends();
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert(write_one(&e, i, 5000));
        expect_one(&e, i, 5000);
    }
    cr_assert(write_one(&e, 100, 3));
    sk_ring_reader_init(&e.reader, e.ring);
    sk_ring_writer_init(&e.writer, e.ring);
    cr_assert(write_one(&e, 101, 4));
    expect_one(&e, 100, 3);
    expect_one(&e, 101, 4);
    drop_ends(&e);
}

/* ---- a damaged ring --------------------------------------------------------------------------------------------- */
/* Damage is found, named, and stays even if the memory is repaired. */
static void expect_damage(ends *e, const char *text) {
    sk_error err = {0};
    cr_assert_eq(peek(e, &err), SK_ECORRUPT);
    cr_assert(strstr(err.msg, text), "%s", err.msg);
    atomic_store(&e->ring->tail, 0);
    atomic_store(&e->ring->head, 0);
    memset(e->ring->bytes, 0, 4096);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(peek(e, &err), SK_ECORRUPT);
        cr_assert(strstr(err.msg, "before"), "%s", err.msg);
        cr_assert_not(sk_ring_has_mail(&e->reader), "a damaged ring must not keep its reader awake");
    }
    drop_ends(e);
}

Test(ring, refuses_a_tail_that_cannot_be) {
    static const uint64_t tails[] = {1, 8, SK_RING_BYTES + 16, UINT64_MAX, (uint64_t)1 << 63, 24};
    for (int i = 0; i < SK_COUNT(tails); i++) {
        ends e = make_ends();
        atomic_store(&e.ring->tail, tails[i]);
        expect_damage(&e, "tail");
    }
    ends e = make_ends(); /* one that goes back */
    cr_assert(write_one(&e, 0, 100));
    expect_one(&e, 0, 100);
    atomic_store(&e.ring->tail, 16);
    expect_damage(&e, "tail");
}

Test(ring, refuses_a_record_that_cannot_be) {
    static const uint64_t tag = (uint64_t)0x4d474e52 << 32, wrap = (uint64_t)0x57474e52 << 32;
    /* no tag; larger than what is published; larger than any message; wrap marks: with a size, with nothing behind */
    const uint64_t words[] = {0, 100, tag | 101, tag | (SK_RING_MESSAGE_MAX + 1), tag | UINT32_MAX, wrap | 1, wrap};
    for (int i = 0; i < SK_COUNT(words); i++) {
        ends e = make_ends();
        cr_assert(write_one(&e, 0, 96));
        memcpy(e.ring->bytes, &words[i], 8);
        expect_damage(&e, "record");
    }
}

Test(ring, refuses_a_record_that_leads_over_the_end) {
    ends e = make_ends();
    uint64_t n = 0;
    while (write_one(&e, n, 32752)) n++; /* eight of 32 KB fill it to the last byte */
    cr_assert_eq(n, 8);
    for (uint64_t i = 0; i + 1 < n; i++) expect_one(&e, i, 32752);
    cr_assert(write_one(&e, n, 32752)); /* what is published reaches over the end */
    uint64_t word = ((uint64_t)0x4d474e52 << 32) | 40000;
    memcpy(e.ring->bytes + 7 * 32768, &word, 8);
    expect_damage(&e, "record");
}

/* The reader uses what it has checked, not what the writer makes of it afterwards. */
Test(ring, reads_a_size_once) {
    ends e = make_ends();
    cr_assert(write_one(&e, 0, 32));
    cr_assert(write_one(&e, 1, 48));
    cr_assert_eq(peek(&e, NULL), SK_OK);
    memset(e.ring->bytes, 0xff, 8);
    sk_ring_pop(&e.reader);
    expect_one(&e, 1, 48);
    drop_ends(&e);
}

Test(ring, takes_a_head_that_cannot_be_as_no_progress) {
    ends e = make_ends();
    uint64_t n = 0;
    while (write_one(&e, n, 1000)) n++;
    uint64_t tail = atomic_load(&e.ring->tail);
    const uint64_t heads[] = {tail + 16, tail + SK_RING_BYTES, UINT64_MAX};
    for (int i = 0; i < SK_COUNT(heads); i++) {
        atomic_store(&e.ring->head, heads[i]);
        cr_assert_not(sk_ring_has_room(&e.writer, 1000));
        cr_assert_null(sk_ring_reserve(&e.writer, 1000));
        sk_ring_wait_room(&e.writer, 1000000); /* sleeps; does not spin its caller */
    }
    atomic_store(&e.ring->head, tail - 4096);
    cr_assert(sk_ring_has_room(&e.writer, 1000));
    drop_ends(&e);
}

/* ---- sleeping --------------------------------------------------------------------------------------------------- */
Test(bell, wakes_a_wait_that_was_rung_after_its_ticket) {
    sk_bell bell = {0};
    uint32_t ticket = sk_bell_prepare(&bell);
    sk_bell_ring(&bell);
    int64_t start = sk_clock_now_ns();
    sk_bell_wait(&bell, ticket, PATIENCE_NS);
    cr_assert_lt(sk_clock_now_ns() - start, PATIENCE_NS / 2);
    cr_assert_eq(atomic_load(&bell.n_sleepers), 0);
}

Test(bell, is_not_touched_by_ringing_when_nobody_sleeps) {
    sk_bell bell = {0};
    sk_bell_ring(&bell);
    uint32_t ticket = sk_bell_prepare(&bell);
    sk_bell_cancel(&bell);
    cr_assert_eq(ticket, 0);
    sk_bell_ring(&bell);
    cr_assert_eq(atomic_load(&bell.count), 0);
    cr_assert_eq(atomic_load(&bell.n_sleepers), 0);
}

Test(bell, wait_ends_at_its_timeout) {
    sk_bell bell = {0};
    int64_t start = sk_clock_now_ns();
    sk_bell_wait(&bell, sk_bell_prepare(&bell), 20000000);
    cr_assert_geq(sk_clock_now_ns() - start, 20000000);
    cr_assert_eq(atomic_load(&bell.n_sleepers), 0);
}

/* A child writes; both sides sleep when they have nothing to do. A wake-up that is lost runs into the patience. */
static void child_writes(ends *e, sk_bell *bell, uint64_t n) {
    sk_ring_writer_init(&e->writer, e->ring);
    for (uint64_t i = 0; i < n; i++) {
        size_t size = (size_t)(i * 7919 % 5000);
        while (!sk_ring_has_room(&e->writer, size)) {
            int64_t start = sk_clock_now_ns();
            sk_ring_wait_room(&e->writer, PATIENCE_NS);
            if (sk_clock_now_ns() - start > PATIENCE_NS / 2) _exit(2);
        }
        if (!write_one(e, i, size)) _exit(3);
        sk_bell_ring(bell);
    }
    _exit(0);
}

Test(ring, carries_messages_between_processes_that_sleep) {
    ends e = make_ends();
    sk_bell *bell = mmap(NULL, sizeof *bell, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(bell, MAP_FAILED);
    const uint64_t n = 20000;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) child_writes(&e, bell, n);
    for (uint64_t i = 0; i < n; i++) {
        while (!sk_ring_has_mail(&e.reader)) {
            uint32_t ticket = sk_bell_prepare(bell);
            if (sk_ring_has_mail(&e.reader)) {
                sk_bell_cancel(bell);
                break;
            }
            int64_t start = sk_clock_now_ns();
            sk_bell_wait(bell, ticket, PATIENCE_NS);
            cr_assert_lt(sk_clock_now_ns() - start, PATIENCE_NS / 2, "a wake-up was lost at message %lu", i);
        }
        expect_one(&e, i, (size_t)(i * 7919 % 5000));
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the writer ended with %d", status);
    munmap(bell, sizeof *bell);
    drop_ends(&e);
}
