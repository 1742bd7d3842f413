/* stress_board: workers that post, a leader that takes the mail, and a reader of the timeline, for ThreadSanitizer
 * (which Criterion cannot start under). Exit status 0: no mail and no wake-up was lost. About 2 s.
 *
 * Each worker posts one message and waits for the answer, so nothing but its own mark and ring wakes the leader, as in
 * a program with one call under way. A leader that leaves now and then (has_leader) leaves the mail to the pump. */
#include "core/base/clock.h"
#include "core/runtime/board.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_WORKERS   3
#define RUN_NS      ((int64_t)2000000000)
#define PATIENCE_NS ((int64_t)60 * 1000000000) /* nobody sleeps this long unless a wake-up was lost */

/* Always on, and says where; the exit status is the verdict. */
#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "stress_board: %s:%d: this must hold: %s\n", __FILE__, __LINE__, #cond);         \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static sk_board *board;
static _Atomic bool workers_stop, leader_stops;

static void sleep_on(sk_bell *bell, uint32_t ticket) {
    int64_t start = sk_clock_now_ns();
    sk_bell_wait(bell, ticket, PATIENCE_NS);
    CHECK(sk_clock_now_ns() - start < PATIENCE_NS);
}

/* The lines of workers are spread over the words of the mail, the last two share one. */
static int line_of(int worker) { return worker == 0 ? 0 : 1000 + worker; }

/* ---- messages: a number each way --------------------------------------------------------------------------------- */
static void send_number(sk_ring_writer *writer, uint64_t number) {
    void *data = sk_ring_reserve(writer, sizeof number);
    CHECK(data);
    memcpy(data, &number, sizeof number);
    sk_ring_commit(writer, sizeof number);
}

static bool take_number(sk_ring_reader *reader, uint64_t *ret_number) {
    const void *data = NULL;
    size_t size = 0;
    sk_status status = sk_ring_peek(reader, &data, &size, NULL);
    if (status == SK_ENOTFOUND) return false;
    CHECK(status == SK_OK && size == sizeof *ret_number);
    memcpy(ret_number, data, size);
    sk_ring_pop(reader);
    return true;
}

static void *run_worker(void *arg) {
    sk_line *line = &board->lines[line_of(*(int *)arg)];
    sk_ring_writer up;
    sk_ring_reader down;
    sk_ring_writer_init(&up, &line->up);
    sk_ring_reader_init(&down, &line->down);
    for (uint64_t number = 0, answer = 0; !atomic_load(&workers_stop); number++) {
        send_number(&up, number);
        sk_board_post(board, line_of(*(int *)arg), SK_MAIL_URGENT);
        while (!take_number(&down, &answer)) {
            uint32_t ticket = sk_bell_prepare(&line->bell);
            if (sk_ring_has_mail(&down)) sk_bell_cancel(&line->bell);
            else sleep_on(&line->bell, ticket);
        }
        CHECK(answer == number);
    }
    return NULL;
}

/* ---- the leader -------------------------------------------------------------------------------------------------- */
typedef struct leader {
    sk_ring_reader up[N_WORKERS];
    sk_ring_writer down[N_WORKERS];
    uint64_t n_answered, n_sleeps, n_left;
} leader;

/* Answer all of the line, and note it as an event whose fields tell the same number. */
static void answer(void *arg, int line) {
    leader *self = arg;
    int worker = line == 0 ? 0 : line - 1000;
    uint64_t number = 0;
    CHECK(worker >= 0 && worker < N_WORKERS);
    while (take_number(&self->up[worker], &number)) {
        int64_t n = (int64_t)self->n_answered++;
        send_number(&self->down[worker], number);
        sk_bell_ring(&board->lines[line].bell);
        sk_board_add_event(board, &(sk_board_event){.start_ns = n, .duration_ns = n, .id = (uint64_t)n, .method = -1});
    }
}

/* As the one who leads, or as the pump: it takes what comes while nobody leads. */
static void wait_for_mail(leader *self, uint32_t leads) {
    sk_bell *bell = leads ? &board->leader : &board->pump;
    atomic_store(&board->has_leader, leads);
    uint32_t ticket = sk_bell_prepare(bell);
    if (sk_board_has_mail(board) || atomic_load(&leader_stops)) {
        sk_bell_cancel(bell);
        return;
    }
    sleep_on(bell, ticket);
    self->n_sleeps++;
}

static void *run_leader(void *arg) {
    leader *self = arg;
    for (uint32_t round = 0; !atomic_load(&leader_stops); round++) {
        sk_board_take_mail(board, answer, self);
        uint32_t leads = round / 8 % 2;
        self->n_left += !leads;
        wait_for_mail(self, leads);
    }
    return NULL;
}

int main(void) {
    sk_block *block = NULL;
    sk_error err = {0};
    CHECK(sk_board_create("stress", &block, &board, &err) == SK_OK);
    leader self = {0};
    pthread_t leads, workers[N_WORKERS];
    int numbers[N_WORKERS];
    for (int i = 0; i < N_WORKERS; i++) {
        sk_ring_reader_init(&self.up[i], &board->lines[line_of(i)].up);
        sk_ring_writer_init(&self.down[i], &board->lines[line_of(i)].down);
        numbers[i] = i;
    }
    char path[] = "/tmp/stress-board-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && close(fd) == 0);

    for (int i = 0; i < N_WORKERS; i++) CHECK(pthread_create(&workers[i], NULL, run_worker, &numbers[i]) == 0);
    CHECK(pthread_create(&leads, NULL, run_leader, &self) == 0);
    /* Somebody looks at what went on, meanwhile. */
    int64_t end_ns = sk_clock_now_ns() + RUN_NS;
    while (sk_clock_now_ns() < end_ns) {
        CHECK(sk_board_write_timeline(board, path, &err) == SK_OK);
        usleep(20000);
    }
    CHECK(unlink(path) == 0);

    atomic_store(&workers_stop, true);
    for (int i = 0; i < N_WORKERS; i++) CHECK(pthread_join(workers[i], NULL) == 0);
    atomic_store(&leader_stops, true);
    sk_bell_ring(&board->leader);
    sk_bell_ring(&board->pump);
    CHECK(pthread_join(leads, NULL) == 0);
    CHECK(self.n_answered == atomic_load(&board->n_events));
    printf("%lu answers, the leader slept %lu times and left %lu times\n", (unsigned long)self.n_answered,
           (unsigned long)self.n_sleeps, (unsigned long)self.n_left);
    sk_block_destroy(&block);
    return 0;
}
