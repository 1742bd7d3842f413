#include "nn/cpu/team.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS_MAX = 4000 }; /* pauses of about 12 ns: near the cost of one wake-up */

/* A number that others wait for. */
typedef struct signal_count {
    _Alignas(64) _Atomic uint32_t value;
    _Atomic uint32_t n_sleepers;
} signal_count;

/* A job's next item as one word, so that taking an item and knowing which job it is of are one step:
 * job number (32 bits) | n_items (16) | next item (16). A member that comes late finds no item left, or one of the job
 * that runs by then. `next` grows past n_items by at most one per member and job. */
#define TICKET(job, n_items) ((uint64_t)(job) << 32 | (uint64_t)(n_items) << 16)
#define TICKET_ITEM(ticket) ((int)((ticket) & 0xffff))
#define TICKET_N_ITEMS(ticket) ((int)((ticket) >> 16 & 0xffff))

struct sk_team {
    signal_count     jobs; /* started so far; members wait for it                            */
    signal_count     done; /* items of the present job that are done; the caller waits for it */
    _Alignas(64) _Atomic uint64_t ticket;
    sk_team_fn       fn;   /* of the present job: written before its ticket                  */
    void            *arg;
    _Atomic int      ended;
    int              n;
    pthread_mutex_t  running; /* held by the thread whose job it is */
    pthread_t       *threads; /* members 1 .. n - 1                 */
    struct member {
        sk_team *team;
        int      index;
    } *members;
};

/* Sleep while *count is `seen`; may return early. Only the sleeper changes its own mark, so no wake-up is lost. */
static void sleep_while(signal_count *count, uint32_t seen) {
    atomic_fetch_add(&count->n_sleepers, 1);
    if (atomic_load(&count->value) == seen)
        syscall(SYS_futex, &count->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&count->n_sleepers, 1);
}

static void add_one(signal_count *count) {
    atomic_fetch_add(&count->value, 1);
    if (atomic_load(&count->n_sleepers))
        syscall(SYS_futex, &count->value, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* A job that was not there yet when `seen` was the count: its count. */
static uint32_t wait_for_job(sk_team *team, uint32_t seen) {
    for (int i = 0; i < SPINS_MAX; i++) {
        uint32_t now = atomic_load_explicit(&team->jobs.value, memory_order_acquire);
        if (now != seen) return now;
        __builtin_ia32_pause();
    }
    while (atomic_load(&team->jobs.value) == seen) sleep_while(&team->jobs, seen);
    return atomic_load(&team->jobs.value);
}

static void wait_until_done(sk_team *team, uint32_t n_items) {
    for (int i = 0; i < SPINS_MAX; i++) {
        if (atomic_load_explicit(&team->done.value, memory_order_acquire) == n_items) return;
        __builtin_ia32_pause();
    }
    for (uint32_t now; (now = atomic_load(&team->done.value)) != n_items;) sleep_while(&team->done, now);
}

static void take_items(sk_team *team, int member) {
    for (;;) {
        uint64_t ticket = atomic_fetch_add(&team->ticket, 1);
        if (TICKET_ITEM(ticket) >= TICKET_N_ITEMS(ticket)) return;
        team->fn(team->arg, TICKET_ITEM(ticket), member);
        add_one(&team->done);
    }
}

static void *member_main(void *arg) {
    struct member *me = arg;
    sk_team       *team = me->team;
    uint32_t       seen = 0;
    for (;;) {
        seen = wait_for_job(team, seen);
        if (atomic_load(&team->ended)) return NULL;
        take_items(team, me->index);
    }
}

void sk_team_run(sk_team *self, int n_items, sk_team_fn fn, void *arg) {
    SK_ASSERT(fn && n_items >= 0 && n_items <= SK_TEAM_ITEMS_MAX);
    if (self->n == 1 || n_items <= 1) {
        if (self->n > 1) pthread_mutex_lock(&self->running); /* member 0's workspace is one caller's at a time */
        for (int i = 0; i < n_items; i++) fn(arg, i, 0);
        if (self->n > 1) pthread_mutex_unlock(&self->running);
        return;
    }
    pthread_mutex_lock(&self->running);
    self->fn = fn;
    self->arg = arg;
    atomic_store(&self->done.value, 0);
    atomic_store(&self->ticket, TICKET(atomic_load(&self->jobs.value) + 1, n_items));
    add_one(&self->jobs);
    take_items(self, 0);
    wait_until_done(self, (uint32_t)n_items);
    pthread_mutex_unlock(&self->running);
}

static sk_status start_members(sk_team *self, int n_threads, sk_error *reterr) {
    /* Signals are the program's main thread's business. */
    sigset_t all, old;
    int      err = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (; self->n < n_threads; self->n++) {
        self->members[self->n] = (struct member){.team = self, .index = self->n};
        err = pthread_create(&self->threads[self->n], NULL, member_main, &self->members[self->n]);
        if (err) break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!err) return SK_OK;
    return SK_FAIL(reterr, SK_ENOMEM, "team: thread %d of %d could not be started (error %d)", self->n, n_threads, err);
}

sk_status sk_team_create(int n_threads, sk_team **ret_team, sk_error *reterr) {
    if (n_threads < 1 || n_threads > 1024)
        return SK_FAIL(reterr, SK_EINVAL, "a team has 1 to 1024 threads, got %d", n_threads);
    sk_team *self = aligned_alloc(64, (sizeof *self + 63) / 64 * 64);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "team: no memory");
    *self = (sk_team){.n = 1, .running = PTHREAD_MUTEX_INITIALIZER};
    self->threads = calloc((size_t)n_threads, sizeof *self->threads);
    self->members = calloc((size_t)n_threads, sizeof *self->members);
    sk_status status = self->threads && self->members ? start_members(self, n_threads, reterr)
                                                      : SK_FAIL(reterr, SK_ENOMEM, "team: no memory");
    if (status != SK_OK) {
        sk_team_destroy(&self);
        return status;
    }
    *ret_team = self;
    return SK_OK;
}

void sk_team_destroy(sk_team **self_p) {
    if (!self_p || !*self_p) return;
    sk_team *self = *self_p;
    if (self->n > 1) {
        atomic_store(&self->ended, 1);
        add_one(&self->jobs);
        for (int i = 1; i < self->n; i++) pthread_join(self->threads[i], NULL);
    }
    pthread_mutex_destroy(&self->running);
    free(self->threads);
    free(self->members);
    free(self);
    *self_p = NULL;
}

int sk_team_size(const sk_team *self) { return self->n; }
