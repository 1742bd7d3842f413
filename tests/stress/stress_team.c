/* Teams under load: 200,000 jobs of 8 items with 2 to 4 members, sums checked behind each; members that fell asleep
 * between jobs and while others hold an item; teams that come and go; several callers; training on a team. Exit status
 * 0 if all was right. */
#include "nn/cpu/team.h"
#include "nn/plan.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_MAX = 4, N_ITEMS = 8, JOBS = 100000 };

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond);                         \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static void sleep_us(long us) { nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL); }

static sk_team *create(int n) {
    sk_team *team = NULL;
    sk_error err = {0};
    if (sk_team_create(n, &team, &err) != SK_OK) fprintf(stderr, "%s\n", err.msg);
    CHECK(team);
    return team;
}

/* Plain ints on purpose: only the team orders them, so a hole in it is a race and a wrong sum. */
typedef struct ledger {
    sk_team *team;
    int cell[N_ITEMS], total[N_ITEMS], round, doze;
} ledger;

static void write_cell(void *arg, int item, int member) {
    ledger *l = arg;
    if (l->doze && item == l->round % N_ITEMS && member == l->round % 2) sleep_us(200); /* others fall asleep */
    l->cell[item] = l->round;
}
static void sum_cells(void *arg, int item, int member) {
    ledger *l = arg;
    (void)member;
    l->total[item] = 0;
    for (int i = 0; i < N_ITEMS; i++) l->total[item] += l->cell[i];
}
static void keep_ledger(ledger *l, int rounds) {
    for (int i = 0; i < rounds; i++) {
        l->round++;
        sk_team_run(l->team, N_ITEMS, write_cell, l);
        sk_team_run(l->team, N_ITEMS, sum_cells, l);
        for (int j = 0; j < N_ITEMS; j++) CHECK(l->total[j] == N_ITEMS * l->round);
    }
}

static void stress_jobs(int n, int rounds, int doze) {
    ledger l = {.team = create(n), .doze = doze};
    for (int run = 0; run < 10; run++) {
        keep_ledger(&l, rounds / 10);
        if (doze) sleep_us(300);
    }
    sk_team_destroy(&l.team);
}

static void add_one(void *arg, int item, int member) {
    (void)member;
    ((int *)arg)[item]++;
}

/* Gaps around the length of the members' patience, where going to sleep and being woken meet. */
static void stress_gaps(int n, int n_runs) {
    sk_team *team = create(n);
    int count[N_MAX] = {0};
    for (int run = 1; run <= n_runs; run++) {
        struct timespec now, start;
        clock_gettime(CLOCK_MONOTONIC, &start);
        long gap_ns = 1000L * (run % 100);
        do clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - start.tv_sec) * 1000000000L + now.tv_nsec - start.tv_nsec < gap_ns);
        sk_team_run(team, n, add_one, count);
        for (int i = 0; i < n; i++) CHECK(count[i] == run);
    }
    sk_team_destroy(&team);
}

static void stress_lifetimes(int n_teams) {
    for (int i = 0; i < n_teams; i++) {
        sk_team *team = create(1 + i % N_MAX);
        int count[N_MAX] = {0};
        for (int run = 0; run < i % 3; run++) sk_team_run(team, 1 + i % N_MAX, add_one, count);
        if (i % 7 == 0) sleep_us(200);
        sk_team_destroy(&team);
        CHECK(!team);
        for (int j = 0; j < 1 + i % N_MAX; j++) CHECK(count[j] == i % 3);
    }
}

static void *call_jobs(void *arg) {
    keep_ledger(arg, 5000);
    return NULL;
}
static void stress_callers(void) {
    static ledger ledgers[3];
    pthread_t callers[3];
    ledgers[0].team = create(2);
    for (int i = 0; i < 3; i++) {
        ledgers[i].team = ledgers[0].team;
        CHECK(pthread_create(&callers[i], NULL, call_jobs, &ledgers[i]) == 0);
    }
    for (int i = 0; i < 3; i++) pthread_join(callers[i], NULL);
    sk_team_destroy(&ledgers[0].team);
}

/* A layer and its loss, trained by 1 and by 4 threads: the same parameters, and no races between slots. */
static void train(int n_threads, float *ret_params, size_t bytes) {
    enum { ROWS = 200, COLS = 8 };
    static float x[ROWS * COLS];
    sk_graph *g = NULL;
    sk_device *dev = NULL;
    sk_buffer *params = NULL;
    sk_plan *plan = NULL;
    sk_adam *adam = NULL;
    for (int i = 0; i < ROWS * COLS; i++) x[i] = (float)(i * 7919 % 1000) / 500.0f - 1.0f;
    CHECK(sk_graph_create(&g, NULL) == SK_OK);
    sk_tensor in = sk_graph_input(g, "x", COLS), w = sk_graph_param(g, "w", COLS, 16);
    sk_tensor h = sk_graph_linear(g, in, w, sk_graph_param(g, "b", 1, 16), SK_UNARY_TANH);
    sk_tensor v = sk_graph_linear(g, h, sk_graph_param(g, "v", 16, COLS), SK_NO_TENSOR, SK_UNARY_IDENTITY);
    sk_tensor err = sk_graph_unary(g, SK_UNARY_SQUARE, sk_graph_binary(g, SK_BINARY_SUB, v, in));
    sk_graph_minimize(g, sk_graph_mean(g, sk_graph_row_sum(g, err)), 1.0f);
    CHECK(sk_graph_finish(g, NULL) == SK_OK);
    CHECK(sk_graph_param_floats(g) * sizeof(float) == bytes);
    CHECK(sk_device_create_cpu(n_threads, &dev, NULL) == SK_OK);
    CHECK(sk_buffer_create(dev, bytes, &params, NULL) == SK_OK);
    for (int i = 0; i < COLS * 16; i++)
        ((float *)sk_buffer_host(params))[i] = (float)(i * 31 % 17) / 20.0f - 0.4f;
    sk_plan_params how = {.max_rows = ROWS, .block_rows = 16, .backward = 1};
    CHECK(sk_plan_create(dev, g, params, &how, &plan, NULL) == SK_OK);
    CHECK(sk_adam_create(dev, params, bytes / sizeof(float), &(sk_adam_params){0.9f, 0.999f, 1e-5f}, &adam,
                         NULL) == SK_OK);
    sk_plan_bind_host(plan, in, x);
    for (int step = 0; step < 300; step++)
        CHECK(sk_plan_train(plan, ROWS - step % 50, adam, 1e-2, 0.5) > 0.0);
    memcpy(ret_params, sk_buffer_host(params), bytes);
    sk_adam_destroy(&adam);
    sk_plan_destroy(&plan);
    sk_buffer_destroy(&params);
    sk_device_destroy(&dev);
    sk_graph_destroy(&g);
}

static void stress_training(void) {
    enum { FLOATS = 8 * 16 + 16 + 16 * 16 };
    static float want[FLOATS], got[FLOATS];
    train(1, want, sizeof want);
    for (int n = 2; n <= N_MAX; n++) {
        train(n, got, sizeof got);
        CHECK(memcmp(got, want, sizeof got) == 0);
    }
}

int main(void) {
    stress_jobs(2, JOBS, 0);
    stress_jobs(3, JOBS / 4, 0);
    stress_jobs(4, JOBS / 4, 0);
    for (int n = 2; n <= N_MAX; n++) stress_jobs(n, 1000, 1);
    for (int n = 2; n <= N_MAX; n++) stress_gaps(n, 5000);
    stress_lifetimes(500);
    stress_callers();
    stress_training();
    return 0;
}
