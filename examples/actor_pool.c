/* actor_pool: actors that hold something dear (here a table), and a driver that feeds whoever is free. Which number up
 * to 3000000 takes the most Collatz steps (halve it, or triple it and add one) to reach 1?
 *
 *     cc -O2 actor_pool.c $(pkg-config --cflags --libs skiff) -o actor_pool && ./actor_pool
 *
 * prints
 *
 *     30 jobs for 3 actors: 2298025 takes 559 steps */
#include <skiff/skiff.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ACTORS = 3, N_JOBS = 30, JOB = 100000, TABLE = 1 << 18, PATIENCE_MS = 60000 };

typedef struct best {
    uint64_t number, n_steps;
} best;

/* ---- the actor: a struct with methods ---- */
typedef struct searcher {
    uint16_t n_steps[TABLE]; /* of numbers below TABLE */
} searcher;

static uint64_t count_steps(const searcher *self, uint64_t number, uint64_t known) {
    uint64_t n_steps = 0;
    for (; number >= known; n_steps++) number = number % 2 ? 3 * number + 1 : number / 2;
    return n_steps + self->n_steps[number];
}

/* Runs once, where the actor lives: its table is never sent anywhere. Here it has no arguments. */
static sk_status searcher_create(sk_call *call, void **ret_self, sk_error *reterr) {
    (void)call;
    searcher *self = calloc(1, sizeof *self);
    if (!self) return SK_FAIL(reterr, SK_ENOMEM, "no memory for a table of %d numbers", TABLE);
    for (uint64_t i = 2; i < TABLE; i++) self->n_steps[i] = (uint16_t)count_steps(self, i, i);
    return *ret_self = self, SK_OK;
}

static void searcher_destroy(void *self) { free(self); }

enum { SEARCH };
static const char *const methods[] = {"search"};

static sk_status searcher_call(void *self, int method, sk_call *call, sk_error *reterr) {
    if (method != SEARCH) return SK_FAIL(reterr, SK_EINVAL, "no method %d", method);
    const uint64_t first = *(const uint64_t *)sk_call_arg(call, 0).data;
    best           found = {0, 0};
    for (uint64_t i = first; i < first + JOB; i++) {
        uint64_t n_steps = count_steps(self, i, TABLE);
        if (n_steps > found.n_steps) found = (best){i, n_steps};
    }
    return sk_call_write(call, 0, &found, sizeof found, reterr);
}

static const sk_actor_class searcher_class = {
    .name = "collatz.Searcher", .methods = methods, .n_methods = SK_COUNT(methods),
    .create = searcher_create, .call = searcher_call, .destroy = searcher_destroy,
};
static const sk_actor_class *const classes[] = {&searcher_class};
static const sk_module   module = {SK_MODULE_ABI, sizeof module, "collatz", NULL, 0, classes, SK_COUNT(classes)};
static const sk_module *const modules[] = {&module};

/* ---- the driver ---- */
static sk_status give_job(sk_runtime *rt, sk_actor actor, int job, sk_ref *ret_answer, sk_error *reterr) {
    uint64_t first = 1 + (uint64_t)job * JOB;
    sk_arg   arg = sk_by_value(&first, sizeof first);
    return sk_actor_call(rt, actor, &(sk_method){.method = SEARCH, .args = &arg, .n_args = 1}, ret_answer, reterr);
}

/* One job is with each actor; who answers gets the next one, or leaves the pool (`actors`) when there is none. */
static sk_status search_all(sk_runtime *rt, sk_actor *actors, best *ret_best, sk_error *reterr) {
    sk_ref  answers[N_ACTORS]; /* answers[i] comes from actors[i] */
    uint8_t ended[N_ACTORS];
    int     n_given = 0, n_busy = 0, n_ended;
    for (; n_busy < N_ACTORS; n_busy++) SK_TRY(give_job(rt, actors[n_busy], n_given++, &answers[n_busy], reterr));
    while (n_busy > 0) {
        SK_TRY(sk_wait(rt, answers, n_busy, 1, PATIENCE_MS, ended, &n_ended, reterr));
        for (int i = n_busy - 1; i >= 0; i--) {
            if (!ended[i]) continue;
            sk_bytes value;
            SK_TRY(sk_get(rt, answers[i], 0, &value, reterr));
            const best *found = value.data;
            if (found->n_steps > ret_best->n_steps) *ret_best = *found;
            sk_release(rt, &answers[i]);
            if (n_given < N_JOBS)
                SK_TRY(give_job(rt, actors[i], n_given++, &answers[i], reterr));
            else
                n_busy--, actors[i] = actors[n_busy], answers[i] = answers[n_busy];
        }
    }
    return SK_OK;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return sk_worker_main(argc - 2, argv + 2, modules, SK_COUNT(modules));
    /* ---- create ---- */
    sk_runtime_params params = {.modules = modules, .n_modules = SK_COUNT(modules), .worker_has_modules = true};
    sk_runtime       *rt = NULL;
    sk_actor          actors[N_ACTORS];
    sk_error          err = {0};
    sk_status         status = sk_runtime_create(&params, &rt, &err);
    for (int i = 0; i < N_ACTORS && status == SK_OK; i++)
        status = sk_actor_create(rt, &(sk_actor_params){.class_name = "collatz.Searcher"}, &actors[i], &err);
    /* ---- run ---- */
    best found = {0, 0};
    if (status == SK_OK) status = search_all(rt, actors, &found, &err);
    /* ---- report ---- */
    if (status == SK_OK)
        printf("%d jobs for %d actors: %llu takes %llu steps\n", N_JOBS, N_ACTORS, (unsigned long long)found.number,
               (unsigned long long)found.n_steps);
    else
        fprintf(stderr, "%s\n", err.msg);
    /* ---- destroy: the actors end with the runtime ---- */
    sk_runtime_destroy(&rt);
    return status == SK_OK ? 0 : 1;
}
