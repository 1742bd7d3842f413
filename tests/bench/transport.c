/* transport: what a message costs between two processes of this host: over the rings of core/transport/ring.h, and over
 * the links of core/transport/link.h, which are for several hosts, by loopback TCP. Why the runtime uses rings where it
 * can; figures: docs/performance.md.
 *
 * usage: transport [SECONDS]     each figure is measured for about so long (1)
 *
 * round trip   one message there, one back, one at a time
 * stream       1,000 messages there, then one back
 * encrypted    by CURVE, as between hosts; "plain": the same without
 * "looking" sides look for 30 us before they sleep, as the runtime does; "sleeping" ones sleep at once, so each message
 * pays for waking the other side. */
#include "core/base/clock.h"
#include "core/transport/link.h"
#include "core/transport/ring.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RING_SIZE = 64, STREAM = 1000, TIMES_MAX = 1 << 20, LOOK_NS = 30000, SESSION = 1, KIND = 1, WAIT_MS = 10000 };
enum { QUESTION = 'q', MESSAGE = 'm', END = 'e' }; /* first byte; only a question is answered */

/* Memory that both sides of a ring map. */
typedef struct shared {
    sk_ring there, back;
    sk_bell child, parent;
} shared;

/* One side of either transport. */
typedef struct port {
    sk_link       *link; /* NULL: rings */
    sk_link_order  order;
    size_t         size; /* of a message */
    sk_ring_writer out;
    sk_ring_reader in;
    sk_bell       *own, *other;
    int64_t        look_ns;
} port;

/* A tool may end itself. */
static void check(sk_status status, const sk_error *err) {
    if (status == SK_OK) return;
    fprintf(stderr, "transport: %s\n", err->msg);
    exit(1);
}

static void send_frame(port *self, const char *bytes) {
    sk_error      err = {0};
    sk_link_frame frame = {.kind = KIND, .session = SESSION, .payload = bytes, .size = self->size};
    sk_status     status;
    while ((status = sk_link_send(self->link, &frame, &self->order, &err)) == SK_ELIMIT) sched_yield(); /* it is full */
    check(status, &err);
}

static void send_message(port *self, char kind) {
    static char bytes[SK_LINK_PAYLOAD_MAX];
    bytes[0] = kind;
    if (self->link) {
        send_frame(self, bytes);
        return;
    }
    void *room;
    while (!(room = sk_ring_reserve(&self->out, self->size))) sk_ring_wait_room(&self->out, -1);
    memcpy(room, bytes, self->size);
    sk_ring_commit(&self->out, self->size);
    sk_bell_ring(self->other);
}

/* Wait until the ring has something: look first, then sleep. */
static void wait_ring(port *self) {
    int64_t end_ns = sk_clock_now_ns() + self->look_ns;
    while (!sk_ring_has_mail(&self->in)) {
        if (sk_clock_now_ns() < end_ns) continue;
        uint32_t ticket = sk_bell_prepare(self->own);
        if (sk_ring_has_mail(&self->in)) sk_bell_cancel(self->own);
        else sk_bell_wait(self->own, ticket, -1);
    }
}

/* The next message's first byte. */
static char receive(port *self) {
    sk_error    err = {0};
    const void *data = NULL;
    size_t      size = 0;
    if (self->link) {
        sk_link_frame frame = {0};
        sk_status     status;
        while ((status = sk_link_recv(self->link, &frame, &err)) == SK_ENOTFOUND) sk_link_wait(self->link, WAIT_MS);
        check(status, &err);
        if (!sk_link_order_take(&self->order, frame.seq)) exit(1);
        return *(const char *)frame.payload;
    }
    wait_ring(self);
    check(sk_ring_peek(&self->in, &data, &size, &err), &err);
    char kind = *(const char *)data;
    sk_ring_pop(&self->in);
    return kind;
}

/* ---- the two sides ----------------------------------------------------------------------------------------------- */
static void child_run(port *self) {
    for (char kind; (kind = receive(self)) != END;)
        if (kind == QUESTION) send_message(self, MESSAGE);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(port *self, const char *name, double seconds) {
    double *us = malloc(TIMES_MAX * sizeof *us);
    int     n = 0;
    if (!us) exit(1);
    for (int i = 0; i < STREAM; i++) { /* warm-up */
        send_message(self, QUESTION);
        receive(self);
    }
    double start_s = sk_clock_now_s(), now_s = start_s;
    while (n < TIMES_MAX && now_s - start_s < seconds) {
        send_message(self, QUESTION);
        receive(self);
        double then_s = now_s;
        now_s = sk_clock_now_s();
        us[n++] = (now_s - then_s) * 1e6;
    }
    double  mean_us = (now_s - start_s) / n * 1e6;
    int64_t n_messages = 0;
    start_s = sk_clock_now_s();
    while (sk_clock_now_s() - start_s < seconds) {
        for (int i = 1; i < STREAM; i++) send_message(self, MESSAGE);
        send_message(self, QUESTION);
        receive(self);
        n_messages += STREAM;
    }
    double rate = (double)n_messages / (sk_clock_now_s() - start_s);
    qsort(us, (size_t)n, sizeof *us, compare);
    printf("%-16s %6zu bytes: round trip %7.2f us median, %7.2f mean, %8.2f p99   ", name, self->size, us[n / 2],
           mean_us, us[n * 99 / 100]);
    printf("stream %9.0f messages/s, %7.1f MB/s\n", rate, rate * (double)self->size * 1e-6);
    fflush(stdout);
    free(us);
    send_message(self, END);
}

/* ---- set-up ----------------------------------------------------------------------------------------------------- */
/* In the parent before any thread is there. The child ends with it. */
static pid_t start_child(void) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) exit(1);
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)) _exit(1);
    return pid;
}

static void run_rings(const char *name, int64_t look_ns, double seconds) {
    shared *mem = mmap(NULL, sizeof *mem, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED) exit(1);
    pid_t pid = start_child();
    port  p = {.size = RING_SIZE, .look_ns = look_ns};
    p.own = pid ? &mem->parent : &mem->child;
    p.other = pid ? &mem->child : &mem->parent;
    sk_ring_writer_init(&p.out, pid ? &mem->there : &mem->back);
    sk_ring_reader_init(&p.in, pid ? &mem->back : &mem->there);
    if (pid == 0) {
        child_run(&p);
        _exit(0);
    }
    measure(&p, name, seconds);
    waitpid(pid, NULL, 0);
    munmap(mem, sizeof *mem);
}

/* `key` NULL: plain. The child hears by a pipe where the parent listens. */
static void run_link(const char *name, const sk_cluster_key *key, size_t size, double seconds) {
    char           endpoint[128] = "tcp://127.0.0.1:*";
    sk_error       err = {0};
    port           p = {.size = size};
    sk_link_params params = {.key = key, .endpoint = endpoint, .session = SESSION};
    int            ends[2];
    if (pipe(ends) != 0) exit(1);
    pid_t pid = start_child();
    if (pid == 0) {
        if (read(ends[0], endpoint, sizeof endpoint) != sizeof endpoint) _exit(1);
        check(sk_link_connect(&params, &p.link, &err), &err);
        send_message(&p, MESSAGE);
        child_run(&p);
        sk_link_destroy(&p.link, 1000);
        _exit(0);
    }
    check(sk_link_listen(&params, &p.link, &err), &err);
    snprintf(endpoint, sizeof endpoint, "%s", sk_link_endpoint(p.link));
    if (write(ends[1], endpoint, sizeof endpoint) != sizeof endpoint) exit(1);
    receive(&p); /* it is there */
    measure(&p, name, seconds);
    waitpid(pid, NULL, 0);
    sk_link_destroy(&p.link, 0);
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1.0;
    if (!(seconds > 0.0 && seconds <= 60.0)) {
        fprintf(stderr, "usage: transport [SECONDS]\n");
        return 2;
    }
    run_rings("ring, looking", LOOK_NS, seconds);
    run_rings("ring, sleeping", 0, seconds);
    static const size_t sizes[] = {64, 300, 4096, 65536};
    sk_cluster_key      key;
    sk_error            err = {0};
    check(sk_cluster_key_create(&key, &err), &err);
    for (int i = 0; i < SK_COUNT(sizes); i++) run_link("link, plain", NULL, sizes[i], seconds);
    for (int i = 0; i < SK_COUNT(sizes); i++) run_link("link, encrypted", &key, sizes[i], seconds);
    return 0;
}
