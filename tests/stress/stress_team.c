/* Teams under load: 100,000 barriers with 2 to 4 members, sums checked behind each; members that fell asleep
 * between runs and inside barriers; teams that come and go; several callers. Exit status 0 if all was right. */
#include "nn/cpu/team.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_MAX = 4, BARRIERS = 100000, BARRIERS_PER_RUN = 500 };

#define CHECK(cond)                                                                                        \
    do {                                                                                                   \
        if (!(cond)) {                                                                                     \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond);                       \
            exit(1);                                                                                       \
        }                                                                                                  \
    } while (0)

static void sleep_us(long us) { nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL); }

static sk_team *create(int n) {
    sk_team *team = NULL;
    sk_error err = {0};
    if (sk_team_create(n, &team, &err) != SK_OK) fprintf(stderr, "%s\n", err.msg);
    CHECK(team);
    return team;
}

/* Plain ints on purpose: only the barriers order them, so a hole in a barrier is a race and a wrong sum. */
typedef struct ledger {
    sk_team *team;
    int      cell[N_MAX], round, doze;
    long     n_sums;
} ledger;

static void keep_ledger(void *arg, int member, int n) {
    ledger *l = arg;
    for (int i = 1; i <= BARRIERS_PER_RUN / 2; i++) {
        l->cell[member] = l->round + i;
        if (l->doze && i % 50 == 0 && member == i / 50 % n) sleep_us(200); /* the others fall asleep meanwhile */
        sk_team_barrier(l->team);
        int sum = 0;
        for (int j = 0; j < n; j++) sum += l->cell[j];
        CHECK(sum == n * (l->round + i));
        sk_team_barrier(l->team);
    }
    if (member == 0) l->n_sums += BARRIERS_PER_RUN / 2;
}

static void stress_barriers(int n, int n_barriers, int doze) {
    ledger l = {.team = create(n), .doze = doze};
    for (int run = 0; run < n_barriers / BARRIERS_PER_RUN; run++) {
        l.round = run * BARRIERS_PER_RUN;
        sk_team_run(l.team, keep_ledger, &l);
        if (doze) sleep_us(300);
    }
    CHECK(l.n_sums == n_barriers / 2);
    sk_team_destroy(&l.team);
}

static void add_one(void *arg, int member, int n) {
    (void)n;
    ((int *)arg)[member]++;
}

/* Gaps around the length of the members' patience, where going to sleep and being woken meet. */
static void stress_gaps(int n, int n_runs) {
    sk_team *team = create(n);
    int      count[N_MAX] = {0};
    for (int run = 1; run <= n_runs; run++) {
        struct timespec now, start;
        clock_gettime(CLOCK_MONOTONIC, &start);
        long gap_ns = 1000L * (run % 100);
        do clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - start.tv_sec) * 1000000000L + now.tv_nsec - start.tv_nsec < gap_ns);
        sk_team_run(team, add_one, count);
        for (int i = 0; i < n; i++) CHECK(count[i] == run);
    }
    sk_team_destroy(&team);
}

static void stress_lifetimes(int n_teams) {
    for (int i = 0; i < n_teams; i++) {
        sk_team *team = create(1 + i % N_MAX);
        int      count[N_MAX] = {0};
        for (int run = 0; run < i % 3; run++) sk_team_run(team, add_one, count);
        if (i % 7 == 0) sleep_us(200);
        sk_team_destroy(&team);
        CHECK(!team);
        for (int j = 0; j < 1 + i % N_MAX; j++) CHECK(count[j] == i % 3);
    }
}

static void *call_runs(void *arg) {
    ledger *l = arg;
    for (int run = 0; run < 20; run++) {
        l->round = run * BARRIERS_PER_RUN;
        sk_team_run(l->team, keep_ledger, l);
    }
    return NULL;
}
static void stress_callers(void) {
    ledger    ledgers[3] = {{.team = create(2)}};
    pthread_t callers[3];
    for (int i = 0; i < 3; i++) {
        ledgers[i].team = ledgers[0].team;
        CHECK(pthread_create(&callers[i], NULL, call_runs, &ledgers[i]) == 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(callers[i], NULL);
        CHECK(ledgers[i].n_sums == 20 * BARRIERS_PER_RUN / 2);
    }
    sk_team_destroy(&ledgers[0].team);
}

int main(void) {
    stress_barriers(2, BARRIERS, 0);
    stress_barriers(3, BARRIERS / 4, 0); /* fewer: with fewer cores than members each costs a time slice */
    stress_barriers(4, BARRIERS / 4, 0);
    for (int n = 2; n <= N_MAX; n++) stress_barriers(n, 5000, 1);
    for (int n = 2; n <= N_MAX; n++) stress_gaps(n, 5000);
    stress_lifetimes(500);
    stress_callers();
    return 0;
}
