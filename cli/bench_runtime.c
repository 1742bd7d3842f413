/* bench_runtime: the rows of `ray microbenchmark`, by the same definitions, on worker processes: 1 s of warm-up, then
 * the median over windows. docs/performance.md says what each row is. */
#include "cli/bench_runtime.h"
#include "cli/modules.h"
#include "core/base/clock.h"
#include "core/base/config.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_FLIGHT = 1000,   /* tasks or calls of one batch; what Ray's loops have under way */
    N_CALLERS = 4,     /* tasks that call actors at the same time                      */
    N_GROUPS = 100,    /* placement groups of one batch                                */
    N_QUICK = 100,     /* quick operations between two looks at the clock              */
    N_PROCESS_ACTORS = 1000,
    N_THREAD_ACTORS = 10000
};
#define LARGE_BYTES  ((size_t)800 << 20)
#define WARM_UP_S    1.0 /* less when the windows are shorter */
#define CREATE_MAX_S 3.0 /* actor_create_thread is repeated within this time */

/* What the rows work on. */
typedef struct load {
    sk_runtime *rt;
    sk_ref      refs[N_FLIGHT];
    sk_actor    actors[SK_BENCH_RT_ACTORS]; /* processes                                          */
    sk_ref      value;                      /* a small object                                     */
    void       *large;                      /* (LARGE_BYTES) only while put_large_gb runs         */
    int64_t     apart_ns;                   /* of this window: time that does not belong to the row */
    int64_t     limit_ns, n_limit;          /* of this window: batches of the row's limit         */
} load;

typedef struct row {
    const char *name, *unit;
    double      amount; /* of one batch in the row's unit */
    sk_status (*batch)(load *self, sk_error *reterr);
    int         finds_limit; /* its batches measure the limit too */
    int         is_round_trip;
    const char *settings;
} row;

sk_status sk_bench_rt_open(sk_runtime **ret_rt, sk_error *reterr) {
    static const sk_module *const modules[] = {&sk_bench_runtime_module};
    static const sk_resource      resources[] = {{"cpu", 2}};
    sk_runtime_params params = {.name = "bench", .modules = modules, .n_modules = SK_COUNT(modules),
                                .worker_has_modules = true, .resources = resources, .n_resources = SK_COUNT(resources)};
    return sk_runtime_create(&params, ret_rt, reterr);
}

/* ---- tasks and calls ------------------------------------------------------------------------------------------ */
static sk_status submit_small(load *self, sk_ref *ret_ref, sk_error *reterr) {
    sk_task task = {.function = "bench.small", .placement = SK_PLACE_PROCESS};
    return sk_submit(self->rt, &task, ret_ref, reterr);
}

static sk_status call_small(load *self, sk_ref *ret_ref, sk_error *reterr) {
    sk_method method = {.method = 0};
    return sk_actor_call(self->rt, self->actors[0], &method, ret_ref, reterr);
}

/* Wait for refs[0..n), read the values, release. */
static sk_status collect(load *self, int n, sk_error *reterr) {
    sk_status status = sk_get_all(self->rt, self->refs, n, SK_BENCH_RT_TIMEOUT_MS, reterr);
    for (int i = 0; i < n; i++) {
        sk_bytes value;
        if (status == SK_OK) status = sk_get(self->rt, self->refs[i], 0, &value, reterr);
        sk_release(self->rt, &self->refs[i]);
    }
    return status;
}

/* One at a time: submit, wait for its value, release. */
static sk_status one_by_one(load *self, sk_status (*start)(load *, sk_ref *, sk_error *), sk_error *reterr) {
    sk_ref   ref = {0};
    sk_bytes value;
    SK_TRY(start(self, &ref, reterr));
    sk_status status = sk_get(self->rt, ref, SK_BENCH_RT_TIMEOUT_MS, &value, reterr);
    sk_release(self->rt, &ref);
    return status;
}

/* All in flight, then wait for all. */
static sk_status all_at_once(load *self, sk_status (*start)(load *, sk_ref *, sk_error *), sk_error *reterr) {
    for (int i = 0; i < N_FLIGHT; i++) SK_TRY(start(self, &self->refs[i], reterr));
    return collect(self, N_FLIGHT, reterr);
}

static sk_status task_sync(load *self, sk_error *reterr) { return one_by_one(self, submit_small, reterr); }
static sk_status task_async(load *self, sk_error *reterr) { return all_at_once(self, submit_small, reterr); }
static sk_status actor_sync(load *self, sk_error *reterr) { return one_by_one(self, call_small, reterr); }
static sk_status actor_async(load *self, sk_error *reterr) { return all_at_once(self, call_small, reterr); }

/* Callers in worker processes call actors in other worker processes. */
static sk_status actor_nn_async(load *self, sk_error *reterr) {
    sk_bench_caller_args args = {.n_calls = N_FLIGHT};
    memcpy(args.actors, self->actors, sizeof args.actors);
    sk_arg  arg = sk_by_value(&args, sizeof args);
    sk_task task = {.function = "bench.caller", .placement = SK_PLACE_PROCESS, .args = &arg, .n_args = 1};
    for (int i = 0; i < N_CALLERS; i++) SK_TRY(sk_submit(self->rt, &task, &self->refs[i], reterr));
    return collect(self, N_CALLERS, reterr);
}

/* Ask for the next one that has ended, 1,000 times; the others are asked for again. */
static sk_status wait_1k(load *self, sk_error *reterr) {
    uint8_t   ended[N_FLIGHT];
    int       n_ended, at;
    sk_status status = SK_OK;
    for (int i = 0; i < N_FLIGHT; i++) SK_TRY(submit_small(self, &self->refs[i], reterr));
    for (int done = 0; done < N_FLIGHT && status == SK_OK; done++) {
        sk_ref *left = self->refs + done;
        status = sk_wait(self->rt, left, N_FLIGHT - done, 1, SK_BENCH_RT_TIMEOUT_MS, ended, &n_ended, reterr);
        for (at = 0; status == SK_OK && !ended[at];) at++;
        if (status != SK_OK) break;
        sk_ref first = left[at]; /* the order of the others is kept */
        memmove(left + 1, left, (size_t)at * sizeof *left);
        left[0] = first;
    }
    for (int i = 0; i < N_FLIGHT; i++) sk_release(self->rt, &self->refs[i]);
    return status;
}

/* ---- objects -------------------------------------------------------------------------------------------------- */
static sk_status put_small(load *self, sk_error *reterr) {
    const int64_t value = 0;
    for (int i = 0; i < N_QUICK; i++) {
        sk_ref ref;
        SK_TRY(sk_put(self->rt, &value, sizeof value, &ref, reterr));
        sk_release(self->rt, &ref);
    }
    return SK_OK;
}

static sk_status get_small(load *self, sk_error *reterr) {
    sk_bytes value;
    for (int i = 0; i < N_QUICK; i++) SK_TRY(sk_get(self->rt, self->value, SK_BENCH_RT_TIMEOUT_MS, &value, reterr));
    return SK_OK;
}

/* A put, then its limit: memcpy of the same bytes into memory of the same store that was written just before. */
static sk_status put_large(load *self, sk_error *reterr) {
    sk_ref ref;
    void  *data;
    SK_TRY(sk_put(self->rt, self->large, LARGE_BYTES, &ref, reterr));
    sk_release(self->rt, &ref);
    int64_t start_ns = sk_clock_now_ns();
    SK_TRY(sk_put_begin(self->rt, LARGE_BYTES, &ref, &data, reterr));
    memcpy(data, self->large, LARGE_BYTES);
    int64_t warm_ns = sk_clock_now_ns();
    memcpy(data, self->large, LARGE_BYTES);
    self->limit_ns += sk_clock_now_ns() - warm_ns;
    self->n_limit++;
    sk_status status = sk_put_end(self->rt, ref, reterr);
    sk_release(self->rt, &ref);
    self->apart_ns += sk_clock_now_ns() - start_ns;
    return status;
}

/* ---- placement groups ------------------------------------------------------------------------------------------- */
static sk_status placement_group(load *self, sk_error *reterr) {
    static const sk_resource share = {"cpu", 0.001};
    sk_bundle bundle = {&share, 1};
    sk_group  groups[N_GROUPS] = {{0}};
    sk_status status = SK_OK;
    for (int i = 0; i < N_GROUPS && status == SK_OK; i++)
        status = sk_group_create(self->rt, &bundle, 1, SK_PACK, &groups[i], reterr);
    for (int i = 0; i < N_GROUPS && status == SK_OK; i++)
        status = sk_group_wait(self->rt, groups[i], SK_BENCH_RT_TIMEOUT_MS, reterr);
    int64_t end_ns = sk_clock_now_ns();
    for (int i = 0; i < N_GROUPS; i++) sk_group_destroy(self->rt, &groups[i]);
    self->apart_ns += sk_clock_now_ns() - end_ns;
    return status;
}

/* ---- timing --------------------------------------------------------------------------------------------------- */
/* Batches for about `seconds`; amounts of the row and of its limit per second of their own time. */
static sk_status time_window(load *self, const row *r, double seconds, double *ret_rate, double *ret_limit,
                             sk_error *reterr) {
    int64_t start_ns = sk_clock_now_ns(), now_ns = start_ns, n = 0;
    self->apart_ns = self->limit_ns = self->n_limit = 0;
    while ((double)(now_ns - start_ns) < seconds * 1e9) {
        SK_TRY(r->batch(self, reterr));
        now_ns = sk_clock_now_ns();
        n++;
    }
    *ret_rate = r->amount * (double)n / ((double)(now_ns - start_ns - self->apart_ns) * 1e-9);
    *ret_limit = self->n_limit ? r->amount * (double)self->n_limit / ((double)self->limit_ns * 1e-9) : 0.0;
    return SK_OK;
}

static sk_status time_row(const sk_bench *bench, load *self, const row *r, double round_trips, sk_error *reterr) {
    double rates[64], limits[64], window_s = bench->window_ms * 1e-3;
    SK_TRY(time_window(self, r, window_s < WARM_UP_S ? window_s : WARM_UP_S, &rates[0], &limits[0], reterr));
    for (int i = 0; i < bench->n_repeats; i++) SK_TRY(time_window(self, r, window_s, &rates[i], &limits[i], reterr));
    double limit = r->finds_limit ? sk_bench_median(limits, bench->n_repeats) : r->is_round_trip ? round_trips : 0.0;
    sk_bench_print(bench, &(sk_bench_row){"runtime", r->name, r->unit, sk_bench_median(rates, bench->n_repeats), limit,
                                          r->settings});
    return SK_OK;
}

/* ---- the limit of one at a time: a word in memory goes to another core and back ---------------------------------- */
enum { LOOKS_MAX = 20000 }; /* then the other thread seems to have no core */

/* Wait until the word is no longer `old`. */
static uint32_t next_word(_Atomic uint32_t *word, uint32_t old) {
    uint32_t now;
    for (int looks = 0; (now = atomic_load_explicit(word, memory_order_acquire)) == old; looks++)
        if (looks > LOOKS_MAX) sched_yield();
    return now;
}

static void *answer(void *word_p) {
    _Atomic uint32_t *word = word_p; /* odd: a question, UINT32_MAX: the end */
    for (uint32_t seen = 0; (seen = next_word(word, seen)) != UINT32_MAX; seen++)
        atomic_store_explicit(word, seen + 1, memory_order_release);
    return NULL;
}

/* The n-th of the cores in `all`, alone; false: there are not so many. */
static bool nth_core(const cpu_set_t *all, int n, cpu_set_t *ret_one) {
    CPU_ZERO(ret_one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, all) || n-- > 0) continue;
        CPU_SET(cpu, ret_one);
        return true;
    }
    return false;
}

/* Round trips per second, the best of a few tries of some milliseconds; 0 where there is no second core. */
static double time_round_trips(void) {
    enum { TRIES = 10, ROUNDS_MAX = 20000 };
    const double try_s = 0.01;
    _Alignas(64) _Atomic uint32_t word = 0;
    uint32_t  asked = 1;
    double    best = 0.0;
    pthread_t thread;
    cpu_set_t all, first, second;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return 0.0;
    if (!nth_core(&all, 0, &first) || !nth_core(&all, 1, &second)) return 0.0;
    if (pthread_create(&thread, NULL, answer, &word) != 0) return 0.0;
    bool apart = pthread_setaffinity_np(thread, sizeof second, &second) == 0;
    apart &= sched_setaffinity(0, sizeof first, &first) == 0;
    for (int t = 0; t < TRIES; t++) {
        double start_s = sk_clock_now_s();
        int    n = 0;
        while (n < ROUNDS_MAX && (n % 64 != 0 || sk_clock_now_s() - start_s < try_s)) {
            atomic_store_explicit(&word, asked, memory_order_release);
            next_word(&word, asked);
            asked += 2;
            n++;
        }
        double rate = n / (sk_clock_now_s() - start_s);
        if (rate > best) best = rate;
    }
    atomic_store(&word, UINT32_MAX);
    pthread_join(thread, NULL);
    apart &= sched_setaffinity(0, sizeof all, &all) == 0;
    return apart ? best : 0.0;
}

/* ---- creating actors ------------------------------------------------------------------------------------------- */
static sk_status create_once(load *self, sk_placement placement, int n, double *ret_s, sk_error *reterr) {
    sk_actor       *actors = calloc((size_t)n, sizeof *actors);
    sk_ref         *refs = calloc((size_t)n, sizeof *refs);
    sk_status       status = actors && refs ? SK_OK : SK_FAIL(reterr, SK_ENOMEM, "bench: no memory for %d actors", n);
    sk_actor_params params = {.class_name = "bench.actor", .placement = placement};
    sk_method       method = {.method = 0};
    double          start_s = sk_clock_now_s();
    int             n_made = 0;
    for (; n_made < n && status == SK_OK; n_made++) {
        status = sk_actor_create(self->rt, &params, &actors[n_made], reterr);
        if (status != SK_OK) break;
        status = sk_actor_call(self->rt, actors[n_made], &method, &refs[n_made], reterr);
    }
    if (status == SK_OK) status = sk_get_all(self->rt, refs, n, SK_BENCH_RT_TIMEOUT_MS, reterr);
    *ret_s = sk_clock_now_s() - start_s;
    for (int i = 0; i < n_made; i++) sk_release(self->rt, &refs[i]);
    if (n_made) sk_actor_join(self->rt, actors, n_made, SK_BENCH_RT_TIMEOUT_MS);
    free(refs);
    free(actors);
    return status;
}

static sk_status create_processes(const sk_bench *bench, load *self, sk_error *reterr) {
    double seconds, limit;
    char   settings[160];
    SK_TRY(sk_bench_rt_spawn_rate(&limit, reterr));
    SK_TRY(create_once(self, SK_PLACE_PROCESS, N_PROCESS_ACTORS, &seconds, reterr));
    snprintf(settings, sizeof settings,
             "%d actors in processes of their own, made and called once, in %.3f s; limit: processes that end at once",
             N_PROCESS_ACTORS, seconds);
    sk_bench_print(bench, &(sk_bench_row){"runtime", "actor_create_process", "actors/s", N_PROCESS_ACTORS / seconds,
                                          limit, settings});
    return SK_OK;
}

static sk_status create_threads(const sk_bench *bench, load *self, sk_error *reterr) {
    double seconds[64], sum_s = 0.0;
    char   settings[160];
    int    n = 0;
    while (n < bench->n_repeats && (n == 0 || sum_s < CREATE_MAX_S)) {
        SK_TRY(create_once(self, SK_PLACE_THREAD, N_THREAD_ACTORS, &seconds[n], reterr));
        sum_s += seconds[n++];
    }
    double median_s = sk_bench_median(seconds, n);
    snprintf(settings, sizeof settings, "%d actors in threads, each made and called once, in %.3f s", N_THREAD_ACTORS,
             median_s);
    sk_bench_print(bench, &(sk_bench_row){"runtime", "actor_create_thread", "actors/s", N_THREAD_ACTORS / median_s, 0.0,
                                          settings});
    return SK_OK;
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */
/* In the order in which they are printed; those without a batch are below. */
static const row rows[] = {
    {"task_sync", "tasks/s", 1, task_sync, 0, 1,
     "submit and get, one at a time; limit: a word in memory to another core and back"},
    {"task_async", "tasks/s", N_FLIGHT, task_async, 0, 0, "1,000 in flight, then get all"},
    {"actor_sync", "calls/s", 1, actor_sync, 0, 1,
     "call and get, one at a time; limit: a word in memory to another core and back"},
    {"actor_async", "calls/s", N_FLIGHT, actor_async, 0, 0, "1,000 in flight to one actor, then get all"},
    {"actor_nn_async", "calls/s", N_CALLERS * N_FLIGHT, actor_nn_async, 0, 0,
     "4 tasks in worker processes make 1,000 calls each to 2 actors; 2 cpus"},
    {"put_small", "puts/s", N_QUICK, put_small, 0, 0, "8 bytes, put and release"},
    {"get_small", "gets/s", N_QUICK, get_small, 0, 0, "8 bytes, the same object"},
    {"put_large_gb", "GB/s", (double)LARGE_BYTES * 1e-9, put_large, 1, 0,
     "800 MiB, put and release; limit: one memcpy of it into warm memory of the store"},
    {"wait_1k", "batches/s", 1, wait_1k, 0, 0, "1,000 tasks, waited for one at a time"},
    {"placement_group", "groups/s", N_GROUPS, placement_group, 0, 0,
     "100 groups of one bundle of 0.001 cpu, made and waited for"},
};
static const char *const other_rows[] = {"actor_create_process", "actor_create_thread", "start_ms", "first_task_ms",
                                         "idle_mb", "tasks_queued_1m_s"};

int sk_bench_rt_wants(const sk_bench *self, const char *name) { return !self->row || strcmp(self->row, name) == 0; }

sk_status sk_bench_runtime_check_row(const char *name, sk_error *reterr) {
    const char *names[SK_COUNT(rows) + SK_COUNT(other_rows)];
    int         n = 0;
    for (int i = 0; i < SK_COUNT(rows); i++) names[n++] = rows[i].name;
    for (int i = 0; i < SK_COUNT(other_rows); i++) names[n++] = other_rows[i];
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return SK_OK;
    const char *near = sk_nearest_name(name, names, n);
    return SK_FAIL(reterr, SK_ENOTFOUND, "no row \"%s\"%s%s%s", name,
                   near ? "; did you mean \"" : "; a run without --row shows them all", near ? near : "",
                   near ? "\"?" : "");
}

static sk_status open_load(load *self, sk_error *reterr) {
    const int64_t   value = 0;
    sk_actor_params params = {.class_name = "bench.actor", .placement = SK_PLACE_PROCESS};
    SK_TRY(sk_bench_rt_open(&self->rt, reterr));
    SK_TRY(sk_put(self->rt, &value, sizeof value, &self->value, reterr));
    for (int i = 0; i < SK_BENCH_RT_ACTORS; i++) SK_TRY(sk_actor_create(self->rt, &params, &self->actors[i], reterr));
    for (int i = 0; i < SK_BENCH_RT_ACTORS; i++)
        SK_TRY(sk_actor_wait(self->rt, self->actors[i], SK_BENCH_RT_TIMEOUT_MS, reterr));
    return SK_OK;
}

static sk_status run_rows(const sk_bench *bench, load *self, double round_trips, sk_error *reterr) {
    for (int i = 0; i < SK_COUNT(rows); i++) {
        const row *r = &rows[i];
        if (!sk_bench_rt_wants(bench, r->name)) continue;
        if (r->batch == put_large) {
            self->large = malloc(LARGE_BYTES);
            if (!self->large) return SK_FAIL(reterr, SK_ENOMEM, "bench: no memory for %zu bytes", LARGE_BYTES);
            memset(self->large, 1, LARGE_BYTES); /* real pages, not one page of zeros */
        }
        sk_status status = time_row(bench, self, r, round_trips, reterr);
        if (status != SK_OK) sk_error_prefix(reterr, "%s", r->name);
        free(self->large);
        self->large = NULL;
        SK_TRY(status);
    }
    if (sk_bench_rt_wants(bench, "actor_create_process")) SK_TRY(create_processes(bench, self, reterr));
    if (sk_bench_rt_wants(bench, "actor_create_thread")) SK_TRY(create_threads(bench, self, reterr));
    return SK_OK;
}

/* Does --row leave something to be timed in this process? */
static int wants_load(const sk_bench *self) {
    int wants = sk_bench_rt_wants(self, "actor_create_process") || sk_bench_rt_wants(self, "actor_create_thread");
    for (int i = 0; i < SK_COUNT(rows); i++) wants |= sk_bench_rt_wants(self, rows[i].name);
    return wants;
}

sk_status sk_bench_runtime(const sk_bench *self, sk_error *reterr) {
    if (wants_load(self)) {
        load  *l = calloc(1, sizeof *l);
        double round_trips = time_round_trips();
        if (!l) return SK_FAIL(reterr, SK_ENOMEM, "bench: no memory");
        sk_status status = open_load(l, reterr);
        if (status == SK_OK) status = run_rows(self, l, round_trips, reterr);
        sk_runtime_destroy(&l->rt);
        free(l);
        SK_TRY(status);
    }
    if (sk_bench_rt_wants(self, "start_ms") || sk_bench_rt_wants(self, "first_task_ms") ||
        sk_bench_rt_wants(self, "idle_mb"))
        SK_TRY(sk_bench_rt_start(self, reterr));
    if (sk_bench_rt_wants(self, "tasks_queued_1m_s")) SK_TRY(sk_bench_rt_queue(self, reterr));
    return SK_OK;
}
