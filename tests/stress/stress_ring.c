/* stress_ring: writers and a reader at both ends of rings, for ThreadSanitizer (which Criterion cannot start under).
 * Exit status 0: every message came once, in order and whole, and no wake-up was lost. The only argument is a seed.
 *
 * As in the driver: each writer has its own ring, one reader takes from all and sleeps on one bell. Messages have
 * random sizes, numbers and checksums. Both sides pause at random, so that rings run full (a writer sleeps until there
 * is room) and empty (the reader sleeps until it is rung), at the same moments as the other side publishes. About 3 s. */
#include "core/base/clock.h"
#include "core/transport/ring.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_WRITERS   2
#define RUN_NS      ((int64_t)800000000) /* of each phase */
#define PATIENCE_NS ((int64_t)60 * 1000000000) /* nobody sleeps this long unless a wake-up was lost */

/* Always on, and says where; the exit status is the verdict. */
#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "stress_ring: %s:%d: this must hold: %s\n", __FILE__, __LINE__, #cond);          \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

/* How the sides hurry: one of so many messages is followed by a pause; 0: none is. */
typedef struct pace {
    const char *name;
    uint32_t writer_pause_every, reader_pause_every;
    size_t size_max;
    bool in_turns; /* a writer waits for the echo of each message: nothing else would make a lost wake-up good */
} pace;

static const pace phases[] = {
    {"both hurry", 0, 0, 2000, false},
    {"rings run empty", 3, 0, 300, false},
    {"rings run full", 0, 50, SK_RING_MESSAGE_MAX, false},
    {"in turns", 0, 0, 100, true},
};

/* What a message is made of; random bytes follow. */
typedef struct head {
    uint64_t seq, size, checksum;
    uint64_t is_last;
} head;

typedef struct lane {
    sk_ring ring, echoes;
    sk_bell echo_bell;
    const pace *phase;
    uint64_t seed;
    uint64_t n_sleeps; /* of the writer; read after its end */
} lane;

static lane *lanes; /* (N_WRITERS) */
static sk_bell bell;

static uint64_t draw(uint64_t *state) { /* splitmix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Mostly a short spin, to meet the other side in the middle of its work; at times a sleep, so that it sleeps too. */
static void pause_a_bit(uint64_t *seed) {
    uint64_t r = draw(seed);
    if (r % 16 == 0) {
        struct timespec nap = {.tv_nsec = (long)(r >> 32) % 200000};
        nanosleep(&nap, NULL);
        return;
    }
    for (volatile uint32_t i = 0; i < (uint32_t)(r >> 40) % 2000; i++) continue;
}

static uint64_t checksum(const uint64_t *words, size_t n) {
    uint64_t sum = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) sum = (sum ^ words[i]) * 1099511628211u;
    return sum;
}

/* ---- writers ---------------------------------------------------------------------------------------------------- */
static void wait_for_room(sk_ring_writer *writer, lane *self, size_t size) {
    while (!sk_ring_has_room(writer, size)) {
        int64_t start = sk_clock_now_ns();
        sk_ring_wait_room(writer, PATIENCE_NS);
        CHECK(sk_clock_now_ns() - start < PATIENCE_NS);
        self->n_sleeps++;
    }
}

/* Sleep on `bell` until one of the n readers has mail. Gives 1 if it slept. */
static uint64_t sleep_for_mail(sk_bell *at, sk_ring_reader *readers, int n) {
    uint32_t ticket = sk_bell_prepare(at);
    for (int i = 0; i < n; i++) {
        if (!sk_ring_has_mail(&readers[i])) continue;
        sk_bell_cancel(at);
        return 0;
    }
    int64_t start = sk_clock_now_ns();
    sk_bell_wait(at, ticket, PATIENCE_NS);
    CHECK(sk_clock_now_ns() - start < PATIENCE_NS);
    return 1;
}

static void wait_for_echo(lane *self, sk_ring_reader *echoes, uint64_t seq) {
    while (!sk_ring_has_mail(echoes)) self->n_sleeps += sleep_for_mail(&self->echo_bell, echoes, 1);
    const void *data = NULL;
    size_t size = 0;
    CHECK(sk_ring_peek(echoes, &data, &size, NULL) == SK_OK && size == sizeof seq);
    CHECK(memcmp(data, &seq, sizeof seq) == 0);
    sk_ring_pop(echoes);
}

static void write_one(sk_ring_writer *writer, lane *self, uint64_t seq, uint64_t is_last) {
    size_t reserved = sizeof(head) + (size_t)(draw(&self->seed) % (self->phase->size_max - sizeof(head) + 1));
    size_t size = draw(&self->seed) % 4 ? reserved : sizeof(head) + (reserved - sizeof(head)) / 2;
    wait_for_room(writer, self, reserved);
    head *message = sk_ring_reserve(writer, reserved);
    CHECK(message);
    uint64_t *words = (uint64_t *)(message + 1);
    size_t n = (size - sizeof(head)) / 8;
    for (size_t i = 0; i < n; i++) words[i] = draw(&self->seed);
    *message = (head){.seq = seq, .size = size, .checksum = checksum(words, n), .is_last = is_last};
    sk_ring_commit(writer, size);
    sk_bell_ring(&bell);
}

static void *run_writer(void *arg) {
    lane *self = arg;
    sk_ring_writer writer;
    sk_ring_reader echoes;
    sk_ring_writer_init(&writer, &self->ring);
    sk_ring_reader_init(&echoes, &self->echoes);
    int64_t end_ns = sk_clock_now_ns() + RUN_NS;
    uint64_t seq = 0;
    while (sk_clock_now_ns() < end_ns) {
        for (int i = 0; i < 20; i++) {
            write_one(&writer, self, seq, 0);
            if (self->phase->in_turns) wait_for_echo(self, &echoes, seq);
            seq++;
            uint32_t every = self->phase->writer_pause_every;
            if (every && draw(&self->seed) % every == 0) pause_a_bit(&self->seed);
        }
    }
    write_one(&writer, self, seq, 1);
    return NULL;
}

/* ---- the reader ------------------------------------------------------------------------------------------------- */
typedef struct taker {
    sk_ring_reader readers[N_WRITERS];
    sk_ring_writer echoes[N_WRITERS];
    uint64_t next_seq[N_WRITERS];
    int n_open;
    uint64_t n_messages, n_sleeps, seed;
} taker;

static void send_echo(taker *self, int i, uint64_t seq) {
    void *data = sk_ring_reserve(&self->echoes[i], sizeof seq);
    CHECK(data);
    memcpy(data, &seq, sizeof seq);
    sk_ring_commit(&self->echoes[i], sizeof seq);
    sk_bell_ring(&lanes[i].echo_bell);
}

static void read_one(taker *self, int i) {
    const void *data = NULL;
    size_t size = 0;
    sk_error err = {0};
    sk_status status = sk_ring_peek(&self->readers[i], &data, &size, &err);
    if (status != SK_OK) fprintf(stderr, "stress_ring: %s\n", err.msg);
    CHECK(status == SK_OK);
    const head *message = data;
    CHECK(size >= sizeof *message && message->size == size);
    CHECK(message->seq == self->next_seq[i]++);
    CHECK(message->checksum == checksum((const uint64_t *)(message + 1), (size - sizeof *message) / 8));
    if (message->is_last) self->n_open--;
    else if (lanes[i].phase->in_turns) send_echo(self, i, message->seq);
    sk_ring_pop(&self->readers[i]);
    self->n_messages++;
}

static void *run_reader(void *arg) {
    taker *self = arg;
    uint32_t every = lanes[0].phase->reader_pause_every;
    while (self->n_open > 0) {
        bool any = false;
        for (int i = 0; i < N_WRITERS; i++) {
            if (!sk_ring_has_mail(&self->readers[i])) continue;
            read_one(self, i);
            any = true;
            if (every && draw(&self->seed) % every == 0) pause_a_bit(&self->seed);
        }
        if (!any) self->n_sleeps += sleep_for_mail(&bell, self->readers, N_WRITERS);
    }
    return NULL;
}

static void run_phase(const pace *phase, uint64_t seed) {
    lanes = aligned_alloc(64, N_WRITERS * sizeof *lanes);
    CHECK(lanes);
    memset(lanes, 0, N_WRITERS * sizeof *lanes);
    memset(&bell, 0, sizeof bell);
    taker reading = {.n_open = N_WRITERS, .seed = seed};
    pthread_t writers[N_WRITERS], reader;
    for (int i = 0; i < N_WRITERS; i++) {
        lanes[i].phase = phase;
        lanes[i].seed = seed + 1 + (uint64_t)i;
        sk_ring_reader_init(&reading.readers[i], &lanes[i].ring);
        sk_ring_writer_init(&reading.echoes[i], &lanes[i].echoes);
    }
    CHECK(pthread_create(&reader, NULL, run_reader, &reading) == 0);
    for (int i = 0; i < N_WRITERS; i++) CHECK(pthread_create(&writers[i], NULL, run_writer, &lanes[i]) == 0);
    uint64_t n_writer_sleeps = 0;
    for (int i = 0; i < N_WRITERS; i++) {
        CHECK(pthread_join(writers[i], NULL) == 0);
        n_writer_sleeps += lanes[i].n_sleeps;
    }
    CHECK(pthread_join(reader, NULL) == 0);
    for (int i = 0; i < N_WRITERS; i++) CHECK(!sk_ring_has_mail(&reading.readers[i]));
    CHECK(atomic_load(&bell.n_sleepers) == 0 && atomic_load(&lanes[0].ring.room.n_sleepers) == 0);
    printf("%-16s %8lu messages, the reader slept %6lu times, writers %6lu times\n", phase->name,
           (unsigned long)reading.n_messages, (unsigned long)reading.n_sleeps, (unsigned long)n_writer_sleeps);
    free(lanes);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)sk_clock_now_ns();
    printf("seed %lu\n", (unsigned long)seed);
    for (int i = 0; i < SK_COUNT(phases); i++) run_phase(&phases[i], seed);
    return 0;
}
