/* namespaces_wire: a cable between two network namespaces that can be made long, lossy, slow, or cut. It makes a tun
 * device in each of them and carries the packets of one to the other. (Linux's own netem does this too, where the
 * kernel has it.)
 *
 * usage: namespaces_wire NAMESPACE_A DEVICE_A NAMESPACE_B DEVICE_B
 *
 * Says "ready", then reads lines from its standard input, each four numbers, in force at once and each way:
 *   DELAY [ms]   LOSS [share of packets]   RATE [bytes/s; 0: no limit]   CUT [1: nothing gets through]
 * and says "set" to each. Ends with its standard input; the devices go with it.
 *
 * Threads: one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* A slow way keeps so much waiting; what comes then is lost, as in a router. */
enum { PACKET_MAX = 65536, WAITING_MAX = 64 << 10, LINE_MAX_BYTES = 256 };

typedef struct packet {
    struct packet *next;
    int64_t        due_ns;
    size_t         size;
    uint8_t        bytes[];
} packet;

/* One direction. */
typedef struct way {
    int      from, to;
    packet  *first, *last;
    int64_t  free_ns, last_due_ns; /* when the way has sent what it has */
} way;

static struct {
    double delay_ms, loss, rate;
    bool   cut;
} now_is;
static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15); /* the same losses each time */

static void die(const char *what) {
    fprintf(stderr, "namespaces_wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t clock_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* 0 <= x < 1 (xorshift64*). */
static double draw(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (double)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 11) * 0x1p-53;
}

static int open_tun(const char *name_space, const char *device) {
    char         path[256];
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", name_space);
    int space = open(path, O_RDONLY | O_CLOEXEC);
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (space < 0 || own < 0) die(path);
    if (setns(space, CLONE_NEWNET) != 0) die("cannot enter the namespace");
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) die("/dev/net/tun");
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (ioctl(fd, TUNSETIFF, &request) != 0) die(device);
    if (setns(own, CLONE_NEWNET) != 0) die("cannot leave the namespace");
    close(space);
    close(own);
    return fd;
}

/* ---- packets ------------------------------------------------------------------------------------------------- */
static void put(way *self, const uint8_t *bytes, size_t size, int64_t now_ns) {
    int64_t start_ns = self->free_ns > now_ns ? self->free_ns : now_ns;
    if (now_is.cut || draw() < now_is.loss) return;
    if (now_is.rate > 0.0 && (double)(start_ns - now_ns) * 1e-9 * now_is.rate > WAITING_MAX) return;
    packet *p = malloc(sizeof *p + size);
    if (!p) return; /* lost */
    self->free_ns = now_is.rate > 0.0 ? start_ns + (int64_t)((double)size / now_is.rate * 1e9) : now_ns;
    int64_t due_ns = self->free_ns + (int64_t)(now_is.delay_ms * 1e6);
    if (due_ns < self->last_due_ns) due_ns = self->last_due_ns; /* a cable keeps the order */
    self->last_due_ns = due_ns;
    *p = (packet){.due_ns = due_ns, .size = size};
    memcpy(p->bytes, bytes, size);
    if (self->last) self->last->next = p;
    else self->first = p;
    self->last = p;
}

static void take_in(way *self) {
    static uint8_t bytes[PACKET_MAX];
    for (ssize_t n; (n = read(self->from, bytes, sizeof bytes)) > 0;) put(self, bytes, (size_t)n, clock_ns());
}

/* What is due goes out; a device that is down loses it. */
static void let_out(way *self, int64_t now_ns) {
    for (packet *p; (p = self->first) && p->due_ns <= now_ns;) {
        self->first = p->next;
        if (!self->first) self->last = NULL;
        bool is_out = now_is.cut || write(self->to, p->bytes, p->size) >= 0;
        if (!is_out && errno != EIO && errno != EAGAIN && errno != ENOBUFS) die("cannot write a packet");
        free(p);
    }
}

static void forget(way *self) {
    for (packet *p; (p = self->first);) {
        self->first = p->next;
        free(p);
    }
    self->last = NULL;
    self->free_ns = self->last_due_ns = 0;
}

/* ---- orders -------------------------------------------------------------------------------------------------- */
static void obey(const char *line) {
    int cut = 0;
    if (sscanf(line, "%lf %lf %lf %d", &now_is.delay_ms, &now_is.loss, &now_is.rate, &cut) != 4) {
        fprintf(stderr, "namespaces_wire: not an order: %s\n", line);
        exit(2);
    }
    now_is.cut = cut != 0;
    printf("set\n");
    fflush(stdout);
}

/* False: nobody gives orders any more. */
static bool read_orders(void) {
    static char   text[LINE_MAX_BYTES];
    static size_t n;
    ssize_t       got = read(STDIN_FILENO, text + n, sizeof text - 1 - n);
    if (got <= 0) return got < 0 && (errno == EINTR || errno == EAGAIN);
    n += (size_t)got;
    text[n] = '\0';
    for (char *end; (end = strchr(text, '\n'));) {
        *end = '\0';
        obey(text);
        n -= (size_t)(end + 1 - text);
        memmove(text, end + 1, n + 1);
    }
    if (n == sizeof text - 1) n = 0; /* no line is so long */
    return true;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: namespaces_wire NAMESPACE_A DEVICE_A NAMESPACE_B DEVICE_B\n");
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1000UL);
    int a = open_tun(argv[1], argv[2]), b = open_tun(argv[3], argv[4]);
    way ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        struct pollfd   fds[3] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        struct timespec wait, *patience = NULL;
        int64_t         now_ns = clock_ns(), until_ns = INT64_MAX;
        for (int i = 0; i < 2; i++)
            if (ways[i].first && ways[i].first->due_ns < until_ns) until_ns = ways[i].first->due_ns;
        if (until_ns < INT64_MAX) {
            int64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
            wait = (struct timespec){left_ns / 1000000000, left_ns % 1000000000};
            patience = &wait;
        }
        if (ppoll(fds, 3, patience, NULL) < 0 && errno != EINTR) die("cannot wait");
        if (fds[2].revents && !read_orders()) break;
        for (int i = 0; i < 2; i++) take_in(&ways[i]);
        for (int i = 0; i < 2; i++) let_out(&ways[i], clock_ns());
    }
    for (int i = 0; i < 2; i++) forget(&ways[i]);
    return 0;
}
