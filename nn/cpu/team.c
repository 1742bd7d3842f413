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

/* A counter that only grows; waiting is until it has moved past a known value. */
typedef struct gate {
    _Alignas(64) _Atomic uint32_t count;
    _Atomic uint32_t n_sleepers;
} gate;

struct sk_team {
    int         n;
    gate        start;   /* one step per run                  */
    gate        barrier; /* one step per completed barrier    */
    _Alignas(64) _Atomic uint32_t n_arrived;
    sk_team_fn  fn;      /* of the present run; NULL = end    */
    void       *arg;
    pthread_mutex_t running; /* held by the thread whose run it is */
    pthread_t  *threads; /* members 1 .. n - 1                */
    struct member {
        sk_team *team;
        int      index;
    } *members;
};

static void gate_wait(gate *g, uint32_t seen) {
    for (int i = 0; i < SPINS_MAX; i++) {
        if (atomic_load_explicit(&g->count, memory_order_acquire) != seen) return;
        __builtin_ia32_pause();
    }
    /* Only the sleeper changes its own mark, so a wake-up cannot be lost. */
    atomic_fetch_add(&g->n_sleepers, 1);
    while (atomic_load(&g->count) == seen)
        syscall(SYS_futex, &g->count, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&g->n_sleepers, 1);
}

static void gate_open(gate *g) {
    atomic_fetch_add(&g->count, 1);
    if (atomic_load(&g->n_sleepers)) syscall(SYS_futex, &g->count, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void sk_team_barrier(sk_team *self) {
    if (self->n == 1) return;
    uint32_t seen = atomic_load_explicit(&self->barrier.count, memory_order_relaxed);
    if (atomic_fetch_add(&self->n_arrived, 1) + 1 == (uint32_t)self->n) {
        atomic_store_explicit(&self->n_arrived, 0, memory_order_relaxed);
        gate_open(&self->barrier);
    } else {
        gate_wait(&self->barrier, seen);
    }
}

static void *member_main(void *arg) {
    struct member *me = arg;
    sk_team       *team = me->team;
    uint32_t       seen = 0;
    for (;;) {
        gate_wait(&team->start, seen);
        seen++;
        if (!team->fn) return NULL;
        team->fn(team->arg, me->index, team->n);
        sk_team_barrier(team);
    }
}

void sk_team_run(sk_team *self, sk_team_fn fn, void *arg) {
    SK_ASSERT(fn);
    if (self->n == 1) {
        fn(arg, 0, 1);
        return;
    }
    pthread_mutex_lock(&self->running);
    self->fn = fn;
    self->arg = arg;
    gate_open(&self->start);
    fn(arg, 0, self->n);
    sk_team_barrier(self);
    pthread_mutex_unlock(&self->running);
}

sk_status sk_team_create(int n_threads, sk_team **ret_team, sk_error *reterr) {
    if (n_threads < 1 || n_threads > 1024)
        return SK_FAIL(reterr, SK_EINVAL, "a team has 1 to 1024 threads, got %d", n_threads);
    sk_team *self = aligned_alloc(64, (sizeof *self + 63) / 64 * 64);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "team: no memory");
    *self = (sk_team){.n = 1, .running = PTHREAD_MUTEX_INITIALIZER};
    self->threads = calloc((size_t)n_threads, sizeof *self->threads);
    self->members = calloc((size_t)n_threads, sizeof *self->members);
    sk_status status = SK_OK;
    if (!self->threads || !self->members) {
        status = SK_FAIL(reterr, SK_ENOMEM, "team: no memory");
        goto fail;
    }
    /* Signals are the program's main thread's business. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int made = 1, err = 0;
    for (; made < n_threads; made++) {
        self->members[made] = (struct member){.team = self, .index = made};
        err = pthread_create(&self->threads[made], NULL, member_main, &self->members[made]);
        if (err) break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    self->n = made; /* members read it only after the first start */
    if (err) {
        status = SK_FAIL(reterr, SK_ENOMEM, "team: thread %d of %d could not be started (error %d)", made, n_threads, err);
        goto fail;
    }
    *ret_team = self;
    return SK_OK;
fail:
    sk_team_destroy(&self);
    return status;
}

void sk_team_destroy(sk_team **self_p) {
    if (!self_p || !*self_p) return;
    sk_team *self = *self_p;
    if (self->n > 1) {
        self->fn = NULL;
        gate_open(&self->start);
        for (int i = 1; i < self->n; i++) pthread_join(self->threads[i], NULL);
    }
    pthread_mutex_destroy(&self->running);
    free(self->threads);
    free(self->members);
    free(self);
    *self_p = NULL;
}

int sk_team_size(const sk_team *self) { return self->n; }
